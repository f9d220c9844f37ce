"""docker as a builder: with BuildKit, and the classic builder of its daemon."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from wardian.image.builder import BuildCanceled, BuilderCheck, Recipe
from wardian.image.builder_buildah import logins_document
from wardian.image.builder_process import Stopped, execute, failure, secret_files
from wardian.image.engine import EngineUnavailable
from wardian.image.engine_cli import words
from wardian.image.engine_docker import DockerEngine

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_BUILT_IN_UNTIL = 23  # from this version on, the command line has BuildKit in a plugin
_BUILT_IN_FROM = (18, 9)


class BuildKitBuilder:
    """BuildKit in a docker daemon, through the buildx plugin or, before docker 23, the command line itself."""

    name = "buildkit"
    archive = "docker"

    def __init__(self, environ: Mapping[str, str] | None = None, *, program: str | None = None) -> None:
        """Make the builder; nothing is called yet.

        Args:     environ: for its processes.  program: instead of the ``docker`` on the PATH.
        """
        self._environ = dict(os.environ if environ is None else environ)
        self._engine = DockerEngine(self._environ, program=program)

    def check(self) -> BuilderCheck:
        """See ``ImageBuilder.check``."""
        check = self._engine.check()
        if not check.works:
            return BuilderCheck(self.name, works=False, detail=check.detail)
        return self._check(check.version)

    def _check(self, version: str) -> BuilderCheck:
        if self._has_buildx():
            return BuilderCheck(self.name, works=True, version=f"docker {version}", detail="buildx")
        client = self._engine.call("version", "--format", "{{.Client.Version}}").stdout.strip()
        numbers = tuple(int(n) for n in re.findall(r"\d+", client)[:2])
        if _BUILT_IN_FROM <= numbers < (_BUILT_IN_UNTIL,):
            return BuilderCheck(self.name, works=True, version=f"docker {version}", detail="BuildKit of the command line")
        return BuilderCheck(
            self.name, works=False, version=version, detail=f"docker's command line {client} has no buildx plugin"
        )

    def cannot(self, recipe: Recipe) -> str:
        """See ``ImageBuilder.cannot``."""
        del recipe
        return ""

    def build(self, recipe: Recipe, output: Path, log: Callable[[str], None], *, stop: int | None = None) -> None:
        """See ``ImageBuilder.build``."""
        with secret_files(recipe.secrets) as (place, secrets):
            environ = {**self._environ, **self._variables(), **self._logins(recipe, place)}
            try:
                code, lines = execute(self._argv(recipe, secrets), environ, log, place=place, stop=stop, secrets=recipe.secrets)
            except Stopped:
                raise BuildCanceled("the build was stopped on request") from None
            if code != 0:
                raise failure(recipe, lines)
        done = self._engine.call("save", "--output", str(output), recipe.tag, timeout_s=None)
        if done.returncode != 0:
            raise EngineUnavailable(f"docker cannot write the image: {words(done.stderr)}")

    def _variables(self) -> dict[str, str]:
        return {"DOCKER_BUILDKIT": "1"}

    def _verb(self) -> Sequence[str]:
        return ("buildx", "build", "--load") if self._has_buildx() else ("build",)

    def _has_buildx(self) -> bool:
        return self._engine.call("buildx", "version").returncode == 0

    def _argv(self, recipe: Recipe, secrets: Mapping[str, Path]) -> list[str]:
        argv = [self._engine.path, *self._verb(), *self._progress(), "--network", "host", "--tag", recipe.tag]
        argv += [word for key, value in sorted(recipe.build_args.items()) for word in ("--build-arg", f"{key}={value}")]
        argv += [word for name, path in secrets.items() for word in ("--secret", f"id={name},src={path}")]
        argv += ["--platform", recipe.platform] if recipe.platform else []
        argv += ["--pull"] if recipe.refresh else []
        argv += [] if recipe.use_cache else ["--no-cache"]
        return [*argv, "--file", str(recipe.path), str(recipe.context)]

    def _progress(self) -> Sequence[str]:
        return ("--progress", "plain")

    def _logins(self, recipe: Recipe, directory: Path) -> dict[str, str]:
        if not recipe.logins:
            return {}
        path = directory / "config.json"
        path.touch(mode=0o600)
        path.write_text(logins_document(recipe.logins))
        plugins = Path(self._environ.get("DOCKER_CONFIG") or Path(self._environ.get("HOME", "/root"), ".docker"), "cli-plugins")
        (directory / "cli-plugins").symlink_to(plugins)
        return {"DOCKER_CONFIG": str(directory), "DOCKER_HOST": self._engine.endpoint()}


class DockerBuilder(BuildKitBuilder):
    """docker's classic builder, which every daemon has."""

    name = "docker"

    def _check(self, version: str) -> BuilderCheck:
        return BuilderCheck(self.name, works=True, version=f"docker {version}", detail="the classic builder")

    def cannot(self, recipe: Recipe) -> str:
        """See ``ImageBuilder.cannot``."""
        needs = list(recipe.dockerfile.needs_buildkit)
        needs += ["steps that mount secrets or caches"] if recipe.dockerfile.needs_mounts or recipe.secrets else []
        needs += ["another platform"] if recipe.platform else []
        return "; ".join(needs)

    def _variables(self) -> dict[str, str]:
        return {"DOCKER_BUILDKIT": "0"}

    def _verb(self) -> Sequence[str]:
        return ("build", "--force-rm")  # else the container of a step that failed stays

    def _progress(self) -> Sequence[str]:
        return ()
