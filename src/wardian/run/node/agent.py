"""The node's agent: from a sheet to how its run ended."""

from __future__ import annotations

import os
import re
import sys
import time
import traceback
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from wardian.errors import InvalidInput, NotFound, RunFailed, WardianError
from wardian.events import Event, Listener, silent
from wardian.run.configuration import RunConfiguration
from wardian.run.node.claim import Canceled, Claim, take
from wardian.run.node.others import Others, as_ours
from wardian.run.node.place import NodePlace
from wardian.run.node.prepare import prepare_in_image, prepare_lock, prepare_observed
from wardian.run.node.ranks import Rank, engine_attempt, rank_of
from wardian.run.node.sheet import AGENTS, RELEASED, SECRETS_FILE, NodeEnd, Secrets
from wardian.run.node.watch import NodeWatch
from wardian.run.record import RUNNING, RunRecord
from wardian.run.signals import interruptible
from wardian.run.targets.local import LocalTarget
from wardian.run.targets.target import Ended, Job
from wardian.run.variables import SYSTEM_PATH, caller_variables, job_variables
from wardian.run.verdict import left_over, verdict
from wardian.run.write_faults import WriteFaults
from wardian.tools.disk import disk_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wardian.run.configuration import Command, Prepared
    from wardian.run.node.prepare import NodeParts
    from wardian.run.node.sheet import Sheet
    from wardian.run.signals import Interruptible

TAKEN_OVER = 125
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_SECRETS_READ = ".secrets-read"  # among the claims


@dataclass(frozen=True, slots=True)
class NodeMeans:
    """What an agent works with: what installs, given a cache and the node's variables; those variables; and who listens.

    Attributes:
        alone: the run's directory is this node's own: other nodes of the run, and its submitter, see nothing of it.
        echo: what the job writes goes to this descriptor, too; None: to its log alone.
        on_start: called when the job starts.
    """

    parts: Callable[[Path, Mapping[str, str]], NodeParts]
    environ: Mapping[str, str]
    listener: Listener = silent
    alone: bool = False
    echo: int | None = None
    on_start: Callable[[], object] = lambda: None


def execute(file: Path, means: NodeMeans) -> int:
    """Run the run whose sheet is ``file``, once, however often it is started; return its exit code.

    What becomes of it is written to ``ended.json`` beside the sheet, last and at once. Only what cannot be written there is raised.

    Raises:   InvalidInput: ``bad_sheet``.  RunFailed: ``rank_unknown``.  DiskFull.  Denied.
    """
    place = NodePlace(Path(os.path.abspath(file)).parent)  # noqa: PTH100 - links stay as the engine names them
    try:
        sheet = place.read_sheet(file)
        if not _RUN_ID.fullmatch(sheet.run_id):
            raise InvalidInput(f"`{sheet.run_id[:80]}` is no run's id", code="bad_sheet")
        rank = rank_of(sheet.resources.nodes, means.environ)
    except WardianError as error:
        if file.exists():
            place.write_end(_failed(error))
        raise
    if rank is not None:
        place = place.of(rank.number)
    with interruptible(patient=True) as signals:
        try:
            claim = take(
                place, attempt=engine_attempt(means.environ), heartbeat_s=sheet.heartbeat_s,
                on_wait=lambda whom: means.listener(Event("notice", f"waiting for {whom}, which runs the same run")),
            )  # fmt: skip
        except (Canceled, KeyboardInterrupt):
            return NodeEnd("stopped", code=signals.stop.cause).process_exit_code
        if isinstance(claim, NodeEnd):
            return claim.process_exit_code
        place.keep_room()
        return _Attempt(sheet, claim, rank, means, signals).to_its_end()


class _Attempt:
    def __init__(self, sheet: Sheet, claim: Claim, rank: Rank | None, means: NodeMeans, signals: Interruptible) -> None:
        self.sheet, self.claim, self.place, self.means, self.signals = sheet, claim, claim.place, means, signals
        self.rank = rank or Rank()
        self.rank_variables = rank.variables(sheet.run_id) if rank else {}
        self.has_others = self.rank.of > 1 and not means.alone
        self.prepared: Prepared | None = None
        self.watch: NodeWatch | None = None

    def to_its_end(self) -> int:
        """Do it, write how it ended, and return the exit code."""
        end = self._carried_out()
        if self.watch is not None and not self.watch.fenced and self.has_others:
            end = self._with_others(end, self.watch)
        goes_on = self._may_go_on(end)
        if self.watch is not None:
            self.watch.close(RELEASED if goes_on else "")
        if goes_on:
            self.means.listener(
                Event("notice", f"attempt {self.claim.attempt} was told to end; how the run ends is its engine's to say")
            )
            return end.process_exit_code
        if (self.watch is not None and self.watch.fenced) or self.claim.is_lost_for_good():
            self.means.listener(Event("notice", f"attempt {self.claim.attempt} ends: another one has the run"))
            said = self.place.of(0).read_end()
            return said.process_exit_code if said else TAKEN_OVER
        end = replace(end, ended=_moment(), node=os.uname().nodename, attempt=self.claim.attempt)
        if not self.rank.number:
            self.place.remove_secrets()
        try:
            self.place.write_end(end)
        except WardianError as error:  # the exit code still says it
            self.means.listener(Event("warning", f"how the run ended could not be written: {error.message}"))
        return end.process_exit_code

    def _may_go_on(self, end: NodeEnd) -> bool:
        """Return whether an engine that may start the run again has told this start to end: then only the engine knows if it will."""
        by_signal = end.cause == "stopped" or (
            end.cause == "exited" and end.signal is not None and bool(self.signals.stop.cause)
        )
        if not self.sheet.may_restart or not by_signal or self.place.cancel.exists() or self.claim.is_lost():
            return False
        return self.watch is None or self.watch.failed_rank is None

    def _carried_out(self) -> NodeEnd:
        """Return how it went; nothing is raised."""
        try:
            command, secrets = self._secrets()  # before the first sign of life, which says that they were read
            self.watch = NodeWatch(
                self.claim, self.signals.stop, self.sheet.heartbeat_s, echo=self.means.echo, on_start=self.means.on_start
            )
            if self.has_others:
                others = Others(self.claim, self.rank, self.sheet.heartbeat_s)
                self.watch.others, self.watch.on_tick = others.failed, self._forget_secrets(others)
            with disk_errors(self.place.directory):
                return self._run(self.watch, command, secrets)
        except KeyboardInterrupt:
            self.signals.from_now_to_the_job()
            code = self.signals.stop.cause or "canceled"
            return NodeEnd("stopped", code=code, reason=f"{code} before its script was started")
        except WardianError as error:
            return _failed(error)
        except OSError as error:
            place = f": {error.filename}" if error.filename else ""
            return NodeEnd("failed", code="system_error", reason=f"the system says: {error.strerror or error}{place}")
        except Exception as error:  # noqa: BLE001 - whoever reads the record is not on this node
            traceback.print_exc(file=sys.stderr)
            detail = traceback.format_exc()[-4000:]
            return NodeEnd("failed", code="bug", reason=f"{type(error).__name__}: {str(error)[:500]}", detail=detail)
        finally:
            self.signals.from_now_to_the_job()

    def _run(self, watch: NodeWatch, command: Command, secrets: Mapping[str, str]) -> NodeEnd:
        sheet, place, environ = self.sheet, self.place, self.means.environ
        configuration = RunConfiguration(
            command=command, inputs={name: place.directory / path for name, path in sheet.inputs.items()}, variables={**sheet.variables, **secrets},
            experiment=sheet.experiment, timeout_s=sheet.timeout_s, resources=sheet.resources, outputs=sheet.outputs,
        )  # fmt: skip
        for name, path in configuration.inputs.items():
            if not path.exists():
                raise NotFound(f"the input `{name}` is not on {os.uname().nodename}: {path}", code="input_not_found",
                               hint="inputs are given by reference: their paths must be the nodes'")  # fmt: skip
        if cause := watch.look():
            self.signals.stop.cause = self.signals.stop.cause or cause
            raise KeyboardInterrupt
        self.prepared = prepared = self._prepare(watch)
        if command.wants_python and not prepared.python:
            raise RunFailed("its environment has no Python, which is wanted here", code="no_python")
        with prepared.hold:
            self.signals.from_now_to_the_job()
            place.snapshot.mkdir(exist_ok=True)
            place.outputs.mkdir(exist_ok=True)
            for name in sheet.outputs:
                (place.outputs / name).mkdir(exist_ok=True)
            prefix = () if prepared.prefix is None else (prepared.prefix,)
            watch.faults = WriteFaults((*prefix, *prepared.read_only))
            of_run = {**self.rank_variables, **caller_variables(configuration, sheet.pass_variables, environ)}
            record = RunRecord(sheet.run_id, RUNNING, configuration, queued="")
            job = Job(
                argv=command.argv(prepared.python), directory=place.snapshot,
                variables=job_variables(record, prepared, place.outputs, of_run, environ),
                read_only=prepared.read_only, read_only_if_possible=(*configuration.inputs.values(), *self._shared()),
                timeout_s=sheet.timeout_s, grace_s=sheet.grace_s, merged=True, resources=sheet.resources,
            )  # fmt: skip
            target = LocalTarget(tick_s=min(1.0, sheet.heartbeat_s), standard_input=False)
            with self._compiling(prepared):
                ended = target.run(job, watch, self.signals.stop)
        watch.ending()
        return self._end(ended, watch, command)

    def _compiling(self, prepared: Prepared) -> AbstractContextManager[object]:
        from wardian.prefix.cache import BYTE_CODE, PrefixCache

        if prepared.prefix is None or not self.sheet.compiles or (prepared.prefix / BYTE_CODE).exists():
            return nullcontext()
        from wardian.run.node.compiling import Compiling

        return Compiling(PrefixCache(prepared.prefix.parent), prepared.prefix.name)

    def _shared(self) -> list[Path]:
        """Return what belongs to other runs too."""
        places = (*self.place.packages(self.sheet), self.place.root / AGENTS)
        return [place for place in places if place.is_dir()]

    def _prepare(self, watch: NodeWatch) -> Prepared:
        sheet, environ = self.sheet, self.means.environ
        if sheet.in_image:
            return prepare_in_image(sheet.interpreter or "python3", sheet.environment_variables)
        if sheet.lock_digest is None:
            wants_python, path = sheet.command.wants_python, environ.get("PATH") or SYSTEM_PATH
            with watch.busy():
                return prepare_observed(
                    sheet.interpreter, path, wants_python=wants_python, variables=sheet.environment_variables
                )
        parts = self.means.parts(self.place.cache(sheet, environ), environ)
        return prepare_lock(
            self.place.lock, parts, self.place.packages(sheet), self.means.listener, lock_digest=sheet.lock_digest,
            link_scripts=sheet.link_scripts, variables=sheet.environment_variables, busy=watch.busy,
        )  # fmt: skip

    def _end(self, ended: Ended, watch: NodeWatch, command: Command) -> NodeEnd:
        asked = self.signals.stop.cause
        if watch.began is None and asked and ended.cause == "exited":
            ended = replace(ended, cause="stopped")
        if ended.cause == "not_found" and command.runner:
            detail = f"`{command.runner[0]}`, which {command.name} is run by, was not found in the environment"
            ended = replace(ended, detail=detail)
        _, code, reason = verdict(ended, asked, self.sheet.timeout_s)
        fault = watch.faults.note if watch.faults is not None else ""
        notes = [*left_over(ended), *([fault] if fault else []), *([watch.log.note] if watch.log.note else [])]
        prepared = self.prepared
        environment = prepared.environment if prepared else None
        return NodeEnd(
            ended.cause, exit_code=ended.exit_code, signal=ended.signal, code=code, reason=reason, detail=ended.detail,
            stragglers=ended.stragglers, began=_moment(watch.began) if watch.began else None,
            prepared=environment.summary if environment else "", prefix_key=environment.prefix_key if environment else None,
            python=prepared.python if prepared else "", observed=environment.observed if environment else None, notes=tuple(notes),
        )  # fmt: skip

    # -- secrets -------------------------------------------------------------------------------------------------------

    def _secrets(self) -> tuple[Command, Mapping[str, str]]:
        """Return the command as it is to run, and the run's variables that are secret."""
        command, mark = self.sheet.command, self.place.claims / _SECRETS_READ
        file = self.means.environ.get(SECRETS_FILE)
        found = self.place.read_secrets(Path(file) if file else None)
        if found is None and (mark.exists() or command.hidden):
            raise RunFailed("the run's secrets were read by an earlier start, and are not kept", code="secrets_gone",
                            hint="submit it again; a run that its engine may start again keeps them until it has ended")  # fmt: skip
        found = found or Secrets()
        missing = [position for position in command.hidden if position not in found.arguments]
        if missing:
            raise InvalidInput(f"the arguments at {missing} are not in the file of the run's secrets", code="bad_secrets")
        if self.rank.of == 1 and not self.sheet.may_restart and (found.variables or found.arguments):
            mark.touch()
            self.place.remove_secrets()
        arguments = tuple(found.arguments.get(position, text) for position, text in enumerate(command.arguments))
        return replace(command, arguments=arguments, hidden=()), found.variables

    def _forget_secrets(self, others: Others) -> Callable[[], None]:
        waiting = self.rank.number == 0 and not self.sheet.may_restart

        def look() -> None:
            nonlocal waiting
            if waiting and others.all_have_begun():
                waiting = False
                (self.place.claims / _SECRETS_READ).touch()
                self.place.remove_secrets()

        return look

    # -- several nodes -------------------------------------------------------------------------------------------------

    def _with_others(self, end: NodeEnd, watch: NodeWatch) -> NodeEnd:
        """Return how the run ended, by all its nodes: the first's end, unless another failed. Others end when they have."""
        if self.rank.number:
            return end
        others = Others(self.claim, self.rank, self.sheet.heartbeat_s)
        while end.process_exit_code == 0 and watch.failed_rank is None:
            watch.failed_rank = others.failed()
            if others.all_have_ended():
                break
            if watch.failed_rank is None:
                asked = self.signals.stop.cause or watch.look()
                if watch.fenced:
                    return end
                if asked and asked != "failed elsewhere":
                    return replace(end, cause="stopped", code=asked, reason=f"{asked} while other nodes were running")
                time.sleep(min(0.2, self.sheet.heartbeat_s))
        if watch.failed_rank is not None and (end.process_exit_code == 0 or end.cause == "stopped"):
            return as_ours(*watch.failed_rank, end)
        return end


def _failed(error: WardianError) -> NodeEnd:
    return NodeEnd(
        "failed",
        code=error.stable_code,
        reason=error.message,
        detail=error.hint or "",
        ended=_moment(),
        node=os.uname().nodename,
    )


def _moment(moment: datetime | None = None) -> str:
    return (moment or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
