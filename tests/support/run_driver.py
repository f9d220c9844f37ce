"""Submits one run in a process of its own: `python -m tests.support.run_driver ROOT submit|detach|supervise …`.

ROOT holds ``workspace.db``, ``runs/`` and ``project/``. Options are ``name=value``; what there is to say goes to stdout as JSON.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from wardian.errors import WardianError
from wardian.run.configuration import Command, Prepared, RunConfiguration, RunEnvironment
from wardian.run.detach import submit_detached
from wardian.run.records import RunStore
from wardian.run.submit import submit, supervise
from wardian.run.surroundings import Surroundings
from wardian.run.targets.local import LocalTarget
from wardian.workspace.database import Database

if TYPE_CHECKING:
    from wardian.events import Listener
    from wardian.run.record import RunRecord


def main() -> int:
    root = Path(sys.argv[1])
    action, *rest = sys.argv[2:]
    options = dict(item.split("=", 1) for item in rest if "=" in item)
    store = RunStore(Database.open(root / "workspace.db"))
    around = Surroundings(grace_s=float(options.get("grace_s", "2")))

    def prepare(_record: RunRecord, _listener: Listener) -> Prepared:
        if gate := options.get("gate"):  # a named pipe: opening it waits for the other side
            Path(gate).read_text()
        prefix = Path(options["prefix"]) if "prefix" in options else None
        read_only = (prefix,) if prefix and "link" in options else ()
        return Prepared(prefix, sys.executable, environment=RunEnvironment(summary="driven"), read_only=read_only)

    target = LocalTarget(tick_s=float(options.get("tick_s", "5")))
    if action == "supervise":
        supervise(rest[0], store, root / "runs", prepare, surroundings=around, target=target)
        return 0
    timeout_s = float(options["timeout_s"]) if "timeout_s" in options else None
    command = Command("script", options.get("script", "train.py"))
    variables = {name.removeprefix("V:"): value for name, value in options.items() if name.startswith("V:")}
    configuration = RunConfiguration(command, source=root / "project", timeout_s=timeout_s, variables=variables)
    try:
        if action == "detach":
            driver = [sys.executable, "-m", "tests.support.run_driver", str(root), "supervise"]
            inherited = [item for item in rest if item.startswith(("gate=", "tick_s=", "grace_s="))]
            record = submit_detached(
                configuration, store, root / "runs", lambda run_id: [*driver, run_id, *inherited], surroundings=around
            )
            print(json.dumps({"id": record.id, "state": record.state, "zombies": _zombies()}))
            return 0
        before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        streams = (sys.stdout.buffer, sys.stderr.buffer) if "pass" in options else (None, None)
        record = submit(
            configuration,
            store,
            root / "runs",
            prepare,
            surroundings=around,
            target=target,
            stdout=streams[0],
            stderr=streams[1],
        )
    except WardianError as error:
        print(json.dumps({**error.as_document(), "exit": 125}))
        return 125
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib
    if "pass" not in options:
        print(json.dumps({"id": record.id, "state": record.state, "grown_kib": grown_kib, "zombies": _zombies()}))
    return record.process_exit_code or 0


def _zombies() -> int:
    try:
        return os.waitpid(-1, os.WNOHANG)[0]
    except ChildProcessError:
        return 0


if __name__ == "__main__":
    raise SystemExit(main())
