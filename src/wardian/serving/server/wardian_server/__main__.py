"""``python …/wardian_server/__main__.py --config FILE``, or ``python -m wardian_server --config FILE``.

This directory's parent goes to the end of ``sys.path``: what the environment has is never shadowed.
"""

from __future__ import annotations

import importlib
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))


def settle_path() -> None:
    """Take this directory itself off ``sys.path`` (Python put it first), and put its parent last."""
    parent = os.path.dirname(HERE)
    sys.path[:] = [place for place in sys.path if os.path.abspath(place or ".") not in {HERE, parent}] + [parent]


if __name__ == "__main__":
    settle_path()
    sys.exit(importlib.import_module("wardian_server.start").main(sys.argv[1:]))
