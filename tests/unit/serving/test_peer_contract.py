"""One set of score scripts and requests on azureml-inference-server-http and on ours: the same answers."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.azure_server import AzureServer
from tests.support.peer_requests import PEER, REQUESTS, VARIABLES, answers, script_of
from tests.support.peers import peer_python
from tests.support.scoring import ScoringServer

if TYPE_CHECKING:
    from tests.support.scoring import Client

GOLDEN = Path(__file__).parent.parent.parent / "golden" / "scoring_peer.json"
ENVIRONMENT = (PEER, "inference-schema==1.8", "starlette", "uvicorn")
UPDATE = os.environ.get("WARDIAN_UPDATE_GOLDEN") == "1"

# what ours answers otherwise, and why; docs/reference/scoring-server.md has the same list
IDS = {"x-request-id": "a new uuid4", "x-ms-request-id": "a new uuid4", "x-ms-server-version": "name/version"}


def failed(status: int, message: str, run_failed: str) -> dict[str, Any]:
    headers = {"content-type": "application/json", "x-ms-run-function-failed": run_failed, **IDS}
    return {"status": status, "headers": headers, "body": {"json": {"message": message}}}


MALFORMED = "what is malformed is the client's error, 400 (RFC 9110), not an internal one, 500"
EXITS = "a script cannot end the server: every request has an answer"
DIFFERENCES: dict[str, tuple[str, dict[str, Any]]] = {
    "named values that are not UTF-8": (
        MALFORMED,
        failed(400, "POST body could not be decoded as JSON: 'utf-8' codec can't decode byte 0xff in position 13: invalid start byte", "False"),
    ),
    "named values, nested too deeply": (
        MALFORMED,
        failed(400, "POST body could not be decoded as JSON: it is nested too deeply", "False"),
    ),
    "run ends the process": (
        EXITS,
        failed(500, "An unexpected error occurred in scoring script. Check the logs for more info.", "True"),
    ),
}  # fmt: skip


def test_ours_answers_as_the_peer_does(tmp_path: Path) -> None:
    check_ours(tmp_path, Path(sys.executable))


@pytest.mark.slow
@pytest.mark.network
def test_ours_answers_as_the_peer_does_where_the_peer_is_installed(tmp_path: Path) -> None:
    """Scripts get Flask's request then, and the peer's own ``AMLResponse``."""
    check_ours(tmp_path, peer_python("azure-server", *ENVIRONMENT))


def check_ours(tmp_path: Path, python: Path) -> None:
    expected = json.loads(GOLDEN.read_text())
    with contextlib.ExitStack() as stack:
        servers: dict[str, ScoringServer] = {}
        for script in dict.fromkeys(request.script for request in REQUESTS):
            servers[script] = stack.enter_context(
                ScoringServer(
                    tmp_path / script, script_of(script).read_text(), python=python, variables=VARIABLES.get(script), wait=False
                )
            )
        for server in servers.values():
            assert "error" not in server.wait_for_mark()
        found = answers(lambda script: servers[script].client())
    for name, (_, otherwise) in DIFFERENCES.items():
        assert found[name] != expected[name], f"{name!r} is no difference any more"
        expected[name] = otherwise
    assert len(found) >= 40
    assert len({reason for reason, _ in DIFFERENCES.values()}) <= 5
    for name, answer in found.items():
        assert answer == expected[name], name


@pytest.mark.slow
@pytest.mark.network
def test_golden_answers_are_the_peers(tmp_path: Path) -> None:
    """Changed on purpose? WARDIAN_UPDATE_GOLDEN=1 writes them anew."""
    python = peer_python("azure-server", *ENVIRONMENT)
    with contextlib.ExitStack() as stack:
        servers: dict[str, AzureServer] = {}

        def client_of(script: str) -> Client:
            if script not in servers:
                servers[script] = stack.enter_context(
                    AzureServer(python, tmp_path / script, script_of(script), VARIABLES.get(script))
                )
            return servers[script].client()

        found = answers(client_of)
    if UPDATE:
        GOLDEN.write_text(json.dumps(found, indent=1, ensure_ascii=False, sort_keys=True) + "\n")
    assert found == json.loads(GOLDEN.read_text())
