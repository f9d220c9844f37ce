"""How this program starts another process of the Python that it runs on, and the programs that came with it, wherever it lies.

Ordinarily that is ``sys.executable``. Within an agent that was sent to a node, nothing of the node's is used: neither its loader nor its
C library; every program is started by the loader that came along.
"""

from __future__ import annotations

import os
import sys

MARK = "agent.json"
LOADER, LIBRARIES, PROGRAMS = "libraries/loader", "libraries", "bin"


def own_python() -> tuple[str, ...]:
    """Return the command of this Python; options and arguments follow."""
    return (*_started_by(_place()), sys.executable)


def own_program(name: str) -> tuple[str, ...] | None:
    """Return the command of the program ``name`` that came with this agent; None: this is no agent, or it has none."""
    place = _place()
    program = f"{place}/{PROGRAMS}/{name}"
    return (*_started_by(place), program) if place and os.path.exists(program) else None  # noqa: PTH110 - on the warm path


def _place() -> str:
    """Return the agent's directory; empty: this is none."""
    place = os.path.dirname(os.path.dirname(sys.executable))  # noqa: PTH120
    return place if os.path.exists(f"{place}/{MARK}") else ""  # noqa: PTH110


def _started_by(place: str) -> tuple[str, ...]:
    loader = f"{place}/{LOADER}"
    if not place or not os.path.exists(loader):  # noqa: PTH110 - its programs are linked statically
        return ()
    return (loader, "--library-path", f"{place}/{LIBRARIES}")
