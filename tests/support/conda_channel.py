"""A small, real conda channel for tests: archives and repodata written by our own code, served from disk or loopback."""

from __future__ import annotations

import bz2
import functools
import hashlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import zstandard
from tests.support.server import DirectoryServer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PLACEHOLDER = ("/opt/wardian_test_build" + "_placehold" * 30)[:255]
THEN = datetime(2024, 1, 1, tzinfo=UTC)
SUBDIRS = ("linux-64", "linux-aarch64", "osx-arm64")


@dataclass(frozen=True)
class File:
    """One file of a package. ``placeholder`` is ``text`` or ``binary`` when ``PLACEHOLDER`` stands in the content."""

    content: bytes = b""
    executable: bool = False
    placeholder: str | None = None
    link: str | None = None


@dataclass(frozen=True)
class Package:
    """One conda package. ``files`` maps paths to content; ``published`` becomes the timestamp in the repodata.

    ``paths`` are further entries of ``info/paths.json``, as they are; with ``in_archive`` false, no file stands behind them.
    """

    name: str
    version: str = "1.0"
    build: str = "0"
    build_number: int = 0
    subdir: str = "linux-64"
    depends: tuple[str, ...] = ()
    constrains: tuple[str, ...] = ()
    files: Mapping[str, File | bytes | str] = field(default_factory=dict)
    noarch: str | None = None
    entry_points: tuple[str, ...] = ()
    site_packages_path: str | None = None
    license: str | None = "MIT"
    published: datetime | None = THEN
    kind: str = ".conda"
    paths: tuple[Mapping[str, Any], ...] = ()
    level: int = 1

    @property
    def stem(self) -> str:
        """``name-version-build``."""
        return f"{self.name}-{self.version}-{self.build}"

    @property
    def file_name(self) -> str:
        """The archive's name."""
        return self.stem + self.kind

    @property
    def index_json(self) -> dict[str, Any]:
        """``info/index.json``."""
        document = {
            "name": self.name, "version": self.version, "build": self.build, "build_number": self.build_number,
            "subdir": self.subdir, "depends": list(self.depends), "constrains": list(self.constrains), "license": self.license,
            "noarch": self.noarch, "python_site_packages_path": self.site_packages_path,
            "timestamp": int(self.published.timestamp() * 1000) if self.published else None,
        }  # fmt: skip
        return {key: value for key, value in document.items() if value is not None}

    @functools.cached_property
    def archive(self) -> bytes:
        """The archive: the same bytes for the same package."""
        files = {path: _as_file(content) for path, content in self.files.items()}
        info = {f"info/{name}": File(text.encode()) for name, text in self._info(files).items()}
        if self.kind == ".tar.bz2":
            return bz2.compress(_tar({**info, **files}), 1)
        zipped = io.BytesIO()
        with zipfile.ZipFile(zipped, "w", zipfile.ZIP_STORED) as archive:
            for name, content in (
                ("metadata.json", b'{"conda_pkg_format_version": 2}'),
                (f"pkg-{self.stem}.tar.zst", zstandard.compress(_tar(files), self.level)),
                (f"info-{self.stem}.tar.zst", zstandard.compress(_tar(info), self.level)),
            ):
                archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content)
        return zipped.getvalue()

    def _info(self, files: Mapping[str, File]) -> dict[str, str]:
        paths = [*map(_paths_entry, sorted(files), (files[path] for path in sorted(files))), *self.paths]
        texts = {
            "index.json": json.dumps(self.index_json),
            "paths.json": json.dumps({"paths": paths, "paths_version": 1}),
            "about.json": json.dumps({"summary": f"{self.name} for tests"}),
            "files": "".join(f"{path}\n" for path in sorted(files)),
        }
        if self.noarch == "python":
            link = {"noarch": {"type": "python", "entry_points": list(self.entry_points)}, "package_metadata_version": 1}
            texts["link.json"] = json.dumps(link)
        return texts


def _as_file(content: File | bytes | str) -> File:
    if isinstance(content, File):
        return content
    return File(content.encode() if isinstance(content, str) else content)


def _paths_entry(path: str, file: File) -> dict[str, Any]:
    if file.link is not None:
        return {"_path": path, "path_type": "softlink"}
    digest = hashlib.sha256(file.content).hexdigest()
    entry = {"_path": path, "path_type": "hardlink", "sha256": digest, "size_in_bytes": len(file.content)}
    return entry | ({"prefix_placeholder": PLACEHOLDER, "file_mode": file.placeholder} if file.placeholder else {})


def _tar(files: Mapping[str, File]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for path in sorted(files):
            file = files[path]
            member = tarfile.TarInfo(path)
            member.mode = 0o755 if file.executable else 0o644
            if file.link is not None:
                member.type, member.linkname = tarfile.SYMTYPE, file.link
                tar.addfile(member)
            else:
                member.size = len(file.content)
                tar.addfile(member, io.BytesIO(file.content))
    return stream.getvalue()


class Channel:
    """A channel in ``directory``. ``add`` writes archives, ``index`` the repodata; both may be called again and again."""

    def __init__(self, directory: Path):
        self.directory = directory
        self._records: dict[str, dict[str, dict[str, Any]]] = {"noarch": {}, **{subdir: {} for subdir in SUBDIRS}}

    def add(self, *packages: Package, sha256: bool = True) -> None:
        """Write the archives of ``packages``; ``sha256`` false: the repodata won't say their digests."""
        for package in packages:
            content = package.archive
            self.archive_path(package).parent.mkdir(parents=True, exist_ok=True)
            self.archive_path(package).write_bytes(content)
            record = package.index_json | {"size": len(content)}
            if sha256:
                record["sha256"] = hashlib.sha256(content).hexdigest()
            self._records.setdefault(package.subdir, {})[package.file_name] = record

    def remove(self, package: Package) -> None:
        """Withdraw ``package``: from the next index on it is not there, nor is its archive."""
        del self._records[package.subdir][package.file_name]
        self.archive_path(package).unlink()

    def index(self) -> Channel:
        """Write ``repodata.json`` for every subdirectory."""
        for subdir, records in self._records.items():
            tables: dict[str, dict[str, Any]] = {"packages": {}, "packages.conda": {}}
            for file_name, record in sorted(records.items()):
                tables["packages.conda" if file_name.endswith(".conda") else "packages"][file_name] = record
            path = self.directory / subdir / "repodata.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"info": {"subdir": subdir}, **tables, "removed": [], "repodata_version": 1}))
        return self

    def publish(self, *packages: Package) -> Channel:
        """``add`` and ``index``."""
        self.add(*packages)
        return self.index()

    def archive_path(self, package: Package) -> Path:
        """Where ``package``'s archive is."""
        return self.directory / package.subdir / package.file_name

    @property
    def url(self) -> str:
        """The channel as a ``file://`` URL."""
        return self.directory.as_uri()

    def serve(self, **options: Any) -> DirectoryServer:
        """Return a server (not yet started) of this channel at its root; ``user``, ``password``, ``token`` as in ``Server``."""
        return DirectoryServer(self.directory, **options)


# -- packages ------------------------------------------------------------------------------------------------------


@functools.cache
def python_package() -> Package:
    """Return the interpreter that runs the tests as a conda package that works in any prefix: no site-packages, no tests."""
    base, version = Path(sys.base_prefix), ".".join(map(str, sys.version_info[:3]))
    minor = f"python{sys.version_info.major}.{sys.version_info.minor}"
    files: dict[str, File | bytes | str] = {}
    executable = (base / "bin" / minor).resolve()
    files[f"bin/{minor}"] = File(_relocated(executable, base, "$ORIGIN/../lib"), executable=True)
    files["bin/python3"] = files["bin/python"] = File(link=minor)
    for library in base.glob("lib/libpython3*.so*"):
        files[f"lib/{library.name}"] = (
            File(link=str(library.readlink())) if library.is_symlink() else File(_relocated(library, base, "$ORIGIN"))
        )
    stdlib = base / "lib" / minor
    left_out = {"site-packages", "dist-packages", "test", "tests", "idlelib", "tkinter", "turtledemo", "lib2to3", "ensurepip",
                "__pycache__", "pydoc_data", "distutils"}  # fmt: skip
    for path in sorted(stdlib.rglob("*")):
        inside = path.relative_to(stdlib)
        if path.is_dir() or left_out & set(inside.parts) or inside.parts[0].startswith("config-"):
            continue
        if path.name.startswith(("_tkinter", "nis.", "_test", "_ctypes_test", "xx")):
            continue
        if path.name.startswith("_sysconfigdata"):
            text = path.read_bytes().replace(str(base).encode(), PLACEHOLDER.encode())
            files[f"lib/{minor}/{inside}"] = File(text, placeholder="text" if PLACEHOLDER.encode() in text else None)
        elif path.suffix == ".so":
            files[f"lib/{minor}/{inside}"] = File(_relocated(path, base, "$ORIGIN/../.."), executable=True)
            files |= _needed_libraries(path, base)
        else:
            files[f"lib/{minor}/{inside}"] = path.read_bytes()
    files[f"lib/{minor}/site-packages/README.txt"] = (
        "This directory exists so that third-party packages can be installed here.\n"
    )
    return Package("python", version, "h0_cpython", depends=("__glibc >=2.17",), files=files,
                   site_packages_path=f"lib/{minor}/site-packages", license="Python-2.0")  # fmt: skip


_GLIBC = ("linux-vdso", "ld-linux", "libc.so", "libm.so", "libpthread", "libdl", "librt", "libutil", "libresolv", "libpython")


def _needed_libraries(module: Path, base: Path) -> dict[str, File]:
    listing = subprocess.run(["ldd", module], capture_output=True, text=True, check=True).stdout
    found = {}
    for line in listing.splitlines():
        name, _, path = (part.strip() for part in line.partition("=>"))
        if path.startswith("/") and not name.startswith(_GLIBC):
            found[f"lib/{name}"] = File(_relocated(Path(path.split(" (")[0]), base, "$ORIGIN"), executable=True)
    return found


_WORTH_STRIPPING = 200_000  # bytes


@functools.cache
def _relocated(path: Path, base: Path, run_path: str) -> bytes:
    """Return the ELF file, stripped, with its run path to ``base/lib`` overwritten in place: shorter, padded with NULs."""
    content = path.read_bytes()
    if len(content) > _WORTH_STRIPPING and (strip := shutil.which("strip")):
        with tempfile.TemporaryDirectory() as directory:
            target = Path(directory) / "stripped"
            subprocess.run([strip, "--strip-unneeded", "-o", target, path], check=True, capture_output=True)
            content = target.read_bytes()
    old = b"\0" + str(base / "lib").encode() + b"\0"
    new = b"\0" + run_path.encode()
    return content.replace(old, new.ljust(len(old), b"\0")) if len(new) < len(old) else content


def foreign_python(subdir: str, version: str | None = None) -> Package:
    """Return a python package for a platform that is only locked for, never run."""
    return replace(python_package(), subdir=subdir, version=version or python_package().version, depends=(),
                   files={"bin/python": File(b"#!/bin/sh\nexit 1\n", executable=True)})  # fmt: skip


def greeter(version: str = "1.0", *, published: datetime = THEN, depends: tuple[str, ...] = ("python >=3.11",)) -> Package:
    """Return a noarch Python package with an entry point ``greet`` that prints its version."""
    code = f'VERSION = "{version}"\n\n\ndef main():\n    print("hello from greeter", VERSION)\n'
    metadata = f"Metadata-Version: 2.1\nName: greeter\nVersion: {version}\n"
    return Package(
        "greeter", version, "pyh0_0", subdir="noarch", noarch="python", depends=depends, published=published,
        entry_points=("greet = greeter:main",),
        files={
            "site-packages/greeter/__init__.py": code,
            f"site-packages/greeter-{version}.dist-info/METADATA": metadata,
            f"site-packages/greeter-{version}.dist-info/INSTALLER": "conda",
            f"site-packages/greeter-{version}.dist-info/RECORD": "greeter/__init__.py,,\n",
            "python-scripts/greet-script": File(b"#!/usr/bin/env python\nprint('script')\n", executable=True),
        },
    )  # fmt: skip


def has_compiler() -> bool:
    """Whether ``native`` works here."""
    return shutil.which("gcc") is not None


@functools.cache
def native() -> Package:
    """Return a package with a compiled program that prints the prefix that was written into it, and a text file with it."""
    source = f'#include <stdio.h>\nstatic const char *volatile prefix = "{PLACEHOLDER}";\nint main(void) {{ puts(prefix); return 0; }}\n'
    with tempfile.TemporaryDirectory() as directory:
        program = Path(directory) / "hello-native"
        subprocess.run(["gcc", "-O1", "-xc", "-", "-o", program], input=source, text=True, check=True, capture_output=True)
        binary = program.read_bytes()
    return Package("hello-native", files={
        "bin/hello-native": File(binary, executable=True, placeholder="binary"),
        "share/hello-native/where.txt": File(f"root={PLACEHOLDER}/share\n".encode(), placeholder="text"),
        "lib/libhello.so": File(link="libhello.so.1"),
        "lib/libhello.so.1": b"not really a library\n",
    })  # fmt: skip


def scripted(when: str = "post-link") -> Package:
    """Return a package with a link script that leaves ``scripted.txt`` in the prefix."""
    script = b'#!/bin/sh\necho "ran for $PKG_NAME" > "$PREFIX/scripted.txt"\n'
    return Package("scripted", files={f"bin/.scripted-{when}.sh": File(script, executable=True), "share/scripted": "data\n"})


def activating() -> Package:
    """Return a package whose activation script exports variables."""
    script = 'export ACTIVATING_HOME="$CONDA_PREFIX/share/activating"\nexport ACTIVATING_TEXT="two words"\n'
    return Package("activating", files={"etc/conda/activate.d/activating.sh": script, "share/activating/x": "x\n"})


def clobbering() -> tuple[Package, Package]:
    """Return two packages that own one path; the second depends on the first."""
    first = Package("clobber-a", files={"share/clobbered.txt": "from a\n", "share/a.txt": "a\n"})
    second = Package("clobber-b", depends=("clobber-a",), files={"share/clobbered.txt": "from b\n", "share/b.txt": "b\n"})
    return first, second


def variants() -> tuple[Package, ...]:
    """Return ``hello``: 1.0 for any machine, 2.0 for CUDA ≥ 12 only; and ``modern``, which needs glibc ≥ 2.34."""
    return (
        Package("hello", "1.0", "cpu_0", files={"share/hello": "cpu\n"}),
        Package("hello", "2.0", "cuda_0", depends=("__cuda >=12",), files={"share/hello": "cuda\n"}),
        Package("modern", "3.0", depends=("__glibc >=2.34",), files={"share/modern": "modern\n"}),
    )


def everywhere(name: str, version: str, *, published: datetime = THEN, depends: tuple[str, ...] = (),
               subdirs: Iterable[str] = SUBDIRS) -> tuple[Package, ...]:  # fmt: skip
    """Return ``name`` for each of ``subdirs``."""
    content = {f"share/{name}": f"{name} {version}\n"}
    return tuple(Package(name, version, subdir=s, depends=depends, published=published, files=content) for s in subdirs)


# Rscript as far as tests need it: it tells of itself, and "runs" a script by saying so
RSCRIPT = f"""#!/bin/sh
case "$1" in
--version) echo "Rscript (R) version 4.3.1 (2023-06-16)" ;;
--vanilla) printf 'R\\t4.3.1\\nMASS\\t7.3-60\\nbase\\t4.3.1\\nstats\\t4.3.1\\n' ;;
*) echo "Rscript runs $*"; if [ -n "$WARDIAN_OUTPUT_DIR" ]; then echo model > "$WARDIAN_OUTPUT_DIR/model.rds"; fi ;;
esac
# built for {PLACEHOLDER}
"""


def r_packages() -> tuple[Package, ...]:
    """Return an r-base whose Rscript is a small script, and a package of R, which needs it."""
    rscript = File(RSCRIPT.encode(), executable=True, placeholder="text")
    return (
        Package("r-base", "4.3.1", "h1_0", files={"bin/Rscript": rscript}),
        Package("r-mass", "7.3_60", "r43_0", depends=("r-base >=4.3,<4.4.0a0",), files={"lib/R/library/MASS/DESCRIPTION": "Package: MASS\n"}),
    )  # fmt: skip


def standard_channel(directory: Path) -> Channel:
    """Return a channel with everything above, indexed: python for three platforms, noarch, native where it can be compiled."""
    channel = Channel(directory)
    channel.add(python_package(), *(foreign_python(s) for s in SUBDIRS[1:]), greeter(), scripted(), activating(), *clobbering(),
                *variants(), *everywhere("numlib", "1.2.0", depends=("corelib >=2",)), *everywhere("corelib", "2.1"),
                Package("old-format", kind=".tar.bz2", files={"share/old": "old\n"}))  # fmt: skip
    if has_compiler():
        channel.add(native())
    return channel.index()
