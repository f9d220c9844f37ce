"""A version in a registry is one thing for everybody, whoever pushes at the same time."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from tests.builders import an_environment
from tests.support.fake_registry import FakeRegistry
from tests.support.images import an_image

from wardian.definition.document import to_document
from wardian.definition.identity import definition_hash
from wardian.errors import Conflict, Unavailable
from wardian.image.blob import put_bytes, put_empty
from wardian.image.layout import LayoutImageStore
from wardian.image.oci import MANIFEST, InvalidImage, Manifest
from wardian.image.registry import RegistryImageStore
from wardian.image.registry_client import RegistryClient
from wardian.image.shared_version import ARTIFACT, SharedVersion, find_version, share, shared_versions, take_labels
from wardian.tools.registry_http import RegistryHttp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from wardian.image.oci import Descriptor
    from wardian.image.store import ImageStore


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as running:
        yield running


class Repository(RegistryImageStore):
    """A repository of its own machine, which calls ``before_tag`` once, when everything but the tag is there."""

    def __init__(self, fake: FakeRegistry, before_tag: Callable[[], object] = lambda: None):
        client = RegistryClient(fake.host, http=RegistryHttp(timeout_s=10), login=lambda _host, _repository: None)
        super().__init__(client, "team/envs")
        self.before_tag = before_tag

    def tag(self, manifest: bytes, media_type: str, names: Sequence[str] = ()) -> Descriptor:
        if names:
            before, self.before_tag = self.before_tag, lambda: None
            before()
        return super().tag(manifest, media_type, names)


def a_version(*pip: str, **fields: Any) -> SharedVersion:
    environment = an_environment(name="team", pip=pip)
    content = definition_hash(environment)
    return replace(SharedVersion("team", "7", content, content, to_document(environment)), **fields)


def nothing(_seconds: float) -> None:
    """Wait for nothing."""


def at_once(fake: FakeRegistry, tmp_path: Path, versions: list[SharedVersion]) -> list[bool | Conflict]:
    """Share these from as many machines, all of which find nothing before one of them tags; return what each was told."""
    all_tag, all_tagged = threading.Barrier(len(versions)), threading.Barrier(len(versions))
    told: dict[int, bool | Conflict] = {}

    def push(number: int) -> None:
        store = Repository(fake, lambda: all_tag.wait(20))
        try:
            told[number] = share(
                store, versions[number], locks=tmp_path / f"machine-{number}", wait=lambda _s: void(all_tagged.wait(20))
            )
        except Conflict as error:
            told[number] = error

    threads = [threading.Thread(target=push, args=(number,)) for number in range(len(versions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return [told[number] for number in range(len(versions))]


def void(_value: object) -> None:
    """Return nothing."""


def test_of_two_that_find_nothing_and_tag_one_gets_the_conflict(fake: FakeRegistry, tmp_path: Path) -> None:
    versions = [a_version("numpy"), a_version("pandas")]
    told = at_once(fake, tmp_path, versions)
    refused = [one for one in told if isinstance(one, Conflict)]
    assert [one.stable_code for one in refused] == ["version_exists"]
    (kept,) = [version for version, one in zip(versions, told, strict=True) if one is True]
    assert find_version(Repository(fake), "team", "7") == kept


def test_two_that_push_the_same_at_once_end_with_what_both_had(fake: FakeRegistry, tmp_path: Path) -> None:
    images = [{platform: {"key": platform, "digest": "0"}} for platform in ("linux/amd64", "linux/arm64")]
    told = at_once(fake, tmp_path, [a_version("numpy", images=one) for one in images])
    assert told == [True, True]
    found = find_version(Repository(fake), "team", "7")
    assert found is not None
    assert dict(found.images) == images[0] | images[1]


def test_what_came_while_the_parts_were_sent_is_not_written_over(fake: FakeRegistry, tmp_path: Path) -> None:
    theirs, ours = a_version("numpy"), a_version("pandas")

    class Slow(Repository):
        def put(self, *arguments: Any, **options: Any) -> str:
            if find_version(Repository(fake), "team", "7") is None:
                assert share(Repository(fake), theirs, locks=tmp_path / "theirs", wait=nothing)
            return super().put(*arguments, **options)

    with pytest.raises(Conflict):
        share(Slow(fake), ours, locks=tmp_path / "ours", wait=nothing)
    assert find_version(Repository(fake), "team", "7") == theirs


def test_in_a_directory_the_first_wins_whatever_the_machine(tmp_path: Path) -> None:
    told: list[object] = []

    class Meeting(LayoutImageStore):
        def tag(self, manifest: bytes, media_type: str, names: Sequence[str] = ()) -> Descriptor:
            if names and not other.is_alive():
                other.start()
                other.join(0.2)  # it waits for us now; were it let in, it would have tagged
            return super().tag(manifest, media_type, names)

    def push(store: ImageStore, version: SharedVersion, machine: str) -> None:
        try:
            told.append(share(store, version, locks=tmp_path / machine, wait=nothing))
        except Conflict as error:
            told.append(error.stable_code)

    theirs = (LayoutImageStore(tmp_path / "shared"), a_version("pandas"), "theirs")
    other = threading.Thread(target=push, args=theirs)
    push(Meeting(tmp_path / "shared"), a_version("numpy"), "ours")
    other.join(20)
    assert sorted(map(str, told)) == ["True", "version_exists"]
    found = find_version(LayoutImageStore(tmp_path / "shared"), "team", "7")
    assert found == a_version("numpy")


def test_something_else_under_the_tag_of_a_version_is_named_by_all_who_read_it(tmp_path: Path) -> None:
    store = LayoutImageStore(tmp_path / "shared")
    an_image().put(store, "v-team-7")
    assert share(store, a_version("numpy", name="team-x"), locks=tmp_path / "locks", wait=nothing)
    for call in (
        lambda: list(shared_versions(store)),
        lambda: list(shared_versions(store, "team")),
        lambda: find_version(store, "team", "7"),
        lambda: share(store, a_version("numpy"), locks=tmp_path / "locks", wait=nothing),
    ):
        with pytest.raises(InvalidImage, match=r"`v-team-7` in .* holds no version") as caught:
            call()
        assert caught.value.stable_code == "tag_mismatch"
    assert [one.name for one in shared_versions(store, "team-x")] == ["team-x"]


def test_a_label_is_of_one_version_and_the_last_push_has_it(tmp_path: Path) -> None:
    store, locks = LayoutImageStore(tmp_path / "shared"), tmp_path / "locks"
    first = a_version("numpy", labels=("old", "stable"))
    second = a_version("pandas", version="8", labels=("stable",))
    for version in (first, second):
        share(store, version, locks=locks, wait=nothing)
    assert take_labels(store, second) == {"stable": "7"}
    assert {one.version: one.labels for one in shared_versions(store, "team")} == {"7": ("old",), "8": ("stable",)}
    assert take_labels(store, second) == {}


def test_a_tag_that_cannot_be_read_hides_no_other_version(tmp_path: Path) -> None:
    store, locks = LayoutImageStore(tmp_path / "shared"), tmp_path / "locks"
    an_image().put(store, "v-team-5")
    for number in ("7", "8"):
        share(store, a_version("numpy", version=number), locks=locks, wait=nothing)
    right = store.find("v-team-8")
    assert right is not None
    store.tag(right.content, right.descriptor.media_type, ["v-team-9"])  # says that it is another
    newer = replace(a_version("numpy", version="6")).to_json().replace(b'"schema":1', b'"schema":99')
    store.tag(artifact(store, newer).to_json(), MANIFEST, ["v-team-6"])
    faults: dict[str, str] = {}
    found = shared_versions(store, on_fault=lambda tag, error: faults.update({tag: error.stable_code}))
    assert [one.version for one in found] == ["7", "8"]
    assert faults == {"v-team-5": "tag_mismatch", "v-team-6": "newer_schema", "v-team-9": "tag_mismatch"}
    with pytest.raises(InvalidImage, match=r"`v-team-9` in .* is team:8"):
        find_version(store, "team", "9")


def test_a_registry_that_says_it_keeps_a_version_and_has_it_not_is_found_out(fake: FakeRegistry, tmp_path: Path) -> None:
    fake.misbehave("PUT */manifests/v-*", status=201)
    with pytest.raises(Unavailable, match="took team:7, and has it not") as caught:
        share(Repository(fake), a_version("numpy"), locks=tmp_path / "locks", wait=nothing)
    assert caught.value.stable_code == "registry_unavailable"
    fake.heal()
    assert share(Repository(fake), a_version("numpy"), locks=tmp_path / "locks", wait=nothing)


def artifact(store: ImageStore, content: bytes) -> Manifest:
    return Manifest(put_empty(store), (put_bytes(store, content, ARTIFACT),), artifact_type=ARTIFACT)
