"""Where the artifacts of a lock can be had now: a lock names no host."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from wardian.definition.platform import get_platform, with_declared
from wardian.definition.requirement import PipRequirement, canonical_name
from wardian.errors import SolveFailed, WardianError
from wardian.lock.indexes import IndexPlan, expand, plan_indexes
from wardian.lock.pom import coordinate
from wardian.lock.python import STANDALONE
from wardian.lock.repositories import get_repository

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from wardian.definition.environment import Environment
    from wardian.digest import Digest
    from wardian.lock.lock import Artifact, Lock
    from wardian.lock.python import PythonChooser
    from wardian.lock.repositories import MavenRepository
    from wardian.tools.http import Credentials
    from wardian.tools.uv import Uv


class Locator:
    """Gives the URLs of a lock's artifacts, best first. Asks an index only when the hint is not enough.

    Args:     kept: where a wheel that was built here lies.
              hint: where an archive was last offered.
              channel_url: the URL of the channel with this alias, for a definition.  repositories: those of its Spark section.
    """

    def __init__(
        self, *, uv: Uv, python: PythonChooser, kept: Callable[[Digest, str], Path | None], hint: Callable[[Digest], str | None],
        channel_url: Callable[[Environment, str], str], repositories: Callable[[Environment], tuple[MavenRepository, ...]],
        indexes: Mapping[str, str], credentials: Callable[[str], Credentials | None],
        environ: Mapping[str, str],
    ):  # fmt: skip
        self._uv = uv
        self._python = python
        self._kept = kept
        self._hint = hint
        self._channel_url = channel_url
        self._repositories = repositories
        self._indexes = indexes
        self._credentials = credentials
        self._environ = environ

    def urls(self, environment: Environment, lock: Lock, artifact: Artifact) -> Iterator[str]:
        """Yield the places of an artifact's archive: what is kept here, where it was last seen, then what the index says.

        Raises:   SolveFailed, Unavailable, Denied: from the index, when it comes to asking it.
        """
        kept = self._kept(artifact.installed_sha256, artifact.installed_file)
        if kept is not None:
            yield kept.as_uri()
        if artifact.is_in_no_index:
            return
        yield from self.source_urls(environment, lock, artifact)

    def source_urls(self, environment: Environment, lock: Lock, artifact: Artifact) -> Iterator[str]:
        """Yield where the archive is that an index, a channel or the definition names: of what was built here, its source."""
        scheme, _, alias = artifact.source.partition(":")
        if scheme == "channel":
            yield from self.conda_urls(environment, artifact)
            return
        if scheme == "repository":
            group, _, name = artifact.name.partition(":")
            where = coordinate(group, name, artifact.version, artifact.file)
            yield get_repository(self._repositories(environment), alias).file(f"{where.path}/{artifact.file}")
            return
        if scheme == "definition":
            requirement = PipRequirement.parse(environment.python.pip[int(alias)])
            yield expand(requirement.url or "", self._environ, f"python.pip[{alias}]").partition("#")[0]
            return
        plan = self._plan(environment)
        hint = self._hint(artifact.sha256)
        if hint is not None:
            yield plan.with_login(hint)
        if artifact.source == STANDALONE:
            url = self._python.url_of(artifact)
            if url is not None:
                yield url
            return
        yield from self._from_index(environment, plan, lock, artifact)

    def conda_urls(self, environment: Environment, artifact: Artifact) -> Iterator[str]:
        """Yield the URL of a conda package."""
        alias = artifact.source.partition(":")[2]
        yield f"{self._channel_url(environment, alias).rstrip('/')}/{artifact.subdir}/{artifact.file}"

    def _plan(self, environment: Environment) -> IndexPlan:
        python = environment.python
        return plan_indexes(python.pip_options, configured=self._indexes, credentials=self._credentials, environ=self._environ,
                            strategy=python.index_strategy)  # fmt: skip

    def _from_index(self, environment: Environment, plan: IndexPlan, lock: Lock, artifact: Artifact) -> Iterator[str]:
        platform = with_declared(get_platform(lock.platform), environment.accelerators)
        version = lock.python.version if lock.python else "3.12"
        try:
            packages = self._uv.files(f"{artifact.name}=={artifact.version}\n", python_version=version, uv_platform=platform.uv,
                                      arguments=plan.arguments, index_environ=plan.only(artifact.source.partition(":")[2]))  # fmt: skip
        except SolveFailed as error:
            raise WardianError(f"{artifact.file} is not in the index any more: {error.message}", code="artifact_gone",
                               hint="an index or mirror that has it, or `wardian env upgrade` for a new lock") from error  # fmt: skip
        for package in packages:
            if canonical_name(package["name"]) != artifact.name:
                continue
            for entry in (*package.get("wheels", ()), *([package["sdist"]] if "sdist" in package else ())):
                if unquote(urlsplit(entry["url"]).path).rpartition("/")[2] == artifact.file:
                    yield plan.with_login(str(entry["url"]))
