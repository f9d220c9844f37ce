"""A registry that misbehaves: what is read is right or an error, what can be had is had, and credentials stay where they belong."""

from __future__ import annotations

import io
import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import IO, TYPE_CHECKING, Any

import pytest
from tests.support.fake_registry import FakeRegistry
from tests.support.images import AnImage, an_image, blob, content

from wardian.errors import BadArchive, Denied, NotFound, Unavailable, WardianError
from wardian.image.oci import Descriptor, InvalidImage
from wardian.image.registry import RegistryImageStore
from wardian.image.registry_auth import RegistryLogin
from wardian.image.registry_client import TRIES, RegistryClient
from wardian.tools.registry_http import RegistryHttp

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

USER = RegistryLogin("user", "secret")
CHUNK = 1 << 20
BIG = content(1, 3 * CHUNK + 5)


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as running:
        yield running


def a_store(
    fake: FakeRegistry,
    name: str = "team/envs",
    *,
    login: RegistryLogin | None = None,
    waits: list[float] | None = None,
    **more: Any,
) -> RegistryImageStore:
    """Return a store that does not really wait between attempts."""
    kept = [] if waits is None else waits
    http = RegistryHttp(timeout_s=more.pop("timeout_s", 10))
    client = RegistryClient(fake.host, http=http, login=lambda _h, _r: login, sleep=kept.append, jitter=lambda: 0.0, **more)
    return RegistryImageStore(client, name, chunk_bytes=CHUNK)


def read(store: RegistryImageStore, descriptor: Descriptor) -> bytes:
    with store.open(descriptor) as stream:
        return stream.read()


def stored(fake: FakeRegistry, data: bytes = BIG) -> Descriptor:
    descriptor, source = blob(data)
    a_store(fake).put(descriptor, source)
    fake.requests.clear()
    return descriptor


# -- reading -----------------------------------------------------------------------------------------------------------


def test_a_download_that_breaks_is_taken_up_where_it_broke(fake: FakeRegistry) -> None:
    descriptor = stored(fake)
    fake.misbehave("GET */blobs/*", truncate=1000, times=3)
    assert read(a_store(fake), descriptor) == BIG
    ranges = [request.headers.get("range") for request in fake.asked("GET */blobs/*")]
    assert ranges == [None, "bytes=1000-", "bytes=2000-", "bytes=3000-"]


def test_a_download_that_breaks_starts_anew_where_there_are_no_ranges(fake: FakeRegistry) -> None:
    descriptor = stored(fake)
    fake.ranges = False
    fake.misbehave("GET */blobs/*", truncate=2 * CHUNK, times=1)
    assert read(a_store(fake), descriptor) == BIG


def test_a_download_that_goes_on_elsewhere_than_asked_is_refused(fake: FakeRegistry) -> None:
    descriptor = stored(fake)
    fake.misbehave("GET */blobs/*", headers={"Content-Range": "bytes 5-9/10"})
    fake.misbehave("GET */blobs/*", truncate=1000, times=1)
    with pytest.raises(Unavailable, match="another range"):
        read(a_store(fake), descriptor)


def test_a_download_that_breaks_again_before_where_it_broke_is_given_up(fake: FakeRegistry) -> None:
    descriptor = stored(fake)
    fake.ranges = False
    fake.misbehave("GET */blobs/*", truncate=500)
    fake.misbehave("GET */blobs/*", truncate=1000, times=1)
    with pytest.raises(Unavailable):
        read(a_store(fake), descriptor)


def test_a_download_without_a_length_that_ends_early_is_taken_up(fake: FakeRegistry) -> None:
    descriptor = stored(fake)
    fake.misbehave("GET */blobs/*", truncate=1000, unsized=True, times=1)
    assert read(a_store(fake), descriptor) == BIG
    assert [request.status for request in fake.asked("GET */blobs/*")] == [200, 206]


def test_a_download_that_always_breaks_without_bringing_anything_is_given_up(fake: FakeRegistry) -> None:
    descriptor = stored(fake)
    fake.misbehave("GET */blobs/*", truncate=0)
    with pytest.raises(Unavailable):
        read(a_store(fake), descriptor)
    assert len(fake.asked("GET */blobs/*")) == TRIES


@pytest.mark.parametrize(
    ("what", "code"),
    [
        ({"flip": 0}, "wrong_digest"),
        ({"flip": -1}, "wrong_digest"),
        ({"body": BIG + b"x"}, "wrong_size"),
        ({"body": BIG[:-1]}, "wrong_size"),
        ({"body": b""}, "wrong_size"),
        ({"body": b"<html>log in first</html>"}, "wrong_size"),
    ],
)
def test_what_is_not_the_blob_is_never_read_to_its_end(fake: FakeRegistry, what: dict[str, Any], code: str) -> None:
    descriptor = stored(fake)
    fake.misbehave("GET */blobs/*", **what)
    got = bytearray()
    with a_store(fake).open(descriptor) as stream, pytest.raises(BadArchive) as caught:
        got.extend(byte for piece in iter(lambda: stream.read(CHUNK), b"") for byte in piece)
    assert caught.value.stable_code == code
    assert len(got) < len(BIG)


def test_a_blob_that_changes_between_two_connections_is_refused(fake: FakeRegistry) -> None:
    descriptor = stored(fake)
    fake.misbehave("GET */blobs/*", flip=CHUNK)
    fake.misbehave("GET */blobs/*", truncate=1000, times=1)
    with pytest.raises(BadArchive):
        read(a_store(fake), descriptor)


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429])
def test_an_overloaded_registry_is_asked_again(fake: FakeRegistry, status: int) -> None:
    descriptor = an_image().put(a_store(fake), "x")
    fake.misbehave("*", status=status, times=2)
    waits: list[float] = []
    found = a_store(fake, waits=waits).find("x")
    assert found is not None
    assert found.descriptor.digest == descriptor.digest
    assert waits == sorted(waits)
    assert len(waits) == 2


def test_a_registry_that_stays_overloaded_is_unavailable(fake: FakeRegistry) -> None:
    fake.misbehave("*", status=503, body=b'{"errors": [{"code": "UNAVAILABLE", "message": "be\\u0007ing mended"}]}')
    store = a_store(fake)
    for call in (lambda: store.find("x"), store.tags, lambda: store.put(*blob(b"x")), lambda: store.tag(b"{}", "x")):
        with pytest.raises((Unavailable, InvalidImage)) as caught:
            call()
        assert isinstance(caught.value, Unavailable) or "tag" in repr(call)
    with pytest.raises(Unavailable, match="UNAVAILABLE be ing mended"):
        store.tags()


def test_retry_after_is_respected(fake: FakeRegistry) -> None:
    an_image().put(a_store(fake), "x")
    fake.misbehave("GET */manifests/*", status=429, headers={"Retry-After": "7"}, times=1)
    waits: list[float] = []
    assert a_store(fake, waits=waits).find("x") is not None
    assert waits == [7.0]


def test_retry_after_a_date_that_has_passed_does_not_wait(fake: FakeRegistry) -> None:
    an_image().put(a_store(fake), "x")
    fake.misbehave("GET */manifests/*", status=429, headers={"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, times=1)
    waits: list[float] = []
    assert a_store(fake, waits=waits).find("x") is not None
    assert waits == [0.0]


def test_a_registry_that_wants_to_be_left_alone_for_long_is_left_alone(fake: FakeRegistry) -> None:
    fake.misbehave("*", status=429, headers={"Retry-After": "3600"})
    waits: list[float] = []
    with pytest.raises(Unavailable, match="3600 s") as caught:
        a_store(fake, waits=waits).find("x")
    assert caught.value.stable_code == "registry_busy"
    assert waits == []
    assert len(fake.requests) == 1


def test_a_registry_that_hangs_is_unavailable_after_the_time_out(fake: FakeRegistry) -> None:
    fake.misbehave("*", hang=True)
    with pytest.raises(Unavailable, match="no answer in time"):
        a_store(fake, timeout_s=0.05).find("x")
    assert len(fake.requests) == TRIES


def test_a_registry_that_is_not_there_is_unavailable(fake: FakeRegistry) -> None:
    with FakeRegistry() as other:
        store = a_store(other)
    for call in (lambda: store.find("x"), store.tags, lambda: read(store, blob(b"x")[0]), lambda: store.put(*blob(b"x"))):
        with pytest.raises(Unavailable) as caught:
            call()
        assert caught.value.stable_code == "registry_unavailable"
        assert caught.value.message.startswith(f"{other.host}/team/envs cannot be reached: Failed to establish")


def test_an_answer_that_does_not_come_to_an_end_is_given_up(fake: FakeRegistry) -> None:
    an_image().put(a_store(fake), "x")
    clock = itertools.count(0, 1000)
    store = a_store(fake, now_s=lambda: float(next(clock)))
    for call in (lambda: store.find("x"), store.tags):
        with pytest.raises(Unavailable, match="answers too slowly"):
            call()


@pytest.mark.parametrize("request_line", ["GET */manifests/*", "GET /token*"])
def test_a_small_answer_that_drips_is_given_up(guarded: FakeRegistry, request_line: str) -> None:
    guarded.misbehave(request_line, status=200, body=b"{}" * 1000, truncate=3, hang=True)
    clock = itertools.count(0, 1000)
    store = a_store(guarded, login=USER, timeout_s=0.05, now_s=lambda: float(next(clock)))
    with pytest.raises(Unavailable, match="answers too slowly"):
        store.find("x")


def test_a_refusal_that_drips_is_a_refusal(fake: FakeRegistry) -> None:
    fake.misbehave("GET */manifests/*", status=403, body=b"{}" * 1000, truncate=3, hang=True)
    clock = itertools.count(0, 1000)
    with pytest.raises(Denied):
        a_store(fake, timeout_s=0.05, now_s=lambda: float(next(clock))).find("x")


def test_a_host_name_that_does_not_exist_is_not_tried_again() -> None:
    waits: list[float] = []
    client = RegistryClient("registry.invalid", http=RegistryHttp(timeout_s=5), sleep=waits.append)
    with pytest.raises(Unavailable) as caught:
        RegistryImageStore(client, "x").find("y")
    assert caught.value.stable_code == "registry_unavailable"


def test_offline_nothing_is_asked(fake: FakeRegistry) -> None:
    client = RegistryClient(fake.host, http=RegistryHttp(offline=True))
    with pytest.raises(Unavailable) as caught:
        RegistryImageStore(client, "x").find("y")
    assert caught.value.stable_code == "offline"
    assert fake.requests == []


def test_not_found_by_something_that_is_no_registry_is_not_taken_for_an_answer(fake: FakeRegistry) -> None:
    fake.misbehave("*", status=404, body=b"<html>no such page</html>")
    for call in (lambda: a_store(fake).find("x"), a_store(fake).tags):
        with pytest.raises(Unavailable) as caught:
            call()
        assert caught.value.stable_code == "not_a_registry"


# -- manifests and tags ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "code"),
    [
        ({"flip": 5}, "wrong_digest"),
        ({"headers": {"Docker-Content-Digest": f"sha256:{'0' * 64}"}}, "wrong_digest"),
        ({"body": b"not json", "drop_headers": ("docker-content-digest",)}, "invalid_image"),
        ({"body": b"[]", "drop_headers": ("docker-content-digest",)}, "invalid_image"),
        ({"body": b" " * (4 << 20) + b" ", "drop_headers": ("docker-content-digest",)}, "manifest_too_large"),
        ({"headers": {"Content-Type": "application/vnd.oci.image.index.v1+json"}, "drop_headers": ()}, "ambiguous_manifest"),
    ],
)
def test_a_manifest_that_is_not_what_it_should_be_is_refused(fake: FakeRegistry, what: dict[str, Any], code: str) -> None:
    an_image().put(a_store(fake), "x")
    fake.misbehave("GET */manifests/*", **what)
    with pytest.raises(InvalidImage) as caught:
        a_store(fake).find("x")
    assert caught.value.stable_code == code


def test_another_manifest_under_a_digest_is_refused(fake: FakeRegistry) -> None:
    store = a_store(fake)
    first, second = an_image(1).put(store), an_image(2).put(store)
    kept = fake.manifests["team/envs"]
    kept[f"sha256:{first.digest}"] = kept[f"sha256:{second.digest}"]
    with pytest.raises(InvalidImage) as caught:
        store.find(f"sha256:{first.digest}")
    assert caught.value.stable_code == "wrong_digest"


def test_a_manifest_that_breaks_off_is_asked_for_again(fake: FakeRegistry) -> None:
    an_image().put(a_store(fake), "x")
    fake.misbehave("GET */manifests/*", truncate=10, times=2)
    assert a_store(fake).find("x") is not None


def test_a_registry_that_keeps_another_manifest_is_found_out(fake: FakeRegistry) -> None:
    image = an_image()
    image.put(a_store(fake), "x")
    fake.misbehave("PUT */manifests/*", headers={"Docker-Content-Digest": f"sha256:{'0' * 64}"})
    with pytest.raises(Unavailable, match="in place of"):
        image.put(a_store(fake), "x")


def test_more_tags_than_one_answer_holds_are_all_listed(fake: FakeRegistry) -> None:
    fake.page = 3
    names = [f"t-{number:02}" for number in range(10)]
    an_image().put(a_store(fake), *names)
    assert a_store(fake).tags() == names
    assert len(fake.asked("GET */tags/list*")) == 4


def test_a_list_of_tags_that_goes_round_in_circles_ends(fake: FakeRegistry) -> None:
    an_image().put(a_store(fake), "x")
    fake.misbehave("GET */tags/list*", headers={"Link": '</v2/team/envs/tags/list?n=1000>; rel="next"'})
    assert a_store(fake).tags() == ["x"]


@pytest.mark.parametrize("body", [b"", b"[]", b'{"tags": 1}', b"<html>", b"[" * 100_000])
def test_what_is_no_list_of_tags_is_an_error(fake: FakeRegistry, body: bytes) -> None:
    fake.misbehave("GET */tags/list*", status=200, body=body)
    with pytest.raises(Unavailable, match="no list of tags"):
        a_store(fake).tags()


@pytest.mark.parametrize("body", [b'{"name": "x", "tags": null}', b'{"tags": []}', b"{}"])
def test_a_repository_without_tags_has_none(fake: FakeRegistry, body: bytes) -> None:
    fake.misbehave("GET */tags/list*", status=200, body=body)
    assert a_store(fake).tags() == []


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (404, b'{"errors": [{"code": "NAME_UNKNOWN"}]}', "no_such_repository"),
        (400, b'{"errors": [{"code": "MANIFEST_INVALID", "message": "no zstd here"}]}', "manifest_refused"),
        (400, b'{"errors": [{"code": "DIGEST_INVALID"}]}', "manifest_refused"),
        (413, b"too large", "registry_unavailable"),
    ],
)
def test_a_manifest_that_is_refused_says_why(fake: FakeRegistry, status: int, body: bytes, code: str) -> None:
    fake.misbehave("PUT */manifests/*", status=status, body=body)
    with pytest.raises(WardianError) as caught:
        an_image().put(a_store(fake), "x")
    assert caught.value.stable_code == code
    if code == "manifest_refused":
        assert f"the manifest of {fake.host}/team/envs@sha256:" in caught.value.message


@pytest.mark.parametrize(
    "body",
    [b"not json", b'{"schemaVersion": 1, "name": "x"}', b'{"mediaType": "text/x"}', b'{"schemaVersion": 2, "layers": 1}'],
)
def test_a_manifest_that_cannot_be_read_names_the_image(fake: FakeRegistry, body: bytes) -> None:
    fake.misbehave("GET */manifests/*", status=200, body=body)
    with pytest.raises(InvalidImage) as caught:
        a_store(fake).find("x")
    assert caught.value.message.startswith(f"{fake.host}/team/envs:x: ")


def test_a_push_that_meets_another_in_the_registry_is_repeated(fake: FakeRegistry) -> None:
    body = b'{"errors": [{"code": "DIGEST_INVALID", "message": "provided digest did not match uploaded content"}]}'
    fake.misbehave("PUT */manifests/*", status=400, body=body, times=2)
    an_image().put(a_store(fake), "x")
    assert a_store(fake).find("x") is not None


# -- writing -----------------------------------------------------------------------------------------------------------


def test_a_small_blob_is_one_upload_request_and_a_large_one_several(fake: FakeRegistry) -> None:
    store = a_store(fake)
    store.put(*blob(b"small"))
    asked = [
        "HEAD /v2/team",
        "GET /v2/ 200",
        "POST /v2/team",
        "PUT /v2/team",
    ]  # the second: is it a registry that says "not found"?
    assert [str(request)[: len(line)] for request, line in zip(fake.requests, asked, strict=True)] == asked
    fake.requests.clear()
    store.put(*blob(BIG))
    assert [request.method for request in fake.requests] == ["HEAD", "POST", *["PATCH"] * 4, "PUT"]


@pytest.mark.parametrize("kept", [0, 1, 1000, CHUNK - 1])
def test_an_upload_whose_connection_is_lost_goes_on_from_what_has_arrived(fake: FakeRegistry, kept: int) -> None:
    descriptor, source = blob(BIG)
    fake.misbehave("PATCH *", lose_after=kept, times=1)
    assert a_store(fake).put(descriptor, source) == "sent"
    assert read(a_store(fake), descriptor) == BIG
    patches = fake.asked("PATCH *")
    if kept != 1:  # `Range: 0-0` says none and one alike
        assert sum(request.received for request in patches) == len(BIG)
        assert patches[1].headers["content-range"].startswith(f"{kept}-")
        assert len(fake.asked("POST *")) == 1


def test_an_upload_goes_on_after_a_whole_piece_whose_answer_was_lost(fake: FakeRegistry) -> None:
    descriptor, source = blob(BIG)
    fake.misbehave("PATCH *", lose_answer=True, times=1)
    assert a_store(fake).put(descriptor, source) == "sent"
    assert sum(request.received for request in fake.asked("PATCH *")) == len(BIG)


def test_an_upload_that_the_registry_has_forgotten_starts_anew(fake: FakeRegistry) -> None:
    descriptor, source = blob(BIG)
    fake.misbehave("GET */uploads/*", status=404, times=1)
    fake.misbehave("PATCH *", lose_after=1000, times=1)
    assert a_store(fake).put(descriptor, source) == "sent"
    assert read(a_store(fake), descriptor) == BIG
    assert len(fake.asked("POST *")) == 2


@pytest.mark.parametrize("size", [1000, len(BIG)])
def test_a_blob_whose_last_answer_was_lost_is_not_sent_again(fake: FakeRegistry, size: int) -> None:
    descriptor, source = blob(BIG[:size])
    fake.misbehave("PUT *", lose_answer=True, times=1)
    assert a_store(fake).put(descriptor, source) == "sent"
    assert len(fake.asked("PUT *")) == 1


@pytest.mark.parametrize("size", [1000, len(BIG)])
@pytest.mark.parametrize("method", ["HEAD", "POST", "PATCH", "PUT"])
@pytest.mark.parametrize("status", [500, 503, 429])
def test_an_overloaded_registry_gets_the_blob_in_the_end(fake: FakeRegistry, size: int, method: str, status: int) -> None:
    descriptor, source = blob(BIG[:size])
    fake.misbehave(f"{method} *", status=status, times=2)
    assert a_store(fake).put(descriptor, source) == "sent"
    assert read(a_store(fake), descriptor) == BIG[:size]


def test_an_upload_that_never_gets_through_is_given_up(fake: FakeRegistry) -> None:
    fake.misbehave("P[AU]T* */uploads/*", lose_after=0)
    with pytest.raises(Unavailable):
        a_store(fake).put(*blob(BIG))
    assert fake.blobs == {}


def test_a_registry_may_take_its_time_to_hash_a_large_blob(fake: FakeRegistry) -> None:
    fake.misbehave("PUT */uploads/*", delay_s=0.8)
    data = content(3, 40 << 20)  # two seconds
    assert a_store(fake, timeout_s=0.5).put(*blob(data)) == "sent"
    assert len(fake.asked("PUT *")) == 1


def test_a_registry_that_takes_nothing_is_given_up(fake: FakeRegistry) -> None:
    fake.misbehave("* */uploads/*", headers={"Range": "0-0"})
    fake.misbehave("PUT *", status=400)
    with pytest.raises(Unavailable):
        a_store(fake).put(*blob(BIG))


@pytest.mark.parametrize("status", [400, 404, 405, 416, 501])
def test_a_registry_that_takes_no_pieces_gets_the_blob_as_a_whole(fake: FakeRegistry, status: int) -> None:
    descriptor, source = blob(BIG)
    fake.misbehave("PATCH *", status=status)
    assert a_store(fake).put(descriptor, source) == "sent"
    assert read(a_store(fake), descriptor) == BIG
    assert [request.received for request in fake.asked("PUT *")] == [len(BIG)]


def test_a_registry_that_finds_another_digest_gets_the_blob_anew(fake: FakeRegistry) -> None:
    descriptor, source = blob(b"small")
    fake.misbehave("PUT *", status=400, body=b'{"errors": [{"code": "DIGEST_INVALID"}]}', times=1)
    assert a_store(fake).put(descriptor, source) == "sent"


def test_a_source_that_fails_in_the_midst_leaves_nothing(fake: FakeRegistry) -> None:
    class Failing(io.RawIOBase):
        def read(self, _size: int = -1) -> bytes:
            raise RuntimeError("the disk is gone")

    def failing() -> IO[bytes]:
        return Failing()  # type: ignore[return-value]

    with pytest.raises(RuntimeError, match="the disk is gone"):
        a_store(fake).put(blob(BIG)[0], failing)
    assert fake.blobs == {}


def test_a_wrong_source_gives_the_upload_up(fake: FakeRegistry) -> None:
    descriptor, _ = blob(BIG)
    with pytest.raises(BadArchive):
        a_store(fake).put(descriptor, lambda: io.BytesIO(BIG[:-1] + b"?"))
    assert fake.blobs == {}
    assert fake.uploads == {}


def test_a_blob_of_another_repository_is_mounted_and_not_sent(fake: FakeRegistry) -> None:
    origin, target = a_store(fake, "team/base"), a_store(fake, "team/envs")
    descriptor, source = blob(BIG)
    origin.put(descriptor, source)

    def unwanted() -> IO[bytes]:
        raise AssertionError("the content is not needed")

    assert target.put(descriptor, unwanted, origin=origin) == "mounted"
    assert read(target, descriptor) == BIG


def test_a_registry_that_does_not_mount_gets_the_blob_sent(fake: FakeRegistry) -> None:
    fake.mounts = False
    origin, target = a_store(fake, "team/base"), a_store(fake, "team/envs")
    descriptor, source = blob(BIG)
    origin.put(descriptor, source)
    assert target.put(descriptor, lambda: origin.open(descriptor), origin=origin) == "sent"
    assert read(target, descriptor) == BIG


def test_a_mount_that_is_refused_is_no_obstacle(fake: FakeRegistry) -> None:
    origin, target = a_store(fake, "secret/base"), a_store(fake, "team/envs")
    descriptor, source = blob(b"small")
    origin.put(descriptor, source)
    fake.misbehave("POST */uploads/?mount=*", status=403)
    assert target.put(descriptor, lambda: origin.open(descriptor), origin=origin) == "sent"


def test_a_repository_that_has_to_be_made_first_is_named(fake: FakeRegistry) -> None:
    fake.misbehave("POST *", status=404, body=b'{"errors": [{"code": "NAME_UNKNOWN"}]}')
    with pytest.raises(NotFound) as caught:
        a_store(fake).put(*blob(b"x"))
    assert caught.value.stable_code == "no_such_repository"


# -- logins ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def guarded() -> Iterator[FakeRegistry]:
    with FakeRegistry(tokens=True, user="user", password="secret") as running:
        yield running


def test_a_token_is_fetched_once_for_each_scope(guarded: FakeRegistry) -> None:
    store = a_store(guarded, login=USER)
    an_image(layers=5).put(store, "x")
    for _ in range(5):
        assert store.find("x") is not None
    tokens = guarded.asked("GET /token*")
    assert len(tokens) == 2
    assert "pull%2Cpush" in tokens[0].path
    assert "scope=repository%3Ateam%2Fenvs%3Apull" in tokens[1].path


def test_threads_share_a_token(guarded: FakeRegistry) -> None:
    an_image().put(a_store(guarded, login=USER), "x")
    guarded.requests.clear()
    store = a_store(guarded, login=USER)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: store.find("x"), range(8)))
    assert None not in found
    assert len(guarded.asked("GET /token*")) == 1


def test_without_a_login_it_is_denied_and_says_how_to_log_in(guarded: FakeRegistry) -> None:
    with pytest.raises(Denied, match="no credentials are known") as caught:
        a_store(guarded).find("x")
    assert caught.value.stable_code == "registry_denied"
    assert "wardian secret set" in str(caught.value.hint)


def test_with_a_wrong_login_it_is_denied_and_the_password_is_not_shown(guarded: FakeRegistry) -> None:
    with pytest.raises(Denied, match="not accepted") as caught:
        a_store(guarded, login=RegistryLogin("user", "hunter2")).find("x")
    assert "hunter2" not in repr(caught.value) + str(caught.value.hint)


def test_a_registry_open_to_anybody_through_its_token_service_needs_no_login() -> None:
    with FakeRegistry(tokens=True) as fake:
        an_image().put(a_store(fake), "x")
        assert a_store(fake).find("x") is not None


def test_a_token_that_expires_is_renewed_before_it_is_refused(guarded: FakeRegistry) -> None:
    now = [0.0]
    store = a_store(guarded, login=USER, now_s=lambda: now[0])
    an_image().put(store, "x")
    assert store.find("x") is not None
    guarded.expire_tokens()
    guarded.requests.clear()
    now[0] = 299
    assert store.find("x") is not None
    assert guarded.asked("* 401") == []


def test_a_token_that_is_withdrawn_in_the_midst_of_an_upload_is_renewed(guarded: FakeRegistry) -> None:
    descriptor, _ = blob(BIG)
    moments = [CHUNK]

    class Source(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() in moments:
                moments.clear()
                guarded.expire_tokens()
            return super().read(size)

    store = a_store(guarded, login=USER)
    assert store.put(descriptor, lambda: Source(BIG)) == "sent"
    assert read(store, descriptor) == BIG
    assert guarded.asked("PATCH * 401")


def test_a_registry_that_refuses_even_a_new_token_is_denied(guarded: FakeRegistry) -> None:
    challenge = f'Bearer realm="{guarded.url}/token",service="fake"'
    guarded.misbehave("GET /v2/*", status=401, headers={"WWW-Authenticate": challenge})
    with pytest.raises(Denied):
        a_store(guarded, login=USER).find("x")
    assert len(guarded.asked("GET /v2/*")) == 2


def test_an_upload_that_is_refused_every_new_token_ends(guarded: FakeRegistry) -> None:
    challenge = f'Bearer realm="{guarded.url}/token",service="fake"'
    guarded.misbehave("P[AU]T* */uploads/*", status=401, headers={"WWW-Authenticate": challenge})
    with pytest.raises((Denied, Unavailable)):
        a_store(guarded, login=USER).put(*blob(BIG))


@pytest.mark.parametrize("body", [b"", b"{}", b'{"token": 1}', b'{"token": "a\\nb"}', b"[]", b"x" * (2 << 20)])
def test_what_is_no_token_is_an_error(guarded: FakeRegistry, body: bytes) -> None:
    guarded.misbehave("GET /token*", status=200, body=body)
    with pytest.raises(Unavailable, match="no token"):
        a_store(guarded, login=USER).find("x")


def test_a_token_service_that_is_overloaded_is_asked_again(guarded: FakeRegistry) -> None:
    guarded.misbehave("GET /token*", status=503, times=2)
    assert a_store(guarded, login=USER).find("x") is None


def test_a_token_that_breaks_off_is_asked_for_again(guarded: FakeRegistry) -> None:
    guarded.misbehave("GET /token*", status=200, body=b'{"token": "x"}', truncate=3, times=1)
    assert a_store(guarded, login=USER).find("x") is None
    assert len(guarded.asked("GET /token* 200")) == 2


def test_a_token_that_does_not_come_to_an_end_is_given_up(guarded: FakeRegistry) -> None:
    clock = itertools.count(0, 1000)
    with pytest.raises(Unavailable, match="answers too slowly"):
        a_store(guarded, login=USER, now_s=lambda: float(next(clock))).find("x")


def test_a_refusal_that_breaks_off_is_a_refusal(guarded: FakeRegistry) -> None:
    guarded.misbehave("GET /token*", status=401, body=b"not you" * 10, truncate=3)
    with pytest.raises(Denied):
        a_store(guarded, login=USER).find("x")


def test_an_identity_token_is_exchanged(guarded: FakeRegistry) -> None:
    assert a_store(guarded, login=RegistryLogin(identity_token="identity-user")).find("x") is None
    assert len(guarded.asked("POST /token 200")) == 1


def test_forbidden_is_denied_and_not_absent(fake: FakeRegistry) -> None:
    fake.misbehave("*", status=403, body=b'{"errors": [{"code": "DENIED", "message": "not yours"}]}')
    store = a_store(fake)
    for call in (lambda: store.find("x"), store.tags, lambda: read(store, blob(b"x")[0]), lambda: store.put(*blob(b"x"))):
        with pytest.raises(Denied):
            call()


def test_basic_is_sent_only_when_it_is_asked_for(fake: FakeRegistry) -> None:
    fake.misbehave("GET *", status=401, headers={"WWW-Authenticate": 'Basic realm="r"'}, times=1)
    assert a_store(fake, login=USER).find("x") is None
    sent = [request.headers.get("authorization") for request in fake.asked("GET *manifests*")]
    assert sent == [None, "Basic dXNlcjpzZWNyZXQ="]


def test_no_login_goes_where_a_registry_does_not_ask_for_one(fake: FakeRegistry) -> None:
    an_image().put(a_store(fake, login=USER), "x")
    assert all("authorization" not in request.headers for request in fake.requests)


def test_nothing_is_sent_out_of_netrc_and_no_cookie_is_kept(fake: FakeRegistry, own_home: Path) -> None:
    (own_home / ".netrc").write_text("machine 127.0.0.1 login user password secret\n")
    (own_home / ".netrc").chmod(0o600)
    fake.misbehave("*", headers={"Set-Cookie": "session=1; Path=/"})
    an_image().put(a_store(fake), "x")
    assert fake.requests
    assert all(not {"authorization", "cookie"} & request.headers.keys() for request in fake.requests)


# -- elsewhere ---------------------------------------------------------------------------------------------------------


def test_a_redirect_is_followed_without_the_credentials(guarded: FakeRegistry, fake: FakeRegistry) -> None:
    descriptor, source = blob(BIG)
    a_store(guarded, login=USER).put(descriptor, source)
    stored(fake)
    target = f"{fake.url}/v2/team/envs/blobs/sha256:{descriptor.digest}?signature=s3cret"
    guarded.misbehave("GET */blobs/*", status=307, headers={"Location": target})
    assert read(a_store(guarded, login=USER), descriptor) == BIG
    (elsewhere,) = fake.requests
    assert "authorization" not in elsewhere.headers


def test_a_redirected_download_that_breaks_is_taken_up(guarded: FakeRegistry, fake: FakeRegistry) -> None:
    descriptor = stored(fake)
    target = f"{fake.url}/v2/team/envs/blobs/sha256:{descriptor.digest}"
    guarded.misbehave("GET */blobs/*", status=307, headers={"Location": target})
    fake.misbehave("GET */blobs/*", truncate=1000, times=1)
    assert read(a_store(guarded, login=USER), descriptor) == BIG
    assert [request.headers.get("range") for request in fake.requests] == [None, "bytes=1000-"]


def test_a_place_elsewhere_that_wants_a_login_gets_none(guarded: FakeRegistry, fake: FakeRegistry) -> None:
    fake.misbehave("*", status=401, headers={"WWW-Authenticate": 'Basic realm="give me"'})
    guarded.misbehave("GET */blobs/*", status=302, headers={"Location": f"{fake.url}/stolen?signature=s3cret"})
    with pytest.raises(Denied) as caught:
        read(a_store(guarded, login=USER), blob(BIG)[0])
    assert "s3cret" not in str(caught.value)
    assert all("authorization" not in request.headers for request in fake.requests)


def test_an_upload_elsewhere_gets_no_credentials(guarded: FakeRegistry, fake: FakeRegistry) -> None:
    fake.uploads["elsewhere"] = bytearray()
    where = {"Location": f"{fake.url}/v2/team/envs/blobs/uploads/elsewhere"}
    guarded.misbehave("POST *", status=202, headers=where)
    a_store(guarded, login=USER).put(*blob(b"small"))
    assert fake.requests
    assert all("authorization" not in request.headers for request in fake.requests)


@pytest.mark.parametrize("location", ["http://registry.example.com/x", "file:///etc/passwd", "ftp://127.0.0.1/x"])
def test_a_redirect_that_leaves_tls_or_the_web_is_not_followed(fake: FakeRegistry, location: str) -> None:
    fake.misbehave("GET */blobs/*", status=307, headers={"Location": location})
    with pytest.raises(Unavailable) as caught:
        read(a_store(fake), blob(b"x")[0])
    assert caught.value.stable_code == "insecure_redirect"


@pytest.mark.parametrize("location", ["http://[bad", "http://127.0.0.1:port/x", "//[::1/x"])
def test_a_redirect_to_no_address_is_the_registrys_fault(fake: FakeRegistry, location: str) -> None:
    fake.misbehave("GET */blobs/*", status=307, headers={"Location": location})
    with pytest.raises(Unavailable) as caught:
        read(a_store(fake), blob(b"x")[0])
    assert caught.value.stable_code in ("registry_unavailable", "insecure_redirect")


@pytest.mark.parametrize(
    "location", ["http://127.0.0.1:99999/", "http://127.0.0.1:0/", "http://[bad", "http://127.0.0.1:port/x"]
)
def test_a_place_to_upload_to_that_is_no_address_is_the_registrys_fault(fake: FakeRegistry, location: str) -> None:
    fake.misbehave("POST *", status=202, headers={"Location": location})
    with pytest.raises(Unavailable) as caught:
        a_store(fake).put(*blob(b"x"))
    assert caught.value.stable_code in ("registry_unavailable", "insecure_redirect")


@pytest.mark.parametrize("realm", ["http://127.0.0.1:99999/", "http://[bad", "https://"])
def test_a_token_service_that_is_no_address_is_the_registrys_fault(fake: FakeRegistry, realm: str) -> None:
    fake.misbehave("GET *", status=401, headers={"WWW-Authenticate": f'Bearer realm="{realm}"'})
    with pytest.raises(Unavailable) as caught:
        a_store(fake, login=USER).find("x")
    assert caught.value.stable_code in ("registry_unavailable", "insecure_redirect")


@pytest.mark.parametrize("body", [b"[" * 200_000, b'{"tags": 5}', b'{"tags": ["\\ud800"]}', b"[1]"])
def test_a_list_of_tags_that_is_none_is_the_registrys_fault(fake: FakeRegistry, body: bytes) -> None:
    fake.misbehave("GET */tags/list*", status=200, body=body)
    with pytest.raises(Unavailable, match="no list of tags"):
        a_store(fake).tags()


def test_a_layer_that_is_said_to_be_empty_and_is_not_is_told_so(fake: FakeRegistry) -> None:
    descriptor, source = blob(b"something")
    with pytest.raises(BadArchive) as caught:
        a_store(fake).put(replace(descriptor, size_bytes=0), source)
    assert caught.value.stable_code == "wrong_size"
    empty, nothing = blob(b"")
    assert a_store(fake).put(empty, nothing) == "sent"
    assert read(a_store(fake), empty) == b""


def test_what_is_asked_again_and_again_is_said(fake: FakeRegistry) -> None:
    """The first repetition is nobody's business; after that a person wants to know what is waited for."""
    said: list[str] = []
    fake.misbehave("GET *", status=503)
    client = RegistryClient(fake.host, http=RegistryHttp(), sleep=lambda _s: None, on_retry=said.append)
    with pytest.raises(Unavailable):
        RegistryImageStore(client, "team/envs").find("x")
    assert [text.rpartition(" ")[0] for text in said][:1] == [
        f"{fake.host} does not answer as it should (HTTP 503): asking again, 3 of"
    ]
    assert len(said) == 3


def test_a_redirect_without_end_ends(fake: FakeRegistry) -> None:
    fake.misbehave("GET *", status=307, headers={"Location": "/v2/team/envs/manifests/x"})
    with pytest.raises(Unavailable, match="without end"):
        a_store(fake).find("x")


def test_a_token_service_without_tls_elsewhere_gets_no_password(guarded: FakeRegistry) -> None:
    guarded.realm = "http://registry.example.com/token"
    with pytest.raises(Unavailable) as caught:
        a_store(guarded, login=USER).find("x")
    assert caught.value.stable_code == "insecure_redirect"


def test_a_list_of_tags_that_goes_on_elsewhere_gets_no_credentials(guarded: FakeRegistry, fake: FakeRegistry) -> None:
    an_image().put(a_store(guarded, login=USER), "x")
    an_image().put(a_store(fake), "y")
    fake.requests.clear()
    guarded.misbehave("GET */tags/list*", headers={"Link": f'<{fake.url}/v2/team/envs/tags/list>; rel="next"'})
    assert a_store(guarded, login=USER).tags() == ["x", "y"]
    assert all("authorization" not in request.headers for request in fake.requests)


def test_hosts_are_spoken_to_by_tls_unless_they_are_loopback_or_declared_insecure() -> None:
    def url(host: str, *insecure: str) -> str:
        return RegistryClient(host, http=RegistryHttp(), insecure=insecure).url

    assert url("ghcr.io") == "https://ghcr.io"
    assert url("docker.io") == "https://registry-1.docker.io"
    assert url("127.0.0.1:5000") == "http://127.0.0.1:5000"
    assert url("localhost:5000") == "http://localhost:5000"
    assert url("[::1]:5000") == "http://[::1]:5000"
    assert url("registry.lan:5000", "registry.lan:5000") == "http://registry.lan:5000"
    assert url("registry.lan:5001", "registry.lan:5000") == "https://registry.lan:5001"
    assert url("127.0.0.1.example.com") == "https://127.0.0.1.example.com"


def test_one_connection_serves_many_requests(fake: FakeRegistry) -> None:
    store = a_store(fake)
    an_image(layers=5).put(store, "x")
    store.put(*blob(BIG))
    assert store.find("none") is None
    assert store.tags() == ["x"]
    assert read(store, blob(BIG)[0]) == BIG
    assert len({request.client for request in fake.requests}) == 1


def test_parallel_uploads_and_downloads_do_not_mix(fake: FakeRegistry) -> None:
    store = a_store(fake)
    image = AnImage([content(n, 300_000 + n) for n in range(12)])
    gate = threading.Barrier(12)

    def move(item: tuple[Descriptor, bytes]) -> bytes:
        gate.wait()
        store.put(item[0], lambda: io.BytesIO(item[1]))
        return read(store, item[0])

    layers = image.blobs[1:]
    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(move, layers)) == [data for _, data in layers]
