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

from wardian.errors import Denied
from wardian.image.registry_auth import RegistryLogin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

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
    docker's ``config.json``. A file that cannot be read counts as empty: its own tool complains of it.

    Args:     environ: the caller's environment: where the files are; helpers are executed with it.
              timeout_s: seconds that a helper may take.
              run: where podman keeps logins until the next start of the machine, for a user without a run-time directory.
    Source:   containers-auth.json(5); docker's credential-helper protocol
    """

    def __init__(self, environ: Mapping[str, str], *, timeout_s: float = 30.0, run: Path = _RUN):
        self._environ = environ
        self._run = run
        self._timeout_s = timeout_s

    def find(self, host: str, repository: str = "") -> RegistryLogin | None:
        """Return the login for a repository of ``host``, the most specific first; None: there is none.

        Raises:   Denied: code ``credential_helper_failed``: nothing else has a login, and a helper that might did not work.
        """
        failed: Denied | None = None
        for document in self._documents():
            entries = {_key(str(name)): entry for name, entry in _table(document, "auths").items()}
            for name in _names(host, repository):
                if (login := _login(entries.get(name))) is not None:
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

    def _documents(self) -> Iterator[dict[str, Any]]:
        for path in self._files():
            try:
                with path.open("rb") as stream:
                    document = json.loads(stream.read(_LARGEST_BYTES))
            except (OSError, ValueError, RecursionError):
                continue
            if isinstance(document, dict):
                yield document

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
            done = subprocess.run(
                command,
                input=server.encode(),
                capture_output=True,
                timeout=self._timeout_s,
                check=False,
                env=dict(self._environ),
            )
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


def _login(entry: Any) -> RegistryLogin | None:
    if not isinstance(entry, dict):
        return None
    user, password = entry.get("username"), entry.get("password")
    auth = entry.get("auth")
    if isinstance(auth, str) and auth:
        try:
            user, _, password = base64.b64decode(auth, validate=True).decode().rstrip("\0").partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
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
