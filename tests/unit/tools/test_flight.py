"""One process makes a thing; the others see its log and share its error."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from wardian.errors import InvalidInput, WardianError
from wardian.events import Event
from wardian.tools.flight import Flight, SharedFailure

if TYPE_CHECKING:
    from pathlib import Path

_LEADER = """
import sys, time
from pathlib import Path
from wardian.errors import InvalidInput
from wardian.events import Event, silent
from wardian.tools.flight import Flight
place, how = Path(sys.argv[1]), sys.argv[2]
with Flight(place / "thing").lead(silent, (place / "made").exists) as listener:
    listener(Event("phase", "first step"))
    print("leads", flush=True)
    sys.stdin.readline()
    listener(Event("output", "ünusual word", data={"bytes": 7}))
    if how == "fail":
        raise InvalidInput("it cannot be made", hint="make another", code="no_way", details={"of": "what"})
    (place / "made").touch()
"""


def _leader(place: Path, how: str = "make") -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _LEADER, str(place), how]
    leader = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert leader.stdout is not None
    assert leader.stdout.readline() == "leads\n"
    return leader


def _let_go(leader: subprocess.Popen[str]) -> None:
    leader.communicate("\n", timeout=30)


class Heard:
    """A listener that acts once it has heard a certain word."""

    def __init__(self, word: str, leader: subprocess.Popen[str]):
        self.events: list[Event] = []
        self._word, self._leader = word, leader

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        if event.text == self._word and self._leader.stdin is not None:
            self._leader.stdin.write("\n")
            self._leader.stdin.flush()


def test_who_comes_first_makes_it_and_who_comes_later_finds_it_made(tmp_path: Path) -> None:
    made = tmp_path / "made"
    heard: list[Event] = []
    with Flight(tmp_path / "thing").lead(heard.append, made.exists) as listener:
        assert listener is not None
        listener(Event("phase", "makes"))
        made.touch()
    with Flight(tmp_path / "thing").lead(heard.append, made.exists) as listener:
        assert listener is None
    assert [event.text for event in heard] == ["makes"]


def test_who_waits_hears_what_the_maker_says_and_finds_it_made(tmp_path: Path) -> None:
    leader = _leader(tmp_path)
    heard = Heard("first step", leader)
    with Flight(tmp_path / "thing").lead(heard, (tmp_path / "made").exists) as listener:
        assert listener is None
    assert leader.wait(30) == 0
    leader.communicate()
    assert [event.text for event in heard.events][:2] == ["waiting for another process that makes the same thing", "first step"]


def test_who_waits_fails_as_the_maker_does(tmp_path: Path) -> None:
    leader = _leader(tmp_path, "fail")
    heard = Heard("first step", leader)
    with pytest.raises(SharedFailure) as caught, Flight(tmp_path / "thing").lead(heard, (tmp_path / "made").exists):
        pytest.fail("it is not to be tried again")
    leader.communicate()
    error = caught.value
    assert (error.message, error.hint, error.stable_code, error.exit_code) == ("it cannot be made", "make another", "no_way", 2)
    assert error.details == {"of": "what"}


def test_who_comes_after_a_failure_tries_anew(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput), Flight(tmp_path / "thing").lead(print, (tmp_path / "made").exists):
        raise InvalidInput("no")
    with Flight(tmp_path / "thing").lead(print, (tmp_path / "made").exists) as listener:
        assert listener is not None


def test_a_maker_that_is_killed_is_followed_by_one_who_waits(tmp_path: Path) -> None:
    leader = _leader(tmp_path)

    def kill(event: Event) -> None:
        if event.text == "first step":
            os.kill(leader.pid, signal.SIGKILL)

    with Flight(tmp_path / "thing").lead(kill, (tmp_path / "made").exists) as listener:
        assert listener is not None
    leader.communicate()
    assert leader.returncode == -signal.SIGKILL


def test_many_at_once_make_it_once(tmp_path: Path) -> None:
    program = (
        _LEADER.replace("sys.stdin.readline()", "time.sleep(0.2); (place / 'count').open('a').write('x')")
        .replace("listener(Event", "listener and listener(Event")
        .replace('print("leads", flush=True)', "sys.exit(0) if listener is None else None")
    )
    many = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path), "make"]) for _ in range(8)]
    assert [one.wait(60) for one in many] == [0] * 8
    assert (tmp_path / "count").read_text() == "x"


def test_a_flight_over_a_full_or_damaged_note_still_flies(tmp_path: Path) -> None:
    (tmp_path / "thing.failed").write_text("not JSON")
    (tmp_path / "thing.log").write_text('["half a li')
    started = time.time_ns()
    with Flight(tmp_path / "thing").lead(print, (tmp_path / "made").exists) as listener:
        assert listener is not None
    assert started
    with pytest.raises(WardianError), Flight(tmp_path / "thing").lead(print, (tmp_path / "made").exists):
        raise WardianError("of this one alone")


@pytest.mark.parametrize(
    "note", ["", "not JSON", "[]", "{}", '{"at": null}', '{"at": "never"}', '{"at": 9e30, "exit_code": "x"}']
)
def test_who_waited_takes_a_damaged_note_for_none(tmp_path: Path, note: str) -> None:
    leader = _leader(tmp_path)

    def damage(event: Event) -> None:
        if event.text == "first step":
            (tmp_path / "thing.failed").write_text(note)
            os.kill(leader.pid, signal.SIGKILL)

    with Flight(tmp_path / "thing").lead(damage, (tmp_path / "made").exists) as listener:
        assert listener is not None
    leader.communicate()


_ON_A_FULL_DISK = """
import resource, sys
from pathlib import Path
from wardian.errors import DiskFull
from wardian.events import Event, silent
from wardian.tools.flight import Flight
place = Path(sys.argv[1])
try:
    with Flight(place / "thing").lead(silent, (place / "made").exists) as listener:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
        listener(Event("output", "x" * 300))
        raise DiskFull(str(place), needed_bytes=7, free_bytes=0)
except DiskFull as error:
    print("said", error.stable_code)
"""


def test_a_log_that_cannot_be_written_does_not_hide_what_the_maker_says(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", _ON_A_FULL_DISK, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.stdout == "said disk_full\n", done.stderr
