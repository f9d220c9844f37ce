"""What a base image has where the environment goes, or tells its own Python, is no part of the environment."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from tests.support import image_homes
from tests.support.base_images import debian_base, missing_tool, session_place, tar
from tests.support.conda_channel import Channel, greeter, python_package
from tests.support.containers import podman_space
from tests.support.image_homes import image_of
from tests.support.wheels import make_wheel

from wardian.digest import Digest
from wardian.image.layout import LayoutImageStore
from wardian.image.oci import CONFIG, LAYER, MANIFEST, Descriptor, Manifest, read_config, read_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.cli import Cli
    from tests.support.index import Index
    from tests.support.pythons import Catalogue

pytestmark = pytest.mark.skipif(bool(missing_tool()), reason=missing_tool())

SITE = [f"opt/env/lib/python3.{minor}/site-packages" for minor in range(8, 15)]
FOREIGN = {
    **{f"{site}/stray.py": b"" for site in SITE},
    **{f"{site}/zz.pth": b"import sys; sys.stray = True\n" for site in SITE},
    **{f"{site}/sitecustomize.py": b"import sys; sys.stray = True\n" for site in SITE},
    "srv/alpha.py": b"version = 'the base has this'\n",
    "srv/greeter.py": b"",
}
LOOK = """
import importlib.util, json, os, sys
import {module}
print(json.dumps([bool(importlib.util.find_spec("stray")), hasattr(sys, "stray"), {module}.__file__.startswith("/opt/env/"),
                  sorted(name for name in os.environ if name.startswith("PYTHON") and name in ("PYTHONHOME", "PYTHONPATH"))]))
"""


@pytest.fixture
def base(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A base with Debian's Python that has an environment of somebody's at ``/opt/env``, and variables for its own Python."""
    place = tmp_path / "base"
    shutil.copytree(debian_base(session_place(tmp_path_factory.getbasetemp())).root, place)
    store = LayoutImageStore(place)
    found = store.find("debian")
    assert found is not None
    manifest = read_manifest(found.content, found.descriptor.media_type)
    assert isinstance(manifest, Manifest)
    with store.open(manifest.config) as stream:
        config = read_config(stream.read())
    layer = tar(*FOREIGN.items())
    variables = (*config.variables, ("PYTHONPATH", "/srv"), ("PYTHONHOME", "/nowhere"))
    changed = replace(config, diff_ids=(*config.diff_ids, Digest.of(layer)), variables=variables, history=()).to_json()
    described, of_config = Descriptor.of(layer, LAYER), Descriptor.of(changed, CONFIG)
    store.put(described, lambda: io.BytesIO(layer))
    store.put(of_config, lambda: io.BytesIO(changed))
    store.tag(Manifest(of_config, (*manifest.layers, described)).to_json(), MANIFEST, ["foreign"])
    return f"oci:{place}:foreign"


@pytest.fixture
def shop(index: Index, tmp_path: Path) -> Index:
    index.add(
        make_wheel(tmp_path / "wheels", "alpha", "1.0", files={"alpha.py": "version = '1.0'\n"}),
        datetime(2024, 1, 1, tzinfo=UTC),
    )
    return index


@pytest.fixture(scope="module")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with Channel(tmp_path_factory.mktemp("channel")).publish(python_package(), greeter()).serve() as server:
        yield server.url


def check(cli: Cli, definition: str, module: str) -> None:
    notes = image_of(cli, definition)["notes"]
    assert any(note.startswith("PYTHONPATH, PYTHONHOME of the base image ") for note in notes), notes
    cli.write("look.py", LOOK.format(module=module))
    with podman_space() as space:
        done = cli.run("run", "-t", "podman", "-f", definition, "look.py", variables=space.environ)
    assert (done.code, done.out and json.loads(done.out)) == (0, [False, False, True, []]), done.err


def test_with_the_bases_own_python(tmp_path: Path, shop: Index, base: str) -> None:
    cli = image_homes.a_home(tmp_path / "home", shop, base)
    cli.write("host.yml", "name: host\npython: {manager: uv, source: host, pip: [alpha]}\n")
    check(cli, "host.yml", "alpha")


def test_with_a_python_that_the_environment_brings(tmp_path: Path, shop: Index, base: str, python_catalogue: Catalogue) -> None:
    cli = image_homes.a_home(tmp_path / "home", shop, base, WARDIAN_PYTHON_DOWNLOADS=str(python_catalogue.path))
    version = next(iter(python_catalogue.entries)).split("-")[1]
    cli.write("own.yml", f'name: own\npython: {{manager: uv, version: "=={version}", pip: [alpha]}}\n')
    check(cli, "own.yml", "alpha")


@pytest.mark.slow
def test_with_condas(tmp_path: Path, shop: Index, base: str, channel: str) -> None:
    cli = image_homes.a_home(tmp_path / "home", shop, base, channel_url=channel)
    cli.write("conda.yml", "name: conda\nchannels: [local]\ndependencies: [python, greeter]\n")
    check(cli, "conda.yml", "greeter")


def test_an_interpreter_in_the_place_of_the_environment_is_none(tmp_path: Path, shop: Index, base: str) -> None:
    store = LayoutImageStore(tmp_path / "base")
    found = store.find("foreign")
    assert found is not None
    manifest = read_manifest(found.content, found.descriptor.media_type)
    assert isinstance(manifest, Manifest)
    with store.open(manifest.config) as stream:
        config = read_config(stream.read())
    layer = tar(("opt/env/bin/python3.11", "->/usr/bin/python3.11"))
    changed = replace(config, diff_ids=(*config.diff_ids, Digest.of(layer)), variables=(("PATH", "/opt/env/bin"),)).to_json()
    for content, media_type in ((layer, LAYER), (changed, CONFIG)):
        store.put(Descriptor.of(content, media_type), lambda content=content: io.BytesIO(content))  # type: ignore[misc]
    top = Manifest(Descriptor.of(changed, CONFIG), (*manifest.layers, Descriptor.of(layer, LAYER)))
    store.tag(top.to_json(), MANIFEST, ["only-there"])
    cli = image_homes.a_home(tmp_path / "home", shop, f"oci:{tmp_path / 'base'}:only-there")
    cli.write("host.yml", "name: host\npython: {manager: uv, source: host, version: '==3.11.*', pip: [alpha]}\n")
    done = cli.run("env", "build", "host.yml", "--image", "--json")
    assert done.code == 1
    assert "/opt/env/bin/python3.11 is in the place of the environment" in done.err
    assert "base_python_missing" in done.err
