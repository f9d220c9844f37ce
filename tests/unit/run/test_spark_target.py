"""What Spark is told of a job, and how: a fake spark-submit writes down what it got."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.jobs import Recorder, python_job
from tests.support.spark import OnThisPython

from wardian.errors import RunFailed
from wardian.run.configuration import Resources
from wardian.run.targets.spark_place import SparkPlace, property_line
from wardian.run.targets.target import Ended, Stop
from wardian.tools import processes

if TYPE_CHECKING:
    from wardian.run.targets.target import Job

SECRET = "fern-1842"


def told(place: Path, job: Job, **options: str) -> dict[str, str]:
    """Run ``job``, and return the settings that spark-submit was given."""
    says = place / "says"
    target, stop = OnThisPython.at(place / "machine", options), Stop()
    seen = Recorder()
    ended = target.run(replace(job, variables={**job.variables, "FAKE_SPARK_SAYS": str(says)}), seen, stop)
    stop.close()
    assert ended == Ended("exited", exit_code=0), seen.streams
    return dict(line.split("=", 1) for line in says.read_text().splitlines())


def test_here_the_driver_is_all_there_is(tmp_path: Path) -> None:
    found = told(tmp_path, python_job("pass", tmp_path, resources=Resources(cpus=2)))
    assert found.pop("spark.redaction.regex")
    assert found == {
        "spark.app.name": "pass", "spark.master": "local[2]", "spark.submit.deployMode": "client", "spark.pyspark.python": sys.executable,
        "spark.pyspark.driver.python": sys.executable,
    }  # fmt: skip


def test_jars_settings_and_a_site_s_own_defaults(tmp_path: Path) -> None:
    one, other = tmp_path / "aa/core-1.jar", tmp_path / "bb/core-1.jar"
    for jar in (one, other):
        jar.parent.mkdir()
        jar.write_text(str(jar))
    conf = tmp_path / "conf"
    conf.mkdir()
    (conf / "spark-defaults.conf").write_text("spark.eventLog.enabled=false\nspark.executor.memory=1g")
    variables = {"PATH": "/usr/bin:/bin", "SPARK_CONF_DIR": str(conf), "WARDIAN_RUN_ID": "r"}
    job = python_job("pass", tmp_path, class_path=(one, other), variables=variables)
    found = told(tmp_path, job, **{"spark.executor.memory": "2g", "spark.jars": "/site/own.jar"})
    assert (found["spark.eventLog.enabled"], found["spark.executor.memory"]) == ("false", "2g")
    jars = found["spark.jars"].split(",")
    assert jars[0] == "/site/own.jar"
    assert [Path(jar).name for jar in jars[1:]] == ["core-1.jar", "bb-core-1.jar"], "executors know jars by their names alone"


def test_executors_elsewhere_get_the_variables_that_mean_something_there(tmp_path: Path) -> None:
    prefix = tmp_path / "prefix"
    variables = {"PATH": "/usr/bin:/bin", "HOME": "/home/ada", "WARDIAN_RUN_ID": "r1", "WARDIAN_EXPERIMENT": "e", "GREETING": "hello  world",
                 "CONDA_PREFIX": str(prefix), "SSL_CERT_FILE": "/etc/ssl/x", "WARDIAN_OUTPUT_DIR": "/o"}  # fmt: skip
    job = python_job("pass", tmp_path, prefix=prefix, variables=variables)
    found = told(tmp_path, job, master="spark://head:7077")
    executor = {
        key.removeprefix("spark.executorEnv."): value for key, value in found.items() if key.startswith("spark.executorEnv.")
    }
    assert executor.pop("FAKE_SPARK_SAYS")
    assert executor == {"WARDIAN_EXPERIMENT": "e", "GREETING": "hello  world"}
    assert found["spark.archives"] == f"{(prefix / 'packed.tar.gz').as_uri()}#environment"
    assert (found["spark.pyspark.python"], found["spark.pyspark.driver.python"]) == ("./environment/bin/python", sys.executable)
    (tmp_path / "2").mkdir()
    here = told(tmp_path / "2", job, master="spark://127.0.0.1:7077")
    assert here["spark.executorEnv.CONDA_PREFIX"] == str(prefix)
    assert "spark.archives" not in here


def test_without_a_prefix_there_is_nothing_to_send(tmp_path: Path) -> None:
    stop = Stop()
    with pytest.raises(RunFailed, match="there is none of Wardian's") as raised:
        OnThisPython.at(tmp_path, {"master": "yarn"}).run(python_job("pass", tmp_path), Recorder(), stop)
    stop.close()
    assert raised.value.stable_code == "no_prefix"


LOOK = """
import json, os, pathlib, stat
above, found = os.getppid(), []
while above > 1:
    found.append(pathlib.Path(f"/proc/{above}/cmdline").read_bytes().decode())
    above = int(pathlib.Path(f"/proc/{above}/stat").read_text().rpartition(")")[2].split()[1])
place = pathlib.Path(found[0].split(chr(0))[-3])
print(json.dumps({"argv": found, "place": str(place), "modes": {p.name: oct(stat.S_IMODE(p.stat().st_mode)) for p in [place, *place.iterdir()]}}))
"""


def test_no_secret_stands_in_a_command_line_or_in_what_others_can_read(tmp_path: Path) -> None:
    target, stop = OnThisPython.at(tmp_path, {"master": "spark://127.0.0.1:7077", "spark.hadoop.key": "${KEY}"}), Stop()
    job = python_job(LOOK, tmp_path, variables={"PATH": "/usr/bin:/bin", "KEY": SECRET, "WARDIAN_RUN_ID": "r"})
    seen = Recorder()
    target.run(replace(job, argv=(*job.argv, SECRET)), seen, stop)
    stop.close()
    found = json.loads(seen.streams[1])
    assert not any(SECRET in argv for argv in found["argv"]), "the job's own command line is its own business"
    modes = found["modes"]
    assert modes.pop(Path(found["place"]).name) == "0o700"
    assert {modes["spark.conf"], modes["order.json"], modes["environment.json"]} == {"0o600"}
    assert not Path(found["place"]).exists(), "it is removed with the run"


def test_a_spark_submit_that_ends_before_the_script_is_told(tmp_path: Path) -> None:
    stop, seen = Stop(), Recorder()
    with pytest.raises(RunFailed, match=r"spark-submit of Spark 3\.5\.9 ended with 1 before the script began") as raised:
        OnThisPython.at(tmp_path, {"master": "wrong"} | {"environment": "prefix"}).run(
            python_job("print('never')", tmp_path), seen, stop
        )
    stop.close()
    assert raised.value.stable_code == "spark_submit_failed"
    assert seen.streams == {1: b"", 2: b"Could not parse Master URL\n"}


def test_what_a_killed_owner_left_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ours, left = SparkPlace.make(), SparkPlace.make()
    gone = processes.identify()
    assert gone is not None
    (left.path / "owner.json").write_text(json.dumps(replace(gone, start_ticks=gone.start_ticks - 1).as_document()))
    third = SparkPlace.make()
    assert sorted(tmp_path.iterdir()) == sorted([ours.path, third.path])


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("plain", "plain"), ("", ""), ("two words", "two words"), ("  led by space", "\\ \\ led by space"), ("a\\b", "a\\\\b"),
        ("line\nand\tmore", "line\\nand\\tmore"), ("naïve", "na\\u00efve"), ("\U0001f331", "\\ud83c\\udf31"), ("k=v:x#!", "k=v:x#!"),
    ],
)  # fmt: skip
def test_a_setting_as_a_property_of_java(value: str, written: str) -> None:
    assert property_line("spark.a", value) == f"spark.a={written}"
    assert property_line("spark.a b=c", "x") == "spark.a\\ b\\=c=x"
