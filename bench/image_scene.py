"""What the benchmarks of images share: a registry that counts, a base image, Wardian's homes, and buildah as the peer."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.base_images import debian_base
from tests.support.mounts import remove_with_mounts

from wardian.image.oci import CONFIG, MANIFEST, Descriptor, Manifest, read_config, read_manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import IO

    from bench.registry_traffic import CountingRelay

    from wardian.image.layout import LayoutImageStore

BIN = Path(sys.executable).parent
PACKAGES = "numpy\npandas\nscipy\nscikit-learn\npyarrow\nmatplotlib\ntqdm==4.67.1\n"
PROGRAMS = ("docker-registry", "mmdebstrap", "buildah", "podman", "runc", "skopeo")
PYTHON = (3, 11)  # the base image's
_CERTIFICATES = Path("/etc/ssl/certs")

PIP = """\
FROM {base}
COPY requirements.txt /tmp/requirements.txt
RUN . /machine/environ && pip install --break-system-packages -r /tmp/requirements.txt
"""
UV = """\
FROM {base}
ENV UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 UV_PYTHON_DOWNLOADS=never UV_CACHE_DIR=/var/cache/uv
RUN --mount=type=cache,target=/var/cache/uv \
    --mount=type=bind,source=requirements.txt,target=/tmp/requirements.txt \
    --mount=type=bind,source=uv,target=/usr/local/bin/uv \
    . /machine/environ && uv venv /opt/env && uv pip sync --python /opt/env/bin/python /tmp/requirements.txt
"""


def why_not() -> str:
    """Return what is missing here; empty: nothing."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"{', '.join(missing)} missing: scripts/test-tools installs them as root where apt-get is"
    if os.geteuid() != 0:
        return "needs to be root: buildah with runc"
    if sys.version_info[:2] != PYTHON:
        return f"needs a Python {PYTHON[0]}.{PYTHON[1]}, as the base image has"
    return ""


def pinned(place: Path) -> str:
    """Return the requirements with all they need, each ``name==version``, as of now, for the base image's Python."""
    wanted = place / "requirements.in"
    wanted.write_text(PACKAGES)
    done = subprocess.run(
        [BIN / "uv", "pip", "compile", "-q", "--no-header", "--no-annotate", "--only-binary", ":all:", "--python", sys.executable, wanted],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout


def put_base(place: Path, host: str, made: Callable[[Path], LayoutImageStore] = debian_base) -> str:
    """Bring Debian's Python (50 MB) into the registry, as gzip; return its reference. It has a history, as buildah asks for it.

    ``made``: gives another layout, whose image is ``debian``.
    """
    store = made(place)
    found = store.find("debian")
    assert found is not None
    manifest = read_manifest(found.content, found.descriptor.media_type)
    assert isinstance(manifest, Manifest)
    with store.open(manifest.config) as stream:
        config = read_config(stream.read())
    created = "1970-01-01T00:00:00Z"
    content = replace(config, history=({"created": created, "created_by": "mmdebstrap"},), created=created).to_json()
    _tag_as(store, content, manifest)
    reference = f"{host}/base:1"
    subprocess.run(
        ["skopeo", "copy", "--quiet", "--dest-tls-verify=false", "--dest-compress-format", "gzip", f"oci:{store.root}:base", f"docker://{reference}"],
        check=True, capture_output=True,
    )  # fmt: skip
    return reference


def _tag_as(store: LayoutImageStore, config: bytes, manifest: Manifest) -> None:
    def opened() -> contextlib.AbstractContextManager[IO[bytes]]:
        import io

        return contextlib.closing(io.BytesIO(config))

    descriptor = Descriptor.of(config, CONFIG)
    store.put(descriptor, opened)
    store.tag(Manifest(descriptor, manifest.layers).to_json(), MANIFEST, ["base"])


@dataclass
class Ours:
    """Wardian's command line, with a home, a cache and a repository that are exchanged at will.

    Args:     place: everything lies below it.  host: the registry's.
    """

    place: Path
    host: str
    base: str
    compression: str = "zstd"
    _number: int = 0

    def __post_init__(self) -> None:
        self.place.mkdir()
        self.cache = self.place / "cache"
        (self.place / "no-pythons.json").write_text("{}")
        self.repository = ""
        self.new_home()

    def new_home(self) -> None:
        """Take an empty home and an empty repository; what is in the cache stays."""
        self._number += 1
        self.home = self.place / f"home-{self._number}"
        self.repository = f"{self.host}/ours-{self.place.name}-{self._number}"

    def forget_layers(self) -> None:
        """Leave nothing in the cache but the archives of packages, and what uv knows."""
        for place in self.cache.iterdir():
            if place.is_dir() and place.name not in ("packages", "urls", "uv"):
                shutil.rmtree(place)

    @property
    def environ(self) -> dict[str, str]:
        """The environment of each call."""
        ours = {
            "WARDIAN_HOME": self.home, "WARDIAN_CACHE": self.cache, "WARDIAN_REGISTRY": self.repository, "WARDIAN_BASE_IMAGE": self.base,
            "WARDIAN_PYTHON_DOWNLOADS": self.place / "no-pythons.json", "WARDIAN_IMAGE_COMPRESSION": self.compression,
        }  # fmt: skip
        machine = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        return {**machine, **{key: str(value) for key, value in ours.items()}, "NO_PROXY": "127.0.0.1"}

    def command(self, requirements: Path) -> list[str]:
        """Return the command that builds and pushes the image of ``requirements``."""
        return [str(BIN / "wardian"), "env", "build", str(requirements), "--image", "--json"]

    def lock(self, requirements: Path) -> None:
        """Register and lock ``requirements``; nothing is fetched or built."""
        _call(BIN / "wardian", "env", "lock", requirements, environ=self.environ)

    def build(self, requirements: Path) -> str:
        """Build and push the image; return its reference."""
        import json

        (found,) = json.loads(_call(*self.command(requirements), environ=self.environ))["images"]
        return f"{found['store']}@sha256:{found['digest'].removeprefix('sha256:')}"


@dataclass
class Buildah:
    """buildah with storage of its own: the peer. Each image that it builds is pushed.

    Attributes:
        took_s: what each build and push took, by name.  sent_bytes: what each sent to the registry.
    """

    place: Path
    relay: CountingRelay
    base: str
    took_s: dict[str, list[float]] = field(default_factory=dict)
    sent_bytes: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.place.mkdir()
        self.environ = engine_environ(self.place, self.relay.host)
        machine = self.place / "machine"
        machine.mkdir()
        settings = [
            f"export {key}='{value}'\n"
            for key, value in os.environ.items()
            if key.startswith(("PIP_", "UV_")) and "INDEX" in key
        ]
        own = {"PIP_CONFIG_FILE": "~/.config/pip/pip.conf", "UV_CONFIG_FILE": "~/.config/uv/uv.toml"}
        for key, file in own.items():
            if (path := Path(file).expanduser()).is_file():
                shutil.copy(path, machine / path.name)
                settings.append(f"export {key}=/machine/{path.name}\n")
        (machine / "environ").write_text("".join(settings))
        self._mounts = [f"{machine}:/machine:ro", f"{_CERTIFICATES}:{_CERTIFICATES}:ro"]
        self._mounts += [f"{path}:{path}:ro" for path in ("/etc/pip.conf", "/etc/uv/uv.toml") if Path(path).is_file()]

    def build(self, name: str, dockerfile: str, requirements: str) -> str:
        """Build from ``dockerfile``, push, keep the figures under ``name``; return the image's reference."""
        context = self.place / "context"
        shutil.rmtree(context, ignore_errors=True)
        context.mkdir()
        (context / "Dockerfile").write_text(dockerfile.format(base=self.base))
        (context / "requirements.txt").write_text(requirements)
        shutil.copy(BIN / "uv", context / "uv")
        reference = f"{self.relay.host}/{name.replace(' ', '-')}:{len(self.took_s.get(name, ())) + 1}"
        certificate = "/etc/ssl/certs/ca-certificates.crt"
        mounts = [word for mount in self._mounts for word in ("--volume", mount)]
        before, start = self.relay.sent_bytes, time.perf_counter()
        _call(
            "buildah", "bud", "--quiet", "--isolation", "oci", "--runtime", "runc", "--network", "host", "--layers", "--no-cache", *mounts,
            "--env", f"SSL_CERT_FILE={certificate}", "--tag", reference, context, environ=self.environ,
        )  # fmt: skip
        _call("buildah", "push", "--quiet", reference, environ=self.environ)
        self.took_s.setdefault(name, []).append(time.perf_counter() - start)
        self.sent_bytes[name] = self.relay.sent_bytes - before
        return reference

    def fetch_base(self) -> None:
        """Have the base image here, as somebody has who builds often."""
        _call("buildah", "pull", "--quiet", self.base, environ=self.environ)


@dataclass
class Podman:
    """podman with storage of its own, which pulls."""

    place: Path
    relay: CountingRelay

    def __post_init__(self) -> None:
        self.place.mkdir()
        self.environ = engine_environ(self.place, self.relay.host)

    def pull(self, reference: str) -> int:
        """Pull an image; return the bytes that came."""
        before = self.relay.received_bytes
        _call("podman", "pull", "--quiet", reference, environ=self.environ)
        return self.relay.received_bytes - before

    def forget(self, reference: str) -> None:
        """Have that image no more, nor the layers that only it has."""
        _call("podman", "rmi", "--force", "--ignore", reference, environ=self.environ)

    def only(self, *references: str) -> None:
        """Have these images alone."""
        _call("podman", "rmi", "--all", "--force", environ=self.environ)
        for reference in references:
            self.pull(reference)


def engine_environ(place: Path, host: str) -> dict[str, str]:
    """Return an environment in which buildah and podman keep everything below ``place``, and take ``host`` without TLS."""
    (place / "storage.conf").write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{place}/graph"\nrunroot = "{place}/run"\n'
    )
    (place / "registries.conf").write_text(
        f'unqualified-search-registries = []\n[[registry]]\nlocation = "{host}"\ninsecure = true\n'
    )
    (place / "containers.conf").write_text('[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "none"\nruntime = "runc"\n')
    for name in ("tmp", "home"):
        (place / name).mkdir()
    return {
        "PATH": os.environ["PATH"], "HOME": str(place / "home"), "LANG": "C.UTF-8", "TMPDIR": str(place / "tmp"), "NO_PROXY": "127.0.0.1",
        "CONTAINERS_STORAGE_CONF": str(place / "storage.conf"), "CONTAINERS_REGISTRIES_CONF": str(place / "registries.conf"),
        "CONTAINERS_CONF": str(place / "containers.conf"),
    }  # fmt: skip


@contextlib.contextmanager
def removed_afterwards(place: Path) -> Iterator[Path]:
    """Remove ``place`` at the end, whatever happens; see ``remove_with_mounts``."""
    try:
        yield place
    finally:
        remove_with_mounts(place)


def _call(*command: str | Path, environ: Mapping[str, str]) -> str:
    done = subprocess.run(command, env=dict(environ), capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 0, (
        f"{' '.join(map(str, command))} exited {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    )
    return done.stdout
