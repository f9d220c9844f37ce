"""What there is to know of a cluster before something is run there: who answers, what one may do, what it has. And what its refusals mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardian.errors import Denied, InvalidInput, NotFound, Unavailable, WardianError
from wardian.run.targets.kubernetes_resources import claim_finding, quota_findings, resource_findings
from wardian.run.targets.remote import Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from wardian.run.configuration import Resources
    from wardian.run.targets.kubernetes_options import KubernetesOptions
    from wardian.tools.kubernetes import Answer, KubernetesApi

_PAGE = 500
_BAD, _FORBIDDEN, _NOT_FOUND, _TOO_LARGE, _INVALID = 400, 403, 404, 413, 422
_NEEDED = (
    ("create", "batch", "jobs"), ("get", "batch", "jobs"), ("list", "batch", "jobs"), ("delete", "batch", "jobs"),
    ("list", "", "pods"), ("get", "", "pods/log"), ("create", "", "services"), ("create", "", "secrets"), ("patch", "", "secrets"),
    ("delete", "", "secrets"),
)  # fmt: skip


def look_around(
    connect: Callable[[], KubernetesApi], options: KubernetesOptions, resources: Resources | None, *, is_root: bool
) -> Sequence[Finding]:
    """Return what is there and what is missing. See ``RemoteTarget.check``."""
    findings: list[Finding] = []
    try:
        api = connect()
        namespace = options.namespace or api.namespace
        core = f"/api/v1/namespaces/{namespace}"
        answer = api.ask("GET", "/version")
        raise_refusal(answer, "version", namespace)
        version = str(answer.document.get("gitVersion", "?"))[:40]
        findings.append(Finding("cluster", True, f"Kubernetes {version}, {api.described}, namespace {namespace}"))
        missing = list(_missing_rights(api, namespace))
        hint = f"ask who runs the cluster for a Role in {namespace} that may {', '.join(missing)}" if missing else ""
        said = f"may not {', '.join(missing)}" if missing else "Jobs, pods, their logs, Secrets"
        findings.append(Finding("permissions", not missing, said, hint))
        if is_root:
            text = f"you are root, and pods are not: they run as {options.uid}, to whom what you send to them is given"
            findings.append(Finding("user", True, text))
        if options.claim:
            found = api.ask("GET", f"{core}/persistentvolumeclaims/{options.claim}")
            findings.append(claim_finding(options.claim, namespace, found.status, found.document))
        quotas = api.ask("GET", f"{core}/resourcequotas")
        if quotas.ok:
            findings += quota_findings(quotas.document, resources, options.gpu_resource)
        nodes = api.ask("GET", "/api/v1/nodes", {"limit": str(_PAGE)})
        if nodes.ok:
            findings += resource_findings(nodes.document, resources, options)
        else:
            findings.append(Finding("resources", True, "what nodes have cannot be seen: this account may not list them"))
    except WardianError as error:
        findings.append(Finding("cluster" if not findings else "answers", False, error.message, error.hint or ""))
    return findings


def raise_refusal(answer: Answer, what: str, namespace: str) -> None:
    """Raise what an answer says that is an error.

    Args:     what: was asked for, in one word.
    """
    if answer.ok:
        return
    message = f"Kubernetes says of the {what}: {' '.join(answer.message.split())}"
    if answer.status == _FORBIDDEN and "quota" in answer.message:
        raise Unavailable(message, code="queue_full", hint="wait until some of your Jobs have ended, or ask for less")
    if answer.status == _FORBIDDEN:
        raise Denied(message, code="engine_denied", hint="`wardian target check` shows which permissions are missing")
    if answer.status == _NOT_FOUND:
        raise NotFound(message, code="engine_refused", hint=f"is there a namespace {namespace}? `--option namespace=…`")
    if answer.status in (_BAD, _INVALID, _TOO_LARGE):
        hint = "change what the message names: an option of the target or of the run"
        raise InvalidInput(message, code="engine_refused", hint=hint)
    raise Unavailable(message, code="engine_unavailable", hint="the cluster is overloaded, or being mended: try again")


def _missing_rights(api: KubernetesApi, namespace: str) -> Iterator[str]:
    for verb, group, resource in _NEEDED:
        name, _, sub = resource.partition("/")
        asked = {"namespace": namespace, "verb": verb, "group": group, "resource": name} | ({"subresource": sub} if sub else {})
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": asked},
        }
        answer = api.ask("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body=review)
        raise_refusal(answer, "access review", namespace)
        if not (answer.document.get("status") or {}).get("allowed"):
            yield f"{verb} {resource}"
