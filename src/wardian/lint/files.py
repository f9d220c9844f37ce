"""Files that are looked at, and changed where that is safe."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from wardian import formats
from wardian.errors import InvalidDefinition, InvalidInput, WardianError
from wardian.formats.source_text import read_source
from wardian.lint.check import lint, of_faults
from wardian.lint.fixes import fixed_text
from wardian.lint.subject import Subject

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from os import PathLike

    from wardian.definition.environment import Environment, LocalSource
    from wardian.formats.read_definition import ReadDefinition
    from wardian.lint.finding import Finding
    from wardian.lock.lock import Lock

_MOST_FIXES = 500


@dataclass(frozen=True, slots=True)
class Linted:
    """What was found in one definition.

    Attributes:
        file: its name for people.  text: as it was read.
        fixed: the text that fixes made of it; equal to ``text`` if there were none.
        done: the findings that are gone with it.
    """

    file: str
    findings: tuple[Finding, ...]
    text: str = ""
    fixed: str = ""
    done: tuple[Finding, ...] = ()

    def count(self, severity: str) -> int:
        """Return how many findings have ``severity``."""
        return sum(one.severity == severity for one in self.findings)


def lint_file(
    path: str | PathLike[str], *, fix: bool = False, locks: Callable[[Environment], Sequence[Lock]] | None = None
) -> Linted:
    """Return what is worth a line in the definition at ``path``; a file that is no definition has its faults as findings.

    Args:     fix: change the file where that is safe: comments stay, the file is replaced as a whole.
              locks: returns the locks that are known of a definition; for rules about platforms.
    Raises:   NotFound, Unavailable: the file is not there, or cannot be read.
              InvalidInput: it has no format that Wardian reads; ``not_plain_text``: ``fix``, but it is not UTF-8 with one
              kind of line ends.
    """
    place = Path(path)
    if place.is_dir() and (place / "pyproject.toml").exists():
        place /= "pyproject.toml"
    try:
        read = formats.read(place)
    except InvalidDefinition as error:
        return Linted(str(place), of_faults(error.faults, str(place)))
    text = read_source(place) if place.is_file() else ""  # the directory of a model has no text of its own

    def subject(read: ReadDefinition, text: str) -> Subject:
        texts = {str(place): text}
        for name in {one.file for one in read.places.values()} - set(texts):
            with suppress(WardianError):  # files that it includes; gone since, they have no comments
                texts[name] = read_source(Path(name), file=name)
        return Subject(read, str(place), texts, tuple(locks(read.environment)) if locks else ())

    kind = formats.detect(str(place), text) if place.is_file() else read.format
    found = tuple(one if one.file == str(place) else replace(one, fixable=False) for one in lint(subject(read, text)))
    tried = fix or kind.startswith("azureml-")  # of these less can be mended than the rules say
    if not tried or not any(one.fixable for one in found):
        return Linted(str(place), found, text, text)
    spelled = _spelling(place, text) if fix else None

    def again(text: str) -> tuple[Finding, ...]:
        return lint(subject(formats.read_text(text, kind, file=str(place), base=place.parent), text))

    result = _fixed(Linted(str(place), found, text, text), kind, again)
    if spelled is None:
        mended = {(one.id, one.message) for one in result.done}
        return Linted(str(place), tuple(replace(one, fixable=(one.id, one.message) in mended) for one in found), text, text)
    if result.fixed != text:
        from wardian.tools.disk import write_atomically

        target = place.resolve()  # a link stays one
        write_atomically(target, spelled(result.fixed), target.stat().st_mode & 0o777)
    return result


def lint_text(
    text: str, format_name: str, *, file: str, local: tuple[LocalSource, ...] = (), locks: Sequence[Lock] = ()
) -> Linted:
    """Return what is worth a line in a text that stands alone, such as that of a registered version.

    Args:     local: the digests of its local code.  locks: its locks.
    """
    try:
        read = formats.read_text(text, format_name, file=file, local=local)
    except InvalidDefinition as error:
        return Linted(file, of_faults(error.faults, file))
    found = lint(Subject(read, file, {file: text}, tuple(locks)))
    return Linted(file, tuple(replace(one, fixable=False) for one in found), text, text)  # there is no file to mend


def _fixed(linted: Linted, format_name: str, again: Callable[[str], tuple[Finding, ...]]) -> Linted:
    """Return ``linted`` after all fixes that can be made: each is kept only if the file reads and the finding is gone."""
    text, findings = linted.text, linted.findings
    done: list[Finding] = []
    refused: set[tuple[str, str]] = set()
    for _ in range(_MOST_FIXES):
        candidates = [f for f in findings if f.fixable and f.file == linted.file and (f.id, f.message) not in refused]
        if not candidates:
            break
        one = candidates[-1]  # from below, so that the lines above stay where they are
        try:
            new = fixed_text(text, format_name, one)
            after = again(new) if new is not None and new != text else findings
        except WardianError:
            new, after = None, findings
        if new is None or sum(f.id == one.id for f in after) >= sum(f.id == one.id for f in findings):
            refused.add((one.id, one.message))
            continue
        text, findings = new, after
        done.append(one)
    left = tuple(replace(one, fixable=False) if (one.id, one.message) in refused else one for one in findings)
    return Linted(linted.file, left, linted.text, text, tuple(done))


def _spelling(path: Path, text: str) -> Callable[[str], bytes]:
    """Return how a text becomes the bytes of the file: with its BOM and its line ends.

    Raises:   InvalidInput: code ``not_plain_text``.
    """
    content = path.read_bytes()
    for bom in (b"", b"\xef\xbb\xbf"):
        for ending in ("\n", "\r\n"):
            if bom + text.replace("\n", ending).encode() == content:
                return lambda new, bom=bom, ending=ending: bom + new.replace("\n", ending).encode()  # type: ignore[misc]
    raise InvalidInput(f"`{path}` is not UTF-8 with one kind of line ends: nothing is changed in it",
                       hint="save it as UTF-8, or mend it by hand", code="not_plain_text")  # fmt: skip
