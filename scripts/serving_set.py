"""Make the list of packages that the scoring server stands on anew, from the index that uv is set up for.

    scripts/serving_set.py            writes src/wardian/serving/serving_set.json
    scripts/serving_set.py --check    fails if a newer set could be written

For each Python the newest versions, then older ones that ask less of what an environment has already: so that hardly any
deployment has to solve. Nothing but pure wheels, and nothing that says where they are.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from email.parser import HeaderParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.requirements import Requirement

from wardian.bootstrap import Parts
from wardian.definition.platform import get_platform
from wardian.definition.requirement import canonical_name
from wardian.digest import Digest
from wardian.errors import WardianError
from wardian.lock.pins import parse_pins
from wardian.lock.pip_artifacts import file_name
from wardian.package.archive import read_text_members
from wardian.serving.server_wheel import REQUIRES
from wardian.serving.serving_set import PACKAGED, SCHEMA
from wardian.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

LENIENT = (  # constraints of each further set: what newer versions of these ask for, environments of earlier years lack
    (),
    ("anyio<4.13",),
    ("anyio<4.13", "starlette<1"),
    ("anyio<4", "starlette<0.47"),
)
PYTHONS = ("3.9", "3.10", "3.11", "3.12", "3.13", "3.14")
PLATFORM = get_platform("linux/amd64")  # any: what is not pure is refused


def main(arguments: Sequence[str]) -> int:
    """Write the list, or compare it; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="change nothing; fail if the list is not the newest")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="wardian-serving-set-") as place:
        parts = Parts(Settings(home=Path(place) / "home", cache=Path(place) / "cache"))
        text = json.dumps(made(parts), indent=1, ensure_ascii=False) + "\n"
    if options.check:
        same = PACKAGED.read_text() == text
        print(f"{PACKAGED.name} is {'the newest' if same else 'not the newest: make it anew'}")
        return 0 if same else 1
    PACKAGED.write_text(text)
    print(f"{PACKAGED.name}: {len(json.loads(text)['packages'])} wheels for Python {', '.join(PYTHONS)}")
    return 0


def made(parts: Parts) -> dict[str, Any]:
    """Return the list as a document."""
    packages: dict[str, dict[str, Any]] = {}
    pythons: dict[str, list[list[str]]] = {}
    for python in PYTHONS:
        pythons[python] = []
        for constraints in LENIENT:
            keys = []
            for key, one in solved(parts, python, constraints):
                keys.append(key)
                if key not in packages:
                    packages[key] = described(parts, key, one)
            if keys not in pythons[python]:
                pythons[python].append(keys)
    return {"schema": SCHEMA, "roots": list(REQUIRES), "pythons": pythons, "packages": dict(sorted(packages.items()))}


def solved(parts: Parts, python: str, constraints: Sequence[str]) -> list[tuple[str, dict[str, Any]]]:
    """Return ``name version`` of what the server needs on a Python, by name, each with what the index has of it."""
    text = parts.uv.compile("\n".join(REQUIRES) + "\n", python_version=python, uv_platform=PLATFORM.uv, arguments=["--only-binary", ":all:"],
                            constraints="\n".join(constraints))  # fmt: skip
    pins = "".join(f"{pin.line}\n" for pin in parse_pins(text))
    offered = parts.uv.files(pins, python_version=python, uv_platform=PLATFORM.uv)
    return sorted((f"{canonical_name(one['name'])} {one['version']}", one) for one in offered)


def described(parts: Parts, key: str, offered: dict[str, Any]) -> dict[str, Any]:
    """Return what the list says of one package, after a look into its wheel.

    Raises:   WardianError: it has no pure wheel.
    """
    wheel = next((one for one in offered.get("wheels", ()) if file_name(one).endswith("-py3-none-any.whl")), None)
    if wheel is None:
        raise WardianError(f"{key} has no pure wheel", code="not_pure")
    file = file_name(wheel)
    got = parts.fetcher.obtain([str(wheel["url"])], file, kind="wheel", sha256=Digest(wheel["hashes"]["sha256"]))
    (metadata,) = read_text_members(got.path, "wheel", "*.dist-info/METADATA").values()
    headers = HeaderParser().parsestr(metadata, headersonly=True)
    requires = [str(Requirement(line)) for line in headers.get_all("Requires-Dist") or () if "extra ==" not in line]
    found = {"file": file, "sha256": str(got.sha256), "size": got.size_bytes, "requires": requires}
    if headers["Requires-Python"]:
        found["requires_python"] = headers["Requires-Python"]
    if licence := headers["License-Expression"]:
        found["license"] = licence
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
