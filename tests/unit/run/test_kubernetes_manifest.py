"""What Kubernetes is given for a task, checked against the published schemas of three of its versions."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import kubernetes_validate
import pytest

from wardian.errors import InvalidInput
from wardian.run.configuration import Resources
from wardian.run.place import Place
from wardian.run.targets.kinds import check_options
from wardian.run.targets.kubernetes_manifest import manifests, pod_spec
from wardian.run.targets.kubernetes_options import KUBERNETES, KubernetesOptions
from wardian.run.targets.kubernetes_secrets import secret_of
from wardian.run.targets.remote import Errand, Task

IMAGE = "registry.test/env@sha256:" + "1" * 64
FULL = {
    "namespace": "team-a", "claim": "shared/ada", "directory": "/shared/ada", "registry_login": "mirror,ours", "service_account": "trainer",
    "queue": "team-queue", "priority_class": "low", "runtime_class": "nvidia", "node_selector": "zone=b,example.com/gpu=a100",
    "tolerations": "gpu=yes:NoSchedule,spot", "gpu_resource": "amd.com/gpu", "volumes": "sets:/data:ro,scratch:/scratch", "shm": "8G", "uid": "1234",
    "gid": "99", "ttl": "60", "grace": "45", "start_time": "100",
}  # fmt: skip
SHARED = {"claim": "shared", "directory": "/shared"}
TASK = Task("01abcdefghjk", ("/agent", "exec"), "/shared/ada/runs/01abcdefghjk", Resources(), image=IMAGE)


def made(task: Task = TASK, /, **options: str) -> list[dict[str, Any]]:
    options = {**SHARED, **options}
    check_options(KUBERNETES, options, "k")
    return manifests(task, KubernetesOptions.of(options), workspace="0123456789abcdef")


def pod(task: Task = TASK, /, **options: str) -> dict[str, Any]:
    spec: dict[str, Any] = made(task, **options)[0]["spec"]["template"]["spec"]
    return spec


@pytest.mark.parametrize("version", ["1.29", "1.33", "1.37"])
@pytest.mark.parametrize("options", [{}, FULL], ids=["plain", "full"])
@pytest.mark.parametrize("nodes", [None, 3])
def test_they_are_valid(version: str, options: dict[str, str], nodes: int | None) -> None:
    task = replace(TASK, resources=Resources(1.5, 1 << 30, 2, nodes), time_s=90.5, variables={"A": "b"})
    found = made(task, **options)
    assert [one["kind"] for one in found] == (["Job", "Service"] if nodes else ["Job"])
    for one in found:
        kubernetes_validate.validate(one, version, strict=True)


@pytest.mark.parametrize("version", ["1.29", "1.33", "1.37"])
def test_secrets_are_an_object_that_pods_mount(version: str) -> None:
    kept = secret_of(TASK.key, {"secrets.json": b"hunter2"}, "0123456789abcdef")
    shown = secret_of(TASK.key, None, names={"secrets.json": "not shown: API_KEY"})
    job = made(replace(TASK, has_secrets=True), **FULL)[0]
    for one in (kept, shown, job):
        kubernetes_validate.validate(one, version, strict=True)
    assert "hunter2" not in json.dumps([shown, job])
    found = job["spec"]["template"]["spec"]
    (volume,) = [one for one in found["volumes"] if "secret" in one]
    assert volume["secret"] == {
        "secretName": kept["metadata"]["name"],
        "defaultMode": 0o440,
        "optional": False,
        "items": [{"key": "secrets.json", "path": "secrets.json"}],
    }
    (mount,) = [one for one in found["containers"][0]["volumeMounts"] if one["name"] == volume["name"]]
    assert mount["readOnly"] is True
    file = {"name": "_WARDIAN_SECRETS_FILE", "value": f"{mount['mountPath']}/secrets.json"}
    assert file in found["containers"][0]["env"]
    assert "secret" not in json.dumps(made()[0])


FIRST = Errand("registry.test/envs@sha256:" + "2" * 64, ("/agents/d/python", "fetch", "--files", "f"), f"w-{TASK.key}")
ALONE = replace(
    TASK,
    directory=f"/wardian/runs/{TASK.key}",
    first=FIRST,
    has_secrets=True,
    variables={"_WARDIAN_FILES": "registry.test/envs"},
)


@pytest.mark.parametrize("version", ["1.29", "1.33", "1.37"])
def test_files_are_brought_by_a_container_before_into_a_directory_of_the_pod(version: str) -> None:
    options = {name: value for name, value in FULL.items() if name not in ("claim", "directory")} | {"files": "registry"}
    check_options(KUBERNETES, options, "k")
    asked = replace(ALONE, resources=Resources(1, 1 << 30, 2, 3))
    job, _ = manifests(asked, KubernetesOptions.of(options))
    login = secret_of(TASK.key, {".dockerconfigjson": b"{}", "secrets.json": b"{}"})
    assert login["type"] == "kubernetes.io/dockerconfigjson"
    for one in (job, login):
        kubernetes_validate.validate(one, version, strict=True)
    spec = job["spec"]["template"]["spec"]
    (first,), (container,) = spec["initContainers"], spec["containers"]
    assert (first["image"], first["command"]) == (FIRST.image, list(FIRST.argv))
    assert first["securityContext"] == container["securityContext"], "within the restricted standard, too"
    assert first["resources"]["limits"] == {"cpu": "1", "memory": str(1 << 30)}, "quotas want some; gpus are not for it"
    volumes = {one["name"]: one for one in spec["volumes"]}
    assert volumes["wardian"] == {"name": "wardian", "emptyDir": {}}
    assert {"name": "wardian", "mountPath": "/wardian"} in first["volumeMounts"]
    assert {"name": "wardian", "mountPath": "/wardian"} in container["volumeMounts"]
    assert volumes["login"]["secret"]["secretName"] == FIRST.login
    places = {one["name"]: one["mountPath"] for one in container["volumeMounts"]}
    assert places["login"] != places["secrets"]
    assert "secrets" not in {one["name"] for one in first["volumeMounts"]}, "what brings files needs no secrets of the run"
    assert "_WARDIAN_SECRETS_FILE" not in {one["name"] for one in first["env"]}
    assert {"name": "_WARDIAN_FILES_LOGIN", "value": f"{places['login']}/config.json"} in first["env"]
    assert spec["imagePullSecrets"] == [{"name": "mirror"}, {"name": "ours"}, {"name": FIRST.login}]


def test_a_registry_without_a_login_needs_no_secret() -> None:
    spec = pod_spec(replace(ALONE, first=replace(FIRST, login=""), has_secrets=False), KubernetesOptions.of({}))
    assert "imagePullSecrets" not in spec
    assert not [one for one in spec["volumes"] if "secret" in one]


def test_a_task_survives_its_record() -> None:
    place = Place("kubernetes", {}, "/wardian", TASK.key).offered(ALONE)
    assert Place.from_json(place.to_json()) == place


def test_the_validator_would_say_so() -> None:
    job = made()[0]
    job["spec"]["template"]["spec"]["containers"][0]["comand"] = []
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job, "1.33", strict=True)


def test_a_job_runs_once() -> None:
    spec = made(replace(TASK, time_s=3600.2))[0]["spec"]
    assert (spec["backoffLimit"], spec["completions"], spec["parallelism"]) == (0, 1, 1)
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    (rule,) = spec["podFailurePolicy"]["rules"]
    assert (rule["action"], rule["onPodConditions"][0]["type"]) == ("FailJob", "DisruptionTarget")
    assert "activeDeadlineSeconds" not in spec, "the Job's clock would run while it waits for a node"
    assert spec["template"]["spec"]["activeDeadlineSeconds"] == 3601 + 900 + 30


def test_the_restricted_pod_security_standard_holds() -> None:
    found = pod(**FULL)
    assert not {"hostNetwork", "hostPID", "hostIPC"} & found.keys()
    assert found["securityContext"]["runAsNonRoot"] is True
    assert found["securityContext"]["runAsUser"] == 1234
    assert found["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert found["automountServiceAccountToken"] is False
    (container,) = found["containers"]
    context = container["securityContext"]
    assert (context["allowPrivilegeEscalation"], context["privileged"], context["capabilities"]) == (
        False,
        False,
        {"drop": ["ALL"]},
    )
    allowed = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
    assert all((set(one) - {"name"}) <= allowed for one in found["volumes"])


def test_options_become_fields() -> None:
    job = made(replace(TASK, resources=Resources(0.25, 3 << 30, 2)), **FULL)[0]
    assert job["metadata"]["namespace"] == "team-a"
    assert job["metadata"]["labels"] == {
        "app.kubernetes.io/managed-by": "wardian", "dev.wardian/run": TASK.key, "dev.wardian/workspace": "0123456789abcdef",
        "kueue.x-k8s.io/queue-name": "team-queue",
    }  # fmt: skip
    assert (job["spec"]["suspend"], job["spec"]["ttlSecondsAfterFinished"]) == (True, 60)
    found = job["spec"]["template"]["spec"]
    assert (found["serviceAccountName"], found["priorityClassName"], found["runtimeClassName"]) == ("trainer", "low", "nvidia")
    assert found["imagePullSecrets"] == [{"name": "mirror"}, {"name": "ours"}]
    assert found["nodeSelector"] == {"zone": "b", "example.com/gpu": "a100"}
    assert found["tolerations"] == [
        {"key": "gpu", "operator": "Equal", "value": "yes", "effect": "NoSchedule"}, {"key": "spot", "operator": "Exists"},
    ]  # fmt: skip
    container = found["containers"][0]
    assert container["resources"]["limits"] == {"cpu": "250m", "memory": str(3 << 30), "amd.com/gpu": "2"}
    assert container["resources"]["requests"] == container["resources"]["limits"]
    mounts = {one["mountPath"]: one for one in container["volumeMounts"]}
    claims = {
        one["name"]: one["persistentVolumeClaim"]["claimName"] for one in found["volumes"] if "persistentVolumeClaim" in one
    }
    assert (claims[mounts["/shared/ada"]["name"]], mounts["/shared/ada"]["subPath"]) == ("shared", "ada")
    assert (claims[mounts["/data"]["name"]], mounts["/data"]["readOnly"]) == ("sets", True)
    assert "/dev/shm" in mounts
    assert "/tmp" in mounts


def test_several_nodes_find_the_first() -> None:
    job, service = made(replace(TASK, resources=Resources(nodes=3)), namespace="team-a")
    assert (job["spec"]["completionMode"], job["spec"]["completions"], job["spec"]["parallelism"]) == ("Indexed", 3, 3)
    variables = {one["name"]: one["value"] for one in job["spec"]["template"]["spec"]["containers"][0]["env"]}
    host, _, domain = variables["WARDIAN_MASTER_ADDR"].partition(".")
    assert host == f"{TASK.key}-0"
    assert variables["WARDIAN_WORLD_SIZE"] == "3"
    assert domain == service["metadata"]["name"] == job["spec"]["template"]["spec"]["subdomain"]
    assert (service["spec"]["clusterIP"], service["metadata"]["namespace"]) == ("None", "team-a")
    labels = job["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()


def test_dollars_are_the_jobs_own() -> None:
    task = replace(TASK, argv=("sh", "-c", "kill $$; echo $(HOME) $HOME"), variables={"A": "$(PATH)"})
    container = pod(task)["containers"][0]
    assert container["command"][2] == "kill $$$$; echo $$(HOME) $$HOME"
    assert {"name": "A", "value": "$$(PATH)"} in container["env"]


def test_the_image_of_the_target_is_for_runs_that_have_none() -> None:
    assert pod(replace(TASK, image=None), image="debian:13")["containers"][0]["image"] == "debian:13"
    assert pod(image="debian:13")["containers"][0]["image"] == IMAGE
    with pytest.raises(InvalidInput, match="needs an image"):
        made(replace(TASK, image=None))


@pytest.mark.parametrize("key", ["", "Abc", "a_b", "-a", "a" * 57, "a.b"])
def test_names_that_it_would_not_take(key: str) -> None:
    with pytest.raises(InvalidInput, match="name of a Job"):
        made(replace(TASK, key=key))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"namespace": "Team"}, "namespace"), ({"uid": "0"}, "uid"), ({"claim": "shared"}, "belong together"),
        ({"directory": "/x"}, "belong together"), ({"claim": "c/../x", "directory": "/x"}, "leads out"), ({"claim": "c", "directory": "/etc"}, "nothing can be mounted"),
        ({"volumes": "sets:/data,more:/data/"}, "one place"), ({"volumes": "sets:/a/../etc"}, "nothing can be mounted"), ({"volumes": "sets"}, "volumes"),
        ({"tolerations": "gpu:Sometimes"}, "tolerations"), ({"node_selector": "zone"}, "node_selector"), ({"queue": "a b"}, "queue"),
        ({"files": "registry"}, "contradict"), ({"directory": "/shared", "claim": "c", "files": "r.test/team/runs"}, "contradict"), ({"files": "no repository"}, "files"),
        ({"files_login": "x"}, "through a registry"), ({"files_login": "A_B"}, "files_login"), ({"grace": "0"}, "grace"), ({"nonsense": "1"}, "nonsense"), ({"image": "x y"}, "image"), ({"queue": "a" * 60 + "." + "b" * 60 + "." + "c" * 60 + "." + "d" * 63 + "." + "e" * 60}, "too long"),
    ],
)  # fmt: skip
def test_wrong_options_are_named(options: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_options(KUBERNETES, options if {"claim", "directory"} & options.keys() else {**SHARED, **options}, "k")
    assert words in f"{caught.value.message} {caught.value.hint}"


def test_the_submitters_own_number_is_taken_unless_it_is_roots() -> None:
    assert KubernetesOptions.of({}, uid=4321, gid=55).uid == 4321
    assert KubernetesOptions.of({}, uid=0, gid=0).uid == 1000
    assert KubernetesOptions.of({"uid": "7"}, uid=4321).uid == 7


def test_all_is_plain_data() -> None:
    found = made(replace(TASK, resources=Resources(1, 1, 1, 2)), **FULL)
    assert json.loads(json.dumps(found)) == found
