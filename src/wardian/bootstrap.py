"""The only module that names concrete adapters: from settings to the parts of the house, each made when it is first used."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from wardian.errors import Denied, NotFound, WardianError
from wardian.events import silent

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from wardian.bootstrap_images import ImageParts
    from wardian.curated.catalogue import Catalogue
    from wardian.definition.environment import Environment
    from wardian.digest import Digest
    from wardian.events import Listener
    from wardian.lock.conda import CondaSolver
    from wardian.lock.jars import JarResolver
    from wardian.lock.locate import Locator
    from wardian.lock.lock import Artifact, Lock
    from wardian.lock.pypi import UvSolver
    from wardian.lock.python import PythonChooser
    from wardian.lock.repositories import MavenRepository
    from wardian.lock.solve import DefinitionSolver
    from wardian.lock.solver import SolveRequest
    from wardian.lock.store import DirectoryLockStore
    from wardian.package.fetch import Fetcher
    from wardian.package.hints import Hints
    from wardian.package.store import PackageStore
    from wardian.prefix.cache import PrefixCache
    from wardian.prefix.install import Installer
    from wardian.prefix.interpreters import Interpreters
    from wardian.run.records import RunStore
    from wardian.run.surroundings import Surroundings
    from wardian.serving.overlay import Overlays
    from wardian.settings import Settings
    from wardian.tools.flight import Flight
    from wardian.tools.http import Credentials, Http
    from wardian.tools.uv import Uv
    from wardian.workspace.artifacts import Artifacts
    from wardian.workspace.builds import Builds
    from wardian.workspace.curation import Curation
    from wardian.workspace.database import Database
    from wardian.workspace.endpoints import Endpoints
    from wardian.workspace.environments import Environments
    from wardian.workspace.lock_chain import LockChain
    from wardian.workspace.locking import Locker
    from wardian.workspace.locks import Locks
    from wardian.workspace.models import Models
    from wardian.workspace.parsed import ParsedFiles
    from wardian.workspace.secrets import Secrets
    from wardian.workspace.targets import Targets


class Parts:
    """The parts of the house for one workspace. Nothing is opened, imported or contacted before it is asked for.

    Args:     settings: of this process.  environ: the caller's environment.  listener: hears what goes on.
    """

    def __init__(self, settings: Settings, *, environ: Mapping[str, str] | None = None, listener: Listener = silent):
        self.settings = settings
        self.environ: Mapping[str, str] = dict(os.environ if environ is None else environ)
        self.listener = listener
        self.interruptible = False  # a process that is nothing but this call, such as a command's, says True

    @property
    def directory(self) -> Path:
        """The workspace's directory."""
        from wardian.workspace.workspaces import check_name

        return self.settings.home / "workspaces" / check_name(self.settings.workspace)

    @property
    def cache(self) -> Path:
        """The machine's cache directory."""
        return self.settings.cache

    @staticmethod
    def now() -> datetime:
        """The time, UTC."""
        return datetime.now(UTC)

    # -- records -------------------------------------------------------------------------------------------------------

    @cached_property
    def database(self) -> Database:
        """The workspace's records; the workspace called ``default`` is made when it is first used, others must exist."""
        from wardian.workspace.database import Database

        path = self.directory / "workspace.db"
        if not os.access(self.directory, os.X_OK) and self._is_closed():
            raise Denied(f"the workspace {self.directory} is closed to you", code="records_denied",
                         hint="it is another user's: point WARDIAN_HOME at a home of your own")  # fmt: skip
        if not self.directory.is_dir():
            if self.settings.workspace != "default":
                raise NotFound(f"there is no workspace `{self.settings.workspace}`", code="workspace_not_found",
                               hint=f"`wardian workspace create {self.settings.workspace}`, or see `wardian workspace list`")  # fmt: skip
            self._make_home()
        elif not path.exists() and (
            any((self.directory / "runs").glob("[!.]*"))
            or any((self.directory / "artifacts/models").glob("*"))
            or Path(f"{path}-wal").exists()
        ):
            raise WardianError(f"the records of workspace `{self.settings.workspace}` are gone: there is no {path}", code="records_missing",
                               hint="restore the file from a backup; to begin anew, move the directory away")  # fmt: skip
        return Database.open(path, listener=self.listener)

    def _is_closed(self) -> bool:
        try:
            return self.directory.is_dir()
        except PermissionError:
            return True

    def _make_home(self) -> None:
        from wardian.tools.disk import disk_errors

        with disk_errors(self.settings.home):
            self.directory.parent.mkdir(parents=True, exist_ok=True)
            self.directory.parent.chmod(0o700)  # records and logs may hold what is nobody else's business
            self.directory.mkdir(exist_ok=True)

    @cached_property
    def environments(self) -> Environments:
        """Names, versions, labels."""
        from wardian.workspace.environments import Environments

        return Environments(self.database, curation=self._curation)

    @cached_property
    def catalogue(self) -> Catalogue:
        """The curated environments."""
        from wardian.curated.catalogue import Catalogue

        return Catalogue(Path(self.settings.catalogue) if self.settings.catalogue else None)

    def _curation(self) -> Curation:
        from wardian.workspace.curation import Curation

        return Curation(self.database, self.catalogue)

    @cached_property
    def locks(self) -> Locks:
        """Locks and pins."""
        from wardian.workspace.locks import Locks

        return Locks(self.database)

    @cached_property
    def parsed(self) -> ParsedFiles:
        """Files that were parsed before."""
        from wardian.workspace.parsed import ParsedFiles

        return ParsedFiles(self.database)

    @cached_property
    def runs(self) -> RunStore:
        """Records of runs."""
        from wardian.run.records import RunStore

        return RunStore(self.database, runs_dir=self.directory / "runs")

    @cached_property
    def targets(self) -> Targets:
        """Places to run that have a name."""
        from wardian.workspace.targets import Targets

        return Targets(self.database)

    @cached_property
    def models(self) -> Models:
        """Records of models, and their files."""
        from wardian.workspace.model_files import ModelFiles
        from wardian.workspace.models import Models

        return Models(self.database, ModelFiles(self.directory / "artifacts"))

    @cached_property
    def endpoints(self) -> Endpoints:
        """Records of endpoints."""
        from wardian.workspace.endpoints import Endpoints

        return Endpoints(self.database)

    @cached_property
    def images(self) -> ImageParts:
        """What images are made, kept and found with."""
        from wardian.bootstrap_images import ImageParts

        return ImageParts(self)

    @cached_property
    def builds(self) -> Builds:
        """Records of builds."""
        from wardian.run.run_id import new_run_id
        from wardian.workspace.builds import Builds

        return Builds(self.database, self.directory / "builds", new_id=new_run_id, interruptible=self.interruptible)

    @cached_property
    def surroundings(self) -> Surroundings:
        """What runs take from around them."""
        from wardian.run.surroundings import Surroundings

        return Surroundings.of(self.settings, self.environ)

    @cached_property
    def artifacts(self) -> Artifacts:
        """What cannot be fetched again."""
        from wardian.workspace.artifacts import Artifacts

        return Artifacts(self.directory / "artifacts")

    @cached_property
    def secrets(self) -> Secrets:
        """Stored logins."""
        from wardian.workspace.secrets import Secrets

        return Secrets(self.directory / "secrets")

    # -- outside -------------------------------------------------------------------------------------------------------

    def credentials(self, url: str) -> Credentials | None:
        """Return the stored login for ``url``, or None."""
        if not (self.directory / "secrets/secrets.json").exists():
            return None
        return self.secrets.credentials_for(url)

    def _download_credentials(self, url: str) -> Credentials | None:
        """Return the login for a download: a stored one, else what uv and rattler keep for themselves; netrc comes after."""
        from wardian.tools.tool_logins import ToolLogins

        return self.credentials(url) or ToolLogins(self.environ).find(url)

    @cached_property
    def http(self) -> Http:
        """Downloads."""
        from wardian.tools.http import Http

        return Http(timeout_s=self.settings.timeout_s, credentials=self._download_credentials, mirrors=self.settings.mirrors,
                    ca_bundle=self.ca_bundle, offline=self.settings.offline)  # fmt: skip

    @property
    def ca_bundle(self) -> str | None:
        """The file of certificates that the caller's environment names, or None."""
        return next(
            (self.environ[n] for n in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE") if self.environ.get(n)), None
        )

    @cached_property
    def uv(self) -> Uv:
        """The uv tool."""
        from wardian.tools.uv import Uv

        return Uv(self.cache / "uv", self.environ, offline=self.settings.offline)

    # -- locks, packages, prefixes -------------------------------------------------------------------------------------

    @cached_property
    def packages(self) -> PackageStore:
        """Fetched archives."""
        from wardian.package.store import PackageStore

        return PackageStore(self.cache / "packages")

    @cached_property
    def _hints(self) -> Hints:
        from wardian.package.hints import Hints

        return Hints(self.cache / "urls")

    @cached_property
    def fetcher(self) -> Fetcher:
        """Fetches and verifies archives."""
        from wardian.package.fetch import Fetcher

        return Fetcher(self.packages, self.http, self._hints, limit_bytes=self.settings.archive_limit_bytes)

    @cached_property
    def prefixes(self) -> PrefixCache:
        """Installed prefixes."""
        from wardian.prefix.cache import PrefixCache

        return PrefixCache(self.cache / "prefixes")

    @cached_property
    def overlays(self) -> Overlays:
        """Serving layers, unpacked."""
        from wardian.serving.overlay import DIRECTORY, Overlays

        return Overlays(self.cache / DIRECTORY)

    @cached_property
    def interpreters(self) -> Interpreters:
        """Pythons of this machine."""
        from wardian.prefix.interpreters import Interpreters

        return Interpreters(self.uv, self.prefixes, self.cache / "interpreters.json")

    @cached_property
    def installer(self) -> Installer:
        """From a lock to a prefix."""
        from wardian.prefix.install import Installer

        return Installer(cache=self.prefixes, interpreters=self.interpreters, uv=self.uv, conda_packages=self.cache / "conda-packages",
                         copy=lambda: not self.protects)  # fmt: skip

    @cached_property
    def protects(self) -> bool:
        """Whether runs cannot write into environments: not as root, or root with private mounts. Else prefixes are copies."""
        from wardian.tools import isolation

        return not isolation.is_needed() or isolation.available()

    @cached_property
    def lock_store(self) -> DirectoryLockStore:
        """The machine's locks."""
        from wardian.lock.store import DirectoryLockStore

        return DirectoryLockStore(self.cache / "registry")

    @cached_property
    def pythons(self) -> PythonChooser:
        """Chooses interpreters."""
        from wardian.lock.python import PythonChooser

        return PythonChooser(self.uv, self.fetcher, self.http, self.settings.python_downloads)

    @cached_property
    def pip(self) -> UvSolver:
        """Solves Python packages."""
        from wardian.lock.pypi import UvSolver

        return UvSolver(uv=self.uv, archives=self.fetcher, wheels=self.artifacts, trees=self.artifacts, indexes=self.settings.indexes,
                        credentials=self.credentials, environ=self.environ)  # fmt: skip

    @cached_property
    def conda(self) -> CondaSolver:
        """Solves conda packages."""
        from wardian.lock.conda import CondaSolver

        return CondaSolver(archives=self.fetcher, cache=self.cache / "repodata", channels=self.settings.channels, mirrors=self.settings.mirrors,
                           credentials=self.credentials, environ=self.environ, timeout_s=self.settings.timeout_s)  # fmt: skip

    @cached_property
    def solver(self) -> DefinitionSolver:
        """Solves whole definitions."""
        from wardian.lock.solve import DefinitionSolver

        return DefinitionSolver(uv=self.uv, pip=self.pip, python=self.pythons, conda=lambda: self.conda, provided=self._provided,
                                interpreter=self._interpreter, now=self.now, jars=lambda: self._jars)  # fmt: skip

    @cached_property
    def _jars(self) -> JarResolver:
        from wardian.lock.maven import MavenJarResolver

        return MavenJarResolver(http=self.http, archives=self.fetcher, configured=self.settings.repositories, mirrors=self.settings.mirrors,
                                environ=self.environ)  # fmt: skip

    def _repositories(self, environment: Environment) -> tuple[MavenRepository, ...]:
        from wardian.lock.repositories import plan_repositories

        return plan_repositories(environment.spark, configured=self.settings.repositories, mirrors=self.settings.mirrors,
                                 environ=self.environ)  # fmt: skip

    def _interpreter(self, artifact: Artifact) -> Path | None:
        """Return an interpreter of exactly this artifact for building source code, if one can run here."""
        if artifact.kind != "python":
            return None
        from wardian.errors import WardianError

        try:
            archive = self.packages.find(artifact.sha256, artifact.file)
            return self.interpreters.ensure(artifact, archive, self.listener).path
        except WardianError:
            return None  # of another platform, or not portable: any interpreter of that minor version will do

    def _provided(self, artifacts: tuple[Artifact, ...], request: SolveRequest, listener: Listener) -> Mapping[str, str]:
        """Return names and versions of the Python distributions in locked conda packages: what their own files declare."""
        from wardian.package.distributions import provided_distributions

        archives = self.fetcher.fetch(artifacts, lambda a: self.locator.conda_urls(request.environment, a), listener)
        return provided_distributions(artifacts, archives)

    @cached_property
    def locator(self) -> Locator:
        """Where artifacts can be had."""
        from wardian.lock.locate import Locator

        return Locator(uv=self.uv, python=self.pythons, kept=self._kept, hint=self._hints.find,
                       channel_url=self._channel_url, repositories=self._repositories, indexes=self.settings.indexes,
                       credentials=self.credentials, environ=self.environ)  # fmt: skip

    def _channel_url(self, environment: Environment, alias: str) -> str:
        return self.conda.channel_url(environment, alias)

    def _kept(self, sha256: Digest, file: str) -> Path | None:
        return self.artifacts.find_file(sha256, file) or self.lock_store.find_wheel(sha256, file)

    def fetch(
        self, environment: Environment, lock: Lock, artifacts: Sequence[Artifact], listener: Listener | None = None
    ) -> dict[Digest, Path]:
        """Bring these artifacts of ``lock`` to this machine. ``listener``: instead of this process's."""

        def urls(artifact: Artifact) -> Iterable[str]:
            return self.locator.urls(environment, lock, artifact)

        from wardian.lock.indexes import trusted_hosts

        trusted = trusted_hosts(environment.python.pip_options)
        self._rebuild_missing(environment, lock, artifacts, trusted, listener or self.listener)
        return self.fetcher.fetch(artifacts, urls, listener or self.listener, trusted=trusted)

    def _rebuild_missing(
        self, environment: Environment, lock: Lock, artifacts: Sequence[Artifact], trusted: Collection[str], listener: Listener
    ) -> None:
        """Make the wheels again that were built for ``lock`` and are neither here nor in a registry."""
        if not any(artifact.is_in_no_index for artifact in artifacts):
            return
        from wardian.lock.rebuild import can_be_rebuilt, rebuild_wheel

        for artifact in filter(can_be_rebuilt, artifacts):
            sha256, file = artifact.installed_sha256, artifact.installed_file
            if self.packages.find(sha256, file) is not None or self._kept(sha256, file) is not None:
                continue
            if self.lock_chain.bring_wheel(lock, sha256, file) is not None:
                continue
            sdist = self.fetcher.obtain(
                list(self.locator.source_urls(environment, lock, artifact)), artifact.file, kind="sdist", sha256=artifact.sha256,
                trusted=trusted,
            )  # fmt: skip
            rebuild_wheel(self.solver.pip, environment, lock, artifact, sdist.path, listener=listener,
                          builder=lambda: self.solver.builder(lock.python))  # fmt: skip

    @cached_property
    def locker(self) -> Locker:
        """Finds or makes locks."""
        from wardian.workspace.locking import Locker

        return Locker(locks=self.locks, chain=lambda: self.lock_chain, solver=lambda: self.solver, builds=lambda: self.builds,
                      platforms=self.settings.lock_platforms, offline=self.settings.offline, flight=self._solve_flight,
                      listener=self.listener)  # fmt: skip

    def _solve_flight(self, key: str) -> Flight:
        """Return the flight of a solve. It is this workspace's own: another one may have other indexes, and find what this one does not."""
        from wardian.digest import Digest
        from wardian.tools.flight import Flight

        return Flight.of(self.flights, f"s-{Digest.of(os.fsencode(self.directory) + key.encode())}")

    @property
    def flights(self) -> Path:
        """What several processes of this machine want made, once for all of them."""
        return self.cache / "flights"

    @cached_property
    def lock_chain(self) -> LockChain:
        """Where a lock may be already."""
        from wardian.workspace.lock_chain import LockChain

        return LockChain(locks=self.locks, machine=self.lock_store, shared=lambda: self.images.shared_locks, artifacts=self.artifacts,
                         catalogue=lambda: self.catalogue, listener=self.listener)  # fmt: skip


def node_parts(cache: Path, environ: Mapping[str, str], listener: Listener = silent) -> Parts:
    """Return the parts that install locks below ``cache`` on a node. They contact nothing, and keep no records."""
    from wardian.settings import Settings

    return Parts(Settings(home=cache / "home", cache=cache, offline=True), environ=environ, listener=listener)
