"""Where an installed distribution came from, as a requirement: an index, a URL, a repository, or local code."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes, urlsplit, urlunsplit

from wardian.definition.environment import LocalSource
from wardian.definition.local_path import is_archive_name
from wardian.definition.requirement import PipRequirement
from wardian.errors import WardianError
from wardian.formats.distributions import shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wardian.digest import Digest
    from wardian.formats.distributions import Distribution
    from wardian.formats.faults import Faults


class Origins:
    """Makes requirements of distributions. What no index serves is a warning, and is taken over from where it came.

    Attributes:
        local, places: the local code that was taken over, and where it lies.
    """

    def __init__(self, faults: Faults):
        self._faults = faults
        self.local: list[LocalSource] = []
        self.places: dict[Digest, Path] = {}

    def requirement(self, one: Distribution, extras: Sequence[str] = ()) -> str | None:
        """Return the requirement for exactly this distribution; None if it cannot be had anywhere, which is a warning."""
        name = one.name + (f"[{','.join(extras)}]" if extras else "")
        if one.origin is None:
            if "+" in one.version:
                self._warn(
                    one,
                    "a version with a local part is on an index of its own",
                    "name that index in the definition: `--extra-index-url`",
                )
            return self._checked(one, f"{name}=={one.version}")
        origin = one.origin
        url, clean = str(origin["url"]), _without_login(str(origin["url"]))
        if clean != url:
            self._faults.warn(
                "login_left_out",
                f"{one.name}: the login in its URL is left out",
                hint="a line in ~/.netrc, or `wardian secret set`",
            )
        fragment = str(origin.get("subdirectory") or "")
        if isinstance(vcs := origin.get("vcs_info"), dict):
            revision = str(vcs.get("commit_id") or vcs.get("requested_revision") or "")
            tail = (f"@{revision}" if revision else "") + (f"#subdirectory={fragment}" if fragment else "")
            self._warn(one, f"it is from a repository, {shown(clean)}")
            return self._checked(one, f"{name} @ {vcs.get('vcs', 'git')}+{clean}{tail}")
        if clean.startswith("file:"):
            return self._from_here(
                one,
                name,
                Path(os.fsdecode(unquote_to_bytes(urlsplit(clean).path))),
                fragment,
                isinstance(origin.get("dir_info"), dict),
            )
        self._warn(one, f"it is from {shown(clean)}")
        return self._checked(one, f"{name} @ {clean}{_sha256(origin)}")

    def _from_here(self, one: Distribution, name: str, place: Path, subdirectory: str, is_tree: bool) -> str | None:
        from wardian.formats.tree import tree_digest

        place = place / subdirectory if subdirectory else place
        path = f"./{one.name}" if is_tree else f"./{place.name}"
        try:
            if is_tree and not any((place / file).is_file() for file in ("pyproject.toml", "setup.py")):
                return self._lost(one, f"{shown(place)} cannot be installed (any more)")
            if not is_tree and not (place.is_file() and is_archive_name(place.name)):
                return self._lost(one, f"{shown(place)} is not there any more")
            requirement = PipRequirement.parse(f"{name} @ {path}")
            digest = tree_digest(place)
        except (WardianError, OSError) as error:
            return self._lost(one, str(error))
        self._warn(
            one,
            f"it is from {shown(place)}, which is taken over as it is now" + (", not editable" if _is_editable(one) else ""),
        )
        self.local.append(LocalSource(requirement.path or path, digest))
        self.places[digest] = place
        return str(requirement)

    def _checked(self, one: Distribution, text: str) -> str | None:
        try:
            return str(PipRequirement.parse(text))
        except WardianError as error:
            return self._lost(one, error.message)

    def _lost(self, one: Distribution, why: str) -> str | None:
        self._faults.warn("not_taken_over", f"{one.name} {one.version} is left out: no index serves it, and {why}")
        return None

    def _warn(self, one: Distribution, why: str, hint: str | None = None) -> None:
        self._faults.warn("not_on_an_index", f"{one.name} {one.version}: no index serves it; {why}", hint=hint)


def _is_editable(one: Distribution) -> bool:
    info = (one.origin or {}).get("dir_info")
    return isinstance(info, dict) and info.get("editable") is True


def _sha256(origin: Mapping[str, object]) -> str:
    archive = origin.get("archive_info")
    hashes = archive.get("hashes") if isinstance(archive, dict) else None
    found = hashes.get("sha256") if isinstance(hashes, dict) else None
    return f"#sha256={found}" if isinstance(found, str) and re.fullmatch(r"[0-9a-f]{64}", found) else ""


def _without_login(url: str) -> str:
    """Return ``url`` without user and password; ``git@`` and variables stay, as PEP 610 has them."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    login, at, host = parts.netloc.rpartition("@")
    if not at or login == "git" or re.fullmatch(r"\$\{[^}]+\}(:\$\{[^}]+\})?", login):
        return url
    return urlunsplit(parts._replace(netloc=host))
