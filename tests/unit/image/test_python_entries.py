"""Interpreters in an image: complete, running, and without what their archives carry along."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import zstandard
from tests.support.wheels import record_text

from wardian.errors import BadArchive, InvalidInput
from wardian.image.byte_code import ByteCompiler
from wardian.image.python_entries import host_python_entries, standalone_python_entries
from wardian.image.spool import Spool
from wardian.image.tar import write_tar
from wardian.package.archive import extract_python

if TYPE_CHECKING:
    from tests.support.pythons import Catalogue

    from wardian.image.entry import Entry


def archive_of(directory: Path, members: dict[str, bytes | str], *, compress: str = "gz") -> Path:
    """A standalone Python of these files (bytes) and links (text), and the few that every one has."""
    pip = {"../../../bin/pip": b"#!x", "pip/__init__.py": b"", "../../../bin/pip3": b"#!x"}
    usual: dict[str, bytes | str] = {
        "python/bin/python3.11": b"\x7fELF",
        "python/lib/python3.11/os.py": b"x = 1\n",
        "python/lib/python3.11/__pycache__/os.cpython-311.pyc": b"old",
        "python/lib/python3.11/test/test_os.py": b"x = 1\n",
        "python/lib/python3.11/site-packages/pip/__init__.py": b"",
        "python/lib/python3.11/site-packages/pip-1.dist-info/RECORD": record_text(pip, "pip-1.dist-info/RECORD").encode(),
        "python/lib/python3.11/site-packages/README.txt": b"",
        "python/bin/pip": b"#!x",
        "python/bin/pip3": b"#!x",
        "python/bin/pydoc3.11": b"#!x",
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in {**usual, **members}.items():
            member = tarfile.TarInfo(name)
            member.mode = 0o755 if "/bin/" in name else 0o600
            if isinstance(content, bytes):
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
            else:
                member.type, member.linkname = (
                    (tarfile.LNKTYPE, content[1:]) if content[:1] == "=" else (tarfile.SYMTYPE, content)
                )
                archive.addfile(member)
    data = buffer.getvalue()
    path = directory / f"cpython-3.11.0-install_only.tar.{compress}"
    path.write_bytes(gzip.compress(data) if compress == "gz" else zstandard.compress(data))
    return path


def described(entries: list[Entry]) -> dict[str, tuple[str, bytes | str, bool]]:
    found: dict[str, tuple[str, bytes | str, bool]] = {}
    for entry in entries:
        content: bytes | str = entry.target
        if entry.kind == "file":
            assert entry.open_content is not None
            with entry.open_content() as stream:
                content = stream.read()
            assert len(content) == entry.size_bytes
        found[entry.path.removeprefix("opt/env/")] = (entry.kind, content, entry.executable)
    return found


def entries_of(archive: Path, spool: Path) -> dict[str, tuple[str, bytes | str, bool]]:
    with Spool(spool) as kept, standalone_python_entries(archive, kept) as entries:
        return described(entries)


@pytest.mark.parametrize("compress", ["gz", "zst"])
def test_what_is_in_it(tmp_path: Path, compress: str) -> None:
    members: dict[str, bytes | str] = {
        "python/lib/libpython3.11.so": "libpython3.11.so.1.0", "python/lib/libpython3.11.so.1.0": b"\x7fELF lib",
        "python/bin/python3": "python3.11", "python/bin/same": "=python/bin/python3.11", "elsewhere": b"not in the tree",
    }  # fmt: skip
    found = entries_of(archive_of(tmp_path, members, compress=compress), tmp_path / "spool")
    message = found.pop("lib/python3.11/EXTERNALLY-MANAGED")[1]
    assert b"[externally-managed]\nError=This environment is made by Wardian" in message
    assert found == {
        "bin/python3.11": ("file", b"\x7fELF", True),
        "bin/python3": ("link", "python3.11", False),
        "bin/python": ("link", "python3.11", False),
        "bin/same": ("file", b"\x7fELF", True),
        "bin/pydoc3.11": ("file", b"#!x", True),
        "lib/python3.11/os.py": ("file", b"x = 1\n", False),
        "lib/python3.11/test/test_os.py": ("file", b"x = 1\n", False),
        "lib/python3.11/site-packages": ("directory", "", False),
        "lib/libpython3.11.so": ("link", "libpython3.11.so.1.0", False),
        "lib/libpython3.11.so.1.0": ("file", b"\x7fELF lib", False),
    }


def test_the_order_of_the_archive_does_not_matter(tmp_path: Path) -> None:
    first = archive_of(tmp_path, {})
    with tarfile.open(first) as archive:
        content = [(m, archive.extractfile(m)) for m in archive.getmembers()]
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as other:
            for member, stream in reversed(content):
                other.addfile(member, stream)
    second = tmp_path / "other.tar.gz"
    second.write_bytes(gzip.compress(buffer.getvalue()))
    assert entries_of(first, tmp_path / "s") == entries_of(second, tmp_path / "s")


def test_the_library_gets_byte_code_but_not_its_tests(tmp_path: Path) -> None:
    archive = archive_of(tmp_path, {"python/lib/python3.11/json/tool.py": b"", "python/lib/python3.11/bad.py": b"x ="})
    with (
        ByteCompiler([sys.executable], jobs=1) as compiler,
        Spool(tmp_path / "s") as spool,
        standalone_python_entries(archive, spool, compiler) as entries,
    ):
        made = {e.path for e in entries if e.path.endswith(".pyc")}
    tag = sys.implementation.cache_tag
    library = "opt/env/lib/python3.11"
    assert made == {f"{library}/__pycache__/os.{tag}.pyc", f"{library}/json/__pycache__/tool.{tag}.pyc"}


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"python/../../x": b""}, "unsafe_path"),
        ({"/python/x": b""}, "unsafe_path"),
        ({"python/hard": "=python/none"}, "unsafe_link"),
        ({"python/hard": "=/etc/passwd"}, "unsafe_path"),
    ],
)
def test_archives_that_are_refused(tmp_path: Path, members: dict[str, bytes | str], code: str) -> None:
    with pytest.raises(BadArchive) as refused:
        entries_of(archive_of(tmp_path, members), tmp_path / "s")
    assert refused.value.stable_code == code


def test_an_archive_without_an_interpreter_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(bytes(1024)))
    with pytest.raises(BadArchive, match="no interpreter for Linux"):
        entries_of(tmp_path / "a.tar.gz", tmp_path / "s")
    (tmp_path / "a.zip").write_bytes(b"PK\3\4")
    with pytest.raises(BadArchive, match="no gz or zst archive"):
        entries_of(tmp_path / "a.zip", tmp_path / "s")


def test_a_cut_archive_is_refused(tmp_path: Path) -> None:
    archive = archive_of(tmp_path, {"python/lib/large": os.urandom(100_000)})
    archive.write_bytes(archive.read_bytes()[:-50_000])
    with pytest.raises(BadArchive, match="is damaged"):
        entries_of(archive, tmp_path / "s")


def test_a_real_one_runs_and_reads_its_byte_code(python_catalogue: Catalogue, tmp_path: Path) -> None:
    version = next(iter(python_catalogue.entries)).split("-")[1]
    archive = python_catalogue.archive(version)
    extract_python(archive, tmp_path / "unpacked")
    interpreter = tmp_path / "unpacked" / "bin" / "python3"
    with (
        ByteCompiler([str(interpreter)], jobs=2) as compiler,
        Spool(tmp_path / "spool") as spool,
        standalone_python_entries(archive, spool, compiler) as entries,
        (tmp_path / "layer.tar").open("wb") as layer,
    ):
        layer.writelines(write_tar(entries, mtime=0))
    (tmp_path / "image").mkdir()
    subprocess.run(["tar", "-xf", tmp_path / "layer.tar", "-C", tmp_path / "image"], check=True)
    root = tmp_path / "image" / "opt" / "env"
    look = "import json, email.mime.text as m, ssl, sqlite3, sys; print(json.dumps([sys.prefix, m.__cached__]))"
    answer = subprocess.run([root / "bin" / "python", "-v", "-I", "-c", look], check=True, capture_output=True, text=True)
    prefix, cached = json.loads(answer.stdout)
    assert prefix == str(root)
    assert cached.startswith(str(root))
    assert Path(cached).is_file()
    assert f"code object from '{cached}'" in answer.stderr
    assert not [line for line in answer.stderr.splitlines() if line.startswith("# wrote")]


def test_the_base_images_interpreter_is_where_a_virtual_environment_leads(tmp_path: Path) -> None:
    executable = str(Path(sys.executable).resolve())
    version = ".".join(map(str, sys.version_info[:3]))
    entries = host_python_entries(version, executable)
    found = described(entries)
    minor = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    config = f"home = {os.path.dirname(executable)}\ninclude-system-site-packages = false\nversion = {version}\nexecutable = {executable}\n"  # noqa: PTH120
    assert found == {
        "pyvenv.cfg": ("file", config.encode(), False),
        **{f"bin/{name}": ("link", executable, False) for name in ("python", "python3", minor)},
        f"lib/{minor}/site-packages": ("directory", "", False),
        "lib64": ("link", "lib", False),
    }
    (tmp_path / "layer.tar").write_bytes(b"".join(write_tar(entries, mtime=0)))
    subprocess.run(["tar", "-xf", "layer.tar"], cwd=tmp_path, check=True)
    root = tmp_path / "opt" / "env"
    (root / "lib" / minor / "site-packages" / "alpha.py").write_text("where = __file__\n")
    look = "import alpha, json, sys; print(json.dumps([sys.prefix, sys.base_prefix != sys.prefix, alpha.where]))"
    answer = subprocess.run([root / "bin" / "python", "-I", "-B", "-c", look], check=True, capture_output=True, text=True)
    assert json.loads(answer.stdout) == [str(root), True, str(root / "lib" / minor / "site-packages" / "alpha.py")]


@pytest.mark.parametrize(
    ("version", "executable"),
    [
        ("3.11.2", "python3"), ("3.11.2", "/usr/bin/../python3"), ("3.11.2", "/opt/env/bin/python3"), ("2.7.18", "/usr/bin/python"),
        ("3", "/usr/bin/python"), ("3.11.2", "/usr/bin/py\nhome = /x"),
    ],
)  # fmt: skip
def test_a_base_interpreter_that_is_none(version: str, executable: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        host_python_entries(version, executable)
    assert refused.value.stable_code == "invalid_python"
