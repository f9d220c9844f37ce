"""`wardian env tree`: what it draws, and what it says where there is nothing to draw."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.builders import a_lock, an_artifact

from wardian.cli.env_tree import drawn
from wardian.lock.graph import DependencyGraph

if TYPE_CHECKING:
    from tests.support.cli import Cli

LOCK = a_lock(
    an_artifact("cpython", "3.11.9", kind="python", size_bytes=None), an_artifact("pandas", "2.2", depends=("numpy", "pytz")),
    an_artifact("scipy", "1.14", depends=("numpy",)), an_artifact("numpy", "2.0", depends=("libblas",), size_bytes=5000),
    an_artifact("libblas", "3"), an_artifact("pytz", "2024.1"), roots=("scipy", "pandas"),
)  # fmt: skip


def lines(package: str | None = None, depth: int | None = None) -> list[str]:
    return list(drawn("e:1", LOCK, DependencyGraph.of(LOCK), package, depth))


def test_all() -> None:
    assert lines()[1:] == [
        "├─ pandas 2.2 *  1.0 kB  (8.0 kB with what it needs, 2.0 kB of that for it alone)",
        "│  ├─ numpy 2.0  5.0 kB",
        "│  │  └─ libblas 3  1.0 kB",
        "│  └─ pytz 2024.1  1.0 kB",
        "├─ scipy 1.14 *  1.0 kB  (7.0 kB with what it needs, 1.0 kB of that for it alone)",
        "│  └─ numpy 2.0  5.0 kB …",
        "└─ cpython 3.11.9",
    ]
    assert lines()[0] == f"e:1 · lock {LOCK.digest.short} · linux/amd64 · 6 packages, 9.0 kB"


def test_who_brought_a_package_in() -> None:
    assert lines("libblas") == [
        "libblas 3  1.0 kB",
        "└─ numpy 2.0  5.0 kB",
        "   ├─ pandas 2.2 *  1.0 kB",
        "   └─ scipy 1.14 *  1.0 kB",
    ]
    assert lines("scipy") == ["scipy 1.14 *  1.0 kB"]
    assert lines("cpython") == ["cpython 3.11.9", "  (the environment itself needs it)"]


def test_so_many_levels() -> None:
    assert len(lines(depth=1)) == 1 + 3 + 3
    assert lines("libblas", 1)[1:] == ["└─ numpy 2.0  5.0 kB", "   ├─ pandas 2.2 *  1.0 kB", "   └─ scipy 1.14 *  1.0 kB"]


def test_a_chain_as_long_as_one_likes() -> None:
    chain = a_lock(*(an_artifact(f"p{n}", "1", depends=(f"p{n + 1}",)) for n in range(3000)), roots=("p0",))
    assert len(list(drawn("e:1", chain, DependencyGraph.of(chain), None, None))) == 3001


def test_nothing_to_draw(host: Cli) -> None:
    done = host.run("env", "tree", "host")
    assert done.code == 4
    assert "host:1 is user-managed: nothing of it is locked" in done.err
    host.write("requirements.txt", "alpha\n")
    host.ok("env", "create", "a", "-r", "requirements.txt")
    done = host.run("env", "tree", "a")
    assert done.code == 4
    assert "a:1 is not locked for this machine yet" in done.err
    assert "`wardian env lock a:1`" in done.err
