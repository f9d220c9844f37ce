"""Models as the Python interface has them: registered from files and runs, found again with what they were trained with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tests.builders import a_lock, an_environment
from tests.support.jobs import a_configuration

from wardian import Event, Model, Run, Workspace
from wardian.errors import Conflict, DiskFull, InvalidDefinition, InvalidInput, InvalidReference, NotFound, WardianError
from wardian.run.configuration import RunEnvironment
from wardian.run.record import Results
from wardian.sdk.caches import Caches


@pytest.fixture
def workspace() -> Workspace:
    return Workspace.open()


def a_run(
    workspace: Workspace, *, pip: str = "numpy==1.26.4", state: str = "completed", files: dict[str, str] | None = None
) -> Run:
    """Return a run, as the records have it, of the environment ``sklearn`` with this package; with these files in its directory."""
    parts = workspace.parts
    environment = an_environment(pip=(pip,))
    version, _ = workspace.environments.register(environment)
    lock = parts.locks.put(a_lock(environment=environment))
    parts.locks.pin(version.id, "linux/amd64", lock, "solved")
    made_with = RunEnvironment(name=version.name, version=version.version, version_id=version.id, definition_hash=version.definition_hash,
                               lock_digest=lock, image_digest="f" * 64, summary=f"{version} · lock")  # fmt: skip
    record = parts.runs.add(a_configuration(Path("/project")), supervisor=None, results=Results())
    for following in ("preparing", "running"):
        parts.runs.advance(record.id, following, results=Results(environment=made_with))
    if state != "running":
        parts.runs.end(record.id, state, code="exited", results=Results(environment=made_with))
    run = workspace.runs.get(record.id)
    run.output_directory.mkdir(parents=True)
    for name, text in (files or {"outputs/model.pkl": "weights"}).items():
        path = run.directory / "snapshot" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return run


def test_a_model_knows_its_run_its_environment_its_lock_and_its_image(workspace: Workspace) -> None:
    run = a_run(workspace)
    model = run.register_model("churn", "model.pkl", description="who leaves", tags={"team": "risk"})
    assert (model.reference, model.format, model.run_id) == ("churn:1", "sklearn", run.id)
    assert model.environment() == run.environment
    assert (found := model.run()) is not None
    assert found.id == run.id
    assert model.lock() == run.lock
    assert model.lock_digest == run.record.environment.lock_digest
    assert model.image_digest == "f" * 64
    assert model.record.lineage.source == "outputs/model.pkl"
    assert (model.record.description, model.record.tags) == ("who leaves", {"team": "risk"})
    assert model.path().read_text() == "weights"
    assert [path.name for path in model.directory().iterdir()] == ["model.pkl"]
    assert run.models == [model]
    assert workspace.models.get("churn") == workspace.models.get("model:churn:1") == model


def test_the_environment_is_a_reference(workspace: Workspace) -> None:
    run = a_run(workspace)
    Model.register(workspace, "model.pkl", "churn", run=run)
    workspace.models.label("churn:1", "production")
    for reference in ("model:churn", "model:churn:1", "model:churn@production", "model:churn@latest"):
        assert workspace.environments.get(reference) == run.environment
    assert workspace.environments.get("model:churn").environment == an_environment()
    version = workspace.environments.get("sklearn")
    for endpoint in ("shop", "shop", "bank"):
        workspace.parts.endpoints.deploy(endpoint, {}, place=lambda _number: None, version_id=version.id)
    usage = workspace.environments.usage(version)
    assert (usage["models"], usage["endpoints"]) == (["churn:1"], ["bank", "shop"])
    with pytest.raises(NotFound, match="there is no model `chrun`") as caught:
        workspace.environments.get("model:chrun")
    assert "`churn`" in (caught.value.hint or "")
    with pytest.raises(InvalidReference):
        workspace.environments.get("model:churn:")


def test_a_model_without_a_run_says_what_to_do(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "MLmodel").write_text("flavors: {python_function: {env: {conda: conda.yaml}}}\n")
    (tmp_path / "m" / "conda.yaml").write_text("dependencies: [python=3.12]\n")
    model = workspace.models.register(tmp_path / "m", "served")
    with pytest.raises(NotFound) as caught:
        workspace.environments.get("model:served")
    assert caught.value.stable_code == "model_without_environment"
    assert "--run ID" in (caught.value.hint or "")
    assert f"-f {model.path()}" in (caught.value.hint or "")
    assert model.lock() is None
    assert model.mlflow is not None
    assert model.mlflow.environment_files == ("conda.yaml",)


def test_the_same_files_are_the_same_version_and_others_the_next(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "m.bin").write_text("1")
    first = workspace.models.register(tmp_path / "m.bin", "m")
    again, added = workspace.models.ensure(tmp_path / "m.bin", "m", description="ignored")
    assert (again, added) == (first, False)
    (tmp_path / "m.bin").write_text("2")
    assert workspace.models.register(tmp_path / "m.bin", "m").version == "2"
    (tmp_path / "m.bin").write_text("1")
    third = workspace.models.register(tmp_path / "m.bin", "m")
    assert (third.version, third.digest) == ("3", first.digest)  # the newest is what `latest` means
    assert workspace.models.register(tmp_path / "m.bin", "m", version="2024").version == "2024"
    (tmp_path / "m.bin").write_text("3")
    assert workspace.models.register(tmp_path / "m.bin", "m").version == "2025"
    with pytest.raises(Conflict) as caught:
        workspace.models.register(tmp_path / "m.bin", "m", version="1")
    assert caught.value.stable_code == "version_exists"
    assert [model.version for model in workspace.models.versions("m")] == ["2025", "2024", "3", "2", "1"]


def test_the_same_files_from_other_packages_are_another_version(workspace: Workspace) -> None:
    """What `model:NAME` means must be what the model was trained with."""
    first = a_run(workspace).register_model("churn", "model.pkl")
    same = a_run(workspace).register_model("churn", "model.pkl")
    assert (same.version, same.run_id) == (first.version, first.run_id)
    other = a_run(workspace, pip="numpy==2").register_model("churn", "model.pkl")
    assert (other.version, other.digest) == ("2", first.digest)
    assert workspace.environments.get("model:churn").reference == "sklearn:2"
    assert workspace.environments.get("model:churn:1").reference == "sklearn:1"
    assert workspace.models.register(other.path(), "churn").version == "2"  # without a run nothing is said that differs


def test_a_run_given_later_is_a_version_that_knows_it(workspace: Workspace, tmp_path: Path) -> None:
    run = a_run(workspace)
    assert workspace.models.register(run.output_directory / "model.pkl", "churn").run_id is None
    assert run.register_model("churn", "model.pkl").version == "2"


@pytest.mark.parametrize("path", ["model", "outputs/model", "run:{id}/model", "run:latest/outputs/model"])
def test_a_path_is_looked_for_in_the_run(
    workspace: Workspace, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = a_run(workspace, files={"outputs/model/weights": "of the run"})
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").write_text("of here")
    monkeypatch.chdir(tmp_path)
    model = workspace.models.register(path.format(id=run.id), "churn", run=None if path.startswith("run:") else run)
    assert (model.path() / "weights").read_text() == "of the run"
    assert (model.run_id, model.record.lineage.source) == (run.id, "outputs/model")


def test_a_path_elsewhere_may_be_the_run_s_too(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = a_run(workspace)
    (tmp_path / "converted.onnx").write_text("x")
    monkeypatch.chdir(tmp_path)
    model = workspace.models.register("converted.onnx", "churn", run=run.id)
    assert (model.run_id, model.record.lineage.source) == (run.id, str(tmp_path / "converted.onnx"))
    with pytest.raises(NotFound, match=f"run `{run.id}` left no `missing`"):
        workspace.models.register("missing", "churn", run=run)


def test_an_output_that_leads_out_of_the_run_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    run = a_run(workspace)
    (tmp_path / "secret").write_text("x")
    (run.output_directory / "model").symlink_to(tmp_path / "secret")
    with pytest.raises(InvalidInput) as caught:
        run.register_model("churn", "model")
    assert caught.value.stable_code == "link_leaves_tree"


def test_what_a_run_leaves_may_change_until_it_has_ended(workspace: Workspace) -> None:
    run = a_run(workspace, state="running")
    with pytest.raises(Conflict, match="may still change"):
        run.register_model("churn", "model.pkl")
    assert a_run(workspace, state="failed").register_model("churn", "model.pkl").version == "1"


def test_a_model_keeps_what_it_needs_when_its_run_is_deleted(workspace: Workspace) -> None:
    run = a_run(workspace)
    model = run.register_model("churn", "model.pkl")
    lock = run.lock
    workspace.runs.delete(run.id)
    kept = workspace.models.get("churn")
    assert (kept, kept.run_id, kept.run(), kept.lock()) == (model, run.id, None, lock)
    assert kept.record.lineage.made_with["summary"] == "sklearn:1 · lock"
    with pytest.raises(Conflict, match="`sklearn:1` is in use: model churn:1"):
        workspace.environments.delete("sklearn:1")
    workspace.environments.archive("sklearn")
    assert workspace.environments.get("model:churn").reference == "sklearn:1"
    workspace.models.delete("churn")
    workspace.environments.delete("sklearn:1")


def test_labels_move_and_keep_their_version(workspace: Workspace, tmp_path: Path) -> None:
    for text in "ab":
        (tmp_path / "m").write_text(text)
        workspace.models.register(tmp_path / "m", "m")
    models = workspace.models
    assert models.label("m:1", "production").record.labels == ("production",)
    assert models.label("m", "production").version == "2"
    assert models.get("m@production").version == "2"
    assert [(move.from_version, move.to_version) for move in models.label_history("m", "production")] == [
        ("1", "2"),
        (None, "1"),
    ]
    with pytest.raises(Conflict, match="`m:2` is in use: label production"):
        models.delete("m:2")
    with pytest.raises(Conflict, match="`m` is in use"):
        models.delete("m")
    with pytest.raises(InvalidReference, match="computed"):
        models.label("m", "latest")
    models.remove_label("m", "production")
    with pytest.raises(NotFound, match="has the label `production`"):
        models.get("m@production")
    models.delete("m:2")
    assert models.get("m").version == "1"


def test_whatever_a_later_schema_lets_refer_to_a_model_keeps_it(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "m").write_text("a")
    model = workspace.models.register(tmp_path / "m", "m")
    with workspace.parts.database.write():
        workspace.parts.database.execute(
            "CREATE TABLE test_deployments (endpoint TEXT, model_id INTEGER REFERENCES models (id))"
        )
        for endpoint in ("shop", "shop", *"abcde"):
            workspace.parts.database.execute("INSERT INTO test_deployments VALUES (?, ?)", endpoint, model.record.id)
    for reference in ("m", "m:1"):
        with pytest.raises(
            Conflict, match=r"in use: endpoint shop, endpoint a, endpoint b, endpoint c, endpoint d, 1 more endpoints"
        ):
            workspace.models.delete(reference)
    assert model.path().exists()


def test_files_go_with_the_last_version_that_has_them_and_numbers_are_not_given_twice(
    workspace: Workspace, tmp_path: Path
) -> None:
    (tmp_path / "m").write_text("a")
    one, other = workspace.models.register(tmp_path / "m", "one"), workspace.models.register(tmp_path / "m", "other")
    workspace.models.delete("one")
    assert other.path().exists()
    workspace.models.delete("other:1")
    assert list(workspace.models.root.iterdir()) == []
    assert workspace.models.find("one") is None
    assert list(workspace.models.list()) == []
    assert workspace.models.register(tmp_path / "m", "one").version == "2"
    assert workspace.models.get("one").digest == one.digest


def test_description_and_tags_change_alone(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "m").write_text("a")
    made = workspace.models.register(tmp_path / "m", "m")
    changed = workspace.models.update("m", description="new\r\nline", tags={"a": "b"})
    assert (changed.record.description, changed.record.tags) == ("new\nline", {"a": "b"})
    assert (changed.version, changed.digest) == (made.version, made.digest)
    for words in ({"description": "ghp_" + "a1B2" * 9}, {"tags": {"password": "hunter2hunter2"}}):
        with pytest.raises(InvalidDefinition, match="looks like a secret"):
            workspace.models.update("m", **words)


@pytest.mark.parametrize("name", ["", "-x", "a/b", "a b", "ü", "a" * 256, "..", "model:x", "model", "run"])
def test_a_name_is_a_name(workspace: Workspace, tmp_path: Path, name: str) -> None:
    (tmp_path / "m").write_text("a")
    with pytest.raises(InvalidInput):
        workspace.models.register(tmp_path / "m", name)


def test_a_hostile_model_leaves_nothing_behind(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "MLmodel").write_text("flavors: !!python/object/apply:os.system ['true']\n")
    with pytest.raises(InvalidDefinition, match="MLmodel:1"):
        workspace.models.register(tmp_path / "m", "m")
    (tmp_path / "m" / "MLmodel").unlink()
    (tmp_path / "m" / "out").symlink_to("/etc")
    with pytest.raises(InvalidInput, match="leads out"):
        workspace.models.register(tmp_path / "m", "m")
    assert list(workspace.models.list()) == []
    assert not list(workspace.parts.directory.glob("artifacts/*/*"))


def test_the_workspace_itself_is_no_model(workspace: Workspace) -> None:
    with pytest.raises(InvalidInput, match="Wardian's own"):
        workspace.models.register(workspace.settings.home, "m")


def test_a_download_is_whole_checked_and_may_be_written_to(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "m" / "sub").mkdir(parents=True)
    (tmp_path / "m" / "sub" / "w").write_text("1")
    model = workspace.models.register(tmp_path / "m", "m")
    place = model.download(tmp_path / "there" / "deep")
    (place / "sub" / "w").write_text("changed")
    with pytest.raises(Conflict) as caught:
        model.download(tmp_path / "there" / "deep")
    assert caught.value.stable_code == "path_exists"
    assert (model.download(tmp_path / "there" / "deep", force=True) / "sub" / "w").read_text() == "1"
    kept = model.path() / "sub" / "w"
    kept.chmod(0o644)
    kept.write_text("2")
    with pytest.raises(Conflict) as caught:
        model.download(tmp_path / "elsewhere")
    assert caught.value.stable_code == "model_damaged"
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert [path.name for path in (tmp_path / "there" / "deep").iterdir()] == ["m"]


def test_files_that_are_gone_are_missed_and_registering_them_again_brings_them_back(
    workspace: Workspace, tmp_path: Path
) -> None:
    from wardian.tools.disk import remove_tree

    (tmp_path / "m").write_text("1")
    model = workspace.models.register(tmp_path / "m", "m")
    remove_tree(model.directory(), tmp_path / "trash")
    with pytest.raises(NotFound, match="are gone"):
        model.path()
    assert workspace.models.register(tmp_path / "m", "m") == model
    assert model.path().read_text() == "1"


def test_several_at_once_make_one_version_of_the_same_and_each_one_of_their_own(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "same").write_text("x" * 100_000)
    found: list[str] = []

    def register(number: int) -> None:
        own = Workspace.open()
        (tmp_path / str(number)).write_text(str(number))
        found.append(own.models.register(tmp_path / "same", "same").reference)
        found.append(own.models.register(tmp_path / str(number), "each").reference)

    threads = [threading.Thread(target=register, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == sorted(["same:1"] * 6 + [f"each:{number}" for number in range(1, 7)])
    assert not list((workspace.models.root.parent / "tmp").iterdir())


def test_whenever_it_is_killed_what_is_found_is_whole_and_a_second_try_works(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.model_kills", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    kills, old, new = map(int, done.stdout.split())
    assert kills > 20
    assert min(old, new) > 0


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_full_disk_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(small)], check=True)
    try:
        workspace = Workspace.open(home=small)
        (tmp_path / "m").mkdir()
        (tmp_path / "m" / "w").write_bytes(b"x" * 3_000_000)
        workspace.models.register(tmp_path / "m", "m")
        workspace.models.register(tmp_path / "m", "m", version="x")  # the same files take no space
        (tmp_path / "m" / "w").write_bytes(b"y" * 3_000_000)
        with pytest.raises(DiskFull) as caught:
            workspace.models.register(tmp_path / "m", "m")
        assert caught.value.details["needed_bytes"] == 3_000_000
        assert workspace.models.get("m").version == "x"
        assert not list((workspace.models.root.parent / "tmp").iterdir())
        workspace.models.delete("m")
        assert workspace.models.register(tmp_path / "m", "m").version == "2"
        del workspace
    finally:
        subprocess.run(["umount", "--lazy", str(small)], check=True)


def test_the_image_that_a_model_was_trained_in_is_not_cleaned_up(workspace: Workspace) -> None:
    a_run(workspace).register_model("churn", "model.pkl")
    assert workspace.parts.images.records.roots() == {"f" * 64}
    workspace.models.delete("churn")
    assert workspace.parts.images.records.roots() == set()


def test_a_clean_up_takes_what_a_killed_process_had_not_finished_and_no_model(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "m").write_text("1")
    model = workspace.models.register(tmp_path / "m", "m")
    files = workspace.parts.models.files
    with files.stage() as held:
        (held / "half").write_text("of one that is being copied")
        left = held.with_name("model-1.dead")
        left.mkdir()
        (left / "half").write_text("x" * 10_000)
        left.with_name(f"{left.name}.lock").write_text("")
        caches = Caches(workspace.parts)
        plan = caches.plan(limit_bytes=0)
        assert [(item.kind, item.name, item.note) for item in caches.chosen(plan)] == [
            ("unfinished-model", left.name, "a model that was not registered")
        ]
        caches.apply(plan)
        assert (left.exists(), held.exists()) == (False, True)
    assert model.path().read_text() == "1"


def test_models_without_records_are_told_and_stay(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "m").write_text("1")
    model = workspace.models.register(tmp_path / "m", "m")
    workspace.parts.database.close()
    for path in workspace.parts.directory.glob("workspace.db*"):
        path.unlink()
    with pytest.raises(WardianError, match="are gone") as caught:
        Workspace.open()
    assert caught.value.stable_code == "records_missing"
    assert model.path().read_text() == "1"


def test_a_large_model_tells_how_far_it_is(tmp_path: Path) -> None:
    heard: list[Event] = []
    workspace = Workspace.open(listener=heard.append)
    with (tmp_path / "m").open("wb") as file:
        file.truncate(70 << 20)
    workspace.models.register(tmp_path / "m", "m")
    assert (heard[0].kind, heard[0].text, heard[0].total) == ("phase", "keeping m, 73,400,320 bytes", 70 << 20)
    done = [event.done for event in heard[1:]]
    assert done == [16 << 20, 32 << 20, 48 << 20, 64 << 20]


def test_a_record_is_json(workspace: Workspace) -> None:
    model = a_run(workspace).register_model("churn", "model.pkl")
    document = model.record.as_document()
    assert json.loads(json.dumps(document)) == document
    assert document["environment"] == "sklearn:1"
