"""What a script finds in its environment: little of the caller's, so that it runs elsewhere as it runs here."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from wardian.errors import InvalidInput
from wardian.run.configuration import input_variable, perhaps_secret

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from wardian.run.configuration import Prepared, RunConfiguration
    from wardian.run.record import RunRecord

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_INHERITED = re.compile(
    r"HOME|LANG|LANGUAGE|LC_[A-Z]+|TZ|TERM"
    r"|(?i:https?|ftp|all|no)_(?i:proxy)"
    r"|SSL_CERT_(?:FILE|DIR)|(?:REQUESTS|CURL|AWS)_CA_BUNDLE|NODE_EXTRA_CA_CERTS|PIP_CERT|GIT_SSL_CAINFO"
)


def caller_variables(configuration: RunConfiguration, patterns: Sequence[str], environ: Mapping[str, str]) -> dict[str, str]:
    """Return the run's variables with their values, those that are passed on from ``environ`` included.

    Args:     patterns: what every run passes on (setting ``pass_variables``); one that matches nothing is no fault.
    Raises:   InvalidInput: ``variable_not_set``: a name to pass on that the caller has not set.
    """
    found = {name: value for name, value in environ.items() if any(fnmatchcase(name, pattern) for pattern in patterns)}
    for name, value in configuration.variables.items():
        if value is not None:
            found[name] = value
        elif "*" in name or "?" in name:
            found |= {key: environ[key] for key in environ if fnmatchcase(key, name)}
        elif name in environ:
            found[name] = environ[name]
        else:
            raise InvalidInput(f"the variable `{name}` is to be passed on to the run, but is not set here",
                               hint=f"set it, or give a value: `-V {name}=VALUE`", code="variable_not_set")  # fmt: skip
    return found


def recorded(variables: Mapping[str, str]) -> dict[str, str | None]:
    """Return what a record may hold of ``variables``: of what looks like a secret the name alone."""
    return {name: None if perhaps_secret(name, variables[name]) else variables[name] for name in sorted(variables)}


def job_variables(
    record: RunRecord, prepared: Prepared, outputs: Path, of_run: Mapping[str, str], environ: Mapping[str, str]
) -> dict[str, str]:
    """Return the whole environment of the job, in this order, the later ones winning: what is inherited, the environment's
    variables, the run's, Wardian's own.

    Output is unbuffered (``PYTHONUNBUFFERED``), so a log shows what happened when it happened. A run's variable of that name with
    an empty value undoes this, and what ``environment_variables`` sets.

    Source:   semantics §6
    """
    variables = {"PYTHONUNBUFFERED": "1", **environment_variables(prepared, environ)}
    variables |= of_run
    variables |= {input_variable(name): str(path) for name, path in record.configuration.inputs.items()}
    return variables | {
        "WARDIAN_RUN_ID": record.id,
        "WARDIAN_EXPERIMENT": record.configuration.experiment,
        "WARDIAN_OUTPUT_DIR": str(outputs),
    }


def environment_variables(prepared: Prepared, environ: Mapping[str, str]) -> dict[str, str]:
    """Return what every process in an environment finds: what is inherited, then the environment's variables, its own first on PATH.

    The user's site-packages (``PYTHONNOUSERSITE``) are no part of the environment; where it is read-only, no byte code is written
    (``PYTHONDONTWRITEBYTECODE``).

    Source:   semantics §6
    """
    variables = {name: value for name, value in environ.items() if _INHERITED.fullmatch(name)}
    variables["PYTHONNOUSERSITE"] = "1"
    if prepared.prefix is not None:
        variables["PYTHONDONTWRITEBYTECODE"] = "1"
    variables |= prepared.variables
    entries = [*map(str, prepared.path_entries), *prepared.variables.get("PATH", SYSTEM_PATH).split(":")]
    variables["PATH"] = ":".join(dict.fromkeys(entries))  # an image's own PATH names its environment already
    return variables
