"""Files of pods in a registry: who may run, what comes home of several pods, and what hostile nodes leave."""

from __future__ import annotations

import io
import json
import os
import tarfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import zstandard
from tests.support.registry import DockerRegistry, why_not

from wardian.bootstrap_images import node_store
from wardian.digest import Digest
from wardian.errors import Denied, DiskFull, InvalidInput, NotFound, Unavailable
from wardian.image.blob import put_bytes, put_empty
from wardian.image.compression import Compression
from wardian.image.oci import Manifest
from wardian.run.configuration import Command, Resources
from wardian.run.node.artifact import ARTIFACT, FILE, PATH, SIZE, TREE, RunFiles, left_tag, said_tag
from wardian.run.node.homeward import Homeward, fetch
from wardian.run.node.place import NodePlace
from wardian.run.node.sheet import NodeEnd, NodeStatus, Sheet
from wardian.run.targets.kubernetes_secrets import PodSecrets
from wardian.run.targets.registry_carrier import RegistryCarrier
from wardian.run.targets.remote import Task

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from wardian.image.registry import RegistryImageStore

KEY = "01abcdefghjk"
RUN = f"runs/{KEY}"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    if missing := why_not():
        pytest.fail(missing)
    with DockerRegistry(tmp_path_factory.mktemp("registry")) as running:
        yield running


class NoSecrets(PodSecrets):
    def __init__(self) -> None:
        self.kept: list[Mapping[str, bytes]] = []

    def keep(self, _key: str, content: Mapping[str, bytes]) -> None:
        self.kept.append(content)

    def remove(self, _key: str) -> None:
        self.kept.clear()


@pytest.fixture
def carrier(registry: DockerRegistry, tmp_path: Path) -> RegistryCarrier:
    return a_carrier(registry, tmp_path)


def a_carrier(registry: DockerRegistry, place: Path, **changes: Any) -> RegistryCarrier:
    store = node_store(f"{registry.host}/{Digest.of(os.fsencode(place))[:16]}/runs", {})
    values: dict[str, Any] = {
        "live": lambda *_: b"",
        "is_over": lambda _: False,
        "compression": Compression(),
        "platform": "linux/amd64",
    }
    return RegistryCarrier(store, NoSecrets(), scratch=place / "scratch", **values | changes)


def a_place(tmp_path: Path, rank: int = 0, files: Mapping[str, str] = {}) -> NodePlace:
    """Return the directory of a run in the pod of this rank."""
    place = NodePlace(tmp_path / f"pod{rank}/runs" / KEY, rank)
    place.outputs.mkdir(parents=True)
    for name, text in files.items():
        (place.snapshot / name).write_text(text)
    return place


def a_home(carrier: RegistryCarrier, place: NodePlace, nodes: int = 1, **changes: Any) -> Homeward:
    sheet = Sheet(KEY, Command("program", "true"), resources=Resources(nodes=nodes))
    return Homeward(carrier.store, place, sheet, **changes)


def left(
    carrier: RegistryCarrier, tmp_path: Path, end: NodeEnd, rank: int = 0, nodes: int = 1, files: Mapping[str, str] = {}
) -> None:
    """Have a pod end so, and leave these files."""
    place = a_place(tmp_path, rank)
    home = a_home(carrier, place, nodes)
    assert home.claim()
    for name, text in files.items():
        (place.snapshot / name).parent.mkdir(parents=True, exist_ok=True)
        (place.snapshot / name).write_text(text)
    place.write_end(end)
    home.leave()


def ended(code: int, at: str = "2026-01-01T00:00:01Z") -> NodeEnd:
    return NodeEnd("exited", exit_code=code, code="exited", reason=f"exit code {code}", ended=at)


def end_of(carrier: RegistryCarrier) -> NodeEnd | None:
    text = carrier.read(f"{RUN}/ended.json", 0, 1 << 20)
    return NodeEnd.from_json(text) if text is not None else None


# -- starts ------------------------------------------------------------------------------------------------------------


def test_a_second_start_finds_that_the_run_is_taken(carrier: RegistryCarrier, tmp_path: Path) -> None:
    place = a_place(tmp_path)
    first, second = a_home(carrier, place), a_home(carrier, place)
    assert first.claim()
    assert not second.claim()
    place.write_end(ended(0))
    second.leave()
    assert end_of(carrier) is None, "what the second would leave is not the run's"
    first.leave()
    assert end_of(carrier) == ended(0)


def test_it_says_when_the_script_has_started(carrier: RegistryCarrier, tmp_path: Path) -> None:
    home = a_home(carrier, a_place(tmp_path))
    assert home.claim()
    assert carrier.read(f"{RUN}/status.json", 0, 10_000) is None
    home.say_running()
    home.leave()  # which waits for it
    status = NodeStatus.from_json(carrier.read(f"{RUN}/status.json", 0, 10_000) or b"")
    assert (status.state, status.node) == ("running", os.uname().nodename)


def test_a_registry_that_does_not_answer_is_tried_again(
    carrier: RegistryCarrier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    home = a_home(carrier, a_place(tmp_path), pauses_s=(1, 2, 3), sleep=pauses.append)
    assert home.claim()
    store_type, faults = type(carrier.store), [Unavailable("it restarts")] * 2
    put = store_type.put

    def failing(self: RegistryImageStore, *words: Any, **named: Any) -> str:
        if faults:
            raise faults.pop()
        return put(self, *words, **named)

    monkeypatch.setattr(store_type, "put", failing)
    home.leave()
    assert pauses == [1, 2]
    faults += [Unavailable("it is gone")] * 4
    with pytest.raises(Unavailable, match="it is gone"):
        home.leave()
    faults += [Denied("no")] * 1  # type: ignore[list-item]
    with pytest.raises(Denied):
        home.leave()


def test_files_that_are_gone_are_an_error(carrier: RegistryCarrier, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="has no files of a run"):
        fetch(carrier.store, f"sha256:{Digest.of(b'')}", tmp_path / "root", tmp_path)


# -- several pods ------------------------------------------------------------------------------------------------------


def test_a_run_in_several_pods_ends_when_all_have(carrier: RegistryCarrier, tmp_path: Path) -> None:
    left(carrier, tmp_path, ended(0), 0, 3)
    left(carrier, tmp_path, ended(0), 1, 3)
    assert end_of(carrier) is None
    left(carrier, tmp_path, ended(0), 2, 3)
    assert end_of(carrier) == ended(0)


def test_the_first_that_failed_is_how_it_ended(registry: DockerRegistry, tmp_path: Path) -> None:
    carrier = a_carrier(registry, tmp_path, is_over=lambda key: key == KEY)
    left(carrier, tmp_path, NodeEnd("stopped", code="canceled"), 0, 4)
    left(carrier, tmp_path, ended(5, "2026-01-01T00:00:09Z"), 1, 4)
    left(carrier, tmp_path, ended(3, "2026-01-01T00:00:02Z"), 2, 4)
    found = end_of(carrier)  # the fourth was lost with its node
    assert found is not None
    assert (found.exit_code, found.reason) == (3, "node 2: exit code 3")


def test_only_the_engine_knows_what_became_of_a_pod_that_left_nothing(registry: DockerRegistry, tmp_path: Path) -> None:
    carrier = a_carrier(registry, tmp_path, is_over=lambda _: True)
    left(carrier, tmp_path, ended(0), 0, 2)
    assert end_of(carrier) is None


def test_what_several_pods_made_comes_together(carrier: RegistryCarrier, tmp_path: Path) -> None:
    left(
        carrier,
        tmp_path,
        ended(0),
        0,
        2,
        {"outputs/a": "0", "outputs/same": "s", "outputs/other": "0", "outputs/d/x": "0", "f": ""},
    )
    place = a_place(tmp_path, 1, {"code.py": "not changed"})
    home = a_home(carrier, place, 2)
    assert home.claim()
    for name, text in {"outputs/b": "1", "outputs/same": "s", "outputs/other": "1", "outputs/d/y": "1", "f/g": "1"}.items():
        (place.snapshot / name).parent.mkdir(parents=True, exist_ok=True)
        (place.snapshot / name).write_text(text)
    (place.snapshot / "outputs/link").symlink_to("b")
    place.write_end(ended(0))
    home.leave()
    behind = carrier.fetch(f"{RUN}/snapshot", str(tmp_path / "home"))
    outputs = tmp_path / "home/outputs"
    assert {path.name for path in outputs.iterdir()} == {"a", "b", "same", "other", "d"}
    assert (outputs / "other").read_text() == "0"
    assert {path.name for path in (outputs / "d").iterdir()} == {"x", "y"}
    assert not (tmp_path / "home/code.py").exists(), "what a pod did not change is not brought again"
    assert behind == [
        "f: node 1 made a directory, the first one did not",
        "outputs/link: node 1 made a link",
        "outputs/other: node 1 wrote another one than the first",
    ]
    assert not [path for path in tmp_path.iterdir() if path.name.endswith((".1", ".tmp"))]


# -- logs --------------------------------------------------------------------------------------------------------------


def test_a_long_log_is_read_in_pieces_from_anywhere(carrier: RegistryCarrier, tmp_path: Path) -> None:
    place = a_place(tmp_path)
    content = os.urandom(1 << 20) * 18
    place.log.write_bytes(content)
    home = a_home(carrier, place)
    assert home.claim()
    home.leave()
    path, offset, pieces = f"{RUN}/log.txt", 0, []
    while piece := carrier.read(path, offset, 5 << 20):
        pieces.append(piece)
        offset += len(piece)
    assert b"".join(pieces) == content
    assert carrier.read(path, 7, 100) == content[7:107]
    assert carrier.read(path, len(content), 100) == b""


def test_the_log_of_a_run_that_is_on_comes_from_its_engine(registry: DockerRegistry, tmp_path: Path) -> None:
    carrier = a_carrier(registry, tmp_path, live=lambda key, offset, limit: f"{key} on".encode()[offset : offset + limit])
    assert carrier.read(f"{RUN}/log.txt", 3, 100) == b"bcdefghjk on"
    assert carrier.read(f"{RUN}/log.1.txt", 0, 100) is None
    left(carrier, tmp_path, ended(0))
    assert carrier.read(f"{RUN}/engine.txt", 0, 100) is None


# -- hostile nodes -----------------------------------------------------------------------------------------------------


def put_layers(carrier: RegistryCarrier, layers: list[tuple[str, str, bytes, dict[str, str]]], *, kind: str = ARTIFACT) -> None:
    """Leave an artifact as no agent would."""
    made = tuple(
        replace(put_bytes(carrier.store, content, media_type), annotations=tuple(sorted({PATH: path, **notes}.items())))
        for path, media_type, content, notes in layers
    )
    manifest = Manifest(put_empty(carrier.store), made, artifact_type=kind)
    carrier.store.tag(manifest.to_json(), manifest.media_type, [left_tag(KEY)])


def a_tar(*members: tuple[str, bytes, str, str]) -> bytes:
    """Return a compressed tar of (name, type, link, content)."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, kind, link, content in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.size = kind, link, len(content)
            tar.addfile(member, io.BytesIO(content.encode()))
    return zstandard.ZstdCompressor().compress(file.getvalue())


@pytest.mark.parametrize("path", ["../ended.json", "/etc/passwd", "", "a//b", "x/../../y"])
def test_paths_that_leave_are_no_files_of_a_run(carrier: RegistryCarrier, tmp_path: Path, path: str) -> None:
    put_layers(carrier, [("snapshot", TREE, a_tar(), {SIZE: "10240"}), (path, FILE, b"{}", {})])
    assert (carrier.read(f"{RUN}/ended.json", 0, 1000) or b"").startswith(b"damaged: ")
    with pytest.raises(Unavailable, match="is refused"):
        carrier.fetch(f"{RUN}/snapshot", str(tmp_path / "home"))
    carrier.remove(RUN)  # it goes all the same
    assert carrier.have([f"{RUN}/snapshot"]) == set()


def test_something_else_under_the_tag_is_damage(carrier: RegistryCarrier) -> None:
    put_layers(carrier, [("ended.json", FILE, ended(0).to_json(), {})], kind="application/vnd.other")
    assert (carrier.read(f"{RUN}/ended.json", 0, 1000) or b"").startswith(b"damaged: ")


def test_what_leads_out_of_the_run_stays_behind(carrier: RegistryCarrier, tmp_path: Path) -> None:
    regular, link = tarfile.REGTYPE, tarfile.SYMTYPE
    content = a_tar(
        ("../evil", regular, "", "x"), ("/abs", regular, "", "x"), ("up", link, "../..", ""), ("up/through", regular, "", "x"),
        ("dev", tarfile.CHRTYPE, "", ""), ("hard", tarfile.LNKTYPE, "../../etc/passwd", ""), ("ok", regular, "", "x"),
    )  # fmt: skip
    put_layers(carrier, [("snapshot", TREE, content, {SIZE: "100000"})])
    behind = carrier.fetch(f"{RUN}/snapshot", str(tmp_path / "home"))
    assert [one.split(":")[0] for one in behind] == ["../evil", "/abs", "dev", "hard", "up"]
    assert (tmp_path / "home/ok").read_text() == "x"
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("size", ["", "5", "-1", "1e9", "9" * 30])
def test_more_than_it_says_does_not_come_out(carrier: RegistryCarrier, tmp_path: Path, size: str) -> None:
    put_layers(carrier, [("snapshot", TREE, a_tar(("big", tarfile.REGTYPE, "", "x" * 100_000)), {SIZE: size} if size else {})])
    with pytest.raises(DiskFull):
        carrier.fetch(f"{RUN}/snapshot", str(tmp_path / "home"))
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("home")]


def test_more_than_there_is_room_for_is_not_begun(carrier: RegistryCarrier, tmp_path: Path) -> None:
    put_layers(carrier, [("snapshot", TREE, a_tar(), {SIZE: str(10**17)})])
    with pytest.raises(DiskFull):
        carrier.fetch(f"{RUN}/snapshot", str(tmp_path / "home"))


@pytest.mark.parametrize(
    "content", [b"no zstd", zstandard.ZstdCompressor().compress(b"no tar" * 1000), a_tar(("a", tarfile.REGTYPE, "", "x"))[:-9]]
)
def test_what_is_no_archive_is_refused(carrier: RegistryCarrier, tmp_path: Path, content: bytes) -> None:
    put_layers(carrier, [("snapshot", TREE, content, {SIZE: "100000"})])
    with pytest.raises(Unavailable):
        carrier.fetch(f"{RUN}/snapshot", str(tmp_path / "home"))
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("home")]


def test_directories_are_no_files_and_files_no_directories(carrier: RegistryCarrier, tmp_path: Path) -> None:
    put_layers(carrier, [("snapshot", FILE, b"x", {}), ("log.txt", TREE, a_tar(), {SIZE: "10240"})])
    with pytest.raises(NotFound):
        carrier.fetch(f"{RUN}/snapshot", str(tmp_path / "home"))
    with pytest.raises(Unavailable, match="no regular file"):
        carrier.read(f"{RUN}/log.txt", 0, 10)


def test_what_a_node_says_of_nodes_and_of_what_is_behind_is_bounded(carrier: RegistryCarrier, tmp_path: Path) -> None:
    place = a_place(tmp_path)
    place.write_end(ended(0))
    layers = {"ended.json": replace(put_bytes(carrier.store, ended(0).to_json(), FILE), annotations=((PATH, "ended.json"),))}
    for notes in ({"dev.wardian.nodes": "9" * 40}, {"dev.wardian.nodes": "-3"}, {"dev.wardian.behind": "[" * 10_000}):
        RunFiles(layers, notes).put(carrier.store, KEY, left_tag(KEY))
        assert end_of(carrier) == ended(0)
    other = Manifest(put_empty(carrier.store), ())
    carrier.store.tag(other.to_json(), other.media_type, [said_tag(KEY)])
    assert (carrier.read(f"{RUN}/status.json", 0, 100) or b"").startswith(b"damaged")


# -- the task ----------------------------------------------------------------------------------------------------------


def test_the_task_names_image_and_files_by_digest(registry: DockerRegistry, tmp_path: Path) -> None:
    agent = tmp_path / "agents" / Digest.of(b"agent")
    (agent / "bin").mkdir(parents=True)
    (agent / "bin/python").touch(0o700)
    (agent / "main.py").touch(0o600)
    login = json.dumps({"auths": {registry.host: {"auth": "dTpw"}}}).encode()
    carrier = a_carrier(registry, tmp_path, login=lambda: login)
    place = f"/wardian/agents/{agent.name}"
    task = Task(
        KEY,
        (f"{place}/bin/python", f"{place}/main.py", "exec", "--sheet", "/wardian/runs/x/sheet.json"),
        f"/wardian/{RUN}",
        Resources(),
    )
    dry = carrier.completed(task, is_sent=False)
    assert dry.first is not None
    assert dry.first.image == f"{carrier.store.name}:a-{agent.name}"
    with pytest.raises(Unavailable):
        carrier.completed(task)
    (tmp_path / "sheet").write_text("{}")
    carrier.send({f"agents/{agent.name}": str(agent)})
    carrier.send({f"{RUN}/secrets.json": str(tmp_path / "sheet")}, private=True)
    carrier.send({f"{RUN}/sheet.json": str(tmp_path / "sheet"), f"{RUN}/cancel": str(tmp_path / "sheet")})
    done = carrier.completed(task)
    assert done.first is not None
    assert (done.first.login, done.first.argv[:3]) == (
        f"w-{KEY}",
        (f"/agents/{agent.name}/bin/python", f"/agents/{agent.name}/main.py", "fetch"),
    )
    assert "@sha256:" in done.first.image
    assert "@sha256:" in done.first.argv[4]
    assert done.variables == {"_WARDIAN_FILES": carrier.store.name, "_WARDIAN_FILES_PLAIN": "yes"}
    assert isinstance(carrier._secrets, NoSecrets)
    assert [set(one) for one in carrier._secrets.kept] == [{"secrets.json", ".dockerconfigjson"}], "once"
    assert carrier.have([f"{RUN}/cancel"]) == set()
    fetch(carrier.store, done.first.argv[4].partition("@")[2], tmp_path / "pod", agent)
    assert (tmp_path / "pod/agents" / agent.name / "bin/python").exists()
    assert (tmp_path / "pod" / RUN / "sheet.json").read_text() == "{}"
    assert carrier.try_out("probe-1").ok
    assert carrier.store.tags("r-") == [f"r-{KEY}"]
