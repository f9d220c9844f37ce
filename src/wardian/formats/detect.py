"""Which format a file has: by its name, then by its content; what Wardian does not read is named kindly."""

from __future__ import annotations

import re
from itertools import islice
from pathlib import PurePath

from wardian.definition.reference import azure_hint
from wardian.errors import InvalidInput

JOB, RUN_CONFIGURATION = "azureml-job", "azureml-runconfig"
FORMATS = (
    "conda",
    "requirements",
    "pyproject",
    "script",
    "pylock",
    "uv-lock",
    "pixi",
    "pixi-lock",
    "wardian",
    "azureml-v2",
    "azureml-v1",
    JOB,
    RUN_CONFIGURATION,
)
SUFFIXES = (".yml", ".yaml", ".json", ".txt", ".in", ".toml", ".py", ".runconfig")

_WRITE_ONE = (
    "Wardian reads conda's environment.yml, requirements.txt, pyproject.toml, pylock.toml, uv.lock, pixi.toml, pixi.lock, PEP 723 "
    "scripts, environments and jobs of Azure ML, and its own YAML"
)
_BY_NAME: dict[str, tuple[str, str]] = {
    "poetry.lock": ("Poetry's lock file", "use the pyproject.toml beside it"),
    "pdm.lock": ("PDM's lock file", "use the pyproject.toml beside it"),
    "Pipfile": ("a Pipfile", "`pipenv requirements > requirements.txt` writes a file that Wardian reads"),
    "Pipfile.lock": ("Pipenv's lock file", "`pipenv requirements > requirements.txt` writes a file that Wardian reads"),
    "conda-lock.yml": ("conda-lock's lock file", "use the environment.yml that it was made from"),
    "meta.yaml": ("a conda-build recipe", "list what it needs in an environment.yml"),
    "recipe.yaml": ("a rattler-build recipe", "list what it needs in an environment.yml"),
    "setup.py": ("a setuptools script", "state the dependencies in pyproject.toml"),
    "setup.cfg": ("a setuptools configuration", "state the dependencies in pyproject.toml"),
    "Dockerfile": ("a Dockerfile", "`wardian env create NAME --dockerfile FILE` makes an environment of it"),
    "Containerfile": ("a Containerfile", "`wardian env create NAME --dockerfile FILE` makes an environment of it"),
    "MLproject": ("an MLflow project", "use the conda or Python environment file that it names"),
    "python_env.yaml": ("an MLflow Python environment", "name the model's directory: the one that holds MLmodel"),
    "conanfile.txt": ("a Conan recipe", _WRITE_ONE),
}
_SUFFIXES_OF_OTHERS = {
    ".whl": ("a wheel", "put its path into a requirements.txt: `./name.whl`"),
    ".conda": ("a conda package", "name it in an environment.yml by its channel or URL"),
    ".ipynb": ("a notebook", "list what it needs in a requirements.txt or environment.yml"),
    ".tar": ("an archive", _WRITE_ONE),
    ".gz": ("an archive", _WRITE_ONE),
    ".zip": ("an archive", _WRITE_ONE),
}
# top-level keys of YAML files that are not ours: any of the first set (and all of the second) tells
_BY_KEYS: tuple[tuple[frozenset[str], str, str], ...] = (
    (
        frozenset({"condaDependencies"}),
        "the Python section of an Azure ML environment (v1)",
        "write its conda dependencies to an environment.yml",
    ),
    (frozenset({"services"}), "a Docker Compose file", "`wardian env create NAME --image IMAGE` takes the image of a service"),
    (frozenset({"jobs"}), "a workflow of a CI service", _WRITE_ONE),
    (frozenset({"apiVersion", "kind"}), "a Kubernetes manifest", _WRITE_ONE),
    (frozenset({"metadata", "package"}), "conda-lock's lock file", "use the environment.yml that it was made from"),
    (frozenset({"environments", "packages"}), "pixi's lock file", "leave the format out, or name it `pixi-lock`"),
    (frozenset({"package", "requirements"}), "a conda-build recipe", "list what it needs in an environment.yml"),
    (frozenset({"build_dependencies"}), "an MLflow Python environment", "list its dependencies in a requirements.txt"),
    (frozenset({"repos"}), "a pre-commit configuration", _WRITE_ONE),
)
_OF_AZURE = {
    "azureml-v2": "an Azure ML environment (v2)",
    "azureml-v1": "an Azure ML environment (v1)",
    JOB: "a job of Azure ML",
    RUN_CONFIGURATION: "a run configuration of Azure ML",
}
_V2_KEYS = {"conda_file", "inference_config", "image", "build"}
_V1_KEYS = {"environmentVariables", "inferencingStackVersion", "databricks"}
_V1_SECTIONS = re.compile(
    r"""^[^#\n]*?["']?\b(?i:userManagedDependencies|condaDependencies|baseImage|baseDockerfile)["']?\s*:""", re.MULTILINE
)
_SCHEMA = re.compile(r"""^\s*\{?\s*["']?\$schema["']?\s*:\s*["']?\S*?/(\w+)\.schema\.json""", re.MULTILINE)
_JOB_KEYS = {"environment", "code", "compute", "inputs", "outputs", "experiment_name"}
_RUN_KEYS = ({"script", "framework"}, {"command", "framework"})
_CONDA_KEYS = {"dependencies", "channels", "prefix"}
_WARDIAN_KEYS = {"python", "docker", "spark", "accelerators"}
_TOP_KEY = re.compile(r"^[\"']?([A-Za-z_$<][\w$.<-]*)[\"']?[ \t]*:(?=\s|$)", re.MULTILINE)
_MOST_TOKENS = 200_000  # a definition has fewer
# what is not closed ends with its line: so a hostile text is gone through once
_FLOW_TOKEN = re.compile(r"""([{\[])|([}\]])|("(?:[^"\\\n]|\\.)*+"?|'[^'\n]*+'?|[A-Za-z_$][\w$.-]*+)(\s*:)?""")
_CONDA_LIST = re.compile(r"^# This file may be used to create an environment using:", re.MULTILINE)
_PIXI_KEYS = {"version", "environments", "packages"}
_UV_VERSION = re.compile(r"^version\s*=\s*\d+\s*$", re.MULTILINE)
_UV_TABLE = re.compile(r"^(requires-python\s*=|\[\[package\]\]|\[manifest\])", re.MULTILINE)
_SCRIPT_BLOCK = re.compile(r"^# /// script[ \t]*$", re.MULTILINE)


def detect(file: str, text: str) -> str:
    """Return the name of the format of ``text``, which stands in ``file``.

    Raises:   InvalidInput: ``format_not_read`` for a known format that Wardian does not read, with what to use in its
              place; ``unknown_format`` for anything else, with what was tried.
    """
    refuse_by_name(file)
    path = PurePath(file)
    name, suffix = path.name, path.suffix.lower()
    if suffix == ".runconfig":
        return RUN_CONFIGURATION
    if suffix in (".yml", ".yaml"):
        return _of_yaml(file, text)
    if suffix == ".json":
        return _of_json(file, text)
    if suffix == ".lock":
        return _of_lock(file, text)
    if suffix == ".toml":
        return _of_toml(file, text)
    if suffix == ".py" or _SCRIPT_BLOCK.search(text):
        return _of_script(file, text)
    if suffix in (".txt", ".in") or name.startswith("requirements"):
        if re.search(r"^@EXPLICIT\s*$", text, re.MULTILINE):
            raise _not_read(file, "an explicit list of conda packages", "use the environment.yml that it was made from")
        if _CONDA_LIST.search(text):
            raise _not_read(file, "what `conda list --export` wrote", "`conda env export --no-builds > environment.yml` writes a file that Wardian reads")  # fmt: skip
        return "requirements"
    keys = top_level_keys(text)
    if keys & (_CONDA_KEYS | _WARDIAN_KEYS):
        return _of_yaml(file, text)
    raise InvalidInput(
        f"`{file}` has no format that Wardian knows: its name ends in none of {', '.join(SUFFIXES)}, and it holds neither "
        "a PEP 723 block nor the keys of a YAML definition",
        hint="give it such a name; `-r FILE` reads any file as requirements", code="unknown_format",
    )  # fmt: skip


def job_format(file: str, text: str) -> str | None:
    """Return the name of the format if ``text``, which stands in ``file``, says what runs, and not an environment alone."""
    suffix = PurePath(file).suffix.lower()
    if suffix == ".runconfig":
        return RUN_CONFIGURATION
    if suffix not in (".yml", ".yaml", ".json"):
        return None
    kind = azure_format(_keys(text), text)
    return kind if kind in (JOB, RUN_CONFIGURATION) else None


def refuse_by_name(file: str) -> None:
    """Raise if the name of ``file`` alone says that it is no definition.

    Raises:   InvalidInput: code ``format_not_read``, with what to use in its place.
    """
    path = PurePath(file)
    name, suffix = path.name, path.suffix.lower()
    if file.startswith("azureml:"):
        reference = file.replace("azureml:/", "azureml://").replace("///", "//")  # a path has lost a slash
        raise _not_read(reference, "an environment in Azure ML's service", azure_hint(reference))
    if name.startswith(("Dockerfile.", "Containerfile.")) or suffix == ".dockerfile":
        name = "Dockerfile"
    if found := _BY_NAME.get(name) or _SUFFIXES_OF_OTHERS.get(suffix):
        raise _not_read(file, *found)


def foreign_yaml(keys: set[str]) -> tuple[str, str] | None:
    """Return what a YAML file with these top-level keys is, and what to do with it; None if it may be a definition."""
    if keys & (_CONDA_KEYS | _WARDIAN_KEYS):
        return None
    return next(((what, hint) for tell, what, hint in _BY_KEYS if tell <= keys), None)


def other_yaml(keys: set[str], text: str) -> tuple[str, str] | None:
    """Return what a YAML file is that a reader of another format got, and what to do; None if it may be that reader's."""
    kind = azure_format(keys, text)
    return (_OF_AZURE[kind], f"leave the format out, or name it `{kind}`") if kind else foreign_yaml(keys)


def azure_format(keys: set[str], text: str) -> str | None:
    """Return which environment or job of Azure ML a YAML or JSON text with these top-level keys is; None: none."""
    schema = _SCHEMA.search(text)
    if schema is not None and schema[1] == "environment":
        return "azureml-v2"
    if schema is not None and schema[1].endswith("Job"):
        return JOB
    lower = {key[:1].lower() + key[1:] for key in keys}
    if any(tell <= lower for tell in _RUN_KEYS):
        return RUN_CONFIGURATION
    if "command" in keys and keys & _JOB_KEYS and not keys & (_CONDA_KEYS | _WARDIAN_KEYS):
        return JOB
    if lower & {"python", "docker"} and (lower & _V1_KEYS or _V1_SECTIONS.search(text)):
        return "azureml-v1"
    if keys & (_CONDA_KEYS | _WARDIAN_KEYS) or not keys & _V2_KEYS:
        return None
    return "azureml-v2" if keys & {"conda_file", "inference_config"} or foreign_yaml(keys) is None else None


def top_level_keys(text: str) -> set[str]:
    """Return the keys of a YAML mapping that begin in the first column."""
    return set(_TOP_KEY.findall(text))


def _keys(text: str) -> set[str]:
    keys = top_level_keys(text)
    if not keys and text.lstrip().startswith("{"):  # a mapping in flow style, JSON among them
        keys = _keys_of_flow(text)
    return keys


def _of_yaml(file: str, text: str) -> str:
    keys = _keys(text)
    if kind := azure_format(keys, text):
        return kind
    if keys >= _PIXI_KEYS:
        return "pixi-lock"
    if found := foreign_yaml(keys):
        raise _not_read(file, *found)
    if keys & _CONDA_KEYS:
        return "conda"
    if keys & _WARDIAN_KEYS:
        return "wardian"
    # nothing tells them apart: the usual name of a conda file decides; each reader says what is missing
    return "wardian" if PurePath(file).name.startswith("wardian") else "conda"


def _keys_of_flow(text: str) -> set[str]:
    """Return the keys of the outermost mapping of a text in flow style, such as JSON."""
    found: set[str] = set()
    depth = 0
    for token in islice(_FLOW_TOKEN.finditer(text), _MOST_TOKENS):
        opening, closing, word, colon = token.groups()
        depth += bool(opening) - bool(closing)
        if word and colon and depth == 1:
            found.add(word.strip("\"'"))
    return found


def _of_json(file: str, text: str) -> str:
    keys = _keys_of_flow(text)
    if job := job_format(file, text):
        return job
    if PurePath(file).name == "azureml_environment.json" or "name" in {key.lower() for key in keys}:
        kind = "azureml-v1" if PurePath(file).name == "azureml_environment.json" else azure_format(keys, text)
        if kind:
            return kind
    raise _not_read(file, "JSON", _WRITE_ONE)


def _of_toml(file: str, text: str) -> str:
    if PurePath(file).name != "pixi.toml" and (
        PurePath(file).name == "pyproject.toml"
        or re.search(r"^\[(project|dependency-groups|build-system)\b", text, re.MULTILINE)
    ):
        return "pyproject"
    if PurePath(file).name == "pixi.toml" or re.search(r"^\[(workspace|pypi-dependencies|feature\.)", text, re.MULTILINE):
        return "pixi"
    if re.search(r"^lock-version\s*=", text, re.MULTILINE):
        return "pylock"
    raise _not_read(file, "TOML without a [project] table", "the name of a project's file is pyproject.toml")


def _of_lock(file: str, text: str) -> str:
    if PurePath(file).name == "uv.lock" or (_UV_VERSION.search(text) and _UV_TABLE.search(text)):
        return "uv-lock"
    if PurePath(file).name == "pixi.lock" or top_level_keys(text) >= _PIXI_KEYS:
        return "pixi-lock"
    raise _not_read(file, "a lock file", "use the file that it was made from")


def _of_script(file: str, text: str) -> str:
    if _SCRIPT_BLOCK.search(text):
        return "script"
    raise InvalidInput(
        f"the script `{file}` states no dependencies", code="no_script_block",
        hint='write a PEP 723 block at its top: `# /// script`, `# dependencies = ["numpy"]`, `# ///`',
    )  # fmt: skip


def _not_read(file: str, what: str, hint: str) -> InvalidInput:
    return InvalidInput(f"`{file}` is {what}, which Wardian does not read as a definition", hint=hint, code="format_not_read")
