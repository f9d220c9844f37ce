"""A PEP 517 backend of one file, copied into generated source trees: builds a wheel with the standard library alone."""

from __future__ import annotations

import base64
import hashlib
import re
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

EPOCH = (2020, 1, 1, 0, 0, 0)


def get_requires_for_build_wheel(config_settings=None):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    return []


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    metadata = Path("PKG-INFO").read_text(encoding="utf-8")
    headers = Parser().parsestr(metadata)
    stem = re.sub(r"[-_.]+", "_", headers["Name"]).lower() + "-" + headers["Version"]
    root = Path("src")
    files = {
        p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file() and p.suffix != ".pyc"
    }
    files[f"{stem}.dist-info/METADATA"] = metadata.encode()
    files[f"{stem}.dist-info/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: tiny_backend\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    record = f"{stem}.dist-info/RECORD"
    rows = []
    for name, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        rows.append(f"{name},sha256={digest},{len(content)}\n")
    files[record] = ("".join(rows) + f"{record},,\n").encode()
    file = f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(Path(wheel_directory) / file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            member = zipfile.ZipInfo(name, EPOCH)
            member.external_attr = 0o100644 << 16
            archive.writestr(member, content)
    return file


def build_sdist(sdist_directory, config_settings=None):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    headers = Parser().parsestr(Path("PKG-INFO").read_text(encoding="utf-8"))
    stem = re.sub(r"[-_.]+", "_", headers["Name"]).lower() + "-" + headers["Version"]
    with tarfile.open(Path(sdist_directory) / f"{stem}.tar.gz", "w:gz", format=tarfile.PAX_FORMAT) as archive:
        for name in ("PKG-INFO", "pyproject.toml", "tiny_backend.py", "src"):
            archive.add(name, f"{stem}/{name}")
    return f"{stem}.tar.gz"
