"""Jobs of Azure ML run for real: a conda environment that is made for them, inputs, outputs; written, they run in another home."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.cli import Cli
from tests.support.conda_channel import Channel, standard_channel

if TYPE_CHECKING:
    from collections.abc import Iterator

JOB = """\
$schema: https://azuremlschemas.azureedge.net/latest/commandJob.schema.json
code: ./src
command: >-
  mkdir "${{outputs.model}}/parts" && python train.py --data ${{inputs.table}} --images ${{inputs.images}} --title ${{inputs.title}} > ${{outputs.log}}
  && cat ${{outputs.log}}
inputs:
  table: {type: uri_file, path: "data/a table.csv"}
  images: {type: uri_folder, path: data/images}
  title: two words; $(touch pwned) 'quoted'
outputs:
  model: {type: uri_folder}
  log: {type: uri_file}
environment:
  name: greeting
  image: ubuntu:24.04
  conda_file:
    channels: [local]
    dependencies: [python, greeter=1.0]
experiment_name: plants
"""
SCRIPT = """\
import argparse, json, os, greeter, sys
words = argparse.ArgumentParser()
for name in ("--data", "--images", "--title"):
    words.add_argument(name)
given = words.parse_args()
assert greeter.__file__.startswith(sys.prefix)
print(json.dumps({"table": open(given.data).read(), "images": sorted(os.listdir(given.images)), "title": given.title}))
open(os.environ["WARDIAN_OUTPUT_DIR"] + "/model/parts/weights", "w").write("0.5")
"""


@pytest.fixture(scope="module")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Channel:
    return standard_channel(tmp_path_factory.mktemp("channel"))


@pytest.fixture
def homes(tmp_path: Path, channel: Channel) -> Iterator[tuple[Cli, Cli]]:
    with channel.serve() as server:
        config = f'lock_platforms = ["linux/amd64"]\n[channels]\nlocal = "{server.url}"\n'
        yield Cli.at(tmp_path / "one", config=config), Cli.at(tmp_path / "two", config=config)


def test_a_job_runs_with_its_own_environment_and_again_elsewhere_as_it_was_written(homes: tuple[Cli, Cli]) -> None:
    one, two = homes
    one.write("jobs/job.yml", JOB)
    one.write("jobs/src/train.py", SCRIPT)
    one.write("jobs/data/a table.csv", "1,2\n")
    one.write("jobs/data/images/fern.png", "")
    done = one.ok("run", "-f", "jobs/job.yml")
    said = {"table": "1,2\n", "images": ["fern.png"], "title": "two words; $(touch pwned) 'quoted'"}
    assert json.loads(done.out) == said
    shown = one.json("runs", "show", "latest")
    assert sorted(output["path"] for output in shown["results"]["outputs"]) == ["outputs/log", "outputs/model/parts/weights"]
    assert "pwned" not in str(shown["results"].get("new_files"))
    assert json.loads((Path(shown["directory"]) / "snapshot/outputs/log").read_text()) == said
    assert sorted(shown["results"]["inputs"]) == ["images", "table"]
    document = one.json("runs", "export", "latest", "--to", "azureml-job", "-o", str(two.directory / "job.yml"))
    assert document["paths"] == ["job.yml", "job-code"]
    again = two.ok("run", "-f", "job.yml", "--input", "title=fern")
    assert json.loads(again.out) == {**said, "title": "fern"}
    lock, other = (home.json("runs", "show", "latest")["results"]["environment"]["lock_digest"] for home in homes)
    assert lock == other
    assert two.run("run", "-f", "job.yml", "--input", f"table={one.directory / 'gone'}").code == 125
    two.ok("runs", "export", "latest", "--to", "azureml-job", "-o", "third/job.yml", "--force")
    text = (two.directory / "job.yml").read_text()
    title = next(line for line in text.splitlines() if line.startswith("  title:"))
    assert (two.directory / "third/job.yml").read_text() == text.replace(title, "  title: fern")
