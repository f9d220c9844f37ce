"""Work done ahead of who needs it: side by side with the block, and quiet about what goes wrong."""

from __future__ import annotations

import threading

import pytest

from wardian.errors import InvalidInput
from wardian.tools.meanwhile import meanwhile, said_if_slow


def test_it_is_done_while_the_block_waits_and_has_ended_behind_it() -> None:
    begun, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        may_end.wait(60)
        ended.set()

    with meanwhile(work):
        assert begun.wait(60)
        assert not ended.is_set()
        may_end.set()
    assert ended.is_set()


def test_its_errors_are_told_by_who_does_it_again() -> None:
    def work() -> None:
        raise InvalidInput("no")

    with meanwhile(work):
        pass


def test_an_error_of_the_block_comes_out_when_the_work_has_ended() -> None:
    ended = threading.Event()
    with pytest.raises(KeyError), meanwhile(ended.set):
        raise KeyError
    assert ended.is_set()


def test_what_takes_long_is_said_while_it_lasts() -> None:
    said = threading.Event()
    with said_if_slow(said.set, after_s=0):
        assert said.wait(60)


def test_what_is_quick_is_not_said() -> None:
    said = threading.Event()
    before = threading.active_count()
    with said_if_slow(said.set, after_s=3600):
        assert threading.active_count() == before + 1
    assert not said.is_set()
