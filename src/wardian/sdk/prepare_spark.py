"""Makes ready what a Spark run needs beside its environment: the locked jars, a Spark, a Java."""

from __future__ import annotations

import contextlib
import fnmatch
from dataclasses import replace
from typing import TYPE_CHECKING

from wardian.definition.platform import this_platform
from wardian.sdk.prepare import prepare

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from wardian.bootstrap import Parts
    from wardian.lock.lock import Lock
    from wardian.run.configuration import Prepared, RunConfiguration
    from wardian.run.targets.spark_home import SparkHome
    from wardian.run.targets.spark_options import SparkOptions
    from wardian.sdk.environments import EnvironmentCollection
    from wardian.workspace.version import EnvironmentVersion


def runs_as_spark(parts: Parts, version: EnvironmentVersion) -> bool:
    """Return whether a version runs as Spark if nobody says: it has a Spark section, and its lock, if it is pinned to one, has the jars.

    A lock from before jars were locked has none: what was pinned to it keeps running as it did.
    """
    section = version.document.get("spark")
    if not section:
        return False
    pinned = parts.locker.find(version, this_platform())
    if pinned is None or not section.get("packages"):
        return True
    return bool(parts.locks.get(pinned.chosen.lock_digest, definition_hash=version.definition_hash).spark)


def prepare_spark(
    parts: Parts,
    environments: EnvironmentCollection,
    version: EnvironmentVersion,
    configuration: RunConfiguration,
    options: SparkOptions,
) -> Prepared:
    """Return the environment of a Spark run: as for this machine, with the jars of its lock, and a Spark and a Java that were found.

    Raises:   RunFailed: ``spark_missing``, ``java_missing``, ``java_too_old``.  What ``prepare`` raises, and fetching jars.
    """
    from wardian.run.targets.spark_home import find_spark
    from wardian.run.variables import caller_variables, environment_variables

    prepared = prepare(parts, environments, version, as_spark=True)
    with contextlib.ExitStack() as held:
        held.enter_context(prepared.hold)
        around = parts.surroundings
        variables = environment_variables(prepared, around.environ)
        variables |= caller_variables(configuration, around.pass_variables, around.environ)
        spark = find_spark(prepared.python, variables, parts.environ)
        lock = _lock(parts, prepared)
        archives = parts.fetch(version.environment, lock, lock.spark) if lock is not None and lock.spark else {}
        jars = tuple(archives[jar.sha256] for jar in lock.spark) if lock is not None else ()
        master = options.master_for(configuration.resources.cpus)
        engine = {**spark.as_document(), "master": master, "environment": "archive" if options.sends_archive else "prefix"}
        summary = f"{prepared.environment.summary} · {spark}, {master}"
        return replace(
            prepared,
            environment=replace(
                prepared.environment, engine={key: value for key, value in engine.items() if value}, summary=summary
            ),
            class_path=jars,
            notes=(*prepared.notes, *_notes(version, lock, spark)),
            hold=held.pop_all(),
        )


def _lock(parts: Parts, prepared: Prepared) -> Lock | None:
    digest = prepared.environment.lock_digest
    return parts.locks.get(digest, definition_hash=prepared.environment.definition_hash) if digest else None


def _notes(version: EnvironmentVersion, lock: Lock | None, spark: SparkHome) -> list[str]:
    section: Mapping[str, list[str]] = version.document.get("spark", {})
    wanted = section.get("packages", ())
    found = []
    if wanted and lock is None:
        found.append(
            "the packages of the Spark section are a declaration only: of a user-managed environment nothing is locked"
        )
    elif wanted and lock is not None and not lock.spark:
        how = (
            f"`wardian env upgrade {version.name}` adds a version that has them" if version.name else "lock the definition anew"
        )
        found.append(f"{version} was locked before jars were, and has none: {how}")
    if wrong := spark.misfits(jar.name for jar in lock.spark) if lock is not None else []:
        found.append(f"made for another Scala than {spark.scala}, which {spark} has: {', '.join(wrong)}")
    return found


def portable(parts: Parts, prefix: Path) -> Path:
    """Return an archive of a prefix that executors elsewhere unpack; see ``wardian.prefix.portable``."""
    from wardian.prefix.portable import DIRECTORY, ensure_portable

    return ensure_portable(parts.prefixes, prefix, parts.cache / DIRECTORY, parts.listener, leave_out=_comes_with_spark)


def _comes_with_spark(path: str) -> bool:
    """Return whether executors have a file without us: they are a Spark of their own."""
    return fnmatch.fnmatchcase(path, "lib/python3*/site-packages/pyspark/jars/*")
