"""A file system of our own on Linux's FUSE, which stores in a directory: without hard links, of whatever type a test wants.

``python -m tests.support.fuse STORE TARGET TYPE`` mounts, says ``mounted``, and serves until it is killed or unmounted. Needs root
and /dev/fuse, no library: the kernel's protocol is spoken here.

Source:   linux/fuse.h, protocol 7.31
"""

# names come from the kernel as bytes
# ruff: noqa: PTH101, PTH102, PTH104, PTH106, PTH108, PTH115, PTH211
from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
import struct
import sys
from collections.abc import Callable
from pathlib import Path

MAX_WRITE = 128 << 10
_IN = struct.Struct("<IIQQIIII")  # length, opcode, unique, node, uid, gid, pid, padding
_ATTR = struct.Struct("<QQQQQQIIIIIIIIII")
_KEPT_S = 1  # how long the kernel may believe an answer

Handler = Callable[["Server", int, bytes], bytes | None]


class Server:
    """Answers the kernel's requests, one after the other, from the files below ``store``."""

    def __init__(self, store: Path, device: int):
        self._device = device
        self._nodes: dict[int, tuple[int, bytes]] = {1: (0, os.fsencode(store))}  # node → parent, name
        self._ids: dict[tuple[int, bytes], int] = {}
        self._next = 2
        self._lists: dict[int, list[tuple[bytes, int]]] = {}

    def serve(self) -> None:
        """Answer until the file system is unmounted."""
        while True:
            try:
                request = os.read(self._device, MAX_WRITE + 4096)
            except OSError as error:
                if error.errno == errno.ENODEV:
                    return
                if error.errno in (errno.ENOENT, errno.EINTR, errno.EAGAIN):  # taken back
                    continue
                raise
            _, opcode, unique, node, *_ = _IN.unpack_from(request)
            handler = HANDLERS.get(opcode)
            number, answer = 0, b""
            try:
                if handler is None:
                    raise OSError(errno.ENOSYS, "not here")
                found = handler(self, node, request[_IN.size :])
                if found is None:
                    continue
                answer = found
            except OSError as error:
                number = error.errno or errno.EIO
            with contextlib.suppress(FileNotFoundError):  # nobody waits for it any more
                os.write(self._device, struct.pack("<IiQ", 16 + len(answer), -number, unique) + answer)

    # -- nodes ---------------------------------------------------------------------------------------------------------

    def path(self, node: int, name: bytes = b"") -> bytes:
        """Return where a node, or ``name`` in it, is stored."""
        parts = [name] if name else []
        while node:
            node, part = self._nodes[node]
            parts.append(part)
        return b"/".join(reversed(parts))

    def _entry(self, parent: int, name: bytes) -> bytes:
        found = os.lstat(self.path(parent, name))
        node = self._ids.get((parent, name))
        if node is None:
            node, self._next = self._next, self._next + 1
            self._ids[parent, name] = node
            self._nodes[node] = (parent, name)
        return struct.pack("<QQQQII", node, 0, _KEPT_S, _KEPT_S, 0, 0) + _attributes(node, found)

    def _forget_name(self, parent: int, name: bytes) -> None:
        self._ids.pop((parent, name), None)

    # -- requests ------------------------------------------------------------------------------------------------------

    def start(self, _node: int, body: bytes) -> bytes:
        _, minor, readahead, _ = struct.unpack_from("<IIII", body)
        return struct.pack(
            "<IIIIHHIIHH32x", 7, min(31, minor), readahead, 1 << 5, 12, 10, MAX_WRITE, 1, MAX_WRITE >> 12, 0
        )  # BIG_WRITES

    def look_up(self, node: int, body: bytes) -> bytes:
        return self._entry(node, body.rstrip(b"\0"))

    def get_attributes(self, node: int, body: bytes) -> bytes:
        flags, _, handle = struct.unpack_from("<IIQ", body)
        found = os.fstat(handle) if flags & 1 else os.lstat(self.path(node))
        return struct.pack("<QII", _KEPT_S, 0, 0) + _attributes(node, found)

    def set_attributes(self, node: int, body: bytes) -> bytes:
        valid, _, handle, size, _, atime, mtime, _, ans, mns, _, mode, _, uid, gid = struct.unpack_from(
            "<IIQQQQQQIIIIIII", body
        )
        where: bytes | int = handle if valid & 0x40 else self.path(node)
        follow = isinstance(where, int)
        if valid & 0x1:
            os.chmod(where, stat.S_IMODE(mode))
        if valid & 0x6:
            os.chown(where, uid if valid & 2 else -1, gid if valid & 4 else -1, follow_symlinks=follow)
        if valid & 0x8:
            os.truncate(where, size)
        if valid & 0x180:  # now
            os.utime(where, follow_symlinks=follow)
        elif valid & 0x30:
            before = os.fstat(where) if isinstance(where, int) else os.lstat(where)
            accessed = atime * 10**9 + ans if valid & 0x10 else before.st_atime_ns
            modified = mtime * 10**9 + mns if valid & 0x20 else before.st_mtime_ns
            os.utime(where, ns=(accessed, modified), follow_symlinks=follow)
        found = os.fstat(where) if isinstance(where, int) else os.lstat(where)
        return struct.pack("<QII", _KEPT_S, 0, 0) + _attributes(node, found)

    def read_link(self, node: int, _body: bytes) -> bytes:
        return os.readlink(self.path(node))

    def make_link(self, node: int, body: bytes) -> bytes:
        name, target = body.split(b"\0")[:2]
        os.symlink(target, self.path(node, name))
        return self._entry(node, name)

    def refuse_hard_link(self, _node: int, _body: bytes) -> bytes:
        raise OSError(errno.EPERM, "there are no hard links here")

    def make_directory(self, node: int, body: bytes) -> bytes:
        mode, umask = struct.unpack_from("<II", body)
        name = body[8:].rstrip(b"\0")
        os.mkdir(self.path(node, name), mode & ~umask)
        return self._entry(node, name)

    def make_node(self, node: int, body: bytes) -> bytes:
        mode, device, umask, _ = struct.unpack_from("<IIII", body)
        name = body[16:].rstrip(b"\0")
        os.mknod(self.path(node, name), mode & ~umask, device)
        return self._entry(node, name)

    def remove_file(self, node: int, body: bytes) -> bytes:
        name = body.rstrip(b"\0")
        os.unlink(self.path(node, name))
        self._forget_name(node, name)
        return b""

    def remove_directory(self, node: int, body: bytes) -> bytes:
        name = body.rstrip(b"\0")
        os.rmdir(self.path(node, name))
        self._forget_name(node, name)
        return b""

    def rename(self, node: int, body: bytes, names: bytes | None = None) -> bytes:
        (target,) = struct.unpack_from("<Q", body)
        old, new = (body[8:] if names is None else names).split(b"\0")[:2]
        os.rename(self.path(node, old), self.path(target, new))
        self._forget_name(target, new)
        moved = self._ids.pop((node, old), None)
        if moved is not None:
            self._ids[target, new] = moved
            self._nodes[moved] = (target, new)
        return b""

    def rename_with_flags(self, node: int, body: bytes) -> bytes:
        target, flags, _ = struct.unpack_from("<QII", body)
        new = body[16:].split(b"\0")[1]
        if flags & ~1:
            raise OSError(errno.EINVAL, "nothing is exchanged")
        if flags and os.path.lexists(self.path(target, new)):  # RENAME_NOREPLACE: what vfat and exfat know, too
            raise OSError(errno.EEXIST, "it is there")
        return self.rename(node, body, body[16:])

    def open_file(self, node: int, body: bytes) -> bytes:
        flags, _ = struct.unpack_from("<II", body)
        handle = os.open(self.path(node), flags & ~(os.O_CREAT | os.O_EXCL | os.O_NOCTTY | os.O_APPEND))
        return struct.pack("<QIi", handle, 0, 0)

    def create(self, node: int, body: bytes) -> bytes:
        flags, mode, umask, _ = struct.unpack_from("<IIII", body)
        name = body[16:].rstrip(b"\0")
        handle = os.open(self.path(node, name), (flags & ~os.O_APPEND) | os.O_CREAT, mode & ~umask & 0o7777)
        return self._entry(node, name) + struct.pack("<QIi", handle, 0, 0)

    def read(self, _node: int, body: bytes) -> bytes:
        handle, offset, size = struct.unpack_from("<QQI", body)
        return os.pread(handle, size, offset)

    def write(self, _node: int, body: bytes) -> bytes:
        handle, offset, size = struct.unpack_from("<QQI", body)
        return struct.pack("<II", os.pwrite(handle, body[40 : 40 + size], offset), 0)

    def close(self, _node: int, body: bytes) -> bytes:
        os.close(struct.unpack_from("<Q", body)[0])
        return b""

    def sync(self, _node: int, body: bytes) -> bytes:
        os.fsync(struct.unpack_from("<Q", body)[0])
        return b""

    def open_directory(self, node: int, _body: bytes) -> bytes:
        handle = max(self._lists, default=0) + 1
        with os.scandir(self.path(node)) as entries:
            found = [(entry.name, entry.stat(follow_symlinks=False).st_mode >> 12) for entry in entries]
        self._lists[handle] = [(b".", 4), (b"..", 4), *found]
        return struct.pack("<QIi", handle, 0, 0)

    def read_directory(self, _node: int, body: bytes) -> bytes:
        handle, offset, size = struct.unpack_from("<QQI", body)
        answer = b""
        for position, (name, kind) in enumerate(self._lists[handle][offset:], start=offset + 1):
            entry = struct.pack("<QQII", 0xFFFF_FFFF, position, len(name), kind) + name
            entry += b"\0" * (-len(entry) % 8)
            if len(answer) + len(entry) > size:
                break
            answer += entry
        return answer

    def close_directory(self, _node: int, body: bytes) -> bytes:
        self._lists.pop(struct.unpack_from("<Q", body)[0], None)
        return b""

    def file_system(self, node: int, _body: bytes) -> bytes:
        found = os.statvfs(self.path(node))
        return struct.pack("<QQQQQIIII24x", found.f_blocks, found.f_bfree, found.f_bavail, found.f_files, found.f_ffree, found.f_bsize,
                           255, found.f_frsize, 0)  # fmt: skip

    def nothing(self, _node: int, _body: bytes) -> bytes:
        return b""

    def unanswered(self, _node: int, _body: bytes) -> None:
        return None


HANDLERS: dict[int, Handler] = {
    1: Server.look_up, 2: Server.unanswered, 3: Server.get_attributes, 4: Server.set_attributes, 5: Server.read_link, 6: Server.make_link,
    8: Server.make_node, 9: Server.make_directory, 10: Server.remove_file, 11: Server.remove_directory, 12: Server.rename,
    13: Server.refuse_hard_link, 14: Server.open_file, 15: Server.read, 16: Server.write, 17: Server.file_system, 18: Server.close,
    20: Server.sync, 25: Server.nothing, 26: Server.start, 27: Server.open_directory, 28: Server.read_directory, 29: Server.close_directory,
    30: Server.nothing, 35: Server.create, 36: Server.unanswered, 42: Server.unanswered, 45: Server.rename_with_flags,
}  # fmt: skip


def _attributes(node: int, found: os.stat_result) -> bytes:
    seconds = [int(t // 10**9) for t in (found.st_atime_ns, found.st_mtime_ns, found.st_ctime_ns)]
    nanoseconds = [int(t % 10**9) for t in (found.st_atime_ns, found.st_mtime_ns, found.st_ctime_ns)]
    links = 1 if stat.S_ISREG(found.st_mode) else found.st_nlink
    return _ATTR.pack(node, found.st_size, found.st_blocks, *seconds, *nanoseconds, found.st_mode, links, found.st_uid, found.st_gid,
                      found.st_rdev, 4096, 0)  # fmt: skip


def main() -> None:
    """Mount and serve."""
    store, target, kind = sys.argv[1:]
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"wardian-tests", os.fsencode(target), kind.encode(), ctypes.c_ulong(0x2 | 0x4), options.encode()) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), target)
    os.umask(0)
    sys.stdout.write("mounted\n")
    sys.stdout.flush()
    Server(Path(store), device).serve()


if __name__ == "__main__":
    main()
