"""The few facts of a Linux program that decide whether it can start: its loader, its libraries, its machine."""

from __future__ import annotations

import struct
from dataclasses import dataclass

HEAD_BYTES = 64 << 10  # program headers, and the loader's path, are within the first page of what linkers make
_MAGIC = b"\x7fELF"
_WIDE = 2  # the class of 64 bits
_PT_LOAD, _PT_DYNAMIC, _PT_INTERP = 1, 2, 3
_DT_NEEDED, _DT_STRTAB, _DT_RPATH, _DT_RUNPATH = 1, 5, 15, 29
_MOST_TAGS = 10_000
_LONGEST_TEXT_BYTES = 16 << 10  # a list of places can be long; hostile ones would fill the memory, many times over
_DAMAGE = (struct.error, IndexError, OverflowError)
_MACHINES = {0x3E: "amd64", 0xB7: "arm64", 0xF3: "riscv64", 0x15: "ppc64le", 0x16: "s390x", 0x03: "386", 0x28: "arm"}


@dataclass(frozen=True, slots=True)
class Libraries:
    """What a program or library needs: names of others, and where it says that they are, before the usual places."""

    needed: tuple[str, ...] = ()
    places: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Header:
    kind: int
    offset: int
    address: int
    size: int


def loader_of(head: bytes) -> str:
    """Return the path of the loader that a program names; ``""``: it needs none, or is no ELF program.

    Args:     head: the first ``HEAD_BYTES`` of the file, or all of it.
    Source:   the System V ABI, chapters 4 and 5
    """
    if not head.startswith(_MAGIC):
        return ""
    try:
        for header in _program_headers(head):
            if header.kind == _PT_INTERP and header.offset + header.size <= len(head):
                return _text(head, header.offset)
    except _DAMAGE:
        pass
    return ""


def libraries_of(content: bytes) -> Libraries:
    """Return what a program or library needs of others; nothing for what is no ELF file or a damaged one.

    Args:     content: the whole file.
    Source:   the System V ABI, chapter 5, "Dynamic Section"
    """
    if not content.startswith(_MAGIC):
        return Libraries()
    try:
        return _dynamic(content)
    except (*_DAMAGE, StopIteration):
        return Libraries()


def _dynamic(content: bytes) -> Libraries:
    headers = _program_headers(content)
    section = next(header for header in headers if header.kind == _PT_DYNAMIC)
    form = _order(content) + ("QQ" if content[4] == _WIDE else "II")
    step = struct.calcsize(form)
    found: list[tuple[int, int]] = []
    for at in range(section.offset, section.offset + section.size, step):
        tag, value = struct.unpack_from(form, content, at)
        if tag == 0 or len(found) > _MOST_TAGS:
            break
        found.append((tag, value))
    address = next(value for tag, value in found if tag == _DT_STRTAB)
    table = next(
        h.offset + address - h.address for h in headers if h.kind == _PT_LOAD and h.address <= address < h.address + h.size
    )
    texts = {
        tag: [text for t, value in found if t == tag and (text := _text(content, table + value))]
        for tag in (_DT_NEEDED, _DT_RPATH, _DT_RUNPATH)
    }
    paths = [path for text in texts[_DT_RUNPATH] or texts[_DT_RPATH] for path in text.split(":") if path]
    return Libraries(tuple(texts[_DT_NEEDED]), tuple(paths))


def architecture_of(head: bytes) -> str:
    """Return what a program was built for, in OCI's word (``amd64``); ``""``: no ELF file, or a rare machine."""
    if not head.startswith(_MAGIC) or len(head) < 20:  # noqa: PLR2004
        return ""
    return _MACHINES.get(struct.unpack_from(_order(head) + "H", head, 18)[0], "")


def _program_headers(head: bytes) -> list[_Header]:
    order, wide = _order(head), head[4] == _WIDE
    (start,) = struct.unpack_from(order + ("Q" if wide else "I"), head, 32 if wide else 28)
    size, count = struct.unpack_from(order + "HH", head, 54 if wide else 42)
    form = order + ("I4xQQ8xQ" if wide else "III4xI")
    return [_Header(*struct.unpack_from(form, head, start + n * size)) for n in range(count)]


def _text(content: bytes, at: int) -> str:
    end = content.find(b"\0", at, at + _LONGEST_TEXT_BYTES)
    return content[at:end].decode(errors="replace") if 0 <= at <= end else ""


def _order(head: bytes) -> str:
    return ">" if head[5] == 2 else "<"  # noqa: PLR2004
