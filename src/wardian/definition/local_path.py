"""Paths of local code as a definition writes them: relative, POSIX separators, one spelling each."""

from __future__ import annotations

import re
from urllib.parse import unquote

from wardian.errors import InvalidInput

_ARCHIVE = re.compile(r"\.(whl|tar\.gz|tgz|tar\.bz2|tbz|tar\.xz|txz|tar|zip)$", re.IGNORECASE)
_DRIVE = re.compile(r"[A-Za-z]:")
_UNWRITABLE = re.compile(r"[;#]|\s-|[\]\s]$")


def is_archive_name(name: str) -> bool:
    """Whether ``name`` ends as a wheel or a source archive does."""
    return bool(_ARCHIVE.search(name))


def is_wheel_name(name: str) -> bool:
    """Whether ``name`` is a wheel's file name: five parts, or six with a build number."""
    return bool(re.fullmatch(r"[A-Za-z0-9][\w.]*(-[^-/]+){4,5}\.whl", name))


def looks_like_path(text: str) -> bool:
    """Whether ``text``, without its marker, is a path rather than a project's name: pip's rule, without looking at the disk."""
    bare = re.sub(r"\[[^\[\]]*\]$", "", text)
    if bare.startswith((".", "/", "~", "\\")) or _DRIVE.match(bare):
        return True
    if re.search(r"[<>=!]", bare):
        return False
    return "/" in bare or "\\" in bare or is_archive_name(bare)


def checked_path(text: str) -> str:
    """Return the path or ``file:`` URL ``text`` as a relative POSIX path: ``.``, ``./…`` or ``../…``. Idempotent.

    Raises:   InvalidInput: codes ``absolute_path``, ``variable_in_path``, ``bad_path``.
    """
    path = text
    if path[:5].lower() == "file:":
        path = unquote(path[5:])
        if path.startswith("//") and not path.startswith("///"):
            raise _absolute(text)
    path = path.replace("\\", "/")
    if path.startswith(("/", "~")) or _DRIVE.match(path):
        raise _absolute(text)
    if "${" in path:
        raise InvalidInput(f"`{text[:120]}` holds a variable: a path of local code is part of the definition",
                           hint="write it as it is, relative to the definition: `./…`", code="variable_in_path")  # fmt: skip
    path = tidy_path(path)
    if _UNWRITABLE.search(path) or not path.isprintable():
        raise InvalidInput(f"the path `{text[:120]}` cannot be written in a requirements file",
                           hint="rename the directory: no `;`, `#`, ` -`, no closing bracket or space at its end",
                           code="bad_path")  # fmt: skip
    return path


def tidy_path(path: str) -> str:
    """Return the relative POSIX path ``path`` without empty, ``.`` and needless ``..`` parts."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == ".." and parts and parts[-1] != "..":
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    tidy = "/".join(parts)
    return tidy if parts and parts[0] == ".." else f"./{tidy}" if tidy else "."


def _absolute(text: str) -> InvalidInput:
    return InvalidInput(f"`{text[:120]}` is an absolute path: nobody else has it",
                        hint="put the code beside the definition and write `./…`", code="absolute_path")  # fmt: skip
