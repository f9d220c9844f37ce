"""From a definition to a reproducible run, as a user meets it: the command line over a real index on loopback."""

from __future__ import annotations

import signal
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.cli import Cli
from tests.support.maven import MavenRepository
from tests.support.wheels import make_sdist, make_wheel

if TYPE_CHECKING:
    from tests.support.index import Index

OLD = datetime(2024, 1, 1, tzinfo=UTC)
NEW = datetime(2024, 6, 1, tzinfo=UTC)


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    place = tmp_path / "wheels"
    place.mkdir()
    return place


@pytest.fixture
def shop(index: Index, wheels: Path) -> Index:
    """An index with `alpha` 1.0, which needs `beta`, and `gamma`."""
    index.add(make_wheel(wheels, "alpha", "1.0", requires=["beta"], files={"alpha/__init__.py": "version = '1.0'\n"}), OLD)
    index.add(make_wheel(wheels, "beta", "1.0", files={"beta/__init__.py": "version = '1.0'\n"}), OLD)
    index.add(make_wheel(wheels, "gamma", "1.0", files={"gamma/__init__.py": "version = '1.0'\n"}), OLD)
    return index


@pytest.fixture
def cli(tmp_path: Path, shop: Index) -> Cli:
    found = Cli.at(tmp_path / "one", index_url=shop.url)
    found.write("show.py", "import alpha, beta\nprint(alpha.version, beta.version)\n")
    return found


def test_three_definitions_two_hashes_one_prefix(cli: Cli, shop: Index) -> None:
    cli.write("a.yml", "name: first\npython:\n  manager: uv\n  pip: [alpha, beta]\n")
    cli.write("b.yml", "name: second\ndescription: the same\npython:\n  manager: uv\n  pip: [alpha, beta]\n")
    cli.write("c.yml", "name: third\npython:\n  manager: uv\n  pip: [alpha, gamma]\n")
    first = cli.json("run", "-f", "a.yml", "show.py")
    assert shop.downloads() == {"alpha-1.0-py3-none-any.whl": 1, "beta-1.0-py3-none-any.whl": 1}
    seen = len(shop.requests)
    second = cli.json("run", "-f", "b.yml", "show.py")
    assert len(shop.requests) == seen, "the second definition asked the index something"
    ours, theirs = (run["results"]["environment"] for run in (first, second))
    assert (ours["name"], theirs["name"]) == ("first", "second")
    assert ours["definition_hash"] == theirs["definition_hash"]
    assert ours["prefix_key"] == theirs["prefix_key"]
    assert cli.ok("env", "hash", "c.yml").out.strip() != ours["definition_hash"]
    cli.write("swapped.yml", "name: first\npython:\n  manager: uv\n  pip: [beta, alpha]\n")
    assert cli.ok("env", "hash", "swapped.yml").out.strip() not in (
        ours["definition_hash"],
        cli.ok("env", "hash", "c.yml").out.strip(),
    )


def test_after_a_rename_nothing_is_fetched(cli: Cli, shop: Index) -> None:
    cli.write("requirements.txt", "alpha\n")
    cli.ok("env", "create", "old", "-r", "requirements.txt")
    cli.ok("run", "-e", "old", "show.py")
    shop.stop()
    cli.ok("env", "create", "new", "--from", "old")
    done = cli.ok("run", "-e", "new", "show.py")
    assert "new:1" in done.err
    assert "cached" in done.err
    assert cli.json("env", "show", "new")["lineage"][0]["reference"] == "old:1"


def test_an_unpinned_package_keeps_the_version_it_was_locked_with(cli: Cli, shop: Index, wheels: Path, tmp_path: Path) -> None:
    cli.write("requirements.txt", "alpha\n")
    assert cli.ok("run", "-r", "requirements.txt", "show.py").out == "1.0 1.0\n"
    shop.add(make_wheel(wheels, "alpha", "2.0", requires=["beta"], files={"alpha/__init__.py": "version = '2.0'\n"}), NEW)
    other = Cli.at(tmp_path / "two", index_url=shop.url, cache=cli.cache)  # another process, another workspace, this machine
    other.write("other-name.txt", "# the same content\nalpha\n")
    other.write("show.py", "import alpha, beta\nprint(alpha.version, beta.version)\n")
    assert other.ok("run", "-r", "other-name.txt", "show.py").out == "1.0 1.0\n"
    other.write("pinned.txt", "alpha==2.0\n")
    assert other.ok("run", "-r", "pinned.txt", "show.py").out == "2.0 1.0\n"
    assert other.ok("env", "hash", "pinned.txt").out != other.ok("env", "hash", "other-name.txt").out


def test_as_of_uses_what_was_published_then(cli: Cli, shop: Index, wheels: Path) -> None:
    shop.add(make_wheel(wheels, "alpha", "2.0", requires=["beta"], files={"alpha/__init__.py": "version = '2.0'\n"}), NEW)
    cli.write("requirements.txt", "alpha\n")
    too_early = cli.run("env", "lock", "requirements.txt", "--as-of", "2023-01-01")
    assert too_early.code == 1
    assert "alpha" in too_early.err
    locks = cli.json("env", "lock", "requirements.txt", "--as-of", "2024-03-01")["locks"]
    versions = {p["name"]: p["version"] for p in locks["linux/amd64"]["packages"]}
    assert versions["alpha"] == "1.0"
    assert locks["linux/amd64"]["as_of"] == "2024-03-01T23:59:59Z"
    again = cli.run("env", "lock", "requirements.txt", "--as-of", "2024-07-01")
    assert again.code == 5
    assert "locked already" in again.err


def test_upgrade_of_one_package_moves_the_least_and_shows_it(cli: Cli, shop: Index, wheels: Path) -> None:
    cli.write("requirements.txt", "alpha\ngamma\n")
    cli.ok("env", "create", "shop", "-r", "requirements.txt")
    cli.ok("run", "-e", "shop", "show.py")
    for name in ("alpha", "beta", "gamma"):
        requires = ["beta"] if name == "alpha" else []
        shop.add(make_wheel(wheels, name, "2.0", requires=requires, files={f"{name}/__init__.py": "version = '2.0'\n"}), NEW)
    shown = cli.json("env", "upgrade", "shop", "alpha")
    assert [(p["name"], p["before"], p["after"]) for p in shown["difference"]["packages"]] == [("alpha", "1.0", "2.0")]
    assert shown["to"]["reference"] == "shop:2"
    assert cli.ok("run", "-e", "shop", "show.py").out == "2.0 1.0\n"
    assert cli.ok("run", "-e", "shop:1", "show.py").out == "1.0 1.0\n", "the old version keeps its lock"
    everything = cli.json("env", "upgrade", "shop")
    assert {p["name"] for p in everything["difference"]["packages"]} == {"beta", "gamma"}
    assert cli.json("env", "upgrade", "shop")["to"] is None


def test_run_registers_what_a_file_names(cli: Cli, tmp_path: Path) -> None:
    cli.write("environment.yml", "name: shop  # ours\npython:\n  manager: uv\n  pip:\n    - alpha  # needs beta\n")
    first = cli.json("run", "-f", "environment.yml", "show.py")["results"]["environment"]
    assert (first["name"], first["version"]) == ("shop", "1")
    assert cli.json("run", "-f", "environment.yml", "show.py")["results"]["environment"]["version"] == "1"
    cli.write("environment.yml", "name: shop  # ours\npython:\n  manager: uv\n  pip:\n    - alpha  # needs beta\n    - gamma\n")
    third = cli.run("run", "-f", "environment.yml", "show.py")
    assert "registered shop:2: + gamma" in third.err
    history = cli.json("env", "history", "shop")["history"]
    assert (history[0]["version"], history[0]["change"]) == ("2", "+ gamma")
    exported = cli.ok("env", "export", "shop:1", "--to", "source").out
    assert "# needs beta" in exported
    edited = cli.write("edited.yml", exported.replace("alpha ", "alpha==1.0 "))
    assert cli.json("env", "create", "shop", "-f", str(edited))["reference"] == "shop:3"
    cli.ok("env", "label", "shop:1", "stable")
    for reference, version in (("shop", "3"), ("shop:2", "2"), ("shop@stable", "1"), ("shop@latest", "3")):
        assert cli.json("env", "show", reference)["version"] == version
    cli.ok("env", "archive", "shop")
    assert cli.json("env", "list")["environments"] == []
    assert cli.ok("run", "-e", "shop:1", "show.py").out == "1.0 1.0\n"
    cli.ok("env", "restore", "shop")
    assert [e["name"] for e in cli.json("env", "list")["environments"]] == ["shop"]
    cli.ok("env", "update", "shop", "--description", "for tests", "--tag", "team=ours")
    shown = cli.json("env", "show", "shop")
    assert (shown["version"], shown["description"], shown["tags"]) == ("3", "for tests", {"team": "ours"})


def test_the_exit_code_is_the_scripts_own(cli: Cli) -> None:
    cli.write("requirements.txt", "gamma\n")
    cli.write("exits.py", "import sys\nsys.exit(int(sys.argv[1]))\n")
    cli.write("dies.py", "import os, signal\nos.kill(os.getpid(), signal.SIGTERM)\n")
    assert cli.run("run", "-r", "requirements.txt", "exits.py", "3").code == 3
    assert cli.run("run", "-r", "requirements.txt", "dies.py").code == 128 + signal.SIGTERM
    assert cli.run("run", "-r", "requirements.txt", "--", "no-such-program").code == 127
    assert cli.run("run", "-r", "no-such-file.txt", "exits.py").code == 125


def test_a_conflict_names_the_lines_that_clash(cli: Cli, shop: Index, wheels: Path) -> None:
    shop.add(make_wheel(wheels, "delta", "1.0", requires=["beta>=2"]), OLD)
    cli.write("requirements.txt", "delta\nbeta<2\n")
    done = cli.run("env", "lock", "requirements.txt")
    assert done.code == 1
    assert "delta" in done.err
    assert "beta<2" in done.err
    assert "Traceback" not in done.err


def test_a_wheel_that_cannot_be_installed_is_said_without_what_went_well(cli: Cli, shop: Index, wheels: Path) -> None:
    shop.add(make_wheel(wheels, "shadow", "1.0", entry_points={"python": "shadow:main"}), OLD)
    cli.write("requirements.txt", "beta\nshadow\n")
    done = cli.run("env", "build", "requirements.txt")
    assert done.code == 1
    assert "error: the wheels could not be installed: Failed to install: shadow-1.0-py3-none-any.whl" in done.err


def test_a_source_distribution_is_built_once_and_kept(cli: Cli, shop: Index, wheels: Path) -> None:
    shop.add(make_sdist(wheels, "built", "1.0", body="version = 'built here'\n"), OLD)
    cli.write("requirements.txt", "built\n")
    cli.write("b.py", "import built\nprint(built.version)\n")
    assert cli.ok("run", "-r", "requirements.txt", "b.py").out == "built here\n"
    packages = cli.json("env", "lock", "requirements.txt")["locks"]["linux/amd64"]["packages"]
    artifact = next(p for p in packages if p["name"] == "built")
    assert artifact["kind"] == "sdist"
    assert artifact["built"]["file"].endswith(".whl")
    shop.stop()
    subprocess.run(["chmod", "-R", "u+w", str(cli.cache)], check=True)
    subprocess.run(["rm", "-rf", str(cli.cache / "prefixes"), str(cli.cache / "packages")], check=True)
    assert cli.ok("run", "-r", "requirements.txt", "b.py").out == "built here\n", "the wheel is in the workspace's artifacts"


def test_local_code_is_part_of_the_definition(cli: Cli) -> None:
    from tests.support.wheels import make_source_tree

    make_source_tree(cli.directory / "mine", "mine", "0.1", body="version = 'first'\n")
    cli.write("requirements.txt", "./mine\n")
    cli.write("m.py", "import mine\nprint(mine.version)\n")
    assert cli.ok("run", "-r", "requirements.txt", "m.py").out == "first\n"
    before = cli.ok("env", "hash", "requirements.txt").out
    cli.ok("env", "create", "with-mine", "-r", "requirements.txt")
    source = next(p for p in (cli.directory / "mine").rglob("*.py") if "first" in p.read_text())
    source.write_text("version = 'second'\n")
    assert cli.ok("env", "hash", "requirements.txt").out != before
    assert cli.ok("run", "-r", "requirements.txt", "m.py").out == "second\n"
    assert cli.ok("run", "-e", "with-mine", "m.py").out == "first\n", "a version keeps its code"


def test_a_flipped_byte_is_refused_by_name(cli: Cli, shop: Index) -> None:
    cli.write("requirements.txt", "alpha\n")
    shop.fail("*/alpha-1.0*.whl", flip=-1)
    done = cli.run("run", "-r", "requirements.txt", "show.py")
    assert done.code == 125
    assert "alpha-1.0-py3-none-any.whl has sha256" in done.err
    shop.heal()
    assert cli.ok("run", "-r", "requirements.txt", "show.py").out == "1.0 1.0\n"
    archive = next((cli.cache / "packages").glob("*/alpha-1.0*.whl"))
    archive.chmod(0o644)
    content = bytearray(archive.read_bytes())
    content[-1] ^= 1
    archive.write_bytes(content)
    subprocess.run(["chmod", "-R", "u+w", str(cli.cache / "prefixes")], check=True)
    subprocess.run(["rm", "-rf", str(cli.cache / "prefixes")], check=True)
    warm = cli.run("run", "-r", "requirements.txt", "show.py")
    assert warm.code == 125
    assert "damaged on this disk" in warm.err
    assert cli.ok("run", "-r", "requirements.txt", "show.py").out == "1.0 1.0\n"


def test_verify_finds_what_was_changed(cli: Cli) -> None:
    cli.write("requirements.txt", "alpha\n")
    cli.ok("env", "create", "shop", "-r", "requirements.txt")
    prefix = Path(cli.json("env", "build", "shop")["prefix"])
    assert cli.json("env", "verify", "shop")["clean"]
    site = next(prefix.glob("lib/python*/site-packages"))
    modes = {path: path.stat().st_mode for path in (site, site / "alpha", site / "beta", site / "alpha-1.0.dist-info")}
    for path, mode in modes.items():
        path.chmod(mode | 0o200)
    (site / "alpha" / "__init__.py").unlink()
    (site / "alpha" / "__init__.py").write_text("version = '6.6'\n")
    (site / "extra.py").write_text("")
    (site / "beta" / "__init__.py").unlink()
    (site / "alpha" / "empty").mkdir()
    (site / "alpha-1.0.dist-info" / "METADATA").chmod(0o555)
    for path, mode in modes.items():
        path.chmod(mode)
    done = cli.run("env", "verify", "shop", "--json")
    assert done.code == 1
    found = done.document
    assert [Path(p).parts[-2:] for p in found["changed"]] == [("alpha-1.0.dist-info", "METADATA"), ("alpha", "__init__.py")]
    assert [Path(p).parts[-2:] for p in found["missing"]] == [("beta", "__init__.py")]
    assert [Path(p).name for p in found["extra"]] == ["extra.py", "empty"]


def test_warm_and_offline_nothing_is_contacted(cli: Cli, shop: Index) -> None:
    cli.write("requirements.txt", "alpha\n")
    cli.ok("run", "-r", "requirements.txt", "show.py")
    seen = len(shop.requests)
    cli.ok("run", "-r", "requirements.txt", "show.py", variables={"WARDIAN_OFFLINE": "1"})
    assert len(shop.requests) == seen
    cli.write("more.txt", "alpha\ngamma\n")
    done = cli.run("run", "-r", "more.txt", "show.py", variables={"WARDIAN_OFFLINE": "1"})
    assert done.code == 125
    assert "offline" in done.err


def test_what_does_not_count_here_is_said(cli: Cli, tmp_path: Path) -> None:
    jars = MavenRepository(tmp_path / "maven")
    jars.add("a:b:1")
    cli.write("e.yml", "python:\n  manager: uv\n  pip: [gamma]\ndocker:\n  base_image: debian:12\n"
              f"spark:\n  packages: ['a:b:1']\n  repositories: ['{jars.url}']\n")  # fmt: skip
    done = cli.ok("run", "-t", "local", "-f", "e.yml", "--", "python", "-c", "import gamma")
    assert "base image debian:12 does not count" in done.err
    assert "Spark section" in done.err
    elsewhere = cli.run("run", "-t", "moon", "-f", "e.yml", "--", "python", "-V")
    assert elsewhere.code == 125
    assert "no target `moon`" in elsewhere.err


def test_a_user_managed_environment_runs_as_it_is(cli: Cli) -> None:
    import sys

    cli.ok("env", "create", "mine", "--manager", "user", "--interpreter", sys.executable, "-V", "COLOR=blue")
    record = cli.json("run", "-e", "mine", "--", "python", "-c", "import os; print(os.environ['COLOR'])")
    observed = record["results"]["environment"]["observed"]
    assert observed["observed"] is True
    assert observed["executable"] == sys.executable
    assert "pytest" in {d["name"] for d in observed["distributions"]}
    cli.ok("env", "create", "gone", "--manager", "user", "--interpreter", "/no/such/python")
    done = cli.run("run", "-e", "gone", "--", "python", "-V")
    assert done.code == 125
    assert "/no/such/python" in done.err
    assert cli.run("env", "build", "mine").code == 2
    assert cli.run("env", "lock", "mine").code == 1


def test_a_script_with_inline_metadata_needs_no_option(cli: Cli) -> None:
    cli.write("inline.py", "# /// script\n# dependencies = ['gamma']\n# ///\nimport gamma\nprint(gamma.version)\n")
    assert cli.ok("run", "inline.py").out == "1.0\n"
    assert cli.ok("run", "--with", "alpha", "inline.py").out == "1.0\n"
    assert cli.run("run", "show.py").code == 125


def test_detached_runs_are_listed_followed_and_canceled(cli: Cli) -> None:
    cli.write("requirements.txt", "gamma\n")
    cli.write("slow.py", "import time\nprint('begun', flush=True)\ntime.sleep(100)\n")
    run_id = cli.ok("run", "-d", "-r", "requirements.txt", "slow.py").out.strip()
    follower = cli.start("runs", "logs", "-f", run_id)
    assert follower.stdout
    assert follower.stdout.readline() == "begun\n"
    assert cli.json("runs", "show", run_id)["state"] == "running"
    assert cli.ok("runs", "cancel", run_id).out.split()[1] == "canceled"
    follower.communicate(timeout=20)
    assert follower.returncode == 0
    assert cli.run("runs", "wait", run_id).code == 1
