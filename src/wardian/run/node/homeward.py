"""The node's side of files that go through a registry: they are fetched before a run, and what it leaves is brought there at its end."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import sys
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from wardian.errors import InvalidInput, Unavailable, WardianError
from wardian.image.blob import put_empty
from wardian.image.first_tag import tag_first
from wardian.image.oci import Manifest
from wardian.run.node.agent import TAKEN_OVER, execute
from wardian.run.node.artifact import (
    ARTIFACT,
    BEHIND,
    CLAIM,
    NODES,
    RUN,
    TREE,
    RunFiles,
    changes_since,
    fetch_file,
    fetch_tree,
    left_tag,
    put_path,
    said_tag,
)
from wardian.run.node.place import NodePlace
from wardian.run.node.ranks import rank_of
from wardian.run.node.sheet import ENDED, ENGINE_LOG, LOG, RUNS, SNAPSHOT, STATUS, NodeStatus, of_rank

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from wardian.events import Event
    from wardian.image.registry import RegistryImageStore
    from wardian.run.node.agent import NodeMeans
    from wardian.run.node.sheet import Sheet

NOT_BROUGHT = 125
_NAMED = 100
_PAUSES_S = (5.0, 15.0, 45.0, 90.0)  # beyond what the registry's client waits itself


def fetch(store: RegistryImageStore, reference: str, root: Path, agent: Path) -> None:
    """Bring what a run takes along to ``root``, the agent that does it among it.

    Args:     reference: ``sha256:…`` of the run's files.  agent: the directory that it lies in.
    Raises:   InvalidInput: ``files_missing``.  What the registry and the disk raise.
    """
    found = RunFiles.find(store, reference)
    if found is None or not found.notes.get(RUN):
        raise InvalidInput(f"{store.name}@{reference} has no files of a run", code="files_missing", hint="submit the run again")
    directory = root / RUNS / found.notes[RUN]
    directory.mkdir(parents=True)
    for path, layer in found.layers.items():
        place = directory / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if layer.media_type == TREE:
            fetch_tree(store, layer, place)
        else:
            fetch_file(store, layer, place)
    if not (root / "agents" / agent.name).exists():
        shutil.copytree(agent, root / "agents" / agent.name, symlinks=True)


def execute_and_leave(file: Path, means: NodeMeans, store: RegistryImageStore) -> int:
    """Do what ``execute`` does, alone on this node, and bring what the run leaves to the registry; return its exit code.

    A second start of the run, wherever it is, finds the first one's claim there, and ends.

    Raises:   as ``execute``.
    """
    signal.signal(
        signal.SIGTERM, signal.SIG_IGN
    )  # while the job runs, the agent hears it; before and after, there is nothing to end
    place = NodePlace(file.absolute().parent)
    sheet = place.read_sheet(file)
    rank = rank_of(sheet.resources.nodes, means.environ)
    home = Homeward(store, place.of(rank.number if rank else 0), sheet)
    if not home.claim():
        sys.stderr.write("another start of this run has it\n")
        return TAKEN_OVER
    with (place.directory / ENGINE_LOG).open("a", encoding="utf-8", errors="replace") as said:

        def hear(event: Event) -> None:
            if event.kind != "progress":
                said.write(f"{event.text}\n")
                said.flush()

        code = execute(file, replace(means, listener=hear, alone=True, echo=1, on_start=home.say_running))
    try:
        home.leave()
    except (WardianError, OSError) as error:
        why = error.message if isinstance(error, WardianError) else str(error)
        sys.stderr.write(f"error: what the run left could not be brought to {store.name}: {why}\n")
        return NOT_BROUGHT
    return code


class Homeward:
    """What one node of a run says and leaves in the registry."""

    def __init__(
        self, store: RegistryImageStore, place: NodePlace, sheet: Sheet, *, pauses_s: Sequence[float] = _PAUSES_S,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:  # fmt: skip
        self._store, self._place, self._sheet = store, place, sheet
        self._pauses_s, self._sleep = pauses_s, sleep
        self._key = place.directory.name
        self._id = f"{os.uname().nodename} {secrets.token_hex(8)}"
        self._wanted = changes_since(place.snapshot) if place.rank else None  # of others than the first: what is their own
        self._telling: threading.Thread | None = None

    def claim(self) -> bool:
        """Return whether this is the run's first start: the claim in the registry is this one's."""
        store, tag = self._store, said_tag(self._key, self._place.rank)

        def look() -> str | None:
            found = RunFiles.find(store, tag)
            return found.notes.get(CLAIM, "") if found else None

        def prepare() -> Manifest:
            notes = ((CLAIM, self._id), (RUN, self._key))
            return Manifest(put_empty(store), (), artifact_type=ARTIFACT, annotations=notes)

        holder, _ = tag_first(store, tag, look, prepare)
        return holder == self._id

    def say_running(self) -> None:
        """Let the submitter know that the job has started. Nothing waits for it."""
        moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        status = NodeStatus("running", at=moment, node=os.uname().nodename).to_json()

        def tell() -> None:
            file = self._place.directory / f".{STATUS}.{self._place.rank}"
            try:
                file.write_bytes(status)
                layers = {STATUS: put_path(self._store, STATUS, str(file))}
                RunFiles(layers, {CLAIM: self._id}).put(self._store, self._key, said_tag(self._key, self._place.rank))
            except (WardianError, OSError):  # its end says all
                return

        self._telling = threading.Thread(target=tell, name="wardian-say", daemon=True)
        self._telling.start()

    def leave(self) -> None:
        """Bring log, end and files there, whatever it takes, within minutes; nothing, if another start has the run.

        Raises:   WardianError, OSError: it cannot be done.
        """
        if self._telling is not None:
            self._telling.join()
        for pause_s in (*self._pauses_s, None):
            try:
                self._leave()
                return
            except Unavailable:
                if pause_s is None:
                    raise
                self._sleep(pause_s)

    def _leave(self) -> None:
        place, rank = self._place, self._place.rank
        notes: list[str] = []
        layers = {}
        names = [of_rank(ENDED, rank), of_rank(LOG, rank), ENGINE_LOG]
        for name in names:
            if (place.directory / name).is_file():
                layers[name] = put_path(self._store, name, str(place.directory / name))
        if place.snapshot.is_dir():
            layers[SNAPSHOT] = put_path(self._store, SNAPSHOT, str(place.snapshot), wanted=self._wanted, notes=notes)
        claimed = RunFiles.find(self._store, said_tag(self._key, rank))
        if claimed is not None and claimed.notes.get(CLAIM) != self._id:
            return
        told = {CLAIM: self._id, NODES: str(self._sheet.resources.nodes or 1), BEHIND: json.dumps(notes[:_NAMED])}
        RunFiles(layers, told).put(self._store, self._key, left_tag(self._key, rank))
