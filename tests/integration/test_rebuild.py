"""Newer packages and base images, on purpose: upgrades, rebuilds of a hash [S26], and images that are made again to be compared."""

from __future__ import annotations

import io
import json
import shutil
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from tests.support.base_images import debian_base, missing_tool, session_place, tar
from tests.support.cli import Cli
from tests.support.image_homes import image_of, solves
from tests.support.wheels import make_wheel

from wardian.digest import Digest
from wardian.image.layout import LayoutImageStore
from wardian.image.oci import LAYER, Descriptor, Manifest, read_config, read_manifest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.index import Index
    from tests.support.registry import DockerRegistry

pytestmark = pytest.mark.skipif(bool(missing_tool()), reason=missing_tool())

OLD, NEW = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 6, 1, tzinfo=UTC)
NOWHERE = "127.0.0.1:1/envs"


def release(shop: Index, place: Path, version: str, moment: datetime) -> None:
    shop.add(make_wheel(place / "wheels", "alpha", version, files={"alpha/__init__.py": f"version = '{version}'\n"}), moment)


@pytest.fixture
def shop(index: Index, tmp_path: Path) -> Index:
    release(index, tmp_path, "1.0", OLD)
    index.add(make_wheel(tmp_path / "wheels", "beta", "1.0", files={"beta/__init__.py": ""}), OLD)
    return index


@pytest.fixture
def base(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> LayoutImageStore:
    """A base image with a Python that may be pushed anew."""
    shutil.copytree(debian_base(session_place(tmp_path_factory.getbasetemp())).root, tmp_path / "bases")
    return LayoutImageStore(tmp_path / "bases")


def push_other(base: LayoutImageStore) -> Digest:
    """Give the base's tag to an image that has one layer more; return its digest."""
    found = base.find("debian")
    assert found is not None
    manifest = read_manifest(found.content, found.descriptor.media_type)
    assert isinstance(manifest, Manifest)
    layer = tar(("etc/new", b"another base"))
    with base.open(manifest.config) as stream:
        config = read_config(stream.read())
    from dataclasses import replace

    content = replace(config, diff_ids=(*config.diff_ids, Digest.of(layer))).to_json()
    for descriptor, data in (
        (Descriptor.of(layer, LAYER), layer),
        (Descriptor.of(content, manifest.config.media_type), content),
    ):
        base.put(descriptor, lambda data=data: io.BytesIO(data))  # type: ignore[misc]
    newer = Manifest(Descriptor.of(content, manifest.config.media_type), (*manifest.layers, Descriptor.of(layer, LAYER)))
    return base.tag(newer.to_json(), newer.media_type, ["debian"]).digest


@pytest.fixture
def home(tmp_path: Path, shop: Index, base: LayoutImageStore) -> Callable[..., Cli]:
    """Return what makes a home of its own, with these variables."""

    def make(name: str, **variables: str) -> Cli:
        cli = Cli.at(tmp_path / name, index_url=shop.url)
        cli.variables |= {"WARDIAN_TIMEOUT_S": "10", "WARDIAN_BASE_IMAGE": f"oci:{base.root}:debian", **variables}
        cli.write("alpha.txt", "alpha\nbeta\n")
        cli.write("show.py", "import alpha\nprint(alpha.version)\n")
        return cli

    return make


def lock_of(cli: Cli, reference: str) -> str:
    return str(cli.json("env", "lock", reference)["locks"]["linux/amd64"]["lock_digest"])


# -- rebuild -----------------------------------------------------------------------------------------------------------


def test_a_rebuild_in_one_home_changes_nothing_for_versions_that_are_there(
    home: Callable[..., Cli], shop: Index, tmp_path: Path, registry: DockerRegistry
) -> None:
    where = f"{registry.host}/envs"
    one, two = (home(name, WARDIAN_REGISTRY=where) for name in ("one", "two"))
    one.ok("env", "create", "team", "-r", "alpha.txt")
    first, image = lock_of(one, "team:1"), image_of(one, "team:1")
    release(shop, tmp_path, "2.0", NEW)
    two.ok("env", "create", "ours", "-r", "alpha.txt")
    assert lock_of(two, "ours:1") == first
    assert image_of(two, "ours:1")["digest"] == image["digest"]
    assert solves(two) == 0

    one.ok("env", "create", "same", "-r", "alpha.txt")
    refused = one.run("env", "rebuild", "team:1", "--json")
    assert refused.code == 5
    said = json.loads(refused.err.splitlines()[-1]) if refused.err.startswith("{") else refused.err
    assert "needs_yes" in str(said)
    assert "team:1" in str(said)
    assert "same:1" in str(said)
    assert lock_of(one, "team") == first

    done = one.json("env", "rebuild", "team:1", "--yes")
    assert done["versions"] == ["team:1", "same:1"]
    second = done["lock"]["lock_digest"]
    assert [move["name"] for move in done["difference"]["packages"]] == ["alpha"]
    assert (done["to"]["reference"], done["current"]["linux/amd64"]) == ("team:2", {"before": first, "after": second})
    assert second != first

    for cli, name in ((one, "team:1"), (two, "ours:1")):
        assert lock_of(cli, name) == first
        again = image_of(cli, name)
        assert (again["digest"], again["cached"]) == (image["digest"], True)
        assert cli.ok("run", "-e", name, "show.py").out == "1.0\n"
    assert one.ok("run", "-e", "team:2", "show.py").out == "2.0\n"
    one.ok("env", "create", "newcomer", "-r", "alpha.txt")
    assert lock_of(one, "newcomer") == second
    three = home("three", WARDIAN_REGISTRY=where)
    three.ok("env", "create", "newcomer", "-r", "alpha.txt")
    assert lock_of(three, "newcomer") == second
    assert solves(three) == 0


def test_another_workspace_of_the_machine_gets_the_rebuilt_lock_too(
    home: Callable[..., Cli], shop: Index, tmp_path: Path
) -> None:
    cli = home("one")
    cli.ok("env", "create", "team", "-r", "alpha.txt")
    cli.ok("env", "lock", "team")
    release(shop, tmp_path, "2.0", NEW)
    cli.ok("env", "rebuild", "team", "--yes")
    cli.ok("workspace", "create", "other")
    assert cli.ok("run", "-w", "other", "-f", "alpha.txt", "show.py").out == "2.0\n"
    assert cli.ok("run", "-e", "team:1", "show.py").out == "1.0\n"


def test_a_rebuild_that_finds_nothing_newer_adds_no_version_and_an_upgraded_lock_becomes_the_current_one(
    home: Callable[..., Cli], shop: Index, tmp_path: Path
) -> None:
    cli = home("one")
    cli.ok("env", "create", "team", "-r", "alpha.txt")
    first = lock_of(cli, "team")
    assert cli.json("env", "rebuild", "team", "--yes")["to"] is None
    release(shop, tmp_path, "2.0", NEW)
    cli.ok("env", "upgrade", "team")
    second = lock_of(cli, "team:2")
    assert second != first
    done = cli.json("env", "rebuild", "team:2", "--yes")
    assert (done["to"], done["current"]["linux/amd64"]) == (None, {"before": first, "after": second})
    assert [row["version"] for row in cli.json("env", "history", "team")["history"]] == ["2", "1"]


@pytest.mark.slow
def test_an_upgrade_of_an_old_version_that_a_newer_one_is_already_registers_no_twin(
    home: Callable[..., Cli], shop: Index, tmp_path: Path
) -> None:
    cli = home("one")
    cli.ok("env", "create", "team", "-r", "alpha.txt")
    cli.ok("env", "lock", "team")
    release(shop, tmp_path, "2.0", NEW)
    cli.ok("env", "upgrade", "team")
    again = cli.ok("env", "upgrade", "team:1")
    assert "team:2 is team:1 with these packages already: nothing is registered" in again.err
    assert "team:2  lock" in again.out
    assert cli.json("env", "rebuild", "team:1", "--yes")["to"]["reference"] == "team:2"
    release(shop, tmp_path, "3.0", NEW)
    assert cli.json("env", "upgrade", "team:1")["to"]["reference"] == "team:3"
    assert cli.json("env", "upgrade", "team:1", "alpha==2.0")["to"]["reference"] == "team:4"
    assert cli.json("env", "upgrade", "team:1", "alpha==2.0")["to"]["reference"] == "team:4"
    cli.ok("env", "archive", "team:3")
    assert cli.json("env", "upgrade", "team:1")["to"]["reference"] == "team:5"


def test_a_registry_that_is_down_stops_a_rebuild_before_anything_moves(
    home: Callable[..., Cli], shop: Index, tmp_path: Path
) -> None:
    cli = home("one")
    cli.ok("env", "create", "team", "-r", "alpha.txt")
    first = lock_of(cli, "team")
    release(shop, tmp_path, "2.0", NEW)
    done = cli.run("env", "rebuild", "team", "--yes", variables={"WARDIAN_REGISTRY": NOWHERE})
    assert done.code == 7, done.err
    cli.ok("env", "create", "same", "-r", "alpha.txt")
    assert lock_of(cli, "same") == first
    assert len(cli.json("env", "history", "team")["history"]) == 1


def test_an_anonymous_version_is_not_rebuilt(home: Callable[..., Cli]) -> None:
    cli = home("one")
    cli.ok("env", "lock", "alpha.txt")
    done = cli.run("env", "rebuild", f"@{cli.ok('env', 'hash', 'alpha.txt').out.strip()[:12]}", "--yes")
    assert done.code == 2
    assert "env create NAME --from" in done.err


# -- base images -------------------------------------------------------------------------------------------------------


def test_an_upgrade_takes_the_newer_base_image_and_shows_both(home: Callable[..., Cli], base: LayoutImageStore) -> None:
    cli = home("one")
    cli.ok("env", "create", "team", "-r", "alpha.txt")
    image, before = image_of(cli, "team:1"), cli.json("image", "show", "team:1")["base_digest"]
    assert not cli.json("env", "upgrade", "team")["to"]
    after = push_other(base)

    held = cli.json("env", "upgrade", "team", "beta", "--dry-run")
    assert [(move["before"], move["after"]) for move in held["bases"]] == [(before, before)]
    shown = cli.ok("env", "upgrade", "team", "--dry-run").out
    assert f"sha256:{before[:12]} → sha256:{after[:12]}" in shown
    done = cli.json("env", "upgrade", "team")
    assert (done["to"]["reference"], done["difference"]["packages"]) == ("team:2", [])
    (move,) = done["bases"]
    assert (move["before"], move["after"], move["platform"]) == (before, after, "linux/amd64")
    assert "a newer base image" in cli.ok("env", "history", "team").out

    push_other(base)  # what was shown is what the version got, whatever comes since
    assert cli.json("image", "show", "team:2")["base_digest"] == after
    newer = image_of(cli, "team:2")
    assert newer["digest"] != image["digest"]
    assert lock_of(cli, "team:2") == lock_of(cli, "team:1")
    assert image_of(cli, "team:1")["digest"] == image["digest"]


def test_a_version_that_is_pulled_keeps_its_image_although_the_bases_tag_has_moved(
    home: Callable[..., Cli], base: LayoutImageStore, registry: DockerRegistry
) -> None:
    where = f"{registry.host}/envs"
    one, two = (home(name, WARDIAN_REGISTRY=where) for name in ("one", "two"))
    one.ok("env", "create", "team", "-r", "alpha.txt")
    image = image_of(one, "team:1")
    one.ok("env", "push", "team:1")
    after = push_other(base)
    two.ok("env", "pull", f"{where}/team:1")
    found = image_of(two, "team:1")
    assert (found["digest"], found["origin"]) == (image["digest"], "workspace registry")
    (move,) = two.json("env", "upgrade", "team")["bases"]
    assert move["after"] == after
    assert image_of(two, "team:2")["digest"] != image["digest"]


def test_with_a_package_the_base_is_held(home: Callable[..., Cli], shop: Index, base: LayoutImageStore, tmp_path: Path) -> None:
    cli = home("one")
    cli.ok("env", "create", "team", "-r", "alpha.txt")
    image_of(cli, "team:1")
    before = cli.json("image", "show", "team:1")["base_digest"]
    push_other(base)
    release(shop, tmp_path, "2.0", NEW)
    assert cli.json("env", "upgrade", "team", "alpha")["to"]["reference"] == "team:2"
    image_of(cli, "team:2")
    assert cli.json("image", "show", "team:2")["base_digest"] == before


def test_a_version_without_an_image_is_upgraded_without_a_question_for_its_base(
    home: Callable[..., Cli], shop: Index, tmp_path: Path
) -> None:
    cli = home("one", WARDIAN_BASE_IMAGE="127.0.0.1:1/base:latest")
    cli.ok("env", "create", "team", "-r", "alpha.txt")
    cli.ok("env", "lock", "team")
    release(shop, tmp_path, "2.0", NEW)
    done = cli.json("env", "upgrade", "team")
    assert (done["to"]["reference"], done["bases"]) == ("team:2", [])


def test_a_rebuild_takes_the_newer_base_image_too(home: Callable[..., Cli], base: LayoutImageStore) -> None:
    cli = home("one")
    cli.ok("env", "create", "team", "-r", "alpha.txt")
    image_of(cli, "team:1")
    after = push_other(base)
    done = cli.json("env", "rebuild", "team", "--yes")
    assert [move["after"] for move in done["bases"]] == [after]
    assert done["to"]["reference"] == "team:2"


# -- made again --------------------------------------------------------------------------------------------------------


def test_an_image_that_is_made_again_is_the_same(home: Callable[..., Cli]) -> None:
    cli = home("one")
    cli.ok("env", "create", "team", "-r", "alpha.txt")
    image = image_of(cli, "team")
    found = cli.json("env", "verify", "team", "--rebuild")
    assert (found["same"], found["digest"], found["again_digest"]) == (True, image["digest"], image["digest"])
    assert {layer["state"] for layer in found["layers"]} == {"same"}
    assert [layer["packages"] for layer in found["layers"]][1:] == [["alpha 1.0"], ["beta 1.0"], ["environment"]]
    phases = cli.json("build", "show", "latest")["phases"]
    assert any("making 2 of 2 layers" in phase["name"] for phase in phases)
    assert not list((cli.cache / "staging").glob("verify.*"))
    assert "the same bytes" in cli.ok("env", "verify", "team", "--rebuild").out


@pytest.mark.slow
def test_a_layer_with_other_content_and_one_that_is_compressed_otherwise_are_named(home: Callable[..., Cli]) -> None:
    cli = home("one")
    cli.ok("env", "create", "team", "-r", "alpha.txt")
    image = image_of(cli, "team")
    store = LayoutImageStore(cli.cache / "images")
    found = store.find(f"sha256:{image['digest']}")
    assert found is not None
    manifest = json.loads(found.content)
    config_digest = manifest["config"]["digest"].removeprefix("sha256:")
    config = json.loads((store.root / "blobs/sha256" / config_digest).read_bytes())
    other = b"another layer"
    store.put(Descriptor.of(other, LAYER), lambda: io.BytesIO(other))
    for number, changes_diff_id in ((-3, True), (-2, False)):
        manifest["layers"][number] |= {"digest": f"sha256:{Digest.of(other)}", "size": len(other)}
        if changes_diff_id:
            config["rootfs"]["diff_ids"][number] = f"sha256:{Digest.of(other)}"
    content = json.dumps(config).encode()
    described = Descriptor.of(content, manifest["config"]["mediaType"])
    store.put(described, lambda: io.BytesIO(content))
    manifest["config"] = described.as_document()
    changed = store.tag(json.dumps(manifest).encode(), found.descriptor.media_type, [f"i-{image['image_key']}"])
    import sqlite3

    with sqlite3.connect(cli.home / "workspaces/default/workspace.db") as records:
        records.execute("UPDATE images SET manifest_digest = ?", [str(changed.digest)])
    done = cli.run("env", "verify", "team", "--rebuild", "--json")
    assert done.code == 1
    states = {layer["packages"][0]: layer["state"] for layer in done.document["layers"] if layer["packages"]}
    assert states == {"alpha 1.0": "content", "beta 1.0": "compressed", "environment": "same"}
    text = cli.run("env", "verify", "team", "--rebuild")
    assert text.code == 1
    assert "other files  alpha 1.0" in text.out
    assert "the same files, compressed otherwise  beta 1.0" in text.out


def test_a_user_managed_version_has_nothing_to_make_again(home: Callable[..., Cli]) -> None:
    cli = home("one")
    cli.ok("env", "create", "mine", "--interpreter", "/usr/bin/python3")
    done = cli.run("env", "verify", "mine", "--rebuild")
    assert done.code == 2
    assert "user-managed" in done.err
