"""The Secret object of a task: what its pods may read, and neither the Job nor a volume holds. It goes when the Job goes."""

from __future__ import annotations

import base64
import contextlib
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from wardian.errors import Denied, InvalidInput, Unavailable, WardianError
from wardian.run.node.sheet import RUNS, SECRETS
from wardian.run.targets.kubernetes_manifest import LOGIN_KEY, RUN, labels_of, secret_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from wardian.run.targets.remote import Carrier
    from wardian.tools.kubernetes import Answer, KubernetesApi

_OK, _FORBIDDEN, _NOT_FOUND, _CONFLICT, _TOO_LARGE, _INVALID = 200, 403, 404, 409, 413, 422
_LARGEST_BYTES = 1 << 20  # of all that a Secret holds, as the API has it
_MERGE = "application/merge-patch+json"


class PodSecrets:
    """Secret objects in a namespace, each named after its task.

    It is made before the Job, so that no pod waits for it; when the Job is there it becomes its owner, and the cluster removes both together.

    Args:     api, namespace: called at the first question.  workspace: a label.
    """

    def __init__(self, api: Callable[[], KubernetesApi], namespace: Callable[[], str], workspace: str = "") -> None:
        self._api, self._namespace, self._workspace = api, namespace, workspace

    def keep(self, key: str, content: Mapping[str, bytes]) -> None:
        """Make the Secret of a task. Idempotent: one that is there already is its own.

        Raises:   Denied.  Unavailable.  InvalidInput: ``secrets_too_large``; there is one that Wardian did not make.
        """
        if sum(map(len, content.values())) > _LARGEST_BYTES:
            raise InvalidInput("the secrets of the run have more than 1 MiB, which no Secret object takes", code="secrets_too_large",
                               hint="give it a file that pods can read, on one of the option `volumes`")  # fmt: skip
        made = secret_of(key, content, self._workspace)
        try:
            answer = self._api().ask("POST", self._place, body=made)
        except Unavailable:
            answer = self._api().ask("GET", f"{self._place}/{secret_name(key)}")
            if answer.status != _OK:
                raise
        if answer.status == _CONFLICT:
            answer = self._api().ask("GET", f"{self._place}/{secret_name(key)}")
        self._raise(answer)
        if ((answer.document.get("metadata") or {}).get("labels") or {}).get(RUN) != key:
            raise InvalidInput(f"there is a Secret {secret_name(key)} in {self._namespace()} that Wardian did not make", code="engine_refused",
                               hint="submit the run again: it gets another name")  # fmt: skip

    def give_to(self, key: str, owner: Mapping[str, str]) -> None:
        """Let the Job ``owner`` have the Secret of its task, if there is one."""
        change = {"metadata": {"ownerReferences": [dict(owner)]}}
        answer = self._api().ask("PATCH", f"{self._place}/{secret_name(key)}", body=change, kind=_MERGE)
        if answer.status != _NOT_FOUND:
            self._raise(answer)

    def remove(self, key: str) -> None:
        """Remove the Secret of a task: nobody needs it any more. What cannot be removed now goes with its Job."""
        with contextlib.suppress(WardianError):
            self._api().ask("DELETE", f"{self._place}/{secret_name(key)}")

    @property
    def _place(self) -> str:
        return f"/api/v1/namespaces/{self._namespace()}/secrets"

    def _raise(self, answer: Answer) -> None:
        if answer.ok:
            return
        message = f"Kubernetes says of the Secret: {' '.join(answer.message.split())}"
        if answer.status == _FORBIDDEN:
            raise Denied(message, code="engine_denied", hint="secrets of runs are Secret objects: `wardian target check` shows which permissions are missing")  # fmt: skip
        if answer.status in (_NOT_FOUND, _TOO_LARGE, _INVALID):
            raise InvalidInput(
                message, code="engine_refused", hint=f"is there a namespace {self._namespace()}? `--option namespace=…`"
            )
        raise Unavailable(message, code="engine_unavailable", hint="the cluster is overloaded, or being mended: try again")


class SecretsApart:
    """A carrier whose private files go into the Secret object of their task, and all others as ``carrier`` brings them. See ``Carrier``."""

    def __init__(self, carrier: Carrier, secrets: PodSecrets) -> None:
        self._carrier, self._secrets = carrier, secrets

    @property
    def root(self) -> str:
        """See ``Carrier``."""
        return self._carrier.root

    def have(self, paths: Sequence[str]) -> set[str]:
        """See ``Carrier``."""
        return self._carrier.have(paths)

    def send(self, files: Mapping[str, str], *, private: bool = False) -> None:
        """See ``Carrier``."""
        kept = {path: here for path, here in files.items() if private and _task_of(path, SECRETS)}
        for path, here in kept.items():
            self._secrets.keep(_task_of(path, SECRETS), {SECRETS: Path(here).read_bytes()})
        if others := {path: here for path, here in files.items() if path not in kept}:
            self._carrier.send(others, private=private)

    def read(self, path: str, offset: int, limit: int) -> bytes | None:
        """See ``Carrier``."""
        return self._carrier.read(path, offset, limit)

    def fetch(self, path: str, place: str, *, limit_bytes: int | None = None) -> Sequence[str]:
        """See ``Carrier``."""
        return self._carrier.fetch(path, place, limit_bytes=limit_bytes)

    def remove(self, path: str) -> None:
        """See ``Carrier``."""
        self._carrier.remove(path)
        if key := _task_of(path):
            self._secrets.remove(key)


def secret_of(
    key: str, content: Mapping[str, bytes] | None, workspace: str = "", *, names: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return the Secret of a task, as data; ``names``: in place of what it holds, text that tells, for people."""
    held: dict[str, Any] = {"data": {name: base64.b64encode(value).decode() for name, value in (content or {}).items()}}
    if names is not None:
        held = {"stringData": dict(names)}
    kind = "kubernetes.io/dockerconfigjson" if LOGIN_KEY in (names if names is not None else content or {}) else "Opaque"
    metadata = {"name": secret_name(key), "labels": labels_of(key, workspace)}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": kind, "immutable": True, **held}


def _task_of(path: str, name: str = "") -> str:
    """Return the key of the task whose directory ``path`` is, or whose file ``name`` in it; empty: it is neither."""
    parts = PurePosixPath(path).parts
    wanted = (RUNS, parts[1], name) if name and len(parts) > 1 else parts[:2]
    return parts[1] if len(parts) > 1 and parts[0] == RUNS and parts == wanted else ""
