"""Of what kind each value in the document of a run configuration is: what people and programs write is checked by name."""

from __future__ import annotations

from typing import Any

from wardian.errors import InvalidInput

_RESOURCES = ("cpus", "memory_bytes", "gpus", "nodes")
_NEEDED = ("schema", "command", "command.kind", "command.name")
_NUMBER = (int, float)
_KINDS: dict[str, tuple[type | tuple[type, ...], str]] = {
    "schema": (int, "a whole number"),
    "command": (dict, "an object with `kind`, `name` and `arguments`"),
    "command.kind": (str, "text"),
    "command.name": (str, "text"),
    "command.arguments": (list, "a list of texts"),
    "command.hidden": (list, "a list of positions"),
    "command.runner": (list, "a list of texts"),
    "environment": (str, "text"),
    "source": (str, "a path"),
    "inputs": (dict, "an object: NAME → path"),
    "variables": (dict, "an object: NAME → text or null"),
    "experiment": (str, "text"),
    "target": (str, "text"),
    "timeout_s": (_NUMBER, "a number of seconds"),
    "resources": (dict, f"an object with {', '.join(f'`{name}`' for name in _RESOURCES)}"),
    **{f"resources.{name}": (_NUMBER, "a number") for name in _RESOURCES},
    "options": (dict, "an object: NAME → text"),
    "with_packages": (list, "a list of requirements"),
    "outputs": (list, "a list of names"),
    "digest_inputs": (bool, "true or false"),
    "reproduces": (str, "the id of a run"),
}


def check_kinds(document: Any, newest_schema: int) -> None:
    """Check that ``document`` has what a run configuration needs, and each of it of the kind that it must be.

    Raises:   InvalidInput: ``bad_run_configuration``; the message names the field, its value, and what it must be.
              ``newer_run_configuration``: its schema is newer than ``newest_schema``.
    """
    if not isinstance(document, dict):
        raise _invalid("this is not a run configuration: it is no JSON object")
    for name, (kind, words) in _KINDS.items():
        section, _, key = name.rpartition(".")
        where = document.get(section) if section else document
        value = where.get(key) if where else None
        if value is None and name in _NEEDED:
            raise _invalid(f"the run configuration has no `{name}`")
        if value is not None and (not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)):
            raise _invalid(f"`{name}` of the run configuration is `{str(value)[:80]}`: it must be {words}")
        if name == "schema" and isinstance(value, int) and value > newest_schema:
            raise InvalidInput(f"the run configuration has schema {value}, this Wardian reads up to {newest_schema}",
                               hint="use a newer Wardian", code="newer_run_configuration")  # fmt: skip
    for unknown in (document.get("resources") or {}).keys() - _RESOURCES:
        raise _invalid(f"`resources` of the run configuration has no `{unknown}`")


def _invalid(message: str) -> InvalidInput:
    return InvalidInput(message, code="bad_run_configuration")
