"""conda's order of versions, checked against rattler, which knows it."""

from __future__ import annotations

import itertools

import pytest
import rattler
from hypothesis import given
from hypothesis import strategies as st

from wardian.lock.version_order import CondaVersion, is_newer

VERSIONS = """0.4 0.4.0 0.4.1.rc 0.4.1 0.4.1.post1 0.5a1 0.5b3 0.5C1 0.5 0.9.6 0.960923 1.0 1.1dev1 1.1a1 1.1.0dev1 1.1.a1 1.1.0rc1
1.1.0 1.1.0post1 1.1post1 1996.07.12 1!0.4.1 1!3.1.1.6 2!0.4.1 2024a 2024b 1.0.2g 1.0.2 3.0.13 9e 9f 1.0+cu118 1.0+cpu 2.1.0+cu121
4.9.3.post20 1.2.dev 1.2""".split()  # noqa: SIM905 - a table


def test_as_rattler_orders_them() -> None:
    wrong = [
        (a, b)
        for a, b in itertools.product(VERSIONS, VERSIONS)
        if (rattler.Version(a) < rattler.Version(b), rattler.Version(a) == rattler.Version(b))
        != (CondaVersion(a) < CondaVersion(b), CondaVersion(a) == CondaVersion(b))
    ]
    assert wrong == []


PARTS = st.lists(st.sampled_from(["0", "1", "10", "a", "rc1", "1a", "dev", "post2", "2024b"]), min_size=1, max_size=4)


@given(PARTS, PARTS, st.sampled_from(["", "1!"]), st.sampled_from(["", "+1", "+cpu"]))
def test_as_rattler_orders_any(first: list[str], second: list[str], epoch: str, local: str) -> None:
    a, b = epoch + "1." + ".".join(first) + local, epoch + "1." + ".".join(second)
    assert (CondaVersion(a) < CondaVersion(b)) == (rattler.Version(a) < rattler.Version(b))


def test_equal_versions_hash_alike() -> None:
    assert hash(CondaVersion("1.0")) == hash(CondaVersion("1.0.0"))
    assert CondaVersion("1.0") != "1.0"


@pytest.mark.parametrize(
    ("version", "than", "newer"), [("1.10", "1.9", True), ("1.0a1", "1.0", False), ("1.0", "1.0.0", False)]
)
def test_pypi_versions(version: str, than: str, newer: bool) -> None:
    assert is_newer(version, than, conda=False) is newer
