"""pyproject.toml: dependencies, extras, groups, uv's settings; every fault with its line and field."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from tests.builders import an_environment

from wardian.definition.environment import LocalSource
from wardian.digest import Digest
from wardian.errors import InvalidDefinition, InvalidInput
from wardian.formats import pyproject

if TYPE_CHECKING:
    from pathlib import Path

    from wardian.formats.read_definition import ReadDefinition

WHOLE = """\
[project]
name = "My_Project"
version = "1.0"
requires-python = ">= 3.11"  # since tomllib
dependencies = [
    "NumPy >= 1.26",  # the array
    "pandas[excel]; python_version < '3.13'",
]

[project.optional-dependencies]
plot = ["matplotlib>=3", "my.project[fast]; sys_platform == 'linux'"]
fast = ["numba; os_name == 'posix'"]
all = ["my-project[plot,fast]"]

[dependency-groups]
Test = ["pytest", {include-group = "lint_it"}]
lint-it = ["ruff"]
"""


def read(text: str, base: Path | None = None, **options: Any) -> ReadDefinition:
    return pyproject.read(text, file="pyproject.toml", base=base, **options)


def faults_of(text: str, base: Path | None = None, **options: Any) -> list[tuple[int | None, str, str]]:
    with pytest.raises(InvalidDefinition) as refused:
        read(text, base, **options)
    assert all(fault.file == "pyproject.toml" for fault in refused.value.faults)
    return [(fault.line, fault.field, fault.code) for fault in refused.value.faults]


# -- what a file says ----------------------------------------------------------------------------------------------------


def test_dependencies_and_python() -> None:
    result = read(WHOLE)
    assert result.environment.python.manager == "uv"
    assert result.environment.python.pip == ("numpy>=1.26", 'pandas[excel]; python_version < "3.13"')
    assert result.environment.python.requires_python == ">=3.11"
    assert result.environment.name is None
    assert (result.format, result.text, result.self_contained, result.warnings) == ("pyproject", WHOLE, True, ())


def test_extras_follow_the_project_s_own_extras() -> None:
    pip = read(WHOLE, extras=("PLOT",)).environment.python.pip
    assert pip[2:] == ("matplotlib>=3", 'numba; (sys_platform == "linux") and (os_name == "posix")')
    assert read(WHOLE, extras=("all",)).environment.python.pip[2:] == (
        'numba; os_name == "posix"',
        "matplotlib>=3",
        'numba; (sys_platform == "linux") and (os_name == "posix")',
    )


def test_groups_follow_the_groups_that_they_include() -> None:
    assert read(WHOLE, groups=("test",)).environment.python.pip[2:] == ("pytest", "ruff")
    alone = '[dependency-groups]\na = ["x"]\n'
    assert read(alone, groups=("A",)).environment.python.pip == ("x",)


def test_what_was_asked_for_is_kept_in_the_text() -> None:
    asked = read(WHOLE, extras=("plot",), groups=("test",))
    kept = read(asked.text)
    assert kept.environment == asked.environment
    assert kept.text == asked.text
    assert asked.text.startswith(WHOLE)
    other = read(asked.text, extras=("fast",))
    assert read(other.text).environment == other.environment != asked.environment
    assert "# since tomllib" in other.text


@pytest.mark.parametrize(
    "head",
    [
        "[tool]\nwardian = {extras = ['fast']}\n",
        "[tool.wardian]\ngroups = ['test']  # c\n[tool.x]\n",
        "tool.wardian.extras = ['fast']\n",
    ],
)
def test_an_existing_selection_is_replaced_in_any_form(head: str) -> None:
    text = head + WHOLE if head.startswith("tool.") else WHOLE + head
    assert read(text).environment != read(WHOLE).environment
    asked = read(text, extras=("plot",))
    assert read(asked.text).environment == asked.environment == read(WHOLE, extras=("plot",)).environment


def test_a_selection_that_cannot_be_kept_is_refused() -> None:
    with pytest.raises(InvalidInput) as refused:
        read("tool = {a = 1}\n" + WHOLE, extras=("plot",))
    assert refused.value.stable_code == "not_expressible"


def test_extras_that_name_each_other_end() -> None:
    text = '[project]\nname = "p"\n[project.optional-dependencies]\na = ["x", "p[b]; os_name == \'a\'"]\nb = ["y", "p[a]; os_name == \'b\'"]\n'
    assert read(text, extras=("a",)).environment.python.pip == ("x", 'y; os_name == "a"')


def test_local_code_and_uv_s_sources(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "setup.py").write_text(name)
    result = read("""\
[project]
name = "p"
dependencies = ["a @ ./a", "B[x]>=1; os_name == 'nt'", "c", "d", "e", "f"]
[tool.uv.sources]
b = { path = "b", editable = true }
c = { git = "https://example.org/c", tag = "v1", subdirectory = "python" }
d = { url = "https://example.org/d.zip" }
e = { workspace = true }
f = [{ index = "x", marker = "os_name == 'nt'" }]
""", tmp_path)  # fmt: skip
    assert result.environment.python.pip == (
        "a @ ./a",
        'b[x] @ ./b ; os_name == "nt"',
        "c @ git+https://example.org/c@v1#subdirectory=python",
        "d @ https://example.org/d.zip",
        "e",
        "f",
    )
    assert [source.path for source in result.environment.python.local] == ["./a", "./b"]
    assert not result.self_contained
    assert [(w.line, w.field, w.code) for w in result.warnings] == [
        (8, "tool.uv.sources.e", "setting_not_read"),
        (9, "tool.uv.sources.f", "setting_not_read"),
    ]
    assert read(result.text, None, local=result.environment.python.local).environment == result.environment


def test_uv_s_settings_become_options() -> None:
    result = read("""\
[project]
name = "p"
[tool.uv]
extra-index-url = ["https://c.example.org/simple"]
find-links = ["./wheels"]
no-index = true
no-binary = true
no-binary-package = ["A_b"]
no-build-package = ["c"]
prerelease = "allow"
allow-insecure-host = ["h.example.org"]
index-strategy = "unsafe-best-match"
constraint-dependencies = ["numpy<2"]
resolution = "lowest"
package = false
[[tool.uv.index]]
name = "b"
url = "https://b.example.org/simple"
[[tool.uv.index]]
url = "https://a.example.org/simple"
default = true
[[tool.uv.index]]
url = "https://d.example.org/links"
format = "flat"
[[tool.uv.index]]
url = "https://e.example.org/simple"
explicit = true
""")
    assert result.environment.python.pip_options == (
        "--extra-index-url https://b.example.org/simple",
        "--index-url https://a.example.org/simple",
        "--find-links https://d.example.org/links",
        "--extra-index-url https://c.example.org/simple",
        "--find-links ./wheels",
        "--no-index",
        "--no-binary :all:",
        "--no-binary a-b",
        "--only-binary c",
        "--pre",
        "--trusted-host h.example.org",
    )
    assert result.environment.python.constraints == ("numpy<2",)
    assert result.environment.python.index_strategy == "unsafe-best-match"
    assert [(w.line, w.field) for w in result.warnings] == [(14, "tool.uv.resolution"), (25, "tool.uv.index[3]")]


def test_settings_that_a_definition_has_no_word_for_are_told() -> None:
    text = """\
[project]
name = "p"
dependencies = ["a", "b", "c"]
[tool.uv]
prerelease = "disallow"
override-dependencies = ["x"]
[tool.uv.sources]
a = { git = "git+https://example.org/a" }
b = { path = "b", subdirectory = "x" }
c = { url = "https://example.org/c.zip", marker = "os_name == 'nt'" }
"""
    result = read(text)
    assert result.environment.python.pip == ("a @ git+https://example.org/a", "b", "c")
    assert [(w.line, w.field) for w in result.warnings] == [
        (5, "tool.uv.prerelease"),
        (6, "tool.uv.override-dependencies"),
        (9, "tool.uv.sources.b"),
        (10, "tool.uv.sources.c"),
    ]


def test_keys_that_no_standard_knows_are_told() -> None:
    assert [(w.line, w.field, w.code) for w in read('[project]\nname = "p"\ndependancies = ["x"]\n').warnings] == [
        (3, "project.dependancies", "unknown_key")
    ]


def test_a_python_requirement_of_the_backend_is_told() -> None:
    assert [w.code for w in read('[project]\nname = "p"\ndynamic = ["version", "requires-python"]\n').warnings] == [
        "dynamic_requires_python"
    ]


# -- faults --------------------------------------------------------------------------------------------------------------

P = '[project]\nname = "p"\n'
FAULTS: dict[str, list[tuple[int | None, str, str]]] = {
    "": [(None, "", "no_project_table")],
    "[tool.poetry]\nname = 'x'\n": [(None, "", "no_project_table")],
    "[project\n": [(1, "", "bad_toml")],
    "a = \n": [(1, "", "bad_toml")],
    P + "dependencies = [\n  'a',\n": [(4, "", "bad_toml")],
    P + "dependencies = 'a\n'\n": [(3, "", "bad_toml")],
    P + "name = 'q'\n": [(3, "", "duplicate_key")],
    P + "[project]\n": [(3, "", "duplicate_key")],
    "a = {b = 1, b = 2}\n": [(1, "", "duplicate_key")],
    "x = " + "[" * 2000 + "\n": [(1, "", "too_deep")],
    "\n" + "a." * 50 + "b = 1\n": [(2, "", "too_deep")],
    "x = " + "9" * 5000 + "\n": [(1, "", "bad_toml")],
    "project = 1\n": [(1, "project", "wrong_type")],
    "[project]\nname = 1\n": [(2, "project.name", "wrong_type")],
    P + "dependencies = 'a'\n": [(3, "project.dependencies", "wrong_type")],
    P + "[project.dependencies]\na = '1'\n": [(3, "project.dependencies", "wrong_type")],
    P + "dependencies = [\n  'a', # one\n  2,\n  ['b'],\n  {c = 1}, true\n]\n": [
        (5, "project.dependencies[1]", "wrong_type"),
        (6, "project.dependencies[2]", "wrong_type"),
        (7, "project.dependencies[3]", "wrong_type"),
        (7, "project.dependencies[4]", "wrong_type"),
    ],
    P + "dependencies = ['a',\n'b=1', '''c\nd''',\n\"e \\\"\"\n]\n": [
        (4, "project.dependencies[1]", "bad_requirement"),
        (4, "project.dependencies[2]", "bad_requirement"),
        (6, "project.dependencies[3]", "bad_requirement"),
    ],
    P + "dependencies = [\n# c\n\n  'a; x'\n]\n": [(6, "project.dependencies[0]", "bad_marker")],
    P + "dependencies = ['-e .', './x', 'a --hash=sha256:1', '']\n": [
        (3, "project.dependencies[0]", "bad_requirement"),
        (3, "project.dependencies[1]", "bad_requirement"),
        (3, "project.dependencies[2]", "bad_requirement"),
        (3, "project.dependencies[3]", "bad_requirement"),
    ],
    P + "dependencies = ['https://example.org/a.zip']\n": [(3, "project.dependencies[0]", "bad_requirement")],
    P + "dependencies = [\n'a @ ./missing',\n'b @ file:///abs']\n": [
        (4, "project.dependencies[0]", "no_such_path"),
        (5, "project.dependencies[1]", "absolute_path"),
    ],
    P + "dependencies = ['a @ https://u:word@example.org/a.zip']\n": [(3, "project.dependencies[0]", "secret_in_definition")],
    P + "requires-python = '3.11'\n": [(3, "project.requires-python", "bad_python_version")],
    P + "requires-python = '>=three'\n": [(3, "project.requires-python", "bad_python_version")],
    P + "requires-python = 3.11\n": [(3, "project.requires-python", "wrong_type")],
    P + "dynamic = [\n'version',\n'dependencies']\n": [(5, "project.dynamic[1]", "dynamic_dependencies")],
    P + "dynamic = 'dependencies'\n": [(3, "project.dynamic", "wrong_type")],
    P + "[project.optional-dependencies]\nA_b = []\na-b = []\n": [(4, "project.optional-dependencies.A_b", "duplicate_extra")],
    P + "[dependency-groups]\nA_b = []\na-b = []\n": [(4, "dependency-groups.A_b", "duplicate_group")],
    P + "[tool]\nuv = 1\n": [(4, "tool.uv", "wrong_type")],
    P + "[tool.uv]\nindex = 1\nno-index = 'yes'\n": [(4, "tool.uv.index", "wrong_type"), (5, "tool.uv.no-index", "wrong_type")],
    P + "[[tool.uv.index]]\nname = 'a'\n[[tool.uv.index]]\nurl = './x'\n": [
        (3, "tool.uv.index[0]", "missing_key"),
        (6, "tool.uv.index[1].url", "bad_pip_option"),
    ],
    P + "[[tool.uv.index]]\nurl = 'https://u:word@example.org'\n": [(4, "tool.uv.index[0].url", "secret_in_definition")],
    P + "[tool.uv]\nindex-strategy = 'best'\nprerelease = 1\n": [
        (4, "tool.uv.index-strategy", "unknown_index_strategy"),
        (5, "tool.uv.prerelease", "wrong_type"),
    ],
    P + "[tool.uv]\nconstraint-dependencies = ['a=1']\n": [(4, "tool.uv.constraint-dependencies[0]", "bad_requirement")],
    P + "[tool.uv.sources]\na = {git = 'https://example.org/a', tag = 'x', rev = 'y'}\n": [
        (4, "tool.uv.sources.a", "bad_source")
    ],
    P + "[tool.wardian]\nextra = ['a']\n": [(4, "tool.wardian.extra", "unknown_key")],
    P + "[tool.wardian]\nextras = 'a'\n": [(4, "tool.wardian.extras", "wrong_type")],
    P + "[tool.wardian]\nextras = ['a']\n": [(None, "project.optional-dependencies", "unknown_extra")],
}


@pytest.mark.parametrize(("text", "expected"), FAULTS.items(), ids=[text[:40].replace(P, "") for text in FAULTS])
def test_each_fault_has_its_line_field_and_code(tmp_path: Path, text: str, expected: list[tuple[int | None, str, str]]) -> None:
    assert faults_of(text, tmp_path) == expected


def test_what_is_asked_for_must_be_there() -> None:
    text = P + "[project.optional-dependencies]\na = ['p[zz]']\n[dependency-groups]\nx = [{include-group = 'y'}]\n"
    assert faults_of(text, extras=("a", "b"), groups=("x", "z")) == [
        (3, "project.optional-dependencies", "unknown_extra"),
        (4, "project.optional-dependencies.a[0]", "unknown_extra"),
        (5, "dependency-groups", "unknown_group"),
        (6, "dependency-groups.x[0]", "unknown_group"),
    ]
    assert [code for *_, code in faults_of(P + "dynamic = ['optional-dependencies']\n", extras=("a",))] == [
        "unknown_extra",
        "dynamic_optional_dependencies",
    ]


def test_circles_of_groups_are_refused_where_they_close() -> None:
    text = P + "[dependency-groups]\na = ['x', {include-group = 'b'}]\nb = [\n  {include-group = 'A'},\n]\n"
    assert faults_of(text, groups=("a",)) == [(6, "dependency-groups.b[0]", "group_cycle")]
    for item in ("{include-group = 1}", "{include = 'a'}", "{include-group = 'a', x = 1}", "1"):
        assert faults_of(P + f"[dependency-groups]\na = [{item}]\n", groups=("a",)) == [
            (4, "dependency-groups.a[0]", "bad_group")
        ]


def test_avalanches_of_groups_and_extras_are_stopped() -> None:
    doubling = "".join(f"g{i} = [{{include-group = 'g{i + 1}'}}, {{include-group = 'g{i + 1}'}}]\n" for i in range(40))
    assert read(P + f"[dependency-groups]\n{doubling}g40 = ['x']\n", groups=("g0",)).environment.python.pip == ("x",)
    deep = "".join(f"g{i} = [{{include-group = 'g{i + 1}'}}]\n" for i in range(2000))
    assert faults_of(P + f"[dependency-groups]\n{deep}g2000 = ['x']\n", groups=("g0",))[0][2] == "too_deep"
    extras = "".join(f"e{i} = [\"p[e{i + 1}]; os_name == 'a'\", \"p[e{i + 1}]; os_name == 'b'\"]\n" for i in range(40))
    started = time.process_time()
    assert faults_of(P + f"[project.optional-dependencies]\n{extras}e40 = ['x']\n", extras=("e0",))[0][2] == "too_deep"
    assert time.process_time() - started < 5


def test_a_long_key_does_not_eat_the_memory() -> None:
    assert faults_of("a." * 200_000 + "b = 1\n") == [(1, "", "too_deep")]
    assert faults_of('x = {"!" .' + "'a'." * 200_000 + "b = 1}\n") == [(1, "", "too_deep")]


# -- writing -------------------------------------------------------------------------------------------------------------


def test_write_and_read_give_the_content_back() -> None:
    env = an_environment(
        name="team.env-", pip=["numpy>=1.26", "a; os_name == \"nt\" and platform_version == 'a\"b'", "b @ git+https://example.org/b@v1", "p @ ./pkg"],
        pip_options=["--index-url https://a.example.org/simple", "--extra-index-url https://b.example.org/simple",
                     "--find-links ./wheels", "--no-index", "--no-binary :all:", "--no-binary a-b", "--only-binary c", "--pre",
                     "--trusted-host h"],
        constraints=["numpy<2"], requires_python=">=3.11", index_strategy="unsafe-best-match",
        local=[LocalSource("./pkg", Digest.of(b"tree"))],
    )  # fmt: skip
    text = pyproject.write(env)
    assert read(text, local=env.python.local).environment.content == env.content
    assert text.startswith('[project]\nname = "team.env"\n')


@pytest.mark.parametrize(
    "changes",
    [
        {"pip": ["./pkg"], "local": [LocalSource("./pkg", Digest.of(b"tree"))]},
        {"pip": ["a --hash=sha256:" + "0" * 64]},
        {"pip_options": ["--pre", "--no-index"]},  # TOML's own order is another
        {"pip_options": ["--prefer-binary"]},
        {"conda": ["python"]},
        {"variables": {"A": "1"}},
        {"source": "host"},
    ],
)
def test_what_would_be_lost_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as refused:
        pyproject.write(an_environment(**changes))
    assert refused.value.stable_code == "not_expressible"
