"""The other nodes of a run on several: whether one has failed, is lost, or all have ended."""

from __future__ import annotations

import os
import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from wardian.errors import InvalidInput
from wardian.run.node.claim import BEATS_MISSED
from wardian.run.node.sheet import NodeEnd
from wardian.small_file import read_small

if TYPE_CHECKING:
    from wardian.run.node.claim import Claim
    from wardian.run.node.ranks import Rank

_ENDED = re.compile(r"ended\.([1-9]\d{0,5})\.json")
_STATUS_BYTES = 1 << 16


class Others:
    """What the node ``rank`` of a run has to know of the others. The first looks at all, all others look at the first."""

    def __init__(self, claim: Claim, rank: Rank, heartbeat_s: float) -> None:
        self._claim = claim
        self._rank = rank
        self._heartbeat_s = heartbeat_s
        self._watched = range(1, rank.of) if rank.number == 0 else range(1)
        self._ended: set[int] = set()
        self._signs: dict[int, tuple[bytes, float]] = {}
        self._due = 0.0

    def failed(self) -> tuple[int, NodeEnd] | None:
        """Return a node that failed or is lost, and how it ended; None: none has that we know of."""
        if self._rank.number == 0:
            for number in self._newly_ended():
                end = self._end(number)
                if end is not None and end.attempt >= self._claim.attempt:
                    self._ended.add(number)
                    if end.process_exit_code != 0:
                        return number, end
        return self._lost()

    def all_have_begun(self) -> bool:
        """Return whether every node has read what it needs from the run's directory."""
        return all(self._claim.place.of(number).status.exists() for number in range(1, self._rank.of))

    def all_have_ended(self) -> bool:
        """Return whether all others have ended, as far as ``failed`` has looked."""
        return len(self._ended) == self._rank.of - 1

    def _newly_ended(self) -> list[int]:
        found = (_ENDED.fullmatch(name) for name in os.listdir(self._claim.place.directory))  # noqa: PTH208 - every second
        numbers = (int(match[1]) for match in found if match)
        return [number for number in numbers if number < self._rank.of and number not in self._ended]

    def _end(self, number: int) -> NodeEnd | None:
        try:
            return self._claim.place.of(number).read_end()
        except InvalidInput as error:
            return NodeEnd("failed", code=error.stable_code, reason=error.message, attempt=self._claim.attempt)

    def _lost(self) -> tuple[int, NodeEnd] | None:
        """Return a node that has shown no sign of life for too long. It counts from the first look, or its last sign."""
        now = time.monotonic()
        if now < self._due:
            return None
        self._due = now + self._heartbeat_s
        for number in self._watched:
            if number in self._ended:
                continue
            try:
                sign = read_small(self._claim.place.of(number).status, _STATUS_BYTES)
            except OSError:
                sign = b""
            before, since = self._signs.get(number, (None, now))
            if sign != before:
                self._signs[number] = (sign, now)
            elif now - since > BEATS_MISSED * self._heartbeat_s:
                reason = f"it has given no sign of life for {now - since:.0f} s"
                return number, NodeEnd("failed", code="node_lost", reason=reason, attempt=self._claim.attempt)
        return None


def as_ours(number: int, end: NodeEnd, own: NodeEnd) -> NodeEnd:
    """Return how the run ended when its node ``number`` failed so: what that one says, and what this one ran with."""
    where = f"node {number}" + (f" ({end.node})" if end.node else "")
    return replace(own, cause=end.cause, code=end.code, exit_code=end.exit_code, signal=end.signal, reason=f"{where}: {end.reason}",
                   detail=end.detail, notes=(*own.notes, f"the other nodes were stopped when {where} had failed"))  # fmt: skip
