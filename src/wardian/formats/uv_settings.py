"""[tool.uv] of a pyproject.toml or script: what of it a definition can say."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from wardian.definition.environment import INDEX_STRATEGIES
from wardian.definition.local_path import looks_like_path
from wardian.definition.requirement import canonical_name
from wardian.errors import InvalidInput
from wardian.formats.toml_text import field_of

if TYPE_CHECKING:
    from wardian.formats.toml_reading import TomlReading
    from wardian.formats.toml_text import TomlPath

# They change what is installed, and a definition has no word for them
_NOT_READ = frozenset({
    "build-constraint-dependencies", "config-settings", "config-settings-package", "conflicts", "dependency-metadata", "environments",
    "exclude-dependencies", "exclude-newer", "exclude-newer-package", "extra-build-dependencies", "extra-build-variables",
    "fork-strategy", "keyring-provider", "no-build-isolation", "no-build-isolation-package", "no-sources", "no-sources-package",
    "override-dependencies", "required-environments", "resolution", "torch-backend",
})  # fmt: skip


def read_uv_settings(reading: TomlReading, path: TomlPath = ("tool", "uv")) -> None:
    """Take what ``[tool.uv]`` says: indexes, sources, constraints and the choice of files; warn of what cannot be said.

    To be called before requirements are read, because ``sources`` change them.

    Source:   uv's settings reference; semantics §3 on pip options
    """
    settings = reading.table(path)
    _indexes(reading, (*path, "index"))
    if (url := reading.string((*path, "index-url"))) is not None:
        reading.option((*path, "index-url"), "--index-url", url)
    for name, option in (("extra-index-url", "--extra-index-url"), ("find-links", "--find-links")):
        for place, value in reading.strings((*path, name)):
            reading.option(place, option, value)
    if reading.flag((*path, "no-index")):
        reading.option((*path, "no-index"), "--no-index")
    for name, option in (("no-binary", "--no-binary"), ("no-build", "--only-binary")):
        if reading.flag((*path, name)):
            reading.option((*path, name), option, ":all:")
        for place, value in reading.strings((*path, f"{name}-package")):
            reading.option(place, option, value)
    prerelease = reading.string((*path, "prerelease"))
    if prerelease == "allow":
        reading.option((*path, "prerelease"), "--pre")
    elif prerelease not in (None, "if-necessary-or-explicit"):
        _not_read(reading, (*path, "prerelease"))
    for place, value in reading.strings((*path, "allow-insecure-host")):
        reading.option(place, "--trusted-host", value)
    strategy = reading.string((*path, "index-strategy"))
    if strategy in INDEX_STRATEGIES:
        reading.settings["index_strategy"] = strategy
    elif strategy is not None:
        reading.fault(
            (*path, "index-strategy"), "unknown_index_strategy", f"`{strategy}` is none of {', '.join(INDEX_STRATEGIES)}"
        )
    for key in settings:
        if key in _NOT_READ:
            _not_read(reading, (*path, key))
    _sources(reading, (*path, "sources"))
    reading.constrain((*path, "constraint-dependencies"))


def _indexes(reading: TomlReading, path: TomlPath) -> None:
    for i in range(len(reading.items(path))):
        place = (*path, i)
        index = reading.table(place)
        url = reading.string((*place, "url"))
        if url is None:
            if index and "url" not in index:
                reading.fault(place, "missing_key", "an index needs a `url`")
        elif reading.flag((*place, "explicit")):
            reading.warn(place, "setting_not_read", "an explicit index is left out: a definition cannot tie a package to an index",
                         "name the file's URL in the requirement")  # fmt: skip
        elif index.get("format") == "flat":
            reading.option((*place, "url"), "--find-links", url)
        else:
            reading.option((*place, "url"), "--index-url" if reading.flag((*place, "default")) else "--extra-index-url", url)


def _sources(reading: TomlReading, path: TomlPath) -> None:
    for name in reading.table(path):
        place = (*path, name)
        if not isinstance(reading.toml.get(place), dict):
            _not_read(reading, place)
            continue
        with reading.faults.wrap(reading.line_of(place), field_of(place)):
            source = _source(reading, place)
            if source is None:
                _not_read(reading, place)
            else:
                reading.sources[canonical_name(name)] = source


def _source(reading: TomlReading, place: TomlPath) -> str | None:
    """Return what stands behind the `@` of a requirement from this source; None if it cannot be said so."""
    table = reading.table(place)
    texts = {key: reading.string((*place, key)) for key in ("path", "url", "git", "rev", "tag", "branch", "subdirectory")}
    subdirectory = texts.get("subdirectory")
    fragment = f"#subdirectory={subdirectory}" if subdirectory else ""
    if "marker" in table or "extra" in table or "group" in table:
        return None
    if path := texts.get("path"):
        if subdirectory:
            return None
        return path if looks_like_path(path) else f"./{path}"
    if url := texts.get("url"):
        return f"{url}{fragment}"
    if git := texts.get("git"):
        revisions = [texts[key] for key in ("rev", "tag", "branch") if texts.get(key)]
        if len(revisions) > 1:
            raise InvalidInput("one of `rev`, `tag` and `branch` names a revision", code="bad_source")
        revision = f"@{revisions[0]}" if revisions else ""
        return f"{git if re.match(r'git[+]', git) else f'git+{git}'}{revision}{fragment}"
    return None


def _not_read(reading: TomlReading, path: TomlPath) -> None:
    reading.warn(path, "setting_not_read", "uv would heed this setting; a definition has no word for it, so it is left out")
