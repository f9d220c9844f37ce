"""The command line as another account of this machine: root, root that may not mount, an ordinary user."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote

from tests.support.cli import Cli

NOBODY = 65534
ROOT, WEAK_ROOT, USER = "root", "root without mounts", "user"

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass
class CliAs(Cli):
    """Calls `wardian` through ``wrapper``, a command that ends in the one to execute."""

    wrapper: list[str] = field(default_factory=list)

    def argv(self, *arguments: str) -> list[str]:
        """Return the command with these arguments."""
        return [*self.wrapper, *super().argv(*arguments)]

    def become(self, account: str) -> CliAs:
        """Let ``account`` make the calls from now on; what lies below the home's parent, which all can reach, is given to it."""
        place = self.home.parent
        self.wrapper = command_of(account, place)
        if account == USER and os.geteuid() == 0:
            self.variables["HOME"] = str(place)
            for path in [place, *place.rglob("*")]:
                os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
        return self


def why_not(account: str) -> str:
    """Return why this process can't make calls as ``account``; empty: it can."""
    if account == USER:
        return "" if os.geteuid() != 0 or shutil.which("setpriv") else "setpriv is missing: install util-linux"
    if os.geteuid() != 0:
        return "needs to be root"
    return "" if account == ROOT or shutil.which("setpriv") else "setpriv is missing: install util-linux"


def command_of(account: str, scratch: Path) -> list[str]:
    """Return the beginning of a command that is executed as ``account``."""
    if account == ROOT or (account == USER and os.geteuid() != 0):
        return []
    if account == WEAK_ROOT:
        return ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"]
    drop = [
        "setpriv",
        f"--reuid={NOBODY}",
        f"--regid={NOBODY}",
        "--clear-groups",
        "--no-new-privs",
        "--bounding-set=-all",
        "--inh-caps=-all",
    ]
    script = _showing([Path(sys.base_prefix), Path(sys.prefix), REPOSITORY], scratch)
    return ["unshare", "--mount", "sh", "-ec", f'{script}exec "$@"', "sh", *drop] if script else drop


def _showing(needed: list[Path], scratch: Path) -> str:
    """Return a script that lets everybody reach ``needed`` where they lie in root's own home, and nothing else of it.

    It is run in a mount namespace of its own: nobody else sees what it does.
    """
    closed = {path: [p for p in path.parents if not p.stat().st_mode & 0o001] for path in needed}
    hidden = {path: parents[-1] for path, parents in closed.items() if parents}
    if not hidden:
        return ""
    lines = ["mount --make-rslave /"]
    for number, path in enumerate(hidden):
        place = scratch / f"shown-{number}"
        place.mkdir(exist_ok=True)
        lines.append(f"mount --rbind {quote(str(path))} {quote(str(place))}")
    lines += [f"mount -t tmpfs -o mode=755 tmpfs {quote(str(parent))}" for parent in sorted(set(hidden.values()))]
    for number, path in enumerate(hidden):
        lines.append(f"mkdir -p {quote(str(path))}; mount --rbind {quote(str(scratch / f'shown-{number}'))} {quote(str(path))}")
    return "\n".join(lines) + "\n"


def run_as(account: str, scratch: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Execute ``command`` as ``account`` and return how it went."""
    return subprocess.run([*command_of(account, scratch), *command], capture_output=True, text=True, check=False)
