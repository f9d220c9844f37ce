"""The command of a job as a line for a shell: what a value holds is never looked at by the shell."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from wardian.formats.azureml_line import outputs_in, to_azure, to_shell, variables_in

if TYPE_CHECKING:
    from pathlib import Path

NAMES = {
    "inputs.x": "{AZUREML_PARAMETER_x}",
    "inputs.data": "{WARDIAN_INPUT_DATA}",
    "outputs.model": "{WARDIAN_OUTPUT_DIR}/model",
}
BACK = {"AZUREML_PARAMETER_x": "x", "WARDIAN_INPUT_DATA": "data"}
HOSTILE = ["", "two words", "$(touch pwned)", "`touch pwned`", "; touch pwned #", "'; touch pwned; '", '"; touch pwned; "', "a\n touch pwned\n",
           "*", "${HOME}", "\\", "-rf", "$((x[$(touch pwned)]))", "EOF\ntouch pwned\n", "é…\t"]  # fmt: skip
# the line, and what of the value it prints
LINES = [
    ("printf %s ${{inputs.x}}", "{}"),
    ("printf %s ${{ inputs.x }}", "{}"),
    ('printf %s "${{inputs.x}}"', "{}"),
    ("printf %s a${{inputs.x}}b", "a{}b"),
    ('printf %s "a ${{inputs.x}} b"', "a {} b"),
    ("printf %s 'a ${{inputs.x}} b'", "a {} b"),
    ("printf %s $'a\\'${{inputs.x}}'", "a'{}"),
    ('printf %s "$(printf %s. ${{inputs.x}})"', "{}."),
    ('printf %s "`printf %s. ${{inputs.x}}`"', "{}."),
    ("(printf %s ${{inputs.x}}) # it's ${{inputs.x}}", "{}"),
    ("printf '\"'; printf %s ${{inputs.x}}", '"{}'),
    ('printf \\"; printf %s ${{inputs.x}}', '"{}'),
    ("cat <<EOF\n\"${{inputs.x}}'\nEOF\nprintf %s ${{inputs.x}}", "\"{}'\n{}"),
    ("cat <<-E\n\t${{inputs.x}}\n\tE\nprintf %s ${{inputs.x}}", "{}\n{}"),
    ("cat <<< ${{inputs.x}}", "{}\n"),
    ('X=${{inputs.x}}\nprintf %s "$X"', "{}"),
]  # fmt: skip


@pytest.mark.parametrize("value", HOSTILE)
def test_no_value_is_more_than_text(value: str, tmp_path: Path) -> None:
    found = [to_shell(line, NAMES) for line, _ in LINES]
    assert [(one.unknown, one.unreachable) for one in found] == [([], [])] * len(LINES)
    script = "".join(f"{one.text}\nprintf '\\0'\n" for one in found)
    done = subprocess.run(
        ["bash", "-c", script], env={"AZUREML_PARAMETER_x": value, "PATH": "/usr/bin:/bin"}, cwd=tmp_path, capture_output=True, check=False
    )  # fmt: skip
    assert done.stdout.decode().split("\0")[:-1] == [shown.replace("{}", value) for _, shown in LINES]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("line", [line for line, _ in LINES])
def test_what_is_written_again_is_read_as_the_same_line(line: str) -> None:
    found = to_shell(line, NAMES).text
    written = to_azure(found, BACK)
    assert "AZUREML_PARAMETER" not in written
    assert to_azure(to_shell(written, NAMES).text, BACK) == written


def test_inputs_and_outputs_are_variables_by_name() -> None:
    found = to_shell(
        "python a.py ${{inputs.data}}/x $AZURE_ML_INPUT_data ${AZURE_ML_OUTPUT_model} > ${{outputs.model}}/log", NAMES
    )
    assert (
        found.text
        == 'python a.py "${WARDIAN_INPUT_DATA}"/x $WARDIAN_INPUT_DATA ${WARDIAN_OUTPUT_DIR-}/model > "${WARDIAN_OUTPUT_DIR}/model"/log'
    )
    assert found.bare == {"inputs.data", "outputs.model"}
    assert (outputs_in(found.text), variables_in(found.text)) == (("model",), {"WARDIAN_INPUT_DATA"})
    assert (
        to_azure(found.text, BACK)
        == "python a.py ${{inputs.data}}/x $WARDIAN_INPUT_DATA ${WARDIAN_OUTPUT_DIR-}/model > ${{outputs.model}}/log"
    )


def test_what_means_nothing_is_named() -> None:
    found = to_shell("a ${{inputs.y}} ${{search_space.z}}\ncat <<'EOF'\n${{inputs.x}}\nEOF\n$AZURE_ML_INPUT_other", NAMES)
    assert found.unknown == ["inputs.y", "search_space.z"]
    assert found.unreachable == ["inputs.x"]
    assert found.text.endswith("$AZURE_ML_INPUT_other")


@pytest.mark.parametrize("line", ["'", '"', "$(", "`", "cat <<EOF", "\\", "$'", '"$(`', ")", "<<<", "${{", "a #"])
def test_a_line_that_no_shell_takes_is_left_to_the_shell(line: str) -> None:
    assert to_shell(line, NAMES).text == line
