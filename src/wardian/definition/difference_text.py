"""A difference between two definitions, written for people."""

from __future__ import annotations

from difflib import unified_diff
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wardian.definition.difference import Difference, ListChange, PackageChange, SettingChange

_SIGNS = {"added": "+", "removed": "-", "changed": "~"}


def render(difference: Difference) -> str:
    """Return the difference in lines of plain text, without a line end at the end."""
    lines: list[str] = []
    for section in dict.fromkeys(change.section for change in difference.packages):
        lines += [f"{_words(section)}:", *(_package(change) for change in difference.packages if change.section == section)]
    for change in difference.lists:
        lines += _list(change)
    for title, changes in (
        ("settings", difference.settings),
        ("variables (in no hash)", difference.variables),
        ("name, description and tags (in no hash)", difference.metadata),
    ):
        lines += [f"{title}:", *(line for change in changes for line in _setting(change))] if changes else []
    return "\n".join([*lines, _why(difference)])


def _why(difference: Difference) -> str:
    if not difference.hashed:
        return "the hashes are equal" + (", and so are the definitions" if difference.same_content else "")
    if difference.only_order:
        return f"the hashes differ: only the order of {_and(difference.reordered)} differs, and order counts"
    return f"the hashes differ by: {', '.join(_words(field) for field in difference.hashed)}"


def _package(change: PackageChange) -> str:
    sign = _SIGNS[change.kind]
    if change.kind == "changed":
        return f"  {sign} {change.name}  {' and '.join(change.before)} → {' and '.join(change.after)}"
    asked = " and ".join(change.before or change.after)
    return f"  {sign} {change.name}" + ("" if asked == "*" else f"  {asked}")


def _list(change: ListChange) -> Iterable[str]:
    yield f"{_words(change.section)}:"
    yield from (f"  + {item}" for item in change.added)
    yield from (f"  - {item}" for item in change.removed)
    if change.before and change.after:
        yield f"  order: {', '.join(change.before)} → {', '.join(change.after)}"


def _setting(change: SettingChange) -> Iterable[str]:
    before, after = change.before or "", change.after or ""
    if "\n" in before or "\n" in after:
        yield f"  ~ {change.field}"
        hunks = unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=1)
        yield from (f"    {line}" for line in hunks if not line.startswith(("---", "+++", "@@")))
    elif change.before is None or change.after is None:
        yield f"  {'+' if change.before is None else '-'} {change.field}  {after or before}"
    else:
        yield f"  ~ {change.field}  {before} → {after}"


def _words(field: str) -> str:
    return field.replace("_", " ")


def _and(sections: tuple[str, ...]) -> str:
    names = [_words(section) for section in sections]
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
