from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.unit.cli.test_completion import complete

if TYPE_CHECKING:
    from tests.support.cli import Cli


def test_a_target_is_made_shown_and_forgotten(cli: Cli) -> None:
    made = cli.ok("target", "create", "big", "--kind", "podman", "--option", "shm=16G")
    assert made.out == "created big; `wardian target check big` tries it out\n"
    assert cli.ok("target", "show", "big").out.splitlines()[:2] == ["big  podman", "  shm           16G"]
    names = [one["name"] for one in cli.json("target", "list")["targets"]]
    assert names == ["local", "podman", "docker", "spark", "big"]
    cli.ok("target", "delete", "big")
    gone = cli.run("target", "show", "big")
    assert gone.code == 4
    assert "there are `local`, `podman`, `docker`, `spark`" in gone.err


def test_the_alias_of_habit(cli: Cli) -> None:
    assert cli.ok("target", "add", "big", "--kind", "podman").code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("local", "--kind", "podman"), 2, "`local` is the name of a built-in target"),
        (("big", "--kind", "podmann"), 2, "did you mean `podman`?"),
        (("big", "--kind", "podman", "--option", "shmm=1G"), 2, "did you mean `shm`?"),
        (("big", "--kind", "podman", "--option", "shm=much"), 2, "`shm=much` is not an amount of memory"),
        (
            ("big", "--kind", "podman", "--option", "shm=1G", "--option", "shm=2G"),
            2,
            "--option shm=… is given twice, with `1G` and `2G`",
        ),
        (
            ("big", "--kind", "spark", "--option", "master=spark://x:port"),
            2,
            "`master=spark://x:port` is no master: `port` is no port",
        ),
        (("big", "--kind", "podman", "--option", "arguments=--env T=ghp_" + "a1B2" * 9), 2, "holds what looks like a secret"),
    ],
)
def test_what_cannot_be_is_said(cli: Cli, arguments: tuple[str, ...], code: int, said: str) -> None:
    done = cli.run("target", "create", *arguments)
    assert (done.code, done.out) == (code, "")
    assert said in done.err
    assert "a1B2a1B2" not in done.err


def test_a_run_names_its_target_and_says_what_there_is_otherwise(host: Cli) -> None:
    host.write("a.py", "print(1)\n")
    done = host.run("run", "-e", "host", "-t", "locall", "a.py")
    assert done.code == 125
    assert "there is no target `locall`" in done.err
    assert "did you mean `local`?" in done.err
    host.ok("target", "create", "big", "--kind", "podman")
    wrong = host.run("run", "-e", "host", "-t", "big", "--option", "nodes=2", "a.py")
    assert wrong.code == 125
    assert "the target `big`, of kind podman, has no option `nodes`" in wrong.err


def test_the_local_target_says_what_it_has(cli: Cli) -> None:
    assert cli.ok("target", "check", "local").out.startswith("ok       resources")


def test_an_engine_that_is_not_here_is_named(cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> None:
    cli.ok("target", "create", "big", "--kind", "docker")
    done = cli.run("target", "check", "big", variables={"PATH": str(tmp_path_factory.mktemp("empty"))})
    assert done.code == 1
    assert done.out.startswith("missing  engine")


def test_more_nodes_than_there_are(host: Cli) -> None:
    host.write("a.py", "print(1)\n")
    done = host.run("run", "-e", "host", "--nodes", "2", "a.py")
    assert "2 nodes are asked for, the local target is one" in done.err


def test_targets_are_completed(cli: Cli) -> None:
    assert complete(cli, "run", "-t", "po") == ["podman"]
    cli.ok("target", "create", "polar", "--kind", "podman")
    assert complete(cli, "run", "-t", "po") == ["podman", "polar"]
    assert complete(cli, "target", "delete", "pol") == ["polar"]
    assert complete(cli, "target", "create", "x", "--kind", "do") == ["docker"]


def test_doctor_mentions_them(cli: Cli) -> None:
    cli.variables["WARDIAN_OFFLINE"] = "1"
    cli.ok("target", "create", "big", "--kind", "podman")
    found = next(check for check in cli.json("doctor")["checks"] if check["name"] == "targets")
    assert found["found"].startswith("big (podman)")
