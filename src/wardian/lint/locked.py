"""Rules that ask the locks of a definition; nothing is asked of an index."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardian.lint.finding import Problem, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wardian.formats.read_definition import Place
    from wardian.lint.subject import Subject


def _place_of(subject: Subject, name: str) -> Place:
    """Return where ``name`` is asked for; the whole file if another package brings it."""
    return next((place for place, requirement in subject.pip if requirement.project == name), subject.whole)


def _no_wheel(subject: Subject) -> Iterator[Problem]:
    built: dict[tuple[str, str], list[str]] = {}
    for lock in subject.locks:
        for artifact in lock.artifacts:
            if artifact.kind == "sdist" and artifact.source.startswith("index:"):
                built.setdefault((artifact.name, artifact.version), []).append(lock.platform)
    for (name, version), platforms in built.items():
        where = " and ".join(sorted(platforms))
        yield Problem(_place_of(subject, name), f"`{name} {version}` has no wheel for {where}: it was built from source")


RULES = (
    Rule("no-wheel", "warning", "a locked package that has no wheel for a platform",
         "Building it needs compilers and headers of the machine that locks, takes long, and can give other bytes elsewhere.",
         "ask for a version that has a wheel, or take the package from conda", _no_wheel),
)  # fmt: skip
