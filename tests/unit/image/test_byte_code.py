"""Byte-code is a function of interpreter, path and source; interpreters that misbehave are an error, and leave no process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.pythons import installed_pythons

from wardian.errors import BuildFailed
from wardian.image.byte_code import ByteCompiler, compile_entries, path_of_byte_code
from wardian.image.byte_code_process import LARGEST_SOURCE_BYTES
from wardian.image.elf import HEAD_BYTES, loader_of
from wardian.image.entry import Entry
from wardian.image.spool import Spool

SOURCES = {
    "/opt/env/a.py": b"def f(x):\n    return x in {'alpha', 'beta', 'gamma', 1, 2.5}\nNAME = 'f'\n",
    "/opt/env/b.py": b"NAME = 'alpha'\nclass C:\n    alpha = beta = gamma = 'NAME'\n",
    "/opt/env/latin.py": "# -*- coding: latin-1 -*-\nx = 'é'\n".encode("latin-1"),
    "/opt/env/empty.py": b"",
    "/opt/env/warns.py": b"x = '\\d'\nassert (x, 'always')\nx is 1\n",
    "/opt/env/future.py": b"from __future__ import annotations\nx: y = 1\n",
}
WRONG = {
    "/opt/env/syntax.py": b"def (:\n",
    "/opt/env/nul.py": b"x\0",
    "/opt/env/encoding.py": b"# coding: no-such-encoding\n",
    "/opt/env/not-utf8.py": b"'\xff'\n",
    "/opt/env/template.py": b"{{ cookiecutter.name }} = x y\n",
    "/opt/env/deep.py": b"(" * 5000 + b")" * 5000,
    "/opt/env/unary.py": b"-" * 20_000 + b"1",
    "/opt/env/return.py": b"return 1\n",
    "/opt/env/number.py": b"x = " + b"9" * 10_000 + b"x",
}
_LOOK = """
import importlib.util, json, marshal, sys, types
def codes(code):
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from codes(constant)
with open(sys.argv[1], "rb") as stream:
    head, code = stream.read(16), marshal.load(stream)
space = {"__name__": "x"}
if sys.argv[3] == "run":
    exec(code, space)
names = sorted({inner.co_filename for inner in codes(code)})
print(json.dumps([head == importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + importlib.util.source_hash(open(sys.argv[2], "rb").read()), names]))
"""
PYTHONS = [(version, path) for version, path in installed_pythons() if int(version.split(".")[1]) >= 8]
EACH = pytest.mark.parametrize(("version", "python"), PYTHONS, ids=[f"{v}-{p.parts[1]}" for v, p in PYTHONS])


def compiled(command: list[str], sources: dict[str, bytes], jobs: int = 1) -> dict[str, bytes | None]:
    with ByteCompiler(command, jobs=jobs) as compiler:
        return dict(zip(sources, compiler.compile(sources.items()), strict=True))


@EACH
def test_each_interpreter_makes_what_it_reads_itself(version: str, python: Path, tmp_path: Path) -> None:
    made = compiled([str(python)], {**SOURCES, **WRONG}, jobs=2)
    assert {path for path, content in made.items() if content is None} == set(WRONG)
    for path, source in SOURCES.items():
        content = made[path]
        assert content is not None
        (tmp_path / "pyc").write_bytes(content)
        (tmp_path / "py").write_bytes(source)
        run = "run" if path.endswith(("a.py", "b.py")) else ""
        answer = subprocess.run(
            [python, "-I", "-c", _LOOK, tmp_path / "pyc", tmp_path / "py", run], capture_output=True, check=True
        )
        assert json.loads(answer.stdout) == [True, [path]]


@EACH
def test_jobs_do_not_matter(version: str, python: Path) -> None:
    many = {
        f"/opt/env/m{n}.py": b"alpha = 'alpha'\nbeta = {'x%d', 'alpha', 7}\n" % n + b"#" * 20_000 for n in range(200)
    } | SOURCES
    one = compiled([str(python)], many)
    assert None not in one.values()
    assert compiled([str(python)], many, jobs=3) == one
    assert compiled([str(python)], many, jobs=2) == one


@EACH
def test_sets_whose_order_nobody_can_fix_get_no_byte_code(version: str, python: Path) -> None:
    sources = {
        "/a.py": b"def f(x):\n    return x in {None, 'a'}\n", "/b.py": b"x in {1, (2, ...)}\n", "/c.py": b"x in (None, ..., {1, 'a'})\n",
        "/d.py": b"def f(x):\n    return x in {1, 'a'}, None\n",
    }  # fmt: skip
    made = compiled([str(python)], sources)
    left_out = {path for path, content in made.items() if content is None}
    assert left_out == ({"/a.py", "/b.py"} if int(version.split(".")[1]) < 11 else set())


def test_nothing_of_the_environment_matters(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plain = compiled([sys.executable], SOURCES)
    (tmp_path / "importlib.py").write_text("raise SystemExit('imported from the working directory')\n")
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "PYTHONPATH": str(tmp_path),
        "PYTHONOPTIMIZE": "2",
        "PYTHONHASHSEED": "7",
        "LC_ALL": "tr_TR",
        "TZ": "Asia/Tokyo",
    }.items():
        monkeypatch.setenv(name, value)
    previous = os.umask(0o077)
    try:
        assert compiled([sys.executable], SOURCES) == plain
    finally:
        os.umask(previous)


def test_an_interpreter_that_a_loader_starts() -> None:
    """As one of another C library is started: its loader first."""
    executable = Path(sys.executable).resolve()
    loader = loader_of(executable.read_bytes()[:HEAD_BYTES])
    if not Path(loader).is_file():
        pytest.skip(f"{executable} has no loader on this machine")
    command = [loader, "--library-path", str(executable.parent.parent / "lib"), str(executable)]
    assert compiled(command, SOURCES) == compiled([sys.executable], SOURCES)


def test_the_tag_names_the_interpreter() -> None:
    with ByteCompiler([sys.executable], jobs=1) as compiler:
        assert compiler.tag == sys.implementation.cache_tag


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("opt/env/a/b.py", "opt/env/a/__pycache__/b.cpython-311.pyc"),
        ("b.py", "__pycache__/b.cpython-311.pyc"),
        ("a/b.c.py", "a/__pycache__/b.c.cpython-311.pyc"),
    ],
)
def test_where_it_goes(source: str, wanted: str) -> None:
    assert path_of_byte_code(source, "cpython-311") == wanted


def test_entries(tmp_path: Path) -> None:
    entries = [
        Entry.of_bytes("opt/a.py", b"x = 1\n"), Entry.of_bytes("opt/b.txt", b"x = 1\n"), Entry("opt/c.py", "directory"),
        Entry("opt/d.py", "link", target="a.py"), Entry.of_bytes("opt/e.py", b"x ="),
        Entry.of_bytes("opt/long.py", b"x = 1\n" + b"#" * LARGEST_SOURCE_BYTES),
    ]  # fmt: skip
    with ByteCompiler([sys.executable], jobs=1) as compiler, Spool(tmp_path) as spool:
        made = compile_entries(entries, compiler, spool)
        assert [m.entry.path for m in made] == [f"opt/__pycache__/a.{compiler.tag}.pyc"]


def test_without_sources_no_interpreter_is_started(tmp_path: Path) -> None:
    with ByteCompiler(["/no/such/python"], jobs=1) as compiler, Spool(tmp_path) as spool:
        assert compile_entries([Entry.of_bytes("a.txt", b"")], compiler, spool) == []


@pytest.fixture
def no_process_is_left() -> object:
    before = _children()
    yield None
    assert _children() == before


def _children() -> set[str]:
    while True:
        try:
            tasks = list(Path("/proc/self/task").iterdir())
            return {child for task in tasks for child in (task / "children").read_text().split()}
        except (FileNotFoundError, ProcessLookupError):  # a thread ended meanwhile: another one has its children now
            continue


@pytest.mark.usefixtures("no_process_is_left")
@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["/no/such/python"], "/no/such/python does not run: No such file"),
        (["/bin/false"], "the process ended with status 1"),
        (["/bin/sh", "-c", "kill -9 $$"], "the process ended by signal 9"),
        (["/bin/sh", "-c", "echo cannot load >&2; exit 4"], "status 4: cannot load"),
        (["/bin/sh", "-c", "exec yes"], "something else than byte-code"),
        (["/bin/sh", "-c", r"printf '\0\0\0\1\0\0\0\3a b'; exec sleep 100"], "something else than its name"),
        (["/bin/sh", "-c", "sleep 100 & exec sleep 100"], r"nothing came within 0\.5 s"),
    ],
)
def test_what_is_no_interpreter_is_an_error(command: list[str], said: str) -> None:
    with ByteCompiler(command, jobs=1, timeout_s=0.5) as compiler, pytest.raises(BuildFailed, match=said) as failed:
        list(compiler.compile(SOURCES.items()))
    assert failed.value.stable_code == "byte_code_failed"


@pytest.mark.usefixtures("no_process_is_left")
def test_an_interpreter_that_dies_later_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    """It reads the first request and dies; the next compiler is a fresh one."""
    answers = tmp_path / "dies.sh"
    answers.write_text("printf '\\0\\0\\0\\1\\0\\0\\0\\3abc'; head -c 8 >/dev/null; echo 'out of memory' >&2; exit 9\n")
    with ByteCompiler(["/bin/sh", str(answers)], jobs=1) as compiler, pytest.raises(BuildFailed) as failed:
        list(compiler.compile({"/opt/env/a.py": b"x" * 1_000_000}.items()))
    assert "/opt/env/a.py" in failed.value.message
    assert "status 9: out of memory" in failed.value.message


@pytest.mark.usefixtures("no_process_is_left")
def test_an_interpreter_that_hangs_while_compiling_is_stopped(tmp_path: Path) -> None:
    """It answers to its name, then neither reads nor writes: the request does not even fit into the pipe."""
    hangs = tmp_path / "hangs.sh"
    hangs.write_text("printf '\\0\\0\\0\\1\\0\\0\\0\\3abc'; exec sleep 100\n")
    sources = {"/opt/env/a.py": b"x" * 1_000_000, "/opt/env/b.py": b""}
    with ByteCompiler(["/bin/sh", str(hangs)], jobs=2, timeout_s=0.5) as compiler, pytest.raises(BuildFailed) as failed:
        list(compiler.compile(sources.items()))
    assert "the byte-code of /opt/env/a.py could not be made by /bin/sh" in failed.value.message
    assert "nothing came within 0.5 s" in failed.value.message


@pytest.mark.usefixtures("no_process_is_left")
def test_a_compiler_that_was_killed_does_not_spoil_the_next_one() -> None:
    others = _children()  # such as a registry that several tests share
    with ByteCompiler([sys.executable], jobs=1) as compiler:
        assert next(iter(compiler.compile([("/a.py", b"x = 1")])))
        (worker,) = _children() - others
        os.kill(int(worker), signal.SIGKILL)
        with pytest.raises(BuildFailed, match="by signal 9"):
            list(compiler.compile([("/a.py", b"x = 1")]))
        assert next(iter(compiler.compile([("/a.py", b"x = 1")])))


def test_few_sources_are_held_at_once() -> None:
    taken = 0

    def sources() -> object:
        nonlocal taken
        for n in range(200):
            taken += 1
            yield f"/m{n}.py", b"x = 1\n" + b"#" * 300_000

    with ByteCompiler([sys.executable], jobs=2) as compiler:
        results = compiler.compile(sources())  # type: ignore[arg-type]
        assert next(results) is not None
        assert taken < 10
        results.close()  # type: ignore[attr-defined]
