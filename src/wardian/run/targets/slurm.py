"""Slurm: jobs are handed over by sbatch, asked after with squeue, and ended by scancel. The only module that speaks to it."""

from __future__ import annotations

import math
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wardian.errors import Unavailable, WardianError
from wardian.run.targets.remote import UNKNOWN, Finding, Standing, Task
from wardian.run.targets.slurm_options import ARGUMENTS
from wardian.run.targets.slurm_task import check_task, failure, log_pattern, read_engine_log, script_of, settled
from wardian.run.targets.slurm_words import DIRECTORY, FIELDS, asked, directory_of, ended_of, standing_of
from wardian.run.variables import SYSTEM_PATH

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from wardian.run.configuration import Resources

_HANDLE = re.compile(r"\d{1,10}")
_TIMEOUT_S = 90.0
_AT_ONCE = 500  # handles in one question
_SHOWN = 8  # columns of sinfo
_MEBIBYTE = 1 << 20
# what sbatch finds, and the job then too: nobody's secrets, and what a user has set for every job
_PASSED = ("HOME", "USER", "LOGNAME", "LANG", "TZ", "SLURM_CONF", "SLURM_CLUSTERS", "SBATCH_ACCOUNT", "SBATCH_PARTITION", "SBATCH_QOS",
           "SBATCH_RESERVATION", "SBATCH_CONSTRAINT")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command came to."""

    code: int
    out: str
    err: str


class SlurmTarget:
    """Hands tasks over to a Slurm cluster. See ``RemoteTarget``.

    Args:     options: the target's (``slurm_options``).  environ: of this process.
              call: runs a command with an input in an environment; a test's own.
    """

    name = "slurm"

    def __init__(
        self, options: Mapping[str, str], environ: Mapping[str, str], call: Callable[[Sequence[str], str, Mapping[str, str]], Answer] | None = None
    ) -> None:  # fmt: skip
        self._options = options
        self._environ = {name: environ[name] for name in _PASSED if name in environ} | {"PATH": SYSTEM_PATH}
        if conf := options.get("conf"):
            self._environ["SLURM_CONF"] = conf
        self._path = environ.get("PATH", SYSTEM_PATH)
        self._run = call or self._subprocess
        self._accounting = True

    # -- the port ------------------------------------------------------------------------------------------------------

    def check(self, resources: Resources | None = None) -> Sequence[Finding]:
        """Ask whether the controller answers, and what its partitions have. See ``RemoteTarget.check``."""
        found: list[Finding] = []
        try:
            version = self._call("sbatch", "--version").out.strip()
            found.append(Finding("commands", True, version))
            self._call("scontrol", "ping")
            rows = [
                line.split("|")
                for line in self._call("sinfo", "-h", "-o", "%P|%a|%l|%D|%c|%m|%G|%t").out.splitlines()
                if line.count("|") == _SHOWN - 1
            ]
            found.append(Finding("controller", True, "answers"))
        except WardianError as error:
            return [*found, Finding("controller" if found else "commands", False, error.message, error.hint or "")]
        for row in rows:
            name, up, limit, nodes, cpus, memory, gpus, state = (one.strip() for one in row)
            has_gpus = "" if gpus in ("", "(null)") else f", {gpus}"
            found.append(Finding(f"partition {name.rstrip('*')}", up == "up", f"{nodes} node{'s' if nodes != '1' else ''} {state}: {cpus} cpus, {memory} MB{has_gpus}; at most {limit}",
                                 "" if up == "up" else "it takes no jobs now"))  # fmt: skip
        if resources is not None:
            found.append(self._can_give(resources))
        return found

    def submit(self, task: Task) -> str:
        """Hand ``task`` over to sbatch, unless a job of its name is there. See ``RemoteTarget.submit``."""
        known = self.find(task.key)
        if known is not None:
            return known
        if (task.resources.nodes or 1) > 1:  # sbatch takes more nodes than there are, and lets them wait for ever
            self._refuse_too_many_nodes(task)
        return settled(self, lambda: self._submitted(task), task.key)

    def standings(self, handles: Sequence[str]) -> Mapping[str, Standing]:
        """Return how jobs stand: squeue is asked once for hundreds of them. See ``RemoteTarget.standings``."""
        found: dict[str, Standing] = {}
        numbers = [handle for handle in handles if _HANDLE.fullmatch(handle)]
        for first in range(0, len(numbers), _AT_ONCE):
            answer = self._run(
                self._words(
                    "squeue", "-h", "--states=all", f"--jobs={','.join(numbers[first : first + _AT_ONCE])}", "-O", FIELDS
                ),
                "",
                self._environ,
            )
            if answer.code and "invalid job id" not in answer.err.lower():
                raise self._failure("squeue", answer)
            found |= {job: standing_of(row) for job, row in asked(answer.out)}
        forgotten = [handle for handle in numbers if handle not in found]
        found |= self._remembered(forgotten)
        return {handle: found.get(handle, Standing(UNKNOWN)) for handle in handles}

    def read_log(self, handle: str, offset: int, limit: int) -> bytes:
        """Return a piece of the file that sbatch was told to write. See ``RemoteTarget.read_log``."""
        if not _HANDLE.fullmatch(handle):
            return b""
        answer = self._run(self._words("squeue", "-h", "--states=all", f"--jobs={handle}", "-O", DIRECTORY), "", self._environ)
        if answer.code and "invalid job id" not in answer.err.lower():
            raise self._failure("squeue", answer)
        directory = directory_of(answer.out)
        if directory is None:
            return b""
        return read_engine_log(directory, offset, limit)

    def cancel(self, handles: Sequence[str]) -> None:
        """Have scancel end jobs, waiting or running. See ``RemoteTarget.cancel``."""
        numbers = [handle for handle in handles if _HANDLE.fullmatch(handle)]
        for first in range(0, len(numbers), _AT_ONCE):
            answer = self._run(self._words("scancel", *numbers[first : first + _AT_ONCE]), "", self._environ)
            said = [line for line in answer.err.splitlines() if not re.search(r"(?i)invalid job id|already compl", line)]
            if answer.code and any("error" in line.lower() for line in said):
                raise self._failure("scancel", Answer(answer.code, answer.out, "\n".join(said)))

    # -- what it is handed ---------------------------------------------------------------------------------------------

    def handed_over(self, task: Task) -> tuple[Sequence[str], str]:
        """Return the words of sbatch for ``task``, and the script that it reads.

        Raises:   InvalidInput: its key or a word of it cannot be written down for a shell.
        """
        check_task(task)
        wants, options = task.resources, {**self._options, **task.options}
        nodes = wants.nodes or 1
        words = ["sbatch", "--parsable", f"--job-name={task.key}", f"--chdir={task.directory}", "--input=/dev/null",
                 f"--output={log_pattern(task.directory)}", "--open-mode=append", f"--nodes={nodes}", "--ntasks-per-node=1",
                 "--export=ALL"]  # fmt: skip
        if wants.cpus:
            words.append(f"--cpus-per-task={math.ceil(wants.cpus)}")
        if wants.memory_bytes:
            words.append(f"--mem={math.ceil(wants.memory_bytes / _MEBIBYTE)}M")
        if wants.gpus:
            words.append(f"--gres=gpu:{options['gpu_type'] + ':' if 'gpu_type' in options else ''}{wants.gpus}")
        if task.time_s and "time_limit" not in options:
            words.append(f"--time={max(1, math.ceil(task.time_s / 60))}")
        words.append("--requeue" if options.get("requeue") == "yes" else "--no-requeue")
        if options.get("exclusive") == "yes":
            words.append("--exclusive")
        words += [f"{argument}={options[name]}" for name, argument in ARGUMENTS.items() if name in options]
        return words, script_of(task)

    def _submitted(self, task: Task) -> str:
        answer = self._sbatch(task)
        handle = answer.out.strip().partition(";")[0]
        if not _HANDLE.fullmatch(handle):
            raise Unavailable(f"sbatch answered `{answer.out.strip()[:200]}`, which is no job's number", code="engine_unclear",
                              hint="the run is asked for by its name at the next look")  # fmt: skip
        return handle

    def _sbatch(self, task: Task, *further: str) -> Answer:
        words, script = self.handed_over(task)
        answer = self._run([self._program("sbatch"), *words[1:], *further], script, self._environ)
        if answer.code:
            raise self._failure("sbatch", answer)
        return answer

    def _refuse_too_many_nodes(self, task: Task) -> None:
        """Raise InvalidInput if no partition in question has so many nodes, whatever they do now: those that are down may come back."""
        options, wanted = {**self._options, **task.options}, task.resources.nodes or 1
        chosen = options.get("partition") or self._environ.get("SBATCH_PARTITION", "")
        has: dict[str, int] = {}
        for line in self._call("sinfo", "-h", *([f"--partition={chosen}"] if chosen else []), "-o", "%P|%D").out.splitlines():
            name, _, count = line.strip().partition("|")
            if count.isdecimal() and (chosen or name.endswith("*")):
                has[name.rstrip("*")] = has.get(name.rstrip("*"), 0) + int(count)
        if has and max(has.values()) < wanted:
            there = ", ".join(f"{name} has {count}" for name, count in has.items())
            raise failure("Slurm's sinfo says", f"{wanted} nodes are asked for, and {there}")

    def _can_give(self, resources: Resources) -> Finding:
        try:
            answer = self._sbatch(Task("wardian-check", ("/bin/true",), "/tmp", resources), "--test-only")  # noqa: S108 - nothing is written
        except WardianError as error:
            return Finding("resources", False, error.message, error.hint or "")
        return Finding("resources", True, " ".join(answer.err.replace("sbatch:", "").split()) or "can be had")

    # -- asking --------------------------------------------------------------------------------------------------------

    def find(self, key: str) -> str | None:
        """Return the newest job of that name, whatever has become of it."""
        out = self._call("squeue", "-h", "--me", "--states=all", f"--name={key}", "-O", "JobID:|").out
        found = [int(text) for text in re.findall(r"\d+", out)]
        return str(max(found)) if found else None

    def _remembered(self, handles: Sequence[str]) -> dict[str, Standing]:
        """Return what accounting has of jobs that the controller has forgotten, where there is any."""
        if not handles or not self._accounting:
            return {}
        found: dict[str, Standing] = {}
        for first in range(0, len(handles), _AT_ONCE):
            try:
                words = self._words(
                    "sacct",
                    "-n",
                    "-P",
                    "-X",
                    "-j",
                    ",".join(handles[first : first + _AT_ONCE]),
                    "-o",
                    "JobIDRaw,State,ExitCode,NodeList",
                )
            except WardianError:
                return {}
            answer = self._run(words, "", self._environ)
            if answer.code:
                self._accounting = False
                return {}
            found |= ended_of(answer.out)
        return found

    def _call(self, *command: str) -> Answer:
        answer = self._run(self._words(*command), "", self._environ)
        if answer.code:
            raise self._failure(command[0], answer)
        return answer

    def _words(self, name: str, *arguments: str) -> list[str]:
        clusters = (
            [f"--clusters={self._options['cluster']}"]
            if "cluster" in self._options and name in ("squeue", "scancel", "sacct", "sinfo")
            else []
        )
        return [self._program(name), *clusters, *arguments]

    def _program(self, name: str) -> str:
        program = shutil.which(name, path=self._path)
        if program is None:
            raise Unavailable(f"there is no `{name}` on this machine", code="slurm_missing",
                              hint="Slurm's commands must be here (Debian: slurm-client), as on a cluster's login nodes")  # fmt: skip
        return program

    @staticmethod
    def _subprocess(command: Sequence[str], text: str, environ: Mapping[str, str]) -> Answer:
        try:
            done = subprocess.run(
                command,
                input=text,
                capture_output=True,
                text=True,
                errors="replace",
                env=dict(environ),
                cwd="/",
                timeout=_TIMEOUT_S,
                check=False,
                start_new_session=True,
            )  # fmt: skip - ^C is ours, not its
        except subprocess.TimeoutExpired:
            return Answer(1, "", f"{os.path.basename(command[0])}: communication failure: no answer within {_TIMEOUT_S:g} s")  # noqa: PTH119
        except OSError as error:
            return Answer(1, "", f"communication failure: {error.strerror}")
        return Answer(done.returncode, done.stdout, done.stderr)

    def _failure(self, command: str, answer: Answer) -> WardianError:
        lines = [
            re.sub(r"^\w+: (error: )?", "", line.strip())
            for line in (answer.err or answer.out).splitlines()
            if line.strip(" *")
        ]
        words = "; ".join(dict.fromkeys(lines))[:600] or f"exit code {answer.code}"
        return failure(f"Slurm's {command} says", words, no_answer=answer.code < 0, of_task=command == "sbatch")
