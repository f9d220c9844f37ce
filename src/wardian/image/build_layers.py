"""The layers of an image of a lock: those that were made before are taken, the others made, several at once."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from wardian.digest import canonical_json
from wardian.events import Event
from wardian.image.assemble import NamedLayer
from wardian.image.byte_code import ByteCompiler, compile_entries
from wardian.image.conda_entries import PackageFacts
from wardian.image.conda_meta import environment_entries, merged, restored
from wardian.image.conda_scripts import WHITEOUT, run_link_scripts
from wardian.image.conda_staging import staged
from wardian.image.entry import ENVIRONMENT, ENVIRONMENT_PATH, OPAQUE, Entry
from wardian.image.interpreter import runnable
from wardian.image.layer_cache import LayerContent, LayerTask, layer_key
from wardian.image.python_entries import host_python_entries, standalone_python_entries
from wardian.image.spool import Spool
from wardian.image.wheel_entries import ByteCodeMaker, wheel_entries
from wardian.lock.graph import needed_name
from wardian.package.archive_paths import refuse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from wardian.digest import Digest
    from wardian.events import Listener
    from wardian.image.conda_entries import LinkedPackage
    from wardian.image.interpreter import Fetch, ImagePython
    from wardian.image.key import ImageScheme
    from wardian.image.layer_cache import CachedLayer, LayerCache
    from wardian.image.plan import LayerGroup
    from wardian.lock.lock import Artifact, Lock

LOCK_FILE = f"{ENVIRONMENT}/.wardian/lock.json"


@dataclass(frozen=True, slots=True)
class Workshop:
    """What layers are made with.

    Attributes:
        cache: the layers that were made before.  place: a directory for staging, on the file system of ``conda_packages``.
        conda_packages: rattler's unpacked packages.  jobs: how many layers at once.
    """

    cache: LayerCache
    place: Path
    conda_packages: Path
    jobs: int


class LayerMaker:
    """Makes the layers of one lock.

    Args:     python: the image's; None: it has none.  fetch: brings archives here; asked only for what is needed.
              link_scripts: ``refuse`` | ``run``.
    """

    def __init__(
        self, workshop: Workshop, lock: Lock, scheme: ImageScheme, python: ImagePython | None, *, fetch: Fetch, link_scripts: str,
        listener: Listener,
    ):  # fmt: skip
        self._shop = workshop
        self._lock = lock
        self._scheme = scheme
        self._python = python
        self._fetch = fetch
        self._link_scripts = link_scripts
        self._listener = listener
        self._stack = contextlib.ExitStack()
        self._linked: Mapping[Digest, LinkedPackage] = {}
        self._archives: dict[Digest, Path] = {}
        self._notes: list[str] = []
        self._guard = threading.RLock()

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the image should know."""
        return tuple(self._notes)

    def make(self, groups: Sequence[LayerGroup], *, clears: bool = False) -> tuple[list[NamedLayer], list[PackageFacts]]:
        """Return the layers of ``groups``, lowest first, and the facts of the conda packages in the lock's order.

        Args:     clears: a layer below all of them hides what the base has where the environment goes.
        Raises:   what fetching, linking, unpacking and compiling raise; layers that were whole by then are kept.
        """
        packages = [group for group in groups if group.kind != "environment"]
        with self._stack:
            layers = self._package_layers(packages)
            facts = self._facts(packages, layers)
            named = [NamedLayer(found.layer, group.packages) for group, found in zip(packages, layers, strict=True)]
            conda = self._lock.of_kind("conda")
            together = [(artifact, facts[artifact.sha256]) for artifact in conda]
            named.append(self._environment_layer(together))
            # on top: scripts also change files that the environment's layer has copies of
            named += self._script_layer(together)
            if clears:
                named.insert(0, self._clearing_layer())
        return named, [one for _, one in together]

    # -- packages ------------------------------------------------------------------------------------------------------

    def _package_layers(self, groups: Sequence[LayerGroup]) -> list[CachedLayer]:
        tasks = [self._task(group) for group in groups]
        missing = [group for group, task in zip(groups, tasks, strict=True) if self._shop.cache.find(task.key) is None]
        if missing:
            self._prepare([artifact for group in missing for artifact in group.artifacts])
            self._listener(Event("phase", f"making {len(missing)} of {len(groups)} layers", total=len(missing)))
        return self._ensure(tasks)

    def _ensure(self, tasks: Sequence[LayerTask]) -> list[CachedLayer]:
        done = 0

        def told(task: LayerTask, found: CachedLayer) -> None:
            nonlocal done
            if found.cached:
                self._listener(Event("progress", task.name, data={"cached": 1}))
                return
            done += 1
            size = found.layer.descriptor.size_bytes
            self._listener(Event("progress", task.name, done=done, data={"made": 1, "bytes": size}))

        def waits(holder: str) -> None:
            self._listener(Event("notice", f"waiting for {holder}, which makes the same layer"))

        return self._shop.cache.ensure_all(tasks, jobs=self._shop.jobs, on_wait=waits, on_done=told)

    def _task(self, group: LayerGroup) -> LayerTask:
        python = self._python
        is_pythonic = any(_is_pythonic(artifact) for artifact in group.artifacts)
        kinds = sorted({"wheel" if artifact.kind == "sdist" else artifact.kind for artifact in group.artifacts})
        details = "clears" if "python" in kinds else None
        key = layer_key(
            self._scheme, "+".join(kinds), [artifact.installed_sha256 for artifact in group.artifacts],
            site_packages=python.layout.site_packages if python and is_pythonic else "",
            interpreter=python.digest if python and is_pythonic else None, details=details,
        )  # fmt: skip
        size = sum(artifact.size_bytes or 0 for artifact in group.artifacts)
        return LayerTask(key, ", ".join(group.packages[:3]), lambda: self._content(group), size)

    @contextlib.contextmanager
    def _content(self, group: LayerGroup) -> Iterator[LayerContent]:
        """Yield what goes into a layer: of several packages with one path, the later by name has it."""
        self._prepare(group.artifacts)  # nothing to do, unless somebody has removed a layer since it was found
        conda = [self._linked[artifact.sha256] for artifact in group.artifacts if artifact.kind == "conda"]
        compiler = self._compiler if any(_is_pythonic(artifact) for artifact in group.artifacts) else None
        with contextlib.ExitStack() as stack:
            spool = stack.enter_context(Spool(self._shop.place / "spool"))
            entries: dict[str, Entry] = {}
            if conda:
                found = list(merged([(one.artifact, one.facts) for one in conda], conda))
                if compiler is not None:
                    found += [made.entry for made in compile_entries(found, compiler, spool)]
                entries |= {entry.path: entry for entry in found}
            for artifact in group.artifacts:
                if artifact.kind == "conda":
                    continue
                archive = self._archives[artifact.installed_sha256]
                if artifact.kind == "python":
                    opened = standalone_python_entries(archive, spool, compiler)
                else:
                    if self._python is None:
                        continue
                    opened = wheel_entries(archive, self._python.layout, ByteCodeMaker(compiler, spool) if compiler else None)
                entries |= {entry.path: entry for entry in stack.enter_context(opened)}
            if hostile := next((path for path in entries if f"/{WHITEOUT}" in path), None):
                what = f"begins with `{WHITEOUT}`: in a layer that removes a file of another package"
                refuse(", ".join(group.packages), hostile, what, code="unsafe_path")
            if group.kind == "python":  # the lowest of the environment's layers, and the same in all images
                entries[_CLEARED.path] = _CLEARED
            facts = {str(one.artifact.sha256): one.facts.as_document() for one in conda}
            yield LayerContent(entries.values(), facts or None)

    @contextlib.contextmanager
    def _compiled(self, entries: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
        """Give ``entries`` with the byte-code of their modules.

        Where a module covers that of a layer below, its byte-code must too: Python takes what is there without a look at the source.
        """
        with self._guard:
            compiler = self._compiler if any(entry.path.endswith(".py") for entry in entries) else None
        if compiler is None:
            yield entries
            return
        with Spool(self._shop.place / "spool") as spool:
            yield [*entries, *(made.entry for made in compile_entries(entries, compiler, spool))]

    @cached_property
    def _compiler(self) -> ByteCompiler | None:
        """Makes byte-code; None: the scheme has none. Made before the layers are, in one thread."""
        if self._python is None or not self._scheme.byte_code or not self._python.runs_here:
            return None
        command = self._stack.enter_context(runnable(
            self._python, self._lock, fetch=self._fetch, place=self._shop.place, package_cache=self._shop.conda_packages, listener=self._listener,
        ))  # fmt: skip
        return self._stack.enter_context(ByteCompiler(command, jobs=self._shop.jobs))

    def _prepare(self, artifacts: Sequence[Artifact]) -> None:
        """Bring archives here, link conda packages, and have the compiler ready if there are modules to compile."""
        with self._guard:
            wanted = [artifact for artifact in artifacts if artifact.installed_sha256 not in self._archives]
            self._archives |= self._fetch(wanted)
            if any(_is_pythonic(artifact) for artifact in wanted):
                _ = self._compiler
            self._link([artifact for artifact in artifacts if artifact.kind == "conda" and artifact.sha256 not in self._linked])

    def _link(self, wanted: Sequence[Artifact]) -> None:
        if not wanted:
            return
        self._listener(Event("phase", f"linking {len(wanted)} conda packages", total=len(wanted)))
        python = next((a for a in self._lock.of_kind("conda") if a.name == "python"), None)
        linked = self._stack.enter_context(staged(
            wanted, self._archives, python=python, place=self._shop.place, package_cache=self._shop.conda_packages,
            link_scripts=self._link_scripts, listener=self._listener,
        ))  # fmt: skip
        self._linked = {**self._linked, **linked}

    # -- what only the whole decides -----------------------------------------------------------------------------------

    @staticmethod
    def _facts(groups: Sequence[LayerGroup], layers: Sequence[CachedLayer]) -> dict[Digest, PackageFacts]:
        found: dict[Digest, PackageFacts] = {}
        for group, layer in zip(groups, layers, strict=True):
            for artifact in group.artifacts:
                if artifact.kind == "conda":
                    found[artifact.sha256] = PackageFacts.from_document(layer.facts[artifact.sha256])
        return found

    def _clearing_layer(self) -> NamedLayer:
        @contextlib.contextmanager
        def content() -> Iterator[LayerContent]:
            yield LayerContent([_CLEARED])

        task = LayerTask(layer_key(self._scheme, "clearing", []), f"an empty {ENVIRONMENT_PATH}", content)
        return NamedLayer(self._ensure([task])[0].layer, ())

    def _script_layer(self, packages: Sequence[tuple[Artifact, PackageFacts]]) -> list[NamedLayer]:
        scripted = [artifact for artifact, facts in packages if facts.link_scripts]
        if not scripted:
            return []
        if self._link_scripts == "refuse":  # its layer was made for somebody who lets them run
            from wardian.package.conda_worker import refuse_scripts

            for artifact, facts in packages:
                refuse_scripts(artifact, facts.link_scripts)
        artifacts = [artifact for artifact, _ in packages]
        names = [artifact.name for artifact in scripted]

        @contextlib.contextmanager
        def content() -> Iterator[LayerContent]:
            archives = self._fetch(artifacts)
            with run_link_scripts(
                artifacts,
                archives,
                names,
                place=self._shop.place,
                package_cache=self._shop.conda_packages,
                listener=self._listener,
            ) as made, self._compiled(made.entries) as entries:  # fmt: skip
                yield LayerContent(entries, made.note)

        interpreter = self._python.digest if self._python else None
        key = layer_key(self._scheme, "link-scripts", [artifact.sha256 for artifact in artifacts], interpreter=interpreter)
        found = self._ensure([LayerTask(key, f"link scripts of {', '.join(names)}", content)])[0]
        self._notes.append(str(found.facts))
        return [NamedLayer(found.layer, tuple(f"link script of {name}" for name in names))]

    def _environment_layer(self, packages: Sequence[tuple[Artifact, PackageFacts]]) -> NamedLayer:
        lock, copied = self._lock, restored(packages)
        document = lock.as_document()
        document.pop("provenance")
        content_of_lock = canonical_json(document) + b"\n"
        on_base = self._python.on_base if self._python else None
        host = [on_base.version or lock.python.version, on_base.path] if on_base and lock.python else []

        @contextlib.contextmanager
        def content() -> Iterator[LayerContent]:
            self._prepare([artifact for artifact, _ in packages if artifact.sha256 in copied])
            entries = [*environment_entries(packages, self._linked), Entry.of_bytes(LOCK_FILE, content_of_lock)]
            with self._compiled(entries) as compiled:
                yield LayerContent([*compiled, *(host_python_entries(*host) if host else ())])

        has_modules = any(path.endswith(".py") for paths in copied.values() for path in paths)
        key = layer_key(
            self._scheme,
            "environment",
            [a.installed_sha256 for a in lock.artifacts],
            interpreter=self._python.digest if self._python and has_modules else None,
            details={"lock": lock.digest, "host": host},
        )
        found = self._ensure([LayerTask(key, "the environment's own layer", content)])[0]
        return NamedLayer(found.layer, ("environment",))


_CLEARED = Entry.of_bytes(f"{ENVIRONMENT}/{OPAQUE}", b"")


def _is_pythonic(artifact: Artifact) -> bool:
    """Whether a package may hold Python modules, so that its layer depends on the interpreter."""
    if artifact.kind != "conda":
        return True
    names = {artifact.name, *map(needed_name, artifact.depends)}
    return artifact.noarch == "python" or not names.isdisjoint({"python", "python_abi"})
