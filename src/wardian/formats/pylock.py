"""``pylock.toml`` (PEP 751) as a definition: its roots, and its digest; the lock is made of what it says."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from wardian.definition.environment import Environment, PythonSection
from wardian.definition.project_name import PROJECT_NAME, canonical_name
from wardian.digest import Digest
from wardian.errors import InvalidInput
from wardian.formats.faults import Faults
from wardian.formats.locked_input import LockedInput, LockedPackage, LockedPython, index_options, not_edited
from wardian.formats.read_definition import ReadDefinition
from wardian.formats.source_text import plain_text
from wardian.formats.toml_text import parse_toml

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from wardian.definition.environment import LocalSource

FORMAT = "pylock"
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.!+_-]*")
_NO_PLACE = {
    "vcs": "a repository", "directory": "a directory", "archive": "an archive that is on no index",
}  # fmt: skip


def read(
    text: str,
    *,
    file: str,
    base: Path | None,
    local: Sequence[LocalSource] = (),
    extras: Sequence[str] = (),
    groups: Sequence[str] = (),
) -> ReadDefinition:
    """Return the uv environment that is locked by ``text``: its roots, and the file's digest as ``locked_input``.

    Roots are the packages that no other one needs. Indexes that the file names become options.

    Args:     text: the file's text.  file: its name for people.
              base: its directory; None for a text that was kept: the lock file is among what the workspace keeps then.
    Raises:   InvalidDefinition: every fault of the file.
    Source:   PEP 751
    """
    faults = Faults(file)
    faults.refuse_extras(extras, groups, "a lock file")
    faults.raise_if_any()
    del local
    locked = parse(text, file)
    place = base / PurePath(file).name if base is not None else None
    digest = Digest.of_file(place) if place is not None and place.is_file() else Digest.of(text.encode())
    versions: dict[str, set[str]] = {}
    for package in locked.packages:
        versions.setdefault(package.name, set()).add(package.version)
    pip = tuple(name if len(versions[name]) > 1 else f"{name}=={next(iter(versions[name]))}" for name in locked.roots)
    section = PythonSection(
        manager="uv", requires_python=locked.requires_python, pip=pip,
        pip_options=index_options([package.index for package in locked.packages]), locked_input=digest,
    )  # fmt: skip
    with faults.wrap():
        environment = Environment(python=section)
    faults.raise_if_any()
    sources = {digest: place} if place is not None and place.is_file() else {}
    return ReadDefinition(environment, FORMAT, text, sources, self_contained=True, warnings=faults.warnings)


def parse(text: str, file: str) -> LockedInput:
    """Return what the lock file says.

    Raises:   InvalidDefinition: all its faults, among them packages that are on no index: code ``locked_elsewhere``.
    """
    faults = Faults(file)
    toml = parse_toml(plain_text(text), faults)
    document: Any = toml.values
    faults.raise_if_any()
    if str(document.get("lock-version", "")).partition(".")[0] != "1":
        faults.add("lock_version", "this is no lock file of version 1 (PEP 751)", field="lock-version",
                   line=toml.line_of(("lock-version",)) or 1, hint='a lock file of version 1 begins with `lock-version = "1.0"`')  # fmt: skip
    packages = []
    for number, entry in enumerate(_listed(document, "packages", faults, "packages")):
        if (
            isinstance(entry, dict)
            and (package := _package(entry, f"packages[{number}]", toml.line_of(("packages", number)), faults)) is not None
        ):
            packages.append(package)
    faults.raise_if_any()
    tool = document.get("tool")
    ours = tool.get("wardian") if isinstance(tool, dict) else None
    pythons = ours.get("python") if isinstance(ours, dict) else None
    return LockedInput(
        tuple(packages), str(document.get("requires-python") or ""),
        tuple(str(marker) for marker in _listed(document, "environments", faults, "environments")),
        _pythons(pythons if isinstance(pythons, dict) else {}, faults),
    )  # fmt: skip


def _package(entry: Mapping[str, Any], field: str, line: int | None, faults: Faults) -> LockedPackage | None:
    name, version = str(entry.get("name") or ""), str(entry.get("version") or "")
    if not re.fullmatch(PROJECT_NAME, name):
        faults.add("bad_package", "a package has no name", field=field, line=line)
        return None
    for key, what in _NO_PLACE.items():
        if key in entry:
            faults.add("locked_elsewhere", f"{name} is from {what}: such a package is not taken from a lock file", field=f"{field}.{key}", line=line,
                       hint="make the environment from the file that it was locked from")  # fmt: skip
            return None
    if not _VERSION.fullmatch(version):
        faults.add("bad_package", f"{name} has no version", field=f"{field}.version", line=line)
        return None
    files: dict[str, Digest] = {}
    for one in (*_listed(entry, "wheels", faults, field, line), *([entry["sdist"]] if "sdist" in entry else [])):
        if not isinstance(one, dict):
            continue
        if "url" not in one:
            faults.add("locked_elsewhere", f"{name} is a file beside the lock file: such a package is not taken from it", field=field, line=line,
                       hint="make the environment from the file that it was locked from")  # fmt: skip
            return None
        hashes = one.get("hashes")
        digest = str(hashes.get("sha256") or "") if isinstance(hashes, dict) else ""
        file = str(one.get("name") or str(one["url"]).partition("#")[0].partition("?")[0].rpartition("/")[2])
        if re.fullmatch(r"[0-9a-f]{64}", digest):
            files[file] = Digest(digest)
    if not files:
        faults.add("hash_missing", f"{name} has no file with a sha256", field=field, line=line,
                   hint="lock anew with the tool that wrote the file, or make the environment from the file that it was locked from")  # fmt: skip
        return None
    index = str(entry["index"]) if entry.get("index") else None
    needs = [one.get("name") for one in _listed(entry, "dependencies", faults, field, line) if isinstance(one, dict)]
    return LockedPackage(canonical_name(name), version, str(entry.get("marker") or ""), index, files,
                         tuple(sorted({canonical_name(str(one)) for one in needs if one})))  # fmt: skip


def _listed(table: Mapping[str, Any], key: str, faults: Faults, field: str, line: int | None = None) -> list[Any]:
    value = table.get(key, [])
    if isinstance(value, list):
        return value
    faults.add("wrong_type", f"`{key}` must be a list", field=field, line=line)
    return []


def _pythons(tables: Mapping[str, Any], faults: Faults) -> dict[str, LockedPython]:
    found = {}
    for platform, given in tables.items():
        about = given if isinstance(given, dict) else {}
        digest, file = str(about.get("sha256", "")), str(about.get("file", ""))
        if not re.fullmatch(r"[0-9a-f]{64}", digest) or not file or "/" in file or not about.get("version"):
            faults.add("wrong_type", "an interpreter has version, file and sha256", field=f"tool.wardian.python.{platform}")
            continue
        size = about.get("size")
        found[str(platform)] = LockedPython(str(about["version"]), str(about.get("build", "")), file, Digest(digest),
                                            size if isinstance(size, int) else None)  # fmt: skip
    faults.raise_if_any()
    return found


def write(env: Environment) -> str:
    """Raise: a definition says less than a lock file; `wardian env export NAME --to pylock` writes one."""
    del env
    raise InvalidInput(
        "a definition is no lock file", hint="`wardian env export NAME --to pylock` writes one", code="not_expressible"
    )


def add(text: str, requirements: Sequence[str], *, manager: str) -> str:
    """Raise: packages are not added to a lock file here."""
    del text, manager
    raise not_edited(requirements)


def remove(text: str, names: Sequence[str]) -> str:
    """Raise: packages are not taken out of a lock file here."""
    del text
    raise not_edited(names)
