"""Laws of requirements, options and requirements files: what is written reads back, spelling does not matter, pip agrees."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from hypothesis import assume, example, given
from hypothesis import strategies as st
from packaging.markers import InvalidMarker, Marker
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from pip._internal.req.req_file import break_args_options, preprocess
from tests.property.strategies_pip import (
    WrittenFile,
    files,
    in_a_file,
    markers,
    option_spellings,
    options,
    paths,
    requirements,
    spellings,
)

from wardian.definition.environment import Environment, LocalSource, PythonSection
from wardian.definition.identity import definition_hash
from wardian.definition.local_path import checked_path
from wardian.definition.marker import normalised_marker
from wardian.definition.pip_option import PipOption
from wardian.definition.requirement import PipRequirement
from wardian.digest import Digest
from wardian.errors import InvalidDefinition, InvalidInput
from wardian.formats import requirements as requirements_file
from wardian.formats.pip_lines import logical_lines, read_parts


@given(requirements())
def test_a_requirement_reads_back_as_it_was(requirement: PipRequirement) -> None:
    assert PipRequirement.parse(str(requirement)) == requirement


@given(st.data())
def test_spelling_does_not_matter(data: st.DataObject) -> None:
    requirement = data.draw(requirements())
    assert PipRequirement.parse(data.draw(spellings(requirement))) == requirement


@given(requirements(kinds=("name", "named url")))
def test_packaging_reads_the_same(requirement: PipRequirement) -> None:
    theirs = Requirement(
        str(
            PipRequirement(
                requirement.name, requirement.extras, requirement.specifier, requirement.url, None, requirement.marker
            )
        )
    )
    assert theirs.name == requirement.name
    assert {extra.lower() for extra in theirs.extras} == set(requirement.extras)
    assert theirs.specifier == SpecifierSet(requirement.specifier)
    assert theirs.url == requirement.url
    assert str(theirs.marker or "") == str(Marker(requirement.marker) if requirement.marker else "")


_PIECES = st.sampled_from(
    [
        "numpy",
        "a.b",
        "_",
        "-",
        "[",
        "]",
        "x",
        ",",
        " ",
        "(",
        ")",
        "==",
        ">=",
        "~=",
        "===",
        "=",
        "<",
        "!",
        "1",
        "1.0",
        ".*",
        "2.0rc1",
        "+l",
        "1!",
        "dev",
    ]
)


@given(st.lists(_PIECES, min_size=1, max_size=9).map("".join))
@example("numpy>=1,")
@example("x[a][b]")
@example("foo bar")
def test_a_name_with_versions_is_one_where_packaging_says_so(text: str) -> None:
    assume(not text.strip().startswith(("-", ".")))  # options and paths
    try:
        theirs = Requirement(text.strip())
        valid = theirs.name[-1].isalnum()  # packaging lets a name end in `_`; PEP 508 does not
    except InvalidRequirement:
        valid = False
    try:
        PipRequirement.parse(text)
        ours = True
    except InvalidInput:
        ours = False
    assert ours == valid


@given(markers)
def test_a_marker_is_written_in_one_way(marker: str) -> None:
    assert normalised_marker(marker) == marker
    assert normalised_marker(f" ( {marker} ) ") == f"({marker})"


_MARKER_PIECES = st.sampled_from(
    [
        "os_name",
        "os.name",
        "python_version",
        "'3'",
        '"a\'b"',
        "==",
        "<",
        "in",
        "not",
        "and",
        "or",
        "(",
        ")",
        "x",
        "extra",
        "'",
        "not in",
        "===",
    ]
)


@given(st.lists(_MARKER_PIECES, min_size=1, max_size=9).map(" ".join))
@example("os_name=='a'and os_name=='b'")
@example("(os_name == 'a')or(os_name == 'b')")
@example("'linux' in sys_platform")
def test_a_marker_is_one_where_packaging_says_so(text: str) -> None:
    try:
        theirs = str(Marker(text))
    except InvalidMarker:
        theirs = ""
    try:
        ours = normalised_marker(text)
    except InvalidInput:
        ours = ""
    assert bool(ours) == bool(theirs)
    if theirs:
        assert str(Marker(ours)) == theirs
        assert normalised_marker(ours) == ours


@given(paths())
def test_a_path_has_one_spelling(path: str) -> None:
    assert checked_path(path) == path
    assert checked_path(f"./x/../{path}//") == path
    assert checked_path(path.replace("/", "\\")) == path


@given(st.data())
def test_an_option_reads_back_however_it_is_spelled(data: st.DataObject) -> None:
    option = data.draw(options)
    assert PipOption.parse(str(option)) == option
    assert PipOption.parse(data.draw(option_spellings(option))) == option


@given(st.lists(requirements(), max_size=5), st.lists(options, max_size=3))
def test_normalising_twice_changes_nothing(wanted: list[PipRequirement], given_options: list[PipOption]) -> None:
    once = Environment(
        python=PythonSection(manager="uv", pip=tuple(map(str, wanted)), pip_options=tuple(map(str, given_options)))
    )
    twice = Environment(python=PythonSection(manager="uv", pip=once.python.pip, pip_options=once.python.pip_options))
    assert twice == once
    assert definition_hash(twice) == definition_hash(once)


# -- files ---------------------------------------------------------------------------------------------------------------


@given(files())
def test_a_file_says_what_its_lines_say(written: WrittenFile) -> None:
    read = requirements_file.read(written.text, file="requirements.txt", base=None)
    assert read.environment.python.pip == written.pip
    assert read.environment.python.pip_options == written.options
    assert read.environment.python.constraints == written.constraints
    again = requirements_file.read(read.text, file="requirements.txt", base=None)
    assert (again.environment, again.text) == (read.environment, read.text)


@given(st.lists(requirements(), max_size=5), st.lists(options, max_size=3))
def test_what_is_written_reads_back(wanted: list[PipRequirement], given_options: list[PipOption]) -> None:
    local = {r.path: LocalSource(r.path, Digest.of(r.path.encode())) for r in wanted if r.path is not None}
    env = Environment(
        name="x",
        python=PythonSection(
            manager="uv", pip=tuple(map(str, wanted)), pip_options=tuple(map(str, given_options)), local=tuple(local.values()),
            constraints=tuple(str(r) for r in wanted if r.name and not r.extras and r.path is None),
        ),
    )  # fmt: skip
    keys = [(r.project or r.path or r.url, r.marker) for r in wanted]
    if len(set(keys)) < len(keys) or not all(map(in_a_file, wanted)):
        with suppress(InvalidInput):
            requirements_file.write(env)
        return
    text = requirements_file.write(env)
    assert requirements_file.read(text, file="x", base=None, local=tuple(local.values())).environment.content == env.content


@given(st.lists(requirements(kinds=("name",)), max_size=5, unique_by=lambda r: r.name))
def test_every_environment_of_plain_requirements_can_be_written(wanted: list[PipRequirement]) -> None:
    pip = tuple(str(r) for r in wanted if " -" not in r.marker)
    env = Environment(python=PythonSection(manager="uv", pip=pip))
    assert requirements_file.read(requirements_file.write(env), file="x", base=None).environment == env


# -- pip's own code decides ----------------------------------------------------------------------------------------------

_LINE_PIECES = st.sampled_from(
    [
        "numpy",
        "==1",
        " ",
        "  ",
        "\\",
        "#",
        " #",
        "# c",
        "\n",
        "\n",
        "\\\n",
        "-r",
        "--pre",
        " --hash=a:b",
        "\t",
        ";",
        "'",
        "\x0c",
        "\u2028",
        "\\\\",
    ]
)


@given(st.lists(_LINE_PIECES, max_size=14).map("".join))
@example("a \\\n# c\nb")
@example("a\\\n\\\n#\\\nb\\")
@example("#c\\\na")
def test_lines_are_joined_and_cut_as_pip_does(text: str) -> None:
    assert [(line.first, line.text) for line in logical_lines(text)[0]] == list(preprocess(text))


@given(
    st.lists(
        st.sampled_from(["numpy", "-", "--pre", "-e", "./x", " ", "  ", "-i", "u", "--hash=a", "[x]", ";", "--no-index"]),
        max_size=9,
    ).map("".join)
)
def test_a_requirement_ends_where_pip_says(text: str) -> None:
    args, _ = break_args_options(text)
    try:
        parts = read_parts(text)
    except InvalidInput:
        return  # options that pip refuses too: see the table in the unit tests
    if args.strip():
        assert parts.requirement == args.strip()
        assert not parts.editable
    else:
        assert parts.editable == (parts.requirement is not None)


@given(st.sampled_from(["-r ", "-c ", "-e ", "./", "-f ", "a @ ./", "file:"]), st.text(max_size=20) | st.just("x" * 5000))
def test_any_path_is_found_or_refused_by_name(before: str, path: str) -> None:
    try:
        requirements_file.read(before + path, file="requirements.txt", base=Path(__file__).parent)
    except InvalidDefinition as error:
        assert all(fault.code and fault.line for fault in error.faults)  # noqa: PT017 - the error is the fact


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_by_name(text: str) -> None:
    try:
        requirements_file.read(text, file="requirements.txt", base=None)
    except InvalidDefinition as error:
        assert all(fault.code and fault.line for fault in error.faults)  # noqa: PT017 - the error is the fact
