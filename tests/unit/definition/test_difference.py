"""What differs between two definitions, and why two hashes do."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.builders import an_environment

from wardian.definition.difference import Difference, PackageChange, SettingChange, difference
from wardian.definition.docker_section import BuildContext, DockerSection
from wardian.definition.environment import Environment, LocalSource, SparkSection
from wardian.definition.identity import definition_hash
from wardian.digest import Digest
from wardian.workspace.version import content_key

A, B = Digest.of(b"a"), Digest.of(b"b")


def between(before: dict[str, Any], after: dict[str, Any]) -> Difference:
    return difference(an_environment(**before), an_environment(**after))


def test_equal_definitions() -> None:
    found = between({}, {})
    assert found == Difference()
    assert found.same_content
    assert not found.only_order
    assert found.text() == "the hashes are equal, and so are the definitions"
    assert found.summary() == "same definition"


def test_packages() -> None:
    found = between({"pip": ("numpy==1.26", "scipy", "Torch>=2")}, {"pip": ("numpy==2.0", "torch>=2", "pandas>=2,<3")})
    assert found.packages == (
        PackageChange("pip", "numpy", ("==1.26",), ("==2.0",)),
        PackageChange("pip", "scipy", ("*",), ()),
        PackageChange("pip", "pandas", (), (">=2,<3",)),
    )
    assert [change.kind for change in found.packages] == ["changed", "removed", "added"]
    assert found.hashed == ("pip",)
    assert found.summary() == "numpy 1.26 → 2.0, - scipy, + pandas >=2,<3"
    assert found.text() == "pip:\n  ~ numpy  ==1.26 → ==2.0\n  - scipy\n  + pandas  >=2,<3\nthe hashes differ by: pip"


@pytest.mark.parametrize(
    ("section", "before", "after", "expected"),
    [
        ("pip", "a", "a==1", "a * → ==1"),
        ("pip", "a>=1", "a==1", "a >=1 → ==1"),
        ("pip", "a[x]==1", "a==1", "a [x]==1 → ==1"),
        ("pip", "a==1", "a==1; python_version < '3.9'", 'a 1 → 1; python_version < "3.9"'),
        ("pip", "a @ https://x.example/a-1.zip", "a==1", "a @ https://x.example/a-1.zip → ==1"),
        ("conda", "numpy 1.26", "numpy=1.26", "numpy 1.26 → =1.26"),
        ("conda", "numpy", "conda-forge::numpy>=2", "numpy * → >=2 from conda-forge"),
        ("conda", "numpy::numpy", "numpy", "numpy from numpy → *"),
        ("conda", "numpy=1.26=py311_0", "numpy=1.26=py312_0", "numpy =1.26=py311_0 → =1.26=py312_0"),
        (
            "conda",
            "https://x.example/linux-64/numpy-1.26-h0_0.conda",
            "numpy",
            "numpy https://x.example/linux-64/numpy-1.26-h0_0.conda → *",
        ),
        ("conda", "numpy[build='*cuda*']", "numpy", "numpy [build='*cuda*'] → *"),
    ],
)
def test_how_a_package_is_asked_for(section: str, before: str, after: str, expected: str) -> None:
    found = between({section: (before,)}, {section: (after,)})
    assert found.summary() == expected
    assert [change.kind for change in found.packages] == ["changed"]


def test_a_package_named_twice_is_one_change() -> None:
    found = between({"pip": ("a<2; python_version<'3.9'", "a>=2")}, {"pip": ("a>=2", "a<2; python_version<'3.9'", "a!=3")})
    assert [(change.name, len(change.before), len(change.after)) for change in found.packages] == [("a", 2, 3)]
    assert between({"pip": ("a<2", "a>1")}, {"pip": ("a>1", "a<2")}).packages == ()


def test_requirements_without_a_name() -> None:
    found = between({"pip": ("./a", "git+https://x.example/b.git@v1")}, {"pip": ("./c",)})
    assert [str(change) for change in found.packages] == ["- ./a", "- git+https://x.example/b.git@v1", "+ ./c"]


def test_a_package_that_moves_from_conda_to_pip() -> None:
    found = between({"conda": ("python=3.11", "numpy=1.26")}, {"conda": ("python=3.11",), "pip": ("numpy==1.26",)})
    assert [(change.section, str(change)) for change in found.packages] == [
        ("conda", "- numpy =1.26"),
        ("pip", "+ numpy ==1.26"),
    ]
    assert found.hashed == ("conda", "pip")


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        ({"pip": ("a", "b")}, {"pip": ("b", "a")}, "the order of pip differs"),
        ({"conda": ("a", "b")}, {"conda": ("b", "a")}, "the order of conda differs"),
        ({"channels": ("a", "b")}, {"channels": ("b", "a")}, "the order of channels differs"),
        (
            {"channels": ("a", "b"), "conda": ("c", "d"), "pip": ("e", "f")},
            {"channels": ("b", "a"), "conda": ("d", "c"), "pip": ("f", "e")},
            "the order of channels, conda and pip differs",
        ),
        ({"packages": ("g:a:1", "g:b:1")}, {"packages": ("g:b:1", "g:a:1")}, "the order of spark packages differs"),
    ],
)
def test_only_the_order_differs(before: dict[str, Any], after: dict[str, Any], text: str) -> None:
    found = between(before, after)
    assert found.only_order
    assert found.packages == ()
    assert found.hashed == found.reordered
    assert f"the hashes differ: only {text}, and order counts" in found.text()
    assert found.summary().startswith("order of")


def test_order_and_more_is_not_only_order() -> None:
    found = between({"conda": ("a", "b"), "pip": ("x",)}, {"conda": ("b", "a"), "pip": ("y",)})
    assert not found.only_order
    assert found.reordered == ("conda",)
    assert "the hashes differ by: conda, pip" in found.text()


def test_lists() -> None:
    found = between(
        {"channels": ("defaults", "conda-forge"), "pip": ("a",), "pip_options": ("--pre",)},
        {"channels": ("conda-forge", "pytorch"), "pip": ("a",), "pip_options": ("--pre", "--no-index")},
    )
    assert [(change.section, change.added, change.removed) for change in found.lists] == [
        ("channels", ("pytorch",), ("defaults",)),
        ("pip_options", ("--no-index",), ()),
    ]
    assert "channels:\n  + pytorch\n  - defaults\n  order: defaults, conda-forge → conda-forge, pytorch\n" in found.text()
    assert found.summary() == "channels, pip options"


@pytest.mark.parametrize(
    ("before", "after", "expected", "hashed"),
    [
        ({"manager": "uv"}, {"manager": "user"}, SettingChange("python.manager", "uv", "user"), "manager"),
        ({}, {"source": "host"}, SettingChange("python.source", None, "host"), "source"),
        ({}, {"requires_python": "==3.11.*"}, SettingChange("python.requires_python", None, "==3.11.*"), "requires_python"),
        ({}, {"index_strategy": "unsafe-best-match"}, SettingChange("python.index_strategy", None, "unsafe-best-match"), "index_strategy"),
        ({"link_scripts": "run"}, {}, SettingChange("python.link_scripts", "run", None), "link_scripts"),
        ({}, {"locked_input": A}, SettingChange("python.locked_input", None, A), "locked_input"),
        ({}, {"base_image": "debian:12"}, SettingChange("docker.base_image", None, "debian:12"), "base_image"),
        ({}, {"platform": "linux/arm64"}, SettingChange("docker.platform", None, "linux/arm64"), "docker_platform"),
        ({"accelerators": {"cuda": "12.1"}}, {"accelerators": {"cuda": "12.4"}}, SettingChange("accelerators.cuda", "12.1", "12.4"), "virtual_packages"),
        ({"local": (LocalSource("./a", A),)}, {"local": (LocalSource("./a", B),)}, SettingChange("python.local[./a]", A, B), "local"),
    ],
)  # fmt: skip
def test_settings_in_the_hash(before: dict[str, Any], after: dict[str, Any], expected: SettingChange, hashed: str) -> None:
    pip = {"pip": ("numpy",)}
    found = between(pip | before, pip | after)
    assert found.settings == (expected,)
    assert found.hashed == (hashed,)
    assert expected.field in found.summary()
    assert expected.field in found.text()


def test_build_contexts() -> None:
    one = Environment(docker=DockerSection(build_context=BuildContext(A, "./ctx")))
    content = Environment(docker=DockerSection(build_context=BuildContext(B, "./ctx")))
    elsewhere = Environment(docker=DockerSection(build_context=BuildContext(A, "./other")))
    assert difference(one, content).hashed == ("build_context",)
    assert difference(one, elsewhere).hashed == ()
    assert difference(one, elsewhere).settings == (SettingChange("docker.build_context", "./ctx", "./other"),)
    assert not difference(one, elsewhere).same_content


def test_a_dockerfile_is_compared_by_line() -> None:
    found = difference(
        Environment(docker=DockerSection(dockerfile="FROM a\nRUN b\nRUN c\n")),
        Environment(docker=DockerSection(dockerfile="FROM a\nRUN x\nRUN c\n")),
    )
    assert "  ~ docker.dockerfile\n     FROM a\n    -RUN b\n    +RUN x\n     RUN c\n" in found.text()
    assert found.summary() == "docker.dockerfile"


def test_spark() -> None:
    found = difference(
        Environment(spark=SparkSection(("g:a:1",), ("https://r.example",))), Environment(spark=SparkSection(("g:a:2", "g:b:1")))
    )
    assert [str(change) for change in found.packages] == ["g:a 1 → 2", "+ g:b 1"]
    assert found.lists[0].removed == ("https://r.example",)
    assert found.hashed == ("spark_packages", "spark_repositories")


@pytest.mark.parametrize(
    ("before", "after"),
    [({"variables": {"A": "1"}}, {"variables": {"A": "2"}}), ({"manager": "user", "interpreter": "/a"}, {"manager": "user", "interpreter": "/b"})],
)  # fmt: skip
def test_content_that_is_in_no_hash(before: dict[str, Any], after: dict[str, Any]) -> None:
    found = between(before, after)
    assert found.hashed == ()
    assert not found.same_content
    assert found.text().endswith("the hashes are equal")


def test_metadata_is_no_content() -> None:
    found = between({"name": "a", "tags": {"x": "1"}}, {"name": "b", "tags": {"y": "1"}, "description": "d"})
    assert [change.field for change in found.metadata] == ["name", "tags.x", "description", "tags.y"]
    assert found.same_content
    assert "name, description and tags (in no hash):\n  ~ name  a → b\n" in found.text()


def test_the_document_holds_it_all() -> None:
    found = between({"pip": ("a==1",), "variables": {"V": "1"}}, {"pip": ("a==2",), "base_image": "x"})
    assert found.as_document() == {
        "same_content": False,
        "same_hash": False,
        "only_order": False,
        "hashed": ["base_image", "pip"],
        "reordered": [],
        "packages": [{"kind": "changed", "section": "pip", "name": "a", "before": ["==1"], "after": ["==2"]}],
        "lists": [],
        "settings": [{"field": "docker.base_image", "before": None, "after": "x"}],
        "variables": [{"field": "V", "before": "1", "after": None}],
        "metadata": [],
    }


def test_a_long_summary_is_cut() -> None:
    found = between({"pip": ()}, {"pip": tuple(f"p{n}" for n in range(9))})
    assert found.summary() == "+ p0, + p1, + p2, 6 more"
    assert found.summary(limit=1) == "+ p0, 8 more"


PIP = st.lists(st.sampled_from(["a", "a==1", "b>=2", "c[x]", "./d", "e @ https://x.example/e.zip"]), max_size=4)
ENVIRONMENTS = st.builds(
    lambda pip, options, variables, image, cuda: an_environment(
        pip=pip, pip_options=options, variables=variables, base_image=image, accelerators={"cuda": cuda} if cuda else {}
    ),
    PIP,
    st.lists(st.sampled_from(["--pre", "--no-index"]), max_size=2),
    st.dictionaries(st.sampled_from(["A", "B"]), st.sampled_from(["1", "2"])),
    st.sampled_from([None, "x", "y"]),
    st.sampled_from(["", "12.4"]),
)


@given(ENVIRONMENTS, ENVIRONMENTS)
def test_it_agrees_with_the_identities(before: Environment, after: Environment) -> None:
    found = difference(before, after)
    assert (not found.hashed) == (definition_hash(before) == definition_hash(after))
    assert found.same_content == (content_key(before) == content_key(after))
    assert set(found.reordered) <= set(found.hashed)
    assert (found.text() == difference(before, before).text()) == (found == Difference())


@given(ENVIRONMENTS, ENVIRONMENTS)
def test_forth_and_back(before: Environment, after: Environment) -> None:
    forth, back = difference(before, after), difference(after, before)
    assert sorted((c.name, c.after, c.before) for c in forth.packages) == sorted(
        (c.name, c.before, c.after) for c in back.packages
    )
    assert (forth.hashed, forth.reordered) == (back.hashed, back.reordered)
