from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tests.support.engine import Cluster

from wardian.errors import InvalidInput
from wardian.run.targets.remote import Standing
from wardian.run.trying_out import try_out

if TYPE_CHECKING:
    from pathlib import Path

KEY = "probe-01abcdefghjk"


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path)


def found(cluster: Cluster, **options: float) -> dict[str, tuple[bool, str, str]]:
    return {one.subject: (one.ok, one.text, one.hint) for one in try_out(cluster.way, KEY, **options)}


def ends(cluster: Cluster, said: bytes | None) -> None:
    """Have the probe end at once."""

    def end() -> None:
        if said is not None:
            (cluster.directory(KEY) / "said").write_bytes(said)
        cluster.engine.say("1", Standing("ended", reason="COMPLETED", cause="exited", exit_code=0))

    cluster.engine.after = end


def test_a_job_ran(cluster: Cluster) -> None:
    ends(cluster, b"from here\nn7\n")
    assert found(cluster)["probe"] == (True, "a small job ran on n7", "")
    (job,) = cluster.engine.directory.iterdir()
    assert "\n" not in "".join(json.loads(job.read_text())["argv"]), "engines take no command of several lines"
    assert not cluster.directory(KEY).exists()


def test_nodes_that_do_not_see_the_directory(cluster: Cluster) -> None:
    ends(cluster, None)
    ok, text, hint = found(cluster)["probe"]
    assert not ok
    assert "left no word" in text
    assert "--option directory=" in hint


def test_a_directory_whose_programs_may_not_be_executed(cluster: Cluster) -> None:
    ends(cluster, b"from here\nmay not be executed\nn7\n")
    ok, text, hint = found(cluster)["probe"]
    assert not ok
    assert text == f"programs in {cluster.carrier.root} may not be executed on n7: is it mounted `noexec`?"
    assert hint


def test_a_full_queue(cluster: Cluster) -> None:
    ok, text, _ = found(cluster, wait_s=0)["probe"]
    assert ok
    assert text == "a small job was still waiting after 0 s: Resources"
    assert ("cancel", 1) in cluster.engine.questions


def test_an_engine_that_does_not_answer(cluster: Cluster) -> None:
    cluster.engine.silent = True
    assert found(cluster) == {"engine": (False, "answers", "")}


def test_a_directory_that_cannot_be_written(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "nodes").write_text("a file")
    assert not found(cluster)["directory"][0]


def test_a_refused_probe(cluster: Cluster) -> None:
    def refuse() -> None:
        raise InvalidInput("no such partition", hint="another")

    cluster.engine.before = refuse
    assert found(cluster)["probe"] == (False, "no such partition", "another")
