"""Archives as base images, and as what is looked at: brought into this machine's store once, and pinned there."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from tests.support import image_homes
from tests.support.base_images import put_image, tar
from tests.support.image_homes import image_of
from tests.support.wheels import make_wheel

from wardian.image.layout import LayoutImageStore

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.cli import Cli
    from tests.support.index import Index
    from tests.support.pythons import Catalogue

KINDS = ("oci-archive", "docker-archive")


@pytest.fixture
def cli(tmp_path: Path, index: Index, python_catalogue: Catalogue) -> Cli:
    """A home with an archive of each kind in its project; images start from the first."""
    index.add(make_wheel(tmp_path / "wheels", "alpha", "1.0"), datetime(2024, 1, 1, tzinfo=UTC))
    cli = image_homes.a_home(
        tmp_path / "one", index, "oci-archive:oci-archive.tar",
        WARDIAN_PYTHON_DOWNLOADS=str(python_catalogue.path), WARDIAN_IMAGE_BYTE_CODE="0",
    )  # fmt: skip
    put_image(LayoutImageStore(tmp_path / "base"), [tar(("etc/os-release", b"ID=test"))])
    for kind in KINDS:
        cli.ok("image", "copy", f"oci:{tmp_path / 'base'}", f"{kind}:{kind}.tar")
    cli.write("requirements.txt", "alpha\n")
    return cli


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_is_a_base_and_is_needed_once(cli: Cli, kind: str) -> None:
    cli.variables["WARDIAN_BASE_IMAGE"] = f"{kind}:{kind}.tar"
    cli.ok("env", "create", "a", "-r", "requirements.txt")
    first = image_of(cli, "a")
    (cli.directory / f"{kind}.tar").unlink()
    cli.ok("gc", "--apply", "--all")
    assert image_of(cli, "a")["digest"] == first["digest"]
    shown = cli.json("image", "show", "a")
    assert (shown["base"], len(shown["layers"]) > 1) == (f"{kind}:{kind}.tar", True)


def test_a_definition_names_an_archive_and_stays_with_what_it_held(cli: Cli, tmp_path: Path) -> None:
    cli.ok("env", "create", "given", "--image", "docker-archive:docker-archive.tar")
    first = image_of(cli, "given")
    assert first["store"] == str(cli.cache / "images")
    put_image(LayoutImageStore(tmp_path / "newer"), [tar(("etc/os-release", b"ID=newer"))])
    cli.ok("image", "copy", f"oci:{tmp_path / 'newer'}", "docker-archive:docker-archive.tar")
    shutil.rmtree(cli.cache / "images")
    lost = cli.run("env", "build", "given", "--image", "--json")
    assert (lost.code, "base_image_not_found" in lost.err) == (4, True), lost.err
    cli.ok("image", "copy", f"oci:{tmp_path / 'base'}", "docker-archive:docker-archive.tar")
    assert image_of(cli, "given")["digest"] == first["digest"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_is_shown(cli: Cli, kind: str) -> None:
    shown = cli.json("image", "show", f"{kind}:{kind}.tar")
    assert (shown["exists"], shown["platform"], len(shown["layers"])) == (True, "linux/amd64", 1)
    missing = cli.ok("image", "show", f"{kind}:none.tar").out
    assert "no archive none.tar" in missing
    assert "env build" not in missing


def test_a_layout_that_is_not_there_or_empty_is_no_image(cli: Cli, tmp_path: Path) -> None:
    assert "no OCI layout" in cli.ok("image", "show", "oci:none").out
    cli.ok("image", "copy", f"oci:{tmp_path / 'base'}", "oci:copied")
    assert cli.json("image", "show", "oci:copied")["tags"] == ["base"]
