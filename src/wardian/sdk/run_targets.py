"""Where runs go: the usual target of a version, the target of a configuration, and what it needs made ready."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardian.errors import InvalidInput
from wardian.sdk.prepare import LAUNCHERS, prepare, prepare_in_container

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wardian.bootstrap import Parts
    from wardian.run.configuration import Prepared, RunConfiguration
    from wardian.run.targets.target import Target
    from wardian.sdk.environments import EnvironmentCollection
    from wardian.workspace.version import EnvironmentVersion

SPARK = "spark"


def usual_target(parts: Parts, version: EnvironmentVersion) -> str:
    """Return where a version runs if nobody says: on this machine; if it is nothing but an image, in a container engine; with a Spark section, as Spark.

    Raises:   EngineUnavailable: code ``no_engine``: it is nothing but an image, and no engine works here.
    """
    from wardian.run.targets.local import LocalTarget

    docker = version.document.get("docker", {})
    is_image = any(docker.get(key) for key in ("base_image", "dockerfile", "build_context"))
    if version.kind == "user" and is_image:
        return parts.images.working_engine()
    if version.document.get("spark"):
        from wardian.sdk.prepare_spark import runs_as_spark

        return SPARK if runs_as_spark(parts, version) else LocalTarget.name
    return LocalTarget.name


def choose_target(parts: Parts, configuration: RunConfiguration, *, standard_input: bool = True) -> Target:
    """Return the target of a configuration: this machine, or a container engine of it.

    Args:     standard_input: False: the job reads nothing.
    Raises:   NotFound: code ``target_not_found``.  InvalidInput: ``unknown_target_option``, ``bad_target_option``.
    """
    from wardian.run.targets.local import LocalTarget

    name, options = configuration.target, configuration.options
    if name == LocalTarget.name:
        if options:
            raise InvalidInput(f"the target `{name}` has no options, and `{next(iter(options))}` is given", code="unknown_target_option",
                               hint="options are for containers: `-t podman`")  # fmt: skip
        return LocalTarget(standard_input=standard_input)
    from wardian.run.targets.container import ContainerTarget
    from wardian.run.targets.container_options import ContainerOptions

    kind, options = kind_of(parts, configuration)
    if kind == SPARK:
        from wardian.run.targets.spark import SparkTarget
        from wardian.run.targets.spark_options import SparkOptions
        from wardian.sdk.prepare_spark import portable

        return SparkTarget(SparkOptions.of(options, name), caller=parts.environ, archive=lambda prefix: portable(parts, prefix),
                           standard_input=standard_input)  # fmt: skip
    made = ContainerOptions.of(options, name)
    return ContainerTarget(
        parts.images.engine(kind), pythons=parts.cache / LAUNCHERS, options=made, standard_input=standard_input
    )


def is_remote(parts: Parts, configuration: RunConfiguration) -> bool:
    """Return whether the target of a configuration has jobs that outlive their submitter.

    Raises:   NotFound: code ``target_not_found``.
    """
    from wardian.run.targets.kinds import BUILT_IN, kind_named

    if configuration.target in BUILT_IN:
        return False
    from wardian.sdk.targets import find_target

    return kind_named(find_target(parts, configuration.target).kind).is_remote


def kind_of(parts: Parts, configuration: RunConfiguration) -> tuple[str, Mapping[str, str]]:
    """Return the kind of the target of a configuration, and its options: the target's, then those of the run.

    Raises:   NotFound: code ``target_not_found``.  InvalidInput: ``unknown_target_option``, ``bad_target_option``.
    """
    from wardian.sdk.targets import find_target

    named = find_target(parts, configuration.target)
    if not named.is_built_in:
        from wardian.run.targets.kinds import check_options, kind_named

        check_options(kind_named(named.kind), configuration.options, named.name, of_run=True)
    return named.kind, {**named.options, **configuration.options}


def prepare_for(
    parts: Parts, environments: EnvironmentCollection, version: EnvironmentVersion, configuration: RunConfiguration
) -> Prepared:
    """Return the environment of a run, ready for its target.

    Raises:   what ``prepare``, ``prepare_spark`` and ``prepare_in_container`` raise.
    """
    from wardian.run.targets.local import LocalTarget

    target, wants_python = configuration.target, configuration.command.wants_python
    if target == LocalTarget.name:
        return prepare(parts, environments, version, wants_python=wants_python)
    kind, options = kind_of(parts, configuration)
    if kind == SPARK:
        from wardian.run.targets.spark_options import SparkOptions
        from wardian.sdk.prepare_spark import prepare_spark

        return prepare_spark(parts, environments, version, configuration, SparkOptions.of(options, target))
    return prepare_in_container(parts, environments, version, kind, wants_python=wants_python)
