"""References: what is one, what is none, and what to write instead."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardian.definition.reference import NAME, VERSION, Reference, check_label, check_version, is_file_reference
from wardian.errors import InvalidReference

HASH = "3f2a91c0d1e2"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sklearn", Reference(name="sklearn")),
        ("sklearn@latest", Reference(name="sklearn")),
        ("sklearn:5", Reference(name="sklearn", version="5")),
        ("my.env-1_x:2024.1-rc1", Reference(name="my.env-1_x", version="2024.1-rc1")),
        ("sklearn@prod", Reference(name="sklearn", label="prod")),
        ("Wardian-sklearn:3", Reference(name="Wardian-sklearn", version="3")),
        (f"@{HASH}", Reference(hash_prefix=HASH)),
        (f"@{HASH.upper()}", Reference(hash_prefix=HASH)),
        (f"@sha256:{HASH}", Reference(hash_prefix=HASH)),
        ("@" + "a" * 64, Reference(hash_prefix="a" * 64)),
        ("@abcdef", Reference(hash_prefix="abcdef")),
        ("run:01h2xcejqtf2nbrexx3vqjhp41", Reference(run_id="01h2xcejqtf2nbrexx3vqjhp41")),
        ("model:churn", Reference(model="churn")),
        ("model:churn@latest", Reference(model="churn")),
        ("model:churn:2", Reference(model="churn", version="2")),
        ("model:churn@production", Reference(model="churn", label="production")),
        ("endpoint:churn", Reference(endpoint="churn")),
        ("runs:1", Reference(name="runs", version="1")),
        ("run", Reference(name="run")),
        ("a" * 255, Reference(name="a" * 255)),
    ],
)
def test_references(text: str, expected: Reference) -> None:
    assert Reference.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("", "`` is not a name", "NAME"),
        ("a b", "`a b` is not a name", "NAME"),
        ("-x", "`-x` is not a name", "NAME"),
        ("é", "`é` is not a name", "NAME"),
        ("a" * 256, "is not a name", "NAME"),
        ("sklearn\n", "is not a name", "NAME"),
        ("sklearn=5", "is not a name", "write `sklearn:5`"),
        ("sklearn==1.2", "is not a name", "write `sklearn:1.2`"),
        ("sklearn:", "`` is not a version", "a letter or digit"),
        ("sklearn:a/b", "`a/b` is not a version", "a letter or digit"),
        ("sklearn:1:2", "`1:2` is not a version", "a letter or digit"),
        ("sklearn:1@prod", "`1@prod` is not a version", "a letter or digit"),
        ("sklearn:latest", "`latest` is a label, not a version", "`sklearn@latest`"),
        ("sklearn@", "`` is not a label", "a letter or digit"),
        ("sklearn@a b", "`a b` is not a label", "a letter or digit"),
        ("@", "`` is not hexadecimal", "`@` alone"),
        ("@xyz123", "`xyz123` is not hexadecimal", "`@` alone"),
        ("@abcde", "at least 6 digits", "more"),
        ("@" + "a" * 65, "is not hexadecimal", "`@` alone"),
        ("run:", "`` is not the id of a run", "wardian runs list"),
        ("run:a b", "`a b` is not the id of a run", "wardian runs list"),
        ("model:", "`` is not a name", "NAME"),
        ("model:m:", "`` is not a version", "a letter or digit"),
        ("model:m:latest", "`latest` is a label, not a version", "`model:m@latest`, or `model:m` alone"),
        ("model:a/b.yml", "`a/b.yml` is not a name", "model:NAME"),
        ("endpoint:", "`` is not the name of an endpoint", "wardian endpoint list"),
        ("endpoint:e:2", "`e:2` is not the name of an endpoint", "wardian endpoint list"),
        (
            "azureml:AzureML-sklearn:3",
            "Azure ML",
            "`az ml environment show --name AzureML-sklearn --version 3 -o yaml > azureml.yml` there, then `wardian env create NAME -f azureml.yml`",
        ),
        ("azureml://registries/r/environments/e/versions/1", "Azure ML", "--name e --version 1 --registry-name r -o yaml"),
    ],
)
def test_what_is_none_says_why_and_what_to_write(text: str, message: str, hint: str) -> None:
    with pytest.raises(InvalidReference) as caught:
        Reference.parse(text)
    assert message in caught.value.message
    assert hint in (caught.value.hint or "")


@given(st.one_of(
    st.builds(Reference, name=st.from_regex(NAME, fullmatch=True)),
    st.builds(Reference, name=st.from_regex(NAME, fullmatch=True).filter(lambda n: n not in {"run", "model", "endpoint", "azureml"}),
              version=st.from_regex(VERSION, fullmatch=True).filter(lambda v: v != "latest")),
    st.builds(Reference, name=st.from_regex(NAME, fullmatch=True), label=st.from_regex(VERSION, fullmatch=True).filter(lambda v: v != "latest")),
    st.builds(Reference, model=st.from_regex(NAME, fullmatch=True), label=st.from_regex(VERSION, fullmatch=True).filter(lambda v: v != "latest")),
    st.builds(Reference, hash_prefix=st.from_regex(r"[0-9a-f]{6,64}", fullmatch=True)),
    st.builds(Reference, run_id=st.from_regex(r"[a-z0-9]{4,30}", fullmatch=True)),
))  # fmt: skip
def test_parse_is_the_inverse_of_str(reference: Reference) -> None:
    assert Reference.parse(str(reference)) == reference


@given(st.text())
def test_any_text_is_a_reference_or_a_clear_error(text: str) -> None:
    with contextlib.suppress(InvalidReference):
        assert Reference.parse(str(Reference.parse(text))) == Reference.parse(text)


@pytest.mark.parametrize(
    ("text", "is_file"),
    [
        ("environment.yml", True), ("env.YAML", True), ("requirements.txt", True), ("requirements.in", True), ("pyproject.toml", True),
        ("train.py", True), ("pixi.lock", True), ("./sklearn", True), ("dir/env", True), ("/abs", True), (".", True), ("..", True),
        ("dir\\env.yml", True), ("saved.json", True), ("sklearn", False), ("sklearn:5", False), ("sklearn@prod", False), ("my.env", False), ("env.v1", False),
        (f"@{HASH}", False), ("run:abc", False), ("azureml://registries/r/environments/e", False), ("txt", False),
    ],
)  # fmt: skip
def test_what_is_a_file(text: str, is_file: bool) -> None:
    assert is_file_reference(text) is is_file


@pytest.mark.parametrize("check", [check_version, check_label])
def test_versions_and_labels(check: object) -> None:
    assert callable(check)
    assert check("1.0-rc_1") == "1.0-rc_1"
    for bad in ("", "latest", "a b", "-a", "é", "a" * 65, "a\n"):
        with pytest.raises(InvalidReference):
            check(bad)
