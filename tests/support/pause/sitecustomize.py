"""Stops a process of a test inside a chosen step, so that it can be killed there for certain.

``WARDIAN_TEST_PAUSE`` is ``event|pattern|file``: at the first audit event of that name with an argument that matches, the
process writes its pid to ``file`` and sleeps. Nothing of the code under test is changed.
"""

import os
import re
import sys
import time

_wanted = os.environ.get("WARDIAN_TEST_PAUSE")
if _wanted:
    _event, _pattern, _file = _wanted.split("|")
    _done = False

    def _hook(event: str, args: tuple[object, ...]) -> None:
        global _done  # noqa: PLW0603
        if _done or event != _event or not any(re.search(_pattern, str(a)) for a in args):
            return
        _done = True
        with open(_file + ".tmp", "w") as stream:  # noqa: PTH123
            stream.write(str(os.getpid()))
        os.rename(_file + ".tmp", _file)  # noqa: PTH104
        time.sleep(120)

    sys.addaudithook(_hook)
