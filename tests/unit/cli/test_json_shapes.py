"""The shape of every JSON document, frozen: what scripts read must not change unseen."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.support.cli import Cli

GOLDEN = Path(__file__).parents[2] / "golden" / "json"
UPDATE = os.environ.get("WARDIAN_UPDATE_GOLDEN") == "1"
SCRIPT = "open('outputs/a', 'w').write('1')\nopen('new', 'w').write('1')\nprint('hello')\n"


def shape(value: Any) -> Any:
    """Return the keys and types of ``value``; of a list the shape of its first item stands for all."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null"}[type(value)]


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What each command prints with --json, in a session that has something to show."""
    place = tmp_path_factory.mktemp("shapes")
    cli = Cli.at(place)
    cli.variables |= {"WARDIAN_OFFLINE": "1", "JUPYTER_DATA_DIR": str(place / "jupyter")}
    found: dict[str, Any] = {}

    def call(*arguments: str, name: str = "", **options: Any) -> Any:
        words = [word for word in arguments if not word.startswith("-")]
        found[name or "-".join(words[: 2 if words[0] in ("env", "runs", "workspace", "secret", "config") else 1])] = (
            document := cli.json(*arguments, **options)
        )
        return document

    cli.write("a.py", SCRIPT)
    cli.write("data", "1")
    (cli.cache / "prefixes" / ("0" * 32)).mkdir(parents=True)
    call("workspace", "create", "paper")
    call("workspace", "use", "paper")
    call("workspace", "list")
    call("workspace", "show")
    cli.ok("workspace", "use", "default")
    call("workspace", "delete", "paper")
    call("secret", "set", "team", "--url", "https://team.example.org", stdin="x")
    call("secret", "list")
    call("secret", "delete", "team")
    call("config", "set", "timeout_s", "20")
    call("config", "show", "timeout_s")
    call("config", "unset", "timeout_s")
    call("env", "create", "host", "--interpreter", sys.executable, "--tag", "a=b", "--description", "d")
    cli.ok("env", "create", "host", "--from", "host", "-V", "A=1")
    call("env", "list")
    call("env", "show", "host")
    call("env", "history", "host")
    call("env", "diff", "host:1", "host:2")
    call("env", "hash", "host")
    call("env", "label", "host:1", "stable")
    call("env", "update", "host", "--description", "e")
    call("env", "archive", "host:1")
    call("env", "restore", "host:1")
    call("run", "-e", "host", "-V", "SEED=1", "--input", "data=data", "a.py")
    call("runs", "list")
    call("runs", "show", "latest")
    call("runs", "logs", "latest")
    call("runs", "wait", "latest")
    call("runs", "export", "latest", "-o", "a.wardian")
    call("runs", "reproduce", "latest")
    call("runs", "delete", "latest", "--yes")
    call("shell", "host", "--kernel", name="shell-kernel")
    call("shell", "host", "--remove-kernel", name="shell-remove-kernel")
    call("gc")
    call("gc", "--prefix", "000000", name="gc-prefix")
    call("doctor")
    cli.ok("runs", "delete", "latest", "--yes")
    cli.ok("env", "label", "host", "stable", "--remove")
    call("env", "delete", "host", "--yes")
    return found


NAMES = [
    "config-set", "config-show", "config-unset", "doctor", "env-archive", "env-create", "env-delete", "env-diff", "env-hash", "env-history",
    "env-label", "env-list", "env-restore", "env-show", "env-update", "gc", "gc-prefix", "run", "runs-delete", "runs-export", "runs-list",
    "runs-logs", "runs-reproduce", "runs-show", "runs-wait", "secret-delete", "secret-list", "secret-set", "shell-kernel", "shell-remove-kernel",
    "workspace-create", "workspace-delete", "workspace-list", "workspace-show", "workspace-use",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_the_document_has_the_shape_that_it_had(documents: dict[str, Any], name: str) -> None:
    """Changed on purpose? WARDIAN_UPDATE_GOLDEN=1 writes them anew."""
    golden = GOLDEN / f"{name}.json"
    found = shape(documents[name])
    if UPDATE:
        golden.parent.mkdir(parents=True, exist_ok=True)
        golden.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    assert found == json.loads(golden.read_text(encoding="utf-8"))


def test_nothing_is_left_out(documents: dict[str, Any]) -> None:
    assert set(documents) == set(NAMES) == {path.stem for path in GOLDEN.glob("*.json")}


def test_keys_are_snake_case_and_times_are_rfc_3339(documents: dict[str, Any]) -> None:
    import re

    data = (
        "results.inputs",
        "results.variables",
        "configuration.inputs",
        "configuration.variables",
        "tags",
        "definition",
        "hashed",
        "observed",
    )

    def look(value: Any, place: str) -> None:
        if isinstance(value, list):
            for item in value:
                look(item, place)
        if not isinstance(value, dict) or place.endswith(data):
            return
        for key, item in value.items():
            assert re.fullmatch(r"[a-z][a-z0-9_]*", key), f"{place}.{key}"
            if (
                key in ("queued", "preparing", "running", "ended", "created", "changed", "last_used")
                and isinstance(item, str)
                and "." in place
            ):
                assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", item), f"{place}.{key}: {item}"
            look(item, f"{place}.{key}")

    for name, document in documents.items():
        look(document, name)
