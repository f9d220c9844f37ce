"""Laws of the layer plan: total, independent of order, stable when a package changes, comes or goes, and never too many layers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.builders import a_lock, an_artifact

from wardian.digest import Digest
from wardian.errors import BuildFailed
from wardian.image.plan import LayerGroup, plan_layers
from wardian.lock.lock import BuiltWheel

if TYPE_CHECKING:
    from wardian.lock.lock import Artifact


def package(number: int, size: int, kind: str = "wheel") -> Artifact:
    name, native = f"package-{number}", kind == "native"
    if kind == "local":
        built = BuiltWheel(f"{name}-1.0-py3-none-any.whl", Digest.of(name.encode()), size)
        return an_artifact(name, kind="sdist", source="workspace", built=built)
    return an_artifact(name, kind="conda" if native or kind == "noarch" else "wheel", size_bytes=size,
                       noarch="python" if kind == "noarch" else "")  # fmt: skip


KINDS = st.sampled_from(["wheel", "native", "noarch", "local"])


@st.composite
def packages(draw: st.DrawFn, least: int = 0, most: int = 400) -> list[Artifact]:
    count = draw(st.integers(least, most))
    random = draw(st.randoms(use_true_random=False))
    numbers = random.sample(range(10_000), count)
    kinds = ["wheel", "native", "noarch"] * 10 + ["local"]
    return [package(n, int(10 ** random.uniform(2, 9)), random.choice(kinds)) for n in numbers]


def groups_of(artifacts: list[Artifact], base_layers: int = 5) -> set[LayerGroup]:
    return set(plan_layers(a_lock(*artifacts), base_layers=base_layers))


@given(packages(), st.integers(0, 110), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_every_package_is_in_one_layer_and_their_number_is_kept(artifacts: list[Artifact], base: int, random: object) -> None:
    python = an_artifact("cpython", "3.12.1", kind="python")
    plan = plan_layers(a_lock(*artifacts, python), base_layers=base)
    assert len(plan) + base <= 115
    assert sorted(a.name for group in plan for a in group.artifacts) == sorted([*(a.name for a in artifacts), "cpython"])
    assert plan[0] == LayerGroup("python", (python,))
    assert plan[-1] == LayerGroup("environment")
    assert all(group.artifacts for group in plan[:-1])
    random.shuffle(artifacts)  # type: ignore[attr-defined]
    assert plan_layers(a_lock(python, *artifacts), base_layers=base) == plan
    if len(artifacts) <= 114 - base - 1 and not any(a.kind == "sdist" for a in artifacts):
        assert all(len(group.artifacts) == 1 for group in plan[:-1])
        order = [(not (a.kind == "conda" and not a.noarch), -(a.size_bytes or 0)) for g in plan[1:-1] for a in g.artifacts]
        assert order == sorted(order)


@given(packages(least=2), st.data())
@settings(max_examples=60, deadline=None)
def test_a_package_that_changes_changes_its_own_layer(artifacts: list[Artifact], data: st.DataObject) -> None:
    old = data.draw(st.sampled_from(artifacts))
    new = replace(old, version="2.0", sha256=Digest("1" * 64))
    before, after = groups_of(artifacts), groups_of([new if a is old else a for a in artifacts])
    (gone,) = before - after
    (come,) = after - before
    assert set(gone.artifacts) - {old} == set(come.artifacts) - {new}


@given(packages(least=1), st.integers(100, 10**9), KINDS)
@settings(max_examples=100, deadline=None)
def test_one_more_package_moves_few_others(artifacts: list[Artifact], size: int, kind: str) -> None:
    more = package(10_001, size, kind)
    before, after = groups_of(artifacts), groups_of([*artifacts, more])
    assert len(before - after) <= (3 if kind != "local" else 5)  # the layer of a local one is taken from the others
    moved = {a for group in before - after for a in group.artifacts}
    assert len(moved) <= max(40, len(artifacts) // 8)


def test_the_order_is_that_of_how_likely_something_changes() -> None:
    local, big, small = package(1, 10**8, "local"), package(2, 10**8), package(3, 10)
    native, noarch, python = package(4, 100, "native"), package(5, 10**9, "noarch"), an_artifact("python", kind="conda")
    vcs = replace(package(6, 5, "local"), source="definition:0")
    plan = plan_layers(a_lock(small, local, big, noarch, native, vcs, python))
    assert [(g.kind, *(a.name for a in g.artifacts)) for g in plan] == [
        ("python", "python"), ("packages", "package-4"), ("packages", "package-5"), ("packages", "package-2"),
        ("packages", "package-3"), ("local", "package-1"), ("local", "package-6"), ("environment",),
    ]  # fmt: skip
    assert plan[1].packages == ("package-4 1.26.4",)


def test_the_bases_own_python_has_no_layer() -> None:
    host = an_artifact("cpython", "3.11.2", kind="python", source="host")
    assert plan_layers(a_lock(host)) == (LayerGroup("environment"),)


@pytest.mark.parametrize("count", [5, 113, 114, 115, 200, 400])
def test_layers_are_shared_only_when_there_are_too_many_packages(count: int) -> None:
    plan = plan_layers(a_lock(*(package(n, 1000 + n) for n in range(count))))
    assert len(plan) == min(count + 1, 115)
    sizes = sorted((len(group.artifacts) for group in plan[:-1]), reverse=True)
    assert sizes[0] <= max(1, (count - 57) // 57 * 4)
    assert sizes[57:] == [1] * len(sizes[57:])


def test_a_base_that_leaves_no_room_is_refused() -> None:
    with pytest.raises(BuildFailed, match="has 112 layers") as caught:
        plan_layers(a_lock(package(1, 1)), base_layers=112)
    assert caught.value.stable_code == "too_many_layers"
