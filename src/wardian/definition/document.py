"""A definition as plain JSON values: how records keep it, and the shape of Wardian's own YAML."""

from __future__ import annotations

from typing import Any

from wardian.definition.docker_section import BuildContext, DockerSection
from wardian.definition.environment import Environment, LocalSource, PythonSection, SparkSection
from wardian.definition.values import FrozenMap
from wardian.digest import Digest


def to_document(env: Environment) -> dict[str, Any]:
    """Return ``env`` as plain values, defaults omitted. ``from_document`` gives back an equal environment."""
    python, docker, spark = env.python, env.docker, env.spark
    document: dict[str, Any] = {
        "name": env.name,
        "description": env.description,
        "tags": dict(env.tags),
        "python": _without_defaults({
            "manager": python.manager,  # always written: the reader of a file should see it
            "source": python.source if python.source != "managed" else None,
            "requires_python": python.requires_python,
            "interpreter": python.interpreter,
            "channels": list(python.channels),
            "conda": list(python.conda),
            "pip": list(python.pip),
            "pip_options": list(python.pip_options),
            "constraints": list(python.constraints),
            "index_strategy": python.index_strategy if python.index_strategy != "first-index" else None,
            "link_scripts": python.link_scripts if python.link_scripts != "refuse" else None,
            "local": [{"path": s.path, "digest": str(s.digest)} for s in python.local],
            "locked_input": python.locked_input and str(python.locked_input),
        }),
        "docker": _without_defaults({
            "base_image": docker.base_image,
            "dockerfile": docker.dockerfile,
            "build_context": docker.build_context and {
                "digest": str(docker.build_context.digest),
                "path": docker.build_context.path,
                "dockerfile": docker.build_context.dockerfile,
            },
            "platform": docker.platform,
            "credentials": docker.credentials,
            "build_args": dict(docker.build_args),
            "build_secrets": dict(docker.build_secrets),
        }),
        "spark": _without_defaults({"packages": list(spark.packages), "repositories": list(spark.repositories)}),
        "accelerators": dict(env.accelerators),
        "variables": dict(env.variables),
    }  # fmt: skip
    return _without_defaults(document)


def from_document(document: dict[str, Any]) -> Environment:
    """Return the environment that ``to_document`` wrote, checked anew. For files that people write, use ``wardian.formats``.

    Raises:   InvalidDefinition: the rules refuse it: it was changed, or written by a Wardian with other rules.
    """
    return Environment(**_fields(document))


def from_record(document: dict[str, Any]) -> Environment:
    """Return the environment that ``to_document`` wrote, exactly as it was: what was registered once stays readable.

    Rules that came later do not look at it. Changed copies of it, as every other value, keep the rules of today.
    """
    environment = object.__new__(Environment)
    for name, value in _fields(document).items():
        object.__setattr__(environment, name, FrozenMap(value) if isinstance(value, dict) else value)
    return environment


def _fields(document: dict[str, Any]) -> dict[str, Any]:
    python = dict(document.get("python", {}))
    docker = dict(document.get("docker", {}))
    spark = document.get("spark", {})
    lists = ("channels", "conda", "pip", "pip_options", "constraints")
    python.update({key: tuple(python[key]) for key in lists if key in python})
    if "local" in python:
        python["local"] = tuple(LocalSource(s["path"], Digest(s["digest"])) for s in python["local"])
    if "locked_input" in python:
        python["locked_input"] = Digest(python["locked_input"])
    if "build_context" in docker:
        context = docker["build_context"]
        docker["build_context"] = BuildContext(Digest(context["digest"]), context["path"], context["dockerfile"])
    docker.update({key: FrozenMap(docker[key]) for key in ("build_args", "build_secrets") if key in docker})
    return {
        "name": document.get("name"),
        "description": document.get("description", ""),
        "tags": document.get("tags", {}),
        "python": PythonSection(**python),
        "docker": DockerSection(**docker),
        "spark": SparkSection(tuple(spark.get("packages", ())), tuple(spark.get("repositories", ()))),
        "accelerators": document.get("accelerators", {}),
        "variables": document.get("variables", {}),
    }


def _without_defaults(document: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if value}
