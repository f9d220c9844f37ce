"""Images that serve: on an environment's image in a registry, pulled by podman, started as they are."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from tests.support import registry as registries
from tests.support.base_images import debian_base, missing_tool, session_place
from tests.support.containers import PodmanSpace, podman_space
from tests.support.index import Index
from tests.support.registry import DockerRegistry
from tests.support.serving import server_wheel, small_set
from tests.support.wheels import make_wheel

import wardian
from wardian.errors import InvalidInput
from wardian.image_name import parse_image_reference
from wardian.sdk.caches import Caches
from wardian.sdk.served_images import ServedImages, ServedModel, Service
from wardian.sdk.serving_layer import ServingLayers
from wardian.serving.model_tree import digest_model, scan_model

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wardian.image.engine import LocalImage
    from wardian.image.store import ImageStore
    from wardian.serving.image_layer import ServedImage
    from wardian.workspace.version import EnvironmentVersion

pytestmark = [
    pytest.mark.skipif(bool(missing_tool()), reason=missing_tool()),
    pytest.mark.skipif(bool(registries.why_not()), reason=registries.why_not()),
]

START = ("--runtime", "runc", "run", "--rm", "--network=none", "--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024")


class Scene:
    """A workspace whose images go to a registry, an environment in there, a model and a script."""

    def __init__(self, place: Path, index: Index, registry: DockerRegistry, base: str):
        self.place, self.registry = place, registry
        (place / "home").mkdir(parents=True)
        (place / "none.json").write_text("{}")
        (place / "home" / "config.toml").write_text(
            f'cache = "{place / "cache"}"\npython_downloads = "{place / "none.json"}"\nbyte_code = "never"\nbase_image = "{base}"\n'
            f'registry = "{registry.host}/team/environments"\nlock_platforms = ["linux/amd64"]\n[indexes]\npypi = "{index.url}"\n'
        )
        self.heard: list[wardian.Event] = []
        self.workspace = wardian.Workspace.open(home=place / "home", listener=self.heard.append)
        self.pinned = small_set(index, place / "wheels")
        parts = self.workspace.parts
        self.images = ServedImages(parts, self.workspace.environments, ServingLayers(parts, server_wheel, pinned=self.pinned))
        (place / "source").mkdir()
        (place / "source" / "score.py").write_text("def run(data): return data\n")
        (place / "model").mkdir()
        (place / "model" / "weights.bin").write_bytes(b"w" * 1000)

    def environment(self) -> EnvironmentVersion:
        section = wardian.PythonSection(manager="uv", source="host", pip=("anyio==3.7.1",))
        return self.workspace.environments.register(wardian.Environment("sklearn", python=section))[0]

    def service(self, **changes: object) -> Service:
        tree = scan_model(self.place / "model" / "weights.bin")
        model = ServedModel(tree, digest_model(tree), "churn:1")
        values: dict[str, object] = {
            "entry": "score.py",
            "source": self.place / "source",
            "model": model,
            "identity": {"run": "r1"},
        }
        return Service(**values | changes)  # type: ignore[arg-type]

    def store(self, repository: str) -> ImageStore:
        return self.workspace.parts.images.repository(parse_image_reference(f"{self.registry.host}/{repository}"))


@pytest.fixture(scope="module")
def around(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Index, DockerRegistry, str]]:
    place = tmp_path_factory.mktemp("around")
    base = f"oci:{debian_base(session_place(tmp_path_factory.getbasetemp())).root}:debian"
    with DockerRegistry(place / "registry") as registry, Index(place / "index") as index:
        index.add(make_wheel(place / "wheels", "alpha", "1.0"), datetime(2024, 1, 1, tzinfo=UTC))
        yield index, registry, base


@pytest.fixture(scope="module")
def scene(around: tuple[Index, DockerRegistry, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("WARDIAN_HOME", "WARDIAN_CACHE"):
            patch.delenv(name, raising=False)
        yield Scene(tmp_path_factory.mktemp("scene") / "one", *around)


@pytest.fixture(scope="module")
def made(scene: Scene) -> ServedImage:
    return scene.images.build(scene.environment(), scene.service(), target=scene.store("team/served"), tags=["v1"])


@pytest.fixture(scope="module")
def space() -> Iterator[PodmanSpace]:
    with podman_space() as found:
        yield found


@pytest.fixture(scope="module")
def pulled(made: ServedImage, space: PodmanSpace) -> LocalImage:
    return space.engine().load(made.reference, plain_http=True)


def test_podman_starts_it_as_it_is(made: ServedImage, pulled: LocalImage, space: PodmanSpace) -> None:
    assert pulled.id == f"sha256:{made.config}"
    engine = space.engine()
    done = engine.call(*START, pulled.id)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["anyio"][:2] == ["3.7.1", found["anyio"][1]]
    assert found["anyio"][1].startswith("/opt/env/"), "the environment's own"
    assert found["starlette"] == ["0.46.0", "/opt/serve", found["starlette"][2]]
    assert found["starlette"][2].startswith("/opt/serve/starlette/__pycache__/")
    listed = engine.call(
        *START, "--entrypoint=/bin/sh", pulled.id,
        "-c", "ls /opt/app /opt/model; ls /opt/serve/starlette/__pycache__; env",
    ).stdout  # fmt: skip
    for word in ("score.py", "weights.bin", "__init__.cpython-3", "WARDIAN_MODEL_DIR=/opt/model", "AZUREML_MODEL_DIR=/opt/model",
                 "WARDIAN_SERVE_ENTRY=score.py", "WARDIAN_SERVE_SOURCE=/opt/app", "WARDIAN_SERVE_HOST=0.0.0.0"):  # fmt: skip
        assert word in listed
    assert dict(pulled.variables)["WARDIAN_SERVE_IDENTITY"]


def test_nothing_of_the_environment_is_solved_made_or_sent_again(scene: Scene, made: ServedImage) -> None:
    (scene.place / "source" / "score.py").write_text("def run(data): return [data]\n")
    before, builds = len(scene.registry.requests()), len(scene.workspace.builds.list())
    again = scene.images.build(scene.environment(), scene.service(), target=scene.store("team/served"), tags=["v2"])
    (scene.place / "source" / "score.py").write_text("def run(data): return data\n")
    assert [one == other for one, other in zip(again.layers, made.layers, strict=True)] == [True, True, False]
    assert len(scene.workspace.builds.list()) == builds, "no solve, no image of an environment"
    sent = [line for line in scene.registry.requests()[before:] if line.startswith("PUT") and "/blobs/" in line]
    assert len(sent) == 2, "the source's layer and the configuration"
    assert again.added_bytes < 5_000_000


def test_another_machine_makes_the_same_image(
    scene: Scene, made: ServedImage, around: tuple[Index, DockerRegistry, str], tmp_path: Path
) -> None:
    other = Scene(tmp_path / "two" / "and-longer", *around)
    (other.place / "source" / "score.py").write_text((scene.place / "source" / "score.py").read_text())
    again = other.images.build(other.environment(), other.service(), target=other.store("team/served"))
    assert again.descriptor == made.descriptor


def test_without_a_registry_it_is_in_the_store_of_this_machine(scene: Scene) -> None:
    image = scene.images.build(scene.environment(), scene.service(source=None, entry="package:score"))
    assert image.store == scene.workspace.parts.images.local.name
    assert scene.workspace.parts.images.local.find(f"s-{image.key}") is not None
    assert f"s-{image.key}" in {one.name for one in Caches(scene.workspace.parts).plan(limit_bytes=0).chosen}, (
        "a clean-up may take it"
    )


@pytest.mark.slow
def test_an_image_of_the_users_own_is_looked_at_and_left_as_it_is(
    around: tuple[Index, DockerRegistry, str], space: PodmanSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in space.environ.items():
        if name.startswith(("CONTAINERS_", "XDG_RUNTIME")):
            monkeypatch.setenv(name, value)
    scene = Scene(tmp_path / "user", *around)
    python, docker = (
        wardian.PythonSection(manager="user", interpreter="/usr/bin/python3"),
        wardian.DockerSection(base_image=around[2]),
    )
    version = scene.workspace.environments.register(wardian.Environment("mine", python=python, docker=docker))[0]
    image = scene.images.build(version, scene.service(), target=scene.store("team/mine"))
    loaded = space.engine().load(image.reference, plain_http=True)
    done = space.engine().call(*START, loaded.id)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["starlette"][:2], found["anyio"][1]) == (["1.2.0", "/opt/serve"], "/opt/serve")


def test_a_secret_does_not_become_part_of_an_image(scene: Scene) -> None:
    with pytest.raises(InvalidInput, match="`API_TOKEN` looks like a secret") as caught:
        scene.images.build(scene.environment(), scene.service(variables={"API_TOKEN": "s3cret-value"}))
    assert "s3cret" not in str(caught.value.as_document())
