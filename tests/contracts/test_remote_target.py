"""The contract of targets whose jobs outlive their submitter, on every engine."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.fake_kubernetes import IMAGE, NAMESPACE, FakeKubernetes, fake_kubernetes
from tests.support.jobs import wait_until

from wardian.errors import InvalidInput, Unavailable
from wardian.run.configuration import Resources
from wardian.run.run_id import new_run_id
from wardian.run.targets.kubernetes import KubernetesTarget
from wardian.run.targets.kubernetes_options import UID
from wardian.run.targets.remote import ENDED, RUNNING, UNKNOWN, WAITING, Standing, Task
from wardian.run.targets.slurm import SlurmTarget
from wardian.run.targets.slurm_rest import SlurmRestTarget
from wardian.run.targets.ssh import SshTarget
from wardian.run.targets.ssh_connection import SshHosts
from wardian.tools.kubernetes import KubernetesApi

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.slurm import Slurm
    from tests.support.sshd import Sshd

    from wardian.run.targets.remote import RemoteTarget

MIB = 1 << 20


@pytest.fixture(params=["slurm", pytest.param("slurm by REST", marks=pytest.mark.slow), "ssh", "kubernetes", "cluster"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RemoteTarget]:
    if request.param == "ssh":
        server: Sshd = request.getfixturevalue("sshd")
        with server.hosts(**server.twice(tmp_path)) as hosts:
            yield SshTarget(hosts)
        return
    if request.param == "cluster":
        yield any_cluster(tmp_path)
        return
    if request.param == "kubernetes":
        yield kubernetes_target(request.getfixturevalue("kubernetes"), tmp_path)
        return
    slurm: Slurm = request.getfixturevalue("slurm")
    if request.param == "slurm":
        yield SlurmTarget({}, slurm.environ)
    else:
        yield rest_target(slurm, request.getfixturevalue("slurmrestd")[1])
    slurm.call("scancel", "--state=PENDING", "--me", check=False)
    slurm.call("scancel", "--me", check=False)
    wait_until(lambda: not slurm.call("squeue", "-h", "-o", "%A"))


@pytest.fixture
def kubernetes() -> Iterator[FakeKubernetes]:
    with fake_kubernetes() as cluster:
        cluster.capacity["cpu"] = "8"
        cluster.put(
            f"/api/v1/namespaces/{NAMESPACE}/persistentvolumeclaims/shared",
            {"metadata": {"name": "shared"}, "status": {"phase": "Bound"}},
        )
        yield cluster


class AnyCluster(KubernetesTarget):
    """A real cluster, whose size nobody knows here."""


def any_cluster(tmp_path: Path) -> AnyCluster:
    """Return the cluster that ``KUBECONFIG`` names. ``--basetemp`` must lie below the directory that is on the volume of its claim."""
    options = {name: os.environ.get(f"KUBE_TEST_{name.upper()}", "") for name in ("claim", "directory", "image")}
    if "KUBECONFIG" not in os.environ or not all(options.values()):
        pytest.skip("no cluster: KUBECONFIG, KUBE_TEST_CLAIM, KUBE_TEST_DIRECTORY, KUBE_TEST_IMAGE and --basetemp name one")
    os.chown(tmp_path, os.geteuid() or UID, os.getegid() or UID)
    return AnyCluster(options, lambda: KubernetesApi(environ=os.environ), uid=os.geteuid(), gid=os.getegid())


def kubernetes_target(cluster: FakeKubernetes, directory: Path, url: str = "") -> KubernetesTarget:
    """Return the cluster as a target whose pods see ``directory`` at the same path."""
    options = {"claim": "shared", "directory": str(directory), "image": IMAGE, "grace": "30"}
    kubeconfig = str(cluster.kubeconfig(url=url))
    return KubernetesTarget(options, lambda: KubernetesApi(kubeconfig, environ={}, timeout_s=20))


def rest_target(slurm: Slurm, where: str) -> SlurmRestTarget:
    """Return the cluster as a target whose slurmrestd answers at ``where``."""
    token = slurm.token()
    return SlurmRestTarget({"rest": where}, slurm.environ, lambda: token)


@pytest.fixture
def gone(target: RemoteTarget, tmp_path: Path, request: pytest.FixtureRequest) -> RemoteTarget:
    """The same engine, which does not answer."""
    if isinstance(target, SshTarget):
        return SshTarget(SshHosts({"hosts": "127.0.0.1", "port": "1", "config": "/dev/null"}, os.environ))
    if isinstance(target, KubernetesTarget):
        return kubernetes_target(request.getfixturevalue("kubernetes"), tmp_path, "http://127.0.0.1:1")
    if isinstance(target, SlurmRestTarget):
        return rest_target(request.getfixturevalue("slurm"), "http://127.0.0.1:1")
    conf = tmp_path / "slurm.conf"
    conf.write_text("ClusterName=gone\nSlurmctldHost=localhost(127.0.0.1)\nSlurmctldPort=1\nMessageTimeout=1\nNodeName=n1\n")
    return SlurmTarget({"conf": str(conf)}, os.environ)


def a_task(directory: Path, script: str, **changes: Any) -> Task:
    directory.mkdir(exist_ok=True)
    return replace(
        Task(new_run_id(), ("/bin/sh", "-c", script), str(directory), Resources(cpus=1, memory_bytes=64 * MIB)), **changes
    )


def standing(target: RemoteTarget, handle: str) -> Standing:
    return target.standings([handle])[handle]


def until(target: RemoteTarget, handle: str, state: str) -> Standing:
    found: list[Standing] = []

    def reached() -> bool:
        found.append(standing(target, handle))
        return found[-1].state == state

    wait_until(reached, pause_s=0.05)
    return found[-1]


def until_canceled(target: RemoteTarget, handle: str) -> None:
    """Wait until a canceled task is gone: known as canceled, or, on Kubernetes, not known any more."""
    found: list[Standing] = []

    def is_over() -> bool:
        found.append(standing(target, handle))
        return found[-1].state in (ENDED, UNKNOWN)

    wait_until(is_over, pause_s=0.05)
    if found[-1].state == UNKNOWN and isinstance(target, KubernetesTarget):
        return
    assert found[-1].cause == "canceled"


def test_success(target: RemoteTarget, tmp_path: Path) -> None:
    end = until(target, target.submit(a_task(tmp_path, "echo done > made")), ENDED)
    assert (end.cause, end.exit_code, end.signal, end.attempts) == ("exited", 0, None, 1)
    assert end.node
    assert (tmp_path / "made").read_text() == "done\n", "it runs in the task's directory"


def test_an_exit_code(target: RemoteTarget, tmp_path: Path) -> None:
    end = until(target, target.submit(a_task(tmp_path, "exit 7")), ENDED)
    assert (end.cause, end.exit_code, end.signal) == ("exited", 7, None)


def test_a_signal(target: RemoteTarget, tmp_path: Path) -> None:
    end = until(target, target.submit(a_task(tmp_path, "kill -9 $$")), ENDED)
    assert (end.cause, end.exit_code, end.signal) == ("exited", None, 9)


def test_words_and_variables_arrive_as_they_are(target: RemoteTarget, tmp_path: Path) -> None:
    odd = ["", "a b", "$HOME", "`id`", "'", '"', "\\", "*", "--flag=x", "ü"]
    task = a_task(tmp_path, 'printf "%s\\n" "$@" > words; printf %s "$ODD" > variable', variables={"ODD": "it's $HOME;"})
    handle = target.submit(replace(task, argv=(*task.argv, "sh", *odd)))
    assert until(target, handle, ENDED).exit_code == 0
    assert (tmp_path / "words").read_text().split("\n") == [*odd, ""]
    assert (tmp_path / "variable").read_text() == "it's $HOME;"


def test_nothing_of_the_submitters_environment_goes_along(
    target: RemoteTarget, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if isinstance(target, AnyCluster):
        pytest.skip("a pod is on another machine")
    name = {SshTarget: "sshd", KubernetesTarget: "kubernetes"}.get(type(target), "slurm")
    engine = request.getfixturevalue(name)  # whose own environment is none of this
    monkeypatch.setenv("WANDB_API_KEY", "hunter2hunter2")
    secretive: RemoteTarget = (
        SshTarget(engine.hosts_of(engine.options())) if isinstance(target, SshTarget)
        else kubernetes_target(engine, tmp_path) if isinstance(target, KubernetesTarget)
        else rest_target(engine, request.getfixturevalue("slurmrestd")[0]) if isinstance(target, SlurmRestTarget)
        else SlurmTarget({}, engine.environ)
    )  # fmt: skip
    handle = secretive.submit(a_task(tmp_path, "env > seen"))
    assert until(secretive, handle, ENDED).exit_code == 0
    assert "hunter2" not in (tmp_path / "seen").read_text()


def test_what_there_never_is_is_refused_at_once(target: RemoteTarget, tmp_path: Path) -> None:
    for resources in (Resources(memory_bytes=1 << 50), Resources(nodes=3), Resources(gpus=1)):
        if isinstance(target, AnyCluster):
            pytest.skip("nobody knows what that cluster has")
        if isinstance(target, KubernetesTarget):  # whose nodes may become more: the task waits, and says why
            if resources.nodes is None:
                handle = target.submit(a_task(tmp_path, "true", resources=resources))
                assert "Insufficient" in until(target, handle, WAITING).reason
        else:
            with pytest.raises(InvalidInput, match="says"):
                target.submit(a_task(tmp_path, "true", resources=resources))
        findings = target.check(resources)
        assert [one.ok for one in findings if one.subject == "resources"] == [False]


def test_a_waiting_task_says_why_and_can_be_canceled(target: RemoteTarget, tmp_path: Path) -> None:
    if isinstance(target, SshTarget):
        pytest.skip("a machine that is reached with ssh has no queue")
    if isinstance(target, AnyCluster):
        pytest.skip("nobody knows what fills that cluster")
    held = target.submit(a_task(tmp_path / "a", "sleep 600", resources=Resources(cpus=4, nodes=2)))
    until(target, held, RUNNING)
    handle = target.submit(a_task(tmp_path / "b", "echo x > made", resources=Resources(cpus=4, nodes=2)))
    assert until(target, handle, WAITING).attempts == 0
    assert str(wait_until(lambda: standing(target, handle).reason)).partition(":")[0].partition(" (")[0] in (
        "Resources",
        "Priority",
        "Unschedulable",
    )
    target.cancel([handle])
    until_canceled(target, handle)
    target.cancel([held])
    until_canceled(target, held)
    assert not (tmp_path / "b/made").exists()


def test_a_running_task_gets_a_word_before_it_is_ended(target: RemoteTarget, tmp_path: Path) -> None:
    script = "trap 'echo asked > said; exit 0' TERM; echo up > up; while :; do sleep 0.05; done"
    handle = target.submit(a_task(tmp_path, script))
    wait_until((tmp_path / "up").exists)
    target.cancel([handle])
    until_canceled(target, handle)
    assert (tmp_path / "said").exists()
    target.cancel([handle])  # again, and of one that it does not know
    target.cancel(["999999", "no handle"])


def test_two_submissions_of_one_key_are_one_task(target: RemoteTarget, tmp_path: Path) -> None:
    task = a_task(tmp_path, "echo x >> made; sleep 1")
    first = target.submit(task)
    assert target.submit(task) == first
    until(target, first, ENDED)
    assert target.submit(task) == first, "an ended one, too, as long as the engine knows it"
    assert (tmp_path / "made").read_text() == "x\n"


def test_many_are_asked_after_at_once_and_the_unknown_are_unknown(target: RemoteTarget, tmp_path: Path) -> None:
    handles = [target.submit(a_task(tmp_path / str(number), f"exit {number}")) for number in range(3)]
    for handle in handles:
        until(target, handle, ENDED)
    found = target.standings([*handles, "4000000", "nothing"])
    assert [found[handle].exit_code for handle in handles] == [0, 1, 2]
    assert (found["4000000"].state, found["nothing"].state) == (UNKNOWN, UNKNOWN)
    assert target.standings([]) == {}
    assert target.standings(["4000000"])["4000000"].state == UNKNOWN


def test_a_log_is_read_from_where_one_was_while_it_grows(target: RemoteTarget, tmp_path: Path) -> None:
    handle = target.submit(a_task(tmp_path, "echo first; while [ ! -e go ]; do sleep 0.05; done; echo second"))
    wait_until(lambda: target.read_log(handle, 0, 100) == b"first\n")
    assert target.read_log(handle, 2, 2) == b"rs"
    assert target.read_log(handle, 6, 100) == b""
    (tmp_path / "go").touch()
    until(target, handle, ENDED)
    assert target.read_log(handle, 6, 100) == b"second\n"
    assert target.read_log("4000000", 0, 100) == b""


def test_a_large_log_is_read_in_pieces(target: RemoteTarget, tmp_path: Path) -> None:
    handle = target.submit(a_task(tmp_path, "head -c 50000000 /dev/zero"))
    until(target, handle, ENDED)
    offset = 0
    while piece := target.read_log(handle, offset, MIB):
        assert len(piece) <= MIB
        offset += len(piece)
    assert offset == 50_000_000


def test_odd_directories(target: RemoteTarget, tmp_path: Path) -> None:
    directory = tmp_path / "100%j StdOut=x Power= ü"
    handle = target.submit(a_task(directory, "echo here"))
    assert until(target, handle, ENDED).exit_code == 0
    assert target.read_log(handle, 0, 100) == b"here\n"


def test_several_nodes_run_it_once_each(target: RemoteTarget, tmp_path: Path) -> None:
    task = a_task(
        tmp_path, "touch rank-${SLURM_PROCID-${WARDIAN_NODE_RANK-$JOB_COMPLETION_INDEX}}", resources=Resources(cpus=1, nodes=2)
    )
    assert until(target, target.submit(task), ENDED).exit_code == 0
    assert sorted(path.name for path in tmp_path.glob("rank-*")) == ["rank-0", "rank-1"]


def test_an_engine_that_does_not_answer_says_nothing_of_tasks(gone: RemoteTarget, tmp_path: Path) -> None:
    handle = "127.0.0.1:/task" if isinstance(gone, SshTarget) else "1"
    for ask in (
        lambda: gone.submit(a_task(tmp_path, "true")), lambda: gone.standings([handle]), lambda: gone.read_log(handle, 0, 1), lambda: gone.cancel([handle]),
    ):  # fmt: skip
        answers: list[object] = []
        thread = threading.Thread(target=lambda ask=ask, answers=answers: answers.append(_raised(ask)), daemon=True)
        thread.start()
        thread.join(120)
        assert isinstance(answers[0], Unavailable)
    findings = gone.check()
    assert not findings[-1].ok
    assert findings[-1].hint


def _raised(ask: Any) -> object:
    try:
        return ask()
    except Unavailable as error:
        return error


def test_checks_say_what_is_there(target: RemoteTarget) -> None:
    findings = target.check(Resources(cpus=1))
    assert all(one.ok for one in findings)
    of_engine = {
        SshTarget: {"a", "b"},
        SlurmTarget: {"commands", "controller"},
        SlurmRestTarget: {"slurmrestd", "token", "controller"},
        KubernetesTarget: {"cluster", "permissions"},
    }
    assert {one.subject for one in findings} >= of_engine.get(type(target), of_engine[KubernetesTarget]) | {"resources"}
