"""The warm run, the imports, the definition hash: what people wait for every day."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from wardian.definition.environment import Environment, PythonSection
from wardian.definition.identity import definition_hash

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.conftest import AtMost, Ratio

BIN = Path(sys.executable).parent
PACKAGES = "scikit-learn\npandas\n"
ENVIRON = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}


def call(*arguments: str, cwd: Path | None = None, **variables: str) -> None:
    subprocess.run(arguments, cwd=cwd, env={**ENVIRON, **variables}, check=True, capture_output=True, stdin=subprocess.DEVNULL)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A hundred files, a one-line script, and requirements locked for both."""
    place = tmp_path / "project"
    for n in range(99):
        path = place / f"package{n % 10}" / f"module{n}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"x = {n}\n" * 50)
    (place / "hello.py").write_text("print('hello')\n")
    (tmp_path / "requirements.in").write_text(PACKAGES)
    call(
        str(BIN / "uv"),
        "pip",
        "compile",
        "-q",
        "--generate-hashes",
        "--no-header",
        "-o",
        str(tmp_path / "requirements.txt"),
        str(tmp_path / "requirements.in"),
    )
    return place


def test_warm_run_against_uv(ratio: Ratio, project: Path, tmp_path: Path) -> None:
    requirements = str(tmp_path / "requirements.txt")
    home = str(tmp_path / "home")

    def ours() -> None:
        call(str(BIN / "wardian"), "run", "-r", requirements, "hello.py", cwd=project, WARDIAN_HOME=home)

    def peer() -> None:
        call(str(BIN / "uv"), "run", "-q", "--no-project", "--with-requirements", requirements, "hello.py", cwd=project)

    ours()
    peer()
    ratio("warm run, snapshot of 100 files, record", ours, peer, limit=2.0, peer_name="uv run --no-project --with-requirements")
    done = subprocess.run(
        [str(BIN / "wardian"), "runs", "list", "--json"],
        env={**ENVIRON, "WARDIAN_HOME": home},
        capture_output=True,
        text=True,
        check=True,
    )
    assert '"completed"' in done.stdout, "the records are read back"


def test_warm_run_against_mlflow(ratio: Ratio, project: Path, tmp_path: Path, peer_python: Callable[..., Path]) -> None:
    python = peer_python("mlflow", "mlflow")
    requirements = str(tmp_path / "requirements.txt")
    (project / "MLproject").write_text("name: hello\nentry_points:\n  main:\n    command: python hello.py\n")
    tracking = f"sqlite:///{tmp_path / 'mlflow.db'}"

    def ours() -> None:
        call(str(BIN / "wardian"), "run", "-r", requirements, "hello.py", cwd=project, WARDIAN_HOME=str(tmp_path / "home"))

    def peer() -> None:
        path = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
        call(
            str(python),
            "-m",
            "mlflow",
            "run",
            "--env-manager",
            "local",
            ".",
            cwd=project,
            MLFLOW_TRACKING_URI=tracking,
            PATH=path,
        )

    ours()
    peer()
    ratio(
        "warm run, snapshot of 100 files, record", ours, peer, limit=0.1, peer_name="mlflow run --env-manager local", rounds=5
    )


def test_import(ratio: Ratio) -> None:
    def ours() -> None:
        call(sys.executable, "-c", "import wardian")

    def peer() -> None:
        call(sys.executable, "-c", "pass")

    ours()
    ratio("import wardian", ours, peer, limit=1.0, plus_s=0.030, peer_name="python -c pass", rounds=21)


def test_help(ratio: Ratio) -> None:
    def ours() -> None:
        call(str(BIN / "wardian"), "--help")

    def peer() -> None:
        call(sys.executable, "-c", "pass")

    ours()
    ratio("wardian --help", ours, peer, limit=8.0, peer_name="python -c pass", rounds=21)


def test_definition_hash(at_most: AtMost) -> None:
    names = [f"package-{n}>=1.{n},<3" for n in range(180)]
    environment = Environment(
        name="large", python=PythonSection(manager="uv", pip=tuple(names), pip_options=("--index-url https://index.example/simple",)),
        variables={f"VARIABLE_{n}": str(n) for n in range(20)},
    )  # fmt: skip
    at_most(
        "definition_hash of a 200-line definition",
        lambda: definition_hash(environment),
        limit_s=0.001,
        rounds=50,
        iterations=10,
    )
