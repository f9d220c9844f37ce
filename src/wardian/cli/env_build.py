"""`wardian env lock|build|verify|export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from wardian.cli.common import Session, check_output, command, examples, size, table
from wardian.cli.completion import complete_reference
from wardian.cli.views import count_of, lock_document, package_rows, python_of, version_row

if TYPE_CHECKING:
    from datetime import datetime

    from wardian.workspace.version import EnvironmentVersion


def version_of(session: Session, target: str) -> EnvironmentVersion:
    """Return the version that a reference means, or that a file is registered as."""
    from wardian.definition.reference import is_file_reference

    environments = session.workspace.environments
    return environments.register_file(Path(target)) if is_file_reference(target) else environments.get(target)


_FIRST_YEAR, _LAST_YEAR = 1970, 9998  # around them a date has no end, or no time in UTC


def moment(_ctx: click.Context, _param: click.Parameter, value: str | None) -> datetime | None:
    """Parse ``--as-of``: a date means the end of that day, UTC."""
    if value is None:
        return None
    from datetime import UTC, datetime, timedelta

    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter(
            f"`{value}` is neither a date (2024-02-01) nor an RFC 3339 time (2024-02-01T12:00:00Z)"
        ) from None
    if not _FIRST_YEAR <= found.year <= _LAST_YEAR:
        raise click.BadParameter(f"nothing was published in the year {found.year}")
    if "T" not in value and " " not in value:
        return found.replace(tzinfo=UTC) + timedelta(days=1) - timedelta(seconds=1)
    if found.tzinfo is None:
        raise click.BadParameter(f"`{value}` has no time zone: write `{value}Z` for UTC")
    return found.astimezone(UTC)


as_of_option = click.option(
    "--as-of", callback=moment, metavar="DATE", help="Nothing published after this date (its end, UTC) or RFC 3339 time."
)


@click.command(epilog=examples(
    "wardian env lock sklearn", "wardian env lock environment.yml --platform linux/amd64 --platform linux/arm64",
    "wardian env lock requirements.txt --as-of 2024-02-01 --json",
))  # fmt: skip
@click.argument("target", metavar="REF|FILE", shell_complete=complete_reference)
@click.option(
    "--platform",
    "platforms",
    multiple=True,
    metavar="P",
    help="linux/amd64, linux/arm64, darwin/arm64 …; may be given several times.",
)
@as_of_option
@command
def lock(session: Session, target: str, platforms: tuple[str, ...], as_of: datetime | None) -> None:
    """Find the exact artifacts of an environment, for all platforms in one go, and show them."""
    version = version_of(session, target)
    locks = session.workspace.environments.lock(version, platforms=platforms, as_of=as_of)
    document = {**version_row(version), "locks": {name: lock_document(one, packages=True) for name, one in locks.items()}}

    def text() -> list[str]:
        lines = [f"{version}  @{version.definition_hash.short}" if version.name else str(version)]
        for name, one in locks.items():
            lines += ["", f"{name}  lock {one.digest.short}  Python {python_of(one)}  {count_of(one)}  solved {one.provenance.created}",
                      *(f"note: {note}" for note in one.provenance.notes),
                      *table(("PACKAGE", "VERSION", "BUILD", "KIND", "SOURCE", "SIZE", "SHA256"), package_rows(one))]  # fmt: skip
        return lines

    session.show(document, text)


@click.command(epilog=examples(
    "wardian env build sklearn", 'code --python "$(wardian env build sklearn --print-python)"', "wardian env build sklearn --image",
    "wardian env build sklearn --image --platform linux/amd64 --platform linux/arm64", "wardian env build sklearn --image --detach",
))  # fmt: skip
@click.argument("target", metavar="REF|FILE", shell_complete=complete_reference)
@click.option(
    "--image", "as_image", is_flag=True, help="Build its image, into the configured registry or this machine's store."
)
@click.option(
    "--platform",
    "platforms",
    multiple=True,
    metavar="P",
    help="With --image: linux/amd64, linux/arm64; default: this machine's.",
)
@click.option("-d", "--detach", is_flag=True, help="With --image: return at once with the build's id; the build goes on.")
@click.option("--print-python", is_flag=True, help="Print the interpreter's path alone: for an IDE.")
@command
def build(session: Session, target: str, as_image: bool, platforms: tuple[str, ...], detach: bool, print_python: bool) -> None:
    """Install the environment on this machine, or build its image; nothing is done if it is there."""
    if platforms and not as_image:
        raise click.UsageError("--platform is for images: add --image")
    if detach and not as_image:
        raise click.UsageError("--detach is for images: add --image")
    if print_python and as_image:
        raise click.UsageError("an image has no Python on this machine: leave --print-python or --image out")
    version = version_of(session, target)
    if detach:
        begun = session.workspace.images.submit(version, platforms=platforms)
        session.show({**version_row(version), "build_id": begun.id}, lambda: begun.id)
        session.say(f"`wardian build logs -f {begun.id}` follows it")
        return
    if as_image:
        _build_images(session, version, platforms)
        return
    prefix, locked = session.workspace.environments.build(version, compile_now=True)
    document = {
        **version_row(version), "lock_digest": locked.chosen.lock_digest, "lock_origin": locked.origin, "prefix": str(prefix.path),
        "prefix_key": prefix.key, "python": prefix.python, "cached": prefix.cached,
    }  # fmt: skip
    if print_python:
        if not prefix.python:
            from wardian.sdk.prepare import no_python

            raise no_python(version)
        session.show(document, lambda: prefix.python)
        return
    session.show(document, lambda: [f"{version}  lock {locked.chosen.lock_digest.short}  {'cached' if prefix.cached else 'installed'}",
                                    f"  prefix  {prefix.path}", f"  python  {prefix.python or 'none'}"])  # fmt: skip


def _build_images(session: Session, version: EnvironmentVersion, platforms: tuple[str, ...]) -> None:
    collection, index = session.workspace.images, None
    if len(set(platforms)) > 1:
        index, images = collection.build_index(version, platforms=platforms)
    else:
        images = collection.build(version, platforms=platforms)
    named = (
        {"reference": index.reference, "digest": index.digest, "tag": index.tag, "platforms": list(index.platforms)}
        if index
        else None
    )
    document = {**version_row(version), "index": named, "images": [
        {"platform": one.platform, "reference": one.reference, "digest": one.digest, "image_key": one.key, "store": one.store,
         "origin": one.origin, "size_bytes": one.size_bytes, "cached": one.cached, "build_id": one.build_id or None, "notes": list(one.notes)}
        for one in images
    ]}  # fmt: skip

    def text() -> list[str]:
        lines = []
        for one in images:
            how = "known" if one.cached and one.origin == "built" else one.origin
            lines += [f"{version}  {one.platform}  {size(one.size_bytes)}  {how}", f"  image  {one.reference}"]
            if one.build_id:
                lines.append(f"  build  {one.build_id}")
            lines += [f"  note   {note}" for note in one.notes]
        if index is not None:
            lines += [f"{version}  {', '.join(index.platforms)}", f"  index  {index.reference}"]
        return lines

    session.show(document, text)


@click.command(epilog=examples("wardian env verify sklearn", "wardian env verify sklearn --rebuild"))
@click.argument("target", metavar="REF", shell_complete=complete_reference)
@click.option("--rebuild", is_flag=True, help="Make the image again in an empty cache, and compare its layers.")
@command
def verify(session: Session, target: str, rebuild: bool) -> int:
    """Read every file of the environment on this machine, and name what is changed, missing or extra. Exit 1 if anything is.

    With --rebuild it is the image that is verified: whether what its lock names still gives the same bytes.
    """
    if rebuild:
        return _verify_image(session, version_of(session, target))
    version = version_of(session, target)
    prefix, findings = session.workspace.environments.verify(version)

    def text() -> list[str]:
        lines = [f"{kind}  {name}" for kind in ("changed", "missing", "extra") for name in getattr(findings, kind)]
        verdict = "clean" if findings.clean else f"{len(lines)} differ{'s' if len(lines) == 1 else ''}"
        return [*lines, f"{version}: {findings.checked} files checked, {verdict}"]

    session.show({"reference": str(version), "prefix": str(prefix.path), **findings.as_document()}, text)
    if not findings.clean:
        session.say(f"hint:  `wardian gc --prefix {prefix.path.name[:12]} --apply` removes it; the next run installs it anew")
    return 0 if findings.clean else 1


def _verify_image(session: Session, version: EnvironmentVersion) -> int:
    found = session.workspace.images.rebuild(version)
    words = {"content": "other files", "compressed": "the same files, compressed otherwise", "missing": "not made again",
             "extra": "only made again"}  # fmt: skip

    def text() -> list[str]:
        lines = [f"{words[layer.state]}  {', '.join(layer.packages) or 'a layer of the base image'}  sha256:{layer.digest[:12]}"
                 f" → sha256:{layer.again_digest[:12]}" for layer in found.differing]  # fmt: skip
        lines += ["other settings  the image's configuration"] if found.config_differs and not found.differing else []
        verdict = "the same bytes" if found.same else f"{len(found.differing) or 1} differ"
        return [*lines, *(f"note: {note}" for note in found.notes),
                f"{version}  {found.platform}: {sum(bool(layer.packages) for layer in found.layers)} layers made again, {verdict}  sha256:{found.again_digest[:12]}"]  # fmt: skip

    session.show(found.as_document(), text)
    return 0 if found.same else 1


@click.command(epilog=examples(
    "wardian env export sklearn --to requirements -o locked.txt", "wardian env export sklearn:2 --to pylock -o pylock.toml",
    "wardian env export geo --to explicit", "wardian env export geo --to source", "wardian env export geo --to azureml-v2 -o azureml.yml",
))  # fmt: skip
@click.argument("target", metavar="REF", shell_complete=complete_reference)
@click.option("--to", "to", required=True, type=click.Choice(["conda", "requirements", "pylock", "pixi", "explicit", "wardian", "source", "azureml-v2", "azureml-v1"]),
              help="conda: pinned environment.yml; source: as it was written; azureml-v1: a directory.")  # fmt: skip
@click.option("-o", "--output", type=click.Path(path_type=Path), help="A file, or azureml-v1's directory; default: stdout.")
@click.option("--force", is_flag=True, help="Write over what is there.")
@command
def export(session: Session, target: str, to: str, output: Path | None, force: bool) -> None:
    """Write the lock, or the definition, in another format."""
    environments = session.workspace.environments
    version = version_of(session, target)
    if output is not None:
        if to != "azureml-v1" and output.is_dir():
            raise click.UsageError(f"`{output}` is a directory: name a file")
        check_output(output, force=force)
    if to.startswith("azureml-"):
        _export_definition(session, version, to, output, force=force)
        return
    text = environments.export(version, to)
    if output is None:
        session.show({"format": to, "text": text, "losses": session.progress.losses}, lambda: text, exact=True)
        return
    from wardian.tools.disk import write_atomically

    place = output.absolute()
    beside = environments.export_archives(version, to)
    for path, archive in beside.items():
        write_atomically(place.parent / path, archive.read_bytes())
    write_atomically(place, text.encode())
    document = {"output": str(output), "format": to, "archives": sorted(beside), "losses": session.progress.losses}
    session.show(document, lambda: [f"wrote {output}", *(f"wrote {path}" for path in sorted(beside))])


def _export_definition(session: Session, version: EnvironmentVersion, to: str, output: Path | None, *, force: bool) -> None:
    environments = session.workspace.environments
    written = environments.export_definition(version, to)
    if output is None:
        session.show({"format": to, "text": written.text, "losses": session.progress.losses}, lambda: written.text, exact=True)
        if not written.is_directory and (beside := [*(written.files or ()), *(written.trees or ())]):
            session.say(f"hint:  `-o FILE` writes {' and '.join(beside)} beside it")
        return
    paths = environments.write_definition(written, output.absolute(), force=force)
    document = {"output": str(output), "format": to, "archives": paths, "losses": session.progress.losses}
    session.show(document, lambda: [f"wrote {(output if written.is_directory else output.parent) / path}" for path in paths])
