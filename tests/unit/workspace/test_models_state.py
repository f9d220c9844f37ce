"""Any order of register, label and delete keeps to a model that a person can check by reading it; the files are those that records name."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from wardian.digest import Digest
from wardian.errors import Conflict, NotFound
from wardian.workspace.database import Database
from wardian.workspace.model_files import ModelFiles
from wardian.workspace.model_version import Lineage, ModelFacts
from wardian.workspace.models import Models, NewModel

NAMES = st.sampled_from(["a", "b"])
CONTENTS = st.integers(0, 2)
RUNS = st.sampled_from([None, "one", "other"])  # the other one was given other packages
VERSIONS = st.sampled_from(["1", "3", "rc"])
LABELS = st.sampled_from(["prod", "dev"])


@dataclass
class Version:
    text: str
    content: int
    run: str | None

    def is_same(self, content: int, run: str | None) -> bool:
        return self.content == content and run in (None, self.run)


@dataclass
class Name:
    """What is known of a name: versions in order of registration."""

    versions: list[Version] = field(default_factory=list)
    highest: int = 0
    labels: dict[str, str] = field(default_factory=dict)

    def find(self, text: str) -> Version | None:
        return next((version for version in self.versions if version.text == text), None)


class ModelsMachine(RuleBasedStateMachine):
    @initialize()
    def open(self) -> None:
        self.place = tempfile.TemporaryDirectory()
        self.models = Models(Database.in_memory(), ModelFiles(Path(self.place.name)), lambda: datetime(2024, 1, 1, tzinfo=UTC))
        self.known: dict[str, Name] = {}

    def teardown(self) -> None:
        if hasattr(self, "place"):
            self.place.cleanup()

    def add(self, name: str, content: int, run: str | None, version: str | None) -> tuple[str, bool]:
        digest = Digest.of(str(content).encode())
        facts = ModelFacts(digest, "custom", "m", is_directory=False, files=1, size_bytes=1)
        lineage = Lineage(run_id=run, image_digest=run)
        with self.models.files.stage() as staged:
            asked = NewModel(name, facts, lineage, version)
            found, added = self.models.add(asked, lambda: self.models.files.place(staged, digest))
        return found.version, added

    @rule(name=NAMES, content=CONTENTS, run=RUNS)
    def register(self, name: str, content: int, run: str | None) -> None:
        known = self.known.setdefault(name, Name())
        if known.versions and known.versions[-1].is_same(content, run):
            assert self.add(name, content, run, None) == (known.versions[-1].text, False)
            return
        known.highest += 1
        assert self.add(name, content, run, None) == (str(known.highest), True)
        known.versions.append(Version(str(known.highest), content, run))

    @rule(name=NAMES, content=CONTENTS, run=RUNS, version=VERSIONS)
    def register_as(self, name: str, content: int, run: str | None, version: str) -> None:
        taken = self.known[name].find(version) if name in self.known else None
        if taken is not None and not taken.is_same(content, run):
            with pytest.raises(Conflict):
                self.add(name, content, run, version)
            return
        assert self.add(name, content, run, version) == (version, taken is None)
        if taken is None:
            known = self.known.setdefault(name, Name())
            known.versions.append(Version(version, content, run))
            known.highest = max(known.highest, int(version) if version.isdecimal() else 0)

    @rule(name=NAMES, version=VERSIONS, label=LABELS)
    def label(self, name: str, version: str, label: str) -> None:
        if name not in self.known or self.known[name].find(version) is None:
            with pytest.raises(NotFound):
                self.models.label(f"{name}:{version}", label)
            return
        self.models.label(f"{name}:{version}", label)
        self.known[name].labels[label] = version

    @rule(name=NAMES, label=LABELS)
    def remove_label(self, name: str, label: str) -> None:
        if name in self.known and self.known[name].labels.pop(label, None) is not None:
            self.models.remove_label(name, label)
            return
        with pytest.raises(NotFound):
            self.models.remove_label(name, label)

    @rule(name=NAMES, version=VERSIONS)
    def delete(self, name: str, version: str) -> None:
        known = self.known.get(name, Name())
        found = known.find(version)
        if found is None or version in known.labels.values():
            with pytest.raises(NotFound if found is None else Conflict):
                self.models.delete(f"{name}:{version}")
            return
        self.models.delete(f"{name}:{version}")
        known.versions.remove(found)

    @rule(name=NAMES)
    def delete_all(self, name: str) -> None:
        known = self.known.get(name, Name())
        if not known.versions or known.labels:
            with pytest.raises(Conflict if known.versions else NotFound):
                self.models.delete(name)
            return
        self.models.delete(name)
        known.versions.clear()

    @invariant()
    def what_is_found_is_what_is_known(self) -> None:
        shown = {name: known for name, known in self.known.items() if known.versions}
        assert [model.reference for model in self.models.list()] == [
            f"{name}:{shown[name].versions[-1].text}" for name in sorted(shown)
        ]
        for name, known in shown.items():
            assert [model.version for model in self.models.versions(name)] == [
                version.text for version in reversed(known.versions)
            ]
            for label, version in known.labels.items():
                assert self.models.get(f"{name}@{label}").version == version

    @invariant()
    def files_are_those_that_records_name(self) -> None:
        contents = {version.content for known in self.known.values() for version in known.versions}
        found = {path.name for path in self.models.files.root.glob("*")}
        assert found == {Digest.of(str(content).encode()) for content in contents}


TestModels = ModelsMachine.TestCase
TestModels.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
