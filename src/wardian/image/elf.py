"""The few facts of a Linux program's header that decide whether it can start: which loader it asks the kernel for."""

from __future__ import annotations

import struct

HEAD_BYTES = 64 << 10  # program headers, and the loader's path, are within the first page of what linkers make
_MAGIC = b"\x7fELF"
_PT_INTERP = 3
_MACHINES = {0x3E: "amd64", 0xB7: "arm64", 0xF3: "riscv64", 0x15: "ppc64le", 0x16: "s390x", 0x03: "386", 0x28: "arm"}


def loader_of(head: bytes) -> str:
    """Return the path of the loader that a program names; ``""``: it needs none, or is no ELF program.

    Args:     head: the first ``HEAD_BYTES`` of the file, or all of it.
    Source:   the System V ABI, chapters 4 and 5
    """
    if not head.startswith(_MAGIC):
        return ""
    try:
        for kind, offset, size in _program_headers(head):
            if kind == _PT_INTERP and offset + size <= len(head):
                return head[offset : offset + size].split(b"\0")[0].decode(errors="replace")
    except struct.error:
        pass
    return ""


def architecture_of(head: bytes) -> str:
    """Return what a program was built for, in OCI's word (``amd64``); ``""``: no ELF file, or a rare machine."""
    if not head.startswith(_MAGIC) or len(head) < 20:  # noqa: PLR2004
        return ""
    return _MACHINES.get(struct.unpack_from(_order(head) + "H", head, 18)[0], "")


def _program_headers(head: bytes) -> list[tuple[int, int, int]]:
    order = _order(head)
    if head[4] == 2:  # noqa: PLR2004 - 64 bits
        (start,) = struct.unpack_from(order + "Q", head, 32)
        size, count = struct.unpack_from(order + "HH", head, 54)
        form = order + "I4xQ16xQ"
    else:
        (start,) = struct.unpack_from(order + "I", head, 28)
        size, count = struct.unpack_from(order + "HH", head, 42)
        form = order + "II8xI"
    return [struct.unpack_from(form, head, start + n * size) for n in range(count)]


def _order(head: bytes) -> str:
    return ">" if head[5] == 2 else "<"  # noqa: PLR2004
