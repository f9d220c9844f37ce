"""A log that came by way of an engine is made the one that the run has left."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from wardian.run.directory import RunDirectory
from wardian.run.homecoming import bring_log, settle_log
from wardian.run.place import Place
from wardian.run.targets.shared_directory import SharedDirectory

if TYPE_CHECKING:
    from pathlib import Path

KEY = "01abcdefghjk"


@pytest.mark.parametrize("here", [None, "", "one\n", "one\ntwo\n", "two\n", "one\ntwo\n\n", "one\nTWO\n"])
@pytest.mark.parametrize("rank", [0, 1])
def test_the_log_that_was_left_is_the_log(tmp_path: Path, here: str | None, rank: int) -> None:
    carrier, place, directory = SharedDirectory(tmp_path / "there"), Place("k", {}, "", KEY), RunDirectory.of(tmp_path, KEY)
    directory.path.mkdir()
    name = f"log.{rank}.txt" if rank else "log.txt"
    (tmp_path / "whole").write_text("one\ntwo\n")
    carrier.send({f"runs/{KEY}/{name}": str(tmp_path / "whole")})
    if here is not None:
        (directory.path / name).write_text(here)
    settle_log(carrier, place, directory, rank)
    assert (directory.path / name).read_text() == "one\ntwo\n"
    assert bring_log(carrier, place, directory, rank)
    assert (directory.path / name).read_text() == "one\ntwo\n", "nothing is added to what is whole"
    assert [path.name for path in directory.path.iterdir()] == [name]


def test_a_run_that_left_none_keeps_what_was_seen_of_it(tmp_path: Path) -> None:
    carrier, directory = SharedDirectory(tmp_path / "there"), RunDirectory.of(tmp_path, KEY)
    directory.path.mkdir()
    directory.log.write_text("seen\n")
    settle_log(carrier, Place("k", {}, "", KEY), directory)
    assert directory.log.read_text() == "seen\n"
