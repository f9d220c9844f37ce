"""One environment as images for several platforms, and the index that names them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from tests.support import registry as registries
from tests.support.base_images import put_image, tar
from tests.support.cli import Cli
from tests.support.conda_channel import Channel, foreign_python, greeter, python_package
from tests.support.registry import DockerRegistry

from wardian.image.layout import LayoutImageStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BOTH = ("--platform", "linux/amd64", "--platform", "linux/arm64")
MINOR = f"python{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture(scope="module")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Channel:
    channel = Channel(tmp_path_factory.mktemp("channel"))
    return channel.publish(python_package(), foreign_python("linux-aarch64"), greeter())


@pytest.fixture
def cli(tmp_path: Path, channel: Channel) -> Iterator[Cli]:
    bases = LayoutImageStore(tmp_path / "bases")
    for platform in ("linux/amd64", "linux/arm64"):
        put_image(bases, [tar(("etc/platform", platform.encode()))], tags=[platform.replace("/", "-")], platform=platform)
    children = [
        {**entry, "platform": dict(zip(("os", "architecture"), name.split("-"), strict=True))} for name, entry in _named(bases)
    ]
    content = json.dumps(
        {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": children}
    ).encode()
    bases.tag(content, "application/vnd.oci.image.index.v1+json", ["base"])
    with channel.serve() as server:
        config = f'lock_platforms = ["linux/amd64", "linux/arm64"]\n[channels]\nlocal = "{server.url}"\n'
        found = Cli.at(tmp_path / "one", index_url="http://127.0.0.1:9/simple", config=config)
        found.variables["WARDIAN_BASE_IMAGE"] = f"oci:{bases.root}:base"
        found.write("environment.yml", "name: both\nchannels: [local]\ndependencies: [python, greeter]\n")
        yield found


def _named(store: LayoutImageStore) -> list[tuple[str, dict[str, object]]]:
    found = []
    for tag in store.tags("linux-"):
        image = store.find(tag)
        assert image is not None
        found.append((tag, image.descriptor.as_document()))
    return found


def test_each_platform_has_an_image_and_an_index_names_them(cli: Cli) -> None:
    done = cli.json("env", "build", "environment.yml", "--image", *BOTH)
    here, there = done["images"]
    assert (here["platform"], there["platform"]) == ("linux/amd64", "linux/arm64")
    assert here["notes"] == []
    assert there["notes"] == ["without byte-code: an interpreter for linux/arm64 does not run here"]
    index = done["index"]
    assert index["platforms"] == ["linux/amd64", "linux/arm64"]
    assert index["tag"].startswith("x-")

    place = f"oci:{cli.cache / 'images'}"
    shown = cli.json("image", "show", f"{place}:{index['tag']}")
    assert (shown["exists"], shown["digest"], shown["platforms"]) == (True, index["digest"], ["linux/amd64", "linux/arm64"])
    assert shown["images"] == {one["platform"]: one["digest"] for one in done["images"]}
    text = cli.ok("image", "show", f"{place}:{index['tag']}").out
    assert f"linux/arm64  sha256:{there['digest']}" in text
    assert cli.json("image", "show", f"{place}:{index['tag']}", "--platform", "linux/arm64")["digest"] == there["digest"]

    again = cli.json("env", "build", "environment.yml", "--image", *BOTH[2:], *BOTH[:2])
    assert again["index"] == index  # whatever their order
    assert all(image["cached"] for image in again["images"])


def test_byte_code_is_there_for_this_platform_alone(cli: Cli, tmp_path: Path) -> None:
    if shutil.which("umoci") is None or shutil.which("skopeo") is None:
        pytest.skip("skopeo and umoci are missing: scripts/test-tools installs them")
    cli.variables["WARDIAN_IMAGE_COMPRESSION"] = "gzip"
    done = cli.json("env", "build", "environment.yml", "--image", *BOTH)
    copied = tmp_path / "copied"
    for image in done["images"]:
        name = image["platform"].replace("/", "-")
        cli.ok("image", "copy", f"oci:{cli.cache / 'images'}@sha256:{image['digest']}", f"oci:{copied}:{name}")
        subprocess.run(
            ["umoci", "unpack", "--rootless", "--image", f"{copied}:{name}", str(tmp_path / name)],
            check=True,
            capture_output=True,
        )
    found = {
        name: [path.name for path in (tmp_path / name / "rootfs/opt/env").rglob("greeter*.pyc")]
        + [path.name for path in (tmp_path / name / "rootfs/opt/env").rglob("__init__*.pyc") if "greeter" in path.parts]
        for name in ("linux-amd64", "linux-arm64")
    }
    assert found["linux-arm64"] == []
    assert found["linux-amd64"]
    assert (tmp_path / "linux-arm64/rootfs/etc/platform").read_text() == "linux/arm64"


def test_in_a_registry_other_tools_find_the_image_of_each_platform(cli: Cli, tmp_path: Path) -> None:
    if why := registries.why_not():
        pytest.skip(why)
    if shutil.which("skopeo") is None:
        pytest.skip("skopeo is missing: scripts/test-tools installs it")
    with DockerRegistry(tmp_path / "registry") as registry:
        cli.variables["WARDIAN_REGISTRY"] = f"{registry.host}/envs"
        begun = cli.json("env", "build", "environment.yml", "--image", "-d", *BOTH)["build_id"]
        cli.ok("build", "logs", "-f", begun)
        outcome = cli.json("build", "show", begun)["outcome"]
        assert outcome["index"] == cli.json("env", "build", "environment.yml", "--image", *BOTH)["index"]["reference"]
        index = outcome["index"]
        for platform in ("linux/amd64", "linux/arm64"):
            arch = platform.split("/")[1]
            done = subprocess.run(["skopeo", "inspect", "--tls-verify=false", "--override-arch", arch, f"docker://{index}"],
                                  check=True, capture_output=True, text=True)  # fmt: skip
            assert json.loads(done.stdout)["Architecture"] == arch
        order = [line for line in registry.requests() if line.startswith("PUT") and "/manifests/" in line]
        assert "/manifests/x-" in order[-1]  # written when all that it names is there


def test_what_is_under_the_index_tag_and_is_something_else_is_an_error(cli: Cli) -> None:
    done = cli.json("env", "build", "environment.yml", "--image", *BOTH)
    store = LayoutImageStore(cli.cache / "images")
    image = store.find(f"i-{done['images'][0]['image_key']}")
    assert image is not None
    store.tag(image.content, image.descriptor.media_type, [done["index"]["tag"]])
    failed = cli.run("env", "build", "environment.yml", "--image", *BOTH)
    assert failed.code == 1
    assert "names something else" in failed.err
