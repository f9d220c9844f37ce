"""Logins that docker and podman keep: whoever did ``docker login`` needs no second setting here."""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wardian.errors import Denied, wrong_in
from wardian.events import Event, silent
from wardian.image.registry_auth import RegistryLogin
from wardian.small_file import read_small

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from wardian.events import Listener
    from wardian.tools.http import Credentials

_RUN = Path("/run/containers")
_LARGEST_BYTES = 4 << 20
_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_DOCKER_HUB = ("docker.io", "index.docker.io", "registry-1.docker.io")
_DOCKER_HUB_KEY = "https://index.docker.io/v1/"  # what docker calls it
_NO_LOGIN = "credentials not found"
_TOKEN_USER = "<token>"  # noqa: S105 - how a helper says that the secret is an identity token


class EngineLogins:
    """Looks up a registry in the files of podman and docker: their entries, and the credential helpers that they name. Reads, never writes.

    ``$REGISTRY_AUTH_FILE`` alone, if it is set; else podman's ``containers/auth.json`` (run-time directory, then configuration), then
    docker's ``config.json``. A file that cannot be read counts as empty, with a warning that names it, once.

    Args:     environ: the caller's environment: where the files are; helpers are executed with it.
              timeout_s: seconds that a helper may take.  said_after_s: seconds after which it is said that one is waited for.
              listener: hears of damaged files and slow helpers.
              run: where podman keeps logins until the next start of the machine, for a user without a run-time directory.
    Source:   containers-auth.json(5); docker's credential-helper protocol
    """

    def __init__(
        self, environ: Mapping[str, str], *, timeout_s: float = 30.0, said_after_s: float = 2.0, run: Path = _RUN, listener: Listener = silent
    ):  # fmt: skip
        self._environ = environ
        self._run = run
        self._timeout_s = timeout_s
        self._said_after_s = said_after_s
        self._listener = listener
        self._warned: set[str] = set()

    def find(self, host: str, repository: str = "") -> RegistryLogin | None:
        """Return the login for a repository of ``host``, the most specific first; None: there is none.

        Raises:   Denied: code ``credential_helper_failed``: nothing else has a login, and a helper that might did not work.
        """
        failed: Denied | None = None
        for path, document in self._documents():
            entries = {_key(str(name)): entry for name, entry in _table(document, "auths").items()}
            for name in _names(host, repository):
                try:
                    login = _login(entries.get(name))
                except ValueError as error:
                    self._warn(f"the login for `{name}` in {path} is damaged, and counts as none: {error}")
                    continue
                if login is not None:
                    return login
            helpers = {_key(str(name)): helper for name, helper in _table(document, "credHelpers").items()}
            helper = helpers.get(_key(host)) or document.get("credsStore")
            if not isinstance(helper, str):
                continue
            try:
                login = self._ask(helper, host)
            except Denied as error:
                failed = failed or error
                continue
            if login is not None:
                return login
        if failed is not None:
            raise failed
        return None

    def _documents(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        for path in self._files():
            try:
                content = read_small(path, _LARGEST_BYTES)
                document = json.loads(content) if content.strip() else {}
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                self._warn(f"{path} cannot be read, and no login of it is used: {error.strerror}")
                continue
            except (ValueError, RecursionError) as error:
                self._warn(f"{path} is damaged, and no login of it is used: {_no_json(error)}")
                continue
            if isinstance(document, dict):
                yield path, document
            else:
                self._warn(f"{path} is damaged, and no login of it is used: it is not a JSON object")

    def _warn(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            self._listener(Event("warning", text))

    def _files(self) -> Iterator[Path]:
        env = self._environ
        if own := env.get("REGISTRY_AUTH_FILE"):
            yield Path(own)
            return
        if runtime := env.get("XDG_RUNTIME_DIR"):
            yield Path(runtime) / "containers/auth.json"
        else:
            yield self._run / str(os.getuid()) / "auth.json"
        home = env.get("HOME", "")
        if configuration := env.get("XDG_CONFIG_HOME") or (home and f"{home}/.config"):
            yield Path(configuration) / "containers/auth.json"
        if directory := env.get("DOCKER_CONFIG") or (home and f"{home}/.docker"):
            yield Path(directory) / "config.json"

    def _ask(self, helper: str, host: str) -> RegistryLogin | None:
        if not _HELPER.fullmatch(helper):
            raise _failed(helper, "this is not the name of a program")
        server = _DOCKER_HUB_KEY if host in _DOCKER_HUB else host
        command = [f"docker-credential-{helper}", "get"]
        try:
            done = self._call(command, server.encode())
        except FileNotFoundError:
            raise _failed(helper, "it is not installed") from None
        except OSError as error:
            raise _failed(helper, error.strerror or "it cannot be executed") from error
        except subprocess.TimeoutExpired:
            raise _failed(helper, f"it took more than {self._timeout_s:g} s") from None
        said = (done.stdout[:2000] + b" " + done.stderr[:2000]).decode("utf-8", "replace")
        if done.returncode:
            if _NO_LOGIN in said:
                return None
            raise _failed(
                helper, f"exit code {done.returncode}: {' '.join(done.stderr.decode('utf-8', 'replace').split())[:200]}"
            )
        try:
            answer = json.loads(done.stdout)
            user, secret = answer["Username"], answer["Secret"]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise _failed(helper, "its answer is not what the protocol has") from None
        if not isinstance(user, str) or not isinstance(secret, str) or not secret:
            return None
        return RegistryLogin(identity_token=secret) if user == _TOKEN_USER else RegistryLogin(user, secret)

    def _call(self, command: list[str], question: bytes) -> subprocess.CompletedProcess[bytes]:
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=dict(self._environ)) as process:
            soon = min(self._said_after_s, self._timeout_s)
            try:
                try:
                    out, err = process.communicate(question, timeout=soon)
                except subprocess.TimeoutExpired:
                    if soon < self._timeout_s:
                        text = f"waiting for the credential helper `{command[0]}`, up to {self._timeout_s:g} s"
                        self._listener(Event("notice", text))
                    out, err = process.communicate(timeout=self._timeout_s - soon)
            except BaseException:
                process.kill()
                raise
            return subprocess.CompletedProcess(command, process.returncode, out, err)


def registry_logins(
    credentials: Callable[[str], Credentials | None], engines: EngineLogins | None = None
) -> Callable[[str, str], RegistryLogin | None]:
    """Return what ``RegistryClient`` asks for logins: first the stored secrets, by URL, then what docker and podman keep."""

    def find(host: str, repository: str) -> RegistryLogin | None:
        for scheme in ("https", "http"):
            if (found := credentials(f"{scheme}://{host}/{repository}")) is not None:
                return RegistryLogin(found.user, found.password, bearer_token=found.token)
        return engines.find(host, repository) if engines is not None else None

    return find


def _table(document: dict[str, Any], key: str) -> dict[str, Any]:
    value = document.get(key)
    return value if isinstance(value, dict) else {}


def _key(name: str) -> str:
    """Return an entry's name as ``host[/namespace…]``: docker writes URLs for some."""
    bare = re.sub(r"^https?://", "", name).rstrip("/")
    bare = re.sub(r"/v[12]$", "", bare)
    head, slash, rest = bare.partition("/")
    return f"{'docker.io' if head in _DOCKER_HUB else head}{slash}{rest}"


def _names(host: str, repository: str) -> Iterator[str]:
    name = f"{_key(host)}/{repository}".rstrip("/")
    while name:
        yield name
        name = name.rpartition("/")[0]


def _no_json(error: ValueError | RecursionError) -> str:
    return "it is no text" if isinstance(error, UnicodeDecodeError) else wrong_in(error)


def _login(entry: Any) -> RegistryLogin | None:
    """Return what an entry holds; None: no login.

    Raises:   ValueError: ``auth`` is damaged; what it holds is not repeated.
    """
    if not isinstance(entry, dict):
        return None
    user, password = entry.get("username"), entry.get("password")
    auth = entry.get("auth")
    if isinstance(auth, str) and auth:
        try:
            user, colon, password = base64.b64decode(auth, validate=True).decode().rstrip("\0").partition(":")
        except (binascii.Error, UnicodeDecodeError):
            colon = ""
        if not colon:
            raise ValueError("`auth` is not USER:PASSWORD in base64")
    if isinstance(token := entry.get("registrytoken"), str) and token:
        return RegistryLogin(bearer_token=token)
    if isinstance(token := entry.get("identitytoken"), str) and token:
        return RegistryLogin(user if isinstance(user, str) else "", "", identity_token=token)
    if isinstance(user, str) and isinstance(password, str) and (user or password):
        return RegistryLogin(user, password)
    return None


def _failed(helper: str, why: str) -> Denied:
    return Denied(
        f"the credential helper `{helper[:80]}`, which docker's or podman's settings name, does not work: {why}",
        code="credential_helper_failed",
        hint="mend it, or keep the login here: `wardian secret set NAME --kind registry --url https://HOST --user USER`",
    )
