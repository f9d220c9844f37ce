"""What the command lines of podman and docker have in common."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wardian.errors import BadArchive, Denied, InvalidInput, NotFound, Unavailable
from wardian.image.engine import RUN_LABEL, Command, EngineUnavailable, LocalImage
from wardian.image.engine_way import Way, WayMemory

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from wardian.image.engine import Container, EngineCheck, Login, Mount

SHORT_S = 60.0  # for an answer about what is here
_PLAIN = re.compile(r"[\w./+@%=~ -]+")  # what a mount's path may hold without the command line's grammar coming into play
_DENIED = re.compile(r"(?i)unauthorized|authentication required|denied|no basic auth|status: 40[13]|403 Forbidden")
_MISSING = re.compile(r"(?i)manifest unknown|not found|name unknown|no such manifest|404")
_UNKNOWN_IMAGE = re.compile(r"(?i)no such image|image not known|no such object|failed to find image")


class CommandLineEngine:
    """A container engine through its command line; each call is one process with an argument list."""

    name = ""
    program = ""

    def __init__(
        self,
        environ: Mapping[str, str] | None = None,
        *,
        memory: Path | None = None,
        options: Sequence[str] = (),
        program: str | None = None,
    ) -> None:
        """Make the engine; nothing is called yet.

        Args:     environ: for its processes (storage, sockets, logins are found through it).
                  memory: a directory in which what works on this machine is remembered.
                  options: before the subcommand of every call.  program: instead of the one on the PATH.
        """
        self._environ = dict(os.environ if environ is None else environ)
        self._options = tuple(options)
        self._program = program or shutil.which(type(self).program, path=self._environ.get("PATH", os.defpath)) or ""
        self._memory = WayMemory(memory, self.name, self._program)

    # -- the port ---------------------------------------------------------------------------------------------------------

    @abstractmethod
    def check(self) -> EngineCheck:
        """See ``ContainerEngine.check``."""

    def find(self, reference: str) -> LocalImage | None:
        """See ``ContainerEngine.find``."""
        done = self.call("image", "inspect", "--", reference)
        if done.returncode == 0:
            return _image(json.loads(done.stdout)[0])
        if _UNKNOWN_IMAGE.search(done.stderr):
            return None
        raise self.unavailable(done)

    def load(
        self, source: str | Path, *, login: Login | None = None, plain_http: bool = False, platform: str = ""
    ) -> LocalImage:
        """See ``ContainerEngine.load``."""
        return (
            self._read_archive(source)
            if isinstance(source, Path)
            else self._pull(source, login, platform, plain_http=plain_http)
        )

    def command(self, container: Container, *, failed: str = "", variables_path: str = "") -> Command | None:
        """See ``ContainerEngine.command``."""
        if not self._program:
            raise self.missing()
        way: Way | None = self._memory.get()
        if failed:
            way = way.after(failed, has_runc=self.has_runc()) if way else None
            if way is None:
                return None
            self._memory.put(way)
        return self._command(container, way or Way(), variables_path)

    def remove(self, which: Callable[[Mapping[str, str]], bool]) -> list[str]:
        """See ``ContainerEngine.remove``."""
        done = self.call("ps", "--all", "--no-trunc", "--filter", f"label={RUN_LABEL}", "--format", "{{.Names}}")
        if done.returncode != 0:
            raise self.unavailable(done)
        removed = []
        for name in done.stdout.split():
            labels = self._labels(name)
            if labels is not None and which(labels):
                self.call(*self.removal(name)[1 + len(self._options) :])
                removed.append(name)
        return removed

    @property
    def path(self) -> str:
        """The program; empty: it is not installed."""
        return self._program

    # -- for the adapters ---------------------------------------------------------------------------------------------------

    def call(self, *arguments: str, timeout_s: float | None = SHORT_S, **changes: str) -> subprocess.CompletedProcess[str]:
        """Execute a subcommand and return how it went; ``changes``: further variables.

        Raises:   EngineUnavailable: it is not installed, or does not answer in time.
        """
        if not self._program:
            raise self.missing()
        try:
            return subprocess.run([self._program, *self._options, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                  errors="replace", timeout=timeout_s, check=False, env={**self._environ, **changes}, cwd="/")  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise EngineUnavailable(f"{self.name} does not answer: `{self.name} {arguments[0]}` took longer than {timeout_s:g} s",
                                    code="engine_hangs") from error  # fmt: skip
        except OSError as error:
            raise EngineUnavailable(f"{self._program} cannot be executed: {error.strerror}") from error

    def missing(self) -> EngineUnavailable:
        """Return the error for an engine that is not installed."""
        return EngineUnavailable(f"{self.name} is not installed", hint=f"install {self.name}, or run without `-t {self.name}`",
                                 code="engine_missing")  # fmt: skip

    def unavailable(self, done: subprocess.CompletedProcess[str]) -> EngineUnavailable:
        """Return the error for a call that failed."""
        return EngineUnavailable(f"{self.name} does not work here: {words(done.stderr)}", hint="`wardian doctor` tries it out")

    def has_runc(self) -> bool:
        """Return whether runc is installed: the runtime that works on the most machines."""
        places = self._environ.get("PATH", os.defpath) + ":/usr/sbin:/usr/bin:/sbin:/usr/local/sbin:/usr/local/bin"
        return shutil.which("runc", path=places) is not None

    @abstractmethod
    def removal(self, name: str) -> tuple[str, ...]:
        """Return the command that ends and removes the container ``name``."""

    @abstractmethod
    def grammar(self, container: Container, way: Way) -> tuple[tuple[str, ...], list[str]]:
        """Return what this engine wants said its own way: options before ``run``, and after it."""

    @abstractmethod
    def pull_options(self, *, plain_http: bool) -> list[str]:
        """Return what goes with ``pull``."""

    @abstractmethod
    def login_variables(self, directory: Path, registry: str, login: Login) -> dict[str, str]:
        """Write a login down in ``directory``; return the variables through which the engine finds it."""

    # -- how it is said ----------------------------------------------------------------------------------------------------

    def _command(self, container: Container, way: Way, variables_path: str) -> Command:
        before, after = self.grammar(container, way)
        run = ["run", "--name", container.name, "--pull", "never", "--log-driver", "none", "--security-opt", "label=disable"]
        run += ["--rm"] if container.removes_itself else []
        run += ["--interactive"] if container.takes_input else []
        for key, value in container.labels.items():
            run += ["--label", f"{key}={value}"]
        if not any(word.split("=")[0] in ("--network", "--net") for word in container.extra):
            run += ["--network", container.network]
        run += [word for mount in container.mounts for word in ("--mount", _mount(mount))]
        run += ["--workdir", container.directory] if container.directory else []
        run += ["--shm-size", str(container.shm_bytes)] if container.shm_bytes else []
        run += ["--memory", str(container.memory_bytes)] if container.memory_bytes else []
        run += ["--cpus", f"{container.cpus:g}"] if container.cpus else []
        environ, lines = dict(self._environ), []
        for name, value in container.variables.items():
            if "\n" in value or "\r" in value:  # a file of variables has one a line
                if name in environ or name == "PATH":
                    raise InvalidInput(
                        f"the variable `{name}` of a container cannot have more than one line", code="bad_variable"
                    )
                environ[name] = value
                run += ["--env", name]
            else:
                lines.append(f"{name}={value}\n")
        run += ["--env-file", variables_path] if lines else []
        run += after
        run += ["--entrypoint", container.command[0], *container.extra, container.image, *container.command[1:]]
        head = (self._program, *self._options)
        return Command(
            (*head, *before, *run), (*head, "kill", "--signal", "TERM", container.name), self.removal(container.name),
            (*head, "container", "inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", container.name), environ, "".join(lines),
        )  # fmt: skip

    def _labels(self, name: str) -> dict[str, str] | None:
        done = self.call("container", "inspect", "--format", "{{json .Config.Labels}}", name)
        return json.loads(done.stdout) or {} if done.returncode == 0 else None  # gone meanwhile

    def _pull(self, reference: str, login: Login | None, platform: str, *, plain_http: bool) -> LocalImage:
        with tempfile.TemporaryDirectory(prefix="wardian-login-") as directory:
            registry = reference.split("/", 1)[0]
            variables = self.login_variables(Path(directory), registry, login) if login else {}
            options = [*self.pull_options(plain_http=plain_http), *(["--platform", platform] if platform else [])]
            done = self.call("pull", "--quiet", *options, "--", reference, timeout_s=None, **variables)
        if done.returncode != 0:
            said = words(done.stderr)
            if _DENIED.search(done.stderr):
                raise Denied(f"{self.name} may not pull {reference}: {said}", hint=f"log in: `{self.name} login {registry}`")
            if _MISSING.search(done.stderr):
                raise NotFound(f"there is no image {reference}: {said}", code="image_not_found")
            raise Unavailable(f"{self.name} cannot pull {reference}: {said}", code="pull_failed")
        return self._loaded(reference)

    def _read_archive(self, path: Path) -> LocalImage:
        done = self.call("load", "--quiet", "--input", str(path.absolute()), timeout_s=None)
        if done.returncode != 0:
            raise BadArchive(
                f"{self.name} cannot read the image archive {path}: {words(done.stderr)}", code="bad_image_archive"
            )
        return self._loaded(done.stdout.strip().splitlines()[-1].split(": ", 1)[-1].strip())

    def _loaded(self, reference: str) -> LocalImage:
        image = self.find(reference)
        if image is None:
            raise EngineUnavailable(f"{self.name} says that it has {reference} now, and does not know it")
        return image


def words(text: str) -> str:
    """Return what an engine said in an error, in one line, without its own frame."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith(("time=", "See '", "WARN", "Run '", "Usage:"))] or lines
    tried = [line[2:] for line in lines if line.startswith("* ")]  # podman tries several kinds of archives
    lines = [line for line in tried if not line.endswith(("no such file or directory", "not a directory"))] or lines
    said = lines[-1] if lines else "it says nothing"
    return re.sub(r"^(Error:|docker:|Error response from daemon:|level=error msg=)\s*", "", re.sub(r"^docker: ", "", said))[
        :1000
    ]


def _mount(mount: Mount) -> str:
    for path in (str(mount.source), mount.target):
        if not _PLAIN.fullmatch(path):
            raise InvalidInput(f"{path!r} cannot be named as a mount", hint="give it a plain name, for instance by a link",
                               code="bad_mount")  # fmt: skip
    return f"type=bind,source={mount.source},target={mount.target}" + (",readonly" if mount.read_only else "")


def _image(document: dict[str, Any]) -> LocalImage:
    config = document.get("Config") or {}
    pairs = [str(item).partition("=")[::2] for item in config.get("Env") or ()]
    name = str(document["Id"])
    return LocalImage(
        id=name if name.startswith("sha256:") else f"sha256:{name}", digests=tuple(document.get("RepoDigests") or ()),
        platform=f"{document.get('Os', 'linux')}/{document.get('Architecture', '')}", variables=tuple((n, v) for n, v in pairs),
        user=str(config.get("User") or ""), size_bytes=int(document.get("Size") or 0),
    )  # fmt: skip
