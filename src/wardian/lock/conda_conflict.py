"""Says why no set of conda packages satisfies a definition: a short tree of who wants what, in the definition's own lines."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wardian.errors import SolveFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

_LONGEST = 24  # lines of a tree; what is cut is said
_MOST_VERSIONS = 6
_BRANCH = re.compile(r"^((?:[│ ] {2})*)(?:[├└]─ )?(.*)$")
_CHOICE = re.compile(
    r",?(?: which)? can(?:not)? be installed (?:because there are no viable options|with any of the following options):$"
)
_NOTHING = re.compile(r",? for which no candidates were found\.?$")
_CLASH = re.compile(
    r" ?, which conflicts with (?:the versions reported above|any installable versions previously reported)\.?$"
)
_NONE_AT_ALL = re.compile(r"^No candidates were found for (.+?)\.?$")
_EXCLUDED = re.compile(r"^(.+) is excluded because (.+?)\.?$")
_LATE = re.compile(r"uploaded after the cutoff date of (\S+ \S+)")
_PRIORITY = re.compile(r"due to strict channel priority not using this option from: '([^']*)'")
_LOCKED = re.compile(r"^(\S+) (\S+) is locked, but another version is required")
_RULE = re.compile(r"^the constraint (\S+) ==(\S+) cannot be fulfilled")


@dataclass(frozen=True, slots=True)
class Clues:
    """What the explanation is made of, beside the solver's words.

    Attributes:
        requirements: as written, each with its field path, in order.
        virtual: what is assumed of the machine.
        declared: which of that the definition says.
        searched: the channels' aliases.
        alias_of: the alias of a channel by its URL.
        versions: versions that the channels have of these packages, newest first; a name without any is left out.
        names: every package's name.
        normal: a requirement in the solver's own form.
    """

    requirements: Sequence[tuple[str, str, str]]  # package name, requirement as written, field path
    platform: str
    virtual: Mapping[str, str]
    declared: frozenset[str]
    searched: Sequence[str]
    as_of: str
    alias_of: Callable[[str], str]
    versions: Callable[[Sequence[str]], Mapping[str, Sequence[str]]]
    names: Callable[[], frozenset[str]]
    normal: Callable[[str], str]

    def asking_for(self, root: str) -> list[tuple[str, str]]:
        """Return the requirements that a root of the solver's tree stands for, with their field paths."""
        name = _name(root)
        of_name = [(written, place) for package, written, place in self.requirements if package == name]
        spec = _without_channel(_NONE_AT_ALL.sub(r"\1", _CHOICE.sub("", root)))
        exact = [found for found in of_name if _without_channel(self.normal(found[0])) == spec]
        return exact or of_name


@dataclass(slots=True)
class _Node:
    text: str
    children: list[_Node] = field(default_factory=list)


def explain(text: str, clues: Clues) -> SolveFailed:
    """Return the error that stands for the solver's ``text``.

    Its code is ``package_not_found``, ``missing_virtual_package``, ``held_package`` or ``solve_failed``; its details
    hold the field paths of the requirements that clash.
    """
    roots = _parsed(text)
    absent = _absent(clues) if _NONE_AT_ALL.match(roots[0].text) or _NOTHING.search(text) else None
    if absent is not None:
        return absent
    held = _held(text)
    if held:
        return held
    involved = list(dict.fromkeys(found for root in roots for found in clues.asking_for(root.text)))
    lines = list(_rendered(roots, clues))
    if len(lines) > _LONGEST:
        lines = [*lines[:_LONGEST], f"  … {len(lines) - _LONGEST} more lines"]
    message = "\n".join([f"no set of packages satisfies the definition on {clues.platform}", *lines])
    if len(involved) > 1:
        message += "\nthese requirements clash: " + ", ".join(f"`{written}` ({place})" for written, place in involved)
    missing = [m for m in (_virtual(node.text) for node in _all(roots) if _NOTHING.search(node.text)) if m]
    code, hint = (
        ("missing_virtual_package", _declare(missing, clues)) if missing else ("solve_failed", _advice(text, involved, clues))
    )
    return SolveFailed(message, hint=hint, code=code, details={"requirements": [place for _, place in involved]})


# -- the solver's words ---------------------------------------------------------------------------------------------------


def _parsed(text: str) -> list[_Node]:
    top = _Node("")
    stack = [(-1, top)]
    for line in text.removeprefix("Cannot solve the request because of:").strip().splitlines():
        match = _BRANCH.match(line)
        if match is None or not match.group(2) or match.group(2).startswith("The following packages are incompatible"):
            continue
        depth = len(match.group(1)) // 3 + (match.start(2) > len(match.group(1)))
        while stack[-1][0] >= depth:
            stack.pop()
        node = _Node(match.group(2))
        stack[-1][1].children.append(node)
        stack.append((depth, node))
    return top.children or [_Node(text.strip())]


def _all(nodes: Sequence[_Node]) -> Iterator[_Node]:
    for node in nodes:
        yield node
        yield from _all(node.children)


def _name(text: str) -> str:
    match = _NONE_AT_ALL.match(text)
    return re.split(r"[\s\[,=<>!~]", (match.group(1) if match else text).strip().rpartition("::")[2])[0]


# -- what is not there ----------------------------------------------------------------------------------------------------


def _absent(clues: Clues) -> SolveFailed | None:
    """Return an error that names every requirement of which the channels have no package at all, or no such version."""
    known = clues.versions([name for name, _, _ in clues.requirements])
    gone = [(name, written, place) for name, written, place in clues.requirements if name not in known]
    if not gone:
        return None
    import difflib

    every = sorted(clues.names())
    where = f"{', '.join(clues.searched)} for {clues.platform}"
    lines, guesses = [], []
    for name, written, place in gone:
        lines.append(f"there is no package `{name}` in {where} (`{written}`, {place})")
        if close := difflib.get_close_matches(name, every, 3, 0.7):
            guesses.append(f"for `{name}`: " + ", ".join(f"`{guess}`" for guess in close))
    hint = f"the closest names are, {'; '.join(guesses)}" if guesses else "check the name, or add the channel that has it"
    return SolveFailed(
        "\n".join(lines), hint=hint, code="package_not_found", details={"requirements": [place for _, _, place in gone]}
    )


def _held(text: str) -> SolveFailed | None:
    found = {match.groups() for line in text.splitlines() if (match := _LOCKED.match(line.lstrip("│├└─ ")))}
    if not found:
        return None
    names = ", ".join(f"{name} {version}" for name, version in sorted(found))
    return SolveFailed(f"no set of packages satisfies the definition while {names} stays as it is", code="held_package",
                       hint="upgrade that one too, or relax what asks for another version")  # fmt: skip


# -- the tree -------------------------------------------------------------------------------------------------------------


def _rendered(roots: Sequence[_Node], clues: Clues) -> Iterator[str]:
    for root in roots:
        if match := _RULE.match(root.text):
            yield f"  {match.group(1)} is to stay at {match.group(2)}"
            continue
        asking = clues.asking_for(root.text)
        shown = ", ".join(f"`{written}`" for written, _ in asking) or _plain(root.text, clues)
        if _NONE_AT_ALL.match(root.text):
            shown = f"{shown}: nothing fits{_there(_name(root.text), clues)}"
        yield f"  {shown}"
        yield from _below(_folded(root.children, clues), "  ")


def _below(nodes: Sequence[_Node], indent: str) -> Iterator[str]:
    for i, node in enumerate(nodes):
        last = i == len(nodes) - 1
        yield f"{indent}{'└─' if last else '├─'} {node.text}"
        yield from _below(node.children, indent + ("   " if last else "│  "))


def _folded(nodes: Sequence[_Node], clues: Clues) -> list[_Node]:
    """Return the nodes in our words: "X would require" and what it requires made one, alike leaves made one."""
    said: list[_Node] = []
    leaves: dict[tuple[str, str], list[str]] = {}
    for node in nodes:
        head = node.text
        if head.endswith((" would require", " would constrain")):
            package = _versions(head.rpartition(" would ")[0])
            verb = "needs" if head.endswith("require") else "goes only with"
            if "," in package:
                verb = verb.replace("needs", "need").replace("goes", "go")
            said += [
                _Node(f"{package} {verb} {_plain(child.text, clues)}", _folded(child.children, clues))
                for child in node.children
            ]
        elif node.children:
            said.append(_Node(_plain(head, clues), _folded(node.children, clues)))
        elif _CLASH.search(head):
            _collect(leaves, _CLASH.sub("", head), "is ruled out by the rest")
        elif match := _EXCLUDED.match(head):
            _collect(leaves, match.group(1), _why(match.group(2), clues))
        else:
            _collect(leaves, _plain(head, clues), "")
    return said + [
        _Node(" ".join(filter(None, (_versions(f"{name} {' | '.join(versions)}"), fate))))
        for (name, fate), versions in leaves.items()
    ]


def _collect(leaves: dict[tuple[str, str], list[str]], text: str, fate: str) -> None:
    name, _, versions = text.partition(" ")
    for version in versions.split(" | "):
        known = leaves.setdefault((name, fate), [])
        if version not in known:
            known.append(version)


def _versions(text: str) -> str:
    """Return ``name v1 | v2 | …`` as ``name v1, v2 …``, long lists cut."""
    versions = text.split(" | ")
    return ", ".join(versions[:_MOST_VERSIONS]) + (f" … ({len(versions)} versions)" if len(versions) > _MOST_VERSIONS else "")


def _plain(text: str, clues: Clues) -> str:
    bare = _CLASH.sub("", _CHOICE.sub("", text)).removesuffix(" *").strip()
    if not _NOTHING.search(bare):
        return _without_channel(bare)
    spec = _NOTHING.sub("", bare).removesuffix(" *")
    if _virtual(text):
        return f"{spec.removeprefix('__')}, but {_assumed(_name(spec), clues)}"
    return f"{_without_channel(spec)}, which is not there{_there(_name(spec), clues)}"


def _without_channel(text: str) -> str:
    return re.sub(r' ?\[channel="[^"]*"\]', "", text)


def _why(reason: str, clues: Clues) -> str:
    if _LATE.search(reason):
        return f"was published after {clues.as_of}"
    if match := _PRIORITY.search(reason):
        return f"is in {clues.alias_of(match.group(1))}, but a channel before that has the package too"
    if reason.startswith("candidate not in requested channel"):
        return "is not in the channel that is asked for"
    return f"is left out: {reason}"


def _there(name: str, clues: Clues) -> str:
    versions = list(clues.versions([name]).get(name, ()))
    return f"; there is {_versions(' | '.join(versions))}" if versions else "; no channel has the package"


# -- virtual packages -----------------------------------------------------------------------------------------------------

_OF_A_SYSTEM = {"__osx": "macOS", "__win": "Windows", "__linux": "Linux", "__unix": "Unix"}


def _virtual(text: str) -> str:
    """Return the spec of the virtual package that ``text`` speaks of, or an empty string."""
    match = re.match(r"(__[\w-]+[^,]*(?:,[<>=!~][^,]*)*)", text)
    return _NOTHING.sub("", match.group(1)).strip() if match else ""


def _assumed(name: str, clues: Clues) -> str:
    if name in clues.declared:
        return f"the definition declares {clues.virtual[name]}"
    if name in clues.virtual:
        return f"{clues.platform} is taken to have {clues.virtual[name]}"
    if name in _OF_A_SYSTEM:
        return f"{clues.platform} is not {_OF_A_SYSTEM[name]}"
    return "the definition doesn't declare it"


def _declare(missing: Sequence[str], clues: Clues) -> str:
    wanted = {_name(spec): spec for spec in missing}
    foreign = [_OF_A_SYSTEM[name] for name in wanted if name in _OF_A_SYSTEM and name not in clues.virtual]
    if foreign:
        return f"leave the package out on {clues.platform}, or lock for {foreign[0]} only"
    lines = []
    for name, spec in wanted.items():
        number = re.search(r"\d[\w.]*", spec.removeprefix(name))
        lines.append(f'{name.removeprefix("__")}: "{number.group() if number else 1}"')
    return f"if the machines have it, declare it under `accelerators:` ({', '.join(lines)}); else ask for an older version"


def _advice(text: str, involved: Sequence[tuple[str, str]], clues: Clues) -> str:
    if _LATE.search(text):
        return f"take a later time than {clues.as_of}, or ask for older versions"
    if _PRIORITY.search(text):
        return "channel priority is strict: put the channel first, or write `channel::package`"
    return "relax one of them" if len(involved) > 1 else "ask for another version"
