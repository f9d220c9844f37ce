"""Scripts that write into their environment, as every kind of account, with uv and conda: others with the same packages stay clean."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.accounts import ROOT, USER, WEAK_ROOT, CliAs, why_not
from tests.support.cli import Cli
from tests.support.conda_channel import Channel, activating, everywhere, greeter, python_package
from tests.support.jobs import STUBBORN, noted_pids, still_there, wait_until
from tests.support.wheels import make_wheel

from wardian.tools.disk import make_writable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.index import Index

OLD = datetime(2024, 1, 1, tzinfo=UTC)
LOUD_BYTES = 100 << 20

# through sys.prefix, and through every other name that the same files have
# in its own environment, and in the others by the names that the same files have there
VANDAL = """
import glob, os, sys
site = next(path for path in sys.path if path.startswith(sys.prefix) and path.endswith("site-packages"))
module = glob.glob(site + "/*/__init__.py")[0]
prefixes = os.path.dirname(sys.prefix)
others = [path for path in glob.glob(prefixes + "/*/" + os.path.relpath(module, sys.prefix)) if path != module]
def tried(what, path):
    try:
        what(path)
    except OSError as error:
        print(what.__name__, error)
    else:
        print(what.__name__, "done")
def append(path):
    with open(path, "a") as stream: stream.write("evil = 1")
def write(path):
    with open(path, "w") as stream: stream.write("evil = 1")
def create(path): open(os.path.join(os.path.dirname(path), "evil.py"), "w").close()
def rename(path): os.rename(path, path + ".evil"); os.rename(path + ".evil", path)
def delete(path): os.remove(path)
for path in [module, *others] if "thorough" in sys.argv else [module]:
    for what in (append, write, create, rename, delete):
        tried(what, path)
"""


# permissions bind whoever owns a file only until he changes them
FORCE = """
import glob, os, sys
site = next(path for path in sys.path if path.startswith(sys.prefix) and path.endswith("site-packages"))
module = glob.glob(site + "/*/__init__.py")[0]
os.chmod(module, 0o644)
with open(module, "r+") as stream: stream.write("# evil ")
os.chmod(module, 0o444)
print(os.path.relpath(module, sys.prefix))
"""


@pytest.fixture(scope="session")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Channel:
    return Channel(tmp_path_factory.mktemp("channel")).publish(
        python_package(), greeter(), activating(), *everywhere("corelib", "1.0")
    )


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that every account can reach: pytest's own are private."""
    found = Path(tempfile.mkdtemp(prefix="wardian-accounts-"))
    found.chmod(0o755)
    yield found
    make_writable(found)
    shutil.rmtree(found)


@pytest.fixture
def account(request: pytest.FixtureRequest) -> str:
    if why := why_not(request.param):
        pytest.skip(why)
    return str(request.param)


@pytest.fixture
def cli(request: pytest.FixtureRequest, account: str, tmp_path: Path, place: Path, index: Index) -> Iterator[CliAs]:
    """A home in which two environments share a package: `mine` and `theirs`, which is installed already."""
    for name in ("alpha", "beta", "corelib"):
        index.add(make_wheel(tmp_path, name, "1.0"), OLD)
    with contextlib.ExitStack() as stack:
        config = 'lock_platforms = ["linux/amd64"]\n'
        definition = "name: {}\npython:\n  manager: uv\n  pip: [alpha, {}]\n"
        mine, theirs = "alpha", "beta"
        if getattr(request, "param", "uv") == "conda":
            channel: Channel = request.getfixturevalue("channel")
            config += f'[channels]\nlocal = "{stack.enter_context(channel.serve()).url}"\n'
            definition = "name: {}\nchannels: [local]\ndependencies: [python, greeter, {}]\n"
            mine, theirs = "greeter", "activating"
        found = CliAs(**vars(Cli.at(place / "one", index_url=index.url, config=config)))
        found.write("mine.yml", definition.format("mine", mine).replace(f"{mine}, {mine}", mine))
        found.write("theirs.yml", definition.format("theirs", theirs))
        found.write("further.yml", definition.format("further", f"{mine}, corelib").replace(f"{mine}, {mine}", mine))
        found.write("vandal.py", VANDAL)
        found.write("force.py", FORCE)
        found.write("show.py", "import sys; print(sys.version_info[0])\n")
        found.become(account)
        found.ok("run", "-f", "theirs.yml", "show.py")
        yield found


def prefix_of(cli: CliAs, name: str) -> Path:
    return Path(cli.json("env", "build", name)["prefix"])


def modules(prefix: Path) -> dict[str, os.stat_result]:
    """The files of packages, by path in site-packages; byte code and what the installers write themselves left out."""
    site = next(prefix.glob("lib/python*/site-packages"))
    return {str(path.relative_to(site)): path.stat() for path in site.glob("*/__init__.py")}


@pytest.mark.parametrize("cli", ["uv", "conda"], indirect=True)
@pytest.mark.parametrize("account", [ROOT, WEAK_ROOT, USER], indirect=True)
def test_other_environments_stay_clean(cli: CliAs, account: str) -> None:
    cli.ok("run", "-f", "mine.yml", "show.py")
    mine, theirs = prefix_of(cli, "mine"), prefix_of(cli, "theirs")
    shared = modules(mine).keys() & modules(theirs).keys()
    assert shared
    are_linked = {modules(mine)[name].st_ino == modules(theirs)[name].st_ino for name in shared}
    assert are_linked == {account != WEAK_ROOT}, "what nobody protects is copied; the rest shares its files"
    done = cli.ok("run", "-e", "mine", "vandal.py", *(["thorough"] if account != WEAK_ROOT else []))
    results = {line.split(" ", 1)[1].partition("]")[0] for line in done.out.splitlines()}
    assert results == {{ROOT: "[Errno 30", USER: "[Errno 13", WEAK_ROOT: "done"}[account]}
    [note] = cli.json("runs", "show", "latest")["results"]["notes"]
    assert note in done.err
    assert ("root" if account == WEAK_ROOT else f"{mine}/lib") in note
    assert cli.json("env", "verify", "theirs")["clean"]
    assert cli.ok("run", "-e", "theirs", "show.py").out == "3\n"
    verified = cli.run("env", "verify", "mine", "--json")
    assert (verified.code, verified.document["clean"]) == ((1, False) if account == WEAK_ROOT else (0, True))
    for name, prefix in (("mine", mine), ("theirs", theirs)):
        cli.ok("gc", "--apply", "--prefix", prefix.name)
        assert cli.json("env", "verify", name)["clean"], "a new installation has nothing of what was written"


@pytest.mark.parametrize("cli", ["uv", "conda"], indirect=True)
@pytest.mark.parametrize("account", [USER], indirect=True)
def test_what_a_user_changes_by_force_is_found_and_does_not_spread(cli: CliAs) -> None:
    module = cli.ok("run", "-f", "mine.yml", "force.py").out.strip()
    for name in ("mine", "theirs"):
        found = cli.run("env", "verify", name, "--json")
        assert (found.code, found.document["changed"]) == (1, [module])
    cli.ok("run", "-f", "further.yml", "show.py")
    assert cli.json("env", "verify", "further")["clean"], "what is installed anew is what was fetched"


@pytest.mark.parametrize("account", [ROOT, USER], indirect=True)
def test_the_exit_code_is_the_scripts_own_for_every_account(cli: CliAs) -> None:
    cli.write(
        "exits.py",
        "import os, signal, sys\nos.kill(os.getpid(), int(sys.argv[2])) if len(sys.argv) > 2 else sys.exit(int(sys.argv[1]))\n",
    )
    assert cli.run("run", "-e", "theirs", "exits.py", "3").code == 3
    assert cli.run("run", "-e", "theirs", "exits.py", "255").code == 255
    for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV):
        done = cli.run("run", "-e", "theirs", "--json", "exits.py", "0", str(int(number)))
        assert (done.code, done.document["signal"]) == (128 + number, number)


@pytest.mark.parametrize("account", [ROOT, USER], indirect=True)
def test_children_that_hide_and_ignore_signals_are_gone_after_an_interrupt(cli: CliAs) -> None:
    cli.write("stubborn.py", STUBBORN + "sit()\n")
    with cli.start("run", "-e", "theirs", "stubborn.py", start_new_session=True) as process:
        runs = cli.home / "workspaces" / "default" / "runs"
        wait_until(lambda: any("ready" in path.read_text() for path in runs.glob("*/log.txt")), 60)
        began = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)  # what a terminal does at ^C: to the whole group in front
        process.communicate(timeout=20)
        took_s = time.monotonic() - began
    pids = [pid for path in runs.glob("*/snapshot/pids") for pid in noted_pids(path.parent)]
    assert len(pids) == 5
    assert still_there(pids) == []
    assert took_s < 10
    assert process.returncode == 130
    assert cli.json("runs", "show", "latest")["state"] == "canceled"


@pytest.mark.parametrize("account", [ROOT, USER], indirect=True)
def test_all_of_a_hundred_megabytes_is_in_the_log(cli: CliAs, tmp_path: Path) -> None:
    line = "0123456789abcdef" * 64
    cli.write(
        "loud.py",
        f"import sys\nline = {line!r} + '\\n'\nfor _ in range({LOUD_BYTES} // len(line)):\n    sys.stdout.write(line)\n",
    )
    with (tmp_path / "out").open("wb") as out:
        process = cli.start("run", "-e", "theirs", "loud.py", stdout=out, stderr=subprocess.PIPE)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    log = cli.home / "workspaces" / "default" / "runs" / cli.json("runs", "show", "latest")["id"] / "log.txt"
    expected = hashlib.sha256((line + "\n").encode() * (LOUD_BYTES // len(line + "\n"))).hexdigest()
    for path in (log, tmp_path / "out"):
        with path.open("rb") as stream:
            assert hashlib.file_digest(stream, "sha256").hexdigest() == expected
