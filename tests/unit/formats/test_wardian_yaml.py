"""Wardian's own YAML: every section, the manager that follows, every fault in its place."""

from __future__ import annotations

from textwrap import dedent
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import yaml

from wardian import formats
from wardian.definition.docker_section import BuildContext, DockerSection
from wardian.definition.environment import Environment, LocalSource, PythonSection, SparkSection
from wardian.definition.identity import definition_hash
from wardian.digest import Digest
from wardian.errors import InvalidDefinition
from wardian.formats.schema import SCHEMA_URL, load_schema, schema_path
from wardian.formats.wardian_yaml import KEYS

if TYPE_CHECKING:
    from pathlib import Path

    from wardian.formats.read_definition import ReadDefinition

SCHEMA = jsonschema.Draft7Validator(load_schema())
DIGEST = Digest.of(b"tree")


def read(text: str, **options: Any) -> ReadDefinition:
    return formats.read_text(dedent(text), "wardian", file="wardian.yml", **options)


EVERYTHING = """\
# yaml-language-server: $schema=x
name: churn
description: |
  Training of the churn model.
  Second line.
tags: {team: growth, year: 2024}
python:
  manager: conda
  channels: [conda-forge, nodefaults]
  conda:
    - Python=3.11   # kept
    - cuda-version 12.4
  pip: ["Scikit_Learn >= 1.4", ./pkg]
  pip_options: [-i https://index.example.org/simple]
  constraints: [numpy < 2]
  link_scripts: run
docker:
  base_image: ubuntu:24.04
  platform: linux/amd64
  credentials: acr
spark:
  packages: [org.apache.spark:spark-avro_2.13:4.0.0]
  repositories: [https://maven.example.org/repo]
accelerators: {cuda: 12.4}
variables: {OMP_NUM_THREADS: 2, FLAG: on}
"""


def test_every_section_is_read() -> None:
    found = read(EVERYTHING, local=(LocalSource("./pkg", DIGEST),))
    assert found.environment == Environment(
        name="churn",
        description="Training of the churn model.\nSecond line.\n",
        tags={"team": "growth", "year": "2024"},
        python=PythonSection(
            manager="conda",
            channels=("conda-forge", "nodefaults"),
            conda=("python=3.11", "cuda-version 12.4"),
            pip=("scikit-learn>=1.4", "./pkg"),
            pip_options=("--index-url https://index.example.org/simple",),
            constraints=("numpy<2",),
            link_scripts="run",
            local=(LocalSource("./pkg", DIGEST),),
        ),
        docker=DockerSection(base_image="ubuntu:24.04", platform="linux/amd64", credentials="acr"),
        spark=SparkSection(("org.apache.spark:spark-avro_2.13:4.0.0",), ("https://maven.example.org/repo",)),
        accelerators={"cuda": "12.4"},
        variables={"OMP_NUM_THREADS": "2", "FLAG": "on"},
    )
    assert found.text == EVERYTHING
    assert list(SCHEMA.iter_errors(yaml.safe_load(EVERYTHING))) == []


@pytest.mark.parametrize(
    ("section", "manager"),
    [
        ("{}", "conda"),
        ("{conda: [numpy]}", "conda"),
        ("{channels: [conda-forge]}", "conda"),
        ("{conda: [numpy], pip: [six]}", "conda"),
        ("{pip: [numpy]}", "uv"),
        ("{version: 3.11}", "uv"),
        ("{version: 3.11, pip: [numpy]}", "uv"),
        ("{pip_options: [--pre]}", "uv"),
        ("{interpreter: python3}", "user"),
        ("{interpreter: python3, pip: [numpy]}", "user"),
        ("{manager: uv}", "uv"),
        ("{manager: conda, pip: [numpy]}", "conda"),
        ("{manager: user}", "user"),
    ],
)
def test_the_manager_follows_from_the_definition_alone(section: str, manager: str) -> None:
    assert read(f"python: {section}").environment.python.manager == manager


@pytest.mark.parametrize(
    ("written", "kept"), [("3.10", "==3.10.*"), ("'3.11.7'", "==3.11.7"), ("'>=3.10, <3.13'", ">=3.10,<3.13")]
)
def test_a_python_version_is_text(written: str, kept: str) -> None:
    assert read(f"python: {{version: {written}}}").environment.python.requires_python == kept


def test_a_docker_section_alone_is_an_environment() -> None:
    assert read("docker: {base_image: ubuntu}").environment == Environment(docker=DockerSection(base_image="ubuntu"))


def test_a_dockerfile_is_its_text() -> None:
    found = read("docker:\n  dockerfile: |\n    FROM ubuntu\n    RUN true\n")
    assert found.environment.docker.dockerfile == "FROM ubuntu\nRUN true\n"
    assert found.warnings == ()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker" / "Dockerfile").write_text("FROM scratch\n")
    (tmp_path / "docker" / "Dockerfile.gpu").write_text("FROM gpu\n")
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "pyproject.toml").write_text("[project]\nname='pkg'\nversion='1'\n")
    (tmp_path / "wardian.yml").write_text(
        "python: {pip: [./pkg]}\ndocker: {build_context: {path: docker, dockerfile: Dockerfile.gpu}}\n"
    )
    return tmp_path


def test_the_faults_of_a_contexts_dockerfile_have_its_own_lines(place: Path) -> None:
    (place / "docker/Dockerfile.gpu").write_text("FROM gpu\nRUM x\n\nCOPY\n")
    with pytest.raises(InvalidDefinition) as caught:
        formats.read(place / "wardian.yml")
    assert [(fault.code, fault.file, fault.line) for fault in caught.value.faults] == [
        ("unknown_instruction", "docker/Dockerfile.gpu", 2), ("missing_argument", "docker/Dockerfile.gpu", 4)
    ]  # fmt: skip


def test_build_contexts_and_local_code_enter_by_digest(place: Path) -> None:
    found = formats.read(place / "wardian.yml")
    context = found.environment.docker.build_context
    assert context is not None
    assert (context.path, context.dockerfile) == ("./docker", "Dockerfile.gpu")
    assert {found.sources[source.digest] for source in found.environment.local_sources} == {place / "pkg", place / "docker"}
    assert not found.self_contained
    again = formats.read_text(found.text, "wardian", local=found.environment.local_sources)
    assert again.environment == found.environment
    (place / "docker" / "new").write_text("x")
    assert definition_hash(formats.read(place / "wardian.yml").environment) != definition_hash(found.environment)


def test_what_is_written_begins_with_the_schema_and_reads_back() -> None:
    env = read(EVERYTHING, local=(LocalSource("./pkg", DIGEST),)).environment
    text = formats.write(env, "wardian")
    assert text.splitlines()[0] == f"# yaml-language-server: $schema={SCHEMA_URL}"
    assert read(text, local=env.local_sources).environment == env


@pytest.mark.parametrize(("link", "target", "dockerfile"), [
    ("Dockerfile", "../../secret", "Dockerfile"), ("sub", "../..", "sub/secret"), (".gitignore", "../../ignored", "Dockerfile"),
])  # fmt: skip
def test_a_dockerfile_outside_its_context_is_not_read(tmp_path: Path, link: str, target: str, dockerfile: str) -> None:
    (tmp_path / "secret").write_text("password: swordfish\n")
    (tmp_path / "ignored").write_text("Dockerfile\n")
    context = tmp_path / "project" / "docker"
    context.mkdir(parents=True)
    (context / link).symlink_to(target)
    if link == ".gitignore":
        (context / "Dockerfile").symlink_to("../../secret")
    file = tmp_path / "project" / "wardian.yml"
    file.write_text(f"docker: {{build_context: {{path: docker, dockerfile: {dockerfile}}}}}\n")
    with pytest.raises(InvalidDefinition) as caught:
        formats.read(file)
    assert [fault.code for fault in caught.value.faults] == ["link_leaves_tree"]
    assert "swordfish" not in str(caught.value)


def test_a_build_context_needs_no_tree_to_be_read_back() -> None:
    env = Environment(docker=DockerSection(build_context=BuildContext(DIGEST, "./a", "sub/Dockerfile")))
    assert read(formats.write(env, "wardian"), local=env.local_sources).environment == env


Y = "python:\n"
WRONG: list[tuple[str, list[tuple[str, int | None, str]]]] = [
    ("", [("empty_file", 1, "")]),
    ("numpy\n", [("wrong_type", 1, "")]),
    ("- numpy\n", [("wrong_type", 1, "")]),
    ("python: {pip: [a]\n", [("yaml_syntax", 2, "")]),
    ("python: {}\npython: {}\n", [("duplicate_key", 2, "python")]),
    ("dependencies: [numpy]\n", [("wrong_format", 1, "")]),
    ("image: x\n", [("format_not_read", 1, "")]),
    ("services: {}\n", [("format_not_read", 1, "")]),
    ("pyhton: {}\n", [("unknown_key", 1, "pyhton")]),
    ("name: x\nversion: 3\n", [("unknown_key", 2, "version")]),
    (Y + "  packages: [a]\n", [("unknown_key", 2, "python.packages")]),
    (Y + "  pip: [a]\n  requires_python: '3.11'\n", [("unknown_key", 3, "python.requires_python")]),
    ("docker:\n  image: x\n", [("unknown_key", 2, "docker.image")]),
    ("docker:\n  build_context:\n    context: x\n", [("no_such_path", 2, "docker.build_context"), ("unknown_key", 3, "docker.build_context.context")]),
    ("spark: {jars: [x]}\n", [("unknown_key", 1, "spark.jars")]),
    ("python: [numpy]\n", [("wrong_type", 1, "python")]),
    ("python: numpy\n", [("wrong_type", 1, "python")]),
    ("docker: ubuntu\n", [("wrong_type", 1, "docker")]),
    ("docker:\n  build_context: ./x\n", [("wrong_type", 2, "docker.build_context")]),
    ("name: [a]\n", [("wrong_type", 1, "name")]),
    ("description: {a: b}\n", [("wrong_type", 1, "description")]),
    ("tags: [a]\n", [("wrong_type", 1, "tags")]),
    ("tags:\n  a:\n", [("wrong_type", 2, "tags.a")]),
    ("tags:\n  a: [b]\n", [("wrong_type", 2, "tags.a")]),
    (Y + "  pip: numpy\n", [("wrong_type", 2, "python.pip")]),
    (Y + "  pip:\n  - a\n  - {b: c}\n", [("wrong_type", 4, "python.pip[1]")]),
    (Y + "  pip:\n  - a\n  -\n", [("empty_item", 4, "python.pip[1]")]),
    (Y + "  version: [3, 11]\n", [("wrong_type", 2, "python.version")]),
    ("name: a b\n", [("bad_name", 1, "name")]),
    (Y + "  manager: pip\n", [("unknown_manager", 2, "python.manager")]),
    (Y + "  manager: uv\n  source: system\n", [("unknown_source", 3, "python.source")]),
    (Y + "  manager: uv\n  conda: [numpy]\n", [("manager_mismatch", 2, "python.manager")]),
    (Y + "  conda: [numpy]\n  version: 3.11\n", [("manager_mismatch", 3, "python.version")]),
    (Y + "  manager: uv\n  interpreter: python3\n", [("manager_mismatch", 3, "python.interpreter")]),
    (Y + "  version: three\n", [("bad_python_version", 2, "python.version")]),
    (Y + "  index_strategy: best\n", [("unknown_index_strategy", 2, "python.index_strategy")]),
    (Y + "  link_scripts: maybe\n", [("unknown_link_scripts", 2, "python.link_scripts")]),
    (Y + "  locked_input: abc\n", [("invalid_digest", 2, "python.locked_input")]),
    (Y + "  conda:\n    - numpy\n    - '>=1'\n", [("bad_match_spec", 4, "python.conda[1]")]),
    (Y + "  channels:\n    - a b\n", [("bad_channel", 3, "python.channels[0]")]),
    (Y + "  pip:\n    - numpy=1\n", [("bad_requirement", 3, "python.pip[0]")]),
    (Y + "  constraints:\n    - =1\n", [("bad_requirement", 3, "python.constraints[0]")]),
    (Y + "  pip_options:\n    - --nope\n", [("unknown_pip_option", 3, "python.pip_options[0]")]),
    (Y + "  pip:\n    - ./pkg\n", [("no_such_path", 3, "python.pip[0]")]),
    (Y + "  pip:\n    - /abs\n", [("absolute_path", 3, "python.pip[0]")]),
    ("docker:\n  base_image: a\n  dockerfile: FROM b\n", [("too_many_docker_options", 1, "docker")]),
    ("docker:\n  dockerfile: FROM b\n  build_args:\n    DB_PASSWORD: hunter2\n", [("secret_in_definition", 4, "docker.build_args.DB_PASSWORD")]),
    ("docker:\n  dockerfile: FROM b\n  build_secrets: [token]\n", [("wrong_type", 3, "docker.build_secrets")]),
    ("docker:\n  dockerfile: ./Dockerfile\n", [("dockerfile_without_from", 2, "docker.dockerfile")]),
    ("docker:\n  dockerfile: |\n    BOGUS x\n", [("dockerfile_without_from", 2, "docker.dockerfile")]),
    ("docker:\n  dockerfile: FROM a b\n", [("missing_argument", 2, "docker.dockerfile")]),
    (
        "docker:\n  dockerfile: |\n\n    FROM a\n    RUM x\n    # none\n    COPY x\n",
        [("unknown_instruction", 5, "docker.dockerfile"), ("missing_argument", 7, "docker.dockerfile")],
    ),
    ('docker:\n  dockerfile: "FROM a\\nRUM x\\n"\n', [("unknown_instruction", 2, "docker.dockerfile:2")]),
    ("docker:\n  base_image: a b\n", [("bad_image", 2, "docker.base_image")]),
    ("docker:\n  base_image: a\n  platform: linux/riscv\n", [("unknown_platform", 3, "docker.platform")]),
    ("docker:\n  build_context:\n    path: /abs\n", [("absolute_path", 3, "docker.build_context.path")]),
    ("docker:\n  build_context:\n    path: ./none\n", [("no_such_path", 3, "docker.build_context.path")]),
    ("spark:\n  packages:\n    - a:b\n", [("bad_spark_package", 3, "spark.packages[0]")]),
    ("accelerators:\n  CUDA: 12\n", [("bad_accelerator", 2, "accelerators.CUDA")]),
    ("variables:\n  A-B: 1\n", [("bad_variable", 2, "variables.A-B")]),
    ("variables:\n  DB_PASSWORD: hunter2\n", [("secret_in_definition", 2, "variables.DB_PASSWORD")]),
    (
        "name: -x\npython:\n  pip: [=1, six]\n  foo: 1\ndocker: {platform: x, base_image: y}\n",
        [
            ("bad_name", 1, "name"),
            ("bad_requirement", 3, "python.pip[0]"),
            ("unknown_key", 4, "python.foo"),
            ("unknown_platform", 5, "docker.platform"),
        ],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), WRONG, ids=[f"{i}-{found[0][0]}" for i, (_, found) in enumerate(WRONG)])
def test_every_fault_has_its_line_field_and_code(text: str, expected: list[tuple[str, int | None, str]]) -> None:
    with pytest.raises(InvalidDefinition) as caught:
        read(text)
    assert [(fault.code, fault.line, fault.field) for fault in caught.value.faults] == expected
    assert all(fault.file == "wardian.yml" for fault in caught.value.faults)
    assert "hunter2" not in str(caught.value)


def test_an_option_among_the_requirements_is_told_where_to_go() -> None:
    with pytest.raises(InvalidDefinition) as caught:
        read(Y + "  pip:\n    - -r reqs.txt\n")
    first = caught.value.faults[0]
    assert (first.code, first.line, first.field) == ("option_among_requirements", 3, "python.pip[0]")
    assert "pip_options" in (first.hint or "")


@pytest.mark.parametrize(
    ("path", "contents", "code"),
    [
        ("docker", {"docker": "a file"}, "not_a_directory"),
        ("docker", {"docker/other": "x"}, "no_such_path"),
        ("docker", {}, "no_such_path"),
    ],
)
def test_a_build_context_must_be_one(tmp_path: Path, path: str, contents: dict[str, str], code: str) -> None:
    for name, text in contents.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    with pytest.raises(InvalidDefinition) as caught:
        read(f"docker: {{build_context: {{path: {path}}}}}", base=tmp_path)
    assert [fault.code for fault in caught.value.faults] == [code]


# -- the schema --------------------------------------------------------------------------------------------------------


def test_the_schema_is_one_and_is_packaged() -> None:
    jsonschema.Draft7Validator.check_schema(load_schema())
    assert schema_path().is_file()
    assert load_schema()["$id"] == SCHEMA_URL


def test_the_schema_knows_the_keys_that_the_reader_knows_and_describes_each() -> None:
    schema = load_schema()
    sections = {
        "": schema,
        "python": schema["definitions"]["python"],
        "docker": schema["definitions"]["docker"],
        "docker.build_context": schema["definitions"]["docker"]["properties"]["build_context"],
        "spark": schema["definitions"]["spark"],
    }
    assert set(sections) == set(KEYS)
    for name, section in sections.items():
        assert set(section["properties"]) == set(KEYS[name])
        assert section["additionalProperties"] is False
        for key, field in section["properties"].items():
            target = schema["definitions"][field["$ref"].rpartition("/")[2]] if set(field) == {"$ref"} else field
            assert target["description"], key
            assert {"examples", "enum", "default", "pattern", "type", "$ref"} & set(target), key


AGREED_WRONG = [
    {"pyhton": {}},
    {"name": "a b"},
    {"name": []},
    {"tags": ["a"]},
    {"tags": {"a": ["b"]}},
    {"python": []},
    {"python": {"foo": 1}},
    {"python": {"pip": "numpy"}},
    {"python": {"pip": [""]}},
    {"python": {"manager": "pip"}},
    {"python": {"manager": "uv", "conda": ["numpy"]}},
    {"python": {"manager": "uv", "channels": ["a"]}},
    {"python": {"manager": "conda", "version": "3.11"}},
    {"python": {"manager": "uv", "interpreter": "python"}},
    {"python": {"source": "system"}},
    {"python": {"index_strategy": "best"}},
    {"python": {"link_scripts": "maybe"}},
    {"python": {"locked_input": "abc"}},
    {"python": {"pip_options": ["pre"]}},
    {"docker": "ubuntu"},
    {"docker": {"image": "x"}},
    {"docker": {"base_image": "a", "dockerfile": "FROM b"}},
    {"docker": {"base_image": "a b"}},
    {"docker": {"platform": "linux/riscv", "base_image": "a"}},
    {"docker": {"build_context": "x"}},
    {"docker": {"build_context": {"context": "x"}}},
    {"spark": {"packages": ["a:b"]}},
    {"spark": {"jars": []}},
    {"accelerators": {"CUDA": "12"}},
    {"variables": {"A-B": "1"}},
    {"variables": {"A": ["1"]}},
]


@pytest.mark.parametrize("document", AGREED_WRONG, ids=str)
def test_schema_and_reader_refuse_the_same(document: dict[str, Any]) -> None:
    assert list(SCHEMA.iter_errors(document))
    with pytest.raises(InvalidDefinition):
        read(yaml.safe_dump(document))
