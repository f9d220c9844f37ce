"""HTTP: the one place that downloads. Wraps requests (ADR 0007)."""

from __future__ import annotations

import contextlib
import re
import threading
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from wardian.errors import BadArchive, Denied, NotFound, Unavailable
from wardian.tools.stopping import is_stopping

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    import requests

_CHUNK = 1 << 18
_TRIES = 4


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a server wants: user and password (Basic), a token (Bearer), or conda's token (in the path). Never printed."""

    user: str = ""
    password: str = ""
    token: str = ""
    conda_token: str = ""

    def __repr__(self) -> str:
        return "Credentials(…)"


def without_credentials(url: str) -> str:
    """Return ``url`` without user, password and conda token: fit to be shown and stored."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, re.sub(r"^/t/[^/]+/", "/t/<token>/", parts.path), parts.query, ""))


def split_credentials(url: str) -> tuple[str, Credentials | None]:
    """Return ``url`` without user and password, and these."""
    parts = urlsplit(url)
    login, at, host = parts.netloc.rpartition("@")
    if not at:
        return url, None
    user, _, password = login.partition(":")
    return urlunsplit(parts._replace(netloc=host)), Credentials(unquote(user), unquote(password))


def with_credentials(url: str, credentials: Credentials | None) -> str:
    """Return ``url`` with the credentials in it, for a tool that takes them no other way."""
    if credentials is None:
        return url
    parts = urlsplit(url)
    user, password = (credentials.user, credentials.password) if not credentials.token else ("__token__", credentials.token)
    return urlunsplit(
        parts._replace(netloc=f"{quote(user, safe='')}:{quote(password, safe='')}@{parts.netloc.rpartition('@')[2]}")
    )


class Http:
    """Downloads files: retries, proxies and certificates from the environment, credentials by URL, mirrors by prefix.

    Safe between threads: each thread has a session of its own. netrc is asked where nothing else gives credentials.
    """

    def __init__(
        self,
        *,
        timeout_s: float = 30.0,
        credentials: Callable[[str], Credentials | None] = lambda _url: None,
        mirrors: Mapping[str, str] | None = None,
        ca_bundle: str | None = None,
        offline: bool = False,
    ):
        self._timeout_s = timeout_s
        self._credentials = credentials
        self._mirrors = dict(mirrors or {})
        self._ca_bundle = ca_bundle
        self._offline = offline
        self._local = threading.local()

    def mirrored(self, url: str) -> str:
        """Return the URL that serves ``url``: the longest configured prefix replaced."""
        for prefix in sorted(self._mirrors, key=len, reverse=True):
            if url == prefix or url.startswith(prefix.rstrip("/") + "/"):
                return self._mirrors[prefix].rstrip("/") + url[len(prefix.rstrip("/")) :]
        return url

    def download(
        self,
        url: str,
        target: IO[bytes],
        *,
        limit_bytes: int,
        on_bytes: Callable[[int], None] = lambda _n: None,
        trusted: Collection[str] = (),
    ) -> int:
        """Write what ``url`` serves to ``target`` and return its size, bytes.

        A broken connection is taken up where it broke, where the server can; else from the start.

        Args:     trusted: hosts (``HOST[:PORT]``) whose certificates are not checked, as with pip's ``--trusted-host``; one
                      that they redirect to is checked.
        Raises:   NotFound: 404, 410.  Denied: 401, 403.  Unavailable: no answer, 5xx, too slow, offline.
                  BadArchive: longer than ``limit_bytes``.
        """
        real = self.mirrored(url)
        if real.startswith("file:"):
            return _copy_file(real, target, limit_bytes, on_bytes)
        if self._offline:
            raise Unavailable(f"{without_credentials(url)} is needed, but Wardian is offline",
                              hint="unset WARDIAN_OFFLINE, or fetch it while online: `wardian env build REF`", code="offline")  # fmt: skip
        import requests
        import urllib3

        done = 0
        last: Exception | None = None
        for _attempt in range(_TRIES):
            headers = {"Accept-Encoding": "identity"}
            if done:
                headers["Range"] = f"bytes={done}-"
            try:
                with self._get(real, headers, frozenset(trusted)) as response:
                    if done and response.status_code != requests.codes.partial_content:
                        target.seek(0)
                        target.truncate()
                        done = 0
                    for chunk in response.iter_content(_CHUNK):
                        done += len(chunk)
                        if done > limit_bytes:
                            raise BadArchive(f"{without_credentials(url)} is larger than {limit_bytes:,} bytes",
                                             hint="raise archive_limit_bytes if this is meant", code="archive_too_large")  # fmt: skip
                        target.write(chunk)
                        on_bytes(len(chunk))
                    return done
            except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
                last = error
                if is_stopping():
                    break
                if isinstance(error, requests.ConnectionError) and _is_no_such_host(error):
                    break
        raise Unavailable(
            f"{without_credentials(url)} cannot be fetched: {_plainly(last)}", hint="check the network, then run it again: what is done stays done",
            code="network_error",
        ) from last  # fmt: skip

    def _get(self, url: str, headers: dict[str, str], trusted: frozenset[str]) -> requests.Response:
        import requests

        bare, in_url = split_credentials(url)
        credentials = self._credentials(bare) or in_url
        auth: Any = None
        if credentials is not None and credentials.conda_token:
            parts = urlsplit(bare)
            bare = urlunsplit(parts._replace(path=f"/t/{quote(credentials.conda_token, safe='')}{parts.path}"))
        elif credentials is not None:
            auth = _Bearer(credentials.token) if credentials.token else (credentials.user, credentials.password)
        response = self._session(trusted).get(bare, headers=headers, auth=auth, stream=True, timeout=self._timeout_s)
        code = response.status_code
        if code < requests.codes.bad_request:
            return response
        response.close()
        shown = without_credentials(url)  # the URL as it was asked for: no token in it
        if code in (requests.codes.not_found, requests.codes.gone):
            raise NotFound(f"{shown} does not exist (HTTP {code})", code="no_such_file")
        if code in (requests.codes.unauthorized, requests.codes.forbidden):
            given = "the credentials given are not accepted" if credentials else "no credentials are known for it"
            raise Denied(f"{shown} answers HTTP {code}: {given}",
                         hint="`wardian secret set NAME --url URL`, or a line in ~/.netrc", code="not_authorized")  # fmt: skip
        raise requests.HTTPError(f"HTTP {code}")

    def _session(self, trusted: frozenset[str]) -> requests.Session:
        sessions: dict[frozenset[str], requests.Session] = self._local.__dict__.setdefault("sessions", {})
        session = sessions.get(trusted)
        if session is None:
            import requests
            from urllib3.util import Retry

            from wardian.tools.stoppable_http import StoppableAdapter

            session = requests.Session()
            retry = Retry(
                total=3,
                connect=0,
                read=2,
                status=3,
                backoff_factor=0.3,
                status_forcelist=(429, 500, 502, 503, 504),
                raise_on_status=False,
            )
            for scheme in ("http://", "https://"):
                session.mount(scheme, StoppableAdapter(max_retries=retry, pool_maxsize=2))
            if self._ca_bundle:
                session.verify = self._ca_bundle
            for host in trusted:
                _trust(session, host, retry)
            sessions[trusted] = session
        return session


def _trust(session: requests.Session, host: str, retry: Any) -> None:
    import urllib3

    from wardian.tools.stoppable_http import StoppableAdapter

    class Unchecked(StoppableAdapter):
        def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:  # noqa: ARG002 - what requests passes
            super().cert_verify(conn, url, verify=False, cert=cert)  # type: ignore[no-untyped-call]

        def build_connection_pool_key_attributes(self, request: Any, verify: Any, cert: Any = None) -> Any:  # noqa: ARG002
            return super().build_connection_pool_key_attributes(request, False, cert)

    urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # it was asked for, and the lock's notes say so
    has_port = urlsplit(f"//{host}").port is not None
    for prefix in (f"https://{host}/",) if has_port else (f"https://{host}/", f"https://{host}:"):
        session.mount(prefix, Unchecked(max_retries=retry, pool_maxsize=2))


class _Bearer:
    def __init__(self, token: str):
        self._token = token

    def __call__(self, request: Any) -> Any:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def _copy_file(url: str, target: IO[bytes], limit_bytes: int, on_bytes: Callable[[int], None]) -> int:
    path = unquote(urlsplit(url).path)
    done = 0
    try:
        with open(path, "rb") as source:  # noqa: PTH123
            while chunk := source.read(_CHUNK):
                done += len(chunk)
                if done > limit_bytes:
                    raise BadArchive(f"{path} is larger than {limit_bytes:,} bytes", code="archive_too_large")
                target.write(chunk)
                on_bytes(len(chunk))
    except FileNotFoundError:
        raise NotFound(f"{path} does not exist", code="no_such_file") from None
    except (IsADirectoryError, PermissionError) as error:
        raise Unavailable(f"{path} cannot be read: {error.strerror}", code="unreadable_file") from error
    return done


def _is_no_such_host(error: Exception) -> bool:
    return "NameResolution" in repr(error) or "getaddrinfo" in repr(error)


def _plainly(error: Exception | None) -> str:
    text = str(error)
    with contextlib.suppress(AttributeError, IndexError, TypeError):
        reason = error.args[0].reason  # type: ignore[union-attr]
        text = str(reason).rpartition(": ")[2] or text
    if _is_no_such_host(error or Exception()):
        return "the host name is not known here (no network, or a wrong name)"
    return text[:300]
