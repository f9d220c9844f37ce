from __future__ import annotations

import pickle

import pytest

from wardian.definition.values import FrozenMap, clean_text


def test_a_frozen_map_is_ordered_by_key_and_equal_to_a_dictionary() -> None:
    frozen = FrozenMap({"b": "2", "a": "1"})
    assert list(frozen) == ["a", "b"]
    assert frozen == {"a": "1", "b": "2"}
    assert frozen["b"] == "2"
    assert len(frozen) == 2
    assert "c" not in frozen
    assert repr(frozen) == "FrozenMap({'a': '1', 'b': '2'})"


def test_equal_frozen_maps_have_one_hash() -> None:
    assert hash(FrozenMap({"b": "2", "a": "1"})) == hash(FrozenMap([("a", "1"), ("b", "2")]))
    assert hash(FrozenMap({"a": "1"})) != hash(FrozenMap({"a": "2"}))


def test_maps_that_are_equal_after_nfc_are_alike_in_every_respect() -> None:
    composed, decomposed = FrozenMap({"B": "", "\u00c0": ""}), FrozenMap({"A\u0300": "", "B": ""})
    assert composed == decomposed
    assert list(composed) == list(decomposed)
    assert hash(composed) == hash(decomposed)


def test_a_frozen_map_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        FrozenMap({"a": "1"})["a"] = "2"  # type: ignore[index]


def test_a_frozen_map_survives_pickling() -> None:
    frozen = FrozenMap({"a": "1"})
    assert pickle.loads(pickle.dumps(frozen)) == frozen  # noqa: S301 - our own bytes


@pytest.mark.parametrize(
    ("written", "clean"),
    [
        ("a\r\nb\rc\n", "a\nb\nc\n"),
        ("e\u0301", "\u00e9"),
        ("e\u0301\r\n", "\u00e9\n"),
        ("\ufb01", "\ufb01"),  # compatibility characters stay: NFC, not NFKC
        ("plain", "plain"),
        ("", ""),
    ],
)
def test_clean_text_is_nfc_with_lf(written: str, clean: str) -> None:
    assert clean_text(written) == clean
    assert clean_text(clean) == clean
