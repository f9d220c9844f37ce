"""The prefix cache's promises: complete or absent, one installer at a time, nothing that a run holds is removed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from typing import TYPE_CHECKING

import pytest

from wardian.digest import Digest
from wardian.errors import InvalidInput
from wardian.events import Event, silent
from wardian.prefix.cache import MARK, PrefixCache, Ready

if TYPE_CHECKING:
    from pathlib import Path

KEY = Digest.of(b"one")
OTHER = Digest.of(b"other")


@pytest.fixture
def cache(tmp_path: Path) -> PrefixCache:
    return PrefixCache(tmp_path / "prefixes")


def install(prefix: Path) -> Ready:
    (prefix / "lib").mkdir()
    (prefix / "lib" / "a").write_text("a")
    return Ready(key=KEY, python="/python", variables={"A": "1"}, path_entries=("/bin",), facts={"packages": 1})


def test_ensure_installs_once_and_find_gives_the_same(cache: PrefixCache) -> None:
    first, was_there = cache.ensure(KEY, install, silent)
    assert not was_there
    assert (cache.path(KEY) / "lib" / "a").read_text() == "a"
    again, was_there = cache.ensure(KEY, lambda _p: pytest.fail("installed twice"), silent)
    assert was_there
    assert again == first == cache.find(KEY)
    assert cache.find(OTHER) is None


def test_a_failed_install_leaves_nothing_behind(cache: PrefixCache) -> None:
    def broken(prefix: Path) -> Ready:
        install(prefix)
        raise RuntimeError("linker died")

    with pytest.raises(RuntimeError, match="linker died"):
        cache.ensure(KEY, broken, silent)
    assert not cache.path(KEY).exists()
    cache.ensure(KEY, install, silent)
    assert cache.find(KEY)


@pytest.mark.parametrize("kind", ["pipe", "link to a device", "directory"])
def test_a_mark_that_is_no_file_is_none_and_is_not_waited_for(cache: PrefixCache, kind: str) -> None:
    mark = cache.path(KEY) / MARK
    mark.parent.mkdir(parents=True)
    if kind == "pipe":
        os.mkfifo(mark)
    elif kind == "directory":
        mark.mkdir()
    else:
        mark.symlink_to("/dev/zero")
    assert cache.find(KEY) is None
    assert [(name, ready) for name, ready, _ in cache.entries()] == [(KEY[:32], None)]
    assert cache.ensure(KEY, install, silent)[1] is False
    assert cache.find(KEY)


def test_a_directory_without_a_mark_is_not_a_prefix_and_is_replaced(cache: PrefixCache) -> None:
    cache.path(KEY).mkdir(parents=True)
    (cache.path(KEY) / "half").write_text("half")
    assert cache.find(KEY) is None
    cache.ensure(KEY, install, silent)
    assert not (cache.path(KEY) / "half").exists()


@pytest.mark.parametrize("mark", [b"", b"{", b"[]", b'{"scheme": "other"}', b"\xff\xfe"])
def test_a_damaged_mark_counts_as_none(cache: PrefixCache, mark: bytes) -> None:
    cache.ensure(KEY, install, silent)
    place = cache.path(KEY) / MARK
    cache.path(KEY).chmod(0o755)
    place.parent.chmod(0o755)
    place.chmod(0o644)
    place.write_bytes(mark)
    assert cache.find(KEY) is None
    cache.ensure(KEY, install, silent)
    assert cache.find(KEY)


def test_a_mark_for_another_key_does_not_count(cache: PrefixCache) -> None:
    cache.ensure(KEY, install, silent)
    cache.path(KEY).rename(cache.path(OTHER))
    assert cache.find(OTHER) is None


def test_a_prefix_whose_interpreter_is_gone_does_not_count(cache: PrefixCache) -> None:
    def needs_other(prefix: Path) -> Ready:
        return Ready(key=KEY, requires=(prefix.parent.joinpath(OTHER[:32]).name,))

    cache.ensure(OTHER, lambda _p: Ready(key=OTHER), silent)
    cache.ensure(KEY, needs_other, silent)
    assert cache.find(KEY)
    assert cache.remove(OTHER[:32])
    assert cache.find(KEY) is None


def test_threads_of_one_key_share_one_install(cache: PrefixCache) -> None:
    installed: list[Path] = []
    inside, go = threading.Event(), threading.Event()
    waiting: list[Event] = []

    def slow(prefix: Path) -> Ready:
        inside.set()
        assert go.wait(20)
        installed.append(prefix)
        return install(prefix)

    told = threading.Event()

    def listener(event: Event) -> None:
        waiting.append(event)
        told.set()

    results: list[bool] = []
    first = threading.Thread(target=lambda: results.append(cache.ensure(KEY, slow, silent)[1]))
    first.start()
    assert inside.wait(20)
    second = threading.Thread(target=lambda: results.append(cache.ensure(KEY, slow, listener)[1]))
    second.start()
    assert told.wait(20)
    go.set()
    first.join(20)
    second.join(20)
    assert len(installed) == 1
    assert sorted(results) == [False, True]
    assert f"process {os.getpid()}" in waiting[0].text


def test_an_installer_that_is_killed_is_replaced(cache: PrefixCache, tmp_path: Path) -> None:
    script = textwrap.dedent("""
        import sys, time
        from pathlib import Path
        from wardian.digest import Digest
        from wardian.events import silent
        from wardian.prefix.cache import PrefixCache
        def install(prefix):
            (prefix / "half").write_text("half")
            print("inside", flush=True)
            time.sleep(60)
        PrefixCache(Path(sys.argv[1])).ensure(Digest(sys.argv[2]), install, silent)
    """)
    with subprocess.Popen([sys.executable, "-c", script, str(cache.root), KEY], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "inside\n"
        process.send_signal(signal.SIGKILL)
    assert cache.find(KEY) is None
    _, was_there = cache.ensure(KEY, install, silent)
    assert not was_there
    assert not (cache.path(KEY) / "half").exists()
    assert not list((cache.root / "trash").iterdir())


def test_what_a_run_holds_is_not_removed(cache: PrefixCache) -> None:
    cache.ensure(KEY, install, silent)
    with cache.hold(KEY):
        assert not cache.remove(KEY[:32])
        assert cache.find(KEY)
    assert cache.remove(KEY[:32])
    assert cache.find(KEY) is None


def test_a_prefix_path_that_is_too_long_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    place = tmp_path / ("x" * 200)
    with pytest.raises(InvalidInput, match=r"at most 200 work") as caught:
        PrefixCache(place)
    assert caught.value.stable_code == "prefix_path_too_long"
    assert not place.exists()
