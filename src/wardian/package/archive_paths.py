"""The rules for what may stand in an archive: paths, links, duplicates, sizes. No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NoReturn

from wardian.errors import BadArchive

_DRIVE = re.compile(r"[A-Za-z]:")
_LINKS_FOLLOWED = 40  # as many as Linux follows
_PATH_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Limits:
    """How far an archive may expand.

    Attributes:
        expanded_bytes: never more than this.
        members: most members.
        ratio, free_bytes: above ``free_bytes`` expanded, at most ``ratio`` times the archive's own size.
    """

    expanded_bytes: int = 64 << 30
    members: int = 500_000
    ratio: int = 500
    free_bytes: int = 1 << 30

    def allowed(self, archive_bytes: int) -> int:
        """Return the most bytes that an archive of ``archive_bytes`` may expand to."""
        return min(self.expanded_bytes, max(self.free_bytes, self.ratio * archive_bytes))


def refuse(archive: str, member: str | None, why: str, *, code: str) -> NoReturn:
    """Raise the ``BadArchive`` that names the archive and the member."""
    where = archive if member is None else f"{archive}: `{_printable(member)}`"
    raise BadArchive(f"{where} {why}", code=code, hint="do not use this archive; tell who published it") from None


def safe_path(archive: str, name: str) -> str:
    """Return ``name`` as a plain relative path with ``/``: no ``.`` parts, no empty ones; ``""`` for the root itself.

    Raises:   BadArchive: code ``unsafe_path``: absolute, ``..``, NUL, a backslash, a drive letter, not UTF-8, or too long.
    Source:   semantics §4
    """
    if not name:
        refuse(archive, name, "has no name", code="unsafe_path")
    if "\0" in name:
        refuse(archive, name, "has a NUL in its name", code="unsafe_path")
    if "\\" in name:
        refuse(archive, name, "has a backslash in its name", code="unsafe_path")
    if name[0] == "/" or _DRIVE.match(name):
        refuse(archive, name, "has an absolute path", code="unsafe_path")
    if not name.isascii():
        try:
            name.encode()
        except UnicodeEncodeError:
            refuse(archive, name, "has a name that is not UTF-8", code="unsafe_path")
    if len(name) > _PATH_BYTES:
        refuse(archive, name, f"has a name of more than {_PATH_BYTES} characters", code="unsafe_path")
    if "." not in name and "//" not in name:  # the quick way for most
        return name.rstrip("/")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        refuse(archive, name, "leads out of its place by `..`", code="unsafe_path")
    return "/".join(parts)


class Tree:
    """The members of one archive, checked as they are added and as a whole by ``finish``.

    Args:     archive: its file name, for errors.  archive_bytes: its size.
              case_sensitive: False: two names that differ only in case are refused, as the file system would merge them.
    """

    def __init__(self, archive: str, archive_bytes: int, limits: Limits, *, case_sensitive: bool):
        self.archive = archive
        self.allowed_bytes = limits.allowed(archive_bytes)
        self.files: dict[str, int] = {}
        self.links: dict[str, str] = {}
        self.expanded_bytes = 0
        self._directories: set[str] = set()
        self._hard: dict[str, str] = {}
        self._most = limits.members
        self._case_sensitive = case_sensitive

    def add_file(self, name: str, size_bytes: int) -> str:
        """Take a regular file of ``size_bytes`` (as declared, before it is read) and return its normalised path."""
        path = self._new(name)
        self.files[path] = size_bytes
        self.expanded_bytes += size_bytes
        if self.expanded_bytes > self.allowed_bytes:
            refuse(self.archive, name, f"makes it expand to more than {self.allowed_bytes:,} bytes", code="archive_bomb")
        return path

    def add_directory(self, name: str) -> None:
        """Take a directory; naming one twice is harmless."""
        if path := safe_path(self.archive, name):
            self._count()
            self._directories.add(path)

    def add_symlink(self, name: str, target: str) -> None:
        """Take a symbolic link; where it leads is checked by ``finish``, when all links are known."""
        if not target or "\0" in target or "\\" in target:
            refuse(self.archive, name, f"is a link to `{_printable(target)}`, which is no path", code="unsafe_link")
        if target.startswith("/") or _DRIVE.match(target):
            refuse(self.archive, name, f"is a link to the absolute path `{_printable(target)}`", code="unsafe_link")
        self.links[self._new(name)] = target

    def add_hard_link(self, name: str, target: str) -> None:
        """Take a hard link to a file that came before it."""
        path = self._new(name)
        try:
            to = safe_path(self.archive, target)
        except BadArchive:
            refuse(self.archive, name, f"is a hard link to `{_printable(target)}`, outside its place", code="unsafe_link")
        size = self.files.get(to)
        if size is None:
            refuse(
                self.archive, name, f"is a hard link to `{_printable(target)}`, which is no file before it", code="unsafe_link"
            )
        self.files[path] = size
        self._hard[path] = to

    def finish(self, root: str = "") -> None:
        """Check what only the whole shows: links that lead out of ``root``, paths through links and files, case.

        Raises:   BadArchive: codes ``unsafe_link``, ``unsafe_path``, ``duplicate_member``, ``case_collision``.
        """
        everything = [*self.files, *self.links]
        for path in [*everything, *self._directories]:
            self._check_ancestors(path)
        for path in everything:
            if path in self._directories:
                refuse(self.archive, path, "is both a directory and a file", code="duplicate_member")
        for path in self.links:
            self._resolve(path, root)
        if not self._case_sensitive:
            seen: dict[str, str] = {}
            for path in [*everything, *self._directories]:
                if (other := seen.setdefault(path.casefold(), path)) != path:
                    refuse(self.archive, path, f"and `{other}` are one file on this machine", code="case_collision")

    def _new(self, name: str) -> str:
        path = safe_path(self.archive, name)
        if not path or name.rpartition("/")[2] in ("", "."):
            refuse(self.archive, name, "is a file with the name of a directory", code="unsafe_path")
        if path in self.files or path in self.links:
            refuse(self.archive, name, "is there twice", code="duplicate_member")
        self._count()
        return path

    def _count(self) -> None:
        self._most -= 1
        if self._most < 0:
            refuse(self.archive, None, "has too many members", code="archive_bomb")

    def _check_ancestors(self, path: str) -> None:
        parent = path.rpartition("/")[0]
        while parent and parent not in self._directories:
            if parent in self.links:
                refuse(self.archive, path, f"would be written through the link `{_printable(parent)}`", code="unsafe_link")
            if parent in self.files:
                refuse(self.archive, path, f"lies below `{_printable(parent)}`, which is a file", code="duplicate_member")
            self._directories.add(parent)
            parent = parent.rpartition("/")[0]

    def _resolve(self, link: str, root: str) -> None:
        """Follow ``link`` as the kernel would, part by part: ``a/link/..`` is not ``a`` when ``link`` leads elsewhere."""
        here = link.split("/")[:-1]
        todo = self.links[link].split("/")[::-1]
        followed = 0
        while todo:
            part = todo.pop()
            if part in ("", "."):
                continue
            if part == "..":
                if not here or "/".join(here) == root:
                    refuse(
                        self.archive,
                        link,
                        f"is a link to `{_printable(self.links[link])}`, outside its place",
                        code="unsafe_link",
                    )
                here.pop()
                continue
            here.append(part)
            if (target := self.links.get("/".join(here))) is not None:
                followed += 1
                if followed > _LINKS_FOLLOWED:
                    refuse(self.archive, link, "is a link that leads to itself", code="unsafe_link")
                here.pop()
                todo.extend(target.split("/")[::-1])


def _printable(name: str) -> str:
    short = name if len(name) <= 200 else f"{name[:200]}…"  # noqa: PLR2004
    return short if short.isprintable() else ascii(short)[1:-1]
