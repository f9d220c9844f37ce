"""Who needs whom in a lock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.builders import a_lock, an_artifact

from wardian.lock.graph import DependencyGraph

if TYPE_CHECKING:
    from wardian.lock.lock import Artifact


def graph(*artifacts: Artifact, roots: tuple[str, ...] = ()) -> DependencyGraph:
    return DependencyGraph.of(a_lock(*artifacts, roots=roots))


def test_a_drawing_begins_with_what_is_asked_for_and_leaves_nothing_out() -> None:
    found = graph(
        an_artifact("cpython", "3.11.9", kind="python"), an_artifact("sklearn", "1", depends=("numpy", "scipy")), an_artifact("scipy", "1", depends=("numpy",)),
        an_artifact("numpy", "2"), an_artifact("chicken", "1", depends=("egg",)), an_artifact("egg", "1", depends=("chicken",)),
        roots=("sklearn", "not-on-this-platform"),
    )  # fmt: skip
    assert found.roots == ("sklearn",)
    assert found.tops == ("sklearn", "chicken", "cpython")
    assert found.below(found.tops) == set(found.artifacts)
    assert found.needed_by["numpy"] == ("scipy", "sklearn")
    assert found.above("numpy") == {"numpy", "scipy", "sklearn"}


def test_what_would_not_be_there_without_a_root_and_its_size() -> None:
    found = graph(
        an_artifact("pandas", "1", depends=("numpy", "pytz"), size_bytes=10), an_artifact("scipy", "1", depends=("numpy",), size_bytes=20),
        an_artifact("numpy", "2", size_bytes=40), an_artifact("pytz", "1", size_bytes=80), roots=("pandas", "scipy"),
    )  # fmt: skip
    assert found.alone("pandas") == {"pandas", "pytz"}
    assert found.alone("scipy") == {"scipy"}
    assert (found.size_bytes(found.below(["pandas"])), found.size_bytes(found.alone("pandas"))) == (130, 90)


def test_two_releases_of_a_name_are_one_package_and_none_needs_itself() -> None:
    found = graph(
        an_artifact("a", "1", markers="python_version < '3.12'", depends=("a", "b")), an_artifact("a", "2"), an_artifact("b", "1"),
        roots=("a",),
    )  # fmt: skip
    assert [one.version for one in found.artifacts["a"]] == ["1", "2"]
    assert (found.needs["a"], found.needed_by["a"], found.tops) == (("b",), (), ("a",))


def test_match_specs_and_jars_name_what_they_need() -> None:
    found = graph(
        an_artifact("python", "3.11", kind="conda", depends=("__glibc >=2.17", "conda-forge::zlib >=1.2,<2.0a0")),
        an_artifact("zlib", "1.3", kind="conda"), an_artifact("org.a:one", "1", kind="jar", depends=("org.a:two",)),
        an_artifact("org.a:two", "1", kind="jar"), roots=("python", "org.a:one"),
    )  # fmt: skip
    assert found.needs["python"] == ("zlib",)
    assert found.needs["org.a:one"] == ("org.a:two",)
