"""Records of endpoints: deployments that never change, and which served when."""

from __future__ import annotations

from typing import Any

import pytest

from wardian.errors import Conflict, NotFound
from wardian.workspace.database import Database
from wardian.workspace.endpoint_record import ApiKey
from wardian.workspace.endpoints import Endpoints


@pytest.fixture
def endpoints() -> Endpoints:
    return Endpoints(Database.in_memory())


def deploy(endpoints: Endpoints, name: str = "churn", **values: Any) -> int:
    _, deployment, rollout = endpoints.deploy(
        name, {"configuration": {"target": "local"}}, place=lambda _number: None, **values
    )
    assert deployment.number == max(one.number for one in endpoints.deployments(name))
    return rollout.number


def test_what_serves_and_what_did_before(endpoints: Endpoints) -> None:
    assert endpoints.begin_serving("churn", deploy(endpoints))
    assert endpoints.before_current(endpoints.get("churn")) is None
    assert endpoints.begin_serving("churn", deploy(endpoints))
    assert endpoints.before_current(endpoints.get("churn")) == 1
    assert endpoints.begin_serving("churn", endpoints.roll_out("churn", 2, "restart").number)
    assert endpoints.before_current(endpoints.get("churn")) == 1  # a restart is no other deployment
    assert endpoints.begin_serving("churn", endpoints.roll_out("churn", 1, "rollback").number)
    assert endpoints.before_current(endpoints.get("churn")) == 2
    assert [(one.deployment, one.kind, one.state) for one in endpoints.rollouts("churn")] == [
        (1, "rollback", "serving"), (2, "restart", "replaced"), (2, "deploy", "replaced"), (1, "deploy", "replaced"),
    ]  # fmt: skip


def test_a_failed_rollout_leaves_what_serves(endpoints: Endpoints) -> None:
    endpoints.begin_serving("churn", deploy(endpoints))
    failed = deploy(endpoints)
    assert endpoints.fail("churn", failed, "init_failed", "why")
    record = endpoints.get("churn")
    assert (record.wanted, record.current) == (1, 1)
    assert endpoints.rollout("churn", failed).reason == "why"
    assert not endpoints.fail("churn", failed, "init_failed", "again")
    assert endpoints.current_deployment(record) == endpoints.deployment("churn", 1)


def test_replicas_are_as_many_as_a_deployment_says_once_it_serves(endpoints: Endpoints) -> None:
    endpoints.begin_serving("churn", deploy(endpoints, replicas=3))
    endpoints.fail("churn", deploy(endpoints, replicas=1), "init_failed", "why")
    assert endpoints.get("churn").replicas == 3
    fewer = deploy(endpoints, replicas=2)
    assert (endpoints.get("churn").replicas, endpoints.rollout("churn", fewer).replicas) == (3, 2)
    endpoints.begin_serving("churn", fewer)
    assert endpoints.get("churn").replicas == 2
    endpoints.begin_serving("churn", endpoints.roll_out("churn", 1, "rollback").number)
    assert endpoints.get("churn").replicas == 2
    more = deploy(endpoints, replicas=4)
    endpoints.scale("churn", 5)
    endpoints.begin_serving("churn", more)
    assert endpoints.get("churn").replicas == 5


def test_a_later_rollout_supersedes_one_that_does_not_serve_yet(endpoints: Endpoints) -> None:
    first, second = deploy(endpoints), deploy(endpoints)
    assert endpoints.rollout("churn", first).state == "superseded"
    assert not endpoints.begin_serving("churn", first)
    assert not endpoints.fail("churn", first, "init_failed", "late")
    assert endpoints.begin_serving("churn", second)


def test_an_endpoint_that_goes_takes_nothing_more(endpoints: Endpoints) -> None:
    rollout = deploy(endpoints)
    endpoints.ask_delete("churn")
    assert not endpoints.begin_serving("churn", rollout)
    for change in (
        lambda: deploy(endpoints),
        lambda: endpoints.scale("churn", 2),
        lambda: endpoints.roll_out("churn", 1, "restart"),
    ):
        with pytest.raises(Conflict, match="being deleted"):
            change()
    endpoints.delete("churn")
    assert endpoints.find("churn") is None
    assert endpoints.database.rows("SELECT * FROM deployments") == []
    assert endpoints.database.rows("SELECT * FROM rollouts") == []
    assert deploy(endpoints) == 1


def test_files_that_cannot_be_put_in_place_leave_no_record(endpoints: Endpoints) -> None:
    def place(number: int) -> None:
        raise OSError(28, "No space left on device", str(number))

    with pytest.raises(OSError, match="No space"):
        endpoints.deploy("churn", {}, place=place)
    assert endpoints.find("churn") is None


def test_the_port_is_the_endpoints_own(endpoints: Endpoints) -> None:
    deploy(endpoints, port=8080)
    deploy(endpoints)
    assert endpoints.get("churn").url == "http://127.0.0.1:8080"
    with pytest.raises(Conflict, match="its address does not change"):
        deploy(endpoints, port=8081)


FIRST, SECOND = ApiKey("a" * 64, "2026-01-01T00:00:00Z"), ApiKey("b" * 64, "2026-01-02T00:00:00Z")


def test_keys_of_an_endpoint_that_serves_stay(endpoints: Endpoints) -> None:
    endpoints.begin_serving("churn", deploy(endpoints, keys=[FIRST]))
    deploy(endpoints, keys=[SECOND])
    deploy(endpoints)
    assert endpoints.get("churn").keys == (FIRST,)


@pytest.mark.parametrize(("before", "keys"), [([FIRST], [SECOND]), ([FIRST], []), ([], [SECOND])])
def test_who_may_ask_an_endpoint_that_never_served_is_said_by_its_last_deployment(
    endpoints: Endpoints, before: list[ApiKey], keys: list[ApiKey]
) -> None:
    endpoints.fail("churn", deploy(endpoints, keys=before), "init_failed", "why")
    deploy(endpoints, keys=keys)
    assert endpoints.get("churn").keys == tuple(keys)


def test_keys_are_added_and_dropped(endpoints: Endpoints) -> None:
    deploy(endpoints)
    with pytest.raises(Conflict, match="asks for no API key"):
        endpoints.keep_newest_key("churn")
    endpoints.add_key("churn", FIRST)
    assert endpoints.add_key("churn", SECOND).keys == (FIRST, SECOND)
    endpoints.remove_key("churn", FIRST.sha256)
    endpoints.remove_key("churn", FIRST.sha256)
    assert endpoints.add_key("churn", FIRST).keys == (SECOND, FIRST)
    assert endpoints.keep_newest_key("churn").keys == (FIRST,)
    endpoints.remove_key("chrun", FIRST.sha256)


def test_an_unknown_name_is_answered_with_a_near_one(endpoints: Endpoints) -> None:
    deploy(endpoints)
    with pytest.raises(NotFound) as caught:
        endpoints.get("chrun")
    assert caught.value.hint == "did you mean `churn`?"
    with pytest.raises(NotFound, match="no deployment 7"):
        endpoints.roll_out("churn", 7, "rollback")
