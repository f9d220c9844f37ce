"""What differs between two locks, and which requirement brings a package in."""

from __future__ import annotations

from typing import Any

import pytest
from tests.builders import a_lock, an_artifact

from wardian.digest import Digest
from wardian.lock.difference import LockDifference, difference
from wardian.lock.lock import Artifact, BuiltWheel, Lock


def lock(*artifacts: Artifact, roots: tuple[str, ...] = (), **more: Any) -> Lock:
    return a_lock(*artifacts, roots=roots, **more)


def one(before: Artifact, after: Artifact) -> str:
    moves = difference(lock(before), lock(after)).moves
    assert len(moves) == 1
    return moves[0].change


def test_the_same() -> None:
    found = difference(lock(an_artifact(), created="2024-01-01T00:00:00Z"), lock(an_artifact(), created="2024-05-01T00:00:00Z"))
    assert found == LockDifference((), ("linux/amd64", "linux/amd64"))
    assert not found
    assert (found.text(), found.summary(), found.counts) == ("the same packages", "the same packages", {})


def test_every_change() -> None:
    before = lock(
        an_artifact("python", "3.11.8", kind="conda"), an_artifact("numpy", "1.26.4"), an_artifact("scipy", "1.14.0"),
        an_artifact("gone", "1"), an_artifact("zlib", "1.2", kind="conda", build="h0_0"), an_artifact("same", "1"),
    )  # fmt: skip
    after = lock(
        an_artifact("python", "3.11.9", kind="conda"), an_artifact("numpy", "2.0.0"), an_artifact("scipy", "1.13.1"),
        an_artifact("new", "1"), an_artifact("zlib", "1.2", kind="conda", build="h1_0"), an_artifact("same", "1"),
    )  # fmt: skip
    found = difference(before, after)
    assert found
    assert [(move.kind, move.change, move.name) for move in found.moves] == [
        ("conda", "up", "python"), ("conda", "rebuilt", "zlib"), ("wheel", "removed", "gone"), ("wheel", "added", "new"), ("wheel", "up", "numpy"),
        ("wheel", "down", "scipy"),
    ]  # fmt: skip
    assert found.counts == {"added": 1, "removed": 1, "up": 2, "down": 1, "rebuilt": 1}
    assert found.text() == (
        "conda:\n  ↑ python 3.11.8 → 3.11.9\n  ~ zlib 1.2=h0_0 → 1.2=h1_0 (rebuilt)\n"
        "wheel:\n  - gone 1\n  + new 1\n  ↑ numpy 1.26.4 → 2.0.0\n  ↓ scipy 1.14.0 → 1.13.1\n"
        "1 added, 1 removed, 2 up, 1 down, 1 rebuilt"
    )
    assert found.summary() == "python 3.11.8 → 3.11.9, zlib 1.2=h0_0 → 1.2=h1_0 (rebuilt), - gone 1, 3 more"


def test_the_document() -> None:
    before, after = an_artifact("numpy", "1.26.4"), an_artifact("numpy", "2.0.0")
    found = difference(lock(before), lock(after, platform="linux/arm64")).as_document()
    assert found == {
        "platforms": ["linux/amd64", "linux/arm64"],
        "counts": {"up": 1},
        "packages": [{
            "change": "up", "name": "numpy", "kind": "wheel", "before": "1.26.4", "after": "2.0.0",
            "before_sha256": before.sha256, "after_sha256": after.sha256, "roots": [], "paths": [],
        }],
    }  # fmt: skip


def test_a_wheel_in_the_place_of_an_sdist_is_the_same_package() -> None:
    built = BuiltWheel("mine-1.0-py3-none-any.whl", Digest.of(b"built"), 10)
    sdist = an_artifact("mine", "1.0", kind="sdist", built=built)
    assert one(sdist, an_artifact("mine", "1.1")) == "up"
    assert one(sdist, an_artifact("mine", "1.0")) == "rebuilt"
    assert difference(lock(sdist), lock(an_artifact("mine", "1.0", sha256=built.sha256))).moves == ()


def test_conda_and_pypi_are_apart() -> None:
    found = difference(lock(an_artifact("numpy", "1.26", kind="conda")), lock(an_artifact("numpy", "2.0")))
    assert [(move.change, move.kind, str(move)) for move in found.moves] == [
        ("removed", "conda", "numpy 1.26"), ("added", "wheel", "numpy 2.0"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "before", "after", "change"),
    [
        ("wheel", "1.9", "1.10", "up"),
        ("wheel", "2.0rc1", "2.0", "up"),
        ("wheel", "2.0.post1", "2.0", "down"),
        ("wheel", "1.0", "1.0.0", "rebuilt"),
        ("wheel", "2.1.0+cpu", "2.1.0+cu121", "up"),
        ("sdist", "not-a-version-1", "not-a-version-2", "up"),
        ("conda", "1.1.1g", "1.1.1w", "up"),
        ("conda", "9e", "9f", "up"),
        ("conda", "2024a", "2023d", "down"),
        ("conda", "1!0.1", "5.0", "down"),
        ("conda", "1.0", "1.0.0", "rebuilt"),
        ("python", "3.11.9", "3.12.1", "up"),
        ("jar", "3.5.1", "3.5.0", "down"),
    ],
)
def test_which_version_is_newer(kind: str, before: str, after: str, change: str) -> None:
    first, second = an_artifact("x", before, kind=kind), an_artifact("x", after, kind=kind)
    assert one(first, second) == change


def test_jars_of_spark_count() -> None:
    before = Lock("linux/amd64", (), lock().provenance, spark=(an_artifact("g:a", "1", kind="jar"),))
    after = Lock("linux/amd64", (), lock().provenance, spark=(an_artifact("g:a", "2", kind="jar"),))
    assert [(move.kind, move.change) for move in difference(before, after).moves] == [("jar", "up")]


def test_roots_that_need_a_package() -> None:
    def packages(threads: str) -> tuple[Artifact, ...]:
        return (
            an_artifact("scikit-learn", "1.5", depends=("joblib", "scipy")), an_artifact("scipy", "1.14", depends=("numpy",)),
            an_artifact("joblib", "1.4"), an_artifact("numpy", "2.0"), an_artifact("torch", "2.4", depends=("numpy", "networkx")),
            an_artifact("networkx", threads, depends=("torch",)), an_artifact("python", threads, kind="conda", depends=("__glibc >=2.17", "libffi >=3.4,<4")),
            an_artifact("libffi", threads, kind="conda"),
        )  # fmt: skip

    roots = ("scikit-learn", "torch", "python")
    before = lock(*packages("3.1"), roots=roots)
    after = lock(*packages("3.2"), an_artifact("numpy", "2.1"), roots=roots)
    why = {move.name: move.roots for move in difference(before, after).moves}
    assert why == {"networkx": ("torch",), "python": (), "libffi": ("python",), "numpy": ("scikit-learn", "torch")}
    text = difference(before, after).text()
    assert "↑ libffi 3.1 → 3.2  (needed by python)" in text
    assert "+ numpy 2.1  (needed by torch, scikit-learn)" in text


def test_a_removed_package_names_who_needed_it() -> None:
    before = lock(an_artifact("a", "1", depends=("b",)), an_artifact("b", "1"), roots=("a",))
    after = lock(an_artifact("a", "2"), roots=("a",))
    assert {move.name: (move.change, move.roots) for move in difference(before, after).moves} == {
        "a": ("up", ()),
        "b": ("removed", ("a",)),
    }


def test_many_roots_are_cut_in_the_text() -> None:
    roots = tuple(f"r{n}" for n in range(6))
    packages = [an_artifact(root, "1", depends=("common",)) for root in roots]
    found = difference(lock(*packages, roots=roots), lock(*packages, an_artifact("common", "1"), roots=roots))
    assert found.moves[0].roots == roots
    assert "(needed by r0, r1, r2 and 3 more)" in found.text()


def test_the_shortest_way_from_the_definition_to_a_package_is_told() -> None:
    def packages(six: str) -> tuple[Artifact, ...]:
        return (
            an_artifact("pandas", "2.2", depends=("python-dateutil", "pytz")), an_artifact("python-dateutil", "2.9", depends=("six",)),
            an_artifact("seaborn", "0.13", depends=("pandas", "matplotlib")), an_artifact("matplotlib", "3.9", depends=("python-dateutil", "cycler")),
            an_artifact("cycler", "0.12", depends=("matplotlib",)), an_artifact("pytz", six), an_artifact("six", six),
        )  # fmt: skip

    found = difference(
        lock(*packages("1.16"), roots=("pandas", "seaborn")), lock(*packages("1.17"), roots=("pandas", "seaborn"))
    )
    assert found.text() == (
        "wheel:\n  ↑ pytz 1.16 → 1.17  (needed by pandas, seaborn)\n"
        "  ↑ six 1.16 → 1.17  (through python-dateutil ← pandas; also needed by seaborn)\n2 up"
    )
    six = found.moves[1]
    assert six.roots == ("pandas", "seaborn")
    assert six.as_document()["paths"] == [["pandas", "python-dateutil"], ["seaborn", "matplotlib", "python-dateutil"]]
    alone = difference(lock(*packages("1.16"), roots=("seaborn",)), lock(*packages("1.17"), roots=("seaborn",)))
    assert "six 1.16 → 1.17  (through python-dateutil ← matplotlib ← seaborn)" in alone.text()


def test_a_long_way_is_cut_in_the_text_and_whole_in_the_document() -> None:
    chain = [an_artifact(f"p{n:03}", "1", depends=(f"p{n + 1:03}", "p000", "not-locked >=2")) for n in range(500)]
    found = difference(lock(*chain, roots=("p000",)), lock(*chain, an_artifact("p500", "1"), roots=("p000",)))
    assert found.moves[0].paths == (tuple(f"p{n:03}" for n in range(500)),)
    assert "+ p500 1  (through p499 ← p498 ← p497 ← … ← p000)" in found.text()


def test_several_artifacts_of_one_name() -> None:
    def marked(version: str, marker: str) -> Artifact:
        return an_artifact("x", version, markers=marker)

    before = lock(marked("1", "a"), marked("2", "b"))
    after = lock(marked("1", "a"), marked("3", "b"))
    assert [(move.change, str(move)) for move in difference(before, after).moves] == [("up", "x 2 → 3")]
    assert [move.change for move in difference(before, lock(marked("1", "a"))).moves] == ["removed"]
