"""The base of a curated version as a registry states it: taken if it is about this very version, refused if it is no base."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from wardian.bootstrap import Parts
from wardian.definition.platform import get_platform
from wardian.digest import Digest
from wardian.image.layout import LayoutImageStore
from wardian.image.oci import InvalidImage
from wardian.image.shared_version import SharedVersion, share
from wardian.sdk.shared_base import pin_shared_base
from wardian.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from wardian.workspace.images import BasePin

AMD64 = get_platform("linux/amd64")
BASE = {"reference": "docker.io/library/debian:bookworm-slim", "digest": "a" * 64, "store": "docker.io/library/debian"}


def pinned(tmp_path: Path, base: Mapping[str, str], *, lock: str = "", content: str = "") -> BasePin | None:
    """Return what a curated version is pinned to when the global registry says ``base`` of it (with another lock or content)."""
    settings = replace(
        Settings.load(home=tmp_path / "home"), cache=tmp_path / "cache", global_registry=f"oci:{tmp_path / 'shared'}"
    )
    parts = Parts(settings, environ={})
    version = parts.environments.get("Wardian-minimal-py312-cpu")
    pin = parts.locks.find_pin(version.id, AMD64.name)
    assert pin is not None
    shared = SharedVersion(
        version.name or "", version.version or "", Digest(content or version.content_key), version.definition_hash, version.document,
        locks={AMD64.name: Digest(lock or pin.lock_digest)}, bases={AMD64.name: base},
    )  # fmt: skip
    share(LayoutImageStore(tmp_path / "shared"), shared, locks=tmp_path / "locks", wait=lambda _: None)
    pin_shared_base(parts, version, AMD64, parts.locks.get(pin.lock_digest))
    return parts.images.records.find_base(version.id, AMD64.name)


def test_it_is_taken_from_the_version_with_the_same_content_and_lock(tmp_path: Path) -> None:
    found = pinned(tmp_path, BASE)
    assert found is not None
    assert (found.reference, found.digest, found.store) == (BASE["reference"], BASE["digest"], BASE["store"])


@pytest.mark.parametrize("differs", ["lock", "content"])
def test_of_another_lock_or_content_nothing_is_taken(tmp_path: Path, differs: str) -> None:
    assert pinned(tmp_path, BASE, **{differs: "b" * 64}) is None


@pytest.mark.parametrize(
    "wrong", [{"reference": "::::"}, {"reference": ""}, {"reference": "a b"}, {"reference": "../x\n"}, {"digest": ""}]
)
def test_what_is_no_base_is_refused_and_pins_nothing(tmp_path: Path, wrong: dict[str, str]) -> None:
    with pytest.raises(InvalidImage) as caught:
        pinned(tmp_path, BASE | wrong)
    assert caught.value.stable_code == "tag_mismatch"
    assert caught.value.hint
