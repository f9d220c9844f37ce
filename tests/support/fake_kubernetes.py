"""An API server of Kubernetes for tests, with one kubelet that really runs what pods are told, as processes of this machine.

It keeps to what the API's reference says of the objects that Wardian uses: names are taken once, lists have pages that expire,
``$(NAME)`` is replaced, Jobs with ``backoffLimit: 0`` fail with their first pod, and a deletion in the foreground waits for the pods.
"""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import os
import re
import signal
import subprocess
import tempfile
import threading
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from wardian.run.targets.kubernetes_resources import quantity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TOKEN = "a-token-of-the-tests"
NODE, NAMESPACE, IMAGE = "n1", "team-a", "registry.test/env@sha256:" + "0" * 64
CAPACITY = {"cpu": "4", "memory": "8Gi", "pods": "110"}
_STATUS = {"apiVersion": "v1", "kind": "Status"}
_REASONS = {400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 409: "AlreadyExists", 410: "Expired", 422: "Invalid",
            429: "TooManyRequests", 500: "InternalError", 503: "ServiceUnavailable"}  # fmt: skip


@dataclass
class Fault:
    """What goes wrong with requests whose method and path fit ``pattern``, ``times`` times.

    ``how``: a status; ``lost``: it is carried out, and the connection ends without an answer; ``hang``: the same, and the connection stays.
    """

    pattern: str
    how: int | str
    times: int = 1
    message: str = "something is wrong"
    only_after: str = ""  # the query has this


@dataclass
class _Pod:
    document: dict[str, Any]
    process: subprocess.Popen[bytes] | None = None
    log: Path = Path("/dev/null")
    kill_at: float | None = None


@dataclass
class FakeKubernetes:
    """The server. ``images``: those that can be pulled; ``denied``: ``create jobs`` and the like, which are not allowed."""

    place: Path
    images: set[str] = field(default_factory=lambda: {IMAGE})
    denied: set[str] = field(default_factory=set)
    faults: list[Fault] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    capacity: dict[str, str] = field(default_factory=lambda: dict(CAPACITY))
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)  # path → object, of all kinds but pods
    runs_pods: bool = True
    pulls: str = ""  # images whose names begin so can be pulled, too
    in_images: dict[str, str] = field(default_factory=dict)  # where what lies in them is on this machine: place → directory
    engine: Callable[[dict[str, Any]], list[str]] | None = (
        None  # gives the command that runs a pod in containers, and pulls any image
    )
    _pods: dict[str, _Pod] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _over: threading.Event = field(default_factory=threading.Event)
    _expired: bool = False

    def __post_init__(self) -> None:
        fake = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _handle(self) -> None:
                fake._handle(self)

            do_GET = do_POST = do_DELETE = do_PATCH = _handle  # noqa: N815

            def log_message(self, *_: object) -> None:
                return

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def kubeconfig(self, *, token: str = TOKEN, url: str = "") -> Path:
        """Write a kubeconfig for it, and return where it is."""
        path = self.place / f"kubeconfig-{uuid.uuid4().hex[:8]}"
        path.write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "c", "cluster": {"server": url or self.url}}], "users": [{"name": "u", "user": {"token": token}}],
            "contexts": [{"name": "test", "context": {"cluster": "c", "user": "u", "namespace": NAMESPACE}}],
        }))  # fmt: skip
        return path

    def close(self) -> None:
        """End all pods and the server."""
        self._over.set()
        for pod in self._pods.values():
            if pod.process is not None:
                _kill(pod.process, signal.SIGKILL)
                pod.process.wait()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    # -- what tests do to it -------------------------------------------------------------------------------------------

    def expire_lists(self) -> None:
        """The next question for a further page of a list comes too late."""
        self._expired = True

    def pods(self, job: str) -> list[dict[str, Any]]:
        """Return the pods of a Job."""
        with self._lock:
            self._settle()
            return [
                pod.document for pod in self._pods.values() if pod.document["metadata"]["labels"].get("dev.wardian/run") == job
            ]

    def disrupt(self, job: str, reason: str, message: str = "") -> None:
        """End the pods of a Job as the cluster does: ``PreemptionByScheduler``, ``DeletionByTaintManager``, ``TerminationByKubelet`` …"""
        with self._lock:
            for pod in self._of(job):
                _add_condition(
                    pod.document, {"type": "DisruptionTarget", "status": "True", "reason": reason, "message": message}
                )
                if pod.process is not None:
                    _kill(pod.process, signal.SIGKILL)
                    pod.process.wait()
                elif reason == "DeletionByPodGC":
                    pod.document["status"]["phase"] = "Failed"

    def logs(self) -> str:
        """Return what all pods wrote."""
        return "\n".join(f"--- {name}\n{pod.log.read_text(errors='replace')}" for name, pod in self._pods.items())

    def object(self, kind: str, name: str, namespace: str = NAMESPACE) -> dict[str, Any] | None:
        """Return an object by kind (``jobs``, ``services``) and name."""
        return next(
            (one for path, one in self.objects.items() if path.endswith(f"/namespaces/{namespace}/{kind}/{name}")), None
        )

    def put(self, path: str, document: dict[str, Any]) -> None:
        """Have an object at ``path``."""
        self.objects[path] = document

    # -- HTTP ----------------------------------------------------------------------------------------------------------

    def _handle(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        length = int(handler.headers.get("content-length") or 0)
        body = json.loads(handler.rfile.read(length)) if length else None
        parts = urlsplit(handler.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        line = f"{handler.command} {parts.path}"
        with self._lock:
            self.requests.append(f"{line}?{parts.query}" if parts.query else line)
            fault = next(
                (
                    one
                    for one in self.faults
                    if one.times > 0 and re.search(one.pattern, line) and one.only_after in parts.query
                ),
                None,
            )
            if fault is not None:
                fault.times -= 1
                if isinstance(fault.how, int):
                    return _reply(handler, fault.how, _fault(fault.how, fault.message))
            if handler.headers.get("authorization") != f"Bearer {TOKEN}":
                return _reply(handler, 401, _fault(401, "Unauthorized"))
            self._settle()
            status, answer = self._answer(handler.command, parts.path, query, body)
        if fault is not None:
            if fault.how == "hang":
                self._over.wait()
            handler.close_connection = True
            return None
        if isinstance(answer, Path):
            return _send_file(handler, answer)
        return _reply(handler, status, answer)

    def _answer(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        if path == "/version":
            return 200, {"gitVersion": "v1.37.0"}
        if path.endswith("/selfsubjectaccessreviews"):
            asked = body["spec"]["resourceAttributes"]
            what = f"{asked['verb']} {asked['resource']}" + (f"/{asked['subresource']}" if "subresource" in asked else "")
            return 201, {"status": {"allowed": what not in self.denied}}
        if path == "/api/v1/nodes":
            ready = {"conditions": [{"type": "Ready", "status": "True"}], "allocatable": self.capacity}
            return self._may("list", "nodes") or (
                200,
                {"items": [{"metadata": {"name": NODE, "labels": {"zone": "b"}}, "spec": {}, "status": ready}], "metadata": {}},
            )
        match = re.fullmatch(r"(/apis?/(?:batch/)?v1/namespaces/([^/]+))/([a-z]+)(?:/([^/]+))?(?:/(log))?", path)
        if match is None:
            return 404, _fault(404, "the server could not find the requested resource")
        _, namespace, kind, name, sub = match.groups()
        verb = {"POST": "create", "DELETE": "delete", "PATCH": "patch"}.get(method, "get" if name else "list")
        if refused := self._may(verb, f"{kind}/{sub}" if sub else kind):
            return refused
        if namespace != NAMESPACE:
            return 404, _fault(404, f'namespaces "{namespace}" not found')
        if kind == "pods":
            return self._pod_answer(name, sub, query)
        if method == "POST":
            return self._create(path, kind, body)
        if name is None:
            found = [one for key, one in self.objects.items() if key.startswith(path + "/")]
            return self._page([one for one in found if _selected(one, query)], query)
        if path not in self.objects:
            return 404, _fault(404, f'{kind} "{name}" not found')
        if method == "DELETE":
            return 200, self._delete(path) if kind == "jobs" else self.objects.pop(path)
        if method == "PATCH":
            self.objects[path] = _merged(self.objects[path], body)
        return 200, self.objects[path]

    def _may(self, verb: str, resource: str) -> tuple[int, Any] | None:
        if f"{verb} {resource}" in self.denied:
            return 403, _fault(403, f'{resource} is forbidden: User "u" cannot {verb} resource "{resource}"')
        return None

    def _create(self, path: str, kind: str, body: dict[str, Any]) -> tuple[int, Any]:
        name = body["metadata"]["name"]
        if f"{path}/{name}" in self.objects:
            return 409, _fault(409, f'{kind} "{name}" already exists')
        body["metadata"] |= {"uid": str(uuid.uuid4()), "creationTimestamp": _now()}
        body.setdefault("status", {})
        self.objects[f"{path}/{name}"] = body
        if kind == "jobs":
            self._settle()
        return 201, body

    def _delete(self, path: str) -> dict[str, Any]:
        found = self.objects[path]
        found["metadata"].setdefault("deletionTimestamp", _now())
        for pod in self._of(found["metadata"]["name"]):
            if pod.process is not None and pod.process.poll() is None and pod.kill_at is None:
                _kill(pod.process, signal.SIGTERM)
                pod.kill_at = time.monotonic() + pod.document["spec"].get("terminationGracePeriodSeconds", 30)
        self._settle()
        return found

    def _pod_answer(self, name: str | None, sub: str | None, query: dict[str, str]) -> tuple[int, Any]:
        if name is None:
            return self._page([pod.document for pod in self._pods.values() if _selected(pod.document, query)], query)
        pod = self._pods.get(name)
        if pod is None:
            return 404, _fault(404, f'pods "{name}" not found')
        if sub == "log":
            if pod.process is None:
                return 400, _fault(400, f'container "run" in pod "{name}" is waiting to start: ContainerCreating')
            return 200, pod.log
        return 200, pod.document

    def _page(self, found: list[dict[str, Any]], query: dict[str, str]) -> tuple[int, Any]:
        start, limit = int(query.get("continue", "0")), int(query.get("limit", "500"))
        if start and self._expired:
            self._expired = False
            return 410, _fault(410, "The provided continue parameter is too old")
        following = {"continue": str(start + limit)} if start + limit < len(found) else {}
        return 200, {"items": found[start : start + limit], "metadata": following}

    # -- scheduler, kubelet and the controller of Jobs -------------------------------------------------------------------

    def _of(self, job: str) -> list[_Pod]:
        return [pod for pod in self._pods.values() if pod.document["metadata"]["labels"].get("dev.wardian/run") == job]

    def _settle(self) -> None:
        for pod in self._pods.values():
            self._settle_pod(pod)
        for path in [path for path in self.objects if "/jobs/" in path]:
            self._settle_job(path, self.objects[path])

    def _settle_job(self, path: str, job: dict[str, Any]) -> None:
        name, spec, status = job["metadata"]["name"], job["spec"], job["status"]
        pods = self._of(name)
        if job["metadata"].get("deletionTimestamp"):
            for pod in pods:
                if pod.process is None or pod.process.poll() is not None:
                    del self._pods[pod.document["metadata"]["name"]]
            if not self._of(name):
                del self.objects[path]
                for other in [
                    key
                    for key, one in self.objects.items()
                    if any(owner["uid"] == job["metadata"]["uid"] for owner in one["metadata"].get("ownerReferences", ()))
                ]:
                    del self.objects[other]
            return
        if status.get("conditions") or spec.get("suspend"):
            return
        if not pods and self.runs_pods:
            status["startTime"] = _now()
            for index in range(spec["completions"]):
                self._make_pod(job, index)
            return
        phases = [pod.document["status"]["phase"] for pod in pods]
        if "Failed" in phases:
            disrupted = any(
                one["type"] == "DisruptionTarget" for pod in pods for one in pod.document["status"].get("conditions", ())
            )
            reason = "PodFailurePolicy" if disrupted else "BackoffLimitExceeded"
            status["conditions"] = [{"type": "Failed", "status": "True", "reason": reason, "message": "Job has failed"}]
            for pod in pods:
                if pod.process is not None:
                    _kill(pod.process, signal.SIGTERM)
        elif pods and set(phases) == {"Succeeded"}:
            status["conditions"] = [{"type": "SuccessCriteriaMet", "status": "True"}, {"type": "Complete", "status": "True"}]

    def _make_pod(self, job: dict[str, Any], index: int) -> None:
        template = json.loads(json.dumps(job["spec"]["template"]))
        name = f"{job['metadata']['name']}-{index}-{uuid.uuid4().hex[:5]}"
        metadata = template.get("metadata", {}) | {"name": name, "uid": str(uuid.uuid4())}
        metadata.setdefault("annotations", {})["batch.kubernetes.io/job-completion-index"] = str(index)
        metadata["labels"] = {**metadata.get("labels", {}), "job-name": job["metadata"]["name"]}
        self._pods[name] = _Pod(
            {"metadata": metadata, "spec": template["spec"], "status": {"phase": "Pending", "conditions": []}}
        )
        self._settle_pod(self._pods[name])

    def _free(self, resource: str) -> Any:
        taken = (
            _asked(pod.document, resource)
            for pod in self._pods.values()
            if pod.document["status"]["phase"] in ("Pending", "Running") and "nodeName" in pod.document["spec"]
        )
        return quantity(self.capacity.get(resource, "0")) - sum(taken)

    def _settle_pod(self, pod: _Pod) -> None:
        status, spec = pod.document["status"], pod.document["spec"]
        container = spec["containers"][0]
        if status["phase"] == "Pending" and pod.process is None:
            if "nodeName" not in spec:
                asked = container["resources"].get("requests", {})
                short = [name for name in asked if _asked(pod.document, name) > self._free(name)]
                if short:
                    words = f"0/1 nodes are available: 1 Insufficient {', '.join(short)}."
                    status["conditions"] = [
                        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": words}
                    ]
                    return
                spec["nodeName"], status["startTime"] = NODE, _now()
                status["conditions"] = [{"type": "PodScheduled", "status": "True"}]
            wanted = [one["image"] for one in (*spec.get("initContainers", ()), container)]
            missing_images = [one for one in wanted if not self._can_pull(one)]
            if missing_images:
                words = f'Back-off pulling image "{missing_images[0]}": not found'
                status["containerStatuses"] = [
                    {"name": container["name"], "state": {"waiting": {"reason": "ImagePullBackOff", "message": words}}}
                ]
                return
            if missing := self._missing_secrets(spec):
                words = f'MountVolume.SetUp failed for volume "secrets": secret "{missing[0]}" not found'
                self._warn(pod, "FailedMount", words)
                status["containerStatuses"] = [
                    {"name": container["name"], "state": {"waiting": {"reason": "ContainerCreating"}}}
                ]
                return
            self._start(pod, container)
        elif status["phase"] == "Running" and pod.process is not None:
            if pod.kill_at is not None and time.monotonic() > pod.kill_at:
                _kill(pod.process, signal.SIGKILL)
            code = pod.process.poll()
            if code is not None:
                _kill(pod.process, signal.SIGKILL)  # what it left: a container ends with its first process
                shown = 128 - code if code < 0 else code
                reason = "Completed" if shown == 0 else "Error"
                status["phase"] = "Succeeded" if shown == 0 else "Failed"
                ended = {"exitCode": shown, "reason": reason, "finishedAt": _now()}
                status["containerStatuses"] = [{"name": container["name"], "state": {"terminated": ended}}]

    def _can_pull(self, image: str) -> bool:
        return self.engine is not None or image in self.images or bool(self.pulls and image.startswith(self.pulls))

    def _missing_secrets(self, spec: dict[str, Any]) -> list[str]:
        names = [one["secret"]["secretName"] for one in spec["volumes"] if "secret" in one]
        return [name for name in names if self.object("secrets", name) is None]

    def _warn(self, pod: _Pod, reason: str, message: str) -> None:
        name = pod.document["metadata"]["name"]
        self.objects[f"/api/v1/namespaces/{NAMESPACE}/events/{name}.{reason}"] = {
            "metadata": {"name": f"{name}.{reason}"}, "type": "Warning", "reason": reason, "message": message,
            "involvedObject": {"kind": "Pod", "name": name}, "lastTimestamp": _now(),
        }  # fmt: skip

    def _mounted(self, pod: _Pod, container: dict[str, Any]) -> dict[str, str]:
        """Return what stands for the places of Secrets and of the pod's own directory in a container that is a process of this machine."""
        found = dict(self.in_images)
        volumes = {one["name"]: one for one in pod.document["spec"]["volumes"]}
        for mount in container["volumeMounts"]:
            volume = volumes[mount["name"]]
            if "secret" in volume:
                place = self.place / f"{pod.document['metadata']['name']}-{mount['name']}"
                write_secret(self.object("secrets", volume["secret"]["secretName"]) or {}, volume["secret"], place)
                found[mount["mountPath"]] = str(place)
            elif "emptyDir" in volume and mount["name"] == "wardian" and "initContainers" in pod.document["spec"]:
                place = self.place / f"{pod.document['metadata']['name']}-{mount['name']}"
                place.mkdir(exist_ok=True)
                found[mount["mountPath"]] = str(place)
        return dict(sorted(found.items(), key=lambda one: -len(one[0])))

    def _first(self, pod: _Pod, containers: list[dict[str, Any]]) -> bool:
        """Run what comes before the container; return whether it succeeded."""
        for container in containers:
            places = self._mounted(pod, container)
            environ = {"PATH": os.environ["PATH"], **{one["name"]: one["value"] for one in container.get("env", ())}}
            environ = {name: _there(value.replace("$$", "$"), places) for name, value in environ.items()}
            command = [_there(word.replace("$$", "$"), places) for word in container["command"]]
            done = subprocess.run(
                command, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
            )
            if done.returncode:
                pod.document["status"]["phase"] = "Failed"
                words = done.stdout[-2000:].decode(errors="replace")
                ended = {"exitCode": done.returncode, "reason": "Error", "message": words, "finishedAt": _now()}
                pod.document["status"]["initContainerStatuses"] = [{"name": container["name"], "state": {"terminated": ended}}]
                waiting = {"waiting": {"reason": "PodInitializing"}}
                pod.document["status"]["containerStatuses"] = [{"name": "run", "state": waiting}]
                return False
        return True

    def _start(self, pod: _Pod, container: dict[str, Any]) -> None:
        directory = container["workingDir"]
        if self.engine is None and not self._first(pod, pod.document["spec"].get("initContainers", [])):
            return
        index = pod.document["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"]
        environ = {"PATH": os.environ["PATH"], "KUBERNETES_SERVICE_HOST": "127.0.0.1", "JOB_COMPLETION_INDEX": index}
        for one in container.get("env", ()):
            environ[one["name"]] = _expanded(one["value"], environ)
        environ["WARDIAN_MASTER_ADDR"] = "127.0.0.1" if "WARDIAN_MASTER_ADDR" in environ else ""
        pod.log = Path(tempfile.mkstemp(dir=self.place, prefix="pod-", suffix=".log")[1])
        container["command"] = [_expanded(word, environ) for word in container["command"]]
        if self.engine is None:
            places = self._mounted(pod, container)
            environ = {name: _there(value, places) for name, value in environ.items()}
            container["command"] = [_there(word, places) for word in container["command"]]
            directory = _there(directory, places)
        command = container["command"] if self.engine is None else self.engine(pod.document)
        with pod.log.open("wb") as log:
            try:
                pod.process = subprocess.Popen(
                    command, cwd=directory if self.engine is None else None, env=environ,
                    stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
                )  # fmt: skip
            except OSError as error:
                pod.document["status"]["phase"] = "Failed"
                ended = {"exitCode": 128, "reason": "StartError", "message": str(error), "finishedAt": _now()}
                pod.document["status"]["containerStatuses"] = [{"name": container["name"], "state": {"terminated": ended}}]
                return
        pod.document["status"] |= {
            "phase": "Running",
            "containerStatuses": [{"name": container["name"], "state": {"running": {"startedAt": _now()}}}],
        }


def _there(text: str, places: dict[str, str]) -> str:
    """Return ``text`` with the places of a container replaced by those that stand for them; one that begins like another goes first."""
    for place, here in places.items():
        if text == place or text.startswith(f"{place}/"):
            return here + text[len(place) :]
    return text


def write_secret(secret: dict[str, Any], volume: dict[str, Any], place: Path) -> None:
    """Write what a volume has of a Secret, as kubelets do: one file for each key, or for those of ``items``."""
    place.mkdir(exist_ok=True)
    wanted = {one["key"]: one["path"] for one in volume.get("items", ())}
    for name, value in secret.get("data", {}).items():
        if not wanted or name in wanted:
            file = place / wanted.get(name, name)
            file.write_bytes(base64.b64decode(value, validate=True))
            file.chmod(volume["defaultMode"])


def _merged(found: Any, change: Any) -> Any:
    """RFC 7386."""
    if not isinstance(change, dict):
        return change
    merged = dict(found) if isinstance(found, dict) else {}
    for name, value in change.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merged(merged.get(name), value)
    return merged


@contextlib.contextmanager
def fake_kubernetes() -> Iterator[FakeKubernetes]:
    """A cluster with nothing in it."""
    with tempfile.TemporaryDirectory(prefix="wt-kube-") as place:
        fake = FakeKubernetes(Path(place))
        try:
            yield fake
        finally:
            fake.close()


def _expanded(text: str, environ: dict[str, str]) -> str:
    """``$$`` → ``$``, ``$(NAME)`` → its value, if it has one: kubernetes/third_party/forked/golang/expansion."""
    return re.sub(r"\$(\$|\(([^)]*)\))", lambda m: "$" if m[1] == "$" else environ.get(m[2], m[0]), text)


def _selected(found: dict[str, Any], query: dict[str, str]) -> bool:
    labels = found["metadata"].get("labels", {})
    for part in re.findall(r"[^,(]+(?:\([^)]*\))?", query.get("labelSelector", "")):
        if match := re.fullmatch(r"(\S+) in \((.*)\)", part.strip()):
            if labels.get(match[1]) not in match[2].split(","):
                return False
        elif part.strip() and labels.get(part.partition("=")[0].strip()) != part.partition("=")[2].strip():
            return False
    involved = re.search(r"involvedObject\.name=([^,]+)", query.get("fieldSelector", ""))
    return involved is None or found.get("involvedObject", {}).get("name") == involved[1]


def _asked(pod: dict[str, Any], resource: str) -> Any:
    return quantity(pod["spec"]["containers"][0]["resources"].get("requests", {}).get(resource, "0"))


def _add_condition(pod: dict[str, Any], condition: dict[str, Any]) -> None:
    pod["status"].setdefault("conditions", []).append(condition)


def _fault(status: int, message: str) -> dict[str, Any]:
    return {**_STATUS, "status": "Failure", "code": status, "reason": _REASONS.get(status, ""), "message": message}


def _reply(handler: http.server.BaseHTTPRequestHandler, status: int, document: Any) -> None:
    content = json.dumps(document).encode()
    handler.send_response(status)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    with contextlib.suppress(OSError):
        handler.wfile.write(content)


def _send_file(handler: http.server.BaseHTTPRequestHandler, path: Path) -> None:
    """As much as it has now, in pieces, and then the end: its length is not said before."""
    handler.send_response(200)
    handler.send_header("Content-Type", "text/plain")
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    left = path.stat().st_size
    with contextlib.suppress(OSError), path.open("rb") as file:
        while left and (piece := file.read(min(left, 1 << 16))):
            left -= len(piece)
            handler.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        handler.wfile.write(b"0\r\n\r\n")


def _kill(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
