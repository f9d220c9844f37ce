"""What every benchmark uses: claims about time, measured against a peer in the same run, and the machine they hold for."""

from __future__ import annotations

import os
import platform
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import pytest
from tests.support import peers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_benchmark.fixture import BenchmarkFixture

R = TypeVar("R")


def nothing() -> None:
    """Prepare nothing."""


class Ratio(Protocol):
    """Measures ours against a peer; see the fixture ``ratio``."""

    def __call__(
        self, name: str, ours: Callable[[], object], peer: Callable[[], object], limit: float, *, peer_name: str = "peer",
        plus_s: float = 0.0, rounds: int = 9, warm_up: int = 1,
        before_ours: Callable[[], object] = nothing, before_peer: Callable[[], object] = nothing,
    ) -> float: ...  # fmt: skip


class AtMost(Protocol):
    """Measures ours against a number of seconds; see the fixture ``at_most``."""

    def __call__(
        self, name: str, ours: Callable[[], object], limit_s: float, *, rounds: int = 9, iterations: int = 1,
        before_ours: Callable[[], object] = nothing,
    ) -> float: ...  # fmt: skip


class Against(Protocol):
    """Measures ours against times of a peer that were measured before; see the fixture ``against``."""

    def __call__(
        self, name: str, ours: Callable[[], object], theirs_s: Sequence[float], limit: float, *, peer_name: str = "peer",
        rounds: int = 3, before_ours: Callable[[], object] = nothing,
    ) -> float: ...  # fmt: skip


class Measured(Protocol):
    """Holds times that were measured against a peer's; see the fixture ``measured``."""

    def __call__(
        self, name: str, ours_s: Sequence[float], theirs_s: Sequence[float], limit: float, *, peer_name: str = "peer",
        plus_s: float = 0.0,
    ) -> float: ...  # fmt: skip


class Amount(Protocol):
    """Holds a number of bytes against a limit; see the fixture ``amount``."""

    def __call__(self, name: str, ours: Callable[[], int], limit_bytes: float, *, of: str = "") -> int: ...


class Stated(Protocol):
    """Measures ours, without a limit; see the fixture ``stated``."""

    def __call__(self, name: str, ours: Callable[[], R], *, rounds: int = 3) -> R: ...


@pytest.fixture
def ratio(benchmark: BenchmarkFixture) -> Ratio:
    """Return ``ratio(name, ours, peer, limit)``: median(ours) ≤ limit x median(peer) + plus_s, or the test fails.

    Both are called ``warm_up`` times, then ``rounds`` times in turn (peer, ours, peer, ours …), so a busy machine slows
    both alike. ``before_ours`` and ``before_peer`` run before each call and are not timed. Returns the ratio measured.
    """

    def measure(
        name: str, ours: Callable[[], object], peer: Callable[[], object], limit: float, *, peer_name: str = "peer",
        plus_s: float = 0.0, rounds: int = 9, warm_up: int = 1,
        before_ours: Callable[[], object] = nothing, before_peer: Callable[[], object] = nothing,
    ) -> float:  # fmt: skip
        peer_s: list[float] = []

        def time_peer() -> None:
            before_peer()
            start = time.perf_counter()
            peer()
            peer_s.append(time.perf_counter() - start)
            before_ours()

        _run(benchmark, ours, setup=time_peer, rounds=rounds, warmup_rounds=warm_up)
        theirs = statistics.median(peer_s[warm_up:])
        mine = _median(benchmark)
        benchmark.extra_info["claim"] = {
            "kind": "ratio", "name": name, "peer": peer_name, "peer_median_s": theirs, "limit": limit, "plus_s": plus_s,
        }  # fmt: skip
        allowed = limit * theirs + plus_s
        assert mine <= allowed, (
            f"{name}: {mine:.4f} s, allowed {allowed:.4f} s = {limit} x {theirs:.4f} s ({peer_name}) + {plus_s} s"
        )
        return mine / theirs

    return measure


@pytest.fixture
def at_most(benchmark: BenchmarkFixture) -> AtMost:
    """Return ``at_most(name, ours, limit_s)``: median(ours) ≤ limit_s seconds, or the test fails.

    ``iterations``: calls per round, for what is too short to time alone; 1 with ``before_ours``, which runs before each round
    and is not timed. Returns the median in seconds.
    """

    def measure(
        name: str, ours: Callable[[], object], limit_s: float, *, rounds: int = 9, iterations: int = 1,
        before_ours: Callable[[], object] = nothing,
    ) -> float:  # fmt: skip
        def prepare() -> None:
            before_ours()

        setup = {} if before_ours is nothing else {"setup": prepare}
        _run(benchmark, ours, rounds=rounds, warmup_rounds=1, iterations=iterations, **setup)
        mine = _median(benchmark)
        benchmark.extra_info["claim"] = {"kind": "at_most", "name": name, "limit_s": limit_s}
        assert mine <= limit_s, f"{name}: {mine:.6f} s, allowed {limit_s} s"
        return mine

    return measure


@pytest.fixture
def against(benchmark: BenchmarkFixture) -> Against:
    """Return ``against(name, ours, theirs_s, limit)``: median(ours) ≤ limit x median(theirs_s), or the test fails.

    For peers that take long and stand against several of our claims: ``theirs_s`` was measured before, in the same run.
    Returns the ratio measured.
    """

    def measure(
        name: str, ours: Callable[[], object], theirs_s: Sequence[float], limit: float, *, peer_name: str = "peer", rounds: int = 3,
        before_ours: Callable[[], object] = nothing,
    ) -> float:  # fmt: skip
        def prepare() -> None:
            before_ours()

        _run(benchmark, ours, setup=prepare, rounds=rounds)
        theirs, mine = statistics.median(theirs_s), _median(benchmark)
        benchmark.extra_info["claim"] = {
            "kind": "ratio", "name": name, "peer": peer_name, "peer_median_s": theirs, "limit": limit, "plus_s": 0.0,
        }  # fmt: skip
        assert mine <= limit * theirs, (
            f"{name}: {mine:.4f} s, allowed {limit * theirs:.4f} s = {limit} x {theirs:.4f} s ({peer_name})"
        )
        return mine / theirs

    return measure


@pytest.fixture
def measured(benchmark: BenchmarkFixture) -> Measured:
    """Return ``measured(name, ours_s, theirs_s, limit)``: median(ours_s) ≤ limit x median(theirs_s) + plus_s, or the test fails.

    For what a load generator has measured, both in the same run, in turn. Returns the ratio.
    """

    def hold(
        name: str,
        ours_s: Sequence[float],
        theirs_s: Sequence[float],
        limit: float,
        *,
        peer_name: str = "peer",
        plus_s: float = 0.0,
    ) -> float:
        _run(benchmark, nothing, rounds=1)
        mine, theirs = statistics.median(ours_s), statistics.median(theirs_s)
        benchmark.extra_info["claim"] = {
            "kind": "ratio", "name": name, "peer": peer_name, "peer_median_s": theirs, "limit": limit, "plus_s": plus_s,
            "ours_median_s": mine,
        }  # fmt: skip
        allowed = limit * theirs + plus_s
        assert mine <= allowed, (
            f"{name}: {mine:.6f} s, allowed {allowed:.6f} s = {limit} x {theirs:.6f} s ({peer_name}) + {plus_s} s"
        )
        return mine / theirs

    return hold


@pytest.fixture
def amount(benchmark: BenchmarkFixture) -> Amount:
    """Return ``amount(name, ours, limit_bytes)``: what ``ours`` returns is at most ``limit_bytes``, or the test fails.

    ``of``: what the limit is a part of, for the report. Returns the bytes.
    """

    def measure(name: str, ours: Callable[[], int], limit_bytes: float, *, of: str = "") -> int:
        size: int = _run(benchmark, ours, rounds=1)
        benchmark.extra_info["claim"] = {"kind": "amount", "name": name, "bytes": size, "limit_bytes": limit_bytes, "of": of}
        assert size <= limit_bytes, f"{name}: {size} bytes, allowed {limit_bytes:.0f} {of}"
        return size

    return measure


@pytest.fixture
def stated(benchmark: BenchmarkFixture) -> Stated:
    """Return ``stated(name, ours)``: the median goes into the report, whatever it is. Returns what ``ours`` returned last."""

    def measure(name: str, ours: Callable[[], R], *, rounds: int = 3) -> R:
        result: R = _run(benchmark, ours, rounds=rounds)
        benchmark.extra_info["claim"] = {"kind": "stated", "name": name}
        return result

    return measure


@pytest.fixture
def fact(benchmark: BenchmarkFixture) -> Callable[[str, str], None]:
    """Return ``fact(name, text)``: one more thing for this benchmark's row in the report (``peak memory``, ``812 MB``)."""

    def note(name: str, text: str) -> None:
        benchmark.extra_info.setdefault("facts", {})[name] = text

    return note


@pytest.fixture(scope="session")
def peer_python() -> Callable[..., Path]:
    """Return ``peer_python(name, *requirements)``: the interpreter of a peer's own venv, made once below ``.cache/peers``."""

    return peers.peer_python


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put first what starts runs in this process: as on the command line, it is small then and has no threads of others."""
    items.sort(key=lambda item: Path(item.path).stem != "test_run_start")


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """Describe the machine for the report: what the numbers depend on, without its name."""
    del config
    machine_info.pop("node", None)
    machine_info["wardian"] = {
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": platform.python_version(),
        "file_system": file_system_of(Path(os.environ.get("TMPDIR", "/tmp"))),  # noqa: S108 - where pytest's tmp_path lies
    }


def file_system_of(path: Path) -> str:
    """Return the type of the file system that ``path`` lies on (``ext4``), from the kernel's mount table."""
    place = str(path.resolve())
    best, kind = "", "unknown"
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mount, fs_type, *_ = line.split()
        below = place == mount or place.startswith(mount.rstrip("/") + "/")
        if below and len(mount) >= len(best):
            best, kind = mount, fs_type
    return kind


def _run(benchmark: BenchmarkFixture, target: Callable[[], object], **options: Any) -> Any:
    return benchmark.pedantic(target, **options)  # type: ignore[no-untyped-call]


def _median(benchmark: BenchmarkFixture) -> float:
    metadata = benchmark.stats
    assert metadata is not None, "run benchmarks without --benchmark-disable and without xdist"
    return float(metadata.stats.median)
