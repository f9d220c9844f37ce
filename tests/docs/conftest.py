"""What the commands in the documentation run over: an index and a channel with the packages that the pages name."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from tests.support.conda_channel import Channel, Package, python_package
from tests.support.index import Index
from tests.support.wheels import make_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.pythons import Catalogue

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
        machine = f'python_downloads = "{python_catalogue.path}"\nbyte_code = "never"\n'
        servers = f'[indexes]\npypi = "{index.url}"\n\n[channels]\nconda-forge = "{conda.url}"\n'
        yield Surroundings(machine, servers, {
            team.root_url: "https://team.example.org", index.root_url: "https://packages.example.org",
            conda.url: "https://conda.example.org/conda-forge", str(python_catalogue.path): "/opt/pythons/catalogue.json",
        })  # fmt: skip


def _channel(directory: Path) -> Channel:
    channel = Channel(directory)
    channel.add(python_package())
    for name, version, day in CONDA_RELEASES:
        files = {
            f"site-packages/{name}/__init__.py": f'__version__ = "{version}"\n',
            f"site-packages/{name}-{version}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
            f"site-packages/{name}-{version}.dist-info/RECORD": f"{name}/__init__.py,,\n",
        }
        published = datetime.fromisoformat(day).replace(tzinfo=UTC)
        channel.add(Package(name, version, "pyh0_0", subdir="noarch", noarch="python", depends=("python >=3.11",), files=files, published=published))  # fmt: skip
    return channel.index()
