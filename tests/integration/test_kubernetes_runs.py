"""Runs on Kubernetes, from the command line, against an API server whose kubelet runs pods as processes of this machine."""

from __future__ import annotations

import base64
import signal
import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from tests.support.cli import Cli
from tests.support.fake_kubernetes import IMAGE, NAMESPACE, FakeKubernetes, Fault, fake_kubernetes
from tests.support.jobs import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOKEN = "ghp_" + "a1B2" * 9
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
