"""Archives that uv reads while it solves: what it refuses is named as our own check names it, and each is fetched once where it can be."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from tests.support import hostile
from tests.support.cli import Cli
from tests.support.index import Index
from tests.support.server import Answer, Server
from tests.support.wheels import make_sdist, make_wheel

from wardian.digest import Digest

if TYPE_CHECKING:
    from pathlib import Path

SDISTS = ("absolute path", "NUL in a name", "escaping link", "two directories")
WHEELS = ("NUL in a name", "RECORD missing", "two dist-infos", "hidden member")


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli.at(tmp_path / "one", index_url="http://127.0.0.1:9/simple")


def refused(cli: Cli, index: Index, line: str) -> dict[str, Any]:
    config = cli.home / "config.toml"
    config.write_text(re.sub(r"pypi = .*", f'pypi = "{index.url}"', config.read_text()))
    shutil.rmtree(cli.cache / "uv", ignore_errors=True)
    cli.write("r.txt", f"{line}\n")
    done = cli.run("env", "lock", "r.txt", "--json")
    assert done.code == 1, done
    error: dict[str, Any] = json.loads(done.err.strip().splitlines()[-1])["error"]
    assert error["hint"]
    assert str(cli.cache) not in error["message"]
    return error


@pytest.mark.parametrize("why", SDISTS)
def test_an_sdist_that_uv_refuses_is_named_like_any_other(cli: Cli, tmp_path: Path, why: str) -> None:
    content, code = hostile.hostile_sdists()[why]
    with Index(tmp_path / "index") as index:
        (tmp_path / hostile.SDIST_FILE).write_bytes(hostile.good_sdist())
        place = index.add(tmp_path / hostile.SDIST_FILE)
        place.write_bytes(content)
        error = refused(cli, index, "hostile")
        assert (error["code"], "hostile==1.0" in error["message"]) == ("wrong_digest", True)
    with Index(tmp_path / "without", hashes=False) as index:
        index.add(tmp_path / hostile.SDIST_FILE).write_bytes(content)
        error = refused(cli, index, "hostile")
        assert error["code"] in (code, "damaged_archive", "unsafe_member"), error
        assert "hostile" in error["message"]
        url = index.file_url(hostile.SDIST_FILE)
        assert refused(cli, index, f"hostile @ {url}")["code"] == code


@pytest.mark.parametrize("why", SDISTS)
def test_an_sdist_that_is_announced_as_it_is_gets_the_code_of_our_own_check(cli: Cli, tmp_path: Path, why: str) -> None:
    content, code = hostile.hostile_sdists()[why]
    bad = tmp_path / "bad" / hostile.SDIST_FILE
    bad.parent.mkdir()
    bad.write_bytes(content)
    (tmp_path / hostile.SDIST_FILE).write_bytes(hostile.good_sdist())
    with Index(tmp_path / "index") as index:
        index.add(tmp_path / hostile.SDIST_FILE, announced_sha256=Digest.of_file(bad)).write_bytes(content)
        error = refused(cli, index, "hostile")
    assert (error["code"], "hostile" in error["message"]) == (code, True)


@pytest.mark.parametrize("why", WHEELS)
def test_a_wheel_without_a_digest_that_uv_refuses_is_no_failed_solve(cli: Cli, tmp_path: Path, why: str) -> None:
    content, code = hostile.hostile_wheels()[why]
    (tmp_path / hostile.WHEEL_FILE).write_bytes(hostile.good_wheel())
    with Index(tmp_path / "index", hashes=False, core_metadata=False) as index:
        index.add(tmp_path / hostile.WHEEL_FILE).write_bytes(content)
        error = refused(cli, index, "hostile")
    assert (error["code"], "hostile==1.0" in error["message"]) == (code, True)


def test_what_a_url_names_is_fetched_once(tmp_path: Path, index: Index) -> None:
    index.add(make_sdist(tmp_path / "made", "alpha", "1.0"))
    index.add(make_wheel(tmp_path / "made", "beta", "1.0", files={"beta/__init__.py": ""}))
    cli = Cli.at(tmp_path / "a place", index_url=index.url)
    sdist, wheel = (index.file_url(file) for file in index.files)
    cli.write("r.txt", f"alpha @ {sdist}\n{wheel}\n")
    lock = next(iter(cli.json("env", "lock", "r.txt")["locks"].values()))
    assert {(one["name"], one["source"]) for one in lock["packages"]} >= {("alpha", "definition:0"), ("beta", "definition:1")}
    cli.ok("run", "-r", "r.txt", "--", "python", "-c", "import alpha, beta")
    assert set(index.downloads().values()) == {1}


def test_a_conflict_names_urls_as_the_definition_does(tmp_path: Path, index: Index) -> None:
    index.add(make_wheel(tmp_path / "made", "alpha", "1.0", files={"alpha/__init__.py": ""}, requires=["beta>1"]))
    index.add(make_wheel(tmp_path / "made", "beta", "1.0", files={"beta/__init__.py": ""}))
    cli = Cli.at(tmp_path / "one", index_url=index.url)
    cli.write("r.txt", f"alpha @ {index.file_url('alpha-1.0-py3-none-any.whl')}\nbeta\n")
    done = cli.run("env", "lock", "r.txt")
    assert done.code == 1
    assert "file://" not in done.err
    assert "only beta==1.0 is available" in done.err


class Page(Server):
    """Answers every question in the same way, which no index does."""

    def __init__(self, page: Answer):
        super().__init__()
        self.page = page

    def answer(self, path: str, headers: dict[str, str]) -> Answer | None:  # noqa: ARG002 - whatever is asked
        return self.page


@pytest.mark.parametrize(
    "page", [Answer(b"{garbage", "application/vnd.pypi.simple.v1+json"), Answer(b"x", "image/png")], ids=["no JSON", "an image"]
)
def test_an_answer_that_is_no_page_of_an_index_is_told_in_our_words_first(cli: Cli, page: Answer) -> None:
    cli.write("r.txt", "alpha\n")
    with Page(page) as server:
        config = cli.home / "config.toml"
        config.write_text(re.sub(r"pypi = .*", f'pypi = "{server.root_url}"', config.read_text()))
        done = cli.run("env", "lock", "r.txt", "--json")
        asked = f"{server.root_url}/alpha/"
    error = json.loads(done.err.strip().splitlines()[-1])["error"]
    assert (done.code, error["code"]) == (7, "bad_index_page")
    assert error["message"].startswith("what an index answers is no page of a package index:\n  ")
    assert asked in error["message"]
