"""The way to each kind of target whose jobs outlive their submitter: its engine, and how files come to its nodes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from wardian.run.handover import Way
from wardian.run.targets.kinds import unknown_kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wardian.bootstrap import Parts

NODES = "nodes"  # below WARDIAN_HOME: what nodes share with this machine, if nobody says otherwise


def way_to(parts: Parts, kind: str, options: Mapping[str, str], root: str | None = None) -> Way:
    """Return the way to a target of this kind with these options. Nothing is contacted.

    Args:     root: the node directory, where it is known already.
    Raises:   InvalidInput: ``unknown_target_kind``: this Wardian has no such kind of remote target.
    """
    keeps = options.get("keep") == "yes"
    if kind == "slurm":
        from wardian.run.targets.shared_directory import SharedDirectory
        from wardian.run.targets.slurm import SlurmTarget

        shared = Path(root or options.get("directory") or parts.settings.home / NODES)
        return Way(SlurmTarget(options, parts.environ), SharedDirectory(shared), kind, options, keeps=keeps)
    if kind == "ssh":
        from wardian.run.targets.ssh import SshTarget
        from wardian.run.targets.ssh_carrier import SshCarrier
        from wardian.run.targets.ssh_connection import SshHosts

        hosts = SshHosts(options, parts.environ)
        return Way(SshTarget(hosts), SshCarrier(hosts, root or options.get("directory")), kind, options, keeps=keeps)
    if kind == "kubernetes":
        import os

        from wardian.digest import Digest
        from wardian.run.targets.kubernetes import KubernetesTarget
        from wardian.run.targets.pod_directory import PodDirectory
        from wardian.run.targets.shared_directory import SharedDirectory
        from wardian.tools.kubernetes import KubernetesApi

        cluster = KubernetesTarget(
            options, lambda: KubernetesApi(options.get("kubeconfig", ""), options.get("context", ""), environ=parts.environ),
            workspace=Digest.of(f"{parts.settings.home} {parts.settings.workspace}".encode())[:16], uid=os.getuid(), gid=os.getgid(),
        )  # fmt: skip
        place, wanted = Path(root or options["directory"]), cluster.options
        as_root = os.getuid() == 0
        volume = PodDirectory(place, wanted.uid, wanted.gid) if as_root else SharedDirectory(place)
        return Way(cluster, volume, kind, options, keeps=keeps)
    raise unknown_kind(kind)
