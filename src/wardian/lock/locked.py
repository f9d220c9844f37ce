"""A lock out of another tool's lock file: its versions and digests, nothing solved."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wardian.definition.platform import with_declared
from wardian.definition.requirement import PipRequirement, canonical_name
from wardian.errors import SolveFailed
from wardian.events import Event
from wardian.lock.direct_archives import DirectArchives
from wardian.lock.exports.places import platform_marker
from wardian.lock.indexes import check_aliases
from wardian.lock.lock import Artifact
from wardian.lock.pins import Pin
from wardian.lock.pip_artifacts import PipArtifacts, file_name
from wardian.lock.pypi import PipSolution, PipTarget, UvSolver
from wardian.lock.python import HOST, NOT_PORTABLE, STANDALONE
from wardian.lock.sources import SourceBuilder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wardian.definition.platform import Platform
    from wardian.events import Listener
    from wardian.formats.locked_input import LockedInput, LockedPackage
    from wardian.lock.solver import SolveRequest

_HINT = "lock anew with the tool that wrote the file, or ask an index that has it"


def locked_python(locked: LockedInput, platform: Platform) -> tuple[Artifact, tuple[str, ...]] | None:
    """Return the interpreter that the file names for ``platform``, and notes for the lock; None if it names none."""
    found = locked.pythons.get(platform.name)
    if found is None:
        return None
    is_host = not found.build and found.file == "python"
    artifact = Artifact(kind="python", source=HOST if is_host else STANDALONE, name="cpython", version=found.version, file=found.file,
                        sha256=found.sha256, size_bytes=found.size_bytes, build=found.build)  # fmt: skip
    return artifact, (NOT_PORTABLE,) if is_host else ()


def solve_locked(
    solver: UvSolver, locked: LockedInput, request: SolveRequest, target: PipTarget, listener: Listener
) -> PipSolution:
    """Return the files that ``locked`` names for the platform: each is looked up in its index, and has the digest that is said.

    Raises:   SolveFailed: codes ``locked_elsewhere``, ``locked_file_gone``, ``locked_hash_differs``, ``not_in_locked_input``.
              What ``UvSolver.solve`` raises.
    """
    python = request.environment.python
    check_aliases(python.pip_options, solver.indexes)
    platform = with_declared(request.platform, request.environment.accelerators)
    packages = _wanted(locked, request.platform, target.version, python.requires_python)
    _check_roots(python.pip, locked)
    plan = solver.plan(request)
    listener(Event("phase", f"looking up {len(packages)} locked packages for {request.platform}"))
    pins = "".join(f"{package.name}=={package.version}\n" for package in packages)
    listed = solver.uv.files(pins, python_version=target.version, uv_platform=platform.uv, arguments=plan.arguments,
                             index_environ=plan.environ, offline=request.offline) if packages else []  # fmt: skip
    offered = {canonical_name(one["name"]): one for one in listed}
    with tempfile.TemporaryDirectory(prefix="wardian-locked-") as place:
        sources = SourceBuilder(uv=solver.uv, wheels=solver.wheels, trees=solver.trees, origin=request.sources, place=Path(place), target=target,
                                plan=plan, as_of=[], listener=listener, platform=request.platform)  # fmt: skip
        found = PipArtifacts(solver.archives, sources, DirectArchives(solver.archives, plan.trusted), plan, platform, request.platform,
                             target, ())  # fmt: skip
        artifacts = []
        for package in packages:
            pin = Pin(f"{package.name}=={package.version}", package.name, package.version, index=package.index,
                      marker=_own_marker(package.marker, request.platform))  # fmt: skip
            files = {package.name: _allowed(package, offered.get(package.name, {}))}
            artifact = found.artifact(pin, files, {package.name: package.depends})
            if artifact.sha256 != package.files[artifact.file]:  # an index that announces no digests
                raise _differs(package, artifact.file, artifact.sha256)
            artifacts.append(artifact)
    names = {artifact.name for artifact in artifacts}
    roots = tuple(name for name in locked.roots if name in names)
    return PipSolution(tuple(artifacts), roots, plan.notes, sources.build_requirements)


def _wanted(locked: LockedInput, platform: Platform, version: str, requires_python: str) -> list[LockedPackage]:
    from packaging.specifiers import SpecifierSet

    if requires_python and not SpecifierSet(requires_python).contains(version, prereleases=True):
        raise SolveFailed(
            f"the lock file is for Python {requires_python}, not for {version}", code="locked_elsewhere", hint=_HINT
        )
    system = {
        "linux": ("linux", "Linux", "posix"),
        "darwin": ("darwin", "Darwin", "posix"),
        "windows": ("win32", "Windows", "nt"),
    }
    sys_platform, platform_system, os_name = system[platform.name.partition("/")[0]]
    environment = {
        "python_version": ".".join(version.split(".")[:2]), "python_full_version": version, "implementation_version": version,
        "implementation_name": "cpython", "platform_python_implementation": "CPython", "platform_machine": platform.machine,
        "sys_platform": sys_platform, "platform_system": platform_system, "os_name": os_name,
    }  # fmt: skip
    if locked.environments and not any(_holds(marker, environment) for marker in locked.environments):
        raise SolveFailed(f"the lock file is not for {platform} with Python {version}", code="locked_elsewhere",
                          hint=f"it is for: {'; '.join(locked.environments[:5])}")  # fmt: skip
    found: dict[str, LockedPackage] = {}
    for package in locked.packages:
        if not package.marker or _holds(package.marker, environment):
            if (other := found.get(package.name)) is not None and other.version != package.version:
                raise SolveFailed(f"the lock file wants {package.name} twice on {platform}: {other.version} and {package.version}",
                                  code="locked_elsewhere", hint=_HINT)  # fmt: skip
            found[package.name] = package
    return list(found.values())


def _holds(text: str, environment: Mapping[str, str]) -> bool:
    from packaging.markers import InvalidMarker, Marker, UndefinedComparison, UndefinedEnvironmentName

    values: dict[str, Any] = {**environment, "extras": frozenset(), "dependency_groups": frozenset()}
    try:
        return Marker(text).evaluate(values, context="lock_file")
    except (InvalidMarker, UndefinedComparison, UndefinedEnvironmentName, RecursionError):
        raise SolveFailed(f"the lock file has a marker that is none: {text[:200]!a}", code="bad_marker", hint=_HINT) from None


def _own_marker(marker: str, platform: Platform) -> str:
    """Return a package's marker without the part that only says which platform of the file it is for (our own export)."""
    only = platform_marker(platform.name)
    if marker == only:
        return ""
    head = f"{only} and ("
    return marker[len(head) : -1] if marker.startswith(head) and marker.endswith(")") else marker


def _check_roots(pip: Sequence[str], locked: LockedInput) -> None:
    names = {package.name for package in locked.packages}
    for position, text in enumerate(pip):
        if PipRequirement.parse(text).name not in names:
            raise SolveFailed(f"python.pip[{position}] `{text}` is not in the lock file of this environment", code="not_in_locked_input",
                              hint="lock anew with the tool that wrote the file, and create from the new file")  # fmt: skip


def _allowed(package: LockedPackage, offered: Mapping[str, Any]) -> dict[str, Any]:
    """Return of what the index offers the files that the lock file names.

    Raises:   SolveFailed: the index has none of them, or one with another digest.
    """
    wheels = [one for one in offered.get("wheels", ()) if file_name(one) in package.files]
    sdist = offered.get("sdist")
    sdist = sdist if sdist is not None and file_name(sdist) in package.files else None
    for one in (*wheels, *([sdist] if sdist else [])):
        digest = one.get("hashes", {}).get("sha256")
        if digest and digest != package.files[file_name(one)]:
            raise _differs(package, file_name(one), digest)
    if not wheels and sdist is None:
        raise SolveFailed(f"the index has none of the files that the lock file names for {package.name} {package.version}",
                          code="locked_file_gone", hint=_HINT)  # fmt: skip
    return {"wheels": wheels, **({"sdist": sdist} if sdist else {})}


def _differs(package: LockedPackage, file: str, digest: str) -> SolveFailed:
    return SolveFailed(f"{file} has the sha256 {digest} in the index, but {package.files[file]} in the lock file", code="locked_hash_differs",
                       hint="somebody has changed the file, in the index or in the lock file: do not use it before you know who")  # fmt: skip
