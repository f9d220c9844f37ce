"""Reading a definition's file as text: bounded in size, decoded, every bad byte named by its line."""

from __future__ import annotations

import codecs
import errno
import re
from typing import TYPE_CHECKING

from wardian.errors import Fault, InvalidDefinition, NotFound, Unavailable
from wardian.small_file import NoSmallFile, read_small

if TYPE_CHECKING:
    from pathlib import Path

LIMIT_BYTES = 4 << 20
_LONGEST_CODING_LINES = 1000
_MOST_LINKS = 50  # the kernel follows 40
_SHOWN_LINKS = 5
# longest first: the BOM of UTF-32-LE begins with that of UTF-16-LE
_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_CODING = re.compile(r"(?:[^\n]*\n)??([ \t\f]*#[^\n]*?coding[:=][ \t]*)([-\w.]+)")  # in the first line or the second
_NO_CODING_LINE = frozenset({".yaml", ".yml", ".toml", ".json", ".lock"})


def read_source(path: Path, *, file: str | None = None, limit_bytes: int = LIMIT_BYTES) -> str:
    """Return the text of the file at ``path``, line ends LF, without a BOM.

    At most ``limit_bytes`` + 1 bytes are read, whatever the file's size.

    Args:     file: the name for people, by default ``path`` as it is.
    Raises:   NotFound: there is no such file.  Unavailable: it cannot be read.
              InvalidDefinition: codes ``not_a_file``, ``link_loop``, ``file_too_large``, ``nul_byte``, ``bad_encoding``.
    """
    name = str(path) if file is None else file
    try:
        content = read_small(path, limit_bytes)
    except NoSmallFile as error:
        if error.errno != errno.EFBIG:
            raise _fault("not_a_file", f"`{name}` is not a file", name, None) from None
        message = f"`{name}` is larger than {limit_bytes:,} bytes, more than any definition needs"
        raise _fault("file_too_large", message, name, None, "check that this is the file you mean") from None
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(f"there is no file `{name}`", code="no_such_file") from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _fault(
                "link_loop", f"`{name}` is no file: {_loop(path)}", name, None, "remove the link, or let it lead to a file"
            ) from None
        raise Unavailable(f"`{name}` cannot be read: {error.strerror}", code="unreadable_file") from error
    return decode(content, file=name, coding_line=path.suffix.lower() not in _NO_CODING_LINE)


def decode(content: bytes, *, file: str, coding_line: bool = False) -> str:
    """Return ``content`` as text: by its BOM, else by its coding line if that counts, else as UTF-8; line ends LF.

    Args:     coding_line: whether ``# -*- coding: … -*-`` in the first two lines counts, as in Python and for pip.
    Raises:   InvalidDefinition: codes ``nul_byte``, ``bad_encoding``; with the line.
    Source:   PEP 263; pip's requirements file format, "Encoding"
    """
    encoding, body = "utf-8", content
    coding = None
    for bom, name in _BOMS:
        if content.startswith(bom):
            encoding, body = name, content[len(bom) :]
            break
    else:
        if coding_line and (coding := _CODING.match(content[:_LONGEST_CODING_LINES].decode("ascii", errors="replace"))):
            encoding = _known_encoding(coding, file)
    try:
        text = body.decode(encoding)
    except UnicodeError as error:
        if not isinstance(error, UnicodeDecodeError):  # some codecs say no more
            raise _fault("bad_encoding", f"the file is not {encoding}: {error}", file, 1, "save the file as UTF-8") from None
        line = _line_at(body[: error.start].decode(encoding, errors="replace"))
        raise _fault("bad_encoding", f"byte {error.start} is not {encoding.upper()}: {error.reason}", file, line,
                     "save the file as UTF-8") from None  # fmt: skip
    text = plain_text(text)
    if (at := text.find("\0")) >= 0:
        raise _fault("nul_byte", "the file holds a NUL byte: it is no text", file, _line_at(text[:at]))
    if coding and encoding != "utf-8" and (said := _CODING.match(text)):  # kept as UTF-8, it must not say otherwise
        text = f"{text[: said.start(2)]}utf-8{text[said.end(2) :]}"
    return text


def plain_text(text: str) -> str:
    """Return ``text`` without a BOM and with line ends LF: what readers take."""
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def _loop(path: Path) -> str:
    """Return in words where the links at ``path`` lead, none of which ends."""
    seen = [path]
    while seen[-1].is_symlink() and seen[-1] not in seen[:-1] and len(seen) <= _MOST_LINKS:
        seen.append(seen[-1].parent / seen[-1].readlink())
    if len(seen) == 1:
        return "a directory above it is a symbolic link that leads in a circle"
    if seen[-1] not in seen[:-1]:
        return f"its symbolic links lead nowhere: {' → '.join(str(place) for place in seen[:_SHOWN_LINKS])} …"
    return f"symbolic links lead in a circle: {' → '.join(str(place) for place in seen[-_SHOWN_LINKS:])}"


def _known_encoding(coding: re.Match[str], file: str) -> str:
    name = coding[2]
    try:
        b"\0\0\0\0".decode(name)  # a lookup alone also finds codecs of bytes, such as hex
        return codecs.lookup(name).name
    except (LookupError, UnicodeError):
        line = _line_at(coding.string[: coding.start(2)])
        raise _fault("bad_encoding", f"`{name}` is no known encoding", file, line, "save the file as UTF-8") from None


def _line_at(before: str) -> int:
    return before.replace("\r\n", "\n").replace("\r", "\n").count("\n") + 1


def _fault(code: str, message: str, file: str, line: int | None, hint: str | None = None) -> InvalidDefinition:
    return InvalidDefinition([Fault(code, message, file, line, "", hint)])
