"""The OpenSSH client: a script is executed on another machine by its ``sh``, and what it says comes back. The one module that names it.

Arguments are lists; what the login shell of the other side sees is one fixed line that all of them understand alike. The script itself
comes through standard input, and what it reads follows it. Host keys must be known.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import stat
import subprocess
import tempfile
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self

from wardian.errors import Denied, DiskFull, Unavailable, WardianError
from wardian.run.targets.ssh_shell import LOOP, LostShell, RemoteShell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

QUESTION_S = 60.0  # for an answer of a few lines
CONNECT_S = 15
PERSIST_S = 60  # a connection is kept for the next question
_PARALLEL = 16
_LEFT_ALONE_S = 30.0
_SOCKET_BYTES = 40  # of the directory: the whole name of a socket has at most 107
_SSH_FAILED = 255
_SAID_BYTES = 1 << 16
# what the client may see of the caller's variables
_PASSED = ("HOME", "PATH", "USER", "LOGNAME", "SSH_AUTH_SOCK", "XDG_RUNTIME_DIR", "TMPDIR", "KRB5CCNAME", "SSH_ASKPASS")
_NO_SPACE = re.compile(r"No space left on device|Disk quota exceeded")
_REFUSED = re.compile(
    r"Permission denied|Read-only file system|Operation not permitted|Not a directory"
    r"|mkdir: .*(File exists|No such file or directory)"
)


@dataclass(frozen=True, slots=True)
class Said:
    """What a script said, and its exit code."""

    code: int
    out: bytes
    err: str


class SshHosts:
    """The machines of a target.

    Args:     options: the target's (``ssh_options``).  environ: of this process.
    """

    def __init__(self, options: Mapping[str, str], environ: Mapping[str, str]) -> None:
        self.names = tuple(options["hosts"].split(","))
        self._options = options
        self._environ = {name: environ[name] for name in _PASSED if name in environ} | {"LC_ALL": "C"}
        self._shells: dict[str, RemoteShell] = {}
        self._locks: dict[str, threading.Lock] = {}
        self._silent: dict[str, tuple[float, WardianError]] = {}  # until when a machine is not asked again, and why
        weakref.finalize(self, _close, self._shells)

    def ask(
        self, host: str, script: str, given: bytes = b"", *, timeout_s: float = QUESTION_S, ok: Sequence[int] = (0,)
    ) -> Said:
        """Have ``script`` executed on ``host``, with ``given`` to read, and return what it says.

        Args:     ok: exit codes that are answers; others are errors.
        Raises:   Unavailable: no answer.  Denied: the host, or who we are to it, is not known; something there is not ours.  DiskFull.
        """
        until, why = self._silent.get(host, (0.0, None))
        if why is not None and time.monotonic() < until:
            raise Unavailable(why.message, code=why.stable_code, hint=why.hint)
        try:
            said = self._asked(host, script, given, timeout_s)
        except LostShell as lost:
            raise self._noted(host, self._no_connection(host, lost.words, _SSH_FAILED)) from lost
        except TimeoutError:
            text = f"{host} has not answered within {timeout_s:g} s"
            raise self._noted(host, Unavailable(text, code="ssh_unavailable", hint=self._by_hand(host))) from None
        if said.code in ok:
            return said
        raise self.failure(host, said)

    def _noted(self, host: str, error: WardianError) -> WardianError:
        """Return ``error``; of several machines, one that does not answer is left alone for a while: the others need not wait for it."""
        if len(self.names) > 1 and isinstance(error, Unavailable):
            self._silent[host] = (time.monotonic() + _LEFT_ALONE_S, error)
        return error

    def _asked(self, host: str, script: str, given: bytes, timeout_s: float) -> Said:
        """Ask through the shell that is kept; where that is busy, through another. What was lost since the last question is asked again."""
        content = script.encode(errors="surrogateescape")
        lock = self._locks.setdefault(host, threading.Lock())
        if not lock.acquire(blocking=False):
            shell = self._shell(host)
            try:
                return Said(*shell.ask(content, given, timeout_s))
            finally:
                shell.close()
        try:
            kept = self._shells.pop(host, None)
            if kept is not None and kept.is_fresh:
                return self._answered(host, kept, content, given, timeout_s)
            if kept is not None:
                with contextlib.suppress(LostShell):
                    return self._answered(host, kept, content, given, timeout_s)
            return self._answered(host, self._shell(host), content, given, timeout_s)
        finally:
            lock.release()

    def _answered(self, host: str, shell: RemoteShell, script: bytes, given: bytes, timeout_s: float) -> Said:
        """Return what ``shell`` answers, and keep it; one that does not answer is kept no longer."""
        try:
            said = Said(*shell.ask(script, given, timeout_s))
        except BaseException:
            shell.close()
            raise
        self._shells[host] = shell
        return said

    def hurry(self) -> None:
        """Begin to connect to the machine, if it is one: the first question need not wait for it then. Nothing is raised."""
        host = self.names[0]
        if len(self.names) == 1 and host not in self._locks:
            with contextlib.suppress(WardianError), self._locks.setdefault(host, threading.Lock()):
                self._shells[host] = self._shell(host)

    def _shell(self, host: str) -> RemoteShell:
        token = secrets.token_hex(16)
        try:
            return RemoteShell(self._command(host, LOOP), Talk.framed(LOOP, token), self._environ)
        except FileNotFoundError:
            raise _no_client() from None

    def ask_all(self, ask: Callable[[str], Said], hosts: Sequence[str] | None = None) -> dict[str, Said | WardianError]:
        """Return what ``ask`` of each host came to, all at the same time."""

        def one(host: str) -> Said | WardianError:
            try:
                return ask(host)
            except WardianError as error:
                return error

        names = self.names if hosts is None else tuple(hosts)
        if len(names) == 1:
            return {names[0]: one(names[0])}
        with ThreadPoolExecutor(min(_PARALLEL, len(names) or 1)) as pool:
            return dict(zip(names, pool.map(one, names), strict=True))

    @contextlib.contextmanager
    def started(self, host: str, script: str) -> Iterator[Talk]:
        """Yield a script at work, which may be given more than memory holds, and say as much."""
        with Talk(self._command(host, script), script, self._environ) as talk:
            yield talk

    def answer(self, host: str, talk: Talk, out: bytes, err: bytes, ok: Sequence[int]) -> Said:
        """Return what was said, or raise what it means. See ``ask``."""
        words = err[-_SAID_BYTES:].decode(errors="replace").strip()
        code = talk.process.returncode
        if talk.mark not in out[: _SAID_BYTES + len(talk.mark)]:
            raise self._no_connection(host, words, code)
        said = Said(code, out.partition(talk.mark)[2], words)
        if code in ok:
            return said
        raise self.failure(host, said)

    def failure(self, host: str, said: Said) -> WardianError:
        """Return the error for a script that failed."""
        last = said.err.splitlines()[-1][:300] if said.err else f"exit code {said.code}"
        if _NO_SPACE.search(said.err):
            words = next(line for line in said.err.splitlines() if _NO_SPACE.search(line))[:300]
            return _disk_full_there(host, words)
        if _REFUSED.search(said.err):
            return Denied(f"{host} says: {last}", code="node_directory_denied",
                          hint="the directory there must be yours to write; `--option directory=…` names another")  # fmt: skip
        if said.code in (_SSH_FAILED, -9, -15):
            why = f": {last}" if said.err else ""
            return Unavailable(f"the connection to {host} was lost{why}", code="ssh_unavailable",
                               hint="try again: what has arrived stays, but for the batch that was under way")  # fmt: skip
        return Unavailable(f"{host} says: {last}", code="ssh_failed", hint=self._by_hand(host))

    def close(self) -> None:
        """End the connections that are kept."""
        _close(self._shells)
        for host in self.names:
            if self._sockets is not None:
                subprocess.run([*self._client(host)[:-1], "-O", "exit", host], stdin=subprocess.DEVNULL, capture_output=True, check=False,
                               env=self._environ)  # fmt: skip

    # -- the client ----------------------------------------------------------------------------------------------------

    def _client(self, host: str) -> list[str]:
        given = self._options
        settings = {
            "BatchMode": "yes", "StrictHostKeyChecking": "yes", "UpdateHostKeys": "no", "ConnectTimeout": str(CONNECT_S), "ServerAliveInterval": "15",
            "ServerAliveCountMax": "3", "ForwardAgent": "no", "ForwardX11": "no", "ClearAllForwardings": "yes", "PermitLocalCommand": "no",
            "RequestTTY": "no", "LogLevel": "ERROR", "EscapeChar": "none", "VisualHostKey": "no",
        }  # fmt: skip
        if self._sockets is not None:
            # %C stands for the machine and who one is there, not for the keys by which both are known
            socket = f"{self._sockets}/{self._as_given}%C"
            settings |= {"ControlMaster": "auto", "ControlPath": socket, "ControlPersist": str(PERSIST_S)}
        else:
            settings |= {"ControlMaster": "no", "ControlPath": "none"}
        if known := given.get("known_hosts"):
            settings |= {"UserKnownHostsFile": f'"{known}"', "GlobalKnownHostsFile": "/dev/null"}
        if given.get("compression") == "yes":
            settings["Compression"] = "yes"
        command = ["ssh", *(["-F", given["config"]] if "config" in given else [])]
        for name, value in settings.items():
            command += ["-o", f"{name}={value}"]
        if identity := given.get("identity"):
            command += ["-i", identity, "-o", "IdentitiesOnly=yes"]
        for option, flag in (("port", "-p"), ("user", "-l"), ("jump", "-J")):
            if option in given:
                command += [flag, given[option]]
        return [*command, host]

    @cached_property
    def _as_given(self) -> str:
        """A few characters for how machines are reached: two targets that say it otherwise share no connection."""
        said = {name: self._options.get(name, "") for name in ("identity", "known_hosts", "config", "compression")}
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:8]

    def _command(self, host: str, script: str) -> list[str]:
        # every login shell takes this line alike; `dd` reads no byte more than the script, whatever follows it
        count = len(Talk.framed(script, "0" * 32))
        return [*self._client(host), f"""exec sh -c 'eval "$(dd bs=1 count={count} 2>/dev/null)"'"""]

    @cached_property
    def _sockets(self) -> str | None:
        """A directory for sockets of kept connections, which is ours alone and whose name is short; None: there is none."""
        places = [self._environ.get("XDG_RUNTIME_DIR", ""), tempfile.gettempdir(), "/tmp"]  # noqa: S108 - whose it is is looked at
        for place in places:
            directory = Path(place, f"wardian-ssh-{os.geteuid()}")
            if not place.startswith("/") or len(os.fsencode(directory)) > _SOCKET_BYTES:
                continue
            with contextlib.suppress(OSError):
                directory.mkdir(mode=0o700, exist_ok=True)
                found = directory.lstat()
                if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077:
                    return str(directory)
        return None

    def _by_hand(self, host: str) -> str:
        port = f" -p {self._options['port']}" if "port" in self._options else ""
        user = f"{self._options['user']}@" if "user" in self._options else ""
        return f"try it by hand: `ssh{port} {user}{host} true`"

    def _no_connection(self, host: str, words: str, code: int | None) -> WardianError:
        last = (
            words.splitlines()[-1][:300]
            if words
            else "the connection was lost"
            if code == _SSH_FAILED
            else f"it ended with {code}"
        )
        if "REMOTE HOST IDENTIFICATION HAS CHANGED" in words or ("host key for" in words and "has changed" in words):
            return Denied(f"{host} has another host key than the one that is known: it may be another machine", code="host_key_changed",
                          hint=f"ask who runs it; if the change is meant: `ssh-keygen -R {host}`, then connect once by hand")  # fmt: skip
        if "Host key verification failed" in words or "host key is known" in words:
            port = f"-p {self._options['port']} " if "port" in self._options else ""
            return Denied(f"the host key of {host} is not known", code="host_key_unknown",
                          hint=f"compare it and connect once by hand, or `ssh-keyscan {port}{host}` into your known_hosts")  # fmt: skip
        if "Permission denied" in words or "Too many authentication failures" in words:
            return Denied(f"{host} does not let you in: {last}", code="ssh_denied",
                          hint=f"no password can be asked for here: use a key, or an agent; {self._by_hand(host)}")  # fmt: skip
        if "No such file or directory" in words and "dentity file" in words:
            return Denied(f"{host} was not tried: {last}", code="ssh_denied", hint="`identity` names a file with your key")
        return Unavailable(f"{host} cannot be reached: ssh says: {last}", code="ssh_unavailable", hint=self._by_hand(host))


def _disk_full_there(host: str, words: str) -> DiskFull:
    error = DiskFull(host, needed_bytes=None, free_bytes=0)
    error.message = f"the disk of {host} is full: {words}"
    error.hint = f"free some space on {host}, or name another directory there: `--option directory=…`"
    return error


def _no_client() -> Unavailable:
    return Unavailable("there is no `ssh` on this machine", code="ssh_missing", hint="install the OpenSSH client")


def _close(shells: dict[str, RemoteShell]) -> None:
    while shells:
        shells.popitem()[1].close()


class Talk:
    """A script at work on another machine.

    Attributes:
        mark: what it says first: all before it is the other side's start-up files'.
    """

    def __init__(self, command: Sequence[str], script: str, environ: Mapping[str, str]) -> None:
        token = secrets.token_hex(16)
        self.mark = f"--{token}--\n".encode()
        self.heard = b""
        self._errors: _Drain | None = None
        self._script = self.framed(script, token)
        try:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(environ),
                                            start_new_session=True)  # fmt: skip
        except FileNotFoundError:
            raise Unavailable(
                "there is no `ssh` on this machine", code="ssh_missing", hint="install the OpenSSH client"
            ) from None

    @staticmethod
    def framed(script: str, token: str) -> bytes:
        """Return the script so that a shell that got only a part of it does nothing."""
        return f"{{ echo --{token}--\n{script}\nexit\n}}\n".encode(errors="surrogateescape")

    def feed(self, write: Callable[[IO[bytes]], object]) -> tuple[bytes, bytes]:
        """Give it what ``write`` writes, and return all that it says."""
        stdin, stdout = self._pipes()
        out = _Drain(stdout)
        try:
            with contextlib.suppress(BrokenPipeError):
                stdin.write(self._script)
                write(stdin)
                stdin.flush()
        finally:
            with contextlib.suppress(BrokenPipeError):
                stdin.close()
        said = out.content()
        return said, self.finish()

    def listen(self) -> IO[bytes]:
        """Give it nothing, and return what it says as a stream, from behind the mark on. ``heard`` is what came up to there."""
        stdin, stdout = self._pipes()
        with contextlib.suppress(BrokenPipeError):
            stdin.write(self._script)
            stdin.close()
        while not self.heard.endswith(self.mark) and len(self.heard) <= _SAID_BYTES and (byte := stdout.read(1)):
            self.heard += byte
        return stdout

    def finish(self) -> bytes:
        """Wait for its end, and return what it said besides."""
        stdout = self.process.stdout
        while stdout is not None and not stdout.closed and stdout.read(1 << 16):
            pass  # what nobody wanted
        self.process.wait()
        return self._errors.content() if self._errors is not None else b""

    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        stdin, stdout, stderr = self.process.stdin, self.process.stdout, self.process.stderr
        if stdin is None or stdout is None or stderr is None:  # pragma: no cover - they are pipes
            raise Unavailable("the client has no pipes", code="ssh_failed")
        self._errors = _Drain(stderr)
        return stdin, stdout

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if self._errors is not None:
            self._errors.content()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


class _Drain:
    """Reads a stream to its end beside everything else, so that nobody waits for it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._content = b""
        self._thread = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self._thread.start()

    def _read(self, stream: IO[bytes]) -> None:
        pieces = []
        with contextlib.suppress(OSError, ValueError):
            while piece := stream.read(1 << 16):
                pieces.append(piece)
        self._content = b"".join(pieces)

    def content(self) -> bytes:
        """Return all of it, when it has ended."""
        self._thread.join()
        return self._content
