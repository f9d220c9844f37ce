"""The carrier of machines that are reached with ssh: files go there and come back as tars, through ``sh`` and ``tar`` of the other side."""

from __future__ import annotations

import io
import os
import secrets
import shutil
import tarfile
import time
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, TypeVar

from wardian.errors import InvalidInput, NotFound, Unavailable, WardianError
from wardian.run.node.sheet import AGENTS, IMAGES, PACKAGES, RUNS
from wardian.run.targets import ssh_scripts as scripts
from wardian.run.targets.bring_home import unpack_home
from wardian.tools.disk import disk_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from wardian.run.configuration import Resources
    from wardian.run.targets.ssh_connection import Said, SshHosts

T = TypeVar("T")
_BATCH_BYTES = 64 << 20  # what arrives at once: a connection that is cut costs no more
_FACTS = 5  # words of a line
_INLINE_BYTES, _HEADER_BYTES = (
    48 << 10,
    1024,
)  # the other side reads each byte of a question by itself: more goes a way of its own
_LITTLE_FILES, _LITTLE_BYTES = 8, 1 << 20
_UNCHANGING = (PACKAGES, AGENTS, IMAGES)
_AT_ONCE = 1000  # paths in one question
_END_OF_TAR = 1024  # two blocks of nothing


class SshCarrier:
    """Brings files to machines over ssh. See ``Carrier``.

    Of several machines, each gets the agent and archives, and a run's directory lies on one: where it was brought to first, which is the
    one with the fewest tasks. Where they share a directory, each finds what another has been given.
    """

    def __init__(self, hosts: SshHosts, root: str | None = None) -> None:
        self._hosts = self.hosts = hosts
        self._root = root
        self._where: dict[str, str] = {}  # the name of a run's directory → its host
        self._seen: dict[str, set[str]] = {host: set() for host in hosts.names}  # there once, of what does not change

    @cached_property
    def root(self) -> str:
        """The node directory: as the target's options say, or ``.wardian`` in the home there."""
        self._hosts.hurry()  # whoever asks where it is has more questions
        if self._root is not None:
            return self._root.rstrip("/")
        host, said = next(iter(self._of_any(lambda host: self._hosts.ask(host, scripts.HOME)).items()))
        home = said.out.decode(errors="replace").strip()
        if not home.startswith("/") or "\n" in home:
            raise Unavailable(
                f"{host} says that your home is `{home[:100]}`",
                code="ssh_failed",
                hint="`--option directory=…`",
            )
        return f"{home.rstrip('/')}/.wardian"

    def have(self, paths: Sequence[str]) -> set[str]:
        """Return which of ``paths`` are there already: on all machines that answer, or, of a run, on its own."""
        for path in paths:
            self._place(path)
        found = set(paths)
        for concerned, there in self._each(self._by_host(paths), self._have):
            found -= set(concerned) - there
        return found

    def send(self, files: Mapping[str, str], *, private: bool = False) -> None:
        """Bring files and directories there, each whole or not at all; what has arrived when a connection is lost stays there."""
        for path in files:
            self._place(path)

        def bring(host: str, concerned: Sequence[str]) -> None:
            some = {path: files[path] for path in concerned}
            if not _is_little(some):
                there = self._have(host, concerned)
                some = {path: here for path, here in some.items() if path not in there}
            for batch in _batches(some):
                self._send(host, batch, private=private)

        self._each(self._by_host(list(files), choose=True), bring)

    def read(self, path: str, offset: int, limit: int) -> bytes | None:
        """Return a piece of a file; None: there is no such file."""
        place = self._place(path)
        script = scripts.guarded(self.root, path) + scripts.read(place, offset, limit)
        for host in self._looked_up(path):
            said = self._hosts.ask(host, script, ok=(0, scripts.ABSENT, scripts.LINK, scripts.NO_FILE), timeout_s=600)
            if said.code == scripts.NO_FILE:
                raise Unavailable(f"{place} on {host} is no regular file", code="bad_node_file")
            self._refuse_link(said, place)
            if said.code != scripts.ABSENT:
                return said.out
        return None

    def fetch(self, path: str, place: str, *, limit_bytes: int | None = None) -> Sequence[str]:
        """Bring a directory home; return what stays behind. See ``Carrier.fetch``."""
        source = self._place(path)
        host = next(iter(self._looked_up(path)))
        half = Path(f"{place}.{os.getpid()}.{time.monotonic_ns()}.tmp")
        try:
            with (
                disk_errors(half.parent),
                self._hosts.started(host, scripts.guarded(self.root, path) + scripts.give(source)) as talk,
            ):
                trouble: Unavailable | None = None
                behind: list[str] = []
                try:
                    behind = unpack_home(talk.listen(), half, limit_bytes)
                except Unavailable as error:  # of what use is it to know that a tar has no end: why it has none is told now
                    trouble = error
                said = self._hosts.answer(host, talk, talk.heard, talk.finish(), (0, 1, scripts.ABSENT, scripts.LINK))
                self._refuse_link(said, source)
                if said.code == scripts.ABSENT:
                    raise NotFound(f"there is no directory {source} on {host}", code="node_directory_missing")
                if trouble is not None:
                    raise trouble
                half.rename(place)
        except BaseException:
            shutil.rmtree(half, ignore_errors=True)
            raise
        return behind

    def remove(self, path: str) -> None:
        """Remove a file or a directory, wherever it is."""
        place = self._place(path)
        script = scripts.guarded(self.root, path) + scripts.remove(place)
        answers = self._hosts.ask_all(lambda host: self._hosts.ask(host, script, ok=(0, scripts.LINK), timeout_s=600))
        where = self._where.get(_run_of(path) or "")  # what is known to be there is gone, whoever else does not answer
        for host, said in answers.items():
            if isinstance(said, WardianError):
                if where not in (None, host) and isinstance(said, Unavailable):
                    continue
                raise said
            self._refuse_link(said, place)

    # -- where ---------------------------------------------------------------------------------------------------------

    def _place(self, path: str) -> str:
        """Return where ``path`` lies.

        Raises:   InvalidInput: ``path_escapes``.
        """
        parts = PurePosixPath(path).parts
        if (
            not parts
            or path.startswith("/")
            or ".." in parts
            or any(character in path for character in "\0\n\r")
            or "//" in path
        ):
            raise InvalidInput(f"`{path[:200]}` is no path below the node directory", code="path_escapes")
        return f"{self.root}/{path}"

    def _refuse_link(self, said: Said, place: str) -> None:
        if said.code == scripts.LINK:
            raise InvalidInput(f"a directory of `{place}` is a link, and would lead out of {self.root}", code="path_escapes")

    def _of_any(self, ask: Callable[[str], Said]) -> Mapping[str, Said]:
        """Return the answers of the machines that answer.

        Raises:   Unavailable.  Denied: none of them does; the error is the first one's.
        """
        answers = self._hosts.ask_all(ask)
        found = {host: said for host, said in answers.items() if not isinstance(said, WardianError)}
        if not found:
            raise next(said for said in answers.values() if isinstance(said, WardianError))
        return found

    @staticmethod
    def _each(by_host: Mapping[str, Sequence[str]], do: Callable[[str, Sequence[str]], T]) -> list[tuple[Sequence[str], T]]:
        """Do something with the paths that concern each machine. One that does not answer is left out: runs do not go to it.

        Raises:   Unavailable: none answers, or the one that a run's directory lies on does not.
        """
        found: list[tuple[Sequence[str], T]] = []
        silent: list[Unavailable] = []
        for host, concerned in by_host.items():
            if not concerned:
                continue
            try:
                found.append((concerned, do(host, concerned)))
            except Unavailable as error:
                if error.stable_code != "ssh_unavailable" or any(map(_run_of, concerned)):
                    raise
                silent.append(error)
        if silent and not found:
            raise silent[0]
        return found

    def _by_host(self, paths: Sequence[str], *, choose: bool = False) -> Mapping[str, Sequence[str]]:
        """Return which paths concern which machines."""
        if len(self._hosts.names) == 1:
            return {self._hosts.names[0]: paths}
        found: dict[str, list[str]] = {host: [] for host in self._hosts.names}
        for path in paths:
            for host in self._looked_up(path, choose=choose) if _run_of(path) else self._hosts.names:
                found[host].append(path)
        return found

    def _looked_up(self, path: str, *, choose: bool = False) -> Sequence[str]:
        """Return the machine that has the run's directory, or all of them where none is known to."""
        run = _run_of(path)
        if run is None or len(self._hosts.names) == 1:
            return self._hosts.names
        if run not in self._where:
            found = loads(self._hosts, f"{self.root}/{RUNS}", f"{self.root}/{RUNS}/{run}")
            there = [load for load in found if load.is_there]
            if not there and not choose:
                return tuple(load.host for load in found)
            self._where[run] = (there or found)[0].host
        return (self._where[run],)

    # -- how -----------------------------------------------------------------------------------------------------------

    def _have(self, host: str, paths: Sequence[str]) -> set[str]:
        found = self._seen[host].intersection(paths)
        asked = [path for path in paths if path not in found]
        for start in range(0, len(asked), _AT_ONCE):
            some = asked[start : start + _AT_ONCE]
            kept = {"/".join(path.split("/")[:2]) for path in some if path.partition("/")[0] in _UNCHANGING}
            said = self._hosts.ask(
                host, scripts.have([self._place(path) for path in some], [self._place(path) for path in sorted(kept)])
            )
            found |= {some[int(number)] for number in said.out.split() if int(number) < len(some)}
        self._seen[host] |= {path for path in found if path.partition("/")[0] in _UNCHANGING}
        return found

    def _send(self, host: str, files: Mapping[str, str], *, private: bool) -> None:
        token = secrets.token_hex(8)
        names = {f"{token}-{number}": path for number, path in enumerate(files)}
        script = "".join(dict.fromkeys(scripts.guarded(self.root, path) for path in files))
        script += scripts.receive(self.root, token, {name: self._place(path) for name, path in names.items()})
        inside = {name: files[path] for name, path in names.items()}
        first = self._place(next(iter(files)))
        if _size_bytes(inside.values(), _INLINE_BYTES) < _INLINE_BYTES:
            tar = io.BytesIO()
            end = _write_tar(tar, inside, private=private)
            content = tar.getvalue()[: end + _END_OF_TAR]  # the rest is padding, which the other side would read byte by byte
            self._refuse_link(self._hosts.ask(host, script, content, ok=(0, scripts.LINK)), first)
            return
        with self._hosts.started(host, script) as talk:
            out, err = talk.feed(lambda stream: _write_tar(stream, inside, private=private))
            self._refuse_link(self._hosts.answer(host, talk, out, err, (0, scripts.LINK)), first)


class Load:
    """How busy a machine is: ``running`` tasks; whether it has a task's directory, and whom that task was given to."""

    def __init__(self, host: str, said: Said) -> None:
        lines = [line.split() for line in said.out.decode(errors="replace").splitlines()]
        self.host = host
        self.running = next(
            (int(line[1]) for line in lines if line[:1] == ["load"] and len(line) > 1 and line[1].isdecimal()), 0
        )
        self.is_there = ["there"] in lines
        self.given_to = next((line[1] for line in lines if line[:1] == ["hosts"] and len(line) > 1), "")
        facts = next((line[1:] for line in lines if line[:1] == ["facts"] and len(line) > _FACTS), ["0", "0", "0", "", ""])
        self.cpus, self.memory_kib, self.gpus = (int(text) if text.isdecimal() else 0 for text in facts[:3])
        self.machine, self.node = facts[3], facts[4]

    def has(self, resources: Resources) -> bool:
        """Return whether the machine could ever give ``resources``, on one node."""
        enough = self.cpus >= (resources.cpus or 0) and self.gpus >= (resources.gpus or 0)
        return enough and self.memory_kib * 1024 >= (resources.memory_bytes or 0)


def loads(hosts: SshHosts, directory: str, task: str) -> list[Load]:
    """Return how busy the machines are that answer, the least busy first.

    Raises:   Unavailable.  Denied: none of them answers; the error is the first one's.
    """
    script = f"set -- {scripts.quoted(directory)} {scripts.quoted(task)}\n{scripts.FACTS}{scripts.LOAD}"
    answers = hosts.ask_all(lambda host: hosts.ask(host, script))
    found = [Load(host, said) for host, said in answers.items() if not isinstance(said, WardianError)]
    if not found:
        raise next(said for said in answers.values() if isinstance(said, WardianError))
    return sorted(found, key=lambda load: load.running)


def _run_of(path: str) -> str | None:
    parts = path.split("/")
    return parts[1] if parts[0] == RUNS and len(parts) > 1 else None


def _size_bytes(places: Iterable[str], enough: int) -> int:
    """Return about how many bytes a tar of these files and directories has; ``enough`` or more: it has many."""
    total = 0
    for here in places:
        stack = [here]
        while stack and total < enough:
            place = stack.pop()
            total += _HEADER_BYTES
            if os.path.isdir(place) and not os.path.islink(place):  # noqa: PTH112, PTH114 - thousands of files
                stack += (entry.path for entry in os.scandir(place))
            else:
                total += os.lstat(place).st_size
    return total


def _is_little(files: Mapping[str, str]) -> bool:
    """Return whether a question whether they are there costs more than they do."""
    return len(files) <= _LITTLE_FILES and _size_bytes(files.values(), _LITTLE_BYTES) < _LITTLE_BYTES


def _batches(files: Mapping[str, str]) -> Iterator[Mapping[str, str]]:
    batch: dict[str, str] = {}
    size_bytes = 0
    for path, here in files.items():
        batch[path] = here
        found = Path(here)
        size_bytes += _BATCH_BYTES if found.is_dir() and path.count("/") < 2 else found.stat().st_size  # noqa: PLR2004
        if size_bytes >= _BATCH_BYTES or len(batch) >= _AT_ONCE:
            yield batch
            batch, size_bytes = {}, 0
    if batch:
        yield batch


class _EachItsOwn(dict[tuple[int, int], str]):
    """Of files seen before: none. Each file is one of its own there, however it is linked here."""

    def __contains__(self, _key: object) -> bool:
        return False


def _write_tar(stream: IO[bytes], files: Mapping[str, str], *, private: bool) -> int:
    """Write a tar of files and directories by their names in it; return where its last member ends."""

    def ours(info: tarfile.TarInfo) -> tarfile.TarInfo:
        info.uid = info.gid = 0
        info.uname = info.gname = ""
        info.mtime = int(info.mtime)
        info.mode &= 0o700 if private else 0o777
        return info

    with tarfile.open(
        fileobj=stream, mode="w|", format=tarfile.GNU_FORMAT, encoding="utf-8", errors="surrogateescape", bufsize=1 << 18
    ) as tar:
        tar.inodes = _EachItsOwn()  # type: ignore[attr-defined]
        for name, here in files.items():
            tar.add(here, arcname=name, filter=ours)
        return tar.offset
