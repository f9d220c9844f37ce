from __future__ import annotations

import pytest

from wardian.errors import InvalidInput
from wardian.run.targets.kinds import BUILT_IN, KINDS, TargetKind, TargetOption, check_options, check_target_name, kind_named

KIND = TargetKind(
    "engine", "an engine", required=("place",),
    options={"place": TargetOption("where it is", r"/\S+", "/shared", of_run=False), "queue": TargetOption("which queue", r"\w+", "main"),
             "login": TargetOption("the name of a stored secret", example="team", is_secret_name=True)},
)  # fmt: skip


def refusal(options: dict[str, str], *, of_run: bool = False) -> InvalidInput:
    with pytest.raises(InvalidInput) as refused:
        check_options(KIND, options, "cluster", of_run=of_run)
    return refused.value


ELSE = {
    "slurm": {"rest", "token", "user"},
    "kubernetes": {"files", "files_login"},
}  # what is in place of others: a target has these, or the others that are named in their check


def test_every_kind_says_what_it_is_and_its_examples_fit() -> None:
    for name in KINDS:
        kind = kind_named(name)
        assert (kind.name, bool(kind.text)) == (name, True)
        examples = {key: option.example for key, option in kind.options.items() if option.example}
        either = {key: value for key, value in examples.items() if key not in ELSE.get(name, ())}
        check_options(kind, either, "x", of_run=False)
        check_options(kind, {**either, **examples} if either == examples else {key: examples[key] for key in ELSE[name]}, "x")


def test_options_that_fit_are_taken() -> None:
    check_options(KIND, {"place": "/shared", "queue": "main", "login": "team"}, "cluster")
    check_options(KIND, {"queue": "main"}, "cluster", of_run=True)


def test_an_unknown_option_is_named_with_what_there_is() -> None:
    error = refusal({"place": "/shared", "queu": "main"})
    assert error.message == "the target `cluster`, of kind engine, has no option `queu`"
    assert error.hint == "did you mean `queue`? it has `place`, `queue`, `login`"


def test_a_wrong_value_is_shown_with_one_that_fits() -> None:
    error = refusal({"place": "/shared", "queue": "a b"})
    assert (error.stable_code, error.hint) == ("bad_target_option", "such as `queue=main`")
    assert "queue=a b" in error.message


def test_a_missing_option_is_named() -> None:
    assert refusal({"queue": "main"}).hint == "`--option place=/shared`"


def test_a_run_does_not_say_what_is_the_targets() -> None:
    assert "is an option of the target `cluster`, not of one of its runs" in refusal({"place": "/x"}, of_run=True).message


JWT = "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjE3MDAwMDAwMDB9.c2lnbmF0dXJlc2ln"


@pytest.mark.parametrize("value", ["ghp_" + "a1B2" * 9, "https://me:hunter2@host/x", JWT, f"SLURM_JWT={JWT}"])
def test_a_secret_is_never_an_option(value: str) -> None:
    for name in ("queue", "login"):
        error = refusal({"place": "/shared", name: value})
        assert error.stable_code == "secret_in_option"
        assert value not in error.message
        assert error.hint == "`wardian secret set NAME` keeps it; then `--option login=NAME`"


def test_what_should_be_the_name_of_a_secret_is_not_shown() -> None:
    error = refusal({"place": "/shared", "login": "hunter2 and more"})
    assert error.stable_code == "bad_target_option"
    assert "hunter2" not in error.message


def test_names_of_targets() -> None:
    assert check_target_name("gpu-cluster.2") == "gpu-cluster.2"
    for name in ("", "a b", "-t", "../x", "a/b"):
        with pytest.raises(InvalidInput):
            check_target_name(name)
    for name in BUILT_IN:
        with pytest.raises(InvalidInput) as refused:
            check_target_name(name)
        assert refused.value.stable_code == "reserved_target_name"


def test_an_unknown_kind_is_named_with_what_there_is() -> None:
    with pytest.raises(InvalidInput) as refused:
        kind_named("podmam")
    assert "did you mean `podman`?" in (refused.value.hint or "")
