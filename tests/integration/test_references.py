"""What a run was made with is a reference in every command that takes one; and who uses a version."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from tests.support.cli import Cli
from tests.support.index import Index
from tests.support.wheels import make_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator

OLD = datetime(2024, 1, 1, tzinfo=UTC)


class Lab:
    """A home with ``churn:1`` and ``churn:2``, and a run of each."""

    def __init__(self, cli: Cli) -> None:
        self.cli = cli
        cli.write("requirements.txt", "alpha\n")
        cli.write("train.py", "import alpha\n")
        cli.ok("env", "create", "churn", "-r", "requirements.txt")
        self.first: str = cli.json("run", "-e", "churn", "train.py")["id"]
        cli.ok("model", "create", "leavers", "train.py", "--run", self.first)
        cli.ok("env", "add", "churn", "gamma")
        self.second: str = cli.json("run", "-e", "churn", "train.py")["id"]
        self.hash = "@" + cli.json("env", "show", "churn:1")["definition_hash"][:8]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    place = tmp_path_factory.mktemp("references")
    with Index(place / "index") as shop:
        for name, requires in (
            ("alpha", ["beta"]),
            ("beta", []),
            ("gamma", ["delta"]),
            ("delta", ["beta", "epsilon"]),
            ("epsilon", []),
        ):
            shop.add(make_wheel(place / "wheels", name, "1.0", requires=requires), OLD)
        yield Lab(Cli.at(place / "home", index_url=shop.url, config='lock_platforms = ["linux/amd64"]\n'))


@pytest.mark.parametrize("words", [
    "env show REF", "env show REF --packages --usage", "env lock REF", "env hash REF", "env lint REF", "env export REF --to requirements",
    "env export REF --to conda", "env build REF", "env build REF --print-python", "env verify REF", "env diff REF churn:1", "env diff churn:1 REF",
    "env history REF", "shell REF -- true", "run -e REF train.py", "run -e REF --with epsilon train.py", "runs list -e REF", "image show REF",
    "env push REF oci:shared", "env upgrade REF --dry-run", "env update REF --description text", "env label REF good", "env label REF good --history",
    "env label REF good --remove", "env archive REF", "env restore REF",
])  # fmt: skip
def test_a_run_is_a_reference_in_every_command(lab: Lab, words: str) -> None:
    expected = lab.cli.ok(*words.replace("REF", "churn:1").split())
    assert "run:" not in expected.out
    if "label" in words:
        lab.cli.run("env", "label", "churn:1", "good")
    done = lab.cli.ok(*words.replace("REF", f"run:{lab.first}").split())
    if not words.startswith(("run", "env label", "env push")):  # which tell ids, times, and what they found done
        assert done.out == expected.out


@pytest.mark.parametrize("words", [
    "env show REF --packages", "env export REF --to requirements", "env diff REF churn:2", "env history REF", "runs list -e REF",
])  # fmt: skip
def test_a_model_is_a_reference_too(lab: Lab, words: str) -> None:
    """To what it was trained with."""
    expected = lab.cli.ok(*words.replace("REF", "churn:1").split())
    done = lab.cli.ok(*words.replace("REF", "model:leavers").split())
    assert done.out == expected.out


def test_a_copy_is_made_from_a_run_or_a_hash(lab: Lab) -> None:
    assert lab.cli.json("env", "create", "copied", "--from", f"run:{lab.first}")["definition_hash"].startswith(lab.hash[1:])
    assert lab.cli.json("env", "create", "copied", "--from", lab.hash)["version"] == "1"


def test_the_newest_run_and_the_beginning_of_an_id_are_enough(lab: Lab) -> None:
    newest = lab.cli.json("run", "-e", "churn:2", "train.py")["id"]
    assert lab.cli.json("env", "show", "run:latest")["reference"] == "churn:2"
    assert lab.cli.json("env", "show", f"run:{newest[:-1]}")["reference"] == "churn:2"
    assert lab.cli.json("runs", "show", f"run:{newest}")["id"] == newest
    assert lab.cli.json("runs", "show", "run:latest")["id"] == newest
    many = lab.cli.run("env", "show", f"run:{newest[:2]}")
    assert (many.code, "several runs begin with" in many.err) == (5, True)


def test_two_runs_are_compared_with_the_root_that_pulls_each_package_in(lab: Lab) -> None:
    done = lab.cli.ok("env", "diff", f"run:{lab.first}", f"run:{lab.second}")
    assert done.out.splitlines()[-5:] == [
        "wheel:", "  + delta 1.0  (needed by gamma)", "  + epsilon 1.0  (through delta ← gamma)", "  + gamma 1.0", "3 added",
    ]  # fmt: skip
    packages = lab.cli.json("env", "diff", f"run:{lab.first}", f"run:{lab.second}")["packages"]["packages"]
    assert {each["name"]: each["paths"] for each in packages} == {
        "delta": [["gamma"]],
        "epsilon": [["gamma", "delta"]],
        "gamma": [],
    }


def test_what_goes_when_a_version_goes_is_named(lab: Lab) -> None:
    done = lab.cli.run("env", "delete", f"run:{lab.first}")
    assert (done.code, "deleting churn:1 cannot be undone" in done.err) == (5, True)
    assert lab.cli.ok("env", "archive", f"run:{lab.second}").out == "archived churn:2\n"
    assert lab.cli.ok("env", "restore", f"run:{lab.second}").out == "restored churn:2\n"


@pytest.mark.parametrize("words", ["env show endpoint:churn", "env label endpoint:churn good", "shell endpoint:x -- true"])
def test_an_endpoint_that_is_not_there_is_not_found(lab: Lab, words: str) -> None:
    done = lab.cli.run(*words.split())
    assert done.code == (125 if words.startswith("shell") else 4)
    assert f"there is no endpoint `{words.partition(':')[2].split()[0]}`" in done.err


def test_who_uses_a_version(lab: Lab) -> None:
    lab.cli.ok("env", "create", "twin", "--from", "churn:1")
    lab.cli.ok("run", "-e", "twin", "train.py")
    lab.cli.ok("env", "label", "churn:1", "stable")
    usage = lab.cli.json("env", "show", "churn:1", "--usage")["usage"]
    assert usage["labels"] == ["stable"]
    assert lab.first in usage["runs"]
    assert usage["more_runs"] is False
    assert "twin:1" in usage["same_hash"]
    assert "twin:1" in usage["same_lock"]
    assert usage["same_image"] == []
    assert {"churn:2", "twin:1"} <= set(usage["descendants"])
    assert usage["models"] == ["leavers:1"]
    lines = lab.cli.ok("env", "show", "churn:1", "--usage").out.splitlines()
    assert "  labels     stable" in lines
    assert "  same image none" in lines
    assert "  models     leavers:1" in lines
    assert next(line for line in lines if line.startswith("  made of it ")).split(None, 3)[3].startswith("churn:2")
