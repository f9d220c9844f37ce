"""What the console script calls: who interrupts it while it still loads is answered as later on."""

from __future__ import annotations

import os

_INTERRUPTED = 130  # as a shell has it


def script() -> None:
    """Load the command line, and run it."""
    try:
        from wardian.cli.main import script as run
    except KeyboardInterrupt:
        os.write(2, b"interrupted\n")
        os._exit(_INTERRUPTED)  # nothing has begun that would have to end
    run()


if __name__ == "__main__":
    script()
