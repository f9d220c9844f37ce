"""Makes a finished prefix read-only, and writes down what is in it."""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING, Any, NamedTuple

from wardian.digest import Digest
from wardian.tools.disk import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

MANIFEST = ".wardian/manifest.json"
_WRITE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH


class Sealed(NamedTuple):
    """What a prefix holds: the number of its files, and the sum of their sizes, wherever else they are linked."""

    files: int
    size_bytes: int


def seal(prefix: Path) -> Sealed:
    """Take every write permission below ``prefix`` and write its manifest; return what it holds.

    The manifest names every file and link with its size. It holds the digests of those that no package's own list
    vouches for: the lists themselves, scripts, settings. The others are checked against their package's list.
    """
    files: dict[str, Any] = {}
    root = os.fspath(prefix)
    stack = [root]
    directories: list[tuple[str, int]] = []
    while stack:
        directory = stack.pop()
        with os.scandir(directory) as entries:
            for entry in entries:
                found = entry.stat(follow_symlinks=False)
                mode = found.st_mode
                if stat.S_ISDIR(mode):
                    stack.append(entry.path)
                    directories.append((entry.path, mode))
                    continue
                name = entry.path[len(root) + 1 :]
                if stat.S_ISLNK(mode):
                    files[name] = {"link": os.readlink(entry.path)}  # noqa: PTH115
                    continue
                files[name] = (
                    {"size": found.st_size, "sha256": Digest.of_file(entry.path)} if _is_own(name) else {"size": found.st_size}
                )
                if mode & _WRITE:
                    os.chmod(entry.path, stat.S_IMODE(mode) & ~_WRITE)  # noqa: PTH101 - thousands of files
    document = {"files": dict(sorted(files.items()))}
    write_atomically(prefix / MANIFEST, json.dumps(document, separators=(",", ":")).encode(), 0o444)
    for path, mode in directories:
        if mode & _WRITE:
            os.chmod(path, stat.S_IMODE(mode) & ~_WRITE)  # noqa: PTH101
    return Sealed(len(files), sum(entry.get("size", 0) for entry in files.values()))


def _is_own(name: str) -> bool:
    """Whether no package's list vouches for the file: it lies outside site-packages, at its top, or is a list itself."""
    before, marker, inside = name.partition("site-packages/")
    if not marker:
        return not before.startswith(("lib/", "share/", "include/", "etc/", "ssl/"))
    return "/" not in inside or ".dist-info/" in inside
