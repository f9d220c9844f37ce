"""Archives with one thing wrong each. Every one is made from the same valid archive, so only that thing can be the reason to refuse.

The codes are those of ``validate_archive``. Whoever compares digests first sees ``wrong_digest`` for the damaged ones.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import struct
import tarfile
import warnings
import zipfile
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import zstandard
from tests.support.wheels import metadata_text, record_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

WHEEL_FILE = "hostile-1.0-py3-none-any.whl"
CONDA_STEM = "hostile-1.0-0"
PYTHON_FILE = "cpython-3.12.1+20250101-x86_64-unknown-linux-gnu-install_only.tar.gz"
SDIST_FILE = "hostile-1.0.tar.gz"
_INFO = "hostile-1.0.dist-info"
_LINK, _DEVICE = 0o120777 << 16, 0o020666 << 16

Hostile = tuple[bytes, str]  # content, expected code


@dataclass(frozen=True)
class Member:
    """One member of a tar or zip, as raw as its format allows."""

    name: str
    content: bytes = b""
    type: bytes = tarfile.REGTYPE
    link: str = ""
    size: int | None = None
    headers: dict[str, str] = field(default_factory=dict)


# -- wheels ----------------------------------------------------------------------------------------------------------


def good_wheel() -> bytes:
    """Return the valid wheel that the others differ from in one thing; it is called ``WHEEL_FILE``."""
    return _zip(_wheel_members())


@cache
def hostile_wheels(*, case_sensitive: bool = True) -> dict[str, Hostile]:
    """Return name → (content, code). ``case_sensitive=False`` adds what is wrong only on such file systems."""
    table: dict[str, Hostile] = {}
    paths = {
        "absolute path": "/tmp/hostile-evil", "parent path": "../evil", "parent path inside": "hostile/../../evil",
        "backslashes": "..\\evil", "drive": "C:evil", "NUL in a name": "hostile/a\0.py",
    }  # fmt: skip
    for why, name in paths.items():
        table[why] = (_zip([*_wheel_members(), Member(name, b"evil")]), "unsafe_path")
    for why, target in {"escaping link": "../../etc", "absolute link": "/etc/passwd"}.items():
        table[why] = (_zip([*_wheel_members(), Member("hostile/link", target.encode(), tarfile.SYMTYPE)]), "unsafe_link")
    link = Member("hostile/link", b".", tarfile.SYMTYPE)
    table["file through a link"] = (_zip([*_wheel_members(), link, Member("hostile/link/evil", b"evil")]), "unsafe_link")
    table["device"] = (_zip([*_wheel_members(), Member("hostile/null", b"", tarfile.CHRTYPE)]), "unsafe_member")
    table["duplicate member"] = (_zip([*_wheel_members(), Member("hostile/__init__.py", b"evil = 1\n")]), "duplicate_member")
    table["file below a file"] = (_zip([*_wheel_members(), Member("hostile/__init__.py/x", b"")]), "duplicate_member")
    table["RECORD missing"] = (_zip([m for m in _wheel_members() if not m.name.endswith("RECORD")]), "missing_record")
    table["RECORD leads outside"] = (_zip(_wheel_members(record_extra="../../evil,,\n")), "unsafe_path")
    table["METADATA missing"] = (_zip([m for m in _wheel_members() if not m.name.endswith("METADATA")]), "wrong_metadata")
    table["another name"] = (_zip(_wheel_members(name="other")), "wrong_metadata")
    table["another version"] = (_zip(_wheel_members(version="2.0")), "wrong_metadata")
    table["two dist-infos"] = (
        _zip([*_wheel_members(), Member("other-1.0.dist-info/METADATA", b"Name: other\n")]),
        "wrong_metadata",
    )
    points = Member(f"{_INFO}/entry_points.txt", b"[console_scripts]\n../../evil = hostile:main\n")
    table["entry point leads outside"] = (_zip([*_wheel_members(), points]), "unsafe_path")
    table |= _damaged(good_wheel())
    table["bomb"] = (_zip_declaring(good_wheel(), 0xFFFFFFF0), "archive_bomb")
    table["wrong size"] = (_zip_declaring(good_wheel(), 7), "damaged_archive")
    table |= _ambiguous_zips(good_wheel())
    if not case_sensitive:
        table["case collision"] = (_zip([*_wheel_members(), Member("hostile/__INIT__.py", b"")]), "case_collision")
    return table


def _wheel_members(name: str = "hostile", version: str = "1.0", record_extra: str = "") -> list[Member]:
    contents = {
        "hostile/__init__.py": b"value = 1\n" * 20,
        f"{_INFO}/METADATA": metadata_text(name, version).encode(),
        f"{_INFO}/WHEEL": b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    contents[f"{_INFO}/RECORD"] = (record_text(contents, f"{_INFO}/RECORD") + record_extra).encode()
    return [Member(path, content) for path, content in contents.items()]


# -- conda packages --------------------------------------------------------------------------------------------------


def good_conda(kind: str = ".conda") -> bytes:
    """Return the valid package that the others differ from in one thing; it is called ``CONDA_STEM`` + ``kind``."""
    return _conda(kind)


@cache
def hostile_condas(kind: str = ".conda", *, case_sensitive: bool = True) -> dict[str, Hostile]:
    """Return name → (content, code) for ``.conda`` or ``.tar.bz2``; see ``hostile_wheels``."""
    table = {why: (_conda(kind, extra=extra), code) for why, (extra, code) in _hostile_members("share").items()}
    paths: dict[str, tuple[Any, str]] = {
        "paths.json: absolute path": ({"_path": "/tmp/hostile-evil"}, "unsafe_path"),
        "paths.json: parent path": ({"_path": "../../evil"}, "unsafe_path"),
        "paths.json: NUL": ({"_path": "a\0b"}, "unsafe_path"),
        "paths.json: the prefix itself": ({"_path": "."}, "unsafe_path"),
        "paths.json: not a path": ({"_path": 7}, "wrong_metadata"),
        "paths.json: not in the archive": ({"_path": "share/absent"}, "wrong_metadata"),
        "paths.json: unknown type": ({"_path": "share/hostile.txt", "path_type": "fifo"}, "duplicate_member"),
        "paths.json: empty placeholder": ({"_path": "bin/hostile", "prefix_placeholder": ""}, "wrong_metadata"),
        "paths.json: not an object": ("share/hostile.txt", "wrong_metadata"),
    }
    for why, (entry, code) in paths.items():
        table[why] = (_conda(kind, paths=[entry]), code)
    infos: tuple[tuple[str, dict[str, str | None], str], ...] = (
        ("paths.json: no list", {"paths.json": '{"paths": 1}'}, "wrong_metadata"),
        ("paths.json: not JSON", {"paths.json": "{"}, "wrong_metadata"),
        ("index.json: not JSON", {"index.json": "["}, "wrong_metadata"),
        ("index.json: too deep", {"index.json": "[" * 100_000}, "wrong_metadata"),
        ("index.json missing", {"index.json": None}, "wrong_metadata"),
        ("another name", {"index.json": _index(name="other")}, "wrong_metadata"),
        ("another version", {"index.json": _index(version="2.0")}, "wrong_metadata"),
        ("another build", {"index.json": _index(build="1")}, "wrong_metadata"),
        ("site-packages outside", {"index.json": _index(python_site_packages_path="../../evil")}, "unsafe_path"),
        ("has_prefix leads outside", {"has_prefix": '"/opt/x" text "../evil"\n'}, "unsafe_path"),
        ("files leads outside", {"files": "share/hostile.txt\n/etc/passwd\n"}, "unsafe_path"),
        ("entry point leads outside", {"link.json": _link("../../evil = hostile:main")}, "unsafe_path"),
        ("unknown noarch", {"link.json": '{"noarch": {"type": "evil"}}'}, "wrong_metadata"),
    )
    for why, texts, code in infos:
        table[why] = (_conda(kind, info=texts), code)
    table |= _damaged(good_conda(kind))
    table["bomb"] = (_conda(kind, extra=[Member("share/bomb", b"", size=1 << 40)]), "archive_bomb")
    table["bomb of a header"] = (_conda(kind, extra=[Member("x", b"", b"L", size=1 << 40)]), "archive_bomb")
    if kind == ".conda":
        table |= _ambiguous_zips(good_conda())
        table["two inner archives"] = (
            _zip([*_conda_members(), Member("pkg-other.tar.zst", b"")], stored=True),
            "wrong_metadata",
        )
        table["no inner archive"] = (_zip(_conda_members()[:2], stored=True), "wrong_metadata")
        cut = [m if not m.name.startswith("pkg-") else Member(m.name, m.content[:-40]) for m in _conda_members()]
        table["inner archive truncated"] = (_zip(cut, stored=True), "damaged_archive")
    if not case_sensitive:
        table["case collision"] = (_conda(kind, extra=[Member("share/HOSTILE.txt", b"")]), "case_collision")
    return table


def _index(**changes: Any) -> str:
    return json.dumps(
        {"name": "hostile", "version": "1.0", "build": "0", "build_number": 0, "subdir": "linux-64", "depends": [], **changes}
    )


def _link(point: str) -> str:
    return json.dumps({"noarch": {"type": "python", "entry_points": [point]}, "package_metadata_version": 1})


def _conda(
    kind: str, *, extra: Iterable[Member] = (), info: dict[str, str | None] | None = None, paths: Iterable[Any] = ()
) -> bytes:
    members, infos = _conda_files(info or {}, paths)
    if kind == ".tar.bz2":
        return bz2.compress(_tar([*infos, *members, *extra]), 1)
    return _zip(_conda_members([*members, *extra], infos), stored=True)


def _conda_members(members: list[Member] | None = None, infos: list[Member] | None = None) -> list[Member]:
    if members is None or infos is None:
        members, infos = _conda_files({}, ())
    return [
        Member("metadata.json", b'{"conda_pkg_format_version": 2}'),
        Member(f"info-{CONDA_STEM}.tar.zst", zstandard.compress(_tar(infos))),
        Member(f"pkg-{CONDA_STEM}.tar.zst", zstandard.compress(_tar(members))),
    ]


def _conda_files(info: dict[str, str | None], paths: Iterable[Any]) -> tuple[list[Member], list[Member]]:
    members = [Member("share/hostile.txt", b"hello\n" * 100), Member("bin/hostile", b"#!/bin/sh\n")]
    entries: list[Any] = [{"_path": "share/hostile.txt", "path_type": "hardlink"}, *paths]
    texts: dict[str, str | None] = {
        "index.json": _index(),
        "paths.json": json.dumps({"paths": entries, "paths_version": 1}),
        **info,
    }
    return members, [Member(f"info/{name}", text.encode()) for name, text in texts.items() if text is not None]


# -- standalone Pythons and sdists -----------------------------------------------------------------------------------


def good_python() -> bytes:
    """Return a valid (if useless) standalone Python called ``PYTHON_FILE``."""
    return gzip.compress(_tar(_python_members()))


@cache
def hostile_pythons() -> dict[str, Hostile]:
    """Return name → (content, code)."""
    table = {
        why: (gzip.compress(_tar([*_python_members(), *extra])), code)
        for why, (extra, code) in _hostile_members("python/share").items()
    }
    table["beside python/"] = (gzip.compress(_tar([*_python_members(), Member("evil", b"")])), "wrong_metadata")
    beside = Member("python/lib/evil", b"", tarfile.SYMTYPE, "../../../other")
    table["link beside python/"] = (gzip.compress(_tar([*_python_members(), beside])), "unsafe_link")
    table["no interpreter"] = (gzip.compress(_tar([Member("python/README", b"")])), "wrong_metadata")
    return table | _damaged(good_python())


def _python_members() -> list[Member]:
    return [
        Member("python/bin/python3.12", b"#!/bin/sh\n" * 20),
        Member("python/bin/python", b"", tarfile.SYMTYPE, "python3.12"),
    ]


def good_sdist() -> bytes:
    """Return a valid sdist called ``SDIST_FILE``."""
    return gzip.compress(_tar(_sdist_members()))


@cache
def hostile_sdists() -> dict[str, Hostile]:
    """Return name → (content, code)."""
    table = {
        why: (gzip.compress(_tar([*_sdist_members(), *extra])), code)
        for why, (extra, code) in _hostile_members("hostile-1.0").items()
    }
    table["two directories"] = (gzip.compress(_tar([*_sdist_members(), Member("other/x", b"")])), "wrong_metadata")
    table["another version"] = (gzip.compress(_tar(_sdist_members("2.0"))), "wrong_metadata")
    return table | _damaged(good_sdist())


def _sdist_members(version: str = "1.0") -> list[Member]:
    return [
        Member("hostile-1.0/PKG-INFO", metadata_text("hostile", version).encode()),
        Member("hostile-1.0/setup.py", b"# nothing\n" * 20),
    ]


# -- what can be wrong with any tar ----------------------------------------------------------------------------------


def _hostile_members(place: str) -> dict[str, tuple[list[Member], str]]:
    up = "../" * (place.count("/") + 2)
    symlink, hard = tarfile.SYMTYPE, tarfile.LNKTYPE
    return {
        "absolute path": ([Member("/tmp/hostile-evil", b"evil")], "unsafe_path"),
        "parent path": ([Member("../evil", b"evil")], "unsafe_path"),
        "parent path inside": ([Member(f"{place}/{up}evil", b"evil")], "unsafe_path"),
        "NUL in a name": ([Member("x", b"", headers={"path": f"{place}/a\0b"})], "unsafe_path"),
        "not UTF-8": ([Member(f"{place}/\udcff", b"")], "unsafe_path"),
        "escaping link": ([Member(f"{place}/link", b"", symlink, f"{up}etc/passwd")], "unsafe_link"),
        "absolute link": ([Member(f"{place}/link", b"", symlink, "/etc/passwd")], "unsafe_link"),
        "link escaping by another link": (
            # as text, `in/up/..` is `in`; the kernel follows `up` first, and `..` of the root is outside
            [Member(f"{place}/in/up", b"", symlink, "../" * (place.count("/") + 2)), Member(f"{place}/in/out", b"", symlink, "up/../etc")],
            "unsafe_link",
        ),
        "link to itself": ([Member(f"{place}/a", b"", symlink, "b"), Member(f"{place}/b", b"", symlink, "a")], "unsafe_link"),
        "file through a link": (
            [Member(f"{place}/link", b"", symlink, "."), Member(f"{place}/link/evil", b"evil")], "unsafe_link",
        ),
        "hard link out": ([Member(f"{place}/hard", b"", hard, "../../etc/passwd")], "unsafe_link"),
        "absolute hard link": ([Member(f"{place}/hard", b"", hard, "/etc/passwd")], "unsafe_link"),
        "hard link to nothing": ([Member(f"{place}/hard", b"", hard, f"{place}/absent")], "unsafe_link"),
        "hard link to a link": (
            [Member(f"{place}/l", b"", symlink, "x"), Member(f"{place}/hard", b"", hard, f"{place}/l")], "unsafe_link",
        ),
        "device": ([Member(f"{place}/null", b"", tarfile.CHRTYPE)], "unsafe_member"),
        "fifo": ([Member(f"{place}/fifo", b"", tarfile.FIFOTYPE)], "unsafe_member"),
        "unknown type": ([Member(f"{place}/what", b"", b"Z")], "unsafe_member"),
        "sparse file": ([Member(f"{place}/sparse", b"", tarfile.GNUTYPE_SPARSE)], "unsafe_member"),
        "sparse by header": (
            [Member(f"{place}/s", b"", headers={"GNU.sparse.major": "1", "GNU.sparse.minor": "0"})], "unsafe_member",
        ),
        "duplicate member": ([Member(f"{place}/twice", b"1"), Member(f"{place}/twice", b"2")], "duplicate_member"),
        "duplicate by spelling": ([Member(f"{place}/twice", b"1"), Member(f"./{place}//twice", b"2")], "duplicate_member"),
        "file below a file": ([Member(f"{place}/f", b""), Member(f"{place}/f/x", b"")], "duplicate_member"),
        "directory and file": ([Member(f"{place}/f", b""), Member(f"{place}/f", b"", tarfile.DIRTYPE)], "duplicate_member"),
        "path for all members": (
            [Member("g", b"", tarfile.XGLTYPE, headers={"path": "evil"}), Member(f"{place}/g", b"")], "ambiguous_archive",
        ),
    }  # fmt: skip


def _damaged(good: bytes) -> dict[str, Hostile]:
    at = good.index(b"PK\1\2") - 20 if good.startswith(b"PK") else len(good) // 2  # in the content of a member
    return {
        "flipped byte": (good[:at] + bytes([good[at] ^ 0x40]) + good[at + 1 :], "damaged_archive"),
        "truncated": (good[: len(good) * 2 // 3], "damaged_archive"),
        "empty": (b"", "not_an_archive"),
        "a page of HTML": (b"<!DOCTYPE html><title>Sign in</title>", "not_an_archive"),
    }


def _ambiguous_zips(good: bytes) -> dict[str, Hostile]:
    other = _zip([Member("hidden", b"evil")], stored=True)
    hidden = other[: other.index(b"PK\1\2")]  # a member with its header, and no entry in the directory
    start = good.index(b"PK\1\2")
    return {
        "bytes before the zip": (b"PK\3\4" + b"#!/bin/sh\n" + good, "ambiguous_archive"),
        "hidden member": (_moved(good, start, hidden), "ambiguous_archive"),
        "encrypted": (good.replace(b"PK\1\2\x14\x03\x14\0\0\0", b"PK\1\2\x14\x03\x14\0\1\0", 1), "unsafe_member"),
    }


def _moved(good: bytes, start: int, hidden: bytes) -> bytes:
    """Return ``good`` with ``hidden`` before its directory, which is made to say where it is now."""
    end = good.rindex(b"PK\5\6")
    (at,) = struct.unpack_from("<I", good, end + 16)
    return good[:start] + hidden + good[start : end + 16] + struct.pack("<I", at + len(hidden)) + good[end + 20 :]


# -- writers ---------------------------------------------------------------------------------------------------------


def _tar(members: Iterable[Member]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT, errors="surrogateescape") as archive:
        for member in members:
            if member.headers:
                kind = tarfile.XGLTYPE if member.type == tarfile.XGLTYPE else tarfile.XHDTYPE
                records = b"".join(_pax_record(key, value) for key, value in member.headers.items())
                archive.addfile(_tarinfo(Member("pax", type=kind, size=len(records))), io.BytesIO(records))
                if kind == tarfile.XGLTYPE:
                    continue
            size = len(member.content) if member.size is None else member.size
            header = _tarinfo(Member(member.name, b"", member.type, member.link, size))
            # written past `addfile`, so that a header may announce more than follows
            block = header.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
            assert archive.fileobj is not None
            archive.fileobj.write(block + member.content + b"\0" * (-len(member.content) % 512))
            archive.offset = buffer.tell()
    return buffer.getvalue()


def _tarinfo(member: Member) -> tarfile.TarInfo:
    info = tarfile.TarInfo(member.name)
    info.type, info.linkname, info.size, info.mode = member.type, member.link, member.size or 0, 0o644
    return info


def _pax_record(key: str, value: str) -> bytes:
    body = f" {key}={value}\n".encode()
    length = len(body) + 1
    while length != len(body) + len(str(length)):
        length = len(body) + len(str(length))
    return str(length).encode() + body


def _zip(members: Iterable[Member], *, stored: bool = False) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w") as archive:
        warnings.simplefilter("ignore", UserWarning)  # zipfile says that a name is there twice
        for member in members:
            info = zipfile.ZipInfo("x", (2020, 1, 1, 0, 0, 0))
            info.filename = info.orig_filename = member.name
            info.create_system = 3
            info.external_attr = {tarfile.SYMTYPE: _LINK, tarfile.CHRTYPE: _DEVICE}.get(member.type, 0o100644 << 16)
            info.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
            archive.writestr(info, member.content)
    return buffer.getvalue()


def _zip_declaring(good: bytes, size: int) -> bytes:
    """Return ``good`` with its first member said to have ``size`` bytes, in both places that say so."""
    changed = bytearray(good)
    struct.pack_into("<I", changed, good.index(b"PK\3\4") + 22, size)
    struct.pack_into("<I", changed, good.index(b"PK\1\2") + 24, size)
    return bytes(changed)


ALL: dict[str, tuple[str, Callable[[], bytes], Callable[[], dict[str, Hostile]]]] = {
    "wheel": (WHEEL_FILE, good_wheel, hostile_wheels),
    "conda": (f"{CONDA_STEM}.conda", good_conda, hostile_condas),
    "tar.bz2": (f"{CONDA_STEM}.tar.bz2", lambda: good_conda(".tar.bz2"), lambda: hostile_condas(".tar.bz2")),
    "python": (PYTHON_FILE, good_python, hostile_pythons),
    "sdist": (SDIST_FILE, good_sdist, hostile_sdists),
}
