"""What somebody lives in, imported and rebuilt in another home: the two differ by what was reported, and by nothing else."""

from __future__ import annotations

import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.cli import Cli
from tests.support.conda_channel import standard_channel
from tests.support.index import Index
from tests.support.wheels import make_sdist, make_source_tree, make_wheel, metadata_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.conda_channel import Channel


def _uv(*arguments: str | Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "uv", *map(str, arguments)], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr


def _site(prefix: Path) -> Path:
    return next(prefix.glob("lib/python*/site-packages"))


def _installed(prefix: Path) -> dict[str, Any]:
    """What Python itself finds in the environment: name → version, what it needs, and its modules with their digests."""
    return {
        re.sub(r"[-_.]+", "-", one.metadata["Name"]).lower(): (
            one.version,
            one.requires,
            {
                str(file): file.hash and file.hash.value
                for file in one.files or ()
                if not re.search(r"info/|__pycache__", str(file))
            },
        )
        for one in importlib.metadata.distributions(path=[str(_site(prefix))])
    }


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Index]:
    """An index that only the machine of then could reach."""
    with Index(tmp_path / "elsewhere") as running:
        yield running


@pytest.fixture
def venv(index: Index, elsewhere: Index, tmp_path: Path) -> Path:
    """An environment with a history: wheels, source archives, extras, trees, URLs, and things that nobody serves."""
    made = tmp_path / "made"
    extra = {"Provides-Extra": ["fast", "never"]}
    index.add(make_wheel(made, "alpha", "1.0", requires=["beta>=1", "speed; extra == 'fast'", "absent; extra == 'never'"], extra_metadata=extra))  # fmt: skip
    for version in ("1.5", "2.0"):
        index.add(make_wheel(made, "beta", version))
    index.add(make_wheel(made, "speed", "0.9"))
    index.add(make_wheel(made, "pip", "24.0"))
    index.add(make_sdist(made, "From-Source", "0.3", requires=["beta"]))
    elsewhere.add(make_wheel(made, "nowhere", "1.2", requires=["beta"]))
    far = index.add(make_wheel(made, "far", "3.0"))
    far_source = index.add(make_sdist(made, "far-source", "3.1"))
    near = make_wheel(made, "near", "4.0")
    editable = make_source_tree(tmp_path / "editable", "editable", "0.1", requires=["beta"])
    with (editable / "tiny_backend.py").open("a") as backend:
        backend.write("\n\nbuild_editable = build_wheel\n")
    place = tmp_path / "venv"
    _uv("venv", "--quiet", "--python", sys.executable, place)
    install = ("pip", "install", "--quiet", "--no-cache", "--python", place)
    what = ["pip", "alpha[fast]", "beta<2", "from-source", f"far @ {index.file_url(far.name)}", f"far-source @ {index.file_url(far_source.name)}"]  # fmt: skip
    _uv(*install, "--default-index", index.url, *what, near, "-e", editable)
    _uv(*install, "--default-index", elsewhere.url, "--no-deps", "nowhere")
    site = _site(place)
    (site / "speed-0.9.dist-info/REQUESTED").unlink()  # uv marks what came along, too; pip does not
    by_hand = site / "by_hand-0.7.egg-info"  # as `python setup.py install` leaves it
    by_hand.mkdir()
    (by_hand / "PKG-INFO").write_text(metadata_text("by-hand", "0.7"))
    (site / "by_hand.py").write_text("")
    (site / "older-0.1.egg-info").write_text(metadata_text("older", "0.1"))  # as distutils left it
    unrecorded = site / "unrecorded-2.2.dist-info"
    unrecorded.mkdir()
    (unrecorded / "METADATA").write_text(metadata_text("unrecorded", "2.2"))
    return place


def _left_out(document: Any) -> set[str]:
    """The packages that the ledger of losses says are left out."""
    assert {loss["kind"] for loss in document["losses"]} <= {"dropped"}
    return {loss["why"].split(" ")[0] for loss in document["losses"]}


def _assert_differs_by(prefix: Path, rebuilt: Path, left_out: set[str]) -> None:
    """The two differ by what was left out, and in nothing else."""
    before, after = _installed(prefix), _installed(rebuilt)
    assert before.keys() - after.keys() == left_out
    assert after == {name: version for name, version in before.items() if name not in left_out}


def _prefix(cli: Cli) -> Path:
    return Path(cli.json("env", "build", "mine")["python"]).parent.parent


@pytest.mark.parametrize("exact", [True, False])
def test_a_virtual_environment(exact: bool, venv: Path, index: Index, tmp_path: Path) -> None:
    cli = Cli.at(tmp_path / "another", index_url=index.url)
    document = cli.json("env", "create", "mine", "--here", str(venv), *(["--exact"] if exact else []))
    gone = {"by-hand", "nowhere", "older", "unrecorded"}
    assert _left_out(document) == (gone if exact else gone | {"pip"})
    definition = cli.ok("env", "export", "mine", "--to", "source").out
    assert ("alpha[fast]==1.0" in definition, "speed" in definition) == ((False, True) if exact else (True, False))
    shutil.rmtree(tmp_path / "editable")  # what was taken over is kept
    _assert_differs_by(venv, _prefix(cli), _left_out(document))


def test_each_package_that_no_index_serves_is_told(venv: Path, index: Index, tmp_path: Path) -> None:
    cli = Cli.at(tmp_path / "another", index_url=index.url)
    said = cli.ok("env", "create", "mine", "--here", str(venv), "--exact").err
    for name in ("editable 0.1", "far 3.0", "far-source 3.1", "near 4.0"):
        assert f"{name}: no index serves it; it is from" in said
    for name in ("by-hand 0.7", "nowhere 1.2", "older 0.1", "unrecorded 2.2"):
        assert f"{name} is left out: no index serves it" in said
    for name in ("alpha", "beta", "from-source", "speed", "pip"):
        assert f"{name} " not in said


def test_what_another_index_serves_is_taken_with_it(venv: Path, elsewhere: Index, index: Index, tmp_path: Path) -> None:
    for path in index.directory.iterdir():
        elsewhere.add(path)
    cli = Cli.at(tmp_path / "another", index_url=elsewhere.url)
    document = cli.json("env", "create", "mine", "--here", str(venv), "--exact")
    assert _left_out(document) == {"by-hand", "older", "unrecorded"}
    _assert_differs_by(venv, _prefix(cli), _left_out(document))


@pytest.mark.parametrize("offline", [True, False])
def test_where_no_index_can_be_asked_nothing_is_left_out_for_that(offline: bool, venv: Path, tmp_path: Path) -> None:
    cli = Cli.at(tmp_path / "another", index_url="http://127.0.0.1:9/simple")
    cli.variables["WARDIAN_OFFLINE"] = "1" if offline else "0"
    done = cli.ok("env", "create", "mine", "--here", str(venv), "--exact")
    assert ("whether an index serves what is installed is not known" in done.err) is not offline
    assert "left out" not in done.err
    assert "nowhere==1.2" in cli.ok("env", "export", "mine", "--to", "source").out


@pytest.fixture(scope="session")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Channel:
    return standard_channel(tmp_path_factory.mktemp("channel"))


@pytest.fixture
def served(channel: Channel) -> Iterator[str]:
    with channel.serve() as server:
        yield server.url


def _conda(place: Path, index: Index, served: str) -> Cli:
    return Cli.at(place, index_url=index.url, config=f'lock_platforms = ["linux/amd64"]\n[channels]\nteam = "{served}"\n')


@pytest.fixture
def conda(index: Index, elsewhere: Index, served: str, tmp_path: Path) -> Path:
    """A conda environment as conda leaves it, with a history, and with pip's packages beside conda's."""
    made = tmp_path / "made"
    index.add(make_wheel(made, "alpha", "1.0", requires=["greeter"]))
    elsewhere.add(make_wheel(made, "nowhere", "1.2"))
    near = make_wheel(made, "near", "4.0")
    cli = _conda(tmp_path / "first", index, served)
    cli.write("environment.yml", "channels: [team]\ndependencies: [python, greeter, numlib, hello]\n")
    cli.ok("env", "create", "mine", "-f", "environment.yml")
    place = tmp_path / "conda"
    shutil.copytree(_prefix(cli), place, symlinks=True)
    for path in (place, *place.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | 0o200)
    install = ("pip", "install", "--quiet", "--no-cache", "--break-system-packages", "--python", place / "bin/python")
    _uv(*install, "--default-index", index.url, "alpha", near)
    _uv(*install, "--default-index", elsewhere.url, "nowhere")
    for path in (place / "conda-meta").glob("*.json"):
        record = json.loads(path.read_text())
        path.write_text(json.dumps({**record, "channel": f"{served}/{record['subdir']}"}))
    built = {
        "name": "built-here",
        "version": "1.0",
        "build": "0",
        "channel": "file:///home/ada/conda-bld/linux-64",
        "depends": [],
    }
    (place / "conda-meta/built-here-1.0-0.json").write_text(json.dumps(built))
    (place / "conda-meta/history").write_text(
        "==> 2024-01-01 00:00:00 <==\n# cmd: conda create -p conda python greeter modern\n# create specs: ['python', 'greeter', 'modern', 'built-here']\n"
        "==> 2024-02-01 00:00:00 <==\n# update specs: ['numlib[version=\\'>=1.2\\']']\n# remove specs: ['modern']\n"
    )
    return place


def _conda_packages(prefix: Path) -> dict[str, str]:
    records = (json.loads(path.read_text()) for path in (prefix / "conda-meta").glob("*.json"))
    return {record["name"]: f"{record['version']}={record['build']}" for record in records}


@pytest.mark.parametrize("exact", [True, False])
def test_a_conda_environment(exact: bool, conda: Path, index: Index, served: str, tmp_path: Path) -> None:
    cli = _conda(tmp_path / "another", index, served)
    document = cli.json("env", "create", "mine", "--here", str(conda), *(["--exact"] if exact else []))
    left_out = (
        {"nowhere", "built-here"} if exact else {"nowhere", "built-here", "hello"}
    )  # conda's history knows nothing of `hello`
    assert _left_out(document) == left_out
    definition = cli.ok("env", "export", "mine", "--to", "source").out
    assert ("corelib=2.1=0" in definition, "numlib[version='>=1.2']" in definition) == (exact, not exact)
    rebuilt = _prefix(cli)
    before, after = _conda_packages(conda), _conda_packages(rebuilt)
    assert after == {name: version for name, version in before.items() if name not in left_out}
    _assert_differs_by(conda, rebuilt, {"nowhere"})
