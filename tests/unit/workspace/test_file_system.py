"""Which file systems are taken for networked."""

from __future__ import annotations

from pathlib import Path

import pytest

from wardian.workspace.file_system import network_file_system

LOCAL = "21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"


def mountinfo(tmp_path: Path, *lines: str) -> Path:
    file = tmp_path / "mountinfo"
    file.write_text(LOCAL + "".join(f"{line}\n" for line in lines))
    return file


def mount(point: str, kind: str, options: str = "shared:2") -> str:
    return f"36 21 0:40 / {point} rw,noatime {options} - {kind} server:/export rw"


@pytest.mark.parametrize(
    "kind",
    [
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "lustre",
        "gpfs",
        "beegfs",
        "ceph",
        "9p",
        "fuse.sshfs",
        "fuse.s3fs",
        "virtiofs",
        "glusterfs",
    ],
)
def test_networked(tmp_path: Path, kind: str) -> None:
    assert network_file_system(Path("/home/ann/wardian"), mountinfo(tmp_path, mount("/home", kind))) == kind


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "zfs", "overlay", "tmpfs", "fuseblk", "fuse.fuse-overlayfs", "apfs"])
def test_local(tmp_path: Path, kind: str) -> None:
    also_networked = mount("/elsewhere", "nfs4")
    assert network_file_system(Path("/home/ann"), mountinfo(tmp_path, mount("/home", kind), also_networked)) is None


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/home", "nfs4"), ("/home/ann", "nfs4"), ("/homework", None), ("/home/ann/scratch/x", None), ("/home/with space/x", "cifs"), ("/", None),
    ],
)  # fmt: skip
def test_the_nearest_mount_counts(tmp_path: Path, path: str, expected: str | None) -> None:
    table = mountinfo(
        tmp_path, mount("/home", "nfs4"), mount("/home/ann/scratch", "xfs"), mount("/home/with\\040space", "cifs")
    )
    assert network_file_system(Path(path), table) == expected


def test_the_last_mount_on_a_point_covers_the_others(tmp_path: Path) -> None:
    assert network_file_system(Path("/d/x"), mountinfo(tmp_path, mount("/d", "nfs4"), mount("/d", "tmpfs"))) is None
    assert network_file_system(Path("/d/x"), mountinfo(tmp_path, mount("/d", "tmpfs"), mount("/d", "nfs4"))) == "nfs4"


def test_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    table = mountinfo(tmp_path, mount(str(tmp_path / "real"), "nfs4"))
    assert network_file_system(tmp_path / "link", table) == "nfs4"


def test_mounts_with_and_without_optional_fields(tmp_path: Path) -> None:
    table = mountinfo(tmp_path, "nonsense", "36 21 0:40 / /d rw - nfs4 server:/export rw")
    assert network_file_system(Path("/d"), table) == "nfs4"


def test_without_a_mount_table_it_cannot_be_told(tmp_path: Path) -> None:
    assert network_file_system(tmp_path, tmp_path / "nothing") is None
