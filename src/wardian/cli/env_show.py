"""`wardian env list|show|history|diff|hash`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from wardian.cli.common import Session, command, examples, table
from wardian.cli.completion import complete_reference
from wardian.cli.views import count_of, fault_rows, lock_document, outdated, package_rows, python_of, version_row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wardian.lock.lock import Lock
    from wardian.sdk.environments import EnvironmentCollection
    from wardian.workspace.version import EnvironmentVersion, HistoryEntry

_SHOWN = 10  # of what uses a version; --json has all


@click.command("list", epilog=examples(
    "wardian env list", "wardian env list --archived --json", "wardian env list --registry registry.example.org/team/envs",
))  # fmt: skip
@click.option(
    "--kind",
    type=click.Choice(["curated", "system", "user"]),
    help="Curated ones; or of yours only those whose packages Wardian installs, or only user-managed ones.",
)
@click.option("--archived", is_flag=True, help="Archived and deprecated ones too.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="At most this many.")
@click.option("--after", metavar="NAME", help="The page after this name.")
@click.option(
    "--registry",
    metavar="REGISTRY",
    help="The versions that are shared there: HOST/REPOSITORY, oci:DIRECTORY, or `-`: the configured one.",
)
@command
def list_(session: Session, kind: str | None, archived: bool, limit: int, after: str | None, registry: str | None) -> None:
    """List environments, the latest version of each; or all versions in a registry."""
    if registry is not None:
        from wardian.cli.env_share import show_shared

        show_shared(session, None if registry == "-" else registry)
        return
    if kind == "curated":
        _show_curated(session, with_deprecated=archived)
        return
    page = session.workspace.environments.list(limit=limit, after=after, include_archived=archived, kind=kind)
    document = {"environments": [version_row(v) for v in page.items], "next": page.next}
    if not page.items:
        session.say(
            "no environments yet: `wardian env create NAME -f FILE` makes one; `wardian env list --kind curated` shows what is there for all"
        )
    if page.next:
        session.say(f"more: --after {page.next}")
    session.show(document, lambda: table(("NAME", "VERSION", "HASH", "CREATED", "LABELS", "DESCRIPTION"), [
        (v.name, v.version, v.definition_hash.short, v.created[:16].replace("T", " "), ",".join(v.labels) + (" archived" if v.archived else ""), v.description[:50])
        for v in page.items
    ]) if page.items else [])  # fmt: skip


def _show_curated(session: Session, *, with_deprecated: bool) -> None:
    entries = session.workspace.catalogue.list(with_deprecated=with_deprecated)
    session.show({"environments": [entry.as_document() for entry in entries], "next": None}, lambda: table(
        ("NAME", "VERSION", "PYTHON", "ACCELERATOR", "PUBLISHED", "DESCRIPTION"),
        [(e.name, e.version, e.python, e.accelerator, e.published + (f", deprecated {e.deprecated}" if e.deprecated else ""), e.description) for e in entries],
    ))  # fmt: skip


@click.command(
    epilog=examples("wardian env show sklearn", "wardian env show sklearn:3 --packages", "wardian env show run:01h2x --json")
)
@click.argument("reference", metavar="REF", shell_complete=complete_reference)
@click.option("--packages", is_flag=True, help="List the packages of the lock.")
@click.option(
    "--usage",
    is_flag=True,
    help="Who uses it: labels, runs, versions that share its hash, lock or image, and those made from it.",
)
@command
def show(session: Session, reference: str, packages: bool, usage: bool) -> None:
    """Show a version: definition, identity and lock."""
    environments = session.workspace.environments
    version = environments.get(reference)
    lock = environments.find_lock(version)
    kind, text = environments.source(version)
    lineage = environments.lineage(str(version))
    from wardian.definition.document import to_document

    document: dict[str, Any] = {
        **version_row(version), "faults": fault_rows(version), "definition": to_document(version.environment), "source": {"format": kind, "text": text},
        "lineage": [{"reference": a.reference, "definition_hash": a.definition_hash, "note": a.note} for a in lineage],
        "lock": lock_document(lock, packages=True) if lock else None,
    }  # fmt: skip
    if usage:
        document["usage"] = session.workspace.environments.usage(version)
    origin = environments.derivation(version) if lineage else ""
    session.show(document, lambda: _shown(version, text, lock, document, origin, packages=packages))


def _shown(
    version: EnvironmentVersion, text: str, lock: Lock | None, document: dict[str, Any], origin: str, *, packages: bool
) -> list[str]:
    lines = [
        f"{version}",
        f"  hash       @{version.definition_hash.short}   ({version.definition_hash})",
        f"  created    {version.created}",
    ]
    if version.labels:
        lines.append(f"  labels     {', '.join(version.labels)}")
    if version.archived:
        lines.append("  archived   yes")
    if version.description:
        lines.append(f"  about      {version.description}")
    if version.tags:
        lines.append("  tags       " + ", ".join(f"{k}={v}" for k, v in version.tags.items()))
    lines += [f"  outdated   {text}" for text in outdated(version)]
    nearest = [_origin(a["reference"], a["note"]) for a in document["lineage"][:1]]
    lines += [f"  from       {text}" for text in dict.fromkeys((*nearest, *([origin] if origin else [])))]
    if lock is not None:
        lines.append(
            f"  lock       {lock.digest.short}   {lock.platform}, Python {python_of(lock)}, {count_of(lock)}, solved {lock.provenance.created[:10]}"
        )
        lines += [f"  note       {note}" for note in lock.provenance.notes]
    else:
        lines.append("  lock       none yet: `wardian env lock`, or the first run, makes it")
    lines += _usage(document["usage"]) if "usage" in document else []
    lines += ["", *("  " + line for line in text.rstrip().splitlines())]
    if packages and lock is not None:
        lines += ["", *table(("PACKAGE", "VERSION", "BUILD", "KIND", "SOURCE", "SIZE", "SHA256"), package_rows(lock))]
    return lines


def _usage(usage: dict[str, Any]) -> Iterator[str]:
    """Yield who uses a version; versions by what they have in common with it."""
    named = {"labels": "labels", "runs": "runs", "same_hash": "same hash", "same_lock": "same lock", "same_image": "same image",
             "descendants": "made of it", "models": "models", "endpoints": "endpoints"}  # fmt: skip
    for key, words in named.items():
        found = [*usage[key][:_SHOWN], *([f"{len(usage[key]) - _SHOWN} more"] if len(usage[key]) > _SHOWN else [])]
        if key == "runs" and usage["more_runs"]:
            found.append("and older ones")
        yield f"  {words:<10} {', '.join(found) or 'none'}"


def _origin(reference: str, note: str) -> str:
    return note if reference in note else f"{reference} {note}".rstrip()


@click.command(epilog=examples("wardian env history sklearn"))
@click.argument("name", shell_complete=complete_reference)
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="At most this many.")
@command
def history(session: Session, name: str, limit: int) -> None:
    """What changed from version to version, the newest first."""
    environments = session.workspace.environments
    page = environments.history(environments.name_of(name), limit=limit)
    changes = {e.version.id: _change(environments, e) for e in page.items}
    document = [
        {
            **version_row(e.version),
            "faults": fault_rows(e.version),
            "change": changes[e.version.id],
            "difference": e.difference.as_document() if e.difference else None,
        }
        for e in page.items
    ]
    for entry in page.items:
        for text in outdated(entry.version):
            session.say(f"{entry.version} is outdated: {text}")
    session.show({"history": document, "next": page.next}, lambda: table(("VERSION", "CREATED", "HASH", "LABELS", "CHANGE"), [
        (str(e.version), e.version.created[:16].replace("T", " "), e.version.definition_hash.short, ",".join(e.version.labels), changes[e.version.id] or "registered")
        for e in page.items
    ]))  # fmt: skip


def _change(environments: EnvironmentCollection, entry: HistoryEntry) -> str:
    """Return what a version changed; an upgrade keeps the definition, and says itself which packages it moved."""
    if entry.difference is None:
        return ""
    if not entry.difference.same_content:
        return entry.difference.summary()
    note = next((ancestor.note for ancestor in environments.lineage(str(entry.version))), "")
    return note or entry.difference.summary()


@click.command(
    epilog=examples(
        "wardian env diff sklearn:1 sklearn:2",
        "wardian env diff run:01h2x run:01h3y --json",
        "wardian env diff old.yml new.yml",
    )
)
@click.argument("left", metavar="A", shell_complete=complete_reference)
@click.argument("right", metavar="B", shell_complete=complete_reference)
@command
def diff(session: Session, left: str, right: str) -> None:
    """Compare two environments (references or files): settings, packages, and why their hashes differ."""
    from wardian.definition.reference import is_file_reference

    environments = session.workspace.environments
    first, second = (
        (environments.read(one).environment if is_file_reference(one) else environments.get(one)) for one in (left, right)
    )
    comparison = environments.compare(first, second)
    document = {**comparison.as_document(), "left": left, "right": right}

    def text() -> list[str]:
        hashes = dict.fromkeys(f"@{one.definition_hash.short}" for one in (first, second))
        lines = [f"{comparison.definition.text().rstrip()}  ({' → '.join(hashes)})"]
        if comparison.packages is None:
            lines.append("packages: not compared, as not both are locked; `wardian env lock` does that")
        else:
            lines.append(
                f"packages on {comparison.platform}:" if comparison.packages else f"packages on {comparison.platform}: the same"
            )
            if comparison.packages:
                lines.append(comparison.packages.text().rstrip())
        return lines

    session.show(document, text)


@click.command("hash", epilog=examples("wardian env hash requirements.txt", "wardian env hash sklearn:3"))
@click.argument("target", metavar="FILE|REF")
@command
def hash_(session: Session, target: str) -> None:
    """Print the definition's hash: what decides whether two environments share a lock and a prefix."""
    from wardian.definition.identity import definition_hash, hashed_fields
    from wardian.definition.reference import is_file_reference

    environments = session.workspace.environments
    if is_file_reference(target):
        env = environments.read(target).environment
        digest = definition_hash(env)
    else:
        version = environments.get(target)
        env, digest = version.environment, version.definition_hash  # the one that it got when it was registered
    session.show({"definition_hash": digest, "hashed": hashed_fields(env)}, lambda: digest)
