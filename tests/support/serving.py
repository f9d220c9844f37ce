"""A small scoring server and what it stands on, as wheels that are made in milliseconds; a set that pins them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.support.wheels import make_wheel

from wardian.digest import Digest
from wardian.lock.lock import Artifact
from wardian.serving.serving_set import ServingPackage, ServingSet

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tests.support.index import Index

REQUIRES = ("starlette>=0.27,<2", "uvicorn>=0.20,<1")
# says what it is made of and where from, as JSON; the overlay goes to the end of the path
_MAIN = """
import json, os, sys
here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:] = [place for place in sys.path if os.path.abspath(place or ".") != os.path.dirname(os.path.abspath(__file__))]
sys.path.append(here)
import anyio, starlette, uvicorn
found = {m.__name__: [getattr(m, "__version__", ""), os.path.dirname(os.path.dirname(m.__file__)), m.__cached__ or ""] for m in (anyio, starlette, uvicorn)}
found["python"] = ["%d.%d" % sys.version_info[:2], here, ""]
print(json.dumps(found))
"""


@dataclass(frozen=True)
class MadeWheel:
    """A wheel that was made, as whoever asks for the server's gets it."""

    path: Path


def server_wheel(directory: Path, *, version: str = "0.1", requires: Sequence[str] = REQUIRES) -> MadeWheel:
    """Make a stand-in for the server's wheel."""
    files = {"wardian_server/__init__.py": "", "wardian_server/__main__.py": _MAIN}
    return MadeWheel(make_wheel(directory, "wardian-server", version, files=files, requires=requires, requires_python=">=3.9"))


def publish(index: Index, place: Path, name: str, version: str, requires: Sequence[str] = ()) -> ServingPackage:
    """Put a small package into ``index``; return it as a pinned one."""
    wheel = make_wheel(place, name, version, requires=requires)
    index.add(wheel)
    artifact = Artifact(kind="wheel", source="index:pypi", name=name, version=version, file=wheel.name, sha256=Digest.of_file(wheel),
                        size_bytes=wheel.stat().st_size)  # fmt: skip
    return ServingPackage(artifact, tuple(requires))


def small_set(index: Index, place: Path) -> ServingSet:
    """Put a small closure of the server into ``index``, and pin it: with a newer Starlette, and one that takes an older anyio."""
    new = publish(index, place, "starlette", "1.2.0", ["anyio>=4,<5"])
    old = publish(index, place, "starlette", "0.46.0", ["anyio>=3.6,<5"])
    uvicorn = publish(index, place, "uvicorn", "0.50.0", ["h11>=0.8"])
    h11, anyio, older = (publish(index, place, *one) for one in (("h11", "0.16.0"), ("anyio", "4.9.0"), ("anyio", "3.7.1")))
    choices = (_by_name(new, uvicorn, h11, anyio), _by_name(old, uvicorn, h11, older))
    return ServingSet(REQUIRES, dict.fromkeys(("3.9", "3.11", "3.12", "3.13"), choices), Digest.of(b"small"))


def _by_name(*packages: ServingPackage) -> Mapping[str, ServingPackage]:
    return {one.artifact.name: one for one in packages}
