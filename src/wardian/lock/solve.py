"""Solves a whole definition: interpreter, conda, then pip, into one lock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wardian.definition.identity import definition_hash
from wardian.definition.platform import with_declared
from wardian.errors import NotFound, SolveFailed
from wardian.formats.locked_input import read_locked
from wardian.lock.lock import Artifact, Lock, Provenance
from wardian.lock.locked import locked_python, solve_locked
from wardian.lock.locked_conda import locked_conda
from wardian.lock.pypi import PipTarget, UvSolver

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from pathlib import Path

    from wardian.events import Listener
    from wardian.formats.locked_input import LockedInput
    from wardian.lock.conda import CondaSolver
    from wardian.lock.jars import JarResolver
    from wardian.lock.python import PythonChooser
    from wardian.lock.solver import SolveRequest
    from wardian.tools.uv import Uv


@dataclass(frozen=True, slots=True)
class DefinitionSolver:
    """The ``Solver`` of the house: conda first, then uv with what conda brought held fixed (semantics §3).

    Attributes:
        conda: makes the conda solver; called only for a definition that has conda packages.
        provided: names and versions of the Python distributions in locked conda packages.
        now: the clock, for the provenance.
        jars: makes what resolves Spark packages; called only for a definition that has some.
    """

    uv: Uv
    pip: UvSolver
    python: PythonChooser
    conda: Callable[[], CondaSolver]
    provided: Callable[[tuple[Artifact, ...], SolveRequest, Listener], Mapping[str, str]]
    interpreter: Callable[[Artifact], Path | None]
    now: Callable[[], datetime]
    jars: Callable[[], JarResolver]

    def solve(self, request: SolveRequest, listener: Listener) -> Lock:
        """See ``wardian.lock.solver.Solver``."""
        python = request.environment.python
        if python.manager == "user":
            raise SolveFailed("a user-managed environment has nothing to solve: its packages are whatever the interpreter has",
                              hint="run it as it is, or use `manager: uv` or `manager: conda`", code="user_managed")  # fmt: skip
        spark = request.environment.spark  # first: a jar that is missing is told before anything long begins
        jars = request.jars or (self.jars().resolve(spark, listener) if spark.packages else ())
        solvers: dict[str, str] = {}
        notes: tuple[str, ...] = ()
        artifacts: tuple[Artifact, ...]
        roots: tuple[str, ...]
        locked = self._locked(request)
        if python.manager == "conda" and locked is not None:
            conda = self.conda()
            artifacts, roots = locked_conda(conda, locked, request), conda.roots(request)
            target = self._conda_target(request, artifacts, None)
        elif python.manager == "conda":
            conda = self.conda()
            artifacts = conda.solve_conda(request, listener)
            roots = conda.roots(request)
            solvers["rattler"] = conda.version
            target = self._conda_target(request, artifacts, listener)
        else:
            interpreter, notes = (locked and locked_python(locked, request.platform)) or self.python.choose(request, listener)
            artifacts, roots = (interpreter,), ()
            target = PipTarget(interpreter.version, lambda: self.builder(interpreter))
        found = (
            solve_locked(self.pip, locked, request, target, listener) if locked else self.pip.solve(request, target, listener)
        )
        if python.pip or python.manager == "uv":
            solvers["uv"] = self.uv.version()
        platform = with_declared(request.platform, request.environment.accelerators)
        provenance = Provenance(
            definition_hash=definition_hash(request.environment),
            solvers=solvers,
            as_of=request.as_of.strftime("%Y-%m-%dT%H:%M:%SZ") if request.as_of else "",
            virtual_packages=dict(platform.virtual),
            roots=tuple(dict.fromkeys((*roots, *found.roots, *(text.rpartition(":")[0] for text in spark.packages)))),
            created=self.now().strftime("%Y-%m-%dT%H:%M:%SZ"),
            notes=(*notes, *found.notes),
            build_requirements=dict(found.build_requirements),
        )
        return Lock(platform=request.platform.name, artifacts=(*artifacts, *found.artifacts), spark=jars, provenance=provenance)

    def _locked(self, request: SolveRequest) -> LockedInput | None:
        digest = request.environment.python.locked_input
        if digest is None:
            return None
        path = self.pip.trees.find(digest, request.sources)
        if path is None:
            raise NotFound(f"the lock file of this environment (sha256 {digest.short}) is not in this workspace", code="locked_input_missing",
                           hint="create the environment from the file again, or pull a version that is locked")  # fmt: skip
        return read_locked(path)

    def _conda_target(self, request: SolveRequest, artifacts: tuple[Artifact, ...], listener: Listener | None) -> PipTarget:
        """Return the interpreter among ``artifacts``, with the distributions that they bring; None: nobody has to know those."""
        if not request.environment.python.pip:
            return PipTarget("", lambda: self.builder(None))
        interpreter = next((a for a in artifacts if a.name == "python"), None)
        if interpreter is None:
            raise SolveFailed("the definition asks for pip packages, but nothing brings a Python", hint="add `python` to the conda packages",
                              code="no_python")  # fmt: skip
        provided = self.provided(artifacts, request, listener) if listener is not None else {}
        return PipTarget(interpreter.version, lambda: self.builder(interpreter), provided)

    def builder(self, interpreter: Artifact | None) -> Path:
        """Return an interpreter on this machine for building source code: that very one, else one of its minor version."""
        if interpreter is not None:
            if (path := self.interpreter(interpreter)) is not None:
                return path
            minor = ".".join(interpreter.version.split(".")[:2])
            if (found := self.uv.find_python(f"=={minor}.*")) is not None:
                return found.path
        wanted = f" of version {interpreter.version}" if interpreter else ""
        raise SolveFailed(f"source code has to be built, but no Python{wanted} is on this machine", code="no_python",
                          hint="use packages that have wheels, or install that Python")  # fmt: skip
