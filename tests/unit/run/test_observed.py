from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from wardian.run.observed import in_words, observe, observed_r

if TYPE_CHECKING:
    from pathlib import Path

ANSWER = "R\t4.2.2\nbase\t4.2.2\nMASS\t7.3-58\nMASS\t7.3-1\nodd line\n"


def _program(place: Path, name: str, text: str) -> None:
    (place / name).write_text(f"#!/bin/sh\n{text}\n")
    (place / name).chmod(0o755)


def test_the_packages_of_r_are_those_that_it_finds_first() -> None:
    assert observed_r(ANSWER, "/usr/bin/Rscript") == {
        "version": "4.2.2", "executable": "/usr/bin/Rscript",
        "packages": [{"name": "MASS", "version": "7.3-58"}, {"name": "base", "version": "4.2.2"}],
    }  # fmt: skip
    assert observed_r("Welcome\n", "Rscript") is None


def test_python_and_r_are_both_observed(tmp_path: Path) -> None:
    _program(tmp_path, "Rscript", "printf 'R\\t4.2.2\\nbase\\t4.2.2\\n'")
    found = observe(sys.executable, f"{tmp_path}{os.pathsep}{os.defpath}")
    assert found["observed"] is True
    assert found["executable"] == sys.executable
    assert (found["r"]["version"], found["r"]["executable"]) == ("4.2.2", f"{tmp_path}/Rscript")
    assert "pytest" in {each["name"] for each in found["distributions"]}
    assert in_words(found).endswith(" and R 4.2.2, 1 package observed")


def test_what_is_not_there_or_fails_is_told_as_missing(tmp_path: Path) -> None:
    assert observe("no-such-python", str(tmp_path)) == {"observed": True, "python": None, "r": None}
    _program(tmp_path, "Rscript", "echo R; exit 3")
    _program(tmp_path, "python3", "echo '{'")
    found = observe("python3", f"{tmp_path}{os.pathsep}{os.defpath}")
    assert found == {"observed": True, "python": None, "r": None}
    assert in_words(found) == "no Python and no R observed"
