"""A new lock for what is there: solved, shown, and only then registered."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from wardian.errors import Conflict, NotFound
from wardian.events import Event
from wardian.workspace.version import content_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from wardian.bootstrap import Parts
    from wardian.definition.environment import Environment
    from wardian.digest import Digest
    from wardian.lock.difference import LockDifference
    from wardian.lock.lock import Artifact, Lock
    from wardian.sdk.base_move import BaseMove
    from wardian.sdk.environments import EnvironmentCollection
    from wardian.workspace.version import EnvironmentVersion


@dataclass(frozen=True, slots=True)
class Upgrade:
    """What an upgrade found: the new locks and base images beside the old ones. Nothing is registered until it is applied.

    True if anything moves. ``old`` and ``difference`` are of the first of ``locks``, this machine's.
    """

    version: EnvironmentVersion
    environment: Environment
    text: tuple[str, str] | None
    old: Lock
    locks: tuple[Lock, ...]
    difference: LockDifference
    bases: tuple[BaseMove, ...] = ()
    elsewhere: tuple[LockDifference, ...] = ()  # on the other platforms

    def __bool__(self) -> bool:
        """Whether anything moves."""
        return bool(self.difference) or any(self.elsewhere) or any(self.bases)

    def summary(self) -> str:
        """Return what moves, in one line."""
        packages = next((one for one in (self.difference, *self.elsewhere) if one), self.difference)
        based = ["a newer base image"] if any(self.bases) else []
        return ", ".join([*([packages.summary()] if packages or not based else []), *based])

    def text_lines(self) -> list[str]:
        """Return what moves, for people: packages, then base images."""
        lines = [self.difference.text().rstrip()] if self.difference else []
        for one in self.elsewhere:
            if one and one.moves != self.difference.moves:
                lines += [f"on {one.platforms[1]}:", one.text().rstrip()]
        return [*lines, *(f"base: {move}" for move in self.bases)]

    def as_document(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"difference": self.difference.as_document(), "bases": [move.as_document() for move in self.bases]}


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild did.

    Attributes:
        upgrade: what moved.  version: the new one, or a newer one that is the same; None: nothing differs from the version that was rebuilt.
        shared_with: all versions with this hash, each of which keeps its own lock.
        current: platform → the lock that newcomers got before, and the one that they get now.
    """

    upgrade: Upgrade
    version: EnvironmentVersion | None
    shared_with: tuple[str, ...]
    current: Mapping[str, tuple[Digest | None, Digest]]


def plan_upgrade(
    parts: Parts, environments: EnvironmentCollection, version: EnvironmentVersion, packages: Sequence[str], as_of: datetime | None
) -> Upgrade:  # fmt: skip
    """Solve ``version`` anew on every platform that it is locked for; see ``EnvironmentCollection.upgrade``."""
    from wardian.definition.platform import get_platform, this_platform
    from wardian.lock import difference as locks
    from wardian.lock.solver import SolveRequest
    from wardian.sdk.base_move import plan_bases
    from wardian.sdk.environment_building import refuse_time

    owned(version)
    refuse_time(version, as_of)
    before = environments.lock(version)
    old = before[this_platform().name]
    environment, text = _with_pins(environments, version, [one for one in packages if re.search(r"[=<>~!]", one)])
    kept = _kept(version, old, packages)
    solved: list[Lock] = []
    platforms = [old.platform, *(pin.platform for pin in parts.locks.pins(version.id) if pin.platform != old.platform)]
    with parts.builds.record("lock", str(version), environment.definition_hash, parts.listener) as recorder:
        for name in platforms:
            request = SolveRequest(environment, get_platform(name), preferred=solved[0].artifacts if solved else kept, as_of=as_of,
                                   jars=solved[0].spark if solved else old.spark if packages else (), offline=parts.settings.offline)  # fmt: skip
            solved.append(parts.solver.solve(request, recorder))
            recorder.outcome[name] = solved[-1].digest
    bases = plan_bases(parts, version, environment, platforms, hold=bool(packages))
    elsewhere = tuple(locks.difference(before[lock.platform], lock) for lock in solved[1:])
    return Upgrade(version, environment, text, old, tuple(solved), locks.difference(old, solved[0]), bases, elsewhere)


def apply_upgrade(
    parts: Parts, environments: EnvironmentCollection, upgrade: Upgrade, word: str = "upgrade"
) -> EnvironmentVersion:
    """Register an upgrade as a new version with its own locks and base images: all of it or nothing.

    If a version that is newer than the upgraded one has this definition with these locks and bases already, that one is returned.

    Args:     word: ``upgrade`` | ``rebuild``: what the pins say.
    """
    with parts.database.write():
        if (known := _same_and_newer(parts, upgrade)) is not None:
            text = f"{known} is {upgrade.version} with these packages already: nothing is registered"
            parts.listener(Event("notice", text, data={"known": str(known)}))
            return known
        version, _ = environments.register(
            upgrade.environment.renamed(upgrade.version.name), source=upgrade.text, parent=upgrade.version,
            note=f"{'rebuilt' if word == 'rebuild' else 'upgraded'}: {upgrade.summary()}", always_new=True,
        )  # fmt: skip
        for lock in upgrade.locks:
            parts.locks.put(lock)
            parts.locks.pin(version.id, lock.platform, lock.digest, word)
        for base in upgrade.bases:
            if not base.anew:
                parts.images.records.pin_base(version.id, base.platform, base.reference, base.after, base.store)
    return version


def _same_and_newer(parts: Parts, upgrade: Upgrade) -> EnvironmentVersion | None:
    """Return the newest version that is what the upgrade would register, of those after the upgraded one; None: there is none."""
    if any(base.anew for base in upgrade.bases):
        return None
    for version in parts.environments.newer_with(upgrade.version, content_key(upgrade.environment)):
        pins = {pin.platform: pin.lock_digest for pin in parts.locks.pins(version.id)}
        bases = {base.platform: parts.images.records.find_base(version.id, base.platform) for base in upgrade.bases}
        same_locks = all(pins.get(lock.platform) == lock.digest for lock in upgrade.locks)
        if same_locks and all((pin := bases[base.platform]) is not None and pin.digest == base.after for base in upgrade.bases):
            return version
    return None


def rebuild(parts: Parts, environments: EnvironmentCollection, version: EnvironmentVersion, *, confirmed: bool) -> Rebuilt:
    """Solve ``version`` anew, and give its hash's newcomers that lock; see ``EnvironmentCollection.rebuild``."""
    shared = parts.locks.users_of_hash(version.definition_hash)
    if not confirmed:
        registry = parts.settings.registry
        raise Conflict(
            f"a rebuild of {named(version)}:{version.version} changes the lock that new versions with its hash @{version.definition_hash.short} get"
            f"{f', here and from {registry}' if registry else ''}; these share it, and keep the locks that they have: {', '.join(shared)}",
            hint=f"`wardian env rebuild {version} --yes`; `wardian env upgrade {version.name}` adds a version and leaves the hash's lock alone",
            code="needs_yes", details={"versions": list(shared), "definition_hash": version.definition_hash},
        )  # fmt: skip
    upgrade = plan_upgrade(parts, environments, version, (), None)
    current = {}
    for lock in upgrade.locks:  # first where others look: a second try finds here what is left to do
        parts.lock_chain.move(lock)
    with parts.database.write():
        added = apply_upgrade(parts, environments, upgrade, "rebuild") if upgrade else None
        for lock in upgrade.locks:
            was = parts.locks.current(version.definition_hash, lock.platform)
            parts.locks.put(lock)
            parts.locks.set_current(version.definition_hash, lock.platform, lock.digest, "rebuild")
            current[lock.platform] = (was.lock_digest if was else None, lock.digest)
    return Rebuilt(upgrade, added, shared, current)


def owned(version: EnvironmentVersion) -> str:
    """Return the version's name, under which others can be made.

    Raises:   InvalidInput: it is anonymous.  Conflict: code ``curated_read_only``.
    """
    from wardian.workspace.curation import refuse_change

    refuse_change(version.name)
    return named(version)


def named(version: EnvironmentVersion) -> str:
    """Return the version's name.

    Raises:   InvalidInput: it is anonymous.
    """
    from wardian.errors import InvalidInput

    if version.name is None:
        raise InvalidInput(
            f"{version} is anonymous", hint=f"give it a name: `wardian env create NAME --from {version}`", code="anonymous"
        )
    return version.name


def _with_pins(
    environments: EnvironmentCollection, version: EnvironmentVersion, pins: Sequence[str]
) -> tuple[Environment, tuple[str, str]]:
    """Return the definition with these requirements in place of its own, and its text."""
    environment, (kind, text) = version.for_new_use(), environments.source(version)
    if not pins:
        return environment, (kind, text)
    from wardian import formats

    changed = formats.add(text, kind, list(pins), manager=environment.python.manager)
    read = formats.read_text(changed, kind, file=str(version), local=environment.local_sources).environment
    return replace(read, name=version.name, variables=environment.variables), (kind, changed)


def _kept(version: EnvironmentVersion, old: Lock, packages: Sequence[str]) -> tuple[Artifact, ...]:
    """Return the artifacts whose versions are preferred: all but ``packages``; without any, the interpreter alone.

    Raises:   NotFound: a bare name that is not in the lock.
    """
    from wardian.definition.requirement import canonical_name

    if not packages:
        return tuple(a for a in old.artifacts if a.kind == "python")
    moving = {canonical_name(re.split(r"[\s\[=<>~!;]", one)[0]): one for one in packages}
    known = {canonical_name(a.name) for a in old.artifacts}
    for name, text in sorted(moving.items()):
        if name not in known and canonical_name(text) == name:
            raise NotFound(
                f"`{name}` is not in {version}",
                code="package_not_found",
                hint=f"`wardian env show {version} --packages` lists what is",
            )
    return tuple(a for a in old.artifacts if canonical_name(a.name) not in moving)
