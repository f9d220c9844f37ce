from __future__ import annotations

import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardian.image.elf import HEAD_BYTES, Libraries, architecture_of, libraries_of, loader_of

HERE = Path(sys.executable).resolve()
HEAD = HERE.read_bytes()[:HEAD_BYTES]


@pytest.mark.skipif(shutil.which("readelf") is None, reason="readelf is missing: apt-get install binutils")
@pytest.mark.parametrize("program", [HERE, Path("/bin/sh").resolve(), *sorted(Path("/usr/lib").glob("*/libz.so.1"))], ids=str)
def test_what_readelf_says(program: Path) -> None:
    content = program.read_bytes()
    listing = subprocess.run(
        ["readelf", "-lhd", program], capture_output=True, text=True, check=True, env={"LC_ALL": "C"}
    ).stdout
    loader = re.search(r"Requesting program interpreter: (.*)\]", listing)
    assert loader_of(content[:HEAD_BYTES]) == (loader[1] if loader else "")
    found = libraries_of(content)
    assert list(found.needed) == re.findall(r"\(NEEDED\).*\[(.*)\]", listing)
    assert ":".join(found.places) == "".join(re.findall(r"\(R(?:UN)?PATH\).*\[(.*)\]", listing))
    assert (
        architecture_of(content)
        == {"Advanced Micro Devices X86-64": "amd64", "AArch64": "arm64"}[re.findall(r"Machine: +(.*)", listing)[0]]
    )


@pytest.mark.parametrize("content", [b"", b"#!/bin/sh\n", b"\x7fELF", b"\x7fELF\2\1\1", b"MZ" + bytes(100)])
def test_what_is_no_program_needs_nothing(content: bytes) -> None:
    assert (loader_of(content), architecture_of(content), libraries_of(content)) == ("", "", Libraries())


def test_names_without_end_do_not_fill_the_memory() -> None:
    """A thousand libraries of one long name: the table holds it once, the answer would hold it a thousand times."""
    text = b"x" * (1 << 20) + b"\0"
    tags = [(5, 0), *[(1, 0)] * 1000, (0, 0)]  # where the names are; a name that is needed; the end
    section = b"".join(struct.pack("<QQ", *tag) for tag in tags)
    table = 64 + 2 * 56 + len(section)
    tags_at = 64 + 2 * 56
    load = struct.pack("<IIQQQQQQ", 1, 0, table, 0, 0, len(text), len(text), 0)
    dynamic = struct.pack("<IIQQQQQQ", 2, 0, tags_at, 1 << 40, 0, len(section), len(section), 0)
    head = b"\x7fELF\2\1\1".ljust(16, b"\0") + struct.pack("<HHIQQQIHHHHHH", 3, 0x3E, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    short = head + load + dynamic + section + b"libc.so.6\0"
    assert libraries_of(short).needed == ("libc.so.6",) * 1000
    assert libraries_of(head + load + dynamic + section + text) == Libraries()


@given(st.integers(0, 2000), st.binary(min_size=1, max_size=40), st.integers(0, HEAD_BYTES))
def test_damage_is_no_surprise(at: int, instead: bytes, length: int) -> None:
    content = (HEAD[:at] + instead + HEAD[at + len(instead) :])[:length]
    assert isinstance(loader_of(content), str)
    assert isinstance(architecture_of(content), str)
    assert isinstance(libraries_of(content), Libraries)
