"""Curated environments: every workspace has them, nothing is solved for them, images come from the global registry, nobody changes them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from tests.support import registry as registries
from tests.support.base_images import debian_base, missing_tool, session_place
from tests.support.cli import Cli
from tests.support.containers import podman_space
from tests.support.curated import NAME, draft, make, publish
from tests.support.index import Index
from tests.support.pythons import installed_pythons, make_standalone
from tests.support.wheels import make_wheel

from wardian.curated.catalogue import Catalogue

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.pythons import Catalogue as Pythons
    from tests.support.registry import DockerRegistry

OLD, NEW = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 6, 1, tzinfo=UTC)
WRITES = ("PUT", "POST", "PATCH")


class Surroundings:
    """An index with Pythons, and a catalogue over them."""

    def __init__(self, place: Path, shop: Index, pythons: Pythons) -> None:
        self.place, self.shop, self.pythons, self.catalogue = place, shop, pythons, place / "curated"

    def home(self, name: str) -> Cli:
        """Return a fresh home with this catalogue."""
        cli = Cli.at(self.place / name, index_url=self.shop.url)
        config = cli.home / "config.toml"
        kept = [line for line in config.read_text().splitlines() if not line.startswith("python_downloads")]
        config.write_text(
            "\n".join([f'python_downloads = "{self.pythons.url}"', f'catalogue = "{self.catalogue}"', *kept]) + "\n"
        )
        cli.write("show.py", "import alpha, os\nprint(alpha.version, os.environ.get('MODE', 'none'))\n")
        return cli


@pytest.fixture(scope="module")
def around(tmp_path_factory: pytest.TempPathFactory, python_catalogue: Pythons) -> Iterator[Surroundings]:
    place = tmp_path_factory.mktemp("curated")
    with Index(place / "index") as shop:
        for version, day in (("1.0", OLD), ("0.9", OLD)):
            shop.add(
                make_wheel(place / "wheels", "alpha", version, files={"alpha/__init__.py": f"version = '{version}'\n"}), day
            )
        found = Surroundings(place, shop, python_catalogue)
        draft(found.catalogue, python_catalogue)
        publish(found.catalogue, python_catalogue, shop)
        shop.add(make_wheel(place / "wheels", "alpha", "2.0", files={"alpha/__init__.py": "version = '2.0'\n"}), NEW)
        yield found


@pytest.fixture
def cli(around: Surroundings, tmp_path: Path) -> Cli:
    return around.home(tmp_path.name)


def solves(cli: Cli) -> int:
    return len(cli.json("build", "list", "--kind", "lock")["builds"])


def test_a_fresh_workspace_runs_it_without_a_solve(cli: Cli, around: Surroundings) -> None:
    (listed,) = cli.json("env", "list", "--kind", "curated")["environments"]
    assert (listed["name"], listed["version"], listed["frameworks"]) == (NAME, "1", [{"name": "alpha", "version": "1.0"}])
    assert cli.json("env", "list")["environments"] == []
    assert cli.ok("run", "-e", NAME, "show.py").out == "1.0 none\n"
    assert solves(cli) == 0
    shown = cli.json("env", "show", NAME)
    assert (shown["kind"], shown["lock"]["lock_digest"]) == ("curated", listed["locks"]["linux/amd64"])
    assert shown["source"]["text"].startswith("# what everybody starts with")
    assert cli.json("env", "list")["environments"] == []
    record = cli.json("runs", "show", "latest")
    assert record["results"]["environment"]["lock_digest"] == listed["locks"]["linux/amd64"]
    assert cli.json("catalog", "smoke")["smoke"][0]["said"] == "smoke: alpha 1.0"


def test_the_same_definition_under_another_name_gets_its_lock(cli: Cli, around: Surroundings) -> None:
    text = cli.ok("env", "export", NAME, "--to", "source").out.replace(NAME, "ours")
    cli.write("ours.yml", text)
    done = cli.ok("run", "-f", "ours.yml", "show.py")
    assert done.out == "1.0 none\n"
    assert "the catalogue has for it" in done.err
    assert solves(cli) == 0
    cli.write("theirs.yml", text.replace("name: ours", f"name: {NAME}"))
    refused = cli.run("run", "-f", "theirs.yml", "show.py", "--json")
    assert (refused.code, "reserved_name" in refused.err) == (125, True)


def test_a_change_makes_another_environment_with_its_lineage(cli: Cli) -> None:
    cli.ok("env", "create", "mine", "--from", NAME, "-V", "MODE=fast")
    cli.ok("env", "create", "older", "--from", NAME)
    cli.ok("env", "add", "older", "alpha==0.9")
    assert cli.ok("run", "-e", "mine", "show.py").out == "1.0 fast\n"
    assert solves(cli) == 0, "a variable changes no package"
    assert cli.ok("run", "-e", "older", "show.py").out == "0.9 none\n"
    curated, mine, older = (cli.json("env", "show", name) for name in (NAME, "mine", "older"))
    assert mine["definition_hash"] == curated["definition_hash"] != older["definition_hash"]
    assert mine["lock"]["lock_digest"] == curated["lock"]["lock_digest"]
    assert [one["reference"] for one in older["lineage"]] == ["older:1", f"{NAME}:1"]
    assert mine["lineage"][0]["note"] == f"derived from {NAME}:1: MODE unset → fast"
    assert mine["kind"] == "system"
    shown = cli.ok("env", "show", "older").out
    assert "  from       older:1 " in shown
    assert f"  from       derived from {NAME}:1: alpha " in shown, "whatever the steps, it is said what differs"


@pytest.mark.parametrize(
    "words",
    [
        "env add NAME beta", "env remove NAME alpha", "env label NAME:1 mine", "env update NAME --description x", "env archive NAME",
        "env archive NAME:1", "env restore NAME", "env delete NAME --yes", "env delete NAME:1 --yes", "env upgrade NAME",
        "env rebuild NAME --yes", "env push NAME oci:there", "env create NAME --from NAME", "env create NAME -r requirements.txt",
        "env create wardian-other -r requirements.txt", "env create Wardian-other --from NAME",
    ],
)  # fmt: skip
def test_nobody_changes_it_and_nobody_takes_its_name(cli: Cli, words: str) -> None:
    cli.write("requirements.txt", "alpha\n")
    before = cli.json("env", "show", NAME)
    refused = cli.run(*(word.replace("NAME", NAME) for word in words.split()), "--json")
    assert refused.code in (2, 5), refused.err
    assert any(code in refused.err for code in ("curated_read_only", "reserved_name")), refused.err
    assert cli.json("env", "show", NAME) == before
    assert cli.json("env", "list", "--archived")["environments"] == []


@pytest.mark.slow
def test_new_locks_are_a_new_version_and_the_old_one_stays(
    around: Surroundings, tmp_path: Path, python_catalogue: Pythons
) -> None:
    own = Surroundings(tmp_path, around.shop, python_catalogue)
    draft(own.catalogue, python_catalogue)
    around.shop.remove("alpha-2.0-py3-none-any.whl")
    publish(own.catalogue, python_catalogue, around.shop)
    around.shop.add(make_wheel(tmp_path / "wheels", "alpha", "2.0", files={"alpha/__init__.py": "version = '2.0'\n"}), NEW)
    cli = own.home("one")
    assert cli.ok("run", "-e", NAME, "show.py").out == "1.0 none\n"
    make(own.catalogue, "draft", NAME)
    publish(own.catalogue, python_catalogue, around.shop)
    make(own.catalogue, "deprecate", f"{NAME}:1", "--successor", f"{NAME}:2")
    make(own.catalogue, "check")
    assert cli.ok("run", "-e", NAME, "show.py").out == "2.0 none\n"
    old = cli.ok("run", "-e", f"{NAME}:1", "show.py")
    assert old.out == "1.0 none\n"
    assert f"deprecated since {datetime.now(UTC).date()}: `{NAME}:2` takes its place" in old.err
    assert [row["version"] for row in cli.json("env", "history", NAME)["history"]] == ["2", "1"]
    assert solves(cli) == 0
    cli.write("ours.yml", cli.ok("env", "export", NAME, "--to", "source").out.replace(NAME, "ours"))
    assert cli.ok("run", "-f", "ours.yml", "show.py").out == "2.0 none\n", "a newcomer gets the newest lock of the hash"


@pytest.mark.slow
def test_a_smoke_script_that_fails_is_named_and_the_others_run(
    around: Surroundings, tmp_path: Path, python_catalogue: Pythons
) -> None:
    own = Surroundings(tmp_path, around.shop, python_catalogue)
    other = "Wardian-alpha-1.0-py4-cpu"
    place = draft(own.catalogue, python_catalogue)
    (place / "smoke.py").write_text("import sys\nprint('no', 'progress\\rlast')\nsys.exit(3)\n")
    draft(own.catalogue, python_catalogue, name=other)
    publish(own.catalogue, python_catalogue, around.shop, NAME, other)
    cli = own.home("one")
    done = cli.run("catalog", "smoke")
    assert done.code == 1
    assert "1 of 2 smoke scripts did not complete" in done.err
    assert [line.split()[2:4] for line in done.out.splitlines()[1:]] == [["failed", "last"], ["completed", "smoke:"]]


def test_a_changed_file_of_the_catalogue_is_told(around: Surroundings, tmp_path: Path, python_catalogue: Pythons) -> None:
    own = Surroundings(tmp_path, around.shop, python_catalogue)
    place = draft(own.catalogue, python_catalogue)
    publish(own.catalogue, python_catalogue, around.shop)
    cli = own.home("one")
    lock = place / "linux-amd64.lock.json"
    kept = lock.read_text()
    lock.write_text(kept.replace('"version": "', '"version": "9', 1))
    refused = cli.run("run", "-e", NAME, "show.py", "--json")
    assert (refused.code, "damaged_catalogue" in refused.err) == (125, True)
    lock.write_text(kept)
    assert cli.ok("run", "-e", NAME, "show.py").code == 0
    for broken in (
        "[",
        "[]",
        json.dumps({"schema": 99, "environments": {}}),
        json.dumps({"schema": 1, "environments": {NAME: {"1": {}}}}),
    ):
        (own.catalogue / "catalogue.json").write_text(broken)
        refused = cli.run("env", "list", "--kind", "curated")
        assert refused.code == 1, refused.err
        assert "Traceback" not in refused.err


def test_the_cpu_build_of_pytorch_comes_from_its_own_index(cli: Cli, around: Surroundings, tmp_path: Path) -> None:
    entry = Catalogue().find("Wardian-pytorch-2.14-py312-cpu")
    assert entry is not None
    python = next(iter(around.pythons.entries)).split("-")[1]
    text = entry.source().replace("==3.12.*", f"=={python}").replace(entry.name, "cpu")
    with Index(tmp_path / "index") as own:
        for shop, version in ((own, "2.14.0+cpu"), (around.shop, "2.14.0"), (around.shop, "2.14.1")):
            shop.add(make_wheel(tmp_path / "wheels", "torch", version, requires=["numpy"]), OLD)
            shop.add(make_wheel(tmp_path / "wheels", "numpy", "2.3.0"), OLD)
        assert "https://download.pytorch.org/whl/cpu" in text
        cli.write("cpu.yml", text.replace("https://download.pytorch.org/whl/cpu", own.url))
        (lock,) = cli.json("env", "lock", "cpu.yml")["locks"].values()
    found = {package["name"]: (package["version"], package["source"]) for package in lock["packages"]}
    assert found["torch"][0] == "2.14.0+cpu"
    assert found["torch"][1] != "index:pypi"


@pytest.mark.skipif(bool(missing_tool()), reason=missing_tool())
@pytest.mark.skipif(bool(registries.why_not()), reason=registries.why_not())
def test_its_image_is_pulled_from_the_global_registry(
    around: Surroundings, tmp_path: Path, registry: DockerRegistry, tmp_path_factory: pytest.TempPathFactory
) -> None:
    shared = f"{registry.host}/team/curated"
    base = debian_base(session_place(tmp_path_factory.getbasetemp()))
    admin = around.home(f"{tmp_path.name}-admin")
    admin.variables["WARDIAN_BASE_IMAGE"] = f"oci:{base.root}:debian"
    assert {row["state"] for row in admin.json("catalog", "diff", "--to", shared)["images"]} == {"missing"}
    (built,) = admin.json("catalog", "build", "--to", shared)["images"]
    assert {row["state"] for row in admin.json("catalog", "diff", "--to", shared)["images"]} == {"there"}
    assert admin.json("catalog", "build", "--to", shared)["images"] == [built], "again is the same"
    with podman_space() as space:
        user = around.home(f"{tmp_path.name}-user")
        # a base image that cannot be asked for: nobody needs it whose image is there
        user.variables |= space.environ | {
            "WARDIAN_GLOBAL_REGISTRY": shared,
            "WARDIAN_BASE_IMAGE": f"oci:{tmp_path}/nowhere:debian",
        }
        before = len(registry.requests())
        assert user.ok("run", "-e", NAME, "show.py").out == "1.0 none\n"
        assert user.ok("run", "-t", "podman", "-e", NAME, "show.py").out == "1.0 none\n"
        assert user.json("catalog", "smoke", "-t", "podman")["smoke"][0]["state"] == "completed"
        requests = registry.requests()[before:]
        assert [line for line in requests if line.startswith(WRITES)] == []
        assert solves(user) == 0
        assert user.json("build", "list", "--kind", "image")["builds"] == [], "no layer was written"
        image = user.json("image", "show", NAME)
        assert (image["exists"], image["digest"], image["store"]) == (True, built["digest"], shared)

        user.ok("env", "create", "mine", "--from", NAME, "-V", "MODE=fast")
        assert user.ok("run", "-t", "podman", "-e", "mine", "show.py").out == "1.0 fast\n"
        assert user.json("image", "show", "mine")["digest"] == built["digest"], "a variable is not in the image"
        assert user.json("build", "list", "--kind", "image")["builds"] == []
        refused = user.run("env", "pull", f"{shared}/{NAME}", "--json")
        assert (refused.code, "curated_read_only" in refused.err) == (5, True)


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.parametrize(
    "name",
    ["Wardian-minimal-py312-cpu", "Wardian-sklearn-1.9-py312-cpu", "Wardian-xgboost-3.4-lightgbm-4.7-py312-cpu",
     "Wardian-mlflow-3-sklearn-1.9-py312-cpu"],
)  # fmt: skip
def test_what_comes_with_wardian_trains_with_the_versions_of_its_lock(tmp_path: Path, name: str) -> None:
    """The standalone Python that the lock names is not on every machine: the same versions, with a repacked one of this machine."""
    entry = Catalogue().find(name)
    assert entry is not None
    lock = entry.lock("linux/amd64")
    assert lock is not None
    executable = next((path for version, path in installed_pythons() if version.startswith(f"{entry.python}.")), None)
    if executable is None:
        pytest.skip(f"no Python {entry.python} is on this machine")
    pythons = make_standalone(tmp_path / "pythons", executable)
    place = tmp_path / "curated" / name / "1"
    place.mkdir(parents=True)
    versions = [f"{artifact.name}=={artifact.version}" for artifact in lock.artifacts if artifact.kind != "python"]
    asked = f'name: {name}\ndescription: x\ntags: {{accelerator: cpu}}\npython:\n  manager: uv\n  version: "=={entry.python}.*"\n  pip: {json.dumps(versions)}\n'
    (place / "environment.yml").write_text(asked)
    (place / "smoke.py").write_text(entry.smoke.read_text())
    make(tmp_path / "curated", "publish", name, "--pythons", pythons.url, "--platform", "linux/amd64")
    cli = Cli.at(tmp_path / "one")
    (cli.home / "config.toml").write_text(f'python_downloads = "{pythons.url}"\ncatalogue = "{tmp_path / "curated"}"\n')
    (done,) = cli.json("catalog", "smoke", name)["smoke"]
    assert (done["state"], done["said"].split(":")[0]) == ("completed", "smoke")
    again = Catalogue(tmp_path / "curated").entries[0].lock("linux/amd64")
    assert again is not None
    digests = {artifact.file: artifact.sha256 for artifact in lock.artifacts if artifact.kind != "python"}
    assert {artifact.file: artifact.sha256 for artifact in again.artifacts if artifact.kind != "python"} == digests
