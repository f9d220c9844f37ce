"""What every test gets: a home of its own, a guard over the real one, markers that skip with a reason, an index and a registry."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest
from tests.support.cli import end_started
from tests.support.index import Index
from tests.support.pythons import Catalogue, installed_pythons, make_standalone
from tests.support.registry import DockerRegistry
from tests.support.registry import why_not as why_no_registry
from tests.support.slurm import Slurm, why_no_rest
from tests.support.slurm import why_not as why_no_slurm
from tests.support.sshd import Sshd
from tests.support.sshd import why_not as why_no_sshd

if TYPE_CHECKING:
    from collections.abc import Iterator

hypothesis.settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
hypothesis.settings.register_profile("explore", deadline=None, max_examples=2000, print_blob=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

REAL_HOME = Path.home()
# what a Wardian that escapes from its test would write to
GUARDED = tuple(
    REAL_HOME / p for p in (".local/share/wardian", ".config/wardian", ".cache/wardian", ".local/share/jupyter/kernels")
)
_OURS = (
    "WARDIAN_",
    "UV_",
    "PIP_",
    "CONDA_",
    "RATTLER_",
    "XDG_",
    "JUPYTER_",
    "VIRTUAL_ENV",
    "NETRC",
    "PYTHONPATH",
    "SOURCE_DATE_EPOCH",
)
_MACHINE = {name: value for name, value in os.environ.items() if name.startswith(("UV_", "PIP_", "NPM_", "npm_"))}
_KEPT_PACKAGER_FILES = {
    "PIP_CONFIG_FILE": (".config/pip/pip.conf", ".pip/pip.conf"),
    "UV_CONFIG_FILE": (".config/uv/uv.toml",),
    "NPM_CONFIG_USERCONFIG": (".npmrc",),
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="also run the tests that take longer than a minute")


def pytest_configure(config: pytest.Config) -> None:
    """Give session fixtures and imports a home that is not the real one; tests get one each on top of that."""
    for number in (signal.SIGINT, signal.SIGQUIT):  # a shell's `make test &` ignores them, and so would all that tests start
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    home = Path(tempfile.mkdtemp(prefix="wardian-tests-"))
    config.add_cleanup(lambda: _remove(home))
    if "PYENV_ROOT" not in os.environ and (REAL_HOME / ".pyenv").is_dir():
        os.environ["PYENV_ROOT"] = str(REAL_HOME / ".pyenv")
    for name in [n for n in os.environ if n.startswith(_OURS) and n != "WARDIAN_UPDATE_GOLDEN"]:
        del os.environ[name]
    os.environ.update(_variables(home))


@pytest.fixture(autouse=True)
def own_home(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """A fresh home, Wardian home and caches for each test; the real ones must stay as they were."""
    home = tmp_path_factory.mktemp("home")
    for name, value in _variables(home).items():
        monkeypatch.setenv(name, value)
    if request.node.get_closest_marker("network") or request.node.get_closest_marker("npm"):
        for name, value in machine_packager_variables().items():
            monkeypatch.setenv(name, value)
    before = _fingerprint()
    yield home
    end_started()
    if changed := sorted(before ^ _fingerprint()):
        pytest.fail(f"the test touched the real home: {', '.join(path for path, _ in changed)}")


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    """An empty package index that runs; see tests/support/README.md."""
    with Index(tmp_path / "index") as running:
        yield running


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[DockerRegistry]:
    """An empty registry that runs, where Debian's is installed."""
    if why := why_no_registry():
        pytest.skip(why)
    with DockerRegistry(tmp_path / "registry") as running:
        yield running


@pytest.fixture(scope="session")
def python_catalogue(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    """uv's catalogue with one standalone Python: a repack of the newest interpreter of this machine."""
    return make_standalone(tmp_path_factory.mktemp("pythons"), installed_pythons()[0][1])


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    """A Slurm cluster of two nodes that runs; tests leave it as they found it."""
    if why := why_no_slurm():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(why)
    with Slurm(tmp_path_factory.mktemp("slurm") / "cluster") as running:
        yield running


@pytest.fixture(scope="session")
def slurmrestd(slurm: Slurm) -> tuple[str, str]:
    """Where the slurmrestd of the cluster answers: a URL, and a socket. It wants tokens: ``slurm.token()``."""
    if why := why_no_rest():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(why)
    return slurm.start_rest()


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """An sshd on loopback."""
    if why := why_no_sshd():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(why)
    with Sshd(tmp_path_factory.mktemp("sshd")) as running:
        yield running


def machine_packager_variables() -> dict[str, str]:
    """What tells uv, pip and npm where this machine's indexes are: for tests marked ``network`` or ``npm``."""
    variables = dict(_MACHINE)
    for name, places in _KEPT_PACKAGER_FILES.items():
        for place in places:
            if name not in variables and (REAL_HOME / place).is_file():
                variables[name] = str(REAL_HOME / place)
    return variables


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("slow") and not config.getoption("--slow"):
            item.add_marker(pytest.mark.skip(reason="slow: run with --slow, or `make test-all`"))
        if item.get_closest_marker("root") and os.geteuid() != 0:
            item.add_marker(pytest.mark.skip(reason="needs to be root: mount namespaces, tmpfs"))
        if item.get_closest_marker("npm") and shutil.which("npm") is None:
            item.add_marker(pytest.mark.skip(reason="npm is missing: install Node.js with npm"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("network") and (why := _why_no_index()):
        pytest.skip(f"this machine's package index does not answer: {why}")


@cache
def _why_no_index() -> str:
    command = [sys.executable, "-m", "uv", "pip", "compile", "-", "--no-cache", "--no-header", "-q"]
    env = {**os.environ, **_MACHINE, **machine_packager_variables()}
    answer = subprocess.run(command, input="packaging\n", capture_output=True, text=True, timeout=120, check=False, env=env)
    return "" if answer.returncode == 0 else answer.stderr.strip().splitlines()[-1]


def _variables(home: Path) -> dict[str, str]:
    return {
        "HOME": str(home),
        "XDG_DATA_HOME": str(home / ".local/share"),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "XDG_CACHE_HOME": str(home / ".cache"),
        "XDG_STATE_HOME": str(home / ".local/state"),
        "WARDIAN_HOME": str(home / ".local/share/wardian"),
        "WARDIAN_CACHE": str(home / ".local/share/wardian/cache"),
        "UV_CACHE_DIR": str(home / ".cache/uv"),
        "RATTLER_CACHE_DIR": str(home / ".cache/rattler"),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }


def _fingerprint() -> frozenset[tuple[str, int]]:
    """The guarded places down to two levels: cheap enough to look at twice per test."""
    seen: set[tuple[str, int]] = set()

    def look(path: Path, levels: int) -> None:
        try:
            seen.add((str(path), path.lstat().st_mtime_ns))
        except FileNotFoundError:
            return
        if levels and path.is_dir() and not path.is_symlink():
            for inner in path.iterdir():
                look(inner, levels - 1)

    for place in GUARDED:
        look(place, 2)
    return frozenset(seen)


def _remove(home: Path) -> None:
    for directory, _, _ in os.walk(home):
        Path(directory).chmod(0o700)  # installed prefixes are read-only
    shutil.rmtree(home, ignore_errors=True)
