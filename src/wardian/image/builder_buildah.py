"""buildah and podman as builders: no daemon, as root or not; their command lines are the same in this."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

from wardian.image.builder import BuildCanceled, BuilderCheck, Recipe
from wardian.image.builder_process import Stopped, execute, failure, secret_files
from wardian.image.engine import EngineUnavailable
from wardian.image.engine_cli import words
from wardian.image.engine_way import Way, WayMemory, is_refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from wardian.image.engine import Login

_LOOPBACK = re.compile(r"(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?")
_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"


class BuildahBuilder:
    """buildah. Steps run in containers of its own; where runtimes refuse, first runc is tried, then plain chroot."""

    name = "buildah"
    archive = "oci"

    def __init__(self, environ: Mapping[str, str] | None = None, *, memory: Path | None = None) -> None:
        """Make the builder; nothing is called yet.

        Args:     environ: for its processes.  memory: a directory in which what works on this machine is remembered.
        """
        self._environ = dict(os.environ if environ is None else environ)
        self._program = shutil.which(self.name, path=self._environ.get("PATH", os.defpath)) or ""
        self._memory = WayMemory(memory, f"build-{self.name}", self._program)

    def check(self) -> BuilderCheck:
        """See ``ImageBuilder.check``."""
        if not self._program:
            return BuilderCheck(self.name, works=False, detail=f"{self.name} is not installed")
        try:
            done = self._call("--version")
            version = done.stdout.split("version", 1)[-1].split()[0] if done.returncode == 0 else ""
            done = self._call("images", "--quiet")  # storage that cannot be opened is the usual trouble
        except EngineUnavailable as error:
            return BuilderCheck(self.name, works=False, detail=error.message)
        if done.returncode != 0:
            return BuilderCheck(self.name, works=False, version=version, detail=words(done.stderr))
        return BuilderCheck(self.name, works=True, version=f"{self.name} {version}", detail=str(self._memory.get()))

    def cannot(self, recipe: Recipe) -> str:
        """See ``ImageBuilder.cannot``: here-documents came with buildah 1.33, which is told by its version."""
        needs = recipe.dockerfile.needs_buildkit
        return "; ".join(needs) if needs and not self._knows_heredocs() else ""

    def build(self, recipe: Recipe, output: Path, log: Callable[[str], None], *, stop: int | None = None) -> None:
        """See ``ImageBuilder.build``."""
        way = self._memory.get()
        while True:
            code, lines = self._try(recipe, way, log, stop)
            said = "\n".join(lines)
            if code == 0 or not is_refusal(said):  # a step that fails has been started: the way is one
                self._memory.put(way)
            if code == 0:
                break
            following = way.after(said, has_runc=self._has_runc(), can_chroot=self.name == "buildah")
            if following is None:
                raise failure(recipe, lines)
            way = following
            log(f"once more, {way}")
        done = self._call("push", "--quiet", self._tag(recipe), f"oci-archive:{output}", timeout_s=None)
        if done.returncode != 0:
            raise EngineUnavailable(f"{self.name} cannot write the image: {words(done.stderr)}")

    def _try(self, recipe: Recipe, way: Way, log: Callable[[str], None], stop: int | None) -> tuple[int, list[str]]:
        with secret_files(recipe.secrets) as (place, secrets):
            environ = {**self._environ, **login_file(place, recipe.logins)}
            mark = place / "mark"  # a secret that no step asks for: its id tells this build's working containers from others'
            mark.touch(mode=0o600)
            argv = self._argv(recipe, way, {**secrets, place.name: mark})
            try:
                return execute(argv, environ, log, place=place, stop=stop, secrets=recipe.secrets, cleaner=self._program)
            except Stopped:
                raise BuildCanceled("the build was stopped on request") from None

    def _argv(self, recipe: Recipe, way: Way, secrets: Mapping[str, Path]) -> list[str]:
        # OCI images know neither SHELL nor HEALTHCHECK: the steps are carried out as docker's format has them
        argv = [
            self._program,
            *self._before(way),
            "build",
            "--format",
            "docker",
            "--network",
            "host",
            "--layers",
            "--force-rm",
            "--tag",
            self._tag(recipe),
        ]
        argv += ["--isolation", way.isolation] if way.isolation else []
        argv += self._runtime(way)
        argv += [word for limit in way.ulimits() for word in ("--ulimit", limit)]
        argv += [word for key, value in sorted(recipe.build_args.items()) for word in ("--build-arg", f"{key}={value}")]
        argv += [word for name, path in secrets.items() for word in ("--secret", f"id={name},src={path}")]
        argv += ["--platform", recipe.platform] if recipe.platform else []
        argv += ["--tls-verify=false"] if recipe.plain_http and _all_here(recipe) else []
        argv += ["--pull-always"] if recipe.refresh and self.name == "buildah" else ["--pull=always"] if recipe.refresh else []
        argv += [] if recipe.use_cache else ["--no-cache"]
        return [*argv, "--file", str(recipe.path), str(recipe.context)]

    def _before(self, _way: Way) -> Sequence[str]:
        return ()

    def _runtime(self, way: Way) -> Sequence[str]:
        return ("--runtime", way.runtime) if way.runtime else ()

    def _tag(self, recipe: Recipe) -> str:
        return f"localhost/{recipe.tag}"

    def _knows_heredocs(self) -> bool:
        done = self._call("--version")
        try:
            major, minor = done.stdout.split("version", 1)[-1].split()[0].split(".")[:2]
            return (int(major), int(minor)) >= self._heredocs_since()
        except (ValueError, IndexError):
            return False

    def _heredocs_since(self) -> tuple[int, int]:
        return (1, 33)

    def _has_runc(self) -> bool:
        return shutil.which("runc", path=f"{self._environ.get('PATH', os.defpath)}:{_SBIN}") is not None

    def _call(self, *arguments: str, timeout_s: float | None = 60.0) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run([self._program, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
                                  timeout=timeout_s, env=self._environ, check=False, cwd="/")  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise EngineUnavailable(f"{self.name} does not answer: {error}") from error


class PodmanBuilder(BuildahBuilder):
    """podman, which has buildah inside."""

    name = "podman"

    def _before(self, way: Way) -> Sequence[str]:
        return ("--runtime", way.runtime) if way.runtime else ()

    def _runtime(self, _way: Way) -> Sequence[str]:
        return ()

    def _heredocs_since(self) -> tuple[int, int]:
        return (4, 9)


def _all_here(recipe: Recipe) -> bool:
    """Return whether all base images come from registries of this machine: the option would switch off TLS for every registry."""
    registries = [image.split("/", 1)[0] for image in recipe.dockerfile.base_images(recipe.build_args) if "/" in image]
    return bool(registries) and all(_LOOPBACK.fullmatch(registry) for registry in registries)


def login_file(directory: Path, logins: Mapping[str, Login]) -> dict[str, str]:
    """Write logins down in ``directory``; return the variable through which podman and buildah find them."""
    if not logins:
        return {}
    path = directory / "auth.json"
    path.touch(mode=0o600)
    path.write_text(logins_document(logins))
    return {"REGISTRY_AUTH_FILE": str(path)}


def logins_document(logins: Mapping[str, Login]) -> str:
    """Return logins as docker's and podman's files have them."""
    from wardian.image.engine_podman import auth_document

    auths: dict[str, Any] = {}
    for registry, login in logins.items():
        auths |= json.loads(auth_document(registry, login))["auths"]
    return json.dumps({"auths": auths})
