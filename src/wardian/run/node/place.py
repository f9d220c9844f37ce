"""The directory of a run as its node sees it: what is read there is small and checked, what is written is whole."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wardian.errors import DiskFull, InvalidInput
from wardian.run.directory import OUTPUTS
from wardian.run.node.sheet import (
    CANCEL,
    CLAIMS,
    ENDED,
    LOCK,
    LOG,
    ROOM,
    SECRETS,
    SNAPSHOT,
    STATUS,
    NodeEnd,
    Secrets,
    Sheet,
    of_rank,
)
from wardian.small_file import NoSmallFile, read_small
from wardian.tools.disk import sync_directory, write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping

_SHEET_BYTES = 4 << 20
_END_BYTES = 16 << 20  # it may list thousands of observed distributions
_ROOM_BYTES = 256 << 10


@dataclass(frozen=True, slots=True)
class NodePlace:
    """The directory of a run, which holds its sheet, and what the node ``rank`` of the run has there."""

    directory: Path
    rank: int = 0

    @property
    def root(self) -> Path:
        """The node directory: ``runs/<key>/`` lie below it."""
        return self.directory.parent.parent

    @property
    def lock(self) -> Path:
        """The lock that is installed."""
        return self.directory / LOCK

    @property
    def snapshot(self) -> Path:
        """The run's working directory."""
        return self.directory / SNAPSHOT

    @property
    def outputs(self) -> Path:
        """What the run is to leave."""
        return self.snapshot / OUTPUTS

    @property
    def log(self) -> Path:
        """What the job writes."""
        return self.directory / of_rank(LOG, self.rank)

    @property
    def status(self) -> Path:
        """The agent's sign of life."""
        return self.directory / of_rank(STATUS, self.rank)

    @property
    def claims(self) -> Path:
        """Which attempts there were."""
        return self.directory / CLAIMS

    @property
    def cancel(self) -> Path:
        """It is there: the run is to end."""
        return self.directory / CANCEL

    def of(self, rank: int) -> NodePlace:
        """Return the same directory for another node of the run."""
        return NodePlace(self.directory, rank)

    def cache(self, sheet: Sheet, environ: Mapping[str, str]) -> Path:
        """Return where the node keeps what it installs.

        Raises:   InvalidInput: ``bad_node_cache``: a variable in its name is not set here, or it is no absolute path.
        """
        if not sheet.cache:
            return self.root / "cache"
        text = expanded(sheet.cache, environ)
        if not text.startswith("/") or "\0" in text:
            raise InvalidInput(f"the node's cache `{sheet.cache}` is `{text}` there: no absolute path", code="bad_node_cache",
                               hint="`~/…`, `/…`, or a variable that is set on every node, such as `$TMPDIR/…`")  # fmt: skip
        return Path(text)

    def packages(self, sheet: Sheet) -> list[Path]:
        """Return the directories of archives."""
        return [self.root / one for one in sheet.packages]

    def read_sheet(self, file: Path) -> Sheet:
        """Return the sheet.

        Raises:   InvalidInput: ``bad_sheet``.
        """
        try:
            return Sheet.from_json(read_small(file, _SHEET_BYTES))
        except OSError as error:
            raise InvalidInput(f"the sheet {file} cannot be read: {error.strerror}", code="bad_sheet") from error

    def read_secrets(self, file: Path | None = None) -> Secrets | None:
        """Return the run's secrets; None: there are none, or no more. ``file``: where its engine keeps them.

        Raises:   InvalidInput: ``bad_secrets``.
        """
        try:
            return Secrets.from_json(read_small(file or self.directory / SECRETS, _SHEET_BYTES))
        except FileNotFoundError as error:
            if file is not None:
                raise InvalidInput(
                    f"the run's secrets are not at {file}, where its engine was to put them", code="bad_secrets"
                ) from error
            return None
        except OSError as error:
            raise InvalidInput(f"the file of the run's secrets cannot be read: {error.strerror}", code="bad_secrets") from error

    def remove_secrets(self) -> None:
        """Nobody needs them any more."""
        (self.directory / SECRETS).unlink(missing_ok=True)

    def read_end(self) -> NodeEnd | None:
        """Return how it ended; None: it has not.

        Raises:   InvalidInput: code ``bad_node_end``: its job has put something else there.
        """
        path = self.directory / of_rank(ENDED, self.rank)
        try:
            return NodeEnd.from_json(read_small(path, _END_BYTES))
        except FileNotFoundError:
            return None
        except NoSmallFile as error:
            raise InvalidInput(f"{path} is not Wardian's: {error.strerror}", code="bad_node_end") from error
        except InvalidInput as error:
            raise InvalidInput(f"{path} is not Wardian's: {error.message}", code="bad_node_end") from error

    def keep_room(self) -> None:
        """Take up some space, for how the run ends: jobs fill disks."""
        with contextlib.suppress(OSError):
            self._room.write_bytes(os.urandom(_ROOM_BYTES))  # which no file system makes smaller

    def write_end(self, end: NodeEnd) -> bool:
        """Write how it ended, whole and durable; return False where somebody else has said so before: that stays.

        Raises:   DiskFull.  Denied.
        """
        try:
            return self._write_end(end)
        except DiskFull:
            self._room.unlink(missing_ok=True)
            return self._write_end(end)
        finally:
            with contextlib.suppress(OSError):
                self._room.unlink(missing_ok=True)

    @property
    def _room(self) -> Path:
        return self.directory / of_rank(ROOM, self.rank)

    def _write_end(self, end: NodeEnd) -> bool:
        path = self.directory / of_rank(ENDED, self.rank)
        if self.rank:  # each start of such a node may say it anew; the run's own end is said once
            write_atomically(path, end.to_json())
            return True
        half = path.with_name(f".{path.name}.{os.uname().nodename}.{os.getpid()}")
        write_atomically(half, end.to_json())
        try:
            try:
                os.link(half, path)
            except FileExistsError:
                return False
            except OSError:  # a file system without hard links: nothing says "only if it is not there" any better
                if path.exists():
                    return False
                half.rename(path)
        finally:
            half.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            sync_directory(self.directory)
        return True


def expanded(text: str, environ: Mapping[str, str]) -> str:
    """Return ``text`` with ``~`` and ``$NAME`` of ``environ`` replaced.

    Raises:   InvalidInput: ``bad_node_cache``: one of them is not set.
    """
    import re

    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2] or "HOME"
        found = environ.get(name)
        if not found:
            raise InvalidInput(f"`{text}` names `{name}`, which is not set on {os.uname().nodename}", code="bad_node_cache",
                               hint="name a directory that every node has")  # fmt: skip
        return found

    return re.sub(r"\$\{(\w+)\}|\$(\w+)|^~(?=/|$)", value, text)
