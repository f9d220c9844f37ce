"""A command line with a home of its own; and one with an environment that needs no index: this interpreter, user-managed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from tests.support.cli import Cli

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli.at(tmp_path)


@pytest.fixture
def host(cli: Cli) -> Cli:
    cli.ok("env", "create", "host", "--interpreter", sys.executable)
    return cli
