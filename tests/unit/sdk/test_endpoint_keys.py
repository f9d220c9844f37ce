"""API keys of endpoints: who gets one, and what becomes of one that nobody has seen."""

from __future__ import annotations

import hashlib
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

import pytest

from wardian.errors import Conflict
from wardian.sdk.endpoint_keys import first_key, key_at_hand, new_key, rotate
from wardian.serving.doors import OWNER
from wardian.serving.sockets import offer
from wardian.tools import processes
from wardian.workspace.database import Database
from wardian.workspace.endpoints import Endpoints

if TYPE_CHECKING:
    from pathlib import Path

    from wardian.sdk.endpoints import EndpointCollection
    from wardian.serving.directory import EndpointDirectory
    from wardian.workspace.endpoint_record import ApiKey

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Replicas:
    """Records, and replicas that accept what is recorded, or fail."""

    def __init__(self, keys: list[ApiKey], error: BaseException | None = None):
        self.store = Endpoints(Database.in_memory())
        _, _, rollout = self.store.deploy("churn", {}, place=lambda _number: None, keys=keys)
        self.store.begin_serving("churn", rollout.number)
        self.error = error
        self.accepted: set[str] = set()

    def roll_out_keys(self, name: str) -> None:
        if self.error is not None:
            raise self.error
        self.accepted = {key.sha256 for key in self.store.get(name).keys}


def test_a_new_key_is_accepted_beside_the_others() -> None:
    _, old = new_key(NOW)
    replicas = Replicas([old])
    made = rotate(cast("EndpointCollection", replicas), "churn", NOW)
    assert replicas.accepted == {old.sha256, hashlib.sha256(made.encode()).hexdigest()}


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Conflict("why", code="endpoint_deleting")])
def test_a_key_that_nobody_sees_is_not_kept(error: BaseException) -> None:
    _, old = new_key(NOW)
    replicas = Replicas([old], error)
    with pytest.raises(type(error)):
        rotate(cast("EndpointCollection", replicas), "churn", NOW)
    assert replicas.store.get("churn").keys == (old,)


def test_the_first_deployment_that_serves_says_who_may_ask() -> None:
    key, made = first_key(None, NOW, authenticated=True)
    assert key is not None
    assert [one.sha256 for one in made] == [hashlib.sha256(key.encode()).hexdigest()]
    assert first_key(None, NOW, authenticated=False) == (None, ())
    replicas = Replicas(list(made))
    serving = replicas.store.get("churn")
    assert first_key(serving, NOW, authenticated=True) == (None, ())
    with pytest.raises(Conflict, match="asks for an API key") as caught:
        first_key(serving, NOW, authenticated=False)
    assert caught.value.stable_code == "keys_are_asked"
    open_to_all = Replicas([]).store.get("churn")
    assert first_key(open_to_all, NOW, authenticated=True) == first_key(open_to_all, NOW, authenticated=False) == (None, ())


class Started:
    """The directory of a keeper that opens its socket when it is asked for the second time."""

    def __init__(self, place: Path):
        self._place = place
        self._asked = 0

    @property
    def path(self) -> Path:
        self._asked += 1
        if self._asked == 2:
            self.door = offer(self._place / OWNER)
            self.door.setblocking(True)
            threading.Thread(target=self._answer, daemon=True).start()
        return self._place

    def _answer(self) -> None:
        line, _ = self.door.accept()
        with line, self.door:
            line.recv(4096)
            line.sendall(b'{"token": "what it accepts"}\n')


def test_a_keeper_that_has_just_been_started_is_waited_for(tmp_path: Path) -> None:
    replicas = Replicas([new_key(NOW)[1]])
    started = cast("EndpointDirectory", Started(tmp_path))
    assert key_at_hand(replicas.store.get("churn"), started, {}) is None, "there is no keeper"
    replicas.store.hand_over("churn", processes.identify())
    assert key_at_hand(replicas.store.get("churn"), cast("EndpointDirectory", Started(tmp_path)), {}) == "what it accepts"
    assert key_at_hand(replicas.store.get("churn"), started, {"WARDIAN_ENDPOINT_KEY": "k"}) == "k"
    assert key_at_hand(Replicas([]).store.get("churn"), started, {"WARDIAN_ENDPOINT_KEY": "k"}) is None
