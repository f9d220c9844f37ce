"""The fields of a YAML mapping, taken one by one with their types: whatever is left over is an unknown key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardian.formats.yaml_text import YamlMapping, YamlScalar, YamlSequence

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wardian.formats.faults import Faults
    from wardian.formats.yaml_text import YamlNode


class Fields:
    """One mapping of a file. A field of a wrong type is a fault and reads as absent; so does one that is left empty.

    Args:
        path: the mapping's own field path, ``""`` for the whole file.
        places: where the fields of the environment come from; filled by the ``as_`` arguments (see `Faults.wrap`).
    """

    def __init__(self, node: YamlMapping, path: str, faults: Faults, places: dict[str, tuple[int | None, str]]) -> None:
        self.node = node
        self.path = path
        self.faults = faults
        self.places = places

    def field_path(self, key: str) -> str:
        """Return the path of ``key`` in the file: ``python.pip``."""
        return f"{self.path}.{key}" if self.path else key

    def text(self, key: str, *, as_: str = "") -> str | None:
        """Return the text of ``key``, as it is written; None if it is absent or empty."""
        node = self._get(key, as_)
        if node is None:
            return None
        if isinstance(node, YamlScalar):
            return node.value
        self.wrong_type(node, self.field_path(key), "text", line=self._line(key, node))
        return None

    def items(self, key: str, *, example: str) -> list[tuple[YamlNode, str]]:
        """Return the items of the list ``key``, each with its field path; an empty item is a fault."""
        node = self._get(key, "")
        if node is None:
            return []
        path = self.field_path(key)
        if not isinstance(node, YamlSequence):
            self.wrong_type(node, path, "a list", hint=f"write it as a list: `{key}: [{example}]`", line=self._line(key, node))
            return []
        found: list[tuple[YamlNode, str]] = []
        for i, item in enumerate(node.items):
            if isinstance(item, YamlScalar) and (item.is_null or not item.value.strip()):
                self.faults.add("empty_item", "the list has an empty item", line=item.line, field=f"{path}[{i}]")
            else:
                found.append((item, f"{path}[{i}]"))
        return found

    def texts(self, key: str, *, example: str, as_: str = "") -> tuple[str, ...]:
        """Return the texts of the list ``key``; an item that is no text is a fault."""
        texts: list[str] = []
        for item, path in self.items(key, example=example):
            if isinstance(item, YamlScalar):
                if as_:
                    self.places[f"{as_}[{len(texts)}]"] = (item.line, path)
                texts.append(item.value)
            else:
                self.wrong_type(item, path, "text", hint=f"an item is one line of text, such as `{example}`")
        return tuple(texts)

    def table(self, key: str, *, as_: str = "") -> Fields | None:
        """Return the mapping ``key``; None if it is absent or empty."""
        node = self._get(key, as_)
        if node is None:
            return None
        if isinstance(node, YamlMapping):
            return Fields(node, self.field_path(key), self.faults, self.places)
        self.wrong_type(node, self.field_path(key), "a mapping", hint=f"write `{key}:` and its keys indented below it",
                        line=self._line(key, node))  # fmt: skip
        return None

    def strings(self, key: str, *, as_: str) -> dict[str, str]:
        """Return the mapping ``key`` from text to text, values as they are written."""
        table = self.table(key)
        if table is None:
            return {}
        found: dict[str, str] = {}
        for name, node in table.node.entries:
            path = table.field_path(name.value)
            self.places[f"{as_}.{name.value}"] = (node.line, path)
            if not isinstance(node, YamlScalar):
                self.wrong_type(node, path, "text", line=name.line)
            elif node.is_null:
                self.faults.add(
                    "wrong_type", "a value is missing", line=node.line, field=path, hint='an empty text is written `""`'
                )
            else:
                found[name.value] = node.value
        return found

    def check_keys(self, known: Sequence[str], hints: Mapping[str, str]) -> None:
        """Note every key that is not in ``known``, with the one that was probably meant or what ``hints`` says of it."""
        for name, _ in self.node.entries:
            if name.value not in known:
                hint = hints.get(name.value) or did_you_mean(name.value, known)
                self.faults.add("unknown_key", f"unknown key `{name.value[:80]}`", line=name.line,
                                field=self.field_path(name.value[:80]), hint=hint)  # fmt: skip

    def wrong_type(self, node: YamlNode, path: str, expected: str, hint: str | None = None, line: int | None = None) -> None:
        """Note that ``node`` is not what is expected at ``path``."""
        shown = f" (`{node.value[:60]}`)" if isinstance(node, YamlScalar) and node.value else ""
        self.faults.add(
            "wrong_type", f"this must be {expected}, not {node.kind}{shown}", line=line or node.line, field=path, hint=hint
        )

    def _get(self, key: str, as_: str) -> YamlNode | None:
        node = self.node.find(key)
        if node is None or (isinstance(node, YamlScalar) and node.is_null):
            return None
        if as_:
            self.places[as_] = (self._line(key, node), self.field_path(key))
        return node

    def _line(self, key: str, node: YamlNode) -> int:
        """Return where a reader looks for ``key``: the line of a text, but of the key itself for a list or mapping."""
        if isinstance(node, YamlScalar):
            return node.line
        return next(name.line for name, _ in self.node.entries if name.value == key)


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """Return a hint that names the known word nearest to ``word``, or all of them."""
    import difflib

    plain = {name.replace("_", "").lower(): name for name in known}
    near = difflib.get_close_matches(word.replace("-", "").replace("_", "").lower(), plain, n=1, cutoff=0.7)
    return f"did you mean `{plain[near[0]]}`?" if near else f"known keys: {', '.join(known)}"
