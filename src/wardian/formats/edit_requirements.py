"""Adding to and removing from a requirements file: its other lines, comments and order stay as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardian.definition.requirement import PipRequirement, canonical_name
from wardian.errors import Conflict, InvalidInput, NotFound
from wardian.formats.pip_lines import COMMENT, LogicalLine, logical_lines, read_parts

if TYPE_CHECKING:
    from collections.abc import Sequence


def add(text: str, requirements: Sequence[str], *, manager: str = "uv") -> str:
    """Return ``text`` with ``requirements`` in it: in the place of the line for the same project, else at the end.

    A replaced line keeps its comment and its ``-e``. Lines of other platforms (other markers) are left alone.

    Raises:   InvalidInput: not a requirement, or not one of pip's (``manager`` is "conda").
              Conflict: several lines ask for the project and none has the same marker; code ``ambiguous_requirement``.
    """
    refuse_conda(manager, "a requirements file")
    for requirement in requirements:
        text = _add_one(text, PipRequirement.parse(requirement))
    return text


def remove(text: str, names: Sequence[str]) -> str:
    """Return ``text`` without the lines that ask for the projects ``names`` (or the local paths so written).

    Raises:   NotFound: no line asks for one of them; the message names each.
    """
    found = _requirements(text)
    wanted = [wanted_key(name) for name in names]
    keys = {key_of(requirement) for _, requirement in found}
    if missing := [name for name, key in zip(names, wanted, strict=True) if key not in keys]:
        raise absent(missing, "the file")
    gone = {
        number for line, requirement in found if key_of(requirement) in wanted for number in range(line.first, line.last + 1)
    }
    return "".join(line for number, line in enumerate(text.splitlines(keepends=True), start=1) if number not in gone)


def key_of(requirement: PipRequirement) -> str:
    """Return what makes two requirements the same one: the project, else the path, else the URL."""
    return requirement.project or requirement.path or requirement.url or ""


def wanted_key(name: str) -> str:
    """Return the key of what a user calls ``name``: a project in any spelling, a path or a URL."""
    try:
        return key_of(PipRequirement.parse(name))
    except InvalidInput:
        return canonical_name(name)


def replaced_index(requirement: PipRequirement, existing: Sequence[PipRequirement | None]) -> int | None:
    """Return the index of the requirement in ``existing`` that ``requirement`` takes the place of; None if there is none.

    Raises:   Conflict: several are of its project and none has its marker; code ``ambiguous_requirement``.
    """
    same = [i for i, other in enumerate(existing) if other is not None and key_of(other) == key_of(requirement)]
    exact = [i for i in same if getattr(existing[i], "marker", None) == requirement.marker]
    if exact:
        return exact[0]
    if not same or requirement.marker:
        return None
    if len(same) > 1:
        raise Conflict(f"`{key_of(requirement)}` is asked for {len(same)} times, with other markers", code="ambiguous_requirement",
                       hint="write the marker of the line that you mean, or edit the file")  # fmt: skip
    return same[0]


def refuse_conda(manager: str, what: str) -> None:
    """Raise if ``manager`` says that conda packages are to go into ``what``.

    Raises:   InvalidInput: code ``manager_mismatch``.
    """
    if manager == "conda":
        raise InvalidInput(f"{what} holds no conda packages", hint="use an `environment.yml`", code="manager_mismatch")


def absent(names: Sequence[str], where: str) -> NotFound:
    """Return the error for ``names`` that no requirement asks for."""
    return NotFound(f"{where} asks for no {', '.join(f'`{name}`' for name in names)}", code="no_such_requirement")


def _add_one(text: str, new: PipRequirement) -> str:
    found = _requirements(text)
    lines = text.splitlines(keepends=True)
    at = replaced_index(new, [requirement for _, requirement in found])
    ending = "\r\n" if "\r\n" in text else "\n"
    if at is None:
        if lines and not lines[-1].endswith(("\n", "\r")):
            lines[-1] += ending
        if lines and lines[-1].rstrip("\r\n").endswith("\\") and not COMMENT.match(lines[-1]):
            lines.append(ending)  # the line before must not swallow this one
        return "".join([*lines, f"{new}{ending}"])
    line, before = found[at]
    if str(before) == str(new):
        return text
    editable = "-e " if read_parts(line.text).editable and (new.path is not None or new.url is not None) else ""
    last = lines[line.last - 1]
    end = last[len(last.rstrip("\r\n")) :]
    return "".join([*lines[: line.first - 1], f"{editable}{new}{line.comment}{end}", *lines[line.last :]])


def _requirements(text: str) -> list[tuple[LogicalLine, PipRequirement]]:
    found = []
    for line in logical_lines(text.replace("\r\n", "\n"))[0]:
        if line.constraint:
            continue
        try:
            parts = read_parts(line.text)
            if parts.requirement is not None:
                hashes = "".join(f" --hash={value}" for value in parts.hashes)
                editable = "-e " if parts.editable else ""
                found.append((line, PipRequirement.parse(f"{editable}{parts.requirement}{hashes}")))
        except InvalidInput:
            continue  # a faulty line is not ours to touch; reading the file tells
    return found
