"""An image put together: what it inherits from its base, what it sets, and that other tools can build on it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from wardian.digest import Digest
from wardian.errors import BuildFailed
from wardian.image.assemble import Assembled, NamedLayer, assemble
from wardian.image.key import ImageScheme
from wardian.image.layer import Layer
from wardian.image.oci import CONFIG, DOCKER_LAYER_GZIP, LAYER_GZIP, LAYER_ZSTD, Descriptor, ImageConfig, Manifest, read_config

KEY, LOCK = Digest.of(b"key"), Digest.of(b"lock")
SCHEME = ImageScheme("zstd:3")


def a_layer(name: str) -> NamedLayer:
    return NamedLayer(
        Layer(Descriptor(LAYER_ZSTD, Digest.of(name.encode()), 10), Digest.of(b"raw" + name.encode()), 20), (f"{name} 1.0",)
    )


def a_base(**changes: Any) -> tuple[Manifest, ImageConfig]:
    config = ImageConfig("linux/amd64", (Digest.of(b"base"),), (("PATH", "/usr/bin"), ("LANG", "C.UTF-8")), user="1000", working_directory="/srv",
                         history=({"created_by": "debian"}, {"created_by": "CMD", "empty_layer": True}))  # fmt: skip
    layer = Descriptor(DOCKER_LAYER_GZIP, Digest.of(b"packed"), 5)
    return Manifest(Descriptor(CONFIG, Digest.of(b"config"), 1), (layer,)), replace(config, **changes)


def made(base: tuple[Manifest, ImageConfig] | None, *names: str, **options: Any) -> Assembled:
    return assemble(
        [a_layer(name) for name in names],
        platform="linux/amd64",
        key=KEY,
        lock_digest=LOCK,
        scheme=SCHEME,
        base=base,
        **options,
    )


def test_the_base_is_inherited_and_the_environment_comes_first() -> None:
    config = made(a_base(), "numpy").config
    assert dict(config.variables) == {"PATH": "/opt/env/bin:/usr/bin", "LANG": "C.UTF-8", "WARDIAN_ENVIRONMENT": KEY}
    assert (config.user, config.working_directory) == ("1000", "/srv")
    assert config.diff_ids == (Digest.of(b"base"), Digest.of(b"rawnumpy"))
    assert dict(config.labels)["dev.wardian.lock-digest"] == LOCK


def test_an_entry_point_that_would_swallow_arguments_goes() -> None:
    config = made(a_base(entrypoint=("/entry.sh",), command=("--serve",)), "numpy").config
    assert (config.entrypoint, config.command) == ((), ("python",))
    assert made(a_base(command=("bash",)), "numpy").config.command == ("bash",)


def test_dockers_layers_get_the_names_that_oci_has_for_them() -> None:
    assert [layer.media_type for layer in made(a_base(), "numpy").manifest.layers] == [LAYER_GZIP, LAYER_ZSTD]


@pytest.mark.parametrize(
    "history", [(), ({"created_by": "x", "empty_layer": True},), ({"created_by": "a"}, {"created_by": "b"})]
)
def test_the_history_lists_each_layer_once_whatever_the_base_says(history: tuple[dict[str, object], ...]) -> None:
    config = made(a_base(history=history), "numpy", "scipy").config
    assert sum(not entry.get("empty_layer") for entry in config.history) == len(config.diff_ids) == 3
    assert [entry["created_by"] for entry in made(a_base(), "numpy").config.history] == ["debian", "CMD", "wardian: numpy 1.0"]


def test_the_same_input_is_the_same_bytes_and_the_configuration_is_what_the_manifest_names() -> None:
    one, other = made(a_base(), "numpy"), made(a_base(), "numpy")
    assert (one.manifest.to_json(), one.config_json) == (other.manifest.to_json(), other.config_json)
    assert one.manifest.config == Descriptor.of(one.config_json, CONFIG)
    assert read_config(one.config_json) == replace(one.config, history=tuple(map(dict, one.config.history)))


def test_scratch_has_a_path_of_its_own() -> None:
    variables = dict(made(None, "numpy", variables={"A": "1"}, is_conda=True).config.variables)
    assert variables["PATH"].startswith("/opt/env/bin:/usr/local/sbin:")
    assert (variables["A"], variables["CONDA_PREFIX"]) == ("1", "/opt/env")


@pytest.mark.parametrize(
    ("changes", "code"), [({"platform": "linux/arm64"}, "platform_mismatch"), ({"diff_ids": ()}, "base_layers_mismatch")]
)
def test_a_base_that_cannot_be_one_is_refused(changes: dict[str, object], code: str) -> None:
    with pytest.raises(BuildFailed) as caught:
        made(a_base(**changes), "numpy")
    assert caught.value.stable_code == code
