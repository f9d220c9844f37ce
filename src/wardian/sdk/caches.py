"""The caches of this machine: what they take, what can go, and its removal. All workspaces share them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from wardian.errors import Conflict, NotFound
from wardian.events import Event

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from wardian.bootstrap import Parts
    from wardian.prefix.evict import Beside, Candidate, EvictionPlan
    from wardian.prefix.installed import Prefix
    from wardian.sdk.image_cleaning import ImageCleaning

SHORTEST_PREFIX_NAME = 6


@dataclass(frozen=True, slots=True)
class Removable:
    """Something in a cache that can go, for who reads the plan; see ``wardian.prefix.evict.Candidate``."""

    kind: str
    name: str
    note: str
    last_used: datetime | None
    size_bytes: int

    @classmethod
    def of(cls, candidate: Candidate) -> Removable:
        """Return what is told of a candidate."""
        used = datetime.fromtimestamp(int(candidate.used), UTC) if candidate.used >= 1 else None
        return cls(candidate.kind, candidate.name, candidate.note, used, candidate.size_bytes)

    def as_document(self) -> dict[str, Any]:
        """Return plain JSON values."""
        used = self.last_used.isoformat().replace("+00:00", "Z") if self.last_used else None
        return {"kind": self.kind, "name": self.name, "note": self.note, "last_used": used, "size_bytes": self.size_bytes}


def trash_directories(parts: Parts) -> tuple[Path, ...]:
    """Return where removed trees wait for their deletion: what is in there was left by a killed process."""
    workspaces = parts.settings.home / "workspaces"
    of_workspaces = sorted(
        [*workspaces.glob("*/runs/.trash"), *workspaces.glob("*/artifacts/trash"), *workspaces.glob("*/endpoints/.trash")]
    )
    return (
        workspaces / ".trash",
        *of_workspaces,
        parts.cache / "trash",
        parts.cache / "agents" / ".trash",
        parts.cache / "base-pythons" / "trash",
        parts.prefixes.root / "trash",
        parts.packages.root / "trash",
        parts.overlays.cache.root / "trash",
    )


class Caches:
    """What a clean-up of the caches would remove, and the clean-up. Runs in progress keep what they use."""

    def __init__(self, parts: Parts, now: Callable[[], float] = time.time):
        self._parts = parts
        self._now = now

    def plan(self, *, limit_bytes: int | None = None) -> EvictionPlan:
        """Return what would go so that at most ``limit_bytes`` are left (None: the setting; 0: all that can go). Changes nothing."""
        from wardian.prefix.evict import plan_eviction

        parts = self._parts
        parts.listener(Event("phase", "measuring the caches"))
        limit = parts.settings.cache_limit_bytes if limit_bytes is None else limit_bytes
        return plan_eviction(
            parts.prefixes,
            parts.packages,
            limit_bytes=limit,
            now=self._now(),
            tools=self._tools,
            trash=trash_directories(parts),
            beside=self._beside,
        )

    def make_room(self, made: Prefix | None = None, *, added_bytes: int = 0) -> None:
        """Keep the caches below ``cache_limit_bytes`` after something was made; see ``wardian.prefix.room.make_room``.

        Args:     made: a prefix that was installed.  added_bytes: of anything else.
        """
        from wardian.prefix.room import make_room

        parts = self._parts
        names = (made.key[:32], *made.ready.requires) if made is not None else ()
        make_room(parts.prefixes, parts.packages, made=names, limit_bytes=parts.settings.cache_limit_bytes, now=self._now(), tools=self._tools,
                  clear_tool=self._clear_tool, listener=parts.listener, added_bytes=added_bytes, beside=self._beside)  # fmt: skip

    @cached_property
    def _images(self) -> ImageCleaning:
        from wardian.sdk.image_cleaning import ImageCleaning

        return ImageCleaning(self._parts, self._now)

    @property
    def _beside(self) -> Sequence[Beside]:
        from wardian.prefix.portable import DIRECTORY, PortableCleaning
        from wardian.sdk.agent_cleaning import AgentCleaning
        from wardian.sdk.elsewhere import AGENTS
        from wardian.sdk.model_cleaning import ModelCleaning
        from wardian.sdk.uv_cleaning import UvCleaning
        from wardian.serving.overlay import OverlayCleaning

        return (
            self._images,
            UvCleaning(self._parts.cache),
            PortableCleaning(self._parts.prefixes, self._parts.cache / DIRECTORY),
            OverlayCleaning(self._parts.overlays),
            ModelCleaning(self._parts.settings.home),
            AgentCleaning(self._parts.cache / AGENTS, self._now),
        )

    @property
    def _tools(self) -> dict[str, Path]:
        cache = self._parts.cache
        return {"uv": cache / "uv", "rattler": cache / "conda-packages", "repodata": cache / "repodata"}

    def apply(self, plan: EvictionPlan) -> tuple[list[Removable], int]:
        """Remove what ``plan`` chose; return what went and the bytes freed. What was used since the plan was made stays."""
        from wardian.prefix.evict import evict

        gone: list[Removable] = []

        def note(candidate: Candidate) -> None:
            gone.append(Removable.of(candidate))
            self._parts.listener(Event("progress", "removing", done=len(gone), total=len(plan.chosen)))

        self._parts.listener(Event("phase", "removing", total=len(plan.chosen)))
        freed = evict(
            plan,
            self._parts.prefixes,
            self._parts.packages,
            clear_tool=self._clear_tool,
            on_removed=note,
            beside=self._beside,
        )
        self._parts.images.layers.sweep()
        return gone, freed

    def _clear_tool(self, path: Path) -> bool:
        from wardian.tools.disk import remove_tree

        if path.name == "uv":
            return self._parts.uv.clear_cache()  # uv knows whether another uv is at work
        remove_tree(path, self._parts.cache / "trash")
        return True

    @staticmethod
    def chosen(plan: EvictionPlan) -> list[Removable]:
        """Return what ``plan`` would remove, in that order."""
        return [Removable.of(candidate) for candidate in plan.chosen]

    def get_prefix(self, name: str) -> str:
        """Return the directory's name of the one prefix that is meant.

        Args:     name: the directory's name below ``prefixes/``, or at least six characters that it begins with.
        Raises:   NotFound.  Conflict: several begin so.
        """
        found = self._prefixes_like(name)
        if not found:
            raise NotFound(f"there is no prefix `{name[:80]}` below {self._parts.prefixes.root}", code="prefix_not_found",
                           hint="`wardian gc --all` lists the prefixes; `wardian env verify REF` names the one of an environment")  # fmt: skip
        if len(found) > 1:
            raise Conflict(
                f"several prefixes begin with `{name}`: {', '.join(found[:6])}",
                hint="write more of the name",
                code="ambiguous_prefix",
            )
        return found[0]

    def remove_prefix(self, name: str) -> str:
        """Remove one installed prefix, so that it is installed anew when it is needed; return its directory's name.

        Raises:   as ``get_prefix``; Conflict: a run uses it.
        """
        found = self.get_prefix(name)
        if not self._parts.prefixes.remove(found):
            raise Conflict(f"the prefix {found} is in use by a run", hint="`wardian runs list --state running` shows which may use it",
                           code="prefix_in_use")  # fmt: skip
        return found

    def _prefixes_like(self, name: str) -> Sequence[str]:
        if len(name) < SHORTEST_PREFIX_NAME:
            return ()
        return [entry for entry, _, _ in self._parts.prefixes.entries() if entry.startswith(name)]
