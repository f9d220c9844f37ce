"""Solves Python packages with uv, and names the exact file of each."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wardian.definition.platform import with_declared
from wardian.definition.requirement import PipRequirement, canonical_name
from wardian.digest import Digest
from wardian.errors import BuildFailed, SolveFailed
from wardian.events import Event
from wardian.lock.direct_archives import DirectArchives, kind_of
from wardian.lock.further import with_further
from wardian.lock.indexes import IndexPlan, check_aliases, expand, plan_indexes
from wardian.lock.pins import Pin, depends, parse_pins
from wardian.lock.pip_artifacts import PipArtifacts, file_name
from wardian.lock.pip_conflict import explain, involved
from wardian.lock.refused import refusal
from wardian.lock.sources import SourceBuilder
from wardian.lock.stubs import write_stubs
from wardian.lock.wheel_choice import best_wheel
from wardian.tools.uv import indented

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wardian.definition.platform import Platform
    from wardian.events import Listener
    from wardian.lock.lock import Artifact
    from wardian.lock.ports import Archives, Trees, WheelKeeper
    from wardian.lock.solver import SolveRequest
    from wardian.tools.http import Credentials
    from wardian.tools.uv import Uv


@dataclass(frozen=True, slots=True)
class PipSolution:
    """What a pip solve found: the artifacts, the names the definition asks for, and what a reader should know."""

    artifacts: tuple[Artifact, ...]
    roots: tuple[str, ...]
    notes: tuple[str, ...] = ()
    build_requirements: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PipTarget:
    """The interpreter that the packages are for.

    Attributes:
        version: full Python version.
        builder: an interpreter of that minor version on this machine, for building source code; None if there is none.
        provided: names and versions of distributions that are there already (from conda), fixed.
    """

    version: str
    builder: Callable[[], Path]
    provided: Mapping[str, str] = field(default_factory=dict)


class UvSolver:
    """Solves the pip requirements of a definition.

    Args:     uv: the tool.  archives: verified archives.  wheels: keeps wheels built here.  trees: local code.
              indexes: index URLs by alias (settings).  credentials: logins by URL.
              environ: where ``${NAME}`` in URLs comes from.
    """

    def __init__(
        self, *, uv: Uv, archives: Archives, wheels: WheelKeeper, trees: Trees, indexes: Mapping[str, str],
        credentials: Callable[[str], Credentials | None], environ: Mapping[str, str],
    ):  # fmt: skip
        self.uv = uv
        self.archives = archives
        self.trees = trees
        self.indexes = indexes
        self.credentials = credentials
        self.environ = environ
        self.wheels = wheels

    def plan(self, request: SolveRequest) -> IndexPlan:
        """Return the indexes that this definition speaks of."""
        python = request.environment.python
        return plan_indexes(python.pip_options, configured=self.indexes, credentials=self.credentials, environ=self.environ,
                            strategy=python.index_strategy)  # fmt: skip

    def solve(self, request: SolveRequest, target: PipTarget, listener: Listener) -> PipSolution:
        """Return the exact files that satisfy the definition's pip requirements.

        Raises:   as ``Solver.solve``.
        """
        python = request.environment.python
        if not python.pip:
            return PipSolution((), ())
        check_aliases(python.pip_options, self.indexes)
        plan = self.plan(request)
        for note in plan.notes:
            listener(Event("warning", note))
        platform = with_declared(request.platform, request.environment.accelerators)
        wanted = [PipRequirement.parse(text) for text in python.pip]
        with tempfile.TemporaryDirectory(prefix="wardian-pip-") as place:
            work = _Work(self, request, target, plan, platform, wanted, Path(place), listener)
            return work.solve()


class _Work:
    """One solve: what is known while it goes on."""

    def __init__(self, solver: UvSolver, request: SolveRequest, target: PipTarget, plan: IndexPlan, platform: Platform,
                 wanted: list[PipRequirement], place: Path, listener: Listener):  # fmt: skip
        self.s = solver
        self.request = request
        self.target = target
        self.plan = plan
        self.platform = platform
        self.wanted = wanted
        self.place = place
        self.listener = listener
        self.sources = SourceBuilder(
            uv=solver.uv, wheels=solver.wheels, trees=solver.trees, origin=request.sources, place=place, target=target,
            plan=plan, as_of=self._as_of(), listener=listener, platform=request.platform,
        )  # fmt: skip
        self.notes: list[str] = list(plan.notes)
        self.direct = DirectArchives(solver.archives, plan.trusted)
        self.found = PipArtifacts(solver.archives, self.sources, self.direct, plan, platform, request.platform, target, wanted)

    def _as_of(self) -> list[str]:
        return ["--exclude-newer", self.request.as_of.strftime("%Y-%m-%dT%H:%M:%SZ")] if self.request.as_of else []

    def solve(self) -> PipSolution:
        self._refuse_both_sides()
        lines = [self._line(i, requirement) for i, requirement in enumerate(self.wanted)]
        arguments = [*self.plan.arguments, *self._as_of()]
        constraints = self._constraints()
        if self.target.provided:
            arguments += ["--find-links", str(write_stubs(self.place / "stubs", self.target.provided))]
        self.listener(
            Event("phase", f"solving {len(lines)} requirement{'s' if len(lines) != 1 else ''} for {self.request.platform}")
        )
        text = self._compile(lines, constraints, arguments)
        pins = [pin for pin in parse_pins(text) if pin.name not in self.target.provided]
        needs = depends(pins)
        files = self._files(pins, [*self.plan.arguments, *self._as_of()])
        artifacts = [self.found.artifact(pin, files, needs) for pin in pins]
        if self.plan.require_hashes:
            self.found.check_all_hashed()
        roots = tuple(dict.fromkeys(artifact.name for pin, artifact in zip(pins, artifacts, strict=True) if pin.root))
        return PipSolution(tuple(artifacts), roots, tuple(self.notes), self.sources.build_requirements)

    def _compile(self, lines: list[str], constraints: list[str], arguments: list[str]) -> str:
        try:
            return self._compile_once(lines, constraints, arguments)
        except SolveFailed as error:
            raise with_further(
                error, range(len(lines)),
                lambda numbers: self._compile_once([lines[i] for i in numbers], constraints, arguments),
                lambda found: involved(found.details.get("explanation", ""), self.request.environment.python.pip),
            ) from error  # fmt: skip

    def _compile_once(self, lines: list[str], constraints: list[str], arguments: list[str]) -> str:
        try:
            return self.s.uv.compile(
                "\n".join(lines) + "\n", constraints="\n".join(constraints), preferences=self._preferences(), arguments=arguments,
                python_version=self.target.version, uv_platform=self.platform.uv, index_environ=self.plan.environ,
                offline=self.request.offline,
            )  # fmt: skip
        except SolveFailed as error:
            said = self.direct.restored(error.message)
            refused = refusal(said, self._check_archive)
            if refused is not None:
                raise refused from error
            python = self.request.environment.python
            text = explain(said, python.pip, python.constraints, tuple(self.target.provided))
            if text == said:  # nothing could be made of it
                text = f"the requirements cannot be solved; uv says:\n{indented(said)}"
            hint = error.hint or (
                "loosen one of the lines marked ✗" if "✗" in text else "check the name, the version and `wardian doctor`"
            )
            raise SolveFailed(text, hint=hint, code=error.stable_code, details={"explanation": said}) from error

    def _check_archive(self, package: str, is_sdist: bool) -> None:
        """Fetch and validate the archive of ``name==version`` or ``name @ URL``: what uv refuses, our own check explains."""
        _, at, url = package.partition(" @ ")
        if at:
            self.direct.obtain(url)
            return
        found = self.s.uv.files(
            f"{package}\n", python_version=self.target.version, uv_platform=self.platform.uv,
            arguments=[*self.plan.arguments, *self._as_of()], index_environ=self.plan.environ, offline=self.request.offline,
        )[0]  # fmt: skip
        wheels = {file_name(wheel): wheel for wheel in found.get("wheels", ())}
        chosen = None if is_sdist else best_wheel(wheels, self.platform, self.target.version)
        entry = wheels[chosen] if chosen else found.get("sdist")
        if entry is not None:
            file = file_name(entry)
            offered = entry.get("hashes", {}).get("sha256")
            self.s.archives.obtain([self.plan.with_login(entry["url"])], file, kind=kind_of(file),
                                   sha256=Digest(offered) if offered else None, trusted=self.plan.trusted)  # fmt: skip

    def _line(self, position: int, requirement: PipRequirement) -> str:
        marker = f" ; {requirement.marker}" if requirement.marker else ""
        if requirement.path is not None:
            tree = self.sources.tree(position, requirement, self.request.environment.python.local)
            self.found.local[str(tree)] = (position, requirement)
            name = f"{requirement.name} @ " if requirement.name else ""
            extras = f"[{','.join(requirement.extras)}]" if requirement.extras else ""
            return f"{name}{tree.as_uri() if requirement.name else tree}{'' if requirement.name else extras}{marker}"
        bare = PipRequirement(
            requirement.name, requirement.extras, requirement.specifier, requirement.url, None, requirement.marker
        )
        line = expand(str(bare), self.s.environ, f"python.pip[{position}]")
        fetch_first = requirement.url and not requirement.marker and not self.request.offline
        return self.direct.line(line) if fetch_first else line

    def _constraints(self) -> list[str]:
        python = self.request.environment.python
        lines = [expand(text, self.s.environ, f"python.constraints[{i}]") for i, text in enumerate(python.constraints)]
        lines += [f"{name}=={version}" for name, version in sorted(self.target.provided.items())]
        held = self.request.held
        lines += [
            f"{a.name}=={a.version}"
            for a in self.request.preferred
            if a.name in held and a.kind in ("wheel", "sdist") and not a.revision
        ]
        return lines

    def _preferences(self) -> str:
        pins = [
            f"{a.name}=={a.version}"
            for a in self.request.preferred
            if a.kind in ("wheel", "sdist") and a.source.startswith("index:")
        ]
        return "\n".join(sorted(set(pins))) + "\n" if pins else ""

    def _refuse_both_sides(self) -> None:
        for position, requirement in enumerate(self.wanted):
            if requirement.name and requirement.name in self.target.provided and not requirement.marker:
                version = self.target.provided[requirement.name]
                raise SolveFailed(
                    f"`{requirement.name}` comes from both sides: conda brings {version}, and python.pip[{position}] asks for `{requirement}`",
                    hint="keep it on one side: the conda packages bring it already, or take it out of them", code="package_from_both_sides",
                )  # fmt: skip

    def _files(self, pins: list[Pin], arguments: list[str]) -> dict[str, dict[str, Any]]:
        lines = [pin.line for pin in pins if pin.version]
        if not lines:
            return {}
        found = self.s.uv.files(
            "\n".join(lines) + "\n", python_version=self.target.version, uv_platform=self.platform.uv, arguments=arguments,
            index_environ=self.plan.environ, offline=self.request.offline,
        )  # fmt: skip
        return {canonical_name(package["name"]): package for package in found}


__all__ = ["BuildFailed", "PipSolution", "PipTarget", "UvSolver"]
