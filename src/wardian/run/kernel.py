"""Jupyter kernels: an environment in the list of kernels of every notebook of the user."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wardian.errors import Conflict, InvalidInput, NotFound, RunFailed
from wardian.tools.disk import disk_errors, write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wardian.run.configuration import Prepared

CONNECTION = "{connection_file}"  # Jupyter puts a path in its place
COMMAND = ("python", "-m", "ipykernel_launcher", "-f", CONNECTION)

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


def kernel_name(reference: str) -> str:
    """Return the name of the kernel for an environment's reference, in the characters that Jupyter allows."""
    return "wardian-" + re.sub(r"[^a-z0-9._-]+", "-", reference.lower()).strip("-.")


def kernels_directory(environ: Mapping[str, str]) -> Path:
    """Return where Jupyter looks for the user's kernels.

    Source:   https://docs.jupyter.org/en/latest/use/jupyter-directories.html
    """
    if place := environ.get("JUPYTER_DATA_DIR"):
        return Path(place) / "kernels"
    share = Path(environ.get("XDG_DATA_HOME") or Path(environ.get("HOME") or Path.home()) / ".local/share")
    return share / "jupyter/kernels"


def check_ipykernel(prepared: Prepared, reference: str) -> None:
    """Check that the environment can be a kernel.

    Raises:   RunFailed: ``no_ipykernel``.
    """
    if prepared.prefix is not None:
        has = any(prepared.prefix.glob("lib/python3.*/site-packages/ipykernel_launcher.py"))
    else:
        observed = prepared.environment.observed or {}
        has = any(found["name"].lower() == "ipykernel" for found in observed.get("distributions", ()))
    if not has:
        name = reference.partition(":")[0]
        raise RunFailed(f"{reference} has no ipykernel, which a notebook's kernel needs", hint=f"`wardian env add {name} ipykernel`",
                        code="no_ipykernel")  # fmt: skip


def write_kernel(name: str, directory: Path, *, shell: Sequence[str], display_name: str, reference: str) -> Path:
    """Make the kernel ``name`` below ``directory``, or replace one that Wardian made; return its ``kernel.json``. Atomic.

    ``shell`` is the command that runs what follows it in the environment (``wardian shell REF --``), so a kernel is held and
    isolated like any shell.

    Raises:   Conflict: ``kernel_exists``: somebody else's kernel has this name.  InvalidInput: not a name for a kernel.
    """
    path = _place(name, directory)
    if _document(path) is not None and not _is_ours(path):
        raise Conflict(f"there is a kernel `{name}` that Wardian did not make: {path}", hint="remove it, or choose another name",
                       code="kernel_exists")  # fmt: skip
    document = {
        "argv": [*shell, *COMMAND],
        "display_name": display_name,
        "language": "python",
        "metadata": {"wardian": {"reference": reference}, "debugger": True},
    }
    write_atomically(path, json.dumps(document, indent=1).encode() + b"\n")
    return path


def remove_kernel(name: str, directory: Path) -> None:
    """Remove a kernel that Wardian made.

    Raises:   NotFound: ``kernel_not_found``: there is none, or it is somebody else's.
    """
    path = _place(name, directory)
    if not _is_ours(path):
        raise NotFound(
            f"there is no kernel `{name}` of Wardian's in {directory}",
            hint="see `jupyter kernelspec list`",
            code="kernel_not_found",
        )
    with disk_errors(directory):
        shutil.rmtree(path.parent)


def _place(name: str, directory: Path) -> Path:
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            f"`{name[:80]}` is not a name for a kernel", hint="lower-case letters, digits, `.`, `_` and `-`", code="bad_name"
        )
    return directory / name / "kernel.json"


def _is_ours(path: Path) -> bool:
    metadata = (_document(path) or {}).get("metadata")
    return isinstance(metadata, dict) and "wardian" in metadata


def _document(path: Path) -> dict[str, Any] | None:
    """Return what a kernel.json says; None: there is none; empty: it cannot be understood."""
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}
