"""The published schema in a real editor's server: npm's `yaml-language-server`, spoken to over stdio."""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from tests.builders import an_environment

from wardian import formats
from wardian.formats.schema import SCHEMA_URL, schema_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.npm

PACKAGE = "yaml-language-server@1"
_PATIENCE_S = 60


class LanguageServer:
    """A client of one server process: requests by method, diagnostics by document."""

    def __init__(self, process: subprocess.Popen[bytes], settings: dict[str, Any]) -> None:
        self._process = process
        self._settings = settings
        self._next = 0
        self._answers: dict[int, queue.Queue[dict[str, Any]]] = {}
        self._diagnostics: dict[str, queue.Queue[list[dict[str, Any]]]] = {}
        self._lock = threading.Lock()
        threading.Thread(target=self._listen, daemon=True).start()
        self.request(
            "initialize", {"processId": os.getpid(), "rootUri": None, "capabilities": {"workspace": {"configuration": True}}}
        )
        self._send({"method": "initialized", "params": {}})
        self._send({"method": "workspace/didChangeConfiguration", "params": {"settings": settings}})

    def request(self, method: str, params: dict[str, Any]) -> Any:
        with self._lock:
            self._next += 1
            number = self._next
            answer = self._answers[number] = queue.Queue()
        self._send({"id": number, "method": method, "params": params})
        found = answer.get(timeout=_PATIENCE_S)
        assert "error" not in found, found
        return found.get("result")

    def open(self, uri: str, text: str) -> list[dict[str, Any]]:
        """Open a document and return what the server finds wrong with it."""
        said = self._diagnostics.setdefault(uri, queue.Queue())
        self._send(
            {
                "method": "textDocument/didOpen",
                "params": {"textDocument": {"uri": uri, "languageId": "yaml", "version": 1, "text": text}},
            }
        )
        return said.get(timeout=_PATIENCE_S)

    def at(self, uri: str, method: str, line: int, character: int) -> Any:
        place = {"textDocument": {"uri": uri}, "position": {"line": line, "character": character}}
        return self.request(f"textDocument/{method}", place)

    def _send(self, message: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self._process.stdin is not None
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        self._process.stdin.flush()

    def _listen(self) -> None:
        stream = self._process.stdout
        assert stream is not None
        while header := stream.readline():
            length = int(header.split(b":")[1])
            while stream.readline() not in (b"\r\n", b""):
                pass
            self._take(json.loads(stream.read(length)))

    def _take(self, message: dict[str, Any]) -> None:
        if "method" not in message:
            self._answers[message["id"]].put(message)
        elif message["method"] == "textDocument/publishDiagnostics":
            said = self._diagnostics.setdefault(message["params"]["uri"], queue.Queue())
            said.put(message["params"]["diagnostics"])
        elif message["method"] == "workspace/configuration":
            asked = [self._settings.get(item.get("section", ""), {}) for item in message["params"]["items"]]
            self._send({"id": message["id"], "result": asked})
        elif "id" in message:
            self._send({"id": message["id"], "result": None})


_INSTALLED: dict[str, Path] = {}


@pytest.fixture
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The server, installed once per test session into a directory of its own."""
    if "folder" not in _INSTALLED:
        folder = tmp_path_factory.mktemp("yaml-language-server")
        (folder / "package.json").write_text('{"name": "t", "version": "1.0.0", "private": true}')
        command = [
            str(shutil.which("npm")),
            "install",
            "--no-audit",
            "--no-fund",
            "--silent",
            "--cache",
            str(folder / "cache"),
            PACKAGE,
        ]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        _INSTALLED["folder"] = folder
    return _INSTALLED["folder"] / "node_modules" / ".bin" / "yaml-language-server"


@contextmanager
def running(program: Path, settings: dict[str, Any]) -> Iterator[LanguageServer]:
    process = subprocess.Popen(
        [str(program), "--stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        yield LanguageServer(process, settings)
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            stream.close()


@pytest.fixture
def server(program: Path) -> Iterator[LanguageServer]:
    yaml = {"schemas": {schema_path().as_uri(): "*.wardian.yml"}, "validate": True, "hover": True, "completion": True,
            "schemaStore": {"enable": False}}  # fmt: skip
    with running(program, {"yaml": yaml, "http": {}, "[yaml]": {}, "editor": {}, "files": {}}) as one:
        yield one


URI = "file:///x/env.wardian.yml"


def test_what_wardian_writes_is_in_order(server: LanguageServer) -> None:
    env = an_environment(
        channels=("conda-forge",), conda=("python=3.11", "numpy 1.26.*"), pip=("requests>=2",), base_image="ubuntu:24.04",
        variables={"OMP_NUM_THREADS": "2", "FLAG": "on"}, accelerators={"cuda": "12.4"}, description="two\nlines\n", tags={"a": "1"},
    )  # fmt: skip
    text = formats.write(env, "wardian")
    assert SCHEMA_URL in text
    here = text.replace(
        SCHEMA_URL, schema_path().as_uri()
    )  # the line that tells editors the schema, with a place that is on this disk
    assert server.open("file:///x/any-name.yml", here) == []
    assert server.open(URI, here) == []


def test_wrong_keys_types_and_values_are_shown_on_their_line(server: LanguageServer) -> None:
    text = (
        "name: sklearn\n"
        "pyhton: {}\n"  # 1: an unknown key
        "python:\n"
        "  manager: pip\n"  # 3: a value that is none
        "  pip: numpy\n"  # 4: a text for a list
        "  chanels: [a]\n"  # 5: an unknown key of a section
        "docker:\n"
        "  base_image: [a]\n"  # 7: a list for a text
        "variables:\n"
        "  A-B: 1\n"  # 9: a key of a wrong form
    )
    found = server.open(URI, text)
    lines = {diagnostic["range"]["start"]["line"] for diagnostic in found}
    assert lines == {1, 3, 4, 5, 7, 9}
    messages = {diagnostic["range"]["start"]["line"]: diagnostic["message"] for diagnostic in found}
    assert "pyhton is not allowed" in messages[1]
    assert "conda" in messages[3]
    assert 'Expected "array"' in messages[4]
    assert "chanels is not allowed" in messages[5]


def test_a_second_docker_option_and_conda_packages_for_uv_are_shown(server: LanguageServer) -> None:
    text = "python:\n  manager: uv\n  conda: [numpy]\ndocker:\n  base_image: a\n  dockerfile: FROM b\n"
    found = server.open(URI, text)
    assert {diagnostic["range"]["start"]["line"] for diagnostic in found} >= {2}
    assert len(found) >= 2


def test_keys_and_values_are_completed(server: LanguageServer) -> None:
    text = "name: x\n\npython:\n  manager: \n  \n"
    server.open(URI, text)

    def offered(line: int, character: int) -> set[str]:
        return {item["label"] for item in server.at(URI, "completion", line, character)["items"]}

    assert {"description", "docker", "spark", "accelerators", "variables"} <= offered(1, 0)
    assert "name" not in offered(1, 0)
    assert {"channels", "conda", "pip", "version", "interpreter"} <= offered(4, 2)
    assert {"conda", "uv", "user"} <= offered(3, 11)


def test_the_description_of_a_field_is_shown(server: LanguageServer) -> None:
    text = "python:\n  link_scripts: run\n  pip: [numpy]\nvariables: {A: 1}\n"
    assert server.open(URI, text) == []

    def shown(line: int, character: int) -> str:
        return str(server.at(URI, "hover", line, character)["contents"])

    assert "conda packages that run scripts" in shown(1, 4).replace("\\n", " ")
    assert "lines of a requirements file" in shown(2, 3)
    assert "Secrets are refused" in shown(3, 2)
