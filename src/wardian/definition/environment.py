"""The environment: what a user asks for. Frozen, always valid, no I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from wardian.definition.address import address_fault
from wardian.definition.docker_section import VARIABLE, DockerSection, checked_docker
from wardian.definition.fault_list import FaultList
from wardian.definition.match_spec import MatchSpec
from wardian.definition.plain_text import text_faults
from wardian.definition.reference import NAME
from wardian.definition.requirement import PipOption, PipRequirement
from wardian.definition.secret_text import SECRET_VALUE, looks_secret
from wardian.definition.url_secret import SECRET_HINT, holds_conda_secret, holds_secret
from wardian.definition.values import FrozenMap, clean_text
from wardian.errors import InvalidDefinition

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from os import PathLike

    from wardian.digest import Digest

MANAGERS = ("conda", "uv", "user")
SOURCES = ("managed", "host")
INDEX_STRATEGIES = ("first-index", "unsafe-first-match", "unsafe-best-match")
LINK_SCRIPTS = ("refuse", "run")

_COORDINATE = re.compile(r"[\w.-]+:[\w.-]+:[\w.+-]+")
_WORDS_HINT = "everybody who sees the environment sees this: leave it out (`wardian secret set` keeps secrets)"
_VIRTUAL = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, slots=True)
class LocalSource:
    """Local code that a requirement points at: the path as written, and the digest of the tree that was read there."""

    path: str
    digest: Digest


@dataclass(frozen=True, slots=True)
class PythonSection:
    """Python packages and the interpreter.

    ``conda`` and ``pip`` keep the order in which they were written: order is part of the identity [S22].
    ``requires_python`` (uv) is a PEP 440 specifier set, empty when none is asked for; a conda environment asks for
    python among its ``conda`` requirements.
    """

    manager: str = "conda"
    source: str = "managed"
    requires_python: str = ""
    interpreter: str | None = None
    channels: tuple[str, ...] = ()
    conda: tuple[str, ...] = ()
    pip: tuple[str, ...] = ()
    pip_options: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    index_strategy: str = "first-index"
    link_scripts: str = "refuse"
    local: tuple[LocalSource, ...] = ()
    locked_input: Digest | None = None


@dataclass(frozen=True, slots=True)
class SparkSection:
    """Spark packages (``group:artifact:version``) and the repositories that serve them, in order."""

    packages: tuple[str, ...] = ()
    repositories: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Environment:
    """A definition: everything that decides what a script runs with. Frozen and always valid.

    Values are normalised when the object is made: conda names in lower case, PyPI names as PEP 503 has them, no white
    space around operators; else as written. Helpers (``with_…``) return changed copies.

    Raises:   InvalidDefinition: anything wrong, all of it at once, each fault with its field path.
    Source:   semantics §1
    """

    name: str | None = None
    python: PythonSection = field(default_factory=PythonSection)
    docker: DockerSection = field(default_factory=DockerSection)
    spark: SparkSection = field(default_factory=SparkSection)
    accelerators: Mapping[str, str] = field(default_factory=FrozenMap)
    variables: Mapping[str, str] = field(default_factory=FrozenMap)
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=FrozenMap)

    def __post_init__(self) -> None:
        if wrong := tuple(text_faults(self)):
            raise InvalidDefinition(wrong)  # alone: what is no text cannot be looked at any further
        for name in ("accelerators", "variables", "tags"):
            if not isinstance(getattr(self, name), FrozenMap):
                object.__setattr__(self, name, FrozenMap(getattr(self, name)))
        object.__setattr__(self, "description", clean_text(self.description))
        faults = FaultList()
        object.__setattr__(self, "python", _checked_python(self.python, faults))
        object.__setattr__(self, "docker", checked_docker(self.docker, faults))
        object.__setattr__(self, "spark", _tidy_spark(self.spark))
        _check_rest(self, faults)
        if faults.found:
            raise InvalidDefinition(faults.found)

    @property
    def definition_hash(self) -> Digest:
        """What decides whether two definitions share a lock and a prefix; see ``wardian.definition.identity`` [S21]."""
        from wardian.definition.identity import definition_hash

        return definition_hash(self)

    # -- changed copies ------------------------------------------------------------------------------------------

    def renamed(self, name: str | None) -> Environment:
        """Return this definition under another name; the hash stays [S22]."""
        return replace(self, name=name)

    def with_variables(self, variables: Mapping[str, str]) -> Environment:
        """Return a copy whose variables also hold ``variables``; the hash stays."""
        return replace(self, variables=FrozenMap({**self.variables, **variables}))

    def with_python(self, **changes: Any) -> Environment:
        """Return a copy with these fields of the Python section changed."""
        return replace(self, python=replace(self.python, **changes))

    @property
    def content(self) -> Environment:
        """The part that a version is: everything but name, description and tags."""
        return replace(self, name=None, description="", tags=FrozenMap())

    @property
    def local_sources(self) -> tuple[LocalSource, ...]:
        """All that was read beside the definition's file: local code, then the build context. Readers take it as ``local``."""
        context = self.docker.build_context
        return (*self.python.local, LocalSource(context.path, context.digest)) if context else self.python.local

    # -- reading files: the one place where a value reaches for the readers (ADR 0003) ------------------------------

    @classmethod
    def from_file(cls, path: str | PathLike[str], *, name: str | None = None) -> Environment:
        """Read a definition from any known format, detected by content; ``name`` replaces the file's."""
        from wardian import formats

        read = formats.read(path)
        return read.environment.renamed(name) if name else read.environment

    @classmethod
    def from_conda_specification(cls, name: str | None, file_path: str | PathLike[str]) -> Environment:
        """Read a conda ``environment.yml``."""
        from wardian import formats

        return formats.read(file_path, format_name="conda").environment.renamed(name)

    @classmethod
    def from_requirements(cls, name: str | None, file_path: str | PathLike[str]) -> Environment:
        """Read a ``requirements.txt`` as pip does."""
        from wardian import formats

        return formats.read(file_path, format_name="requirements").environment.renamed(name)

    @classmethod
    def from_pyproject(
        cls, name: str | None, path: str | PathLike[str], *, extras: tuple[str, ...] = (), groups: tuple[str, ...] = ()
    ) -> Environment:
        """Read the dependencies of a ``pyproject.toml`` (or of the directory that holds it)."""
        from wardian import formats

        return formats.read(path, format_name="pyproject", extras=extras, groups=groups).environment.renamed(name)

    @classmethod
    def from_existing_conda_environment(
        cls, name: str | None, prefix: str | PathLike[str], *, exact: bool = False
    ) -> Environment:
        """Read what is installed in a conda environment.

        Args:     prefix: its directory, or its name among those that conda knows.
                  exact: every package with version and build; else what was asked for when it was made.
        """
        from wardian.formats import conda_prefix

        return conda_prefix.read_prefix(prefix, exact=exact).renamed(name)


def _checked_python(section: PythonSection, faults: FaultList) -> PythonSection:
    def one_of(field_name: str, allowed: tuple[str, ...], code: str) -> None:
        value = getattr(section, field_name)
        if value not in allowed:
            faults.add(code, f"python.{field_name}", f"`{value}` is none of {', '.join(allowed)}")

    one_of("manager", MANAGERS, "unknown_manager")
    one_of("source", SOURCES, "unknown_source")
    one_of("index_strategy", INDEX_STRATEGIES, "unknown_index_strategy")
    one_of("link_scripts", LINK_SCRIPTS, "unknown_link_scripts")

    def parsed(field_name: str, parse: Callable[[str], object]) -> tuple[str, ...]:
        return tuple(faults.checked(f"python.{field_name}[{i}]", parse, t) for i, t in enumerate(getattr(section, field_name)))

    conda = parsed("conda", MatchSpec.parse)
    pip = parsed("pip", PipRequirement.parse)
    constraints = parsed("constraints", PipRequirement.parse)
    options = parsed("pip_options", PipOption.parse)
    channels = tuple(clean_text(c).strip().rstrip("/") for c in section.channels)
    for i, channel in enumerate(channels):
        if SECRET_VALUE.search(channel) or holds_conda_secret(channel):  # before a message can show it
            faults.add("secret_in_definition", f"python.channels[{i}]", "the channel's URL holds a secret", SECRET_HINT)
        elif not channel or any(c.isspace() for c in channel) or (":" in channel and "://" not in channel):
            faults.add("bad_channel", f"python.channels[{i}]", f"`{section.channels[i]}` is not a channel name or URL")
        elif fault := address_fault(channel):
            faults.add("bad_channel", f"python.channels[{i}]", f"`{channel}` is not a channel: {fault}")
    requires_python = faults.checked("python.requires_python", _specifiers, section.requires_python)
    if section.manager == "uv" and (conda or channels):
        faults.add("manager_mismatch", "python.manager", "a uv environment has no conda packages or channels",
                   "use `manager: conda`, or move the packages to `pip`")  # fmt: skip
    if section.manager == "conda" and requires_python:
        faults.add("manager_mismatch", "python.requires_python", "a conda environment asks for python among its conda packages",
                   f"add `python{requires_python}` to the conda packages")  # fmt: skip
    if section.interpreter is not None and section.manager != "user":
        faults.add("manager_mismatch", "python.interpreter", "only a user-managed environment names its interpreter",
                   "use `manager: user`")  # fmt: skip
    return replace(section, conda=conda, pip=pip, constraints=constraints, pip_options=options, channels=channels,
                   requires_python=requires_python)  # fmt: skip


def _specifiers(text: str) -> str:
    if not text.strip():
        return ""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    from wardian.errors import InvalidInput

    bare = text.strip()
    if bare[0].isdigit():  # `3.11` means that minor version, `3.11.7` that very release
        bare = f"=={bare}" if bare.count(".") >= 2 or "*" in bare else f"=={bare}.*"  # noqa: PLR2004
    try:
        SpecifierSet(bare)
    except InvalidSpecifier:
        raise InvalidInput(
            f"`{text}` is not a Python version or specifier", hint="write `3.11`, `>=3.11,<3.13` …", code="bad_python_version"
        ) from None
    return "".join(bare.split())


def _tidy_spark(section: SparkSection) -> SparkSection:
    return SparkSection(tuple(map(clean_text, section.packages)), tuple(map(clean_text, section.repositories)))


def _check_rest(env: Environment, faults: FaultList) -> None:
    if env.name is not None and not NAME.fullmatch(env.name):
        from wardian.definition.advice import template_hint

        faults.add("bad_name", "name", f"`{env.name[:80]}` is not a name",
                   template_hint(env.name) or "a letter or digit, then up to 254 letters, digits, `.`, `_` or `-`, all of them ASCII")  # fmt: skip
    for key, value in env.variables.items():
        if not VARIABLE.fullmatch(key):
            faults.add("bad_variable", f"variables.{key}", f"`{key}` is not a variable name", "letters, digits and `_`")
        if "\0" in value:
            faults.add("bad_variable", f"variables.{key}", "a variable holds no NUL characters")
        elif looks_secret(key, value):
            faults.add("secret_in_definition", f"variables.{key}", f"the value of `{key}` looks like a secret",
                       f"pass it on at run time: `wardian run -V {key} …`")  # fmt: skip
    check_words(env.description, env.tags, faults)
    for key, value in env.accelerators.items():
        if not _VIRTUAL.fullmatch(key) or not value or any(c.isspace() for c in value):
            faults.add("bad_accelerator", f"accelerators.{key}", f"`{key}: {value}` is not a virtual package and its version",
                       'for example `cuda: "12.4"`')  # fmt: skip
    for i, package in enumerate(env.spark.packages):
        if not _COORDINATE.fullmatch(package):
            faults.add("bad_spark_package", f"spark.packages[{i}]", f"`{package}` is not `group:artifact:version`")
    for i, repository in enumerate(env.spark.repositories):
        if SECRET_VALUE.search(repository) or holds_secret(repository):
            faults.add("secret_in_definition", f"spark.repositories[{i}]", "the repository's URL holds a secret", SECRET_HINT)


def check_words(description: str, tags: Mapping[str, str], faults: FaultList) -> None:
    """Note secrets in what tells people of an environment: everybody who sees its name sees that."""
    if SECRET_VALUE.search(description):
        faults.add("secret_in_definition", "description", "the description holds what looks like a secret", _WORDS_HINT)
    for key, value in tags.items():
        if SECRET_VALUE.search(key):
            faults.add("secret_in_definition", "tags", "the name of a tag looks like a secret", _WORDS_HINT)
        elif looks_secret(key, value):
            faults.add(
                "secret_in_definition", f"tags.{key}", f"the value of the tag `{key[:80]}` looks like a secret", _WORDS_HINT
            )
