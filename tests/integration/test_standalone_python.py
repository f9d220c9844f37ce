"""Standalone Pythons: chosen from a catalogue, pinned by digest, unpacked once, kept while a prefix needs them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from tests.support.cli import Cli
from tests.support.wheels import make_sdist, make_wheel

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.index import Index
    from tests.support.pythons import Catalogue

OLD = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture
def cli(tmp_path: Path, index: Index, python_catalogue: Catalogue) -> Cli:
    place = tmp_path / "wheels"
    place.mkdir()
    index.add(make_wheel(place, "alpha", "1.0", files={"alpha/__init__.py": "version = '1.0'\n"}), OLD)
    index.add(make_wheel(place, "beta", "1.0", files={"beta/__init__.py": ""}), OLD)
    index.add(make_sdist(place, "built", "1.0", body="version = 'built'\n"), OLD)
    found = Cli.at(tmp_path / "one", index_url=index.url)
    config = found.home / "config.toml"
    lines = [line for line in config.read_text().splitlines() if not line.startswith("python_downloads")]
    config.write_text(f'python_downloads = "{python_catalogue.url}"\n' + "\n".join(lines) + "\n")
    return found


def test_a_standalone_python_is_pinned_and_shared(cli: Cli, python_catalogue: Catalogue) -> None:
    version = next(iter(python_catalogue.entries)).split("-")[1]
    cli.write("requirements.txt", "alpha\n")
    cli.write("where.py", "import alpha, platform, ssl, sqlite3, sys\nprint(platform.python_version(), sys.base_prefix)\n")
    shown, base = cli.ok("run", "-r", "requirements.txt", "where.py").out.split()
    assert shown == version
    assert base.startswith(str(cli.cache / "prefixes")), "it runs on the unpacked build, not on the machine's"
    lock = cli.json("env", "lock", "requirements.txt")["locks"]["linux/amd64"]
    python = next(p for p in lock["packages"] if p["kind"] == "python")
    assert (python["version"], python["source"]) == (version, "index:python-build-standalone")
    assert len(python["sha256"]) == 64
    assert lock["notes"] == []
    cli.write("more.txt", "alpha\nbeta\n")
    assert cli.ok("run", "-r", "more.txt", "where.py").out.split() == [shown, base]
    assert cli.json("env", "verify", "more.txt")["clean"]
    python_prefix = base.removeprefix(str(cli.cache / "prefixes") + "/").split("/")[0]
    before = len([p for p in (cli.cache / "prefixes").iterdir() if len(p.name) == 32])
    assert before == 3
    assert python_prefix in {p.name for p in (cli.cache / "prefixes").iterdir()}


def test_source_code_is_built_with_that_python(cli: Cli) -> None:
    cli.write("requirements.txt", "built\n")
    cli.write("b.py", "import built\nprint(built.version)\n")
    assert cli.ok("run", "-r", "requirements.txt", "b.py").out == "built\n"


def test_a_standalone_python_that_is_damaged_is_refused(cli: Cli, python_catalogue: Catalogue, tmp_path: Path) -> None:
    import json

    document = python_catalogue.entries
    for entry in document.values():
        entry["sha256"] = "0" * 64
    lying = tmp_path / "lying.json"
    lying.write_text(json.dumps(document))
    cli.variables = {"WARDIAN_PYTHON_DOWNLOADS": str(lying)}
    cli.write("requirements.txt", "alpha\n")
    done = cli.run("run", "-r", "requirements.txt", "--", "python", "-V")
    assert done.code == 125
    assert "sha256" in done.err
    assert not list((cli.cache / "prefixes").glob("????????????????????????????????"))
