"""A tar from another machine: written below its place, or left behind by name, whatever it says."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

import pytest

from wardian.errors import DiskFull, Unavailable
from wardian.run.targets.bring_home import leads_astray, unpack_home

if TYPE_CHECKING:
    from pathlib import Path


def a_tar(*members: tuple[str, str, str | bytes]) -> io.BytesIO:
    """Return a tar of (name, kind, content or target)."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, kind, content in members:
            info = tarfile.TarInfo(name)
            info.type = {"file": tarfile.REGTYPE, "link": tarfile.SYMTYPE, "hard": tarfile.LNKTYPE, "dir": tarfile.DIRTYPE, "pipe": tarfile.FIFOTYPE,
                         "device": tarfile.CHRTYPE}[kind]  # fmt: skip
            info.mode = 0o4755 if kind == "file" else 0o755
            info.mtime = 1_000_000_000
            if kind == "file":
                data = content if isinstance(content, bytes) else content.encode()
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
            else:
                info.linkname = str(content)
                tar.addfile(info)
    stream.seek(0)
    return stream


def left(behind: list[str]) -> list[str]:
    return [one.partition(":")[0] for one in behind]


def test_files_directories_and_links_come_home(tmp_path: Path) -> None:
    tar = a_tar(
        ("./", "dir", ""), ("./a/", "dir", ""), ("./a/b", "file", "content"), ("./c", "link", "a/b"), ("./d", "hard", "./a/b")
    )
    assert unpack_home(tar, tmp_path / "home", None) == []
    home = tmp_path / "home"
    assert (home / "a/b").read_text() == (home / "c").read_text() == (home / "d").read_text() == "content"
    assert (home / "a/b").stat().st_mode & 0o7777 == 0o755, "nobody becomes anybody else"
    assert (home / "a/b").stat().st_mtime == 1_000_000_000


@pytest.mark.parametrize(
    "member",
    [
        ("/etc/evil", "file", "x"),
        ("../evil", "file", "x"),
        ("a/../../evil", "file", "x"),
        ("device", "device", ""),
        ("pipe", "pipe", ""),
        ("link", "link", "/etc/passwd"),
        ("link", "link", "../evil"),
        ("a/link", "link", "../../evil"),
        ("hard", "hard", "/etc/passwd"),
        ("hard", "hard", "../evil"),
    ],
)
def test_what_is_dangerous_stays_behind(tmp_path: Path, member: tuple[str, str, str]) -> None:
    (tmp_path / "evil").write_text("mine")
    behind = unpack_home(a_tar(("kept", "file", "x"), member), tmp_path / "home", None)
    assert left(behind) == [member[0]]
    assert [str(path.relative_to(tmp_path / "home")) for path in (tmp_path / "home").rglob("*") if not path.is_dir()] == [
        "kept"
    ]
    assert (tmp_path / "evil").read_text() == "mine"


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "evil").mkdir()
    behind = unpack_home(a_tar(("a", "link", "."), ("b", "link", "a/a/../.."), ("a/x", "file", "x")), tmp_path / "home", None)
    assert sorted(left(behind)) == ["a", "b"]
    assert (tmp_path / "home/a/x").read_text() == "x"
    assert list((tmp_path / "evil").iterdir()) == []


def test_links_are_followed_as_the_kernel_does() -> None:
    links = {"d/here": ".", "d/up": "here/../..", "round": "round", "fine": "d/here/../x", "deep/one/back": "../../fine"}
    out = "leads out of the run's directory"
    assert {path: leads_astray(path, links) for path in links if leads_astray(path, links)} == {
        "d/up": out, "round": "leads to itself, or through too many links",
    }  # fmt: skip


def test_what_is_nothing_but_zeros_takes_no_room(tmp_path: Path) -> None:
    content = bytes(1 << 20) + b"x" + bytes((3 << 20) + 7)
    unpack_home(a_tar(("a", "file", content), ("b", "file", bytes(1 << 20))), tmp_path / "home", None)
    assert (tmp_path / "home/a").read_bytes() == content
    assert (tmp_path / "home/b").read_bytes() == bytes(1 << 20)
    assert (tmp_path / "home/a").stat().st_blocks * 512 < 1 << 20


def test_more_than_wanted_does_not_come(tmp_path: Path) -> None:
    with pytest.raises(DiskFull):
        unpack_home(a_tar(("a", "file", b"x" * 600), ("b", "file", b"x" * 600)), tmp_path / "home", 1000)


@pytest.mark.parametrize("content", [b"", b"no tar at all" * 100, a_tar(("a", "file", b"x" * 5000)).getvalue()[:2000]])
def test_what_is_no_whole_tar_is_told(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(Unavailable) as caught:
        unpack_home(io.BytesIO(content), tmp_path / "home", None)
    assert caught.value.stable_code == "bad_node_files"


def test_a_file_that_is_sent_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="twice"):
        unpack_home(a_tar(("a", "file", "1"), ("a", "file", "2")), tmp_path / "home", None)


def test_a_header_that_asks_for_memory_is_refused(tmp_path: Path) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 1 << 40
    with pytest.raises(Unavailable):
        unpack_home(io.BytesIO(info.tobuf(tarfile.GNU_FORMAT) + b"x" * 10_000), tmp_path / "home", None)
