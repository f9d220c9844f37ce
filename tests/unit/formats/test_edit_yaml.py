"""Edits of conda's and Wardian's YAML, character by character."""

from __future__ import annotations

from textwrap import dedent

import pytest

from wardian import formats
from wardian.errors import Conflict, InvalidDefinition, InvalidInput, NotFound

CONDA = """\
# My environment
name: sklearn   # its name

channels:
  - conda-forge

dependencies:
  # the interpreter
  - python=3.11     # not 3.12 yet

  - numpy >=1.26, <2  # arrays
  - "pandas"
  - pip
  - pip:
      # from the index
      - Scikit_Learn >= 1.4  # models
      - -e ./pkg             # ours

  # the end of the list
variables:
  A: on
"""


def edited(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1
    return text.replace(old, new)


@pytest.mark.parametrize(
    ("requirement", "old", "new"),
    [
        ("numpy=2", "numpy >=1.26, <2", "numpy=2"),
        ("NumPy >= 2", "numpy >=1.26, <2", "numpy>=2"),
        ("python 3.12.*", "python=3.11 ", "python 3.12.* "),
        ("pandas>=2", '"pandas"', "pandas>=2"),
        ("conda-forge::pandas", '"pandas"', "conda-forge::pandas"),
        ("pandas[version='>=2']", '"pandas"', "pandas[version='>=2']"),
        ("scikit-learn==1.5", "Scikit_Learn >= 1.4 ", "scikit-learn==1.5 "),
        ("scipy", "  - pip:\n", "  - scipy\n  - pip:\n"),
        ("scipy >=1, <2", "  - pip:\n", "  - scipy>=1,<2\n  - pip:\n"),
        ("git+https://git.example.org/a.git", "# ours\n", "# ours\n      - git+https://git.example.org/a.git\n"),
        ("./other", "# ours\n", "# ours\n      - ./other\n"),
        ("https://conda.example.org/c/noarch/tool-1-0.conda", "  - pip:\n", "  - https://conda.example.org/c/noarch/tool-1-0.conda\n  - pip:\n"),
    ],
)  # fmt: skip
def test_adding_to_a_conda_file(requirement: str, old: str, new: str) -> None:
    assert formats.add(CONDA, "conda", [requirement], manager="conda") == edited(CONDA, old, new)


@pytest.mark.parametrize(
    ("requirement", "old", "new"),
    [
        ("requests>=2", "# ours\n", "# ours\n      - requests>=2\n"),
        ("scikit-learn", "Scikit_Learn >= 1.4 ", "scikit-learn "),
        ("numpy==1.26.4", "# ours\n", "# ours\n      - numpy==1.26.4\n"),
        ('x; python_version < "3.12"', "# ours\n", '# ours\n      - x; python_version < "3.12"\n'),
    ],
)
def test_adding_among_pips_lines(requirement: str, old: str, new: str) -> None:
    assert formats.add(CONDA, "conda", [requirement], manager="pip") == edited(CONDA, old, new)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("numpy", "  - numpy >=1.26, <2  # arrays\n", ""),
        ("NumPy", "  - numpy >=1.26, <2  # arrays\n", ""),
        ("pandas", '  - "pandas"\n', ""),
        ("pip", "  - pip\n", ""),
        ("python", "  - python=3.11     # not 3.12 yet\n", ""),
        ("scikit.learn", "      - Scikit_Learn >= 1.4  # models\n", ""),
        ("./pkg", "      - -e ./pkg             # ours\n", ""),
    ],
)
def test_removing_from_a_conda_file(name: str, old: str, new: str) -> None:
    assert formats.remove(CONDA, "conda", [name]) == edited(CONDA, old, new)


def test_several_at_once() -> None:
    changed = formats.remove(CONDA, "conda", ["numpy", "pandas", "scikit-learn", "./pkg"])
    assert formats.read_text(changed, "conda").environment.python.pip == ()
    assert "- pip: []" in changed
    assert changed.count("#") == CONDA.count("#") - 3
    changed = formats.add(CONDA, "conda", ["a", "b>=1", "a=2"], manager="conda")
    assert changed == edited(CONDA, "  - pip:\n", "  - a=2\n  - b>=1\n  - pip:\n")


LAYOUTS = [
    # before, added, after
    ("", "conda", "dependencies:\n  - numpy\n"),
    ("# only a comment", "conda", "# only a comment\ndependencies:\n  - numpy\n"),
    ("name: x", "conda", "name: x\ndependencies:\n  - numpy\n"),
    ("name: x\n# end\n", "conda", "name: x\ndependencies:\n  - numpy\n# end\n"),
    ("dependencies:\n", "conda", "dependencies:\n  - numpy\n"),
    ("dependencies:   # none yet\nname: x\n", "conda", "dependencies:   # none yet\n  - numpy\nname: x\n"),
    ("dependencies: []\n", "conda", "dependencies: [numpy]\n"),
    ("dependencies: [ ]  # c\n", "conda", "dependencies: [numpy ]  # c\n"),
    ("dependencies: ~\n", "conda", "dependencies: [numpy]\n"),
    ("dependencies: [a, b]  # c\n", "conda", "dependencies: [a, b, numpy]  # c\n"),
    ("dependencies: [a, b,]\n", "conda", "dependencies: [a, b, numpy,]\n"),
    ("dependencies: [\n  a,  # one\n  b  # two\n]\n", "conda", "dependencies: [\n  a,  # one\n  b, numpy  # two\n]\n"),
    ("dependencies:\n- a\n- b", "conda", "dependencies:\n- a\n- b\n- numpy\n"),
    ("dependencies:\n      -   a\n\nname: x\n", "conda", "dependencies:\n      -   a\n      - numpy\n\nname: x\n"),
    ("dependencies:\n- |\n  a\n\n# c\nname: x\n", "conda", "dependencies:\n- |\n  a\n- numpy\n\n# c\nname: x\n"),
    ("dependencies:\n- >-\n  a\n  >=1\n", "conda", "dependencies:\n- >-\n  a\n  >=1\n- numpy\n"),
    ("dependencies: [a, {pip: [b]}]\n", "conda", "dependencies: [a, numpy, {pip: [b]}]\n"),
    ("{name: x, dependencies: [a]}", "conda", "{name: x, dependencies: [a, numpy]}"),
    ("{name: x}\n", "conda", "{name: x, dependencies: [numpy]}\n"),
    ("{}\n", "conda", "{dependencies: [numpy]}\n"),
    ('{"name": "x", "dependencies": ["a"]}\n', "conda", '{"name": "x", "dependencies": ["a", numpy]}\n'),
    ("---\ndependencies:\n- a\n...\n", "conda", "---\ndependencies:\n- a\n- numpy\n...\n"),
    ("name: x\n...\n", "conda", "name: x\ndependencies:\n  - numpy\n...\n"),
    ("", "pip", "dependencies:\n  - pip:\n      - numpy\n"),
    ("dependencies: []\n", "pip", "dependencies: [{pip: [numpy]}]\n"),
    ("dependencies: [a]\n", "pip", "dependencies: [a, {pip: [numpy]}]\n"),
    ("dependencies:\n- a  # c\n", "pip", "dependencies:\n- a  # c\n- pip:\n    - numpy\n"),
    ("dependencies:\n  - a\n  # c\nname: x\n", "pip", "dependencies:\n  - a\n  - pip:\n      - numpy\n  # c\nname: x\n"),
    ("dependencies:\n  - pip:\n", "pip", "dependencies:\n  - pip:\n      - numpy\n"),
    ("dependencies:\n  - pip:  # c\n  - a\n", "pip", "dependencies:\n  - pip:  # c\n      - numpy\n  - a\n"),
    ("dependencies:\n  - pip: []\n", "pip", "dependencies:\n  - pip: [numpy]\n"),
    ("dependencies:\n- pip:\n  - a\n- b\n", "pip", "dependencies:\n- pip:\n  - a\n  - numpy\n- b\n"),
    ("dependencies:\n- pip:\n  - a\n- b\n", "conda", "dependencies:\n- numpy\n- pip:\n  - a\n- b\n"),
]  # fmt: skip


@pytest.mark.parametrize(("before", "manager", "after"), LAYOUTS, ids=range(len(LAYOUTS)))
def test_every_layout_is_kept(before: str, manager: str, after: str) -> None:
    assert formats.add(before, "conda", ["numpy"], manager=manager) == after


REMOVALS = [
    ("dependencies: [a, numpy, b]\n", "dependencies: [a, b]\n"),
    ("dependencies: [numpy, b]\n", "dependencies: [b]\n"),
    ("dependencies: [a, numpy]\n", "dependencies: [a]\n"),
    ("dependencies: [a, numpy,]\n", "dependencies: [a,]\n"),
    ("dependencies: [numpy]  # c\n", "dependencies: []  # c\n"),
    ("dependencies: [\n  a,  # one\n  numpy  # two\n]\n", "dependencies: [\n  a  # one\n]\n"),
    ("dependencies: [\n  numpy,  # one\n  # free\n  b  # two\n]\n", "dependencies: [\n  # free\n  b  # two\n]\n"),
    ("dependencies:\n- numpy\n", "dependencies: []\n"),
    ("dependencies:  # c\n- numpy  # d\n# e\n", "dependencies: []  # c\n# e\n"),
    ("dependencies:\n- a\n- numpy", "dependencies:\n- a\n"),
    ("dependencies:\n- numpy\n\n- b\n", "dependencies:\n\n- b\n"),
    ("dependencies:\n- |\n  numpy\n\n- b\n", "dependencies:\n\n- b\n"),
    ("dependencies:\n-\n  numpy\n- b\n", "dependencies:\n- b\n"),
    ("dependencies:\n- a\n- pip: [numpy]\n", "dependencies:\n- a\n- pip: []\n"),
    ("dependencies:\n- a\n- pip:\n  - numpy\n", "dependencies:\n- a\n- pip: []\n"),
    ("dependencies:\n- numpy>=1\n- a\n- numpy<2\n", "dependencies:\n- a\n"),
    ("dependencies:\n- numpy\n- pip:\n  - numpy\n  - b\n", "dependencies:\n- pip:\n  - b\n"),
]


@pytest.mark.parametrize(("before", "after"), REMOVALS, ids=range(len(REMOVALS)))
def test_what_is_removed_leaves_the_rest(before: str, after: str) -> None:
    assert formats.remove(before, "conda", ["numpy"]) == after


def test_a_name_that_stands_twice_stands_once_after_a_replacement() -> None:
    before = "dependencies:\n- numpy>=1  # a\n- b\n- numpy<2\n"
    assert formats.add(before, "conda", ["numpy=1.26"], manager="conda") == "dependencies:\n- numpy=1.26  # a\n- b\n"


WARDIAN = """\
# yaml-language-server: $schema=x
name: x
python:
    # uv's
    version: "3.11"
    pip:
        - numpy>=1  # arrays
        - pandas
docker:
    base_image: ubuntu
"""


@pytest.mark.parametrize(
    ("before", "manager", "after"),
    [
        (WARDIAN, "uv", edited(WARDIAN, "- pandas\n", "- pandas\n        - scipy\n")),
        ("name: x\n", "uv", "name: x\npython:\n  pip:\n    - scipy\n"),
        ("name: x\n", "conda", "name: x\npython:\n  conda:\n    - scipy\n"),
        ("python:\ndocker: {base_image: a}\n", "uv", "python:\n  pip:\n    - scipy\ndocker: {base_image: a}\n"),
        ("python: {}\n", "uv", "python: {pip: [scipy]}\n"),
        ("python: {manager: uv}\n", "uv", "python: {manager: uv, pip: [scipy]}\n"),
        ("python:\n  manager: conda\n  pip: [a]\n", "conda", "python:\n  manager: conda\n  pip: [a]\n  conda:\n    - scipy\n"),
        ("python:\n  pip:\n", "uv", "python:\n  pip:\n    - scipy\n"),
        ("", "uv", "python:\n  pip:\n    - scipy\n"),
    ],
)
def test_adding_to_wardian_yaml(before: str, manager: str, after: str) -> None:
    assert formats.add(before, "wardian", ["scipy"], manager=manager) == after


def test_replacing_and_removing_in_wardian_yaml() -> None:
    assert formats.add(WARDIAN, "wardian", ["NumPy==2"], manager="uv") == edited(WARDIAN, "numpy>=1 ", "numpy==2 ")
    assert formats.remove(WARDIAN, "wardian", ["pandas"]) == edited(WARDIAN, "        - pandas\n", "")


@pytest.mark.parametrize("kind", ["conda", "wardian"])
def test_removing_what_is_not_there_names_all_of_it(kind: str) -> None:
    text = CONDA if kind == "conda" else WARDIAN
    with pytest.raises(NotFound) as caught:
        formats.remove(text, kind, ["numpy", "tensorflow", "torch"])
    assert caught.value.stable_code == "no_such_requirement"
    assert "`tensorflow`, `torch`" in caught.value.message


@pytest.mark.parametrize(
    ("requirement", "code"),
    [
        ("numpy >=1 <2", "bad_match_spec"),
        ("requests[socks]", "bad_match_spec"),
        ("", "bad_match_spec"),
        ("--pre", "bad_match_spec"),
    ],
)
def test_what_is_no_requirement_is_refused(requirement: str, code: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        formats.add(CONDA, "conda", [requirement], manager="conda")
    assert caught.value.stable_code == code


def test_a_faulty_file_is_not_edited() -> None:
    for text in ("a: [\n", "dependencies: [a]\ndependencies: [b]\n", "- a\n", "dependencies: a\n", "python: 3\n"):
        with pytest.raises(InvalidDefinition):
            formats.add(text, "wardian" if "python" in text else "conda", ["x"], manager="conda")


def test_aliases_that_tie_lists_together_are_not_edited() -> None:
    text = dedent("""\
        x: &deps [numpy]
        dependencies: *deps
        """)
    with pytest.raises(InvalidInput) as caught:
        formats.add(text, "conda", ["scipy"], manager="conda")
    assert caught.value.stable_code == "edit_by_hand"


def test_pips_lines_with_other_markers_are_not_guessed_at() -> None:
    text = "dependencies:\n- pip:\n  - a==1; sys_platform == 'linux'\n  - a==2; sys_platform == 'darwin'\n"
    with pytest.raises(Conflict):
        formats.add(text, "conda", ["a==3"], manager="pip")


def test_a_faulty_item_beside_is_left_alone() -> None:
    text = "dependencies:\n- =broken\n- numpy\n"
    assert formats.add(text, "conda", ["numpy=2"], manager="conda") == "dependencies:\n- =broken\n- numpy=2\n"
