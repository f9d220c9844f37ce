from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from tests.property.strategies_conda import environments

from wardian.definition.docker_section import DockerSection
from wardian.definition.document import from_document, from_record, to_document
from wardian.definition.environment import Environment, LocalSource, PythonSection
from wardian.definition.identity import definition_hash
from wardian.digest import Digest
from wardian.errors import InvalidDefinition


def test_defaults_are_omitted_but_the_manager_is_always_there() -> None:
    assert to_document(Environment()) == {"python": {"manager": "conda"}}


@settings(max_examples=200)
@given(environments)
def test_a_document_gives_back_the_environment_through_json(env: Environment) -> None:
    again = from_document(json.loads(json.dumps(to_document(env))))
    assert again == env
    assert definition_hash(again) == definition_hash(env)
    recorded = from_record(json.loads(json.dumps(to_document(env))))
    assert (recorded, hash(recorded)) == (env, hash(env))
    assert to_document(again) == to_document(env)


def test_local_code_and_a_locked_input_are_kept() -> None:
    digest = Digest.of(b"tree")
    env = Environment(
        python=PythonSection(manager="uv", pip=("./pkg",), local=(LocalSource("./pkg", digest),), locked_input=digest)
    )
    document = to_document(env)
    assert document["python"]["local"] == [{"path": "./pkg", "digest": digest}]
    assert from_document(document) == env


def test_a_wrong_document_is_refused_like_a_wrong_value() -> None:
    with pytest.raises(InvalidDefinition, match="bad_match_spec"):
        from_document({"python": {"manager": "conda", "conda": [">=1"]}})


def test_what_a_record_gives_back_is_as_frozen_as_what_was_registered() -> None:
    steps = DockerSection(dockerfile="FROM a\n", build_args={"RELEASE": "2"}, build_secrets={"token": "team"})
    environment = Environment(docker=steps)
    again = from_record(to_document(environment))
    assert again == environment
    assert hash(again) == hash(environment)
