from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from wardian.errors import InvalidInput, NotFound
from wardian.run.configuration import Command
from wardian.run.script import check_script, script_command, with_runner
from wardian.run.source_tree import scan

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    (root / "src").mkdir(parents=True)
    (root / "train.py").write_text("")
    (root / "src/eval.py").write_text("")
    return root


def test_a_script_is_named_from_where_the_user_stands(project: Path) -> None:
    def named(script: str, *, source: Path = project, directory: Path = project) -> str:
        return script_command(script, ["-x"], source=source, directory=directory).name

    assert script_command("train.py", ["-x"], source=project, directory=project) == Command("script", "train.py", ("-x",))
    assert named("./src/../train.py") == "train.py"
    assert named("src/eval.py") == "src/eval.py"
    assert named(str(project / "src/eval.py")) == "src/eval.py"
    assert named("eval.py", directory=project / "src") == "src/eval.py"
    assert named("../train.py", directory=project / "src") == "train.py"
    assert named("eval.py", source=project / "src", directory=project) == "eval.py"


def test_a_script_outside_of_the_source_directory_is_refused_with_a_way_out(project: Path, tmp_path: Path) -> None:
    (tmp_path / "other.py").write_text("")
    with pytest.raises(InvalidInput, match="outside of the source directory") as caught:
        script_command("../other.py", [], source=project, directory=project)
    assert caught.value.stable_code == "script_outside_source"
    assert "--source" in str(caught.value.hint)
    with pytest.raises(InvalidInput):
        script_command(".", [], source=project, directory=project)


def test_a_missing_script_is_said_with_the_one_that_was_meant(project: Path) -> None:
    with pytest.raises(NotFound, match=r"no script `tarin\.py`") as caught:
        script_command("tarin.py", [], source=project, directory=project)
    assert caught.value.hint == "did you mean `train.py`?"
    with pytest.raises(NotFound) as other:
        script_command("bash", [], source=project, directory=project)
    assert "-- COMMAND" in str(other.value.hint)


def test_a_script_that_the_snapshot_will_not_have_is_refused(project: Path) -> None:
    (project / ".gitignore").write_text("src/\n")
    tree = scan(project)
    check_script(Command("script", "train.py"), tree)
    check_script(Command("script", "./train.py"), tree)
    check_script(Command("module", "anything"), None)
    with pytest.raises(NotFound, match="left out of the snapshot") as caught:
        check_script(Command("script", "src/eval.py"), tree)
    assert ".gitignore" in str(caught.value.hint)
    with pytest.raises(NotFound, match=r"no script `evil\.py`"):
        check_script(Command("script", "evil.py"), tree)
    with pytest.raises(NotFound):
        check_script(Command("script", "../other.py"), tree)
    with pytest.raises(InvalidInput, match="no source directory"):
        check_script(Command("script", "train.py"), None)


def test_a_directory_with_a_main_module_is_a_script(project: Path) -> None:
    (project / "src/__main__.py").write_text("")
    check_script(Command("script", "src"), scan(project))


@pytest.mark.parametrize(
    ("name", "first", "runner"),
    [
        ("train.py", "#!/usr/bin/env Rscript", ()),
        ("train.R", "library(stats)", ("Rscript",)),
        ("train.r", "#!/usr/bin/Rscript --vanilla", ("Rscript", "--vanilla")),
        ("train.R", "#!/usr/bin/env -S Rscript --vanilla\r", ("Rscript", "--vanilla")),
        ("train.sh", "echo", ("sh",)),
        ("train.sh", "#!/bin/bash -eu", ("bash", "-eu")),
        ("train.sh", "#!/usr/bin/env LANG=C bash", ("bash",)),
        ("train.bash", "", ("bash",)),
        ("train", "#! /bin/busybox sh", ("busybox", "sh")),
        ("train", "#!/usr/bin/python3.11 -u", ()),
        ("train.R", "#!/usr/bin/env python3", ()),
        ("train", "print(1)", ()),
        ("train.txt", "", ()),
        ("train.R", "#!", ("Rscript",)),
        ("train.sh", "#!/usr/bin/env", ("sh",)),
        ("train.sh", "#!/bin/\udcff", ("sh",)),
        ("missing.R", None, ("Rscript",)),
    ],
)
def test_a_script_is_run_by_what_its_first_line_or_its_suffix_names(
    project: Path, name: str, first: str | None, runner: tuple[str, ...]
) -> None:
    if first is not None:
        (project / name).write_bytes(f"{first}\nmore\n".encode(errors="surrogateescape"))
    command = with_runner(Command("script", name, ("a",)), project)
    assert command.runner == runner
    assert command.argv("/env/python") == (*(runner or ("/env/python",)), name, "a")
    assert command.wants_python is not bool(runner)


def test_what_is_no_file_waits_for_nobody(project: Path) -> None:
    os.mkfifo(project / "pipe")
    assert with_runner(Command("script", "pipe"), project).runner == ()
    assert with_runner(Command("script", "src"), project).runner == ()
    program = Command("program", "x.sh")
    assert with_runner(program, project) == program
