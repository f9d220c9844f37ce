from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from wardian.errors import DiskFull, InvalidInput, NotFound, Unavailable
from wardian.formats.tree import tree_digest
from wardian.run.snapshot import Snapshot, copy, new_and_changed
from wardian.run.source_tree import Limits, scan


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.mkdir()
    (path / "train.py").write_text("print(1)\n")
    return path


def put(root: Path, path: str, text: str = "x") -> Path:
    place = root / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)
    return place


def paths(source: Path) -> list[str]:
    return [file.path for file in scan(source).files]


def paths_of(snapshot: Snapshot) -> frozenset[str]:
    return frozenset(entry.path for entry in snapshot.entries)


def taken(source: Path, target: Path) -> Snapshot:
    return copy(scan(source), target)


def test_a_copy_has_contents_bits_links_and_empty_directories(source: Path, tmp_path: Path) -> None:
    put(source, "pkg/deep/run.sh", "#!/bin/sh\n").chmod(0o750)
    put(source, ".env", "PRIVATE=1").chmod(0o600)
    put(source, "read-only.txt").chmod(0o444)
    (source / "link").symlink_to("pkg/deep/run.sh")
    (source / "dir-link").symlink_to("pkg")
    (source / "empty/inner").mkdir(parents=True)
    put(source, "größe.txt")
    put(source, "big.bin", "b" * (3 << 20))
    snapshot = taken(source, tmp_path / "copy")
    copied = tmp_path / "copy"
    assert (copied / "pkg/deep/run.sh").stat().st_mode & 0o777 == 0o750
    assert (copied / ".env").stat().st_mode & 0o777 == 0o600
    assert os.access(copied / "read-only.txt", os.W_OK)
    assert (copied / "link").readlink() == Path("pkg/deep/run.sh")
    assert (copied / "dir-link").readlink() == Path("pkg")
    assert (copied / "empty/inner").is_dir()
    assert (copied / "big.bin").read_text() == "b" * (3 << 20)
    assert snapshot.digest == tree_digest(source) == tree_digest(copied)
    assert Snapshot.from_document(snapshot.as_document()).digest == snapshot.digest
    assert snapshot.size_bytes == sum(f.stat().st_size for f in copied.rglob("*") if f.is_file() and not f.is_symlink())
    assert "dir-link/deep/run.sh" not in paths_of(snapshot)


def test_the_digest_is_of_paths_contents_bits_and_links_alone(source: Path, tmp_path: Path) -> None:
    put(source, "a.txt", "1")
    (source / "l").symlink_to("a.txt")
    first = taken(source, tmp_path / "1").digest
    os.utime(source / "a.txt", (1, 1))
    (source / "a.txt").chmod(0o600)
    (source / "nothing").mkdir()
    assert taken(source, tmp_path / "2").digest == first
    (source / "a.txt").chmod(0o700)
    executable = taken(source, tmp_path / "3").digest
    (source / "l").unlink()
    (source / "l").symlink_to("./a.txt")
    assert len({first, executable, taken(source, tmp_path / "4").digest}) == 3


def test_what_is_always_left_out(source: Path) -> None:
    for path in (".git/config", "pkg/.hg/x", "__pycache__/a.pyc", "pkg/__pycache__/b.pyc", "venv/pyvenv.cfg", "venv/lib/x.py"):
        put(source, path)
    put(source, "outputs/old-model.bin")
    put(source, "pkg/outputs/kept.txt")
    tree = scan(source)
    assert [file.path for file in tree.files] == ["pkg/outputs/kept.txt", "train.py"]
    assert [note for note in tree.notes if "outputs/" in note]
    assert "venv" not in tree.directories


def test_ignore_files_of_every_directory_and_the_first_kind_that_is_there(source: Path) -> None:
    put(source, ".gitignore", "*.log\n/data\n!keep.log\n")
    for path in ("a.log", "keep.log", "data/x", "pkg/data/x", "pkg/b.log"):
        put(source, path)
    put(source, "sub/.gitignore", "*.bin\n")
    put(source, "sub/.amlignore", "*.csv\n")
    for path in ("sub/a.bin", "sub/a.csv", "sub/c.log"):
        put(source, path)
    assert paths(source) == [
        ".gitignore",
        "keep.log",
        "pkg/data/x",
        "sub/.amlignore",
        "sub/.gitignore",
        "sub/a.bin",
        "train.py",
    ]
    put(source, ".wardianignore", "*.py\n")
    assert "a.log" in paths(source)
    assert "train.py" not in paths(source)


def test_wardians_own_directories_are_left_out(source: Path) -> None:
    put(source, ".wardian/workspaces/default/runs/x/log.txt")
    tree = scan(source, leave_out=(source / ".wardian",))
    assert [file.path for file in tree.files] == ["train.py"]


def test_too_large_names_the_largest_and_what_to_do(source: Path) -> None:
    put(source, "data/a.bin", "a" * 5000)
    put(source, "data/b.bin", "b" * 5000)
    put(source, "model.pt", "m" * 3000)
    with pytest.raises(InvalidInput) as caught:
        scan(source, Limits(size_bytes=10_000))
    message = caught.value.message
    assert caught.value.stable_code == "snapshot_too_large"
    assert message.index("data/ (2 files, 10,000 bytes)") < message.index("model.pt (1 files, 3,000 bytes)")
    assert "4 files, 13,009 bytes" in message
    assert ".wardianignore" in str(caught.value.hint)
    assert "--input" in str(caught.value.hint)
    scan(source, Limits(size_bytes=13_009, files=4))


def test_too_many_files_names_where_they_are(source: Path) -> None:
    for n in range(30):
        put(source, f"cache/{n}", "")
    with pytest.raises(InvalidInput, match=r"31 files.* up to 20 files.*The largest: cache/ \(30 files") as caught:
        scan(source, Limits(files=20))
    assert caught.value.stable_code == "snapshot_too_large"
    for n in range(100):
        put(source, f"cache/{n}", "")
    with pytest.raises(InvalidInput, match="holds more than 51 files"):
        scan(source, Limits(files=1))


def test_a_link_to_a_file_elsewhere_becomes_that_file(source: Path, tmp_path: Path) -> None:
    put(tmp_path, "shared/config.yaml", "a: 1\n")
    (source / "config.yaml").symlink_to("../shared/config.yaml")
    taken(source, tmp_path / "copy")
    assert not (tmp_path / "copy/config.yaml").is_symlink()
    assert (tmp_path / "copy/config.yaml").read_text() == "a: 1\n"


@pytest.mark.parametrize("target", ["/", "..", "../elsewhere", "../../.."])
def test_a_link_to_a_directory_elsewhere_is_refused(source: Path, tmp_path: Path, target: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    (source / "data").symlink_to(target)
    with pytest.raises(InvalidInput, match=r"data in .* is a link to a directory elsewhere") as caught:
        scan(source)
    assert caught.value.stable_code == "link_leaves_tree"
    assert "--input" in str(caught.value.hint)
    put(source, ".wardianignore", "data\n")
    assert "data" not in paths(source)


def test_links_within_hold_in_the_copy_however_they_are_written(source: Path, tmp_path: Path) -> None:
    put(source, "pkg/a.py", "a = 1\n")
    (source / "absolute").symlink_to(source / "pkg/a.py")
    (source / "roundabout").symlink_to("../source/pkg/a.py")
    (source / "pkg/up").symlink_to("../train.py")
    (source / "dangling").symlink_to("not-there-yet")
    (tmp_path / "alias").symlink_to(source)
    taken(tmp_path / "alias", tmp_path / "copy")
    copied = tmp_path / "copy"
    source.rename(tmp_path / "gone")
    assert (copied / "absolute").read_text() == (copied / "roundabout").read_text() == "a = 1\n"
    assert (copied / "pkg/up").read_text() == "print(1)\n"
    assert (copied / "dangling").readlink() == Path("not-there-yet")


def test_a_dangling_link_elsewhere_and_special_files_are_left_out_with_a_note(source: Path) -> None:
    (source / "dead").symlink_to("/nowhere/at/all")
    os.mkfifo(source / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.relpath(source / "socket"))
    tree = scan(source)
    assert [file.path for file in tree.files] == ["train.py"]
    assert [note.split(" ")[0] for note in tree.notes] == ["dead", "pipe", "socket"]


def test_a_loop_of_links_ends(source: Path) -> None:
    (source / "self").symlink_to(".")
    (source / "a").symlink_to("b")
    (source / "b").symlink_to("a")
    assert "self" in paths(source)


def test_source_directories_that_make_no_sense(source: Path, tmp_path: Path) -> None:
    for place, home in ((Path("/"), None), (source, source), (tmp_path / "alias", source)):
        if place.name == "alias":
            place.symlink_to(source)
        with pytest.raises(InvalidInput, match="a run gets a copy of all that is in it") as caught:
            scan(place, home=home)
        assert caught.value.stable_code == "bad_source"
    with pytest.raises(NotFound, match="no directory"):
        scan(tmp_path / "missing")
    with pytest.raises(NotFound, match="no directory"):
        scan(source / "train.py")


def test_an_ignore_file_that_is_no_text(source: Path) -> None:
    (source / ".gitignore").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidInput, match="not a UTF-8 text") as caught:
        scan(source)
    assert caught.value.stable_code == "bad_ignore_file"


def test_names_that_are_not_utf8_are_copied_as_they_are(tmp_path: Path) -> None:
    digests = []
    for number, name in enumerate((b"caf\xe9", b"caf\xe8", "café".encode(), b"caf\\xe9", b"cafe9")):
        source, target = tmp_path / f"source{number}", tmp_path / f"copy{number}"
        text = os.fsdecode(name)
        put(source, f"d\udcff/{text}")
        put(source, f"d\udcff/{text}.log")
        put(source, ".gitignore", "*.log\n")
        (source / "l\udcfe").symlink_to(f"d\udcff/{text}")
        snapshot = copy(scan(source), target)
        held = {place.relative_to(target).as_posix() for place in target.rglob("*")}
        assert held == {"d\udcff", f"d\udcff/{text}", "l\udcfe", ".gitignore"}
        assert (target / "l\udcfe").readlink() == Path(f"d\udcff/{text}")
        document = json.dumps(snapshot.as_document(), ensure_ascii=False).encode()
        again = Snapshot.from_document(json.loads(document))
        assert (again.entries, again.directories, again.digest) == (snapshot.entries, snapshot.directories, snapshot.digest)
        digests.append(snapshot.digest)
    assert len(set(digests)) == len(digests)


def test_a_file_that_changes_meanwhile_is_told(source: Path, tmp_path: Path) -> None:
    put(source, "growing.csv", "1\n")
    put(source, "gone.txt")
    tree = scan(source)
    put(source, "growing.csv", "1\n2\n")
    (source / "gone.txt").unlink()
    snapshot = copy(tree, tmp_path / "copy")
    assert snapshot.notes == (
        "gone.txt vanished while the source directory was copied",
        "growing.csv changed while the source directory was copied",
    )
    assert snapshot.digest == tree_digest(tmp_path / "copy")
    tree = scan(source)
    os.utime(source / "growing.csv", ns=(5, 5))
    assert copy(tree, tmp_path / "copy2").notes != ()


def test_a_file_replaced_by_a_pipe_does_not_block(source: Path, tmp_path: Path) -> None:
    put(source, "x")
    tree = scan(source)
    (source / "x").unlink()
    os.mkfifo(source / "x")
    assert copy(tree, tmp_path / "copy").notes != ()


def test_a_hundred_files_and_no_more_imports(source: Path, tmp_path: Path) -> None:
    put(source, ".gitignore", "*.pyc\n")
    for n in range(100):
        put(source, f"pkg{n % 5}/m{n}.py", "x = 1\n" * 100)
    assert len(paths_of(taken(source, tmp_path / "copy"))) == 102


@pytest.mark.root
def test_a_full_disk_is_told_in_bytes(source: Path, tmp_path: Path) -> None:
    import subprocess

    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)], check=True)
    try:
        put(source, "big", "b" * 200_000)
        with pytest.raises(DiskFull) as caught:
            copy(scan(source), small / "copy")
        assert caught.value.details["needed_bytes"] == 200_009
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_what_a_run_made_and_changed(source: Path, tmp_path: Path) -> None:
    put(source, "config.yaml")
    snapshot = taken(source, tmp_path / "copy")
    copied = tmp_path / "copy"
    began = max(path.stat().st_mtime_ns for path in copied.rglob("*"))
    assert new_and_changed(copied, paths_of(snapshot), began) == ([], [])
    put(copied, "outputs/model.bin", "12345")
    put(copied, "__pycache__/a.pyc")
    put(copied, "config.yaml", "changed")
    os.utime(copied / "config.yaml", ns=(began + 1, began + 1))
    (copied / "link").symlink_to("train.py")
    assert new_and_changed(copied, paths_of(snapshot), began) == ([("link", 0), ("outputs/model.bin", 5)], ["config.yaml"])


def test_unreadable_files_are_named(source: Path, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root reads everything: tests/integration/test_run_read_only.py does this as an ordinary user")
    put(source, "secret").chmod(0)
    with pytest.raises(Unavailable, match="secret cannot be read"):
        copy(scan(source), tmp_path / "copy")
