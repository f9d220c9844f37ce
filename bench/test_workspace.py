"""A large workspace answers as quickly as a small one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from wardian.definition.environment import Environment, PythonSection
from wardian.digest import Digest
from wardian.workspace.database import Database
from wardian.workspace.environments import Environments
from wardian.workspace.registration import settle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bench.conftest import AtMost, Ratio, Stated

NAMES = 20_000
VERSIONS_EACH = 5
PAGE = 50
LIMIT = 2.0


def definition(name: str, release: int) -> Environment:
    requirements = tuple(f"package-{number}=={release}.{number}" for number in range(20))
    return Environment(name, PythonSection(manager="uv", pip=requirements))


def fill(path: Path, names: int) -> None:
    """Copies of real rows, each with a hash of its own: registering 100,000 definitions one by one would take minutes."""
    database = Database.open(path)
    environments = Environments(database)
    for number in range(PAGE + 1):
        for release in range(VERSIONS_EACH):
            environments.register(definition(f"shared-{number:05}", release))
    template = database.rows("SELECT * FROM versions WHERE id = 1")[0]
    columns = [column for column in template.keys() if column not in ("id", "environment_id", "version", "definition_hash")]  # noqa: SIM118 - a Row iterates its values
    copy = f"INSERT INTO versions (environment_id, version, definition_hash, {', '.join(columns)}) VALUES (?, ?, ?, {', '.join('?' * len(columns))})"  # noqa: S608
    with database.write():
        for number in range(PAGE + 1, names):
            cursor = database.execute("INSERT INTO environments (name, created) VALUES (?, '')", f"shared-{number:05}")
            for release in range(VERSIONS_EACH):
                digest = Digest.of(f"{number}:{release}".encode())
                database.execute(copy, cursor.lastrowid, str(release + 1), digest, *(template[column] for column in columns))
            settle(database, cursor.lastrowid or 0)
    database.close()


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A workspace with one page of names, and one with 100,000 versions."""
    made = {
        "small": tmp_path_factory.mktemp("small") / "workspace.db",
        "large": tmp_path_factory.mktemp("large") / "workspace.db",
    }
    fill(made["small"], PAGE + 1)
    fill(made["large"], NAMES)
    return made


@pytest.fixture(scope="module")
def workspaces(paths: dict[str, Path]) -> Iterator[dict[str, Environments]]:
    opened = {size: Database.open(path) for size, path in paths.items()}
    assert opened["large"].rows("SELECT count(*) FROM versions")[0][0] == NAMES * VERSIONS_EACH
    yield {size: Environments(database) for size, database in opened.items()}
    for database in opened.values():
        database.close()


HASH = Environments(Database.in_memory()).register(definition("shared-00017", 2))[0].definition_hash
LOOK_UPS: dict[str, Callable[[Environments], object]] = {
    "show NAME": lambda e: e.get("shared-00017"),
    "show NAME:V": lambda e: e.get("shared-00017:3"),
    "look-up by hash": lambda e: e.get(f"@{HASH[:12]}"),
    "a page of list": lambda e: e.list(limit=PAGE),
    "a page of history": lambda e: e.versions("shared-00017"),
    "register what is there": lambda e: e.register(definition("shared-00017", 4)),
}


@pytest.mark.parametrize("what", LOOK_UPS)
def test_look_ups(ratio: Ratio, workspaces: dict[str, Environments], what: str) -> None:
    act = LOOK_UPS[what]

    def repeated(environments: Environments) -> Callable[[], None]:
        def run() -> None:
            for _ in range(20):
                act(environments)

        return run

    ratio(f"{what}, 100,000 versions", repeated(workspaces["large"]), repeated(workspaces["small"]), LIMIT,
          peer_name=f"{(PAGE + 1) * VERSIONS_EACH} versions", rounds=15)  # fmt: skip


def test_the_next_page(ratio: Ratio, workspaces: dict[str, Environments]) -> None:
    large, small = workspaces["large"], workspaces["small"]
    ratio("the last page of list, 100,000 versions", lambda: large.list(limit=PAGE, after=f"shared-{NAMES - PAGE - 1:05}"),
          lambda: small.list(limit=PAGE), LIMIT, peer_name="the first page", rounds=50)  # fmt: skip


def test_open_show_close(ratio: Ratio, paths: dict[str, Path]) -> None:
    def run(path: Path) -> Callable[[], None]:
        def once() -> None:
            database = Database.open(path)
            Environments(database).get("shared-00017")
            database.close()

        return once

    ratio(
        "open, show NAME, close, 100,000 versions",
        run(paths["large"]),
        run(paths["small"]),
        LIMIT,
        peer_name="a small workspace",
        rounds=30,
    )


def test_open_what_is_up_to_date(at_most: AtMost, paths: dict[str, Path]) -> None:
    at_most("open a workspace of 100,000 versions", lambda: Database.open(paths["large"]).close(), 0.002, rounds=50)


def test_register(stated: Stated, workspaces: dict[str, Environments]) -> None:
    numbers = iter(range(10, 1000))
    stated(
        "register a new version, 100,000 versions",
        lambda: workspaces["large"].register(definition("new", next(numbers))),
        rounds=20,
    )
