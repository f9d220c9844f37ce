"""What a clean-up of the caches removes, in which order, and what stays."""

from __future__ import annotations

import os
from typing import IO, TYPE_CHECKING

import pytest

from wardian.digest import Digest
from wardian.errors import Unavailable
from wardian.events import silent
from wardian.package.store import PackageStore
from wardian.prefix.cache import PrefixCache, Ready
from wardian.prefix.disk_use import DiskUse
from wardian.prefix.evict import STALE_AFTER_S, Candidate, EvictionPlan, evict, plan_eviction
from wardian.tools.disk import FileLock, tree_size_bytes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MIB = 1 << 20
NOW = 2_000_000_000.0


class Place:
    """A cache directory with prefixes, archives and a tool's cache; times of use are given."""

    def __init__(self, root: Path):
        self.root = root
        self.prefixes = PrefixCache(root / "prefixes")
        self.packages = PackageStore(root / "packages")
        self.tool = root / "tool"
        self.cleared: list[Path] = []

    def prefix(
        self, name: str, used: float, *, size_bytes: int = MIB, linked: tuple[str, ...] = (), requires: tuple[str, ...] = ()
    ) -> str:
        key = Digest.of(name.encode())

        def install(path: Path) -> Ready:
            if size_bytes:
                (path / "own").write_bytes(b"x" * size_bytes)
            for file in linked:
                (path / file).hardlink_to(self.tool / file)
            return Ready(key=key, requires=requires, facts={"packages": 1})

        self.prefixes.ensure(key, install, silent)
        os.utime(self.prefixes.use_lock(key[:32]).path, (used, used))
        return key[:32]

    def package(self, name: str, used: float, size_bytes: int = MIB) -> str:
        content = name.encode() * (size_bytes // len(name))
        sha256 = Digest.of(content)

        def write(stream: IO[bytes]) -> None:
            stream.write(content)

        self.packages.ensure(sha256, f"{name}.whl", write, lambda _path: None)
        os.utime(self.packages.root / sha256, (used, used))
        return sha256

    def in_tool(self, *names: str) -> None:
        self.tool.mkdir(exist_ok=True)
        for name in names:
            (self.tool / name).write_bytes(b"t" * MIB)

    def plan(self, limit_bytes: int) -> EvictionPlan:
        trash = (self.prefixes.root / "trash", self.packages.root / "trash")
        return plan_eviction(
            self.prefixes, self.packages, limit_bytes=limit_bytes, now=NOW, tools={"uv": self.tool}, trash=trash
        )

    def evict(self, plan: EvictionPlan) -> tuple[list[str], int]:
        removed: list[str] = []
        freed = evict(
            plan,
            self.prefixes,
            self.packages,
            clear_tool=self.clear,
            on_removed=lambda candidate: removed.append(candidate.name),
        )
        return removed, freed

    def clear(self, path: Path) -> bool:
        for entry in path.iterdir():
            entry.unlink()
        return True


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def chosen(plan: EvictionPlan, key: Callable[[Candidate], str] = lambda candidate: candidate.name) -> list[str]:
    return [key(candidate) for candidate in plan.chosen]


def test_below_the_limit_nothing_goes(place: Place) -> None:
    place.prefix("a", 100)
    place.package("b", 200)
    plan = place.plan(100 * MIB)
    assert plan.chosen == ()
    assert 2 * MIB <= plan.used_bytes < 3 * MIB


def test_the_least_recently_used_goes_first_and_only_as_much_as_is_needed(place: Place) -> None:
    old, package, new = place.prefix("old", 100), place.package("package", 200), place.prefix("new", 300)
    total = place.plan(1 << 40).used_bytes
    assert chosen(place.plan(total - 1)) == [old]
    limit = total - 3 * MIB // 2
    removed, freed = place.evict(place.plan(limit))
    assert removed == [old, package]
    assert 2 * MIB <= freed < 3 * MIB
    assert place.plan(0).used_bytes <= limit
    assert [name for name, _, _ in place.prefixes.entries()] == [new]


def test_a_held_prefix_stays_whatever_the_limit(place: Place) -> None:
    held, other = place.prefix("held", 100), place.prefix("other", 200)
    with place.prefixes.hold(Digest.of(b"held")):
        plan = place.plan(0)
        assert chosen(plan) == [other]
        assert plan.kept == (held,)
    assert place.plan(0).kept == ()


def test_a_prefix_that_a_run_takes_after_the_plan_stays_too(place: Place) -> None:
    taken, other = place.prefix("taken", 100), place.prefix("other", 200)
    plan = place.plan(0)
    with place.prefixes.hold(Digest.of(b"taken")):
        removed, freed = place.evict(plan)
    assert removed == [other]
    assert MIB <= freed < 2 * MIB
    assert [name for name, _, _ in place.prefixes.entries()] == [taken]


def test_a_python_goes_after_the_prefixes_that_need_it(place: Place) -> None:
    python = place.prefix("python", 1)
    first, second = place.prefix("first", 100, requires=(python,)), place.prefix("second", 300, requires=(python,))
    between = place.prefix("between", 200)
    assert chosen(place.plan(0)) == [first, between, second, python]


def test_shared_files_count_once_and_come_back_with_their_last_name(place: Place) -> None:
    place.in_tool("shared")
    first = place.prefix("first", 100, size_bytes=0, linked=("shared",))
    second = place.prefix("second", 200, size_bytes=0, linked=("shared",))
    plan = place.plan(0)
    assert MIB <= plan.used_bytes < 2 * MIB
    sizes = {candidate.name: candidate.size_bytes for candidate in plan.chosen}
    assert sizes["tool"] < MIB
    assert sizes[first] < MIB
    assert MIB <= sizes[second] < 2 * MIB
    assert chosen(plan) == ["tool", first, second]
    assert plan.freed_bytes == plan.used_bytes
    before = _bytes(place)
    _, freed = place.evict(plan)
    assert freed == before - _bytes(place)


def _bytes(place: Place) -> int:
    """Lock files apart: they say who holds them, which takes a block each."""
    return (
        tree_size_bytes(place.root)
        - tree_size_bytes(place.prefixes.root / "locks")
        - tree_size_bytes(place.packages.root / "locks")
    )


def test_leftovers_go_even_below_the_limit(place: Place) -> None:
    kept = place.prefix("kept", 100)
    unfinished = place.prefixes.root / ("0" * 32)
    unfinished.mkdir()
    (unfinished / "file").write_bytes(b"x" * MIB)
    grave = place.prefixes.root / "trash" / "grave"
    grave.mkdir(parents=True)
    (grave / "file").write_bytes(b"x" * MIB)
    fresh, stale = place.packages.root / "tmp" / "1.fresh", place.packages.root / "tmp" / "2.stale"
    for path, used in ((fresh, NOW), (stale, NOW - STALE_AFTER_S - 1)):
        path.mkdir(parents=True)
        (path / "half.whl").write_bytes(b"x" * MIB)
        os.utime(path, (used, used))
    plan = place.plan(1 << 40)
    assert sorted(chosen(plan, lambda c: c.kind)) == ["temporary", "trash", "unfinished"]
    assert plan.freed_bytes >= 3 * MIB
    place.evict(plan)
    assert not unfinished.exists()
    assert not grave.exists()
    assert not stale.exists()
    assert fresh.exists()
    assert [name for name, _, _ in place.prefixes.entries()] == [kept]


def test_while_something_is_installed_archives_and_tools_stay(place: Place) -> None:
    place.in_tool("a")
    place.package("archive", 100)
    old = place.prefix("old", 200)
    with FileLock(place.prefixes.root / "locks" / f"{'1' * 32}.install"):
        plan = place.plan(0)
        assert plan.installing
        assert chosen(plan) == [old]
    later = place.plan(0)
    with FileLock(place.prefixes.root / "locks" / f"{'1' * 32}.install"):
        removed, _ = place.evict(later)
    assert removed == [old]


def test_an_unfinished_prefix_that_is_being_installed_is_nobodys_leftover(place: Place) -> None:
    name = "2" * 32
    (place.prefixes.root / name).mkdir(parents=True)
    with FileLock(place.prefixes.root / "locks" / f"{name}.install"):
        assert chosen(place.plan(0)) == []
    assert chosen(place.plan(0)) == [name]


def test_an_archive_that_somebody_finds_after_the_plan_stays(place: Place) -> None:
    sha256 = place.package("archive", 100)
    plan = place.plan(0)
    assert place.packages.find(Digest(sha256), "archive.whl") is not None
    assert place.evict(plan) == ([], 0)


def test_looking_changes_no_time_of_use(place: Place) -> None:
    name = place.prefix("a", 100)
    place.plan(0)
    assert place.prefixes.use_lock(name).path.stat().st_mtime == 100


def test_disk_use_of_what_vanishes_is_nothing(tmp_path: Path) -> None:
    use = DiskUse()
    use.add("gone", tmp_path / "gone")
    assert (use.total_bytes, use.release("gone"), use.release("unknown")) == (0, 0, 0)


def test_what_is_gone_cannot_be_held(place: Place) -> None:
    name = place.prefix("a", 100)
    place.prefixes.remove(name)
    with pytest.raises(Unavailable) as caught, place.prefixes.hold(Digest.of(b"a")):
        pass
    assert caught.value.stable_code == "prefix_gone"
    assert not place.prefixes.use_lock(name).is_held()
