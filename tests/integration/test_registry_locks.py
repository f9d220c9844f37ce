"""One lock for all who have a registry in common: found there before anything is solved, offered there when it is solved."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.cli import Cli
from tests.support.fake_registry import FakeRegistry
from tests.support.image_homes import solves
from tests.support.wheels import make_sdist, make_wheel

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.index import Index
    from tests.support.registry import DockerRegistry

OLD, NEW = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 6, 1, tzinfo=UTC)
NOWHERE = "127.0.0.1:1/envs"


def release(shop: Index, place: Path, version: str, moment: datetime) -> None:
    shop.add(make_wheel(place / "wheels", "alpha", version, files={"alpha/__init__.py": f"version = '{version}'\n"}), moment)


@pytest.fixture
def shop(index: Index, tmp_path: Path) -> Index:
    release(index, tmp_path, "1.0", OLD)
    index.add(make_sdist(tmp_path / "wheels", "source", "1.0"), OLD)
    return index


@pytest.fixture
def home(tmp_path: Path, shop: Index) -> Callable[..., Cli]:
    """Return what makes a home of its own, with these variables."""

    def make(name: str, **variables: str) -> Cli:
        cli = Cli.at(tmp_path / name, index_url=shop.url)
        cli.variables |= {"WARDIAN_TIMEOUT_S": "5", **variables}
        cli.write("alpha.txt", "alpha\n")
        cli.write("show.py", "import alpha\nprint(alpha.version)\n")
        return cli

    return make


def runs_with(cli: Cli, file: str = "alpha.txt") -> tuple[str, dict[str, Any]]:
    """Run the example; return what it printed, and what the record says of its environment."""
    out = cli.ok("run", "-f", file, "show.py").out.strip()
    return out, dict(cli.json("runs", "show", "latest")["results"]["environment"])


def asked(shop: Index) -> list[str]:
    """Return the pages of the index that were asked for; files are no question."""
    return [one.path for one in shop.requests if "/simple" in one.path]


@pytest.mark.parametrize("place", ["registry", "directory"])
def test_the_second_home_solves_nothing_although_there_is_a_newer_release(
    home: Callable[..., Cli], shop: Index, tmp_path: Path, request: pytest.FixtureRequest, place: str
) -> None:
    where = f"oci:{tmp_path / 'shared'}" if place == "directory" else f"{request.getfixturevalue('registry').host}/envs"
    one, two = (home(name, WARDIAN_REGISTRY=where) for name in ("one", "two"))
    first, ours = runs_with(one)
    assert (first, ours["lock_origin"], solves(one)) == ("1.0", "solved", 1)
    release(shop, tmp_path, "2.0", NEW)
    shop.forget_requests()
    second, theirs = runs_with(two)
    assert (second, theirs["lock_origin"], theirs["lock_digest"]) == ("1.0", "workspace registry", ours["lock_digest"])
    assert solves(two) == 0
    assert not [path for path in asked(shop) if "alpha" not in path]
    alone, lock = runs_with(home("three"))
    assert (alone, lock["lock_origin"]) == ("2.0", "solved")


def test_a_lock_is_found_in_each_registry_and_the_workspaces_goes_first(
    home: Callable[..., Cli], shop: Index, tmp_path: Path, registry: DockerRegistry
) -> None:
    ours, everybodys = f"{registry.host}/team", f"{registry.host}/all"
    runs_with(home("all", WARDIAN_REGISTRY=everybodys))
    release(shop, tmp_path, "2.0", NEW)
    found, record = runs_with(home("two", WARDIAN_REGISTRY=ours, WARDIAN_GLOBAL_REGISTRY=everybodys))
    assert (found, record["lock_origin"]) == ("1.0", "global registry")
    runs_with(home("team", WARDIAN_REGISTRY=ours))
    found, record = runs_with(home("three", WARDIAN_REGISTRY=ours, WARDIAN_GLOBAL_REGISTRY=everybodys))
    assert (found, record["lock_origin"]) == ("2.0", "workspace registry")
    assert not [line for line in registry.requests() if line.startswith("PUT /v2/all") and "2.0" in line]


def test_what_is_in_neither_is_solved_and_offered_to_the_workspaces_alone(
    home: Callable[..., Cli], registry: DockerRegistry
) -> None:
    one = home("one", WARDIAN_REGISTRY=f"{registry.host}/team", WARDIAN_GLOBAL_REGISTRY=f"{registry.host}/all")
    _, record = runs_with(one)
    assert record["lock_origin"] == "solved"
    sent = [line.split()[1] for line in registry.requests() if line.startswith("PUT") and re.search("/manifests/[a-z]-", line)]
    assert [path.split("/manifests/")[0] for path in sent] == ["/v2/team"] * 2
    assert [path.split("/manifests/")[1][:2] for path in sent] == ["l-", "d-"]


@pytest.mark.parametrize("which", ["WARDIAN_REGISTRY", "WARDIAN_GLOBAL_REGISTRY"])
def test_a_registry_that_is_down_is_an_error_and_no_reason_to_solve(home: Callable[..., Cli], shop: Index, which: str) -> None:
    cli = home("one", **{which: NOWHERE})
    shop.forget_requests()
    done = cli.run("env", "lock", "alpha.txt", "--json")
    assert done.code == 7, done.err
    assert "127.0.0.1:1" in done.err
    assert not asked(shop)
    assert solves(cli) == 0
    assert cli.ok("run", "-f", "alpha.txt", "show.py", variables={which: ""}).out == "1.0\n"


@pytest.mark.parametrize("which", ["WARDIAN_REGISTRY", "WARDIAN_GLOBAL_REGISTRY"])
def test_what_is_pinned_and_here_contacts_nobody(home: Callable[..., Cli], shop: Index, which: str) -> None:
    cli = home("one")
    runs_with(cli)
    cli.variables[which] = NOWHERE
    shop.forget_requests()
    assert runs_with(cli)[0] == "1.0"
    cli.ok("env", "lock", "alpha.txt")
    assert not shop.requests


def test_a_workspace_that_knows_the_lock_asks_no_registry(home: Callable[..., Cli], registry: DockerRegistry) -> None:
    cli = home("one", WARDIAN_REGISTRY=f"{registry.host}/team")
    runs_with(cli)
    before = registry.requests()
    cli.write("named.yml", cli.ok("env", "export", "alpha.txt", "--to", "wardian").out + "name: named\n")
    assert cli.ok("run", "-f", "named.yml", "show.py").out == "1.0\n"
    cli.ok("workspace", "create", "other")
    assert cli.ok("run", "-w", "other", "-f", "alpha.txt", "show.py").out == "1.0\n"
    assert registry.requests() == before


def test_offline_the_registries_are_left_out(home: Callable[..., Cli]) -> None:
    cli = home("one")
    runs_with(cli)
    cli.ok("workspace", "create", "other")
    away = {"WARDIAN_REGISTRY": NOWHERE, "WARDIAN_OFFLINE": "1"}
    assert cli.ok("run", "-w", "other", "-f", "alpha.txt", "show.py", variables=away).out == "1.0\n"


def test_what_was_built_from_source_comes_with_the_lock(
    home: Callable[..., Cli], shop: Index, registry: DockerRegistry
) -> None:
    where = f"{registry.host}/envs"
    one, two = (home(name, WARDIAN_REGISTRY=where) for name in ("one", "two"))
    for cli in (one, two):
        cli.write("source.txt", "source\n")
    one.ok("run", "-f", "source.txt", "--", "python", "-c", "import source")
    shop.remove("source-1.0.tar.gz")
    two.ok("run", "-f", "source.txt", "--", "python", "-c", "import source")
    kept = list((two.home / "workspaces/default/artifacts").rglob("source-1.0-*.whl"))
    assert len(kept) == 1
    assert solves(two) == 0


def test_a_registry_that_may_only_be_read_leaves_the_solve_and_says_that_it_is_not_shared(home: Callable[..., Cli]) -> None:
    with FakeRegistry() as fake:
        fake.misbehave("POST */blobs/uploads/*", status=403)
        cli = home("one", WARDIAN_REGISTRY=f"{fake.host}/envs")
        done = cli.ok("run", "-f", "alpha.txt", "show.py")
    assert done.out == "1.0\n"
    assert "warning: the lock" in done.err
    assert "is not shared" in done.err
    assert cli.json("runs", "show", "latest")["results"]["environment"]["lock_origin"] == "solved"


def test_somebody_elses_lock_under_the_tag_is_an_error(home: Callable[..., Cli], tmp_path: Path) -> None:
    where = f"oci:{tmp_path / 'shared'}"
    one, two = (home(name, WARDIAN_REGISTRY=where) for name in ("one", "two"))
    one.ok("env", "lock", "alpha.txt")
    two.write("other.txt", "source\n")
    from wardian.image.layout import LayoutImageStore

    store = LayoutImageStore(tmp_path / "shared")
    (tag,) = store.tags("d-")
    found = store.find(tag)
    assert found is not None
    store.tag(found.content, found.descriptor.media_type, [f"d-{two.ok('env', 'hash', 'other.txt').out.strip()}-linux-amd64"])
    done = two.run("env", "lock", "other.txt", "--json")
    assert done.code == 1
    assert "tag_mismatch" in done.err


def test_two_homes_that_solve_at_once_end_with_one_lock(home: Callable[..., Cli], registry: DockerRegistry) -> None:
    where = f"{registry.host}/envs"
    homes = [home(f"h{n}", WARDIAN_REGISTRY=where) for n in range(3)]
    running = [cli.start("run", "-f", "alpha.txt", "show.py") for cli in homes for _ in range(2)]
    ended = [(*process.communicate(timeout=300), process.returncode) for process in running]
    assert [code for *_, code in ended] == [0] * len(running), ended
    assert len({cli.json("runs", "show", "latest")["results"]["environment"]["lock_digest"] for cli in homes}) == 1
    assert all(solves(cli) <= 1 for cli in homes)


# -- builds ------------------------------------------------------------------------------------------------------------


def test_a_solve_and_an_installation_are_builds_and_a_warm_run_is_none(home: Callable[..., Cli]) -> None:
    cli = home("one")
    runs_with(cli)
    builds = cli.json("build", "list")["builds"]
    assert [(one["kind"], one["state"]) for one in builds] == [("prefix", "completed"), ("lock", "completed")]
    prefix, lock = builds
    assert lock["outcome"] == {"linux/amd64": cli.json("runs", "show", "latest")["results"]["environment"]["lock_digest"]}
    assert prefix["key"] == cli.json("runs", "show", "latest")["results"]["environment"]["prefix_key"]
    assert any("installing" in phase["name"] for phase in prefix["phases"])
    assert "fetching" in cli.ok("build", "logs", prefix["id"]).out
    runs_with(cli)
    cli.ok("env", "build", "alpha.txt")
    assert len(cli.json("build", "list")["builds"]) == 2


def test_a_solve_that_fails_has_a_record_that_its_error_names(home: Callable[..., Cli]) -> None:
    cli = home("one")
    cli.write("none.txt", "no-such-project\n")
    done = cli.run("env", "lock", "none.txt", "--json")
    assert done.code == 1
    (build,) = cli.json("build", "list")["builds"]
    assert (build["kind"], build["state"], build["code"]) == ("lock", "failed", "solve_failed")
    assert build["id"] in done.err
    assert "no-such-project" in cli.ok("build", "show", build["id"]).out


def test_many_that_want_one_prefix_share_one_installation(home: Callable[..., Cli]) -> None:
    cli = home("one")
    cli.ok("env", "lock", "alpha.txt")
    running = [cli.start("run", "-f", "alpha.txt", "show.py") for _ in range(8)]
    ended = [(*process.communicate(timeout=300), process.returncode) for process in running]
    assert [(out, code) for out, _, code in ended] == [("1.0\n", 0)] * 8, ended
    assert len(cli.json("build", "list", "--kind", "prefix")["builds"]) == 1
