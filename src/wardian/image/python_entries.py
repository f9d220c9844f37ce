"""The interpreter of an environment as files of an image: a standalone build, or the base image's own."""

from __future__ import annotations

import contextlib
import csv
import io
import posixpath
import re
import stat
from typing import TYPE_CHECKING

from wardian.errors import InvalidInput
from wardian.image.byte_code import compile_entries
from wardian.image.entry import ENVIRONMENT, Entry
from wardian.image.python_layout import PythonLayout
from wardian.package.archive_paths import refuse, safe_path
from wardian.package.archive_streams import damage, decompressed, open_tar

if TYPE_CHECKING:
    import tarfile
    from collections.abc import Iterator
    from pathlib import Path

    from wardian.image.byte_code import ByteCompiler
    from wardian.image.spool import Spool

_ROOT = "python/"  # of the archives that need no building
_INTERPRETER = re.compile(r"bin/python(3\.\d+)t?")
_LIBRARY = re.compile(r"lib/(python3\.\d+t?)/os\.py")
_SELF_TESTS = re.compile(r"lib/python3\.\d+t?/(?:test|lib2to3/tests|idlelib/idle_test)/")
_EXTERNALLY_MANAGED = b"""[externally-managed]
Error=This environment is made by Wardian from a lock, and is the same wherever that lock is used.
 Add packages to its definition and build it anew:
 wardian env add NAME PACKAGE
"""
_MAGIC = ((b"\x1f\x8b", "gz"), (b"\x28\xb5\x2f\xfd", "zst"))


@contextlib.contextmanager
def standalone_python_entries(archive: Path, spool: Spool, compiler: ByteCompiler | None = None) -> Iterator[list[Entry]]:
    """Yield the files of a standalone Python below the environment's root, to be read while the block lasts.

    A pure function of the archive and the interpreter that makes byte-code. Links stay as they are written; ``bin/python`` and
    ``bin/python3`` are added where they are missing. What is installed in its ``site-packages`` (pip, setuptools) and those
    packages' scripts are left out, as a virtual environment hides them: the lock says what is installed. ``EXTERNALLY-MANAGED``
    tells pip so. The archive's own byte-code is left out; the library, but not its own tests, gets ours.

    Args:     archive: fetched and validated (``wardian.package``): a tar file.
              spool: keeps the unpacked bytes, as a compressed tar cannot be read in the order of the layer.
              compiler: None: no ``.pyc``.
    Raises:   BadArchive: codes ``wrong_metadata``: no interpreter in it; ``damaged_archive``, ``unsafe_path``.
              BuildFailed: see ``ByteCompiler``.  DiskFull.
    Source:   PEP 668; python-build-standalone, distribution archives
    """
    found = _read(archive, spool)
    library = next((match.group(1) for path in found if (match := _LIBRARY.fullmatch(path))), "")
    binary = next((path for path in sorted(found) if _INTERPRETER.fullmatch(path) and found[path].kind == "file"), "")
    if not library or not binary:
        refuse(archive.name, None, "holds no interpreter for Linux with its library", code="wrong_metadata")
    _drop_installed(found, f"lib/{library}/site-packages")
    for name in ("python3", "python"):
        found.setdefault(f"bin/{name}", Entry(f"{ENVIRONMENT}/bin/{name}", "link", target=posixpath.basename(binary)))
    marker = f"{ENVIRONMENT}/lib/{library}/EXTERNALLY-MANAGED"
    found[f"lib/{library}/EXTERNALLY-MANAGED"] = Entry.of_bytes(marker, _EXTERNALLY_MANAGED)
    site = f"{ENVIRONMENT}/lib/{library}/site-packages"
    entries = [*found.values(), Entry(site, "directory")]
    if compiler is not None:
        modules = [entry for path, entry in found.items() if path.startswith(f"lib/{library}/") and not _SELF_TESTS.match(path)]
        entries += [made.entry for made in compile_entries(modules, compiler, spool)]
    yield entries


def host_python_entries(version: str, executable: str) -> list[Entry]:
    """Return what makes the environment's root a virtual environment of the base image's interpreter.

    Args:     version: of the interpreter: ``3.11.2``.
              executable: its absolute path in the image: ``/usr/bin/python3.11``.
    Raises:   InvalidInput: code ``invalid_python``.
    Source:   PEP 405; the standard library's ``venv``
    """
    minor = ".".join(version.split(".")[:2])
    layout = PythonLayout(minor)
    if not executable.startswith("/") or posixpath.normpath(executable) != executable or not executable.isprintable():
        raise InvalidInput(f"`{executable[:200]!a}` is not an absolute path of an interpreter", code="invalid_python")
    if posixpath.dirname(executable).startswith(f"/{ENVIRONMENT}/"):
        raise InvalidInput(f"`{executable}` lies in the environment itself", code="invalid_python")
    lines = [
        f"home = {posixpath.dirname(executable)}", "include-system-site-packages = false", f"version = {version}",
        f"executable = {executable}",
    ]  # fmt: skip
    return [
        Entry.of_bytes(f"{ENVIRONMENT}/pyvenv.cfg", "".join(f"{line}\n" for line in lines).encode()),
        *(Entry(f"{ENVIRONMENT}/bin/{name}", "link", target=executable) for name in ("python", "python3", f"python{minor}")),
        Entry(f"{ENVIRONMENT}/{layout.site_packages}", "directory"),
        Entry(f"{ENVIRONMENT}/lib64", "link", target="lib"),
    ]


def _read(archive: Path, spool: Spool) -> dict[str, Entry]:
    """Return the files and links of the archive by their paths below its root; the files' bytes are in ``spool`` then."""
    found: dict[str, Entry] = {}
    with archive.open("rb") as stream, damage(archive.name), open_tar(decompressed(stream, _compression(archive))) as tar:
        for member in tar:
            tar.members = []  # type: ignore[attr-defined]  # a stream never goes back: forget them
            path = _below_root(archive.name, member.name)
            if path is None or "__pycache__" in path.split("/"):
                continue
            entry = _entry(archive.name, tar, member, path, found, spool)
            if entry is not None:
                found[path] = entry
    return found


def _entry(
    file: str, tar: tarfile.TarFile, member: tarfile.TarInfo, path: str, found: dict[str, Entry], spool: Spool
) -> Entry | None:
    place = f"{ENVIRONMENT}/{path}"
    if member.isdir():
        return Entry(place, "directory")
    if member.issym():
        return Entry(place, "link", target=member.linkname)
    if member.islnk():
        other = found.get(_below_root(file, member.linkname) or "")
        if other is None or other.kind != "file":
            refuse(file, member.name, "is a hard link to what is no file before it", code="unsafe_link")
        return Entry(place, "file", other.size_bytes, other.executable, "", other.open_content)
    content = tar.extractfile(member)
    if content is None:
        refuse(file, member.name, "is no file, directory or link", code="unsafe_member")
    return spool.add(content).entry(place, executable=bool(member.mode & stat.S_IXUSR))


def _below_root(file: str, name: str) -> str | None:
    """Return the path below the tree's root; None for the root itself, and for what is not below it."""
    plain = safe_path(file, name)
    return plain.removeprefix(_ROOT) if plain.startswith(_ROOT) else None


def _drop_installed(found: dict[str, Entry], site: str) -> None:
    """Take out what is in ``site``, and the scripts that its RECORDs name."""
    for path in [path for path in found if path.startswith(f"{site}/") and path.endswith(".dist-info/RECORD")]:
        entry = found[path]
        if entry.open_content is None:
            continue
        with entry.open_content() as stream:
            rows = csv.reader(io.StringIO(stream.read().decode("utf-8", "replace"), newline=""))
            for listed in {row[0] for row in rows if row}:
                installed = posixpath.normpath(posixpath.join(site, listed))
                if installed.startswith("bin/"):
                    found.pop(installed, None)
    for path in [path for path in found if path == site or path.startswith(f"{site}/")]:
        del found[path]


def _compression(archive: Path) -> str:
    with archive.open("rb") as stream:
        head = stream.read(4)
    found = next((name for magic, name in _MAGIC if head.startswith(magic)), None)
    if found is None:
        refuse(archive.name, None, "is no gz or zst archive", code="not_an_archive")
    return found
