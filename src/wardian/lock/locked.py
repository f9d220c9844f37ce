"""A lock out of another tool's lock file: its versions and digests, nothing solved."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wardian.definition.platform import marker_environment, with_declared
from wardian.definition.requirement import PipRequirement, canonical_name
from wardian.errors import SolveFailed
from wardian.events import Event
from wardian.lock.direct_archives import DirectArchives
from wardian.lock.exports.places import platform_marker
from wardian.lock.indexes import check_aliases
from wardian.lock.lock import Artifact
from wardian.lock.locked_conda import locked_platform
from wardian.lock.pins import Pin
from wardian.lock.pip_artifacts import PipArtifacts, file_name
from wardian.lock.pypi import PipSolution, PipTarget, UvSolver
from wardian.lock.python import HOST, NOT_PORTABLE, STANDALONE
from wardian.lock.sources import SourceBuilder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from wardian.definition.platform import Platform
    from wardian.events import Listener
    from wardian.formats.locked_input import LockedInput, LockedPackage
    from wardian.lock.indexes import IndexPlan

    _Offer = tuple[str | None, Mapping[str, Any]]  # which index, and what it has of one package
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
    wanted = [PipRequirement.parse(text) for text in python.pip]
    _check_roots(wanted, locked)
    if locked.platforms is not None:  # such a file does not tell an index's file from any other at a URL: the definition does
        by_url = {one.name: one.url for one in wanted if one.url}
        packages = [replace(one, address=one.address or by_url.get(one.name) or "") for one in packages]
    plan = solver.plan(request)
    listener(Event("phase", f"looking up {len(packages)} locked packages for {request.platform}"))
    offered = _offered(solver, plan, request, target, [package for package in packages if not package.address],
                       locked.indexes)  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="wardian-locked-") as place:
        sources = SourceBuilder(uv=solver.uv, wheels=solver.wheels, trees=solver.trees, origin=request.sources, place=Path(place), target=target,
                                plan=plan, as_of=[], listener=listener, platform=request.platform)  # fmt: skip
        found = PipArtifacts(solver.archives, sources, DirectArchives(solver.archives, plan.trusted), plan, platform, request.platform,
                             target, ())  # fmt: skip
        artifacts = []
        for package in packages:
            if package.address:
                artifacts.append(_direct(package, found, wanted, request))
                continue
            index, listed = offered.get(package.name, (package.index, {}))
            pin = Pin(f"{package.name}=={package.version}", package.name, package.version, index=index,
                      marker=_own_marker(package.marker, request.platform))  # fmt: skip
            files = {package.name: _allowed(package, listed)}
            artifact = found.artifact(pin, files, {package.name: package.depends})
            if artifact.sha256 != package.files[artifact.file]:  # an index that announces no digests
                raise _differs(package, artifact.file, artifact.sha256)
            artifacts.append(artifact)
    names = {artifact.name for artifact in artifacts}
    roots = tuple(name for name in locked.roots if name in names)
    return PipSolution(tuple(artifacts), roots, plan.notes, sources.build_requirements)


def _offered(
    solver: UvSolver,
    plan: IndexPlan,
    request: SolveRequest,
    target: PipTarget,
    packages: Sequence[LockedPackage],
    indexes: Sequence[str],
) -> dict[str, _Offer]:
    """Return, by name, what each package's own index has of it, and which index that is.

    A package that does not say its index is from the first of ``indexes`` that has one of its files with the digest that is said;
    where none has, from the first that has the file's name, so that the error tells of it.
    """
    platform = with_declared(request.platform, request.environment.accelerators)

    def ask(index: str | None, wanted: Sequence[LockedPackage]) -> dict[str, _Offer]:
        pins = "".join(f"{package.name}=={package.version}\n" for package in wanted)
        listed = solver.uv.files(pins, python_version=target.version, uv_platform=platform.uv, arguments=plan.arguments,
                                 index_environ=plan.only(plan.alias_of(index)), offline=request.offline)  # fmt: skip
        return {canonical_name(one["name"]): (index, one) for one in listed}

    by_index: dict[str | None, list[LockedPackage]] = {}
    unsaid = [package for package in packages if package.index is None] if indexes else []
    for package in packages:
        if package.index is not None or not indexes:
            by_index.setdefault(package.index, []).append(package)
    found: dict[str, _Offer] = {}
    for index, wanted in by_index.items():
        found |= ask(index, wanted)
    settled: set[str] = set()
    for index in indexes:
        rest = [package for package in unsaid if package.name not in settled]
        for package, offered in _each(ask, index, rest):
            digests = {
                one.get("hashes", {}).get("sha256"): package.files[file_name(one)] for one in _files_of(package, offered[1])
            }
            if any(said is None or said == wanted_digest for said, wanted_digest in digests.items()):
                found[package.name] = offered
                settled.add(package.name)
            elif digests:
                found.setdefault(package.name, offered)
    return found


def _each(
    ask: Callable[[str | None, Sequence[LockedPackage]], Mapping[str, _Offer]], index: str, packages: Sequence[LockedPackage]
) -> Iterator[tuple[LockedPackage, _Offer]]:
    """Yield what ``index`` has of each of ``packages``, as far as it has it: all asked for at once, one by one if it lacks some."""
    if not packages:
        return
    try:
        offers = dict(ask(index, packages))
    except SolveFailed:
        offers = {}
        for package in packages:
            with suppress(SolveFailed):  # that index has no such package or version
                offers |= ask(index, [package])
    yield from ((package, offers[package.name]) for package in packages if package.name in offers)


def _files_of(package: LockedPackage, offered: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return what is offered of the files that ``package`` names."""
    every = (*offered.get("wheels", ()), *([offered["sdist"]] if offered.get("sdist") else []))
    return [one for one in every if file_name(one) in package.files]


def _direct(package: LockedPackage, found: PipArtifacts, wanted: Sequence[PipRequirement], request: SolveRequest) -> Artifact:
    """Return the artifact of a package that is on no index: of the definition's requirement that says where it is."""
    own = PipRequirement.parse(f"{package.name} @ {package.address}")
    position = next((i for i, one in enumerate(wanted) if (one.name, one.url, one.path) == (own.name, own.url, own.path)), None)
    if position is None:
        raise SolveFailed(f"{package.name} is on no index, and the definition does not say where it is: {package.address}",
                          code="not_in_locked_input", hint="create the environment from the lock file again")  # fmt: skip
    if own.path is not None:
        tree = found.sources.tree(position, own, request.environment.python.local)
        artifact = found.sources.from_tree(tree, position, own)
        return replace(artifact, depends=package.depends)
    one = [requirement if i == position else PipRequirement("-") for i, requirement in enumerate(wanted)]  # forks have one name
    artifact = replace(found, wanted=one).artifact(
        Pin(own.url or "", package.name, url=own.url or ""), {}, {package.name: package.depends}
    )
    if package.files and artifact.sha256 not in package.files.values():
        raise SolveFailed(f"{artifact.file} has the sha256 {artifact.sha256} at its URL, but another in the lock file", code="locked_hash_differs",
                          hint="somebody has changed the file: do not use it before you know who")  # fmt: skip
    return artifact


def _wanted(locked: LockedInput, platform: Platform, version: str, requires_python: str) -> list[LockedPackage]:
    from packaging.specifiers import SpecifierSet

    if requires_python and not SpecifierSet(requires_python).contains(version, prereleases=True):
        raise SolveFailed(
            f"the lock file is for Python {requires_python}, not for {version}", code="locked_elsewhere", hint=_HINT
        )
    environment = marker_environment(platform, version)
    if locked.environments and not any(_holds(marker, environment) for marker in locked.environments):
        raise SolveFailed(f"the lock file is not for {platform} with Python {version}", code="locked_elsewhere",
                          hint=f"it is for: {'; '.join(locked.environments[:5])}")  # fmt: skip
    holds = cache(lambda marker: not marker or _holds(marker, environment))
    found: dict[str, LockedPackage] = {}
    for package in _reached(locked, platform, holds):
        if (other := found.get(package.name)) is not None and other != package:
            raise SolveFailed(f"the lock file wants {package.name} twice on {platform}: {other.version} and {package.version}",
                              code="locked_elsewhere", hint=_HINT)  # fmt: skip
        found[package.name] = package
    return list(found.values())


def _reached(locked: LockedInput, platform: Platform, holds: Callable[[str], bool]) -> Iterator[LockedPackage]:
    """Yield what is wanted where ``holds`` says which markers hold: by the packages' markers, or along the graph."""
    if locked.platforms is not None:
        yield from locked_platform(locked, platform).packages
        return
    if locked.start is None:
        yield from (package for package in locked.packages if holds(package.marker))
        return
    todo, seen = [*reversed(locked.start)], set()
    told: set[int] = set()
    while todo:
        need = todo.pop()
        if not holds(need.marker):
            continue
        package = locked.packages[need.package]
        for extra in ("", *need.extras):
            if (need.package, extra) not in seen:
                seen.add((need.package, extra))
                todo += reversed(package.of_extras.get(extra, ()) if extra else package.needs)
        if need.package not in told and package.is_installed:
            yield package
        told.add(need.package)


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


def _check_roots(pip: Sequence[PipRequirement], locked: LockedInput) -> None:
    from packaging.specifiers import SpecifierSet

    versions: dict[str, set[str]] = {}
    for package in locked.packages:
        versions.setdefault(package.name, set()).add(package.version)
    for position, requirement in enumerate(pip):
        known = versions.get(requirement.name or "", set())
        if requirement.specifier and not any(
            SpecifierSet(requirement.specifier).contains(one, prereleases=True) for one in known if one
        ):
            known = set()
        if not known:
            raise SolveFailed(f"python.pip[{position}] `{requirement}` is not in the lock file of this environment", code="not_in_locked_input",
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
