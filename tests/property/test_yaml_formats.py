"""Conda's and Wardian's YAML: parse ∘ render is the identity, edits change what they should and no comment."""

from __future__ import annotations

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.property.strategies_conda import (
    comments,
    conda_environments,
    conda_files,
    environments,
    match_specs,
    names,
    nasty_text,
    pip_requirements,
)

from wardian import formats
from wardian.definition.conda_dependencies import CondaDependencies
from wardian.definition.environment import Environment
from wardian.definition.identity import definition_hash
from wardian.definition.match_spec import MatchSpec
from wardian.definition.requirement import PipRequirement, canonical_name
from wardian.errors import Conflict, InvalidDefinition, InvalidInput
from wardian.formats.faults import Faults
from wardian.formats.schema import load_schema
from wardian.formats.yaml_emit import entry, listing, scalar
from wardian.formats.yaml_text import YamlMapping, YamlScalar, YamlSequence, compose

SCHEMA = jsonschema.Draft7Validator(load_schema())


@settings(max_examples=150)
@given(environments)
def test_wardian_yaml_gives_back_every_environment(env: Environment) -> None:
    text = formats.write(env, "wardian")
    assert formats.detect("file.yml", text) == "wardian"
    read = formats.read_text(text, "wardian", local=env.local_sources)
    assert read.environment == env
    assert definition_hash(read.environment) == definition_hash(env)
    assert formats.write(read.environment, "wardian") == text


@settings(max_examples=120)
@given(environments)
def test_what_is_written_fits_the_schema_for_every_reader_of_yaml(env: Environment) -> None:
    document = yaml.safe_load(formats.write(env, "wardian"))
    assert list(SCHEMA.iter_errors(document)) == []
    assert document.get("description", "") == env.description
    assert document.get("tags", {}) == dict(env.tags)
    assert document.get("variables", {}) == dict(env.variables)
    assert document["python"].get("pip", []) == list(env.python.pip)


@settings(max_examples=150)
@given(conda_environments)
def test_a_conda_file_gives_back_every_conda_environment(env: Environment) -> None:
    text = formats.write(env, "conda")
    assert formats.detect("environment.yml", text) == "conda"
    read = formats.read_text(text, "conda")
    assert read.environment == env
    assert read.text == text
    document = yaml.safe_load(text)
    assert document.get("channels", []) == list(env.python.channels)
    assert [item for item in document["dependencies"] if isinstance(item, str)] == list(env.python.conda)


@settings(max_examples=100)
@given(environments)
@pytest.mark.parametrize("to", ["azureml-v2", "azureml-v1"])
def test_what_is_written_for_azure_is_a_fixed_point(to: str, env: Environment) -> None:
    try:
        written = formats.export(env, to)
    except InvalidInput:
        return
    if to == "azureml-v2" and (written.files or written.trees):
        return
    try:
        read = formats.read_text(written.text, to, local=env.local_sources)
    except InvalidDefinition as error:
        if {fault.code for fault in error.faults} == {"duplicate_requirement"}:
            return  # as a value may have it, and no file of conda's or pip's
        raise
    assert read.losses == ()
    again = formats.export(read.environment, to)
    assert formats.read_text(again.text, to, local=env.local_sources).environment == read.environment
    told = {loss.field.split(".")[0] for loss in written.losses}
    for field in ("name", "description", "tags", "docker", "spark", "accelerators"):
        assert field in told or getattr(read.environment, field) == getattr(env, field), field


@settings(max_examples=150)
@given(conda_files())
def test_a_conda_file_is_read_alike_in_every_style(written: tuple[str, Environment]) -> None:
    text, env = written
    assert formats.read_text(text, "conda").environment == env


def comments_of(text: str) -> list[str]:
    """The lines that hold only a comment."""
    return [line.strip() for line in text.split("\n") if line.strip().startswith("#")]


@settings(max_examples=150)
@given(conda_files(), match_specs())
def test_adding_a_conda_package_is_the_change_of_the_value_and_keeps_every_line_of_comment(
    written: tuple[str, Environment], spec: str
) -> None:
    text, env = written
    name = canonical_name(MatchSpec.parse(spec).name)
    if any(PipRequirement.parse(line).name == name for line in env.python.pip):
        return  # then pip's line is the one that is changed: the test below
    changed = formats.add(text, "conda", [spec], manager="conda")
    expected = CondaDependencies.from_environment(env).with_conda_package(spec).to_section()
    assert formats.read_text(changed, "conda").environment == Environment(env.name, expected, variables=env.variables)
    assert comments_of(changed) == comments_of(text)
    assert formats.add(changed, "conda", [spec], manager="conda") == changed


@settings(max_examples=120)
@given(conda_files(), pip_requirements)
def test_adding_a_pip_package_is_the_change_of_the_value_and_keeps_every_line_of_comment(
    written: tuple[str, Environment], line: str
) -> None:
    text, env = written
    try:
        changed = formats.add(text, "conda", [line], manager="pip")
    except Conflict:
        return
    after = formats.read_text(changed, "conda").environment
    assert str(PipRequirement.parse(line)) in after.python.pip
    assert after.with_python(pip=()) == env.with_python(pip=())
    assert len(after.python.pip) - len(env.python.pip) in (0, 1)
    assert comments_of(changed) == comments_of(text)


@settings(max_examples=150)
@given(conda_files(), st.data())
def test_removing_a_package_takes_it_out_and_keeps_every_line_of_comment(
    written: tuple[str, Environment], data: st.DataObject
) -> None:
    text, env = written
    known = [MatchSpec.parse(spec).name for spec in env.python.conda]
    known += [PipRequirement.parse(line).name or line for line in env.python.pip]
    if not known:
        return
    name = data.draw(st.sampled_from(known))
    changed = formats.remove(text, "conda", [name])
    after = formats.read_text(changed, "conda").environment.python
    assert all(MatchSpec.parse(spec).name != name for spec in after.conda)
    assert all((PipRequirement.parse(line).name or line) != name for line in after.pip)
    gone = len(env.python.conda) + len(env.python.pip) - len(after.conda) - len(after.pip)
    assert gone >= 1
    assert after.channels == env.python.channels
    assert comments_of(changed) == comments_of(text)


@settings(max_examples=120)
@given(environments, names, comments)
def test_wardian_yaml_is_edited_where_it_stands(env: Environment, name: str, comment: str) -> None:
    lines = formats.write(env, "wardian").split("\n")
    text = "\n".join([comment, *lines])
    requirement = f"added-{name}-here==1.5"  # longer than any name that is there
    conda = env.python.manager == "conda"
    parsed = MatchSpec.parse(requirement).name if conda else PipRequirement.parse(requirement).name
    changed = formats.add(text, "wardian", [requirement], manager=env.python.manager)
    after = formats.read_text(changed, "wardian", local=env.local_sources).environment
    kept = {"conda": (), "pip": ()}
    assert after.with_python(**kept) == env.with_python(**kept)
    found = [MatchSpec.parse(spec).name for spec in after.python.conda] + [
        PipRequirement.parse(p).name for p in after.python.pip
    ]
    assert parsed in found or PipRequirement.parse(requirement).name in found
    assert set(comments_of(text)) == set(comments_of(changed))
    removed = formats.remove(changed, "wardian", [str(parsed)])
    assert formats.read_text(removed, "wardian", local=env.local_sources).environment == env


@settings(max_examples=500)
@given(nasty_text, nasty_text)
def test_any_text_survives_as_a_scalar_a_key_and_an_item(text: str, other: str) -> None:
    text, other = text.replace("\r", ""), other.replace("\r", "")
    lines = ["a:", *entry("k", text, 2), *entry(f"K{text}", "z", 2), *listing("items", [other, text], 2)]
    lines.append(f"  in_brackets: [{scalar(text, flow=True)}, {{{scalar(text, flow=True)}: {scalar(other, flow=True)}}}]")
    document = "\n".join(lines) + "\n"
    faults = Faults("file.yml")
    root = compose(document, faults)
    assert not faults.found
    assert isinstance(root, YamlMapping)
    a = root.find("a")
    assert isinstance(a, YamlMapping)
    value, items = a.find("k"), a.find("items")
    assert isinstance(value, YamlScalar)
    assert isinstance(items, YamlSequence)
    assert value.value == text
    assert f"K{text}" in a.keys
    assert [item.value for item in items.items if isinstance(item, YamlScalar)] == [other, text]
    loaded = yaml.safe_load(document)["a"]
    assert loaded["k"] == text
    assert loaded["items"] == [other, text]
    assert loaded["in_brackets"] == [text, {text: other}]


@pytest.mark.parametrize("format_name", ["conda", "wardian"])
@settings(max_examples=150)
@given(st.text("ab:- \n\t[]{}#&*!|>'\"%@`,?pydnco", max_size=60))
def test_any_text_is_read_or_refused_with_places(format_name: str, text: str) -> None:
    try:
        formats.read_text(text, format_name, file="f.yml")
    except InvalidDefinition as error:
        faults = error.faults
    else:
        return
    assert faults
    assert all(fault.file == "f.yml" and fault.code and fault.message for fault in faults)
