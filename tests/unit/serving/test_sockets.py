"""Sockets of endpoints: bound under names of any length, handed from process to process, taken ports named."""

from __future__ import annotations

import json
import os
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from wardian.errors import Conflict, Unavailable
from wardian.serving.sockets import ask, listen, offer

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def place(tmp_path: Path) -> Path:
    found = tmp_path / ("x" * 120)
    found.mkdir()
    return found


def answer(offered: socket.socket, said: bytes, descriptors: list[int]) -> threading.Thread:
    def serve() -> None:
        offered.setblocking(True)
        line, _ = offered.accept()
        with line:
            json.loads(line.recv(1000))
            socket.send_fds(line, [said], descriptors)

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


def test_a_question_and_a_socket_that_comes_with_the_answer(place: Path) -> None:
    with offer(place / "control") as offered, listen(None) as listener:
        assert (place / "control").stat().st_mode & 0o777 == 0o600
        thread = answer(offered, b'{"ok": true}\n', [listener.fileno()])
        found, handed = ask(place / "control", {"op": "listener"})
        thread.join()
        assert found == {"ok": True}
        assert handed is not None
        with handed:
            assert handed.getsockname() == listener.getsockname()
            assert not os.get_blocking(handed.fileno())  # for all who share it


@pytest.mark.parametrize("said", [b"no JSON\n", b"[]\n", b""])
def test_what_is_no_answer(place: Path, said: bytes) -> None:
    with offer(place / "control") as offered:
        thread = answer(offered, said, [])
        with pytest.raises(Unavailable):
            ask(place / "control", {"op": "status"})
        thread.join()


def test_nobody_is_there(place: Path) -> None:
    offer(place / "control").close()
    with pytest.raises(Unavailable, match="nobody answers"):
        ask(place / "control", {"op": "status"})
    offer(place / "control").close()  # what was left there is replaced


def test_a_taken_port_is_named() -> None:
    with listen(None) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(Conflict, match=f"port {port} of this machine is taken"):
            listen(port)
    listen(port).close()
