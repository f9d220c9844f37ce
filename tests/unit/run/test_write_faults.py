from __future__ import annotations

import itertools
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from wardian.run.write_faults import WriteFaults

PREFIX = Path("/cache/prefixes/3f2a91")
PYTHON = f"OSError: [Errno 30] Read-only file system: '{PREFIX}/lib/python3.11/site-packages/my module.py'\n".encode()


def looked(*chunks: bytes, stream: int = 2) -> WriteFaults:
    faults = WriteFaults([PREFIX])
    for chunk in chunks:
        faults.look(stream, chunk)
    return faults


@given(st.lists(st.integers(0, len(PYTHON) + 40), max_size=6))
def test_a_refused_write_is_seen_however_the_output_is_cut(cuts: list[int]) -> None:
    text = b"before\nand before\n" + PYTHON + b"after, no end"
    places = sorted({0, len(text), *cuts})
    faults = looked(*[text[a:b] for a, b in itertools.pairwise(places)])
    assert "outputs/" in faults.note
    assert faults.path == f"{PREFIX}/lib/python3.11/site-packages/my module.py"


def test_what_other_programs_say() -> None:
    unfinished = looked(f"touch: cannot touch '{PREFIX}/x': Permission denied".encode())
    assert f"{PREFIX}/x:" in unfinished.note
    assert looked(f"mkdir: {PREFIX}/y: Read-only file system\n".encode()).path == f"{PREFIX}/y"
    assert looked(f"cp: {PREFIX}/z: Permission denied\n".encode()).path == f"{PREFIX}/z"


def test_what_has_nothing_to_do_with_the_environment_is_no_notice() -> None:
    for text in (
        b"Permission denied: '/etc/shadow'\n",
        b"Read-only file system\n",
        f"{PREFIX}/x\nPermission denied\n".encode(),
        b"",
    ):
        assert looked(text).note == ""
    assert WriteFaults([]).note == ""
    faults = WriteFaults([PREFIX])
    faults.look(1, f"{PREFIX}".encode())
    faults.look(2, b" Permission denied\n")
    assert faults.note == ""


def test_lines_without_end_take_no_memory() -> None:
    faults = looked(*[b"x" * 100_000] * 20)
    assert sum(map(len, faults._tails.values())) < 10_000
