from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.cli import Cli

from wardian.digest import Digest
from wardian.sdk.workspace import Workspace

if TYPE_CHECKING:
    from pathlib import Path


def test_a_copy_is_built_on_the_base_of_its_original(tmp_path: Path) -> None:
    """Else it would get another image than the version that it copies, as soon as the base's tag has moved."""
    cli = Cli.at(tmp_path)
    cli.ok("env", "create", "one", "--image", "registry.example.org/base:1", "--interpreter", "/usr/bin/python3")
    workspace = Workspace.open(home=cli.home)
    images = workspace.environments._parts.images.records
    original = workspace.environments.get("one")
    pin = images.pin_base(
        original.id, "linux/amd64", "registry.example.org/base:1", Digest.of(b"base"), "registry.example.org/base"
    )
    cli.ok("env", "create", "two", "--from", "one")
    cli.ok("env", "create", "three", "--from", "one", "--base-image", "registry.example.org/base:2")
    copied = images.find_base(workspace.environments.get("two").id, "linux/amd64")
    assert copied is not None
    assert (copied.reference, copied.digest, copied.store) == (pin.reference, pin.digest, pin.store)
    assert images.find_base(workspace.environments.get("three").id, "linux/amd64") is None
