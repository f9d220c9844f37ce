"""uv's account of a conflict, as a short tree: who wants what, from which line of the definition."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wardian.definition.requirement import canonical_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*(?:\[[^\]]*\])?"
_REQUIREMENT = rf"{_NAME}(?:\s*[<>=!~][^\s,;]*(?:,[<>=!~][^\s,;]+)*|\{{[^}}]*\}})?"
_DEPENDS = re.compile(rf"(?:all versions of )?({_REQUIREMENT}) depends? on ({_REQUIREMENT})")
_ROOTS = re.compile(r"you require (.+?)(?=,? we can|$)")
_STATED = re.compile(
    rf"(?:only (?P<only>.+?) (?:is|are) available)|(?:there (?:is|are) no versions? of (?P<none>{_REQUIREMENT}))"
    rf"|(?P<missing>{_NAME}) was not found in the package registry|(?P<python>the (?:current|requested) Python version \([^)]*\) does not satisfy \S+)"
)
_DEPTH = 12


@dataclass(slots=True)
class _Facts:
    roots: list[str] = field(default_factory=list)
    edges: dict[str, list[str]] = field(default_factory=dict)
    stated: list[str] = field(default_factory=list)


def explain(text: str, requirements: Sequence[str], constraints: Sequence[str] = (), fixed: Sequence[str] = ()) -> str:
    """Return a tree of the requirements that clash, or ``text`` as it is where nothing can be made of it.

    Args:     text: uv's explanation.  requirements, constraints: the definition's, in order: they give lines their place.
              fixed: names that conda brought, whose versions cannot move.
    """
    facts = _facts(text)
    if not facts.roots:
        return text
    wanted = [*facts.roots, *(target for targets in facts.edges.values() for target in targets)]
    clashing = {name for name in map(_name, wanted) if len({w for w in wanted if _name(w) == name}) > 1}
    lines = ["no set of packages satisfies the definition:"]
    for root in facts.roots:
        place = _place(root, requirements, constraints, fixed)
        lines.append(f"  {_marked(root, clashing)}{place}")
        lines += [f"  {line}" for line in _children(root, facts, clashing, 1, {_name(root)})]
    lines += [f"  {line}" for line in dict.fromkeys(facts.stated)]
    return "\n".join(lines)


def involved(text: str, lines: Sequence[str]) -> set[int]:
    """Return which of the requirement ``lines`` uv's explanation ``text`` speaks of as what is required, by number."""
    names = {_name(root) for root in _facts(text).roots}
    return {number for number, line in enumerate(lines) if _name(line) in names}


def _facts(text: str) -> _Facts:
    facts = _Facts()
    whole = " ".join(text.replace("cause:", " ").split())
    for sentence in re.split(r"(?<=[.)])\s+(?=And |Because )", whole):
        premises = sentence.partition(", we can conclude")[0]
        premises = re.sub(r"(?:and )?(?:because )?we know from \(\d+\) that [^,]*?(?= and because|$)", "", premises)
        for found in _DEPENDS.finditer(premises):
            targets = facts.edges.setdefault(_name(found.group(1)), [])
            if (target := _tidy(found.group(2))) not in targets:
                targets.append(target)
        for found in _ROOTS.finditer(premises):
            for part in re.split(r"\s+and\s+|,\s+(?=[A-Za-z])", found.group(1)):
                if re.fullmatch(_REQUIREMENT, part.strip().rstrip(",")) and _tidy(part) not in facts.roots:
                    facts.roots.append(_tidy(part))
        for found in _STATED.finditer(premises):
            facts.stated.append(_words(found))
    return facts


def _words(found: re.Match[str]) -> str:
    if found.group("only"):
        return f"only {found.group('only')} is available"
    if found.group("none"):
        return f"there is no {found.group('none')}"
    if found.group("missing"):
        return f"`{found.group('missing')}` is in none of the indexes"
    return found.group("python")


def _children(parent: str, facts: _Facts, clashing: set[str], depth: int, above: set[str]) -> Iterator[str]:
    if depth > _DEPTH:
        return
    for target in facts.edges.get(_name(parent), ()):
        yield f"{'  ' * depth}wants {_marked(target, clashing)}"
        if _name(target) not in above:
            yield from _children(target, facts, clashing, depth + 1, above | {_name(target)})


def _marked(requirement: str, clashing: set[str]) -> str:
    return f"{requirement}  ✗" if _name(requirement) in clashing else requirement


def _place(root: str, requirements: Sequence[str], constraints: Sequence[str], fixed: Sequence[str]) -> str:
    given = [("python.pip", i, line) for i, line in enumerate(requirements)]
    given += [("python.constraints", i, line) for i, line in enumerate(constraints)]
    exact = [one for one in given if _tidy(one[2].partition(";")[0]) == root]
    for field_name, position, line in exact or [one for one in given if _name(one[2]) == _name(root)]:
        return f"    ← {field_name}[{position}] `{line}`"
    return "    ← brought by conda" if _name(root) in fixed else ""


def _name(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", requirement.strip())
    return canonical_name(match.group()) if match else requirement


def _tidy(requirement: str) -> str:
    return "".join(requirement.split()).rstrip(".,")
