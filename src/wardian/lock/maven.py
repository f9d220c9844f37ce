"""Resolves Spark packages in repositories of Maven's layout (ADR 0029)."""

from __future__ import annotations

import hashlib
import io
import re
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from wardian.digest import Digest
from wardian.errors import BadArchive, Denied, NotFound, SolveFailed, Unavailable, WardianError
from wardian.events import Event
from wardian.lock.jar_graph import jar_graph
from wardian.lock.lock import Artifact
from wardian.lock.maven_version import MavenVersion
from wardian.lock.pom import Coordinate, Dependency, Model, coordinate, effective, exact, read_pom
from wardian.lock.pom_xml import LONGEST_BYTES, parse_xml
from wardian.lock.repositories import SOURCE, plan_repositories
from wardian.tools.stopping import workers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from wardian.definition.environment import SparkSection
    from wardian.events import Listener
    from wardian.lock.jar_graph import Needed
    from wardian.lock.pom import Pom
    from wardian.lock.ports import Archives, Obtained
    from wardian.lock.repositories import MavenRepository
    from wardian.tools.http import Http

_PARALLEL = 8
_MOST_MOVES = 5
_CHECKSUM_BYTES = 4096
_SHOWN_VERSIONS = 6
_LONGEST_VERSION = 60
_Asked = TypeVar("_Asked")
_Answer = TypeVar("_Answer")
_HEX = {"sha256": 64, "sha1": 40}


class MavenJarResolver:
    """The ``JarResolver`` of the house: POMs read by our own, bounded reader, jars fetched by ``Archives``.

    Args:     configured: repositories by alias (settings).  mirrors: URL prefix → prefix that serves the same files.
              environ: where ``${NAME}`` in URLs comes from.
    """

    def __init__(
        self, *, http: Http, archives: Archives, configured: Mapping[str, str], mirrors: Mapping[str, str], environ: Mapping[str, str]
    ):  # fmt: skip
        self._http = http
        self._archives = archives
        self._configured = configured
        self._mirrors = mirrors
        self._environ = environ
        self._known: dict[SparkSection, tuple[Artifact, ...]] = {}  # the platforms of one go share them

    def resolve(self, spark: SparkSection, listener: Listener) -> tuple[Artifact, ...]:
        """See ``wardian.lock.jars.JarResolver``."""
        if spark in self._known:
            return self._known[spark]
        repositories = plan_repositories(spark, configured=self._configured, mirrors=self._mirrors, environ=self._environ)
        if not spark.packages:
            return ()
        listener(Event("phase", "resolving Spark packages"))
        search = _Search(self._http, self._archives, repositories)
        roots = [_named(text, f"spark.packages[{i}]") for i, text in enumerate(spark.packages)]
        found = jar_graph(list(dict.fromkeys(roots)), search.models)
        wanted = [(one, classifier) for one in found for classifier in one.classifiers]
        listener(Event("phase", f"fetching {len(wanted)} jar{'s' if len(wanted) != 1 else ''}"))
        self._known[spark] = tuple(search.each(search.artifact, wanted))
        return self._known[spark]


def _named(text: str, place: str) -> Coordinate:
    group, artifact, version = text.split(":")
    return coordinate(group, artifact, exact(version, Dependency(group, artifact), place), place)


class _Search:
    """One look through the repositories. Safe between threads."""

    def __init__(self, http: Http, archives: Archives, repositories: tuple[MavenRepository, ...]):
        self._http = http
        self._archives = archives
        self._repositories = repositories
        self._poms: dict[Coordinate, Pom | None] = {}
        self._models: dict[Coordinate, Model] = {}
        self._lock = threading.Lock()

    def each(self, work: Callable[[_Asked], _Answer], items: Sequence[_Asked]) -> list[_Answer]:
        """Return what ``work`` makes of each item, several at a time; the first error of the order of ``items`` is raised."""
        with workers(min(_PARALLEL, len(items)), "maven") as pool:
            futures = [pool.submit(work, item) for item in items]
            try:
                return [future.result() for future in futures]
            except BaseException:
                for future in futures:
                    future.cancel()
                raise

    # -- POMs ----------------------------------------------------------------------------------------------------------

    def models(self, asked: Sequence[tuple[Coordinate, tuple[str, ...]]]) -> Mapping[Coordinate, Model]:
        """Return what the POMs at these coordinates come to; see ``jar_graph``."""
        new = {where: way for where, way in reversed(asked) if where not in self._models}
        if new:
            self._models |= dict(zip(new, self.each(lambda item: self._model(*item), list(new.items())), strict=True))
        return self._models

    def _model(self, where: Coordinate, way: tuple[str, ...]) -> Model:
        needed_by = " ← ".join(reversed(way))
        for _ in range(_MOST_MOVES):
            pom = self._pom(where)
            if pom is None:  # a jar alone is an artifact, too; whether it is there is seen when it is fetched
                self._find_jar(where, needed_by)
                return Model(where)
            model = effective(pom, self._wanted_pom)
            if model.relocation is None:
                return replace(model, coordinate=where)
            where = model.relocation
        raise BadArchive(f"{where} has moved more than {_MOST_MOVES} times", code="bad_pom", hint="tell who publishes it")

    def _wanted_pom(self, where: Coordinate, by: str) -> Pom:
        pom = self._pom(where)
        if pom is None:
            raise self._nowhere(where, by)
        return pom

    def _pom(self, where: Coordinate) -> Pom | None:
        with self._lock:
            if where in self._poms:
                return self._poms[where]
        pom: Pom | None = None
        file = where.file("pom")
        found = self._first(f"{where.path}/{file}", where)
        if found is not None:
            content, repository = found
            self._check(repository, f"{where.path}/{file}", {"sha1": hashlib.sha1(content, usedforsecurity=False).hexdigest()})
            pom = read_pom(content, file)
        with self._lock:
            return self._poms.setdefault(where, pom)

    def _first(self, path: str, where: Coordinate) -> tuple[bytes, MavenRepository] | None:
        """Return a file from the first repository that has it; one that cannot say ends the search: it could have another one."""
        for i, repository in enumerate(self._repositories):
            try:
                return self._read(repository, path, LONGEST_BYTES), repository
            except NotFound:
                continue
            except (Unavailable, Denied) as error:
                raise self._silent(where, error, repository, self._repositories[:i]) from error
        return None

    def _read(self, repository: MavenRepository, path: str, limit_bytes: int) -> bytes:
        stream = io.BytesIO()
        self._http.download(repository.file(path), stream, limit_bytes=limit_bytes)
        return stream.getvalue()

    # -- jars ----------------------------------------------------------------------------------------------------------

    def artifact(self, wanted: tuple[Needed, str]) -> Artifact:
        """Return one jar of the answer, fetched and checked."""
        needed, classifier = wanted
        where = needed.coordinate
        file = where.file("jar", classifier)
        for i, repository in enumerate(self._repositories):
            try:
                got = self._obtain(repository, f"{where.path}/{file}", file)
            except NotFound:
                continue
            except (Unavailable, Denied) as error:
                raise self._silent(where, error, repository, self._repositories[:i]) from error
            return Artifact(kind="jar", source=f"{SOURCE}{repository.alias}", name=where.module, version=where.version, file=file,
                            sha256=got.sha256, size_bytes=got.size_bytes, depends=needed.needs, license=needed.model.license)  # fmt: skip
        raise self._nowhere(where, " ← ".join(reversed(needed.because)), file)

    def _obtain(self, repository: MavenRepository, path: str, file: str) -> Obtained:
        said = self._checksum(repository, path, "sha256")
        got = self._archives.obtain([repository.file(path)], file, kind="jar", sha256=Digest(said) if said else None)
        if not said:
            with got.path.open("rb") as stream:
                self._check(repository, path, {"sha1": hashlib.file_digest(stream, "sha1").hexdigest()})
        return got

    def _find_jar(self, where: Coordinate, by: str) -> None:
        """Raise unless there is a jar where there is no POM."""
        file = where.file("jar")
        for repository in self._repositories:
            try:
                self._obtain(repository, f"{where.path}/{file}", file)
            except NotFound:
                continue
            return
        raise self._nowhere(where, by)

    def _check(self, repository: MavenRepository, path: str, actual: Mapping[str, str]) -> None:
        """Compare a file with the checksum beside it, where one is offered."""
        for kind, value in actual.items():
            said = self._checksum(repository, path, kind)
            if said and said != value:
                raise BadArchive(f"{path.rpartition('/')[2]} in {repository} has the {kind} {value}, but the checksum beside it is {said}",
                                 code="wrong_digest", hint="the file or its checksum is damaged there; tell who runs the repository")  # fmt: skip

    def _checksum(self, repository: MavenRepository, path: str, kind: str) -> str:
        """Return the checksum that a repository offers; empty: it offers none, or something else under that name."""
        try:
            text = self._read(repository, f"{path}.{kind}", _CHECKSUM_BYTES)
        except (NotFound, Denied, BadArchive):
            return ""
        match = re.search(rb"(?<![0-9a-fA-F])[0-9a-fA-F]{%d}(?![0-9a-fA-F])" % _HEX[kind], text)
        return match[0].decode().lower() if match else ""

    # -- errors --------------------------------------------------------------------------------------------------------

    def _nowhere(self, where: Coordinate, by: str, file: str = "") -> SolveFailed:
        what = f"`{where}`" + (f", which {by} needs," if by else "")
        asked = ", ".join(map(str, self._repositories))
        known = self._versions(where)
        if known:
            newest = ", ".join(known[-_SHOWN_VERSIONS:])
            hint = f"there are the versions {newest}{' and older ones' if len(known) > _SHOWN_VERSIONS else ''}"
        else:
            hint = "check group, artifact and version (many end in the version of Scala: `_2.12`, `_2.13`); `spark.repositories` names further repositories"
        return SolveFailed(f"{what} is in none of the repositories{f': there is no {file}' if file else ''}; asked: {asked}", hint=hint,
                           code="spark_package_not_found", details={"package": str(where), "repositories": [r.url for r in self._repositories]})  # fmt: skip

    def _versions(self, where: Coordinate) -> list[str]:
        """Return the versions that the repositories list, the oldest first; for a hint, so a repository that cannot say lists none."""
        found: set[str] = set()
        for repository in self._repositories:
            path = f"{where.path.rpartition('/')[0]}/maven-metadata.xml"
            try:
                root = parse_xml(self._read(repository, path, LONGEST_BYTES), path)
            except WardianError:
                continue
            texts = (one.text for one in root.all("versioning/versions/version"))
            found |= {text for text in texts if 0 < len(text) < _LONGEST_VERSION and text.isprintable()}
        return sorted(found, key=MavenVersion)

    @staticmethod
    def _silent(
        where: Coordinate, error: WardianError, repository: MavenRepository, before: Sequence[MavenRepository]
    ) -> WardianError:
        others = f"`{where}` is not in {', '.join(map(str, before))}, and " if before else f"`{where}` is wanted, and "
        return type(error)(f"{others}{repository} cannot be asked: {error.message}", code=error.stable_code,
                           hint=error.hint or "check the repository's URL, or name a mirror: `wardian config set mirrors.URL URL`")  # fmt: skip
