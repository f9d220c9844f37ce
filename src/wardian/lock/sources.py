"""Source code while locking: local trees, repositories and sdists, built into wheels that are kept."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit

from wardian.definition.requirement import PipRequirement, canonical_name
from wardian.digest import Digest
from wardian.errors import BuildFailed, Conflict, InvalidInput, NotFound, WardianError
from wardian.events import Event
from wardian.lock.lock import Artifact, BuiltWheel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from wardian.definition.environment import LocalSource
    from wardian.definition.platform import Platform
    from wardian.events import Listener
    from wardian.lock.indexes import IndexPlan
    from wardian.lock.ports import Trees, WheelKeeper
    from wardian.lock.pypi import PipTarget
    from wardian.tools.uv import Uv


@dataclass(slots=True)
class SourceBuilder:
    """Turns source code into wheels: isolated, with a fixed SOURCE_DATE_EPOCH, build requirements pinned and recorded."""

    uv: Uv
    wheels: WheelKeeper
    trees: Trees
    origin: Mapping[Digest, Path]
    place: Path
    target: PipTarget
    plan: IndexPlan
    as_of: Sequence[str]
    listener: Listener
    platform: Platform
    pinned: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # what the builds of an earlier lock used
    build_requirements: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _built: int = 0

    def tree(self, position: int, requirement: PipRequirement, local: Sequence[LocalSource]) -> Path:
        """Return a private copy of the local code that a requirement names, checked against the definition's digest.

        Raises:   NotFound: the tree is neither here nor kept.  Conflict: it has changed since the definition was read.
        """
        from wardian.formats.tree import tree_digest
        from wardian.formats.tree_copy import copy_tree

        digest = next((source.digest for source in local if source.path == requirement.path), None)
        if digest is None:
            raise InvalidInput(f"python.pip[{position}] names the local code `{requirement.path}`, but its content is not part of the definition",
                               hint="read the definition from its file: `Environment.from_file(…)` or `-f FILE`", code="local_code_unread")  # fmt: skip
        found = self.trees.find(digest, self.origin)
        if found is None:
            raise NotFound(f"the local code `{requirement.path}` (tree {digest.short}) is not here any more", code="local_code_missing",
                           hint="run it once from the directory that has it")  # fmt: skip
        name = re.sub(r"[^A-Za-z0-9._-]", "_", found.name) or "tree"
        copy = self.place / "local" / str(position) / name
        copy_tree(found, copy)
        if tree_digest(copy) != digest:
            raise Conflict(f"the local code `{requirement.path}` has changed since the definition was read", code="local_code_changed",
                           hint="run it again")  # fmt: skip
        return copy

    def from_tree(self, tree: Path, position: int, requirement: PipRequirement) -> Artifact:
        """Build the private copy of a local tree (or take the wheel or archive that it is)."""
        if tree.suffix == ".whl":
            sha256 = self.wheels.keep(tree)
            from packaging.utils import parse_wheel_filename

            name, parsed, _, _ = parse_wheel_filename(tree.name)
            return Artifact(kind="wheel", source="workspace", name=str(name), version=str(parsed), file=tree.name, sha256=sha256,
                            size_bytes=tree.stat().st_size)  # fmt: skip
        from wardian.formats.tree import tree_digest

        digest = Digest.of_file(tree) if tree.is_file() else tree_digest(tree)
        built = self.build(tree, requirement.name or requirement.path or tree.name)
        name_text, version = _wheel_name(built.file)
        return Artifact(kind="sdist", source=f"definition:{position}", name=name_text, version=version, file=requirement.path or ".",
                        sha256=digest, built=built)  # fmt: skip

    def from_git(self, pinned_url: str, position: int, requirement: PipRequirement) -> Artifact:
        """Check out the commit that ``pinned_url`` (``git+https://…@commit``) names, and build it."""
        from wardian.formats.tree import tree_digest
        from wardian.tools.git import Git

        url, subdirectory, commit = _git_parts(pinned_url)
        checkout = self.place / "git" / str(position)
        Git(self.uv.environ).checkout(url, commit, checkout)
        shutil.rmtree(checkout / ".git")
        root = checkout / subdirectory if subdirectory else checkout
        if not root.resolve().is_relative_to(checkout.resolve()) or not root.is_dir():
            raise BuildFailed(f"`{requirement}` has no directory `{subdirectory}`", code="no_subdirectory")
        digest = tree_digest(checkout)
        built = self.build(root, requirement.name or requirement.url or "")
        name, version = _wheel_name(built.file)
        return Artifact(kind="sdist", source=f"definition:{position}", name=name, version=version, file=f"{name}-{commit[:12]}",
                        sha256=digest, revision=commit, built=built)  # fmt: skip

    def build(self, source: Path, name: str) -> BuiltWheel:
        """Build ``source`` (an sdist file or a tree) into a wheel and keep that.

        Raises:   BuildFailed: the build fails, or its wheel fits this machine but not the platform to be locked.
        """
        from wardian.lock.wheel_choice import best_wheel

        self.listener(Event("phase", f"building {name}"))
        self._built += 1
        out = self.place / "wheels" / str(self._built)
        out.mkdir(parents=True)
        constraints = self._build_constraints(source, name)
        wheel = self.uv.build_wheel(source, out, python=self.target.builder(), constraints=constraints, index_environ=self.plan.environ,
                                    arguments=_build_arguments(self.plan, self.as_of))  # fmt: skip
        file = wheel.name
        if best_wheel([file], self.platform, self.target.version) is None:
            raise BuildFailed(f"{name} builds {file} here, which is not for {self.platform} with Python {self.target.version}",
                              hint=f"lock for {self.platform} on such a machine, or use a release that has a wheel", code="platform_wheel")  # fmt: skip
        return BuiltWheel(file, self.wheels.keep(wheel), wheel.stat().st_size)

    def _build_constraints(self, source: Path, name: str) -> Path | None:
        """Pin the build requirements, so that the record says what the wheel was built with."""
        key = canonical_name(re.sub(r"[^\w.-]+", "-", name).strip("-"))
        if key in self.pinned:
            return self._constraints_file(self.pinned[key])
        requires = _build_requires(source)
        if not requires:
            return None
        text = self.uv.compile("\n".join(requires) + "\n", python_version=self.target.version, uv_platform=self.platform.uv,
                               arguments=[*_build_arguments(self.plan, self.as_of), "--no-emit-package", "pip"],
                               index_environ=self.plan.environ)  # fmt: skip
        from wardian.lock.pins import parse_pins

        pins = [f"{pin.name}=={pin.version}" for pin in parse_pins(text) if pin.version]
        self.build_requirements[key] = tuple(pins)
        return self._constraints_file(pins)

    def _constraints_file(self, pins: Sequence[str]) -> Path:
        path = self.place / f"build-constraints-{self._built}.txt"
        path.write_text("\n".join(pins) + "\n")
        return path


def _build_arguments(plan: IndexPlan, as_of: Sequence[str]) -> list[str]:
    """Return the index options alone: which wheels a definition forbids does not concern its build tools."""
    kept: list[str] = [*as_of]
    arguments = list(plan.arguments)
    for i, text in enumerate(arguments):
        if text == "--no-index":
            kept.append(text)
        elif text in ("--find-links", "--index-strategy", "--allow-insecure-host"):
            kept += [text, arguments[i + 1]]
    return kept


def _build_requires(source: Path) -> list[str]:
    """Return ``[build-system] requires`` of a tree or sdist; setuptools where there is none (PEP 518)."""
    import tomllib

    text = _pyproject_text(source)
    if text is None:
        return ["setuptools"]
    try:
        system = tomllib.loads(text).get("build-system")
    except tomllib.TOMLDecodeError as error:
        raise BuildFailed(f"the pyproject.toml of {source.name} is not TOML: {error}") from error
    if system is None:
        return ["setuptools"]
    requires = system.get("requires", [])
    if not isinstance(requires, list) or not all(isinstance(item, str) for item in requires):
        raise BuildFailed(f"the pyproject.toml of {source.name} has no list of strings in build-system.requires")
    return list(requires)


def _pyproject_text(source: Path) -> str | None:
    if source.is_dir():
        path = source / "pyproject.toml"
        return path.read_text(errors="replace") if path.is_file() else None
    if source.suffix == ".zip":
        import zipfile

        with zipfile.ZipFile(source) as archive:
            names = [name for name in archive.namelist() if name.count("/") == 1 and name.endswith("/pyproject.toml")]
            return archive.read(names[0]).decode(errors="replace") if names else None
    import tarfile

    with tarfile.open(source) as archive:
        for member in archive:
            if member.name.count("/") == 1 and member.name.endswith("/pyproject.toml") and member.isfile():
                stream = archive.extractfile(member)
                return stream.read(1 << 20).decode(errors="replace") if stream else None
    return None


def _wheel_name(file: str) -> tuple[str, str]:
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename

    try:
        name, version, _, _ = parse_wheel_filename(file)
    except InvalidWheelFilename as error:
        raise WardianError(f"the build made `{file}`, which is not a wheel's name: {error}", code="build_failed") from error
    return str(name), str(version)


def _git_parts(pinned: str) -> tuple[str, str, str]:
    """Split ``git+URL@commit#subdirectory=x`` into URL, subdirectory and commit."""
    parts = urlsplit(pinned.removeprefix("git+"))
    subdirectory = (parse_qs(parts.fragment).get("subdirectory") or [""])[0]
    path, _, commit = parts.path.rpartition("@")
    return parts._replace(path=path, fragment="").geturl(), unquote(subdirectory), commit
