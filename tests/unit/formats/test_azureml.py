"""Azure ML's environments: what is read, what is lost and told, and that writing and reading again changes nothing."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.corpus import leaves, save

from wardian import formats
from wardian.definition.document import to_document
from wardian.errors import InvalidDefinition, InvalidInput
from wardian.formats.azureml_writing import CONDA_FILE, JSON_FILE

if TYPE_CHECKING:
    from wardian.formats.read_definition import ReadDefinition

DATA = Path(__file__).parents[2] / "data" / "azureml"
GOLDEN = Path(__file__).parents[2] / "golden" / "azureml"
CASES = sorted(path.name for path in DATA.iterdir())
UPDATE = os.environ.get("WARDIAN_UPDATE_GOLDEN") == "1"


def read_case(name: str, monkeypatch: pytest.MonkeyPatch) -> ReadDefinition:
    monkeypatch.chdir(DATA / name)
    if Path(JSON_FILE).exists():
        return formats.read(".")
    return formats.read("saved.json" if Path("saved.json").exists() else "environment.yml")


@pytest.mark.parametrize("name", CASES)
def test_an_environment_is_read_with_its_ledger(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Changed on purpose? WARDIAN_UPDATE_GOLDEN=1 writes them anew."""
    found = read_case(name, monkeypatch)
    document = {
        "definition": to_document(found.environment),
        "losses": [loss.as_document() for loss in found.losses],
        "warnings": [str(fault) for fault in found.warnings],
    }
    place = GOLDEN / f"{name}.json"
    if UPDATE:
        place.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    assert document == json.loads(place.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", CASES)
def test_the_text_that_is_kept_reads_back_without_a_loss(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = read_case(name, monkeypatch)
    again = formats.read_text(found.text, found.format, local=found.environment.local_sources)
    assert again.environment == found.environment
    assert (again.losses, again.warnings) == ((), ())
    for loss in found.losses:
        assert f"#   {loss}" in found.text


@pytest.mark.parametrize("to", ["azureml-v2", "azureml-v1"])
@pytest.mark.parametrize("name", CASES)
def test_what_is_written_reads_back_equal_or_the_ledger_says_so(
    name: str, to: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = read_case(name, monkeypatch)
    if to == "azureml-v1" and found.environment.docker.build_context is not None:
        with pytest.raises(InvalidInput, match="build context in Azure's storage"):
            formats.export(found.environment, to)
        return
    written = formats.export(found.environment, to)
    again = formats.read(save(written, tmp_path / "1", found.sources))
    before, after = leaves(to_document(found.environment)), leaves(to_document(again.environment))
    told = [loss.field for loss in written.losses]
    for field in before.keys() | after.keys():
        if before.get(field) != after.get(field):
            moved = "docker.dockerfile" in told and field.startswith("docker.build_context.")
            assert moved or any(field.startswith(path) for path in told), field
    twice = formats.export(again.environment, to)
    third = formats.read(save(twice, tmp_path / "2", again.sources))
    assert third.environment == again.environment
    assert (again.losses, twice.text) == ((), formats.export(third.environment, to).text)


@pytest.mark.parametrize("name", [name for name in CASES if name != "v2-build-here"])
def test_import_export_import_in_its_own_format_is_a_fixed_point(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = read_case(name, monkeypatch)
    written = formats.export(found.environment, f"azureml-{name[:2]}")
    again = formats.read(save(written, tmp_path / "1", found.sources))
    assert again.environment == found.environment
    if written.is_directory and not found.environment.python.constraints:
        alone = tmp_path / "alone.json"
        alone.write_text(written.text, encoding="utf-8")
        assert formats.read(alone).environment == found.environment


def test_no_secret_of_a_file_is_anywhere_in_what_was_read(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = (
        "pa55-word",
        "fern",
        "AccountKey=",
        "ghp_abc",
        "tk-5f0c7e127a",
        "abcdefghijklmnopqrstuvwxyz",
        "sig=",
        "0123456789abcdef",
    )
    for name in CASES:
        found = read_case(name, monkeypatch)
        assert not [secret for secret in secrets if secret in f"{found.text}{found.environment}{found.losses}{found.warnings}"]
        monkeypatch.undo()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("image: a\nbuild: {path: .}\n", [(2, "build.path", "no_such_path")]),
        ("name: a b\nimage: a\n", [(1, "name", "bad_name")]),
        ("name: a\ndescription: x\n", [(1, "", "missing_key")]),
        ("conda_file: {dependencies: [python]}\n", [(1, "", "missing_key")]),
        ("image: a\nconda_file: gone.yml\n", [(2, "conda_file", "no_such_file")]),
        ("image: a\nconda_file: https://example.org/conda.yml\n", [(2, "conda_file", "outside_include")]),
        ("image: a\nconda_file: /opt/conda.yml\n", [(2, "conda_file", "absolute_path")]),
        ("image: a\nconda_file: [a]\n", [(2, "conda_file", "wrong_type")]),
        ("image: a\nconda_file: |\n  just text\n", [(2, "conda_file", "wrong_type")]),
        ("image: a\nconda_file:\n  dependencies:\n  - 'numpy ==='\n", [(4, "conda_file.dependencies[0]", "bad_match_spec")]),
        ("image: a\nconda_file: |\n  dependencies:\n  - 'numpy ==='\n", [(4, "conda_file.dependencies[0]", "bad_match_spec")]),
        ("image: a\nconda_file:\n  deps: []\nimaje: b\n", [(3, "conda_file.deps", "unknown_key"), (4, "imaje", "unknown_key")]),
        ("image: a b\n", [(1, "image", "bad_image")]),
        ("image: azureml:x:1\n", [(1, "image", "azureml_reference")]),
        ("image: a\nos_type: Windows\n", [(2, "os_type", "not_linux")]),
        ("build: {path: 'https://github.com/a/b.git#main'}\n", [(1, "build.path", "remote_build_context")]),
        ("build: {dockerfile_path: Dockerfile}\n", [(1, "build", "missing_key")]),
        ("build: {path: nowhere, dockerfile: x}\n", [(1, "build.dockerfile", "unknown_key"), (1, "build.path", "no_such_path")]),
        ("image: a\ndependencies: [numpy]\n", [(2, "dependencies", "unknown_key")]),
        ("image: a\ntags: [a]\n", [(2, "tags", "wrong_type")]),
        (f"build: {{path: {'x' * 500}}}\n", [(1, "build.path", "unreadable_file")]),
        ("- image\n", [(1, "", "wrong_type")]),
    ],
)  # fmt: skip
def test_every_fault_of_a_v2_file_has_its_place(text: str, expected: list[tuple[int, str, str]], tmp_path: Path) -> None:
    file = tmp_path / "azureml.yml"
    file.write_text(text)
    with pytest.raises(InvalidDefinition) as caught:
        formats.read(file, format_name="azureml-v2")
    faults = [(fault.line, fault.field, fault.code) for fault in caught.value.faults]
    assert faults == expected
    assert all(fault.file == str(file) for fault in caught.value.faults)


def test_a_fault_of_the_conda_file_stands_in_that_file(tmp_path: Path) -> None:
    (tmp_path / "azureml.yml").write_text("name: a b\nimage: a\nconda_file: conda.yml\n")
    (tmp_path / "conda.yml").write_text("dependencies:\n- python=3.11\n- pip:\n  - numpy >=\n")
    with pytest.raises(InvalidDefinition) as caught:
        formats.read(tmp_path / "azureml.yml")
    places = [(Path(fault.file).name, fault.line) for fault in caught.value.faults]
    assert sorted(places) == [("azureml.yml", 1), ("conda.yml", 4)]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"name": "a b"}, [("name", "bad_name")]),
        ({"docker": {"baseDockerfile": "./Dockerfile"}}, [("docker.baseDockerfile", "dockerfile_is_a_path")]),
        ({"docker": {"buildContext": {"locationType": "git", "location": "https://git.example.org/a?sig=x"}}}, [("docker.buildContext", "remote_build_context")]),
        ({"docker": {"baseImage": "a", "platform": {"os": "Windows"}}}, [("docker.platform.os", "not_linux")]),
        ({"docker": {"baseImage": "a", "baseDockerfile": "FROM b\n"}}, [("docker.baseDockerfile", "too_many_docker_options")]),
        ({"python": {"userManagedDependencies": "perhaps"}}, [("python.userManagedDependencies", "wrong_type")]),
        ({"python": {"condaDependencies": {"dependencies": ["a ==="]}}}, [("python.condaDependencies.dependencies[0]", "bad_match_spec")]),
        ({"python": {"condaDependencies": "conda.yml"}}, [("python.condaDependencies", "wrong_type")]),
        ({"python": {"condaDependenciesFile": "gone.yml"}}, [("python", "no_such_file")]),
        ({"spark": {"packages": ["a:b:1"]}}, [("spark.packages[0]", "wrong_type")]),
        ({"spark": {"packages": [{"group": "a"}]}}, [("spark.packages[0]", "bad_spark_package")]),
        ({"python": {"condaDependenciesFile": "/etc/conda.yml"}}, [("python", "absolute_path")]),
        ({"docker": {"baseDockerfile": "x" * 5000}}, [("docker.baseDockerfile", "dockerfile_is_a_path")]),
        ({"docker": {"baseDockerfile": "y" * 500}}, [("docker.baseDockerfile", "dockerfile_is_a_path")]),
        ({"environmentVariables": {"A-B": "1"}}, [("environmentVariables.A-B", "bad_variable")]),
    ],
)  # fmt: skip
def test_every_fault_of_a_v1_file_has_its_place(
    changes: dict[str, Any], expected: list[tuple[str, str]], tmp_path: Path
) -> None:
    file = tmp_path / "azureml_environment.json"
    file.write_text(json.dumps({"name": "a", **changes}, indent=1))
    with pytest.raises(InvalidDefinition) as caught:
        formats.read(file)
    assert [(fault.field, fault.code) for fault in caught.value.faults] == expected
    assert all(fault.line for fault in caught.value.faults)
    assert "sig=" not in str(caught.value)


@pytest.mark.parametrize(
    ("image", "expected", "fields"),
    [
        ("team/base:1", "contoso.azurecr.io/team/base:1", []),
        ("contoso.azurecr.io/team/base:1", "contoso.azurecr.io/team/base:1", []),
        ("mcr.microsoft.com/azureml/x:1", "mcr.microsoft.com/azureml/x:1", ["docker.baseImageRegistry.address"]),
        ("localhost/x", "localhost/x", ["docker.baseImageRegistry.address"]),
    ],
)
def test_the_address_of_a_registry_stands_before_an_image_that_names_none(
    image: str, expected: str, fields: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "azureml_environment.json"
    docker = {"baseImage": image, "baseImageRegistry": {"address": "https://contoso.azurecr.io/"}}
    file.write_text(json.dumps({"python": {"userManagedDependencies": True}, "docker": docker}))
    found = formats.read(file)
    assert found.environment.docker.base_image == expected
    assert [loss.field for loss in found.losses] == fields


def test_a_fault_of_a_dockerfile_has_its_place(tmp_path: Path) -> None:
    file = tmp_path / "azureml_environment.json"
    file.write_text('{"docker": {"baseImage": null},\n "python": {"userManagedDependencies": true}}')
    (tmp_path / "BaseDockerfile").write_text("FROM a\nRUM b\n")
    with pytest.raises(InvalidDefinition) as caught:
        formats.read(file)
    assert [(Path(fault.file).name, fault.line) for fault in caught.value.faults] == [("BaseDockerfile", 2)]
    file.write_text('{"name": "a",\n "docker": {"baseDockerfile": "FROM a\\nRUM b"}}')
    (tmp_path / "BaseDockerfile").unlink()
    with pytest.raises(InvalidDefinition) as caught:
        formats.read(file)
    assert [(fault.line, fault.field) for fault in caught.value.faults] == [(2, "docker.baseDockerfile:2")]


def test_what_a_loss_shows_holds_no_secret(tmp_path: Path) -> None:
    file = tmp_path / "azureml.yml"
    file.write_text("image: a\nproperties: {api_token: fern, plain: x}\n")
    (loss,) = formats.read(file).losses
    assert loss.value == '{"api_token": "***", "plain": "x"}'
    file = tmp_path / "azureml_environment.json"
    file.write_text(
        '{"docker": {"baseImage": "a", "arguments": ["-e", "DB_PASSWORD=fern"]}, "python": {"userManagedDependencies": true}}'
    )
    assert [loss.value for loss in formats.read(file).losses] == ['["-e", "***"]']


def test_an_empty_dockerfile_is_none(tmp_path: Path) -> None:
    file = tmp_path / "azureml_environment.json"
    file.write_text('{"docker": {"baseImage": "a", "baseDockerfile": " "}, "python": {"userManagedDependencies": true}}')
    assert formats.read(file).environment.docker.dockerfile is None


def test_the_same_bytes_mean_what_lies_beside_them(tmp_path: Path) -> None:
    (tmp_path / "conda_dependencies.yml").write_text("channels: [c]\ndependencies: [python]\n")
    for name in ("azureml_environment.json", "other.json"):
        (tmp_path / name).write_text('{"name": "a", "docker": {"baseImage": "b"}}')
    both = [formats.read(tmp_path / name) for name in ("azureml_environment.json", "other.json")]
    assert [found.environment.python.manager for found in both] == ["conda", "user"]
    assert not any(found.self_contained for found in both)


def test_an_environment_without_a_name_is_told_that_azure_asks_for_one() -> None:
    environment = formats.read_text("docker: {base_image: a}\npython: {manager: user}\n", "wardian").environment
    assert [(loss.kind, loss.field) for loss in formats.export(environment, "azureml-v2").losses] == [("changed", "name")]


def test_a_surrogate_pair_of_json_is_one_character(tmp_path: Path) -> None:
    file = tmp_path / "azureml_environment.json"
    file.write_text('{"docker": {"baseDockerfile": "FROM a\\n# \\ud83d\\ude00"}}')
    assert formats.read(file).environment.docker.dockerfile == "FROM a\n# 😀"


def test_a_file_is_written_alone_only_without_a_loss() -> None:
    environment = formats.read_text("name: a\npython: {manager: uv, pip: [numpy]}\n", "wardian").environment
    for to in ("azureml-v2", "azureml-v1"):
        with pytest.raises(InvalidInput, match=r"python\.manager") as caught:
            formats.write(environment, to)
        assert caught.value.stable_code == "not_expressible"
        with pytest.raises(InvalidInput) as caught:
            formats.add("", to, ["numpy"], manager="conda")
        assert caught.value.stable_code == "format_not_edited"
    with pytest.raises(InvalidInput):
        formats.export(environment, "conda")


def test_a_uv_environment_is_written_as_conda_knows_it() -> None:
    text = "name: a\npython: {version: '3.11', pip: [numpy], constraints: [scipy<2]}\naccelerators: {cuda: '12.4'}\n"
    written = formats.export(formats.read_text(text, "wardian").environment, "azureml-v1")
    assert json.loads(written.text)["python"]["condaDependencies"]["dependencies"] == ["python=3.11", "pip", {"pip": ["numpy"]}]
    assert "# scipy<2" in (written.files or {})[CONDA_FILE]
    assert [(loss.kind, loss.field) for loss in written.losses] == [
        ("changed", "python.constraints"), ("changed", "python.manager"), ("added", "python.channels"), ("added", "python.conda"), ("dropped", "accelerators"),
        ("added", "docker.base_image"), ("dropped", "python.constraints"),
    ]  # fmt: skip


def test_a_machines_own_python_is_nothing_that_v2_can_say() -> None:
    environment = formats.read_text("name: a\npython: {interpreter: /usr/bin/python3}\n", "wardian").environment
    with pytest.raises(InvalidInput, match="own Python"):
        formats.export(environment, "azureml-v2")
    document = json.loads(formats.export(environment, "azureml-v1").text)
    assert document["python"]["interpreterPath"] == "/usr/bin/python3"
    assert document["docker"]["baseImage"] is None


def test_secrets_in_image_description_and_tags_are_stripped_and_told(tmp_path: Path) -> None:
    path = tmp_path / "azureml.yml"
    path.write_text(
        f"image: https://puller:pa55@registry.example.org/team/base:1\ndescription: the key is ghp_{'a' * 36}\n"
        f"tags:\n  team: risk\n  password: pa55\n  of: ghp_{'a' * 36}\n"
    )
    found = formats.read(path)
    assert found.environment.docker.base_image == "https://registry.example.org/team/base:1"
    assert (found.environment.description, dict(found.environment.tags)) == ("", {"team": "risk"})
    told = [(loss.kind, loss.line, loss.field) for loss in found.losses]
    assert told == [
        ("stripped", 1, "image"),
        ("stripped", 2, "description"),
        ("stripped", 5, "tags.password"),
        ("stripped", 6, "tags.of"),
    ]
    assert "pa55" not in f"{found}"
    assert "ghp_" not in f"{found}"


def test_a_login_in_the_address_of_a_registry_or_before_a_v1_image_is_stripped(tmp_path: Path) -> None:
    for docker, line in (
        (
            '"baseImage": "a/b:1", "baseImageRegistry": {"address": "https://puller:pa55@registry.example.org"}',
            "baseImageRegistry.address",
        ),
        ('"baseImage": "puller:pa55@registry.example.org/a/b:1"', "baseImage"),
    ):
        path = tmp_path / JSON_FILE
        path.write_text(f'{{"name": "n", "python": {{"userManagedDependencies": true}}, "docker": {{{docker}}}}}')
        found = formats.read(tmp_path)
        assert found.environment.docker.base_image == "registry.example.org/a/b:1"
        assert [(loss.kind, loss.field) for loss in found.losses] == [("stripped", f"docker.{line}")]
        assert "pa55" not in f"{found}"


def test_the_error_of_a_reference_to_azure_shows_no_login(tmp_path: Path) -> None:
    path = tmp_path / "azureml.yml"
    path.write_text("image: azureml:https://puller:pa55@registry.example.org/a\n")
    with pytest.raises(InvalidDefinition, match=r"azureml:https://registry\.example\.org/a") as caught:
        formats.read(path)
    assert "pa55" not in str(caught.value)
