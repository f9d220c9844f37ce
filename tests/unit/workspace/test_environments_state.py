"""Any order of register, label, archive, restore and delete keeps to a model that a person can check by reading it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.builders import an_environment

from wardian.errors import Conflict, NotFound
from wardian.workspace.database import Database
from wardian.workspace.environments import Environments

NAMES = st.sampled_from(["a", "b"])
CONTENTS = st.integers(0, 2)
NUMBERS = st.integers(1, 6)
VERSIONS = st.sampled_from(["1", "3", "rc"])
LABELS = st.sampled_from(["prod", "dev"])


@dataclass
class Version:
    text: str
    content: int
    archived: bool = False


@dataclass
class Name:
    """What is known of a name: versions in order of registration."""

    versions: list[Version] = field(default_factory=list)
    archived: bool = False
    highest: int = 0
    labels: dict[str, str] = field(default_factory=dict)

    def newest(self) -> Version | None:
        return next((version for version in reversed(self.versions) if not version.archived), None)

    def latest(self) -> Version:
        return self.newest() or self.versions[-1]

    def find(self, text: str) -> Version | None:
        return next((version for version in self.versions if version.text == text), None)

    def add(self, text: str, content: int) -> None:
        self.versions.append(Version(text, content))
        if text.isdecimal():
            self.highest = max(self.highest, int(text))


class EnvironmentsMachine(RuleBasedStateMachine):
    @initialize()
    def open(self) -> None:
        self.database = Database.in_memory()
        self.environments = Environments(self.database, lambda: datetime(2024, 1, 1, tzinfo=UTC))
        self.model: dict[str, Name] = {}

    @rule(name=NAMES, content=CONTENTS)
    def register(self, name: str, content: int) -> None:
        known = self.model.setdefault(name, Name())
        newest = known.newest()
        found, created = self.environments.register(an_environment(name=name, pip=(f"numpy=={content}",)))
        if newest is not None and newest.content == content:
            assert (found.version, created) == (newest.text, False)
        else:
            known.add(str(known.highest + 1), content)
            assert (found.version, created) == (str(known.highest), True)

    @rule(name=NAMES, content=CONTENTS, version=VERSIONS)
    def register_as(self, name: str, content: int, version: str) -> None:
        environment = an_environment(name=name, pip=(f"numpy=={content}",))
        taken = self.model[name].find(version) if name in self.model else None
        if taken is not None and taken.content != content:
            with pytest.raises(Conflict):
                self.environments.register(environment, version=version)
            return
        found, created = self.environments.register(environment, version=version)
        assert (found.version, created) == (version, taken is None)
        if taken is None:
            self.model.setdefault(name, Name()).add(version, content)

    @rule(name=NAMES, number=NUMBERS, label=LABELS)
    def label(self, name: str, number: int, label: str) -> None:
        if name not in self.model or self.model[name].find(str(number)) is None:
            with pytest.raises(NotFound):
                self.environments.label(name, str(number), label)
            return
        self.environments.label(name, str(number), label)
        self.model[name].labels[label] = str(number)

    @rule(name=NAMES, label=LABELS)
    def remove_label(self, name: str, label: str) -> None:
        if name not in self.model or label not in self.model[name].labels:
            with pytest.raises(NotFound):
                self.environments.remove_label(name, label)
            return
        self.environments.remove_label(name, label)
        del self.model[name].labels[label]

    @rule(name=NAMES, number=NUMBERS, archive=st.booleans())
    def archive_a_version(self, name: str, number: int, archive: bool) -> None:
        change = self.environments.archive if archive else self.environments.restore
        version = self.model[name].find(str(number)) if name in self.model else None
        if version is None:
            with pytest.raises(NotFound):
                change(f"{name}:{number}")
            return
        change(f"{name}:{number}")
        version.archived = archive

    @rule(name=NAMES, archive=st.booleans())
    def archive_a_name(self, name: str, archive: bool) -> None:
        if name not in self.model:
            return
        known = self.model[name]
        (self.environments.archive if archive else self.environments.restore)(name)
        known.archived = archive
        if not archive and known.newest() is None:
            known.versions[-1].archived = False

    @rule(name=NAMES, number=NUMBERS)
    def delete_a_version(self, name: str, number: int) -> None:
        version = self.model[name].find(str(number)) if name in self.model else None
        if version is None:
            with pytest.raises(NotFound):
                self.environments.delete(f"{name}:{number}")
        elif version.text in self.model[name].labels.values():
            with pytest.raises(Conflict):
                self.environments.delete(f"{name}:{number}")
        else:
            self.environments.delete(f"{name}:{number}")
            self.model[name].versions.remove(version)
            if not self.model[name].versions:
                del self.model[name]

    @invariant()
    def records_say_what_the_model_says(self) -> None:
        if not hasattr(self, "environments"):
            return
        shown = [name for name, known in sorted(self.model.items()) if not known.archived and known.newest() is not None]
        assert [version.name for version in self.environments.list()] == shown
        for name, known in self.model.items():
            assert self.environments.get(name).version == known.latest().text
            assert self.environments.get(f"{name}@latest").version == known.latest().text
            records = [
                (record.version, record.environment.python.pip, record.archived) for record in self.environments.versions(name)
            ]
            assert records == [
                (v.text, (f"numpy=={v.content}",), v.archived or known.archived) for v in reversed(known.versions)
            ]
            for label, text in known.labels.items():
                assert self.environments.get(f"{name}@{label}").version == text
        assert self.database.faults() == []

    def teardown(self) -> None:
        if hasattr(self, "database"):
            self.database.close()


EnvironmentsMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
TestEnvironments = EnvironmentsMachine.TestCase
