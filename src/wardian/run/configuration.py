"""The run configuration: environment + place to run + what runs there, the whole specification of a run [S4]."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wardian.definition.docker_section import VARIABLE
from wardian.definition.reference import NAME
from wardian.definition.secret_text import looks_secret
from wardian.definition.url_secret import holds_secret
from wardian.errors import InvalidInput, wrong_in
from wardian.run.argument_secrets import without_secrets
from wardian.run.configuration_kinds import check_kinds
from wardian.run.file_names import from_document, to_document

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wardian.run.targets.target import JobImage

SCHEMA = 1
KINDS = ("script", "module", "program")

_RESERVED = ("WARDIAN_RUN_ID", "WARDIAN_EXPERIMENT", "WARDIAN_OUTPUT_DIR")
_INPUT = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,99}")
_OUTPUT = re.compile(r"[A-Za-z_]\w{0,99}", re.ASCII)
_PERHAPS_SECRET = re.compile(r"(?i)(_key|pass|passwd|passphrase|creds?|credentials|auth|pwd|cookie|sas)$|token|secret|password")
REFERENCE = re.compile(r"\$\{[A-Za-z_]\w*\}", re.ASCII)  # to a variable of the run, in an option's value
_PATTERN = re.compile(r"[A-Za-z_*?][A-Za-z0-9_*?]*")


@dataclass(frozen=True, slots=True)
class Command:
    """What runs: a script of the source directory, a Python module, or any program.

    Attributes:
        kind: ``script`` | ``module`` | ``program``.
        name: the script's path below the source directory; the module; the program.
        runner: what runs a script, with its options, found on the environment's ``PATH`` (``Rscript``); empty: its Python.
        hidden: positions of arguments whose secrets were left out; a command that has some is a record, and cannot run.
    """

    kind: str
    name: str
    arguments: tuple[str, ...] = ()
    hidden: tuple[int, ...] = ()
    runner: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise _invalid(f"`{self.kind}` is none of {', '.join(KINDS)}", "bad_command")
        if not self.name:
            raise _invalid("there is nothing to run", "bad_command", "give a SCRIPT, `-m MODULE` or `-- COMMAND`")
        if self.runner and (self.kind != "script" or not self.runner[0]):
            raise _invalid("only a script is run by a program", "bad_command")
        for argument in (self.name, *self.arguments, *self.runner):
            if "\0" in argument:
                raise _invalid(f"the argument {argument[:80]!r} holds a NUL character", "bad_command")
        if not all(0 <= position < len(self.arguments) for position in self.hidden):
            raise _invalid(f"not all of the arguments {self.hidden} are there", "bad_command")
        if self.kind == "module" and not all(part.isidentifier() for part in self.name.split(".")):
            raise _invalid(f"`{self.name[:80]}` is not the name of a module", "bad_command", "for a file leave `-m` out")

    @classmethod
    def of(
        cls, *, script: str | None, module: str | None, command: Sequence[str] | None, arguments: Sequence[str] = ()
    ) -> Command:
        """Return the command from the one that is given of script, module and command line.

        Raises:   InvalidInput: none or several are given.
        """
        given = [(kind, value) for kind, value in (("script", script), ("module", module), ("program", command)) if value]
        if len(given) != 1:
            raise _invalid("give exactly one of script, module and command", "bad_command")
        kind, value = given[0]
        words = [value] if isinstance(value, str) else list(value)
        return cls(kind, words[0], (*words[1:], *arguments))

    def without_secrets(self) -> Command:
        """Return a copy with ``…`` in the place of each secret among the arguments, as far as it can be told from its looks."""
        arguments, hidden = without_secrets(self.arguments)
        return replace(self, arguments=arguments, hidden=tuple(sorted({*self.hidden, *hidden}))) if hidden else self

    @property
    def wants_python(self) -> bool:
        """Whether the environment's Python runs it."""
        return self.kind == "module" or (self.kind == "script" and not self.runner)

    def argv(self, python: str) -> tuple[str, ...]:
        """Return program and arguments, run by the interpreter ``python`` where that is needed."""
        script = f"./{self.name}" if self.name.startswith("-") else self.name  # it is no option
        head = {
            "script": (*(self.runner or (python,)), script),
            "module": (python, "-m", self.name),
            "program": (self.name,),
        }[self.kind]
        return (*head, *self.arguments)

    def __str__(self) -> str:
        import shlex

        head = {"script": [self.name], "module": ["-m", self.name], "program": ["--", self.name]}[self.kind]
        return shlex.join([*head, *self.arguments])


@dataclass(frozen=True, slots=True)
class Resources:
    """What a run demands of the place it runs on; None: nothing in particular."""

    cpus: float | None = None
    memory_bytes: int | None = None
    gpus: int | None = None
    nodes: int | None = None

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if value is not None and not value > 0:
                raise _invalid(f"{item.name} is {value}: it must be more than 0", "bad_resources")


@dataclass(frozen=True)
class RunConfiguration:
    """The whole specification of a run; submitted again, it is the same run. Frozen and always valid.

    Attributes:
        command: what runs.
        environment: the environment's reference, as the workspace knows it (``NAME:VERSION``, ``@HASH``).
        source: the directory that the run gets a copy of, absolute; None: an empty one.
        inputs: data by reference: NAME → absolute path, ``WARDIAN_INPUT_<NAME>`` for the script.
        variables: NAME → value. None as value: the caller's own NAME is passed on, and so are all its variables that match
            where NAME is a pattern (``WANDB_*``). Values that look like secrets are kept out of records.
        experiment: runs that belong together.
        target: where it runs.
        timeout_s: seconds after which the run is stopped; None: never.
        options: what the target alone understands, such as ``shm`` of a container engine.
        with_packages: further requirements, for this run alone.
        outputs: directories below the output directory that are there when it starts.
        digest_inputs: whether the content of inputs is recorded too; reading it takes its time.
        reproduces: the id of the run that is done again, maybe one of another workspace. ``source`` is then that run's, or the
            run file that it came from, and no longer what is copied.
    """

    command: Command
    environment: str | None = None
    source: Path | None = None
    inputs: Mapping[str, Path] = field(default_factory=dict)
    variables: Mapping[str, str | None] = field(default_factory=dict)
    experiment: str = "default"
    target: str = "local"
    timeout_s: float | None = None
    resources: Resources = field(default_factory=Resources)
    options: Mapping[str, str] = field(default_factory=dict)
    with_packages: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    digest_inputs: bool = False
    reproduces: str | None = None

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.experiment):
            raise _invalid(
                f"`{self.experiment[:80]}` is not a name for an experiment", "bad_name", "letters, digits, `.`, `_`, `-`"
            )
        if not NAME.fullmatch(self.target):
            raise _invalid(f"`{self.target[:80]}` is not the name of a target", "bad_name", "see `wardian target list`")
        if self.timeout_s is not None and not 0 < self.timeout_s < float("inf"):
            raise _invalid(f"the timeout is {self.timeout_s} seconds: it must be more than 0", "bad_timeout")
        if self.source is not None and not self.source.is_absolute():
            raise _invalid(f"the source directory {self.source} is not absolute", "bad_source")
        self._check_inputs()
        self._check_variables()
        for name, value in self.options.items():
            if (perhaps_secret(name, value) and not REFERENCE.fullmatch(value)) or "\0" in value:
                raise _invalid(f"the option `{name[:80]}` holds what looks like a secret, and would be in the run's record", "secret_in_option",
                               "pass it on as a variable: `-V NAME`")  # fmt: skip
        for name in self.outputs:
            if not _OUTPUT.fullmatch(name):
                raise _invalid(f"`{name[:80]}` is not a name for an output", "bad_output", "letters, digits and `_`")
        for package in self.with_packages:
            if not package.strip() or "\0" in package:
                raise _invalid(f"{package!r} is not a requirement", "bad_requirement")

    def _check_inputs(self) -> None:
        seen: dict[str, str] = {}
        for name, path in self.inputs.items():
            if not _INPUT.fullmatch(name):
                raise _invalid(
                    f"`{name[:80]}` is not a name for an input", "bad_input", "a letter, then letters, digits, `.`, `_`, `-`"
                )
            if not path.is_absolute() or "\0" in str(path):
                raise _invalid(f"the path of the input `{name}` is not absolute: {str(path)!r}", "bad_input")
            if (other := seen.setdefault(input_variable(name), name)) != name:
                raise _invalid(f"the inputs `{other}` and `{name}` would both be {input_variable(name)}", "bad_input")

    def _check_variables(self) -> None:
        for name, value in self.variables.items():
            if value is None and not _PATTERN.fullmatch(name):
                raise _invalid(
                    f"`{name[:80]}` is neither a variable name nor a pattern", "bad_variable", "`-V NAME`, `-V 'PREFIX_*'`"
                )
            if value is not None and not VARIABLE.fullmatch(name):
                raise _invalid(f"`{name[:80]}` is not a variable name", "bad_variable", "letters, digits and `_`")
            if name in _RESERVED or name.startswith("WARDIAN_INPUT_"):
                raise _invalid(f"Wardian itself sets `{name}` for a run", "bad_variable")
            if value is not None and "\0" in value:
                raise _invalid(f"the value of `{name}` holds a NUL character", "bad_variable")

    @property
    def secrets(self) -> Mapping[str, str]:
        """The variables whose values look like secrets: they are in no record."""
        return {n: v for n, v in self.variables.items() if v is not None and perhaps_secret(n, v)}

    def without_secrets(self) -> RunConfiguration:
        """Return a copy that passes on secrets by name instead of holding them; of those among the arguments it says where."""
        hidden = self.secrets
        variables = {n: None if n in hidden else v for n, v in self.variables.items()}
        return replace(self, variables=variables, command=self.command.without_secrets())

    def as_document(self) -> dict[str, Any]:
        """Return plain JSON values, defaults and secrets omitted. ``from_document`` gives back an equal configuration."""
        safe = self.without_secrets()
        document: dict[str, Any] = {
            "schema": SCHEMA,
            "command": _command_document(safe.command),
            "environment": safe.environment,
            "source": str(safe.source) if safe.source else None,
            "inputs": {name: str(path) for name, path in safe.inputs.items()},
            "variables": dict(safe.variables),
            "experiment": safe.experiment,
            "target": safe.target,
            "timeout_s": safe.timeout_s,
            "resources": {key: value for key, value in asdict(safe.resources).items() if value is not None},
            "options": dict(safe.options),
            "with_packages": list(safe.with_packages),
            "outputs": list(safe.outputs),
            "digest_inputs": safe.digest_inputs,
            "reproduces": safe.reproduces,
        }
        return {key: to_document(value) for key, value in document.items() if value not in (None, {}, [], False)}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> RunConfiguration:
        """Return the configuration that ``as_document`` wrote.

        Raises:   InvalidInput: not one, or one of a newer Wardian.
        """
        check_kinds(document, SCHEMA)
        document = from_document(document)
        try:
            command = document["command"]
            return cls(
                command=Command(
                    command["kind"],
                    command["name"],
                    tuple(map(str, command.get("arguments", ()))),
                    tuple(map(int, command.get("hidden", ()))),
                    tuple(map(str, command.get("runner", ()))),
                ),
                environment=document.get("environment"),
                source=Path(document["source"]) if "source" in document else None,
                inputs={str(name): Path(path) for name, path in document.get("inputs", {}).items()},
                variables={
                    str(name): value if value is None else str(value) for name, value in document.get("variables", {}).items()
                },
                experiment=document.get("experiment", "default"),
                target=document.get("target", "local"),
                timeout_s=document.get("timeout_s"),
                resources=Resources(**document.get("resources", {})),
                options={str(name): str(value) for name, value in document.get("options", {}).items()},
                with_packages=tuple(map(str, document.get("with_packages", ()))),
                outputs=tuple(map(str, document.get("outputs", ()))),
                digest_inputs=bool(document.get("digest_inputs", False)),
                reproduces=document.get("reproduces"),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _invalid(f"this is not a run configuration: {wrong_in(error)}", "bad_run_configuration") from error


@dataclass(frozen=True, slots=True)
class RunEnvironment:
    """With what a run ran: identities, and one line for people.

    ``version_id`` is the workspace's own number of the version. ``image_digest``, of the manifest, and ``image_origin``, where it came from: of a run in a container. ``observed``: for a user-managed environment, what was found when the run started (interpreter, distributions).
    ``engine``: of a Spark run, which Spark and Java carried it out, and where the executors are.
    ``lock_origin``: where the version's lock came from when it was pinned: ``solved``, ``machine``, ``workspace registry`` …
    """

    name: str | None = None
    version: str | None = None
    version_id: int | None = None
    definition_hash: str | None = None
    lock_digest: str | None = None
    prefix_key: str | None = None
    image_digest: str | None = None
    image_origin: str | None = None
    summary: str = ""
    observed: Mapping[str, Any] | None = None
    lock_origin: str | None = None
    engine: Mapping[str, str] | None = None

    def as_document(self) -> dict[str, Any]:
        """Return plain JSON values, what is unknown left out."""
        return {item.name: value for item in fields(self) if (value := getattr(self, item.name))}


@dataclass(frozen=True, slots=True)
class Prepared:
    """An environment that is ready on this machine, as whoever prepared it hands it to a run.

    Attributes:
        prefix: its directory; None: the user's own interpreter.
        python: the interpreter, absolute.
        variables: the environment's, activation included.
        path_entries: what comes first on ``PATH``.
        environment: what the record says about it.
        read_only: must not change while runs use it: bound read-only for root. A prefix that was copied, because
            ``wardian.tools.isolation`` is not available, is left out.
        hold: keeps it from being removed; already held, let go when the run has ended.
        notes: what the reader of the record should know about it.
        image: what it lies in, for a container's run; the paths above are then those inside.
        class_path: jars for the JVM of a run that has one.
    """

    prefix: Path | None
    python: str
    variables: Mapping[str, str] = field(default_factory=dict)
    path_entries: tuple[Path, ...] = ()
    environment: RunEnvironment = field(default_factory=RunEnvironment)
    read_only: tuple[Path, ...] = ()
    hold: AbstractContextManager[Any] = field(default_factory=nullcontext)
    notes: tuple[str, ...] = ()
    image: JobImage | None = None
    class_path: tuple[Path, ...] = ()


def perhaps_secret(name: str, value: str) -> bool:
    """Return whether a record leaves out the value of a variable: rather one too many, for a record is kept for years."""
    return looks_secret(name, value) or holds_secret(value) or bool(value and _PERHAPS_SECRET.search(name))


def _command_document(command: Command) -> dict[str, Any]:
    further = {name: list(value) for name, value in (("hidden", command.hidden), ("runner", command.runner)) if value}
    return {"kind": command.kind, "name": command.name, "arguments": list(command.arguments), **further}


def input_variable(name: str) -> str:
    """Return the variable that tells a script where the input ``name`` lies: in capitals, `.` and `-` as `_`."""
    return "WARDIAN_INPUT_" + re.sub(r"[.-]", "_", name).upper()


def _invalid(message: str, code: str, hint: str | None = None) -> InvalidInput:
    return InvalidInput(message, hint=hint, code=code)
