"""From uv's pins to the exact files: which wheel, or what is to be built, of which digest and from where."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from wardian.definition.requirement import canonical_name
from wardian.digest import Digest
from wardian.errors import SolveFailed
from wardian.lock.direct_archives import file_of, kind_of
from wardian.lock.lock import Artifact
from wardian.lock.wheel_choice import best_wheel
from wardian.tools.http import split_credentials, without_credentials

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wardian.definition.platform import Platform
    from wardian.definition.requirement import PipRequirement
    from wardian.lock.direct_archives import DirectArchives
    from wardian.lock.indexes import IndexPlan
    from wardian.lock.pins import Pin
    from wardian.lock.ports import Archives
    from wardian.lock.pypi import PipTarget
    from wardian.lock.sources import SourceBuilder


@dataclass(slots=True)
class PipArtifacts:
    """The files of one solve.

    Attributes:
        platform: with what the definition declares of it; ``lock_platform``: as it is named.
        wanted: the definition's requirements, in order.
        local: place of a tree in this work → position and requirement.
    """

    archives: Archives
    sources: SourceBuilder
    direct: DirectArchives
    plan: IndexPlan
    platform: Platform
    lock_platform: Platform
    target: PipTarget
    wanted: Sequence[PipRequirement]
    local: dict[str, tuple[int, PipRequirement]] = field(default_factory=dict)

    def artifact(self, pin: Pin, files: Mapping[str, dict[str, Any]], needs: Mapping[str, tuple[str, ...]]) -> Artifact:
        """Return the file that ``pin`` comes to, built if it is source code.

        Args:     files: what the indexes have, by name.  needs: what each distribution depends on, by name.
        Raises:   SolveFailed: codes ``no_file``, ``indirect_vcs``, ``wrong_digest``.  BuildFailed.  As ``Archives.obtain``.
        """
        if pin.version:
            return self._from_index(pin, files[pin.name], needs.get(pin.name, ()))
        url = pin.url or pin.text
        if url.startswith("git+"):
            position, requirement = self._requirement_for(pin)
            built = self.sources.from_git(url, position, requirement)
        elif local := self._local_for(url):
            built = self.sources.from_tree(*local)
        else:
            return self._from_url(pin, url, needs.get(pin.name, ()))
        return self._with_needs(built, needs)

    @staticmethod
    def _with_needs(artifact: Artifact, needs: Mapping[str, tuple[str, ...]]) -> Artifact:
        from dataclasses import replace

        return replace(artifact, depends=needs.get(artifact.name, ()))

    def _local_for(self, text: str) -> tuple[Path, int, PipRequirement] | None:
        path = unquote(urlsplit(text).path) if text.startswith("file:") else text.partition("[")[0]
        resolved = str(Path("/nowhere") / path) if path.startswith("/") else path
        for tree, (position, requirement) in self.local.items():
            if resolved == tree or (
                not path.startswith("/") and Path(tree).name == Path(path).name and tree.endswith(path.lstrip("./"))
            ):
                return Path(tree), position, requirement
        return None

    def _requirement_for(self, pin: Pin, url: str = "") -> tuple[int, PipRequirement]:
        for position, requirement in enumerate(self.wanted):
            if requirement.url and (
                requirement.name == pin.name or _same_repository(requirement.url, url or pin.url or pin.text)
            ):
                return position, requirement
        raise SolveFailed(f"`{pin.text}` is wanted by another package's metadata, from a repository",
                          hint="list it among the definition's own requirements", code="indirect_vcs")  # fmt: skip

    def _from_index(self, pin: Pin, package: dict[str, Any], needs: tuple[str, ...]) -> Artifact:
        alias = self.plan.alias_of(pin.index)
        allowed = self._allowed_hashes(pin.name)
        wheels = {file_name(wheel): wheel for wheel in package.get("wheels", ())}
        sdist = package.get("sdist")
        if allowed is not None:
            wheels = {name: wheel for name, wheel in wheels.items() if wheel["hashes"].get("sha256") in allowed}
            if sdist is not None and sdist["hashes"].get("sha256") not in allowed:
                sdist = None
        chosen = best_wheel(wheels, self.platform, self.target.version)
        if chosen is not None:
            wheel = wheels[chosen]
            sha256, size = self._digest(wheel, chosen, "wheel")
            return Artifact(kind="wheel", source=f"index:{alias}", name=pin.name, version=pin.version, file=chosen, sha256=sha256,
                            size_bytes=size, depends=needs, markers=pin.marker, timestamp=_time(wheel))  # fmt: skip
        if sdist is None:
            why = (
                "has no file with one of the hashes that the definition gives"
                if allowed is not None
                else f"has no wheel for {self.lock_platform} and no source distribution"
            )
            raise SolveFailed(f"{pin.name} {pin.version} {why}", hint="choose another version or platform", code="no_file")
        file = file_name(sdist)
        sha256, _ = self._digest(sdist, file, "sdist")
        archive = self.archives.obtain(
            [self.plan.with_login(sdist["url"])], file, kind="sdist", sha256=sha256, trusted=self.plan.trusted
        )
        built = self.sources.build(archive.path, pin.name)
        return Artifact(kind="sdist", source=f"index:{alias}", name=pin.name, version=pin.version, file=file, sha256=sha256,
                        size_bytes=archive.size_bytes, depends=needs, markers=pin.marker, timestamp=_time(sdist), built=built)  # fmt: skip

    def _from_url(self, pin: Pin, url: str, needs: tuple[str, ...]) -> Artifact:
        url, known = self.direct.original(url)
        position, _ = self._requirement_for(pin, url)
        archive = known or self.direct.obtain(url)
        file = file_of(url.partition("#")[0])
        is_wheel = kind_of(file) == "wheel"
        allowed = self._allowed_hashes(pin.name)
        if allowed is not None and archive.sha256 not in allowed:
            raise SolveFailed(
                f"{without_credentials(url)} has sha256 {archive.sha256}, which the definition does not allow",
                code="wrong_digest",
            )
        if is_wheel:
            from packaging.utils import parse_wheel_filename

            if best_wheel([file], self.platform, self.target.version) is None:
                raise SolveFailed(f"{file} is not for {self.lock_platform} with Python {self.target.version}", code="no_file")
            name, version, _, _ = parse_wheel_filename(file)
            return Artifact(kind="wheel", source=f"definition:{position}", name=str(name), version=str(version), file=file,
                            sha256=archive.sha256, size_bytes=archive.size_bytes, depends=needs, markers=pin.marker)  # fmt: skip
        built = self.sources.build(archive.path, pin.name or file)
        name_text, version_text = built.file.split("-")[:2]
        return Artifact(kind="sdist", source=f"definition:{position}", name=canonical_name(name_text), version=version_text, file=file,
                        sha256=archive.sha256, size_bytes=archive.size_bytes, depends=needs, markers=pin.marker, built=built)  # fmt: skip

    def _digest(self, entry: dict[str, Any], file: str, kind: str) -> tuple[Digest, int | None]:
        """Return the file's sha256 and size; an index that offers no sha256 makes us fetch it now (semantics §3)."""
        offered = entry.get("hashes", {}).get("sha256")
        if offered:
            sha256 = Digest(offered)
            self.archives.note_location(sha256, split_credentials(entry["url"])[0])
            return sha256, entry.get("size")
        archive = self.archives.obtain(
            [self.plan.with_login(entry["url"])], file, kind=kind, sha256=None, trusted=self.plan.trusted
        )
        return archive.sha256, archive.size_bytes

    def _allowed_hashes(self, name: str) -> set[str] | None:
        given = [value for requirement in self.wanted if requirement.name == name for value in requirement.hashes]
        sha256 = {value.removeprefix("sha256:") for value in given if value.startswith("sha256:")}
        return sha256 if given else None

    def check_all_hashed(self) -> None:
        """Check that every requirement has a hash, as ``--require-hashes`` wants it.

        Raises:   SolveFailed: code ``hash_missing``.
        """
        for position, requirement in enumerate(self.wanted):
            if not requirement.hashes:
                raise SolveFailed(
                    f"--require-hashes is given, but python.pip[{position}] `{requirement}` has no hash", code="hash_missing"
                )


def file_name(entry: Mapping[str, Any]) -> str:
    """Return the name of a file that an index lists."""
    return str(entry.get("name") or unquote(urlsplit(entry.get("url") or entry["path"]).path).rpartition("/")[2])


def _time(entry: dict[str, Any]) -> str:
    stamp = entry.get("upload-time")
    return stamp.strftime("%Y-%m-%dT%H:%M:%SZ") if stamp is not None else ""


def _same_repository(wanted: str, found: str) -> bool:
    return (
        split_credentials(wanted.partition("#")[0])[0].partition("@")[0]
        == split_credentials(found.partition("#")[0])[0].partition("@")[0]
    )
