"""Adding and removing in requirements files, pyproject.toml and scripts: every other character stays."""

from __future__ import annotations

import tomllib

import pytest

from wardian.errors import Conflict, InvalidDefinition, InvalidInput, NotFound
from wardian.formats import pyproject, requirements, script

TEXT = """\
# what we train with
--index-url https://example.org/simple
NumPy >= 1.26   # until the port is done
scikit-learn==1.5.0 \\
    --hash=sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef \\
    --hash=sha256:1123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef  # checked
-e ./pkg[dev]  # ours

# /// wardian-constraints
# numpy<3
# ///
a; os_name == "nt"
a; os_name == "posix"
"""


def changed(before: str, after: str) -> tuple[list[str], list[str]]:
    """Return the lines that went and those that came."""
    old, new = before.splitlines(), after.splitlines()
    return [line for line in old if line not in new], [line for line in new if line not in old]


def test_a_requirement_takes_the_place_of_its_project_s() -> None:
    text = requirements.add(TEXT, ["numpy>=2,<3"], manager="uv")
    assert text == TEXT.replace("NumPy >= 1.26   #", "numpy>=2,<3   #")
    assert requirements.add(text, ["NUMPY<3, >=2".replace("<3, >=2", ">=2,<3")], manager="uv") == text


def test_a_line_with_hashes_is_replaced_whole() -> None:
    text = requirements.add(TEXT, ["Scikit.Learn>=1.6"], manager="uv")
    assert "scikit-learn>=1.6  # checked\n-e ./pkg" in text
    assert "--hash" not in text


def test_editable_stays_editable() -> None:
    assert "\n-e ./pkg  # ours\n" in requirements.add(TEXT, ["./pkg"], manager="uv")


def test_new_ones_go_to_the_end() -> None:
    assert (
        requirements.add(TEXT, ["b", "c @ https://example.org/c.zip"], manager="uv")
        == TEXT + "b\nc @ https://example.org/c.zip\n"
    )
    assert requirements.add("", ["b"], manager="uv") == "b\n"
    assert requirements.add("a", ["b"], manager="uv") == "a\nb\n"
    assert requirements.add("a\r\n", ["b"], manager="uv") == "a\r\nb\r\n"
    text = requirements.add("a \\\n", ["b"], manager="uv")
    assert requirements.read(text, file="x", base=None).environment.python.pip == ("a", "b")


def test_markers_tell_lines_apart() -> None:
    assert changed(TEXT, requirements.add(TEXT, ["a>1; os_name == 'nt'"], manager="uv")) == (
        ['a; os_name == "nt"'],
        ['a>1; os_name == "nt"'],
    )
    assert changed(TEXT, requirements.add(TEXT, ["a; os_name == 'java'"], manager="uv")) == ([], ['a; os_name == "java"'])
    with pytest.raises(Conflict, match="asked for 2 times"):
        requirements.add(TEXT, ["a>1"], manager="uv")
    assert requirements.add("a; os_name == 'nt'\n", ["a>1"], manager="uv") == "a>1\n"


def test_removing_takes_all_lines_of_a_project() -> None:
    text = requirements.remove(TEXT, ["A", "Scikit_Learn", "./pkg"])
    assert text == TEXT[: TEXT.index("scikit")] + "\n# /// wardian-constraints\n# numpy<3\n# ///\n"


def test_what_is_not_there_is_named() -> None:
    with pytest.raises(NotFound, match="`torch`, `jax`") as missing:
        requirements.remove(TEXT, ["numpy", "torch", "jax"])
    assert missing.value.exit_code == 4
    with pytest.raises(NotFound):
        requirements.remove("# numpy\n--pre\n", ["numpy"])


@pytest.mark.parametrize("wrong", ["a=1", "--pre", "-r x", "", "/abs"])
def test_what_is_no_requirement_is_refused(wrong: str) -> None:
    with pytest.raises(InvalidInput):
        requirements.add(TEXT, [wrong], manager="uv")


@pytest.mark.parametrize("format_module", [requirements, pyproject, script])
def test_conda_packages_have_no_place_here(format_module: object) -> None:
    with pytest.raises(InvalidInput, match="holds no conda packages"):
        format_module.add("", ["numpy"], manager="conda")  # type: ignore[attr-defined]


def test_faulty_lines_are_left_alone() -> None:
    assert requirements.add("b=1\n--nope\na\n", ["a>1"], manager="uv") == "b=1\n--nope\na>1\n"


def test_a_faulty_item_of_an_array_is_left_alone() -> None:
    text = "[project]\ndependencies = ['b=1', 2, 'a']\n"
    assert pyproject.add(text, ["a>1"], manager="uv") == text.replace("'a'", '"a>1"')
    with pytest.raises(NotFound, match="`b=1`"):
        pyproject.remove(text, ["b=1"])


# -- TOML ----------------------------------------------------------------------------------------------------------------

LAYOUTS = [
    "dependencies = []",
    "dependencies = [ ]  # none",
    "dependencies = [\n]",
    "dependencies = [\n    # none yet\n]",
    "dependencies = ['a']",
    "dependencies = ['a',]",
    "dependencies = ['a', \"b\"] # c",
    "dependencies = [\n  'a',\n  'b',  # bee\n]",
    "dependencies = [\n  'a',\n  'b'  # bee\n]",
    "dependencies = [\n  'a', 'b',\n  'c'\n]",
    "dependencies = ['a',\n  'b']",
    "dependencies = [\n  'a'\n  ,'b'\n  ]",
    "dependencies = [\n\t'a', # one, ['\n\t# two\n\t'b' # three\n\t# four\n\t, # five\n\t# six\n]",
    "dependencies = [ # open\n  'a', # one\n\n  'b', 'c' ] # close",
    "dependencies = [\n  '''a''', \"\"\"b\"\"\",\n  \"c; os_name == 'x]'\",\n]",
]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout_of_an_array_can_be_edited(layout: str) -> None:
    text = f"# top\n[project]\nname = 'p'\n{layout}\nversion = '1'  # last\n\n[tool.x]\ny = [ 'z' ]\n"
    before = tomllib.loads(text)["project"]["dependencies"]
    more = pyproject.add(text, ["New[x] >= 1", "other; os_name == 'nt'"], manager="uv")
    assert tomllib.loads(more)["project"]["dependencies"] == [*before, "new[x]>=1", 'other; os_name == "nt"']
    assert _comments(more) == _comments(text)
    assert _signs(pyproject.remove(pyproject.remove(more, ["other"]), ["new"])) == _signs(text)
    for i, item in enumerate(before):
        name = item.partition(";")[0]
        less = pyproject.remove(text, [name])
        assert tomllib.loads(less)["project"]["dependencies"] == before[:i] + before[i + 1 :]
        assert len(_comments(less)) >= len(_comments(text)) - 1  # the one of its own line at most
        other = pyproject.add(text, [f"{name}==9"], manager="uv")
        assert tomllib.loads(other)["project"]["dependencies"] == [*before[:i], f"{name}==9", *before[i + 1 :]]
        assert _comments(other) == _comments(text)
    if before:
        none = pyproject.remove(text, [item.partition(";")[0] for item in before])
        assert tomllib.loads(none)["project"]["dependencies"] == []


def _signs(text: str) -> str:
    return "".join(text.replace(",", "").split())


def _comments(text: str) -> list[str]:
    return [line[line.index("#") :].rstrip() for line in text.splitlines() if "#" in line]


def test_a_removed_line_takes_its_comment_along() -> None:
    text = "[project]\ndependencies = [\n  # first\n  'a',  # why a\n  'b',  # why b\n]\n"
    assert pyproject.remove(text, ["a"]) == "[project]\ndependencies = [\n  # first\n  'b',  # why b\n]\n"


@pytest.mark.parametrize(
    "text",
    [
        "[project]\nname = 'p'  # c\n\n[project.urls]\na = 'b'\n",
        "[project]\n# c\n",
        "project.name = 'p'  # c\n[tool.x]\n",
        "[tool.x]\ny = 1\n[project]  # c\nname = 'p'",
    ],
)
def test_a_list_that_is_missing_is_made(text: str) -> None:
    new = pyproject.add(text, ["numpy>=2"], manager="uv")
    expected = tomllib.loads(text)
    expected["project"]["dependencies"] = ["numpy>=2"]
    assert tomllib.loads(new) == expected
    assert _comments(new) == _comments(text)
    assert pyproject.read(new, file="x", base=None).environment.python.pip == ("numpy>=2",)


def test_extras_and_groups_in_use_are_edited_where_they_stand() -> None:
    text = """\
[project]
dependencies = ['a']
[project.optional-dependencies]
Dev_x = ['b']  # dev
rest = ['d']
[dependency-groups]
test = ['c', {include-group = "more"}]
more = ['e']
[tool.wardian]
extras = ['dev-x']
groups = ['Test']
"""
    assert pyproject.add(text, ["b>1", "c>2"], manager="uv") == text.replace("'b'", '"b>1"').replace("'c'", '"c>2"')
    assert pyproject.remove(text, ["b", "c"]) == text.replace("'b'", "").replace("'c', ", "")
    assert "['a', \"d\"]" in pyproject.add(text, ["d"], manager="uv")  # not in use
    with pytest.raises(NotFound):
        pyproject.remove(text, ["d"])
    alone = "[dependency-groups]\ntest = ['c']\n[tool.wardian]\ngroups = ['test']\n"
    assert pyproject.add(alone, ["d"], manager="uv") == alone.replace("'c'", "'c', \"d\"")


def test_without_a_project_there_is_no_place() -> None:
    with pytest.raises(InvalidInput, match="no \\[project\\] table"):
        pyproject.add("[tool.x]\n", ["a"], manager="uv")
    with pytest.raises(InvalidDefinition, match="bad_toml"):
        pyproject.add("[project\n", ["a"], manager="uv")


@pytest.mark.parametrize("wrong", ["./pkg", "https://example.org/a.zip", "a --hash=sha256:" + "0" * 64, "a=1"])
def test_toml_takes_named_requirements_only(wrong: str) -> None:
    with pytest.raises(InvalidInput):
        pyproject.add("[project]\n", [wrong], manager="uv")


SCRIPT = "#!/usr/bin/python\n# /// script\n# dependencies = [\n#   'a',  # why\n# ]\n#\n# [tool.uv]\n# no-index = true\n# ///\nprint('# ///')\n"


def test_a_script_is_edited_in_its_block() -> None:
    assert script.add(SCRIPT, ["a>1"], manager="uv") == SCRIPT.replace("'a'", '"a>1"')
    assert script.add(SCRIPT, ["b"], manager="uv") == SCRIPT.replace("# why\n", '# why\n#   "b",\n')
    assert script.remove(SCRIPT, ["A"]) == SCRIPT.replace("#   'a',  # why\n", "")
    windows = SCRIPT.replace("\n", "\r\n")
    assert script.add(windows, ["b"], manager="uv") == windows.replace("# why\r\n", '# why\r\n#   "b",\r\n')
    with pytest.raises(NotFound):
        script.remove(SCRIPT, ["b"])
    with pytest.raises(InvalidDefinition, match="no_script_block"):
        script.add("print()\n", ["b"], manager="uv")


def test_a_script_without_a_list_gets_one() -> None:
    text = "# /// script\n# [tool.uv]\n# no-index = true  # here\n# ///\n"
    new = script.add(text, ["b"], manager="uv")
    read = script.read(new, file="x", base=None).environment.python
    assert (read.pip, read.pip_options) == (("b",), ("--no-index",))
    assert "# here" in new
