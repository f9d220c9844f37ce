"""What a set of POMs comes to: which jars, in which versions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.maven import dependency_xml, pom_xml

from wardian.errors import SolveFailed
from wardian.lock.jar_graph import Needed, jar_graph
from wardian.lock.pom import Coordinate, Model, effective, read_pom

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wardian.lock.pom import Pom


class Poms:
    def __init__(self, *texts: str) -> None:
        read = [read_pom(text.encode(), "x.pom") for text in texts]
        self.poms: dict[Coordinate, Pom] = {Coordinate(*pom.coordinate): pom for pom in read}

    def fetch(self, asked: Sequence[tuple[Coordinate, tuple[str, ...]]]) -> Mapping[Coordinate, Model]:
        return {where: self.model(where) for where, _ in asked}

    def model(self, where: Coordinate) -> Model:
        model = effective(self.poms[where], lambda parent, _by: self.poms[parent])
        return self.model(model.relocation) if model.relocation else model

    def graph(self, *roots: str) -> tuple[Needed, ...]:
        return jar_graph([Coordinate(*root.split(":")) for root in roots], self.fetch)

    def found(self, *roots: str) -> list[str]:
        return [str(one.coordinate) for one in self.graph(*roots)]


def test_all_that_is_needed_the_named_first() -> None:
    poms = Poms(pom_xml("g:a:1", "g:b:1"), pom_xml("g:b:1", "g:c:1"), pom_xml("g:c:1"), pom_xml("g:z:1"))
    assert poms.found("g:z:1", "g:a:1") == ["g:z:1", "g:a:1", "g:b:1", "g:c:1"]
    assert [(one.needs, one.because) for one in poms.graph("g:a:1")] == [
        (("g:b",), ()), (("g:c",), ("g:a",)), ((), ("g:a", "g:b")),
    ]  # fmt: skip


def test_the_newest_of_what_is_asked_for_beside_each_other_and_none_of_what_only_the_older_one_needed() -> None:
    poms = Poms(
        pom_xml("g:a:1", "g:x:1", "g:y:1"), pom_xml("g:x:1", "g:both:1.9"), pom_xml("g:y:1", "g:z:1"), pom_xml("g:z:1", "g:both:1.10"),
        pom_xml("g:both:1.9", "g:old:1"), pom_xml("g:both:1.10", "g:new:1"), pom_xml("g:old:1"), pom_xml("g:new:1"),
    )  # fmt: skip
    assert poms.found("g:a:1") == ["g:a:1", "g:x:1", "g:y:1", "g:both:1.10", "g:z:1", "g:new:1"]


def test_who_names_a_version_has_it_before_what_it_needs_unless_another_way_leads_there() -> None:
    poms = Poms(
        pom_xml("g:a:1", "g:b:1", "g:low:1"), pom_xml("g:b:1", "g:c:1"), pom_xml("g:c:1", "g:low:9"), pom_xml("g:low:1"), pom_xml("g:low:9"),
        pom_xml("g:other:1", "g:c:1"),
    )  # fmt: skip
    assert poms.found("g:a:1") == ["g:a:1", "g:b:1", "g:low:1", "g:c:1"]
    assert "g:low:9" in poms.found("g:a:1", "g:other:1")


def test_a_version_that_only_a_package_asked_for_that_is_gone_is_not_taken() -> None:
    poms = Poms(
        pom_xml("g:a:1", "g:x:1", "g:y:1", "g:w:1"), pom_xml("g:x:1", "g:m:1"), pom_xml("g:y:1", "g:m:2"), pom_xml("g:w:1", "g:low:1"),
        pom_xml("g:m:1", "g:low:9"), pom_xml("g:m:2"), pom_xml("g:low:1"), pom_xml("g:low:9"),
    )  # fmt: skip
    assert "g:low:1" in poms.found("g:a:1")


def test_what_the_section_names_stays_as_it_is() -> None:
    poms = Poms(pom_xml("g:a:1", "g:b:2"), pom_xml("g:b:1"), pom_xml("g:b:2"))
    assert poms.found("g:a:1", "g:b:1") == ["g:a:1", "g:b:1"]
    with pytest.raises(SolveFailed, match=r"`g:b` in two versions: 1 and 2"):
        poms.found("g:b:1", "g:b:2")


def test_a_range_is_refused_by_name_unless_the_section_names_the_version() -> None:
    poms = Poms(pom_xml("g:a:1", "g:b:[1,3)"), pom_xml("g:b:2"), pom_xml("g:c:1", "g:b:[2]"))
    with pytest.raises(SolveFailed, match=r"g:a:1 needs `g:b` in the version `\[1,3\)`") as raised:
        poms.found("g:a:1")
    assert raised.value.hint == "name the one to take in `spark.packages`: `g:b:VERSION`"
    assert poms.found("g:a:1", "g:b:2") == ["g:a:1", "g:b:2"]
    assert poms.found("g:c:1") == ["g:c:1", "g:b:2"]  # `[2]` is one version


def test_a_version_that_nobody_says_is_refused_by_name() -> None:
    with pytest.raises(SolveFailed, match=r"g:a:1 needs `g:b`, but says no version of it: `\$\{nowhere\}`"):
        Poms(pom_xml("g:a:1", "g:b:${nowhere}")).found("g:a:1")


def test_exclusions_hold_for_all_below_but_only_on_that_way() -> None:
    poms = Poms(
        pom_xml("g:a:1", dependency_xml("g:b:1", exclusions="g:d x:*")), pom_xml("g:b:1", "g:c:1"), pom_xml("g:c:1", "g:d:1", "x:e:1"),
        pom_xml("g:d:1"), pom_xml("x:e:1"), pom_xml("g:other:1", "g:c:1"),
    )  # fmt: skip
    assert poms.found("g:a:1") == ["g:a:1", "g:b:1", "g:c:1"]
    assert set(poms.found("g:a:1", "g:other:1")) == {"g:a:1", "g:b:1", "g:c:1", "g:other:1", "g:d:1", "x:e:1"}


def test_what_spark_brings_itself_is_left_out_unless_it_is_named() -> None:
    spark, scala = "org.apache.spark:spark-sql_2.12:3.5.0", "org.scala-lang:scala-library:2.12.18"
    poms = Poms(pom_xml("g:a:1", spark, scala, "org.apache.spark:spark-avro_2.12:3.5.0"), pom_xml(spark),
                pom_xml("org.apache.spark:spark-avro_2.12:3.5.0"))  # fmt: skip
    assert poms.found("g:a:1") == ["g:a:1", "org.apache.spark:spark-avro_2.12:3.5.0"]
    assert spark in poms.found("g:a:1", spark)


def test_a_relocation_is_followed_and_meets_the_version_chosen_there() -> None:
    moved = "<distributionManagement><relocation><groupId>new</groupId></relocation></distributionManagement>"
    poms = Poms(pom_xml("g:a:1", "old:b:1", "new:b:2"), pom_xml("old:b:1", head=moved), pom_xml("new:b:1"), pom_xml("new:b:2"))
    assert poms.found("g:a:1") == ["g:a:1", "new:b:2"]


def test_classifiers_are_further_files_and_a_pom_has_none() -> None:
    native = dependency_xml("g:b:1", classifier="linux-x86_64")
    poms = Poms(pom_xml("g:a:1", "g:b:1", native, dependency_xml("g:list:1", type="pom"), dependency_xml("g:t:1", type="test-jar")),
                pom_xml("g:b:1"), pom_xml("g:list:1", "g:c:1", head="<packaging>pom</packaging>"), pom_xml("g:c:1"), pom_xml("g:t:1"))  # fmt: skip
    files = {str(one.coordinate): one.classifiers for one in poms.graph("g:a:1")}
    assert files == {"g:a:1": ("",), "g:b:1": ("", "linux-x86_64"), "g:list:1": (), "g:t:1": ("tests",), "g:c:1": ("",)}
    with pytest.raises(SolveFailed, match="g:b:1, which g:a needs, is a `war`"):
        Poms(pom_xml("g:a:1", dependency_xml("g:b:1", type="war")), pom_xml("g:b:1")).found("g:a:1")


def test_circles_end() -> None:
    poms = Poms(pom_xml("g:a:1", "g:b:1"), pom_xml("g:b:1", "g:a:2"), pom_xml("g:a:2", "g:b:1"))
    assert poms.found("g:a:1") == ["g:a:1", "g:b:1"]
    # each version of the one asks for another of the other: there is an answer all the same, and the same one each time
    turning = Poms(pom_xml("g:r:1", "g:x:1", "g:y:1"), pom_xml("g:x:1", "g:y:2"), pom_xml("g:y:1", "g:x:2"), pom_xml("g:x:2"),
                   pom_xml("g:y:2"))  # fmt: skip
    assert turning.found("g:r:1") == turning.found("g:r:1")
