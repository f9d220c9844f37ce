"""What images and shared versions hold that a stranger made: shown so that no terminal obeys it, and named where it is damaged."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.support.fake_registry import FakeRegistry
from tests.support.images import an_image

from wardian.cli.common import Session
from wardian.digest import Digest
from wardian.image.blob import put_bytes
from wardian.image.layout import LayoutImageStore
from wardian.image.oci import CONFIG, MANIFEST, ImageConfig, Manifest
from wardian.image.shared_version import SharedVersion, share

if TYPE_CHECKING:
    from pathlib import Path

    import pytest
    from tests.support.cli import Cli

PWN = "\x1b]0;pwn\x07"


def test_what_a_terminal_would_obey_is_written_as_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    Session(None, as_json=False).show({}, lambda: f"created {PWN}\nnext\tline")
    assert capsys.readouterr().out == "created \\x1b]0;pwn\\x07\nnext\tline\n"


def test_the_text_of_a_file_stays_as_it_is_but_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Session(None, as_json=False)
    session.show({}, lambda: f"a{PWN}\r\n", exact=True)
    assert capsys.readouterr().out == f"a{PWN}\r\n"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    session.show({}, lambda: f"a{PWN}", exact=True)
    assert capsys.readouterr().out == "a\\x1b]0;pwn\\x07\n"


def test_an_image_shows_no_escape_and_a_damaged_one_is_named(cli: Cli) -> None:
    store = LayoutImageStore(cli.directory / "x")
    config = ImageConfig("linux/amd64", (), created=PWN, labels=(("a", PWN),)).to_json()
    store.tag(Manifest(put_bytes(store, config, CONFIG), ()).to_json(), MANIFEST, ["x"])
    out = cli.ok("image", "show", "oci:x:x").out
    assert "\\x1b]0;pwn" in out
    assert "\x1b" not in out
    lone = json.dumps({**json.loads(config), "config": {"Env": ["X=\ud800"]}}).encode()
    store.tag(Manifest(put_bytes(store, lone, CONFIG), ()).to_json(), MANIFEST, ["bad"])
    done = cli.run("image", "show", "oci:x:bad", "--json")
    assert done.code == 1
    assert "oci:x:bad" in done.err
    assert "config.Env[0]" in done.err


def test_a_damaged_version_in_a_registry_hides_no_other(cli: Cli, tmp_path: Path) -> None:
    store, digest = LayoutImageStore(cli.directory / "shared"), Digest("a" * 64)
    share(store, SharedVersion("team", "7", digest, digest, {"name": "team"}), locks=tmp_path / "locks", wait=lambda _s: None)
    an_image().put(store, "v-team-8")
    done = cli.ok("env", "list", "--registry", "oci:shared", "--json")
    assert [one["version"] for one in done.document["versions"]] == ["7"]
    assert [(one["tag"], one["code"]) for one in done.document["faults"]] == [("v-team-8", "tag_mismatch")]
    assert "warning: `v-team-8` in" in done.err


def test_a_registry_that_hangs_is_said_to_be_waited_for(cli: Cli) -> None:
    with FakeRegistry() as fake:
        fake.misbehave("GET *", hang=True)
        for arguments in (
            ("env", "list", "--registry", f"{fake.host}/team/envs"),
            ("image", "show", f"{fake.host}/team/envs:x"),
        ):
            process = cli.start(*arguments, "--json")
            assert process.stderr is not None
            assert process.stderr.readline().startswith("warning: waiting for ")
            process.kill()
            process.communicate()
