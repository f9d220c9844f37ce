"""Replays requests over several connections, and says how fast they were answered."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wardian.errors import InvalidInput, NotFound, WardianError
from wardian.serving.scoring import headers_for
from wardian.tools.scoring_http import ScoringConnection

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_TIMEOUT_S = 600.0
_BARS, _ROWS = 40, 12
_BLOCKS = " ▏▎▍▌▋▊▉█"


@dataclass(frozen=True, slots=True)
class Figures:
    """How fast requests were answered.

    Attributes:
        latencies_ms: of all that were answered with a status below 400, in rising order.
        failures: what else was answered, or what went wrong → how often.
        seconds: from the first request to the last answer.
    """

    latencies_ms: tuple[float, ...]
    failures: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    connections: int = 1

    @property
    def failed(self) -> int:
        """How many requests failed."""
        return sum(self.failures.values())

    def percentile(self, share: float) -> float:
        """Return the latency that ``share`` (0 to 1) of the requests did not exceed, milliseconds; 0.0: none was answered."""
        if not self.latencies_ms:
            return 0.0
        return self.latencies_ms[min(len(self.latencies_ms) - 1, int(share * len(self.latencies_ms)))]

    def as_document(self) -> dict[str, Any]:
        """Return plain JSON values."""
        count = len(self.latencies_ms)
        latency = {"min": self.percentile(0), "mean": sum(self.latencies_ms) / count if count else 0.0, "p50": self.percentile(0.5),
                   "p90": self.percentile(0.9), "p99": self.percentile(0.99), "max": self.percentile(1)}  # fmt: skip
        return {
            "requests": count + self.failed, "failed": self.failed, "failures": self.failures, "connections": self.connections,
            "seconds": round(self.seconds, 6), "requests_per_s": round((count + self.failed) / self.seconds, 3) if self.seconds else 0.0,
            "latency_ms": {key: round(value, 4) for key, value in latency.items()},
        }  # fmt: skip

    def histogram(self) -> list[str]:
        """Return the latencies, drawn: one row for each range, up to the 99th percentile and what is beyond."""
        if not self.latencies_ms:
            return []
        low, high = self.latencies_ms[0], self.percentile(0.99)
        width = max((high - low) / (_ROWS - 1), 1e-6)
        counts = Counter(min(int((value - low) / width), _ROWS - 1) for value in self.latencies_ms)
        most = max(counts.values())
        rows = []
        for row in range(_ROWS):
            edge = f"{low + row * width:9.2f} ms" if row < _ROWS - 1 else f"{'beyond':>9}   "
            rows.append(f"{edge} {_bar(counts[row] / most):<{_BARS}} {counts[row]}")
        return rows


def read_requests(path: Path) -> list[bytes]:
    """Return the bodies in a file: one JSON value a line; empty lines don't count.

    Raises:   NotFound.  InvalidInput: ``bad_requests``, with the line; there is none.
    """
    bodies = []
    try:
        with path.open("rb") as stream:
            for number, line in enumerate(stream, 1):
                if not line.strip():
                    continue
                try:
                    json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise InvalidInput(
                        f"{path}:{number}: this is no JSON: {error}", code="bad_requests", hint="one JSON value a line"
                    ) from error
                bodies.append(line.strip())
    except OSError as error:
        raise NotFound(f"{path} cannot be read: {error.strerror}", code="no_such_path") from error
    if not bodies:
        raise InvalidInput(f"{path} holds no request", code="bad_requests", hint="one JSON value a line")
    return bodies


def replay(url: str, bodies: Sequence[bytes], *, count: int, connections: int, key: str | None = None) -> Figures:
    """Send ``count`` requests, the bodies in turn, over so many connections at a time; return how fast they were answered.

    Each connection is a thread of one of several processes, as many as this machine has processors: so that who asks is not what is
    measured.
    """
    import multiprocessing
    import os

    connections = min(connections, count)
    processes = min(connections, len(os.sched_getaffinity(0)))
    context = multiprocessing.get_context("spawn")
    shares = [
        [(count * c // connections, count * (c + 1) // connections) for c in range(p, connections, processes)]
        for p in range(processes)
    ]
    with context.Pool(processes) as pool:
        pool.map(_nothing, range(processes))
        begin = time.perf_counter()
        parts = pool.starmap(_share, [(url, list(bodies), share, key) for share in shares], chunksize=1)
        seconds = time.perf_counter() - begin
    failures: Counter[str] = Counter()
    for _, failed in parts:
        failures.update(failed)
    latencies = sorted(value for found, _ in parts for value in found)
    return Figures(tuple(latencies), dict(failures), seconds, connections)


def _share(url: str, bodies: list[bytes], ranges: list[tuple[int, int]], key: str | None) -> tuple[list[float], dict[str, int]]:
    """Send a part of the requests: one range for each connection."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(len(ranges)) as threads:
        parts = list(threads.map(lambda one: _line(url, bodies, one, key), ranges))
    failures: Counter[str] = Counter()
    for _, failed in parts:
        failures.update(failed)
    return [value for found, _ in parts for value in found], dict(failures)


def _line(url: str, bodies: list[bytes], numbers: tuple[int, int], key: str | None) -> tuple[list[float], Counter[str]]:
    latencies: list[float] = []
    failures: Counter[str] = Counter()
    headers = headers_for(key)
    connection = ScoringConnection(url, timeout_s=_TIMEOUT_S)
    for number in range(*numbers):
        began = time.perf_counter()
        try:
            answer = connection.post("/score", bodies[number % len(bodies)], headers)
        except WardianError as error:
            failures[error.message] += 1
            continue
        took_ms = (time.perf_counter() - began) * 1000
        if answer.status < 400:  # noqa: PLR2004
            latencies.append(took_ms)
        else:
            failures[f"status {answer.status}"] += 1
    connection.close()
    return latencies, failures


def _nothing(_: int) -> None:
    """Wait until a process is there."""


def _bar(share: float) -> str:
    eighths = round(share * _BARS * 8)
    return "█" * (eighths // 8) + (_BLOCKS[eighths % 8] if eighths % 8 else "")
