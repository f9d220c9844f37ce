"""The corpus: files as people have them, in `tests/data/corpus`, each with what reading it must give beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wardian import formats
from wardian.definition.document import to_document
from wardian.errors import InvalidDefinition, WardianError
from wardian.formats.tree_copy import copy_tree

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wardian.digest import Digest
    from wardian.errors import Fault
    from wardian.formats.azureml import Written
    from wardian.formats.read_definition import ReadDefinition

DATA = Path(__file__).parents[1] / "data" / "corpus"
EXPECTED = ".expected.json"
_MAIN = ("azureml.yml", "azureml_environment.json", "saved.json", "environment.yml", "requirements.txt")


@dataclass(frozen=True)
class Case:
    """One definition of the corpus: a file, or a directory with what lies beside it.

    Attributes:
        kind: ``conda``, ``requirements`` or ``azureml``.
        path: what a user would name, relative to the corpus.
    """

    kind: str
    name: str
    path: Path

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"

    @property
    def expected(self) -> Path:
        """What reading it gives."""
        return DATA / self.kind / f"{self.name}{EXPECTED}"

    @property
    def folder(self) -> Path:
        """The directory that a user would be in."""
        return DATA / self.path if (DATA / self.path).is_dir() else (DATA / self.path).parent

    @property
    def is_read(self) -> bool:
        """Whether it is a definition at all; the others are refused."""
        return '"definition"' in self.expected.read_text(encoding="utf-8")

    def read(self) -> ReadDefinition:
        """Read it, from its own directory."""
        return formats.read(self.path.name if (DATA / self.path).is_file() else ".")


def all_cases() -> list[Case]:
    """Return every case, by kind and name."""
    found = []
    for place in sorted(DATA.glob("*/*")):
        if place.name.endswith(EXPECTED):
            continue
        path = place.relative_to(DATA)
        if place.is_dir():
            main = next(name for name in _MAIN if (place / name).is_file())
            path = path if main == "azureml_environment.json" else path / main
        found.append(Case(place.parent.name, place.name if place.is_dir() else place.stem, path))
    return found


def document_of(case: Case) -> dict[str, Any]:
    """Return what reading ``case`` gives, as plain values: a definition with all that is said of it, or the error."""
    try:
        found = case.read()
    except InvalidDefinition as error:
        return {"error": error.stable_code, "faults": [_told(fault) for fault in error.faults]}
    except WardianError as error:
        return {"error": error.stable_code, "message": error.message, "hint": error.hint}
    return {
        "format": found.format,
        "definition": to_document(found.environment),
        "definition_hash": str(found.environment.definition_hash),
        "warnings": [_told(fault) for fault in found.warnings],
        "losses": [str(loss) + (f"\n  was: {loss.value}" if loss.value else "") for loss in found.losses],
    }  # fmt: skip


def _told(fault: Fault) -> str:
    return f"{fault}\n  hint: {fault.hint}" if fault.hint else str(fault)


def save(written: Written, place: Path, sources: Mapping[Digest, Path]) -> Path:
    """Write ``written`` as `env export -o` does; return what to read."""
    place.mkdir()
    if not written.is_directory:
        (place / "environment.yml").write_text(written.text, encoding="utf-8")
    for path, text in (written.files or {}).items():
        (place / path).parent.mkdir(exist_ok=True)
        (place / path).write_text(text, encoding="utf-8")
    for path, digest in (written.trees or {}).items():
        copy_tree(sources[digest], place / path)
    return place if written.is_directory else place / "environment.yml"


def leaves(value: Any, path: str = "") -> dict[str, Any]:
    """Return the leaves of nested mappings by their dotted path."""
    if isinstance(value, dict):
        return {
            key: leaf for name, one in value.items() for key, leaf in leaves(one, f"{path}.{name}" if path else name).items()
        }
    return {path: value}
