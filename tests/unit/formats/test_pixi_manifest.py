"""pixi.toml as a definition: one environment of a workspace, and what of it has no place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from wardian import formats
from wardian.errors import InvalidDefinition, InvalidInput

if TYPE_CHECKING:
    from pathlib import Path

TEXT = """\
[workspace]
name = "thesis"
channels = ["conda-forge", {channel = "https://conda.corp.example/team/", priority = 1}]
platforms = ["linux-64", "linux-aarch64"]

[dependencies]
python = "3.12.*"
NumPy = ">=1.26,<2"
any = "*"
built = {version = ">=1", build = "py312*", channel = "bioconda"}

[pypi-dependencies]
alpha = ">=1"
exact = "2.0"
beta = {version = "*", extras = ["fast"]}
mine = {git = "https://git.example/mine", tag = "v1", subdirectory = "py"}
far = {url = "https://files.example/far-1.0-py3-none-any.whl"}
marked = {version = ">=1", env-markers = "sys_platform == 'linux'"}

[pypi-options]
index-url = "https://index.example/simple"
extra-index-urls = ["https://more.example/simple"]
find-links = [{path = "./links"}]

[activation]
scripts = ["setup.sh"]
env = {MODE = "fast", WHERE = "$CONDA_PREFIX/x"}

[system-requirements]
cuda = "12.4"
libc = {family = "glibc", version = "2.34"}
macos = "13.0"

[target.linux.dependencies]
linuxlib = "1.0"

[target.osx-arm64.dependencies]
maclib = "*"

[tasks]
train = "python train.py"

[feature.gpu]
channels = ["nvidia"]
[feature.gpu.dependencies]
cudalib = ">=12"
numpy = ">=1.26.4"
[feature.gpu.activation.env]
MODE = "faster"
[feature.docs.pypi-dependencies]
writer = "*"
[feature.gpu.tasks]
burn = "x"

[environments]
gpu = ["gpu"]
docs = {features = ["docs"], no-default-feature = true}
"""


def faults(text: str, environment: str = "default") -> list[tuple[str, int | None, str]]:
    from wardian.formats.pixi_manifest import read

    with pytest.raises(InvalidDefinition) as caught:
        read(text, file="pixi.toml", base=None, environment=environment)
    return [(fault.code, fault.line, fault.field) for fault in caught.value.faults]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "pixi.toml").write_text(TEXT)
    return tmp_path / "pixi.toml"


def test_the_default_environment(file: Path) -> None:
    env = formats.read(file).environment
    python = env.python
    assert (python.manager, python.channels) == ("conda", ("https://conda.corp.example/team", "conda-forge"))
    assert python.conda == ("python 3.12.*", "numpy>=1.26,<2", "any", "bioconda::built>=1[build='py312*']", "linuxlib 1.0")
    assert python.pip == (
        "alpha>=1", "exact==2.0", "beta[fast]", "mine @ git+https://git.example/mine@v1#subdirectory=py",
        "far @ https://files.example/far-1.0-py3-none-any.whl", 'marked>=1; sys_platform == "linux"',
    )  # fmt: skip
    assert python.pip_options == ("--index-url https://index.example/simple", "--extra-index-url https://more.example/simple")
    assert env.variables == {"MODE": "fast", "WHERE": "$CONDA_PREFIX/x"}
    assert env.accelerators == {"cuda": "12.4", "glibc": "2.34"}


def test_what_has_no_place_is_told_with_its_line(file: Path) -> None:
    told = [(loss.kind, loss.line, loss.field) for loss in formats.read(file).losses]
    rows = TEXT.split("\n")
    assert [(kind, rows[(line or 0) - 1], field) for kind, line, field in told] == [
        ("dropped", 'platforms = ["linux-64", "linux-aarch64"]', "workspace.platforms"),
        ("dropped", 'find-links = [{path = "./links"}]', "pypi-options.find-links"),
        ("dropped", 'scripts = ["setup.sh"]', "activation.scripts"),
        ("changed", 'env = {MODE = "fast", WHERE = "$CONDA_PREFIX/x"}', "activation.env.WHERE"),
        ("dropped", 'macos = "13.0"', "system-requirements.macos"),
        ("dropped", "[target.osx-arm64.dependencies]", "target.osx-arm64"),
        ("dropped", "[tasks]", "tasks"),
        ("dropped", "[feature.gpu]", "feature"),
    ]


def test_another_environment_has_its_features_first(file: Path) -> None:
    env = formats.read(file, environment="gpu").environment
    assert env.python.channels == ("https://conda.corp.example/team", "nvidia", "conda-forge")
    assert env.python.conda[:4] == ("cudalib>=12", "numpy>=1.26.4", "python 3.12.*", "numpy>=1.26,<2")
    assert env.variables["MODE"] == "faster"
    docs = formats.read(file, environment="docs").environment
    assert (docs.python.conda, docs.python.pip, docs.variables) == ((), ("writer",), {})
    assert docs.python.channels == ("https://conda.corp.example/team", "conda-forge")
    with pytest.raises(InvalidDefinition, match="known ones: default, gpu, docs") as caught:
        formats.read(file, environment="prod")
    assert caught.value.faults[0].line == TEXT[: TEXT.index("[environments]")].count("\n") + 1


def test_it_is_kept_as_wardians_own_yaml(file: Path) -> None:
    read = formats.read(file)
    assert read.format == "wardian"
    assert formats.read_text(read.text, "wardian").environment == read.environment


def test_a_pyproject_is_read_so_when_an_environment_is_named(tmp_path: Path) -> None:
    project = """\
[project]
name = "thesis"
requires-python = ">=3.11"
dependencies = ["alpha>=1"]
[dependency-groups]
test = ["tool"]
[tool.pixi.workspace]
channels = ["conda-forge"]
platforms = ["linux-64"]
[tool.pixi.dependencies]
numlib = "*"
[tool.pixi.environments]
test = ["test"]
"""
    (tmp_path / "pyproject.toml").write_text(project)
    assert formats.read(tmp_path / "pyproject.toml").environment.python.manager == "uv"
    env = formats.read(tmp_path / "pyproject.toml", environment="default").environment
    assert (env.python.channels, env.python.conda, env.python.pip) == (
        ("conda-forge",),
        ("numlib", "python>=3.11"),
        ("alpha>=1",),
    )
    assert formats.read(tmp_path / "pyproject.toml", environment="test").environment.python.pip == ("tool", "alpha>=1")
    (tmp_path / "requirements.txt").write_text("alpha\n")
    with pytest.raises(InvalidInput, match="has one environment"):
        formats.read(tmp_path / "requirements.txt", environment="test")


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("[workspace]", "[other]", "no_workspace"),
        ('any = "*"', "any = 3", "wrong_type"),
        ('any = "*"', 'any = {path = "../any"}', "pixi_source"),
        ('any = "*"', 'any = {verson = "1"}', "unknown_key"),
        ('any = "*"', 'any = ">>1"', "bad_match_spec"),
        ('any = "*"', 'any = {version = ["1"]}', "wrong_type"),
        ('alpha = ">=1"', 'alpha = ">>1"', "bad_requirement"),
        ('alpha = ">=1"', 'alpha = {path = "/abs"}', "absolute_path"),
        ('alpha = ">=1"', 'alpha = {path = "gone"}', "no_such_path"),
        ('alpha = ">=1"', 'alpha = {git = "https://x.example/y", rev = "1", tag = "2"}', "bad_source"),
        ('alpha = ">=1"', 'alpha = {extras = "x"}', "wrong_type"),
        ('alpha = ">=1"', "alpha = true", "wrong_type"),
        ('"https://index.example/simple"', '"https://me:secret@index.example/simple"', "secret_in_definition"),
        ('MODE = "fast"', "MODE = 3", "wrong_type"),
        ('MODE = "fast"', 'API_TOKEN = "sk-0123456789abcdef0123456789abcdef"', "secret_in_definition"),
        ('channels = ["conda-forge",', 'channels = ["./here",', "path_channel"),
        ('channels = ["conda-forge",', "channels = [3,", "wrong_type"),
        ("[dependencies]", "[[dependencies]]", "wrong_type"),
        ("[workspace]", "[workspace", "bad_toml"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_a_fault(old: str, new: str, code: str) -> None:
    assert old in TEXT
    assert code in {found for found, _, _ in faults(TEXT.replace(old, new, 1))}


def test_all_faults_come_in_one_error_each_with_its_line() -> None:
    text = (
        TEXT.replace('any = "*"', "any = 3").replace('alpha = ">=1"', 'alpha = ">>1"').replace('cuda = "12.4"', 'cuda = "x y"')
    )
    rows = text.split("\n")
    assert [(code, rows[(line or 0) - 1], field) for code, line, field in faults(text)] == [
        ("wrong_type", "any = 3", "dependencies.any"), ("bad_requirement", 'alpha = ">>1"', "pypi-dependencies.alpha"),
        ("bad_accelerator", 'cuda = "x y"', "system-requirements.cuda"),
    ]  # fmt: skip
    assert [code for code, _, _ in faults(TEXT.replace('gpu = ["gpu"]', 'gpu = ["gpux"]'), environment="gpu")] == [
        "unknown_feature"
    ]
