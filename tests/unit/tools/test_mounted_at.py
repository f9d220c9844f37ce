from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """if True:
    import ctypes, os, sys, tempfile
    from pathlib import Path
    from wardian.tools.mounted_at import mount_at
    if sys.argv[3] != "root":
        os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
        ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE: who has just stopped being root may not write to its own /proc
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    try:
        mount_at(source, target)
    except PermissionError as error:
        print("refused", error)
        sys.exit(77)
    print((target / "inside").read_text(), sorted(p.name for p in target.parent.iterdir()), os.geteuid())
    (target / "written").write_text("x")
"""


def mounted(source: Path, target: Path, who: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", CODE, source, target, who], capture_output=True, text=True, check=False, cwd="/"
    )
    if done.returncode == 77:
        pytest.skip(f"private mounts are not allowed here: {done.stdout}")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.root
@pytest.mark.parametrize("who", ["root", "nobody"])
@pytest.mark.parametrize("there", [True, False], ids=["there", "not there"])
def test_a_directory_is_seen_at_another_path_by_one_process_only(tmp_path: Path, who: str, *, there: bool) -> None:
    if os.geteuid() != 0:
        pytest.skip("becoming another user needs root")
    place = Path("/tmp") / f"wardian-mounted-at-{os.getpid()}-{who}-{there}"  # an ordinary user cannot reach pytest's
    source, above = place / "source", place / "above"
    try:
        for directory in (source, above / "directory", *([above / "target"] if there else [])):
            directory.mkdir(parents=True)
        source.chmod(0o777)
        (source / "inside").write_text("text")
        (above / "file").write_text("x")
        (above / "link").symlink_to("nowhere")
        names = sorted(["directory", "file", "link", "target"])
        assert mounted(source, above / "target", who) == f"text {names} {0 if who == 'root' else 65534}"
        assert (source / "written").read_text() == "x"
        assert sorted(path.name for path in above.iterdir()) == (names if there else [n for n in names if n != "target"])
        assert not list((above / "target").glob("*"))
    finally:
        subprocess.run(["rm", "-rf", place], check=True)


def test_what_is_not_there_cannot_be_mounted(tmp_path: Path) -> None:
    from wardian.tools.mounted_at import mount_at

    with pytest.raises(FileNotFoundError):
        mount_at(tmp_path / "none", tmp_path / "target")
