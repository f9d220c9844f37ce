"""What a base image's file system is, from its layers alone: listed without unpacking, and single files taken out of it."""

from __future__ import annotations

import contextlib
import io
import tarfile
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

from wardian.package.archive_paths import Limits, refuse
from wardian.package.archive_streams import CHUNK, Bounded, damage, decompressed, open_tar
from wardian.tools.disk import disk_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from wardian.image.base import Base

_WHITEOUT, _OPAQUE, _OWN = ".wh.", ".wh..wh..opq", ".wh..wh."
_LINKS_FOLLOWED = 40  # as many as Linux follows
_LIMITS = Limits(members=2_000_000)
_LARGEST_LOOK_BYTES = 64 << 20
_MAGIC = ((b"\x1f\x8b", "gz"), (b"\x28\xb5\x2f\xfd", "zst"))
_LONGEST_NAME_BYTES = 255  # of every file system that a layer could have come from
_REGULAR = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)


@dataclass(slots=True)
class Node:
    """One place of the file system: ``file`` | ``link`` | ``directory`` | ``other`` (a device, a pipe); ``hard`` only on its way there.

    Attributes:
        layer, position: where a file's content is: the layer's number, and the member's in its archive.
        noted: what ``look`` returned for its content.
    """

    kind: str
    target: str = ""
    size_bytes: int = 0
    executable: bool = False
    layer: int = -1
    position: int = -1
    noted: Any = None
    children: dict[str, Node] = field(default_factory=dict)


class BaseTree:
    """The file system of a base image. Links lead where they lead inside the image, never outside.

    Source:   OCI image layer specification: whiteouts and opaque directories
    """

    def __init__(self) -> None:
        self.root = Node("directory")
        self._members = 0

    def resolve(self, path: str) -> tuple[str, Node] | None:
        """Return what ``path`` is when all links are followed, and its path without any; None: nothing, or an endless link."""
        names: list[str] = []
        nodes = [self.root]
        todo = path.split("/")[::-1]
        followed = 0
        while todo:
            name = todo.pop()
            if name in ("", "."):
                continue
            if name == "..":
                if names:
                    names.pop()
                    nodes.pop()
                continue
            found = nodes[-1].children.get(name)
            if found is None:
                return None
            if found.kind == "link":
                followed += 1
                if followed > _LINKS_FOLLOWED:
                    return None
                if found.target.startswith("/"):
                    names, nodes = [], [self.root]
                todo += found.target.split("/")[::-1]
                continue
            names.append(name)
            nodes.append(found)
        return "/" + "/".join(names), nodes[-1]

    def files_below(self, path: str, left_out: Callable[[str], bool]) -> Iterator[tuple[str, Node]]:
        """Yield the files below the directory ``path`` with their paths in it, links to files followed; directories by name may be left out."""
        found = self.resolve(path)
        pending = [("", found[1])] if found is not None else []
        while pending:
            inside, directory = pending.pop()
            for name, node in sorted(directory.children.items()):
                there = f"{inside}/{name}".lstrip("/")
                if node.kind == "directory":
                    if not left_out(name):
                        pending.append((there, node))
                    continue
                target = self.resolve(f"{path}/{there}") if node.kind == "link" else (there, node)
                if target is not None and target[1].kind == "file":
                    yield there, target[1]

    def apply(self, number: int, name: str, members: Iterable[tuple[tarfile.TarInfo, Any]]) -> None:
        """Put a layer's members on what is there.

        Raises:   BadArchive: codes ``unsafe_path``, ``archive_bomb``.
        """
        added: list[tuple[list[str], Node]] = []
        for position, (member, noted) in enumerate(members):
            self._members += 1
            if self._members > _LIMITS.members:
                refuse(name, None, "has too many members", code="archive_bomb")
            parts = _parts(name, member.name)
            if not parts:
                continue
            last = parts[-1]
            if last == _OPAQUE:
                if (found := self.resolve("/".join(parts[:-1]))) is not None:
                    found[1].children.clear()
            elif last.startswith(_OWN):
                continue
            elif last.startswith(_WHITEOUT):
                if (found := self.resolve("/".join(parts[:-1]))) is not None:
                    found[1].children.pop(last.removeprefix(_WHITEOUT), None)
            else:
                added.append((parts, _node(member, number, position, noted)))
        # whiteouts are for what lies below this layer, wherever they stand in it
        for parts, node in added:
            self._add(name, parts, node)

    def _add(self, name: str, parts: list[str], node: Node) -> None:
        above = self._directory(parts[:-1])
        if node.kind == "directory":
            found = self.resolve("/".join(parts))
            if found is not None and found[1].kind == "directory":
                return
        elif node.kind == "hard":
            found = self.resolve("/".join(_parts(name, node.target)))
            node = found[1] if found is not None and found[1].kind == "file" else Node("other")
        above.children[parts[-1]] = node

    def _directory(self, parts: list[str]) -> Node:
        here = self.root
        for n, part in enumerate(parts):
            node = here.children.get(part)
            if node is not None and node.kind == "link":
                found = self.resolve("/".join(parts[: n + 1]))
                node = found[1] if found is not None else None
            if node is None or node.kind != "directory":
                node = here.children[part] = Node("directory")
            here = node
        return here


def list_base(base: Base, look: Callable[[str], Callable[[bytes], Any] | None]) -> BaseTree:
    """Return the file system of ``base``. Every layer is read once, to its end, and compared with its digest; nothing is written.

    Args:     look: told a file's path, returns what is to be done with its content (at most 64 MiB are held), or None.
    Raises:   BadArchive: a layer is damaged or hostile.  Unavailable, Denied.
    """
    tree = BaseTree()
    for number in range(len(base.layers)):
        name = _name(base, number)
        with _members(base, number) as (members, read):

            def noted(members: Iterable[tarfile.TarInfo] = members, read: Any = read) -> Iterator[tuple[tarfile.TarInfo, Any]]:
                for member in members:
                    wanted = member.type in _REGULAR and 0 < member.size <= _LARGEST_LOOK_BYTES
                    action = look("/" + member.name.removeprefix("./").lstrip("/")) if wanted else None
                    yield member, action(read(member).read()) if action is not None else None

            tree.apply(number, name, noted())
    return tree


def take_files(base: Base, wanted: Mapping[Path, Node], *, most_bytes: int) -> None:
    """Write the content of files of a listed base to these paths: regular files, executable for all, and directories above them.

    Raises:   BadArchive: code ``archive_bomb``: more than ``most_bytes`` altogether; a layer is damaged.  DiskFull.
    """
    if sum(node.size_bytes for node in wanted.values()) > most_bytes:
        refuse(base.name, None, f"has a Python of more than {most_bytes:,} bytes", code="archive_bomb")
    by_layer: dict[int, dict[int, list[Path]]] = {}
    for path, node in wanted.items():
        by_layer.setdefault(node.layer, {}).setdefault(node.position, []).append(path)
    for number, positions in sorted(by_layer.items()):
        with _members(base, number) as (members, read):
            for position, member in enumerate(members):
                for n, path in enumerate(targets := positions.get(position, [])):
                    with disk_errors(path.parent):
                        path.parent.mkdir(parents=True, exist_ok=True)
                        if n:
                            path.write_bytes(targets[0].read_bytes())
                        else:
                            _write(path, read(member))
                        path.chmod(0o755)


def _write(path: Path, source: IO[bytes]) -> None:
    with path.open("xb") as stream:
        while piece := source.read(CHUNK):
            stream.write(piece)


@contextlib.contextmanager
def _members(base: Base, number: int) -> Iterator[tuple[Iterator[tarfile.TarInfo], Callable[[tarfile.TarInfo], IO[bytes]]]]:
    """Give a layer's members, one after the other, and what reads the present one's content. At the end all of it was compared."""
    layer, name = base.layers[number], _name(base, number)
    with base.store.open(layer) as blob, damage(name):
        buffered = io.BufferedReader(blob, CHUNK)  # type: ignore[type-var]  # all that it needs is readinto
        head = buffered.peek(4)
        compression = next((kind for magic, kind in _MAGIC if head.startswith(magic)), "")
        source = decompressed(buffered, compression) if compression else buffered
        bounded = Bounded(source, name, _LIMITS.allowed(layer.size_bytes))
        with open_tar(bounded) as tar:

            def each() -> Iterator[tarfile.TarInfo]:
                for member in tar:
                    tar.members = []  # type: ignore[attr-defined]  # a stream never goes back: forget them
                    yield member

            def read(member: tarfile.TarInfo) -> IO[bytes]:
                return tar.extractfile(member) or io.BytesIO()

            yield each(), read
        while bounded.read():
            pass
        while buffered.read(CHUNK):
            pass


def _node(member: tarfile.TarInfo, number: int, position: int, noted: Any) -> Node:
    if member.isdir():
        return Node("directory")
    if member.issym():
        return Node("link", target=member.linkname)
    if member.islnk():
        return Node("hard", target=member.linkname)
    if member.type in _REGULAR:
        return Node("file", "", member.size, bool(member.mode & 0o111), number, position, noted)
    return Node("other")


def _name(base: Base, number: int) -> str:
    return f"layer {number + 1} of {base.name}"


def _parts(layer: str, path: str) -> list[str]:
    """Return the names that ``path`` is made of. Backslashes are letters like others: units of systemd have them."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts or "\0" in path:
        refuse(layer, path, "leads out of its place", code="unsafe_path")
    if any(len(part) > _LONGEST_NAME_BYTES for part in parts):
        refuse(layer, path, "has a name that is too long for any file system", code="unsafe_path")
    return parts
