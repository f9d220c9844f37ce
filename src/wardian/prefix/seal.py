"""Makes a finished prefix read-only, and writes down what is in it."""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import stat
from typing import TYPE_CHECKING, Any, NamedTuple

from wardian.digest import Digest
from wardian.small_file import read_small
from wardian.tools.disk import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

MANIFEST = ".wardian/manifest.json"
_WRITE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH


class Sealed(NamedTuple):
    """What a prefix holds: the number of its files, and the sum of their sizes, wherever else they are linked."""

    files: int
    size_bytes: int


def seal(prefix: Path) -> Sealed:
    """Take every write permission below ``prefix`` and write its manifest; return what it holds.

    The manifest names every file with its size and mode, every link with its target, and every directory with its mode. It
    holds the digests of those files that no package's own list vouches for: the lists themselves, scripts, settings, and what
    several wheels have with different content. The others are checked against their package's list. On a file system that keeps no modes it names none.
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
                sealed = stat.S_IMODE(mode) & ~_WRITE
                files[name] = {"size": found.st_size, "mode": sealed}
                if _is_own(name):
                    files[name]["sha256"] = Digest.of_file(entry.path)
                if mode & _WRITE:
                    os.chmod(entry.path, sealed)  # noqa: PTH101 - thousands of files
    for name in _contested(prefix, files):
        if "size" in files.get(name, {}):
            files[name]["sha256"] = Digest.of_file(prefix / name)
    sealed_directories = {path[len(root) + 1 :]: stat.S_IMODE(mode) & ~_WRITE for path, mode in sorted(directories)}
    document: dict[str, Any] = {"files": dict(sorted(files.items())), "directories": sealed_directories}
    if not _keeps_modes(prefix, files):
        document = {
            "files": {name: {key: entry[key] for key in entry if key != "mode"} for name, entry in document["files"].items()},
            "directories": dict.fromkeys(sealed_directories),
        }
    write_atomically(prefix / MANIFEST, json.dumps(document, separators=(",", ":")).encode(), 0o444)
    for path, mode in directories:
        if mode & _WRITE:
            os.chmod(path, stat.S_IMODE(mode) & ~_WRITE)  # noqa: PTH101
    return Sealed(len(files), sum(entry.get("size", 0) for entry in files.values()))


def _keeps_modes(prefix: Path, files: dict[str, Any]) -> bool:
    first = next((name for name, entry in files.items() if "mode" in entry), None)
    return first is None or stat.S_IMODE(os.lstat(prefix / first).st_mode) == files[first]["mode"]


def _is_own(name: str) -> bool:
    """Whether no package's list vouches for the file: it lies outside site-packages, at its top, or is a list itself."""
    before, marker, inside = name.partition("site-packages/")
    if not marker:
        return not before.startswith(("lib/", "share/", "include/", "etc/", "ssl/"))
    return "/" not in inside or ".dist-info/" in inside


def _contested(prefix: Path, files: Iterable[str]) -> set[str]:
    """Return the files that several wheels have with different content: no list says which one's is there."""
    digests: dict[str, str] = {}
    found = set()
    for name in files:
        if name.endswith(".dist-info/RECORD"):
            found |= {path for path, digest in recorded(prefix, name).items() if digests.setdefault(path, digest) != digest}
    return found


def recorded(prefix: Path, name: str) -> dict[str, str]:
    """Return the digests that a wheel's list, the file ``name``, has of its files; none if it cannot be read."""
    site = os.path.dirname(os.path.dirname(name))  # noqa: PTH120
    found = {}
    try:
        for row in csv.reader(io.StringIO(read_small(prefix / name).decode(), newline="")):
            if len(row) >= 2 and row[1].startswith("sha256="):  # noqa: PLR2004
                path = os.path.normpath(os.path.join(site, row[0]))  # noqa: PTH118
                value = row[1].removeprefix("sha256=")
                found[path] = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)).hex()
    except (OSError, ValueError, csv.Error):
        return {}
    return found
