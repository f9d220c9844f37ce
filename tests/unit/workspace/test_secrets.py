"""Secrets are readable by their owner alone, shown by nothing, and sent to nobody else."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
import traceback
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from wardian.errors import Conflict, Denied, InvalidInput, NotFound
from wardian.tools.http import Credentials
from wardian.workspace.database import DamagedRecords
from wardian.workspace.secrets import Secrets

if TYPE_CHECKING:
    from pathlib import Path

VALUE = "hunter2-very-secret"


@pytest.fixture
def secrets(tmp_path: Path) -> Secrets:
    return Secrets(tmp_path / "secrets", lambda: datetime(2024, 2, 1, tzinfo=UTC))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_what_is_set_is_got(secrets: Secrets, tmp_path: Path) -> None:
    secrets.set("pypi", VALUE, kind="index", url="https://Index.Example/simple/", username="ann")
    secrets.set("token", "ü\n" * 3)
    again = Secrets(tmp_path / "secrets")
    found = again.get("pypi")
    assert (found.value, found.kind, found.url, found.username) == (VALUE, "index", "https://index.example/simple", "ann")
    assert found.changed == "2024-02-01T00:00:00.000000Z"
    assert again.get("token").value == "ü\n" * 3
    assert again.find("other") is None
    assert [secret.name for secret in again.list()] == ["pypi", "token"]


def test_nothing_is_made_before_there_is_a_secret(secrets: Secrets, tmp_path: Path) -> None:
    assert secrets.list() == ()
    assert secrets.credentials_for("https://index.example/") is None
    with pytest.raises(NotFound):
        secrets.delete("x")
    assert not (tmp_path / "secrets").exists()


def test_only_the_owner_can_read(secrets: Secrets, tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir(mode=0o777)
    secrets.set("a", VALUE)
    secrets.set("a", VALUE + "2")
    assert mode(tmp_path / "secrets") == 0o700
    assert mode(tmp_path / "secrets/secrets.json") == 0o600
    assert [path.name for path in sorted((tmp_path / "secrets").iterdir())] == [".lock", "secrets.json"]


def test_a_file_that_was_opened_to_others_is_closed_again(secrets: Secrets, tmp_path: Path) -> None:
    secrets.set("a", VALUE)
    (tmp_path / "secrets/secrets.json").chmod(0o644)
    assert secrets.get("a").value == VALUE
    assert mode(tmp_path / "secrets/secrets.json") == 0o600


def test_a_link_in_the_place_of_the_file_is_refused(secrets: Secrets, tmp_path: Path) -> None:
    secrets.set("a", VALUE)
    file = tmp_path / "secrets/secrets.json"
    file.rename(tmp_path / "elsewhere.json")
    file.symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(Denied, match="symbolic link"):
        secrets.list()


def test_no_value_in_what_is_shown(secrets: Secrets) -> None:
    secret = secrets.set("a", VALUE, kind="index", url="https://index.example", username="ann")
    shown = [
        repr(secret),
        str(secret),
        repr(secrets.list()),
        json.dumps(secret.as_document()),
        repr(secrets.credentials_for("https://index.example")),
    ]
    assert [text for text in shown if VALUE in text] == []
    assert "value" not in secret.as_document()


@pytest.mark.parametrize(
    ("name", "value", "arguments"),
    [
        ("bad name", VALUE, {}),
        ("../x", VALUE, {}),
        ("a", VALUE + "\0", {}),
        ("a", VALUE * 10_000, {}),
        ("a", VALUE, {"kind": "other"}),
        ("a", VALUE, {"url": "https://x.example"}),
        ("a", VALUE, {"username": "ann"}),
        ("a", VALUE, {"kind": "index"}),
        ("a", VALUE, {"kind": "index", "url": "ftp://x.example"}),
        ("a", VALUE, {"kind": "index", "url": f"https://ann:{VALUE}@x.example"}),
        ("a", VALUE, {"kind": "index", "url": f"https://x.example/?token={VALUE}"}),
        ("a", VALUE + "\r\nX: y", {"kind": "index", "url": "https://x.example"}),
        ("a", VALUE, {"kind": "index", "url": "https://x.example", "username": "ann:x"}),
    ],
)
def test_what_is_wrong_is_refused_without_showing_the_value(
    secrets: Secrets, name: str, value: str, arguments: dict[str, str]
) -> None:
    with pytest.raises(InvalidInput) as caught:
        secrets.set(name, value, **arguments)
    assert VALUE not in str(caught.value) + repr(caught.value) + str(caught.value.as_document())
    assert secrets.list() == ()


def test_an_empty_value_is_refused(secrets: Secrets) -> None:
    with pytest.raises(InvalidInput, match="is empty"):
        secrets.set("a", "")


def test_two_secrets_for_one_url_are_refused(secrets: Secrets) -> None:
    secrets.set("a", VALUE, kind="index", url="https://x.example/simple")
    with pytest.raises(Conflict, match="`a` is for https:"):
        secrets.set("b", VALUE, kind="index", url="https://X.example:443/simple/")
    secrets.set("b", VALUE, kind="channel", url="https://x.example/simple")
    secrets.set("a", "new", kind="index", url="https://x.example/simple")
    assert secrets.get("a").value == "new"


def test_delete_forgets(secrets: Secrets, tmp_path: Path) -> None:
    secrets.set("a", VALUE)
    secrets.set("b", "other")
    secrets.delete("a")
    assert [secret.name for secret in secrets.list()] == ["b"]
    assert VALUE not in (tmp_path / "secrets/secrets.json").read_text()
    with pytest.raises(NotFound, match="no secret `a`") as caught:
        secrets.delete("a")
    assert "`b`" in (caught.value.hint or "")
    with pytest.raises(NotFound):
        secrets.get("a")


@pytest.mark.parametrize(
    "content",
    [f'{{"schema": 1, "secrets": {{"a": {{"value": "{VALUE}"', f'{{"schema": 9, "secrets": {{}}, "x": "{VALUE}"}}', f'["{VALUE}"]', f'{{"schema": 1, "secrets": {{"a": {{"value": "{VALUE}"}}}}}}'],
    ids=["cut off", "newer", "a list", "fields missing"],
)  # fmt: skip
def test_a_damaged_file_is_named_and_not_quoted(secrets: Secrets, tmp_path: Path, content: str) -> None:
    secrets.set("a", VALUE)
    (tmp_path / "secrets/secrets.json").write_text(content)
    with pytest.raises(DamagedRecords, match=r"secrets\.json") as caught:
        secrets.list()
    assert VALUE not in "".join(traceback.format_exception(caught.value))
    seen: BaseException | None = caught.value
    while seen is not None:  # nor does an error that it came from carry the text along
        assert VALUE not in repr(vars(seen))
        seen = seen.__cause__ or seen.__context__


def bound(secrets: Secrets) -> None:
    secrets.set("host", "1", kind="index", url="https://host.example")
    secrets.set("team", "2", kind="index", url="https://host.example/team", username="ann")
    secrets.set("deep", "3", kind="channel", url="https://host.example/team/deep")
    secrets.set("port", "4", kind="registry", url="host.example:5000/images")
    secrets.set("plain", "5")
    secrets.set("unsafe", "6", kind="index", url="http://host.example/simple")


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://host.example", "host"),
        ("https://host.example/", "host"),
        ("https://HOST.example:443/x", "host"),
        ("https://host.example/team", "team"),
        ("https://host.example/team/", "team"),
        ("https://host.example/team/numpy/?q=1#f", "team"),
        ("https://host.example/teams", "host"),
        ("https://host.example/team/deep/linux-64/repodata.json", "deep"),
        ("https://host.example/team/deeper", "team"),
        ("https://host.example:5000/images/a", "port"),
        ("https://host.example:5000/", None),
        ("http://host.example/team", None),
        ("http://host.example/simple/numpy/", "unsafe"),
        ("https://host.example.evil/", None),
        ("https://evil/host.example", None),
        ("https://host.example@evil/", None),
        ("https://host.example:443@evil/", None),
        ("https://evil\\@host.example/", None),
        ("https://host.example\\.evil/", None),
        ("https://xhost.example/", None),
        ("https://host.example./", None),
        ("https://host%2eexample/", None),
        ("https://host.example:8443/", None),
        ("https://host.example/team/../other", None),
        ("https://host.example/team/%2e%2e/other", None),
        ("https://host.example/team/%5c..%5cother", None),
        ("https://host.example/te\nam", None),
        ("//host.example/", None),
        ("file://host.example/", None),
        ("https://", None),
        ("https://host.example:99999/", None),
        ("https://[::1", None),
        ("", None),
    ],
)
def test_credentials_go_to_their_own_place_only(secrets: Secrets, url: str, name: str | None) -> None:
    bound(secrets)
    found = secrets.find_for(url)
    assert (found and found.name) == name
    assert (secrets.credentials_for(url) is None) == (name is None)


def test_credentials_are_a_login_or_a_token(secrets: Secrets) -> None:
    bound(secrets)
    assert secrets.credentials_for("https://host.example/team/x") == Credentials(user="ann", password="2")
    assert secrets.credentials_for("https://host.example/x") == Credentials(token="1")


def test_only_the_kinds_asked_for_count(secrets: Secrets) -> None:
    bound(secrets)
    found = secrets.find_for("https://host.example/team/deep/x", kinds=("index",))
    assert found is not None
    assert found.name == "team"


SETTER = """
import sys; from pathlib import Path
from wardian.workspace.secrets import Secrets
Secrets(Path(sys.argv[1])).set(sys.argv[2], "v")
"""


def test_many_processes_lose_none(tmp_path: Path) -> None:
    names = [f"s{number:02}" for number in range(12)]
    processes = [subprocess.Popen([sys.executable, "-c", SETTER, str(tmp_path / "secrets"), name]) for name in names]
    assert [process.wait(timeout=60) for process in processes] == [0] * len(names)
    assert [secret.name for secret in Secrets(tmp_path / "secrets").list()] == names
