"""Every hostile archive of the table is refused, with its code, by name; the valid ones that they are made from are not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.hostile import ALL, CONDA_STEM, WHEEL_FILE, hostile_condas, hostile_wheels

from wardian.errors import BadArchive
from wardian.package.archive import validate_archive

if TYPE_CHECKING:
    from pathlib import Path

CASES = [(kind, why) for kind, (_, _, table) in ALL.items() for why in table()]


def _kind(table: str) -> str:
    return "conda" if table == "tar.bz2" else table


@pytest.mark.parametrize("table", ALL)
def test_the_valid_one_is_accepted(table: str, tmp_path: Path) -> None:
    file, good, _ = ALL[table]
    (tmp_path / file).write_bytes(good())
    content = validate_archive(tmp_path / file, _kind(table), case_sensitive=False)
    assert content.name in ("hostile", "cpython")
    assert content.expanded_bytes == sum(size for _, size in content.files) > 0


@pytest.mark.parametrize(("table", "why"), CASES)
def test_a_hostile_one_is_refused_by_name(table: str, why: str, tmp_path: Path) -> None:
    file, _, hostile = ALL[table]
    content, code = hostile()[why]
    (tmp_path / file).write_bytes(content)
    with pytest.raises(BadArchive) as refused:
        validate_archive(tmp_path / file, _kind(table), case_sensitive=True)
    assert refused.value.stable_code == code
    assert file in refused.value.message
    assert refused.value.hint
    assert "\0" not in refused.value.message


@pytest.mark.parametrize("case_sensitive", [True, False])
def test_names_that_differ_in_case_are_refused_only_where_they_are_one_file(case_sensitive: bool, tmp_path: Path) -> None:
    tables = {
        WHEEL_FILE: ("wheel", hostile_wheels(case_sensitive=False)),
        f"{CONDA_STEM}.conda": ("conda", hostile_condas(case_sensitive=False)),
    }
    for file, (kind, table) in tables.items():
        content, code = table["case collision"]
        (tmp_path / file).write_bytes(content)
        if case_sensitive:
            assert validate_archive(tmp_path / file, kind, case_sensitive=True).files
        else:
            with pytest.raises(BadArchive) as refused:
                validate_archive(tmp_path / file, kind, case_sensitive=False)
            assert refused.value.stable_code == code
