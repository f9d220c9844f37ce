"""The lock: the exact artifacts that satisfy a definition on one platform. Values, and their canonical document."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from typing import Any

from wardian.digest import Digest
from wardian.errors import BadArchive, WardianError, wrong_in

SCHEMA = 1
KINDS = ("python", "conda", "wheel", "sdist", "jar")
_NO_NAME = re.compile(r"[/\\\0]")


class UnreadableLock(WardianError):
    """A lock document is damaged, or newer than this Wardian."""

    code = "unreadable_lock"


@dataclass(frozen=True, slots=True)
class BuiltWheel:
    """The wheel that was built from an sdist, a VCS checkout or local code, kept in the workspace's artifacts."""

    file: str
    sha256: Digest
    size: int


@dataclass(frozen=True, slots=True)
class Artifact:
    """One exact artifact. Host-free: no URL (semantics §3).

    Attributes:
        kind: ``python`` | ``conda`` | ``wheel`` | ``sdist`` (also VCS checkouts and local code) | ``jar``.
        source: ``channel:<alias>`` | ``index:<alias>`` | ``repository:<alias>`` (of jars) | ``definition:<n>`` (URL of the n-th pip requirement, from 0) |
            ``workspace`` (kept in artifacts) | ``host`` (an interpreter of the machine).
            ``<alias>`` is a configured or well-known name, or ``#<n>``: the n-th channel, pip option or Spark repository of the definition.
        file: the archive's file name, without directories.
        sha256, size_bytes: of the archive; for ``host``: of the interpreter's executable.
        name: of a jar ``group:artifact``; its ``file`` tells a classifier.
        depends: conda: match specs; Python: names of the distributions that this one needs; jars: the same.
        built: for an sdist, the wheel made from it; that is what is installed.
        revision: for VCS, the commit.
        record: conda: further repodata fields that the linker needs, as JSON values.
    """

    kind: str
    source: str
    name: str
    version: str
    file: str
    sha256: Digest
    size_bytes: int | None = None
    build: str = ""
    build_number: int = 0
    subdir: str = ""
    depends: tuple[str, ...] = ()
    constrains: tuple[str, ...] = ()
    noarch: str = ""
    site_packages_path: str = ""
    license: str = ""
    timestamp: str = ""
    markers: str = ""
    requires_python: str = ""
    revision: str = ""
    built: BuiltWheel | None = None

    def __post_init__(self) -> None:
        """Refuse what a hostile index, channel or lock could lead out of a cache or a prefix with: these become paths.

        Raises:   BadArchive: code ``unsafe_path``.
        """
        place = self.site_packages_path
        values = {"file": self.installed_file, "build": self.build, "subdir": self.subdir}
        wrong = {key: value for key, value in values.items() if value in (".", "..") or _NO_NAME.search(value)}
        if place.startswith("/") or "\\" in place or "\0" in place or ".." in place.split("/"):
            wrong["site-packages"] = place
        for key, value in wrong.items():
            raise BadArchive(f"{self.name} {self.version} is announced with the {key} {value[:200]!a}, which leads out of its place",
                             code="unsafe_path", hint="do not use this package; tell who publishes it")  # fmt: skip

    @property
    def is_in_no_index(self) -> bool:
        """Whether no index has what is installed: it was built here, or is local code. Whoever gets the lock needs its wheel too."""
        return self.built is not None or self.source == "workspace"

    @property
    def installed_file(self) -> str:
        """The file name of the archive that ends up in a prefix."""
        return self.built.file if self.built else self.file

    @property
    def installed_sha256(self) -> Digest:
        """The digest of the archive that ends up in a prefix."""
        return self.built.sha256 if self.built else self.sha256

    def as_document(self) -> dict[str, Any]:
        """Return plain JSON values, defaults omitted."""
        return {key: value for key, value in asdict(self).items() if value not in (None, "", (), 0)}

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Artifact:
        """Return the artifact that ``as_document`` wrote."""
        values = dict(document)
        values["sha256"] = Digest(values["sha256"])
        for key in ("depends", "constrains"):
            values[key] = tuple(values.get(key, ()))
        if built := values.get("built"):
            values["built"] = BuiltWheel(built["file"], Digest(built["sha256"]), built["size"])
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Provenance:
    """How a lock came to be. In no digest.

    Attributes:
        definition_hash: the request that it answers.
        solvers: names and versions, e.g. ``{"uv": "0.13.9"}``.
        as_of: the RFC 3339 time before which everything had to be published, if one was asked for.
        virtual_packages: what was assumed of the machine.
        roots: names that the definition itself asks for.
        created: RFC 3339 time, UTC.
        notes: what a reader should know (``not portable: host interpreter`` …).
    """

    definition_hash: Digest
    solvers: dict[str, str] = field(default_factory=dict)
    as_of: str = ""
    virtual_packages: dict[str, str] = field(default_factory=dict)
    roots: tuple[str, ...] = ()
    created: str = ""
    notes: tuple[str, ...] = ()
    build_requirements: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Lock:
    """The answer to a definition on one platform. Immutable; identified by ``digest``.

    Source:   semantics §3
    """

    platform: str
    artifacts: tuple[Artifact, ...]
    provenance: Provenance
    spark: tuple[Artifact, ...] = ()
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        order = sorted(self.artifacts, key=lambda a: (KINDS.index(a.kind), a.name, a.version, a.file))
        object.__setattr__(self, "artifacts", tuple(order))

    @cached_property
    def digest(self) -> Digest:
        """``lock_digest``: over schema, platform, artifacts and spark."""
        return Digest.of_document({**self._installed(), "spark": [a.as_document() for a in self.spark]})

    @cached_property
    def install_digest(self) -> Digest:
        """The same without spark: what a prefix is made of."""
        return Digest.of_document(self._installed())

    def _installed(self) -> dict[str, Any]:
        artifacts = [a.as_document() for a in self.artifacts]
        return {"schema": self.schema, "platform": self.platform, "artifacts": artifacts}

    @property
    def everything(self) -> tuple[Artifact, ...]:
        """What is installed, then Spark's jars."""
        return (*self.artifacts, *self.spark)

    @property
    def python(self) -> Artifact | None:
        """The interpreter: an artifact of kind ``python``, or conda's ``python`` package."""
        return next((a for a in self.artifacts if a.kind == "python" or (a.kind == "conda" and a.name == "python")), None)

    def of_kind(self, *kinds: str) -> tuple[Artifact, ...]:
        """Return the artifacts of these kinds, in the lock's order."""
        return tuple(a for a in self.artifacts if a.kind in kinds)

    def as_document(self) -> dict[str, Any]:
        """Return the whole lock as plain JSON values."""
        provenance = {k: v for k, v in asdict(self.provenance).items() if v}
        return {**self._installed(), "spark": [a.as_document() for a in self.spark], "provenance": provenance}

    def to_json(self) -> str:
        """Return the lock as JSON text, one artifact a line: small diffs, quick reading."""
        document = self.as_document()
        lines = ",\n".join("  " + json.dumps(a, ensure_ascii=False) for a in document.pop("artifacts"))
        head = json.dumps(document, ensure_ascii=False, indent=1)
        return f'{head[:-2]},\n "artifacts": [\n{lines}\n ]\n}}\n' if lines else head + "\n"

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Lock:
        """Return the lock that ``as_document`` wrote.

        Raises:   UnreadableLock: a newer schema, or not a lock.
        """
        try:
            schema = int(document["schema"])
            if schema > SCHEMA:
                raise UnreadableLock(
                    f"the lock has schema {schema}, this Wardian reads up to {SCHEMA}", hint="use a newer Wardian",
                    code="newer_lock_schema",
                )  # fmt: skip
            known = {f.name for f in fields(Provenance)}
            given = {k: v for k, v in document.get("provenance", {}).items() if k in known}
            for key in ("roots", "notes"):
                given[key] = tuple(given.get(key, ()))
            given["build_requirements"] = {k: tuple(v) for k, v in given.get("build_requirements", {}).items()}
            given["definition_hash"] = Digest(given["definition_hash"])
            return cls(
                platform=document["platform"],
                artifacts=tuple(Artifact.from_document(a) for a in document.get("artifacts", ())),
                spark=tuple(Artifact.from_document(a) for a in document.get("spark", ())),
                provenance=Provenance(**given),
                schema=schema,
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UnreadableLock(f"this is not a lock: {wrong_in(error)}") from error

    @classmethod
    def from_json(cls, text: str) -> Lock:
        """Return the lock that ``to_json`` wrote.

        Raises:   UnreadableLock: not JSON, not a lock, or a newer schema.
        """
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UnreadableLock(f"this is not a lock: {error}") from error
        if not isinstance(document, dict):
            raise UnreadableLock("this is not a lock: not a JSON object")
        return cls.from_document(document)
