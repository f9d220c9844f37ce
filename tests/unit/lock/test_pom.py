from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.maven import dependency_xml, pom_xml

from wardian.errors import BadArchive, SolveFailed
from wardian.lock.pom import Coordinate, Model, effective, read_pom
from wardian.lock.pom_xml import LONGEST_BYTES, parse_xml

if TYPE_CHECKING:
    from wardian.lock.pom import Pom


def model(text: str, *others: str) -> Model:
    """What the first POM comes to; the others are in the repository, under the coordinates that they state."""
    poms: dict[Coordinate, Pom] = {}
    for other in others:
        pom = read_pom(other.encode(), "other.pom")
        parent = pom.parent or ("", "", "")
        group, artifact, version = pom.coordinate
        poms[Coordinate(group or parent[0], artifact, version or parent[2])] = pom

    def get(where: Coordinate, by: str) -> Pom:
        assert by
        return poms[where]

    return effective(read_pom(text.encode(), "own.pom"), get)


def needed(found: Model) -> dict[str, str]:
    return {f"{one.group}:{one.artifact}": one.version for one in found.needed}


def test_scopes_that_run_and_nothing_optional() -> None:
    text = pom_xml(
        "g:a:1", "g:plain:1", dependency_xml("g:run:1", scope="runtime"), dependency_xml("g:test:1", scope="test"),
        dependency_xml("g:given:1", scope="provided"), dependency_xml("g:maybe:1", optional="true"), dependency_xml("g:system:1", scope="system"),
    )  # fmt: skip
    assert needed(model(text)) == {"g:plain": "1", "g:run": "1"}


def test_properties_are_put_in_and_a_child_wins_over_its_parent() -> None:
    parent = pom_xml(
        "g:parent:7", "g:inherited:${v.inherited}", properties={"v.inherited": "1", "v.own": "1", "two": "${v.own}.2"}
    )
    text = pom_xml(
        ":a:", "${project.groupId}:sibling:${project.version}", "g:b:${two}", parent="g:parent:7", properties={"v.own": "5"}
    )
    assert needed(model(text, parent)) == {"g:sibling": "7", "g:b": "5.2", "g:inherited": "1"}


def test_versions_scopes_and_exclusions_come_from_tables_and_imported_tables() -> None:
    table = pom_xml("g:table:1", managed=["g:b:2", "g:c:2"], properties={"unused": "x"})
    managed = [
        dependency_xml("g:table:1", type="pom", scope="import"),
        "g:b:1",
        dependency_xml("g:d:4", scope="test", exclusions="x:y"),
    ]
    found = model(pom_xml("g:a:1", "g:b", "g:c", "g:d", "g:e:9", managed=managed), table)
    assert needed(found) == {"g:b": "1", "g:c": "2", "g:e": "9"}  # its own table wins over an imported one; g:d is for tests
    listed = model(pom_xml("g:a:1", "g:d", managed=[dependency_xml("g:d:4", exclusions="x:y")]))
    assert listed.needed[0].exclusions == {"x:y"}


def test_the_license_and_the_packaging_are_told() -> None:
    head = "<packaging>bundle</packaging><licenses><license><name>Apache-2.0</name></license></licenses>"
    found = model(pom_xml("g:a:1", head=head))
    assert (found.license, found.packaging) == ("Apache-2.0", "bundle")


def test_a_relocation_takes_what_it_leaves_out_from_the_old_place() -> None:
    head = "<distributionManagement><relocation><groupId>new.g</groupId></relocation></distributionManagement>"
    assert model(pom_xml("g:a:1", head=head)).relocation == Coordinate("new.g", "a", "1")


def test_a_profile_counts_only_if_it_is_active_by_default() -> None:
    def profile(name: str, activation: str) -> str:
        return f"<profile><activation>{activation}</activation><dependencies>{dependency_xml(name)}</dependencies></profile>"

    here = profile("g:always:1", "<activeByDefault>true</activeByDefault>") + profile(
        "g:windows:1", "<os><family>windows</family></os>"
    )
    assert needed(model(pom_xml("g:a:1", head=f"<profiles>{here}</profiles>"))) == {"g:always": "1"}


BAD = {
    "entity": '<!DOCTYPE project [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]><project><artifactId>&b;</artifactId></project>',
    "file": '<!DOCTYPE project [<!ENTITY a SYSTEM "file:///etc/passwd">]><project><artifactId>&a;</artifactId></project>',
    "not XML": "<html><body>Sign in<br></body>",
    "not a POM": "<html></html>",
    "empty": "",
    "deep": "<project>" + "<a>" * 500,
    "path": pom_xml("g:../../../etc:1"),
    "dots": pom_xml("g..h:a:1"),
    "grows": pom_xml("g:a:${a}", properties={"a": "${b}${b}${b}${b}", "b": "${c}${c}${c}${c}", "c": "x" * 999}),
    "leads to itself": pom_xml("g:a:x", "g:b:${p}", properties={"p": "${q}", "q": "${p}"}),
    "own parent": pom_xml("g:parent:1", parent="g:parent:1"),
    "own table": pom_xml("g:parent:1", managed=[dependency_xml("g:parent:1", type="pom", scope="import")]),
}


@pytest.mark.parametrize("name", BAD)
def test_hostile_poms_are_refused_by_name(name: str) -> None:
    own = BAD[name]
    with pytest.raises(BadArchive) as raised:
        model(own, *([own] if name.startswith("own") else []))
    assert raised.value.stable_code == "bad_pom"
    assert "own.pom" in str(raised.value) or "other.pom" in str(raised.value)


def test_a_doctype_alone_reads_nothing_and_an_undeclared_entity_is_left_out() -> None:
    root = parse_xml(b'<!DOCTYPE p SYSTEM "file:///etc/passwd"><p><name>J&ouml;rg &amp; co</name></p>', "x.pom")
    assert root.value("name") == "Jrg & co"


def test_a_huge_pom_is_refused() -> None:
    with pytest.raises(BadArchive, match="bytes"):
        parse_xml(b"<a>" + b" " * LONGEST_BYTES + b"</a>", "huge.pom")


@pytest.mark.parametrize("version", ["[1.0,2.0)", "(,1.0]", "LATEST", "RELEASE", "1.0-SNAPSHOT"])
def test_a_parent_that_moves_is_refused_by_name(version: str) -> None:
    with pytest.raises(SolveFailed, match=r"own\.pom needs `g:parent`") as raised:
        model(pom_xml(":a:1", parent=f"g:parent:{version}"))
    assert raised.value.stable_code == "spark_version_range"
