from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pytest

from wardian.errors import InvalidInput
from wardian.run.configuration import Command, Resources
from wardian.run.node.place import NodePlace
from wardian.run.node.sheet import NodeEnd, NodeStatus, Secrets, Sheet, of_rank

if TYPE_CHECKING:
    from pathlib import Path

SHEET = Sheet(
    run_id="01abcdefghjk", command=Command("script", "träin\udce9.py", ("--lr", "…"), hidden=(1,)), lock_digest="0" * 64, link_scripts="run",
    environment_variables={"A": "1"}, variables={"B": "\udcff"}, pass_variables=("WANDB_*",), inputs={"data": "/data"}, outputs=("model",),
    timeout_s=60.0, resources=Resources(cpus=2, nodes=2), packages=("packages", "/more"), cache="~/cache", may_restart=True,
)  # fmt: skip
END = NodeEnd("exited", exit_code=3, began="2026-01-01T00:00:00Z", observed={"python": "3.12"}, notes=("one",), attempt=2)


def test_a_sheet_its_secrets_a_status_and_an_end_survive_their_files() -> None:
    secrets = Secrets({"TOKEN": "t\udce9"}, {1: "s3cret"})
    status = NodeStatus("running", attempt=2, beat=7, node="n1", process={"pid": 7})
    assert Sheet.from_json(SHEET.to_json()) == SHEET
    assert Secrets.from_json(secrets.to_json()) == secrets
    assert NodeStatus.from_json(status.to_json()) == status
    assert NodeEnd.from_json(END.to_json()) == END


def test_every_status_has_the_same_length_because_it_is_written_over_in_place() -> None:
    assert len({len(NodeStatus("running", beat=beat, node="n" * 64).to_json()) for beat in (0, 10**6)}) == 1


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"schema": 99}, "schema 99"),
        ({"schema": None}, "`schema`"),
        ({"variables": {"A": 1}}, "`variables`"),
        ({"packages": "all"}, "`packages`"),
        ({"timeout_s": True}, "`timeout_s`"),
        ({"timeout_s": float("inf")}, "`timeout_s`"),
        ({"timeout_s": float("nan")}, "`timeout_s`"),
        ({"more": 1}, "`more`"),
        ({"command": {"kind": "script"}}, "another kind"),
        ({"resources": {"nodes": "two"}}, "another kind"),
    ],
)
def test_what_is_wrong_in_a_sheet_is_named(change: dict[str, Any], named: str) -> None:
    document = {**json.loads(SHEET.to_json()), **change}
    with pytest.raises(InvalidInput, match=named) as caught:
        Sheet.from_json(json.dumps(document).encode())
    assert caught.value.stable_code in ("bad_sheet", "bad_resources")


@pytest.mark.parametrize("text", [b"", b"\xff", b"[]", b"[" * 100_000, b'{"schema": 1}', b'{"schema": 1, "cause": 7}'])
def test_what_is_no_end_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidInput) as caught:
        NodeEnd.from_json(text)
    assert caught.value.stable_code == "bad_node_end"


def test_what_a_job_puts_in_the_place_of_its_end_is_named(tmp_path: Path) -> None:
    place = NodePlace(tmp_path)
    assert place.read_end() is None
    (tmp_path / "ended.json").write_text("{nonsense")
    with pytest.raises(InvalidInput, match=r"/ended\.json is not Wardian's: .*no JSON"):
        place.read_end()
    (tmp_path / "ended.json").unlink()
    (tmp_path / "ended.json").mkdir()
    with pytest.raises(InvalidInput, match=r"/ended\.json is not Wardian's: it is no regular file"):
        place.read_end()


def test_a_damaged_file_of_secrets_is_not_repeated() -> None:
    with pytest.raises(InvalidInput) as caught:
        Secrets.from_json(b'{"schema": 1, "variables": "s3cret"}')
    assert "s3cret" not in str(caught.value)
    assert "s3cret" not in str(caught.value.as_document())


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (NodeEnd("exited", exit_code=0), 0),
        (NodeEnd("exited", exit_code=3), 3),
        (NodeEnd("exited", signal=9), 137),
        (NodeEnd("timeout", signal=15), 124),
        (NodeEnd("stopped", code="canceled", exit_code=0), 143),
        (NodeEnd("stopped", code="interrupted"), 130),
        (NodeEnd("failed", code="disk_full"), 125),
        (NodeEnd("lost"), 125),
        (NodeEnd("not_executable"), 126),
        (NodeEnd("not_found"), 127),
    ],
)
def test_the_agent_returns_what_wardian_run_would(end: NodeEnd, code: int) -> None:
    assert end.process_exit_code == code


def test_each_node_has_files_of_its_own() -> None:
    assert [of_rank("log.txt", rank) for rank in (0, 1, 12)] == ["log.txt", "log.1.txt", "log.12.txt"]


def test_no_field_is_forgotten_when_kinds_are_checked() -> None:
    assert Sheet.from_json(json.dumps({"schema": 1, **asdict(SHEET)}).encode()) == SHEET
