from __future__ import annotations

import os
from pathlib import Path

import pytest

from wardian.small_file import NoSmallFile, read_small


def test_a_file_and_a_link_to_one_are_read_whole(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 200_000)
    (tmp_path / "link").symlink_to("a")
    assert read_small(tmp_path / "a") == read_small(tmp_path / "link") == b"x" * 200_000
    (tmp_path / "empty").touch()
    assert read_small(tmp_path / "empty") == b""


def test_a_file_of_just_the_limit_is_read_and_a_larger_one_is_not(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    assert read_small(tmp_path / "a", 5) == b"12345"
    with pytest.raises(NoSmallFile, match="larger than 4 bytes"):
        read_small(tmp_path / "a", 4)


def test_what_is_no_regular_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zeros").symlink_to("/dev/zero")
    for path in (tmp_path / "pipe", tmp_path / "zeros", tmp_path, Path("/dev/tty0")):
        with pytest.raises((NoSmallFile, FileNotFoundError)):
            read_small(path)
