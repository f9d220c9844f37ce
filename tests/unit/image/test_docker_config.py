"""The logins of docker and podman."""

from __future__ import annotations

import base64
import json
import os
import re
from typing import TYPE_CHECKING, Any

import pytest

from wardian.errors import Denied
from wardian.image.docker_config import EngineLogins, registry_logins
from wardian.image.registry_auth import RegistryLogin, read_challenges
from wardian.tools.http import Credentials

if TYPE_CHECKING:
    from pathlib import Path

    from wardian.events import Event


def auth(user: str = "user", password: str = "secret") -> dict[str, str]:  # noqa: S107
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def write(path: Path, document: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document if isinstance(document, str) else json.dumps(document))


def logins(home: Path, **environ: str) -> EngineLogins:
    return EngineLogins({"HOME": str(home), "PATH": os.environ["PATH"], **environ}, run=home / "run", timeout_s=10)


def helper(home: Path, name: str, script: str) -> str:
    """Make a credential helper and return a PATH that has it."""
    path = home / "bin" / f"docker-credential-{name}"
    write(path, f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return f"{path.parent}:{os.environ['PATH']}"


@pytest.mark.parametrize("file", [".docker/config.json", ".config/containers/auth.json", "run/{uid}/auth.json"])
def test_a_login_is_found_where_the_engines_keep_it(home: Path, file: str) -> None:
    write(home / file.format(uid=os.getuid()), {"auths": {"registry.lan:5000": auth()}})
    assert logins(home).find("registry.lan:5000", "a/b") == RegistryLogin("user", "secret")
    assert logins(home).find("registry.lan", "a/b") is None
    assert logins(home).find("registry.lan:5001", "a/b") is None


@pytest.mark.parametrize(
    ("variable", "file"),
    [
        ("DOCKER_CONFIG", "elsewhere/config.json"),
        ("XDG_CONFIG_HOME", "elsewhere/containers/auth.json"),
        ("XDG_RUNTIME_DIR", "elsewhere/containers/auth.json"),
    ],
)
def test_variables_say_where_else(home: Path, variable: str, file: str) -> None:
    write(home / file, {"auths": {"ghcr.io": auth()}})
    assert logins(home, **{variable: str(home / "elsewhere")}).find("ghcr.io", "a") == RegistryLogin("user", "secret")


def test_a_file_of_its_own_is_the_only_one(home: Path) -> None:
    write(home / ".docker/config.json", {"auths": {"ghcr.io": auth()}})
    write(home / "own.json", {"auths": {"quay.io": auth("me", "mine")}})
    asked = logins(home, REGISTRY_AUTH_FILE=str(home / "own.json"))
    assert asked.find("quay.io", "a") == RegistryLogin("me", "mine")
    assert asked.find("ghcr.io", "a") is None


def test_the_most_specific_entry_counts(home: Path) -> None:
    write(
        home / ".config/containers/auth.json",
        {
            "auths": {
                "quay.io": auth("all"),
                "quay.io/team": auth("team"),
                "quay.io/team/envs": auth("envs"),
                "quay.io/te": auth("no"),
            }
        },
    )
    asked = logins(home)
    assert [getattr(asked.find("quay.io", name), "user", None) for name in ("team/envs", "team/x", "teamx", "envs")] == [
        "envs", "team", "all", "all",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "key", ["https://index.docker.io/v1/", "docker.io", "index.docker.io", "https://registry-1.docker.io/v2/"]
)
def test_the_hub_has_many_names(home: Path, key: str) -> None:
    write(home / ".docker/config.json", {"auths": {key: auth()}})
    assert logins(home).find("docker.io", "library/python") == RegistryLogin("user", "secret")


@pytest.mark.parametrize("key", ["https://ghcr.io", "http://ghcr.io/", "https://ghcr.io/v2/", "ghcr.io"])
def test_a_host_may_be_written_as_a_url(home: Path, key: str) -> None:
    write(home / ".docker/config.json", {"auths": {key: auth()}})
    assert logins(home).find("ghcr.io", "a") == RegistryLogin("user", "secret")


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"username": "u", "password": "p"}, RegistryLogin("u", "p")),
        (auth("u", "p:q"), RegistryLogin("u", "p:q")),
        (auth("u", "p\0"), RegistryLogin("u", "p")),
        ({**auth("u", ""), "identitytoken": "t"}, RegistryLogin("u", "", identity_token="t")),
        ({"registrytoken": "t"}, RegistryLogin(bearer_token="t")),
        ({}, None),
        ({"auth": ""}, None),
        ({"auth": "%%%"}, None),
        ({"auth": "/w=="}, None),
        ({"auth": 1}, None),
        ("text", None),
        (None, None),
    ],
)
def test_what_an_entry_says(home: Path, entry: Any, expected: RegistryLogin | None) -> None:
    write(home / ".docker/config.json", {"auths": {"ghcr.io": entry}})
    assert logins(home).find("ghcr.io", "a") == expected


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "1", '{"auths": []}', '{"auths": {"ghcr.io": []}}', '{"credHelpers": 1}', "[" * 100_000]
)
def test_a_file_that_is_none_counts_as_empty(home: Path, text: str) -> None:
    write(home / ".docker/config.json", text)
    assert logins(home).find("ghcr.io", "a") is None


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b'{"auths": {', "is damaged.*: line 1 is no JSON"),
        (b"[]", "is damaged.*: it is not a JSON object"),
        (b"\xff\xfe\x00\x01\x80", "is damaged.*: it is no text"),
        (b'{"auths": {"ghcr.io": {"auth": "%%%"}}}', "`ghcr.io` in .* is damaged.*: `auth` is not USER:PASSWORD in base64"),
        (b'{"auths": {"ghcr.io": {"auth": "aHVudGVyMg=="}}}', "`ghcr.io` in .* is damaged"),
        (None, "cannot be read.*: it is no regular file"),
    ],
)
def test_a_damaged_file_is_named_once(home: Path, content: bytes | None, why: str) -> None:
    path = home / ".docker/config.json"
    path.parent.mkdir(parents=True)
    if content is None:
        os.mkfifo(path)
    else:
        path.write_bytes(content)
    heard: list[Event] = []
    asked = EngineLogins({"HOME": str(home), "PATH": ""}, run=home / "run", listener=heard.append)
    assert [asked.find("ghcr.io", "a"), asked.find("ghcr.io", "a")] == [None, None]
    (event,) = heard
    assert event.kind == "warning"
    assert str(path) in event.text
    assert re.search(why, event.text)
    assert "hunter2" not in event.text


@pytest.mark.parametrize("content", ["", "{}", '{"auths": {"ghcr.io": {}}}'])
def test_a_file_without_logins_is_no_reason_to_warn(home: Path, content: str) -> None:
    write(home / ".docker/config.json", content)
    heard: list[Event] = []
    assert EngineLogins({"HOME": str(home)}, run=home / "run", listener=heard.append).find("ghcr.io") is None
    assert heard == []


# -- helpers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{"credHelpers": {"ghcr.io": "mine"}}, {"credsStore": "mine"}])
def test_a_helper_is_asked_for_the_host(home: Path, settings: dict[str, Any]) -> None:
    write(home / ".docker/config.json", settings)
    path = helper(home, "mine", f'read host; echo "$1 $host" > {home}/asked; echo \'{{"Username": "u", "Secret": "p"}}\'')
    assert logins(home, PATH=path).find("ghcr.io", "a") == RegistryLogin("u", "p")
    assert (home / "asked").read_text() == "get ghcr.io\n"


def test_a_helper_is_asked_for_the_hub_by_its_old_name(home: Path) -> None:
    write(home / ".docker/config.json", {"credsStore": "mine"})
    path = helper(home, "mine", f'cat > {home}/asked; echo \'{{"Username": "<token>", "Secret": "t"}}\'')
    assert logins(home, PATH=path).find("docker.io", "library/x") == RegistryLogin(identity_token="t")
    assert (home / "asked").read_text() == "https://index.docker.io/v1/"


def test_a_helper_without_a_login_is_no_error(home: Path) -> None:
    write(home / ".docker/config.json", {"credsStore": "mine"})
    path = helper(home, "mine", "cat > /dev/null; echo 'credentials not found in native keychain'; exit 1")
    assert logins(home, PATH=path).find("ghcr.io", "a") is None


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo 'the keychain is locked' >&2; exit 1", "the keychain is locked"),
        ("echo no json", "not what the protocol has"),
        ("echo '[]'", "not what the protocol has"),
        ("exit 0", "not what the protocol has"),
    ],
)
def test_a_helper_that_does_not_work_is_named_unless_something_else_has_a_login(home: Path, script: str, why: str) -> None:
    write(home / ".config/containers/auth.json", {"credsStore": "mine"})
    path = helper(home, "mine", f"cat > /dev/null; {script}")
    with pytest.raises(Denied, match=why) as caught:
        logins(home, PATH=path).find("ghcr.io", "a")
    assert caught.value.stable_code == "credential_helper_failed"
    write(home / ".docker/config.json", {"auths": {"ghcr.io": auth()}})
    assert logins(home, PATH=path).find("ghcr.io", "a") == RegistryLogin("user", "secret")


def test_a_helper_that_hangs_is_given_up(home: Path) -> None:
    write(home / ".docker/config.json", {"credsStore": "mine"})
    path = helper(home, "mine", "exec tail -f /dev/null")
    asked = EngineLogins({"HOME": str(home), "PATH": path}, run=home / "run", timeout_s=0.2)
    with pytest.raises(Denied, match=r"more than 0\.2 s"):
        asked.find("ghcr.io", "a")


def test_it_is_said_which_helper_is_waited_for(home: Path) -> None:
    write(home / ".docker/config.json", {"credsStore": "mine"})
    answer = '{"Username": "u", "Secret": "p"}'
    path = helper(home, "mine", f"cat > /dev/null; while ! test -e {home}/said; do sleep 0.01; done; echo '{answer}'")
    heard: list[Event] = []

    def hear(event: Event) -> None:
        heard.append(event)
        (home / "said").touch()

    asked = EngineLogins({"HOME": str(home), "PATH": path}, run=home / "run", said_after_s=0.05, listener=hear)
    assert asked.find("ghcr.io", "a") == RegistryLogin("u", "p")
    assert [event.text for event in heard] == ["waiting for the credential helper `docker-credential-mine`, up to 30 s"]


@pytest.mark.parametrize("name", ["missing", "../../bin/sh", "a b", "", "x;y", "-x"])
def test_a_helper_that_is_missing_or_no_name_is_not_executed(home: Path, name: str) -> None:
    write(home / ".docker/config.json", {"credHelpers": {"ghcr.io": name}, "auths": {}})
    if name:
        with pytest.raises(Denied):
            logins(home).find("ghcr.io", "a")
    else:
        assert logins(home).find("ghcr.io", "a") is None


def test_stored_secrets_come_first_and_are_asked_by_url(home: Path) -> None:
    write(home / ".docker/config.json", {"auths": {"ghcr.io": auth()}})
    asked: list[str] = []

    def credentials(url: str) -> Credentials | None:
        asked.append(url)
        return Credentials("mine", "own") if url == "https://ghcr.io/team/envs" else None

    find = registry_logins(credentials, logins(home))
    assert find("ghcr.io", "team/envs") == RegistryLogin("mine", "own")
    assert find("ghcr.io", "other") == RegistryLogin("user", "secret")
    assert asked == ["https://ghcr.io/team/envs", "https://ghcr.io/other", "http://ghcr.io/other"]
    assert registry_logins(lambda _url: Credentials(token="t"))("x", "y") == RegistryLogin(bearer_token="t")
    assert registry_logins(lambda _url: None)("x", "y") is None


def test_a_login_is_not_printed() -> None:
    assert "secret" not in repr(RegistryLogin("user", "secret", "secret", "secret"))


# -- challenges --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", []),
        ('Basic realm="r"', [("basic", {"realm": "r"})]),
        ("basic", [("basic", {})]),
        (
            'Bearer realm="https://a/token",service="s",scope="repository:x:pull,push"',
            [("bearer", {"realm": "https://a/token", "service": "s", "scope": "repository:x:pull,push"})],
        ),
        ('Bearer realm="a", Basic realm="b"', [("bearer", {"realm": "a"}), ("basic", {"realm": "b"})]),
        ('Negotiate, Basic realm="b"', [("basic", {"realm": "b"})]),
        ('Bearer realm="x, Basic y"', [("bearer", {"realm": "x, Basic y"})]),
        (r'Bearer realm="a\"b"', [("bearer", {"realm": 'a"b'})]),
        ("Bearer realm=a,service=b", [("bearer", {"realm": "a", "service": "b"})]),
    ],
)
def test_challenges(header: str, expected: list[tuple[str, dict[str, str]]]) -> None:
    assert [(challenge.kind, challenge.parameters) for challenge in read_challenges(header)] == expected
