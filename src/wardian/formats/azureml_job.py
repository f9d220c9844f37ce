"""Azure ML's command job (v2): read as a run to be, or for the environment that it states. Written by `azureml_job_writing`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from wardian.definition.reference import NAME
from wardian.errors import InvalidDefinition, InvalidInput
from wardian.formats import azureml_v2
from wardian.formats.azureml import is_empty, refuse_edit, shown, without_secrets
from wardian.formats.azureml_job_data import JobData
from wardian.formats.azureml_job_keys import LONGEST_LINE, NOT_KEPT, READ, RESOURCES, SHELL, TYPES, UNREAD
from wardian.formats.azureml_job_parts import (
    find_local,
    is_remote,
    no_reference,
    note_rest,
    read_variables,
    reference_of,
    refuse_reference,
)
from wardian.formats.azureml_line import OF_A_JOB, to_shell, without_exports
from wardian.formats.faults import Faults
from wardian.formats.job import NOTHING_GIVEN, Given, ReadJob
from wardian.formats.ledger import Ledger
from wardian.formats.source_text import plain_text
from wardian.formats.yaml_fields import Fields
from wardian.formats.yaml_text import YamlMapping, YamlScalar, compose

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wardian.definition.environment import Environment, LocalSource
    from wardian.formats.ledger import Loss
    from wardian.formats.read_definition import ReadDefinition

__all__ = ["FORMAT", "add", "read", "read_job", "remove", "write"]

FORMAT = "azureml-job"

_WHAT = "a job of Azure ML"


def read_job(text: str, *, file: str, given: Given = NOTHING_GIVEN) -> ReadJob:
    """Return the run that the command job ``text`` states; ``file`` is where it stands: paths are relative to it.

    Raises:   InvalidDefinition: every fault of the file, with line and field.
    Source:   azureml.md f; Azure ML's CLI (v2) command job YAML schema
    """
    faults = Faults(file)
    text = plain_text(text)
    root = compose(text, faults)
    if not isinstance(root, YamlMapping):
        if root is not None:
            faults.add("wrong_type", f"a job is a mapping, not {root.kind}", line=root.line)
        raise InvalidDefinition(faults.found)
    return _JobFile(text, root, faults, Path(file).absolute().parent, given).job()


def read(
    text: str, *, file: str, base: Path | None, local: Sequence[LocalSource] = (), extras: Sequence[str] = (), groups: Sequence[str] = (),
) -> ReadDefinition:  # fmt: skip
    """Return the environment alone that the command job ``text`` states; the rest, which is a run's, is one loss.

    Raises:   InvalidDefinition: every fault of the environment; or the job only names one.
    """
    faults = Faults(file)
    faults.refuse_extras(extras, groups, _WHAT)
    text = plain_text(text)
    root = compose(text, faults)
    if not isinstance(root, YamlMapping):
        if root is not None:
            faults.add("wrong_type", f"a job is a mapping, not {root.kind}", line=root.line)
        raise InvalidDefinition(faults.found)
    line, node = root.line, root.find("environment")
    if isinstance(node, YamlScalar) and reference_of(node.value) is not None:
        raise refuse_reference(node.value, node.line, file)
    found = stated_environment(root, text, faults, base, local)
    faults.raise_if_any()
    if found is None:
        faults.add("missing_key", "the job has no `environment`", line=line)
        faults.raise_if_any()
    assert found is not None  # noqa: S101 - or it is a fault
    return with_rest(found, root, ("$schema", "type", "environment"), file)


def with_rest(found: ReadDefinition, root: YamlMapping, known: tuple[str, ...], file: str) -> ReadDefinition:
    """Return ``found`` with one loss more: all of ``root`` that is a run's and no environment's."""
    rest = [key.value for key, value in root.entries if key.value not in known and not is_empty(value)]
    if not rest:
        return found
    ledger = Ledger(file)
    first = next(key.line for key, _ in root.entries if key.value in rest)
    ledger.note("dropped", ", ".join(rest), "what runs is no part of an environment", line=first, hint=f"`wardian run -f {file}` runs it")  # fmt: skip
    return replace(found, losses=(*ledger.losses, *found.losses))


def write(_env: Environment) -> str:
    """Raise: a job is written of a run."""
    raise InvalidInput("a job is written of a run, not of an environment", hint="`wardian runs export ID --to azureml-job -o job.yml`",
                       code="not_expressible")  # fmt: skip


def add(_text: str, _requirements: Sequence[str], *, manager: str) -> str:  # noqa: ARG001 - as every format has it
    """Raise: see `refuse_edit`."""
    raise refuse_edit()


def remove(_text: str, _names: Sequence[str]) -> str:
    """Raise: see `refuse_edit`."""
    raise refuse_edit()


def stated_environment(
    root: YamlMapping, text: str, faults: Faults, base: Path | None, local: Sequence[LocalSource] = ()
) -> ReadDefinition | None:
    """Return the definition that `environment` of a job states, in full or as a file; None: it does neither, or has faults."""
    node = root.find("environment")
    line = next((key.line for key, _ in root.entries if key.value == "environment"), root.line)
    if isinstance(node, YamlMapping):
        inner = Faults(faults.file, prefix="environment.")
        try:
            return azureml_v2.read_node(node, text=text, faults=inner, base=base, local=local, what=_WHAT)
        except InvalidDefinition:
            faults.take(inner)
            return None
    if node is None or (isinstance(node, YamlScalar) and node.is_null):
        return None
    if not isinstance(node, YamlScalar):
        faults.add("wrong_type", "this must be a reference, a file or a mapping, not a list", line=line, field="environment")
        return None
    return _environment_in(node.value, node.line, faults, base)


def _environment_in(text: str, line: int, faults: Faults, base: Path | None) -> ReadDefinition | None:
    if is_remote(text) or not (text.startswith("file:") or "/" in text or text.endswith((".yml", ".yaml", ".json"))):
        no_reference(text, line, faults)
        return None
    place = find_local(text, base, faults, line, "environment", "environment")
    if place is None:
        return None
    from wardian import formats

    with faults.wrap(line, "environment"):
        if formats.find_job(place) is not None:  # this file itself, for one
            raise InvalidInput(f"`{text[:120]}` says what runs: it is a job, not an environment", code="bad_reference")
        return formats.read(place)
    return None


class _JobFile:
    """One job while it is read."""

    def __init__(self, text: str, root: YamlMapping, faults: Faults, base: Path, given: Given) -> None:
        self._text, self._root, self._faults, self._base, self._given = text, root, faults, base, given
        self._ledger = Ledger(faults.file)
        self._places: dict[str, tuple[int | None, str]] = {}
        self._fields = Fields(root, "", faults, self._places)

    def job(self) -> ReadJob:
        fields, faults, ledger, given = self._fields, self._faults, self._ledger, self._given
        self._check_type()
        fields.check_keys((*READ, *NOT_KEPT), UNREAD)
        note_rest(self._root, READ, NOT_KEPT, "", ledger)
        data = JobData(fields, faults, ledger, self._base, given.inputs)
        data.read()
        line = self._command(data)
        source = None if given.source else self._code()
        variables = read_variables(fields, "environment_variables", faults, ledger, given.variables)
        environment, reference = (None, None) if given.environment else self._environment()
        experiment, timeout_s, shm = self._experiment(), self._timeout_s(), self._resources()
        self._compute()
        faults.raise_if_any()
        written = self._root.find("environment")
        return ReadJob(
            FORMAT, faults.file, "program", (*SHELL, line), source, environment, reference,
            written.value if isinstance(written, YamlScalar) else "", written.line if written else None,
            data.paths, data.directories, {**data.literals, **variables}, experiment, timeout_s, {"shm": shm} if shm else {},
            (*faults.warnings, *(environment.warnings if environment else ())), self._all_losses(environment),
        )  # fmt: skip

    # -- parts -----------------------------------------------------------------------------------------------------

    def _all_losses(self, environment: ReadDefinition | None) -> tuple[Loss, ...]:
        if environment is not None:
            self._ledger.take(environment.losses)
        return self._ledger.losses

    def _check_type(self) -> None:
        kind = self._fields.text("type") or "command"
        if kind != "command":
            node = self._root.find("type")
            hint = TYPES.get(kind, "`type: command` is what runs here")
            self._faults.add(
                "not_a_command_job",
                f"this is a job of the type `{kind[:40]}`",
                line=node.line if node else None,
                field="type",
                hint=hint,
            )
            self._faults.raise_if_any()

    def _command(self, data: JobData) -> str:
        text = self._fields.text("command", as_="command")
        if text is None or not text.strip():
            if "component" not in self._root.keys:
                self._faults.add(
                    "missing_key", "the job has no `command`", line=self._root.line, hint="write `command: python train.py`"
                )
            return ""
        line, path = self._places["command"]
        if len(text.encode()) > LONGEST_LINE:
            self._faults.add("command_too_long", f"the command has more than {LONGEST_LINE:,} bytes, and no shell takes it", line=line, field=path,
                             hint="put it into a script, and run that: `command: bash run.sh`")  # fmt: skip
            return ""
        text = without_exports(text.rstrip("\n"), {f"WARDIAN_INPUT_{name.upper()}": name for name in data.paths})
        found = to_shell(text, data.expressions)
        for name in dict.fromkeys(found.unknown):
            if OF_A_JOB.fullmatch(name) and name in data.faulty:
                continue
            known = ", ".join(f"`{one}`" for one in data.expressions)
            self._faults.add("unknown_placeholder", f"`${{{{{name[:80]}}}}}` stands for nothing in this job", line=line, field=path,
                             hint=f"it has {known}" if known else "name it below `inputs:` or `outputs:`")  # fmt: skip
        for name in dict.fromkeys(found.unreachable):
            self._faults.add("quoted_placeholder", f"`${{{{{name[:80]}}}}}` stands in a here-document whose text the shell takes as it is", line=line, field=path,
                             hint="leave the quotes of its delimiter out: `<<EOF`")  # fmt: skip
        if "$[[" in text:
            self._faults.add("optional_part", "`$[[…]]` is an optional part of a component; a job has none", line=line, field=path,
                             hint="write it without the brackets, or leave it out")  # fmt: skip
        data.note_words(found.bare)
        return found.text

    def _code(self) -> Path | None:
        text = self._fields.text("code", as_="code")
        if text is None:
            return None
        line, path = self._places["code"]
        if is_remote(text):
            self._faults.add("remote_code", f"the code `{without_secrets(text)[:120]}` is elsewhere", line=line, field=path,
                             hint="get it (`git clone`, `az ml …`), and name its directory: `--source DIR`")  # fmt: skip
            return None
        place = find_local(text, self._base, self._faults, line, path, "directory")
        if place is not None and not place.is_dir():
            self._faults.add(
                "not_a_directory",
                f"the code `{text[:120]}` is not a directory",
                line=line,
                field=path,
                hint="name the directory that it lies in",
            )
            return None
        return place

    def _environment(self) -> tuple[ReadDefinition | None, str | None]:
        node = self._root.find("environment")
        if is_empty(node):
            self._faults.add("missing_key", "the job has no `environment`", line=self._root.line,
                             hint="write it below `environment:`, or give one with `-e REF`")  # fmt: skip
            return None, None
        if isinstance(node, YamlScalar) and (reference := reference_of(node.value)) is not None:
            return None, reference
        return stated_environment(self._root, self._text, self._faults, self._base), None

    def _experiment(self) -> str | None:
        text = self._fields.text("experiment_name", as_="experiment")
        if text is not None and not NAME.fullmatch(text):
            line, path = self._places["experiment"]
            self._ledger.note("dropped", path, "it is not a name for an experiment here: letters, digits, `.`, `_`, `-`", value=text, line=line,
                              hint="`-x NAME` gives one")  # fmt: skip
            return None
        return text

    def _timeout_s(self) -> float | None:
        fields = self._fields.table("limits")
        if fields is None:
            return None
        note_rest(fields.node, ("timeout",), {}, "limits", self._ledger)
        text = fields.text("timeout", as_="timeout")
        if text is None:
            return None
        line, path = self._places["timeout"]
        return seconds(text, line, path, self._faults)

    def _resources(self) -> str | None:
        fields = self._fields.table("resources")
        if fields is None:
            return None
        note_rest(fields.node, ("shm_size",), RESOURCES, "resources", self._ledger, nothing={"instance_count": ("1",)})
        return fields.text("shm_size")

    def _compute(self) -> None:
        node = self._root.find("compute")
        if is_empty(node) or node is None or self._given.target:
            return
        if (name := shown(node).removeprefix("azureml:")) != "local":
            self._ledger.note(
                "changed",
                "compute",
                "it runs on this machine",
                hint="`-t TARGET` names another place",
                value=name,
                line=node.line,
            )


def seconds(text: str, line: int | None, path: str, faults: Faults) -> float | None:
    """Return a number of seconds; None, and a fault, if ``text`` is none above 0."""
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0 < found < float("inf"):
        faults.add("bad_timeout", f"`{text[:40]}` is not a number of seconds above 0", line=line, field=path)
        return None
    return found
