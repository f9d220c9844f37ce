"""From a version to its serving layer: the extension lock, and the overlay that a server on this machine runs from."""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from wardian.definition.platform import this_platform
from wardian.digest import Digest
from wardian.errors import WardianError
from wardian.events import Event
from wardian.sdk.serving_wheels import fetch_added, indexes_of
from wardian.serving.extend import extend
from wardian.serving.extension import CARRIED, Extension
from wardian.serving.parent import locked_parent, observed_parent, pythonic
from wardian.serving.server_wheel import server_wheel
from wardian.serving.serving_set import serving_set
from wardian.small_file import read_small
from wardian.tools.disk import write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from wardian.bootstrap import Parts
    from wardian.definition.platform import Platform
    from wardian.lock.lock import Artifact, Lock
    from wardian.run.configuration import Prepared
    from wardian.serving.overlay import Overlay
    from wardian.serving.parent import Parent
    from wardian.serving.serving_set import ServingSet
    from wardian.workspace.version import EnvironmentVersion


class Wheel(Protocol):
    """A wheel that was made: ``wardian.serving.server_wheel.WheelFile``."""

    @property
    def path(self) -> Path:
        """Where it lies."""
        ...


@dataclass(frozen=True, slots=True)
class LocalLayer:
    """What a server on this machine starts with, beside its environment."""

    extension: Extension
    overlay: Overlay


class ServingLayers:
    """The serving layers of a workspace's environments.

    Args:     server: makes the server's wheel in a directory.  pinned: what it stands on. Without them: what comes with Wardian.
    """

    def __init__(self, parts: Parts, server: Callable[[Path], Wheel] = server_wheel, *, pinned: ServingSet | None = None):
        self._parts = parts
        self._server = server
        self._pinned = pinned or serving_set()

    def local(self, version: EnvironmentVersion, prepared: Prepared) -> LocalLayer:
        """Return the layer for an environment that is ready on this machine, making what is missing.

        With the layer here, nothing is contacted. Its directory goes to the end of the path of ``prepared.python``; hold it while a server
        runs from it: ``parts.overlays.hold``.

        Raises:   Conflict: codes ``serving_conflict``, ``serving_python_too_old``, ``serving_no_python``.  What fetching and solving raise.
        """
        extension = self.extension(version, prefix=prepared.prefix, observed=prepared.environment.observed,
                                   lock_digest=prepared.environment.lock_digest)  # fmt: skip
        return LocalLayer(extension, self._overlay(version, extension, lambda: prepared.python))

    def for_container(self, version: EnvironmentVersion, prepared: Prepared) -> LocalLayer:
        """Return the layer for an environment in an image, as a directory of this machine that its container can see at ``/opt/serve``.

        Any interpreter of this machine with the same minor version compiles it: all of them take its byte-code.

        Raises:   as ``local``.
        """
        extension = self.extension(
            version, observed=prepared.environment.observed, lock_digest=prepared.environment.lock_digest
        )
        minor = ".".join(extension.python.split(".")[:2])

        def python() -> str:
            found = self._parts.uv.find_python(f"=={minor}.*")
            return str(found.path) if found is not None else ""

        return LocalLayer(extension, self._overlay(version, extension, python))

    def _overlay(self, version: EnvironmentVersion, extension: Extension, python: Callable[[], str]) -> Overlay:
        from wardian.sdk.caches import Caches

        overlays = self._parts.overlays
        if (overlay := overlays.find(extension)) is not None:
            return overlay
        with self._parts.prefixes.work_beside():  # clean-ups leave archives alone
            overlay = overlays.ensure(extension, python(), lambda: self.archives(version, extension), self._parts.listener)
        if not overlay.cached:
            Caches(self._parts).make_room(added_bytes=overlay.added_bytes)
        return overlay

    def extension(
        self, version: EnvironmentVersion, *, platform: Platform | None = None, prefix: Path | None = None,
        observed: Mapping[str, Any] | None = None, lock_digest: str | None = None,
    ) -> Extension:  # fmt: skip
        """Return the extension lock of a version. Hardly ever is anything solved; what was found once is remembered.

        Args:     prefix: where it is installed, if it is: conda's packages are looked at there.
                  observed: what the interpreter of a user-managed version has.
                  lock_digest: of its lock; None: the one that it is pinned to on ``platform``.
        Raises:   as ``local``.
        """
        where = platform or this_platform()
        server, requires = self._server_artifact()
        lock = None
        if version.kind == "user":
            parent = observed_parent(str(version), observed or {}, where)
            key = self._key(parent.digest, parent.python, where, server)
        else:
            lock = self._lock(version, where, lock_digest)
            key = self._key(lock.digest, lock.python.version if lock.python else "", where, server)
        if (known := self._remembered(key)) is not None:
            return known
        if lock is not None:
            parent = locked_parent(str(version), lock, self._conda(version, lock, prefix))
        found = extend(parent, server, requires, self._pinned, lambda wanted: self._solve(version, parent, wanted))
        with contextlib.suppress(OSError, WardianError):  # a cache that may only be read: found anew each time
            write_atomically(self._memory(key), found.to_json().encode())
        return found

    def archives(self, version: EnvironmentVersion, extension: Extension) -> dict[Digest, Path]:
        """Bring the wheels of an extension here, verified: from the indexes of the version's definition, else of this machine.

        Raises:   NotFound, Unavailable, Denied, BadArchive, DiskFull: see ``Fetcher.fetch``.
        """
        found = fetch_added(self._parts, version.environment, extension)
        return {**found, extension.server.sha256: self._server_archive(extension.server)}

    # -- the server's wheel --------------------------------------------------------------------------------------------

    def _server_artifact(self) -> tuple[Artifact, tuple[str, ...]]:
        """Return the server's wheel, which is in the store then, and what it needs."""
        from email.parser import HeaderParser

        from packaging.utils import parse_wheel_filename

        from wardian.lock.lock import Artifact
        from wardian.package.archive import read_text_members

        with tempfile.TemporaryDirectory(prefix="wardian-server-") as place:
            path = self._server(Path(place)).path
            sha256 = Digest.of_file(path)
            kept = self._keep(path, sha256)
        (metadata,) = read_text_members(kept, "wheel", "*.dist-info/METADATA").values()
        headers = HeaderParser().parsestr(metadata, headersonly=True)
        name, version, _, _ = parse_wheel_filename(kept.name)
        artifact = Artifact(kind="wheel", source=CARRIED, name=str(name), version=str(version), file=kept.name, sha256=sha256,
                            size_bytes=kept.stat().st_size, requires_python=headers["Requires-Python"] or "")  # fmt: skip
        return artifact, tuple(line for line in headers.get_all("Requires-Dist") or () if "extra ==" not in line)

    def _keep(self, path: Path, sha256: Digest) -> Path:
        from wardian.package.archive import validate_archive

        return self._parts.packages.ensure(
            sha256, path.name, lambda stream: _copy(path, stream), lambda one: _checked(validate_archive(one, "wheel"))
        )

    def _server_archive(self, server: Artifact) -> Path:
        found = self._parts.packages.verified(server.sha256, server.file)
        if found is None:  # it was removed meanwhile
            self._server_artifact()
            found = self._parts.packages.verified(server.sha256, server.file)
        if found is None:
            raise WardianError(f"{server.file} is of another Wardian", hint="deploy anew", code="server_wheel_gone")
        return found

    # -- the parent ----------------------------------------------------------------------------------------------------

    def _lock(self, version: EnvironmentVersion, platform: Platform, digest: str | None) -> Lock:
        chosen = digest or self._parts.locker.ensure(version, platform).chosen.lock_digest
        return self._parts.locks.get(Digest(chosen), definition_hash=version.definition_hash)

    def _conda(self, version: EnvironmentVersion, lock: Lock, prefix: Path | None) -> Mapping[str, str]:
        """Return the Python distributions that the lock's conda packages bring."""
        wanted = pythonic(lock.artifacts)
        if not wanted or lock.python is None:
            return {}
        if prefix is not None:
            from wardian.formats.distributions import read_distributions
            from wardian.formats.faults import Faults
            from wardian.image.python_layout import PythonLayout

            layout = PythonLayout(".".join(lock.python.version.split(".")[:2]), lock.python.site_packages_path)
            return {one.name: one.version for one in read_distributions([prefix / layout.site_packages], Faults(str(version)))}
        from wardian.package.distributions import listed_distributions

        with self._parts.prefixes.work_beside():
            return listed_distributions(wanted, self._parts.fetch(version.environment, lock, wanted))

    def _solve(self, version: EnvironmentVersion, parent: Parent, wanted: Sequence[str]) -> tuple[Artifact, ...]:
        """Have uv choose versions that go with all packages of the parent; a solve is a record."""
        from wardian.lock.pypi import PipTarget
        from wardian.lock.solver import SolveRequest

        with self._parts.builds.record("lock", f"{version}, serving layer", parent.digest, self._parts.listener) as recorder:
            recorder(Event("phase", f"solving the serving layer of {version}"))
            environment = indexes_of(version.environment)
            environment = environment.with_python(
                pip=tuple(wanted), pip_options=(*environment.python.pip_options, "--only-binary :all:")
            )
            target = PipTarget(parent.python, _no_builder, _comparable(parent.distributions))
            request = SolveRequest(environment, parent.platform, offline=self._parts.settings.offline)
            return self._parts.pip.solve(request, target, recorder).artifacts

    # -- what was found before -----------------------------------------------------------------------------------------

    def _key(self, parent: Digest, python: str, platform: Platform, server: Artifact) -> Digest:
        return Digest.of_document({"tag": "wardian-extension-of", "parent": str(parent), "python": python, "platform": platform.name,
                                   "server": str(server.sha256), "set": str(self._pinned.digest)})  # fmt: skip

    def _memory(self, key: Digest) -> Path:
        return self._parts.overlays.cache.root / "extensions" / f"{key}.json"

    def _remembered(self, key: Digest) -> Extension | None:
        import json

        try:
            return Extension.from_document(json.loads(read_small(self._memory(key))))
        except (OSError, ValueError, WardianError):  # none, or it is damaged: then it is found anew
            return None


def _comparable(distributions: Mapping[str, str]) -> dict[str, str]:
    """Return those whose versions a solver understands."""
    from packaging.version import InvalidVersion, Version

    found = {}
    for name, version in distributions.items():
        try:
            found[name] = str(Version(version))
        except InvalidVersion:
            continue
    return found


def _no_builder() -> Path:
    raise WardianError("a serving layer is made of wheels alone", code="bug")


def _copy(path: Path, stream: Any) -> None:
    stream.write(path.read_bytes())


def _checked(_content: object) -> None:
    """Drop what is not asked for."""
