"""Settings: environment variables and one file, read once into a frozen value."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wardian.errors import InvalidReference, InvalidSetting
from wardian.small_file import read_small

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that configures Wardian. Precedence: environment variable, then ``$WARDIAN_HOME/config.toml``, then default.

    Each field's metadata documents it; ``docs/reference/settings.md`` is generated from here.
    """

    home: Path = field(metadata={"variable": "WARDIAN_HOME", "doc": "where records live: workspaces, artifacts, runs"})
    cache: Path = field(metadata={"variable": "WARDIAN_CACHE", "doc": "fetched archives and prefixes; may be node-local"})
    workspace: str = field(default="default", metadata={"variable": "WARDIAN_WORKSPACE", "doc": "the workspace in use"})
    offline: bool = field(
        default=False, metadata={"variable": "WARDIAN_OFFLINE", "doc": "contact nothing outside this machine"}
    )
    lock_platforms: tuple[str, ...] = field(
        default=("linux/amd64",),
        metadata={"variable": "WARDIAN_LOCK_PLATFORMS", "doc": "platforms locked beside this machine's, in one go"},
    )
    indexes: Mapping[str, str] = field(
        default_factory=dict, metadata={"doc": "package indexes by alias; `pypi` replaces uv's default index"}
    )
    channels: Mapping[str, str] = field(default_factory=dict, metadata={"doc": "conda channels by alias: a URL each"})
    mirrors: Mapping[str, str] = field(
        default_factory=dict, metadata={"doc": "URL prefix → URL prefix that serves the same files"}
    )
    repositories: Mapping[str, str] = field(
        default_factory=dict, metadata={"doc": "Maven repositories by alias; `central` replaces Maven Central"}
    )
    python_downloads: str | None = field(
        default=None,
        metadata={
            "variable": "WARDIAN_PYTHON_DOWNLOADS",
            "doc": "URL or path of a catalogue of standalone Pythons (uv's JSON)",
        },
    )
    cache_limit_bytes: int = field(
        default=20 << 30,
        metadata={
            "variable": "WARDIAN_CACHE_LIMIT_BYTES",
            "doc": "least recently used prefixes and archives go above this size, bytes",
        },
    )
    snapshot_limit_bytes: int = field(
        default=300 << 20,
        metadata={"variable": "WARDIAN_SNAPSHOT_LIMIT_BYTES", "doc": "largest source directory of a run, bytes"},
    )
    snapshot_limit_files: int = field(
        default=2000,
        metadata={"variable": "WARDIAN_SNAPSHOT_LIMIT_FILES", "doc": "most files in the source directory of a run"},
    )
    archive_limit_bytes: int = field(
        default=8 << 30, metadata={"variable": "WARDIAN_ARCHIVE_LIMIT_BYTES", "doc": "largest archive fetched, bytes"}
    )
    timeout_s: float = field(
        default=30.0, metadata={"variable": "WARDIAN_TIMEOUT_S", "doc": "seconds without an answer before a request fails"}
    )
    byte_code: str = field(
        default="background",
        metadata={"variable": "WARDIAN_BYTE_CODE", "doc": "compile new prefixes: background, build (before ready) or never"},
    )
    registry: str = field(
        default="",
        metadata={
            "variable": "WARDIAN_REGISTRY",
            "doc": "the workspace's registry: `host[:port]/repository`, or `oci:PATH`; empty: the one on this machine alone",
        },
    )
    global_registry: str = field(
        default="",
        metadata={"variable": "WARDIAN_GLOBAL_REGISTRY", "doc": "a registry that is only read: what an organisation shares"},
    )
    insecure_registries: tuple[str, ...] = field(
        default=(),
        metadata={
            "variable": "WARDIAN_INSECURE_REGISTRIES",
            "doc": "`host[:port]`s that are spoken to over plain HTTP; loopback is",
        },
    )
    base_image: str = field(
        default="docker.io/library/debian:bookworm-slim",
        metadata={
            "variable": "WARDIAN_BASE_IMAGE",
            "doc": "what images start from where a definition names nothing: an image of a registry, `oci:DIRECTORY:TAG`, `oci-archive:FILE`, "
            "`docker-archive:FILE` (relative to the working directory), or `scratch`: nothing",
        },
    )
    image_compression: str = field(
        default="zstd",
        metadata={"variable": "WARDIAN_IMAGE_COMPRESSION", "doc": "zstd, or gzip for older tools (Docker before 23, umoci)"},
    )
    image_byte_code: bool = field(
        default=True, metadata={"variable": "WARDIAN_IMAGE_BYTE_CODE", "doc": "whether packages in images carry byte-code"}
    )
    image_epoch: int = field(
        default=0, metadata={"variable": "WARDIAN_IMAGE_EPOCH", "doc": "the time of every file in an image, seconds since 1970"}
    )
    catalogue: str = field(
        default="",
        metadata={
            "variable": "WARDIAN_CATALOGUE",
            "doc": "a directory of curated environments instead of those that came with Wardian",
        },
    )
    pass_variables: tuple[str, ...] = field(
        default=(),
        metadata={"variable": "WARDIAN_PASS_VARIABLES", "doc": "variables of the caller that every run inherits (patterns)"},
    )

    @staticmethod
    def home_of(environ: Mapping[str, str]) -> Path:
        """Return where the home is, without reading anything there."""
        return _path(environ, "WARDIAN_HOME") or _default_home(environ)

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None, home: Path | None = None, *, with_file: bool = True) -> Settings:
        """Return the settings of this process.

        Args:     environ: the environment to read; None means this process's.  home: overrides ``WARDIAN_HOME``.
                  with_file: whether ``config.toml`` counts.
        Raises:   InvalidSetting: a wrong value, with the name of the variable or ``file: key``; a home or cache that can be no directory.
        """
        env = os.environ if environ is None else environ
        where = home or cls.home_of(env)
        if with_file:
            _check_directory(where, "$WARDIAN_HOME" if home is None and env.get("WARDIAN_HOME") else "the home")
        values, origin = _file(where / "config.toml") if with_file else ({}, {})
        for f in fields(cls):
            if f.name != "home" and (variable := variable_of(f.name, env)) is not None:
                values[f.name], origin[f.name] = env[variable], f"${variable}"
        converted = {name: _convert(name, value, origin[name]) for name, value in values.items()}
        converted.setdefault("cache", where / "cache")
        converted.pop("home", None)
        settings = cls(home=where, **converted)
        if with_file:
            _check_directory(settings.cache, origin.get("cache", "the cache"))
        if settings.byte_code not in ("background", "build", "never"):
            raise InvalidSetting(f"{origin['byte_code']}: byte_code is background, build or never, not `{settings.byte_code}`")
        if settings.image_compression not in ("zstd", "gzip"):
            raise InvalidSetting(
                f"{origin['image_compression']}: image_compression is zstd or gzip, not `{settings.image_compression}`"
            )
        for name in sorted(_IMAGES & converted.keys()):
            _check_images(name, converted[name], origin[name])
        return settings


def variable_of(name: str, environ: Mapping[str, str]) -> str | None:
    """Return the environment variable that gives the setting ``name`` its value; None: no variable does.

    An empty one counts only where empty is a value, such as a list of nothing.
    """
    variable = next(f.metadata.get("variable") for f in fields(Settings) if f.name == name)
    return variable if variable and (environ.get(variable) or (variable in environ and name in _EMPTY_IS_A_VALUE)) else None


def _default_home(env: Mapping[str, str]) -> Path:
    # platformdirs costs 15 ms to import; on Linux its answer is this
    if base := env.get("XDG_DATA_HOME"):
        return Path(base) / "wardian"
    if os.uname().sysname == "Linux":
        return Path(env.get("HOME") or Path.home()) / ".local/share/wardian"
    import platformdirs

    return Path(platformdirs.user_data_dir("wardian"))


def _path(env: Mapping[str, str], name: str) -> Path | None:
    value = env.get(name)
    if not value:
        return None
    try:
        return Path(value).expanduser().absolute()
    except RuntimeError:
        raise InvalidSetting(f"${name}: `{value[:80]}`: there is no such user") from None


def _check_directory(path: Path, origin: str) -> None:
    """Check that ``path`` is a directory, or can be made one as far as links and files on the way go."""
    if path.is_dir():
        return
    place = next(one for one in (path, *path.parents) if os.path.lexists(one))
    if place.is_dir():
        return
    what = "a link that leads nowhere" if place.is_symlink() and not place.exists() else "no directory"
    whose = "it" if place == path else str(place)
    raise InvalidSetting(f"{origin}: {path} cannot be used: {whose} is {what}", code="not_a_directory",
                         hint=f"move {place} away, or point WARDIAN_HOME and WARDIAN_CACHE at directories")  # fmt: skip


def _file(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    try:
        text = read_small(path)
    except FileNotFoundError:
        return {}, {}
    except OSError as error:
        raise InvalidSetting(
            f"{path} cannot be read: {error.strerror}", hint="see what stands there, and mend it by hand"
        ) from error
    import tomllib

    try:
        values = tomllib.loads(text.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidSetting(f"{path}: {error}", hint="mend the file by hand") from error
    known = {f.name for f in fields(Settings)} - {"home"}
    for key in values:
        if key not in known:
            raise InvalidSetting(f"{path}: unknown setting `{key}`", hint=f"known ones: {', '.join(sorted(known))}")
    return values, {key: f"{path}: {key}" for key in values}


_INTEGERS = ("cache_limit_bytes", "snapshot_limit_bytes", "snapshot_limit_files", "archive_limit_bytes")
_LISTS = ("lock_platforms", "pass_variables", "insecure_registries")
_FLAGS = ("offline", "image_byte_code")
_TABLES = ("indexes", "channels", "mirrors", "repositories")
_IMAGES = {"registry", "global_registry", "base_image", "insecure_registries"}
# of every other setting, an empty variable is as if it was not there: an empty path would be the directory of the call
_EMPTY_IS_A_VALUE = (*_LISTS, *_FLAGS, "python_downloads", "registry", "global_registry")


def _convert(name: str, value: Any, origin: str) -> Any:
    try:
        if name == "cache":
            return _cache(value, origin)
        if name in _INTEGERS:
            return _positive(int(value))
        if name == "timeout_s":
            return _positive(float(value))
        if name == "image_epoch":
            return _not_negative(int(value))
        if name in _FLAGS:
            return (
                value
                if isinstance(value, bool)
                else {"1": True, "true": True, "0": False, "false": False, "": False}[value.lower()]
            )
        if name in _LISTS:
            return (
                tuple(v.strip() for v in value.split(",") if v.strip())
                if isinstance(value, str)
                else tuple(str(v) for v in value)
            )
        if name in _TABLES:
            return {str(k): _url(v, f"{origin}.{k}").rstrip("/") for k, v in value.items()}
        return str(value)
    except (ValueError, OverflowError, KeyError, TypeError, AttributeError, RuntimeError):
        raise InvalidSetting(f"{origin}: `{value}` is not a value for `{name}`", hint=_wanted(name)) from None


def _check_images(name: str, value: str | tuple[str, ...], origin: str) -> None:
    """Check the name of a registry, of an image or of hosts. A login in it is not repeated: it would stand in terminals and logs."""
    from wardian.image_name import parse_base_image, parse_host, parse_registry

    try:
        for one in [value] if isinstance(value, str) else value:
            if name == "insecure_registries":
                parse_host(one)
            elif name == "base_image":
                _ = one == "scratch" or parse_base_image(one)
            elif one:
                parse_registry(one)
    except InvalidReference as error:
        raise InvalidSetting(f"{origin}: {error.message}", hint=error.hint) from None


def _wanted(name: str) -> str:
    if name in _INTEGERS or name == "image_epoch":
        return "a whole number above 0" if name in _INTEGERS else "a whole number, seconds since 1970"
    if name in _FLAGS:
        return "true or false; in a variable also 1 or 0"
    if name in _LISTS:
        return 'a list: ["…", "…"] in the file, with commas between in a variable'
    if name in _TABLES:
        return f'a table: [{name}], then one line NAME = "URL" for each'
    return "a number of seconds above 0" if name == "timeout_s" else "a path that begins with `/` or `~/`"


def _cache(value: str, origin: str) -> Path:
    path = Path(value).expanduser()
    if "\0" in value or not (
        path.is_absolute() or origin.startswith("$")
    ):  # a variable is relative to where it was set; a file is not
        raise ValueError(value)
    return path.absolute()


def _url(value: Any, origin: str) -> str:
    from urllib.parse import urlsplit

    try:
        if "://" in value and urlsplit(value).port != 0:
            return str(value)
    except (TypeError, ValueError):
        pass  # no text, or a host or a port that cannot be one
    raise InvalidSetting(f"{origin}: `{value}` is not a URL", hint="https://…, http://… or file:///…")


def _positive(number: Any) -> Any:
    if not 0 < number < float("inf"):
        raise ValueError(number)
    return number


def _not_negative(number: int) -> int:
    if number < 0:
        raise ValueError(number)
    return number
