"""Which fields decide the definition's hash, and how."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
from pathlib import Path
from typing import Any

import pytest
from tests.builders import an_environment

from wardian.definition.docker_section import BuildContext, DockerSection
from wardian.definition.document import from_document
from wardian.definition.environment import Environment, LocalSource, PythonSection, SparkSection
from wardian.definition.identity import SCHEME, definition_hash, hashed_fields
from wardian.digest import Digest

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "definition_hash.json").read_text(encoding="utf-8"))
ONE, TWO = Digest.of(b"one"), Digest.of(b"two")


def conda(**fields: Any) -> Environment:
    return Environment(python=PythonSection(**fields))


def uv(**fields: Any) -> Environment:
    return Environment(python=PythonSection(manager="uv", **fields))


def docker(**fields: Any) -> Environment:
    return Environment(docker=DockerSection(**fields))


# key of the hashed fields → two definitions that differ in it alone
PAIRS: dict[str, tuple[Environment, Environment]] = {
    "base_image": (docker(base_image="ubuntu:22.04"), docker(base_image="ubuntu:24.04")),
    "dockerfile": (docker(dockerfile="FROM a\n"), docker(dockerfile="FROM b\n")),
    "build_context": (docker(build_context=BuildContext(ONE)), docker(build_context=BuildContext(TWO))),
    "build_args": (docker(dockerfile="FROM a\n"), docker(dockerfile="FROM a\n", build_args={"RELEASE": "2"})),
    "docker_platform": (docker(base_image="a"), docker(base_image="a", platform="linux/arm64")),
    "manager": (conda(pip=("numpy",)), uv(pip=("numpy",))),
    "source": (uv(), uv(source="host")),
    "requires_python": (uv(requires_python="3.11"), uv(requires_python="3.12")),
    "virtual_packages": (Environment(accelerators={"cuda": "12.4"}), Environment(accelerators={"cuda": "12.8"})),
    "link_scripts": (conda(), conda(link_scripts="run")),
    "channels": (conda(channels=("a", "b")), conda(channels=("b", "a"))),
    "conda": (conda(conda=("numpy", "scipy")), conda(conda=("scipy", "numpy"))),
    "pip": (uv(pip=("numpy", "scipy")), uv(pip=("scipy", "numpy"))),
    "pip_options": (uv(pip_options=("--pre",)), uv(pip_options=("--no-index",))),
    "constraints": (uv(constraints=("numpy<2",)), uv(constraints=("numpy<3",))),
    "index_strategy": (uv(), uv(index_strategy="unsafe-best-match")),
    "local": (uv(local=(LocalSource("./a", ONE),)), uv(local=(LocalSource("./a", TWO),))),
    "locked_input": (uv(locked_input=ONE), uv(locked_input=TWO)),
    "spark_packages": (Environment(spark=SparkSection(("a:b:1",))), Environment(spark=SparkSection(("a:b:2",)))),
    "spark_repositories": (
        Environment(spark=SparkSection((), ("https://a.example",))),
        Environment(spark=SparkSection((), ("https://b.example",))),
    ),
}


def keys_in_the_source() -> set[str]:
    """The keys that `hashed_fields` writes, read from its source: a new one without a pair makes a test red."""
    tree = ast.parse(inspect.getsource(hashed_fields))
    whole = next(node.value for node in ast.walk(tree) if isinstance(node, ast.AnnAssign))
    assert isinstance(whole, ast.Dict)
    return {key.value for key in whole.keys if isinstance(key, ast.Constant) and isinstance(key.value, str)}


def test_every_hashed_field_has_a_pair() -> None:
    assert set(PAIRS) == keys_in_the_source()


@pytest.mark.parametrize("key", PAIRS)
def test_every_hashed_field_decides_the_hash(key: str) -> None:
    one, two = PAIRS[key]
    assert definition_hash(one) != definition_hash(two)


@pytest.mark.parametrize("key", PAIRS)
def test_dropping_a_hashed_field_would_be_seen(key: str) -> None:
    """The mutation check: without ``key`` its pair would have one hash, so the test above would be red."""
    one, two = ({k: v for k, v in hashed_fields(env).items() if k != key} for env in PAIRS[key])
    assert one == two


CHANGED: dict[str, Environment] = {
    "name": an_environment(name="other"),
    "description": an_environment(description="for the arrays"),
    "tags": an_environment(tags={"team": "vision"}),
    "variables": an_environment(variables={"OMP_NUM_THREADS": "2"}),
}


@pytest.mark.parametrize("field", CHANGED)
def test_what_is_not_hashed_does_not_matter(field: str) -> None:
    assert CHANGED[field] != an_environment()
    assert definition_hash(CHANGED[field]) == definition_hash(an_environment())


def test_the_interpreter_and_credentials_do_not_matter() -> None:
    user = PythonSection(manager="user", interpreter="/opt/python")
    assert definition_hash(Environment(python=user)) == definition_hash(Environment(python=PythonSection(manager="user")))
    private = docker(base_image="private/image:1", credentials="registry")
    assert definition_hash(private) == definition_hash(docker(base_image="private/image:1"))
    mounted = docker(dockerfile="FROM a\n", build_secrets={"token": "team"})
    assert definition_hash(mounted) == definition_hash(docker(dockerfile="FROM a\n"))


def test_each_field_of_a_definition_is_hashed_or_left_out_on_purpose() -> None:
    """A new field of a section makes this red, until somebody decides."""
    fields = {f.name for section in (PythonSection, DockerSection, SparkSection) for f in dataclasses.fields(section)}
    renamed = {"platform": "docker_platform", "packages": "spark_packages", "repositories": "spark_repositories"}
    left_out = {"interpreter", "credentials", "build_secrets"}
    assert {renamed.get(name, name) for name in fields - left_out} | {"virtual_packages"} == set(PAIRS)
    own = {f.name for f in dataclasses.fields(Environment)}
    assert own == {"python", "docker", "spark", "accelerators"} | set(CHANGED)


def test_the_path_of_a_build_context_does_not_matter_but_its_dockerfile_does() -> None:
    here, there = docker(build_context=BuildContext(ONE, "./a")), docker(build_context=BuildContext(ONE, "./b"))
    assert definition_hash(here) == definition_hash(there)
    assert definition_hash(here) != definition_hash(docker(build_context=BuildContext(ONE, "./a", "Dockerfile.gpu")))


def test_defaults_are_omitted() -> None:
    assert hashed_fields(Environment()) == {}
    assert definition_hash(Environment()) == Digest.of_document({"scheme": SCHEME})


def test_the_order_of_mappings_does_not_matter() -> None:
    one = Environment(accelerators={"cuda": "12.4", "glibc": "2.31"})
    assert definition_hash(one) == definition_hash(Environment(accelerators={"glibc": "2.31", "cuda": "12.4"}))


SAME: list[tuple[Environment, Environment]] = [
    (conda(conda=("NumPy >=1.26, <2",)), conda(conda=("numpy>=1.26,<2",))),
    (conda(conda=("numpy   1.26",)), conda(conda=("numpy 1.26",))),
    (uv(pip=("Scikit_Learn >= 1.4",)), uv(pip=("scikit-learn>=1.4",))),
    (
        uv(pip_options=("-i https://index.example.org/simple",)),
        uv(pip_options=("--index-url https://index.example.org/simple",)),
    ),
    (conda(channels=("https://conda.example.org/ch/",)), conda(channels=("https://conda.example.org/ch",))),
    (conda(channels=("https://conda.anaconda.org/conda-forge/",)), conda(channels=("conda-forge",))),
    (conda(channels=("https://conda.anaconda.org/t/${TOKEN}/conda-forge",)), conda(channels=("conda-forge",))),
    (conda(channels=("https://conda.anaconda.org/pytorch/label/test",)), conda(channels=("pytorch/label/test",))),
    (conda(channels=("https://repo.anaconda.com/pkgs/main",)), conda(channels=("pkgs/main",))),
    (
        conda(channels=("https://${USER}:${PASSWORD}@conda.example.org/t/${TOKEN}/ch",)),
        conda(channels=("https://conda.example.org/ch",)),
    ),
    (conda(conda=("https://conda.anaconda.org/conda-forge::numpy",)), conda(conda=("conda-forge::numpy",))),
    (
        uv(pip_options=("--extra-index-url https://${USER}:${PASSWORD}@index.example.org/simple",)),
        uv(pip_options=("--extra-index-url https://index.example.org/simple",)),
    ),
    (docker(dockerfile="FROM a\r\nRUN b\r\n"), docker(dockerfile="FROM a\nRUN b\n")),
    (docker(dockerfile="FROM a\n# e\u0301\n"), docker(dockerfile="FROM a\n# \u00e9\n")),
    (uv(requires_python="3.11"), uv(requires_python=" ==3.11.*")),
]


@pytest.mark.parametrize(("one", "two"), SAME)
def test_spelling_does_not_matter(one: Environment, two: Environment) -> None:
    assert definition_hash(one) == definition_hash(two)


DIFFERENT: list[tuple[Environment, Environment]] = [
    (conda(conda=("numpy 1.26",)), conda(conda=("numpy=1.26",))),
    (conda(conda=("numpy",)), conda(conda=("numpy", "numpy"))),
    (conda(conda=("numpy",), pip=()), conda(conda=(), pip=("numpy",))),
    (conda(channels=("conda-forge",)), conda(channels=("conda-forge", "defaults"))),
    (conda(conda=("conda-forge::numpy",)), conda(conda=("numpy",))),
    (docker(dockerfile="FROM a\n"), docker(dockerfile="FROM a")),
    (conda(channels=("https://conda.example.org/conda-forge",)), conda(channels=("conda-forge",))),
    (conda(channels=("https://conda.anaconda.org",)), conda(channels=())),
    (conda(channels=("https://repo.anaconda.com/pkgs/mainline",)), conda(channels=("pkgs/mainline",))),
    (docker(base_image="ubuntu"), docker(dockerfile="FROM ubuntu")),
    (uv(requires_python="3.11"), uv(requires_python="3.11.0")),
]


@pytest.mark.parametrize(("one", "two"), DIFFERENT)
def test_what_means_something_else_has_another_hash(one: Environment, two: Environment) -> None:
    assert definition_hash(one) != definition_hash(two)


@pytest.mark.parametrize("vector", GOLDEN["vectors"], ids=lambda vector: vector["note"])
def test_golden_vectors(vector: dict[str, Any]) -> None:
    """These never change: a change of rule is a new scheme tag (semantics §2)."""
    assert definition_hash(from_document(vector["document"])) == vector["hash"]


def test_the_golden_vectors_are_of_this_scheme() -> None:
    assert GOLDEN["scheme"] == SCHEME
    assert len(GOLDEN["vectors"]) >= 25
    assert len({vector["note"] for vector in GOLDEN["vectors"]}) == len(GOLDEN["vectors"])
    with_same = {note for vector in GOLDEN["vectors"] for note in vector.get("same_as", ())}
    hashes = {vector["note"]: vector["hash"] for vector in GOLDEN["vectors"]}
    assert len(set(hashes.values())) == len(hashes) - sum("same_as" in vector for vector in GOLDEN["vectors"])
    for vector in GOLDEN["vectors"]:
        assert all(hashes[note] == vector["hash"] for note in vector.get("same_as", ()))
    assert with_same
