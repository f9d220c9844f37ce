"""A stand-in for Spark, where no JVM is wanted: it starts the driver as the real spark-submit does. No pytest in here."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from wardian.run.targets.spark import SparkTarget
from wardian.run.targets.spark_options import SparkOptions

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from wardian.run.configuration import Resources
    from wardian.run.targets.target import Ended, Job, Observer, Stop

# as PythonRunner does: both streams in one pipe, nothing to read, 128 + n for signals
SUBMIT = """#!{python}
import os, re, subprocess, sys
words = sys.argv[1:]
assert words[0] == "--properties-file", words
text = open(words[1], encoding="ascii").read()
settings = dict(re.match(r"([^=]*)=(.*)", line).groups() for line in text.splitlines() if "=" in line)
if os.environ.get("FAKE_SPARK_SAYS"):
    open(os.environ["FAKE_SPARK_SAYS"], "w").write(text)
if "wrong" in settings["spark.master"]:
    sys.exit("Could not parse Master URL")
variables = dict(os.environ, PYSPARK_GATEWAY_PORT="1", PYSPARK_PYTHON=settings["spark.pyspark.python"])
done = subprocess.run([settings["spark.pyspark.driver.python"], *words[2:]], env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                      stderr=subprocess.STDOUT)
sys.stdout.buffer.write(done.stdout)
sys.exit(done.returncode if done.returncode >= 0 else 128 - done.returncode)
"""


def fake_spark(home: Path, *, version: str = "3.5.9", scala: str = "2.12") -> Path:
    """Make a Spark that is none, and return its home."""
    (home / "bin").mkdir(parents=True)
    submit = home / "bin/spark-submit"
    submit.write_text(SUBMIT.format(python=sys.executable))
    submit.chmod(0o755)
    (home / "jars").mkdir()
    (home / "jars" / f"spark-core_{scala}-{version}.jar").touch()
    return home


def fake_java(home: Path, version: str = "17.0.15") -> Path:
    """Make a Java that is none, and return its home."""
    (home / "bin").mkdir(parents=True)
    (home / "bin/java").write_text("#!/bin/sh\n")
    (home / "bin/java").chmod(0o755)
    (home / "release").write_text(f'IMPLEMENTOR="Nobody"\nJAVA_VERSION="{version}"\n')
    return home


@dataclass
class OnThisPython:
    """The Spark target for jobs that have no environment: they get this test's interpreter."""

    target: SparkTarget
    name: str = "spark"

    @classmethod
    def at(cls, place: Path, options: Mapping[str, str] | None = None) -> OnThisPython:
        """Return a target over a fake Spark and a fake Java below ``place``."""
        caller = {"SPARK_HOME": str(fake_spark(place / "spark")), "JAVA_HOME": str(fake_java(place / "java"))}
        return cls(
            SparkTarget(
                SparkOptions.of(options or {}, "spark"), caller=caller, archive=lambda prefix: prefix / "packed.tar.gz", tick_s=0.05,
                standard_input=False,
            )
        )  # fmt: skip

    def check(self, resources: Resources) -> None:
        self.target.check(resources)

    def run(self, job: Job, observer: Observer, stop: Stop) -> Ended:
        return self.target.run(replace(job, python=job.python or sys.executable), observer, stop)
