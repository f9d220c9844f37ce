"""Downloads against a real, faulty server."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.server import DirectoryServer

from wardian.errors import BadArchive, Denied, NotFound, Unavailable
from wardian.tools.http import Credentials, Http, split_credentials, with_credentials, without_credentials

CONTENT = bytes(range(256)) * 5000


if TYPE_CHECKING:
    from pathlib import Path


def served(tmp_path: Path, **options: Any) -> DirectoryServer:
    place = tmp_path / "files"
    place.mkdir()
    (place / "a.bin").write_bytes(CONTENT)
    return DirectoryServer(place, **options)


def fetch(http: Http, url: str, limit: int = 10**9) -> bytes:
    stream = io.BytesIO()
    assert http.download(url, stream, limit_bytes=limit) == len(stream.getvalue())
    return stream.getvalue()


def test_a_file_comes_whole(tmp_path: Path) -> None:
    with served(tmp_path) as server:
        assert fetch(Http(), f"{server.url}/a.bin") == CONTENT
    assert fetch(Http(), (tmp_path / "files" / "a.bin").as_uri()) == CONTENT


def test_a_broken_connection_is_taken_up(tmp_path: Path) -> None:
    with served(tmp_path) as server:
        server.fail("*/a.bin", truncate=100_000, times=2)
        assert fetch(Http(), f"{server.url}/a.bin") == CONTENT


def test_errors_say_what_they_are(tmp_path: Path) -> None:
    with served(tmp_path) as server:
        with pytest.raises(NotFound, match="does not exist"):
            fetch(Http(), f"{server.url}/b.bin")
        with pytest.raises(BadArchive, match="larger than 100 bytes"):
            fetch(Http(), f"{server.url}/a.bin", limit=100)
        server.fail("*", status=500)
        with pytest.raises(Unavailable):
            fetch(Http(), f"{server.url}/a.bin")
        url = server.url
    with pytest.raises(Unavailable):
        fetch(Http(timeout_s=1), f"{url}/a.bin")
    with pytest.raises(Unavailable, match="host name is not known"):
        fetch(Http(), "http://nowhere.invalid/a.bin")
    with pytest.raises(Unavailable, match="offline") as caught:
        fetch(Http(offline=True), f"{url}/a.bin")
    assert caught.value.stable_code == "offline"


def test_credentials_are_sent_and_never_shown(tmp_path: Path) -> None:
    with served(tmp_path, user="me", password="s3cret") as server:
        url = f"{server.url}/a.bin"
        with pytest.raises(Denied, match="no credentials are known"):
            fetch(Http(), url)
        assert fetch(Http(credentials=lambda _url: Credentials("me", "s3cret")), url) == CONTENT
        assert fetch(Http(), with_credentials(url, Credentials("me", "s3cret"))) == CONTENT
        with pytest.raises(Denied, match="not accepted") as caught:
            fetch(Http(), with_credentials(url, Credentials("me", "wr0ng")))
        assert "wr0ng" not in str(caught.value)
        assert "s3cret" not in repr(Credentials("me", "s3cret"))


def test_netrc_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password s3cret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with served(tmp_path, user="me", password="s3cret") as server:
        assert fetch(Http(), f"{server.url}/a.bin") == CONTENT


def test_a_login_does_not_follow_to_another_host(tmp_path: Path) -> None:
    with served(tmp_path, user="me", password="s3cret") as server, DirectoryServer(tmp_path / "files") as other:
        target = other.url.replace("127.0.0.1", "localhost")
        server.fail("*/a.bin", redirect=f"{target}/a.bin")
        fetch(Http(credentials=lambda _url: Credentials("me", "s3cret")), f"{server.url}/a.bin")
        assert all("authorization" not in {k.lower() for k in request.headers} for request in other.requests)


def test_mirrors_replace_the_longest_prefix() -> None:
    http = Http(mirrors={"https://a.example": "https://m.example/a", "https://a.example/deep": "https://m.example/deep"})
    assert http.mirrored("https://a.example/x") == "https://m.example/a/x"
    assert http.mirrored("https://a.example/deep/x") == "https://m.example/deep/x"
    assert http.mirrored("https://a.example.evil/x") == "https://a.example.evil/x"


def test_urls_with_and_without_credentials() -> None:
    assert without_credentials("https://u:p@h.example/t/s3cret/x?q=1") == "https://h.example/t/<token>/x?q=1"
    assert split_credentials("https://u%40:p%2F@h.example/x") == ("https://h.example/x", Credentials("u@", "p/"))
    assert split_credentials("https://h.example/x") == ("https://h.example/x", None)
