"""conda environments as a user meets them: a generated channel, real Python, pip packages beside, several platforms."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.cli import Cli
from tests.support.conda_channel import Channel, everywhere, greeter, standard_channel
from tests.support.wheels import make_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.index import Index

OLD = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="session")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Channel:
    return standard_channel(tmp_path_factory.mktemp("channel"))


@pytest.fixture
def shop(index: Index, tmp_path: Path) -> Index:
    place = tmp_path / "wheels"
    place.mkdir()
    index.add(
        make_wheel(
            place, "alpha", "1.0", requires=["greeter"], files={"alpha/__init__.py": "import greeter\nversion = '1.0'\n"}
        ),
        OLD,
    )
    index.add(make_wheel(place, "greeter", "9.0", files={"greeter/__init__.py": "version = 'from the index'\n"}), OLD)
    return index


@pytest.fixture
def cli(tmp_path: Path, shop: Index, channel: Channel) -> Iterator[Cli]:
    with channel.serve() as server:
        yield Cli.at(
            tmp_path / "one",
            index_url=shop.url,
            config=f'lock_platforms = ["linux/amd64"]\n[channels]\nlocal = "{server.url}"\n',
        )


def test_conda_and_pip_in_one_definition(cli: Cli, shop: Index) -> None:
    cli.write(
        "environment.yml",
        "name: both\nchannels: [local]\ndependencies:\n  - python\n  - greeter=1.0\n  - pip:\n      - alpha\n",
    )
    cli.write("show.py", "import alpha, greeter, sys\nprint(alpha.version, greeter.__file__.startswith(sys.prefix))\n")
    done = cli.ok("run", "-f", "environment.yml", "show.py")
    assert done.out == "1.0 True\n"
    assert shop.downloads() == {"alpha-1.0-py3-none-any.whl": 1}, "what conda brought is not taken from the index again"
    packages = cli.json("env", "lock", "environment.yml")["locks"]["linux/amd64"]["packages"]
    kinds = {p["name"]: p["kind"] for p in packages}
    assert kinds["greeter"] == "conda"
    assert kinds["alpha"] == "wheel"
    assert {p["source"] for p in packages} == {"channel:local", "index:pypi"}
    assert not any("127.0.0.1" in str(p) for p in packages), "a lock names no host"
    prefix = Path(cli.json("env", "build", "environment.yml")["prefix"])
    assert cli.json("env", "verify", "environment.yml")["clean"]
    (record,) = (prefix / "conda-meta").glob("greeter-*.json")
    record.chmod(0o644)
    (prefix / "bin").chmod(0o755)
    (prefix / "bin/empty").mkdir()
    (prefix / "bin").chmod(0o555)
    found = cli.run("env", "verify", "environment.yml", "--json").document
    assert (found["changed"], found["missing"], found["extra"]) == ([f"conda-meta/{record.name}"], [], ["bin/empty/"])


def test_one_package_from_both_sides_is_named(cli: Cli) -> None:
    cli.write("environment.yml", "channels: [local]\ndependencies:\n  - python\n  - greeter=1.0\n  - pip:\n      - greeter\n")
    done = cli.run("env", "lock", "environment.yml")
    assert done.code == 1
    assert "both sides" in done.err


def test_entry_points_native_code_and_activation(cli: Cli) -> None:
    cli.write("environment.yml", "name: tools\nchannels: [local]\ndependencies:\n  - python\n  - greeter\n  - activating\n")
    done = cli.ok("run", "-f", "environment.yml", "--", "greet")
    assert done.out.strip()
    cli.write(
        "conda_prefix.py",
        "import os, sys\nprint(os.environ['CONDA_PREFIX'] == sys.prefix, os.environ['PATH'].split(':')[0] == sys.prefix + '/bin')\n",
    )
    assert cli.ok("run", "-e", "tools", "conda_prefix.py").out == "True True\n"


def test_three_platforms_the_last_added_after_a_newer_release(tmp_path: Path, channel: Channel) -> None:
    place = Channel(tmp_path / "channel")
    place.publish(*everywhere("tool", "1.0"))
    cli = Cli.at(tmp_path / "one", config=f'lock_platforms = ["linux/arm64"]\n[channels]\nlocal = "{place.url}"\n')
    cli.write("environment.yml", "name: tools\nchannels: [local]\ndependencies:\n  - tool\n")
    first = cli.json("env", "lock", "environment.yml")["locks"]
    assert set(first) == {"linux/amd64", "linux/arm64"}
    place.publish(*everywhere("tool", "2.0", published=datetime(2025, 1, 1, tzinfo=UTC)))
    both = cli.json("env", "lock", "environment.yml", "--platform", "darwin/arm64", "--platform", "linux/amd64")["locks"]
    assert {p["version"] for lock in both.values() for p in lock["packages"] if p["name"] == "tool"} == {"1.0"}
    assert set(both) == {"darwin/arm64", "linux/amd64"}


def test_a_definition_without_python_gets_none(cli: Cli) -> None:
    _ = greeter
    cli.write("environment.yml", "channels: [local]\ndependencies:\n  - activating\n")
    done = cli.ok("run", "-f", "environment.yml", "--", "/bin/sh", "-c", "echo $CONDA_PREFIX")
    assert "prefixes" in done.out
