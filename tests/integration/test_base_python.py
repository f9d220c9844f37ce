"""Interpreters of base images: found, checked, and run here without the image. Real Debian packages, and what can be wrong with an image."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import zstandard
from tests.builders import a_lock, an_artifact
from tests.support.base_images import busybox_base, debian_base, missing_tool, put_image, session_place, tar
from tests.support.conda_channel import File, python_package

from wardian.digest import Digest
from wardian.errors import BuildFailed
from wardian.events import Event, silent
from wardian.image.base import Base, get_base
from wardian.image.base_python import BasePython, BasePythons, check_base_python, libc_needed
from wardian.image.byte_code import ByteCompiler
from wardian.image.elf import loader_of
from wardian.image.layout import LayoutImageStore

if TYPE_CHECKING:
    from collections.abc import Callable

needs_debian = pytest.mark.skipif(bool(missing_tool()), reason=missing_tool())
MACHINE = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return session_place(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="session")
def debian(place: Path) -> Base:
    return get_base(debian_base(place), "debian", "linux/amd64")


@pytest.fixture
def based(tmp_path: Path) -> Callable[..., Base]:
    store = LayoutImageStore(tmp_path / "layout")

    def make(*layers: bytes, platform: str = "linux/amd64", path: str = "/bin", **changes: Any) -> Base:
        put_image(store, layers, platform=platform, variables=(("PATH", path),) if path else (), **changes)
        return get_base(store, "base", platform)

    return make


def run(python: BasePython, code: str) -> str:
    assert python.command is not None, python.why_not
    return subprocess.run(
        [*python.command, "-S", "-B", "-c", code], capture_output=True, text=True, check=True, env={}, cwd="/"
    ).stdout


# -- Debian's --------------------------------------------------------------------------------------------------------------


@needs_debian
def test_debians_python_runs_here_with_its_own_library(debian: Base, tmp_path: Path) -> None:
    events: list[Event] = []
    python = BasePythons(tmp_path / "a place").ensure(debian, "3.11", events.append)
    assert (python.path, python.libc, python.why_not) == ("/usr/bin/python3.11", "glibc 2.36", "")
    found = run(
        python, "import os, sys, json, importlib.util, math; print(sys.version); print(os.__file__); print(json.__file__)"
    ).splitlines()
    assert python.version == found[0].split()[0]
    assert all(Path(path).is_relative_to(tmp_path) for path in found[1:])
    maps = run(python, "print(open('/proc/self/maps').read())")
    assert {line.split(None, 5)[-1] for line in maps.splitlines() if ".so" in line and "/" in line} == {
        str(path) for path in (tmp_path / "a place").glob("*/lib/*") if path.name in maps
    }
    assert [event.text for event in events] == [f"reading {debian.name}: where its Python is"]
    assert BasePythons(tmp_path / "a place").ensure(debian, "3.11", events.append) == python
    assert len(events) == 1
    with ByteCompiler(python.command or (), jobs=1) as compiler:
        assert compiler.tag == "cpython-311"
        (made,) = compiler.compile([("/opt/env/x.py", b"x = 1\n")])
        assert made is not None


@needs_debian
@pytest.mark.root
def test_it_is_the_very_interpreter_of_the_image(debian: Base, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("chroot needs root")
    root = tmp_path / "root"
    with debian.store.open(debian.layers[0]) as stream:
        archive = zstandard.ZstdDecompressor().decompressobj().decompress(stream.read())
    (tmp_path / "base.tar").write_bytes(archive)
    with tarfile.open(tmp_path / "base.tar") as layer:
        layer.extractall(root, [m for m in layer if not (m.ischr() or m.isblk())], filter="tar")
    code = "import sys, _imp; print(sys.version, sys.flags, sys.implementation, sys.builtin_module_names)"
    inside = subprocess.run(
        [shutil.which("chroot") or "chroot", root, "/usr/bin/python3", "-S", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={},
    ).stdout
    python = BasePythons(tmp_path / "cache").ensure(debian, "3.11", silent)
    assert run(python, code).replace("dont_write_bytecode=1", "dont_write_bytecode=0") == inside
    assert python.sha256 == Digest.of_file(root / python.real_path.lstrip("/"))


@needs_debian
def test_what_was_half_made_is_made_anew(debian: Base, tmp_path: Path) -> None:
    python = BasePythons(tmp_path).ensure(debian, "3.11", silent)
    (kept,) = tmp_path.glob("*-3.11-[0-9]*")
    (kept / "python.json").write_text("{")
    assert BasePythons(tmp_path).ensure(debian, "3.11", silent) == python
    shutil.rmtree(kept / "root")
    assert BasePythons(tmp_path).ensure(debian, "3.11", silent) == python
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([kept.name, "locks", "trash"])


@needs_debian
def test_another_minor_is_not_there(debian: Base, tmp_path: Path) -> None:
    with pytest.raises(BuildFailed, match=r"has no Python 3\.12: /usr/bin/python3 is Python 3\.11") as caught:
        BasePythons(tmp_path).ensure(debian, "3.12", silent)
    assert caught.value.stable_code == "base_python_missing"
    assert not [path for path in tmp_path.iterdir() if path.name not in ("locks", "trash")]


@needs_debian
def test_on_another_machine_it_is_found_and_does_not_run(debian: Base, tmp_path: Path) -> None:
    python = BasePythons(tmp_path, machine="s390x").ensure(debian, "3.11", silent)
    assert python.command is None
    assert python.version.startswith("3.11.")
    assert python.why_not == f"it is a program for {MACHINE}, this machine is s390x"


@needs_debian
def test_a_base_without_python_says_where_it_was_looked_for(place: Path, tmp_path: Path) -> None:
    base = get_base(busybox_base(place), "busybox", "linux/amd64")
    with pytest.raises(BuildFailed, match=r"none on its PATH, /usr/local/sbin:") as caught:
        BasePythons(tmp_path).ensure(base, "3.11", silent)
    assert "source: managed" in (caught.value.hint or "")


@needs_debian
def test_a_layer_above_can_take_it_away_or_put_another_before_it(debian: Base, tmp_path: Path) -> None:
    store = debian.store
    for layer, found in (
        (tar(("usr/bin/.wh.python3.11", b"")), None),
        (tar(("usr/local/bin/python3.11", "->../../bin/python3.11")), "/usr/local/bin/python3.11"),
    ):
        above = put_image(LayoutImageStore(tmp_path / "other"), [layer], compression="none", tags=())
        extra = get_base(LayoutImageStore(tmp_path / "other"), f"sha256:{above.digest}", "linux/amd64")

        class Both:
            name = "both"

            def open(self, blob: Any, extra: Base = extra) -> Any:
                return (extra.store if blob in extra.layers else store).open(blob)

        manifest = replace(debian.manifest, layers=(*debian.layers, *extra.layers))
        base = Base("both", above.digest, manifest, debian.config, Both())  # type: ignore[arg-type]
        if found is None:
            with pytest.raises(BuildFailed):
                BasePythons(tmp_path / "cache").ensure(base, "3.11", silent)
        else:
            python = BasePythons(tmp_path / "cache").ensure(base, "3.11", silent)
            assert (python.path, python.real_path) == (found, "/usr/bin/python3.11")
            assert python.command is not None


# -- what can be wrong with an image -----------------------------------------------------------------------------------------


def test_a_script_is_no_interpreter(based: Callable[..., Base], tmp_path: Path) -> None:
    base = based(tar(("bin/python3", b"#!/bin/sh\nexec evil\n"), ("bin/python", None)))
    with pytest.raises(BuildFailed, match="/bin/python3 is a script or an unknown program"):
        BasePythons(tmp_path / "cache").ensure(base, "3.11", silent)


def test_an_interpreter_that_lacks_its_loader_does_not_run(based: Callable[..., Base], tmp_path: Path) -> None:
    program = Path(os.path.realpath("/proc/self/exe")).read_bytes()
    minor = f"{sys.version_info.major}.{sys.version_info.minor}"
    base = based(tar((f"bin/python{minor}", program)), path="")
    python = BasePythons(tmp_path / "cache").ensure(base, minor, silent)
    assert python.command is None
    assert "is not in the image" in python.why_not


def test_an_interpreter_for_another_machine_is_not_started(based: Callable[..., Base], tmp_path: Path) -> None:
    other = bytearray(b"\x7fELF\2\1\1" + bytes(200))
    other[18:20] = (0xB7 if MACHINE == "amd64" else 0x3E).to_bytes(2, "little")
    other += b"\x003.11.9\x00"
    base = based(tar(("bin/python3", bytes(other))))
    python = BasePythons(tmp_path / "cache").ensure(base, "3.11", silent)
    assert (python.command, python.version) == (None, "3.11.9")
    assert python.why_not.startswith("it is a program for a")


def test_a_python_that_is_a_shared_library_elsewhere_runs_too(based: Callable[..., Base], tmp_path: Path) -> None:
    """As in images that build their own below /usr/local: found through links, its library through the loader's configuration."""
    package, minor = python_package(), f"{sys.version_info.major}.{sys.version_info.minor}"
    members: list[tuple[str, Any]] = [
        ("etc/ld.so.conf", b"include /etc/ld.so.conf.d/*.conf\n"),
        ("etc/ld.so.conf.d/x.conf", b"/opt/py/lib\n"),
    ]
    for path, file in package.files.items():
        content = file if isinstance(file, bytes) else file.encode() if isinstance(file, str) else file.content
        link = file.link if isinstance(file, File) else None
        members.append((f"opt/py/{path}", f"->{link}" if link else content.replace(b"$ORIGIN/../lib", b"/elsewhere\0\0\0\0")))
    program = next(content for name, content in members if name == f"opt/py/bin/python{minor}")
    loader = loader_of(program)
    members.append((loader.lstrip("/"), "->../libs/ld.so"))
    members.append(("libs/ld.so", Path(loader).read_bytes()))
    libraries = (
        path for path in Path("/lib").glob("*-linux-gnu/*.so*") if re.match(r"lib(?:c|m|pthread|dl|util|rt)\.so", path.name)
    )
    members += [(f"lib/{library.name}", library.read_bytes()) for library in libraries]
    base = based(
        tar(*members),
        tar(("usr/bin/python3", "->/opt/py/bin/python3"), ("usr/bin/python", b"#!/bin/sh\n")),
        path="/none:/usr/bin",
    )
    python = BasePythons(tmp_path / "cache").ensure(base, minor, silent)
    assert (python.path, python.real_path) == ("/usr/bin/python3", f"/opt/py/bin/python{minor}")
    assert run(python, "import sys, os; print(sys.version)").strip().split()[0] == python.version == package.version
    assert run(python, "import os; print(os.__file__)").strip().startswith(str(tmp_path))


# -- whether it fits the lock ------------------------------------------------------------------------------------------------


def a_python(version: str = "3.11.2", libc: str = "glibc 2.36") -> BasePython:
    return BasePython("/usr/bin/python3", "/usr/bin/python3.11", version, libc, Digest("0" * 64), None)


@pytest.fixture
def any_base(based: Callable[..., Base]) -> Base:
    return based(tar(("x", b"")))


HOST = an_artifact("cpython", "3.11.7", kind="python", source="host")
NEW = an_artifact("numpy", "2.1.0", file="numpy-2.1.0-cp311-cp311-manylinux_2_28_x86_64.manylinux_2_34_x86_64.whl")


@pytest.mark.parametrize(
    ("python", "artifacts", "requires", "code"),
    [
        (a_python(), [NEW], ">=3.11,<3.12", None),
        (a_python(""), [NEW], ">=3.13", None),
        (a_python(libc=""), [NEW], "", None),
        (a_python("3.12.1"), [], "", "base_python_differs"),
        (a_python(), [], ">=3.11.5", "base_python_differs"),
        (a_python(), [an_artifact("x", requires_python=">=3.11.4")], "", "base_python_differs"),
        (a_python(libc="glibc 2.17"), [NEW], "", "base_libc_too_old"),
        (a_python(libc="musl"), [NEW], "", "base_libc_too_old"),
    ],
)
def test_what_the_lock_needs_of_it(
    any_base: Base, python: BasePython, artifacts: list[Any], requires: str, code: str | None
) -> None:
    lock = a_lock(HOST, *artifacts)
    if code is None:
        check_base_python(python, lock, any_base, requires=requires)
        return
    with pytest.raises(BuildFailed) as caught:
        check_base_python(python, lock, any_base, requires=requires)
    assert caught.value.stable_code == code


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("py3-none-any", ()),
        ("cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64", ("glibc 2.17",)),
        ("cp311-cp311-manylinux1_x86_64", ("glibc 2.5",)),
        ("cp311-abi3-musllinux_1_2_x86_64", ("musl",)),
        ("cp311-cp311-linux_x86_64", ()),
    ],
)
def test_what_a_wheel_needs_of_the_system(tags: str, expected: tuple[str, ...]) -> None:
    assert libc_needed(f"x-1.0-{tags}.whl") == expected
