"""Which Python distributions are in conda packages: what their own metadata declares."""

from __future__ import annotations

import json
import re
from email.parser import HeaderParser
from typing import TYPE_CHECKING

from wardian.definition.requirement import canonical_name
from wardian.package.archive import read_text_members

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from wardian.digest import Digest
    from wardian.lock.lock import Artifact

_LISTED = re.compile(r"(?:^|/)site-packages/(?P<name>[^/-]+)-(?P<version>[^/-]+)(?:-py\d[\d.]*)?\.(?:dist|egg)-info(?:/|$)")
_PATTERNS = ("*site-packages/*.dist-info/METADATA", "*site-packages/*.egg-info/PKG-INFO")


def provided_distributions(artifacts: Iterable[Artifact], archives: Mapping[Digest, Path]) -> dict[str, str]:
    """Return versions by PEP 503 name of the distributions that these conda archives put into site-packages.

    Raises:   BadArchive: an archive is damaged or hostile.
    """
    found: dict[str, str] = {}
    for artifact in artifacts:
        for pattern in _PATTERNS:
            for text in read_text_members(archives[artifact.sha256], "conda", pattern).values():
                headers = HeaderParser().parsestr(text, headersonly=True)
                if headers["Name"] and headers["Version"]:
                    found[canonical_name(headers["Name"])] = headers["Version"].strip()
    return found


def listed_distributions(artifacts: Iterable[Artifact], archives: Mapping[Digest, Path]) -> dict[str, str]:
    """Return the same by the names of files alone, as the archives list them: their metadata are not unpacked.

    Raises:   BadArchive: an archive is damaged or hostile.
    """
    found: dict[str, str] = {}
    for artifact in artifacts:
        for path in _listed(archives[artifact.sha256]):
            if match := _LISTED.search(path):
                found[canonical_name(match["name"])] = match["version"].replace("_", "-")
    return found


def _listed(archive: Path) -> list[str]:
    """Return the paths of the files that a conda package lists."""
    texts = read_text_members(archive, "conda", "info/*")
    try:
        return [str(entry["_path"]) for entry in json.loads(texts["info/paths.json"])["paths"]]
    except (KeyError, TypeError, ValueError):  # an old package: it has a plain list
        return texts.get("info/files", "").splitlines()
