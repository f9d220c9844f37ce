"""Fill the reference pages from the code: an mkdocs hook.

A page says ``<!-- generate: NAME -->`` where a part belongs that the code already knows: the commands, the settings, the
errors, the Python interface. It is put in when the documentation is built, so it cannot differ from the code.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import importlib
import inspect
import pkgutil
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    import click

    from wardian.curated.entry import Entry

SOURCE = Path(__file__).resolve().parent.parent / "src" / "wardian"
PLACE = re.compile(r"<!-- generate: ([\w-]+) -->")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill the places of one page: mkdocs calls this for each.

    Raises:   KeyError: a page asks for a part that nobody generates.
    """
    return PLACE.sub(lambda match: PARTS[match.group(1)](), markdown)


# -- commands ------------------------------------------------------------------------------------------------------


def commands_part() -> str:
    """Return every command with what `--help` prints."""
    return "\n\n".join(f"## {path}\n\n```text\n{help_text.rstrip()}\n```" for path, help_text in commands())


def commands() -> Iterator[tuple[str, str]]:
    """Yield the path (``wardian env create``) and the help text of every command that is not hidden, groups included."""
    import click

    from wardian.cli.main import cli

    yield from _walk(cli, click.Context(cli, info_name="wardian", terminal_width=100, max_content_width=100), "wardian")


def _walk(command: click.Command, context: click.Context, path: str) -> Iterator[tuple[str, str]]:
    import click

    yield path, command.get_help(context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None and not inner.hidden:
                inside = click.Context(inner, info_name=name, parent=context, terminal_width=100, max_content_width=100)
                yield from _walk(inner, inside, f"{path} {name}")


# -- settings ------------------------------------------------------------------------------------------------------


def settings_part() -> str:
    """Return the table of settings."""
    from wardian.settings import Settings

    defaults = Settings.load({"HOME": "~"})
    rows = ["| setting | variable | default | what it decides |", "| --- | --- | --- | --- |"]
    for item in dataclasses.fields(Settings):
        variable = item.metadata.get("variable")
        default = _default(getattr(defaults, item.name))
        rows.append(f"| `{item.name}` | {f'`{variable}`' if variable else ''} | {default} | {item.metadata['doc']} |")
    return "\n".join(rows)


def _default(value: Any) -> str:
    if value is None or value in ({}, ()):
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return f"`{','.join(value)}`"
    return f"`{value:,}`" if isinstance(value, int) else f"`{value}`"


# -- errors --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Raised:
    """One code as it stands in the source: the message with its values left open, and what to do."""

    code: str
    message: str
    hint: str


def exits_part() -> str:
    """Return the table of exit codes with the classes of errors behind each."""
    meaning = {
        1: "a run, a build or an installation failed",
        2: "the input is wrong: a file, an argument, a value",
        3: "a fault of Wardian's own; the log that it names belongs in a report",
        4: "the named thing does not exist",
        5: "it exists with other content, or the action needs `--yes`",
        6: "credentials are missing or do not allow this",
        7: "something outside did not answer, or the disk is full: try again",
    }
    codes: dict[int, set[str]] = {}
    for kind in error_classes():
        codes.setdefault(kind.exit_code, set()).add(f"`{kind.code}`")
    rows = [f"| {number} | {meaning[number]} | {', '.join(sorted(codes[number]))} |" for number in sorted(codes)]
    head = ["| exit | meaning | codes of the classes |", "| --- | --- | --- |", "| 0 | all went well | |"]
    return "\n".join([*head, *rows, "| 130 | interrupted with ^C | |"])


def codes_part() -> str:
    """Return the table of every stable code."""
    messages: dict[str, list[str]] = {}
    hints: dict[str, list[str]] = {}
    for kind in error_classes():
        summary = (inspect.getdoc(kind) or "").split("\n\n")[0].replace("\n", " ")
        messages.setdefault(kind.code, []).append(summary)
    for raised in raised_codes():
        messages.setdefault(raised.code, []).append(raised.message)
        hints.setdefault(raised.code, []).append(raised.hint)
    rows = [f"| `{code}` | {_cell(messages[code])} | {_cell(hints.get(code, []))} |" for code in sorted(messages)]
    return "\n".join(["| code | what it says | what to do |", "| --- | --- | --- |", *rows])


def error_classes() -> list[type[Any]]:
    """Return every class of error in the package, the base first."""
    import wardian
    from wardian.errors import WardianError

    for module in pkgutil.walk_packages(wardian.__path__, "wardian."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found: list[type[Any]] = [WardianError]
    for kind in found:
        found.extend(k for k in kind.__subclasses__() if k not in found)
    return found


def raised_codes() -> Iterator[Raised]:
    """Yield the codes that are given where something is raised: ``code="…"``, and the collectors of faults."""
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                yield from _raised_by(node)


def _raised_by(call: ast.Call) -> Iterator[Raised]:
    named = {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
    function = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    positional = list(call.args)
    code = named.get("code")
    if code is None and positional and (function in ("add", "warn", "Fault") or "fault" in function.lower()):
        code = positional.pop(0)
    text = _text(code)
    if not re.fullmatch(r"[a-z][a-z0-9_]+", text):
        return
    sentences = [t for t in map(_text, positional) if " " in t]
    message = _text(named.get("message")) or next(iter(sentences), "")
    if "code" not in named and not re.search(r"[a-z]{2}", message):
        return  # some other method called `add`
    yield Raised(text, message, _text(named.get("hint")) or (sentences[1] if len(sentences) > 1 else ""))


def _text(node: ast.expr | None) -> str:
    """Return the text that ``node`` is, with ``…`` for what is filled in when it is raised."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(v.value if isinstance(v, ast.Constant) and isinstance(v.value, str) else "…" for v in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _text(node.left) + _text(node.right)
    return ""


def _cell(texts: list[str]) -> str:
    kept = list(dict.fromkeys(text for text in texts if text))
    return "<br>".join(text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;") for text in kept)


# -- the Python interface ------------------------------------------------------------------------------------------


# not named by `import wardian`: what its names lead to
REACHED = {
    "wardian.sdk.environments": ("EnvironmentCollection",),
    "wardian.sdk.comparison": ("Comparison",),
    "wardian.sdk.upgrade": ("Upgrade",),
    "wardian.sdk.runs": ("RunCollection",),
    "wardian.sdk.models": ("ModelCollection",),
    "wardian.workspace.model_version": ("ModelVersion", "ModelFacts", "Lineage"),
    "wardian.serving.mlflow": ("MlflowModel",),
    "wardian.sdk.endpoints": ("EndpointCollection",),
    "wardian.workspace.endpoint_record": ("EndpointRecord", "Deployment", "Rollout", "ApiKey"),
    "wardian.sdk.jobs": ("Beside",),
    "wardian.formats.read_definition": ("ReadDefinition",),
    "wardian.prefix.install": ("Prefix",),
    "wardian.run.record": ("RunRecord",),
    "wardian.sdk.targets": ("TargetCollection",),
    "wardian.workspace.targets": ("NamedTarget",),
    "wardian.sdk.images": ("ImageCollection", "EnvironmentImage"),
    "wardian.sdk.image_details": ("ImageDetails", "LayerDetails"),
    "wardian.sdk.builds": ("BuildCollection", "Build"),
    "wardian.workspace.build_record": ("BuildRecord", "Phase"),
    "wardian.sdk.sharing": ("Sharing", "Pushed"),
    "wardian.sdk.catalogue": ("CuratedCollection", "CuratedImage"),
    "wardian.curated.entry": ("Entry",),
    "wardian.workspace.page": ("Page",),
    "wardian.lint.files": ("Linted",),
    "wardian.lint.finding": ("Finding",),
}


def sdk_part() -> str:
    """Return everything that ``import wardian`` offers: signatures and docstrings."""
    import wardian

    parts: list[str] = []
    for name in sorted(wardian.__all__):
        thing = getattr(wardian, name)
        if inspect.isclass(thing):
            parts += _class(name, thing)
        elif callable(thing):
            parts += [f"## {name}", _signature(name, thing), _doc(thing)]
    return "\n\n".join(part for part in parts if part)


def reached_part() -> str:
    """Return the classes that one gets from those above, without importing them by name."""
    parts: list[str] = []
    for module, names in REACHED.items():
        for name in names:
            parts += _class(name, getattr(importlib.import_module(module), name))
    return "\n\n".join(part for part in parts if part)


def _class(name: str, kind: type[Any]) -> list[str]:
    parts = [f"## {name}", _doc(kind)]
    if dataclasses.is_dataclass(kind):
        shown = "\n".join(f"{f.name}: {f.type}" for f in dataclasses.fields(kind) if not f.name.startswith("_"))
        parts.append(f"```python\n{shown}\n```")
    ours = [base for base in kind.__mro__ if base is kind or base.__module__.startswith("wardian.sdk.")]
    for member in sorted({name for base in ours for name in vars(base)}):
        value = inspect.getattr_static(kind, member)
        if member.startswith("_"):
            continue
        getter = value.func if isinstance(value, functools.cached_property) else getattr(value, "fget", None)
        if getter is not None:
            returns = inspect.signature(getter).return_annotation
            parts += [f"### {name}.{member}", f"```python\n{member}: {returns}\n```", _doc(getter)]
        elif inspect.isroutine(value) or isinstance(value, classmethod | staticmethod):
            parts += [f"### {name}.{member}", _signature(member, getattr(kind, member)), _doc(value)]
    return parts


class _Bare(str):
    """An annotation as it is written, printed without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _signature(name: str, function: Any) -> str:
    found = inspect.signature(function)
    parameters = [p.replace(annotation=_bare(p.annotation)) for p in found.parameters.values()]
    found = found.replace(parameters=parameters, return_annotation=_bare(found.return_annotation))
    return f"```python\n{name}{found}\n```"


def _bare(annotation: Any) -> Any:
    return _Bare(annotation) if isinstance(annotation, str) else annotation


def _doc(thing: Any) -> str:
    summary, _, rest = (inspect.getdoc(thing) or "").partition("\n\n")
    return summary.replace("\n", " ").replace("``", "`") + (f"\n\n```text\n{rest}\n```" if rest else "")


# -- lint --------------------------------------------------------------------------------------------------------------


def lint_part() -> str:
    """Return every rule of lint, by family."""
    from wardian.lint.registry import FAMILIES

    parts: list[str] = []
    for family, rules in FAMILIES:
        parts.append(f"## {family}")
        for rule in rules:
            mended = "; `--fix` mends it where that is safe" if rule.fixable else ""
            parts += [f"### {rule.id}", f"*{rule.severity}*: {rule.finds}{mended}.", rule.why, f"Write: {rule.fix}."]
    return "\n\n".join(parts)


def lint_azure_part() -> str:
    """Return the table of Azure ML's findings that rules answer to."""
    from wardian.lint.registry import RULES

    rows = [f"| {rule.azure} | [`{rule.id}`](#{rule.id}) |" for rule in RULES.values() if rule.azure]
    return "\n".join(["| finding of Azure ML | rule |", "| --- | --- |", *rows])


# -- curated environments ----------------------------------------------------------------------------------------------


def curated_part() -> str:
    """Return every version of every curated environment, with what it holds."""
    from wardian.curated.catalogue import Catalogue

    parts: list[str] = []
    for entry in Catalogue().entries:
        held = ", ".join(f"{name} {version}" for name, version in entry.frameworks.items()) or "nothing but Python"
        locks = [f"{platform} ({_packages(entry, platform)})" for platform in entry.locks]
        rows = [
            ("frameworks", held), ("Python", entry.python), ("accelerator", entry.accelerator), ("published", entry.published),
            *([("deprecated", f"{entry.deprecated}{f', use `{entry.successor}`' if entry.successor else ''}")] if entry.deprecated else []),
            ("locked for", ", ".join(locks) or "nothing yet: each workspace locks it when it is first used"),
            ("hash", f"`@{entry.definition_hash.short}`"),
        ]  # fmt: skip
        table = "\n".join(["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows)])
        parts += [f"## {entry.reference}", f"{entry.description}.", table, f"```yaml\n{entry.source().rstrip()}\n```"]
    return "\n\n".join(parts)


def _packages(entry: Entry, platform: str) -> str:
    lock = entry.lock(platform)
    count = len(lock.artifacts) if lock is not None else 0
    return f"{count} package{'' if count == 1 else 's'}"


PARTS = {
    "curated": curated_part,
    "commands": commands_part,
    "settings": settings_part,
    "exits": exits_part,
    "codes": codes_part,
    "lint": lint_part,
    "lint-azure": lint_azure_part,
    "sdk": sdk_part,
    "reached": reached_part,
}
