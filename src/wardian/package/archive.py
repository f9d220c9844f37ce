"""Says whether a fetched archive may be unpacked, and what it holds. Nothing unpacks an archive that was not here first."""

from __future__ import annotations

import contextlib
import fnmatch
import os
import re
import shutil
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wardian.package.archive_conda import check_conda, walk_conda, wanted_in_conda
from wardian.package.archive_paths import Limits, Tree, refuse
from wardian.package.archive_streams import damage, decompressed, open_tar, open_zip, walk_tar, walk_zip
from wardian.package.archive_wheel import check_wheel, headers_of, same_version, wanted_in_wheel
from wardian.tools.disk import disk_errors, make_writable, sync_directory

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_MAGIC = ((b"PK\3\4", "zip"), (b"\x1f\x8b", "gz"), (b"BZh", "bz2"), (b"\xfd7zXZ\0", "xz"), (b"\x28\xb5\x2f\xfd", "zst"))
_KINDS = {
    "wheel": ("zip",),
    "conda": ("zip", "bz2"),
    "python": ("gz", "zst"),
    "sdist": ("zip", "gz", "bz2", "xz"),
    "jar": ("zip",),
}
_INTERPRETER = re.compile(r"python/(?:install/)?bin/python(3\.\d+)")
DEFAULT_LIMITS = Limits()
_USUAL_RATIO = 4  # of the size unpacked to the size packed


@dataclass(frozen=True, slots=True)
class ArchiveContent:
    """What a valid archive is and holds.

    Attributes:
        name, version, build: as its own metadata says; ``""`` where the kind has none.
        files: path and expanded size of every file, links left out, in the order of the archive.
        links: symbolic links: path → target as written.
        expanded_bytes: sum of the sizes.
    """

    kind: str
    name: str
    version: str
    build: str
    files: tuple[tuple[str, int], ...]
    links: tuple[tuple[str, str], ...]
    expanded_bytes: int


def validate_archive(
    path: Path, kind: str, *, limits: Limits = DEFAULT_LIMITS, case_sensitive: bool | None = None
) -> ArchiveContent:
    """Return what the archive at ``path`` holds, after reading all of it.

    Guarantees for what is returned: unpacked below any directory it writes nothing outside, follows no link outside,
    makes no device, and needs no more space than ``expanded_bytes``; every list inside it that an installer believes
    (RECORD, entry points, paths.json, …) names only places inside; two readers see the same members; checksums are right;
    its metadata is what its file name says. Memory stays bounded. Nothing is written.

    Args:     path: its name is the archive's own file name.
              kind: ``wheel`` | ``conda`` | ``python`` (standalone build) | ``sdist`` | ``jar`` (only looked at, never unpacked).
              case_sensitive: whether names that differ in case are two files; None: as on this system.
    Raises:   BadArchive: codes ``not_an_archive``, ``damaged_archive``, ``ambiguous_archive``, ``unsafe_path``, ``unsafe_link``,
                  ``unsafe_member``, ``duplicate_member``, ``case_collision``, ``archive_bomb``, ``wrong_metadata``, ``missing_record``;
                  the message names archive and member.
    Source:   semantics §4; PEP 427, PEP 625, PEP 721; APPNOTE.TXT
    """
    compression = _compression(path, kind)
    sensitive = sys.platform == "linux" if case_sensitive is None else case_sensitive
    tree = Tree(path.name, path.stat().st_size, limits, case_sensitive=sensitive)
    name = version = build = ""
    if kind == "conda":
        contents = walk_conda(path, tree, wanted_in_conda)
        tree.finish()
        name, version, build = check_conda(tree, contents)
    elif kind == "wheel":
        contents = _walk(path, compression, tree, wanted_in_wheel)
        tree.finish()
        name, version = check_wheel(tree, contents)
    elif kind == "sdist":
        contents = _walk(path, compression, tree, lambda p: p.count("/") == 1 and p.endswith("/PKG-INFO"))
        tree.finish()
        name, version = _check_sdist(tree, contents)
    elif kind == "python":
        _walk(path, compression, tree, lambda _: False)
        tree.finish(root="python")
        name, version = "cpython", _check_python(tree)
    else:  # a jar is put on a class path as it is: names in it mean nothing to the file system
        with open_zip(path) as archive, damage(path.name):
            for info in archive.infolist():
                tree.expanded_bytes += info.file_size
    return ArchiveContent(kind, name, version, build, tuple(tree.files.items()), tuple(tree.links.items()), tree.expanded_bytes)


def expanded_size_bytes(path: Path, kind: str) -> int:
    """Return about how much space the files of a valid archive take: exactly for zips, an estimate where nothing says it.

    Reads directories and headers only.
    """
    with path.open("rb") as stream:
        is_zip = stream.read(4) == _MAGIC[0][0]
    if not is_zip:
        return _USUAL_RATIO * path.stat().st_size
    with damage(path.name), zipfile.ZipFile(path) as archive:
        if kind != "conda":
            return sum(info.file_size for info in archive.infolist())
        return sum(_frame_size_bytes(archive, info) for info in archive.infolist())


def _frame_size_bytes(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> int:
    import zstandard

    if not info.filename.endswith(".zst"):
        return info.file_size
    with archive.open(info) as stream:
        size = zstandard.frame_content_size(stream.read(18))
    return int(size) if size >= 0 else _USUAL_RATIO * info.file_size


def read_text_members(path: Path, kind: str, pattern: str) -> dict[str, str]:
    """Return the text of every file of a valid archive whose path matches ``pattern`` (shell pattern; ``*`` crosses ``/``).

    Reads as little as the format allows: a zip's members directly, of a ``.conda`` only the inner archive that can match.
    """
    compression = _compression(path, kind)

    def wanted(name: str) -> bool:
        return fnmatch.fnmatchcase(name, pattern)

    if compression == "zip" and kind != "conda":
        with open_zip(path) as archive, damage(path.name):
            return {n: archive.read(n).decode("utf-8", "replace") for n in archive.namelist() if wanted(n)}
    tree = Tree(path.name, path.stat().st_size, DEFAULT_LIMITS, case_sensitive=True)
    if kind == "conda":
        parts = ("info",) if pattern.startswith("info/") else ("pkg",)
        contents = walk_conda(path, tree, wanted, parts=parts)
    else:
        contents = _walk(path, compression, tree, wanted)
    return {name: content.decode("utf-8", "replace") for name, content in contents.items()}


def extract_python(path: Path, target: Path, *, limits: Limits = DEFAULT_LIMITS) -> None:
    """Unpack the standalone Python at ``path`` so that its ``python/`` becomes ``target``; it is all there or not at all.

    Validates first. If ``target`` exists nothing happens. Safe between processes: whoever renames first wins.

    Raises:   BadArchive: as ``validate_archive``.  DiskFull.
    """
    if target.exists():
        return
    content = validate_archive(path, "python", limits=limits)
    temporary = target.parent / f".{target.name[:100]}.{os.getpid()}.{os.urandom(4).hex()}.tmp"
    with disk_errors(target.parent, content.expanded_bytes):
        try:
            temporary.mkdir(parents=True)
            with (
                path.open("rb") as stream,
                damage(path.name),
                open_tar(decompressed(stream, _compression(path, "python"))) as tar,
            ):
                # 3.11.0 to 3.11.3 have no filters; what was validated needs none
                keywords = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
                tar.extractall(temporary, **keywords)  # type: ignore[arg-type]  # noqa: S202 - validated above
            with contextlib.suppress(FileExistsError):
                _rename(temporary / "python", target)
            sync_directory(target.parent)
        finally:
            if temporary.exists():
                make_writable(temporary)
                shutil.rmtree(temporary)


def _rename(source: Path, target: Path) -> None:
    try:
        source.rename(target)
    except OSError:
        if not target.exists():  # else another process was first: ENOTEMPTY
            raise


def _compression(path: Path, kind: str) -> str:
    with path.open("rb") as stream:
        head = stream.read(8)
    found = next((name for magic, name in _MAGIC if head.startswith(magic)), None)
    if found is None or found not in _KINDS[kind]:
        what = "no archive" if found is None else f"a {found} archive"
        refuse(path.name, None, f"is {what}; a {kind} is {' or '.join(_KINDS[kind])}", code="not_an_archive")
    if kind == "conda" and (found == "zip") != path.name.endswith(".conda"):
        refuse(path.name, None, f"is a {found} archive, which its name does not say", code="not_an_archive")
    return found


def _walk(path: Path, compression: str, tree: Tree, wanted: Callable[[str], bool]) -> dict[str, bytes]:
    if compression == "zip":
        with open_zip(path) as archive:
            return walk_zip(archive, tree, wanted)
    with path.open("rb") as stream:
        return walk_tar(stream, compression, tree, wanted)


def _check_sdist(tree: Tree, contents: dict[str, bytes]) -> tuple[str, str]:
    """Return name and version from PKG-INFO, compared with the file name where that has both (a VCS host's archive has not)."""
    from packaging.utils import InvalidSdistFilename, canonicalize_name, parse_sdist_filename

    tops = {path.partition("/")[0] for path in (*tree.files, *tree.links)}
    if len(tops) != 1 or tops & tree.files.keys():
        refuse(tree.archive, None, "must hold one directory, as sdists do", code="wrong_metadata")
    metadata = next(iter(contents.values()), None)
    if metadata is None:
        return "", ""
    headers = headers_of(metadata)
    name, version = canonicalize_name(headers.get("name", "")), headers.get("version", "")
    try:
        expected, expected_version = parse_sdist_filename(tree.archive)
    except InvalidSdistFilename:
        return name, version
    if name != expected or not same_version(version, str(expected_version)):
        refuse(tree.archive, "PKG-INFO", f"says `{name} {version}`, not `{expected} {expected_version}`", code="wrong_metadata")
    return name, version


def _check_python(tree: Tree) -> str:
    """Return the minor version (``3.12``) of a standalone build; ``""`` where its paths do not say it (Windows)."""
    everything = (*tree.files, *tree.links)
    outside = next((path for path in everything if not path.startswith("python/")), None)
    if outside is not None:
        refuse(tree.archive, outside, "is not below `python/`, as in a standalone build", code="wrong_metadata")
    version = next((match.group(1) for path in everything if (match := _INTERPRETER.fullmatch(path))), "")
    if not version and "python/python.exe" not in tree.files:
        refuse(tree.archive, None, "holds no interpreter", code="wrong_metadata")
    return version
