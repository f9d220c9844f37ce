"""Every rule has a file that raises it and one that does not; what --fix writes lints clean."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from wardian import formats
from wardian.lint import SEVERITIES, lint_file
from wardian.lint.registry import RULES
from wardian.lock.lock import Lock

if TYPE_CHECKING:
    from wardian.lint import Finding

DATA = Path(__file__).parents[2] / "data" / "lint"
SUFFIXES = (".yml", ".yaml", ".txt", ".toml", ".py")


def _files(kind: str) -> list[str]:
    found = [path for path in DATA.glob(f"*/{kind}*") if path.suffix in SUFFIXES or path.is_dir()]
    return sorted(path.relative_to(DATA).as_posix() for path in found)


def _found(path: Path) -> tuple[Finding, ...]:
    beside = path.with_suffix(".lock.json")
    locks = (Lock.from_json(beside.read_text(encoding="utf-8")),) if beside.exists() else ()
    return lint_file(path, locks=lambda _: locks).findings


@pytest.mark.parametrize("rule_id", RULES)
def test_every_rule_has_a_file_that_raises_it_and_one_that_does_not(rule_id: str) -> None:
    for kind in ("bad", "good"):
        assert [name for name in _files(kind) if name.startswith(f"{rule_id}/")], f"{rule_id} has no {kind} file"


def test_every_file_is_of_a_rule() -> None:
    assert {path.name for path in DATA.iterdir()} == set(RULES)


@pytest.mark.parametrize("name", _files("bad"))
def test_a_bad_file_raises_its_rule(name: str) -> None:
    found = [one for one in _found(DATA / name) if one.id == name.partition("/")[0]]
    assert found
    for one in found:
        assert one.severity in SEVERITIES
        assert one.why.endswith(".")
        assert one.message
        assert one.fix
        assert one.line is None or 0 < one.line <= len(Path(one.file).read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize("name", _files("good"))
def test_a_good_file_does_not_raise_it(name: str) -> None:
    assert [one for one in _found(DATA / name) if one.id == name.partition("/")[0]] == []


@pytest.mark.parametrize("name", [name for name in _files("bad") if RULES[name.partition("/")[0]].fixable])
def test_a_fixed_file_lints_clean_and_keeps_its_comments(name: str, tmp_path: Path) -> None:
    rule_id = name.partition("/")[0]
    shutil.copytree(DATA / rule_id, tmp_path / rule_id)
    path = tmp_path / name
    before = path.read_text(encoding="utf-8")
    found = lint_file(path)
    wanted = [one for one in found.findings if one.fixable]
    assert any(one.id == rule_id for one in found.findings)
    fixed = lint_file(path, fix=True)
    after = path.read_text(encoding="utf-8")
    assert fixed.fixed == (after if fixed.text else "")
    assert {one.id for one in fixed.done} == {one.id for one in wanted}
    assert [one for one in lint_file(path).findings if one.fixable] == []
    for comment in re.findall(r"# .*", before):
        assert comment in after
    if wanted:
        kept = [line for line in before.splitlines() if line in after.splitlines()]
        assert len(kept) >= len(before.splitlines()) - len(wanted)


def test_ids_are_stable_words_and_every_rule_teaches() -> None:
    for rule in RULES.values():
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", rule.id)
        assert rule.severity in SEVERITIES
        assert rule.check is not None or rule.codes or rule.id == "unknown-ignore"
        assert rule.why.endswith(".")
        assert not rule.fix.endswith(".")


def test_the_same_file_has_the_same_findings() -> None:
    for name in _files("bad"):
        assert _found(DATA / name) == _found(DATA / name)


def test_all_but_faulty_files_read() -> None:
    for name in (*_files("bad"), *_files("good")):
        if not name.startswith(("secret-in-definition/bad", "duplicate-requirement/bad-lines")):
            formats.read(DATA / name)


def test_documents_are_plain_json() -> None:
    for name in _files("bad"):
        for one in _found(DATA / name):
            assert json.loads(json.dumps(one.as_document()))["id"] == one.id
