from __future__ import annotations

from typing import TYPE_CHECKING

from tests.unit.cli.test_completion import complete

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.cli import Cli

TRAIN = """\
import os
os.mkdir("outputs/model")
open("outputs/model/model.pkl", "w").write("1")
"""
MLMODEL = """\
flavors: {python_function: {loader_module: mlflow.sklearn, python_version: 3.12.1}, sklearn: {}}
mlflow_version: 3.14.0
signature:
  inputs: '[{"type": "double", "name": "age\\u001b[31m"}, {"type": "string", "name": "plan"}]'
  outputs: '[{"type": "tensor", "tensor-spec": {"dtype": "int64", "shape": [-1]}}]'
"""


def test_from_a_run_to_its_model_and_back_to_its_environment(host: Cli) -> None:
    host.write("train.py", TRAIN)
    run = host.json("run", "-e", "host", "train.py")["id"]
    made = host.ok("model", "create", "churn", "model", "--run", "latest")
    assert made.out == "churn:1  sklearn, trained with host:1\n"
    again = host.ok("model", "register", "churn", f"run:{run}/model")
    assert (again.out, again.err) == (made.out, "churn:1 has these files already\n")
    shown = host.ok("model", "show", "churn").out
    for line in (
        "  format       sklearn, by the name of its file",
        f"  run          {run}",
        "  environment  host:1",
        "  source       outputs/model",
    ):
        assert line in shown.splitlines()
    assert "  models       churn:1  sklearn" in host.ok("runs", "show", run).out.splitlines()
    assert host.json("runs", "show", run)["models"] == ["churn:1"]
    assert "  models     churn:1" in host.ok("env", "show", "model:churn", "--usage").out.splitlines()
    assert f"host:1       {run}" in host.ok("model", "list").out
    host.write("use.py", "import os; print(open(os.environ['WARDIAN_INPUT_M'] + '/model.pkl').read(), 'used')\n")
    assert host.ok("run", "-e", "model:churn", "--input", "m=model:churn", "use.py").out == "1 used\n"
    assert "there is no model `chrun`" in host.run("run", "-e", "model:churn", "--input", "m=model:chrun", "use.py").err
    assert host.ok("env", "label", "model:churn:1", "trained").out == "host@trained → host:1\n"
    host.ok("env", "label", "host", "trained", "--remove")
    assert "is in use: model churn:1" in host.run("env", "delete", "host", "--yes").err
    gone = host.ok("runs", "delete", run, "--yes")
    assert gone.err == "churn:1 stays, with what it was trained with\n"
    assert host.json("model", "show", "churn")["run_id"] == run
    assert f"  run          {run}  (deleted since)" in host.ok("model", "show", "churn").out.splitlines()


def test_a_signature_is_shown_and_no_terminal_obeys_it(cli: Cli) -> None:
    cli.write("m/MLmodel", MLMODEL)
    done = cli.ok("model", "create", "served", "m")
    assert done.out == "served:1  mlflow, registered without a run: `--run ID` says which one made it\n"
    lines = cli.ok("model", "show", "served").out.splitlines()
    assert "  format       mlflow 3.14.0: python_function, sklearn" in lines
    assert "  inputs       age\\x1b[31m: double, plan: string" in lines
    assert "  outputs      int64[-1]" in lines
    assert cli.json("model", "show", "served")["details"]["mlflow"]["python_version"] == "3.12.1"


def test_labels_download_and_delete(cli: Cli, tmp_path: Path) -> None:
    cli.write("w.bin", "1")
    cli.ok("model", "create", "m", "w.bin", "--tag", "a=b", "--description", "d")
    assert "stay as they are" in cli.ok("model", "create", "m", "w.bin", "--tag", "a=c").err
    assert "stay as they are" not in cli.ok("model", "create", "m", "w.bin", "--tag", "a=b").err
    cli.write("w.bin", "2")
    cli.ok("model", "create", "m", "w.bin")
    assert cli.ok("model", "label", "m:1", "best").out == "m@best → m:1\n"
    assert cli.ok("model", "label", "m", "best").out == "m@best → m:2\n"
    assert "1 → 2" in cli.ok("model", "label", "m", "best", "--history").out
    assert cli.ok("model", "download", "m:1", "-o", str(tmp_path / "x")).out == f"wrote {tmp_path}/x/w.bin\n"
    assert (tmp_path / "x" / "w.bin").read_text() == "1"
    again = cli.run("model", "download", "m:1", "-o", str(tmp_path / "x"))
    assert (again.code, "add --force" in again.err) == (5, True)
    assert cli.json("model", "update", "m:1", "--tag", "a=", "--tag", "c=d")["tags"] == {"c": "d"}
    assert [one["version"] for one in cli.json("model", "list", "m")["models"]] == ["2", "1"]
    for reference, code, said in (("m:2", 5, "label best"), ("m:3", 4, "the latest is 2"), ("n", 4, "`wardian model list`")):
        done = cli.run("model", "delete", reference, "--yes")
        assert (done.code, said in done.err) == (code, True), done.err
    assert cli.run("model", "delete", "m:1").code == 5
    assert cli.ok("model", "label", "m", "best", "--remove").out == "removed m@best\n"
    assert cli.ok("model", "delete", "m", "--yes").out == "deleted m\n"
    assert cli.ok("model", "list").err.startswith("no models yet")


def test_what_cannot_be_is_said(cli: Cli) -> None:
    cli.write("m/w", "1")
    (cli.directory / "m" / "passwd").symlink_to("/etc/passwd")
    done = cli.run("model", "create", "m", "m")
    assert (done.code, done.out) == (2, "")
    assert "the link `passwd`" in done.err
    assert "`cp -rL" in done.err
    assert cli.run("model", "create", "m", "nothing").code == 4
    assert cli.run("model", "create", "m", "m", "--run", "01k3p").code == 4
    assert cli.run("env", "show", "model:m").code == 4


def test_models_are_completed(host: Cli) -> None:
    host.write("w", "1")
    host.ok("model", "create", "churn", "w")
    assert complete(host, "model", "show", "ch") == ["churn"]
    assert complete(host, "model", "show", "churn:") == ["churn:1"]
    assert complete(host, "run", "-e", "model:ch") == ["model:churn"]
