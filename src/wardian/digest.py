"""Digests and the canonical JSON that they are taken of."""

from __future__ import annotations

import hashlib
import json
import re
from typing import IO, TYPE_CHECKING, Any, Self

from wardian.errors import InvalidDigest

if TYPE_CHECKING:
    from os import PathLike

_HEX = re.compile(r"[0-9a-f]{64}")
_CHUNK = 1 << 20


class Digest(str):
    """A sha256 content digest: 64 lower-case hexadecimal characters. A ``str``, so it is JSON and a dictionary key as it is."""

    __slots__ = ()

    def __new__(cls, value: str) -> Self:
        """Return ``value`` as a digest; a ``sha256:`` prefix is accepted.

        Raises:   InvalidDigest: anything but 64 lower-case hexadecimal characters.
        """
        if type(value) is cls:
            return value
        text = value.removeprefix("sha256:")
        if not _HEX.fullmatch(text):
            raise InvalidDigest(value)
        return super().__new__(cls, text)

    @property
    def short(self) -> str:
        """The first 12 characters: what people read and ``@…`` references use."""
        return self[:12]

    @classmethod
    def of(cls, content: bytes) -> Digest:
        """Return the digest of ``content``."""
        return cls(hashlib.sha256(content).hexdigest())

    @classmethod
    def of_file(cls, path: str | PathLike[str]) -> Digest:
        """Return the digest of the file at ``path``, read in pieces."""
        with open(path, "rb") as stream:  # noqa: PTH123 - called for thousands of files
            return cls.of_stream(stream)

    @classmethod
    def of_stream(cls, stream: IO[bytes]) -> Digest:
        """Return the digest of what is left in ``stream``."""
        hasher = hashlib.sha256()
        while chunk := stream.read(_CHUNK):
            hasher.update(chunk)
        return cls(hasher.hexdigest())

    @classmethod
    def of_document(cls, document: Any) -> Digest:
        """Return the digest of ``document``'s canonical JSON."""
        return cls.of(canonical_json(document))


def canonical_json(document: Any) -> bytes:
    """Return ``document`` as canonical JSON: sorted keys, no white space, UTF-8, no floats.

    Raises:   TypeError: a float, or a value that JSON does not know.
    Source:   semantics §2
    """
    _refuse_floats(document)
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def _refuse_floats(value: Any) -> None:
    if isinstance(value, float):
        msg = f"canonical JSON holds no floats: {value!r}"
        raise TypeError(msg)
    if isinstance(value, dict):
        for item in value.values():
            _refuse_floats(item)
    elif isinstance(value, list | tuple):
        for item in value:
            _refuse_floats(item)
