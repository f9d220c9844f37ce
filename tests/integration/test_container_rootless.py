"""podman as an ordinary user: a whole run, whose files are the caller's."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.accounts import NOBODY, REPOSITORY, USER, run_as, why_not
from tests.support.containers import PYTHON, PodmanSpace, archive, give_to_nobody, podman_space

if TYPE_CHECKING:
    from collections.abc import Iterator

_SCRIPT = """
import os, pathlib
pathlib.Path(os.environ["WARDIAN_OUTPUT_DIR"], "model.txt").write_text("42")
pathlib.Path("/tmp/x").write_text("x")
os.chown("/tmp/x", 0, 0)
print("uid", os.getuid(), "home", os.access(os.environ["HOME"], os.W_OK))
raise SystemExit(3)
"""
_LOAD = """
import json, sys
from pathlib import Path
from typing import TYPE_CHECKING
from wardian.image.engine_podman import PodmanEngine
space = Path(sys.argv[1])
environ = json.loads((space / "environ.json").read_text())
del environ["engine"]
engine = PodmanEngine(environ, memory=space / "memory")
check = engine.check()
assert check.works and check.rootless, check
print(engine.load(space / "image.tar").id)
"""


@pytest.fixture
def space(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PodmanSpace]:
    if why := why_not(USER):
        pytest.skip(why)
    with podman_space() as found:
        shutil.copyfile(archive(PYTHON, tmp_path_factory.getbasetemp().parent), found.place / "image.tar")
        root = found.place / "wardian"
        (root / "project").mkdir(parents=True)
        (root / "project/train.py").write_text(_SCRIPT)
        give_to_nobody(found.place)
        yield found


def test_a_whole_run_as_an_ordinary_user(space: PodmanSpace) -> None:
    root = space.place / "wardian"
    tools = ["env", f"PYTHONPATH={REPOSITORY}:{REPOSITORY}/src", f"TMPDIR={space.place}", f"HOME={space.place}", sys.executable]
    loaded = run_as(USER, space.place, *tools, "-c", _LOAD, str(space.place))
    assert loaded.returncode == 0, loaded.stderr
    done = run_as(
        USER, space.place, *tools, "-m", "tests.support.container_driver", str(root), str(space.place), loaded.stdout.strip()
    )
    logs = [log.read_text() for log in root.glob("runs/*/log.txt")]
    assert done.returncode == 3, (done.stderr, logs)
    assert logs == ["uid 0 home True\n"]
    (model,) = root.glob("runs/*/snapshot/outputs/model.txt")
    assert (model.read_text(), model.stat().st_uid) == ("42", NOBODY)
    assert list(Path(space.place).glob("wardian-run-*")) == []
