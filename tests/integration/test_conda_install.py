"""Real packages linked into real prefixes: what runs there, what is refused, what is left behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.conda_channel import (
    PLACEHOLDER,
    Channel,
    File,
    Package,
    activating,
    clobbering,
    greeter,
    has_compiler,
    scripted,
    standard_channel,
)
from tests.support.conda_solving import archives_in, installed, solved
from tests.support.jobs import still_there, wait_until

from wardian.digest import Digest
from wardian.errors import BadArchive, InstallFailed, WardianError
from wardian.events import Event, silent
from wardian.prefix.activation import activation
from wardian.prefix.conda import conda_files, install_conda

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(scope="session")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Channel:
    return standard_channel(tmp_path_factory.mktemp("channel"))


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def run(*command: str | Path) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, env={"PATH": "/usr/bin:/bin"}, timeout=60).stdout


def difference(prefix: Path) -> tuple[list[str], list[str], list[str]]:
    """Return the files of ``prefix`` that are changed, missing, extra."""
    listed = conda_files(prefix)
    actual = {os.path.relpath(Path(directory) / name, prefix) for directory, _, names in os.walk(prefix) for name in names}
    changed = [path for path, digest in listed.items() if digest and path in actual and Digest.of_file(prefix / path) != digest]
    return changed, sorted(set(listed) - actual), sorted(actual - set(listed))


# -- what an installed environment does -----------------------------------------------------------------------------------


def test_solve_lock_install_run(channel: Channel, cache: Path, tmp_path: Path) -> None:
    prefix = tmp_path / "prefix"
    set_by = installed(channel, prefix, "greeter", "numlib", "old-format", cache=cache)
    script = tmp_path / "train.py"
    script.write_text("import sys, ssl, sqlite3, ctypes, lzma, greeter; greeter.main(); print(sys.prefix)")
    assert run(prefix / "bin/python", script).splitlines() == ["hello from greeter 1.0", str(prefix)]
    assert run(prefix / "bin/greet") == "hello from greeter 1.0\n"  # the entry point
    assert run("/usr/bin/env", f"PATH={':'.join(set_by.path_entries)}:/usr/bin:/bin", "greet-script") == "script\n"
    assert (prefix / "share/old").read_text() == "old\n"  # from a .tar.bz2
    assert set_by.variables == {"CONDA_PREFIX": str(prefix)}
    assert set_by.path_entries == (f"{prefix}/bin",)


@pytest.mark.skipif(not has_compiler(), reason="gcc is missing: apt-get install gcc")
def test_placeholders_are_replaced_in_programs_and_texts(channel: Channel, cache: Path, tmp_path: Path) -> None:
    prefix = tmp_path / "a prefix with spaces"
    installed(channel, prefix, "hello-native", cache=cache)
    assert len(PLACEHOLDER) == 255
    assert run(prefix / "bin/hello-native") == f"{prefix}\n"
    assert (prefix / "share/hello-native/where.txt").read_text() == f"root={prefix}/share\n"
    assert (prefix / "lib/libhello.so").readlink() == Path("libhello.so.1")
    assert all(
        PLACEHOLDER.encode() not in p.read_bytes() for p in prefix.rglob("*") if p.is_file() and "conda-meta" not in p.parts
    )


def test_activation_is_computed_once(channel: Channel, cache: Path, tmp_path: Path) -> None:
    set_by = installed(channel, tmp_path / "prefix", "activating", cache=cache)
    assert set_by.variables == {
        "CONDA_PREFIX": str(tmp_path / "prefix"),
        "ACTIVATING_HOME": str(tmp_path / "prefix/share/activating"),
        "ACTIVATING_TEXT": "two words",
    }


def test_activation_may_add_to_the_path_and_say_things(tmp_path: Path) -> None:
    script = 'echo chatter\necho more >&2\nexport PATH="$CONDA_PREFIX/tools:$PATH"\nexport LINES_TWO="a\nb"\nunset NOTHING\n'
    channel = Channel(tmp_path / "channel").publish(Package("tool", files={"etc/conda/activate.d/tool.sh": script}))
    set_by = installed(channel, tmp_path / "prefix", "tool", cache=tmp_path)
    assert set_by.path_entries == (f"{tmp_path}/prefix/tools", f"{tmp_path}/prefix/bin")
    assert set_by.variables == {"CONDA_PREFIX": f"{tmp_path}/prefix", "LINES_TWO": "a\nb"}


def test_environment_variables_of_a_package_are_part_of_activation(tmp_path: Path) -> None:
    channel = Channel(tmp_path / "channel").publish(Package("v", files={"etc/conda/env_vars.d/v.json": '{"FROM_JSON": "yes"}'}))
    assert installed(channel, tmp_path / "prefix", "v", cache=tmp_path).variables["FROM_JSON"] == "yes"


@pytest.mark.parametrize("text", ["{", "[1]", '{"B": "a\\u0000b"}'])
def test_environment_variables_that_cannot_be_read_fail_the_installation(tmp_path: Path, text: str) -> None:
    channel = Channel(tmp_path / "channel").publish(Package("v", files={"etc/conda/env_vars.d/v.json": text}))
    with pytest.raises(InstallFailed) as caught:
        installed(channel, tmp_path / "prefix", "v", cache=tmp_path)
    assert caught.value.stable_code == "activation_failed"
    assert not (tmp_path / "prefix").exists()


def test_an_activation_script_that_fails_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    channel = Channel(tmp_path / "channel").publish(
        Package("bad", files={"etc/conda/activate.d/bad.sh": "echo no licence >&2\nexit 4\n"})
    )
    with pytest.raises(InstallFailed, match=r"bad\.sh.*no licence") as caught:
        installed(channel, tmp_path / "prefix", "bad", cache=tmp_path)
    assert caught.value.stable_code == "activation_failed"
    assert not (tmp_path / "prefix").exists()


def test_an_activation_script_that_hangs_is_ended(tmp_path: Path) -> None:
    scripts = tmp_path / "etc/conda/activate.d"
    scripts.mkdir(parents=True)
    (scripts / "slow.sh").write_text("sleep 600\n")
    with pytest.raises(InstallFailed, match=r"slow\.sh.*did not end within 0\.2 s"):
        activation(tmp_path, timeout_s=0.2)
    (scripts / "slow.sh").write_text("sleep 600 &\nexport PID=$!\n")
    pid = int(activation(tmp_path, timeout_s=60).variables["PID"])
    wait_until(lambda: not still_there([pid]))


# -- what is recorded -----------------------------------------------------------------------------------------------------


def test_every_file_is_listed_with_its_digest_and_records_name_no_host(channel: Channel, cache: Path, tmp_path: Path) -> None:
    prefix = tmp_path / "prefix"
    wanted = ["greeter", "clobber-b", "activating", "old-format", *(["hello-native"] if has_compiler() else [])]
    installed(channel, prefix, *wanted, cache=cache)
    assert difference(prefix) == ([], [], [])
    listed = conda_files(prefix)
    assert listed["bin/python"] is None  # a symbolic link
    assert listed["bin/greet"]
    document = json.loads((prefix / "conda-meta/greeter-1.0-pyh0_0.json").read_text())
    assert document["channel"] == "channel:%230"
    assert (prefix / "conda-meta/greeter-1.0-pyh0_0.json").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("flip", [False, True], ids=["b-needs-a", "a-needs-b"])
def test_the_later_package_in_topological_order_has_a_clobbered_path(tmp_path: Path, *, flip: bool) -> None:
    first, second = clobbering()
    if flip:
        first, second = Package(first.name, depends=("clobber-b",), files=first.files), Package(second.name, files=second.files)
    channel = Channel(tmp_path / "channel").publish(first, second)
    winner, loser = ("a", "b") if flip else ("b", "a")
    for attempt in range(3):
        prefix, events = tmp_path / f"prefix{attempt}", list[Event]()
        installed(channel, prefix, "clobber-a", "clobber-b", cache=tmp_path, events=events)
        assert (prefix / "share/clobbered.txt").read_text() == f"from {winner}\n"
        assert (prefix / f"__clobbers__/clobber-{loser}/share/clobbered.txt").read_text() == f"from {loser}\n"
        assert [e.text for e in events if e.kind == "notice"] == [
            f"another package has replaced files of clobber-{loser}: share/clobbered.txt"
        ]
        assert difference(prefix) == ([], [], [])


def test_progress_is_told(channel: Channel, cache: Path, tmp_path: Path) -> None:
    events: list[Event] = []
    installed(channel, tmp_path / "prefix", "greeter", cache=cache, events=events)
    progress = [(e.done, e.total) for e in events if e.kind == "progress"]
    assert progress == [(1, 2), (2, 2)]
    assert {e.text for e in events if e.kind == "progress"} == {"linked python", "linked greeter"}


# -- link scripts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [".conda", ".tar.bz2"])
@pytest.mark.parametrize("when", ["post-link", "pre-unlink", "pre-link"])
def test_a_link_script_is_refused_before_anything_is_linked(tmp_path: Path, when: str, kind: str) -> None:
    package = scripted(when)
    channel = Channel(tmp_path / "channel").publish(
        Package(package.name, files=package.files, kind=kind), Package("other", files={"x": "x"})
    )
    with pytest.raises(InstallFailed) as caught:
        installed(channel, tmp_path / "prefix", "scripted", "other", cache=tmp_path)
    assert caught.value.stable_code == "link_script_refused"
    assert f"scripted 1.0 has a link script, `bin/.scripted-{when}.sh`" in caught.value.message
    assert not (tmp_path / "prefix").exists()
    assert not (tmp_path / "conda-packages/unpacked").exists()


def test_a_link_script_is_refused_too_when_its_package_is_unpacked_already(channel: Channel, tmp_path: Path) -> None:
    installed(channel, tmp_path / "first", "scripted", cache=tmp_path, link_scripts="run")
    with pytest.raises(InstallFailed) as caught:
        installed(channel, tmp_path / "second", "scripted", cache=tmp_path)
    assert caught.value.stable_code == "link_script_refused"
    assert not (tmp_path / "second").exists()


def test_a_link_script_runs_where_that_is_allowed(channel: Channel, cache: Path, tmp_path: Path) -> None:
    installed(channel, tmp_path / "prefix", "scripted", cache=cache, link_scripts="run")
    assert (tmp_path / "prefix/scripted.txt").read_text() == "ran for scripted\n"


def test_a_link_script_that_fails_fails_the_installation(tmp_path: Path) -> None:
    script = File(b"#!/bin/sh\nexit 3\n", executable=True)
    channel = Channel(tmp_path / "channel").publish(Package("failing", files={"bin/.failing-post-link.sh": script}))
    with pytest.raises(InstallFailed, match="the link script of failing failed") as caught:
        installed(channel, tmp_path / "prefix", "failing", cache=tmp_path, link_scripts="run")
    assert caught.value.stable_code == "link_script_failed"
    assert not (tmp_path / "prefix").exists()


def test_a_link_script_sees_nothing_of_this_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "hunter2")
    script = File(b'#!/bin/sh\nenv > "$PREFIX/seen"\n', executable=True)
    channel = Channel(tmp_path / "channel").publish(Package("nosy", files={"bin/.nosy-post-link.sh": script}))
    installed(channel, tmp_path / "prefix", "nosy", cache=tmp_path, link_scripts="run")
    seen = (tmp_path / "prefix/seen").read_text()
    assert "PKG_NAME=nosy" in seen
    assert "hunter2" not in seen


# -- links and copies -----------------------------------------------------------------------------------------------------


def test_files_are_hard_links_unless_copies_are_asked_for(tmp_path: Path) -> None:
    channel = Channel(tmp_path / "channel").publish(Package("x", files={"share/x": "x\n"}))
    installed(channel, tmp_path / "linked", "x", cache=tmp_path)
    installed(channel, tmp_path / "copied", "x", cache=tmp_path, copy=True)
    assert (tmp_path / "linked/share/x").stat().st_nlink == 2
    assert (tmp_path / "copied/share/x").stat().st_nlink == 1
    (tmp_path / "copied/share/x").write_text("changed\n")
    assert (tmp_path / "linked/share/x").read_text() == "x\n"


def test_another_file_system_gets_copies(channel: Channel, cache: Path) -> None:
    shared_memory = Path("/dev/shm")
    if not shared_memory.is_dir() or shared_memory.stat().st_dev == cache.stat().st_dev:
        pytest.skip("no second file system: /dev/shm is missing")
    prefix = shared_memory / f"wardian-test-{os.getpid()}"
    try:
        installed(channel, prefix, "greeter", cache=cache)
        assert difference(prefix) == ([], [], [])
        assert (prefix / "bin/python").is_symlink()
        assert (prefix / "bin/python").resolve().stat().st_nlink == 1
        assert not any(p.is_symlink() and str(cache) in str(p.readlink()) for p in prefix.rglob("*"))
        assert run(prefix / "bin/greet") == "hello from greeter 1.0\n"
    finally:
        shutil.rmtree(prefix, ignore_errors=True)


def test_a_file_with_as_many_links_as_it_may_have_is_copied(tmp_path: Path) -> None:
    channel = Channel(tmp_path / "channel").publish(Package("x", files={"share/x": "x\n", "share/y": "y\n"}))
    installed(channel, tmp_path / "first", "x", cache=tmp_path)
    (tmp_path / "links").mkdir()
    try:
        for i in range(70_000):
            os.link(tmp_path / "first/share/x", tmp_path / "links" / str(i))
        pytest.skip("this file system has no limit of links per file that can be reached")
    except OSError:
        installed(channel, tmp_path / "second", "x", cache=tmp_path)
    assert (tmp_path / "second/share/x").read_text() == "x\n"
    assert (tmp_path / "second/share/x").stat().st_nlink == 1
    shutil.rmtree(tmp_path / "links")


@pytest.mark.root
def test_a_file_that_may_not_be_linked_is_copied(tmp_path: Path) -> None:
    channel = Channel(tmp_path / "channel").publish(Package("x", files={"share/x": "x\n"}))
    installed(channel, tmp_path / "first", "x", cache=tmp_path)
    path = tmp_path / "first/share/x"
    if not shutil.which("chattr") or subprocess.run(["chattr", "+i", path], capture_output=True, check=False).returncode != 0:
        pytest.skip("this file system has no immutable files (chattr +i)")
    try:
        with pytest.raises(PermissionError):
            (tmp_path / "link").hardlink_to(path)
        installed(channel, tmp_path / "second", "x", cache=tmp_path)
    finally:
        subprocess.run(["chattr", "-i", path], check=True)
    assert (tmp_path / "second/share/x").read_text() == "x\n"


# -- damage and hostility -------------------------------------------------------------------------------------------------


def append(path: Path) -> None:
    with path.open("a") as stream:
        stream.write("more\n")


def same_size(path: Path) -> None:
    path.write_text("wrong\n")


TOUCHES: dict[str, Callable[[Path], object]] = {"append": append, "same size": same_size, "delete": Path.unlink}


@pytest.mark.parametrize("touch", TOUCHES)
@pytest.mark.parametrize("place", ["prefix", "cache"])
def test_a_file_of_the_package_cache_that_was_touched_is_made_anew(tmp_path: Path, touch: str, place: str) -> None:
    channel = Channel(tmp_path / "channel").publish(
        Package("x", files={"share/x": "right\n"}), Package("y", files={"share/y": "y\n"})
    )
    for first in ("first", "second"):  # the second finds all as it was validated
        installed(channel, tmp_path / first, "x", "y", cache=tmp_path)
    cached = next((tmp_path / "conda-packages/unpacked").glob("x-*/share/x"))
    TOUCHES[touch](tmp_path / "second/share/x" if place == "prefix" else cached)  # one inode: as root a prefix is not safe
    for later in ("third", "fourth"):
        installed(channel, tmp_path / later, "x", "y", cache=tmp_path)
        assert (tmp_path / later / "share/x").read_text() == "right\n"
        assert difference(tmp_path / later) == ([], [], [])


@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
def test_an_archive_that_has_changed_is_refused_by_name(tmp_path: Path, *, warm: bool) -> None:
    package = Package("x", files={"share/x": "x\n"})
    channel = Channel(tmp_path / "channel").publish(package)
    artifacts = solved(tmp_path, "x", channels=[channel.url])
    archives = archives_in(channel, artifacts)

    def install(prefix: Path) -> None:
        install_conda(artifacts, archives, prefix, package_cache=tmp_path / "unpacked", link_scripts="refuse", listener=silent)

    if warm:
        install(tmp_path / "first")
    content = bytearray(channel.archive_path(package).read_bytes())
    content[-1] ^= 1
    channel.archive_path(package).write_bytes(content)
    with pytest.raises(BadArchive, match=r"x-1\.0-0\.conda has changed") as caught:
        install(tmp_path / "second")
    assert caught.value.stable_code == "wrong_digest"
    assert not (tmp_path / "second").exists()


HOSTILE: dict[str, tuple[Package, str]] = {
    "absolute": (Package("x", paths=({"_path": "/tmp/x", "path_type": "hardlink"},)), "unsafe_path"),
    "upwards": (Package("x", paths=({"_path": "share/../../x", "path_type": "hardlink"},)), "unsafe_path"),
    "empty": (Package("x", paths=({"_path": "", "path_type": "hardlink"},)), "unsafe_path"),
    "entry point": (Package("x", noarch="python", subdir="noarch", entry_points=("../../x = a:b",)), "unsafe_path"),
    "no path": (Package("x", paths=({"path_type": "hardlink"},)), "damaged_archive"),
    "missing file": (
        Package("x", paths=({"_path": "share/x", "path_type": "hardlink", "sha256": "0" * 64},)),
        "install_failed",
    ),
    "below a link": (Package("x", files={"l": File(link="/tmp"), "l/x": "x"}), "install_failed"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_package_is_refused_and_nothing_is_left(tmp_path: Path, case: str) -> None:
    package, code = HOSTILE[case]
    channel = Channel(tmp_path / "channel").publish(package)
    with pytest.raises(WardianError) as caught:
        installed(channel, tmp_path / "prefix", "x", cache=tmp_path)
    assert caught.value.stable_code == code
    if code != "install_failed":
        assert "x-1.0-0" in caught.value.message
    assert not (tmp_path / "prefix").exists()


def test_what_is_not_an_archive_is_refused(tmp_path: Path) -> None:
    package = Package("x", files={"share/x": "x"})
    channel = Channel(tmp_path / "channel").publish(package)
    (artifact,) = solved(tmp_path, "x", channels=[channel.url])
    channel.archive_path(package).write_bytes(b"not an archive")
    changed = replace(artifact, sha256=Digest.of(b"not an archive"))
    with pytest.raises(BadArchive, match=r"x-1\.0-0\.conda can't be read") as caught:
        install_conda([changed], archives_in(channel, [changed]), tmp_path / "prefix", package_cache=tmp_path / "c",
                      link_scripts="refuse", listener=silent)  # fmt: skip
    assert caught.value.stable_code == "damaged_archive"
    assert not (tmp_path / "prefix").exists()


def test_a_python_package_without_a_python(tmp_path: Path) -> None:
    channel = Channel(tmp_path / "channel").publish(greeter(depends=()))
    with pytest.raises(InstallFailed, match="no python version specified"):
        installed(channel, tmp_path / "prefix", "greeter", cache=tmp_path)
    assert not (tmp_path / "prefix").exists()


# -- the place ------------------------------------------------------------------------------------------------------------


def test_a_path_that_is_too_long_for_placeholders_is_refused_before_anything(
    channel: Channel, cache: Path, tmp_path: Path
) -> None:
    prefix = tmp_path / ("ü" * 100)  # 200 bytes in its last part alone
    with pytest.raises(InstallFailed) as caught:
        installed(channel, prefix, "activating", cache=cache)
    assert caught.value.stable_code == "prefix_path_too_long"
    assert not prefix.exists()


def test_a_place_that_is_taken_is_left_alone(channel: Channel, cache: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InstallFailed) as caught:
        installed(channel, tmp_path, "activating", cache=cache)
    assert caught.value.stable_code == "prefix_not_empty"
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_an_empty_directory_may_be_the_place_and_stays_after_a_failure(tmp_path: Path) -> None:
    channel = Channel(tmp_path / "channel").publish(scripted(), activating())
    prefix = tmp_path / "prefix"
    prefix.mkdir()
    with pytest.raises(InstallFailed):
        installed(channel, prefix, "scripted", cache=tmp_path)
    assert list(prefix.iterdir()) == []
    installed(channel, prefix, "activating", cache=tmp_path)
    assert (prefix / "share/activating/x").exists()
