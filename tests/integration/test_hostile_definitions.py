"""Definitions, names and announcements that try to lead out, to block or to flood: refused with a code, quickly, nothing written."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.cli import Cli, Done
from tests.support.conda_channel import Channel, Package, greeter
from tests.support.hostile import WHEEL_FILE, good_wheel, hostile_wheels
from tests.support.index import Index
from tests.support.offers import CondaOffer
from tests.support.wheels import make_source_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

LARGE_BYTES = 100 << 20
OUTSIDE = Path("/tmp/hostile-evil")


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    found = Cli.at(tmp_path / "one")
    found.write("show.py", "print(1)\n")
    found.write("nothing.txt", "")
    return found


def error_of(done: Done) -> dict[str, Any]:
    return dict(json.loads(done.err.strip().splitlines()[-1])["error"])


def fault_of(done: Done) -> dict[str, Any]:
    (fault,) = error_of(done)["faults"]
    return dict(fault)


# -- names ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../evil", "..", "a/../../b", "/etc", "a\\b", "a\nb", ".hidden", "x" * 300])
def test_a_name_is_never_a_path(cli: Cli, name: str) -> None:
    before = everything(cli.home.parent)
    text = cli.write("named.yml", f"name: {json.dumps(name)}\npython:\n  manager: uv\n")
    done = cli.run("run", "--json", "-f", str(text), "show.py")
    assert (done.code, fault_of(done)["code"], fault_of(done)["line"]) == (125, "bad_name", 1)
    words: list[tuple[int, list[str]]] = [
        (2, ["env", "create", "--json", name, "-r", "nothing.txt"]), (2, ["env", "list", "--json", "-w", name]),
        (2, ["workspace", "create", "--json", name]), (125, ["run", "--json", "-w", name, "-r", "nothing.txt", "show.py"]),
        (125, ["run", "--json", "-x", name, "-r", "nothing.txt", "show.py"]), (125, ["run", "--json", "--input", f"{name}=show.py", "show.py"]),
        (4, ["runs", "logs", "--json", name]), (4, ["runs", "delete", "--json", name, "--yes"]),
    ]  # fmt: skip
    for code, call in words:
        done = cli.run(*call)
        assert (done.code, bool(error_of(done)["code"])) == (code, True), (call, done)
    allowed = {path for path in everything(cli.home.parent) if "workspaces/default" in str(path) or path.name == "workspaces"}
    assert everything(cli.home.parent) - before - allowed == {text}


def everything(place: Path) -> set[Path]:
    return set(place.rglob("*"))


# -- files ---------------------------------------------------------------------------------------------------------


def test_what_is_no_file_is_not_waited_for(cli: Cli) -> None:
    place = cli.directory
    os.mkfifo(place / "pipe.txt")
    os.mkfifo(place / "environment.yml")
    (place / "endless.txt").symlink_to("/dev/zero")
    (place / "loop.txt").symlink_to("loop.txt")
    (place / "dangling.txt").symlink_to("absent.txt")
    cli.write("includes.txt", "-r pipe.txt\n")
    expected = {"pipe.txt": "not_a_file", "environment.yml": "not_a_file", "endless.txt": "not_a_file", "includes.txt": "not_a_file",
                "loop.txt": "link_loop", "dangling.txt": "no_such_file"}  # fmt: skip
    for name, code in expected.items():
        done = cli.run("run", "--json", "-f", name, "show.py", timeout_s=30)
        error = error_of(done)
        assert (done.code, error.get("faults", [error])[0]["code"]) == (125, code), (name, done)


def test_a_link_to_a_definition_is_that_definition(cli: Cli) -> None:
    (cli.directory / "linked.txt").symlink_to("nothing.txt")
    assert cli.ok("env", "hash", "linked.txt").out == cli.ok("env", "hash", "nothing.txt").out


@pytest.mark.parametrize("name", ["requirements.txt", "environment.yml", "pyproject.toml", "script.py"])
def test_a_hundred_megabytes_are_no_definition(cli: Cli, name: str) -> None:
    with (cli.directory / name).open("wb") as stream:
        stream.write(b"# /// script\n# dependencies = []\n# ///\n")
        stream.truncate(LARGE_BYTES)
    call = ["run", "--json", name] if name.endswith(".py") else ["run", "--json", "-f", name, "show.py"]
    done = cli.run(*call, timeout_s=30)
    assert (done.code, fault_of(done)["code"]) == (125, "file_too_large"), done
    assert name in fault_of(done)["file"]
    cli.write("includes.txt", f"-r {name}\n")
    assert fault_of(cli.run("env", "hash", "--json", "includes.txt"))["code"] == "file_too_large"


# -- local code ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("link", "target", "code"),
    [("out", "../../..", "link_leaves_tree"), ("out", "/etc/passwd", "link_leaves_tree"), ("step", "other", "link_leaves_tree"),
     ("pipe", "", "special_file")],
)  # fmt: skip
def test_local_code_that_leads_out_is_refused(cli: Cli, link: str, target: str, code: str) -> None:
    tree = make_source_tree(cli.directory / "mine", "mine", "0.1")
    if target:
        (tree / link).symlink_to(target)
    else:
        os.mkfifo(tree / link)
    if target == "other":
        (tree / "other").symlink_to("../../../home")
    cli.write("requirements.txt", "./mine\n")
    done = cli.run("run", "--json", "-r", "requirements.txt", "show.py", timeout_s=30)
    assert (done.code, fault_of(done)["code"]) == (125, code), done
    assert link in fault_of(done)["message"] or "other" in fault_of(done)["message"]
    assert not (cli.home / "workspaces/default/artifacts/trees").exists()


# -- announcements -------------------------------------------------------------------------------------------------


@pytest.fixture(params=[True, False], ids=["http", "file"])
def channel(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[CondaOffer]:
    found = CondaOffer(tmp_path / "offer", http=request.param)
    yield found
    found.stop()


@pytest.mark.parametrize("digest", [True, False], ids=["with digest", "without"])
@pytest.mark.parametrize(
    "file", ["hostile-1.0-../../../x.conda", "hostile-../../1.0-0.conda", "../../../x-1.0-0.conda", "hostile-1.0-..\\0.conda"]
)
def test_a_file_name_that_a_channel_announces_is_never_a_path(
    tmp_path: Path, channel: CondaOffer, file: str, digest: bool
) -> None:
    cli = Cli.at(tmp_path / "one", config=f'lock_platforms = ["linux/amd64"]\n{channel.config}')
    record = {"sha256": "0" * 64, "size": len(channel.good)} if digest else {}
    channel.announce({file: record})
    for place in (channel.directory, channel.directory.parent, channel.archive.parent):
        for name in ("x.conda", "1.0-0.conda", "x-1.0-0.conda"):
            (place / name).write_bytes(channel.good)
    before = everything(tmp_path)
    done = cli.run("run", "--json", *channel.definition(cli, 0), "--", "/bin/true")
    assert done.code == 125
    assert error_of(done)["code"] in ("unsafe_path", "channel_unavailable", "bad_repodata"), done.err
    new = {path for path in everything(tmp_path) - before if path.suffix in (".conda", ".tmp")}
    assert not new


@pytest.mark.parametrize("place", ["../../../escape", "/tmp/hostile-evil", "lib/../../../../escape"])
def test_site_packages_that_a_channel_announces_lie_inside(tmp_path: Path, place: str) -> None:
    channel = Channel(tmp_path / "channel")
    channel.add(Package("python", "3.11.7", "h0_cpython", files={"bin/python": "#!/bin/sh\n"}), greeter())
    repodata = channel.index().directory / "linux-64" / "repodata.json"
    document = json.loads(repodata.read_text())
    for record in document["packages.conda"].values():
        record["python_site_packages_path"] = place
    repodata.write_text(json.dumps(document))
    cli = Cli.at(tmp_path / "one", config=f'lock_platforms = ["linux/amd64"]\n[channels]\nlocal = "{channel.url}"\n')
    cli.write("environment.yml", "channels: [local]\ndependencies: [python, greeter]\n")
    done = cli.run("run", "--json", "-f", "environment.yml", "--", "/bin/true")
    assert (done.code, error_of(done)["code"]) == (125, "unsafe_path"), done.err
    assert "python 3.11.7" in error_of(done)["message"]
    assert not OUTSIDE.exists()
    assert not [path for path in tmp_path.rglob("*") if path.name == "escape"]


@pytest.mark.parametrize("how", ["without digests", "find-links", "url", "local file"])
def test_wheels_whose_digest_nobody_announces_are_read_with_the_same_care(tmp_path: Path, how: str) -> None:
    with Index(tmp_path / "index", json_pages=False, hashes=False) as index:
        for number, why in enumerate(("absolute path", "escaping link", "flipped byte", "RECORD leads outside")):
            content, code = hostile_wheels()[why]
            cli = Cli.at(tmp_path / f"{number}", index_url=index.url, config='lock_platforms = ["linux/amd64"]')
            (index.directory / WHEEL_FILE).write_bytes(good_wheel())
            index.add(index.directory / WHEEL_FILE)
            for place in (index.directory, cli.directory):
                (place / WHEEL_FILE).write_bytes(content)
            lines = {"without digests": "hostile", "find-links": f"--no-index\n--find-links {index.find_links_url}\nhostile",
                     "url": f"hostile @ {index.file_url(WHEEL_FILE)}", "local file": f"./{WHEEL_FILE}"}  # fmt: skip
            cli.write("requirements.txt", f"{lines[how]}\n")
            done = cli.run("run", "--json", "-r", "requirements.txt", "--", "/bin/true")
            assert done.code == 125, (why, done)
            # where no digest says what it should be, the solver looks into it first, and refuses some itself
            assert error_of(done)["code"] in (code, "solve_failed", "bad_archive"), done.err
            assert "hostile" in error_of(done)["message"]
            assert not OUTSIDE.exists()
            assert not [
                path for path in tmp_path.rglob("*") if path.name == "evil" or (path.name == "link" and path.is_symlink())
            ]
            assert not [*cli.cache.glob("prefixes/????????????????????????????????")]
            assert not [*cli.cache.glob(f"packages/*/{WHEEL_FILE}")]
