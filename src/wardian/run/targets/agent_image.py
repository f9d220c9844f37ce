"""The node's agent as an image of its own, with nothing beside it: it has its Python, its loader and its C library."""

from __future__ import annotations

import hashlib
import tarfile
import tempfile
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, cast

from wardian.digest import Digest
from wardian.image.blob import CHUNK, put_bytes
from wardian.image.oci import CONFIG, Descriptor, ImageConfig, Manifest
from wardian.run.node.sheet import AGENTS
from wardian.tools.disk import disk_errors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wardian.image.compression import Compression, Compressor
    from wardian.image.registry import RegistryImageStore


def agent_tag(digest: str) -> str:
    """Return the tag of the image of an agent."""
    return f"a-{digest}"


def put_agent(store: RegistryImageStore, agent: Path, platform: str, compression: Compression, scratch: Path) -> Descriptor:
    """Bring the image of ``agent``, a directory named by its digest, to a registry; return its manifest's descriptor.

    It lies at ``/agents/<digest>`` there, for anybody to read, as below every node directory.

    Raises:   Unavailable.  Denied.  DiskFull.
    """
    with disk_errors(scratch):
        scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=scratch) as spool:
            layer = _Layer(spool, compression.start())
            with tarfile.open(fileobj=cast("IO[bytes]", layer), mode="w|", format=tarfile.GNU_FORMAT, bufsize=CHUNK) as tar:
                tar.add(agent, arcname=f"{AGENTS}/{agent.name}", filter=_plain)
            layer.finish()
            blob = Descriptor(compression.media_type, Digest(layer.packed.hexdigest()), layer.size)

            @contextmanager
            def opened() -> Iterator[IO[bytes]]:
                spool.seek(0)
                yield spool

            store.put(blob, opened)
    config = ImageConfig(platform, (Digest(layer.plain.hexdigest()),))
    manifest = Manifest(put_bytes(store, config.to_json(), CONFIG), (blob,))
    return store.tag(manifest.to_json(), manifest.media_type, [agent_tag(agent.name)])


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Return a member that is the same wherever the agent was made, and that anybody may read."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mtime = 0
    member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
    return member


class _Layer:
    """Compresses what is written into ``spool``; knows both digests."""

    def __init__(self, spool: IO[bytes], compressor: Compressor) -> None:
        self._spool, self._compressor = spool, compressor
        self.plain, self.packed, self.size = hashlib.sha256(), hashlib.sha256(), 0

    def write(self, piece: bytes) -> int:
        self.plain.update(piece)
        self._keep(self._compressor.compress(bytes(piece)))
        return len(piece)

    def finish(self) -> None:
        self._keep(self._compressor.finish())
        self._spool.flush()

    def _keep(self, piece: bytes) -> None:
        self.packed.update(piece)
        self.size += len(piece)
        self._spool.write(piece)
