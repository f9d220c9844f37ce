"""Spark packages resolved in repositories on this machine."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
from tests.support.maven import MavenRepository, MavenServer, dependency_xml

from wardian.definition.environment import SparkSection
from wardian.digest import Digest
from wardian.errors import BadArchive, Denied, InvalidInput, SolveFailed, Unavailable
from wardian.events import silent
from wardian.lock.maven import MavenJarResolver
from wardian.lock.repositories import plan_repositories
from wardian.package.fetch import Fetcher
from wardian.package.hints import Hints
from wardian.package.store import PackageStore
from wardian.tools.http import Credentials, Http

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from wardian.lock.lock import Artifact


@pytest.fixture
def central(tmp_path: Path) -> MavenRepository:
    return MavenRepository(tmp_path / "central")


class House:
    """A resolver with a cache of its own; Maven Central is a directory of this machine."""

    def __init__(self, place: Path, central: str, **options: object) -> None:
        self.store = PackageStore(place / "packages")
        mirrors: Mapping[str, str] = options.pop("mirrors", {})  # type: ignore[assignment]
        configured: Mapping[str, str] = options.pop("configured", {})  # type: ignore[assignment]
        http = Http(timeout_s=5.0, mirrors=mirrors, **options)  # type: ignore[arg-type]
        self.resolver = MavenJarResolver(
            http=http, archives=Fetcher(self.store, http, Hints(place / "urls"), limit_bytes=1 << 20),
            configured={"central": central, **configured}, mirrors=mirrors, environ={"LOGIN": "user:word"},
        )  # fmt: skip

    def resolve(self, *packages: str, repositories: tuple[str, ...] = ()) -> tuple[Artifact, ...]:
        return self.resolver.resolve(SparkSection(packages, repositories), silent)


def test_transitive_jars_are_locked_by_digest_and_lie_in_the_cache(tmp_path: Path, central: MavenRepository) -> None:
    place = central.add(
        "com.acme:hello:1.0", "com.acme:deep:2.0", head="<licenses><license><name>MIT</name></license></licenses>"
    )
    central.add("com.acme:deep:2.0", classifier="linux")
    central.add("com.acme:deep:2.0")
    central.add("com.acme:top:1", "com.acme:hello:1.0", dependency_xml("com.acme:deep:2.0", classifier="linux"))
    house = House(tmp_path, central.url)
    found = house.resolve("com.acme:top:1")
    assert [(a.name, a.version, a.file, a.depends) for a in found] == [
        ("com.acme:top", "1", "top-1.jar", ("com.acme:deep", "com.acme:hello")),
        ("com.acme:hello", "1.0", "hello-1.0.jar", ("com.acme:deep",)),
        ("com.acme:deep", "2.0", "deep-2.0-linux.jar", ()),
        ("com.acme:deep", "2.0", "deep-2.0.jar", ()),
    ]
    hello = found[1]
    content = (place / "hello-1.0.jar").read_bytes()
    assert (hello.kind, hello.source, hello.license) == ("jar", "repository:central", "MIT")
    assert (hello.sha256, hello.size_bytes) == (Digest.of(content), len(content))
    kept = house.store.find(hello.sha256, hello.file)
    assert kept is not None
    assert kept.read_bytes() == content
    assert not any("://" in str(value) for a in found for value in a.as_document().values())


def test_a_definitions_own_repositories_come_first_in_order(tmp_path: Path, central: MavenRepository) -> None:
    first, second = MavenRepository(tmp_path / "first"), MavenRepository(tmp_path / "second")
    for repository in (central, first, second):
        repository.add("g:everywhere:1", members={"who": str(repository.directory)})
    second.add("g:second:1", "g:central:1")
    central.add("g:central:1")
    found = House(tmp_path, central.url).resolve(
        "g:everywhere:1", "g:second:1", repositories=(first.url, str(second.directory))
    )
    assert [a.source for a in found] == ["repository:#0", "repository:#1", "repository:central"]


def test_what_is_missing_is_named_with_all_that_was_asked_and_the_versions_there(
    tmp_path: Path, central: MavenRepository
) -> None:
    central.add("g:a:1", "g:b:9")
    central.add("g:b:1.9")
    central.add("g:b:1.10")
    own = MavenRepository(tmp_path / "own")
    house = House(tmp_path, central.url)
    with pytest.raises(SolveFailed) as raised:
        house.resolve("g:a:1", repositories=(own.url,))
    assert raised.value.stable_code == "spark_package_not_found"
    assert (
        raised.value.message
        == f"`g:b:9`, which g:a needs, is in none of the repositories; asked: {own.url}, central ({central.url})"
    )
    assert raised.value.hint == "there are the versions 1.9, 1.10"
    with pytest.raises(SolveFailed, match="`g:nowhere:1` is in none") as raised:
        house.resolve("g:nowhere:1")
    assert "`_2.12`" in str(raised.value.hint)


@pytest.mark.parametrize("version", ["LATEST", "1.0-SNAPSHOT"])
def test_a_version_that_moves_is_refused_in_the_section_itself(tmp_path: Path, central: MavenRepository, version: str) -> None:
    central.add(f"g:a:{version}")
    with pytest.raises(SolveFailed, match=rf"spark\.packages\[0\] needs `g:a` in the version `{version}`") as raised:
        House(tmp_path, central.url).resolve(f"g:a:{version}")
    assert raised.value.stable_code == "spark_version_range"


def test_a_pom_without_its_jar_names_the_file(tmp_path: Path, central: MavenRepository) -> None:
    central.add("g:a:1", jar=False)
    with pytest.raises(SolveFailed, match=r"`g:a:1` is in none of the repositories: there is no a-1\.jar"):
        House(tmp_path, central.url).resolve("g:a:1")


def test_a_jar_without_a_pom_is_taken_alone(tmp_path: Path, central: MavenRepository) -> None:
    (central.add("g:a:1") / "a-1.pom").unlink()
    assert [a.name for a in House(tmp_path, central.url).resolve("g:a:1")] == ["g:a"]


@pytest.mark.parametrize(("file", "kind"), [("a-1.pom", "sha1"), ("a-1.jar", "sha1"), ("a-1.jar", "sha256")])
def test_a_file_that_is_not_what_its_checksum_says_is_refused(
    tmp_path: Path, central: MavenRepository, file: str, kind: str
) -> None:
    place = central.add("g:a:1")
    (place / f"{file}.{kind}").write_text(hashlib.new(kind, b"something else").hexdigest() + f"  {file}\n")
    with pytest.raises(BadArchive, match=file.replace(".", r"\.")) as raised:
        House(tmp_path, central.url).resolve("g:a:1")
    assert raised.value.stable_code == "wrong_digest"


def test_checksums_are_read_where_they_are_offered(tmp_path: Path, central: MavenRepository) -> None:
    place = central.add("g:a:1", checksums=("sha256", "sha1"))
    (place / "a-1.jar.sha256").write_text("<html>no such page</html>")  # a server that answers everything offers none
    said = hashlib.sha1((place / "a-1.jar").read_bytes(), usedforsecurity=False).hexdigest()
    (place / "a-1.jar.sha1").write_text(f"SHA1(a-1.jar)= {said.upper()}\n")
    assert len(House(tmp_path, central.url).resolve("g:a:1")) == 1


def test_what_is_no_jar_is_refused(tmp_path: Path, central: MavenRepository) -> None:
    place = central.add("g:a:1", checksums=())
    (place / "a-1.jar").write_bytes(b"<html>sign in</html>")
    with pytest.raises(BadArchive, match=r"a-1\.jar") as raised:
        House(tmp_path, central.url).resolve("g:a:1")
    assert raised.value.stable_code == "not_an_archive"


def test_over_http_with_a_stored_login_a_mirror_and_a_variable(tmp_path: Path, central: MavenRepository) -> None:
    central.add("g:a:1", "g:b:1")
    central.add("g:b:1")
    with MavenServer(central, user="user", password="word") as server:
        with pytest.raises(Denied, match=r"`g:a:1` is wanted, and central .* cannot be asked"):
            House(tmp_path / "0", server.url).resolve("g:a:1")
        stored = House(tmp_path / "1", server.url, credentials=lambda _url: Credentials("user", "word"))
        assert len(stored.resolve("g:a:1")) == 2
        written = server.url.replace("http://", "http://${LOGIN}@")
        found = House(tmp_path / "2", "file:///nowhere").resolve("g:a:1", repositories=(written,))
        assert [a.source for a in found] == ["repository:#0"] * 2
    with MavenServer(central) as server:
        mirrored = House(
            tmp_path / "4", "https://maven.example.org/maven", mirrors={"https://maven.example.org": server.root_url}
        )
        assert [a.source for a in mirrored.resolve("g:a:1")] == ["repository:central"] * 2
        assert all(request.path.startswith("/maven/g/") for request in server.requests)


def test_a_repository_that_cannot_say_is_an_error_never_not_there(tmp_path: Path, central: MavenRepository) -> None:
    central.add("g:a:1")
    with MavenServer(MavenRepository(tmp_path / "own")) as server:
        url = server.url
    with pytest.raises(Unavailable, match=f"`g:a:1` is wanted, and {url} cannot be asked"):
        House(tmp_path, central.url).resolve("g:a:1", repositories=(url,))


def test_offline_a_directory_is_read_and_nothing_else(tmp_path: Path, central: MavenRepository) -> None:
    own = MavenRepository(tmp_path / "own")
    own.add("g:a:1")
    house = House(tmp_path, "https://maven.example.org", offline=True)
    assert len(house.resolve("g:a:1", repositories=(own.url,))) == 1
    with pytest.raises(Unavailable, match=r"`g:b:1` is not in file:.*, and central .* cannot be asked: .* offline") as raised:
        house.resolve("g:b:1", repositories=(own.url,))
    assert raised.value.stable_code == "offline"


def test_the_platforms_of_one_go_ask_once(tmp_path: Path, central: MavenRepository) -> None:
    central.add("g:a:1")
    with MavenServer(central) as server:
        house = House(tmp_path, server.url)
        first = house.resolve("g:a:1")
        seen = len(server.requests)
        assert house.resolve("g:a:1") == first
        assert len(server.requests) == seen


def test_repositories_by_name_by_url_and_wrong_ones() -> None:
    def plan(*texts: str, **configured: str) -> list[tuple[str, str]]:
        found = plan_repositories(SparkSection((), texts), configured=configured, mirrors={}, environ={"HOST": "h.example"})
        return [(one.alias, one.url) for one in found]

    maven = ("central", "https://repo1.maven.org/maven2")
    assert plan() == [maven]
    assert plan("spark-packages", "https://${HOST}/r/") == [
        ("spark-packages", "https://repos.spark-packages.org"), ("#1", "https://h.example/r"), maven,
    ]  # fmt: skip
    assert plan("https://repo1.maven.org/maven2/", "/srv/maven") == [maven, ("#1", "file:///srv/maven")]
    assert plan("ours", ours="https://h.example/r", central="https://h.example/c") == [
        ("ours", "https://h.example/r"), ("central", "https://h.example/c"),
    ]  # fmt: skip
    for wrong, code in (
        ("theirs", "unknown_repository"),
        ("ftp://h/r", "bad_repository"),
        ("./maven", "unknown_repository"),
        ("https://${NO}/", "unset_variable"),
    ):
        with pytest.raises(InvalidInput) as raised:
            plan(wrong)
        assert raised.value.stable_code == code
