"""Memory does not grow with the size of what goes into a layer."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest
from tests.support.wheels import make_wheel

if TYPE_CHECKING:
    from pathlib import Path

_MIB = 1 << 20
_PROGRAM = """
import json, sys
from pathlib import Path
from wardian.image.compression import Compression
from wardian.image.layer import write_layer
from wardian.image.python_layout import PythonLayout
from wardian.image.wheel_entries import wheel_entries
with wheel_entries(Path(sys.argv[1]), PythonLayout("3.11")) as entries, open("/dev/null", "wb") as sink:
    layer = write_layer(entries, sink, compression=Compression(sys.argv[2]), mtime=0)
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps([int(status["VmHWM"].split()[0]) << 10, layer.uncompressed_bytes]))
"""


def large_wheel(directory: Path, size: int) -> Path:
    """A wheel with one file of ``size`` bytes that compress well."""
    wheel = make_wheel(directory, "large", "1.0")
    block = bytes(range(256)) * 4096
    with (
        zipfile.ZipFile(wheel, "a", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("large/weights.bin", "w", force_zip64=True) as member,
    ):
        for _ in range(size // len(block)):
            member.write(block)
    return wheel


@pytest.mark.parametrize("compression", ["zstd", "gzip"])
def test_a_file_of_any_size_takes_the_same_memory(tmp_path: Path, compression: str) -> None:
    peaks = []
    for size in (4 * _MIB, 400 * _MIB):
        command = [sys.executable, "-c", _PROGRAM, str(large_wheel(tmp_path / str(size), size)), compression]
        peak, raw = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        assert raw > size
        peaks.append(peak)
    assert peaks[1] < peaks[0] + 8 * _MIB
    assert peaks[1] < 100 * _MIB
