"""Other tools install from exports: uv and pip from a loopback index, rattler from a channel; and they refuse other bytes."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from tests.builders import a_lock, an_artifact, an_environment
from tests.support.conda_channel import Channel, Package, greeter, python_package
from tests.support.wheels import make_sdist, make_wheel

from wardian.digest import Digest
from wardian.errors import InvalidInput
from wardian.lock.exports import export, packages_beside
from wardian.lock.lock import Artifact, BuiltWheel, Lock

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.index import Index

    from wardian.definition.environment import Environment

VERSION = ".".join(map(str, sys.version_info[:3]))


@pytest.fixture
def python_lock(index: Index, tmp_path: Path) -> Lock:
    """Two wheels of the index, one with a platform tag, an sdist of the index, and a wheel that was built here."""
    made = tmp_path / "made"
    alpha = index.add(make_wheel(made, "alpha", "1.0", requires=["beta", "gamma"]))
    native = f"cp3{sys.version_info[1]}-cp3{sys.version_info[1]}-manylinux_2_28_x86_64"
    beta = index.add(make_wheel(made, "beta", "2.0", tag=native))
    index.add(make_wheel(made, "beta", "3.0"))
    gamma = index.add(make_sdist(made, "gamma", "0.5"))
    mine = make_wheel(made, "mine", "0.1")
    artifacts = [an_artifact("cpython", VERSION, kind="python")]
    for name, version, file, kind in (
        ("alpha", "1.0", alpha, "wheel"),
        ("beta", "2.0", beta, "wheel"),
        ("gamma", "0.5", gamma, "sdist"),
    ):
        built = None
        if kind == "sdist":
            wheel = make_wheel(made, name, version)
            built = BuiltWheel(wheel.name, Digest.of_file(wheel), wheel.stat().st_size)
        artifacts.append(
            an_artifact(name, version, kind=kind, file=file.name, sha256=Digest.of_file(file), size_bytes=file.stat().st_size, built=built,
                        timestamp="2020-01-01T00:00:00Z", depends=("beta", "gamma") if name == "alpha" else ())
        )  # fmt: skip
    artifacts.append(
        an_artifact("mine", "0.1", source="workspace", file=mine.name, sha256=Digest.of_file(mine), size_bytes=None)
    )
    return a_lock(*artifacts)


def _put_beside(to: str, environment: Environment, lock: Lock, index: Index, place: Path) -> None:
    for path, artifact in packages_beside(to, environment, [lock], lambda _, a: index.file_url(a.file)).items():
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(place / "made" / artifact.installed_file, place / path)


def _uv(place: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run uv from the directory of the export: paths in a requirements file start where pip and uv were started."""
    command = [sys.executable, "-m", "uv", "pip", "install", "--no-cache", *map(str, arguments)]
    return subprocess.run(
        command, cwd=place, capture_output=True, text=True, check=False, timeout=120, env={**os.environ, "NO_COLOR": "1"}
    )


def _installed(target: Path) -> set[str]:
    return {p.name.removesuffix(".dist-info") for p in target.glob("*.dist-info")}


@pytest.mark.parametrize("to", ["pylock", "requirements"])
def test_uv_installs_exactly_what_is_locked(to: str, python_lock: Lock, index: Index, tmp_path: Path) -> None:
    environment = an_environment(pip=("alpha", "mine"), pip_options=(f"--index-url {index.url}",))
    file = tmp_path / ("pylock.toml" if to == "pylock" else "requirements.txt")
    file.write_text(export(to, environment, [python_lock], lambda _, a: index.file_url(a.file)))
    _put_beside(to, environment, python_lock, index, tmp_path)
    options: tuple[str | Path, ...] = ("--target", tmp_path / "t", "-r", file)
    if to == "requirements":
        options += ("--require-hashes",)
    planned = _uv(tmp_path, *options, "--dry-run")
    assert planned.returncode == 0, planned.stderr
    assert "Would install 4 packages" in planned.stderr
    done = _uv(tmp_path, *options)
    assert done.returncode == 0, done.stderr
    assert _installed(tmp_path / "t") == {"alpha-1.0", "beta-2.0", "gamma-0.5", "mine-0.1"}


@pytest.mark.parametrize("to", ["pylock", "requirements"])
def test_uv_refuses_other_bytes(to: str, python_lock: Lock, index: Index, tmp_path: Path) -> None:
    environment = an_environment(pip=("alpha", "mine"), pip_options=(f"--index-url {index.url}",))
    index.add(
        make_wheel(tmp_path / "other", "alpha", "1.0", requires=["beta", "gamma"], files={"alpha/__init__.py": "evil = 1\n"})
    )
    file = tmp_path / ("pylock.toml" if to == "pylock" else "requirements.txt")
    file.write_text(export(to, environment, [python_lock], lambda _, a: index.file_url(a.file)))
    _put_beside(to, environment, python_lock, index, tmp_path)
    refused = _uv(tmp_path, "--target", tmp_path / "t", "-r", file)
    assert refused.returncode != 0
    assert "mismatch" in refused.stderr  # of the size or of the hash, whichever is looked at first
    assert "alpha" in refused.stderr


def test_pip_installs_from_the_requirements(python_lock: Lock, index: Index, tmp_path: Path) -> None:
    environment = an_environment(pip=("alpha", "mine"), pip_options=(f"--index-url {index.url}",))
    (tmp_path / "requirements.txt").write_text(
        export("requirements", environment, [python_lock], lambda _, a: index.file_url(a.file))
    )
    _put_beside("requirements", environment, python_lock, index, tmp_path)
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-cache-dir", "--target", "t", "-r", "requirements.txt"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert _installed(tmp_path / "t") == {"alpha-1.0", "beta-2.0", "gamma-0.5", "mine-0.1"}


# -- conda ---------------------------------------------------------------------------------------------------------


def _conda_artifact(package: Package) -> Artifact:
    index = package.index_json
    return Artifact(
        kind="conda", source="channel:#0", name=package.name, version=package.version, build=package.build, build_number=package.build_number,
        subdir=package.subdir, file=package.file_name, sha256=Digest.of(package.archive), size_bytes=len(package.archive),
        depends=package.depends, constrains=package.constrains, noarch=package.noarch or "", site_packages_path=package.site_packages_path or "",
        license=index["license"], timestamp=package.published.isoformat() if package.published else "",
    )  # fmt: skip


@pytest.fixture
def conda_lock() -> Lock:
    tool = Package(
        "tool", "1.5", "h1_3", build_number=3, depends=("python",), constrains=("other >2",), files={"share/tool": "tool\n"}
    )
    artifacts = [_conda_artifact(package) for package in (python_package(), greeter(), tool)]
    return a_lock(*artifacts, an_artifact("alpha", "1.0", requires_python=">=3.9", depends=("beta",)))


@pytest.fixture
def channel(tmp_path: Path) -> Channel:
    tool = Package(
        "tool", "1.5", "h1_3", build_number=3, depends=("python",), constrains=("other >2",), files={"share/tool": "tool\n"}
    )
    return Channel(tmp_path / "channel").publish(python_package(), greeter(), tool)


def test_rattler_reads_a_pixi_lock_and_installs_it(conda_lock: Lock, channel: Channel, tmp_path: Path) -> None:
    import rattler

    def url_of(lock: Lock, artifact: Artifact) -> str | None:
        return (
            f"{channel.url}/{artifact.subdir}/{artifact.file}"
            if artifact.kind == "conda"
            else f"https://index.example/{artifact.file}"
        )

    environment = an_environment(channels=(channel.url,), conda=("greeter",))
    (tmp_path / "pixi.lock").write_text(export("pixi", environment, {"linux/amd64": conda_lock}, url_of))
    read = rattler.LockFile.from_path(tmp_path / "pixi.lock").default_environment()
    assert read is not None
    assert [str(c) for c in read.channels()] == [f"{channel.url}/"]
    (records,) = read.conda_repodata_records().values()
    expected = {a.name: a for a in conda_lock.of_kind("conda")}
    assert {r.name.normalized for r in records} == expected.keys()
    for record in records:
        artifact = expected[record.name.normalized]
        assert (str(record.version), str(record.build), record.build_number, record.subdir) == (
            artifact.version, artifact.build, artifact.build_number, artifact.subdir,
        )  # fmt: skip
        assert record.sha256 is not None
        assert record.sha256.hex() == artifact.sha256
        assert (record.size, tuple(record.depends), tuple(record.constrains)) == (
            artifact.size_bytes,
            artifact.depends,
            artifact.constrains,
        )
        assert record.timestamp is not None
        assert record.python_site_packages_path == (artifact.site_packages_path or None)
    (packages,) = read.pypi_packages().values()
    (alpha,) = packages
    (locked,) = conda_lock.of_kind("wheel")
    assert (alpha.name, alpha.version, alpha.requires_python, alpha.requires_dist) == ("alpha", "1.0", ">=3.9", ["beta"])
    assert alpha.hashes is not None
    assert alpha.hashes.sha256 is not None
    assert alpha.hashes.sha256.hex() == locked.sha256

    asyncio.run(rattler.install(records, tmp_path / "prefix", cache_dir=tmp_path / "cache"))
    told = subprocess.run([tmp_path / "prefix/bin/greet"], capture_output=True, text=True, check=True)
    assert told.stdout == "hello from greeter 1.0\n"


def test_a_pixi_lock_may_name_wheels_beside_it_but_no_conda_packages(
    conda_lock: Lock, channel: Channel, tmp_path: Path
) -> None:
    import rattler

    environment = an_environment(channels=(channel.url,), conda=("greeter",))
    text = export(
        "pixi", environment, [conda_lock], lambda _, a: f"{channel.url}/{a.subdir}/{a.file}" if a.kind == "conda" else None
    )
    (tmp_path / "pixi.lock").write_text(text)
    read = rattler.LockFile.from_path(tmp_path / "pixi.lock").default_environment()
    assert read is not None
    (packages,) = read.pypi_packages().values()
    assert [package.location for package in packages] == ["./packages/alpha-1.0-py3-none-any.whl"]
    with pytest.raises(InvalidInput) as refused:
        export("pixi", environment, [conda_lock], lambda _, __: None)
    assert refused.value.stable_code == "export_needs_url"


def test_rattler_reads_an_explicit_list(conda_lock: Lock, channel: Channel) -> None:
    from rattler.explicit_environment import ExplicitEnvironmentSpec

    environment = an_environment(channels=(channel.url,), conda=("greeter",))
    text = export(
        "explicit", environment, [conda_lock], lambda _, a: f"{channel.url}/{a.subdir}/{a.file}" if a.kind == "conda" else None
    )
    read = ExplicitEnvironmentSpec.from_str(text)
    assert str(read.platform) == "linux-64"
    names = [package.url.rpartition("/")[2].partition("-")[0] for package in read.packages]
    assert names == ["python", "greeter", "tool"]
    assert all(package.url.partition("#")[0].startswith(channel.url) for package in read.packages)
