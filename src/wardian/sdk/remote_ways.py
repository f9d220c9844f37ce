"""The way to each kind of target whose jobs outlive their submitter: its engine, and how files come to its nodes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from wardian.run.handover import Way
from wardian.run.targets.kinds import unknown_kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wardian.bootstrap import Parts
    from wardian.run.targets.remote import RemoteTarget

NODES = "nodes"  # below WARDIAN_HOME: what nodes share with this machine, if nobody says otherwise


def way_to(parts: Parts, kind: str, options: Mapping[str, str], root: str | None = None) -> Way:
    """Return the way to a target of this kind with these options. Nothing is contacted.

    Args:     root: the node directory, where it is known already.
    Raises:   InvalidInput: ``unknown_target_kind``: this Wardian has no such kind of remote target.
    """
    keeps = options.get("keep") == "yes"
    if kind == "slurm":
        from wardian.run.targets.shared_directory import SharedDirectory

        shared = Path(root or options.get("directory") or parts.settings.home / NODES)
        return Way(_slurm(parts, options), SharedDirectory(shared), kind, options, keeps=keeps)
    if kind == "ssh":
        from wardian.run.targets.ssh import SshTarget
        from wardian.run.targets.ssh_carrier import SshCarrier
        from wardian.run.targets.ssh_connection import SshHosts

        hosts = SshHosts(options, parts.environ)
        return Way(SshTarget(hosts), SshCarrier(hosts, root or options.get("directory")), kind, options, keeps=keeps)
    if kind == "kubernetes":
        from wardian.sdk.kubernetes_way import kubernetes_way

        return kubernetes_way(parts, options, root)
    raise unknown_kind(kind)


def _slurm(parts: Parts, options: Mapping[str, str]) -> RemoteTarget:
    if "rest" not in options:
        from wardian.run.targets.slurm import SlurmTarget

        return SlurmTarget(options, parts.environ)
    from wardian.errors import Denied
    from wardian.run.targets.slurm_rest import SlurmRestTarget

    def token() -> str:
        name = options.get("token")
        found = parts.secrets.find(name) if name else None
        value = found.value.strip() if found else "" if name else parts.environ.get("SLURM_JWT", "").strip()
        if value:
            return value.removeprefix("SLURM_JWT=")  # as `scontrol token` prints it
        raise Denied(f"there is no secret `{name}`, which holds the token for slurmrestd" if name else "there is no token for slurmrestd: no $SLURM_JWT, and no option `token`",
                     code="engine_denied", hint=f"`wardian secret set {name or 'NAME'}` keeps what `scontrol token` on a login node prints")  # fmt: skip

    return SlurmRestTarget(options, parts.environ, token)
