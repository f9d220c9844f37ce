"""Makes one layer in a process of its own, and stops where it is told to: ``python -m tests.support.layer_maker PLACE [PHASE]``."""

from __future__ import annotations

import contextlib
import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wardian.digest import Digest
from wardian.image.compression import Compression
from wardian.image.entry import Entry
from wardian.image.layer_cache import LayerCache, LayerContent, LayerTask
from wardian.image.layout import LayoutImageStore

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = Digest.of(b"the layer of this module")
PHASES = ("content", "reading", "before put", "after put", "after note")
_CONTENT = bytes(range(256)) * 20_000


def cache_at(place: Path, store: LayoutImageStore | None = None) -> LayerCache:
    """Return the layer cache of ``place``, with a layout beside it that links its layers."""
    root = place / "layers"
    store = store or LayoutImageStore(place / "registry", link_from=[root / "incoming"])
    return LayerCache(root, store, compression=Compression(), epoch=0)


def main(place: Path, phase: str) -> bool:
    """Make the layer; return whether it was there. Each making is a line of ``PLACE/log``; at ``phase`` it says so and waits."""

    def reached(here: str) -> None:
        if here == phase:
            print("here", flush=True)
            sys.stdin.read()

    class Stream(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > len(_CONTENT) // 2:
                reached("reading")
            return super().read(size)

    class Store(LayoutImageStore):
        def put(self, blob: Any, open_content: Any, *, origin: Any = None) -> str:
            def opened() -> Any:
                content = open_content()
                reached("before put")
                return content

            how = super().put(blob, opened, origin=origin)
            if how == "sent":
                reached("after put")
            return how

    @contextlib.contextmanager
    def content() -> Iterator[LayerContent]:
        with (place / "log").open("a") as log:
            log.write("made\n")
        reached("content")
        yield LayerContent([Entry("opt/env/f", "file", len(_CONTENT), open_content=lambda: Stream(_CONTENT))])

    store = Store(place / "registry", link_from=[place / "layers" / "incoming"])
    found = cache_at(place, store).ensure(LayerTask(KEY, "alpha", content))
    reached("after note")
    return found.cached


if __name__ == "__main__":
    print(main(Path(sys.argv[1]), *sys.argv[2:] or [""]))
