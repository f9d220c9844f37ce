"""The JSON Schema of Wardian's own YAML, as packaged data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

SCHEMA_URL = "https://wardian.dev/schemas/wardian.schema.json"


def schema_path() -> Path:
    """Return the path of the schema on this machine, for editors that are told of schemas by setting."""
    return Path(__file__).parent.parent / "schemas" / "wardian.schema.json"


def load_schema() -> dict[str, Any]:
    """Return the schema as plain values."""
    import json

    loaded: dict[str, Any] = json.loads(schema_path().read_text(encoding="utf-8"))
    return loaded
