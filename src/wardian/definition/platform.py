"""Platforms: where an environment is to run, and what is assumed of such a machine."""

from __future__ import annotations

import platform as _host
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from wardian.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Platform:
    """A platform in OCI's words, with its names elsewhere and the virtual packages that a solve assumes.

    Virtual packages are never detected for solving (semantics §1), so a laptop and a cluster lock alike.
    """

    name: str  # linux/amd64
    subdir: str  # conda: linux-64
    uv: str  # uv's --python-platform
    machine: str  # platform.machine()
    virtual: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        return self.name

    @property
    def is_linux(self) -> bool:
        """Whether this is Linux with glibc."""
        return self.name.startswith("linux/")


GLIBC = "2.28"
_LINUX = (("__unix", "0"), ("__linux", "4.18"), ("__glibc", GLIBC))
_OSX = (("__unix", "0"), ("__osx", "13.0"))

PLATFORMS = {
    p.name: p
    for p in (
        Platform("linux/amd64", "linux-64", "x86_64-manylinux_2_28", "x86_64", (*_LINUX, ("__archspec", "x86_64"))),
        Platform("linux/arm64", "linux-aarch64", "aarch64-manylinux_2_28", "aarch64", (*_LINUX, ("__archspec", "aarch64"))),
        Platform("darwin/amd64", "osx-64", "x86_64-apple-darwin", "x86_64", (*_OSX, ("__archspec", "x86_64"))),
        Platform("darwin/arm64", "osx-arm64", "aarch64-apple-darwin", "arm64", (*_OSX, ("__archspec", "m1"))),
        Platform("windows/amd64", "win-64", "x86_64-pc-windows-msvc", "AMD64", (("__win", "0"), ("__archspec", "x86_64"))),
    )
}
_BY_SUBDIR = {p.subdir: p for p in PLATFORMS.values()}


def get_platform(name: str) -> Platform:
    """Return the platform called ``name``, in OCI's (``linux/amd64``) or conda's (``linux-64``) words.

    Raises:   InvalidInput: an unknown platform; the message lists the known ones.
    """
    found = PLATFORMS.get(name) or _BY_SUBDIR.get(name)
    if found is None:
        raise InvalidInput(f"unknown platform `{name}`", hint=f"known ones: {', '.join(PLATFORMS)}", code="unknown_platform")
    return found


def this_platform() -> Platform:
    """Return the platform of this machine.

    Raises:   InvalidInput: Wardian does not know this machine.
    """
    system = {"linux": "linux", "darwin": "darwin", "win32": "windows"}.get(sys.platform, sys.platform)
    arch = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}.get(
        _host.machine().lower(), _host.machine()
    )
    return get_platform(f"{system}/{arch}")


def with_declared(platform: Platform, declared: Mapping[str, str]) -> Platform:
    """Return ``platform`` with a definition's declared virtual packages (``cuda: "12.4"``, ``glibc: "2.34"``) in place."""
    if not declared:
        return platform
    virtual = dict(platform.virtual) | {f"__{name.removeprefix('__')}": version for name, version in declared.items()}
    uv = platform.uv
    if platform.is_linux:
        uv = f"{platform.machine}-manylinux_{virtual['__glibc'].replace('.', '_')}"
    return replace(platform, virtual=tuple(sorted(virtual.items())), uv=uv)


_SYSTEMS = {
    "linux": ("linux", "Linux", "posix"),
    "darwin": ("darwin", "Darwin", "posix"),
    "windows": ("win32", "Windows", "nt"),
}


def marker_environment(platform: Platform, python: str) -> dict[str, str]:
    """Return what environment markers are compared with for the CPython ``python`` (``3.11.7``) on ``platform``.

    Source:   PyPA specifications: dependency specifiers
    """
    sys_platform, platform_system, os_name = _SYSTEMS[platform.name.partition("/")[0]]
    return {
        "python_version": ".".join(python.split(".")[:2]), "python_full_version": python, "implementation_version": python,
        "implementation_name": "cpython", "platform_python_implementation": "CPython", "platform_machine": platform.machine,
        "sys_platform": sys_platform, "platform_system": platform_system, "os_name": os_name,
    }  # fmt: skip
