"""`wardian runs list|show|logs`."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from wardian.cli.common import Session, ago, command, examples, printable, size, table, write_out
from wardian.cli.completion import complete_reference, complete_run

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from wardian.run.record import RunRecord
    from wardian.sdk.runs import Run

STATES = ("queued", "preparing", "running", "completed", "failed", "canceled")
LATEST = "latest"
_LISTED = 20
_PIECE = 1 << 16

run_argument = click.argument("run_id", metavar="ID", shell_complete=complete_run)


def get_run(session: Session, run_id: str) -> Run:
    """Return the run that is meant: by its id, the beginning of it, or ``latest``; also written as a reference, ``run:ID``.

    Raises:   NotFound: there is none.
    """
    runs = session.workspace.runs
    run_id = run_id.removeprefix("run:")
    if run_id == LATEST:
        newest = next(iter(runs.list(limit=1)), None)
        if newest is not None:
            return runs.get(newest.id)  # which brings home what it left, too
    return runs.get(run_id)


def run_document(run: Run) -> dict[str, Any]:
    """Return what is shown of a run: its record, and where its files lie."""
    return {**run.record.as_document(), "directory": str(run.directory)}


@click.command("list", epilog=examples(
    "wardian runs list", "wardian runs list --experiment churn --state failed", "wardian runs list --limit 500 --json",
))  # fmt: skip
@click.option("-x", "--experiment", metavar="NAME", help="Only runs of this experiment.")
@click.option("--state", type=click.Choice(STATES), help="Only runs in this state.")
@click.option("-e", "--env", "reference", metavar="REF", help="Only runs with this version of an environment.",
              shell_complete=complete_reference)  # fmt: skip
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="At most this many.")
@click.option("--after", metavar="ID", help="Those that are older than this run: the next page.")
@command
def list_(
    session: Session, experiment: str | None, state: str | None, reference: str | None, limit: int, after: str | None
) -> None:
    """List runs, the newest first."""
    version_id = session.workspace.environments.get(reference).id if reference else None
    before = get_run(session, after).id if after else None
    page = session.workspace.runs.list(limit=limit, after=before, state=state, experiment=experiment, version_id=version_id)
    rows = [_row(run.record) for run in page]
    session.show({"runs": [run_document(run) for run in page], "next": page.next},
                 lambda: table(("RUN", "STATE", "EXIT", "ENVIRONMENT", "EXPERIMENT", "QUEUED", "TOOK", "COMMAND"), rows) if rows else "there are no runs")  # fmt: skip
    if page.next:
        session.say(f"more: --after {page.next}")


def _row(record: RunRecord) -> tuple[str, ...]:
    code = record.process_exit_code
    state = f"{record.state} ({_cut(record.reason)})" if record.is_active and record.reason else record.state
    return (record.id, state, "" if code is None else str(code), _environment(record), record.configuration.experiment,
            ago(_moment(record.queued)), _took(record), _cut(str(record.configuration.command)))  # fmt: skip


@click.command(epilog=examples("wardian runs show latest", "wardian runs show 01k3p --json"))
@run_argument
@command
def show(session: Session, run_id: str) -> None:
    """Show all that is known of a run: times, what it ran with, what went in and came out, how it ended."""
    run = get_run(session, run_id)
    document = {**run_document(run), "models": [model.reference for model in run.models]}
    session.show(document, lambda: list(_shown(run)))


def _shown(run: Run) -> Iterator[str]:
    record, configuration, results = run.record, run.record.configuration, run.record.results
    code = "" if record.process_exit_code is None else f" (exit code {record.process_exit_code})"
    yield f"run {record.id}  {record.state}{code}"
    yield from _field("reason", (record.reason or "").splitlines())
    yield from _field("command", [str(configuration.command)])
    yield from _field("experiment", [configuration.experiment])
    made_with = record.environment
    yield from _field("environment", [_environment(record), *(made_with.summary.split(" · ")[1:])])
    yield from _field("identity", [f"{what} {value}" for what, value in (
        ("definition", made_with.definition_hash), ("lock", made_with.lock_digest), ("prefix", made_with.prefix_key), ("image", made_with.image_digest)) if value])  # fmt: skip
    if engine := made_with.engine:
        yield from _field("engine", [f"{engine.get('name', '')} {engine.get('version', '')} in {engine.get('home', '')} ({engine.get('origin', '')})",
                                     f"java {engine.get('java', '')} in {engine.get('java_home', '')}"])  # fmt: skip
    for state in ("queued", "preparing", "running", "ended"):
        yield from _field(state, [_time(moment)] if (moment := getattr(record, state)) else [])
    yield from _field("", [] if record.end_is_known else ["(when it was last known to be alive)"])
    yield from _field("took", [_took(record)] if record.ended else [])
    if configuration.source is not None:
        yield from _field("source", [str(configuration.source), f"snapshot {record.snapshot_digest or 'not taken'}, {_files(results.snapshot_files)}, {size(results.snapshot_bytes)}"])  # fmt: skip
    yield from _field("reproduces", [f"run {configuration.reproduces}"] if configuration.reproduces else [])
    yield from _field("inputs", [f"{name} = {path}{_input(record, name)}" for name, path in configuration.inputs.items()])
    yield from _field(
        "variables", [f"{name}={'…  (not kept)' if value is None else value}" for name, value in results.variables.items()]
    )
    yield from _field("options", [f"{name}={value}" for name, value in configuration.options.items()])
    yield from _field("packages", [f"with {package}" for package in configuration.with_packages])
    yield from _field(
        "place",
        [
            f"{record.configuration.target}{f', job {record.place.handle}' if record.place.handle else ''}{f', on {record.place.node}' if record.place.node else ''}",
            record.place.directory,
        ]
        if record.place
        else [],
    )
    yield from _field("outputs", [f"{_files(results.output_files)}, {size(results.output_bytes)}, in {run.output_directory}",
                                  *(f"{output.path}  {size(output.size_bytes)}" for output in results.outputs)] if results.outputs else [])  # fmt: skip
    yield from _field("models", [f"{model}  {model.format}" for model in run.models])
    yield from _field("new files", results.new_files)
    yield from _field("changed", results.changed_files)
    yield from _field("notes", [line for note in results.notes for line in note.splitlines()])
    yield from _field("log", [str(run.directory / "log.txt")])


def _field(name: str, values: Iterable[str]) -> Iterator[str]:
    found = list(values)
    for position, value in enumerate(found[:_LISTED]):
        yield f"  {name if position == 0 else '':<12} {printable(value)}".rstrip()
    if len(found) > _LISTED:
        yield f"  {'':<12} … and {len(found) - _LISTED} more; --json has all"


def _input(record: RunRecord, name: str) -> str:
    found = record.results.inputs.get(name)
    if found is None:
        return ""
    files = f"{found.files}{'+' if found.is_partial else ''} files, " if found.files != 1 else ""
    return f"  ({files}{size(found.size_bytes)}, of {found.modified[:19]}Z{f', sha256 {found.digest}' if found.digest else ''})"


@click.command(epilog=examples("wardian runs logs latest", "wardian runs logs -f 01k3p", "wardian runs logs 01k3p --tail 20"))
@run_argument
@click.option("-f", "--follow", is_flag=True, help="Go on until the run has ended.")
@click.option("--tail", type=click.IntRange(0), metavar="N", help="Only the last N lines so far.")
@command
def logs(session: Session, run_id: str, follow: bool, tail: int | None) -> None:
    """Print what a run wrote, both streams in the order they came."""
    if follow and session.as_json:
        raise click.UsageError("--json and --follow do not go together")
    run = get_run(session, run_id)
    log = run.log_file()
    start = _start_of_tail(log, tail) if tail is not None else 0
    if session.as_json:
        text = b"".join(_pieces(log, start)).decode("utf-8", "replace")
        session.show({"id": run.id, "state": run.record.state, "log": text}, lambda: "")
        return
    session.progress.stop()
    for piece in _following(run, start) if follow else _pieces(log, start):
        write_out(piece)
    if not follow and run.record.is_active:
        session.say(f"run {run.id} is {run.record.state}; -f follows it")


def _following(run: Run, start: int) -> Iterator[bytes]:
    for piece in run.follow():
        if start < len(piece):
            yield piece[start:]
        start = max(0, start - len(piece))


def _pieces(log: Path, start: int) -> Iterator[bytes]:
    if not log.exists():
        return
    with log.open("rb") as stream:
        stream.seek(start)
        while piece := stream.read(_PIECE):
            yield piece


def _start_of_tail(log: Path, lines: int) -> int:
    """Return where the last ``lines`` lines begin, reading little more than these."""
    if not log.exists():
        return 0
    with log.open("rb") as stream:
        position = stream.seek(0, os.SEEK_END)
        if lines == 0:
            return position
        tail = b""
        while position and tail.count(b"\n") <= lines:  # one more than wanted: the one before them, or the last
            length = min(_PIECE, position)
            position -= length
            stream.seek(position)
            tail = stream.read(length) + tail
    cut = len(tail) - tail.endswith(b"\n")
    for _ in range(lines):
        cut = tail.rfind(b"\n", 0, cut)
        if cut < 0:
            return position
    return position + cut + 1


def _environment(record: RunRecord) -> str:
    made_with = record.environment
    if made_with.name:
        return f"{made_with.name}:{made_with.version}"
    return f"@{made_with.definition_hash[:12]}" if made_with.definition_hash else record.configuration.environment or ""


def _files(count: int) -> str:
    return f"{count} file{'' if count == 1 else 's'}"


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _time(text: str) -> str:
    return _moment(text).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")


def _took(record: RunRecord) -> str:
    if record.running is None and record.ended is None:
        return ""
    started = _moment(record.running or record.queued)
    seconds = ((_moment(record.ended) if record.ended else datetime.now(UTC)) - started).total_seconds()
    text = f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"  # noqa: PLR2004
    return text if record.end_is_known else f"≥ {text}"


def _cut(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:59]}…"  # noqa: PLR2004
