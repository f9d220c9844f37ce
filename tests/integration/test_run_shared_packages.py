"""Two environments with one package: what a script does to it in one of them does not reach the other."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from tests.support.cli import Cli
from tests.support.wheels import make_wheel

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.index import Index

VANDAL = """
import os, alpha
path = alpha.__file__
for what in (lambda: open(path, "a").write("version = 'appended'\\n"), lambda: open(path, "w").write("version = 'written'\\n"),
             lambda: open(os.path.dirname(path) + "/new.py", "w").write(""), lambda: os.remove(path)):
    try: what()
    except OSError as error: print(error)
    else: print("done")
"""


@pytest.fixture
def cli(tmp_path: Path, index: Index) -> Cli:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    for name in ("alpha", "beta"):
        index.add(
            make_wheel(wheels, name, "1.0", files={f"{name}/__init__.py": "version = '1.0'\n"}),
            datetime(2024, 1, 1, tzinfo=UTC),
        )
    found = Cli.at(tmp_path / "one", index_url=index.url)
    found.write("mine.txt", "alpha\n")
    found.write("theirs.txt", "alpha\nbeta\n")
    found.write("vandal.py", VANDAL)
    found.write("show.py", "import alpha; print(alpha.version)\n")
    found.ok("run", "-r", "theirs.txt", "show.py")
    return found


@pytest.mark.root
def test_as_root_nothing_can_be_written_and_the_run_says_so(cli: Cli) -> None:
    done = cli.run("run", "-r", "mine.txt", "vandal.py")
    assert [line.split("]")[0] for line in done.out.splitlines()] == ["[Errno 30"] * 4
    assert "read-only" in done.err
    assert "outputs/" in done.err
    for requirements in ("mine.txt", "theirs.txt"):
        assert cli.ok("run", "-r", requirements, "show.py").out == "1.0\n"
    assert list(cli.cache.rglob("new.py")) == []


@pytest.mark.root
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is missing: install util-linux")
def test_as_root_without_private_mounts_only_its_own_copy_changes(cli: Cli) -> None:
    weak = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin", sys.executable, "-m", "wardian.cli.main"]

    def run(requirements: str, script: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*weak, "run", "-r", requirements, script], cwd=cli.directory, env=cli.environ, capture_output=True, text=True,
                              check=True, stdin=subprocess.DEVNULL)  # fmt: skip

    done = run("mine.txt", "vandal.py")
    assert done.stdout.splitlines() == ["done"] * 4
    assert "this is root" in done.stderr
    assert run("theirs.txt", "show.py").stdout == "1.0\n"
    assert cli.ok("run", "-r", "theirs.txt", "show.py").out == "1.0\n"


@pytest.mark.skipif(os.geteuid() == 0, reason="root is another matter: see above")
def test_as_a_user_nothing_can_be_written_and_the_run_says_so(cli: Cli) -> None:
    done = cli.run("run", "-r", "mine.txt", "vandal.py")
    assert [line.split("]")[0] for line in done.out.splitlines()] == ["[Errno 13"] * 4
    assert "read-only" in done.err
    assert cli.ok("run", "-r", "theirs.txt", "show.py").out == "1.0\n"
