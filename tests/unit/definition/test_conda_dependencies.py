from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from tests.builders import an_environment
from tests.property.strategies_conda import conda_environments

from wardian.definition.conda_dependencies import CondaDependencies
from wardian.definition.environment import Environment, LocalSource, PythonSection
from wardian.definition.identity import definition_hash
from wardian.digest import Digest
from wardian.errors import InvalidDefinition, InvalidInput, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable

BASE = CondaDependencies.create(["numpy=1.26", "pandas"], ["Foo_Bar>=1", "other"], "3.11", ["conda-forge", "defaults"])


def test_create_keeps_the_order_with_python_first() -> None:
    assert BASE.conda_packages == ("python=3.11", "numpy=1.26", "pandas")
    assert BASE.pip_packages == ("foo-bar>=1", "other")
    assert BASE.channels == ("conda-forge", "defaults")
    assert BASE.pip_options == ()


def test_nothing_is_added_that_was_not_asked_for() -> None:
    assert CondaDependencies.create().to_section() == PythonSection()
    assert CondaDependencies() == CondaDependencies.create()
    assert CondaDependencies().python_version is None


@pytest.mark.parametrize(
    ("asked", "requirement", "version"),
    [
        ("3.11", "python=3.11", "=3.11"),
        ("3.11.7", "python=3.11.7", "=3.11.7"),
        (">=3.9", "python>=3.9", ">=3.9"),
        (">=3.9, <3.12", "python>=3.9,<3.12", ">=3.9,<3.12"),
        ("=3.10", "python=3.10", "=3.10"),
        ("==3.10.4", "python==3.10.4", "==3.10.4"),
    ],
)
def test_python_is_kept_as_it_is_written(asked: str, requirement: str, version: str) -> None:
    made = CondaDependencies.create(python_version=asked)
    assert made.conda_packages == (requirement,)
    assert made.python_version == version


def test_python_in_both_places_is_refused() -> None:
    with pytest.raises(InvalidInput, match="python is among the conda packages") as caught:
        CondaDependencies.create(["python=3.11"], python_version="3.12")
    assert caught.value.stable_code == "duplicate_python"


def test_a_package_is_replaced_where_it_stands() -> None:
    changed = BASE.with_conda_package("NumPy >=2, <3")
    assert changed.conda_packages == ("python=3.11", "numpy>=2,<3", "pandas")
    assert BASE.conda_packages[1] == "numpy=1.26"
    assert BASE.with_conda_package("scipy").conda_packages[-1] == "scipy"
    assert BASE.with_conda_package("python>=3.12").python_version == ">=3.12"


def test_adding_what_is_there_keeps_the_identity() -> None:
    one = Environment(python=BASE.to_section())
    again = (
        BASE.with_conda_package("numpy=1.26")
        .with_pip_package("foo.bar >=1")
        .with_channel("conda-forge/")
        .with_python_version("3.11")
    )
    assert again == BASE
    assert definition_hash(Environment(python=again.to_section())) == definition_hash(one)


def test_a_name_that_stands_twice_stands_once_after_a_replacement() -> None:
    twice = CondaDependencies.create(["numpy>=1", "scipy", "numpy<2"])
    assert twice.with_conda_package("numpy=1.26").conda_packages == ("numpy=1.26", "scipy")


def test_pip_packages_are_replaced_by_name_in_any_spelling() -> None:
    assert BASE.with_pip_package("FOO.bar==2").pip_packages == ("foo-bar==2", "other")
    assert BASE.without_pip_package("Foo_Bar").pip_packages == ("other",)
    url = "git+https://git.example.org/a/b.git"
    assert BASE.with_pip_package(url).without_pip_package(url) == BASE


def test_packages_channels_and_options_can_be_taken_out() -> None:
    assert BASE.without_conda_package("NumPy").conda_packages == ("python=3.11", "pandas")
    assert BASE.without_python_version().python_version is None
    assert BASE.without_channel("defaults/").channels == ("conda-forge",)
    with_option = BASE.with_pip_option("-i https://index.example.org/simple")
    assert with_option.pip_options == ("--index-url https://index.example.org/simple",)
    assert with_option.without_pip_option("--index-url") == BASE
    assert with_option.without_pip_option("--index-url https://index.example.org/simple") == BASE


def test_taking_out_what_is_not_there_says_what_is() -> None:
    calls: list[tuple[Callable[[], object], str]] = [
        (lambda: BASE.without_conda_package("scipy"), "package_not_in_definition"),
        (lambda: BASE.without_pip_package("scipy"), "package_not_in_definition"),
        (lambda: BASE.without_channel("nvidia"), "channel_not_in_definition"),
        (lambda: BASE.without_pip_option("--pre"), "option_not_in_definition"),
        (lambda: CondaDependencies().without_python_version(), "package_not_in_definition"),
    ]
    for take_out, code in calls:
        with pytest.raises(NotFound) as caught:
            take_out()
        assert caught.value.stable_code == code
        assert caught.value.hint


def test_an_option_is_replaced_unless_it_may_stand_several_times() -> None:
    changed = BASE.with_pip_option("-i https://a.example/simple").with_pip_option("--index-url https://b.example/simple")
    assert changed.pip_options == ("--index-url https://b.example/simple",)
    two = BASE.with_pip_option("--extra-index-url https://a.example").with_pip_option("--extra-index-url https://b.example")
    assert len(two.pip_options) == 2
    assert two.with_pip_option("--extra-index-url https://b.example") == two


def test_local_code_needs_a_file() -> None:
    with pytest.raises(InvalidInput) as caught:
        BASE.with_pip_package("./pkg")
    assert caught.value.stable_code == "local_code_needs_file"


def test_the_digest_of_local_code_goes_with_its_requirement() -> None:
    local = (LocalSource("./pkg", Digest.of(b"")),)
    env = Environment(python=PythonSection(pip=("./pkg", "numpy"), local=local))
    dependencies = CondaDependencies.from_environment(env)
    assert dependencies.with_pip_package("scipy").to_section().local == local
    assert dependencies.without_pip_package("./pkg").to_section() == PythonSection(pip=("numpy",))


def test_a_value_is_always_valid() -> None:
    with pytest.raises(InvalidDefinition, match="2 faults"):
        CondaDependencies.create([">=1"], ["=2"])
    with pytest.raises(InvalidInput, match="not a conda match spec"):
        BASE.with_conda_package("numpy >=1 <2")
    with pytest.raises(dataclasses.FrozenInstanceError):
        BASE.section = PythonSection()  # type: ignore[misc]


def test_only_conda_environments_have_conda_dependencies() -> None:
    with pytest.raises(InvalidInput) as caught:
        CondaDependencies.from_environment(an_environment())
    assert caught.value.stable_code == "manager_mismatch"


@settings(max_examples=100)
@given(conda_environments)
def test_the_section_of_an_environment_comes_back_unchanged(env: Environment) -> None:
    assert CondaDependencies.from_environment(env).to_section() == env.python
