"""`wardian env lint`."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

import click

from wardian.cli.common import Session, command, examples, json_text, write_out
from wardian.cli.completion import complete_reference

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wardian.lint.files import Linted


@click.command(epilog=examples(
    "wardian env lint environment.yml", "wardian env lint environment.yml --fix", "wardian env lint requirements.txt sklearn:3 --strict",
    "wardian env lint environment.yml --sarif > lint.sarif",
))  # fmt: skip
@click.argument("targets", metavar="FILE|REF...", nargs=-1, required=True, shell_complete=complete_reference)
@click.option("--fix", is_flag=True, help="Change files where that is safe; comments stay, the difference is shown.")
@click.option("--strict", is_flag=True, help="Warnings count as errors.")
@click.option("--sarif", "as_sarif", is_flag=True, help="Write SARIF 2.1.0, for code hosts and editors.")
@command
def lint(session: Session, targets: tuple[str, ...], fix: bool, strict: bool, as_sarif: bool) -> None:
    """Tell what is wrong, risky or needless in a definition, and what to write.

    A comment `# wardian: ignore[ID]` behind a line silences a rule there, on a line of its own in the whole file. Exits with 1
    if there are errors.
    """
    from wardian.definition.reference import is_file_reference

    if as_sarif and session.as_json:
        raise click.UsageError("--sarif is JSON already: leave --json out")
    names = [target for target in targets if not is_file_reference(target)]
    if fix and names:
        raise click.UsageError(f"--fix changes files, and {names[0]} is a version: `wardian env edit` makes another one of it")
    found = [_linted(session, target, fix=fix, is_file=is_file_reference(target)) for target in targets]
    findings = [one for linted in found for one in linted.findings]
    counts = {severity: sum(one.severity == severity for one in findings) for severity in ("error", "warning", "note")}
    if as_sarif:
        from wardian import __version__
        from wardian.lint.sarif import sarif

        write_out(f"{json_text(sarif(findings, version=__version__), indent=2)}\n".encode())
    else:
        session.show(_document(found, counts), lambda: _lines(found))
        session.say(_summary(counts, fixable=sum(one.fixable for one in findings)))
    if counts["error"] or (strict and counts["warning"]):
        click.get_current_context().exit(1)


def _linted(session: Session, target: str, *, fix: bool, is_file: bool) -> Linted:
    if is_file and not (session.settings.home / "workspaces" / session.settings.workspace).is_dir():
        from wardian.lint import lint_file  # nothing is locked yet, and looking makes no workspace

        return lint_file(target, fix=fix)
    environments = session.workspace.environments
    return environments.lint_file(target, fix=fix) if is_file else environments.lint(target)


def _document(found: Sequence[Linted], counts: dict[str, int]) -> dict[str, Any]:
    return {
        "findings": [one.as_document() for linted in found for one in linted.findings],
        "fixed": [one.as_document() for linted in found for one in linted.done],
        "files": [{"file": linted.file, "changed": linted.fixed != linted.text, "diff": "".join(_diff(linted))} for linted in found],
        "counts": counts,
    }  # fmt: skip


def _diff(linted: Linted) -> Iterator[str]:
    before, after = linted.text.splitlines(keepends=True), linted.fixed.splitlines(keepends=True)
    yield from difflib.unified_diff(before, after, linted.file, f"{linted.file} (fixed)")


def _lines(found: Sequence[Linted]) -> Iterator[str]:
    told: set[str] = set()
    for linted in found:
        yield from (line.rstrip("\n") for line in _diff(linted))
        for one in linted.findings:
            place = f"{one.file}:{one.line}" if one.line is not None else one.file
            yield f"{place}: {one.severity}: {one.message} [{one.id}]"
            if one.id not in told:
                yield f"    why: {one.why}"
            told.add(one.id)
            yield f"    fix: {one.fix}"


def _summary(counts: dict[str, int], *, fixable: int) -> str:
    told = [f"{count} {word}{'' if count == 1 else 's'}" for word, count in counts.items() if count]
    more = f"; --fix can mend {fixable}" if fixable else ""
    return f"{', '.join(told)}{more}" if told else "nothing found"
