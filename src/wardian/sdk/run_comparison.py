"""Two runs compared by what they left, to tell whether doing it again gave the same."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wardian.digest import Digest

if TYPE_CHECKING:
    from pathlib import Path

    from wardian.sdk.runs import Run


@dataclass(frozen=True, slots=True)
class RunComparison:
    """What differs between two runs.

    Attributes:
        other: the run that the new one is compared with.
        exit_code, lock, log: whether these are the same; of the log the lines, in whatever order.
        outputs: how many output files are the same, byte by byte.
        differing, missing, extra: the other ones, by their path below ``outputs/``.
    """

    other: str
    exit_code: bool
    lock: bool
    log: bool
    outputs: int
    differing: tuple[str, ...]
    missing: tuple[str, ...]
    extra: tuple[str, ...]

    @property
    def is_same(self) -> bool:
        """Whether nothing differs."""
        return self.exit_code and self.lock and self.log and not (self.differing or self.missing or self.extra)

    def as_document(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "other": self.other, "same": self.is_same, "same_exit_code": self.exit_code, "same_lock": self.lock, "same_log": self.log,
            "same_outputs": self.outputs, "differing": list(self.differing), "missing": list(self.missing), "extra": list(self.extra),
        }  # fmt: skip

    def text(self) -> str:
        """Return it in a line for people."""
        if self.is_same:
            return (
                f"the same as {self.other}: packages, exit code, log, {self.outputs} output{'' if self.outputs == 1 else 's'}"
            )
        named = {"packages": self.lock, "exit code": self.exit_code, "log": self.log}
        parts = [what for what, same in named.items() if not same]
        parts += [
            f"{what} {', '.join(files[:5])}"
            for what, files in (("outputs", self.differing), ("no", self.missing), ("new", self.extra))
            if files
        ]
        return f"differs from {self.other} in: {'; '.join(parts)}"


def compare_runs(old: Run, new: Run) -> RunComparison:
    """Return how what ``new`` left differs from what ``old`` left, file by file, byte by byte."""
    before, after = _digests(old.output_directory), _digests(new.output_directory)
    both = before.keys() & after.keys()
    return RunComparison(
        other=old.id,
        exit_code=old.record.process_exit_code == new.record.process_exit_code,
        lock=old.record.environment.lock_digest == new.record.environment.lock_digest,
        log=_same_lines(old.directory / "log.txt", new.directory / "log.txt"),
        outputs=sum(1 for name in both if before[name] == after[name]),
        differing=tuple(sorted(name for name in both if before[name] != after[name])),
        missing=tuple(sorted(before.keys() - after.keys())),
        extra=tuple(sorted(after.keys() - before.keys())),
    )


def _digests(directory: Path) -> dict[str, str]:
    return {
        path.relative_to(directory).as_posix(): _digest(path)
        for path in directory.rglob("*")
        if path.is_file() or path.is_symlink()
    }


def _same_lines(old: Path, new: Path) -> bool:
    """Whether both logs have the same lines: how those of stdout and stderr are mixed is chance."""
    if _digest(old) == _digest(new):
        return True
    try:
        if old.stat().st_size != new.stat().st_size:
            return False
        with old.open("rb") as before, new.open("rb") as after:
            return Counter(before) == Counter(after)
    except OSError:
        return False


def _digest(path: Path) -> str:
    try:
        return str(Digest.of_file(path))
    except OSError:  # a link that leads nowhere, or no log: not there is a state too
        return ""
