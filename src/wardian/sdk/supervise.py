"""The supervisor of a detached run: ``python -m wardian.sdk.supervise HOME WORKSPACE RUN VERSION_ID``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from wardian.errors import WardianError
from wardian.sdk.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str]) -> int:
    """Carry out one run; its record says how it went. Only what could not be recorded is written to stderr."""
    home, name, run_id, version_id = arguments
    try:
        workspace = Workspace.open(name, home=home)
        workspace.parts.interruptible = True
        workspace.runs.supervise(run_id, int(version_id))
    except WardianError as error:
        sys.stderr.write(f"{error.message}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
