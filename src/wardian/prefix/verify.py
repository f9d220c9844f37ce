"""Compares a prefix with what was installed: every changed, missing or extra file."""

from __future__ import annotations

import base64
import csv
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wardian.digest import Digest
from wardian.prefix.bytecode import BYTE_CODE
from wardian.prefix.cache import MARK, Ready
from wardian.prefix.seal import MANIFEST

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Findings:
    """What differs; paths are relative to the prefix."""

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

    A manifest that cannot be read counts as changed. Files of another prefix, a standalone Python, are told as ``../<its name>/…``.
    """
    found = _verify(prefix)
    try:
        ready = Ready.from_json((prefix / MARK).read_bytes())
    except OSError:
        ready = None
    for name in ready.requires if ready is not None else ():
        found = found.with_prefix(f"../{name}", _verify(prefix.parent / name))
    return found


def _verify(prefix: Path) -> Findings:
    try:
        listed: dict[str, dict[str, Any]] = json.loads((prefix / MANIFEST).read_bytes())["files"]
    except (OSError, ValueError, KeyError):
        return Findings((MANIFEST,), (), (), 0)
    digests = {name: entry["sha256"] for name, entry in listed.items() if "sha256" in entry}
    for name in listed:
        if name.endswith(".dist-info/RECORD"):
            for path, digest in _record(prefix, name).items():
                digests.setdefault(path, digest)
    for path, digest in _conda(prefix).items():
        digests.setdefault(path, digest)
    byte_code = _byte_code(prefix)
    actual = _walk(prefix)
    expected = set(listed) | set(byte_code)
    missing = sorted(expected - set(actual))
    extra = sorted(name for name in set(actual) - expected if not name.startswith(".wardian/"))
    with ThreadPoolExecutor(2) as pool:
        results = pool.map(
            lambda name: _same(prefix, name, listed.get(name, {}), digests.get(name) or byte_code.get(name)),
            sorted(expected & set(actual)),
        )
        changed = tuple(name for name, same in results if not same)
    return Findings(changed, tuple(missing), tuple(extra), len(expected))


def _same(prefix: Path, name: str, entry: dict[str, Any], digest: str | None) -> tuple[str, bool]:
    path = prefix / name
    try:
        if "link" in entry:
            return name, path.is_symlink() and os.readlink(path) == entry["link"]  # noqa: PTH115
        if path.is_symlink() or ("size" in entry and path.stat().st_size != entry["size"]):
            return name, False
        return name, digest is None or Digest.of_file(path) == digest
    except OSError:
        return name, False


def _walk(prefix: Path) -> list[str]:
    root = os.fspath(prefix)
    found = []
    for directory, names, files in os.walk(root):
        found += [os.path.join(directory, name)[len(root) + 1 :] for name in files]  # noqa: PTH118
        found += [
            os.path.join(directory, name)[len(root) + 1 :]  # noqa: PTH118
            for name in names
            if os.path.islink(os.path.join(directory, name))  # noqa: PTH114, PTH118
        ]
    return found


def _record(prefix: Path, name: str) -> dict[str, str]:
    site = os.path.dirname(os.path.dirname(name))  # noqa: PTH120
    found = {}
    try:
        with (prefix / name).open(newline="") as stream:
            for row in csv.reader(stream):
                if len(row) >= 2 and row[1].startswith("sha256="):  # noqa: PLR2004
                    path = os.path.normpath(os.path.join(site, row[0]))  # noqa: PTH118
                    value = row[1].removeprefix("sha256=")
                    found[path] = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)).hex()
    except (OSError, ValueError):
        return {}
    return found


def _conda(prefix: Path) -> dict[str, str]:
    if not (prefix / "conda-meta").is_dir():
        return {}
    from wardian.prefix.conda import conda_files

    return {path: digest for path, digest in conda_files(prefix).items() if digest}


def _byte_code(prefix: Path) -> dict[str, str]:
    try:
        document = json.loads((prefix / BYTE_CODE).read_bytes())
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}
