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


@pytest.mark.parametrize("name", ["WARDIAN_CACHE", "WARDIAN_WORKSPACE", "WARDIAN_TIMEOUT_S", "WARDIAN_CACHE_LIMIT_BYTES"])
def test_an_empty_variable_is_as_if_it_was_not_there(config: ConfigFile, name: str) -> None:
    assert config.show({name: ""}) == config.show({}), "an empty cache would be the directory that Wardian is called from"


def test_an_empty_list_is_a_list(config: ConfigFile) -> None:
    assert values(config, {"WARDIAN_LOCK_PLATFORMS": ""})["lock_platforms"] == ([], "$WARDIAN_LOCK_PLATFORMS")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('cache = ""', "cache"),
        ('cache = "below/the/directory/of/the/call"', "cache"),
        ('cache = "~nobody-of-this-name/x"', "cache"),
        ('cache = "/a\\u0000b"', "cache"),
        ("cache = 3", "cache"),
        ("cache_limit_bytes = inf", "cache_limit_bytes"),
        ("timeout_s = nan", "timeout_s"),
        ("timeout_s = inf", "timeout_s"),
        ("offline = 1", "offline"),
        ("indexes = 3", "indexes"),
        ("[indexes]\npypi = 3", "indexes.pypi"),
        ('[indexes]\npypi = "not a url"', "indexes.pypi"),
        ('[channels]\nconda-forge = "::::"', "channels.conda-forge"),
        ('[channels]\nconda-forge = "https://conda.example.org:99999/x"', "channels.conda-forge"),
        ('[mirrors]\n"https://a.example/" = "http://[::1/"', "mirrors.https://a.example/"),
    ],
)
def test_a_wrong_value_in_the_file_is_named_with_what_would_be_right(config: ConfigFile, text: str, key: str) -> None:
    config.path.parent.mkdir()
    config.path.write_text(text)
    with pytest.raises(InvalidSetting) as caught:
        Settings.load({}, home=config.path.parent)
    assert caught.value.message.startswith(f"{config.path}: {key}: `")
    assert caught.value.hint


@pytest.mark.parametrize("name", ["WARDIAN_HOME", "WARDIAN_CACHE"])
def test_the_home_of_a_user_that_there_is_not_is_said(name: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match=rf"\${name}: `~nobody-of-this-name/x`"):
        Settings.load({"WARDIAN_HOME": str(tmp_path), name: "~nobody-of-this-name/x"})


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("registry", "someone:hunter2@registry.example/a"),
        ("registry", "someone:hunter2@registry.example"),
        ("registry", "https://someone:hunter2@registry.example/a"),
        ("registry", "someone:hun@hunter2@registry.example/a"),
        ("global_registry", "hunter2@registry.example/a"),
        ("base_image", f"someone:hunter2@registry.example/python@sha256:{'0' * 64}"),
        ("insecure_registries", "localhost:5000,someone:hunter2@registry.example"),
    ],
)
def test_a_login_is_in_no_setting_and_is_not_repeated(config: ConfigFile, key: str, text: str) -> None:
    for read in (lambda: config.set(key, text), lambda: config.show({f"WARDIAN_{key.upper()}": text})):
        with pytest.raises(InvalidSetting) as caught:
            read()
        assert "hunter2" not in f"{caught.value.message} {caught.value.hint}"
        assert "wardian secret set NAME --kind registry --url https://registry.example" in str(caught.value.hint)
    assert not config.path.exists()


@pytest.mark.parametrize(
    ("key", "text", "why"),
    [
        ("registry", f"registry.example/a@sha256:{'0' * 64}", "is not a registry"),
        ("registry", "registry.example/a:latest", "is not a registry"),
        ("registry", "https://registry.example/a", "has a scheme"),
        ("registry", "oci-archive:a.tar", "is not a registry"),
        ("global_registry", "registry.example/A", "capital letters"),
        ("base_image", "dir:a", "no kind of place"),
        ("base_image", "wardian:sklearn:5", "none to build on"),
        ("base_image", "python 3", "holds spaces"),
        ("insecure_registries", "registry.example/a", "more than a host"),
        ("insecure_registries", "registry.example:x", "not a host"),
    ],
)
def test_what_names_no_registry_and_no_image_is_refused_at_once(config: ConfigFile, key: str, text: str, why: str) -> None:
    with pytest.raises(InvalidSetting, match=why) as caught:
        config.set(key, text)
    assert caught.value.message.startswith(f"{config.path}: {key}: ")
    assert not config.path.exists()
    with pytest.raises(InvalidSetting, match=why) as caught:
        config.show({f"WARDIAN_{key.upper()}": text})
    assert caught.value.message.startswith(f"$WARDIAN_{key.upper()}: ")


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("registry", "registry.example:5000/team/envs"),
        ("registry", "oci:/srv/images"),
        ("global_registry", "localhost/x"),
        ("base_image", "scratch"),
        ("base_image", "oci:/srv/images:debian"),
        ("base_image", f"registry.example/python:3.12@sha256:{'0' * 64}"),
        ("insecure_registries", "localhost:5000,registry.example,[::1]:5000"),
    ],
)
def test_registries_and_images_as_they_are_written(config: ConfigFile, key: str, text: str) -> None:
    assert config.set(key, text).value == (text.split(",") if key == "insecure_registries" else text)


def test_a_login_that_an_older_version_stored_can_be_unset(config: ConfigFile) -> None:
    config.path.parent.mkdir()
    config.path.write_text('registry = "someone:hunter2@registry.example/a"\n')
    with pytest.raises(InvalidSetting, match="a login stands before"):
        config.show({})
    assert config.unset("registry").value == ""
