"""The Linux system calls that Python's library lacks, through libc: mount, unshare and prctl."""

from __future__ import annotations

import ctypes
import os

CLONE_NEWNS = 0x0002_0000
CLONE_NEWUSER = 0x1000_0000
MS_RDONLY = 1
MS_REMOUNT = 32
MS_BIND = 4096
MS_MOVE = 8192
MS_REC = 16384
MS_SLAVE = 1 << 19

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36

_libc = ctypes.CDLL(None, use_errno=True)


def unshare(flags: int) -> None:
    """Give the calling thread namespaces of its own.

    Raises:   OSError: the kernel refuses (``EPERM``: no CAP_SYS_ADMIN).
    Source:   unshare(2)
    """
    _check(_libc.unshare(ctypes.c_int(flags)), "unshare")


def mount(source: str | os.PathLike[str], target: str | os.PathLike[str], flags: int, kind: str | None = None) -> None:
    """Mount ``source`` at ``target``, or change the mount that is there. ``kind``: of a new file system, such as ``tmpfs``.

    Raises:   OSError: the kernel refuses.
    Source:   mount(2)
    """
    where = os.fsencode(target)
    result = _libc.mount(os.fsencode(source), where, kind.encode() if kind else None, ctypes.c_ulong(flags), None)
    _check(result, os.fsdecode(where))


def die_with_parent(signal: int) -> None:
    """Ask for ``signal`` when the thread that made this process ends. It survives exec, but is not inherited by children.

    Source:   PR_SET_PDEATHSIG in prctl(2)
    """
    _prctl(_PR_SET_PDEATHSIG, signal)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends, in place of the machine's init.

    Source:   PR_SET_CHILD_SUBREAPER in prctl(2)
    """
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    zero = ctypes.c_ulong(0)
    _check(_libc.prctl(ctypes.c_int(option), ctypes.c_ulong(value), zero, zero, zero), "prctl")


def _check(result: int, subject: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), subject)
