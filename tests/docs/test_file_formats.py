"""The page of file formats lists what is read, under the names and with the managers that the readers give."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.support.corpus import DATA, Case, all_cases

from wardian.formats.detect import FORMATS, detect
from wardian.formats.source_text import read_source

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "file-formats.md").read_text(encoding="utf-8")
ROWS = {
    name: (typical, managers)
    for name, typical, managers in re.findall(r"^\| `([\w-]+)` \| (`.*?) \| ([\w, ]+) \|", PAGE, re.MULTILINE)
}
WORDS = ("eight", "nine", "ten", "eleven", "twelve", "thirteen", "fourteen")


def test_every_format_has_its_row_and_no_other_has() -> None:
    assert set(ROWS) == set(FORMATS)
    assert f"in {WORDS[len(FORMATS) - 8]} formats" in PAGE


@pytest.mark.parametrize("case", [case for case in all_cases() if case.is_read], ids=str)
def test_the_managers_are_those_of_the_page(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(case.folder)
    file = case.path.name if (DATA / case.path).is_file() else "azureml_environment.json"
    kind = detect(file, read_source(Path(file)))
    assert case.read().environment.python.manager in ROWS[kind][1].split(", ")
