"""Images unpacked as OCI bundles: what is in them, and that nothing gets outside."""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.base_images import put_image, tar

from wardian.digest import Digest
from wardian.errors import BadArchive
from wardian.image.base import get_base
from wardian.image.bundle import bundle_key, make_bundle
from wardian.image.layout import LayoutImageStore

if TYPE_CHECKING:
    from pathlib import Path


def unpacked(tmp_path: Path, *layers: bytes, uid: int = 0, visible: tuple[str, ...] = ("/shared/ada",)) -> Path:
    store = LayoutImageStore(tmp_path / "layout")
    put_image(store, list(layers))
    place = tmp_path / "bundle"
    make_bundle(get_base(store, "base", "linux/amd64"), place, visible, uid, uid)
    return place


def test_layers_lie_on_each_other(tmp_path: Path) -> None:
    lower = tar(
        ("bin", None), ("bin/sh", b"old"), ("gone", b"x"), ("lib", "->usr/lib"), ("usr/lib/a", b"a"), ("kept/one", b"1")
    )
    upper = tar(("bin/sh", b"new"), (".wh.gone", b""), ("lib/b", b"b"), ("hard", "=bin/sh"), ("etc/hosts", b"mine"))
    root = unpacked(tmp_path, lower, upper) / "rootfs"
    assert (root / "bin/sh").read_bytes() == b"new"
    assert stat.S_IMODE((root / "bin/sh").stat().st_mode) == 0o755
    assert stat.S_IMODE((root / "usr/lib/a").stat().st_mode) == 0o644
    assert not (root / "gone").exists()
    assert os.readlink(root / "lib") == "usr/lib"  # noqa: PTH115
    assert sorted(path.name for path in (root / "usr/lib").iterdir()) == ["a", "b"]
    assert (root / "hard").read_bytes() == b"new"
    assert (root / "etc/hosts").read_bytes() == b"mine"
    assert (root / "shared/ada").is_dir(), "what is mounted has a place"


def test_a_link_to_elsewhere_leads_nowhere_outside(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    link = f"->{outside}"
    root = (
        unpacked(tmp_path, tar(("a", link), ("etc", link), ("shared", link)), tar(("a/b", b"x"), ("etc/passwd", b"y")))
        / "rootfs"
    )
    assert list(outside.iterdir()) == []
    assert all(path.is_relative_to(root) for path in root.rglob("*"))


@pytest.mark.parametrize("name", ["../x", "a/../../x"])
def test_paths_that_leave_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadArchive):
        unpacked(tmp_path, tar((name, b"x")))
    assert not (tmp_path / "x").exists()


def configuration(place: Path) -> Any:
    return json.loads((place / "config.json").read_text())


def test_what_a_container_is_given(tmp_path: Path) -> None:
    found = configuration(unpacked(tmp_path, tar(("bin/sh", b"")), visible=("/shared/ada", "/datasets")))
    assert found["root"] == {"path": "rootfs", "readonly": True}
    assert {"/shared/ada", "/datasets", "/tmp", "/proc"} <= {mount["destination"] for mount in found["mounts"]}
    assert found["process"]["noNewPrivileges"]
    assert "capabilities" not in found["process"]
    assert [one["type"] for one in found["linux"]["namespaces"]] == ["mount", "ipc"]


def test_who_is_not_root_is_root_inside_only(tmp_path: Path) -> None:
    found = configuration(unpacked(tmp_path, tar(("bin/sh", b"")), uid=1000))
    assert found["linux"]["uidMappings"] == [{"containerID": 0, "hostID": 1000, "size": 1}]
    assert {"type": "user"} in found["linux"]["namespaces"]


def test_a_bundle_is_named_by_all_that_is_in_it() -> None:
    image, other = Digest.of(b"a"), Digest.of(b"b")
    keys = [
        bundle_key(image, ("/n",), 0, 0),
        bundle_key(other, ("/n",), 0, 0),
        bundle_key(image, ("/n", "/d"), 0, 0),
        bundle_key(image, ("/n",), 7, 7),
    ]
    assert len(set(keys)) == 4
    assert bundle_key(image, ("/n",), 0, 0) == keys[0]
