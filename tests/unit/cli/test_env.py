"""What people read of environments: origins, archived names, files where a reference is wanted."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.cli import Cli


def test_an_origin_is_named_once(host: Cli) -> None:
    host.ok("env", "create", "serving", "--from", "host:1", "-V", "A=1")
    assert "  from       copy of host:1\n" in host.ok("env", "show", "serving").out


def test_a_new_version_of_an_archived_name_says_that_it_stays_hidden(host: Cli) -> None:
    host.ok("env", "archive", "host")
    again = host.ok("env", "create", "host", "--interpreter", sys.executable)
    assert "(unchanged)" in again.out
    more = host.ok("env", "create", "host", "--interpreter", sys.executable, "-V", "A=1")
    for done in (again, more):
        assert "`host` is archived: it stays out of lists until `wardian env restore host`" in done.err
    host.ok("env", "restore", "host")
    assert "archived" not in host.ok("env", "create", "host", "--interpreter", sys.executable, "-V", "A=2").err
    assert "host" in host.ok("env", "list").out


def test_an_archived_version_that_is_asked_for_names_what_shows_it_again(host: Cli) -> None:
    host.ok("env", "create", "host", "--interpreter", sys.executable, "-V", "A=1")
    host.ok("env", "archive", "host:1")
    done = host.ok("env", "create", "host", "--interpreter", sys.executable, "--version", "1")
    assert "`host:1` is archived: it stays out of lists until `wardian env restore host:1`" in done.err


@pytest.mark.parametrize(
    ("words", "code"),
    [(("create", "b", "--from", "loop.yml"), 4), (("show", "loop.yml"), 4), (("create", "b", "--from", "./loop.yml"), 2)],
)
def test_a_file_where_a_reference_is_wanted_teaches_the_option(host: Cli, words: tuple[str, ...], code: int) -> None:
    host.write("loop.yml", "dependencies: [python]\n")
    done = host.run("env", *words)
    assert done.code == code
    assert f"`wardian env create NAME -f {words[-1]}`" in done.err


@pytest.mark.parametrize("value", ["0001-01-01", "0001-01-01T00:00:00+14:00", "9999-12-31", "9999-12-31T23:59:59-14:00"])
def test_a_year_in_which_nothing_was_published_is_refused(host: Cli, value: str) -> None:
    done = host.run("env", "lock", "host", "--as-of", value)
    assert done.code == 2
    assert "nothing was published in the year" in done.err


def outdate(cli: Cli, version: str, pip: str) -> None:
    """Make of a version what a Wardian with laxer rules might have registered."""
    with contextlib.closing(sqlite3.connect(cli.home / "workspaces" / "default" / "workspace.db")) as records:
        (document,) = records.execute("SELECT document FROM versions WHERE version = ?", (version,)).fetchone()
        definition = json.loads(document)
        definition["python"]["pip"] = [pip]
        records.execute("UPDATE versions SET document = ? WHERE version = ?", (json.dumps(definition), version))
        records.commit()


def test_a_version_that_newer_rules_refuse_is_shown_as_it_was_registered(host: Cli) -> None:
    host.ok("env", "create", "host", "--interpreter", sys.executable, "-V", "A=1")
    outdate(host, "1", "alpha ==== 1")
    assert "host" in host.ok("env", "list").out
    shown = host.ok("env", "show", "host:1").out
    assert "\n  outdated   python.pip[0]: " in shown
    assert host.json("env", "show", "host:1")["definition"]["python"]["pip"] == ["alpha ==== 1"]
    history = host.ok("env", "history", "host")
    assert "host:1 is outdated: python.pip[0]: " in history.err
    assert "- alpha ==== 1" in history.out
    assert [row["faults"][:1] != [] for row in host.json("env", "history", "host")["history"]] == [False, True]
    host.ok("env", "diff", "host:1", "host:2")
    assert host.ok("env", "hash", "host:1").out.strip() == host.json("env", "show", "host:1")["definition_hash"]
    host.ok("env", "export", "host:1", "--to", "wardian")
    host.write("a.py", "print('ran')")
    assert "ran" in host.ok("run", "-e", "host:1", "a.py").out
    assert "faults" in host.json("env", "show", "host:2")


@pytest.mark.parametrize("words", [("create", "other", "--from", "u:1"), ("lock", "u:1"), ("build", "u")])
def test_nothing_new_is_made_of_a_version_that_newer_rules_refuse(cli: Cli, words: tuple[str, ...]) -> None:
    cli.write("requirements.txt", "alpha\n")
    cli.ok("env", "create", "u", "-r", "requirements.txt")
    outdate(cli, "1", "alpha ==== 1")
    done = cli.run("env", *words)
    assert done.code == 2
    assert "u:1 was registered under older rules" in done.err
    assert "u:1: python.pip[0]: " in done.err
    assert "`wardian env export u:1 --to source -o FILE`" in done.err


def test_what_a_file_loses_is_told_once_on_stderr_and_in_json(host: Cli) -> None:
    host.write("left.yml", "channels: [c]\nprefix: /opt/there\n")
    line = "dropped: left.yml:2 prefix: Wardian chooses where an environment is installed\n"
    assert host.ok("env", "create", "left", "-f", "left.yml").err.count(line) == 1
    done = host.ok("env", "create", "left", "-f", "left.yml", "--json")
    assert done.err == line
    (loss,) = done.document["losses"]
    assert (loss["kind"], loss["field"], loss["file"], loss["line"]) == ("dropped", "prefix", "left.yml", 2)
    assert host.json("env", "create", "host", "--interpreter", sys.executable)["losses"] == []


V2 = "name: conda-on-image\nversion: 3\nimage: ubuntu:22.04\nconda_file:\n  channels: [conda-forge]\n  dependencies: [python=3.11]\n"


def test_an_azure_environment_is_created_and_written_again(host: Cli) -> None:
    host.write("azureml.yml", V2)
    done = host.ok("env", "create", "geo", "-f", "azureml.yml", "--json")
    assert [loss["field"] for loss in done.document["losses"]] == ["version"]
    assert "# read from azureml.yml, an Azure ML environment (v2)" in host.ok("env", "export", "geo", "--to", "source").out
    text = host.ok("env", "export", "geo", "--to", "azureml-v2").out
    assert "\nimage: ubuntu:22.04\nconda_file:\n" in text
    document = host.json("env", "export", "geo", "--to", "azureml-v1")
    assert json.loads(document["text"])["docker"]["baseImage"] == "ubuntu:22.04"
    assert document["losses"] == []


def test_azures_directory_is_written_whole_and_leaves_nothing_old(host: Cli) -> None:
    host.write("azureml.yml", V2)
    host.ok("env", "create", "geo", "-f", "azureml.yml")
    assert host.ok("env", "export", "geo", "--to", "azureml-v1", "-o", "saved").out.split() == [
        "wrote", "saved/azureml_environment.json", "wrote", "saved/conda_dependencies.yml",
    ]  # fmt: skip
    assert host.run("env", "export", "geo", "--to", "azureml-v1", "-o", "saved").code == 5
    host.write("saved/BaseDockerfile", "FROM old\n")
    host.ok("env", "export", "geo", "--to", "azureml-v1", "-o", "saved", "--force")
    assert not (host.directory / "saved/BaseDockerfile").exists()
    assert host.ok("env", "create", "geo", "-f", "saved").out.endswith("(unchanged)\n")
    assert host.run("env", "export", "geo", "--to", "azureml-v2", "-o", "saved").code == 2


def test_a_pipe_in_the_place_of_a_dockerfile_is_not_waited_for(host: Cli) -> None:
    os.mkfifo(host.directory / "Dockerfile")
    done = host.run("env", "create", "text", "--dockerfile", "Dockerfile", timeout_s=120)
    assert (done.code, done.err) == (2, "error: Dockerfile cannot be read: it is no regular file\n")


def test_docker_steps_are_written_beside_azures_file(host: Cli) -> None:
    host.write("ctx/Dockerfile", "FROM ubuntu:22.04\n")
    host.write("azureml.yml", "name: steps\nbuild: {path: ctx}\n")
    host.ok("env", "create", "steps", "-f", "azureml.yml")
    assert "writes ctx beside it" in host.ok("env", "export", "steps", "--to", "azureml-v2").err
    (host.directory / "out").mkdir()
    host.ok("env", "export", "steps", "--to", "azureml-v2", "-o", "out/azureml.yml")
    assert (host.directory / "out/ctx/Dockerfile").read_text() == "FROM ubuntu:22.04\n"
    assert host.ok("env", "create", "steps", "-f", "out/azureml.yml").out.endswith("(unchanged)\n")
    host.write("out/ctx/Dockerfile", "FROM other\n")
    assert host.run("env", "export", "steps", "--to", "azureml-v2", "-o", "out/azureml.yml", "--force").code == 5
    host.write("Dockerfile", "FROM ubuntu:24.04\n")
    host.ok("env", "create", "text", "--dockerfile", "Dockerfile")
    done = host.ok("env", "export", "text", "--to", "azureml-v2", "-o", "out/text.yml")
    assert done.err.startswith("changed: docker.dockerfile: a Dockerfile stands in a directory: text-context/Dockerfile\n")
    assert (host.directory / "out/text-context/Dockerfile").read_text() == "FROM ubuntu:24.04\n"


@pytest.mark.parametrize("reference", ["AzureML-sklearn-1.5", "azureml:AzureML-sklearn-1.5@latest"])
def test_a_curated_environment_of_azure_is_told_how_it_comes_here(host: Cli, reference: str) -> None:
    done = host.run("env", "show", reference)
    assert "`az ml environment show --name AzureML-sklearn-1.5 --label latest -o yaml > azureml.yml`" in done.err
    assert "`wardian env create NAME -f azureml.yml`" in done.err
