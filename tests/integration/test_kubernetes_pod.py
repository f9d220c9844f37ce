"""The pod template under `podman kube play`: an engine of its own reads it, and holds the container to it."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.base_images import debian_base, session_place
from tests.support.cli import Cli
from tests.support.containers import BUSYBOX, IN_IMAGE, PYTHON, PodmanSpace, archive, needs, podman_space
from tests.support.fake_kubernetes import NAMESPACE, FakeKubernetes, fake_kubernetes, write_secret
from tests.support.index import Index
from tests.support.jobs import wait_until
from tests.support.nodes import a_run, agent_here
from tests.support.registry import DockerRegistry
from tests.support.wheels import make_wheel

from wardian.bootstrap_images import node_store
from wardian.image.registry_auth import RegistryLogin
from wardian.run.configuration import Resources
from wardian.run.node.sheet import Secrets
from wardian.run.targets.kubernetes_manifest import pod_spec
from wardian.run.targets.kubernetes_options import KubernetesOptions
from wardian.run.targets.remote import Task
from wardian.sdk.kubernetes_way import login_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

pytestmark = pytest.mark.root
USER = 1000  # who pods run as
CLAIM = "shared"
PASSWORD = "open-sesame-4711"


@dataclass(frozen=True)
class Pods:
    """podman, with a volume for the claim: the directory ``shared``."""

    space: PodmanSpace
    shared: Path

    def podman(self, *words: str, code: int = 0) -> str:
        done = subprocess.run(["podman", *words], env=self.space.environ, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        return done.stdout

    def play(self, image: str, *argv: str, directory: str = "", variables: Mapping[str, str] = {}) -> tuple[int, str]:
        """Run the pod of a task; return its exit code, and what it wrote."""
        shared = str(self.shared)
        task = Task(
            "01abcdefghjk",
            argv,
            directory or shared,
            Resources(0.5, 200 << 20),
            60,
            image=f"localhost/wardian-tests/{image}:1",
            variables=variables,
        )
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "probe"},
            "spec": pod_spec(task, KubernetesOptions.of({"claim": CLAIM, "directory": shared})),
        }
        file = self.space.place / "pod.json"
        file.write_text(json.dumps(pod))
        self.podman("kube", "play", "--network", "host", str(file))
        try:
            return int(self.podman("wait", "probe-run")), self.podman("logs", "probe-run")
        finally:
            self.podman("pod", "rm", "--force", "probe")


@pytest.fixture
def pods(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pods]:
    needs("catatonit")  # what holds a pod's namespaces
    images = session_place(tmp_path_factory.getbasetemp())
    with podman_space() as space:
        shared = space.place / "shared"
        shared.mkdir()
        os.chown(shared, USER, USER)
        space.place.chmod(0o755)
        conf = space.place / "containers.conf"
        limits = 'default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]'  # nobody may raise them here
        conf.write_text(f"[containers]\n{limits}\n" + conf.read_text().replace("[engine]\n", '[engine]\nruntime = "runc"\n'))
        found = Pods(space, shared)
        for image in (BUSYBOX, PYTHON):
            found.podman("load", "--input", str(archive(image, images)))
        found.podman("volume", "create", "--opt", "type=none", "--opt", f"device={shared}", "--opt", "o=bind", CLAIM)
        yield found


def test_it_runs_with_no_rights_in_the_tasks_directory(pods: Pods) -> None:
    script = "id -u; id -g; pwd; env; touch /tmp/here made; cat /proc/self/status; ls /run/secrets; exit 3"
    code, said = pods.play(BUSYBOX, "sh", "-c", script, variables={"A": "b c"})
    assert code == 3
    lines = said.splitlines()
    assert lines[:3] == [str(USER), str(USER), str(pods.shared)]
    assert {"A=b c", "HOME=/tmp", "FROM_IMAGE=yes"} <= set(lines)
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    assert {status[name].strip("0") for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {""}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert (pods.shared / "made").stat().st_uid == USER


def test_the_agent_runs_the_run_in_its_image_and_leaves_its_word(pods: Pods, tmp_path_factory: pytest.TempPathFactory) -> None:
    agent = agent_here(tmp_path_factory)
    shutil.copytree(agent.path, pods.shared / agent.place, symlinks=True)
    script = "import os, sys\nprint(sys.executable, os.environ['OF_IMAGE'], os.getuid(), len(os.environ['API_KEY']))\nopen('outputs/model', 'w').close()\n"
    run = a_run(
        pods.shared,
        script,
        interpreter=IN_IMAGE,
        in_image=True,
        environment_variables={"OF_IMAGE": "yes"},
        secrets=Secrets({"API_KEY": "hunter2"}),
    )
    (run.directory / "secrets.json").chmod(0o600)
    for path in [*run.directory.rglob("*"), run.directory, run.directory.parent]:
        os.chown(path, USER, USER)
    code, said = pods.play(
        PYTHON, *agent.command(str(pods.shared)), "exec", "--sheet", str(run.sheet), directory=str(run.directory)
    )
    assert (code, said) == (0, "")
    end = run.end()
    assert (end.cause, end.exit_code, end.reason, end.observed) == ("exited", 0, "", None)
    assert end.python == IN_IMAGE
    assert run.log() == f"{IN_IMAGE} yes {USER} 7\n"
    assert (run.snapshot / "outputs/model").exists()
    assert not (run.directory / "secrets.json").exists()


_KUBELET = """
trap 'podman pod stop --time 30 "$1" >/dev/null' TERM
podman kube play --quiet --network host ${3:+--authfile "$3"} "$2" >"$2.said" 2>&1 || { cat "$2.said"; exit 125; }
podman logs --follow "$1-run" 2>>"$2.said" &
logs=$!
podman wait "$1-run" > "$2.code" &
end=$!
wait $end
wait $end
tries=0  # this podman may go on to wait for lines of a container that has ended
while kill -0 $logs 2>/dev/null && [ $tries -lt 100 ]; do sleep 0.1; tries=$((tries + 1)); done
kill $logs 2>/dev/null
exit "$(cat "$2.code")"
"""


def kubelet(pods: Pods, cluster: FakeKubernetes) -> Callable[[dict[str, Any]], list[str]]:
    """Return what runs a pod: it pulls the images, and starts the containers as the pod's specification says.

    Files of Secrets are laid out here: this podman knows no `items`, and leaves them in base64.
    """

    def command(document: dict[str, Any]) -> list[str]:
        name, spec = document["metadata"]["name"], json.loads(json.dumps(document["spec"]))
        for volume in spec["volumes"]:
            if "secret" in volume:
                held = volume.pop("secret")
                place = pods.space.place / f"{name}-{volume['name']}"
                write_secret(cluster.object("secrets", held["secretName"]) or {}, held, place)
                for path in (place, *place.iterdir()):
                    os.chown(path, 0, USER)
                volume["hostPath"] = {"path": str(place), "type": "Directory"}
        logins = []
        for one in spec.pop("imagePullSecrets", ()):
            login = cluster.object("secrets", one["name"])
            assert login is not None
            assert login["type"] == "kubernetes.io/dockerconfigjson"
            logins.append(pods.space.place / f"{name}-logins.json")
            logins[-1].write_bytes(base64.b64decode(login["data"][".dockerconfigjson"]))
        file = pods.space.place / f"{name}.json"
        file.write_text(json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}))
        variables = [f"{name}={value}" for name, value in pods.space.environ.items()]
        return ["env", "-i", *variables, "sh", "-c", _KUBELET, "kubelet", name, str(file), *map(str, logins)]

    return command


TRAIN = """
import alpha, os, sys
print("alpha", alpha.version, sys.executable, os.getuid(), os.environ["FROM"])
with open("outputs/model", "w") as file: file.write("42")
"""


@pytest.mark.slow
def test_a_pod_that_shares_nothing_gets_its_files_from_the_registry_and_leaves_them_there(
    pods: Pods, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The whole way, but for the API server: images and files in a registry that wants a login, agent, secrets, files there and back."""
    base = f"oci:{debian_base(session_place(tmp_path_factory.getbasetemp())).root}:debian"
    with (
        fake_kubernetes() as cluster,
        DockerRegistry(tmp_path / "registry", user="u", password=PASSWORD) as registry,
        Index(tmp_path / "index") as shop,
    ):
        cli = a_shop(pods, cluster, registry, shop, tmp_path, base)
        logins = tmp_path / "logins.json"
        logins.write_bytes(login_file(registry.host, RegistryLogin(registry.user, registry.password)) or b"")
        cli.variables |= {"REGISTRY_AUTH_FILE": str(logins), "API_KEY": "hunter2hunter2"}
        cli.ok("target", "create", "prod", "--kind", "kubernetes")
        cli.write("train.py", TRAIN + "\nprint(open(os.environ['WARDIAN_INPUT_DATA']).read(), len(os.environ['API_KEY']))\n")
        data = cli.write("data.txt", "carried")

        words = (
            "run",
            "-t",
            "prod",
            "-e",
            "sklearn",
            "--memory",
            "300M",
            "--input",
            f"data={data}",
            "-V",
            "API_KEY",
            "train.py",
        )
        done = cli.run(*words)
        expected = f"alpha 1.0 /opt/env/bin/python {USER} definition\ncarried 14\n"
        assert (done.code, done.out) == (0, expected), done.err + cluster.logs()
        run = cli.json("runs", "show", "latest")
        assert [one["path"] for one in run["results"]["outputs"]] == ["outputs/model"]
        job = cluster.object("jobs", run["id"])
        assert job is not None
        assert "hunter2" not in repr(job)
        assert PASSWORD not in repr(job)
        assert job["spec"]["template"]["spec"]["containers"][0]["image"].startswith(f"{registry.host}/team/envs@sha256:")
        tags = node_store(f"{registry.host}/team/envs", {}, login=str(logins)).tags()
        assert not [tag for tag in tags if tag[:2] in ("r-", "c-", "o-")]
        assert len([tag for tag in tags if tag.startswith("a-")]) == 1
        cli.write("fail.py", "import sys; sys.exit(7)")
        assert cli.run("run", "-t", "prod", "-e", "sklearn", "fail.py").code == 7


def a_shop(pods: Pods, cluster: FakeKubernetes, registry: DockerRegistry, shop: Index, place: Path, base: str) -> Cli:
    """Return a command line with an environment `sklearn`, and a cluster whose nodes pull from the registry."""
    shop.add(
        make_wheel(place / "wheels", "alpha", "1.0", files={"alpha/__init__.py": "version = '1.0'\n"}),
        datetime(2024, 1, 1, tzinfo=UTC),
    )
    (pods.space.place / "registries.conf").write_text(
        f'unqualified-search-registries = []\n[[registry]]\nlocation = "{registry.host}"\ninsecure = true\n'
    )
    cluster.engine = kubelet(pods, cluster)
    cli = Cli.at(place / "cli", index_url=shop.url)
    cli.variables |= {
        "KUBECONFIG": str(cluster.kubeconfig()),
        "WARDIAN_BASE_IMAGE": base,
        "WARDIAN_REGISTRY": f"{registry.host}/team/envs",
    }
    cli.write("requirements.txt", "alpha\n")
    cli.ok("env", "create", "sklearn", "-r", "requirements.txt", "-V", "FROM=definition")
    return cli


@pytest.mark.slow  # of what is above, that it goes through a volume
def test_an_environment_is_built_pushed_pulled_by_its_digest_and_run(
    pods: Pods, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The whole way, but for the API server: image and registry, pod, agent, files there and back."""
    base = f"oci:{debian_base(session_place(tmp_path_factory.getbasetemp())).root}:debian"
    with fake_kubernetes() as cluster, DockerRegistry(tmp_path / "registry") as registry, Index(tmp_path / "index") as shop:
        cli = a_shop(pods, cluster, registry, shop, tmp_path, base)
        cluster.put(
            f"/api/v1/namespaces/{NAMESPACE}/persistentvolumeclaims/{CLAIM}", {"metadata": {}, "status": {"phase": "Bound"}}
        )
        cli.write("train.py", TRAIN)
        cli.ok(
            "target",
            "create",
            "prod",
            "--kind",
            "kubernetes",
            "--option",
            f"claim={CLAIM}",
            "--option",
            f"directory={pods.shared}",
        )

        done = cli.run("run", "-t", "prod", "-e", "sklearn", "--memory", "300M", "train.py")
        assert (done.code, done.out) == (0, f"alpha 1.0 /opt/env/bin/python {USER} definition\n"), done.err + cluster.logs()
        run = cli.json("runs", "show", "latest")
        assert [one["path"] for one in run["results"]["outputs"]] == ["outputs/model"]
        made_with = run["results"]["environment"]
        job = cluster.object("jobs", run["id"])
        assert job is not None
        image = job["spec"]["template"]["spec"]["containers"][0]["image"]
        assert image == f"{registry.host}/team/envs@sha256:{made_with['image_digest']}"
        assert made_with["lock_digest"]
        assert made_with.get("observed") is None

        cli.write("fail.py", "import os, signal; os.kill(os.getpid(), signal.SIGTERM)")
        assert cli.run("run", "-t", "prod", "-e", "sklearn", "fail.py").code == 128 + 15
        cli.write("wait.py", "import time; print('up', flush=True); time.sleep(600)")
        cli.ok("run", "-d", "-t", "prod", "-e", "sklearn", "wait.py")
        run_id = cli.json("runs", "show", "latest")["id"]
        wait_until(lambda: cli.json("runs", "show", run_id)["state"] == "running")
        assert cli.json("runs", "cancel", run_id)["state"] == "canceled"
        wait_until(lambda: not cluster.pods(run_id))
        assert "up" in cli.ok("runs", "logs", run_id).out
