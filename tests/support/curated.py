"""A small catalogue of curated environments over a loopback index, made by the script that makes Wardian's own. No pytest in here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.index import Index
    from tests.support.pythons import Catalogue as Pythons

SCRIPT = Path(__file__).parents[2] / "scripts/catalogue.py"
NAME = "Wardian-alpha-1.0-py3-cpu"
_DEFINITION = """\
# what everybody starts with
name: {name}
description: "alpha, for all"
tags:
  frameworks: alpha
  accelerator: cpu
python:
  manager: uv
  version: "=={version}"
  pip:
    - alpha
"""
_SMOKE = "import alpha\nassert alpha.version\nprint('smoke: alpha', alpha.version)\n"


def draft(root: Path, pythons: Pythons, *, name: str = NAME, version: str = "1") -> Path:
    """Write a draft of an entry that needs ``alpha``, and return its directory."""
    place = root / name / version
    place.mkdir(parents=True)
    python = next(iter(pythons.entries)).split("-")[1]
    (place / "environment.yml").write_text(_DEFINITION.format(name=name, version=python))
    (place / "smoke.py").write_text(_SMOKE)
    return place


def publish(root: Path, pythons: Pythons, shop: Index, *names: str) -> None:
    """Lock the drafts for linux/amd64 and put them into the index of the catalogue."""
    make(root, "publish", *(names or (NAME,)), "--pythons", pythons.url, "--index", shop.url, "--platform", "linux/amd64")


def make(root: Path, *arguments: str) -> str:
    """Call the script, and return what it wrote.

    Raises:   AssertionError: it failed.
    """
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--root", str(root), *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
