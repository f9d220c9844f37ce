"""`wardian target`: places to run that have a name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from wardian.cli.common import Session, command, examples, printable, table
from wardian.cli.completion import complete_kind, complete_target
from wardian.cli.lazy import SHORT_NAMES, LazyGroup
from wardian.cli.pairs import pairs

if TYPE_CHECKING:
    from wardian.workspace.targets import NamedTarget


@click.group(cls=LazyGroup, aliases={**SHORT_NAMES, "add": "create"}, epilog=examples(
    "wardian target create big --kind podman --option shm=16G", "wardian target list", "wardian target check podman",
    "wardian run -t big -e sklearn train.py",
))  # fmt: skip
def target() -> None:
    """Targets: places to run, by name: what `wardian run -t NAME` takes.

    This machine (`local`) and its container engines are there from the start.
    """


@target.command(epilog=examples(
    "wardian target create big --kind podman --option shm=16G", "wardian target create gpus --kind docker --option 'arguments=--ipc host'",
))  # fmt: skip
@click.argument("name")
@click.option(
    "--kind",
    required=True,
    metavar="K",
    shell_complete=complete_kind,
    help="Which engine; `wardian target list --kinds` shows all.",
)
@click.option(
    "--option",
    "options",
    multiple=True,
    metavar="K=V",
    help="What the engine is asked for; a run's own --option goes before it.",
)
@command
def create(session: Session, name: str, kind: str, options: tuple[str, ...]) -> None:
    """Give a place to run a name. Nothing is contacted: `wardian target check NAME` tries it out."""
    made = session.workspace.targets.create(name, kind, pairs(options, "--option"))
    session.show(made.as_document(), lambda: f"created {made.name}; `wardian target check {made.name}` tries it out")


@target.command("list", epilog=examples("wardian target list", "wardian target list --kinds", "wardian target list --json"))
@click.option("--kinds", "of_kinds", is_flag=True, help="The kinds of targets instead, with their options.")
@command
def list_(session: Session, of_kinds: bool) -> None:
    """List the targets, the built-in ones first; or the kinds that there are, with their options."""
    if of_kinds:
        _list_kinds(session)
        return
    known = session.workspace.targets.list()
    rows = [(one.name, one.kind, _options(one), one.created[:10] or "built in") for one in known]
    session.show({"targets": [one.as_document() for one in known]}, lambda: table(("NAME", "KIND", "OPTIONS", "CREATED"), rows))


def _list_kinds(session: Session) -> None:
    from wardian.run.targets.kinds import KINDS, kind_named

    kinds = [kind_named(name) for name in KINDS]
    documents: list[dict[str, Any]] = [
        {"name": kind.name, "text": kind.text, "options": [
            {"name": name, "text": option.text, "example": option.example, "required": name in kind.required, "of_run": option.of_run,
             "is_secret_name": option.is_secret_name} for name, option in kind.options.items()]}
        for kind in kinds
    ]  # fmt: skip

    def lines() -> list[str]:
        found = []
        for kind in kinds:
            found.append(f"{kind.name}  {kind.text}")
            found += [
                f"  {name + ('=' + option.example if option.example else ''):<34}  {option.text}"
                for name, option in kind.options.items()
            ]
        return found

    session.show({"kinds": documents}, lines)


@target.command(epilog=examples("wardian target show big"))
@click.argument("name", shell_complete=complete_target)
@command
def show(session: Session, name: str) -> None:
    """Show what a target is: its kind and its options."""
    found = session.workspace.targets.get(name)
    session.show(found.as_document(), lambda: [
        f"{found.name}  {found.kind}", *(f"  {key:<12}  {printable(value)}" for key, value in found.options.items()),
        f"  {'created':<12}  {found.created[:19] + 'Z' if found.created else 'built in'}",
    ])  # fmt: skip


@target.command(epilog=examples("wardian target check local", "wardian target check big --json"))
@click.argument("name", shell_complete=complete_target)
@command
def check(session: Session, name: str) -> int:
    """Try a target out: whether it answers, what it has, what is missing and what to do. Exit code 1 if it does not work."""
    findings = session.workspace.targets.check(name)
    works = all(one.ok for one in findings)
    document = {
        "name": name,
        "works": works,
        "findings": [{"subject": f.subject, "ok": f.ok, "text": f.text, "hint": f.hint} for f in findings],
    }
    session.show(document, lambda: [line for one in findings for line in (
        f"{'ok' if one.ok else 'missing':<8} {one.subject:<12} {printable(one.text)}", *([f"{'':<21} → {printable(one.hint)}"] if one.hint else []))])  # fmt: skip
    return 0 if works else 1


@target.command(epilog=examples("wardian target delete big"))
@click.argument("name", shell_complete=complete_target)
@command
def delete(session: Session, name: str) -> None:
    """Forget a target; records of what ran there stay. Refused while runs of it have not ended."""
    session.workspace.targets.delete(name)
    session.show({"name": name, "deleted": True}, lambda: f"deleted {name}")


def _options(one: NamedTarget) -> str:
    return " ".join(f"{key}={value}" for key, value in one.options.items())
