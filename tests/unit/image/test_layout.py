"""The layout on disk: damage, other tools' layouts, links instead of copies, cleaning up."""

from __future__ import annotations

import io
import json
import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.builders import a_lock
from tests.support.images import an_image, blob, content

from wardian.definition.platform import get_platform
from wardian.digest import Digest
from wardian.errors import BadArchive, NotFound, WardianError
from wardian.image.layout import LayoutImageStore
from wardian.image.oci import INDEX, LARGEST_MANIFEST_BYTES, MANIFEST, Descriptor, Index, InvalidImage
from wardian.lock.store import DirectoryLockStore

if TYPE_CHECKING:
    from pathlib import Path

DATA = content(1, 100_000)


@pytest.fixture
def store(tmp_path: Path) -> LayoutImageStore:
    return LayoutImageStore(tmp_path / "layout")


def read(store: LayoutImageStore, descriptor: Descriptor) -> bytes:
    with store.open(descriptor) as stream:
        return stream.read()


def path_of(store: LayoutImageStore, digest: str) -> Path:
    return store.root / "blobs/sha256" / digest


DAMAGES = {"shorter": DATA[:-1], "longer": DATA + b"x", "empty": b"", "flipped": bytes([DATA[0] ^ 1]) + DATA[1:]}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_blob_is_never_read_to_its_end_and_is_replaced(store: LayoutImageStore, damage: bytes) -> None:
    descriptor, source = blob(DATA)
    store.put(descriptor, source)
    path_of(store, descriptor.digest).write_bytes(damage)
    with pytest.raises(BadArchive):
        read(store, descriptor)
    with pytest.raises(NotFound):
        read(store, descriptor)
    assert store.put(descriptor, source) == "sent"
    assert read(store, descriptor) == DATA


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_blob_that_nobody_has_read_is_replaced_by_the_next_put(store: LayoutImageStore, damage: bytes) -> None:
    descriptor, source = blob(DATA)
    store.put(descriptor, source)
    path_of(store, descriptor.digest).write_bytes(damage)
    assert LayoutImageStore(store.root).put(descriptor, source) == "sent"
    assert read(store, descriptor) == DATA


def test_a_damaged_blob_with_its_old_times_is_found_when_it_is_read(store: LayoutImageStore) -> None:
    descriptor, source = blob(DATA)
    store.put(descriptor, source)
    path = path_of(store, descriptor.digest)
    before = path.stat()
    path.write_bytes(DAMAGES["flipped"])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(BadArchive) as caught:
        read(store, descriptor)
    assert caught.value.stable_code == "wrong_digest"
    assert store.put(descriptor, source) == "sent"


def test_a_damaged_manifest_is_an_error_and_is_replaced(store: LayoutImageStore) -> None:
    image = an_image()
    descriptor = image.put(store, "x")
    path_of(store, descriptor.digest).write_bytes(image.manifest.to_json()[:-1] + b" ")
    for reference in ("x", f"sha256:{descriptor.digest}"):
        path_of(store, descriptor.digest).write_bytes(b"{}")
        with pytest.raises(InvalidImage) as caught:
            store.find(reference)
        assert caught.value.stable_code == "damaged_layout"
    image.put(store, "x")
    assert store.find("x") is not None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"manifests": 1}', '{"manifests": [1]}', "[" * 100_000])
def test_a_damaged_index_is_an_error_and_not_an_empty_one(store: LayoutImageStore, text: str) -> None:
    an_image().put(store, "x")
    (store.root / "index.json").write_text(text)
    for call in (lambda: store.find("x"), store.tags, lambda: an_image().put(store, "y")):
        with pytest.raises(InvalidImage) as caught:
            call()
        assert caught.value.stable_code == "damaged_layout"
    assert (store.root / "index.json").read_text() == text


@pytest.mark.parametrize("digest", ["sha256:../../../../etc/passwd", "sha512:" + "0" * 128, "", "sha256:" + "0" * 64])
def test_an_entry_that_leads_nowhere_is_an_error(store: LayoutImageStore, digest: str) -> None:
    an_image().put(store, "x")
    entry = {"mediaType": MANIFEST, "digest": digest, "size": 1, "annotations": {"org.opencontainers.image.ref.name": "y"}}
    (store.root / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    with pytest.raises(InvalidImage):
        store.find("y")


def test_what_another_tool_wrote_into_the_index_is_kept(store: LayoutImageStore) -> None:
    image = an_image()
    image.put(store, "x")
    path = store.root / "index.json"
    document = json.loads(path.read_text())
    foreign = {
        **document["manifests"][0],
        "annotations": {"org.opencontainers.image.ref.name": "theirs", "k": "v"},
        "urls": ["u"],
    }
    path.write_text(json.dumps({"schemaVersion": 2, "manifests": [foreign]}))
    an_image(2).put(store, "ours")
    assert json.loads(path.read_text())["manifests"][0] == foreign
    assert store.tags() == ["ours", "theirs"]


def test_two_images_of_one_tag_are_an_error(store: LayoutImageStore) -> None:
    an_image(1).put(store, "x")
    an_image(2).put(store, "y")
    path = store.root / "index.json"
    path.write_text(path.read_text().replace('"y"', '"x"'))
    with pytest.raises(InvalidImage) as caught:
        store.find("x")
    assert caught.value.stable_code == "ambiguous_tag"


def test_a_blob_is_no_manifest(store: LayoutImageStore) -> None:
    for data in (DATA, b"{}", b'{"schemaVersion": 2}', content(2, 5 << 20)):
        descriptor, source = blob(data)
        store.put(descriptor, source)
        assert store.find(f"sha256:{descriptor.digest}") is None


def test_thousands_of_tags_are_one_small_write_each_and_found_at_once(store: LayoutImageStore) -> None:
    image = an_image()
    names = [f"i-{Digest.of(str(n).encode())}" for n in range(5000)]
    image.put(store, *names)
    image.put(store, "one-more")
    other = LayoutImageStore(store.root)
    assert other.tags("i-") == sorted(names)
    assert all(other.find(name) is not None for name in names[::100])


# -- links -------------------------------------------------------------------------------------------------------------


def test_a_file_below_a_declared_directory_is_linked_and_not_copied(tmp_path: Path) -> None:
    source = tmp_path / "layers" / "layer"
    source.parent.mkdir()
    source.write_bytes(DATA)
    store = LayoutImageStore(tmp_path / "layout", link_from=[tmp_path / "layers"])
    descriptor, _ = blob(DATA)
    assert store.put(descriptor, lambda: source.open("rb")) == "sent"
    assert path_of(store, descriptor.digest).samefile(source)
    assert read(store, descriptor) == DATA
    assert store.put(descriptor, lambda: source.open("rb")) == "present"


def test_any_other_file_is_copied(tmp_path: Path) -> None:
    source = tmp_path / "file"
    source.write_bytes(DATA)
    store = LayoutImageStore(tmp_path / "layout", link_from=[tmp_path / "layers"])
    descriptor, _ = blob(DATA)
    store.put(descriptor, lambda: source.open("rb"))
    source.write_bytes(b"changed later")
    assert read(store, descriptor) == DATA


@pytest.mark.parametrize("wrong", [DATA[:-1], DATA + b"x", b"", DAMAGES["flipped"]])
def test_a_linked_file_that_is_not_the_blob_is_refused_and_stays_as_it_is(tmp_path: Path, wrong: bytes) -> None:
    source = tmp_path / "layers" / "layer"
    source.parent.mkdir()
    source.write_bytes(wrong)
    store = LayoutImageStore(tmp_path / "layout", link_from=[tmp_path / "layers"])
    descriptor, _ = blob(DATA)
    with pytest.raises(BadArchive):
        store.put(descriptor, lambda: source.open("rb"))
    assert not path_of(store, descriptor.digest).exists()
    assert source.read_bytes() == wrong
    assert source.stat().st_nlink == 1


def test_a_file_that_was_read_into_is_copied_from_there(tmp_path: Path) -> None:
    source = tmp_path / "layers" / "layer"
    source.parent.mkdir()
    source.write_bytes(b"head" + DATA)
    store = LayoutImageStore(tmp_path / "layout", link_from=[tmp_path / "layers"])
    descriptor, _ = blob(DATA)

    def after_the_head() -> io.BufferedReader:
        stream = source.open("rb")
        stream.read(4)
        return stream

    assert store.put(descriptor, after_the_head) == "sent"
    assert read(store, descriptor) == DATA


# -- cleaning up -------------------------------------------------------------------------------------------------------


def test_collecting_removes_what_no_tag_leads_to_and_nothing_else(store: LayoutImageStore) -> None:
    kept, lost = an_image(1), an_image(2)
    child = an_image(3, platform="linux/arm64")
    kept.put(store, "kept")
    lost.put(store, "lost")
    child.put(store)
    store.tag(Index((child.descriptor,)).to_json(), INDEX, ["index"])
    foreign = Digest.of(b"foreign")
    path_of(store, foreign).write_bytes(b"a lock that somebody else keeps here")
    store.untag(["lost", "never there"])
    assert store.collect() == 0  # too young
    later = time.time() + 7200
    assert store.collect(now_s=lambda: later) > 0
    assert store.tags() == ["index", "kept"]
    for image in (kept, child):
        assert store.find(f"sha256:{image.descriptor.digest}") is not None
        for descriptor, data in image.blobs:
            assert read(store, descriptor) == data
    assert store.find(f"sha256:{lost.descriptor.digest}") is None
    assert path_of(store, foreign).exists()
    assert store.collect(now_s=lambda: later) == 0


def test_the_machines_locks_may_lie_beside_it(tmp_path: Path) -> None:
    locks, store = DirectoryLockStore(tmp_path / "registry"), LayoutImageStore(tmp_path / "registry")
    lock = a_lock()
    locks.offer(lock, [])
    an_image().put(store, "i-1")
    store.untag(["i-1"])
    assert store.collect(now_s=lambda: time.time() + 7200) > 0
    assert locks.find_current(lock.provenance.definition_hash, get_platform(lock.platform)) == lock
    an_image().put(store, "i-1")
    assert store.tags() == ["i-1"]


def test_a_blob_that_was_asked_for_lately_is_spared(store: LayoutImageStore) -> None:
    descriptor, source = blob(DATA)
    store.put(descriptor, source)
    note = store.root / ".wardian/notes" / descriptor.digest
    os.utime(note, (1, 1))
    store.put(descriptor, source)
    assert store.collect() == 0
    assert read(store, descriptor) == DATA


def test_what_a_killed_process_left_is_swept_and_what_is_being_written_is_not(store: LayoutImageStore) -> None:
    descriptor, source = blob(DATA)
    store.put(descriptor, source)
    left = store.root / ".wardian/incoming" / "left"
    left.write_bytes(DATA)
    later = time.time() + 7200

    class Sweeping(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            store.collect(now_s=lambda: later)
            return super().read(size)

    second, _ = blob(content(2, 50_000))
    assert store.put(second, lambda: Sweeping(content(2, 50_000))) == "sent"
    assert not left.exists()
    assert read(store, second) == content(2, 50_000)


def test_collecting_beside_a_damaged_manifest_ends(store: LayoutImageStore) -> None:
    descriptor = an_image().put(store, "x")
    an_image(2).put(store, "y")
    path_of(store, descriptor.digest).write_bytes(b"{}")
    store.collect(now_s=lambda: time.time() + 7200)
    assert store.find("y") is not None


def test_nothing_is_made_by_asking(tmp_path: Path) -> None:
    store = LayoutImageStore(tmp_path / "none")
    assert store.find("x") is None
    assert store.tags() == []
    store.untag(["x"])
    assert store.collect() == 0
    assert not (tmp_path / "none").exists()


def test_a_file_in_place_of_the_directory_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(WardianError) as caught:
        LayoutImageStore(tmp_path / "file").put(*blob(DATA))
    assert caught.value.stable_code == "not_writable"


def test_a_pipe_in_place_of_the_index_or_a_blob_is_not_waited_for(store: LayoutImageStore) -> None:
    image = an_image()
    put = image.put(store, "t")
    descriptor, source = blob(DATA)
    store.put(descriptor, source)
    path_of(store, descriptor.digest).unlink()
    os.mkfifo(path_of(store, descriptor.digest))
    with pytest.raises(NotFound):
        read(store, descriptor)
    assert store.put(descriptor, source) == "sent"
    assert read(store, descriptor) == DATA
    manifest = path_of(store, put.digest)
    manifest.unlink()
    os.mkfifo(manifest)
    with pytest.raises(InvalidImage, match="is missing or is none"):
        store.find("t")
    (store.root / "index.json").unlink()
    os.mkfifo(store.root / "index.json")
    with pytest.raises(InvalidImage, match=r"index\.json cannot be read: it is no regular file"):
        store.find("t")


@pytest.mark.parametrize("content", [b"[]", b'{"schemaVersion": 2, "config": {}, "layers": 1}'])
def test_what_is_wrong_with_a_manifest_names_the_image(store: LayoutImageStore, content: bytes) -> None:
    digest = Digest.of(content)
    store.put(Descriptor(MANIFEST, digest, len(content)), lambda: io.BytesIO(content))
    entry = {"mediaType": MANIFEST, "digest": f"sha256:{digest}", "size": len(content)}
    (store.root / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    with pytest.raises(InvalidImage) as caught:
        store.find("")
    assert caught.value.message.startswith(f"{store.root}@sha256:{digest}: ")


@pytest.mark.parametrize("size_bytes", [0, 1 << 40])
def test_a_manifest_that_states_another_size_of_a_blob_is_told_so(store: LayoutImageStore, size_bytes: int) -> None:
    image = an_image()
    image.put(store, "x")
    layer = replace(image.manifest.layers[0], size_bytes=size_bytes)
    with pytest.raises(InvalidImage, match=f"and the manifest says {size_bytes:,}$") as caught:
        store.tag(replace(image.manifest, layers=(layer,)).to_json(), MANIFEST, ["y"])
    assert caught.value.stable_code == "wrong_size"
    assert store.tags() == ["x"]


def test_a_manifest_that_is_too_large_is_told_so(store: LayoutImageStore) -> None:
    an_image().put(store, "x")
    content = b" " * (LARGEST_MANIFEST_BYTES + 1)
    descriptor, source = blob(content, MANIFEST)
    store.put(descriptor, source)
    entry = {**descriptor.as_document(), "annotations": {"org.opencontainers.image.ref.name": "y"}}
    (store.root / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    with pytest.raises(InvalidImage, match="is larger than 4,194,304 bytes") as caught:
        store.find("y")
    assert caught.value.stable_code == "manifest_too_large"
