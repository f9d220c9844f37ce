"""Compares a prefix with what was installed: every changed, missing or extra file and directory."""

from __future__ import annotations

import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wardian.digest import Digest
from wardian.prefix.cache import BYTE_CODE, MARK, Ready
from wardian.prefix.seal import MANIFEST, recorded
from wardian.small_file import read_small

if TYPE_CHECKING:
    from pathlib import Path

_OURS = (MARK, MANIFEST, BYTE_CODE)
_SEALED = 0o555


@dataclass(frozen=True, slots=True)
class Findings:
    """What differs; paths are relative to the prefix, those of directories end in ``/``. A changed mode is a change."""

    changed: tuple[str, ...]
    missing: tuple[str, ...]
    extra: tuple[str, ...]
    checked: int

    @property
    def clean(self) -> bool:
        """Whether nothing differs."""
        return not (self.changed or self.missing or self.extra)

    def with_prefix(self, directory: str, other: Findings) -> Findings:
        """Return these findings and those of another prefix, whose paths begin with ``directory`` from here on."""
        theirs = [tuple(f"{directory}/{path}" for path in paths) for paths in (other.changed, other.missing, other.extra)]
        return Findings(
            self.changed + theirs[0], self.missing + theirs[1], self.extra + theirs[2], self.checked + other.checked
        )

    def as_document(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "clean": self.clean,
            "checked": self.checked,
            "changed": list(self.changed),
            "missing": list(self.missing),
            "extra": list(self.extra),
        }


def verify_prefix(prefix: Path) -> Findings:
    """Read every file of ``prefix``, and of the prefixes that it needs, and compare it with the manifest and the packages' own lists.

    Content, kind and mode count, of directories too. A manifest that cannot be read counts as changed. Files of another prefix, a standalone Python, are told as ``../<its name>/…``.
    """
    found = _verify(prefix)
    try:
        ready = Ready.from_json(read_small(prefix / MARK))
    except OSError:
        ready = None
    for name in ready.requires if ready is not None else ():
        found = found.with_prefix(f"../{name}", _verify(prefix.parent / name))
    return found


def _verify(prefix: Path) -> Findings:
    try:
        manifest = json.loads(read_small(prefix / MANIFEST))
        listed: Any = manifest["files"]
        directories: Any = manifest.get("directories")  # None: sealed by an older Wardian
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # of any shape: somebody wrote it by hand
        return Findings((MANIFEST,), (), (), 0)
    if not isinstance(listed, dict) or not all(isinstance(entry, dict) for entry in listed.values()):
        return Findings((MANIFEST,), (), (), 0)
    if not isinstance(directories, dict | None):
        return Findings((MANIFEST,), (), (), 0)
    digests = {name: entry["sha256"] for name, entry in listed.items() if "sha256" in entry}
    for name in listed:
        if name.endswith(".dist-info/RECORD"):
            for path, digest in recorded(prefix, name).items():
                digests.setdefault(path, digest)
    for path, digest in _conda(prefix).items():
        digests.setdefault(path, digest)
    byte_code = _byte_code(prefix)
    actual, actual_directories = _walk(prefix)
    expected = set(listed) | set(byte_code)
    missing = sorted(expected - set(actual))
    extra = sorted(name for name in set(actual) - expected if not _is_ours(name))
    with ThreadPoolExecutor(2) as pool:
        results = pool.map(
            lambda name: _same(prefix, name, listed.get(name, {}), digests.get(name) or byte_code.get(name)),
            sorted(expected & set(actual)),
        )
        changed = [name for name, same in results if not same]
    if directories is not None:
        known = {**_directories_of(byte_code), ".wardian": _SEALED, **directories}
        missing += [f"{name}/" for name in sorted(known.keys() - actual_directories.keys())]
        extra += [f"{name}/" for name in sorted(actual_directories.keys() - known.keys())]
        found = {name: mode for name, mode in actual_directories.items() if name in known}
        changed += [f"{name}/" for name, mode in sorted(found.items()) if known[name] not in (None, mode)]
    return Findings(tuple(changed), tuple(missing), tuple(extra), len(expected))


def _is_ours(name: str) -> bool:
    """Whether a file that no list names is what Wardian keeps beside them, or is just being written."""
    return name in _OURS or (name.startswith(".wardian/.") and name.endswith(".tmp"))


def _directories_of(byte_code: dict[str, str]) -> dict[str, int | None]:
    return {os.path.dirname(name): _SEALED for name in byte_code}  # noqa: PTH120


def _same(prefix: Path, name: str, entry: dict[str, Any], digest: str | None) -> tuple[str, bool]:
    path = prefix / name
    try:
        if "link" in entry:
            return name, path.is_symlink() and os.readlink(path) == entry["link"]  # noqa: PTH115
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_size != entry.get("size", status.st_size):
            return name, False
        if stat.S_IMODE(status.st_mode) != entry.get("mode", stat.S_IMODE(status.st_mode)):
            return name, False
        return name, digest is None or Digest.of_file(path) == digest
    except OSError:
        return name, False


def _walk(prefix: Path) -> tuple[list[str], dict[str, int]]:
    """Return all files and links, and all directories with their modes."""
    root = os.fspath(prefix)
    files: list[str] = []
    directories: dict[str, int] = {}
    waiting = [root]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                name = entry.path[len(root) + 1 :]
                if entry.is_dir(follow_symlinks=False):
                    directories[name] = stat.S_IMODE(entry.stat(follow_symlinks=False).st_mode)
                    waiting.append(entry.path)
                else:
                    files.append(name)
    return files, directories


def _conda(prefix: Path) -> dict[str, str]:
    if not (prefix / "conda-meta").is_dir():
        return {}
    from wardian.prefix.conda import conda_files

    return {path: digest for path, digest in conda_files(prefix).items() if digest}


def _byte_code(prefix: Path) -> dict[str, str]:
    try:
        document = json.loads(read_small(prefix / BYTE_CODE))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}
