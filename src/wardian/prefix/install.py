"""Installs a lock: fetched archives become a sealed prefix."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from wardian.errors import DiskFull, InstallFailed
from wardian.events import Event
from wardian.package.archive import expanded_size_bytes
from wardian.prefix.cache import PrefixCache, Ready
from wardian.prefix.installed import Prefix, prefix_key
from wardian.prefix.seal import seal
from wardian.prefix.wheel_files import WHEEL_FILES, changed_wheels
from wardian.tools.disk import NO_SPACE, disk_full, full_place, need_space, remove_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wardian.digest import Digest
    from wardian.events import Listener
    from wardian.lock.lock import Artifact, Lock
    from wardian.prefix.interpreters import Interpreter, Interpreters
    from wardian.tools.uv import Uv


class _ChangedError(Exception):
    """The files of these wheels are not as in their archives."""

    def __init__(self, archives: list[Path]):
        super().__init__()
        self.archives = archives


class Installer:
    """From a lock to a prefix.

    Args:     fetch: brings the archives of these artifacts to this machine.
              conda_packages: rattler's cache of unpacked packages.
              copy: files are copied, not linked to a cache, because nothing keeps a run from writing into them.
    """

    def __init__(
        self, *, cache: PrefixCache, interpreters: Interpreters, uv: Uv, conda_packages: Path, copy: Callable[[], bool]
    ):
        self.cache = cache
        self.interpreters = interpreters
        self._uv = uv
        self._conda_packages = conda_packages
        self._copy = copy

    def find(self, install_digest: Digest, host_version: str) -> Prefix | None:
        """Return the prefix if it is ready, contacting nothing. ``host_version``: of the machine's Python, if the lock uses that."""
        key = self.key(install_digest, host_version)
        ready = self.cache.find(key) if key else None
        return Prefix(self.cache.path(key), key, ready, cached=True) if key and ready else None

    def key(self, install_digest: Digest, host_version: str) -> Digest | None:
        """Return the key that a prefix has or would have; None: the machine has no Python ``host_version``."""
        identity = None
        if host_version:
            found = self.interpreters.find_host(host_version)
            if found is None:
                return None
            identity = found.identity
        return prefix_key(install_digest, identity, copied=self._copy())

    def ensure(
        self,
        lock: Lock,
        fetch: Callable[[Sequence[Artifact]], dict[Digest, Path]],
        listener: Listener,
        *,
        link_scripts: str = "refuse",
    ) -> Prefix:
        """Return the prefix of ``lock``, installing it if it is not here. Safe between processes; all or nothing.

        Raises:   InstallFailed: with the cause.  What ``fetch`` raises.  DiskFull: checked before, and on the way.
        """
        interpreter = self._interpreter(lock, fetch, listener)
        key = prefix_key(lock.install_digest, interpreter.identity if interpreter else None, copied=self._copy())

        def install(path: Path) -> Ready:
            artifacts = [a for a in lock.artifacts if a.kind != "python"]
            archives = fetch(artifacts)

            def needed_bytes() -> int:
                return sum(expanded_size_bytes(archives[a.installed_sha256], "wheel" if a.built else a.kind) for a in artifacts)

            if self._copy():
                need_space(self.cache.root, needed_bytes())
            listener(Event("phase", f"installing {len(artifacts)} package{'s' if len(artifacts) != 1 else ''}"))
            try:
                return self._install_checked(path, key, lock, interpreter, archives, listener, link_scripts)
            except (OSError, DiskFull, InstallFailed) as error:
                place = self._where_it_is_full(error)
                if place is None:
                    raise
                raise disk_full(place, needed_bytes()) from error

        ready, cached = self.cache.ensure(key, install, listener)
        return Prefix(self.cache.path(key), key, ready, cached)

    def _interpreter(
        self, lock: Lock, fetch: Callable[[Sequence[Artifact]], dict[Digest, Path]], listener: Listener
    ) -> Interpreter | None:
        python = next(iter(lock.of_kind("python")), None)
        if python is None:
            return None
        found = self.interpreters.find(python)
        if found is not None:
            return found
        archive = fetch([python])[python.sha256] if python.source != "host" else None
        return self.interpreters.ensure(python, archive, listener)

    def _where_it_is_full(self, error: Exception) -> Path | None:
        if isinstance(error, DiskFull):
            return Path(error.place)
        if isinstance(error, OSError):
            return self.cache.root if error.errno in NO_SPACE else None
        return full_place(str(error), self.cache.root)

    def _install_checked(
        self, path: Path, key: Digest, lock: Lock, interpreter: Interpreter | None, archives: dict[Digest, Path], listener: Listener, link_scripts: str
    ) -> Ready:  # fmt: skip
        try:
            return self._install(path, key, lock, interpreter, archives, listener, link_scripts)
        except _ChangedError as changed:
            names = ", ".join(sorted(archive.name for archive in changed.archives))
            listener(Event("notice", f"what was unpacked of {names} has been changed since: it is unpacked anew"))
            for archive in changed.archives:
                os.utime(archive)  # uv takes it for another file then
            for entry in path.iterdir():
                remove_tree(entry, self.cache.root / "trash")
        try:
            return self._install(path, key, lock, interpreter, archives, listener, link_scripts)
        except _ChangedError as changed:
            names = ", ".join(sorted(archive.name for archive in changed.archives))
            raise InstallFailed(f"the installed files of {names} are not those of the archive, however often it is unpacked",
                                hint="look for failing memory or a failing disk", code="changed_files") from None  # fmt: skip

    def _install(
        self,
        path: Path,
        key: Digest,
        lock: Lock,
        interpreter: Interpreter | None,
        archives: dict[Digest, Path],
        listener: Listener,
        link_scripts: str,
    ) -> Ready:
        variables: dict[str, str] = {}
        path_entries: tuple[str, ...] = (str(path / "bin"),)
        if conda := lock.of_kind("conda"):
            from wardian.prefix.conda import install_conda

            activation = install_conda(
                conda,
                archives,
                path,
                package_cache=self._conda_packages,
                link_scripts=link_scripts,
                copy=self._copy(),
                listener=listener,
            )
            variables = dict(activation.variables)
            path_entries = tuple(activation.path_entries)
            python = path / "bin" / "python"
        elif interpreter is not None:
            self._uv.create_venv(path, python=interpreter.path)
            variables = {"VIRTUAL_ENV": str(path)}
            python = path / "bin" / "python"
        else:
            raise InstallFailed("the lock names no interpreter and no conda packages", code="empty_lock")
        wheels = [(a.name, a.version, archives[a.installed_sha256], a.installed_sha256) for a in lock.of_kind("wheel", "sdist")]
        if wheels:
            self._uv.install(python, wheels, copy=self._copy())
            by_digest = {sha256: archive for _, _, archive, sha256 in wheels}
            if changed := changed_wheels(path, by_digest, self.cache.root.parent / WHEEL_FILES):
                raise _ChangedError([by_digest[sha256] for sha256 in changed])
        sealed = seal(path)
        added_bytes = sealed.size_bytes + sum(archive.stat().st_size for archive in archives.values())
        facts = {"lock": lock.digest, "packages": len(lock.artifacts), "files": sealed.files, "added_bytes": added_bytes}
        return Ready(key=key, python=str(python) if python.exists() else "", variables=variables, path_entries=path_entries,
                     requires=interpreter.requires if interpreter else (), facts=facts)  # fmt: skip
