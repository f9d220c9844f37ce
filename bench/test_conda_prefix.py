"""A conda prefix of sixty packages, from fetched archives, against rattler alone."""

from __future__ import annotations

import asyncio
import itertools
import random
import shutil
from typing import TYPE_CHECKING

import pytest
import rattler
from tests.support.conda_channel import Channel, Package, greeter, python_package
from tests.support.conda_solving import archives_in, solved

from wardian.events import silent
from wardian.lock.conda_record import to_record
from wardian.prefix.conda import install_conda
from wardian.tools.rattler import as_rattler

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bench.conftest import Ratio

    from wardian.lock.lock import Artifact

PACKAGES = 60
FILES_EACH = 185
LIMIT, PLUS_S = 1.5, 0.3


@pytest.fixture(scope="session")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Channel:
    source = random.Random(0)  # noqa: S311 - sizes, not secrets
    text = b"".join(source.randbytes(24).hex().encode() + b"\n" for _ in range(4000))

    def files(name: str) -> dict[str, bytes]:
        return {f"lib/{name}/{i}.py": text[: source.randrange(200, 30_000)] + str(i).encode() for i in range(FILES_EACH)}

    packages = [Package(f"part{n}", files=files(f"part{n}"), depends=("python",)) for n in range(PACKAGES - 2)]
    return Channel(tmp_path_factory.mktemp("channel")).publish(python_package(), greeter(), *packages)


@pytest.fixture(scope="session")
def artifacts(channel: Channel, tmp_path_factory: pytest.TempPathFactory) -> tuple[Artifact, ...]:
    wanted = ["greeter", *(f"part{n}" for n in range(PACKAGES - 2))]
    found = solved(tmp_path_factory.mktemp("solve"), *wanted, channels=[channel.url])
    assert len(found) == PACKAGES
    return found


@pytest.fixture
def install(
    channel: Channel, artifacts: tuple[Artifact, ...], tmp_path: Path
) -> tuple[Callable[[], None], Callable[[], None], Callable[[], None]]:
    """Our installation, rattler's, and what forgets both package caches."""
    archives = archives_in(channel, artifacts)
    records = [as_rattler(to_record(a, archives[a.sha256].as_uri())) for a in artifacts]
    prefixes = (tmp_path / f"prefix{number}" for number in itertools.count())

    def ours() -> None:
        install_conda(
            artifacts, archives, next(prefixes), package_cache=tmp_path / "ours", link_scripts="refuse", listener=silent
        )

    def bare() -> None:
        asyncio.run(rattler.install(records, next(prefixes), cache_dir=tmp_path / "bare", show_progress=False))

    def forget() -> None:
        for path in tmp_path.iterdir():
            shutil.rmtree(path)

    return ours, bare, forget


def test_unpacked_before(install: tuple[Callable[[], None], ...], ratio: Ratio) -> None:
    ours, bare, _ = install
    ratio(
        f"conda prefix of {PACKAGES} packages, unpacked before", ours, bare, LIMIT, peer_name="rattler.install", plus_s=PLUS_S
    )


def test_from_fetched_archives(install: tuple[Callable[[], None], ...], ratio: Ratio) -> None:
    ours, bare, forget = install
    ratio(f"conda prefix of {PACKAGES} packages, from fetched archives", ours, bare, LIMIT, peer_name="rattler.install", plus_s=PLUS_S,
          rounds=5, before_ours=forget, before_peer=forget)  # fmt: skip
