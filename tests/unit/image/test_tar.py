"""What stands in a layer's tar archive, byte for byte where it matters, and what is refused."""

from __future__ import annotations

import io
import subprocess
import tarfile
from contextlib import contextmanager
from dataclasses import replace
from typing import IO, TYPE_CHECKING, cast

import pytest

from wardian.errors import BadArchive
from wardian.image.entry import Entry
from wardian.image.tar import PIECE_BYTES, write_tar

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EPOCH = 315532800


def tar_of(*entries: Entry, mtime: int = EPOCH) -> bytes:
    return b"".join(write_tar(entries, mtime=mtime))


def members(content: bytes) -> list[tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        return archive.getmembers()


def link(path: str, target: str) -> Entry:
    return Entry(path, "link", target=target)


def test_members_are_sorted_with_the_directories_above_them_once() -> None:
    content = tar_of(
        Entry.of_bytes("opt/env/b/x", b"1"), Entry.of_bytes("opt/env/b.py", b"2"), Entry.of_bytes("opt/env/B", b"")
    )
    assert [m.name for m in members(content)] == ["opt", "opt/env", "opt/env/B", "opt/env/b", "opt/env/b.py", "opt/env/b/x"]


def test_owner_mode_and_time_are_fixed() -> None:
    content = tar_of(
        Entry.of_bytes("a", b"x"), Entry.of_bytes("b", b"x", executable=True), link("c", "a"), Entry("d", "directory"), mtime=7
    )
    found = {m.name: m for m in members(content)}
    assert {name: m.mode for name, m in found.items()} == {"a": 0o644, "b": 0o755, "c": 0o777, "d": 0o755}
    assert {(m.uid, m.gid, m.uname, m.gname, m.mtime) for m in found.values()} == {(0, 0, "", "", 7)}
    assert (found["c"].type, found["c"].linkname) == (tarfile.SYMTYPE, "a")


def test_a_small_archive_byte_for_byte() -> None:
    header = bytearray(512)
    header[0:1], header[100:108], header[108:116], header[116:124] = b"a", b"0000644\0", b"0000000\0", b"0000000\0"
    header[124:136], header[136:148], header[148:156] = b"00000000002\0", b"02263523000\0", b"        "
    header[156:157], header[257:265], header[329:337], header[337:345] = b"0", b"ustar\x0000", b"0000000\0", b"0000000\0"
    header[148:156] = b"%06o\0 " % sum(header)
    assert tar_of(Entry.of_bytes("a", b"hi")) == bytes(header) + b"hi".ljust(512, b"\0") + bytes(1024)


def test_nothing_is_an_archive_too() -> None:
    assert tar_of() == bytes(1024)


@pytest.mark.parametrize(
    "path",
    [
        "é",
        "d/" + "ü" * 100,
        "x" * 100,
        "x" * 101,
        "d/" + "x" * 100,
        "p" * 155 + "/" + "n" * 100,
        "p" * 156 + "/" + "n" * 100,
        "/".join(f"part{n}" for n in range(200)),
        "a/" * 60 + "b",
        "line\nfeed",
    ],
)
def test_any_path_comes_back(path: str) -> None:
    content = tar_of(Entry.of_bytes(path, b"here"), link("zz", path))
    found = {m.name: m for m in members(content)}
    assert found[path].size == 4
    assert found["zz"].linkname == path
    directories = [m.name for m in members(content) if m.isdir()]
    assert directories == sorted({path[:i] for i, c in enumerate(path) if c == "/"}, key=str.encode)


def test_extended_headers_are_used_only_where_ustar_does_not_fit() -> None:
    prefix = "p" * 77 + "/" + "q" * 77
    assert b"PaxHeader" not in tar_of(Entry.of_bytes(prefix + "/" + "n" * 100, b""), link("l", "t" * 100))
    assert tar_of(Entry.of_bytes(prefix + "/" + "n" * 101, b"")).count(b"PaxHeader") == 1
    assert tar_of(link("l", "t" * 101)).count(b"PaxHeader") == 1
    assert tar_of(Entry("p" * 100, "directory")).count(b"PaxHeader") == 1, "with its slash it is too long"


def test_gnu_tar_reads_it(tmp_path: Path) -> None:
    entries = [
        Entry.of_bytes("é/" + "x" * 150, b"content", executable=True),
        link("l", "é/" + "x" * 150),
        Entry("e", "directory"),
    ]
    (tmp_path / "in.tar").write_bytes(tar_of(*entries))
    subprocess.run(
        ["tar", "-xf", "in.tar"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        env={"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"},
    )
    assert (tmp_path / "l").read_bytes() == b"content"
    assert (tmp_path / "e").is_dir()


def test_a_file_of_more_than_8_gib_is_announced_in_an_extended_header() -> None:
    size = (8 << 30) + 5
    pieces = write_tar([Entry("big", size_bytes=size, open_content=_zeros)], mtime=0)
    first = next(pieces)
    assert first[512:].startswith(b"19 size=%d\n" % size)
    assert first[1024 + 124 : 1024 + 136] == b"00000000000\0"
    pieces.close()  # type: ignore[attr-defined]


class _Zeros(io.RawIOBase):
    def read(self, size: int = -1) -> bytes:
        return bytes(size)


@contextmanager
def _zeros() -> Iterator[IO[bytes]]:
    yield cast("IO[bytes]", _Zeros())


def test_pieces_have_one_size_and_files_are_read_in_pieces() -> None:
    asked: list[int] = []

    class Watched(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            asked.append(size or 0)
            return super().read(size)

    content = bytes(range(256)) * 20_000
    pieces = list(write_tar([Entry("big", size_bytes=len(content), open_content=lambda: Watched(content))], mtime=0))
    assert [len(p) for p in pieces[:-1]] == [PIECE_BYTES] * (len(pieces) - 1)
    assert max(asked) <= PIECE_BYTES
    assert b"".join(pieces)[512 : 512 + len(content)] == content


@pytest.mark.parametrize("before_the_end", [0, 1, 512, 513, 1024, 1025, 1536, 2048, 2560, 3000])
@pytest.mark.parametrize("path", ["b", "é" * 120])
def test_a_header_may_end_anywhere_in_a_piece(before_the_end: int, path: str) -> None:
    first = Entry.of_bytes("a", bytes(PIECE_BYTES - 512 - before_the_end))
    entries = [first, Entry.of_bytes(path, b"the second file"), Entry.of_bytes("z", b"")]
    pieces = list(write_tar(entries, mtime=0))
    assert {len(piece) for piece in pieces[:-1]} <= {PIECE_BYTES}
    assert 0 < len(pieces[-1]) <= PIECE_BYTES
    content = b"".join(pieces)
    assert {(m.name, m.size) for m in members(content)} == {("a", first.size_bytes), (path, 15), ("z", 0)}
    assert content.endswith(bytes(1024))
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        stream = archive.extractfile(path)
        assert stream is not None
        assert stream.read() == b"the second file"


def test_streams_that_give_little_at_a_time_make_the_same_archive() -> None:
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(min(7, size if size and size > 0 else 7))

    content = b"some content that is longer than seven bytes" * 30
    assert tar_of(Entry("f", size_bytes=len(content), open_content=lambda: Slow(content))) == tar_of(
        Entry.of_bytes("f", content)
    )


def test_a_directory_may_be_named_twice_and_also_be_implied() -> None:
    assert tar_of(Entry("a", "directory"), Entry("a", "directory"), Entry.of_bytes("a/b", b"")) == tar_of(
        Entry.of_bytes("a/b", b"")
    )


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/etc/passwd", "unsafe_path"),
        ("a/../../b", "unsafe_path"),
        ("..", "unsafe_path"),
        ("./a", "unsafe_path"),
        (".", "unsafe_path"),
        ("a//b", "unsafe_path"),
        ("a/", "unsafe_path"),
        ("", "unsafe_path"),
        ("a\0b", "unsafe_path"),
        ("a\\b", "unsafe_path"),
        ("a\udc80", "unsafe_path"),
    ],
)
@pytest.mark.parametrize("kind", ["file", "directory", "link"])
def test_paths_that_are_refused(path: str, code: str, kind: str) -> None:
    entry = Entry(path, kind, target="x" if kind == "link" else "")
    with pytest.raises(BadArchive) as refused:
        next(iter(write_tar([Entry.of_bytes("first", b""), entry], mtime=0)))
    assert refused.value.stable_code == code


@pytest.mark.parametrize(
    ("entries", "code"),
    [
        ([Entry.of_bytes("a", b""), Entry.of_bytes("a", b"")], "duplicate_member"),
        ([Entry.of_bytes("a", b""), Entry("a", "directory")], "duplicate_member"),
        ([Entry("a", "directory"), link("a", "b")], "duplicate_member"),
        ([Entry.of_bytes("a/b/c", b""), Entry.of_bytes("a", b"")], "duplicate_member"),
        ([Entry.of_bytes("a/b/c", b""), link("a", "/tmp")], "unsafe_link"),
        ([link("a", "/tmp"), Entry("a/b", "directory")], "unsafe_link"),
        ([link("a", "")], "unsafe_link"),
        ([link("a", "b\0c")], "unsafe_link"),
        ([link("a", "b\udc80")], "unsafe_link"),
        ([Entry("a", "fifo")], "unsafe_member"),
        ([Entry("a", size_bytes=3)], "wrong_size"),
        ([replace(Entry.of_bytes("a", b"four"), size_bytes=5)], "wrong_size"),
        ([replace(Entry.of_bytes("a", b"four"), size_bytes=3)], "wrong_size"),
    ],
)
def test_entries_that_are_refused(entries: list[Entry], code: str) -> None:
    with pytest.raises(BadArchive, match="the layer: `a") as refused:
        tar_of(*entries)
    assert refused.value.stable_code == code


@pytest.mark.parametrize("mtime", [-1, 8**11])
def test_a_time_that_does_not_fit(mtime: int) -> None:
    with pytest.raises(ValueError, match="not a time"):
        tar_of(mtime=mtime)
