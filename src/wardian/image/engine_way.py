"""How containers can be started on this machine: found out by failing, then remembered."""

from __future__ import annotations

import json
import os
import re
import resource
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from wardian.small_file import read_small

_RUNTIME_REFUSES = re.compile(
    r"(?i)cgroups? in hybrid mode|drop all controllers from cgroupv2|unknown version specified|ocispec"
)
_NO_RUNTIME = re.compile(
    r"(?i)(crun|runc)\S* .*executable file not found|operation not permitted.*(mount|namespace)|cannot clone"
)
_LIMIT_REFUSED = re.compile(r"(?i)setrlimit|setting rlimit|rlimit type")
_MOST_FILES, _MOST_PROCESSES = 1 << 20, 1 << 15
LEVELS = 3  # of ulimits: the engine's defaults, those of this process, modest ones


@dataclass(frozen=True, slots=True)
class Way:
    """A way to start containers: the first one is what the engine does by itself.

    Attributes:
        runtime: the OCI runtime; empty: the engine's choice.
        isolation: how a builder keeps its steps apart; empty: its own choice.
        limits: how the ulimits are given: 0 the engine's own, 1 those of this process, 2 modest ones.
    """

    runtime: str = ""
    isolation: str = ""
    limits: int = 0

    def after(self, said: str, *, has_runc: bool, can_chroot: bool = False) -> Way | None:
        """Return the way to try when the engine ``said`` why this one failed; None: nothing known helps.

        Some kernels let nobody raise a hard limit, which podman's defaults do; crun refuses machines on which cgroups of both versions
        have controllers, runc does not. A builder can do without either (``can_chroot``).
        """
        if _LIMIT_REFUSED.search(said) and self.limits + 1 < LEVELS:
            return replace(self, limits=self.limits + 1)
        if _RUNTIME_REFUSES.search(said) and not self.runtime and has_runc:
            return replace(self, runtime="runc")
        return replace(self, runtime="", isolation="chroot") if is_refusal(said) and can_chroot and not self.isolation else None

    def ulimits(self) -> list[str]:
        """Return the ulimits as ``--ulimit`` takes them."""
        if self.limits == 0:
            return []
        if self.limits == LEVELS - 1:
            return ["nofile=1024:1024", "nproc=1024:1024"]
        files, processes = resource.getrlimit(resource.RLIMIT_NOFILE)[1], resource.getrlimit(resource.RLIMIT_NPROC)[1]
        files = _MOST_FILES if files == resource.RLIM_INFINITY else min(files, _MOST_FILES)
        processes = _MOST_PROCESSES if processes == resource.RLIM_INFINITY else min(processes, _MOST_PROCESSES)
        return [f"nofile={files}:{files}", f"nproc={processes}:{processes}"]

    def __str__(self) -> str:
        parts = [f"with {self.runtime}"] if self.runtime else []
        parts += [f"isolation {self.isolation}"] if self.isolation else []
        return ", ".join(parts + (["with ulimits given"] if self.limits else []))


def is_refusal(said: str) -> bool:
    """Return whether this is what engines say when it is the way that fails, not what was to be started."""
    return any(pattern.search(said) for pattern in (_RUNTIME_REFUSES, _LIMIT_REFUSED, _NO_RUNTIME))


class WayMemory:
    """Remembers an engine's way in a small file, as long as the engine is the same program."""

    def __init__(self, directory: Path | None, engine: str, program: str) -> None:
        self._path = directory / f"engine-{engine}.json" if directory else None
        self._program = program
        self._way: Way | None = None
        self._known = False

    def get(self) -> Way:
        """Return what is remembered, or the first way; a file that cannot be read counts as none."""
        if self._way is None:
            self._way = self._read()
        return self._way

    @property
    def is_known(self) -> bool:
        """Whether a way is remembered, and not just the first one to try."""
        self.get()
        return self._known

    def put(self, way: Way) -> None:
        """Remember ``way``, here and, where it can be written, for later processes."""
        self._way, self._known = way, True
        if self._path is None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=".engine-")
            with os.fdopen(handle, "w") as stream:
                json.dump({**asdict(way), "program": self._identity()}, stream)
            Path(name).replace(self._path)
        except OSError:  # a cache that may only be read: found out anew each time
            return

    def _read(self) -> Way:
        try:
            document = json.loads(read_small(self._path)) if self._path else {}
            known = document["runtime"] in ("", "runc") and document["isolation"] in ("", "chroot")
            if known and document["program"] == self._identity():
                self._known = True
                return Way(document["runtime"], document["isolation"], min(max(0, int(document["limits"])), LEVELS - 1))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            pass
        return Way()

    def _identity(self) -> list[object]:
        try:
            found = os.stat(self._program)  # noqa: PTH116 - may be empty
        except OSError:
            return [self._program]
        return [self._program, found.st_mtime_ns, found.st_size]
