"""The keeper of an endpoint as a process: ``python -m wardian.sdk.endpoint_keeper HOME WORKSPACE NAME``; and how it is started."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from typing import TYPE_CHECKING, Any

from wardian.errors import RunFailed, WardianError
from wardian.tools import processes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wardian.bootstrap import Parts
    from wardian.serving.directory import EndpointDirectory
    from wardian.serving.replica import ReplicaWay

_START_S = 60.0
_PAUSE_S = 0.01


def is_kept(parts: Parts, name: str) -> bool:
    """Return whether a keeper looks after the endpoint, or may: one on another machine is not seen from here."""
    keeper = parts.endpoints.get(name).keeper
    return keeper is not None and processes.is_alive(keeper) is not False


def start_keeper(parts: Parts, name: str, directory: EndpointDirectory) -> None:
    """Start the endpoint's keeper; return when it is at work. One that another process has just started will do.

    Raises:   RunFailed: ``keeper_failed``.  NotFound: the endpoint was deleted meanwhile.
    """
    from wardian.tools.detached import NotStarted, start_detached
    from wardian.tools.disk import disk_errors

    settings = parts.settings
    with disk_errors(directory.path):
        directory.path.mkdir(parents=True, exist_ok=True, mode=0o700)
    command = [sys.executable, "-m", "wardian.sdk.endpoint_keeper", os.fspath(settings.home), settings.workspace, name]
    try:
        pid = start_detached(command, directory.keeper_log, {**parts.environ, "WARDIAN_CACHE": os.fspath(settings.cache)})
    except NotStarted as error:
        raise RunFailed(
            f"the keeper of endpoint `{name}` could not be started: {error.message}", code="keeper_failed"
        ) from error
    deadline = time.monotonic() + _START_S
    while (found := parts.endpoints.find(name)) is not None and not (found.keeper and processes.is_alive(found.keeper)):
        if processes.identify(pid) is None or time.monotonic() > deadline:
            if (found := parts.endpoints.find(name)) is None or (found.keeper and processes.is_alive(found.keeper)):
                return
            words = (
                directory.keeper_log.read_text(errors="replace").strip().splitlines() if directory.keeper_log.exists() else []
            )
            raise RunFailed(f"the keeper of endpoint `{name}` ended at once" + (f": {words[-1]}" if words else ""), code="keeper_failed",
                            hint=f"all that it said is in {directory.keeper_log}")  # fmt: skip
        time.sleep(_PAUSE_S)


def main(arguments: Sequence[str]) -> int:
    """Look after one endpoint until it is deleted. Only what could not be recorded is written to stderr."""
    from wardian.sdk.workspace import Workspace
    from wardian.serving.directory import EndpointDirectory
    from wardian.serving.keeper import Keeper

    home, workspace, name = arguments
    try:
        parts = Workspace.open(workspace, home=home).parts
        ways: dict[str, ReplicaWay] = {}

        def way(target: str) -> ReplicaWay:
            if target not in ways:
                ways[target] = _way(parts, target)
            return ways[target]

        directory = EndpointDirectory.of(parts.directory / "endpoints", name)
        Keeper(name, parts.endpoints, directory, way, lambda keys: _hold_all(parts, keys)).run()
    except WardianError as error:
        sys.stderr.write(f"{error.message}\n")
        return error.exit_code
    return 0


def _hold_all(parts: Parts, keys: Sequence[str]) -> contextlib.AbstractContextManager[Any]:
    """Keep what a plan names from being removed, until the block ends.

    Raises:   Unavailable: code ``prefix_gone``.
    """
    from wardian.digest import Digest

    with contextlib.ExitStack() as stack:
        for text in keys:
            kind, _, key = text.partition(":")
            cache = parts.prefixes if kind == "prefix" else parts.overlays.cache
            stack.enter_context(cache.hold(Digest(key)))
        return stack.pop_all()


def _way(parts: Parts, target: str) -> ReplicaWay:
    if target == "local":
        from wardian.serving.local_replica import LocalWay

        return LocalWay()
    from wardian.serving.container_replica import ContainerWay

    return ContainerWay(parts.images.engine(target))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
