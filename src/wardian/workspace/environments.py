"""The environments of a workspace: versions that never change, under names, labels and hashes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from wardian.definition.reference import Reference, is_curated_name
from wardian.errors import Conflict, InvalidDefinition, InvalidInput, InvalidReference, NotFound
from wardian.workspace import labels, registration, resolution
from wardian.workspace.clock import moment_text, utc_now
from wardian.workspace.curation import is_foreign, refuse_change
from wardian.workspace.page import Page, check_limit
from wardian.workspace.registration import Registration
from wardian.workspace.users import users_of_versions
from wardian.workspace.version import LATEST, VERSIONS, Ancestor, EnvironmentVersion, HistoryEntry, LabelMove

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from wardian.definition.environment import Environment
    from wardian.workspace.curation import Curation
    from wardian.workspace.database import Database

KINDS = ("system", "user")
_LONGEST_LINEAGE = 1000


class Environments:
    """Registers, finds, lists and labels. Safe across processes: every change is one transaction.

    A reference is NAME (the latest version), NAME:VERSION, NAME@LABEL or @HASH, as text or parsed. ``latest`` is the
    version registered last that is not archived; if all are, the last one.

    Args:     now: where the moments in the records come from.  curation: the curated environments; None: there are none.
    Source:   semantics §1
    """

    def __init__(
        self, database: Database, now: Callable[[], datetime] = utc_now, *, curation: Callable[[], Curation] | None = None
    ) -> None:
        self._database = database
        self._now = now
        self._curation = curation

    # -- register ----------------------------------------------------------------------------------------------------

    def register(
        self,
        environment: Environment,
        *,
        version: str | None = None,
        source: tuple[str, str] | None = None,
        parent: EnvironmentVersion | Ancestor | None = None,
        lineage_note: str = "",
        always_new: bool = False,
    ) -> tuple[EnvironmentVersion, bool]:
        """Return the version that has this content, and whether it was added.

        If the newest non-archived version of the name has it, that one is returned as it is; else the next is added. An
        environment without a name is kept once by its content, found by ``@HASH`` and not listed. Description and tags
        count only when a version is added: after that, ``update`` changes them. A version added to an archived name is
        as hidden as the name.

        Args:
            environment: the definition; its name is the name to register under.
            version: exactly this one: returned if it has this content, added if it is missing. None: the number after
                the highest.
            source: format and self-contained text that the definition was read from. None: the parent's, for a copy.
            parent: what the definition was made from.
            lineage_note: how it was made from that.
            always_new: add a version although the newest has this content (it is to have another lock).
        Raises:   Conflict: code ``version_exists``, that version has other content.
                  InvalidInput: a reserved name, or a version without a name.  InvalidReference: not a version.
        """
        asked = Registration(environment, version, source, parent, lineage_note, always_new)
        return registration.add_version(self._database, asked, moment_text(self._now()))

    def find_current(self, name: str | None, content_key: str) -> EnvironmentVersion | None:
        """Return the version that ``register`` would return for this content; None: it would add one. Decodes nothing."""
        return registration.find_current(self._database, name, content_key)

    def newer_with(self, version: EnvironmentVersion, content_key: str) -> tuple[EnvironmentVersion, ...]:
        """Return the versions of the same name that came after ``version``, are not archived and have this content, newest first."""
        rows = self._database.rows(
            f"{VERSIONS} WHERE v.environment_id = ? AND v.archived IS NULL AND v.id > ? AND v.content_key = ? ORDER BY v.id DESC",
            self._environment_id(version.id), version.id, content_key,
        )  # fmt: skip
        return tuple(EnvironmentVersion.from_row(row) for row in rows)

    # -- look up -----------------------------------------------------------------------------------------------------

    def find(self, reference: str | Reference) -> EnvironmentVersion | None:
        """Return the version that ``reference`` means, archived or not; None: there is none.

        Several versions may share a hash: ``@HASH`` is the anonymous one if there is one, else the newest.

        Raises:   InvalidReference: malformed, or of a run.  Conflict: code ``ambiguous_hash``.
        """
        return resolution.find_version(self._database, self._meant(resolution.parsed(reference)))

    def get(self, reference: str | Reference) -> EnvironmentVersion:
        """Return the version that ``reference`` means, archived or not.

        Raises:   NotFound: the hint names what comes close.  InvalidReference.  Conflict: as ``find``.
        """
        meant = self._meant(resolution.parsed(reference))
        try:
            return resolution.get_version(self._database, meant)
        except NotFound as error:
            if error.stable_code == "environment_not_found" and self._curation is not None and is_foreign(meant.name or ""):
                raise self._curation().instead(error, meant.name or "") from None
            raise

    def with_nearest(self, error: InvalidReference, reference: str) -> InvalidReference:
        """Return ``error``, about a reference to an environment of Azure ML's, with the nearest curated one; any other as it is."""
        if not reference.startswith("azureml:") or self._curation is None or (near := self._curation().hint(reference)) is None:
            return error
        return InvalidReference(error.message, hint=f"{near}; or: {error.hint}", code=error.stable_code)

    def source(self, version: EnvironmentVersion) -> tuple[str, str] | None:
        """Return format and text that ``version`` was read from, comments kept; None: it was made in Python."""
        return registration.source_of(self._database, version.id)

    def list(
        self, *, limit: int = 50, after: str | None = None, include_archived: bool = False, kind: str | None = None
    ) -> Page[EnvironmentVersion]:
        """Return the latest version of each name, in the order of the names; curated ones are not among them.

        Args:     limit: 1 to 1000.  after: ``next`` of the page before.  kind: only ``system`` or only ``user``.
        """
        check_limit(limit)
        if kind not in (None, *KINDS):
            raise InvalidInput(f"`{kind}` is no kind of environment", hint=f"one of {', '.join(KINDS)}", code="unknown_kind")
        conditions = [
            "e.kind = ?" if kind else "e.kind != 'curated'",
            *([] if include_archived else ["e.hidden = 0"]),
            "e.name > ?",
        ]
        rows = self._database.rows(
            f"{LATEST} WHERE {' AND '.join(conditions)} ORDER BY e.name LIMIT ?",
            *([kind] if kind else []),
            after or "",
            limit + 1,
        )
        found = tuple(EnvironmentVersion.from_row(row) for row in rows[:limit])
        return Page(found, found[-1].name if len(rows) > limit else None)

    def versions(self, name: str, *, limit: int = 50, after: str | None = None) -> Page[EnvironmentVersion]:
        """Return the versions of ``name``, archived ones too, the newest first.

        Raises:   NotFound: no such name.
        """
        rows = self._newest_first(name, check_limit(limit) + 1, after)
        return Page(rows[:limit], str(rows[limit - 1].id) if len(rows) > limit else None)

    def history(self, name: str, *, limit: int = 50, after: str | None = None) -> Page[HistoryEntry]:
        """Return the versions of ``name``, the newest first, each with what it changed.

        Raises:   NotFound: no such name.
        """
        rows = self._newest_first(name, check_limit(limit) + 1, after)
        entries = [HistoryEntry(row, rows[i + 1] if i + 1 < len(rows) else None) for i, row in enumerate(rows[:limit])]
        return Page(tuple(entries), str(rows[limit - 1].id) if len(rows) > limit else None)

    def lineage(self, reference: str | Reference) -> tuple[Ancestor, ...]:
        """Return what the version was made from, what that was made from, and so on: the nearest first.

        An ancestor that was deleted is still named; the line ends there.
        """
        found: list[Ancestor] = []
        row = self._database.row(
            "SELECT parent_id, parent, parent_hash, lineage_note FROM versions WHERE id = ?", self.get(reference).id
        )
        while row is not None and row["parent"] and len(found) < _LONGEST_LINEAGE:
            found.append(Ancestor(row["parent"], row["parent_hash"], row["lineage_note"]))
            row = self._database.row(
                "SELECT parent_id, parent, parent_hash, lineage_note FROM versions WHERE id = ?", row["parent_id"]
            )
        return tuple(found)

    def relatives(self, version: EnvironmentVersion) -> dict[str, tuple[str, ...]]:
        """Return references to the versions that share hash, lock or image with ``version``, and to those made from it."""
        from wardian.workspace.relatives import relatives

        return relatives(self._database, version)

    # -- labels ------------------------------------------------------------------------------------------------------

    def label(self, name: str, version: str, label: str, *, author: str = "") -> EnvironmentVersion:
        """Give ``label`` to a version, taking it from the version that had it. Idempotent.

        Raises:   NotFound: no such version.  InvalidReference: not a label; ``latest`` is computed.
        """
        refuse_change(name)
        return labels.put_label(self._database, name, version, label, author=author, moment=moment_text(self._now()))

    def remove_label(self, name: str, label: str, *, author: str = "") -> None:
        """Take ``label`` away from the version that has it.

        Raises:   NotFound: no version has it.
        """
        refuse_change(name)
        labels.remove_label(self._database, name, label, author=author, moment=moment_text(self._now()))

    def label_history(self, name: str, label: str | None = None) -> tuple[LabelMove, ...]:
        """Return where ``label`` was (None: every label of the name), the newest move first.

        Raises:   NotFound: no such name.
        """
        return labels.label_history(self._database, name, label)

    # -- change what may change --------------------------------------------------------------------------------------

    def update(
        self, reference: str | Reference, *, description: str | None = None, tags: Mapping[str, str] | None = None
    ) -> EnvironmentVersion:
        """Change description or tags of a version; None leaves them. No new version comes of it.

        Args:     tags: replace all of the version's tags.
        """
        from wardian.definition.environment import check_words
        from wardian.definition.fault_list import FaultList
        from wardian.definition.values import FrozenMap, clean_text

        faults = FaultList()
        check_words(description or "", tags or {}, faults)
        if faults.found:
            raise InvalidDefinition(faults.found)
        with self._database.write():
            found = self.get(reference)
            refuse_change(found.name)
            if description is not None:
                self._database.execute("UPDATE versions SET description = ? WHERE id = ?", clean_text(description), found.id)
            if tags is not None:
                text = json.dumps(dict(FrozenMap(tags)), ensure_ascii=False)
                self._database.execute("UPDATE versions SET tags = ? WHERE id = ?", text, found.id)
            return self.by_id(found.id)

    def archive(self, reference: str | Reference) -> EnvironmentVersion:
        """Hide a name with all of its versions (NAME), or one version (any other reference). Idempotent.

        What is archived is still found by its reference and still runs; ``latest`` passes an archived version over.
        """
        return self._set_archived(resolution.parsed(reference), moment_text(self._now()))

    def restore(self, reference: str | Reference) -> EnvironmentVersion:
        """Undo ``archive``. Idempotent. NAME is shown afterwards, even if its versions were archived one by one."""
        return self._set_archived(resolution.parsed(reference), None)

    def delete(self, reference: str | Reference) -> None:
        """Remove a name with all of its versions (NAME), or one version, for ever.

        A number that was given once is not given again while the name has versions.

        Raises:   Conflict: code ``in_use``: labels, runs or other records refer to it; the message names them.
        """
        target = resolution.parsed(reference)
        with self._database.write():
            found = self._own(target)
            environment_id = self._environment_id(found.id)
            if target.hash_prefix is not None and environment_id is not None:
                raise InvalidInput(f"`{target}` has a name: it is {found.reference}", hint=f"write `{found.reference}`",
                                   code="named_version")  # fmt: skip
            whole = _is_name(target)
            users = users_of_versions(
                self._database, version_id=None if whole else found.id, environment_id=environment_id if whole else None
            )
            if users:
                raise Conflict(f"`{target}` is in use: {', '.join(users)}", code="in_use", details={"users": users},
                               hint=f"`wardian env archive {target}` hides it and keeps them working")  # fmt: skip
            if whole:
                self._database.execute("DELETE FROM versions WHERE environment_id = ?", environment_id)
            else:
                self._database.execute("DELETE FROM versions WHERE id = ?", found.id)
            if environment_id is not None:
                registration.settle(self._database, environment_id)

    # -- in common ---------------------------------------------------------------------------------------------------

    def by_id(self, version_id: int) -> EnvironmentVersion:
        """Return the version with the records' own number.

        Raises:   NotFound: it was deleted.
        """
        row = self._database.row(f"{VERSIONS} WHERE v.id = ?", version_id)
        if row is None:
            raise NotFound("that version was deleted", code="environment_version_not_found")
        return EnvironmentVersion.from_row(row)

    def _own(self, target: Reference) -> EnvironmentVersion:
        """Return the version that may be hidden or removed: any but a curated one. One of a kept name, made when it was not yet kept, too."""
        found = resolution.find_version(self._database, target) if is_curated_name(target.name or "") else self.get(target)
        if found is None or found.kind == "curated":
            refuse_change(target.name)
            refuse_change(found.name if found else None)
        return found or self.get(target)

    def _meant(self, reference: Reference) -> Reference:
        curated = self._curation is not None and reference.name is not None and is_curated_name(reference.name)
        return self._curation().resolve(reference) if self._curation is not None and curated else reference

    def _environment_id(self, version_id: int) -> int | None:
        value: int | None = self._database.rows("SELECT environment_id FROM versions WHERE id = ?", version_id)[0][0]
        return value

    def _newest_first(self, name: str, limit: int, after: str | None) -> tuple[EnvironmentVersion, ...]:
        if after is not None and not after.isdecimal():
            raise InvalidInput(
                f"`{after[:40]}` is not where a page begins", hint="give `next` of the page before", code="bad_cursor"
            )
        environment_id = self._environment_id(self.get(Reference(name=name)).id)
        rows = self._database.rows(
            f"{VERSIONS} WHERE v.environment_id = ? AND v.id < ? ORDER BY v.id DESC LIMIT ?",
            environment_id, int(after) if after else 2**62, limit,
        )  # fmt: skip
        return tuple(EnvironmentVersion.from_row(row) for row in rows)

    def _set_archived(self, target: Reference, moment: str | None) -> EnvironmentVersion:
        with self._database.write():
            found = self._own(target)
            environment_id = self._environment_id(found.id)
            table, row_id = ("environments", environment_id) if _is_name(target) else ("versions", found.id)
            value = "coalesce(archived, ?)" if moment else "?"
            self._database.execute(f"UPDATE {table} SET archived = {value} WHERE id = ?", moment, row_id)  # noqa: S608 - constants
            if environment_id is not None:
                if _is_name(target) and moment is None and self._all_archived(environment_id):
                    self._database.execute("UPDATE versions SET archived = NULL WHERE id = ?", found.id)
                registration.settle(self._database, environment_id)
            return self.by_id(found.id)

    def _all_archived(self, environment_id: int) -> bool:
        query = "SELECT 1 FROM versions WHERE environment_id = ? AND archived IS NULL LIMIT 1"
        return self._database.row(query, environment_id) is None


def _is_name(reference: Reference) -> bool:
    return reference.name is not None and reference.version is None and reference.label is None
