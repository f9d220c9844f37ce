"""What the tab key offers. Where something is wrong it offers nothing: it is no place for errors."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from wardian.cli.common import Session
from wardian.errors import WardianError

if TYPE_CHECKING:
    import click
    from click.shell_completion import CompletionItem

    from wardian.sdk.workspace import Workspace


def complete_reference(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the names of environments, after NAME: its versions, after run: the ids of runs, after model: models, after endpoint: endpoints, and where none fits the names of files."""
    from click.shell_completion import CompletionItem

    if incomplete.startswith("model:"):
        found_models = complete_model(ctx, _param, incomplete.removeprefix("model:"))
        return [CompletionItem(f"model:{item.value}", help=item.help) for item in found_models]
    if incomplete.startswith("endpoint:"):
        found_endpoints = complete_endpoint(ctx, _param, incomplete.removeprefix("endpoint:"))
        return [CompletionItem(f"endpoint:{item.value}", help=item.help) for item in found_endpoints]
    if incomplete.startswith("run:"):
        found_runs = complete_run(ctx, _param, incomplete.removeprefix("run:"))
        return [CompletionItem(f"run:{item.value}", help=item.help) for item in found_runs]
    if curated := complete_curated(ctx, _param, incomplete):
        return curated
    name, colon, _ = incomplete.partition(":")
    found: list[str] = []
    if "/" not in incomplete:
        try:
            environments = _existing(ctx).environments
            versions = environments.versions(name, limit=200) if colon else environments.list(limit=1000)
            found = [str(version) if colon else version.name or "" for version in versions]
        except WardianError:
            found = []
    fitting = [CompletionItem(text) for text in found if text.startswith(incomplete)]
    return fitting or [CompletionItem(incomplete, type="file")]


def complete_curated(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the names of curated environments, after NAME: its versions; they need no workspace."""
    from click.shell_completion import CompletionItem

    from wardian.sdk.workspace import Workspace

    if incomplete[:1] != "W":
        return []
    try:
        catalogue = Workspace(Session(ctx.params.get("workspace_name"), as_json=True).settings).catalogue
        name, colon, _ = incomplete.partition(":")
        entries = catalogue.versions(name) if colon else catalogue.list()
    except WardianError:
        return []
    found = [(entry.reference if colon else entry.name, entry.description) for entry in entries]
    return [CompletionItem(text, help=said) for text, said in found if text.startswith(incomplete)]


def complete_run(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the ids of runs, newest first, each with what it ran."""
    from click.shell_completion import CompletionItem

    try:
        runs = [run.record for run in _existing(ctx).runs.list(limit=100)]
    except WardianError:
        return []
    found = [(run.id, f"{run.state} {run.configuration.command}") for run in runs]
    found.append(("latest", "the newest"))
    return [CompletionItem(run_id, help=text) for run_id, text in found if run_id.startswith(incomplete)]


def complete_model(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the names of models, after NAME: its versions, each with what it was trained with."""
    from click.shell_completion import CompletionItem

    name, colon, _ = incomplete.partition(":")
    try:
        models = _existing(ctx).models
        found = [one.record for one in (models.versions(name, limit=200) if colon else models.list(limit=1000))]
    except WardianError:
        return []
    items = [(one.reference if colon else one.name, one.environment or "") for one in found]
    return [CompletionItem(text, help=said) for text, said in items if text.startswith(incomplete)]


def complete_target(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the names of targets, each with its kind; the built-in ones need no workspace."""
    from click.shell_completion import CompletionItem

    from wardian.run.targets.kinds import BUILT_IN

    found = [(name, "built in") for name in BUILT_IN]
    with contextlib.suppress(WardianError):
        found += [(one.name, one.kind) for one in _existing(ctx).targets.list() if not one.is_built_in]
    return [CompletionItem(name, help=text) for name, text in found if name.startswith(incomplete)]


def complete_endpoint(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the names of endpoints, each with its address."""
    from click.shell_completion import CompletionItem

    try:
        records = _existing(ctx).parts.endpoints.list()
    except WardianError:
        return []
    return [CompletionItem(one.name, help=one.url or "") for one in records if one.name.startswith(incomplete)]


def complete_kind(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the kinds of targets."""
    from click.shell_completion import CompletionItem

    from wardian.run.targets.kinds import KINDS, kind_named

    return [CompletionItem(name, help=kind_named(name).text) for name in KINDS if name.startswith(incomplete)]


def _existing(ctx: click.Context) -> Workspace:
    """Return the workspace that is meant, made by nobody's tab key.

    Raises:   NotFound: it does not exist yet.
    """
    from wardian.errors import NotFound
    from wardian.sdk.workspace import Workspace

    session = Session(ctx.params.get("workspace_name"), as_json=True)
    if not (session.settings.home / "workspaces" / session.settings.workspace).is_dir():
        raise NotFound("there is no workspace yet")
    return Workspace.open(session.settings.workspace)
