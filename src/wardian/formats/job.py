"""What a file of another tool says about a run, as plain values: nothing is registered, nothing is started."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from wardian.errors import Fault
    from wardian.formats.ledger import Loss
    from wardian.formats.read_definition import ReadDefinition

JOB_FORMATS = ("azureml-job", "azureml-runconfig")
PARAMETER = "AZUREML_PARAMETER_"  # begins the variable that holds a literal input, as in Azure ML


@dataclass(frozen=True, slots=True)
class Given:
    """What is said beside a job's file, and goes before it: what the file says there is neither read nor a fault or a loss.

    Attributes:
        inputs: NAME → a path, or the text of a literal input.
        variables: names.
        environment, target, source: whether one is given.
    """

    inputs: Mapping[str, str] = field(default_factory=dict)
    variables: AbstractSet[str] = frozenset()
    environment: bool = False
    target: bool = False
    source: bool = False


NOTHING_GIVEN = Given()


@dataclass(frozen=True, slots=True)
class ReadJob:
    """A job that was read.

    Attributes:
        format: one of `JOB_FORMATS`.  file: its name for people.
        kind, words: what runs: ``script``, ``module`` or ``program``, and its name and arguments.
        source: the directory that a run gets a copy of, absolute; None: the file names none.
        environment: the definition that the file states or names; None: it is left out, or ``reference`` says which.
        reference: an environment that is registered somewhere: ``NAME``, ``NAME:VERSION`` or ``NAME@LABEL``; ``reference_text`` as it
            is written, ``reference_line`` where.
        inputs: NAME → absolute path.
        outputs: names of directories that a job finds below its output directory.
        variables: NAME → value; None: the caller's own is passed on.
        experiment, timeout_s: None: the file says nothing.
        target: where it runs, if the file says that it can run nowhere else: ``spark``.
        options: what container engines understand: ``shm``; of a job for Spark, Spark's own settings.
    """

    format: str
    file: str
    kind: str
    words: tuple[str, ...]
    source: Path | None = None
    environment: ReadDefinition | None = None
    reference: str | None = None
    reference_text: str = ""
    reference_line: int | None = None
    inputs: Mapping[str, Path] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    variables: Mapping[str, str | None] = field(default_factory=dict)
    experiment: str | None = None
    timeout_s: float | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[Fault, ...] = ()
    losses: tuple[Loss, ...] = ()
    target: str | None = None
