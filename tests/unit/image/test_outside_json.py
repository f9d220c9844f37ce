"""Documents that come from outside are right or an error that names the field; nothing in them is a bug of ours."""

from __future__ import annotations

import json
from typing import Any

import pytest

from wardian.errors import WardianError
from wardian.image.oci import CONFIG, MANIFEST, Descriptor, InvalidImage, Manifest, read_config, read_manifest
from wardian.image.outside_json import DEEPEST, WrongJson, read_json
from wardian.image.shared_version import SharedVersion

DIGEST = "a" * 64
CONFIGURATION: dict[str, Any] = {
    "os": "linux", "architecture": "amd64", "created": "2024-01-01T00:00:00Z", "rootfs": {"type": "layers", "diff_ids": [f"sha256:{DIGEST}"]},
    "config": {"Env": ["PATH=/bin", "EMPTY="], "Cmd": ["/bin/sh"], "Labels": {"a": "b"}, "User": "app", "StopSignal": "SIGINT"},
    "history": [{"created_by": "somebody"}],
}  # fmt: skip
VERSION: dict[str, Any] = {
    "schema": 1, "name": "team", "version": "7", "content_key": DIGEST, "definition_hash": DIGEST, "definition": {"name": "team", "python": {"pip": ["numpy"]}},
    "source": ["wardian-yaml", "name: team\n"], "description": "d", "tags": {"a": "b"}, "labels": ["stable"], "created": "2024-01-01T00:00:00+00:00",
    "locks": {"linux/amd64": DIGEST}, "images": {"linux/amd64": {"key": DIGEST, "digest": DIGEST}},
    "bases": {"linux/amd64": {"reference": "debian", "digest": DIGEST, "store": "docker.io/library/debian"}},
}  # fmt: skip
LONE = "\ud800"


def changed(document: dict[str, Any], path: str, value: Any) -> bytes:
    """Return a document with another value at ``path``, as it travels."""
    made = json.loads(json.dumps(document))
    place = made
    *above, last = path.split("/")
    for key in above:
        place = place[key]
    place[last] = value
    return json.dumps(made).encode()


def test_what_is_right_is_read_and_can_be_written() -> None:
    config = read_config(json.dumps(CONFIGURATION).encode())
    assert config.variables == (("PATH", "/bin"), ("EMPTY", ""))
    assert (config.command, config.user, dict(config.extra)) == (("/bin/sh",), "app", {"StopSignal": "SIGINT"})
    assert read_config(config.to_json()) == config
    version = SharedVersion.from_json(json.dumps(VERSION).encode())
    assert SharedVersion.from_json(version.to_json()) == version
    assert (version.labels, version.source) == (("stable",), ("wardian-yaml", "name: team\n"))


def test_null_is_as_if_it_was_not_there() -> None:
    for key in ("Env", "Cmd", "Entrypoint", "Labels", "User", "WorkingDir"):
        assert read_config(changed(CONFIGURATION, f"config/{key}", None)).platform == "linux/amd64"
    assert read_config(changed(CONFIGURATION, "history", None)).history == ()


@pytest.mark.parametrize(("path", "value", "said"), [
    ("history", ["a", 5], "`history[0]` is `a`, and not an object"),
    ("history", {"a": "b"}, "`history` is an object, and not a list"),
    ("history", [{"empty_layer": 1.5}], "`history[0].empty_layer` is 1.5"),
    ("config/Foo", 1.5, "`config.Foo` is 1.5"),
    ("config/Foo", {"Bar": [float("nan")]}, "`config.Foo.Bar[0]` is nan"),
    ("config/Env", [f"X={LONE}"], "`config.Env[0]` holds half of a character"),
    ("config/Env", ["=weird"], "`config.Env[0]` is `=weird`, and names no variable"),
    ("config/Env", "A=b", "`config.Env` is `A=b`, and not a list"),
    ("config/Env", ["A=b", "C=\0"], "`config.Env[1]` has a NUL"),
    ("config/Cmd", [1], "`config.Cmd[0]` is a number, and not a text"),
    ("config/Cmd", "sh", "`config.Cmd` is `sh`, and not a list"),
    ("config/Labels", {"a": 5}, "`config.Labels.a` is a number, and not a text"),
    ("config", [], "`config` is a list, and not an object"),
    ("created", 5, "`created` is a number"),
    ("architecture", ["amd64"], "`architecture` is a list"),
    ("architecture", None, "`architecture` is missing"),
    ("rootfs/diff_ids", ["sha256:abc"], "`rootfs.diff_ids[0]` is no sha256 digest: `sha256:abc`"),
    ("rootfs/diff_ids", [5], "`rootfs.diff_ids[0]` is no sha256 digest: a number"),
])  # fmt: skip
def test_a_configuration_with_something_else_in_a_field_is_named(path: str, value: Any, said: str) -> None:
    with pytest.raises(InvalidImage) as caught:
        read_config(changed(CONFIGURATION, path, value))
    assert said in caught.value.message
    assert caught.value.exit_code == 1  # nothing that the user wrote


def test_a_number_that_is_none_is_named() -> None:
    content = json.dumps(CONFIGURATION).replace('"SIGINT"', "1e400").encode()
    with pytest.raises(InvalidImage, match=r"`config\.StopSignal` is inf"):
        read_config(content)


@pytest.mark.parametrize(("path", "value", "said"), [
    ("created", 5, "`created` is a number"),
    ("description", 5, "`description` is a number"),
    ("description", LONE, "`description` holds half of a character"),
    ("labels", [1], "`labels[0]` is a number"),
    ("images", {"linux/amd64": 5}, "`images.linux/amd64` is a number"),
    ("images", {"linux/amd64": {"key": 5}}, "`images.linux/amd64.key` is a number"),
    ("locks", {"linux/amd64": "x"}, "`locks.linux/amd64` is no sha256 digest"),
    ("bases", {"linux/amd64": "x"}, "`bases.linux/amd64` is `x`"),
    ("definition", None, "`definition` is missing"),
    ("definition", "x", "`definition` is `x`, and not an object"),
    ("definition", {"name": "team", "python": {"pip": [5]}}, "`definition.python.pip[0]` is a number"),
    ("definition", {"name": "team", "python": {"manager": 5}}, "`definition.python.manager` is a number"),
    ("definition", {"name": "team", "python": {"local": [5]}}, "`definition.python.local[0]` is a number"),
    ("definition", {"name": "team", "docker": {"build_args": {"A": []}}}, "`definition.docker.build_args.A` is a list"),
    ("definition", {"name": "team", "variables": {"A": 1}}, "`definition.variables.A` is a number"),
    ("definition", {"name": "team", "new": 1.5}, "`definition.new` is 1.5"),
    ("schema", "x", "`schema` is `x`"),
    ("version", "", "`version` is missing"),
    ("tags", ["a"], "`tags` is a list"),
])  # fmt: skip
def test_a_shared_version_with_something_else_in_a_field_is_named(path: str, value: Any, said: str) -> None:
    with pytest.raises(InvalidImage) as caught:
        SharedVersion.from_json(changed(VERSION, path, value))
    assert said in caught.value.message
    assert caught.value.stable_code == "not_a_version"


@pytest.mark.parametrize("content", [b"[" * 200_000, b'{"a":' * 200_000, b"[" * (DEEPEST + 1) + b"]" * (DEEPEST + 1)])
def test_what_is_nested_without_end_is_refused_by_every_reader(content: bytes) -> None:
    for read in (read_json, read_config, read_manifest, SharedVersion.from_json):
        with pytest.raises((WrongJson, InvalidImage), match="nested too deeply"):
            read(content)
    assert read_json(b"[" * DEEPEST + b"]" * DEEPEST)


def test_half_of_a_character_is_found_wherever_it_is_and_a_whole_one_is_none() -> None:
    for text in (r'{"a": ["\ud800"]}', r'{"a": {"\udfff": 1}}', r'["\uD83D"]'):
        with pytest.raises(WrongJson, match="half of a character"):
            read_json(text.encode())
    assert read_json(rb'["\ud83d\ude00"]') == ["😀"]
    with pytest.raises(WrongJson, match="not UTF-8"):
        read_json(b'["\xed\xa0\x80"]')


def test_an_annotation_or_a_size_that_cannot_be_is_refused() -> None:
    layer = Descriptor.of(b"x", "application/vnd.oci.image.layer.v1.tar")
    document = json.loads(Manifest(Descriptor.of(b"{}", CONFIG), (layer,)).to_json())
    document["layers"][0]["annotations"] = {"a": LONE}
    with pytest.raises(InvalidImage, match=r"`layers\[0\]\.annotations\.a` holds half of a character"):
        read_manifest(json.dumps(document).encode(), MANIFEST)
    del document["layers"][0]["annotations"]
    document["layers"][0]["size"] = 1 << 70
    with pytest.raises(InvalidImage, match="is not a size") as caught:
        read_manifest(json.dumps(document).encode(), MANIFEST)
    assert caught.value.stable_code == "wrong_size"
    document["layers"][0] |= {"size": 1, "digest": "sha256:abc"}
    with pytest.raises(WardianError) as refused:
        read_manifest(json.dumps(document).encode(), MANIFEST)
    assert (refused.value.stable_code, refused.value.exit_code) == ("unsupported_digest", 1)
