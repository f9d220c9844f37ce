"""The curated environments that every workspace has: finds them by name, by definition_hash, and by what somebody is used to."""

from __future__ import annotations

import json
import re
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wardian.curated.entry import HINT, DamagedCatalogue, Entry
from wardian.errors import WardianError
from wardian.small_file import read_small

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wardian.definition.platform import Platform
    from wardian.digest import Digest
    from wardian.lock.lock import Lock

INDEX = "catalogue.json"
SCHEMA = 1
PACKAGED = Path(__file__).parent / "entries"

# what Azure ML and people call a framework → what a name of ours holds
_FRAMEWORKS = {
    "scikit-learn": "sklearn", "sklearn": "sklearn", "xgboost": "xgboost", "lightgbm": "lightgbm", "pytorch": "pytorch", "torch": "pytorch",
    "acft": "transformers", "acpt": "pytorch", "huggingface": "transformers", "transformers": "transformers", "spark": "pyspark", "pyspark": "pyspark",
    "mlflow": "mlflow", "minimal": "minimal", "sklearn-inference": "sklearn", "responsibleai": "sklearn", "automl": "sklearn", "tensorflow": "",
}  # fmt: skip
_GPU = re.compile(r"gpu|cuda|cu1|nvidia", re.IGNORECASE)


class Catalogue:
    """Reads a catalogue: a directory with an index, and a directory for each version with definition, locks and smoke script.

    Nothing is read before it is asked for; finding a name or a hash reads the index alone.

    Args:     root: None: the catalogue that came with Wardian.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or PACKAGED

    @cached_property
    def entries(self) -> tuple[Entry, ...]:
        """All versions of all names: by name, the newest first.

        Raises:   DamagedCatalogue: there is no index, or it is none.
        """
        found = []
        for name, versions in sorted(self._index().items()):
            if not isinstance(versions, dict):
                raise DamagedCatalogue(f"{name} in the catalogue is no entry: it has no versions", hint=HINT)
            made = [Entry.from_document(name, str(v), values, self.root / name / str(v)) for v, values in versions.items()]
            found += sorted(made, key=_age, reverse=True)
        return tuple(found)

    def current(self, *, with_deprecated: bool = False) -> tuple[Entry, ...]:
        """Return the newest version of each name, by name; those that are deprecated only if asked for."""
        newest = {entry.name: entry for entry in reversed(self.entries)}
        return tuple(newest[name] for name in sorted(newest) if with_deprecated or not newest[name].deprecated)

    def versions(self, name: str) -> tuple[Entry, ...]:
        """Return the versions of ``name``, the newest first; none: there is no such name."""
        return tuple(entry for entry in self.entries if entry.name == name)

    def find(self, name: str, version: str | None = None) -> Entry | None:
        """Return a version of ``name`` (None: the newest), deprecated or not; None: there is none."""
        return next((entry for entry in self.versions(name) if version in (None, entry.version)), None)

    def find_lock(self, definition_hash: Digest, platform: Platform) -> tuple[Lock, Entry] | None:
        """Return the lock of the newest entry with this hash that has one for the platform; None: none has."""
        with_hash = [entry for entry in self.entries if entry.definition_hash == definition_hash]
        for entry in sorted(with_hash, key=lambda one: (one.published, _age(one)), reverse=True):
            if (lock := entry.lock(platform.name)) is not None:
                return lock, entry
        return None

    def nearest(self, name: str) -> Entry | None:
        """Return the entry that is most like what ``name`` means: a name of Azure ML's (``AzureML-sklearn-1.5``), or a slip of ours.

        The framework has to be the same; then the accelerator counts, then the version.
        """
        words = [word for word in re.split(r"[-_.\s]+", name.lower()) if word and word not in ("azureml", "wardian")]
        wanted = next((_FRAMEWORKS[word] for word in words if word in _FRAMEWORKS), None)
        if wanted is None:
            wanted = next((word for word in words if word.isalpha()), None)
        candidates = [entry for entry in self.current() if wanted and _is_of(entry, wanted)]
        gpu = _GPU.search(name) is not None
        scored = [
            ((entry.accelerator != "cpu") == gpu, -len(entry.frameworks), entry.published, entry.name) for entry in candidates
        ]
        return candidates[scored.index(max(scored))] if scored else None

    def names(self) -> Iterator[str]:
        """Yield the names, deprecated ones too."""
        yield from dict.fromkeys(entry.name for entry in self.entries)

    def _index(self) -> dict[str, Any]:
        place = self.root / INDEX
        try:
            document = json.loads(read_small(place))
        except OSError as error:
            raise DamagedCatalogue(f"the catalogue {self.root} has no index: {error.strerror or error}", hint=HINT) from error
        except (ValueError, RecursionError) as error:
            raise DamagedCatalogue(f"the index of the catalogue {self.root} is no JSON", hint=HINT) from error
        if not isinstance(document, dict) or not isinstance(document.get("environments"), dict):
            raise DamagedCatalogue(f"the index of the catalogue {self.root} lists no environments", hint=HINT)
        if document.get("schema") != SCHEMA:
            raise WardianError(f"the catalogue {self.root} has the schema {document.get('schema')!r}, this Wardian reads {SCHEMA}",
                               code="newer_schema", hint="use a newer Wardian")  # fmt: skip
        found: dict[str, Any] = document["environments"]
        return found


def _age(entry: Entry) -> tuple[int, str]:
    return (int(entry.version), "") if entry.version.isdecimal() else (-1, entry.version)


def _is_of(entry: Entry, framework: str) -> bool:
    return framework in entry.name.lower().removeprefix("wardian-").split("-")
