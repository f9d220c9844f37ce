"""YAML as text with places: bounded, nothing constructed, every value with its line."""

from __future__ import annotations

import pytest
import yaml

from wardian.formats.faults import Faults
from wardian.formats.yaml_text import YamlMapping, YamlNode, YamlScalar, YamlSequence, compose


def plain(node: YamlNode | None) -> object:
    if isinstance(node, YamlScalar):
        return node.value
    if isinstance(node, YamlSequence):
        return [plain(item) for item in node.items]
    assert isinstance(node, YamlMapping)
    return {key.value: plain(value) for key, value in node.entries}


def composed(text: str) -> YamlMapping:
    faults = Faults("f.yml")
    root = compose(text, faults)
    assert not faults.found
    assert isinstance(root, YamlMapping)
    return root


@pytest.mark.parametrize(
    "text", ["3.10", "1e3", "0777", "on", "No", "1_000", "0x10", "2024-01-01", "1:30", ".5", "+1", "=", "y"]
)
def test_every_value_is_what_is_written(text: str) -> None:
    assert plain(composed(f"a: {text}\n")) == {"a": text}


@pytest.mark.parametrize(
    ("text", "value", "null"),
    [("a:", "", True), ("a: ~", "~", True), ("a: null", "null", True), ("a: ''", "", False), ('a: "null"', "null", False), ("a: nil", "nil", False)],
)  # fmt: skip
def test_nothing_is_told_from_an_empty_text(text: str, value: str, null: bool) -> None:
    node = composed(text).find("a")
    assert isinstance(node, YamlScalar)
    assert (node.value, node.is_null) == (value, null)


def test_places_are_those_of_the_text() -> None:
    text = "# 中\na: é𝄞\nb:\n  - 'x'\n  - |\n    y\nc: [p, q]\n"
    root = composed(text)
    b, c = root.find("b"), root.find("c")
    assert isinstance(b, YamlSequence)
    assert isinstance(c, YamlSequence)
    assert [item.line for item in b.items] == [4, 5]
    assert [text[item.start : item.end] for item in c.items] == ["p", "q"]
    assert (b.flow, c.flow) == (False, True)
    assert text[c.start : c.end] == "[p, q]"
    assert plain(root) == {"a": "é𝄞", "b": ["x", "y\n"], "c": ["p", "q"]}


def test_aliases_and_merges_are_followed() -> None:
    text = "a: &a {x: 1, y: 2}\nb:\n  <<: *a\n  x: 3\nc: *a\nd:\n  <<: [*a, {z: 4}]\n"
    assert plain(composed(text)) == {
        "a": {"x": "1", "y": "2"},
        "b": {"x": "3", "y": "2"},
        "c": {"x": "1", "y": "2"},
        "d": {"x": "1", "y": "2", "z": "4"},
    }


def test_text_tags_are_read() -> None:
    assert plain(composed("a: !!str 3\nb: !!seq [x]\nc: ! y\n")) == {"a": "3", "b": ["x"], "c": "y"}


def test_escapes_may_hold_control_characters() -> None:
    """Which text a field may hold is for the environment to say."""
    assert plain(composed('a: "\\x1b[0m"\n')) == {"a": "\x1b[0m"}


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(20)
)

FAULTY = [
    ("a:\n\tb: 1\n", "yaml_syntax", 2, "a tab"),
    ("a: 1\nb: [1\n", "yaml_syntax", 3, "flow sequence"),
    ("a: 'x\n", "yaml_syntax", 2, "quoted scalar"),
    ("a: b: c\n", "yaml_syntax", 1, "mapping values"),
    ("- a\nb: c\n", "yaml_syntax", 2, "block collection"),
    ("a: @x\n", "yaml_syntax", 1, "begins with `@`"),
    ("a: `x`\n", "yaml_syntax", 1, "begins with ```"),
    ('a: "\\q"\n', "yaml_syntax", 1, "escape"),
    ("%YAML 2.0\n---\na: 1\n", "yaml_syntax", 1, "incompatible"),
    ("%TAG !e! x:\n---\na: 1\n", "yaml_tag", 1, "%TAG"),
    ("a: 1\nb: 2\na: 3\n", "duplicate_key", 3, "line 1 and in line 3"),
    ("a: {x: 1, 'x': 2}\n", "duplicate_key", 1, "`x` stands twice"),
    ("a: 1\n---\nb: 2\n", "several_documents", 2, "second"),
    ("", "empty_file", 1, "no definition"),
    ("# only a comment\n", "empty_file", 1, "no definition"),
    ("---\n...\n", "empty_file", 1, "no definition"),
    ("a: !!python/object:os.system x\n", "yaml_tag", 1, "!!python/object:os.system"),
    ("a: 1\nb: !!python/object/apply:os.system [x]\n", "yaml_tag", 2, "python"),
    ("a: !custom x\n", "yaml_tag", 1, "!custom"),
    ("a: !!int 3\n", "yaml_tag", 1, "!!int"),
    ("a: &x\n  b: *x\n", "recursive_alias", 2, "holds itself"),
    ("a: *x\n", "undefined_alias", 1, "stands for nothing"),
    (BOMB, "yaml_bomb", 5, "repeat more than 10,000"),
    ("? [a]\n: b\n", "bad_key", 1, "a key is text, not a list"),
    ("<<: 3\n", "wrong_type", 1, "merges mappings"),
    ("a: 1\nb: x\x07\n", "control_character", 2, "U+0007"),
    ("a: 1\n\nb: \x00\n", "nul_byte", 3, "NUL"),
    ("a: x\u2028y\n", "control_character", 1, "U+2028"),
    ("a: \ud800\n", "control_character", 1, "U+D800"),
    ("a: " + "[" * 60, "too_deep", 1, "more than 50"),
    ("- " * 60 + "a", "too_deep", 1, "more than 50"),
    ("a:\n" + "".join(f"{'  ' * i}k:\n" for i in range(1, 70)), "too_deep", 51, "more than 50"),
    ("- a\n" * 60_000, "too_many_values", 50_001, "50,000"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "code", "line", "says"), FAULTY, ids=[f"{i}-{code}" for i, (_, code, _, _) in enumerate(FAULTY)]
)
def test_what_is_wrong_is_named_with_its_line(text: str, code: str, line: int, says: str) -> None:
    faults = Faults("f.yml")
    compose(text, faults)
    assert [(fault.code, fault.line) for fault in faults.found] == [(code, line)]
    assert says in faults.found[0].message
    assert len(faults.found[0].message) < 300


def test_faults_that_do_not_end_the_reading_are_all_noted() -> None:
    faults = Faults("f.yml")
    compose("a: 1\na: 2\nb: !x y\nc: {d: 1, d: 2}\n", faults)
    assert [(fault.code, fault.line) for fault in faults.found] == [("duplicate_key", 2), ("yaml_tag", 3), ("duplicate_key", 4)]


HOSTILE = {
    "deep flow": "[" * 4_000_000,
    "deep block": "- " * 2_000_000,
    "questions": "? " * 2_000_000,
    "braces": "{" * 4_000_000,
    "quotes": '"' * 4_000_001,
    "directives": "".join(f"%TAG !a{i}! x\n" for i in range(250_000)),
    "anchors": "".join(f"- &a{i} x\n" for i in range(250_000)),
    "keys": "".join(f"k{i}: 1\n" for i in range(300_000)),
    "one long text": "a: " + "x" * 4_000_000,
    "spaces": " " * 4_000_000,
    "comments": "#\n" * 2_000_000,
    "colons": ": " * 2_000_000,
    "bomb": BOMB,
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_files_of_4_mib_are_read_to_an_end(kind: str) -> None:
    faults = Faults("f.yml")
    compose(HOSTILE[kind], faults)
    assert len(faults.found) <= 101


def test_the_parser_in_python_reads_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyYAML may come without libyaml."""
    text = "# c\na: é\nb:\n- x  # y\n- [p, 'q']\nc: |\n  z\n"
    with_libyaml = composed(text)
    monkeypatch.delattr(yaml, "CSafeLoader")
    assert plain(composed(text)) == plain(with_libyaml)
    faults = Faults("f.yml")
    compose("a: 1\nb: [1\n", faults)
    assert [(fault.code, fault.line) for fault in faults.found] == [("yaml_syntax", 3)]
