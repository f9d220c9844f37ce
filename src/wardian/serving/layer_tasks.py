"""The layers of a served image: the server with what the environment lacks, a model's files, the files of the entry's source."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import stat
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, cast

from wardian.digest import Digest
from wardian.errors import Conflict
from wardian.image.byte_code import ByteCompiler
from wardian.image.entry import OPAQUE, Entry
from wardian.image.layer_cache import LayerContent, LayerTask, layer_key
from wardian.image.spool import Spool
from wardian.image.wheel_entries import ByteCodeMaker
from wardian.package.archive_paths import refuse
from wardian.serving.layer_files import layer_entries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from wardian.image.key import ImageScheme
    from wardian.serving.extension import Extension

SERVE, MODEL, APP = "opt/serve", "opt/model", "opt/app"  # in an image, as tar writes them
WHITEOUT = ".wh."
_CHUNK = 1 << 20
_NO_LINKS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


FILE, EXECUTABLE, LINK, DIRECTORY = "file", "executable", "link", "directory"


@dataclass(frozen=True, slots=True)
class TreeFile:
    """One thing in a directory: ``path`` below it, ``target`` a link's text."""

    path: str
    kind: str = FILE
    size_bytes: int = 0
    target: str = ""


@dataclass(frozen=True, slots=True)
class LayerPython:
    """What makes byte-code for a layer.

    Attributes:
        digest: identifies the interpreter, as images have it.
        command: starts it on this machine, while the block lasts; called only if the layer has to be made.
    """

    digest: Digest
    command: Callable[[], AbstractContextManager[Sequence[str]]]


def serve_task(
    extension: Extension, scheme: ImageScheme, python: LayerPython | None, archives: Callable[[], Mapping[Digest, Path]], *, place: Path, jobs: int
) -> LayerTask:  # fmt: skip
    """Return the layer of the server and its packages at ``/opt/serve``: the same for all environments that lack the same.

    Args:     python: None: without byte-code.  archives: brings the wheels here, validated; called only if the layer has to be made.
              place: a directory for what waits.
    """
    compiles = python is not None and scheme.byte_code
    key = layer_key(scheme, "serving", [a.sha256 for a in extension.artifacts], site_packages=SERVE,
                    interpreter=python.digest if python is not None and compiles else None)  # fmt: skip

    @contextlib.contextmanager
    def content() -> Iterator[LayerContent]:
        found = archives()
        with contextlib.ExitStack() as stack:
            maker = None
            if python is not None and compiles:
                compiler = stack.enter_context(ByteCompiler(stack.enter_context(python.command()), jobs=jobs))
                maker = ByteCodeMaker(compiler, stack.enter_context(Spool(place / "spool")))
            entries = stack.enter_context(layer_entries(extension, found, SERVE, maker))
            yield LayerContent([_empty(SERVE), *entries])

    return LayerTask(key, "the scoring server", content, sum(a.size_bytes or 0 for a in extension.artifacts))


def tree_task(
    kind: str, directory: str, name: str, root: Path, files: Sequence[TreeFile], digest: Digest, scheme: ImageScheme,
    digest_of: Callable[[Mapping[str, str]], Digest],
) -> LayerTask:  # fmt: skip
    """Return the layer of the files of ``root`` at ``directory``: read in pieces while it is written, so that memory stays flat.

    Args:     kind: ``model`` | ``app``.  name: for people.  digest: of the files with their names.
              digest_of: the same, of what was read: sha256 by path. Where it differs, nothing is kept.
    Raises:   BadArchive: ``unsafe_path``: a name that would remove files of other layers; the layer's content: a name that is not
              UTF-8, a file that is shorter or longer than was seen.  Conflict: ``file_changed``.
    """
    for file in files:
        if any(part.startswith(WHITEOUT) for part in file.path.split("/")):
            refuse(
                name, file.path, f"begins with `{WHITEOUT}`: in a layer that removes a file of another one", code="unsafe_path"
            )
    key = layer_key(scheme, kind, [digest], details={"directory": directory})

    @contextlib.contextmanager
    def content() -> Iterator[LayerContent]:
        seen: dict[str, str] = {}
        yield LayerContent([_empty(directory), *tree_entries(root, files, directory, seen)])
        if digest_of(seen) != digest:
            raise Conflict(f"the files of {name} in {root} have changed since they were digested", code="file_changed",
                           hint="try again; a registered model that has changed is damaged: restore it from a backup")  # fmt: skip

    return LayerTask(key, name, content, sum(file.size_bytes for file in files))


def tree_entries(root: Path, files: Iterable[TreeFile], directory: str, seen: dict[str, str]) -> Iterator[Entry]:
    """Yield the files of ``root`` below ``directory``; each is opened when it is written, without following a link.

    Args:     seen: gets the sha256 of each file that was read to its end, by path.
    """
    for file in files:
        path = f"{directory}/{file.path}"
        if file.kind == LINK:
            yield Entry(path, "link", target=file.target)
        elif file.kind == DIRECTORY:
            yield Entry(path, "directory")
        else:
            yield Entry(path, "file", file.size_bytes, file.kind == EXECUTABLE, "", _opener(root, file.path, seen))


def source_digest(files: Iterable[TreeFile], contents: Mapping[str, str]) -> Digest:
    """Return the digest of a source directory: names, contents, links, and what may be executed.

    Args:     contents: sha256 by path.
    """
    rows = [[file.path, file.kind, file.target if file.kind == LINK else contents.get(file.path, "")] for file in files]
    return Digest.of_document({"tag": "wardian-served-source", "files": sorted(rows)})


def read_contents(root: Path, files: Iterable[TreeFile]) -> dict[str, str]:
    """Return the sha256 of each file by its path."""
    seen: dict[str, str] = {}
    for file in files:
        if file.kind in (FILE, EXECUTABLE):
            with _opener(root, file.path, seen)() as stream:
                while stream.read(_CHUNK):
                    pass
    return seen


class _Hashing(io.RawIOBase):
    """Reads a file, and knows its digest at its end."""

    def __init__(self, stream: IO[bytes]):
        super().__init__()
        self._stream = stream
        self.hasher = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        count = self._stream.readinto(view)  # type: ignore[attr-defined]
        self.hasher.update(view[:count])
        return int(count)


def _opener(root: Path, path: str, seen: dict[str, str]) -> Callable[[], AbstractContextManager[IO[bytes]]]:
    @contextlib.contextmanager
    def opened() -> Iterator[IO[bytes]]:
        try:
            descriptor = os.open(root / path, _NO_LINKS)
        except OSError as error:
            raise Conflict(
                f"{root / path} has changed while it was read: {error.strerror}", code="file_changed", hint="try again"
            ) from error
        with os.fdopen(descriptor, "rb", buffering=0) as stream:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise Conflict(
                    f"{root / path} has changed while it was read: it is no file any more",
                    code="file_changed",
                    hint="try again",
                )
            hashing = _Hashing(stream)
            yield cast("IO[bytes]", io.BufferedReader(hashing, _CHUNK))
            seen[path] = hashing.hasher.hexdigest()

    return opened


def _empty(directory: str) -> Entry:
    """Return what hides whatever lower layers have at ``directory``."""
    return Entry.of_bytes(f"{directory}/{OPAQUE}", b"")
