"""What other machines send home as a tar: written as a new directory, whatever the tar says. What would be dangerous here stays behind."""

from __future__ import annotations

import os
import tarfile
from typing import IO, TYPE_CHECKING

from wardian.errors import DiskFull, Unavailable, WardianError
from wardian.package.archive_streams import open_tar

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_MOST_MEMBERS = 2_000_000
_LINKS_FOLLOWED = 40  # as many as Linux follows
_HOLE_BYTES = 1 << 16  # what is nothing but zeros takes no room
_NOTHING = bytes(_HOLE_BYTES)
_OUT = "leads out of the run's directory"


def unpack_home(stream: IO[bytes], place: Path, limit_bytes: int | None) -> list[str]:
    """Write the members of the tar to the new directory ``place``; return what stays behind, in words, each with its path.

    Files are written before links are made, so nothing is written through a link.

    Raises:   DiskFull: it is more than ``limit_bytes``.  Unavailable: it is no tar, or ends too early.  OSError.
    """
    behind: list[str] = []
    links: dict[str, str] = {}
    moments: list[tuple[Path, int]] = []
    left, count = limit_bytes, 0
    place.mkdir(mode=0o700)
    try:
        with open_tar(stream) as tar:
            for member in tar:
                tar.members = []  # type: ignore[attr-defined]  # a stream never goes back: forget them
                count += 1
                if count > _MOST_MEMBERS:
                    raise Unavailable(f"more than {_MOST_MEMBERS:,} files are sent", code="bad_node_files")
                path = _plain(member.name)
                if path is None:
                    behind.append(f"{member.name}: it leads out of the run's directory")
                elif not path:
                    continue
                elif member.isdir():
                    (place / path).mkdir(parents=True, exist_ok=True)
                    moments.append((place / path, member.mode))
                elif member.issym():
                    links[path] = member.linkname
                elif member.islnk():
                    _link(place, path, member.linkname, behind)
                elif member.isreg():
                    if left is not None:
                        left -= member.size
                        if left < 0:
                            raise DiskFull(str(place.parent), needed_bytes=limit_bytes, free_bytes=limit_bytes or 0)
                    _write(tar, member, place / path)
                else:
                    behind.append(f"{path}: neither a file nor a directory nor a link")
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise Unavailable(f"what is sent is no whole archive: {error}", code="bad_node_files", hint="try again") from error
    except FileExistsError as error:
        raise Unavailable(f"{error.filename} is sent twice", code="bad_node_files") from error
    except Exception as error:
        if isinstance(error, OSError | WardianError):
            raise
        raise Unavailable(f"what is sent is refused: {error}", code="bad_node_files") from error
    for path, text in links.items():
        if astray := leads_astray(path, links):
            behind.append(f"{path}: a link to {text}, which {astray}")
        elif os.path.lexists(place / path):
            behind.append(f"{path}: it is sent twice")
        else:
            (place / path).parent.mkdir(parents=True, exist_ok=True)
            (place / path).symlink_to(text)
    for directory, mode in reversed(moments):
        directory.chmod(mode & 0o777 | 0o700)
    return sorted(behind)


def leads_astray(path: str, links: Mapping[str, str]) -> str:
    """Return in words why the link at ``path`` may not come along; empty: it leads to a place in its tree, or to nothing there.

    It is followed as the kernel does, through the other ``links`` of the tree.
    """
    here = path.split("/")[:-1]
    todo = ["/"] if links[path].startswith("/") else links[path].split("/")[::-1]
    followed = 0
    while todo:
        part = todo.pop()
        if part == "/":
            return _OUT
        if part in ("", "."):
            continue
        if part == "..":
            if not here:
                return _OUT
            here.pop()
            continue
        here.append(part)
        target = links.get("/".join(here))
        if target is not None:
            followed += 1
            if target.startswith("/"):
                return _OUT
            if followed > _LINKS_FOLLOWED:
                return "leads to itself, or through too many links"
            here.pop()
            todo += target.split("/")[::-1]
    return ""


def _plain(name: str) -> str | None:
    """Return a path with no parts that lead anywhere; None: it would leave, or is no name."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or "\0" in name:
        return None
    return "/".join(parts)


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    source = tar.extractfile(member)
    if source is None:  # pragma: no cover - it is a regular file
        return
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        while piece := source.read(_HOLE_BYTES):
            if piece == _NOTHING:
                stream.seek(_HOLE_BYTES, os.SEEK_CUR)
            else:
                stream.write(piece)
        stream.truncate()
        os.fchmod(descriptor, member.mode & 0o777 | 0o600)
        moment_ns = int(member.mtime * 1_000_000_000)
        os.utime(descriptor, ns=(moment_ns, moment_ns))


def _link(place: Path, path: str, target: str, behind: list[str]) -> None:
    """Make a hard link to a file that came before."""
    to = _plain(target)
    source = place / to if to else None
    if source is None or source.is_symlink() or not source.is_file():
        behind.append(f"{path}: a hard link to {target}, which is not there")
        return
    (place / path).parent.mkdir(parents=True, exist_ok=True)
    os.link(source, place / path)
