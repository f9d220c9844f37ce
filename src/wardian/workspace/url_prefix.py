"""URL prefixes that credentials are bound to. What does not surely lie below a prefix gets none."""

from __future__ import annotations

import re
from dataclasses import dataclass

from wardian.errors import InvalidInput

_PORTS = {"http": 80, "https": 443}
_UNCLEAN = re.compile(r"[\x00-\x20\x7f\\]")


@dataclass(frozen=True, slots=True)
class UrlPrefix:
    """Scheme, host and port, and the beginning of a path. ``https://host/a`` covers ``/a`` and ``/a/b``, never ``/ab``."""

    scheme: str
    host: str
    port: int
    path: str = ""  # without a `/` at its end

    @classmethod
    def parse(cls, text: str) -> UrlPrefix:
        """Return the prefix that ``text`` states.

        Raises:   InvalidInput: code ``bad_url``: not http(s), without a host, or with user, query or fragment.
        """
        found = cls.find(text)
        if found is None or "?" in text or "#" in text or "@" in text:
            raise InvalidInput("the URL is not one that a secret can be bound to",
                               hint="`https://HOST[:PORT][/PATH]`, without user, password, `?` and `#`", code="bad_url")  # fmt: skip
        return found

    @classmethod
    def find(cls, text: str) -> UrlPrefix | None:
        """Return the parts of an http(s) URL, user, query and fragment left out; None: not a plain one.

        URLs that programs read in different ways have no plain parts: backslashes, control characters, ``..`` segments.
        """
        from urllib.parse import unquote, urlsplit

        if _UNCLEAN.search(text):
            return None
        try:
            parts = urlsplit(text)
            host, port = parts.hostname, parts.port
        except ValueError:
            return None
        if parts.scheme not in _PORTS or not host or port == 0:
            return None
        if any(unquote(segment) in (".", "..") or "\\" in unquote(segment) for segment in parts.path.split("/")):
            return None
        return cls(parts.scheme, host, port or _PORTS[parts.scheme], parts.path.rstrip("/"))

    def covers(self, url: UrlPrefix) -> bool:
        """Return whether ``url`` lies at or below this prefix."""
        if (self.scheme, self.host, self.port) != (url.scheme, url.host, url.port):
            return False
        return url.path == self.path or url.path.startswith(self.path + "/")

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.path}"
