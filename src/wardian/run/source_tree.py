"""The source directory: what of it a run gets a copy of."""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wardian.errors import InvalidInput, NotFound, Unavailable
from wardian.formats.tree import IGNORE_FILES
from wardian.run.directory import OUTPUTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wardian.tools.ignore_rules import IgnoreRules

LIMIT_BYTES = 300 << 20
LIMIT_FILES = 2000

_NEVER = frozenset({"__pycache__", ".git", ".hg", ".svn", ".bzr", "CVS", "_darcs", ".jj"})
_SHOWN = 5
_COUNTED_BEYOND = 50  # how much further than the limit a directory is counted before it is only "more than"
_LARGEST_IGNORE_FILE_BYTES = 1 << 20
IGNORE_HINT = "name what the run does not need in a `.wardianignore` file, and give data with `--input NAME=PATH`"


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file or link to copy: ``path`` below the source directory, ``target`` a link's text (None: a file)."""

    path: str
    size_bytes: int
    modified_ns: int
    mode: int
    target: str | None = None


@dataclass(frozen=True, slots=True)
class SourceTree:
    """What of a source directory goes into the snapshot."""

    root: Path
    files: tuple[SourceFile, ...]
    directories: tuple[str, ...]  # parents first
    notes: tuple[str, ...] = ()

    @property
    def size_bytes(self) -> int:
        """The bytes of all files."""
        return sum(file.size_bytes for file in self.files)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a snapshot may hold."""

    size_bytes: int = LIMIT_BYTES
    files: int = LIMIT_FILES


def scan(source: Path, limits: Limits = Limits(), *, leave_out: Sequence[Path] = (), home: Path | None = None) -> SourceTree:
    """Return what of ``source`` goes into a snapshot, without reading any content.

    Left out: what the ignore file of a directory names (``.wardianignore``, else ``.amlignore``, else ``.gitignore``; git's
    rules, in every directory), version control data, ``__pycache__``, virtual environments, sockets, pipes and devices, the
    top ``outputs/`` (it is the run's own), and ``leave_out``: Wardian's own directories. A link within the directory stays a
    link; one to a file elsewhere becomes a copy of that file; one to a directory elsewhere is an error. ``home``, the user's
    home directory, is no source directory.

    Raises:   NotFound: ``no_such_path``.  InvalidInput: ``bad_source``, ``snapshot_too_large``, ``link_leaves_tree``,
              ``bad_ignore_file``.  Unavailable: ``unreadable_file``.
    Source:   semantics §6
    """
    if not source.is_dir():
        raise NotFound(f"there is no directory {source}", code="no_such_path")
    root = Path(os.path.realpath(source))
    if root == Path("/") or (home is not None and root == Path(os.path.realpath(home))):
        raise InvalidInput(
            f"the source directory would be {root}: a run gets a copy of all that is in it",
            hint="change to the project's directory, or name it with `--source DIR`",
            code="bad_source",
        )
    walk = _Walk(root, limits, frozenset(os.path.realpath(path) for path in leave_out))
    walk.run()
    return SourceTree(root, tuple(sorted(walk.files, key=lambda file: file.path)), tuple(walk.directories), tuple(walk.notes))


class _Walk:
    def __init__(self, root: Path, limits: Limits, leave_out: frozenset[str]) -> None:
        self.root = str(root)
        self.limits = limits
        self.leave_out = leave_out
        self.files: list[SourceFile] = []
        self.directories: list[str] = []
        self.notes: list[str] = []
        self.size_bytes = 0

    def run(self) -> None:
        pending: list[tuple[str, list[tuple[str, IgnoreRules]]]] = [("", [])]
        while pending:
            prefix, rules = pending.pop()
            with _readable(self.root, prefix), os.scandir(f"{self.root}/{prefix}") as entries:
                found = sorted(entries, key=lambda entry: entry.name)
            names = {entry.name for entry in found}
            if prefix:
                if "pyvenv.cfg" in names:
                    continue
                self.directories.append(prefix.rstrip("/"))
            if ignore_file := next((name for name in IGNORE_FILES if name in names), None):
                rules = [*rules, (prefix, _rules_of(f"{self.root}/{prefix}{ignore_file}"))]
            inner = [path for entry in found if (path := self._take(prefix, entry, rules)) is not None]
            pending += [(f"{path}/", rules) for path in reversed(inner)]
        if self._is_too_large():
            raise self._too_large()

    def _take(self, prefix: str, entry: os.DirEntry[str], rules: list[tuple[str, IgnoreRules]]) -> str | None:
        """Note a file or link; return the path of a directory that is to be walked."""
        name = entry.name
        path = prefix + name
        is_directory = entry.is_dir(follow_symlinks=False)
        if name in _NEVER or _is_ignored(path, rules, is_directory=is_directory) or f"{self.root}/{path}" in self.leave_out:
            return None
        if path == OUTPUTS and is_directory:
            self.notes.append(f"{OUTPUTS}/ is left out of the snapshot: the run has its own")
            return None
        if is_directory:
            return path
        with _readable(self.root, path):
            found = entry.stat(follow_symlinks=False)
            if stat.S_ISLNK(found.st_mode):
                self._take_link(path)
            elif stat.S_ISREG(found.st_mode):
                self._add(path, found)
            else:
                self.notes.append(f"{path} is left out of the snapshot: it is neither a file nor a directory")
        return None

    def _take_link(self, path: str) -> None:
        place = f"{self.root}/{path}"
        text = os.readlink(place)  # noqa: PTH115 - the text as it is
        here = os.path.realpath(os.path.dirname(place))  # noqa: PTH120
        real = os.path.realpath(place)
        if real == self.root or real.startswith(self.root.rstrip("/") + "/"):
            joined = os.path.normpath(os.path.join(os.path.dirname(path), text))  # noqa: PTH118, PTH120
            if os.path.isabs(text) or joined == ".." or joined.startswith("../"):  # noqa: PTH117
                text = os.path.relpath(real, here)  # the same place, said in a way that holds in a copy
            self.files.append(SourceFile(path, 0, 0, 0, text))
            return
        try:
            found = os.stat(place)  # noqa: PTH116
        except OSError:
            self.notes.append(f"{path} is left out of the snapshot: it points at {text}, which is not there")
            return
        if not stat.S_ISREG(found.st_mode):
            raise InvalidInput(
                f"{path} in {self.root} is a link to a directory elsewhere: {text}",
                hint="give data with `--input NAME=PATH`, or name the link in a `.wardianignore` file", code="link_leaves_tree",
            )  # fmt: skip
        self._add(path, found)

    def _add(self, path: str, found: os.stat_result) -> None:
        self.files.append(SourceFile(path, found.st_size, found.st_mtime_ns, stat.S_IMODE(found.st_mode)))
        self.size_bytes += found.st_size
        if len(self.files) > self.limits.files * _COUNTED_BEYOND:
            raise self._too_large()

    def _is_too_large(self) -> bool:
        return self.size_bytes > self.limits.size_bytes or len(self.files) > self.limits.files

    def _too_large(self) -> InvalidInput:
        top: dict[str, tuple[int, int]] = {}
        for file in self.files:
            name = file.path.partition("/")[0] + ("/" if "/" in file.path else "")
            count, size = top.get(name, (0, 0))
            top[name] = (count + 1, size + file.size_bytes)
        by_files = self.size_bytes <= self.limits.size_bytes
        largest = sorted(top.items(), key=lambda item: item[1] if by_files else item[1][::-1], reverse=True)[:_SHOWN]
        shown = ", ".join(f"{name} ({count:,} files, {size:,} bytes)" for name, (count, size) in largest)
        more = "more than " if len(self.files) > self.limits.files * _COUNTED_BEYOND else ""
        return InvalidInput(
            f"the source directory {self.root} holds {more}{len(self.files):,} files, {self.size_bytes:,} bytes; a snapshot holds up to"
            f" {self.limits.files:,} files, {self.limits.size_bytes:,} bytes. The largest: {shown}",
            hint=IGNORE_HINT, code="snapshot_too_large",
        )  # fmt: skip


def _is_ignored(path: str, rules: list[tuple[str, IgnoreRules]], *, is_directory: bool) -> bool:
    for prefix, of_file in reversed(rules):  # the nearest ignore file that says something decides
        decision = of_file.decide(path[len(prefix) :], is_directory=is_directory)
        if decision is not None:
            return decision
    return False


def _rules_of(path: str) -> IgnoreRules:
    from wardian.tools.ignore_rules import IgnoreRules

    with _readable(path, ""):
        if not os.path.isfile(path):  # noqa: PTH113
            return IgnoreRules("")
        with open(path, "rb") as stream:  # noqa: PTH123
            content = stream.read(_LARGEST_IGNORE_FILE_BYTES + 1)
    try:
        if len(content) <= _LARGEST_IGNORE_FILE_BYTES:
            return IgnoreRules(content.decode())
    except UnicodeDecodeError:
        pass
    raise InvalidInput(f"the ignore file {path} is not a UTF-8 text of at most 1 MiB", code="bad_ignore_file")


@contextlib.contextmanager
def _readable(root: str, path: str) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        where = f"{root}/{path}".rstrip("/")
        raise Unavailable(f"{where} cannot be read: {error.strerror}", hint=IGNORE_HINT, code="unreadable_file") from error
