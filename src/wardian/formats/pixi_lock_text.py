"""``pixi.lock``: the packages of one of its environments on each platform, conda's and those from PyPI."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

from wardian.definition.platform import PLATFORMS
from wardian.definition.project_name import PROJECT_NAME, canonical_name
from wardian.digest import Digest
from wardian.errors import InvalidDefinition
from wardian.formats.faults import Faults
from wardian.formats.locked_input import LockedConda, LockedInput, LockedPackage, LockedPlatform
from wardian.formats.source_text import plain_text
from wardian.formats.yaml_text import YamlMapping, YamlScalar, YamlSequence, compose

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wardian.formats.yaml_text import YamlNode

VERSIONS = (4, 5, 6, 7)
SELECTION = "wardian"  # the key of a kept text that says which environment is meant
_LIMIT_VALUES = 2_000_000
_FILE = re.compile(r"(?P<name>[A-Za-z0-9_][A-Za-z0-9_.-]*)-(?P<version>[^-/]+)-(?P<build>[^-/]+)\.(?:conda|tar\.bz2)")
_BUILD_NUMBER = re.compile(r"(?:^|[^0-9])([0-9]{1,18})$")
_SUBDIRS = {platform.subdir: platform.name for platform in PLATFORMS.values()}
_HINT = "`pixi lock` writes it anew"


def parse(text: str, file: str) -> LockedInput:
    """Return what the lock file says of the environment that the text itself means, ``default`` unless it says another.

    Raises:   InvalidDefinition: all its faults.
    """
    faults = Faults(file)
    lock = PixiLock(plain_text(text), faults)
    found = lock.input(lock.selected)
    faults.raise_if_any()
    return found


def derived_build_number(build: str) -> int:
    """Return the number that a build string ends in, 0 if in none: what an entry means that states no build number.

    Source:   rattler_lock, file format versions 6 and 7: derived fields
    """
    match = _BUILD_NUMBER.search(build)
    return int(match[1]) if match else 0


class PixiLock:
    """One file. Faults go to ``faults``.

    Raises:   InvalidDefinition: it is no YAML mapping, or of an unknown version.
    Source:   rattler_lock, file format versions 4 to 7
    """

    def __init__(self, text: str, faults: Faults) -> None:
        self.faults = faults
        root = compose(text, faults, limit_values=_LIMIT_VALUES)
        if not isinstance(root, YamlMapping):
            if not faults:
                faults.add("wrong_type", "this is no YAML mapping", line=1)
            raise InvalidDefinition(faults.found)
        self.root = root
        version = _text(root.find("version"))
        if version not in map(str, VERSIONS):
            node = root.find("version")
            faults.add("lock_version", "this is no pixi.lock of version 4 to 7", line=node.line if node else 1, field="version",
                       hint="a newer pixi may write it so; an older one needs `pixi lock`")  # fmt: skip
            faults.raise_if_any()
        self._entries: dict[tuple[str, str], YamlMapping] = {}
        for node in self._items(root, "packages", "packages"):
            if isinstance(node, YamlMapping) and (named := _named(node)) is not None:
                self._entries[named] = node
            else:
                faults.add(
                    "bad_package",
                    "an entry is a mapping with `conda:` or `pypi:` and its place",
                    line=node.line,
                    field="packages",
                )

    @property
    def environments(self) -> tuple[str, ...]:
        """The names of the environments."""
        found = self.root.find("environments")
        return found.keys if isinstance(found, YamlMapping) else ()

    @property
    def selected(self) -> str:
        """The environment that the text means."""
        found = self.root.find(SELECTION)
        return _text(found.find("environment")) if isinstance(found, YamlMapping) else "default"

    def urls(self, environment: str, key: str) -> tuple[str, ...]:
        """Return the ``channels`` or ``indexes`` of an environment, in order."""
        found = []
        for node in self._items(self._environment(environment), key, f"environments.{environment}.{key}"):
            url = _text(node.find("url")) if isinstance(node, YamlMapping) else _text(node)
            if url:
                found.append(url.rstrip("/"))
            else:
                self.faults.add("wrong_type", "this must be a URL", line=node.line, field=f"environments.{environment}.{key}")
        return tuple(found)

    def input(self, environment: str) -> LockedInput:
        """Return the packages of ``environment``; a name that the file does not have is a fault."""
        table = self._environment(environment).find("packages")
        indexes = self.urls(environment, "indexes")
        platforms: dict[str, LockedPlatform] = {}
        if not isinstance(table, YamlMapping):
            line = table.line if table is not None else self.root.line
            self.faults.add(
                "wrong_type",
                "`packages` of an environment is a mapping from platforms",
                line=line,
                field=f"environments.{environment}.packages",
            )
            return LockedInput((), "", (), {}, platforms={})
        for key, node in table.entries:
            if key.value not in _SUBDIRS:
                continue  # a platform that Wardian does not know: nothing is locked for it
            platforms[_SUBDIRS[key.value]] = self._platform(node, f"environments.{environment}.packages.{key.value}", indexes)
        everything = {(package.name, package.version): package for one in platforms.values() for package in one.packages}
        return LockedInput(tuple(everything.values()), "", (), {}, platforms=platforms, indexes=indexes)

    def _environment(self, name: str) -> YamlMapping:
        table = self.root.find("environments")
        found = table.find(name) if isinstance(table, YamlMapping) else None
        if isinstance(found, YamlMapping):
            return found
        known = ", ".join(self.environments) or "none"
        self.faults.add("unknown_environment", f"the lock file has no environment `{name[:80]}`", line=table.line if table else 1,
                        field="environments", hint=f"known ones: {known}")  # fmt: skip
        raise InvalidDefinition(self.faults.found)

    def _platform(self, node: YamlNode, field: str, indexes: tuple[str, ...]) -> LockedPlatform:
        conda, pypi = [], []
        for number, item in enumerate(node.items if isinstance(node, YamlSequence) else ()):
            named = _named(item) if isinstance(item, YamlMapping) else None
            entry = self._entries.get(named) if named is not None else None
            if named is None or entry is None:
                self.faults.add(
                    "bad_package",
                    "this is not among the `packages` of the file",
                    line=item.line,
                    field=f"{field}[{number}]",
                    hint=_HINT,
                )
            elif named[0] == "conda":
                if (one := self._conda(entry, named[1])) is not None:
                    conda.append(one)
            elif (package := self._pypi(entry, named[1], indexes)) is not None:
                pypi.append(package)
        return LockedPlatform(tuple(conda), tuple(pypi))

    def _conda(self, entry: YamlMapping, url: str) -> LockedConda | None:
        channel, _, file = url.partition("#")[0].rpartition("/")
        channel, _, place = channel.rpartition("/")
        match = _FILE.fullmatch(unquote(file))
        if match is None or "://" not in url:
            what = "is a file of one machine" if match else "is built from source by pixi"
            self._fault(entry, "locked_elsewhere", f"`{url[:120]}` {what}: such a package is not taken from a lock file",
                        "publish it on a channel")  # fmt: skip
            return None
        sha256 = self._digest(entry, f"{file}")
        if sha256 is None:
            return None
        build = self._text(entry, "build") or match["build"]
        subdir = self._text(entry, "subdir") or place
        number = self._number(entry, "build_number")
        noarch = self._text(entry, "noarch") or (("python" if "py" in build else "generic") if subdir == "noarch" else "")
        stamp = self._number(entry, "timestamp")
        return LockedConda(
            name=self._text(entry, "name") or match["name"].lower(), version=self._text(entry, "version") or match["version"], build=build,
            build_number=derived_build_number(build) if number is None else number, subdir=subdir, file=unquote(file), channel=channel,
            sha256=sha256, size_bytes=self._number(entry, "size"), depends=self._texts(entry, "depends"),
            constrains=self._texts(entry, "constrains"), noarch="" if noarch == "false" else noarch, license=self._text(entry, "license"),
            milliseconds=stamp, site_packages_path=self._text(entry, "python_site_packages_path"),
        )  # fmt: skip

    def _pypi(self, entry: YamlMapping, place: str, indexes: tuple[str, ...]) -> LockedPackage | None:
        name, version = self._text(entry, "name"), self._text(entry, "version")
        if not re.fullmatch(PROJECT_NAME, name):
            self._fault(entry, "bad_package", "a package has no name")
            return None
        if version and not _is_version(version):
            self._fault(entry, "bad_package", f"`{version[:60]}` is no version of {name}")
            return None
        needs = self._texts(entry, "requires_dist")
        depends = sorted(
            {canonical_name(match[0]) for text in needs if (match := re.match(PROJECT_NAME, text))} - {canonical_name(name)}
        )
        file = place.partition("#")[0].partition("?")[0].rpartition("/")[2]
        files, address = {}, ""
        if place.startswith("git+"):
            url, _, commit = place.partition("#")
            bare, _, query = url.partition("?")
            subdirectory = re.search(r"(?:^|&)subdirectory=([^&]*)", query)
            address = f"{bare}@{commit}" + (f"#subdirectory={subdirectory[1]}" if subdirectory else "")
        elif "://" in place:
            digest = self._digest(entry, unquote(file))
            if digest is None or not version:
                if digest is not None:
                    self._fault(entry, "bad_package", f"{name} has no version")
                return None
            files[unquote(file)] = digest
        else:
            address = place if place.startswith((".", "/")) else f"./{place}"
            if file.endswith((".whl", ".tar.gz", ".zip")) and (digest := self._digest(entry, file)) is not None:
                files[file] = digest
        index = self._text(entry, "index").rstrip("/") or (indexes[0] if len(indexes) == 1 else None)
        return LockedPackage(canonical_name(name), version, "", index, files, tuple(depends), address)

    def _digest(self, entry: YamlMapping, file: str) -> Digest | None:
        text = self._text(entry, "sha256")
        if re.fullmatch(r"[0-9a-f]{64}", text):
            return Digest(text)
        self._fault(entry, "hash_missing", f"{file[:120]} has no sha256", _HINT)
        return None

    # -- values --------------------------------------------------------------------------------------------------------

    def _items(self, node: YamlMapping, key: str, field: str) -> Iterable[YamlNode]:
        found = node.find(key)
        if found is None or isinstance(found, YamlSequence):
            return found.items if found is not None else ()
        self.faults.add("wrong_type", f"`{key}` must be a list", line=found.line, field=field)
        return ()

    def _text(self, entry: YamlMapping, key: str) -> str:
        found = entry.find(key)
        if found is None or isinstance(found, YamlScalar):
            return "" if found is None or found.is_null else found.value
        self._fault(entry, "wrong_type", f"`{key}` must be a text")
        return ""

    def _texts(self, entry: YamlMapping, key: str) -> tuple[str, ...]:
        items = list(self._items(entry, key, "packages"))
        if all(isinstance(item, YamlScalar) for item in items):
            return tuple(_text(item) for item in items)
        self._fault(entry, "wrong_type", f"`{key}` must be a list of texts")
        return ()

    def _number(self, entry: YamlMapping, key: str) -> int | None:
        text = self._text(entry, key)
        if not text or re.fullmatch(r"[0-9]{1,18}", text):
            return int(text) if text else None
        self._fault(entry, "wrong_type", f"`{key}` must be a number, not `{text[:60]}`")
        return None

    def _fault(self, entry: YamlMapping, code: str, message: str, hint: str | None = None) -> None:
        self.faults.add(code, message, line=entry.line, field="packages", hint=hint)


def _is_version(text: str) -> bool:
    from packaging.version import InvalidVersion, Version

    try:
        Version(text)
    except InvalidVersion:
        return False
    return True


def _named(node: YamlMapping) -> tuple[str, str] | None:
    """Return kind and place of an entry: ``conda: URL``; before version 6 ``kind: conda`` and ``url`` or ``path``."""
    for kind in ("conda", "pypi"):
        if place := _text(node.find(kind)):
            return kind, place
    kind, place = _text(node.find("kind")), _text(node.find("url")) or _text(node.find("path"))
    return (kind, place) if kind in ("conda", "pypi") and place else None


def _text(node: YamlNode | None) -> str:
    return node.value if isinstance(node, YamlScalar) and not node.is_null else ""
