"""Where the wheels of a serving layer can be had: one question to the indexes for all of them."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from wardian.definition.environment import Environment, PythonSection
from wardian.definition.pip_option import PipOption
from wardian.definition.platform import get_platform
from wardian.errors import NotFound, SolveFailed, WardianError
from wardian.lock.indexes import trusted_hosts
from wardian.lock.pip_artifacts import file_name
from wardian.lock.solver import SolveRequest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from wardian.bootstrap import Parts
    from wardian.digest import Digest
    from wardian.lock.lock import Artifact
    from wardian.serving.extension import Extension

_INDEX_OPTIONS = ("--index-url", "--extra-index-url", "--trusted-host")


def indexes_of(environment: Environment) -> Environment:
    """Return an environment of the same indexes that asks for nothing."""
    options = tuple(text for text in environment.python.pip_options if PipOption.parse(text).name in _INDEX_OPTIONS)
    return Environment(
        python=PythonSection(manager="uv", pip_options=options, index_strategy=environment.python.index_strategy)
    )


def fetch_added(parts: Parts, environment: Environment, extension: Extension) -> dict[Digest, Path]:
    """Bring the wheels that an extension adds here, verified: from the indexes of ``environment``, else from those of this machine.

    Raises:   NotFound, Unavailable, Denied, BadArchive, DiskFull: see ``Fetcher.fetch``.
    """
    own = indexes_of(environment)
    places = [own] if not own.python.pip_options else [own, Environment(python=PythonSection(manager="uv"))]
    offers = [_Offers(parts, place, extension) for place in places]

    def urls(artifact: Artifact) -> Iterator[str]:
        failed: WardianError | None = None
        for one in offers:
            try:
                yield from one.urls(artifact)
            except WardianError as error:
                failed = error
        if failed is not None:
            raise failed

    return parts.fetcher.fetch(extension.added, urls, parts.listener, trusted=_trusted(own))


def _trusted(environment: Environment) -> Collection[str]:
    return trusted_hosts(environment.python.pip_options)


class _Offers:
    """What the indexes of one environment have of an extension's wheels; they are asked when the first one is looked for."""

    def __init__(self, parts: Parts, environment: Environment, extension: Extension):
        self._parts = parts
        self._environment = environment
        self._extension = extension
        self._guard = threading.Lock()
        self._found: Mapping[str, str] | WardianError | None = None

    def urls(self, artifact: Artifact) -> Iterator[str]:
        with self._guard:
            if self._found is None:
                try:
                    self._found = self._ask()
                except WardianError as error:
                    self._found = error
        if isinstance(self._found, WardianError):
            raise self._found
        if artifact.file not in self._found:
            raise _not_served(artifact.file)
        yield self._found[artifact.file]

    def _ask(self) -> dict[str, str]:
        platform = get_platform(self._extension.platform)
        plan = self._parts.pip.plan(SolveRequest(self._environment, platform))
        packages = self._parts.packages
        missing = [a for a in self._extension.added if packages.find(a.sha256, a.file) is None]
        by_alias: dict[str, Sequence[Artifact]] = {}
        for artifact in missing:
            alias = artifact.source.partition(":")[2]
            by_alias[alias] = [*by_alias.get(alias, ()), artifact]
        found: dict[str, str] = {}
        for alias, artifacts in by_alias.items():
            pins = "".join(f"{a.name}=={a.version}\n" for a in artifacts)
            try:  # our own interpreter is named, so that uv looks for no other: it is told which Python the wheels are for
                offered = self._parts.uv.files(pins, python_version=self._extension.python, uv_platform=platform.uv, arguments=plan.arguments,
                                               index_environ=plan.only(alias), python=Path(sys.executable))  # fmt: skip
            except SolveFailed as error:
                raise _not_served(pins, error) from error
            for package in offered:
                found |= {file_name(one): plan.with_login(str(one["url"])) for one in package.get("wheels", ())}
        return found


def _not_served(pins: str, error: SolveFailed | None = None) -> NotFound:
    wanted = ", ".join(pins.split())
    said = f": {' '.join(error.message.split())[:300]}" if error else ""
    return NotFound(f"the indexes do not have all that the serving layer is made of ({wanted}){said}", code="artifact_gone",
                    hint="name an index or a mirror that has them: `wardian config set indexes.pypi URL`")  # fmt: skip
