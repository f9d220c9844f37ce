from __future__ import annotations

import itertools

import pytest

from wardian.lock.maven_version import MavenVersion, newest

ORDER = (
    "1-alpha", "1-alpha2", "1-beta", "1-b2", "1-milestone", "1-m3", "1-rc1", "1-cr2", "1-snapshot", "1", "1-sp", "1-foo", "1-1", "1.1", "1.9",
    "1.10", "2.0-rc1", "2.0", "2.0.1",
)  # fmt: skip


def test_the_order_is_mavens() -> None:
    for (i, left), (j, right) in itertools.product(enumerate(ORDER), repeat=2):
        assert (MavenVersion(left) < MavenVersion(right)) == (i < j), (left, right)


@pytest.mark.parametrize(
    ("left", "right"),
    [("1", "1.0"), ("1.0.0", "1-ga"), ("1.0-final", "1"), ("1-rc1", "1-CR1"), ("1-a1", "1-alpha-1"), ("3.2.1.Final", "3.2.1"), ("1x", "1-x")],
)  # fmt: skip
def test_spellings_of_one_version(left: str, right: str) -> None:
    assert MavenVersion(left) == MavenVersion(right)
    assert hash(MavenVersion(left)) == hash(MavenVersion(right))


@pytest.mark.parametrize(
    ("older", "newer"),
    [("2.12.7", "2.12.7.1"), ("33.0.0-android", "33.0.0-jre"), ("4.1.9.Final", "4.1.10.Final"), ("r03", "r09"), ("1.0.0-SNAPSHOT", "1.0.0")],
)  # fmt: skip
def test_versions_of_known_libraries(older: str, newer: str) -> None:
    assert MavenVersion(older) < MavenVersion(newer)


def test_the_newest_does_not_depend_on_the_order_of_a_set() -> None:
    assert newest({"1.9", "1.10", "1.2"}) == "1.10"
    assert {newest(set(order)) for order in itertools.permutations(("1.0", "1", "1.0.0"))} == {"1"}
