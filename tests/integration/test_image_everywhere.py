"""The same lock is the same image, whoever builds it, where and with what; its byte-code is used as it is; other tools take it."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.conftest import machine_packager_variables
from tests.support.accounts import REPOSITORY, USER, CliAs, why_not
from tests.support.base_images import debian_base, missing_tool, put_image, session_place, tar
from tests.support.cli import Cli
from tests.support.conda_channel import Channel, activating, clobbering, greeter, has_compiler, native, python_package
from tests.support.containers import podman_space
from tests.support.image_homes import image_of
from tests.support.index import Index
from tests.support.pythons import python_for
from tests.support.wheels import make_wheel

from wardian.image.layout import LayoutImageStore

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(bool(missing_tool()), reason=missing_tool())

OLD = datetime(2024, 1, 1, tzinfo=UTC)
PIP, CONDA = "pip", "conda"
ODD = {"TZ": "Asia/Kathmandu", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONHASHSEED": "5",
       "SOURCE_DATE_EPOCH": "1234567890"}  # fmt: skip
BYTE_CODE = """
import hashlib, importlib.util, json, pathlib, subprocess, sys, _imp
root = pathlib.Path("/opt/env")
def seen():
    return {str(p): [p.stat().st_mtime_ns, p.stat().st_ino, hashlib.sha256(p.read_bytes()).hexdigest()] for p in root.rglob("*.pyc")}
before = seen()
(root / "probe").write_text("x")  # it could be written
(root / "probe").unlink()
wrong = []
for text in before:
    head = pathlib.Path(text).read_bytes()[:16]
    source = pathlib.Path(importlib.util.source_from_cache(text))
    if head[:4] != importlib.util.MAGIC_NUMBER or head[4:8] != b"\\1\\0\\0\\0" or head[8:] != _imp.source_hash(_imp.extension_suffixes and
            int.from_bytes(importlib.util.MAGIC_NUMBER[:2] + b"\\r\\n", "little"), source.read_bytes()):
        wrong.append(text)
modules = sys.argv[1:]
subprocess.run([sys.executable, "-c", "import " + ", ".join(modules)], check=True)
said = subprocess.run([sys.executable, "-v", "-c", "import " + ", ".join(modules)], check=True, capture_output=True, text=True).stderr
used = [m for m in modules if any(f"{m}/__pycache__/" in line and "matches" in line for line in said.splitlines())]
print(json.dumps({"files": len(before), "same": seen() == before, "wrong": wrong, "used": used}))
"""


class Everywhere:
    """A place that every account reaches, with an index, a channel, a base image, and the locks that all homes build."""

    def __init__(self, place: Path, shop: Index, channel_url: str) -> None:
        self.place, self.shop, self.channel_url = place, shop, channel_url
        self.base = f"oci:{place / 'base'}:debian"
        self.shared = f"oci:{place / 'shared'}"
        self.reference: dict[str, str] = {}
        first = self.home("first")
        first.write("pip.txt", "alpha\nbeta\n")
        extra = ", hello-native" if has_compiler() else ""
        first.write(
            "conda.yml",
            f"name: conda\nchannels: [local]\ndependencies: [python, greeter, activating, clobber-b{extra}, {{pip: [alpha]}}]\n",
        )
        first.ok("env", "create", PIP, "-r", "pip.txt")
        first.ok("env", "create", CONDA, "-f", "conda.yml")
        for name in (PIP, CONDA):
            first.ok("env", "lock", name)
            first.ok("env", "push", name, self.shared)
        self.first = first

    def home(self, name: str, **variables: str) -> CliAs:
        found = Cli.at(
            self.place / name,
            index_url=self.shop.url,
            config=f'lock_platforms = ["linux/amd64"]\n[channels]\nlocal = "{self.channel_url}"\n',
        )
        found.variables |= {"WARDIAN_BASE_IMAGE": self.base, **variables}
        return CliAs(**vars(found))

    def image(self, name: str) -> str:
        """Return the digest of the image that the first home makes."""
        if name not in self.reference:
            self.reference[name] = image_of(self.first, name)["digest"]
        return self.reference[name]

    def check(self, cli: Cli, name: str) -> None:
        """Build the shared lock in another home, and compare."""
        cli.ok("env", "pull", f"{self.shared}/{name}")
        image = image_of(cli, name)
        assert (image["origin"], image["notes"]) == ("built", [])
        assert image["digest"] == self.image(name)


@pytest.fixture(scope="module")
def everywhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Everywhere]:
    made = tmp_path_factory.mktemp("made")
    base = debian_base(session_place(tmp_path_factory.getbasetemp())).root
    packages = [python_package(), greeter(), activating(), *clobbering(), *([native()] if has_compiler() else [])]
    channel = Channel(made / "channel").publish(*packages)
    with (
        tempfile.TemporaryDirectory(prefix="wardian-images-") as outside,
        Index(made / "index") as shop,
        channel.serve() as server,
    ):
        place = Path(outside)
        place.chmod(0o755)
        shutil.copytree(base, place / "base")
        for path in [place / "base", *(place / "base").rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)
        files = {f"alpha/m{n}.py": f"def f{n}(x):\n    return x in {{'a', 'b{n}', None, 1}}\n" for n in range(30)}
        shop.add(make_wheel(made / "wheels", "alpha", "1.0", files={"alpha/__init__.py": "from alpha import m1\n", **files},
                            entry_points={"alpha": "alpha.m1:f1"}), OLD)  # fmt: skip
        shop.add(
            make_wheel(
                made / "wheels", "beta", "2.0", files={"beta/__init__.py": "", "beta/data.bin": bytes(range(256)) * 9000}
            ),
            OLD,
        )
        yield Everywhere(place, shop, server.url)


@pytest.mark.parametrize("name", [PIP, CONDA])
def test_elsewhere_with_another_umask_time_zone_locale_and_one_job(everywhere: Everywhere, name: str) -> None:
    cli = everywhere.home(f"somewhere else é/deep/down/{name}", **ODD)
    cli.wrapper = ["sh", "-c", 'umask 077; exec "$@"', "sh", *(["taskset", "-c", "0"] if shutil.which("taskset") else [])]
    everywhere.check(cli, name)


@pytest.mark.parametrize("name", [PIP, CONDA])
def test_by_an_ordinary_user(everywhere: Everywhere, name: str) -> None:
    if why := why_not(USER):
        pytest.skip(why)
    cli = everywhere.home(f"user-{name}")
    for path in [everywhere.place / "shared", *(everywhere.place / "shared").rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    cli.become(USER)
    everywhere.check(cli, name)


class WithPython(CliAs):
    """Calls `wardian` by another interpreter."""

    def argv(self, *arguments: str) -> list[str]:
        return [self.variables["OTHER_PYTHON"], "-m", "wardian.cli.main", *arguments]


@pytest.mark.network
@pytest.mark.slow
def test_by_another_python(everywhere: Everywhere, tmp_path: Path) -> None:
    other = "3.13" if sys.version_info[:2] != (3, 13) else "3.11"
    python = python_for(other)
    if python is None:
        pytest.skip(f"there is no Python {other} on this machine")
    uv = [sys.executable, "-m", "uv"]
    env = {**os.environ, **machine_packager_variables()}
    subprocess.run([*uv, "venv", "-q", "--python", python, tmp_path / "venv"], check=True, env=env)
    target = str(tmp_path / "venv" / "bin" / "python")
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    names = [re.split(r"[<>=!~]", line)[0] for line in project["dependencies"]]
    pins = [f"{name}=={importlib.metadata.version(name)}" for name in names]
    subprocess.run([*uv, "pip", "install", "-q", "--python", target, *pins], check=True, env=env)
    for name in (PIP, CONDA):
        cli = everywhere.home(f"python-{other}-{name}", OTHER_PYTHON=target, PYTHONPATH=str(REPOSITORY / "src"))
        everywhere.check(WithPython(**vars(cli)), name)


# -- what becomes of it ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "modules"), [(PIP, ["alpha", "beta"]), (CONDA, ["alpha", "greeter"])])
def test_byte_code_is_the_targets_and_stays_as_it_is(
    everywhere: Everywhere, name: str, modules: list[str], tmp_path: Path
) -> None:
    everywhere.image(name)
    with podman_space() as space:
        cli = everywhere.first
        script = tmp_path / "byte_code.py"
        script.write_text(BYTE_CODE)
        loaded = cli.json("image", "load", name, "--into", "podman", variables=space.environ)
        way = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]
        command = ["--runtime", "runc", "run", "--rm", "--network=none", *way, "-v", f"{script}:/byte_code.py:ro"]
        engine = space.engine()
        done = engine.call(*command, loaded["id"], "/opt/env/bin/python", "/byte_code.py", *modules, timeout_s=120)
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        assert (found["same"], found["wrong"], found["used"]) == (True, [], modules)
        assert found["files"] >= 30
        read_only = engine.call(*command[:3], "--read-only", *command[3:], loaded["id"], "/opt/env/bin/python", "-c",
                                f"import {', '.join(modules)}; print('read-only')", timeout_s=120)  # fmt: skip
        assert read_only.stdout == "read-only\n", read_only.stderr
        assert space.names() == []


@pytest.mark.parametrize("compression", ["zstd", "gzip"])
def test_other_tools_take_it(everywhere: Everywhere, compression: str, tmp_path: Path) -> None:
    if lacking := [tool for tool in ("skopeo", "umoci") if shutil.which(tool) is None]:
        pytest.skip(f"{', '.join(lacking)} missing: scripts/test-tools installs them")
    bases = LayoutImageStore(tmp_path / "base")
    put_image(bases, [tar(("etc/base", b"x"))], compression=compression)
    cli = everywhere.home(
        f"tools-{compression}", WARDIAN_BASE_IMAGE=f"oci:{bases.root}:base", WARDIAN_IMAGE_COMPRESSION=compression
    )
    cli.ok("env", "create", CONDA, "-f", str(everywhere.first.directory / "conda.yml"))
    digest = image_of(cli, CONDA)["digest"]
    layout = tmp_path / "layout"
    cli.ok("image", "copy", CONDA, f"oci:{layout}:it")
    subprocess.run(["skopeo", "copy", "--quiet", f"oci:{layout}:it", f"dir:{tmp_path / 'dir'}"], check=True)
    assert (tmp_path / "dir" / "manifest.json").read_bytes() == (layout / "blobs" / "sha256" / digest).read_bytes()
    if compression == "gzip":
        subprocess.run(
            ["umoci", "unpack", "--rootless", "--image", f"{layout}:it", tmp_path / "bundle"], check=True, capture_output=True
        )
        assert (tmp_path / "bundle/rootfs/opt/env/bin/python").exists()
    with podman_space() as space:
        loaded = space.engine().call("pull", f"oci:{layout}:it", timeout_s=120)
        assert loaded.returncode == 0, loaded.stderr
