"""``uv.lock`` as a definition: what its project asks for, exactly as it was locked; nothing is solved anew."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING

from wardian.definition.environment import Environment, PythonSection
from wardian.definition.project_name import canonical_name
from wardian.definition.requirement import PipRequirement
from wardian.digest import Digest
from wardian.errors import InvalidInput, NotFound
from wardian.formats import pylock
from wardian.formats.faults import Faults
from wardian.formats.ledger import Ledger
from wardian.formats.local_code import LocalCode
from wardian.formats.locked_input import index_options
from wardian.formats.pyproject import with_selection
from wardian.formats.read_definition import Place, ReadDefinition
from wardian.formats.source_text import plain_text, read_source
from wardian.formats.toml_text import parse_toml
from wardian.formats.uv_lock_graph import SELECTION, Selection, UvLock
from wardian.formats.uv_lock_stale import warn_if_stale
from wardian.formats.write_toml import toml_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from wardian.definition.environment import LocalSource
    from wardian.formats.locked_input import LockedInput, LockedPackage, Need

FORMAT = "uv-lock"
_PROJECT = "pyproject.toml"

add = pylock.add
remove = pylock.remove


def read(
    text: str,
    *,
    file: str,
    base: Path | None,
    local: Sequence[LocalSource] = (),
    extras: Sequence[str] = (),
    groups: Sequence[str] = (),
) -> ReadDefinition:
    """Return the uv environment that ``text`` locks: what its project needs, by exact versions, and the text's digest.

    What is taken is what ``uv sync`` takes: the project's dependencies and its default groups, which the pyproject.toml beside the
    file names; ``extras`` and ``groups`` come on top. The returned ``text`` says which they are, if they are not those of the
    file alone. The project itself is built as local code if uv builds it, too, and its code is there; else it is left out: a loss.

    Args:     text: the file's text.  file: its name for people.
              base: its directory, for the project and local code; None for a text that was kept, with ``local``.
    Raises:   InvalidDefinition: every fault of the file.
    Source:   uv's documentation of its lock file; semantics §1
    """
    faults = Faults(file)
    text = plain_text(text)
    toml = parse_toml(text, faults)
    lock = UvLock(toml, faults)
    selection = _selection(lock, base, extras, groups, faults)
    if base is not None:
        warn_if_stale(lock, base / _PROJECT, faults)
    faults.raise_if_any()
    locked = lock.input(selection)
    faults.raise_if_any()
    if selection != lock.selection():
        text = _with_selection(text, lock, selection)
    reading = _Reading(lock, locked, LocalCode(base, local), base, faults, Ledger(file))
    pip = reading.requirements()
    reading.note_left_out(selection)
    digest = Digest.of(text.encode())
    indexes = [
        package.index for i in locked.reachable() if not (package := locked.packages[i]).address and package.is_installed
    ]
    section = PythonSection(
        manager="uv", requires_python=locked.requires_python, pip=pip, pip_options=index_options(indexes), local=reading.local.sources,
        locked_input=digest,
    )  # fmt: skip
    environment = Environment()
    with faults.wrap():
        environment = Environment(python=section)
    faults.raise_if_any()
    return ReadDefinition(environment, FORMAT, text, reading.local.places, not section.local and PurePath(file).suffix == ".lock", faults.warnings, reading.ledger.losses,
                          reading.places, {digest: ("uv.lock", text)})  # fmt: skip


def write(env: Environment) -> str:
    """Raise: a definition says less than a lock file."""
    del env
    raise InvalidInput("a definition is no lock file", hint="`wardian env export NAME --to pylock` writes one, which uv reads",
                       code="not_expressible")  # fmt: skip


def _selection(lock: UvLock, base: Path | None, extras: Sequence[str], groups: Sequence[str], faults: Faults) -> Selection:
    """Return what is wanted: what was asked for, what the text says, and the project's default groups."""
    said = lock.selection()
    if lock.toml.get(SELECTION) is None and base is not None:
        said = Selection((), _default_groups(lock, base / _PROJECT, said.groups))
    for what, asked, known in (("extra", extras, lock.extras), ("group", groups, lock.groups)):
        for name in asked:
            if canonical_name(name) not in known:
                hint = f"known ones: {', '.join(known)}" if known else "there are none; `uv lock` writes the file anew"
                faults.add(f"unknown_{what}", f"the lock file has no {what} `{name[:80]}`", field=f"{what}s", hint=hint)
    return Selection(tuple(dict.fromkeys((*said.extras, *map(canonical_name, extras)))),
                     tuple(dict.fromkeys((*said.groups, *map(canonical_name, groups)))))  # fmt: skip


def _with_selection(text: str, lock: UvLock, selection: Selection) -> str:
    """Return ``text`` with what was asked for in it."""
    asked = {"extras": list(selection.extras), "groups": list(selection.groups)}
    if lock.toml.get(("tool",)) is not None:
        return with_selection(text, asked)
    lines = [f"{key} = [{', '.join(map(toml_text, names))}]" for key, names in asked.items() if names]
    return f"{text.rstrip()}\n\n[tool.wardian]\n" + "".join(f"{line}\n" for line in lines)


def _default_groups(lock: UvLock, project: Path, usual: tuple[str, ...]) -> tuple[str, ...]:
    """Return the groups that ``[tool.uv] default-groups`` of ``project`` names, as far as they are locked; without it ``usual``."""
    if not project.is_file():
        return usual
    value = parse_toml(plain_text(read_source(project)), Faults(str(project))).get(("tool", "uv", "default-groups"))
    if value == "all":
        return lock.groups
    if isinstance(value, list):
        return tuple(name for name in map(canonical_name, map(str, value)) if name in lock.groups)
    return usual


class _Reading:
    """The requirements of one file, with what is lost on the way."""

    def __init__(
        self, lock: UvLock, locked: LockedInput, local: LocalCode, base: Path | None, faults: Faults, ledger: Ledger
    ) -> None:
        self.lock = lock
        self.locked = locked
        self.local = local
        self.base = base
        self.faults = faults
        self.ledger = ledger
        self.places: dict[str, Place] = {}
        self._found: dict[str, None] = {}
        self._seen: set[int] = set()  # packages that were looked at

    def requirements(self) -> tuple[str, ...]:
        """Return what is asked for, as requirements; then whatever else is on no index."""
        for need in self.locked.start or ():
            package = self.locked.packages[need.package]
            if need.package not in self.lock.projects:
                self._take(need)
                continue
            self._take_project(need.package, package)
            for one in (*package.needs, *(one for extra in need.extras for one in package.of_extras[extra])):
                self._take(one)
        for i in self.locked.reachable():
            package = self.locked.packages[i]
            if package.address and i not in self._seen:
                self._add(i, package, "")
        return tuple(self._found)

    def _take(self, need: Need) -> None:
        self._add(need.package, self.locked.packages[need.package], need.marker, need.extras)

    def _take_project(self, i: int, package: LockedPackage) -> None:
        """Add the project itself, if it can be built."""
        self._seen.add(i)
        if not package.is_installed:
            self._drop(i, f"the project `{package.name}` is no package: what it needs is installed, not itself")
            return
        try:
            self.local.take(PipRequirement.parse(f"{package.name} @ {package.address}").path or ".")
        except (NotFound, InvalidInput) as error:
            if error.stable_code not in ("no_such_path", "not_installable"):
                raise
            self._drop(
                i,
                f"the code of the project `{package.name}` is not beside the lock file: what it needs is installed, not itself",
            )
            return
        self._add(i, package, "")

    def _add(self, i: int, package: LockedPackage, marker: str, extras: tuple[str, ...] = ()) -> None:
        self._seen.add(i)
        field = f"package[{i}]"
        if not package.is_installed:
            self._drop(i, f"`{package.name}` is no package: what it needs is installed, not itself")
            return
        brackets = f"[{','.join(extras)}]" if extras else ""
        target = f" @ {package.address}" if package.address else f"=={package.version}"
        with self.faults.wrap(self.lock.line(i), field):
            requirement = PipRequirement.parse(f"{package.name}{brackets}{target}" + (f" ; {marker}" if marker else ""))
            if requirement.path is not None:
                self._take_local(i, package, requirement.path)
            if (text := str(requirement)) not in self._found:
                self.places[f"python.pip[{len(self._found)}]"] = Place(self.faults.file, self.lock.line(i), field)
                self._found[text] = None

    def _take_local(self, i: int, package: LockedPackage, path: str) -> None:
        self.local.take(path)
        found = next(source.digest for source in self.local.sources if source.path == path)
        if package.files and found not in package.files.values():
            wanted = next(iter(package.files.values()))
            raise InvalidInput(f"`{path}` has the sha256 {found}, but {wanted} in the lock file", code="locked_hash_differs",
                               hint="`uv lock` takes it as it is now, if that is meant")  # fmt: skip
        if self.lock.sources[i][0] == "editable":
            self._note("changed", i, f"`{package.name}` is built and installed as it is now, not editable")

    def _drop(self, i: int, why: str) -> None:
        self._note("dropped", i, why)

    def _note(self, kind: str, i: int, why: str) -> None:
        if all(loss.why != why for loss in self.ledger.losses):
            self.ledger.note(kind, f"package[{i}]", why, line=self.lock.line(i))

    def note_left_out(self, selection: Selection) -> None:
        """Note the extras and groups that are not taken."""
        for what, known, taken in (
            ("extra", self.lock.extras, selection.extras),
            ("group", self.lock.groups, selection.groups),
        ):
            if left := [name for name in known if name not in taken]:
                field = "optional-dependencies" if what == "extra" else "dev-dependencies"
                self.ledger.note("dropped", field, f"nobody asked for the {what}s {', '.join(left)}", hint=f"`--{what} NAME` takes one",
                                 line=self.lock.line(self.lock.projects[0]) if self.lock.projects else None)  # fmt: skip


__all__ = ["FORMAT", "add", "read", "remove", "write"]
