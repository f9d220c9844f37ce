"""Match specs: what py-rattler makes of the normalised text is what it makes of the text as written."""

from __future__ import annotations

from contextlib import suppress

import rattler
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.property.strategies_conda import match_specs, package_urls

from wardian.definition.match_spec import MatchSpec
from wardian.errors import InvalidInput


def meaning(text: str) -> str:
    """Everything that py-rattler understands, in one text."""
    return rattler.MatchSpec(text).to_canonical_string()


@settings(max_examples=600)
@given(match_specs())
def test_the_normalised_text_means_the_same(text: str) -> None:
    normalised = str(MatchSpec.parse(text))
    assert meaning(normalised) == meaning(text)


@settings(max_examples=600)
@given(match_specs())
def test_parsing_is_idempotent(text: str) -> None:
    spec = MatchSpec.parse(text)
    assert MatchSpec.parse(str(spec)) == spec
    assert str(MatchSpec.parse(str(spec))) == str(spec)


@settings(max_examples=200)
@given(match_specs())
def test_white_space_around_operators_does_not_matter(text: str) -> None:
    spread = text.replace(",", " , ").replace("|", "  | ")
    assert str(MatchSpec.parse(spread)) == str(MatchSpec.parse(text))


@given(match_specs())
def test_name_version_and_build_are_those_of_rattler(text: str) -> None:
    ours, theirs = MatchSpec.parse(text), rattler.MatchSpec(text)
    assert f'"{ours.name}"' in str(theirs.name).lower()
    assert (theirs.version is None) == (not ours.version and ours.bracket("version") is None)
    assert theirs.build == (ours.bracket("build") or ours.build or None)


@given(package_urls())
def test_the_url_of_a_package_is_kept_and_names_it(url: str) -> None:
    spec = MatchSpec.parse(url)
    assert str(spec) == url
    assert meaning(str(spec)) == meaning(url)
    assert spec.name == url.rpartition("/")[2].rsplit("-", 2)[0].lower()


@settings(max_examples=1000)
@given(st.text("numpy=<>!~,|()[]*. 126:'\"-#;@/build", max_size=24))
def test_any_text_is_refused_or_can_be_read_by_the_solver(text: str) -> None:
    with suppress(InvalidInput):
        normalised = str(MatchSpec.parse(text))
        assert MatchSpec.parse(normalised) == MatchSpec.parse(text)
        meaning(normalised)
