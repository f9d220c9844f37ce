"""Solving over real channels: from disk and over loopback HTTP, with credentials, faults, times and other platforms."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.builders import an_environment
from tests.support.conda_channel import THEN, Channel, Package, everywhere, greeter, standard_channel
from tests.support.conda_solving import a_request, a_solver, names, solved
from tests.support.server import DirectoryServer

from wardian.definition.platform import get_platform
from wardian.errors import Denied, InvalidInput, NotFound, SolveFailed, Unavailable, WardianError
from wardian.events import Event, silent
from wardian.lock.solver import SolveRequest
from wardian.tools.http import Credentials

if TYPE_CHECKING:
    from collections.abc import Callable

    from wardian.lock.lock import Artifact

ROOT = Path(__file__).parents[2]
LATER = datetime(2024, 6, 1, tzinfo=UTC)
PLATFORMS = ("linux/amd64", "linux/arm64", "darwin/arm64")


@pytest.fixture(scope="session")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Channel:
    return standard_channel(tmp_path_factory.mktemp("channel"))


def test_artifacts_name_no_host_and_hold_what_the_linker_needs(channel: Channel, tmp_path: Path) -> None:
    found = a_solver(tmp_path, channels={"corp": channel.url}).solve_conda(a_request("greeter", channels=["corp"]), silent)
    python = next(a for a in found if a.name == "python")
    green = next(a for a in found if a.name == "greeter")
    assert (green.kind, green.source, green.subdir, green.noarch) == ("conda", "channel:corp", "noarch", "python")
    assert green.depends == ("python >=3.11",)
    assert (green.build, green.license, green.timestamp) == ("pyh0_0", "MIT", "2024-01-01T00:00:00Z")
    assert python.site_packages_path.endswith("site-packages")
    assert "file:" not in json.dumps([a.as_document() for a in found])
    assert str(channel.directory) not in json.dumps([a.as_document() for a in found])


def test_the_same_request_gives_the_same_packages_from_disk_and_over_http(channel: Channel, tmp_path: Path) -> None:
    request = a_request("greeter", "numlib", "old-format", channels=["corp"])
    from_disk = a_solver(tmp_path / "a", channels={"corp": channel.url}).solve_conda(request, silent)
    with channel.serve() as server:
        over_http = a_solver(tmp_path / "b", channels={"corp": server.url}).solve_conda(request, silent)
    assert over_http == from_disk
    assert names(from_disk)["old-format"] == "1.0"


def test_a_channel_given_by_url_is_known_by_its_place_in_the_definition(channel: Channel, tmp_path: Path) -> None:
    other = Channel(tmp_path / "other").publish(Package("extra"))
    found = solved(tmp_path, "extra", "hello", channels=[other.url, channel.url])
    assert {a.name: a.source for a in found} == {"extra": "channel:#0", "hello": "channel:#1"}


def test_python_comes_along_when_pip_packages_need_it(channel: Channel, tmp_path: Path) -> None:
    solver = a_solver(tmp_path)
    request = a_request("hello", channels=[channel.url], pip=["six"])
    assert set(names(solver.solve_conda(request, silent))) == {"hello", "python"}
    assert solver.roots(request) == ("hello", "python")
    assert "python" not in names(solver.solve_conda(a_request("hello", channels=[channel.url]), silent))


def test_nothing_asked_for_is_nothing_locked(tmp_path: Path) -> None:
    assert solved(tmp_path, channels=["no-such-channel"]) == ()


# -- credentials ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("deep", [True, False], ids=["below-a-path", "at-the-root"])
def test_a_token_from_a_variable_is_sent_and_stored_nowhere(channel: Channel, tmp_path: Path, *, deep: bool) -> None:
    path = f"/{channel.directory.name}" if deep else ""
    with DirectoryServer(channel.directory.parent if deep else channel.directory, token="t0ken") as server:
        request = a_request("greeter", channels=[server.root_url + "/t/${TOKEN}" + path])
        solver = a_solver(tmp_path, environ={"TOKEN": "t0ken"})
        found = solver.solve_conda(request, silent)
        assert server.requests
        assert all(r.path.startswith(f"/t/t0ken{path}/") for r in server.requests)
        assert solver.channel_url(request.environment, "#0") == f"{server.root_url}/t/t0ken{path}"
    assert {a.source for a in found} == {"channel:#0"}
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"numlib" in kept
    assert b"t0ken" not in kept


def test_a_wrong_token_is_denied_without_printing_it(channel: Channel, tmp_path: Path) -> None:
    with channel.serve(token="t0ken") as server:
        url = server.root_url
        request = a_request("greeter", channels=[f"{url}/t/${{TOKEN}}/x"])
        with pytest.raises(Denied) as caught:
            a_solver(tmp_path, environ={"TOKEN": "wr0ng"}).solve_conda(request, silent)
    assert caught.value.stable_code == "channel_denied"
    assert "wr0ng" not in json.dumps(caught.value.as_document())
    assert f"{url}/x" in caught.value.message


@pytest.mark.parametrize("login", [Credentials("me", "p@ss"), Credentials(token="t0ken")], ids=["basic", "bearer"])
def test_stored_logins_are_used(channel: Channel, tmp_path: Path, login: Credentials) -> None:
    with channel.serve(user="me", password="p@ss", token="t0ken") as server:
        solver = a_solver(tmp_path, credentials=lambda url: login if url.startswith(server.root_url) else None)
        assert names(solver.solve_conda(a_request("hello", channels=[server.url]), silent)) == {"hello": "1.0"}
        with pytest.raises(Denied, match="refuses access"):
            a_solver(tmp_path / "other").solve_conda(a_request("hello", channels=[server.url]), silent)


@pytest.mark.parametrize("same_path", [False, True], ids=["another-path", "same-path"])
def test_a_login_goes_to_its_own_server_only(tmp_path: Path, *, same_path: bool) -> None:
    """The two differ in their port alone, which rattler does not tell: where the path decides nothing, no login is sent."""
    mine, theirs = "a", "a" if same_path else "b"
    Channel(tmp_path / "one" / mine).publish(Package("x"))
    Channel(tmp_path / "two" / theirs).publish(Package("y"))
    login = Credentials("me", "pass")
    with DirectoryServer(tmp_path / "one", user="me", password="pass") as closed, DirectoryServer(tmp_path / "two") as opened:
        channels = [f"{closed.url}/{mine}", f"{opened.url}/{theirs}"]
        solver = a_solver(tmp_path, credentials=lambda url: login if url.startswith(closed.url) else None)
        if same_path:
            with pytest.raises(Denied):
                solver.solve_conda(a_request("x", "y", channels=channels), silent)
        else:
            assert names(solver.solve_conda(a_request("x", "y", channels=channels), silent)) == {"x": "1.0", "y": "1.0"}
        assert not any("authorization" in request.headers for request in opened.requests)


def test_user_and_password_from_variables_in_the_url(channel: Channel, tmp_path: Path) -> None:
    with channel.serve(user="me", password="p@ss") as server:
        written = server.url.replace("://", "://${ME}:${PASS}@")
        solver = a_solver(tmp_path, environ={"ME": "me", "PASS": "p%40ss"})
        assert names(solver.solve_conda(a_request("hello", channels=[written]), silent)) == {"hello": "1.0"}


def test_rattlers_own_credential_file_and_netrc(channel: Channel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = tmp_path / "credentials.json"
    stored.write_text(json.dumps({"127.0.0.1": {"BasicHTTP": {"username": "me", "password": "pass"}}}))
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password pass\n")
    with channel.serve(user="me", password="pass") as server:
        request = a_request("hello", channels=[server.url])
        for variable, path in (("RATTLER_AUTH_FILE", stored), ("NETRC", netrc)):
            with monkeypatch.context() as patch:
                patch.setenv(variable, str(path))
                assert names(a_solver(tmp_path / variable).solve_conda(request, silent)) == {"hello": "1.0"}


def test_a_credential_file_that_cannot_be_read_is_named(
    channel: Channel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = tmp_path / "credentials.json"
    stored.write_text("{")
    monkeypatch.setenv("RATTLER_AUTH_FILE", str(stored))
    with pytest.raises(Denied, match=r"credentials\.json") as caught:
        solved(tmp_path, "hello", channels=[channel.url])
    assert caught.value.stable_code == "bad_credentials"


# -- mirrors, offline, faults ---------------------------------------------------------------------------------------------


def test_a_mirror_serves_a_channel_under_its_own_name(channel: Channel, tmp_path: Path) -> None:
    for mirror in (channel.url, "http"):
        with channel.serve() as server:
            solver = a_solver(
                tmp_path / mirror[:4], mirrors={"https://conda.anaconda.org/corp": server.url if mirror == "http" else mirror}
            )
            found = solver.solve_conda(a_request("hello", "corp::numlib", channels=["corp"]), silent)
            assert {a.source for a in found} == {"channel:corp"}
            assert solver.channel_url(an_environment(channels=["corp"]), "corp") == "https://conda.anaconda.org/corp"


def test_offline_what_was_read_before_is_enough(channel: Channel, tmp_path: Path) -> None:
    with channel.serve() as server:
        request = a_request("greeter", channels=[server.url])
        online = a_solver(tmp_path).solve_conda(request, silent)
        server.forget_requests()
        assert a_solver(tmp_path).solve_conda(replace(request, offline=True), silent) == online
        assert server.requests == []
    assert a_solver(tmp_path).solve_conda(replace(request, offline=True), silent) == online  # nobody answers any more
    from_disk = a_request("greeter", channels=[channel.url], offline=True)
    assert names(a_solver(tmp_path / "fresh").solve_conda(from_disk, silent)) == names(online)


def test_offline_and_never_read(channel: Channel, tmp_path: Path) -> None:
    with channel.serve() as server, pytest.raises(Unavailable) as caught:
        solved(tmp_path, "greeter", channels=[url := server.url], offline=True)
    assert caught.value.stable_code == "offline"
    assert url in caught.value.message


@pytest.mark.parametrize(
    ("fault", "error", "code"),
    [
        ({"status": 403}, Denied, "channel_denied"),
        ({"status": 404}, NotFound, "channel_not_found"),
        ({"status": 400}, Unavailable, "channel_unavailable"),
        ({"body": b"<html>please log in</html>"}, Unavailable, "bad_repodata"),
        ({"truncate": 100}, Unavailable, "channel_unavailable"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_channel_that_fails_is_named(
    channel: Channel, tmp_path: Path, fault: dict[str, Any], error: type[WardianError], code: str
) -> None:
    with channel.serve() as server:
        server.fail("*/repodata.json", **fault)
        with pytest.raises(error) as caught:
            solved(tmp_path, "hello", channels=[url := server.url])
    assert caught.value.stable_code == code
    assert url in caught.value.message
    assert "repodata.json" not in caught.value.message


def test_a_server_error_is_asked_again(channel: Channel, tmp_path: Path) -> None:
    with channel.serve() as server:
        server.fail("*/repodata.json", status=503, times=1)
        assert names(solved(tmp_path, "hello", channels=[server.url])) == {"hello": "1.0"}


def test_a_channel_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no channel at file:///nowhere"):
        solved(tmp_path, "hello", channels=["file:///nowhere"])
    with pytest.raises(Unavailable, match=r"http://127\.0\.0\.1:1/x can't be reached"):
        solved(tmp_path, "hello", channels=["http://127.0.0.1:1/x"])


def test_a_channel_that_never_answers_is_given_up(channel: Channel, tmp_path: Path) -> None:
    with channel.serve() as server:
        gate = threading.Event()
        server.fail("*/repodata.json", hold=gate)
        solver = a_solver(tmp_path, timeout_s=0.1)  # a whole answer may take ten times that
        with pytest.raises(Unavailable, match="timed out"):
            solver.solve_conda(a_request("hello", channels=[server.url]), silent)


def test_solving_works_inside_a_running_event_loop(channel: Channel, tmp_path: Path) -> None:
    async def in_a_notebook() -> dict[str, str]:
        return names(solved(tmp_path, "hello", channels=[channel.url]))

    assert asyncio.run(in_a_notebook()) == {"hello": "1.0"}


def test_an_interrupt_ends_a_solve_at_once(channel: Channel, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tests.support.conda_solving import solved\n"
        "solved(Path(sys.argv[1]), 'hello', channels=[sys.argv[2]])"
    )
    with channel.serve() as server:
        server.fail("*/repodata.json", hold=threading.Event())
        command = [sys.executable, "-c", code, str(tmp_path), server.url]
        with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
            server.wait_for_request(lambda r: r.path.endswith("/repodata.json") and r.method == "GET")
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=20)
    assert process.returncode == -signal.SIGINT
    assert said.strip().splitlines()[-1] == "KeyboardInterrupt"


# -- digests --------------------------------------------------------------------------------------------------------------


def test_where_the_channel_says_no_digest_the_archive_is_fetched_and_measured(tmp_path: Path) -> None:
    channel = Channel(tmp_path / "channel")
    quiet = Package("quiet", files={"share/quiet": "x"})
    channel.add(quiet, sha256=False)
    channel.index()
    with channel.serve() as server:
        (artifact,) = solved(tmp_path, "quiet", channels=[server.url])
        assert sum(r.path.endswith(".conda") for r in server.requests) == 1
    content = quiet.archive
    import hashlib

    assert artifact.sha256 == hashlib.sha256(content).hexdigest()
    assert artifact.size_bytes == len(content)


def test_a_package_by_the_url_of_its_file(channel: Channel, tmp_path: Path) -> None:
    import hashlib

    content = (channel.directory / "linux-64/hello-2.0-cuda_0.conda").read_bytes()
    url = f"{channel.url}/linux-64/hello-1.0-cpu_0.conda"
    right = hashlib.sha256((channel.directory / "linux-64/hello-1.0-cpu_0.conda").read_bytes()).hexdigest()
    (artifact,) = solved(tmp_path, f"{url}#sha256:{right}", channels=[channel.url])
    assert (artifact.name, artifact.sha256) == ("hello", right)
    for wrong in (f"sha256:{hashlib.sha256(content).hexdigest()}", hashlib.md5(content, usedforsecurity=False).hexdigest()):
        with pytest.raises(SolveFailed) as caught:
            solved(tmp_path, f"{url}#{wrong}", channels=[channel.url])
        assert caught.value.stable_code == "wrong_digest"


# -- virtual packages -----------------------------------------------------------------------------------------------------


def test_cuda_is_used_when_it_is_declared_whatever_this_machine_has(
    channel: Channel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONDA_OVERRIDE_CUDA", "12.9")  # what detection would say
    assert names(solved(tmp_path, "hello", channels=[channel.url])) == {"hello": "1.0"}
    assert names(solved(tmp_path, "hello", channels=[channel.url], accelerators={"cuda": "12.4"})) == {"hello": "2.0"}
    with pytest.raises(SolveFailed) as caught:
        solved(tmp_path, "hello=2", channels=[channel.url])
    assert caught.value.stable_code == "missing_virtual_package"


def test_a_newer_glibc_is_declared(channel: Channel, tmp_path: Path) -> None:
    assert names(solved(tmp_path, "modern", channels=[channel.url], accelerators={"glibc": "2.34"})) == {"modern": "3.0"}
    with pytest.raises(SolveFailed, match=r"needs glibc >=2\.34, but linux/amd64 is taken to have 2\.28"):
        solved(tmp_path, "modern", channels=[channel.url])


def test_the_processor_is_the_build_of_archspec(tmp_path: Path) -> None:
    channel = Channel(tmp_path / "channel").publish(
        Package("fast", depends=("__archspec 1 x86_64_v3",)), Package("any", depends=("__archspec * x86_64",))
    )
    assert names(solved(tmp_path, "any", channels=[channel.url])) == {"any": "1.0"}
    assert names(solved(tmp_path, "fast", channels=[channel.url], accelerators={"archspec": "x86_64_v3"})) == {"fast": "1.0"}


def test_an_accelerator_that_is_no_version(channel: Channel, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="`twelve!!` is not a version"):
        solved(tmp_path, "hello", channels=[channel.url], accelerators={"cuda": "twelve!!"})


# -- time -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("as_of", "version"),
    [
        (THEN, "1.0"),
        (LATER - timedelta(seconds=1), "1.0"),
        (LATER, "2.0"),
        (LATER.astimezone(timezone(timedelta(hours=9))), "2.0"),
        ((LATER - timedelta(seconds=1)).astimezone(timezone(timedelta(hours=9))), "1.0"),
    ],
)
def test_nothing_published_later_is_used(tmp_path: Path, as_of: datetime, version: str) -> None:
    channel = Channel(tmp_path / "channel").publish(
        Package("x", "1.0"), Package("x", "2.0", published=LATER), Package("x", "3.0", published=None)
    )
    assert names(solved(tmp_path, "x", channels=[channel.url], as_of=as_of)) == {"x": version}


def test_before_everything_nothing_is_there(channel: Channel, tmp_path: Path) -> None:
    with pytest.raises(SolveFailed, match="was published after 2023-01-01T00:00:00Z"):
        solved(tmp_path, "numlib", channels=[channel.url], as_of=datetime(2023, 1, 1, tzinfo=UTC))


# -- platforms, preferred, held -------------------------------------------------------------------------------------------


def test_three_platforms_in_one_go_have_the_same_versions(channel: Channel, tmp_path: Path) -> None:
    solver = a_solver(tmp_path)
    first = solver.solve_conda(a_request("greeter", "numlib", channels=[channel.url]), silent)
    for platform in PLATFORMS[1:]:
        found = solver.solve_conda(
            a_request("greeter", "numlib", channels=[channel.url], platform=platform, preferred=first), silent
        )
        assert names(found) == names(first)
        assert {a.subdir for a in found} == {get_platform(platform).subdir, "noarch"}


@pytest.mark.parametrize("with_time", [True, False], ids=["as-of", "preferred-alone"])
def test_a_platform_added_after_a_newer_release_gets_the_same_versions(tmp_path: Path, *, with_time: bool) -> None:
    channel = Channel(tmp_path / "channel").publish(
        *everywhere("numlib", "1.2.0", depends=("corelib >=2",)), *everywhere("corelib", "2.1")
    )
    solver = a_solver(tmp_path)
    first = solver.solve_conda(a_request("numlib", channels=[channel.url]), silent)
    channel.publish(
        *everywhere("numlib", "1.3.0", depends=("corelib >=2",), published=LATER),
        *everywhere("corelib", "2.2", published=LATER),
    )
    later = a_request(
        "numlib", channels=[channel.url], platform="darwin/arm64", preferred=first, as_of=THEN if with_time else None
    )
    assert names(solver.solve_conda(later, silent)) == names(first) == {"numlib": "1.2.0", "corelib": "2.1"}
    assert names(solved(tmp_path / "fresh", "numlib", channels=[channel.url])) == {"numlib": "1.3.0", "corelib": "2.2"}


def test_what_cannot_be_the_same_is_told(tmp_path: Path) -> None:
    channel = Channel(tmp_path / "channel").publish(
        *everywhere("numlib", "1.2.0", subdirs=["linux-64"]), *everywhere("numlib", "1.1.0"), *everywhere("corelib", "2.1")
    )
    solver = a_solver(tmp_path)
    first = solver.solve_conda(a_request("numlib", "corelib", channels=[channel.url]), silent)
    events: list[Event] = []
    request = a_request("numlib", "corelib", channels=[channel.url], platform="darwin/arm64", preferred=first)
    assert names(solver.solve_conda(request, events.append)) == {"numlib": "1.1.0", "corelib": "2.1"}
    assert [e.text for e in events if e.kind == "notice"] == ["versions differ on darwin/arm64: numlib 1.2.0 → 1.1.0"]


def test_a_build_for_the_same_python_is_taken_on_another_platform(tmp_path: Path) -> None:
    builds = [
        Package("ext", "1.0", build=f"py3{minor}h_{n}", build_number=n, subdir=subdir, depends=(f"interp 3.{minor}.*",))
        for subdir in ("linux-64", "osx-arm64") for minor in (11, 12) for n in (0, 1)
    ]  # fmt: skip
    interps = [p for minor in (11, 12) for p in everywhere("interp", f"3.{minor}.1")]
    channel = Channel(tmp_path / "channel").publish(*builds, *interps)
    solver = a_solver(tmp_path)
    first = solver.solve_conda(a_request("ext", "interp 3.11.*", channels=[channel.url]), silent)
    moved = solver.solve_conda(a_request("ext", channels=[channel.url], platform="darwin/arm64", preferred=first), silent)
    assert {a.name: a.build for a in moved}["ext"] == "py311h_1"


def preferred_and_newer(tmp_path: Path) -> tuple[Channel, tuple[Artifact, ...], Callable[..., tuple[Artifact, ...]]]:
    channel = Channel(tmp_path / "channel").publish(
        Package("app", "1.0", depends=("lib >=1",)), Package("lib", "1.0"), Package("free", "1.0")
    )
    solver = a_solver(tmp_path)
    first = solver.solve_conda(a_request("app", "free", channels=[channel.url]), silent)
    channel.publish(Package("app", "2.0", depends=("lib >=2",)), Package("lib", "2.0"), Package("free", "2.0"))

    def again(*conda: str, **changes: Any) -> tuple[Artifact, ...]:
        return solver.solve_conda(a_request(*conda, channels=[channel.url], **changes), silent)

    return channel, first, again


def test_preferred_versions_stay_where_the_requirements_allow(tmp_path: Path) -> None:
    _, first, again = preferred_and_newer(tmp_path)
    assert again("app", "free", preferred=first) == first
    assert names(again("app>=2", "free", preferred=first)) == {"app": "2.0", "lib": "2.0", "free": "1.0"}
    assert names(again("app", "free")) == {"app": "2.0", "lib": "2.0", "free": "2.0"}


def test_an_upgrade_of_one_package_holds_the_rest(tmp_path: Path) -> None:
    _, first, again = preferred_and_newer(tmp_path)
    rest = tuple(a for a in first if a.name != "free")
    held = frozenset({"app", "lib"})
    assert names(again("app", "free", preferred=rest, held=held)) == {"app": "1.0", "lib": "1.0", "free": "2.0"}
    with pytest.raises(SolveFailed) as caught:
        again("app>=2", "free", preferred=first, held=frozenset({"lib"}))
    assert caught.value.stable_code == "held_package"
    assert "lib 1.0" in caught.value.message


def test_what_is_held_stays_even_if_the_channel_has_dropped_it(tmp_path: Path) -> None:
    channel, first, again = preferred_and_newer(tmp_path)
    channel.remove(Package("lib", "1.0"))
    channel.index()
    found = again("app=1", "free", preferred=first, held=frozenset({"app", "lib"}))
    assert {a for a in found if a.name != "free"} == {a for a in first if a.name != "free"}


def test_what_is_held_on_another_platform_is_held_by_version(tmp_path: Path) -> None:
    channel = Channel(tmp_path / "channel").publish(*everywhere("numlib", "1.0"), *everywhere("numlib", "2.0", published=LATER))
    first = solved(tmp_path, "numlib=1", channels=[channel.url])
    request = a_request("numlib", channels=[channel.url], platform="linux/arm64", preferred=first, held=frozenset({"numlib"}))
    assert names(a_solver(tmp_path).solve_conda(request, silent)) == {"numlib": "1.0"}


# -- channel priority -----------------------------------------------------------------------------------------------------


def test_channel_priority_is_strict(tmp_path: Path) -> None:
    first = Channel(tmp_path / "first").publish(Package("x", "1.0"))
    second = Channel(tmp_path / "second").publish(Package("x", "2.0"), Package("y", depends=("x",)))
    channels = [first.url, second.url]
    assert names(solved(tmp_path, "x", "y", channels=channels)) == {"x": "1.0", "y": "1.0"}
    with pytest.raises(SolveFailed, match="a channel before that has the package too"):
        solved(tmp_path, "x>=2", channels=channels)
    assert names(solved(tmp_path, "x", channels=channels[::-1])) == {"x": "2.0"}


def test_a_requirement_may_choose_its_channel(tmp_path: Path) -> None:
    first = Channel(tmp_path / "first").publish(Package("x", "1.0"), Package("z"))
    second = Channel(tmp_path / "second").publish(Package("x", "2.0"))
    for spec in (f"{second.url}::x", f"x[channel='{second.url}']", f"{second.url}/linux-64::x", f"{second.url}::x>=2"):
        found = solved(tmp_path, spec, "z", channels=[first.url])
        assert {a.name: (a.version, a.source) for a in found} == {"x": ("2.0", "channel:#1"), "z": ("1.0", "channel:#0")}, spec


# -- a new release --------------------------------------------------------------------------------------------------------


def test_a_release_is_seen_at_once(tmp_path: Path) -> None:
    channel = Channel(tmp_path / "channel").publish(greeter("1.0", depends=()))
    with channel.serve() as server:
        assert names(solved(tmp_path, "greeter", channels=[server.url])) == {"greeter": "1.0"}
        channel.publish(greeter("1.1", depends=(), published=LATER))
        assert names(solved(tmp_path, "greeter", channels=[server.url])) == {"greeter": "1.1"}


def test_every_form_of_a_match_spec_reaches_the_solver(channel: Channel, tmp_path: Path) -> None:
    forms = [
        "numlib 1.2.0",
        "numlib=1.2",
        "numlib==1.2.0=0",
        "numlib 1.2.0 0",
        "numlib[version='>=1,<2',build=0]",
        "Numlib ~=1.2.0",
        "numlib 1.*|2.*",
    ]
    for form in forms:
        request = SolveRequest(an_environment(conda=[form], channels=[channel.url]), get_platform("linux/amd64"))
        assert names(a_solver(tmp_path).solve_conda(request, silent))["numlib"] == "1.2.0", form
