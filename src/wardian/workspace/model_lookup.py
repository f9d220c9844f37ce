"""From a reference to a version of a model; and where there is none, an error that says what there is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardian.definition.reference import Reference
from wardian.errors import InvalidReference, NotFound
from wardian.workspace.label_book import OF_MODELS
from wardian.workspace.model_version import LATEST, MODELS, ModelVersion
from wardian.workspace.resolution import closest

if TYPE_CHECKING:
    import sqlite3

    from wardian.workspace.database import Database

_NEIGHBOURS = 500


def find_model(database: Database, reference: str | Reference) -> ModelVersion | None:
    """Return the version that ``reference`` means: NAME, NAME:VERSION or NAME@LABEL, ``model:`` before it or not; None: there is none.

    Raises:   InvalidReference: malformed, or of something else than a model.
    """
    row = _row(database, _parsed(reference))
    return ModelVersion.from_row(row) if row is not None else None


def get_model(database: Database, reference: str | Reference) -> ModelVersion:
    """Return the version that ``reference`` means.

    Raises:   NotFound: ``model_not_found``, ``model_version_not_found``, ``model_label_not_found``.  InvalidReference.
    """
    parsed = _parsed(reference)
    found = find_model(database, parsed)
    if found is None:
        raise missing(database, parsed)
    return found


def _parsed(reference: str | Reference) -> Reference:
    parsed = Reference.parse_model(reference) if isinstance(reference, str) else reference
    if parsed.model is None:
        raise InvalidReference(f"`{parsed}` is not the reference of a model", hint="write NAME, NAME:VERSION or NAME@LABEL")
    return parsed


def _row(database: Database, reference: Reference) -> sqlite3.Row | None:
    if reference.version is not None:
        return database.row(f"{MODELS} WHERE n.name = ? AND m.version = ?", reference.model, reference.version)
    if reference.label is not None:
        labelled = (
            "SELECT l.model_id FROM model_names o JOIN model_labels l ON l.name_id = o.id WHERE o.name = ? AND l.label = ?"
        )
        return database.row(f"{MODELS} WHERE m.id = ({labelled})", reference.model, reference.label)
    return database.row(f"{LATEST} WHERE n.name = ?", reference.model)


def missing(database: Database, reference: Reference) -> NotFound:
    """Return the error for a reference that means no model here: it names what comes close."""
    name = reference.model or ""
    latest = database.row(f"{LATEST} WHERE n.name = ?", name)
    if latest is None:
        close = closest(name, _neighbours(database, name))
        hint = f"did you mean {' or '.join(f'`{n}`' for n in close)}?" if close else "`wardian model list` shows what there is"
        return NotFound(f"there is no model `{name}`", hint=hint, code="model_not_found")
    if reference.label is not None:
        return label_missing(database, name, reference.label)
    return NotFound(f"model `{name}` has no version `{reference.version}`", code="model_version_not_found",
                    hint=f"the latest is {latest['version']}; see `wardian model list {name}`")  # fmt: skip


def label_missing(database: Database, name: str, label: str) -> NotFound:
    """Return the error for a label that no version of the model has: it names those that there are."""
    row = database.row("SELECT id FROM model_names WHERE name = ?", name)
    known = OF_MODELS.known(database, row["id"]) if row else ""
    hint = f"its labels: {known}" if known else f"it has none; `wardian model label {name}:VERSION {label}` gives it"
    return NotFound(f"no version of model `{name}` has the label `{label}`", hint=hint, code="model_label_not_found")


def _neighbours(database: Database, name: str) -> list[str]:
    named = "SELECT name FROM model_names WHERE name {} ? AND latest_id IS NOT NULL ORDER BY name {} LIMIT ?"
    after = database.rows(named.format(">=", "ASC"), name, _NEIGHBOURS)
    before = database.rows(named.format("<", "DESC"), name, _NEIGHBOURS)
    return [row[0] for row in (*after, *before)]
