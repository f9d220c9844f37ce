"""Makes layers of what lies in a directory and prints their digests: ``python -m tests.support.layer_digests PLACE JOBS``.

PLACE holds ``wheels/``, ``tree/`` and a standalone Python, ``python.tar.gz``; everything that is made is made below it.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from wardian.digest import Digest
from wardian.image.byte_code import ByteCompiler
from wardian.image.compression import Compression
from wardian.image.entry import Entry
from wardian.image.layer_cache import LayerCache, LayerContent, LayerTask
from wardian.image.layout import LayoutImageStore
from wardian.image.python_entries import standalone_python_entries
from wardian.image.python_layout import PythonLayout
from wardian.image.spool import Spool
from wardian.image.wheel_entries import ByteCodeMaker, wheel_entries
from wardian.package.archive import extract_python

if TYPE_CHECKING:
    from collections.abc import Iterator

EPOCH = 315532800


def digests(place: Path, jobs: int) -> dict[str, list[str]]:
    """Return digest and diff_id of each layer by its name, for each compression."""
    extract_python(place / "python.tar.gz", place / "interpreter")
    with ByteCompiler([str(place / "interpreter" / "bin" / "python3")], jobs=jobs) as compiler:
        minor = next((place / "interpreter" / "lib").glob("python3.*")).name.removeprefix("python")
        tasks = [_wheel(wheel, PythonLayout(minor), compiler, place) for wheel in (place / "wheels").iterdir()]
        tasks.append(_tree(place / "tree"))
        found: dict[str, list[str]] = {}
        for name in ("zstd", "gzip"):
            compression = Compression(name)
            root = place / f"layers-{name}"
            cache = LayerCache(
                root, LayoutImageStore(place / "registry", link_from=[root]), compression=compression, epoch=EPOCH
            )
            wanted = [*tasks, _python(place / "python.tar.gz", compiler, place)] if name == "zstd" else tasks
            for task, made in zip(wanted, cache.ensure_all(wanted, jobs=jobs), strict=True):
                found[f"{task.name} {compression.compressor}"] = [made.layer.descriptor.digest, made.layer.diff_id]
        return found


def _wheel(archive: Path, layout: PythonLayout, compiler: ByteCompiler, place: Path) -> LayerTask:
    @contextlib.contextmanager
    def content() -> Iterator[LayerContent]:
        with Spool(place / "spool") as spool, wheel_entries(archive, layout, ByteCodeMaker(compiler, spool)) as entries:
            yield LayerContent(entries)

    return LayerTask(Digest.of(archive.name.encode()), archive.name, content)


def _python(archive: Path, compiler: ByteCompiler, place: Path) -> LayerTask:
    @contextlib.contextmanager
    def content() -> Iterator[LayerContent]:
        with Spool(place / "spool") as spool, standalone_python_entries(archive, spool, compiler) as entries:
            yield LayerContent(entries)

    return LayerTask(Digest.of(b"python"), "python", content, size_bytes=1)


def _tree(root: Path) -> LayerTask:
    @contextlib.contextmanager
    def content() -> Iterator[LayerContent]:
        entries = []
        for directory, _, files in os.walk(root):
            for file in files:
                path = Path(directory, file)
                size = path.stat().st_size
                name = os.fsencode(path.relative_to(root)).decode()  # whatever this process takes file names for
                entries.append(Entry.of_file(f"opt/env/{name}", path, size_bytes=size, executable=False))
        yield LayerContent(entries)

    return LayerTask(Digest.of(b"tree"), "tree", content)


if __name__ == "__main__":
    print(json.dumps(digests(Path(sys.argv[1]), int(sys.argv[2])), sort_keys=True))
