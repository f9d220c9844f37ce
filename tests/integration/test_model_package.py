"""`wardian model package`: an image that serves a model by itself, in a registry, in a file, or as a build context."""

from __future__ import annotations

import json
import shutil
import sys
import tarfile
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from tests.support import registry as registries
from tests.support.base_images import debian_base, missing_tool, put_image, session_place, tar
from tests.support.cli import Cli
from tests.support.containers import PodmanSpace, podman_space
from tests.support.index import Index
from tests.support.wheels import make_wheel

import wardian
from wardian.image.layout import LayoutImageStore
from wardian.image.oci import read_config
from wardian.image_name import parse_image_reference

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.pythons import Catalogue
    from tests.support.registry import DockerRegistry

SCORE = "import json, os\ndef init():\n    print(os.listdir(os.environ['WARDIAN_MODEL_DIR']))\ndef run(data):\n    return {'sum': sum(json.loads(data)['data'])}\n"
OLD = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory, python_catalogue: Catalogue) -> Iterator[Cli]:
    """A home with an environment that has all that a server needs, its image, and a model."""
    place = tmp_path_factory.mktemp("package")
    put_image(LayoutImageStore(place / "base"), [tar(("etc/os-release", b"ID=test"))])
    with Index(place / "index") as index:
        for name, version in (("alpha", "1.0"), ("starlette", "0.40.0"), ("uvicorn", "0.30.0")):
            index.add(make_wheel(place / "wheels", name, version), OLD)
        found = Cli.at(place / "one", index_url=index.url, config='lock_platforms = ["linux/amd64"]\n')
        found.variables |= {
            "WARDIAN_PYTHON_DOWNLOADS": str(python_catalogue.path), "WARDIAN_BASE_IMAGE": f"oci:{place / 'base'}", "WARDIAN_IMAGE_BYTE_CODE": "0"
        }  # fmt: skip
        found.write("requirements.txt", "alpha\nstarlette\nuvicorn\n")
        found.write("score.py", SCORE)
        found.write("noise.log", "x")
        found.write(".wardianignore", "*.log\nnumbers\n")
        found.write("numbers/weights.bin", "w" * 100)
        found.write(
            "train.py",
            "import pathlib\npathlib.Path('outputs/numbers').mkdir()\npathlib.Path('outputs/numbers/weights.bin').write_text('w' * 100)\n",
        )
        found.ok("env", "create", "trio", "-r", "requirements.txt")
        found.ok("run", "-e", "trio", "train.py")
        found.ok("model", "create", "churn", "numbers", "--run", "latest")
        yield found


def image_in(archive: Path) -> tuple[dict[str, Any], list[str]]:
    """Return configuration and all paths of a Docker archive."""
    with tarfile.open(archive) as outer:
        (listed,) = json.load(outer.extractfile("manifest.json") or sys.stdin)
        document = json.load(outer.extractfile(listed["Config"]) or sys.stdin)
        paths = []
        for name in listed["Layers"]:
            with tarfile.open(fileobj=outer.extractfile(name)) as layer:
                paths += layer.getnames()
    return {**document, "tags": listed["RepoTags"]}, paths


def test_a_model_becomes_an_image_file_with_what_trained_it(cli: Cli) -> None:
    solves = len(cli.json("build", "list", "--kind", "lock")["builds"])
    done = cli.json("model", "package", "churn", "--entry", "score.py", "-o", "churn.tar", "-V", "MODE=fast")
    assert (done["model"], done["environment"], done["kind"]) == ("churn:1", "trio:1", "script")
    assert done["serving_packages"] == [f"wardian-server {done['serving_packages'][0].split()[1]}"], (
        "the environment has all the rest"
    )
    assert done["added_bytes"] < 5_000_000
    document, paths = image_in(cli.directory / "churn.tar")
    config = document["config"]
    variables = dict(line.split("=", 1) for line in config["Env"])
    assert document["tags"] == ["churn:1"]
    assert config["Entrypoint"] == ["/opt/env/bin/python", "/opt/serve/wardian_server/__main__.py"]
    assert {
        "MODE": "fast",
        "WARDIAN_MODEL_DIR": "/opt/model",
        "WARDIAN_SERVE_ENTRY": "score.py",
        "WARDIAN_SERVE_NAME": "churn",
    }.items() <= variables.items()
    identity = json.loads(variables["WARDIAN_SERVE_IDENTITY"])
    run = cli.json("runs", "list")["runs"][0]["id"]
    assert (identity["model"], identity["run_id"], identity["environment"]) == ("churn:1", run, "trio:1")
    assert identity["lock_digest"] == config["Labels"]["dev.wardian.lock-digest"]
    assert config["Labels"]["dev.wardian.run-id"] == run
    assert {"opt/app/score.py", "opt/model/numbers/weights.bin", "opt/serve/wardian_server/__main__.py"} <= set(paths)
    assert "opt/app/noise.log" not in paths
    assert len(cli.json("build", "list", "--kind", "lock")["builds"]) == solves
    again = cli.json("model", "package", "churn", "--entry", "score.py", "-o", "churn.tar", "-V", "MODE=fast")
    assert again["digest"] == done["digest"], "the same input is the same image"


def test_a_build_context_needs_no_wardian(cli: Cli) -> None:
    done = cli.json("model", "package", "churn", "--entry", "score.py", "--context", "context", "-V", 'QUOTED=a "b" $c \\')
    place = cli.directory / "context"
    assert done["digest"] is None
    assert sorted(path.name for path in place.iterdir()) == ["Dockerfile", "app", "environment.tar", "model", "serve"]
    text = (place / "Dockerfile").read_text()
    assert "\nFROM wardian/environment:" in text
    assert "docker load -i environment.tar" in text
    assert '\nENV QUOTED="a \\"b\\" \\$c \\\\"\n' in text
    assert (place / "model" / "numbers" / "weights.bin").read_text() == "w" * 100
    assert (place / "serve" / "wardian_server" / "__main__.py").is_file()
    assert image_in(place / "environment.tar")[0]["tags"][0] in text
    shutil.rmtree(place)  # all of it may be written to


def test_what_cannot_be_packaged_is_told_before_anything_is_made(cli: Cli) -> None:
    cases = [
        (("churn",), 2, "of no format that says by itself how it scores"),
        (("churn", "--entry", "missing.py"), 4, "no entry script"),
        (("churn", "--entry", "../score.py"), 2, "neither a script below"),
        (("nothing",), 4, "nothing"),
        (("churn", "--entry", "score.py", "-o", "x.tar", "--context", "x"), 2, "goes to one place"),
        (("churn", "--entry", "score.py", "-V", "API_TOKEN=abcdef123456"), 2, "looks like a secret"),
        (("churn", "--entry", "score.py", "--context", "."), 5, "no empty directory"),
        (("churn", "--entry", "score.py", "-o", "no/such/place.tar"), 4, "no directory"),
    ]
    for arguments, code, words in cases:
        done = cli.run("model", "package", *arguments)
        assert (done.code, words in done.err) == (code, True), (arguments, done)
    assert not (cli.directory / "x").exists()
    assert "abcdef123456" not in "".join(done.err for done in [cli.run("model", "package", *cases[5][0])])


def test_a_model_without_a_run_needs_an_environment(cli: Cli) -> None:
    cli.write("alone.joblib", "weights")
    cli.ok("model", "create", "alone", "alone.joblib")
    assert cli.run("model", "package", "alone").code == 4
    done = cli.json("model", "package", "alone", "-e", "trio")
    assert (done["kind"], done["environment"]) == ("sklearn", "trio:1")
    store = LayoutImageStore(cli.cache / "images")
    found = store.find(f"sha256:{done['digest']}")
    assert found is not None
    with store.open(json_config(found.content)) as stream:
        variables = dict(read_config(stream.read()).variables)
    assert variables["WARDIAN_SERVE_MODEL"] == "/opt/model/alone.joblib"


def json_config(manifest: bytes) -> Any:
    from wardian.image.oci import Manifest, read_manifest

    found = read_manifest(manifest)
    assert isinstance(found, Manifest)
    return found.config


def test_in_python_the_environment_is_the_object_that_was_submitted(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in cli.environ.items():
        if name.startswith("WARDIAN_"):
            monkeypatch.setenv(name, value)
    workspace = wardian.Workspace.open()
    environment = wardian.Environment.from_requirements("trio", cli.directory / "requirements.txt")
    model = workspace.models.get("churn")
    made = [
        model.package(entry="score.py", source=cli.directory, environment=one)
        for one in (environment, "trio:1", model.environment(), None)
    ]
    made.append(model.package(inference=wardian.InferenceConfiguration("score.py", cli.directory, environment)))
    assert {one.environment for one in made} == {"trio:1"}
    assert len({one.as_document()["digest"] for one in made}) == 1


# -- with the real server ----------------------------------------------------------------------------------------------

# runs in the container: starts what the image starts, waits until it is ready, and scores
_ASK = """
import json, subprocess, sys, time, urllib.request
server = subprocess.Popen(["/opt/env/bin/python", "/opt/serve/wardian_server/__main__.py"])
def ask(path, data=None):
    with urllib.request.urlopen("http://127.0.0.1:5001" + path, data, 60) as answer:
        return json.load(answer) if path != "/ready" else answer.status
while True:
    try:
        ask("/ready")
        break
    except OSError:
        if server.poll() is not None: sys.exit("the server ended")
        time.sleep(0.1)
print(json.dumps(ask("/score", b'{"data": [1, 2]}')))
server.terminate()
sys.exit(server.wait())
"""


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.skipif(bool(missing_tool() or registries.why_not()), reason=missing_tool() or registries.why_not())
def test_a_packaged_model_scores_in_podman_and_a_build_context_becomes_the_same(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, registry: DockerRegistry
) -> None:
    base = debian_base(session_place(tmp_path_factory.getbasetemp())).root
    cli = Cli.at(tmp_path / "one", config=f'lock_platforms = ["linux/amd64"]\nregistry = "{registry.host}/team/environments"\n')
    cli.variables |= {"WARDIAN_BASE_IMAGE": f"oci:{base}:debian"}
    cli.write("score.py", SCORE)
    cli.write("weights.bin", "w")
    cli.write("bare.py", '# /// script\n# requires-python = "==3.11.*"\n# dependencies = []\n# ///\n')
    cli.ok("env", "create", "bare", "-f", "bare.py")
    cli.ok("model", "create", "churn", "weights.bin")
    common = ("model", "package", "churn", "-e", "bare", "--entry", "score.py")
    done = cli.json(*common, "--to", f"{registry.host}/team/churn:1")
    assert done["place"] == f"{registry.host}/team/churn:1"
    cli.ok(*common, "--context", "context")
    text = (cli.directory / "context" / "Dockerfile").read_text()
    assert f"\nFROM {registry.host}/team/environments@sha256:" in text
    with podman_space() as space:
        engine = space.engine()
        pulled = engine.load(f"{parse_image_reference(done['place']).name}@sha256:{done['digest']}", plain_http=True)
        built = engine.call(
            "build", "--isolation=chroot", "--tls-verify=false", "-t", "built", str(cli.directory / "context"), timeout_s=300
        )
        assert built.returncode == 0, built.stderr
        first, second = (scored(space, image) for image in (pulled.id, "localhost/built"))
    assert first == second == {"sum": 3}


def scored(space: PodmanSpace, image: str) -> dict[str, Any]:
    done = space.engine().call(
        "--runtime", "runc", "run", "--rm", "--network=none", "--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024",
        "--entrypoint=/opt/env/bin/python", image, "-c", _ASK, timeout_s=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + done.stdout
    assert "['weights.bin']" in done.stdout
    found: dict[str, Any] = next(json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"sum"'))
    return found
