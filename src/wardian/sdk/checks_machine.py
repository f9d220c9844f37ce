"""What `doctor` looks at on this machine: versions, disks, locks, isolation, records, leftovers."""

from __future__ import annotations

import contextlib
import platform
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from wardian.errors import InvalidSetting
from wardian.sdk.doctor import FAILED, OK, WARNING, Check
from wardian.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from wardian.bootstrap import Parts

LITTLE_BYTES = 2 << 30
TOO_LITTLE_BYTES = 100 << 20


def versions(parts: Parts) -> Check:
    """Check that the tools which Wardian is made of are there and can be loaded."""
    import wardian
    from wardian.tools import rattler

    rattler.normal_spec("python")  # loads its native library
    return Check(
        "versions",
        OK,
        f"Wardian {wardian.__version__}, Python {platform.python_version()}, uv {parts.uv.version()}, py-rattler {rattler.version()}",
    )


def machine(_parts: Parts) -> Check:
    """Check that packages for this platform's baseline run here."""
    from wardian.definition.platform import this_platform

    here = this_platform()
    library, version = platform.libc_ver()
    found = f"{here.name}, kernel {platform.release()}, {library or 'another C library than glibc'} {version}".rstrip()
    baseline = dict(here.virtual).get("__glibc")
    if baseline and (library != "glibc" or _numbers(version) < _numbers(baseline)):
        return Check(
            "machine",
            WARNING,
            found,
            f"locks are made for glibc ≥ {baseline}: declare `glibc` under `accelerators` of a definition",
        )
    return Check("machine", OK, found)


def settings(parts: Parts) -> Check:
    """Check the file of settings, and the variables that go before it."""
    path = parts.settings.home / "config.toml"
    try:
        Settings.load(parts.environ, home=parts.settings.home)
    except InvalidSetting as error:
        return Check("settings", FAILED, " ".join(error.message.split()),
                     f"{error.hint or 'mend it'}; what follows was looked at with the defaults, offline")  # fmt: skip
    return Check("settings", OK, str(path) if path.exists() else "the defaults, and variables: there is no config.toml")


def home(parts: Parts) -> Check:
    """Check the directory of records."""
    return _place("home", parts.settings.home, "point WARDIAN_HOME at a directory that you may write to")


def cache(parts: Parts) -> Check:
    """Check the directory of caches."""
    _ = parts.prefixes  # refuses a path that is too long for programs
    found = _place("cache", parts.cache, "point WARDIAN_CACHE at a directory that you may write to")
    kind = _network(parts.cache)
    if found.state == OK and kind:
        return Check(
            "cache",
            WARNING,
            found.found,
            f"it is on a network file system ({kind}): WARDIAN_CACHE on this machine's own disk is faster",
        )
    return found


def links(parts: Parts) -> Check:
    """Check that prefixes can share files with the caches."""
    from wardian.tools import isolation

    if isolation.is_needed() and not isolation.available():
        return Check("hard_links", WARNING, "not used: root could write through them, and private mounts are refused",
                     "run as an ordinary user, or allow private mounts (CAP_SYS_ADMIN): prefixes take less space then")  # fmt: skip
    with _scratch(parts.cache / "uv") as one, _scratch(parts.cache / "prefixes") as other:
        (one / "file").write_bytes(b"x")
        try:
            (other / "file").hardlink_to(one / "file")
        except OSError as error:
            return Check("hard_links", WARNING, f"not between cache and prefixes: {error.strerror}",
                         "prefixes are copies: slower, larger; a WARDIAN_CACHE on one file system with hard links mends it")  # fmt: skip
    return Check("hard_links", OK, "cache and prefixes share files")


def locks(parts: Parts) -> Check:
    """Check that locks between processes hold where they are needed."""
    from wardian.tools.disk import FileLock

    for place in dict.fromkeys((_existing(parts.settings.home), _existing(parts.cache))):
        with _scratch(place) as directory, FileLock(directory / "lock") as lock:
            if not lock.is_held():
                return Check("locks", FAILED, f"two processes can hold one lock at once in {place}",
                             "file locks must work there: mount it with locks, or use another file system")  # fmt: skip
    return Check("locks", OK, "file locks hold")


def isolation(_parts: Parts) -> Check:
    """Check what keeps root from writing into environments."""
    from wardian.tools import isolation as tool

    if not tool.is_needed():
        return Check("isolation", OK, "not needed: an ordinary user, bound by permissions")
    if tool.available():
        return Check("isolation", OK, "this is root: runs get private read-only mounts")
    return Check("isolation", WARNING, "this is root, and private read-only mounts are refused",
                 "run as an ordinary user, or allow private mounts (CAP_SYS_ADMIN); until then prefixes are copied, and a script can change its own")  # fmt: skip


def records(parts: Parts) -> Check:
    """Check the workspace's records, every page of them."""
    if not (parts.directory / "workspace.db").exists():
        if parts.settings.workspace != "default":
            _ = parts.database  # says that there is no such workspace
        return Check("records", OK, "none yet: the workspace is made when it is first used")
    answers = [str(row[0]) for row in parts.database.rows("PRAGMA quick_check(5)")]
    if answers != ["ok"]:
        return Check("records", FAILED, f"{parts.database.path} is damaged: {'; '.join(answers)[:300]}",
                     "restore the file from a backup, or rescue what can be read with `sqlite3 FILE .recover`")  # fmt: skip
    found = f"workspace `{parts.settings.workspace}`: sound"
    if (kind := _network(parts.directory)) is not None:
        return Check("records", WARNING, f"{found}; on a network file system ({kind}), with the slower rollback journal",
                     "WARDIAN_HOME on this machine's own disk is faster, if no other machine is to share it")  # fmt: skip
    return Check("records", OK, f"{found}, journal: {parts.database.journal}")


def leftovers(parts: Parts) -> Check:
    """Look for what killed processes have left."""
    from wardian.prefix.evict import STALE_AFTER_S
    from wardian.sdk.caches import trash_directories

    unfinished = sum(1 for name, ready, _ in parts.prefixes.entries() if ready is None and not parts.prefixes.installing(name))
    thrown_away = sum(len(list(place.iterdir())) for place in trash_directories(parts) if place.is_dir())
    temporary = parts.packages.root / "tmp"
    before = time.time() - STALE_AFTER_S
    broken_off = sum(1 for path in temporary.iterdir() if path.stat().st_mtime < before) if temporary.is_dir() else 0
    counts = {"unfinished prefix": unfinished, "half-removed tree": thrown_away, "broken-off download": broken_off}
    found = [
        f"{count} {what}{'' if count == 1 else 'es' if what.endswith('x') else 's'}" for what, count in counts.items() if count
    ]
    if found:
        return Check("leftovers", WARNING, ", ".join(found), "`wardian gc --apply` removes them")
    return Check("leftovers", OK, "none")


MACHINE: Mapping[str, Callable[[Parts], Check]] = {
    "versions": versions, "machine": machine, "settings": settings, "home": home, "cache": cache, "hard_links": links, "locks": locks, "isolation": isolation,
    "records": records, "leftovers": leftovers,
}  # fmt: skip


def _place(name: str, path: Path, hint: str) -> Check:
    from wardian.workspace.file_system import file_system

    in_the_way = next((place for place in (path, *path.parents) if place.exists() and not place.is_dir()), None)
    if in_the_way is not None:
        return Check(name, FAILED, f"{path} cannot be made: {in_the_way} is not a directory", hint)
    there = _existing(path)
    free = shutil.disk_usage(there).free
    kind = file_system(there)
    found = f"{path}: {'' if there == path else 'to be made, '}{f'{kind}, ' if kind else ''}{free / 1e9:,.1f} GB free"
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        return Check(name, FAILED, f"{found}, cannot be written to: {error.strerror}", hint)
    if free < TOO_LITTLE_BYTES:
        return Check(name, FAILED, found, "free some space: `wardian gc --apply`, or a larger disk")
    if free < LITTLE_BYTES:
        return Check(name, WARNING, found, "that is little: `wardian gc` shows what the caches could give back")
    return Check(name, OK, found)


@contextlib.contextmanager
def _scratch(path: Path) -> Iterator[Path]:
    """Yield a directory to try things in, on the file system of ``path``."""
    with tempfile.TemporaryDirectory(dir=_existing(path), prefix=".wardian-check-") as directory:
        yield Path(directory)


def _existing(path: Path) -> Path:
    while not path.is_dir() and path != path.parent:
        path = path.parent
    return path


def _network(path: Path) -> str | None:
    from wardian.workspace.file_system import network_file_system

    return network_file_system(_existing(path))


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".") if part.isdigit()]
