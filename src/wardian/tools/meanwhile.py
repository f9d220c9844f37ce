"""Work done ahead in a thread, while this one waits for something else."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from wardian.errors import WardianError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextlib.contextmanager
def meanwhile(work: Callable[[], object]) -> Iterator[None]:
    """Call ``work`` in a thread; the block ends when both have.

    It is work that is done again, at no cost if it was done here, by who needs it: so its errors are kept silent, and told there.
    """

    def quietly() -> None:
        with contextlib.suppress(WardianError, OSError):
            work()

    thread = threading.Thread(target=quietly, name="wardian-meanwhile", daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join()
