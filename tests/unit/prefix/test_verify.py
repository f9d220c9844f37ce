"""Whatever is done to a sealed prefix is found: content, kind, mode, and what is missing or too much."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from typing import TYPE_CHECKING

import pytest

from wardian.prefix.cache import BYTE_CODE, MARK, Ready
from wardian.prefix.seal import MANIFEST, seal
from wardian.prefix.verify import verify_prefix

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PACKAGE = "lib/python3.12/site-packages/alpha"
FILE = f"{PACKAGE}/__init__.py"


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    found = tmp_path / "prefix"
    (found / PACKAGE).mkdir(parents=True)
    (found / FILE).write_text("")
    (found / PACKAGE / "empty").mkdir()
    (found / "bin").mkdir()
    (found / "bin/tool").write_text("#!/bin/sh\n")
    (found / "bin/tool").chmod(0o755)
    (found / "bin/link").symlink_to("tool")
    seal(found)
    (found / MARK).write_bytes(Ready(key="0" * 64).to_json())
    (found / ".wardian").chmod(0o555)
    return found


def test_a_sealed_prefix_is_clean(prefix: Path) -> None:
    assert verify_prefix(prefix).as_document() == {"clean": True, "checked": 3, "changed": [], "missing": [], "extra": []}


def _fifo(prefix: Path) -> None:
    (prefix / FILE).unlink()
    os.mkfifo(prefix / FILE, 0o444)


def _link_instead_of_directory(prefix: Path) -> None:
    (prefix / PACKAGE / "empty").rmdir()
    (prefix / PACKAGE / "empty").symlink_to("..")


@pytest.mark.parametrize(
    ("change", "changed", "missing", "extra"),
    [
        (lambda p: (p / "bin/tool").chmod(0o444), ["bin/tool"], [], []),
        (lambda p: (p / "bin/tool").chmod(0o4555), ["bin/tool"], [], []),
        (lambda p: (p / FILE).chmod(0o644), [FILE], [], []),
        (lambda p: (p / PACKAGE).chmod(0o777), [f"{PACKAGE}/"], [], []),
        (lambda p: (p / PACKAGE / "more").mkdir(), [], [], [f"{PACKAGE}/more/"]),
        (lambda p: (p / "more").mkdir(), [], [], ["more/"]),
        (lambda p: (p / ".wardian/more").mkdir(), [], [], [".wardian/more/"]),
        (lambda p: (p / ".wardian/more.json").write_text(""), [], [], [".wardian/more.json"]),
        (lambda p: (p / ".wardian").chmod(0o755), [".wardian/"], [], []),
        (lambda p: (p / PACKAGE / "empty").rmdir(), [], [f"{PACKAGE}/empty/"], []),
        (_link_instead_of_directory, [], [f"{PACKAGE}/empty/"], [f"{PACKAGE}/empty"]),
        (_fifo, [FILE], [], []),
    ],
)
def test_each_change_is_found(
    prefix: Path, change: Callable[[Path], object], changed: list[str], missing: list[str], extra: list[str]
) -> None:
    modes = {path: path.stat().st_mode & 0o777 for path in (prefix / PACKAGE, prefix / ".wardian")}
    for path in modes:
        path.chmod(0o755)
    change(prefix)
    for path, mode in modes.items():
        if path.stat().st_mode & 0o777 == 0o755 and f"{path.relative_to(prefix)}/" not in changed:
            path.chmod(mode)
    found = verify_prefix(prefix).as_document()
    assert (found["changed"], found["missing"], found["extra"]) == (changed, missing, extra)


def test_byte_code_that_was_compiled_later_belongs_to_it(prefix: Path) -> None:
    (prefix / PACKAGE).chmod(0o755)
    cache = prefix / PACKAGE / "__pycache__"
    cache.mkdir()
    name = f"{PACKAGE}/__pycache__/__init__.cpython-312.pyc"
    (prefix / name).write_bytes(b"")
    cache.chmod(0o555)
    (prefix / PACKAGE).chmod(0o555)
    (prefix / ".wardian").chmod(0o755)
    (prefix / BYTE_CODE).write_text(json.dumps({name: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}))
    (prefix / ".wardian").chmod(0o555)
    assert verify_prefix(prefix).clean
    cache.chmod(0o777)
    assert verify_prefix(prefix).changed == (f"{PACKAGE}/__pycache__/",)


def test_a_prefix_that_an_older_wardian_sealed_is_still_clean(prefix: Path) -> None:
    manifest = json.loads((prefix / MANIFEST).read_bytes())
    for entry in manifest["files"].values():
        entry.pop("mode", None)
    (prefix / ".wardian").chmod(0o755)
    (prefix / MANIFEST).chmod(0o644)
    (prefix / MANIFEST).write_text(json.dumps({"files": manifest["files"]}))
    assert verify_prefix(prefix).clean


@pytest.mark.parametrize(
    "text", ["", "[]", "3", "{}", '{"files": []}', '{"files": {"a": 1}}', '{"files": {}, "directories": []}']
)
def test_a_list_of_any_shape_counts_as_changed(prefix: Path, text: str) -> None:
    (prefix / MANIFEST).chmod(0o644)
    (prefix / MANIFEST).write_text(text)
    assert verify_prefix(prefix).changed == (MANIFEST,)


def test_a_file_of_two_wheels_is_whichever_was_installed(tmp_path: Path) -> None:
    site = tmp_path / "prefix/lib/python3.12/site-packages"
    for name in ("first", "last"):
        digest = base64.urlsafe_b64encode(hashlib.sha256(name.encode()).digest()).rstrip(b"=").decode()
        (site / f"{name}-1.0.dist-info").mkdir(parents=True)
        (site / f"{name}-1.0.dist-info/RECORD").write_text(f"tests.py,sha256={digest},5\n../../../../out,sha256={digest},5\n")
    (site / "tests.py").write_text("last")
    seal(tmp_path / "prefix")
    assert [name for name in verify_prefix(tmp_path / "prefix").changed if name.endswith("tests.py")] == []
    (site / "tests.py").chmod(0o644)
    (site / "tests.py").write_text("lost")
    (site / "tests.py").chmod(0o444)
    assert [name for name in verify_prefix(tmp_path / "prefix").changed if name.endswith("tests.py")]
