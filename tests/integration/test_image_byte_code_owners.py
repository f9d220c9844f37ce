"""A module that covers another one brings its own byte-code: Python takes what is there without a look at the source."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING

import pytest
import zstandard
from tests.builders import a_lock
from tests.support.conda_channel import Channel, File, Package, python_package
from tests.support.conda_solving import archives_in, solved

from wardian.errors import BadArchive
from wardian.events import silent
from wardian.image.build_layers import LayerMaker, Workshop
from wardian.image.compression import Compression
from wardian.image.interpreter import image_python
from wardian.image.key import ImageScheme
from wardian.image.layer_cache import LayerCache
from wardian.image.layout import LayoutImageStore
from wardian.image.plan import plan_layers

if TYPE_CHECKING:
    from pathlib import Path

    from wardian.lock.lock import Lock

SITE = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
RUN = (
    "import os, sys; from pathlib import Path; from wardian.tools.mounted_at import mount_at\n"
    "mount_at(Path(sys.argv[1]), Path('/opt/env')); os.execv(sys.argv[2], sys.argv[2:])"
)


def pythonic(name: str, *depends: str, **more: bytes) -> Package:
    files = {"site-packages/shared.py": f"WHO = '{name}'\n", f"site-packages/of_{name}.py": "WHO = 'unchanged'\n"}
    return Package(name, subdir="noarch", noarch="python", depends=("python", *depends), files={**files, **more})


def may_mount() -> bool:
    code = "from pathlib import Path; from wardian.tools.mounted_at import mount_at; mount_at(Path('/usr'), Path('/opt/env'))"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def unpacked(lock: Lock, channel: Channel, place: Path, link_scripts: str) -> Path:
    """Make the layers of ``lock`` and lay them over each other; return the environment's root."""
    store, scheme = LayoutImageStore(place / "layout"), ImageScheme(Compression().compressor)
    shop = Workshop(
        LayerCache(place / "layers", store, compression=Compression(), epoch=0), place / "staging", place / "cache", jobs=2
    )
    maker = LayerMaker(
        shop, lock, scheme, image_python(lock, None), fetch=lambda wanted: archives_in(channel, wanted), link_scripts=link_scripts,
        listener=silent,
    )  # fmt: skip
    layers, _ = maker.make(plan_layers(lock))
    for named in layers:
        with store.open(named.layer.descriptor) as stream:
            content = zstandard.ZstdDecompressor().decompressobj().decompress(stream.read())
        with tarfile.open(fileobj=io.BytesIO(content)) as layer:
            layer.extractall(place / "root", filter="tar")
    return place / "root/opt/env"


def says(environment: Path, module: str) -> str:
    command = ["/opt/env/bin/python", "-B", "-c", f"import {module}; print({module}.WHO, {module}.__cached__)"]
    done = subprocess.run([sys.executable, "-c", RUN, environment, *command], capture_output=True, text=True, check=True)
    who, _, cached = done.stdout.strip().partition(" ")
    assert (environment / cached.removeprefix("/opt/env/")).is_file()
    return who


@pytest.mark.skipif(not may_mount(), reason="private mounts are not allowed here")
def test_the_owner_of_a_module_is_also_the_owner_of_its_byte_code(tmp_path: Path) -> None:
    owner = pythonic("owner", "loser", **{"share/large": os.urandom(100_000)})  # its layer lies below the loser's
    channel = Channel(tmp_path / "channel").publish(python_package(), pythonic("loser"), owner)
    lock = a_lock(*solved(tmp_path, "owner", channels=[channel.url]))
    names = [group.artifacts[0].name for group in plan_layers(lock) if group.artifacts]
    assert names == ["python", "owner", "loser"]
    assert says(unpacked(lock, channel, tmp_path, "refuse"), "shared") == "owner"


@pytest.mark.skipif(not may_mount(), reason="private mounts are not allowed here")
def test_a_module_that_a_link_script_changes_has_new_byte_code(tmp_path: Path) -> None:
    script = f'#!/bin/sh\necho "WHO = \'changed\'" > "$PREFIX/{SITE}/of_other.py"\n'.encode()
    package = Package("x", depends=("other",), files={"bin/.x-post-link.sh": File(script, executable=True)})
    channel = Channel(tmp_path / "channel").publish(python_package(), pythonic("other"), package)
    lock = a_lock(*solved(tmp_path, "x", channels=[channel.url]))
    environment = unpacked(lock, channel, tmp_path, "run")
    assert says(environment, "of_other") == "changed"
    assert says(environment, "shared") == "other"


@pytest.mark.skipif(not may_mount(), reason="private mounts are not allowed here")
def test_what_a_link_script_does_to_a_file_of_several_packages_stays_done(tmp_path: Path) -> None:
    script = b'#!/bin/sh\necho changed > "$PREFIX/share/both"; rm "$PREFIX/share/gone"\n'
    owner = Package(
        "owner", depends=("loser",),
        files={"share/both": "owner", "share/gone": "owner", "bin/.owner-post-link.sh": File(script, executable=True)},
    )  # fmt: skip
    loser = Package("loser", files={"share/both": "loser", "share/gone": "loser"})
    channel = Channel(tmp_path / "channel").publish(loser, owner)
    environment = unpacked(a_lock(*solved(tmp_path, "owner", channels=[channel.url])), channel, tmp_path, "run")
    assert (environment / "share/both").read_text() == "changed\n"
    assert (environment / "share/.wh.gone").exists()
    assert (environment / "conda-meta/history").exists()


def test_a_package_that_asks_for_python_without_a_space_gets_byte_code(tmp_path: Path) -> None:
    package = Package("tight", depends=("python>=3.8",), files={f"{SITE}/tight.py": "WHO = 1\n"})
    channel = Channel(tmp_path / "channel").publish(python_package(), package)
    environment = unpacked(a_lock(*solved(tmp_path, "tight", channels=[channel.url])), channel, tmp_path, "refuse")
    assert len(list(environment.glob(f"{SITE}/__pycache__/tight.*.pyc"))) == 1


def test_no_package_can_remove_what_another_one_has(tmp_path: Path) -> None:
    channel = Channel(tmp_path / "channel").publish(Package("hostile", files={"share/.wh.data": ""}))
    with pytest.raises(BadArchive, match=r"hostile 1\.0.*share/\.wh\.data") as caught:
        unpacked(a_lock(*solved(tmp_path, "hostile", channels=[channel.url])), channel, tmp_path, "refuse")
    assert caught.value.stable_code == "unsafe_path"
