"""One registry host: requests with logins, retries, redirects, and what its answers mean. Distribution specification 1.1."""

from __future__ import annotations

import ipaddress
import json
import random
import re
import time
from typing import IO, TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from wardian.errors import Denied, NotFound, Unavailable
from wardian.image.registry_auth import RegistryAuth, RegistryLogin
from wardian.tools.registry_http import NO_ANSWER, Broken, RegistryHttp, Reply
from wardian.tools.stopping import is_stopping, pause

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from wardian.errors import WardianError

PULL, PUSH = "pull", "pull,push"
TRIES = 5
_LONGEST_WAIT_S = 60.0
_REDIRECTS = 5
_LARGEST_ERROR_BYTES = 64 << 10
_LARGEST_TOKEN_BYTES = 1 << 20
_SILENT_TRIES = 1  # what a second attempt mends, nobody has to hear of
_ANSWER_S = 3  # a small answer may take so many times the time-out of one piece
_AGAIN = (408, 429, 500, 502, 503, 504)
_MOVED = (301, 302, 303, 307, 308)
_PORTS = {"http": 80, "https": 443}
# the name that people use, and the host that answers for it
_ALIASES = {"docker.io": "registry-1.docker.io", "index.docker.io": "registry-1.docker.io"}


class Interrupted(Exception):
    """A transfer did not get through, and may be taken up again: after ``wait_s`` seconds, if the server named any."""

    def __init__(self, why: str, wait_s: float | None = None):
        super().__init__(why)
        self.wait_s = wait_s


class RegistryClient:
    """Talks to one registry. Safe between threads; connections and tokens are shared by all repositories of the host.

    Plain HTTP is spoken to loopback addresses and to ``insecure`` hosts; to others, and whatever they refer to, TLS.
    Credentials go to the host itself and, as the protocol has it, to the token service that it names; never along a redirect.

    Args:     host: ``HOST[:PORT]``, as in a reference.
              login: what to log in with at ``host`` for a repository; asked only when the host demands it.
              insecure: hosts (``HOST[:PORT]``) to speak plain HTTP to.
              sleep, now_s, jitter: waiting between attempts; the clock; a number in [0, 1).
              on_retry: told in words when something is asked again and again.
    """

    def __init__(
        self,
        host: str,
        *,
        http: RegistryHttp,
        login: Callable[[str, str], RegistryLogin | None] = lambda _host, _repository: None,
        insecure: Collection[str] = (),
        sleep: Callable[[float], None] = pause,
        now_s: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
        on_retry: Callable[[str], None] = lambda _text: None,
    ):
        self.host = host
        self._http = http
        self._insecure = frozenset(insecure)
        self._now_s = now_s
        self._sleep, self._jitter, self._on_retry = sleep, jitter, on_retry
        address = _ALIASES.get(host, host)
        self.url = f"{'http' if self._is_plain(address) else 'https'}://{address}"
        self._auth = RegistryAuth(host, lambda repository: login(host, repository), self._ask_token, now_s)
        self._is_registry = False

    # -- requests --------------------------------------------------------------------------------------------------

    def call(
        self,
        method: str,
        path: str,
        repository: str,
        action: str = PULL,
        *,
        accepts: Collection[int],
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        more_scope: str = "",
    ) -> Reply:
        """Send a request until it is answered; return the answer, whose status is one of ``accepts``.

        ``path``: below the host, or a whole URL that this host gave. Redirects of GET and HEAD are followed.

        Raises:   Denied, NotFound, Unavailable: what any other status means.
        """
        why: Interrupted | None = None
        for attempt in range(TRIES):
            if why is not None:
                self.wait(attempt, why)
            try:
                reply = self.send_once(method, path, repository, action, headers=headers, body=body, more_scope=more_scope)
                if method in ("GET", "HEAD"):
                    reply = self._follow(reply, method, self._absolute(path), headers or {})
                if reply.status in accepts:
                    return reply
                with reply:
                    error = self.refusal(reply, method, path, repository)
                if not isinstance(error, Interrupted):
                    raise error
                why = error
            except Interrupted as error:
                why = error
        raise self.gave_up(repository, why)

    def send_once(
        self,
        method: str,
        path: str,
        repository: str,
        action: str = PULL,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | IO[bytes] = b"",
        length: int | None = None,
        more_scope: str = "",
        patience_s: float = 0.0,
    ) -> Reply:
        """Send a request with a login and return its answer, whatever its status but 401; a 401 is answered once.

        Raises:   Denied: the login is missing or not accepted.
                  Interrupted: no answer; or a login is needed anew, and ``body`` is a stream that has been read.
        """
        scope = f"repository:{repository}:{action}{f' {more_scope}' if more_scope else ''}"
        url = self._absolute(path)
        own = self._is_own(url)
        for again in (False, True):
            login = self._auth.header(repository, scope) if own else None
            reply = self._send(
                method, url, {**(headers or {}), **({"Authorization": login} if login else {})}, body, length, patience_s
            )
            if reply.status != 401:  # noqa: PLR2004
                return reply
            with reply:
                if not own:
                    raise Denied(f"{_shown(url)}, which {self.host} refers to, answers HTTP 401", code="registry_denied")
                if again:
                    raise self._auth.denied(repository)
                self._auth.learn(reply.headers.get("www-authenticate", ""), repository, scope, login)
                if not isinstance(body, bytes):
                    raise Interrupted("the login had to be renewed", 0.0)
        raise self._auth.denied(repository)

    def resolve(self, location: str, base: str) -> str:
        """Return the URL that a ``Location`` or ``Link`` means, if it may be followed.

        Raises:   Unavailable: code ``insecure_redirect``: it leads from TLS to plain HTTP, or to no web address.
        """
        try:
            url = urljoin(self._absolute(base), location)
        except ValueError:
            raise self._no_address(location) from None
        self._check_transport(url)
        return url

    def read_answer(self, reply: Reply, limit_bytes: int) -> bytes | None:
        """Return the whole body of a small answer, or None if it is longer than ``limit_bytes``.

        Raises:   Interrupted: it broke off.  Unavailable: it does not come to an end.
        """
        deadline_s = self._now_s() + _ANSWER_S * self._http.timeout_s
        content = b""
        try:
            while piece := reply.read_some(1 << 16):
                content += piece
                if len(content) > limit_bytes:
                    return None
                if self._now_s() > deadline_s:  # asked again, it would drip again
                    raise Unavailable(f"{self.host} answers too slowly: {len(content):,} bytes in {_ANSWER_S * self._http.timeout_s:.0f} s",
                                      code="registry_unavailable", hint="run it again when the registry is itself again")  # fmt: skip
        except Broken as error:
            raise Interrupted(str(error)) from error
        return content

    # -- what answers mean -----------------------------------------------------------------------------------------

    def refusal(self, reply: Reply, method: str, path: str, repository: str) -> WardianError | Interrupted:
        """Return what an answer that was not hoped for means. Reads the body."""
        said = self._said(reply)
        what = f"{self.host}/{repository}"
        if reply.status in _AGAIN:
            return Interrupted(f"HTTP {reply.status}{said}", _retry_after_s(reply.headers.get("retry-after", "")))
        if reply.status in (401, 403):
            return Denied(f"{what} may not be {'read' if method in ('GET', 'HEAD') else 'written'}: HTTP {reply.status}{said}",
                          code="registry_denied", hint="ask for the right, or log in as somebody else: `wardian secret set`")  # fmt: skip
        if reply.status in (404, 410):
            self.check_is_registry(repository)
            return NotFound(f"{what} does not exist, or has no such content: HTTP {reply.status}{said}", code="no_such_content")
        if reply.status == 507:  # noqa: PLR2004
            return Unavailable(f"{what}: the registry's disk is full{said}", code="registry_unavailable")
        return Unavailable(f"{what}: {method} {_shown(self._absolute(path))} answers HTTP {reply.status}{said}",
                           code="registry_unavailable", hint="is this the address of a registry?")  # fmt: skip

    def gave_up(self, repository: str, why: Interrupted | None) -> Unavailable:
        """Return the error for something that never got through."""
        return Unavailable(f"{self.host}/{repository} cannot be reached: {why}", code="registry_unavailable",
                           hint="check the address and the network, then run it again: what is done stays done")  # fmt: skip

    def wait(self, attempt: int, why: Interrupted) -> None:
        """Wait before the next attempt: as long as the server asks for, else longer each time.

        Raises:   Unavailable: it asks for more than a minute; or this thread is told to stop.
        """
        if why.wait_s is not None and why.wait_s > _LONGEST_WAIT_S:
            raise Unavailable(f"{self.host} asks to be left alone for {why.wait_s:.0f} s: {why}", code="registry_busy",
                              hint=f"run it again in {why.wait_s:.0f} s: what is done stays done")  # fmt: skip
        if attempt > _SILENT_TRIES or str(why) == NO_ANSWER:  # which took long already
            self._on_retry(f"{self.host} does not answer as it should ({why}): asking again, {attempt + 1} of {TRIES}")
        self._sleep(why.wait_s if why.wait_s is not None else min(0.2 * 2**attempt, 10.0) * (0.5 + self._jitter() / 2))
        if is_stopping():
            raise Unavailable(f"{self.host}: interrupted", code="registry_unavailable")

    def check_is_registry(self, repository: str) -> None:
        """Make sure that "not found" is said by a registry, and not by whatever else answers at this address.

        Raises:   Unavailable: code ``not_a_registry``.
        """
        if self._is_registry:
            return
        reply = self._send_again("GET", f"{self.url}/v2/", {})
        with reply:
            if reply.status not in (200, 401, 403):
                raise Unavailable(
                    f"{self.host} does not answer as a registry does: HTTP {reply.status} at /v2/", code="not_a_registry",
                    hint=f"is `{self.host}/{repository}` the right address?",
                )  # fmt: skip
        self._is_registry = True

    # -- inside ----------------------------------------------------------------------------------------------------

    def _follow(self, reply: Reply, method: str, url: str, headers: Mapping[str, str]) -> Reply:
        for _ in range(_REDIRECTS):
            if reply.status not in _MOVED or "location" not in reply.headers:
                return reply
            reply.close()
            url = self.resolve(reply.headers["location"], url)
            reply = self._send(method, url, headers)  # without the login: whoever is there has no right to it
            if reply.status in (401, 403):
                reply.close()
                raise Denied(f"{_shown(url)}, which {self.host} refers to, answers HTTP {reply.status}", code="registry_denied")
        reply.close()
        raise Unavailable(f"{self.host} redirects without end: {_shown(url)}", code="registry_unavailable")

    def _send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | IO[bytes] = b"",
        length: int | None = None,
        patience_s: float = 0.0,
    ) -> Reply:
        try:
            return self._http.send(method, url, headers, body, length, patience_s=patience_s)
        except Broken as error:
            if error.lasting:
                raise Unavailable(f"{self.host} cannot be reached: {error}", code="registry_unavailable",
                                  hint="check the address; a registry without TLS has to be declared insecure") from error  # fmt: skip
            raise Interrupted(str(error)) from error

    def _send_again(self, method: str, url: str, headers: Mapping[str, str], body: bytes = b"") -> Reply:
        """Send a request without a login until something but "try again" is answered."""
        why: Interrupted | None = None
        for attempt in range(TRIES):
            if why is not None:
                self.wait(attempt, why)
            try:
                reply = self._send(method, url, headers, body)
                if reply.status not in _AGAIN:
                    return reply
                with reply:
                    why = Interrupted(f"HTTP {reply.status}", _retry_after_s(reply.headers.get("retry-after", "")))
            except Interrupted as error:
                why = error
        raise Unavailable(f"{_shown(url)} cannot be reached: {why}", code="registry_unavailable")

    def _ask_token(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes | None]:
        self._check_transport(url)
        with self._send_again(method, url, headers, body) as reply:
            return reply.status, self.read_answer(reply, _LARGEST_TOKEN_BYTES) if reply.status == 200 else b""  # noqa: PLR2004

    def _said(self, reply: Reply) -> str:
        """Return what the registry says of its refusal, for people: ``: CODE message``; empty: nothing that can be shown."""
        try:
            document = json.loads(self.read_answer(reply, _LARGEST_ERROR_BYTES) or b"null")
            first = document["errors"][0]
            text = f"{first.get('code', '')} {first.get('message', '')}".strip()
        except (Interrupted, Unavailable, ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
            return ""
        return f": {re.sub(r'[^ -~]', ' ', text)[:200]}" if text else ""

    def _absolute(self, path: str) -> str:
        return path if "://" in path else f"{self.url}{path}"

    def _is_own(self, url: str) -> bool:
        return _origin(url) == _origin(self.url)

    def _is_plain(self, address: str) -> bool:
        return address in self._insecure or _is_loopback(urlsplit(f"//{address}").hostname or "")

    def _check_transport(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            is_port = parts.port is None or parts.port > 0  # looked at: there is no port 99999
            address = parts.netloc.rpartition("@")[2]
            is_plain = parts.scheme == "http" and self.url.startswith("http:") and self._is_plain(address)
        except ValueError:
            raise self._no_address(url) from None
        if not is_port:
            raise self._no_address(url)
        if parts.hostname and (parts.scheme == "https" or is_plain):
            return
        raise Unavailable(
            f"{self.host} refers to {_shown(url)[:200]}, which is not protected by TLS", code="insecure_redirect",
            hint="declare that host insecure if this is meant",
        )  # fmt: skip

    def _no_address(self, said: str) -> Unavailable:
        return Unavailable(f"{self.host} refers to {said[:200]!a}, which is no address", code="registry_unavailable",
                           hint="the registry, or a proxy before it, is set up wrongly")  # fmt: skip


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _shown(url: str) -> str:
    """Return ``url`` without what may be a secret: user, password, query (signed addresses)."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _retry_after_s(value: str) -> float | None:
    """Return the seconds that a ``Retry-After`` header asks for, given as seconds or as a date; None: neither."""
    if value.strip().isdecimal():
        return float(value)
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None
