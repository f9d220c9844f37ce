"""Installed environments read as definitions: virtual environments, interpreters, and whatever is damaged or hostile in them."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.wheels import make_source_tree, make_wheel

from wardian import formats
from wardian.errors import InvalidInput, NotFound
from wardian.formats.installed import find_in_use, read_installed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wardian.formats.read_definition import ReadDefinition


class Venv:
    """A virtual environment, as far as its metadata go."""

    def __init__(self, root: Path, *, config: str = "version = 3.11.7\n") -> None:
        self.root = root
        self.packages = root / "lib/python3.11/site-packages"
        self.packages.mkdir(parents=True)
        (root / "pyvenv.cfg").write_text(config)

    def add(
        self, name: str, version: str, *, requested: bool = False, requires: Sequence[str] = (), extras: Sequence[str] = (),
        origin: Mapping[str, object] | None = None,
    ) -> Path:  # fmt: skip
        info = self.packages / f"{name}-{version}.dist-info"
        info.mkdir()
        lines = [f"Requires-Dist: {one}\n" for one in requires] + [f"Provides-Extra: {one}\n" for one in extras]
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{''.join(lines)}\ntext\n")
        if requested:
            (info / "REQUESTED").touch()
        if origin is not None:
            (info / "direct_url.json").write_text(json.dumps(origin))
        return info


@pytest.fixture
def venv(tmp_path: Path) -> Venv:
    return Venv(tmp_path / "venv")


def codes(read: ReadDefinition) -> dict[str, str]:
    """What is said of each package: the code of a warning, the kind of a loss."""
    said = [(fault.message, fault.code) for fault in read.warnings] + [(loss.why, loss.kind) for loss in read.losses]
    return {message.split(" ")[0].rstrip(":"): word for message, word in said}


def test_what_was_asked_for_of_a_virtual_environment(venv: Venv) -> None:
    venv.add("Web_App", "2.0", requested=True, requires=("router>=1", "speed; extra == 'fast'", "never; extra == 'other'"), extras=("fast", "other"))  # fmt: skip
    venv.add("router", "1.4")
    venv.add("speed", "0.3")
    venv.add("pip", "24.0", requested=True)
    venv.add("orphan", "9")
    read = read_installed(venv.root)
    python = read.environment.python
    assert (python.manager, python.requires_python) == ("uv", "==3.11.*")
    assert python.pip == ("web-app[fast]==2.0",)
    assert codes(read) == {"pip": "dropped", "orphan": "dropped"}


def test_exactly_what_is_there(venv: Venv) -> None:
    venv.add("alpha", "1.0", requested=True, requires=("beta",))
    venv.add("beta", "2.0+cpu")
    read = read_installed(venv.root, exact=True)
    assert read.environment.python.pip == ("alpha==1.0", "beta==2.0+cpu")
    assert read.environment.python.requires_python == "==3.11.7"
    assert codes(read) == {"beta": "not_on_an_index"}
    assert formats.read_text(read.text, read.format).environment == read.environment


def test_without_marks_what_no_other_package_needs_is_taken(venv: Venv) -> None:
    venv.add("alpha", "1.0", requires=("beta",))
    venv.add("beta", "2.0")
    read = read_installed(venv.root)
    assert read.environment.python.pip == ("alpha==1.0",)
    assert [fault.code for fault in read.warnings] == ["nothing_marked"]


def test_what_no_index_serves_is_taken_over_and_reported(venv: Venv, tmp_path: Path) -> None:
    commit = "0123456789012345678901234567890123456789"
    tree = make_source_tree(tmp_path / "work/mine", "mine", "0.1")
    wheel = make_wheel(tmp_path / "work", "made", "1.0")
    venv.add("mine", "0.1", origin={"url": tree.as_uri(), "dir_info": {"editable": True}})
    venv.add("made", "1.0", origin={"url": wheel.as_uri(), "archive_info": {}})
    venv.add("repo", "3", origin={"url": "https://git.example/repo", "vcs_info": {"vcs": "git", "requested_revision": "main", "commit_id": commit}, "subdirectory": "py"})  # fmt: skip
    venv.add("far", "1", origin={"url": "https://ada:pw@files.example/far-1-py3-none-any.whl", "archive_info": {"hashes": {"sha256": "a" * 64}}})  # fmt: skip
    venv.add("gone", "1", origin={"url": (tmp_path / "gone").as_uri(), "dir_info": {}})
    read = read_installed(venv.root, exact=True)
    assert read.environment.python.pip == (
        f"far @ https://files.example/far-1-py3-none-any.whl#sha256={'a' * 64}",
        "made @ ./made-1.0-py3-none-any.whl",
        "mine @ ./mine",
        f"repo @ git+https://git.example/repo@{commit}#subdirectory=py",
    )
    assert set(read.sources.values()) == {tree, wheel}
    found = [(fault.message.split(" ")[0], fault.code) for fault in read.warnings]
    assert found == [(name, "not_on_an_index") for name in ("far", "made", "mine", "repo")]
    assert [(loss.kind, loss.why.split(" ")[0].rstrip(":")) for loss in read.losses] == [
        ("stripped", "far"),
        ("dropped", "gone"),
    ]
    assert "pw" not in read.text + "".join(map(str, (*read.warnings, *read.losses)))


def test_damaged_and_hostile_metadata_are_reported_and_stop_nothing(venv: Venv, tmp_path: Path) -> None:
    venv.add("good", "1.0")
    venv.add("bad", "not a version\x1b[2J")
    os.mkfifo(venv.add("pipe", "1") / "direct_url.json")
    (venv.packages / "empty-1.dist-info").mkdir()
    fifo = venv.packages / "fifo-1.dist-info"
    fifo.mkdir()
    os.mkfifo(fifo / "METADATA")
    huge = venv.add("huge", "1")
    with (huge / "METADATA").open("ab") as stream:
        stream.truncate(1 << 30)
    (venv.packages / "loop-1.dist-info").symlink_to("loop-1.dist-info")
    (venv.packages / "~ip-1.dist-info").mkdir()
    (venv.packages / "old.egg-link").write_text(str(tmp_path / "nowhere"))
    os.mkdir(os.fsencode(venv.packages) + b"/\xff\x1b-1.dist-info")  # noqa: PTH102 - pathlib takes no bytes
    deep = venv.add("deep", "1")
    (deep / "direct_url.json").write_text("[" * 100_000)
    read = read_installed(venv.root, exact=True)
    assert read.environment.python.pip == ("deep==1", "good==1.0", "pipe==1")
    messages = "\n".join(map(str, (*read.warnings, *read.losses)))
    assert messages.isprintable() or set(messages) - {"\n"} == {c for c in messages if c.isprintable()}
    for name in ("bad", "empty", "fifo", "huge", "loop", "~ip", "old", "\\xff", "pipe", "deep"):
        assert name in messages, name


def test_a_twin_is_reported_and_the_first_on_the_path_taken(venv: Venv) -> None:
    venv.add("alpha", "1.0")
    second = Venv(venv.root.parent / "other")
    second.add("alpha", "2.0")
    (venv.root / "lib64/python3.11").mkdir(parents=True)
    (venv.root / "lib64/python3.11/site-packages").symlink_to(second.packages)
    read = read_installed(venv.root, exact=True)
    assert read.environment.python.pip == ("alpha==1.0",)
    assert [fault.code for fault in read.warnings] == ["installed_twice"]


def test_packages_of_the_base_are_not_taken_over_in_silence(tmp_path: Path) -> None:
    venv = Venv(tmp_path / "venv", config="include-system-site-packages = true\nversion_info = 3.12.1.final.0\n")
    read = read_installed(venv.root)
    assert read.environment.python.requires_python == "==3.12.*"
    assert [loss.kind for loss in read.losses] == ["dropped"]


def test_an_interpreter_is_asked_and_nothing_of_its_environment_is_run(venv: Venv, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    (venv.packages / "evil.pth").write_text(f"import pathlib; pathlib.Path({str(ran)!r}).touch()\n")
    (venv.packages / "sitecustomize.py").write_text(f"import pathlib; pathlib.Path({str(ran)!r}).touch()\n")
    (venv.root / "pyvenv.cfg").write_text(f"home = {Path(sys.executable).resolve().parent}\n")
    (venv.root / "bin").mkdir()
    (venv.root / "bin/python").symlink_to(Path(sys.executable).resolve())
    read = read_installed(venv.root, exact=True)
    assert read.environment.python.requires_python == f"=={'.'.join(map(str, sys.version_info[:3]))}"
    assert not ran.exists()
    base = read_installed(Path(sys.executable).resolve(), exact=True)
    assert base.environment.python.requires_python == read.environment.python.requires_python


def test_what_is_no_environment_says_so(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no environment"):
        read_installed(tmp_path)
    with pytest.raises(NotFound):
        read_installed(tmp_path / "nothing")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python3").write_text("#!/bin/sh\necho hello\n")
    (tmp_path / "bin/python3").chmod(0o755)
    with pytest.raises(InvalidInput, match="does not run"):
        read_installed(tmp_path)
    venv = tmp_path / "venv"
    venv.mkdir()
    os.mkfifo(venv / "pyvenv.cfg")
    with pytest.raises(InvalidInput):
        read_installed(venv)


def test_which_environment_is_in_use(tmp_path: Path) -> None:
    venv, own = Venv(tmp_path / "venv").root, Venv(tmp_path / "own").root
    for root in (venv, own):
        (root / "bin").mkdir()
        (root / "bin/python3").write_text("")
        (root / "bin/python3").chmod(0o755)
    conda = tmp_path / "conda"
    (conda / "conda-meta").mkdir(parents=True)
    assert find_in_use({"VIRTUAL_ENV": str(venv), "CONDA_PREFIX": str(conda)}, own) == (venv, None)
    assert find_in_use({"CONDA_PREFIX": str(conda)}, own) == (conda, None)
    assert find_in_use({"PATH": f"{tmp_path / 'nothing'}:{venv / 'bin'}"}, own) == (venv, None)
    found, said = find_in_use({"VIRTUAL_ENV": str(own), "PATH": f"{own / 'bin'}:{venv / 'bin'}"}, own)
    assert found == venv
    assert "passed over" in (said or "")
    found, said = find_in_use({"VIRTUAL_ENV": str(own)}, own)
    assert found == own
    assert "Wardian itself" in (said or "")
    with pytest.raises(NotFound):
        find_in_use({"PATH": ""}, own)


@pytest.mark.parametrize("marker", ['os_name ~= "x"', 'python_version ~= "abc"', "(" * 5000])
def test_a_marker_that_nobody_can_evaluate_needs_nothing(venv: Venv, marker: str) -> None:
    venv.add("alpha", "1.0", requested=True, requires=(f"beta; {marker}", "gamma"))
    venv.add("beta", "1.0")
    venv.add("gamma", "1.0")
    read = read_installed(venv.root)
    assert read.environment.python.pip == ("alpha==1.0",)
    assert codes(read) == {"beta": "dropped"}
