"""What a cluster has and what a namespace may use, compared with what a run asks for. Pure."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from wardian.run.targets.remote import Finding

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wardian.run.configuration import Resources
    from wardian.run.targets.kubernetes_options import KubernetesOptions

_SUFFIXES = {
    "n": Fraction(1, 10**9), "u": Fraction(1, 10**6), "m": Fraction(1, 1000), "": Fraction(1), "k": Fraction(10**3), "M": Fraction(10**6),
    "G": Fraction(10**9), "T": Fraction(10**12), "P": Fraction(10**15), "E": Fraction(10**18), "Ki": Fraction(1 << 10), "Mi": Fraction(1 << 20),
    "Gi": Fraction(1 << 30), "Ti": Fraction(1 << 40), "Pi": Fraction(1 << 50), "Ei": Fraction(1 << 60),
}  # fmt: skip
_QUANTITY = re.compile(r"([0-9]{1,30}(?:\.[0-9]{1,30})?)([a-zA-Z]{0,2}|[eE][+-]?[0-9]{1,2})")
_ACTIVE = "True"
_NOT_FOUND = 404


def quantity(text: object) -> Fraction:
    """Return an amount as Kubernetes writes it (``500m``, ``1Gi``, ``1e3``); what is none is nothing."""
    found = _QUANTITY.fullmatch(str(text))
    if found is None:
        return Fraction(0)
    number, suffix = Fraction(found[1]), found[2]
    if suffix in _SUFFIXES:
        return number * _SUFFIXES[suffix]
    return number * Fraction(10) ** int(suffix[1:]) if suffix[:1] in "eE" and suffix[1:] else Fraction(0)


def resource_findings(nodes: Mapping[str, Any], asked: Resources | None, options: KubernetesOptions) -> list[Finding]:
    """Return what the nodes have, and whether any could ever give what is asked for."""
    items = [one for one in nodes.get("items") or () if _fits(one, options)]
    ready = [one for one in items if _is_ready(one)]
    amounts = [(one.get("status") or {}).get("allocatable") or {} for one in ready]
    cpus, memory, gpus = (
        sum((quantity(one.get(name, 0)) for one in amounts), Fraction(0)) for name in ("cpu", "memory", options.gpu_resource)
    )
    selected = " with these labels" if options.node_selector else ""
    text = f"{len(ready)} of {len(items)} nodes{selected} are ready: {float(cpus):g} cpus, {float(memory / (1 << 30)):.1f} GiB of memory, {int(gpus) or 'no'} gpus"
    findings = [
        Finding("nodes", bool(ready), text, "" if ready else "look at `kubectl get nodes`, and at the option `node_selector`")
    ]
    if asked is None:
        return findings
    wanted = _wanted(asked, options.gpu_resource)
    able = [one for one in amounts if all(quantity(one.get(name, 0)) >= amount for name, amount in wanted.items())]
    if len(able) >= (asked.nodes or 1):
        return [*findings, Finding("resources", True, f"{len(able)} nodes have as much as the run asks for")]
    largest = {name: max((quantity(one.get(name, 0)) for one in amounts), default=Fraction(0)) for name in wanted}
    short = [
        f"{name} {_plain(amount, name)}, where the largest node has {_plain(largest[name], name)}"
        for name, amount in wanted.items()
        if largest[name] < amount
    ]
    text = f"{len(able)} nodes have what the run asks for, and it needs {asked.nodes or 1}" + (
        f": {'; '.join(short)}" if short else ""
    )
    return [*findings, Finding("resources", False, text, "ask for less; a cluster that grows by itself may still give it")]


def quota_findings(quotas: Mapping[str, Any], asked: Resources | None, gpu_resource: str) -> list[Finding]:
    """Return what is left of each quota of the namespace that a run could run into."""
    findings = []
    wanted = _wanted(asked, gpu_resource) if asked else {}
    for one in quotas.get("items") or ():
        status = one.get("status") or {}
        hard, used = status.get("hard") or {}, status.get("used") or {}
        name = str((one.get("metadata") or {}).get("name", ""))
        parts, short = [], []
        for key, amount in hard.items():
            bare = str(key).removeprefix("requests.").removeprefix("limits.")
            if bare not in ("cpu", "memory", "pods", gpu_resource):
                continue
            left = quantity(amount) - quantity(used.get(key, 0))
            parts.append(f"{key} {used.get(key, 0)} of {amount} used")
            nodes = (asked.nodes or 1) if asked else 1
            if left <= 0 or (bare in wanted and wanted[bare] * nodes > left):
                short.append(str(key))
        if parts:
            text = f"quota {name}: {', '.join(parts)}"
            findings.append(
                Finding("quota", not short, text, f"{', '.join(short)}: runs wait until there is enough again" if short else "")
            )
    return findings


def claim_finding(claim: str, namespace: str, status: int, document: Mapping[str, Any]) -> Finding:
    """Return whether the claim that directories of runs lie on is there and bound."""
    if status == _NOT_FOUND:
        return Finding(
            "claim",
            False,
            f"there is no PersistentVolumeClaim {claim} in {namespace}",
            f"`kubectl get pvc -n {namespace}` lists those that there are",
        )
    if status >= 400:  # noqa: PLR2004
        return Finding(
            "claim",
            True,
            f"whether there is a PersistentVolumeClaim {claim} cannot be seen: {document.get('message', status)}"[:300],
        )
    phase = str((document.get("status") or {}).get("phase", "?"))
    modes = ", ".join(map(str, (document.get("spec") or {}).get("accessModes") or ()))
    ok = phase in ("Bound", "Pending")
    return Finding(
        "claim", ok, f"{claim}: {phase}, {modes}", "" if ok else f"`kubectl describe pvc {claim} -n {namespace}` says why"
    )


def _wanted(asked: Resources, gpu_resource: str) -> dict[str, Fraction]:
    amounts = {"cpu": asked.cpus, "memory": asked.memory_bytes, gpu_resource: asked.gpus}
    return {name: Fraction(amount) for name, amount in amounts.items() if amount}


def _plain(amount: Fraction, name: str) -> str:
    return f"{float(amount / (1 << 30)):.1f} GiB" if name == "memory" else f"{float(amount):g}"


def _is_ready(node: Mapping[str, Any]) -> bool:
    conditions = (node.get("status") or {}).get("conditions") or ()
    unschedulable = (node.get("spec") or {}).get("unschedulable")
    return not unschedulable and any(one.get("type") == "Ready" and one.get("status") == _ACTIVE for one in conditions)


def _fits(node: Mapping[str, Any], options: KubernetesOptions) -> bool:
    labels = (node.get("metadata") or {}).get("labels") or {}
    return all(labels.get(key) == value for key, value in options.node_selector)
