"""The conda half of a lock: match specs in, exact packages out."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from wardian.definition.match_spec import MatchSpec
from wardian.definition.platform import with_declared
from wardian.digest import Digest
from wardian.errors import SolveFailed
from wardian.events import Event
from wardian.lock.conda_channels import ChannelPlan, plan_channels, searchable
from wardian.lock.conda_conflict import Clues, explain
from wardian.lock.conda_record import to_record
from wardian.lock.further import with_further
from wardian.lock.lock import Artifact
from wardian.lock.version_order import CondaVersion
from wardian.tools import rattler

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from wardian.definition.environment import Environment
    from wardian.events import Listener
    from wardian.lock.ports import Archives
    from wardian.lock.solver import SolveRequest
    from wardian.tools.http import Credentials

_PYTHON_TAG = re.compile(r"py\d+")


@dataclass(frozen=True, slots=True)
class CondaSolver:
    """Finds the conda packages of a definition.

    The same request over the same channels gives the same packages. Nothing of this machine has an influence but the
    arguments here and rattler's own credential files.

    Attributes:
        archives: gives the digest of a package whose channel doesn't.
        cache: where repodata is kept.
        channels, mirrors: settings: URLs by alias; URL prefix → prefix that serves the same files.
        credentials: the stored login for a URL.
        environ: where ``${NAME}`` in channel URLs comes from.
        timeout_s: seconds without an answer before a channel counts as unavailable.
    """

    archives: Archives
    cache: Path
    channels: Mapping[str, str]
    mirrors: Mapping[str, str]
    credentials: Callable[[str], Credentials | None]
    environ: Mapping[str, str]
    timeout_s: float = 30.0

    @property
    def version(self) -> str:
        """The solver's version, for the provenance."""
        return rattler.version()

    def solve_conda(self, request: SolveRequest, listener: Listener) -> tuple[Artifact, ...]:
        """Return the conda packages that satisfy the definition, ordered by name; pip packages are not looked at.

        ``request.preferred`` keeps its versions all together if that can be, else each where it can be; what moves is
        told to the listener. ``request.held`` never moves.

        Raises:   SolveFailed: codes ``package_not_found``, ``missing_virtual_package``, ``held_package``, ``solve_failed``.
                  NotFound, Denied, Unavailable: a channel.  InvalidInput: a channel or a match spec.
        """
        python = request.environment.python
        asked = [(MatchSpec.parse(text).name, text, f"python.conda[{i}]") for i, text in enumerate(python.conda)]
        if python.pip and all(name != "python" for name, _, _ in asked):
            asked.append(("python", "python", "python.pip"))
        if not asked:
            return ()
        listener(Event("phase", f"solving conda packages for {request.platform}"))
        plan = self._plan(request.environment)
        index = rattler.ChannelIndex(
            [channel.read_url for channel in plan.searched], request.platform.subdir,
            cache=self.cache, access=self._access(plan, offline=request.offline),
        )  # fmt: skip
        specs = [searchable(text, plan.of_requirement.get(i)) for i, (_, text, _) in enumerate(asked)]
        question = _Question(request, plan, index, tuple(specs), tuple(asked))
        artifacts = tuple(self._artifact(record, plan, request) for record in question.answer())
        _tell_moves(request, artifacts, listener)
        return artifacts

    def roots(self, request: SolveRequest) -> tuple[str, ...]:
        """Return the names that the definition asks conda for; python among them if pip packages need it."""
        python = request.environment.python
        names = [MatchSpec.parse(text).name for text in python.conda]
        return tuple(dict.fromkeys([*names, *(["python"] if python.pip else [])]))

    def channel_url(self, environment: Environment, alias: str) -> str:
        """Return the URL of a definition's channel, with whatever secret its download needs: not to be shown or stored.

        Raises:   NotFound: the definition has no such channel.  InvalidInput: as for solving.
        """
        return self._plan(environment).get(alias).download_url

    def channel_aliases(self, environment: Environment) -> dict[str, str]:
        """Return URL → alias of a definition's channels; the names that settings and everybody know them by are URLs here, too.

        Raises:   InvalidInput: as for solving.
        """
        plan = self._plan(environment)
        found = {channel.alias: channel.alias for channel in plan.searched if not channel.alias.startswith("#")}
        return found | {channel.url: channel.alias for channel in (*plan.of_requirement.values(), *plan.searched)}

    def _plan(self, environment: Environment) -> ChannelPlan:
        return plan_channels(environment.python, configured=self.channels, mirrors=self.mirrors, environ=self.environ)

    def _access(self, plan: ChannelPlan, *, offline: bool) -> rattler.Access:
        logins, tokens = {}, {}
        for channel in (*plan.searched, *plan.of_requirement.values()):
            login = self.credentials(channel.read_url) or (None if channel.is_mirrored else channel.credentials)
            if login is not None:
                logins[channel.read_url] = login
            if channel.token and not channel.is_mirrored:
                tokens[channel.read_url] = channel.token
        return rattler.Access(logins, tokens, timeout_s=self.timeout_s, offline=offline)

    def _artifact(self, record: rattler.Record, plan: ChannelPlan, request: SolveRequest) -> Artifact:
        if record.url.startswith(_HELD):
            return next(a for a in request.preferred if a.name == record.name and a.file == record.file)
        channel = plan.owner(record.url)
        digest = Digest(record.sha256) if record.sha256 else None
        size = record.size_bytes
        if digest is None:
            url = f"{channel.download_url}/{record.subdir}/{record.file}"
            obtained = self.archives.obtain([url], record.file, kind="conda", sha256=None)
            digest, size = obtained.sha256, obtained.size_bytes
            _check_fragment(request.environment, record, digest, obtained.path)
        return Artifact(
            kind="conda", source=f"channel:{channel.alias}", name=record.name, version=record.version, file=record.file,
            sha256=digest, size_bytes=size, build=record.build, build_number=record.build_number, subdir=record.subdir,
            depends=record.depends, constrains=record.constrains, noarch=record.noarch,
            site_packages_path=record.site_packages_path, license=record.license, timestamp=record.timestamp,
        )  # fmt: skip


_HELD = "held://held"  # where a package lies that is taken over from another lock: nowhere that is asked


@dataclass(frozen=True, slots=True)
class _Question:
    request: SolveRequest
    plan: ChannelPlan
    index: rattler.ChannelIndex
    specs: tuple[str, ...]
    asked: tuple[tuple[str, str, str], ...]  # package name, requirement, field path

    def answer(self) -> tuple[rattler.Record, ...]:
        preferred = [a for a in self.request.preferred if a.kind == "conda"]
        held = [a for a in preferred if a.name in self.request.held]
        pinned = [to_record(a, f"{_HELD}/{a.subdir}/{a.file}") for a in held if self._is_for_here(a)]
        required = [f"{a.name} =={a.version}" for a in held if not self._is_for_here(a)]
        there = self._there([a for a in preferred if a.name not in self.request.held])
        if there:
            together = [f"{name} =={record.version}" for name, record in there.items()]
            try:
                return self.solve(tuple(there.values()), pinned, [*required, *together])
            except rattler.NoSolution:
                pass
        try:
            return self.solve(tuple(there.values()), pinned, required)
        except rattler.NoSolution as error:
            raise self._explained(explain(error.message, self.clues())) from None

    def _explained(self, first: SolveFailed) -> SolveFailed:
        """Return the error with whatever else clashes: everything is in memory by now, so that a further look is cheap."""
        places = [place for _, _, place in self.asked]
        if first.stable_code == "held_package":
            return first

        def try_again(numbers: Sequence[int]) -> None:
            rest = replace(self, specs=tuple(self.specs[i] for i in numbers), asked=tuple(self.asked[i] for i in numbers))
            try:
                rest.solve((), (), ())
            except rattler.NoSolution as error:
                raise explain(error.message, rest.clues()) from None

        return with_further(first, range(len(places)), try_again,
                            lambda error: {i for i, place in enumerate(places) if place in error.details.get("requirements", ())})  # fmt: skip

    def _is_for_here(self, artifact: Artifact) -> bool:
        return artifact.subdir in (self.request.platform.subdir, "noarch")

    def solve(
        self, favored: Sequence[rattler.Record], pinned: Sequence[rattler.Record], constraints: Sequence[str]
    ) -> tuple[rattler.Record, ...]:
        # the bare names too: else only what fits a requirement is read, priority is strict only among that, and conflicts
        # speak of packages that are "not there"
        names = dict.fromkeys(name for name, _, _ in self.asked)
        return self.index.solve(
            [*self.specs, *names], virtual=self._virtual(), constraints=constraints, favored=favored, pinned=pinned,
            before=self.request.as_of,
        )  # fmt: skip

    def _virtual(self) -> dict[str, str]:
        virtual = dict(with_declared(self.request.platform, self.request.environment.accelerators).virtual)
        if "__archspec" in virtual:
            virtual["__archspec"] = (
                f"1={virtual['__archspec']}"  # conda puts the name of the processor where builds have theirs
            )
        return virtual

    def _there(self, preferred: Sequence[Artifact]) -> dict[str, rattler.Record]:
        """Return, by name, what the channels have that is most like each preferred package: same version, best build."""
        if not preferred:
            return {}
        wanted = {artifact.name: artifact for artifact in preferred}
        best: dict[str, rattler.Record] = {}
        for record in self.index.records(wanted):
            artifact = wanted[record.name]
            if record.version != artifact.version or self._is_too_new(record):
                continue
            known = best.get(record.name)
            if known is None or _likeness(record, artifact) > _likeness(known, artifact):
                best[record.name] = record
        return best

    def _is_too_new(self, record: rattler.Record) -> bool:
        as_of = self.request.as_of
        return as_of is not None and (not record.timestamp or datetime.fromisoformat(record.timestamp) > as_of)

    def clues(self) -> Clues:
        aliases = {channel.read_url: channel for channel in self.plan.searched}

        def shown(url: str) -> str:
            channel = aliases.get(url.rstrip("/"))
            return url if channel is None else channel.url if channel.alias.startswith("#") else channel.alias

        def versions(names: Sequence[str]) -> dict[str, list[str]]:
            found: dict[str, list[str]] = {}
            for record in sorted(self.index.records(names), key=lambda r: CondaVersion(r.version), reverse=True):
                known = found.setdefault(record.name, [])
                if record.version not in known and not self._is_too_new(record):
                    known.append(record.version)
            return found

        as_of = self.request.as_of.strftime("%Y-%m-%dT%H:%M:%SZ") if self.request.as_of else ""
        declared = frozenset(f"__{name.removeprefix('__')}" for name in self.request.environment.accelerators)
        return Clues(self.asked, self.request.platform.name, self._virtual(), declared, [shown(url) for url in aliases], as_of, shown,
                     versions, self.index.names, rattler.normal_spec)  # fmt: skip


def _likeness(record: rattler.Record, artifact: Artifact) -> tuple[bool, bool, bool, int, str]:
    same_tag = _PYTHON_TAG.findall(record.build) == _PYTHON_TAG.findall(artifact.build)
    is_it = record.file == artifact.file and record.sha256 == artifact.sha256
    return is_it, record.build == artifact.build, same_tag, record.build_number, record.timestamp


def _tell_moves(request: SolveRequest, artifacts: Sequence[Artifact], listener: Listener) -> None:
    """Tell which packages don't have the version that was preferred."""
    preferred = {a.name: a.version for a in request.preferred if a.kind == "conda"}
    moved = {a.name: (preferred[a.name], a.version) for a in artifacts if preferred.get(a.name, a.version) != a.version}
    if moved:
        text = ", ".join(f"{name} {was} → {now}" for name, (was, now) in sorted(moved.items()))
        listener(Event("notice", f"versions differ on {request.platform}: {text}", data={"moved": moved}))


def _check_fragment(environment: Environment, record: rattler.Record, digest: Digest, archive: Path) -> None:
    """Compare an archive with the digest that the definition gives behind its URL (``…#<sha256>`` or ``…#<md5>``)."""
    for text in environment.python.conda:
        url, _, wanted = (MatchSpec.parse(text).url or "").partition("#")
        if not wanted or url.rpartition("/")[2] != record.file:
            continue
        wanted = wanted.removeprefix("sha256:")
        actual = digest if len(wanted) == len(digest) else hashlib.md5(archive.read_bytes(), usedforsecurity=False).hexdigest()
        if wanted.lower() != actual:
            raise SolveFailed(f"{record.file} is not what the definition says: its digest is {actual}, not {wanted}", code="wrong_digest",
                              hint="somebody has changed the file at that URL; if that is meant, change the digest")  # fmt: skip
