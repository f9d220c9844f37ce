"""From a run to an endpoint that scores, changes and goes, as a user meets it: the command line and the Python interface."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sqlite3
import sys
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.cli import Cli
from tests.support.endpoints import end_endpoints
from tests.support.jobs import wait_until

import wardian
from wardian.errors import Denied, RunFailed
from wardian.tools import processes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TRAIN = "import json, os\njson.dump({'weight': 3}, open(os.path.join(os.environ['WARDIAN_OUTPUT_DIR'], 'model.json'), 'w'))\n"
SCORE = """
import json, os
import helper

def init():
    global weight
    weight = json.load(open(os.path.join(os.environ["AZUREML_MODEL_DIR"], "model.json")))["weight"]
    assert os.environ["AZUREML_MODEL_DIR"] == os.environ["WARDIAN_MODEL_DIR"]
    if os.environ.get("FAIL"):
        raise ValueError("the threshold is missing")

def run(data):
    names = ("LEVEL", "OWN", "NOT_PASSED", "WARDIAN_ENDPOINT", "WARDIAN_DEPLOYMENT", "API_TOKEN")
    return {"scores": [helper.scored(x, weight) for x in json.loads(data)["data"]], "variables": {name: os.environ.get(name) for name in names}}
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """A home with a model that a run left; its environment is this very Python, so that nothing has to be installed."""
    cli = Cli.at(tmp_path_factory.mktemp("endpoints"))
    cli.variables |= {"WARDIAN_OFFLINE": "1", "NOT_PASSED": "secret of the caller"}
    cli.write("train.py", TRAIN)
    cli.write("score.py", SCORE)
    cli.write("helper.py", "def scored(x, weight):\n    return x * weight\n")
    cli.ok(
        "env",
        "create",
        "mine",
        "--manager",
        "user",
        "--interpreter",
        sys.executable,
        "-V",
        "LEVEL=of the environment",
        "-V",
        "OWN=1",
    )
    cli.ok("run", "-e", "mine", "train.py")
    cli.ok("model", "create", "churn", "model.json", "--run", "latest")
    yield cli
    end_endpoints(cli.home)


@pytest.fixture
def cli(trained: Cli) -> Iterator[Cli]:
    yield trained
    end_endpoints(trained.home)
    with sqlite3.connect(trained.home / "workspaces/default/workspace.db") as records:
        records.execute("DELETE FROM rollouts")
        records.execute("DELETE FROM deployments")
        records.execute("DELETE FROM endpoints")
    records.close()


def deploy(cli: Cli, *arguments: str, **options: Any) -> dict[str, Any]:
    document: dict[str, Any] = cli.json("deploy", "churn", "-m", "churn", "--entry", "score.py", *arguments, **options)
    return document


def score(cli: Cli, *arguments: str) -> dict[str, Any]:
    document: dict[str, Any] = cli.json("endpoint", "score", "churn", '{"data": [1, 2]}', *arguments)
    return document


def test_from_a_run_to_an_endpoint_and_back(cli: Cli) -> None:
    made = deploy(cli, "-V", "LEVEL=of the deployment")
    run, version = cli.json("runs", "show", "latest"), cli.json("env", "show", "mine")
    assert made["state"] == "serving"
    assert (made["model"], made["run_id"], made["environment"]) == ("churn:1", run["id"], "mine:1")
    assert made["definition_hash"] == version["definition_hash"]
    answer = score(cli)
    assert answer["scores"] == [3, 6]
    assert answer["variables"] == {"LEVEL": "of the deployment", "OWN": "1", "NOT_PASSED": None, "WARDIAN_ENDPOINT": "churn",
                                   "WARDIAN_DEPLOYMENT": "1", "API_TOKEN": None}  # fmt: skip

    cli.write("helper.py", "def scored(x, weight):\n    return -x * weight\n")
    assert score(cli)["scores"] == [3, 6]  # it has its own copy of the code
    updated = cli.json("endpoint", "update", "churn", "--entry", "score.py", "-V", "OWN=2")
    assert (updated["deployment"], updated["url"]) == (2, made["url"])
    answer = score(cli)
    assert answer["scores"] == [-3, -6]
    assert (answer["variables"]["LEVEL"], answer["variables"]["OWN"]) == ("of the deployment", "2")
    assert "key" not in updated

    assert cli.json("endpoint", "rollback", "churn")["deployment"] == 1
    assert score(cli)["scores"] == [3, 6]
    assert len(cli.json("endpoint", "scale", "churn", "2")["replicas"]) == 2
    shown = cli.ok("endpoint", "show", "churn").out
    for text in ("churn  serving", "churn:1", run["id"], "mine:1", "rollback  serving", "update    replaced"):
        assert text in shown
    assert "helper" not in cli.ok("endpoint", "logs", "churn").out
    assert "deployment 1 serves on port" in cli.ok("endpoint", "logs", "churn", "--tail", "40").out
    assert cli.ok("endpoint", "list").out.splitlines()[1].split()[:5] == ["churn", "serving", "churn:1", "mine:1", "local"]

    refused = cli.run("endpoint", "delete", "churn")
    assert refused.code == 5
    assert "--yes" in refused.err
    assert cli.json("endpoint", "delete", "churn", "--yes") == {"name": "churn", "deleted": True}
    assert cli.run("endpoint", "show", "churn").code == 4
    assert cli.json("endpoint", "list") == {"endpoints": []}
    assert not (cli.home / "workspaces/default/endpoints/churn").exists()
    cli.write("helper.py", "def scored(x, weight):\n    return x * weight\n")


def test_two_that_deploy_at_once_end_with_one_endpoint_and_one_key(cli: Cli) -> None:
    both = [cli.start("deploy", "churn", "-m", "churn", "--entry", "score.py", "--json") for _ in range(2)]
    ended = [(process.communicate(timeout=300), process.returncode) for process in both]
    codes = sorted(code for _, code in ended)
    assert codes in ([0, 0], [0, 5]), ended  # the later one supersedes the other, unless that one served already
    keys = [json.loads(out)["key"] for (out, _), code in ended if code == 0 and "key" in json.loads(out)]
    assert len(keys) <= 1
    for key in keys:
        assert score(cli, "--key", key)["scores"] == [3, 6]
    assert score(cli)["scores"] == [3, 6]
    shown = cli.json("endpoint", "show", "churn")
    assert (len(shown["deployments"]), len(shown["keys"]), len(shown["replicas"])) == (2, 1, 1)


def test_another_environment_than_the_models_is_said(cli: Cli) -> None:
    cli.ok("env", "create", "other", "--manager", "user", "--interpreter", sys.executable, "-V", "OWN=other")
    done = cli.ok("deploy", "churn", "-m", "churn", "--entry", "score.py", "-e", "other")
    assert "churn:1 was trained with mine:1, and is served with other:1" in done.err
    assert score(cli)["variables"]["OWN"] == "other"


def test_an_endpoint_is_a_reference_to_its_environment(cli: Cli) -> None:
    deploy(cli)
    assert cli.json("env", "show", "endpoint:churn")["reference"] == "mine:1"
    assert cli.json("env", "show", "model:churn:1")["reference"] == "mine:1"
    cli.write("hello.py", "print('hello')\n")
    assert cli.ok("run", "-e", "endpoint:churn", "hello.py").out == "hello\n"
    unknown = cli.run("env", "show", "endpoint:chrun")
    assert unknown.code == 4
    assert "did you mean `churn`" in unknown.err


def test_keys_are_shown_once_and_asked_for(cli: Cli) -> None:
    key = deploy(cli)["key"]
    kept = b"".join(
        path.read_bytes() for path in (cli.home / "workspaces").rglob("*") if path.is_file() and not path.is_symlink()
    )
    assert key.encode() not in kept
    assert score(cli)["scores"] == [3, 6]  # the owner needs none
    assert score(cli, "--key", key)["scores"] == [3, 6]
    wrong = cli.run("endpoint", "score", "churn", "{}", "--key", "wrong")
    assert wrong.code == 6
    assert "401" in wrong.err

    new = cli.json("endpoint", "key", "rotate", "churn")["key"]
    assert score(cli, "--key", key)["scores"] == score(cli, "--key", new)["scores"] == [3, 6]
    cli.ok("endpoint", "key", "drop", "churn")
    assert score(cli, "--key", new)["scores"] == [3, 6]
    assert cli.run("endpoint", "score", "churn", "{}", "--key", key).code == 6


@pytest.mark.slow
def test_whoever_rotates_keys_at_the_same_time_gets_one_that_is_accepted(cli: Cli) -> None:
    old = deploy(cli)["key"]
    both = [cli.start("endpoint", "key", "rotate", "churn", "--json") for _ in range(2)]
    ended = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], ended
    for key in (old, *(json.loads(out)["key"] for out, _ in ended)):
        assert score(cli, "--key", key)["scores"] == [3, 6]


@pytest.mark.slow
def test_the_key_of_a_first_deployment_that_is_interrupted_is_shown(cli: Cli) -> None:
    go = cli.directory / "go"
    cli.write(
        "late.py",
        "import os, time\ndef init():\n    while not os.path.exists(os.environ['GO']): time.sleep(0.01)\ndef run(data): return 1\n",
    )
    deploying = cli.start("deploy", "churn", "-m", "churn", "--entry", "late.py", "-V", f"GO={go}")
    endpoint = cli.home / "workspaces/default/endpoints/churn"
    wait_until(lambda: any(endpoint.glob("replicas/*/replica.json")), process=deploying)
    deploying.send_signal(signal.SIGINT)
    _, told = deploying.communicate(timeout=300)
    assert deploying.returncode == 130, told
    key = re.search(r"key ([\w-]{43})  \(shown once\)", told)
    assert key is not None, told
    go.touch()
    wait_until(lambda: cli.json("endpoint", "show", "churn")["state"] == "serving")
    assert cli.json("endpoint", "score", "churn", "{}", "--key", key[1]) == 1
    (cli.directory / "late.py").unlink()


def test_what_an_endpoint_serves_stays(cli: Cli) -> None:
    assert "key" not in deploy(cli, "--no-auth")
    assert "everybody may ask" in cli.ok("endpoint", "show", "churn").out
    assert score(cli, "--key", "whatever")["scores"] == [3, 6]
    for arguments in (("model", "delete", "churn", "--yes"), ("env", "delete", "mine", "--yes")):
        refused = cli.run(*arguments)
        assert refused.code == 5
        assert "endpoint" in refused.err or "churn" in refused.err
    assert score(cli)["scores"] == [3, 6]


def test_a_failed_init_is_a_failed_deployment_with_its_traceback_in_the_log(cli: Cli) -> None:
    failed = cli.run("deploy", "churn", "-m", "churn", "--entry", "score.py", "-V", "FAIL=1")
    assert failed.code == 1
    assert "the threshold is missing" in failed.err
    assert "wardian endpoint logs churn" in failed.err
    assert "Traceback" not in failed.err
    log = cli.ok("endpoint", "logs", "churn").out
    assert 'raise ValueError("the threshold is missing")' in log
    assert cli.json("endpoint", "show", "churn")["state"] == "failed"
    down = cli.run("endpoint", "score", "churn", "{}")
    assert down.code == 7
    assert "does not serve" in down.err
    assert deploy(cli)["key"]  # the first one was shown to nobody
    kept = cli.run("endpoint", "update", "churn", "-V", "FAIL=1")
    assert kept.code == 1
    assert score(cli)["scores"] == [3, 6]
    assert "last change   failed: init() raised ValueError: the threshold is missing" in cli.ok("endpoint", "show", "churn").out


def test_what_cannot_be_deployed_is_refused_before_anything_is_made(cli: Cli, tmp_path: Path) -> None:
    (cli.home / "workspaces/default/endpoints/.new-1-1-left-by-a-killed-process").mkdir(parents=True)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        for arguments, code, said in (
            (("churn", "-m", "churn"), 2, "says by itself how it scores"),
            (("churn", "-m", "chrun", "--entry", "score.py"), 4, "chrun"),
            (("churn", "-m", "churn", "--entry", "missing.py"), 4, "no entry script"),
            (("churn", "-m", "churn", "--entry", "../score.py"), 2, "not below the source directory"),
            (("Churn", "-m", "churn", "--entry", "score.py"), 2, "not a name for an endpoint"),
            (("churn", "-m", "churn", "--entry", "score.py", "-p", port), 5, f"port {port} of this machine is taken"),
            (("churn", "-m", "churn", "--entry", "score.py", "--cpus", "4000"), 2, "4000 cpus are asked for"),
            (("churn", "-m", "churn", "--entry", "score.py", "-V", "AZUREML_MODEL_DIR=/"), 2, "Wardian itself sets"),
            (("churn", "--entry", "score.py"), 2, "no environment is given"),
        ):
            refused = cli.run("deploy", *arguments)
            assert (refused.code, said in refused.err) == (code, True), refused.err
    assert cli.json("endpoint", "list") == {"endpoints": []}
    assert [path.name for path in (cli.home / "workspaces/default/endpoints").glob("*") if path.name != ".trash"] == []


def test_a_secret_reaches_the_script_and_no_record(cli: Cli) -> None:
    deploy(cli, "-V", "API_TOKEN", variables={"API_TOKEN": "s3cr3t-of-mine"})
    assert score(cli)["variables"]["API_TOKEN"] == "s3cr3t-of-mine"
    assert "s3cr3t" not in cli.ok("endpoint", "show", "churn", "--json").out
    assert b"s3cr3t" not in (cli.home / "workspaces/default/workspace.db").read_bytes()
    cli.ok("endpoint", "update", "churn", "-V", "OWN=3")
    assert score(cli)["variables"]["API_TOKEN"] == "s3cr3t-of-mine"


def test_a_killed_keeper_is_started_again_by_the_next_command(cli: Cli) -> None:
    made = deploy(cli, "--replicas", "2")
    os.kill(made["keeper_pid"], signal.SIGKILL)
    wait_until(lambda: processes.identify(made["keeper_pid"]) is None)
    pids = {one["pid"] for one in made["replicas"]}
    os.kill(min(pids), signal.SIGKILL)
    shown = cli.json("endpoint", "show", "churn")
    assert shown["keeper_pid"] != made["keeper_pid"]
    assert max(pids) in {one["pid"] for one in shown["replicas"]}
    wait_until(lambda: cli.json("endpoint", "show", "churn")["state"] == "serving")
    for _ in range(4):  # whichever replica answers: the new keeper has told both
        assert score(cli)["scores"] == [3, 6]
    assert score(cli, "--key", made["key"])["scores"] == [3, 6]
    os.kill(shown["keeper_pid"], signal.SIGKILL)
    assert score(cli)["scores"] == [3, 6]  # by one that has only just been started


@pytest.mark.slow
def test_requests_are_replayed(cli: Cli) -> None:
    deploy(cli)
    cli.write("requests.jsonl", '{"data": [1]}\n{"data": [2, 3]}\n')
    figures = cli.json("endpoint", "bench", "churn", "--requests", "requests.jsonl", "-n", "50", "-c", "3")
    assert (figures["requests"], figures["failed"], figures["connections"]) == (50, 0, 3)
    assert cli.json("endpoint", "show", "churn")["replicas"][0]["served"] >= 50
    cli.write("bad.jsonl", '{"data": ["x"]}\n{"dat": 1}\n')
    bad = cli.run("endpoint", "bench", "churn", "--requests", "bad.jsonl", "-n", "4", "-c", "2")
    assert bad.code == 1
    assert "status 500: 2" in bad.out


def test_one_object_is_submitted_and_deployed(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WARDIAN_CACHE", str(cli.cache))
    workspace = wardian.Workspace.open(home=cli.home)
    environment = wardian.Environment(
        "both", python=wardian.PythonSection(manager="user", interpreter=sys.executable), variables={"OWN": "both"}
    )
    run = workspace.submit(environment, "train.py", source=cli.directory).wait(check=True)
    model = wardian.Model.register(workspace, "model.json", "both", run=run)
    assert model.environment().environment == environment
    endpoint = workspace.deploy("both", model, inference=wardian.InferenceConfiguration("score.py", cli.directory, environment))
    assert endpoint.status == "serving"
    assert endpoint.environment == model.environment()
    assert endpoint.model == model
    answer = endpoint.score({"data": [5]})
    assert answer["scores"] == [15]
    assert answer["variables"]["OWN"] == "both"
    with pytest.raises(Denied):
        endpoint.score({"data": [5]}, key="wrong")
    with pytest.raises(RunFailed, match="status 500"):
        endpoint.score({"wrong": 1})
    assert "serves on port" in endpoint.log()
    configuration = wardian.DeploymentConfiguration(variables={"FAIL": "1"})
    with pytest.raises(RunFailed, match="the threshold is missing"):
        endpoint.update(configuration=configuration)
    endpoint.update(configuration=wardian.DeploymentConfiguration(variables={"OWN": "new"})).scale(2).wait(60)
    assert endpoint.score({"data": [5]})["variables"]["OWN"] == "new"
    assert endpoint.rollback().score({"data": [5]})["variables"]["OWN"] == "both"
    endpoint.delete()
    assert workspace.endpoints.find("both") is None
    json.dumps([one.as_document() for one in workspace.endpoints.list()])
