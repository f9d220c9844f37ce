"""Prefixes as archives: what is in them, where, and what stays out."""

from __future__ import annotations

import os
import tarfile
from typing import TYPE_CHECKING

import pytest

from wardian.digest import Digest
from wardian.errors import InstallFailed
from wardian.events import silent
from wardian.prefix.cache import PrefixCache, Ready
from wardian.prefix.portable import PortableCleaning, ensure_portable

if TYPE_CHECKING:
    from pathlib import Path

PYTHON, PREFIX = Digest.of(b"python"), Digest.of(b"prefix")


def write(root: Path, *files: str) -> None:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text(file)


@pytest.fixture
def prefixes(tmp_path: Path) -> PrefixCache:
    return PrefixCache(tmp_path / "prefixes")


def installed(prefixes: PrefixCache, *files: str, requires: bool = True) -> Path:
    """A prefix with `files`, over a standalone Python."""

    def python(path: Path) -> Ready:
        write(path / "python", "bin/python3.11", "lib/python3.11/os.py", "lib/python3.11/site-packages/pip/__init__.py")
        (path / "python/bin/python3").symlink_to("python3.11")
        return Ready(key=PYTHON)

    def own(path: Path) -> Ready:
        write(path, *files)
        return Ready(key=PREFIX, requires=(PYTHON[:32],) if requires else ())

    prefixes.ensure(PYTHON, python, silent)
    prefixes.ensure(PREFIX, own, silent)
    return prefixes.path(PREFIX)


def names(archive: Path) -> set[str]:
    with tarfile.open(archive) as tar:
        return {member.name for member in tar}


def test_a_standalone_python_and_what_is_installed_beside_it_become_one_tree(prefixes: PrefixCache, tmp_path: Path) -> None:
    prefix = installed(prefixes, "bin/python", "bin/tool", "pyvenv.cfg", "lib/python3.11/site-packages/alpha/__init__.py",
                       "lib/python3.11/site-packages/huge/data.bin")  # fmt: skip
    found = ensure_portable(prefixes, prefix, tmp_path / "portable", silent, leave_out=lambda path: path.endswith(".bin"))
    assert names(found) == {
        "bin/python",
        "bin/python3",
        "bin/python3.11",
        "lib/python3.11/os.py",
        "lib/python3.11/site-packages/alpha/__init__.py",
    }
    with tarfile.open(found) as tar:
        assert {member.uid for member in tar} == {0}
        assert all(member.mode & 0o200 for member in tar), "what was unpacked can be removed"


def test_a_conda_prefix_stays_as_it_is(prefixes: PrefixCache, tmp_path: Path) -> None:
    prefix = installed(prefixes, "bin/python", "conda-meta/history", "lib/libz.so", requires=False)
    assert names(ensure_portable(prefixes, prefix, tmp_path / "portable", silent)) == {
        "bin/python",
        "conda-meta/history",
        "lib/libz.so",
    }


def test_it_is_made_once_and_the_same_again(prefixes: PrefixCache, tmp_path: Path) -> None:
    prefix = installed(prefixes, "lib/python3.11/site-packages/alpha.py")
    first = ensure_portable(prefixes, prefix, tmp_path / "portable", silent)
    before = first.stat().st_ino
    assert ensure_portable(prefixes, prefix, tmp_path / "portable", silent).stat().st_ino == before
    other = ensure_portable(prefixes, prefix, tmp_path / "other", silent)
    assert other.read_bytes() == first.read_bytes()


def test_a_python_of_the_machine_cannot_be_sent(prefixes: PrefixCache, tmp_path: Path) -> None:
    prefix = installed(prefixes, "lib/python3.11/site-packages/alpha.py", requires=False)
    with pytest.raises(InstallFailed) as raised:
        ensure_portable(prefixes, prefix, tmp_path / "portable", silent)
    assert raised.value.stable_code == "not_portable"
    assert not list((tmp_path / "portable").glob("*.tar.gz"))


def test_a_clean_up_takes_what_was_not_used_since(prefixes: PrefixCache, tmp_path: Path) -> None:
    prefix = installed(prefixes, "lib/python3.11/site-packages/alpha.py")
    path = ensure_portable(prefixes, prefix, tmp_path / "portable", silent)
    os.utime(path, (1, 1))
    cleaning = PortableCleaning(prefixes, tmp_path / "portable")
    (candidate,) = cleaning.candidates()
    assert (candidate.kind, candidate.path) == ("portable", path)
    ensure_portable(prefixes, prefix, tmp_path / "portable", silent)  # somebody uses it
    assert not cleaning.remove(candidate)
    (candidate,) = cleaning.candidates()
    with prefixes.hold(PREFIX):  # a run may be sending it
        assert not list(cleaning.candidates())
        assert list(cleaning.kept()) == [path]
        assert not cleaning.remove(candidate)
    assert cleaning.remove(candidate)
    assert not path.exists()
