"""Which of a run's nodes this is, by the word of the engine that started it, and what the job is told of it."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wardian.errors import RunFailed

if TYPE_CHECKING:
    from collections.abc import Mapping

_FIRST_PORT, _PORTS = 12_000, 18_000  # below those that systems give to whoever asks for any
_RANKS = ("WARDIAN_NODE_RANK", "SLURM_PROCID", "JOB_COMPLETION_INDEX")
_WORLDS = ("WARDIAN_WORLD_SIZE", "SLURM_NTASKS", "SLURM_NNODES")
_LISTS = ("SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST", "SLURM_NODELIST")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,252}")


@dataclass(frozen=True, slots=True)
class Rank:
    """One node of a run: the ``number``-th of ``of``, from 0; the first one's host name is ``address``."""

    number: int = 0
    of: int = 1
    address: str = ""

    def variables(self, run_id: str) -> dict[str, str]:
        """Return what the job is told: our names and torch's. The port is the same on every node, and another for each run."""
        port = str(_FIRST_PORT + int.from_bytes(hashlib.sha256(run_id.encode()).digest()[:4], "big") % _PORTS)
        ours = {"NODE_RANK": str(self.number), "WORLD_SIZE": str(self.of), "MASTER_ADDR": self.address, "MASTER_PORT": port}
        torch = {
            "RANK": str(self.number),
            "LOCAL_RANK": "0",
            **{name: ours[name] for name in ("WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")},
        }
        return {**torch, **{f"WARDIAN_{name}": value for name, value in ours.items()}}


def rank_of(nodes: int | None, environ: Mapping[str, str]) -> Rank | None:
    """Return which of the run's ``nodes`` this is; None: their number was not asked for, the run has nothing to do with ranks.

    Raises:   RunFailed: ``rank_unknown``: the engine does not say.
    """
    if nodes is None:
        return None
    if nodes == 1:
        return Rank(0, 1, os.uname().nodename)
    number, world = _number(_RANKS, environ), _number(_WORLDS, environ) or nodes
    address = environ.get("WARDIAN_MASTER_ADDR") or first_host(next((environ[n] for n in _LISTS if environ.get(n)), ""))
    if number is None or number >= world or world != nodes or not _NAME.fullmatch(address):
        said = ", ".join(f"{name}={environ[name]!r}" for name in (*_RANKS, *_WORLDS, *_LISTS) if name in environ) or "nothing"
        raise RunFailed(f"which of {nodes} nodes this is cannot be told: the engine says {said}", code="rank_unknown",
                        hint="each node must be started with its number: `srun` does")  # fmt: skip
    return Rank(number, world, address)


def engine_attempt(environ: Mapping[str, str]) -> int:
    """Return which of its starts the engine says that this is, from 1."""
    count = _number(("SLURM_RESTART_COUNT",), environ)
    return 1 if count is None else count + 1


def first_host(hosts: str) -> str:
    """Return the first host of a list as Slurm writes them: ``n[01-04,9],m`` → ``n01``."""
    depth = 0
    for at, character in enumerate(hosts):
        depth += {"[": 1, "]": -1}.get(character, 0)
        if character == "," and depth == 0:
            hosts = hosts[:at]
            break
    return re.sub(r"\[(\d+)[^\]]*\]", r"\1", hosts)


def _number(names: tuple[str, ...], environ: Mapping[str, str]) -> int | None:
    text = next((environ[name] for name in names if name in environ), "")
    return int(text) if re.fullmatch(r"\d{1,6}", text) else None
