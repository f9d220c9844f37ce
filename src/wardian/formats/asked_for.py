"""Which installed distributions somebody asked for, and with which extras: the rest came along."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardian.definition.project_name import canonical_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from packaging.requirements import Requirement

    from wardian.formats.distributions import Distribution
    from wardian.formats.faults import Faults

_SEEDED = frozenset({"pip"})  # what `python -m venv` puts into every environment, and marks
_SEEDED_ONCE = _SEEDED | {"setuptools"}  # before Python 3.12


def asked_for(
    installed: Sequence[Distribution], python: str, faults: Faults
) -> tuple[tuple[Distribution, tuple[str, ...]], ...]:
    """Return the distributions that were asked for, each with its extras, by name.

    Those are the marked ones (``REQUESTED``); without any mark those that no other one needs. An extra is taken to be asked for
    if all that it needs is there and some of it for no other reason. What is left out although nothing needs it is a warning.

    Args:     python: the version of the interpreter, for markers.
    """
    seeded = _SEEDED_ONCE if tuple(map(int, python.split(".")[:2])) < (3, 12) else _SEEDED
    known = {one.name: _Needs(one, python) for one in installed}
    marked = [one for one in installed if one.requested and one.name not in seeded]
    if marked:
        roots = marked
    else:
        wanted = {need for one in known.values() for need, _ in one.of(())}
        roots = [one for one in installed if one.name not in wanted | seeded]
        if roots:
            faults.warn("nothing_marked", "no package is marked as asked for: those are taken that no other one needs")
    extras = {one.name: set[str]() for one in roots}
    reached = _reached(known, extras)
    for root in roots:
        for extra in root.extras:
            needs = {need for need, _ in known[root.name].of((extra,))} - {need for need, _ in known[root.name].of(())}
            if needs and needs <= known.keys() and not needs <= reached | seeded:
                extras[root.name].add(extra)
                reached = _reached(known, extras)
    for one in installed:
        if one.name not in reached:
            why = "every environment comes with it" if one.name in seeded else "nobody asked for it, and nothing needs it"
            faults.warn("left_out", f"{one.name} {one.version} is left out: {why}", hint="`--exact` takes everything")
    return tuple((one, tuple(sorted(extras[one.name]))) for one in roots)


class _Needs:
    def __init__(self, distribution: Distribution, python: str):
        from packaging.requirements import InvalidRequirement, Requirement

        self._environment = {"python_full_version": python, "python_version": ".".join(python.split(".")[:2])}
        self._requires: list[Requirement] = []
        for text in distribution.requires:
            try:
                self._requires.append(Requirement(text))
            except (InvalidRequirement, RecursionError):
                continue  # whoever installs it says so

    def of(self, extras: Iterable[str]) -> set[tuple[str, tuple[str, ...]]]:
        found = set()
        for requirement in self._requires:
            if any(self._holds(requirement, extra) for extra in ("", *extras)):
                found.add((canonical_name(requirement.name), tuple(sorted(requirement.extras))))
        return found

    def _holds(self, requirement: Requirement, extra: str) -> bool:
        from packaging.markers import UndefinedComparison, UndefinedEnvironmentName

        try:
            return requirement.marker is None or requirement.marker.evaluate({**self._environment, "extra": extra})
        except (UndefinedComparison, UndefinedEnvironmentName):  # such as `os_name ~= "x"`: no installer has heeded it
            return False


def _reached(known: Mapping[str, _Needs], roots: Mapping[str, set[str]]) -> set[str]:
    seen: set[tuple[str, tuple[str, ...]]] = set()
    todo = [(name, tuple(sorted(extras))) for name, extras in roots.items()]
    while todo:
        one = todo.pop()
        if one in seen or one[0] not in known:
            continue
        seen.add(one)
        todo += known[one[0]].of(one[1])
    return {name for name, _ in seen}
