"""What the commands in the documentation run over: an index, a channel and a registry with what the pages name."""

from __future__ import annotations

import io
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from tests.support import registry as registries
from tests.support.base_images import debian_base, missing_tool, session_place, tar
from tests.support.cli import Cli
from tests.support.conda_channel import RSCRIPT, Channel, Package, python_package, r_packages
from tests.support.containers import podman_space
from tests.support.index import Index
from tests.support.maven import MavenRepository
from tests.support.registry import DockerRegistry
from tests.support.wheels import make_wheel

from wardian.digest import Digest
from wardian.image.oci import CONFIG, INDEX, LAYER, MANIFEST, Descriptor, Manifest, read_config, read_manifest
from wardian.image.oci import Index as ImageIndex

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.containers import PodmanSpace
    from tests.support.pythons import Catalogue

    from wardian.image.store import ImageStore

# project, version, day of the release, what it needs
RELEASES = (
    ("numpy", "1.26.4", "2024-02-05", ()),
    ("numpy", "2.1.3", "2024-11-02", ()),
    ("pandas", "2.2.2", "2024-04-10", ("numpy>=1.23",)),
    ("pandas", "2.2.3", "2024-09-20", ("numpy>=1.23",)),
    ("scikit-learn", "1.5.2", "2024-09-11", ("numpy>=1.19", "joblib")),
    ("joblib", "1.4.0", "2024-04-08", ()),
    ("joblib", "1.4.2", "2024-05-02", ()),
    ("xgboost", "2.1.1", "2024-07-31", ("numpy",)),
    ("seaborn", "0.13.2", "2024-01-25", ("pandas>=1.2",)),
    ("ipykernel", "6.29.5", "2024-07-01", ("ipykernel-launcher",)),
    ("ipykernel-launcher", "1.0", "2024-07-01", ()),
    ("pip", "24.3.1", "2024-10-28", ()),
    ("einops", "0.8.0", "2024-04-28", ()),
    ("torchmetrics", "1.4.0", "2024-05-03", ("numpy>1.20",)),
    ("scipy", "1.10.1", "2023-02-19", ("numpy>=1.19.5,<1.27",)),
)
PRIVATE_RELEASES = (("teamlib", "2.3.0", "2024-03-01", ("numpy",)),)
CONDA_RELEASES = (("numpy", "1.26.4", "2024-02-05"), ("numpy", "2.1.3", "2024-11-02"), ("pip", "24.3.1", "2024-10-28"))


@dataclass(frozen=True)
class Surroundings:
    """A reader's machine: settings for their file, and what a page writes instead of a server on loopback."""

    machine: str
    servers: str
    spelled: dict[str, str]
    variables: dict[str, str] = field(default_factory=dict)

    def with_images(self, registry: DockerRegistry, closed: DockerRegistry, podman: PodmanSpace) -> Surroundings:
        """Return the same machine with podman and a team's registries; what comes from docker.io comes from the first, too."""
        spelled = {
            f"{registry.host}/library": "docker.io/library", registry.host: "registry.example.org", closed.host: "closed.example.org"
        }  # fmt: skip
        machine = f'{self.machine}base_image = "{registry.host}/library/debian:bookworm-slim"\n'
        engine = {name: value for name, value in podman.environ.items() if name.startswith(("CONTAINERS_", "XDG_"))}
        variables = {**engine, "DOCKER_HOST": "unix:///run/no-docker-here.sock"}
        return replace(self, machine=machine, spelled={**spelled, **self.spelled}, variables=variables)


@pytest.fixture(scope="session")
def surroundings(tmp_path_factory: pytest.TempPathFactory, python_catalogue: Catalogue) -> Iterator[Surroundings]:
    place = tmp_path_factory.mktemp("surroundings")
    channel = _channel(place / "channel")
    with (
        Index(place / "index") as index,
        Index(place / "team", user="ada", password="fern-1842") as team,
        channel.serve() as conda,
    ):
        for releases, server in ((RELEASES, index), (PRIVATE_RELEASES, team)):
            for name, version, day, requires in releases:
                wheel = make_wheel(place / "wheels", name, version, requires=requires)
                server.add(wheel, datetime.fromisoformat(day).replace(tzinfo=UTC))
        jars = MavenRepository(place / "maven")
        jars.add("org.apache.spark:spark-avro_2.12:3.5.1", "org.tukaani:xz:1.9", "org.apache.spark:spark-sql_2.12:3.5.1")
        jars.add("org.apache.spark:spark-avro_2.12:3.5.2", "org.tukaani:xz:1.9")
        jars.add("org.tukaani:xz:1.9")
        machine = f'python_downloads = "{python_catalogue.path}"\nbyte_code = "never"\n'
        servers = f'[indexes]\npypi = "{index.url}"\n\n[channels]\nconda-forge = "{conda.url}"\n\n[repositories]\ncentral = "{jars.url}"\n'
        yield Surroundings(machine, servers, {
            team.root_url: "https://team.example.org", index.root_url: "https://packages.example.org",
            conda.url: "https://conda.example.org/conda-forge", jars.url: "https://repo1.maven.org/maven2", str(python_catalogue.path): "/opt/pythons/catalogue.json",
        })  # fmt: skip


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    """The registry of a team, and beside it what the pages take from docker.io: Debian, with its Python, of Debian's own packages."""
    if why := registries.why_not() or missing_tool():
        pytest.skip(why)
    base = debian_base(session_place(tmp_path_factory.getbasetemp()))
    _add_arm64(base)
    _add_r(base)
    place = tmp_path_factory.mktemp("registry")
    with DockerRegistry(place / "served") as running:
        for name, which in (("debian:bookworm-slim", "both"), ("python:3-slim", "both"), ("r-base:4.3.1", "r")):
            Cli.at(place / name.replace(":", "-")).ok(
                "image", "copy", f"oci:{base.root}:{which}", f"{running.host}/library/{name}"
            )
        yield running


@pytest.fixture(scope="session")
def closed_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    """A registry that asks for a login."""
    if why := registries.why_not():
        pytest.skip(why)
    with DockerRegistry(tmp_path_factory.mktemp("closed-registry"), user="ada", password="fern-1842") as running:
        yield running


@pytest.fixture
def podman() -> Iterator[PodmanSpace]:
    """podman with nothing in it."""
    with podman_space() as space:
        yield space


def _add_arm64(store: ImageStore) -> None:
    """Make `both` of `debian`: an index in which linux/arm64 has the same layers."""
    found = store.find("debian")
    assert found is not None
    manifest = read_manifest(found.content)
    assert isinstance(manifest, Manifest)
    with store.open(manifest.config) as stream:
        config = replace(read_config(stream.read()), platform="linux/arm64").to_json()
    described = Descriptor.of(config, CONFIG)
    store.put(described, lambda: io.BytesIO(config))
    other = store.tag(replace(manifest, config=described).to_json(), MANIFEST)
    one, two = replace(found.descriptor, platform="linux/amd64"), replace(other, platform="linux/arm64")
    store.tag(ImageIndex((one, two)).to_json(), INDEX, ["both"])


def _add_r(store: ImageStore) -> None:
    """Make `r` of `debian`, with one more layer: a small script in the place of Rscript."""
    found = store.find("debian")
    assert found is not None
    manifest = read_manifest(found.content)
    assert isinstance(manifest, Manifest)
    with store.open(manifest.config) as stream:
        config = read_config(stream.read())
    layer = tar(("usr/bin/Rscript", RSCRIPT.encode()))
    content = replace(
        config, diff_ids=(*config.diff_ids, Digest.of(layer)), history=(*config.history, {"created_by": "R"})
    ).to_json()
    described, of_layer = Descriptor.of(content, CONFIG), Descriptor.of(layer, LAYER)
    store.put(described, lambda: io.BytesIO(content))
    store.put(of_layer, lambda: io.BytesIO(layer))
    store.tag(replace(manifest, config=described, layers=(*manifest.layers, of_layer)).to_json(), MANIFEST, ["r"])


def _channel(directory: Path) -> Channel:
    channel = Channel(directory)
    channel.add(python_package(), *r_packages())
    for name, version, day in CONDA_RELEASES:
        files = {
            f"site-packages/{name}/__init__.py": f'__version__ = "{version}"\n',
            f"site-packages/{name}-{version}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
            f"site-packages/{name}-{version}.dist-info/RECORD": f"{name}/__init__.py,,\n",
        }
        published = datetime.fromisoformat(day).replace(tzinfo=UTC)
        channel.add(Package(name, version, "pyh0_0", subdir="noarch", noarch="python", depends=("python >=3.11",), files=files, published=published))  # fmt: skip
    return channel.index()
