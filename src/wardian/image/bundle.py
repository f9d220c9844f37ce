"""An image as an OCI bundle: its file system unpacked from its own layers, and ``config.json`` that runtimes read.

Source:   OCI runtime specification 1.0: config.md, config-linux.md
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from wardian.digest import Digest, canonical_json
from wardian.image.base_tree import list_base, take_files

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from wardian.image.base import Base
    from wardian.image.base_tree import BaseTree, Node

ROOTFS, CONFIG = "rootfs", "config.json"
_SCHEME = "oci-bundle-1"
_MOST_BYTES = 1 << 40
_OWN = ("/proc", "/dev", "/dev/shm", "/dev/pts", "/sys", "/tmp", "/run", "/etc")  # noqa: S108 - places in a container
_OF_NODE = ("/etc/resolv.conf", "/etc/hosts")


def bundle_key(base_digest: Digest, visible: Sequence[str], uid: int, gid: int) -> Digest:
    """Return what names a bundle: the image by content, and all that ``config.json`` says."""
    return Digest.of(canonical_json([_SCHEME, str(base_digest), _configuration(visible, uid, gid)]))


def make_bundle(base: Base, place: Path, visible: Sequence[str], uid: int, gid: int) -> None:
    """Unpack ``base`` as the bundle ``place``, which must not be there. Nothing is written outside, whatever the layers hold.

    Owners, set-user bits and devices of the image are left out: what runs there is one user without any rights.

    Args:     visible: directories of the node that a container sees at the same path, and may write to.
              uid, gid: the submitter's. Another than root gets a user namespace in which they are root.
    Raises:   BadArchive: a layer is damaged or hostile.  DiskFull.  Unavailable, Denied: of where its layers are.
    """
    tree = list_base(base, lambda _path: None)
    for place_there in (*_OWN, *visible):
        _directory(tree, place_there)
    root = place / ROOTFS
    root.mkdir(parents=True)
    wanted: dict[Path, Node] = {}
    pending = [(root, tree.root)]
    while pending:  # a place is a directory or a link, never both: nothing is written through a link
        here, directory = pending.pop()
        for name, node in directory.children.items():
            path = here / name
            if node.kind == "directory":
                path.mkdir()
                pending.append((path, node))
            elif node.kind == "link":
                path.symlink_to(node.target)
            elif node.kind == "file":
                wanted[path] = node
    take_files(base, wanted, most_bytes=_MOST_BYTES)
    for file, node in wanted.items():
        if not node.executable:
            file.chmod(0o644)
    for name in _OF_NODE:
        found = root / name.lstrip("/")
        if (root / "etc").is_dir() and not (root / "etc").is_symlink() and not os.path.lexists(found):
            found.touch()
    (place / CONFIG).write_text(json.dumps(_configuration(visible, uid, gid), indent=1))


def _directory(tree: BaseTree, path: str) -> None:
    """Have a directory in the tree, where nothing is in its way: runtimes mount on it."""
    from wardian.image.base_tree import Node

    here = tree.root
    for part in (part for part in path.split("/") if part):
        found = here.children.get(part)
        if found is not None and found.kind != "directory":
            return
        here = here.children.setdefault(part, Node("directory"))


def _configuration(visible: Sequence[str], uid: int, gid: int) -> dict[str, Any]:
    """Return a configuration whose command and variables the engine puts in.

    Processes of the node are seen, so that an agent can tell whether another one is alive; the network is the node's.
    """
    mounts: list[dict[str, Any]] = [
        {"destination": "/proc", "type": "none", "source": "/proc", "options": ["rbind"]},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
        {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "noexec", "nodev", "mode=1777"]},  # noqa: S108
        {"destination": "/sys", "type": "none", "source": "/sys", "options": ["rbind", "nosuid", "noexec", "nodev", "ro"]},
        {"destination": "/run", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev", "mode=755"]},
        {"destination": "/tmp", "type": "none", "source": "/tmp", "options": ["rbind"]},  # noqa: S108
        *({"destination": path, "type": "none", "source": path, "options": ["bind", "ro"]} for path in _OF_NODE),
        *({"destination": path, "type": "none", "source": path, "options": ["rbind"]} for path in visible),
    ]  # fmt: skip
    namespaces: list[dict[str, str]] = [{"type": "mount"}, {"type": "ipc"}]
    linux: dict[str, Any] = {"namespaces": namespaces}
    if uid:
        namespaces.append({"type": "user"})
        linux |= {
            "uidMappings": [{"containerID": 0, "hostID": uid, "size": 1}],
            "gidMappings": [{"containerID": 0, "hostID": gid, "size": 1}],
        }
    return {
        "ociVersion": "1.0.0",
        "process": {"user": {"uid": 0, "gid": 0}, "args": ["/bin/false"], "env": ["PATH=/usr/bin:/bin"], "cwd": "/", "noNewPrivileges": True},
        "root": {"path": ROOTFS, "readonly": True},
        "mounts": mounts,
        "linux": linux,
    }  # fmt: skip
