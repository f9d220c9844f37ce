"""Spark runs from the command line: which versions run so, what they get, what the record says. Spark itself is a stand-in here."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from tests.support.cli import Cli
from tests.support.maven import MavenRepository
from tests.support.spark import fake_java, fake_spark
from tests.support.wheels import make_wheel

from wardian.definition.platform import this_platform

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.index import Index
    from tests.support.pythons import Catalogue

OLD = datetime(2024, 1, 1, tzinfo=UTC)
# what the settings that Spark got come to, as the job sees it
LOOK = """
import hashlib, json, os, pathlib, subprocess, sys, tarfile, urllib.parse
import alpha
settings = dict(line.split("=", 1) for line in open(os.environ["FAKE_SPARK_SAYS"]).read().splitlines())
jars = [pathlib.Path(urllib.parse.unquote(urllib.parse.urlsplit(uri).path)) for uri in settings.get("spark.jars", "").split(",") if uri]
found = {"settings": settings, "jars": {jar.name: hashlib.sha256(jar.read_bytes()).hexdigest() for jar in jars}, "argv": sys.argv[1:],
         "prefix": sys.prefix, "gateway": "PYSPARK_GATEWAY_PORT" in os.environ}
if "spark.archives" in settings:
    path, _, name = urllib.parse.unquote(urllib.parse.urlsplit(settings["spark.archives"]).path), "", "environment"
    tarfile.open(path).extractall(name)
    words = [settings["spark.pyspark.python"], "-c", "import alpha, sys; print(sys.prefix, alpha.version)"]
    found["sent"] = subprocess.run(words, capture_output=True, text=True, env={"PATH": "/nowhere"}).stdout.split()
print(json.dumps(found))
"""


@pytest.fixture
def jars(tmp_path: Path) -> MavenRepository:
    found = MavenRepository(tmp_path / "central")
    found.add("com.acme:hello_2.13:1.0", "com.acme:deep:2.0")
    found.add("com.acme:deep:2.0")
    return found


@pytest.fixture
def cli(tmp_path: Path, index: Index, jars: MavenRepository) -> Cli:
    """A command line on a machine with a Spark and a Java, as the variables of the machine say."""
    index.add(make_wheel(tmp_path / "wheels", "alpha", "1.0", files={"alpha/__init__.py": "version = '1.0'\n"}), OLD)
    found = Cli.at(tmp_path / "one", index_url=index.url, config=f'repositories = {{ central = "{jars.url}" }}')
    found.variables |= {"SPARK_HOME": str(fake_spark(tmp_path / "spark")), "JAVA_HOME": str(fake_java(tmp_path / "java"))}
    found.write("look.py", LOOK)
    found.write("e.yml", "name: jobs\npython: {manager: uv, pip: [alpha]}\nspark: {packages: ['com.acme:hello_2.13:1.0']}\n")
    return found


def test_a_spark_section_runs_as_spark_with_the_jars_of_its_lock(cli: Cli, tmp_path: Path) -> None:
    says = tmp_path / "says"
    done = cli.ok(
        "run",
        "-f",
        "e.yml",
        "--cpus",
        "1",
        "-V",
        f"FAKE_SPARK_SAYS={says}",
        "--option",
        "spark.app.name=mine",
        "look.py",
        "--deep",
        "3",
    )
    found = json.loads(done.out)
    lock = cli.json("env", "show", "jobs")["lock"]
    assert found["jars"] == {a["file"]: a["sha256"] for a in lock["packages"] if a["kind"] == "jar"}
    assert len(found["jars"]) == 2
    settings = found["settings"]
    assert (settings["spark.master"], settings["spark.app.name"], found["argv"]) == ("local[1]", "mine", ["--deep", "3"])
    assert settings["spark.pyspark.python"].startswith(found["prefix"])
    assert found["gateway"], "the variables that lead to the JVM"
    assert "Spark 3.5.9, local[1]" in done.err
    assert "made for another Scala than 2.12, which Spark 3.5.9 has: com.acme:hello_2.13" in done.err
    record = cli.json("runs", "list")["runs"][0]
    shown = cli.json("runs", "show", record["id"])
    assert shown["configuration"]["target"] == "spark"
    assert shown["results"]["environment"]["engine"] == {
        "name": "spark", "version": "3.5.9", "home": str(tmp_path / "spark"), "origin": "SPARK_HOME", "scala": "2.12", "java": "17.0.15",
        "java_home": str(tmp_path / "java"), "master": "local[1]", "environment": "prefix",
    }  # fmt: skip
    text = cli.ok("runs", "show", record["id"]).out
    assert f"spark 3.5.9 in {tmp_path / 'spark'} (SPARK_HOME)" in text
    assert f"java 17.0.15 in {tmp_path / 'java'}" in text
    here = cli.ok(
        "run", "-t", "local", "-e", "jobs", "--", "python", "-c", "import os; print('PYSPARK_GATEWAY_PORT' in os.environ)"
    )
    assert here.out == "False\n"
    assert "the Spark section does not count for a local run" in here.err


def test_an_exit_code_a_background_run_and_the_same_run_again(cli: Cli) -> None:
    cli.write("three.py", "import sys, os\nprint('out', flush=True)\nprint('err', file=sys.stderr)\nraise SystemExit(3)\n")
    done = cli.run("run", "-f", "e.yml", "three.py")
    assert (done.code, done.out) == (3, "out\n")
    assert "\nerr\n" in done.err
    run_id = cli.ok("run", "-d", "-e", "jobs", "three.py").out.strip()
    waited = cli.run("runs", "wait", run_id)
    assert waited.code == 1
    assert cli.json("runs", "show", run_id)["exit_code"] == 3
    again = cli.run("runs", "reproduce", run_id)
    assert (again.code, again.out) == (3, "out\n")


def test_a_version_that_was_locked_before_jars_were_runs_as_it_did(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    cli.ok("env", "create", "jobs", "-f", "e.yml")
    cli.ok("env", "lock", "jobs")
    _forget_jars(cli, monkeypatch)
    cli.ok("env", "create", "old", "--from", "jobs")
    code = "import os; print('PYSPARK_GATEWAY_PORT' in os.environ)"
    assert cli.ok("run", "-e", "jobs:2", "--", "python", "-c", code).out == "False\n"
    asked = cli.ok("run", "-t", "spark", "-e", "jobs:2", "--", "python", "-c", code)
    assert asked.out == "True\n"
    assert (
        "jobs:2 was locked before jars were, and has none: `wardian env upgrade jobs` adds a version that has them" in asked.err
    )
    cli.ok("env", "upgrade", "jobs:2")
    assert cli.ok("run", "-e", "jobs", "--", "python", "-c", code).out == "True\n"


def _forget_jars(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Add version 2 of `jobs`, pinned to its lock as an earlier Wardian would have made it."""
    from wardian.bootstrap import Parts
    from wardian.settings import Settings

    parts = Parts(Settings.load({"WARDIAN_HOME": str(cli.home), "WARDIAN_CACHE": str(cli.cache)}), environ={})
    first = parts.environments.get("jobs")
    pin = parts.locks.find_pin(first.id, this_platform().name)
    assert pin is not None
    lock = replace(parts.locks.get(pin.lock_digest, definition_hash=first.definition_hash), spark=())
    second, _ = parts.environments.register(first.environment, always_new=True)
    parts.locks.put(lock)
    parts.locks.pin(second.id, lock.platform, lock.digest, "solved")
    parts.database.close()


def test_executors_elsewhere_are_sent_an_environment_that_runs_there(
    tmp_path: Path, cli: Cli, python_catalogue: Catalogue
) -> None:
    says = tmp_path / "says"
    config = cli.home / "config.toml"
    config.write_text(config.read_text().replace(str(tmp_path / "one/no-pythons.json"), str(python_catalogue.path)))
    words = (
        "run",
        "-f",
        "e.yml",
        "--option",
        "master=spark://head.example.org:7077",
        "-V",
        f"FAKE_SPARK_SAYS={says}",
        "look.py",
    )
    found = json.loads(cli.ok(*words).out)
    prefix, version = found["sent"]
    assert version == "1.0"
    assert prefix.endswith("/environment")
    (archive,) = (cli.cache / "portable").glob("*.tar.gz")
    made = archive.stat().st_ino
    cli.ok(*words)
    assert archive.stat().st_ino == made
    cli.ok("gc", "--all", "--apply")
    assert not archive.exists()


def test_a_user_managed_environment_with_a_spark_section(cli: Cli) -> None:
    cli.write(
        "u.yml",
        f"name: mine\npython: {{manager: user, interpreter: '{sys.executable}'}}\nspark: {{packages: ['com.acme:hello_2.13:1.0']}}\n",
    )
    done = cli.ok("run", "-f", "u.yml", "--", sys.executable, "-c", "import os; print('PYSPARK_GATEWAY_PORT' in os.environ)")
    assert done.out == "True\n"
    assert "declaration only" in done.err


def test_without_java_the_run_fails_before_it_starts(cli: Cli, tmp_path: Path) -> None:
    done = cli.run("run", "-f", "e.yml", "-V", f"JAVA_HOME={tmp_path}", "look.py")
    assert done.code == 125
    assert f"Spark 3.5.9 needs Java, and JAVA_HOME is {tmp_path}, where there is no `bin/java`" in done.err
    assert "openjdk-17-jre-headless" in done.err
    record = cli.json("runs", "show", cli.json("runs", "list")["runs"][0]["id"])
    assert (record["state"], record["code"], "running" in record) == ("failed", "java_missing", False)
