"""`pixi.lock` as input: conda packages and those from an index are installed as they are listed; no channel is asked for its list."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.cli import Cli
from tests.support.conda_channel import Channel, Package, everywhere, foreign_python, greeter, python_package
from tests.support.wheels import make_wheel

from wardian.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.index import Index
    from tests.support.server import DirectoryServer


@dataclass
class Workspace:
    """A pixi workspace with a lock file, and the servers that its packages are on."""

    cli: Cli
    index: Index
    server: DirectoryServer
    channel: Channel
    packages: list[Package]
    wheels: dict[str, Path]

    def lock(self, *, gpu: bool = False) -> str:
        """Return a pixi.lock of version 6, as pixi writes one: what a URL tells is not told again."""
        lines = ["version: 6", "environments:"]
        for name in ("default", *(("gpu",) if gpu else ())):
            lines += [
                f"  {name}:",
                "    channels:",
                f"    - url: {self.server.url}/",
                "    indexes:",
                f"    - {self.index.url}",
                "    packages:",
            ]
            for subdir in ("linux-64", "osx-arm64"):
                lines.append(f"      {subdir}:")
                lines += [f"      - conda: {self._url(one)}" for one in self._on(subdir, name)]
                lines += [f"      - pypi: {self.index.file_url(wheel.name)}" for wheel in self.wheels.values()]
        lines.append("packages:")
        for one in self.packages:
            content = one.archive
            lines += [f"- conda: {self._url(one)}", f"  sha256: {Digest.of(content)}", f"  md5: {'0' * 32}"]
            if one.depends:
                lines += ["  depends:", *(f"  - {text}" for text in one.depends)]
            if one.site_packages_path:
                lines.append(f"  python_site_packages_path: {one.site_packages_path}")
            stamp = int(one.published.timestamp() * 1000) if one.published else 0
            lines += [f"  license: {one.license}", f"  size: {len(content)}", f"  timestamp: {stamp}"]
        for name, wheel in self.wheels.items():
            lines += [
                f"- pypi: {self.index.file_url(wheel.name)}",
                f"  name: {name}",
                "  version: '1.0'",
                f"  sha256: {Digest.of_file(wheel)}",
            ]
            lines += ["  requires_dist:", "  - greeter", "  requires_python: '>=3.9'"]
        return "\n".join(lines) + "\n"

    def _on(self, subdir: str, environment: str) -> list[Package]:
        return [
            one for one in self.packages if one.subdir in (subdir, "noarch") and (environment == "gpu" or one.name != "numlib")
        ]

    def _url(self, package: Package) -> str:
        return f"{self.server.url}/{package.subdir}/{package.file_name}"


@pytest.fixture
def workspace(tmp_path: Path, index: Index) -> Iterator[Workspace]:
    channel = Channel(tmp_path / "channel")
    numlib = everywhere("numlib", "1.2.0", subdirs=("linux-64", "osx-arm64"))
    packages = [python_package(), foreign_python("osx-arm64"), greeter(), *numlib]
    channel.publish(*packages, greeter("2.0"))
    alpha = index.add(
        make_wheel(tmp_path / "made", "alpha", "1.0", requires=["greeter"], files={"alpha/__init__.py": "import greeter\n"})
    )
    index.add(make_wheel(tmp_path / "made", "alpha", "2.0"))
    with channel.serve() as server:
        cli = Cli.at(tmp_path / "one", index_url=index.url, config=f'[channels]\nlocal = "{server.url}"')
        yield Workspace(cli, index, server, channel, packages, {"alpha": alpha})


def _locks(cli: Cli, *words: str) -> dict[str, Any]:
    platforms = ("--platform", "linux/amd64", "--platform", "darwin/arm64")
    found: dict[str, Any] = cli.json("env", "lock", *words, *platforms)["locks"]
    return found


def test_what_is_listed_is_what_runs(workspace: Workspace) -> None:
    cli = workspace.cli
    cli.write("pixi.lock", workspace.lock())
    cli.ok("env", "create", "both", "-f", "pixi.lock")
    (cli.directory / "pixi.lock").unlink()
    workspace.server.requests.clear()
    locks = _locks(cli, "both")
    assert [request.path for request in workspace.server.requests] == []  # no repodata, no archive
    for platform, subdir in (("linux/amd64", "linux-64"), ("darwin/arm64", "osx-arm64")):
        found = {one["name"]: one for one in locks[platform]["packages"]}
        assert set(found) == {"python", "greeter", "alpha"}
        expected = {one.name: Digest.of(one.archive) for one in workspace.packages if one.subdir in (subdir, "noarch")}
        assert all(
            found[name]["sha256"] == expected[name] and found[name]["source"] == "channel:local"
            for name in ("python", "greeter")
        )
        assert (found["alpha"]["version"], found["alpha"]["source"]) == ("1.0", "index:pypi")
    cli.write("a.py", "import alpha, greeter, sys\nprint(greeter.VERSION, greeter.__file__.startswith(sys.prefix))\n")
    assert cli.ok("run", "-e", "both", "a.py").out == "1.0 True\n"


def test_the_manifest_beside_says_what_is_asked_for(workspace: Workspace) -> None:
    cli = workspace.cli
    cli.write("pixi.lock", workspace.lock(gpu=True))
    cli.write(
        "pixi.toml",
        f"""\
[workspace]
name = "thesis"
channels = ["{workspace.server.url}"]
platforms = ["linux-64", "osx-arm64"]
[dependencies]
greeter = "1.*"
[pypi-dependencies]
alpha = "*"
[activation.env]
MODE = "fast"
[tasks]
train = "python train.py"
[feature.gpu.dependencies]
numlib = ">=1"
[environments]
gpu = ["gpu"]
""",
    )
    done = cli.ok("env", "create", "gpu", "-f", "pixi.lock", "--environment", "gpu")
    for told in (
        "pixi.toml:11 tasks: Wardian has no tasks",
        "environments: this is `gpu`; the others are left out: default",
        "pixi.toml:4 workspace.platforms",
    ):
        assert told in done.err
    assert {"numlib", "greeter", "alpha"} <= {one["name"] for one in _locks(cli, "gpu")["linux/amd64"]["packages"]}
    cli.write("a.py", "import os\nprint(os.environ['MODE'])\n")
    assert cli.ok("run", "-e", "gpu", "a.py").out == "fast\n"
    cli.ok("env", "create", "plain", "-f", "pixi.lock")
    assert "numlib" not in {one["name"] for one in _locks(cli, "plain")["linux/amd64"]["packages"]}
    cli.write("pixi.toml", (cli.directory / "pixi.toml").read_text().replace('"1.*"', '"2.*"'))
    cli.ok("env", "create", "stale", "-f", "pixi.lock")
    refused = cli.run("env", "lock", "stale")
    assert (refused.code, "is not in the lock file of this environment: it has greeter 1.0" in refused.err) == (1, True), (
        refused.err
    )
    assert "no environment `tpu`" in cli.run("env", "create", "x", "-f", "pixi.lock", "--environment", "tpu").err


def test_a_changed_archive_is_refused(workspace: Workspace) -> None:
    cli = workspace.cli
    cli.write("pixi.lock", workspace.lock())
    cli.ok("env", "create", "both", "-f", "pixi.lock")
    _locks(cli, "both")
    changed = Package(
        "greeter", "1.0", "pyh0_0", subdir="noarch", noarch="python", files={"site-packages/greeter/__init__.py": "evil = 1\n"}
    )
    workspace.channel.archive_path(greeter()).write_bytes(changed.archive)
    refused = cli.run("env", "build", "both")
    assert refused.code != 0
    assert "greeter-1.0-pyh0_0.conda" in refused.err
    text = workspace.lock() + "# another\n"
    workspace.index.add(make_wheel(workspace.cli.home / "other", "alpha", "1.0", files={"alpha/__init__.py": "evil = 1\n"}))
    cli.write("pixi.lock", text)
    cli.ok("env", "create", "again", "-f", "pixi.lock")
    assert "alpha-1.0-py3-none-any.whl has the sha256" in cli.run("env", "lock", "again").err


def test_conda_packages_alone(workspace: Workspace) -> None:
    cli = workspace.cli
    workspace.wheels.clear()
    cli.write("pixi.lock", workspace.lock())
    cli.write("a.py", "import greeter\nprint(greeter.VERSION)\n")
    assert cli.ok("run", "-f", "pixi.lock", "a.py").out == "1.0\n"


def test_of_several_indexes_the_one_that_has_the_very_file_is_taken(workspace: Workspace, tmp_path: Path) -> None:
    from tests.support.index import Index

    cli = workspace.cli
    with Index(tmp_path / "second") as second:
        second.add(make_wheel(tmp_path / "there", "alpha", "1.0", files={"alpha/__init__.py": "other = 1\n"}))
        beta = second.add(make_wheel(tmp_path / "there", "beta", "1.0"))
        workspace.wheels["beta"] = beta
        text = workspace.lock().replace("    indexes:\n", f"    indexes:\n    - {second.url}\n")
        cli.write("pixi.lock", text.replace(workspace.index.file_url(beta.name), second.file_url(beta.name)))
        cli.ok("env", "create", "both", "-f", "pixi.lock")
        found = {one["name"]: one for one in _locks(cli, "both")["linux/amd64"]["packages"]}
        assert (found["alpha"]["source"], found["beta"]["source"]) == ("index:pypi", "index:#0")
        cli.write("a.py", "import alpha, beta\nprint(hasattr(alpha, 'other'), beta.__version__)\n")
        assert cli.ok("run", "-e", "both", "a.py").out == "False 1.0\n"


def test_a_platform_that_is_not_locked_and_packages_that_are_not(workspace: Workspace) -> None:
    cli = workspace.cli
    cli.write("pixi.lock", workspace.lock())
    cli.ok("env", "create", "both", "-f", "pixi.lock")
    refused = cli.run("env", "lock", "both", "--platform", "linux/arm64")
    assert "the lock file is not for linux/arm64" in refused.err
    assert "those of a lock file" in cli.run("env", "add", "both", "numlib").err
    assert "those of a lock file" in cli.run("env", "remove", "both", "greeter").err
    assert "has the versions of a lock file" in cli.run("env", "lock", "both", "--as-of", "2024-01-01").err


def test_what_is_exported_comes_back_as_it_was(workspace: Workspace, tmp_path: Path) -> None:
    first = workspace.cli
    first.write("environment.yml", "channels: [local]\ndependencies: [python, greeter=1.0, numlib, {pip: [alpha==1.0]}]\n")
    first.ok("env", "create", "made", "-f", "environment.yml")
    solved = _locks(first, "made")
    text = first.ok("env", "export", "made", "--to", "pixi").out
    other = Cli.at(tmp_path / "two", index_url=workspace.index.url, config=f'[channels]\nlocal = "{workspace.server.url}"')
    other.write("pixi.lock", text)
    other.ok("env", "create", "again", "-f", "pixi.lock")
    assert {name: one["lock_digest"] for name, one in _locks(other, "again").items()} == {
        name: one["lock_digest"] for name, one in solved.items()
    }
    assert other.ok("env", "export", "again", "--to", "pixi").out == text
    definition = json.loads(other.ok("env", "show", "again", "--json").out)["definition"]["python"]
    assert (definition["channels"], definition["conda"], definition["pip"]) == (
        [workspace.server.url], ["greeter==1.0", "numlib==1.2.0", f"python=={python_package().version}"], ["alpha==1.0"],
    )  # fmt: skip
