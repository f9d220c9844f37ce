"""An image of a lock: built from layers into a store, or found there. Never a daemon, never a RUN step."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from wardian.definition.platform import this_platform
from wardian.events import Event
from wardian.image.assemble import LOCK_LABEL, assemble, foreign_python
from wardian.image.base import check_scratch
from wardian.image.blob import named_in, read_config_of
from wardian.image.build_layers import LayerMaker
from wardian.image.conda_activation import image_activation
from wardian.image.interpreter import image_python
from wardian.image.key import image_key, image_tag
from wardian.image.oci import Index, InvalidImage, Manifest, read_manifest
from wardian.image.plan import plan_layers
from wardian.lock.python import HOST

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from typing import IO

    from wardian.digest import Digest
    from wardian.events import Listener
    from wardian.image.assemble import Assembled, NamedLayer
    from wardian.image.base import Base
    from wardian.image.base_python import BasePython
    from wardian.image.build_layers import Workshop
    from wardian.image.interpreter import Fetch
    from wardian.image.key import ImageScheme
    from wardian.image.oci import Descriptor, ImageConfig
    from wardian.image.store import Found, ImageStore
    from wardian.lock.lock import Lock


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """What an image is made of, and how it is written; all that its key needs.

    Attributes:
        base: None: ``scratch``.  base_python: the base's interpreter, where the lock says ``host``.
        scheme: how Wardian writes images; without byte-code where the interpreter does not run on this machine.
    """

    lock: Lock
    base: Base | None
    base_python: BasePython | None
    scheme: ImageScheme

    @property
    def key(self) -> Digest:
        """The image's key."""
        return image_key(self.lock, self.base.digest if self.base else None, self.scheme)

    @classmethod
    def of(cls, lock: Lock, base: Base | None, base_python: BasePython | None, scheme: ImageScheme) -> ImageRequest:
        """Return the request; where no byte-code can be made here, the scheme says so."""
        python = image_python(lock, base_python)
        makes = scheme.byte_code and python is not None and python.runs_here
        return cls(lock, base, base_python, replace(scheme, byte_code=makes))


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An image in a store.

    Attributes:
        descriptor: of its manifest.  store: what people call the store.
        notes: what a reader of the image should know; known only to who built it.
    """

    key: Digest
    descriptor: Descriptor
    manifest: Manifest
    config: ImageConfig
    store: str
    cached: bool
    notes: tuple[str, ...] = ()

    @property
    def size_bytes(self) -> int:
        """The size of its layers, as they are stored."""
        return sum(layer.size_bytes for layer in self.manifest.layers)


@dataclass(frozen=True, slots=True)
class MadeImage:
    """An image that was put together; its own layers are in the workshop. ``notes``: as of ``StoredImage``."""

    assembled: Assembled
    layers: tuple[NamedLayer, ...]
    notes: tuple[str, ...]


def find_image(store: ImageStore, key: Digest, lock_digest: Digest) -> StoredImage | None:
    """Return the image with this key in ``store``, or None.

    Raises:   InvalidImage: code ``tag_mismatch``: something else is under its tag; damaged.  Unavailable, Denied: never "not there".
    """
    tag = image_tag(key)
    found = store.find(tag)
    if found is None:
        return None
    image = read_image(store, found, key)
    if (
        dict(image.config.labels).get(LOCK_LABEL) != lock_digest
        or ("WARDIAN_ENVIRONMENT", str(key)) not in image.config.variables
    ):
        raise InvalidImage(f"`{tag}` in {store.name} is the image of something else", code="tag_mismatch",
                           hint="somebody has changed it; delete that tag, and build it again")  # fmt: skip
    return image


def read_image(store: ImageStore, found: Found, key: Digest) -> StoredImage:
    """Return the image that ``found`` is: its manifest and configuration.

    Raises:   InvalidImage: it is an index, or damaged.  Unavailable, Denied.
    """
    manifest = read_manifest(found.content, found.descriptor.media_type)
    if isinstance(manifest, Index):
        raise InvalidImage(f"sha256:{found.descriptor.digest} in {store.name} is an index of images, not one of them")
    config = read_config_of(store, manifest, named_in(store, f"sha256:{found.descriptor.digest}"))
    return StoredImage(key, found.descriptor, manifest, config, store.name, cached=True)


def build_image(
    request: ImageRequest, workshop: Workshop, local: ImageStore, target: ImageStore, *, fetch: Fetch, link_scripts: str, listener: Listener
) -> StoredImage:  # fmt: skip
    """Build the image and store it in ``target``, under its key's tag, which is written last; return it.

    The same request gives the same bytes on every machine. Layers that are in ``workshop`` are not made again, blobs that are in
    ``target`` not sent again. What is interrupted leaves nothing that a look-up finds, and whole layers for the next time.

    Args:     local: holds the workshop's layers.  fetch: brings archives here; asked only for layers that are not known.
              link_scripts: ``refuse`` | ``run``.
    Raises:   BuildFailed, InstallFailed, BadArchive, DiskFull, Unavailable, Denied: see the parts.
    """
    made = make_image(request, workshop, fetch=fetch, link_scripts=link_scripts, listener=listener)
    for note in made.notes:
        listener(Event("notice", note))
    descriptor = store_image(made.assembled, made.layers, request.base, local, target, (image_tag(request.key),), listener)
    return StoredImage(
        request.key, descriptor, made.assembled.manifest, made.assembled.config, target.name, cached=False, notes=made.notes
    )


def make_image(
    request: ImageRequest, workshop: Workshop, *, fetch: Fetch, link_scripts: str, listener: Listener
) -> MadeImage:  # fmt: skip
    """Make the layers of an image that ``workshop`` lacks, and put it together; it is stored nowhere. Arguments as of ``build_image``."""
    lock, base = request.lock, request.base
    python = image_python(lock, request.base_python)
    maker = LayerMaker(workshop, lock, request.scheme, python, fetch=fetch, link_scripts=link_scripts, listener=listener)
    clears = base is not None and _clears(lock, request.base_python)
    base_layers = len(base.layers) if base else 0
    layers, facts = maker.make(plan_layers(lock, base_layers=base_layers + clears), clears=clears)
    conda = lock.of_kind("conda")
    notes = list(maker.notes)
    if base is None:
        check_scratch(lock, list(zip(conda, facts, strict=True)))
    if not request.scheme.byte_code and lock.python is not None:
        notes.append(_why_no_byte_code(request))
    activation = image_activation(facts)  # without conda packages: nothing but the PATH
    notes += activation.notes
    if base is not None and (foreign := foreign_python(base.config)):
        notes.append(
            f"{', '.join(foreign)} of the base image {base.name} would change what the environment's Python is, and is left out"
        )
    assembled = assemble(
        layers, platform=lock.platform, key=request.key, lock_digest=lock.digest, scheme=request.scheme,
        base=(base.manifest, base.config) if base else None, variables=activation.variables,
        path_entries=activation.path_entries, is_conda=bool(conda),
    )  # fmt: skip
    return MadeImage(assembled, tuple(layers), tuple(notes))


def _clears(lock: Lock, base_python: BasePython | None) -> bool:
    """Return whether a layer of its own has to hide what the base may have at ``/opt/env``: a standalone Python's layer does so itself."""
    if lock.python is not None and lock.python.kind == "python" and lock.python.source != HOST:
        return False
    return base_python is None or base_python.is_occupied


def _why_no_byte_code(request: ImageRequest) -> str:
    if request.base_python is not None and request.base_python.command is None:
        return f"without byte-code: {request.base_python.why_not}"
    if request.lock.platform != this_platform().name:
        return f"without byte-code: an interpreter for {request.lock.platform} does not run here"
    return "without byte-code, as `image_byte_code` says"


def store_image(
    assembled: Assembled, layers: Sequence[NamedLayer], base: Base | None, local: ImageStore, target: ImageStore, tags: Sequence[str],
    listener: Listener,
) -> Descriptor:  # fmt: skip
    """Bring every blob to ``target``, several at once, then the manifest; return its descriptor.

    Args:     layers: those above ``base``; their blobs are in ``local``.  tags: are written last.
    Raises:   Unavailable, Denied, DiskFull, BadArchive: see ``ImageStore.put`` and ``tag``.
    """
    from wardian.tools.stopping import workers

    work: list[tuple[Descriptor, ImageStore]] = [(named.layer.descriptor, local) for named in layers]
    if base is not None:
        work += [(layer, base.store) for layer in base.layers]
    listener(Event("phase", f"storing {len(work)} layers in {target.name}", total=len(work)))

    def send(blob: Descriptor, origin: ImageStore) -> tuple[str, int]:
        return target.put(blob, _opener(origin, blob), origin=origin), blob.size_bytes

    with workers(4, "blobs") as pool:
        for done, (how, size) in enumerate(pool.map(send, *zip(*dict.fromkeys(work), strict=True)), start=1):
            data = {"made": 1, "bytes": size} if how == "sent" else {"cached": 1}
            listener(Event("progress", how, done=done, total=len(work), data=data))
    target.put(assembled.manifest.config, lambda: contextlib.closing(io.BytesIO(assembled.config_json)))
    return target.tag(assembled.manifest.to_json(), assembled.manifest.media_type, tags)


def _opener(store: ImageStore, blob: Descriptor) -> Callable[[], AbstractContextManager[IO[bytes]]]:
    return lambda: store.open(blob)
