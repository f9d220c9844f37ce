"""Homes that make images: a command line with a base image, an index and, if asked for, a channel; no pytest in here."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.cli import Cli
from tests.support.jobs import wait_until

if TYPE_CHECKING:
    from tests.support.index import Index

PAUSE = Path(__file__).parent / "pause"


def a_home(place: Path, shop: Index, base: str, *, channel_url: str = "", **variables: str) -> Cli:
    """Return a command line with a fresh home below ``place``, whose images are built on ``base``.

    Args:     channel_url: of a channel that is called ``local`` there.  variables: of each call.
    """
    config = f'[channels]\nlocal = "{channel_url}"\n' if channel_url else ""
    cli = Cli.at(place, index_url=shop.url, config=f'lock_platforms = ["linux/amd64"]\n{config}')
    cli.variables |= {"WARDIAN_BASE_IMAGE": base, **variables}
    return cli


def image_of(cli: Cli, target: str) -> dict[str, Any]:
    """Return the image of ``target``, built if need be."""
    (found,) = cli.json("env", "build", target, "--image")["images"]
    return dict(found)


def image_builds(cli: Cli) -> list[dict[str, Any]]:
    """Return the records of builds of images, the newest first."""
    return list(cli.json("build", "list", "--kind", "image")["builds"])


def solves(cli: Cli) -> int:
    """Return how often something was solved there."""
    return len(cli.json("build", "list", "--kind", "lock")["builds"])


def kill_inside(cli: Cli, event: str, pattern: str, place: Path, *arguments: str) -> None:
    """Make a call and kill it at its first audit event ``event`` whose argument matches ``pattern``.

    Args:     place: a directory for the sign that it has come that far.
    """
    stopped = place / "stopped-here"
    pause = {"PYTHONPATH": str(PAUSE), "WARDIAN_TEST_PAUSE": f"{event}|{pattern}|{stopped}"}
    process = cli.start(*arguments, env={**cli.environ, **pause})
    try:
        wait_until(lambda: stopped.exists() or process.poll() is not None, timeout_s=120)
        assert stopped.exists(), process.communicate()
        os.kill(int(stopped.read_text()), signal.SIGKILL)
    finally:
        process.kill()
        process.communicate()
    stopped.unlink()
