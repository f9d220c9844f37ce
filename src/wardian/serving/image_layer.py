"""A served image: an environment's image, one layer for the server, one for the model, one for the source, and how it starts."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from wardian.digest import Digest
from wardian.errors import BuildFailed
from wardian.image.assemble import Assembled, NamedLayer, base_history, with_oci_types
from wardian.image.build import store_image
from wardian.image.oci import CONFIG, Descriptor, Manifest
from wardian.image.plan import MOST_LAYERS
from wardian.serving.layer_tasks import APP, MODEL, SERVE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wardian.events import Listener
    from wardian.image.base import Base
    from wardian.image.build_layers import Workshop
    from wardian.image.key import ImageScheme
    from wardian.image.layer_cache import LayerTask
    from wardian.image.store import ImageStore

PORT = 5001
SERVER = f"/{SERVE}/wardian_server/__main__.py"
MODEL_DIRECTORY, APP_DIRECTORY = f"/{MODEL}", f"/{APP}"
LABELS = "dev.wardian."  # what an image says of itself: model, run, lock, serving layer


@dataclass(frozen=True, slots=True)
class Start:
    """How a served image starts.

    Attributes:
        python: the environment's interpreter, in the image.
        variables: of the server and of the script; the image's own stay, these win.
        labels: what the image is of.
        port: where the server listens.
    """

    python: str
    variables: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    port: int = PORT


@dataclass(frozen=True, slots=True)
class ServedImage:
    """A served image in a store.

    Attributes:
        key: names it before it exists.
        descriptor: of its manifest.  config: digest of its configuration: its id in an engine.
        added_bytes: the size of what is on top of the environment's image.
        layers: what is on top of it: names for people, and descriptors.
    """

    key: Digest
    descriptor: Descriptor
    config: Digest
    store: str
    added_bytes: int
    layers: tuple[tuple[str, Descriptor], ...]

    @property
    def reference(self) -> str:
        """What container engines and other tools call it."""
        return f"{self.store}@sha256:{self.descriptor.digest}"


def served_image_key(base: Digest, tasks: Sequence[LayerTask], start: Start, scheme: ImageScheme) -> Digest:
    """Return what identifies a served image before it exists."""
    return Digest.of_document({
        "tag": "wardian-served-image-1", "base": str(base), "layers": [str(task.key) for task in tasks], "epoch": scheme.epoch,
        "python": start.python, "variables": dict(start.variables), "labels": dict(start.labels), "port": start.port,
    })  # fmt: skip


def put_on(base: Base, layers: Sequence[NamedLayer], start: Start, scheme: ImageScheme) -> Assembled:
    """Return the image of ``layers`` on ``base``, the image of an environment. Pure: the same input is the same bytes.

    Its variables, user and working directory hold; it starts the server with the environment's Python.

    Raises:   BuildFailed: code ``too_many_layers``.
    """
    if len(base.layers) + len(layers) > MOST_LAYERS:
        raise BuildFailed(f"{base.name} has {len(base.layers)} layers, and an image may have {MOST_LAYERS}", code="too_many_layers",
                          hint="flatten the image, or build the environment's on a base with fewer layers")  # fmt: skip
    created = datetime.fromtimestamp(scheme.epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    names = [", ".join(named.packages) for named in layers]
    config = replace(
        base.config,
        diff_ids=(*base.config.diff_ids, *(named.layer.diff_id for named in layers)),
        variables=tuple({**dict(base.config.variables), **dict(sorted(start.variables.items()))}.items()),
        entrypoint=(start.python, SERVER), command=(),
        labels=tuple(sorted({**dict(base.config.labels), **start.labels}.items())),
        extra={**base.config.extra, "ExposedPorts": {**dict(base.config.extra.get("ExposedPorts") or {}), f"{start.port}/tcp": {}}},
        history=(*base_history(base.config), *({"created": created, "created_by": f"wardian: {name}", "comment": "wardian"} for name in names)),
        created=created,
    )  # fmt: skip
    content = config.to_json()
    manifest = Manifest(
        Descriptor.of(content, CONFIG), (*with_oci_types(base.layers), *(named.layer.descriptor for named in layers))
    )
    return Assembled(manifest, config, content)


def build_served_image(
    base: Base, tasks: Sequence[LayerTask], start: Start, scheme: ImageScheme, workshop: Workshop, local: ImageStore, target: ImageStore,
    tags: Sequence[str], listener: Listener,
) -> ServedImage:  # fmt: skip
    """Make the layers that are not known, put them on ``base`` and store the image in ``target`` under ``tags``, which come last.

    Blobs that are in ``target`` are not sent again; those of another repository of the same registry are mounted.

    Args:     local: holds the workshop's layers.
    Raises:   BuildFailed, BadArchive, DiskFull, Unavailable, Denied: see the parts.
    """
    found = workshop.cache.ensure_all(tasks, jobs=workshop.jobs)
    named = [NamedLayer(one.layer, (task.name,)) for task, one in zip(tasks, found, strict=True)]
    made = put_on(base, named, start, scheme)
    descriptor = store_image(made, named, base, local, target, tags, listener)
    return ServedImage(
        served_image_key(base.digest, tasks, start, scheme), descriptor, made.manifest.config.digest, target.name,
        sum(one.layer.descriptor.size_bytes for one in found) + made.manifest.config.size_bytes,
        tuple((task.name, one.layer.descriptor) for task, one in zip(tasks, found, strict=True)),
    )  # fmt: skip
