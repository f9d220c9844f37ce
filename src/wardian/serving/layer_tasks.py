"""The layers of a served image: the server with what the environment lacks, a model's files, the files of the entry's source."""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

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
_NO_LINKS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


@dataclass(frozen=True, slots=True)
class TreeFile:
    """A file or a link of a directory: ``path`` below it, ``target`` a link's text (None: a file)."""

    path: str
    size_bytes: int = 0
    executable: bool = False
    target: str | None = None


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
    kind: str, directory: str, name: str, root: Path, files: Sequence[TreeFile], digest: Digest, scheme: ImageScheme
) -> LayerTask:
    """Return the layer of the files of ``root`` at ``directory``: read in pieces while it is written, so that memory stays flat.

    Args:     kind: ``model`` | ``app``.  name: for people.  digest: of the files with their names.
    Raises:   BadArchive: ``unsafe_path``: a name that would remove files of other layers; the layer's content: a name that is not
              UTF-8, a file that is shorter or longer than was seen.
    """
    for file in files:
        if any(part.startswith(WHITEOUT) for part in file.path.split("/")):
            refuse(
                name, file.path, f"begins with `{WHITEOUT}`: in a layer that removes a file of another one", code="unsafe_path"
            )
    key = layer_key(scheme, kind, [digest], details={"directory": directory})

    @contextlib.contextmanager
    def content() -> Iterator[LayerContent]:
        yield LayerContent([_empty(directory), *tree_entries(root, files, directory)])

    return LayerTask(key, name, content, sum(file.size_bytes for file in files))


def tree_entries(root: Path, files: Iterable[TreeFile], directory: str) -> Iterator[Entry]:
    """Yield the files of ``root`` below ``directory``; each is opened when it is written, without following a link."""
    for file in files:
        path = f"{directory}/{file.path}"
        if file.target is not None:
            yield Entry(path, "link", target=file.target)
        else:
            yield Entry(path, "file", file.size_bytes, file.executable, "", _opener(root, file.path))


def tree_digest(root: Path, files: Iterable[TreeFile]) -> Digest:
    """Return the digest of the files of ``root``: names, contents, links, and what may be executed."""
    rows = []
    for file in files:
        if file.target is not None:
            rows.append([file.path, "link", file.target])
            continue
        with _opener(root, file.path)() as stream:
            rows.append([file.path, "executable" if file.executable else "file", str(Digest.of_stream(stream))])
    return Digest.of_document({"tag": "wardian-served-tree", "files": sorted(rows)})


def _opener(root: Path, path: str) -> Callable[[], AbstractContextManager[IO[bytes]]]:
    @contextlib.contextmanager
    def opened() -> Iterator[IO[bytes]]:
        try:
            descriptor = os.open(root / path, _NO_LINKS)
        except OSError as error:
            raise Conflict(
                f"{root / path} has changed while it was read: {error.strerror}", code="file_changed", hint="try again"
            ) from error
        with os.fdopen(descriptor, "rb") as stream:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise Conflict(
                    f"{root / path} has changed while it was read: it is no file any more",
                    code="file_changed",
                    hint="try again",
                )
            yield stream

    return opened


def _empty(directory: str) -> Entry:
    """Return what hides whatever lower layers have at ``directory``."""
    return Entry.of_bytes(f"{directory}/{OPAQUE}", b"")
