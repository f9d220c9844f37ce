from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardian.errors import InvalidInput
from wardian.run.configuration import Command, Resources, RunConfiguration, input_variable

TEXT = st.text(st.characters(blacklist_characters="\0"), max_size=20)
NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,15}", fullmatch=True).filter(lambda name: not name.startswith("WARDIAN_"))
COMMANDS = st.one_of(
    st.builds(Command, st.just("script"), TEXT.filter(bool), st.lists(TEXT, max_size=3).map(tuple)),
    st.builds(Command, st.just("module"), st.sampled_from(["a", "package.module"]), st.lists(TEXT, max_size=3).map(tuple)),
    st.builds(Command, st.just("program"), TEXT.filter(bool), st.lists(TEXT, max_size=3).map(tuple)),
)
CONFIGURATIONS = st.builds(
    RunConfiguration,
    command=COMMANDS,
    environment=st.none() | st.sampled_from(["sklearn:4", "@3f2a91"]),
    source=st.none() | st.just(Path("/home/u/project")),
    inputs=st.dictionaries(NAMES.map(str.lower), st.just(Path("/data/x y")), max_size=3),
    variables=st.dictionaries(NAMES, st.none() | TEXT, max_size=4),
    experiment=NAMES,
    timeout_s=st.none() | st.floats(0.001, 1e9),
    resources=st.builds(Resources, cpus=st.none() | st.floats(0.1, 100), gpus=st.none() | st.integers(1, 8)),
    options=st.just({}) | st.just({"shm": "8G", "arguments": "--device /dev/fuse"}),
    with_packages=st.lists(st.sampled_from(["numpy", "torch>=2"]), max_size=2).map(tuple),
    outputs=st.lists(st.from_regex(r"[A-Za-z_]\w{0,9}", fullmatch=True).filter(str.isascii), max_size=2).map(tuple),
    digest_inputs=st.booleans(),
)


@given(CONFIGURATIONS)
def test_a_written_configuration_is_read_back_without_its_secrets(configuration: RunConfiguration) -> None:
    document = json.loads(json.dumps(configuration.as_document()))
    assert RunConfiguration.from_document(document) == configuration.without_secrets()


def test_a_script_whose_name_begins_as_an_option_does_is_none() -> None:
    assert Command("script", "-x.py", ("-y",)).argv("/python") == ("/python", "./-x.py", "-y")


def test_the_three_kinds_of_commands() -> None:
    assert Command("script", "a b.py", ("-x", "1")).argv("/env/bin/python") == ("/env/bin/python", "a b.py", "-x", "1")
    assert Command("module", "pkg.train").argv("/env/bin/python") == ("/env/bin/python", "-m", "pkg.train")
    assert Command("program", "bash", ("-c", "exit 3")).argv("/env/bin/python") == ("bash", "-c", "exit 3")
    assert str(Command("script", "a b.py", ("-x",))) == "'a b.py' -x"
    assert str(Command("program", "bash", ("-c",))) == "-- bash -c"


@pytest.mark.parametrize(("changes", "code"), [
    ({"command": ("script", "")}, "bad_command"),
    ({"command": ("notebook", "a.ipynb")}, "bad_command"),
    ({"command": ("script", "a.py", ("a\0b",))}, "bad_command"),
    ({"command": ("module", "train.py/..")}, "bad_command"),
    ({"experiment": "no/slash"}, "bad_name"),
    ({"target": ""}, "bad_name"),
    ({"timeout_s": 0}, "bad_timeout"),
    ({"timeout_s": -1.0}, "bad_timeout"),
    ({"timeout_s": float("nan")}, "bad_timeout"),
    ({"timeout_s": float("inf")}, "bad_timeout"),
    ({"source": Path("relative")}, "bad_source"),
    ({"inputs": {"1data": Path("/d")}}, "bad_input"),
    ({"outputs": ("../model",)}, "bad_output"),
    ({"outputs": ("a/b",)}, "bad_output"),
    ({"outputs": ("",)}, "bad_output"),
    ({"inputs": {"data": Path("relative")}}, "bad_input"),
    ({"inputs": {"a-b": Path("/d"), "A.B": Path("/d")}}, "bad_input"),
    ({"variables": {"A B": "1"}}, "bad_variable"),
    ({"variables": {"A-*": None}}, "bad_variable"),
    ({"variables": {"A": "1\0"}}, "bad_variable"),
    ({"variables": {"WARDIAN_RUN_ID": "1"}}, "bad_variable"),
    ({"variables": {"WARDIAN_INPUT_X": None}}, "bad_variable"),
    ({"with_packages": (" ",)}, "bad_requirement"),
    ({"resources": {"cpus": 0}}, "bad_resources"),
    ({"resources": {"gpus": -1}}, "bad_resources"),
])  # fmt: skip
def test_what_is_wrong_is_refused_by_name(changes: dict[str, Any], code: str) -> None:
    def make(command: tuple[Any, ...] = ("script", "train.py"), resources: dict[str, Any] | None = None, **others: Any) -> None:
        RunConfiguration(Command(*command), resources=Resources(**resources or {}), **others)

    with pytest.raises(InvalidInput) as caught:
        make(**changes)
    assert caught.value.stable_code == code


@pytest.mark.parametrize(("document", "said"), [
    ([], "no JSON object"),
    ({}, "no `schema`"),
    ({"schema": 1}, "no `command`"),
    ({"schema": 1, "command": 3}, "`command` of the run configuration is `3`: it must be an object"),
    ({"schema": 1, "command": {"kind": "script"}}, "no `command.name`"),
    ({"schema": "x"}, "`schema` of the run configuration is `x`: it must be a whole number"),
    ({"schema": 1, "command": {"kind": "script", "name": "a"}, "resources": {"cores": 1}}, "`cores`"),
    ({"schema": 1, "command": {"kind": "script", "name": "a"}, "timeout_s": "soon"}, "`timeout_s` .* a number of seconds"),
    ({"schema": 1, "command": {"kind": "script", "name": 7}}, "`command.name` .* `7`: it must be text"),
    ({"schema": 1, "command": {"kind": "script", "name": "a"}, "inputs": ["a"]}, "`inputs` .* NAME → path"),
    ({"schema": 1, "command": {"kind": "script", "name": "a", "hidden": ["x"]}}, "a value in it is of another kind"),
    ({"schema": 1, "command": {"kind": "script", "name": "a"}, "variables": [1]}, "`variables`"),
])  # fmt: skip
def test_a_document_that_is_no_configuration_is_refused_in_words(document: Any, said: str) -> None:
    with pytest.raises(InvalidInput, match=said) as caught:
        RunConfiguration.from_document(document)
    assert "Error" not in caught.value.message
    assert caught.value.stable_code == "bad_run_configuration"


def test_a_newer_document_asks_for_a_newer_wardian() -> None:
    document = RunConfiguration(Command("script", "a.py")).as_document()
    with pytest.raises(InvalidInput, match="schema 99") as caught:
        RunConfiguration.from_document({**document, "schema": 99})
    assert caught.value.stable_code == "newer_run_configuration"


def test_secrets_are_in_no_document() -> None:
    given = {"API_TOKEN": "hunter2", "URL": "https://user:hunter2@host/", "EPOCHS": "3", "PASSED": None}
    configuration = RunConfiguration(Command("script", "a.py"), variables=given)
    text = json.dumps(configuration.as_document())
    assert "hunter2" not in text
    assert configuration.as_document()["variables"] == {"API_TOKEN": None, "URL": None, "EPOCHS": "3", "PASSED": None}
    assert configuration.secrets == {"API_TOKEN": "hunter2", "URL": "https://user:hunter2@host/"}


def test_inputs_are_variables_in_capitals() -> None:
    assert input_variable("train-set.v2") == "WARDIAN_INPUT_TRAIN_SET_V2"
