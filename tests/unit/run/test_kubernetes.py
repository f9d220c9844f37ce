"""The adapter for Kubernetes against an API server that fails in all the ways that servers do."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, cast

import pytest
from tests.support.fake_kubernetes import IMAGE, NAMESPACE, FakeKubernetes, Fault, fake_kubernetes
from tests.support.jobs import wait_until

from wardian.errors import Denied, InvalidInput, NotFound, Unavailable, WardianError
from wardian.run.configuration import Resources
from wardian.run.targets.kubernetes import KubernetesTarget
from wardian.run.targets.remote import ENDED, RUNNING, UNKNOWN, WAITING, Standing, Task
from wardian.tools.kubernetes import Answer, KubernetesApi

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

JOBS = f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs"


@pytest.fixture
def cluster() -> Iterator[FakeKubernetes]:
    with fake_kubernetes() as running:
        yield running


def a_target(cluster: FakeKubernetes, *, token: str = "", timeout_s: float = 20, **options: str) -> KubernetesTarget:
    kubeconfig = str(cluster.kubeconfig(token=token) if token else cluster.kubeconfig())
    return KubernetesTarget({"image": IMAGE, **options}, lambda: KubernetesApi(kubeconfig, environ={}, timeout_s=timeout_s))


def a_task(
    directory: Path, script: str = "true", key: str = "01abcdefghjk", image: str | None = None, nodes: int | None = None
) -> Task:
    return Task(key, ("/bin/sh", "-c", script), str(directory), Resources(nodes=nodes), image=image)


def until(target: KubernetesTarget, handle: str, state: str) -> Standing:
    wait_until(lambda: target.standings([handle])[handle].state == state)
    return target.standings([handle])[handle]


# -- submitting --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["lost", "hang"])
def test_a_job_whose_answer_was_lost_is_made_once(cluster: FakeKubernetes, tmp_path: Path, how: str) -> None:
    target = a_target(cluster, timeout_s=0.5 if how == "hang" else 20)
    cluster.faults.append(Fault("POST .*/jobs", how))
    handle = target.submit(a_task(tmp_path, "echo x >> made"))
    assert until(target, handle, ENDED).exit_code == 0
    assert (tmp_path / "made").read_text() == "x\n"
    assert target.submit(a_task(tmp_path, "echo x >> made")) == handle
    assert (tmp_path / "made").read_text() == "x\n"


def test_nothing_is_taken_for_granted_when_nobody_answers(cluster: FakeKubernetes, tmp_path: Path) -> None:
    cluster.faults.append(Fault("POST .*/jobs", 503, message="etcdserver: leader changed"))
    target = a_target(cluster)
    with pytest.raises(Unavailable, match="leader changed"):
        target.submit(a_task(tmp_path))
    assert target.standings(["01abcdefghjk"])["01abcdefghjk"].state == UNKNOWN
    assert target.submit(a_task(tmp_path)) == "01abcdefghjk"


@pytest.mark.parametrize("body", [{}, {"items": []}, {"metadata": None}, {"metadata": "Job"}])
def test_an_answer_that_is_no_job_is_no_answer(body: dict[str, Any], tmp_path: Path) -> None:
    class Api:
        namespace = "team-a"

        def ask(self, *_: object, **__: object) -> Answer:
            return Answer(201, body)

    with pytest.raises(Unavailable, match="answers with no Job"):
        KubernetesTarget({"image": IMAGE}, lambda: cast("KubernetesApi", Api())).submit(a_task(tmp_path))


def test_a_job_that_is_there_and_is_not_is_asked_for_again(cluster: FakeKubernetes, tmp_path: Path) -> None:
    cluster.faults.append(Fault("POST .*/jobs", 409, message="already exists"))
    target = a_target(cluster)
    with pytest.raises(Unavailable, match="that there is none"):
        target.submit(a_task(tmp_path))
    assert target.submit(a_task(tmp_path)) == "01abcdefghjk"


def test_somebody_elses_job_of_that_name_is_left_alone(cluster: FakeKubernetes, tmp_path: Path) -> None:
    cluster.put(
        f"{JOBS}/01abcdefghjk", {"metadata": {"name": "01abcdefghjk", "uid": "u"}, "spec": {"suspend": True}, "status": {}}
    )
    with pytest.raises(InvalidInput, match="did not make"):
        a_target(cluster).submit(a_task(tmp_path))


@pytest.mark.parametrize(
    ("status", "words", "error", "code"),
    [
        (403, "jobs is forbidden", Denied, "engine_denied"), (403, "exceeded quota: team", Unavailable, "queue_full"),
        (422, 'Job is invalid: spec.template.spec.priorityClassName: no "x"', InvalidInput, "engine_refused"),
        (404, 'namespaces "team-a" not found', NotFound, "engine_refused"), (429, "too many requests", Unavailable, "engine_unavailable"),
        (500, "internal error", Unavailable, "engine_unavailable"), (401, "Unauthorized", Denied, "engine_denied"),
    ],
)  # fmt: skip
def test_refusals_are_in_the_servers_words(
    cluster: FakeKubernetes, tmp_path: Path, status: int, words: str, error: type[WardianError], code: str
) -> None:
    cluster.faults.append(Fault("POST .*/jobs", status, message=words))
    with pytest.raises(error) as caught:
        a_target(cluster).submit(a_task(tmp_path))
    assert type(caught.value) is error
    assert caught.value.stable_code == code
    assert words in caught.value.message
    assert caught.value.hint


def test_the_service_of_several_nodes_goes_with_its_job(cluster: FakeKubernetes, tmp_path: Path) -> None:
    target = a_target(cluster)
    cluster.faults.append(Fault("POST .*/services", "lost"))
    with pytest.raises(Unavailable):
        target.submit(a_task(tmp_path, "sleep 600", nodes=2))
    handle = target.submit(a_task(tmp_path, "sleep 600", nodes=2))  # finds both
    service = cluster.object("services", f"w-{handle}")
    assert service is not None
    until(target, handle, RUNNING)
    target.cancel([handle])
    until(target, handle, UNKNOWN)
    assert cluster.object("services", f"w-{handle}") is None


# -- asking ------------------------------------------------------------------------------------------------------------


def test_lists_have_pages_that_expire(cluster: FakeKubernetes) -> None:
    cluster.runs_pods = False
    names = [f"r{number}" for number in range(1201)]
    for name in names:
        labels = {"app.kubernetes.io/managed-by": "wardian", "dev.wardian/run": name}
        cluster.put(
            f"{JOBS}/{name}",
            {
                "metadata": {"name": name, "labels": labels},
                "spec": {},
                "status": {"conditions": [{"type": "Complete", "status": "True"}]},
            },
        )
    cluster.expire_lists()
    found = a_target(cluster).standings([*names, "r9999"])
    assert {found[name].state for name in names} == {ENDED}
    assert found["r9999"].state == UNKNOWN
    lists = [line for line in cluster.requests if line.startswith("GET")]
    assert len(lists) == 2 + 3 + 1, "two pages, from the beginning again, and the pods"


def test_lists_that_always_expire_are_given_up(cluster: FakeKubernetes) -> None:
    cluster.faults.append(Fault("GET .*/jobs$", 410, times=100, only_after="continue"))
    for number in range(600):
        labels = {"app.kubernetes.io/managed-by": "wardian", "dev.wardian/run": f"r{number}"}
        cluster.put(
            f"{JOBS}/r{number}", {"metadata": {"name": f"r{number}", "labels": labels}, "spec": {"suspend": True}, "status": {}}
        )
    with pytest.raises(Unavailable):
        a_target(cluster).standings([f"r{number}" for number in range(600)])


def test_an_image_that_cannot_be_pulled(cluster: FakeKubernetes, tmp_path: Path) -> None:
    target = a_target(cluster)
    handle = target.submit(a_task(tmp_path, image="registry.test/none:1"))
    found = until(target, handle, WAITING)
    assert found.reason.startswith("ImagePullBackOff: Back-off pulling image")
    assert (found.node, found.attempts) == ("n1", 1)


def test_a_job_without_pods_says_why_by_its_events(cluster: FakeKubernetes, tmp_path: Path) -> None:
    cluster.runs_pods = False
    target = a_target(cluster)
    handle = target.submit(a_task(tmp_path))
    assert target.standings([handle])[handle].reason == "no pod yet"
    event = {
        "metadata": {"name": "e"},
        "involvedObject": {"name": handle},
        "reason": "FailedCreate",
        "message": "exceeded quota: team",
        "lastTimestamp": "2026",
    }
    cluster.put(f"/api/v1/namespaces/{NAMESPACE}/events/e", event)
    assert target.standings([handle])[handle].reason == "FailedCreate: exceeded quota: team"
    cluster.denied.add("list events")
    assert target.standings([handle])[handle].reason == "no pod yet"


@pytest.mark.parametrize(
    ("reason", "cause"),
    [("PreemptionByScheduler", "preempted"), ("DeletionByTaintManager", "node_lost"), ("EvictionByEvictionAPI", "node_lost")],
)
def test_disruptions_are_told_from_failures(cluster: FakeKubernetes, tmp_path: Path, reason: str, cause: str) -> None:
    target = a_target(cluster)
    handle = target.submit(a_task(tmp_path, "echo x >> starts; sleep 600"))
    until(target, handle, RUNNING)
    wait_until((tmp_path / "starts").exists)
    cluster.disrupt(handle, reason)
    assert until(target, handle, ENDED).cause == cause
    assert (tmp_path / "starts").read_text() == "x\n", "it is not started again"
    assert len(cluster.pods(handle)) == 1


def test_a_queue_that_has_not_admitted_it(cluster: FakeKubernetes, tmp_path: Path) -> None:
    target = a_target(cluster, queue="team-queue")
    handle = target.submit(a_task(tmp_path))
    assert target.standings([handle])[handle].reason == "suspended: the queue team-queue has not admitted it"
    job = cluster.object("jobs", handle)
    assert job is not None
    job["spec"]["suspend"] = False
    assert until(target, handle, ENDED).exit_code == 0


def test_handles_that_are_none_ask_nothing(cluster: FakeKubernetes) -> None:
    target = a_target(cluster)
    assert target.standings(["a/../b", "?x"])["?x"].state == UNKNOWN
    assert target.read_log("../../secrets", 0, 10) == b""
    target.cancel(["../x"])
    assert cluster.requests == []


# -- logs --------------------------------------------------------------------------------------------------------------


def test_a_log_of_100_mb_is_read_in_bounded_memory(cluster: FakeKubernetes, tmp_path: Path) -> None:
    import tracemalloc

    target = a_target(cluster)
    handle = target.submit(a_task(tmp_path, "yes 0123456789abcde | head -c 100000000"))
    until(target, handle, ENDED)
    target.read_log(handle, 0, 1)
    tracemalloc.start()
    try:
        offset, asked = 0, len(cluster.requests)
        while piece := target.read_log(handle, offset, 4 << 20):
            assert piece[:1] == b"0123456789abcde\n"[offset % 16 : offset % 16 + 1]
            offset += len(piece)
        assert offset == 100_000_000
        assert len(cluster.requests) - asked < 10, "one answer is read to its end"
        assert tracemalloc.get_traced_memory()[1] < 30 << 20
    finally:
        tracemalloc.stop()


def test_a_log_is_none_before_the_container_starts(cluster: FakeKubernetes, tmp_path: Path) -> None:
    target = a_target(cluster)
    handle = target.submit(a_task(tmp_path, image="registry.test/none:1"))
    assert target.read_log(handle, 0, 100) == b""
    cluster.denied.add("get pods/log")
    with pytest.raises(Denied, match="pods/log"):
        target.read_log(handle, 0, 100)


# -- who asks, and where -----------------------------------------------------------------------------------------------


def test_an_expired_token(cluster: FakeKubernetes) -> None:
    target = a_target(cluster, token="another")
    with pytest.raises(Denied, match="does not know who asks") as caught:
        target.standings(["a"])
    assert "log in again" in str(caught.value.hint)
    (finding,) = target.check()
    assert not finding.ok
    assert "log in again" in finding.hint


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "cannot be used"), ("nonsense", "cannot be used"), ("{}", "cannot be used"), ("[]", "cannot be used"), ("a: [", "cannot be used"),
        ('{"current-context": "x", "contexts": [], "clusters": [], "users": []}', "cannot be used"),
    ],
)  # fmt: skip
def test_kubeconfigs_that_are_none(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(InvalidInput, match=words) as caught:
        KubernetesApi(str(path), environ={})
    assert caught.value.stable_code == "bad_kubeconfig"
    assert str(path) in caught.value.message


def test_kubeconfigs_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no kubeconfig at /nowhere/config"):
        KubernetesApi("/nowhere/config", environ={})
    with pytest.raises(InvalidInput, match=f"no kubeconfig at {tmp_path}/.kube/config"):
        KubernetesApi(environ={"HOME": str(tmp_path)})


def test_contexts(cluster: FakeKubernetes) -> None:
    path = str(cluster.kubeconfig())
    assert KubernetesApi(path, "test", environ={}).namespace == NAMESPACE
    assert KubernetesApi(environ={"KUBECONFIG": path}).namespace == NAMESPACE
    with pytest.raises(InvalidInput, match="prod"):
        KubernetesApi(path, "prod", environ={})


def test_an_address_where_something_else_answers(cluster: FakeKubernetes, tmp_path: Path) -> None:
    import http.server
    import threading

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>a portal</html>")

        def log_message(self, *_: object) -> None:
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        config = str(cluster.kubeconfig(url=f"http://127.0.0.1:{server.server_port}"))
        target = KubernetesTarget({}, lambda: KubernetesApi(config, environ={}))
        with pytest.raises(Unavailable, match="no Kubernetes API server"):
            target.standings(["a"])
        server.shutdown()


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kubernetes", None)
    with pytest.raises(InvalidInput) as caught:
        KubernetesApi(environ={})
    assert caught.value.stable_code == "kubernetes_missing"
    assert "wardian[kubernetes]" in str(caught.value.hint)


def test_missing_permissions_are_listed(cluster: FakeKubernetes) -> None:
    cluster.denied |= {"get pods/log", "delete jobs", "list nodes"}
    findings = {one.subject: one for one in a_target(cluster).check(Resources(cpus=1))}
    assert not findings["permissions"].ok
    assert "delete jobs, get pods/log" in findings["permissions"].text
    assert findings["resources"].ok
    assert "may not list" in findings["resources"].text
    assert findings["cluster"].text.startswith("Kubernetes v1.37.0, test at http://127.0.0.1")


def test_a_claim_that_is_not_there(cluster: FakeKubernetes) -> None:
    findings = {one.subject: one for one in a_target(cluster, claim="shared", directory="/shared").check()}
    assert (findings["claim"].ok, findings["claim"].text) == (False, "there is no PersistentVolumeClaim shared in team-a")


def test_a_log_that_nobody_reads_on_is_let_go(cluster: FakeKubernetes, tmp_path: Path) -> None:
    target = a_target(cluster)
    handle = target.submit(a_task(tmp_path, "echo one; echo two"))
    until(target, handle, ENDED)
    assert target.read_log(handle, 0, 4) == b"one\n"
    (stream, _) = target._logs[handle]
    assert target.read_log(handle, 0, 0) == b""
    assert target._logs == {}
    assert stream._reply.closed
    assert target.read_log(handle, 4, 100) == b"two\n"
    target.read_log(handle, 0, 0)
