"""Which file systems share files between machines: there SQLite's WAL, which needs shared memory, would lose records."""

from __future__ import annotations

import os
import re
from pathlib import Path

MOUNTINFO = Path("/proc/self/mountinfo")

_NETWORK = frozenset({
    "9p", "acfs", "afs", "beegfs", "beegfs_nodev", "ceph", "cifs", "coda", "davfs", "drvfs", "dvs", "fhgfs", "fuse", "gfs", "gfs2",
    "glusterfs", "gpfs", "lustre", "mmfs", "ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "panfs", "prl_fs", "pvfs2", "quobyte",
    "smb2", "smb3", "smbfs", "vboxsf", "virtiofs", "vmhgfs", "wekafs",
})  # fmt: skip
# FUSE file systems that lie on this machine's own disks; every other one is taken for remote
_LOCAL_FUSE = frozenset({
    "fuse.bindfs", "fuse.cryfs", "fuse.encfs", "fuse.fuse-overlayfs", "fuse.gocryptfs", "fuse.lxcfs", "fuse.mergerfs", "fuse.ntfs",
    "fuse.ntfs-3g", "fuse.unionfs",
})  # fmt: skip
_SUSPECT = re.compile(rb" - (?:fuse[ .]|(?:" + "|".join(sorted(_NETWORK)).encode() + rb") )")


def network_file_system(directory: Path, mountinfo: Path = MOUNTINFO) -> str | None:
    """Return the type of the network file system that ``directory`` lies on; None: a local one, or it cannot be told.

    Args:     mountinfo: where the kernel lists this process's mounts.
    Source:   proc(5), ``/proc/pid/mountinfo``; https://www.sqlite.org/wal.html ("does not work over a network filesystem")
    """
    try:
        mounts = mountinfo.read_bytes()
    except OSError:  # not Linux
        return None
    if not _SUSPECT.search(mounts):  # nearly always: saves the look at each mount
        return None
    kind = _type_at(os.path.realpath(directory), mounts.decode(errors="surrogateescape"))
    if kind in _NETWORK or (kind.startswith("fuse.") and kind not in _LOCAL_FUSE):
        return kind
    return None


def file_system(directory: Path, mountinfo: Path = MOUNTINFO) -> str:
    """Return the type of the file system that ``directory`` lies on, as the kernel calls it; empty: it cannot be told."""
    try:
        mounts = mountinfo.read_bytes()
    except OSError:  # not Linux
        return ""
    return _type_at(os.path.realpath(directory), mounts.decode(errors="surrogateescape"))


def _type_at(path: str, mounts: str) -> str:
    best, found = -1, ""
    for line in mounts.splitlines():
        fields, separator, rest = line.partition(" - ")
        columns = fields.split(" ")
        if not separator or len(columns) < 5:  # noqa: PLR2004 - proc(5): the fifth column is the mount point
            continue
        point = re.sub(r"\\([0-7]{3})", lambda m: chr(int(m.group(1), 8)), columns[4])
        inside = point in ("/", path) or path.startswith(point + "/")
        if inside and len(point) >= best:  # of mounts on one point the last one covers the others
            best, found = len(point), rest.split(" ", 1)[0]
    return found
