"""A run is exported, everything it came from is deleted, and the file runs again: same packages, same bytes, same output."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from tests.support.cli import Cli
from tests.support.conda_channel import Channel, standard_channel
from tests.support.wheels import make_sdist, make_source_tree, make_wheel

from wardian.tools.disk import make_writable

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.index import Index

OLD = datetime(2024, 1, 1, tzinfo=UTC)

INVENTORY = """
import hashlib, importlib.metadata as metadata, json, os, pathlib
found = {}
for d in metadata.distributions():
    if d.files is None: continue
    for f in d.files:
        p = pathlib.Path(d.locate_file(f))
        if p.suffix == ".py": found[str(f)] = hashlib.sha256(p.read_bytes()).hexdigest()
packages = sorted((d.metadata["Name"], d.version) for d in metadata.distributions())
print(json.dumps({"packages": packages, "files": found, "seed": os.environ.get("SEED"), "data": open(os.environ["WARDIAN_INPUT_DATA"]).read()}, sort_keys=True))
"""


def wipe(place: Path) -> None:
    make_writable(place)
    shutil.rmtree(place)


@pytest.fixture
def cli(tmp_path: Path, index: Index) -> Cli:
    place = tmp_path / "wheels"
    place.mkdir()
    index.add(make_wheel(place, "alpha", "1.0", requires=["built"], files={"alpha/__init__.py": "version = '1.0'\n"}), OLD)
    index.add(make_sdist(place, "built", "1.0", body="version = 'built'\n"), OLD)
    found = Cli.at(tmp_path / "one", index_url=index.url)
    make_source_tree(found.directory / "mine", "mine", "0.1", body="version = 'mine'\n")
    found.write("requirements.txt", "alpha\n./mine\n")
    found.write("inventory.py", INVENTORY)
    found.write("data.csv", "1,2,3\n")
    return found


def test_from_the_file_alone(cli: Cli, index: Index, tmp_path: Path) -> None:
    first = cli.ok("run", "-r", "requirements.txt", "-V", "SEED=7", "--input", "data=data.csv", "inventory.py").out
    run_id = cli.json("runs", "list")["runs"][0]["id"]
    exported = tmp_path / "away" / "run.wardian"
    exported.parent.mkdir()
    cli.ok("runs", "export", run_id, "-o", str(exported), "--packages")
    index.stop()
    for place in (cli.home, cli.cache, cli.directory):
        wipe(place)
    elsewhere = Cli.at(tmp_path / "two")
    again = elsewhere.ok("runs", "reproduce", str(exported))
    assert json.loads(again.out) == json.loads(first)
    assert {"alpha", "built", "mine"} <= {name for name, _ in json.loads(first)["packages"]}
    record = elsewhere.json("runs", "show", "latest")
    assert record["state"] == "completed"
    assert record["configuration"]["variables"]["SEED"] == "7"


def test_by_its_id_after_the_source_has_changed(cli: Cli, index: Index) -> None:
    first = cli.ok("run", "-r", "requirements.txt", "--input", "data=data.csv", "inventory.py").out
    run_id = cli.json("runs", "list")["runs"][0]["id"]
    cli.write("inventory.py", "print('changed')\n")
    index.stop()
    assert cli.ok("runs", "reproduce", run_id).out == first


def test_a_run_file_that_was_tampered_with_is_refused(cli: Cli, tmp_path: Path) -> None:
    cli.ok("run", "-r", "requirements.txt", "--input", "data=data.csv", "inventory.py")
    exported = tmp_path / "run.wardian"
    cli.ok("runs", "export", "latest", "-o", str(exported), "--packages")
    content = exported.read_bytes()
    exported.write_bytes(content.replace(b"print(json.dumps", b"print(json.dumpz"))
    done = cli.run("runs", "reproduce", str(exported))
    assert done.code != 0
    assert "inventory.py" in done.err
    exported.write_bytes(content[: len(content) // 2])
    done = cli.run("runs", "reproduce", str(exported))
    assert done.code != 0
    assert "Traceback" not in done.err
    assert "a bug" not in done.err


def test_a_conda_run_from_the_file_alone(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    channel: Channel = standard_channel(tmp_path_factory.mktemp("channel"))
    cli = Cli.at(tmp_path / "one", config=f'[channels]\nlocal = "{channel.url}"\n')
    cli.write("environment.yml", "name: tools\nchannels: [local]\ndependencies:\n  - python\n  - greeter\n")
    cli.write("hello.py", "import greeter\nprint(greeter.VERSION)\n")
    assert cli.ok("run", "-f", "environment.yml", "hello.py").out == "1.0\n"
    exported = tmp_path / "run.wardian"
    cli.ok("runs", "export", "latest", "-o", str(exported), "--packages")
    wipe(channel.directory)
    wipe(cli.home)
    wipe(cli.cache)
    assert Cli.at(tmp_path / "two").ok("runs", "reproduce", str(exported)).out == "1.0\n"
