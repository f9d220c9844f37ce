"""`CondaDependencies`: the packages of a conda environment as one value, put together step by step."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from wardian.definition.environment import Environment, PythonSection
from wardian.definition.match_spec import MatchSpec
from wardian.definition.requirement import PipOption, PipRequirement, canonical_name
from wardian.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_REPEATABLE = ("--extra-index-url", "--find-links", "--trusted-host", "--no-binary", "--only-binary", "--use-feature")


@dataclass(frozen=True, slots=True)
class CondaDependencies:
    """What a conda environment is made of: conda packages, pip packages, pip options and channels, each in order.

    Frozen and always valid; ``with_…`` and ``without_…`` return changed copies. A package is known by its name, in any
    spelling: adding it again replaces its requirement where it stands, so the order of the others, and with it the
    identity, stays. Requirements are kept as they are written, python's too. Nothing is added that was not asked for.

    Raises:   InvalidDefinition: a requirement, option or channel is wrong; all of them at once.
    """

    section: PythonSection = field(default_factory=PythonSection)

    def __post_init__(self) -> None:
        if self.section.manager != "conda":
            raise InvalidInput(
                f"the packages of a `{self.section.manager}` environment are no conda dependencies", code="manager_mismatch",
                hint="read them from `environment.python`",
            )  # fmt: skip
        object.__setattr__(self, "section", Environment(python=self.section).python)

    @classmethod
    def create(
        cls,
        conda_packages: Iterable[str] = (),
        pip_packages: Iterable[str] = (),
        python_version: str | None = None,
        channels: Iterable[str] = (),
        pip_options: Iterable[str] = (),
    ) -> CondaDependencies:
        """Return the dependencies that these lists state, in this order, python first.

        Args:     python_version: ``3.11`` (any 3.11), ``3.11.7``, or constraints such as ``>=3.10,<3.13``; None asks for none.
        Raises:   InvalidDefinition: as above.  InvalidInput: code ``duplicate_python``.
        """
        conda = tuple(conda_packages)
        section = PythonSection(conda=conda, pip=tuple(pip_packages), channels=tuple(channels), pip_options=tuple(pip_options))
        made = cls(section)
        if python_version is None:
            return made
        if made.python_version is not None:
            raise InvalidInput(
                "python is among the conda packages, and `python_version` is given", code="duplicate_python",
                hint="give one of the two",
            )  # fmt: skip
        return made.with_python_version(python_version)

    @classmethod
    def from_environment(cls, environment: Environment) -> CondaDependencies:
        """Return the dependencies of ``environment``; ``to_section`` gives its Python section back, unchanged.

        Raises:   InvalidInput: code ``manager_mismatch``: it is no conda environment.
        """
        return cls(environment.python)

    def to_section(self) -> PythonSection:
        """Return the Python section of an environment with these dependencies."""
        return self.section

    @property
    def conda_packages(self) -> tuple[str, ...]:
        """The conda requirements, python among them."""
        return self.section.conda

    @property
    def pip_packages(self) -> tuple[str, ...]:
        """The pip requirements."""
        return self.section.pip

    @property
    def pip_options(self) -> tuple[str, ...]:
        """The options for pip, in their long form."""
        return self.section.pip_options

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels, the first being the most important."""
        return self.section.channels

    @property
    def python_version(self) -> str | None:
        """What is asked of python, as it is written (``=3.11``, ``>=3.10,<3.13``); ``""`` for any, None if none is asked for."""
        found = [spec for spec in map(MatchSpec.parse, self.conda_packages) if spec.name == "python"]
        return found[0].rest.strip() if found else None

    # -- changed copies ------------------------------------------------------------------------------------------------

    def with_conda_package(self, package: str) -> CondaDependencies:
        """Return a copy that asks for ``package``, in the place of what was asked of the same name before."""
        spec = MatchSpec.parse(package)
        return self._changed(conda=_put(self.conda_packages, str(spec), spec.name, _conda_name))

    def without_conda_package(self, name: str) -> CondaDependencies:
        """Return a copy without the conda package ``name``.

        Raises:   NotFound: code ``package_not_in_definition``.
        """
        return self._changed(conda=_taken_out(self.conda_packages, name.lower(), _conda_name, "conda packages"))

    def with_pip_package(self, package: str) -> CondaDependencies:
        """Return a copy that asks pip for ``package``, in the place of what was asked of the same name before.

        Raises:   InvalidInput: code ``local_code_needs_file``: local code is read with the definition file beside it.
        """
        requirement = PipRequirement.parse(package)
        if requirement.path is not None:
            raise InvalidInput(
                f"`{package}` is local code, and a value has no directory to read it from", code="local_code_needs_file",
                hint="put the requirement into a file beside the code and read that: `Environment.from_file(…)`",
            )  # fmt: skip
        return self._changed(pip=_put(self.pip_packages, str(requirement), _pip_name(str(requirement)), _pip_name))

    def without_pip_package(self, name: str) -> CondaDependencies:
        """Return a copy without the pip package ``name`` (or, for a requirement without a name, its URL or path).

        Raises:   NotFound: code ``package_not_in_definition``.
        """
        key = name if "/" in name else canonical_name(name)
        pip = _taken_out(self.pip_packages, key, _pip_name, "pip packages")
        paths = {PipRequirement.parse(text).path for text in pip}
        gone = {PipRequirement.parse(text).path for text in self.pip_packages if text not in pip} - paths
        return self._changed(pip=pip, local=tuple(source for source in self.section.local if source.path not in gone))

    def with_channel(self, channel: str) -> CondaDependencies:
        """Return a copy with ``channel`` behind the others; a channel that is there stays where it is."""
        tidy = channel.strip().rstrip("/")
        return self if tidy in self.channels else self._changed(channels=(*self.channels, channel))

    def without_channel(self, channel: str) -> CondaDependencies:
        """Return a copy without ``channel``.

        Raises:   NotFound: code ``channel_not_in_definition``.
        """
        tidy = channel.strip().rstrip("/")
        if tidy not in self.channels:
            raise NotFound(f"`{channel}` is not among the channels", hint=_listed("channels", self.channels),
                           code="channel_not_in_definition")  # fmt: skip
        return self._changed(channels=tuple(c for c in self.channels if c != tidy))

    def with_pip_option(self, option: str) -> CondaDependencies:
        """Return a copy with ``option`` (``--index-url URL``), in the place of the same option; some may stand several times."""
        parsed = PipOption.parse(option)
        if str(parsed) in self.pip_options:
            return self
        if parsed.name in _REPEATABLE:
            return self._changed(pip_options=(*self.pip_options, str(parsed)))
        return self._changed(pip_options=_put(self.pip_options, str(parsed), parsed.name, _option_name))

    def without_pip_option(self, name: str) -> CondaDependencies:
        """Return a copy without the option ``name`` (all of them), or without exactly ``--name value``.

        Raises:   NotFound: code ``option_not_in_definition``.
        """
        words = name.split(maxsplit=1)
        kept = tuple(o for o in self.pip_options if o != name and not (len(words) == 1 and _option_name(o) == name))
        if kept == self.pip_options:
            raise NotFound(f"`{name}` is not among the pip options", hint=_listed("options", self.pip_options),
                           code="option_not_in_definition")  # fmt: skip
        return self._changed(pip_options=kept)

    def with_python_version(self, version: str) -> CondaDependencies:
        """Return a copy that asks for this python: ``3.11``, ``3.11.7`` or constraints, kept as they are written."""
        text = version.strip()
        spec = MatchSpec.parse(f"python={text}" if text[:1].isdigit() else f"python{text}")
        if self.python_version is not None:
            return self.with_conda_package(str(spec))
        return self._changed(conda=(str(spec), *self.conda_packages))

    def without_python_version(self) -> CondaDependencies:
        """Return a copy that leaves the version of python to the solver."""
        return self.without_conda_package("python")

    def _changed(self, **fields: object) -> CondaDependencies:
        return CondaDependencies(replace(self.section, **fields))  # type: ignore[arg-type]  # fields are the section's own


def _conda_name(text: str) -> str:
    return MatchSpec.parse(text).name


def _pip_name(text: str) -> str:
    requirement = PipRequirement.parse(text)
    return requirement.name or requirement.path or requirement.url or ""


def _option_name(text: str) -> str:
    return PipOption.parse(text).name


def _put(items: tuple[str, ...], item: str, name: str, name_of: Callable[[str], str]) -> tuple[str, ...]:
    names = [name_of(text) for text in items]
    if name not in names:
        return (*items, item)
    at = names.index(name)
    return (*items[:at], item, *(text for text, other in zip(items[at + 1 :], names[at + 1 :], strict=True) if other != name))


def _taken_out(items: tuple[str, ...], name: str, name_of: Callable[[str], str], what: str) -> tuple[str, ...]:
    kept = tuple(text for text in items if name_of(text) != name)
    if kept == items:
        raise NotFound(f"`{name}` is not among the {what}", hint=_listed(what, items), code="package_not_in_definition")
    return kept


def _listed(what: str, items: tuple[str, ...]) -> str:
    return f"the {what}: {', '.join(items)}" if items else f"there are no {what}"
