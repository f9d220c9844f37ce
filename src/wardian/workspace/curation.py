"""Curated environments in a workspace: brought into its records when they are first asked for, pinned to the catalogue's locks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardian.definition.reference import CURATED_PREFIX, Reference, is_curated_name
from wardian.errors import Conflict, NotFound
from wardian.workspace.locks import Locks
from wardian.workspace.registration import Registration, add_version

if TYPE_CHECKING:
    import sqlite3

    from wardian.curated.catalogue import Catalogue
    from wardian.curated.entry import Entry
    from wardian.workspace.database import Database

ORIGIN = "curated"
_AZURE_PREFIX = "azureml-"


class Curation:
    """What the catalogue adds to the records of a workspace. A name that is not curated costs nothing here."""

    def __init__(self, database: Database, catalogue: Catalogue) -> None:
        self._database = database
        self._catalogue = catalogue

    def resolve(self, reference: Reference) -> Reference:
        """Return ``reference``; one that means a curated environment has been brought into the records, and names its version.

        Raises:   DamagedCatalogue.  Denied: the records can only be read, and it was never used here.  Conflict: code ``reserved_name``,
                  ``curated_differs``: the records have something else under this name and version.
        """
        name = reference.name
        if name is None or not is_curated_name(name) or not (entries := self._catalogue.versions(name)):
            return reference
        rows = self._database.rows(
            "SELECT v.version, v.id, v.kind, v.definition_hash, v.source_text FROM versions v JOIN environments e ON e.id = v.environment_id"
            " WHERE e.name = ?",
            name,
        )
        known = {row["version"]: row for row in rows}
        plain = reference.version is None and reference.label is None
        for entry in reversed(entries):
            if entry.version not in known:
                self._bring(entry)
            elif entry.version == (entries[0].version if plain else reference.version):
                self._check_same(entry, known[entry.version])
        return Reference(name=name, version=entries[0].version) if plain else reference

    def _bring(self, entry: Entry) -> None:
        moment = f"{entry.published}T00:00:00Z"
        with self._database.write():
            locks = Locks(self._database)
            asked = Registration(entry.environment(), entry.version, ("wardian", entry.source()), curated=True)
            version, _ = add_version(self._database, asked, moment)
            for platform in entry.locks:
                if (lock := entry.lock(platform)) is not None:
                    locks.put(lock)
                    locks.pin(version.id, platform, lock.digest, ORIGIN)

    def _check_same(self, entry: Entry, row: sqlite3.Row) -> None:
        """Raise if what the records have is not what the catalogue says: nobody is given the one for the other."""
        reference, had = entry.reference, row["definition_hash"][:12]
        if row["kind"] != ORIGIN:
            raise Conflict(f"`{reference}` of this workspace is nobody's curated one: it was made before `{CURATED_PREFIX}` was kept for those",
                           code="reserved_name", hint=f"`wardian env create NAME --from @{had}` keeps it under another name; `wardian env delete {reference} --yes` makes room")  # fmt: skip
        pins = {pin.platform: pin.lock_digest for pin in Locks(self._database).pins(row["id"])}
        same_locks = all(pins.get(platform, digest) == digest for platform, digest in entry.locks.items())
        if row["definition_hash"] != entry.definition_hash or not same_locks or row["source_text"] != entry.source():
            raise Conflict(f"{reference} came into this workspace from another catalogue, with other content than in {entry.place}",
                           code="curated_differs", hint="versions never change: publish the change as the next version; or use this catalogue in another "
                           f"workspace (WARDIAN_WORKSPACE); `@{had}` is what is here")  # fmt: skip

    def hint(self, name: str) -> str | None:
        """Return which curated environment is the nearest to a name that means nothing here; None: none comes close."""
        found = self._catalogue.nearest(name)
        if found is None:
            return None
        held = [
            *(f"{framework} {version}" for framework, version in found.frameworks.items()),
            f"Python {found.python}",
            found.accelerator,
        ]
        return f"the nearest curated one is `{found.name}` ({', '.join(held)})"

    def instead(self, error: NotFound, name: str) -> NotFound:
        """Return ``error``, about a name that means nothing here, with what comes close among the curated ones."""
        ours = is_curated_name(name)
        parts = [self.hint(name), "`wardian env list --kind curated` shows all" if ours else error.hint]
        return NotFound(error.message, hint="; ".join(part for part in parts if part), code=error.stable_code)


def is_foreign(name: str) -> bool:
    """Return whether ``name`` is one that a catalogue could have: ours, or that of Azure ML."""
    return is_curated_name(name) or name.lower().startswith(_AZURE_PREFIX)


def refuse_change(name: str | None) -> None:
    """Raise if ``name`` is a curated environment's: nobody changes those.

    Raises:   Conflict: code ``curated_read_only``.
    """
    if name is not None and is_curated_name(name):
        raise Conflict(f"`{name}` is curated: it is the same for everybody, and nobody changes it", code="curated_read_only",
                       hint=f"`wardian env create NAME --from {name}` makes an environment of yours of it; any name without `{CURATED_PREFIX}`")  # fmt: skip
