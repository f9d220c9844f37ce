"""The environment of an MLflow model: the directory that MLflow writes for each model."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from wardian.definition.secret_text import looks_secret
from wardian.definition.url_secret import holds_secret
from wardian.errors import InvalidDefinition, InvalidInput
from wardian.formats import conda_yaml, requirements
from wardian.formats.azureml import without_secrets
from wardian.formats.faults import Faults
from wardian.formats.ledger import Ledger
from wardian.formats.source_text import plain_text, read_source
from wardian.formats.yaml_fields import Fields
from wardian.formats.yaml_text import YamlMapping, YamlScalar, compose

if TYPE_CHECKING:
    from pathlib import Path

    from wardian.formats.read_definition import ReadDefinition

MODEL = "MLmodel"
_PYTHON_ENV = "python_env.yaml"
_CONDA = "conda.yaml"
_REQUIREMENTS = "requirements.txt"


def read_model(directory: Path) -> ReadDefinition:
    """Return the environment that the MLflow model in ``directory`` was saved with; it is kept as Wardian's own YAML.

    Taken is what MLflow takes by default: ``python_env.yaml`` with the requirements and constraints that it names; without one
    ``conda.yaml``, else ``requirements.txt``. Which file it was is a warning, so that it is said; what MLflow would install and
    Wardian does not is a loss.

    Raises:   InvalidDefinition: all faults of the files.  InvalidInput: code ``no_model_environment``.
    Source:   MLflow's model format; ``mlflow.utils.virtualenv``
    """
    faults = Faults(str(directory / MODEL))
    named = environment_files(directory, faults)
    ledger = Ledger(str(directory / MODEL))
    if (directory / named["virtualenv"]).is_file():
        taken, read = named["virtualenv"], _read_python_env(directory / named["virtualenv"], ledger)
        _note_conda(directory / named["conda"], faults)
    elif (directory / named["conda"]).is_file():
        taken = named["conda"]
        read = conda_yaml.read(read_source(directory / taken), file=str(directory / taken), base=directory)
    elif (directory / _REQUIREMENTS).is_file():
        taken = _REQUIREMENTS
        read = requirements.read(read_source(directory / taken), file=str(directory / taken), base=directory)
        ledger.note(
            "added", "python", "the model does not say which Python it was saved with", hint="`--python X.Y` asks for one"
        )
    else:
        raise InvalidInput(f"the MLflow model in `{directory}` was saved without an environment", code="no_model_environment",
                           hint=f"it has none of {', '.join([*named.values(), _REQUIREMENTS])}")  # fmt: skip
    faults.warn("model_environment", f"the environment is that of {taken}, which MLflow takes, too")
    return kept_as_wardian(replace(read, warnings=(*faults.warnings, *read.warnings), losses=(*read.losses, *ledger.losses)))


def kept_as_wardian(read: ReadDefinition) -> ReadDefinition:
    """Return ``read`` with Wardian's YAML for its text: what it was read from are several files."""
    from wardian.formats.wardian_yaml import FORMAT, write

    return replace(read, format=FORMAT, text=write(read.environment), self_contained=False)


def environment_files(directory: Path, faults: Faults) -> dict[str, str]:
    """Return the names of the environment's files: those in the model's ``python_function`` flavor, else the usual ones.

    Raises:   InvalidDefinition: not a model's file, or a name that leads out of the directory.
    """
    named = {"virtualenv": _PYTHON_ENV, "conda": _CONDA}
    root = model_mapping(plain_text(read_source(directory / MODEL)), faults)
    flavors = root.find("flavors")
    function = flavors.find("python_function") if isinstance(flavors, YamlMapping) else None
    env = function.find("env") if isinstance(function, YamlMapping) else None
    if isinstance(env, YamlScalar) and env.value:  # before MLflow 2
        env_names = {"conda": env}
    elif isinstance(env, YamlMapping):
        env_names = {key: node for key in named if isinstance(node := env.find(key), YamlScalar)}
    else:
        env_names = {}
    for key, node in env_names.items():
        if leads_out(node.value):
            faults.add(
                "bad_path",
                f"`{node.value[:120]}` leads out of the model's directory",
                line=node.line,
                field=f"flavors.python_function.env.{key}",
            )
        named[key] = node.value
    faults.raise_if_any()
    return named


def leads_out(path: str) -> bool:
    """Return whether a path in a model's file may lead out of the model's directory."""
    return path.startswith("/") or ".." in path.split("/") or "\\" in path or not path.isprintable()


def _read_python_env(path: Path, ledger: Ledger) -> ReadDefinition:
    faults = Faults(str(path))
    fields = Fields(model_mapping(plain_text(read_source(path)), faults), "", faults, {})
    fields.check_keys(("python", "build_dependencies", "dependencies"), {})
    python = fields.text("python") or ""
    for item, field in fields.items("build_dependencies", example="setuptools"):
        value = item.value if isinstance(item, YamlScalar) else ""
        value = without_secrets(value) if looks_secret("", value) or holds_secret(value) else value
        ledger.note("dropped", field, f"`{value[:80]}` builds packages: Wardian builds in an environment of its own", value=value,
                    hint="add it to the requirements if the model imports it", line=item.line, file=str(path))  # fmt: skip
    lines: dict[int, str] = {}
    for item, field in fields.items("dependencies", example="-r requirements.txt"):
        if isinstance(item, YamlScalar):
            lines[item.line] = item.value
        else:
            fields.wrong_type(item, field, "text")
    faults.raise_if_any()
    text = "".join(f"{lines.get(number, '')}\n" for number in range(1, max(lines, default=0) + 1))  # each at its own line
    read = requirements.read(text, file=str(path), base=path.parent)
    with faults.wrap(field="python"):
        read = replace(read, environment=read.environment.with_python(requires_python=python))
    faults.raise_if_any()
    return read


def _note_conda(path: Path, faults: Faults) -> None:
    """Warn of conda packages beside a ``python_env.yaml``: MLflow installs them only if it is told to use conda."""
    from wardian.definition.match_spec import MatchSpec

    if not path.is_file():
        return
    try:
        environment = conda_yaml.read(read_source(path), file=str(path), base=path.parent).environment
    except (InvalidDefinition, InvalidInput):
        return  # it is not taken
    names = sorted({MatchSpec.parse(text).name for text in environment.python.conda} - {"python", "pip"})
    if names:
        faults.warn("conda_packages", f"{path.name} has conda packages that are not taken: {', '.join(names)}",
                    hint=f"`-f {path}` takes that file; MLflow does with `--env-manager conda`")  # fmt: skip


def model_mapping(text: str, faults: Faults) -> YamlMapping:
    """Return the mapping that ``text``, one of a model's files, is.

    Raises:   InvalidDefinition: it is none.
    """
    root = compose(text, faults)
    if not isinstance(root, YamlMapping):
        if not faults:
            faults.add("wrong_type", "this is no YAML mapping", line=1)
        raise InvalidDefinition(faults.found)
    return root
