from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from docs import generate
from wardian.cli.main import cli
from wardian.definition.pip_option import LINE_OPTIONS, PIP_OPTIONS, PipOption
from wardian.errors import InvalidInput
from wardian.lock.indexes import IGNORED

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))


@cache
def _page(name: str) -> str:
    return generate.on_page_markdown((ROOT / "docs" / "reference" / name).read_text(encoding="utf-8"))


def _visible(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None, f"{path} lists {name}, but does not have it"
            if not inner.hidden:
                yield from _visible(inner, f"{path} {name}")


def test_every_command_has_a_section_with_all_its_options() -> None:
    page = _page("cli.md")
    for path, command in _visible(cli, "wardian"):
        assert f"\n## {path}\n" in page
        section = page.split(f"\n## {path}\n", 1)[1].split("\n## ", 1)[0]
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                assert max(parameter.opts, key=len) in section, f"{path}: {parameter.opts} is not in its help"
                assert parameter.help, f"{path}: {parameter.opts} says nothing of itself"


def test_every_variable_that_the_source_names_is_documented() -> None:
    page = _page("settings.md")
    named = {
        name for path in SOURCES for name in re.findall(r"\bWARDIAN_[A-Z]+(?:_[A-Z]+)*\b", path.read_text(encoding="utf-8"))
    }
    named = {"WARDIAN_INPUT_<NAME>" if name.startswith("WARDIAN_INPUT") else name for name in named}
    assert {name for name in named if f"`{name}`" not in page} == set()


def test_every_code_of_the_source_is_documented() -> None:
    page = _page("errors.md")
    written = re.compile(r"""\bcode(?:: ClassVar\[str\])? ?= ?["']([a-z0-9_]+)["']""")
    codes = {code for path in SOURCES for code in written.findall(path.read_text(encoding="utf-8"))}
    codes |= {kind.code for kind in generate.error_classes()}
    assert len(codes) > 50
    assert {code for code in codes if f"| `{code}` |" not in page} == set()


def test_the_table_of_pip_options_is_what_is_done_with_each() -> None:
    kinds: dict[str, str] = {}
    others: set[str] = set()
    for row in re.findall(r"^\| (`-.*) \|$", _page("pip-options.md"), re.MULTILINE):
        names, kind = re.findall(r"`(--[a-z-]+)`", row.split(" | ")[0]), row.split(" | ")[1]
        if kind in ("used", "noted", "error"):
            kinds |= dict.fromkeys(names, kind)
        else:
            others.update(names)
    assert {*kinds, *others} == set(LINE_OPTIONS)
    assert {name for name, kind in kinds.items() if kind != "error"} == set(PIP_OPTIONS)
    assert {name for name, kind in kinds.items() if kind == "noted"} == set(IGNORED)
    for name in sorted(kinds):
        value = " x" if LINE_OPTIONS[name] else ""
        if kinds[name] == "error":
            with pytest.raises(InvalidInput) as refused:
                PipOption.parse(f"{name}{value}")
            assert refused.value.stable_code == "unsupported_pip_option"


def test_the_codes_on_the_page_about_trust_exist() -> None:
    page = (ROOT / "docs/concepts/trust.md").read_text(encoding="utf-8")
    named = {
        code for row in re.findall(r"^\|.*\|$", page, re.MULTILINE) for code in re.findall(r"`([a-z_]+)`", row.split(" | ")[-1])
    }
    assert len(named) > 15
    assert {code for code in named if f"| `{code}` |" not in _page("errors.md")} == set()


def test_everything_public_in_python_says_what_it_does() -> None:
    import wardian

    page = _page("sdk.md")
    for name in wardian.__all__:
        if isinstance(getattr(wardian, name), str):
            continue  # the version
        assert f"\n## {name}\n" in f"\n{page}"
        section = page.split(f"\n## {name}\n", 1)[1]
        assert re.match(r"\n(```|\w)", section), f"{name} has no docstring"
