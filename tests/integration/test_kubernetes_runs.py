"""Runs on Kubernetes, from the command line, against an API server whose kubelet runs pods as processes of this machine."""

from __future__ import annotations

import base64
import signal
import sys
from typing import TYPE_CHECKING, Any

import kubernetes_validate
import pytest
import yaml
from tests.support.cli import Cli
from tests.support.fake_kubernetes import IMAGE, NAMESPACE, FakeKubernetes, Fault, fake_kubernetes
from tests.support.jobs import wait_until
from tests.support.registry import DockerRegistry, why_not

from wardian.bootstrap_images import node_store
from wardian.image.registry_auth import RegistryLogin
from wardian.sdk.kubernetes_way import login_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOKEN = "ghp_" + "a1B2" * 9
PASSWORD = "open-sesame-4711"
TRAIN = """
import os, sys
print("hello", *sys.argv[1:], flush=True)
with open("outputs/model", "w") as file: file.write(os.environ.get("SEED", ""))
open("new", "w").close()
"""


@pytest.fixture
def cluster() -> Iterator[FakeKubernetes]:
    with fake_kubernetes() as running:
        running.put(
            f"/api/v1/namespaces/{NAMESPACE}/persistentvolumeclaims/shared",
            {"metadata": {"name": "shared"}, "status": {"phase": "Bound"}},
        )
        yield running


@pytest.fixture(scope="module")
def caches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is kept between the tests: the agent, which takes a while to make."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def cli(tmp_path: Path, cluster: FakeKubernetes, caches: Path) -> Cli:
    """A command line with a target `prod`, and an environment `host`: this test's own interpreter."""
    made = Cli.at(tmp_path, cache=caches)
    made.variables |= {"KUBECONFIG": str(cluster.kubeconfig())}
    made.ok("env", "create", "host", "--interpreter", sys.executable)
    options = {"claim": "shared/ada", "directory": str(tmp_path / "shared"), "image": IMAGE, "queue": ""}
    made.ok(
        "target",
        "create",
        "prod",
        "--kind",
        "kubernetes",
        *(word for name, value in options.items() if value for word in ("--option", f"{name}={value}")),
    )
    made.write("train.py", TRAIN)
    return made


def there(cli: Cli, *words: str, **options: Any) -> Any:
    return cli.run("run", "-t", "prod", "-e", "host", *words, **options)


def newest(cli: Cli) -> Any:
    return cli.json("runs", "show", "latest")


def left_there(cli: Cli, tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "shared/runs").iterdir())


def test_a_run_there_is_as_one_here(cli: Cli, cluster: FakeKubernetes, tmp_path: Path) -> None:
    done = there(cli, "-V", "SEED=7", "--cpus", "1", "--memory", "100M", "--time", "10m", "train.py", "a b", "$HOME", "$(HOME)")
    assert (done.code, done.out) == (0, "hello a b $HOME $(HOME)\n")
    run = newest(cli)
    assert run["state"] == "completed"
    assert [one["path"] for one in run["results"]["outputs"]] == ["outputs/model"]
    assert run["results"]["new_files"] == ["new"]
    assert run["place"]["handle"] == run["id"]
    assert run["place"]["node"]
    job = cluster.object("jobs", run["id"])
    assert job is not None
    assert job["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"] == {"cpu": "1", "memory": "104857600"}
    assert cli.ok("runs", "logs", "latest").out == done.out
    assert left_there(cli, tmp_path) == []


def test_the_exit_code_is_the_scripts_own(cli: Cli) -> None:
    cli.write("fail.py", "raise SystemExit(3)")
    assert there(cli, "fail.py").code == 3
    cli.write("killed.py", "import os; os.kill(os.getpid(), 11)")
    assert there(cli, "killed.py").code == 128 + signal.SIGSEGV


def test_secrets_reach_the_script_through_a_secret_object_alone(cli: Cli, cluster: FakeKubernetes) -> None:
    cli.write(
        "secret.py", "import os, sys\nopen('outputs/ok', 'w').write(str(len(os.environ['API_KEY']) + len(sys.argv[1])))\n"
    )
    dry = there(cli, "--dry-run", "-V", "API_KEY", "secret.py", f"--token={TOKEN}", variables={"API_KEY": TOKEN})
    assert dry.code == 0
    assert TOKEN not in dry.out
    shown = next(yaml.safe_load_all(dry.out))
    assert (shown["kind"], shown["stringData"]) == ("Secret", {"secrets.json": "not shown: API_KEY, argument 1"})
    assert not [line for line in cluster.requests if line.startswith("POST")]

    done = there(cli, "-V", "API_KEY", "secret.py", f"--token={TOKEN}", variables={"API_KEY": TOKEN})
    assert done.code == 0
    run = newest(cli)
    everything = repr(cluster.objects) + repr(cluster.pods(run["id"])) + repr(cluster.requests)
    assert TOKEN not in everything
    assert base64.b64encode(TOKEN.encode()).decode()[:40] not in everything
    assert cluster.object("secrets", f"w-{run['id']}") is None, "nobody needs it any more"
    made = [line.partition(" ")[2] for line in cluster.requests if line.startswith("POST") and "reviews" not in line]
    assert [one.rpartition("/")[2] for one in made] == ["secrets", "jobs"], "no pod waits for it"
    assert (cli.home / "workspaces/default/runs" / run["id"] / "snapshot/outputs/ok").read_text() == str(2 * len(TOKEN) + 8)


def test_an_image_that_cannot_be_pulled_is_said_and_the_run_canceled(cli: Cli, cluster: FakeKubernetes, tmp_path: Path) -> None:
    assert there(cli, "-d", "--option", "image=registry.test/none:1", "train.py").code == 0
    wait_until(lambda: "ImagePullBackOff" in cli.ok("runs", "list").out)
    assert "Back-off pulling image" in cli.json("runs", "list")["runs"][0]["reason"]
    assert cli.json("runs", "cancel", "latest")["state"] == "canceled"
    assert cluster.object("jobs", newest(cli)["id"]) is None
    assert left_there(cli, tmp_path) == []


def test_a_running_run_is_canceled(cli: Cli, cluster: FakeKubernetes) -> None:
    cli.write("wait.py", "import time; time.sleep(600)")
    assert there(cli, "-d", "wait.py").code == 0
    first = newest(cli)["id"]
    wait_until(lambda: cli.json("runs", "show", first)["state"] == "running")
    running = cli.json("runs", "cancel", first)
    assert (running["state"], running["code"]) == ("canceled", "canceled")
    wait_until(lambda: not cluster.pods(first))


def test_a_lost_answer_makes_no_second_job(cli: Cli, cluster: FakeKubernetes, tmp_path: Path) -> None:
    cli.write("once.py", f"open({str(tmp_path / 'starts')!r}, 'a').write('x')")
    cluster.faults += [Fault("POST .*/jobs", "lost"), Fault("GET .*/jobs/", 503)]
    assert there(cli, "-d", "once.py").code == 0
    assert newest(cli)["state"] in ("queued", "preparing", "running", "completed")
    assert cli.json("runs", "wait", "latest")["state"] == "completed"
    assert (tmp_path / "starts").read_text() == "x"


def test_a_node_that_is_lost_is_told_from_a_failure(cli: Cli, cluster: FakeKubernetes) -> None:
    cli.write("wait.py", "import time; print('up', flush=True); time.sleep(600)")
    assert there(cli, "-d", "wait.py").code == 0
    run_id = newest(cli)["id"]
    wait_until(lambda: cli.json("runs", "show", run_id)["state"] == "running")
    cluster.disrupt(run_id, "DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint")
    assert cli.run("runs", "wait", run_id).code == 1
    run = cli.json("runs", "show", run_id)
    assert (run["state"], run["code"]) == ("failed", "node_lost")
    assert "NoExecute" in run["reason"]


def test_two_nodes_find_each_other(cli: Cli) -> None:
    cli.write(
        "rank.py",
        "import os\nprint(*(os.environ[f'WARDIAN_{n}'] for n in ('NODE_RANK', 'WORLD_SIZE')), os.environ['MASTER_ADDR'])",
    )
    done = there(cli, "--nodes", "2", "rank.py")
    assert (done.code, done.out) == (0, "0 2 127.0.0.1\n")
    run = newest(cli)
    assert (cli.home / "workspaces/default/runs" / run["id"] / "log.1.txt").read_text() == "1 2 127.0.0.1\n"


def test_a_dry_run_prints_manifests_and_makes_nothing(cli: Cli, cluster: FakeKubernetes) -> None:
    done = there(cli, "--dry-run", "--nodes", "2", "--option", "queue=team-queue", "train.py")
    assert done.code == 0
    job, service = yaml.safe_load_all(done.out)
    assert (job["kind"], service["kind"]) == ("Job", "Service")
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "team-queue"
    assert not [line for line in cluster.requests if line.startswith("POST")]


def test_a_target_is_tried_out(cli: Cli, cluster: FakeKubernetes) -> None:
    found = cli.run("target", "check", "prod")
    assert found.code == 0
    assert "Kubernetes v1.37.0" in found.out
    assert "a small job ran on" in found.out
    cluster.denied.add("create jobs")
    assert "may not create jobs" in cli.run("target", "check", "prod").out
    cli.variables["KUBECONFIG"] = str(cluster.kubeconfig(token="expired"))
    failed = cli.run("target", "check", "prod")
    assert failed.code == 1
    assert "log in again" in failed.out


def test_images_on_this_machine_alone_are_not_for_nodes(cli: Cli, tmp_path: Path) -> None:
    cli.ok(
        "target",
        "create",
        "bare",
        "--kind",
        "kubernetes",
        "--option",
        "claim=shared",
        "--option",
        f"directory={tmp_path / 'shared'}",
    )
    cli.write("requirements.txt", "")
    done = cli.run("run", "-t", "bare", "-r", "requirements.txt", "train.py")
    assert done.code != 0
    assert "nodes pull it from a registry" in done.err
    cli.ok("env", "create", "later", "-r", "requirements.txt")
    assert "nodes pull it from a registry" in cli.run("run", "-t", "bare", "-e", "later", "--dry-run", "train.py").err
    cli.variables["WARDIAN_REGISTRY"] = "127.0.0.1:1/team/envs"
    shown = cli.ok("run", "-t", "bare", "-e", "later", "--dry-run", "train.py").out
    assert "image: 127.0.0.1:1/team/envs:not-built-yet" in shown, "nothing is built or contacted"


# -- files through a registry ------------------------------------------------------------------------------------------

MAKES = """
import os, sys, time
rank = os.environ.get("WARDIAN_NODE_RANK", "0")
print("node", rank, open(os.environ["WARDIAN_INPUT_DATA"]).read(), len(os.environ["API_KEY"]), flush=True)
open(f"outputs/model.{rank}", "w").write(rank)
open("outputs/both", "w").write(rank)
sys.exit(int(os.environ.get(f"EXIT_{rank}", "0")))
"""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    if missing := why_not():
        pytest.fail(missing)
    with DockerRegistry(tmp_path_factory.mktemp("registry"), user="u", password=PASSWORD) as running:
        yield running


@pytest.fixture
def pods(cli: Cli, cluster: FakeKubernetes, registry: DockerRegistry, tmp_path: Path) -> Cli:
    """A command line with a target `pods`, whose pods share nothing with anybody."""
    logins = tmp_path / "logins.json"
    logins.write_bytes(login_file(registry.host, RegistryLogin(registry.user, registry.password)) or b"")
    cli.variables |= {"WARDIAN_REGISTRY": f"{registry.host}/team/envs", "REGISTRY_AUTH_FILE": str(logins), "API_KEY": TOKEN}
    cluster.pulls, cluster.in_images = registry.host, {"/agents": str(cli.cache / "agents")}
    cli.ok("target", "create", "pods", "--kind", "kubernetes", "--option", f"image={IMAGE}")
    cli.write("makes.py", MAKES)
    cli.write("data.txt", "carried")
    return cli


def in_pods(cli: Cli, *words: str) -> Any:
    data = f"data={cli.directory / 'data.txt'}"
    return cli.run("run", "-t", "pods", "-e", "host", "--input", data, "-V", "API_KEY", *words)


def tags_of(cli: Cli) -> list[str]:
    store = node_store(cli.variables["WARDIAN_REGISTRY"], {}, login=cli.variables["REGISTRY_AUTH_FILE"])
    return [tag for tag in store.tags() if not tag.startswith("a-")]


def test_files_come_and_go_through_the_registry(pods: Cli, cluster: FakeKubernetes) -> None:
    shown = in_pods(pods, "--dry-run", "makes.py")
    assert shown.code == 0, shown.err
    assert not [line for line in cluster.requests if line.startswith("POST")]
    assert tags_of(pods) == [], "nothing is sent"
    secret, dry = yaml.safe_load_all(shown.out)
    assert secret["type"] == "kubernetes.io/dockerconfigjson"
    assert set(secret["stringData"]) == {"secrets.json", ".dockerconfigjson"}
    assert PASSWORD not in shown.out

    done = in_pods(pods, "makes.py")
    assert (done.code, done.out) == (0, "node 0 carried 40\n"), done.err + cluster.logs()
    run = newest(pods)
    assert [one["path"] for one in run["results"]["outputs"]] == ["outputs/both", "outputs/model.0"]
    assert run["place"]["directory"] == f"/wardian/runs/{run['id']}"
    assert run["running"] >= run["preparing"]
    assert tags_of(pods) == [], "what a run took along and left is removed"
    job = cluster.object("jobs", run["id"])
    assert job is not None
    for version in ("1.29", "1.33", "1.37"):
        kubernetes_validate.validate(job | {"status": {}}, version, strict=True)
    spec = job["spec"]["template"]["spec"]
    assert spec["imagePullSecrets"] == [{"name": f"w-{run['id']}"}]
    assert not [one for one in spec["volumes"] if "persistentVolumeClaim" in one]
    assert dry["spec"]["template"]["spec"].keys() == spec.keys()
    assert "@sha256:" in spec["initContainers"][0]["image"]
    everything = repr(cluster.objects) + repr(cluster.pods(run["id"])) + repr(cluster.requests)
    for secret_text in (TOKEN, PASSWORD, base64.b64encode(f"u:{PASSWORD}".encode()).decode()):
        assert secret_text not in everything


@pytest.mark.slow
def test_what_several_pods_left_comes_together(pods: Cli) -> None:
    done = in_pods(pods, "--nodes", "2", "makes.py")
    assert (done.code, done.out) == (0, "node 0 carried 40\n"), done.err
    run = newest(pods)
    assert [one["path"] for one in run["results"]["outputs"]] == ["outputs/both", "outputs/model.0", "outputs/model.1"]
    assert "left behind: outputs/both: node 1 wrote another one than the first" in run["results"]["notes"]
    assert (pods.home / "workspaces/default/runs" / run["id"] / "log.1.txt").read_text() == "node 1 carried 40\n"
    assert in_pods(pods, "--nodes", "2", "-V", "EXIT_1=3", "makes.py").code == 3
    failed = newest(pods)
    assert failed["reason"].startswith("node 1 (")
    assert tags_of(pods) == []


@pytest.mark.slow
def test_what_keeps_pods_from_their_files_is_said(pods: Cli, cluster: FakeKubernetes, registry: DockerRegistry) -> None:
    cluster.runs_pods = False
    assert in_pods(pods, "-d", "makes.py").code == 0
    run_id = newest(pods)["id"]
    store = node_store(pods.variables["WARDIAN_REGISTRY"], {}, login=pods.variables["REGISTRY_AUTH_FILE"])
    assert store.untag(f"r-{run_id}")
    cluster.runs_pods = True
    assert pods.run("runs", "wait", run_id).code != 0
    run = newest(pods)
    assert (run["state"], run["code"]) == ("failed", "not_started")
    assert "has no files of a run" in run["reason"]


@pytest.mark.slow
def test_a_run_in_a_pod_that_is_canceled_leaves_what_it_had(pods: Cli, cluster: FakeKubernetes) -> None:
    pods.write("wait.py", "import time; open('outputs/so-far', 'w'); print('up', flush=True); time.sleep(600)")
    assert in_pods(pods, "-d", "wait.py").code == 0
    run_id = newest(pods)["id"]
    wait_until(lambda: "up" in pods.ok("runs", "logs", run_id).out)
    assert pods.json("runs", "show", run_id)["state"] == "running"
    pods.ok("runs", "cancel", run_id)
    wait_until(lambda: pods.json("runs", "show", run_id)["state"] == "canceled")
    assert (pods.home / "workspaces/default/runs" / run_id / "snapshot/outputs/so-far").exists()
    assert cluster.object("secrets", f"w-{run_id}") is None


def test_without_a_volume_and_a_registry_the_error_names_both(pods: Cli) -> None:
    del pods.variables["WARDIAN_REGISTRY"]
    failed = in_pods(pods, "makes.py")
    assert failed.code != 0
    assert "there is no registry" in failed.err
    assert "claim=NAME" in failed.err
    pods.variables["WARDIAN_REGISTRY"] = "127.0.0.1:1/team/envs"
    gone = pods.run("run", "-t", "pods", "-e", "host", "--input", "data=/no/such/file", "--dry-run", "makes.py")
    assert "neither here nor on a volume" in gone.err
