"""conda packages linked for an image: what their layers are made of, whatever they are linked with."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.conda_channel import (
    PLACEHOLDER,
    Channel,
    File,
    Package,
    clobbering,
    greeter,
    has_compiler,
    native,
    python_package,
    standard_channel,
)
from tests.support.conda_solving import archives_in, solved

from wardian.digest import Digest, canonical_json
from wardian.errors import BadArchive, InstallFailed
from wardian.events import silent
from wardian.image.conda_entries import LinkedPackage, PackageFacts, missing_loaders
from wardian.image.conda_staging import staged, staging_prefix

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from wardian.image.entry import Entry
    from wardian.lock.lock import Artifact

MINOR = f"python{sys.version_info.major}.{sys.version_info.minor}"
SITE = f"opt/env/lib/{MINOR}/site-packages"


@pytest.fixture(scope="module")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Channel:
    return standard_channel(tmp_path_factory.mktemp("channel"))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


@contextlib.contextmanager
def linked(
    artifacts: Sequence[Artifact], channel: Channel, place: Path, python: Artifact | None = None, **changes: Any
) -> Iterator[dict[str, LinkedPackage]]:
    values: dict[str, Any] = {"place": place / "staging", "package_cache": place / "cache", "link_scripts": "refuse"}
    python = python or next((a for a in artifacts if a.name == "python"), None)
    archives = archives_in(channel, artifacts)
    with staged(artifacts, archives, python=python, listener=silent, **{**values, **changes}) as found:
        yield {package.artifact.name: package for package in found.values()}


def content(entry: Entry) -> bytes:
    assert entry.open_content is not None
    with entry.open_content() as stream:
        return stream.read()


def exact(package: LinkedPackage) -> tuple[object, ...]:
    """Everything that an image sees of a package."""
    entries = [
        (e.path, e.kind, e.size_bytes, e.executable, e.target, content(e) if e.kind == "file" else b"") for e in package.entries
    ]
    return (entries, canonical_json(package.facts.as_document()))


def by_path(package: LinkedPackage) -> dict[str, Entry]:
    return {entry.path: entry for entry in package.entries}


def one(channel: Channel, place: Path, package: Package, **changes: Any) -> tuple[object, ...]:
    """Publish and link one package; return everything of it."""
    channel.publish(package)
    artifacts = [a for a in solved(place, package.name, channels=[channel.url]) if a.name == package.name]
    with linked(artifacts, channel, place, **changes) as found:
        return exact(found[package.name])


# -- what the entries are ------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not has_compiler(), reason="gcc is missing: apt-get install gcc")
def test_the_images_path_is_in_programs_and_texts_and_nowhere_this_machines(channel: Channel, place: Path) -> None:
    with linked(solved(place, "hello-native", channels=[channel.url]), channel, place) as found:
        entries = by_path(found["hello-native"])
        program, text = entries["opt/env/bin/hello-native"], entries["opt/env/share/hello-native/where.txt"]
        assert content(text) == b"root=/opt/env/share\n"
        assert (program.executable, text.executable) == (True, False)
        assert subprocess.run([os.fspath(place / "p")], executable=_written(place / "p", content(program)), capture_output=True,
                              check=True).stdout == b"/opt/env\n"  # fmt: skip
        assert (entries["opt/env/lib/libhello.so"].kind, entries["opt/env/lib/libhello.so"].target) == ("link", "libhello.so.1")
        assert len(content(program)) == program.size_bytes == len(native_program())
        everything = b"".join(content(e) for e in entries.values() if e.kind == "file")
        everything += canonical_json(found["hello-native"].facts.as_document())
    assert os.fsencode(place) not in everything
    assert PLACEHOLDER.encode() not in content_without_facts(everything)


def native_program() -> bytes:
    program = native().files["bin/hello-native"]
    assert isinstance(program, File)
    return program.content


def content_without_facts(everything: bytes) -> bytes:
    return everything.partition(b'{"executables"')[0]


def _written(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    path.chmod(0o755)
    return os.fspath(path)


def test_a_noarch_package_lies_where_the_python_of_the_environment_looks(channel: Channel, place: Path) -> None:
    artifacts = solved(place, "greeter", channels=[channel.url])
    with linked(artifacts, channel, place) as found:
        entries = by_path(found["greeter"])
        assert f"{SITE}/greeter/__init__.py" in entries
        assert content(entries["opt/env/bin/greet"]).startswith(f"#!/opt/env/bin/{MINOR}\n".encode())
        assert entries["opt/env/bin/greet"].executable
        assert entries["opt/env/bin/greet-script"].executable


def test_a_noarch_package_needs_no_archive_of_python(channel: Channel, place: Path, tmp_path: Path) -> None:
    artifacts = solved(place, "greeter", channels=[channel.url])
    python = next(a for a in artifacts if a.name == "python")
    with linked(artifacts, channel, place) as found:
        together = exact(found["greeter"])
    with linked([a for a in artifacts if a.name == "greeter"], channel, tmp_path, python) as found:
        assert exact(found["greeter"]) == together
        assert list(found) == ["greeter"]
    free_threading = replace(python, site_packages_path="lib/python3.13t/site-packages", version="3.13.1")
    with linked([a for a in artifacts if a.name == "greeter"], channel, tmp_path, free_threading) as found:
        assert "opt/env/lib/python3.13t/site-packages/greeter/__init__.py" in by_path(found["greeter"])
        assert content(by_path(found["greeter"])["opt/env/bin/greet"]).startswith(b"#!/opt/env/bin/python3.13\n")


def test_byte_code_that_came_with_its_source_is_left_out(tmp_path: Path) -> None:
    names = ["lib/a.py", "lib/__pycache__/a.cpython-311.pyc", "lib/__pycache__/a.cpython-311.opt-1.pyc", "lib/a.pyc",
             "lib/__pycache__/only.cpython-311.pyc", "lib/alone.pyc", "lib/x/__pycache__/a.cpython-313t.pyc"]  # fmt: skip
    package = Package("pyc", files=dict.fromkeys(names, "x"))
    entries, facts = one(Channel(tmp_path / "channel"), tmp_path, package)
    kept = ["lib/__pycache__/only.cpython-311.pyc", "lib/a.py", "lib/alone.pyc", "lib/x/__pycache__/a.cpython-313t.pyc"]
    assert [e[0].removeprefix("opt/env/") for e in entries] == kept  # type: ignore[attr-defined]
    assert [p["_path"] for p in PackageFacts.from_document(json.loads(facts)).paths] == kept  # type: ignore[arg-type]


def test_facts_come_back_from_json(channel: Channel, place: Path) -> None:
    with linked(
        solved(place, "activating", "scripted", "greeter", channels=[channel.url]), channel, place, link_scripts="run"
    ) as found:
        for package in found.values():
            kept = json.loads(canonical_json(package.facts.as_document()))
            again = PackageFacts.from_document(kept)
            assert canonical_json(again.as_document()) == canonical_json(package.facts.as_document())
        assert list(found["activating"].facts.activation or ()) == ["etc/conda/activate.d/activating.sh"]
        assert found["scripted"].facts.link_scripts == ("bin/.scripted-post-link.sh",)
        assert found["greeter"].facts.executables == ("bin/greet", "bin/greet-script")


# -- pure functions of the package ---------------------------------------------------------------------------------------


def test_every_package_is_the_same_whatever_it_is_linked_with(tmp_path: Path) -> None:
    third = Package("clobber-c", depends=("clobber-b", "python"), files={"share/clobbered.txt": File(b"from c\n", executable=True),
                    f"lib/{MINOR}/site-packages/greeter/__init__.py": "mine\n", "bin/greet": File(link="elsewhere")})  # fmt: skip
    where = Package("where", files={"share/clobbered.txt": File(f"{PLACEHOLDER}\n".encode(), placeholder="text")})
    channel = Channel(tmp_path / "channel").publish(python_package(), greeter(), *clobbering(), third, where)
    artifacts = {a.name: a for a in solved(tmp_path, "clobber-c", "greeter", "where", channels=[channel.url])}
    python = artifacts.pop("python")
    alone: dict[str, tuple[object, ...]] = {}
    for count in range(1, 6):
        for chosen in itertools.combinations(artifacts.values(), count):
            with linked(chosen, channel, tmp_path, python) as found:
                for name, package in found.items():
                    assert exact(package) == alone.setdefault(name, exact(package)), (name, [a.name for a in chosen])
    assert len(alone) == 5
    assert b"/opt/env\n" in [entry[5] for entry in alone["where"][0]]  # type: ignore[attr-defined]


def test_another_place_other_permissions_and_copies_make_no_difference(channel: Channel, place: Path, tmp_path: Path) -> None:
    artifacts = solved(place, "greeter", "numlib", "old-format", channels=[channel.url])
    with linked(artifacts, channel, place) as found:
        first = {name: exact(package) for name, package in found.items()}
    old = os.umask(0o077)
    try:
        with linked(artifacts[::-1], channel, tmp_path / "ä place") as found:
            assert {name: exact(package) for name, package in found.items()} == first
    finally:
        os.umask(old)


def test_packages_for_another_platform_are_linked_here(channel: Channel, place: Path, tmp_path: Path) -> None:
    here = solved(place, "greeter", "numlib", channels=[channel.url])
    there = solved(place, "greeter", "numlib", channels=[channel.url], platform="linux/arm64")
    assert {a.subdir for a in there} == {"linux-aarch64", "noarch"}
    with linked(here, channel, place) as found:
        expected = exact(found["greeter"])
    with linked(there, channel, tmp_path) as found:
        assert exact(found["greeter"]) == expected
        assert [entry.path for entry in found["numlib"].entries] == ["opt/env/share/numlib"]


def test_nothing_is_staged_that_belongs_to_no_package(channel: Channel, place: Path, tmp_path: Path) -> None:
    artifacts = solved(place, "greeter", "clobber-b", "activating", channels=[channel.url])
    with linked(artifacts, channel, tmp_path) as found:
        (prefix,) = tmp_path.glob("staging/*/together")
        theirs = {entry.path.removeprefix("opt/env/") for package in found.values() for entry in package.entries}
        there = {str(path.relative_to(prefix)) for path in prefix.rglob("*") if path.is_symlink() or not path.is_dir()}
        ours = {path for path in there if not path.startswith(("conda-meta/", "__clobbers__/"))} - {"CACHEDIR.TAG"}
        assert ours == theirs
    assert not list((tmp_path / "staging").iterdir())


# -- what is refused -----------------------------------------------------------------------------------------------------


def test_a_link_script_is_refused_before_anything_is_linked(channel: Channel, place: Path, tmp_path: Path) -> None:
    artifacts = solved(place, "scripted", "numlib", channels=[channel.url])
    with pytest.raises(InstallFailed, match=r"scripted 1\.0 has a link script"), linked(artifacts, channel, tmp_path):
        pytest.fail("it was linked")
    with linked(artifacts, channel, tmp_path, link_scripts="run") as found:
        assert [e.path for e in found["scripted"].entries] == ["opt/env/bin/.scripted-post-link.sh", "opt/env/share/scripted"]


def test_a_path_that_is_too_long_for_a_placeholder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.support.conda_channel.PLACEHOLDER", "/abc")
    package = Package("short", files={"bin/x": File(b"\0ELF /abc/lib\0", executable=True, placeholder="binary")})
    with pytest.raises(InstallFailed, match=r"`/opt/env` does not fit.*short-1\.0-0\.conda.*bin/x") as caught:
        one(Channel(tmp_path / "channel"), tmp_path, package)
    assert caught.value.stable_code == "placeholder_too_short"


def test_an_archive_that_has_changed_is_refused(tmp_path: Path) -> None:
    channel = Channel(tmp_path / "channel").publish(Package("x", files={"share/x": "x"}))
    artifacts = [replace(a, sha256=Digest("0" * 64)) for a in solved(tmp_path, "x", channels=[channel.url])]
    with pytest.raises(BadArchive) as caught, linked(artifacts, channel, tmp_path):
        pytest.fail("it was linked")
    assert caught.value.stable_code == "wrong_digest"


def test_paths_that_lead_out_of_the_staging_prefix_are_refused(tmp_path: Path) -> None:
    package = Package("evil", files={"share/x": "x"}, paths=({"_path": "../../evil", "path_type": "hardlink"},))
    with pytest.raises(BadArchive, match=r"\.\./\.\./evil") as caught:
        one(Channel(tmp_path / "channel"), tmp_path, package)
    assert caught.value.stable_code == "unsafe_path"
    assert not list((tmp_path / "staging").iterdir())


# -- what is left behind -------------------------------------------------------------------------------------------------


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_uses_is_not(tmp_path: Path) -> None:
    code = """if True:
        import pathlib, sys
        from wardian.image.conda_staging import staging_prefix
        with staging_prefix(pathlib.Path(sys.argv[1])) as prefix:
            (prefix / "x").touch()
            print(prefix, flush=True)
            sys.stdin.read()"""
    with subprocess.Popen(
        [sys.executable, "-c", code, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        left = tmp_path / other.stdout.readline().strip()
        with staging_prefix(tmp_path) as mine:
            assert (left / "x").exists()
        other.send_signal(signal.SIGKILL)
    assert left.exists()
    with staging_prefix(tmp_path) as mine:
        assert [path for path in tmp_path.iterdir() if path.is_dir()] == [mine]
    assert list(tmp_path.iterdir()) == []


# -- images without a base -----------------------------------------------------------------------------------------------


@pytest.mark.skipif(not has_compiler(), reason="gcc is missing: apt-get install gcc")
def test_the_loader_that_no_package_brings_is_named(tmp_path: Path) -> None:
    inside = "/opt/env/lib/ld.so"
    program = tmp_path / "program"
    link = ["-nostdlib", "-Wl,-e,main", f"-Wl,--dynamic-linker={inside}", "-lc"]
    subprocess.run(["gcc", "-xc", "-", "-o", program, *link], input=b"int main(void) { return 0; }", check=True)
    own = Package(
        "own",
        files={"bin/own": File(program.read_bytes(), executable=True), "bin/script": File(b"#!/bin/sh\n", executable=True)},
    )
    channel = Channel(tmp_path / "channel").publish(native(), own, Package("ld", files={"lib/ld.so": "not really"}))
    with linked(solved(tmp_path, "hello-native", "own", "ld", channels=[channel.url]), channel, tmp_path) as found:
        facts = {name: (package.artifact, package.facts) for name, package in found.items()}
    (loader,) = set(missing_loaders(facts.values())) - {inside}
    assert loader.startswith("/lib")
    assert missing_loaders(facts.values())[loader] == ("hello-native", "bin/hello-native")
    assert missing_loaders([facts["own"]]) == {inside: ("own", "bin/own")}
    assert missing_loaders([facts["own"], facts["ld"]]) == {}
