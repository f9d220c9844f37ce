"""A tag that the first gets, though no registry can compare and set one: it is looked at twice, and read back."""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, TypeVar

from wardian.image.layout import LayoutImageStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from wardian.image.oci import Manifest
    from wardian.image.store import ImageStore

T = TypeVar("T")
_SETTLE_S = 0.5
_SETTLE_TIMES = 3


def tag_first(
    store: ImageStore,
    tag: str,
    look: Callable[[], T | None],
    prepare: Callable[[], Manifest],
    *,
    settle: Callable[[float], None] | None = None,
) -> tuple[T | None, bool]:
    """Put what ``prepare`` makes under a tag that is not there yet; return what is there in the end, and whether it was tagged here.

    In a directory the first wins, whatever the machine. In a registry two may both find nothing and tag; the last one's is what both
    read back then, and who has lost finds another's. With ``settle`` that is read when everybody who had found nothing has tagged.

    Args:     look: reads the tag: what it names, or None.  prepare: brings everything but the tag there; it may take minutes.
              settle: waits so many seconds: a few times as long as our look and tag took, and half a second at least.
    Raises:   what ``look``, ``prepare`` and ``ImageStore.tag`` raise.
    Source:   ADR 0020, ADR 0026
    """
    there = look()
    if there is not None:
        return there, False
    manifest = prepare()
    is_directory = isinstance(store, LayoutImageStore)
    with store.exclusively() if isinstance(store, LayoutImageStore) else nullcontext():
        began = time.monotonic()
        there = look()
        if there is not None:
            return there, False
        store.tag(manifest.to_json(), manifest.media_type, (tag,))
        took_s = time.monotonic() - began
    if settle is not None and not is_directory:
        settle(max(_SETTLE_S, _SETTLE_TIMES * took_s))
    return look(), True
