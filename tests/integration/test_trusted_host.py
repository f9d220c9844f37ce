"""`--trusted-host`: one host's certificate is not checked, by the solver and by our own downloads alike; every other one is."""

from __future__ import annotations

import io
import shutil
from typing import TYPE_CHECKING

import pytest
from tests.support.cli import Cli
from tests.support.index import Index
from tests.support.server import DirectoryServer, self_signed
from tests.support.wheels import make_sdist, make_wheel

from wardian.errors import Unavailable
from wardian.tools.http import Http

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is missing: install openssl")


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Index]:
    with Index(tmp_path / "index", tls=self_signed(tmp_path)) as running:
        running.add(make_wheel(tmp_path / "made", "alpha", "1.0", files={"alpha/__init__.py": ""}))
        running.add(make_sdist(tmp_path / "made", "beta", "1.0"))
        yield running


def lines(shop: Index, *trusted: str) -> str:
    return "\n".join([*(f"--trusted-host {host}" for host in trusted), f"--index-url {shop.url}", "alpha", "beta", ""])


@pytest.mark.parametrize("with_port", [False, True])
def test_a_trusted_host_is_solved_with_and_fetched_from(tmp_path: Path, shop: Index, with_port: bool) -> None:
    cli = Cli.at(tmp_path / "one")
    host = f"127.0.0.1:{shop.port}" if with_port else "127.0.0.1"
    cli.write("r.txt", lines(shop, host))
    done = cli.ok("run", "-r", "r.txt", "--", "python", "-c", "import alpha, beta")
    assert "InsecureRequestWarning" not in done.err
    assert f"warning: --trusted-host {host}: its certificate is not checked" in done.err
    assert f"--trusted-host {host}: its certificate is not checked" in cli.ok("env", "lock", "r.txt").out


def test_a_direct_url_and_a_later_fetch_know_the_host_too(tmp_path: Path, shop: Index) -> None:
    cli = Cli.at(tmp_path / "one")
    cli.write(
        "r.txt", f"--trusted-host 127.0.0.1\n--index-url {shop.url}\nalpha @ {shop.file_url('alpha-1.0-py3-none-any.whl')}\n"
    )
    cli.ok("env", "build", "r.txt")
    shutil.rmtree(cli.cache / "packages")
    name = cli.json("env", "build", "r.txt")["prefix"].rpartition("/")[2]
    cli.ok("gc", "--apply", "--prefix", name)
    cli.ok("env", "build", "r.txt")


@pytest.mark.parametrize("trusted", [(), ("localhost",), ("127.0.0.1:1",)])
def test_no_other_host_is_trusted(tmp_path: Path, shop: Index, trusted: tuple[str, ...]) -> None:
    cli = Cli.at(tmp_path / "one")
    cli.write("r.txt", lines(shop, *trusted))
    done = cli.run("env", "lock", "r.txt")
    assert done.code == 7
    assert not shop.downloads()


@pytest.mark.slow
def test_downloads_check_all_but_the_trusted_host(tmp_path: Path) -> None:
    place = tmp_path / "files"
    place.mkdir()
    (place / "file").write_bytes(b"content")
    other = tmp_path / "other"
    other.mkdir()
    http = Http(timeout_s=5)
    with (
        DirectoryServer(place, tls=self_signed(tmp_path)) as server,
        DirectoryServer(place, tls=self_signed(other)) as elsewhere,
    ):
        url, only = f"{server.root_url}/file", [f"127.0.0.1:{server.port}"]
        target = io.BytesIO()
        assert http.download(url, target, limit_bytes=100, trusted=only) == 7
        with pytest.raises(Unavailable, match=r"certificate|CERTIFICATE"):
            http.download(url, io.BytesIO(), limit_bytes=100)
        server.fail("/file", redirect=f"{elsewhere.root_url}/file")
        with pytest.raises(Unavailable, match=r"certificate|CERTIFICATE"):
            http.download(url, io.BytesIO(), limit_bytes=100, trusted=only)
