"""What a serving layer adds to which environment, and what it cannot go with."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from tests.builders import a_lock, an_artifact

from wardian.definition.platform import get_platform
from wardian.digest import Digest
from wardian.errors import Conflict, SolveFailed, Unavailable
from wardian.lock.lock import UnreadableLock
from wardian.serving.extend import extend
from wardian.serving.extension import Extension
from wardian.serving.parent import Parent, locked_parent, observed_parent, pythonic
from wardian.serving.serving_set import serving_set

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wardian.lock.lock import Artifact

SERVER = an_artifact("wardian-server", "0.1.0", source="wardian")
LINUX = get_platform("linux/amd64")
FULL = {"anyio", "click", "h11", "idna", "starlette", "typing-extensions", "uvicorn"}


def parent(python: str = "3.11.7", has: Mapping[str, str] | None = None, *, observed: bool = False) -> Parent:
    return Parent(
        "sklearn:4", Digest.of(b"lock"), python, LINUX, has or {}, {"anyio": ("jupyter-server 1.13.0",)}, is_observed=observed
    )


def extended(to: Parent, solved: Sequence[Artifact] | Exception | None = None) -> tuple[Extension, list[tuple[str, ...]]]:
    """Return the extension, and what the solver was asked for, each time."""
    asked: list[tuple[str, ...]] = []

    def solve(wanted: Sequence[str]) -> Sequence[Artifact]:
        asked.append(tuple(wanted))
        if isinstance(solved, Exception):
            raise solved
        return solved or ()

    return extend(to, SERVER, serving_set().roots, serving_set(), solve), asked


def versions(found: Extension) -> dict[str, str]:
    return {artifact.name: artifact.version for artifact in found.added}


@pytest.mark.parametrize(
    ("python", "has", "added", "used"),
    [
        ("3.11.7", {}, FULL, {}),
        ("3.9.18", {}, FULL | {"exceptiongroup"}, {}),
        ("3.10.1", {}, FULL | {"exceptiongroup"}, {}),
        ("3.14.0", {}, FULL, {}),
        ("3.19.2", {}, FULL - {"typing-extensions"}, {}),  # newer than any in the list: the newest one's, by its markers
        ("3.11.7", {"numpy": "1.26", "click": "8.0.1"}, FULL - {"click"}, {"click": "8.0.1"}),
        ("3.11.7", {"starlette": "0.36.3", "anyio": "4.3.0"}, {"click", "h11", "uvicorn"}, {"starlette": "0.36.3"}),
        ("3.12.1", {"starlette": "1.3.0", "anyio": "4.9.0", "uvicorn": "0.30.0"}, set(), {"starlette": "1.3.0", "uvicorn": "0.30.0"}),
        ("3.11.7", {"anyio": "3.7.1", "typing-extensions": "4.12.2"}, {"click", "h11", "starlette", "uvicorn"},
         {"anyio": "3.7.1", "typing-extensions": "4.12.2"}),
        ("3.11.7", {"typing-extensions": "4.5.0"}, {"anyio", "click", "h11", "idna", "sniffio", "starlette", "uvicorn"}, {}),
        ("3.11.7", {"typing-extensions": "4.12.2"}, FULL - {"typing-extensions"}, {"typing-extensions": "4.12.2"}),
        # what azureml-defaults brings: a server of its own, on Flask, and what many have of this one's closure
        ("3.9.18", {"azureml-defaults": "1.61.0", "azureml-inference-server-http": "1.5.1", "flask": "2.3.2", "click": "8.1.8", "idna": "3.10",
                    "typing-extensions": "4.12.2", "gunicorn": "23.0.0"}, {"anyio", "exceptiongroup", "h11", "starlette", "uvicorn"},
         {"click": "8.1.8", "idna": "3.10", "typing-extensions": "4.12.2"}),
        ("3.11.7", {"idna": "not a version"}, FULL - {"idna"}, {"idna": "not a version"}),
    ],
)  # fmt: skip
def test_what_is_there_is_used_and_what_is_not_is_added_without_a_solve(
    python: str, has: Mapping[str, str], added: set[str], used: Mapping[str, str]
) -> None:
    to = parent(python, has)
    found, asked = extended(to)
    assert (set(versions(found)), dict(found.used)) == (added, used)
    assert not asked
    assert not found.solved
    assert not found.added or versions(found).keys().isdisjoint(to.distributions), "nothing of the environment is shadowed"
    assert found.is_pure


def test_an_older_choice_is_taken_where_it_asks_for_less() -> None:
    newest, older = extended(parent())[0], extended(parent(has={"anyio": "3.7.1", "typing-extensions": "4.12.2"}))[0]
    assert int(versions(newest)["starlette"].split(".")[0]) == 1
    assert int(versions(older)["starlette"].split(".")[0]) == 0


def test_where_no_choice_fits_the_solver_is_asked_for_what_the_environment_lacks() -> None:
    chosen = (an_artifact("starlette", "0.30.0", depends=("anyio",)), an_artifact("h11", "0.9.0"))
    found, asked = extended(parent(has={"anyio": "3.5.0", "uvicorn": "0.25.0"}), chosen)
    assert asked == [("starlette>=0.27,<2",)]
    assert (versions(found), dict(found.used), found.solved) == (
        {"starlette": "0.30.0", "h11": "0.9.0"}, {"anyio": "3.5.0", "uvicorn": "0.25.0"}, True,
    )  # fmt: skip


def test_a_solver_that_moves_a_package_of_the_environment_is_not_believed() -> None:
    with pytest.raises(Conflict, match="does not go with") as caught:
        extended(parent(has={"anyio": "3.5.0"}), (an_artifact("anyio", "4.9.0"),))
    assert caught.value.details["explanation"] == "the solver moved anyio"


@pytest.mark.parametrize(
    ("has", "solves", "words"),
    [
        ({"starlette": "0.20.4"}, 0, ["wardian-server 0.1.0 needs starlette<2,>=0.27, the environment has starlette 0.20.4"]),
        ({"starlette": "2.1.0", "uvicorn": "0.11.0"}, 0,
         ["needs starlette<2,>=0.27, the environment has starlette 2.1.0", "needs uvicorn<1,>=0.20, the environment has uvicorn 0.11.0"]),
        ({"wardian-server": "0.0.1"}, 0, ["this Wardian needs wardian-server==0.1.0, the environment has wardian-server 0.0.1"]),
        ({"anyio": "2.0.0"}, 1, ["starlette", "needs anyio<5,>=3.6.2, the environment has anyio 2.0.0 (for jupyter-server 1.13.0)"]),
        ({"h11": "0.7.0"}, 1, ["uvicorn 0.54.0 needs h11>=0.8, the environment has h11 0.7.0"]),
    ],
)  # fmt: skip
def test_a_conflict_names_both_packages_both_versions_and_who_wants_what(
    has: Mapping[str, str], solves: int, words: Sequence[str]
) -> None:
    asked: list[Any] = []

    def solve(wanted: Sequence[str]) -> Sequence[Artifact]:
        asked.append(wanted)
        raise SolveFailed("no set of packages")

    with pytest.raises(Conflict) as caught:
        extend(parent(has=has), SERVER, serving_set().roots, serving_set(), solve)
    assert (caught.value.stable_code, caught.value.exit_code, len(asked)) == ("serving_conflict", 5, solves)
    for word in words:
        assert word in caught.value.message
    assert caught.value.hint is not None
    assert f"wardian env upgrade sklearn {next(iter(has))}" in caught.value.hint
    assert {clash["has"] for clash in caught.value.details["clashes"]} == set(has.values())


def test_a_user_managed_environment_is_mended_by_hand() -> None:
    with pytest.raises(Conflict) as caught:
        extended(parent(has={"starlette": "0.20.4"}, observed=True))
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("install `starlette<2,>=0.27` there")


def test_an_index_that_does_not_answer_is_no_conflict() -> None:
    with pytest.raises(Unavailable):
        extended(parent(has={"anyio": "3.5.0"}), Unavailable("no index"))


@pytest.mark.parametrize("python", ["3.8.18", "3.6.15", "2.7.18"])
def test_a_python_that_is_too_old_is_named(python: str) -> None:
    with pytest.raises(Conflict, match=rf"needs Python 3\.9 or newer, the environment has {python}") as caught:
        extended(parent(python))
    assert caught.value.stable_code == "serving_python_too_old"


def test_what_a_user_managed_environment_lacks_of_its_own_needs_is_added() -> None:
    whole, broken = parent(has={"starlette": "0.36.3"}), parent(has={"starlette": "0.36.3"}, observed=True)
    assert "anyio" not in versions(extended(whole)[0]), "a lock has all that its packages need"
    assert {"anyio", "idna"} <= versions(extended(broken)[0]).keys()


# -- the parent ------------------------------------------------------------------------------------------------------


def test_the_parent_of_a_lock_has_what_conda_and_pip_bring() -> None:
    python = an_artifact("python", "3.11.9", kind="conda")
    conda = an_artifact("typing_extensions", "4.12.2", kind="conda", depends=("python >=3.8",), noarch="python")
    library = an_artifact("libzlib", "1.3", kind="conda")
    wheel = an_artifact("Jupyter.Server", "1.13.0", depends=("anyio",))
    found = locked_parent("sklearn:4", a_lock(python, conda, library, wheel), {"typing-extensions": "4.12.2"})
    assert (found.python, dict(found.distributions)) == ("3.11.9", {"typing-extensions": "4.12.2", "jupyter-server": "1.13.0"})
    assert found.wanted_by["anyio"] == ("Jupyter.Server 1.13.0",)
    assert [a.name for a in pythonic((python, conda, library, wheel))] == ["typing_extensions"]
    with pytest.raises(Conflict, match="has no Python"):
        locked_parent("r:1", a_lock(library), {})


def test_an_observed_parent_has_a_digest_of_what_was_seen() -> None:
    seen = {"python": "3.9.18", "distributions": [{"name": "NumPy", "version": "1.26"}, {"name": "anyio", "version": "4.0"}]}
    found = observed_parent("mine:1", seen, LINUX)
    assert (found.is_observed, dict(found.distributions)) == (True, {"numpy": "1.26", "anyio": "4.0"})
    turned = {**seen, "distributions": list(reversed(seen["distributions"]))}
    assert observed_parent("yours:2", turned, LINUX).digest == found.digest
    assert observed_parent("mine:1", {**seen, "python": "3.9.19"}, LINUX).digest != found.digest
    with pytest.raises(Conflict, match="has no Python"):
        observed_parent("mine:1", {"python": None}, LINUX)


# -- the document ----------------------------------------------------------------------------------------------------


def test_an_extension_is_identified_by_what_it_adds_to_what() -> None:
    found = extended(parent())[0]
    assert Extension.from_document(found.as_document()) == found
    assert replace(found, used={"x": "1"}, solved=True).digest == found.digest, "these follow from the rest"
    other = [replace(found, parent=Digest.of(b"other")), replace(found, python="3.11.8"), replace(found, added=found.added[1:]),
             replace(found, server=an_artifact("wardian-server", "0.2.0"))]  # fmt: skip
    assert len({found.digest, *(one.digest for one in other)}) == 5
    assert "://" not in found.to_json(), "no host is named"


@pytest.mark.parametrize(
    "change", [{"schema": 99}, {"added": 3}, {"python": "3.12.0"}, {"parent": "x"}, {"server": None}], ids=lambda change: str(next(iter(change)))
)  # fmt: skip
def test_a_damaged_document_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(UnreadableLock):
        Extension.from_document({**extended(parent())[0].as_document(), **change})
