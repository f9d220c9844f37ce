"""The same in Python: what `import wardian` gives, over a real index."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from tests.support.wheels import make_source_tree, make_wheel

import wardian
from wardian.errors import Conflict, InvalidInput, NotFound, RunFailed, Unavailable

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.index import Index

OLD = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture
def heard() -> list[wardian.Event]:
    return []


@pytest.fixture
def workspace(
    tmp_path: Path, index: Index, heard: list[wardian.Event], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> wardian.Workspace:
    place = tmp_path / "wheels"
    place.mkdir()
    index.add(make_wheel(place, "alpha", "1.0", files={"alpha/__init__.py": "version = '1.0'\n"}), OLD)
    index.add(make_wheel(place, "beta", "1.0", files={"beta/__init__.py": "version = '1.0'\n"}), OLD)
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "none.json").write_text("{}")
    (home / "config.toml").write_text(
        f'cache = "{tmp_path / "cache"}"\npython_downloads = "{tmp_path / "none.json"}"\n[indexes]\npypi = "{index.url}"\n'
    )
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)
    monkeypatch.setenv("WARDIAN_BYTE_CODE", "never")
    for name in ("WARDIAN_HOME", "WARDIAN_CACHE"):
        monkeypatch.delenv(name, raising=False)
    (project / "show.py").write_text("import alpha, os\nprint(alpha.version, os.environ.get('SEED'))\n")
    (project / "requirements.txt").write_text("alpha\n")
    return wardian.Workspace.open(home=home, listener=heard.append)


def test_ten_lines_from_a_file_to_a_run(workspace: wardian.Workspace, capfd: pytest.CaptureFixture[str]) -> None:
    environment = wardian.Environment.from_requirements("shop", "requirements.txt")
    run = workspace.submit(environment, "show.py", variables={"SEED": "7"}).wait()
    assert run.record.state == "completed"
    assert run.log() == "1.0 7\n"
    assert run.environment is not None
    assert (run.environment.name, run.environment.version) == ("shop", "1")
    assert run.environment.environment.python.pip == ("alpha",)
    assert run.lock is not None
    assert {a.name: a.version for a in run.lock.artifacts}["alpha"] == "1.0"
    assert capfd.readouterr() == ("", ""), "the library prints nothing"


def test_a_run_within_the_call(workspace: wardian.Workspace) -> None:
    run = workspace.submit("@" + workspace.environments.register(wardian.Environment(python=wardian.PythonSection(manager="uv", pip=("alpha",))))[0].definition_hash[:12],
                           command=["python", "-c", "import alpha; raise SystemExit(3)"], detach=False)  # fmt: skip
    assert (run.record.state, run.record.exit_code) == ("failed", 3)
    with pytest.raises(RunFailed, match=run.id):
        run.wait(check=True)


def test_a_run_is_canceled_and_followed(workspace: wardian.Workspace, tmp_path: Path) -> None:
    (tmp_path / "project" / "slow.py").write_text("import time\nprint('begun', flush=True)\ntime.sleep(100)\n")
    run = workspace.submit(wardian.Environment.from_requirements(None, "requirements.txt"), "slow.py")
    assert next(run.follow()) == b"begun\n"
    with pytest.raises(Unavailable):
        run.wait(timeout_s=0.1)
    assert run.status == "running"
    assert run.cancel().record.state == "canceled"


def test_environments_are_values_with_history(workspace: wardian.Workspace, heard: list[wardian.Event]) -> None:
    first = wardian.Environment("shop", python=wardian.PythonSection(manager="uv", pip=("alpha",)))
    version, created = workspace.environments.register(first)
    assert created
    assert workspace.environments.register(first.renamed("shop"))[0].id == version.id
    second, _ = workspace.environments.add("shop", ["beta"])
    assert str(second) == "shop:2"
    assert "registered shop:2: + beta" in [event.text for event in heard]
    comparison = workspace.environments.compare(version, second)
    assert comparison.hash_because == ("pip",)
    assert workspace.environments.create("copy", version)[0].definition_hash == version.definition_hash
    assert [a.reference for a in workspace.environments.lineage("copy")] == ["shop:1"]
    with pytest.raises(Conflict):
        workspace.environments.create("shop", second, version="1")
    with pytest.raises(NotFound, match="shop"):
        workspace.environments.get("shopp")


def test_local_code_of_a_value_is_kept(workspace: wardian.Workspace, tmp_path: Path) -> None:
    make_source_tree(tmp_path / "project" / "mine", "mine", "0.1", body="version = 'mine'\n")
    (tmp_path / "project" / "local.txt").write_text("./mine\n")
    environment = wardian.Environment.from_requirements("local", "local.txt")
    run = workspace.submit(environment, command=["python", "-c", "import mine; print(mine.version)"], source=None).wait()
    assert run.log() == "mine\n"


def test_a_log_of_a_build_that_is_followed_is_the_whole_log(tmp_path: Path) -> None:
    workspace = wardian.Workspace.open(home=tmp_path / "home")
    with workspace.parts.builds.record("lock", "alpha", "key") as recorder:
        recorder.tell("x" + "→" * 400_000)  # more than one piece, with a character of three bytes across their border
    build = workspace.builds.get("latest")
    assert "".join(build.follow()) == build.log()


def test_wrong_values_say_all_that_is_wrong() -> None:
    with pytest.raises(InvalidInput) as caught:
        wardian.Environment("bad name", python=wardian.PythonSection(manager="uv", pip=("???",)), variables={"1": "x"})
    assert len(caught.value.details["faults"]) == 3


def test_importing_wardian_imports_none_of_its_rooms() -> None:
    code = "import sys, wardian; print([m for m in sys.modules if m.startswith('wardian.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    for name in wardian.__all__:
        assert getattr(wardian, name) is not None


def test_a_workspace_brings_in_nothing_of_runs_before_one_is_asked_for() -> None:
    code = "import sys, wardian.sdk.workspace; print([m for m in sys.modules if m.startswith(('wardian.run', 'wardian.sdk.runs'))])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
