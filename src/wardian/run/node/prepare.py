"""Makes the environment of a run ready on its node: from its lock and carried archives, asking nobody; or what the node has, looked at."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from wardian.definition.platform import this_platform
from wardian.errors import InvalidInput, RunFailed, Unavailable, WardianError
from wardian.lock.lock import Lock
from wardian.lock.python import HOST
from wardian.prefix.installed import Prefix, prefix_key
from wardian.run.configuration import Prepared, RunEnvironment
from wardian.small_file import read_small

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from wardian.events import Listener
    from wardian.package.store import PackageStore
    from wardian.prefix.cache import PrefixCache
    from wardian.prefix.install import Installer

_TRIES = 3


class NodeParts(Protocol):
    """What a node installs with, below one cache."""

    @property
    def cache(self) -> Path:
        """The cache's directory."""
        ...

    @property
    def installer(self) -> Installer:
        """From a lock to a prefix."""
        ...

    @property
    def packages(self) -> PackageStore:
        """The node's archives."""
        ...

    @property
    def prefixes(self) -> PrefixCache:
        """The node's prefixes."""
        ...

    @property
    def protects(self) -> bool:
        """Whether a job cannot write into prefixes."""
        ...


def prepare_lock(
    file: Path, parts: NodeParts, directories: Sequence[Path], listener: Listener, *, lock_digest: str | None = None,
    link_scripts: str = "refuse", variables: Mapping[str, str] | None = None,
    busy: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> Prepared:  # fmt: skip
    """Return the environment of the lock in ``file``, installed in the node's cache and held.

    However many tasks of a node want it, one installs it. Where it is there already, no archive is looked for.

    Args:     directories: of archives, ``<sha256>/<file>``.  lock_digest: that the lock must have.
              busy: entered for as long as an installation takes.
    Raises:   InvalidInput: ``wrong_lock``: it has another digest.  RunFailed: ``wrong_platform``.  What installing raises.
    """
    lock = _read_lock(file)
    if lock_digest is not None and lock.digest != lock_digest:
        raise InvalidInput(f"the lock {file} has the digest {lock.digest}, not {lock_digest}", code="wrong_lock",
                           hint="the node's directory has been changed: submit the run again")  # fmt: skip
    if lock.platform != (here := this_platform().name):
        raise RunFailed(f"the lock is for {lock.platform}, and {os.uname().nodename} is {here}", code="wrong_platform",
                        hint=f"`wardian env lock REF --platform {here}`, or take other nodes")  # fmt: skip
    with ExitStack() as stack:
        for tries_left in reversed(range(_TRIES)):
            prefix = _installed(lock, parts, directories, listener, link_scripts, busy)
            try:
                stack.enter_context(parts.prefixes.hold(prefix.key))
                break
            except Unavailable:  # a clean-up came between
                if not tries_left:
                    raise
        how = "cached" if prefix.cached else "installed, it was not on this node"
        return Prepared(
            prefix=prefix.path,
            python=prefix.python,
            variables={**prefix.ready.variables, **(variables or {})},
            path_entries=tuple(Path(entry) for entry in prefix.ready.path_entries),
            environment=RunEnvironment(
                lock_digest=lock.digest, prefix_key=prefix.key, summary=f"lock {lock.digest[:6]} · prefix {how}"
            ),
            read_only=(parts.cache,) if parts.protects else (),
            hold=stack.pop_all(),
        )


def prepare_in_image(interpreter: str, variables: Mapping[str, str]) -> Prepared:
    """Return the environment that lies in the image this runs in: known by the image's digest, and so not looked at.

    Args:     interpreter: its Python; there may be none.  variables: the image's and the definition's.
    """
    there = Path(interpreter).exists()
    return Prepared(
        prefix=None, python=interpreter if there else "", variables=dict(variables), path_entries=(Path(interpreter).parent,),
        environment=RunEnvironment(),
    )  # fmt: skip


def prepare_observed(interpreter: str | None, path: str, *, wants_python: bool, variables: Mapping[str, str]) -> Prepared:
    """Return what the node has, looked at: the interpreter of a user-managed environment.

    Args:     interpreter: a path, or a name on ``path``.
    Raises:   RunFailed: ``interpreter_missing``.
    """
    from wardian.run.observed import in_words, observe

    found = observe(interpreter or "python3", path)
    python = str(found.get("executable", ""))
    if not python and (wants_python or interpreter):
        raise RunFailed(f"the interpreter `{interpreter or 'python3'}` does not run on {os.uname().nodename}", code="interpreter_missing",
                        hint="user-managed environments are set up by hand: install it on every node, or name another with --interpreter")  # fmt: skip
    return Prepared(
        prefix=None, python=python, variables=dict(variables), path_entries=(Path(python).parent,) if python else (),
        environment=RunEnvironment(summary=f"user-managed, {in_words(found)}", observed=found),
    )  # fmt: skip


def _installed(
    lock: Lock, parts: NodeParts, directories: Sequence[Path], listener: Listener, link_scripts: str,
    busy: Callable[[], AbstractContextManager[object]],
) -> Prefix:  # fmt: skip
    python = lock.python
    host_version = python.version if python is not None and python.source == HOST else ""
    if not host_version:  # its name says all: nothing that installs is imported
        key = prefix_key(lock.install_digest, None, copied=not parts.protects)
        if (ready := parts.prefixes.find(key)) is not None:
            return Prefix(parts.prefixes.path(key), key, ready, cached=True)
    elif (found := parts.installer.find(lock.install_digest, host_version)) is not None:
        return found
    from wardian.package.carried import CarriedArchives

    archives = CarriedArchives(parts.packages, directories)
    with busy():
        try:
            return parts.installer.ensure(
                lock, lambda artifacts: archives.fetch(artifacts, listener), listener, link_scripts=link_scripts
            )
        except WardianError as error:
            if error.stable_code == "python_missing":
                error.hint = f"install Python {host_version} on every node, or lock one that travels: `python_source: managed`"
            raise


def _read_lock(file: Path) -> Lock:
    try:
        return Lock.from_json(read_small(file).decode())
    except UnicodeDecodeError:
        raise InvalidInput(f"{file} is no lock: it is no UTF-8", code="unreadable_lock") from None
    except OSError as error:
        raise InvalidInput(f"the lock {file} cannot be read: {error.strerror}", code="unreadable_lock") from error
