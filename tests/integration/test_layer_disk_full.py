"""A full disk while a layer is written: said as such, nothing is kept, and with more space it works."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest
from tests.support.accounts import REPOSITORY
from tests.support.mounts import Namespace

if TYPE_CHECKING:
    from pathlib import Path

_MIB = 1 << 20
_PROGRAM = """
import contextlib, json, random, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.support.layer_maker import KEY, cache_at
from wardian.errors import WardianError
from wardian.image.entry import Entry
from wardian.image.layer_cache import LayerContent, LayerTask

@contextlib.contextmanager
def content():
    yield LayerContent([Entry.of_bytes("opt/env/f", random.Random(0).randbytes(3 << 20))])

place = Path(sys.argv[1])
cache = cache_at(place)
try:
    code = str(cache.ensure(LayerTask(KEY, "alpha", content)).cached)
except WardianError as error:
    code = error.stable_code
print(json.dumps([code, cache.find(KEY) is not None, sum(p.stat().st_size for p in place.rglob("*") if p.is_file())]))
"""


@pytest.mark.root
@pytest.mark.parametrize("size", [1 * _MIB, 4 * _MIB], ids=["while it is written", "while it is stored"])
def test_a_full_disk(tmp_path: Path, size: int) -> None:
    with Namespace() as space:
        space.tmpfs(tmp_path / "small", size)
        space.tmpfs(tmp_path / "small" / "registry", size // 2)
        command = [sys.executable, "-c", _PROGRAM, str(tmp_path / "small"), str(REPOSITORY)]
        code, found, left = json.loads(space.run(*command))
        assert (code, found) == ("disk_full", False)
        assert left < 100_000
        space.resize(tmp_path / "small", 8 * _MIB)
        space.resize(tmp_path / "small" / "registry", 8 * _MIB)
        code, found, _ = json.loads(space.run(*command))
        assert (code, found) == ("False", True)
