"""Stores an image in a layout again and again, and is killed at each of its system calls in turn. A program: ``python -m``."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path

from tests.support.images import an_image

from wardian.image.layout import LayoutImageStore


def _put_and_die_at(store: LayoutImageStore, call: int) -> None:
    left = call

    def hook(_event: str, _arguments: object) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    an_image(2).put(store, "new", "moved")


def _check(root: Path) -> str:
    """Return how far it came: ``old`` or ``new``; everything that is found is whole."""
    store = LayoutImageStore(root)
    tags = store.tags()
    assert tags in (["moved", "old"], ["moved", "new", "old"]), tags
    for tag in tags:
        found = store.find(tag)
        assert found is not None
        image = an_image(2 if tag == "new" or (tag == "moved" and "new" in tags) else 1)
        assert found.content == image.manifest.to_json()
        for blob, data in image.blobs:
            with store.open(blob) as stream:
                assert stream.read() == data
    return "new" if "new" in tags else "old"


def main(directory: str) -> None:
    """Print how many kills there were, and how often the old and the new state was found afterwards."""
    ways = {"old": 0, "new": 0}
    kills = 0
    for call in range(1, 2000):
        root = Path(directory) / str(call)
        an_image(1).put(LayoutImageStore(root), "old", "moved")
        pid = os.fork()
        if pid == 0:
            _put_and_die_at(LayoutImageStore(root), call)
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        ways[_check(root)] += 1
        an_image(2).put(LayoutImageStore(root), "new", "moved")
        assert _check(root) == "new"
        shutil.rmtree(root)
        if not os.WIFSIGNALED(status):
            break
        kills += 1
    sys.stdout.write(f"{kills} {ways['old']} {ways['new']}\n")


if __name__ == "__main__":
    main(sys.argv[1])
