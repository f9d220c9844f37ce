"""Azure ML's formats written: what they can say, and a ledger of what they cannot."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from wardian.definition.environment import PythonSection
from wardian.definition.match_spec import MatchSpec
from wardian.errors import InvalidInput
from wardian.formats.azureml import DEFAULT_IMAGE, PROJECT, Written
from wardian.formats.conda_yaml import constraint_block, lines_of
from wardian.formats.ledger import Ledger
from wardian.formats.yaml_emit import entry, table

if TYPE_CHECKING:
    from wardian.definition.environment import Environment
    from wardian.digest import Digest

SCHEMA_V2 = "https://azuremlschemas.azureedge.net/latest/environment.schema.json"
JSON_FILE, CONDA_FILE, DOCKERFILE = "azureml_environment.json", "conda_dependencies.yml", "BaseDockerfile"
_USUAL_PLATFORM = "linux/amd64"


def write_v2(env: Environment) -> Written:
    """Return ``env`` as an environment YAML (v2); a Dockerfile stands in a directory beside it.

    Raises:   InvalidInput: code ``not_expressible``: it is the machine's own Python.
    """
    ledger = Ledger()
    if env.name is None:
        ledger.note("changed", "name", "it has none, and Azure ML asks for one in a file of its own", hint="write `name:`")
    files: dict[str, str] = {}
    trees: dict[str, Digest] = {}
    lines, constraints = v2_lines(env, ledger, files, trees)
    text = "".join(f"{line}\n" for line in [f"$schema: {SCHEMA_V2}", *lines]) + constraint_block(constraints)
    return Written(text, ledger.losses, files, trees)


def v2_lines(
    env: Environment, ledger: Ledger, files: dict[str, str], trees: dict[str, Digest]
) -> tuple[list[str], tuple[str, ...]]:
    """Return the lines of ``env`` as an environment YAML, and the constraints that no line says.

    Args:     ledger: gets what is lost.  files, trees: get what lies beside: see `Written`.
    Raises:   InvalidInput: code ``not_expressible``.
    """
    docker = env.docker
    if env.python.manager == "user" and docker.base_image is None and not docker.has_steps:
        raise InvalidInput("an Azure ML environment (v2) is an image or Docker steps, and this one is a machine's own Python",
                           hint="`--to azureml-v1` keeps its interpreter", code="not_expressible")  # fmt: skip
    lines = entry("name", env.name, 0) if env.name is not None else []
    lines += entry("description", env.description, 0) if env.description else []
    lines += table("tags", env.tags, 0)
    if docker.build_context is not None or docker.dockerfile is not None:
        place, name = _context_place(env, ledger)
        if docker.build_context is not None:
            trees[place] = docker.build_context.digest
        else:
            files[f"{place}/{name}"] = docker.dockerfile or ""
        lines += ["build:", *entry("path", f"./{place}", 2), *entry("dockerfile_path", name, 2)]
    else:
        lines += entry("image", _image(env, ledger), 0)
    for field, why in (("build_args", "a build takes no arguments"), ("build_secrets", "a build takes no secrets")):
        if getattr(docker, field):
            ledger.note("dropped", f"docker.{field}", why, hint="write what they stand for into the Dockerfile")
    if docker.platform not in (None, _USUAL_PLATFORM):
        ledger.note("dropped", "docker.platform", "it has no platform", value=docker.platform or "")
    elif docker.platform is not None:
        ledger.note("dropped", "docker.platform", "linux/amd64 is all that it knows")
    constraints: tuple[str, ...] = ()
    if env.python.manager == "user":
        _note_user(env, ledger)
    else:
        python = _as_conda(env.python, ledger)
        constraints = python.constraints
        lines += ["conda_file:", *lines_of(python, env.variables, 2)]
        if docker.has_steps:
            ledger.note("changed", "python", "Azure ML takes no `conda_file` beside `build`: it may refuse this",
                        hint="install the packages in the Dockerfile")  # fmt: skip
    _note_the_rest(env, ledger)
    if env.spark.packages or env.spark.repositories:
        ledger.note("dropped", "spark", "it has no Spark packages", hint="`spark.jars.packages` of a job")
    if env.python.pip and env.python.local:
        _note_local(env, ledger)
    return lines, constraints


def write_v1(env: Environment) -> Written:
    """Return ``env`` as the directory that SDK v1 saves and loads; ``text`` is its JSON alone, with everything in it.

    Raises:   InvalidInput: code ``not_expressible``: a build context is a place in Azure's storage there.
    """
    ledger = Ledger()
    python, docker = env.python, env.docker
    if docker.build_context is not None:
        raise InvalidInput("an Azure ML environment (v1) has its build context in Azure's storage", code="not_expressible",
                           hint="`--to azureml-v2` writes it beside the file")  # fmt: skip
    user = python.manager == "user"
    conda = python if user and (python.conda or python.pip) else None if user else _as_conda(python, ledger)
    for field in ("description", "tags"):
        if getattr(env, field):
            ledger.note("dropped", field, f"it has no {field}")
    for field in ("build_args", "build_secrets"):
        if getattr(docker, field):
            ledger.note("dropped", f"docker.{field}", f"it has no {field.replace('_', ' ')}", hint="write what they stand for into the Dockerfile")  # fmt: skip
    if docker.platform == _USUAL_PLATFORM:
        ledger.note("changed", "docker.platform", "it is what Azure ML takes where none is said")
    _note_the_rest(env, ledger)
    if python.local:
        _note_local(env, ledger)
    image = None if docker.dockerfile is not None else docker.base_image
    if image is None and docker.dockerfile is None and not user:
        image = _image(env, ledger)
    document: dict[str, Any] = {
        "name": env.name,
        "version": None,
        "environmentVariables": dict(env.variables),
        "python": {
            "userManagedDependencies": user,
            "interpreterPath": python.interpreter or "python",
            "condaDependenciesFile": None,
            "baseCondaEnvironment": None,
        },
        "docker": {
            "platform": {"os": "Linux", "architecture": (docker.platform or _USUAL_PLATFORM).split("/")[1]},
            "baseImage": image,
            "baseDockerfile": None,
            "baseImageRegistry": {"address": None, "username": None, "password": None},
        },
        "spark": {
            "repositories": list(env.spark.repositories),
            "packages": [
                dict(zip(("group", "artifact", "version"), text.split(":"), strict=True)) for text in env.spark.packages
            ],
            "precachePackages": True,
        },
        "inferencingStackVersion": None,
    }
    files = {JSON_FILE: _json(document)}
    if conda is not None:
        lines = lines_of(conda, {})
        files[CONDA_FILE] = "".join(f"{line}\n" for line in [f"name: {PROJECT}", *lines]) + constraint_block(conda.constraints)
        document["python"]["condaDependencies"] = _conda_document(conda)
        if conda.constraints:
            ledger.note(
                "dropped",
                "python.constraints",
                "Azure ML reads the comment that they stand in as such; the JSON alone has none",
            )
    if docker.dockerfile is not None:
        files[DOCKERFILE] = docker.dockerfile
        document["docker"]["baseDockerfile"] = docker.dockerfile
    return Written(_json(document), ledger.losses, files, is_directory=True)


def _json(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=4) + "\n"  # ASCII, as the SDK writes it: every reader of JSON and of YAML takes it alike


def _conda_document(python: PythonSection) -> dict[str, Any]:
    pip = [*python.pip_options, *python.pip]
    dependencies: list[Any] = [*python.conda, *([{"pip": pip}] if pip else [])]
    return {"name": PROJECT, "channels": list(python.channels), "dependencies": dependencies}


def _image(env: Environment, ledger: Ledger) -> str:
    if env.docker.base_image is not None:
        return env.docker.base_image
    ledger.note("added", "docker.base_image", f"Azure ML asks for an image: {DEFAULT_IMAGE}, its usual one",
                hint="`wardian env create NAME --from REF --base-image IMAGE` takes another")  # fmt: skip
    return DEFAULT_IMAGE


def _context_place(env: Environment, ledger: Ledger) -> tuple[str, str]:
    """Return the directory beside the YAML that the Docker steps are written to, and the Dockerfile's path in it."""
    context = env.docker.build_context
    own = f"{env.name or 'environment'}-context"
    if context is None:
        ledger.note("changed", "docker.dockerfile", f"a Dockerfile stands in a directory: {own}/Dockerfile")
        return own, "Dockerfile"
    if context.path != "." and not context.path.startswith(".."):
        return context.path.removeprefix("./"), context.dockerfile
    ledger.note("changed", "docker.build_context.path", f"the build context lies beside the file: {own}", value=context.path)
    return own, context.dockerfile


def _as_conda(python: PythonSection, ledger: Ledger) -> PythonSection:
    """Return the section as conda's: Azure ML knows no other."""
    if python.constraints:
        ledger.note("changed", "python.constraints", "Azure ML has none: they stand in a comment that it passes over",
                    hint="pin these packages")  # fmt: skip
    for field, why in (("index_strategy", "pip takes the best version of all indexes"), ("link_scripts", "conda always runs them"),
                       ("locked_input", "a definition is what it keeps, not a lock")):  # fmt: skip
        if getattr(python, field) != getattr(PythonSection(), field):
            ledger.note("dropped", f"python.{field}", why)
    if python.manager == "conda":
        return python
    ledger.note("changed", "python.manager", "Azure ML knows conda alone: pip installs into conda's Python")
    if python.source != "managed":
        ledger.note("dropped", "python.source", "Python comes from conda", value=python.source)
    ledger.note("added", "python.channels", "conda takes Python from a channel: conda-forge")
    ledger.note("added", "python.conda", "Python, and the pip that installs the packages")
    asked = re.sub(r"^==(\d+(?:\.\d+)*)(?:\.\*)?$", r"=\1", python.requires_python)
    spec = str(MatchSpec.parse(f"python{asked}"))
    return replace(
        python, manager="conda", source="managed", requires_python="", channels=("conda-forge",), conda=(spec, "pip")
    )


def _note_user(env: Environment, ledger: Ledger) -> None:
    if env.python.interpreter is not None:
        ledger.note(
            "dropped",
            "python.interpreter",
            "it has no interpreter",
            hint="name it in the job's command",
            value=env.python.interpreter,
        )
    if env.variables:
        ledger.note("dropped", "variables", "they are a job's, not an environment's", hint="write them below the job's `environment_variables`",
                    value=", ".join(env.variables))  # fmt: skip
    if env.python.conda or env.python.pip:
        ledger.note("dropped", "python", "it has no list of packages that are in the image already",
                    value=", ".join((*env.python.conda, *env.python.pip)))  # fmt: skip


def _note_the_rest(env: Environment, ledger: Ledger) -> None:
    if env.docker.credentials is not None:
        ledger.note("dropped", "docker.credentials", "the login of a registry is a connection of the workspace there", value=env.docker.credentials)  # fmt: skip
    if env.accelerators:
        ledger.note("dropped", "accelerators", "what a machine brings is seen there when the image is built",
                    value=", ".join(f"{key} {value}" for key, value in env.accelerators.items()))  # fmt: skip


def _note_local(env: Environment, ledger: Ledger) -> None:
    for source in env.python.local:
        ledger.note("changed", "python.pip", f"`{source.path}` is written as it is, and Azure ML gets no code beside a conda file",
                    hint="build a wheel, and install it from an index or a build context")  # fmt: skip
