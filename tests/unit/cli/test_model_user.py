"""Models of an ordinary user, whom permissions bind: what is kept may not be written to, and can still be deleted."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.accounts import USER, CliAs, why_not
from tests.support.cli import Cli
from tests.support.mounts import remove_with_mounts

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def cli() -> Iterator[CliAs]:
    if why := why_not(USER):
        pytest.skip(why)
    place = Path(tempfile.mkdtemp(prefix="wardian-models-"))  # tmp_path is root's alone
    place.chmod(0o755)
    found = CliAs(**vars(Cli.at(place / "home")))
    found.write("m/deep/w", "1")
    yield found
    remove_with_mounts(place)


def test_a_user_keeps_changes_and_deletes_models(cli: CliAs) -> None:
    cli.become(USER)
    kept = Path(cli.json("model", "create", "m", "m")["path"])
    modes = {oct(path.stat().st_mode & 0o777) for path in (kept.parent, kept, kept / "deep", kept / "deep" / "w")}
    assert modes == {"0o555", "0o444"}
    cli.ok("model", "download", "m", "-o", "there")
    assert os.access(cli.directory / "there" / "m" / "deep" / "w", os.W_OK)
    cli.write("m/deep/w", "2")
    other = cli.run("model", "create", "m", "m", "--version", "1")
    assert (other.code, "versions never change" in other.err) == (5, True)
    (cli.directory / "m" / "deep" / "w").chmod(0)
    closed = cli.run("model", "create", "m", "m")
    assert (closed.code, "cannot be read: Permission denied" in closed.err) == (7, True)
    cli.ok("model", "delete", "m", "--yes")
    assert not list(kept.parents[2].glob("*/*"))
