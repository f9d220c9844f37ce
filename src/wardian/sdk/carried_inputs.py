"""Inputs that go along with a run, where its node sees nothing of this machine."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from wardian.errors import InvalidInput
from wardian.run.targets.kubernetes_options import KubernetesOptions

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from wardian.run.configuration import RunConfiguration

PLACE = "inputs"  # in the run's directory


def carried_inputs(configuration: RunConfiguration, options: Mapping[str, str], limit_bytes: int) -> dict[str, Path]:
    """Return the inputs that are brought to the run: path in its directory → path here. Those on a volume of the pods are there already.

    Raises:   InvalidInput: ``input_not_carried``: it is not here, or all of them are larger than ``limit_bytes`` together.
    """
    volumes = [path for _, path, _ in KubernetesOptions.of(options).volumes]
    found: dict[str, Path] = {}
    left = limit_bytes
    for name, path in configuration.inputs.items():
        if any(str(path) == volume or str(path).startswith(f"{volume}/") for volume in volumes):
            continue
        hint = "put it on a volume of the cluster, and name that: `--option volumes=CLAIM:/data`"
        if not path.exists():
            raise InvalidInput(
                f"the input `{name}` is neither here nor on a volume of the pods: {path}", code="input_not_carried", hint=hint
            )
        left -= _size_bytes(path)
        if left < 0:
            raise InvalidInput(f"the input `{name}` is too large to go along with the run: more than {limit_bytes >> 20} MiB with those before it",
                               code="input_not_carried", hint=hint)  # fmt: skip
        found[f"{PLACE}/{name}"] = path
    return found


def _size_bytes(path: Path) -> int:
    if not path.is_dir():
        return path.stat().st_size
    return sum(os.lstat(f"{parent}/{name}").st_size for parent, _, names in os.walk(path) for name in names)
