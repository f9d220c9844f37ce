"""conda's solver and linker: the one place that knows py-rattler. Everything here is in our words; calls are synchronous."""

from __future__ import annotations

import base64
import contextlib
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from operator import itemgetter
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from wardian.errors import Denied, InstallFailed, InvalidInput, WardianError
from wardian.tools.channel_errors import channel_error
from wardian.tools.rattler_calls import call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import rattler

    from wardian.tools.http import Credentials

_REPEATS = 2
_LONGEST_ANSWER = 10  # times timeout_s: rattler knows only a limit for a whole answer, and repodata is large


class NoSolution(WardianError):
    """The solver found nothing; the message is rattler's own tree, to be explained by who knows the definition."""

    code = "solve_failed"


@dataclass(frozen=True, slots=True)
class Record:
    """One conda package as repodata states it. ``sha256`` is hexadecimal, empty where the channel doesn't say it."""

    name: str
    version: str
    build: str
    build_number: int
    subdir: str
    file: str
    url: str
    channel: str
    sha256: str = ""
    size_bytes: int | None = None
    depends: tuple[str, ...] = ()
    constrains: tuple[str, ...] = ()
    noarch: str = ""  # python | generic | empty
    license: str = ""
    timestamp: str = ""  # RFC 3339, UTC
    site_packages_path: str = ""


@dataclass(frozen=True, slots=True)
class Access:
    """How channels are reached, beside rattler's own credential files and netrc.

    Attributes:
        credentials: user and password, or bearer token, by channel URL.
        tokens: conda tokens by channel URL; sent as ``/t/<token>/``, and never stored in the cache.
        timeout_s: seconds without an answer before a request fails; a whole answer may take ten times that.
        offline: only what is cached (and ``file://`` channels) is read.
    """

    credentials: Mapping[str, Credentials] = field(default_factory=dict)
    tokens: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout_s: float = 30.0
    offline: bool = False


def version() -> str:
    """Return the version of py-rattler."""
    from importlib.metadata import version as installed

    return installed("py-rattler")


def normal_spec(text: str) -> str:
    """Return the match spec ``text``, in any form that conda accepts, in rattler's one form.

    Raises:   InvalidInput: code ``bad_match_spec``.
    """
    return str(_match_spec(text))


def fits(spec: str, name: str, version: str, build: str) -> bool:
    """Whether a package is what the match spec ``spec`` asks for, as far as name, version and build tell.

    Raises:   InvalidInput: code ``bad_match_spec``.
    """
    import rattler

    record = rattler.PackageRecord(name, version, rattler.BuildString(build), 0, "noarch")
    bare = rattler.MatchSpec.from_nameless(rattler.NamelessMatchSpec.from_match_spec(_match_spec(spec)), name)
    return bool(bare.matches(record))


def _match_spec(text: str) -> rattler.MatchSpec:
    import rattler
    from rattler.exceptions import InvalidMatchSpecError

    try:
        return rattler.MatchSpec(text, strict=False)
    except InvalidMatchSpecError as error:
        reason = str(error).splitlines()[0]
        raise InvalidInput(
            f"`{text}` is not a conda match spec: {reason}", hint="for example `numpy`, `numpy >=1.26,<2` or `numpy=1.26`",
            code="bad_match_spec",
        ) from None  # fmt: skip


class ChannelIndex:
    """The repodata of some channels for one platform, read once, as far as questions need it.

    Args:     channels: URLs without credentials, highest priority first.  subdir: conda's name of the platform.
              cache: where repodata is kept; safe between processes.
    """

    def __init__(self, channels: Sequence[str], subdir: str, *, cache: Path, access: Access):
        import rattler

        self._channels = [rattler.Channel(url) for url in channels]
        self._subdirs: Any = [subdir, "noarch"]
        config = rattler.SourceConfig(cache_action="force-cache-only") if access.offline else None
        cache.mkdir(parents=True, exist_ok=True)
        self._gateway = rattler.Gateway(cache_dir=cache, default_config=config, client=_client(channels, access))

    def solve(
        self,
        specs: Sequence[str],
        *,
        virtual: Mapping[str, str],
        constraints: Sequence[str] = (),
        favored: Sequence[Record] = (),
        pinned: Sequence[Record] = (),
        before: datetime | None = None,
    ) -> tuple[Record, ...]:
        """Return the packages that satisfy ``specs``, dependencies included, ordered by name.

        Channel priority is strict; nothing of this machine is detected.

        Args:     virtual: virtual packages, name → ``version`` or ``version=build``.  constraints: hold for packages that
                  are taken for any reason.  favored: taken where the specs allow.  pinned: of these names, these only.
                  before: nothing published after this time (aware) is used, nor what doesn't say when it was.
        Raises:   NoSolution: nothing satisfies.  InvalidInput: a spec.
                  Unavailable, Denied, NotFound: a channel, named without credentials.
        """
        import rattler
        from rattler.exceptions import SolverError

        parsed, limits = [_match_spec(spec) for spec in specs], [_match_spec(spec) for spec in constraints]
        assumed = [_virtual_package(name, value) for name, value in virtual.items()]
        with self._errors():
            try:
                found = call(
                    rattler.solve(
                        self._channels,
                        parsed,
                        gateway=self._gateway,
                        platforms=self._subdirs,
                        locked_packages=[as_rattler(record) for record in favored],
                        pinned_packages=[as_rattler(record) for record in pinned],
                        virtual_packages=assumed,
                        constraints=limits,
                        exclude_newer=before.astimezone(UTC) if before else None,  # rattler takes any other zone for UTC
                        channel_relations="disabled",
                    )
                )
            except SolverError as error:
                raise NoSolution(str(error).strip()) from None
        return tuple(sorted(map(_as_record, found), key=lambda record: record.name))

    def records(self, names: Iterable[str]) -> tuple[Record, ...]:
        """Return every record of the packages called ``names``, in the order of the channels.

        Raises:   Unavailable, Denied, NotFound: a channel.
        """
        with self._errors():
            found = call(
                self._gateway.query(self._channels, self._subdirs, [*names], recursive=False, channel_relations="disabled")
            )
        return tuple(_as_record(record) for records in found for record in records)

    def names(self) -> frozenset[str]:
        """Return the name of every package.

        Raises:   Unavailable, Denied, NotFound: a channel.
        """
        with self._errors():
            found = call(self._gateway.names(self._channels, self._subdirs, channel_relations="disabled"))
        return frozenset(name.normalized for name in found)

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        from rattler.exceptions import FetchRepoDataError, GatewayError

        try:
            yield
        except (GatewayError, FetchRepoDataError) as error:
            raise channel_error(str(error).strip(), [channel.base_url for channel in self._channels]) from None


def as_rattler(record: Record) -> rattler.RepoDataRecord:
    """Return ``record`` as rattler's linker wants it."""
    import rattler

    package = rattler.PackageRecord(
        record.name,
        record.version,
        rattler.BuildString(record.build),
        record.build_number,
        record.subdir,
        noarch=record.noarch or None,  # type: ignore[arg-type]
        depends=list(record.depends),
        constrains=list(record.constrains),
        sha256=bytes.fromhex(record.sha256) if record.sha256 else None,
        size=record.size_bytes,
        license=record.license or None,
        python_site_packages_path=record.site_packages_path or None,
    )
    if record.timestamp:
        package.timestamp = datetime.fromisoformat(record.timestamp)
    return rattler.RepoDataRecord(package, record.file, record.url, record.channel)


def _as_record(found: rattler.RepoDataRecord) -> Record:
    noarch = "python" if found.noarch.python else "generic" if found.noarch.generic else ""
    return Record(
        name=found.name.normalized, version=str(found.version), build=str(found.build), build_number=found.build_number,
        subdir=found.subdir, file=found.file_name, url=found.url, channel=found.channel,
        sha256=found.sha256.hex() if found.sha256 else "", size_bytes=found.size, depends=tuple(found.depends),
        constrains=tuple(found.constrains), noarch=noarch, license=found.license or "",
        timestamp=_rfc3339(found.timestamp) if found.timestamp else "", site_packages_path=found.python_site_packages_path or "",
    )  # fmt: skip


def _rfc3339(time: datetime) -> str:
    exact = "milliseconds" if time.microsecond else "seconds"
    return time.astimezone(UTC).isoformat(timespec=exact).replace("+00:00", "Z")


def _virtual_package(name: str, value: str) -> rattler.GenericVirtualPackage:
    import rattler
    from rattler.exceptions import InvalidVersionError

    number, _, build = value.partition("=")
    try:
        parsed = rattler.Version(number)
    except InvalidVersionError:
        raise InvalidInput(f"`{name}`: `{number}` is not a version", code="bad_accelerator") from None
    return rattler.GenericVirtualPackage(rattler.PackageName(name), parsed, rattler.BuildString(build or "0"))


# -- linking: only in a worker process, because rattler aborts the interpreter on some bad packages -----------------------


def link(
    records: Sequence[Record],
    prefix: Path,
    *,
    package_cache: Path,
    validate: bool,
    run_scripts: bool,
    copy: bool,
    on_linked: Callable[[str, int, int], None],
    target: str = "",
) -> tuple[str, ...]:
    """Link ``records`` into the empty ``prefix``; return the names of packages whose link script failed.

    Archives are unpacked into ``package_cache`` first, a key for each archive's path. ``validate``: the content of every file
    that is there is compared with its package's own list, and what differs is unpacked anew; else it only has to exist.
    Files are hard-linked, copied where that can't be; ``copy``: never hard-linked.

    Args:     on_linked: called with name, number and total, from any thread.
              target: the path that is written into files, if it is not the prefix's own.
    Raises:   InstallFailed: rattler's reason; code ``placeholder_too_short``: a package has no room for the path.
    """
    import rattler
    from rattler.exceptions import InstallerError

    class Reporter(rattler.InstallerReporter):
        def __init__(self) -> None:
            self.names: list[str] = []
            self.total = self.done = 0
            self.failed: list[str] = []
            self.guard = threading.Lock()

        def _token(self, name: str) -> int:
            with self.guard:
                self.names.append(name)
                return len(self.names) - 1

        def on_transaction_start(self, total_operations: int) -> None:
            self.total = total_operations

        def on_link_start(self, operation: int, package_name: str) -> int:  # noqa: ARG002 - rattler's interface
            return self._token(package_name)

        def on_link_complete(self, index: int) -> None:
            with self.guard:
                self.done += 1
                on_linked(self.names[index], self.done, self.total)

        def on_post_link_start(self, package_name: str, script_path: str) -> int:  # noqa: ARG002
            return self._token(package_name)

        def on_post_link_complete(self, index: int, success: bool) -> None:
            if not success:
                self.failed.append(self.names[index])

    reporter = Reporter()  # type: ignore[abstract]  # a protocol with bodies: what is left out does nothing
    mode = rattler.ValidationMode.full() if validate else rattler.ValidationMode.fast()
    layer = rattler.PackageCacheLayer(package_cache).with_validation_mode(mode)
    config = rattler.Config.from_toml(f"allow-hard-links = {str(not copy).lower()}\n")
    # what is linked for an image may be for another platform than this machine's
    subdir = next((record.subdir for record in records if record.subdir != "noarch"), None)
    work = rattler.install(
        [as_rattler(record) for record in records],
        prefix,
        package_cache=rattler.PackageCache.from_layers([layer], cache_origin=True),
        installed_packages=[],
        platform=rattler.Subdir(subdir) if target and subdir else None,
        execute_link_scripts=run_scripts,
        alternative_target_prefix=target or None,
        show_progress=False,
        config=config,
        client=rattler.networking.Client(),  # all archives are here: no credentials, no environment
        reporter=reporter,
    )
    try:
        call(work)
    except InstallerError as error:
        reason = "; ".join(line.removeprefix("Caused by: ") for line in str(error).strip().splitlines())
        if "cannot be longer than the placeholder" in reason:
            raise InstallFailed(
                f"the path `{target or prefix}` does not fit into a program that was built for a shorter one: {reason}",
                hint="leave that package out or take another build of it", code="placeholder_too_short",
            ) from None  # fmt: skip
        raise InstallFailed(reason) from None
    return tuple(reporter.failed)


def topological_order(records: Sequence[Record]) -> tuple[str, ...]:
    """Return the names of ``records``, what a package depends on before it: where two own one path, the later one has it.

    The order does not depend on that of ``records``; it is the linker's own.
    """
    import rattler

    ordered = rattler.PackageRecord.sort_topologically([as_rattler(record) for record in records])
    return tuple(record.name.normalized for record in ordered)


def read_info(archives: Sequence[Path], names: Sequence[str]) -> list[dict[str, bytes] | str]:
    """Return, for each conda archive, these files by path, as far as it holds them; or why it can't be read."""
    from rattler.exceptions import ExtractError, IoError
    from rattler.package_streaming import PackageArchive

    async def read(archive: Path) -> dict[str, bytes] | str:
        try:
            found = await (await PackageArchive.from_path(archive)).read_files(names)
        except (ExtractError, IoError, OSError) as error:
            return str(error).splitlines()[0]
        return {name: content for name, content in found.items() if content is not None}

    async def read_all() -> list[dict[str, bytes] | str]:
        import asyncio

        return await asyncio.gather(*map(read, archives))

    return call(read_all())


def activation_script(prefix: Path, path: Sequence[str]) -> str:
    """Return the bash script that activates ``prefix`` for a process whose PATH is ``path``.

    Raises:   InstallFailed: what packages say about it can't be read; code ``activation_failed``.
    """
    from rattler.exceptions import ActivationError, ActivationScriptFormatError, IoError
    from rattler.shell import ActivationVariables, Shell, activate

    try:
        script = activate(prefix, ActivationVariables(None, path), Shell.bash).script
    except (ActivationError, ActivationScriptFormatError, IoError) as error:
        reason = str(error)
    else:
        if "\0" not in script:
            return script
        reason = "a variable holds a NUL character"
    raise InstallFailed(
        f"the environment can't be activated: {reason}", hint="one of its packages is broken", code="activation_failed"
    )


# -- inside ---------------------------------------------------------------------------------------------------------------


def _client(channels: Sequence[str], access: Access) -> rattler.networking.Client:
    from rattler.exceptions import AuthenticationStorageError
    from rattler.networking import Client, middleware

    places = [(urlsplit(url), access.credentials.get(url)) for url in dict.fromkeys([*channels, *access.credentials])]

    def ours(host: str, path: str) -> dict[str, str] | None:
        """Return the header for a request. Scheme and port are not told: where they would decide, nobody's login is sent."""
        fitting = [(len(p.path), login) for p, login in places if p.hostname == host.strip("[]") and _is_below(path, p.path)]
        logins = {login for length, login in fitting if length == max(fitting, key=itemgetter(0))[0]}
        login = logins.pop() if len(logins) == 1 else None
        return {"Authorization": _authorization(login)} if login else None

    try:
        return Client(
            [
                middleware.MirrorMiddleware({url: [_with_token(url, token)] for url, token in access.tokens.items()}),
                middleware.RetryMiddleware(_REPEATS),
                middleware.AddHeadersMiddleware(ours),
                middleware.AuthenticationMiddleware(),
                middleware.OciMiddleware(),
                middleware.GCSMiddleware(),
                middleware.S3Middleware(),
            ],
            user_agent="wardian",
            timeout=max(1, round(access.timeout_s * _LONGEST_ANSWER)),
        )
    except AuthenticationStorageError as error:
        raise Denied(
            f"rattler's stored credentials can't be read: {error}", hint="mend or remove that file", code="bad_credentials"
        ) from None


def _is_below(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(prefix.rstrip("/") + "/")


def _authorization(login: Credentials) -> str:
    if login.token:
        return f"Bearer {login.token}"
    return "Basic " + base64.b64encode(f"{login.user}:{login.password}".encode()).decode()


def _with_token(url: str, token: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"/t/{token}{parts.path}"))
