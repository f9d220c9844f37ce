"""Maven repositories for tests: a directory in Maven's layout, and a loopback server over it. No pytest in here."""

from __future__ import annotations

import hashlib
import io
import struct
import zipfile
from typing import TYPE_CHECKING, Any

from tests.support.server import Answer, Server

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


def jar_bytes(members: Mapping[str, str | bytes]) -> bytes:
    """Return a jar with these members, the same bytes for the same members."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in {"META-INF/MANIFEST.MF": "Manifest-Version: 1.0\r\n\r\n", **members}.items():
            archive.writestr(zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0)), content)
    return stream.getvalue()


def dependency_xml(text: str, **more: str) -> str:
    """Return a ``<dependency>``: ``group:artifact[:version]`` and further elements; ``exclusions`` are modules, with spaces between."""
    group, artifact, *version = text.split(":")
    parts = [
        f"<groupId>{group}</groupId><artifactId>{artifact}</artifactId>",
        *(f"<version>{one}</version>" for one in version),
    ]
    for module in (more := dict(more)).pop("exclusions", "").split():
        head, _, tail = module.partition(":")
        parts.append(
            f"<exclusions><exclusion><groupId>{head}</groupId><artifactId>{tail}</artifactId></exclusion></exclusions>"
        )
    parts += [f"<{name}>{value}</{name}>" for name, value in more.items()]
    return f"<dependency>{''.join(parts)}</dependency>"


def pom_xml(
    text: str, *needs: str, head: str = "", managed: Sequence[str] = (), properties: Mapping[str, str] | None = None, parent: str = ""
) -> str:  # fmt: skip
    """Return the POM of ``group:artifact:version``. ``needs`` and ``managed``: modules (``g:a:1``), or ``<dependency>`` as it stands."""
    group, artifact, version = text.split(":")

    def listed(items: Sequence[str]) -> str:
        return "".join(one if one.startswith("<") else dependency_xml(one) for one in items)

    parts = [f"<modelVersion>4.0.0</modelVersion><artifactId>{artifact}</artifactId>", head]
    parts += [f"<groupId>{group}</groupId>"] * bool(group) + [f"<version>{version}</version>"] * bool(version)
    if parent:
        g, a, v = parent.split(":")
        parts.append(f"<parent><groupId>{g}</groupId><artifactId>{a}</artifactId><version>{v}</version></parent>")
    if properties:
        parts.append(
            "<properties>" + "".join(f"<{name}>{value}</{name}>" for name, value in properties.items()) + "</properties>"
        )
    if managed:
        parts.append(f"<dependencyManagement><dependencies>{listed(managed)}</dependencies></dependencyManagement>")
    parts.append(f"<dependencies>{listed(needs)}</dependencies>")
    return f'<?xml version="1.0"?>\n<project xmlns="http://maven.apache.org/POM/4.0.0">{"".join(parts)}</project>\n'


class MavenRepository:
    """A repository in a directory; ``url`` is its ``file:`` URL."""

    def __init__(self, directory: Path):
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)

    @property
    def url(self) -> str:
        return self.directory.as_uri()

    def add(
        self, text: str, *needs: str, members: Mapping[str, str | bytes] | None = None, jar: bool = True, checksums: Sequence[str] = ("sha1",),
        classifier: str = "", pom: str | None = None, **of_pom: Any,
    ) -> Path:  # fmt: skip
        """Add ``group:artifact:version``, with a POM (``pom_xml``) and a jar of ``members``; return its directory."""
        group, artifact, version = text.split(":")
        place = self.directory / group.replace(".", "/") / artifact / version
        place.mkdir(parents=True, exist_ok=True)
        stem = f"{artifact}-{version}"
        files = {f"{stem}.pom": (pom if pom is not None else pom_xml(text, *needs, **of_pom)).encode()}
        if jar:
            files[f"{stem}{f'-{classifier}' if classifier else ''}.jar"] = jar_bytes(
                members or {"name.txt": f"{text}{classifier}"}
            )
        for name, content in files.items():
            (place / name).write_bytes(content)
            for kind in checksums:
                (place / f"{name}.{kind}").write_text(hashlib.new(kind, content).hexdigest())
        self._list_versions(place.parent, group, artifact)
        return place

    @staticmethod
    def _list_versions(place: Path, group: str, artifact: str) -> None:
        versions = "".join(f"<version>{one.name}</version>" for one in sorted(place.iterdir()) if one.is_dir())
        (place / "maven-metadata.xml").write_text(
            f"<metadata><groupId>{group}</groupId><artifactId>{artifact}</artifactId>"
            f"<versioning><versions>{versions}</versions></versioning></metadata>"
        )


class MavenServer(Server):
    """Serves a repository's directory."""

    def __init__(self, repository: MavenRepository, **options: Any):
        super().__init__(**options)
        self.repository = repository

    @property
    def url(self) -> str:
        return f"{self.root_url}/maven"

    def answer(self, path: str, headers: dict[str, str]) -> Answer | None:  # noqa: ARG002
        file = self.repository.directory / path.removeprefix("/maven/")
        return Answer(file.read_bytes()) if file.is_file() else None


def class_bytes(name: str, method: str, text: str) -> bytes:
    """Return a Java class with one static method that returns ``text``: what javac would make, for where there is none.

    Args:     name: with dots.
    Source:   The Java Virtual Machine Specification, chapter 4
    """

    def utf8(value: str) -> bytes:
        return b"\x01" + struct.pack(">H", len(value)) + value.encode()

    pool = [utf8(name.replace(".", "/")), b"\x07\x00\x01", utf8("java/lang/Object"), b"\x07\x00\x03", utf8(method), utf8("()Ljava/lang/String;"),
            utf8("Code"), utf8(text), b"\x08\x00\x08"]  # fmt: skip
    code = b"\x12\x09\xb0"  # ldc 9, areturn
    attribute = struct.pack(">HHI", 1, 0, len(code)) + code + struct.pack(">HH", 0, 0)
    body = struct.pack(">HHH", 0x21, 2, 4) + struct.pack(">HH", 0, 0)  # public; no interfaces, no fields
    methods = struct.pack(">HHHHH", 1, 0x9, 5, 6, 1) + struct.pack(">HI", 7, len(attribute)) + attribute
    return (
        b"\xca\xfe\xba\xbe" + struct.pack(">HHH", 0, 49, len(pool) + 1) + b"".join(pool) + body + methods + struct.pack(">H", 0)
    )
