"""docker, through its command line."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from wardian.image.engine import EngineCheck, EngineUnavailable
from wardian.image.engine_cli import CommandLineEngine
from wardian.image.engine_podman import auth_document

if TYPE_CHECKING:
    from pathlib import Path

    from wardian.image.engine import Container, Login
    from wardian.image.engine_way import Way


class DockerEngine(CommandLineEngine):
    """docker: a daemon on this machine, as root or rootless, reached as its command line is set up to reach it."""

    name = "docker"
    program = "docker"
    _is_rootless: bool | None = None

    def check(self) -> EngineCheck:
        """Return whether the daemon answers. See ``ContainerEngine.check``."""
        version = ""
        try:
            done = self.call("version", "--format", "{{.Server.Version}}")
            if done.returncode != 0:
                raise self.unavailable(done)
            version = done.stdout.strip()
            if not self.endpoint().startswith("unix://"):
                raise EngineUnavailable("the docker daemon runs elsewhere: files of this machine cannot be mounted")
            rootless = self._rootless()
        except EngineUnavailable as error:
            return EngineCheck(self.name, works=False, version=version, detail=error.message)
        return EngineCheck(self.name, works=True, version=version, rootless=rootless, detail="rootless" if rootless else "")

    def removal(self, name: str) -> tuple[str, ...]:
        """Return the command that ends and removes the container ``name``."""
        return (self._program, *self._options, "rm", "--force", "--volumes", name)

    def grammar(self, container: Container, way: Way) -> tuple[tuple[str, ...], list[str]]:
        """Return docker's own: a daemon that is root makes files as whoever it is told to be."""
        after = ["--runtime", way.runtime] if way.runtime else []
        user = container.user
        if user is None:
            user = f"{os.geteuid()}:{os.getegid()}" if os.geteuid() != 0 and not self._rootless() else "0:0"
        after += ["--user", user]
        after += [word for limit in way.ulimits() for word in ("--ulimit", limit)]
        after += ["--gpus", str(container.gpus)] if container.gpus else []
        return (), after

    def pull_options(self, *, plain_http: bool) -> list[str]:
        """Return what goes with ``pull``: plain HTTP is for the daemon to allow (``insecure-registries``; 127.0.0.0/8 is)."""
        del plain_http
        return []

    def login_variables(self, directory: Path, registry: str, login: Login) -> dict[str, str]:
        """Write a login down; docker finds it through DOCKER_CONFIG."""
        path = directory / "config.json"
        path.touch(mode=0o600)
        path.write_text(auth_document(registry, login))
        return {"DOCKER_CONFIG": str(directory), "DOCKER_HOST": self.endpoint()}

    def _rootless(self) -> bool:
        if self._is_rootless is None:
            done = self.call("info", "--format", "{{json .SecurityOptions}}")
            if done.returncode != 0:
                raise self.unavailable(done)
            self._is_rootless = any("rootless" in option for option in json.loads(done.stdout) or ())
        return self._is_rootless

    def endpoint(self) -> str:
        """Return where the daemon is reached."""
        if host := self._environ.get("DOCKER_HOST"):
            return host
        done = self.call("context", "inspect", "--format", "{{.Endpoints.docker.Host}}")
        return done.stdout.strip() if done.returncode == 0 else "unix:///var/run/docker.sock"
