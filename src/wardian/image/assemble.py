"""Puts an image together: a base and layers in, a configuration and a manifest out. Nothing is unpacked or copied."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from wardian.errors import BuildFailed
from wardian.image.entry import ENVIRONMENT_PATH
from wardian.image.oci import CONFIG, DOCKER_LAYER, DOCKER_LAYER_GZIP, LAYER, LAYER_GZIP, Descriptor, ImageConfig, Manifest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wardian.digest import Digest
    from wardian.image.key import ImageScheme
    from wardian.image.layer import Layer

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LOCK_LABEL = "dev.wardian.lock-digest"
ENVIRONMENT_VARIABLE = "WARDIAN_ENVIRONMENT"
PACKAGES_ANNOTATION = "dev.wardian.packages"
_FOREIGN = ("PYTHONHOME", "PYTHONPATH", "PYTHONPLATLIBDIR", "PYTHONSTARTUP")  # of the base: they are for its own Python
_EPOCH = "1970-01-01T00:00:00Z"
_OCI_TYPES = {DOCKER_LAYER_GZIP: LAYER_GZIP, DOCKER_LAYER: LAYER}  # the same bytes under OCI's name


@dataclass(frozen=True, slots=True)
class NamedLayer:
    """A layer, and what is in it: ``numpy 2.1.0``; several packages in a shared one."""

    layer: Layer
    packages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Assembled:
    """An image that is ready to be stored: its manifest, and the configuration that the manifest names."""

    manifest: Manifest
    config: ImageConfig
    config_json: bytes = field(repr=False)


def assemble(
    layers: Sequence[NamedLayer],
    *,
    platform: str,
    key: Digest,
    lock_digest: Digest,
    scheme: ImageScheme,
    base: tuple[Manifest, ImageConfig] | None = None,
    variables: Mapping[str, str] | None = None,
    path_entries: Sequence[str] = (f"{ENVIRONMENT_PATH}/bin",),
    is_conda: bool = False,
) -> Assembled:
    """Return the image of ``layers``, from the lowest to the highest, on ``base``. Pure: the same input is the same bytes.

    The base's variables, user and working directory hold, its entry point does not: it would swallow arguments; nor what it tells
    its own Python (``foreign_python``).

    Args:     key: the image's key.  variables: what activating the environment sets.  path_entries: go before the base's PATH.
    Raises:   BuildFailed: code ``platform_mismatch``: the base is for another platform; ``base_layers_mismatch``.
    """
    base_layers: tuple[Descriptor, ...] = ()
    start = ImageConfig(platform=platform, diff_ids=())
    if base is not None:
        manifest, start = base
        base_layers = with_oci_types(manifest.layers)
        if start.platform != platform and not start.platform.startswith(f"{platform}/"):
            raise BuildFailed(f"the base image is for {start.platform}, the lock for {platform}", code="platform_mismatch",
                              hint="name a base image that has this platform")  # fmt: skip
        if len(base_layers) != len(start.diff_ids):
            raise BuildFailed(f"the base image has {len(base_layers)} layers, but its configuration lists {len(start.diff_ids)}",
                              code="base_layers_mismatch", hint="it is damaged: build or push it anew")  # fmt: skip
    created = datetime.fromtimestamp(scheme.epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    config = replace(
        start,
        diff_ids=(*start.diff_ids, *(named.layer.diff_id for named in layers)),
        variables=_variables(start, {**(variables or {}), **({"CONDA_PREFIX": ENVIRONMENT_PATH} if is_conda else {}), ENVIRONMENT_VARIABLE: key},
                             path_entries),
        entrypoint=(), command=("python",) if start.entrypoint or not start.command else start.command,
        labels=tuple(sorted({**dict(start.labels), LOCK_LABEL: str(lock_digest)}.items())),
        history=(*base_history(start), *({"created": created, "created_by": _line(named), "comment": "wardian"} for named in layers)),
        created=created,
    )  # fmt: skip
    content = config.to_json()
    described = tuple(
        replace(named.layer.descriptor, annotations=((PACKAGES_ANNOTATION, "\n".join(named.packages)),)) for named in layers
    )
    return Assembled(Manifest(Descriptor.of(content, CONFIG), (*base_layers, *described)), config, content)


def foreign_python(start: ImageConfig) -> tuple[str, ...]:
    """Return the names of a base's variables that would have the environment's Python look into the base's."""
    return tuple(name for name, _ in start.variables if name in _FOREIGN)


def with_oci_types(layers: Sequence[Descriptor]) -> tuple[Descriptor, ...]:
    """Return the layers of a base as an OCI manifest names them: the same bytes."""
    return tuple(replace(layer, media_type=_OCI_TYPES.get(layer.media_type, layer.media_type)) for layer in layers)


def base_history(start: ImageConfig) -> tuple[Mapping[str, Any], ...]:
    """Return the base's history; where it does not list each layer once, one that does: buildah and podman refuse to build on it else."""
    if sum(not entry.get("empty_layer") for entry in start.history) == len(start.diff_ids):
        return start.history
    return tuple({"created": start.created or _EPOCH, "created_by": "base"} for _ in start.diff_ids)


def _variables(start: ImageConfig, ours: Mapping[str, str], path_entries: Sequence[str]) -> tuple[tuple[str, str], ...]:
    inherited = {name: value for name, value in start.variables if name not in _FOREIGN}
    inherited["PATH"] = ":".join(dict.fromkeys([*path_entries, *(inherited.get("PATH") or DEFAULT_PATH).split(":")]))
    return tuple({**inherited, **dict(sorted(ours.items()))}.items())


def _line(named: NamedLayer) -> str:
    shown = ", ".join(named.packages[:3])
    return f"wardian: {shown}" + (f" and {len(named.packages) - 3} more" if len(named.packages) > 3 else "")  # noqa: PLR2004
