"""What a user may want of containers beyond what a run says."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wardian.errors import InvalidInput
from wardian.run.memory import memory_bytes
from wardian.run.targets.kinds import TargetKind, TargetOption

if TYPE_CHECKING:
    from collections.abc import Mapping

SHM_BYTES = 2 << 30
KNOWN = ("shm", "arguments")


@dataclass(frozen=True, slots=True)
class ContainerOptions:
    """Options of the targets ``podman`` and ``docker``.

    Attributes:
        shm_bytes: size of ``/dev/shm``: data loaders of several processes need more than the engines' 64 MB.
        arguments: further ones for the engine's ``run``, as they are.
    """

    shm_bytes: int = SHM_BYTES
    arguments: tuple[str, ...] = ()

    @classmethod
    def of(cls, options: Mapping[str, str], target: str) -> ContainerOptions:
        """Return what the options of a run for ``target`` say: ``shm`` (``8G``), ``arguments`` (words, quoted as in a shell).

        Raises:   InvalidInput: ``unknown_target_option``, ``bad_target_option``.
        """
        for key in options:
            if key not in KNOWN:
                raise InvalidInput(f"the target `{target}` has no option `{key[:80]}`", hint=f"it has {', '.join(f'`{one}`' for one in KNOWN)}",
                                   code="unknown_target_option")  # fmt: skip
        shm_bytes = memory_bytes(options.get("shm", str(SHM_BYTES)))
        if not shm_bytes:
            raise InvalidInput(
                f"`shm={options['shm'][:80]}` is not an amount of memory", hint="512M, 8G …", code="bad_target_option"
            )
        try:
            arguments = shlex.split(options.get("arguments", ""))
        except ValueError as error:
            raise InvalidInput(f"`arguments={options['arguments'][:80]}` cannot be split into words: {error}", code="bad_target_option",
                               hint="quote as in a shell: `--option 'arguments=--device /dev/fuse'`") from None  # fmt: skip
        return cls(shm_bytes, tuple(arguments))


_OPTIONS = {
    "shm": TargetOption("the size of /dev/shm", example="8G"),
    "arguments": TargetOption("further arguments of the engine's `run`, quoted as in a shell", example="--device /dev/fuse"),
}
PODMAN = TargetKind("podman", "containers of this machine's podman", _OPTIONS, check=ContainerOptions.of)
DOCKER = TargetKind("docker", "containers of this machine's docker", _OPTIONS, check=ContainerOptions.of)
