"""One package offered under one name and address, whose bytes and whose announcement a test changes at will."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from tests.support.hostile import CONDA_STEM, WHEEL_FILE, good_conda, good_wheel
from tests.support.server import Answer, DirectoryServer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.cli import Cli


class _Pages(DirectoryServer):
    """Serves ``index.html`` for a directory."""

    def answer(self, path: str, headers: dict[str, str]) -> Answer | None:
        if not path.endswith("/"):
            return super().answer(path, headers)
        page = super().answer(f"{path}index.html", headers)
        return page and Answer(page.body, "text/html", headers={"Cache-Control": "no-cache"})


class Offer(ABC):
    """`hostile` 1.0 in a directory that is read as ``file://`` or served on loopback, until ``stop``.

    ``offer`` says what is announced and what is sent. Metadata are always those of the good archive, so a solver never has to
    look into a bad one: whoever refuses it has looked at it on purpose.
    """

    file: str
    good: bytes

    def __init__(self, directory: Path, *, http: bool):
        self.directory = directory
        self.directory.mkdir(parents=True)
        self.server = _Pages(directory)
        self.server.start()
        self.root = self.server.url if http else directory.as_uri()
        self.offer(self.good)

    def stop(self) -> None:
        """Close the port."""
        self.server.stop()

    def offer(self, content: bytes, *, announced_sha256: str | None = None, announced_size: int | None = None) -> None:
        """Send ``content`` from now on, and announce its digest and size, or these."""
        size = len(content) if announced_size is None else announced_size
        self._announce(announced_sha256 or hashlib.sha256(content).hexdigest(), size)
        self.archive.parent.mkdir(exist_ok=True)
        self.archive.write_bytes(content)

    @property
    @abstractmethod
    def archive(self) -> Path:
        """Where the archive lies."""

    @property
    @abstractmethod
    def config(self) -> str:
        """What a ``config.toml`` says to find it, after its top-level lines."""

    @abstractmethod
    def definition(self, cli: Cli, number: int) -> tuple[str, str]:
        """Write a definition that asks for it; return the options that name it. Another ``number`` is another definition."""

    @abstractmethod
    def _announce(self, sha256: str, size: int) -> None: ...


class WheelOffer(Offer):
    """A wheel in a simple index (PEP 503) of files."""

    file = WHEEL_FILE
    good = good_wheel()

    @property
    def archive(self) -> Path:
        return self.directory / "files" / self.file

    @property
    def config(self) -> str:
        return f'[indexes]\npypi = "{self.root}/simple"\n'

    def definition(self, cli: Cli, number: int) -> tuple[str, str]:
        cli.write(f"requirements-{number}.txt", f"hostile>=0.{number}\n")
        return "-r", f"requirements-{number}.txt"

    def _announce(self, sha256: str, size: int) -> None:  # noqa: ARG002 - simple pages say no sizes
        with zipfile.ZipFile(io.BytesIO(self.good)) as archive:
            metadata = archive.read("hostile-1.0.dist-info/METADATA")
        (self.directory / "files").mkdir(exist_ok=True)
        (self.directory / "files" / f"{self.file}.metadata").write_bytes(metadata)
        digest = hashlib.sha256(metadata).hexdigest()
        link = f'<a href="../../files/{self.file}#sha256={sha256}" data-core-metadata="sha256={digest}">{self.file}</a>'
        page = self.directory / "simple" / "hostile" / "index.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(f"<!DOCTYPE html><html><body>{link}</body></html>")


class CondaOffer(Offer):
    """A package in a conda channel. ``further`` goes into its record."""

    kind = ".conda"
    file = f"{CONDA_STEM}.conda"
    good = good_conda()

    @property
    def archive(self) -> Path:
        return self.directory / "linux-64" / self.file

    @property
    def config(self) -> str:
        return f'[channels]\nlocal = "{self.root}"\n'

    def definition(self, cli: Cli, number: int) -> tuple[str, str]:
        cli.write(f"environment-{number}.yml", f"channels: [local]\ndependencies:\n  - hostile>=0.{number}\n")
        return "-f", f"environment-{number}.yml"

    def _announce(self, sha256: str, size: int) -> None:
        self.announce({self.file: {"sha256": sha256, "size": size}})

    def announce(self, records: dict[str, dict[str, object]]) -> None:
        """Write repodata with these records, by file name."""
        plain = {"name": "hostile", "version": "1.0", "build": "0", "build_number": 0, "subdir": "linux-64", "depends": [],
                 "timestamp": 1704067200000}  # fmt: skip
        tables: dict[str, dict[str, object]] = {"packages": {}, "packages.conda": {}}
        for file, record in records.items():
            tables["packages" if file.endswith(".tar.bz2") else "packages.conda"][file] = plain | record
        for subdir, found in (("linux-64", tables), ("noarch", {"packages": {}, "packages.conda": {}})):
            path = self.directory / subdir / "repodata.json"
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps({"info": {"subdir": subdir}, **found}))


class OldCondaOffer(CondaOffer):
    """The same as a ``.tar.bz2``."""

    kind = ".tar.bz2"
    file = f"{CONDA_STEM}.tar.bz2"
    good = good_conda(".tar.bz2")


OFFERS: dict[str, type[Offer]] = {"wheel": WheelOffer, "conda": CondaOffer, "tar.bz2": OldCondaOffer}
