"""Findings as SARIF 2.1.0, which code hosts and editors show beside the lines."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from wardian.lint.registry import RULES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wardian.lint.finding import Finding

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def sarif(findings: Sequence[Finding], *, version: str) -> dict[str, Any]:
    """Return ``findings`` as one SARIF log with one run.

    Args:     version: Wardian's.
    Source:   OASIS, Static Analysis Results Interchange Format 2.1.0
    """
    rules: dict[str, dict[str, Any]] = {}
    for one in findings:
        known = RULES.get(one.id)
        rules.setdefault(one.id, {
            "id": one.id,
            "shortDescription": {"text": known.finds if known else one.message},
            "fullDescription": {"text": one.why},
            "help": {"text": known.fix if known else one.fix},
            "defaultConfiguration": {"level": known.severity if known else one.severity},
        })  # fmt: skip
    order = list(rules)
    driver = {"name": "Wardian", "version": version, "informationUri": "https://wardian.dev", "rules": list(rules.values())}
    results = [_result(one, order.index(one.id)) for one in findings]
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}


def _result(one: Finding, index: int) -> dict[str, Any]:
    physical: dict[str, Any] = {"artifactLocation": {"uri": _uri(one.file)}}
    if one.line is not None:
        physical["region"] = {"startLine": one.line}
    location: dict[str, Any] = {"physicalLocation": physical}
    if one.field:
        location["logicalLocations"] = [{"fullyQualifiedName": one.field}]
    return {"ruleId": one.id, "ruleIndex": index, "level": one.severity, "message": {"text": f"{one.message}. Fix: {one.fix}"},
            "locations": [location]}  # fmt: skip


def _uri(file: str) -> str:
    path = PurePath(file)
    return path.as_uri() if path.is_absolute() else quote(path.as_posix())
