"""Cleans what targets have on their nodes' side: here, where the directory is shared; by the agent, on machines behind ssh."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wardian.errors import InvalidInput, Unavailable, WardianError
from wardian.run.node.clean import SHORTEST_S
from wardian.run.targets.kinds import kind_named
from wardian.sdk.remote_ways import way_to
from wardian.sdk.targets import find_target

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wardian.bootstrap import Parts
    from wardian.run.handover import Way

_TIMEOUT_S = 3600.0


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What one place of a target could give back, or has given back.

    Attributes:
        place: a machine, or the directory.  items: kind, name, when it was asked for last (seconds), bytes.
        live: runs that have not ended.  silent: those that do not say what they need, so that nothing went.
        trouble: why it could not be asked; empty: it was.
    """

    place: str
    items: Sequence[Mapping[str, Any]] = ()
    freed_bytes: int = 0
    live: Sequence[str] = ()
    silent: Sequence[str] = ()
    trouble: str = ""
    notes: Sequence[str] = field(default_factory=tuple)

    def as_document(self) -> dict[str, Any]:
        """Return plain JSON values."""
        items = [{**item, "last_used": _moment(float(item["last_used"]))} for item in self.items]
        return {"place": self.place, "items": items, "freed_bytes": self.freed_bytes, "live": list(self.live), "silent": list(self.silent),
                "trouble": self.trouble, "notes": list(self.notes)}  # fmt: skip


def clean_target(parts: Parts, name: str, *, older_than_s: float, apply: bool) -> list[Cleaned]:
    """Return what the nodes' side of a target could give back, or, with ``apply``, has.

    What any run there needs stays, whoever submitted it, and what was asked for within the last hour.

    Raises:   NotFound: ``target_not_found``.  InvalidInput: ``no_nodes``: it has no nodes of its own.
    """
    target = find_target(parts, name)
    if target.is_built_in or not kind_named(target.kind).is_remote:
        raise InvalidInput(
            f"`{name}` runs on this machine, and uses its caches", code="no_nodes", hint="`wardian gc` cleans those"
        )
    way = way_to(parts, target.kind, target.options)
    age_s = max(older_than_s, SHORTEST_S)
    return _over_ssh(parts, way, age_s, apply=apply) if target.kind == "ssh" else [_shared(parts, way, age_s, apply=apply)]


def _shared(parts: Parts, way: Way, age_s: float, *, apply: bool) -> Cleaned:
    from wardian.bootstrap import node_parts
    from wardian.run.node.clean import clean

    root, cache = Path(way.carrier.root), way.options.get("cache", "")
    found = clean(root, node_parts(root / "cache", parts.environ), older_than_s=age_s, now=time.time(), apply=apply)
    notes = (f"what nodes keep in {cache} is on their own disks, and stays",) if cache else ()
    return _read(str(root), found, notes)


def _over_ssh(parts: Parts, way: Way, age_s: float, *, apply: bool) -> list[Cleaned]:
    """Have the agent do it on each machine; where there is none, there is nothing."""
    from wardian.run.node.bundle import node_agent
    from wardian.run.targets.ssh_carrier import SshCarrier
    from wardian.run.targets.ssh_scripts import quoted
    from wardian.sdk.elsewhere import AGENTS

    carrier = way.carrier
    assert isinstance(carrier, SshCarrier)  # noqa: S101 - of this kind
    agent = node_agent(parts.cache / AGENTS)
    root = carrier.root
    found = []
    for host in carrier.hosts.names:
        try:
            there = carrier.hosts.ask(host, f"[ -d {quoted(root)} ] && echo there\n:").out
            if not there.strip():
                found.append(Cleaned(host))
                continue
            carrier.send({agent.place: str(agent.path)})
            words = [*agent.command(root), "clean", "--root", root, "--older-than", f"{age_s:.0f}"]
            words += ["--cache", way.options["cache"]] if way.options.get("cache") else []
            words += ["--apply"] if apply else []
            said = carrier.hosts.ask(host, " ".join(quoted(word) for word in words), timeout_s=_TIMEOUT_S)
            found.append(_read(host, json.loads(said.out)))
        except WardianError as error:
            found.append(Cleaned(host, trouble=error.message))
        except ValueError:
            raise Unavailable(f"the agent on {host} answers something else than what was asked", code="ssh_failed") from None
    return found


def _read(place: str, found: Mapping[str, Any], notes: Sequence[str] = ()) -> Cleaned:
    return Cleaned(place, found["items"], int(found["freed_bytes"]), found["live"], found["silent"], "", notes)


def _moment(seconds: float) -> str | None:
    return datetime.fromtimestamp(int(seconds), UTC).isoformat().replace("+00:00", "Z") if seconds >= 1 else None
