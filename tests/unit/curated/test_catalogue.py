"""The catalogue that comes with Wardian: whole, immutable, found by name, hash and habit."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from wardian.curated.catalogue import PACKAGED, Catalogue
from wardian.curated.entry import DamagedCatalogue, Entry
from wardian.definition.platform import get_platform
from wardian.errors import WardianError
from wardian.lock.rebuild import can_be_rebuilt

GOLDEN = Path(__file__).parents[2] / "golden/curated.json"
ENTRIES = Catalogue().entries
AMD64 = get_platform("linux/amd64")
by_reference = pytest.mark.parametrize("entry", ENTRIES, ids=[entry.reference for entry in ENTRIES])


@by_reference
def test_an_entry_is_whole(entry: Entry) -> None:
    environment = entry.environment()
    assert entry.files_digest() == entry.content
    assert environment.python.manager != "user"
    assert environment.description == entry.description
    compile(entry.smoke.read_text(), str(entry.smoke), "exec")
    for platform in entry.locks:
        lock = entry.lock(platform)
        assert lock is not None
        assert lock.provenance.definition_hash == entry.definition_hash
        built = [artifact for artifact in lock.artifacts if artifact.is_in_no_index]
        assert all(can_be_rebuilt(artifact) for artifact in built), "somebody would have to have what was built"
        assert {artifact.name for artifact in built} <= lock.provenance.build_requirements.keys()
        assert lock.python is not None
        assert lock.python.source != "host"
        assert "://" not in lock.to_json(), "a lock names no host"


@by_reference
def test_a_name_says_frameworks_python_and_accelerator(entry: Entry) -> None:
    assert re.fullmatch(r"Wardian-[a-z0-9.-]+-py3\d+-(cpu|cuda\d+\.\d+)", entry.name)
    assert entry.name.endswith(f"-py{entry.python.replace('.', '')}-{entry.accelerator}")
    asked = [word for word in entry.name.split("-") if re.fullmatch(r"\d[\d.]*", word)]
    assert all(any(f"{version}.".startswith(f"{number}.") for version in entry.frameworks.values()) for number in asked), (
        entry.frameworks
    )


def test_what_was_published_never_changes() -> None:
    """A new version is added to the golden file by WARDIAN_UPDATE_GOLDEN=1; nothing that is in it may differ."""
    known = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    found = {entry.reference: {"content": entry.content, "published": entry.published} for entry in ENTRIES}
    if os.environ.get("WARDIAN_UPDATE_GOLDEN"):
        GOLDEN.write_text(json.dumps(found | known, indent=1, sort_keys=True) + "\n")
        return
    assert found == known


def test_amd64_and_arm64_have_the_same_versions() -> None:
    for entry in ENTRIES:
        locks = [lock for platform in ("linux/amd64", "linux/arm64") if (lock := entry.lock(platform)) is not None]
        versions = [{artifact.name: artifact.version for artifact in lock.artifacts} for lock in locks]
        assert all(one == versions[0] for one in versions), entry.reference


@pytest.mark.parametrize(
    ("name", "framework"),
    [
        ("AzureML-sklearn-1.5-ubuntu22.04-py39-cpu", "sklearn"),
        ("AzureML-sklearn-0.24-ubuntu18.04-py37-cpu:44", "sklearn"),
        ("azureml:AzureML-sklearn-1.0-ubuntu20.04-py38-cpu@latest", "sklearn"),
        ("AzureML-lightgbm-3.3", "lightgbm"),
        ("AzureML-xgboost-0.9-ubuntu18.04-py37-cpu-inference", "xgboost"),
        ("AzureML-acpt-pytorch-2.2-cuda12.1", "pytorch-2.14-py312-cuda"),
        ("AzureML-pytorch-1.10-ubuntu18.04-py38-cuda11-gpu", "pytorch-2.14-py312-cuda"),
        ("AzureML-pytorch-1.9-ubuntu18.04-py37-cpu-inference", "pytorch-2.14-py312-cpu"),
        ("AzureML-ACPT-pytorch-1.13-py38-cuda11.7-gpu", "pytorch-2.14-py312-cuda"),
        ("AzureML-minimal-ubuntu22.04-py39-cpu-inference", "minimal"),
        ("AzureML-mlflow-ubuntu20.04-py38-cpu-inference", "mlflow"),
        ("Wardian-sklearn", "sklearn"),
        ("wardian-pytorch-gpu", "pytorch-2.14-py312-cuda"),
        ("Wardian-transformers", "transformers"),
    ],
)
def test_a_name_people_are_used_to_finds_the_nearest(name: str, framework: str) -> None:
    found = Catalogue().nearest(name)
    assert found is not None
    assert framework in found.name


@pytest.mark.parametrize(
    "name", ["AzureML-tensorflow-2.16-cuda12", "AzureML-Triton", "AzureML-", "", "Wardian-", "Wardian-x" * 60]
)
def test_what_nothing_comes_close_to_has_no_nearest(name: str) -> None:
    assert Catalogue().nearest(name) is None


def test_a_hash_finds_the_newest_lock() -> None:
    entry = next(entry for entry in ENTRIES if entry.locks)
    found = Catalogue().find_lock(entry.definition_hash, AMD64)
    assert found is not None
    assert found[0].digest == entry.locks["linux/amd64"]
    assert Catalogue().find_lock(entry.definition_hash, get_platform("darwin/arm64")) is None
    assert Catalogue().find_lock(entry.content, AMD64) is None


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    root = tmp_path / "entries"
    shutil.copytree(PACKAGED, root)
    return root


def test_deprecated_ones_hide_and_are_found(copied: Path) -> None:
    index = json.loads((copied / "catalogue.json").read_text())
    entry = ENTRIES[0]
    index["environments"][entry.name][entry.version] |= {"deprecated": "2027-01-01", "successor": "Wardian-next"}
    (copied / "catalogue.json").write_text(json.dumps(index))
    catalogue = Catalogue(copied)
    assert entry.name not in [one.name for one in catalogue.current()]
    assert entry.name in [one.name for one in catalogue.current(with_deprecated=True)]
    assert catalogue.find(entry.name) == replace(
        entry, deprecated="2027-01-01", successor="Wardian-next", place=copied / entry.name / "1"
    )


def test_versions_count_as_numbers(copied: Path) -> None:
    index = json.loads((copied / "catalogue.json").read_text())
    entry = ENTRIES[0]
    for version in ("9", "10"):
        index["environments"][entry.name][version] = index["environments"][entry.name]["1"]
    (copied / "catalogue.json").write_text(json.dumps(index))
    assert [one.version for one in Catalogue(copied).versions(entry.name)] == ["10", "9", "1"]


@pytest.mark.parametrize("text", ["", "[", "[]", "{}", '{"environments": []}', '{"schema": 1, "environments": {"a": 1}}',
                                  '{"schema": 1, "environments": {"a": {"1": {}}}}', '{"schema": 1, "environments": {"a": {"1": 2}}}', "[" * 100_000])  # fmt: skip
def test_an_index_that_is_none_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "catalogue.json").write_text(text)
    with pytest.raises(WardianError) as caught:
        _ = Catalogue(tmp_path).entries
    assert caught.value.hint


def test_a_missing_or_changed_file_is_told(copied: Path) -> None:
    entry = next(one for one in Catalogue(copied).entries if one.locks)
    (entry.place / "environment.yml").write_text(entry.source().replace("name:", "description: x\nname:", 1))
    with pytest.raises(WardianError):
        entry.environment()
    (entry.place / "linux-amd64.lock.json").unlink()
    with pytest.raises(DamagedCatalogue, match="cannot be read"):
        entry.lock("linux/amd64")


@pytest.mark.parametrize(
    ("name", "version", "values"),
    [
        ("../../etc", "1", {}), ("/etc", "1", {}), ("sklearn", "1", {}), ("wardian-lower", "1", {}), ("Wardian-\x1b[31m", "1", {}),
        ("Wardian-\ud800", "1", {}), ("Wardian-a", "../x", {}), ("Wardian-a", "latest", {}), ("Wardian-a", "9" * 5000, {}), ("Wardian-a", "", {}),
        ("Wardian-a", "1", {"published": [1, 2]}), ("Wardian-a", "1", {"published": "soon"}), ("Wardian-a", "1", {"deprecated": "soon"}),
        ("Wardian-a", "1", {"frameworks": {"a": {"b": 1}}}), ("Wardian-a", "1", {"description": 3}), ("Wardian-a", "1", {"python": 3.12}),
    ],
)  # fmt: skip
def test_an_entry_that_nobody_could_name_or_read_is_told(
    copied: Path, name: str, version: str, values: dict[str, object]
) -> None:
    index = json.loads((copied / "catalogue.json").read_text())
    good = index["environments"][ENTRIES[0].name]["1"]
    index["environments"] = {name: {version: good | values}}
    (copied / "catalogue.json").write_text(json.dumps(index))
    with pytest.raises(DamagedCatalogue, match=r"in the catalogue is no entry") as caught:
        _ = Catalogue(copied).entries
    assert len(caught.value.message) < 400
    assert caught.value.hint


@pytest.mark.parametrize("content", [b"\xff\xfe", b"{", b"{}", b"[]", b"[" * 200_000])
def test_a_file_that_is_none_names_itself(copied: Path, content: bytes) -> None:
    entry = next(one for one in Catalogue(copied).entries if one.locks)
    for name, read in (("environment.yml", entry.environment), ("linux-amd64.lock.json", lambda: entry.lock("linux/amd64"))):
        (entry.place / name).write_bytes(content)
        with pytest.raises(DamagedCatalogue, match=re.escape(name)) as caught:
            read()
        assert caught.value.hint
