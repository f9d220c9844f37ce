"""The contract of carriers: files come to nodes and back, whole or not at all, and nothing leads out."""

from __future__ import annotations

import os
import shutil
import stat
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.registry import DockerRegistry, why_not

from wardian.bootstrap_images import node_store
from wardian.digest import Digest
from wardian.errors import Denied, DiskFull, InvalidInput, NotFound, Unavailable
from wardian.image.compression import Compression
from wardian.image.oci import Descriptor
from wardian.image.registry_auth import RegistryLogin
from wardian.run.configuration import Command
from wardian.run.node.homeward import Homeward, fetch
from wardian.run.node.place import NodePlace
from wardian.run.node.sheet import Sheet
from wardian.run.targets.kubernetes_secrets import PodSecrets
from wardian.run.targets.pod_directory import PodDirectory
from wardian.run.targets.registry_carrier import RegistryCarrier
from wardian.run.targets.shared_directory import SharedDirectory
from wardian.run.targets.ssh_carrier import SshCarrier
from wardian.sdk.kubernetes_way import login_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.support.sshd import Sshd

    from wardian.run.targets.remote import Carrier


ONE = f"packages/{Digest.of(b'one')}/x"


class Kept(PodSecrets):
    """What a cluster would keep in Secret objects."""

    def __init__(self) -> None:
        self.content: dict[str, Mapping[str, bytes]] = {}

    def keep(self, key: str, content: Mapping[str, bytes]) -> None:
        self.content.setdefault(key, content)

    def remove(self, key: str) -> None:
        self.content.pop(key, None)


@dataclass
class Node:
    """A node that sees what is brought, as the shared directory and ssh have it: at once."""

    carrier: Carrier
    root: Path

    def sees(self) -> None:
        """Have what was brought to runs below ``root``."""

    def leaves(self) -> None:
        """Leave what is there."""

    def content(self, path: str) -> bytes:
        return (self.root / path).read_bytes()

    def names(self, path: str) -> list[str]:
        return [one.name for one in (self.root / path).iterdir()]

    def private(self, path: str) -> bytes:
        assert stat.S_IMODE((self.root / path).stat().st_mode) == 0o600
        assert stat.S_IMODE((self.root / path).parent.stat().st_mode) & 0o077 == 0
        return self.content(path)


@dataclass
class Pod(Node):
    """A pod with a directory of its own: the agent's own code brings files there and back."""

    carrier: RegistryCarrier
    kept: Kept

    def sees(self) -> None:
        agent = self.root.parent / "agent"
        agent.mkdir(parents=True, exist_ok=True)
        for tag in self.carrier.store.tags("r-"):
            shutil.rmtree(self.root / "runs" / tag[2:], ignore_errors=True)
            found = self.carrier.store.find(tag)
            assert found is not None
            fetch(self.carrier.store, f"sha256:{found.descriptor.digest}", self.root, agent)

    def leaves(self) -> None:
        for directory in (self.root / "runs").iterdir():
            home = Homeward(self.carrier.store, NodePlace(directory), Sheet(directory.name, Command("program", "true")))
            assert home.claim()
            home.leave()

    def content(self, path: str) -> bytes:
        digest = Digest(path.split("/")[1])
        size = self.carrier.store.size_of(digest)
        assert size is not None
        with self.carrier.store.open(Descriptor("", digest, size)) as stream:
            return stream.read()

    def names(self, path: str) -> list[str]:
        if path.startswith("packages"):
            return ["x"]
        self.sees()
        return super().names(path)

    def private(self, path: str) -> bytes:
        assert self.carrier.have([path]) == set()
        assert self.carrier.store.tags() == [], "nothing of it is in the registry"
        return self.kept.content["r"]["secrets.json"]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    if missing := why_not():
        pytest.fail(missing)
    with DockerRegistry(tmp_path_factory.mktemp("registry"), user="u", password="p") as running:
        yield running


@pytest.fixture
def node(carrier: Carrier, tmp_path: Path) -> Node:
    if isinstance(carrier, RegistryCarrier):
        assert isinstance(carrier._secrets, Kept)
        return Pod(carrier, tmp_path / "there" / "root", carrier._secrets)
    return Node(carrier, Path(carrier.root))


def through_registry(registry: DockerRegistry, place: Path) -> RegistryCarrier:
    """Return a carrier through a repository of its own."""
    place.mkdir()
    logins = place / "config.json"
    logins.write_bytes(login_file(registry.host, RegistryLogin(registry.user, registry.password)) or b"")
    store = node_store(f"{registry.host}/{Digest.of(os.fsencode(place))[:16]}/runs", {}, login=str(logins))
    return RegistryCarrier(
        store, Kept(), live=lambda *_: b"", is_over=lambda _: False, compression=Compression(), platform="linux/amd64", scratch=place / "scratch",
    )  # fmt: skip


@pytest.fixture(params=["shared directory", "directory of pods", "ssh", "registry"])
def carrier(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Carrier]:
    if request.param == "shared directory":
        yield SharedDirectory(tmp_path / "there" / "root")
        return
    if request.param == "directory of pods":
        owner = (4321, 1234) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
        yield PodDirectory(tmp_path / "there" / "root", *owner)
        return
    if request.param == "registry":
        yield through_registry(request.getfixturevalue("registry"), tmp_path / "here")
        return
    server: Sshd = request.getfixturevalue("sshd")
    with server.hosts() as hosts:
        yield SshCarrier(hosts, str(tmp_path / "there" / "root"))


@pytest.fixture
def there(node: Node) -> Path:
    """The root as this machine sees it: every carrier here leads to this machine."""
    return node.root


def a_file(path: Path, content: str | bytes = "content", mode: int = 0o644) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    path.chmod(mode)
    return str(path)


def a_tree(path: Path) -> str:
    a_file(path / "a.py", "print(1)\n")
    a_file(path / "bin/tool", "#!/bin/sh\n", 0o755)
    (path / "empty").mkdir()
    (path / "link").symlink_to("bin/tool")
    return str(path)


def test_files_and_directories_arrive_with_content_mode_and_links(
    carrier: Carrier, node: Node, there: Path, tmp_path: Path
) -> None:
    carrier.send({"runs/r1/sheet.json": a_file(tmp_path / "sheet"), "runs/r1/snapshot": a_tree(tmp_path / "tree")})
    node.sees()
    assert (there / "runs/r1/sheet.json").read_text() == "content"
    snapshot = there / "runs/r1/snapshot"
    assert os.access(snapshot / "bin/tool", os.X_OK)
    assert not os.access(snapshot / "a.py", os.X_OK) or os.geteuid() == 0
    assert str((snapshot / "link").readlink()) == "bin/tool"
    assert (snapshot / "empty").is_dir()


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 20_000])
def test_a_file_of_nothing_but_zeros_arrives_whole(carrier: Carrier, node: Node, tmp_path: Path, size: int) -> None:
    (tmp_path / "zeros").write_bytes(b"\0" * size)
    carrier.send({"runs/r/zeros": str(tmp_path / "zeros")})
    node.sees()
    assert (node.root / "runs/r/zeros").read_bytes() == b"\0" * size


def test_what_is_there_stays(carrier: Carrier, node: Node, there: Path, tmp_path: Path) -> None:
    carrier.send({ONE: a_file(tmp_path / "one", "one"), "runs/r/snapshot": a_tree(tmp_path / "tree")})
    a_file(tmp_path / "tree/more")
    carrier.send({ONE: a_file(tmp_path / "two", "two"), "runs/r/snapshot": str(tmp_path / "tree")})
    node.sees()
    assert node.content(ONE) == b"one"
    assert not (there / "runs/r/snapshot/more").exists()


def test_it_knows_what_is_there(carrier: Carrier, tmp_path: Path) -> None:
    other = f"packages/{Digest.of(b'other')}/x"
    assert carrier.have([ONE]) == set()
    carrier.send({ONE: a_file(tmp_path / "x", "one"), "runs/r/snapshot": a_tree(tmp_path / "tree")})
    assert carrier.have([ONE, other, "runs/r/snapshot", "runs/s/snapshot"]) == {ONE, "runs/r/snapshot"}


def test_what_is_private_is_for_its_owner_alone(carrier: Carrier, node: Node, tmp_path: Path) -> None:
    carrier.send({"runs/r/secrets.json": a_file(tmp_path / "secrets")}, private=True)
    assert node.private("runs/r/secrets.json") == b"content"


def test_what_runs_change_is_their_own_copy(carrier: Carrier, node: Node, there: Path, tmp_path: Path) -> None:
    a_tree(tmp_path / "tree")
    carrier.send({"runs/r/snapshot": str(tmp_path / "tree")})
    node.sees()
    with (there / "runs/r/snapshot/a.py").open("a") as stream:
        stream.write("changed")
    assert (tmp_path / "tree/a.py").read_text() == "print(1)\n"


def test_pieces_of_a_file(carrier: Carrier, tmp_path: Path) -> None:
    assert carrier.read("runs/r/log.txt", 0, 10) is None
    carrier.send({"runs/r/log.txt": a_file(tmp_path / "log", b"0123456789" * 300_000)})
    assert carrier.read("runs/r/log.txt", 5, 10) == b"5678901234"
    assert len(carrier.read("runs/r/log.txt", 0, 2_500_000) or b"") == 2_500_000
    assert carrier.read("runs/r/log.txt", 3_000_000, 10) == b""


def test_a_file_that_grows_is_seen_to_grow(carrier: Carrier, node: Node, there: Path, tmp_path: Path) -> None:
    carrier.send({"runs/r/log.txt": a_file(tmp_path / "log", "one")})
    node.sees()
    with (there / "runs/r/log.txt").open("a") as stream:
        stream.write("two")
    node.leaves()
    assert carrier.read("runs/r/log.txt", 3, 10) == b"two"


def test_a_directory_comes_home_with_modes_moments_and_links(carrier: Carrier, node: Node, there: Path, tmp_path: Path) -> None:
    carrier.send({"runs/r/snapshot": a_tree(tmp_path / "tree")})
    node.sees()
    a_file(there / "runs/r/snapshot/outputs/model.txt", "42")
    os.utime(there / "runs/r/snapshot/outputs/model.txt", ns=(10**18, 10**18))
    node.leaves()
    assert carrier.fetch("runs/r/snapshot", str(tmp_path / "home")) == []
    home = tmp_path / "home"
    assert (home / "outputs/model.txt").read_text() == "42"
    assert (home / "outputs/model.txt").stat().st_mtime_ns == 10**18
    assert os.access(home / "bin/tool", os.X_OK)
    assert str((home / "link").readlink()) == "bin/tool"


def test_a_root_that_is_a_file_is_denied(tmp_path: Path, sshd: Sshd) -> None:
    a_file(tmp_path / "file")
    with sshd.hosts() as hosts:
        for carrier in (SharedDirectory(tmp_path / "file"), SshCarrier(hosts, str(tmp_path / "file"))):
            with pytest.raises(Denied, match="file") as denied:
                carrier.send({"runs/r/x": str(tmp_path / "file")})
            assert "--option directory=" in str(denied.value.hint)


def test_what_comes_home_gives_nobody_privileges(carrier: Carrier, node: Node, there: Path, tmp_path: Path) -> None:
    carrier.send({"runs/r/snapshot": a_tree(tmp_path / "tree")})
    node.sees()
    (there / "runs/r/snapshot/bin/tool").chmod(0o6755)
    node.leaves()
    carrier.fetch("runs/r/snapshot", str(tmp_path / "home"))
    assert stat.S_IMODE((tmp_path / "home/bin/tool").stat().st_mode) == 0o755


def test_what_leads_out_or_is_no_file_stays_behind_by_name(carrier: Carrier, node: Node, there: Path, tmp_path: Path) -> None:
    carrier.send({"runs/r/snapshot": a_tree(tmp_path / "tree")})
    node.sees()
    snapshot = there / "runs/r/snapshot"
    (snapshot / "outputs").mkdir()
    (snapshot / "outputs/absolute").symlink_to("/etc/passwd")
    (snapshot / "outputs/up").symlink_to("../../secrets.json")
    (snapshot / "outputs/inside").symlink_to("../a.py")
    (snapshot / "outputs/here").symlink_to(".")
    (snapshot / "outputs/round").symlink_to("here/../../up")  # which does not look it
    os.mkfifo(snapshot / "pipe")
    node.leaves()
    behind = carrier.fetch("runs/r/snapshot", str(tmp_path / "home"))
    assert [one.split(":")[0] for one in behind] == ["outputs/absolute", "outputs/round", "outputs/up", "pipe"]
    assert sorted(path.name for path in (tmp_path / "home/outputs").iterdir()) == ["here", "inside"]


def test_more_than_wanted_does_not_come(carrier: Carrier, tmp_path: Path) -> None:
    a_file(tmp_path / "tree/big", b"x" * 10_000)
    carrier.send({"runs/r/snapshot": str(tmp_path / "tree")})
    with pytest.raises(DiskFull):
        carrier.fetch("runs/r/snapshot", str(tmp_path / "home"), limit_bytes=9_999)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("home")] == []
    assert carrier.fetch("runs/r/snapshot", str(tmp_path / "home"), limit_bytes=10_000) == []


def test_what_is_not_there_cannot_come(carrier: Carrier, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        carrier.fetch("runs/r/snapshot", str(tmp_path / "home"))


def test_removed_is_gone_and_what_is_not_there_is_no_matter(carrier: Carrier, tmp_path: Path) -> None:
    carrier.send({"runs/r/snapshot": a_tree(tmp_path / "tree"), "runs/s/a": a_file(tmp_path / "a")})
    carrier.remove("runs/r")
    carrier.remove("runs/r")
    carrier.remove("runs/nothing/there")
    assert carrier.have(["runs/r", "runs/s/a"]) == {"runs/s/a"}


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "runs/../../x", "", "a\0b"])
def test_no_path_leads_out(carrier: Carrier, tmp_path: Path, path: str) -> None:
    for act in (
        lambda: carrier.have([path]), lambda: carrier.send({path: a_file(tmp_path / "a")}), lambda: carrier.read(path, 0, 1),
        lambda: carrier.fetch(path, str(tmp_path / "home")), lambda: carrier.remove(path),
    ):  # fmt: skip
        with pytest.raises(InvalidInput):
            act()


def test_a_link_among_the_directories_is_not_followed(carrier: Carrier, there: Path, tmp_path: Path) -> None:
    if isinstance(carrier, RegistryCarrier):
        pytest.skip("a registry has no directories, and so no links among them")
    (tmp_path / "elsewhere").mkdir()
    (there / "runs").mkdir(parents=True)
    (there / "runs/r").symlink_to(tmp_path / "elsewhere")
    a_file(tmp_path / "elsewhere/ended.json")
    acts: list[Callable[[], object]] = [
        lambda: carrier.send({"runs/r/x": a_file(tmp_path / "a")}), lambda: carrier.read("runs/r/ended.json", 0, 1),
        lambda: carrier.remove("runs/r/ended.json"),
    ]  # fmt: skip
    for act in acts:
        with pytest.raises(InvalidInput):
            act()
    (there / "runs/s").mkdir()
    (there / "runs/s/log.txt").symlink_to("/etc/passwd")
    with pytest.raises(Unavailable):
        carrier.read("runs/s/log.txt", 0, 1)


def test_many_who_bring_the_same_bring_it_once_and_whole(carrier: Carrier, node: Node, tmp_path: Path) -> None:
    content = os.urandom(1 << 20)
    package = f"packages/{Digest.of(content)}"
    files = [a_file(tmp_path / f"copy{number}", content) for number in range(8)]
    failed: list[BaseException] = []

    def bring(file: str) -> None:
        try:
            carrier.send({f"{package}/x": file, "runs/r/snapshot": str(tree)})
        except BaseException as error:  # noqa: BLE001
            failed.append(error)

    tree = Path(a_tree(tmp_path / "tree"))
    threads = [threading.Thread(target=bring, args=(file,)) for file in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert node.content(f"{package}/x") == content
    assert node.names(package) == ["x"]
    assert node.names("runs/r") == ["snapshot"]
