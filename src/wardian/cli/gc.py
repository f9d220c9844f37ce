"""`wardian gc`: what the caches could give back."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from wardian.cli.common import Session, ago, command, examples, printable, size, table
from wardian.cli.completion import complete_target
from wardian.cli.run_options import duration_s

if TYPE_CHECKING:
    from wardian.prefix.evict import EvictionPlan
    from wardian.sdk.caches import Removable
    from wardian.sdk.node_cleaning import Cleaned

_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40}  # fmt: skip
_SHOWN = 40
_USUAL_AGE_S = 30 * 86_400.0


def size_bytes(text: str) -> int | None:
    """Return a number of bytes: ``20000000000``, ``20GB``, ``500 MiB``; None: it is no size."""
    match = re.fullmatch(r"(\d+(?:[._]?\d+)*)\s*([a-z]*)", text.strip().lower())
    if match is None or match.group(1).count(".") > 1:
        return None
    unit = {"k": "kb", "m": "mb", "g": "gb", "t": "tb"}.get(match.group(2), match.group(2))
    return int(float(match.group(1)) * _UNITS[unit]) if unit in _UNITS else None


def _limit(_ctx: click.Context, _param: click.Parameter, value: str | None) -> int | None:
    found = size_bytes(value) if value is not None else None
    if value is not None and found is None:
        raise click.BadParameter(f"`{value}` is not a size: write 20000000000, 20GB or 500MiB")
    return found


@click.command(epilog=examples(
    "wardian gc                     # what would go, nothing is changed",
    "wardian gc --apply",
    "wardian gc --limit 5GB --apply",
    "wardian gc --all --apply       # everything but what runs are using",
    "wardian gc --prefix 0f31c2 --apply   # one installation, after `env verify` found it damaged",
    "wardian gc -t hpc --older-than 7d --apply   # what runs left on the nodes' side of a target",
))  # fmt: skip
@click.option("--apply", is_flag=True, help="Remove it; without this, only show it.")
@click.option(
    "--limit",
    "limit_bytes",
    callback=_limit,
    metavar="SIZE",
    help="Leave at most this: bytes, 20GB, 500MiB; default: cache_limit_bytes.",
)
@click.option("--all", "everything", is_flag=True, help="Everything that no run is using.")
@click.option("--prefix", metavar="NAME", help="Only this prefix: its directory's name, or the beginning of it.")
@click.option(
    "-t",
    "--target",
    metavar="NAME",
    shell_complete=complete_target,
    help="Instead: what a target has on its nodes' side: agents, archives, images, environments.",
)
@click.option(
    "--older-than",
    "age",
    metavar="T",
    help="With --target: what no run has asked for within 7d, 12h; default: 30d. An hour is the least.",
)
@command
def gc(
    session: Session, apply: bool, limit_bytes: int | None, everything: bool, prefix: str | None, target: str | None, age: str | None
) -> int:  # fmt: skip
    """Show what the caches could give back; --apply removes it.

    Leftovers of killed processes always go. Above the limit the caches of uv and rattler go, then the prefixes, archives and layers
    of images that were used least recently. What a run is using stays, and images that versions have. Records, runs and artifacts of
    workspaces are never touched.
    """
    if sum((everything, limit_bytes is not None, prefix is not None)) > 1:
        raise click.UsageError("give one of --limit, --all and --prefix")
    if target is not None:
        if everything or limit_bytes is not None or prefix is not None:
            raise click.UsageError("--target goes with --older-than and --apply")
        return _clean_target(session, target, duration_s(age) if age is not None else _USUAL_AGE_S, apply=apply)
    if age is not None:
        raise click.UsageError("--older-than goes with --target")
    from wardian.sdk.caches import Caches

    caches = Caches(session.machine.parts)
    if prefix is not None:
        name = caches.remove_prefix(prefix) if apply else caches.get_prefix(prefix)
        session.show(
            {"prefix": name, "applied": apply},
            lambda: f"removed {name}" if apply else f"would remove {name}; add --apply to do it",
        )
        return 0
    plan = caches.plan(limit_bytes=0 if everything else limit_bytes)
    if not apply:
        session.show(_document(plan, caches.chosen(plan), None), lambda: _lines(plan, caches.chosen(plan)))
        return 0
    gone, freed = caches.apply(plan)
    session.show(_document(plan, gone, freed), lambda: _done(plan, gone, freed))
    return 0


def _clean_target(session: Session, name: str, older_than_s: float | None, *, apply: bool) -> int:
    found = session.workspace.targets.clean(name, older_than_s=older_than_s or 0.0, apply=apply)
    document = {
        "target": name,
        "applied": apply,
        "places": [one.as_document() for one in found],
        "freed_bytes": sum(one.freed_bytes for one in found),
    }
    session.show(document, lambda: [line for one in found for line in _place(one, apply=apply)])
    return 1 if any(one.trouble for one in found) else 0


def _place(one: Cleaned, *, apply: bool) -> list[str]:
    if one.trouble:
        return [f"{printable(one.place)}: {printable(one.trouble)}"]
    rows = [
        (str(item["kind"]), str(item["name"])[:32], ago(_used(float(item["last_used"]))), size(int(item["size_bytes"])))
        for item in one.items
    ]
    lines = [f"{printable(one.place)}: {len(one.live)} run{'s have' if len(one.live) != 1 else ' has'} not ended"]
    if one.silent:
        lines.append(f"nothing goes: {', '.join(map(printable, one.silent))} does not say what it needs")
    elif not rows:
        lines.append("nothing to remove")
    else:
        lines += table(("WHAT", "NAME", "LAST USED", "FREES"), rows[:_SHOWN])
        if len(rows) > _SHOWN:
            lines.append(f"… and {len(rows) - _SHOWN} more; --json lists all")
        lines.append(
            f"freed {size(one.freed_bytes)}, {len(rows)} removed"
            if apply
            else f"would free {size(one.freed_bytes)}; add --apply to do it"
        )
    return [*lines, *one.notes]


def _used(seconds: float) -> datetime | None:
    return datetime.fromtimestamp(int(seconds), UTC) if seconds >= 1 else None


def _document(plan: EvictionPlan, items: list[Removable], freed: int | None) -> dict[str, Any]:
    return {
        "applied": freed is not None, "items": [item.as_document() for item in items], "freed_bytes": plan.freed_bytes if freed is None else freed,
        "used_bytes": plan.used_bytes, "limit_bytes": plan.limit_bytes, "in_use": list(plan.kept), "installing": plan.installing,
    }  # fmt: skip


def _lines(plan: EvictionPlan, items: list[Removable]) -> list[str]:
    lines = [f"caches: {size(plan.used_bytes)}, limit {size(plan.limit_bytes)}"]
    if not items:
        return [*lines, "nothing to remove", *_kept(plan)]
    rows = [(item.kind, item.name[:32], ago(item.last_used), size(item.size_bytes), item.note) for item in items]
    lines += table(("WHAT", "NAME", "LAST USED", "FREES", ""), rows[:_SHOWN])
    if len(rows) > _SHOWN:
        lines.append(f"… and {len(rows) - _SHOWN} more; --json lists all")
    return [*lines, *_kept(plan), f"would free {size(plan.freed_bytes)}; add --apply to do it"]


def _done(plan: EvictionPlan, gone: list[Removable], freed: int) -> list[str]:
    stayed = len(plan.chosen) - len(gone)
    return [
        *_kept(plan),
        *([f"{stayed} stayed: in use by now"] if stayed else []),
        f"freed {size(freed)} ({freed:,} bytes), {len(gone)} removed",
    ]


def _kept(plan: EvictionPlan) -> list[str]:
    lines = [f"stays: prefix {name}, which a run or an endpoint is using" for name in plan.kept]
    return (
        [*lines, "archives, layers and tool caches stay: an installation or a build is under way"] if plan.installing else lines
    )
