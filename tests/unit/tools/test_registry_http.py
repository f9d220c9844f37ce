"""Single requests to a registry: TLS that is trusted or not, what breaks, what is kept."""

from __future__ import annotations

import http.server
import shutil
import socket
import ssl
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest
from tests.support.fake_registry import FakeRegistry

from wardian.tools.registry_http import Broken, RegistryHttp

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is missing: install it")


@pytest.fixture
def encrypted(tmp_path: Path) -> Iterator[str]:
    """A server with a certificate that nobody has signed; its address."""
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
               "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "certificate")]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificate", tmp_path / "key")

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """Handshakes fail here on purpose."""

    server = Server(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"https://127.0.0.1:{server.server_address[1]}/v2/"
    server.shutdown()
    thread.join()
    server.server_close()


@needs_openssl
def test_a_certificate_that_is_not_trusted_is_refused_for_good(encrypted: str) -> None:
    with pytest.raises(Broken, match="no trusted TLS") as caught:
        RegistryHttp(timeout_s=5).send("GET", encrypted, {})
    assert caught.value.lasting


@needs_openssl
def test_a_certificate_that_the_bundle_holds_is_trusted(encrypted: str, tmp_path: Path) -> None:
    with RegistryHttp(timeout_s=5, ca_bundle=str(tmp_path / "certificate")).send("GET", encrypted, {}) as reply:
        assert reply.status == 200
        assert reply.read(100) == b"{}"
        assert reply.read(100) == b""


@needs_openssl
def test_the_bundle_counts_and_not_a_variable(encrypted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", ssl.get_default_verify_paths().openssl_cafile)
    RegistryHttp(timeout_s=5, ca_bundle=str(tmp_path / "certificate")).send("GET", encrypted, {}).close()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "certificate"))
    RegistryHttp(timeout_s=5).send("GET", encrypted, {}).close()


def test_tls_is_not_found_where_plain_http_is_spoken() -> None:
    with FakeRegistry() as fake, pytest.raises(Broken, match="no trusted TLS") as caught:
        RegistryHttp(timeout_s=5).send("GET", f"https://{fake.host}/v2/", {})
    assert caught.value.lasting


@pytest.mark.parametrize("url", ["http://", "http://[::1", "http://a b/"])
def test_what_is_no_address_is_refused_for_good(url: str) -> None:
    with pytest.raises(Broken) as caught:
        RegistryHttp(timeout_s=5).send("GET", url, {})
    assert caught.value.lasting


def test_a_port_where_nobody_listens_is_tried_again_by_who_wants_to() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(Broken, match="refused") as caught:
        RegistryHttp(timeout_s=5).send("GET", f"http://127.0.0.1:{port}/", {})
    assert not caught.value.lasting


def test_an_answer_that_hangs_breaks_after_the_time_out() -> None:
    with FakeRegistry() as fake:
        fake.misbehave("*", hang=True)
        with pytest.raises(Broken, match="no answer in time"):
            RegistryHttp(timeout_s=0.05).send("GET", f"{fake.url}/v2/", {})


def test_an_answer_for_which_there_is_patience_may_come_late() -> None:
    with FakeRegistry() as fake:
        fake.misbehave("*", delay_s=0.3)
        with RegistryHttp(timeout_s=0.05).send("GET", f"{fake.url}/v2/", {}, patience_s=30) as reply:
            assert reply.status == 200


def test_an_answer_that_breaks_off_says_so_when_it_is_read() -> None:
    with FakeRegistry() as fake:
        fake.misbehave("*", body=b"x" * 1000, truncate=10)
        with RegistryHttp(timeout_s=5).send("GET", f"{fake.url}/v2/", {}) as reply, pytest.raises(Broken):
            list(iter(lambda: reply.read(100), b""))


def test_an_answer_that_states_two_lengths_is_told_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{} ")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(Broken, match="it states two lengths of one answer") as caught:
            RegistryHttp(timeout_s=60).send("GET", f"http://127.0.0.1:{server.getsockname()[1]}/", {})
        thread.join()
    assert caught.value.lasting
