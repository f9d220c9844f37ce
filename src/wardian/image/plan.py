"""Which packages of a lock share a layer, and in which order the layers lie: a pure function of the lock and the base's layers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wardian.errors import BuildFailed
from wardian.lock.python import HOST

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from wardian.lock.lock import Artifact, Lock

MOST_LAYERS = 120  # container engines mount no more than 127
SPARE_LAYERS = 5  # for one of link scripts, and for what others put on top
_LEAST_LAYERS = 4  # python, packages, local wheels, environment: with less there is nothing to share


@dataclass(frozen=True, slots=True)
class LayerGroup:
    """The packages of one layer.

    Attributes:
        kind: ``python`` | ``packages`` | ``local`` (built from sources of the user) | ``environment`` (holds no package).
        artifacts: more than one only where there are more packages than layers; sorted by name.
    """

    kind: str
    artifacts: tuple[Artifact, ...] = ()

    @property
    def packages(self) -> tuple[str, ...]:
        """What is in the layer, for people: ``numpy 2.1.0``."""
        return tuple(f"{artifact.name} {artifact.version}" for artifact in self.artifacts)


def plan_layers(lock: Lock, *, base_layers: int = 0) -> tuple[LayerGroup, ...]:
    """Return the layers of an image of ``lock`` above its base, from the lowest to the highest: the least likely to change first.

    Python, unless it is the base's own; the packages, one layer each: conda's native ones, then by size; what was built from
    local sources; the environment's own layer. A package that changes, changes its own layer and no other.

    Where that would be too many layers, the smaller half shares: by sha256 of the name, as few together as it takes. One more
    package then joins one layer to another, or joins one itself; all others stay as they are.

    Args:     base_layers: how many the base has.
    Raises:   BuildFailed: code ``too_many_layers``: the base leaves no room.
    Source:   semantics §5
    """
    room = MOST_LAYERS - SPARE_LAYERS - base_layers - 1  # one for the environment
    if room < _LEAST_LAYERS - 1:
        raise BuildFailed(f"the base image has {base_layers} layers, and an image may have {MOST_LAYERS}", code="too_many_layers",
                          hint="flatten the base image, or name another one")  # fmt: skip
    python = lock.python
    pythons = (python,) if python is not None and python.source != HOST else ()
    others = [a for a in lock.of_kind("conda", "wheel", "sdist") if a is not python]
    local = sorted((a for a in others if _is_local(a)), key=_by_name)
    room -= len(pythons)
    local_groups = _share(local, max(1, room // 4))
    packages = _in_layers([a for a in others if not _is_local(a)], room - len(local_groups))
    return (
        *(LayerGroup("python", (artifact,)) for artifact in pythons),
        *(LayerGroup("packages", group) for group in packages),
        *(LayerGroup("local", group) for group in local_groups),
        LayerGroup("environment"),
    )


def _is_local(artifact: Artifact) -> bool:
    return artifact.kind == "sdist" or artifact.source == "workspace"


def _in_layers(artifacts: Sequence[Artifact], room: int) -> list[tuple[Artifact, ...]]:
    """Return the groups of at most ``room`` layers in their order; shared ones last."""
    if len(artifacts) <= room:
        return [(artifact,) for artifact in sorted(artifacts, key=_by_weight)]
    # by the power of two of the size: a new version that is a little smaller does not trade places with its neighbour
    ranked = sorted(artifacts, key=lambda a: (-_size_bytes(a).bit_length(), _bits(a)))
    own = sorted(ranked[: room // 2], key=_by_weight)
    return [*((artifact,) for artifact in own), *_share(ranked[room // 2 :], room - len(own))]


def _share(artifacts: Iterable[Artifact], room: int) -> list[tuple[Artifact, ...]]:
    """Return ``artifacts`` in at most ``room`` groups, by the bits of their names' digests.

    Think of the binary tree of those digests. Its forks, the deepest first, are closed until few enough groups are left: one more
    package is one more fork, so one more is closed, and no group that was closed opens again.
    """
    ordered = sorted(artifacts, key=_bits)
    bits = [_bits(artifact) for artifact in ordered]
    # neighbours part at a fork, which is what they have in common
    forks = {n: bits[n][: _common(bits[n - 1], bits[n])] for n in range(1, len(ordered))}
    closed = set(sorted(forks, key=lambda n: (-len(forks[n]), forks[n]))[: max(0, len(ordered) - room)])
    groups: list[list[Artifact]] = []
    for n, artifact in enumerate(ordered):
        if n in closed:
            groups[-1].append(artifact)
        else:
            groups.append([artifact])
    if not closed:
        groups.sort(key=lambda group: _by_name(group[0]))
    return [tuple(sorted(group, key=_by_name)) for group in groups]


def _bits(artifact: Artifact) -> str:
    name, kind = (hashlib.sha256(text.encode()).digest() for text in (artifact.name, f"{artifact.kind}/{artifact.file}"))
    return "".join(f"{byte:08b}" for byte in name + kind[:4])


def _common(one: str, other: str) -> int:
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=True)) if a != b), len(one))


def _size_bytes(artifact: Artifact) -> int:
    return (artifact.built.size if artifact.built else artifact.size_bytes) or 0


def _by_weight(artifact: Artifact) -> tuple[bool, int, tuple[str, str, str]]:
    is_native = artifact.kind == "conda" and not artifact.noarch
    return not is_native, -_size_bytes(artifact), _by_name(artifact)


def _by_name(artifact: Artifact) -> tuple[str, str, str]:
    return artifact.name, artifact.version, artifact.file
