"""Rules about what images start from."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from wardian.formats.read_definition import Place
from wardian.lint.finding import Problem, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wardian.lint.subject import Subject

LONGEST_DOCKERFILE_BYTES = 100_000
_FROM = re.compile(r"^[ \t]*FROM[ \t]+(?:--\S+[ \t]+)*(\S+)(?:[ \t]+AS[ \t]+(\S+))?", re.IGNORECASE)
# systems and images whose makers give no more fixes
_OLD = re.compile(
    r"(^|/)(ubuntu:(1[0-9]|20)\.\d+|debian:(stretch|buster|jessie|9|10)|centos[:@].*|python:(2|3\.[0-9](?![0-9])).*"
    r"|azureml/(base|base-gpu|o16n-base|intelmpi.*|minimal-ubuntu(16|18|20)\.04.*|openmpi.*ubuntu(16|18|20)\.04)[:@].*)|ubuntu(14|16|18)\.04"
)


def _images(subject: Subject) -> Iterator[tuple[Place, str]]:
    """Yield the images that a registry serves, each with its place; names that are put together from arguments are left out."""
    docker = subject.environment.docker
    if docker.base_image:
        yield subject.place("docker.base_image"), docker.base_image
    stages: set[str] = set()
    for number, line in enumerate((docker.dockerfile or "").split("\n"), start=1):
        if match := _FROM.match(line):
            image, stage = match[1], match[2]
            if "$" not in image and image.lower() not in stages | {"scratch"}:
                yield _line_of_dockerfile(subject, number, line), image
            stages |= {stage.lower()} if stage else set()


def _line_of_dockerfile(subject: Subject, number: int, text: str) -> Place:
    """Return where line ``number`` of the Dockerfile stands in the file, if it stands there as it is."""
    place = subject.place("docker.dockerfile")
    if place.line is not None:
        inside = Place(place.file, place.line + number, place.field)
        if subject.line(inside).strip() == text.strip():
            return inside
    return place


def _tag(image: str) -> str | None:
    """Return the tag of ``image``: "" if it has none, None if it has a digest or is in no registry."""
    if "@sha256:" in image or image.startswith(("oci:", "oci-archive:", "docker-archive:")):
        return None
    return image.rpartition("/")[2].partition(":")[2]


def _latest(subject: Subject) -> Iterator[Problem]:
    for place, image in _images(subject):
        if _tag(image) in ("", "latest"):
            yield Problem(place, f"`{image}` means whatever is newest")


def _no_digest(subject: Subject) -> Iterator[Problem]:
    for place, image in _images(subject):
        if _tag(image) not in (None, "", "latest"):
            yield Problem(place, f"`{image}` is a tag, which its owner can move")


def _old(subject: Subject) -> Iterator[Problem]:
    for place, image in _images(subject):
        if _OLD.search(image):
            yield Problem(place, f"`{image}` gets no fixes any more")


def _long(subject: Subject) -> Iterator[Problem]:
    size_bytes = len((subject.environment.docker.dockerfile or "").encode())
    if size_bytes > LONGEST_DOCKERFILE_BYTES:
        yield Problem(subject.place("docker.dockerfile"), f"the Dockerfile has {size_bytes:,} bytes")


RULES = (
    Rule("base-image-latest", "warning", "a base image without a tag, or with `latest`",
         "The image behind it changes at any time, even to another release of its system; only the first build fixes it for a version.",
         "name a release and its digest: `debian:12-slim@sha256:…`", _latest, azure="base image without tag or digest"),
    Rule("base-image-no-digest", "note", "a base image by its tag alone",
         "Tags move: who builds this definition elsewhere, or later, may get other bytes.",
         "add the digest that you tested: `NAME:TAG@sha256:…`", _no_digest),
    Rule("old-base-image", "warning", "a base image whose system gets no fixes any more",
         "Its known faults stay in every image made from it, and its package servers may be gone.",
         "move to a release that is maintained", _old, azure="deprecated base image"),
    Rule("long-dockerfile", "warning", "a Dockerfile of more than 100 KB",
         "Azure ML refuses it, and files that are written into a Dockerfile are hidden from reviews.",
         "use a build context, and copy files from it", _long, azure="Dockerfile too long"),
)  # fmt: skip
