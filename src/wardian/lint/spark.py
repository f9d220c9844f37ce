"""Rules about the packages of a Spark section, and where they are from."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from wardian.lint.finding import Problem, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wardian.lint.subject import Subject

_SCALA = re.compile(r"_(2\.\d+|3)$")
_LOOPBACK = re.compile(r"(?i)http://(localhost|127(\.\d+){3}|\[::1\])([:/]|$)")
_MOVES = re.compile(r"LATEST|RELEASE|.*-SNAPSHOT")


def _mixed_scala(subject: Subject) -> Iterator[Problem]:
    first: tuple[str, str] | None = None
    for i, text in enumerate(subject.environment.spark.packages):
        module = text.rpartition(":")[0]
        if (match := _SCALA.search(module)) is None:
            continue
        first = first or (module, match[1])
        if match[1] != first[1]:
            yield Problem(
                subject.place(f"spark.packages[{i}]"), f"`{module}` is for Scala {match[1]}, `{first[0]}` for Scala {first[1]}"
            )


def _moving(subject: Subject) -> Iterator[Problem]:
    for i, text in enumerate(subject.environment.spark.packages):
        if _MOVES.fullmatch(text.rpartition(":")[2]):
            yield Problem(subject.place(f"spark.packages[{i}]"), f"`{text}` is another package from time to time")


def _insecure(subject: Subject) -> Iterator[Problem]:
    for i, text in enumerate(subject.environment.spark.repositories):
        if text.lower().startswith("http://") and not _LOOPBACK.match(text):
            yield Problem(subject.place(f"spark.repositories[{i}]"), f"`{text}` is not encrypted")


RULES = (
    Rule("moving-spark-version", "error", "a Spark package whose version moves",
         "`LATEST`, `RELEASE` and snapshots stand for other files on other days, which no lock can hold.",
         "write the version to take", _moving),
    Rule("mixed-scala", "warning", "Spark packages for different versions of Scala",
         "A Spark is made for one Scala; classes for another one fail while a job runs, in ways that do not say why.",
         "take all of them for the Scala of your Spark: `_2.12`, `_2.13`", _mixed_scala),
    Rule("insecure-repository", "warning", "a repository of jars without encryption",
         "Whoever stands between can hand out other jars, and the first lock takes them.",
         "use `https://`", _insecure),
)  # fmt: skip
