"""One door for all formats: read, write, add, remove, and what is said when there is nothing to read."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from tests.builders import an_environment

from wardian import formats
from wardian.definition.environment import Environment, PythonSection
from wardian.errors import InvalidDefinition, InvalidInput, NotFound, Unavailable

TEXTS = {
    "environment.yml": ("conda", "channels: [c]\ndependencies: [numpy]\n"),
    "wardian.yml": ("wardian", "python: {pip: [numpy]}\n"),
    "requirements.txt": ("requirements", "numpy\n"),
    "pyproject.toml": ("pyproject", "[project]\nname = 'x'\nversion = '1'\ndependencies = ['numpy']\n"),
    "train.py": ("script", "# /// script\n# dependencies = ['numpy']\n# ///\n"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_every_format_is_read_by_its_name_and_by_detection(tmp_path: Path, name: str) -> None:
    kind, text = TEXTS[name]
    (tmp_path / name).write_text(text)
    found = formats.read(tmp_path / name)
    assert found.format == kind
    assert "numpy" in (*found.environment.python.conda, *found.environment.python.pip)
    assert formats.read(str(tmp_path / name), format_name=kind).environment == found.environment
    assert formats.read_text(found.text, kind, local=found.environment.local_sources).environment == found.environment


@pytest.mark.parametrize("name", TEXTS)
def test_every_format_can_be_edited(name: str) -> None:
    kind, text = TEXTS[name]
    manager = "conda" if kind == "conda" else "uv"
    changed = formats.add(text, kind, ["scipy>=1"], manager=manager)
    python = formats.read_text(changed, kind).environment.python
    assert [*python.conda, *python.pip] == ["numpy", "scipy>=1"]
    back = formats.remove(changed, kind, ["numpy"])
    python = formats.read_text(back, kind).environment.python
    assert [*python.conda, *python.pip] == ["scipy>=1"]
    with pytest.raises(NotFound, match="`nothing`"):
        formats.remove(text, kind, ["nothing"])


@pytest.mark.parametrize("kind", [kind for kind, _ in TEXTS.values()])
def test_what_is_written_reads_back(kind: str) -> None:
    env = (
        an_environment(name=None, conda=("numpy",)) if kind == "conda" else an_environment(name=None, pip=("numpy>=1", "scipy"))
    )
    text = formats.write(env, kind)
    assert formats.read_text(text, kind).environment.content == env.content


def test_the_constructors_of_the_environment_read_files(tmp_path: Path) -> None:
    for name, (_, text) in TEXTS.items():
        (tmp_path / name).write_text(text)
    conda = Environment.from_conda_specification("a", tmp_path / "environment.yml")
    assert conda == Environment("a", PythonSection(channels=("c",), conda=("numpy",)))
    assert Environment.from_requirements("b", tmp_path / "requirements.txt").python.pip == ("numpy",)
    assert Environment.from_pyproject("c", tmp_path).python.pip == ("numpy",)
    assert Environment.from_file(tmp_path / "wardian.yml", name="d").name == "d"
    assert Environment.from_file(tmp_path / "train.py").python.manager == "uv"


def test_a_directory_is_its_project(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(TEXTS["pyproject.toml"][1])
    (tmp_path / "environment.yml").write_text(TEXTS["environment.yml"][1])
    assert formats.read(tmp_path).format == "pyproject"
    (tmp_path / "pyproject.toml").unlink()
    with pytest.raises(InvalidInput) as caught:
        formats.read(tmp_path)
    assert caught.value.stable_code == "is_a_directory"
    assert str(tmp_path / "environment.yml") in (caught.value.hint or "")
    (tmp_path / "environment.yml").unlink()
    with pytest.raises(NotFound, match="holds no definition"):
        formats.read(tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as caught:
        formats.read(tmp_path / "environment.yml")
    assert caught.value.stable_code == "no_such_file"
    assert str(tmp_path / "environment.yml") in caught.value.message


def test_a_wrong_format_name_lists_the_known_ones(tmp_path: Path) -> None:
    for call in (
        lambda: formats.read(tmp_path / "none.yml", format_name="pip"),
        lambda: formats.read_text("", "pip"),
        lambda: formats.write(an_environment(), "pip"),
        lambda: formats.add("", "pip", ["x"], manager="uv"),
        lambda: formats.remove("", "pip", ["x"]),
    ):
        with pytest.raises(InvalidInput) as caught:
            call()
        assert caught.value.stable_code == "unknown_format"
        assert "requirements" in (caught.value.hint or "")


def test_a_named_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "environment.yml")
    with pytest.raises(InvalidDefinition, match="not_a_file"):
        formats.read(tmp_path / "environment.yml")


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /dev/zero")
def test_a_device_is_not_read() -> None:
    with pytest.raises(InvalidDefinition, match="not_a_file"):
        formats.read("/dev/zero", format_name="conda")


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs Linux' /proc")
def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "environment.yml").symlink_to("/proc/self/mem")  # nothing is at address 0: not even root can read it
    with pytest.raises(Unavailable, match="cannot be read") as caught:
        formats.read(tmp_path / "environment.yml")
    assert caught.value.stable_code == "unreadable_file"


@pytest.mark.parametrize("name", ["environment.yml", "wardian.yml"])
def test_a_file_of_100_mib_is_refused_without_reading_it(tmp_path: Path, name: str) -> None:
    with (tmp_path / name).open("wb") as stream:
        stream.truncate(100 << 20)
    with pytest.raises(InvalidDefinition) as caught:
        formats.read(tmp_path / name)
    assert [fault.code for fault in caught.value.faults] == ["file_too_large"]


@pytest.mark.parametrize(
    ("content", "code", "line"),
    [
        (b"name: x\nchannels: [\xff]\n", "bad_encoding", 2),
        (b"name: x\nchannels: [a\x00]\n", "nul_byte", 2),
        (b"name: x\n\nchannels: [a\x01]\n", "control_character", 3),
    ],
)
def test_bytes_that_are_no_text_are_named_by_line(tmp_path: Path, content: bytes, code: str, line: int) -> None:
    (tmp_path / "environment.yml").write_bytes(content)
    with pytest.raises(InvalidDefinition) as caught:
        formats.read(tmp_path / "environment.yml", format_name="conda")
    assert [(fault.code, fault.line) for fault in caught.value.faults] == [(code, line)]


def test_other_encodings_and_line_ends_are_read(tmp_path: Path) -> None:
    text = "name: x\r\nchannels: [c]\r\ndependencies: [numpy]\r\nvariables: {A: é}\r\n"
    path = tmp_path / "environment.yml"
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        path.write_bytes(text.encode(encoding))
        assert formats.read(path).environment.variables == {"A": "é"}


def test_base_says_where_paths_begin(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "reqs.txt").write_text("six\n")
    (tmp_path / "environment.yml").write_text("channels: [c]\ndependencies:\n- python\n- pip: [-r reqs.txt]\n")
    assert formats.read(tmp_path / "environment.yml", base=tmp_path / "code").environment.python.pip == ("six",)
    with pytest.raises(InvalidDefinition, match="no_such_file"):
        formats.read(tmp_path / "environment.yml")


def test_no_yaml_library_is_imported_before_it_is_needed() -> None:
    import subprocess

    code = (
        "import sys, wardian.formats as f; from wardian.definition.environment import Environment; "
        "f.read_text('numpy\\n', 'requirements'); "
        "print(sorted({'yaml', 'tomlkit', 'pathspec', 'rattler'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("links", [1, 2, 3])
def test_a_circle_of_links_is_invalid_and_named(tmp_path: Path, links: int) -> None:
    names = ["environment.yml", "b.yml", "c.yml"][:links]
    for name, target in zip(names, [*names[1:], names[0]], strict=True):
        (tmp_path / name).symlink_to(target)
    with pytest.raises(InvalidDefinition) as caught:
        formats.read(tmp_path / "environment.yml")
    assert [(fault.code, fault.file) for fault in caught.value.faults] == [("link_loop", str(tmp_path / "environment.yml"))]
    assert " → ".join(str(tmp_path / name) for name in [*names, names[0]]) in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_circle_of_links_above_a_file_and_links_without_an_end(tmp_path: Path) -> None:
    (tmp_path / "around").symlink_to("around")
    with pytest.raises(InvalidDefinition, match="a directory above it"):
        formats.read(tmp_path / "around" / "environment.yml")
    for i in range(60):
        (tmp_path / f"{i}.yml").symlink_to(f"{i + 1}.yml")
    with pytest.raises(InvalidDefinition, match="lead nowhere"):
        formats.read(tmp_path / "0.yml")
