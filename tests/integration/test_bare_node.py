"""Show 6: a bare node, without any route, Python, conda or shell: the agent gets everything from the workspace's store."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.conda_channel import greeter, python_package, standard_channel
from tests.support.conda_solving import archives_in, solved
from tests.support.nodes import Carried, NodeRun, a_run, agent_here
from tests.support.wheels import make_wheel

from wardian.digest import Digest
from wardian.lock.lock import Artifact
from wardian.lock.python import STANDALONE

if TYPE_CHECKING:
    from tests.support.pythons import Catalogue

    from wardian.run.node.bundle import Agent

pytestmark = pytest.mark.root

# what the packages of an environment may expect of a Linux: a C library and its loader; and zlib, which a repacked interpreter lacks
_GLIBC = (
    "ld-linux-x86-64.so.2",
    "libc.so.6",
    "libm.so.6",
    "libdl.so.2",
    "libpthread.so.0",
    "librt.so.1",
    "libutil.so.1",
    "libresolv.so.2",
    "libz.so.1",
)
_ENTER = """
mount --make-rprivate /
mount --bind "$2" "$1/node"
mount --bind /dev/null "$1/dev/null" && mount --bind /dev/urandom "$1/dev/urandom"
mount -t proc proc "$1/proc"
root=$1; shift 2
exec chroot "$root" "$@"
"""
SHOW = """
import importlib.metadata, json, os, shutil, socket, sys
try:
    socket.create_connection(("192.0.2.1", 80), 1)
    route = True
except OSError:
    route = False
found = sorted(f"{d.metadata['Name']} {d.version}" for d in importlib.metadata.distributions())
print(json.dumps([found, sys.prefix, route, [shutil.which(name, path="/usr/bin:/bin:/usr/local/bin") for name in ("python3", "conda", "sh")]]))
"""


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """The root of a machine with a C library, and nothing else."""
    root = tmp_path / "machine"
    for name in ("proc", "dev", "tmp", "node", "lib64", "lib/x86_64-linux-gnu"):
        (root / name).mkdir(parents=True)
    for name in ("null", "urandom"):
        (root / "dev" / name).touch()
    for name in _GLIBC:
        source = next((place for place in (Path("/lib64", name), Path("/lib/x86_64-linux-gnu", name)) if place.exists()), None)
        if source is not None:
            shutil.copy(source.resolve(), root / ("lib64" if name.startswith("ld-") else "lib/x86_64-linux-gnu") / name)
    return root


@pytest.fixture
def node(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Agent]:
    """A node directory with the agent in it, copied as a carrier does."""
    agent = agent_here(tmp_path_factory)
    shutil.copytree(agent.path, tmp_path / "node" / agent.place, symlinks=True)
    return tmp_path / "node", agent


def started(bare: Path, node: Path, agent: Agent, run: NodeRun) -> subprocess.CompletedProcess[str]:
    sheet = f"/node/{run.sheet.relative_to(node)}"
    command = [
        "unshare",
        "--net",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "sh",
        "-ec",
        _ENTER,
        "sh",
        str(bare),
        str(node),
    ]
    return subprocess.run(
        [*command, *agent.command("/node"), "exec", "--sheet", sheet],
        env={"HOME": "/tmp"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_conda_environment_comes_from_the_store(tmp_path: Path, bare: Path, node: tuple[Path, Agent]) -> None:
    root, agent = node
    channel = standard_channel(tmp_path / "channel")
    artifacts = solved(tmp_path / "solver", "greeter", "python", channels=[channel.url])
    carried = Carried(root / "packages")
    for artifact, path in zip(artifacts, archives_in(channel, artifacts).values(), strict=True):
        carried.add(path, artifact)
    run = a_run(root, SHOW + "import greeter", lock=carried.lock())
    done = started(bare, root, agent, run)
    assert done.returncode == 0, (done.stderr, run.end().reason, run.end().detail)
    found, prefix, route, programs = json.loads(run.log())
    assert prefix.startswith("/node/cache/prefixes/")
    assert not route
    assert programs == [None, None, None]
    assert greeter().name in {name.split()[0] for name in found} or found == []
    assert run.end().python == f"{prefix}/bin/python"
    records = root / "cache/prefixes" / Path(prefix).name / "conda-meta"
    assert {path.name.rsplit("-", 2)[0] for path in records.glob("*.json")} == {a.name for a in artifacts}
    assert python_package().name in {a.name for a in artifacts}
    again = a_run(root, SHOW, lock=carried.lock(), run_id="01abcdefghjm")
    assert started(bare, root, agent, again).returncode == 0
    assert again.end().prepared.endswith("prefix cached")


def test_a_standalone_python_and_wheels_come_from_the_store(
    tmp_path: Path, bare: Path, node: tuple[Path, Agent], python_catalogue: Catalogue
) -> None:
    root, agent = node
    version = next(iter(python_catalogue.entries)).split("-")[1]
    carried = Carried(root / "packages")
    archive = python_catalogue.archive(version)
    carried.add(archive, Artifact(kind="python", source=STANDALONE, name="cpython", version=version, file=archive.name,
                                  sha256=Digest.of_file(archive), size_bytes=archive.stat().st_size))  # fmt: skip
    wheel = make_wheel(tmp_path, "alpha", "1.0")
    carried.add(
        wheel,
        Artifact(kind="wheel", source="index:pypi", name="alpha", version="1.0", file=wheel.name, sha256=Digest.of_file(wheel)),
    )
    run = a_run(root, SHOW + "import alpha", lock=carried.lock())
    done = started(bare, root, agent, run)
    assert done.returncode == 0, (done.stderr, run.end().reason, run.end().detail)
    found, prefix, route, programs = json.loads(run.log())
    assert found == ["alpha 1.0"]
    assert prefix.startswith("/node/cache/prefixes/")
    assert (route, programs) == (False, [None, None, None])
