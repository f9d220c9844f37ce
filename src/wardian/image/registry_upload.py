"""Bringing a blob into a registry: mounted, in one request, or in pieces that go on after a lost connection."""

from __future__ import annotations

import contextlib
import re
from typing import IO, TYPE_CHECKING, cast
from urllib.parse import urlencode

from wardian.errors import BadArchive, NotFound, Unavailable, WardianError
from wardian.image.blob import CHUNK, VerifyingReader
from wardian.image.registry_client import PUSH, TRIES, Interrupted, RegistryClient

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from wardian.image.oci import Descriptor
    from wardian.tools.registry_http import Reply

_OK, _CREATED, _ACCEPTED, _NO_CONTENT = 200, 201, 202, 204
# other bytes arrived than were sent; the upload is not known; pieces are not known; there is a gap
_OTHERWISE = (400, 404, 405, 416, 501)
_HASHED_PER_S = 20e6  # bytes that the slowest registry hashes and moves before it answers to the last request
_PIECEWISE = 2  # so often pieces are tried; some registries take a blob only as a whole
_RANGE = re.compile(r"(?:bytes=)?(\d+)-(\d+)")
_BINARY = {"Content-Type": "application/octet-stream"}


class _StartAgain(Exception):
    """The registry has given the upload up, or has something else than was sent."""


def upload(
    client: RegistryClient,
    repository: str,
    blob: Descriptor,
    open_content: Callable[[], AbstractContextManager[IO[bytes]]],
    *,
    has: Callable[[Descriptor], bool],
    mount_from: str = "",
    chunk_bytes: int,
) -> str:
    """Bring a blob that is not there to a repository; return ``mounted`` or ``sent``.

    Args:     has: asked after a lost answer, whether the blob has arrived.
              mount_from: a repository of the same host that has the blob.
              chunk_bytes: what is larger goes in pieces of this size.
    Raises:   Unavailable, Denied.  NotFound: code ``no_such_repository``.
              BadArchive: the content is not the blob; the upload is given up, and the registry keeps nothing.
    Source:   distribution specification 1.1, "Pushing blobs"
    """
    sending = _Upload(client, repository, blob, open_content, chunk_bytes)
    why: Exception | None = None
    for attempt in range(TRIES):
        if why is not None:
            client.wait(attempt, why if isinstance(why, Interrupted) else Interrupted(str(why)))
            if has(blob):  # the answer was lost, not the blob
                return "sent"
        location = sending.begin(mount_from if attempt == 0 else "")
        if location is None:
            return "mounted"
        try:
            if blob.size_bytes <= chunk_bytes or attempt >= _PIECEWISE:
                sending.at_once(location)
            else:
                sending.in_pieces(location)
        except (Interrupted, _StartAgain) as error:
            why = error
        else:
            return "sent"
    raise client.gave_up(repository, Interrupted(str(why)))


class _Upload:
    def __init__(
        self,
        client: RegistryClient,
        repository: str,
        blob: Descriptor,
        open_content: Callable[[], AbstractContextManager[IO[bytes]]],
        chunk_bytes: int,
    ):
        self._client = client
        self._repository = repository
        self._blob = blob
        self._open_content = open_content
        self._chunk_bytes = chunk_bytes
        self._base = f"/v2/{repository}/blobs"

    def begin(self, mount_from: str) -> str | None:
        """Return where to send the blob to; None: it was mounted."""
        path, more = f"{self._base}/uploads/", ""
        if mount_from:
            path += "?" + urlencode({"mount": f"sha256:{self._blob.digest}", "from": mount_from})
            more = f"repository:{mount_from}:pull"
        try:
            reply = self._client.call("POST", path, self._repository, PUSH, accepts=(_CREATED, _ACCEPTED), more_scope=more)
        except NotFound as error:
            raise NotFound(f"{self._client.host}/{self._repository} does not exist", code="no_such_repository",
                           hint="this registry wants repositories to be made before they are pushed to") from error  # fmt: skip
        except WardianError:
            if mount_from:  # the right to read the other repository may be what is missing
                return self.begin("")
            raise
        with reply:
            if reply.status == _CREATED and mount_from:
                return None
            return self._location(reply, path)

    def at_once(self, location: str) -> None:
        """Send everything in one request."""
        with self._open_content() as content:
            reader = self._reader(content)
            try:
                if not self._blob.size_bytes:  # nothing of it would be read, and so nothing compared
                    reader.read(1)
                self._finish(location, cast("IO[bytes]", reader), self._blob.size_bytes)
            except BadArchive:
                self._give_up(location)
                raise

    def in_pieces(self, location: str) -> None:
        """Send pieces; after a lost connection ask how much has arrived, and go on from there."""
        offset, failures = 0, 0
        while offset < self._blob.size_bytes:
            try:
                with self._open_content() as content:
                    reader = self._reader(content)
                    _skip(reader, offset)
                    while offset < self._blob.size_bytes:
                        length = min(self._chunk_bytes, self._blob.size_bytes - offset)
                        location, arrived = self._send_piece(location, reader, offset, length)
                        if arrived <= offset:
                            raise Interrupted("the registry takes nothing")
                        failures, sent, offset = 0, offset + length, arrived
                        if arrived != sent:
                            break
            except Interrupted as error:
                failures += 1
                if failures >= TRIES:
                    raise
                self._client.wait(failures, error)
                location, offset = self._ask_offset(location)
            except BadArchive:
                self._give_up(location)
                raise
        self._finish(location, b"", 0)

    # -- single requests -------------------------------------------------------------------------------------------

    def _send_piece(self, location: str, reader: VerifyingReader, offset: int, length: int) -> tuple[str, int]:
        headers = {**_BINARY, "Content-Range": f"{offset}-{offset + length - 1}", "Content-Length": str(length)}
        piece = cast("IO[bytes]", _Piece(reader, length))
        with self._client.send_once(
            "PATCH", location, self._repository, PUSH, headers=headers, body=piece, length=length
        ) as reply:
            if reply.status in (_ACCEPTED, _CREATED, _NO_CONTENT):
                return self._location(reply, location), _arrived(reply, offset + length)
            self._raise(reply, "PATCH", location)
        raise AssertionError

    def _finish(self, location: str, body: bytes | IO[bytes], length: int) -> None:
        url = f"{location}{'&' if '?' in location else '?'}{urlencode({'digest': f'sha256:{self._blob.digest}'})}"
        headers = {**_BINARY, "Content-Length": str(length)}
        with self._client.send_once("PUT", url, self._repository, PUSH, headers=headers, body=body, length=length,
                                    patience_s=self._blob.size_bytes / _HASHED_PER_S) as reply:  # fmt: skip
            if reply.status not in (_CREATED, _NO_CONTENT, _OK):
                self._raise(reply, "PUT", url)

    def _ask_offset(self, location: str) -> tuple[str, int]:
        """Return where to go on and how many bytes have arrived.

        Raises:   _StartAgain: the registry does not know the upload any more.
        """
        try:
            with self._client.call("GET", location, self._repository, PUSH, accepts=(_NO_CONTENT, _OK, _ACCEPTED)) as reply:
                return self._location(reply, location), _arrived(reply, 0)
        except (NotFound, Unavailable) as error:
            raise _StartAgain(str(error)) from error

    def _give_up(self, location: str) -> None:
        with contextlib.suppress(WardianError, Interrupted):
            self._client.send_once("DELETE", location, self._repository, PUSH).close()

    def _raise(self, reply: Reply, method: str, location: str) -> None:
        error = self._client.refusal(reply, method, location, self._repository)
        if reply.status in _OTHERWISE:
            raise _StartAgain(str(error)) from error
        raise error

    def _location(self, reply: Reply, base: str) -> str:
        location = reply.headers.get("location")
        if location is None:
            raise Unavailable(f"{self._client.host} does not say where to upload to", code="registry_unavailable")
        return self._client.resolve(location, base)

    def _reader(self, content: IO[bytes]) -> VerifyingReader:
        return VerifyingReader(content, self._blob, "what was to be sent")


class _Piece:
    """At most ``length`` bytes of a reader."""

    def __init__(self, reader: VerifyingReader, length: int):
        self._reader = reader
        self._left = length

    def read(self, size: int = CHUNK) -> bytes:
        piece = self._reader.read(min(size if size > 0 else CHUNK, self._left)) if self._left else b""
        self._left -= len(piece)
        return piece


def _skip(reader: VerifyingReader, count: int) -> None:
    while count and (piece := reader.read(min(CHUNK, count))):
        count -= len(piece)


def _arrived(reply: Reply, otherwise: int) -> int:
    """Return how many bytes a ``Range`` header says have arrived. ``0-0`` is what registries say of none as of one: none."""
    match = _RANGE.fullmatch(reply.headers.get("range", "").strip())
    if match is None:
        return otherwise
    last = int(match[2])
    return last + 1 if last else 0
