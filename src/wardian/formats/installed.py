"""What is installed as a definition: the environment that is in use, a conda prefix, a virtual environment, an interpreter."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from wardian.definition.environment import Environment, PythonSection
from wardian.errors import InvalidInput, NotFound
from wardian.formats.asked_for import asked_for
from wardian.formats.distributions import read_distributions, shown
from wardian.formats.faults import Faults
from wardian.formats.ledger import Ledger
from wardian.formats.origin import Origins
from wardian.formats.read_definition import ReadDefinition
from wardian.small_file import read_small
from wardian.tools.interpreter import ask_interpreter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_LOSSES = {
    "left_out": "dropped", "not_taken_over": "dropped", "broken_metadata": "dropped", "unknown_spec": "dropped",
    "system_packages": "dropped", "not_on_a_channel": "dropped", "login_left_out": "stripped",
}  # fmt: skip
FORMAT = "wardian"  # what such a definition is kept as


def find_in_use(environ: Mapping[str, str], own: Path) -> tuple[Path, str | None]:
    """Return the prefix (or the interpreter) that ``python3`` means here, and what is to be said of the choice.

    That is the active virtual environment (``VIRTUAL_ENV``) or conda environment (``CONDA_PREFIX``), else the first ``python3``
    on the path. ``own``, where Wardian itself is installed, is passed over; it is taken only if there is no other.

    Raises:   NotFound: there is none at all; code ``no_interpreter``.
    """
    passed = False
    for place in _candidates(environ):
        if place.resolve() == own.resolve():
            passed = True
            continue
        said = f"{shown(own)} is passed over: Wardian itself is in it; `--here {shown(own)}` takes it" if passed else None
        return place, said
    if passed:
        return own, f"{shown(own)} is where Wardian itself is installed: no other environment is in use here"
    raise NotFound("no environment is in use here: neither VIRTUAL_ENV nor CONDA_PREFIX is set, and no python3 is on the path",
                   hint="name the environment: `--here PREFIX`", code="no_interpreter")  # fmt: skip


def _candidates(environ: Mapping[str, str]) -> Iterator[Path]:
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        if environ.get(name) and Path(environ[name]).is_dir():
            yield Path(environ[name])
    for directory in environ.get("PATH", "").split(os.pathsep):
        python = Path(directory or ".") / "python3"
        if python.is_file() and os.access(python, os.X_OK):
            yield _prefix_of(python.absolute())


def _prefix_of(python: Path) -> Path:
    """Return the environment whose interpreter is at ``python``; itself, if it is in none."""
    prefix = python.parent.parent
    return prefix if _is_venv(prefix) or (prefix / "conda-meta").is_dir() else python


def _is_venv(prefix: Path) -> bool:
    return (prefix / "pyvenv.cfg").is_file()


def read_installed(prefix: Path, *, exact: bool = False, home: Path | None = None) -> ReadDefinition:
    """Return what is installed at ``prefix`` as a definition; nothing is written, nothing that is installed there is run.

    A conda prefix gives a conda definition, anything else one of uv. Exact: every package with its version (of conda: and build).
    Else what was asked for: the specs in conda's history; of pip what is marked ``REQUESTED``, in the version that is there.
    The warnings name each package that no index serves, what is left out, and what cannot be read.

    Args:     prefix: a conda environment, a virtual environment, the prefix of an interpreter, or an interpreter.
              home: where conda's own list of environments is, for one that is named.
    Raises:   NotFound: there is none; code ``no_conda_prefix``.  InvalidInput: codes ``no_environment``, ``unusable_interpreter``.
    """
    place = prefix.expanduser()
    if (place / "conda-meta").is_dir() or not place.exists():
        from wardian.formats.conda_prefix import read_conda

        return read_conda(place if place.exists() else prefix, exact=exact, home=home)
    place = _prefix_of(place.absolute()) if place.is_file() else place.absolute()
    if (place / "conda-meta").is_dir():
        return read_installed(place, exact=exact)
    faults = Faults(shown(place))
    version, places = _venv(place, faults) if _is_venv(place) else _interpreter(place)
    installed = read_distributions(places, faults)
    origins = Origins(faults)
    roots = [(one, ()) for one in installed] if exact else asked_for(installed, version, faults)
    pip = tuple(text for one, extras in roots if (text := origins.requirement(one, extras)) is not None)
    requires = f"=={version}" if exact else f"=={'.'.join(version.split('.')[:2])}.*"
    section = PythonSection(manager="uv", requires_python=requires, pip=pip, local=tuple(origins.local))
    return as_read(Environment(python=section), origins, faults)


def as_read(environment: Environment, origins: Origins, faults: Faults) -> ReadDefinition:
    """Return ``environment`` as a definition that was read; it is kept as Wardian's own YAML. What is left out is a loss."""
    from wardian.formats.wardian_yaml import write

    ledger = Ledger(faults.file)
    for fault in faults.warnings:
        if (kind := _LOSSES.get(fault.code)) is not None:
            ledger.note(kind, "packages", fault.message, hint=fault.hint)
    others = tuple(fault for fault in faults.warnings if fault.code not in _LOSSES)
    return ReadDefinition(environment, FORMAT, write(environment), origins.places, self_contained=False, warnings=others,
                          losses=ledger.losses)  # fmt: skip


def without(read: ReadDefinition, pins: Sequence[str], prefix: Path) -> ReadDefinition:
    """Return ``read``, which was read at ``prefix``, without ``pins`` (lines of its ``pip``), which no index serves: each is a loss."""
    from wardian.formats.wardian_yaml import write

    left = tuple(line for line in read.environment.python.pip if line not in pins)
    environment = read.environment.with_python(pip=left)
    place = prefix.expanduser()
    ledger = Ledger(shown(place.absolute() if place.exists() else prefix))
    ledger.take(read.losses)
    for pin in pins:
        ledger.note("dropped", "packages", f"{pin.replace('==', ' ', 1)} is left out: no index serves it",
                    hint="another index is named by `wardian config set indexes.pypi URL`: then import it again")  # fmt: skip
    return replace(read, environment=environment, text=write(environment), losses=ledger.losses)


def pins_of(environment: Environment) -> tuple[str, ...]:
    """Return the lines of ``environment`` that an index has to serve; a version with a local part has an index of its own."""
    return tuple(line for line in environment.python.pip if re.fullmatch(r"[\w.,\[\]-]+==[^+@]+", line))


def python_of(environment: Environment) -> str:
    """Return the version of Python that ``environment`` asks for, as much of it as is known."""
    asked = [environment.python.requires_python, *(text for text in environment.python.conda if re.match(r"python[\s=]", text))]
    found = re.search(r"\d+\.\d+(\.\d+)?", asked[-1])
    return found.group() if found else "3.12"


def _venv(prefix: Path, faults: Faults) -> tuple[str, list[Path]]:
    try:
        text = read_small(prefix / "pyvenv.cfg", 1 << 20).decode("utf-8", "replace")
    except OSError as error:
        raise InvalidInput(f"{shown(prefix)}/pyvenv.cfg cannot be read: {error.strerror}", code="no_environment") from error
    fields = dict(re.findall(r"^\s*([\w-]+)\s*=\s*(.*?)\s*$", text, re.MULTILINE))
    if fields.get("include-system-site-packages", "").lower() == "true":
        faults.warn("system_packages", "it sees the packages of the interpreter that it is made on: those are not taken over",
                    hint="`--here` with that interpreter takes them")  # fmt: skip
    stated = re.match(r"\d+\.\d+\.\d+", fields.get("version_info") or fields.get("version") or "")
    if stated is not None:
        version = stated.group()
    else:
        facts = ask_interpreter(prefix / "bin/python")
        if facts is None:
            raise _unusable(prefix / "bin/python")
        version = facts.version
    minor = ".".join(version.split(".")[:2])
    return version, [prefix / lib / f"python{minor}" / "site-packages" for lib in ("lib", "lib64")]


def _interpreter(place: Path) -> tuple[str, list[Path]]:
    python = place if place.is_file() else place / "bin/python3"
    if not python.is_file():
        raise InvalidInput(f"{shown(place)} is no environment: neither conda-meta nor pyvenv.cfg nor bin/python3 is in it",
                           hint="name a conda environment, a virtual environment or an interpreter", code="no_environment")  # fmt: skip
    facts = ask_interpreter(python)
    if facts is None or facts.implementation != "CPython":
        raise _unusable(python)
    return facts.version, list(facts.packages)


def _unusable(python: Path) -> InvalidInput:
    return InvalidInput(f"{shown(python)} does not run as a CPython, so its version is not known", code="unusable_interpreter",
                        hint="does it run by itself?")  # fmt: skip
