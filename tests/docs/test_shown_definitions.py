from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.support.console import TitledFile, steps_of

from wardian import formats
from wardian.definition.identity import definition_hash
from wardian.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
FAULTY = ROOT / "docs/guides/when-something-is-wrong.md"  # its definitions are wrong on purpose, and its commands say so
PAGES = [ROOT / "README.md", *sorted(set((ROOT / "docs").rglob("*.md")) - {FAULTY})]
SHOWN = [
    (page.relative_to(ROOT).as_posix(), step)
    for page in PAGES
    for step in steps_of(page.read_text(encoding="utf-8"))
    if isinstance(step, TitledFile)
    and step.name != "Dockerfile"
    and not step.name.endswith((".csv", ".R"))
    and step.name != "request.json"
    and (not step.name.endswith(".py") or "# /// script" in step.text)
]
EXAMPLES = ("requirements.txt", "environment.yml", "wardian.yaml", "script_pep723.py")


@pytest.mark.parametrize(("page", "shown"), SHOWN, ids=[f"{page}:{shown.name}" for page, shown in SHOWN])
def test_every_definition_that_a_page_shows_is_valid(page: str, shown: TitledFile, tmp_path: Path) -> None:
    (tmp_path / "context").mkdir()  # what a build context is called on the pages
    (tmp_path / "context/Dockerfile").write_text("FROM scratch\n", encoding="utf-8")
    path = tmp_path / shown.name
    path.write_text(shown.text, encoding="utf-8")
    assert formats.read(path).environment.python.manager in ("conda", "uv", "user"), page


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_is_read_without_a_warning(name: str) -> None:
    read = formats.read(ROOT / "examples/sklearn" / name)
    assert read.warnings == ()
    assert "scikit-learn>=1.5" in (*read.environment.python.pip, *read.environment.python.conda)


def test_the_definitions_on_the_page_about_identity_are_as_it_says(tmp_path: Path) -> None:
    hashes = {}
    for step in steps_of((ROOT / "docs/concepts/identity.md").read_text(encoding="utf-8")):
        if isinstance(step, TitledFile):
            (tmp_path / step.name).write_text(step.text, encoding="utf-8")
            hashes[step.name] = definition_hash(formats.read(tmp_path / step.name).environment)
    assert hashes["a.yaml"] == hashes["b.yaml"] != hashes["c.yaml"]
    page = (ROOT / "docs/concepts/identity.md").read_text(encoding="utf-8")
    assert re.findall(r"^\$ wardian env hash (\S+)\n([0-9a-f]{64})$", page, re.MULTILINE) == [*hashes.items()]


def test_the_settings_file_that_the_reference_shows_is_valid(tmp_path: Path) -> None:
    page = (ROOT / "docs/reference/settings.md").read_text(encoding="utf-8")
    shown = re.search(r'^```toml title="\$WARDIAN_HOME/config.toml"\n(.*?)^```$', page, re.MULTILINE | re.DOTALL)
    assert shown is not None
    (tmp_path / "config.toml").write_text(shown[1], encoding="utf-8")
    settings = Settings.load({"WARDIAN_HOME": str(tmp_path)})
    assert settings.lock_platforms == ("linux/amd64", "linux/arm64")
    assert settings.mirrors == {"https://files.example.org/": "https://mirror.example.org/files"}
