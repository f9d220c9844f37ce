"""A served image: which layers go on an environment's image, what is in them, and how it starts."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import zstandard
from tests.support.images import AnImage, tar_layer
from tests.support.serving import server_wheel
from tests.support.wheels import make_wheel

from wardian.digest import Digest
from wardian.errors import BadArchive, BuildFailed, Conflict
from wardian.events import silent
from wardian.image.base import Base
from wardian.image.build_layers import Workshop
from wardian.image.compression import Compression
from wardian.image.key import ImageScheme
from wardian.image.layer_cache import LayerCache
from wardian.image.layout import LayoutImageStore
from wardian.image.oci import Manifest, read_config, read_manifest
from wardian.image.registry import RegistryImageStore
from wardian.image.registry_client import RegistryClient
from wardian.lock.lock import Artifact
from wardian.run.source_tree import scan
from wardian.sdk.served_images import ServedModel, source_task
from wardian.serving.extension import Extension
from wardian.serving.image_layer import ServedImage, Start, build_served_image
from wardian.serving.layer_tasks import MODEL, LayerPython, TreeFile, serve_task, tree_task
from wardian.serving.model_tree import digest_model, scan_model
from wardian.tools.registry_http import RegistryHttp

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tests.support.registry import DockerRegistry

    from wardian.image.layer_cache import LayerTask
    from wardian.image.store import ImageStore

ROOT = Path(__file__).parents[3]
PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}.0"
START = Start("/opt/env/bin/python", {"WARDIAN_SERVE_ENTRY": "score.py"}, {"dev.wardian.run": "r1"})


class Bench:
    """A workshop, an environment's image of two layers, and what goes on it."""

    def __init__(self, root: Path, *, base_store: ImageStore | None = None):
        self.root = root
        self.local = LayoutImageStore(root / "images", link_from=[root / "layers"])
        compression = Compression("zstd")
        self.scheme = ImageScheme(compression.compressor)
        self.shop = Workshop(
            LayerCache(root / "layers", self.local, compression=compression, epoch=0), root / "staging", root / "conda", 2
        )
        image = AnImage([tar_layer({"opt/env/bin/python": b"x" * 100_000}), tar_layer({"opt/app/old.py": b"old"})])
        store = base_store or self.local
        found = image.put(store, "environment")
        self.base = Base("environment", found.digest, image.manifest, read_config(image.config), store)
        self.server = server_wheel(root / "wheels").path
        self.starlette = make_wheel(
            root / "wheels", "starlette", "1.2", files={"starlette/__init__.py": "__version__ = '1.2'\n"}
        )

    @property
    def extension(self) -> Extension:
        added, server = (
            Artifact(
                kind="wheel",
                source="index:pypi",
                name=path.name.partition("-")[0],
                version="1",
                file=path.name,
                sha256=Digest.of_file(path),
            )
            for path in (self.starlette, self.server)
        )
        return Extension(Digest.of(b"lock"), PYTHON, "linux/amd64", server, (added,))

    def archives(self) -> Mapping[Digest, Path]:
        return {Digest.of_file(path): path for path in (self.server, self.starlette)}

    def serve(self, *, compiled: bool = True) -> LayerTask:
        @contextlib.contextmanager
        def command() -> Iterator[Sequence[str]]:
            yield [sys.executable]

        python = LayerPython(Digest.of(b"python"), command) if compiled else None
        return serve_task(self.extension, self.scheme, python, self.archives, place=self.shop.place, jobs=2)

    def source(self, root: Path) -> LayerTask:
        return source_task(scan(root), self.scheme)

    def model(self, root: Path) -> LayerTask:
        tree = scan_model(root)
        model = ServedModel(tree, digest_model(tree))
        return tree_task("model", MODEL, "model", root.parent, model.files, model.digest, self.scheme, model.digest_of)

    def build(
        self, tasks: Sequence[LayerTask], start: Start = START, target: ImageStore | None = None, *tags: str
    ) -> ServedImage:
        return build_served_image(
            self.base, tasks, start, self.scheme, self.shop, self.local, target or self.local, tags or ["served"], silent
        )

    def layer(self, image: ServedImage, number: int) -> dict[str, bytes]:
        """Return the files of one of the layers that were put on, by path."""
        with self.local.open(image.layers[number][1]) as stream:
            content = zstandard.ZstdDecompressor().decompressobj().decompress(stream.read())
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            return {m.name: (tar.extractfile(m) or io.BytesIO()).read() for m in tar if not m.isdir()}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def a_tree(place: Path, **files: str) -> Path:
    place.mkdir()
    for name, text in files.items():
        (place / name).write_text(text)
    return place


def test_the_environment_stays_as_it_is_and_three_layers_go_on_it(bench: Bench, tmp_path: Path) -> None:
    source = a_tree(
        tmp_path / "source", **{"score.py": "def run(data): return data\n", ".wardianignore": "*.log\n", "noise.log": "x"}
    )
    (source / "__pycache__").mkdir()
    model = a_tree(tmp_path / "model", **{"model.pkl": "weights"})
    made = bench.build([bench.serve(), bench.model(model), bench.source(source)])
    found = bench.local.find("served")
    assert found is not None
    manifest = read_manifest(found.content, found.descriptor.media_type)
    assert isinstance(manifest, Manifest)
    assert [layer.digest for layer in manifest.layers[:2]] == [layer.digest for layer in bench.base.layers], (
        "no layer of it is made"
    )
    assert len(manifest.layers) == 5
    serve, weights, app = (bench.layer(made, number) for number in range(3))
    assert {"opt/serve/starlette/__init__.py", "opt/serve/wardian_server/__main__.py", "opt/serve/.wh..wh..opq"} <= serve.keys()
    assert any(path.endswith(".pyc") for path in serve)
    assert weights == {"opt/model/model/model.pkl": b"weights", "opt/model/.wh..wh..opq": b""}
    assert app.keys() == {"opt/app/score.py", "opt/app/.wardianignore", "opt/app/.wh..wh..opq"}, (
        "what was there before is hidden"
    )
    with bench.local.open(manifest.config) as stream:
        config = read_config(stream.read())
    assert config.entrypoint == ("/opt/env/bin/python", "/opt/serve/wardian_server/__main__.py")
    assert config.command == ()
    assert dict(config.variables)["PATH"] == "/usr/bin:/bin", "the environment's own"
    assert dict(config.variables)["WARDIAN_SERVE_ENTRY"] == "score.py"
    assert config.extra["ExposedPorts"] == {"5001/tcp": {}}
    assert dict(config.labels)["dev.wardian.run"] == "r1"
    assert config.diff_ids[:2] == bench.base.config.diff_ids
    assert sum(not entry.get("empty_layer") for entry in config.history) == 5, (
        "builders refuse images that do not list each layer"
    )
    assert made.added_bytes < 50_000


def test_the_same_input_is_the_same_image_on_every_machine(tmp_path: Path) -> None:
    made = []
    for name in ("one", "another place that is longer"):
        bench = Bench(tmp_path / name)
        source = a_tree(tmp_path / name / "source", **{"score.py": "x = 1\n"})
        made.append(bench.build([bench.serve(), bench.source(source)]))
    assert made[0].descriptor == made[1].descriptor
    assert made[0].key == made[1].key


def test_each_part_decides_about_its_own_layer_alone(bench: Bench, tmp_path: Path) -> None:
    one = a_tree(tmp_path / "one", **{"score.py": "x = 1\n"})
    other = a_tree(tmp_path / "other", **{"score.py": "x = 2\n"})
    first = bench.build([bench.serve(), bench.source(one)])
    second = bench.build([bench.serve(), bench.source(other)])
    third = bench.build([bench.serve(compiled=False), bench.source(one)], replace(START, variables={}))
    assert first.layers[0] == second.layers[0] != third.layers[0]
    assert first.layers[1] != second.layers[1]
    assert first.layers[1] == third.layers[1]
    assert len({first.key, second.key, third.key}) == 3
    assert not any(path.endswith(".pyc") for path in bench.layer(third, 0))


def test_known_layers_need_neither_wheels_nor_files(bench: Bench, tmp_path: Path) -> None:
    model = a_tree(tmp_path / "model", **{"m.bin": "w"})
    tasks = [bench.serve(), bench.model(model)]
    first = bench.build(tasks)
    bench.starlette.unlink()
    (model / "m.bin").unlink()
    assert bench.build(tasks, replace(START, labels={"other": "label"})).layers == first.layers


def test_a_registry_that_has_the_environment_is_sent_small_layers_alone(tmp_path: Path, registry: DockerRegistry) -> None:
    client = RegistryClient(registry.host, http=RegistryHttp())
    bench = Bench(tmp_path, base_store=RegistryImageStore(client, "team/environments"))
    source = a_tree(tmp_path / "source", **{"score.py": "x = 1\n"})
    before = len(registry.requests())
    made = bench.build([bench.serve(), bench.source(source)], START, RegistryImageStore(client, "team/served"), "v1")
    mounted = [
        line for line in registry.requests()[before:] if line.startswith("POST") and "mount=" in line and line.endswith(" 201")
    ]
    assert len(mounted) == len(bench.base.layers)
    assert made.added_bytes < 5_000_000
    here = bench.root / "images" / "blobs" / "sha256"
    assert not [layer for layer in bench.base.layers if (here / layer.digest).exists()], (
        "nothing of the environment was fetched"
    )


_MEASURED = """
import sys
from pathlib import Path
from tests.unit.serving.test_image_layer import Bench
bench = Bench(Path(sys.argv[1]))
bench.build([bench.model(Path(sys.argv[2]))])
print(dict(line.split(":", 1) for line in open("/proc/self/status"))["VmHWM"].split()[0])
"""


def test_a_model_of_any_size_takes_the_same_memory(tmp_path: Path) -> None:
    peaks = []
    for size_mib in (1, 96):
        model = tmp_path / f"{size_mib}.bin"
        with model.open("wb") as stream:
            stream.truncate(size_mib << 20)
        command = [sys.executable, "-c", _MEASURED, str(tmp_path / f"bench{size_mib}"), str(model)]
        peaks.append(int(subprocess.run(command, check=True, capture_output=True, cwd=ROOT).stdout))
    assert peaks[1] < peaks[0] + (16 << 10), "in KiB"


# -- hostile -----------------------------------------------------------------------------------------------------------


def test_a_name_that_would_remove_files_of_the_environment_is_refused(bench: Bench, tmp_path: Path) -> None:
    model = a_tree(tmp_path / "model", **{".wh..wh..opq": "x"})
    with pytest.raises(BadArchive) as caught:
        bench.model(model)
    assert caught.value.stable_code == "unsafe_path"


@pytest.mark.parametrize("path", ["../evil", "/etc/passwd", "a/../../b"])
def test_a_path_that_leads_out_is_refused(bench: Bench, tmp_path: Path, path: str) -> None:
    task = tree_task(
        "model", MODEL, "model", tmp_path, [TreeFile(path)], Digest.of(b"x"), bench.scheme, lambda _seen: Digest.of(b"x")
    )
    with pytest.raises(BadArchive):
        bench.build([task])


def test_a_file_that_changes_while_it_is_read_is_told(bench: Bench, tmp_path: Path) -> None:
    model = a_tree(tmp_path / "model", **{"m.bin": "weights"})
    task = bench.model(model)
    (model / "m.bin").write_text("longer weights")
    with pytest.raises(BadArchive, match=r"m\.bin"):
        bench.build([task])
    (model / "m.bin").write_text("WEIGHTS")
    with pytest.raises(Conflict, match="have changed since they were digested"):
        bench.build([task])
    assert bench.shop.cache.find(task.key) is None, "nothing of it is kept"
    (model / "m.bin").unlink()
    (model / "m.bin").symlink_to("/etc/passwd")
    with pytest.raises(Conflict, match="has changed"):
        bench.build([task])


def test_an_image_with_too_many_layers_is_told(bench: Bench) -> None:
    many = replace(bench.base, manifest=replace(bench.base.manifest, layers=bench.base.layers * 60))
    with pytest.raises(BuildFailed, match="has 120 layers"):
        build_served_image(many, [bench.serve()], START, bench.scheme, bench.shop, bench.local, bench.local, ["x"], silent)
