"""From the words of `wardian run` to a run configuration and a version."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wardian.cli.pairs import pairs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wardian.run.configuration import Command, RunConfiguration
    from wardian.sdk.environments import EnvironmentCollection
    from wardian.workspace.version import EnvironmentVersion

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def configuration_of(words: tuple[str, ...], options: Mapping[str, Any], model_path: Callable[[str], Path]) -> RunConfiguration:
    """Return the run configuration that the words and options state.

    Args:     model_path: gives the file or directory of a model by its reference, ``model:NAME``.
    Raises:   UsageError: nothing to run, or a value that cannot be read.
    """
    from wardian.run.configuration import Resources, RunConfiguration

    try:
        here = Path.cwd()
    except FileNotFoundError:
        raise click.UsageError("the directory that this was called from is gone: change to one that is there") from None
    source = (options["source"] or here).absolute()
    return RunConfiguration(
        command=_command(words, source, here, module=options["module"]),
        source=source,
        inputs=_inputs(options["inputs"], model_path),
        variables=variables_of(options["variables"]),
        experiment=options["experiment"],
        target="local" if options["target"] is None else options["target"],
        timeout_s=duration_s(options["timeout"]),
        resources=Resources(
            cpus=options["cpus"], memory_bytes=memory(options["memory"]), gpus=options["gpus"], nodes=options["nodes"]
        ),
        options=pairs(options["target_options"], "--option"),
        with_packages=tuple(options["with_packages"]),
    )


def version_for(
    environments: EnvironmentCollection, configuration: RunConfiguration | None, options: Mapping[str, Any]
) -> EnvironmentVersion:
    """Return the version to run in, registering a file's definition first [S9]. Without a ``configuration`` the options say it.

    Raises:   UsageError: none or several are given.
    """
    reference, file, requirements = options["reference"], options["file"], options["requirements"]
    given = [one for one in (reference, file, requirements) if one]
    if len(given) > 1:
        raise click.UsageError("give one of -e, -f and -r")
    extra = tuple(options["with_packages"])
    if reference:
        if "=" in reference and not Path(reference).exists():
            raise click.UsageError(f"-e names an environment; for a variable write `-V {reference}`")
        if _is_file(reference):
            return environments.register_file(Path(reference), with_packages=extra)
        version = environments.get(reference)
        return environments.with_packages(version, extra) if extra else version
    if file:
        return environments.register_file(file, with_packages=extra)
    if requirements:
        return environments.register_file(requirements, format_name="requirements", with_packages=extra)
    if (
        configuration is not None
        and configuration.command.kind == "script"
        and configuration.source is not None
        and configuration.command.name.endswith(".py")
    ):
        path = configuration.source / configuration.command.name
        if _has_metadata(path):
            return environments.register_file(path, format_name="script", with_packages=extra)
    if extra:
        return environments.register_packages(extra)
    raise click.UsageError("no environment is given: -e REF, -f FILE or -r FILE; or a script with inline metadata (PEP 723)")


def _has_metadata(script: Path) -> bool:
    from wardian.small_file import NoSmallFile, read_small

    try:
        return b"# /// script" in read_small(script)
    except NoSmallFile:  # reading it as a definition says what it is
        return True


def _is_file(text: str) -> bool:
    from wardian.definition.reference import is_file_reference

    return is_file_reference(text)


def _command(words: tuple[str, ...], source: Path, here: Path, *, module: bool) -> Command:
    from wardian.run.configuration import Command
    from wardian.run.script import script_command

    if module:
        if not words:
            raise click.UsageError("-m needs a module")
        return Command("module", words[0], tuple(words[1:]))
    if _has_double_dash(words):
        if not words:
            raise click.UsageError("nothing stands after `--`")
        return Command("program", words[0], tuple(words[1:]))
    if not words:
        raise click.UsageError("there is nothing to run: give a SCRIPT, `-m MODULE` or `-- COMMAND`")
    if words[0].startswith("-"):
        raise click.UsageError(f"there is no option {words[0]}", ctx=click.get_current_context())
    return script_command(words[0], words[1:], source=source, directory=here)


def _has_double_dash(words: tuple[str, ...]) -> bool:
    """Whether `--` stood right before the words: click drops it."""
    given = click.get_current_context().meta.get("wardian.arguments") or sys.argv[1:]
    if "--" not in given:
        return False
    return tuple(given[given.index("--") + 1 :]) == tuple(words)


def _inputs(texts: tuple[str, ...], model_path: Callable[[str], Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for text in texts:
        name, _, path = text.partition("=")
        if not name or not path:
            raise click.UsageError(f"--input takes NAME=PATH, not `{text}`")
        if name in found:
            raise click.UsageError(f"the input `{name}` is given twice: an input is one file or one directory")
        is_model = path.startswith("model:") and not Path(path).exists()
        found[name] = model_path(path) if is_model else Path(path).expanduser().absolute()
    return found


def variables_of(texts: tuple[str, ...]) -> dict[str, str | None]:
    """Return the variables of `-V`: NAME → value; None: the caller's own.

    Raises:   UsageError: two say different things of one name.
    """
    found: dict[str, str | None] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        said = value if equals else None
        if found.setdefault(name, said) != said:
            raise click.UsageError(f"the variable `{name}` is given twice, and not alike: give it once")
    return found


def duration_s(text: str | None) -> float | None:
    """Return a duration in seconds: `90`, `30s`, `10m`, `2h`, `1d`."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text)
    if not match:
        raise click.UsageError(f"`{text}` is not a duration: 90, 30s, 10m, 2h, 1d")
    return float(match.group(1)) * _UNITS[match.group(2)]


def memory(text: str | None) -> int | None:
    """Return an amount of memory in bytes: `512M`, `4G`."""
    if text is None:
        return None
    from wardian.run.memory import memory_bytes

    found = memory_bytes(text)
    if found is None:
        raise click.UsageError(f"`{text}` is not an amount of memory: 512M, 4G …")
    return found
