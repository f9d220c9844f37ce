from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardian.run.argument_secrets import named, without_secrets
from wardian.run.configuration import Command, perhaps_secret

GITHUB = "ghp_" + "a" * 36

HELD = [
    # what is given, what a record holds
    (["--api-key=hunter2"], ["--api-key=…"]),
    (["--password", "hunter2", "--epochs", "3"], ["--password", "…", "--epochs", "3"]),
    (["-token", "hunter2"], ["-token", "…"]),
    (["--apiKey", "hunter2"], ["--apiKey", "…"]),
    (["--db_pass=hunter2"], ["--db_pass=…"]),
    (["+wandb.api_key=hunter2"], ["+wandb.api_key=…"]),
    (["HF_TOKEN=hunter2"], ["HF_TOKEN=…"]),
    (["--oauth-token-secret", "hunter2"], ["--oauth-token-secret", "…"]),
    (["--password=https://a:b@c"], ["--password=…"]),
    (["https://user:hunter2@host/x"], ["https://user:…@host/x"]),
    ([f"https://{'t' * 30}@host/x"], ["https://…@host/x"]),
    (["--url=postgres://user:hunter2@host/db"], ["--url=postgres://user:…@host/db"]),
    (["https://host/x?a=1&token=hunter2&b=2"], ["https://host/x?a=1&token=…&b=2"]),
    (["-H", "Authorization: Bearer hunter2"], ["-H", "Authorization: Bearer …"]),
    (["X-Api-Key: hunter2"], ["X-Api-Key: …"]),
    (["AccountKey=hunter2;x=1"], ["AccountKey=…"]),
    (["-----BEGIN RSA PRIVATE KEY-----\nhunter2"], ["…"]),
    (["sh", "-c", "curl https://u:hunter2@host | grep x"], ["sh", "-c", "curl https://u:…@host | grep x"]),
    ([f"login('{GITHUB}')"], ["login('…')"]),
    (["--model", GITHUB], ["--model", "…"]),
]
ORDINARY = [
    ["--max-tokens", "512"], ["--tokenizer", "gpt2"], ["--num_tokens=5"], ["--pad-token", "<pad>"], ["--token-limit=10"],
    ["--token-file", "place"], ["--password-env", "NAME"], ["--credentials", "creds.json"], ["--use-auth-token", "true"],
    ["--password", "${PASSWORD}"], ["--api-key=${KEY}"], ["--password"], ["--password", "--verbose"], ["--sort-key", "id"], ["--key=id"],
    ["import os; token = os.environ['TOKEN']"], ["git+https://user@host/x"], ["someone@example.org"], ["https://host/x?page=2"],
    ["Loading…"], [""], ["--secret="], ["s3://bucket/key"], ["--token", "[MASK].txt"],
]  # fmt: skip


@pytest.mark.parametrize(("given", "kept"), HELD, ids=[" ".join(one)[:40] for one, _ in HELD])
def test_secrets_are_left_out_and_nothing_else(given: list[str], kept: list[str]) -> None:
    shown, positions = without_secrets(given)
    assert list(shown) == kept
    assert positions == tuple(at for at, (one, other) in enumerate(zip(given, kept, strict=True)) if one != other)
    assert without_secrets(shown)[0] == shown
    command = Command("script", "a.py", tuple(given)).without_secrets()
    assert (command.arguments, command.hidden) == (shown, positions)
    assert command.without_secrets() == command


@pytest.mark.parametrize("given", ORDINARY, ids=" ".join)
def test_what_is_no_secret_is_kept(given: list[str]) -> None:
    assert without_secrets(given) == (tuple(given), ())


@given(st.lists(st.text(max_size=30) | st.sampled_from([word for words, _ in HELD for word in words]), max_size=5))
def test_what_is_left_has_no_secret(arguments: list[str]) -> None:
    shown, positions = without_secrets(arguments)
    assert without_secrets(shown)[0] == shown
    assert all(shown[at] == arguments[at] for at in range(len(arguments)) if at not in positions)
    assert not any("hunter2" in shown[at] or GITHUB in shown[at] for at in positions)


def test_people_are_told_which() -> None:
    assert (
        named(*without_secrets(["--password", "x", "--api-key=y", "https://u:p@h"]))
        == "`--password …`, `--api-key=…`, `https://u:…@h`"
    )


def test_a_variable_that_holds_a_url_with_a_token_is_a_secret() -> None:
    assert perhaps_secret("URL", "https://host/x?token=hunter2")
    assert not perhaps_secret("URL", "https://host/x?page=2")
