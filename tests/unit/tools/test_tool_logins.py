"""Logins of uv and rattler, found for our own downloads."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tests.support.server import DirectoryServer

from wardian.tools.http import Credentials, Http
from wardian.tools.tool_logins import ToolLogins

if TYPE_CHECKING:
    from pathlib import Path

URL = "https://corp.example:8443/files/a.whl"
ME = Credentials("me", "s3cret")


@pytest.mark.parametrize("variable", ["UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL"])
def test_uvs_variables(variable: str) -> None:
    logins = ToolLogins({variable: "https://other.example/simple https://me:s3cret@corp.example:8443/simple"})
    assert logins.find(URL) == ME
    for other in (
        "https://corp.example/a",
        "http://corp.example:8443/a",
        "https://corp.example.evil:8443/a",
        "https://other.example/a",
    ):
        assert logins.find(other) is None


def test_named_indexes_of_uvs_settings(tmp_path: Path) -> None:
    place = tmp_path / ".config" / "uv"
    place.mkdir(parents=True)
    (place / "uv.toml").write_text('[[index]]\nname = "my-corp"\nurl = "https://corp.example:8443/simple"\n')
    environ = {"HOME": str(tmp_path), "UV_INDEX_MY_CORP_USERNAME": "me", "UV_INDEX_MY_CORP_PASSWORD": "s3cret"}
    assert ToolLogins(environ).find(URL) == ME
    assert ToolLogins({"HOME": str(tmp_path)}).find(URL) is None
    named = {"UV_INDEX": "my-corp=https://corp.example:8443/simple", **{k: v for k, v in environ.items() if k != "HOME"}}
    assert ToolLogins(named).find(URL) == ME


@pytest.mark.parametrize("text", ["", "not = [toml", "[[index]]\n", "[[index]]\nurl = 3\n", "index = 3\n"])
def test_damaged_settings_count_as_empty(tmp_path: Path, text: str) -> None:
    path = tmp_path / "uv.toml"
    path.write_text(text)
    rattler = tmp_path / "credentials.json"
    rattler.write_text("{" + text)
    assert ToolLogins({"UV_CONFIG_FILE": str(path), "RATTLER_AUTH_FILE": str(rattler)}).find(URL) is None


@pytest.mark.parametrize(
    ("entry", "login"),
    [
        ({"corp.example:8443": {"BearerToken": "t0ken"}}, Credentials(token="t0ken")),
        ({"corp.example": {"BasicHTTP": {"username": "me", "password": "s3cret"}}}, ME),
        ({"*.example:8443": {"BasicHTTP": {"username": "me", "password": "s3cret"}}}, ME),
        ({"corp.example": {"CondaToken": "t0ken"}}, Credentials(conda_token="t0ken")),
        ({"corp.example": {"BasicHTTP": {"username": 1}}}, None),
        ({"other.example": {"BearerToken": "t0ken"}}, None),
        ([], None),
    ],
)
def test_rattlers_file(tmp_path: Path, entry: object, login: Credentials | None) -> None:
    path = tmp_path / ".rattler" / "credentials.json"
    path.parent.mkdir()
    path.write_text(json.dumps(entry))
    assert ToolLogins({"HOME": str(tmp_path)}).find(URL) == login


def test_a_conda_token_goes_into_the_path(tmp_path: Path) -> None:
    import io

    (tmp_path / "a").write_text("content")
    with DirectoryServer(tmp_path, token="t0ken") as server:
        stream = io.BytesIO()
        Http(credentials=lambda _url: Credentials(conda_token="t0ken")).download(f"{server.url}/a", stream, limit_bytes=100)
        assert stream.getvalue() == b"content"
        assert server.requests[-1].path == "/t/t0ken/a"
