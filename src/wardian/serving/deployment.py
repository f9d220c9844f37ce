"""The deployment configuration: what serves a model, with what, and where, the whole specification of a deployment [S4]."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from wardian.definition.docker_section import VARIABLE
from wardian.errors import InvalidInput, wrong_in
from wardian.run.configuration import Resources, perhaps_secret

if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike

    from wardian.definition.environment import Environment
    from wardian.workspace.version import EnvironmentVersion

TARGETS = ("local", "podman", "docker")
MOST_REPLICAS, MOST_WORKERS = 256, 256
ENDPOINT_NAME = re.compile(r"[a-z](?:[a-z0-9-]{0,30}[a-z0-9])?")
RESERVED = (
    "WARDIAN_MODEL_DIR", "AZUREML_MODEL_DIR", "WARDIAN_ENDPOINT", "WARDIAN_DEPLOYMENT", "WARDIAN_REPLICA", "AZUREML_ENTRY_SCRIPT", "AML_APP_ROOT",
)  # fmt: skip

_FUNCTION = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)
_ORIGIN = re.compile(r"\*|https?://[^/\s,]+")


@dataclass(frozen=True, slots=True)
class InferenceConfiguration:
    """How a model answers: the code that scores, and the environment in which it does.

    Attributes:
        entry: a script with ``init()`` and ``run(data)``, its path below ``source``; or ``module:function``; None: the model
            says it itself, as those of MLflow and scikit-learn do.
        source: the directory that the deployment gets a copy of, absolute; None: no code.
        environment: a definition (the same object that was submitted), a version or a reference; None: what the model was
            trained with.
    """

    entry: str | None = None
    source: Path | None = None
    environment: Environment | EnvironmentVersion | str | None = None

    def __post_init__(self) -> None:
        if self.source is not None and not self.source.is_absolute():
            raise _invalid(f"the source directory {self.source} is not absolute", "bad_source")
        if self.entry is None:
            return
        if self.source is None:
            raise _invalid(f"the entry `{self.entry[:80]}` needs a source directory that it lies in", "bad_source")
        if self.is_function:
            return
        path = PurePosixPath(self.entry)
        if not self.entry.endswith(".py") or "\0" in self.entry:
            raise _invalid(f"`{self.entry[:80]}` is neither a Python script nor MODULE:FUNCTION", "bad_entry",
                           "`--entry score.py`, with `init()` and `run(data)`; or `--entry package.module:function`")  # fmt: skip
        if path.is_absolute() or ".." in path.parts:
            raise _invalid(f"the entry script `{self.entry[:80]}` is not below the source directory {self.source}", "bad_entry",
                           "name it by its path in that directory, or name another with `--source DIR`")  # fmt: skip

    @classmethod
    def of(
        cls, inference: InferenceConfiguration | None = None, *, entry: str | None = None, source: str | PathLike[str] | None = None,
        environment: Environment | EnvironmentVersion | str | None = None,
    ) -> InferenceConfiguration:  # fmt: skip
        """Return what is given: a whole configuration, or its parts; the source of an entry is the current directory if none is named.

        Raises:   InvalidInput: ``given_twice``: both; what the parts raise.
        """
        if inference is None:
            directory = (
                Path(source if source is not None else ".").absolute() if entry is not None or source is not None else None
            )
            return cls(entry, directory, environment)
        if any(one is not None for one in (entry, source, environment)):
            raise _invalid("an inference configuration has its own entry, source and environment", "given_twice",
                           "give the one or the others; `dataclasses.replace` changes a part of it")  # fmt: skip
        return inference

    @property
    def is_function(self) -> bool:
        """Whether the entry is ``module:function``."""
        return self.entry is not None and _FUNCTION.fullmatch(self.entry) is not None


@dataclass(frozen=True)
class DeploymentConfiguration:
    """Where and how a deployment runs. Frozen and always valid.

    Attributes:
        target: ``local`` | ``podman`` | ``docker``.
        replicas: servers beside each other, all on the one port.
        port: of the endpoint, on the loopback address; None: a free one, which stays the endpoint's.
        variables: NAME → value, on top of the environment's.
        workers: processes of each replica that hold the model.  threads: requests that each of them takes at a time.
        resources: of each replica: limits of a container; this machine must have them.
        timeout_s: seconds for one request.  startup_timeout_s: for ``init()``.  drain_s: for requests that are under way when a
            replica is to end.
        max_body_bytes, max_queue: of a request; of requests that wait.
        worker_memory_bytes, worker_requests: a worker that holds more memory, or has answered so many requests, is replaced once the next is
            ready: what leaks does not grow for ever; 0: no limit.
        cors: origins that browsers may ask from.
        log: ``text`` | ``json``.
    """

    target: str = "local"
    replicas: int = 1
    port: int | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    workers: int = 1
    threads: int = 1
    resources: Resources = field(default_factory=Resources)
    timeout_s: float = 60.0
    startup_timeout_s: float = 300.0
    drain_s: float = 30.0
    max_body_bytes: int = 100 << 20
    max_queue: int = 1000
    worker_memory_bytes: int = 0
    worker_requests: int = 0
    cors: tuple[str, ...] = ()
    log: str = "text"

    def __post_init__(self) -> None:
        if self.target not in TARGETS:
            raise _invalid(
                f"nothing can be deployed to `{self.target[:80]}`", "unknown_target", f"targets are {', '.join(TARGETS)}"
            )
        _within("replicas", self.replicas, 1, MOST_REPLICAS)
        _within("workers", self.workers, 1, MOST_WORKERS)
        _within("threads", self.threads, 1, 256)
        _within("max_queue", self.max_queue, 1, 1 << 20)
        _within("worker_memory_bytes", self.worker_memory_bytes, 0, 1 << 50)
        _within("worker_requests", self.worker_requests, 0, 1 << 40)
        _within("max_body_bytes", self.max_body_bytes, 1, 1 << 40)
        if self.port is not None:
            _within("port", self.port, 1, 65535)
        for name in ("timeout_s", "startup_timeout_s", "drain_s"):
            if not 0 < getattr(self, name) < 10 * 86_400:
                raise _invalid(f"{name} is {getattr(self, name)}: it must be more than 0 and less than ten days", "bad_timeout")
        if self.resources.nodes is not None:
            raise _invalid("a replica is on one node", "bad_resources", "ask for more replicas")
        if self.log not in ("text", "json"):
            raise _invalid(f"a log is text or json, not `{self.log[:80]}`", "bad_log")
        for origin in self.cors:
            if not _ORIGIN.fullmatch(origin):
                raise _invalid(f"`{origin[:80]}` is not an origin", "bad_origin", "`https://example.com`, or `*` for all")
        for name, value in self.variables.items():
            if not VARIABLE.fullmatch(name):
                raise _invalid(f"`{name[:80]}` is not a variable name", "bad_variable", "letters, digits and `_`")
            if name in RESERVED or name.startswith("WARDIAN_SERVE_"):
                raise _invalid(f"Wardian itself sets `{name}` for a deployment", "bad_variable")
            if "\0" in value:
                raise _invalid(f"the value of `{name}` holds a NUL character", "bad_variable")

    def as_document(self) -> dict[str, Any]:
        """Return plain JSON values for a record, defaults omitted: of variables that look like secrets the names alone."""
        document: dict[str, Any] = {item.name: getattr(self, item.name) for item in fields(self)}
        document["resources"] = {key: value for key, value in asdict(self.resources).items() if value is not None}
        document["variables"] = {
            name: None if perhaps_secret(name, value) else value for name, value in sorted(self.variables.items())
        }
        document["cors"] = list(self.cors)
        bare = {item.name: item.default for item in fields(self)}
        return {
            key: value
            for key, value in document.items()
            if value not in ({}, [], None) and (key in _ALWAYS or value != bare[key])
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any], secrets: Mapping[str, str] | None = None) -> DeploymentConfiguration:
        """Return the configuration that ``as_document`` wrote.

        Args:     secrets: the values that the record leaves out; a variable whose value is nowhere is left out.
        Raises:   InvalidInput: not one.
        """
        try:
            values = dict(document)
            resources = Resources(**values.pop("resources", {}))
            given = {
                name: (secrets or {}).get(name) if value is None else value
                for name, value in values.pop("variables", {}).items()
            }
            cors = tuple(values.pop("cors", ()))
            return cls(resources=resources, variables={n: v for n, v in given.items() if v is not None}, cors=cors, **values)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _invalid(f"this is not a deployment configuration: {wrong_in(error)}", "bad_deployment") from error

    def server_document(self) -> dict[str, Any]:
        """Return what of it the scoring server is told."""
        return {
            "workers": self.workers, "threads": self.threads, "timeout_s": self.timeout_s, "startup_timeout_s": self.startup_timeout_s,
            "drain_s": self.drain_s, "max_body_bytes": self.max_body_bytes, "max_queue": self.max_queue, "cors": list(self.cors),
            "max_memory_bytes": self.worker_memory_bytes, "max_requests": self.worker_requests, "log": self.log,
        }  # fmt: skip


_ALWAYS = ("target", "workers")


def check_endpoint_name(name: str) -> str:
    """Return ``name`` if an endpoint can have it.

    Raises:   InvalidInput: ``bad_name``.
    """
    if not ENDPOINT_NAME.fullmatch(name):
        raise _invalid(f"`{name[:80]}` is not a name for an endpoint", "bad_name",
                       "a lower-case letter, then up to 31 lower-case letters, digits and `-`")  # fmt: skip
    return name


def _within(name: str, value: object, least: int, most: int) -> None:
    if not isinstance(value, int) or not least <= value <= most:
        raise _invalid(f"{name} is {value}: it must be a whole number from {least} to {most}", f"bad_{name}")


def _invalid(message: str, code: str, hint: str | None = None) -> InvalidInput:
    return InvalidInput(message, hint=hint, code=code)
