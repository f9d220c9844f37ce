"""API keys of endpoints: made, shown to whoever asked for them, kept as digests alone."""

from __future__ import annotations

import hashlib
import secrets
import time
from typing import TYPE_CHECKING

from wardian.errors import Conflict, WardianError
from wardian.tools import processes
from wardian.workspace.clock import moment_text
from wardian.workspace.endpoint_record import ApiKey

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from wardian.sdk.endpoints import EndpointCollection
    from wardian.serving.directory import EndpointDirectory
    from wardian.workspace.endpoint_record import EndpointRecord

KEY_VARIABLE = "WARDIAN_ENDPOINT_KEY"
_KEEPER_S, _PAUSE_S = 10.0, 0.01


def new_key(now: datetime) -> tuple[str, ApiKey]:
    """Return a new key, and what is kept of it."""
    key = secrets.token_urlsafe(32)
    return key, ApiKey(hashlib.sha256(key.encode()).hexdigest(), moment_text(now))


def first_key(known: EndpointRecord | None, now: datetime, *, authenticated: bool) -> tuple[str | None, tuple[ApiKey, ...]]:
    """Return the key of an endpoint that never served, and what is kept of it; one that did keeps its own.

    Raises:   Conflict: ``keys_are_asked``: none is to be asked for, but its clients send one.
    """
    if known is not None and known.current is not None:
        if known.keys and not authenticated:
            raise Conflict(f"endpoint `{known.name}` asks for an API key, and its clients send one", code="keys_are_asked",
                           hint=f"leave `--no-auth` out, or `wardian endpoint delete {known.name} --yes` first")  # fmt: skip
        return None, ()
    if not authenticated:
        return None, ()
    key, made = new_key(now)
    return key, (made,)


def rotate(collection: EndpointCollection, name: str, now: datetime) -> str:
    """Return a new key of an endpoint, which is accepted beside the others when this returns.

    Raises:   RunFailed: its replicas fail; the key is dropped then, as it is if whoever asked for it does not wait.
    """
    key, made = new_key(now)
    collection.store.add_key(name, made)
    try:
        collection.roll_out_keys(name)
    except BaseException:  # nobody sees it: it must not be the newest one, which `drop_old` keeps
        collection.store.remove_key(name, made.sha256)
        raise
    return key


def key_at_hand(record: EndpointRecord, directory: EndpointDirectory, environ: Mapping[str, str]) -> str | None:
    """Return a key for who has none: ``WARDIAN_ENDPOINT_KEY``'s, or what the keeper accepts from its owner; None: none is needed, or known."""
    from wardian.serving.doors import OWNER
    from wardian.serving.sockets import ask

    if not record.keys:
        return None
    if given := environ.get(KEY_VARIABLE):
        return given
    deadline = time.monotonic() + _KEEPER_S
    while True:
        try:
            return ask(directory.path / OWNER, {"op": "token"})[0].get("token")
        except WardianError:  # one that was started just now still looks for replicas
            if record.keeper is None or not processes.is_alive(record.keeper) or time.monotonic() > deadline:
                return None
        time.sleep(_PAUSE_S)
