"""Lint over files as people have them: it never breaks, and what --fix writes is the same file without what it mends."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import pytest
from tests.support.corpus import all_cases

from wardian import formats
from wardian.errors import InvalidInput
from wardian.formats.source_text import read_source
from wardian.lint import SEVERITIES, lint_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.corpus import Case

    from wardian.definition.environment import Environment

CASES = all_cases()


def lines_of(environment: Environment) -> list[str]:
    """What the environment asks for, one text each."""
    python = environment.python
    return [*python.channels, *python.conda, *python.pip, *python.pip_options, *python.constraints]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_any_file_is_linted(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(case.folder)
    name = case.path.name if case.path.suffix else "."
    if '"error": "format_not_read"' in case.expected.read_text(encoding="utf-8"):
        with pytest.raises(InvalidInput):
            lint_file(name)
        return
    found = lint_file(name)
    assert {one.severity for one in found.findings} <= set(SEVERITIES)
    assert any(one.severity == "error" for one in found.findings) or case.is_read
    for one in found.findings:
        assert one.message and one.why and one.fix, one  # noqa: PT018
    if name == "." or not case.is_read:
        return
    before = formats.read(name)
    shutil.copytree(case.folder, tmp_path / "copy", ignore=None if case.folder.name == case.name else _alone(name))
    monkeypatch.chdir(tmp_path / "copy")
    try:
        fixed = lint_file(name, fix=True)
    except InvalidInput as error:
        assert (error.stable_code, any(one.fixable for one in found.findings)) == ("not_plain_text", True)  # noqa: PT017
        return
    after = formats.read(name)
    assert [one for one in lint_file(name).findings if one.fixable] == []
    text = read_source(tmp_path / "copy" / name)
    assert text == (fixed.fixed or found.text)
    for comment in re.findall(r"(?:^|\s)(#.*)", found.text):
        assert comment.strip() in text
    assert set(lines_of(after.environment)) <= {*lines_of(before.environment), "pip"}
    assert len(lines_of(before.environment)) - len(lines_of(after.environment)) <= len(fixed.done)
    assert after.environment.with_python(
        channels=(), conda=(), pip=(), pip_options=(), local=()
    ) == before.environment.with_python(channels=(), conda=(), pip=(), pip_options=(), local=())


def _alone(name: str) -> Callable[[str, list[str]], list[str]]:
    return lambda _, names: [one for one in names if one != name]
