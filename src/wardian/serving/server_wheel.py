"""The wheel of the scoring server, made from its source in this package: the same bytes on every machine."""

from __future__ import annotations

import ast
import base64
import hashlib
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

from wardian.digest import Digest
from wardian.tools.disk import write_atomically

SOURCE = Path(__file__).parent / "server" / "wardian_server"
REQUIRES = ("starlette>=0.27,<2", "uvicorn>=0.20,<1")
REQUIRES_PYTHON = ">=3.9"
_EPOCH = (2020, 1, 1, 0, 0, 0)
_WHEEL = "Wheel-Version: 1.0\nGenerator: wardian\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


@dataclass(frozen=True, slots=True)
class WheelFile:
    """A wheel on disk; ``requires`` as its metadata has it."""

    path: Path
    name: str
    version: str
    sha256: Digest
    size: int
    requires: tuple[str, ...]


def server_wheel(directory: Path) -> WheelFile:
    """Write the wheel into ``directory`` (made if it is missing) and return what it is.

    Deterministic: sorted members, one date, stored without compression. An older file of the same name is replaced at once.
    """
    version = server_version()
    content = _wheel(version)
    path = directory / f"wardian_server-{version}-py3-none-any.whl"
    write_atomically(path, content)
    return WheelFile(path, "wardian-server", version, Digest.of(content), len(content), REQUIRES)


def server_version() -> str:
    """Return the version that the server's source says."""
    for node in ast.parse((SOURCE / "__init__.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "__version__":
            return str(ast.literal_eval(node.value))
    raise AssertionError(f"{SOURCE} says no version")


def _wheel(version: str) -> bytes:
    about = f"wardian_server-{version}.dist-info"
    members = {
        f"wardian_server/{path.relative_to(SOURCE).as_posix()}": path.read_bytes()
        for path in sorted(SOURCE.rglob("*"))
        if path.suffix in {".py", ".json"} or path.name == "py.typed"
    }
    members[f"{about}/METADATA"] = _metadata(version).encode()
    members[f"{about}/WHEEL"] = _WHEEL.encode()
    record = "".join(f"{name},sha256={_urlsafe(content)},{len(content)}\n" for name, content in members.items())
    members[f"{about}/RECORD"] = f"{record}{about}/RECORD,,\n".encode()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            member = zipfile.ZipInfo(name, _EPOCH)
            member.external_attr = 0o644 << 16
            member.create_system = 3  # Unix, wherever it is made
            archive.writestr(member, content)
    return packed.getvalue()


def _metadata(version: str) -> str:
    lines = [
        "Metadata-Version: 2.1",
        "Name: wardian-server",
        f"Version: {version}",
        "Summary: Serves a model over HTTP, from inside the environment that it was trained in.",
        "License: Apache-2.0",
        f"Requires-Python: {REQUIRES_PYTHON}",
        *[f"Requires-Dist: {requirement}" for requirement in REQUIRES],
    ]
    return "\n".join(lines) + "\n"


def _urlsafe(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
