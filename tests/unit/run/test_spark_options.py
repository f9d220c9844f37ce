from __future__ import annotations

import pytest

from wardian.errors import InvalidInput
from wardian.run.configuration import Command, RunConfiguration
from wardian.run.targets.spark_options import SparkOptions


def test_what_is_given_is_told_apart() -> None:
    found = SparkOptions.of({"master": "spark://a:7077", "environment": "prefix", "spark.executor.memory": "2g"}, "spark")
    assert (found.master, found.environment, found.settings) == ("spark://a:7077", "prefix", {"spark.executor.memory": "2g"})


@pytest.mark.parametrize(
    ("master", "cpus", "expected"),
    [
        ("", None, "local[*]"),
        ("", 4.0, "local[4]"),
        ("", 0.5, "local[1]"),
        ("local[2]", 4.0, "local[2]"),
        ("yarn", None, "yarn"),
    ],
)
def test_the_master_is_this_machine_unless_one_is_named(master: str, cpus: float | None, expected: str) -> None:
    assert SparkOptions(master).master_for(cpus) == expected


@pytest.mark.parametrize(
    ("master", "is_local", "is_here"),
    [
        ("", True, True), ("local", True, True), ("local[4,2]", True, True), ("local-cluster[2,1,1024]", False, True),
        ("spark://127.0.0.1:7077", False, True), ("spark://localhost:7077,127.0.0.2:7077", False, True), ("spark://[::1]:7077", False, True),
        ("spark://head:7077", False, False), ("spark://localhost:7077,head:7077", False, False), ("yarn", False, False),
        ("k8s://https://127.0.0.1:6443", False, False),
    ],
)  # fmt: skip
def test_executors_elsewhere_are_sent_the_environment(master: str, is_local: bool, is_here: bool) -> None:
    found = SparkOptions(master)
    assert (found.is_local, found.is_here, found.sends_archive) == (is_local, is_here, not is_here)
    assert SparkOptions(master, environment="archive").sends_archive
    assert not SparkOptions(master, environment="prefix").sends_archive


@pytest.mark.parametrize(
    ("option", "code", "words"),
    [
        ({"memory": "2g"}, "unknown_target_option", "has no option `memory`"),
        ({"spark.jars.packages": "g:a:1"}, "bad_target_option", "`spark.jars.packages` is Wardian's to set"),
        ({"spark.submit.deployMode": "cluster"}, "bad_target_option", "Wardian's to set"),
        ({"spark.pyspark.python": "python3"}, "bad_target_option", "Wardian's to set"),
        ({"environment": "image"}, "bad_target_option", "neither `prefix` nor `archive`"),
        ({"master": "two words"}, "bad_target_option", "is no master"),
        ({"master": "spark://head"}, "bad_target_option", "`head` is no HOST:PORT"),
        ({"master": "spark://a:7077,:7077"}, "bad_target_option", "`:7077` is no HOST:PORT"),
        ({"master": "spark://a:7077,b:70770"}, "bad_target_option", "`70770` is no port"),
        ({"master": "spark://a:\u0667"}, "bad_target_option", "is no master"),
        ({"master": "local[x]"}, "bad_target_option", "is no master: it is `local`, `local[N]` or `local[*]`"),
        ({"spark.a b": "x"}, "unknown_target_option", "no option"),
    ],
)
def test_wrong_options_are_refused_by_name(option: dict[str, str], code: str, words: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        SparkOptions.of(option, "spark")
    assert raised.value.stable_code == code
    assert words in raised.value.message
    assert raised.value.hint


@pytest.mark.parametrize(
    "master",
    [
        "spark://a:7077,b.example.org:1",
        "spark://[::1]:7077",
        "local[4,2]",
        "yarn",
        "k8s://https://a:443",
        "local-cluster[2,1,1024]",
    ],
)
def test_masters_of_all_kinds_are_taken(master: str) -> None:
    assert SparkOptions.of({"master": master}, "spark").master == master


def test_a_secret_is_named_in_an_option_and_put_in_when_it_runs() -> None:
    key = "spark.hadoop.fs.s3a.secret.key"
    configuration = RunConfiguration(Command("script", "a.py"), target="spark", options={key: "${AWS_SECRET}"})
    assert configuration.as_document()["options"] == {key: "${AWS_SECRET}"}
    with pytest.raises(InvalidInput) as raised:
        RunConfiguration(Command("script", "a.py"), target="spark", options={key: "wJalrXUtnFEMI"})
    assert raised.value.stable_code == "secret_in_option"
    found = SparkOptions.of(configuration.options, "spark")
    assert found.with_values({"AWS_SECRET": "wJalrXUtnFEMI"}) == {key: "wJalrXUtnFEMI"}
    with pytest.raises(InvalidInput, match=r"uses \$\{AWS_SECRET\}") as raised:
        found.with_values({})
    assert raised.value.hint == "pass it on: `-V AWS_SECRET`"
