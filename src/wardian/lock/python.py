"""Which interpreter a uv environment gets: a standalone build, pinned, or the machine's."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from wardian.digest import Digest
from wardian.errors import NotFound, SolveFailed, Unavailable
from wardian.events import Event
from wardian.lock.lock import Artifact

if TYPE_CHECKING:
    from collections.abc import Sequence

    from packaging.version import Version

    from wardian.definition.platform import Platform
    from wardian.events import Listener
    from wardian.lock.ports import Archives
    from wardian.lock.solver import SolveRequest
    from wardian.tools.http import Http
    from wardian.tools.uv import Uv

DEFAULT_PYTHON = "3.12"  # what a definition that asks for no Python gets; changes only with a release note
STANDALONE = "index:python-build-standalone"
HOST = "host"
NOT_PORTABLE = "not portable: it uses the interpreter of the machine"
_OS = {"linux": "linux", "darwin": "macos", "windows": "windows"}


class PythonChooser:
    """Chooses and pins the interpreter of a uv environment.

    Args:     catalogue: URL or path of a catalogue in uv's format; None means uv's own.
    """

    def __init__(self, uv: Uv, archives: Archives, http: Http, catalogue: str | None):
        self._uv = uv
        self._archives = archives
        self._http = http
        self._catalogue = catalogue
        self._managed_fails: str | None = None

    def choose(self, request: SolveRequest, listener: Listener) -> tuple[Artifact, tuple[str, ...]]:
        """Return the interpreter's artifact, and notes for the lock.

        Raises:   SolveFailed: no interpreter satisfies the definition.
        """
        python = request.environment.python
        preferred = next((a for a in request.preferred if a.kind == "python"), None)
        if python.source == "managed" and (preferred is None or preferred.source != HOST):
            if (artifact := self._managed(request, preferred, listener)) is not None:
                return artifact, ()
            listener(
                Event(
                    "warning",
                    f"the lock will not be portable: it uses this machine's Python, as no standalone one can be had ({self._managed_fails})",
                )
            )
        return self._host(python.requires_python, preferred), (NOT_PORTABLE,)

    def url_of(self, artifact: Artifact) -> str | None:
        """Return where a standalone build is, or None.

        The catalogue of a later uv names later builds alone: an earlier one lies beside them, in the directory of its own build.
        """
        entries = self._entries()
        for entry in entries:
            if _file(entry) == artifact.file:
                return str(entry["url"])
        for entry in entries:
            above, _, name = str(entry["url"]).rpartition("/")
            releases, _, build = above.rpartition("/")
            if artifact.build and build and build == _build(entry) and entry.get("implementation", "cpython") == "cpython":
                encoded = quote(artifact.file) if "%2B" in name else artifact.file
                return f"{releases}/{artifact.build}/{encoded}"
        return None

    def _managed(self, request: SolveRequest, preferred: Artifact | None, listener: Listener) -> Artifact | None:
        if self._managed_fails is not None or request.offline:
            self._managed_fails = self._managed_fails or "offline"
            return None
        try:
            entries = [e for e in self._entries() if _fits(e, request.platform)]
        except Unavailable as error:
            self._managed_fails = error.message
            return None
        entry = _best(entries, request.environment.python.requires_python, preferred.version if preferred else None)
        if entry is None:
            self._managed_fails = f"the catalogue has none for {request.environment.python.requires_python or DEFAULT_PYTHON} on {request.platform}"
            return None
        listener(Event("phase", f"looking for a standalone Python {entry['version']}"))
        known = self._known_digests().get(_file(entry))
        try:
            archive = self._archives.obtain(
                [str(entry["url"])], _file(entry), kind="python", sha256=Digest(known) if known else None
            )
        except (Unavailable, NotFound) as error:
            self._managed_fails = re.sub(r"https?://([^/\s]+)/\S+", r"\1", error.message)
            return None
        return Artifact(kind="python", source=STANDALONE, name="cpython", version=str(entry["version"]), file=_file(entry),
                        sha256=archive.sha256, size_bytes=archive.size_bytes, build=_build(entry))  # fmt: skip

    def _host(self, requires: str, preferred: Artifact | None) -> Artifact:
        tries = [f"=={preferred.version}"] if preferred else []
        tries += [requires] if requires else [f"=={DEFAULT_PYTHON}.*", ">=3.9"]
        for specifiers in tries:
            if (found := self._uv.find_python(specifiers)) is not None:
                return host_python(found.version)
        raise SolveFailed(f"no Python that satisfies `{requires or '>=3.9'}` is on this machine", code="no_python",
                          hint="install one, or allow a standalone build: `source: managed` with a reachable catalogue")  # fmt: skip

    def _entries(self) -> list[dict[str, Any]]:
        return self._uv.python_downloads(self._catalogue)

    def _known_digests(self) -> dict[str, str]:
        """Return sha256 by file name, where the catalogue is one that can be read here."""
        if self._catalogue is None:
            return {}
        import io

        stream = io.BytesIO()
        place = self._catalogue if "://" in self._catalogue else Path(self._catalogue).absolute().as_uri()
        self._http.download(place, stream, limit_bytes=64 << 20)
        document = json.loads(stream.getvalue())
        entries = document.values() if isinstance(document, dict) else document
        return {_file(e): e["sha256"] for e in entries if isinstance(e, dict) and e.get("sha256") and e.get("url")}


def host_python(version: str) -> Artifact:
    """Return the artifact that stands for the machine's own CPython of exactly this version.

    Its digest is of name and version: the bytes differ from machine to machine, which is why the lock is not portable.
    """
    identity = {"host": "cpython", "version": version}
    return Artifact(
        kind="python", source=HOST, name="cpython", version=version, file="python", sha256=Digest.of_document(identity)
    )


def _fits(entry: dict[str, Any], platform: Platform) -> bool:
    system, _, _ = platform.name.partition("/")
    if entry.get("implementation", "cpython") != "cpython" or entry.get("variant") not in (None, "default"):
        return False
    arch = {"arm64": "aarch64", "AMD64": "x86_64"}.get(platform.machine, platform.machine)
    return (
        entry["os"] == _OS[system]
        and entry["arch"] == arch
        and entry.get("libc") in (("gnu",) if system == "linux" else (None, "none"))
    )


def _best(entries: Sequence[dict[str, Any]], requires: str, exact: str | None) -> dict[str, Any] | None:
    """Return the entry to take: the preferred version if it fits; else the newest patch of the minor nearest to the default."""
    from packaging.specifiers import SpecifierSet
    from packaging.version import Version as Parsed

    wanted = SpecifierSet(requires)
    fitting = [(Parsed(e["version"]), e) for e in entries]
    fitting = [(v, e) for v, e in fitting if wanted.contains(v) and not v.is_prerelease]
    if exact is not None and (same := [e for v, e in fitting if str(v) == exact]):
        return max(same, key=_build)
    if not fitting:
        return None
    nearest = min(_distance(v) for v, _ in fitting)
    candidates = [(v, e) for v, e in fitting if _distance(v) == nearest]
    return max(candidates, key=lambda pair: (pair[0], _build(pair[1])))[1]


def _distance(version: Version) -> tuple[int, int]:
    """How far a minor version is from the default; of two equally far, the newer is nearer."""
    minor = int(DEFAULT_PYTHON.split(".")[1])
    return abs(version.minor - minor), -version.minor


def _file(entry: dict[str, Any]) -> str:
    return unquote(urlsplit(str(entry["url"])).path).rpartition("/")[2]


def _build(entry: dict[str, Any]) -> str:
    if entry.get("build"):
        return str(entry["build"])
    match = re.search(r"(?:%2B|\+)(\d{8})", str(entry["url"]))
    return match.group(1) if match else ""
