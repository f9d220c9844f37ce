"""A directory at another path, for the calling thread and its children alone: what is built there names that path."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from wardian.tools import system_calls as kernel


def mount_at(source: Path, target: Path) -> None:
    """Let ``source`` be found at ``target`` too, by the calling thread and its children only, until they end.

    The machine is not changed. ``target`` need not exist, but the directory above it must; what else is in that one stays
    there to see. As an ordinary user this takes a user namespace, so the process must have no other thread yet.

    Args:     source: an existing directory.  target: absolute.
    Raises:   OSError: the kernel, or what confines this process, allows no private mounts.
    Source:   mount_namespaces(7), user_namespaces(7)
    """
    source = source.resolve(strict=True)
    _private_namespace()
    if not target.is_dir():
        with tempfile.TemporaryDirectory() as place:  # empty again for this thread too, once the mount has moved
            _with_room_for(target, Path(place))
    kernel.mount(source, target, kernel.MS_BIND | kernel.MS_REC)


def _private_namespace() -> None:
    user, group = os.geteuid(), os.getegid()
    try:
        kernel.unshare(kernel.CLONE_NEWNS)
    except PermissionError:
        kernel.unshare(kernel.CLONE_NEWUSER | kernel.CLONE_NEWNS)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    kernel.mount("none", "/", kernel.MS_REC | kernel.MS_SLAVE)


def _with_room_for(target: Path, place: Path) -> None:
    """Cover the directory above ``target`` by one that also has ``target``, and everything that was there."""
    above = target.parent
    kernel.mount("none", place, 0, "tmpfs")
    for there in above.iterdir():
        here = place / there.name
        if there.is_symlink():
            here.symlink_to(there.readlink())
            continue
        here.mkdir() if there.is_dir() else here.touch()
        kernel.mount(there, here, kernel.MS_BIND | kernel.MS_REC)
    (place / target.name).mkdir()
    kernel.mount(place, above, kernel.MS_MOVE)
