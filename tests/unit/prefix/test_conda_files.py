from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.builders import an_artifact

from wardian.package.conda_worker import LINK_SCRIPT, Task
from wardian.prefix.activation import Activation, activation
from wardian.prefix.conda import conda_files

if TYPE_CHECKING:
    from pathlib import Path


def record(prefix: Path, name: str, *paths: dict[str, Any]) -> None:
    (prefix / "conda-meta").mkdir(exist_ok=True)
    (prefix / "conda-meta" / f"{name}-1.0-0.json").write_text(json.dumps({"paths_data": {"paths_version": 1, "paths": paths}}))


def test_files_and_their_digests_as_installed(tmp_path: Path) -> None:
    record(
        tmp_path, "x",
        {"_path": "share/plain", "path_type": "hardlink", "sha256": "1" * 64},
        {"_path": "bin/with-prefix", "path_type": "hardlink", "sha256": "1" * 64, "sha256_in_prefix": "2" * 64},
        {"_path": "bin/entry", "path_type": "unix_python_entry_point", "sha256": "3" * 64},
        {"_path": "lib/x.so", "path_type": "softlink", "sha256": "4" * 64},
        {"_path": "lib/__pycache__/x.pyc", "path_type": "pyc_file"},
    )  # fmt: skip
    record(
        tmp_path,
        "y",
        {"_path": "__clobbers__/y/share/plain", "original_path": "share/plain", "path_type": "hardlink", "sha256": "5" * 64},
    )
    (tmp_path / "conda-meta/history").touch()
    assert conda_files(tmp_path) == {
        "share/plain": "1" * 64, "bin/with-prefix": "2" * 64, "bin/entry": "3" * 64, "lib/x.so": None, "lib/__pycache__/x.pyc": None,
        "__clobbers__/y/share/plain": "5" * 64, "conda-meta/x-1.0-0.json": None, "conda-meta/y-1.0-0.json": None,
        "conda-meta/history": None,
    }  # fmt: skip


def test_no_conda_packages_no_files(tmp_path: Path) -> None:
    assert conda_files(tmp_path) == {}


def test_a_prefix_without_scripts_needs_no_shell(tmp_path: Path) -> None:
    assert activation(tmp_path) == Activation({"CONDA_PREFIX": str(tmp_path)}, (f"{tmp_path}/bin",))


def test_a_task_comes_through_the_pipe_as_it_was() -> None:
    artifact = an_artifact(
        "numpy", kind="conda", depends=("python >=3.11",), noarch="generic", timestamp="2024-01-01T00:00:00Z"
    )
    task = Task((artifact,), {str(artifact.sha256): "/packages/numpy.conda"}, "/prefixes/ü", "/cache", "refuse", copy=True)
    assert "\n" not in task.to_json()
    assert Task.from_json(task.to_json()) == task


@pytest.mark.parametrize(
    ("path", "is_one"),
    [
        ("bin/.numpy-post-link.sh", True),
        ("bin/.a-b.c-pre-unlink.sh", True),
        ("bin/.x-pre-link.sh", True),
        ("Scripts/.x-post-link.bat", True),
        ("bin/post-link.sh", False),
        ("share/.x-post-link.sh", False),
        ("bin/.x-post-link.sh.bak", False),
    ],
)
def test_what_counts_as_a_link_script(path: str, *, is_one: bool) -> None:
    assert bool(LINK_SCRIPT.fullmatch(path)) is is_one
