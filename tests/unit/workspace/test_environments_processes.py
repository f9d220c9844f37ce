"""Many processes register at once; one is killed: numbers have no gaps, and nothing is half there."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from tests.builders import an_environment

from wardian.workspace.database import Database
from wardian.workspace.environments import Environments

if TYPE_CHECKING:
    from pathlib import Path

PROCESSES = 24

REGISTER = """
import sys; from pathlib import Path
from wardian.definition.environment import Environment, PythonSection
from wardian.workspace.database import Database
from wardian.workspace.environments import Environments
environments = Environments(Database.open(Path(sys.argv[1]), journal=sys.argv[2]))
definition = Environment("shared", PythonSection(manager="uv", pip=(f"numpy=={sys.argv[3]}",)))
print("ready", flush=True)
sys.stdin.readline()
print(*environments.register(definition))
"""


def register_at_once(path: Path, journal: str, contents: list[int]) -> list[str]:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", REGISTER, str(path), journal, str(content)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for content in contents
    ]  # fmt: skip
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=120) for process in processes]
    assert [error for _, error in answers if error] == []
    return [answer.strip() for answer, _ in answers]


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_different_contents_get_versions_1_to_n(tmp_path: Path, journal: str) -> None:
    path = tmp_path / "workspace.db"
    answers = register_at_once(path, journal, list(range(PROCESSES)))
    assert sorted(answers) == sorted(f"shared:{number} True" for number in range(1, PROCESSES + 1))
    database = Database.open(path)
    found = [version.version for version in Environments(database).versions("shared")]
    assert found == [str(number) for number in range(PROCESSES, 0, -1)]
    assert database.faults() == []
    database.close()


def test_one_content_is_one_version(tmp_path: Path) -> None:
    answers = register_at_once(tmp_path / "workspace.db", "wal", [1] * PROCESSES)
    assert sorted(answers) == ["shared:1 False"] * (PROCESSES - 1) + ["shared:1 True"]


VICTIM = """
import sys; from datetime import UTC, datetime; from pathlib import Path
from wardian.definition.environment import Environment, PythonSection
from wardian.workspace.database import Database
from wardian.workspace.environments import Environments
database = Database.open(Path(sys.argv[1]))
environments = Environments(database)
for number in range(1_000_000):
    environments.register(Environment("shared", PythonSection(manager="uv", pip=(f"numpy=={number}",))))
    environments.label("shared", str(number + 1), "newest")
    if number == int(sys.argv[2]):
        print("busy", flush=True)
"""


@pytest.mark.parametrize("busy_for", [1, 20, 60])
def test_kill_9_while_registering_leaves_whole_versions(tmp_path: Path, busy_for: int) -> None:
    path = tmp_path / "workspace.db"
    victim = subprocess.Popen([sys.executable, "-c", VICTIM, str(path), str(busy_for)], stdout=subprocess.PIPE, text=True)
    assert victim.stdout is not None
    assert victim.stdout.readline() == "busy\n"
    victim.kill()  # somewhere in the registrations that follow
    victim.wait()
    victim.stdout.close()
    database = Database.open(path)
    environments = Environments(database)
    count = int(environments.get("shared").version or 0)
    assert count > busy_for
    assert database.faults() == []
    assert [version.version for version in environments.versions("shared", limit=1000)] == [str(n) for n in range(count, 0, -1)]
    assert environments.get("shared@newest").version in (str(count), str(count - 1))
    assert environments.register(an_environment(name="shared"))[0].version == str(count + 1)
    database.close()
