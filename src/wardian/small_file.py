"""Reading a small file whole, whatever stands in its place: a pipe or a device is never waited for."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

LIMIT_BYTES = 64 << 20


class NoSmallFile(OSError):
    """What stands there is no regular file, or larger than any such file is; ``strerror`` says which."""


def read_small(path: Path, limit_bytes: int = LIMIT_BYTES) -> bytes:
    """Return the content of the regular file at ``path``; a link is followed.

    Nothing else is opened: reading a pipe waits, reading a device may change something or never end.

    Raises:   NoSmallFile: it is no regular file, or holds more than ``limit_bytes``.  OSError: it cannot be read.
    """
    _check(path, os.stat(path))  # noqa: PTH116 - on the warm path
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        found = os.fstat(descriptor)  # it may have been replaced since
        _check(path, found)
        pieces, missing = [], limit_bytes + 1
        while missing and (piece := os.read(descriptor, min(missing, max(found.st_size + 1, 1 << 16)))):
            pieces.append(piece)
            missing -= len(piece)
    except BlockingIOError:  # /proc/kmsg says that it is a regular file
        raise NoSmallFile(errno.EINVAL, "it is no regular file", str(path)) from None
    finally:
        os.close(descriptor)
    if not missing:
        raise NoSmallFile(errno.EFBIG, f"it is larger than {limit_bytes:,} bytes", str(path))
    return b"".join(pieces)


def _check(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise NoSmallFile(errno.EINVAL, "it is no regular file", str(path))
