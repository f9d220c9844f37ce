"""What every command has: --json, --workspace; output for people and for machines; progress."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import click

from wardian.errors import WardianError

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from wardian.events import Event
    from wardian.sdk.workspace import Workspace
    from wardian.settings import Settings

_LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")
# what a terminal may obey, or what turns the order of what stands behind it: definitions and names of files may hold anything
_OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
F = TypeVar("F", bound=Callable[..., Any])


class Session:
    """One call of the command line: its workspace, opened when asked for, and how it speaks."""

    def __init__(self, workspace_name: str | None, as_json: bool):
        self.as_json = as_json
        self._name = workspace_name
        self.progress = Progress(quiet=as_json)

    @functools.cached_property
    def workspace(self) -> Workspace:
        """The workspace that the call is about."""
        from wardian.sdk.workspace import Workspace

        opened = Workspace.open(self._name, listener=self.progress)
        opened.parts.interruptible = True
        return opened

    @functools.cached_property
    def settings(self) -> Settings:
        """The settings in effect for this call."""
        from wardian.settings import Settings

        return self._named(Settings.load())

    def _named(self, settings: Settings) -> Settings:
        from dataclasses import replace

        return settings if self._name is None else replace(settings, workspace=self._name)

    @functools.cached_property
    def machine(self) -> Workspace:
        """The workspace with its records left closed: for what concerns the whole machine, and works if they are damaged."""
        from wardian.sdk.workspace import Workspace

        return Workspace(self.settings, listener=self.progress)

    @property
    def machine_to_examine(self) -> Workspace:
        """Like ``machine``. If the file of settings is broken: with the defaults, and offline, as nobody knows what it forbids."""
        from dataclasses import replace

        from wardian.errors import InvalidSetting
        from wardian.sdk.workspace import Workspace
        from wardian.settings import Settings

        try:
            return self.machine
        except InvalidSetting:
            settings = replace(Settings.load(with_file=False), offline=True)
            return Workspace(self._named(settings), listener=self.progress)

    def show(self, document: Any, text: Callable[[], str | Iterable[str]], *, exact: bool = False) -> None:
        """Write ``document`` as JSON, or what ``text`` returns, to stdout.

        Args:     exact: it is the text of a file, for which every character counts, unless a terminal would obey it.
        """
        self.progress.stop()
        if self.as_json:
            write_out(f"{json_text(document, indent=2)}\n".encode())  # UTF-8, whatever the locale says
            return
        lines = text()
        out = lines if isinstance(lines, str) else "\n".join(lines)
        if out:
            kept = exact and not sys.stdout.isatty()
            write_out((out if kept else obeyed_by_none(out)).rstrip("\n") + "\n")

    def say(self, line: str) -> None:
        """Write a line for people to stderr; silent with --json."""
        self.progress.stop()
        if not self.as_json:
            write_err(line + "\n")


def json_text(document: Any, *, indent: int | None = None) -> str:
    """Return ``document`` as JSON that is UTF-8, whatever names of files it holds."""
    text = json.dumps(document, indent=indent, ensure_ascii=False)
    if text.isascii() or not _LONE_SURROGATE.search(text):
        return text
    from wardian.run.file_names import to_document

    return json.dumps(to_document(document), indent=indent, ensure_ascii=False)


def write_out(text: str | bytes) -> None:
    """Write to stdout, at once. A reader that has gone (`| head`) is no fault.

    Raises:   WardianError: code ``output_failed``: it cannot be written, which must not look like success.
    """
    try:
        if isinstance(text, str):
            sys.stdout.write(_writable(text, sys.stdout))
        else:
            sys.stdout.buffer.write(text)
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing more is said about it when Python ends
        if not isinstance(error, BrokenPipeError):
            raise WardianError(f"stdout cannot be written to: {error.strerror}", code="output_failed") from error


def write_err(text: str) -> None:
    """Write lines to stderr, with nothing in them that a terminal obeys.

    Where that cannot be, nobody is to be told, and nothing is to fail for it.
    """
    with contextlib.suppress(OSError):
        sys.stderr.write(_writable(obeyed_by_none(text), sys.stderr))


def obeyed_by_none(text: str) -> str:
    """Return ``text`` with the characters that a terminal might obey, line ends and tabs excepted, as escapes that JSON knows, too."""
    return _OBEYED.sub(lambda found: f"\\x{ord(found[0]):02x}" if found[0] < " " else f"\\u{ord(found[0]):04x}", text)


def _writable(text: str, stream: TextIO) -> str:
    """Return ``text`` with what ``stream`` cannot write as escapes: bytes in names that are not UTF-8, all but ASCII in some places."""
    if text.isascii():
        return text
    from wardian.run.file_names import readable

    encoding = stream.encoding or "utf-8"
    return readable(text).encode(encoding, "backslashreplace").decode(encoding)


def command(function: F) -> F:
    """Give a command --json and --workspace, and its ``Session`` as first argument."""

    @click.option("--json", "as_json", is_flag=True, help="Write JSON to stdout.")
    @click.option(
        "-w", "--workspace", "workspace_name", metavar="NAME", help="The workspace to use.", shell_complete=complete_workspace
    )
    @functools.wraps(function)
    def wrapped(*args: Any, as_json: bool, workspace_name: str | None, **kwargs: Any) -> Any:
        session = Session(workspace_name, as_json)
        try:
            return function(session, *args, **kwargs)
        finally:
            session.progress.stop()

    return wrapped  # type: ignore[return-value]


def complete_workspace(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Complete the names of workspaces; where something is wrong, nothing: the tab key is no place for errors."""
    from wardian.sdk.workspaces import workspaces

    try:
        return [place.name for place in workspaces().list() if place.name.startswith(incomplete)]
    except WardianError:
        return []


def examples(*lines: str) -> str:
    """Return an epilog that shows examples."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def printable(text: str) -> str:
    """Return ``text`` with what a terminal might obey, such as ESC, as escapes: names of files may hold anything."""
    if text.isprintable():
        return text
    from wardian.run.file_names import readable

    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in readable(text))


def table(headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    """Return rows in columns, for people."""
    cells = [list(headings), *([("" if c is None else printable(str(c))) for c in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(headings))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def size(count: float | None) -> str:
    """Return a number of bytes for people."""
    if count is None:
        return "?"
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":  # noqa: PLR2004
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return ""


def ago(moment: datetime | None) -> str:
    """Return how long ago ``moment`` was, for people."""
    if moment is None:
        return ""
    from datetime import UTC, datetime

    seconds = max(0.0, (datetime.now(UTC) - moment).total_seconds())
    for count, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= count:
            number = int(seconds // count)
            return f"{number} {unit}{'s' if number > 1 else ''} ago"
    return "just now"


def check_output(path: Path, *, force: bool) -> None:
    """Check that a file can be written to ``path``: its directory is there, and no file, unless ``force``.

    Raises:   NotFound: code ``no_such_path``.  Conflict: code ``file_exists``.
    """
    from wardian.errors import Conflict, NotFound

    if not path.absolute().parent.is_dir():
        raise NotFound(f"there is no directory {path.absolute().parent}", hint=f"`mkdir -p {path.parent}`", code="no_such_path")
    if path.exists() and not force:
        raise Conflict(f"{path} is there already", hint="choose another name, or add --force", code="file_exists")


class Progress:
    """Shows what Wardian does while it takes longer than a moment: a live line on a terminal, plain lines elsewhere.

    Notices, warnings and losses are always written; losses are kept for JSON, too. A listener for ``wardian.events``.
    """

    AFTER_S = 0.4

    def __init__(self, *, quiet: bool):
        self._quiet = quiet
        self.losses: list[dict[str, Any]] = []
        self._started = time.monotonic()
        self._live: Any = None
        self._task: Any = None
        self._last = ""

    def __call__(self, event: Event) -> None:
        """Show one event."""
        if event.kind == "loss":
            self.losses.append(event.data)
        if (self._quiet and event.kind not in ("warning", "loss")) or (event.kind == "phase" and "run_id" in event.data):
            return  # a run's own phases are in its record; the terminal is the script's
        if event.kind in ("notice", "warning", "loss", "output"):
            line = f"warning: {event.text}" if event.kind == "warning" else event.text
            if self._live is None:
                write_err(f"{line}\n")
            else:
                self._live.console.print(obeyed_by_none(line), markup=False, highlight=False)
            return
        if not sys.stderr.isatty():
            if event.kind == "phase" and event.text != self._last:
                self._last = event.text
                write_err(f"{event.text}\n")
            return
        if self._live is None:
            if time.monotonic() - self._started < self.AFTER_S and event.kind == "progress":
                return
            self._start()
        if event.kind == "phase":
            self._live.update(self._task, description=obeyed_by_none(event.text), total=event.total, completed=0)
        else:
            self._live.update(self._task, completed=event.done, total=event.total)

    def _start(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Rich

        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
        )
        self._live = Rich(*columns, console=Console(stderr=True), transient=True)
        self._live.start()
        self._task = self._live.add_task("", total=None)

    def stop(self) -> None:
        """Clear the live line."""
        if self._live is not None:
            self._live.stop()
            self._live = None
