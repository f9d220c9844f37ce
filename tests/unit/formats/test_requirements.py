"""requirements.txt: what pip would read is what Wardian reads; included files, local code, faults with their line."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest
from pip._internal.exceptions import PipError
from pip._internal.req.req_file import parse_requirements
from tests.builders import an_environment

from wardian.definition.environment import LocalSource
from wardian.digest import Digest
from wardian.errors import InvalidDefinition, InvalidInput, NotFound
from wardian.formats import requirements
from wardian.formats.faults import MOST_FAULTS
from wardian.formats.source_text import LIMIT_BYTES, decode, read_source
from wardian.formats.tree import tree_digest

if TYPE_CHECKING:
    from pathlib import Path

    from wardian.formats.read_definition import ReadDefinition

SHA = "sha256:" + "0123456789abcdef" * 4


def read_files(place: Path, files: dict[str, str], top: str = "requirements.txt") -> ReadDefinition:
    for name, text in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)
    return requirements.read((place / top).read_text(), file=top, base=place)


def faults_of(place: Path, files: dict[str, str]) -> list[tuple[str, int | None, str, str]]:
    with pytest.raises(InvalidDefinition) as refused:
        read_files(place, files)
    return [(fault.file, fault.line, fault.field, fault.code) for fault in refused.value.faults]


# -- what a file says ----------------------------------------------------------------------------------------------------


def test_a_whole_file(tmp_path: Path) -> None:
    read = read_files(tmp_path, {"requirements.txt": f"""\
# what we train with
-i https://example.org/simple  # the team's index
--extra-index-url=https://${{USER}}:${{PASSWORD}}@example.org/extra
--pre --no-binary Foo_Bar
NumPy >= 1.26, < 2   # until the port is done
pandas[excel] == 2.*; python_version < "3.13"
scikit-learn==1.5.0 \\
    --hash={SHA} \\
    --hash={SHA.replace("0", "1")}

tool @ git+https://example.org/tool.git@v1#subdirectory=python
"""})  # fmt: skip
    assert read.environment.python.manager == "uv"
    assert read.environment.python.pip == (
        "numpy>=1.26,<2",
        'pandas[excel]==2.*; python_version < "3.13"',
        f"scikit-learn==1.5.0 --hash={SHA} --hash={SHA.replace('0', '1')}",
        "tool @ git+https://example.org/tool.git@v1#subdirectory=python",
    )
    assert read.environment.python.pip_options == (
        "--index-url https://example.org/simple",
        "--extra-index-url https://${USER}:${PASSWORD}@example.org/extra",
        "--pre",
        "--no-binary foo-bar",
    )
    assert read.text == (tmp_path / "requirements.txt").read_text()
    assert (read.format, read.self_contained, read.sources, read.warnings) == ("requirements", True, {}, ())


def test_included_files_enter_by_content_and_paths_start_from_the_top(tmp_path: Path) -> None:
    (tmp_path / "sub/pkg").mkdir(parents=True)
    (tmp_path / "sub/pkg/pyproject.toml").write_text("[project]\n")
    read = read_files(tmp_path, {
        "requirements.txt": "first\n-r sub/base.txt  # shared\n-c limits.txt\nlast\n",
        "sub/base.txt": "-e ./pkg[dev]  # ours\n--find-links wheels\n-r ../third.txt\nmiddle",
        "third.txt": "deep  # why\n",
        "limits.txt": "# limits\nfirst<2\n--pre\n",
    })  # fmt: skip
    assert read.environment.python.pip == ("first", "./sub/pkg[dev]", "deep", "middle", "last")
    assert read.environment.python.pip_options == ("--find-links ./sub/wheels", "--pre")
    assert read.environment.python.constraints == ("first<2",)
    assert not read.self_contained
    assert (
        read.text
        == """\
first
# --- -r sub/base.txt  # shared
-e ./sub/pkg[dev]  # ours
--find-links ./sub/wheels
# --- -r ../third.txt
deep  # why
# --- end of ../third.txt
middle
# --- end of sub/base.txt
# --- -c limits.txt
# /// wardian-constraints
# # limits
# first<2
# ///
--pre
# --- end of limits.txt
last
"""
    )
    again = requirements.read(read.text, file="kept", base=None, local=read.environment.python.local)
    assert again.environment == read.environment
    assert again.text == read.text
    assert again.sources == {}


def test_requirements_in_a_constraints_file_are_requirements(tmp_path: Path) -> None:  # as pip has it
    read = read_files(
        tmp_path,
        {"requirements.txt": "-c c.txt\n", "c.txt": "a<2\n-r r.txt\nb<3\n", "r.txt": "a\n-c d.txt\n", "d.txt": "d<1\n"},
    )
    assert read.environment.python.pip == ("a",)
    assert read.environment.python.constraints == ("a<2", "d<1", "b<3")
    assert requirements.read(read.text, file="kept", base=None).environment == read.environment


def test_a_kept_text_can_be_included_again(tmp_path: Path) -> None:
    kept = read_files(tmp_path, {"requirements.txt": "-c c.txt\na\n", "c.txt": "a<2 \\\n # c\nb<3\n"}).text
    read = read_files(
        tmp_path,
        {"top.txt": "-r kept.txt\n-c kept2.txt\n", "kept.txt": kept, "kept2.txt": kept.replace("\na\n", "\n")},
        "top.txt",
    )
    assert read.environment.python.pip == ("a",)
    assert read.environment.python.constraints == ("a<2", "b<3", "a<2", "b<3")
    assert requirements.read(read.text, file="kept", base=None).environment == read.environment


def test_a_constraints_block_may_include_files(tmp_path: Path) -> None:
    text = "# /// wardian-constraints\n# a<2\n# -c c.txt\n# --pre\n# b<3\n# ///\nx\n"
    read = read_files(tmp_path, {"requirements.txt": text, "c.txt": "c<1\n"})
    assert read.environment.python.constraints == ("a<2", "c<1", "b<3")
    assert read.environment.python.pip_options == ("--pre",)
    assert requirements.read(read.text, file="kept", base=None).environment == read.environment


def test_a_file_included_along_two_ways_counts_once(tmp_path: Path) -> None:
    read = read_files(tmp_path, {
        "requirements.txt": "-r a.txt\n-r b.txt\n",
        "a.txt": "-r base.txt\n",
        "b.txt": "-r base.txt\nnumpy\n",
        "base.txt": "numpy\n",
    })  # fmt: skip
    assert read.environment.python.pip == ("numpy",)
    assert [(w.file, w.line, w.code) for w in read.warnings] == [("b.txt", 2, "repeated_requirement")]
    assert requirements.read(read.text, file="kept", base=None).environment == read.environment


def test_local_code_is_digested_and_its_place_told(tmp_path: Path) -> None:
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg/setup.py").write_text("")
    (tmp_path / "a-1-py3-none-any.whl").write_bytes(b"wheel")
    read = read_files(
        tmp_path, {"requirements.txt": "./pkg\n./a-1-py3-none-any.whl\n-e pkg/[x] \n".replace("-e pkg/[x] \n", "")}
    )
    tree, wheel = read.environment.python.local
    assert tree == LocalSource("./pkg", tree_digest(tmp_path / "pkg"))
    assert wheel == LocalSource("./a-1-py3-none-any.whl", Digest.of(b"wheel"))
    assert read.sources == {tree.digest: tmp_path / "pkg", wheel.digest: tmp_path / "a-1-py3-none-any.whl"}
    assert not read.self_contained


def test_given_digests_stand_in_for_trees_that_are_not_there(tmp_path: Path) -> None:
    stored = (LocalSource("./pkg", Digest.of(b"then")),)
    for base in (None, tmp_path):
        assert requirements.read("./pkg\n", file="kept", base=base, local=stored).environment.python.local == stored
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg/setup.py").write_text("now")
    assert requirements.read("./pkg\n", file="kept", base=tmp_path, local=stored).environment.python.local != stored


@pytest.mark.parametrize(
    ("content", "first"),
    [
        ("# -*- coding: latin-1 -*-\nnumpy  # é\n".encode("latin-1"), "# -*- coding: utf-8 -*-"),
        ("\n# vim: set fileencoding=latin-1 :\nnumpy  # é\n".encode("latin-1"), ""),
        ("#\r\n# coding: gbk\r\nnumpy  # é 中\r\n".encode("gbk"), "#"),
        ("numpy  # é\n".encode("utf-8-sig"), "numpy  # é"),
        ("numpy  # é\r\n".encode("utf-16"), "numpy  # é"),
        ("numpy  # é\r".encode("utf-32"), "numpy  # é"),
    ],
)
def test_bytes_are_decoded_as_pip_does(tmp_path: Path, content: bytes, first: str) -> None:
    (tmp_path / "r.txt").write_bytes(content)
    text = read_source(tmp_path / "r.txt")
    read = requirements.read(text, file="r.txt", base=tmp_path)
    assert read.environment.python.pip == ("numpy",)
    assert text.splitlines()[0] == first
    assert "# é" in text
    # the text is kept as UTF-8, so it must not claim another encoding
    assert decode(read.text.encode(), file="kept", coding_line=True) == read.text


def test_variables_are_left_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "word")
    read = read_files(tmp_path, {"requirements.txt": "--index-url https://${TOKEN}@example.org/simple\n"})
    assert read.environment.python.pip_options == ("--index-url https://${TOKEN}@example.org/simple",)


def test_options_that_pip_drops_are_told(tmp_path: Path) -> None:
    read = read_files(tmp_path, {"requirements.txt": "numpy --pre\n-r a.txt --pre\n", "a.txt": "scipy\n"})
    assert read.environment.python.pip_options == ()
    assert [(w.line, w.field, w.code) for w in read.warnings] == [
        (1, "requirements[0]", "ignored_option"),
        (2, "--requirement", "ignored_option"),
    ]


# -- faults --------------------------------------------------------------------------------------------------------------

FAULTS: dict[str, list[tuple[int | None, str, str]]] = {
    "numpy=1\n": [(1, "requirements[0]", "bad_requirement")],
    "\n\n# c\nnumpy==\n": [(4, "requirements[0]", "bad_requirement")],
    "a\nb c\n": [(2, "requirements[1]", "bad_requirement")],
    "a\n\nb ; python < '3'\n": [(3, "requirements[1]", "bad_marker")],
    "a==1 \\\n  --hash=sha256:1 \\\n  --hash=md5:2\n": [
        (2, "requirements[0].hash", "bad_hash"),
        (3, "requirements[0].hash", "bad_hash"),
    ],
    "a --hash=\n": [(1, "requirements[0].hash", "bad_hash")],
    "--hash=sha256:1\n": [(1, "--hash", "stray_text")],
    "--nope\na=1\n": [(1, "--nope", "unknown_pip_option"), (2, "requirements[0]", "bad_requirement")],
    "-x\n": [(1, "-x", "unknown_pip_option")],
    "--pr\n": [(1, "--pr", "unknown_pip_option")],
    "--index-url\n": [(1, "--index-url", "bad_pip_option")],
    "-i 'https://example.org\n": [(1, "-i", "bad_pip_option")],
    "--pre numpy\n": [(1, "--pre", "stray_text")],
    "--no-index=1\n": [(1, "--no-index", "bad_pip_option")],
    "--pre \\\n  --trusted-host https://a\n": [(2, "--trusted-host", "bad_pip_option")],
    "--no-binary a,,b\n": [(1, "--no-binary", "bad_pip_option")],
    "a --config-settings x=y\n": [(1, "requirements[0]", "unsupported_pip_option")],
    "a -C x=y\n": [(1, "requirements[0]", "unsupported_pip_option")],
    "a --global-option x\n": [(1, "requirements[0]", "unsupported_pip_option")],
    "--no-require-hashes\n": [(1, "--no-require-hashes", "unsupported_pip_option")],
    "a --nope\n": [(1, "requirements[0]", "unknown_pip_option")],
    "-r missing.txt\n": [(1, "--requirement", "no_such_file")],
    "-c ${DIR}/missing.txt\n": [(1, "--constraint", "no_such_file")],
    "-r https://example.org/r.txt\n": [(1, "--requirement", "outside_include")],
    "-r file:///etc/r.txt\n": [(1, "--requirement", "outside_include")],
    "a\n-r .\n": [(2, "--requirement", "not_a_file")],
    "-r requirements.txt\n": [(1, "--requirement", "include_cycle")],
    "-e\n": [(1, "requirements[0]", "bad_pip_option")],
    "-e numpy>=1\n": [(1, "requirements[0]", "bad_requirement")],
    "-e ./missing\n": [(1, "requirements[0]", "no_such_path")],
    "-e ./empty ; python_version < '3'\n": [(1, "requirements[0]", "stray_text")],
    "./empty\n": [(1, "requirements[0]", "not_installable")],
    "./requirements.txt\n": [(1, "requirements[0]", "not_installable")],
    "./missing-1-py3-none-any.whl\n": [(1, "requirements[0]", "no_such_path")],
    "/abs/pkg\n": [(1, "requirements[0]", "absolute_path")],
    "a @ file:///abs/pkg\n": [(1, "requirements[0]", "absolute_path")],
    "C:\\pkg\n": [(1, "requirements[0]", "absolute_path")],
    "./${PLACE}/pkg\n": [(1, "requirements[0]", "variable_in_path")],
    "hg+https://example.org/r\n": [(1, "requirements[0]", "unsupported_vcs")],
    "git+git@example.org:t/r.git\n": [(1, "requirements[0]", "bad_requirement")],
    "https://u:word@example.org/a.zip\n": [(1, "requirements[0]", "secret_in_definition")],
    "-i https://u:word@example.org/\n": [(1, "-i", "secret_in_definition")],
    "--nope=https://u:word@example.org/\n": [(1, "--nope", "secret_in_definition")],
    "numpy>=1\nscipy\nNumPy<2\n": [(3, "requirements[2]", "duplicate_requirement")],
    "numpy\nnumpy\n": [(2, "requirements[1]", "duplicate_requirement")],
    "a-1-py3-none-any.whl\n": [(1, "requirements[0]", "no_such_path")],
    "# /// wardian-constraints\n# a<2\n": [(1, "", "unclosed_constraints")],
    "a\n# /// wardian-constraints\n# a<2\nb\n# ///\n": [(2, "", "unclosed_constraints")],
    "# /// wardian-constraints\n# a=1\n# a[x]<1\n# -e ./p\n# ./p\n# ///\nb=1\n": [
        (2, "constraints[0]", "bad_requirement"),
        (3, "constraints[1]", "bad_constraint"),
        (4, "constraints[2]", "no_such_path"),
        (5, "constraints[3]", "no_such_path"),
        (7, "requirements[0]", "bad_requirement"),
    ],
    "a\u00a0b\n": [(1, "requirements[0]", "bad_requirement")],
    "numpy#c\n": [(1, "requirements[0]", "bad_requirement")],
    "a b \\\n": [(1, "requirements[0]", "bad_requirement")],
}


@pytest.mark.parametrize(("text", "expected"), FAULTS.items(), ids=[text[:30] for text in FAULTS])
def test_each_fault_has_its_line_field_and_code(tmp_path: Path, text: str, expected: list[tuple[int | None, str, str]]) -> None:
    (tmp_path / "empty").mkdir()
    found = faults_of(tmp_path, {"requirements.txt": text})
    assert [(line, field, code) for _, line, field, code in found] == expected


def test_two_faults_in_one_file_are_both_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidDefinition) as refused:
        read_files(tmp_path, {"requirements.txt": "numpy=1\nok\n--nope\n"})
    assert "requirements.txt:1: requirements[0]: `numpy=1`" in refused.value.message
    assert "requirements.txt:3: --nope:" in refused.value.message


def test_faults_of_included_files_name_them(tmp_path: Path) -> None:
    files = {"requirements.txt": "-r sub/a.txt\nx=1\n", "sub/a.txt": "ok\ny=1\n-c ../c.txt\n", "c.txt": "z[e]\n./p\n-e .\n"}
    (tmp_path / "p").mkdir()
    (tmp_path / "setup.py").write_text("")
    (tmp_path / "p/setup.py").write_text("")
    assert faults_of(tmp_path, files) == [
        ("sub/a.txt", 2, "requirements[1]", "bad_requirement"),
        ("c.txt", 1, "constraints[0]", "bad_constraint"),
        ("c.txt", 2, "constraints[1]", "bad_constraint"),
        ("c.txt", 3, "constraints[2]", "bad_constraint"),
        ("requirements.txt", 2, "requirements[2]", "bad_requirement"),
    ]


def test_a_duplicate_names_both_lines(tmp_path: Path) -> None:
    with pytest.raises(InvalidDefinition) as refused:
        read_files(tmp_path, {"requirements.txt": "numpy>=1\n\n\nNumPy<2\n"})
    assert "on line 1 and on line 4" in refused.value.message
    with pytest.raises(InvalidDefinition) as refused:
        read_files(tmp_path, {"requirements.txt": "-r a.txt\nNumPy<2\n", "a.txt": "\nnumpy\n"})
    assert "on a.txt:2 and on line 2" in refused.value.message
    read = read_files(tmp_path, {"requirements.txt": "numpy<2; os_name == 'nt'\nnumpy>2; os_name == 'posix'\n"})
    assert len(read.environment.python.pip) == 2


def test_a_circle_of_files_is_refused_where_it_closes(tmp_path: Path) -> None:
    files = {"requirements.txt": "-r a.txt\n", "a.txt": "x\n-r sub/b.txt\n", "sub/b.txt": "-c ../a.txt\n"}
    assert faults_of(tmp_path, files) == [("sub/b.txt", 1, "--constraint", "include_cycle")]


def test_a_text_without_a_place_includes_nothing() -> None:
    with pytest.raises(InvalidDefinition) as refused:
        requirements.read("-r a.txt\n./pkg\n", file="<text>", base=None)
    assert [(f.line, f.code) for f in refused.value.faults] == [(1, "include_without_place"), (2, "no_such_path")]


def test_an_avalanche_of_includes_is_stopped(tmp_path: Path) -> None:
    files = {f"{i}.txt": f"-r {i + 1}.txt\n-r {i + 1}.txt\n" for i in range(40)}
    found = faults_of(tmp_path, {"requirements.txt": "-r 0.txt\n", **files, "40.txt": "x\n"})
    assert found[0][3] == "too_many_includes"
    deep = {f"{i}.txt": f"-r {i + 1}.txt\n" for i in range(60)}
    assert faults_of(tmp_path, {"requirements.txt": "-r 0.txt\n", **deep, "60.txt": "x\n"})[0][3] == "too_many_includes"


def test_many_faults_end_the_reading(tmp_path: Path) -> None:
    started = time.process_time()
    found = faults_of(tmp_path, {"requirements.txt": "a=1\n" * 500_000})
    assert len(found) == MOST_FAULTS
    assert time.process_time() - started < 10


def test_extras_are_for_projects() -> None:
    with pytest.raises(InvalidDefinition, match="no_extras_here"):
        requirements.read("a\n", file="r.txt", base=None, extras=("dev",))


# -- bytes ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "line", "code"),
    [
        (b"a\nb\0c\n", 2, "nul_byte"),
        (b"a\n\nb\xff\n", 3, "bad_encoding"),
        (b"# coding: utf-99\na\n", 1, "bad_encoding"),
        (b"\n# coding: hex\na\n", 2, "bad_encoding"),
        (b"# coding: ascii\na\n\xe9\n", 3, "bad_encoding"),
        (b"\xff\xfea\0\n", 1, "bad_encoding"),
        (b"# coding: undefined\n", 1, "bad_encoding"),
    ],
)
def test_bytes_that_are_no_text_are_refused_with_their_line(tmp_path: Path, content: bytes, line: int, code: str) -> None:
    (tmp_path / "r.txt").write_bytes(content)
    with pytest.raises(InvalidDefinition) as refused:
        read_source(tmp_path / "r.txt", file="r.txt")
    assert [(f.file, f.line, f.code) for f in refused.value.faults] == [("r.txt", line, code)]


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    huge = tmp_path / "huge.txt"
    with huge.open("wb") as stream:
        stream.truncate(100 << 20)
    started = time.process_time()
    with pytest.raises(InvalidDefinition, match="file_too_large"):
        read_source(huge)
    assert time.process_time() - started < 0.5
    found = faults_of(tmp_path, {"requirements.txt": "a\n-r huge.txt\n"})
    assert found == [("requirements.txt", 2, "--requirement", "file_too_large")]


def test_includes_count_together(tmp_path: Path) -> None:
    (tmp_path / "big.txt").write_text("#" * (LIMIT_BYTES - 10))
    found = faults_of(tmp_path, {"requirements.txt": "-r big.txt\n-r big.txt\n"})
    assert found == [("requirements.txt", 2, "--requirement", "file_too_large")]


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        read_source(tmp_path / "missing")
    with pytest.raises(NotFound):
        read_source(tmp_path / "missing/below")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InvalidDefinition, match="not_a_file"):
        read_source(tmp_path / "pipe")


# -- pip's own reader ----------------------------------------------------------------------------------------------------

SAME_AS_PIP = [
    "numpy", "numpy  # c", "#numpy", "  # c", "", "numpy>=1 ; python_version > '3'", "numpy --hash=" + SHA, f"numpy \\\n --hash {SHA}",
    "--pre", "--pre --no-index", "-i https://a", "-ihttps://a", "--index https://a", "--pypi-url=https://a", "--extra https://a", "-f ./x", "-f 'a b'",
    "--no-binary a,b --only-binary c", "--trusted-host h", "--prefer", "numpy --pre", "numpy -r b.txt", "-r inner.txt", "-rinner.txt",
    "-c inner.txt", "-r inner.txt -c inner.txt", "-c inner.txt -r inner.txt", "-e ./pkg", "-e./pkg", "--editable=./pkg", "-e './pkg'", "./pkg",
    "./pkg[x]", "git+https://a/b#egg=c", "https://a/b.zip#c", "a \\\n# c\nb", "a\\\nb", "-r \\\ninner.txt", "a;os_name=='nt'", "a @ https://b/c",
    "a\fb", "--require-hashes", "--use-feature fast-deps", "\ufeffnumpy"[1:], "a # -r inner.txt", "-r inner.txt # c", "a\n\n  b\n\tc",
]  # fmt: skip


@pytest.mark.parametrize("text", SAME_AS_PIP)
def test_the_same_lines_are_requirements_as_for_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg/setup.py").write_text("")
    (tmp_path / "inner.txt").write_text("inner1\ninner2 # c\n")
    (tmp_path / "r.txt").write_text(text)
    theirs = list(parse_requirements("r.txt", session=None))  # type: ignore[arg-type]
    ours = requirements.read(text, file="r.txt", base=tmp_path).environment.python
    wanted = [r for r in theirs if not r.constraint]
    assert len(ours.pip) == len(wanted)
    assert len(ours.constraints) == len(theirs) - len(wanted)
    for mine, other in zip(ours.pip, wanted, strict=True):
        hashes = "".join(
            f" --hash={kind}:{value}" for kind, values in (other.options or {}).get("hashes", {}).items() for value in values
        )
        expected = requirements.read(other.requirement + hashes, file="x", base=tmp_path)
        assert (mine,) == expected.environment.python.pip


REFUSED_BY_BOTH = [
    "--nope",
    "-x",
    "--p",
    "--pre=1",
    "-i",
    "-i 'a",
    "--hash=x y\nb --hash=x",
    "a --nope",
    "-r missing.txt",
    "-r r.txt",
    "--use-feature",
]


@pytest.mark.parametrize("text", REFUSED_BY_BOTH)
def test_what_pip_refuses_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.txt").write_text(text)
    with pytest.raises((PipError, RecursionError)):  # an older pip follows a file that includes itself for ever
        list(parse_requirements("r.txt", session=None))  # type: ignore[arg-type]
    with pytest.raises(InvalidDefinition):
        requirements.read(text, file="r.txt", base=tmp_path)


# -- writing -------------------------------------------------------------------------------------------------------------


def test_write_and_read_give_the_content_back() -> None:
    env = an_environment(
        pip=["numpy>=1.26", 'a; os_name == "nt"', "./pkg", "b @ git+https://example.org/b@v1", f"c==1 --hash={SHA}"],
        pip_options=["--index-url https://example.org/simple", "--find-links './my wheels'", "--pre"],
        constraints=["numpy<2"], local=[LocalSource("./pkg", Digest.of(b"tree"))],
    )  # fmt: skip
    text = requirements.write(env)
    assert requirements.read(text, file="r.txt", base=None, local=env.python.local).environment.content == env.content
    assert text.splitlines()[:6] == [
        "--index-url https://example.org/simple",
        "--find-links './my wheels'",
        "--pre",
        "# /// wardian-constraints",
        "# numpy<2",
        "# ///",
    ]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"conda": ["python=3.12"], "pip": ["a"]}, "the manager conda, python.channels, python.conda"),
        ({"manager": "user", "interpreter": "/usr/bin/python3"}, "the manager user, python.interpreter"),
        ({"requires_python": ">=3.11"}, "python.requires_python"),
        ({"index_strategy": "unsafe-best-match", "source": "host"}, "python.source, python.index_strategy"),
        ({"variables": {"A": "1"}, "base_image": "debian"}, "docker, variables"),
        ({"packages": ["a:b:1"]}, "spark"),
        ({"accelerators": {"cuda": "12.4"}}, "accelerators"),
        ({"pip": ["numpy; platform_version == 'a #b'"]}, "this"),
        ({"pip": ["numpy<2", "numpy>1"]}, "this"),
    ],
)
def test_what_would_be_lost_is_named(changes: dict[str, object], named: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        requirements.write(an_environment(**changes))
    assert refused.value.stable_code == "not_expressible"
    assert f"a requirements file cannot hold {named}" in refused.value.message


def test_name_and_description_are_no_content() -> None:
    assert requirements.write(an_environment(name="x", description="words", tags={"a": "b"}, pip=["a"])) == "a\n"
