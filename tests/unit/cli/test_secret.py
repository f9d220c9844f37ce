from __future__ import annotations

import contextlib
import os
import pty
import subprocess
from typing import TYPE_CHECKING

from wardian.sdk.workspace import Workspace

if TYPE_CHECKING:
    from tests.support.cli import Cli

VALUE = "s3cret-value-123"


def _kept(cli: Cli, url: str) -> tuple[str, str, str] | None:
    found = Workspace.open(home=cli.home).parts.credentials(url)
    return (found.user, found.password, found.token) if found else None


def test_a_token_from_stdin_is_sent_to_its_url_alone(cli: Cli) -> None:
    done = cli.ok("secret", "set", "team", "--url", "https://team.example.org/simple", stdin=f"{VALUE}\n")
    assert VALUE not in done.out + done.err
    assert _kept(cli, "https://team.example.org/simple/numpy/") == ("", "", VALUE)
    assert _kept(cli, "https://team.example.org/other/") is None
    assert _kept(cli, "https://team.example.org.evil.example/simple/") is None


def test_a_password_from_a_variable(cli: Cli) -> None:
    cli.ok(
        "secret",
        "set",
        "team",
        "--url",
        "https://team.example.org",
        "--user",
        "ci",
        "--from-variable",
        "PW",
        variables={"PW": VALUE},
    )
    assert _kept(cli, "https://team.example.org/x") == ("ci", VALUE, "")
    unset = cli.run("secret", "set", "team", "--from-variable", "NOT_THERE")
    assert unset.code == 2
    assert "`NOT_THERE` is not set" in unset.err


def test_a_prompt_shows_nothing_of_what_is_typed(cli: Cli) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(cli.argv("secret", "set", "team", "--url", "https://team.example.org"), stdin=theirs, stdout=theirs, stderr=theirs,
                               env=cli.environ, cwd=cli.directory, start_new_session=True)  # fmt: skip
    os.close(theirs)
    seen = b""
    while b"value of team" not in seen:
        seen += os.read(ours, 1000)
    os.write(ours, f"{VALUE}\n".encode())
    with contextlib.suppress(OSError):  # the terminal is gone with the process
        while piece := os.read(ours, 1000):
            seen += piece
    os.close(ours)
    assert process.wait() == 0
    assert VALUE.encode() not in seen
    assert _kept(cli, "https://team.example.org") == ("", "", VALUE)


def test_a_value_is_never_an_argument_and_never_repeated(cli: Cli) -> None:
    for arguments in (("team", VALUE), ("team", "--value", VALUE), ("team", "--password", VALUE), (f"--token={VALUE}", "team")):
        done = cli.run("secret", "set", *arguments, stdin="x")
        assert done.code == 2, arguments
        assert "stdin" in done.err
        assert VALUE not in done.out + done.err
        assert cli.run("secret", "set", *arguments, "--json", stdin="x").err.startswith(
            '{"error": {"code": "secret_as_argument"'
        )
    assert cli.json("secret", "list") == {"secrets": []}


def test_list_shows_no_value_and_delete_forgets(cli: Cli) -> None:
    assert cli.ok("secret", "list").out == "there are no secrets\n"
    cli.ok("secret", "set", "team", "--url", "https://team.example.org", "--kind", "channel", stdin=VALUE)
    cli.ok("secret", "set", "note", stdin=VALUE)
    listed = cli.ok("secret", "list")
    as_json = cli.ok("secret", "list", "--json")
    assert VALUE not in listed.out + as_json.out
    assert [(row["name"], row["kind"], row["url"]) for row in as_json.document["secrets"]] == [
        ("note", "plain", ""), ("team", "channel", "https://team.example.org"),
    ]  # fmt: skip
    cli.ok("secret", "delete", "team")
    assert _kept(cli, "https://team.example.org") is None
    again = cli.run("secret", "delete", "team")
    assert (again.code, "`team`" in again.err) == (4, True)


def test_an_empty_value_is_refused(cli: Cli) -> None:
    assert cli.run("secret", "set", "team", "--url", "https://team.example.org", stdin="\n").code == 2


def test_the_file_is_for_its_owner_alone(cli: Cli) -> None:
    cli.ok("secret", "set", "team", stdin=VALUE)
    files = [path for path in cli.home.rglob("*") if path.is_file() and VALUE.encode() in path.read_bytes()]
    assert [path.name for path in files] == ["secrets.json"]
    assert files[0].stat().st_mode & 0o077 == 0
