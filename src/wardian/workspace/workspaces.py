"""The workspaces of a home directory: any number, each a directory of its own."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wardian.errors import Conflict, InvalidInput, NotFound
from wardian.events import silent

if TYPE_CHECKING:
    from pathlib import Path

    from wardian.events import Listener
    from wardian.workspace.database import Database

DEFAULT = "default"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_COUNTED = ("environments", "versions", "locks", "runs", "models")


def check_name(name: str) -> str:
    """Return ``name`` if a workspace can be called so: it is a directory's name, and leads nowhere else.

    Raises:   InvalidInput: it cannot.
    """
    if not _NAME.fullmatch(name):
        raise InvalidInput(f"`{name[:80]}` is not a name for a workspace", hint="a letter or digit, then up to 63 letters, digits, `.`, `_` or `-`",
                           code="bad_name")  # fmt: skip
    return name


@dataclass(frozen=True, slots=True)
class WorkspaceDirectory:
    """Where a workspace keeps what. Source: architecture, "State on disk"."""

    name: str
    path: Path
    in_use: bool = False

    @property
    def database(self) -> Path:
        """The records."""
        return self.path / "workspace.db"

    @property
    def artifacts(self) -> Path:
        """What cannot be fetched again, by content."""
        return self.path / "artifacts"

    @property
    def runs(self) -> Path:
        """Snapshots, outputs and logs, a directory for each run."""
        return self.path / "runs"

    @property
    def secrets(self) -> Path:
        """The directory of the secrets, closed to others."""
        return self.path / "secrets"

    def as_document(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"name": self.name, "path": str(self.path), "in_use": self.in_use}


@dataclass(frozen=True, slots=True)
class WorkspaceSummary:
    """A workspace and what it holds.

    Attributes:
        counts: how many environments, versions, locks, runs and versions of models.
        size_bytes: on disk, all of it.
        journal: how its records are written: ``wal`` or ``delete`` (rollback journal).
    """

    directory: WorkspaceDirectory
    counts: dict[str, int]
    size_bytes: int
    journal: str

    def as_document(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**self.directory.as_document(), "counts": self.counts, "size_bytes": self.size_bytes, "journal": self.journal}


class Workspaces:
    """Creates, finds and deletes workspaces. Safe across processes.

    Args:     home: ``$WARDIAN_HOME``.  current: the name of the workspace in use.
    """

    def __init__(self, home: Path, *, current: str = DEFAULT, listener: Listener = silent) -> None:
        self._home = home
        self._root = home / "workspaces"
        self._current = current
        self._listener = listener

    def create(self, name: str) -> WorkspaceDirectory:
        """Make an empty workspace.

        Raises:   Conflict: there is one of that name.  InvalidInput: not a name.
        """
        from wardian.tools.disk import disk_errors

        place = self._place(name)
        with disk_errors(self._root):
            self._root.mkdir(parents=True, exist_ok=True)
            try:
                place.path.mkdir()
            except FileExistsError:
                raise Conflict(
                    f"there is a workspace `{name}` already", hint=f"`wardian workspace use {name}`", code="workspace_exists"
                ) from None
        self._open(place).close()
        return place

    def ensure(self, name: str) -> WorkspaceDirectory:
        """Return the workspace; the one called ``default`` is made if it is missing, any other must exist.

        Raises:   NotFound: no such workspace.
        """
        if name == DEFAULT and not self._place(name).path.is_dir():
            try:
                return self.create(name)
            except Conflict:  # another process was faster
                return self._place(name)
        return self.get(name)

    def get(self, name: str) -> WorkspaceDirectory:
        """Return the workspace.

        Raises:   NotFound: no such workspace; the hint names those that there are.
        """
        place = self._place(name)
        if not place.path.is_dir():
            known = ", ".join(f"`{found.name}`" for found in self.list())
            raise NotFound(f"there is no workspace `{name}`", hint=f"there are: {known}" if known else f"`wardian workspace create {name}`",
                           code="workspace_not_found")  # fmt: skip
        return place

    def list(self) -> tuple[WorkspaceDirectory, ...]:
        """Return all workspaces, in the order of their names."""
        try:
            with os.scandir(self._root) as entries:
                names = sorted(entry.name for entry in entries if _NAME.fullmatch(entry.name) and entry.is_dir())
        except FileNotFoundError:
            return ()
        return tuple(self._place(name) for name in names)

    def use(self, name: str) -> WorkspaceDirectory:
        """Make a workspace the default of this home: noted in ``config.toml``.

        Raises:   NotFound: no such workspace.
        """
        from wardian.workspace.config_file import ConfigFile

        place = self.ensure(name)
        ConfigFile(self._home).set("workspace", name)
        self._current = name
        return WorkspaceDirectory(name, place.path, in_use=True)

    def show(self, name: str) -> WorkspaceSummary:
        """Return what a workspace holds.

        Raises:   NotFound: no such workspace.  DamagedRecords.
        """
        from wardian.tools.disk import tree_size_bytes

        place = self.get(name)
        database = self._open(place)
        try:
            counts = {table: database.rows(f"SELECT count(*) FROM {table}")[0][0] for table in _COUNTED}  # noqa: S608 - constants
            return WorkspaceSummary(place, counts, tree_size_bytes(place.path), database.journal)
        finally:
            database.close()

    def delete(self, name: str, *, confirmed: bool = False) -> None:
        """Remove a workspace with all that it holds, for ever. Nobody sees it half removed.

        Raises:   Conflict: it is the one in use, it has runs in progress, or it is not ``confirmed`` and not empty.
        """
        from wardian.tools.disk import disk_errors, remove_tree

        place = self.get(name)
        if place.in_use:
            raise Conflict(
                f"`{name}` is the workspace in use", hint="`wardian workspace use` another one first", code="workspace_in_use"
            )
        if running := self._in_progress(place):
            raise Conflict(f"workspace `{name}` has {running} runs in progress", hint=f"`wardian runs list -w {name}` shows them; cancel or await them",
                           code="workspace_in_use")  # fmt: skip
        if not confirmed:
            counts = {what: count for what, count in self.show(name).counts.items() if count}
            held = ", ".join(f"{count} {what}" for what, count in counts.items())
            if held or any(path.exists() and any(path.iterdir()) for path in (place.artifacts, place.runs, place.secrets)):
                raise Conflict(f"workspace `{name}` holds {held or 'files'}", hint="`--yes` deletes it with all that it holds",
                               code="needs_consent", details={"counts": counts})  # fmt: skip
        with disk_errors(self._root):
            remove_tree(place.path, self._root / ".trash")

    def _place(self, name: str) -> WorkspaceDirectory:
        return WorkspaceDirectory(check_name(name), self._root / name, in_use=name == self._current)

    def _open(self, place: WorkspaceDirectory) -> Database:
        from wardian.workspace.database import Database

        return Database.open(place.database, listener=self._listener)

    def _in_progress(self, place: WorkspaceDirectory) -> int:
        database = self._open(place)
        try:
            query = "SELECT count(*) FROM runs WHERE state IN ('queued', 'preparing', 'running')"
            return int(database.rows(query)[0][0])
        finally:
            database.close()
