from __future__ import annotations

import pytest
from tests.builders import an_environment

from wardian.definition.match_spec import MatchSpec
from wardian.errors import InvalidInput, NotFound
from wardian.lock.conda_channels import ChannelPlan, plan_channels, searchable
from wardian.tools.http import Credentials

ENVIRON = {"CORP_TOKEN": "s3cr3t", "CORP_USER": "me", "CORP_PASSWORD": "p@ss"}


def plan(*channels: str, conda: tuple[str, ...] = (), configured: dict[str, str] | None = None, **mirrors: str) -> ChannelPlan:
    python = an_environment(channels=channels, conda=conda).python
    given = {key.replace("_", "-"): value for key, value in mirrors.items()}
    urls = {value.partition(" → ")[0]: value.partition(" → ")[2] for value in given.values()}
    return plan_channels(python, configured=configured or {}, mirrors=urls, environ=ENVIRON)


@pytest.mark.parametrize(
    ("channel", "alias", "url"),
    [
        ("conda-forge", "conda-forge", "https://conda.anaconda.org/conda-forge"),
        ("pytorch/label/test", "pytorch/label/test", "https://conda.anaconda.org/pytorch/label/test"),
        ("https://conda.anaconda.org/bioconda", "bioconda", "https://conda.anaconda.org/bioconda"),
        ("pkgs/main", "pkgs/main", "https://repo.anaconda.com/pkgs/main"),
        ("https://repo.anaconda.com/pkgs/r/", "pkgs/r", "https://repo.anaconda.com/pkgs/r"),
        ("corp", "corp", "https://conda.example.org/corp"),
        ("corp/label/dev", "corp/label/dev", "https://conda.example.org/corp/label/dev"),
        ("https://conda.example.org/corp", "corp", "https://conda.example.org/corp"),
        ("https://other.example.org/x", "#0", "https://other.example.org/x"),
        ("file:///srv/channel", "#0", "file:///srv/channel"),
        ("/srv/channel", "#0", "file:///srv/channel"),
        ("https://other.example.org/t/${CORP_TOKEN}/x", "#0", "https://other.example.org/x"),
        ("https://conda.example.org/t/${CORP_TOKEN}/corp", "corp", "https://conda.example.org/corp"),
        ("https://${CORP_USER}:${CORP_PASSWORD}@other.example.org/x", "#0", "https://other.example.org/x"),
    ],
)
def test_a_channel_goes_by_its_name_where_it_has_one(channel: str, alias: str, url: str) -> None:
    found = plan(channel, configured={"corp": "https://conda.example.org/corp"}).searched
    assert [(c.alias, c.url) for c in found] == [(alias, url)]


def test_defaults_stands_for_its_channels_and_for_none_named() -> None:
    expected = ["pkgs/main", "pkgs/r"]
    assert [c.alias for c in plan("defaults").searched] == expected
    assert [
        c.alias
        for c in plan_channels(an_environment(conda=("x",), channels=()).python, configured={}, mirrors={}, environ={}).searched
    ] == expected
    assert [c.alias for c in plan("nodefaults").searched] == expected
    assert [c.alias for c in plan("conda-forge", "nodefaults").searched] == ["conda-forge"]


def test_a_configured_defaults_replaces_the_known_one() -> None:
    found = plan("defaults", configured={"defaults": "https://mirror.example.org/main"}).searched
    assert [(c.alias, c.url) for c in found] == [("defaults", "https://mirror.example.org/main")]


def test_order_is_priority_and_each_channel_is_there_once() -> None:
    found = plan("b", "https://x.example.org/c", "a", "b", "https://conda.anaconda.org/a").searched
    assert [c.alias for c in found] == ["b", "#1", "a"]


def test_secrets_are_apart_from_the_url_and_never_printed() -> None:
    channels = plan("https://o.example.org/t/${CORP_TOKEN}/x", "https://${CORP_USER}:${CORP_PASSWORD}@o.example.org/y").searched
    with_token, with_login = channels
    assert with_token.token == "s3cr3t"
    assert with_token.download_url == "https://o.example.org/t/s3cr3t/x"
    assert with_login.credentials == Credentials("me", "p@ss")
    assert with_login.download_url == "https://me:p%40ss@o.example.org/y"
    assert "s3cr3t" not in repr(channels)
    assert "p@ss" not in repr(channels)


def test_an_unset_variable_is_named_with_its_place() -> None:
    with pytest.raises(InvalidInput, match=r"python\.channels\[1\].*\$\{NOT_SET\}") as caught:
        plan("a", "https://o.example.org/t/${NOT_SET}/x")
    assert caught.value.stable_code == "unset_variable"


@pytest.mark.parametrize("channel", ["./channel", "../channel", "~/channel"])
def test_a_relative_path_is_refused(channel: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        plan(channel)
    assert caught.value.stable_code == "bad_channel"


def test_a_mirror_serves_what_it_is_for_and_gets_no_credentials_of_the_original() -> None:
    token = "https://conda.anaconda.org/t/${CORP_TOKEN}/a"
    (mirrored,) = plan(token, m="https://conda.anaconda.org → file:///mnt/mirror").searched
    assert (mirrored.url, mirrored.read_url) == ("https://conda.anaconda.org/a", "file:///mnt/mirror/a")
    assert mirrored.download_url == mirrored.url  # who downloads applies the mirror; the token stays here
    (other,) = plan("https://conda.anaconda.org.evil/a", m="https://conda.anaconda.org → file:///mnt/mirror").searched
    assert other.read_url == other.url


def test_the_longest_mirror_wins() -> None:
    (found,) = plan("a", x="https://conda.anaconda.org → https://m1", y="https://conda.anaconda.org/a → https://m2/b").searched
    assert found.read_url == "https://m2/b"


def test_a_requirement_adds_the_channel_that_it_names() -> None:
    found = plan("a", conda=("b::numpy", "a::scipy", "https://x.example.org/c::y", "zlib"))
    assert [c.alias for c in found.searched] == ["a", "b", "#3"]
    assert {i: c.alias for i, c in found.of_requirement.items()} == {0: "b", 1: "a", 2: "#3"}
    assert found.get("#3").url == "https://x.example.org/c"


def test_a_package_file_belongs_to_a_channel_that_is_not_searched() -> None:
    found = plan("a", conda=("https://x.example.org/c/linux-64/y-1.0-0.conda#sha256:" + "0" * 64,))
    assert [c.alias for c in found.searched] == ["a"]
    assert found.get("#1").url == "https://x.example.org/c"
    assert found.owner("https://x.example.org/c/linux-64/y-1.0-0.conda").alias == "#1"


def test_a_package_file_outside_a_channel_is_refused() -> None:
    with pytest.raises(InvalidInput, match="`downloads` is no platform"):
        plan("a", conda=("https://x.example.org/downloads/y-1.0-0.conda",))


def test_an_alias_that_the_definition_does_not_have() -> None:
    with pytest.raises(NotFound) as caught:
        plan("a").get("b")
    assert caught.value.stable_code == "channel_not_found"
    with pytest.raises(NotFound):
        plan("a").owner("https://elsewhere.example.org/linux-64/x.conda")


@pytest.mark.parametrize(
    ("requirement", "expected"),
    [
        ("numpy>=1.26,<2", "numpy>=1.26,<2"),
        ("corp::numpy=1.26", "numpy=1.26[channel='https://c.example.org/corp']"),
        ("corp/linux-64::numpy", "numpy[channel='https://c.example.org/corp',subdir='linux-64']"),
        ("numpy[channel=corp,build='py311*']", "numpy[build='py311*',channel='https://c.example.org/corp']"),
        ("corp::numpy[subdir=noarch]", "numpy[subdir=noarch,channel='https://c.example.org/corp']"),
    ],
)
def test_what_the_solver_is_asked_for(requirement: str, expected: str) -> None:
    found = plan("a", conda=(requirement,), configured={"corp": "https://c.example.org/corp"})
    spec = searchable(requirement, found.of_requirement.get(0))
    assert spec == expected
    assert MatchSpec.parse(spec).name == "numpy"
