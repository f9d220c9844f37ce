from __future__ import annotations

import pytest

from wardian.errors import InvalidInput
from wardian.tools import rattler
from wardian.tools.http import Credentials

FULL = rattler.Record(
    name="numpy", version="1!2.0.1a1", build="py311h1_3", build_number=3, subdir="linux-64", file="numpy-1!2.0.1a1-py311h1_3.conda",
    url="file:///x/linux-64/numpy-1!2.0.1a1-py311h1_3.conda", channel="channel:conda-forge", sha256="0f" * 32, size_bytes=12345,
    depends=("python >=3.11,<3.12.0a0", "__glibc >=2.17"), constrains=("numpy-base <0a0",), noarch="generic", license="BSD-3-Clause",
    timestamp="2024-01-02T03:04:05.678Z", site_packages_path="lib/python3.11/site-packages",
)  # fmt: skip


@pytest.mark.parametrize("noarch", ["", "python", "generic"])
@pytest.mark.parametrize("version", ["1!2.0.1a1", "2024a", "1.1.1w", "0.0.0", "1.0.0+g12ab"])
def test_a_record_comes_back_from_rattler_as_it_was(noarch: str, version: str) -> None:
    record = rattler.Record(**{**{f: getattr(FULL, f) for f in FULL.__slots__}, "noarch": noarch, "version": version})
    assert rattler._as_record(rattler.as_rattler(record)) == record


def test_what_a_record_leaves_open_stays_open() -> None:
    bare = rattler.Record("x", "1", "0", 0, "noarch", "x-1-0.conda", "file:///c/noarch/x-1-0.conda", "file:///c")
    assert rattler._as_record(rattler.as_rattler(bare)) == bare


@pytest.mark.parametrize(
    ("text", "normal"),
    [("numpy", "numpy"), ("numpy=1.26", "numpy 1.26.*"), ("NumPy >=1,<2", "numpy >=1,<2"), ("numpy 1.26", "numpy ==1.26")],
)
def test_one_form_for_match_specs(text: str, normal: str) -> None:
    assert rattler.normal_spec(text).lower() == normal


def test_a_match_spec_that_is_none() -> None:
    with pytest.raises(InvalidInput, match="`numpy >>1` is not a conda match spec") as caught:
        rattler.normal_spec("numpy >>1")
    assert caught.value.stable_code == "bad_match_spec"


def test_secrets_are_not_printed() -> None:
    access = rattler.Access({"https://x": Credentials("me", "hunter2")}, {"https://x": "t0ken"})
    assert "hunter2" not in repr(access)
    assert "t0ken" not in repr(access)
