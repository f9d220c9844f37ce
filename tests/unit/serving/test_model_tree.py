"""What of a file or a directory makes a model, and what is refused."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from wardian.errors import Conflict, DiskFull, InvalidInput, NotFound, WardianError
from wardian.serving.model_tree import check_unchanged, copy_model, digest_model, scan_model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A directory with all that a model may hold."""
    root = tmp_path / "model"
    (root / "data" / "empty").mkdir(parents=True)
    (root / "weights.bin").write_bytes(b"\0\1\2" * 1000)
    (root / "data" / "naïve name\n.txt").write_text("1")
    (root / "run.sh").write_text("true")
    (root / "run.sh").chmod(0o755)
    (root / "latest").symlink_to("data/../weights.bin")
    (root / "more").symlink_to("data")
    return root


def test_a_copy_is_the_same_model_and_nobody_may_write_to_it(model: Path, tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    tree = scan_model(model)
    assert (tree.files, tree.size_bytes) == (3, 3005)
    assert copy_model(tree, tmp_path / "kept") == digest_model(tree)
    copy = tmp_path / "kept" / "model"
    assert digest_model(scan_model(copy)) == digest_model(tree)
    assert (copy / "latest").readlink() == Path("data/../weights.bin")
    assert (copy / "data" / "empty").is_dir()
    assert not [path for path in (copy, *copy.rglob("*")) if not path.is_symlink() and path.stat().st_mode & 0o222]


def test_the_digest_is_this_one(model: Path) -> None:
    """It names what is kept on disk: another one would be another model."""
    assert digest_model(scan_model(model)) == "ebff742123de1e914f39b7de2f7dc067ce6f29c4e6e881032e1fa787ba4863ca"


@pytest.mark.parametrize("change", ["content", "name", "mode", "link", "directory", "own name"])
def test_everything_that_a_reader_sees_counts(model: Path, change: str) -> None:
    before = digest_model(scan_model(model))
    if change == "content":
        (model / "weights.bin").write_bytes(b"\0\1\3" * 1000)
    elif change == "name":
        (model / "run.sh").rename(model / "run2.sh")
    elif change == "mode":
        (model / "run.sh").chmod(0o644)
    elif change == "link":
        (model / "more").unlink()
        (model / "more").symlink_to("data/empty")
    elif change == "directory":
        (model / "data" / "empty").rmdir()
    else:
        model = model.rename(model.with_name("other"))
    assert digest_model(scan_model(model)) != before


def test_times_and_caches_do_not_count(model: Path) -> None:
    before = digest_model(scan_model(model))
    os.utime(model / "weights.bin", (1, 1))
    for name in (".git", "__pycache__"):
        (model / "data" / name).mkdir()
        (model / "data" / name / "x").write_text("1")
    tree = scan_model(model)
    assert digest_model(tree) == before
    assert sorted(tree.left_out) == ["data/.git", "data/__pycache__"]


def _link(target: str) -> object:
    return lambda root: (root / "odd").symlink_to(target)


def _socket(root: Path) -> None:
    here = os.open(root, os.O_RDONLY)  # a socket's path is short
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(f"/proc/self/fd/{here}/odd")
    finally:
        os.close(here)


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (_link("/etc/passwd"), "link_leaves_tree"),
        (_link("../outside"), "link_leaves_tree"),
        (_link("data/../../outside"), "link_leaves_tree"),
        (_link("more/../../outside"), "link_leaves_tree"),
        (_link("first"), "link_leaves_tree"),
        (_link("nowhere"), "broken_link"),
        (_link("odd"), "broken_link"),
        (lambda root: os.mkfifo(root / "odd"), "special_file"),
        (_socket, "special_file"),
        (lambda root: (root / os.fsdecode(b"odd\xff")).write_text("1"), "bad_path"),
        (lambda root: (root / "odd").symlink_to(os.fsdecode(b"odd\xff")), "link_leaves_tree"),
    ],
)
def test_what_leads_out_or_is_no_file_is_refused(model: Path, make: object, code: str) -> None:
    (model.parent / "outside").write_text("secret")
    (model / "first").symlink_to("weights.bin")
    if code == "link_leaves_tree":
        (model / "first").unlink()
        (model / "first").symlink_to("../outside")
    make(model)  # type: ignore[operator]
    with pytest.raises(InvalidInput) as caught:
        scan_model(model)
    assert caught.value.stable_code == code


def test_links_that_lead_inside_by_a_way_outside_are_refused(model: Path) -> None:
    (model / "odd").symlink_to("../model/weights.bin")
    with pytest.raises(InvalidInput, match="leads out of it"):
        scan_model(model)


@pytest.mark.skipif(os.geteuid() != 0, reason="making a device needs root")
def test_devices_are_refused(model: Path) -> None:
    os.mknod(model / "null", 0o020666, os.makedev(1, 3))
    with pytest.raises(InvalidInput, match="a device"):
        scan_model(model)
    with pytest.raises(InvalidInput, match="neither a file nor a directory"):
        scan_model(Path("/dev/null"))


def test_what_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        scan_model(tmp_path / "nothing")
    with pytest.raises(InvalidInput, match="holds no file"):
        scan_model(tmp_path)
    with pytest.raises(InvalidInput, match="all of this machine"):
        scan_model(Path("/"))
    with pytest.raises(InvalidInput, match="NUL"):
        scan_model(Path("a\0b"))
    (tmp_path / "a").write_text("")
    (tmp_path / "b").write_text("")
    with pytest.raises(InvalidInput, match="more than 1 files"):
        scan_model(tmp_path, limit_entries=1)


def test_a_link_to_the_model_itself_is_followed_unless_it_leads_out_of_where_it_must_be(model: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "best").symlink_to(model)
    assert scan_model(tmp_path / "run" / "best").name == "best"
    with pytest.raises(InvalidInput) as caught:
        scan_model(tmp_path / "run" / "best", within=tmp_path / "run")
    assert caught.value.stable_code == "link_leaves_tree"


def test_a_single_file_is_a_model_under_its_name(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "model.pkl").write_bytes(b"x")
    tree = scan_model(tmp_path / "model.pkl")
    assert (tree.name, tree.is_directory, tree.files) == ("model.pkl", False, 1)
    assert copy_model(tree, tmp_path / "kept") == digest_model(tree)
    assert (tmp_path / "kept" / "model.pkl").read_bytes() == b"x"


@pytest.mark.parametrize("change", ["grown", "cut", "link", "directory", "gone", "pipe"])
def test_what_changes_between_the_look_and_the_copy_is_noticed(model: Path, tmp_path: Path, change: str) -> None:
    (tmp_path / "kept").mkdir()
    tree = scan_model(model)
    weights = model / "weights.bin"
    if change == "grown":
        with weights.open("ab") as file:
            file.write(b"more")
    elif change == "cut":
        weights.write_bytes(b"")
    elif change == "directory":  # a link in the place of a directory leads elsewhere
        (model / "data").rename(tmp_path / "elsewhere")
        (model / "data").symlink_to(tmp_path / "elsewhere")
    else:
        weights.unlink()
        if change == "link":
            weights.symlink_to("/etc/passwd")
        elif change == "pipe":
            os.mkfifo(weights)
    with pytest.raises(Conflict) as caught:
        copy_model(tree, tmp_path / "kept")
    assert caught.value.stable_code == "model_changed"


@pytest.mark.parametrize("change", ["added", "taken away", "rewritten", "replaced", "link", "directory", "gone"])
def test_what_changes_while_a_model_is_read_is_noticed(model: Path, change: str) -> None:
    tree = scan_model(model)
    check_unchanged(tree)
    weights = model / "weights.bin"
    content = weights.read_bytes()
    if change == "added":
        (model / "data" / "second.bin").touch()
    elif change == "taken away":
        (model / "data" / "naïve name\n.txt").unlink()
    elif change == "rewritten":
        weights.write_bytes(content[::-1])
        os.utime(weights, (1, 1))  # clocks of file systems are coarse
    elif change == "replaced":
        (model / "data" / "new").write_bytes(content)
        (model / "data" / "new").rename(weights)
    elif change == "link":
        (model / "more").unlink()
        (model / "more").symlink_to("data/empty")
    elif change == "directory":
        (model / "data" / "empty").rmdir()
    else:
        model.rename(model.with_name("elsewhere"))
    with pytest.raises(Conflict) as caught:
        check_unchanged(tree)
    assert caught.value.stable_code == "model_changed"


def test_space_is_looked_for_before_anything_is_read(tmp_path: Path) -> None:
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(1 << 43)  # a hole: it takes no space, its copy would
    (tmp_path / "kept").mkdir()
    with pytest.raises(DiskFull) as caught:
        copy_model(scan_model(tmp_path / "huge"), tmp_path / "kept")
    assert caught.value.details["needed_bytes"] == 1 << 43
    assert list((tmp_path / "kept").iterdir()) == []


def test_a_deep_tree_is_read_or_refused_with_a_word(tmp_path: Path) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(60):
        os.mkdir("d" * 100, dir_fd=here)
        inner = os.open("d" * 100, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)
    with pytest.raises(WardianError, match="File name too long"):
        scan_model(tmp_path)
