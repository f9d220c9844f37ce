"""``pylock.toml`` (PEP 751), for uv and pip."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardian.lock.exports.places import pinned_distributions, place_of, platform_marker, python_minor, quoted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wardian.definition.environment import Environment
    from wardian.lock.exports import Locate
    from wardian.lock.exports.places import Pinned
    from wardian.lock.lock import Lock


def write(environment: Environment, locks: Sequence[Lock], url_of: Locate) -> str:
    """Return the lock file; it may be called ``pylock.toml`` or ``pylock.<name>.toml``.

    Several platforms share one file: ``environments`` names them, wheels of one version stand together, and what is not wanted
    everywhere has a marker. What was built from source is the built wheel, its source recorded in ``tool.wardian``.
    Source:   PEP 751
    """
    pythons = {python_minor(lock) for lock in locks}
    lines = ['lock-version = "1.0"', f"environments = [{', '.join(quoted(_environment_marker(lock)) for lock in locks)}]"]
    if len(pythons) == 1 and (minor := pythons.pop()):
        lines.append(f"requires-python = {quoted(f'=={minor}.*')}")
    lines.append('created-by = "wardian"')
    everything = pinned_distributions(locks)
    names = [pinned.name for pinned in everything]
    for pinned in everything:
        lines += ["", *_package(environment, pinned, names, url_of)]
    lines += ["", "[tool.wardian.locks]"]
    lines += [f"{quoted(lock.platform)} = {quoted(lock.digest)}" for lock in locks]
    for lock in locks:
        if (python := lock.python) is not None:
            about = {"version": python.version, "build": python.build, "file": python.file, "sha256": python.sha256}
            lines += ["", f"[tool.wardian.python.{quoted(lock.platform)}]"]
            lines += [f"{key} = {quoted(value)}" for key, value in about.items() if value]
            if python.size_bytes is not None:
                lines.append(f"size = {python.size_bytes}")
    return "\n".join(lines) + "\n"


def _package(environment: Environment, pinned: Pinned, names: list[str], url_of: Locate) -> list[str]:
    lines = ["[[packages]]", f"name = {quoted(pinned.name)}", f"version = {quoted(pinned.version)}"]
    if pinned.marker:
        lines.append(f"marker = {quoted(pinned.marker)}")
    requires = sorted({artifact.requires_python for _, artifact in pinned.found if artifact.requires_python})
    if len(requires) == 1:
        lines.append(f"requires-python = {quoted(requires[0])}")
    # an entry has to name one package: a dependency with two versions in this file is left out
    if needs := [name for name in pinned.depends if names.count(name) == 1]:
        lines.append(f"dependencies = [{', '.join(f'{{ name = {quoted(name)} }}' for name in needs)}]")
    wheels: dict[str, str] = {}
    sdist, sources = "", {}
    for lock, artifact in pinned.found:
        place = place_of(environment, lock, artifact, url_of)
        entry = [
            f"name = {quoted(place.file)}",
            f"url = {quoted(place.url)}" if place.url else f"path = {quoted(place.path or '')}",
        ]
        if artifact.timestamp and not artifact.built:
            entry.append(f"upload-time = {artifact.timestamp}")
        if place.size_bytes is not None:
            entry.append(f"size = {place.size_bytes}")
        entry.append(f"hashes = {{ sha256 = {quoted(place.sha256)} }}")
        table = f"{{ {', '.join(entry)} }}"
        if artifact.kind == "sdist" and artifact.built is None:
            sdist = table
        else:
            wheels[place.file] = table
        if artifact.built is not None:
            sources = {
                "source": artifact.source,
                "source-file": artifact.file,
                "source-sha256": artifact.sha256,
                "revision": artifact.revision,
            }
    if sdist:
        lines.append(f"sdist = {sdist}")
    if wheels:
        lines += ["wheels = [", *(f"    {table}," for _, table in sorted(wheels.items())), "]"]
    if sources:
        lines += ["[packages.tool.wardian]", *(f"{key} = {quoted(value)}" for key, value in sources.items() if value)]
    return lines


def _environment_marker(lock: Lock) -> str:
    minor = python_minor(lock)
    return platform_marker(lock.platform) + (f" and python_version == '{minor}'" if minor else "")
