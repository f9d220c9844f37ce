"""What a node does for a run that was submitted elsewhere: ``wardian node exec``, and the program of the agent that is sent to nodes."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from wardian.errors import WardianError
from wardian.run.node.sheet import FILES, FILES_LOGIN, FILES_PLAIN

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wardian.events import Event
    from wardian.image.registry import RegistryImageStore

_USAGE = """usage: wardian-node exec --sheet FILE
       wardian-node fetch --files HOST/REPOSITORY@sha256:DIGEST --to DIRECTORY
       wardian-node exec --lock LOCK --packages DIRECTORY [--packages DIRECTORY]... [--cache DIRECTORY] -- CMD [ARG]...
       wardian-node clean --root DIRECTORY --older-than SECONDS [--cache DIRECTORY] [--apply]
"""
_WARDIAN_FAILED = 125


def execute_sheet(file: Path, environ: Mapping[str, str] | None = None) -> int:
    """Run the run whose sheet is ``file`` to its end, once, however often it is started; return its exit code.

    Raises:   see ``wardian.run.node.agent.execute``.
    """
    from wardian.bootstrap import node_parts
    from wardian.run.node.agent import NodeMeans, execute

    means = NodeMeans(node_parts, dict(os.environ if environ is None else environ), _tell)
    if name := means.environ.get(FILES):
        from wardian.run.node.homeward import execute_and_leave

        return execute_and_leave(file, means, _store(name, means.environ))
    return execute(file, means)


def fetch_files(reference: str, root: Path, environ: Mapping[str, str] | None = None) -> None:
    """Bring the files of a run from a registry to ``root``, and this agent beside them. ``reference``: ``HOST/REPOSITORY@sha256:DIGEST``.

    Raises:   InvalidInput: ``files_missing``.  What the registry and the disk raise.
    """
    from wardian.run.node.homeward import fetch

    name, _, digest = reference.partition("@")
    agent = Path(str(getattr(sys.modules["__main__"], "__file__", "") or __file__)).resolve().parent
    fetch(_store(name, dict(os.environ if environ is None else environ)), digest, root, agent)


def _store(name: str, environ: Mapping[str, str]) -> RegistryImageStore:
    from wardian.bootstrap_images import node_store

    return node_store(name, environ, login=environ.get(FILES_LOGIN, ""), is_plain=bool(environ.get(FILES_PLAIN)))


def become_command(
    lock: Path, packages: Sequence[Path], command: Sequence[str], *, cache: Path | None = None, environ: Mapping[str, str] | None = None
) -> NoReturn:  # fmt: skip
    """Install ``lock`` from archives in ``packages``, asking no index, and replace this process by ``command`` in that environment.

    Args:     cache: where it is installed; None: as the settings say.
    Raises:   what installing raises; RunFailed: the command cannot be executed.
    """
    from wardian.bootstrap import node_parts
    from wardian.run.node.prepare import prepare_lock
    from wardian.run.variables import environment_variables
    from wardian.sdk.shells import Program, become
    from wardian.settings import Settings

    found = dict(os.environ if environ is None else environ)
    place = cache.absolute() if cache is not None else Settings.load(found, with_file=False).cache
    parts = node_parts(place, found, _tell)
    prepared = prepare_lock(lock, parts, [one.absolute() for one in packages], _tell)
    become(Program(tuple(command), environment_variables(prepared, found), prepared), parts)


def clean_directory(root: Path, *, older_than_s: float, cache: str = "", apply: bool = False) -> dict[str, Any]:
    """Return what the node directory ``root`` and this node's cache could give back, or have; see ``wardian.run.node.clean``.

    Args:     cache: as on sheets: with ``~`` and variables; empty: in ``root``.
    """
    import time

    from wardian.bootstrap import node_parts
    from wardian.run.node.clean import clean
    from wardian.run.node.place import expanded

    environ = dict(os.environ)
    place = Path(expanded(cache, environ)) if cache else root / "cache"
    return clean(root, node_parts(place, environ), older_than_s=older_than_s, now=time.time(), apply=apply)


def main(arguments: Sequence[str] | None = None) -> int:
    """Be the agent: the same as ``wardian node exec``, with little to import."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _performed(given)
    except WardianError as error:
        sys.stderr.write(f"error: {error.message}\n" + (f"hint:  {error.hint}\n" if error.hint else ""))
        return int(error.details.get("process_exit_code", _WARDIAN_FAILED))


def _performed(given: Sequence[str]) -> int:
    if len(given) == 3 and given[:2] == ["exec", "--sheet"]:  # noqa: PLR2004
        return execute_sheet(Path(given[2]))
    if given[:1] == ["clean"]:
        return _cleaned(given[1:])
    if len(given) == 5 and given[:2] == ["fetch", "--files"] and given[3] == "--to":  # noqa: PLR2004
        fetch_files(given[2], Path(given[4]))
        return 0
    options: dict[str, list[str]] = {"--lock": [], "--packages": [], "--cache": []}
    at = 1
    while at + 1 < len(given) and given[at] in options:
        options[given[at]].append(given[at + 1])
        at += 2
    command = given[at + 1 :]
    if given[:1] != ["exec"] or given[at : at + 1] != ["--"] or not command or len(options["--lock"]) != 1:
        sys.stderr.write(_USAGE)
        return _WARDIAN_FAILED
    cache = Path(options["--cache"][-1]) if options["--cache"] else None
    become_command(Path(options["--lock"][0]), [Path(one) for one in options["--packages"]], command, cache=cache)


def _cleaned(given: Sequence[str]) -> int:
    import json

    words = [word for word in given if word != "--apply"]
    found = dict(zip(words[::2], words[1::2], strict=False))
    if (
        len(words) % 2
        or found.keys() - {"--root", "--older-than", "--cache"}
        or not found.get("--older-than", "").isdecimal()
        or "--root" not in found
    ):
        sys.stderr.write(_USAGE)
        return _WARDIAN_FAILED
    document = clean_directory(Path(found["--root"]), older_than_s=float(found["--older-than"]), cache=found.get("--cache", ""),
                               apply="--apply" in given)  # fmt: skip
    sys.stdout.write(json.dumps(document))
    return 0


def _tell(event: Event) -> None:
    if event.kind != "progress":
        sys.stderr.write(f"{event.text}\n")
        sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
