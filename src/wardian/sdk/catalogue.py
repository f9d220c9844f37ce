"""The curated environments: what there is, what a registry has of it, and how it gets there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wardian.definition.platform import get_platform, this_platform
from wardian.errors import NotFound
from wardian.events import Event

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wardian.bootstrap import Parts
    from wardian.curated.entry import Entry
    from wardian.digest import Digest
    from wardian.image.store import ImageStore
    from wardian.sdk.environments import EnvironmentCollection
    from wardian.sdk.runs import Run


@dataclass(frozen=True, slots=True)
class CuratedImage:
    """What a registry has of one version on one platform.

    Attributes:
        state: ``there`` | ``missing`` (the version, or its image) | ``no lock`` (nothing is published for that platform) |
            ``differs`` (another definition or lock under its name).
        digest: of the image; None: there is none.
    """

    entry: Entry
    platform: str
    state: str
    digest: str | None = None

    def as_document(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"reference": self.entry.reference, "platform": self.platform, "state": self.state, "digest": self.digest}


class CuratedCollection:
    """The curated environments of Wardian, or of the catalogue that is configured."""

    def __init__(self, parts: Parts, environments: EnvironmentCollection):
        self._parts = parts
        self._environments = environments

    def list(self, *, with_deprecated: bool = False) -> tuple[Entry, ...]:
        """Return the newest version of each, by name; nothing is written."""
        return self._parts.catalogue.current(with_deprecated=with_deprecated)

    def versions(self, name: str) -> tuple[Entry, ...]:
        """Return the versions of ``name``, the newest first; none: there is no such name."""
        return self._parts.catalogue.versions(name)

    def get(self, reference: str) -> Entry:
        """Return the entry called NAME or NAME:VERSION, deprecated or not.

        Raises:   NotFound: there is none; the hint names the nearest.
        """
        name, _, version = reference.partition(":")
        found = self._parts.catalogue.find(name, version or None)
        if found is None:
            near = self._parts.catalogue.nearest(name)
            hint = (f"the nearest is `{near.name}`; " if near else "") + "`wardian env list --kind curated` shows all"
            raise NotFound(f"there is no curated environment `{reference}`", hint=hint, code="environment_not_found")
        return found

    def selected(self, names: Sequence[str]) -> tuple[Entry, ...]:
        """Return the entries with these names or references; none: the newest of each that is not deprecated."""
        return tuple(self.get(name) for name in names) if names else self.list()

    def smoke(self, reference: str, *, target: str | None = None) -> Run:
        """Run the smoke script of a curated environment, here or in a container, and return the run when it has ended, however it did.

        Raises:   what submitting a run raises.
        """
        from wardian.run.configuration import Command, RunConfiguration
        from wardian.sdk.runs import RunCollection

        entry = self.get(reference)
        configuration = RunConfiguration(
            target=target or "local", command=Command("script", entry.smoke.name), source=entry.place, experiment="smoke"
        )
        runs = RunCollection(self._parts, self._environments)
        run = runs.submit(self._environments.get(entry.reference), configuration, detach=False)
        run.wait()
        return run

    def build(
        self, names: Sequence[str] = (), *, to: str | None = None, platforms: Sequence[str] = ()
    ) -> tuple[CuratedImage, ...]:
        """Build the images of curated environments and put them into a registry with their versions and locks. Idempotent.

        Args:     names: those alone; none: the newest of each that is not deprecated.
                  to: ``HOST/REPOSITORY`` or ``oci:DIRECTORY``; None: they stay where this workspace's images go.
                  platforms: none: this machine's. Images of other platforms hold no byte-code.
        Raises:   What building and pushing raise; what was pushed before is there.
        """
        from wardian.sdk.images import ImageCollection

        wanted = [get_platform(name).name for name in platforms] or [this_platform().name]
        store = self._environments.sharing.registry(to) if to is not None else None
        done: list[CuratedImage] = []
        for entry in self.selected(names):
            here = [platform for platform in wanted if platform in entry.locks or not entry.locks]
            done += [CuratedImage(entry, platform, "no lock") for platform in wanted if platform not in here]
            if not here:
                continue
            version = self._environments.get(entry.reference)
            self._parts.listener(Event("phase", f"building {entry.reference} for {', '.join(here)}"))
            images = ImageCollection(self._parts, self._environments).build(version, platforms=here)
            if store is not None:
                self._environments.sharing.push(entry.reference, to, curated=True)
                self._make_current(entry, store)
            done += [CuratedImage(entry, image.platform, "there", image.digest) for image in images]
        return tuple(done)

    def _make_current(self, entry: Entry, store: ImageStore) -> None:
        """Give the lock to whoever has the same definition and asks that registry: a Wardian without this catalogue."""
        if self._parts.catalogue.find(entry.name) != entry:
            return
        for platform in entry.locks:
            if (lock := entry.lock(platform)) is not None:
                self._parts.images.locks_in(store).move(lock)

    def difference(
        self, names: Sequence[str] = (), *, to: str | None = None, platforms: Sequence[str] = ()
    ) -> tuple[CuratedImage, ...]:
        """Return what a registry has of the curated environments, version by version and platform by platform.

        Args:     as of ``build``; to: None: the global registry, else the workspace's.
        Raises:   InvalidInput: code ``no_registry``.  Unavailable, Denied: it cannot say.
        """
        from wardian.image.shared_version import find_version

        store = (None if to else self._parts.images.global_registry) or self._environments.sharing.registry(to)
        wanted = [get_platform(name).name for name in platforms] or [this_platform().name]
        found: list[CuratedImage] = []
        for entry in self.selected(names):
            shared = find_version(store, entry.name, entry.version)
            for platform in wanted:
                if platform not in entry.locks and entry.locks:
                    found.append(CuratedImage(entry, platform, "no lock"))
                elif shared is None:
                    found.append(CuratedImage(entry, platform, "missing"))
                elif shared.definition_hash != entry.definition_hash or _other(
                    shared.locks.get(platform), entry.locks.get(platform)
                ):
                    found.append(CuratedImage(entry, platform, "differs"))
                else:
                    digest = shared.images.get(platform, {}).get("digest")
                    there = digest is not None and store.find(f"sha256:{digest}") is not None
                    found.append(CuratedImage(entry, platform, "there" if there else "missing", digest if there else None))
        return tuple(found)


def _other(theirs: Digest | None, ours: Digest | None) -> bool:
    return theirs is not None and ours is not None and theirs != ours
