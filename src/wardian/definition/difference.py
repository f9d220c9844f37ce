"""What differs between two definitions, and why their hashes do."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from wardian.definition.identity import hashed_fields
from wardian.definition.match_spec import MatchSpec
from wardian.definition.requirement import PipRequirement
from wardian.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from wardian.definition.environment import Environment

# lists of packages by the section that holds them, in the order in which a person wants to read about them
_PACKAGES = ("conda", "pip", "constraints", "spark_packages")
_LISTS = ("channels", "pip_options", "spark_repositories")


@dataclass(frozen=True, slots=True)
class PackageChange:
    """A package was added, removed, or is asked for in another way.

    Attributes:
        section: ``conda``, ``pip``, ``constraints`` or ``spark_packages``.
        name: as its ecosystem normalises it; for a requirement without a name its URL or path.
        before, after: what is asked of it, as written, without the name; empty: it is not there. Several where the
            definition names it several times.
    """

    section: str
    name: str
    before: tuple[str, ...]
    after: tuple[str, ...]

    @property
    def kind(self) -> str:
        """``added``, ``removed`` or ``changed``."""
        return "added" if not self.before else "removed" if not self.after else "changed"

    def __str__(self) -> str:
        if self.before and self.after:
            before, after = " and ".join(self.before), " and ".join(self.after)
            if before.startswith("==") and after.startswith("=="):  # the everyday case reads best as two bare versions
                before, after = before.removeprefix("=="), after.removeprefix("==")
            return f"{self.name} {before} → {after}"
        return ("+ " if self.after else "- ") + f"{self.name} {' and '.join(self.before or self.after)}".removesuffix(" *")


@dataclass(frozen=True, slots=True)
class ListChange:
    """An ordered list of a section differs: channels, pip options, Spark repositories."""

    section: str
    before: tuple[str, ...]
    after: tuple[str, ...]

    @property
    def added(self) -> tuple[str, ...]:
        """What is new in it."""
        return tuple((Counter(self.after) - Counter(self.before)).elements())

    @property
    def removed(self) -> tuple[str, ...]:
        """What is gone from it."""
        return tuple((Counter(self.before) - Counter(self.after)).elements())


@dataclass(frozen=True, slots=True)
class SettingChange:
    """A single value differs; None: not given, or the default."""

    field: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs between a definition and another.

    Attributes:
        packages, lists, settings, variables: the content; ``settings`` by their paths, such as ``docker.base_image``.
        metadata: name, description and tags: in no identity.
        reordered: sections that hold the same in another order.
        hashed: exactly the fields of the definition_hash that differ; empty: the hashes are equal.
    """

    packages: tuple[PackageChange, ...] = ()
    lists: tuple[ListChange, ...] = ()
    settings: tuple[SettingChange, ...] = ()
    variables: tuple[SettingChange, ...] = ()
    metadata: tuple[SettingChange, ...] = ()
    reordered: tuple[str, ...] = ()
    hashed: tuple[str, ...] = ()

    @property
    def same_content(self) -> bool:
        """Whether registering one after the other gives one version: all is equal but the metadata."""
        return not (self.hashed or self.settings or self.variables)

    @property
    def only_order(self) -> bool:
        """Whether the hashes differ, and by nothing but the order of some lists."""
        return bool(self.hashed) and set(self.hashed) == set(self.reordered)

    def as_document(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "same_content": self.same_content,
            "same_hash": not self.hashed,
            "only_order": self.only_order,
            "hashed": list(self.hashed),
            "reordered": list(self.reordered),
            "packages": [{"kind": change.kind, **_plain(change)} for change in self.packages],
            "lists": [
                {**_plain(change), "added": list(change.added), "removed": list(change.removed)} for change in self.lists
            ],
            "settings": [_plain(change) for change in self.settings],
            "variables": [_plain(change) for change in self.variables],
            "metadata": [_plain(change) for change in self.metadata],
        }

    def summary(self, limit: int = 3) -> str:
        """Return the difference in one line: ``numpy 1.26 → 2.0, + scipy, channels``."""
        parts = [str(change) for change in self.packages]
        parts += [change.section.replace("_", " ") for change in self.lists if change.added or change.removed]
        parts += [_one_line(change) for change in (*self.settings, *self.variables)]
        parts += [f"order of {section.replace('_', ' ')}" for section in self.reordered]
        more = [f"{len(parts) - limit} more"] if len(parts) > limit else []
        return ", ".join([*parts[:limit], *more]) or "same definition"

    def text(self) -> str:
        """Return the difference for people, in several lines; it ends with why the hashes differ, or that they do not."""
        from wardian.definition.difference_text import render

        return render(self)


def difference(before: Environment, after: Environment) -> Difference:
    """Return what differs between two definitions."""
    old, new = hashed_fields(before), hashed_fields(after)
    pairs = {section: (_items(old, section), _items(new, section)) for section in (*_PACKAGES, *_LISTS)}
    return Difference(
        packages=tuple(change for section in _PACKAGES for change in _package_changes(section, *pairs[section])),
        lists=tuple(ListChange(section, *pairs[section]) for section in _LISTS if pairs[section][0] != pairs[section][1]),
        settings=tuple(_setting_changes(_settings(before), _settings(after))),
        variables=tuple(_setting_changes(before.variables, after.variables)),
        metadata=tuple(_setting_changes(_metadata(before), _metadata(after))),
        reordered=tuple(field for field in sorted({*old, *new}) if _only_reordered(old.get(field), new.get(field))),
        hashed=tuple(field for field in sorted({*old, *new}) if old.get(field) != new.get(field)),
    )


def _items(fields: Mapping[str, Any], section: str) -> tuple[str, ...]:
    return tuple(fields.get(section, ()))


def _only_reordered(before: Any, after: Any) -> bool:
    if before == after or not isinstance(before, list) or not isinstance(after, list):
        return False
    return sorted(before) == sorted(after)


def _package_changes(section: str, before: Sequence[str], after: Sequence[str]) -> Iterable[PackageChange]:
    split = _SPLIT[section]
    old, new = _by_name(before, split), _by_name(after, split)
    for name in dict.fromkeys([*old, *new]):  # in the order in which the definitions name them
        was, now = old.get(name, ()), new.get(name, ())
        if Counter(was) != Counter(now):
            yield PackageChange(section, name, was, now)


def _by_name(requirements: Sequence[str], split: Callable[[str], tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for text in requirements:
        name, rest = split(text)
        found[name] = (*found.get(name, ()), rest)
    return found


def _split_conda(text: str) -> tuple[str, str]:
    try:
        spec = MatchSpec.parse(text)
    except InvalidInput:  # an older Wardian registered it
        return text, "*"
    channel = f"{spec.channel}::" if spec.channel else ""
    if not text.startswith(channel + spec.name):
        return spec.name, text  # a URL
    rest = text.removeprefix(channel + spec.name).strip()
    return spec.name, f"{rest} from {spec.channel}".strip() if channel else rest or "*"


def _split_pip(text: str) -> tuple[str, str]:
    try:
        name = PipRequirement.parse(text).name
    except InvalidInput:  # an older Wardian registered it
        return text, "*"
    if name is None or not text.startswith(name):
        return name or text, text if name else "*"
    return name, text.removeprefix(name).strip() or "*"


def _split_spark(text: str) -> tuple[str, str]:
    name, _, version = text.rpartition(":")
    return name, version


_SPLIT: dict[str, Callable[[str], tuple[str, str]]] = {
    "conda": _split_conda,
    "pip": _split_pip,
    "constraints": _split_pip,
    "spark_packages": _split_spark,
}


def _settings(env: Environment) -> dict[str, str]:
    python, docker = env.python, env.docker
    context = docker.build_context
    values = {
        "python.manager": python.manager,
        "python.source": python.source if python.source != "managed" else None,
        "python.requires_python": python.requires_python,
        "python.interpreter": python.interpreter,
        "python.index_strategy": python.index_strategy if python.index_strategy != "first-index" else None,
        "python.link_scripts": python.link_scripts if python.link_scripts != "refuse" else None,
        "python.locked_input": python.locked_input,
        **{f"python.local[{source.path}]": source.digest for source in python.local},
        "docker.base_image": docker.base_image,
        "docker.dockerfile": docker.dockerfile,
        "docker.build_context": context and context.path,
        "docker.build_context.digest": context and context.digest,
        "docker.build_context.dockerfile": context and context.dockerfile,
        "docker.platform": docker.platform,
        "docker.credentials": docker.credentials,
        **{f"docker.build_args.{name}": value for name, value in docker.build_args.items()},
        **{f"docker.build_secrets.{name}": value for name, value in docker.build_secrets.items()},
        **{f"accelerators.{name}": version for name, version in env.accelerators.items()},
    }
    return {field: str(value) for field, value in values.items() if value}


def _metadata(env: Environment) -> dict[str, str]:
    values = {"name": env.name, "description": env.description, **{f"tags.{key}": value for key, value in env.tags.items()}}
    return {field: value for field, value in values.items() if value}


def _setting_changes(before: Mapping[str, str], after: Mapping[str, str]) -> Iterable[SettingChange]:
    for field in dict.fromkeys([*before, *after]):
        if before.get(field) != after.get(field):
            yield SettingChange(field, before.get(field), after.get(field))


def _one_line(change: SettingChange) -> str:
    shown = [value for value in (change.before, change.after) if value is not None]
    if any("\n" in value or len(value) > 40 for value in shown):  # noqa: PLR2004 - what fits a line
        return change.field
    return f"{change.field} {change.before or 'unset'} → {change.after or 'unset'}"


def _plain(change: PackageChange | ListChange | SettingChange) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(change).items()}
