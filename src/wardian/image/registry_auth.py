"""Logging in to a registry: which challenge, which credentials, which token for which scope."""

from __future__ import annotations

import base64
import json
import re
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from wardian.errors import Denied, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_LEAST_LIFE_S = 60.0  # the token specification's default
_EARLY_S = 5.0
_CHALLENGE = re.compile(r"(?:^|,)\s*(basic|bearer)(?=\s|$|,)", re.IGNORECASE)
_PARAMETER = re.compile(r'([a-zA-Z_]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')


@dataclass(frozen=True, slots=True)
class RegistryLogin:
    """What a registry wants of us: user and password, an identity token (``docker login`` keeps one for some), or a bearer token. Never printed."""

    user: str = ""
    password: str = ""
    identity_token: str = ""
    bearer_token: str = ""

    def __repr__(self) -> str:
        return "RegistryLogin(…)"


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to log in that a server offers: ``basic`` or ``bearer``, with its parameters."""

    kind: str
    parameters: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Token:
    value: str
    until_s: float


def read_challenges(header: str) -> list[Challenge]:
    """Return the challenges that a ``WWW-Authenticate`` header holds, in its order; kinds that are not known here are left out."""
    starts = [match for match in _CHALLENGE.finditer(header) if header[: match.start()].count('"') % 2 == 0]
    found = []
    for match, following in zip(starts, [*starts[1:], None], strict=False):
        text = header[match.end() : following.start() if following else len(header)]
        parameters = {
            p[1].lower(): re.sub(r"\\(.)", r"\1", p[2]) if p[2] is not None else p[3] for p in _PARAMETER.finditer(text)
        }
        found.append(Challenge(match[1].lower(), parameters))
    return found


class RegistryAuth:
    """The ``Authorization`` headers for one registry host. Tokens are kept by scope until they expire. Safe between threads.

    Args:     host: for messages.
              login: asked when the host demands a login; gets the repository.
              fetch: asks a token service: method, URL, headers, body; gives the status and what a 200 holds, None: it is too long.
              now_s: a clock that never goes back, seconds.
    Source:   the distribution project's token authentication specification; RFC 7235
    """

    def __init__(
        self,
        host: str,
        login: Callable[[str], RegistryLogin | None],
        fetch: Callable[[str, str, Mapping[str, str], bytes], tuple[int, bytes | None]],
        now_s: Callable[[], float],
    ):
        self._host = host
        self._ask_login = login
        self._logins: dict[str, RegistryLogin | None] = {}
        self._fetch = fetch
        self._now_s = now_s
        self._lock = threading.Lock()
        self._challenge: Challenge | None = None
        self._tokens: dict[str, _Token] = {}

    def header(self, repository: str, scope: str) -> str | None:
        """Return what to send for ``scope``; None: nothing was asked for yet, or nothing is known.

        Raises:   Denied, Unavailable: the token service refuses, or does not answer.
        """
        with self._lock:
            challenge = self._challenge
            if challenge is None:
                return None
            if challenge.kind == "basic":
                return _basic(self._login(repository))
            token = self._tokens.get(scope)
            if token is None or token.until_s <= self._now_s():
                token = self._tokens[scope] = self._token(challenge, repository, scope)
            return f"Bearer {token.value}"

    def learn(self, header: str, repository: str, scope: str, used: str | None) -> None:
        """Take in what a 401 says, so that ``header`` gives something better than ``used``.

        Raises:   Denied: there is nothing better.
        """
        challenges = read_challenges(header)
        login = self._login(repository)
        with self._lock:
            bearer = next((c for c in challenges if c.kind == "bearer" and c.parameters.get("realm")), None)
            basic = next((c for c in challenges if c.kind == "basic"), None)
            if bearer is not None:
                token = self._tokens.get(scope)
                if used is not None and token is not None and used == f"Bearer {token.value}":
                    del self._tokens[scope]  # expired, or withdrawn: one more is asked for
                self._challenge = bearer
                return
            if basic is not None and login is not None and (login.user or login.password) and used != _basic(login):
                self._challenge = basic
                return
        raise self.denied(
            repository, given=login is not None, why="" if challenges else "it offers no login that is known here"
        )

    def denied(self, repository: str, *, given: bool | None = None, why: str = "") -> Denied:
        """Return the error for a login that is missing or not accepted."""
        known = self._login(repository) is not None if given is None else given
        what = (
            "the credentials given are not accepted for it"
            if known
            else "it is not public, or does not exist, and no credentials are known for it"
        )
        return Denied(
            f"{self._host}/{repository}: {what}{f' ({why})' if why else ''}", code="registry_denied",
            hint=f"`wardian secret set NAME --kind registry --url https://{self._host} --user USER`, or `docker login {self._host}`",
        )  # fmt: skip

    def _login(self, repository: str) -> RegistryLogin | None:
        if repository not in self._logins:  # a helper may be a program to execute
            self._logins[repository] = self._ask_login(repository)
        return self._logins[repository]

    def _token(self, challenge: Challenge, repository: str, scope: str) -> _Token:
        login = self._login(repository)
        if login is not None and login.bearer_token:
            return _Token(login.bearer_token, float("inf"))
        realm, service = challenge.parameters["realm"], challenge.parameters.get("service", "")
        if login is not None and login.identity_token:
            form = {"grant_type": "refresh_token", "refresh_token": login.identity_token, "service": service,
                    "client_id": "wardian", "scope": scope}  # fmt: skip
            kind = {"Content-Type": "application/x-www-form-urlencoded"}
            status, body = self._fetch("POST", realm, kind, urlencode(form).encode())
        else:
            query = [("service", service)] if service else []
            query += [("scope", part) for part in scope.split(" ")]
            url = f"{realm}{'&' if '?' in realm else '?'}{urlencode(query)}"
            header = _basic(login)
            status, body = self._fetch("GET", url, {"Authorization": header} if header else {}, b"")
        if status in (400, 401, 403):
            raise self.denied(repository, given=login is not None, why=f"its token service answers HTTP {status}")
        if status != 200:  # noqa: PLR2004
            raise Unavailable(f"the token service of {self._host} answers HTTP {status}", code="registry_unavailable")
        return self._read_token(body)

    def _read_token(self, body: bytes | None) -> _Token:
        try:
            if body is None:
                raise ValueError("it is too long")
            document: Any = json.loads(body)
            value = document.get("token") or document.get("access_token")
            if not isinstance(value, str) or not value or re.search(r"[^\x21-\x7e]", value):
                raise ValueError("it holds no token")
            life_s = document.get("expires_in")
            life_s = float(life_s) if type(life_s) in (int, float) and life_s > 0 else _LEAST_LIFE_S
        except (ValueError, AttributeError, RecursionError) as error:
            raise Unavailable(f"the token service of {self._host} gives what is no token: {str(error)[:100]}",
                              code="registry_unavailable") from error  # fmt: skip
        return _Token(value, self._now_s() + max(life_s - _EARLY_S, life_s / 2))


def _basic(login: RegistryLogin | None) -> str | None:
    if login is None or not (login.user or login.password):
        return None
    return "Basic " + base64.b64encode(f"{login.user}:{login.password}".encode()).decode()
