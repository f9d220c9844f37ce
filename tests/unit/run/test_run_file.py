from __future__ import annotations

import io
import json
import os
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.builders import a_lock, an_artifact, an_environment
from tests.support.jobs import a_configuration

from wardian.definition.identity import definition_hash
from wardian.digest import Digest
from wardian.errors import BadArchive, Conflict, NotFound, WardianError
from wardian.formats.tree import tree_digest
from wardian.run.configuration import RunConfiguration, RunEnvironment
from wardian.run.export import export_run
from wardian.run.file_names import to_text
from wardian.run.inputs import record_inputs
from wardian.run.load import LoadedRun, load_run
from wardian.run.record import Results, RunRecord
from wardian.run.reproduce import original_source, reproduction, restore_source
from wardian.run.run_file import MANIFEST, UnreadableRunFile
from wardian.run.snapshot import copy
from wardian.run.source_tree import scan
from wardian.tools.processes import identify

if TYPE_CHECKING:
    from collections.abc import Callable

ENVIRONMENT = an_environment(name="sklearn", pip=("numpy==1.26.4",), variables={"A": "1"})
ARCHIVE = b"the bytes of a wheel"
LOCK = a_lock(an_artifact("numpy", "1.26.4", sha256=Digest.of(ARCHIVE)), environment=ENVIRONMENT)


class Ran:
    """A run that has ended, its files, and an archive of its lock."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.runs = root / "runs"
        source = root / "project"
        (source / "pkg/empty").mkdir(parents=True)
        (source / "train.py").write_text("print(1)\n")
        (source / "pkg/run.sh").write_text("#!/bin/sh\n")
        (source / "pkg/run.sh").chmod(0o755)
        (source / "pkg/link").symlink_to("../train.py")
        (source / "größe.txt").write_text("x" * 1000)
        (root / "data").mkdir(exist_ok=True)
        (root / "data/a.csv").write_text("1,2\n")
        (root / "one.csv").write_text("3\n")
        (root / "large.bin").write_bytes(b"0" * 5000)
        (root / "numpy-1.26.4-py3-none-any.whl").write_bytes(ARCHIVE)
        self.packages = {Digest.of(ARCHIVE): root / "numpy-1.26.4-py3-none-any.whl"}
        inputs = {"data": root / "data", "one": root / "one.csv", "large": root / "large.bin"}
        directory = self.runs / "1qjm5wmczg9m"
        directory.mkdir(parents=True)
        snapshot = copy(scan(source), directory / "snapshot")
        (directory / "snapshot.json").write_text(json.dumps(snapshot.as_document()))
        (directory / "snapshot/outputs").mkdir()
        (directory / "snapshot/outputs/model.bin").write_text("made by the run")
        (directory / "snapshot/new.txt").write_text("made by the run")
        identities = RunEnvironment("sklearn", "4", 17, definition_hash(ENVIRONMENT), LOCK.digest, "p" * 64, "sklearn:4")
        self.record = RunRecord(
            "1qjm5wmczg9m", "completed",
            a_configuration(source, inputs=inputs, variables={"EPOCHS": "3", "MODE": None, "HF_TOKEN": None, "WANDB_*": None}),
            "2026-01-01T00:00:00.000000Z", "2026-01-01T00:00:01.000000Z", "2026-01-01T00:00:02.000000Z", "2026-01-01T00:00:03.000000Z",
            code="exited", exit_code=0, snapshot_digest=snapshot.digest,
            results=Results(environment=identities, inputs=record_inputs(inputs), notes=("a note",),
                            variables={"EPOCHS": "3", "MODE": "fast", "HF_TOKEN": None, "WANDB_MODE": "offline"}),
        )  # fmt: skip

    def export(self, target: Path, **changes: Any) -> tuple[str, ...]:
        values: dict[str, Any] = {
            "environment": ENVIRONMENT,
            "lock": LOCK,
            "packages": self.packages,
            "small_input_bytes": 1000,
        }
        return export_run(self.record, target, runs_dir=self.runs, **values | changes)


@pytest.fixture
def ran(tmp_path: Path) -> Ran:
    return Ran(tmp_path)


def test_what_is_exported_is_loaded_elsewhere(ran: Ran, tmp_path: Path) -> None:
    left_out = ran.export(tmp_path / "run.wardian")
    assert [words.split("`")[1] for words in left_out] == ["large"]
    expected = tree_digest(ran.root / "project")
    (tmp_path / "project").rename(tmp_path / "gone")
    ran.runs.rename(tmp_path / "gone-too")
    loaded = load_run(tmp_path / "run.wardian", tmp_path / "loaded")
    assert loaded.environment == ENVIRONMENT
    assert loaded.lock == LOCK
    assert tree_digest(loaded.source) == expected == loaded.record.snapshot_digest
    assert (loaded.source / "pkg/empty").is_dir()
    assert (loaded.source / "pkg/link").readlink() == Path("../train.py")
    assert os.access(loaded.source / "pkg/run.sh", os.X_OK)
    assert not (loaded.source / "outputs").exists()
    assert not (loaded.source / "new.txt").exists()
    assert {name: path.name for name, path in loaded.inputs.items()} == {"data": "data", "one": "one"}
    assert (loaded.inputs["data"] / "a.csv").read_text() == "1,2\n"
    assert loaded.inputs["one"].read_text() == "3\n"
    assert {digest: path.read_bytes() for digest, path in loaded.packages.items()} == {Digest.of(ARCHIVE): ARCHIVE}
    without_number = replace(ran.record.results.environment, version_id=None)
    assert loaded.record == replace(ran.record, results=replace(ran.record.results, environment=without_number))


def test_names_that_are_not_utf8_travel_along(tmp_path: Path) -> None:
    (tmp_path / "project/d\udcff").mkdir(parents=True)
    (tmp_path / "project/d\udcff/caf\udce9").write_text("a")
    (tmp_path / "project/back\\slash").write_text("b")
    (tmp_path / "project/l\udcfe").symlink_to("d\udcff/caf\udce9")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/i\udce9").write_text("c")
    ran = Ran(tmp_path)
    command = replace(ran.record.configuration.command, arguments=("arg\udce9",))
    ran.record = replace(ran.record, configuration=replace(ran.record.configuration, command=command))
    ran.export(tmp_path / "run.wardian")
    loaded = load_run(tmp_path / "run.wardian", tmp_path / "loaded")
    assert (loaded.source / "d\udcff/caf\udce9").read_text() == "a"
    assert (loaded.source / "back\\slash").read_text() == "b"
    assert (loaded.source / "l\udcfe").readlink() == Path("d\udcff/caf\udce9")
    assert (loaded.inputs["data"] / "i\udce9").read_text() == "c"
    assert loaded.record.configuration.command == command
    with tarfile.open(tmp_path / "run.wardian") as tar:
        stream = tar.extractfile(MANIFEST)
        assert stream is not None
        manifest = json.loads(stream.read())
    assert json.dumps(manifest, ensure_ascii=False).encode()
    assert "snapshot/d\0ff/caf\0e9" in manifest["files"]


def test_the_same_run_gives_the_same_bytes(ran: Ran, tmp_path: Path) -> None:
    here = identify()
    assert here is not None
    ran.record = replace(ran.record, supervisor=here)
    ran.export(tmp_path / "1")
    for path in (ran.runs / "1qjm5wmczg9m/snapshot").rglob("*"):
        os.utime(path, (1, 1), follow_symlinks=False)
    (ran.runs / "1qjm5wmczg9m/snapshot/train.py").chmod(0o600)
    ran.record = replace(ran.record, supervisor=None)
    ran.export(tmp_path / "2")
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()
    assert here.boot_id.encode() not in (tmp_path / "1").read_bytes()


def test_without_packages_and_inputs(ran: Ran, tmp_path: Path) -> None:
    left_out = ran.export(tmp_path / "run.wardian", packages=None, small_input_bytes=0)
    assert len(left_out) == 3
    loaded = load_run(tmp_path / "run.wardian", tmp_path / "loaded")
    assert loaded.packages == loaded.inputs == {}


def test_inputs_that_changed_or_hold_links_are_left_out(ran: Ran, tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text("changed")
    assert any("`one`" in words and "changed" in words for words in ran.export(tmp_path / "1"))
    (tmp_path / "data/link").symlink_to("/etc/passwd")
    ran.record = replace(ran.record, results=replace(ran.record.results, inputs=record_inputs(ran.record.configuration.inputs)))
    assert any("`data`" in words for words in ran.export(tmp_path / "2"))
    assert b"root:" not in (tmp_path / "2").read_bytes()


def test_what_the_script_changed_is_taken_from_the_source_directory(ran: Ran, tmp_path: Path) -> None:
    snapshot = ran.runs / "1qjm5wmczg9m/snapshot"
    (snapshot / "train.py").write_text("changed by the run")
    (snapshot / "pkg/run.sh").unlink()
    restored = restore_source(ran.record, ran.runs, tmp_path / "restored")
    assert tree_digest(restored) == ran.record.snapshot_digest
    (tmp_path / "project/train.py").write_text("edited since")
    with pytest.raises(Conflict, match=r"changed or removed: train\.py$") as caught:
        original_source(ran.record, ran.runs)
    assert caught.value.stable_code == "snapshot_changed"
    with pytest.raises(Conflict):
        ran.export(tmp_path / "run.wardian")
    assert not (tmp_path / "run.wardian").exists()


def test_a_run_without_files_is_told(ran: Ran) -> None:
    with pytest.raises(NotFound, match="has no snapshot"):
        original_source(replace(ran.record, id="0" * 12), ran.runs)
    (ran.runs / "1qjm5wmczg9m/snapshot.json").write_text('{"entries": [], "directories": []}')
    with pytest.raises(WardianError, match="damaged") as caught:
        original_source(ran.record, ran.runs)
    assert caught.value.stable_code == "damaged_run"


def test_a_reproduction_has_the_variables_of_then_and_the_secrets_of_now(ran: Ran, tmp_path: Path) -> None:
    again = reproduction(ran.record, inputs={"one": tmp_path / "elsewhere"})
    assert again.variables == {"EPOCHS": "3", "MODE": "fast", "HF_TOKEN": None, "WANDB_MODE": "offline"}
    assert again.source == ran.record.configuration.source
    assert again.reproduces == ran.record.id
    assert RunConfiguration.from_document(again.as_document()) == again
    assert reproduction(ran.record, file=tmp_path / "run.wardian").source == tmp_path / "run.wardian"
    assert again.inputs["one"] == tmp_path / "elsewhere"
    assert again.inputs["large"] == tmp_path / "large.bin"
    assert again.command == ran.record.configuration.command


# -- hostile files ---------------------------------------------------------------------------------------------------


def rewritten(ran: Ran, change: Callable[[dict[str, Any], dict[str, tuple[tarfile.TarInfo, bytes]]], None]) -> Path:
    """Export, then let ``change`` loose on the manifest and the members."""
    good, bad = ran.root / "good.wardian", ran.root / "bad.wardian"
    ran.export(good)
    members: dict[str, tuple[tarfile.TarInfo, bytes]] = {}
    with tarfile.open(good) as tar:
        for member in tar:
            stream = tar.extractfile(member) if member.isreg() else None
            members[member.name] = (member, stream.read() if stream else b"")
    manifest = json.loads(members.pop(MANIFEST)[1])
    change(manifest, members)
    with tarfile.open(bad, "w", format=tarfile.PAX_FORMAT) as tar:
        text = json.dumps(manifest).encode()
        head = tarfile.TarInfo(MANIFEST)
        head.size = len(text)
        tar.addfile(head, io.BytesIO(text))
        for info, content in members.values():
            if info.isreg():
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return bad


def put(members: dict[str, tuple[tarfile.TarInfo, bytes]], name: str, content: bytes = b"x", **fields: Any) -> None:
    info = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(info, field, value)
    members[f"{name} {len(members)}"] = (info, content if info.isreg() else b"")


def listed(manifest: dict[str, Any], name: str, content: bytes = b"x") -> None:
    manifest["files"][name] = [len(content), Digest.of(content)]


def put_link(manifest: dict[str, Any], members: dict[str, tuple[tarfile.TarInfo, bytes]], name: str, target: str) -> None:
    put(members, f"snapshot/{name}", type=tarfile.SYMTYPE, linkname=target)
    manifest["snapshot"]["entries"].append([to_text(name), "link", to_text(target)])
    redigest(manifest)


def put_through_link(manifest: dict[str, Any], members: dict[str, tuple[tarfile.TarInfo, bytes]], name: str) -> None:
    put_link(manifest, members, name, "pkg")
    put(members, f"snapshot/{name}/evil")
    listed(manifest, to_text(f"snapshot/{name}/evil"))
    manifest["snapshot"]["entries"].append([to_text(f"{name}/evil"), "file", Digest.of(b"x")])
    redigest(manifest)


def flip(manifest: dict[str, Any], members: dict[str, tuple[tarfile.TarInfo, bytes]]) -> None:
    members["snapshot/train.py"] = (members["snapshot/train.py"][0], b"print(2)\n")


def absolute(manifest: dict[str, Any], members: dict[str, tuple[tarfile.TarInfo, bytes]]) -> None:
    put(members, "/tmp/evil")
    listed(manifest, "/tmp/evil")


def parent(manifest: dict[str, Any], members: dict[str, tuple[tarfile.TarInfo, bytes]]) -> None:
    put(members, "snapshot/../../evil")
    listed(manifest, "snapshot/../../evil")


def unlisted(manifest: dict[str, Any], members: dict[str, tuple[tarfile.TarInfo, bytes]]) -> None:
    put(members, "snapshot/extra.py")


def twice(manifest: dict[str, Any], members: dict[str, tuple[tarfile.TarInfo, bytes]]) -> None:
    put(members, "snapshot/train.py", b"print(1)\n")


def missing(manifest: dict[str, Any], members: dict[str, tuple[tarfile.TarInfo, bytes]]) -> None:
    del members["snapshot/train.py"]


def other_spelling(manifest: dict[str, Any], members: dict[str, tuple[tarfile.TarInfo, bytes]]) -> None:
    _, content = members.pop("snapshot/train.py")
    put(members, "snapshot//train.py", content)


def escaping_link(manifest: dict[str, Any], members: dict[str, tuple[tarfile.TarInfo, bytes]]) -> None:
    put_link(manifest, members, "l", "../../../etc")


def link_to_packages(manifest: dict[str, Any], members: dict[str, tuple[tarfile.TarInfo, bytes]]) -> None:
    put_link(manifest, members, "l", "../packages")


def through_link(manifest: dict[str, Any], members: dict[str, tuple[tarfile.TarInfo, bytes]]) -> None:
    put_through_link(manifest, members, "l")


def hard_link(manifest: dict[str, Any], members: dict[str, tuple[tarfile.TarInfo, bytes]]) -> None:
    put(members, "snapshot/h", type=tarfile.LNKTYPE, linkname="snapshot/train.py")


def device(manifest: dict[str, Any], members: dict[str, tuple[tarfile.TarInfo, bytes]]) -> None:
    put(members, "snapshot/null", type=tarfile.CHRTYPE, devmajor=1, devminor=3)


def escaping_directory(manifest: dict[str, Any], members: dict[str, tuple[tarfile.TarInfo, bytes]]) -> None:
    manifest["snapshot"]["directories"].append("../../evil")


def escaping_input(manifest: dict[str, Any], members: dict[str, tuple[tarfile.TarInfo, bytes]]) -> None:
    manifest["inputs"]["large"] = "../../etc"


def escaping_name(manifest: dict[str, Any], members: dict[str, tuple[tarfile.TarInfo, bytes]]) -> None:
    put(members, "snapshot/\udce9/../../../evil")
    listed(manifest, "snapshot/\0e9/../../../evil")


def link_of_bytes(manifest: dict[str, Any], members: dict[str, tuple[tarfile.TarInfo, bytes]]) -> None:
    put_link(manifest, members, "l\udce9", "../../\udce9")


def through_link_of_bytes(manifest: dict[str, Any], members: dict[str, tuple[tarfile.TarInfo, bytes]]) -> None:
    put_through_link(manifest, members, "l\udce9")


def same_bytes_spelled_twice(manifest: dict[str, Any], members: dict[str, tuple[tarfile.TarInfo, bytes]]) -> None:
    put(members, "snapshot/é")
    listed(manifest, "snapshot/é")
    listed(manifest, "snapshot/\0c3\0a9")


def stand_in(manifest: dict[str, Any], members: dict[str, tuple[tarfile.TarInfo, bytes]]) -> None:
    put(members, "snapshot/\udce9")
    put(members, "snapshot/\uf7e9")
    listed(manifest, "snapshot/\0e9")
    listed(manifest, "snapshot/\uf7e9")


def redigest(manifest: dict[str, Any]) -> None:
    from wardian.run.snapshot import Snapshot

    manifest["record"]["snapshot_digest"] = Snapshot.from_document(manifest["snapshot"]).digest


@pytest.mark.parametrize(("change", "code"), [
    (flip, "wrong_digest"), (absolute, "unsafe_path"), (parent, "unsafe_path"), (unlisted, "wrong_digest"), (twice, "duplicate_member"),
    (missing, "wrong_digest"), (other_spelling, "wrong_digest"), (escaping_link, "unsafe_link"), (link_to_packages, "unsafe_link"),
    (through_link, "unsafe_link"), (hard_link, "unsafe_member"), (device, "unsafe_member"), (escaping_directory, "unsafe_path"),
    (escaping_input, "wrong_digest"), (escaping_name, "unsafe_path"), (link_of_bytes, "unsafe_link"),
    (through_link_of_bytes, "unsafe_link"), (same_bytes_spelled_twice, "wrong_digest"), (stand_in, "duplicate_member"),
])  # fmt: skip
def test_a_hostile_run_file_writes_nothing_outside_and_is_refused(
    ran: Ran, tmp_path: Path, change: Callable[[dict[str, Any], dict[str, tuple[tarfile.TarInfo, bytes]]], None], code: str
) -> None:
    bad = rewritten(ran, change)
    before = {path for path in tmp_path.rglob("*") if "loaded" not in path.parts}
    with pytest.raises(BadArchive, match=r"bad\.wardian") as caught:
        load_run(bad, tmp_path / "loaded")
    assert caught.value.stable_code == code
    assert {path for path in tmp_path.rglob("*") if "loaded" not in path.parts} == before


@pytest.mark.parametrize(("path", "value"), [
    (["record", "snapshot_digest"], "0" * 64),
    (["record", "id"], "../../evil"),
    (["record", "state"], "evil"),
    (["record", "configuration"], {"schema": 1}),
    (["record", "results", "environment", "lock_digest"], "0" * 64),
    (["record", "results", "environment", "definition_hash"], "0" * 64),
    (["lock", "platform"], "linux/arm64"),
    (["environment", "python", "pip"], ["numpy==2"]),
    (["snapshot", "entries"], [["train.py", "device", ""]]),
    (["snapshot", "entries"], 3),
    (["files", "snapshot/train.py"], [9, "0" * 64]),
    (["files", "snapshot/train.py"], "no"),
    (["packages", "0" * 64], "evil.whl"),
    (["inputs", "unknown"], "inputs/data"),
    (["schema"], "x"),
    (["schema"], 99),
])  # fmt: skip
def test_a_manifest_whose_parts_do_not_belong_together_is_refused(
    ran: Ran, tmp_path: Path, path: list[str], value: object
) -> None:
    def change(manifest: dict[str, Any], _members: object) -> None:
        place = manifest
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
        if path[:2] == ["snapshot", "entries"] and value != 3:
            redigest(manifest)

    with pytest.raises(WardianError) as caught:
        load_run(rewritten(ran, change), tmp_path / "loaded")
    assert isinstance(caught.value, UnreadableRunFile) or caught.value.exit_code == 2
    assert not (tmp_path / "loaded").exists()


@pytest.mark.parametrize("content", [b"", b"not a tar", b"\0" * 10240, b"PK\3\4" + b"x" * 1000])
def test_what_is_no_run_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.wardian").write_bytes(content)
    with pytest.raises((UnreadableRunFile, BadArchive)):
        load_run(tmp_path / "x.wardian", tmp_path / "loaded")
    with pytest.raises(NotFound):
        load_run(tmp_path / "missing", tmp_path / "loaded")


def test_a_cut_run_file_is_refused_wherever_it_is_cut(ran: Ran, tmp_path: Path) -> None:
    ran.export(tmp_path / "run.wardian")
    text = (tmp_path / "run.wardian").read_bytes()
    with tarfile.open(tmp_path / "run.wardian") as tar:
        end = max(member.offset_data + member.size for member in tar)
    for n, length in enumerate(range(0, end, 997)):
        (tmp_path / "cut").write_bytes(text[:length])
        with pytest.raises((UnreadableRunFile, BadArchive)):
            load_run(tmp_path / "cut", tmp_path / f"loaded{n}")


def test_the_loaded_value_says_what_came_along(ran: Ran, tmp_path: Path) -> None:
    ran.export(tmp_path / "run.wardian", environment=None, lock=None, packages=None)
    loaded = load_run(tmp_path / "run.wardian", tmp_path / "loaded")
    assert isinstance(loaded, LoadedRun)
    assert (loaded.environment, loaded.lock) == (None, None)
