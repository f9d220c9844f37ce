"""The overlay: what is in it, that it is whole or not there, and that nothing in use is removed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.hostile import hostile_wheels
from tests.support.serving import server_wheel
from tests.support.wheels import make_wheel

from wardian.digest import Digest
from wardian.errors import BadArchive, Unavailable
from wardian.events import Event, silent
from wardian.lock.lock import Artifact
from wardian.package.archive import validate_archive
from wardian.package.store import PackageStore
from wardian.prefix.cache import PrefixCache
from wardian.prefix.evict import evict, plan_eviction
from wardian.prefix.verify import verify_prefix
from wardian.serving.extension import Extension
from wardian.serving.overlay import OverlayCleaning, Overlays, overlay_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).parents[3]
PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}.0"


def as_artifact(wheel: Path) -> Artifact:
    name, version = wheel.name.split("-")[:2]
    return Artifact(
        kind="wheel",
        source="index:pypi",
        name=name.replace("_", "-"),
        version=version,
        file=wheel.name,
        sha256=Digest.of_file(wheel),
    )


class Scene:
    """A server's wheel and others, and the overlays that are made of them."""

    def __init__(self, root: Path):
        self.root = root
        self.overlays = Overlays(root / "cache" / "serving")
        self.server = server_wheel(root / "wheels").path
        modules = {"starlette/__init__.py": "__version__ = '1.2'\n", "starlette/broken.py": "def (\n"}
        self.wheels = [
            make_wheel(root / "wheels", "starlette", "1.2", files=modules, entry_points={"star": "starlette:main"}),
            *(
                make_wheel(root / "wheels", name, "1.0", files={f"{name}/__init__.py": "__version__ = '1.0'\n"})
                for name in ("anyio", "uvicorn")
            ),
        ]

    def extension(self, wheels: Sequence[Path] | None = None, python: str = PYTHON) -> Extension:
        added = tuple(as_artifact(wheel) for wheel in (self.wheels if wheels is None else wheels))
        return Extension(Digest.of(b"lock"), python, "linux/amd64", as_artifact(self.server), added)

    def fetch(self) -> Mapping[Digest, Path]:
        return {Digest.of_file(path): path for path in (self.server, *self.wheels)}


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_a_server_runs_from_it_with_compiled_modules_and_nothing_can_be_written(scene: Scene) -> None:
    overlay = scene.overlays.ensure(scene.extension(), sys.executable, scene.fetch, silent)
    assert overlay.path.parent == scene.root / "cache" / "serving"
    assert len(overlay.path.name) == 32
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(overlay.path / "wardian_server" / "__main__.py")],
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    assert found["starlette"] == ["1.2", str(overlay.path), found["starlette"][2]]
    assert os.path.exists(found["starlette"][2]), "its byte-code is there already"  # noqa: PTH110
    assert not [path for path in overlay.path.rglob("*") if path.stat().st_mode & 0o222]
    assert not (overlay.path / "bin").exists(), "modules alone: nothing for a PATH"
    assert verify_prefix(overlay.path).clean
    again = scene.overlays.ensure(scene.extension(), "/no/such/python", dict, silent)
    assert (again.path, again.cached, overlay.cached) == (overlay.path, True, False)


def test_one_overlay_serves_all_environments_that_lack_the_same(scene: Scene) -> None:
    one, other = scene.extension(), scene.extension(python=f"{PYTHON.rpartition('.')[0]}.9")
    assert one.digest != other.digest
    assert overlay_key(one) == overlay_key(other)
    assert len({overlay_key(one), overlay_key(scene.extension([])), overlay_key(scene.extension(python="3.9.1"))}) == 3


def test_an_interpreter_that_cannot_compile_leaves_the_modules_as_they_are(scene: Scene) -> None:
    heard: list[Event] = []
    overlay = scene.overlays.ensure(scene.extension(), "/no/such/python", scene.fetch, heard.append)
    assert (overlay.path / "starlette" / "__init__.py").is_file()
    assert not list(overlay.path.rglob("*.pyc"))
    assert [event.text for event in heard if event.kind == "notice" and "uncompiled" in event.text]
    compiled = scene.overlays.ensure(scene.extension(), sys.executable, scene.fetch, silent)
    assert compiled.path != overlay.path, "who can compile does not get what nobody has compiled"
    found = scene.overlays.find(scene.extension())
    assert found is not None
    assert found.path == compiled.path


def test_two_wheels_with_one_file_are_refused(scene: Scene) -> None:
    scene.wheels.append(make_wheel(scene.root / "wheels", "evil", "1.0", files={"starlette/__init__.py": "evil = 1\n"}))
    with pytest.raises(BadArchive, match=r"starlette/__init__\.py") as caught:
        scene.overlays.ensure(scene.extension(), sys.executable, scene.fetch, silent)
    assert caught.value.stable_code == "duplicate_member"
    assert scene.overlays.find(scene.extension()) is None
    assert not [name for name, *_ in scene.overlays.cache.entries()], "nothing of it is left"


def test_a_hostile_wheel_is_refused_before_anything_is_unpacked(scene: Scene) -> None:
    for why, (content, code) in hostile_wheels().items():
        wheel = scene.root / "hostile-1.0-py3-none-any.whl"
        wheel.write_bytes(content)

        def fetch(wheel: Path = wheel) -> Mapping[Digest, Path]:
            validate_archive(wheel, "wheel")  # as the room of packages does with whatever it brings
            return {**scene.fetch(), Digest.of_file(wheel): wheel}

        extension = scene.extension([*scene.wheels, wheel])
        with pytest.raises(BadArchive) as caught:
            scene.overlays.ensure(extension, sys.executable, fetch, silent)
        assert caught.value.stable_code == code, why
        assert scene.overlays.find(extension) is None, why


def test_what_a_killed_process_left_is_made_anew_and_does_not_count_before(scene: Scene) -> None:
    killed = """
import os, signal, sys
from pathlib import Path
from tests.unit.serving.test_overlay import Scene, silent
import wardian.serving.overlay as overlay
scene = Scene(Path(sys.argv[1]))
seal = overlay.seal
overlay.seal = lambda path: os.kill(os.getpid(), signal.SIGKILL)
scene.overlays.ensure(scene.extension(), sys.executable, scene.fetch, silent)
"""
    done = subprocess.run([sys.executable, "-c", killed, str(scene.root)], check=False, capture_output=True, cwd=ROOT)
    assert done.returncode == -9, done.stderr
    left = [name for name, ready, _ in scene.overlays.cache.entries() if ready is None]
    assert left == [overlay_key(scene.extension())[:32]], "it was unpacked, all but its mark"
    assert scene.overlays.find(scene.extension()) is None
    assert [candidate.kind for candidate in OverlayCleaning(scene.overlays).candidates()] == ["unfinished-layer"]
    overlay = scene.overlays.ensure(scene.extension(), sys.executable, scene.fetch, silent)
    assert verify_prefix(overlay.path).clean


def test_of_two_processes_at_once_one_makes_it(scene: Scene) -> None:
    program = """
import sys
from pathlib import Path
from tests.unit.serving.test_overlay import Scene, silent
scene = Scene(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
print(scene.overlays.ensure(scene.extension(), sys.executable, scene.fetch, silent).cached)
"""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(scene.root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        for _ in range(2)
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    assert sorted(process.communicate()[0] for process in started) == ["False\n", "True\n"]


# -- clean-up ----------------------------------------------------------------------------------------------------------


def clean(scene: Scene) -> list[str]:
    """Remove all that can go; return the kinds of what went."""
    prefixes, packages = PrefixCache(scene.root / "cache" / "prefixes"), PackageStore(scene.root / "cache" / "packages")
    beside = [OverlayCleaning(scene.overlays)]
    plan = plan_eviction(prefixes, packages, limit_bytes=0, now=2e9, beside=beside)
    gone: list[str] = []
    evict(plan, prefixes, packages, clear_tool=lambda _path: True, on_removed=lambda one: gone.append(one.kind), beside=beside)
    return gone


def test_a_clean_up_leaves_what_a_server_runs_from(scene: Scene) -> None:
    overlay = scene.overlays.ensure(scene.extension(), sys.executable, scene.fetch, silent)
    with scene.overlays.hold(overlay):
        assert clean(scene) == []
        assert scene.overlays.find(scene.extension()) is not None
    assert clean(scene) == ["serving"]
    assert scene.overlays.find(scene.extension()) is None
    with pytest.raises(Unavailable), scene.overlays.hold(overlay):
        pytest.fail("it is gone")


def test_a_clean_up_leaves_what_was_found_since_it_was_planned(scene: Scene) -> None:
    scene.overlays.ensure(scene.extension(), sys.executable, scene.fetch, silent)
    cleaning = OverlayCleaning(scene.overlays)
    use = scene.overlays.cache.use_lock(overlay_key(scene.extension())[:32]).path
    os.utime(use, (1e9, 1e9))
    (candidate,) = cleaning.candidates()
    assert scene.overlays.find(scene.extension()) is not None
    assert not cleaning.remove(candidate)
