"""Trees of local code: what counts, what is left out, and what is refused."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from wardian.digest import Digest
from wardian.errors import InvalidInput, NotFound, Unavailable
from wardian.formats.local_code import LocalCode
from wardian.formats.tree import list_tree, tree_digest
from wardian.formats.tree_copy import copy_tree

if TYPE_CHECKING:
    from pathlib import Path


def make(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def paths(root: Path) -> list[str]:
    return [entry.path for entry in list_tree(root)]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return make(
        tmp_path / "pkg",
        {"pyproject.toml": "[project]\n", "src/a.py": "a = 1\n", "src/b.py": "b = 1\n", "run.sh": "#!/bin/sh\n"},
    )


# -- what counts ---------------------------------------------------------------------------------------------------------


def test_paths_contents_executability_and_links_count(tree: Path) -> None:
    seen = [tree_digest(tree)]
    (tree / "src/a.py").write_text("a = 2\n")
    seen.append(tree_digest(tree))
    (tree / "src/a.py").rename(tree / "src/c.py")
    seen.append(tree_digest(tree))
    (tree / "run.sh").chmod(0o755)
    seen.append(tree_digest(tree))
    for target in ("src/c.py", "src/b.py"):
        (tree / "link").symlink_to(target)
        seen.append(tree_digest(tree))
        (tree / "link").unlink()
    (tree / "link").write_text("src/b.py")
    seen.append(tree_digest(tree))
    (tree / "src/b.py").unlink()
    seen.append(tree_digest(tree))
    assert len(set(seen)) == len(seen)


def test_times_modes_of_others_and_empty_directories_do_not(tree: Path) -> None:
    before = tree_digest(tree)
    os.utime(tree / "src/a.py", (1, 1))
    (tree / "src/a.py").chmod(0o600)
    (tree / "run.sh").chmod(0o664)
    (tree / "empty/below").mkdir(parents=True)
    assert tree_digest(tree) == before


def test_the_digest_is_frozen(tree: Path) -> None:  # stored definitions hold it: a change of rule is a new scheme
    (tree / "run.sh").chmod(0o755)
    (tree / "link").symlink_to("src/a.py")
    assert tree_digest(tree) == "a70017c7541385d7c727440897adcf23703b2ea2943b9b924a017b4e3d4fbc1f"


def test_umask_locale_order_and_place_do_not_matter(tree: Path, tmp_path: Path) -> None:
    code = (
        "import os, sys, pathlib\n"
        "from wardian.formats.tree import tree_digest\n"
        "os.umask(int(sys.argv[1], 8)); root = pathlib.Path(sys.argv[2]); root.mkdir(parents=True)\n"
        "for name in sys.argv[3:]:\n"
        "    (root / name).parent.mkdir(exist_ok=True); (root / name).write_text(name)\n"
        "print(tree_digest(root))\n"
    )
    names = ["a.py", "B/é.py", "B/z.py", "C.py"]
    found = set()
    for i, (umask, locale) in enumerate([("022", "C"), ("077", "C.UTF-8"), ("002", "POSIX")]):
        root = tmp_path / f"copy {i}" / "pkg"
        order = names[i:] + names[:i]
        environ = {**os.environ, "LC_ALL": locale, "PYTHONUTF8": "1"}
        done = subprocess.run(
            [sys.executable, "-c", code, umask, str(root), *order], capture_output=True, text=True, check=True, env=environ
        )
        found.add(done.stdout)
    assert len(found) == 1


def test_names_count_in_nfc(tmp_path: Path) -> None:
    one, other = make(tmp_path / "1", {"e\u0301.py": ""}), make(tmp_path / "2", {"\u00e9.py": ""})
    assert tree_digest(one) == tree_digest(other)


def test_a_file_counts_by_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.whl").write_bytes(b"wheel")
    assert tree_digest(tmp_path / "a.whl") == Digest.of(b"wheel")


def test_a_link_to_the_tree_is_the_tree(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(tree)
    assert tree_digest(tmp_path / "alias") == tree_digest(tree)


# -- what is left out ----------------------------------------------------------------------------------------------------


def test_leftovers_and_version_control_are_left_out(tree: Path) -> None:
    before = paths(tree)
    make(tree, {
        ".git/HEAD": "", ".hg/x": "", ".svn/x": "", "src/__pycache__/a.pyc": "", "my.egg-info/PKG-INFO": "", "src/CVS/Root": "",
        ".venv/pyvenv.cfg": "", ".venv/bin/python": "",
    })  # fmt: skip
    make(tree / "sub", {".git": "gitdir: ../.git/modules/sub\n"})
    assert paths(tree) == before
    make(tree, {"build/lib/a.py": "", "dist/a.whl": ""})
    assert paths(tree) == sorted([*before, "build/lib/a.py", "dist/a.whl"])  # by ignore files only


def test_the_first_ignore_file_of_a_directory_decides(tree: Path) -> None:
    make(tree, {".gitignore": "run.sh\n"})
    assert "run.sh" not in paths(tree)
    make(tree, {".amlignore": "src/\n"})
    assert ("run.sh" in paths(tree), "src/a.py" in paths(tree)) == (True, False)
    make(tree, {".wardianignore": "pyproject.toml\n"})
    assert ("pyproject.toml" in paths(tree), "src/a.py" in paths(tree)) == (False, True)


def test_ignore_files_count_themselves_and_do_not_reach_up(tree: Path) -> None:
    make(tree.parent, {".gitignore": "pkg/src/\n"})
    assert "src/a.py" in paths(tree)
    make(tree, {"src/.gitignore": "a.py\n"})
    assert paths(tree) == ["pyproject.toml", "run.sh", "src/.gitignore", "src/b.py"]


GIT_CASES = {
    ".gitignore": "*.log\n!keep.log\n/build/\ndocs/**/*.tmp\n# comment\n\\#name\n/only-top\ndir-only/\nspace\\ \n[ab].txt\nx?y\ndeep/**\n!deep/in/\n",
    "sub/.gitignore": "!again.log\n*.dat\n/anchored\n",
    "sub/inner/.gitignore": "!c.dat\n",
    "a.log": "", "keep.log": "", "sub/again.log": "", "sub/b.log": "", "build/x": "", "sub/build/x": "", "docs/a.tmp": "", "docs/a/b/c.tmp": "",
    "#name": "", "only-top": "", "sub/only-top": "", "dir-only/x": "", "sub/dir-only": "", "space ": "", "a.txt": "", "c.txt": "", "xzy": "",
    "sub/d.dat": "", "sub/inner/c.dat": "", "sub/inner/d.dat": "", "sub/anchored": "", "sub/inner/anchored": "", "deep/in/file": "", "plain": "",
}  # fmt: skip


def test_ignore_rules_are_git_s(tmp_path: Path) -> None:
    git = shutil.which("git")
    if git is None:
        pytest.skip("git is missing: it says what its ignore files mean")
    root = make(tmp_path / "repo", GIT_CASES)
    environ = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    subprocess.run([git, "init", "-q", str(root)], check=True, env=environ)
    listed = subprocess.run(
        [git, "-C", str(root), "ls-files", "-z", "--others", "--exclude-standard"],
        check=True,
        capture_output=True,
        text=True,
        env=environ,
    )
    assert paths(root) == sorted(listed.stdout.rstrip("\0").split("\0"))


# -- what is refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["../outside", "/etc/passwd", "src/../../outside", "..", "src/../.."])
def test_a_link_that_leads_out_is_refused(tree: Path, target: str) -> None:
    (tree / "link").symlink_to(target)
    with pytest.raises(InvalidInput) as refused:
        tree_digest(tree)
    assert refused.value.stable_code == "link_leaves_tree"
    make(tree, {".wardianignore": "link\n"})
    assert "link" not in paths(tree)


def test_a_link_that_leads_out_by_way_of_another_is_refused(tree: Path) -> None:
    (tree / "here").symlink_to(".")
    (tree / "src/out").symlink_to("../here/../x")  # on paper inside: here/.. is the tree; on disk its parent
    with pytest.raises(InvalidInput, match="leads out of"):
        tree_digest(tree)


@pytest.mark.parametrize("target", ["src/a.py", "src", ".", "missing", "src/../run.sh", "link"])
def test_links_inside_are_kept_as_they_are(tree: Path, target: str) -> None:
    (tree / "link").symlink_to(target)
    entry = next(entry for entry in list_tree(tree) if entry.path == "link")
    assert entry.target == target
    assert paths(tree) == ["link", "pyproject.toml", "run.sh", "src/a.py", "src/b.py"]


def test_what_is_neither_file_nor_link_is_refused(tree: Path) -> None:
    os.mkfifo(tree / "pipe")
    with pytest.raises(InvalidInput) as refused:
        list_tree(tree)
    assert refused.value.stable_code == "special_file"


def test_a_name_that_is_not_utf8_is_refused(tree: Path) -> None:
    os.close(os.open(os.fsencode(tree) + b"/\xff.py", os.O_CREAT | os.O_WRONLY))
    with pytest.raises(InvalidInput) as refused:
        list_tree(tree)
    assert refused.value.stable_code == "bad_path"


@pytest.mark.parametrize("content", [b"\xff\n", b"#" * ((1 << 20) + 1), b"ok\n!\n"], ids=["encoding", "size", "pattern"])
def test_a_bad_ignore_file_is_refused(tree: Path, content: bytes) -> None:
    (tree / ".gitignore").write_bytes(content)
    with pytest.raises(InvalidInput) as refused:
        list_tree(tree)
    assert refused.value.stable_code == "bad_ignore_file"


def test_a_tree_too_large_names_the_largest(tree: Path) -> None:
    make(tree, {"data/large.bin": "x" * 5000})
    with pytest.raises(InvalidInput, match=r"the largest so far: data/large\.bin \(5,000 bytes\)") as refused:
        list_tree(tree, limit_bytes=4000)
    assert refused.value.stable_code == "tree_too_large"
    with pytest.raises(InvalidInput, match="more than 3 files"):
        tree_digest(tree, limit_files=3)


def test_what_is_missing_or_unreadable_is_told(tree: Path) -> None:
    with pytest.raises(NotFound):
        tree_digest(tree / "missing")
    (tree / ".gitignore").mkdir()
    assert "run.sh" in paths(tree)  # a directory of that name says nothing
    if os.geteuid() != 0:
        (tree / "src").chmod(0)
        with pytest.raises(Unavailable):
            list_tree(tree)
        (tree / "src").chmod(0o755)


# -- copies and collections ----------------------------------------------------------------------------------------------


def test_a_copy_has_the_same_digest(tree: Path, tmp_path: Path) -> None:
    make(tree, {".gitignore": "*.log\n", "x.log": "", ".git/HEAD": "", "src/.wardianignore": "b.py\n"})
    (tree / "run.sh").chmod(0o755)
    (tree / "link").symlink_to("src/a.py")
    copy_tree(tree, tmp_path / "copy")
    assert tree_digest(tmp_path / "copy") == tree_digest(tree)
    assert not (tmp_path / "copy/x.log").exists()


def test_local_code_is_taken_once_and_in_order(tree: Path) -> None:
    code = LocalCode(tree.parent)
    make(tree.parent / "other", {"setup.py": ""})
    for path in ("./pkg", "./other", "./pkg"):
        code.take(path)
    assert [source.path for source in code.sources] == ["./pkg", "./other"]
    assert code.places == {tree_digest(tree): tree, tree_digest(tree.parent / "other"): tree.parent / "other"}


@pytest.mark.parametrize(
    ("path", "code"), [("./missing", "no_such_path"), ("./pkg/src", "not_installable"), ("./pkg/run.sh", "not_installable")]
)
def test_what_cannot_be_installed_is_refused(tree: Path, path: str, code: str) -> None:
    with pytest.raises((NotFound, InvalidInput)) as refused:
        LocalCode(tree.parent).take(path)
    assert refused.value.stable_code == code
