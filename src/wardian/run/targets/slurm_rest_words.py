"""Slurm's REST API in words: which versions there are, what a job is in each, and what is said of one. Nothing is contacted.

There are two dialects. Until v0.0.38 numbers are numbers and unknown fields are refused; since v0.0.39 a number that may be missing or
infinite is an object, and unknown fields are left out with a warning.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from typing import TYPE_CHECKING, Any

from wardian.errors import InvalidInput
from wardian.run.targets.slurm_task import check_task, log_pattern, script_of
from wardian.run.targets.slurm_words import FLAGS_FIRST, standing_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wardian.run.targets.remote import Standing, Task

_SUBMIT = re.compile(r"/slurm/v0\.0\.(\d{1,4})/job/submit/?")
OLDEST, FIRST_NEW = 37, 39
_SLASHED_GRES = 40  # since Slurm 23.11
_MEBIBYTE = 1 << 20
_TEXTS = {  # option → field, the same in both dialects
    "partition": "partition", "account": "account", "qos": "qos", "constraint": "constraints", "reservation": "reservation", "licenses": "licenses",
}  # fmt: skip
NO_SUCH_JOB = 2017


def newest_version(specification: Any) -> int | None:
    """Return the newest version of the API that an OpenAPI document has, as its last number; None: none that jobs can be given to."""
    paths = specification.get("paths") if isinstance(specification, dict) else None
    found = [int(match[1]) for path in paths or () if (match := _SUBMIT.fullmatch(str(path)))]
    return max((one for one in found if one >= OLDEST), default=None)


def fields_of(specification: Any, version: int) -> frozenset[str]:
    """Return which fields a job has by an OpenAPI document; empty: it does not say so in a way that is understood."""
    try:
        paths = specification["paths"]
        path = next(path for path in paths if (match := _SUBMIT.fullmatch(path)) and int(match[1]) == version)
        request = paths[path]["post"]["requestBody"]["content"]["application/json"]["schema"]
        job = _resolved(specification, _resolved(specification, request)["properties"]["job"])
        return frozenset(job["properties"])
    except (KeyError, TypeError, StopIteration):
        return frozenset()


def _resolved(specification: Any, schema: Any) -> Any:
    for _ in range(10):
        reference = schema.get("$ref")
        if not isinstance(reference, str):
            break
        schema = specification
        for part in reference.removeprefix("#/").split("/"):
            schema = schema[part.replace("~1", "/").replace("~0", "~")]
    return schema


def job_of(task: Task, options: Mapping[str, str], environ: Mapping[str, str], version: int) -> dict[str, Any]:
    """Return what is posted for a task.

    Args:     environ: what the batch script finds, besides what Slurm itself says.
    Raises:   InvalidInput: ``bad_task``; ``bad_target_option``: this version of the API has no such option.
    """
    check_task(task)
    wants, is_new = task.resources, version >= FIRST_NEW
    nodes = wants.nodes or 1
    job: dict[str, Any] = {
        "name": task.key, "current_working_directory": task.directory, "standard_input": "/dev/null",
        "standard_output": log_pattern(task.directory), "tasks": nodes, "tasks_per_node": 1,
        **{field: options[option] for option, field in _TEXTS.items() if option in options},
    }  # fmt: skip
    if wants.cpus:
        job["cpus_per_task"] = math.ceil(wants.cpus)
    if "nice" in options:
        job["nice"] = int(options["nice"])
    minutes = (
        _minutes(options["time_limit"]) if "time_limit" in options else math.ceil(task.time_s / 60) if task.time_s else None
    )
    memory = math.ceil(wants.memory_bytes / _MEBIBYTE) if wants.memory_bytes else None
    gpus = f"{options['gpu_type'] + ':' if 'gpu_type' in options else ''}{wants.gpus}" if wants.gpus else None
    may_restart, is_alone = options.get("requeue") == "yes", options.get("exclusive") == "yes"
    if is_new:
        job |= {"environment": [f"{name}={value}" for name, value in environ.items()], "nodes": f"{nodes}-{nodes}",
                "minimum_nodes": nodes, "open_mode": ["APPEND"], "requeue": may_restart}  # fmt: skip
        if minutes is not None:
            job["time_limit"] = _set(max(1, minutes))
        if memory is not None:
            job["memory_per_node"] = _set(memory)
        if gpus is not None:
            job["tres_per_node"] = f"gres{'/' if version >= _SLASHED_GRES else ':'}gpu:{gpus}"
        if is_alone:
            job["shared"] = ["none"]
        for option, field in (("nodelist", "required_nodes"), ("exclude", "excluded_nodes")):
            if option in options:
                job[field] = _hosts(options[option])
    else:
        if "exclude" in options:
            raise InvalidInput(f"version 0.0.{version} of Slurm's REST API cannot exclude nodes", code="bad_target_option",
                               hint="`constraint`, `nodelist`; or submit from a machine with Slurm's commands")  # fmt: skip
        job |= {"environment": dict(environ), "nodes": [nodes, nodes], "open_mode": "append"}
        optional = {
            "time_limit": max(1, minutes) if minutes is not None else None,
            "memory_per_node": memory,
            "gres": f"gpu:{gpus}" if gpus else None,
            "exclusive": "exclusive" if is_alone else None,
            "nodelist": options.get("nodelist"),
            "requeue": True if may_restart else None,
            "no_requeue": None if may_restart else True,
        }  # fmt: skip - `requeue: false` is taken for true there
        job |= {name: value for name, value in optional.items() if value is not None}
    return {"script": script_of(task), "job": job}


def standing_of_job(job: Mapping[str, Any]) -> Standing:
    """Return how a job stands by what the API says of it."""
    code = job.get("exit_code")
    if isinstance(code, dict):
        signal = code.get("signal") or {}
        signals = number(signal.get("id", signal.get("signal_id"))) or 0
        code = f"{number(code.get('return_code')) or 0}:{signals}"
    start = number(job.get("start_time"))
    row = (str(job.get("job_id", "")), _state(job.get("job_state")), str(job.get("state_reason") or "None"), str(code or 0),
           str(job.get("nodes") or ""), str(number(job.get("restart_cnt")) or 0), "then" if start else "N/A")  # fmt: skip
    return standing_of(row)


def number(value: Any) -> int | None:
    """Return a number of either dialect; None: there is none."""
    if isinstance(value, dict):
        value = value.get("number") if value.get("set") else None
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def texts(value: Any) -> list[str]:
    """Return what is a word in one dialect and a list of words in the other."""
    return [str(one) for one in value] if isinstance(value, list) else [str(value)] if value else []


def errors_of(document: Mapping[str, Any]) -> tuple[list[str], set[int]]:
    """Return what an answer's errors say, and their numbers."""
    found, numbers = [], set()
    errors = document.get("errors")
    for error in errors if isinstance(errors, list) else ():
        if not isinstance(error, dict):
            found.append(str(error))
            continue
        code = error.get("error_number", error.get("error_code"))
        if isinstance(code, int) and code:
            numbers.add(code)
        said = dict.fromkeys(str(error[name]).strip() for name in ("error", "description") if error.get(name))
        found.append(": ".join(said) or f"error {code}")
    return list(dict.fromkeys(found)), numbers


def claims(token: str) -> Mapping[str, Any]:
    """Return what a JSON web token says of itself, unchecked: only Slurm can tell whether it is true. Empty: it is none."""
    try:
        text = token.split(".")[1]
        found = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        return found if isinstance(found, dict) else {}
    except (IndexError, ValueError, binascii.Error):
        return {}


def _state(value: Any) -> str:
    """Return a state in one word: a flag (``COMPLETING``) tells more than what it is added to."""
    words = [word.upper() for word in texts(value)]
    return next((word for word in words if word in FLAGS_FIRST), words[0] if words else "UNKNOWN")


def _set(value: int) -> dict[str, Any]:
    return {"set": True, "infinite": False, "number": value}


def _minutes(text: str) -> int:
    """Return a limit of time as sbatch takes it, in minutes: M, M:S, H:M:S, D-H, D-H:M, D-H:M:S."""
    days, dash, rest = text.partition("-") if "-" in text else ("0", "", text)
    parts = [int(part) for part in rest.split(":")]
    if dash:
        hours, minutes, seconds = ([*parts, 0, 0])[:3]
    elif len(parts) == 3:  # noqa: PLR2004
        hours, minutes, seconds = parts
    else:
        hours, (minutes, seconds) = 0, ([*parts, 0])[:2]
    return (int(days) * 24 + hours) * 60 + minutes + (1 if seconds else 0)


def _hosts(text: str) -> Sequence[str]:
    """Return the hosts of a list: commas within brackets belong to a range."""
    return re.findall(r"[^,\[]+(?:\[[^\]]*\][^,\[]*)*", text)
