"""Conflicts as uv finds them over a real index: all that clash independently are named at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.cli import Cli
from tests.support.wheels import make_wheel

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.index import Index

TWO = """\
  alpha    ← python.pip[0] `alpha`
    wants beta<2  ✗
  beta>=2  ✗    ← python.pip[1] `beta>=2`
and, independently of that:
  gamma    ← python.pip[2] `gamma`
    wants eps<2  ✗
  eps>=2  ✗    ← python.pip[3] `eps>=2`
"""
MISSING = """\
  nosuch    ← python.pip[0] `nosuch`
  `nosuch` is in none of the indexes
and, independently of that:
  eps>5    ← python.pip[1] `eps>5`
  only eps<=2.0 is available
and, independently of that:
  alpha    ← python.pip[2] `alpha`
    wants beta<2  ✗
  beta>=2  ✗    ← python.pip[3] `beta>=2`
hint:  check the name, the version and `wardian doctor`; loosen one of the lines marked ✗
"""


@pytest.fixture
def cli(tmp_path: Path, index: Index) -> Cli:
    for name, version, requires in (
        ("beta", "1.0", []), ("beta", "2.0", []), ("eps", "1.0", []), ("eps", "2.0", []), ("alpha", "1.0", ["beta<2"]), ("gamma", "1.0", ["eps<2"]),
    ):  # fmt: skip
        index.add(make_wheel(tmp_path / "made", name, version, files={f"{name}/__init__.py": ""}, requires=requires))
    return Cli.at(tmp_path / "one", index_url=index.url)


@pytest.mark.parametrize(
    ("lines", "shown"),
    [("alpha\nbeta>=2\ngamma\neps>=2\n", TWO), ("nosuch\neps>5\nalpha\nbeta>=2\n", MISSING)],
    ids=["two", "missing"],
)
def test_independent_clashes_are_named_at_once(cli: Cli, lines: str, shown: str) -> None:
    cli.write("r.txt", lines)
    done = cli.run("env", "lock", "r.txt")
    assert done.code == 1
    assert shown in done.err


def test_one_clash_is_named_alone(cli: Cli) -> None:
    cli.write("r.txt", "alpha\nbeta>=2\neps\n")
    done = cli.run("env", "lock", "r.txt")
    assert done.code == 1
    assert "independently" not in done.err
    assert "eps" not in done.err
