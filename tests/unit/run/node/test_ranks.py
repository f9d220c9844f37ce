from __future__ import annotations

import pytest

from wardian.errors import RunFailed
from wardian.run.node.ranks import Rank, engine_attempt, first_host, rank_of


@pytest.mark.parametrize(
    ("hosts", "first"),
    [
        ("n1", "n1"),
        ("n1,n2", "n1"),
        ("n[1-4,7],m", "n1"),
        ("gpu[007-010]", "gpu007"),
        ("rack[2-3]node[1,4].cluster,x", "rack2node1.cluster"),
        ("", ""),
    ],
)
def test_the_first_host_of_a_list_is_found(hosts: str, first: str) -> None:
    assert first_host(hosts) == first


def test_a_run_that_asked_for_no_number_of_nodes_has_no_rank() -> None:
    assert rank_of(None, {"SLURM_PROCID": "3", "SLURM_NTASKS": "8"}) is None


def test_one_node_is_the_first_of_one() -> None:
    found = rank_of(1, {"SLURM_PROCID": "3"})
    assert found is not None
    assert (found.number, found.of) == (0, 1)


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"SLURM_PROCID": "2", "SLURM_NTASKS": "2", "SLURM_JOB_NODELIST": "n1"},
        {"SLURM_PROCID": "0", "SLURM_NTASKS": "4", "SLURM_JOB_NODELIST": "n1"},
        {"SLURM_PROCID": "-1", "SLURM_NTASKS": "2", "SLURM_JOB_NODELIST": "n1"},
        {"SLURM_PROCID": "0", "SLURM_NTASKS": "2", "SLURM_JOB_NODELIST": "$(reboot)"},
        {"SLURM_PROCID": "0", "SLURM_NTASKS": "2"},
    ],
)
def test_what_an_engine_says_must_make_sense(environ: dict[str, str]) -> None:
    with pytest.raises(RunFailed) as caught:
        rank_of(2, environ)
    assert caught.value.stable_code == "rank_unknown"


def test_every_node_computes_the_same_port_below_those_that_systems_give_away() -> None:
    ports = {Rank(number, 4, "n1").variables("01abcdefghjk")["MASTER_PORT"] for number in range(4)}
    assert len(ports) == 1
    assert 12_000 <= int(ports.pop()) < 30_000
    assert Rank(0, 2, "n1").variables("a")["MASTER_PORT"] != Rank(0, 2, "n1").variables("b")["MASTER_PORT"]


def test_starts_are_counted_from_one() -> None:
    assert [engine_attempt(environ) for environ in ({}, {"SLURM_RESTART_COUNT": "1"}, {"SLURM_RESTART_COUNT": "x"})] == [
        1,
        2,
        1,
    ]
