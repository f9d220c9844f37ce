"""Whether the fields of a definition hold text at all: checked before anything else looks at them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from wardian.errors import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator


def text_faults(value: Any, path: str = "") -> Iterator[Fault]:
    """Yield a fault for each field of the dataclass ``value``, and of those in it, that holds no storable text.

    Codes: ``wrong_type`` (a list given as one text, a number in the place of text …), ``bad_text`` (a NUL character, half
    of a surrogate pair). Fields are told by their annotations, so a new field is checked without a word here.
    """
    for field in fields(value):
        name, content, kind = f"{path}{field.name}", getattr(value, field.name), str(field.type)
        if kind.startswith("tuple[str"):
            yield from _of_list(content, name)
        elif kind.startswith("Mapping["):
            yield from _of_mapping(content, name)
        elif kind in ("str", "str | None"):
            if content is not None or kind == "str":
                yield from _of_text(content, name)
        elif kind.endswith("Section") or kind.startswith("BuildContext"):
            if type(content).__name__ == kind.partition(" ")[0]:
                yield from text_faults(content, f"{name}.")
            elif content is not None or "None" not in kind:
                yield Fault("wrong_type", f"this must be a {kind}, not `{str(content)[:80]}`", field=name)


def _of_text(text: Any, name: str) -> Iterator[Fault]:
    if not isinstance(text, str):
        yield Fault("wrong_type", f"this must be text, not `{str(text)[:80]}`", field=name, hint="put it in quotes")
    elif "\0" in text or not (text.isascii() or _storable(text)):
        yield Fault("bad_text", "the text holds a NUL character or half of a surrogate pair", field=name)


def _of_list(items: Any, name: str) -> Iterator[Fault]:
    if isinstance(items, str | Mapping) or not hasattr(items, "__iter__"):
        yield Fault("wrong_type", f"this must be a list of texts, not `{str(items)[:80]}`", field=name)
        return
    for i, item in enumerate(items):
        yield from _of_text(item, f"{name}[{i}]")


def _of_mapping(items: Any, name: str) -> Iterator[Fault]:
    if not isinstance(items, Mapping):
        yield Fault("wrong_type", f"this must be a mapping of texts, not `{str(items)[:80]}`", field=name)
        return
    for key, item in items.items():
        yield from _of_text(key, name)
        yield from _of_text(item, f"{name}.{key}")


def _storable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
