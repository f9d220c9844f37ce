"""The directory through which spark-submit is told its job: settings, jars, the launcher; and what dead owners left of such."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wardian.run.targets import spark_launcher
from wardian.tools import processes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wardian.run.targets.target import Job

_NAME = "wardian-spark-"
_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\f": "\\f"}
_OF_KEYS = {" ": "\\ ", ":": "\\:", "=": "\\=", "#": "\\#", "!": "\\!"}


@dataclass(frozen=True, slots=True)
class SparkPlace:
    """A directory for one job. Only its owner can read it: settings and arguments may hold secrets."""

    path: Path

    @classmethod
    def make(cls) -> SparkPlace:
        """Make the directory, and remove those whose owners have ended."""
        for orphan in _orphans():
            orphan.remove()
        place = cls(Path(tempfile.mkdtemp(prefix=_NAME)))
        owner = processes.identify()
        (place.path / "owner.json").write_text(json.dumps(owner.as_document() if owner else {}))
        os.mkfifo(place.path / spark_launcher.OVER, 0o600)
        shutil.copyfile(spark_launcher.__file__, place._launcher)
        return place

    @property
    def _launcher(self) -> Path:
        return self.path / "launcher.py"

    def launch(self, job: Job, submit: Path) -> tuple[str, ...]:
        """Write down what ``job`` is, and return the command that runs it with the help of ``submit``."""
        properties = ("--properties-file", str(self.path / "spark.conf"))
        order = {"argv": job.argv, "submit": [str(submit), *properties, str(self._launcher), str(self.path)]}
        self._keep("order.json", json.dumps(order))
        return (job.python, "-I", str(self._launcher), str(self.path), "launch")

    def put_settings(self, settings: Mapping[str, str], defaults: Path | None) -> None:
        """Write Spark's settings down. ``defaults``: a file of the installation's own, which would not be read beside ours."""
        text = defaults.read_text(errors="replace").rstrip("\n") if defaults is not None and defaults.is_file() else ""
        lines = [*([text] if text else []), *(property_line(key, value) for key, value in settings.items())]
        self._keep("spark.conf", "\n".join(lines) + "\n")

    def put_jars(self, jars: Sequence[Path]) -> list[str]:
        """Return the URIs of ``jars`` under names that differ: executors know a jar by its file name alone."""
        found = []
        (self.path / "jars").mkdir()
        for path in jars:
            name = path.name if not (self.path / "jars" / path.name).is_symlink() else f"{path.parent.name[:12]}-{path.name}"
            link = self.path / "jars" / name
            link.symlink_to(path)
            found.append(link.as_uri())
        return found

    @property
    def news(self) -> Mapping[str, Any]:
        """What the launcher has written down; empty: the job began."""
        try:
            news = json.loads((self.path / spark_launcher.STATUS).read_text())
        except (OSError, ValueError):
            return {}
        return news if isinstance(news, dict) else {}

    def remove(self) -> None:
        """Remove the directory; no matter if it is gone."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _keep(self, name: str, text: str) -> None:
        path = self.path / name
        path.touch(mode=0o600)
        path.write_text(text, encoding="utf-8", errors="surrogateescape")


def property_line(key: str, value: str) -> str:
    """Return a setting as a line of a Java properties file. White space at the end of a value does not arrive: Spark cuts it off."""
    start = value[: len(value) - len(value.lstrip(" "))]
    text = start.replace(" ", "\\ ") + "".join(_ESCAPES.get(char, char) for char in value[len(start) :])
    name = "".join({**_ESCAPES, **_OF_KEYS}.get(char, char) for char in key)
    return f"{name}={re.sub(r'[^ -~]', _as_unicode, text)}"


def _as_unicode(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))


def _orphans() -> list[SparkPlace]:
    found = []
    for path in Path(tempfile.gettempdir()).glob(f"{_NAME}*"):
        try:
            if path.lstat().st_uid != os.geteuid():
                continue
            owner = processes.ProcessIdentity.from_document(json.loads((path / "owner.json").read_text()))
        except (OSError, ValueError, TypeError, KeyError):  # being made, or being removed
            continue
        if processes.is_alive(owner) is False:
            found.append(SparkPlace(path))
    return found
