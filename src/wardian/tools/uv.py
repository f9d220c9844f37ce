"""uv: solves, builds wheels, makes virtual environments. The one module that names it (ADR 0010)."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wardian.errors import BuildFailed, Denied, InstallFailed, SolveFailed, Unavailable, WardianError
from wardian.tools.disk import disk_full, full_place
from wardian.tools.http import without_credentials
from wardian.tools.own_python import own_program

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

# What uv may see of the caller's environment: where indexes are, how to log in, how to reach them. Nothing that
# would change which versions it chooses.
_PASSED = re.compile(
    r"HOME|PATH|LANG|LC_ALL|TMPDIR|USER|LOGNAME|NETRC|XDG_\w+|SSL_\w+|(?i:\w+_proxy)|GIT_\w+|SSH_AUTH_SOCK"
    r"|CC|CXX|CFLAGS|CXXFLAGS|CPPFLAGS|LDFLAGS|PKG_CONFIG_PATH|CARGO_HOME|RUSTUP_HOME"
    r"|UV_(INDEX|DEFAULT_INDEX|INDEX_URL|EXTRA_INDEX_URL|INDEX_\w+_(USERNAME|PASSWORD)|KEYRING_PROVIDER|NATIVE_TLS|SYSTEM_CERTS"
    r"|INSECURE_HOST|HTTP_\w+|CONFIG_FILE|CREDENTIALS_DIR)"
)


@dataclass(frozen=True, slots=True)
class Found:
    """An interpreter on this machine: its full version and its executable."""

    version: str
    path: Path


class Uv:
    """uv as a subprocess, with a cache of its own and an environment that cannot steer its choices.

    Args:     cache: uv's cache directory.
              environ: the caller's environment; only indexes, logins and network settings are passed on.
    """

    def __init__(self, cache: Path, environ: Mapping[str, str], *, offline: bool = False):
        self._cache = cache
        self._environ = {key: value for key, value in environ.items() if _PASSED.fullmatch(key)}
        self._offline = offline

    @property
    def environ(self) -> Mapping[str, str]:
        """What of the caller's environment tools may see."""
        return self._environ

    def compile(
        self, requirements: str, *, python_version: str, uv_platform: str, arguments: Sequence[str] = (),
        constraints: str = "", preferences: str = "", index_environ: Mapping[str, str] | None = None, offline: bool = False,
        python: Path | None = None,
    ) -> str:  # fmt: skip
        """Solve ``requirements`` for one platform; return pinned lines with hashes, "via" and "from" comments.

        Args:     preferences: pinned lines whose versions are taken where they fit.
                  index_environ: indexes with their credentials, as uv's variables: never on the command line.
        Raises:   SolveFailed, Unavailable, Denied, BuildFailed: as uv says.
        """
        with tempfile.TemporaryDirectory(prefix="wardian-solve-") as place:
            here = Path(place)
            (here / "requirements.in").write_text(requirements)
            extra: list[str] = []
            if constraints:
                (here / "constraints.txt").write_text(constraints)
                extra += ["--constraint", "constraints.txt"]
            (here / "locked.txt").write_text(preferences)
            done = self._run(
                ["pip", "compile", "requirements.in", "--output-file", "locked.txt", *self._target(python_version, uv_platform, python),
                 "--no-header", "--emit-index-annotation", "--annotation-style", "split", "--generate-hashes", "--no-strip-markers",
                 *extra, *arguments],
                cwd=here, environ=index_environ, offline=offline,
            )  # fmt: skip
            if done.returncode != 0:
                raise self._solve_error(done.stderr)
            return (here / "locked.txt").read_text()

    def files(
        self, pins: str, *, python_version: str, uv_platform: str, arguments: Sequence[str] = (),
        index_environ: Mapping[str, str] | None = None, offline: bool = False, python: Path | None = None,
    ) -> list[dict[str, Any]]:  # fmt: skip
        """Return the files that the indexes have for ``pins`` (``name==version`` lines): PEP 751 package tables.

        Raises:   SolveFailed: an index no longer has one of them.  Unavailable, Denied: as uv says.
        """
        import tomllib

        with tempfile.TemporaryDirectory(prefix="wardian-files-") as place:
            here = Path(place)
            (here / "pins.in").write_text(pins)
            done = self._run(
                ["pip", "compile", "pins.in", "--no-deps", "--format", "pylock.toml", "--output-file", "pylock.toml", "--no-header",
                 *self._target(python_version, uv_platform, python), *arguments],
                cwd=here, environ=index_environ, offline=offline,
            )  # fmt: skip
            if done.returncode != 0:
                raise self._solve_error(done.stderr)
            packages: list[dict[str, Any]] = tomllib.loads((here / "pylock.toml").read_text()).get("packages", [])
            return packages

    @staticmethod
    def _target(python_version: str, uv_platform: str, python: Path | None) -> list[str]:
        found = ["--python", str(python)] if python else []
        return [*found, "--python-version", python_version, "--python-platform", uv_platform]

    def build_wheel(
        self, source: Path, out: Path, *, python: Path, constraints: Path | None = None, index_environ: Mapping[str, str] | None = None,
        arguments: Sequence[str] = (),
    ) -> Path:  # fmt: skip
        """Build a wheel from an sdist file or a source tree; the same source gives the same bytes where its backend allows.

        Raises:   BuildFailed: with the end of the backend's output.
        """
        extra = ["--build-constraints", str(constraints)] if constraints else []
        done = self._run(
            ["build", "--wheel", "--out-dir", str(out), "--python", str(python), "--no-create-gitignore", *extra, *arguments, str(source)],
            cwd=out, environ={**(index_environ or {}), "SOURCE_DATE_EPOCH": "315532800"},
        )  # fmt: skip
        wheels = sorted(out.glob("*.whl"))
        if done.returncode != 0 or len(wheels) != 1:
            tail = "\n".join(_clean(done.stderr).splitlines()[-25:])
            raise BuildFailed(f"{source.name} could not be built into a wheel:\n{indented(tail)}",
                              hint="ask its authors for a wheel, or check its build requirements")  # fmt: skip
        return wheels[0]

    def create_venv(self, prefix: Path, *, python: Path) -> None:
        """Make a virtual environment at ``prefix`` on the interpreter ``python``; nothing is installed into it.

        Raises:   InstallFailed: as uv says.
        """
        done = self._run(
            ["venv", "--quiet", "--no-project", "--allow-existing", "--python", str(python), str(prefix)], cwd=prefix.parent
        )
        if done.returncode != 0:
            raise InstallFailed(f"no virtual environment could be made at {prefix}: {_clean(done.stderr)[-500:]}")

    def install(self, python: Path, wheels: Sequence[tuple[str, str, Path, str]], *, copy: bool = False) -> None:
        """Install exactly these wheels with ``python``, nothing else, from files on this machine, offline.

        Args:     wheels: (name, version, path, sha256) each.
                  copy: copies files instead of linking them to uv's cache.
        Raises:   InstallFailed: as uv says (a wheel for another platform, a wrong digest …).
        """
        if not wheels:
            return
        with tempfile.TemporaryDirectory(prefix="wardian-install-") as place:
            here = Path(place)
            (here / "pylock.toml").write_text(_pylock(wheels))
            # `uv pip install`, not `sync`: sync would remove what conda put there
            done = self._run(
                ["pip", "install", "--quiet", "--no-deps", "--requirements", "pylock.toml", "--python", str(python), "--break-system-packages",
                 "--link-mode", "copy" if copy else "hardlink", "--no-compile"],
                cwd=here, offline=True,
            )  # fmt: skip
        if done.returncode != 0:
            raise InstallFailed(f"the wheels could not be installed: {_clean(done.stderr)[-1500:]}")

    def find_python(self, requires: str = "") -> Found | None:
        """Return this machine's interpreter that satisfies the PEP 440 specifiers ``requires``, or None.

        Shims and virtual environments are looked through: the real interpreter is returned.
        """
        done = self._run(
            ["python", "find", "--no-project", "--system", "--no-python-downloads", *([requires] if requires else [])],
            cwd=Path("/"),
        )
        if done.returncode != 0:
            return None
        return self.inspect(Path(done.stdout.strip()))

    def inspect(self, python: Path) -> Found | None:
        """Return the version and the real executable of the interpreter at ``python``; None if it does not run."""
        return _inspect(python)

    def installed_pythons(self) -> list[Found]:
        """Return this machine's CPythons, one for each version, the newest first; ``path`` is the real executable."""
        arguments = ["python", "list", "--only-installed", "--all-versions", "--output-format", "json"]
        done = self._run(arguments, cwd=Path("/"))
        if done.returncode != 0:
            return []
        places: dict[str, str] = {}
        for entry in json.loads(done.stdout):
            if entry["implementation"] == "cpython" and entry["path"] and entry["variant"] == "default":
                places.setdefault(entry["version"], entry["path"])
        return [found for place in places.values() if (found := self.inspect(Path(place))) is not None]

    def clear_cache(self, *, timeout_s: int = 5) -> bool:
        """Remove uv's own cache; return whether it is gone. It stays if a uv at work holds it for longer than ``timeout_s``."""
        return self._run(["cache", "clean"], cwd=Path("/"), environ={"UV_LOCK_TIMEOUT": str(timeout_s)}).returncode == 0

    def python_downloads(self, catalogue: str | None) -> list[dict[str, Any]]:
        """Return the standalone Pythons that uv knows: ``version``, ``url``, ``os``, ``arch``, ``libc``, ``variant`` … each."""
        environ = {"UV_PYTHON_DOWNLOADS": "manual", "UV_PYTHON_PREFERENCE": "managed"}
        if catalogue:
            environ["UV_PYTHON_DOWNLOADS_JSON_URL"] = _as_url(catalogue)
        done = self._run(
            [
                "python",
                "list",
                "--only-downloads",
                "--all-versions",
                "--all-platforms",
                "--all-arches",
                "--output-format",
                "json",
            ],
            cwd=Path("/"),
            environ=environ,
        )
        if done.returncode != 0:
            raise Unavailable(f"the catalogue of standalone Pythons cannot be read: {_clean(done.stderr)[-300:]}")
        found: list[dict[str, Any]] = json.loads(done.stdout)
        return found

    def version(self) -> str:
        """Return uv's version."""
        return _version(_command())

    def _run(
        self, arguments: Sequence[str], *, cwd: Path, environ: Mapping[str, str] | None = None, offline: bool = False
    ) -> subprocess.CompletedProcess[str]:
        self._cache.mkdir(parents=True, exist_ok=True)
        full = {
            **self._environ,
            "UV_CACHE_DIR": str(self._cache),
            "UV_NO_PROGRESS": "1",
            "UV_HTTP_RETRIES": self._environ.get("UV_HTTP_RETRIES", "2"),  # three take up to 13 s to say "no network"
            "UV_PYTHON_DOWNLOADS": "never",
            "UV_PYTHON_PREFERENCE": "only-system",
            "UV_PYTHON_INSTALL_DIR": str(self._cache / "no-pythons"),
            "NO_COLOR": "1",
            **(environ or {}),
        }
        if offline or self._offline:
            full["UV_OFFLINE"] = "1"
        try:
            done = subprocess.run(
                [*_command(), *arguments], cwd=cwd, env=full, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
                check=False, preexec_fn=_dies_with_us(),
            )  # fmt: skip
        except OSError as error:
            raise WardianError(
                f"uv cannot be started: {error}", hint="install it again: `pip install uv`", code="uv_missing"
            ) from error
        if done.returncode != 0 and (place := full_place(done.stderr, self._cache)) is not None:
            raise disk_full(place)
        return done

    def _solve_error(self, stderr: str) -> WardianError:
        text = without_urls_credentials(_clean(stderr))
        low = text.lower()
        if re.search(r"\b40[13]\b.*(?:unauthorized|forbidden)|(?:unauthorized|forbidden).*\b40[13]\b", low, re.DOTALL):
            return Denied(
                f"an index wants credentials: {_last(text)}",
                hint="`wardian secret set NAME --url URL`, or a line in ~/.netrc",
                code="not_authorized",
            )
        if "network was disabled" in low:
            missing = re.findall(r"Because (\S+) was not found in the cache", text)
            what = f": nothing is known of {', '.join(f'`{name}`' for name in dict.fromkeys(missing))}" if missing else ""
            return Unavailable(
                f"an index is needed to solve this, but Wardian is offline{what}",
                code="offline",
                hint="unset WARDIAN_OFFLINE, or lock and build it before the network goes",
            )
        if "no solution found" in low:
            return SolveFailed(text.partition("cause:")[2].strip() or text)
        if "failed to build" in low or "build backend" in low:
            return BuildFailed(f"source code could not be built while solving:\n{indented(text[-2500:])}")
        if re.search(r"unexpected (?:json|html)|unsupported `content-type`", low):
            return Unavailable(
                f"what an index answers is no page of a package index:\n{indented(text)}", code="bad_index_page",
                hint="is its URL right? `wardian config show indexes` has those that are set",
            )  # fmt: skip
        if "offline" in low:
            return Unavailable(
                f"an index is needed, but Wardian is offline: {_last(text)}", code="offline", hint="unset WARDIAN_OFFLINE"
            )
        network = (
            "error sending request",
            "failed to fetch",
            "dns error",
            "connection",
            "timed out",
            "request failed",
            "http status server error",
        )
        if any(word in low for word in network):
            return Unavailable(
                f"an index does not answer: {text}", code="index_unavailable", hint="check the network and `wardian doctor`"
            )
        return SolveFailed(text or "uv failed without a word")


def indented(text: str) -> str:
    """Return what a tool said as it stands below our own words."""
    return "\n".join(f"  {line}".rstrip() for line in text.splitlines())


def without_urls_credentials(text: str) -> str:
    """Return ``text`` with the credentials of every URL in it left out."""
    return re.sub(r"[a-z+]+://[^\s\"'`<>]+", lambda m: without_credentials(m.group(0)), text)


def _clean(stderr: str) -> str:
    text = re.sub(r"\x1b\[[0-9;]*m", "", stderr)
    lines = [line for line in text.splitlines() if not line.startswith("warning: ")]
    return "\n".join(lines).removeprefix("error: ").strip()


def _last(text: str) -> str:
    return text.splitlines()[-1].strip().removeprefix("hint: ") if text else ""


def _as_url(place: str) -> str:
    return place if "://" in place else Path(place).absolute().as_uri()


def _pylock(wheels: Sequence[tuple[str, str, Path, str]]) -> str:
    # JSON strings are TOML basic strings for what stands here: names, versions, paths
    lines = ['lock-version = "1.0"', 'created-by = "wardian"']
    for name, version, path, sha256 in wheels:
        lines += [
            "[[packages]]", f"name = {json.dumps(name)}", f"version = {json.dumps(version)}",
            f"wheels = [{{ name = {json.dumps(path.name)}, path = {json.dumps(str(path))}, hashes = {{ sha256 = {json.dumps(sha256)} }} }}]",
        ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _dies_with_us() -> Callable[[], None] | None:
    """Return what has uv killed when this process is: an orphan would go on writing into a prefix that somebody else installs.

    Imported here, before the fork: an import in the child of a process with threads may wait for a lock that nobody holds.
    """
    if sys.platform != "linux":
        return None
    from wardian.tools import system_calls

    return partial(system_calls.die_with_parent, signal.SIGKILL)


_ONE_LOOKS = threading.Lock()


def uv_program() -> str:
    """Return the path of uv's program."""
    with _ONE_LOOKS:  # Python 3.11's `sysconfig`, which uv asks, shows a second thread half of what it knows
        return _found_program()


def _command() -> tuple[str, ...]:
    return own_program("uv") or (uv_program(),)


@cache
def _found_program() -> str:
    import uv

    return os.fspath(uv.find_uv_bin())


@cache
def _version(command: tuple[str, ...]) -> str:
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL)
    return done.stdout.split()[1]


_PROBE = "import os,platform,sys;print(platform.python_version());print(os.path.realpath(getattr(sys,'_base_executable',sys.executable) or sys.executable))"


def _inspect(python: Path) -> Found | None:
    try:
        done = subprocess.run(
            [os.fspath(python), "-I", "-S", "-c", _PROBE],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = done.stdout.splitlines()
    return Found(lines[0], Path(lines[1])) if done.returncode == 0 and len(lines) == 2 else None  # noqa: PLR2004
