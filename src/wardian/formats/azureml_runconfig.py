"""Azure ML's run configuration (SDK v1), a file below `.azureml/` or JSON: read as a run to be, or for its environment."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from wardian.definition.reference import NAME, VERSION
from wardian.errors import InvalidDefinition, InvalidInput
from wardian.formats import azureml_v1
from wardian.formats.azureml import is_empty, refuse_edit, shown
from wardian.formats.azureml_job import seconds, with_rest
from wardian.formats.azureml_job_keys import SHELL
from wardian.formats.azureml_job_parts import (
    find_local,
    given_path,
    is_remote,
    no_reference,
    read_variables,
    reference_of,
    refuse_reference,
)
from wardian.formats.azureml_runconfig_keys import SPARK_TAKEN, USUAL, WHY
from wardian.formats.faults import Faults
from wardian.formats.job import NOTHING_GIVEN, Given, ReadJob
from wardian.formats.ledger import Ledger
from wardian.formats.source_text import read_source
from wardian.formats.yaml_fields import Fields
from wardian.formats.yaml_text import YamlMapping, YamlScalar, YamlSequence, compose

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wardian.definition.environment import Environment, LocalSource
    from wardian.formats.read_definition import ReadDefinition
    from wardian.formats.yaml_text import YamlNode

__all__ = ["FORMAT", "add", "read", "read_job", "remove", "write"]

FORMAT = "azureml-runconfig"
DIRECTORIES = (".azureml", "aml_config")  # below the project's, whose name counts for nothing
_WHAT = "a run configuration of Azure ML"
_EXAMPLE = {"EXAMPLE_ENV_VAR": "EXAMPLE_VALUE"}
_READ = (
    "script",
    "arguments",
    "command",
    "framework",
    "target",
    "environment",
    "environmentVariables",
    "maxRunDurationSeconds",
)
_DATA = ("dataReferences", "data", "outputData", "datacaches")
_DATA_IN_ARGUMENT = re.compile(r"\$AZUREML_DATAREFERENCE_(\w+)|Dataset(?:Consumption|Output)Config:(\w+)", re.ASCII)
_SPARK = "PySpark"


def read_job(text: str, *, file: str, given: Given = NOTHING_GIVEN) -> ReadJob:
    """Return the run that the run configuration ``text`` states. The source directory is the project's: that of the file, or the one above it for
    a file in ``.azureml``.

    Raises:   InvalidDefinition: every fault of the file, with line and field.
    Source:   azureml.md d
    """
    faults = Faults(file)
    root = _root(text, faults)
    project = _project(Path(file).absolute())
    return _RunConfiguration(root, faults, project, given).job()


def read(
    text: str, *, file: str, base: Path | None, local: Sequence[LocalSource] = (), extras: Sequence[str] = (), groups: Sequence[str] = (),
) -> ReadDefinition:  # fmt: skip
    """Return the environment alone that the run configuration ``text`` states; the rest, which is a run's, is one loss.

    Raises:   InvalidDefinition: every fault of the environment; or the file only names one.
    """
    faults = Faults(file)
    faults.refuse_extras(extras, groups, _WHAT)
    root = _root(text, faults)
    if base is not None and Path(file).parent.name in DIRECTORIES:
        base = base.parent
    found, reference = _environment(root, faults, base, local)
    node = root.find("environment")
    if reference is not None and node is not None:
        raise refuse_reference(f"azureml:{reference}", node.line, file)
    if found is None and not faults:
        faults.add("missing_key", "the run configuration has no `environment`", line=root.line)
    faults.raise_if_any()
    assert found is not None  # noqa: S101 - or there is a fault
    usual = tuple(key.value for key, value in root.entries if not list(_unusual(value, key.value, key.line)))
    return with_rest(found, root, ("environment", *usual), file)


def write(_env: Environment) -> str:
    """Raise: a run configuration is written of a run."""
    raise InvalidInput("a run configuration is written of a run, not of an environment", code="not_expressible",
                       hint="`wardian runs export ID --to azureml-runconfig -o DIR`")  # fmt: skip


def add(_text: str, _requirements: Sequence[str], *, manager: str) -> str:  # noqa: ARG001 - as every format has it
    """Raise: see `refuse_edit`."""
    raise refuse_edit()


def remove(_text: str, _names: Sequence[str]) -> str:
    """Raise: see `refuse_edit`."""
    raise refuse_edit()


def _root(text: str, faults: Faults) -> YamlMapping:
    root = compose(azureml_v1.plain_json(text), faults)
    if not isinstance(root, YamlMapping):
        if root is not None:
            faults.add("wrong_type", f"a run configuration is a mapping, not {root.kind}", line=root.line)
        raise InvalidDefinition(faults.found)
    lowered = azureml_v1.lower_first(root)
    assert isinstance(lowered, YamlMapping)  # noqa: S101 - a mapping stays one
    return lowered


def _project(place: Path) -> Path:
    return place.parent.parent if place.parent.name in DIRECTORIES else place.parent


def _environment(
    root: YamlMapping, faults: Faults, base: Path | None, local: Sequence[LocalSource] = ()
) -> tuple[ReadDefinition | None, str | None]:
    """Return the environment that the file states, or the reference to one; neither: there is none, or it has faults."""
    node = root.find("environment")
    if is_empty(node) or node is None:
        return None, None
    inner = Faults(faults.file, prefix="environment.")
    if isinstance(node, YamlScalar):
        return _environment_file(node, faults, base), None
    if not isinstance(node, YamlMapping):
        faults.add(
            "wrong_type", "this must be a mapping or the path of a file, not a list", line=node.line, field="environment"
        )
        return None, None
    said = {key.value for key, value in node.entries if not is_empty(value)}
    if said <= {"name", "version", "assetId"}:
        name, version = node.find("name"), node.find("version")
        text = name.value if isinstance(name, YamlScalar) else ""
        number = version.value if isinstance(version, YamlScalar) and not version.is_null else ""
        reference = f"{text}:{number}" if number else text
        if not NAME.fullmatch(text) or (number and not VERSION.fullmatch(number)):
            reference = reference_of(f"azureml:{reference}") or ""
        if not reference:
            no_reference(f"{text}:{number}", node.line, faults)
            return None, None
        return None, reference
    try:
        return azureml_v1.read_node(node, faults=inner, base=base, local=local, what=_WHAT), None
    except InvalidDefinition:
        faults.take(inner)
        return None, None


def _environment_file(node: YamlScalar, faults: Faults, base: Path | None) -> ReadDefinition | None:
    if is_remote(node.value):
        no_reference(node.value, node.line, faults)
        return None
    place = find_local(node.value, base, faults, node.line, "environment", "environment")
    if place is None or base is None:
        return None
    with faults.wrap(node.line, "environment"):
        inner = Faults(node.value)
        root = compose(azureml_v1.plain_json(read_source(place, file=node.value)), inner)
        if not isinstance(root, YamlMapping):
            inner.add("wrong_type", "an environment is a mapping", line=1)
            raise InvalidDefinition(inner.found)
        return azureml_v1.read_node(root, faults=inner, base=base, what=_WHAT)
    return None


class _RunConfiguration:
    """One file while it is read."""

    def __init__(self, root: YamlMapping, faults: Faults, project: Path, given: Given) -> None:
        self._root, self._faults, self._project, self._given = root, faults, project, given
        self._ledger = Ledger(faults.file)
        self._places: dict[str, tuple[int | None, str]] = {}
        self._fields = Fields(root, "", faults, self._places)

    def job(self) -> ReadJob:
        fields, faults, ledger, given = self._fields, self._faults, self._ledger, self._given
        self._note_the_rest()
        kind, words = self._command()
        variables = read_variables(fields, "environmentVariables", faults, ledger, given.variables, example=_EXAMPLE)
        environment, reference = None, None
        if not given.environment:
            environment, reference = _environment(self._root, faults, self._project)
            if environment is None and reference is None and not faults:
                faults.add(
                    "missing_key",
                    "the run configuration has no `environment`",
                    line=self._root.line,
                    hint="give one with `-e REF`",
                )
        for name in (name for name, path in given.inputs.items() if not path):
            faults.add("missing_key", f"the input `{name}` is given without a path", field=f"data.{name}")
        text = fields.text("maxRunDurationSeconds", as_="timeout")
        timeout_s = None if text is None else seconds(text, *self._places["timeout"], faults)
        docker = fields.table("docker")
        shm = docker.text("shmSize") if docker else None
        self._target()
        options = self._settings() if self._is_spark else {}
        if shm and shm not in USUAL["docker.shmSize"]:
            if self._is_spark:
                ledger.note("dropped", "docker.shmSize", "a job for Spark runs in no container", value=shm)
            else:
                options["shm"] = shm
        faults.raise_if_any()
        node = self._root.find("environment")
        if environment is not None:
            ledger.take(environment.losses)
        return ReadJob(
            FORMAT, faults.file, kind, words, None if given.source else self._project, environment, reference, f"azureml:{reference}" if reference else "",
            node.line if node else None, {name: given_path(path) for name, path in given.inputs.items() if path}, (), dict(variables), None,
            timeout_s, options,
            (*faults.warnings, *(environment.warnings if environment else ())), ledger.losses,
            "spark" if self._is_spark else None,
        )  # fmt: skip

    def _note_the_rest(self) -> None:
        for key, node in self._root.entries:
            if key.value in _READ or (key.value == "spark" and self._is_spark):
                continue
            if key.value in _DATA:
                self._note_data(key.value, node)
                continue
            for path, value, line in _unusual(node, key.value, key.line):
                if path == "docker.shmSize" or (path == "docker.useDocker" and self._given.target):
                    continue
                why, hint = WHY.get(path) or WHY.get(key.value) or ("nothing is known of it here", None)
                self._ledger.note("dropped", path, why, hint=hint, value=value, line=line)

    def _note_data(self, key: str, node: YamlNode) -> None:
        for name, value in node.entries if isinstance(node, YamlMapping) else ():
            if name.value in self._given.inputs:
                continue
            hint = f"get it, and name it: `--input {name.value}=PATH`" if key != "outputData" else "write below `outputs/`"
            self._ledger.note(
                "dropped",
                f"{key}.{name.value}",
                "it is a place in Azure's storage",
                hint=hint,
                value=shown(value),
                line=name.line,
            )
        if isinstance(node, YamlSequence) and node.items:
            self._ledger.note("dropped", key, "it is a place in Azure's storage", value=shown(node), line=node.line)

    def _target(self) -> None:
        node = self._root.find("target")
        if node is None or is_empty(node) or self._given.target:
            return
        if (name := shown(node)) != "local":
            self._ledger.note(
                "changed",
                "target",
                "its driver runs on this machine" if self._is_spark else "it runs on this machine",
                hint="`--option master=spark://HOST:7077` names a cluster"
                if self._is_spark
                else "`-t TARGET` names another place",
                value=name,
                line=node.line,
            )

    def _command(self) -> tuple[str, tuple[str, ...]]:
        fields, faults = self._fields, self._faults
        node = self._root.find("command")
        script = fields.text("script", as_="script")
        arguments = self._words("arguments")
        framework = fields.text("framework", as_="framework") or "Python"
        if framework not in ("Python", "R") and not self._is_spark:
            why = "it runs without a Spark cluster" if framework == _SPARK else "it runs in one process"
            self._ledger.note("changed", "framework", why, value=framework, line=self._places["framework"][0])
        if isinstance(node, YamlSequence) and node.items:
            return self._with_data("program", (*self._words("command"), *arguments))
        command = fields.text("command") if isinstance(node, YamlScalar) else None
        if command:
            return self._with_data("program", (*SHELL, command), is_line=True)
        if script is None:
            faults.add(
                "missing_key", "there is neither `script` nor `command`", line=self._root.line, hint="write `script: train.py`"
            )
            return "script", ()
        line, path = self._places["script"]
        if script.startswith("/") or ".." in script.split("/"):
            faults.add(
                "script_outside_source",
                f"the script `{script[:120]}` is outside of the project's directory",
                line=line,
                field=path,
            )
        if framework == "R":
            return self._with_data("program", ("Rscript", script, *arguments))
        return self._with_data("script", (script.removeprefix("./"), *arguments))

    @property
    def _is_spark(self) -> bool:
        """Whether it is a job for Spark, and nobody said beside it where it runs."""
        node = self._root.find("framework")
        return not self._given.target and isinstance(node, YamlScalar) and node.value == _SPARK

    def _settings(self) -> dict[str, str]:
        """Return Spark's settings, as the options of a job for Spark."""
        found: dict[str, str] = {}
        node = self._root.find("spark")
        for path, value, line in _unusual(node, "spark", self._root.line) if node is not None else ():
            name = path.removeprefix("spark.configuration.")
            if name in SPARK_TAKEN or not path.startswith("spark.configuration.") or not name.startswith("spark."):
                self._ledger.note(
                    "dropped", path, "Spark is started without it", hint=SPARK_TAKEN.get(name), value=value, line=line
                )
            else:
                found[name] = value
        return found

    def _words(self, key: str) -> tuple[str, ...]:
        """Return the words of the list ``key``; an empty text is one, too."""
        node, found = self._root.find(key), []
        for i, item in enumerate(node.items if isinstance(node, YamlSequence) else ()):
            if isinstance(item, YamlScalar) and not item.is_null:
                found.append(item.value)
            else:
                self._fields.wrong_type(item, f"{key}[{i}]", "text", hint='an empty text is written `""`')
        if not is_empty(node) and node is not None and not isinstance(node, YamlSequence):
            self._fields.wrong_type(node, key, "a list", hint=f"write it as a list: `{key}: [--epochs, 3]`")
        return tuple(found)

    def _with_data(self, kind: str, words: tuple[str, ...], *, is_line: bool = False) -> tuple[str, tuple[str, ...]]:
        """Return the command with inputs in the places of data in Azure; a shell fills them in, as their paths are known there alone."""
        names = {match[1] or match[2] for word in words for match in _DATA_IN_ARGUMENT.finditer(word)}
        if not names:
            return kind, words
        for name in sorted(names - set(self._given.inputs)):
            self._faults.add("remote_input", f"the arguments hold the data `{name[:80]}`, which is in Azure's storage", field="arguments",
                             line=next((key.line for key, _ in self._root.entries if key.value == "arguments"), None),
                             hint=f"get it, and name it: `--input {name}=PATH`")  # fmt: skip
        if is_line:
            line = _DATA_IN_ARGUMENT.sub(_input_variable, words[-1])
        else:
            line = " ".join(map(_shell_word, ("python", *words) if kind == "script" else words))
        return "program", (*SHELL, line)


def _input_variable(match: re.Match[str]) -> str:
    return f'"${{WARDIAN_INPUT_{(match[1] or match[2]).upper()}}}"'


def _shell_word(text: str) -> str:
    """Return ``text`` as one word for a shell, data in Azure as the variables of inputs."""
    parts, last = [], 0
    for match in _DATA_IN_ARGUMENT.finditer(text):
        parts += [shlex.quote(text[last : match.start()])] if match.start() > last else []
        parts.append(_input_variable(match))
        last = match.end()
    return "".join([*parts, shlex.quote(text[last:])] if last < len(text) or not parts else parts)


def _unusual(node: YamlNode, path: str, line: int) -> Iterator[tuple[str, str, int]]:
    """Yield path, value and line of every leaf below ``node`` that says something, and not what the SDK writes anyway."""
    if isinstance(node, YamlMapping):
        for key, value in node.entries:
            yield from _unusual(value, f"{path}.{key.value}", key.line)
    elif not is_empty(node) and (text := shown(node)).lower() not in USUAL.get(path, ()):
        yield path, text, line
