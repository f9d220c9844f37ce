"""How Jobs and pods stand, in our words."""

from __future__ import annotations

from typing import Any

import pytest

from wardian.errors import Unavailable
from wardian.run.configuration import Resources
from wardian.run.targets.kubernetes_options import KubernetesOptions
from wardian.run.targets.kubernetes_resources import claim_finding, quantity, quota_findings, resource_findings
from wardian.run.targets.kubernetes_words import objects_of, standing_of


@pytest.mark.parametrize(
    "document", [{}, {"items": {}}, {"items": [None]}, {"items": [{"metadata": None}]}, {"items": [{"metadata": {"name": 5}}]}]
)
def test_what_is_no_list_of_objects_is_no_answer(document: dict[str, Any]) -> None:
    with pytest.raises(Unavailable, match="no list of objects"):
        objects_of(document)


def test_lists_of_nothing_have_two_forms() -> None:
    assert list(objects_of({"items": []})) == list(objects_of({"items": None})) == []


def a_job(*conditions: tuple[str, str], **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "j"},
        "spec": spec,
        "status": {"conditions": [{"type": kind, "status": "True", "reason": why} for kind, why in conditions]},
    }


def a_pod(
    phase: str,
    container: dict[str, Any] | None = None,
    conditions: list[dict[str, Any]] | None = None,
    index: int = 0,
    **status: Any,
) -> dict[str, Any]:
    return {
        "metadata": {"annotations": {"batch.kubernetes.io/job-completion-index": str(index)}},
        "spec": {"nodeName": f"n{index}"},
        "status": {"phase": phase, "startTime": "t", "conditions": conditions or [], "containerStatuses": [{"state": container}] if container else [], **status},
    }  # fmt: skip


def ended(code: int, reason: str = "Error", at: str = "2026-01-01T00:00:00Z") -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": reason, "finishedAt": at}}


DISRUPTED = {"type": "DisruptionTarget", "status": "True"}
FAILED = ("Failed", "BackoffLimitExceeded")
BY_POLICY = ("Failed", "PodFailurePolicy")


@pytest.mark.parametrize(
    ("job", "pods", "state", "cause", "reason"),
    [
        (None, [], "unknown", "", ""),
        (a_job(), [], "waiting", "", "no pod yet"),
        (a_job(suspend=True), [], "waiting", "", "suspended"),
        (a_job(), [a_pod("Pending", conditions=[{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are\navailable"}])], "waiting", "", "Unschedulable: 0/3 nodes are available"),
        (a_job(), [a_pod("Pending", {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}})], "waiting", "", "ImagePullBackOff: Back-off pulling image"),
        (a_job(), [a_pod("Pending", {"waiting": {"reason": "ContainerCreating"}})], "waiting", "", "its container is being made: the image is pulled, volumes are mounted"),
        (a_job(), [a_pod("Running", {"running": {}}), a_pod("Pending", {"waiting": {"reason": "ErrImagePull", "message": "m"}}, index=1)], "waiting", "", "ErrImagePull: m"),
        (a_job(), [a_pod("Running", {"running": {}})], "running", "", ""),
        (a_job(), [a_pod("Running", {"running": {}}, [{"type": "Ready", "status": "False", "reason": "NodeStatusUnknown"}])], "running", "", "its node n0 gives no sign of life"),
        (a_job(("Complete", "CompletionsReached")), [a_pod("Succeeded", ended(0, "Completed"))], "ended", "exited", "Complete"),
        (a_job(FAILED), [a_pod("Failed", ended(7))], "ended", "exited", "Error"),
        (a_job(FAILED), [a_pod("Failed", ended(137, "OOMKilled"))], "ended", "out_of_memory", "OOMKilled"),
        (a_job(FAILED), [a_pod("Failed", ended(143), reason="DeadlineExceeded", message="Pod was active too long")], "ended", "timeout", "DeadlineExceeded: Pod was active too long"),
        (a_job(("Failed", "DeadlineExceeded")), [], "ended", "timeout", "DeadlineExceeded"),
        (a_job(BY_POLICY), [a_pod("Failed", ended(143), [{**DISRUPTED, "reason": "PreemptionByScheduler", "message": "for others"}])], "ended", "preempted", "PreemptionByScheduler: for others"),
        (a_job(BY_POLICY), [a_pod("Failed", ended(137), [{**DISRUPTED, "reason": "DeletionByTaintManager"}])], "ended", "node_lost", "DeletionByTaintManager"),
        (a_job(BY_POLICY), [a_pod("Failed", None, [{**DISRUPTED, "reason": "TerminationByKubelet"}], reason="Evicted", message="The node was low on resource: memory.")], "ended", "node_lost", "Evicted: The node was low on resource: memory."),
        (a_job(FAILED), [a_pod("Failed", reason="NodeShutdown", message="Pod was rejected")], "ended", "node_lost", "NodeShutdown: Pod was rejected"),
        (a_job(BY_POLICY), [], "ended", "node_lost", "PodFailurePolicy"),
        (a_job(FAILED), [a_pod("Failed", ended(128, "StartError"))], "ended", "not_started", "StartError"),
        (a_job(FAILED), [a_pod("Failed", reason="OutOfcpu", message="Node didn't have enough resource: cpu")], "ended", "not_started", "OutOfcpu: Node didn't have enough resource: cpu"),
        ({"metadata": {"deletionTimestamp": "t"}}, [a_pod("Running", {"running": {}})], "running", "", "Terminating: its Job was deleted"),
        ({"metadata": {"deletionTimestamp": "t"}}, [], "ended", "canceled", "its Job was deleted"),
    ],
)  # fmt: skip
def test_standings(job: dict[str, Any] | None, pods: list[dict[str, Any]], state: str, cause: str, reason: str) -> None:
    found = standing_of(job, pods)
    assert (found.state, found.cause, found.reason) == (state, cause, reason)


def test_exit_codes_and_signals() -> None:
    found = standing_of(a_job(FAILED), [a_pod("Failed", ended(7))])
    assert (found.exit_code, found.signal, found.node, found.attempts) == (7, None, "n0", 1)
    found = standing_of(a_job(FAILED), [a_pod("Failed", ended(137))])
    assert (found.exit_code, found.signal) == (None, 9)
    found = standing_of(a_job(FAILED), [a_pod("Failed", ended(255))])
    assert (found.exit_code, found.signal) == (255, None)
    assert standing_of(a_job(("Complete", "")), []).exit_code == 0, "its pods may be gone by then"


def test_the_node_that_failed_first_tells_why() -> None:
    early, late = ended(3, at="2026-01-01T00:00:05Z"), ended(143, at="2026-01-01T00:00:06Z")
    found = standing_of(
        a_job(FAILED),
        [a_pod("Failed", late), a_pod("Failed", early, index=1), a_pod("Succeeded", ended(0, "Completed"), index=2)],
    )
    assert (found.exit_code, found.node) == (3, "n1")


@pytest.mark.parametrize(
    ("text", "amount"),
    [("500m", 0.5), ("2", 2), ("1Gi", 1 << 30), ("1e3", 1000), ("1.5k", 1500), ("", 0), ("many", 0), ("9e99999", 0)],
)
def test_quantities(text: str, amount: float) -> None:
    assert quantity(text) == amount


def nodes(*allocatable: dict[str, str], ready: bool = True) -> dict[str, Any]:
    return {
        "items": [
            {
                "metadata": {"labels": {"zone": "b"}},
                "status": {"allocatable": one, "conditions": [{"type": "Ready", "status": "True" if ready else "Unknown"}]},
            }
            for one in allocatable
        ]
    }


def test_what_nodes_have_is_compared_with_what_is_asked_for() -> None:
    two = nodes({"cpu": "4", "memory": "8Gi"}, {"cpu": "2500m", "memory": "8Gi"})
    options = KubernetesOptions()
    assert [one.ok for one in resource_findings(two, Resources(cpus=2, nodes=2), options)] == [True, True]
    _, short = resource_findings(two, Resources(cpus=3, nodes=2), options)
    assert not short.ok
    assert "1 nodes have" in short.text
    _, short = resource_findings(two, Resources(gpus=1, memory_bytes=1 << 40), options)
    assert "nvidia.com/gpu 1, where the largest node has 0" in short.text
    assert "memory 1024.0 GiB, where the largest node has 8.0 GiB" in short.text
    assert not resource_findings(nodes({"cpu": "4"}, ready=False), None, options)[0].ok
    assert not resource_findings(two, None, KubernetesOptions(node_selector=(("zone", "c"),)))[0].ok


def test_quotas() -> None:
    quota = {
        "metadata": {"name": "team"},
        "status": {"hard": {"requests.cpu": "10", "pods": "5", "services": "1"}, "used": {"requests.cpu": "9", "pods": "1"}},
    }
    (found,) = quota_findings({"items": [quota]}, Resources(cpus=1), "nvidia.com/gpu")
    assert (found.ok, found.text) == (True, "quota team: requests.cpu 9 of 10 used, pods 1 of 5 used")
    (found,) = quota_findings({"items": [quota]}, Resources(cpus=1, nodes=2), "nvidia.com/gpu")
    assert not found.ok
    assert "requests.cpu" in found.hint


def test_claims() -> None:
    assert not claim_finding("c", "n", 404, {}).ok
    assert (
        claim_finding("c", "n", 200, {"status": {"phase": "Bound"}, "spec": {"accessModes": ["ReadWriteMany"]}}).text
        == "c: Bound, ReadWriteMany"
    )
    assert not claim_finding("c", "n", 200, {"status": {"phase": "Lost"}}).ok


def test_what_keeps_a_pod_from_its_files_is_no_exit_code_of_the_script() -> None:
    said = {
        "exitCode": 125,
        "reason": "Error",
        "message": "error: r.test/envs: the credentials given are not accepted\nhint:  ask\n",
    }
    pod = {
        "metadata": {"name": "p"}, "spec": {"nodeName": "n1"},
        "status": {
            "phase": "Failed", "startTime": "now", "initContainerStatuses": [{"name": "fetch", "state": {"terminated": said}}],
            "containerStatuses": [{"name": "run", "state": {"waiting": {"reason": "PodInitializing"}}}],
        },
    }  # fmt: skip
    job = {"status": {"conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}]}}
    found = standing_of(job, [pod])
    assert (found.state, found.cause, found.exit_code) == ("ended", "not_started", None)
    assert found.reason == "its files could not be fetched: error: r.test/envs: the credentials given are not accepted"
