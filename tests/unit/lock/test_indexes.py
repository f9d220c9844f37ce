"""What uv is told about indexes, and under which alias each is recorded."""

from __future__ import annotations

import pytest

from wardian.errors import InvalidInput
from wardian.lock.indexes import IndexPlan, check_aliases, plan_indexes
from wardian.tools.http import Credentials

CORP = {"corp": "https://corp.example/simple"}


def plan(
    *options: str, configured: dict[str, str] | None = None, logins: dict[str, Credentials] | None = None, **environ: str
) -> IndexPlan:
    return plan_indexes(
        options,
        configured=configured or {},
        credentials=(logins or {}).get,
        environ=environ,
        strategy="first-index",
    )


def test_nothing_said_leaves_uvs_own_configuration() -> None:
    found = plan()
    assert dict(found.environ) == {}
    assert found.alias_of(None) == found.alias_of("https://whatever.example/simple") == "pypi"


def test_the_setting_pypi_replaces_the_default_index() -> None:
    found = plan(configured={"pypi": "https://mirror.example/simple/"})
    assert found.environ["UV_DEFAULT_INDEX"] == "https://mirror.example/simple/"
    assert found.environ["UV_INDEX"] == "", "what uv's own configuration adds does not count"
    assert found.alias_of("https://mirror.example/simple") == "pypi"


def test_indexes_have_their_alias_or_the_number_of_the_option() -> None:
    found = plan(
        "--index-url https://one.example/simple",
        "--pre",
        "--extra-index-url corp",
        "--extra-index-url https://two.example/simple",
        configured=CORP,
    )
    assert found.environ == {
        "UV_DEFAULT_INDEX": "https://one.example/simple",
        "UV_INDEX": "https://corp.example/simple https://two.example/simple",
    }
    assert found.alias_of("https://one.example/simple/") == "#0"
    assert found.alias_of("https://corp.example/simple") == "corp"
    assert found.alias_of("https://two.example/simple") == "#3"
    assert found.arguments[-2:] == ("--prerelease", "allow")


def test_credentials_are_in_the_environment_and_never_in_the_arguments() -> None:
    found = plan(
        "--index-url https://corp.example/simple", logins={"https://corp.example/simple": Credentials("me", "s3cret/&")}
    )
    assert found.environ["UV_DEFAULT_INDEX"] == "https://me:s3cret%2F%26@corp.example/simple"
    assert not any("s3cret" in argument for argument in found.arguments)
    assert found.alias_of("https://corp.example/simple") == "#0"


def test_variables_in_urls_are_expanded_from_the_callers_environment() -> None:
    found = plan("--index-url https://${USER_NAME}:${TOKEN}@corp.example/simple", USER_NAME="me", TOKEN="t0ken")
    assert found.environ["UV_DEFAULT_INDEX"] == "https://me:t0ken@corp.example/simple"
    assert found.alias_of("https://corp.example/simple") == "#0"
    with pytest.raises(InvalidInput, match="TOKEN") as caught:
        plan("--index-url https://${TOKEN}@corp.example/simple")
    assert caught.value.stable_code == "unset_variable"


def test_options_that_change_what_is_taken() -> None:
    found = plan(
        "--no-index",
        "--find-links /wheels",
        "--no-binary alpha,beta",
        "--only-binary :all:",
        "--trusted-host h.example",
        "--prefer-binary",
        "--require-hashes",
    )
    text = " ".join(found.arguments)
    for part in (
        "--no-index",
        "--no-binary alpha",
        "--no-binary beta",
        "--only-binary :all:",
        "--find-links /wheels",
        "--allow-insecure-host h.example",
    ):
        assert part in text
    assert found.require_hashes
    assert any("--prefer-binary" in note for note in found.notes)


def test_an_alias_that_no_setting_knows_is_said_before_anything_is_asked() -> None:
    check_aliases(
        ["--index-url corp", "--extra-index-url https://two.example/simple", "--extra-index-url ${MORE}", "--pre"], CORP
    )
    with pytest.raises(InvalidInput, match=r"python\.pip_options\[1\]: no index is called `crop`") as caught:
        check_aliases(["--pre", "--extra-index-url crop"], CORP)
    assert caught.value.stable_code == "unknown_index"
    assert caught.value.hint == "known ones: corp; `wardian config set indexes.crop URL` adds one"
