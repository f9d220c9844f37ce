"""Targets: places to run that have a name, and whether they work."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from wardian.errors import NotFound, WardianError
from wardian.run.targets.kinds import BUILT_IN, LOCAL, check_options, check_target_name, kind_named
from wardian.run.targets.remote import Finding
from wardian.workspace.targets import NamedTarget

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wardian.bootstrap import Parts
    from wardian.sdk.node_cleaning import Cleaned


class TargetCollection:
    """The targets of a workspace: those that are built in, and those that were given a name."""

    def __init__(self, parts: Parts):
        self._parts = parts

    def create(self, name: str, kind: str, options: Mapping[str, str] | None = None) -> NamedTarget:
        """Give a place to run a name; the same again changes nothing.

        Args:     kind: ``slurm``, ``podman`` …; ``wardian.run.targets.kinds`` has all.  options: as the kind has them; secrets by
                  the names of stored ones.
        Raises:   InvalidInput: a wrong name, an unknown kind or option, a wrong value, a secret.
                  Conflict: ``target_exists``: there is another one of that name.  NotFound: ``secret_not_found``.
        """
        made, given = kind_named(kind), dict(options or {})
        check_options(made, given, check_target_name(name))
        for option, value in given.items():
            if (known := made.option(option)) is not None and known.is_secret_name:
                self._parts.secrets.get(value)
        return self._parts.targets.add(name, kind, given)

    def list(self) -> Sequence[NamedTarget]:
        """Return all targets: the built-in ones, then the others by name."""
        return [*(NamedTarget(name, name) for name in BUILT_IN), *self._parts.targets.list()]

    def get(self, name: str) -> NamedTarget:
        """Return the target of that name.

        Raises:   NotFound: ``target_not_found``; the hint names those that there are.
        """
        return find_target(self._parts, name)

    def delete(self, name: str) -> None:
        """Forget a target; records of what ran there stay.

        Raises:   InvalidInput: it is built in.  NotFound.  Conflict: ``target_in_use``: runs of it have not ended.
        """
        self._parts.targets.delete(check_target_name(name))

    def check(self, name: str) -> Sequence[Finding]:
        """Try a target out, and return what is there and what is missing, with the next step. What fails is a finding."""
        target = self.get(name)
        if target.kind == LOCAL:
            return _machine()
        if target.kind == "spark":
            from wardian.run.targets.spark_findings import spark_findings

            return [*spark_findings(target.options, self._parts.environ), *_machine()]
        if kind_named(target.kind).is_remote:
            from wardian.run.run_id import new_run_id
            from wardian.run.trying_out import try_out
            from wardian.sdk.remote_ways import way_to

            return try_out(way_to(self._parts, target.kind, target.options), f"probe-{new_run_id()}")
        return self._engine(target.kind)

    def clean(self, name: str, *, older_than_s: float, apply: bool = False) -> Sequence[Cleaned]:
        """Return what the nodes' side of a target could give back, or, with ``apply``, has: one for each place.

        What any run there needs stays, whoever submitted it, and what was asked for within ``older_than_s`` seconds, at least an hour.

        Raises:   NotFound.  InvalidInput: ``no_nodes``: it has no nodes of its own.
        """
        from wardian.sdk.node_cleaning import clean_target

        return clean_target(self._parts, name, older_than_s=older_than_s, apply=apply)

    def _engine(self, kind: str) -> Sequence[Finding]:
        try:
            found = self._parts.images.engine(kind).check()
        except WardianError as error:
            return [Finding("engine", False, error.message, error.hint or "")]
        text = f"{found.name} {found.version}".strip() + (f": {found.detail}" if found.detail else "")
        return [
            Finding("engine", found.works, text, "" if found.works else f"install {kind}, or mend it: `{kind} info`"),
            *_machine(),
        ]


def find_target(parts: Parts, name: str) -> NamedTarget:
    """Return the target called ``name``: a built-in one, or one of the workspace.

    Raises:   NotFound: ``target_not_found``; the hint names those that there are.
    """
    if name in BUILT_IN:
        return NamedTarget(name, name)
    found = parts.targets.find(name)
    if found is not None:
        return found
    import difflib

    known = [*BUILT_IN, *(one.name for one in parts.targets.list())]
    near = difflib.get_close_matches(name, known, n=1)
    meant = f"did you mean `{near[0]}`? " if near else ""
    raise NotFound(f"there is no target `{name[:80]}`", code="target_not_found",
                   hint=f"{meant}there are {', '.join(f'`{one}`' for one in known)}; `wardian target create {name[:80]} --kind …` makes one")  # fmt: skip


def _machine() -> list[Finding]:
    cpus = len(os.sched_getaffinity(0))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    gpus = sum(1 for _ in Path("/dev").glob("nvidia[0-9]*"))
    text = f"{cpus} cpu{'s' if cpus != 1 else ''}, {memory / (1 << 30):.1f} GiB of memory, {gpus or 'no'} gpu{'s' if gpus != 1 else ''}"
    return [Finding("resources", True, text)]
