"""The index that other tests rely on: uv and pip really use it, its faults really happen, and it really stops."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from tests.support.index import Index
from tests.support.server import DirectoryServer
from tests.support.wheels import make_sdist, make_wheel

from wardian.digest import Digest

if TYPE_CHECKING:
    from pathlib import Path

OLD, NEW = datetime(2024, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC)


def _get(url: str, **headers: str) -> bytes:
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as answer:
        return bytes(answer.read())


def _uv(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "uv", "pip", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env={**os.environ, "NO_COLOR": "1"})


@pytest.fixture
def project(index: Index, tmp_path: Path) -> Index:
    index.add(make_wheel(tmp_path, "My.Alpha", "1.0", requires=["beta"], requires_python=">=3.8"), OLD)
    index.add(make_wheel(tmp_path, "My.Alpha", "2.0", requires=["beta"]), NEW)
    index.add(make_sdist(tmp_path, "beta", "0.1"), OLD)
    return index


def test_uv_resolves_by_time_and_installs_what_it_resolved(project: Index, tmp_path: Path) -> None:
    (tmp_path / "r.in").write_text("my-alpha\n")
    now = _uv("compile", tmp_path / "r.in", "--default-index", project.url, "--no-annotate", "--no-header")
    then = _uv(
        "compile",
        tmp_path / "r.in",
        "--default-index",
        project.url,
        "--exclude-newer",
        "2024-06-01",
        "--no-annotate",
        "--no-header",
    )
    assert now.stdout.split() == ["beta==0.1", "my-alpha==2.0"]
    assert then.stdout.split() == ["beta==0.1", "my-alpha==1.0"]
    project.forget_requests()
    installed = _uv("install", "--target", tmp_path / "t", "my-alpha", "--default-index", project.url)
    assert installed.returncode == 0, installed.stderr
    assert (tmp_path / "t/my_alpha/__init__.py").is_file()
    assert (tmp_path / "t/beta/__init__.py").is_file()
    assert project.downloads()["my_alpha-2.0-py3-none-any.whl"] == 1


def test_pip_downloads_from_html_pages_behind_basic_authentication(tmp_path: Path) -> None:
    with Index(tmp_path / "private", user="u", password="p", json_pages=False) as private:
        private.add(make_wheel(tmp_path, "alpha", "1.0"))
        pip = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--no-cache-dir",
            "-q",
            "--no-input",
            "-d",
            str(tmp_path / "d"),
            "alpha",
        ]
        refused = subprocess.run([*pip, "-i", private.url], capture_output=True, text=True, check=False, timeout=60)
        assert refused.returncode != 0
        subprocess.run([*pip, "-i", private.with_credentials(private.url)], check=True, timeout=60)
        assert (tmp_path / "d/alpha-1.0-py3-none-any.whl").is_file()
        assert {r.status for r in private.requests} == {200, 401}


def test_a_token_opens_by_header_and_by_path(tmp_path: Path) -> None:
    with Index(tmp_path / "private", token="t0ken") as private:
        file = private.add(make_wheel(tmp_path, "alpha", "1.0"))
        url = private.file_url(file.name)
        with pytest.raises(urllib.error.HTTPError) as refused:
            _get(url)
        refused.value.close()
        assert refused.value.code == 401
        assert _get(url, Authorization="Bearer t0ken") == _get(private.with_token(url)) == file.read_bytes()


def test_faults(project: Index) -> None:
    file = project.directory / "my_alpha-1.0-py3-none-any.whl"
    url, content = project.file_url(file.name), file.read_bytes()
    project.fail("*.whl", flip=-1)
    assert _get(url) == content[:-1] + bytes([content[-1] ^ 1])
    project.fail("*.whl", status=503, times=1)
    with pytest.raises(urllib.error.HTTPError) as unavailable:
        _get(url)
    unavailable.value.close()
    assert unavailable.value.code == 503
    project.heal()
    project.fail("*.whl", truncate=10)
    with pytest.raises(http.client.IncompleteRead):
        _get(url)
    project.heal()
    project.fail("*-1.0-*.whl", redirect="/files/beta-0.1.tar.gz")
    assert _get(url) == (project.directory / "beta-0.1.tar.gz").read_bytes()
    project.heal()
    assert _get(url, Range="bytes=2-5") == content[2:6]
    assert _get(url) == content
    assert project.downloads()[file.name] >= 4


def test_a_held_answer_waits_and_is_seen_before_it_is_sent(project: Index) -> None:
    gate = threading.Event()
    project.fail("*.whl", hold=gate)
    got: list[bytes] = []
    client = threading.Thread(target=lambda: got.append(_get(project.file_url("my_alpha-1.0-py3-none-any.whl"))))
    client.start()
    project.wait_for_request(lambda r: r.path.endswith(".whl"))
    assert got == []
    gate.set()
    client.join(10)
    assert len(got[0]) > 100


def test_lies_are_announced_as_told(index: Index, tmp_path: Path) -> None:
    index.add(make_wheel(tmp_path, "alpha", "1.0"), announced_sha256="0" * 64, announced_size=7)
    refused = _uv("install", "--target", tmp_path / "t", "alpha", "--default-index", index.url)
    assert "Hash mismatch" in refused.stderr
    page = json.loads(_get(f"{index.url}/alpha/", Accept="application/vnd.pypi.simple.v1+json"))
    assert [(f["hashes"]["sha256"], f["size"]) for f in page["files"]] == [("0" * 64, 7)]


def test_stop_closes_connections_and_frees_the_port(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    threads = threading.active_count()
    server = DirectoryServer(tmp_path)
    server.start()
    port = server.port
    idle = socket.create_connection(("127.0.0.1", port))  # keep-alive that never says anything
    assert _get(f"{server.url}/a") == b"x"
    server.stop()
    assert idle.recv(1) == b""
    idle.close()
    assert threading.active_count() == threads
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    server.start(port)
    assert _get(f"http://127.0.0.1:{port}/a") == b"x"
    server.stop()


def test_wheels_and_sdists_are_the_same_bytes_every_time(tmp_path: Path) -> None:
    def digests(place: Path) -> list[Digest]:
        wheel = make_wheel(place, "alpha", "1.0", requires=["beta"], entry_points={"alpha": "alpha:main"})
        return [Digest.of_file(wheel), Digest.of_file(make_sdist(place, "beta", "2.0", body="X = 1\n"))]

    assert digests(tmp_path / "a") == digests(tmp_path / "b")
