"""From a version to its lock, and to its prefix on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardian.errors import InvalidInput
from wardian.events import Event
from wardian.sdk.environment_lookup import EnvironmentLookup

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from wardian.definition.platform import Platform
    from wardian.lock.lock import Lock
    from wardian.prefix.install import Installer
    from wardian.prefix.installed import Prefix
    from wardian.prefix.verify import Findings
    from wardian.workspace.locking import Locked
    from wardian.workspace.version import EnvironmentVersion


class EnvironmentBuilding(EnvironmentLookup):
    """Locks, installs and verifies."""

    def lock(
        self, version: EnvironmentVersion | str, *, platforms: Sequence[str] = (), as_of: datetime | None = None
    ) -> dict[str, Lock]:
        """Return the version's locks by platform, finding or solving them first.

        Args:     platforms: these; none means this machine's and the configured ones.
                  as_of: nothing published later is used; only for a definition that nobody here has locked.
        Raises:   SolveFailed, BuildFailed, Unavailable, Denied, Conflict.
                  InvalidInput: code ``as_of_locked_input``: a lock file is the definition, so there is nothing to choose.
        """
        from wardian.definition.platform import get_platform, this_platform

        found = self.get(version) if isinstance(version, str) else version
        refuse_time(found, as_of)
        wanted = [get_platform(name) for name in platforms]
        self._parts.locker.ensure(found, wanted[0] if wanted else this_platform(), as_of=as_of, platforms=wanted)
        here = this_platform().name
        pins = sorted(self._parts.locks.pins(found.id), key=lambda pin: (pin.platform != here, pin.platform))
        return {
            pin.platform: self._parts.locks.get(pin.lock_digest, definition_hash=found.definition_hash)
            for pin in pins
            if not wanted or pin.platform in {p.name for p in wanted}
        }

    def find_lock(self, version: EnvironmentVersion, platform: Platform | None = None) -> Lock | None:
        """Return the lock that the version is pinned to on a platform (this machine's), or None; nothing is solved."""
        from wardian.definition.platform import this_platform

        locked = self._parts.locker.find(version, platform or this_platform())
        return self._parts.locks.get(locked.chosen.lock_digest, definition_hash=version.definition_hash) if locked else None

    def build(self, version: EnvironmentVersion | str, *, compile_now: bool = False) -> tuple[Prefix, Locked]:
        """Return the version's prefix on this machine, locking, fetching and installing what is missing.

        Args:     compile_now: whatever its runs need is made now: byte code, unless the setting says never; the jars of its Spark section.

        With lock and prefix here, nothing is contacted, and neither solver nor reader is imported.
        """
        from wardian.definition.platform import this_platform

        found = self.get(version) if isinstance(version, str) else version
        if found.kind == "user":
            raise InvalidInput(f"{found} is user-managed: there is nothing to build", hint="run it: its interpreter is used as it is",
                               code="user_managed")  # fmt: skip
        installer = self._parts.installer  # before anything is solved: a prefix path that is too long is refused here
        locked = self._parts.locker.ensure(found, this_platform())
        chosen = locked.chosen
        host = chosen.python_version if chosen.python_source == "host" else ""
        prefix = installer.find(chosen.install_digest, host)
        if locked.origin not in ("pinned", "solved"):
            self._tell_age(found, locked)
        if prefix is None:
            prefix = self._install(found, locked, installer, host)
        if not prefix.cached:
            from wardian.sdk.caches import Caches

            Caches(self._parts).make_room(prefix)
        if compile_now and found.document.get("spark"):
            lock = self._parts.locks.get(chosen.lock_digest, definition_hash=found.definition_hash)
            self._parts.fetch(found.environment, lock, lock.spark)
        byte_code = self._parts.settings.byte_code
        if (byte_code == "build" and not prefix.cached) or (compile_now and byte_code != "never"):
            from wardian.prefix.bytecode import compile_prefix

            self._parts.listener(Event("phase", "compiling modules"))
            compile_prefix(self._parts.prefixes, prefix.key[:32])
        return prefix, locked

    def _install(self, version: EnvironmentVersion, locked: Locked, installer: Installer, host: str) -> Prefix:
        """Install the version's lock; one process does for all that want the same prefix, and keeps the record of it."""
        from wardian.tools.flight import Flight

        chosen, parts = locked.chosen, self._parts
        lock = parts.locks.get(chosen.lock_digest, definition_hash=version.definition_hash)
        environment = version.environment

        def find() -> Prefix | None:
            return installer.find(chosen.install_digest, host)

        flight = Flight.of(parts.flights, f"p-{chosen.install_digest}")
        with flight.lead(parts.listener, lambda: find() is not None) as listener:
            if listener is None and (made := find()) is not None:
                return made
            key = installer.key(chosen.install_digest, host) or chosen.install_digest
            with parts.builds.record("prefix", str(version), key, listener or parts.listener) as recorder:
                made = installer.ensure(lock, lambda artifacts: parts.fetch(environment, lock, artifacts, recorder), recorder,
                                        link_scripts=environment.python.link_scripts)  # fmt: skip
                recorder.outcome |= {"prefix": str(made.path), "packages": len(lock.artifacts)}
        return made

    def _tell_age(self, version: EnvironmentVersion, locked: Locked) -> None:
        """Say once which versions an existing lock holds, and since when: unpinned packages are not the newest [S25]."""
        lock = self._parts.locks.get(locked.chosen.lock_digest, definition_hash=version.definition_hash)
        roots = [f"{a.name} {a.version}" for a in lock.artifacts if a.name in lock.provenance.roots]
        shown = ", ".join(roots[:4]) + (f" and {len(roots) - 4} more" if len(roots) > 4 else "")  # noqa: PLR2004
        where = {"workspace": "this workspace", "machine": "this machine", "curated": "the catalogue"}.get(
            locked.origin, f"the {locked.origin}"
        )
        text = f"{version} takes the lock that {where} has for it: {shown}, locked {lock.provenance.created[:10]}"
        self._parts.listener(Event("notice", text, data={"lock_digest": lock.digest, "origin": locked.origin}))

    def verify(self, version: EnvironmentVersion | str) -> tuple[Prefix, Findings]:
        """Compare the version's prefix on this machine with what was installed, file by file."""
        from wardian.prefix.verify import verify_prefix

        prefix, _ = self.build(version)
        return prefix, verify_prefix(prefix.path)


def refuse_time(version: EnvironmentVersion, as_of: datetime | None) -> None:
    """Raise if ``as_of`` is given for an environment whose versions are those of a lock file.

    Raises:   InvalidInput: code ``as_of_locked_input``.
    """
    if as_of is not None and version.environment.python.locked_input is not None:
        raise InvalidInput(f"{version} has the versions of a lock file: --as-of has nothing to choose", code="as_of_locked_input",
                           hint="leave it out, or lock the file itself as of that time with the tool that wrote it")  # fmt: skip
