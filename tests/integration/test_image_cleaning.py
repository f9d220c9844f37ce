"""`wardian gc` and images: what versions have stays whatever its digest; layers, orphans, interpreters and leftovers go."""

from __future__ import annotations

import os
import signal
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.base_images import debian_base, missing_tool, session_place
from tests.support.image_homes import PAUSE, a_home, image_of
from tests.support.jobs import wait_until
from tests.support.wheels import make_wheel

from wardian.image.layout import LayoutImageStore

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.cli import Cli
    from tests.support.index import Index

pytestmark = pytest.mark.skipif(bool(missing_tool()), reason=missing_tool())

OLD = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"oci:{debian_base(session_place(tmp_path_factory.getbasetemp())).root}:debian"


@pytest.fixture
def cli(tmp_path: Path, index: Index, base: str) -> Cli:
    for name in ("alpha", "beta"):
        index.add(make_wheel(tmp_path / "wheels", name, "1.0", files={f"{name}/__init__.py": f"name = '{name}'\n"}), OLD)
    found = a_home(tmp_path / "one", index, base)
    found.write("two.txt", "alpha\nbeta\n")
    found.write("one.txt", "alpha\n")
    return found


def gc(cli: Cli, *arguments: str) -> dict[str, list[dict[str, Any]]]:
    """Return what went, or would go, by kind."""
    found: dict[str, list[dict[str, Any]]] = {}
    for item in cli.json("gc", *arguments)["items"]:
        found.setdefault(item["kind"], []).append(item)
    return found


def whole(cli: Cli, digest: str, place: Path) -> bool:
    """Read every blob of an image against its digest."""
    done = cli.run("image", "copy", f"oci:{cli.cache / 'images'}@sha256:{digest}", f"oci:{place}:copy")
    return done.code == 0


def test_images_of_versions_survive_and_the_rest_goes(cli: Cli, tmp_path: Path) -> None:
    kept = image_of(cli, "two.txt")
    cli.ok("workspace", "create", "other")
    elsewhere = cli.json("env", "build", "one.txt", "--image", "-w", "other")["images"][0]
    assert not {"image", "layer"} & gc(cli, "--all").keys()  # of another workspace of this home: it stays too

    gone = gc(cli, "--all", "--apply")
    assert {"python", "package"} <= gone.keys()
    assert not list((cli.cache / "base-pythons").glob("*/python.json"))
    for number, image in enumerate((kept, elsewhere)):
        assert whole(cli, image["digest"], tmp_path / f"copy-{number}")
    assert image_of(cli, "two.txt")["cached"]

    cli.ok("workspace", "delete", "other", "--yes")
    gone = gc(cli, "--all", "--apply")
    assert [item["name"] for item in gone["image"]] == [f"i-{elsewhere['image_key']}"]
    assert LayoutImageStore(cli.cache / "images").tags() == [f"i-{kept['image_key']}"]
    assert whole(cli, kept["digest"], tmp_path / "copy-after")
    again = image_of(cli, "one.txt")  # what is made anew has the same bytes
    assert (again["digest"], again["cached"]) == (elsewhere["digest"], False)


def test_layers_that_only_save_time_go_by_last_use(cli: Cli, tmp_path: Path) -> None:
    cli.variables["WARDIAN_REGISTRY"] = f"oci:{tmp_path / 'registry'}"
    image = image_of(cli, "two.txt")
    notes = cli.cache / "images/.wardian/notes"
    shown = cli.json("image", "show", f"oci:{image['reference']}")
    oldest = shown["layers"][1]["digest"]
    os.utime(notes / oldest, (1_000_000_000, 1_000_000_000))
    plan = gc(cli, "--all")
    assert plan["layer"][0]["name"] == oldest
    assert len(gc(cli, "--all", "--apply")["layer"]) == 3
    assert list((cli.cache / "layers").glob("*.json")) == []
    cli.write("again.txt", "beta\nalpha\n")
    assert image_of(cli, "again.txt")["digest"] == image["digest"]


def test_nothing_goes_that_a_build_under_way_needs(cli: Cli, tmp_path: Path) -> None:
    cli.variables["WARDIAN_REGISTRY"] = f"oci:{tmp_path / 'registry'}"
    image_of(cli, "one.txt")
    cli.ok("env", "lock", "two.txt")
    stopped = tmp_path / "stopped"
    pause = {"PYTHONPATH": str(PAUSE), "WARDIAN_TEST_PAUSE": f"open|/layers/incoming/|{stopped}"}
    building = cli.start("env", "build", "two.txt", "--image", env={**cli.environ, **pause})
    try:
        wait_until(stopped.exists, timeout_s=120)
        gone = cli.json("gc", "--all", "--apply")
        assert gone["installing"]
        assert not {"package", "layer", "image", "python", "tool"} & {item["kind"] for item in gone["items"]}
    finally:
        os.kill(int(stopped.read_text()), signal.SIGKILL)
        building.communicate()
    assert not cli.json("gc")["installing"]  # the lock goes with the process
    gone = gc(cli, "--all", "--apply")
    assert {"layer", "package", "python"} <= gone.keys()
    assert image_of(cli, "two.txt")["origin"] == "built"


def test_what_killed_builds_left_goes(cli: Cli) -> None:
    image_of(cli, "one.txt")
    left = cli.cache / "staging" / "4711-1"
    (left / "deep").mkdir(parents=True)
    (left / "deep" / "file").write_bytes(b"x" * 100_000)
    left.with_name("4711-1.lock").touch()
    flight = cli.cache / "flights" / "i-0.lock"
    flight.touch()
    flight.with_suffix(".failed").write_text("{}")
    os.utime(flight, (1_000_000_000, 1_000_000_000))
    gone = gc(cli, "--apply")
    assert [item["name"] for item in gone["staging"]] == ["4711-1"]
    assert [item["name"] for item in gone["flight"]] == ["i-0"]
    assert not left.exists()
    assert not flight.with_suffix(".failed").exists()
