"""How the scoring server is started: the contract with whoever starts it.

``<the environment's python> <directory>/wardian_server/__main__.py [--config FILE]``, or ``python -m wardian_server``.
``__main__`` puts its directory at the end of ``sys.path``: the environment's packages win, nothing is written into it.

FILE is a JSON object, best with mode 0600. All fields are optional; a field that is missing or null comes from the
variable ``WARDIAN_SERVE_<FIELD IN CAPITALS>``, then from the variable of azureml-inference-server-http, then from the default:

===================== ================================ ==================================================================
field                 variable there; default          meaning
===================== ================================ ==================================================================
schema                1                                version of this contract
kind                  script                           ``script``, ``mlflow`` or ``sklearn`` (those two need no entry)
entry                 AZUREML_ENTRY_SCRIPT             ``score.py`` (below source) or ``module:function``
source                AML_APP_ROOT joined with         directory of the entry; appended to ``sys.path``
                      AZUREML_SOURCE_DIRECTORY; .
model                 WARDIAN_MODEL_DIR,               the model's directory, or its file; the script finds it in
                      AZUREML_MODEL_DIR                ``WARDIAN_MODEL_DIR`` and ``AZUREML_MODEL_DIR``
listen                WARDIAN_SERVE_HOST, _PORT, _FD,  ``{"host", "port"}`` (port 0: any), ``{"fd": 3}`` (a listening
                      _UNIX; 127.0.0.1:5001            socket that is inherited) or ``{"unix": PATH}``
control               none                             path of a unix socket (mode 0600) that is made; see ``control.py``
ready                 none                             path of the ready mark; see below
workers               WORKER_COUNT; 1                  model processes
threads               1                                requests that one worker runs at a time
timeout_s             SCORING_TIMEOUT_MS / 1000; 3600  longest time for one ``run()``; then its worker is replaced
startup_timeout_s     300                              longest time for loading the script and its ``init()``
drain_s               30                               longest time for answering what is open after SIGTERM
max_body_bytes        104857600                        larger bodies are refused (413)
max_queue             1000                             requests that may wait for a worker; more are refused (503)
max_held_bytes        1073741824                       bodies of all requests together, from 64 KiB on; more are refused (503)
max_connections       10000                            open connections; more are closed at once
header_timeout_s      10                               longest time for the head of a request (408)
body_timeout_s        30                               after that, a body must have come at 1 KiB/s or more (408)
keepalive_s           75                               an idle connection is closed after that
max_requests          0                                a worker is replaced after as many requests; 0: never
max_memory_bytes      0                                a worker that holds more is replaced after its request; 0: no limit
max_output_bytes      1048576                          what one request may print into the log; the rest is counted
keys                  []                               sha256 (hex) of each API key; none: no authentication
cors                  AML_CORS_ORIGINS; []             origins that browsers may call from
name                  SERVICE_NAME; ML service         name of the endpoint
deployment            ""                               id of the deployment
version               SERVICE_VERSION; 1.0             version of the deployment or model
path_prefix           SERVICE_PATH_PREFIX; ""          where a gateway has put the service; for the OpenAPI documents alone
log                   json                             ``json`` (a JSON object a line) or ``text``
log_level             AZUREML_LOG_LEVEL; INFO          least level that is logged
access_log            true                             a line for each request
identity              {}                               shown by ``GET /v2``: run, lock, image, model
===================== ================================ ==================================================================

In variables, ``keys`` and ``cors`` are lists with commas and ``identity`` is JSON. ``WARDIAN_SERVE_CONFIG`` names FILE if
``--config`` does not.

The ready mark is written (atomically) when every worker has done its ``init()``: ``{"pid", "port", "workers"}``. If one cannot,
the server logs the traceback, writes ``{"error"}`` and exits with 3; a configuration that is wrong: the same with 2.
With an inherited socket the server accepts only once it is ready; with its own, ``/live`` is answered at once and ``/ready`` and
``/score`` with 503 until then. SIGTERM and SIGINT drain: the server accepts what has connected, answers what is open with
``Connection: close``, and exits with 0. Log lines go to standard output.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field, fields
from typing import Any, Mapping

KINDS = ("script", "mlflow", "sklearn")
DEFAULT_PORT = 5001
_LARGEST_BODY = 2**32 - 1  # what a frame between front and worker can say
_PREFIX = "WARDIAN_SERVE_"
_KEY = re.compile(r"[0-9a-f]{64}")
_FROM_AZURE = {
    "entry": "AZUREML_ENTRY_SCRIPT",
    "workers": "WORKER_COUNT",
    "name": "SERVICE_NAME",
    "version": "SERVICE_VERSION",
    "path_prefix": "SERVICE_PATH_PREFIX",
    "cors": "AML_CORS_ORIGINS",
    "log_level": "AZUREML_LOG_LEVEL",
}
_MINIMUM = {
    "workers": 1, "threads": 1, "timeout_s": 0.001, "startup_timeout_s": 0.001, "drain_s": 0, "max_body_bytes": 0, "max_queue": 1,
    "max_held_bytes": 0,
    "max_connections": 1, "header_timeout_s": 0.001, "body_timeout_s": 0.001, "keepalive_s": 0, "max_requests": 0,
    "max_memory_bytes": 0, "max_output_bytes": 0,
}  # fmt: skip


class BadConfiguration(Exception):
    """The configuration is wrong; the message names the field and its value."""


@dataclass(frozen=True)
class Config:
    """The settled configuration; the fields are described above."""

    schema: int = 1
    kind: str = "script"
    entry: str = ""
    source: str = "."
    model: str = ""
    listen: dict[str, Any] = field(default_factory=lambda: {"host": "127.0.0.1", "port": DEFAULT_PORT})
    control: str = ""
    ready: str = ""
    workers: int = 1
    threads: int = 1
    timeout_s: float = 3600.0
    startup_timeout_s: float = 300.0
    drain_s: float = 30.0
    max_body_bytes: int = 100 * 1024 * 1024
    max_queue: int = 1000
    max_held_bytes: int = 1024 * 1024 * 1024
    max_connections: int = 10000
    header_timeout_s: float = 10.0
    body_timeout_s: float = 30.0
    keepalive_s: float = 75.0
    max_requests: int = 0
    max_memory_bytes: int = 0
    max_output_bytes: int = 1024 * 1024
    keys: list[str] = field(default_factory=list)
    cors: list[str] = field(default_factory=list)
    name: str = "ML service"
    deployment: str = ""
    version: str = "1.0"
    path_prefix: str = ""
    log: str = "json"
    log_level: str = "INFO"
    access_log: bool = True
    identity: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> str:
        """The configuration for a worker, which has no use for the keys."""
        return json.dumps({f.name: getattr(self, f.name) for f in fields(self) if f.name != "keys"})

    @classmethod
    def from_json(cls, text: str) -> Config:
        """Return what ``as_json`` wrote."""
        return cls(**json.loads(text))


def settle(path: str | None, environ: Mapping[str, str]) -> Config:
    """Return the configuration out of the file ``path`` (None: there is none) and the variables ``environ``.

    Raises:   BadConfiguration: a field is unknown, has the wrong type or an impossible value, or the file cannot be read
    """
    path = path or environ.get(_PREFIX + "CONFIG") or None
    values = {name: value for name, value in _read(path).items() if value is not None}
    unknown = sorted(set(values) - {f.name for f in fields(Config)})
    if unknown:
        raise BadConfiguration(f"{path}: unknown field {unknown[0]!r}")
    _from_variables(values, environ)
    settled = {f.name: _typed(f.name, values[f.name], _default(f)) for f in fields(Config) if f.name in values}
    config = Config(**settled)
    _check(config)
    return config


def _read(path: str | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        with open(path, encoding="utf-8") as file:
            values = json.load(file)
    except (OSError, ValueError) as error:
        raise BadConfiguration(f"{path} cannot be read: {error}") from None
    if not isinstance(values, dict):
        raise BadConfiguration(f"{path}: a JSON object is expected")
    return values


def _from_variables(values: dict[str, Any], environ: Mapping[str, str]) -> None:
    """Put into ``values`` what it does not have and a variable has; an empty variable is one that is not set."""
    for name in (f.name for f in fields(Config)):
        text = environ.get(_PREFIX + name.upper()) or environ.get(_FROM_AZURE.get(name, "")) or None
        if text is not None and name not in values and name not in {"listen", "identity"}:
            values[name] = text
    if "timeout_s" not in values and environ.get("SCORING_TIMEOUT_MS"):
        values["timeout_s"] = _number("SCORING_TIMEOUT_MS", environ["SCORING_TIMEOUT_MS"]) / 1000
    if "source" not in values:
        places = [environ.get("AML_APP_ROOT") or "", environ.get("AZUREML_SOURCE_DIRECTORY") or ""]
        values["source"] = os.path.join(*[place for place in places if place] or ["."])
    if "model" not in values:
        values["model"] = environ.get("WARDIAN_MODEL_DIR") or environ.get("AZUREML_MODEL_DIR") or ""
    if "identity" not in values and environ.get(_PREFIX + "IDENTITY"):
        try:
            values["identity"] = json.loads(environ[_PREFIX + "IDENTITY"])
        except ValueError:
            raise BadConfiguration(f"{_PREFIX}IDENTITY is not JSON") from None
    if "listen" not in values:
        values["listen"] = _listen(environ)


def _listen(environ: Mapping[str, str]) -> dict[str, Any]:
    if environ.get(_PREFIX + "FD"):
        return {"fd": int(_number(_PREFIX + "FD", environ[_PREFIX + "FD"]))}
    if environ.get(_PREFIX + "UNIX"):
        return {"unix": environ[_PREFIX + "UNIX"]}
    port = int(_number(_PREFIX + "PORT", environ.get(_PREFIX + "PORT") or str(DEFAULT_PORT)))
    return {"host": environ.get(_PREFIX + "HOST") or "127.0.0.1", "port": port}


def _default(of: Any) -> Any:
    return of.default_factory() if callable(of.default_factory) else of.default


def _typed(name: str, value: Any, like: Any) -> Any:
    """Return ``value`` as the type of the default ``like``; text stands for a list, a number or a truth value."""
    if isinstance(like, bool):
        if isinstance(value, str) and value.lower() in {"true", "1", "false", "0"}:
            return value.lower() in {"true", "1"}
        right = isinstance(value, bool)
    elif isinstance(like, (int, float)):
        if isinstance(value, str):
            value = _number(name, value)
        right = isinstance(value, (int, float)) and not isinstance(value, bool)
        if right and isinstance(like, int):
            right = value == int(value)
            value = int(value) if right else value
        elif right:
            value = float(value)
    elif isinstance(like, list):
        if isinstance(value, str):
            value = [part.strip() for part in value.split(",") if part.strip()]
        right = isinstance(value, list) and all(isinstance(part, str) for part in value)
    else:
        right = isinstance(value, type(like))
    if not right:
        raise BadConfiguration(f"{name} must not be {value!r}: {_called(like)} is expected")
    return value


def _called(like: Any) -> str:
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "text", list: "a list of texts"}
    return names.get(type(like), "an object")


def _number(name: str, text: str) -> float:
    try:
        number = float(text)
        int(number)  # neither infinite nor not a number
    except (ValueError, OverflowError):
        raise BadConfiguration(f"{name} must not be {text!r}: a number is expected") from None
    return number


def _check(config: Config) -> None:
    if config.schema != 1:
        raise BadConfiguration(f"schema must be 1, not {config.schema}: another version of Wardian has written it")
    if config.kind not in KINDS:
        raise BadConfiguration(f"kind must not be {config.kind!r}: one of {', '.join(KINDS)} is expected")
    if config.kind == "script" and not config.entry:
        raise BadConfiguration(
            "entry is missing: the scoring script (score.py) or module:function; or set AZUREML_ENTRY_SCRIPT"
        )
    if config.kind != "script" and not config.model:
        raise BadConfiguration(f"model is missing: kind {config.kind} needs the model's directory")
    if config.log not in {"json", "text"}:
        raise BadConfiguration(f"log must not be {config.log!r}: json or text is expected")
    for name, minimum in _MINIMUM.items():
        if getattr(config, name) < minimum:
            raise BadConfiguration(f"{name} must be at least {minimum:g}, not {getattr(config, name)}")
    if config.max_body_bytes > _LARGEST_BODY:
        raise BadConfiguration(f"max_body_bytes must be at most {_LARGEST_BODY}, not {config.max_body_bytes}")
    for key in config.keys:
        if not _KEY.fullmatch(key):
            raise BadConfiguration("keys must be sha256 in 64 lower-case hex digits, never the keys themselves")
    _check_listen(config.listen)


def _check_listen(listen: dict[str, Any]) -> None:
    names, port, fd = set(listen), listen.get("port", 0), listen.get("fd", 0)
    right = (
        (names == {"host", "port"} and isinstance(listen["host"], str) and type(port) is int and 0 <= port <= 65535)  # noqa: PLR2004
        or (names == {"fd"} and type(fd) is int and fd >= 0)
        or (names == {"unix"} and isinstance(listen["unix"], str) and bool(listen["unix"]))
    )
    if not right:
        raise BadConfiguration(f'listen must not be {listen!r}: {{"host", "port"}}, {{"fd"}} or {{"unix"}} is expected')
