"""Jobs of a Kubernetes cluster. Contract: ``RemoteTarget``."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from wardian.errors import Denied, InvalidInput, NotFound, Unavailable
from wardian.run.node.sheet import FILES, SECRETS
from wardian.run.targets.kubernetes_check import look_around, raise_refusal
from wardian.run.targets.kubernetes_manifest import LOGIN_KEY, MANAGED_BY, MANAGER, RUN, has_secret, manifests, secret_name
from wardian.run.targets.kubernetes_options import UID, KubernetesOptions, is_name
from wardian.run.targets.kubernetes_secrets import PodSecrets, secret_of
from wardian.run.targets.kubernetes_words import is_being_made, is_without_pods, objects_of, standing_of
from wardian.run.targets.remote import UNKNOWN, Standing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from wardian.run.configuration import Resources
    from wardian.run.targets.remote import Finding, Task
    from wardian.tools.kubernetes import Answer, KubernetesApi, LogStream

_PAGE = 500
_NAMED = 40  # handles that are asked for by name; of more, all of ours are listed
_EVENTS = 10  # Jobs without a pod whose events are looked at in one question
_OK, _CREATED, _NOT_FOUND, _CONFLICT, _GONE = 200, 201, 404, 409, 410
_BAD = 400
_TRIES = 5
_PIECE = 1 << 20


class KubernetesTarget:
    """Jobs in one namespace of a cluster. A Job's name is its task's key, so two submissions of one key are one Job.

    Args:     connect: gives the API; called at the first question.  workspace: a label of its Jobs, for people.
              uid, gid: the submitter's, who owns what is sent to pods.
    """

    name = "kubernetes"

    def __init__(
        self,
        options: Mapping[str, str],
        connect: Callable[[], KubernetesApi],
        *,
        workspace: str = "",
        uid: int = UID,
        gid: int = UID,
    ) -> None:
        self.options = KubernetesOptions.of(options, uid=uid, gid=gid)
        self._is_root = uid == 0
        self._connect = connect
        self._found: KubernetesApi | None = None
        self._workspace = workspace
        self._logs: dict[str, tuple[LogStream, int]] = {}

    # -- RemoteTarget --------------------------------------------------------------------------------------------------

    def check(self, resources: Resources | None = None) -> Sequence[Finding]:
        """See ``RemoteTarget``."""
        return look_around(lambda: self._api, self.options, resources, is_root=self._is_root)

    def submit(self, task: Task) -> str:
        """See ``RemoteTarget``."""
        made = manifests(task, self.options, workspace=self._workspace)
        job = made[0]
        try:
            answer = self._api.ask("POST", self._jobs, body=job)
        except Unavailable:  # it may have been made, or be on its way: if it is not there yet, the next try finds it
            found = self._api.ask("GET", f"{self._jobs}/{task.key}")
            if found.status != _OK:
                raise
            answer = found
        if answer.status == _CONFLICT and answer.reason == "AlreadyExists":
            answer = self._api.ask("GET", f"{self._jobs}/{task.key}")
            if answer.status == _NOT_FOUND:
                raise Unavailable(f"Kubernetes says that there is a Job {task.key} in {self._namespace}, and that there is none",
                                  code="engine_unclear", hint="it is asked for again at the next look")  # fmt: skip
        if not answer.ok:
            try:
                self._raise(answer, "Job")
            except (Denied, InvalidInput, NotFound):  # for good
                if has_secret(task):
                    self.secrets.remove(task.key)
                raise
        metadata = answer.document.get("metadata")
        if not isinstance(metadata, dict) or not metadata.get("name"):  # some proxy's: the Job may be there
            raise Unavailable(f"Kubernetes answers with no Job to the question for {task.key}", code="engine_unclear",
                              hint="it is asked for again at the next look")  # fmt: skip
        if (metadata.get("labels") or {}).get(RUN) != task.key:
            raise InvalidInput(f"there is a Job {task.key} in {self._namespace} that Wardian did not make", code="engine_refused",
                               hint="submit the run again: it gets another name")  # fmt: skip
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": task.key, "uid": str(metadata.get("uid", ""))}
        if has_secret(task):
            self.secrets.give_to(task.key, owner)
        for further in made[1:]:
            further["metadata"]["ownerReferences"] = [owner]  # it goes when the Job goes
            said = self._api.ask("POST", f"{self._core}/services", body=further)
            if said.status != _CONFLICT:
                self._raise(said, "Service")
        return task.key

    def standings(self, handles: Sequence[str]) -> Mapping[str, Standing]:
        """See ``RemoteTarget``."""
        asked = [handle for handle in dict.fromkeys(handles) if is_name(handle)]
        jobs: dict[str, Mapping[str, Any]] = {}
        pods: dict[str, dict[str, Mapping[str, Any]]] = {}
        if asked:
            selector = f"{MANAGED_BY}={MANAGER}"
            if len(asked) <= _NAMED:
                selector += f",{RUN} in ({','.join(asked)})"
            for job in self._list(self._jobs, selector):
                jobs[str(job["metadata"]["name"])] = job
            for pod in self._list(f"{self._core}/pods", selector):
                of_run = pods.setdefault(str((pod["metadata"].get("labels") or {}).get(RUN, "")), {})
                of_run[str(pod["metadata"]["name"])] = pod
        found = {handle: standing_of(jobs.get(handle), list(pods.get(handle, {}).values())) for handle in asked}
        unclear = [one for one in asked if is_without_pods(found[one]) or is_being_made(found[one])]
        for handle in itertools.islice(unclear, _EVENTS):
            standing = found[handle]
            pending = [
                name for name, pod in pods.get(handle, {}).items() if (pod.get("status") or {}).get("phase") == "Pending"
            ]
            asked_for = ("Job", handle) if is_without_pods(standing) else ("Pod", min(pending, default=""))
            if words := self._event(*asked_for):
                found[handle] = replace(standing, reason=words)
        return {handle: found.get(handle, Standing(UNKNOWN)) for handle in handles}

    def read_log(self, handle: str, offset: int, limit: int) -> bytes:
        """See ``RemoteTarget``. On several nodes: the first one's.

        The API knows no offsets: who reads on from where they were is given the rest of the answer that is open, others wait until so
        much has been skipped. Nodes throw away the beginning of long logs (by default beyond 10 MiB): ``log.txt`` has all.
        """
        if not is_name(handle):
            return b""
        stream, position = self._logs.pop(handle, (None, 0))
        if limit <= 0:  # who reads no more of it says so
            if stream is not None:
                stream.close()
            return b""
        if stream is not None and position != offset:
            stream.close()
            stream = None
        if stream is not None:
            piece = self._read(stream, limit)
            if piece:
                self._logs[handle] = stream, offset + len(piece)
                return piece
            stream.close()  # it ended; what was written since is in another answer
        opened = self._open_log(handle)
        if opened is None:
            return b""
        left = offset
        while left:
            skipped = len(self._read(opened, min(left, _PIECE)))
            if not skipped:
                opened.close()
                return b""
            left -= skipped
        piece = self._read(opened, limit)
        if piece:
            self._logs[handle] = opened, offset + len(piece)
        else:
            opened.close()
        return piece

    def cancel(self, handles: Sequence[str]) -> None:
        """See ``RemoteTarget``. Pods are told to end, and their Job goes when they have."""
        for handle in handles:
            if is_name(handle):
                answer = self._api.ask("DELETE", f"{self._jobs}/{handle}", {"propagationPolicy": "Foreground"})
                if answer.status not in (_NOT_FOUND, _CONFLICT):
                    self._raise(answer, "Job")

    def manifest(self, task: Task, secrets: Sequence[str] = ()) -> str:
        """Return what would be created for a task, as YAML; nothing is contacted. ``secrets``: the names of its secrets."""
        import yaml

        made = manifests(task, self.options, workspace=self._workspace)
        if has_secret(task):
            held = {SECRETS: f"not shown: {', '.join(secrets)}"} if secrets else {}
            if task.first is not None and task.first.login == secret_name(task.key):
                held[LOGIN_KEY] = f"not shown: the login for {task.variables.get(FILES, '')}"
            shown = secret_of(task.key, None, self._workspace, names=held)
            if self.options.namespace:
                shown["metadata"]["namespace"] = self.options.namespace
            made.insert(0, shown)
        return yaml.safe_dump_all(made, sort_keys=False, allow_unicode=True, width=120)

    @property
    def takes_probes(self) -> bool:
        """Whether it can run a small job of no environment: it needs an image for that."""
        return bool(self.options.image)

    @property
    def secrets(self) -> PodSecrets:
        """The Secret objects of its tasks."""
        return PodSecrets(lambda: self._api, lambda: self._namespace, self._workspace)

    # -- inside --------------------------------------------------------------------------------------------------------

    @property
    def _api(self) -> KubernetesApi:
        if self._found is None:
            self._found = self._connect()
        return self._found

    @property
    def _namespace(self) -> str:
        return self.options.namespace or self._api.namespace

    @property
    def _jobs(self) -> str:
        return f"/apis/batch/v1/namespaces/{self._namespace}/jobs"

    @property
    def _core(self) -> str:
        return f"/api/v1/namespaces/{self._namespace}"

    def _list(self, path: str, selector: str) -> Iterator[Mapping[str, Any]]:
        """Yield all objects, page by page. A list that became too old between its pages begins anew; what it gave is given again."""
        following, tries = "", 0
        while True:
            query = {"labelSelector": selector, "limit": str(_PAGE)} | ({"continue": following} if following else {})
            answer = self._api.ask("GET", path, query)
            if answer.status == _GONE and following and tries < _TRIES:
                following, tries = "", tries + 1
                continue
            self._raise(answer, "list")
            yield from objects_of(answer.document)
            following = str((answer.document.get("metadata") or {}).get("continue") or "")
            if not following:
                return

    def _open_log(self, handle: str) -> LogStream | None:
        from wardian.tools.kubernetes import LogStream

        for pod in sorted(self._list(f"{self._core}/pods", f"{RUN}={handle}"), key=lambda pod: str(pod["metadata"]["name"])):
            opened = self._api.log(f"{self._core}/pods/{pod['metadata']['name']}/log", {"container": "run"})
            if isinstance(opened, LogStream):
                return opened
            if opened.status not in (_NOT_FOUND, _BAD):  # it has not begun, or is gone
                self._raise(opened, "log")
            return None
        return None

    @staticmethod
    def _read(stream: LogStream, limit: int) -> bytes:
        try:
            return stream.read(limit)
        except Unavailable:
            stream.close()
            raise

    def _event(self, kind: str, name: str) -> str:
        """Return why a Job has no pod, or a pod does not start, by its last warning; empty: nobody says so, or it may not be seen."""
        query = {"fieldSelector": f"involvedObject.kind={kind},involvedObject.name={name},type=Warning", "limit": "50"}
        answer = self._api.ask("GET", f"{self._core}/events", query)
        items = answer.document.get("items") or () if answer.ok else ()
        last = max(items, key=lambda one: str(one.get("lastTimestamp") or one.get("eventTime") or ""), default=None)
        return f"{last.get('reason', '')}: {' '.join(str(last.get('message', '')).split())}"[:500] if last else ""

    def _raise(self, answer: Answer, what: str) -> None:
        """Raise what an answer says that is an error."""
        raise_refusal(answer, what, self._namespace)
