"""Local code as a digest: which files of a directory count, and what of them."""

from __future__ import annotations

import os
import stat
import unicodedata
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wardian.digest import Digest
from wardian.errors import InvalidInput, NotFound, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pathspec import GitIgnoreSpec

SCHEME = "wardian-tree-1"
IGNORE_FILES = (".wardianignore", ".amlignore", ".gitignore")  # the first that a directory has decides for it
LIMIT_FILES = 50_000
LIMIT_BYTES = 2 << 30
_NEVER = frozenset({"__pycache__", ".git", ".hg", ".svn", ".bzr", "CVS", "_darcs", ".jj"})
_LARGEST_IGNORE_FILE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """One file or link of a tree. ``path`` is relative to the tree, with ``/``; ``target`` is a link's text, else None."""

    path: str
    executable: bool
    size_bytes: int
    target: str | None = None


def tree_digest(path: Path, *, limit_files: int = LIMIT_FILES, limit_bytes: int = LIMIT_BYTES) -> Digest:
    """Return the digest of the local code at ``path``: of a file its bytes; of a directory what ``list_tree`` lists.

    Of a tree count paths, contents, link texts and whether the owner may execute a file. Order, times, owners, umask, locale
    and where the tree stands don't: the same code has the same digest on every machine.

    Raises:   as ``list_tree``.
    Source:   semantics §1, "local code"
    """
    if path.is_file():
        with _readable(path):
            return Digest.of_file(path)
    entries: list[list[Any]] = []
    for entry in list_tree(path, limit_files=limit_files, limit_bytes=limit_bytes):
        name = unicodedata.normalize("NFC", entry.path)  # macOS writes NFD
        if entry.target is not None:
            entries.append([name, "link", entry.target])
            continue
        with _readable(path / entry.path):
            digest = Digest.of_file(path / entry.path)
        entries.append([name, "executable" if entry.executable else "file", digest])
    return Digest.of_document({"scheme": SCHEME, "entries": sorted(entries)})


def list_tree(root: Path, *, limit_files: int = LIMIT_FILES, limit_bytes: int = LIMIT_BYTES) -> tuple[TreeEntry, ...]:
    """Return the files and links under ``root`` that count, by path.

    Left out: what the ignore file of a directory says (``.wardianignore``, else ``.amlignore``, else ``.gitignore``; git's rules,
    in every directory of the tree), version control data, ``__pycache__``, ``*.egg-info``, virtual environments, empty
    directories. Links are listed, never followed.

    Raises:   NotFound: there is no directory ``root``; code ``no_such_path``.
              InvalidInput: codes ``link_leaves_tree``, ``special_file``, ``bad_path``, ``bad_ignore_file``, ``tree_too_large``.
              Unavailable: a file cannot be read.
    """
    if not root.is_dir():
        raise NotFound(f"there is no directory `{root}`", code="no_such_path")
    walk = _Walk(Path(os.path.realpath(root)), limit_files, limit_bytes)
    walk.directory("", [])
    return tuple(sorted(walk.entries, key=lambda entry: entry.path))


class _Walk:
    def __init__(self, root: Path, limit_files: int, limit_bytes: int) -> None:
        self.root = root
        self.entries: list[TreeEntry] = []
        self.limit_files = limit_files
        self.limit_bytes = limit_bytes
        self.size_bytes = 0

    def directory(self, prefix: str, rules: list[tuple[str, GitIgnoreSpec]]) -> None:
        """Walk the directory ``prefix`` (empty, or with a slash at its end); ``rules`` are those of the directories above."""
        pending = [(prefix, rules)]
        while pending:
            prefix, rules = pending.pop()
            place = self.root / prefix
            with _readable(place), os.scandir(place) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
            names = {entry.name for entry in found}
            if "pyvenv.cfg" in names and prefix:
                continue
            ignore_file = next((name for name in IGNORE_FILES if name in names), None)
            here = [*rules, (prefix, _rules_of(place / ignore_file))] if ignore_file else rules
            for entry in found:
                path = prefix + entry.name
                is_directory = entry.is_dir(follow_symlinks=False)
                if (
                    entry.name in _NEVER
                    or entry.name.endswith(".egg-info")
                    or _is_ignored(path, here, is_directory=is_directory)
                ):
                    continue
                if not _is_text(path):
                    raise InvalidInput(
                        f"the file name {path!a} under `{self.root}` is not UTF-8", hint="rename it", code="bad_path"
                    )
                if is_directory:
                    pending.append((f"{path}/", here))
                else:
                    self.file(path, entry)

    def file(self, path: str, entry: os.DirEntry[str]) -> None:
        with _readable(self.root / path):
            status = entry.stat(follow_symlinks=False)
            target = os.readlink(self.root / path) if stat.S_ISLNK(status.st_mode) else None  # noqa: PTH115 - the text as it is
        if target is not None:
            self.check_link(path, target)
            self.entries.append(TreeEntry(path, executable=False, size_bytes=0, target=target))
        elif stat.S_ISREG(status.st_mode):
            self.size_bytes += status.st_size
            self.entries.append(TreeEntry(path, bool(status.st_mode & stat.S_IXUSR), status.st_size))
        else:
            raise InvalidInput(f"`{path}` under `{self.root}` is neither a file nor a link", hint=f"delete it, or {_IGNORE_HINT}",
                               code="special_file")  # fmt: skip
        if len(self.entries) > self.limit_files or self.size_bytes > self.limit_bytes:
            largest = sorted(self.entries, key=lambda e: -e.size_bytes)[:3]
            names = ", ".join(f"{e.path} ({e.size_bytes:,} bytes)" for e in largest)
            raise InvalidInput(
                f"the tree `{self.root}` holds more than {self.limit_files:,} files or {self.limit_bytes:,} bytes; the largest so far: {names}",
                hint=_IGNORE_HINT, code="tree_too_large",
            )  # fmt: skip

    def check_link(self, path: str, target: str) -> None:
        # Both ways: the text must not lead out for a reader who only joins paths, nor the link on this disk
        joined = os.path.normpath(os.path.join(os.path.dirname(path), target))  # noqa: PTH118, PTH120
        real = os.path.realpath(self.root / path)
        inside = real == str(self.root) or real.startswith(str(self.root).rstrip("/") + "/")
        if os.path.isabs(target) or joined == ".." or joined.startswith("../") or not inside or not _is_text(target):  # noqa: PTH117
            raise InvalidInput(f"the link `{path}` leads out of `{self.root}`, to {target!a}",
                               hint=f"put a copy of what it points at in its place, or {_IGNORE_HINT}", code="link_leaves_tree")  # fmt: skip


_IGNORE_HINT = "name it in a `.wardianignore` file"


def _is_ignored(path: str, rules: list[tuple[str, GitIgnoreSpec]], *, is_directory: bool) -> bool:
    for prefix, spec in reversed(rules):  # the nearest ignore file that says something decides
        include = spec.check_file(path[len(prefix) :] + ("/" if is_directory else "")).include
        if include is not None:
            return include
    return False


def _rules_of(path: Path) -> GitIgnoreSpec:
    from pathspec import GitIgnoreSpec

    with _readable(path):
        if not path.is_file():
            return GitIgnoreSpec([])
        with path.open("rb") as stream:
            content = stream.read(_LARGEST_IGNORE_FILE_BYTES + 1)
    if len(content) > _LARGEST_IGNORE_FILE_BYTES or not _is_text(content.decode("utf-8-sig", errors="surrogateescape")):
        raise InvalidInput(f"the ignore file `{path}` is not a UTF-8 text of at most 1 MiB", code="bad_ignore_file")
    lines = content.decode("utf-8-sig").splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            GitIgnoreSpec.from_lines([line])
        except ValueError as error:
            raise InvalidInput(
                f"{path}:{number}: `{line[:80]}` is not an ignore pattern: {error}", code="bad_ignore_file"
            ) from None
    return GitIgnoreSpec.from_lines(lines)


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(f"`{path}` cannot be read: {error.strerror}", code="unreadable_file") from error
