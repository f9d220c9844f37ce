"""The target `spark`: a job that spark-submit starts, in client mode, on this machine."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from wardian.errors import RunFailed
from wardian.run.targets.local import LocalTarget
from wardian.run.targets.pump import TICK_S
from wardian.run.targets.spark_home import find_spark
from wardian.run.targets.spark_options import SparkOptions
from wardian.run.targets.spark_place import SparkPlace
from wardian.run.targets.target import Ended

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wardian.run.configuration import Resources
    from wardian.run.targets.spark_home import SparkHome
    from wardian.run.targets.target import Job, Observer, Stop

LOOPBACK = "127.0.0.1"
SENT = "environment"  # where executors find the environment that they are sent
_OF_MACHINE = re.compile(r"PATH|HOME|TERM|PWD|LD_LIBRARY_PATH|JAVA_HOME|(?:PY)?SPARK_\w+|WARDIAN_OUTPUT_DIR")
_CERTIFICATES = re.compile(r"SSL_CERT_(?:FILE|DIR)|\w+_CA_BUNDLE|NODE_EXTRA_CA_CERTS|PIP_CERT|GIT_SSL_CAINFO")
# what Spark's page and logs do not show: its own, and all that is given to executors
_HIDDEN = "(?i)secret|password|passwd|token|credential|access[.]?key|executorEnv"


class SparkTarget:
    """Runs jobs under spark-submit: the driver is a process of this machine, as with the local target; executors are where the master is.

    Driver and executors run the environment's interpreter. The job's jars are on their class paths; nothing is resolved or downloaded by
    Spark. Settings, variables and arguments reach it through files that nobody else can read. Streams, exit code and signal
    are the job's own. A Spark that has come with the environment goes before one of the machine.
    """

    name = "spark"

    def __init__(
        self, options: SparkOptions | None = None, *, caller: Mapping[str, str], archive: Callable[[Path], Path], tick_s: float = TICK_S,
        standard_input: bool = True,
    ) -> None:  # fmt: skip
        """Make the target.

        Args:     caller: the variables of whoever submits: where a Spark or a Java of the machine may be.
                  archive: returns an archive of a prefix that can be unpacked anywhere.
                  tick_s, standard_input: see ``LocalTarget``.
        """
        self._options = options or SparkOptions()
        self._caller = caller
        self._archive = archive
        self._local = LocalTarget(tick_s=tick_s, standard_input=standard_input)

    def check(self, resources: Resources) -> None:
        """Check ``resources`` against this machine; how many executors there are is the master's business.

        Raises:   InvalidInput: this machine has less.
        """
        self._local.check(resources)

    def run(self, job: Job, observer: Observer, stop: Stop) -> Ended:
        """Run ``job`` to its end. See ``Target.run``.

        Raises:   RunFailed: ``spark_missing``, ``java_missing``, ``java_too_old``, ``java_too_new``; ``spark_submit_failed``: it ended before the job began;
                  ``no_prefix``: there is nothing to send.  InvalidInput: ``unset_variable``.  What ``archive`` and ``LocalTarget.run`` raise.
        """
        spark = find_spark(job.python, job.variables, self._caller)
        place = SparkPlace.make()
        try:
            jars = place.put_jars(job.class_path)
            place.put_settings(self._settings(job, jars), self._defaults(spark, job))
            variables = {**job.variables, "SPARK_HOME": str(spark.home), "JAVA_HOME": str(spark.java_home)}
            if self._options.is_here:
                variables.setdefault("SPARK_LOCAL_IP", LOOPBACK)
            submitted = replace(job, argv=place.launch(job, spark.submit), variables=variables)
            return self._told(self._local.run(submitted, observer, stop), place, spark)
        finally:
            place.remove()

    def _settings(self, job: Job, jars: list[str]) -> dict[str, str]:
        """Return all that Spark is told."""
        options = self._options
        own = options.with_values(job.variables)
        python = job.python
        settings = {"spark.app.name": _name(job), "spark.redaction.regex": _HIDDEN} | own
        archives = [own["spark.archives"]] if own.get("spark.archives") else []
        if options.sends_archive:
            if job.prefix is None:
                raise RunFailed("executors are to be sent the environment, but there is none of Wardian's: it is user-managed", code="no_prefix",
                                hint="install it on each node, and say `--option environment=prefix`")  # fmt: skip
            archives.append(f"{self._archive(job.prefix).as_uri()}#{SENT}")
            python = f"./{SENT}/bin/python"
        if not options.is_local:
            settings |= {f"spark.executorEnv.{name}": value for name, value in self._of_executors(job).items()
                         if f"spark.executorEnv.{name}" not in own}  # fmt: skip
        return settings | {
            "spark.master": options.master_for(job.resources.cpus if job.resources else None),
            "spark.submit.deployMode": "client",
            "spark.pyspark.python": python,
            "spark.pyspark.driver.python": job.python,
            **({"spark.jars": ",".join([*([own["spark.jars"]] if own.get("spark.jars") else []), *jars])} if jars else {}),
            **({"spark.archives": ",".join(archives)} if archives else {}),
        }

    def _of_executors(self, job: Job) -> dict[str, str]:
        """Return the variables of the job that mean something elsewhere."""
        elsewhere = self._options.sends_archive
        return {
            name: value for name, value in job.variables.items()
            if name != job.marker and not _OF_MACHINE.fullmatch(name)  # the marker tells whose processes end with the run: not those
            and not (elsewhere and (_CERTIFICATES.fullmatch(name) or (job.prefix is not None and str(job.prefix) in value)))
        }  # fmt: skip

    @staticmethod
    def _defaults(spark: SparkHome, job: Job) -> Path | None:
        directory = job.variables.get("SPARK_CONF_DIR") or str(spark.home / "conf")
        path = Path(directory) / "spark-defaults.conf"
        return path if os.access(path, os.R_OK) else None

    @staticmethod
    def _told(ended: Ended, place: SparkPlace, spark: SparkHome) -> Ended:
        """Return how the job ended: the launcher ends as it did, but for what never began."""
        news = place.news
        event = news.get("event")
        if event in ("not_found", "not_executable"):
            return Ended(event, detail=str(news.get("detail", "")))
        if event == "submit_failed" and ended.cause == "exited":
            raise RunFailed(f"spark-submit of {spark} ended with {news.get('code')} before the script began: the log says why",
                            hint="check master and `spark.*` options", code="spark_submit_failed")  # fmt: skip
        return ended


def _name(job: Job) -> str:
    """Return what Spark's pages call the job: its script, module or program."""
    words = job.argv[1:] if job.argv[0] == job.python else job.argv
    return next((word for word in words if not word.startswith("-")), "job")[:100]
