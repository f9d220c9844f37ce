"""Settings in a file: shown with their origin, changed with comments kept, never left wrong."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

import pytest

from wardian.errors import InvalidSetting, NotFound
from wardian.settings import Settings
from wardian.workspace.config_file import ConfigFile

if TYPE_CHECKING:
    from pathlib import Path

COMMENTED = """\
# our team's settings
offline = false  # mostly

[indexes]  # inside
ours = "https://index.example/simple"
"""


@pytest.fixture
def config(tmp_path: Path) -> ConfigFile:
    return ConfigFile(tmp_path / "home")


def values(config: ConfigFile, environ: dict[str, str] | None = None) -> dict[str, tuple[object, str]]:
    return {setting.name: (setting.value, setting.origin) for setting in config.show(environ or {})}


def test_every_setting_is_shown_with_its_origin(config: ConfigFile, tmp_path: Path) -> None:
    config.set("timeout_s", "5")
    shown = values(config, {"WARDIAN_OFFLINE": "1"})
    assert list(shown) == [field.name for field in fields(Settings)]
    assert shown["timeout_s"] == (5.0, f"{config.path}: timeout_s")
    assert shown["offline"] == (True, "$WARDIAN_OFFLINE")
    assert shown["workspace"] == ("default", "default")
    assert shown["home"] == (str(tmp_path / "home"), "default")
    assert shown["lock_platforms"] == (["linux/amd64"], "default")
    assert all(setting.doc for setting in config.show({}))
    assert config.show({})[0].as_document()["variable"] == "WARDIAN_HOME"


@pytest.mark.parametrize(
    ("key", "text", "written", "value"),
    [
        ("offline", "true", "offline = true", True),
        ("offline", "off", "offline = false", False),
        ("timeout_s", "2.5", "timeout_s = 2.5", 2.5),
        ("cache_limit_bytes", "1_000_000", "cache_limit_bytes = 1000000", 1_000_000),
        ("workspace", "team", 'workspace = "team"', "team"),
        ("byte_code", "never", 'byte_code = "never"', "never"),
        ("lock_platforms", "osx-arm64, linux/amd64", 'lock_platforms = ["darwin/arm64", "linux/amd64"]', ["darwin/arm64", "linux/amd64"]),
        ("pass_variables", "AWS_*,TOKEN", 'pass_variables = ["AWS_*", "TOKEN"]', ["AWS_*", "TOKEN"]),
        ("python_downloads", "/opt/pythons.json", 'python_downloads = "/opt/pythons.json"', "/opt/pythons.json"),
    ],
)  # fmt: skip
def test_set_writes_what_settings_read(config: ConfigFile, key: str, text: str, written: str, value: object) -> None:
    assert config.set(key, text).value == value
    assert config.path.read_text() == written + "\n"
    assert values(config)[key] == (value, f"{config.path}: {key}")


def test_entries_of_tables(config: ConfigFile) -> None:
    config.set("indexes.ours", "https://index.example/simple/")
    config.set("mirrors.https://files.example/packages", "file:///srv/mirror")
    config.set("channels.team", "https://conda.example/team")
    settings = Settings.load({}, home=config.path.parent)
    assert dict(settings.indexes) == {"ours": "https://index.example/simple"}
    assert dict(settings.mirrors) == {"https://files.example/packages": "file:///srv/mirror"}
    assert config.unset("indexes.ours").value == {}
    assert dict(Settings.load({}, home=config.path.parent).channels) == {"team": "https://conda.example/team"}


def test_comments_and_order_stay(config: ConfigFile) -> None:
    config.path.parent.mkdir()
    config.path.write_text(COMMENTED)
    config.set("offline", "true")
    config.set("indexes.theirs", "https://other.example/simple")
    config.set("timeout_s", "9")
    assert config.path.read_text() == (
        "# our team's settings\noffline = true  # mostly\ntimeout_s = 9.0\n\n[indexes]  # inside\n"
        'ours = "https://index.example/simple"\ntheirs = "https://other.example/simple"\n'
    )
    config.unset("timeout_s")
    config.unset("indexes.theirs")
    config.set("offline", "false")
    assert config.path.read_text() == COMMENTED


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("ofline", "1", "no setting `ofline`"),
        ("home", "/x", "where this file itself lies"),
        ("indexes", "https://x.example", "is a table"),
        ("offline.x", "1", "not a table"),
        ("offline", "maybe", "true or false"),
        ("timeout_s", "soon", "not a number"),
        ("timeout_s", "-1", "config.toml: timeout_s"),
        ("cache_limit_bytes", "1.5", "not a number"),
        ("cache_limit_bytes", "0", "config.toml: cache_limit_bytes"),
        ("byte_code", "sometimes", "background, build or never"),
        ("lock_platforms", "linux/amd64,atari", "unknown platform `atari`"),
        ("workspace", "", "no empty value"),
        ("workspace", "../x", "not a name"),
        ("indexes.ours", "index.example", "is a URL"),
        ("indexes.ours", "https://ann:pw@index.example", "holds a secret"),
    ],
)
def test_what_is_wrong_is_refused_and_the_file_stays(config: ConfigFile, key: str, text: str, message: str) -> None:
    config.path.parent.mkdir()
    config.path.write_text(COMMENTED)
    with pytest.raises(InvalidSetting, match=message) as caught:
        config.set(key, text)
    assert config.path.read_text() == COMMENTED
    assert "/tmp" not in caught.value.message.replace(str(config.path), "")


def test_close_names_are_offered(config: ConfigFile) -> None:
    with pytest.raises(InvalidSetting) as caught:
        config.set("ofline", "1")
    assert caught.value.hint == "did you mean `offline`?"


def test_a_file_that_is_no_toml_is_named_and_stays(config: ConfigFile) -> None:
    config.path.parent.mkdir()
    config.path.write_text("offline = = 1\n")
    for act in (lambda: config.set("offline", "true"), lambda: config.show({})):
        with pytest.raises(InvalidSetting, match=r"config\.toml"):
            act()
    assert config.path.read_text() == "offline = = 1\n"


def test_only_what_is_set_can_be_unset(config: ConfigFile) -> None:
    with pytest.raises(NotFound, match="does not set `offline`"):
        config.unset("offline")
    with pytest.raises(NotFound):
        config.unset("indexes.ours")
    assert not config.path.exists()
