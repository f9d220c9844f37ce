"""Requirements as pip writes them: what each form becomes, and why a wrong one is refused."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import pytest

from wardian.definition.environment import Environment, PythonSection
from wardian.definition.identity import definition_hash
from wardian.definition.marker import normalised_marker
from wardian.definition.requirement import PipRequirement
from wardian.errors import InvalidDefinition, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable

SHA = "sha256:" + "0123456789abcdef" * 4

FORMS = {
    # names and versions
    "NumPy": "numpy",
    "Foo__bar.-Baz >= 1.2 , < 2": "foo-bar-baz>=1.2,<2",
    "foo (>=1.0)": "foo>=1.0",
    "foo[ B , a_c ]": "foo[a-c,b]",
    "foo[]": "foo",
    "foo>=1,": "foo>=1",
    "foo == 1.0.*": "foo==1.0.*",
    "foo===anything_at-all": "foo===anything_at-all",
    "foo==1!2.0rc1.post1.dev2+local.7": "foo==1!2.0rc1.post1.dev2+local.7",
    "foo>=1.0RC1": "foo>=1.0RC1",
    "foo;": "foo",
    "foo ;  python_version<'3.12'": 'foo; python_version < "3.12"',
    "foo; os.name=='nt'and(sys_platform  in 'a b')": 'foo; os_name == "nt" and (sys_platform in "a b")',
    "foo; python_implementation != 'PyPy'": 'foo; platform_python_implementation != "PyPy"',
    "foo; platform_version == 'a\"b'": "foo; platform_version == 'a\"b'",
    f"foo==1 --hash={SHA}  --hash {SHA}": f"foo==1 --hash={SHA} --hash={SHA}",
    # URLs
    "https://example.org/a.zip": "https://example.org/a.zip",
    "https://example.org/a.zip; os_name=='nt'": 'https://example.org/a.zip ; os_name == "nt"',
    "https://example.org/a;b": "https://example.org/a;b",
    "Foo@https://example.org/a.zip": "foo @ https://example.org/a.zip",
    "foo [x] @ https://example.org/a.zip ; os_name=='nt'": 'foo[x] @ https://example.org/a.zip ; os_name == "nt"',
    "foo @ https://example.org/a.zip;os_name=='nt'": 'foo @ https://example.org/a.zip ; os_name == "nt"',
    "foo @ https://example.org/a;b": "foo @ https://example.org/a;b",
    "git+https://example.org/r.git@v1#egg=Foo[x]&subdirectory=s": "git+https://example.org/r.git@v1#egg=Foo[x]&subdirectory=s",
    "foo @ git+https://example.org/r.git#egg=bar": "foo @ git+https://example.org/r.git#egg=bar",
    "git+ssh://git@example.org:2222/r.git@0123abc": "git+ssh://git@example.org:2222/r.git@0123abc",
    "-e git+https://example.org/r.git#egg=foo": "git+https://example.org/r.git#egg=foo",
    "https://${USER}:${PASSWORD}@example.org/a.zip": "https://${USER}:${PASSWORD}@example.org/a.zip",
    "${PLACE}/a-1-py3-none-any.whl": "${PLACE}/a-1-py3-none-any.whl",
    "foo @ ${PLACE}/a.zip": "foo @ ${PLACE}/a.zip",
    # local code
    ".": ".",
    "-e .[dev]": ".[dev]",
    "--editable=./pkg": "./pkg",
    "-e pkg": "./pkg",
    "./pkg/": "./pkg",
    "pkg/": "./pkg",
    "src/pkg": "./src/pkg",
    r".\src\pkg": "./src/pkg",
    "../a/./b/../c": "../a/c",
    "./my pkg [x]": "./my pkg[x]",
    "file:pkg": "./pkg",
    "file:./my%20pkg": "./my pkg",
    "file:.#egg=foo&subdirectory=sub": "foo @ ./sub",
    "foo @ ./pkg": "foo @ ./pkg",
    "foo@pkg/": "foo @ ./pkg",
    "foo[a] @ file:./pkg[b] ; os_name=='nt'": 'foo[a,b] @ ./pkg ; os_name == "nt"',
    "./pkg ; os_name=='nt'": './pkg; os_name == "nt"',
    "a-1-py3-none-any.whl": "./a-1-py3-none-any.whl",
    "./a-1-1build-py3-none-any.whl": "./a-1-1build-py3-none-any.whl",
    "./dist/a.tar.gz": "./dist/a.tar.gz",
    f"./a.zip#{SHA.replace(':', '=')}": f"./a.zip --hash={SHA}",
}


@pytest.mark.parametrize(("written", "normal"), FORMS.items(), ids=list(FORMS))
def test_each_form_has_one_normal_spelling(written: str, normal: str) -> None:
    requirement = PipRequirement.parse(written)
    assert str(requirement) == normal
    assert PipRequirement.parse(normal) == requirement


REFUSED = {
    "": "bad_requirement",
    "numpy ===": "bad_requirement",
    "numpy>=1,=== ,<2": "bad_requirement",
    "a\nb": "bad_requirement",
    "a\0b": "bad_requirement",
    "a\u00a0>=1": "bad_requirement",
    "a\u200b": "bad_requirement",
    "-r other.txt": "bad_requirement",
    "--pre": "bad_requirement",
    "numpy=1.26": "bad_requirement",
    "numpy 1.26": "bad_requirement",
    "numpy>=1,,<2": "bad_requirement",
    "numpy>=1.*": "bad_requirement",
    "numpy~=1": "bad_requirement",
    "numpy>=" + "9" * 5000: "bad_requirement",
    "numpy[a": "bad_requirement",
    "numpy[a b]": "bad_requirement",
    "numpy[a][b]": "bad_requirement",
    "numpy # comment": "bad_requirement",
    "foo_": "bad_requirement",
    "foo_>=1": "bad_requirement",
    "_foo": "bad_requirement",
    "é": "bad_requirement",
    "foo@1.0": "bad_requirement",
    "foo @ bar": "bad_requirement",
    "x" * 70_000: "bad_requirement",
    "numpy; python_versio < '3'": "bad_marker",
    "numpy; python_version < '3": "bad_marker",
    "numpy; (os_name == 'a'": "bad_marker",
    "numpy; os_name == 'a' os_name == 'b'": "bad_marker",
    "numpy; os_name not 'a'": "bad_marker",
    "numpy; os_name": "bad_marker",
    "numpy; " + "(" * 60 + "os_name == 'a'" + ")" * 60: "bad_marker",
    "https://example.org/a.zip ; nonsense": "bad_marker",
    "numpy --hash=md5:abc": "bad_hash",
    f"numpy --hash={SHA[:-1]}": "bad_hash",
    f"numpy --hash={SHA.upper()}": "bad_hash",
    "./a.zip#sha256=abc": "bad_hash",
    "/abs/pkg": "absolute_path",
    "-e /abs/pkg": "absolute_path",
    "~/pkg": "absolute_path",
    r"C:\pkg": "absolute_path",
    "C:pkg": "absolute_path",
    r"\\server\share": "absolute_path",
    "file:///abs/pkg": "absolute_path",
    "file://localhost/abs": "absolute_path",
    "foo @ file:///abs/pkg": "absolute_path",
    "./${HOME}/pkg": "variable_in_path",
    "file:./a%3Bb": "bad_path",
    "file:./a%23b": "bad_path",
    "./a[b]/": "bad_path",
    "./a#b": "bad_requirement",
    "bad.whl": "bad_requirement",
    "https://example.org/bad.whl": "bad_requirement",
    "-e numpy>=1": "bad_requirement",
    "-e https://": "bad_requirement",
    "https:///path": "bad_requirement",
    "https://example.org/a b": "bad_requirement",
    "ftp://example.org/a.zip": "bad_requirement",
    "ssh://git@example.org/r": "bad_requirement",
    "git@example.org:team/r.git": "bad_requirement",
    "git+git@example.org:team/r.git": "bad_requirement",
    "git+ssh://git@example.org:team/r.git": "bad_requirement",
    "hg+https://example.org/r": "unsupported_vcs",
    "foo @ svn+https://example.org/r": "unsupported_vcs",
    "https://user:word@example.org/a.zip": "secret_in_definition",
    "https://${USER}:word@example.org/a.zip": "secret_in_definition",
    "foo @ https://abcdefghijklmnopqrstuvwxyz012345@example.org/a.zip": "secret_in_definition",
    "git+https://x:word@example.org/r@v1": "secret_in_definition",
    "https://example.org/a.zip?sig=abc": "secret_in_definition",
    "https://example.org/a.zip?X-Amz-Signature=abc": "secret_in_definition",
    "https://example.org/?access_token=abc and more": "secret_in_definition",
}


@pytest.mark.parametrize(("written", "code"), REFUSED.items(), ids=[text[:40] for text in REFUSED])
def test_what_is_no_requirement_is_refused_by_code(written: str, code: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        PipRequirement.parse(written)
    assert refused.value.stable_code == code
    assert len(refused.value.message) < 500


@pytest.mark.parametrize("written", [text for text, code in REFUSED.items() if code == "secret_in_definition"])
def test_a_secret_is_not_repeated_in_the_error(written: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        PipRequirement.parse(written)
    for secret in ("word", "abcdefghijklmnopqrstuvwxyz012345", "abc"):
        assert secret not in refused.value.message + (refused.value.hint or "")


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("numpy=1.26", "pip writes `==`"),
        ("git@example.org:team/r.git", "git+ssh://git@example.org/team/r.git"),
        ("ssh://git@example.org/r", "git+ssh://git@example.org/r"),
        ("https://user:word@example.org/a.zip", "${VARIABLE}"),
        ("/abs/pkg", "./…"),
        ("alpha==${VERSION}", "write what it stands for"),
        ("alpha[${EXTRA}]", "write what it stands for"),
    ],
)
def test_a_refusal_says_what_to_write(written: str, hint: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        PipRequirement.parse(written)
    assert refused.value.hint is not None
    assert hint in refused.value.hint


@pytest.mark.parametrize(
    ("written", "project"),
    [
        ("Foo_Bar>=1", "foo-bar"),
        ("foo @ ./pkg", "foo"),
        ("git+https://example.org/r#egg=Foo", "foo"),
        ("https://example.org/Foo_Bar-1.0-py3-none-any.whl", "foo-bar"),
        ("./dist/Foo_Bar-1.0-py3-none-any.whl", "foo-bar"),
        ("./pkg", None),
        ("https://example.org/foo-1.0.tar.gz", None),
    ],
)
def test_the_project_is_known_as_far_as_the_text_tells(written: str, project: str | None) -> None:
    assert PipRequirement.parse(written).project == project


def test_hashes_and_versions_keep_their_order() -> None:
    other = "sha512:" + "0" * 128
    assert PipRequirement.parse(f"a<2,>=1 --hash={other} --hash={SHA}").hashes == (other, SHA)
    assert PipRequirement.parse("a<2,>=1").specifier == "<2,>=1"


def test_all_faults_of_an_environment_come_at_once() -> None:
    with pytest.raises(InvalidDefinition) as refused:
        Environment(
            python=PythonSection(manager="uv", pip=("ok", "a=1", "/abs"), constraints=("b;x",), pip_options=("--nope",))
        )
    assert [(f.field, f.code) for f in refused.value.faults] == [
        ("python.pip[1]", "bad_requirement"),
        ("python.pip[2]", "absolute_path"),
        ("python.constraints[0]", "bad_marker"),
        ("python.pip_options[0]", "unknown_pip_option"),
    ]


def test_a_marker_that_packaging_prints_otherwise_keeps_wardians_spelling() -> None:
    # packaging drops these brackets and rewrites the extra; an identity must not change with a library
    assert normalised_marker("(os_name == 'a')") == '(os_name == "a")'
    assert normalised_marker("extra == 'A_b'") == 'extra == "A_b"'


def _many(count: int) -> tuple[str, ...]:
    return tuple(
        f"Foo.pkg{i} >= 1.{i}, <2 ; python_version < '3.{i % 9}'" if i % 2 else f"foo{i}[a,b]==1.{i}.*,!=1.3rc1"
        for i in range(count)
    )


def test_two_hundred_requirements_are_read_well_under_30_ms() -> None:
    def read(run: int) -> None:
        Environment(python=PythonSection(manager="uv", pip=(f"run{run}", *_many(199))))

    assert min(_seconds(partial(read, run)) for run in range(5)) < 0.03


def test_hashing_parses_nothing() -> None:
    env = Environment(python=PythonSection(manager="uv", pip=_many(200)))
    assert min(_seconds(partial(definition_hash, env)) for _ in range(5)) < 0.001


def _seconds(action: Callable[[], object]) -> float:
    started = time.process_time()
    action()
    return time.process_time() - started


@pytest.mark.parametrize(
    "hostile",
    ["a" * 60_000, "a" + " " * 60_000 + "x", "[" * 60_000, "a" + "-" * 60_000, "a;" + "(" * 60_000, "a @ " + "http://" * 8000, "a>=" + "1," * 30_000,
     "a[" + "a," * 30_000 + "]", "a==1" + " --hash" * 8000, "./" + "a -" * 20_000, "a>=1" + "\t " * 30_000 + "x"],
    ids=lambda text: text[:8],
)  # fmt: skip
def test_hostile_lines_take_no_time(hostile: str) -> None:
    def attempt() -> None:
        with suppress(InvalidInput):
            PipRequirement.parse(hostile)

    assert _seconds(attempt) < 0.5


def test_common_requirements_do_not_import_packaging() -> None:
    code = (
        "import sys; from wardian.definition.requirement import PipRequirement as P;"
        "P.parse('numpy>=1.26,<2; python_version < \"3.13\"'); P.parse('./pkg'); P.parse('a @ https://h/x.zip');"
        "print([m for m in ('packaging', 'yaml', 'tomllib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
