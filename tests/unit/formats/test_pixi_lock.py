"""pixi.lock as a definition: what an environment holds, on which platforms, and what cannot be taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from rattler import LockFile

from wardian import formats
from wardian.digest import Digest
from wardian.errors import InvalidDefinition, InvalidInput
from wardian.formats.pixi_lock_text import derived_build_number, parse

if TYPE_CHECKING:
    from pathlib import Path

    from wardian.formats.read_definition import ReadDefinition

FORGE = "https://conda.anaconda.org/conda-forge"
SHA = "a" * 64
MD5 = "b" * 32
TEXT = f"""\
version: 6
environments:
  default:
    channels:
    - url: {FORGE}/
    indexes:
    - https://index.example/simple
    options:
      pypi-prerelease-mode: if-necessary-or-explicit
    packages:
      linux-64:
      - conda: {FORGE}/linux-64/python-3.12.2-hab00c5b_0_cpython.conda
      - conda: {FORGE}/linux-64/numlib-1.2.0-py312_5.conda
      - conda: {FORGE}/noarch/tzdata-2024a-h0c530f3_0.conda
      - conda: https://conda.corp.example/team/noarch/helper-1.0-pyhd8ed1ab_1.conda
      - pypi: https://files.example/packages/alpha-1.0-py3-none-any.whl
      - pypi: git+https://git.example/mine?rev=main#0123456789012345678901234567890123456789
      - pypi: ./lib
      osx-arm64:
      - conda: {FORGE}/noarch/tzdata-2024a-h0c530f3_0.conda
      linux-ppc64le:
      - conda: {FORGE}/noarch/tzdata-2024a-h0c530f3_0.conda
  test:
    channels:
    - url: {FORGE}/
    packages:
      linux-64:
      - conda: {FORGE}/noarch/tzdata-2024a-h0c530f3_0.conda
packages:
- conda: {FORGE}/linux-64/python-3.12.2-hab00c5b_0_cpython.conda
  sha256: {SHA}
  md5: {MD5}
  depends:
  - tzdata
  - __glibc >=2.17,<3.0.a0
  constrains:
  - python_abi 3.12.* *_cp312
  license: Python-2.0
  size: 32312631
  timestamp: 1708118077305
  python_site_packages_path: lib/python3.12/site-packages
- conda: {FORGE}/linux-64/numlib-1.2.0-py312_5.conda
  build_number: 7
  sha256: {SHA}
  md5: {MD5}
  depends:
  - python >=3.12,<3.13.0a0
  size: 1
- conda: {FORGE}/noarch/tzdata-2024a-h0c530f3_0.conda
  sha256: {SHA}
  md5: {MD5}
  license: LicenseRef-Public-Domain
  size: 119815
  timestamp: 1706886945727
- conda: https://conda.corp.example/team/noarch/helper-1.0-pyhd8ed1ab_1.conda
  sha256: {SHA}
  md5: {MD5}
  depends:
  - python >=3.9
- pypi: https://files.example/packages/alpha-1.0-py3-none-any.whl
  name: alpha
  version: '1.0'
  sha256: {SHA}
  requires_dist:
  - mine>=1 ; extra == 'x'
  requires_python: '>=3.9'
- pypi: git+https://git.example/mine?rev=main#0123456789012345678901234567890123456789
  name: mine
  version: '0.5'
- pypi: ./lib
  name: lib
  version: 0.1.0
  sha256: {SHA}
  editable: true
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/setup.py").write_text("")
    (tmp_path / "pixi.lock").write_text(TEXT)
    return tmp_path


def faults(text: str) -> list[tuple[str, int | None]]:
    with pytest.raises(InvalidDefinition) as caught:
        formats.read_text(text, "pixi-lock", file="pixi.lock")
    return [(fault.code, fault.line) for fault in caught.value.faults]


def lines(read: ReadDefinition) -> list[str]:
    return [str(loss) for loss in read.losses]


def test_the_definition_has_the_channels_and_what_nothing_else_needs(place: Path) -> None:
    read = formats.read(place / "pixi.lock")
    python = read.environment.python
    assert (python.manager, python.channels) == ("conda", ("conda-forge", "https://conda.corp.example/team"))
    assert python.conda == ("helper==1.0", "numlib==1.2.0", "python==3.12.2")
    mine = "mine @ git+https://git.example/mine@0123456789012345678901234567890123456789"
    assert python.pip == ("alpha==1.0", mine, "lib @ ./lib")
    assert python.pip_options == ("--index-url https://index.example/simple",)
    assert python.locked_input == Digest.of(TEXT.encode())
    assert read.texts == {python.locked_input: ("pixi.lock", TEXT)}
    assert formats.read_text(read.text, read.format, local=python.local).environment == read.environment
    assert lines(read) == [
        f"dropped: {place}/pixi.lock environments: this is `default`; the others are left out: test (`--environment NAME` takes one)"
    ]


def test_another_environment_is_part_of_what_is_kept(place: Path) -> None:
    read = formats.read(place / "pixi.lock", environment="test")
    assert read.environment.python.conda == ("tzdata==2024a",)
    (text,) = [text for _, text in read.texts.values()]
    assert text == f"{TEXT}wardian:\n  environment: test\n"
    assert set(parse(text, "pixi.lock").platforms or ()) == {"linux/amd64"}
    assert read.environment.python.locked_input == Digest.of(text.encode())
    with pytest.raises(InvalidDefinition, match="no environment `prod`"):
        formats.read(place / "pixi.lock", environment="prod")


def test_every_field_is_what_rattler_reads(place: Path) -> None:
    """The format's own reader, on the same file: what is not written is derived in the same way."""
    (place / "pixi.lock").write_text(TEXT)
    environment = LockFile.from_path(place / "pixi.lock").default_environment()
    assert environment is not None
    (records,) = [found for name, found in environment.conda_repodata_records().items() if name == "linux-64"]
    platforms = parse(TEXT, "pixi.lock").platforms
    assert platforms is not None
    ours = platforms["linux/amd64"].conda
    assert len(ours) == len(records) == 4
    for one, record in zip(sorted(ours, key=lambda o: o.name), sorted(records, key=lambda r: r.name.normalized), strict=True):
        noarch = "python" if record.noarch.python else "generic" if record.noarch.generic else ""
        assert (one.name, one.version, one.build, one.build_number, one.subdir, one.file, one.noarch) == (
            record.name.normalized, str(record.version), str(record.build), record.build_number, record.subdir, record.file_name, noarch,
        )  # fmt: skip
        assert (one.depends, one.constrains, one.size_bytes, one.license) == (
            tuple(record.depends), tuple(record.constrains), record.size, record.license or "",
        )  # fmt: skip
        assert one.milliseconds == (round(record.timestamp.timestamp() * 1000) if record.timestamp else None)
        assert record.channel is not None
        assert one.channel == record.channel.rstrip("/")
    assert set(platforms) == {"linux/amd64", "darwin/arm64"}


@pytest.mark.parametrize(
    ("build", "number"), [("2", 2), ("py313hb6a6212_1", 1), ("h803f02a_3", 3), ("foobar", 0), ("123_", 0), ("", 0)]
)
def test_a_build_number_is_the_end_of_the_build(build: str, number: int) -> None:
    assert derived_build_number(build) == number


@pytest.mark.parametrize("version", [4, 5])
def test_older_versions_name_kind_and_url(version: int) -> None:
    text = f"""\
version: {version}
environments:
  default:
    channels:
    - url: {FORGE}/
    packages:
      linux-64:
      - conda: {FORGE}/linux-64/python-3.12.2-hab00c5b_0_cpython.conda
      - pypi: https://files.example/alpha-1.0-py3-none-any.whl
packages:
- kind: conda
  name: python
  version: 3.12.2
  build: hab00c5b_0_cpython
  subdir: linux-64
  url: {FORGE}/linux-64/python-3.12.2-hab00c5b_0_cpython.conda
  sha256: {SHA}
- kind: pypi
  name: alpha
  version: '1.0'
  url: https://files.example/alpha-1.0-py3-none-any.whl
  sha256: {SHA}
"""
    python = formats.read_text(text, "pixi-lock").environment.python
    assert (python.conda, python.pip) == (("python==3.12.2",), ("alpha==1.0",))


def test_version_7_says_the_index_of_a_package() -> None:
    text = TEXT.replace("version: 6", "version: 7").replace(
        "  version: '1.0'\n", "  version: '1.0'\n  index: https://own.example/simple\n"
    )
    (alpha,) = [one for one in parse(text, "pixi.lock").packages if one.name == "alpha"]
    assert alpha.index == "https://own.example/simple"


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("version: 6", "version: 8", "lock_version"),
        ("version: 6", "version: [6]", "lock_version"),
        ("environments:\n  default:", "environments:\n  other:", "unknown_environment"),
        (f"- conda: {FORGE}/linux-64/numlib-1.2.0-py312_5.conda\n  build_number: 7", "- conda: 3", "bad_package"),
        (f"- conda: {FORGE}/linux-64/numlib-1.2.0-py312_5.conda\n  build_number: 7", "- x: 3", "bad_package"),
        ("build_number: 7", "build_number: x", "wrong_type"),
        ("build_number: 7", "build_number: [7]", "wrong_type"),
        ("size: 32312631", "size: -1", "wrong_type"),
        (f"sha256: {SHA}", "sha256: abc", "hash_missing"),
        ("  depends:\n  - python >=3.9\n", "  depends: python\n", "wrong_type"),
        ("  - tzdata\n", "  - [tzdata]\n", "wrong_type"),
        ("      linux-64:\n      - conda", "      linux-64:\n      - x: 1\n      - conda", "bad_package"),
        ("name: alpha", "name: -r x", "bad_package"),
        ("  version: '1.0'\n", "", "bad_package"),
        ("  version: '1.0'\n", "  version: git+x\n", "bad_package"),
        ("    packages:\n", "    packages: 3\n    others:\n", "wrong_type"),
        (f"    - url: {FORGE}/\n", "    - [1]\n", "wrong_type"),
        ("python-3.12.2-hab00c5b_0_cpython.conda", "python.conda", "locked_elsewhere"),
        ("version: 6", "version: &a [*a]", "recursive_alias"),
        ("./lib", "/abs/lib", "absolute_path"),
        ("./lib", "./missing", "no_such_path"),
    ],
)  # fmt: skip
def test_what_cannot_be_taken_is_a_fault(old: str, new: str, code: str) -> None:
    assert old in TEXT
    text = TEXT.replace(old, new) if old.startswith(("python-", "./")) else TEXT.replace(old, new, 1)
    assert code in {found for found, _ in faults(text)}


def test_all_faults_come_in_one_error_each_with_its_line() -> None:
    text = (
        TEXT.replace("build_number: 7", "build_number: x")
        .replace("name: alpha", "name: '-'")
        .replace("size: 119815", "size: many")
    )
    found = faults(text)
    assert [code for code, _ in found if code != "no_such_path"] == ["wrong_type", "wrong_type", "wrong_type", "bad_package"]
    rows = text.split("\n")
    assert {rows[(line or 0) - 1].partition(":")[0] for _, line in found} == {"- conda", "- pypi"}


def test_a_huge_file_is_refused_by_its_size(tmp_path: Path) -> None:
    with (tmp_path / "pixi.lock").open("wb") as file:
        file.truncate(100 << 20)
    with pytest.raises(InvalidDefinition, match="larger than"):
        formats.read(tmp_path / "pixi.lock")


def test_a_bomb_of_aliases_is_refused() -> None:
    bomb = "version: 6\na0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12))
    assert faults(bomb) == [("yaml_bomb", 5)]


def test_lint_asks_for_no_python_and_no_versions(place: Path) -> None:
    from wardian.lint import lint_file

    (place / "pixi.toml").write_text(
        '[workspace]\nchannels = ["conda-forge"]\nplatforms = ["linux-64"]\n[dependencies]\nnumlib = "*"\n'
    )
    found = [one for one in lint_file(place / "pixi.lock").findings if one.severity != "note"]
    assert [one.id for one in found] == []


def test_it_is_not_edited_nor_written(place: Path) -> None:
    with pytest.raises(InvalidInput, match="those of a lock file"):
        formats.add(TEXT, "pixi-lock", ["gamma"], manager="conda")
    with pytest.raises(InvalidInput, match="no lock file"):
        formats.write(formats.read(place / "pixi.lock").environment, "pixi-lock")
