"""Files as they are: comments that silence, line ends, links, what cannot be changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from wardian.errors import InvalidInput, NotFound
from wardian.lint import lint_file, lint_text

if TYPE_CHECKING:
    from pathlib import Path

CONDA = "channels: [conda-forge]\ndependencies:\n  - python=3.12\n"


def _ids(path: Path) -> list[str]:
    return [one.id for one in lint_file(path).findings]


def _write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_comment_behind_a_line_silences_that_line_alone(tmp_path: Path) -> None:
    text = f"{CONDA}  - numpy # wardian: ignore[unpinned-requirement, build-string]\n  - scipy\n"
    found = [one for one in lint_file(_write(tmp_path / "environment.yml", text)).findings if one.id == "unpinned-requirement"]
    assert [one.line for one in found] == [5]


def test_a_comment_on_its_own_line_silences_the_file(tmp_path: Path) -> None:
    text = f"# wardian: ignore[unpinned-requirement]\n# wardian: ignore[not-deployable]\n{CONDA}  - numpy\n"
    assert _ids(_write(tmp_path / "environment.yml", text)) == []


def test_the_comment_of_a_continued_line_stands_at_its_end(tmp_path: Path) -> None:
    hashes = f"--hash=sha256:{'0' * 64}"
    text = f"tool @ https://example.org/tool-1.0.tar.gz \\\n    {hashes}\nother \\\n    {hashes} # wardian: ignore[unpinned-requirement]\n"
    assert "unpinned-requirement" not in _ids(_write(tmp_path / "requirements.txt", text))


def test_comments_of_scripts_and_projects_count_too(tmp_path: Path) -> None:
    script = (
        '# /// script\n# dependencies = [\n#   "numpy", # wardian: ignore[unpinned-requirement]\n#   "scipy",\n# ]\n# ///\n'
    )
    found = [one for one in lint_file(_write(tmp_path / "a.py", script)).findings if one.id == "unpinned-requirement"]
    assert [(one.line, one.field) for one in found] == [(4, "dependencies[1]")]


def test_an_included_file_has_findings_and_comments_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "parts").mkdir()
    _write(tmp_path / "parts/more.txt", "alpha\nbeta # wardian: ignore[unpinned-requirement]\n--prefer-binary\n")
    path = _write(tmp_path / "requirements.txt", "-r parts/more.txt\n")
    found = [(one.file, one.line) for one in lint_file("requirements.txt").findings if one.id == "unpinned-requirement"]
    assert found == [("parts/more.txt", 1)]
    assert lint_file(path, fix=True).done == ()  # what it includes is another file, and may be another's


def test_faults_are_findings_that_no_comment_silences(tmp_path: Path) -> None:
    text = "# wardian: ignore[bad-requirement]\nnumpy =1\n-e\n"
    found = lint_file(_write(tmp_path / "requirements.txt", text)).findings
    assert [(one.severity, one.line) for one in found] == [("error", 2), ("error", 3)]
    assert found[0].id == "bad-requirement"
    assert found[0].why
    assert found[0].fix


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        lint_file(tmp_path / "environment.yml")


def test_the_directory_of_a_project_means_its_pyproject(tmp_path: Path) -> None:
    _write(tmp_path / "pyproject.toml", '[project]\nname = "x"\nversion = "1"\ndependencies = ["numpy"]\n')
    assert lint_file(tmp_path).file == str(tmp_path / "pyproject.toml")


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_a_fix_keeps_line_ends_byte_order_mark_and_mode(tmp_path: Path, ending: str, bom: bytes) -> None:
    path = tmp_path / "environment.yml"
    path.write_bytes(bom + f"{CONDA}prefix: /home/ada/x\n".replace("\n", ending).encode())
    path.chmod(0o600)
    linted = lint_file(path, fix=True)
    assert [one.id for one in linted.done] == ["prefix-ignored"]
    assert path.read_bytes() == bom + CONDA.replace("\n", ending).encode()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_fix_through_a_link_changes_what_it_leads_to(tmp_path: Path) -> None:
    path = _write(tmp_path / "real.yml", f"{CONDA}prefix: /home/ada/x\n")
    link = tmp_path / "environment.yml"
    link.symlink_to(path)
    lint_file(link, fix=True)
    assert link.is_symlink()
    assert path.read_text(encoding="utf-8") == CONDA


def test_a_file_that_could_not_be_written_as_it_was_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "requirements.txt"
    content = b"--prefer-binary\r\ntool==1.0\n"
    path.write_bytes(content)
    with pytest.raises(InvalidInput) as error:
        lint_file(path, fix=True)
    assert error.value.stable_code == "not_plain_text"
    assert path.read_bytes() == content


def test_nothing_is_written_where_nothing_is_to_be_mended(tmp_path: Path) -> None:
    path = _write(tmp_path / "environment.yml", CONDA)
    before = path.stat()
    lint_file(path, fix=True)
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert path.stat().st_ino == before.st_ino


@pytest.mark.parametrize(
    ("text", "fixed"),
    [
        ("--pre --prefer-binary\ntool\n", "--pre --prefer-binary\ntool\n"),  # two options in one line
        ("--prefer-binary \\\n# why\n\ntool\n", "# why\n\ntool\n"),
        ("tool\n--prefer-binary", "tool\n"),
    ],
)
def test_fixes_in_requirements(tmp_path: Path, text: str, fixed: str) -> None:
    path = _write(tmp_path / "requirements.txt", text)
    lint_file(path, fix=True)
    assert path.read_text(encoding="utf-8") == fixed


@pytest.mark.parametrize(
    ("text", "fixed"),
    [
        ("channels: [a, b, a] # c\ndependencies: [numpy]\n", "channels: [a, b] # c\ndependencies: [numpy]\n"),
        ("channels: &c [a, a]\ndependencies: [numpy]\n", "channels: &c [a]\ndependencies: [numpy]\n"),
        ("dependencies:\n- pip=24\n- pip:\n  - --prefer-binary\n", "dependencies:\n- pip=24\n- pip:\n  - --prefer-binary\n"),
        ("dependencies:\n- numpy\n# x\n- numpy\n- numpy # y\n", "dependencies:\n- numpy\n# x\n# y\n"),
        ("{dependencies: [numpy], prefix: /x}\n", "{dependencies: [numpy], prefix: /x}\n"),
        ("dependencies: [numpy, {pip: [tool]}]\n", "dependencies: [numpy, pip, {pip: [tool]}]\n"),
    ],
)
def test_fixes_in_conda_files(tmp_path: Path, text: str, fixed: str) -> None:
    path = _write(tmp_path / "environment.yml", text)
    lint_file(path, fix=True)
    assert path.read_text(encoding="utf-8") == fixed


def test_what_a_fix_leaves_is_not_offered_again(tmp_path: Path) -> None:
    path = _write(tmp_path / "requirements.txt", "--pre --prefer-binary\n")
    [one] = [one for one in lint_file(path, fix=True).findings if one.id == "option-without-effect"]
    assert not one.fixable


def test_a_long_file_takes_time_with_its_length_alone(tmp_path: Path) -> None:
    lines = "".join(f"package{i}==1.0\n" for i in range(5000))
    assert [one.line for one in lint_file(_write(tmp_path / "requirements.txt", lines)).findings] == [None, None]


def test_a_text_that_stands_alone_is_linted(tmp_path: Path) -> None:
    linted = lint_text("numpy\n--prefer-binary\n", "requirements", file="sklearn:3")
    assert not any(one.fixable for one in linted.findings)  # versions never change
    assert str(linted.findings[0]) == "sklearn:3:1: requirements[0]: `numpy` has no version [unpinned-requirement]"
    assert linted.count("warning") == 1
    assert lint_text("numpy =\n", "requirements", file="x").findings[0].severity == "error"


AZURE = """\
image: ubuntu:24.04
conda_file:
  channels: [conda-forge]
  dependencies:
    - python=3.11
    - numpy=1.26
    - numpy=1.26  # twice
    - pip:
        - rich==13.9
"""


def test_in_a_file_of_azure_that_is_mended_which_can_be_and_only_that_is_offered(tmp_path: Path) -> None:
    path = _write(tmp_path / "azureml.yml", AZURE)
    assert [one.id for one in lint_file(path).findings if one.fixable] == ["duplicate-requirement"]
    assert path.read_text() == AZURE
    done = lint_file(path, fix=True)
    assert [one.id for one in done.done] == ["duplicate-requirement"]
    assert path.read_text() == AZURE.replace("    - numpy=1.26  # twice\n", "    # twice\n")
    assert not any(one.fixable for one in lint_file(path).findings)


def test_in_a_job_the_environment_is_mended(tmp_path: Path) -> None:
    job = "command: python a.py\nenvironment:\n" + "".join(f"  {line}\n" for line in AZURE.splitlines())
    path = _write(tmp_path / "job.yml", job)
    assert [one.field for one in lint_file(path).findings if one.fixable] == ["environment.conda_file.dependencies[2]"]
    assert [one.id for one in lint_file(path, fix=True).done] == ["duplicate-requirement"]
    assert path.read_text() == job.replace("      - numpy=1.26  # twice\n", "      # twice\n")


def test_nothing_is_offered_that_stands_in_another_file_or_in_a_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    conda = "".join(f"{line[2:]}\n" for line in AZURE.splitlines()[2:])
    _write(tmp_path / "conda.yml", conda)
    _write(tmp_path / "azureml.yml", "image: ubuntu:24.04\nconda_file: conda.yml\n")
    quoted = "image: ubuntu:24.04\nconda_file: |\n" + "".join(f"  {line}\n" for line in conda.splitlines())
    _write(tmp_path / "quoted.yml", quoted)
    for name, text in (("azureml.yml", None), ("quoted.yml", quoted)):
        found = lint_file(name, fix=text is None).findings
        assert "duplicate-requirement" in [one.id for one in found]
        assert not any(one.fixable for one in found)
    assert (tmp_path / "conda.yml").read_text() == conda
    assert any(one.fixable for one in lint_file("conda.yml").findings)
