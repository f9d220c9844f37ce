"""What must be true of a conda package beyond its paths: index.json matches its name, and no list in ``info/`` leads outside."""

from __future__ import annotations

import json
from typing import IO, TYPE_CHECKING, Any

from wardian.errors import BadArchive
from wardian.package.archive_paths import refuse, safe_path
from wardian.package.archive_streams import damage, open_zip, walk_tar
from wardian.package.archive_wheel import check_script_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from wardian.package.archive_paths import Tree

_LISTS = ("info/files", "info/no_link", "info/no_softlink", "info/has_prefix")
_WANTED = ("info/index.json", "info/paths.json", "info/link.json", *_LISTS)
_PATH_TYPES = ("hardlink", "softlink", "directory", "pyc_file")


def wanted_in_conda(path: str) -> bool:
    """Whether ``check_conda`` needs the content of ``path``."""
    return path in _WANTED


def walk_conda(
    path: Path, tree: Tree, wanted: Callable[[str], bool], *, parts: tuple[str, ...] = ("info", "pkg")
) -> dict[str, bytes]:
    """Add the members of a ``.conda`` or ``.tar.bz2`` to ``tree`` and return the content of those that are ``wanted``.

    Args:     parts: which of the two inner archives of a ``.conda`` are read.
    """
    if path.name.endswith(".tar.bz2"):
        with path.open("rb") as stream:
            return walk_tar(stream, "bz2", tree, wanted)
    contents: dict[str, bytes] = {}
    for inner in _inner_archives(path, parts):
        contents |= walk_tar(inner, "zst", tree, wanted)
        with damage(tree.archive):
            inner.read(1)  # at its end, zipfile compares the checksum
    return contents


def _inner_archives(path: Path, parts: tuple[str, ...]) -> Iterator[IO[bytes]]:
    with open_zip(path) as archive:
        names = archive.namelist()
        for name in names:
            safe_path(path.name, name)
        if len(set(names)) != len(names):
            refuse(path.name, None, "holds a member twice", code="duplicate_member")
        for part in ("info", "pkg"):
            inner = [name for name in names if name.startswith(f"{part}-") and name.endswith(".tar.zst")]
            if len(inner) != 1:
                refuse(
                    path.name, None, f"must hold exactly one {part}-….tar.zst, and holds {len(inner)}", code="wrong_metadata"
                )
            if part in parts:
                with damage(path.name), archive.open(inner[0]) as stream:
                    yield stream


def check_conda(tree: Tree, contents: Mapping[str, bytes]) -> tuple[str, str, str]:
    """Return name, version and build of the conda package whose members are ``tree``.

    ``info/paths.json`` and the older lists are held to the same rules as members: the linker takes them at their word.

    Raises:   BadArchive: ``wrong_metadata``, ``unsafe_path``.
    Source:   the conda package specification; CEP 34
    """
    file = tree.archive
    index = _document(file, "info/index.json", contents)
    stem = file.removesuffix(".conda").removesuffix(".tar.bz2")
    name, version, build = (str(index.get(key, "")) for key in ("name", "version", "build"))
    if f"{name}-{version}-{build}" != stem or not name or not version:
        refuse(file, "info/index.json", f"says `{name} {version} {build}`", code="wrong_metadata")
    for key in ("depends", "constrains"):
        if not isinstance(index.get(key, []), list) or not all(isinstance(spec, str) for spec in index.get(key, [])):
            refuse(file, "info/index.json", f"has no list of match specs in `{key}`", code="wrong_metadata")
    if (place := index.get("python_site_packages_path")) is not None:
        _listed(file, "info/index.json", place)
    if "info/paths.json" in contents:
        _check_paths(tree, _document(file, "info/paths.json", contents))
    for member in _LISTS:
        for line in _lines(file, member, contents):
            # has_prefix: `path`, or `placeholder mode path`, each perhaps in quotes
            _listed(file, member, line.split(" ", 2)[-1].strip("\"'") if member == "info/has_prefix" else line)
    if "info/link.json" in contents:
        _check_link(file, _document(file, "info/link.json", contents))
    return name, version, build


def _check_paths(tree: Tree, document: dict[str, Any]) -> None:
    file, member = tree.archive, "info/paths.json"
    entries = document.get("paths")
    if not isinstance(entries, list):
        refuse(file, member, "has no list of paths", code="wrong_metadata")
    seen: set[str] = set()
    for entry in entries:
        if not isinstance(entry, dict):
            refuse(file, member, "has an entry that is no object", code="wrong_metadata")
        path = _listed(file, member, entry.get("_path"))
        if path in seen:
            refuse(file, member, f"lists `{path}` twice", code="duplicate_member")
        seen.add(path)
        kind = entry.get("path_type", "hardlink")
        if kind not in _PATH_TYPES:
            refuse(file, member, f"lists `{path}` as `{kind}`", code="wrong_metadata")
        if kind in ("hardlink", "softlink") and path not in tree.files and path not in tree.links:
            refuse(file, member, f"lists `{path}`, which is not in the archive", code="wrong_metadata")
        placeholder = entry.get("prefix_placeholder")
        if placeholder is not None and not _is_placeholder(placeholder):
            refuse(file, member, f"has no usable placeholder for `{path}`", code="wrong_metadata")
        if entry.get("file_mode") not in (None, "text", "binary"):
            refuse(file, member, f"lists `{path}` with the mode `{entry['file_mode']}`", code="wrong_metadata")


def _is_placeholder(value: object) -> bool:
    return isinstance(value, str) and len(value) > 0 and "\0" not in value and "\n" not in value


def _check_link(file: str, document: dict[str, Any]) -> None:
    noarch = document.get("noarch") or {}
    if not isinstance(noarch, dict) or noarch.get("type") not in (None, "python", "generic"):
        refuse(file, "info/link.json", "has an unknown kind of noarch", code="wrong_metadata")
    for point in noarch.get("entry_points") or []:
        if not isinstance(point, str) or "=" not in point:
            refuse(file, "info/link.json", f"has an entry point `{point!a}`", code="wrong_metadata")
        check_script_name(file, "info/link.json", point.partition("=")[0].strip())


def _listed(file: str, member: str, path: object) -> str:
    """Return a path that a list in ``info/`` names, checked."""
    if not isinstance(path, str):
        refuse(file, member, f"lists {path!a}, which is no path", code="wrong_metadata")
    try:
        clean = safe_path(file, path)
    except BadArchive as error:
        refuse(file, member, f"names a place outside: {error.message}", code="unsafe_path")
    if not clean:
        refuse(file, member, f"names the prefix itself: `{path}`", code="unsafe_path")
    return clean


def _document(file: str, member: str, contents: Mapping[str, bytes]) -> dict[str, Any]:
    if member not in contents:
        refuse(file, member, "is missing", code="wrong_metadata")
    try:
        document = json.loads(contents[member])
    except (ValueError, RecursionError) as error:
        refuse(file, member, f"is not JSON: {error}", code="wrong_metadata")
    if not isinstance(document, dict):
        refuse(file, member, "is not a JSON object", code="wrong_metadata")
    return document


def _lines(file: str, member: str, contents: Mapping[str, bytes]) -> list[str]:
    try:
        return [line for line in contents.get(member, b"").decode().split("\n") if line.strip()]
    except UnicodeDecodeError:
        refuse(file, member, "is not UTF-8", code="wrong_metadata")
