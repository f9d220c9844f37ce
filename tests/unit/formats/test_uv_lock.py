"""uv.lock as a definition: the graph, what is asked of it, and what cannot be taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from wardian import formats
from wardian.definition.well_known import DEFAULT_INDEX, is_default_index
from wardian.digest import Digest
from wardian.errors import InvalidDefinition, InvalidInput
from wardian.formats.locked_input import index_options
from wardian.formats.uv_lock_graph import parse
from wardian.formats.uv_lock_markers import choice, decided

if TYPE_CHECKING:
    from pathlib import Path

    from wardian.formats.read_definition import ReadDefinition

INDEX = "https://index.example/simple"
SHA = "a" * 64


def package(
    name: str, version: str = "1.0", more: str = "", *, source: str = f'registry = "{INDEX}"', files: str | None = None
) -> str:
    """Return one package of a lock file."""
    wheel = f'{{ url = "https://files.example/{name}-{version}-py3-none-any.whl", hash = "sha256:{SHA}", size = 1 }}'
    held = files if files is not None else f"wheels = [{wheel}]\n"
    return f'[[package]]\nname = "{name}"\nversion = "{version}"\nsource = {{ {source} }}\n{held}{more}\n'


def project(more: str, *, source: str = 'virtual = "."') -> str:
    """Return the project's own package."""
    return package("thesis", more=more, source=source, files="")


HEAD = 'version = 1\nrevision = 3\nrequires-python = ">=3.11"\n\n'
TEXT = (
    HEAD
    + package("alpha", more='dependencies = [{ name = "beta", extra = ["fast"], marker = "os_name == \'posix\'" }]\n')
    + package("beta", more='[package.optional-dependencies]\nfast = [{ name = "gamma" }]\n')
    + package("gamma")
    + package("tool")
    + package("two", "1.0", "resolution-markers = [\"sys_platform == 'linux'\"]\n")
    + package("two", "2.0", "resolution-markers = [\"sys_platform != 'linux'\"]\n")
    + project(f"""\
dependencies = [
    {{ name = "alpha" }},
    {{ name = "two", version = "1.0", source = {{ registry = "{INDEX}" }}, marker = "sys_platform == 'linux'" }},
    {{ name = "two", version = "2.0", source = {{ registry = "{INDEX}" }}, marker = "sys_platform != 'linux'" }},
]
[package.optional-dependencies]
plots = [{{ name = "gamma" }}]
[package.dev-dependencies]
dev = [{{ name = "tool" }}]
docs = [{{ name = "beta" }}]
[package.metadata]
provides-extras = ["plots", "nothing"]
""")
)


def read(text: str, **options: object) -> ReadDefinition:
    return formats.read_text(text, "uv-lock", file="uv.lock", **options)  # type: ignore[arg-type]


def faults(text: str) -> list[tuple[str, int | None, str]]:
    with pytest.raises(InvalidDefinition) as caught:
        read(text)
    return [(fault.code, fault.line, fault.field) for fault in caught.value.faults]


def test_the_definition_has_what_the_project_asks_for_by_its_locked_version() -> None:
    found = read(TEXT)
    python = found.environment.python
    assert python.pip == ("alpha==1.0", 'two==1.0; sys_platform == "linux"', 'two==2.0; sys_platform != "linux"', "tool==1.0")
    assert (python.manager, python.requires_python, python.pip_options) == ("uv", ">=3.11", (f"--index-url {INDEX}",))
    assert python.locked_input == Digest.of(TEXT.encode())
    assert found.texts == {python.locked_input: ("uv.lock", TEXT)}
    assert found.places["python.pip[0]"].line == TEXT[: TEXT.index('[[package]]\nname = "alpha"')].count("\n") + 1


def test_what_was_asked_for_is_kept_with_the_text() -> None:
    found = read(TEXT, extras=("Plots",), groups=("docs",))
    assert found.environment.python.pip[-3:] == ("gamma==1.0", "tool==1.0", "beta==1.0")
    assert found.text == f'{TEXT.rstrip()}\n\n[tool.wardian]\nextras = ["plots"]\ngroups = ["dev", "docs"]\n'
    again = read(found.text)
    assert (again.environment, again.text) == (found.environment, found.text)
    assert parse(found.text, "uv.lock").roots == ("thesis", "tool", "beta")
    assert read(TEXT, extras=("nothing",)).environment.python.pip == read(TEXT).environment.python.pip


def test_default_groups_are_those_of_the_project_beside(tmp_path: Path) -> None:
    (tmp_path / "uv.lock").write_text(TEXT)
    for said, tools in (('["docs"]', ("beta==1.0",)), ('"all"', ("tool==1.0", "beta==1.0")), ("[]", ())):
        (tmp_path / "pyproject.toml").write_text(f"[tool.uv]\ndefault-groups = {said}\n")
        found = formats.read(tmp_path / "uv.lock")
        assert found.environment.python.pip[3:] == tools
        assert found.self_contained  # with the manifest beside it
        assert read(found.text).environment == found.environment


def test_a_lock_file_that_is_older_than_its_project_is_warned_of(tmp_path: Path) -> None:
    held = (
        'requires-dist = [{ name = "alpha", specifier = ">=1,<2" }, { name = "two", marker = "sys_platform == \'linux\'", specifier = "==1.0" }, '
        '{ name = "lib", editable = "lib" }, { name = "gamma", marker = "extra == \'plots\'" }]\n'
    )
    (tmp_path / "uv.lock").write_text(TEXT.replace("[package.metadata]\n", "[package.metadata]\n" + held))
    same = '"Alpha <2, >=1", "two == 1.0; sys_platform == \'linux\'", "lib>=3"'
    for dependencies, names in (
        (same, None),
        (f'{same}, "more"', "more"),
        (same.replace("<2", "<3"), "alpha"),
        ('"alpha>=1,<2"', "lib, two"),
    ):
        (tmp_path / "pyproject.toml").write_text(f'[project]\nname = "thesis"\ndependencies = [{dependencies}]\n')
        warned = [fault.message for fault in formats.read(tmp_path / "uv.lock").warnings if fault.code == "stale_lock"]
        expected = f"the lock file is older than pyproject.toml, which asks for something else of {names}"
        assert warned == ([expected] if names else [])


def test_what_is_left_out_is_told() -> None:
    told = [(loss.kind, loss.field, loss.why) for loss in read(TEXT).losses]
    assert told == [
        ("dropped", "package[6]", "the project `thesis` is no package: what it needs is installed, not itself"),
        ("dropped", "optional-dependencies", "nobody asked for the extras plots, nothing"),
        ("dropped", "dev-dependencies", "nobody asked for the groups docs"),
    ]


def test_sources_that_are_on_no_index_become_requirements(tmp_path: Path) -> None:
    commit = "0123456789" * 4
    text = HEAD + "".join([
        package("lib", source='directory = "lib"', files=""),
        package("mine", source=f'git = "https://git.example/mine?rev=main&subdirectory=py#{commit}"', files=""),
        package("far", source='url = "https://files.example/far-1.0-py3-none-any.whl"',
                files=f'wheels = [{{ url = "https://files.example/far-1.0-py3-none-any.whl", hash = "sha256:{SHA}" }}]\n'),
        package("near", source='path = "near-1.0-py3-none-any.whl"',
                files=f'wheels = [{{ filename = "near-1.0-py3-none-any.whl", hash = "sha256:{Digest.of(b"near")}" }}]\n'),
        package("alpha", more='dependencies = [{ name = "mine" }]\n'),
        project('dependencies = [{ name = "alpha" }, { name = "lib" }, { name = "far" }, { name = "near" }]\n', source='editable = "."'),
    ])  # fmt: skip
    (tmp_path / "uv.lock").write_text(text)
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/setup.py").write_text("")
    (tmp_path / "near-1.0-py3-none-any.whl").write_bytes(b"near")
    found = formats.read(tmp_path / "uv.lock")
    pip = (
        "alpha==1.0", "lib @ ./lib", f"far @ https://files.example/far-1.0-py3-none-any.whl#sha256={SHA}",
        "near @ ./near-1.0-py3-none-any.whl", f"mine @ git+https://git.example/mine@{commit}#subdirectory=py",
    )  # fmt: skip
    assert found.environment.python.pip == pip
    assert "the code of the project `thesis` is not beside the lock file" in found.losses[0].why
    assert read(found.text, local=found.environment.python.local).environment == found.environment
    (tmp_path / "setup.py").write_text("")  # now uv would build the project, and so do we
    with_project = formats.read(tmp_path / "uv.lock")
    assert with_project.environment.python.pip == ("thesis @ .", *pip)
    assert [loss.why for loss in with_project.losses] == ["`thesis` is built and installed as it is now, not editable"]
    (tmp_path / "near-1.0-py3-none-any.whl").write_bytes(b"another")
    with pytest.raises(InvalidDefinition, match="has the sha256"):
        formats.read(tmp_path / "uv.lock")


def test_a_workspace_without_a_project_is_all_its_members_and_a_script_its_requirements() -> None:
    members = HEAD + '[manifest]\nmembers = ["one", "other"]\n\n[manifest.dependency-groups]\ndev = [{ name = "tool" }]\n\n'
    members += package("one", source='virtual = "one"', files="", more='dependencies = [{ name = "alpha" }]\n')
    members += package("other", source='virtual = "other"', files="") + package("alpha") + package("tool")
    assert read(members).environment.python.pip == ("alpha==1.0", "tool==1.0")
    script = (
        HEAD + '[manifest]\nrequirements = [{ name = "two", marker = "os_name != \'nt\'" }]\n\n' + TEXT.partition("\n\n")[2]
    )
    script = script.partition('[[package]]\nname = "thesis"')[0]
    assert read(script).environment.python.pip == (
        'two==1.0; (os_name != "nt") and ((sys_platform == "linux"))', 'two==2.0; (os_name != "nt") and ((sys_platform != "linux"))',
    )  # fmt: skip


def test_indexes_become_options_unless_they_are_the_default_one() -> None:
    usual = f"https://{DEFAULT_INDEX}.org/simple"
    assert is_default_index(f"{usual}/")
    assert index_options([usual, INDEX, usual]) == (f"--extra-index-url {INDEX}",)
    assert index_options([INDEX, "https://more.example", INDEX]) == (
        f"--index-url {INDEX}",
        "--extra-index-url https://more.example",
    )
    assert index_options([usual, None]) == ()


@pytest.mark.parametrize(
    ("marker", "left"),
    [
        ("os_name == 'nt'", "os_name == 'nt'"),
        ("extra == 'extra-6-thesis-cpu'", ""),
        ("extra != 'extra-6-thesis-cpu'", None),
        ("extra == 'extra-6-thesis-gpu' or extra == 'group-6-thesis-dev'", ""),
        ("(extra == 'extra-6-thesis-gpu' and os_name == 'nt') or python_version < '3.12'", "python_version < '3.12'"),
        ("sys_platform == 'linux' and (extra == 'extra-6-thesis-cpu' or os_name == 'nt')", "sys_platform == 'linux'"),
        ("sys_platform == 'linux' and (extra == 'extra-6-thesis-gpu' or os_name == 'nt' or 'a' in os_name) and os_name != 'x'",
         "sys_platform == 'linux' and (os_name == 'nt' or 'a' in os_name) and os_name != 'x'"),
        ("extra == 'extra-6-thesis-cpu' and (", "extra == 'extra-6-thesis-cpu' and ("),
        ("(" * 5000 + "extra == 'extra-6-thesis-cpu'", "(" * 5000 + "extra == 'extra-6-thesis-cpu'"),
    ],
)  # fmt: skip
def test_markers_of_what_excludes_each_other_are_decided(marker: str, left: str | None) -> None:
    assert decided(marker, {choice("extra", "thesis", "cpu"), choice("group", "thesis", "dev")}) == left


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("version = 1\n", "version = 2\n", "lock_version"),
        ("version = 1\n", "version = true\n", "lock_version"),
        ("version = 1\n", "", "lock_version"),
        ('name = "gamma"\nversion = "1.0"', "version = 1", "bad_package"),
        ('name = "gamma"\nversion', 'name = "../x"\nversion', "bad_package"),
        ('"gamma"\nversion = "1.0"', '"gamma"', "bad_package"),
        ('"gamma"\nversion = "1.0"', '"gamma"\nversion = "-r x"', "bad_package"),
        ('"gamma"\nversion = "1.0"', '"gamma"\nversion = 1.0', "wrong_type"),
        ('{ name = "tool" }', '{ name = "two" }', "bad_package"),
        ('{ name = "tool" }', '{ name = "unknown" }', "bad_package"),
        ('{ name = "tool" }', '"tool"', "wrong_type"),
        ('dev = [{ name = "tool" }]', "dev = 3", "wrong_type"),
        (f'source = {{ registry = "{INDEX}" }}', "source = 3", "bad_source"),
        (f'source = {{ registry = "{INDEX}" }}', 'source = { hg = "x" }', "bad_source"),
        (f'source = {{ registry = "{INDEX}" }}', 'source = { registry = "x", git = "y" }', "bad_source"),
        (f'source = {{ registry = "{INDEX}" }}', 'source = { registry = "/opt/wheels" }', "locked_elsewhere"),
        (f'source = {{ registry = "{INDEX}" }}', 'source = { url = "https://x.example/a.zip", subdirectory = "y" }', "locked_elsewhere"),
        (f'source = {{ registry = "{INDEX}" }}', 'source = { directory = "/abs" }', "absolute_path"),
        (f'source = {{ registry = "{INDEX}" }}', 'source = { directory = "not-there" }', "no_such_path"),
        (f'source = {{ registry = "{INDEX}" }}', 'source = { registry = "https://me:secret@index.example/simple" }', "secret_in_definition"),
        (f', hash = "sha256:{SHA}"', "", "hash_missing"),
        (f', hash = "sha256:{SHA}"', ', hash = "md5:0"', "hash_missing"),
        ('marker = "os_name', 'marker = 3, x = "os_name', "wrong_type"),
        ('">=3.11"', '"three"', "bad_python_version"),
    ],
)  # fmt: skip
def test_what_cannot_be_taken_is_a_fault(old: str, new: str, code: str) -> None:
    assert old in TEXT
    assert code in {found[0] for found in faults(TEXT.replace(old, new, 1))}


def test_all_faults_come_in_one_error_each_with_its_line() -> None:
    nodes = TEXT.replace('name = "gamma"\nversion', 'name = "-"\nversion').replace(
        '"alpha"\nversion = "1.0"\nsource', '"alpha"\nversion = "1.0"\nSource'
    )
    edges = TEXT.replace('{ name = "tool" }', '{ name = "unknown" }').replace(
        '"gamma"\nversion = "1.0"', '"gamma"\nversion = ""'
    )
    for text, expected in (
        (nodes, [("bad_source", "package[0]", "[[package]]"), ("bad_package", "package[2]", "[[package]]")]),
        (edges, [("bad_package", "package[2].version", 'version = ""'), ("bad_package", "package[6].dev-dependencies.dev[0]", 'dev = [{ name = "unknown" }]')]),
    ):  # fmt: skip
        lines = text.split("\n")
        assert [(code, field, lines[(line or 0) - 1]) for code, line, field in faults(text)] == expected


def test_what_is_not_reached_may_be_from_anywhere() -> None:
    """A file of a private index that only an extra wants is no fault where nobody asks for the extra."""
    text = TEXT.replace('fast = [{ name = "gamma" }]', "fast = []").replace(f'"gamma"\nversion = "1.0"\nsource = {{ registry = "{INDEX}" }}',
                                                                           '"gamma"\nversion = "1.0"\nsource = { registry = "/opt/wheels" }')  # fmt: skip
    assert read(text).environment.python.pip == read(TEXT).environment.python.pip
    with pytest.raises(InvalidDefinition, match="nobody else has"):
        read(text, extras=("plots",))


def test_extras_and_groups_that_are_not_locked_are_named() -> None:
    with pytest.raises(InvalidDefinition) as caught:
        read(TEXT, extras=("plotz",), groups=("x",))
    assert [fault.hint for fault in caught.value.faults] == ["known ones: plots, nothing", "known ones: dev, docs"]


def test_a_circle_ends() -> None:
    text = (
        HEAD
        + package("alpha", more='dependencies = [{ name = "beta" }]\n')
        + package("beta", more='dependencies = [{ name = "alpha" }]\n')
    )
    text += project('dependencies = [{ name = "alpha" }]\n')
    assert read(text).environment.python.pip == ("alpha==1.0",)


def test_a_huge_file_is_refused_by_its_size(tmp_path: Path) -> None:
    with (tmp_path / "uv.lock").open("wb") as file:
        file.truncate(100 << 20)
    with pytest.raises(InvalidDefinition, match="larger than"):
        formats.read(tmp_path / "uv.lock")


def test_a_long_file_is_read(tmp_path: Path) -> None:
    """More than what any file written by hand may have."""
    (tmp_path / "uv.lock").write_text(TEXT + f"# {'x' * 1000}\n" * 5000)
    assert formats.read(tmp_path / "uv.lock").environment.python.pip == read(TEXT).environment.python.pip


def test_lint_asks_for_no_versions_and_merges_nothing(tmp_path: Path) -> None:
    from wardian.lint import lint_file

    (tmp_path / "uv.lock").write_text(
        TEXT.replace('docs = [{ name = "beta" }]', "").replace("dev = [", 'dev = [{ name = "alpha", extra = ["x"] }, ')
    )
    found = {one.id for one in lint_file(tmp_path / "uv.lock").findings if one.severity != "note"}
    assert found == set()


def test_it_is_not_edited_nor_written() -> None:
    with pytest.raises(InvalidInput, match="those of a lock file"):
        formats.add(TEXT, "uv-lock", ["gamma"], manager="uv")
    with pytest.raises(InvalidInput, match="those of a lock file"):
        formats.remove(TEXT, "uv-lock", ["alpha"])
    with pytest.raises(InvalidInput, match="is no lock file"):
        formats.write(read(TEXT).environment, "uv-lock")
