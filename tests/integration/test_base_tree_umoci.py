"""A file system that changes at random, layer by layer: the listing is what is there, and what another tool unpacks."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.base_images import put_image, tar

from wardian.image.base import get_base
from wardian.image.base_tree import BaseTree, list_base
from wardian.image.layout import LayoutImageStore

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("a", "b", "c", "d")


def changed(chance: random.Random, state: dict[str, Any], number: int) -> dict[str, Any]:
    """Change ``state`` (path → content, ``None`` a directory, ``->…`` a link) and return the layer that says so."""
    layer: dict[str, Any] = {}

    def remove(path: str) -> None:
        for one in [one for one in state if one == path or one.startswith(f"{path}/")]:
            del state[one]
            layer.pop(one, None)

    for step in range(10):
        below = {path: chance.choice(["remove", "clear", "replace"]) for path in state if path not in layer}
        path = chance.choice(sorted(below)) if below and number and chance.random() < 0.5 else ""
        inner = any(one.startswith(f"{path}/") for one in layer) if path else False
        parent, _, name = path.rpartition("/")
        if path and not inner and below[path] == "remove":
            remove(path)
            layer[f"{parent}/.wh.{name}".lstrip("/")] = b""
        elif path and not inner and below[path] == "clear" and state[path] is None:
            remove(path)
            state[path] = layer[path] = None
            layer[f"{path}/.wh..wh..opq"] = b""
        elif path and not inner and below[path] == "replace":
            remove(path)
            state[path] = layer[path] = chance.choice([f"{number}.{step}".encode(), "->../a/b", "->/c"])
        else:
            parts = [chance.choice(NAMES) for _ in range(chance.randint(1, 3))]
            above = ["/".join(parts[:n]) for n in range(1, len(parts))]
            target = "/".join(parts)
            gone = {f"{one.rpartition('/')[0]}/.wh.{one.rpartition('/')[2]}".lstrip("/") for one in [*above, target]}
            if target in state or any(state.get(one) is not None for one in above) or gone & set(layer):
                continue
            for one in above:
                state.setdefault(one, None)
                layer.setdefault(one, None)
            state[target] = layer[target] = chance.choice([f"{number}.{step}".encode(), None, "->b"])
    return layer


def there(tree: BaseTree) -> dict[str, Any]:
    found: dict[str, Any] = {}
    pending = [("", tree.root)]
    while pending:
        inside, node = pending.pop()
        for name, child in node.children.items():
            path = f"{inside}/{name}".lstrip("/")
            pending.append((path, child))
            found[path] = {"directory": None, "link": f"->{child.target}"}.get(child.kind, child.noted)
    return found


@pytest.mark.parametrize("seed", range(12))
def test_a_listing_is_what_is_there(tmp_path: Path, seed: int) -> None:
    chance, state = random.Random(seed), dict[str, Any]()  # noqa: S311
    layers = [tar(*changed(chance, state, number).items()) for number in range(6)]
    store = LayoutImageStore(tmp_path / "layout")
    put_image(store, layers)
    assert there(list_base(get_base(store, "base", "linux/amd64"), lambda _: bytes)) == state
    assert state
    if shutil.which("umoci") is None:
        pytest.skip("umoci is missing: apt-get install umoci")
    rootless: list[str | Path] = [] if os.geteuid() == 0 else ["--rootless"]
    command: list[str | Path] = ["umoci", "unpack", *rootless, "--image", f"{tmp_path}/layout:base", tmp_path / "bundle"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    root = tmp_path / "bundle/rootfs"
    unpacked = {
        str(path.relative_to(root)): f"->{path.readlink()}"
        if path.is_symlink()
        else None
        if path.is_dir()
        else path.read_bytes()
        for path in root.rglob("*")
    }
    assert unpacked == state
