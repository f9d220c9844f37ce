"""Make the catalogue of curated environments: lock a draft for every platform, and publish it.

    scripts/catalogue.py draft NAME              a draft of the next version of NAME: a copy of the newest
    scripts/catalogue.py publish NAME [NAME …]   lock the drafts, and put them into the index, for ever
    scripts/catalogue.py deprecate NAME:VERSION --successor NAME
    scripts/catalogue.py check                   every file is what the index says

A draft is a directory of the catalogue that the index does not list yet: ``NAME/VERSION/environment.yml`` with the tags
``frameworks`` (packages whose versions people look for, by comma) and ``accelerator``, and ``NAME/VERSION/smoke.py``.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wardian import formats
from wardian.bootstrap import Parts
from wardian.curated.catalogue import INDEX, PACKAGED, SCHEMA, Catalogue
from wardian.curated.entry import DEFINITION, SMOKE, Entry, lock_file
from wardian.definition.identity import definition_hash
from wardian.definition.platform import get_platform
from wardian.definition.requirement import PipRequirement
from wardian.errors import WardianError
from wardian.lock.ports import Obtained
from wardian.lock.python import NOT_PORTABLE, PythonChooser
from wardian.lock.rebuild import can_be_rebuilt
from wardian.lock.solver import SolveRequest
from wardian.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from wardian.definition.environment import Environment
    from wardian.digest import Digest
    from wardian.events import Event
    from wardian.lock.lock import Lock
    from wardian.lock.ports import Archives

PLATFORMS = ("linux/amd64", "linux/arm64")


class AnnouncedPythons:
    """Takes the digest of a standalone Python from the catalogue that announces it; fetches everything else.

    uv checks what it downloads against the same catalogue, so a lock names the same bytes either way.
    """

    def __init__(self, archives: Archives) -> None:
        self._archives = archives

    def obtain(
        self, urls: Sequence[str], file: str, *, kind: str, sha256: Digest | None, trusted: Collection[str] = ()
    ) -> Obtained:
        """Return the archive; of a Python with a known digest without fetching it, and without its size."""
        if kind == "python" and sha256 is not None:
            return Obtained(Path(file), sha256, 0)
        return self._archives.obtain(urls, file, kind=kind, sha256=sha256, trusted=trusted)

    def note_location(self, sha256: Digest, url: str) -> None:
        """See ``Archives``."""
        self._archives.note_location(sha256, url)


@dataclass(frozen=True, slots=True)
class Sources:
    """Where packages and Pythons are looked for; None: where Wardian looks by itself."""

    pythons: str | None
    index: str | None


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=PACKAGED, help="another catalogue than Wardian's own")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("draft").add_argument("name")
    publish_parser = commands.add_parser("publish")
    publish_parser.add_argument("names", nargs="+")
    publish_parser.add_argument(
        "--pythons", help="a catalogue of standalone Pythons with digests (uv's download-metadata.json)"
    )
    publish_parser.add_argument("--index", help="instead of the usual package index")
    publish_parser.add_argument("--platform", action="append", help="instead of linux/amd64 and linux/arm64")
    publish_parser.add_argument("--without-locks", action="store_true", help="each workspace locks it when it is first used")
    deprecate_parser = commands.add_parser("deprecate")
    deprecate_parser.add_argument("reference")
    deprecate_parser.add_argument("--successor", default="")
    commands.add_parser("check")
    asked = parser.parse_args(arguments)
    try:
        if asked.command == "draft":
            draft(asked.root, asked.name)
        elif asked.command == "publish":
            for name in asked.names:
                publish(
                    asked.root,
                    name,
                    Sources(asked.pythons, asked.index),
                    () if asked.without_locks else asked.platform or PLATFORMS,
                )
        elif asked.command == "deprecate":
            deprecate(asked.root, asked.reference, asked.successor)
        else:
            check(asked.root)
    except WardianError as error:
        print(f"{error.message}\n{error.hint or ''}".rstrip(), file=sys.stderr)
        return 1
    return 0


def draft(root: Path, name: str) -> None:
    """Copy the newest version of ``name`` as the next one."""
    newest = Catalogue(root).find(name)
    if newest is None:
        raise WardianError(
            f"the catalogue has no `{name}`", hint=f"write {root / name / '1' / DEFINITION} and {SMOKE} beside it"
        )
    target = root / name / str(int(newest.version) + 1)
    target.mkdir()
    for file in (DEFINITION, SMOKE):
        shutil.copy(newest.place / file, target / file)
    print(target)


def publish(root: Path, name: str, sources: Sources, platforms: Sequence[str]) -> None:
    """Lock the draft of ``name`` for each platform, and put it into the index."""
    index = _index(root)
    listed = index["environments"].setdefault(name, {})
    drafts = [path for path in sorted((root / name).iterdir()) if path.name not in listed]
    if not drafts:
        raise WardianError(f"there is no draft of `{name}`", hint=f"scripts/catalogue.py draft {name}")
    for place in drafts:
        read = formats.read(place / DEFINITION)
        environment = read.environment
        if environment.name != name:
            raise WardianError(f"{place / DEFINITION}: the name is `{environment.name}`, and the directory's is `{name}`")
        compile((place / SMOKE).read_text(), str(place / SMOKE), "exec")
        locks = lock(environment, sources, platforms)
        for platform, one in locks.items():
            (place / lock_file(platform)).write_text(one.to_json())
        values = _values(environment, locks)
        entry = Entry.from_document(name, place.name, {**values, "content": "0" * 64}, place)
        listed[place.name] = {**values, "content": entry.files_digest()}
        _write(root, index)
        print(f"{name}:{place.name}", *(f"{p} {len(one.artifacts)} packages {one.digest.short}" for p, one in locks.items()))


def lock(environment: Environment, sources: Sources, platforms: Sequence[str]) -> dict[str, Lock]:
    """Return the locks of a definition, the same versions for every platform as far as the index has them."""
    with tempfile.TemporaryDirectory() as scratch:
        settings = replace(
            Settings.load(home=Path(scratch) / "home"), cache=Path(scratch) / "cache", python_downloads=sources.pythons,
            indexes={"pypi": sources.index} if sources.index else {},
        )  # fmt: skip
        parts = Parts(settings, listener=_say)
        if sources.pythons is not None:
            parts.pythons = PythonChooser(parts.uv, AnnouncedPythons(parts.fetcher), parts.http, sources.pythons)
        locks: dict[str, Lock] = {}
        for name in platforms:
            first = next(iter(locks.values()), None)
            request = SolveRequest(environment.content, get_platform(name), preferred=first.artifacts if first else ())
            found = parts.solver.solve(request, _say)
            built = [a.name for a in found.artifacts if a.is_in_no_index and not can_be_rebuilt(a)]
            if built:
                raise WardianError(f"{environment.name} on {name}: nobody else can have what was built of {', '.join(built)}")
            if NOT_PORTABLE in found.provenance.notes:
                raise WardianError(f"{environment.name} on {name}: no standalone Python could be had", hint="give --pythons")
            locks[name] = found
    return locks


def deprecate(root: Path, reference: str, successor: str) -> None:
    """Mark a version as deprecated today."""
    name, _, version = reference.partition(":")
    index = _index(root)
    values = index["environments"].get(name, {}).get(version)
    if values is None:
        raise WardianError(f"the catalogue has no `{reference}`")
    values["deprecated"], values["successor"] = _today(), successor
    _write(root, index)


def check(root: Path) -> None:
    """Read every entry whole."""
    for entry in Catalogue(root).entries:
        entry.environment()
        for platform in entry.locks:
            entry.lock(platform)
        if entry.files_digest() != entry.content:
            raise WardianError(f"the files of {entry.reference} are not those that were published")
        print(entry.reference)


def _values(environment: Environment, locks: dict[str, Lock]) -> dict[str, Any]:
    tags = dict(environment.tags)
    asked = {one.name or "": one.specifier.removeprefix("==") for one in map(PipRequirement.parse, environment.python.pip)}
    first = next(iter(locks.values()), None)
    versions: dict[str, str] = {**asked, **{artifact.name: artifact.version for artifact in (first.artifacts if first else ())}}
    python = first.python.version if first and first.python else environment.python.requires_python.removeprefix("==")
    return {
        "published": _today(), "python": ".".join(python.split(".")[:2]), "accelerator": tags["accelerator"],
        "frameworks": {name: versions[name] for name in tags.get("frameworks", "").replace(" ", "").split(",") if name},
        "description": environment.description, "definition_hash": definition_hash(environment),
        "locks": {platform: one.digest for platform, one in locks.items()},
    }  # fmt: skip


def _index(root: Path) -> dict[str, Any]:
    place = root / INDEX
    found: dict[str, Any] = json.loads(place.read_text()) if place.exists() else {"schema": SCHEMA, "environments": {}}
    return found


def _write(root: Path, index: dict[str, Any]) -> None:
    (root / INDEX).write_text(json.dumps(index, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def _today() -> str:
    return datetime.now(UTC).date().isoformat()


def _say(event: Event) -> None:
    if event.kind in ("warning", "notice"):
        print(f"  {event.text}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
