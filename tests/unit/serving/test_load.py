"""Figures of replayed requests, and the files of requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from wardian.errors import InvalidInput
from wardian.serving.load import Figures, read_requests

if TYPE_CHECKING:
    from pathlib import Path


def test_figures() -> None:
    figures = Figures(tuple(float(n) for n in range(1, 101)), {"status 500": 2}, 2.0, 4)
    document = figures.as_document()
    assert document["requests"] == 102
    assert document["failed"] == 2
    assert document["requests_per_s"] == 51.0
    assert document["latency_ms"] == {"min": 1.0, "mean": 50.5, "p50": 51.0, "p90": 91.0, "p99": 100.0, "max": 100.0}


def test_a_histogram_counts_every_answer_once() -> None:
    figures = Figures((1.0,) * 50 + (2.0,) * 25 + (900.0,))
    rows = figures.histogram()
    assert sum(int(row.split()[-1]) for row in rows) == 76
    assert rows[0].count("█") == 40
    assert rows[-1].split()[0] == "beyond"
    assert Figures(()).histogram() == []
    assert len(Figures((3.0,)).histogram()) == 12


def test_requests_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    path.write_text('{"data": [1]}\n\n[2]\n')
    assert read_requests(path) == [b'{"data": [1]}', b"[2]"]


@pytest.mark.parametrize(
    ("text", "said"),
    [("[1]\n{\n", "requests.jsonl:2: this is no JSON"), ("\n", "holds no request"), ("[" * 100_000, "this is no JSON")],
)
def test_a_file_with_faults_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "requests.jsonl"
    path.write_text(text)
    with pytest.raises(InvalidInput, match=said):
        read_requests(path)
