"""A stand-in for Spark, where no JVM is wanted: it starts the driver as the real spark-submit does; and a real cluster. No pytest in here."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from tests.support.jobs import wait_until

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


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Cluster:
    """A standalone Spark on loopback: a master and two workers of one core each, started and ended by their pids.

    Args:     home: of a real Spark.
    """

    def __init__(self, home: Path, place: Path):
        self.home = home
        self._place = place
        self._processes: list[subprocess.Popen[bytes]] = []
        self._port, self._page = free_port(), free_port()

    @property
    def master(self) -> str:
        return f"spark://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        self._place.mkdir(parents=True)
        self._start("master", "--host", "127.0.0.1", "--port", str(self._port), "--webui-port", str(self._page))
        wait_until(lambda: self.state() is not None, 300, process=self._processes[0], pause_s=0.2)
        for number in (1, 2):
            self._start(
                "worker",
                "--host",
                "127.0.0.1",
                "--webui-port",
                "0",
                "-c",
                "1",
                "-m",
                "1G",
                "-d",
                str(self._place / str(number)),
                self.master,
            )
        wait_until(lambda: (self.state() or {}).get("aliveworkers") == 2, 300, process=self._processes[-1], pause_s=0.2)
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._processes):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def state(self) -> dict[str, Any] | None:
        """What the master says of itself; None: it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._page}/json/", timeout=10) as answer:
                found: dict[str, Any] = json.load(answer)
        except (OSError, ValueError):
            return None
        return found

    def _start(self, what: str, *words: str) -> None:
        argv = [str(self.home / "bin/spark-class"), f"org.apache.spark.deploy.{what}.{what.capitalize()}", *words]
        variables = {"PATH": os.environ["PATH"], "SPARK_HOME": str(self.home), "SPARK_LOCAL_IP": "127.0.0.1", "HOME": str(self._place),
                     "SPARK_LOCAL_DIRS": str(self._place)}  # fmt: skip
        with (self._place / f"{what}{len(self._processes)}.log").open("wb") as log:
            self._processes.append(
                subprocess.Popen(
                    argv,
                    env=variables,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self._place,
                    start_new_session=True,
                )
            )


def why_no_java() -> str | None:
    """Why no real Spark can run here; None: one can."""
    return None if shutil.which("java") else "java is missing: scripts/test-tools installs it as root where apt-get is"
