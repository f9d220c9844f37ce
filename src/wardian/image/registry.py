"""Images in a registry: any that speaks the distribution specification."""

from __future__ import annotations

import contextlib
import re
from typing import IO, TYPE_CHECKING, cast
from urllib.parse import quote

from wardian.digest import Digest
from wardian.errors import NotFound, Unavailable
from wardian.image.blob import VerifyingReader
from wardian.image.oci import (
    INDEXES,
    LARGEST_MANIFEST_BYTES,
    MANIFESTS,
    Descriptor,
    InvalidImage,
    check_tags,
    is_tag,
    read_manifest,
)
from wardian.image.outside_json import WrongJson, list_in, read_object
from wardian.image.registry_client import PULL, PUSH, TRIES, Interrupted, RegistryClient
from wardian.image.registry_download import Download
from wardian.image.registry_upload import upload
from wardian.image.store import Found

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from wardian.errors import WardianError
    from wardian.image.store import ImageStore
    from wardian.tools.registry_http import Reply

_OK, _CREATED, _ACCEPTED, _NO_CONTENT, _BAD, _MISSING, _NOT_ALLOWED = 200, 201, 202, 204, 400, 404, 405
_DELETE = "pull,push,delete"  # as token services know it
_LARGEST_TAGS_BYTES = 64 << 20
_LARGEST_REFERRERS_BYTES = 4 << 20
_PAGES = 10_000
_NEXT = re.compile(r'<([^>]*)>\s*;[^,]*\brel="?next"?')


class RegistryImageStore:
    """One repository of a registry. Contract: ``ImageStore``. Safe between threads.

    Args:     client: the host; stores of the same host share one, and mount each other's blobs.
              repository: ``team/envs``.
              chunk_bytes: blobs above this size are sent in such pieces, and taken up where a lost connection left off.
    """

    def __init__(self, client: RegistryClient, repository: str, *, chunk_bytes: int = 32 << 20):
        self.client = client
        self.repository = repository
        self.name = f"{client.host}/{repository}"
        self._chunk_bytes = chunk_bytes
        self._base = f"/v2/{repository}"

    def find(self, reference: str) -> Found | None:
        """See ``ImageStore``."""
        if reference.startswith("sha256:"):
            Digest(reference)  # what is none is an error of the caller's
        elif not is_tag(reference):
            return None
        headers = {"Accept": ", ".join((*MANIFESTS, *INDEXES))}
        path = f"{self._base}/manifests/{quote(reference, safe=':')}"
        try:
            reply, content = self._get(path, headers, LARGEST_MANIFEST_BYTES)
        except NotFound:
            return None
        if content is None:
            raise InvalidImage(
                f"{self.name}: `{reference}` is larger than {LARGEST_MANIFEST_BYTES:,} bytes", code="manifest_too_large"
            )
        digest = Digest.of(content)
        for wanted in (reference, reply.headers.get("docker-content-digest", "")):
            if wanted.startswith("sha256:") and wanted != f"sha256:{digest}":
                raise InvalidImage(f"{self.name}: what is served as `{reference}` has the digest sha256:{digest}, not {wanted[:80]}",
                                   code="wrong_digest", hint="the registry, or what is between, is damaged or lies")  # fmt: skip
        served = reply.headers.get("content-type", "").partition(";")[0].strip()
        try:
            parsed = read_manifest(content, served if served in (*MANIFESTS, *INDEXES) else "")
        except InvalidImage as error:
            raise error.at(self._named(reference)) from error
        if served in (*MANIFESTS, *INDEXES) and served != parsed.media_type:
            raise InvalidImage(f"{self.name}: `{reference}` is served as {served}, and calls itself {parsed.media_type}",
                               code="ambiguous_manifest")  # fmt: skip
        return Found(Descriptor(parsed.media_type, digest, len(content)), content)

    @contextlib.contextmanager
    def open(self, blob: Descriptor) -> Iterator[IO[bytes]]:
        """See ``ImageStore``. A connection that breaks is taken up where it broke."""
        with contextlib.closing(Download(self.client, self.repository, blob)) as source:
            yield cast("IO[bytes]", VerifyingReader(cast("IO[bytes]", source), blob, self.name))

    def put(
        self,
        blob: Descriptor,
        open_content: Callable[[], AbstractContextManager[IO[bytes]]],
        *,
        origin: ImageStore | None = None,
    ) -> str:
        """See ``ImageStore``. A large blob's upload goes on where a lost connection left off, if the registry lets it."""
        if self.has(blob):
            return "present"
        source = ""
        if (
            isinstance(origin, RegistryImageStore)
            and origin.client.host == self.client.host
            and origin.repository != self.repository
        ):
            source = origin.repository
        return upload(
            self.client, self.repository, blob, open_content, has=self.has, mount_from=source, chunk_bytes=self._chunk_bytes
        )

    def has(self, blob: Descriptor) -> bool:
        """Return whether the registry says that it has the blob.

        Raises:   Unavailable, Denied.
        """
        size = self.size_of(blob.digest, otherwise=blob.size_bytes)
        return size == blob.size_bytes

    def size_of(self, digest: Digest, *, otherwise: int | None = None) -> int | None:
        """Return how long a blob is; None: there is no such blob; ``otherwise``: the registry does not say.

        Raises:   Unavailable, Denied.
        """
        path = f"{self._base}/blobs/sha256:{digest}"
        try:
            with self.client.call("HEAD", path, self.repository, PUSH, accepts=(_OK,)) as reply:
                length = reply.headers.get("content-length", "")
                return int(length) if length.isascii() and length.isdecimal() else otherwise
        except NotFound:
            return None

    def untag(self, tag: str) -> bool:
        """Remove a tag together with its manifest, and so all tags that the manifest has; return False if the registry lets nobody do that.

        Raises:   Unavailable, Denied.
        """
        found = self.find(tag)
        if found is None:
            return True
        path = f"{self._base}/manifests/sha256:{found.descriptor.digest}"
        accepts = (_OK, _ACCEPTED, _NO_CONTENT, _BAD, _NOT_ALLOWED)
        try:
            with self.client.call("DELETE", path, self.repository, _DELETE, accepts=accepts) as reply:
                return reply.status not in (_BAD, _NOT_ALLOWED)
        except NotFound:
            return True

    def tag(self, manifest: bytes, media_type: str, names: Sequence[str] = ()) -> Descriptor:
        """See ``ImageStore``."""
        check_tags(names)
        descriptor = Descriptor.of(manifest, media_type)
        for reference in (f"sha256:{descriptor.digest}", *names):
            self._put_manifest(reference, manifest, media_type, descriptor.digest)
        return descriptor

    def tags(self, prefix: str = "") -> list[str]:
        """See ``ImageStore``."""
        found: set[str] = set()
        path = f"{self._base}/tags/list?n=1000"
        for _ in range(_PAGES):
            try:
                reply, content = self._get(path, {}, _LARGEST_TAGS_BYTES)
            except NotFound:
                return []
            before = len(found)
            found.update(self._read_tags(content))
            following = _NEXT.search(reply.headers.get("link", ""))
            if following is None or len(found) == before:
                break
            path = self.client.resolve(following[1], path)
        return sorted(tag for tag in found if tag.startswith(prefix))

    def referrers(self, subject: Digest) -> list[Descriptor] | None:
        """Return what the registry lists as referring to ``subject``; None: it keeps no such lists (``wardian.image.referrers``).

        Raises:   Unavailable, Denied.  InvalidImage.
        """
        try:
            _reply, content = self._get(f"{self._base}/referrers/sha256:{subject}", {}, _LARGEST_REFERRERS_BYTES)
        except NotFound:
            return None
        parsed = read_manifest(content or b"", INDEXES[0])
        return list(getattr(parsed, "manifests", ()))

    # -- inside ----------------------------------------------------------------------------------------------------

    def _get(self, path: str, headers: dict[str, str], limit_bytes: int) -> tuple[Reply, bytes | None]:
        """Return an answer and its body, asked for again when it breaks off; None: it is larger than ``limit_bytes``."""
        why: Interrupted | None = None
        for attempt in range(TRIES):
            if why is not None:
                self.client.wait(attempt, why)
            with self.client.call("GET", path, self.repository, PULL, accepts=(_OK,), headers=headers) as reply:
                try:
                    return reply, self.client.read_answer(reply, limit_bytes)
                except Interrupted as error:
                    why = error
        raise self.client.gave_up(self.repository, why)

    def _put_manifest(self, reference: str, manifest: bytes, media_type: str, digest: Digest) -> None:
        path = f"{self._base}/manifests/{quote(reference, safe=':')}"
        kind = {"Content-Type": media_type}
        accepts = (_OK, _CREATED, _ACCEPTED, _BAD, _MISSING)
        said = ""
        for attempt in range(TRIES):
            if attempt:
                self.client.wait(attempt, Interrupted(said))
            with self.client.call("PUT", path, self.repository, PUSH, accepts=accepts, headers=kind, body=manifest) as reply:
                if reply.status not in (_BAD, _MISSING):
                    kept = reply.headers.get("docker-content-digest", "")
                    break
                said = str(self.client.refusal(reply, "PUT", path, self.repository))
            if "DIGEST_INVALID" not in said:  # docker-registry says so when it reads what another push is writing
                raise self._refused(reference, said)
        else:
            raise self._refused(reference, said)
        if kept.startswith("sha256:") and kept != f"sha256:{digest}":
            raise Unavailable(f"{self.name} keeps {kept} in place of sha256:{digest}", code="registry_unavailable",
                              hint="this registry, or a proxy before it, rewrites manifests")  # fmt: skip

    def _named(self, reference: str) -> str:
        return f"{self.name}{'@' if reference.startswith('sha256:') else ':'}{reference}"

    def _refused(self, reference: str, said: str) -> WardianError:
        if "BLOB_UNKNOWN" in said or "MANIFEST_UNKNOWN" in said:
            return NotFound(f"{self.name} has not all that the manifest of {self._named(reference)} names: {said}", code="no_such_blob",
                            hint="put its blobs first")  # fmt: skip
        if "NAME_UNKNOWN" in said:
            return NotFound(f"{self.name} does not exist: {said}", code="no_such_repository",
                            hint="this registry wants repositories to be made before they are pushed to")  # fmt: skip
        return InvalidImage(
            f"{self.name} does not take the manifest of {self._named(reference)}: {said}", code="manifest_refused"
        )

    def _read_tags(self, content: bytes | None) -> list[str]:
        try:
            tags = list_in(read_object(content or b""), "tags")
        except WrongJson as error:
            raise Unavailable(
                f"{self.name} gives what is no list of tags: {str(error)[:100]}", code="registry_unavailable"
            ) from error
        return [tag for tag in tags if isinstance(tag, str) and is_tag(tag)]
