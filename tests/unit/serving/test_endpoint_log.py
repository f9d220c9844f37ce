"""The log of an endpoint: lines of the keeper, the place of a traceback, its size; read as it grows."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from wardian.serving.directory import EndpointDirectory
from wardian.serving.log import EndpointLog, follow

if TYPE_CHECKING:
    from pathlib import Path


def a_log(place: Path, **options: int) -> tuple[EndpointLog, EndpointDirectory]:
    directory = EndpointDirectory(place)
    return EndpointLog(directory, now=lambda: 0.0, **options), directory


def test_the_line_of_the_last_traceback_after_a_place(tmp_path: Path) -> None:
    log, directory = a_log(tmp_path)
    os.write(log.descriptor, b"one\nTraceback (most recent call last):\n  x\nValueError\n")
    offset = log.size_bytes
    assert log.traceback_line(offset) is None
    os.write(log.descriptor, b"two\n E Traceback (most recent call last):\n  y\nKeyError\nlast")
    assert log.traceback_line(offset) == 6
    assert log.traceback_line(0) == 6
    assert directory.log.read_text().splitlines()[5] == " E Traceback (most recent call last):"
    os.write(log.descriptor, b"\nTraceback (most recent call last):")
    assert log.traceback_line(offset) == 10


def test_a_line_of_the_keeper_says_when(tmp_path: Path) -> None:
    log, directory = a_log(tmp_path)
    log.tell("replica x is ready")
    assert directory.log.read_text() == "1970-01-01T00:00:00Z wardian: replica x is ready\n"
    assert directory.log.stat().st_mode & 0o777 == 0o600


def test_a_log_that_is_too_long_becomes_the_older_one(tmp_path: Path) -> None:
    log, directory = a_log(tmp_path, limit_bytes=10)
    os.write(log.descriptor, b"0123456789")
    assert not log.shorten()
    os.write(log.descriptor, b"x")
    assert log.shorten()
    os.write(log.descriptor, b"new")  # who has it open goes on at the new end
    assert (directory.older_log.read_bytes(), directory.log.read_bytes()) == (b"0123456789x", b"new")


def test_followed_as_it_grows_and_after_it_was_shortened(tmp_path: Path) -> None:
    log, directory = a_log(tmp_path, limit_bytes=4)
    writes = [b"first", b"", b"second", b"end"]

    def goes_on() -> bool:
        log.shorten()
        os.write(log.descriptor, writes.pop(0))
        return bool(writes)

    assert b"".join(follow(directory.log, goes_on)) == b"firstsecondend"
