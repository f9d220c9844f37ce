"""PEP 723 scripts: the block, its lines in the script, and what is refused."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import pytest
from tests.builders import an_environment

from wardian.errors import InvalidDefinition, InvalidInput
from wardian.formats import script
from wardian.formats.faults import Faults

if TYPE_CHECKING:
    from pathlib import Path

    from wardian.formats.read_definition import ReadDefinition

SCRIPT = '''\
#!/usr/bin/env python3
"""Trains."""
# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "NumPy >= 1.26",  # the array
#
#     'pandas; python_version < "3.13"',
# ]
#
# [tool.uv]
# no-index = true
# ///
import numpy
'''


def read(text: str, base: Path | None = None) -> ReadDefinition:
    return script.read(text, file="train.py", base=base)


def test_a_whole_script() -> None:
    result = read(SCRIPT)
    python = result.environment.python
    assert (python.manager, python.requires_python) == ("uv", ">=3.11")
    assert python.pip == ("numpy>=1.26", 'pandas; python_version < "3.13"')
    assert python.pip_options == ("--no-index",)
    assert (result.format, result.self_contained) == ("script", True)


def test_the_block_alone_is_kept() -> None:
    result = read(SCRIPT)
    assert result.text == "".join(line + "\n" for line in SCRIPT.splitlines()[2:13])
    again = read(result.text)
    assert (again.environment, again.text) == (result.environment, result.text)
    assert read(SCRIPT + "print(1)\n").text == result.text


def test_a_script_has_no_extras() -> None:
    with pytest.raises(InvalidDefinition, match="no_extras_here"):
        script.read(SCRIPT, file="train.py", base=None, extras=("dev",))


def test_local_code_is_digested(tmp_path: Path) -> None:
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg/setup.py").write_text("")
    result = read("# /// script\n# dependencies = ['pkg @ ./pkg']\n# ///\n", tmp_path)
    assert [s.path for s in result.environment.python.local] == ["./pkg"]
    assert list(result.sources.values()) == [tmp_path / "pkg"]
    assert not result.self_contained


@pytest.mark.parametrize(
    "text",
    [
        SCRIPT,
        SCRIPT.replace("\n", "\r\n"),
        "\ufeff" + SCRIPT,
        SCRIPT.replace("# ///\n", "# ///  \n"),
        "# /// other\n# x\n# ///\n\n" + SCRIPT,
        "x = 1 # /// script\n" + SCRIPT,
        SCRIPT + "\n# /// script-like\n# x\n# ///\n",
        "# ///\n# /// script x\n\n" + SCRIPT,
    ],
)
def test_the_block_is_found_among_other_comments(text: str) -> None:
    assert read(text).environment == read(SCRIPT).environment


FAULTS: dict[str, list[tuple[int | None, str, str]]] = {
    "": [(None, "", "no_script_block")],
    "print(1)\n": [(None, "", "no_script_block")],
    "# /// other\n# x\n# ///\n": [(None, "", "no_script_block")],
    "#/// script\n# ///\n": [(None, "", "no_script_block")],
    "x\n# /// script\n# dependencies = []\n": [(2, "", "unclosed_script_block")],
    "# /// script\n# ///\n": [(1, "", "unclosed_script_block")],
    "# /// script\n# x = 1\nprint()\n# ///\n": [(1, "", "unclosed_script_block")],
    "# /// script\n#x = 1\n# ///\n": [(1, "", "unclosed_script_block")],
    "# /// script\n# tool = {}\n# ///\n\n# /// script\n# tool = {}\n# ///\n": [(5, "", "several_script_blocks")],
    "# /// script\n# tool = {}\n# ///\n# /// script\n# tool = {}\n# ///\n": [(4, "", "several_script_blocks")],
    "# /// script\n# a = \n# ///\n": [(2, "", "bad_toml")],
    "\n\n# /// script\n# dependencies = [\n# 'a'\n# ///\n": [(5, "", "bad_toml")],
    "# /// script\n# dependencies = []\n# dependencies = []\n# ///\n": [(3, "", "duplicate_key")],
    "# /// script\n# x = " + "[" * 2000 + "\n# ///\n": [(2, "", "too_deep")],
    "#!/bin/sh\n# /// script\n# dependencies = 'a'\n# depends = 1\n# ///\n": [
        (3, "dependencies", "wrong_type"),
        (4, "depends", "unknown_key"),
    ],
    "import x\n\n# /// script\n#\n# dependencies = [\n#   'a',  # c\n#   'b=1',\n#   2,\n# ]\n# requires-python = 'x'\n# ///\n": [
        (7, "dependencies[1]", "bad_requirement"),
        (8, "dependencies[2]", "wrong_type"),
        (10, "requires-python", "bad_python_version"),
    ],
    "# /// script\n# dependencies = ['a @ ./missing']\n# [tool.uv]\n# index-url = './x'\n# ///\n": [
        (2, "dependencies[0]", "no_such_path"),
        (4, "tool.uv.index-url", "bad_pip_option"),
    ],
    "# /// script\n# [tool.uv]\n# index-url = 'https://u:word@example.org'\n# ///\n": [
        (3, "tool.uv.index-url", "secret_in_definition")
    ],
    # the specification's block ends at the last mark of its comment lines
    "# /// script\n# tool = {}\n# ///\n# more\n# ///\n": [(3, "", "bad_toml")],
}


@pytest.mark.parametrize(("text", "expected"), FAULTS.items(), ids=[text[:30] for text in FAULTS])
def test_each_fault_has_its_line_in_the_script(tmp_path: Path, text: str, expected: list[tuple[int | None, str, str]]) -> None:
    with pytest.raises(InvalidDefinition) as refused:
        read(text, tmp_path)
    assert [(fault.line, fault.field, fault.code) for fault in refused.value.faults] == expected
    assert {fault.file for fault in refused.value.faults} == {"train.py"}


def test_a_second_block_names_the_first() -> None:
    with pytest.raises(InvalidDefinition, match=r"train\.py:15: a second .* the first is on line 3"):
        read(SCRIPT + SCRIPT[SCRIPT.index("# ///") :])


def test_many_open_blocks_take_no_time() -> None:  # the specification's expression looks through all that follow, each time
    text = "# /// script\n" * 100_000
    started = time.process_time()
    with pytest.raises(InvalidDefinition):
        read(text)
    assert time.process_time() - started < 2


# the expression that PEP 723 gives
_SPECIFIED = re.compile(r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$")


@pytest.mark.parametrize(
    "text",
    [
        SCRIPT,
        SCRIPT + "# ///\n",
        "# /// a\n# b\n# /// script\n# tool={}\n# ///\n",
        "#\n# x\n" + SCRIPT,
        "# /// script\n#\n# ///",
    ],
)
def test_the_specification_finds_the_same_block(text: str) -> None:
    specified = [match for match in _SPECIFIED.finditer(text) if match["type"] == "script"]
    if not specified:
        with pytest.raises(InvalidDefinition):
            script.find_block(text, Faults("x"))
        return
    content = "".join(
        line[2:] if line.startswith("# ") else line[1:] for line in specified[0]["content"].splitlines(keepends=True)
    )
    block = script.find_block(text, Faults("x"))
    assert block.toml == content
    assert block.first == text.count("\n", 0, specified[0].start()) + 1


def test_write_and_read_give_the_content_back() -> None:
    env = an_environment(
        pip=["numpy>=1.26", 'a; os_name == "nt"'],
        requires_python=">=3.11",
        pip_options=["--index-url https://example.org/simple"],
    )
    text = script.write(env)
    assert read(text).environment.content == env.content
    assert all(line.startswith("#") for line in text.splitlines())
    compile(text, "train.py", "exec")
    with pytest.raises(InvalidInput, match=r"a script's block cannot hold python\.source"):
        script.write(an_environment(source="host"))
