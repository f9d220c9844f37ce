"""git: fetches one commit of a repository. Only for VCS requirements."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

from wardian.errors import BuildFailed, InvalidInput, WardianError
from wardian.tools.http import without_credentials

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_PASSED = re.compile(r"HOME|PATH|LANG|SSH_AUTH_SOCK|GIT_SSL_\w+|GIT_SSH\w*|SSL_\w+|(?i:\w+_proxy)|XDG_CONFIG_HOME")
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


class Git:
    """git as a subprocess that asks nobody anything and runs no repository's hooks."""

    def __init__(self, environ: Mapping[str, str]):
        self._environ = {key: value for key, value in environ.items() if _PASSED.fullmatch(key)} | {
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ALLOW_PROTOCOL": "https:http:ssh:git:file",
        }

    def checkout(self, url: str, commit: str, target: Path) -> None:
        """Put the tree of ``commit`` of the repository at ``url`` into ``target``, submodules included, without history.

        Raises:   InvalidInput: not a full commit id.  BuildFailed: git says no.
        """
        if not _COMMIT.fullmatch(commit):
            raise InvalidInput(f"`{commit[:80]}` is not a full commit id", code="bad_commit")
        target.mkdir(parents=True, exist_ok=True)
        self._run(["init", "--quiet"], target, url)
        if self._try(["fetch", "--quiet", "--depth", "1", "--no-tags", "--", url, commit], target).returncode != 0:
            self._run(
                ["fetch", "--quiet", "--tags", "--", url, "+refs/heads/*:refs/remotes/origin/*"], target, url
            )  # an old server
        self._run(["-c", "core.hooksPath=", "checkout", "--quiet", "--detach", commit], target, url)
        self._run(
            ["-c", "core.hooksPath=", "submodule", "--quiet", "update", "--init", "--recursive", "--depth", "1"], target, url
        )

    def _try(self, arguments: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(["git", *arguments], cwd=cwd, env=self._environ, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                  errors="replace", check=False)  # fmt: skip
        except OSError as error:
            raise WardianError(f"git cannot be started: {error.strerror}", hint="install git: requirements from repositories need it",
                               code="git_missing") from error  # fmt: skip

    def _run(self, arguments: list[str], cwd: Path, url: str) -> None:
        done = self._try(arguments, cwd)
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no output"])[-1]
            raise BuildFailed(f"{without_credentials(url)} cannot be checked out: {last}", code="checkout_failed")
