"""One execution of a builder: its lines as they come, a stop, secrets by file; and what its last words mean."""

from __future__ import annotations

import contextlib
import os
import re
import select
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from wardian.definition.docker_section import SECRET_ID
from wardian.errors import BuildFailed, Denied, InvalidInput, NotFound, Unavailable
from wardian.image.engine_cli import words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from wardian.errors import WardianError
    from wardian.image.builder import Recipe

_KEPT_LINES = 60
_SHORTEST_MASKED = 4  # characters: what is shorter is in every other line
_STEP = re.compile(r"(?:STEP \d+/\d+:|Step \d+/\d+ :|#\d+ \[[^\]]*\]| > \[[^\]]*\]|.*building at STEP) \"?(.*?)\"?:?$")
_AT = re.compile(r"building at STEP \"(.*)\": (.*)$")
_PLACE = re.compile(r"^\S*ockerfile\S*:(\d+)$")
_MISSING = re.compile(
    r"(?i)image not known|manifest unknown|name unknown|not found: manifest|: not found$|no such image|does not exist"
)
_DENIED = re.compile(r"(?i)unauthorized|authentication required|pull access denied|insufficient_scope|403 forbidden")
_UNREACHABLE = re.compile(
    r"(?i)connection refused|no such host|i/o timeout|network is unreachable|tls handshake|server misbehaving"
)


class Stopped(Exception):
    """The build was stopped on request."""


@contextlib.contextmanager
def secret_files(secrets: Mapping[str, str]) -> Iterator[tuple[Path, dict[str, Path]]]:
    """Lay down secrets as files that only the caller can read, in memory where the machine has a place for that.

    Gives the directory, which holds nothing else and is gone afterwards (``execute`` sees to that too), and the files by id.

    Raises:   InvalidInput: ``bad_secret``: an id that the command lines cannot say.
    """
    for name in secrets:
        if not SECRET_ID.fullmatch(name):
            raise InvalidInput(
                f"`{name[:80]}` is not a name for a secret", hint="letters, digits, `.`, `_`, `-`", code="bad_secret"
            )
    shared = Path("/dev/shm")  # noqa: S108 - memory; the directory made in it is the caller's alone
    place = shared if os.access(shared, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="wardian-secrets-", dir=place, ignore_cleanup_errors=True) as directory:
        found = {}
        for number, (name, value) in enumerate(secrets.items()):
            found[name] = Path(directory, str(number))
            found[name].touch(mode=0o600)
            found[name].write_text(value)
        yield Path(directory), found


def execute(
    argv: Sequence[str],
    environ: Mapping[str, str],
    log: Callable[[str], None],
    *,
    place: Path,
    stop: int | None = None,
    secrets: Mapping[str, str] | None = None,
    cleaner: str = "",
) -> tuple[int, list[str]]:
    """Execute a builder; return its exit code and its last lines. It ends when this thread does.

    Args:     place: of ``secret_files``; removed at the end, even if this process is killed.
              cleaner: buildah or podman: if it does not succeed, working containers with ``place.name`` in their options go.
              secrets: their values are masked in what ``log`` gets and in what is returned.
    Raises:   Stopped.
    """
    hidden = [value for value in (secrets or {}).values() if len(value) >= _SHORTEST_MASKED]
    last: list[str] = []

    def take(line: bytes) -> None:
        text = line.decode(errors="replace").rstrip()
        for value in hidden:
            for part in [value, *value.split("\n")]:
                text = text.replace(part, "***") if len(part) >= _SHORTEST_MASKED else text
        last.append(text)
        del last[:-_KEPT_LINES]
        log(text)

    output, end = os.pipe()
    root = Path(__file__).resolve().parents[2]
    starter = f"import sys; sys.path.insert(0, {str(root)!r}); from wardian.image.builder_watch import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", starter, str(os.getpid()), str(place), cleaner, *argv], stdin=subprocess.DEVNULL, stdout=end, stderr=end,
        env=dict(environ), cwd="/", start_new_session=True,
    )  # fmt: skip
    os.close(end)
    try:
        stopped = _read(output, take, stop)
        if stopped:
            raise Stopped
        return process.wait(), last
    except BaseException:
        _end(process)  # before its pipe is closed: it cleans up, and says so
        raise
    finally:
        os.close(output)


def failure(recipe: Recipe, lines: Sequence[str]) -> WardianError:
    """Return the error for a build that failed with these last lines: it names the instruction's file and line."""
    said, step = words("\n".join(lines)), ""
    line: int | None = None
    for text in lines:
        if match := _AT.search(text):
            step, said = match[1], match[2]
        elif match := _STEP.fullmatch(text):
            step = match[1]
        if match := _PLACE.match(text.strip()):
            line = int(match[1])
    line = line or (recipe.dockerfile.line_of(step) if step else None)
    at = next((i for i in recipe.dockerfile.instructions if i.line == line), None)
    if at is None and _about_a_base(lines):
        at = next(i for i in recipe.dockerfile.instructions if i.keyword == "FROM")
    place = f"{recipe.dockerfile.file}:{at.line}: `{_short(str(at))}`" if at else recipe.dockerfile.file
    details = {"file": recipe.dockerfile.file, "line": at.line if at else None}
    if at is not None and at.keyword == "FROM" and _about_a_base(lines):
        text = "\n".join(lines)
        if _DENIED.search(text):
            return Denied(f"{place}: the base image may not be pulled: {said}", hint="log in to its registry, or name its credentials",
                          details=details)  # fmt: skip
        if _UNREACHABLE.search(text):
            return Unavailable(f"{place}: its registry cannot be reached: {said}", code="pull_failed", details=details)
        return NotFound(f"{place}: there is no such image: {said}", code="image_not_found", details=details)
    return BuildFailed(
        f"{place} failed: {said}", code="docker_build_failed", details=details, hint="the build's log has all that it said"
    )


def _about_a_base(lines: Sequence[str]) -> bool:
    text = "\n".join(lines[-8:])
    return bool(_MISSING.search(text) or _DENIED.search(text) or _UNREACHABLE.search(text))


def _short(text: str) -> str:
    return text if len(text) <= 80 else text[:79] + "…"  # noqa: PLR2004 - a line of a terminal


def _read(output: int, take: Callable[[bytes], None], stop: int | None) -> bool:
    """Hand over lines until there are no more; return True at once if a stop is asked for."""
    poll, half = select.poll(), b""
    for descriptor in (output, *(() if stop is None else (stop,))):
        poll.register(descriptor, select.POLLIN)
    while True:
        for descriptor, _ in poll.poll():
            if descriptor == stop:
                return True
            piece = os.read(descriptor, 1 << 16)
            *lines, half = (half + piece).split(b"\n")
            for line in lines:
                take(line)
            if not piece:
                if half:
                    take(half)
                return False


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a builder with all that it has started."""
    process.terminate()
    process.wait()
