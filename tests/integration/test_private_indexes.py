"""Private indexes, several at once, mirrors: who answers is recorded by alias, and no secret leaks."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.cli import Cli
from tests.support.index import Index
from tests.support.wheels import make_wheel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OLD = datetime(2024, 1, 1, tzinfo=UTC)
SECRET = "s3cret-Pa55word"
MakeIndex = "Callable[..., Index]"


@pytest.fixture
def make_index(tmp_path: Path) -> Iterator[Callable[..., Index]]:
    with ExitStack() as stack:
        count = iter(range(100))

        def make(*packages: str, **options: Any) -> Index:
            number = next(count)
            found: Index = stack.enter_context(Index(tmp_path / f"index-{number}", **options))
            place = tmp_path / f"wheels-{number}"
            place.mkdir()
            for name in packages:
                found.add(make_wheel(place, name, "1.0", files={f"{name}/__init__.py": f"where = {number}\n"}), OLD)
            return found

        yield make


def leaks(cli: Cli, *texts: str) -> list[str]:
    """Return where a secret stands that should stand nowhere but in the store of secrets."""
    found = [f"output {i}" for i, text in enumerate(texts) if SECRET in text]
    for root in (cli.home, cli.cache):
        for path in root.rglob("*"):
            if (
                path.is_file()
                and not path.is_symlink()
                and "secrets" not in path.parts
                and SECRET.encode() in path.read_bytes()
            ):
                found += [str(path)]
    return found


def test_a_stored_secret_opens_a_private_index(tmp_path: Path, make_index: Callable[..., Index]) -> None:
    private = make_index("alpha", user="me", password=SECRET)
    cli = Cli.at(tmp_path / "one", index_url=private.url)
    cli.write("requirements.txt", "alpha\n")
    cli.write("show.py", "import alpha, os\nprint(alpha.where, sorted(k for k in os.environ if 'UV' in k))\n")
    refused = cli.run("run", "-r", "requirements.txt", "show.py")
    assert refused.code == 125
    assert "credentials" in refused.err
    cli.ok(
        "secret",
        "set",
        "corp",
        "--url",
        private.url.removesuffix("/simple"),
        "--user",
        "me",
        "--kind",
        "index",
        stdin=SECRET + "\n",
    )
    done = cli.ok("run", "-r", "requirements.txt", "show.py")
    assert done.out == "0 []\n"
    listed = cli.ok("secret", "list")
    shown = cli.ok("env", "lock", "requirements.txt", "--json")
    assert leaks(cli, refused.err, done.out, done.err, listed.out, shown.out) == []


def test_variables_in_a_definition_stay_variables(tmp_path: Path, make_index: Callable[..., Index]) -> None:
    private = make_index("alpha", user="me", password=SECRET)
    url = private.url.replace("http://", "http://me:${INDEX_PASSWORD}@")
    cli = Cli.at(tmp_path / "one")
    cli.write("requirements.txt", f"--index-url {url}\nalpha\n")
    unset = cli.run("env", "lock", "requirements.txt")
    assert unset.code == 2
    assert "INDEX_PASSWORD" in unset.err
    cli.variables = {"INDEX_PASSWORD": SECRET}
    locks = cli.json("env", "lock", "requirements.txt")["locks"]["linux/amd64"]["packages"]
    assert next(p["source"] for p in locks if p["name"] == "alpha") == "index:#0"
    done = cli.ok("run", "-r", "requirements.txt", "--", "python", "-c", "import alpha; print(alpha.where)")
    assert done.out == "0\n"
    assert leaks(cli, unset.err, done.out, done.err) == []


def test_netrc_opens_a_private_index(tmp_path: Path, make_index: Callable[..., Index]) -> None:
    private = make_index("alpha", user="me", password=SECRET)
    cli = Cli.at(tmp_path / "one", index_url=private.url)
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login me password {SECRET}\n")
    netrc.chmod(0o600)
    cli.variables = {"NETRC": str(netrc)}
    cli.write("requirements.txt", "alpha\n")
    assert cli.ok("run", "-r", "requirements.txt", "--", "python", "-c", "import alpha; print(alpha.where)").out == "0\n"


def test_two_indexes_each_recorded_by_alias(tmp_path: Path, make_index: Callable[..., Index]) -> None:
    public, corp = make_index("alpha", "shared"), make_index("beta", "shared")
    cli = Cli.at(tmp_path / "one", index_url=public.url)
    cli.ok("config", "set", "indexes.corp", corp.url)
    cli.write("requirements.txt", "--extra-index-url corp\nalpha\nbeta\nshared\n")
    packages = cli.json("env", "lock", "requirements.txt")["locks"]["linux/amd64"]["packages"]
    sources = {p["name"]: p["source"] for p in packages if p["kind"] == "wheel"}
    assert sources == {"alpha": "index:pypi", "beta": "index:corp", "shared": "index:corp"}
    assert not any("127.0.0.1" in str(p) for p in packages)
    done = cli.ok(
        "run",
        "-r",
        "requirements.txt",
        "--",
        "python",
        "-c",
        "import alpha, beta, shared; print(alpha.where, beta.where, shared.where)",
    )
    assert done.out == "0 1 1\n"


def test_a_mirror_serves_the_same_lock(tmp_path: Path, make_index: Callable[..., Index]) -> None:
    first, mirror = make_index("alpha"), make_index()
    cli = Cli.at(tmp_path / "one", index_url=first.url)
    cli.write("requirements.txt", "alpha\n")
    cli.ok("env", "create", "shop", "-r", "requirements.txt")
    cli.ok("env", "lock", "shop")
    mirror.add(next(Path(tmp_path / "wheels-0").glob("alpha*.whl")), OLD)
    first.stop()
    cli.ok("config", "set", "indexes.pypi", mirror.url)
    done = cli.ok("run", "-e", "shop", "--", "python", "-c", "import alpha; print(alpha.where)")
    assert done.out == "0\n"
    assert mirror.downloads() == {"alpha-1.0-py3-none-any.whl": 1}


def test_a_file_that_no_index_has_any_more_is_named(tmp_path: Path, make_index: Callable[..., Index]) -> None:
    only = make_index("alpha")
    cli = Cli.at(tmp_path / "one", index_url=only.url)
    cli.write("requirements.txt", "alpha\n")
    cli.ok("env", "create", "shop", "-r", "requirements.txt")
    cli.ok("env", "lock", "shop")
    only.remove("alpha-1.0-py3-none-any.whl")
    done = cli.run("run", "-e", "shop", "--", "python", "-V")
    assert done.code == 125
    assert "alpha-1.0-py3-none-any.whl" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("options", [{"json_pages": False}, {"core_metadata": False}, {"hashes": False}])
def test_old_fashioned_indexes_work(tmp_path: Path, make_index: Callable[..., Index], options: dict[str, bool]) -> None:
    old = make_index("alpha", **options)
    cli = Cli.at(tmp_path / "one", index_url=old.url)
    cli.write("requirements.txt", "alpha\n")
    packages = cli.json("env", "lock", "requirements.txt")["locks"]["linux/amd64"]["packages"]
    assert all(len(p["sha256"]) == 64 for p in packages)
    assert cli.ok("run", "-r", "requirements.txt", "--", "python", "-c", "import alpha").code == 0
