"""podman, through its command line."""

from __future__ import annotations

import base64
import contextlib
import json
import tempfile
from typing import TYPE_CHECKING

from wardian.image.engine import EngineCheck, EngineUnavailable
from wardian.image.engine_cli import CommandLineEngine, words
from wardian.tools.meanwhile import meanwhile

if TYPE_CHECKING:
    from pathlib import Path

    from wardian.image.engine import Container, LocalImage, Login
    from wardian.image.engine_way import Way

_NOWHERE = "/wardian-probe"


class PodmanEngine(CommandLineEngine):
    """podman as root or as an ordinary user.

    As an ordinary user, root inside a container is the caller on this machine: the files it makes are the caller's, and no
    layer has to be copied for another mapping of users.
    """

    name = "podman"
    program = "podman"

    def check(self) -> EngineCheck:
        """Return whether podman works, by having it start a container of an empty directory. See ``ContainerEngine.check``."""
        version, rootless = "", False
        try:
            done = self.call("info", "--format", "json")
            if done.returncode != 0:
                raise self.unavailable(done)
            document = json.loads(done.stdout)
            version, rootless = document["version"]["Version"], document["host"]["security"]["rootless"]
            if document["host"].get("serviceIsRemote"):
                raise EngineUnavailable("podman runs elsewhere (CONTAINER_HOST): files of this machine cannot be mounted")
            self._try_out()
        except EngineUnavailable as error:
            return EngineCheck(self.name, works=False, version=version, rootless=rootless, detail=error.message)
        notes = [*(["rootless"] if rootless else []), *([way] if (way := str(self._memory.get())) else [])]
        return EngineCheck(self.name, works=True, version=version, rootless=rootless, detail=", ".join(notes))

    def load(
        self, source: str | Path, *, login: Login | None = None, plain_http: bool = False, platform: str = ""
    ) -> LocalImage:
        """See ``ContainerEngine.load``. How containers start on this machine is found out meanwhile, if nobody has yet."""
        with contextlib.nullcontext() if self._memory.is_known else meanwhile(self._try_out):
            return super().load(source, login=login, plain_http=plain_http, platform=platform)

    def _try_out(self) -> None:
        way = self._memory.get()
        with tempfile.TemporaryDirectory(prefix="wardian-probe-") as root:
            while True:
                limits = [word for limit in way.ulimits() for word in ("--ulimit", limit)]
                runtime = ["--runtime", way.runtime] if way.runtime else []
                done = self.call(
                    *runtime, "run", "--rm", "--network", "none", "--log-driver", "none", *limits, "--rootfs", root, _NOWHERE
                )
                if _NOWHERE in done.stderr or done.returncode == 127:  # noqa: PLR2004 - it looked for the program: all else works
                    self._memory.put(way)
                    return
                following = way.after(done.stderr, has_runc=self.has_runc())
                if following is None:
                    raise EngineUnavailable(f"podman cannot start a container: {words(done.stderr)}")
                way = following

    def removal(self, name: str) -> tuple[str, ...]:
        """Return the command that ends and removes the container ``name``."""
        return (self._program, *self._options, "rm", "--force", "--ignore", "--time", "0", "--volumes", name)

    def grammar(self, container: Container, way: Way) -> tuple[tuple[str, ...], list[str]]:
        """Return podman's own: a runtime is chosen before ``run``; devices by CDI names."""
        after = ["--user", container.user or "0:0"]
        after += [word for limit in way.ulimits() for word in ("--ulimit", limit)]
        after += [word for number in range(container.gpus or 0) for word in ("--device", f"nvidia.com/gpu={number}")]
        return (("--runtime", way.runtime) if way.runtime else ()), after

    def pull_options(self, *, plain_http: bool) -> list[str]:
        """Return what goes with ``pull``."""
        return ["--tls-verify=false"] if plain_http else []

    def login_variables(self, directory: Path, registry: str, login: Login) -> dict[str, str]:
        """Write a login down; podman finds it through REGISTRY_AUTH_FILE."""
        path = directory / "auth.json"
        path.touch(mode=0o600)
        path.write_text(auth_document(registry, login))
        return {"REGISTRY_AUTH_FILE": str(path)}


def auth_document(registry: str, login: Login) -> str:
    """Return a login as docker's and podman's files of logins have it."""
    token = base64.b64encode(f"{login.user}:{login.password}".encode()).decode()
    return json.dumps({"auths": {registry: {"auth": token}}})
