"""Whatever the members are called and wherever links lead: what is accepted stays inside, and nothing else than BadArchive is raised."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import tempfile
import zipfile
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.support import hostile
from tests.support.hostile import Member

from wardian.errors import BadArchive
from wardian.package.archive import validate_archive

_PART = st.sampled_from(["a", "b", "c", "..", ".", "", "A", "é", "a\0", "a\\..", "C:"])
_USUAL = st.sampled_from(["a", "b", "c", "..", "."])
_PATH = st.one_of(
    st.lists(_USUAL, min_size=1, max_size=4).map("/".join),
    st.lists(_PART, min_size=1, max_size=4).map("/".join),
    st.text(min_size=1, max_size=6),
)
_TYPE = st.sampled_from([tarfile.REGTYPE, tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE])


@st.composite
def members(draw: st.DrawFn) -> list[Member]:
    """Members below ``top/``; half of the link targets are names that there may be."""
    made: list[Member] = []
    for _ in range(draw(st.integers(1, 6))):
        kind = draw(_TYPE)
        target = draw(st.one_of(_PATH, st.sampled_from([m.name for m in made]) if made else _PATH)) if kind in b"12" else ""
        made.append(Member(f"top/{draw(_PATH)}", b"content" if kind == tarfile.REGTYPE else b"", kind, target))
    return made


def _encodable(made: list[Member]) -> bool:
    try:
        for member in made:
            (member.name + member.link).encode()
    except UnicodeEncodeError:
        return False
    return True


def _everything_inside(box: Path) -> bool:
    inside = os.path.realpath(box / "in")
    for directory, folders, files in os.walk(box):
        for name in [*folders, *files]:
            real = os.path.realpath(Path(directory) / name)
            if real != inside and not real.startswith(inside + os.sep):
                return False
    return [p.name for p in box.iterdir()] == ["in"]


@settings(max_examples=600)
@given(members())
@example([Member("top/a", b"", tarfile.SYMTYPE, "."), Member("top/a/a", b"", tarfile.SYMTYPE, "../..")])
@example([Member("top/in/up", b"", tarfile.SYMTYPE, "../.."), Member("top/in/out", b"", tarfile.SYMTYPE, "up/../etc")])
def test_an_accepted_tar_stays_inside_when_it_is_unpacked_without_care(made: list[Member]) -> None:
    if not _encodable(made):
        return
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "top.tar.gz"
        try:
            content = gzip.compress(hostile._tar(made), 1)
        except ValueError:  # tarfile itself refuses to write it
            return
        path.write_bytes(content)
        try:
            accepted = validate_archive(path, "sdist", case_sensitive=True)
        except BadArchive:
            return
        box = Path(directory) / "box"
        (box / "in").mkdir(parents=True)
        with tarfile.open(path) as archive:
            archive.extractall(box / "in", filter="fully_trusted")  # noqa: S202 - the point of the test
        assert _everything_inside(box)
        there = {p.relative_to(box / "in").as_posix() for p in (box / "in").rglob("*") if p.is_symlink() or p.is_file()}
        assert there == dict(accepted.files).keys() | dict(accepted.links).keys()


@settings(max_examples=300)
@given(st.lists(st.tuples(_PATH, st.booleans(), _PATH), min_size=1, max_size=5))
def test_an_accepted_wheel_stays_inside_when_it_is_unpacked_without_care(extra: list[tuple[str, bool, str]]) -> None:
    made = [
        Member(name, target.encode("utf-8", "replace"), tarfile.SYMTYPE if link else tarfile.REGTYPE)
        for name, link, target in extra
    ]
    if not _encodable(made):
        return
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / hostile.WHEEL_FILE
        path.write_bytes(hostile._zip([*hostile._wheel_members(), *made]))
        try:
            accepted = validate_archive(path, "wheel", case_sensitive=True)
        except BadArchive:
            return
        box = Path(directory) / "box"
        (box / "in").mkdir(parents=True)
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                target = box / "in" / info.filename
                if info.is_dir():
                    target.mkdir(parents=True, exist_ok=True)
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                if (info.external_attr >> 16) & 0o170000 == 0o120000:
                    target.symlink_to(archive.read(info).decode())
                else:
                    target.write_bytes(archive.read(info))
        assert _everything_inside(box)
        assert len(accepted.files) + len(accepted.links) == sum(not i.is_dir() for i in archive.infolist())


@settings(max_examples=500)
@given(st.sampled_from(sorted(hostile.ALL)), st.data())
def test_damage_is_refused_or_harmless_and_never_another_error(table: str, data: st.DataObject) -> None:
    file, good, _ = hostile.ALL[table]
    content = bytearray(good())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] ^= data.draw(st.integers(1, 255))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / file
        path.write_bytes(content)
        try:
            accepted = validate_archive(path, "conda" if table == "tar.bz2" else table, case_sensitive=True)
        except BadArchive as error:
            assert file in error.message  # noqa: PT017 - or it is accepted
        else:
            assert accepted.files


def test_the_writers_of_these_tests_write_what_tarfile_reads() -> None:
    made = [Member("top/a", b"content"), Member("top/b", b"", tarfile.SYMTYPE, "a")]
    with tarfile.open(fileobj=io.BytesIO(hostile._tar(made))) as archive:
        assert [(m.name, m.linkname) for m in archive] == [("top/a", ""), ("top/b", "a")]
