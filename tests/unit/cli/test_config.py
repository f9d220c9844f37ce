from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.cli import Cli


def setting(cli: Cli, name: str, variables: dict[str, str] | None = None) -> tuple[object, str]:
    found = cli.json("config", "show", name, variables=variables)["settings"]
    return found[0]["value"], found[0]["origin"]


def test_each_value_has_its_origin(cli: Cli) -> None:
    assert setting(cli, "timeout_s") == (30.0, "default")
    cli.ok("config", "set", "timeout_s", "5")
    assert setting(cli, "timeout_s") == (5.0, f"{cli.home}/config.toml: timeout_s")
    assert setting(cli, "timeout_s", {"WARDIAN_TIMEOUT_S": "7"}) == (7.0, "$WARDIAN_TIMEOUT_S")
    assert cli.ok("config", "unset", "timeout_s").out == "timeout_s is 30.0 again\n"
    assert setting(cli, "timeout_s") == (30.0, "default")


@pytest.mark.parametrize(
    ("key", "text", "setting_name", "value"),
    [
        ("offline", "true", "offline", True),
        ("lock_platforms", "linux/amd64,linux/arm64", "lock_platforms", ["linux/amd64", "linux/arm64"]),
        ("pass_variables", "WANDB_*,MLFLOW_*", "pass_variables", ["WANDB_*", "MLFLOW_*"]),
        ("cache_limit_bytes", "1_000_000", "cache_limit_bytes", 1_000_000),
        ("cache_limit_bytes", "50GB", "cache_limit_bytes", 50 * 10**9),
        ("indexes.corp", "https://packages.example.org/simple", "indexes", {"corp": "https://packages.example.org/simple"}),
        ("channels.internal", "https://conda.example.org/x", "channels", {"internal": "https://conda.example.org/x"}),
        ("mirrors.https://a.example/", "https://b.example", "mirrors", {"https://a.example/": "https://b.example"}),
        ('mirrors."https://a.example/"', "https://b.example", "mirrors", {"https://a.example/": "https://b.example"}),
    ],
)
def test_what_is_set_is_in_effect_and_unset_is_gone(cli: Cli, key: str, text: str, setting_name: str, value: object) -> None:
    before = setting(cli, setting_name)
    cli.ok("config", "set", key, text)
    assert setting(cli, setting_name)[0] == value
    cli.ok("config", "unset", key)
    assert setting(cli, setting_name)[0] == before[0]


@pytest.mark.parametrize(
    ("key", "text", "said"),
    [
        ("cahe_limit_bytes", "1", "did you mean `cache_limit_bytes`?"),
        ("timeout_s", "soon", "`soon`"),
        ("timeout_s", "-1", "timeout_s"),
        ("cache_limit_bytes", "lots", "`lots`"),
        ("offline", "perhaps", "`perhaps`"),
        ("lock_platforms", "linux/vax", "linux/vax"),
        ("byte_code", "later", "`later`"),
        ("indexes", "https://x.example", "indexes.NAME"),
        ("indexes.corp", "nowhere", "`nowhere`"),
        ("home", "/x", "WARDIAN_HOME"),
    ],
)
def test_a_wrong_one_names_itself_and_changes_nothing(cli: Cli, key: str, text: str, said: str) -> None:
    before = (cli.home / "config.toml").read_bytes()
    arguments = ("config", "set", "--", key, text) if text.startswith("-") else ("config", "set", key, text)
    done = cli.run(*arguments)
    assert done.code == 2
    assert said in done.err
    assert (cli.home / "config.toml").read_bytes() == before


def test_a_secret_does_not_get_into_the_file(cli: Cli) -> None:
    done = cli.run("config", "set", "indexes.corp", "https://user:pa55word-pa55word@packages.example.org/simple")
    assert done.code == 2
    assert "wardian secret set" in done.err
    assert "pa55word" not in done.err + (cli.home / "config.toml").read_text()


def test_comments_stay_and_a_variable_that_goes_before_is_named(cli: Cli) -> None:
    path = cli.home / "config.toml"
    path.write_text("# ours\noffline = false  # for now\n")
    done = cli.ok("config", "set", "timeout_s", "9", variables={"WARDIAN_TIMEOUT_S": "3"})
    assert "WARDIAN_TIMEOUT_S is set here" in done.err
    assert path.read_text().startswith("# ours\noffline = false  # for now\n")


def test_a_broken_file_is_named_and_a_wrong_value_can_be_mended(cli: Cli) -> None:
    path = cli.home / "config.toml"
    path.write_text("timeout_s = 'soon'\n")
    done = cli.run("config", "show")
    assert done.code == 2
    assert f"{path}: timeout_s" in done.err
    cli.ok("config", "set", "timeout_s", "4")
    assert setting(cli, "timeout_s")[0] == 4.0


def test_a_file_that_cannot_be_read_promises_nothing_and_doctor_reports_it(cli: Cli) -> None:
    path = cli.home / "config.toml"
    path.write_text("timeout_s =\n")
    done = cli.run("config", "show")
    assert done.code == 2
    assert str(path) in done.err
    assert "by hand" in done.err
    assert "config set" not in done.err
    found = cli.run("doctor", "--json")
    assert found.code == 1
    checks = {check["name"]: check for check in json.loads(found.out)["checks"]}
    assert (checks["settings"]["state"], str(path) in checks["settings"]["found"]) == ("failed", True)
    assert "skipped: offline" in checks["indexes"]["found"], "nobody knows what the file forbids"
    assert cli.run("doctor", variables={"WARDIAN_TIMEOUT_S": "soon"}).code == 2


def test_unset_what_is_not_set(cli: Cli) -> None:
    assert cli.run("config", "unset", "offline").code == 4
    assert cli.run("config", "show", "nothing").code == 4


@pytest.mark.parametrize("variable", ["WARDIAN_HOME", "WARDIAN_CACHE"])
@pytest.mark.parametrize(
    ("place", "what"),
    [("file", "it is no directory"), ("dangling", "it is a link that leads nowhere"), ("file/below", "is no directory"),
     ("dangling/below", "is a link that leads nowhere")],
)  # fmt: skip
def test_a_home_or_cache_that_can_be_no_directory_is_named_with_what_stands_in_the_way(
    cli: Cli, variable: str, place: str, what: str
) -> None:
    cli.write("file", "")
    (cli.directory / "dangling").symlink_to("nowhere")
    done = cli.run("env", "list", variables={variable: str(cli.directory / place)})
    assert done.code == 2
    assert f"${variable}: {cli.directory / place} cannot be used: " in done.err
    assert what in done.err
    assert "hint:  move " in done.err
    (cli.directory / "nowhere").mkdir()
    if place.startswith("dangling"):
        cli.ok("env", "list", variables={variable: str(cli.directory / place)})
