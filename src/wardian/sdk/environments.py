"""The environments of a workspace: what a user does with them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from wardian.sdk.environment_building import EnvironmentBuilding
from wardian.sdk.environment_registering import EnvironmentRegistering
from wardian.sdk.upgrade import named, owned
from wardian.workspace.version import EnvironmentVersion

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from wardian.definition.environment import Environment
    from wardian.formats.azureml import Written
    from wardian.lint.files import Linted
    from wardian.lock.lock import Lock
    from wardian.sdk.comparison import Comparison
    from wardian.sdk.sharing import Sharing
    from wardian.sdk.upgrade import Rebuilt, Upgrade
    from wardian.workspace.version import LabelMove


class EnvironmentCollection(EnvironmentRegistering, EnvironmentBuilding):
    """What a workspace knows about environments, and what it does with them.

    A reference is NAME, NAME:VERSION, NAME@LABEL, @HASH or run:ID. Nothing is printed; progress goes to the
    workspace's listener.
    """

    # -- sharing -------------------------------------------------------------------------------------------------------

    @property
    def sharing(self) -> Sharing:
        """Pushes versions to a registry, pulls them from one, lists what is there."""
        from wardian.sdk.sharing import Sharing

        return Sharing(self._parts, self)

    # -- metadata ------------------------------------------------------------------------------------------------------

    def label(self, reference: str, label: str) -> EnvironmentVersion:
        """Move ``label`` to the version that ``reference`` means; where it was before stays in its history."""
        version = self.get(reference)
        return self._parts.environments.label(named(version), version.version or "", label)

    def remove_label(self, name: str, label: str) -> None:
        """Take a label away."""
        self._parts.environments.remove_label(name, label)

    def label_history(self, name: str, label: str) -> tuple[LabelMove, ...]:
        """Return where a label was, the newest move first."""
        return self._parts.environments.label_history(name, label)

    def update(
        self, reference: str, *, description: str | None = None, tags: Mapping[str, str] | None = None
    ) -> EnvironmentVersion:
        """Change description and tags; no new version."""
        return self._parts.environments.update(self.plain(reference), description=description, tags=tags)

    def archive(self, reference: str) -> None:
        """Hide a name, or one version; it stays usable."""
        self._parts.environments.archive(self.plain(reference))

    def restore(self, reference: str) -> None:
        """Show a name, or one version, again."""
        self._parts.environments.restore(self.plain(reference))

    def delete(self, reference: str) -> None:
        """Delete a version, or a name with all of them, unless runs or labels refer to it."""
        self._parts.environments.delete(self.plain(reference))

    # -- compare -------------------------------------------------------------------------------------------------------

    def compare(self, left: EnvironmentVersion | Environment, right: EnvironmentVersion | Environment) -> Comparison:
        """Return how two environments differ: definitions, and packages where both are locked for this machine.

        A definition that is no version is compared by the lock that its hash has in this workspace. Nothing is registered.
        """
        from wardian.definition.platform import this_platform
        from wardian.sdk.comparison import compare

        def lock_of(one: EnvironmentVersion | Environment) -> Lock | None:
            if isinstance(one, EnvironmentVersion):
                return self.find_lock(one)
            chosen = self._parts.locks.current(one.definition_hash, this_platform().name)
            return self._parts.locks.find(chosen.lock_digest, definition_hash=one.definition_hash) if chosen else None

        def name_of(one: EnvironmentVersion | Environment) -> str:
            return str(one) if isinstance(one, EnvironmentVersion) else one.name or f"@{one.definition_hash.short}"

        first, second = (one.environment if isinstance(one, EnvironmentVersion) else one for one in (left, right))
        return compare(first, second, (name_of(left), name_of(right)), (lock_of(left), lock_of(right)))

    # -- lint ----------------------------------------------------------------------------------------------------------

    def lint(self, reference: str) -> Linted:
        """Return what is worth a line in a registered version: what is wrong, risky or needless, and what to write."""
        from wardian.sdk.linting import lint_version

        return lint_version(self._parts, self, reference)

    def lint_file(self, path: str | Path, *, fix: bool = False) -> Linted:
        """Return the same for a definition file; one that cannot be read has its faults as findings. Nothing is registered.

        Args:     fix: change the file where that is safe; comments stay.
        Raises:   NotFound, Unavailable: the file.  InvalidInput: it has no format that Wardian reads.
        """
        from wardian.sdk.linting import lint_file

        return lint_file(self._parts, path, fix=fix)

    # -- change --------------------------------------------------------------------------------------------------------

    def add(self, name: str, requirements: Sequence[str]) -> tuple[EnvironmentVersion, bool]:
        """Add requirements to the latest version of ``name``, comments kept; return the new version."""
        from wardian import formats

        self._refuse_locked(name, requirements)
        return self._edited(
            name,
            lambda text, kind, manager: formats.add(text, kind, list(requirements), manager=manager),
            f"added {', '.join(requirements)}",
        )

    def remove(self, name: str, packages: Sequence[str]) -> tuple[EnvironmentVersion, bool]:
        """Remove packages from the latest version of ``name``, comments kept; return the new version."""
        from wardian import formats

        self._refuse_locked(name, packages)
        return self._edited(
            name, lambda text, kind, _manager: formats.remove(text, kind, list(packages)), f"removed {', '.join(packages)}"
        )

    def edit(self, name: str, text: str) -> tuple[EnvironmentVersion, bool]:
        """Replace the text of the latest version of ``name`` (in its own format); return the new version."""
        return self._edited(name, lambda _text, _kind, _manager: text, "edited")

    def _refuse_locked(self, name: str, names: Sequence[str]) -> None:
        from wardian.formats.locked_input import not_edited

        if self.get(name).environment.python.locked_input is not None:
            raise not_edited(names)

    def _edited(self, name: str, change: Callable[[str, str, str], str], note: str) -> tuple[EnvironmentVersion, bool]:
        from wardian import formats

        version = self.get(name)
        owned(version)
        kind, text = self.source(version)
        changed = change(text, kind, version.environment.python.manager)
        read = formats.read_text(changed, kind, file=f"{version}", local=version.environment.local_sources)
        environment = replace(read.environment, name=version.name, description=version.description, tags=version.tags,
                              variables=read.environment.variables or version.environment.variables)  # fmt: skip
        return self.register(environment, source=(kind, changed), parent=version, note=note)

    # -- upgrade -------------------------------------------------------------------------------------------------------

    def upgrade(self, name: str, packages: Sequence[str] = (), *, as_of: datetime | None = None) -> Upgrade:
        """Solve the latest version of ``name`` anew; return what would change. ``apply`` registers it.

        Args:     packages: only these move, with what they force; the rest stays where it can. ``PKG==1.2`` moves the pin
                  in the definition too.  as_of: as on a first solve.
        Raises:   SolveFailed: nothing satisfies the definition.  NotFound: a package that is not in the lock.
        """
        from wardian.sdk.upgrade import plan_upgrade

        return plan_upgrade(self._parts, self, self.get(name), packages, as_of)

    def apply(self, upgrade: Upgrade) -> EnvironmentVersion:
        """Register an upgrade as a new version with its own locks and base images; the old version and its hash's lock stay.

        Returns:  the version; one that is newer than the upgraded one, if it is just this already.
        """
        from wardian.sdk.upgrade import apply_upgrade

        return apply_upgrade(self._parts, self, upgrade)

    def rebuild(self, reference: str, *, confirmed: bool = False) -> Rebuilt:
        """Solve a version anew, add a version with that lock, and make it the one that newcomers with the same hash get [S26].

        In this workspace, on this machine and in the workspace's registry. Versions that are there keep locks and images.

        Raises:   Conflict: code ``needs_yes``: it is not ``confirmed``; ``details`` lists the versions that share the hash.
                  As ``upgrade``; Unavailable: the registry does not answer; nothing has moved then.
        """
        from wardian.sdk.upgrade import rebuild

        return rebuild(self._parts, self, self.get(reference), confirmed=confirmed)

    # -- export --------------------------------------------------------------------------------------------------------

    def export(self, version: EnvironmentVersion, to: str) -> str:
        """Return the version in another format.

        What the format cannot say is told as it is written (events ``loss``).

        Args:     to: ``requirements``, ``pylock``, ``pixi``, ``explicit`` or ``conda`` (pinned): the lock; ``source``: the
                  definition as written; ``wardian``: the definition in Wardian's own YAML; ``azureml-v2``, ``azureml-v1``: in one text, as far as it goes.
        Raises:   InvalidInput: an unknown format, or one that cannot hold this environment.
        """
        if to == "source":
            return self.source(version)[1]
        if to == "wardian":
            from wardian import formats

            return formats.write(version.environment, "wardian")
        from wardian.sdk.exporting import export

        if to.startswith("azureml-"):
            return self.export_definition(version, to).text
        return export(self._parts, version.environment, self.lock(version), to)

    def export_definition(self, version: EnvironmentVersion, to: str) -> Written:
        """Return the definition in a format of others, with what lies beside it and what that format cannot say.

        Args:     to: ``azureml-v2`` or ``azureml-v1``.
        Raises:   InvalidInput: an unknown format, or one that cannot hold this environment.
        """
        from wardian.sdk.exporting import export_definition

        return export_definition(self._parts, version.environment, to)

    def write_definition(self, written: Written, output: Path, *, force: bool = False) -> list[str]:
        """Write what `export_definition` gave to the file ``output`` and beside it, or into the directory; return the paths.

        Raises:   Conflict: something else is there.
        """
        from wardian.sdk.exporting import write_definition

        return write_definition(self._parts, written, output, force=force)

    def export_archives(self, version: EnvironmentVersion, to: str) -> dict[str, Path]:
        """Return what has to lie beside an export: relative path → the archive on this machine."""
        from wardian.sdk.exporting import archives_beside

        return archives_beside(self._parts, version.environment, self.lock(version), to)
