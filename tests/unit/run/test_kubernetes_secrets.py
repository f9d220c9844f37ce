"""Secret objects: there before the Job, its property afterwards, and gone when there is no Job."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest
from tests.support.fake_kubernetes import IMAGE, NAMESPACE, FakeKubernetes, Fault, fake_kubernetes
from tests.support.jobs import wait_until

from wardian.errors import Denied, InvalidInput, Unavailable
from wardian.run.configuration import Resources
from wardian.run.targets.kubernetes import KubernetesTarget
from wardian.run.targets.kubernetes_secrets import SecretsApart
from wardian.run.targets.remote import ENDED, UNKNOWN, Task
from wardian.run.targets.shared_directory import SharedDirectory
from wardian.tools.kubernetes import KubernetesApi

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY, NAME = "01abcdefghjk", "w-01abcdefghjk"
CONTENT = {"secrets.json": b'{"API_KEY": "hunter2"}'}


@pytest.fixture
def cluster() -> Iterator[FakeKubernetes]:
    with fake_kubernetes() as running:
        yield running


@pytest.fixture
def target(cluster: FakeKubernetes) -> KubernetesTarget:
    kubeconfig = str(cluster.kubeconfig())
    return KubernetesTarget({"image": IMAGE}, lambda: KubernetesApi(kubeconfig, environ={}))


def a_task(directory: Path, script: str = "true") -> Task:
    return Task(KEY, ("/bin/sh", "-c", script), str(directory), Resources(), has_secrets=True)


def test_pods_read_it_and_it_is_the_jobs(cluster: FakeKubernetes, target: KubernetesTarget, tmp_path: Path) -> None:
    target.secrets.keep(KEY, CONTENT)
    target.submit(a_task(tmp_path, 'cat "$_WARDIAN_SECRETS_FILE" > read'))
    wait_until(lambda: target.standings([KEY])[KEY].state == ENDED)
    assert (tmp_path / "read").read_bytes() == CONTENT["secrets.json"]
    job, secret = cluster.object("jobs", KEY), cluster.object("secrets", NAME)
    assert job is not None
    assert secret is not None
    (owner,) = secret["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"]) == ("Job", KEY, job["metadata"]["uid"])
    assert base64.b64decode(secret["data"]["secrets.json"]) == CONTENT["secrets.json"]
    target.cancel([KEY])
    wait_until(lambda: target.standings([KEY])[KEY].state == UNKNOWN)
    assert cluster.object("secrets", NAME) is None


@pytest.mark.parametrize("status", [403, 404, 422])
def test_it_goes_when_the_job_is_refused(
    cluster: FakeKubernetes, target: KubernetesTarget, tmp_path: Path, status: int
) -> None:
    target.secrets.keep(KEY, CONTENT)
    cluster.faults.append(Fault("POST .*/jobs", status))
    with pytest.raises(Exception, match="something is wrong"):
        target.submit(a_task(tmp_path))
    assert cluster.object("secrets", NAME) is None


def test_it_stays_when_nobody_knows_whether_there_is_a_job(
    cluster: FakeKubernetes, target: KubernetesTarget, tmp_path: Path
) -> None:
    target.secrets.keep(KEY, CONTENT)
    cluster.faults.append(Fault("PATCH .*/secrets", "lost"))
    with pytest.raises(Unavailable):
        target.submit(a_task(tmp_path))
    assert cluster.object("secrets", NAME) is not None
    target.submit(a_task(tmp_path))  # finds the Job, and gives it what is its
    secret = cluster.object("secrets", NAME)
    assert secret is not None
    assert secret["metadata"]["ownerReferences"]


def test_an_answer_that_was_lost_makes_no_second_one(cluster: FakeKubernetes, target: KubernetesTarget) -> None:
    cluster.faults.append(Fault("POST .*/secrets", "lost"))
    target.secrets.keep(KEY, CONTENT)
    target.secrets.keep(KEY, CONTENT)
    cluster.faults.append(Fault("POST .*/secrets", 503))
    with pytest.raises(Unavailable):
        target.secrets.keep("02abcdefghjk", CONTENT)


def test_somebody_elses_is_left_alone(cluster: FakeKubernetes, target: KubernetesTarget) -> None:
    path = f"/api/v1/namespaces/{NAMESPACE}/secrets/{NAME}"
    cluster.put(path, {"metadata": {"name": NAME, "labels": {"app": "other"}}, "data": {}})
    with pytest.raises(InvalidInput, match="did not make"):
        target.secrets.keep(KEY, CONTENT)
    assert cluster.objects[path]["data"] == {}


def test_what_is_wrong_is_named(cluster: FakeKubernetes, target: KubernetesTarget) -> None:
    with pytest.raises(InvalidInput, match="more than 1 MiB"):
        target.secrets.keep(KEY, {"secrets.json": b"x" * (1 << 20) + b"x"})
    assert not [line for line in cluster.requests if "secrets" in line]
    cluster.denied.add("create secrets")
    with pytest.raises(Denied, match='cannot create resource "secrets"') as caught:
        target.secrets.keep(KEY, CONTENT)
    assert "target check" in (caught.value.hint or "")
    found = {one.subject: one for one in target.check()}
    assert found["permissions"].text == "may not create secrets"


def test_a_pod_whose_secret_is_gone_says_so(cluster: FakeKubernetes, target: KubernetesTarget, tmp_path: Path) -> None:
    target.submit(a_task(tmp_path))
    assert target.standings([KEY])[KEY].reason.startswith('FailedMount: MountVolume.SetUp failed for volume "secrets"')


def test_private_files_of_runs_go_there_and_others_to_the_volume(
    cluster: FakeKubernetes, target: KubernetesTarget, tmp_path: Path
) -> None:
    carrier = SecretsApart(SharedDirectory(tmp_path / "shared"), target.secrets)
    file = tmp_path / "file"
    file.write_bytes(CONTENT["secrets.json"])
    carrier.send({f"runs/{KEY}/secrets.json": str(file), f"runs/{KEY}/other": str(file)}, private=True)
    carrier.send({f"runs/{KEY}/sheet.json": str(file)})
    assert sorted(path.name for path in (tmp_path / "shared/runs" / KEY).iterdir()) == ["other", "sheet.json"]
    assert cluster.object("secrets", NAME) is not None
    cluster.faults.append(Fault("DELETE .*/secrets", 403))
    carrier.remove(f"runs/{KEY}")  # its Job's deletion removes it then
    assert not (tmp_path / "shared/runs" / KEY).exists()
    carrier.remove(f"runs/{KEY}")
    assert cluster.object("secrets", NAME) is None
