"""What activating a conda environment sets, computed without the environment: an image's configuration then needs no shell."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wardian.errors import BuildFailed
from wardian.image.entry import ENVIRONMENT_PATH

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from wardian.image.conda_entries import PackageFacts

_SCRIPTS = "etc/conda/activate.d/"
_VARIABLES = "etc/conda/env_vars.d/"
_SYSTEM = "/.wardian-system-path"  # stands for the PATH that the image has without the environment; nothing is found there
_SHELL_OWN = frozenset({"_", "SHLVL", "PWD", "OLDPWD", "CONDA_SHLVL", "PATH", "CONDA_PREFIX"})
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LOOKS_AT_FILES = re.compile(r"\[|\btest\b|[*?]")
_NEEDS = b"\0needs "
_NOT_RUN = re.compile(r": line \d+: (/.*): (?:Permission denied|No such file or directory)")
_OF_THE_MACHINE = re.compile(
    r"""(?<![\w}.])(?<!PREFIX["'])/(?:usr|s?bin|lib|etc|proc|sys|dev/(?!null)|home|root|var|tmp|run)\b"""
    r"""|\$\{?(?:HOSTNAME|S?RANDOM|E?UID|P?PID|BASHPID|SECONDS|EPOCH\w*|\$)"""
)

# Commands that are not bash's own do not exist here, so the machine that builds cannot be seen; who calls one is told of.
_RUN = r"""
exec 3>&1 >/dev/null
command_not_found_handle() { printf '\0needs %s' "$1" >&3; return 127; }
set -o pipefail
. "$1"
unset -f command_not_found_handle
if [ -n "$(declare -F)" ]; then printf '\0needs %s' 'functions of a shell' >&3; fi
printf '\0\0' >&3
while IFS= read -r name; do printf '%s=%s\0' "$name" "${!name}" >&3; done < <(compgen -e)
"""


@dataclass(frozen=True, slots=True)
class ImageActivation:
    """What activating the environment does.

    Attributes:
        variables: that the image's configuration sets.
        path_entries: before the base's PATH; the environment's own ``bin`` is one of them.
        notes: activation scripts that are more than exports, and why; nothing of them is in the image's configuration.
    """

    variables: Mapping[str, str]
    path_entries: tuple[str, ...]
    notes: tuple[str, ...] = ()


def image_activation(packages: Iterable[PackageFacts], *, timeout_s: float = 60.0) -> ImageActivation:
    """Return what activating the environment of these packages at ``/opt/env`` sets.

    Files of variables are read; activation scripts run in bash, in the order of their names, with nothing but bash itself: no
    command of this machine, no variable of this process, and empty files in place of the environment's. So the result is the
    same on every machine. A script that needs more than that, or names places outside the environment, has no effect on the image and is told in ``notes``.

    Raises:   BuildFailed: code ``activation_failed``: there is no bash, a script does not end, or a file of variables can't be read.
    """
    facts = [*packages]
    texts = {path: text for one in facts for path, text in (one.activation or {}).items()}
    variables: dict[str, str] = {}
    for path in sorted(path for path in texts if path.startswith(_VARIABLES)):
        variables |= _read_variables(path, texts[path])
    scripts = sorted(path for path in texts if path.startswith(_SCRIPTS))
    own = f"{ENVIRONMENT_PATH}/bin"
    if not scripts:
        return ImageActivation(variables, (own,))
    with tempfile.TemporaryDirectory(prefix="wardian-activation-") as directory:
        prefix = Path(directory) / "env"
        wanted = any(_LOOKS_AT_FILES.search(texts[path]) for path in scripts)
        _imitate(prefix, [entry["_path"] for one in facts for entry in one.paths] if wanted else [])
        for path in scripts:
            (prefix / path).parent.mkdir(parents=True, exist_ok=True)
            (prefix / path).write_text(texts[path])
        environ = {**variables, "CONDA_PREFIX": str(prefix), "PATH": f"{prefix}/bin:{_SYSTEM}"}
        notes = []
        for path in scripts:
            found = _OF_THE_MACHINE.search(re.sub(r"^\s*#.*", "", texts[path], flags=re.MULTILINE))
            if found:
                notes.append(f"{path} needs `{found.group()}` of the machine: what it sets is not set in the image")
                continue
            after, needs = _run(prefix / path, environ, timeout_s)
            if needs:
                notes.append(f"{path} needs {', '.join(needs)}: what it sets is not set in the image")
            else:
                environ = after
    theirs = {name: value.replace(str(prefix), ENVIRONMENT_PATH) for name, value in environ.items()}
    entries = [entry for entry in theirs["PATH"].split(":") if entry not in (_SYSTEM, "")]
    kept = {name: value for name, value in theirs.items() if name not in _SHELL_OWN and _SYSTEM not in value}
    return ImageActivation(dict(sorted(kept.items())), tuple(dict.fromkeys([*entries, own])), tuple(notes))


def _read_variables(path: str, text: str) -> dict[str, str]:
    try:
        document: Any = json.loads(text)
        pairs = {str(name): str(value) for name, value in document.items()}
    except (ValueError, AttributeError) as error:
        raise BuildFailed(f"{path} is no file of variables: {error}", code="activation_failed",
                          hint="the package that brought it is broken; leave it out or take another version") from error  # fmt: skip
    for name, value in pairs.items():
        if not _NAME.fullmatch(name) or "\0" in value:
            raise BuildFailed(f"{path} sets `{name[:100]}`, which is no variable", code="activation_failed")
    return pairs


def _imitate(prefix: Path, paths: Sequence[str]) -> None:
    """Make empty, not executable files at ``paths``: scripts ask whether files are there."""
    prefix.mkdir()
    for directory in {path.rpartition("/")[0] for path in paths}:
        (prefix / directory).mkdir(parents=True, exist_ok=True)
    for path in paths:
        with contextlib.suppress(IsADirectoryError):
            os.close(os.open(prefix / path, os.O_WRONLY | os.O_CREAT, 0o644))


def _run(script: Path, environ: Mapping[str, str], timeout_s: float) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the variables after ``script``, and what it would have needed."""
    shell = shutil.which("bash", path=os.defpath)
    if shell is None:
        raise BuildFailed("activation scripts need bash, and there is none", code="activation_failed")
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as said:
        bash = subprocess.Popen(
            [shell, "--noprofile", "--norc", "-c", _RUN, "activation", script], env=dict(environ), cwd=script.parents[3],
            stdin=subprocess.DEVNULL, stdout=out, stderr=said, start_new_session=True,
        )  # fmt: skip
        try:
            bash.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise BuildFailed(
                f"the activation script {script.name} did not end within {timeout_s:g} s", code="activation_failed",
                hint="the package that brought it is broken here; leave it out or take another version",
            ) from None  # fmt: skip
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(bash.pid, signal.SIGKILL)
            bash.wait()
        out.seek(0)
        told, complete, listed = out.read().partition(b"\0\0")
        said.seek(0)
        missing = _NOT_RUN.findall(said.read().decode(errors="replace"))
    needs = [os.fsdecode(part) for part in told.split(_NEEDS) if part]
    needs += [os.path.relpath(path, script.parents[3]) for path in missing]
    if not complete:
        needs.append("to end the shell")
    pairs = (os.fsdecode(line).partition("=") for line in listed.split(b"\0") if line)
    return {name: value for name, _, value in pairs}, tuple(dict.fromkeys(needs))
