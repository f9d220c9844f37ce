from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest
from tests.builders import a_lock, an_artifact
from tests.support.base_images import PATH, put_image, tar

from wardian.errors import BuildFailed, NotFound, WardianError
from wardian.image.base import check_scratch, get_base
from wardian.image.conda_entries import PackageFacts
from wardian.image.copy import select_image
from wardian.image.layout import LayoutImageStore
from wardian.image.oci import CONFIG, EMPTY, INDEX, LAYER_GZIP, MANIFEST, Descriptor, ImageConfig, Index, InvalidImage, Manifest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> LayoutImageStore:
    return LayoutImageStore(tmp_path / "layout")


LAYER = tar(("bin/sh", b"#!"))


def index(store: LayoutImageStore, *platforms: str, tag: str = "many") -> Descriptor:
    described = []
    for platform in platforms:
        found = put_image(store, [LAYER], tags=(), platform=platform)
        described.append(Descriptor(found.media_type, found.digest, found.size_bytes, platform))
    return store.tag(Index(tuple(described)).to_json(), INDEX, [tag])


def test_what_is_inherited_and_pinned(store: LayoutImageStore) -> None:
    pinned = put_image(store, [LAYER, tar(("etc/x", b"x"))], user="app", working_directory="/srv")
    base = get_base(store, "base", "linux/amd64")
    assert (base.digest, len(base.layers), base.reference) == (pinned.digest, 2, "base")
    assert (base.config.user, base.config.working_directory, base.config.variables) == ("app", "/srv", (("PATH", PATH),))
    assert base.size_bytes == sum(layer.size_bytes for layer in base.manifest.layers)
    put_image(store, [LAYER])  # the tag moves
    assert get_base(store, f"sha256:{pinned.digest}", "linux/amd64").manifest == base.manifest
    assert get_base(store, "base", "linux/amd64").digest != base.digest


def test_no_layer_is_read(store: LayoutImageStore) -> None:
    put_image(store, [LAYER])
    base = get_base(store, "base", "linux/amd64")
    (store.root / "blobs/sha256" / base.layers[0].digest).unlink()
    assert get_base(store, "base", "linux/amd64") == base


@pytest.mark.parametrize("platform", ["linux/amd64", "linux/arm64"])
def test_the_platform_is_chosen_from_an_index(store: LayoutImageStore, platform: str) -> None:
    named = index(store, "linux/amd64", "linux/arm64/v8", "unknown/unknown")
    base = get_base(store, "many", platform)
    assert base.config.platform.startswith(platform)
    assert base.digest != named.digest
    assert get_base(store, f"sha256:{named.digest}", platform).digest == base.digest
    store.tag(Index((named,)).to_json(), INDEX, ["nested"])
    with pytest.raises(BuildFailed, match="names no platform"):
        get_base(store, "nested", platform)


def test_another_platform_is_refused_with_what_there_is(store: LayoutImageStore) -> None:
    index(store, "linux/arm64/v8", "linux/s390x", "unknown/unknown")
    put_image(store, [LAYER], platform="linux/arm64", tags=["one"])
    for reference, there in (("many", "linux/arm64/v8, linux/s390x"), ("one", "linux/arm64")):
        with pytest.raises(BuildFailed, match=f"not there for linux/amd64: {there}$") as caught:
            get_base(store, reference, "linux/amd64")
        assert caught.value.stable_code == "platform_mismatch"


def test_an_index_that_lies_about_a_platform_is_found_out(store: LayoutImageStore) -> None:
    other = put_image(store, [LAYER], platform="linux/arm64")
    store.tag(Index((Descriptor(MANIFEST, other.digest, other.size_bytes, "linux/amd64"),)).to_json(), INDEX, ["lie"])
    with pytest.raises(BuildFailed, match="linux/arm64"):
        get_base(store, "lie", "linux/amd64")


def test_an_image_that_is_not_there_is_not_found(store: LayoutImageStore) -> None:
    with pytest.raises(NotFound, match=":none") as caught:
        get_base(store, "none", "linux/amd64")
    assert caught.value.stable_code == "base_image_not_found"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"layer_type": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"}, "base_layers_withheld"),
        ({"layer_type": "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"}, "base_layers_withheld"),
        ({"layer_type": f"{LAYER_GZIP}+encrypted"}, "not_an_image"),
        ({"diff_ids": ()}, "base_layers_mismatch"),
    ],
)
def test_what_cannot_be_a_base_is_refused(store: LayoutImageStore, changes: dict[str, Any], code: str) -> None:
    put_image(store, [LAYER], **changes)
    with pytest.raises(WardianError) as caught:
        get_base(store, "base", "linux/amd64")
    assert caught.value.stable_code == code


def test_too_many_layers_are_refused(store: LayoutImageStore) -> None:
    put_image(store, [LAYER] * 111)
    assert len(get_base(store, "base", "linux/amd64").layers) == 111
    put_image(store, [LAYER] * 112)
    with pytest.raises(BuildFailed, match="112 layers") as caught:
        get_base(store, "base", "linux/amd64")
    assert caught.value.stable_code == "too_many_layers"


def stored(store: LayoutImageStore, content: bytes, media_type: str = CONFIG) -> Descriptor:
    descriptor = Descriptor.of(content, media_type)
    store.put(descriptor, lambda: io.BytesIO(content))
    return descriptor


def test_an_artifact_is_no_image(store: LayoutImageStore) -> None:
    empty = stored(store, b"{}", EMPTY)
    store.tag(Manifest(empty, (empty,), artifact_type="application/spdx+json").to_json(), MANIFEST, ["sbom"])
    with pytest.raises(BuildFailed, match=r"application/spdx\+json") as caught:
        get_base(store, "sbom", "linux/amd64")
    assert caught.value.stable_code == "not_an_image"


@pytest.mark.parametrize(
    "content",
    [b"{", b"[]", b'{"config": {}}', b" " * (5 << 20), b'{"architecture": "amd64", "rootfs": {}, "history": ["a", 5]}'],
)
def test_a_configuration_that_is_none_is_an_error_that_names_the_image(store: LayoutImageStore, content: bytes) -> None:
    store.tag(Manifest(stored(store, content), ()).to_json(), MANIFEST, ["bad"])
    for call in (
        lambda: get_base(store, "bad", "linux/amd64"),
        lambda: select_image(store, "bad", "linux/amd64"),
    ):
        with pytest.raises(InvalidImage) as caught:
            call()
        assert f"{store.name}:bad" in caught.value.message
        assert caught.value.exit_code == 1


def test_an_image_without_layers_can_be_a_base(store: LayoutImageStore) -> None:
    config = stored(store, ImageConfig("linux/amd64", (), user="nobody").to_json())
    store.tag(Manifest(config, ()).to_json(), MANIFEST, ["nothing"])
    assert get_base(store, "nothing", "linux/amd64").config.user == "nobody"


# -- scratch -------------------------------------------------------------------------------------------------------------


def facts(*paths: str, loader: str = "") -> PackageFacts:
    listed = tuple({"_path": path, "path_type": "hardlink"} for path in paths)
    return PackageFacts(listed, paths, {paths[0]: loader} if loader else {})


def test_scratch_needs_every_loader_in_the_environment() -> None:
    python, ld = an_artifact("python", "3.12.1", kind="conda"), an_artifact("sysroot_linux-64", kind="conda")
    lock, usual = a_lock(python, ld), "/lib64/ld-linux-x86-64.so.2"
    with pytest.raises(BuildFailed, match=f"{usual}, which python's bin/python3.12 needs") as caught:
        check_scratch(
            lock, [(python, facts("bin/python3.12", loader=usual)), (ld, facts("x86_64/sysroot/lib64/ld-linux-x86-64.so.2"))]
        )
    assert caught.value.stable_code == "scratch_cannot_run"
    check_scratch(lock, [(python, facts("bin/python3.12", loader="/opt/env/lib/ld.so")), (ld, facts("lib/ld.so"))])
    check_scratch(a_lock(ld), [(ld, facts("share/x"))])


def test_a_standalone_python_cannot_run_on_scratch() -> None:
    with pytest.raises(BuildFailed, match=r"the C library, which Python 3\.12\.1 needs"):
        check_scratch(a_lock(an_artifact("cpython", "3.12.1", kind="python")), [])
