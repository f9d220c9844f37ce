"""What the server counts, and how Prometheus reads it."""

from __future__ import annotations

from bisect import bisect_left
from typing import Callable

_BOUNDS_MS = (0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 60000)


class Histogram:
    """How many durations were at most each bound."""

    def __init__(self) -> None:
        self._counts = [0] * (len(_BOUNDS_MS) + 1)
        self._sum_ms = 0.0

    def add(self, elapsed_ms: float) -> None:
        """Count one duration."""
        self._counts[bisect_left(_BOUNDS_MS, elapsed_ms)] += 1
        self._sum_ms += elapsed_ms

    def lines(self, name: str, meaning: str) -> list[str]:
        """The lines of Prometheus's text format."""
        lines, total = [f"# HELP {name} {meaning}", f"# TYPE {name} histogram"], 0
        for bound, count in zip((*_BOUNDS_MS, None), self._counts):
            total += count
            label = "+Inf" if bound is None else f"{bound / 1000:g}"
            lines.append(f'{name}_bucket{{le="{label}"}} {total}')
        return [*lines, f"{name}_sum {self._sum_ms / 1000:.6f}", f"{name}_count {total}"]


class Metrics:
    """The counters of one server."""

    def __init__(self) -> None:
        self.by_status: dict[int, int] = {}
        self.request = Histogram()
        self.run = Histogram()
        self.run_failed = 0
        self.worker_ends: dict[str, int] = {}
        self.gauges: dict[str, tuple[str, Callable[[], float]]] = {}

    @property
    def served(self) -> int:
        """Requests that were answered."""
        return sum(self.by_status.values())

    @property
    def failed(self) -> int:
        """Requests that were answered with 500 or more."""
        return sum(count for status, count in self.by_status.items() if status >= 500)  # noqa: PLR2004 - server errors

    def text(self) -> str:
        """All of it in Prometheus's text format, version 0.0.4."""
        lines = ["# HELP wardian_requests_total Requests answered, by status.", "# TYPE wardian_requests_total counter"]
        lines += [f'wardian_requests_total{{status="{status}"}} {count}' for status, count in sorted(self.by_status.items())]
        lines += self.request.lines("wardian_request_seconds", "Time from the end of a request's body to its answer.")
        lines += self.run.lines("wardian_run_seconds", "Time in run().")
        lines += [
            "# HELP wardian_run_failures_total Requests whose run() failed.",
            "# TYPE wardian_run_failures_total counter",
            f"wardian_run_failures_total {self.run_failed}",
            "# HELP wardian_worker_ends_total Workers that ended, by reason.",
            "# TYPE wardian_worker_ends_total counter",
        ]
        lines += [f'wardian_worker_ends_total{{reason="{reason}"}} {n}' for reason, n in sorted(self.worker_ends.items())]
        for name, (meaning, value) in self.gauges.items():
            lines += [f"# HELP {name} {meaning}", f"# TYPE {name} gauge", f"{name} {value():g}"]
        return "\n".join(lines) + "\n"
