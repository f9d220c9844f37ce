"""One version of a curated environment: what the index of the catalogue says of it, and the files that it is made of."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from wardian.definition.reference import CURATED_PREFIX, LATEST, NAME, VERSION
from wardian.digest import Digest
from wardian.errors import InvalidDefinition, WardianError, wrong_in

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from wardian.definition.environment import Environment
    from wardian.lock.lock import Lock

DEFINITION = "environment.yml"
SMOKE = "smoke.py"
_LONGEST_BYTES = 16 << 20


class DamagedCatalogue(WardianError):
    """A file of the catalogue is missing, or is not what its index says."""

    code = "damaged_catalogue"


@dataclass(frozen=True, slots=True)
class Entry:
    """A curated environment, one version of it. Immutable once published; only its deprecation may come later.

    Attributes:
        name, version: ``Wardian-sklearn-1.9-py312-cpu``, ``1``.
        published: the day, ``YYYY-MM-DD``.  deprecated: the day; empty: it is not.
        successor: what to use in its place: NAME or NAME:VERSION; empty: nothing.
        python: ``3.12``.  accelerator: ``cpu`` or ``cuda13.0``.  frameworks: name → version.
        description: one line.
        definition_hash, content: of the definition; of the files, all of them.
        locks: platform → lock_digest.
        place: the directory with its files.
    """

    name: str
    version: str
    published: str
    deprecated: str
    successor: str
    python: str
    accelerator: str
    frameworks: Mapping[str, str]
    description: str
    definition_hash: Digest
    content: Digest
    locks: Mapping[str, Digest]
    place: Path

    @classmethod
    def from_document(cls, name: str, version: str, values: Mapping[str, Any], place: Path) -> Entry:
        """Return the entry that the index holds.

        Raises:   DamagedCatalogue: it is none.
        """
        _check_reference(name, version)
        try:
            return cls(
                name=name, version=version, published=_day(values["published"]), deprecated=(values.get("deprecated") and _day(values["deprecated"])) or "",
                successor=_text(values.get("successor", "")), python=_text(values["python"]), accelerator=_text(values["accelerator"]),
                frameworks={key: _text(value) for key, value in values["frameworks"].items()}, description=_text(values["description"]),
                definition_hash=Digest(values["definition_hash"]), content=Digest(values["content"]),
                locks={str(platform): Digest(digest) for platform, digest in values["locks"].items()}, place=place,
            )  # fmt: skip
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise DamagedCatalogue(f"{name}:{version} in the catalogue is no entry: {wrong_in(error)}", hint=HINT) from error

    @property
    def reference(self) -> str:
        """What people write for exactly this."""
        return f"{self.name}:{self.version}"

    @property
    def smoke(self) -> Path:
        """The script that trains or infers something small."""
        return self.place / SMOKE

    def source(self) -> str:
        """Return the definition as it was written, in Wardian's YAML."""
        return self._text_of(DEFINITION)

    def environment(self) -> Environment:
        """Return the definition, with its name.

        Raises:   DamagedCatalogue: it is not the one that was published.
        """
        from wardian.definition.identity import definition_hash
        from wardian.formats import read_text

        try:
            found = read_text(self.source(), "wardian", file=str(self.place / DEFINITION)).environment
        except InvalidDefinition as error:
            raise DamagedCatalogue(f"the definition of {self.reference} is none: {error.message}", hint=HINT) from error
        if definition_hash(found) != self.definition_hash or found.name != self.name:
            raise DamagedCatalogue(
                f"{self.place / DEFINITION} is not the definition of {self.reference} that was published", hint=HINT
            )
        return found

    def lock(self, platform: str) -> Lock | None:
        """Return the lock for a platform; None: it has none.

        Raises:   DamagedCatalogue: it is not the one that was published.
        """
        from wardian.lock.lock import Lock, UnreadableLock

        digest = self.locks.get(platform)
        if digest is None:
            return None
        try:
            lock = Lock.from_json(self._text_of(lock_file(platform)))
        except UnreadableLock as error:
            place = self.place / lock_file(platform)
            raise DamagedCatalogue(f"{place}: {error.message}", hint=error.hint or HINT) from error
        if lock.digest != digest or lock.platform != platform:
            raise DamagedCatalogue(
                f"{self.place / lock_file(platform)} is not the lock of {self.reference} that was published", hint=HINT
            )
        return lock

    def files_digest(self) -> Digest:
        """Return the digest of the entry's files as they are now: what ``content`` was when it was published."""
        names = [DEFINITION, SMOKE, *(lock_file(platform) for platform in self.locks)]
        return Digest.of_document({name: Digest.of(self._read(name)) for name in names})

    def as_document(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "reference": self.reference, "name": self.name, "version": self.version, "definition_hash": self.definition_hash, "kind": "curated",
            "published": self.published, "deprecated": self.deprecated or None, "successor": self.successor or None, "python": self.python,
            "accelerator": self.accelerator, "frameworks": [{"name": name, "version": version} for name, version in self.frameworks.items()], "description": self.description, "locks": dict(self.locks),
        }  # fmt: skip

    def _text_of(self, name: str) -> str:
        try:
            return self._read(name).decode()
        except UnicodeDecodeError as error:
            raise DamagedCatalogue(
                f"{self.place / name} is not UTF-8 text: {error.reason} at byte {error.start}", hint=HINT
            ) from error

    def _read(self, name: str) -> bytes:
        from wardian.small_file import read_small

        try:
            return read_small(self.place / name, limit_bytes=_LONGEST_BYTES)
        except OSError as error:
            raise DamagedCatalogue(
                f"{self.place / name} of {self.reference} cannot be read: {error.strerror or error}", hint=HINT
            ) from error


HINT = "install Wardian anew; with a catalogue of your own, WARDIAN_CATALOGUE, make its index anew"


def _check_reference(name: str, version: str) -> None:
    """Raise if no reference could mean this, or if it is a name that anybody may give."""
    shown = f"{name:.80}:{version:.80}"
    if not NAME.fullmatch(name) or not name.startswith(CURATED_PREFIX):
        raise DamagedCatalogue(f"`{shown}` in the catalogue is no entry: a name is `{CURATED_PREFIX}`, then letters, digits, `.`, `_` and `-`", hint=HINT)  # fmt: skip
    if not VERSION.fullmatch(version) or version == LATEST:
        raise DamagedCatalogue(f"`{shown}` in the catalogue is no entry: a version is up to 64 letters, digits, `.`, `_` and `-`, and not `{LATEST}`", hint=HINT)  # fmt: skip


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _day(value: object) -> str:
    return date.fromisoformat(_text(value)).isoformat()


def lock_file(platform: str) -> str:
    """Return the name of the file with the lock for ``platform``."""
    return f"{platform.replace('/', '-')}.lock.json"
