"""`wardian build list|show|logs|cancel`."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import click

from wardian.cli.common import Session, ago, command, examples, size, table, write_out
from wardian.cli.lazy import SHORT_NAMES, LazyGroup
from wardian.workspace.build_record import KINDS, STATES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wardian.workspace.build_record import BuildRecord


build_argument = click.argument("build_id", metavar="[ID]", default="latest")


@click.group(
    cls=LazyGroup,
    aliases={**SHORT_NAMES, "log": "logs", "stop": "cancel"},
    epilog=examples("wardian build list", "wardian build show latest", "wardian build logs -f 0cz4"),
)
def build() -> None:
    """Every solve, installation, image and push: what it did, how long it took, why it failed."""


@build.command("list", epilog=examples("wardian build list", "wardian build list --kind image --state failed --json"))
@click.option("--state", type=click.Choice(STATES), help="Only builds in this state.")
@click.option("--kind", type=click.Choice(KINDS), help="Only builds of this kind.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="At most this many.")
@click.option("--after", metavar="ID", help="Those that are older than this build: the next page.")
@command
def list_(session: Session, state: str | None, kind: str | None, limit: int, after: str | None) -> None:
    """List builds, the newest first."""
    page = session.workspace.builds.list(limit=limit, after=after, state=state, kind=kind)
    records = [one.record for one in page]
    rows = [
        (r.id, r.kind, r.state, r.subject, ago(datetime.fromisoformat(r.started)), _took(r.seconds), r.reason or "")
        for r in records
    ]
    session.show({"builds": [r.as_document() for r in records], "next": page.next},
                 lambda: table(("BUILD", "KIND", "STATE", "OF", "STARTED", "TOOK", "REASON"), rows) if rows else "there are no builds")  # fmt: skip
    if page.next:
        session.say(f"more: --after {page.next}")


@build.command(epilog=examples("wardian build show latest", "wardian build show 0cz4 --json"))
@build_argument
@command
def show(session: Session, build_id: str) -> None:
    """Show one build: its phases with times, bytes and what was cached, and its error."""
    record = session.workspace.builds.get(build_id).record
    session.show(record.as_document(), lambda: list(_shown(record)))


def _shown(record: BuildRecord) -> Iterator[str]:
    yield f"build {record.id}  {record.kind} of {record.subject}  {record.state}"
    if record.reason:
        yield from (f"  {line}" for line in record.reason.splitlines())
    yield f"  key      {record.key}"
    yield f"  started  {record.started[:19]}Z{f', took {_took(record.seconds)}' if record.ended else ''}"
    if record.builder:
        yield f"  by       {record.builder}"
    if record.phases:
        yield ""
        yield from table(("PHASE", "TOOK", "SIZE", "MADE", "CACHED"),
                         [(p.name, _took(p.seconds), size(p.size_bytes) if p.size_bytes else "", p.made or "", p.cached or "") for p in record.phases])  # fmt: skip
    for name, value in record.outcome.items():
        yield f"  {name}: {value}"


@build.command(epilog=examples("wardian build logs latest", "wardian build logs -f 0cz4"))
@build_argument
@click.option("-f", "--follow", is_flag=True, help="Go on until it has ended.")
@command
def logs(session: Session, build_id: str, follow: bool) -> None:
    """Write the log of a build to stdout."""
    found = session.workspace.builds.get(build_id)
    if session.as_json:
        session.show({"id": found.id, "log": found.log()}, str)
        return
    for piece in found.follow() if follow else [found.log()]:
        write_out(piece)


@build.command(epilog=examples("wardian build cancel 0cz4"))
@click.argument("build_id", metavar="ID")
@command
def cancel(session: Session, build_id: str) -> None:
    """Ask a build to stop. It stops within seconds; what it had finished stays in the caches."""
    record = session.workspace.builds.get(build_id).cancel().record
    session.show(record.as_document(), lambda: f"build {record.id} is to stop")


def _took(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds:.2f} s" if seconds < 100 else f"{seconds / 60:.1f} min"  # noqa: PLR2004
