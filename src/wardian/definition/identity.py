"""The definition's identity: which fields decide it, and how."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wardian.definition.well_known import channel_identity, without_login
from wardian.digest import Digest

if TYPE_CHECKING:
    from wardian.definition.environment import Environment

SCHEME = "wardian-definition-1"

_INDEX_OPTIONS = ("--index-url", "--extra-index-url", "--find-links")


def hashed_fields(env: Environment) -> dict[str, Any]:
    """Return exactly what the hash is taken of, defaults omitted; lists keep their order.

    Channels go by their well-known names, else by URL; these, and the URLs of indexes, without credentials and tokens.
    Not in it: name, version, description, tags, variables, interpreter path, names of stored secrets.
    Source:   semantics §2, [S21-S24]
    """
    python, docker = env.python, env.docker
    fields: dict[str, Any] = {
        "base_image": docker.base_image,
        "dockerfile": docker.dockerfile,
        "build_context": docker.build_context
        and {"digest": docker.build_context.digest, "dockerfile": docker.build_context.dockerfile},
        "build_args": dict(docker.build_args),
        "docker_platform": docker.platform,
        "manager": python.manager if python.manager != "conda" else None,
        "source": python.source if python.source != "managed" else None,
        "requires_python": python.requires_python,
        "virtual_packages": dict(env.accelerators),
        "link_scripts": python.link_scripts if python.link_scripts != "refuse" else None,
        "channels": [channel_identity(text) for text in python.channels],
        "conda": [_without_channel_url(text) for text in python.conda],
        "pip": list(python.pip),
        "pip_options": [_without_index_login(text) for text in python.pip_options],
        "constraints": list(python.constraints),
        "index_strategy": python.index_strategy if python.index_strategy != "first-index" else None,
        "local": [[source.path, source.digest] for source in python.local],
        "locked_input": python.locked_input,
        "spark_packages": list(env.spark.packages),
        "spark_repositories": list(env.spark.repositories),
    }
    return {key: value for key, value in fields.items() if value}


def _without_channel_url(spec: str) -> str:
    """Return a conda requirement with its channel, if it names one by URL, as ``channel_identity`` has it."""
    channel, separator, rest = spec.rpartition("::")
    return f"{channel_identity(channel)}{separator}{rest}" if separator and "://" in channel else spec


def _without_index_login(option: str) -> str:
    name, space, value = option.partition(" ")
    return f"{name}{space}{without_login(value)}" if name in _INDEX_OPTIONS else option


def definition_hash(env: Environment) -> Digest:
    """Return the identity of the request as written: independent of name, version and variables; order counts."""
    return Digest.of_document({"scheme": SCHEME, **hashed_fields(env)})
