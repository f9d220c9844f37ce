"""From a task to the objects that Kubernetes is given: plain data, no client. No secret is in them.

Source:   the API's reference (batch/v1 Job, v1 Pod); Pod Security Standards, "restricted"; Kueue's labels.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from wardian.errors import InvalidInput
from wardian.run.configuration import Resources
from wardian.run.node.sheet import FILES_LOGIN, RUNS, SECRETS, SECRETS_FILE
from wardian.run.targets.kubernetes_options import KubernetesOptions, is_name

if TYPE_CHECKING:
    from wardian.run.targets.remote import Task

MANAGED_BY, MANAGER = "app.kubernetes.io/managed-by", "wardian"
RUN, WORKSPACE = "dev.wardian/run", "dev.wardian/workspace"  # labels
QUEUE = "kueue.x-k8s.io/queue-name"
CONTAINER = "run"
FIRST = "fetch"
SECRETS_PLACE, LOGIN_PLACE = "/run/secrets/wardian", "/run/secrets/wardian-registry"
LOGIN_KEY, LOGIN_FILE = ".dockerconfigjson", "config.json"
_LONGEST_JOB_NAME = 56  # of the 63 characters of a label, a pod's number and a Service's first letters need some
_VARIABLE = re.compile(r"[A-Za-z_.-][A-Za-z0-9_.-]*")
_HOME = "/tmp"  # noqa: S108 - the container's own


def manifests(task: Task, options: KubernetesOptions, *, workspace: str = "") -> list[dict[str, Any]]:
    """Return what is created for ``task``: the Job, and, if it runs on several nodes, the Service by which they find the first.

    The Job runs once: no pod of it is started again. It fails by its policy, not by its pod's exit code, where a pod was evicted,
    preempted or lost with its node.

    Args:     workspace: which is asked after its own Jobs by this label.
    Raises:   InvalidInput: ``no_image``: the task has none.  ``bad_task``: a name that Kubernetes would not take.
    """
    if not is_name(task.key) or len(task.key) > _LONGEST_JOB_NAME:
        raise InvalidInput(f"`{task.key[:80]}` cannot be the name of a Job", code="bad_task")
    if not (task.image or options.image):
        raise InvalidInput("a Kubernetes Job needs an image, and the run has none", code="no_image",
                           hint="run an environment that has one: `wardian env build REF --image`")  # fmt: skip
    for name in task.variables:
        if not _VARIABLE.fullmatch(name):
            raise InvalidInput(f"`{name[:80]}` cannot be the name of a variable there", code="bad_task")
    labels = labels_of(task.key, workspace)
    nodes = task.resources.nodes or 1
    job: dict[str, Any] = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": task.key, "labels": labels | ({QUEUE: options.queue} if options.queue else {})}
        | ({"namespace": options.namespace} if options.namespace else {}),
        "spec": {
            "backoffLimit": 0,
            "completions": nodes,
            "parallelism": nodes,
            "completionMode": "Indexed",
            "ttlSecondsAfterFinished": options.ttl_s,
            "podFailurePolicy": {
                "rules": [{"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
            },
            "template": {
                "metadata": {
                    "labels": labels,
                    "annotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"},
                },
                "spec": pod_spec(task, options),
            },
        },
    }
    if options.queue:
        job["spec"]["suspend"] = True  # Kueue lets it go when it is its turn
    return [job, _service(task.key, labels, options)] if nodes > 1 else [job]


def pod_spec(task: Task, options: KubernetesOptions) -> dict[str, Any]:
    """Return the specification of each of its pods: within the Pod Security Standard "restricted", without a ServiceAccount's token."""
    volumes, mounts = _volumes(task, options)
    confined = {"allowPrivilegeEscalation": False, "privileged": False, "capabilities": {"drop": ["ALL"]}}
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": options.grace_s,
        "securityContext": {
            "runAsNonRoot": True, "runAsUser": options.uid, "runAsGroup": options.gid, "fsGroup": options.gid,
            "fsGroupChangePolicy": "OnRootMismatch", "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": CONTAINER,
                "image": task.image or options.image,
                "imagePullPolicy": "IfNotPresent",
                "command": [_literal(word) for word in task.argv],
                "workingDir": task.directory,
                "env": [{"name": name, "value": _literal(value)} for name, value in _variables(task).items()],
                "resources": _resources(task.resources, options),
                "securityContext": confined,
                "terminationMessagePolicy": "FallbackToLogsOnError",
                "volumeMounts": mounts,
            }
        ],
        "volumes": volumes,
    }  # fmt: skip
    if task.first is not None:
        spec["initContainers"] = [_first(task, options, confined, mounts)]
    if task.time_s is not None:
        spec["activeDeadlineSeconds"] = math.ceil(task.time_s) + options.start_s + options.grace_s
    if (task.resources.nodes or 1) > 1:
        spec["subdomain"] = service_name(task.key)
    pull_secrets = [*options.pull_secrets, *([task.first.login] if task.first and task.first.login else [])]
    if pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in dict.fromkeys(pull_secrets)]
    if options.node_selector:
        spec["nodeSelector"] = dict(options.node_selector)
    if options.tolerations:
        spec["tolerations"] = [_toleration(*one) for one in options.tolerations]
    named = {
        "serviceAccountName": options.service_account,
        "priorityClassName": options.priority_class,
        "runtimeClassName": options.runtime_class,
    }
    return spec | {key: value for key, value in named.items() if value}


def _first(task: Task, options: KubernetesOptions, confined: dict[str, Any], mounts: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the container that brings the files: the task's resources are enough for it, and quotas want some of every container."""
    assert task.first is not None  # noqa: S101 - who calls has looked
    amounts = _resources(Resources(cpus=task.resources.cpus, memory_bytes=task.resources.memory_bytes), options)
    return {
        "name": FIRST, "image": task.first.image, "imagePullPolicy": "IfNotPresent", "command": [_literal(word) for word in task.first.argv],
        "env": [{"name": name, "value": _literal(value)} for name, value in _variables(task).items() if name != SECRETS_FILE],
        "resources": amounts, "securityContext": confined, "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [mount for mount in mounts if mount["name"] in ("tmp", "wardian", "login")],
    }  # fmt: skip


def labels_of(key: str, workspace: str = "") -> dict[str, str]:
    """Return the labels of all objects of a task."""
    return {MANAGED_BY: MANAGER, RUN: key} | ({WORKSPACE: workspace} if workspace else {})


def secret_name(key: str) -> str:
    """Return the name of the Secret of a task."""
    return f"w-{key}"


def has_secret(task: Task) -> bool:
    """Return whether a task has a Secret of its own: with its secrets, or with a login for its files."""
    return task.has_secrets or (task.first is not None and task.first.login == secret_name(task.key))


def service_name(key: str) -> str:
    """Return the name of the Service of a Job: it begins with a letter, as those must."""
    return f"w-{key}"


def _service(key: str, labels: dict[str, str], options: KubernetesOptions) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": service_name(key), "labels": labels}
        | ({"namespace": options.namespace} if options.namespace else {}),
        "spec": {"clusterIP": "None", "selector": {RUN: key}, "publishNotReadyAddresses": True},
    }


def _variables(task: Task) -> dict[str, str]:
    nodes = task.resources.nodes
    of_ranks = {}
    if nodes is not None and nodes > 1:  # each pod's number is JOB_COMPLETION_INDEX, which the Job sets
        of_ranks = {"WARDIAN_WORLD_SIZE": str(nodes), "WARDIAN_MASTER_ADDR": f"{task.key}-0.{service_name(task.key)}"}
    of_secrets = {SECRETS_FILE: f"{SECRETS_PLACE}/{SECRETS}"} if task.has_secrets else {}
    of_login = {FILES_LOGIN: f"{LOGIN_PLACE}/{LOGIN_FILE}"} if task.first is not None and task.first.login else {}
    return {"HOME": _HOME, **of_ranks, **of_secrets, **of_login, **task.variables}


def _resources(asked: Resources, options: KubernetesOptions) -> dict[str, Any]:
    amounts: dict[str, str] = {}
    if asked.cpus is not None:
        amounts["cpu"] = f"{math.ceil(asked.cpus * 1000)}m" if asked.cpus % 1 else str(int(asked.cpus))
    if asked.memory_bytes is not None:
        amounts["memory"] = str(asked.memory_bytes)
    if asked.gpus:
        amounts[options.gpu_resource] = str(asked.gpus)
    return {"requests": amounts, "limits": dict(amounts)} if amounts else {}


def _volumes(task: Task, options: KubernetesOptions) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    volumes: list[dict[str, Any]] = [{"name": "tmp", "emptyDir": {}}]
    mounts: list[dict[str, Any]] = [{"name": "tmp", "mountPath": _HOME}]
    if options.claim:
        volumes.append({"name": "wardian", "persistentVolumeClaim": {"claimName": options.claim}})
        sub_path = {"subPath": options.sub_path} if options.sub_path else {}
        mounts.append({"name": "wardian", "mountPath": options.directory, **sub_path})
    else:
        volumes.append({"name": "wardian", "emptyDir": {}})
        root = task.directory.partition(f"/{RUNS}/")[0] if task.first is not None else task.directory
        mounts.append({"name": "wardian", "mountPath": root})
    if options.shm_bytes:
        volumes.append({"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": str(options.shm_bytes)}})
        mounts.append({"name": "shm", "mountPath": "/dev/shm"})  # noqa: S108
    if task.has_secrets:
        only = [{"key": SECRETS, "path": SECRETS}]
        held = {"secretName": secret_name(task.key), "defaultMode": 0o440, "optional": False, "items": only}
        volumes.append({"name": "secrets", "secret": held})
        mounts.append({"name": "secrets", "mountPath": SECRETS_PLACE, "readOnly": True})
    if task.first is not None and task.first.login:
        only = [{"key": LOGIN_KEY, "path": LOGIN_FILE}]
        held = {"secretName": task.first.login, "defaultMode": 0o440, "optional": False, "items": only}
        volumes.append({"name": "login", "secret": held})
        mounts.append({"name": "login", "mountPath": LOGIN_PLACE, "readOnly": True})
    claims = {claim: f"claim-{number}" for number, claim in enumerate(dict.fromkeys(claim for claim, _, _ in options.volumes))}
    for claim, name in claims.items():
        volumes.append({"name": name, "persistentVolumeClaim": {"claimName": claim}})
    for claim, path, is_read_only in options.volumes:
        mounts.append({"name": claims[claim], "mountPath": path} | ({"readOnly": True} if is_read_only else {}))
    return volumes, mounts


def _toleration(key: str, value: str | None, effect: str) -> dict[str, Any]:
    found = {"key": key, "operator": "Exists"} if value is None else {"key": key, "operator": "Equal", "value": value}
    return found | ({"effect": effect} if effect else {})


def _literal(text: str) -> str:
    """Return ``text`` so that Kubernetes passes it on as it is: to it ``$(NAME)`` is a variable's value, and ``$$`` is ``$``."""
    return text.replace("$", "$$")
