from __future__ import annotations

import json
import os

from hypothesis import given
from hypothesis import strategies as st

from wardian.run.file_names import from_document, from_text, readable, to_document, to_text

NAMES = st.binary(max_size=20).filter(lambda name: b"\0" not in name) | st.text(max_size=20).map(
    lambda text: text.encode(errors="replace").replace(b"\0", b"")
)


@given(NAMES, NAMES)
def test_every_name_has_a_text_of_its_own_and_it_is_utf8(one: bytes, other: bytes) -> None:
    text = to_text(os.fsdecode(one))
    assert os.fsencode(from_text(text)) == one
    assert json.loads(json.dumps(text, ensure_ascii=False).encode()) == text
    assert (text == to_text(os.fsdecode(other))) == (one == other)
    assert os.fsencode(readable(os.fsdecode(one))).decode().count("\\x") >= text.count("\0")


def test_how_it_looks() -> None:
    name = os.fsdecode("ö".encode() + b"caf\xe9\\xe9.txt")
    assert to_text(name) == "öcaf\0e9\\xe9.txt"
    assert json.dumps(to_text(os.fsdecode(b"caf\xe9.txt"))) == r'"caf\u0000e9.txt"'
    assert readable(name) == "öcaf\\xe9\\xe9.txt"
    assert from_text("\0zz\0002f") == "\0zz\0002f"  # nothing that could be a slash, or a dot
    document = {name: [name, 1, None, {"a": True}]}
    assert from_document(to_document(document)) == document
    assert to_document(to_document(document)) == to_document(document)
