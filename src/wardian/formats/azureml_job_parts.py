"""What the readers of Azure ML's jobs and run configurations share: local paths, variables, references to environments."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from wardian.definition.docker_section import VARIABLE
from wardian.definition.reference import LATEST, NAME, VERSION, azure_hint
from wardian.definition.secret_text import looks_secret
from wardian.errors import Fault, InvalidDefinition
from wardian.formats.azureml import WHY_SECRET, is_empty, shown

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    from wardian.formats.faults import Faults
    from wardian.formats.ledger import Ledger
    from wardian.formats.yaml_fields import Fields
    from wardian.formats.yaml_text import YamlMapping

_REMOTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:|git@")  # two letters and more: one is a drive
_DUMPED = re.compile(r"azureml:(?=\.{1,2}/|/(?!/|subscriptions/))")  # how the SDK writes the path of a file here
_WARDIANS = re.compile(r"WARDIAN_(RUN_ID|EXPERIMENT|OUTPUT_DIR|INPUT_.*)")
_OUTPUTS = ("WARDIAN_OUTPUT_DIR", "outputs")  # what the writers say for Azure ML; here it is so in any case
_SERVICE = re.compile(
    r"(?:azureml:)?(?://registries/[\w.-]+|/subscriptions/.+)?/environments/(?P<name>[\w.-]+)(?:/versions/(?P<version>[\w.-]+)|/labels/(?P<label>[\w.-]+))?",
    re.ASCII,
)
_SHORT = re.compile(r"azureml:(?P<name>[\w.-]+)(?::(?P<version>[\w.-]+)|@(?P<label>[\w.-]+))?", re.ASCII)
_LONGEST = 1000


def is_remote(text: str) -> bool:
    """Whether ``text`` is a place in Azure or on the network rather than a path here."""
    return bool(_REMOTE.match(text)) and not text.startswith("file:") and not _DUMPED.match(text)


def local_path(text: str, base: Path) -> Path:
    """Return the path ``text``, which is relative to ``base``, made absolute; whatever is there."""
    bare = _DUMPED.sub("", text).removeprefix("file:")
    if bare.startswith("///"):
        bare = bare[2:]
    return (base / bare).absolute()


def given_path(text: str) -> Path:
    """Return a path that was said beside the file, made absolute: it is relative to the working directory."""
    return Path(text).expanduser().absolute()


def find_local(text: str, base: Path | None, faults: Faults, line: int | None, field: str, what: str) -> Path | None:
    """Return the path ``text`` of ``what`` if something is there; else None, and a fault."""
    if base is None:
        faults.add("include_without_place", f"`{text[:120]}` cannot be read: this text stands in no directory", line=line, field=field,
                   hint="read the file itself")  # fmt: skip
        return None
    place = local_path(text, base)
    try:
        there = len(text) <= _LONGEST and "\0" not in text and place.exists()
    except OSError:
        there = False
    if not there:
        faults.add("no_such_path", f"there is no {what} `{text[:120]}`", line=line, field=field,
                   hint=f"paths are relative to the file: {base}")  # fmt: skip
        return None
    return place


def read_variables(
    fields: Fields,
    key: str,
    faults: Faults,
    ledger: Ledger,
    given: AbstractSet[str],
    *,
    example: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return the variables of the mapping ``key``; secrets are stripped, and what Wardian itself sets is left out.

    Args:     given: names that are given otherwise: they count, and the file's do not.
              example: what every file of this kind holds and nobody means.
    """
    found: dict[str, str] = {}
    for name, value in fields.strings(key, as_="variables").items():
        line, path = fields.places[f"variables.{name}"]
        if name in given or (name, value) == _OUTPUTS:
            continue
        if (example or {}).get(name) == value:
            ledger.note("dropped", path, "it is the example that the SDK writes into every environment", value=value, line=line)
        elif _WARDIANS.fullmatch(name):
            ledger.note("dropped", path, "Wardian itself sets it for a run", value=value, line=line)
        elif not VARIABLE.fullmatch(name):
            faults.add(
                "bad_variable", f"`{name[:80]}` is not a variable name", line=line, field=path, hint="letters, digits and `_`"
            )
        elif looks_secret(name, value):
            ledger.note(
                "stripped",
                path,
                WHY_SECRET.replace("a definition", "the file of a job"),
                hint=f"pass yours on: `-V {name}`",
                line=line,
            )
        else:
            if "${{" in value:
                ledger.note("changed", path, "nothing is filled in: the value is taken as it is written", value=value, line=line,
                            hint=f"set it in the command: `{name}=${{{{…}}}} python …`")  # fmt: skip
            found[name] = value
    return found


def reference_of(text: str) -> str | None:
    """Return the reference here that a reference of Azure ML's to an environment stands for; None: it is none.

    ``azureml:NAME:VERSION``, ``azureml:NAME@LABEL`` and the longer forms of registries and of Azure's resources.
    """
    match = _SHORT.fullmatch(text) or _SERVICE.fullmatch(text)
    if match is None or not NAME.fullmatch(match["name"]):
        return None
    name, version, label = match["name"], match["version"], match["label"]
    if version is not None and version != LATEST:
        return f"{name}:{version}" if VERSION.fullmatch(version) else None
    return name if label in (None, LATEST) else f"{name}@{label}"


def no_reference(text: str, line: int | None, faults: Faults) -> None:
    """Note that ``text`` is no reference to an environment."""
    faults.add("bad_reference", f"`{text[:120]}` is no environment: neither a file here nor `azureml:NAME:VERSION`", line=line,
               field="environment", hint="give it with `-e REF`, or write it in full below `environment:`")  # fmt: skip


def refuse_reference(text: str, line: int | None, file: str) -> InvalidDefinition:
    """Return the error where a definition is wanted, and the file only names one."""
    fault = Fault("azureml_reference", f"it names the environment `{text[:120]}`, and does not say what is in it", file, line, "environment",
                  azure_hint(text))  # fmt: skip
    return InvalidDefinition([fault])


def note_rest(
    node: YamlMapping, known: tuple[str, ...], why: Mapping[str, tuple[str, str | None]], path: str, ledger: Ledger,
    *, nothing: Mapping[str, tuple[str, ...]] | None = None,
) -> None:  # fmt: skip
    """Note every key of ``node`` but the ``known`` ones as dropped, with what ``why`` says.

    Args:     nothing: key → values, in lower case, that say nothing.
    """
    for key, value in node.entries:
        if key.value in known or is_empty(value):
            continue
        text = shown(value)
        if text.lower() in (nothing or {}).get(key.value, ()):
            continue
        reason, hint = why.get(key.value, ("nothing is known of it here", None))
        ledger.note("dropped", f"{path}.{key.value}" if path else key.value, reason, hint=hint, value=text, line=key.line)
