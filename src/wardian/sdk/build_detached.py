"""Builds in a process of their own: ``python -m wardian.sdk.build_detached HOME WORKSPACE BUILD VERSION_ID PLATFORM …`` carries one out."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from wardian.errors import BuildFailed, WardianError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wardian.bootstrap import Parts
    from wardian.sdk.builds import Build
    from wardian.workspace.version import EnvironmentVersion


def submit_build(parts: Parts, version: EnvironmentVersion, platforms: Sequence[str]) -> Build:
    """Record a build of the version's images, start the process that carries it out, and return it.

    The record is there before the process, so that its id is known at once; if the process ends without a word, the record
    says so.

    Raises:   BuildFailed: code ``build_not_started``.
    """
    from wardian.sdk.builds import BuildCollection
    from wardian.tools import processes
    from wardian.tools.detached import NotStarted, start_detached

    builds, settings = parts.builds, parts.settings
    build_id = builds.add("image", str(version), version.definition_hash)
    command = [sys.executable, "-m", "wardian.sdk.build_detached", os.fspath(settings.home), settings.workspace, build_id,
               str(version.id), *platforms]  # fmt: skip
    try:
        pid = start_detached(command, builds.log_path(build_id), parts.environ)
    except NotStarted as error:
        raise builds.end_unstarted(
            build_id, BuildFailed(error.message, code="build_not_started", details={"build_id": build_id})
        ) from error
    started = processes.identify(pid)
    if started is not None:
        builds.hand_over(build_id, started)
    else:  # it has ended already; if it has recorded how, that holds
        builds.end_unstarted(build_id, BuildFailed("its process ended at once", code="process_ended"))
    return BuildCollection(parts).get(build_id)


def main(arguments: Sequence[str]) -> int:
    """Carry out one build; its record says how it went, its log has what could not be recorded."""
    from wardian.sdk.workspace import Workspace

    home, name, build_id, version_id, *platforms = arguments
    try:
        workspace = Workspace.open(name, home=home)
        parts = workspace.parts
        parts.interruptible = True
        with parts.builds.record("image", "", "", adopt=build_id) as recorder:
            parts.listener = recorder
            version = workspace.environments.by_id(int(version_id))
            workspace.images.carry_out(version, platforms, recorder)
    except WardianError as error:
        return error.exit_code  # the log has it
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
