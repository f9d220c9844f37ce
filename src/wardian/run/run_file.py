"""The run file: all that a run is, in one archive that another machine can run again. What is in it, and where."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wardian.definition.document import from_document, to_document
from wardian.definition.identity import definition_hash
from wardian.digest import Digest
from wardian.errors import WardianError, wrong_in
from wardian.lock.lock import Lock
from wardian.run.file_names import from_text, to_text
from wardian.run.record import ACTIVE, ENDED, RunRecord
from wardian.run.run_id import is_run_id
from wardian.run.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wardian.definition.environment import Environment

SCHEMA = 1
MANIFEST = "wardian-run.json"  # the first member
SNAPSHOT, INPUTS, PACKAGES = "snapshot", "inputs", "packages"

SMALL_INPUT_BYTES = 10 << 20


class UnreadableRunFile(WardianError):
    """A file is no run file, a damaged one, or one of a newer Wardian."""

    code = "unreadable_run_file"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a run file says that it holds.

    Attributes:
        files: path in the archive → (size in bytes, digest), of every file but the manifest.
        inputs: those that are in it: NAME → path in the archive, of a file or a directory.
        packages: archives of the lock that are in it: digest → file name.
    """

    record: RunRecord
    environment: Environment | None
    lock: Lock | None
    snapshot: Snapshot
    files: Mapping[str, tuple[int, Digest]]
    inputs: Mapping[str, str] = field(default_factory=dict)
    packages: Mapping[Digest, str] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """Return the manifest's text; the same for the same run."""
        record = self.record.as_document()
        record["results"].get("environment", {}).pop("version_id", None)  # another workspace has other numbers
        document = {
            "schema": SCHEMA,
            "record": record,
            "environment": to_document(self.environment) if self.environment else None,
            "lock": self.lock.as_document() if self.lock else None,
            "snapshot": self.snapshot.as_document(),
            "files": {to_text(path): list(what) for path, what in self.files.items()},
            "inputs": dict(self.inputs),
            "packages": dict(self.packages),
        }
        return json.dumps(document, sort_keys=True, indent=1).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Manifest:
        """Return the manifest that ``to_json`` wrote, its parts checked against the identities that the record holds.

        Raises:   UnreadableRunFile: no manifest, a newer one, or one whose parts don't belong together.
        """
        try:
            document = json.loads(text)
            if int(document["schema"]) > SCHEMA:
                raise UnreadableRunFile(f"the run file has schema {document['schema']}, this Wardian reads up to {SCHEMA}",
                                        hint="use a newer Wardian", code="newer_run_file")  # fmt: skip
            manifest = cls(
                record=RunRecord.from_document(document["record"]),
                environment=from_document(document["environment"]) if document["environment"] else None,
                lock=Lock.from_document(document["lock"]) if document["lock"] else None,
                snapshot=Snapshot.from_document(document["snapshot"]),
                files={from_text(path): (int(size), Digest(digest)) for path, (size, digest) in document["files"].items()},
                inputs={str(name): str(path) for name, path in document["inputs"].items()},
                packages={Digest(digest): str(name) for digest, name in document["packages"].items()},
            )
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise UnreadableRunFile(f"this is not a run file: {wrong_in(error)}") from error
        manifest._check_identities()
        return manifest

    def _check_identities(self) -> None:
        if not is_run_id(self.record.id) or self.record.state not in (*ACTIVE, *ENDED):
            raise UnreadableRunFile("this is not a run file: it holds no run")
        of = self.record.environment
        claims: list[tuple[str, Any, Any]] = [("snapshot", self.snapshot.digest, self.record.snapshot_digest)]
        if self.environment is not None:
            claims.append(("definition", definition_hash(self.environment), of.definition_hash))
        if self.lock is not None:
            claims.append(("lock", self.lock.digest, of.lock_digest))
        for name, actual, claimed in claims:
            if actual != claimed:
                raise UnreadableRunFile(
                    f"the {name} in the run file has the digest {actual}, the record says {claimed}", code="wrong_digest"
                )
        for entry in self.snapshot.entries:
            known = self.files.get(f"{SNAPSHOT}/{entry.path}")
            if entry.kind not in ("file", "executable", "link") or (
                entry.kind != "link" and (known is None or known[1] != entry.value)
            ):
                raise UnreadableRunFile(f"the snapshot's `{entry.path}` is not in the run file", code="wrong_digest")
        known_packages = {a.installed_sha256 for a in self.lock.everything} if self.lock else set()
        for digest, name in self.packages.items():
            place = self.files.get(f"{PACKAGES}/{digest}/{name}")
            if digest not in known_packages or place is None or place[1] != digest:
                raise UnreadableRunFile(f"the archive `{name}` is none of the lock's", code="wrong_digest")
        for name in self.inputs:
            if name not in self.record.configuration.inputs:
                raise UnreadableRunFile(f"the run has no input `{name}`")
