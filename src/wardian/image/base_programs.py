"""Programs and libraries of a base image: what each says of itself, and which others it needs, found as the image's loader would."""

from __future__ import annotations

import functools
import posixpath
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wardian.digest import Digest
from wardian.image.elf import HEAD_BYTES, Libraries, architecture_of, libraries_of, loader_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from wardian.image.base_tree import BaseTree, Node

_PYTHON = re.compile(r"python(?:3(?:\.\d+)?t?)?")
_LIBRARY = re.compile(r"(?:lib|ld)[\w.+-]*\.so(?:\.[\d.]+)?")
_VERSION = re.compile(rb"\0(3\.\d{1,2}\.\d{1,3}(?:(?:a|b|rc)\d+)?\+?)\0")
_GLIBC = re.compile(rb"GNU C Library [^\n]{0,200}?release version (\d+\.\d+)")
_CONFIGURATION = "/etc/ld.so.conf"
_PLACES = ("/lib64", "/usr/lib64", "/lib", "/usr/lib", "/usr/local/lib", "/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu",
           "/lib/aarch64-linux-gnu", "/usr/lib/aarch64-linux-gnu")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Program:
    """What a program or library in a layer told of itself.

    Attributes:
        loader, machine, libraries: see ``wardian.image.elf``.
        versions: of Python that stand in it: one, in an interpreter or its library.
        glibc: its version, in the C library itself.
    """

    loader: str
    machine: str
    libraries: Libraries
    versions: tuple[str, ...]
    glibc: str
    sha256: str


def look(path: str) -> Callable[[bytes], Any] | None:
    """Return what is to be noted of the file at ``path``: a ``Program`` of programs and libraries that Python may be made of, the text of
    the loader's configuration; None: nothing.
    """
    name = posixpath.basename(path)
    if path.startswith(_CONFIGURATION):
        return lambda content: content.decode(errors="replace")
    if _PYTHON.fullmatch(name) or (_LIBRARY.fullmatch(name) and "-packages/" not in path):
        return functools.partial(
            _program, "python" in name, name.startswith(("libc.", "libc-"))
        )  # before 2.34 libc.so.6 is a link
    return None


def _program(is_python: bool, is_libc: bool, content: bytes) -> Program | None:
    machine = architecture_of(content[:HEAD_BYTES])
    if not machine:
        return None
    versions = dict.fromkeys(match.decode() for match in _VERSION.findall(content)) if is_python else {}
    glibc = _GLIBC.search(content) if is_libc else None
    return Program(loader_of(content[:HEAD_BYTES]), machine, libraries_of(content), tuple(versions),
                    glibc[1].decode() if glibc else "", Digest.of(content))  # fmt: skip


def needed_libraries(tree: BaseTree, real_path: str, node: Node) -> tuple[dict[str, Node], list[str]]:
    """Return every library that a program needs, its loader too, by name; and the names of those that are not there."""
    program: Program = node.noted
    libraries: dict[str, Node] = {}
    lacking: list[str] = []
    if program.loader:
        loader = tree.resolve(program.loader)
        if loader is None or not isinstance(loader[1].noted, Program):
            return {}, [program.loader]
        libraries[posixpath.basename(program.loader)] = loader[1]
    pending = [(real_path, program.libraries)]
    everywhere = _places(tree)
    while pending:
        asker, needs = pending.pop()
        own = [
            place.replace("$ORIGIN", posixpath.dirname(asker)).replace("${ORIGIN}", posixpath.dirname(asker))
            for place in needs.places
        ]
        for name in needs.needed:
            if name in libraries or "/" in name:
                continue
            candidates = (tree.resolve(f"{place}/{name}") for place in [*own, *everywhere])
            found = next((one for one in candidates if one is not None and isinstance(one[1].noted, Program)), None)
            if found is None:
                lacking.append(name)
                continue
            libraries[name] = found[1]
            pending.append((found[0], found[1].noted.libraries))
    return libraries, lacking


def _places(tree: BaseTree) -> list[str]:
    """Return where the image's loader looks for libraries."""
    texts = []
    for path in (_CONFIGURATION, *sorted(f"{_CONFIGURATION}.d/{name}" for name in _names(tree, f"{_CONFIGURATION}.d"))):
        found = tree.resolve(path)
        if found is not None and isinstance(found[1].noted, str):
            texts.append(found[1].noted)
    configured = [line.strip() for text in texts for line in text.splitlines() if line.strip().startswith("/")]
    return list(dict.fromkeys([*configured, *_PLACES]))


def _names(tree: BaseTree, path: str) -> list[str]:
    found = tree.resolve(path)
    return list(found[1].children) if found is not None else []
