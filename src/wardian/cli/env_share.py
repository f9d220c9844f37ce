"""`wardian env push|pull`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from wardian.cli.common import Session, command, examples, table
from wardian.cli.completion import complete_reference
from wardian.cli.views import version_row
from wardian.events import Event

if TYPE_CHECKING:
    from wardian.errors import WardianError


@click.command(epilog=examples("wardian env push sklearn:4", "wardian env push sklearn registry.example.org/team/envs"))
@click.argument("reference", metavar="REF", shell_complete=complete_reference)
@click.argument("registry", metavar="[REGISTRY]", required=False)
@command
def push(session: Session, reference: str, registry: str | None) -> None:
    """Put a version into a registry, with its locks and the images that it has. REGISTRY is HOST/REPOSITORY or oci:DIRECTORY."""
    done = session.workspace.environments.sharing.push(reference, registry)
    document = {
        **version_row(done.version),
        "registry": done.store,
        "new": done.new,
        "locks": list(done.locks),
        "images": list(done.images),
    }

    def text() -> list[str]:
        what = [f"locks for {', '.join(done.locks)}"] if done.locks else []
        what += [f"images for {', '.join(done.images)}"] if done.images else []
        return [
            f"{done.version} is in {done.store}{'' if done.new else ' (it was there)'}",
            *(f"  with {line}" for line in what),
        ]

    session.show(document, text)


@click.command(epilog=examples("wardian env pull registry.example.org/team/envs/sklearn:4", "wardian env pull sklearn"))
@click.argument("reference", metavar="[REGISTRY/]NAME[:V|@LABEL]")
@command
def pull(session: Session, reference: str) -> None:
    """Bring a shared version into this workspace, with its locks: nothing is solved. Without a registry: from the configured one."""
    version = session.workspace.environments.sharing.pull(reference)
    locks = session.workspace.environments.lock_digests(version)
    document = {**version_row(version), "locks": locks}
    session.show(document, lambda: [f"{version}  @{version.definition_hash.short}",
                                    *(f"  {platform}  lock {digest[:12]}" for platform, digest in locks.items())])  # fmt: skip


def show_shared(session: Session, registry: str | None) -> None:
    """Show the versions that a registry has; None: the configured one."""
    faults: list[dict[str, str]] = []

    def fault(tag: str, error: WardianError) -> None:
        faults.append({"tag": tag, "code": error.stable_code, "message": error.message})
        session.progress(Event("warning", error.message))

    found = session.workspace.environments.sharing.versions(registry, on_fault=fault)
    document = {"versions": [
        {"name": one.name, "version": one.version, "definition_hash": one.definition_hash, "created": one.created, "labels": list(one.labels),
         "description": one.description, "locks": dict(one.locks), "images": {name: dict(image) for name, image in one.images.items()}}
        for one in found
    ], "faults": faults}  # fmt: skip
    rows = [(f"{one.name}:{one.version}", one.definition_hash.short, one.created[:16].replace("T", " "), ", ".join(sorted(one.locks)),
             ", ".join(sorted(one.images)), ", ".join(one.labels), one.description[:50]) for one in found]  # fmt: skip
    session.show(
        document,
        lambda: (
            table(("VERSION", "HASH", "CREATED", "LOCKS", "IMAGES", "LABELS", "DESCRIPTION"), rows)
            if rows
            else "no shared versions" + (" that can be read" if faults else "")
        ),
    )
