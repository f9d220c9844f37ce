"""`wardian doctor`: what works on this machine, and what to do about the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from wardian.cli.common import Session, command, examples

if TYPE_CHECKING:
    from wardian.sdk.doctor import Check


@click.command(
    epilog=examples(
        "wardian doctor", "wardian doctor --json", "WARDIAN_OFFLINE=1 wardian doctor     # without asking indexes and channels"
    )
)
@command
def doctor(session: Session) -> int:
    """Look over this machine: settings, disks, locks, isolation, interpreters, indexes, channels, records, leftovers.

    Nothing is changed. Exit code 1 if something failed; a warning means that it works, but less well.
    """
    from wardian.sdk.doctor import FAILED, WARNING, examine

    checks = examine(session.machine_to_examine.parts)
    counts = {state: sum(1 for check in checks if check.state == state) for state in (FAILED, WARNING)}
    session.show({"checks": [check.as_document() for check in checks], "failed": counts[FAILED], "warnings": counts[WARNING]},
                 lambda: [line for check in checks for line in _lines(check)] + [_verdict(counts[FAILED], counts[WARNING])])  # fmt: skip
    return 1 if counts[FAILED] else 0


def _lines(check: Check) -> list[str]:
    lines = [f"{check.state:<8} {check.name:<13} {check.found}"]
    return [*lines, f"{'':<22} → {check.what_to_do}"] if check.what_to_do else lines


def _verdict(failed: int, warnings: int) -> str:
    if not failed and not warnings:
        return "all is well"
    return ", ".join(
        [*([f"{failed} failed"] if failed else []), *([f"{warnings} warning{'s' if warnings > 1 else ''}"] if warnings else [])]
    )
