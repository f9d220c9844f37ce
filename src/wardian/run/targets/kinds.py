"""The kinds of targets: which there are, and which options each has."""

from __future__ import annotations

import difflib
import importlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wardian.definition.docker_section import SECRET_NAME
from wardian.definition.reference import NAME
from wardian.errors import InvalidInput
from wardian.run.configuration import REFERENCE, perhaps_secret

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LOCAL = "local"
BUILT_IN = (LOCAL, "podman", "docker", "spark")  # every workspace has these, under the names of their kinds
# what can be made with a name: kind → where it says what it is. Of others nothing is imported
_PLACES = {
    "ssh": "wardian.run.targets.ssh_options:SSH",
    "slurm": "wardian.run.targets.slurm_options:SLURM",
    "kubernetes": "wardian.run.targets.kubernetes_options:KUBERNETES",
    "podman": "wardian.run.targets.container_options:PODMAN",
    "docker": "wardian.run.targets.container_options:DOCKER",
    "spark": "wardian.run.targets.spark_options:SPARK",
}
KINDS = tuple(_PLACES)


@dataclass(frozen=True, slots=True)
class TargetOption:
    """One option of a kind of target.

    Attributes:
        text: what it says, in one line.
        grammar: a regular expression that all of its value fits.
        example: a value.
        of_run: whether a run may say it, too, and goes before the target.
        is_secret_name: its value is the name of a stored secret, which is never written down itself.
    """

    text: str
    grammar: str = r"[^\0\r\n]{1,1000}"
    example: str = ""
    of_run: bool = True
    is_secret_name: bool = False


@dataclass(frozen=True, slots=True)
class TargetKind:
    """A kind of target.

    Attributes:
        text: what it is, in one line.
        options: by name; ``NAME.*`` stands for all that begin so.  required: those that a target of this kind must have.
        is_remote: whether its jobs outlive the process that submits them (``RemoteTarget``).
        pass_variables: patterns of what a job gets of its node's own variables: what the engine tells it there.
        runs_images: whether its jobs run in images, which it pulls.
        check: looks at all options together, beyond the grammar of each; gets them, and the target's name.
    """

    name: str
    text: str
    options: Mapping[str, TargetOption] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    is_remote: bool = False
    runs_images: bool = False
    pass_variables: tuple[str, ...] = ()
    check: Callable[[Mapping[str, str], str], object] | None = None

    def option(self, name: str) -> TargetOption | None:
        """Return the option called ``name``, or None."""
        family = (option for key, option in self.options.items() if key.endswith(".*") and name.startswith(key[:-1]))
        return self.options.get(name) or next(family, None)


def kind_named(name: str) -> TargetKind:
    """Return the kind of that name.

    Raises:   InvalidInput: ``unknown_target_kind``; the hint names those that there are.
    """
    if name not in _PLACES:
        raise unknown_kind(name)
    module, _, attribute = _PLACES[name].partition(":")
    found: TargetKind = getattr(importlib.import_module(module), attribute)
    return found


def unknown_kind(name: str) -> InvalidInput:
    """Return the error for a kind that this Wardian does not have; the hint names those that there are."""
    near = difflib.get_close_matches(name, KINDS, n=1)
    meant = f"did you mean `{near[0]}`? " if near else ""
    return InvalidInput(f"there is no kind of target `{name[:80]}`", code="unknown_target_kind",
                        hint=f"{meant}there are {', '.join(f'`{one}`' for one in KINDS)}")  # fmt: skip


def check_target_name(name: str) -> str:
    """Return ``name`` if a target can be called so.

    Raises:   InvalidInput: ``bad_name``, ``reserved_target_name``.
    """
    if not NAME.fullmatch(name):
        raise InvalidInput(f"`{name[:80]}` is not a name for a target", hint="letters, digits, `.`, `_`, `-`", code="bad_name")
    if name in BUILT_IN:
        raise InvalidInput(f"`{name}` is the name of a built-in target", hint="choose another: it is what `-t` takes",
                           code="reserved_target_name")  # fmt: skip
    return name


def check_options(kind: TargetKind, options: Mapping[str, str], target: str, *, of_run: bool = False) -> None:
    """Check the options of a target, or those that a run gives for it.

    Raises:   InvalidInput: ``unknown_target_option``, ``bad_target_option``, ``secret_in_option``; the message names option and value.
    """
    for name, value in options.items():
        option = kind.option(name)
        if option is None or (of_run and not option.of_run):
            raise _unknown(kind, name, target, known=option is not None)
        if perhaps_secret("" if option.is_secret_name else name, value) and not REFERENCE.fullmatch(value):
            raise InvalidInput(f"the option `{name}` of `{target}` holds what looks like a secret, and would be in records",
                               code="secret_in_option", hint=_secret_hint(kind))  # fmt: skip
        grammar = SECRET_NAME.pattern if option.is_secret_name else option.grammar
        if not re.fullmatch(grammar, value):
            shown = f"{name}=…" if option.is_secret_name else f"{name}={value[:80]}"
            raise InvalidInput(f"`{shown}` is no value for the target `{target}`: {option.text}", code="bad_target_option",
                               hint=f"such as `{name}={option.example}`" if option.example else None)  # fmt: skip
    if not of_run:
        for name in kind.required:
            if name not in options:
                raise InvalidInput(f"a target of kind {kind.name} needs the option `{name}`: {kind.options[name].text}",
                                   code="missing_target_option", hint=f"`--option {name}={kind.options[name].example}`")  # fmt: skip
    if kind.check is not None:
        kind.check(options, target)


def _unknown(kind: TargetKind, name: str, target: str, *, known: bool) -> InvalidInput:
    if known:
        return InvalidInput(f"`{name}` is an option of the target `{target}`, not of one of its runs", code="unknown_target_option",
                            hint="`wardian target create` takes it")  # fmt: skip
    near = difflib.get_close_matches(name, kind.options, n=1)
    meant = f"did you mean `{near[0]}`? " if near else ""
    has = f"it has {', '.join(f'`{one}`' for one in kind.options)}" if kind.options else "it has none"
    return InvalidInput(f"the target `{target}`, of kind {kind.name}, has no option `{name[:80]}`", code="unknown_target_option",
                        hint=f"{meant}{has}")  # fmt: skip


def _secret_hint(kind: TargetKind) -> str:
    named = next((name for name, option in kind.options.items() if option.is_secret_name), None)
    if named is None:
        return "pass it on as a variable of a run: `-V NAME`"
    return f"`wardian secret set NAME` keeps it; then `--option {named}=NAME`"
