"""The shape of every JSON document, frozen: what scripts read must not change unseen."""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.base_images import put_image, tar
from tests.support.cli import Cli
from tests.support.endpoints import end_endpoints
from tests.support.index import Index
from tests.support.wheels import make_wheel

from wardian.image.layout import LayoutImageStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.pythons import Catalogue

GOLDEN = Path(__file__).parents[2] / "golden" / "json"
UPDATE = os.environ.get("WARDIAN_UPDATE_GOLDEN") == "1"
SCRIPT = "open('outputs/a', 'w').write('1')\nopen('new', 'w').write('1')\nprint('hello')\n"


def shape(value: Any) -> Any:
    """Return the keys and types of ``value``; of a list the shape of its first item stands for all."""
    if isinstance(value, dict):
        of_machine = ("r",) if "observed" in value else ()  # whether R is here is no matter of ours
        return {key: "object or null" if key in of_machine else shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null"}[type(value)]


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory, python_catalogue: Catalogue) -> dict[str, Any]:
    """What each command prints with --json, in a session that has something to show."""
    place = tmp_path_factory.mktemp("shapes")
    cli = Cli.at(place)
    cli.variables |= {"WARDIAN_OFFLINE": "1", "JUPYTER_DATA_DIR": str(place / "jupyter")}
    found: dict[str, Any] = {}

    def call(*arguments: str, name: str = "", **options: Any) -> Any:
        words = [word for word in arguments if not word.startswith("-")]
        found[
            name
            or "-".join(
                words[: 2 if words[0] in ("env", "runs", "workspace", "secret", "config", "target", "model", "endpoint") else 1]
            )
        ] = (document := cli.json(*arguments, **options))
        if isinstance(document, dict) and isinstance(document.get("replicas"), list):  # those on their way out answer no more
            document["replicas"].sort(key=lambda replica: replica["served"] is None)
        return document

    cli.write("a.py", SCRIPT)
    cli.write("data", "1")
    call("workspace", "create", "paper")
    call("workspace", "use", "paper")
    call("workspace", "list")
    call("workspace", "show")
    cli.ok("workspace", "use", "default")
    call("workspace", "delete", "paper")
    call("secret", "set", "team", "--url", "https://team.example.org", stdin="x")
    call("secret", "list")
    call("secret", "delete", "team")
    call("target", "create", "big", "--kind", "podman", "--option", "shm=16G")
    call("target", "list")
    call("target", "list", "--kinds", name="target-list-kinds")
    call("target", "show", "big")
    call("target", "check", "local")
    call("target", "delete", "big")
    call("config", "set", "timeout_s", "20")
    call("config", "show", "timeout_s")
    call("config", "unset", "timeout_s")
    call("env", "create", "host", "--interpreter", sys.executable, "--tag", "a=b", "--description", "d")
    cli.ok("env", "create", "host", "--from", "host", "-V", "A=1")
    call("env", "list")
    call("env", "show", "host")
    call("env", "history", "host")
    call("env", "list", "--kind", "curated", name="env-list-curated")
    call("env", "diff", "host:1", "host:2")
    call("env", "hash", "host")
    cli.write("lint.yml", "channels: [conda-forge]\ndependencies: [python=3.12, numpy]\nprefix: /home/ada/x\n")
    call("env", "lint", "lint.yml", "--fix")
    call("env", "label", "host:1", "stable")
    call("env", "update", "host", "--description", "e")
    call("env", "archive", "host:1")
    call("env", "restore", "host:1")
    call("run", "-e", "host", "-V", "SEED=1", "--input", "data=data", "a.py")
    cli.write(
        "m/MLmodel",
        "flavors: {sklearn: {}}\nsignature: {inputs: '[]'}\nsaved_input_example_info: {artifact_path: e.json, type: ndarray}\n",
    )
    cli.write("m/e.json", "[]")
    call("model", "create", "m", "m", "--run", "latest", "--tag", "a=b")
    call("model", "list")
    call("model", "show", "m")
    call("model", "label", "m", "best")
    call("model", "label", "m", "best", "--history", name="model-label-history")
    call("model", "label", "m", "best", "--remove", name="model-label-remove")
    call("model", "update", "m", "--description", "d")
    call("model", "download", "m", "-o", "copy")
    _about_endpoints(cli, call)
    call("runs", "list")
    call("runs", "show", "latest")
    call("runs", "logs", "latest")
    call("runs", "wait", "latest")
    call("runs", "export", "latest", "-o", "a.wardian")
    call("runs", "reproduce", "latest")
    call("runs", "delete", "latest", "--yes")
    call("model", "delete", "m", "--yes")
    call("shell", "host", "--kernel", name="shell-kernel")
    call("shell", "host", "--remove-kernel", name="shell-remove-kernel")
    (cli.cache / "prefixes" / ("0" * 32)).mkdir(parents=True, exist_ok=True)
    call("gc")
    call("gc", "--prefix", "000000", name="gc-prefix")
    call("doctor")
    cli.ok("runs", "delete", "latest", "--yes")
    cli.ok("env", "label", "host", "stable", "--remove")
    call("env", "delete", "host", "--yes")
    with Index(place / "index") as index:
        return found | _about_images(place / "images", index, python_catalogue)


def _about_endpoints(cli: Cli, call: Callable[..., Any]) -> None:
    cli.write("score.py", "def init():\n    pass\n\ndef run(data):\n    return 1\n")
    cli.write("requests.jsonl", "[1]\n")
    try:
        call("deploy", "churn", "-m", "m", "--entry", "score.py", "-V", "A=1")
        call("endpoint", "list")
        call("endpoint", "show", "churn")
        call("endpoint", "score", "churn", "[1]")
        call("endpoint", "bench", "churn", "--requests", "requests.jsonl")
        call("endpoint", "logs", "churn")
        call("endpoint", "update", "churn", "-V", "A=2")
        call("endpoint", "rollback", "churn")
        call("endpoint", "restart", "churn")
        call("endpoint", "scale", "churn", "1")
        call("endpoint", "key", "rotate", "churn", name="endpoint-key-rotate")
        call("endpoint", "key", "drop", "churn", name="endpoint-key-drop")
        call("endpoint", "delete", "churn", "--yes")
    finally:
        end_endpoints(cli.home)


def _about_images(place: Path, index: Index, pythons: Catalogue) -> dict[str, Any]:
    """What the commands print that need packages, a base image and a registry: an index on loopback, and directories."""
    for name, version in (("alpha", "1.0"), ("starlette", "0.40.0"), ("uvicorn", "0.30.0")):
        index.add(make_wheel(place / "wheels", name, version), datetime(2024, 1, 1, tzinfo=UTC))
    put_image(LayoutImageStore(place / "base"), [tar(("etc/os-release", b"ID=test"))])
    cli = Cli.at(place, index_url=index.url)
    cli.variables |= {
        "WARDIAN_PYTHON_DOWNLOADS": str(pythons.path), "WARDIAN_BASE_IMAGE": f"oci:{place / 'base'}", "WARDIAN_IMAGE_BYTE_CODE": "0"
    }  # fmt: skip
    cli.write("requirements.txt", "alpha\nstarlette\nuvicorn\n")
    cli.ok("env", "create", "a", "-r", "requirements.txt")
    found: dict[str, Any] = {"image-show-none": cli.json("image", "show", "a")}
    found["env-lock"] = cli.json("env", "lock", "a")
    found["env-tree"] = cli.json("env", "tree", "a")
    found["env-build"] = cli.json("env", "build", "a")
    found["env-verify"] = cli.json("env", "verify", "a")
    found["env-build-image"] = cli.json("env", "build", "a", "--image")
    found["image-show"] = cli.json("image", "show", "a")
    found["image-copy"] = cli.json("image", "copy", "a", f"oci:{place / 'copy'}:a")
    cli.write("m.joblib", "weights")
    cli.ok("model", "create", "m", "m.joblib")
    found["model-package"] = cli.json("model", "package", "m", "-e", "a")
    cli.ok("env", "add", "a", "alpha==1.0")
    cli.ok("env", "build", "a", "--image")
    found["image-diff"] = cli.json("image", "diff", "a:1", "a:2")
    found["build-list"] = cli.json("build", "list", "--kind", "image")
    found["build-show"] = cli.json("build", "show", found["build-list"]["builds"][0]["id"])
    found["build-logs"] = cli.json("build", "logs", found["build-show"]["id"])
    cli.write("environment.yml", "channels: [c]\nprefix: /opt/there\n")
    found["env-create"] = cli.json("env", "create", "left", "-f", "environment.yml", "--tag", "a=b")
    found["env-push"] = cli.json("env", "push", "a:1", f"oci:{place / 'shared'}")
    found["env-list-registry"] = cli.json("env", "list", "--registry", f"oci:{place / 'shared'}")
    names = ["Wardian-minimal-py312-cpu", "--to", f"oci:{place / 'shared'}"]
    found["catalog-diff"] = cli.json("catalog", "diff", *names)
    other = Cli.at(place / "other")
    found["env-pull"] = other.json("env", "pull", f"oci:{place / 'shared'}/a:1")
    return found


NAMES = [
    "build-list", "build-logs", "build-show", "catalog-diff", "config-set", "config-show", "config-unset", "doctor", "env-archive", "env-build",
    "env-build-image", "env-create", "env-delete", "env-diff", "env-hash", "env-history", "env-label", "env-list", "env-list-curated", "env-list-registry",
    "deploy", "endpoint-bench", "endpoint-delete", "endpoint-key-drop", "endpoint-key-rotate", "endpoint-list", "endpoint-logs", "endpoint-restart",
    "endpoint-rollback", "endpoint-scale", "endpoint-score", "endpoint-show", "endpoint-update", "env-lint", "env-lock", "env-pull", "env-push", "env-restore", "env-show", "env-tree", "env-update", "env-verify", "gc", "gc-prefix", "image-copy",
    "image-diff", "image-show", "image-show-none", "model-create", "model-delete", "model-download", "model-label", "model-label-history",
    "model-label-remove", "model-list", "model-package", "model-show", "model-update", "run", "runs-delete", "runs-export", "runs-list", "runs-logs", "runs-reproduce",
    "runs-show", "runs-wait", "secret-delete", "secret-list", "secret-set", "shell-kernel", "shell-remove-kernel", "target-check", "target-create",
    "target-delete", "target-list", "target-list-kinds", "target-show", "workspace-create",
    "workspace-delete", "workspace-list", "workspace-show", "workspace-use",
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
        "image-show.variables",
        "failures",
        *(f"{name}.variables" for name in ("deploy", "endpoints", "show", "update", "rollback", "restart", "scale")),
        "locks",  # by platform
        "versions.images",
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
