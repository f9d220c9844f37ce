"""Stub wheels: tell uv which distributions conda has brought already, so that it takes them as they are."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def write_stubs(directory: Path, provided: Mapping[str, str]) -> Path:
    """Write a wheel without code or requirements for each name and version; return the directory, for ``--find-links``.

    The stubs serve the solve alone: they are in no lock and in no prefix.
    Source:   semantics §3, conda + pip
    """
    directory.mkdir(parents=True, exist_ok=True)
    for name, version in provided.items():
        stem = f"{name.replace('-', '_')}-{version.replace('-', '_')}"
        with zipfile.ZipFile(directory / f"{stem}-py3-none-any.whl", "w") as wheel:
            info = f"{stem}.dist-info"
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
            wheel.writestr(
                f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: wardian\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            )
            wheel.writestr(f"{info}/RECORD", "")
    return directory
