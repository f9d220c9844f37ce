"""``@EXPLICIT``: the list of URLs that conda, mamba and pixi install without solving."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardian.definition.match_spec import MatchSpec
from wardian.definition.platform import get_platform
from wardian.lock.exports.places import headline, place_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wardian.definition.environment import Environment
    from wardian.lock.exports import Locate
    from wardian.lock.lock import Artifact, Lock


def write(environment: Environment, locks: Sequence[Lock], url_of: Locate) -> str:
    """Return the list for one platform, what is needed before what needs it, each URL with its sha256.

    The format knows no pip packages: those stand as comments, with their digests.
    Source:   conda's documentation of explicit specification files
    """
    (lock,) = locks
    lines = [
        f"# {headline(environment, locks)}",
        "# conda create --name NAME --file THIS",
        f"# platform: {get_platform(lock.platform).subdir}",
        "@EXPLICIT",
    ]
    for artifact in needed_first(lock.of_kind("conda")):
        place = place_of(environment, lock, artifact, url_of)
        lines.append(f"{place.reference}#sha256:{place.sha256}")
    for artifact in lock.of_kind("wheel", "sdist"):
        place = place_of(environment, lock, artifact, url_of)
        lines.append(f"# pip {artifact.name} @ {place.reference} --hash=sha256:{place.sha256}")
    return "\n".join(lines) + "\n"


def needed_first(artifacts: Sequence[Artifact]) -> list[Artifact]:
    """Return conda packages so that each comes after those it depends on; otherwise, and inside a circle, by name."""
    by_name = {artifact.name: artifact for artifact in sorted(artifacts, key=lambda a: a.name)}
    done: dict[str, Artifact] = {}
    for start in by_name:
        todo = [(start, False)]
        entered: set[str] = set()
        while todo:
            name, ready = todo.pop()
            if name in done or (name in entered and not ready):
                continue
            if ready:
                done[name] = by_name[name]
                continue
            entered.add(name)
            todo.append((name, True))
            needs = sorted({MatchSpec.parse(spec).name for spec in by_name[name].depends}, reverse=True)
            todo += [(need, False) for need in needs if need in by_name]
    return list(done.values())
