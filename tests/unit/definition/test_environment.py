from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from tests.builders import an_environment

from wardian.definition.docker_section import BuildContext, DockerSection
from wardian.definition.environment import Environment, PythonSection, SparkSection
from wardian.definition.secret_text import looks_secret
from wardian.definition.values import FrozenMap
from wardian.digest import Digest
from wardian.errors import InvalidDefinition


def test_an_environment_is_frozen_and_hashable() -> None:
    env = an_environment()
    with pytest.raises(dataclasses.FrozenInstanceError):
        env.name = "other"  # type: ignore[misc]
    assert hash(env) == hash(an_environment())
    assert env == an_environment()
    assert len({env, an_environment(), an_environment(name="b")}) == 2


def test_requirements_are_normalised_when_the_value_is_made() -> None:
    section = PythonSection(conda=("NumPy >=1.26, <2",), pip=("Foo_Bar == 1",), channels=(" conda-forge/ ",))
    python = Environment(python=section).python
    assert (python.conda, python.pip, python.channels) == (("numpy>=1.26,<2",), ("foo-bar==1",), ("conda-forge",))


def test_lists_are_made_tuples() -> None:
    python = Environment(python=PythonSection(conda=["numpy"], pip=["scipy"], channels=["a"])).python  # type: ignore[arg-type]
    assert (python.conda, python.pip, python.channels) == (("numpy",), ("scipy",), ("a",))


def test_changed_copies_leave_the_original_alone() -> None:
    env = an_environment(variables={"A": "1"})
    assert env.with_variables({"B": "2"}).variables == {"A": "1", "B": "2"}
    assert env.with_variables({"A": "3"}).variables == {"A": "3"}
    assert env.renamed("other").name == "other"
    assert env.with_python(pip=("scipy",)).python.pip == ("scipy",)
    assert env == an_environment(variables={"A": "1"})


def test_the_content_of_a_version_is_all_but_name_description_and_tags() -> None:
    env = an_environment(description="d", tags={"a": "b"}, variables={"A": "1"})
    assert env.content == dataclasses.replace(env, name=None, description="", tags=FrozenMap())
    assert env.content.variables == {"A": "1"}


def test_text_is_nfc_with_lf_line_ends() -> None:
    env = an_environment(description="e\u0301\r\nx\ry", tags={"e\u0301": "e\u0301"}, variables={"A": "e\u0301"})
    assert env.description == "\u00e9\nx\ny"
    assert env.tags == {"\u00e9": "\u00e9"}
    assert env.variables == {"A": "\u00e9"}


@pytest.mark.parametrize(
    ("asked", "kept"),
    [("3.11", "==3.11.*"), ("3.11.7", "==3.11.7"), (" >= 3.10, < 3.13 ", ">=3.10,<3.13"), ("==3.12.*", "==3.12.*"), ("3.12.*", "==3.12.*"), ("", "")],
)  # fmt: skip
def test_a_python_version_is_a_specifier(asked: str, kept: str) -> None:
    assert Environment(python=PythonSection(manager="uv", requires_python=asked)).python.requires_python == kept


P, D, S = PythonSection, DockerSection, SparkSection
WRONG: list[tuple[str, str, dict[str, Any]]] = [
    ("bad_name", "name", {"name": ""}),
    ("bad_name", "name", {"name": "-x"}),
    ("bad_name", "name", {"name": "a b"}),
    ("bad_name", "name", {"name": "a" * 256}),
    ("bad_name", "name", {"name": "a\n"}),
    ("unknown_manager", "python.manager", {"python": P(manager="pip")}),
    ("unknown_source", "python.source", {"python": P(source="system")}),
    ("unknown_index_strategy", "python.index_strategy", {"python": P(index_strategy="best")}),
    ("unknown_link_scripts", "python.link_scripts", {"python": P(link_scripts="yes")}),
    ("bad_match_spec", "python.conda[1]", {"python": P(conda=("numpy", ">=1"))}),
    ("bad_requirement", "python.pip[1]", {"python": P(pip=("numpy", "=1"))}),
    ("bad_requirement", "python.constraints[0]", {"python": P(constraints=("=1",))}),
    ("unknown_pip_option", "python.pip_options[0]", {"python": P(pip_options=("--nope",))}),
    ("bad_channel", "python.channels[0]", {"python": P(channels=("a b",))}),
    ("bad_channel", "python.channels[1]", {"python": P(channels=("a", ""))}),
    ("bad_channel", "python.channels[0]", {"python": P(channels=("conda-forge::numpy",))}),
    ("bad_channel", "python.channels[0]", {"python": P(channels=("https://[::1/ch",))}),
    ("bad_channel", "python.channels[0]", {"python": P(channels=("https://conda.example.org:99999/ch",))}),
    ("bad_requirement", "python.pip[0]", {"python": P(pip=("a @ https://[::1/a-1.0.tar.gz",))}),
    ("bad_requirement", "python.pip[0]", {"python": P(pip=("a @ git+https://example.org:99999/a",))}),
    ("bad_pip_option", "python.pip_options[0]", {"python": P(pip_options=("--index-url https://[::1/simple",))}),
    ("bad_pip_option", "python.pip_options[0]", {"python": P(pip_options=("--find-links https://example.org:port/",))}),
    ("secret_in_definition", "python.channels[0]", {"python": P(channels=("https://u:p@conda.example.org/ch",))}),
    ("secret_in_definition", "python.channels[0]", {"python": P(channels=("https://conda.example.org/t/tok/ch",))}),
    ("secret_in_definition", "python.channels[0]", {"python": P(channels=("https://conda.example.org/ch?token=tok",))}),
    ("secret_in_definition", "python.channels[0]", {"python": P(channels=(f"https://{'a' * 20}@conda.example.org/ch",))}),
    ("manager_mismatch", "python.manager", {"python": P(manager="uv", conda=("numpy",))}),
    ("manager_mismatch", "python.manager", {"python": P(manager="uv", channels=("a",))}),
    ("manager_mismatch", "python.requires_python", {"python": P(requires_python="3.11")}),
    ("manager_mismatch", "python.interpreter", {"python": P(interpreter="/bin/python")}),
    ("bad_python_version", "python.requires_python", {"python": P(manager="uv", requires_python="three")}),
    ("too_many_docker_options", "docker", {"docker": D(base_image="a", dockerfile="FROM b")}),
    ("too_many_docker_options", "docker", {"docker": D(base_image="a", build_context=BuildContext(Digest.of(b"")))}),
    ("no_docker_steps", "docker.build_args", {"docker": D(base_image="a", build_args={"A": "1"})}),
    ("no_docker_steps", "docker.build_secrets", {"docker": D(build_secrets={"a": "b"})}),
    ("unknown_instruction", "docker.dockerfile:2", {"docker": D(dockerfile="FROM b\nRUM x\n")}),
    ("no_from", "docker.dockerfile:1", {"docker": D(dockerfile="RUN x\n")}),
    ("bad_build_arg", "docker.build_args.A-B", {"docker": D(dockerfile="FROM b", build_args={"A-B": "1"})}),
    ("secret_in_definition", "docker.build_args.API_KEY", {"docker": D(dockerfile="FROM b", build_args={"API_KEY": "abc"})}),
    ("bad_build_secret", "docker.build_secrets.a b", {"docker": D(dockerfile="FROM b", build_secrets={"a b": "c"})}),
    ("bad_build_secret", "docker.build_secrets.a", {"docker": D(dockerfile="FROM b", build_secrets={"a": "no name"})}),
    ("wrong_type", "docker.build_args.A", {"docker": D(dockerfile="FROM b", build_args={"A": 1})}),  # type: ignore[dict-item]
    ("unknown_platform", "docker.platform", {"docker": D(base_image="a", platform="linux/riscv")}),
    ("bad_image", "docker.base_image", {"docker": D(base_image="a b")}),
    ("secret_in_definition", "docker.base_image", {"docker": D(base_image="puller:p@registry.example.org/a:1")}),
    ("secret_in_definition", "docker.base_image", {"docker": D(base_image="https://puller:p@ss@registry.example.org/a")}),
    ("secret_in_definition", "description", {"description": "the key is AKIA" + "A" * 16}),
    ("secret_in_definition", "tags", {"tags": {"AKIA" + "A" * 16: "x"}}),
    ("secret_in_definition", "tags.password", {"tags": {"password": "abc"}}),
    ("secret_in_definition", "tags.of", {"tags": {"of": "ghp_" + "a" * 36}}),
    ("bad_variable", "variables.A-B", {"variables": {"A-B": "1"}}),
    ("bad_variable", "variables.", {"variables": {"": "1"}}),
    ("secret_in_definition", "variables.API_KEY", {"variables": {"API_KEY": "abc"}}),
    ("secret_in_definition", "variables.DB_PASSWORD", {"variables": {"DB_PASSWORD": "abc"}}),
    ("secret_in_definition", "variables.X", {"variables": {"X": "AKIA" + "A" * 16}}),
    ("secret_in_definition", "variables.URL", {"variables": {"URL": "postgres://u:p@db/x"}}),
    ("bad_accelerator", "accelerators.CUDA", {"accelerators": {"CUDA": "12.4"}}),
    ("bad_accelerator", "accelerators.cuda", {"accelerators": {"cuda": ""}}),
    ("bad_spark_package", "spark.packages[0]", {"spark": S(("org.apache:avro",))}),
    ("secret_in_definition", "spark.repositories[0]", {"spark": S((), ("https://u:p@maven.example.org",))}),
    ("secret_in_definition", "spark.repositories[0]", {"spark": S((), ("https://maven.example.org/?sig=abc",))}),
    ("wrong_type", "python.conda", {"python": P(conda="numpy")}),  # type: ignore[arg-type]
    ("wrong_type", "python.pip[1]", {"python": P(pip=("a", 1))}),  # type: ignore[arg-type]
    ("wrong_type", "python.channels", {"python": P(channels=None)}),  # type: ignore[arg-type]
    ("wrong_type", "python", {"python": {"conda": ["numpy"]}}),
    ("wrong_type", "name", {"name": 3}),
    ("wrong_type", "variables.A", {"variables": {"A": 1}}),
    ("wrong_type", "tags", {"tags": ["a"]}),
    ("wrong_type", "docker.base_image", {"docker": D(base_image=1)}),  # type: ignore[arg-type]
    ("bad_text", "description", {"description": "a\0b"}),
    ("bad_text", "tags.a", {"tags": {"a": "\ud800"}}),
    ("bad_text", "variables.A", {"variables": {"A": "\0"}}),
]


@pytest.mark.parametrize(("code", "field", "fields"), WRONG)
def test_what_is_wrong_is_named_by_code_and_field(code: str, field: str, fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidDefinition) as caught:
        Environment(**fields)
    assert [(fault.code, fault.field) for fault in caught.value.faults] == [(code, field)]
    assert code in str(caught.value)


def test_all_faults_are_in_one_error() -> None:
    with pytest.raises(InvalidDefinition, match="4 faults") as caught:
        Environment(name="-", python=PythonSection(conda=("=1", "numpy", "(")), docker=DockerSection(base_image=" "))
    assert [fault.field for fault in caught.value.faults] == ["python.conda[0]", "python.conda[2]", "docker.base_image", "name"]


@pytest.mark.parametrize(
    "variables",
    [
        {"API_KEY": "${API_KEY}"},
        {"API_KEY": ""},
        {"TOKENIZERS_PARALLELISM": "false"},
        {"PASSPHRASE_FILE": "/run/x"},
        {"URL": "https://example.org/a?b=c"},
        {"MONKEY": "abc"},
        {"AUTHOR": "me@example.org"},
    ],
)
def test_what_only_resembles_a_secret_is_kept(variables: dict[str, str]) -> None:
    assert Environment(variables=variables).variables == variables


@pytest.mark.parametrize(
    "channel", ["https://u:hunter2@x.example/c", "https://u:hunter2@x.example/c d", "https://x.example/t/hunter2/c d"]
)
def test_a_secret_is_not_repeated_in_the_error(channel: str) -> None:
    with pytest.raises(InvalidDefinition) as caught:
        Environment(variables={"DB_PASSWORD": "hunter2"}, python=PythonSection(channels=(channel,)))
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(caught.value.as_document())


@pytest.mark.parametrize(
    "image",
    ["debian:12", f"host:5000/a/b:1@sha256:{'a' * 64}", "oci:here@there/layout:1", f"oci-archive:a@b/c.tar@sha256:{'a' * 64}"],
)
def test_an_at_sign_that_is_no_login_stays_in_a_base_image(image: str) -> None:
    assert Environment(docker=DockerSection(base_image=image)).docker.base_image == image


def test_a_long_value_without_a_secret_is_told_as_fast_as_it_is_read() -> None:
    """With time that grows as the square of the length, this takes hours."""
    assert not looks_secret("A", "a" * 4_000_000)
