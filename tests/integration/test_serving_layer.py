"""Serving layers of real environments: of uv, of conda, of the user; what is there is used, and nothing is solved."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from tests.support.conda_channel import Channel, Package, python_package
from tests.support.index import Index
from tests.support.pythons import python_for
from tests.support.serving import publish, server_wheel, small_set

import wardian
from wardian.errors import BadArchive, Conflict, NotFound
from wardian.sdk.caches import Caches
from wardian.sdk.prepare import prepare
from wardian.sdk.serving_layer import LocalLayer, ServingLayers
from wardian.serving.serving_set import serving_set

if TYPE_CHECKING:
    from pathlib import Path

    from wardian.run.configuration import Prepared
    from wardian.serving.serving_set import ServingSet


class Scene:
    """A workspace over an index that has a small server's packages."""

    def __init__(self, place: Path, index: Index, monkeypatch: pytest.MonkeyPatch):
        self.place, self.index = place, index
        self.pinned: ServingSet = small_set(index, place / "wheels")
        home = place / "home"
        home.mkdir()
        (place / "none.json").write_text("{}")
        (home / "config.toml").write_text(
            f'cache = "{place / "cache"}"\npython_downloads = "{place / "none.json"}"\nbyte_code = "never"\n'
            f'[indexes]\npypi = "{index.url}"\n[channels]\nlocal = "{(place / "channel").as_uri()}"\n'
        )
        for name in ("WARDIAN_HOME", "WARDIAN_CACHE"):
            monkeypatch.delenv(name, raising=False)
        self.heard: list[wardian.Event] = []
        self.workspace = wardian.Workspace.open(home=home, listener=self.heard.append)
        self.layers = ServingLayers(self.workspace.parts, server_wheel, pinned=self.pinned)

    def register(self, **section: object) -> str:
        environment = wardian.Environment("sklearn", python=wardian.PythonSection(**section))  # type: ignore[arg-type]
        return str(self.workspace.environments.register(environment)[0])

    def bare(self) -> str:
        """Return an environment of the user's that has nothing: quickly made."""
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", self.place / "bare"], check=True)
        return self.register(manager="user", interpreter=str(self.place / "bare" / "bin" / "python"))

    def local(self, reference: str) -> tuple[LocalLayer, Prepared]:
        version = self.workspace.environments.get(reference)
        prepared = prepare(self.workspace.parts, self.workspace.environments, version)
        return self.layers.local(version, prepared), prepared

    @property
    def solves(self) -> int:
        return sum(build.record.kind == "lock" for build in self.workspace.builds.list())


@pytest.fixture
def scene(tmp_path: Path, index: Index, monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(tmp_path, index, monkeypatch)


def serve(layer: LocalLayer, prepared: Prepared) -> dict[str, list[str]]:
    """Return what the stand-in of the server says it runs with."""
    program = str(layer.overlay.path / "wardian_server" / "__main__.py")
    done = subprocess.run(
        [prepared.python, program], capture_output=True, text=True, check=True, env={"PYTHONDONTWRITEBYTECODE": "1"}
    )
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


def test_an_environment_of_uv_gets_what_it_lacks_and_keeps_what_it_has(scene: Scene) -> None:
    publish(scene.index, scene.place / "wheels", "jupyter-server", "1.13.0", ["anyio<4"])
    reference = scene.register(manager="uv", pip=("jupyter-server", "h11"))
    scene.workspace.environments.build(reference)
    solves = scene.solves
    layer, prepared = scene.local(reference)
    assert [f"{a.name} {a.version}" for a in layer.extension.added] == ["starlette 0.46.0", "uvicorn 0.50.0"]
    assert dict(layer.extension.used) == {"anyio": "3.7.1", "h11": "0.16.0"}
    assert scene.solves == solves
    assert prepared.prefix is not None
    assert layer.extension.parent == prepared.environment.lock_digest
    found = serve(layer, prepared)
    assert {name: found[name][0] for name in ("starlette", "anyio", "uvicorn")} == {
        "starlette": "0.46.0",
        "anyio": "3.7.1",
        "uvicorn": "0.50.0",
    }
    assert found["starlette"][1] == str(layer.overlay.path)
    assert found["anyio"][1].startswith(str(prepared.prefix)), "the environment's own"
    assert wardian_verifies(scene, reference), "nothing was written into the environment"


def wardian_verifies(scene: Scene, reference: str) -> bool:
    return scene.workspace.environments.verify(reference)[1].clean


def test_a_second_time_nothing_is_contacted(scene: Scene) -> None:
    reference = scene.bare()
    first, _ = scene.local(reference)
    scene.index.stop()
    asked = len(scene.index.requests)
    again, _ = scene.local(reference)
    assert (again.extension, again.overlay.path, again.overlay.cached, first.overlay.cached) == (
        first.extension,
        first.overlay.path,
        True,
        False,
    )
    assert len(scene.index.requests) == asked


def test_where_no_pinned_choice_fits_one_solve_finds_versions_that_do(scene: Scene) -> None:
    publish(scene.index, scene.place / "wheels", "anyio", "3.4.0")
    publish(scene.index, scene.place / "wheels", "starlette", "0.30.0", ["anyio>=3.4,<5"])
    reference = scene.register(manager="uv", pip=("anyio==3.4.0",))
    scene.workspace.environments.build(reference)
    solves = scene.solves
    layer, prepared = scene.local(reference)
    assert layer.extension.solved
    assert scene.solves == solves + 1
    assert {a.name: a.version for a in layer.extension.added} == {"starlette": "0.30.0", "uvicorn": "0.50.0", "h11": "0.16.0"}
    assert serve(layer, prepared)["starlette"][0] == "0.30.0"
    scene.local(reference)
    assert scene.solves == solves + 1, "what was found once is remembered"


def test_a_conflict_is_named_before_anything_is_made(scene: Scene) -> None:
    publish(scene.index, scene.place / "wheels", "anyio", "2.0.0")
    publish(scene.index, scene.place / "wheels", "jupyter-server", "1.0.0", ["anyio<3"])
    reference = scene.register(manager="uv", pip=("jupyter-server",))
    with pytest.raises(Conflict) as caught:
        scene.local(reference)
    assert (
        "starlette 0.46.0 needs anyio<5,>=3.6, the environment has anyio 2.0.0 (for jupyter-server 1.0.0)"
        in caught.value.message
    )
    assert caught.value.hint is not None
    assert "wardian env upgrade sklearn anyio" in caught.value.hint
    assert not list((scene.place / "cache" / "serving").glob("?" * 32))


def test_the_packages_that_conda_brings_count_by_their_own_names(scene: Scene) -> None:
    channel = Channel(scene.place / "channel")
    info = "site-packages/anyio-3.7.1.dist-info"
    files = {
        "site-packages/anyio/__init__.py": "__version__ = '3.7.1'\n", f"{info}/METADATA": "Metadata-Version: 2.1\nName: anyio\nVersion: 3.7.1\n",
        f"{info}/RECORD": "anyio/__init__.py,,\n",
    }  # fmt: skip
    channel.add(
        python_package(), Package("async-io-of-conda", "9", subdir="noarch", noarch="python", depends=("python",), files=files)
    )
    channel.index()
    reference = scene.register(manager="conda", channels=("local",), conda=("python", "async-io-of-conda"), pip=("h11",))
    version = scene.workspace.environments.get(reference)
    before = scene.layers.extension(version)  # from the archives: nothing is installed yet
    assert dict(before.used) == {"anyio": "3.7.1", "h11": "0.16.0"}
    for memory in (scene.place / "cache" / "serving" / "extensions").iterdir():
        memory.unlink()
    layer, prepared = scene.local(reference)  # from the prefix
    assert layer.extension == before
    found = serve(layer, prepared)
    assert found["anyio"][0] == "3.7.1"
    assert found["anyio"][1].startswith(str(prepared.prefix))


@pytest.mark.parametrize("minor", ["3.9", "3.11", "3.13"])
def test_an_interpreter_of_the_user_is_asked_what_it_has(scene: Scene, minor: str) -> None:
    python = python_for(minor)
    if python is None:
        pytest.skip(f"no Python {minor} is on this machine")
    venv = scene.place / "venv"
    subprocess.run([python, "-m", "venv", "--without-pip", venv], check=True)
    site = next(venv.glob("lib/python*/site-packages"))
    (site / "starlette").mkdir()
    (site / "starlette" / "__init__.py").write_text("__version__ = '0.36.0'\n")
    (site / "starlette-0.36.0.dist-info").mkdir()
    (site / "starlette-0.36.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: starlette\nVersion: 0.36.0\n")
    before = sorted(path.relative_to(venv) for path in venv.rglob("*"))
    layer, prepared = scene.local(scene.register(manager="user", interpreter=str(venv / "bin" / "python")))
    assert dict(layer.extension.used) == {"starlette": "0.36.0"}
    assert {a.name for a in layer.extension.added} == {"anyio", "uvicorn", "h11"}, (
        "what its Starlette lacks is named, and brought"
    )
    found = serve(layer, prepared)
    assert (found["python"][0], found["starlette"][0]) == (minor, "0.36.0")
    assert f"cpython-{minor.replace('.', '')}" in found["anyio"][2], "compiled for that very Python"
    assert sorted(path.relative_to(venv) for path in venv.rglob("*")) == before, "nothing was written into it"
    assert scene.solves == 0


def test_an_interpreter_that_is_too_old_is_named(scene: Scene) -> None:
    old = python_for("3.8")
    if old is None:
        pytest.skip("no Python 3.8 is on this machine")
    with pytest.raises(Conflict, match=r"needs Python 3\.9 or newer, the environment has 3\.8"):
        scene.local(scene.register(manager="user", interpreter=str(old)))


def test_wheels_come_from_the_indexes_of_the_definition_else_from_those_of_the_machine(scene: Scene, tmp_path: Path) -> None:
    with Index(tmp_path / "own") as own:
        publish(own, tmp_path / "own-wheels", "alpha", "1.0")
        reference = scene.register(manager="uv", pip=("alpha",), pip_options=(f"--index-url {own.url}",))
        scene.local(reference)  # that index has none of them
        assert scene.index.downloads()["starlette-1.2.0-py3-none-any.whl"] == 1
        small_set(own, tmp_path / "own-wheels")
        caches = Caches(scene.workspace.parts)
        caches.apply(caches.plan(limit_bytes=0))
        scene.local(reference)
        assert own.downloads()["starlette-1.2.0-py3-none-any.whl"] == 1
        assert scene.index.downloads()["starlette-1.2.0-py3-none-any.whl"] == 1


def test_an_index_that_lacks_a_wheel_of_the_list_is_told_by_name(scene: Scene) -> None:
    scene.index.remove("uvicorn-0.50.0-py3-none-any.whl")
    with pytest.raises(NotFound, match=r"uvicorn==0\.50\.0") as caught:
        scene.local(scene.bare())
    assert caught.value.stable_code == "artifact_gone"


def test_a_wheel_with_other_bytes_than_the_list_says_is_refused(scene: Scene) -> None:
    scene.index.fail("*/starlette-1.2.0-*.whl", flip=-1)
    reference = scene.bare()
    with pytest.raises(BadArchive) as caught:
        scene.local(reference)
    assert caught.value.stable_code == "wrong_digest"
    assert not list((scene.place / "cache" / "serving").glob("?" * 32))
    scene.index.heal()
    layer, prepared = scene.local(reference)
    assert serve(layer, prepared)["starlette"][0] == "1.2.0"


def test_what_a_clean_up_removed_comes_back(scene: Scene) -> None:
    reference = scene.bare()
    first, _ = scene.local(reference)
    caches = Caches(scene.workspace.parts)
    gone, _ = caches.apply(caches.plan(limit_bytes=0))
    assert "serving" in {one.kind for one in gone}
    again, prepared = scene.local(reference)
    assert (again.overlay.path, again.overlay.cached) == (first.overlay.path, False)
    assert serve(again, prepared)["starlette"][0] == "1.2.0"


@pytest.mark.network
@pytest.mark.parametrize("minor", ["3.9", pytest.param("3.13", marks=pytest.mark.slow)])
def test_the_list_that_comes_with_wardian_is_what_the_index_has_and_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, minor: str
) -> None:
    python = python_for(minor)
    if python is None:
        pytest.skip(f"no Python {minor} is on this machine")
    for name in ("WARDIAN_HOME", "WARDIAN_CACHE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "config.toml").write_text(f'cache = "{tmp_path / "cache"}"\n')
    workspace = wardian.Workspace.open(home=tmp_path / "home")
    subprocess.run([python, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    environment = wardian.Environment(
        "bare", python=wardian.PythonSection(manager="user", interpreter=str(tmp_path / "venv/bin/python"))
    )
    version = workspace.environments.register(environment)[0]
    layer = ServingLayers(workspace.parts, server_wheel).local(
        version, prepare(workspace.parts, workspace.environments, version)
    )
    assert not layer.extension.solved
    found = serve(layer, prepare(workspace.parts, workspace.environments, version))
    pinned = serving_set().choices(f"{minor}.0")[0]
    assert {name: found[name][0] for name in ("starlette", "uvicorn")} == {
        n: pinned[n].artifact.version for n in ("starlette", "uvicorn")
    }
