"""Jupyter kernels that run in an environment: installed for the user, and removed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wardian.errors import Conflict, InvalidInput, NotFound, WardianError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wardian.sdk.workspace import Workspace
    from wardian.workspace.version import EnvironmentVersion

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
_HAS_IPYKERNEL = "import importlib.util as u, sys; sys.exit(u.find_spec('ipykernel_launcher') is None)"


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel as Jupyter knows it. It runs in whatever version ``reference`` means when it is started."""

    name: str
    display_name: str
    reference: str
    directory: str

    def as_document(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


def install_kernel(workspace: Workspace, reference: str, version: EnvironmentVersion, *, name: str | None = None) -> Kernel:
    """Install a Jupyter kernel that runs in ``reference``; ``version``, which that means now, is installed and checked first.

    Replaces a kernel of that name that Wardian has installed.

    Raises:   WardianError: code ``ipykernel_missing``.  Conflict: somebody else's kernel has that name.  What building raises.
    """
    from wardian.sdk.prepare import prepare
    from wardian.tools.disk import disk_errors, write_atomically

    kernel = _kernel(workspace, reference, name)
    place = Path(kernel.directory)
    if place.exists() and not _is_ours(place):
        raise Conflict(f"there is a Jupyter kernel `{kernel.name}` that is not Wardian's: {place}", hint="`--name` gives this one another name",
                       code="kernel_exists")  # fmt: skip
    prepared = prepare(workspace.parts, workspace.environments, version)
    with prepared.hold:
        done = subprocess.run(
            [prepared.python, "-c", _HAS_IPYKERNEL], check=False, stdin=subprocess.DEVNULL, capture_output=True, cwd="/"
        )
    if done.returncode != 0:
        raise WardianError(f"{version} has no ipykernel, which a Jupyter kernel is made of", code="ipykernel_missing",
                           hint=f"`wardian env add {version.name} ipykernel`" if version.name else "add ipykernel to its definition")  # fmt: skip
    with disk_errors(place.parent):
        write_atomically(place / "kernel.json", json.dumps(_specification(workspace, kernel), indent=1).encode())
    return kernel


def remove_kernel(workspace: Workspace, reference: str, *, name: str | None = None) -> Kernel:
    """Remove a kernel that ``install_kernel`` has installed.

    Raises:   NotFound.  Conflict: it is not Wardian's.
    """
    kernel = _kernel(workspace, reference, name)
    place = Path(kernel.directory)
    if not place.is_dir():
        raise NotFound(f"there is no Jupyter kernel `{kernel.name}` in {place.parent}", hint="`jupyter kernelspec list` shows all",
                       code="kernel_not_found")  # fmt: skip
    if not _is_ours(place):
        raise Conflict(f"the Jupyter kernel `{kernel.name}` is not Wardian's: {place}", hint=f"`jupyter kernelspec remove {kernel.name}`",
                       code="kernel_not_ours")  # fmt: skip
    shutil.rmtree(place)
    return kernel


def _kernel(workspace: Workspace, reference: str, name: str | None) -> Kernel:
    chosen = name if name is not None else re.sub(r"[^a-z0-9._-]+", "-", reference.lower()).strip("-._")
    if not _NAME.fullmatch(chosen):
        raise InvalidInput(f"`{chosen[:80]}` is not a name for a Jupyter kernel", hint="lower-case letters, digits, `.`, `_`, `-`: `--name NAME`",
                           code="bad_name")  # fmt: skip
    where = "" if workspace.name == "default" else f", {workspace.name}"
    return Kernel(
        chosen, f"{reference} (Wardian{where})", reference, str(_data_directory(workspace.parts.environ) / "kernels" / chosen)
    )


def _specification(workspace: Workspace, kernel: Kernel) -> dict[str, Any]:
    settings = workspace.settings
    return {
        "argv": [
            sys.executable, "-m", "wardian.cli.main", "shell", "--workspace", settings.workspace, "--variable", "JPY_*", kernel.reference, "--",
            "python3", "-m", "ipykernel_launcher", "-f", "{connection_file}",
        ],
        "display_name": kernel.display_name, "language": "python", "interrupt_mode": "signal",
        "env": {"WARDIAN_HOME": str(settings.home), "WARDIAN_CACHE": str(settings.cache)},
        "metadata": {"debugger": True, "wardian": {"reference": kernel.reference, "workspace": settings.workspace}},
    }  # fmt: skip


def _is_ours(place: Path) -> bool:
    try:
        document = json.loads((place / "kernel.json").read_bytes())
        return "wardian" in document["metadata"]
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _data_directory(environ: Mapping[str, str]) -> Path:
    # as jupyter_core.paths.jupyter_data_dir has it
    if environ.get("JUPYTER_DATA_DIR"):
        return Path(environ["JUPYTER_DATA_DIR"])
    home = Path(environ.get("HOME") or Path.home())
    if sys.platform == "darwin":
        return home / "Library" / "Jupyter"
    return Path(environ.get("XDG_DATA_HOME") or home / ".local" / "share") / "jupyter"
