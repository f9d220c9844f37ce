"""What a workspace knows about environments: versions, where they came from, who uses them."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from wardian.errors import InvalidReference, NotFound
from wardian.events import Event

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike
    from pathlib import Path

    from wardian.bootstrap import Parts
    from wardian.definition.environment import Environment
    from wardian.digest import Digest
    from wardian.formats.read_definition import ReadDefinition
    from wardian.workspace.page import Page
    from wardian.workspace.version import Ancestor, EnvironmentVersion, HistoryEntry


class EnvironmentLookup:
    """Reads files and records; changes nothing."""

    def __init__(self, parts: Parts):
        self._parts = parts

    def read(
        self,
        path: str | PathLike[str],
        *,
        format_name: str | None = None,
        extras: Sequence[str] = (),
        groups: Sequence[str] = (),
        environment: str | None = None,
    ) -> ReadDefinition:
        """Read a definition file of any known format, registering nothing.

        What the file says and the definition does not is told as it is read (events ``loss``) and returned (``losses``).

        Args:     environment: of a file of pixi, which of its environments.
        Raises:   InvalidDefinition: with all faults of the file.
        """
        from wardian import formats

        found = formats.read(path, format_name=format_name, extras=tuple(extras), groups=tuple(groups), environment=environment)
        for fault in found.warnings:
            self._parts.listener(Event("warning", str(fault), data={"code": fault.code}))
        for loss in found.losses:
            self._parts.listener(Event("loss", str(loss), data=loss.as_document()))
        return found

    def read_installed(self, prefix: str | PathLike[str] | None = None, *, exact: bool = False) -> ReadDefinition:
        """Read what is installed at ``prefix`` (None: in the environment that is in use), registering nothing.

        See ``wardian.formats.installed``. The warnings name what comes from no index; the losses what is left out, as no index
        has it for instance. Offline, and where an index does not answer, nothing is left out for that reason.
        """
        from pathlib import Path

        from wardian.formats import installed

        said = None
        if prefix is None:
            prefix, said = installed.find_in_use(self._parts.environ, Path(sys.prefix))
        found = self._without_unserved(installed.read_installed(Path(prefix), exact=exact), Path(prefix))
        if said is not None:
            self._parts.listener(Event("notice", said, data={"prefix": os.fspath(prefix)}))
        for fault in found.warnings:
            self._parts.listener(Event("warning", str(fault), data={"code": fault.code}))
        for loss in found.losses:
            self._parts.listener(Event("loss", str(loss), data=loss.as_document()))
        return found

    def _without_unserved(self, read: ReadDefinition, prefix: Path) -> ReadDefinition:
        """Return ``read`` without what no index has."""
        from wardian.definition.platform import this_platform
        from wardian.errors import WardianError
        from wardian.formats import installed
        from wardian.lock.indexes import plan_indexes
        from wardian.lock.served import unserved

        pins = installed.pins_of(read.environment)
        if not pins or self._parts.settings.offline:
            return read
        plan = plan_indexes((), configured=self._parts.settings.indexes, credentials=self._parts.credentials, environ=self._parts.environ,
                            strategy=read.environment.python.index_strategy)  # fmt: skip
        try:
            missing = unserved(pins, uv=self._parts.uv, plan=plan, python_version=installed.python_of(read.environment),
                               uv_platform=this_platform().uv)  # fmt: skip
        except WardianError as error:
            why = error.message.splitlines()[-1].strip()
            self._parts.listener(Event("warning", f"whether an index serves what is installed is not known: {why}", data={"code": error.stable_code}))  # fmt: skip
            return read
        return installed.without(read, missing, prefix) if missing else read

    def get(self, reference: str) -> EnvironmentVersion:
        """Return the version that ``reference`` means; ``run:ID`` means what that run ran with, ``run:latest`` the newest;
        ``model:NAME`` what the run that made the model ran with; ``endpoint:NAME`` what serves there serves with.

        Raises:   NotFound, InvalidReference, Conflict (an ambiguous hash).
        """
        from wardian.definition.reference import Reference

        try:
            parsed = Reference.parse(reference)
        except InvalidReference as error:
            raise self._parts.environments.with_nearest(error, reference) from None
        if parsed.run_id is not None:
            newest = self._parts.runs.list(limit=1).items if parsed.run_id == "latest" else ()
            record = newest[0] if newest else self._parts.runs.get(parsed.run_id)
            version_id = record.environment.version_id
            found = self.by_id(version_id) if version_id is not None else None
            if found is None:
                asked = record.configuration.environment
                raise NotFound(f"run `{record.id}` ran with no environment of this workspace" + (f": it asked for `{asked}`" if asked else ""),
                               code="environment_not_found", hint=f"`wardian runs show {record.id}` says what became of it")  # fmt: skip
            return found
        if parsed.model is not None:
            from wardian.sdk.models import environment_of

            return environment_of(self._parts, self._parts.models.get(parsed))
        if parsed.endpoint is not None:
            endpoints = self._parts.endpoints
            deployment = endpoints.current_deployment(endpoints.get(parsed.endpoint))
            if deployment is None or deployment.version_id is None:
                raise NotFound(f"endpoint `{parsed.endpoint}` serves with no environment of this workspace", code="environment_not_found",
                               hint=f"`wardian endpoint show {parsed.endpoint}`")  # fmt: skip
            return self.by_id(deployment.version_id)
        return self._parts.environments.get(parsed)

    def by_id(self, version_id: int) -> EnvironmentVersion:
        """Return the version with the records' own number.

        Raises:   NotFound: it was deleted.
        """
        return self._parts.environments.by_id(version_id)

    def find(self, reference: str) -> EnvironmentVersion | None:
        """Return the version that ``reference`` means, or None."""
        return self._parts.environments.find(reference)

    def lock_digests(self, version: EnvironmentVersion) -> dict[str, Digest]:
        """Return the locks that a version is pinned to: platform → lock_digest. Nothing is solved."""
        return {pin.platform: pin.lock_digest for pin in self._parts.locks.pins(version.id)}

    def usage(self, version: EnvironmentVersion) -> dict[str, Any]:
        """Return who uses a version, as plain JSON values.

        ``labels``; ``runs``: the newest hundred, by id, and ``more_runs``: whether there are others; ``same_hash``, ``same_lock``, ``same_image``
        and ``descendants``: references to other versions, see ``wardian.workspace.relatives``; ``models``: the newest thousand that were trained with it;
        ``endpoints``: those with a deployment in it.
        """
        runs = self._parts.runs.list(version_id=version.id, limit=100)
        others = {name: list(found) for name, found in self._parts.environments.relatives(version).items()}
        return {
            "labels": list(version.labels), "runs": [record.id for record in runs], "more_runs": runs.next is not None,
            "models": self._parts.models.of_environment(version.id), "endpoints": list(self._parts.endpoints.with_version(version.id)), **others,
        }  # fmt: skip

    def list(
        self, *, limit: int = 50, after: str | None = None, include_archived: bool = False, kind: str | None = None
    ) -> Page[EnvironmentVersion]:
        """Return a page of the latest versions, by name; curated ones only if ``kind`` is ``curated``, all of them on one page."""
        if kind == "curated":
            from wardian.workspace.page import Page

            return Page(
                tuple(self.get(entry.name) for entry in self._parts.catalogue.current(with_deprecated=include_archived)), None
            )
        return self._parts.environments.list(limit=limit, after=after, include_archived=include_archived, kind=kind)

    def versions(self, name: str, *, limit: int = 50, after: str | None = None) -> Page[EnvironmentVersion]:
        """Return a page of the versions of ``name``, the newest first."""
        return self._parts.environments.versions(name, limit=limit, after=after)

    def history(self, name: str, *, limit: int = 50, after: str | None = None) -> Page[HistoryEntry]:
        """Return a page of the versions of ``name`` with what each changed, the newest first."""
        return self._parts.environments.history(name, limit=limit, after=after)

    def lineage(self, reference: str) -> tuple[Ancestor, ...]:
        """Return what the version was made from, the nearest first."""
        return self._parts.environments.lineage(self.plain(reference))

    def derivation(self, version: EnvironmentVersion) -> str:
        """Return from which curated environment a version comes, in however many steps, and all that differs; empty: from none."""
        for ancestor in self.lineage(str(version)):
            name, _, number = ancestor.reference.partition(":")
            entry = self._parts.catalogue.find(name, number or None)
            if entry is not None:
                return derived(ancestor.reference, entry.environment(), version.environment)
        return ""

    def source(self, version: EnvironmentVersion) -> tuple[str, str]:
        """Return format and text of a version: as it was read, comments kept, else as Wardian's YAML."""
        from wardian import formats

        return self._parts.environments.source(version) or ("wardian", formats.write(version.environment, "wardian"))

    def plain(self, reference: str) -> str:
        """Return ``reference``, or in the place of ``run:ID``, ``model:NAME`` or ``endpoint:NAME`` one to the version that it means.

        Raises:   as ``get``.
        """
        return str(self.get(reference)) if reference.startswith(("run:", "model:", "endpoint:")) else reference

    def name_of(self, reference: str) -> str:
        """Return the name of the environment that ``reference`` means, whichever version.

        Raises:   InvalidInput: code ``anonymous``.  What ``get`` raises for a hash or a run.
        """
        from wardian.definition.reference import Reference
        from wardian.sdk.upgrade import named

        return Reference.parse(reference).name or named(self.get(reference))


def derived(reference: str, curated: Environment, own: Environment) -> str:
    """Return in words how ``own`` differs from the curated environment that it was made from."""
    from dataclasses import replace

    from wardian.definition.difference import difference

    if curated.content == own.content:
        return f"copy of {reference}"
    return f"derived from {reference}: {difference(replace(curated, name=None), replace(own, name=None)).summary()}"
