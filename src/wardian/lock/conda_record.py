"""A locked conda package in the linker's words. Apart from the solver: the linking process imports little."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from wardian.tools.rattler import Record

if TYPE_CHECKING:
    from wardian.lock.lock import Artifact


def to_record(artifact: Artifact, url: str) -> Record:
    """Return ``artifact`` as the linker wants it, its archive at ``url``."""
    return Record(
        name=artifact.name, version=artifact.version, build=artifact.build, build_number=artifact.build_number,
        subdir=artifact.subdir, file=artifact.file, url=url, channel=quote(artifact.source, safe=":/"),
        sha256=artifact.sha256, size_bytes=artifact.size_bytes, depends=artifact.depends, constrains=artifact.constrains,
        noarch=artifact.noarch, license=artifact.license, timestamp=artifact.timestamp,
        site_packages_path=artifact.site_packages_path,
    )  # fmt: skip
