"""How a task stands, by what Kubernetes says of its Job and its pods. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wardian.errors import Unavailable
from wardian.run.targets.remote import ENDED, RUNNING, UNKNOWN, WAITING, Standing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# the reason of a pod's condition DisruptionTarget → our cause
_DISRUPTIONS = {"PreemptionByScheduler": "preempted", "PreemptionByKubeScheduler": "preempted"}
_LOST = ("Evicted", "NodeLost", "NodeShutdown", "Shutdown", "Terminated", "UnexpectedAdmissionError", "NodeAffinity")
_PREEMPTED = ("Preempting", "Preempted")
_BY_SIGNAL, _LAST_SIGNAL, _KILLED = 128, 64, 137
_LONGEST = 500
_BEING_MADE = "its container is being made: the image is pulled, volumes are mounted"


def objects_of(document: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Return the objects of a list, each with a name. What is none must not look like a list of nothing: runs would be lost.

    Raises:   Unavailable: it is no list of objects.
    """
    items = document.get("items", ())
    if items is None:  # how some servers write a list of nothing
        return []
    if not isinstance(items, list) or not all(isinstance(_at(one, "metadata", "name"), str) for one in items):
        raise Unavailable(
            "Kubernetes answers with no list of objects", code="engine_unclear", hint="is there a proxy before the cluster?"
        )
    return items


def standing_of(job: Mapping[str, Any] | None, pods: Sequence[Mapping[str, Any]]) -> Standing:
    """Return how the Job stands.

    Args:     job: as the API gives it; None: there is none (any more).  pods: all that are there of it.
    """
    if job is None:
        return Standing(UNKNOWN)
    pods = sorted(pods, key=_rank)
    conditions = {one.get("type"): one for one in _at(job, "status", "conditions") or () if one.get("status") == "True"}
    node = next((str(name) for pod in pods if (name := _at(pod, "spec", "nodeName"))), "")
    attempts = (
        1
        if any(_at(pod, "status", "startTime") for pod in pods)
        or (_at(job, "status", "startTime") and "Complete" in conditions)
        else 0
    )
    if "Complete" in conditions:
        return Standing(ENDED, "Complete", "exited", 0, None, node, max(attempts, 1))
    if "Failed" in conditions:
        return _failed(conditions["Failed"], pods, attempts)
    is_deleted = bool(_at(job, "metadata", "deletionTimestamp"))
    left = [pod for pod in pods if _at(pod, "status", "phase") in ("Pending", "Running", "Unknown")]
    if is_deleted and not left:
        return Standing(ENDED, "its Job was deleted", "canceled", None, None, node, attempts)
    running = [pod for pod in left if _at(pod, "status", "phase") == "Running"]
    if is_deleted and running:
        return Standing(RUNNING, "Terminating: its Job was deleted", node=node, attempts=1)
    if running and len(running) == len(left):
        lost = [pod for pod in running if _condition(pod, "Ready").get("reason") == "NodeStatusUnknown"]
        reason = f"its node {_at(lost[0], 'spec', 'nodeName')} gives no sign of life" if lost else ""
        return Standing(RUNNING, reason, node=node, attempts=1)
    if left:
        pending = next((pod for pod in left if pod not in running), left[0])
        return Standing(WAITING, _why_pending(pending), node=node, attempts=attempts)
    if _at(job, "spec", "suspend"):
        queue = str((_at(job, "metadata", "labels") or {}).get("kueue.x-k8s.io/queue-name", ""))
        return Standing(WAITING, f"suspended: the queue {queue} has not admitted it" if queue else "suspended")
    if pods:  # all have ended, the Job's conditions follow
        return Standing(RUNNING, node=node, attempts=attempts)
    return Standing(WAITING, "no pod yet")


def is_without_pods(standing: Standing) -> bool:
    """Return whether only the events of the Job can say why it waits."""
    return standing.state == WAITING and standing.reason == "no pod yet"


def is_being_made(standing: Standing) -> bool:
    """Return whether only the events of its pod can say what keeps it: a volume or a Secret that is not there."""
    return standing.state == WAITING and standing.reason == _BEING_MADE


def _failed(condition: Mapping[str, Any], pods: Sequence[Mapping[str, Any]], attempts: int) -> Standing:
    """Return how the Job failed: by the pod that failed first, as far as one is still there."""
    failed = [pod for pod in pods if _at(pod, "status", "phase") == "Failed" or _terminated(pod).get("exitCode")]
    first = min(failed, key=_ended_at, default=None)
    job_says = str(condition.get("reason", ""))
    if job_says == "DeadlineExceeded":
        return Standing(ENDED, _in_words(condition), "timeout", None, None, _node(first), max(attempts, 1))
    if first is None:
        disrupted = job_says == "PodFailurePolicy"
        return Standing(ENDED, _in_words(condition), "node_lost" if disrupted else "exited", attempts=attempts)
    end, disruption, reason = (
        _terminated(first),
        _condition(first, "DisruptionTarget"),
        str(_at(first, "status", "reason") or ""),
    )
    code, signal = _code(end)
    node, attempts = _node(first), max(attempts, 1)
    if reason == "DeadlineExceeded":
        return Standing(ENDED, _says(first), "timeout", code, signal, node, attempts)
    if reason in _PREEMPTED or str(disruption.get("reason", "")) in _DISRUPTIONS:
        return Standing(ENDED, _in_words(disruption) or _says(first), "preempted", code, signal, node, attempts)
    if disruption or reason in _LOST:
        return Standing(ENDED, _says(first) or _in_words(disruption), "node_lost", code, signal, node, attempts)
    if end.get("reason") == "OOMKilled":
        return Standing(ENDED, "OOMKilled", "out_of_memory", None, 9, node, attempts)
    if end.get("reason") in ("ContainerCannotRun", "StartError", "CreateContainerError"):
        return Standing(ENDED, _in_words(end), "not_started", code, signal, node, attempts)
    if _at(first, "status", "initContainerStatuses") and end in [
        _at(one, "state", "terminated") for one in _at(first, "status", "initContainerStatuses")
    ]:
        said = str(end.get("message") or "").strip().splitlines()[:1]  # what brings its files says what is wrong
        return Standing(
            ENDED, ": ".join(["its files could not be fetched", *said])[:_LONGEST], "not_started", None, None, node, attempts
        )
    if not end and not _containers(first):
        return Standing(ENDED, _says(first) or _in_words(condition), "not_started", None, None, node, attempts)
    last = str(end.get("message") or "").strip().splitlines()[-1:]  # of its log
    words = ": ".join([str(end.get("reason") or job_says or "Failed"), *last])[:_LONGEST]
    return Standing(ENDED, words, "exited", code, signal, node, attempts)


def _why_pending(pod: Mapping[str, Any]) -> str:
    scheduled = _condition(pod, "PodScheduled", "False")
    if scheduled:
        return _in_words(scheduled)
    for status in [*(_at(pod, "status", "initContainerStatuses") or ()), *_containers(pod)]:
        waiting = _at(status, "state", "waiting")
        if waiting and waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
            return _in_words(waiting)
    return _BEING_MADE if _node(pod) else "to be scheduled"


def _rank(pod: Mapping[str, Any]) -> int:
    text = str((_at(pod, "metadata", "annotations") or {}).get("batch.kubernetes.io/job-completion-index", "0"))
    return int(text) if text.isdecimal() else 0


def _containers(pod: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return _at(pod, "status", "containerStatuses") or ()


def _terminated(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    found = (
        _at(status, "state", "terminated")
        for status in [*_containers(pod), *(_at(pod, "status", "initContainerStatuses") or ())]
    )
    return next((one for one in found if one and (one.get("exitCode") or one.get("reason") != "Completed")), {})


def _ended_at(pod: Mapping[str, Any]) -> str:
    return str(_terminated(pod).get("finishedAt") or "~")  # RFC 3339 sorts; a pod without a moment comes last


def _code(end: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """Return exit code and signal. Container runtimes say both as one number, as shells do."""
    if end.get("signal"):
        return None, int(end["signal"])
    code = end.get("exitCode")
    if isinstance(code, int) and _BY_SIGNAL < code <= _BY_SIGNAL + _LAST_SIGNAL:
        return None, code - _BY_SIGNAL
    return code, None


def _condition(pod: Mapping[str, Any], name: str, status: str = "") -> Mapping[str, Any]:
    wanted = (status,) if status else ("True", "False", "Unknown")
    if name == "DisruptionTarget":
        wanted = ("True",)
    return next(
        (one for one in _at(pod, "status", "conditions") or () if one.get("type") == name and one.get("status") in wanted), {}
    )


def _says(pod: Mapping[str, Any]) -> str:
    return _in_words(pod.get("status") or {})


def _in_words(found: Mapping[str, Any]) -> str:
    reason, message = str(found.get("reason") or ""), " ".join(str(found.get("message") or "").split())
    return (f"{reason}: {message}" if reason and message else reason or message)[:_LONGEST]


def _node(pod: Mapping[str, Any] | None) -> str:
    return str(_at(pod, "spec", "nodeName") or "") if pod is not None else ""


def _at(found: Any, *names: str) -> Any:
    for name in names:
        if not isinstance(found, dict):
            return None
        found = found.get(name)
    return found
