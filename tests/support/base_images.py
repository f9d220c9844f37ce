"""Base images for tests: made of real Debian packages once per test session, or put together layer by layer."""

from __future__ import annotations

import fcntl
import gzip
import io
import shutil
import subprocess
import tarfile
from typing import TYPE_CHECKING, Any

import zstandard

from wardian.digest import Digest
from wardian.image.layout import LayoutImageStore
from wardian.image.oci import CONFIG, LAYER, LAYER_GZIP, LAYER_ZSTD, MANIFEST, Descriptor, ImageConfig, Manifest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from wardian.image.store import ImageStore

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
TOOLS = ("mmdebstrap",)
_PYTHON = ("python3", "python3-pip", "python3-venv", "ca-certificates", "dash", "bash", "coreutils", "grep", "sed", "findutils", "tar",
           "gzip", "libc-bin", "base-files", "base-passwd", "libstdc++6", "libgcc-s1", "libgomp1")  # fmt: skip
# what Debian's own slim images hold
_SLIM = ("apt", "base-files", "base-passwd", "bash", "bsdutils", "coreutils", "dash", "debianutils", "diffutils", "dpkg", "findutils", "grep", "gzip",
         "hostname", "init-system-helpers", "libc-bin", "login", "mount", "ncurses-base", "ncurses-bin", "perl-base", "sed", "sysvinit-utils", "tar",
         "tzdata", "util-linux")  # fmt: skip
_SLIM_HOOK = '; rm -rf "$1/usr/share/doc" "$1/usr/share/man" "$1/usr/share/locale" "$1/usr/share/info"'
_HOOK = (
    'mkdir -p "$1/etc/ssl/certs"; cp /etc/ssl/certs/ca-certificates.crt "$1/etc/ssl/certs/";'
    'cp "$1/usr/share/base-passwd/passwd.master" "$1/etc/passwd"; cp "$1/usr/share/base-passwd/group.master" "$1/etc/group"'
)


def session_place(base_temp: Path) -> Path:
    """Return a directory that all workers of a test session share. ``base_temp``: ``tmp_path_factory.getbasetemp()``."""
    return base_temp.parent if base_temp.name.startswith("popen-gw") else base_temp


def missing_tool() -> str:
    """Return what ``debian_base`` and ``busybox_base`` lack here, with how to get it; empty: nothing."""
    lacking = [tool for tool in TOOLS if shutil.which(tool) is None]
    return f"{', '.join(lacking)} is missing: apt-get install {' '.join(lacking)}" if lacking else ""


def debian_base(place: Path) -> LayoutImageStore:
    """Return a layout with the image ``debian``: Debian's own Python with pip, no network inside, no maintainer script run.

    Made once below ``place``, whoever comes first of several processes (about 6 s). It carries the machine's CA: never publish it.
    """
    return _made(place / "debian-base", "debian", _PYTHON, hook=_HOOK)


def slim_base(place: Path) -> LayoutImageStore:
    """Return a layout with the image ``debian``: what Debian's slim images hold, without Python. Made once below ``place``."""
    return _made(place / "slim-base", "debian", _SLIM, hook=_HOOK + _SLIM_HOOK)


def busybox_base(place: Path) -> LayoutImageStore:
    """Return a layout with the image ``busybox``: one static program, 2 MB, and ``/bin/sh``. Made once below ``place``."""
    return _made(place / "busybox-base", "busybox", ("busybox-static",), hook='mkdir -p "$1/bin"; ln -sf busybox "$1/bin/sh"')


def _made(place: Path, name: str, packages: Sequence[str], *, hook: str) -> LayoutImageStore:
    place.mkdir(parents=True, exist_ok=True)
    store = LayoutImageStore(place / "layout")
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if store.find(name) is None:
            archive = place / "base.tar"
            subprocess.run(
                ["mmdebstrap", "--quiet", "--variant=extract", f"--include={','.join(packages)}", f"--extract-hook={hook}", "bookworm", archive],
                check=True, capture_output=True, timeout=300,
            )  # fmt: skip
            put_image(store, [archive.read_bytes()], tags=[name], compression="zstd")
            archive.unlink()
    return store


def put_image(
    store: ImageStore, layers: Sequence[bytes], *, tags: Sequence[str] = ("base",), compression: str = "gzip", **config: Any
) -> Descriptor:
    """Store an image of these layers (tar archives) and return its manifest's descriptor.

    Args:     compression: ``gzip`` | ``zstd`` | ``none``.  config: fields of ``ImageConfig``; ``layer_type``: of all layers.
    """
    layer_type = config.pop("layer_type", None)
    media_type = {"gzip": LAYER_GZIP, "zstd": LAYER_ZSTD, "none": LAYER}[compression]
    described = []
    for raw in layers:
        packed = raw
        if compression != "none":
            packed = gzip.compress(raw, 1, mtime=0) if compression == "gzip" else bytes(zstandard.compress(raw))
        descriptor = Descriptor.of(packed, layer_type or media_type)
        store.put(descriptor, lambda packed=packed: io.BytesIO(packed))  # type: ignore[misc]
        described.append(descriptor)
    values: dict[str, Any] = {
        "platform": "linux/amd64", "diff_ids": tuple(Digest.of(raw) for raw in layers), "variables": (("PATH", PATH),), "command": ("/bin/sh",),
        "history": tuple({"created_by": f"layer {n}"} for n, _ in enumerate(layers)),
    }  # fmt: skip
    content = ImageConfig(**{**values, **config}).to_json()
    described_config = Descriptor.of(content, CONFIG)
    store.put(described_config, lambda: io.BytesIO(content))
    return store.tag(Manifest(described_config, tuple(described)).to_json(), MANIFEST, tags)


def tar(*members: tuple[str, Any]) -> bytes:
    """Return a layer: ``bytes`` are a file's content (executable if it is below ``bin/``), ``None`` a directory, ``"->x"`` a symbolic and ``"=x"`` a hard link.

    A ``TarInfo`` is taken as it is.
    """
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            if isinstance(content, tarfile.TarInfo):
                archive.addfile(content)
                continue
            if content is None:
                member.type, member.mode = tarfile.DIRTYPE, 0o755
            elif isinstance(content, str):
                member.type = tarfile.SYMTYPE if content.startswith("->") else tarfile.LNKTYPE
                member.linkname = content.removeprefix("->").removeprefix("=")
            else:
                member.size, member.mode = len(content), 0o755 if "bin/" in name else 0o644
            archive.addfile(member, io.BytesIO(content) if isinstance(content, bytes) else None)
    return stream.getvalue()
