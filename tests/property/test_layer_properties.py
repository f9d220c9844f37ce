"""Layers: the same entries are the same bytes; pieces do not matter; nothing leads outside."""

from __future__ import annotations

import io
import random
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wardian.errors import BadArchive
from wardian.image.compression import Compression
from wardian.image.entry import Entry
from wardian.image.tar import write_tar

_PART = st.one_of(
    st.sampled_from(["a", "b", "é", "..", ".", "", "a\0", "x" * 90, "y" * 120]),
    st.text(st.characters(exclude_characters="/"), min_size=1, max_size=8),
)
_PATH = st.lists(_PART, min_size=1, max_size=5).map("/".join)
_ENTRY = st.builds(
    lambda path, kind, content, executable, target: (
        Entry.of_bytes(path, content, executable=executable) if kind == "file" else Entry(path, kind, target=target * (kind == "link"))
    ),
    _PATH, st.sampled_from(["file", "file", "directory", "link"]), st.binary(max_size=1500), st.booleans(), _PATH,
)  # fmt: skip


@given(st.lists(_ENTRY, max_size=8), st.randoms(use_true_random=False))
def test_what_is_written_is_what_was_given_in_any_order_or_it_is_refused(entries: list[Entry], chance: random.Random) -> None:
    try:
        content = b"".join(write_tar(entries, mtime=1))
    except BadArchive:
        return
    shuffled = list(entries)
    chance.shuffle(shuffled)
    assert b"".join(write_tar(shuffled, mtime=1)) == content
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        found = {m.name: m for m in archive.getmembers()}
        assert [name.encode() for name in found] == sorted(name.encode() for name in found)
        for entry in entries:
            member = found[entry.path]
            if entry.kind == "link":
                assert (member.issym(), member.linkname) == (True, entry.target)
            elif entry.kind == "file":
                assert entry.open_content is not None
                stream = archive.extractfile(member)
                assert stream is not None
                with entry.open_content() as wanted:
                    assert stream.read() == wanted.read()
                assert member.mode == (0o755 if entry.executable else 0o644)
        wanted_paths = {entry.path for entry in entries}
        above = {path[:at] for path in wanted_paths for at, c in enumerate(path) if c == "/"}
        assert set(found) == wanted_paths | above
        assert all(found[path].isdir() for path in above)
        for name in found:
            assert not name.startswith("/")
            assert not {"..", ".", ""} & set(name.split("/"))


def _content(seed: int, length: int) -> bytes:
    """Content that libraries find much to choose in: repeats near and far, text, noise."""
    chance = random.Random(seed)  # noqa: S311 - nothing secret
    words = [chance.randbytes(chance.randint(1, 40)) for _ in range(200)]
    made = bytearray()
    while len(made) < length:
        made += chance.choice(words) if chance.random() < 0.97 else chance.randbytes(chance.randint(1, 3000))
    return bytes(made[:length])


@pytest.mark.parametrize("compression", [Compression(), Compression("zstd", 9), *(Compression("gzip", n) for n in (1, 4, 6))])
@settings(max_examples=15)
@given(st.integers(0, 3), st.integers(0, 3_000_000), st.randoms(use_true_random=False))
def test_pieces_do_not_change_what_a_compressor_writes(
    compression: Compression, seed: int, length: int, chance: random.Random
) -> None:
    content = _content(seed, length)
    whole = compression.start()
    wanted = whole.compress(content) + whole.finish()
    pieces = compression.start()
    found = bytearray()
    longest = chance.choice([10_000, 1 << 17, 1 << 20, 1 << 21])
    at = 0
    while at < len(content):
        step = chance.randint(0, longest)
        found += pieces.compress(content[at : at + step])
        at += step
    assert bytes(found + pieces.finish()) == wanted
