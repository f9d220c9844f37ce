"""From what people write to the store that it means, and copies between any two of those places."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from wardian.errors import Conflict, DiskFull, InvalidInput, InvalidReference, NotFound
from wardian.events import Event, silent
from wardian.image.copy import copy_image, only_image, select_image
from wardian.image.layout import LayoutImageStore
from wardian.image.oci import InvalidImage
from wardian.image.reference import LATEST, ImageFile, ImageReference
from wardian.image.registry import RegistryImageStore
from wardian.image.registry_client import RegistryClient

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from wardian.digest import Digest
    from wardian.events import Listener
    from wardian.image.registry_auth import RegistryLogin
    from wardian.image.store import ImageStore
    from wardian.tools.registry_http import RegistryHttp


class ImagePlaces:
    """Opens registries, layouts and archives. Connections and logins of a registry are shared by all that is asked of it here.

    Args:     http, login, insecure: as for ``RegistryClient``.
              scratch: a directory where compressed archives are expanded; nothing stays there.
              base: what relative paths are relative to.
    """

    def __init__(
        self,
        *,
        http: RegistryHttp,
        login: Callable[[str, str], RegistryLogin | None],
        insecure: Collection[str] = (),
        scratch: Path,
        base: Path = Path(),
        listener: Listener = silent,
    ):
        self._http = http
        self._login = login
        self._insecure = insecure
        self._scratch = scratch
        self._base = base
        self._listener = listener
        self._clients: dict[str, RegistryClient] = {}
        self._lock = threading.Lock()

    def registry(self, reference: ImageReference) -> RegistryImageStore:
        """Return the repository that ``reference`` is in. Asks nothing yet."""
        with self._lock:
            client = self._clients.get(reference.registry)
            if client is None:
                client = RegistryClient(reference.registry, http=self._http, login=self._login, insecure=self._insecure,
                                        on_retry=lambda text: self._listener(Event("warning", text)))  # fmt: skip
                self._clients[reference.registry] = client
        return RegistryImageStore(client, reference.repository)

    @contextlib.contextmanager
    def open(self, place: ImageReference | ImageFile) -> Iterator[tuple[ImageStore, str]]:
        """Yield the store that ``place`` is in, and what to ask it for.

        Raises:   NotFound: codes ``no_such_archive``, ``no_such_layout``, ``image_not_found``: it is empty.
                  InvalidReference: code ``ambiguous_image``: it holds several, and ``place`` names none.  BadArchive.  DiskFull.
        """
        if isinstance(place, ImageReference):
            yield self.registry(place), place.wanted
            return
        path = self._path(place)
        if place.kind == "oci":
            if not (path / "index.json").exists():
                raise NotFound(f"{place.path} is no OCI layout: it has no `index.json`", code="no_such_layout",
                               hint="for a tar of one write `oci-archive:FILE`")  # fmt: skip
            layout = LayoutImageStore(path)
            yield layout, place.tag or only_image(layout)
            return
        from wardian.image.archives import open_docker_archive, open_oci_archive  # what reads tar takes a while to load

        open_archive = open_oci_archive if place.kind == "oci-archive" else open_docker_archive
        with open_archive(path, scratch=self._scratch) as archive:
            yield archive, place.tag or only_image(archive)

    def _path(self, place: ImageFile) -> Path:
        return self._base / os.fsdecode(place.path.encode("utf-8", "surrogateescape"))

    def copy(
        self,
        source: ImageReference | ImageFile,
        target: ImageReference | ImageFile,
        *,
        platform: str | None = None,
        listener: Listener = silent,
    ) -> Digest:
        """Copy an image; return the digest of what was copied, or, into a Docker archive, its id there.

        Into a registry without a tag and a digest it becomes ``latest``, by a digest alone it gets no tag; a layout or an archive
        without a tag gets the source's, or ``latest``.

        Args:     platform: the image for it alone; needed for an index into a Docker archive.
        Raises:   what ``open``, ``copy_image``, ``write_oci_archive`` and ``write_docker_archive`` raise.
                  Conflict: code ``other_digest``: the target is named by a digest that is not the source's.
        """
        with self.open(source) as (store, reference):
            if isinstance(target, ImageReference):
                found = select_image(store, reference, platform)
                if target.digest and target.digest != found.descriptor.digest:
                    raise Conflict(f"{source} is sha256:{found.descriptor.digest}, and not what {target} names", code="other_digest",
                                   hint="write a tag in place of the digest")  # fmt: skip
                exactly = f"sha256:{found.descriptor.digest}"  # whatever the tag means a moment later
                copied = copy_image(store, exactly, self.registry(target), _tags(target), listener=listener)
                return copied.descriptor.digest
            from wardian.image.archive_writing import write_docker_archive, write_oci_archive

            if target.tag.startswith("sha256:"):
                raise InvalidReference(f"`{target}` names a digest, and a copy gets a tag", code="invalid_image_reference",
                                       hint=f"write `{target.kind}:{target.path}:TAG`")  # fmt: skip
            path, tags = self._path(target), [target.tag or _tag_of(source, reference)]
            if target.kind == "docker-archive":
                names = [target.tag or _name_of(source)] if target.tag or _name_of(source) else []
                with _target_full(path):
                    return write_docker_archive(store, reference, path, names, platform=platform, listener=listener)
            if target.kind == "oci":
                _check_directory(target, path)
                with _no_empty_layout(path), _target_full(path):
                    copied = copy_image(store, reference, LayoutImageStore(path), tags, platform=platform, listener=listener)
            else:
                with _target_full(path):
                    copied = write_oci_archive(store, reference, path, tags, platform=platform, listener=listener)
            return copied.descriptor.digest


def _check_directory(target: ImageFile, path: Path) -> None:
    """Raise InvalidInput, code ``not_a_place``, if a layout cannot be at ``path``: it or what it lies in is a file."""
    at = next((place for place in (path, *path.parents) if os.path.lexists(place)), path)
    if os.path.lexists(at) and not at.is_dir():
        what = "is no directory, which an OCI layout is" if at == path else f"lies below {at}, which is no directory"
        raise InvalidInput(f"`{target}`: {target.path} {what}", code="not_a_place",
                           hint=f"name a directory, or write `oci-archive:{target.path}` for a file")  # fmt: skip


@contextlib.contextmanager
def _no_empty_layout(path: Path) -> Iterator[None]:
    """Remove the layout that the block makes at ``path``, where nothing was, if the disk is full before it has an image."""
    was_there = os.path.lexists(path)
    try:
        yield
    except DiskFull:
        if not was_there and not _has_image(path):
            shutil.rmtree(path, ignore_errors=True)
        raise


def _has_image(path: Path) -> bool:
    with contextlib.suppress(InvalidImage):
        return bool(LayoutImageStore(path).tags())
    return True


@contextlib.contextmanager
def _target_full(path: Path) -> Iterator[None]:
    """Say of a full disk what helps there: it is the target's, which holds no caches of ours."""
    try:
        yield
    except DiskFull as error:
        place = Path(error.place).absolute()
        if place == path.absolute() or place in path.absolute().parents:
            error.hint = f"free some space there, or name a place on another disk than that of {path}"
        raise


def _tags(target: ImageReference) -> list[str]:
    if target.tag:
        return [target.tag]
    return [] if target.digest else [LATEST]


def _tag_of(source: ImageReference | ImageFile, found_as: str) -> str:
    """Return the tag that a copy of ``source``, which is called ``found_as`` there, gets where none was asked for."""
    if isinstance(source, ImageReference):
        return source.tag or LATEST
    tag = "" if found_as.startswith("sha256:") else found_as
    return (tag.rpartition(":")[2] if source.kind == "docker-archive" else tag) or LATEST


def _name_of(source: ImageReference | ImageFile) -> str:
    """Return the name that ``source`` has for an engine; empty: none."""
    if isinstance(source, ImageReference):
        return f"{source.name}:{source.tag or LATEST}"
    return source.tag if source.kind == "docker-archive" else ""
