"""The checks of `doctor`, one by one: what is well, what is not, and what hangs."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.index import Index
from tests.support.server import DirectoryServer
from tests.support.wheels import make_wheel

from wardian.bootstrap import Parts
from wardian.digest import Digest
from wardian.errors import Unavailable
from wardian.events import silent
from wardian.prefix.cache import Ready
from wardian.sdk import checks_machine, checks_outside
from wardian.sdk.doctor import FAILED, OK, WARNING, Check, examine, run_checks
from wardian.settings import Settings
from wardian.tools.disk import FileLock

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    return Parts(Settings(home=tmp_path / "home", cache=tmp_path / "cache", offline=True))


def with_settings(parts: Parts, **changes: object) -> Parts:
    return Parts(replace(parts.settings, **changes), environ=parts.environ)  # type: ignore[arg-type]


# -- how checks are run ------------------------------------------------------------------------------------------------


def test_checks_run_side_by_side_and_answer_in_order(parts: Parts) -> None:
    met = threading.Barrier(2, timeout=30)  # each waits for the other: one after the other, neither would end

    def first(_parts: Parts) -> Check:
        met.wait()
        return Check("first", OK, "")

    def second(_parts: Parts) -> Check:
        met.wait()
        return Check("second", WARNING, "")

    assert [c.name for c in run_checks({"first": first, "second": second}, parts, deadline_s=60)] == ["first", "second"]


def test_what_hangs_holds_up_nobody_and_has_failed_if_it_is_our_own(parts: Parts) -> None:
    for_ever = threading.Event()

    def hangs(_parts: Parts) -> Check:
        for_ever.wait()
        return Check("hangs", OK, "")

    started = time.monotonic()
    met = threading.Event()

    def quick(_parts: Parts) -> Check:
        met.set()
        return Check("quick", OK, "here")

    found = run_checks({"records": hangs, "interpreters": hangs}, parts, deadline_s=0.2)
    run_checks({"hangs": hangs, "quick": quick}, parts, deadline_s=0.2)
    assert met.wait(60)
    for_ever.set()
    assert time.monotonic() - started < 60
    assert [(c.name, c.state) for c in found] == [("records", FAILED), ("interpreters", WARNING)]
    assert found[0].found == "no answer within 0.2 s"
    assert found[0].what_to_do


def test_an_error_is_a_result_and_a_bug_is_a_bug(parts: Parts) -> None:
    def errs(_parts: Parts) -> Check:
        raise Unavailable("nobody\nis there", hint="try again")

    def refused(_parts: Parts) -> Check:
        raise PermissionError(13, "Permission denied", "/place")

    found = run_checks({"errs": errs, "refused": refused}, parts, deadline_s=30)
    assert [(c.state, c.found, c.what_to_do) for c in found] == [
        (FAILED, "nobody is there", "try again"), (FAILED, "Permission denied: /place", ""),
    ]  # fmt: skip

    def slow_tool(_parts: Parts) -> Check:
        raise subprocess.TimeoutExpired(["git"], 4)

    assert run_checks({"git": slow_tool}, parts, deadline_s=30)[0].state == WARNING

    def bug(_parts: Parts) -> Check:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_checks({"bug": bug}, parts, deadline_s=30)


def test_everything_at_once_on_a_fresh_machine(parts: Parts) -> None:
    found = {check.name: check for check in examine(parts, deadline_s=300)}
    assert list(found) == [
        "versions", "machine", "settings", "home", "cache", "hard_links", "locks", "isolation", "records", "leftovers",
        "interpreters", "indexes", "channels", "git", "engines", "registries", "targets",
    ]  # fmt: skip
    assert {check.state for check in found.values()} <= {OK, WARNING}
    assert "skipped" in found["indexes"].found
    assert not parts.settings.home.exists(), "looking makes no home"


# -- this machine ------------------------------------------------------------------------------------------------------


def test_versions_are_those_that_are_installed(parts: Parts) -> None:
    from importlib.metadata import version

    found = checks_machine.versions(parts).found
    assert f"uv {version('uv')}" in found
    assert f"py-rattler {version('py-rattler')}" in found


def test_a_broken_file_of_settings_has_failed(parts: Parts) -> None:
    assert checks_machine.settings(parts).state == OK
    parts.settings.home.mkdir()
    file = parts.settings.home / "config.toml"
    file.write_text("timeout_s = 5\n")
    assert checks_machine.settings(parts) == Check("settings", OK, str(file))
    file.write_text("timeout_s =\n")
    found = checks_machine.settings(parts)
    assert (found.state, str(file) in found.found) == (FAILED, True)
    assert found.what_to_do == "mend the file by hand; what follows was looked at with the defaults, offline"


def test_a_home_that_is_still_to_be_made_is_well_but_not_below_a_file(parts: Parts, tmp_path: Path) -> None:
    assert checks_machine.home(parts).state == OK
    assert "to be made" in checks_machine.home(parts).found
    (tmp_path / "file").write_text("")
    found = checks_machine.home(with_settings(parts, home=tmp_path / "file" / "home"))
    assert (found.state, f"{tmp_path}/file is not a directory" in found.found) == (FAILED, True)


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind root")
def test_a_home_that_cannot_be_written_to_has_failed(parts: Parts, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    found = checks_machine.home(with_settings(parts, home=closed))
    assert (found.state, "WARDIAN_HOME" in found.what_to_do) == (FAILED, True)


def test_a_read_only_place_has_failed(parts: Parts) -> None:
    found = checks_machine.home(with_settings(parts, home=Path("/proc/sys")))  # nobody, root included, makes files there
    assert found.state == FAILED
    assert "cannot be written to" in found.found
    assert "WARDIAN_HOME" in found.what_to_do


def test_a_cache_path_that_is_too_long_for_programs_has_failed(parts: Parts, tmp_path: Path) -> None:
    found = run_checks({"cache": checks_machine.cache}, with_settings(parts, cache=tmp_path / ("x" * 200)), deadline_s=30)
    assert found[0].state == FAILED
    assert "at most 200" in found[0].found
    assert "WARDIAN_CACHE" in found[0].what_to_do


def test_locks_and_links_work_here_and_leave_nothing(parts: Parts) -> None:
    parts.settings.home.mkdir()
    parts.cache.mkdir()
    assert checks_machine.locks(parts).state == OK
    assert checks_machine.links(parts).state in (OK, WARNING)
    assert list(parts.cache.iterdir()) == list(parts.settings.home.iterdir()) == []


def test_records_sound_missing_and_damaged(parts: Parts) -> None:
    assert checks_machine.records(parts).found.startswith("none yet")
    path = parts.database.path
    parts.environments  # noqa: B018 - the tables are there
    assert checks_machine.records(parts).state == OK
    parts.database.close()
    with path.open("r+b") as stream:
        stream.seek(4096)
        stream.write(os.urandom(8192))
    found = run_checks({"records": checks_machine.records}, Parts(parts.settings), deadline_s=30)
    assert found[0].state == FAILED
    assert str(path) in found[0].found
    assert "recover" in found[0].what_to_do


def test_a_workspace_that_is_not_there_has_failed(parts: Parts) -> None:
    found = run_checks({"records": checks_machine.records}, with_settings(parts, workspace="paper"), deadline_s=30)
    assert (found[0].state, "`paper`" in found[0].found) == (FAILED, True)


def test_leftovers_are_counted_and_what_is_at_work_is_none(parts: Parts) -> None:
    assert checks_machine.leftovers(parts) == Check("leftovers", OK, "none")
    root = parts.prefixes.root
    (root / ("0" * 32)).mkdir(parents=True)
    (root / ("1" * 32)).mkdir()
    (root / "trash" / "grave").mkdir(parents=True)
    download = parts.packages.root / "tmp" / "1.x"
    download.mkdir(parents=True)
    os.utime(download, (1, 1))
    key = Digest.of(b"ready")
    parts.prefixes.ensure(key, lambda _path: Ready(key=key), silent)
    with FileLock(root / "locks" / f"{'1' * 32}.install"):
        found = checks_machine.leftovers(parts)
    assert found.state == WARNING
    assert found.found == "1 unfinished prefix, 1 half-removed tree, 1 broken-off download"
    assert "wardian gc --apply" in found.what_to_do


# -- outside -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    place = tmp_path / "wheels"
    place.mkdir()
    return make_wheel(place, "pip", "99.0")


def _indexes(parts: Parts, url: str, **more: str) -> Check:
    return checks_outside.indexes(with_settings(parts, offline=False, indexes={"pypi": url, **more}))


def test_an_index_that_answers(parts: Parts, index: Index, wheel: Path) -> None:
    index.add(wheel)
    assert _indexes(parts, index.url) == Check("indexes", OK, f"pypi answers ({index.url})")


def test_an_index_without_what_all_have_may_be_none(parts: Parts, index: Index) -> None:
    found = _indexes(parts, index.url)
    assert (found.state, "is it the URL of a simple index?" in found.found) == (WARNING, True)


def test_one_that_is_gone_is_named_beside_one_that_answers(parts: Parts, index: Index, wheel: Path) -> None:
    index.add(wheel)
    with Index(index.directory.parent / "gone") as gone:
        url = gone.url
    found = _indexes(parts, index.url, corp=url)
    assert found.state == FAILED
    assert f"pypi answers ({index.url})" in found.found
    assert f"corp does not answer ({url})" in found.found
    assert "HTTPS_PROXY" in found.what_to_do


def test_an_index_that_wants_a_login_gets_it_from_the_secrets(parts: Parts, tmp_path: Path, wheel: Path) -> None:
    with Index(tmp_path / "private", user="ci", password="pa55word") as private:
        private.add(wheel)
        found = _indexes(parts, private.url)
        assert found.state == FAILED
        assert "wants a login" in found.found
        assert "wardian secret set" in found.found
        _ = parts.database
        parts.secrets.set("team", "pa55word", kind="index", url=private.url, username="ci")
        assert _indexes(parts, private.url).state == OK


def test_an_index_that_never_answers_does_not_hold_up_for_long(parts: Parts, index: Index) -> None:
    gate = threading.Event()
    index.fail("*", hold=gate)
    found = run_checks({"indexes": lambda p: _indexes(p, index.url)}, parts, deadline_s=1.0)
    gate.set()
    assert found[0].found == "no answer within 1 s"


@pytest.fixture
def channel(tmp_path: Path) -> Iterator[DirectoryServer]:
    noarch = tmp_path / "channel" / "noarch"
    noarch.mkdir(parents=True)
    (noarch / "repodata.json").write_text('{"packages": {}}')
    with DirectoryServer(tmp_path / "channel") as server:
        yield server


def test_channels(parts: Parts, channel: DirectoryServer) -> None:
    assert "none configured" in checks_outside.channels(parts).found
    online = with_settings(parts, offline=False, channels={"ours": channel.url})
    assert checks_outside.channels(online) == Check("channels", OK, f"ours answers ({channel.url})")
    assert "skipped" in checks_outside.channels(with_settings(online, offline=True)).found
    found = checks_outside.channels(with_settings(online, channels={"ours": channel.url, "wrong": f"{channel.url}/nothing"}))
    assert found.state == FAILED
    assert "wrong: " in found.found
    assert f"ours answers ({channel.url})" in found.found


def test_programs_are_looked_for_on_the_callers_path(parts: Parts, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    nothing = Parts(parts.settings, environ={"PATH": str(tmp_path / "bin")})
    assert checks_outside.git(nothing).state == WARNING
    assert checks_outside.engines(nothing).found.startswith("none")
    (tmp_path / "bin" / "podman").write_text("#!/bin/sh\necho no storage >&2; exit 125\n")
    (tmp_path / "bin" / "podman").chmod(0o755)
    broken = checks_outside.engines(nothing)
    assert (broken.state, "no storage" in broken.found) == (WARNING, True)
    assert "local runs need none" in broken.what_to_do


def test_registries_are_asked_as_a_look_up_would(parts: Parts, tmp_path: Path) -> None:
    assert checks_outside.registries(parts).found.startswith("none configured")
    online = with_settings(parts, offline=False, registry=f"oci:{tmp_path / 'shared'}", global_registry="127.0.0.1:1/envs")
    found = checks_outside.registries(online)
    assert found.state == FAILED
    assert f"registry answers (oci:{tmp_path / 'shared'})" in found.found
    assert "global_registry: 127.0.0.1:1" in found.found
    assert "skipped" in checks_outside.registries(with_settings(online, offline=True)).found


def test_interpreters_of_the_machine_are_named(parts: Parts, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3").symlink_to(Path(sys.executable).resolve())
    found = checks_outside.interpreters(Parts(parts.settings, environ={"PATH": str(tmp_path / "bin")}))
    assert found.state == OK
    assert platform.python_version() in found.found


def test_shims_are_not_started_but_what_they_stand_for(tmp_path: Path) -> None:
    versions = tmp_path / "versions"
    for version in ("3.11.7", "3.13.0"):
        (versions / version / "bin").mkdir(parents=True)
    environ = {"PATH": f"/usr/bin:{tmp_path}/shims:/opt/shims"}
    assert checks_outside.without_shims(environ) == "/usr/bin:/opt/shims"
    (tmp_path / "version").write_text("3.13.0\nsystem\n")
    assert checks_outside.without_shims(environ) == f"/usr/bin:{versions}/3.13.0/bin:/opt/shims"
    environ["PYENV_VERSION"] = "3.11.7:3.13.0"
    assert checks_outside.without_shims(environ) == f"/usr/bin:{versions}/3.11.7/bin:{versions}/3.13.0/bin:/opt/shims"
