"""Real Spark: PySpark of the index, a master and two workers on loopback. Jars, packages, streams, exit codes, the end of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.conftest import machine_packager_variables
from tests.support.cli import Cli
from tests.support.jobs import wait_until
from tests.support.maven import MavenRepository, class_bytes, dependency_xml
from tests.support.pythons import installed_pythons, make_standalone
from tests.support.spark import Cluster, why_no_java

from wardian.definition.environment import SparkSection
from wardian.digest import Digest
from wardian.events import silent
from wardian.lock.maven import MavenJarResolver
from wardian.package.fetch import Fetcher
from wardian.package.hints import Hints
from wardian.package.store import PackageStore
from wardian.tools.http import Http

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.slow, pytest.mark.network]

EXAMPLE = Path(__file__).resolve().parents[2] / "examples/sklearn"
DEFINITION = """name: jobs
python:
  manager: uv
  version: "==3.11.*"
  pip: ["pyspark==3.5.*", "six==1.17.0", "numpy==2.3.*", "scikit-learn==1.7.*"]
spark:
  packages: ["com.acme:top:1.0"]
  repositories: ["OWN"]
"""
JOB = """
import hashlib, importlib.metadata as metadata, json, os, sys
from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()

def inventory(_):
    import six
    found = sorted((d.metadata["Name"], d.version) for d in metadata.distributions())
    yield {"python": sys.executable, "pid": os.getpid(), "six": six.__version__, "packages": found, "greeting": os.environ.get("GREETING"),
           "token": hashlib.sha256(os.environ.get("MY_TOKEN", "").encode()).hexdigest()}

there = spark.sparkContext.parallelize(range(2), 2).mapPartitions(inventory).collect()
rows = spark.range(4).repartition(2).selectExpr("java_method('com.acme.Hello', 'hi') as said", "java_method('com.acme.deep.Word', 'say') as word").collect()
print(json.dumps({"driver": spark._jvm.com.acme.Hello.hi(), "executors": [[r.said, r.word] for r in rows], "there": there, "here": next(inventory(0)),
                  "master": spark.sparkContext.master, "stdin": sys.stdin.read()}))
print("told on stderr", file=sys.stderr)
spark.stop()
sys.exit(int(sys.argv[1]))
"""
WAIT = """
import time
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
print("ready", flush=True)
spark.sparkContext.parallelize(range(2), 2).foreach(lambda _: time.sleep(600))
"""


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """A workspace with an environment that has PySpark, scikit-learn, and two jars of one's own repository."""
    if why := why_no_java():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(why)
    python = next((path for version, path in installed_pythons() if version.startswith("3.11.")), None)
    if python is None:
        pytest.skip("no Python 3.11, which this PySpark is for, is on this machine")
    place = tmp_path_factory.mktemp("spark")
    own = MavenRepository(place / "own")
    own.add(
        "com.acme:top:1.0",
        "com.acme:deep:2.0",
        members={"com/acme/Hello.class": class_bytes("com.acme.Hello", "hi", "hello from a jar")},
    )
    own.add("com.acme:deep:2.0", members={"com/acme/deep/Word.class": class_bytes("com.acme.deep.Word", "say", "needed by it")})
    found = Cli.at(place / "one")
    found.variables |= machine_packager_variables()
    (found.home / "config.toml").write_text(f'python_downloads = "{make_standalone(place / "pythons", python).path}"\n')
    found.write("jobs.yml", DEFINITION.replace("OWN", own.url))
    found.write("job.py", JOB)
    found.write("wait.py", WAIT)
    shutil.copy(EXAMPLE / "train.py", found.directory)
    found.ok("env", "create", "jobs", "-f", "jobs.yml")
    found.ok("env", "build", "jobs", timeout_s=1500)
    return found


@pytest.fixture(scope="module")
def cluster(cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    python = Path(cli.ok("env", "build", "jobs", "--print-python").out.strip())
    (home,) = (python.parent.parent / "lib").glob("python3*/site-packages/pyspark")
    with Cluster(home, tmp_path_factory.mktemp("cluster") / "cluster") as running:
        yield running


def options(*pairs: str) -> list[str]:
    return [word for pair in ("spark.executor.memory=512m", *pairs) for word in ("--option", pair)]


@pytest.mark.parametrize("environment", ["here", "prefix", "archive"])
def test_jars_and_packages_are_those_of_the_lock_on_driver_and_executors(cli: Cli, cluster: Cluster, environment: str) -> None:
    where = [] if environment == "here" else options(f"master={cluster.master}", f"environment={environment}")
    done = cli.run("run", "-e", "jobs", *where, "-V", "GREETING=hello world", "-V", "MY_TOKEN", "job.py", "3", stdin="from the caller",
                   variables={"MY_TOKEN": "fern-1842"}, timeout_s=900)  # fmt: skip
    assert done.code == 3, done.err
    found = json.loads(done.out)
    assert "told on stderr" in done.err
    assert (found["driver"], found["stdin"]) == ("hello from a jar", "from the caller")
    assert found["executors"] == [["hello from a jar", "needed by it"]] * 4
    lock = cli.json("env", "show", "jobs")["lock"]
    locked = {(a["name"].replace("-", "_"), a["version"]) for a in lock["packages"] if a["kind"] in ("wheel", "sdist")}
    for one in (found["here"], *found["there"]):
        assert {(name.replace("-", "_").lower(), version) for name, version in one["packages"]} == locked
        assert (one["six"], one["greeting"], one["token"]) == ("1.17.0", "hello world", Digest.of(b"fern-1842"))
    pythons = {one["python"] for one in found["there"]}
    if environment == "archive":
        assert all("/environment/bin/python" in python and python != found["here"]["python"] for python in pythons)
    else:
        assert pythons == {found["here"]["python"]}
    assert found["master"] == ("local[*]" if environment == "here" else cluster.master)
    kept = b"".join(path.read_bytes() for path in sorted(cli.home.rglob("*")) if path.is_file())
    assert b"fern-1842" not in kept


def test_the_training_example_has_the_same_metrics_on_spark(cli: Cli, cluster: Cluster) -> None:
    metrics = []
    for where in (["-t", "local"], options(f"master={cluster.master}")):
        run = cli.json("run", "-e", "jobs", *where, "train.py", timeout_s=900)
        metrics.append((cli.home / "workspaces/default/runs" / run["id"] / "snapshot/outputs/metrics.json").read_text())
    assert metrics[0] == metrics[1]
    assert json.loads(metrics[0])["accuracy"] > 0.9


def test_a_canceled_run_takes_its_executors_along(cli: Cli, cluster: Cluster) -> None:
    run_id = cli.ok("run", "-d", "-e", "jobs", *options(f"master={cluster.master}"), "wait.py").out.strip()
    wait_until(
        lambda: "ready" in cli.run("runs", "logs", run_id).out and (cluster.state() or {}).get("activeapps"), 600, pause_s=0.5
    )
    cli.ok("runs", "cancel", run_id)
    assert cli.json("runs", "show", run_id)["state"] == "canceled"
    wait_until(lambda: (cluster.state() or {}).get("activeapps") == [], 300, pause_s=0.5)


def test_a_master_that_is_none_fails_before_the_script(cli: Cli) -> None:
    done = cli.run(
        "run", "-e", "jobs", "--option", "master=nonsense", "--option", "environment=prefix", "job.py", "0", timeout_s=600
    )
    assert done.code == 125
    assert "before the script began" in done.err


IVY = """<ivysettings><caches defaultCacheDir="PLACE/ivy"/><settings defaultResolver="own"/>
<resolvers><ibiblio name="own" m2compatible="true" root="URL/"/></resolvers></ivysettings>"""
WANTED = """<ivy-module version="2.0"><info organisation="x" module="y"/><configurations><conf name="default"/></configurations>
<dependencies>DEPENDENCIES</dependencies></ivy-module>"""


@pytest.mark.parametrize("roots", [("g:a:1",), ("g:b:1",), ("g:a:1", "g:b:1"), ("g:b:1", "g:mid:1")])
def test_the_jars_are_those_that_sparks_own_resolver_finds(cluster: Cluster, tmp_path: Path, roots: tuple[str, ...]) -> None:
    """What `spark-submit --packages` takes comes from Ivy: the same over a graph with everything that decides about versions."""
    repository = MavenRepository(tmp_path / "maven")
    repository.add(
        "g:a:1", dependency_xml("g:mid:1", exclusions="g:never"), "g:side:1", dependency_xml("g:tested:1", scope="test")
    )
    repository.add(
        "g:b:1",
        "g:side:1",
        "g:low:1.9",
        dependency_xml("g:maybe:1", optional="true"),
        dependency_xml("g:given:1", scope="provided"),
    )
    repository.add("g:mid:1", "g:low:1.10", "g:never:1", dependency_xml("g:run:1", scope="runtime"))
    repository.add("g:side:1", "g:run:2", "g:low:1.2")
    for version in ("1.2", "1.9", "1.10"):
        repository.add(f"g:low:{version}", f"g:of-{version.replace('.', '-')}:1")
        repository.add(f"g:of-{version.replace('.', '-')}:1")
    for module in ("never:1", "run:1", "run:2", "maybe:1", "given:1", "tested:1"):
        repository.add(f"g:{module}")
    http = Http()
    store = PackageStore(tmp_path / "packages")
    resolver = MavenJarResolver(http=http, archives=Fetcher(store, http, Hints(tmp_path / "urls"), limit_bytes=1 << 20),
                                configured={"central": repository.url}, mirrors={}, environ={})  # fmt: skip
    ours = {jar.file for jar in resolver.resolve(SparkSection(roots), silent)}
    (tmp_path / "settings.xml").write_text(IVY.replace("PLACE", str(tmp_path)).replace("URL", repository.url))
    asked = "".join(
        f'<dependency org="{g}" name="{a}" rev="{v}" conf="default->default"/>'
        for g, a, v in (root.split(":") for root in roots)
    )
    (tmp_path / "ivy.xml").write_text(WANTED.replace("DEPENDENCIES", asked))
    (ivy,) = (cluster.home / "jars").glob("ivy-*.jar")
    words = ["java", "-jar", str(ivy), "-settings", "settings.xml", "-ivy", "ivy.xml", "-confs", "default", "-retrieve",
             f"{tmp_path}/out/[artifact]-[revision].[ext]"]  # fmt: skip
    subprocess.run(words, cwd=tmp_path, check=True, capture_output=True)
    assert ours == {path.name for path in (tmp_path / "out").iterdir()}
