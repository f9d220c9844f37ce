"""Entries as a tar stream: the same entries are the same bytes, wherever and however they were made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardian.package.archive_paths import refuse, safe_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from wardian.image.entry import Entry

PIECE_BYTES = 1 << 20  # of the stream, every piece but the last
_BLOCK = 512
_NAME_BYTES = 100  # ustar's fields: what does not fit goes into an extended header
_PREFIX_BYTES = 155
_LARGEST_SIZE = 8**11 - 1
_LARGEST_TIME = 8**11 - 1
_TYPES = {"file": b"0", "link": b"2", "directory": b"5"}
_EXTENDED = b"x"


def write_tar(entries: Iterable[Entry], *, mtime: int, name: str = "the layer") -> Iterator[bytes]:
    """Yield ``entries`` as a tar archive, in pieces of ``PIECE_BYTES``; the last one is shorter.

    A pure function of the entries as a set: sorted by the bytes of their paths, every directory on the way once and before what
    is in it, owner 0 without a name, mode 755 for what is executable, a directory or a link, else 644. ustar; an extended (PAX)
    header only where that cannot hold a path, a link or a size. Memory does not depend on the files' sizes; one file at a
    time is open. Nothing is yielded if a path is refused.

    Args:     mtime: of everything, seconds since 1970.
              name: whose entries these are, for errors.
    Raises:   BadArchive: ``unsafe_path``: absolute, not normal, ``..``, NUL, not UTF-8; ``unsafe_link``: below a link, or a link
                  without a target; ``duplicate_member``: two files or links of one path, or a path below a file;
                  ``wrong_size``: content is shorter or longer than its entry says.
              ValueError: a time that no tar archive can hold.
    Source:   POSIX.1-2017, pax: ustar and extended header; semantics §5
    """
    if not 0 <= mtime <= _LARGEST_TIME:
        raise ValueError(f"{mtime} is not a time that a tar archive can hold")
    pending = bytearray()
    for entry in _ordered(entries, name):
        pending += _header(entry, mtime)
        yield from _full(pending)
        if entry.kind == "file" and entry.size_bytes:
            yield from _content(entry, pending, name)
            pending += b"\0" * (-entry.size_bytes % _BLOCK)
            yield from _full(pending)
    pending += b"\0" * (2 * _BLOCK)
    yield from _full(pending)
    if pending:
        yield bytes(pending)


def _full(pending: bytearray) -> Iterator[bytes]:
    """Yield the full pieces of ``pending``, and take them out."""
    while len(pending) >= PIECE_BYTES:
        yield bytes(pending[:PIECE_BYTES])
        del pending[:PIECE_BYTES]


def _ordered(entries: Iterable[Entry], name: str) -> list[Entry]:
    """Return the entries, and the directories above them, in the order of the archive; refuse what must not be in one."""
    from wardian.image.entry import Entry

    known: dict[str, Entry] = {}
    for entry in entries:
        if not entry.path or safe_path(name, entry.path) != entry.path:
            refuse(name, entry.path, "is not a plain path", code="unsafe_path")
        if entry.kind not in _TYPES:
            refuse(name, entry.path, f"is a {entry.kind}, no file, directory or link", code="unsafe_member")
        if entry.kind == "link":
            _check_target(entry, name)
        other = known.get(entry.path)
        if other is not None and not other.kind == entry.kind == "directory":
            refuse(name, entry.path, "is there twice", code="duplicate_member")
        known[entry.path] = entry
    for path in list(known):
        parent = path.rpartition("/")[0]
        while parent and (above := known.get(parent)) is None:
            known[parent] = Entry(parent, "directory")
            parent = parent.rpartition("/")[0]
        if parent and above is not None and above.kind != "directory":
            code = "unsafe_link" if above.kind == "link" else "duplicate_member"
            refuse(name, path, f"lies below `{parent}`, which is a {above.kind}", code=code)
    return sorted(known.values(), key=lambda entry: entry.path.encode())


def _check_target(entry: Entry, name: str) -> None:
    if not entry.target or "\0" in entry.target:
        refuse(name, entry.path, "is a link to what is no path", code="unsafe_link")
    try:
        entry.target.encode()
    except UnicodeEncodeError:
        refuse(name, entry.path, "is a link to a path that is not UTF-8", code="unsafe_link")


def _content(entry: Entry, pending: bytearray, name: str) -> Iterator[bytes]:
    """Yield pieces of ``pending``, which is less than one, and the file's content; what is no full piece stays in ``pending``."""
    if entry.open_content is None:
        refuse(name, entry.path, "has no content", code="wrong_size")
    left = entry.size_bytes
    with entry.open_content() as stream:
        while left and (piece := stream.read(min(left, PIECE_BYTES - len(pending)))):
            left -= len(piece)
            pending += piece
            yield from _full(pending)
        if left:
            refuse(name, entry.path, f"has {left:,} bytes less than its {entry.size_bytes:,}", code="wrong_size")
        if stream.read(1):  # also what makes a zip compare its checksum
            refuse(name, entry.path, f"has more than its {entry.size_bytes:,} bytes", code="wrong_size")


def _header(entry: Entry, mtime: int) -> bytes:
    """Return the header of ``entry``, after an extended one if it needs that."""
    path = entry.path.encode() + (b"/" if entry.kind == "directory" else b"")
    target = entry.target.encode() if entry.kind == "link" else b""
    size = entry.size_bytes if entry.kind == "file" else 0
    extended: list[tuple[bytes, bytes]] = []
    place = _split(path) if path.isascii() else None
    if place is None:
        extended.append((b"path", path))
        place = (b"", _short(path))
    if len(target) > _NAME_BYTES or not target.isascii():
        extended.append((b"linkpath", target))
        target = _short(target)
    if size > _LARGEST_SIZE:
        extended.append((b"size", b"%d" % size))
        size = 0
    mode = 0o777 if entry.kind == "link" else 0o755 if entry.executable or entry.kind == "directory" else 0o644
    header = _ustar(place, _TYPES[entry.kind], mode, size, mtime, target)
    if not extended:
        return header
    records = b"".join(_record(key, value) for key, value in sorted(extended))
    padding = b"\0" * (-len(records) % _BLOCK)
    return _ustar((b"", b"././@PaxHeader"), _EXTENDED, 0o644, len(records), mtime, b"") + records + padding + header


def _split(path: bytes) -> tuple[bytes, bytes] | None:
    """Return prefix and name as ustar has them, or None if the path does not fit."""
    if len(path) <= _NAME_BYTES:
        return b"", path
    # the first place to cut that leaves a name short enough; the directory's own last slash is no place
    at = path.find(b"/", len(path) - _NAME_BYTES - 1, len(path) - 1)
    return (path[:at], path[at + 1 :]) if 0 < at <= _PREFIX_BYTES else None


def _short(text: bytes) -> bytes:
    """Return what a reader without extended headers is shown: ASCII that fits."""
    return text.decode().encode("ascii", "replace")[:_NAME_BYTES]


def _record(key: bytes, value: bytes) -> bytes:
    """Return one record of an extended header; its length counts its own digits."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    if len(str(length)) > len(str(rest)):
        length += 1
    return b"%d %s=%s\n" % (length, key, value)


def _ustar(place: tuple[bytes, bytes], kind: bytes, mode: int, size: int, mtime: int, target: bytes) -> bytes:
    prefix, name = place
    fields = [
        name.ljust(100, b"\0"), b"%07o\0" % mode, b"0000000\0", b"0000000\0", b"%011o\0" % size, b"%011o\0" % mtime, b" " * 8,
        kind, target.ljust(100, b"\0"), b"ustar\x0000", b"\0" * 64, b"0000000\0", b"0000000\0", prefix.ljust(155, b"\0"), b"\0" * 12,
    ]  # fmt: skip
    header = b"".join(fields)
    return header[:148] + b"%06o\0 " % sum(header) + header[156:]
