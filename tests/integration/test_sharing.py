"""Versions shared through a registry: one home pushes, another that knows only the registry lists, pulls and runs them."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from tests.support import registry as registries
from tests.support.cli import Cli
from tests.support.images import an_image
from tests.support.registry import DockerRegistry
from tests.support.wheels import make_sdist, make_wheel

from wardian.image.blob import put_empty
from wardian.image.layout import LayoutImageStore
from wardian.image.oci import Descriptor, Manifest
from wardian.image.shared_version import ARTIFACT, shared_versions

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.index import Index

OLD, NEW = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 6, 1, tzinfo=UTC)


@pytest.fixture
def shop(index: Index, tmp_path: Path) -> Index:
    index.add(make_wheel(tmp_path / "wheels", "alpha", "1.0", files={"alpha/__init__.py": "version = '1.0'\n"}), OLD)
    index.add(make_sdist(tmp_path / "wheels", "source", "1.0"), OLD)
    return index


@pytest.fixture(params=["registry", pytest.param("directory", marks=pytest.mark.slow)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "directory":
        yield f"oci:{tmp_path / 'shared'}"
        return
    if why := registries.why_not():
        pytest.skip(why)
    with DockerRegistry(tmp_path / "registry") as running:
        yield f"{running.host}/team/envs"


def a_home(place: Path, shop: Index) -> Cli:
    cli = Cli.at(place, index_url=shop.url)
    cli.write("requirements.txt", "# a comment\nalpha\n")
    cli.write("show.py", "import alpha\nprint(alpha.version)\n")
    return cli


def test_another_home_lists_pulls_and_runs_without_a_solve(tmp_path: Path, shop: Index, place: str) -> None:
    one, two = a_home(tmp_path / "one", shop), a_home(tmp_path / "two", shop)
    one.ok("env", "create", "team", "-r", "requirements.txt", "-V", "MODE=fast")
    one.ok("env", "label", "team:1", "stable")
    pushed = one.json("env", "push", "team", place)
    assert (pushed["new"], pushed["locks"]) == (True, ["linux/amd64"])
    assert not one.json("env", "push", "team", place)["new"]
    shop.add(make_wheel(tmp_path / "wheels", "alpha", "2.0", files={"alpha/__init__.py": "version = '2.0'\n"}), NEW)

    (listed,) = two.json("env", "list", "--registry", place)["versions"]
    assert (listed["name"], listed["version"], listed["labels"]) == ("team", "1", ["stable"])
    pulled = two.json("env", "pull", f"{place}/team:1")
    assert pulled["locks"] == listed["locks"]
    assert two.ok("run", "-e", "team@stable", "show.py").out == "1.0\n"
    assert [build["kind"] for build in two.json("build", "list", "--kind", "lock")["builds"]] == []
    here, there = two.json("env", "show", "team"), one.json("env", "show", "team")
    assert [here[key] for key in ("source", "definition", "lock")] == [there[key] for key in ("source", "definition", "lock")]
    assert here["definition"]["variables"] == {"MODE": "fast"}


def test_what_was_built_from_source_travels_with_the_lock(tmp_path: Path, shop: Index, place: str) -> None:
    one, two = a_home(tmp_path / "one", shop), a_home(tmp_path / "two", shop)
    one.write("requirements.txt", "source\n")
    one.ok("env", "create", "built", "-r", "requirements.txt")
    one.ok("env", "push", "built", place)
    shop.remove("source-1.0.tar.gz")
    two.ok("env", "pull", f"{place}/built")
    assert two.ok("run", "-e", "built", "--", "python", "-c", "import source; print('here')").out == "here\n"


def test_another_content_under_the_same_version_is_refused_on_both_ways(tmp_path: Path, shop: Index, place: str) -> None:
    one, two = a_home(tmp_path / "one", shop), a_home(tmp_path / "two", shop)
    one.ok("env", "create", "team", "-r", "requirements.txt")
    one.ok("env", "push", "team", place)
    two.write("requirements.txt", "alpha==1.0\n")
    two.ok("env", "create", "team", "-r", "requirements.txt")
    refused = two.run("env", "push", "team", place, "--json")
    assert (refused.code, "version_exists" in refused.err) == (5, True)
    refused = two.run("env", "pull", f"{place}/team:1", "--json")
    assert (refused.code, "version_exists" in refused.err) == (5, True)
    two.ok("env", "show", "team:1")


@pytest.mark.parametrize(("reference", "code"), [("nobody", 4), ("team:9", 4), ("UPPER/x", 2)])
def test_what_is_not_there_is_told(tmp_path: Path, shop: Index, place: str, reference: str, code: int) -> None:
    one = a_home(tmp_path / "one", shop)
    one.ok("env", "create", "team", "-r", "requirements.txt")
    one.ok("env", "push", "team", place)
    assert one.run("env", "pull", f"{place}/{reference}" if code == 4 else f"!!/{reference}").code == code


def test_without_a_registry_the_error_says_how_to_name_one(tmp_path: Path, shop: Index) -> None:
    one = a_home(tmp_path / "one", shop)
    one.ok("env", "create", "team", "-r", "requirements.txt")
    done = one.run("env", "push", "team")
    assert done.code == 2
    assert "WARDIAN_REGISTRY" in done.err


def test_a_configured_registry_needs_no_name(tmp_path: Path, shop: Index, place: str) -> None:
    one = a_home(tmp_path / "one", shop)
    one.variables["WARDIAN_REGISTRY"] = place
    one.ok("env", "create", "team", "-r", "requirements.txt")
    one.ok("env", "push", "team")
    assert [v["name"] for v in one.json("env", "list", "--registry", "-")["versions"]] == ["team"]
    one.ok("env", "pull", "team")


@pytest.mark.parametrize("turn", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)])
def test_of_two_pushes_at_once_one_is_refused_and_the_other_stays(tmp_path: Path, shop: Index, place: str, turn: int) -> None:
    homes = [a_home(tmp_path / name, shop) for name in ("one", "two")]
    homes[1].write("requirements.txt", "alpha==1.0\n")
    for cli in homes:
        cli.ok("env", "create", "team", "-r", "requirements.txt", "--version", f"7.{turn}")
        cli.ok("env", "lock", "team")
    running = [cli.start("env", "push", f"team:7.{turn}", place) for cli in homes]
    ended = [(*process.communicate(timeout=300), process.returncode) for process in running]
    assert sorted(code for *_, code in ended) == [0, 5], ended
    (kept,) = [cli for cli, (*_, code) in zip(homes, ended, strict=True) if code == 0]
    (listed,) = kept.json("env", "list", "--registry", place)["versions"]
    assert listed["definition_hash"] == kept.json("env", "show", "team")["definition_hash"]


def test_labels_move_with_pushes_and_pulls(tmp_path: Path, shop: Index, place: str) -> None:
    one, two = a_home(tmp_path / "one", shop), a_home(tmp_path / "two", shop)
    one.ok("env", "create", "team", "-r", "requirements.txt")
    one.ok("env", "push", "team", place)
    two.ok("env", "pull", f"{place}/team")
    one.ok("env", "label", "team:1", "stable")
    one.ok("env", "push", "team", place)
    told = two.ok("env", "pull", f"{place}/team:1").err
    assert "`stable` is team:1, as in " in told
    assert two.json("env", "show", "team@stable")["version"] == "1"
    assert "stable" not in two.ok("env", "pull", f"{place}/team:1").err

    one.write("more.txt", "alpha==1.0\n")
    one.ok("env", "create", "team", "-r", "more.txt")
    one.ok("env", "label", "team:2", "stable")
    assert "it was team:1" in one.ok("env", "push", "team:2", place).err
    lines = one.ok("env", "list", "--registry", place).out.splitlines()
    assert [line.split()[0] for line in lines if "stable" in line] == ["team:2"]
    assert "LABELS" in lines[0]
    told = two.ok("env", "pull", f"{place}/team@stable").err
    assert "it was team:1" in told
    assert two.json("env", "show", "team@stable")["version"] == "2"
    assert two.run("env", "pull", f"{place}/team@none").code == 4


def test_a_directory_that_is_not_there_is_told(tmp_path: Path, shop: Index) -> None:
    one = a_home(tmp_path / "one", shop)
    for arguments in (("list", "--registry", "oci:typo"), ("pull", "oci:typo/team")):
        done = one.run("env", *arguments, "--json")
        assert (done.code, "no_such_layout" in done.err) == (4, True), done.err
    one.ok("env", "create", "team", "-r", "requirements.txt")
    one.ok("env", "push", "team", "oci:shared")
    done = one.run("env", "pull", "oci:shared/nobody")
    assert "--registry oci:shared`" in done.err
    assert not (one.directory / "typo").exists()


def test_something_else_under_a_versions_tag_is_an_error_for_all(tmp_path: Path, shop: Index) -> None:
    one = a_home(tmp_path / "one", shop)
    one.ok("env", "create", "q", "-r", "requirements.txt")
    an_image().put(LayoutImageStore(one.directory / "shared"), "v-q-1")
    done = one.run("env", "list", "--registry", "oci:shared")
    assert (done.code, "warning: `v-q-1` in shared holds no version" in done.err) == (0, True), done.err
    for arguments in (
        ("pull", "oci:shared/q"),
        ("pull", "oci:shared/q:1"),
        ("push", "q:1", "oci:shared"),
    ):
        done = one.run("env", *arguments)
        assert (done.code, "`v-q-1` in shared holds no version" in done.err) == (1, True), done.err


@pytest.mark.parametrize(
    "source",
    [
        ["requirements", "alpha\ngamma\n"],
        ["conda", "name: team\ndependencies: [gamma]\n"],
        ["requirements", "\0{"],
        ["nonsense", ""],
    ],
)
def test_a_text_that_states_something_else_does_not_come_along(tmp_path: Path, shop: Index, source: list[str]) -> None:
    one, two = a_home(tmp_path / "one", shop), a_home(tmp_path / "two", shop)
    shared = f"oci:{tmp_path / 'shared'}"
    one.ok("env", "create", "team", "-r", "requirements.txt")
    one.ok("env", "push", "team", shared)
    store = LayoutImageStore(tmp_path / "shared")
    (version,) = shared_versions(store)
    changed = replace(version, source=(source[0], source[1]))
    blob = Descriptor.of(changed.to_json(), ARTIFACT)
    store.put(blob, lambda: io.BytesIO(changed.to_json()))
    manifest = Manifest(put_empty(store), (blob,), artifact_type=ARTIFACT)
    store.tag(manifest.to_json(), manifest.media_type, ["v-team-1"])
    pulled = two.ok("env", "pull", f"{shared}/team:1")
    assert "the text that came with team:1 does not state its definition" in pulled.err
    shown = two.json("env", "show", "team")
    assert shown["definition"] == one.json("env", "show", "team")["definition"]
    assert shown["source"]["format"] == "wardian"
    assert "gamma" not in shown["source"]["text"]
    two.ok("env", "add", "team", "beta")
    assert two.json("env", "show", "team:2")["definition"]["python"]["pip"] == ["alpha", "beta"]
