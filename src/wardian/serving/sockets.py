"""Sockets of an endpoint: the one that clients ask, which goes from process to process, and those that its processes talk through.

Names of sockets have at most 107 bytes (unix(7)); a home may be anywhere. So a socket is bound and reached through an open
descriptor of its directory.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from typing import TYPE_CHECKING, Any

from wardian.errors import Conflict, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BACKLOG = 4096  # connections that wait for a replica: through the moments in which none takes any
_ANSWER_BYTES = 1 << 20
_TIMEOUT_S = 5.0


def listen(port: int | None) -> socket.socket:
    """Return a socket that takes connections on the loopback address; ``port`` None: a free one.

    Raises:   Conflict: ``port_taken``.  Unavailable: ``port_denied``.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port or 0))
        listener.listen(BACKLOG)
        listener.setblocking(False)  # for all who share it
    except OSError as error:
        listener.close()
        if isinstance(error, PermissionError):
            raise Unavailable(f"port {port} may not be used: {error.strerror}", hint="ports from 1024 on are everybody's",
                              code="port_denied") from error  # fmt: skip
        raise Conflict(f"port {port} of this machine is taken by another program", code="port_taken",
                       hint=f"`ss -ltnp 'sport = :{port}'` names it; choose another with `-p`, or leave it out") from error  # fmt: skip
    return listener


@contextlib.contextmanager
def short_name(path: Path) -> Iterator[str]:
    """Give a name for ``path`` that fits into a socket's address, whatever its length, while the block runs."""
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


def offer(path: Path) -> socket.socket:
    """Return a socket of this machine's processes at ``path``, for its owner alone; one that lies there is replaced."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    offered = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        with short_name(path) as name:
            offered.bind(name)
    finally:
        os.umask(before)
    offered.listen(16)
    offered.setblocking(False)
    return offered


def ask(path: Path, question: dict[str, Any], *, timeout_s: float = _TIMEOUT_S) -> tuple[dict[str, Any], socket.socket | None]:
    """Return what the process behind the socket at ``path`` answers, and the socket that comes with the answer.

    Raises:   Unavailable: ``no_answer``: nobody is there, or what comes is no answer.
    """
    try:
        with short_name(path) as name, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            line.settimeout(timeout_s)
            line.connect(name)
            line.sendall(json.dumps(question).encode() + b"\n")
            said, descriptors = b"", []
            while b"\n" not in said and len(said) < _ANSWER_BYTES:
                piece, came, _, _ = socket.recv_fds(line, 65536, 4)
                descriptors += came
                if not piece:
                    break
                said += piece
        for spare in descriptors[1:]:
            os.close(spare)
        handed = socket.socket(fileno=descriptors[0]) if descriptors else None
        answer = json.loads(said)
    except (OSError, ValueError) as error:
        raise Unavailable(f"nobody answers at {path}: {error}", code="no_answer") from error
    if not isinstance(answer, dict):
        raise Unavailable(f"what answers at {path} is no server of Wardian's", code="no_answer")
    return answer, handed
