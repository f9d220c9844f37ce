"""A wheel's files in an image: as an installer writes them, and nothing of where or when it was done."""

from __future__ import annotations

import csv
import importlib.util
import io
import marshal
import posixpath
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from installer import install
from installer.destinations import SchemeDictionaryDestination
from installer.sources import WheelFile
from tests.support.wheels import make_wheel, record_text, zip_bytes

from wardian.errors import BadArchive
from wardian.image.byte_code import ByteCompiler
from wardian.image.python_layout import PythonLayout
from wardian.image.spool import Spool
from wardian.image.wheel_entries import ByteCodeMaker, wheel_entries

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wardian.image.entry import Entry

LAYOUT = PythonLayout("3.11")
SITE = "opt/env/lib/python3.11/site-packages"
FILES: dict[str, str | bytes] = {
    "alpha/__init__.py": "version = '1.0'\n",
    "alpha/data.bin": bytes(range(256)) * 100,
    "alpha/sub/mod.py": "def f():\n    return 1\n",
    "alpha-1.0.data/scripts/plain": b"#!/bin/sh\necho hi\n",
    "alpha-1.0.data/scripts/python-script": b"#!python\nprint('x')\n",
    "alpha-1.0.data/scripts/gui-script": b"#!pythonw -u\r\nprint('x')\r\n",
    "alpha-1.0.data/headers/alpha.h": b"int x;\n",
    "alpha-1.0.data/data/share/man/a.1": b"manual\n",
    "alpha-1.0.data/purelib/pure.py": b"p = 1\n",
    "alpha-1.0.data/platlib/plat.py": b"q = 1\n",
    'alpha/with, comma "and" quotes é.txt': b"odd\n",
}
ENTRY_POINTS = {"alpha": "alpha:main", "alpha-tool": "alpha.sub.mod:f [extra]"}


def read(entry: Entry) -> bytes:
    if entry.open_content is None:
        return b""
    with entry.open_content() as stream:
        return stream.read()


def files_of(archive: Path, byte_code: ByteCodeMaker | None = None) -> dict[str, tuple[bytes, bool]]:
    with wheel_entries(archive, LAYOUT, byte_code) as entries:
        found = {entry.path: (read(entry), entry.executable) for entry in entries}
        assert len(found) == len(entries)
        assert {e.path: e.size_bytes for e in entries} == {path: len(content) for path, (content, _) in found.items()}
        return found


def rows(record: bytes) -> list[tuple[str, ...]]:
    return [tuple(row) for row in csv.reader(io.StringIO(record.decode(), newline=""))]


def with_files(directory: Path, contents: Mapping[str, bytes], *, record: str | None = None) -> Path:
    """A wheel ``alpha 1.0`` of exactly these files, METADATA and WHEEL added."""
    info = "alpha-1.0.dist-info"
    everything = {f"{info}/METADATA": b"Metadata-Version: 2.1\nName: alpha\nVersion: 1.0\n", f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\n"}  # fmt: skip
    everything |= contents
    everything[f"{info}/RECORD"] = (record_text(everything, f"{info}/RECORD") if record is None else record).encode()
    path = directory / "alpha-1.0-py3-none-any.whl"
    path.write_bytes(zip_bytes(everything))
    return path


def test_it_is_what_pypas_installer_writes(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "alpha", "1.0", files=FILES, entry_points=ENTRY_POINTS)
    prefix = "/opt/env"
    scheme = {
        "purelib": f"/{SITE}", "platlib": f"/{SITE}", "scripts": f"{prefix}/bin", "data": prefix,
        "headers": f"{prefix}/include/python3.11/alpha",
    }  # fmt: skip
    target = SchemeDictionaryDestination(scheme, f"{prefix}/bin/python", "posix", destdir=str(tmp_path / "root"))
    with WheelFile.open(wheel) as source:
        install(source, target, {"INSTALLER": b"wardian\n"})
    theirs = {
        str(path.relative_to(tmp_path / "root")): (path.read_bytes(), bool(path.stat().st_mode & 0o100))
        for path in (tmp_path / "root").rglob("*")
        if path.is_file()
    }
    ours = files_of(wheel)
    record = f"{SITE}/alpha-1.0.dist-info/RECORD"
    their_rows = [(posixpath.normpath(path), *rest) for path, *rest in rows(theirs.pop(record)[0])]  # some begin with `./`
    assert sorted(rows(ours.pop(record)[0])) == sorted(their_rows)
    assert ours == theirs
    assert len(ours) == len(FILES) + 2 + 4


def test_scripts_begin_with_the_images_interpreter(tmp_path: Path) -> None:
    found = files_of(make_wheel(tmp_path, "alpha", "1.0", files=FILES, entry_points=ENTRY_POINTS))
    assert found["opt/env/bin/python-script"] == (b"#!/opt/env/bin/python\nprint('x')\n", True)
    assert found["opt/env/bin/gui-script"] == (b"#!/opt/env/bin/python\nprint('x')\r\n", True)
    assert found["opt/env/bin/plain"] == (b"#!/bin/sh\necho hi\n", True)
    assert found["opt/env/bin/alpha"][0].startswith(b"#!/opt/env/bin/python\n")
    assert b"from alpha.sub.mod import f\n" in found["opt/env/bin/alpha-tool"][0]


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (b"#!python", b"#!/opt/env/bin/python\n"),
        (b"#!python3.11\n", b"#!/opt/env/bin/python\n"),
        (b"", b""),
        (b"#!/usr/bin/python\n", b"#!/usr/bin/python\n"),
        (b"#!python " + b"x" * 10_000 + b"\n", b"#!python " + b"x" * 10_000 + b"\n"),
        (b"#!python\n" + b"y" * 3_000_000, b"#!/opt/env/bin/python\n" + b"y" * 3_000_000),
    ],
    ids=["no line", "version", "empty", "absolute", "no kernel would read it", "long"],
)
def test_shebangs(tmp_path: Path, content: bytes, wanted: bytes) -> None:
    assert files_of(with_files(tmp_path, {"alpha-1.0.data/scripts/s": content}))["opt/env/bin/s"] == (wanted, True)


def test_executables_outside_scripts_stay_so(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "alpha", "1.0", files={"alpha/tool": b"x", "alpha/plain": b"x"})
    changed = tmp_path / "changed" / wheel.name
    changed.parent.mkdir()
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(changed, "w") as new:
        for info in old.infolist():
            content = old.read(info)
            if info.filename == "alpha/tool":
                info.external_attr = 0o100775 << 16
            new.writestr(info, content)
    found = files_of(changed)
    assert found[f"{SITE}/alpha/tool"] == (b"x", True)
    assert found[f"{SITE}/alpha/plain"] == (b"x", False)


def test_the_record_lists_every_file_with_its_digest(tmp_path: Path) -> None:
    found = files_of(make_wheel(tmp_path, "alpha", "1.0", files=FILES, entry_points=ENTRY_POINTS))
    record = rows(found[f"{SITE}/alpha-1.0.dist-info/RECORD"][0])
    assert [row[0] for row in record] == sorted((row[0] for row in record), key=str.encode)
    paths = set()
    for path, digest, size in record:
        full = str(Path(f"/{SITE}/{path}").resolve()).removeprefix("/")
        paths.add(full)
        if path != "alpha-1.0.dist-info/RECORD":
            assert (digest, size) == tuple(record_text({"": found[full][0]}, "").split("\n")[0].split(",")[1:])
    assert paths == set(found)


def test_digests_that_the_wheel_does_not_state_are_computed_and_others_are_kept(tmp_path: Path) -> None:
    contents = {"alpha/a.py": b"a", "alpha/b.py": b"b", "alpha/c.py": b"c", "alpha/d.py": b"d"}
    record = "alpha/a.py,,\nalpha/b.py,sha256=bbbb,1\nalpha/c.py,sha256=cccc,7\nalpha/d.py,md5=dddd,1\n"
    found = files_of(with_files(tmp_path, contents, record=record))
    listed = {row[0]: row[1:] for row in rows(found[f"{SITE}/alpha-1.0.dist-info/RECORD"][0])}
    assert listed["alpha/b.py"] == ("sha256=bbbb", "1"), "as pip and uv do"
    for name in "acd":
        assert ",".join((f"alpha/{name}.py", *listed[f"alpha/{name}.py"])) in record_text(
            {f"alpha/{name}.py": name.encode()}, ""
        )


def test_what_others_wrote_while_installing_is_left_out(tmp_path: Path) -> None:
    info = "alpha-1.0.dist-info"
    contents = {
        "alpha/__init__.py": b"",
        "alpha/__pycache__/__init__.cpython-311.pyc": b"old",
        "alpha/__pycache__/deep/x.py": b"old",
        "alpha/legacy.pyc": b"the only form of this module",
        f"{info}/INSTALLER": b"somebody\n",
        f"{info}/REQUESTED": b"",
        f"{info}/licenses/RECORD": b"not that one",
    }
    found = files_of(with_files(tmp_path, contents))
    assert found[f"{SITE}/{info}/INSTALLER"][0] == b"wardian\n"
    assert f"{SITE}/{info}/REQUESTED" not in found
    assert found[f"{SITE}/{info}/licenses/RECORD"][0] == b"not that one"
    assert found[f"{SITE}/alpha/legacy.pyc"][0] == b"the only form of this module"
    assert not [path for path in found if "__pycache__" in path]
    assert "pycache" not in found[f"{SITE}/{info}/RECORD"][0].decode()


def test_where_two_files_go_to_one_place(tmp_path: Path) -> None:
    contents = {
        "same.py": b"root", "alpha-1.0.data/purelib/same.py": b"data", "alpha-1.0.data/scripts/tool": b"script",
        "alpha-1.0.dist-info/entry_points.txt": b"[console_scripts]\ntool = same:f\n",
    }  # fmt: skip
    found = files_of(with_files(tmp_path, contents))
    assert found[f"{SITE}/same.py"][0] == b"data"
    assert b"from same import f" in found["opt/env/bin/tool"][0]


def test_a_data_directory_may_be_spelt_differently(tmp_path: Path) -> None:
    found = files_of(with_files(tmp_path, {"Alpha-1.0.data/data/x": b"1", "other-1.0.data/data/x": b"2"}))
    assert found["opt/env/x"][0] == b"1"
    assert found[f"{SITE}/other-1.0.data/data/x"][0] == b"2"


def test_another_site_packages(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "alpha", "1.0", files=FILES)
    with wheel_entries(wheel, PythonLayout("3.13", "lib/python3.13t/site-packages")) as entries:
        paths = {entry.path for entry in entries}
    assert "opt/env/lib/python3.13t/site-packages/alpha/__init__.py" in paths
    assert "opt/env/include/python3.13/alpha/alpha.h" in paths


@pytest.mark.parametrize(
    ("name", "content", "code", "said"),
    [
        ("alpha-1.0.dist-info/WHEEL", b"Wheel-Version: 2.0\n", "unsupported_wheel", "wheel version `2.0`"),
        ("alpha-1.0.dist-info/WHEEL", b"", "unsupported_wheel", "wheel version ``"),
        ("alpha-1.0.dist-info/WHEEL", b"\xff\xfe", "damaged_archive", "codec"),
        ("alpha-1.0.dist-info/entry_points.txt", b"[console_scripts]\na = b\n", "invalid_entry_point", "module:function"),
        ("alpha-1.0.dist-info/entry_points.txt", b"[console_scripts]\n../a = b:c\n", "unsafe_path", "which is no name"),
        ("alpha-1.0.dist-info/entry_points.txt", b"no section\n", "invalid_entry_point", "no section"),
        ("alpha-1.0.data/elsewhere/x", b"", "wrong_metadata", "purelib, platlib, scripts, data, headers"),
        ("alpha-1.0.data/file", b"", "wrong_metadata", "none of the places"),
        ("alpha-1.0.data/scripts/../../x", b"", "unsafe_path", "leads out"),
        ("beta-1.0.dist-info/METADATA", b"", "wrong_metadata", "exactly one .dist-info"),
    ],
)
def test_wheels_that_are_refused(tmp_path: Path, name: str, content: bytes, code: str, said: str) -> None:
    wheel = with_files(tmp_path, {name: content})
    with pytest.raises(BadArchive, match=said) as refused:
        files_of(wheel)
    assert refused.value.stable_code == code


def test_a_byte_that_changed_on_disk_is_noticed_while_reading(tmp_path: Path) -> None:
    wheel = with_files(tmp_path, {"alpha/data.bin": b"content that stands in the archive as it is" * 3})
    with zipfile.ZipFile(wheel) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_STORED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    wheel.write_bytes(wheel.read_bytes().replace(b"as it is", b"as it ss", 1))
    with pytest.raises(BadArchive, match=r"alpha-1\.0-py3-none-any\.whl is damaged") as refused:
        files_of(wheel)
    assert refused.value.stable_code == "damaged_archive"


def test_byte_code(tmp_path: Path) -> None:
    files = {
        **FILES,
        "alpha/broken.py": "def (:\n",
        "alpha/nul.py": b"\0",
        "alpha-1.0.data/data/share/x.py": b"",
        "top.py": "x = 1\n",
    }
    wheel = make_wheel(tmp_path, "alpha", "1.0", files=files)
    with ByteCompiler([sys.executable], jobs=2) as compiler, Spool(tmp_path / "spool") as spool:
        found = files_of(wheel, ByteCodeMaker(compiler, spool))
    tag = sys.implementation.cache_tag
    made = {path.removeprefix(f"{SITE}/") for path in found if path.endswith(".pyc")}
    assert made == {
        f"{directory}__pycache__/{name}.{tag}.pyc"
        for directory, name in [("alpha/", "__init__"), ("alpha/sub/", "mod"), ("", "pure"), ("", "plat"), ("", "top")]
    }
    content = found[f"{SITE}/alpha/sub/__pycache__/mod.{tag}.pyc"][0]
    source = found[f"{SITE}/alpha/sub/mod.py"][0]
    assert content[:16] == importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + importlib.util.source_hash(source)
    code = marshal.loads(content[16:])  # noqa: S302 - made above
    assert code.co_filename == f"/{SITE}/alpha/sub/mod.py"
    record = {row[0]: row[1:] for row in rows(found[f"{SITE}/alpha-1.0.dist-info/RECORD"][0])}
    assert set(made) < set(record)
    path = f"alpha/sub/__pycache__/mod.{tag}.pyc"
    assert ",".join((path, *record[path])) in record_text({path: content}, "")
    assert not list((tmp_path / "spool").iterdir())


THREADS = """
import sys, threading
from pathlib import Path
from wardian.image.python_layout import PythonLayout
from wardian.image.wheel_entries import wheel_entries

sys.setswitchinterval(1e-6)
faults = []


def read(archive, gate):
    gate.wait()
    try:
        with wheel_entries(Path(archive), PythonLayout("3.11"), None) as entries:
            assert len(entries) > 5
    except BaseException as error:
        faults.append(repr(error))


for _ in range(30):
    for name in [name for name in sys.modules if name.partition(".")[0] == "installer"]:
        del sys.modules[name]
    gate = threading.Barrier(8)
    threads = [threading.Thread(target=read, args=(archive, gate)) for archive in sys.argv[1:] for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
sys.exit("\\n".join(faults) or 0)
"""


def test_threads_that_read_their_first_wheels_at_once_all_can(tmp_path: Path) -> None:
    """Layers are made by threads, and modules of the library behind this import each other."""
    plain = make_wheel(tmp_path / "a", "alpha", "1.0", files=FILES)
    scripts = make_wheel(tmp_path / "b", "alpha", "1.0", files=FILES, entry_points=ENTRY_POINTS)
    done = subprocess.run(
        [sys.executable, "-c", THREADS, plain, scripts], capture_output=True, text=True, timeout=300, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
