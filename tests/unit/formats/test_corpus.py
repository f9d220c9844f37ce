"""Files as people have them: each is read as its owner means it, or refused in its place; writing and reading changes nothing."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from tests.support.corpus import DATA, EXPECTED, all_cases, document_of, leaves, save

from wardian import formats
from wardian.definition.document import to_document
from wardian.errors import InvalidInput
from wardian.formats.azureml_writing import JSON_FILE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.corpus import Case

UPDATE = os.environ.get("WARDIAN_UPDATE_GOLDEN") == "1"
CASES = all_cases()
READ = [case for case in CASES if case.expected.exists() and case.is_read]
OWN = {"conda": "conda", "requirements": "requirements", "azureml": "wardian"}
EVERY = pytest.mark.parametrize("case", CASES, ids=str)
EVERY_READ = pytest.mark.parametrize("case", READ, ids=str)


@EVERY
def test_a_file_is_read_as_its_owner_means_it_or_refused_in_its_place(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Changed on purpose? WARDIAN_UPDATE_GOLDEN=1 writes them anew: look at each."""
    monkeypatch.chdir(case.folder)
    document = document_of(case)
    if UPDATE:
        case.expected.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    assert document == json.loads(case.expected.read_text(encoding="utf-8"))


@EVERY_READ
def test_what_a_version_keeps_reads_back_alone(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(case.folder)
    found = case.read()
    again = formats.read_text(found.text, found.format, local=found.environment.local_sources)
    assert again.environment == found.environment
    assert again.text == found.text
    assert {loss.field for loss in again.losses} <= {loss.field for loss in found.losses}
    assert {fault.code for fault in again.warnings} <= {fault.code for fault in found.warnings}


@EVERY_READ
def test_what_is_written_reads_back_in_every_format_that_can_hold_it(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(case.folder)
    environment = case.read().environment
    for kind in ("wardian", "conda", "requirements", "pyproject", "script"):
        try:
            text = formats.write(environment, kind)
        except InvalidInput as error:
            assert (error.stable_code, kind in ("wardian", OWN[case.kind])) == ("not_expressible", False), kind  # noqa: PT017
            continue
        read = formats.read_text(text, kind, local=environment.local_sources)
        assert read.environment.content == environment.content, kind
        assert read.environment.definition_hash == environment.definition_hash
        assert read.losses == ()
        assert formats.write(read.environment, kind) == text


@pytest.mark.parametrize("to", ["azureml-v2", "azureml-v1"])
@EVERY_READ
def test_what_is_written_for_azure_reads_back_but_for_what_the_ledger_names(
    case: Case, to: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(case.folder)
    found = case.read()
    docker = found.environment.docker
    nothing_left = found.environment.python.manager == "user" and docker.base_image is None and not docker.has_steps
    if (docker.build_context is not None) if to == "azureml-v1" else nothing_left:
        with pytest.raises(InvalidInput, match="Azure ML environment"):
            formats.export(found.environment, to)
        return
    written = formats.export(found.environment, to)
    again = formats.read(_with_code(save(written, tmp_path / "1", found.sources), case))
    before, after = leaves(to_document(found.environment)), leaves(to_document(again.environment))
    told = [loss.field for loss in written.losses]
    for field in before.keys() | after.keys():
        if before.get(field) != after.get(field):
            moved = "docker.dockerfile" in told and field.startswith("docker.build_context.")
            moved = moved or (field == "python.local" and "python.pip" in told)  # a tree that holds the file itself
            assert moved or any(field.startswith(path) for path in told), field
    twice = formats.export(again.environment, to)
    third = formats.read(_with_code(save(twice, tmp_path / "2", again.sources), case))
    assert third.environment.with_python(local=()) == again.environment.with_python(local=())
    assert again.losses == ()


def _with_code(place: Path, case: Case) -> Path:
    """Copy the local code of ``case`` beside what was written: Azure ML's formats name it by its path."""

    def not_written(_: str, names: list[str]) -> list[str]:
        return [name for name in names if name in written]

    folder = place if place.is_dir() else place.parent
    written = {path.name for path in folder.iterdir()} | {"azureml.yml", "environment.yml", "saved.json"}
    if case.read().sources:
        shutil.copytree(DATA / case.kind / case.name, folder, ignore=not_written, dirs_exist_ok=True)
    return place / JSON_FILE if place.is_dir() else place


def test_no_secret_is_in_what_was_read_or_said(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = (
        "fern",
        "moss",
        "sig=",
        "ghp_",
        "glpat-",
        "hf_0",
        "wJalr",
        "tk-0123",
        "ab-123",
        "ab-0123",
        "0123456789abcdef0123456789abcdef01234567",
    )
    for case in CASES:
        monkeypatch.chdir(case.folder)
        said = json.dumps(document_of(case))
        if case.is_read:
            said += case.read().text
        if case.name != "pip-git-and-urls":  # the last one is a commit there
            assert [secret for secret in secrets if secret in said] == [], str(case)


def test_the_corpus_is_as_large_as_it_should_be_and_no_expectation_is_left_over() -> None:
    counts = Counter(case.kind for case in CASES)
    assert (counts["conda"] >= 60, counts["requirements"] >= 40, counts["azureml"] >= 30) == (True, True, True), counts
    assert {place.name for place in DATA.glob(f"*/*{EXPECTED}")} == {case.expected.name for case in CASES}
    assert len({(case.kind, case.name) for case in CASES}) == len(CASES)
