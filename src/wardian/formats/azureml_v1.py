"""Azure ML's environment as SDK v1 saves it: a JSON with two files beside it, or the JSON alone. Read and written."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from wardian.definition.environment import Environment, PythonSection, SparkSection
from wardian.definition.local_path import checked_path
from wardian.definition.secret_text import looks_secret
from wardian.definition.values import FrozenMap
from wardian.errors import InvalidDefinition
from wardian.formats.azureml import NO_CONDA, WHY_SECRET, AzurePart, is_empty, kept_text, refuse_edit, shown
from wardian.formats.azureml_r import note_r
from wardian.formats.azureml_v1_docker import read_docker
from wardian.formats.azureml_writing import CONDA_FILE, JSON_FILE, write_v1
from wardian.formats.faults import Faults
from wardian.formats.ledger import Ledger
from wardian.formats.losses import refuse_ledger
from wardian.formats.read_definition import ReadDefinition, places_in
from wardian.formats.source_text import plain_text
from wardian.formats.yaml_fields import Fields
from wardian.formats.yaml_text import YamlMapping, YamlScalar, YamlSequence, compose

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from wardian.definition.docker_section import DockerSection
    from wardian.definition.environment import LocalSource
    from wardian.formats.azureml import Written
    from wardian.formats.conda_yaml import CondaPart
    from wardian.formats.yaml_text import YamlNode

__all__ = ["FORMAT", "add", "export", "read", "remove", "write"]

FORMAT = "azureml-v1"
_EXAMPLE = ("EXAMPLE_ENV_VAR", "EXAMPLE_VALUE")  # what every new object of the SDK holds
_DEFAULT_INTERPRETER = "python"
_UNNAMED = "default-environment"
_NOT_KEPT: dict[str, tuple[str, str | None]] = {
    "version": ("versions are numbered here", "`wardian env create NAME -f FILE --version V` asks for this one"),
    "assetId": ("it is a place in Azure's service", None),
    "inferencingStackVersion": ("Azure's inference server is not built in", "name a server among the packages: `azureml-inference-server-http`"),
}  # fmt: skip
_KNOWN = ("name", "python", "environmentVariables", "docker", "spark", "databricks")
_SURROGATES = re.compile(r"\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")


def read(
    text: str, *, file: str, base: Path | None, local: Sequence[LocalSource] = (), extras: Sequence[str] = (), groups: Sequence[str] = (),
) -> ReadDefinition:  # fmt: skip
    """Return the environment that ``text`` states, with the files that the SDK saves beside an `azureml_environment.json`.

    Those two count for a file of that name alone. A ``BaseDockerfile`` that an earlier save left is not read, the SDK's
    examples and templates are left out, secrets are stripped: each is a loss. What a version keeps is Wardian's own YAML.

    Raises:   InvalidDefinition: every fault of the files, with line and field.
    Source:   azureml.md a.1-a.5, b.1, i.10
    """
    faults = Faults(file)
    faults.refuse_extras(extras, groups, "an Azure ML environment")
    root = compose(plain_json(text), faults)
    if not isinstance(root, YamlMapping):
        if root is not None:
            faults.add("wrong_type", f"an environment is a mapping, not {root.kind}", line=root.line)
        raise InvalidDefinition(faults.found)
    return read_node(root, faults=faults, base=base, local=local)


def read_node(
    root: YamlMapping, *, faults: Faults, base: Path | None, local: Sequence[LocalSource] = (), what: str = "an Azure ML environment (v1)",
) -> ReadDefinition:  # fmt: skip
    """Return the environment that the mapping ``root`` states.

    Args:     what: the file's format for people.
    Raises:   InvalidDefinition: every fault, if there is one in ``faults``.
    """
    return _SavedEnvironment(root, faults, base, local, what).definition()


def write(env: Environment) -> str:
    """Return ``env`` as the JSON alone, without a loss.

    Raises:   InvalidInput: ``not_expressible``.
    """
    return refuse_ledger(export(env), "an Azure ML environment (v1)")


def export(env: Environment) -> Written:
    """Return ``env`` as the directory that the SDK loads, with what it cannot say.

    Raises:   InvalidInput: ``not_expressible``: nothing would be left of it.
    """
    return write_v1(env)


def add(_text: str, _requirements: Sequence[str], *, manager: str) -> str:  # noqa: ARG001 - as every format has it
    """Raise: see `refuse_edit`."""
    raise refuse_edit()


def remove(_text: str, _names: Sequence[str]) -> str:
    """Raise: see `refuse_edit`."""
    raise refuse_edit()


class _SavedEnvironment:
    """One environment while it is read."""

    def __init__(self, root: YamlMapping, faults: Faults, base: Path | None, local: Sequence[LocalSource], what: str) -> None:
        lowered = lower_first(root)
        assert isinstance(lowered, YamlMapping)  # noqa: S101 - a mapping stays one
        self._root, self._faults, self._what = lowered, faults, what
        self._ledger = Ledger(faults.file, prefix=faults.prefix)
        self._places: dict[str, tuple[int | None, str]] = {}
        self._fields = Fields(self._root, "", faults, self._places)
        self._conda = AzurePart(faults, self._ledger, base, local)
        in_its_directory = base is not None and faults.file.replace("\\", "/").rpartition("/")[2] == JSON_FILE
        self._directory = base if in_its_directory else None
        self._base = base

    def definition(self) -> ReadDefinition:
        fields, faults, ledger = self._fields, self._faults, self._ledger
        self._note_what_is_not_kept()
        name = fields.text("name", as_="name")
        if name == _UNNAMED:
            ledger.note(
                "dropped", "name", "it is the name that the SDK gives to every environment", line=self._places["name"][0]
            )
            name = None
        variables = self._variables()
        docker = read_docker(fields, ledger, self._base, in_its_directory=self._directory is not None)
        part, python = self._python(docker)
        spark = self._spark()
        with faults.wrap(places=self._places):
            environment = Environment(name, python, docker, spark, variables={**part.environment.variables, **variables})
        faults.raise_if_any()
        kept = kept_text(environment, self._what, faults.file, ledger.losses)
        # never alone: what lies beside it counts, or not, by the file's name
        places = {**part.places, **places_in(faults.file, self._places, prefix=faults.prefix)}
        return ReadDefinition(environment, "wardian", kept, part.sources, False, faults.warnings, ledger.losses, places)

    # -- parts -----------------------------------------------------------------------------------------------------

    def _note_what_is_not_kept(self) -> None:
        for key, node in self._root.entries:
            if key.value in _KNOWN or is_empty(node):
                continue
            if key.value == "r":
                note_r(node, self._ledger, key.line)
                continue
            why, hint = _NOT_KEPT.get(key.value, ("nothing is known of it here", None))
            self._ledger.note("dropped", key.value, why, hint=hint, value=shown(node), line=key.line)
        databricks = self._fields.table("databricks")
        for key, node in databricks.node.entries if databricks else ():
            if not is_empty(node):
                self._ledger.note("dropped", f"databricks.{key.value}", "nothing runs on Databricks here",
                                  hint="packages of PyPI go into a conda file, jars into `spark: {packages: […]}`", value=shown(node), line=key.line)  # fmt: skip

    def _variables(self) -> dict[str, str]:
        found = self._fields.strings("environmentVariables", as_="variables")
        for key, value in tuple(found.items()):
            line, field = self._places[f"variables.{key}"]
            if (key, value) == _EXAMPLE:
                self._ledger.note(
                    "dropped", field, "it is the example that the SDK writes into every environment", value=value, line=line
                )
                del found[key]
            elif looks_secret(key, value):
                self._ledger.note("stripped", field, WHY_SECRET,
                                  hint=f"pass it on when something runs: `-V {key}`", line=line)  # fmt: skip
                del found[key]
        return found

    def _python(self, docker: DockerSection) -> tuple[CondaPart, PythonSection]:
        fields = self._fields.table("python", as_="python")
        if fields is None:
            fields = Fields(YamlMapping((), self._root.line, 0, 0, flow=True), "python", self._faults, self._places)
        user = self._flag(fields, "userManagedDependencies")
        interpreter = fields.text("interpreterPath", as_="python.interpreter")
        self._note_unread(fields)
        part = self._dependencies(fields)
        python = part.environment.python
        if not user and part is NO_CONDA and (docker.base_image is not None or docker.has_steps):
            self._ledger.note("changed", "python.userManagedDependencies", "nothing is to be installed: what is in the image is used",
                              line=fields.node.line)  # fmt: skip
            user = True
        if not user:
            if interpreter not in (None, _DEFAULT_INTERPRETER):
                self._ledger.note("dropped", "python.interpreterPath", "only a user-managed environment names its interpreter", value=interpreter or "",
                                  line=self._places["python.interpreter"][0])  # fmt: skip
            return part, python
        if _is_template(part):
            self._ledger.note("dropped", "python.condaDependencies", "it is the SDK's template, and in a user-managed environment nobody installs it", line=fields.node.line,
                              value=", ".join((*python.conda, *python.pip)))  # fmt: skip
            part, python = NO_CONDA, PythonSection()
        return part, PythonSection("user", interpreter=None if interpreter == _DEFAULT_INTERPRETER else interpreter, channels=python.channels,
                                   conda=python.conda, pip=python.pip, pip_options=python.pip_options, constraints=python.constraints)  # fmt: skip

    def _flag(self, fields: Fields, key: str) -> bool:
        text = fields.text(key) or "false"
        if text.lower() not in ("true", "false"):
            fields.wrong_type(fields.node.find(key) or fields.node, fields.field_path(key), "true or false")
        return text.lower() == "true"

    def _note_unread(self, fields: Fields) -> None:
        for key, node in fields.node.entries:
            if key.value == "baseCondaEnvironment" and not is_empty(node):
                self._ledger.note("dropped", "python.baseCondaEnvironment", "an environment is installed whole, not into one of its image",
                                  hint="list what that one holds", value=shown(node), line=key.line)  # fmt: skip
            elif key.value not in (
                "userManagedDependencies", "interpreterPath", "condaDependencies", "condaDependenciesFile", "baseCondaEnvironment"
            ) and not is_empty(node):  # fmt: skip
                self._ledger.note(
                    "dropped", fields.field_path(key.value), "nothing is known of it here", value=shown(node), line=key.line
                )

    def _dependencies(self, fields: Fields) -> CondaPart:
        """Return the conda dependencies: those of the file in the directory, of the JSON, or of the file that it names."""
        node = fields.node.find("condaDependencies")
        named = fields.text("condaDependenciesFile", as_="python.condaDependenciesFile")
        beside = self._faults.file.rpartition("/")[0]

        def from_file(path: str, line: int | None) -> CondaPart:
            assert self._base is not None  # noqa: S101 - asked for by the callers
            with self._faults.wrap(line, "python"):
                path = checked_path(path).removeprefix("./")
                return self._conda.file("python", self._base / path, f"{beside}/{path}" if beside else path)
            return NO_CONDA

        if self._directory is not None and (self._directory / CONDA_FILE).is_file():
            if not is_empty(node):
                self._ledger.note(
                    "dropped", "python.condaDependencies", f"{CONDA_FILE} beside it says it anew", line=fields.node.line
                )
            return from_file(CONDA_FILE, fields.node.line)
        if isinstance(node, YamlMapping) and not is_empty(node):
            return self._conda.inline(node, "python.condaDependencies")
        if node is not None and not is_empty(node):
            fields.wrong_type(node, "python.condaDependencies", "a mapping")
        if named is not None and self._base is not None:
            return from_file(named, self._places["python.condaDependenciesFile"][0])
        return NO_CONDA

    def _spark(self) -> SparkSection:
        fields = self._fields.table("spark")
        if fields is None:
            return SparkSection()
        if (fields.text("precachePackages") or "true").lower() == "false":
            self._ledger.note(
                "dropped",
                "spark.precachePackages",
                "jars are always part of what is installed",
                line=(fields.node.find("precachePackages") or fields.node).line,
            )
        packages: list[str] = []
        for item, path in fields.items("packages", example="group:artifact:version"):
            if not isinstance(item, YamlMapping):
                fields.wrong_type(item, path, "a mapping of `group`, `artifact` and `version`")
                continue
            parts = [
                value.value if isinstance(value := item.find(key), YamlScalar) else ""
                for key in ("group", "artifact", "version")
            ]
            self._places[f"spark.packages[{len(packages)}]"] = (item.line, path)
            packages.append(":".join(parts))
        return SparkSection(tuple(packages), fields.texts("repositories", example="https://…", as_="spark.repositories"))


_AS_WRITTEN = ("environmentVariables", "condaDependencies", "r", "dataReferences", "data", "outputData")


def lower_first(node: YamlNode) -> YamlNode:
    """Return ``node`` with the first letters of its keys in lower case: the service spells `Docker` what the SDK spells `docker`.

    Names of variables, and what is written as conda has it, stay.
    """
    if isinstance(node, YamlSequence):
        return replace(node, items=tuple(lower_first(item) for item in node.items))
    if not isinstance(node, YamlMapping):
        return node
    entries: dict[str, tuple[YamlScalar, YamlNode]] = {}
    for key, value in node.entries:
        name = key.value[:1].lower() + key.value[1:]
        entries[name] = (replace(key, value=name), value if name in _AS_WRITTEN else lower_first(value))
    return replace(node, entries=tuple(entries.values()))


def _is_template(part: CondaPart) -> bool:
    """Whether these are the packages of the SDK's new objects: Python and `azureml-defaults`."""
    python = part.environment.python
    names = [re.split(r"[^A-Za-z0-9_.-]", text, maxsplit=1)[0] for text in (*python.conda, *python.pip)]
    return names == ["python", "azureml-defaults"] and not python.pip_options and FrozenMap() == part.environment.variables


def plain_json(text: str) -> str:
    """Return ``text`` as readers of YAML take it: JSON escapes characters beyond the first plane as two."""
    return _SURROGATES.sub(_joined, plain_text(text))


def _joined(match: re.Match[str]) -> str:
    high, low = int(match[1], 16), int(match[2], 16)
    return chr(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))
