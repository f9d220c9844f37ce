"""What a cluster has, by what Slurm's REST API says of its partitions and nodes."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wardian.run.targets.remote import Finding
from wardian.run.targets.slurm_rest_words import number, texts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from wardian.run.configuration import Resources

_MEBIBYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class Node:
    """A node: what it has, not what is free of it."""

    name: str
    partitions: frozenset[str]
    state: str
    cpus: int
    memory_mb: int
    gres: str

    @property
    def gpus(self) -> int:
        """How many GPUs it has, of whatever kind."""
        return sum(int(count or 1) for count in re.findall(r"(?:^|,)gpu(?::[^,:(]+)??(?::(\d+))?(?=[,(]|$)", self.gres))


@dataclass(frozen=True, slots=True)
class Cluster:
    """Partitions and nodes of a cluster.

    Attributes:
        partitions: name → whether it takes jobs.  usual: those that a job without a partition goes to.
    """

    partitions: Mapping[str, bool]
    usual: frozenset[str]
    nodes: Sequence[Node]

    @classmethod
    def of(cls, partitions: Mapping[str, Any], nodes: Mapping[str, Any]) -> Cluster:
        """Return what two answers say, of either dialect."""
        up, usual = {}, set()
        for one in _objects(partitions.get("partitions")):
            inner = one["partition"] if isinstance(one.get("partition"), dict) else one
            name = str(one.get("name", ""))
            up[name] = "UP" in (word.upper() for word in texts(inner.get("state")))
            defaults = one["defaults"] if isinstance(one.get("defaults"), dict) else {}
            flags = {
                word.lower() for word in (*texts(one.get("flags")), *texts(inner.get("flags")), *texts(defaults.get("flags")))
            }
            if "default" in flags:
                usual.add(name)
        found = [
            Node(str(one.get("name", "")), frozenset(texts(one.get("partitions"))), "+".join(word.lower() for word in texts(one.get("state"))),
                 number(one.get("cpus")) or 0, number(one.get("real_memory")) or 0, str(one.get("gres") or ""))
            for one in _objects(nodes.get("nodes"))
        ]  # fmt: skip
        return cls(up, frozenset(usual), found)

    def findings(self) -> Iterator[Finding]:
        """Yield what there is to know of each partition: its nodes, in groups of the same."""
        for name, is_up in self.partitions.items():
            groups = Counter((one.state, one.cpus, one.memory_mb, one.gres) for one in self.nodes if name in one.partitions)
            for (state, cpus, memory, gres), count in groups.items():
                text = f"{count} node{'s' if count != 1 else ''} {state}: {cpus} cpus, {memory} MB{f', {gres}' if gres else ''}"
                yield Finding(f"partition {name}", is_up, text, "" if is_up else "it takes no jobs now")

    def can_give(self, resources: Resources, options: Mapping[str, str]) -> Finding:
        """Return whether ``resources`` can ever be had, in the partition that is asked for."""
        wanted = set(options["partition"].split(",")) if "partition" in options else set(self.usual) or set(self.partitions)
        named = ", ".join(sorted(wanted))
        if missing := sorted(wanted - self.partitions.keys()):
            return Finding("resources", False, f"there is no partition `{missing[0]}`",
                           f"there are {', '.join(sorted(self.partitions))}: `--option partition=…`")  # fmt: skip
        there = [one for one in self.nodes if one.partitions & wanted]
        fitting = [
            one for one in there
            if one.cpus >= math.ceil(resources.cpus or 0) and one.memory_mb >= math.ceil((resources.memory_bytes or 0) / _MEBIBYTE)
            and one.gpus >= (resources.gpus or 0)
        ]  # fmt: skip
        nodes = resources.nodes or 1
        text = f"{len(fitting)} of {len(there)} nodes of {named} can give them"
        if len(fitting) >= nodes:
            return Finding("resources", True, text)
        return Finding("resources", False, f"{text}, and {nodes} {'are' if nodes > 1 else 'is'} needed",
                       "ask for less, or for another partition: `--option partition=…`")  # fmt: skip


def _objects(found: Any) -> Iterator[Mapping[str, Any]]:
    yield from (one for one in found if isinstance(one, dict)) if isinstance(found, list) else ()
