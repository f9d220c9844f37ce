"""The `wardian` command as a user runs it: in a process of its own, with a home, a cache and an index of its own."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


_started: list[subprocess.Popen[str]] = []


def end_started() -> None:
    """End what a test has started and left behind, as one that failed does: else the next one is blamed for it."""
    while _started:
        process = _started.pop()
        if process.poll() is None:
            process.kill()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None and not stream.closed:
                with contextlib.suppress(OSError):
                    stream.close()
        process.wait()


@dataclass
class Done:
    """What a call came to."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The JSON on stdout."""
        return json.loads(self.out)


@dataclass
class Cli:
    """Calls `wardian`; ``home`` and ``cache`` may be shared between several of these."""

    home: Path
    cache: Path
    directory: Path
    variables: dict[str, str] = field(default_factory=dict)

    @classmethod
    def at(cls, place: Path, *, index_url: str | None = None, cache: Path | None = None, config: str = "") -> Cli:
        """Return a command line with a fresh home below ``place``; its default index is ``index_url``, and no Python is downloaded."""
        home = place / "home"
        home.mkdir(parents=True)
        directory = place / "project"
        directory.mkdir()
        catalogue = place / "no-pythons.json"
        catalogue.write_text("{}")
        text = f'python_downloads = "{catalogue}"\n{config}\n'
        if index_url is not None:
            text += f'[indexes]\npypi = "{index_url}"\n'
        (home / "config.toml").write_text(text)
        return cls(home, cache or place / "cache", directory)

    @property
    def environ(self) -> dict[str, str]:
        """The environment of each call."""
        ours = {
            "WARDIAN_HOME": str(self.home),
            "WARDIAN_CACHE": str(self.cache),
            "WARDIAN_BYTE_CODE": "never",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        return {**os.environ, **ours, **self.variables}

    def argv(self, *arguments: str) -> list[str]:
        """Return the command with these arguments."""
        return [sys.executable, "-m", "wardian.cli.main", *arguments]

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """Start a call and return its process."""
        defaults: dict[str, Any] = {"cwd": self.directory, "env": self.environ, "stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE,
                                    "stderr": subprocess.PIPE, "text": True}  # fmt: skip
        process = subprocess.Popen(self.argv(*arguments), **{**defaults, **options})
        _started.append(process)
        return process

    def run(
        self,
        *arguments: str,
        cwd: Path | None = None,
        variables: Mapping[str, str] | None = None,
        timeout_s: float = 300,
        stdin: str | None = None,
    ) -> Done:
        """Make a call and wait for it; whatever its exit code."""
        done = subprocess.run(
            self.argv(*arguments), cwd=cwd or self.directory, env={**self.environ, **(variables or {})}, input=stdin, capture_output=True, text=True,
            stdin=None if stdin is not None else subprocess.DEVNULL, timeout=timeout_s, check=False, errors="replace",
        )  # fmt: skip
        return Done(done.returncode, done.stdout, done.stderr)

    def ok(self, *arguments: str, **options: Any) -> Done:
        """Make a call that must succeed."""
        done = self.run(*arguments, **options)
        assert done.code == 0, f"wardian {' '.join(arguments)} exited {done.code}\n{done.out}\n{done.err}"
        return done

    def json(self, *arguments: str, **options: Any) -> Any:
        """Make a call with --json that must succeed, and return its document."""
        words = list(arguments)
        at = words.index("--") if "--" in words else len(words)
        if words[0] == "run":
            at = 1
        return self.ok(*words[:at], "--json", *words[at:], **options).document

    def write(self, name: str, text: str) -> Path:
        """Write a file of the project."""
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path
