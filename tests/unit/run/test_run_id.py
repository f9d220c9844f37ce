from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wardian.run.run_id import ALPHABET, LENGTH, is_id_or_prefix, new_run_id

MS_2025, MS_2059 = 1_735_689_600_000, 1_735_689_600_000 + (1 << 40) - 1


@given(
    st.integers(MS_2025, MS_2059),
    st.integers(MS_2025, MS_2059),
    st.binary(min_size=3, max_size=3),
    st.binary(min_size=3, max_size=3),
)
def test_ids_sort_as_times_do(first: int, second: int, one: bytes, other: bytes) -> None:
    a, b = new_run_id("", lambda: first, lambda _: one), new_run_id("", lambda: second, lambda _: other)
    assert len(a) == LENGTH
    assert set(a) <= set(ALPHABET)
    if first != second:
        assert (a < b) == (first < second)


def test_ids_of_one_millisecond_differ() -> None:
    assert len({new_run_id("", lambda: MS_2025) for _ in range(20)}) > 18


@given(st.integers(0, MS_2059 - 1), st.integers(0, MS_2059))
def test_an_id_sorts_behind_the_newest_whatever_the_clock_says(first: int, second: int) -> None:
    newest = new_run_id("", lambda: first)
    assert newest < new_run_id(newest, lambda: second)


def test_what_can_be_an_id() -> None:
    assert is_id_or_prefix(new_run_id())
    assert is_id_or_prefix("1q")
    assert not is_id_or_prefix("")
    assert not is_id_or_prefix("1qjm5wmczg9m0")
    assert not is_id_or_prefix("%")
