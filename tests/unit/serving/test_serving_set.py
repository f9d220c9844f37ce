"""The list of the server's packages: whole, pure, without hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name, parse_wheel_filename

from wardian.definition.platform import PLATFORMS, marker_environment
from wardian.errors import Bug
from wardian.serving.server_wheel import REQUIRES
from wardian.serving.serving_set import PACKAGED, serving_set

if TYPE_CHECKING:
    from pathlib import Path

PYTHONS = ["3.9.2", "3.10.13", "3.11.7", "3.12.1", "3.13.0", "3.14.0"]


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("platform", [name for name in PLATFORMS if not name.startswith("windows")])
def test_each_choice_has_all_that_it_needs_and_nothing_else(python: str, platform: str) -> None:
    about = {**marker_environment(PLATFORMS[platform], python), "extra": ""}
    for packages in serving_set().choices(python):
        reached: set[str] = set()
        line = [*serving_set().roots]
        while line:
            need = Requirement(line.pop())
            if need.marker is not None and not need.marker.evaluate(about):
                continue
            pin = packages[canonicalize_name(need.name)]
            assert need.specifier.contains(pin.artifact.version)
            if pin.artifact.name not in reached:
                reached.add(pin.artifact.name)
                line += pin.requires
        assert reached == packages.keys()
        for pin in packages.values():
            assert SpecifierSet(pin.artifact.requires_python).contains(python)


def test_all_are_pure_wheels_of_their_name_and_the_list_names_no_host() -> None:
    assert serving_set().pythons.keys() == {".".join(python.split(".")[:2]) for python in PYTHONS}
    for choices in serving_set().pythons.values():
        for pin in (pin for packages in choices for pin in packages.values()):
            name, version, _, tags = parse_wheel_filename(pin.artifact.file)
            assert (str(name), str(version)) == (pin.artifact.name, pin.artifact.version)
            assert {str(tag) for tag in tags} <= {"py3-none-any", "py2-none-any"}
            assert pin.artifact.source == "index:pypi"
    assert "://" not in PACKAGED.read_text()


def test_it_is_made_for_what_the_server_needs() -> None:
    assert serving_set().roots == REQUIRES


@pytest.mark.parametrize(
    "text", ["", "[]", '{"schema": 7}', '{"schema": 1, "roots": [], "packages": {"a 1": {}}, "pythons": {}}']
)
def test_a_damaged_list_is_a_bug(tmp_path: Path, text: str) -> None:
    (tmp_path / "set.json").write_text(text)
    with pytest.raises(Bug):
        serving_set(tmp_path / "set.json")
