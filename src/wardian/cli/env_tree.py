"""`wardian env tree`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from wardian.cli.common import Session, command, examples, size
from wardian.cli.completion import complete_reference
from wardian.cli.views import count_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from wardian.lock.graph import DependencyGraph
    from wardian.lock.lock import Lock


@click.command(epilog=examples(
    "wardian env tree sklearn", "wardian env tree sklearn --depth 1", "wardian env tree sklearn numpy",
))  # fmt: skip
@click.argument("reference", metavar="REF", shell_complete=complete_reference)
@click.argument("package", required=False)
@click.option("--depth", type=click.IntRange(1), metavar="N", help="Draw so many levels below the first.")
@command
def tree(session: Session, reference: str, package: str | None, depth: int | None) -> None:
    """Draw who needs whom among the packages of a lock, and how large they are; of one PACKAGE, who brought it in.

    Sizes are those of the archives. What a package needs is drawn where it comes first; `…` stands for it elsewhere.
    """
    from wardian.errors import NotFound
    from wardian.lock.graph import DependencyGraph

    environments = session.workspace.environments
    version = environments.get(reference)
    lock = environments.find_lock(version)
    if lock is None and version.kind == "user":
        raise NotFound(f"{version} is user-managed: nothing of it is locked", code="not_locked",
                       hint="`wardian env create NAME --here PREFIX` makes one of what is installed there")  # fmt: skip
    if lock is None:
        raise NotFound(f"{version} is not locked for this machine yet", hint=f"`wardian env lock {version}`", code="not_locked")
    graph = DependencyGraph.of(lock)
    name = None if package is None else _named(graph, package, str(version))
    shown = set(graph.artifacts) if name is None else graph.above(name)
    document = {
        "reference": str(version), "lock_digest": lock.digest, "platform": lock.platform, "roots": list(graph.roots),
        "packages": [_row(graph, one) for one in sorted(shown)],
    }  # fmt: skip
    session.show(document, lambda: drawn(str(version), lock, graph, name, depth))


def _named(graph: DependencyGraph, package: str, reference: str) -> str:
    """Return the name of ``package`` in the lock, however it is spelled.

    Raises:   NotFound.
    """
    from packaging.utils import canonicalize_name

    from wardian.errors import NotFound
    from wardian.workspace.resolution import closest

    for wanted in (package, package.lower(), canonicalize_name(package)):
        if wanted in graph.artifacts:
            return wanted
    close = closest(package, list(graph.artifacts))
    hint = f"did you mean {' or '.join(f'`{one}`' for one in close)}?" if close else f"`wardian env tree {reference}` draws all"
    raise NotFound(f"no package `{package}` is in the lock of {reference}", hint=hint, code="package_not_found")


def _row(graph: DependencyGraph, name: str) -> dict[str, Any]:
    return {
        "name": name, "versions": _versions(graph, name), "kind": graph.artifacts[name][0].kind, "requested": name in graph.roots,
        "size_bytes": graph.size_bytes([name]), "total_bytes": graph.size_bytes(graph.below([name])),
        "alone_bytes": graph.size_bytes(graph.alone(name)) if name in graph.roots else None,
        "needs": list(graph.needs[name]), "needed_by": list(graph.needed_by[name]),
    }  # fmt: skip


def _versions(graph: DependencyGraph, name: str) -> list[str]:
    return list(dict.fromkeys(artifact.version for artifact in graph.artifacts[name]))


def drawn(reference: str, lock: Lock, graph: DependencyGraph, name: str | None, depth: int | None) -> Iterator[str]:
    """Yield the lines of the drawing, of all or of what leads to ``name``."""
    if name is not None:
        yield _label(graph, name, of_all=False)
        yield from _branches(graph, graph.needed_by, graph.needed_by[name], "", {name}, depth, of_all=False)
        if not graph.needed_by[name] and name not in graph.roots:
            yield "  (the environment itself needs it)"
        return
    yield f"{reference} · lock {lock.digest.short} · {lock.platform} · {count_of(lock)}, {size(graph.size_bytes(graph.artifacts))}"
    yield from _branches(graph, graph.needs, graph.tops, "", set(), depth, of_all=True)


def _branches(
    graph: DependencyGraph, edges: Mapping[str, tuple[str, ...]], names: tuple[str, ...], before: str, drawn: set[str],
    depth: int | None, *, of_all: bool,
) -> Iterator[str]:  # fmt: skip
    """Yield the lines of ``names`` and of what ``edges`` lead to, each with ``before`` before it."""
    # a loop, not a recursion: chains in strange locks are as long as they like
    line = [(name, before, place == len(names) - 1, 0) for place, name in enumerate(names)][::-1]
    while line:
        name, stem, is_last, level = line.pop()
        further = edges[name] if depth is None or level < depth else ()
        again = name in drawn and bool(further)
        total = of_all and level == 0
        yield f"{stem}{'└─' if is_last else '├─'} {_label(graph, name, of_all=total)}{' …' if again else ''}"
        if not again:
            drawn.add(name)
            below = stem + ("   " if is_last else "│  ")
            line += [(one, below, place == len(further) - 1, level + 1) for place, one in enumerate(further)][::-1]


def _label(graph: DependencyGraph, name: str, *, of_all: bool) -> str:
    own = graph.size_bytes([name])
    text = f"{name} {', '.join(_versions(graph, name))}{' *' if name in graph.roots else ''}"
    text += f"  {size(own)}" if own else ""
    if of_all and graph.needs[name]:
        total, alone = size(graph.size_bytes(graph.below([name]))), size(graph.size_bytes(graph.alone(name)))
        text += f"  ({total} with what it needs, {alone} of that for it alone)"
    return text
