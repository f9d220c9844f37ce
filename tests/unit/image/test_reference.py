"""References to images: what they mean, and what a wrong one is told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardian.digest import Digest
from wardian.errors import InvalidReference
from wardian.image.reference import (
    EnvironmentImage,
    ImageFile,
    ImageReference,
    parse_image,
    parse_image_reference,
)

HEX = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "registry", "repository", "tag", "digest"),
    [
        ("python", "docker.io", "library/python", "", None),
        ("python:3.11-slim", "docker.io", "library/python", "3.11-slim", None),
        ("team/envs", "docker.io", "team/envs", "", None),
        ("docker.io/python", "docker.io", "library/python", "", None),
        ("index.docker.io/team/x:1", "docker.io", "team/x", "1", None),
        ("ghcr.io/a/b/c:v1.0_rc-2", "ghcr.io", "a/b/c", "v1.0_rc-2", None),
        ("localhost/x", "localhost", "x", "", None),
        ("localhost:5000/x", "localhost:5000", "x", "", None),
        ("127.0.0.1:5000/team/envs:i-1", "127.0.0.1:5000", "team/envs", "i-1", None),
        ("[::1]:5000/x", "[::1]:5000", "x", "", None),
        ("Registry.Example.COM/x", "registry.example.com", "x", "", None),
        ("host:5000/x:1", "host:5000", "x", "1", None),
        (f"ghcr.io/a@sha256:{HEX}", "ghcr.io", "a", "", HEX),
        (f"ghcr.io/a:1@sha256:{HEX}", "ghcr.io", "a", "1", HEX),
        ("a.b/c__d/e--f/g.h", "a.b", "c__d/e--f/g.h", "", None),
    ],
)
def test_an_image_in_a_registry(text: str, registry: str, repository: str, tag: str, digest: str | None) -> None:
    found = parse_image(text)
    assert found == ImageReference(registry, repository, tag, Digest(digest) if digest else None)
    assert parse_image(str(found)) == found


def test_the_digest_counts_then_the_tag_then_latest() -> None:
    assert parse_image_reference(f"a:1@sha256:{HEX}").wanted == f"sha256:{HEX}"
    assert parse_image_reference("a:1").wanted == "1"
    assert parse_image_reference("a").wanted == "latest"
    assert str(parse_image_reference("a:1").at(Digest(HEX))) == f"docker.io/library/a:1@sha256:{HEX}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("oci:images", ImageFile("oci", "images")),
        ("oci:./images:1.0", ImageFile("oci", "./images", "1.0")),
        ("oci:/a b/c:x", ImageFile("oci", "/a b/c", "x")),
        ("oci-archive:x.tar", ImageFile("oci-archive", "x.tar")),
        ("oci-archive:x.tar:t", ImageFile("oci-archive", "x.tar", "t")),
        ("docker-archive:x.tar", ImageFile("docker-archive", "x.tar")),
        ("docker-archive:x.tar:python:3.11", ImageFile("docker-archive", "x.tar", "python:3.11")),
    ],
)
def test_an_image_in_a_file(text: str, expected: ImageFile) -> None:
    assert parse_image(text) == expected
    assert str(expected) == text


def test_the_image_of_an_environment() -> None:
    found = parse_image("wardian:sklearn:5")
    assert isinstance(found, EnvironmentImage)
    assert found.environment.version == "5"
    assert str(found) == "wardian:sklearn:5"
    with pytest.raises(InvalidReference):
        parse_image("wardian:")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "an image is"),
        (" python", "an image is"),
        ("py thon", "an image is"),
        ("python\n", "an image is"),
        ("Python", "`python`"),
        ("ghcr.io/Team/envs:V1", "`ghcr.io/team/envs:v1`"),
        ("https://ghcr.io/a/b", "leave the scheme away"),
        ("docker://ghcr.io/a/b", "write `ghcr.io/a/b`"),
        ("ghcr.io/a:", "at most 128"),
        ("ghcr.io/a:-1", "at most 128"),
        (f"ghcr.io/a:{'x' * 129}", "at most 128"),
        ("ghcr.io/a@sha256:123", "64 lower-case"),
        (f"ghcr.io/a@sha256:{HEX.upper()}", "64 lower-case"),
        (f"ghcr.io/a@sha512:{HEX * 2}", "`@sha256:`"),
        ("ghcr.io/a@", "`@sha256:`"),
        ("ghcr.io/", "lower-case letters"),
        ("ghcr.io//a", "lower-case letters"),
        ("ghcr.io/a/", "lower-case letters"),
        ("/a", "lower-case letters"),
        ("a/../b", "lower-case letters"),
        ("ghcr.io/../b", "lower-case letters"),
        ("ghcr.io/a___b", "lower-case letters"),
        ("ghcr.io/-a", "lower-case letters"),
        ("host:0/a", "1 to 65535"),
        ("host:65536/a", "1 to 65535"),
        ("host:x/a", "HOST"),
        ("-host.x/a", "HOST"),
        (HEX, "NAME@sha256"),
        (f"ghcr.io/{'a' * 260}", "shorter"),
        ("oci:", "oci:PATH"),
        ("oci:a:b:c", "cannot be written here"),
        ("oci:a:", "cannot be written here"),
        ("oci-archive:a:b/c", "cannot be written here"),
        ("docker-archive::x", "docker-archive:PATH"),
        ("docker-archive:a:B", "`b`"),
        ("ü", "lower-case letters"),
        ("a\x1b[31m", "an image is"),
    ],
)
def test_a_wrong_reference_is_told_what_to_write(text: str, hint: str) -> None:
    with pytest.raises(InvalidReference) as caught:
        parse_image(text)
    assert caught.value.stable_code == "invalid_image_reference"
    assert hint in str(caught.value.hint)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "text", ["user:hunter2@ghcr.io/a", "https://user:hunter2@ghcr.io/a", "docker://user:hunter2@ghcr.io/a"]
)
def test_a_login_in_a_reference_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(InvalidReference, match="login") as caught:
        parse_image(text)
    assert "hunter2" not in f"{caught.value} {caught.value.hint}"


@given(st.text(max_size=60) | st.from_regex(r"[a-zA-Z0-9:/@._\[\]-]{0,60}", fullmatch=True))
def test_whatever_is_written_is_a_reference_or_told_so(text: str) -> None:
    try:
        found = parse_image(text)
    except InvalidReference:
        return
    assert parse_image(str(found)) == found


def test_a_layout_has_images_without_a_tag() -> None:
    text = f"oci:some/where@sha256:{'a' * 64}"
    assert parse_image(text) == ImageFile("oci", "some/where", f"sha256:{'a' * 64}")
    assert str(parse_image(text)) == text
    shown = f"/some/where@sha256:{'a' * 64}"  # as `image show` writes those of this machine
    assert parse_image(shown) == ImageFile("oci", "/some/where", f"sha256:{'a' * 64}")
