"""Layouts and registries with the real things: skopeo, Debian's registry, killed processes, cut connections, a full disk."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support import mounts
from tests.support import registry as support
from tests.support.cutting_proxy import CuttingProxy
from tests.support.images import an_image, blob, content
from tests.support.registry import DockerRegistry

from wardian.errors import DiskFull, NotFound, Unavailable, WardianError
from wardian.image.layout import LayoutImageStore
from wardian.image.oci import INDEX, Descriptor, Index
from wardian.image.registry import RegistryImageStore
from wardian.image.registry_auth import RegistryLogin
from wardian.image.registry_client import RegistryClient
from wardian.tools.registry_http import RegistryHttp

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wardian.image.store import ImageStore

REPOSITORY = Path(__file__).parents[2]
needs_registry = pytest.mark.skipif(bool(support.why_not()), reason=support.why_not())
needs_skopeo = pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo missing: scripts/test-tools installs it")


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[DockerRegistry]:
    with DockerRegistry(tmp_path / "registry") as running:
        yield running


def a_store(host: str, name: str = "team/envs", login: RegistryLogin | None = None) -> RegistryImageStore:
    client = RegistryClient(host, http=RegistryHttp(timeout_s=30), login=lambda _h, _r: login)
    return RegistryImageStore(client, name, chunk_bytes=4 << 20)


def skopeo(*arguments: str) -> str:
    return subprocess.run(["skopeo", *arguments], check=True, capture_output=True, text=True).stdout


def read(store: ImageStore, descriptor: Descriptor) -> bytes:
    with store.open(descriptor) as stream:
        return stream.read()


# -- skopeo ------------------------------------------------------------------------------------------------------------


@needs_skopeo
def test_skopeo_reads_a_layout(tmp_path: Path) -> None:
    store = LayoutImageStore(tmp_path / "layout")
    images = [an_image(1), an_image(2, platform="linux/arm64")]
    for number, image in enumerate(images):
        image.put(store, f"t-{number}")
    store.tag(Index(tuple(image.descriptor for image in images)).to_json(), INDEX, ["many"])
    told = json.loads(skopeo("inspect", f"oci:{store.root}:t-0"))
    assert told["Digest"] == f"sha256:{images[0].descriptor.digest}"
    assert told["Layers"] == [f"sha256:{layer.digest}" for layer in images[0].manifest.layers]
    skopeo("copy", "--all", f"oci:{store.root}:many", f"dir:{tmp_path / 'dir'}")
    assert {path.name for path in (tmp_path / "dir").iterdir()} >= {layer.digest for layer in images[1].manifest.layers}


@needs_skopeo
def test_what_skopeo_adds_to_a_layout_is_found_beside_ours(tmp_path: Path) -> None:
    theirs, ours = LayoutImageStore(tmp_path / "theirs"), LayoutImageStore(tmp_path / "ours")
    an_image(1).put(theirs, "a")
    an_image(2).put(ours, "b")
    skopeo("copy", "--preserve-digests", f"oci:{theirs.root}:a", f"oci:{ours.root}:c")
    assert ours.tags() == ["b", "c"]
    an_image(3).put(ours, "d")
    found = ours.find("c")
    assert found is not None
    assert found.descriptor.digest == an_image(1).descriptor.digest
    assert json.loads(skopeo("inspect", f"oci:{ours.root}:c"))["Digest"] == f"sha256:{found.descriptor.digest}"


@needs_skopeo
@needs_registry
def test_skopeo_reads_what_we_push_and_we_read_what_skopeo_pushes(tmp_path: Path) -> None:
    with DockerRegistry(tmp_path / "registry", user="user", password="secret") as registry:
        store = a_store(registry.host, login=RegistryLogin("user", "secret"))
        descriptor = an_image(1).put(store, "ours")
        told = json.loads(skopeo("inspect", "--tls-verify=false", "--creds", "user:secret", f"docker://{store.name}:ours"))
        assert told["Digest"] == f"sha256:{descriptor.digest}"
        layout = LayoutImageStore(tmp_path / "layout")
        image = an_image(2)
        image.put(layout, "x")
        target = f"docker://{store.name}:theirs"
        skopeo(
            "copy",
            "--preserve-digests",
            "--dest-tls-verify=false",
            "--dest-creds",
            "user:secret",
            f"oci:{layout.root}:x",
            target,
        )
        found = store.find("theirs")
        assert found is not None
        assert found.content == image.manifest.to_json()
        assert [read(store, b) for b, _ in image.blobs] == [data for _, data in image.blobs]


# -- crashes and cut connections ---------------------------------------------------------------------------------------


def test_a_process_that_is_killed_at_any_call_leaves_the_old_image_or_the_new_one(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.support.layout_kills", str(tmp_path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=REPOSITORY)
    kills, old, new = map(int, done.stdout.split())
    assert kills > 40
    assert old > 40
    assert new > 1


_PUT = """
import sys
from pathlib import Path
from tests.support.images import an_image
from wardian.image.layout import LayoutImageStore
sys.stdin.readline()
an_image(int(sys.argv[2])).put(LayoutImageStore(Path(sys.argv[1])), f"t-{sys.argv[3]}", "last")
"""


def test_processes_that_store_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _PUT, str(tmp_path / "layout"), str(n % 2), str(n)], stdin=subprocess.PIPE, cwd=REPOSITORY
        )
        for n in range(6)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate()
        assert process.returncode == 0
    store = LayoutImageStore(tmp_path / "layout")
    assert store.tags() == ["last", *(f"t-{n}" for n in range(6))]
    for n in range(2):
        assert [read(store, b) for b, _ in an_image(n).blobs] == [data for _, data in an_image(n).blobs]


_PUT_FROM_INPUT = """
import sys
from wardian.digest import Digest
from wardian.image.oci import LAYER, Descriptor
from wardian.image.registry import RegistryImageStore
from wardian.image.registry_client import RegistryClient
from wardian.tools.registry_http import RegistryHttp
class Input:
    def __enter__(self): return self
    def __exit__(self, *_): pass
    def read(self, size): return sys.stdin.buffer.read(size)
store = RegistryImageStore(RegistryClient(sys.argv[1], http=RegistryHttp()), "team/envs", chunk_bytes=1 << 20)
store.put(Descriptor(LAYER, Digest(sys.argv[2]), int(sys.argv[3])), Input)
"""


@needs_registry
def test_a_push_that_is_killed_leaves_nothing_that_is_found_and_is_repeated(registry: DockerRegistry) -> None:
    data = content(7, 8 << 20)
    descriptor, source = blob(data)
    command = [sys.executable, "-c", _PUT_FROM_INPUT, registry.host, descriptor.digest, str(len(data))]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, cwd=REPOSITORY)
    assert process.stdin is not None
    process.stdin.write(data[: 5 << 20])  # more than the pipe holds: most of it has been sent on when this returns
    process.stdin.flush()
    process.kill()
    process.communicate()
    store = a_store(registry.host)
    assert any(line.startswith("PATCH ") for line in registry.requests())
    with pytest.raises(NotFound), store.open(descriptor):
        pass
    assert store.put(descriptor, source) == "sent"
    assert read(store, descriptor) == data


@needs_registry
def test_a_push_through_a_network_that_cuts_it_gets_through(registry: DockerRegistry) -> None:
    data = content(8, 20 << 20)
    descriptor, source = blob(data)
    with CuttingProxy(registry.host, [3 << 20, 11 << 20, 6 << 20, 1 << 20]) as proxy:
        assert a_store(proxy.host).put(descriptor, source) == "sent"
        assert proxy.cuts == []
    assert read(a_store(registry.host), descriptor) == data


@needs_registry
def test_a_registry_that_has_lost_part_of_a_blob_is_not_believed(registry: DockerRegistry) -> None:
    data = content(9, 1 << 20)
    descriptor, source = blob(data)
    store = a_store(registry.host)
    store.put(descriptor, source)
    registry.blob_path(descriptor.digest).write_bytes(data[:1000])
    with pytest.raises(Exception, match=descriptor.digest):
        read(store, descriptor)
    registry.blob_path(descriptor.digest).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(Exception, match=descriptor.digest):
        read(store, descriptor)


@needs_registry
def test_a_blob_is_mounted_in_a_real_registry(registry: DockerRegistry) -> None:
    data = content(10, 1 << 20)
    descriptor, source = blob(data)
    a_store(registry.host, "team/base").put(descriptor, source)
    target = a_store(registry.host, "team/envs")
    assert target.put(descriptor, source, origin=a_store(registry.host, "team/base")) == "mounted"
    assert not [line for line in registry.requests() if line.startswith("PUT /v2/team/envs/blobs")]
    assert read(target, descriptor) == data


@needs_registry
def test_pushes_to_a_real_registry_in_parallel(registry: DockerRegistry) -> None:
    store = a_store(registry.host)
    images = [an_image(n, layers=4) for n in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda pair: pair[1].put(store, f"t-{pair[0]}"), enumerate(images)))
    assert store.tags() == [f"t-{n}" for n in range(8)]
    for image in images:
        assert [read(store, b) for b, _ in image.blobs] == [data for _, data in image.blobs]


@needs_registry
def test_a_registry_that_ends_in_the_midst_is_unavailable(registry: DockerRegistry) -> None:
    store = a_store(registry.host)
    an_image().put(store, "x")
    registry.__exit__()
    with pytest.raises(Unavailable) as caught:
        store.find("x")
    assert caught.value.stable_code == "registry_unavailable"


# -- full disk ---------------------------------------------------------------------------------------------------------


@pytest.mark.root
@pytest.mark.skipif(bool(mounts.why_not()), reason=mounts.why_not())
def test_a_full_disk_is_told_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    with mounts.Namespace() as namespace:
        namespace.tmpfs(tmp_path / "small", 2 << 20)
        store = LayoutImageStore(namespace.see(tmp_path / "small") / "layout")
        an_image(1).put(store, "fits")
        data = content(11, 4 << 20)
        descriptor, source = blob(data)
        with pytest.raises(DiskFull) as caught:
            store.put(descriptor, source)
        assert caught.value.details["needed_bytes"] == len(data)
        shutil.rmtree(namespace.see(tmp_path / "small") / "layout/.wardian/incoming")
        (namespace.see(tmp_path / "small") / "layout/.wardian/incoming").mkdir()
        filler = namespace.see(tmp_path / "small") / "filler"
        with filler.open("wb", buffering=0) as stream, pytest.raises(OSError, match="No space left"):
            stream.writelines(b"x" * 1024 for _ in range(10_000))
        with pytest.raises(DiskFull):
            an_image(2).put(store, "does not")
        assert store.tags() == ["fits"]
        assert [read(store, b) for b, _ in an_image(1).blobs] == [data for _, data in an_image(1).blobs]
        filler.unlink()
        namespace.resize(tmp_path / "small", 16 << 20)
        assert store.put(descriptor, source) == "sent"
        an_image(2).put(store, "now-it-does")
        assert store.tags() == ["fits", "now-it-does"]


@pytest.mark.root
@pytest.mark.skipif(bool(mounts.why_not()), reason=mounts.why_not())
def test_a_layout_that_may_only_be_read_serves_what_it_holds(tmp_path: Path) -> None:
    with mounts.Namespace() as namespace:
        namespace.tmpfs(tmp_path / "small", 2 << 20)
        image = an_image(1)
        store = LayoutImageStore(namespace.see(tmp_path / "small") / "layout")
        image.put(store, "x")
        namespace.mount("-o", "remount,ro", str(tmp_path / "small"))
        assert store.tags() == ["x"]
        assert store.find("x") is not None
        for descriptor, data in image.blobs:
            assert store.put(descriptor, io.BytesIO) == "present"
            assert read(store, descriptor) == data
        with pytest.raises(WardianError) as caught:
            store.put(*blob(b"new"))
        assert caught.value.stable_code == "not_writable"


def test_an_unreadable_source_is_not_the_stores_fault(tmp_path: Path) -> None:
    store = LayoutImageStore(tmp_path / "layout")
    descriptor, _ = blob(b"data")
    with pytest.raises(FileNotFoundError):
        store.put(descriptor, lambda: (tmp_path / "none").open("rb"))
    assert store.put(descriptor, lambda: io.BytesIO(b"data")) == "sent"
