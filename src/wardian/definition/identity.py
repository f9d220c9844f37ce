"""The definition's identity: which fields decide it, and how."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wardian.digest import Digest

if TYPE_CHECKING:
    from wardian.definition.environment import Environment

SCHEME = "wardian-definition-1"


def hashed_fields(env: Environment) -> dict[str, Any]:
    """Return exactly what the hash is taken of, defaults omitted; lists keep their order.

    Not in it: name, version, description, tags, variables, interpreter path.
    Source:   semantics §2, [S21-S24]
    """
    python, docker = env.python, env.docker
    fields: dict[str, Any] = {
        "base_image": docker.base_image,
        "dockerfile": docker.dockerfile,
        "build_context": docker.build_context
        and {"digest": docker.build_context.digest, "dockerfile": docker.build_context.dockerfile},
        "docker_platform": docker.platform,
        "manager": python.manager if python.manager != "conda" else None,
        "source": python.source if python.source != "managed" else None,
        "requires_python": python.requires_python,
        "virtual_packages": dict(env.accelerators),
        "link_scripts": python.link_scripts if python.link_scripts != "refuse" else None,
        "channels": list(python.channels),
        "conda": list(python.conda),
        "pip": list(python.pip),
        "pip_options": list(python.pip_options),
        "constraints": list(python.constraints),
        "index_strategy": python.index_strategy if python.index_strategy != "first-index" else None,
        "local": [[source.path, source.digest] for source in python.local],
        "locked_input": python.locked_input,
        "spark_packages": list(env.spark.packages),
        "spark_repositories": list(env.spark.repositories),
    }
    return {key: value for key, value in fields.items() if value}


def definition_hash(env: Environment) -> Digest:
    """Return the identity of the request as written: independent of name, version and variables; order counts."""
    return Digest.of_document({"scheme": SCHEME, **hashed_fields(env)})
