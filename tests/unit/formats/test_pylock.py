"""pylock.toml as a definition."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from wardian import formats
from wardian.digest import Digest
from wardian.errors import InvalidDefinition, InvalidInput
from wardian.formats.pylock import parse

if TYPE_CHECKING:
    from pathlib import Path

SHA = "a" * 64
WHEEL = f'wheels = [{{ url = "https://files.example/f/NAME-1.0-py3-none-any.whl", hashes = {{ sha256 = "{SHA}" }} }}]\n'
TEXT = f"""\
lock-version = "1.0"
requires-python = ">=3.11"
created-by = "another tool"

[[packages]]
name = "Alpha"
version = "1.0"
index = "https://index.example/simple"
dependencies = [{{ name = "beta" }}]
{WHEEL.replace("NAME", "alpha")}
[[packages]]
name = "beta"
version = "1.0"
index = "https://index.example/simple"
marker = "sys_platform == 'linux'"
{WHEEL.replace("NAME", "beta")}
"""


def test_the_definition_has_the_roots_and_the_digest(tmp_path: Path) -> None:
    (tmp_path / "pylock.dev.toml").write_text(TEXT)
    read = formats.read(tmp_path / "pylock.dev.toml")
    python = read.environment.python
    assert (read.format, python.manager, python.pip, python.requires_python) == ("pylock", "uv", ("alpha==1.0",), ">=3.11")
    assert python.pip_options == ("--index-url https://index.example/simple",)
    assert python.locked_input == Digest.of(TEXT.encode())
    assert read.sources == {python.locked_input: tmp_path / "pylock.dev.toml"}
    assert formats.read_text(read.text, "pylock").environment == read.environment


def test_without_dependencies_all_are_roots() -> None:
    locked = parse(TEXT.replace('dependencies = [{ name = "beta" }]\n', ""), "pylock.toml")
    assert locked.roots == ("alpha", "beta")


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ('lock-version = "1.0"', 'lock-version = "2.0"', "lock_version"),
        ('name = "Alpha"', 'name = "../x"', "bad_package"),
        ('version = "1.0"\nindex', "index", "bad_package"),
        (f'sha256 = "{SHA}"', 'md5 = "x"', "hash_missing"),
        ("url = ", "path = ", "locked_elsewhere"),
        ("dependencies", 'vcs = { type = "git" }\ndependencies', "locked_elsewhere"),
        ("dependencies", 'directory = { path = "." }\ndependencies', "locked_elsewhere"),
        ('dependencies = [{ name = "beta" }]', "dependencies = 3", "wrong_type"),
    ],
)  # fmt: skip
def test_what_cannot_be_taken_is_a_fault(old: str, new: str, code: str) -> None:
    assert old in TEXT
    with pytest.raises(InvalidDefinition) as caught:
        parse(TEXT.replace(old, new, 1), "pylock.toml")
    assert code in {fault.code for fault in caught.value.faults}


def test_a_fault_of_a_package_stands_in_its_line() -> None:
    with pytest.raises(InvalidDefinition) as caught:
        parse(TEXT.replace(f'sha256 = "{SHA}"', 'md5 = "x"', 1), "pylock.toml")
    [fault] = caught.value.faults
    assert TEXT.split("\n")[(fault.line or 0) - 1 :][:2] == ["[[packages]]", 'name = "Alpha"']
    assert fault.hint is not None


def test_damaged_tables_are_faults_and_no_crash() -> None:
    assert parse(TEXT + "[tool]\nwardian = 3\n", "pylock.toml").pythons == {}
    for more in ("[tool.wardian.python]\nx = 3\n", "[tool.wardian.python.x]\nversion = 3\n"):
        with pytest.raises(InvalidDefinition):
            parse(TEXT + more, "pylock.toml")
    with pytest.raises(InvalidDefinition):
        parse('lock-version = "1.0"\npackages = 3\n', "pylock.toml")


def test_it_is_not_edited() -> None:
    with pytest.raises(InvalidInput, match="those of a lock file"):
        formats.add(TEXT, "pylock", ["gamma"], manager="uv")
    with pytest.raises(InvalidInput):
        formats.remove(TEXT, "pylock", ["alpha"])
