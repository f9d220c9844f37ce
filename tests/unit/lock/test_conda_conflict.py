"""Conflict texts that the solver says in words we know, over clues made by hand. Real solves: tests/integration/test_conda_conflicts.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardian.lock.conda_conflict import Clues, explain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def clues(
    *requirements: str, versions: Mapping[str, Sequence[str]] | None = None, virtual: Mapping[str, str] | None = None
) -> Clues:
    known = {"a": ["2.0", "1.0"], "b": ["2.0", "1.0"]} if versions is None else versions
    asked = [
        (text.partition("=")[0].partition(">")[0].rpartition("::")[2], text, f"python.conda[{i}]")
        for i, text in enumerate(requirements)
    ]
    return Clues(
        requirements=asked, platform="linux/amd64", virtual=virtual or {"__glibc": "2.28"}, declared=frozenset(), searched=["corp", "conda-forge"], as_of="",
        alias_of=lambda url: "corp" if "corp" in url else url,
        versions=lambda names: {name: known[name] for name in names if name in known},
        names=lambda: frozenset({*known, "scikit-learn", "scikit-image"}), normal=lambda text: text,
    )  # fmt: skip


def test_several_missing_packages_are_named_at_once_with_the_closest_names() -> None:
    error = explain(
        "Cannot solve the request because of: No candidates were found for skikit-learn *.", clues("skikit-learn", "a", "qqq")
    )
    assert error.stable_code == "package_not_found"
    assert error.message.splitlines() == [
        "there is no package `skikit-learn` in corp, conda-forge for linux/amd64 (`skikit-learn`, python.conda[0])",
        "there is no package `qqq` in corp, conda-forge for linux/amd64 (`qqq`, python.conda[2])",
    ]
    assert error.hint is not None
    assert "`scikit-learn`" in error.hint
    assert error.details == {"requirements": ["python.conda[0]", "python.conda[2]"]}


def test_a_name_like_no_other_gets_plain_advice() -> None:
    error = explain("No candidates were found for qqq *.", clues("qqq"))
    assert error.hint == "check the name, or add the channel that has it"


def test_long_lists_of_versions_and_long_trees_are_cut() -> None:
    versions = " | ".join(f"1.{i}" for i in range(30))
    branches = "\n".join(
        f"├─ a {versions} would require\n│  └─ dep{i} *, for which no candidates were found." for i in range(40)
    )
    error = explain(
        f"Cannot solve the request because of: a * cannot be installed because there are no viable options:\n{branches}",
        clues("a"),
    )
    lines = error.message.splitlines()
    assert (
        "a 1.0, 1.1, 1.2, 1.3, 1.4, 1.5 … (30 versions) need dep0, which is not there; no channel has the package" in lines[2]
    )
    assert lines[-1] == "  … 17 more lines"
    assert len(lines) == 26


def test_a_package_that_stays_is_named() -> None:
    text = """The following packages are incompatible
└─ a >=2 can be installed with any of the following options:
   └─ a 2.0 would require
      └─ b >=2, which can be installed with any of the following options:
         └─ b 2.0
└─ b 1.0 is locked, but another version is required as reported above"""
    error = explain(text, clues("a>=2"))
    assert error.stable_code == "held_package"
    assert error.message == "no set of packages satisfies the definition while b 1.0 stays as it is"


def test_words_that_are_not_known_are_passed_on() -> None:
    error = explain("the solver timed out", clues("a"))
    assert error.stable_code == "solve_failed"
    assert "the solver timed out" in error.message


def test_the_newest_glibc_that_is_asked_for_is_what_to_declare() -> None:
    text = "a * cannot be installed because there are no viable options:\n└─ a 2.0 would require\n   └─ __glibc >=2.34,<3.0.a0, for which no candidates were found."
    error = explain(text, clues("a"))
    assert error.stable_code == "missing_virtual_package"
    assert "a 2.0 needs glibc >=2.34,<3.0.a0, but linux/amd64 is taken to have 2.28" in error.message
    assert error.hint is not None
    assert 'glibc: "2.34"' in error.hint
