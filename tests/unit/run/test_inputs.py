from __future__ import annotations

import os
from pathlib import Path

import pytest

from wardian.digest import Digest
from wardian.errors import InvalidInput, NotFound
from wardian.formats.tree import tree_digest
from wardian.run.inputs import LOOKED_AT_FILES, changed_inputs, record_inputs


def test_files_and_directories_are_recorded_by_size_and_time(tmp_path: Path) -> None:
    (tmp_path / "d/inner").mkdir(parents=True)
    (tmp_path / "d/a").write_text("12")
    (tmp_path / "d/inner/b").write_text("345")
    os.utime(tmp_path / "d/a", (1, 1))
    inputs = {"file": tmp_path / "d/a", "directory": tmp_path / "d"}
    records = record_inputs(inputs)
    assert (records["file"].size_bytes, records["file"].modified) == (2, "1970-01-01T00:00:01.000000Z")
    assert (records["directory"].size_bytes, records["directory"].files) == (5, 2)
    assert records["file"].digest is None
    assert changed_inputs(records, inputs) == []
    (tmp_path / "d/inner/b").write_text("3456")
    assert changed_inputs(records, inputs) == ["directory"]
    (tmp_path / "d/a").unlink()
    assert changed_inputs(records, inputs) == ["file", "directory"]


def test_digests_are_taken_when_asked_for(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/a").write_text("12")
    records = record_inputs({"file": tmp_path / "d/a", "directory": tmp_path / "d"}, digest=True)
    assert records["file"].digest == Digest.of(b"12")
    assert records["directory"].digest == tree_digest(tmp_path / "d")


def test_a_huge_directory_is_looked_at_in_part(tmp_path: Path) -> None:
    for n in range(LOOKED_AT_FILES + 5):
        os.close(os.open(tmp_path / str(n), os.O_CREAT | os.O_WRONLY))
    record = record_inputs({"data": tmp_path})["data"]
    assert (record.files, record.is_partial) == (LOOKED_AT_FILES, True)


def test_what_is_no_input(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="`data` is not there") as caught:
        record_inputs({"data": tmp_path / "missing"})
    assert caught.value.stable_code == "input_not_found"
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InvalidInput, match="neither a file nor a directory"):
        record_inputs({"data": tmp_path / "pipe"})


def test_files_that_go_while_a_directory_is_looked_at_do_not_count() -> None:
    assert record_inputs({"data": Path("/proc/self")})["data"].files  # its list of open files names that of the list itself
