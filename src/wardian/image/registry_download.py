"""Reading a blob out of a registry, over as many connections as it takes."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from wardian.errors import NotFound
from wardian.image.registry_client import PULL, TRIES, Interrupted, RegistryClient
from wardian.tools.registry_http import Broken

if TYPE_CHECKING:
    from wardian.image.oci import Descriptor
    from wardian.tools.registry_http import Reply

_OK, _PARTIAL, _NO_SUCH_RANGE = 200, 206, 416
_PIECE = 1 << 18


class Download(io.RawIOBase):
    """The bytes that a registry serves as ``blob``, unchecked: the reader around it compares them.

    A connection that breaks is taken up with a range request, or, where there are no ranges, from the beginning, up to
    where it broke. Only attempts that bring nothing are counted.

    Raises:   NotFound: code ``no_such_blob``.  Unavailable, Denied: also by a read.
    """

    def __init__(self, client: RegistryClient, repository: str, blob: Descriptor):
        super().__init__()
        self._client = client
        self._repository = repository
        self._blob = blob
        self._done = 0
        self._failures = 0
        self._reply: Reply | None = self._ask()

    def read(self, size: int | None = -1) -> bytes:
        """Return up to ``size`` bytes; none at the end of what is served."""
        wanted = _PIECE if size is None or size < 0 else size
        while True:
            try:
                piece = self._piece(wanted)
            except Broken as error:
                self._let_go()
                self._failures += 1
                why = Interrupted(str(error))
                if self._failures >= TRIES:
                    raise self._client.gave_up(self._repository, why) from error
                self._client.wait(self._failures, why)
            else:
                self._failures = 0 if piece else self._failures
                self._done += len(piece)
                return piece

    def close(self) -> None:
        """Let the connection go."""
        self._let_go()
        super().close()

    def _piece(self, size: int) -> bytes:
        if self._reply is None:
            self._reply = self._ask()
        if self._reply.status == _NO_SUCH_RANGE:  # what is served ends where it broke off: it is shorter than it should be
            return b""
        piece = self._reply.read(size)
        if not piece and self._done < self._blob.size_bytes and "content-length" not in self._reply.headers:
            raise Broken("the answer ends too early")
        return piece

    def _ask(self) -> Reply:
        path = f"/v2/{self._repository}/blobs/sha256:{self._blob.digest}"
        headers = {"Range": f"bytes={self._done}-"} if self._done else {}
        accepts = (_OK, _PARTIAL, _NO_SUCH_RANGE) if self._done else (_OK,)
        try:
            reply = self._client.call("GET", path, self._repository, PULL, accepts=accepts, headers=headers)
        except NotFound as error:
            raise NotFound(f"{self._client.host}/{self._repository} has no blob sha256:{self._blob.digest}",
                           code="no_such_blob") from error  # fmt: skip
        if reply.status == _PARTIAL and not reply.headers.get("content-range", "").startswith(f"bytes {self._done}-"):
            reply.close()
            raise self._client.gave_up(self._repository, Interrupted("it answers with another range than was asked for"))
        if reply.status == _OK:
            self._skip(reply)
        return reply

    def _skip(self, reply: Reply) -> None:
        """Read what is here already: this registry does not know ranges."""
        left = self._done
        try:
            while left and (piece := reply.read(min(_PIECE, left))):
                left -= len(piece)
        except Broken:
            reply.close()
            raise

    def _let_go(self) -> None:
        if self._reply is not None:
            self._reply.close()
            self._reply = None
