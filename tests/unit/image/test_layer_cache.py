"""Layers are made once, whoever wants them at the same time; what a crash or a bad disk leaves is made anew."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from tests.support import layer_maker
from tests.support.accounts import REPOSITORY
from tests.support.layer_maker import KEY, PHASES, cache_at

from wardian.digest import Digest
from wardian.errors import BadArchive
from wardian.image.compression import Compression
from wardian.image.entry import Entry
from wardian.image.key import ImageScheme
from wardian.image.layer_cache import LayerCache, LayerContent, LayerTask, layer_key
from wardian.image.layout import LayoutImageStore
from wardian.tools.disk import FileLock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

A, B, C = (Digest.of(text) for text in (b"a", b"b", b"c"))
SCHEME = ImageScheme("zstandard-1/1:3")


@pytest.fixture
def cache(tmp_path: Path) -> LayerCache:
    return cache_at(tmp_path)


class Maker:
    """Content for a task, and how often it was asked for."""

    def __init__(self, content: bytes = b"content", facts: Any = None):
        self.calls = 0
        self._content = content
        self._facts = facts

    @contextlib.contextmanager
    def __call__(self) -> Iterator[LayerContent]:
        self.calls += 1
        yield LayerContent([Entry.of_bytes("opt/env/f", self._content)], self._facts)


def blob_of(place: Path, cache: LayerCache, key: Digest) -> Path:
    found = cache.find(key)
    assert found is not None
    return place / "registry" / "blobs" / "sha256" / found.layer.descriptor.digest


def test_a_layer_is_made_once(cache: LayerCache, tmp_path: Path) -> None:
    maker = Maker(facts={"paths": ["é"]})
    first = cache.ensure(LayerTask(A, "alpha 1.0", maker))
    again = cache_at(tmp_path).ensure(LayerTask(A, "alpha 1.0", maker))
    assert (first.cached, again.cached, maker.calls) == (False, True, 1)
    assert again == replace(first, cached=True)
    assert again.facts == {"paths": ["é"]}
    assert Digest.of_file(blob_of(tmp_path, cache, A)) == first.layer.descriptor.digest
    assert cache.find(B) is None
    assert list(cache.incoming.iterdir()) == list((cache.root / "locks").iterdir()) == []


def test_it_is_linked_into_the_store_not_copied(cache: LayerCache, tmp_path: Path) -> None:
    seen: list[int] = []
    store = LayoutImageStore(tmp_path / "registry", link_from=[cache.incoming])

    class Watched(LayoutImageStore):
        def put(self, blob: Any, open_content: Any, *, origin: Any = None) -> str:
            with contextlib.suppress(FileNotFoundError):
                seen.append((cache.incoming / A).stat().st_ino)
            return store.put(blob, open_content, origin=origin)

    LayerCache(cache.root, Watched(tmp_path / "registry"), compression=Compression(), epoch=0).ensure(
        LayerTask(A, "alpha", Maker())
    )
    assert blob_of(tmp_path, cache, A).stat().st_ino in seen


def _truncate(blob: Path) -> None:
    os.truncate(blob, blob.stat().st_size - 1)


def _flip(blob: Path) -> None:
    content = bytearray(blob.read_bytes())
    content[-1] ^= 1
    blob.write_bytes(content)


@pytest.mark.parametrize("harm", [lambda blob: blob.unlink(), _truncate, _flip], ids=["missing", "shorter", "changed"])
def test_a_blob_that_is_missing_or_damaged_is_made_anew(
    cache: LayerCache, tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    maker = Maker(os.urandom(1000))
    first = cache.ensure(LayerTask(A, "alpha", maker))
    blob = blob_of(tmp_path, cache, A)
    harm(blob)
    assert cache.find(A) is None
    again = cache.ensure(LayerTask(A, "alpha", maker))
    assert (again.layer, again.cached, maker.calls) == (first.layer, False, 2)
    assert Digest.of_file(blob) == first.layer.descriptor.digest


@pytest.mark.parametrize("note", [b"", b"{", b"[]", b"{}", b'{"layer": 7}', b"\xff", b'"x"'])
def test_a_damaged_note_is_none(cache: LayerCache, note: bytes) -> None:
    maker = Maker()
    cache.ensure(LayerTask(A, "alpha", maker))
    (cache.root / f"{A}.json").write_bytes(note)
    assert cache.find(A) is None
    assert not cache.ensure(LayerTask(A, "alpha", maker)).cached
    assert cache.find(A) is not None


def test_what_goes_wrong_leaves_nothing_and_passes_unchanged(cache: LayerCache, tmp_path: Path) -> None:
    @contextlib.contextmanager
    def broken() -> Iterator[LayerContent]:
        (tmp_path / "the archive, not the cache").write_bytes(b"")
        (tmp_path / "the archive, not the cache" / "x").read_bytes()
        yield LayerContent([])

    @contextlib.contextmanager
    def hostile() -> Iterator[LayerContent]:
        yield LayerContent(
            [Entry.of_bytes("opt/env/a", os.urandom(3_000_000)), replace(Entry.of_bytes("opt/env/b", b""), size_bytes=9)]
        )

    with pytest.raises(NotADirectoryError, match="not the cache"):
        cache.ensure(LayerTask(A, "alpha", broken))
    with pytest.raises(BadArchive, match="alpha: `opt/env/b`"):
        cache.ensure(LayerTask(A, "alpha", hostile))
    assert cache.find(A) is None
    assert not list(cache.incoming.glob("*"))
    assert not (tmp_path / "registry").exists()
    assert not cache.ensure(LayerTask(A, "alpha", Maker())).cached


def test_threads_that_want_one_layer_share_it(cache: LayerCache) -> None:
    gate, maker, told = threading.Event(), Maker(), []

    @contextlib.contextmanager
    def slow() -> Iterator[LayerContent]:
        assert gate.wait(60)
        with maker() as content:
            yield content

    def on_wait(holder: str) -> None:
        told.append(holder)
        if len(told) == 3:
            gate.set()

    found = cache.ensure_all([LayerTask(A, "alpha", slow)] * 4, jobs=4, on_wait=on_wait)
    assert maker.calls == 1
    assert sorted(f.cached for f in found) == [False, True, True, True]
    assert {f"process {os.getpid()} on" in holder for holder in told} == {True}


def _process(place: Path, *phase: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.support.layer_maker", str(place), *phase]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=REPOSITORY)


def test_processes_that_want_one_layer_share_it(tmp_path: Path) -> None:
    started = [_process(tmp_path) for _ in range(6)]
    said = [process.communicate(timeout=120)[0].decode().strip() for process in started]
    assert sorted(said) == ["False", *["True"] * 5]
    assert (tmp_path / "log").read_text() == "made\n"
    assert cache_at(tmp_path).find(KEY) is not None


@pytest.mark.parametrize("phase", PHASES)
def test_a_process_that_was_killed_leaves_nothing_broken(tmp_path: Path, phase: str) -> None:
    process = _process(tmp_path, phase)
    assert process.stdout is not None
    assert process.stdout.readline() == b"here\n"
    process.kill()
    process.communicate()
    cache = cache_at(tmp_path)
    assert (cache.find(KEY) is not None) == (phase == "after note")
    assert layer_maker.main(tmp_path, "") == (phase == "after note")
    found = cache.find(KEY)
    assert found is not None
    blob = tmp_path / "registry" / "blobs" / "sha256" / found.layer.descriptor.digest
    assert Digest.of_file(blob) == found.layer.descriptor.digest
    assert not list(cache.incoming.iterdir())
    assert cache.sweep() == 0


def test_the_first_error_stops_the_others_and_what_is_whole_is_kept(cache: LayerCache) -> None:
    started = threading.Event()

    class Endless:
        def read(self, size: int) -> bytes:
            started.set()
            return bytes(size)

    @contextlib.contextmanager
    def endless() -> Iterator[LayerContent]:
        stream = contextlib.nullcontext(Endless())
        yield LayerContent([Entry("opt/env/f", "file", 1 << 50, False, "", lambda: stream)])  # type: ignore[arg-type, return-value]

    @contextlib.contextmanager
    def broken() -> Iterator[LayerContent]:
        assert started.wait(60)
        yield LayerContent(dict[str, list[Entry]]()["broken"])

    cache.ensure(LayerTask(C, "gamma", Maker()))
    tasks = [LayerTask(A, "alpha", endless, 9), LayerTask(B, "beta", broken, 8), LayerTask(C, "gamma", Maker(), 10)]
    with pytest.raises(KeyError, match="broken"):
        cache.ensure_all(tasks, jobs=2)
    assert cache.find(A) is None
    assert cache.find(C) is not None
    assert not list(cache.incoming.iterdir())


def test_results_come_in_the_order_of_the_tasks_and_the_largest_is_begun_first(cache: LayerCache) -> None:
    begun: list[str] = []

    def task(name: str, size: int) -> LayerTask:
        @contextlib.contextmanager
        def content() -> Iterator[LayerContent]:
            begun.append(name)
            yield LayerContent([Entry.of_bytes(f"opt/env/{name}", b"")])

        return LayerTask(Digest.of(name.encode()), name, content, size)

    done: list[tuple[str, bool]] = []
    tasks = [task("small", 1), task("large", 100), task("middle", 10)]
    found = cache.ensure_all(tasks, jobs=1, on_done=lambda t, layer: done.append((t.name, layer.cached)))
    assert begun == ["large", "middle", "small"]
    assert sorted(done) == [("large", False), ("middle", False), ("small", False)]
    assert [f.layer for f in found] == [cache.find(t.key).layer for t in tasks]  # type: ignore[union-attr]
    assert cache.ensure_all([], jobs=3) == []


def test_a_wait_ends_when_the_work_is_stopped(cache: LayerCache) -> None:
    class Enough(Exception):
        pass

    waiting = threading.Event()

    def check() -> None:
        if waiting.is_set():
            raise Enough

    with FileLock(cache.root / "locks" / f"{A}.lock"), pytest.raises(Enough):
        cache.ensure(LayerTask(A, "alpha", Maker()), on_wait=lambda _: waiting.set(), check=check)


def test_sweep(cache: LayerCache, tmp_path: Path) -> None:
    for key in (A, B):
        cache.ensure(LayerTask(key, "x", Maker(key.encode())))
    blob_of(tmp_path, cache, A).unlink()
    (cache.incoming / C).write_bytes(b"left by a dead process")
    (cache.incoming / B).write_bytes(b"being written")
    with FileLock(cache.root / "locks" / "of-a-process-that-died-before-it-wrote.lock"):
        pass
    with FileLock(cache.root / "locks" / f"{B}.lock"):
        assert cache.sweep() == 3
        assert [path.name for path in (cache.root / "locks").iterdir()] == [f"{B}.lock"]
    assert [path.name for path in cache.root.glob("*.json")] == [f"{B}.json"]
    assert [path.name for path in cache.incoming.iterdir()] == [B]


def test_what_decides_about_a_layer_is_in_its_key() -> None:
    def key(scheme: ImageScheme = SCHEME, kind: str = "wheel", packages: tuple[Digest, ...] = (A,), **more: Any) -> Digest:
        return layer_key(scheme, kind, packages, **more)

    different = [
        key(), key(kind="conda"), key(packages=(A, B)), key(packages=(B, A)), key(site_packages="lib/python3.12/site-packages"),
        key(interpreter=A), key(interpreter=B), key(details=[1]), key(replace(SCHEME, compressor="other")),
        key(replace(SCHEME, epoch=1)), key(replace(SCHEME, writer=99)),
    ]  # fmt: skip
    assert len(set(different)) == len(different)
    without = replace(SCHEME, byte_code=False)
    assert key(without, interpreter=A) == key(without, interpreter=B) == key(SCHEME), (
        "the interpreter matters for byte-code alone"
    )


def test_a_key_never_changes() -> None:
    assert layer_key(
        ImageScheme("zstandard-0.25.0/1.5.7:3", epoch=0), "wheel", [A], site_packages="lib/python3.12/site-packages"
    ) == ("f2f50f90349cc3930ce00966a02886240dc28cd51c68b9f32fc12a9808b18312")
