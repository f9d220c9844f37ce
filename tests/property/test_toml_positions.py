"""Places in TOML: each value stands where the scanner says, in any spelling; edits change what they name and nothing else."""

from __future__ import annotations

import json
import string
import tomllib
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st
from tests.property.strategies_pip import names, requirements, specifiers

from wardian.definition.requirement import PipRequirement
from wardian.errors import InvalidDefinition
from wardian.formats import pyproject, script
from wardian.formats.faults import Faults
from wardian.formats.toml_text import parse_toml

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

_keys = st.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=4) | st.text(
    "a.é \"'#[]=", min_size=1, max_size=4
)
_texts = st.text(string.ascii_letters + " \"'\\#[]{},=\né", max_size=8)
_values = st.recursive(
    st.integers(-5, 5) | st.booleans() | _texts | st.sampled_from([1.5, -2e3]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=3),
    max_leaves=8,
)


def _key(draw: st.DrawFn, key: str) -> str:
    bare = key and all(c in string.ascii_letters + string.digits + "_-" for c in key) and key.isascii()
    forms = ([key] if bare else []) + [json.dumps(key, ensure_ascii=False)] + ([f"'{key}'"] if "'" not in key else [])
    return draw(st.sampled_from(forms))


def _text(draw: st.DrawFn, text: str) -> str:
    forms = [
        json.dumps(text, ensure_ascii=False),
        '"""' + json.dumps(text, ensure_ascii=False)[1:-1].replace('"""', '""\\"') + '"""',
    ]
    if "'" not in text and "\n" not in text:
        forms.append(f"'{text}'")
    if "'" not in text:
        forms.append(f"'''\n{text}'''")
    return draw(st.sampled_from(forms))


def _written(draw: st.DrawFn, value: Any, *, inline: bool = False) -> str:
    gap = st.sampled_from(["", " "]) if inline else st.sampled_from(["", " ", "\n  ", "  # c, ]\n"])
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return _text(draw, value)
    if isinstance(value, list):
        items = [f"{draw(gap)}{_written(draw, item, inline=inline)}{draw(gap)}" for item in value]
        comma = draw(st.sampled_from(["", ","])) if items else ""
        return f"[{','.join(items)}{comma}{draw(gap)}]"
    if isinstance(value, dict):
        space = st.sampled_from(["", " "])
        pairs = [
            f"{draw(space)}{_key(draw, k)}{draw(space)}={draw(space)}{_written(draw, v, inline=True)}{draw(space)}"
            for k, v in value.items()
        ]
        return "{" + ",".join(pairs) + "}"
    return str(value)


@st.composite
def documents(draw: st.DrawFn) -> str:
    """A TOML text: root keys, tables, arrays of tables, dotted keys; comments and blank lines between."""
    lines: list[str] = []

    def pairs() -> None:
        for key, value in draw(st.dictionaries(_keys, _values, max_size=3)).items():
            dotted = f"{_key(draw, 'dot')} . " if draw(st.booleans()) and key != "dot" else ""
            lines.append(
                f"{draw(st.sampled_from(['', '  ']))}{dotted}{_key(draw, key)} = {_written(draw, value)}{draw(st.sampled_from(['', '  # c']))}"
            )

    pairs()
    for header in draw(st.lists(st.lists(_keys, min_size=1, max_size=3), max_size=3)):
        double = draw(st.booleans())
        name = " . ".join(_key(draw, key) for key in header)
        lines.append(f"[[ {name} ]]" if double else f"[{name}]  # c")
        pairs()
    return "\n".join(lines) + draw(st.sampled_from(["", "\n"]))


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from leaves(inner, (*path, i))
    else:
        yield path, value


@given(documents())
def test_each_value_stands_where_its_place_says(text: str) -> None:
    try:
        expected = tomllib.loads(text)
    except tomllib.TOMLDecodeError:  # a key or table twice
        try:
            parse_toml(text, Faults("x"))
        except InvalidDefinition as error:
            assert error.faults[0].line is not None  # noqa: PT017 - the error is the fact
            return
        raise AssertionError("a faulty text was accepted") from None
    toml = parse_toml(text, Faults("x"))
    assert toml.values == expected
    for path, value in leaves(expected):
        start, end = toml.spans[path]
        assert tomllib.loads(f"x = {text[start:end]}")["x"] == value
        assert toml.get(path) == value
        line = toml.line_of(path)
        assert line is not None
        assert line <= text.count("\n", 0, start) + 1
        if isinstance(path[-1], int):
            assert line == text.count("\n", 0, start) + 1


@st.composite
def _dependencies(draw: st.DrawFn) -> tuple[list[PipRequirement], str]:
    wanted = draw(
        st.lists(requirements(kinds=("name",)).filter(lambda r: not r.hashes), max_size=5, unique_by=lambda r: r.name)
    )
    return wanted, _written(draw, [str(r) for r in wanted])


@given(_dependencies(), names, specifiers, st.booleans())
def test_edits_change_what_they_name_and_nothing_else(
    made: tuple[list[PipRequirement], str], name: str, specifier: str, in_script: bool
) -> None:
    wanted, array = made
    edit: ModuleType
    new = PipRequirement(name, specifier=specifier)
    if in_script:
        body = "".join(f"# {line}\n" for line in f"dependencies = {array}\n# end".split("\n"))
        text, edit = f"# /// script\n{body}# ///\nprint()\n", script
    else:
        text, edit = f"[project]\nname = 'itself-only'\ndependencies = {array}\n# end\n", pyproject
    before = [str(r) for r in wanted]
    more = edit.add(text, [str(new)], manager="uv")
    same = [i for i, r in enumerate(wanted) if r.name == name]
    expected = [str(new) if i in same else item for i, item in enumerate(before)] + ([] if same else [str(new)])
    assert list(edit.read(more, file="x", base=None).environment.python.pip) == expected
    assert more.count("# c") == text.count("# c")
    less = edit.remove(more, [name.upper()])
    assert list(edit.read(less, file="x", base=None).environment.python.pip) == [
        item for item, r in zip(before, wanted, strict=True) if r.name != name
    ]
    assert less.rstrip().endswith("print()" if in_script else "# end")
