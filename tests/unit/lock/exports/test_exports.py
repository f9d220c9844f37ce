"""Exports as text: golden files, what has no URL, several platforms, what a format cannot hold."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from packaging.pylock import Pylock
from packaging.requirements import Requirement
from tests.builders import a_lock, an_artifact, an_environment

from wardian import formats
from wardian.digest import Digest
from wardian.errors import InvalidInput
from wardian.lock.exports import FORMATS, export, packages_beside
from wardian.lock.exports.explicit import needed_first
from wardian.lock.lock import BuiltWheel

if TYPE_CHECKING:
    from wardian.definition.environment import Environment
    from wardian.lock.lock import Artifact, Lock

GOLDEN = Path(__file__).parents[3] / "golden" / "exports"
BUILT = BuiltWheel("mine-0.1-py3-none-any.whl", Digest.of(b"built"), 1234)


def url_of(lock: Lock, artifact: Artifact) -> str | None:
    if artifact.kind == "conda":
        channel = artifact.source.removeprefix("channel:").replace("#1", "extra")
        return f"https://user:secret@conda.example/t/secret/{channel}/{artifact.subdir}/{artifact.file}"
    return f"https://user:secret@index.example/files/{artifact.file}" if artifact.source.startswith("index:") else None


def nowhere(lock: Lock, artifact: Artifact) -> str | None:
    return None


def python_environment() -> Environment:
    return an_environment(
        name="sklearn",
        pip=("numpy", "alpha @ https://${HOST}/alpha-1.0-py3-none-any.whl", "mine @ git+https://git.example/mine@v1", "tool; sys_platform == 'linux'"),
        pip_options=("--extra-index-url https://more.example/simple", "--only-binary :all:"),
        variables={"OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def python_locks() -> dict[str, Lock]:
    def lock(platform: str, tag: str, numpy: str, *more: Artifact) -> Lock:
        wheel = f"numpy-{numpy}-cp312-cp312-{tag}.whl"
        return a_lock(
            an_artifact("cpython", "3.12.1", kind="python", file=f"cpython-3.12.1-{tag}.tar.gz"),
            an_artifact("numpy", numpy, file=wheel, timestamp="2024-02-05T23:50:00Z", requires_python=">=3.9", size_bytes=18_000_000),
            an_artifact("alpha", "1.0", source="definition:1", depends=("numpy", "pure")),
            an_artifact("pure", "2.0", depends=()),
            an_artifact("mine", "0.1", kind="sdist", source="definition:2", file="mine-0123456789ab", revision="0123456789ab" + "0" * 28, built=BUILT),
            *more,
            environment=python_environment(), platform=platform,
        )  # fmt: skip

    tool = an_artifact("tool", "3.0", markers="sys_platform == 'linux'")
    return {
        "linux/amd64": lock("linux/amd64", "manylinux_2_28_x86_64", "1.26.4", tool),
        "darwin/arm64": lock("darwin/arm64", "macosx_14_0_arm64", "1.26.3"),
    }


def conda_environment(**changes: object) -> Environment:
    return an_environment(
        name="geo", channels=("conda-forge", "https://conda.example/extra"), conda=("python=3.12", "gdal", "bioconda::star"), pip=("alpha",), **changes
    )  # fmt: skip


def conda_locks() -> dict[str, Lock]:
    def lock(platform: str, subdir: str) -> Lock:
        return a_lock(
            an_artifact("python", "3.12.1", kind="conda", subdir=subdir, depends=("openssl >=3,<4", "tzdata"), site_packages_path="lib/python3.12/site-packages"),
            an_artifact("openssl", "3.2.0", kind="conda", subdir=subdir, license="Apache-2.0", timestamp="2024-01-02T03:04:05.678Z", build_number=2),
            an_artifact("tzdata", "2024a", kind="conda", subdir="noarch", noarch="generic"),
            an_artifact("gdal", "3.8.3", kind="conda", subdir=subdir, source="channel:#1", depends=("python >=3.12,<3.13.0a0",), constrains=("libfoo <2",)),
            an_artifact("star", "2.7", kind="conda", subdir=subdir, source="channel:bioconda"),
            an_artifact("alpha", "1.0", requires_python=">=3.9", depends=("beta",)),
            an_artifact("beta", "0.5", kind="sdist", built=BUILT),
            environment=conda_environment(), platform=platform,
        )  # fmt: skip

    return {"linux/amd64": lock("linux/amd64", "linux-64"), "darwin/arm64": lock("darwin/arm64", "osx-arm64")}


CASES = {
    "pylock.toml": ("pylock", python_environment, python_locks),
    "requirements.txt": ("requirements", python_environment, python_locks),
    "environment-uv.yml": ("conda", python_environment, python_locks),
    "environment.yml": ("conda", conda_environment, conda_locks),
    "explicit.txt": ("explicit", conda_environment, conda_locks),
    "pixi.lock": ("pixi", conda_environment, conda_locks),
}


@pytest.mark.parametrize("file", CASES)
def test_golden_files(file: str) -> None:
    to, environment, locks = CASES[file]
    assert export(to, environment(), locks(), url_of) == (GOLDEN / file).read_text()


@pytest.mark.parametrize("file", CASES)
def test_no_secret_and_no_value_of_a_variable_gets_into_a_file(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOST", "internal.example")
    to, environment, locks = CASES[file]
    text = export(to, environment(), locks(), url_of)
    assert "secret" not in text
    assert "internal.example" not in text


def test_every_format_is_tried_by_a_golden_file() -> None:
    assert {to for to, _, _ in CASES.values()} == set(FORMATS)


def test_pylock_is_valid_and_says_all_that_pep_751_asks_for() -> None:
    document = tomllib.loads(export("pylock", python_environment(), python_locks(), url_of))
    lock = Pylock.from_dict(document)
    lock.validate()
    assert [(p.name, str(p.version)) for p in lock.packages if p.marker] == [
        ("numpy", "1.26.3"),
        ("numpy", "1.26.4"),
        ("tool", "3.0"),
    ]
    assert str(lock.requires_python) == "==3.12.*"
    assert document["tool"]["wardian"]["locks"] == {p: lock.digest for p, lock in python_locks().items()}


def test_wheels_of_one_version_for_two_platforms_stand_together() -> None:
    def lock(platform: str, tag: str) -> Lock:
        return a_lock(an_artifact("numpy", "1.26.4", file=f"numpy-1.26.4-cp312-cp312-{tag}.whl"), platform=platform)

    locks = [lock("linux/amd64", "manylinux_2_28_x86_64"), lock("linux/arm64", "manylinux_2_28_aarch64")]
    (package,) = tomllib.loads(export("pylock", an_environment(), locks, url_of))["packages"]
    assert len(package["wheels"]) == 2
    assert "marker" not in package
    text = export("requirements", an_environment(), locks, url_of)
    (line,) = [line for line in text.splitlines() if line.startswith("numpy")]
    assert line == "numpy==1.26.4 \\"
    assert text.count("--hash=") == 2


def test_requirements_select_by_platform_where_versions_differ() -> None:
    text = export("requirements", python_environment(), python_locks(), url_of)
    markers = {
        str(r): r.marker for line in text.splitlines() if line.startswith("numpy") for r in [Requirement(line.rstrip("\\ "))]
    }
    assert len(markers) == 2
    for name, machine in (("linux", "x86_64"), ("darwin", "arm64")):
        chosen = [
            text
            for text, marker in markers.items()
            if marker and marker.evaluate({"sys_platform": name, "platform_machine": machine})
        ]
        assert len(chosen) == 1


def test_requirements_are_read_back_by_our_own_reader() -> None:
    text = export("requirements", python_environment(), python_locks(), url_of)
    read = formats.read_text(text.replace("./packages/", "https://index.example/"), "requirements").environment.python
    (pure,) = (a for a in python_locks()["linux/amd64"].artifacts if a.name == "pure")
    assert f"pure==2.0 --hash=sha256:{pure.sha256}" in read.pip
    assert len(read.pip) == 6
    assert read.pip_options == ("--extra-index-url https://more.example/simple",)


def test_a_pinned_environment_is_read_back_with_the_same_pins() -> None:
    text = export("conda", conda_environment(variables={"A": "yes", "B": "1.10", "C": "a: b # c"}), conda_locks(), url_of)
    beside = formats.read_text(text.replace("./packages/", "https://index.example/"), "conda").environment
    assert beside.name == "geo"
    assert beside.python.channels == conda_environment().python.channels
    assert [spec for spec in beside.python.conda if spec.startswith("conda-forge::python")] == [
        "conda-forge::python=3.12.1=h0_0"
    ]
    assert dict(beside.variables) == {"A": "yes", "B": "1.10", "C": "a: b # c"}
    assert yaml.safe_load(text)["variables"] == {"A": "yes", "B": "1.10", "C": "a: b # c"}


def test_what_has_no_url_lies_beside_the_file() -> None:
    for file, (to, environment, locks) in CASES.items():
        locate = url_of if to == "pixi" else nowhere
        beside = packages_beside(to, environment(), locks(), locate)
        text = export(to, environment(), locks(), locate)
        assert bool(beside) == (file != "environment.yml")  # there, versions say it all
        for path, artifact in beside.items():
            assert path in text
            assert artifact.installed_sha256 in text
            assert not path.startswith(("/", ".."))
        assert to == "pixi" or "https://conda" not in text.replace("https://conda.example/extra", "")


def test_what_was_built_here_is_the_built_wheel() -> None:
    beside = packages_beside("pylock", python_environment(), python_locks(), url_of)
    assert {path: artifact.name for path, artifact in beside.items()} == {
        "packages/mine-0.1-py3-none-any.whl": "mine",
        "packages/alpha-1.0-py3-none-any.whl": "alpha",  # its URL has a variable, which a pylock knows nothing of
    }


def test_a_file_that_the_definition_names_by_url_stays_named_by_url() -> None:
    environment = an_environment(
        channels=("conda-forge",), conda=("https://conda.example/own/linux-64/tool-1-0.conda#sha256:" + "0" * 64, "y")
    )
    own = an_artifact("tool", "1", kind="conda", build="0", source="channel:#1")
    text = export("conda", environment, [a_lock(own, an_artifact("y", "2", kind="conda"))], url_of)
    assert "  - https://conda.example/own/linux-64/tool-1-0.conda\n  - y=2=h0_0\n" in text


def test_packages_come_after_what_they_need_even_in_a_circle() -> None:
    def package(name: str, *depends: str) -> Artifact:
        return an_artifact(name, "1", kind="conda", depends=depends)

    order = needed_first(
        [
            package("a", "c >=1", "z *"),
            package("b", "a"),
            package("c", "python"),
            package("python", "pip"),
            package("pip", "python"),
        ]
    )
    names = [artifact.name for artifact in order]
    assert sorted(names) == ["a", "b", "c", "pip", "python"]
    assert names.index("python") < names.index("c") < names.index("a") < names.index("b")


@pytest.mark.parametrize(
    ("to", "environment", "locks", "code"),
    [
        ("poetry", python_environment, python_locks, "unknown_export"),
        ("pylock", conda_environment, conda_locks, "export_cannot_hold"),
        ("requirements", conda_environment, conda_locks, "export_cannot_hold"),
        ("pixi", python_environment, python_locks, "export_cannot_hold"),
        ("explicit", python_environment, python_locks, "export_cannot_hold"),
        ("conda", python_environment, dict, "nothing_to_export"),
    ],
)  # fmt: skip
def test_refusals(to: str, environment: object, locks: object, code: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        export(to, environment(), locks(), url_of)  # type: ignore[operator]
    assert refused.value.stable_code == code
    assert refused.value.hint


def test_awkward_names_stay_inside_their_quotes() -> None:
    environment = an_environment(channels=("conda-forge",), conda=("x",), variables={"V": 'a"b\\c\nd\x7f\x85\u2028é'})
    lock = a_lock(an_artifact("x", "1", kind="conda", license='MIT "or" \\ so\x7f'))
    assert yaml.safe_load(export("conda", environment, [lock], url_of))["variables"] == dict(environment.variables)
    assert yaml.safe_load(export("pixi", environment, [lock], url_of))["packages"][0]["license"] == 'MIT "or" \\ so\x7f'
