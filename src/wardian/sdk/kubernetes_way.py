"""The way to a Kubernetes cluster: its API, and how files come to its pods: through a volume, or through an image registry."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from wardian.definition.platform import this_platform
from wardian.digest import Digest
from wardian.errors import InvalidInput
from wardian.image.registry import RegistryImageStore
from wardian.run.handover import Way
from wardian.run.targets.kubernetes import KubernetesTarget
from wardian.run.targets.kubernetes_secrets import SecretsApart
from wardian.run.targets.remote import ENDED, UNKNOWN
from wardian.tools.kubernetes import KubernetesApi

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wardian.bootstrap import Parts
    from wardian.image.registry_auth import RegistryLogin

_KIND = "kubernetes"
_DOCKER_HUB = "https://index.docker.io/v1/"  # as nodes look it up


def kubernetes_way(parts: Parts, options: Mapping[str, str], root: str | None) -> Way:
    """Return the way to a cluster. Nothing is contacted.

    Raises:   InvalidInput: ``needs_registry``: no volume is named, and there is no registry.
    """
    cluster = KubernetesTarget(
        options, lambda: KubernetesApi(options.get("kubeconfig", ""), options.get("context", ""), environ=parts.environ),
        workspace=Digest.of(f"{parts.settings.home} {parts.settings.workspace}".encode())[:16], uid=os.getuid(), gid=os.getgid(),
    )  # fmt: skip
    if not cluster.options.files:
        return _by_volume(cluster, options, root)
    return _by_registry(parts, cluster, options)


def _by_volume(cluster: KubernetesTarget, options: Mapping[str, str], root: str | None) -> Way:
    from wardian.run.targets.pod_directory import PodDirectory
    from wardian.run.targets.shared_directory import SharedDirectory

    place, wanted = Path(root or options["directory"]), cluster.options
    volume = PodDirectory(place, wanted.uid, wanted.gid) if os.getuid() == 0 else SharedDirectory(place)
    return Way(cluster, SecretsApart(volume, cluster.secrets), _KIND, options, keeps=options.get("keep") == "yes")


def _by_registry(parts: Parts, cluster: KubernetesTarget, options: Mapping[str, str]) -> Way:
    from wardian.run.targets.registry_carrier import RegistryCarrier

    named = parts.settings.registry if cluster.options.files == "registry" else cluster.options.files
    store = parts.images.named(named) if named else None
    if not isinstance(store, RegistryImageStore):
        raise InvalidInput("no volume is named for the files of runs, and there is no registry that they could go through", code="needs_registry",
                           hint="`wardian config set registry HOST/REPOSITORY`; or a target with `--option claim=NAME --option directory=PATH`")  # fmt: skip
    found = store

    def login() -> bytes | None:
        return login_file(found.client.host, parts.images.pod_login(found))

    carrier = RegistryCarrier(
        store, cluster.secrets, live=cluster.read_log, is_over=lambda key: cluster.standings([key])[key].state in (ENDED, UNKNOWN),
        compression=parts.images.compression, platform=options.get("platform", this_platform().name), scratch=parts.images.scratch,
        login=login, login_secret=cluster.options.files_login,
    )  # fmt: skip
    resolved = {**options, "files": store.name}  # as it was when the run was submitted: settings change
    return Way(cluster, carrier, _KIND, resolved, keeps=options.get("keep") == "yes", complete=carrier.completed)


def login_file(host: str, login: RegistryLogin | None) -> bytes | None:
    """Return a file of logins, as docker keeps them, with one for ``host``; None: there is none."""
    if login is None:
        return None
    entry: dict[str, str] = {}
    if login.user or login.password:
        entry["auth"] = base64.b64encode(f"{login.user}:{login.password}".encode()).decode()
    if login.identity_token:
        entry["identitytoken"] = login.identity_token
    if login.bearer_token:
        entry["registrytoken"] = login.bearer_token
    key = _DOCKER_HUB if host == "docker.io" else host
    return json.dumps({"auths": {key: entry}}).encode()
