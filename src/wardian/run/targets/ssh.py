"""Machines that are reached with ssh as a target: a task is started there, detached from the connection, and asked after."""

from __future__ import annotations

import math
import os
import re
import zlib
from typing import TYPE_CHECKING

from wardian.errors import InvalidInput, Unavailable, WardianError
from wardian.run.targets import ssh_scripts as scripts
from wardian.run.targets.remote import ENDED, RUNNING, SILENT, UNKNOWN, WAITING, Finding, Standing
from wardian.run.targets.ssh_carrier import Load, loads
from wardian.run.targets.ssh_options import HOSTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from wardian.run.configuration import Resources
    from wardian.run.targets.remote import Task
    from wardian.run.targets.ssh_connection import Said, SshHosts

_KEY = re.compile(r"[a-z0-9-]{1,63}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WORDS = {"exited": "its program ended", "canceled": "canceled", "timeout": "its time was up"}
_BY_SIGNAL, _LAST_SIGNAL = 128, 64
_KIBIBYTE = 1024


class SshTarget:
    """Starts tasks on machines. A machine has no queue: what it can give is started at once. See ``RemoteTarget``.

    A task's handle names its machines and its directory; on several nodes, each runs it, and they must share the directory.

    Args:     slack_s: how much longer than its time a task may take before the machine itself ends it: the node's agent counts from the
                  start of the job, and what comes before takes its time.
    """

    name = "ssh"

    def __init__(self, hosts: SshHosts, *, slack_s: float = 3600.0) -> None:
        self._hosts = hosts
        self._slack_s = slack_s

    def check(self, resources: Resources | None = None) -> Sequence[Finding]:
        """Connect to each machine, and tell what it has. See ``RemoteTarget.check``."""
        probe = "command -v tar >/dev/null && echo tar\n" + scripts.FACTS
        found: list[Finding] = []
        fitting = 0
        for host, said in self._hosts.ask_all(lambda host: self._hosts.ask(host, probe)).items():
            if isinstance(said, WardianError):
                found.append(Finding(host, False, said.message, said.hint or ""))
                continue
            load = Load(host, said)
            has = f"{load.cpus} cpu{'' if load.cpus == 1 else 's'}, {load.memory_kib / (1 << 20):.1f} GiB of memory, {load.gpus or 'no'} gpu{'' if load.gpus == 1 else 's'}"
            if load.machine != os.uname().machine:
                found.append(Finding(host, False, f"{load.node} is {load.machine}, and this machine {os.uname().machine}: the agent that is sent there would not run",
                                     "submit from a machine of its kind"))  # fmt: skip
                continue
            found.append(Finding(host, True, f"{load.node}: {has}, {load.machine}"))
            if b"tar" not in said.out.split():
                found.append(Finding("tar", False, f"{host} has no `tar`, by which files come there", "install it there"))
            fitting += load.has(resources) if resources is not None else 1
        wanted = (resources.nodes or 1) if resources is not None else 1
        if resources is not None and any(one.ok for one in found):
            text = f"{fitting} of {len(self._hosts.names)} machines can give them"
            found.append(
                Finding(
                    "resources",
                    fitting >= wanted,
                    text,
                    "" if fitting >= wanted else "ask for less, or add machines: `--option hosts=…`",
                )
            )
        return found

    def submit(self, task: Task) -> str:
        """Start ``task`` on the machine that has its directory, or on the least busy of those that share it. See ``RemoteTarget.submit``."""
        _check(task)
        nodes = task.resources.nodes or 1
        if nodes > len(self._hosts.names):
            raise InvalidInput(f"{nodes} nodes are asked for, and the target says that it has {len(self._hosts.names)}", code="resources_missing",
                               hint="ask for less, or add machines: `--option hosts=…`")  # fmt: skip
        hosts, address = self._chosen(task, nodes)
        handle = f"{','.join(hosts)}:{task.directory}"
        for rank, host in enumerate(hosts):
            variables = dict(task.variables)
            if nodes > 1:
                variables |= {"WARDIAN_NODE_RANK": str(rank), "WARDIAN_WORLD_SIZE": str(nodes), "WARDIAN_MASTER_ADDR": address}
            wanted = task.resources
            script = scripts.FACTS + scripts.lacks(
                math.ceil(wanted.cpus or 0), (wanted.memory_bytes or 0) // _KIBIBYTE, wanted.gpus or 0
            ) + scripts.start(task.directory, task.argv, variables, rank=rank, hosts=",".join(hosts), time_s=None if task.time_s is None else task.time_s + self._slack_s)  # fmt: skip
            said = self._hosts.ask(host, script, ok=(0, scripts.LACKS))
            if said.code == scripts.LACKS:
                load = Load(host, said)
                raise InvalidInput(f"{host} says that it has {load.cpus} cpus, {load.memory_kib * _KIBIBYTE:,} bytes of memory and {load.gpus} gpus:"
                                   " less than is asked for", code="resources_missing", hint="ask for less, or take another machine")  # fmt: skip
        return handle

    def standings(self, handles: Sequence[str]) -> Mapping[str, Standing]:
        """Return how tasks stand: one question to each machine. See ``RemoteTarget.standings``."""
        found = {handle: Standing(UNKNOWN) for handle in handles}
        asked: dict[str, list[tuple[str, int, str]]] = {}
        for handle in found:
            for rank, (host, engine) in enumerate(_engines(handle)):
                asked.setdefault(host, []).append((handle, rank, engine))
        if not asked:
            return found

        def ask(host: str) -> Said:
            lines = "".join(f"{number} {engine}\n" for number, (_, _, engine) in enumerate(asked[host]))
            return self._hosts.ask(host, scripts.STANDINGS, lines.encode(errors="surrogateescape"))

        of: dict[str, dict[int, Standing]] = {}
        answers = self._hosts.ask_all(ask, list(asked))
        some_answer = any(not isinstance(said, WardianError) for said in answers.values())
        for host, said in answers.items():
            if isinstance(said, WardianError):
                if not some_answer or not isinstance(said, Unavailable):
                    raise said
                for handle, rank, _ in asked[host]:
                    of.setdefault(handle, {})[rank] = Standing(SILENT, said.message, node=host)
                continue
            for line in said.out.decode(errors="replace").splitlines():
                number, *words = line.split()
                if len(words) == 3 and number.isdecimal() and int(number) < len(asked[host]):  # noqa: PLR2004
                    handle, rank, _ = asked[host][int(number)]
                    of.setdefault(handle, {})[rank] = _standing(host, *words)
        return found | {handle: _together(ranks) for handle, ranks in of.items()}

    def read_log(self, handle: str, offset: int, limit: int) -> bytes:
        """Return a piece of what a task wrote, of the first node. See ``RemoteTarget.read_log``."""
        for host, engine in _engines(handle):
            said = self._hosts.ask(host, scripts.read(f"{engine}.txt", offset, limit), ok=(0, scripts.ABSENT), timeout_s=600)
            return said.out if said.code == 0 else b""
        return b""

    def cancel(self, handles: Sequence[str]) -> None:
        """Ask tasks to end; what has not ended half a minute later is killed. See ``RemoteTarget.cancel``."""
        asked: dict[str, list[str]] = {}
        for handle in handles:
            for host, engine in _engines(handle):
                asked.setdefault(host, []).append(engine)

        def ask(host: str) -> Said:
            lines = "".join(f"{number} {engine}\n" for number, engine in enumerate(asked[host]))
            return self._hosts.ask(host, scripts.CANCEL, lines.encode(errors="surrogateescape"))

        for said in self._hosts.ask_all(ask, list(asked)).values() if asked else ():
            if isinstance(said, WardianError):
                raise said

    def _chosen(self, task: Task, nodes: int) -> tuple[Sequence[str], str]:
        """Return the machines for ``task``, and the first one's name for the others; those that it was given to before, if it was."""
        if len(self._hosts.names) == 1:
            return self._hosts.names, ""
        found = loads(self._hosts, task.directory.rpartition("/")[0], task.directory)
        by_name = {load.host: load for load in found}
        for load in found:
            given = load.given_to.split(",") if load.given_to else []
            if given and all(host in self._hosts.names for host in given):
                return given, by_name[given[0]].node if given[0] in by_name else given[0]
        # of machines that are equally busy each key has its own order, so that many submitters at once don't all take the first
        ready = sorted(
            (load for load in found if load.is_there),
            key=lambda load: (load.running, zlib.crc32(f"{task.key} {load.host}".encode())),
        )
        fitting = [load for load in ready if load.has(task.resources)] or ready
        if len(fitting) < nodes:
            missing = [host for host in self._hosts.names if host not in by_name]
            if missing:
                raise Unavailable(
                    f"{', '.join(missing)} cannot be reached, and the others are too few",
                    code="ssh_unavailable",
                    hint="`wardian target check`",
                )
            raise InvalidInput(f"{task.directory} is on {len(fitting)} of the machines, and {nodes} are to run it", code="directory_not_shared",
                               hint="several nodes need a directory that they share: `--option directory=…`")  # fmt: skip
        return [load.host for load in fitting[:nodes]], fitting[0].node


def _check(task: Task) -> None:
    if not _KEY.fullmatch(task.key):
        raise InvalidInput(f"`{task.key[:80]}` is no key of a task", code="bad_task")
    if not task.directory.startswith("/") or any(character in task.directory for character in "\0\r\n"):
        raise InvalidInput(f"`{task.directory[:200]!r}` is no directory for a task", code="bad_task")
    for word in (*task.argv, *task.variables.values()):
        if "\0" in word:
            raise InvalidInput(f"{word[:80]!r} holds a NUL character", code="bad_task")
    for name in task.variables:
        if not _VARIABLE.fullmatch(name):
            raise InvalidInput(f"`{name[:80]}` is no name of a variable", code="bad_task")
    if task.image is not None:
        raise InvalidInput("a machine that is reached with ssh runs no images", code="bad_task", hint="leave the image out")


def _engines(handle: str) -> Iterator[tuple[str, str]]:
    """Yield each machine of a task, and the directory in which it keeps what it knows of it; nothing for what is no handle."""
    hosts, colon, directory = handle.partition(":")
    if not colon or not directory.startswith("/") or any(character in handle for character in "\0\r\n"):
        return
    for rank, host in enumerate(hosts.split(",")):
        if HOSTS.fullmatch(host):
            yield host, f"{directory}/{scripts.ENGINE}" + (f".{rank}" if rank else "")


def _standing(host: str, said: str, code_text: str, why: str) -> Standing:
    if said == "unknown":
        return Standing(UNKNOWN)
    if said == "waiting":
        return Standing(WAITING, node=host)
    if said == "running":
        return Standing(RUNNING, node=host, attempts=1)
    if said == "rebooted":
        return Standing(ENDED, f"{host} was restarted", "canceled" if why == "canceled" else "node_lost", node=host, attempts=1)
    if said == "ended" and not code_text.isdecimal():
        words = "how it ended could not be written down there: is the disk full?"
        return Standing(ENDED, words, "canceled" if why == "canceled" else "exited", node=host, attempts=1)
    if said != "ended":
        return Standing(
            ENDED, "what looked after it was killed", "canceled" if why == "canceled" else "node_lost", node=host, attempts=1
        )
    code = int(code_text)
    number = code - _BY_SIGNAL if _BY_SIGNAL < code <= _BY_SIGNAL + _LAST_SIGNAL else None
    cause = why if why in ("canceled", "timeout") else "exited"
    return Standing(
        ENDED,
        _WORDS[cause],
        cause,
        exit_code=None if number else code,
        signal=number,
        node=host,
        attempts=1,
    )


def _together(ranks: Mapping[int, Standing]) -> Standing:
    """Return how a task on several nodes stands: it runs while one of them does, and has failed when one has."""
    found = [ranks[rank] for rank in sorted(ranks)]
    for state in (RUNNING, WAITING, SILENT):
        for standing in found:
            if standing.state == state:
                return standing
    failed = (
        standing for standing in found if standing.state == ENDED and (standing.cause != "exited" or standing.exit_code != 0)
    )
    return next(failed, found[0])
