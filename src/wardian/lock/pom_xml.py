"""Reads XML that a stranger wrote, into plain nodes: no entity is declared or fetched, nothing grows without end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from xml.parsers import expat

from wardian.errors import BadArchive

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST_BYTES = 8 << 20
_DEEPEST = 64
_MOST_NODES = 200_000


@dataclass(slots=True)
class Node:
    """An element: its name without namespace, its own text without the space around it, its children."""

    name: str
    text: str = ""
    children: list[Node] = field(default_factory=list)

    def find(self, path: str) -> Node | None:
        """Return the first element at ``path`` (``a/b``), or None."""
        return next(self.all(path), None)

    def all(self, path: str) -> Iterator[Node]:
        """Yield the elements at ``path``, in the order of the file."""
        head, _, rest = path.partition("/")
        for child in self.children:
            if child.name == head:
                yield from child.all(rest) if rest else (child,)

    def value(self, path: str) -> str:
        """Return the text at ``path``; empty where there is none."""
        found = self.find(path)
        return found.text if found is not None else ""


class _Builder:
    def __init__(self) -> None:
        self.root = Node("")
        self._open = [self.root]
        self._texts: list[list[str]] = [[]]
        self._nodes = 0

    def start(self, name: str, _attributes: object) -> None:
        self._nodes += 1
        if len(self._open) > _DEEPEST or self._nodes > _MOST_NODES:
            raise ValueError("it is nested too deeply, or has too many elements")
        node = Node(name.rpartition(":")[2])
        self._open[-1].children.append(node)
        self._open.append(node)
        self._texts.append([])

    def end(self, _name: str) -> None:
        self._open.pop().text = "".join(self._texts.pop()).strip()

    def text(self, data: str) -> None:
        self._texts[-1].append(data)


def parse_xml(content: bytes, name: str) -> Node:
    """Return the root element of the XML ``content``.

    An entity that nobody declared (`&ouml;` in a name) is left out, as Maven itself does not stumble over it either.

    Args:     name: of the file, for errors.
    Raises:   BadArchive: code ``bad_pom``: it is no XML, declares entities, or is too large.
    """
    builder = _Builder()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.UseForeignDTD(True)  # so that an unknown entity is skipped, not an error
    parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_ALWAYS)

    def external(context: str, *_: object) -> int:
        parser.ExternalEntityParserCreate(context).Parse(b"", True)  # whatever it names: it is empty
        return 1

    def declared(entity: str, *_: object) -> None:
        raise ValueError(f"it declares the entity `{entity[:40]}`")

    parser.ExternalEntityRefHandler = external
    parser.EntityDeclHandler = declared
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.text
    try:
        if len(content) > LONGEST_BYTES:
            raise ValueError(f"it has more than {LONGEST_BYTES:,} bytes")
        parser.Parse(content, True)
    except (expat.ExpatError, ValueError, LookupError) as error:  # LookupError: an encoding that nobody knows
        raise BadArchive(f"{name} cannot be used: {error}", code="bad_pom", hint="tell who publishes it") from None
    return builder.root.children[0]
