"""The local code and the build context that one definition points at: found, checked, digested."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from wardian.definition.environment import LocalSource
from wardian.definition.local_path import checked_path, is_archive_name
from wardian.errors import InvalidInput, NotFound, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from wardian.digest import Digest

_LARGEST_DOCKERFILE_BYTES = 4 << 20


class LocalCode:
    """Collects local code in the order in which a definition names it.

    Args:     base: the directory that paths are relative to; None for a text without a place.
              known: digests from an earlier reading, for trees that are not there.
    """

    def __init__(self, base: Path | None, known: Iterable[LocalSource] = ()) -> None:
        self._base = base
        self._known = {source.path: source.digest for source in known}
        self._digests: dict[str, Digest] = {}
        self.places: dict[Digest, Path] = {}

    @property
    def sources(self) -> tuple[LocalSource, ...]:
        """What was taken, in order."""
        return tuple(LocalSource(path, digest) for path, digest in self._digests.items())

    def take(self, path: str) -> None:
        """Note the tree or archive at ``path`` (as `PipRequirement.path` has it). Idempotent.

        Raises:   NotFound: there is nothing there; code ``no_such_path``.
                  InvalidInput: ``not_installable``, or a code of `tree_digest`.  Unavailable: it cannot be read.
        """
        if path in self._digests:
            return
        place = self._base / path if self._base is not None else None
        try:
            there = place is not None and place.exists()
        except OSError as error:  # too long a name, or a directory that may not be searched
            raise Unavailable(f"`{path[:120]}` cannot be read: {error.strerror}", code="unreadable_file") from error
        if place is None or not there:
            if path not in self._known:
                raise _missing(path[:120], place)
            self._digests[path] = self._known[path]
            return
        if place.is_dir():
            if not (place / "pyproject.toml").is_file() and not (place / "setup.py").is_file():
                raise InvalidInput(f"the directory `{path}` cannot be installed: it has neither pyproject.toml nor setup.py",
                                   hint="name the directory that holds the project's pyproject.toml", code="not_installable")  # fmt: skip
        elif not place.is_file() or not is_archive_name(place.name):
            raise InvalidInput(f"`{path}` is neither a directory nor a wheel or source archive", code="not_installable")
        from wardian.formats.tree import tree_digest

        digest = tree_digest(place)
        self._digests[path] = digest
        self.places[digest] = place


class BuildContexts:
    """Finds the build context that a definition names.

    Args:     base, known: as `LocalCode` has them.  key: what the format calls the path of the Dockerfile.
    """

    def __init__(self, base: Path | None, known: Iterable[LocalSource] = (), *, key: str) -> None:
        self._base = base
        self._known = {source.path: source.digest for source in known}
        self._key = key
        self.places: dict[Digest, Path] = {}

    def take(self, path: str, dockerfile: str) -> Digest:
        """Return the digest of the directory at ``path``, in which ``dockerfile`` lies.

        Raises:   NotFound: code ``no_such_path``.  InvalidInput: ``not_a_directory``, or a code of `tree_digest`.
        """
        place = self._base / path if self._base is not None else None
        try:
            there = place is not None and place.exists()
            has_file = place is not None and (place / checked_path(dockerfile)).is_file()
        except OSError as error:  # too long a name, or a directory that may not be searched
            raise Unavailable(f"`{path[:120]}` cannot be read: {error.strerror}", code="unreadable_file") from error
        if place is None or not there:
            if path in self._known:
                return self._known[path]
            raise NotFound(f"there is no build context `{path}` beside the definition", code="no_such_path",
                           hint="paths are relative to the definition's file")  # fmt: skip
        if not place.is_dir():
            raise InvalidInput(f"the build context `{path}` is not a directory", code="not_a_directory",
                               hint=f"name the directory; the Dockerfile in it is `{self._key}:`")  # fmt: skip
        if not has_file:
            raise NotFound(f"there is no `{dockerfile}` in the build context `{path}`", code="no_such_path",
                           hint=f"`{self._key}:` is relative to the build context")  # fmt: skip
        real, root = os.path.realpath(place / dockerfile), os.path.realpath(place)
        if not real.startswith(root.rstrip("/") + "/"):  # before it is read, and quoted
            raise InvalidInput(f"`{dockerfile}` in the build context `{path}` is a link that leads out of it", code="link_leaves_tree",
                               hint="put a copy of what it points at in its place")  # fmt: skip
        _check_dockerfile(place / dockerfile, f"{path}/{dockerfile}".removeprefix("./"))
        from wardian.formats.tree import tree_digest

        digest = tree_digest(place)
        self.places[digest] = place
        return digest


def _check_dockerfile(place: Path, file: str) -> None:
    """Check a build context's Dockerfile.

    Raises:   InvalidDefinition: every fault, at its own line.  InvalidInput: it cannot be read.
    """
    from wardian.definition.dockerfile import parse_dockerfile
    from wardian.small_file import read_small

    try:
        text = read_small(place, _LARGEST_DOCKERFILE_BYTES).decode(errors="replace")
    except OSError as error:
        raise InvalidInput(f"`{file}` cannot be read: {error.strerror}", code="unreadable_file") from error
    parse_dockerfile(text, file)


def _missing(path: str, place: Path | None) -> NotFound:
    if place is None:
        return NotFound(f"`{path}` cannot be found: this text stands in no directory", code="no_such_path",
                        hint="read the file itself, so that paths have a place to start from")  # fmt: skip
    return NotFound(f"there is no `{path}` beside the definition", code="no_such_path",
                    hint="paths are relative to the definition's file")  # fmt: skip
