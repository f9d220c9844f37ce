"""Runs the rules over a definition, and heeds the comments that silence them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from wardian.lint.finding import SEVERITIES, Finding
from wardian.lint.registry import RULES, UNKNOWN_IGNORE, rule_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from wardian.errors import Fault
    from wardian.lint.finding import Problem, Rule
    from wardian.lint.subject import Subject

_IGNORE = re.compile(r"#\s*wardian:\s*ignore\[([^\]\n]*)\]")
_ALONE = re.compile(r"[\s#]*#\s*wardian:\s*ignore\[[^\]\n]*\]")


def lint(subject: Subject) -> tuple[Finding, ...]:
    """Return what all rules find in ``subject``, in the order of its files and lines; what concerns it as a whole comes last.

    Deterministic: neither clock nor network nor machine is asked.
    """
    found = list(_of_reader(subject.read.warnings, "warning", subject.file))
    for rule in RULES.values():
        if rule.check is not None:
            found += [_finding(rule, problem, subject.file) for problem in rule.check(subject)]
    ignored = _Ignored(subject.texts)
    return _sorted([*(one for one in found if not ignored.silences(one)), *ignored.unknown()], subject.file)


def of_faults(faults: Iterable[Fault], file: str) -> tuple[Finding, ...]:
    """Return what a reader refused as findings: errors, which no comment silences."""
    return _sorted(_of_reader(faults, "error", file), file)


def _of_reader(faults: Iterable[Fault], severity: str, file: str) -> Iterator[Finding]:
    for fault in faults:
        rule = rule_of(fault.code, severity=severity)
        yield Finding(rule.id, severity, fault.message, fault.file or file, fault.line, fault.field, rule.why,
                      fault.hint or rule.fix, fixable=False)  # fmt: skip


def _finding(rule: Rule, problem: Problem, file: str) -> Finding:
    place = problem.place
    return Finding(rule.id, problem.severity or rule.severity, problem.message, place.file, place.line, place.field, rule.why,
                   problem.fix or rule.fix, problem.fixable and place.file == file)  # fmt: skip


def _sorted(findings: Iterable[Finding], file: str) -> tuple[Finding, ...]:
    def key(one: Finding) -> tuple[bool, str, bool, int, int, str]:
        return (one.file != file, one.file, one.line is None, one.line or 0, SEVERITIES.index(one.severity), one.id)

    return tuple(dict.fromkeys(sorted(findings, key=key)))


class _Ignored:
    """The comments ``# wardian: ignore[id, …]``: behind a line they silence that line, on a line of their own the file."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._lines = {file: text.split("\n") for file, text in texts.items()}
        self._whole: dict[str, set[str]] = {}
        self._all: list[tuple[str, int, str]] = []
        for file, lines in self._lines.items():
            for number, line in enumerate(lines, start=1):
                for name in _names(line):
                    self._all.append((file, number, name))
                    if _ALONE.match(line):
                        self._whole.setdefault(file, set()).add(name)

    def silences(self, finding: Finding) -> bool:
        """Return whether a comment names the rule in that place."""
        if finding.id in self._whole.get(finding.file, ()):
            return True
        lines, at = self._lines.get(finding.file, []), finding.line
        while at is not None and 0 < at <= len(lines):
            if finding.id in _names(lines[at - 1]):
                return True
            at = at + 1 if lines[at - 1].endswith("\\") else None  # the comment of a continued line stands at its end
        return False

    def unknown(self) -> Iterator[Finding]:
        """Yield the names that no rule has."""
        for file, number, name in self._all:
            if name not in RULES:
                yield Finding(UNKNOWN_IGNORE.id, UNKNOWN_IGNORE.severity, f"no rule is called `{name[:80]}`", file, number, "",
                              UNKNOWN_IGNORE.why, UNKNOWN_IGNORE.fix)  # fmt: skip


def _names(line: str) -> list[str]:
    return [name.strip() for match in _IGNORE.finditer(line) for name in match[1].split(",") if name.strip()]
