"""The carrier of pods that share no directory with anybody: what they need and what they leave goes through an image registry."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING

from wardian.digest import Digest
from wardian.errors import BadArchive, Denied, InvalidDigest, InvalidInput, NotFound, Unavailable, WardianError
from wardian.image.blob import CHUNK, read_whole
from wardian.image.oci import InvalidImage
from wardian.run.node.artifact import FILE, TREE, RunFiles, fetch_tree, left_tag, put_path, said_tag, sent_tag
from wardian.run.node.sheet import (
    AGENTS,
    CANCEL,
    ENDED,
    FILES,
    FILES_PLAIN,
    LOG,
    PACKAGES,
    RUNS,
    SECRETS,
    SHEET,
    NodeEnd,
)
from wardian.run.targets.agent_image import agent_tag, put_agent
from wardian.run.targets.kubernetes_manifest import LOGIN_KEY, secret_name
from wardian.run.targets.remote import Errand, Finding
from wardian.run.targets.several_pods import behind_of, end_of_all, merge, nodes_of
from wardian.tools.disk import disk_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from wardian.image.compression import Compression
    from wardian.image.oci import Descriptor
    from wardian.image.registry import RegistryImageStore
    from wardian.run.targets.kubernetes_secrets import PodSecrets
    from wardian.run.targets.remote import Task

ROOT = "/wardian"  # of pods: a directory of their own
_SMALL_BYTES = 16 << 20
_FEW = 4  # runs that are asked for one by one; of more, the tags are listed
_DAMAGE = (InvalidImage, BadArchive, InvalidDigest)


class RegistryCarrier:
    """Brings files to pods as artifacts of a registry, and back. See ``Carrier``.

    What a run takes along grows with each ``send`` and is one artifact; the node's agent fetches it, by its digest, and leaves another,
    which is hostile input here. Private files and the login go into the Secret object of the task.

    Attributes:
        log_is_a_view: the log of a run that is on comes by way of its engine, which may lose some of it: its end brings it whole.

    Args:     live: a piece of the log of a run that is on: key, offset, limit.  is_over: whether the engine says that a run has ended.
              login: content of a file of logins for pods, as docker keeps them; None: they need none, or ``login_secret`` has one.
              platform: of the nodes.  scratch: a directory of this machine.
    """

    root = ROOT
    log_is_a_view = True

    def __init__(
        self, store: RegistryImageStore, secrets: PodSecrets, *, live: Callable[[str, int, int], bytes], is_over: Callable[[str], bool],
        compression: Compression, platform: str, scratch: Path, login: Callable[[], bytes | None] = lambda: None, login_secret: str = "",
    ) -> None:  # fmt: skip
        self.store, self._secrets, self._live, self._is_over = store, secrets, live, is_over
        self._compression, self._platform, self._scratch = compression, platform, scratch
        self._login, self._login_secret = login, login_secret
        self._lock = threading.Lock()
        self._kept: set[str] = set()  # runs whose Secret is there
        self._streams: dict[str, tuple[ExitStack, IO[bytes], int]] = {}

    # -- Carrier -------------------------------------------------------------------------------------------------------

    def have(self, paths: Sequence[str]) -> set[str]:
        """Return which of ``paths`` are there already."""
        split = {path: _split(path) for path in paths}
        runs = {key for area, key, _ in split.values() if area == RUNS}
        listed = set(self.store.tags("o-")) if len(runs) > _FEW else None
        found = set()
        for path, (area, key, name) in split.items():
            if area == AGENTS:
                is_there = self.store.find(agent_tag(key)) is not None
            elif area == PACKAGES:
                is_there = _is_digest(key) and self.store.size_of(Digest(key)) is not None
            elif name == ENDED and listed is not None:
                is_there = left_tag(key) in listed
            else:
                with _damage():
                    is_there = any(name in files.layers for files in self._all(key, 0))
            if is_there:
                found.add(path)
        return found

    def send(self, files: Mapping[str, str], *, private: bool = False) -> None:
        """Bring files and directories there. See ``Carrier.send``. Archives go with the runs that need them."""
        runs: dict[str, dict[str, str]] = {}
        split = {path: _split(path) for path in files}
        for path, (area, key, name) in split.items():
            if area == AGENTS:
                if self.store.find(agent_tag(key)) is None:
                    put_agent(self.store, Path(files[path]), self._platform, self._compression, self._scratch)
            elif area == PACKAGES and _is_digest(key):
                put_path(self.store, path, files[path])
            elif area != RUNS:
                raise InvalidInput(f"`{path[:200]}` is no path that goes through a registry", code="path_escapes")
            elif private and name == SECRETS:
                self._secrets.keep(key, {SECRETS: Path(files[path]).read_bytes(), **self._login_file()})
                self._kept.add(key)
            elif name != CANCEL:  # nobody would see it: its engine ends it
                runs.setdefault(key, {})[name] = files[path]
        for key, own in runs.items():
            with self._lock:
                before = RunFiles.find(self.store, sent_tag(key)) or RunFiles()
                added = {name: put_path(self.store, name, here) for name, here in own.items() if name not in before.layers}
                replace(before, layers={**before.layers, **added}).put(self.store, key, sent_tag(key))
            if SHEET in own and key not in self._kept and (login := self._login_file()):
                self._secrets.keep(key, login)  # if another process has brought secrets, it is there with them

    def read(self, path: str, offset: int, limit: int) -> bytes | None:
        """Return a piece of a file; None: there is no such file."""
        area, key, name = _split(path)
        if area != RUNS:
            return None
        rank = _rank(name)
        if name == ENDED:
            text = self._end(key)
            return None if text is None else text[offset : offset + limit]
        try:
            layer = next((files.layers[name] for files in self._all(key, rank) if name in files.layers), None)
        except _DAMAGE as error:
            return _damaged(error)[offset : offset + limit]
        if layer is None:
            return (self._live(key, offset, limit) or None) if name == LOG else None
        if name == LOG:
            self._live(key, 0, 0)  # its engine's is not read any more
        if layer.media_type != FILE:
            raise Unavailable(f"{path} in {self.store.name} is no regular file", code="bad_node_file")
        if layer.size_bytes <= _SMALL_BYTES:
            with _damage():
                return read_whole(self.store, layer, _SMALL_BYTES)[offset : offset + limit]
        return self._stretch(path, layer, offset, limit)

    def fetch(self, path: str, place: str, *, limit_bytes: int | None = None) -> Sequence[str]:
        """Bring a directory home; return what stays behind. See ``Carrier.fetch``.

        Of several nodes, the first one's, and what others made that it has not.
        """
        area, key, name = _split(path)
        half = Path(f"{place}.{os.getpid()}.{time.monotonic_ns()}.tmp")
        try:
            with _damage(), disk_errors(half.parent):
                files = next((one for one in self._all(key, 0) if area == RUNS and name in one.layers), None)
                if files is None or files.layers[name].media_type != TREE:
                    raise NotFound(f"{self.store.name} has no directory {path}", code="node_directory_missing")
                behind = [*fetch_tree(self.store, files.layers[name], half, limit_bytes), *behind_of(files)]
                for rank in range(1, nodes_of(files)):
                    more = RunFiles.find(self.store, left_tag(key, rank))
                    if more is not None and name in more.layers and more.layers[name].media_type == TREE:
                        part = Path(f"{half}.{rank}")
                        try:
                            behind += [*fetch_tree(self.store, more.layers[name], part, limit_bytes), *behind_of(more)]
                            behind += merge(part, half, rank)
                        finally:
                            shutil.rmtree(part, ignore_errors=True)
                half.rename(place)
        except BaseException:
            shutil.rmtree(half, ignore_errors=True)
            raise
        return sorted(behind)

    def remove(self, path: str) -> None:
        """Remove what a run took along and left. What a registry lets nobody remove stays there."""
        area, key, name = _split(path)
        if area != RUNS or name:
            return
        self._live(key, 0, 0)
        for tag in self._tags_of(key):
            with suppress(Denied, *_DAMAGE):
                self.store.untag(tag)
        self._secrets.remove(key)

    # -- for the task --------------------------------------------------------------------------------------------------

    def try_out(self, key: str) -> Finding:
        """Return whether files can be brought there and are removed again."""
        path = f"{RUNS}/{key}"
        with tempfile.NamedTemporaryFile() as word:
            word.write(b"from here\n")
            word.flush()
            self.send({f"{path}/there": word.name})
        found = self.read(f"{path}/there", 0, 100)
        is_gone = self.store.untag(sent_tag(key))
        if found != b"from here\n":
            return Finding(
                "files",
                False,
                f"{self.store.name} does not give what it was given",
                "look at the registry, and at what is before it",
            )
        kept = "is removed" if is_gone else "stays: it lets nobody delete"
        return Finding("files", True, f"{self.store.name} can be written, and what runs leave there {kept}")

    def completed(self, task: Task, *, is_sent: bool = True) -> Task:
        """Return the task with what brings its files, by digest; ``is_sent``: False: nothing is contacted, and tags stand for digests."""
        program = [word.removeprefix(self.root) for word in task.argv[: task.argv.index("exec")]]
        agent = next((word.split("/")[2] for word in program if word.startswith(f"/{AGENTS}/")), "")
        image, files = f"{self.store.name}:{agent_tag(agent)}", f"{self.store.name}:{sent_tag(task.key)}"
        login = self._login_secret or (secret_name(task.key) if self._login() else "")
        if is_sent:
            found, sent = self.store.find(agent_tag(agent)), RunFiles.find(self.store, sent_tag(task.key))
            if found is None or sent is None:
                raise Unavailable(
                    f"{self.store.name} has lost what was brought there a moment ago",
                    code="registry_unavailable",
                    hint="try again",
                )
            image, files = f"{self.store.name}@sha256:{found.descriptor.digest}", f"{self.store.name}@sha256:{sent.digest}"
        plain = {FILES_PLAIN: "yes"} if self.store.client.url.startswith("http://") else {}
        first = Errand(image, (*program, "fetch", "--files", files, "--to", self.root), login)
        return replace(task, first=first, variables={**task.variables, FILES: self.store.name, **plain})

    # -- inside --------------------------------------------------------------------------------------------------------

    def _login_file(self) -> dict[str, bytes]:
        login = None if self._login_secret else self._login()
        return {LOGIN_KEY: login} if login is not None else {}

    def _all(self, key: str, rank: int) -> Iterator[RunFiles]:
        """Yield what a node has left, says, and has taken along."""
        for tag in (left_tag(key, rank), said_tag(key, rank), sent_tag(key)):
            if (found := RunFiles.find(self.store, tag)) is not None:
                yield found

    def _end(self, key: str) -> bytes | None:
        """Return how a run has ended, by all its nodes; None: it has not."""
        try:
            first = RunFiles.find(self.store, left_tag(key))
            if first is None:
                sent = RunFiles.find(self.store, sent_tag(key))
                return self._small(sent.layers[ENDED]) if sent and ENDED in sent.layers else None
            if ENDED not in first.layers:
                return None
            text = self._small(first.layers[ENDED])
            count = nodes_of(first)
            return text if count == 1 else self._end_of_all(key, NodeEnd.from_json(text), count)
        except (*_DAMAGE, InvalidInput) as error:
            return _damaged(error)

    def _end_of_all(self, key: str, own: NodeEnd, count: int) -> bytes | None:
        there = set(self.store.tags(f"o-{key}"))
        ranks = [rank for rank in range(1, count) if left_tag(key, rank) in there]
        if len(ranks) < count - 1 and not self._is_over(key):
            return None
        ends: list[tuple[int, NodeEnd]] = []
        for rank in ranks:
            files, name = RunFiles.find(self.store, left_tag(key, rank)), f"ended.{rank}.json"
            if files is not None and name in files.layers:
                ends.append((rank, NodeEnd.from_json(self._small(files.layers[name]))))
        end = end_of_all(own, ends, is_whole=len(ranks) == count - 1)
        return end.to_json() if end is not None else None

    def _small(self, layer: Descriptor) -> bytes:
        return read_whole(self.store, layer, _SMALL_BYTES)

    def _stretch(self, path: str, layer: Descriptor, offset: int, limit: int) -> bytes:
        """Return a piece of a long file: whoever reads on from where they were has the answer that is open."""
        stack, stream, position = self._streams.pop(path, (ExitStack(), None, 0))
        with _damage():
            if stream is None or position > offset:
                stack.close()
                stack = ExitStack()
                stream, position = stack.enter_context(self.store.open(layer)), 0
            while position < offset and (skipped := stream.read(min(CHUNK, offset - position))):
                position += len(skipped)
            pieces, left = [], limit
            while left and (piece := stream.read(min(CHUNK, left))):
                pieces.append(piece)
                left -= len(piece)
        content = b"".join(pieces)
        if content:
            self._streams[path] = stack, stream, offset + len(content)
        else:
            stack.close()
        return content

    def _tags_of(self, key: str) -> list[str]:
        first = None
        with suppress(*_DAMAGE):
            first = RunFiles.find(self.store, left_tag(key))
        ranks = range(1, nodes_of(first)) if first else range(0)
        more = [tag for rank in ranks for tag in (said_tag(key, rank), left_tag(key, rank))]
        return [sent_tag(key), said_tag(key), *more, left_tag(key)]


def _split(path: str) -> tuple[str, str, str]:
    """Return area, key and the rest of a path below the root.

    Raises:   InvalidInput: ``path_escapes``.
    """
    parts = PurePosixPath(path).parts
    if len(parts) < 2 or path.startswith("/") or ".." in parts or "\0" in path:  # noqa: PLR2004 - `runs/<key>`
        raise InvalidInput(f"`{path[:200]}` is no path below {ROOT}", code="path_escapes")
    return parts[0], parts[1], "/".join(parts[2:])


def _rank(name: str) -> int:
    parts = name.split(".")
    return int(parts[1]) if len(parts) == 3 and parts[1].isascii() and parts[1].isdecimal() and len(parts[1]) < 7 else 0  # noqa: PLR2004


def _is_digest(text: str) -> bool:
    return len(text) == 64 and not set(text) - set("0123456789abcdef")  # noqa: PLR2004 - sha256


def _damaged(error: WardianError) -> bytes:
    """Return what stands for a file that is none: whoever reads it finds it damaged, and no run waits for it for ever."""
    return f"damaged: {error.message[:500]}".encode()


@contextmanager
def _damage() -> Iterator[None]:
    """Turn what is said of images and archives into what carriers say."""
    try:
        yield
    except _DAMAGE as error:
        raise Unavailable(f"what the nodes left is refused: {error.message}", code="bad_node_files") from error
