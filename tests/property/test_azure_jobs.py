"""Lines for a shell: whatever is written as a job is read as the same words, and no line is read in two ways."""

from __future__ import annotations

import shlex

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.azure_jobs import CONDA

from wardian.formats import azureml_job
from wardian.formats.azureml_job_writing import write_job
from wardian.formats.azureml_line import to_azure, to_shell
from wardian.formats.azureml_runconfig import read_job as read_run
from wardian.formats.azureml_runconfig_writing import write_runconfig
from wardian.formats.job import ReadJob

NAMES = {"inputs.x": "{AZUREML_PARAMETER_x}", "inputs.d": "{WARDIAN_INPUT_D}", "outputs.o": "{WARDIAN_OUTPUT_DIR}/o"}
BACK = {"AZUREML_PARAMETER_x": "x", "WARDIAN_INPUT_D": "d"}
words = st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20), max_size=5)
PLACES = ("${{inputs.x}}", "${{inputs.d}}/y", "${{outputs.o}}", "$AZURE_ML_INPUT_d", "z")
SEGMENTS = ("{}", "'a {} \"'", '"b {} \'"', '"c $(d {} \'e\' "f{}")"', "`g {}`", '"h `i {}`"', "\\'{}", "$'j\\'{}'", "#k{}", "\n# it's {}\n", "\ncat <<E\n'{}\nE\n",
            "\ncat <<-'E'\n\tl\n\tE\n", "<<< {}", "({})", "$(({} + 1))", "\\\n", ";")  # fmt: skip
segments = st.tuples(st.sampled_from(SEGMENTS), st.sampled_from(PLACES), st.sampled_from([" ", ""]))
lines = st.lists(segments, max_size=8).map(
    lambda found: "".join(segment.replace("{}", place) + end for segment, place, end in found)
)


@settings(max_examples=100)
@given(words)
def test_the_words_of_a_run_are_those_of_its_job(arguments: list[str]) -> None:
    job = ReadJob("", "", "script", ("train.py", *arguments))
    text = write_job(job, CONDA, code=None).text
    found = azureml_job.read_job(text, file="/job.yml")
    if not any("${{" in one for one in arguments):
        assert shlex.split(found.words[-1]) == ["python", "train.py", *arguments]
    text = write_runconfig(job, CONDA, in_container=False).files[".azureml/run.runconfig"]  # type: ignore[index]
    assert (
        read_run(
            text.replace("condaDependenciesFile: .azureml/conda_dependencies.yml", "condaDependenciesFile:"),
            file="/run.runconfig",
        ).words
        == job.words
    )


@settings(max_examples=300)
@given(lines)
def test_a_line_that_was_written_once_stays_as_it_is(line: str) -> None:
    found = to_shell(line, NAMES)
    assert found.unknown == []
    once = to_azure(found.text, BACK)
    assert to_azure(to_shell(once, NAMES).text, BACK) == once
