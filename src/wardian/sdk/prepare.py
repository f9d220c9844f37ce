"""Makes the environment of a run ready on this machine."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from wardian.definition.platform import this_platform
from wardian.errors import RunFailed, Unavailable
from wardian.run.configuration import Prepared, RunEnvironment

if TYPE_CHECKING:
    from wardian.bootstrap import Parts
    from wardian.prefix.installed import Prefix
    from wardian.sdk.environments import EnvironmentCollection
    from wardian.workspace.locking import Locked
    from wardian.workspace.version import EnvironmentVersion

LAUNCHERS = "launchers"  # below the cache: the Python that looks after jobs in containers
_TRIES = 3


def prepare(
    parts: Parts,
    environments: EnvironmentCollection,
    version: EnvironmentVersion,
    *,
    wants_python: bool = True,
    as_spark: bool = False,
) -> Prepared:
    """Return the environment of a run, installed and held, or what the user set up on this machine, looked at.

    Args:     wants_python: False: the run does without, so a user-managed environment that names no interpreter may have none.
              as_spark: its Spark section counts.
    Raises:   RunFailed: ``interpreter_missing``, ``no_python``: none is there for a run that wants it.  What building raises.
    """
    if version.kind == "user":
        return _user_managed(version, wants_python=wants_python, as_spark=as_spark)
    return _installed(parts, environments, version, wants_python=wants_python, as_spark=as_spark)


def prepare_in_container(
    parts: Parts, environments: EnvironmentCollection, version: EnvironmentVersion, target: str, *, wants_python: bool = True
) -> Prepared:
    """Return the environment of a run in a container: its image, which the engine ``target`` has by then.

    Args:     wants_python: see ``prepare``.
    Raises:   RunFailed: ``interpreter_missing``: a user-managed image has no such Python.  What building and pulling raise.
    """
    from wardian.run.in_image import prepare_in_image
    from wardian.run.targets.launcher_python import launcher_python
    from wardian.sdk.images import ImageCollection
    from wardian.tools.meanwhile import meanwhile

    launchers = parts.cache / LAUNCHERS
    with meanwhile(lambda: launcher_python(launchers)):  # copied while the engine pulls
        image, local = ImageCollection(parts, environments).prepare(version, target)
    how = "known" if image.cached and image.origin == "built" else image.origin
    pinned = parts.locker.find(version, this_platform())
    if wants_python and version.kind != "user" and pinned is not None and not pinned.chosen.python_version:
        raise no_python(version)
    lock = f" · lock {image.lock_digest[:6]}" if image.lock_digest else ""
    python = version.environment.python
    return prepare_in_image(
        parts.images.engine(target), local,
        RunEnvironment(name=version.name, version=version.version, version_id=version.id, definition_hash=version.definition_hash,
                       lock_digest=image.lock_digest, lock_origin=pinned.chosen.origin if pinned else None, image_digest=image.digest, image_origin=image.origin,
                       summary=f"{version}{lock} · image {image.digest[:12]} {how}"),
        version.document.get("variables", {}), launcher_python(launchers),
        interpreter=(python.interpreter or "python3") if version.kind == "user" else None, wants_python=wants_python or python.interpreter is not None,
        notes=(*deprecated(parts, version), *_without_spark(version), *image.notes),
    )  # fmt: skip


def no_python(version: EnvironmentVersion) -> RunFailed:
    """Return the error for an environment without Python where one is wanted."""
    hint = f"`wardian env add {version.name} python`" if version.name else "add python to its definition"
    return RunFailed(f"{version} has no Python, which is wanted here", hint=hint, code="no_python")


def _installed(
    parts: Parts, environments: EnvironmentCollection, version: EnvironmentVersion, *, wants_python: bool, as_spark: bool
) -> Prepared:
    with contextlib.ExitStack() as stack:
        prefix, locked = _held(parts, environments, version, stack)
        if wants_python and not prefix.python:
            raise no_python(version)
        chosen = locked.chosen
        how = "cached" if prefix.cached else "installed, it was not on this machine"
        summary = f"{version} · lock {chosen.lock_digest[:6]} · prefix {how}"
        notes = (*deprecated(parts, version), *_ignored(version, as_spark=as_spark))
        if chosen.as_of:
            notes = (*notes, f"locked as of {chosen.as_of}")
        if not parts.protects:
            text = "this is root, and the environment cannot be made read-only for it: its files are copies, so no other environment changes with it"
            notes = (*notes, text)
        if parts.settings.byte_code == "background":
            from wardian.prefix.bytecode import compile_in_background

            compile_in_background(parts.prefixes, prefix.key[:32])
        return Prepared(
            prefix=prefix.path,
            python=prefix.python,
            variables={**prefix.ready.variables, **version.document.get("variables", {})},
            path_entries=tuple(Path(entry) for entry in prefix.ready.path_entries),
            environment=RunEnvironment(name=version.name, version=version.version, version_id=version.id, definition_hash=version.definition_hash,
                                       lock_digest=chosen.lock_digest, prefix_key=prefix.key, summary=summary, lock_origin=chosen.origin),
            read_only=(parts.cache, parts.settings.home) if parts.protects else (),
            hold=stack.pop_all(),
            notes=notes,
        )  # fmt: skip


def _held(
    parts: Parts, environments: EnvironmentCollection, version: EnvironmentVersion, stack: contextlib.ExitStack
) -> tuple[Prefix, Locked]:
    """Return the prefix, held by ``stack``; a clean-up that comes between finding and holding it only costs an installation."""
    for _ in range(_TRIES):
        prefix, locked = environments.build(version)
        try:
            stack.enter_context(parts.prefixes.hold(prefix.key))
            break
        except Unavailable as error:
            gone = error
    else:
        raise gone
    return prefix, locked


def _user_managed(version: EnvironmentVersion, *, wants_python: bool, as_spark: bool) -> Prepared:
    """Look at what the user set up, and write down what it has."""
    from wardian.run.observed import in_words, observe

    asked = version.environment.python.interpreter
    interpreter = asked or "python3"
    found = observe(interpreter)
    python = found.get("executable", "")
    if not python and (wants_python or asked):
        raise RunFailed(f"the interpreter `{interpreter}` of {version} does not run on this machine", code="interpreter_missing",
                        hint="user-managed environments are set up by hand: install it there, or name another with --interpreter")  # fmt: skip
    return Prepared(
        prefix=None, python=python, variables=dict(version.document.get("variables", {})),
        path_entries=(Path(python).parent,) if python else (),
        environment=RunEnvironment(name=version.name, version=version.version, version_id=version.id, definition_hash=version.definition_hash,
                                   summary=f"{version} · user-managed, {in_words(found)}", observed=found),
        notes=_ignored(version, as_spark=as_spark),
    )  # fmt: skip


def deprecated(parts: Parts, version: EnvironmentVersion) -> tuple[str, ...]:
    """Return that a curated version is deprecated, and what takes its place."""
    if version.kind != "curated":
        return ()
    entry = parts.catalogue.find(version.name or "", version.version)
    if entry is None or not entry.deprecated:
        return ()
    successor = f": `{entry.successor}` takes its place" if entry.successor else ""
    return (f"{version} is deprecated since {entry.deprecated}{successor}",)


def _without_spark(version: EnvironmentVersion) -> tuple[str, ...]:
    return ("the Spark section does not count in a container",) if version.document.get("spark") else ()


def _ignored(version: EnvironmentVersion, *, as_spark: bool) -> tuple[str, ...]:
    """Return what a definition says that does not count on this machine: a run says so."""
    document = version.document
    docker = document.get("docker", {})
    found = []
    if image := docker.get("base_image"):
        found.append(f"the base image {image} does not count for a local run")
    elif docker.get("dockerfile") or docker.get("build_context"):
        found.append("the Docker steps do not count for a local run")
    if document.get("spark") and not as_spark:
        found.append("the Spark section does not count for a local run")
    return tuple(found)
