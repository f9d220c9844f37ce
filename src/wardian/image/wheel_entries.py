"""A wheel as the files that it is in an image: what an installer would write, straight from the archive."""

from __future__ import annotations

import base64
import contextlib
import csv
import hashlib
import importlib
import io
import re
import stat
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING, Any

from wardian.image.byte_code import compile_entries
from wardian.image.entry import Entry
from wardian.image.python_layout import INTERPRETER
from wardian.package.archive_paths import refuse, safe_path
from wardian.package.archive_streams import TEXT_BYTES, damage, open_zip
from wardian.package.archive_wheel import check_script_name

if TYPE_CHECKING:
    import zipfile
    from collections.abc import Iterator
    from pathlib import Path

    from wardian.image.byte_code import ByteCompiler
    from wardian.image.python_layout import DirectoryLayout, PythonLayout
    from wardian.image.spool import Spool

INSTALLER = b"wardian\n"
_MADE_ANEW = ("RECORD", "INSTALLER", "REQUESTED")  # the last says what somebody asked for: not the package's business
_SHEBANG = b"#!python"
_KINDS = ("purelib", "platlib", "scripts", "data", "headers")
_LONGEST_FIRST_LINE = 4096
_CHUNK = 1 << 18


@dataclass(frozen=True, slots=True)
class ByteCodeMaker:
    """What byte-code is made with, and where it waits until it is written."""

    compiler: ByteCompiler
    spool: Spool


@dataclass(frozen=True, slots=True)
class _Member:
    """A file of the wheel in its place; ``digest``: as a RECORD has it, ``""`` where nobody has said it."""

    entry: Entry
    digest: str = ""


@contextlib.contextmanager
def wheel_entries(
    archive: Path, layout: PythonLayout | DirectoryLayout, byte_code: ByteCodeMaker | None = None
) -> Iterator[list[Entry]]:
    """Yield the files of the wheel ``archive`` below the environment's root, to be read while the block lasts.

    A pure function of the archive, the layout and the interpreter that makes byte-code. Files are read where they lie in the
    archive, in pieces. ``.data`` directories go to their places; scripts begin with the image's interpreter and are
    executable; entry points become scripts; RECORD lists every file, byte-code included, INSTALLER says ``wardian``.
    What stands in ``__pycache__`` in the archive is left out: it was made elsewhere, for another path.
    Where two of its files go to one place, ``.data`` wins over the root, entry points over both.

    Digests that the wheel's own RECORD has are taken over, as pip and uv do; missing ones are computed.

    Args:     archive: fetched and validated (``wardian.package``).
              byte_code: None: no ``.pyc``.
    Raises:   BadArchive: codes ``unsupported_wheel``, ``wrong_metadata``, ``invalid_entry_point``, ``unsafe_path``,
                  ``damaged_archive``; the latter also while the files are read.  BuildFailed: see ``ByteCompiler``.
    Source:   PEP 427; PyPA specifications: recording installed projects, entry points
    """
    # the whole library before any of its modules: they import each other, and two threads that begin with different ones see halves
    importlib.import_module("installer")
    with open_zip(archive) as zipped:
        yield _Wheel(archive.name, zipped, layout).entries(byte_code)


class _Wheel:
    def __init__(self, file: str, zipped: zipfile.ZipFile, layout: PythonLayout | DirectoryLayout):
        self._file = file
        self._zip = zipped
        self._infos = {info.filename: info for info in zipped.infolist() if not info.is_dir()}
        tops = {name.partition("/")[0] for name in self._infos if "/" in name}
        found = sorted(top for top in tops if top.endswith(".dist-info"))
        if len(found) != 1:
            refuse(file, None, "must hold exactly one .dist-info", code="wrong_metadata")
        self._info_directory = found[0]
        stem = found[0].removesuffix(".dist-info")
        self._data = {top for top in tops if top.endswith(".data") and _plain(top[:-5]) == _plain(stem)}
        self._scheme = layout.scheme(stem.rpartition("-")[0])
        self._site = self._scheme["purelib"]

    def entries(self, byte_code: ByteCodeMaker | None) -> list[Entry]:
        self._check_version()
        own = f"{self._site}/{self._info_directory}"
        members = self._members()
        for script in self._entry_points():
            members[script.path] = _Member(script)
        members[f"{own}/INSTALLER"] = _Member(Entry.of_bytes(f"{own}/INSTALLER", INSTALLER))
        if byte_code is not None:
            modules = [m.entry for m in members.values() if m.entry.path.startswith(f"{self._site}/")]
            for made in compile_entries(modules, byte_code.compiler, byte_code.spool):
                members[made.entry.path] = _Member(made.entry, _row_digest(bytes.fromhex(made.sha256)))
        record = Entry.of_bytes(f"{own}/RECORD", self._record(members, f"{self._info_directory}/RECORD"))
        return [*(member.entry for member in members.values()), record]

    def _members(self) -> dict[str, _Member]:
        """Return the wheel's own files by their paths in the image; the root's first, so that ``.data`` wins."""
        digests = self._own_record()
        members: dict[str, _Member] = {}
        for name in sorted(self._infos, key=lambda n: (n.partition("/")[0] in self._data, n)):
            info, parts = self._infos[name], name.split("/")
            made_anew = len(parts) == 2 and parts[0] == self._info_directory and parts[1] in _MADE_ANEW  # noqa: PLR2004
            if made_anew or "__pycache__" in parts[:-1]:
                continue
            kind, path = self._place(name)
            if not path:
                continue
            mode = info.external_attr >> 16
            executable = stat.S_ISREG(mode) and bool(mode & 0o111)
            digest, said_size = digests.get(name, ("", ""))
            if said_size != str(info.file_size):
                digest = ""
            entry = Entry(path, "file", info.file_size, executable, "", self._opener(info))
            if kind == "scripts":
                entry, changed = self._as_script(entry, info)
                digest = "" if changed else digest
            members[path] = _Member(entry, digest)
        return members

    def _place(self, name: str) -> tuple[str, str]:
        """Return the kind of the file ``name`` and its path in the image; no path: the layout has no place for that kind."""
        if name.partition("/")[0] not in self._data:
            return "purelib", f"{self._site}/{safe_path(self._file, name)}"
        _, kind, rest = (*name.split("/", 2), "")[:3]
        if kind in _KINDS and kind not in self._scheme:
            return kind, ""
        if kind not in self._scheme or not rest:
            known = ", ".join(self._scheme)
            refuse(self._file, name, f"is for none of the places that wheels know: {known}", code="wrong_metadata")
        return kind, f"{self._scheme[kind]}/{safe_path(self._file, rest)}"

    def _opener(self, info: zipfile.ZipInfo) -> Any:
        @contextlib.contextmanager
        def opened() -> Iterator[IO[bytes]]:
            with damage(self._file), self._zip.open(info) as stream:
                yield stream

        return opened

    def _as_script(self, entry: Entry, info: zipfile.ZipInfo) -> tuple[Entry, bool]:
        """Return ``entry`` executable, with the image's interpreter if its first line asks for one; and whether it does."""
        opener = self._opener(info)
        with opener() as stream:
            first = stream.readline(_LONGEST_FIRST_LINE)
        entry = replace(entry, executable=True)
        if not first.startswith(_SHEBANG) or not (first.endswith(b"\n") or len(first) == info.file_size):
            return entry, False
        ours = f"#!{INTERPRETER}\n".encode()

        @contextlib.contextmanager
        def opened() -> Iterator[IO[bytes]]:
            with opener() as stream:
                stream.readline(_LONGEST_FIRST_LINE)
                yield _Chained(ours, stream)  # type: ignore[misc]

        return replace(entry, size_bytes=entry.size_bytes - len(first) + len(ours), open_content=opened), True

    def _check_version(self) -> None:
        from installer.utils import parse_metadata_file

        version = str(parse_metadata_file(self._text("WHEEL"))["Wheel-Version"] or "")
        if version.partition(".")[0].strip() != "1":
            refuse(self._file, None, f"is of wheel version `{version[:40]}`; 1.x is known", code="unsupported_wheel")

    def _entry_points(self) -> list[Entry]:
        """Return the scripts that the wheel's entry points stand for."""
        import configparser

        from installer.scripts import Script
        from installer.utils import parse_entrypoints

        member = f"{self._info_directory}/entry_points.txt"
        if member not in self._infos or "scripts" not in self._scheme:
            return []
        scripts = []
        try:
            for name, module, attribute, section in parse_entrypoints(self._text("entry_points.txt")):
                check_script_name(self._file, "entry_points.txt", name)
                file, content = Script(name, module, attribute, section).generate(INTERPRETER, "posix")
                scripts.append(Entry.of_bytes(f"{self._scheme['scripts']}/{file}", content, executable=True))
        except (AssertionError, configparser.Error) as error:  # how `installer` says that a line is none
            what = str(error).strip().replace("\n", " ")[:200] or "a line is not `name = module:function`"
            refuse(self._file, member, f"is not a list of entry points: {what}", code="invalid_entry_point")
        return scripts

    def _own_record(self) -> dict[str, tuple[str, str]]:
        """Return what the wheel's RECORD says: path → (digest as it stands there, size)."""
        try:
            rows: list[list[str]] = list(csv.reader(io.StringIO(self._text("RECORD"), newline="")))
        except csv.Error as error:
            refuse(self._file, f"{self._info_directory}/RECORD", f"is not a RECORD: {error}", code="wrong_metadata")
        whole = (row for row in rows if len(row) == 3)  # noqa: PLR2004 - path, digest, size
        return {name: (digest, size) for name, digest, size in whole if digest.startswith("sha256=")}

    def _record(self, members: dict[str, _Member], own: str) -> bytes:
        """Return the RECORD of ``members``: sorted, paths relative to site-packages."""
        rows = [(own, "", "")]
        for path, member in members.items():
            digest = member.digest or _digest_of(member.entry)
            rows.append((_relative(path, self._site), digest, str(member.entry.size_bytes)))
        rows.sort(key=lambda row: row[0].encode())
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows(rows)
        return text.getvalue().encode()

    def _text(self, name: str) -> str:
        member = f"{self._info_directory}/{name}"
        info = self._infos.get(member)
        if info is None:
            refuse(self._file, member, "is missing", code="wrong_metadata")
        if info.file_size > TEXT_BYTES:
            refuse(self._file, member, f"is longer than {TEXT_BYTES:,} bytes", code="archive_bomb")
        with damage(self._file):
            return self._zip.read(info).decode("utf-8")


class _Chained(io.RawIOBase):
    """Reads some bytes, then the rest of a stream."""

    def __init__(self, first: bytes, rest: IO[bytes]):
        super().__init__()
        self._first = first
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        if self._first:
            piece, self._first = self._first[: len(view)], self._first[len(view) :]
        else:
            piece = self._rest.read(len(view))
        view[: len(piece)] = piece
        return len(piece)


def _plain(stem: str) -> str:
    return re.sub(r"[-_.]+", "-", stem).lower()


def _digest_of(entry: Entry) -> str:
    if entry.open_content is None:
        return _row_digest(hashlib.sha256().digest())
    hasher = hashlib.sha256()
    with entry.open_content() as stream:
        while piece := stream.read(_CHUNK):
            hasher.update(piece)
    return _row_digest(hasher.digest())


def _row_digest(digest: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _relative(path: str, site: str) -> str:
    """Return ``path`` as seen from ``site``: both are in the image, relative to its root."""
    if path.startswith(f"{site}/"):
        return path[len(site) + 1 :]
    here, there = site.split("/"), path.split("/")
    common = next(n for n, (a, b) in enumerate(zip([*here, "\0"], there, strict=False)) if a != b)
    return "/".join([".."] * (len(here) - common) + there[common:])
