"""Tries a remote target out: whether its engine answers, its nodes see what is sent there, and a job runs and leaves its word."""

from __future__ import annotations

import contextlib
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from wardian.errors import WardianError
from wardian.run.configuration import Resources
from wardian.run.node.sheet import RUNS
from wardian.run.targets.remote import ENDED, RUNNING, WAITING, Finding, Task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wardian.run.handover import Way
    from wardian.run.targets.remote import Standing

_PAUSE_S = 0.2
_SAID = "said"
_WORD = b"from here\n"
_REFUSED = b"may not be executed\n"
_SCRIPT = (  # in one line: engines take no others
    rf"cat there > {_SAID} || exit 1; "
    rf"printf '#!/bin/sh\n:\n' > program && chmod u+x program && {{ ./program || echo may not be executed >> {_SAID}; }}; "
    rf"uname -n >> {_SAID}"
)


def try_out(way: Way, key: str, *, wait_s: float = 30.0) -> Sequence[Finding]:
    """Return what there is to know of a target: the engine's own findings, then those of a probe, which is removed again.

    Args:     key: of the probe's task.  wait_s: for how long it may wait in the queue.
    Raises:   nothing but bugs: what fails is a finding.
    """
    found = list(way.target.check())
    if not all(one.ok for one in found):
        return found
    if (tried := getattr(way.carrier, "try_out", None)) is not None:  # it says all that can be said without a run
        try:
            return [*found, tried(key)]
        except WardianError as error:
            return [*found, Finding("files", False, error.message, error.hint or "")]
    if not getattr(way.target, "takes_probes", True):
        return found
    path, subject = f"{RUNS}/{key}", "directory"
    try:
        with tempfile.TemporaryDirectory() as scratch:
            word = Path(scratch, "there")
            word.write_bytes(_WORD)
            way.carrier.send({f"{path}/there": str(word)})
        found.append(Finding("directory", True, f"{way.carrier.root} can be written"))
        subject = "probe"
        return [*found, _probe(way, key, path, wait_s)]
    except WardianError as error:
        return [*found, Finding(subject, False, error.message, error.hint or "")]
    finally:
        with contextlib.suppress(WardianError):
            way.carrier.remove(path)


def _probe(way: Way, key: str, path: str, wait_s: float) -> Finding:
    directory = f"{way.carrier.root.rstrip('/')}/{path}"
    handle = way.target.submit(Task(key, ("/bin/sh", "-c", _SCRIPT), directory, Resources(cpus=1), 60, dict(way.options)))
    standing = _waited(way, handle, wait_s)
    if standing.state in (WAITING, RUNNING):
        way.target.cancel([handle])
        why = f": {standing.reason}" if standing.reason else ""
        return Finding("probe", True, f"a small job was {'still waiting' if standing.state == WAITING else 'still running'} after {wait_s:g} s{why}",
                       "runs will wait, too, while there is so much to do")  # fmt: skip
    said = way.carrier.read(f"{path}/{_SAID}", 0, 1000)
    if said is None or not said.startswith(_WORD):
        return Finding("probe", False, f"a small job ended ({standing.reason or standing.cause}), but left no word in {directory}",
                       "nodes must see this directory at the same path as this machine: `--option directory=…` names one that they share")  # fmt: skip
    said = said.removeprefix(_WORD)
    if said.startswith(_REFUSED):
        on = said.removeprefix(_REFUSED).decode(errors="replace").strip()[:200]
        return Finding("probe", False, f"programs in {way.carrier.root} may not be executed on {on}: is it mounted `noexec`?",
                       "`--option directory=…` names another directory")  # fmt: skip
    return Finding("probe", True, f"a small job ran on {said.decode(errors='replace').strip()[:200]}")


def _waited(way: Way, handle: str, wait_s: float) -> Standing:
    deadline = time.monotonic() + wait_s
    while True:
        standing = way.target.standings([handle])[handle]
        if standing.state == ENDED or time.monotonic() >= deadline:
            return standing
        time.sleep(_PAUSE_S)
