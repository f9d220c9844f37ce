"""`uv.lock` as input: what uv itself locked is installed as it is, through the index that the settings name; nothing is solved."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from tests.support.cli import Cli
from tests.support.wheels import make_sdist, make_source_tree, make_wheel
from uv import find_uv_bin

from wardian.definition.well_known import DEFAULT_INDEX

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.index import Index

PROJECT = """\
[project]
name = "thesis"
version = "1.0"
requires-python = ">=3.11"
dependencies = [
    "alpha>=1", "two==1.0; sys_platform == 'linux'", "two==2.0; sys_platform != 'linux'", "member", "lib", "only-source",
]
[project.optional-dependencies]
cpu = ["beta<2"]
gpu = ["beta>=2"]
[dependency-groups]
dev = ["tool"]
docs = ["writer"]
[tool.uv]
conflicts = [[{extra = "cpu"}, {extra = "gpu"}]]
[tool.uv.workspace]
members = ["packages/*"]
[tool.uv.sources]
member = {workspace = true}
lib = {path = "lib"}
[[tool.uv.index]]
url = "INDEX"
default = true
"""


@dataclass
class Project:
    """A project that uv has locked, and a command line that stands in its directory."""

    cli: Cli
    index: Index

    def lock(self) -> str:
        """Let uv lock the project; return what it wrote."""
        environ = {key: value for key, value in os.environ.items() if not key.startswith(("UV_", "PIP_", "VIRTUAL_ENV"))}
        environ |= {"UV_CACHE_DIR": str(self.cli.home / "uv-cache"), "XDG_CONFIG_HOME": str(self.cli.home), "XDG_CONFIG_DIRS": str(self.cli.home), "UV_PYTHON": sys.executable,
                    "UV_PYTHON_DOWNLOADS": "never"}  # fmt: skip
        done = subprocess.run(
            [find_uv_bin(), "lock"], cwd=self.cli.directory, env=environ, check=False, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return self.text

    @property
    def text(self) -> str:
        """The lock file."""
        return (self.cli.directory / "uv.lock").read_text()

    def packages(self, name: str) -> dict[str, str]:
        """Return name → version of what is locked for this machine."""
        (lock,) = self.cli.json("env", "lock", name, "--platform", "linux/amd64")["locks"].values()
        return {one["name"]: one["version"] for one in lock["packages"] if one["kind"] != "python"}


@pytest.fixture
def project(index: Index, tmp_path: Path) -> Project:
    made = tmp_path / "made"
    for name, version, requires in (
        ("alpha", "1.0", ["beta", "gone; sys_platform == 'win32'"]), ("beta", "1.0", []), ("beta", "2.0", []), ("gone", "1.0", []),
        ("two", "1.0", []), ("two", "2.0", []), ("tool", "3.0", []), ("writer", "1.0", []),
    ):  # fmt: skip
        index.add(make_wheel(made, name, version, requires=requires))
    index.add(make_sdist(made, "only-source", "0.5"))
    cli = Cli.at(tmp_path / "one", index_url=index.url)
    cli.write("pyproject.toml", PROJECT.replace("INDEX", index.url))
    make_source_tree(cli.directory / "packages/member", "member", "0.1")
    make_source_tree(cli.directory / "lib", "lib", "0.2")
    project = Project(cli, index)
    project.lock()
    index.add(make_wheel(made, "alpha", "1.5"))  # newer than what is locked
    return project


def test_what_uv_locked_is_what_runs(project: Project) -> None:
    cli = project.cli
    done = cli.ok("env", "create", "thesis", "-f", "uv.lock")
    assert "dropped: uv.lock:" in done.err
    assert "the project `thesis` is no package: what it needs is installed, not itself" in done.err
    assert "`member` is built and installed as it is now, not editable" in done.err
    shutil.rmtree(cli.directory / "lib")  # all that is needed is kept
    (cli.directory / "uv.lock").unlink()
    everything = {
        "alpha": "1.0",
        "beta": "2.0",
        "two": "1.0",
        "tool": "3.0",
        "member": "0.1",
        "lib": "0.2",
        "only-source": "0.5",
    }
    assert project.packages("thesis") == everything
    cli.write(
        "a.py", "import alpha, beta, member, lib, only_source\nprint(alpha.__version__, beta.__version__, lib.__version__)\n"
    )
    assert cli.ok("run", "-e", "thesis", "a.py").out == "1.0 2.0 0.2\n"


def test_nothing_is_solved(project: Project, tmp_path: Path) -> None:
    """A newer release, and one that the locked ones would need, change nothing: their pages are not even asked for."""
    cli, index = project.cli, project.index
    make = tmp_path / "made"
    index.add(make_wheel(make, "beta", "1.1", requires=["surprise"]))
    cli.ok("env", "create", "thesis", "-f", "uv.lock")
    index.requests.clear()
    (lock,) = cli.json("env", "lock", "thesis", "--platform", "linux/amd64")["locks"].values()
    asked = {request.path.split("/")[2] for request in index.requests if request.path.startswith("/simple/")}
    assert asked == {"alpha", "beta", "two", "tool", "only-source"}
    wheels = {one["file"]: one["sha256"] for one in lock["packages"] if one["source"] == "index:pypi"}
    assert len(wheels) == 5
    assert all(f'/{file}", hash = "sha256:{sha256}"' in project.text for file, sha256 in wheels.items())


def test_extras_that_exclude_each_other(project: Project) -> None:
    cli = project.cli
    for extra, version in (("cpu", "1.0"), ("gpu", "2.0")):
        cli.ok("env", "create", extra, "-f", "uv.lock", "--extra", extra)
        assert project.packages(extra)["beta"] == version
    assert cli.json("env", "show", "cpu")["definition_hash"] != cli.json("env", "show", "gpu")["definition_hash"]
    done = cli.run("env", "create", "x", "-f", "uv.lock", "--extra", "tpu")
    assert (done.code, "the lock file has no extra `tpu`" in done.err, "known ones: cpu, gpu" in done.err) == (2, True, True)


def test_groups_are_those_of_uv_sync(project: Project) -> None:
    cli = project.cli
    cli.ok("env", "create", "docs", "-f", "uv.lock", "--group", "docs")
    assert {"tool", "writer"} <= set(project.packages("docs"))
    text = (cli.directory / "pyproject.toml").read_text()
    cli.write("pyproject.toml", text.replace("[tool.uv]\n", '[tool.uv]\ndefault-groups = ["docs"]\n', 1))
    cli.ok("env", "create", "plain", "-f", "uv.lock")
    assert {"tool", "writer"} & set(project.packages("plain")) == {"writer"}
    again = cli.ok("env", "export", "plain", "--to", "source").out
    assert again.startswith(project.text)
    (cli.directory / "copy").mkdir()
    for name in ("lib", "packages"):
        shutil.copytree(cli.directory / name, cli.directory / "copy" / name)
    cli.write("copy/uv.lock", again)
    assert cli.json("env", "hash", "copy/uv.lock")["definition_hash"] == cli.json("env", "show", "plain")["definition_hash"]


def test_a_file_that_stands_alone_is_read_again_when_its_manifest_has_changed(project: Project) -> None:
    cli = project.cli
    wheel = next(line for line in project.text.splitlines() if "/tool-3.0" in line)
    index = f'source = {{ registry = "{project.index.url}" }}'
    cli.write(
        "plain/uv.lock",
        f"""\
version = 1
requires-python = ">=3.11"
[[package]]
name = "plain"
version = "1"
source = {{ virtual = "." }}
[package.dev-dependencies]
dev = [{{ name = "tool" }}]
[[package]]
name = "tool"
version = "3.0"
{index}
wheels = [
{wheel}
]
""",
    )
    first = cli.json("env", "lock", "plain/uv.lock", "--platform", "linux/amd64")
    again = cli.ok("env", "lock", "plain/uv.lock", "--platform", "linux/amd64")
    assert "dropped:" not in again.err  # it is told once
    cli.write("plain/pyproject.toml", "[tool.uv]\ndefault-groups = []\n")
    changed = cli.json("env", "lock", "plain/uv.lock", "--platform", "linux/amd64")
    assert changed["definition_hash"] != first["definition_hash"]
    (lock,) = changed["locks"].values()
    assert [one["kind"] for one in lock["packages"]] == ["python"]


def test_a_changed_file_in_the_index_is_refused(project: Project, tmp_path: Path) -> None:
    cli, index = project.cli, project.index
    index.add(make_wheel(tmp_path / "other", "beta", "2.0", files={"beta/__init__.py": "evil = True\n"}))
    cli.ok("env", "create", "thesis", "-f", "uv.lock")
    done = cli.run("env", "lock", "thesis", "--platform", "linux/amd64")
    assert (done.code, "beta-2.0-py3-none-any.whl has the sha256" in done.err) == (1, True), done.err


def test_the_default_index_by_its_usual_url_is_the_configured_one(project: Project) -> None:
    """A lock file of uv names its index: what `indexes.pypi` says is asked in its place; of a pylock.toml, too."""
    cli, index = project.cli, project.index
    usual = f"https://{DEFAULT_INDEX}.org/simple"
    cli.write("uv.lock", project.text.replace(index.url, usual))
    cli.ok("env", "create", "thesis", "-f", "uv.lock")
    assert project.packages("thesis")["alpha"] == "1.0"
    digest = next(line for line in project.text.splitlines() if "/tool-3.0" in line).partition("sha256:")[2][:64]
    cli.write(
        "pylock.toml",
        f"""\
lock-version = "1.0"
created-by = "uv"
requires-python = ">=3.11"
[[packages]]
name = "tool"
version = "3.0"
index = "{usual}"
wheels = [{{ url = "https://files.example/tool-3.0-py3-none-any.whl", hashes = {{ sha256 = "{digest}" }} }}]
""",
    )
    cli.ok("env", "create", "small", "-f", "pylock.toml")
    assert project.packages("small") == {"tool": "3.0"}


def test_a_time_has_nothing_to_choose(project: Project) -> None:
    cli = project.cli
    cli.ok("env", "create", "thesis", "-f", "uv.lock")
    for words in (("env", "lock", "thesis"), ("env", "lock", "uv.lock"), ("env", "upgrade", "thesis")):
        done = cli.run(*words, "--as-of", "2024-01-01")
        assert (done.code, "has the versions of a lock file" in done.err) == (2, True), done.err


def test_what_is_not_locked_is_not_added(project: Project) -> None:
    cli = project.cli
    cli.ok("env", "create", "thesis", "-f", "uv.lock")
    assert "those of a lock file" in cli.run("env", "add", "thesis", "gamma").err
    cli.write("a.py", "pass\n")
    assert "`gamma` is not in the lock file" in cli.run("run", "-f", "uv.lock", "--with", "gamma", "a.py").err
    assert "`alpha>=2` is not in the lock file" in cli.run("run", "-f", "uv.lock", "--with", "alpha>=2", "a.py").err


def test_what_is_on_no_index_comes_from_where_it_was_locked(project: Project, tmp_path: Path) -> None:
    cli = project.cli
    repository = make_source_tree(tmp_path / "repository", "mine", "0.7")
    for words in (
        ("init", "-q"),
        ("add", "."),
        ("-c", "user.name=x", "-c", "user.email=x@example.org", "commit", "-qm", "first"),
    ):
        subprocess.run(["git", *words], cwd=repository, check=True, capture_output=True)
    far = project.index.add(make_wheel(tmp_path / "made", "far", "1.0"))
    near = make_wheel(cli.directory / "wheels", "near", "1.0")
    cli.write(
        "pyproject.toml",
        f"""\
[project]
name = "thesis"
version = "1.0"
requires-python = ">=3.11"
dependencies = ["mine", "far", "near"]
[tool.uv.sources]
mine = {{git = "{repository.as_uri()}"}}
far = {{url = "{project.index.file_url(far.name)}"}}
near = {{path = "wheels/{near.name}"}}
[[tool.uv.index]]
url = "{project.index.url}"
default = true
""",
    )
    project.lock()
    cli.ok("env", "create", "thesis", "-f", "uv.lock")
    (repository / "src/mine/__init__.py").write_text("moved = True\n")
    subprocess.run(
        ["git", "-c", "user.name=x", "-c", "user.email=x@example.org", "commit", "-qam", "second"], cwd=repository, check=True
    )
    assert project.packages("thesis") == {"mine": "0.7", "far": "1.0", "near": "1.0"}
    cli.write("a.py", "import mine, far, near\nprint(mine.__version__, far.__version__, near.__version__)\n")
    assert cli.ok("run", "-e", "thesis", "a.py").out == "0.7 1.0 1.0\n"


def test_a_project_that_uv_builds_is_built(project: Project) -> None:
    cli = project.cli
    make_source_tree(cli.directory, "thesis", "1.0", requires=["tool"])
    text = (cli.directory / "pyproject.toml").read_text()
    cli.write("pyproject.toml", f'{text}[[tool.uv.index]]\nurl = "{project.index.url}"\ndefault = true\n')
    project.lock()
    done = cli.ok("env", "create", "thesis", "-f", "uv.lock")
    assert "`thesis` is built and installed as it is now, not editable" in done.err
    assert project.packages("thesis") == {"thesis": "1.0", "tool": "3.0"}
    cli.write("elsewhere/a.py", "import thesis, tool\nprint(thesis.__version__)\n")
    assert cli.ok("run", "-e", "thesis", "--source", "elsewhere", "a.py").out == "1.0\n"


def test_each_package_is_looked_up_in_its_own_index(project: Project, tmp_path: Path) -> None:
    """Another index that has a package of the same name does not hide the one that was locked."""
    from tests.support.index import Index

    with Index(tmp_path / "second") as second:
        second.add(make_wheel(tmp_path / "there", "tool", "9.0"))
        second.add(make_wheel(tmp_path / "there", "writer", "1.0", files={"writer/__init__.py": "there = 1\n"}))
        more = f'writer = {{index = "second"}}\n[[tool.uv.index]]\nname = "second"\nurl = "{second.url}"\nexplicit = true\n'
        text = (project.cli.directory / "pyproject.toml").read_text()
        project.cli.write("pyproject.toml", text.replace("[[tool.uv.index]]", more + "[[tool.uv.index]]", 1))
        project.lock()
        project.cli.ok("env", "create", "thesis", "-f", "uv.lock", "--group", "docs")
        found = project.packages("thesis")
        project.cli.write("a.py", "import writer, tool\nprint(writer.there, tool.__version__)\n")
        assert (found["tool"], found["writer"]) == ("3.0", "1.0")
        assert project.cli.ok("run", "-e", "thesis", "a.py").out == "1 3.0\n"
