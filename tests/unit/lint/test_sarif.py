"""SARIF 2.1.0: what its schema asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest

from wardian.lint import lint_file, lint_text
from wardian.lint.sarif import sarif

DATA = Path(__file__).parents[2] / "data" / "lint"
_TEXT = {"type": "object", "required": ["text"], "properties": {"text": {"type": "string", "minLength": 1}}}
# what the schema of SARIF 2.1.0 says of the parts that we write; none may have other properties there
_RULE = {
    "type": "object", "required": ["id"], "additionalProperties": False,
    "properties": {
        "id": {"type": "string"}, "shortDescription": _TEXT, "fullDescription": _TEXT, "help": _TEXT,
        "defaultConfiguration": {"properties": {"level": {"enum": ["none", "note", "warning", "error"]}}, "additionalProperties": False},
    },
}  # fmt: skip
_LOCATION = {
    "type": "object", "additionalProperties": False,
    "properties": {
        "physicalLocation": {
            "type": "object", "required": ["artifactLocation"], "additionalProperties": False,
            "properties": {
                "artifactLocation": {"required": ["uri"], "properties": {"uri": {"type": "string", "pattern": r"^[!#-;=?-\[\]_a-z~%]+$"}}},
                "region": {"required": ["startLine"], "properties": {"startLine": {"type": "integer", "minimum": 1}}},
            },
        },
        "logicalLocations": {"type": "array", "uniqueItems": True, "items": {"required": ["fullyQualifiedName"]}},
    },
}  # fmt: skip
SCHEMA: dict[str, Any] = {
    "type": "object", "required": ["version", "runs"], "additionalProperties": False,
    "properties": {
        "$schema": {"type": "string", "format": "uri"},
        "version": {"enum": ["2.1.0"]},
        "runs": {"type": "array", "minItems": 1, "items": {
            "type": "object", "required": ["tool"], "additionalProperties": False,
            "properties": {
                "tool": {"type": "object", "required": ["driver"], "properties": {"driver": {
                    "type": "object", "required": ["name"], "additionalProperties": False,
                    "properties": {
                        "name": {"type": "string"}, "version": {"type": "string"}, "informationUri": {"type": "string", "format": "uri"},
                        "rules": {"type": "array", "uniqueItems": True, "items": _RULE},
                    },
                }}},
                "results": {"type": "array", "items": {
                    "type": "object", "required": ["message"], "additionalProperties": False,
                    "properties": {
                        "ruleId": {"type": "string"}, "ruleIndex": {"type": "integer", "minimum": 0},
                        "level": {"enum": ["none", "note", "warning", "error"]}, "message": _TEXT,
                        "locations": {"type": "array", "items": _LOCATION},
                    },
                }},
            },
        }},
    },
}  # fmt: skip


@pytest.mark.parametrize("path", sorted(DATA.glob("*/bad.*")), ids=lambda path: path.parent.name)
def test_findings_of_every_rule_are_sarif(path: Path) -> None:
    findings = lint_file(path).findings if path.suffix != ".json" else ()
    document = sarif(findings, version="1")
    jsonschema.validate(document, SCHEMA)
    run = document["runs"][0]
    rules = run["tool"]["driver"]["rules"]
    assert len(run["results"]) == len(findings)
    assert [rules[result["ruleIndex"]]["id"] for result in run["results"]] == [one.id for one in findings]


def test_a_log_without_findings_says_so() -> None:
    document = sarif((), version="1")
    jsonschema.validate(document, SCHEMA)
    assert document["runs"][0]["results"] == []


def test_names_become_uris() -> None:
    findings = lint_text("numpy\n", "requirements", file="my envs/a:3").findings
    location = sarif(findings, version="1")["runs"][0]["results"][0]["locations"][0]["physicalLocation"]
    assert location["artifactLocation"]["uri"] == "my%20envs/a%3A3"
    assert location["region"]["startLine"] == 1
