"""From a reference to a version; and where there is none, an error that says what there is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardian.definition.reference import Reference, azure_hint, file_hint, is_curated_name, is_file_reference
from wardian.errors import Conflict, InvalidReference, NotFound
from wardian.workspace.label_book import OF_ENVIRONMENTS
from wardian.workspace.version import LATEST, VERSIONS, EnvironmentVersion

if TYPE_CHECKING:
    import sqlite3

    from wardian.workspace.database import Database

_SHOWN = 10
_NEIGHBOURS = 500


def parsed(reference: str | Reference) -> Reference:
    """Return ``reference`` as a value; one that means a version of this workspace.

    Raises:   InvalidReference: malformed, or ``run:ID``, ``model:NAME`` or ``endpoint:NAME``, which only those can answer.
    """
    found = Reference.parse(reference) if isinstance(reference, str) else reference
    if found.run_id is not None:
        raise InvalidReference(f"`{found}` is a run, and a version of an environment is needed here",
                               hint=f"`wardian runs show {found.run_id}` names the run's environment")  # fmt: skip
    if found.model is not None:
        raise InvalidReference(f"`{found}` is a model, and a version of an environment is needed here",
                               hint=f"`wardian model show {str(found).removeprefix('model:')}` names the model's environment")  # fmt: skip
    if found.endpoint is not None:
        raise InvalidReference(f"`{found}` is an endpoint, and a version of an environment is needed here",
                               hint=f"`wardian endpoint show {found.endpoint}` names the endpoint's environment")  # fmt: skip
    return found


def find_version(database: Database, reference: Reference) -> EnvironmentVersion | None:
    """Return the version that ``reference`` means, archived or not; None: there is none.

    Raises:   Conflict: several definition hashes begin with the digits given.
    """
    row = _row(database, reference)
    return EnvironmentVersion.from_row(row) if row else None


def get_version(database: Database, reference: Reference) -> EnvironmentVersion:
    """Return the version that ``reference`` means.

    Raises:   NotFound: none; the hint names what comes close.  Conflict: an ambiguous hash.
    """
    found = find_version(database, reference)
    if found is None:
        raise missing(database, reference)
    return found


def _row(database: Database, reference: Reference) -> sqlite3.Row | None:
    if reference.hash_prefix is not None:
        full = _full_hash(database, reference.hash_prefix)
        return _of_hash(database, full) if full else None
    if reference.version is not None:
        return database.row(f"{VERSIONS} WHERE e.name = ? AND v.version = ?", reference.name, reference.version)
    if reference.label is not None:
        labelled = (
            "SELECT l.version_id FROM environments n JOIN labels l ON l.environment_id = n.id WHERE n.name = ? AND l.label = ?"
        )
        return database.row(f"{VERSIONS} WHERE v.id = ({labelled})", reference.name, reference.label)
    return database.row(f"{LATEST} WHERE e.name = ?", reference.name)


def _full_hash(database: Database, prefix: str) -> str | None:
    found: list[str] = []
    start, end = prefix, prefix + "g"  # `g` follows all hexadecimal digits
    # one seek for each hash, however many versions share it
    while len(found) <= _SHOWN and (
        row := database.row(
            "SELECT definition_hash FROM versions WHERE definition_hash >= ? AND definition_hash < ? ORDER BY definition_hash LIMIT 1",
            start,
            end,
        )
    ):
        found.append(row[0])
        start = row[0] + "g"
    if len(found) > 1:
        shown = ", ".join(f"@{value[:12]}" for value in found[:_SHOWN]) + (" …" if len(found) > _SHOWN else "")
        raise Conflict(f"several definitions begin with `@{prefix}`: {shown}", hint="give more digits", code="ambiguous_hash",
                       details={"hashes": found[:_SHOWN]})  # fmt: skip
    return found[0] if found else None


def _of_hash(database: Database, definition_hash: str) -> sqlite3.Row | None:
    # `@…` is what an anonymous definition was called when it was used: that one first, with its own variables
    anonymous = "WHERE v.definition_hash = ? AND v.environment_id IS NULL ORDER BY v.id DESC LIMIT 1"
    named = "WHERE v.definition_hash = ? ORDER BY v.id DESC LIMIT 1"
    return database.row(f"{VERSIONS} {anonymous}", definition_hash) or database.row(f"{VERSIONS} {named}", definition_hash)


def missing(database: Database, reference: Reference) -> NotFound:
    """Return the error for a reference that means nothing here: it names what comes close."""
    if reference.hash_prefix is not None:
        return NotFound(f"no definition here has a hash that begins with `{reference.hash_prefix}`",
                        hint="`wardian env list` shows what there is; `wardian env hash FILE` computes a file's",
                        code="environment_hash_not_found")  # fmt: skip
    name = reference.name or ""
    latest = database.row("SELECT v.version FROM environments e JOIN versions v ON v.id = e.latest_id WHERE e.name = ?", name)
    if latest is None:
        return _name_missing(database, name)
    if reference.label is not None:
        return label_missing(database, name, reference.label)
    return NotFound(f"environment `{name}` has no version `{reference.version}`",
                    hint=f"the latest is {latest[0]}; see `wardian env history {name}`",
                    code="environment_version_not_found")  # fmt: skip


def label_missing(database: Database, name: str, label: str) -> NotFound:
    """Return the error for a label that no version of ``name`` has: it names those that there are."""
    row = database.row("SELECT id FROM environments WHERE name = ?", name)
    known = OF_ENVIRONMENTS.known(database, row["id"]) if row else ""
    none = f"`wardian env label {name}:VERSION {label}` gives it"
    if is_curated_name(name):
        none = f"a curated one has versions alone: `wardian env history {name}`"
    hint = f"its labels: {known}" if known else f"it has none; {none}"
    return NotFound(
        f"no version of environment `{name}` has the label `{label}`", hint=hint, code="environment_label_not_found"
    )


def _name_missing(database: Database, name: str) -> NotFound:
    close = closest(name, [one for one in _neighbours(database, name) if not is_curated_name(one)])
    if not close and name.lower().startswith("azureml-"):
        return NotFound(f"there is no environment `{name}`: Azure ML's curated ones are in its service", hint=azure_hint(name),
                        code="environment_not_found")  # fmt: skip
    if not close and is_file_reference(name):
        return NotFound(f"there is no environment `{name}`", hint=file_hint(name), code="environment_not_found")
    hint = f"did you mean {' or '.join(f'`{n}`' for n in close)}?" if close else "`wardian env list` shows what there is"
    return NotFound(f"there is no environment `{name}`", hint=hint, code="environment_not_found")


def _neighbours(database: Database, name: str) -> list[str]:
    # comparing with all names of a large workspace takes seconds; those around it in the alphabet are nearly always enough
    after = database.rows("SELECT name FROM environments WHERE name >= ? ORDER BY name LIMIT ?", name, _NEIGHBOURS)
    before = database.rows("SELECT name FROM environments WHERE name < ? ORDER BY name DESC LIMIT ?", name, _NEIGHBOURS)
    return [row[0] for row in (*after, *before)]


def closest(wanted: str, names: list[str]) -> list[str]:
    """Return up to three of ``names`` that are spelled like ``wanted``, the closest first; upper and lower case count alike."""
    from difflib import get_close_matches

    spelled = {name.lower(): name for name in reversed(names)}
    return [spelled[match] for match in get_close_matches(wanted.lower(), spelled, n=3)]
