"""Rules about the Python that a definition asks for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from wardian.lint.finding import Problem, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from packaging.specifiers import SpecifierSet

    from wardian.formats.read_definition import Place
    from wardian.lint.subject import Subject

# when the last security fix came, as the release schedules of Python have it (PEP 569, 596, 619 …)
ENDED = {
    (2, 7): "January 2020", (3, 5): "September 2020", (3, 6): "December 2021", (3, 7): "June 2023", (3, 8): "October 2024",
    (3, 9): "October 2025", (3, 10): "October 2026",
}  # fmt: skip
_LIVING = ((3, 11), (3, 12), (3, 13), (3, 14), (3, 15))
_PATCHES = (*range(25), 99)
_CLAUSE = re.compile(r"(>=|<=|==|!=|~=|>|<|=)?([0-9][0-9A-Za-z.!*]*)")


def _asked(subject: Subject) -> Iterator[tuple[Place, str, tuple[SpecifierSet, ...]]]:
    """Yield where Python is asked for, the text, and the alternatives that it allows."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    python = subject.environment.python
    if python.manager == "uv" and python.requires_python:
        yield subject.place("python.requires_python"), python.requires_python, (SpecifierSet(python.requires_python),)
    for place, spec in subject.conda:
        version = spec.version or spec.bracket("version") or ""
        if spec.name != "python" or spec.url:
            continue
        try:
            sets = tuple(SpecifierSet(",".join(map(_pep440, part.split(",")))) for part in version.split("|"))
        except InvalidSpecifier:
            continue  # conda can say more than PEP 440
        yield place, str(spec), sets


def _pep440(clause: str) -> str:
    """Return one of conda's version constraints as PEP 440 has it: `=3.11` and `3.11.*` are prefixes, `3.11` an exact version."""
    match = _CLAUSE.fullmatch(clause)
    if match is None:
        return "" if clause in ("", "*") else f"==={clause}"
    operator, version = match[1] or "==", match[2].removesuffix("*").removesuffix(".")
    if operator in ("=", "==", "!=") and (operator == "=" or match[2].endswith("*")):
        return f"{'!=' if operator == '!=' else '=='}{version}.*"
    return f"{operator}{version}"


def _allows(sets: tuple[SpecifierSet, ...], minor: tuple[int, int]) -> bool:
    return any(one.contains(f"{minor[0]}.{minor[1]}.{patch}", prereleases=True) for one in sets for patch in _PATCHES)


def _none(subject: Subject) -> Iterator[Problem]:
    env = subject.environment
    if not subject.installs or not (env.python.conda or env.python.pip):
        return
    if env.python.manager == "conda" and env.python.locked_input:
        return  # a lock file: the one that is in it
    if env.python.manager == "conda":
        if all(spec.name != "python" for _, spec in subject.conda) and (env.python.pip or subject.format == "wardian"):
            yield Problem(subject.whole, "no Python is asked for", fix="add `- python=3.12` to the dependencies")
        elif all(spec.name != "python" for _, spec in subject.conda):
            yield Problem(
                subject.whole, "no Python is asked for", fix="add `- python=3.12`, unless you want none", severity="note"
            )
    elif not env.python.requires_python:
        fixes = {
            "requirements": "such a file cannot say it: `wardian env create NAME -r FILE --python 3.12`, or use a pyproject.toml",
            "wardian": 'write `python: {version: "3.12"}`',
        }
        yield Problem(subject.whole, "no Python is asked for", severity="note" if subject.format == "requirements" else None,
                      fix=fixes.get(subject.format, 'write `requires-python = "==3.12.*"`'))  # fmt: skip


def _no_upper_bound(subject: Subject) -> Iterator[Problem]:
    if subject.environment.python.locked_input:
        return  # a lock file: nothing is taken that it does not hold
    for place, text, sets in _asked(subject):
        if _allows(sets, (3, 99)) or _allows(sets, (4, 0)):
            yield Problem(place, f"`{text}` allows every later Python")


def _ended(subject: Subject) -> Iterator[Problem]:
    for place, text, sets in _asked(subject):
        allowed = [minor for minor in (*ENDED, *_LIVING, (3, 99)) if _allows(sets, minor)]
        if allowed and allowed[-1] in ENDED:
            major, minor = allowed[-1]
            yield Problem(place, f"`{text}`: Python {major}.{minor} has had no security fixes since {ENDED[allowed[-1]]}")


def _several(subject: Subject) -> Iterator[Problem]:
    found = [(place, spec) for place, spec in subject.conda if spec.name == "python"]
    for place, spec in found[1:]:
        yield Problem(place, f"Python is asked for as `{found[0][1]}` on line {found[0][0].line} and as `{spec}`")


RULES = (
    Rule("no-python", "warning", "packages, but no version of Python",
         "The version of Python decides which builds and wheels fit: without one, the newest that the rest allows is taken.",
         "name one minor version: `python=3.12`", _none, codes=("no_python", "dynamic_requires_python"),
         azure="Python section or version missing"),
    Rule("no-upper-python", "warning", "a Python requirement without an upper bound",
         "A new minor version of Python appears every October, months before all packages have builds for it.",
         "add an upper bound: `>=3.11,<3.13`", _no_upper_bound),
    Rule("python-ended", "warning", "a Python that gets no security fixes any more",
         "Packages stop building for it, so new versions of what you use cannot be had, and its faults stay.",
         "move to a Python that is maintained", _ended, azure="Python version unsupported or not recommended"),
    Rule("several-pythons", "error", "Python asked for several times",
         "An environment has one interpreter: a reader cannot tell which line holds.",
         "keep one line for python", _several, azure="multiple Python versions"),
)  # fmt: skip
