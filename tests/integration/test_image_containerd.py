"""containerd, which Kubernetes runs on, takes the images: as archives, and from a registry."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from tests.support import image_homes
from tests.support.base_images import debian_base, missing_tool, session_place
from tests.support.containerd import Containerd, containerd
from tests.support.image_homes import image_of
from tests.support.wheels import make_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.cli import Cli
    from tests.support.index import Index
    from tests.support.registry import DockerRegistry

pytestmark = pytest.mark.skipif(bool(missing_tool()), reason=missing_tool())

IMPORTED = "alpha: hello from a layer\n"


@pytest.fixture(scope="module")
def daemon() -> Iterator[Containerd]:
    with containerd() as daemon:
        yield daemon


@pytest.fixture
def cli(tmp_path: Path, index: Index, registry: DockerRegistry, tmp_path_factory: pytest.TempPathFactory) -> Cli:
    wheel = make_wheel(tmp_path / "wheels", "alpha", "1.0", files={"alpha.py": "text = 'alpha: hello from a layer'\n"})
    index.add(wheel, datetime(2024, 1, 1, tzinfo=UTC))
    base = f"oci:{debian_base(session_place(tmp_path_factory.getbasetemp())).root}:debian"
    cli = image_homes.a_home(tmp_path / "home", index, base, WARDIAN_REGISTRY=f"{registry.host}/team/envs")
    cli.write("alpha.txt", "alpha\n")
    cli.ok("env", "create", "alpha", "-r", "alpha.txt")
    return cli


def check_it_runs(daemon: Containerd, image: str) -> None:
    done = daemon.run(image, "/opt/env/bin/python", "-c", "import alpha; print(alpha.text)")
    assert (done.returncode, done.stdout) == (0, IMPORTED), done.stderr


@pytest.mark.slow
def test_from_archives_and_from_a_registry(cli: Cli, daemon: Containerd, registry: DockerRegistry, tmp_path: Path) -> None:
    image = image_of(cli, "alpha")
    cli.ok("image", "copy", "alpha", f"oci-archive:{tmp_path}/oci.tar:it")
    daemon.ctr("images", "import", "--snapshotter", "native", "--base-name", "oci", tmp_path / "oci.tar")
    cli.ok("image", "copy", "alpha", f"docker-archive:{tmp_path}/docker.tar:docker.example/it:1")
    daemon.ctr("images", "import", "--snapshotter", "native", tmp_path / "docker.tar")
    pulled = f"{registry.host}/team/envs@sha256:{image['digest']}"
    daemon.ctr("images", "pull", "--plain-http", "--snapshotter", "native", pulled)

    listed = {line.split()[0]: line.split()[2] for line in daemon.ctr("images", "list").stdout.splitlines()[1:]}
    assert listed["oci:it"] == listed[pulled] == f"sha256:{image['digest']}"  # the bytes that were built
    for name in ("oci:it", "docker.example/it:1", pulled):
        check_it_runs(daemon, name)
    assert daemon.ctr("containers", "list", "--quiet").stdout == ""
