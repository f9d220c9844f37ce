"""Sharing versions through a registry that a team already has: push, pull, list. No server."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from wardian.definition.reference import LATEST, is_curated_name
from wardian.digest import Digest
from wardian.errors import Conflict, InvalidInput, NotFound, WardianError, wrong_in
from wardian.events import Event
from wardian.sdk.upgrade import named

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from wardian.bootstrap import Parts
    from wardian.definition.environment import Environment
    from wardian.image.lock_store import ImageLockStore
    from wardian.image.shared_version import SharedVersion
    from wardian.image.store import ImageStore
    from wardian.lock.lock import Lock
    from wardian.sdk.environments import EnvironmentCollection
    from wardian.workspace.version import EnvironmentVersion

_LONGEST_NUMBER = 18


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push did: where the version is now, whether it was new there, which locks and images came with it."""

    version: EnvironmentVersion
    store: str
    new: bool
    locks: tuple[str, ...]
    images: tuple[str, ...]


class Sharing:
    """Pushes and pulls versions of a workspace."""

    def __init__(self, parts: Parts, environments: EnvironmentCollection):
        self._parts = parts
        self._environments = environments

    def push(self, reference: str, registry: str | None = None, *, curated: bool = False) -> Pushed:
        """Put a version into a registry: its definition, its locks with what was built for them, and the images that it has.

        The version comes last, so nobody finds one whose parts are missing. Its labels are taken from other versions there. Idempotent.

        Args:     registry: ``HOST/REPOSITORY`` or ``oci:DIRECTORY``; None: the configured one.
                  curated: whether it may be a curated one: what fills a registry with the catalogue says so.
        Raises:   Conflict: code ``version_exists``: other content under this name and version.  Unavailable, Denied.
                  What locking raises: a version is locked before it is shared.
        """
        from wardian.image.shared_version import SharedVersion, share, take_labels

        version = self._environments.get(reference)
        named(version)
        if version.kind == "curated" and not curated:
            raise Conflict(f"`{version}` is curated: every workspace has it", code="curated_read_only",
                           hint="`wardian catalog build --to REGISTRY` fills a registry with images of the curated ones")  # fmt: skip
        store = self.registry(registry)
        locks = {} if version.kind == "user" else self._environments.lock(version)
        with self._parts.builds.record("push", str(version), version.definition_hash, self._parts.listener) as recorder:
            recorder(
                Event("phase", f"pushing {len(locks)} lock{'s' if len(locks) != 1 else ''} to {store.name}", total=len(locks))
            )
            for lock in locks.values():
                self._locks_in(store).put(lock, self._wheels(lock))
            images = self._push_images(version, store)
            recorder(Event("phase", f"pushing {version} to {store.name}"))
            source = self._parts.environments.source(version)
            shared = SharedVersion(
                version.name or "", version.version or "", version.content_key, version.definition_hash, version.document,
                source=source or (), description=version.description, tags=version.tags, labels=version.labels,
                locks={platform: lock.digest for platform, lock in locks.items()}, images=images, created=version.created,
                bases=self._bases(version, locks),
            )  # fmt: skip
            new = share(store, shared, locks=self._parts.images.tag_locks)
            for label, was in take_labels(store, shared).items():
                recorder(Event("notice", f"`{label}` is {version} in {store.name} now; it was {version.name}:{was}"))
            recorder.outcome |= {"store": store.name, "new": new}
        return Pushed(version, store.name, new, tuple(sorted(locks)), tuple(sorted(images)))

    def pull(self, reference: str) -> EnvironmentVersion:
        """Bring a shared version into this workspace, pinned to its locks; return it. Nothing is solved or built.

        Its labels come with it, also if the version is here already: they are movable, and a move is told.

        Args:     reference: ``REGISTRY/NAME[:VERSION|@LABEL]``; without a registry, NAME in the configured one; without a version, the newest.
        Raises:   NotFound: code ``shared_version_not_found``.  Conflict: code ``version_exists``: this workspace has another
                  one of that name and version.  InvalidImage: what is there is damaged.  Unavailable, Denied.
        """
        place, slash, last = reference.rpartition("/")
        store = self._to_read(place if slash else None)
        shared = self._find(store, last)
        if is_curated_name(shared.name):
            raise Conflict(f"`{shared.name}` is curated: every workspace has it, and no registry brings another", code="curated_read_only",
                           hint=f"`wardian run -e {shared.name} …`; `WARDIAN_GLOBAL_REGISTRY` says where its image may be")  # fmt: skip
        with self._parts.builds.record(
            "pull", f"{shared.name}:{shared.version}", shared.definition_hash, self._parts.listener
        ) as recorder:
            recorder(Event("phase", f"pulling {shared.name}:{shared.version} from {store.name}"))
            locks = [self._lock(store, shared, platform) for platform in sorted(shared.locks)]
            return self._adopt(store, shared, locks)

    def versions(
        self, registry: str | None = None, *, on_fault: Callable[[str, WardianError], object] | None = None
    ) -> list[SharedVersion]:
        """Return the versions in a registry, by name, the newest first.

        A tag of a version that holds none, or a damaged one, is passed over with a warning.

        Args:     on_fault: told of each such tag, and why, in place of the listener.
        Raises:   NotFound: code ``no_such_layout``: there is no such directory.  Unavailable, Denied.
        """
        from wardian.image.shared_version import shared_versions
        from wardian.tools.meanwhile import said_if_slow

        def warn(_tag: str, error: WardianError) -> None:
            self._parts.listener(Event("warning", error.message))

        store = self._to_read(registry)
        waiting = Event("warning", f"waiting for the versions that {store.name} has")
        with said_if_slow(lambda: self._parts.listener(waiting)):
            found = sorted(shared_versions(store, on_fault=on_fault or warn), key=_age, reverse=True)
        return sorted(found, key=lambda one: one.name)

    def registry(self, text: str | None) -> ImageStore:
        """Return the store that ``text`` names, or the configured registry.

        Raises:   InvalidInput: code ``no_registry``: none is configured; ``invalid_registry``.
        """
        images = self._parts.images
        if text:
            return images.named(text)
        if images.workspace_registry is None:
            raise InvalidInput("no registry is configured", code="no_registry",
                               hint="`wardian config set registry HOST/REPOSITORY`, WARDIAN_REGISTRY, or name one")  # fmt: skip
        return images.workspace_registry

    def _to_read(self, text: str | None) -> ImageStore:
        from wardian.image.layout import LayoutImageStore

        store = self.registry(text)
        if isinstance(store, LayoutImageStore) and not store.root.is_dir():
            raise NotFound(f"there is no directory {store.name}", code="no_such_layout",
                           hint="check its name; the first `wardian env push` makes it")  # fmt: skip
        return store

    # -- inside --------------------------------------------------------------------------------------------------------

    def _locks_in(self, store: ImageStore) -> ImageLockStore:
        return self._parts.images.locks_in(store)

    def _wheels(self, lock: Lock) -> list[Path]:
        artifacts = (a for a in lock.artifacts if a.is_in_no_index)
        found = [self._parts.artifacts.find_file(a.installed_sha256, a.installed_file) for a in artifacts]
        return [path for path in found if path is not None]

    def _push_images(self, version: EnvironmentVersion, store: ImageStore) -> dict[str, dict[str, str]]:
        """Copy the images that a version has; return them by platform. A user's own image stays where it is."""
        from wardian.image.copy import copy_image
        from wardian.image.key import image_tag

        done: dict[str, dict[str, str]] = {}
        for known in self._parts.images.records.list(version.id):
            origin = self._parts.images.store_named(known.store)
            if known.platform in done or known.origin == "given" or origin is None:
                continue
            if store.find(f"sha256:{known.digest}") is None or store.find(image_tag(known.key)) is None:
                copy_image(origin, f"sha256:{known.digest}", store, (image_tag(known.key),), listener=self._parts.listener)
            done[known.platform] = {"key": known.key, "digest": known.digest}
        return done

    def _bases(self, version: EnvironmentVersion, platforms: Iterable[str]) -> dict[str, dict[str, str]]:
        """Return the base images that the version is pinned to: its image stays the same wherever it is pulled."""
        pins = {platform: self._parts.images.records.find_base(version.id, platform) for platform in platforms}
        return {
            platform: {"reference": pin.reference, "digest": pin.digest or "", "store": pin.store}
            for platform, pin in pins.items() if pin is not None
        }  # fmt: skip

    @staticmethod
    def _find(store: ImageStore, what: str) -> SharedVersion:
        """Return the version that NAME, NAME:VERSION or NAME@LABEL is in ``store``."""
        from wardian.image.layout import LayoutImageStore
        from wardian.image.shared_version import find_version, shared_versions

        name, at, label = what.partition("@")
        name, _, version = (name, "", "") if at else what.partition(":")
        if version:
            found = find_version(store, name, version)
        else:
            versions = shared_versions(store, name)
            wanted = (one for one in versions if label in ("", LATEST, *one.labels))
            found = max(wanted, key=_age, default=None)
        if found is None:
            place = f"{'oci:' if isinstance(store, LayoutImageStore) else ''}{store.name}"
            raise NotFound(f"{store.name} has no environment `{what}`", code="shared_version_not_found",
                           hint=f"`wardian env list --registry {shlex.quote(place)}` shows what it has")  # fmt: skip
        return found

    def _lock(self, store: ImageStore, shared: SharedVersion, platform: str) -> Lock:
        from wardian.image.oci import InvalidImage

        lock = self._locks_in(store).find(shared.locks[platform])
        if lock is None or lock.platform != platform:
            raise InvalidImage(f"{store.name} lacks the lock {shared.locks[platform].short} of {shared.name}:{shared.version}",
                               code="lock_missing", hint="push the version again from a machine that has it")  # fmt: skip
        return lock

    def _adopt(self, store: ImageStore, shared: SharedVersion, locks: Sequence[Lock]) -> EnvironmentVersion:
        from wardian.definition.document import from_document
        from wardian.image.oci import InvalidImage

        try:
            environment = from_document(dict(shared.definition))
        except (WardianError, TypeError, ValueError, KeyError, AttributeError) as error:
            said = str(error) if isinstance(error, WardianError) else wrong_in(error)
            raise InvalidImage(f"{shared.name}:{shared.version} in {store.name} has no definition that can be used here: {said}", code="not_a_version",
                               hint="somebody has changed it, or it needs a newer Wardian") from error  # fmt: skip
        if environment.definition_hash != shared.definition_hash or environment.name != shared.name:
            raise InvalidImage(f"{shared.name}:{shared.version} in {store.name} is not what its hash says", code="tag_mismatch",
                               hint="somebody has changed it; push it again from a machine that has it")  # fmt: skip
        origin = f"pulled from {store.name}"
        source = _its_source(shared, environment)
        if shared.source and source is None:
            text = f"the text that came with {shared.name}:{shared.version} does not state its definition, and is left out: `env show` writes it anew"
            self._parts.listener(Event("warning", text))
        version, _ = self._parts.environments.register(environment, version=shared.version, source=source, lineage_note=origin)
        for lock in locks:
            self._keep_wheels(store, lock)
            self._parts.locks.put(lock)
            pin = self._parts.locks.find_pin(version.id, lock.platform)
            if pin is not None and pin.lock_digest != lock.digest:
                raise Conflict(f"{version} has another lock for {lock.platform} here: {pin.lock_digest.short}, not {lock.digest.short}",
                               code="version_exists", hint="a version is pinned for ever: pull it into another workspace")  # fmt: skip
            if pin is None:
                self._parts.locks.ensure_current(version.definition_hash, lock.platform, lock.digest, origin)
                self._parts.locks.pin(version.id, lock.platform, lock.digest, origin)
        for platform, base in shared.bases.items():
            digest = Digest(base["digest"]) if base["digest"] else None
            self._parts.images.records.pin_base(version.id, platform, base["reference"], digest, base["store"])
        self._take_labels(store, shared, self._environments.by_id(version.id))
        return self._environments.by_id(version.id)

    def _take_labels(self, store: ImageStore, shared: SharedVersion, version: EnvironmentVersion) -> None:
        """Give the version here the labels that it has there; those that move are told."""
        records = self._parts.environments
        for label in shared.labels:
            if label in version.labels:
                continue
            moves = records.label_history(shared.name, label)
            was = f"; it was {shared.name}:{moves[0].to_version}" if moves and moves[0].to_version else ""
            records.label(shared.name, shared.version, label)
            self._parts.listener(Event("notice", f"`{label}` is {version}, as in {store.name}{was}"))

    def _keep_wheels(self, store: ImageStore, lock: Lock) -> None:
        """Keep the wheels that came with a lock: nobody else has them."""
        for artifact in lock.artifacts:
            found = self._locks_in(store).find_wheel(artifact.installed_sha256, artifact.installed_file)
            if (
                found is not None
                and self._parts.artifacts.find_file(artifact.installed_sha256, artifact.installed_file) is None
            ):
                self._parts.artifacts.keep(found)


def _its_source(shared: SharedVersion, environment: Environment) -> tuple[str, str] | None:
    """Return format and text in which a version was written; None: there is no text, or it states something else.

    Variables may have been given beside the text.
    """
    from wardian import formats

    if len(shared.source) != 2:  # noqa: PLR2004 - format and text
        return None
    kind, text = shared.source
    try:
        read = formats.read_text(
            text, kind, file=f"{shared.name}:{shared.version}", local=environment.local_sources
        ).environment
    except WardianError:  # it includes other files, or is hostile
        return None
    variables = read.variables or environment.variables
    return (kind, text) if replace(read, variables=variables).content == environment.content else None


def _age(shared: SharedVersion) -> tuple[str, int, str]:
    """Return what orders versions by time; numbers count as numbers."""
    number = shared.version.isdecimal() and len(shared.version) <= _LONGEST_NUMBER
    return shared.created, int(shared.version) if number else 0, shared.version
