"""The demo: a scikit-learn training run, cold and warm, in an environment of its own; its model on an endpoint; then what exactly it ran with.

Run by `make demo`, with the interpreter that has Wardian installed. Everything it makes is below `.demo/`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples" / "sklearn"
HOME = ROOT / ".demo" / "home"
WARDIAN = Path(sys.executable).parent / "wardian"
SHA256_DIGITS = 64
# the first case of the data: its 30 features
MALIGNANT = [17.99, 10.38, 122.8, 1001.0, 0.1184, 0.2776, 0.3001, 0.1471, 0.2419, 0.07871, 1.095, 0.9053, 8.589, 153.4, 0.006399, 0.04904,
             0.05373, 0.01587, 0.03003, 0.006193, 25.38, 17.33, 184.6, 2019.0, 0.1622, 0.6656, 0.7119, 0.2654, 0.4601, 0.1189]  # fmt: skip
SCREEN = sys.stdout.isatty() and "NO_COLOR" not in os.environ


def main() -> int:
    """Run the demo; return 0 if every step did what it should."""
    _forget()
    print("A scikit-learn training run in an environment of its own. Nothing is installed yet.")
    show("env", "create", "sklearn", "-r", "examples/sklearn/requirements.txt", cwd=ROOT)
    cold_s = show("run", "-e", "sklearn", "train.py", cwd=EXAMPLE, remark="cold: solve, fetch, install, then train")
    warm_s = show("run", "-e", "sklearn", "train.py", cwd=EXAMPLE, remark="warm: all of that is there, only train")

    show(
        "model",
        "create",
        "cancer",
        "model.joblib",
        "--run",
        "latest",
        cwd=EXAMPLE,
        remark="what the run left, with what made it",
    )
    deploy_s = show("deploy", "cancer", "-m", "cancer", cwd=EXAMPLE, remark="served by the very environment that trained it")
    try:
        answer = ask("endpoint", "score", "cancer", json.dumps({"input_data": [MALIGNANT]}))
        endpoint = ask("endpoint", "show", "cancer")
    finally:
        show("endpoint", "delete", "cancer", "--yes", cwd=EXAMPLE)

    version = ask("env", "show", "sklearn")
    definition_hash = ask("env", "hash", "examples/sklearn/requirements.txt")["definition_hash"]
    runs = ask("runs", "list")["runs"]
    metrics = [_metrics(run) for run in runs]
    warm, cold = runs
    lock = version["lock"]
    packages = {package["name"]: package for package in lock["packages"]}

    check(version["definition_hash"] == definition_hash, "the environment has another hash than its file")
    check([run["state"] for run in runs] == ["completed", "completed"], f"the runs are {runs}")
    check(metrics[0] == metrics[1], f"the same environment printed other numbers: {metrics}")
    check("scikit-learn" in packages, "the lock does not list scikit-learn")
    check(answer == {"predictions": [0]}, f"the endpoint answered {answer}")
    check(endpoint["run_id"] == warm["id"], f"the endpoint serves what run {endpoint['run_id']} left")
    check(endpoint["lock_digest"] == lock["lock_digest"], "the endpoint has another lock than the run")
    learner = packages["scikit-learn"]
    check(len(learner["sha256"]) == SHA256_DIGITS, "the lock does not name scikit-learn by sha256")

    print(f"""
{_bold("What happened")}
  metric         accuracy {metrics[0]["accuracy"]} on {metrics[0]["hold_out_rows"]} rows never seen, the same in both runs
  cold           {cold_s:6.2f} s, of which the script {_script_s(cold):.2f} s
  warm           {warm_s:6.2f} s, of which the script {_script_s(warm):.2f} s
  deploy         {deploy_s:6.2f} s, from a model to an endpoint; it scored {answer["predictions"]} (malignant) with the packages of run {warm["id"]}

{_bold("With what exactly")}
  environment    sklearn:{version["version"]}
  definition     {definition_hash}
                 what was asked for: `wardian env hash examples/sklearn/requirements.txt` prints the same
  lock           {lock["lock_digest"]}
                 {len(packages)} exact files for {lock["platform"]}, each by its sha256
  scikit-learn   {learner["version"]}, {learner["sha256"]}

{_bold("Try next")}
  source .demo/venv/bin/activate; export WARDIAN_HOME=$PWD/.demo/home; cd examples/sklearn
  wardian env show sklearn --packages            every package, with its digest
  wardian runs show latest                       all that is known of a run
  wardian env upgrade sklearn joblib==1.4.2      a second version; the first one stays as it is
  wardian env diff sklearn:1 sklearn:2           what that changed
  wardian run -e sklearn:1 train.py              the first one still runs
  wardian runs reproduce latest                  the same once more, compared file by file
  wardian deploy cancer -m cancer                its model on an endpoint again: `wardian endpoint --help`
  docs/guides/first-environment.md               a guide from the beginning; `make clean` removes all of this""")
    return 0


def check(holds: bool, otherwise: str) -> None:
    """End the demo if something that it claims does not hold."""
    if not holds:
        stop(otherwise)


def _metrics(run: dict[str, Any]) -> dict[str, Any]:
    path = Path(run["directory"]) / "snapshot/outputs/metrics.json"
    check(path.is_file(), f"run {run['id']} left no metrics.json")
    metrics: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return metrics


def _script_s(run: dict[str, Any]) -> float:
    """Return how long the script itself ran, seconds."""
    running, ended = (datetime.fromisoformat(run[state]) for state in ("running", "ended"))
    return (ended - running).total_seconds()


def show(*arguments: str, cwd: Path, remark: str = "") -> float:
    """Run a command before the reader's eyes; return its seconds. Ends the demo if it fails."""
    print(f"\n{_bold('$ wardian ' + ' '.join(arguments))}" + (f"   # {remark}" if remark else ""), flush=True)
    start = time.perf_counter()
    done = subprocess.run([WARDIAN, *arguments], cwd=cwd, env=_environ(), check=False)
    seconds = time.perf_counter() - start
    if done.returncode != 0:
        stop(f"`wardian {' '.join(arguments)}` exited {done.returncode}")
    return seconds


def ask(*arguments: str) -> Any:
    """Return what a command says with ``--json``. Ends the demo if it fails."""
    done = subprocess.run(
        [WARDIAN, *arguments, "--json"], cwd=ROOT, env=_environ(), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        stop(f"`wardian {' '.join(arguments)} --json` exited {done.returncode}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def stop(why: str) -> NoReturn:
    """End the demo with a reason."""
    print(f"the demo failed: {why}", file=sys.stderr)
    raise SystemExit(1)


def _environ() -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("WARDIAN_")}
    return {**inherited, "WARDIAN_HOME": str(HOME)}


def _forget() -> None:
    # installed environments are read-only
    for directory, _, _ in os.walk(HOME):
        Path(directory).chmod(0o755)
    shutil.rmtree(HOME, ignore_errors=True)


def _bold(text: str) -> str:
    return f"\033[1m{text}\033[0m" if SCREEN else text


if __name__ == "__main__":
    sys.exit(main())
