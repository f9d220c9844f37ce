"""Jobs whose every part has a place in the files of Azure ML, and how such files are saved."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from wardian.definition.docker_section import DockerSection
from wardian.definition.environment import Environment, PythonSection
from wardian.formats.job import ReadJob

if TYPE_CHECKING:
    from wardian.formats.azureml import Written

IMAGE = DockerSection(base_image="ubuntu:24.04")
CONDA = Environment("geo", PythonSection("conda", channels=("conda-forge",), conda=("python=3.11",), pip=("rich",), constraints=("rich<14",)), IMAGE,
                    variables={"A": "1"})  # fmt: skip
USER = Environment(None, PythonSection("user", interpreter="/usr/bin/python3"))
LINE = 'python train.py "${WARDIAN_INPUT_DATA}" --lr "${AZUREML_PARAMETER_lr}" > "${WARDIAN_OUTPUT_DIR}/log" 2> "${WARDIAN_OUTPUT_DIR}/model"/e'
# jobs whose every part has a place in the file
JOBS = {
    "script": ReadJob("", "", "script", ("train.py", "--epochs", "3")),
    "quoted": ReadJob("", "", "script", ("sub/a b.py", "it's", "$HOME", '"', "", "a\nb")),
    "module": ReadJob("", "", "module", ("package.train", "--n", "1")),
    "program": ReadJob("", "", "program", ("ls", "-l", "*.py")),
    "line": ReadJob("", "", "program", ("bash", "-c", "set -e\n\npython a.py   # done\n\tls | wc")),
    "all": ReadJob("", "", "program", ("bash", "-c", LINE), inputs={"data": Path("/")}, outputs=("model",), experiment="churn", timeout_s=600.0,
                   variables={"AZUREML_PARAMETER_lr": "0.1", "SEED": "1", "TEXT": "a: b #c"}, options={"shm": "4g"}),
    "unnamed inputs": ReadJob("", "", "script", ("train.py",), inputs={"data": Path("/"), "more": Path("/dev/null")}),
}  # fmt: skip


def save(written: Written, place: Path, name: str) -> Path:
    for path, text in (written.files or {}).items():
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_text(text)
    if not written.is_directory:
        (place / name).write_text(written.text)
    return place / name
