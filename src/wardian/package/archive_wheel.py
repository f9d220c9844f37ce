"""What must be true of a wheel beyond its paths: one dist-info that matches its name, a RECORD, harmless script names."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from wardian.errors import BadArchive
from wardian.package.archive_paths import refuse, safe_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wardian.package.archive_paths import Tree


def wanted_in_wheel(path: str) -> bool:
    """Whether ``check_wheel`` needs the content of ``path``."""
    directory, _, file = path.partition("/")
    return directory.endswith(".dist-info") and file in ("METADATA", "RECORD", "WHEEL", "entry_points.txt")


def check_wheel(tree: Tree, contents: Mapping[str, bytes]) -> tuple[str, str]:
    """Return the (PEP 503) name and the version of the wheel whose members are ``tree``.

    Raises:   BadArchive: ``wrong_metadata``: file name, ``.dist-info`` and METADATA differ, or one is missing;
                  ``missing_record``; ``unsafe_path``: RECORD or an entry point names a place outside.
    Source:   PEP 427, the binary distribution format
    """
    from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

    file = tree.archive
    try:
        name, version, _, _ = parse_wheel_filename(file)
    except InvalidWheelFilename as error:
        refuse(file, None, f"is not the file name of a wheel: {error}", code="wrong_metadata")
    infos = sorted(
        {path.partition("/")[0] for path in tree.files if path.partition("/")[0].endswith(".dist-info") and "/" in path}
    )
    if len(infos) != 1:
        found = ", ".join(f"`{info}`" for info in infos) or "none"
        refuse(file, None, f"must hold exactly one .dist-info, and holds {found}", code="wrong_metadata")
    info = infos[0]
    stem, _, info_version = info.removesuffix(".dist-info").rpartition("-")
    expected = (name, str(version))
    _check_same(file, info, (canonicalize_name(stem), info_version), expected)
    for needed in ("METADATA", "WHEEL"):
        if f"{info}/{needed}" not in contents:
            refuse(file, f"{info}/{needed}", "is missing", code="wrong_metadata")
    headers = headers_of(contents[f"{info}/METADATA"])
    said = (canonicalize_name(headers.get("name", "")), headers.get("version", ""))
    _check_same(file, f"{info}/METADATA", said, expected)
    if (record := contents.get(f"{info}/RECORD")) is None:
        refuse(file, f"{info}/RECORD", "is missing: nobody could say which files belong to it", code="missing_record")
    _check_record(file, f"{info}/RECORD", record)
    _check_entry_points(file, contents.get(f"{info}/entry_points.txt", b""))
    return name, str(version)


def headers_of(metadata: bytes) -> dict[str, str]:
    """Return the first value of each header of a METADATA or PKG-INFO file, keys in lower case."""
    headers: dict[str, str] = {}
    for line in metadata.decode("utf-8", "replace").splitlines():
        if not line:
            break
        key, separator, value = line.partition(":")
        if separator and not line[0].isspace():
            headers.setdefault(key.lower(), value.strip())
    return headers


def same_version(one: str, other: str) -> bool:
    """Whether two spellings name one version (``1.0`` and ``1.0.0`` do)."""
    from packaging.version import InvalidVersion, Version

    try:
        return Version(one) == Version(other)
    except InvalidVersion:
        return one == other


def _check_same(file: str, member: str, said: tuple[str, str], expected: tuple[str, str]) -> None:
    if said[0] != expected[0] or not same_version(said[1], expected[1]):
        refuse(file, member, f"says `{' '.join(said)}`, not `{' '.join(expected)}`", code="wrong_metadata")


def _check_record(file: str, member: str, record: bytes) -> None:
    try:
        for row in csv.reader(record.decode().splitlines()):
            if row:
                safe_path(file, row[0])
    except (csv.Error, UnicodeDecodeError) as error:
        refuse(file, member, f"is not a RECORD: {error}", code="wrong_metadata")
    except BadArchive as error:
        refuse(file, member, f"names a place outside: {error.message}", code="unsafe_path")


def _check_entry_points(file: str, text: bytes) -> None:
    section = ""
    for line in text.decode("utf-8", "replace").splitlines():
        if line.strip().startswith("["):
            section = line.strip()
        elif section in ("[console_scripts]", "[gui_scripts]") and "=" in line and not line.lstrip().startswith(("#", ";")):
            check_script_name(file, "entry_points.txt", line.partition("=")[0].strip())


def check_script_name(file: str, member: str, script: str) -> None:
    """Check that ``script`` is a name and no path: it becomes a file in ``bin``."""
    if not script or script in (".", "..") or "/" in script or "\\" in script or not script.isprintable():
        refuse(file, member, f"has an entry point called `{ascii(script)[1:-1]}`, which is no name", code="unsafe_path")
