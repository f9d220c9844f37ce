"""Archives of images and the tools that read and write them: skopeo, podman, docker, umoci."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
import zstandard
from tests.support.containers import dockerd, needs, podman_space
from tests.support.images import AnImage, an_image, content, tar_layer

from wardian.image.archive_writing import write_docker_archive, write_oci_archive
from wardian.image.archives import open_docker_archive, open_oci_archive
from wardian.image.copy import copy_image
from wardian.image.layout import LayoutImageStore
from wardian.image.oci import LAYER, LAYER_GZIP, LAYER_ZSTD

if TYPE_CHECKING:
    from pathlib import Path

NAME = "example.com/team/envs:1"


def skopeo(*arguments: str) -> str:
    needs("skopeo")
    return subprocess.run(["skopeo", *arguments], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def image() -> AnImage:
    """Layers as they may be stored: plain, gzip, zstd."""
    plain = [tar_layer({f"opt/file-{n}": content(n, 5000)}) for n in range(3)]
    packed = [plain[0], gzip.compress(plain[1], mtime=0), zstandard.ZstdCompressor().compress(plain[2])]
    return AnImage(plain, packed=packed, media_types=[LAYER, LAYER_GZIP, LAYER_ZSTD])


@pytest.fixture
def store(tmp_path: Path, image: AnImage) -> LayoutImageStore:
    store = LayoutImageStore(tmp_path / "layout")
    image.put(store, "x")
    return store


def test_skopeo_reads_our_archives(store: LayoutImageStore, image: AnImage, tmp_path: Path) -> None:
    write_oci_archive(store, "x", tmp_path / "oci.tar", ["1"])
    write_docker_archive(store, "x", tmp_path / "docker.tar", [NAME])
    told = json.loads(skopeo("inspect", f"oci-archive:{tmp_path / 'oci.tar'}:1"))
    assert told["Digest"] == f"sha256:{image.descriptor.digest}"
    told = json.loads(skopeo("inspect", "--config", f"docker-archive:{tmp_path / 'docker.tar'}:{NAME}"))
    assert told["rootfs"]["diff_ids"] == [f"sha256:{diff_id}" for diff_id in _diff_ids(image)]
    skopeo("copy", f"docker-archive:{tmp_path / 'docker.tar'}:{NAME}", f"dir:{tmp_path / 'dir'}")
    assert {path.name for path in (tmp_path / "dir").iterdir()} >= set(_diff_ids(image))


def test_we_read_skopeos_archives(tmp_path: Path) -> None:
    image = an_image()
    store = LayoutImageStore(tmp_path / "layout")
    image.put(store, "x")
    skopeo("copy", f"oci:{store.root}:x", f"docker-archive:{tmp_path / 'docker.tar'}:{NAME}")
    skopeo("copy", "--preserve-digests", f"oci:{store.root}:x", f"oci-archive:{tmp_path / 'oci.tar'}:1")
    target = LayoutImageStore(tmp_path / "target")
    with open_docker_archive(tmp_path / "docker.tar", scratch=tmp_path) as archive:
        assert archive.tags() == [NAME]
        copy_image(archive, NAME, target, ["docker"])
    with open_oci_archive(tmp_path / "oci.tar", scratch=tmp_path) as archive:
        assert archive.tags() == ["1"]
        copied = copy_image(archive, "1", target, ["oci"])
    assert copied.descriptor.digest == image.descriptor.digest
    for tag in ("docker", "oci"):
        told = json.loads(skopeo("inspect", "--config", f"oci:{target.root}:{tag}"))
        assert told["rootfs"]["diff_ids"] == [f"sha256:{diff_id}" for diff_id in _diff_ids(image)]


def test_podman_loads_our_archives_and_we_read_what_it_saves(store: LayoutImageStore, image: AnImage, tmp_path: Path) -> None:
    with podman_space() as podman:
        call = podman.engine().call
        for kind, write in (("docker", write_docker_archive), ("oci", write_oci_archive)):
            write(store, "x", tmp_path / f"{kind}.tar", [NAME if kind == "docker" else "1"])
            loaded = call("load", "--quiet", "--input", str(tmp_path / f"{kind}.tar"))
            assert loaded.returncode == 0, loaded.stderr
            found = call("image", "inspect", "--format", "{{.Id}}", loaded.stdout.rpartition("Loaded image: ")[2].strip())
            assert found.stdout.strip() == image.manifest.config.digest
            if kind == "docker":  # of layers in zstd podman saves none
                saved = call("save", "--quiet", "--format", "docker-archive", "--output", str(tmp_path / "saved.tar"), NAME)
                assert saved.returncode == 0, saved.stderr
    with open_docker_archive(tmp_path / "saved.tar", scratch=tmp_path) as archive:
        target = LayoutImageStore(tmp_path / "target")
        copied = copy_image(archive, NAME, target)
        found_there = target.find(f"sha256:{copied.descriptor.digest}")
        assert found_there is not None
        assert json.loads(found_there.content)["config"]["digest"] == f"sha256:{image.manifest.config.digest}"


@pytest.mark.root
def test_docker_loads_our_archive_whatever_its_layers_were(store: LayoutImageStore, image: AnImage, tmp_path: Path) -> None:
    write_docker_archive(store, "x", tmp_path / "docker.tar", [NAME])
    with dockerd() as docker:
        call = docker.engine().call
        loaded = call("load", "--quiet", "--input", str(tmp_path / "docker.tar"))
        assert loaded.returncode == 0, loaded.stderr
        found = call("image", "inspect", "--format", "{{.Id}}", NAME)
        assert found.stdout.strip() == f"sha256:{image.manifest.config.digest}"
        saved = call("save", "--output", str(tmp_path / "saved.tar"), NAME)
        assert saved.returncode == 0, saved.stderr
    with open_docker_archive(tmp_path / "saved.tar", scratch=tmp_path) as archive:
        assert archive.tags() == [NAME]
        copy_image(archive, "", LayoutImageStore(tmp_path / "target"), ["x"])


@pytest.mark.skipif(shutil.which("umoci") is None, reason="umoci is missing: scripts/test-tools installs it")
def test_umoci_unpacks_our_layout(tmp_path: Path) -> None:
    plain = [tar_layer({f"opt/file-{n}": content(n, 5000)}) for n in range(2)]
    image = AnImage(plain, packed=[gzip.compress(layer, mtime=0) for layer in plain], media_types=[LAYER_GZIP] * 2)
    store = LayoutImageStore(tmp_path / "layout")
    image.put(store, "x")
    command = ["umoci", "unpack", "--rootless", "--image", f"{store.root}:x", str(tmp_path / "bundle")]
    subprocess.run(command, check=True, capture_output=True)
    assert (tmp_path / "bundle/rootfs/opt/file-1").read_bytes() == content(1, 5000)


def _diff_ids(image: AnImage) -> list[str]:
    return [diff_id.removeprefix("sha256:") for diff_id in json.loads(image.config)["rootfs"]["diff_ids"]]
