"""Conda's environment.yml: what is read, what is refused and where, what is kept."""

from __future__ import annotations

from textwrap import dedent
from typing import TYPE_CHECKING

import pytest
from tests.builders import an_environment

from wardian import formats
from wardian.definition.environment import Environment, PythonSection
from wardian.definition.identity import definition_hash
from wardian.errors import InvalidDefinition, InvalidInput

if TYPE_CHECKING:
    from pathlib import Path

    from wardian.formats.read_definition import ReadDefinition


def read(text: str, **options: object) -> ReadDefinition:
    return formats.read_text(dedent(text), "conda", file="environment.yml", **options)  # type: ignore[arg-type]


def test_every_part_of_a_file_is_read() -> None:
    found = read(
        """\
        # comment
        name: sklearn
        channels:
          - https://conda.example.org/t/${TOKEN}/private/linux-64
          - conda-forge
          - nodefaults
        dependencies:
          - Python = 3.10        # fuzzy
          - numpy 1.26.* py310*
          - conda-forge/linux-64::scipy[version='>=1,<2', build=py*]
          - https://conda.example.org/ch/noarch/tool-1.0-0.conda
          - pip
          - pip:
              - -i https://index.example.org/simple
              - --extra-index-url=https://other.example.org/simple
              - Scikit_Learn >= 1.4 ; python_version < "3.12"
              - git+https://git.example.org/a/b.git@v1#egg=b
              - numpy-stubs==1.0 --hash=sha256:0000000000000000000000000000000000000000000000000000000000000000
        variables:
          OMP_NUM_THREADS: 2
          FLAG: on
          MODE: 0777
        """
    )
    assert found.environment == Environment(
        name="sklearn",
        python=PythonSection(
            channels=("https://conda.example.org/t/${TOKEN}/private/linux-64", "conda-forge", "nodefaults"),
            conda=("python=3.10", "numpy 1.26.* py310*", "conda-forge/linux-64::scipy[version='>=1,<2',build=py*]",
                   "https://conda.example.org/ch/noarch/tool-1.0-0.conda", "pip"),
            pip=('scikit-learn>=1.4; python_version < "3.12"', "git+https://git.example.org/a/b.git@v1#egg=b",
                 "numpy-stubs==1.0 --hash=sha256:" + "0" * 64),
            pip_options=("--index-url https://index.example.org/simple", "--extra-index-url https://other.example.org/simple"),
        ),
        variables={"OMP_NUM_THREADS": "2", "FLAG": "on", "MODE": "0777"},
    )  # fmt: skip
    assert found.self_contained
    assert found.warnings == ()
    assert found.format == "conda"


@pytest.mark.parametrize("written", ["3.10", "'3.10'", "=3.10", "==3.10", " 3.10"])
def test_a_version_is_never_a_number(written: str) -> None:
    (spec,) = read(f'channels: [a]\ndependencies: ["python {written.strip(chr(39))}"]').environment.python.conda
    assert spec.endswith("3.10")


def test_name_and_prefix_are_not_in_the_hash() -> None:
    one = read("name: a\nprefix: /home/a/envs/x\nchannels: [c]\ndependencies: [numpy]").environment
    two = read("name: b\nchannels: [c]\ndependencies: [numpy]").environment
    assert definition_hash(one) == definition_hash(two)


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ("dependencies: [numpy]", "no_channels", 1),
        ("channels: []\ndependencies: [numpy]", "no_channels", 1),
        ("channels: [c]\ndependencies:\n- numpy\n- pip: [requests]", "no_python", 1),
        ("channels: [c]\ndependencies:\n- numpy\n- pip:\n", "empty_pip", 4),
    ],
)
def test_what_is_worth_a_word_is_a_warning(text: str, code: str, line: int) -> None:
    found = read(text)
    assert [(fault.code, fault.line) for fault in found.warnings] == [(code, line)]


def test_what_is_left_out_stands_in_the_ledger() -> None:
    found = read("channels: [c]\nprefix: /x\ndependencies: [numpy]")
    (loss,) = found.losses
    assert (loss.kind, loss.file, loss.line, loss.field) == ("dropped", "environment.yml", 2, "prefix")
    assert str(loss) == "dropped: environment.yml:2 prefix: Wardian chooses where an environment is installed"
    assert found.warnings == ()


@pytest.mark.parametrize(
    "text",
    [
        "channels: [c]\ndependencies: [numpy]",
        "dependencies: ['conda-forge::numpy']",
        "channels: [c]\ndependencies:\n- python\n- pip: [requests]",
        "channels: [c]\ndependencies:\n- pip\n- pip: [requests]",
        "channels: [c]\ndependencies: []",
        "name: x",
    ],
)
def test_nothing_is_said_of_a_file_that_is_in_order(text: str) -> None:
    assert read(text).warnings == ()
    assert read(text).losses == ()


def test_nothing_is_added() -> None:
    assert read("dependencies:\n  - pip: [requests]").environment == Environment(python=PythonSection(pip=("requests",)))
    assert read("name: x").environment == Environment(name="x")


def test_empty_parts_are_absent() -> None:
    assert read("name: x\nchannels:\ndependencies: ~\nvariables:\nprefix:\n").environment == Environment(name="x")


def test_a_line_of_pip_may_be_several() -> None:
    found = read(
        """\
        channels: [c]
        dependencies:
          - python
          - pip:
            - |
              requests>=2 \\
                --hash=sha256:0000000000000000000000000000000000000000000000000000000000000000
              # a comment
              six
            - "# nothing"
        """
    )
    assert found.environment.python.pip == ("requests>=2 --hash=sha256:" + "0" * 64, "six")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "environment.yml").write_text(dedent(
        """\
        channels: [c]
        dependencies:
          - python=3.11
          # before pip
          - pip:
            - -r more/reqs.txt   # shared
            - "-c cons.txt"
            - ./pkg  # ours
            - last
        """
    ))  # fmt: skip
    (tmp_path / "more").mkdir()
    (tmp_path / "more/reqs.txt").write_text(
        "# the shared ones\nrequests>=2 \\\n  --hash=sha256:" + "0" * 64 + "\n-r inner.txt\n--pre\n"
    )
    (tmp_path / "more/inner.txt").write_text("../tool  # a tool\n-c ../cons2.txt\n")
    (tmp_path / "cons.txt").write_text("# why\nnumpy<2  # for now\n")
    (tmp_path / "cons2.txt").write_text("scipy<2\n")
    for name in ("pkg", "tool"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "pyproject.toml").write_text(f"[project]\nname='{name}'\nversion='1'\n")
    return tmp_path


def test_included_files_enter_by_content_and_local_code_by_digest(place: Path) -> None:
    found = formats.read(place / "environment.yml")
    python = found.environment.python
    assert python.pip == ("requests>=2 --hash=sha256:" + "0" * 64, "./tool", "./pkg", "last")
    assert python.pip_options == ("--pre",)
    assert python.constraints == ("scipy<2", "numpy<2")
    assert [source.path for source in python.local] == ["./tool", "./pkg"]
    assert set(found.sources) == {source.digest for source in python.local}
    assert not found.self_contained


def test_the_text_that_is_kept_needs_no_other_file_and_keeps_comments(place: Path) -> None:
    found = formats.read(place / "environment.yml")
    again = formats.read_text(found.text, "conda", local=found.environment.local_sources)
    assert again.environment == found.environment
    for comment in ("# before pip", "# shared", "# the shared ones", "# ours", "# a tool", "# why", "# for now"):
        assert comment in found.text
    assert again.text == found.text
    assert formats.read_text(again.text, "conda", local=found.environment.local_sources).environment == found.environment


def test_a_changed_tree_changes_the_hash(place: Path) -> None:
    before = formats.read(place / "environment.yml").environment
    (place / "pkg" / "new.py").write_text("x = 1\n")
    assert definition_hash(formats.read(place / "environment.yml").environment) != definition_hash(before)


def test_a_file_that_holds_all_its_content_is_kept_byte_by_byte() -> None:
    text = "channels: [c]   # c\n\n\ndependencies:\n- numpy\n# end"
    assert read(text).text == text


M = "channels: [c]\n"
D = M + "dependencies:\n"
P = D + "- python\n- pip:\n"
WRONG: list[tuple[str, list[tuple[str, int | None, str]]]] = [
    # the file
    ("", [("empty_file", 1, "")]),
    ("# c\n", [("empty_file", 1, "")]),
    ("numpy==1.26\nscipy\n", [("wrong_type", 1, "")]),
    ("- numpy\n- scipy\n", [("wrong_type", 1, "")]),
    ("a:\n\tb", [("yaml_syntax", 2, "")]),
    ("name: a\n---\nname: b\n", [("several_documents", 2, "")]),
    (M + "name: !!python/name:os.system\n", [("yaml_tag", 2, "")]),
    ("name: a\nname: b\n", [("duplicate_key", 2, "name")]),
    (M + "x: &x [*x]\n", [("recursive_alias", 2, "")]),
    # other formats
    ("conda_file: x.yml\nimage: y\n", [("format_not_read", 1, "")]),
    ("services:\n  web: {image: x}\n", [("format_not_read", 1, "")]),
    ("apiVersion: v1\nkind: Pod\n", [("format_not_read", 1, "")]),
    ("python:\n  pip: [numpy]\n", [("wrong_format", 1, "")]),
    ("docker: {base_image: x}\n", [("wrong_format", 1, "")]),
    # keys
    ("chanels: [c]\ndependencies: [numpy]\n", [("unknown_key", 1, "chanels")]),
    ("Name: a\ndependencies: [numpy]\n", [("unknown_key", 1, "Name")]),
    (D + "- numpy\nauthors: [ada]\n", [("unknown_key", 4, "authors")]),
    (D + "- numpy\npip: [requests]\n", [("unknown_key", 4, "pip")]),
    ("1: x\ndependencies: [a]\n", [("unknown_key", 1, "1")]),
    # name, prefix, channels
    ("name: a b\n", [("bad_name", 1, "name")]),
    ("name: ''\n", [("bad_name", 1, "name")]),
    ("name: [a]\n", [("wrong_type", 1, "name")]),
    ("name: {a: b}\n", [("wrong_type", 1, "name")]),
    ("prefix: [x]\n", [("wrong_type", 1, "prefix")]),
    ("channels: conda-forge\n", [("wrong_type", 1, "channels")]),
    ("channels: {a: b}\n", [("wrong_type", 1, "channels")]),
    ("channels:\n- a\n-\n", [("empty_item", 3, "channels[1]")]),
    ("channels:\n- a\n- [b]\n", [("wrong_type", 3, "channels[1]")]),
    ("channels:\n- a b\n", [("bad_channel", 2, "channels[0]")]),
    ("channels:\n- a\n- ./local\n", [("path_channel", 3, "channels[1]")]),
    ("channels:\n- /srv/channel\n", [("path_channel", 2, "channels[0]")]),
    ("channels:\n- https://me:hunter2@conda.example.org/c\n", [("secret_in_definition", 2, "channels[0]")]),
    ("channels:\n- a\n- https://conda.example.org/t/hunter2/c\n", [("secret_in_definition", 3, "channels[1]")]),
    # dependencies
    (M + "dependencies: numpy\n", [("wrong_type", 2, "dependencies")]),
    (M + "dependencies: {numpy: 1}\n", [("wrong_type", 2, "dependencies")]),
    (D + "- numpy\n- \n", [("empty_item", 4, "dependencies[1]")]),
    (D + "- numpy\n- null\n", [("empty_item", 4, "dependencies[1]")]),
    (D + "- [numpy]\n", [("wrong_type", 3, "dependencies[0]")]),
    (D + "- python: 3.10\n", [("wrong_type", 3, "dependencies[0]")]),
    (D + "- sel(linux): numpy\n", [("wrong_type", 3, "dependencies[0]")]),
    (D + "- Pip: [requests]\n", [("wrong_type", 3, "dependencies[0]")]),
    (D + "- numpy >=1 <2\n", [("bad_match_spec", 3, "dependencies[0]")]),
    (D + "- numpy\n- scipy=>1\n", [("bad_match_spec", 4, "dependencies[1]")]),
    (D + "- '>=1'\n", [("bad_match_spec", 3, "dependencies[0]")]),
    (D + "- numpy[foo=1]\n", [("bad_match_spec", 3, "dependencies[0]")]),
    (D + "- requests[socks]>=2\n", [("bad_match_spec", 3, "dependencies[0]")]),
    (D + "- git+https://git.example.org/a.git\n", [("bad_match_spec", 3, "dependencies[0]")]),
    (D + "- ./numpy-1-0.conda\n", [("local_conda_package", 3, "dependencies[0]")]),
    (D + "- https://u:hunter2@conda.example.org/c/noarch/a-1-0.conda\n", [("secret_in_definition", 3, "dependencies[0]")]),
    (D + "- https://u:hunter2@conda.example.org/c/noarch/a-1-0.foo\n", [("secret_in_definition", 3, "dependencies[0]")]),
    (D + "- https://conda.example.org/c/noarch/a-1-0.conda?sig=hunter2\n", [("secret_in_definition", 3, "dependencies[0]")]),
    # pip
    (P + "    requests\n", [("wrong_type", 5, "dependencies[1].pip")]),
    (P + "  - requests\n  -\n", [("empty_item", 6, "dependencies[1].pip[1]")]),
    (P + "  - {a: b}\n", [("wrong_type", 5, "dependencies[1].pip[0]")]),
    (P + "  - requests\n  - six: 1\n", [("wrong_type", 6, "dependencies[1].pip[1]")]),
    (P + "  - requests=1\n", [("bad_requirement", 5, "dependencies[1].pip[0]")]),
    (P + "  - requests>=2; python_version\n", [("bad_marker", 5, "dependencies[1].pip[0]")]),
    (P + "  - requests\n  - --no-such-option x\n", [("unknown_pip_option", 6, "dependencies[1].pip[1]")]),
    (P + "  - --index-url\n", [("bad_pip_option", 5, "dependencies[1].pip[0]")]),
    (P + "  - -i https://u:hunter2@index.example.org/simple\n", [("secret_in_definition", 5, "dependencies[1].pip[0]")]),
    (P + "  - -r reqs.txt\n", [("include_without_place", 5, "dependencies[1].pip[0]")]),
    (P + "  - ./pkg\n", [("no_such_path", 5, "dependencies[1].pip[0]")]),
    (P + "  - /abs/pkg\n", [("absolute_path", 5, "dependencies[1].pip[0]")]),
    (P + "  - requests\n  - Requests>=2\n", [("duplicate_requirement", 6, "dependencies[1].pip[1]")]),
    (P + "  - requests\n- pip:\n  - six\n", [("several_pip", 6, "dependencies[2]")]),
    (P + "  - requests\n  npm: [x]\n", [("unknown_key", 6, "dependencies[1].npm")]),
    # variables
    ("variables: [A]\n", [("wrong_type", 1, "variables")]),
    ("variables: A=1\n", [("wrong_type", 1, "variables")]),
    ("variables:\n  A: [1]\n", [("wrong_type", 2, "variables.A")]),
    ("variables:\n  A:\n", [("wrong_type", 2, "variables.A")]),
    ("variables:\n  A: 1\n  B-C: 2\n", [("bad_variable", 3, "variables.B-C")]),
    ("variables:\n  API_KEY: hunter2\n", [("secret_in_definition", 2, "variables.API_KEY")]),
    ('variables:\n  A: "\\0"\n', [("bad_text", 2, "variables.A")]),
    # constraints
    (D + "- python\n# /// wardian-constraints\n# numpy<2\n", [("unclosed_constraints", 4, "")]),
    (D + "- python\n# /// wardian-constraints\n# =2\n# ///\n", [("bad_requirement", 5, "constraints")]),
    # several at once
    (
        "name: a b\nchannels: [c, ./d]\nfoo: 1\ndependencies:\n- =1\n- pip: ['=2']\nvariables: {A-B: 1}\n",
        [
            ("bad_name", 1, "name"),
            ("path_channel", 2, "channels[1]"),
            ("unknown_key", 3, "foo"),
            ("bad_match_spec", 5, "dependencies[0]"),
            ("bad_requirement", 6, "dependencies[1].pip[0]"),
            ("bad_variable", 7, "variables.A-B"),
        ],
    ),
]


@pytest.mark.parametrize(("text", "expected"), WRONG, ids=[f"{i}-{found[0][0]}" for i, (_, found) in enumerate(WRONG)])
def test_every_fault_has_its_line_field_and_code(text: str, expected: list[tuple[str, int | None, str]]) -> None:
    with pytest.raises(InvalidDefinition) as caught:
        read(text)
    assert [(fault.code, fault.line, fault.field) for fault in caught.value.faults] == expected
    assert all(fault.file == "environment.yml" for fault in caught.value.faults)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("chanels: [c]\n", "did you mean `channels`?"),
        ("Dependencies: [c]\n", "did you mean `dependencies`?"),
        ("zzz: 1\n", "known keys: name, channels"),
        (D + "- python: 3.10\n", "write `- python=3.10`"),
        (D + "- pipp: [requests]\n", "did you mean `pip`?"),
        (D + "- --index-url: x\n", "options go under `pip:`"),
        ("channels: conda-forge\n", "write it as a list: `channels: [conda-forge]`"),
        ("python=3.10\nnumpy\n", "requirements.txt"),
        ("- numpy\n", "put `dependencies:` above"),
        ("conda_file: x.yml\n", "name it `azureml-v2`"),
        (D + "- numpy\npip: [requests]\n", "an item of `dependencies`"),
        (D + "- numpy >=1 <2\n", "a comma between"),
        (P + "  - a: b\n", "quotes"),
    ],
)
def test_hints_say_what_to_write(text: str, hint: str) -> None:
    with pytest.raises(InvalidDefinition) as caught:
        read(text)
    assert hint in (caught.value.faults[0].hint or "")


def test_a_file_that_includes_a_faulty_one_names_that_one(place: Path) -> None:
    (place / "more/inner.txt").write_text("fine\n=wrong\n")
    with pytest.raises(InvalidDefinition) as caught:
        formats.read(place / "environment.yml")
    assert len(caught.value.faults) == 1
    assert caught.value.faults[0].file.endswith("more/inner.txt")


@pytest.mark.parametrize(
    ("env", "lost"),
    [
        (an_environment(), "the manager uv"),
        (an_environment(conda=("numpy",), link_scripts="run"), "python.link_scripts"),
        (an_environment(conda=("numpy",), base_image="ubuntu"), "docker"),
        (an_environment(conda=("numpy",), accelerators={"cuda": "12"}), "accelerators"),
        (an_environment(conda=("numpy",), pip=("a", "a")), "asked for twice"),
    ],
)
def test_what_a_conda_file_cannot_hold_is_refused_by_name(env: Environment, lost: str) -> None:
    with pytest.raises(InvalidInput, match=lost) as caught:
        formats.write(env, "conda")
    assert caught.value.stable_code == "not_expressible"


def test_extras_and_groups_are_refused() -> None:
    with pytest.raises(InvalidDefinition, match="no_extras_here"):
        read("name: x", extras=("a",))


def test_line_ends_and_a_byte_order_mark_do_not_matter() -> None:
    text = "name: x\nchannels: [c]\ndependencies:\n- numpy\n"
    assert read("\ufeff" + text.replace("\n", "\r\n")).environment == read(text).environment


def test_keys_of_other_tools_are_losses_and_a_strict_priority_is_none() -> None:
    found = read(
        "channels: [c]\ndependencies: [numpy]\nplatforms: [linux-64, osx-64]\ncategory:\nchannel_priority: strict\nprefix: /a\n"
    )
    assert [(loss.line, loss.field, loss.value) for loss in found.losses] == [
        (3, "platforms", "linux-64, osx-64"),
        (6, "prefix", ""),
    ]
    assert [loss.field for loss in read("channels: [c]\nchannel_priority: flexible\n").losses] == ["channel_priority"]
    assert read(found.text).environment == found.environment
