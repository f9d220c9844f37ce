"""``pixi.toml``, and ``[tool.pixi]`` of a pyproject.toml: one environment of a pixi workspace as a conda environment."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from wardian.definition.environment import INDEX_STRATEGIES, Environment, PythonSection
from wardian.definition.match_spec import MatchSpec
from wardian.definition.project_name import canonical_name
from wardian.definition.requirement import PipRequirement
from wardian.errors import InvalidInput
from wardian.formats import pylock
from wardian.formats.faults import Faults
from wardian.formats.ledger import Ledger
from wardian.formats.mlflow_model import kept_as_wardian
from wardian.formats.pixi_requirements import conda_requirement, pip_requirement
from wardian.formats.read_definition import ReadDefinition, places_in
from wardian.formats.source_text import plain_text
from wardian.formats.toml_reading import TomlReading
from wardian.formats.toml_text import field_of, parse_toml

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from wardian.definition.environment import LocalSource
    from wardian.formats.toml_text import TomlPath

FORMAT = "pixi"
_HERE = ("tool", "pixi")
_KEYS = frozenset({
    "workspace", "project", "dependencies", "host-dependencies", "build-dependencies", "pypi-dependencies", "pypi-options", "feature",
    "environments", "activation", "system-requirements", "target", "tasks", "package", "constraints", "dev", "tool",
})  # fmt: skip
_LEFT_OUT = {
    "tasks": "Wardian has no tasks: `wardian run` starts a command in the environment",
    "constraints": "a definition has constraints for pip alone", "dev": "packages that pixi builds from source are not taken",
    "package": "what pixi-build makes of the workspace is not built here",
}  # fmt: skip
_SYSTEM = {"cuda": "cuda", "linux": "linux"}

add = pylock.add
remove = pylock.remove


def is_manifest(text: str) -> bool:
    """Whether a pyproject.toml holds a pixi workspace."""
    return re.search(r"^\[tool\.pixi\.(workspace|project|dependencies)\b", text, re.MULTILINE) is not None


def read(
    text: str,
    *,
    file: str,
    base: Path | None,
    local: Sequence[LocalSource] = (),
    extras: Sequence[str] = (),
    groups: Sequence[str] = (),
    environment: str = "default",
) -> ReadDefinition:
    """Return the conda environment that the workspace calls ``environment``; it is kept as Wardian's own YAML.

    Raises:   InvalidDefinition: every fault of the file.
    Source:   pixi's manifest reference; semantics §1
    """
    faults = Faults(file)
    faults.refuse_extras(extras, groups, "a pixi workspace")
    faults.raise_if_any()
    found = read_manifest(plain_text(text), file=file, base=base, local=local, environment=environment)
    return replace(kept_as_wardian(found), self_contained=not found.environment.python.local)


def read_manifest(
    text: str, *, file: str, base: Path | None, environment: str, local: Sequence[LocalSource] = ()
) -> ReadDefinition:
    """Return the same, with its own text.

    Raises:   InvalidDefinition: every fault of the file.
    """
    faults = Faults(file)
    toml = parse_toml(text, faults)
    root: TomlPath = _HERE if isinstance(toml.get(_HERE), dict) else ()
    manifest = _Manifest(TomlReading(toml, faults, base=base, local=local), root, Ledger(file))
    found = manifest.read(environment)
    return ReadDefinition(found, FORMAT, text, manifest.r.local.places, False, faults.warnings, manifest.ledger.losses,
                          places=places_in(file, manifest.places))  # fmt: skip


def write(env: Environment) -> str:
    """Raise: Wardian writes a pixi.lock, not a manifest."""
    del env
    raise InvalidInput(
        "a pixi.toml is not written", hint="`wardian env export NAME --to pixi` writes a pixi.lock", code="not_expressible"
    )


class _Manifest:
    """One manifest, read for one environment."""

    def __init__(self, reading: TomlReading, root: TomlPath, ledger: Ledger) -> None:
        self.r = reading
        self.root = root
        self.ledger = ledger
        self.places: dict[str, tuple[int | None, str]] = {}
        self.conda: list[str] = []
        self.variables: dict[str, str] = {}
        self.accelerators: dict[str, str] = {}
        self._names: set[str] = set()
        workspace = (*root, "workspace")
        self.workspace = workspace if isinstance(reading.toml.get(workspace), dict) else (*root, "project")

    def read(self, environment: str) -> Environment:
        """Return the environment.

        Raises:   InvalidDefinition: there were faults.
        """
        r = self.r
        if self.root == () and not isinstance(r.toml.get(self.workspace), dict):
            r.faults.add(
                "no_workspace", "there is no [workspace] table", line=1, field="workspace", hint="pixi writes one: `pixi init`"
            )
        for key in r.table(self.root):
            if key not in _KEYS:
                r.warn((*self.root, key), "unknown_key", f"pixi's manifest has no `{key}`")
        features = self._features(environment)
        for feature in features:
            self._feature(feature)
        if self.root and self.root in features:
            self._project()
        self._left_out(features, environment)
        section = PythonSection(channels=self._channels(features), conda=tuple(self.conda), pip=tuple(r.pip), pip_options=tuple(r.options),
                                local=r.local.sources, **r.settings)  # fmt: skip
        self.places |= {path: (place.line, place.field) for path, place in r.places.items()}
        found = Environment()
        with r.faults.wrap(places=self.places):
            found = Environment(python=section, variables=self.variables, accelerators=self.accelerators)
        r.faults.raise_if_any()
        return found

    # -- which features ------------------------------------------------------------------------------------------------

    def _features(self, environment: str) -> list[TomlPath]:
        """Return the tables that make up ``environment``, the default feature (the manifest itself) last."""
        r, path = self.r, (*self.root, "environments")
        table = r.table(path)
        if environment not in table:
            if environment != "default":
                known = ", ".join(dict.fromkeys(("default", *table)))
                r.fault(
                    path if table else (),
                    "unknown_environment",
                    f"the workspace has no environment `{environment[:80]}`",
                    f"known ones: {known}",
                )
            return [self.root]
        place = (*path, environment)
        value = r.toml.get(place)
        names = [name for _, name in r.strings(place if isinstance(value, list) else (*place, "features"))]
        found: list[TomlPath] = []
        for name in names:
            feature = (*self.root, "feature", name)
            groups = [
                one
                for one in (("dependency-groups", name), ("project", "optional-dependencies", name))
                if self.root and r.toml.get(one)
            ]
            if isinstance(r.toml.get(feature), dict):
                found.append(feature)
            elif not groups:
                r.fault(
                    place,
                    "unknown_feature",
                    f"there is no feature `{name[:80]}`",
                    "write `[feature.NAME]` tables, or correct the name",
                )
            for group in groups:
                r.take_all(group)
        if not (isinstance(value, dict) and r.flag((*place, "no-default-feature"))):
            found.append(self.root)
        return found

    def _channels(self, features: Sequence[TomlPath]) -> tuple[str, ...]:
        """Return the channels of the features, then of the workspace, those of higher priority first."""
        r, found = self.r, []
        paths = [(*feature, "channels") for feature in features if feature != self.root]
        for path in (
            *paths,
            *([(*self.workspace, "channels")] if self.root in features or not any(map(r.items, paths)) else ()),
        ):
            for i, item in enumerate(r.items(path)):
                place = (*path, i)
                name = r.string((*place, "channel")) if isinstance(item, dict) else r.string(place)
                priority = item.get("priority", 0) if isinstance(item, dict) else 0
                if name:
                    found.append((-priority if isinstance(priority, int) else 0, name.rstrip("/"), place))
        found.sort(key=lambda one: one[0])
        names = list(dict.fromkeys(name for _, name, _ in found))
        for _, name, place in reversed(found):
            self.places[f"python.channels[{names.index(name)}]"] = (r.line_of(place), field_of(place))
            if name.startswith((".", "/", "~")):
                r.fault(
                    place,
                    "path_channel",
                    f"the channel `{name[:120]}` is a path on one machine",
                    "write its https:// or file:// URL",
                )
        return tuple(names)

    # -- one feature ---------------------------------------------------------------------------------------------------

    def _feature(self, path: TomlPath) -> None:
        self._pypi_options((*path, "pypi-options"))
        for key in ("dependencies", "host-dependencies", "build-dependencies"):
            self._conda((*path, key))
        self._pypi((*path, "pypi-dependencies"))
        self._activation((*path, "activation"))
        self._system((*path, "system-requirements"))
        self._targets(path)

    def _conda(self, path: TomlPath) -> None:
        for name in self.r.table(path):
            place = (*path, name)
            with self.r.faults.wrap(self.r.line_of(place), field_of(place)):
                spec = MatchSpec.parse(conda_requirement(name, self.r.toml.get(place)))
                if str(spec) in self.conda:
                    continue
                self.places[f"python.conda[{len(self.conda)}]"] = (self.r.line_of(place), field_of(place))
                self.conda.append(str(spec))
                self._names.add(spec.name)

    def _pypi(self, path: TomlPath) -> None:
        for name in self.r.table(path):
            place = (*path, name)
            with self.r.faults.wrap(self.r.line_of(place), field_of(place)):
                value = self.r.toml.get(place)
                self.r.take(place, PipRequirement.parse(pip_requirement(name, value)))
                if isinstance(value, dict) and value.get("editable") is True:
                    self._note("changed", place, f"`{canonical_name(name)}` is built and installed as it is now, not editable")
                if isinstance(value, dict) and "index" in value:
                    self.r.option((*place, "index"), "--extra-index-url", self.r.string((*place, "index")))

    def _pypi_options(self, path: TomlPath) -> None:
        r = self.r
        if (url := r.string((*path, "index-url"))) is not None:
            r.option((*path, "index-url"), "--index-url", url)
        for place, url in r.strings((*path, "extra-index-urls")):
            r.option(place, "--extra-index-url", url)
        strategy = r.string((*path, "index-strategy"))
        if strategy in INDEX_STRATEGIES:
            r.settings["index_strategy"] = strategy
        if r.string((*path, "prerelease-mode")) == "allow":
            r.option((*path, "prerelease-mode"), "--pre")
        for key in r.table(path):
            if key not in ("index-url", "extra-index-urls", "index-strategy", "prerelease-mode"):
                self._note("dropped", (*path, key), "a definition has no word for it")

    def _activation(self, path: TomlPath) -> None:
        for key in self.r.table((*path, "env")):
            place = (*path, "env", key)
            value = self.r.string(place)
            if value is None or key in self.variables:
                continue
            self.places[f"variables.{key}"] = (self.r.line_of(place), field_of(place))
            self.variables[key] = value
            if "$" in value or "%" in value:
                self._note("changed", place, "the value is taken as it is written: no shell puts other variables into it")
        if self.r.table(path).get("scripts"):
            self._note(
                "dropped", (*path, "scripts"), "no script runs when an environment is used: only packages' own activation does"
            )

    def _system(self, path: TomlPath) -> None:
        for key, value in self.r.table(path).items():
            place = (*path, key)
            name, version = _SYSTEM.get(key), value
            if key == "libc":
                family = value.get("family", "glibc") if isinstance(value, dict) else "glibc"
                name, version = (
                    (family if family == "glibc" else None),
                    value.get("version") if isinstance(value, dict) else value,
                )
            if name is None or not isinstance(version, str):
                self._note(
                    "dropped",
                    place,
                    "it holds for one kind of machine only, and a definition for all" if name is None else "it must be a text",
                )
                continue
            self.places[f"accelerators.{name}"] = (self.r.line_of(place), field_of(place))
            self.accelerators.setdefault(name, version)

    def _targets(self, feature: TomlPath) -> None:
        """Take what is said of platforms if it is said of all that the workspace has; else it has no place."""
        platforms = [text for _, text in self.r.strings((*self.workspace, "platforms"))]
        for name in self.r.table((*feature, "target")):
            place = (*feature, "target", name)
            if platforms and all(_covers(name, platform) for platform in platforms):
                for key in ("dependencies", "host-dependencies", "build-dependencies"):
                    self._conda((*place, key))
                self._pypi((*place, "pypi-dependencies"))
                self._activation((*place, "activation"))
                continue
            said = {key: value for key, value in self.r.table(place).items() if key != "tasks"}
            if said:
                self._note("dropped", place, f"a definition is for all platforms, and this is for `{name}` alone: {_words(said)}",
                           "pip's requirements can have markers; a pixi.lock beside it has each platform's own packages")  # fmt: skip

    def _project(self) -> None:
        """Take what a pyproject.toml asks for itself: pixi installs its dependencies from PyPI."""
        r, path = self.r, ("project", "requires-python")
        python = r.string(path)
        if python and "python" not in self._names:
            with r.faults.wrap(r.line_of(path), field_of(path)):
                self.places[f"python.conda[{len(self.conda)}]"] = (r.line_of(path), field_of(path))
                self.conda.append(str(MatchSpec.parse(f"python {python}")))
        r.take_all(("project", "dependencies"))

    # -- what has no place ---------------------------------------------------------------------------------------------

    def _left_out(self, features: Sequence[TomlPath], environment: str) -> None:
        r = self.r
        if platforms := [text for _, text in r.strings((*self.workspace, "platforms"))]:
            hint = " ".join(f"--platform {platform}" for platform in platforms)
            self._note(
                "dropped",
                (*self.workspace, "platforms"),
                "platforms are chosen when locking",
                f"`wardian env lock NAME {hint}`",
            )
        if r.toml.get((*self.workspace, "channel-priority")) == "disabled":
            self._note("changed", (*self.workspace, "channel-priority"), "channels are used in their order, strictly")
        for feature in features:
            for key, why in _LEFT_OUT.items():
                if value := r.toml.get((*feature, key)):
                    self._note("dropped", (*feature, key), f"{why} ({_words(value)})" if isinstance(value, dict) else why)
        taken = {feature[-1] for feature in features if feature != self.root}
        if others := [name for name in r.table((*self.root, "feature")) if name not in taken]:
            self._note("dropped", (*self.root, "feature"), f"they are no part of the environment `{environment}`: {', '.join(others)}",
                       "`--environment NAME` takes another environment")  # fmt: skip

    def _note(self, kind: str, place: TomlPath, why: str, hint: str | None = None) -> None:
        line = self.r.line_of(place)
        if line is None:  # a table that only stands in the headers of others
            below = [self.r.line_of(path) for path in self.r.toml.keys if path[: len(place)] == place]
            line = min((one for one in below if one is not None), default=None)
        self.ledger.note(kind, field_of(place), why, hint=hint, line=line)


def _covers(target: str, platform: str) -> bool:
    """Whether what is said of ``target`` holds on ``platform``: ``unix``, ``linux``, ``osx``, ``win``, or a platform itself."""
    system = platform.partition("-")[0]
    return target in (platform, system) or (target == "unix" and system in ("linux", "osx"))


def _words(value: dict[str, Any]) -> str:
    return ", ".join(value)
