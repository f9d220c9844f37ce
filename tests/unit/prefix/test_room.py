"""Room is made by itself after an installation: measured only when the count passes the limit, sparing what is in use."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from wardian.digest import Digest
from wardian.events import Event, silent
from wardian.package.store import PackageStore
from wardian.prefix.cache import PrefixCache, Ready
from wardian.prefix.room import SPARED_S, make_room

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20
NOW = 2_000_000_000.0
LONG_AGO = NOW - 100 * SPARED_S


class Place:
    """A cache to which prefixes of a MiB are added."""

    def __init__(self, root: Path):
        self.root = root
        self.prefixes = PrefixCache(root / "prefixes")
        self.packages = PackageStore(root / "packages")
        self.heard: list[Event] = []

    def add(self, name: str, *, used: float = NOW, size_bytes: int = MIB) -> str:
        key = Digest.of(name.encode())

        def install(path: Path) -> Ready:
            (path / "own").write_bytes(b"x" * size_bytes)
            return Ready(key=key, facts={"added_bytes": size_bytes})

        self.prefixes.ensure(key, install, silent)
        os.utime(self.prefixes.use_lock(key[:32]).path, (used, used))
        return key[:32]

    def make_room(self, *made: str, limit_bytes: int) -> int:
        return make_room(self.prefixes, self.packages, made=made, limit_bytes=limit_bytes, now=NOW, tools={}, clear_tool=lambda _path: False,
                         listener=self.heard.append)  # fmt: skip

    @property
    def names(self) -> set[str]:
        return {name for name, _, _ in self.prefixes.entries()}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_below_the_limit_nothing_is_measured(place: Place) -> None:
    first = place.add("first", used=LONG_AGO)
    place.make_room(first, limit_bytes=10 * MIB)
    unknown = place.add("unknown", used=LONG_AGO, size_bytes=20 * MIB)
    assert place.make_room(first, limit_bytes=10 * MIB) == 0
    assert place.names == {first, unknown}, "only what installations told is counted"
    assert place.heard == []


def test_above_the_limit_the_least_recently_used_goes_and_it_is_told(place: Place) -> None:
    old, older = place.add("old", used=LONG_AGO + 1), place.add("older", used=LONG_AGO)
    new = place.add("new")
    assert place.make_room(new, limit_bytes=5 * MIB // 2) >= MIB
    assert place.names == {old, new}
    assert [event.kind for event in place.heard] == ["notice"]
    assert older not in place.names
    another = place.add("another")
    assert place.make_room(another, limit_bytes=5 * MIB // 2) >= MIB
    assert place.names == {new, another}


def test_what_was_made_used_lately_or_is_held_stays_whatever_the_limit(place: Place) -> None:
    held, lately = place.add("held", used=LONG_AGO), place.add("lately", used=NOW - SPARED_S / 2)
    gone = place.add("gone", used=LONG_AGO)
    new = place.add("new")
    with place.prefixes.hold(Digest.of(b"held")):
        os.utime(place.prefixes.use_lock(held).path, (LONG_AGO, LONG_AGO))
        place.make_room(new, limit_bytes=1)
    assert place.names == {held, lately, new}
    assert gone not in place.names


def test_an_unreadable_count_is_measured_anew(place: Place) -> None:
    old, new = place.add("old", used=LONG_AGO), place.add("new")
    for text in ("", "many", "\0"):
        (place.root / "size").write_text(text)
        place.make_room(new, limit_bytes=10 * MIB)
        assert int((place.root / "size").read_text()) >= 2 * MIB
    assert place.names == {old, new}


def test_a_count_that_cannot_be_written_is_no_error(place: Place) -> None:
    new = place.add("new")
    (place.root / "size").mkdir()
    assert place.make_room(new, limit_bytes=10 * MIB) == 0


def test_many_at_once_count_together(place: Place) -> None:
    names = [place.add(f"prefix-{n}", size_bytes=4096) for n in range(8)]
    place.make_room(limit_bytes=100 * MIB)
    before = int((place.root / "size").read_text())
    threads = [threading.Thread(target=place.make_room, args=(name,), kwargs={"limit_bytes": 100 * MIB}) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert int((place.root / "size").read_text()) == before + 8 * 4096
