"""Whether a ``uv.lock`` still answers the pyproject.toml beside it: uv locks anew before it syncs, Wardian takes what is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wardian.definition.requirement import PipRequirement
from wardian.errors import WardianError
from wardian.formats.faults import Faults
from wardian.formats.source_text import plain_text, read_source
from wardian.formats.toml_text import parse_toml

if TYPE_CHECKING:
    from pathlib import Path

    from wardian.formats.uv_lock_graph import UvLock

_FROM = ("git", "url", "path", "directory", "editable", "virtual")


def warn_if_stale(lock: UvLock, project: Path, faults: Faults) -> None:
    """Warn if the project's dependencies are not those that were locked; what cannot be compared is passed over."""
    if len(lock.projects) != 1 or not project.is_file():
        return
    toml = parse_toml(plain_text(read_source(project)), Faults(str(project)))
    asked = toml.get(("project", "dependencies"))
    said = lock.packages[lock.projects[0]].get("metadata")
    held = said.get("requires-dist") if isinstance(said, dict) else None
    if not isinstance(asked, list) or not isinstance(held, list):
        return
    ours, theirs = _asked(asked), _held(held)
    changed = sorted(ours.keys() ^ theirs.keys())
    changed += sorted(name for name in ours.keys() & theirs.keys() if not _same(ours[name], theirs[name]))
    if changed:
        faults.warn("stale_lock", f"the lock file is older than {project.name}, which asks for something else of {', '.join(changed)}",
                    line=lock.line(lock.projects[0]), field="package.metadata", hint="`uv lock` brings it up to date")  # fmt: skip


def _asked(items: list[Any]) -> dict[str, set[str]]:
    """Return name → specifiers of the project's dependencies."""
    found: dict[str, set[str]] = {}
    for text in items:
        try:
            requirement = PipRequirement.parse(str(text))
        except WardianError:
            continue
        if requirement.name is not None:
            found.setdefault(requirement.name, set()).add(requirement.specifier)
    return found


def _held(items: list[Any]) -> dict[str, set[str] | None]:
    """Return name → specifiers of the dependencies that were locked; None: a source of its own stands for them."""
    found: dict[str, set[str] | None] = {}
    for item in items:
        if not isinstance(item, dict) or "extra ==" in str(item.get("marker", "")):
            continue
        name = str(item.get("name"))
        before = found.setdefault(name, set())
        if before is None or any(key in item for key in _FROM):
            found[name] = None
        else:
            before.add(str(item.get("specifier", "")))
    return found


def _same(ours: set[str], theirs: set[str] | None) -> bool:
    return theirs is None or {_specifiers(one) for one in ours} == {_specifiers(one) for one in theirs}


def _specifiers(text: str) -> frozenset[str]:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        return frozenset(str(one) for one in SpecifierSet(text))
    except InvalidSpecifier:
        return frozenset({text})
