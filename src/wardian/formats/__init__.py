"""Text to definition and back, one module per format: found by name or by content.

The formats: ``conda`` (environment.yml), ``requirements`` (requirements.txt), ``pyproject`` (pyproject.toml), ``script``
(PEP 723), ``pixi`` (pixi.toml), ``pylock`` (pylock.toml), ``uv-lock`` (uv.lock) and ``pixi-lock`` (pixi.lock), locked already,
``azureml-v2`` and ``azureml-v1`` (environments of Azure ML), ``azureml-job`` and ``azureml-runconfig`` (its jobs, which state an
environment) and ``wardian`` (Wardian's own YAML, which holds everything).
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from wardian.errors import InvalidInput, NotFound
from wardian.formats.detect import FORMATS, detect, refuse_by_name

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    from wardian.definition.environment import Environment, LocalSource
    from wardian.formats.azureml import Written
    from wardian.formats.job import Given, ReadJob
    from wardian.formats.read_definition import ReadDefinition

__all__ = ["FORMATS", "add", "detect", "export", "find_job", "read", "read_job", "read_text", "remove", "write"]

_MODULES = {
    "conda": "conda_yaml",
    "requirements": "requirements",
    "pyproject": "pyproject",
    "script": "script",
    "pylock": "pylock",
    "uv-lock": "uv_lock",
    "pixi": "pixi_manifest",
    "pixi-lock": "pixi_lock",
    "wardian": "wardian_yaml",
    "azureml-v2": "azureml_v2",
    "azureml-v1": "azureml_v1",
    "azureml-job": "azureml_job",
    "azureml-runconfig": "azureml_runconfig",
}
_IN_A_DIRECTORY = (
    "pyproject.toml",
    "environment.yml",
    "environment.yaml",
    "wardian.yaml",
    "wardian.yml",
    "requirements.txt",
    "conda.yaml",
    "pixi.toml",
    "pixi.lock",
    "uv.lock",
)


class _Format(Protocol):
    """What every format's module offers."""

    def read(
        self,
        text: str,
        *,
        file: str,
        base: Path | None,
        local: Sequence[LocalSource] = ...,
        extras: Sequence[str] = ...,
        groups: Sequence[str] = ...,
    ) -> ReadDefinition: ...
    def write(self, env: Environment) -> str: ...
    def add(self, text: str, requirements: Sequence[str], *, manager: str) -> str: ...
    def remove(self, text: str, names: Sequence[str]) -> str: ...


def read(
    path: str | PathLike[str],
    *,
    format_name: str | None = None,
    extras: Sequence[str] = (),
    groups: Sequence[str] = (),
    base: Path | None = None,
    environment: str | None = None,
) -> ReadDefinition:
    """Return the definition in the file at ``path``, or in the directory ``path``: a project's, an MLflow model, or one of Azure ML's SDK.

    Args:     format_name: one of `FORMATS`; None finds it by the file's name and content.
              extras, groups: of a project, those that are wanted too.
              base: the directory that paths in the file are relative to; None: the file's own.
              environment: of a file of pixi, which of its environments; None: ``default``.
    Raises:   NotFound: there is no such file.  Unavailable: it cannot be read.
              InvalidDefinition: all its faults.  InvalidInput: codes ``unknown_format``, ``format_not_read``,
              ``no_script_block``, ``is_a_directory``.
    """
    from wardian.formats.kept_secrets import refuse_secrets
    from wardian.formats.source_text import read_source

    if format_name is None and (model := _model(Path(path))) is not None:
        from wardian.formats.mlflow_model import read_model

        return read_model(model)
    place = _file_in(Path(path), format_name) if Path(path).is_dir() else Path(path)
    if format_name is None:
        refuse_by_name(str(place))
    else:
        _module(format_name)  # a wrong name is said before the file is read
    text = read_source(place, limit_bytes=_limit(place))
    kind = format_name or detect(str(place), text)
    folder = place.parent if base is None else base
    if environment is not None:
        found = _of_pixi(kind, text, str(place), folder, environment)
    else:
        found = _module(kind).read(text, file=str(place), base=folder, extras=extras, groups=groups)
    refuse_secrets(found, str(place), text)
    return found


def read_text(
    text: str,
    format_name: str,
    *,
    file: str = "<text>",
    base: Path | None = None,
    local: tuple[LocalSource, ...] = (),
    extras: Sequence[str] = (),
    groups: Sequence[str] = (),
) -> ReadDefinition:
    """Return the definition that ``text`` states in the format ``format_name``.

    Args:     file: its name for people.  base: the directory that its paths are relative to; None: it has no place.
              local: digests of local code and build contexts whose trees are not there (`Environment.local_sources`).
    Raises:   InvalidDefinition: all its faults.  InvalidInput: code ``unknown_format``.
    """
    return _module(format_name).read(text, file=file, base=base, local=local, extras=extras, groups=groups)


def find_job(path: str | PathLike[str]) -> str | None:
    """Return the format of the file at ``path`` if it says what runs, and not an environment alone: ``azureml-job``, ``azureml-runconfig``; else None."""
    from wardian.formats.detect import SUFFIXES, job_format
    from wardian.formats.source_text import read_source

    place = Path(path)
    return job_format(str(place), read_source(place)) if place.suffix.lower() in SUFFIXES and place.is_file() else None


def read_job(path: str | PathLike[str], given: Given | None = None) -> ReadJob:
    """Return the job in the file at ``path``.

    Args:     given: what is said beside the file, and goes before it.
    Raises:   NotFound, Unavailable: it cannot be read.  InvalidDefinition: all its faults.  InvalidInput: code ``no_job``.
    """
    from wardian.formats import azureml_job, azureml_runconfig
    from wardian.formats.job import Given
    from wardian.formats.source_text import read_source

    place = Path(path)
    text = read_source(place)
    readers = {"azureml-job": azureml_job.read_job, "azureml-runconfig": azureml_runconfig.read_job}
    kind = find_job(place)
    if kind is None:
        raise InvalidInput(f"`{place}` does not say what runs: it is neither a job nor a run configuration of Azure ML", code="no_job",
                           hint=f"`wardian run -f {place} SCRIPT` takes an environment from it")  # fmt: skip
    return readers[kind](text, file=str(place), given=given or Given())


def write(env: Environment, format_name: str) -> str:
    """Return ``env`` as a text in the format ``format_name`` that reads back as an environment of the same content.

    Raises:   InvalidInput: ``not_expressible``: the format cannot hold something, which is named; ``unknown_format``.
    """
    return _module(format_name).write(env)


def export(env: Environment, format_name: str) -> Written:
    """Return ``env`` in a format of others, ``azureml-v2`` or ``azureml-v1``, with a ledger of what that format cannot say.

    Raises:   InvalidInput: ``not_expressible``: nothing would be left of it; ``unknown_format``.
    """
    from wardian.formats import azureml_v1, azureml_v2

    known = {"azureml-v2": azureml_v2.export, "azureml-v1": azureml_v1.export}
    if format_name not in known:
        raise InvalidInput(f"`{format_name}` is no format that a definition is exported to", hint=f"known ones: {', '.join(known)}",
                           code="unknown_format")  # fmt: skip
    return known[format_name](env)


def add(text: str, format_name: str, requirements: Sequence[str], *, manager: str) -> str:
    """Return ``text`` with ``requirements``, each in the place of the one for the same package, new ones at the end.

    All other lines stay as they are, comments included.

    Args:     manager: the environment's: where a new requirement goes if the format has several lists.
    Raises:   InvalidInput: not a requirement, or none that goes there.
    """
    return _module(format_name).add(text, requirements, manager=manager)


def remove(text: str, format_name: str, names: Sequence[str]) -> str:
    """Return ``text`` without what asks for the packages ``names``; all other lines stay as they are.

    Raises:   NotFound: nothing asks for one of them; the message names each.
    """
    return _module(format_name).remove(text, names)


def _module(format_name: str) -> _Format:
    if format_name not in _MODULES:
        raise InvalidInput(f"`{format_name}` is no format that Wardian reads", hint=f"known ones: {', '.join(FORMATS)}",
                           code="unknown_format")  # fmt: skip
    # imported when it is needed: a warm run reads no file
    return cast("_Format", import_module(f"wardian.formats.{_MODULES[format_name]}"))


def _of_pixi(kind: str, text: str, file: str, base: Path, environment: str) -> ReadDefinition:
    from wardian.formats import pixi_lock, pixi_manifest

    if kind == "pixi-lock":
        return pixi_lock.read(text, file=file, base=base, environment=environment)
    if kind == "pixi" or (kind == "pyproject" and pixi_manifest.is_manifest(text)):
        return pixi_manifest.read(text, file=file, base=base, environment=environment)
    raise InvalidInput(f"`{file}` has one environment: there is none to choose by `{environment[:80]}`", code="no_environments_here",
                       hint="only files of pixi have several: pixi.lock, pixi.toml, [tool.pixi] of a pyproject.toml")  # fmt: skip


def _limit(path: Path) -> int:
    """Return how many bytes a file of this name may have."""
    from wardian.formats import locked_input, source_text

    is_lock = path.suffix == ".lock" or path.name.startswith("pylock.")
    return locked_input.LIMIT_BYTES if is_lock else source_text.LIMIT_BYTES


def _model(path: Path) -> Path | None:
    """Return the directory of the MLflow model that ``path`` is, or None."""
    directory = path.parent if path.name == "MLmodel" else path
    return directory if (directory / "MLmodel").is_file() else None


def _file_in(directory: Path, format_name: str | None) -> Path:
    """Return the pyproject.toml in ``directory``, or what Azure ML's SDK saved there; any other file is named by the user."""
    for name, kind in (("pyproject.toml", "pyproject"), ("azureml_environment.json", "azureml-v1")):
        if format_name in (None, kind) and (directory / name).exists():
            return directory / name
    found = [name for name in _IN_A_DIRECTORY if (directory / name).is_file()]
    if not found:
        raise NotFound(f"the directory `{directory}` holds no definition", hint=f"known names: {', '.join(_IN_A_DIRECTORY)}",
                       code="no_such_file")  # fmt: skip
    raise InvalidInput(f"`{directory}` is a directory", hint=f"name the file: {', '.join(str(directory / name) for name in found)}",
                       code="is_a_directory")  # fmt: skip
