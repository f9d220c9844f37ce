"""Looks over this machine: what works, what does not, and what to do about it."""

from __future__ import annotations

import subprocess
import sysconfig
import threading
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from wardian.errors import WardianError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wardian.bootstrap import Parts

OK, WARNING, FAILED = "ok", "warning", "failed"
DEADLINE_S = 8.0
OWN = frozenset({"home", "cache", "locks", "records"})  # without these nothing works


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: stable, for machines.
        state: ``ok`` | ``warning``: it works, but less well | ``failed``: something will not work.
        found: what was found, one line.
        what_to_do: the next step; empty if there is none.
    """

    name: str
    state: str
    found: str
    what_to_do: str = ""

    def as_document(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


def examine(parts: Parts, *, deadline_s: float = DEADLINE_S) -> tuple[Check, ...]:
    """Return the result of every check, in a fixed order. Nothing that exists is changed.

    All checks run at once; one that has no answer after ``deadline_s`` seconds is a warning, as a busy machine is slow
    and works; it has failed if it is about Wardian's own directories or records (`OWN`).
    """
    from wardian.sdk.checks_machine import MACHINE
    from wardian.sdk.checks_outside import OUTSIDE

    return run_checks({**MACHINE, **OUTSIDE}, parts, deadline_s=deadline_s)


def run_checks(checks: Mapping[str, Callable[[Parts], Check]], parts: Parts, *, deadline_s: float) -> tuple[Check, ...]:
    """Run ``checks`` side by side, each in a thread that nothing waits for once ``deadline_s`` seconds have passed.

    An error that a check raises is its result: ``failed``, with the error's hint.
    """
    import logging  # noqa: F401 - it registers hooks for forks, which must not come while another thread forks (CPython 3.11)

    sysconfig.get_config_vars()  # filled when it is first asked, and not safe between threads then (CPython before 3.14)
    deadline = time.monotonic() + deadline_s
    at_work = [(name, _Work(name, check, parts)) for name, check in checks.items()]
    for _, work in at_work:
        work.start()
    return tuple(work.result(deadline - time.monotonic(), deadline_s) for _, work in at_work)


class _Work(threading.Thread):
    """One check. A daemon: a file system or a server that never answers must not keep the process alive."""

    def __init__(self, name: str, check: Callable[[Parts], Check], parts: Parts):
        super().__init__(name=f"wardian-check-{name}", daemon=True)
        self._subject = name
        self._check = check
        self._parts = parts
        self._found: Check | None = None
        self._bug: BaseException | None = None

    def run(self) -> None:
        try:
            self._found = self._check(self._parts)
        except WardianError as error:
            self._found = Check(self._subject, FAILED, " ".join(error.message.split()), error.hint or "")
        except OSError as error:
            place = f": {error.filename}" if error.filename else ""
            self._found = Check(self._subject, FAILED, f"{error.strerror or error}{place}")
        except subprocess.TimeoutExpired:
            pass  # no answer
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that asked
            self._bug = error

    def result(self, left_s: float, deadline_s: float) -> Check:
        self.join(max(0.0, left_s))
        if self._bug is not None:
            raise self._bug
        if self._found is None:
            return Check(
                self._subject,
                FAILED if self._subject in OWN else WARNING,
                f"no answer within {deadline_s:g} s",
                "the machine is busy, or something hangs that this needs: a file system, a server or a tool",
            )
        return self._found
