"""Read-only that binds root too: a private mount namespace in which prefixes and caches are bound read-only."""

from __future__ import annotations

import errno
import os
import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_MOUNTS = Path("/proc/thread-self/mountinfo")  # /proc/self would list those of the main thread
# statvfs and mount(2) number these alike; a remount that leaves them out would take them away
_KEPT_FLAGS = 0x2 | 0x4 | 0x8 | 0x400 | 0x800  # nosuid, nodev, noexec, noatime, nodiratime


class IsolationRefused(OSError):
    """The kernel, or what confines this process, allows no private mounts."""


def is_needed() -> bool:
    """Return whether permission bits don't bind this process: it is root."""
    return os.geteuid() == 0


def available() -> bool:
    """Return whether ``bind_read_only`` works here, by doing it once in a thread of its own: nothing of that remains.

    Where it is needed and not available, prefixes are to be copied, never hard-linked: a root process that writes into
    its environment would change every other one (semantics §4).
    """
    worked: list[bool] = []

    def attempt() -> None:
        try:
            bind_read_only([Path(__file__).parent])
        except IsolationRefused:
            return
        worked.append(True)

    # a mount namespace belongs to one thread and ends with it, so no process has to be forked
    thread = threading.Thread(target=attempt, name="wardian-isolation")
    thread.start()
    thread.join()
    return bool(worked)


def bind_read_only(paths: Iterable[Path], *, writable: Iterable[Path] = ()) -> None:
    """Give the calling thread a mount namespace of its own in which ``paths`` are read-only, mounts below them included.

    Its children inherit that; no other process sees it. Mounts that the machine makes later still arrive.

    Args:     paths: existing directories or files.
              writable: directories that stay writable though they lie below one of ``paths``.
    Raises:   IsolationRefused: not allowed here; nothing may be taken for read-only then.
    Source:   mount_namespaces(7), mount(2)
    """
    from wardian.tools import system_calls as kernel

    kept = [os.path.realpath(path) for path in writable]
    wanted = [os.path.realpath(path) for path in paths]
    try:
        kernel.unshare(kernel.CLONE_NEWNS)
        kernel.mount("none", "/", kernel.MS_REC | kernel.MS_SLAVE)
        for path in (*kept, *wanted):
            kernel.mount(path, path, kernel.MS_BIND | kernel.MS_REC)
        for point in _mount_points():
            if any(_is_below(point, path) for path in wanted) and not any(_is_below(point, path) for path in kept):
                flags = os.statvfs(point).f_flag & _KEPT_FLAGS
                kernel.mount("none", point, kernel.MS_REMOUNT | kernel.MS_BIND | kernel.MS_RDONLY | flags)
        for path in wanted:
            if not os.statvfs(path).f_flag & os.ST_RDONLY:
                raise OSError(errno.EROFS, "it stays writable", path)
    except OSError as error:
        raise IsolationRefused(error.errno, f"no private read-only mounts: {error.strerror}", error.filename) from error


def _mount_points() -> list[str]:
    found = (line.split(b" ", 5)[4].decode(errors="surrogateescape") for line in _MOUNTS.read_bytes().splitlines())
    return [re.sub(r"\\([0-7]{3})", lambda m: chr(int(m.group(1), 8)), point) for point in found]


def _is_below(path: str, parent: str) -> bool:
    return path == parent or path.startswith(parent.rstrip("/") + "/")
