"""Archives and announcements that lie, over file and HTTP, cold and warm: refused by name, nothing left of them, the next run works."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.cli import Cli, Done
from tests.support.hostile import ALL
from tests.support.offers import OFFERS, CondaOffer, Offer
from tests.support.wheels import make_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.hostile import Hostile
    from tests.support.index import Index

OUTSIDE = Path("/tmp/hostile-evil")  # where absolute paths in the archives lead
FEW = ("absolute path", "parent path", "escaping link", "truncated", "flipped byte")
SHOWN = {
    "absolute path": "/tmp/hostile-evil",
    "parent path": "../evil",
    "escaping link": "etc",
}  # of the member, in the message


@pytest.fixture(
    params=[
        pytest.param((kind, http), marks=pytest.mark.slow if http == (kind == "wheel") else ())
        for kind in OFFERS
        for http in (True, False)
    ],
    ids=lambda p: f"{p[0]}-{'http' if p[1] else 'file'}",
)
def offer(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Offer]:
    kind, http = request.param
    found = OFFERS[kind](tmp_path / "offer", http=http)
    yield found
    found.stop()


@pytest.fixture
def cli(offer: Offer, tmp_path: Path) -> Cli:
    return Cli.at(tmp_path / "one", config=f'lock_platforms = ["linux/amd64"]\n{offer.config}')


def hostile(offer: Offer) -> dict[str, Hostile]:
    kind = next(kind for kind, factory in OFFERS.items() if type(offer) is factory)
    return ALL[kind][2]()


def run(cli: Cli, definition: tuple[str, str]) -> Done:
    return cli.run("run", "--json", *definition, "--", "/bin/echo", "ran")


def error_of(done: Done) -> dict[str, str]:
    return dict(json.loads(done.err.strip().splitlines()[-1])["error"])


def assert_nothing_is_outside(cli: Cli) -> None:
    assert not OUTSIDE.exists()
    place = cli.home.parent.parent
    assert not [path for path in place.rglob("*") if path.name in ("evil", "escape", "passwd", "null", "fifo")]


def assert_nothing_is_half_done(cli: Cli) -> None:
    """No prefix, no temporary file: nothing that a later run could take for whole."""
    assert {path.name for path in (cli.cache / "prefixes").glob("*")} <= {"locks", "trash"}
    assert not [*cli.cache.glob("prefixes/trash/*"), *cli.cache.glob("packages/tmp/*"), *cli.cache.glob("packages/trash/*")]


def assert_nothing_is_left(cli: Cli) -> None:
    assert_nothing_is_outside(cli)
    assert_nothing_is_half_done(cli)
    assert {path.name for path in (cli.cache / "packages").glob("*")} <= {"locks", "tmp", "trash"}
    assert not [*cli.cache.glob("conda-packages/unpacked/hostile*")]


def assert_refused(cli: Cli, offer: Offer, why: str, code: str, number: int) -> None:
    """Announce what will be sent, lock, then send it: as a publisher does who means it."""
    content = hostile(offer)[why][0]
    definition = offer.definition(cli, number)
    offer.offer(content)
    if not offer.root.startswith("http"):  # uv reads metadata out of a file that lies there
        offer.archive.write_bytes(offer.good)
        cli.ok("env", "lock", definition[1])
        offer.archive.write_bytes(content)
    done = run(cli, definition)
    assert done.code == 125, done
    assert done.out == ""
    error = error_of(done)
    assert error["code"] == code, (why, error)
    assert offer.file in error["message"]
    assert SHOWN.get(why, "") in error["message"]
    assert error["hint"]
    assert_nothing_is_left(cli)


def assert_the_next_works(cli: Cli, offer: Offer) -> None:
    offer.offer(offer.good)
    definition = offer.definition(cli, 0)
    done = run(cli, definition)
    assert done.code == 0, done.err
    assert done.err.strip().splitlines()[-1] == "ran"
    assert cli.json("env", "verify", definition[1])["clean"]


def test_hostile_archives_are_refused_when_they_are_fetched(cli: Cli, offer: Offer) -> None:
    for number, why in enumerate(FEW, start=1):
        assert_refused(cli, offer, why, hostile(offer)[why][1], number)
    assert_the_next_works(cli, offer)


@pytest.mark.slow
def test_every_hostile_archive_is_refused_when_it_is_fetched(cli: Cli, offer: Offer) -> None:
    for number, (why, (_, code)) in enumerate(hostile(offer).items(), start=1):
        assert_refused(cli, offer, why, code, number)
    assert_the_next_works(cli, offer)


def assert_damage_is_noticed(cli: Cli, offer: Offer, whys: list[str]) -> None:
    """Put other bytes in the place of the fetched archive, and remove the prefix so that it is read again."""
    definition = offer.definition(cli, 0)
    assert run(cli, definition).code == 0
    name = Path(cli.json("env", "build", definition[1])["prefix"]).name
    archive = next((cli.cache / "packages").glob(f"*/{offer.file}"))
    for why in whys:
        archive.chmod(0o644)
        archive.write_bytes(hostile(offer)[why][0])
        cli.ok("gc", "--apply", "--prefix", name)
        done = run(cli, definition)
        assert done.code == 125, (why, done)
        error = error_of(done)
        assert error["code"] == "wrong_digest"
        assert offer.file in error["message"]
        assert not archive.exists()
        assert_nothing_is_outside(cli)
        assert_nothing_is_half_done(cli)
        done = run(cli, definition)  # it is fetched again
        assert done.code == 0, done.err
    assert cli.json("env", "verify", definition[1])["clean"]


def test_a_fetched_archive_that_changes_on_disk_is_refused(cli: Cli, offer: Offer) -> None:
    assert_damage_is_noticed(cli, offer, ["flipped byte", "escaping link"])


@pytest.mark.slow
def test_a_fetched_archive_that_becomes_any_hostile_one_is_refused(cli: Cli, offer: Offer) -> None:
    assert_damage_is_noticed(cli, offer, list(hostile(offer)))


def test_wrong_announcements_are_refused(cli: Cli, offer: Offer) -> None:
    lies: list[tuple[str, dict[str, object]]] = [("wrong_digest", {"announced_sha256": "0" * 64})]
    if isinstance(offer, CondaOffer):  # simple pages say no sizes
        lies += [("wrong_size", {"announced_size": 1}), ("wrong_size", {"announced_size": len(offer.good) + 1})]
    for number, (code, lie) in enumerate(lies, start=1):
        definition = offer.definition(cli, number)
        offer.offer(offer.good, **lie)  # type: ignore[arg-type]
        done = run(cli, definition)
        assert (done.code, error_of(done)["code"]) == (125, code), done.err
        assert offer.file in error_of(done)["message"]
        built = cli.run("env", "build", definition[1], "--json")
        assert (built.code, error_of(built)["code"]) == (1, code)
        assert_nothing_is_left(cli)
    assert_the_next_works(cli, offer)


@pytest.mark.parametrize("more_bytes", [-1, 1])
def test_a_wrong_size_in_an_index_is_refused(index: Index, tmp_path: Path, more_bytes: int) -> None:
    wheel = make_wheel(tmp_path, "alpha", "1.0")
    index.add(wheel, announced_size=wheel.stat().st_size + more_bytes)
    cli = Cli.at(tmp_path / "one", index_url=index.url, config='lock_platforms = ["linux/amd64"]')
    cli.write("requirements.txt", "alpha\n")
    done = run(cli, ("-r", "requirements.txt"))
    assert (done.code, error_of(done)["code"]) == (125, "wrong_size"), done.err
    assert f"{wheel.stat().st_size + more_bytes:,}" in error_of(done)["message"]
    assert wheel.name in error_of(done)["message"]
    assert_nothing_is_left(cli)


def test_a_byte_that_changes_on_its_way_is_noticed(cli: Cli, offer: Offer) -> None:
    definition = offer.definition(cli, 1)
    cli.ok("env", "lock", definition[1])
    content = bytearray(offer.good)
    content[-1] ^= 1
    offer.archive.write_bytes(content)
    done = run(cli, definition)
    assert (done.code, error_of(done)["code"]) == (125, "wrong_digest"), done.err
    assert offer.file in error_of(done)["message"]
    assert_nothing_is_left(cli)
    offer.archive.write_bytes(offer.good)
    assert run(cli, definition).code == 0, "the lock was right: the same definition works as soon as the bytes are"


def test_a_broken_connection_is_taken_up_again_and_a_dead_one_is_told(cli: Cli, offer: Offer) -> None:
    if not offer.root.startswith("http"):
        pytest.skip("files have no connections")
    definition = offer.definition(cli, 1)
    cli.ok("env", "lock", definition[1])
    offer.server.fail(f"*/{offer.file}", truncate=100)
    dead = run(cli, definition)
    assert (dead.code, error_of(dead)["code"]) == (125, "network_error")
    assert cli.run("env", "build", definition[1]).code == 7
    assert_nothing_is_left(cli)
    offer.server.heal()
    offer.server.fail(f"*/{offer.file}", truncate=100, times=2)
    assert run(cli, definition).code == 0
