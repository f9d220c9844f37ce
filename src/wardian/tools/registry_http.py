"""One request to a registry, or another API, streamed both ways: no retries, redirects, cookies or logins of its own. Wraps requests (ADR 0018)."""

from __future__ import annotations

import contextlib
import re
from typing import IO, TYPE_CHECKING, Any, Self

from wardian.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import requests

_CONNECTION = re.compile(r"^\w+\(host='[^']*', port=\d+\): ")
NO_ANSWER = "no answer in time"
_BLOCK = 1 << 18
_LITTLE = 64 << 10
_LITTLE_PIECES = 8  # as few as a server sends who does not drip


class Broken(Exception):
    """A request got no answer, or the answer broke off.

    Attributes:
        lasting: asking again will not help: an unknown host name, a certificate that is not trusted.
    """

    def __init__(self, why: str, *, lasting: bool = False):
        super().__init__(why)
        self.lasting = lasting


class Reply:
    """A server's answer: status, headers (names in lower case), and a body to be read in pieces."""

    def __init__(self, response: requests.Response):
        self._response = response
        self.status = response.status_code
        self.headers: Mapping[str, str] = {name.lower(): value for name, value in response.headers.items()}

    def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes of the body as they were sent; none at its end.

        Raises:   Broken: the connection was lost, or nothing came for as long as a request may wait.
        """
        with _broken():
            return bytes(self._response.raw.read(size, decode_content=False))

    def read_some(self, size: int) -> bytes:
        """Return what has come of the body, up to ``size`` bytes, and wait only if that is nothing; none at its end.

        So whoever looks at the clock after each piece is not kept by a server that sends byte after byte.

        Raises:   Broken.
        """
        raw: Any = self._response.raw
        with _broken():
            return bytes(getattr(raw, "read1", raw.read)(size, decode_content=False))  # urllib3 1 has no `read1`

    def close(self) -> None:
        """Let the connection go. It serves again if the body was read to its end; what is left is read if it is little."""
        length = self.headers.get("content-length", "")
        if self._response.request.method == "HEAD" or (length.isdecimal() and int(length) <= _LITTLE):
            with contextlib.suppress(Broken):
                for _ in range(_LITTLE_PIECES):
                    if not self.read_some(_LITTLE):
                        break
        self._response.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class RegistryHttp:
    """Sends requests. Proxies and certificates come from the environment, as pip has it. Safe between threads.

    Args:     timeout_s: seconds without a byte before a request is given up.
              ca_bundle: file of certificates in place of the usual ones.
              offline: no request is sent.
              socket: a socket in the file system that all requests with ``http:`` go through.
    """

    def __init__(self, *, timeout_s: float = 30.0, ca_bundle: str | None = None, offline: bool = False, socket: str = ""):
        self.timeout_s = timeout_s
        self._offline = offline
        self._ca_bundle = ca_bundle
        self._socket = socket
        self._kept: requests.Session | None = None

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | IO[bytes] = b"",
        length: int | None = None,
        *,
        patience_s: float = 0.0,
    ) -> Reply:
        """Send one request and return the answer, whatever its status.

        Args:     body: bytes, or a stream of exactly ``length`` bytes, which is read once.
                  patience_s: seconds beyond the time-out that the answer may take: the server has something long to do.
        Raises:   Broken.  Unavailable: code ``offline``.  What reading ``body`` raises, unchanged.
        """
        if self._offline:
            raise Unavailable(f"{url.partition('?')[0]} is needed, but Wardian is offline", code="offline",
                              hint="unset WARDIAN_OFFLINE, or bring the image here while online")  # fmt: skip
        data: Any = body if isinstance(body, bytes) else _Sized(body, length or 0)
        sent = {"User-Agent": "wardian", "Accept-Encoding": "identity", **headers}
        with _broken():
            session = self._session()
            response = session.request(
                method,
                url,
                headers=sent,
                data=data,
                auth=_as_it_is,
                stream=True,
                timeout=(self.timeout_s, self.timeout_s + patience_s),
                allow_redirects=False,
                verify=self._ca_bundle,  # not the session's: a variable would win over it
            )
            return Reply(response)

    def _session(self) -> requests.Session:
        if self._kept is None:
            from http.cookiejar import DefaultCookiePolicy

            import requests

            from wardian.tools.stoppable_http import StoppableAdapter

            class Adapter(StoppableAdapter):
                def init_poolmanager(self, *arguments: Any, **options: Any) -> None:  # larger pieces than 16 KiB are sent
                    super().init_poolmanager(*arguments, **options, blocksize=_BLOCK)

            session = requests.Session()
            session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
            for scheme in ("http://", "https://"):
                session.mount(scheme, Adapter(pool_maxsize=16))
            if self._socket:
                from wardian.tools.unix_http import UnixAdapter

                session.mount("http://", UnixAdapter(self._socket))
            self._kept = session
        return self._kept


class _Sized:
    """A body whose length is announced: many registries refuse a request without."""

    def __init__(self, stream: IO[bytes], length: int):
        self._stream = stream
        self._length = length

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[bytes]:
        return iter(lambda: self.read(_BLOCK), b"")

    def read(self, size: int = _BLOCK) -> bytes:
        return self._stream.read(size)


def _as_it_is(request: Any) -> Any:
    """Keep requests from adding a login out of netrc: what is sent is decided by who sends."""
    return request


@contextlib.contextmanager
def _broken() -> Iterator[None]:
    import requests
    import urllib3

    try:
        yield
    except requests.exceptions.InvalidURL as error:
        raise Broken(f"this is not an address: {str(error)[:200]}", lasting=True) from error
    except UnicodeError:  # of what is sent, and no fault of the answer's
        raise
    except (requests.exceptions.InvalidHeader, urllib3.exceptions.InvalidHeader) as error:
        said = (
            "it states two lengths of one answer"
            if "Content-Length" in str(error)
            else "it answers with a header that cannot be"
        )
        raise Broken(f"{said}: {str(error)[:200]}", lasting=True) from error
    except ValueError as error:  # requests looks at `Location` even if it is not to follow it
        raise Broken(f"it answers with something that is no address: {str(error)[:200]}", lasting=True) from error
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        text = repr(error)
        if "NameResolution" in text or "getaddrinfo" in text:
            raise Broken("the host name is not known here (no network, or a wrong name)", lasting=True) from error
        if "CERTIFICATE_VERIFY" in text or "WRONG_VERSION_NUMBER" in text or "wrong version number" in text:
            raise Broken(f"no trusted TLS connection: {_plainly(error)}", lasting=True) from error
        if isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError) or "timed out" in text:
            raise Broken(NO_ANSWER) from error
        raise Broken(_plainly(error)) from error


def _plainly(error: BaseException) -> str:
    reason = error
    while reason.args and isinstance(inner := getattr(reason.args[0], "reason", None) or reason.args[0], BaseException):
        reason = inner
    text = str(reason.args[-1] if reason.args and isinstance(reason.args[-1], BaseException) else reason)
    said = text.rpartition(">: ")[2]  # urllib3 begins with the connection: as `<…>: ` or as `…(host=…): `
    return (_CONNECTION.sub("", said) or type(reason).__name__)[:200]
