"""Environments as images, as a user meets it: the command line, a registry and an index on loopback, real base images."""

from __future__ import annotations

import shutil
import subprocess
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from tests.support import image_homes
from tests.support.base_images import debian_base, missing_tool, session_place
from tests.support.image_homes import image_of
from tests.support.wheels import make_wheel

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.cli import Cli
    from tests.support.index import Index
    from tests.support.registry import DockerRegistry

pytestmark = pytest.mark.skipif(bool(missing_tool()), reason=missing_tool())

OLD, NEW = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 6, 1, tzinfo=UTC)
PACKAGES = ("alpha", "beta", "gamma")


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"oci:{debian_base(session_place(tmp_path_factory.getbasetemp())).root}:debian"


@pytest.fixture
def shop(index: Index, tmp_path: Path) -> Index:
    for name in PACKAGES:
        index.add(make_wheel(tmp_path / "wheels", name, "1.0", files={f"{name}/__init__.py": f"name = '{name}'\n"}), OLD)
    return index


def a_home(place: Path, shop: Index, base: str, **variables: str) -> Cli:
    cli = image_homes.a_home(place, shop, base, **variables)
    cli.write("all.txt", "".join(f"{name}\n" for name in PACKAGES))
    cli.write("two.txt", "alpha\nbeta\n")
    return cli


@pytest.fixture
def cli(tmp_path: Path, shop: Index, base: str) -> Cli:
    return a_home(tmp_path / "one", shop, base)


def test_an_image_has_a_layer_for_each_package_and_is_built_once(cli: Cli) -> None:
    cli.ok("env", "create", "trio", "-r", "all.txt")
    before = cli.json("image", "show", "trio")
    assert (before["exists"], before["reason"]) == (False, "trio:1 is not locked for linux/amd64 yet")
    first = image_of(cli, "trio")
    assert (first["origin"], first["cached"]) == ("built", False)
    again = image_of(cli, "trio")
    assert (again["digest"], again["cached"], again["build_id"]) == (first["digest"], True, None)

    shown = cli.json("image", "show", "trio")
    assert shown["exists"]
    assert cli.json("image", "show", first["reference"])["digest"] == first["digest"]  # what it writes it takes
    packages = [layer["packages"] for layer in shown["layers"]]
    assert (packages[0], packages[-1]) == ([], ["environment"])
    assert sorted(packages[1:-1]) == [["alpha 1.0"], ["beta 1.0"], ["gamma 1.0"]]
    assert (shown["interpreter"], shown["environment"], shown["tags"]) == (
        "/opt/env/bin/python",
        "/opt/env",
        [f"i-{first['image_key']}"],
    )
    assert shown["base"] == cli.variables["WARDIAN_BASE_IMAGE"]
    (build,) = cli.json("build", "list", "--kind", "image")["builds"]
    assert (build["id"], build["kind"], build["state"], build["subject"]) == (first["build_id"], "image", "completed", "trio:1")


def test_packages_that_are_known_are_neither_fetched_nor_made_again(cli: Cli, shop: Index) -> None:
    image_of(cli, "all.txt")
    shutil.rmtree(cli.cache / "packages")
    before = shop.downloads()
    two = image_of(cli, "two.txt")
    assert shop.downloads() == before
    details = cli.json("image", "show", f"@{cli.ok('env', 'hash', 'two.txt').out.strip()[:12]}")
    assert details["digest"] == two["digest"]
    assert [layer["shared_with"] for layer in details["layers"]] == [1, 1, 1, 0]
    phases = cli.json("build", "show", two["build_id"])["phases"]
    assert not any("making" in phase["name"] for phase in phases)


def test_two_names_of_one_content_have_one_image(cli: Cli) -> None:
    cli.ok("env", "create", "one", "-r", "two.txt")
    cli.ok("env", "create", "two", "-r", "two.txt")
    cli.write("other.txt", "beta\nalpha\n")
    first, second, third = image_of(cli, "one"), image_of(cli, "two"), image_of(cli, "other.txt")
    assert first["digest"] == second["digest"] == third["digest"]  # another definition, the same lock
    assert len(cli.json("build", "list", "--kind", "image")["builds"]) == 1


@pytest.mark.parametrize("compression", ["zstd", "gzip"])
def test_the_same_lock_is_the_same_image_in_another_home(tmp_path: Path, shop: Index, base: str, compression: str) -> None:
    one = a_home(tmp_path / "one", shop, base, WARDIAN_IMAGE_COMPRESSION=compression)
    two = a_home(tmp_path / "a much longer path" / "two", shop, base, WARDIAN_IMAGE_COMPRESSION=compression, TZ="Asia/Tokyo", LC_ALL="C",
                 SOURCE_DATE_EPOCH="1234567890")  # fmt: skip
    assert image_of(one, "all.txt")["digest"] == image_of(two, "all.txt")["digest"]


def test_other_tools_accept_the_image(cli: Cli, tmp_path: Path) -> None:
    if shutil.which("skopeo") is None:
        pytest.skip("skopeo is missing: apt-get install skopeo")
    image = image_of(cli, "all.txt")
    cli.ok("image", "copy", f"@{cli.ok('env', 'hash', 'all.txt').out.strip()[:12]}", f"oci:{tmp_path / 'out'}:trio")
    subprocess.run(["skopeo", "copy", "--quiet", f"oci:{tmp_path / 'out'}:trio", f"dir:{tmp_path / 'dir'}"], check=True)
    manifest = (tmp_path / "dir" / "manifest.json").read_bytes()
    from wardian.digest import Digest

    assert Digest.of(manifest) == image["digest"]


def test_what_one_home_pushed_another_finds_and_does_not_build(
    tmp_path: Path, shop: Index, base: str, registry: DockerRegistry
) -> None:
    place = f"{registry.host}/team/envs"
    one = a_home(tmp_path / "one", shop, base, WARDIAN_REGISTRY=place)
    two = a_home(tmp_path / "two", shop, base, WARDIAN_REGISTRY=place)
    first = image_of(one, "all.txt")
    assert first["reference"] == f"{place}@sha256:{first['digest']}"
    sent = [line for line in registry.requests() if line.startswith(("PUT", "POST", "PATCH"))]
    assert sent

    second = image_of(two, "all.txt")
    assert (second["digest"], second["origin"], second["build_id"]) == (first["digest"], "workspace registry", None)
    after = [line for line in registry.requests() if line.startswith(("PUT", "POST", "PATCH"))]
    assert after == sent
    assert not (two.cache / "layers").exists()


def test_a_version_that_has_its_image_asks_nobody(tmp_path: Path, shop: Index, base: str, registry: DockerRegistry) -> None:
    cli = a_home(tmp_path / "one", shop, base, WARDIAN_REGISTRY=f"{registry.host}/envs")
    image_of(cli, "all.txt")
    before = registry.requests()
    assert image_of(cli, "all.txt")["cached"]
    assert registry.requests() == before


def test_a_registry_that_cannot_be_asked_is_an_error_and_no_reason_to_build(tmp_path: Path, shop: Index, base: str) -> None:
    cli = a_home(tmp_path / "one", shop, base, WARDIAN_REGISTRY="127.0.0.1:1/envs", WARDIAN_TIMEOUT_S="2")
    done = cli.run("env", "build", "all.txt", "--image", "--json")
    assert done.code == 7
    assert not (cli.cache / "layers").exists()


def test_a_tag_that_names_something_else_is_an_error(cli: Cli) -> None:
    two, trio = image_of(cli, "two.txt"), image_of(cli, "all.txt")
    from wardian.image.layout import LayoutImageStore

    store = LayoutImageStore(cli.cache / "images")
    found = store.find(f"sha256:{two['digest']}")
    assert found is not None
    store.tag(found.content, found.descriptor.media_type, [f"i-{trio['image_key']}"])
    cli.write("again.txt", "gamma\nbeta\nalpha\n")
    done = cli.run("env", "build", "again.txt", "--image", "--json")
    assert done.code == 1
    assert "tag_mismatch" in done.err


def test_a_base_tag_that_moves_leaves_a_version_as_it_is(tmp_path: Path, shop: Index, base: str) -> None:
    own = tmp_path / "bases"
    shutil.copytree(base.removeprefix("oci:").removesuffix(":debian"), own)
    cli = a_home(tmp_path / "one", shop, f"oci:{own}:debian")
    cli.ok("env", "create", "trio", "-r", "all.txt")
    first = image_of(cli, "trio:1")
    from tests.support.base_images import put_image, tar

    from wardian.image.layout import LayoutImageStore

    put_image(LayoutImageStore(own), [tar(("etc/new", b"another base"))], tags=["debian"])
    shutil.rmtree(cli.cache / "images")
    assert image_of(cli, "trio:1")["digest"] == first["digest"]
