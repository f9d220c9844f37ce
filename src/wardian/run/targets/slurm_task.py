"""What Slurm is handed, whichever way one speaks to it: a batch script; and what its refusals mean."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from wardian.errors import Denied, InvalidInput, Unavailable, WardianError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from wardian.run.targets.remote import Standing, Task

ENGINE_LOG = "engine.txt"  # in the task's directory: what Slurm itself and the agent have to say
_MOST_CPUS = 0xFFFD  # what Slurm has room for in a job
_KEY = re.compile(r"[a-z0-9-]{1,63}")
_NO_ANSWER = re.compile(
    r"(?i)unable to contact slurm controller|socket timed out|communication (connection )?failure|connect failure|connection refused"
    r"|slurmctld\([^)]*\) at \S+ is DOWN|temporarily unable|zero bytes were transmitted|resource temporarily unavailable|transport endpoint|backup controller|in standby mode"
    r"|connection (reset|aborted|timed out)|broken pipe|no route to host|(network|host) is (down|unreachable)|interrupted system call|timed out"
    r"|message (send|receive) failure|communication shutdown failure|insane message length|header lengths are longer|unexpected (msg|message)"
)
_FULL = re.compile(r"(?i)max ?submit|submit ?job ?limit|job count limit|slurm temporarily unable to accept job")
_REFUSED = re.compile(
    r"(?i)access/permission denied|authentication|invalid account or account/partition|user's group not permitted|credential"
)


class SlurmLike(Protocol):
    """A Slurm that can be asked for jobs."""

    def find(self, key: str) -> str | None:
        """Return the newest job of that name, whatever has become of it."""
        ...

    def standings(self, handles: Sequence[str]) -> Mapping[str, Standing]:
        """Return how jobs stand."""
        ...


def check_task(task: Task) -> None:
    """Check that a task can be written down for a shell and for Slurm.

    Raises:   InvalidInput: ``bad_task``.
    """
    if not _KEY.fullmatch(task.key):
        raise InvalidInput(f"`{task.key[:80]}` is no name for a job", code="bad_task")
    if any("\0" in word or "\n" in word for word in (*task.argv, task.directory)):
        raise InvalidInput(f"the command of `{task.key}` holds a line end", code="bad_task")
    if (task.resources.cpus or 0) > _MOST_CPUS:  # Slurm keeps the rest of a division, and the job waits for ever
        raise InvalidInput(
            f"{task.resources.cpus:,g} cpus are more than any node has", code="resources_missing", hint="ask for less"
        )
    if "\\" in task.directory:  # in the name of a log, Slurm takes it for its own
        raise InvalidInput(f"the directory {task.directory} holds a backslash", code="bad_task",
                           hint="`--option directory=…` names another")  # fmt: skip


def script_of(task: Task) -> str:
    """Return the batch script of a task: one command, on several nodes or in an OCI bundle through srun."""
    nodes = task.resources.nodes or 1
    command = shlex.join(task.argv)
    if task.image is not None:  # the script itself runs on the node: the image need not have a shell, and Slurm's own do not
        home = shlex.quote(task.directory)  # the container's own: that of the node is not seen there
        command = f"env HOME={home} srun --export=ALL --nodes=1 --ntasks=1 --container={shlex.quote(task.image)} {command}"
    elif nodes > 1:
        command = (
            f"srun --export=ALL --nodes={nodes} --ntasks={nodes} --ntasks-per-node=1 --kill-on-bad-exit=0 --wait=0 {command}"
        )
    exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in sorted(task.variables.items()))
    return f"#!/bin/sh\n{exports}exec {command}\n"


def log_pattern(directory: str) -> str:
    """Return the name of a task's log as Slurm takes it: ``%`` begins what it puts in itself."""
    return f"{directory.replace('%', '%%')}/{ENGINE_LOG}"


def read_engine_log(directory: str, offset: int, limit: int) -> bytes:
    """Return a piece of the log in a job's directory, which this machine shares with its node; nothing: there is none.

    Raises:   Unavailable: it cannot be read.
    """
    path = Path(directory, ENGINE_LOG)
    try:
        with path.open("rb") as stream:
            stream.seek(offset)
            return stream.read(limit)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise Unavailable(f"the log {path} cannot be read: {error.strerror}", code="engine_unavailable") from error


def settled(target: SlurmLike, submit: Callable[[], str], key: str) -> str:
    """Return the handle that ``submit`` returns; if it says that Slurm refused, but there is a job named ``key``, that of the job.

    Words of a refusal may be those of a line that broke after Slurm had taken the job. Of some that it refuses Slurm keeps one that never ran.

    Raises:   what ``submit`` raises.  Unavailable: it refused, and the job cannot be asked for.
    """
    try:
        return submit()
    except (InvalidInput, Denied) as refusal:
        try:
            known = target.find(key)
            if known is not None and target.standings([known])[known].cause == "not_started":
                known = None
        except WardianError as error:
            raise Unavailable(
                f"{refusal.message}; then {error.message}", code="engine_unclear", hint=error.hint or ""
            ) from error
        if known is None:
            raise
        return known


def failure(who: str, words: str, *, no_answer: bool = False, of_task: bool = True) -> WardianError:
    """Return what a refusal means, by Slurm's own words.

    Args:     of_task: a task was refused, and not a question: such a refusal says nothing of the tasks that Slurm has.
    """
    message = f"{who}: {words}"
    if no_answer or _NO_ANSWER.search(words):
        return Unavailable(
            message, code="engine_unavailable", hint="`wardian target check` shows whether the controller answers"
        )
    if _FULL.search(words):
        return Unavailable(message, code="queue_full", hint="wait until some of your jobs have ended")
    if _REFUSED.search(words):
        return Denied(
            message, code="engine_denied", hint="`--option account=…`, `--option partition=…`; or ask who runs the cluster"
        )
    if not of_task:
        return Denied(message, code="engine_denied", hint="`wardian target check` shows what works, and what does not")
    return InvalidInput(message, code="engine_refused", hint="ask for less, or for another partition: `--option partition=…`")
