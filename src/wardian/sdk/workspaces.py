"""The workspaces of this home: created, listed, chosen, deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardian.events import silent
from wardian.settings import Settings

if TYPE_CHECKING:
    from wardian.events import Listener
    from wardian.workspace.workspaces import Workspaces


def workspaces(settings: Settings | None = None, *, listener: Listener = silent) -> Workspaces:
    """Return what creates, lists, chooses and deletes workspaces; see ``wardian.workspace.workspaces``.

    Args:     settings: say where they are and which is in use; None: those of this process.
    Raises:   InvalidSetting.
    """
    from wardian.workspace.workspaces import Workspaces

    found = settings or Settings.load()
    return Workspaces(found.home, current=found.workspace, listener=listener)
