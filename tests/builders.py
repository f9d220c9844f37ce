"""Small valid values for tests: each builder makes one that is right in every respect but what the test names."""

from __future__ import annotations

import dataclasses
from typing import Any

from wardian.definition.docker_section import DockerSection
from wardian.definition.environment import Environment, PythonSection, SparkSection
from wardian.definition.identity import definition_hash
from wardian.digest import Digest
from wardian.lock.lock import Artifact, Lock, Provenance

_PYTHON = {field.name for field in dataclasses.fields(PythonSection)}
_DOCKER = {field.name for field in dataclasses.fields(DockerSection)}


def an_environment(**changes: Any) -> Environment:
    """Return a uv environment named ``sklearn``, or what ``changes`` say: any field of it or of its Python and Docker sections.

    ``conda=`` or ``channels=`` make it a conda environment.
    """
    values: dict[str, Any] = {"name": "sklearn", "manager": "uv"}
    if "conda" in changes or "channels" in changes:
        values |= {"manager": "conda", "channels": ("conda-forge",)}
    elif "pip" not in changes and changes.get("manager", "uv") == "uv":
        values["pip"] = ("numpy==1.26.4",)
    values |= changes
    python = {key: values.pop(key) for key in list(values) if key in _PYTHON}
    docker = {key: values.pop(key) for key in list(values) if key in _DOCKER}
    if "packages" in values or "repositories" in values:
        values["spark"] = SparkSection(tuple(values.pop("packages", ())), tuple(values.pop("repositories", ())))
    if docker:
        values["docker"] = DockerSection(**docker)
    for key in ("channels", "conda", "pip", "pip_options", "constraints", "local"):
        if key in python:
            python[key] = tuple(python[key])
    return Environment(python=PythonSection(**python), **values)


def an_artifact(name: str = "numpy", version: str = "1.26.4", *, kind: str = "wheel", **changes: Any) -> Artifact:
    """Return an artifact of ``kind`` whose digest follows from its file name, so equal arguments give equal artifacts."""
    stem = name.replace("-", "_") if kind in ("wheel", "sdist") else name
    values: dict[str, Any] = {"name": name, "version": version, "kind": kind, "size_bytes": 1000}
    if kind == "conda":
        build = changes.get("build", "h0_0")
        values |= {
            "source": "channel:conda-forge",
            "build": build,
            "subdir": "linux-64",
            "file": f"{stem}-{version}-{build}.conda",
        }
    elif kind == "python":
        values |= {"source": "index:python", "build": "20240101", "file": f"cpython-{version}-x86_64-install_only.tar.gz"}
    elif kind == "jar":
        values |= {"source": "index:maven", "file": f"{stem}-{version}.jar"}
    else:
        file = f"{stem}-{version}-py3-none-any.whl" if kind == "wheel" else f"{stem}-{version}.tar.gz"
        values |= {"source": "index:pypi", "file": file}
    values |= changes
    values.setdefault("sha256", Digest.of(values["file"].encode()))
    return Artifact(**values)


def a_lock(
    *artifacts: Artifact, environment: Environment | None = None, platform: str = "linux/amd64", **provenance: Any
) -> Lock:
    """Return a lock of ``artifacts`` (default: a Python 3.11 and numpy) that answers ``environment``."""
    chosen = artifacts or (an_artifact("cpython", "3.11.9", kind="python"), an_artifact())
    values: dict[str, Any] = {
        "definition_hash": definition_hash(environment or an_environment()),
        "solvers": {"uv": "0.13.9"},
        "roots": tuple(a.name for a in chosen if a.kind != "python"),
        "created": "2024-02-01T00:00:00Z",
    }
    return Lock(platform=platform, artifacts=tuple(chosen), provenance=Provenance(**{**values, **provenance}))
