"""The layer of the whole environment: records, owners of paths, link scripts; compared with what a prefix of the same lock is."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import random
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import rattler
from tests.support.conda_channel import (
    Channel,
    File,
    Package,
    clobbering,
    greeter,
    has_compiler,
    python_package,
    scripted,
    standard_channel,
)
from tests.support.conda_solving import archives_in, solved

from wardian.errors import Bug, InstallFailed
from wardian.events import silent
from wardian.formats.conda_prefix import read_prefix
from wardian.image.conda_activation import image_activation
from wardian.image.conda_meta import environment_entries, merged, owners, restored
from wardian.image.conda_scripts import ScriptLayer, run_link_scripts
from wardian.image.conda_staging import staged
from wardian.image.tar import write_tar
from wardian.prefix.conda import install_conda

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wardian.image.conda_entries import LinkedPackage, PackageFacts
    from wardian.image.entry import Entry
    from wardian.lock.lock import Artifact

MINOR = f"python{sys.version_info.major}.{sys.version_info.minor}"


def content(entry: Entry) -> bytes:
    assert entry.open_content is not None
    with entry.open_content() as stream:
        return stream.read()


@contextlib.contextmanager
def linked(
    artifacts: Sequence[Artifact], channel: Channel, place: Path, policy: str = "refuse"
) -> Iterator[list[LinkedPackage]]:
    python = next((a for a in artifacts if a.name == "python"), None)
    with staged(artifacts, archives_in(channel, artifacts), python=python, place=place / "staging", package_cache=place / "cache",
                link_scripts=policy, listener=silent) as found:  # fmt: skip
        yield list(found.values())


def facts_of(packages: Sequence[LinkedPackage]) -> list[tuple[Artifact, PackageFacts]]:
    return [(package.artifact, package.facts) for package in packages]


def environment(packages: Sequence[LinkedPackage]) -> dict[str, bytes]:
    entries = environment_entries(facts_of(packages), {p.artifact.sha256: p for p in packages})
    assert [e.path for e in entries] == sorted({e.path for e in entries}, key=str.encode)
    return {entry.path.removeprefix("opt/env/"): content(entry) for entry in entries}


# -- owners of paths -----------------------------------------------------------------------------------------------------


def tangled(seed: int) -> list[Package]:
    """Ten packages that own ten paths in common, depending on each other at random."""
    chance = random.Random(seed)  # noqa: S311
    names = [f"p{n}" for n in chance.sample(range(100), 10)]
    return [
        Package(name, depends=tuple(chance.sample(names[:n], chance.randint(0, min(n, 2)))),
                files={f"share/{path}": f"{path} of {name}\n" for path in chance.sample(range(10), 4)})
        for n, name in enumerate(names)
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(6))
def test_the_owner_of_a_path_is_the_one_that_a_prefix_has(tmp_path: Path, seed: int) -> None:
    packages = tangled(seed)
    channel = Channel(tmp_path / "channel").publish(*packages)
    artifacts = solved(tmp_path, *(p.name for p in packages), channels=[channel.url])
    prefix = tmp_path / "prefix"
    install_conda(
        artifacts, archives_in(channel, artifacts), prefix, package_cache=tmp_path / "c", link_scripts="refuse", listener=silent
    )
    seen = {path.name: path.read_text() for path in (prefix / "share").iterdir()}
    with linked(artifacts, channel, tmp_path) as found:
        assert len(owners(facts_of(found))) > 5
        for path, owner in owners(facts_of(found)).items():
            assert seen[path.removeprefix("share/")] == f"{path.removeprefix('share/')} of {owner.name}\n"
        # layers in any order, the environment's on top: the files are those of the prefix
        for order in itertools.islice(itertools.permutations(found), 0, 10**6, 99_991):
            files: dict[str, bytes] = {}
            for package in order:
                files |= {entry.path.removeprefix("opt/env/share/"): content(entry) for entry in package.entries}
            files |= {
                path.removeprefix("share/"): text for path, text in environment(found).items() if path.startswith("share/")
            }
            assert {path: text.decode() for path, text in files.items()} == seen
        shared = {e.path.removeprefix("opt/env/share/"): content(e).decode() for e in merged(facts_of(found), found)}
        assert shared == seen


def test_only_what_differs_is_restored(tmp_path: Path) -> None:
    same = [Package(name, files={"share/same": "x\n", "share/mode": File(b"x", executable=name == "b")}) for name in "ab"]
    channel = Channel(tmp_path / "channel").publish(*same)
    artifacts = solved(tmp_path, "a", "b", channels=[channel.url])
    with linked(artifacts, channel, tmp_path) as found:
        assert set(owners(facts_of(found))) == {"share/same", "share/mode"}
        assert list(restored(facts_of(found)).values()) == [("share/mode",)]
        with pytest.raises(Bug, match="not linked"):
            environment_entries(facts_of(found), {})
        alone = facts_of(found)[:1]
        assert (owners(alone), restored(alone)) == ({}, {})
        assert len(environment_entries(alone, {})) == 2


# -- records -------------------------------------------------------------------------------------------------------------


def test_records_say_nothing_of_this_machine_and_are_the_same_everywhere(tmp_path: Path) -> None:
    wanted = ("greeter", "clobber-b")
    texts = []
    for n, place in enumerate((tmp_path / "one", tmp_path / "another place")):
        channel = Channel(place / "channel").publish(python_package(), greeter(), *clobbering())
        artifacts = solved(place, *wanted, channels=[channel.url])
        with linked(artifacts[:: -1 if n else 1], channel, place) as found:
            texts.append(environment(found))
    assert texts[0] == texts[1]
    everything = b"".join(texts[0].values())
    assert os.fsencode(tmp_path) not in everything
    assert b"file:" not in everything
    assert b"://" not in everything
    assert texts[0]["conda-meta/history"] == b""
    for path, text in texts[0].items():
        if path.endswith(".json"):
            assert json.loads(text)["requested_specs"] == []


def test_conda_tools_and_wardian_read_the_records(tmp_path: Path) -> None:
    channel = Channel(tmp_path / "channel").publish(python_package(), greeter(), *clobbering())
    artifacts = solved(tmp_path, "greeter", "clobber-b", channels=[channel.url])
    with linked(artifacts, channel, tmp_path) as found:
        files = environment(found)
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(text)
    by_name = {a.name: a for a in artifacts}
    records = [rattler.PrefixRecord.from_path(path) for path in (tmp_path / "conda-meta").glob("*.json")]
    assert {r.name.normalized for r in records} == set(by_name)
    owned = [str(path) for record in records for path in record.files]
    assert len(set(owned)) == len(owned)
    for record in records:
        artifact = by_name[record.name.normalized]
        assert (str(record.version), str(record.build), record.sha256) == (
            artifact.version,
            artifact.build,
            bytes.fromhex(artifact.sha256),
        )
        assert record.timestamp is not None
        assert record.timestamp.isoformat() == "2024-01-01T00:00:00+00:00"
    assert files["share/clobbered.txt"] == b"from b\n"
    assert sorted(read_prefix(tmp_path, exact=True).python.conda) == sorted(
        f"{a.name}={a.version}={a.build}" for a in artifacts
    )


def test_no_conda_no_entries() -> None:
    assert environment_entries([], {}) == ()


# -- link scripts --------------------------------------------------------------------------------------------------------


def may_mount() -> bool:
    code = "from pathlib import Path; from wardian.tools.mounted_at import mount_at; mount_at(Path('/usr'), Path('/opt/env'))"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


@contextlib.contextmanager
def ran(tmp_path: Path, *packages: Package, **changes: Any) -> Iterator[ScriptLayer]:
    if not may_mount():
        pytest.skip("private mounts are not allowed here")
    channel = Channel(tmp_path / "channel").publish(*packages)
    artifacts = solved(tmp_path, *(p.name for p in packages), channels=[channel.url])
    with run_link_scripts(artifacts, archives_in(channel, artifacts), ["x"], place=tmp_path / "staging", package_cache=tmp_path / "cache",
                          listener=silent) as layer:  # fmt: skip
        yield layer


def with_script(text: str, **files: str | File) -> Package:
    named = {path.replace("__", "/"): file for path, file in files.items()}
    return Package("x", files={"bin/.x-post-link.sh": File(f"#!/bin/sh\nset -e\n{text}\n".encode(), executable=True), **named})


def test_what_a_link_script_makes_changes_and_removes_is_a_layer(tmp_path: Path) -> None:
    script = """echo "$PREFIX" > "$PREFIX/made"; test "$PREFIX" = /opt/env; echo more >> "$PREFIX/share/changed"
        rm "$PREFIX/share/gone"; ln -sf elsewhere "$PREFIX/share/link"; chmod +x "$PREFIX/share/mode"; cd "$PREFIX"
        mkdir -p share/deep/er; echo x > share/deep/er/x; touch share/same; ls /opt > "$PREFIX/opt" """
    files = {f"share__{name}": f"{name}\n" for name in ("changed", "gone", "mode", "same", "other")}
    with ran(
        tmp_path, with_script(script, **files, share__link=File(link="there")), Package("y", files={"share/y": "y"})
    ) as layer:
        found = {
            entry.path: (entry.kind, entry.executable, content(entry) if entry.kind == "file" else entry.target)
            for entry in layer.entries
        }
    assert found.pop("opt/env/opt")[2].splitlines()
    assert found == {
        "opt/env/made": ("file", False, b"/opt/env\n"), "opt/env/share/changed": ("file", False, b"changed\nmore\n"),
        "opt/env/share/.wh.gone": ("file", False, b""), "opt/env/share/link": ("link", False, "elsewhere"),
        "opt/env/share/mode": ("file", True, b"mode\n"), "opt/env/share/deep/er/x": ("file", False, b"x\n"),
    }  # fmt: skip
    assert "the link scripts of x ran on the building machine and changed 7 files" in layer.note
    assert not list((tmp_path / "staging").iterdir())


def test_a_script_cannot_change_the_package_cache_or_be_seen_by_others(tmp_path: Path) -> None:
    before = sorted(Path("/opt").glob("*"))
    with ran(tmp_path, with_script('echo changed > "$PREFIX/share/data"', share__data="data\n")):
        assert sorted(Path("/opt").glob("*")) == before
    (cached,) = (tmp_path / "cache").glob("unpacked/x-*/share/data")
    assert cached.read_text() == "data\n"


def test_a_link_script_that_fails_is_named(tmp_path: Path) -> None:
    with pytest.raises(InstallFailed, match="link script of x failed") as caught, ran(tmp_path, with_script("exit 3")):
        pytest.fail("it went on")
    assert caught.value.stable_code == "link_script_failed"
    assert not list((tmp_path / "staging").iterdir())


def test_scripts_see_the_python_of_the_environment(tmp_path: Path) -> None:
    script = Package("x", depends=("python",), files={"bin/.x-post-link.sh": File(
        b'#!/bin/sh\n"$PREFIX/bin/python" -c "import greeter, sys; open(sys.prefix + \'/who\', \'w\').write(sys.prefix)"\n', executable=True)})  # fmt: skip
    with ran(tmp_path, python_package(), greeter(), script) as layer:
        assert {entry.path: content(entry) for entry in layer.entries} == {"opt/env/who": b"/opt/env"}


# -- all of it together --------------------------------------------------------------------------------------------------


def test_the_layers_of_an_environment_run_where_they_were_made_for(tmp_path: Path) -> None:
    """Laid over each other at /opt/env, for one process only, by mounts."""
    if not may_mount():
        pytest.skip("private mounts are not allowed here")
    wanted = ("greeter", "clobber-b", "activating", *(["hello-native"] if has_compiler() else []))
    channel = standard_channel(tmp_path / "channel")
    artifacts = solved(tmp_path, *wanted, channels=[channel.url])
    root = tmp_path / "root"
    with linked(artifacts, channel, tmp_path) as found:
        environment_layer = environment_entries(facts_of(found), {p.artifact.sha256: p for p in found})
        for entries in [*(package.entries for package in found), environment_layer]:
            with tarfile.open(fileobj=io.BytesIO(b"".join(write_tar(entries, mtime=0)))) as layer:
                layer.extractall(root, filter="tar")
        activation = image_activation(facts for _, facts in facts_of(found))
    assert activation.variables == {"ACTIVATING_HOME": "/opt/env/share/activating", "ACTIVATING_TEXT": "two words"}
    code = (
        "import os, sys; from pathlib import Path; from wardian.tools.mounted_at import mount_at\n"
        "mount_at(Path(sys.argv[1]), Path('/opt/env')); os.execv(sys.argv[2], sys.argv[2:])"
    )

    def run(*command: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", code, root / "opt/env", *command], capture_output=True, text=True, check=True
        )
        return done.stdout

    assert run("/opt/env/bin/greet") == "hello from greeter 1.0\n"
    assert run("/opt/env/bin/python", "-c", "import sys, ssl, sqlite3; print(sys.prefix)") == "/opt/env\n"
    if has_compiler():
        assert run("/opt/env/bin/hello-native") == "/opt/env\n"
    assert (root / "opt/env/share/clobbered.txt").read_text() == "from b\n"


def test_the_scripted_package_of_the_channel(tmp_path: Path) -> None:
    with ran(tmp_path, scripted()) as layer:
        assert [entry.path for entry in layer.entries] == ["opt/env/scripted.txt"]
