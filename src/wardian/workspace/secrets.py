"""The secrets of a workspace: by name, readable by their owner alone, shown by nothing."""

from __future__ import annotations

import errno
import json
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wardian.definition.docker_section import SECRET_NAME
from wardian.errors import Conflict, Denied, InvalidInput, NotFound
from wardian.tools.disk import FileLock, disk_errors, write_atomically
from wardian.workspace.clock import moment_text, utc_now
from wardian.workspace.database import DamagedRecords
from wardian.workspace.url_prefix import UrlPrefix

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from wardian.tools.http import Credentials

KINDS = ("index", "channel", "registry", "plain")
BOUND_KINDS = ("index", "channel", "registry")
_PRIVATE_FILE = 0o600
_PRIVATE_DIRECTORY = 0o700
_OTHERS = 0o077
_LARGEST_BYTES = 64 << 10
_SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret. Its value is in no ``repr``, no list and no error.

    Attributes:
        kind: ``index``, ``channel`` or ``registry``: bound to ``url`` and what lies below it; ``plain``: to nothing.
        username: with one, the value is a password; without, a token.
        changed: RFC 3339 time, UTC.
    """

    name: str
    kind: str
    url: str
    username: str
    changed: str
    value: str = field(repr=False)

    def as_document(self) -> dict[str, str]:
        """Return plain JSON values, all but the value."""
        return {"name": self.name, "kind": self.kind, "url": self.url, "username": self.username, "changed": self.changed}


class Secrets:
    """Keeps secrets in one file of mode 0600 in a directory of mode 0700. Safe across processes; a write is all or nothing.

    Args:     directory: the workspace's own directory for secrets; made when the first secret is set.
    """

    def __init__(self, directory: Path, now: Callable[[], datetime] = utc_now) -> None:
        self._directory = directory
        self._file = directory / "secrets.json"
        self._now = now

    def set(self, name: str, value: str, *, kind: str = "plain", url: str = "", username: str = "") -> Secret:
        """Keep a secret, in place of one of that name.

        Args:
            name: what it is called.
            value: the password or token, up to 64 KiB; without a line end unless it is plain.
            kind: ``index``, ``channel``, ``registry`` or ``plain``.
            url: what it is for, http(s): it is sent to this host alone, for this path and what lies below.
            username: with a password; without it the value is a token.
        Raises:   InvalidInput; Conflict: another secret of this kind is bound to that very URL.
        """
        secret = self._checked(name, value, kind, url, username)
        with self._locked():
            known = self._read()
            for other in known.values():
                if other.url and (other.kind, other.url) == (secret.kind, secret.url) and other.name != name:
                    raise Conflict(f"the secret `{other.name}` is for {other.url} already", code="secret_url_taken",
                                   hint=f"`wardian secret set {other.name}` changes it; `wardian secret delete {other.name}` removes it")  # fmt: skip
            self._write({**known, name: secret})
        return secret

    def list(self) -> tuple[Secret, ...]:
        """Return all secrets, in the order of their names. What prints them prints ``as_document``: no values."""
        return tuple(secret for _, secret in sorted(self._read().items()))

    def find(self, name: str) -> Secret | None:
        """Return the secret of that name; None: there is none."""
        return self._read().get(name)

    def get(self, name: str) -> Secret:
        """Return the secret of that name.

        Raises:   NotFound: the hint names those that there are.
        """
        known = self._read()
        if name not in known:
            raise _missing(name, known)
        return known[name]

    def delete(self, name: str) -> None:
        """Forget a secret.

        Raises:   NotFound: there is none of that name.
        """
        if not self._directory.is_dir():
            raise _missing(name, {})
        with self._locked():
            known = self._read()
            if name not in known:
                raise _missing(name, known)
            del known[name]
            self._write(known)

    def credentials_for(self, url: str, *, kinds: tuple[str, ...] = BOUND_KINDS) -> Credentials | None:
        """Return the login for ``url``, as ``find_for`` finds it: user and password, or a token; None: there is none."""
        from wardian.tools.http import Credentials

        secret = self.find_for(url, kinds=kinds)
        if secret is None:
            return None
        return Credentials(user=secret.username, password=secret.value) if secret.username else Credentials(token=secret.value)

    def find_for(self, url: str, *, kinds: tuple[str, ...] = BOUND_KINDS) -> Secret | None:
        """Return the secret that is for ``url``: of those bound to it or above it the one with the longest path.

        Scheme, host and port must be the same, and paths end at a ``/``: a look-alike gets nothing. None: no secret.
        """
        asked = UrlPrefix.find(url)
        if asked is None:
            return None
        bound = [(UrlPrefix.find(secret.url), secret) for secret in self.list() if secret.kind in kinds and secret.url]
        covering = [(len(prefix.path), secret) for prefix, secret in bound if prefix is not None and prefix.covers(asked)]
        return max(covering, key=lambda found: found[0])[1] if covering else None

    def _checked(self, name: str, value: str, kind: str, url: str, username: str) -> Secret:
        if not SECRET_NAME.fullmatch(name):
            raise InvalidInput(
                f"`{name[:80]}` is not a name for a secret",
                hint="a letter or digit, then up to 127 letters, digits, `.`, `_` or `-`",
            )
        if kind not in KINDS:
            raise InvalidInput(f"`{kind}` is no kind of secret", hint=f"one of {', '.join(KINDS)}")
        if not value or "\0" in value or len(value.encode(errors="surrogateescape")) > _LARGEST_BYTES:
            raise InvalidInput(f"the value of `{name}` is empty, larger than 64 KiB, or holds a NUL character")
        if kind == "plain":
            if url or username:
                raise InvalidInput(
                    f"the plain secret `{name}` is bound to no URL and has no user", hint=f"choose {', '.join(BOUND_KINDS)}"
                )
        elif re.search(r"[\r\n]", value + username) or ":" in username:
            raise InvalidInput(
                f"user and value of `{name}` go into one line of a request: no line ends, and no `:` in the user"
            )
        bound = str(UrlPrefix.parse(url if "://" in url or kind != "registry" else f"https://{url}")) if kind != "plain" else ""
        return Secret(name, kind, bound, username, moment_text(self._now()), value)

    def _locked(self) -> FileLock:
        with disk_errors(self._directory):
            self._directory.mkdir(mode=_PRIVATE_DIRECTORY, parents=True, exist_ok=True)
            self._directory.chmod(_PRIVATE_DIRECTORY)
        return FileLock(self._directory / ".lock")

    def _read(self) -> dict[str, Secret]:
        with disk_errors(self._file):
            try:
                descriptor = os.open(self._file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            except FileNotFoundError:
                return {}
            except OSError as error:
                if error.errno == errno.ELOOP:
                    raise Denied(f"{self._file} is a symbolic link, and secrets are read from a file of this directory alone",
                                 hint="replace the link by the file", code="secrets_exposed") from None  # fmt: skip
                raise
            with os.fdopen(descriptor, "rb") as stream:
                self._close_to_others(stream.fileno())
                content = stream.read()
        found = _parsed(content)
        if found is None:
            raise DamagedRecords(
                f"{self._file} is not a file of secrets that this Wardian reads",
                hint="restore or remove it, and set the secrets anew",
            )
        return found

    def _close_to_others(self, descriptor: int) -> None:
        if not os.fstat(descriptor).st_mode & _OTHERS:
            return
        os.fchmod(descriptor, _PRIVATE_FILE)
        if os.fstat(descriptor).st_mode & _OTHERS:
            raise Denied(f"{self._file} can be read by others, and its file system cannot prevent it",
                         hint="keep WARDIAN_HOME on a file system with permissions", code="secrets_exposed")  # fmt: skip

    def _write(self, secrets: dict[str, Secret]) -> None:
        kept = {name: {**secret.as_document(), "value": secret.value} for name, secret in sorted(secrets.items())}
        write_atomically(self._file, json.dumps({"schema": _SCHEMA, "secrets": kept}, indent=1).encode(), _PRIVATE_FILE)


def _parsed(content: bytes) -> dict[str, Secret] | None:
    """None instead of an error: an error of the JSON reader would carry the whole text."""
    try:
        document: dict[str, Any] = json.loads(content)
        if document["schema"] > _SCHEMA:
            return None
        return {name: Secret(**values) for name, values in document["secrets"].items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _missing(name: str, known: dict[str, Secret]) -> NotFound:
    hint = f"there are: {', '.join(f'`{n}`' for n in sorted(known))}" if known else f"`wardian secret set {name[:80]}` sets it"
    return NotFound(f"there is no secret `{name[:80]}`", hint=hint, code="secret_not_found")
