"""Real wheels, sdists and source trees, made in milliseconds and the same bytes every time."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import re
import tarfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

EPOCH = (2020, 1, 1, 0, 0, 0)
EPOCH_S = 1577836800


def make_wheel(
    directory: Path,
    name: str,
    version: str,
    *,
    files: Mapping[str, str | bytes] = {},
    requires: Sequence[str] = (),
    tag: str = "py3-none-any",
    entry_points: Mapping[str, str] = {},
    extra_metadata: Mapping[str, str | Sequence[str]] = {},
    requires_python: str | None = None,
) -> Path:
    """Write a valid wheel and return its path. Deterministic: the same arguments give the same bytes.

    Args:     files: path in the wheel → content; none given: ``<name>/__init__.py`` with ``__version__``.
              entry_points: console script → ``module:function``.  extra_metadata: further METADATA headers.
    """
    distribution = re.sub(r"[-_.]+", "_", name).lower()
    info = f"{distribution}-{version}.dist-info"
    contents: dict[str, bytes] = {}
    for path, content in (files or {f"{distribution}/__init__.py": f'__version__ = "{version}"\n'}).items():
        contents[path] = content.encode() if isinstance(content, str) else content
    contents[f"{info}/METADATA"] = metadata_text(
        name, version, requires=requires, requires_python=requires_python, extra_metadata=extra_metadata
    ).encode()
    pure = "true" if tag.endswith("-none-any") else "false"
    pythons, abi, platforms = tag.split("-")
    tags = "".join(f"Tag: {p}-{abi}-{m}\n" for p in pythons.split(".") for m in platforms.split("."))
    contents[f"{info}/WHEEL"] = f"Wheel-Version: 1.0\nGenerator: wardian-tests\nRoot-Is-Purelib: {pure}\n{tags}".encode()
    if entry_points:
        lines = "".join(f"{script} = {target}\n" for script, target in entry_points.items())
        contents[f"{info}/entry_points.txt"] = f"[console_scripts]\n{lines}".encode()
    contents[f"{info}/RECORD"] = record_text(contents, f"{info}/RECORD").encode()
    target = directory / f"{distribution}-{version}-{tag}.whl"
    directory.mkdir(parents=True, exist_ok=True)
    target.write_bytes(zip_bytes(contents))
    return target


def make_sdist(
    directory: Path,
    name: str,
    version: str,
    *,
    requires: Sequence[str] = (),
    body: str | None = None,
    build_requires: Sequence[str] = (),
    requires_python: str | None = None,
) -> Path:
    """Write an sdist whose backend is in its tree, and return its path. Building it downloads nothing. Deterministic.

    Args:     body: the source of ``<name>/__init__.py``.
    """
    distribution = re.sub(r"[-_.]+", "_", name).lower()
    files = source_files(
        name, version, requires=requires, body=body, build_requires=build_requires, requires_python=requires_python
    )
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, content in sorted(files.items()):
            member = tarfile.TarInfo(f"{distribution}-{version}/{path}")
            member.size, member.mtime, member.mode = len(content), EPOCH_S, 0o644
            archive.addfile(member, io.BytesIO(content))
    directory.mkdir(parents=True, exist_ok=True)
    target = directory / f"{distribution}-{version}.tar.gz"
    target.write_bytes(gzip.compress(buffer.getvalue(), mtime=EPOCH_S))
    return target


def make_source_tree(
    directory: Path,
    name: str,
    version: str,
    *,
    requires: Sequence[str] = (),
    body: str | None = None,
    build_requires: Sequence[str] = (),
    requires_python: str | None = None,
) -> Path:
    """Write what ``make_sdist`` packs as a tree at ``directory`` (local code, a VCS checkout) and return ``directory``."""
    files = source_files(
        name, version, requires=requires, body=body, build_requires=build_requires, requires_python=requires_python
    )
    for path, content in files.items():
        target = directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return directory


def source_files(
    name: str,
    version: str,
    *,
    requires: Sequence[str] = (),
    body: str | None = None,
    build_requires: Sequence[str] = (),
    requires_python: str | None = None,
) -> dict[str, bytes]:
    """Return path → content of a source tree that builds with ``tiny_backend``."""
    module = re.sub(r"[-_.]+", "_", name).lower()
    quoted = ", ".join(f'"{r}"' for r in build_requires)
    python = f'requires-python = "{requires_python}"\n' if requires_python else ""
    dependencies = ", ".join("'" + r + "'" for r in requires)
    pyproject = (
        f'[build-system]\nrequires = [{quoted}]\nbuild-backend = "tiny_backend"\nbackend-path = ["."]\n\n'
        f'[project]\nname = "{name}"\nversion = "{version}"\n{python}dependencies = [{dependencies}]\n'
    )
    return {
        "pyproject.toml": pyproject.encode(),
        "PKG-INFO": metadata_text(name, version, requires=requires, requires_python=requires_python).encode(),
        "tiny_backend.py": (Path(__file__).parent / "tiny_backend.py").read_bytes(),
        f"src/{module}/__init__.py": (body if body is not None else f'__version__ = "{version}"\n').encode(),
    }


def metadata_text(
    name: str,
    version: str,
    *,
    requires: Sequence[str] = (),
    requires_python: str | None = None,
    extra_metadata: Mapping[str, str | Sequence[str]] = {},
) -> str:
    """Return the METADATA (or PKG-INFO) of a distribution."""
    lines = ["Metadata-Version: 2.2", f"Name: {name}", f"Version: {version}"]
    if requires_python:
        lines.append(f"Requires-Python: {requires_python}")
    lines += [f"Requires-Dist: {requirement}" for requirement in requires]
    for header, value in extra_metadata.items():
        lines += [f"{header}: {v}" for v in ([value] if isinstance(value, str) else value)]
    return "\n".join(lines) + "\n"


def record_text(contents: Mapping[str, bytes], record: str) -> str:
    """Return the RECORD of ``contents``; ``record`` is its own path."""
    rows = []
    for path, content in contents.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        field = f'"{path}"' if "," in path else path
        rows.append(f"{field},sha256={digest},{len(content)}\n")
    return "".join(rows) + f"{record},,\n"


def zip_bytes(contents: Mapping[str, bytes]) -> bytes:
    """Return a zip of ``contents``; files under ``.data/scripts/`` are executable."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in contents.items():
            member = zipfile.ZipInfo(path, EPOCH)
            member.compress_type = zipfile.ZIP_DEFLATED
            member.create_system = 3
            member.external_attr = (0o100755 if ".data/scripts/" in path else 0o100644) << 16
            archive.writestr(member, content)
    return buffer.getvalue()
