"""A package index on loopback (PEP 503, 629, 658, 691, 700) that uv and pip install from."""

from __future__ import annotations

import html
import json
import re
import shutil
import tarfile
import threading
import zipfile
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from email.parser import Parser
from typing import TYPE_CHECKING, Any

from tests.support.server import Answer, Server

from wardian.digest import Digest

if TYPE_CHECKING:
    from pathlib import Path

JSON_TYPE = "application/vnd.pypi.simple.v1+json"
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Release:
    """One archive of the index, as it is announced."""

    project: str
    version: str
    path: Path
    sha256: str
    size: int
    upload_time: datetime
    requires_python: str | None
    metadata: bytes | None
    yanked: str | None


class Index(Server):
    """A simple index over the archives that were added; they are kept in ``directory``.

    ``url`` is what ``--index-url`` wants. Pages are never fresh for a client (``no-cache`` and ETag), archives always are.

    Args:     json_pages: whether JSON pages are offered; without them there are no sizes and upload times.
              core_metadata: whether METADATA is served beside wheels (PEP 658).
              hashes: whether sha256 is announced.
              user, password, token: see ``Server``.
    """

    def __init__(
        self, directory: Path, *, json_pages: bool = True, core_metadata: bool = True, hashes: bool = True, **options: Any
    ):
        super().__init__(**options)
        self.directory = directory
        self.directory.mkdir(parents=True, exist_ok=True)
        self.json_pages, self.core_metadata, self.hashes = json_pages, core_metadata, hashes
        self._releases: dict[str, Release] = {}
        self._guard = threading.Lock()

    @property
    def url(self) -> str:
        """The index URL, without credentials."""
        return f"{self.root_url}/simple"

    @property
    def find_links_url(self) -> str:
        """A flat page of links, for ``--find-links``."""
        return f"{self.root_url}/files/"

    def file_url(self, file: str) -> str:
        """Return the URL of an archive."""
        return f"{self.root_url}/files/{file}"

    def add(
        self,
        path: Path,
        upload_time: datetime = LONG_AGO,
        *,
        announced_sha256: str | None = None,
        announced_size: int | None = None,
        yanked: str | None = None,
    ) -> Path:
        """Publish the wheel or sdist at ``path``; seen by the next request. Returns its place in ``directory``."""
        target = self.directory / path.name
        if path.resolve() != target.resolve():
            shutil.copyfile(path, target)
        metadata = _metadata(target)
        headers = Parser().parsestr(metadata.decode())
        release = Release(
            project=_normalized(headers["Name"]),
            version=headers["Version"],
            path=target,
            sha256=announced_sha256 or Digest.of_file(target),
            size=target.stat().st_size if announced_size is None else announced_size,
            upload_time=upload_time,
            requires_python=headers["Requires-Python"],
            metadata=metadata if target.suffix == ".whl" and self.core_metadata else None,
            yanked=yanked,
        )
        with self._guard:
            self._releases[target.name] = release
        return target

    def remove(self, file: str) -> None:
        """Withdraw an archive, by file name; its file is deleted."""
        with self._guard:
            self._releases.pop(file).path.unlink()

    @property
    def files(self) -> tuple[str, ...]:
        """Names of all published archives."""
        with self._guard:
            return tuple(self._releases)

    def downloads(self) -> Counter[str]:
        """Return how often each archive was sent (whole or a range), by file name."""
        sent = (r for r in list(self.requests) if r.method == "GET" and r.status in (200, 206) and "/files/" in r.path)
        return Counter(r.path.rpartition("/")[2] for r in sent if not r.path.endswith((".metadata", "/")))

    def answer(self, path: str, headers: dict[str, str]) -> Answer | None:
        with self._guard:
            releases = list(self._releases.values())
        if path == "/files/":
            return self._page("files", [r for r in releases if r.path.exists()], as_json=False)
        if path.startswith("/files/"):
            return _archive(path.removeprefix("/files/"), releases)
        if path.rstrip("/") == "/simple":
            return self._projects(sorted({r.project for r in releases}), as_json=self._wants_json(headers))
        match = re.fullmatch(r"/simple/([^/]+)(/?)", path)
        if match is None:
            return None
        project = _normalized(match.group(1))
        found = [r for r in releases if r.project == project]
        if not found:
            return None
        if project != match.group(1) or not match.group(2):
            return Answer(b"", "text/plain", 301, {"Location": f"/simple/{project}/"})
        return self._page(project, found, as_json=self._wants_json(headers))

    def _wants_json(self, headers: dict[str, str]) -> bool:
        return self.json_pages and JSON_TYPE in headers.get("accept", "")

    def _projects(self, projects: list[str], *, as_json: bool) -> Answer:
        if as_json:
            return _json({"meta": {"api-version": "1.1"}, "projects": [{"name": p} for p in projects]})
        return _html("".join(f'<a href="/simple/{p}/">{p}</a><br>\n' for p in projects))

    def _page(self, project: str, releases: list[Release], *, as_json: bool) -> Answer:
        if as_json:
            return _json({
                "meta": {"api-version": "1.1"},
                "name": project,
                "versions": sorted({r.version for r in releases}),
                "files": [self._json_entry(r) for r in releases],
            })  # fmt: skip
        return _html("".join(self._link(r) for r in releases))

    def _json_entry(self, release: Release) -> dict[str, Any]:
        entry: dict[str, Any] = {
            "filename": release.path.name,
            "url": f"../../files/{release.path.name}",
            "hashes": {"sha256": release.sha256} if self.hashes else {},
            "size": release.size,
            "upload-time": release.upload_time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "requires-python": release.requires_python,
            "yanked": release.yanked if release.yanked is not None else False,
        }
        if release.metadata is not None:
            entry["core-metadata"] = {"sha256": Digest.of(release.metadata)}
        return entry

    def _link(self, release: Release) -> str:
        attributes = ""
        if release.requires_python:
            attributes += f' data-requires-python="{html.escape(release.requires_python)}"'
        if release.metadata is not None:
            attributes += f' data-core-metadata="sha256={Digest.of(release.metadata)}"'
        if release.yanked is not None:
            attributes += f' data-yanked="{html.escape(release.yanked)}"'
        anchor = f"#sha256={release.sha256}" if self.hashes else ""
        return f'<a href="/files/{release.path.name}{anchor}"{attributes}>{release.path.name}</a><br>\n'


def _archive(name: str, releases: list[Release]) -> Answer | None:
    for release in releases:
        if name == release.path.name:
            return Answer(release.path.read_bytes(), headers={"Cache-Control": "max-age=365000000, immutable"})
        if name == f"{release.path.name}.metadata" and release.metadata is not None:
            return Answer(release.metadata, "text/plain", headers={"Cache-Control": "max-age=365000000, immutable"})
    return None


def _json(document: dict[str, Any]) -> Answer:
    return Answer(json.dumps(document).encode(), JSON_TYPE, headers={"Cache-Control": "no-cache", "Vary": "Accept"})


def _html(links: str) -> Answer:
    head = '<!DOCTYPE html><html><head><meta name="pypi:repository-version" content="1.1"></head><body>\n'
    body = f"{head}{links}</body></html>\n".encode()
    return Answer(body, "text/html; charset=utf-8", headers={"Cache-Control": "no-cache", "Vary": "Accept"})


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _metadata(path: Path) -> bytes:
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as archive:
            return archive.read(next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA")))
    with tarfile.open(path) as archive:
        member = archive.extractfile(next(m for m in archive if m.name.count("/") == 1 and m.name.endswith("/PKG-INFO")))
        return member.read() if member else b""
