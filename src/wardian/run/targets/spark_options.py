"""What a user may want of Spark beyond what a run says."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from wardian.errors import InvalidInput
from wardian.run.targets.kinds import TargetKind, TargetOption

if TYPE_CHECKING:
    from collections.abc import Mapping

KNOWN = ("master", "environment", "spark.*")
PREFIX, ARCHIVE = "prefix", "archive"
_SETTING = re.compile(r"spark\.[A-Za-z0-9_.*/-]{1,250}")
_VARIABLE = re.compile(r"\$\{([A-Za-z_]\w*)\}", re.ASCII)
_MASTER = re.compile(r"[!-~]{1,1000}")
_LOCAL = re.compile(r"local(\[[^\]]*\])?")
_THREADS = re.compile(r"local(\[([1-9]\d{0,5}|\*)(,[1-9]\d{0,5})?\])?")
_STANDALONE = "spark://"
_LAST_PORT = 65535
# what Wardian says itself, and how else it can be had
_TAKEN = {
    "spark.master": "`--option master=…`",
    "spark.submit.deployMode": "Wardian runs the driver: client mode alone",
    "spark.pyspark.python": "executors run the environment's interpreter",
    "spark.pyspark.driver.python": "the driver runs the environment's interpreter",
    "spark.jars.packages": "name them in `spark.packages` of the definition: there they are locked",
    "spark.jars.repositories": "name them in `spark.repositories` of the definition",
}


@dataclass(frozen=True, slots=True)
class SparkOptions:
    """Options of the target ``spark``.

    Attributes:
        master: where executors run; empty: in this machine's driver.
        environment: how executors get the environment: ``prefix``, by its path, or ``archive``; empty: as the master wants it.
        settings: Spark's own, as they were given.
    """

    master: str = ""
    environment: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, options: Mapping[str, str], target: str) -> SparkOptions:
        """Return what the options of a run with ``target`` say.

        Raises:   InvalidInput: ``unknown_target_option``, ``bad_target_option``.
        """
        settings = {}
        for key, value in options.items():
            if key in _TAKEN:
                raise InvalidInput(f"`{key}` is Wardian's to set", hint=_TAKEN[key], code="bad_target_option")
            if _SETTING.fullmatch(key):
                settings[key] = value
            elif key not in KNOWN:
                raise InvalidInput(f"the target `{target}` has no option `{key[:80]}`", code="unknown_target_option",
                                   hint=f"it has {', '.join(f'`{one}`' for one in KNOWN)}")  # fmt: skip
        master, environment = options.get("master", ""), options.get("environment", "")
        if why := _no_master(master):
            raise InvalidInput(
                f"`master={master[:80]}` is no master{why}",
                hint="`local[4]`, `spark://HOST:7077`, `yarn` …",
                code="bad_target_option",
            )
        if environment not in ("", PREFIX, ARCHIVE):
            raise InvalidInput(f"`environment={environment[:80]}` is neither `{PREFIX}` nor `{ARCHIVE}`", code="bad_target_option",
                               hint=f"`{PREFIX}`: executors find it under the same path; `{ARCHIVE}`: they are sent it")  # fmt: skip
        return cls(master, environment, settings)

    def master_for(self, cpus: float | None) -> str:
        """Return the master of a run that asks for ``cpus`` processors."""
        return self.master or (f"local[{max(1, int(cpus))}]" if cpus else "local[*]")

    @property
    def is_local(self) -> bool:
        """Whether executors are threads of the driver's JVM."""
        return not self.master or _LOCAL.fullmatch(self.master) is not None

    @property
    def is_here(self) -> bool:
        """Whether executors run on this machine."""
        if self.is_local or self.master.startswith("local"):
            return True
        hosts = (
            [_host(one) for one in self.master.removeprefix("spark://").split(",")]
            if self.master.startswith("spark://")
            else [""]
        )
        return all(host in {"localhost", "::1"} or host.startswith("127.") for host in hosts)

    @property
    def sends_archive(self) -> bool:
        """Whether executors are sent the environment."""
        return self.environment == ARCHIVE or (not self.environment and not self.is_here)

    def with_values(self, variables: Mapping[str, str]) -> dict[str, str]:
        """Return Spark's settings with each ``${NAME}`` in them put in from the run's variables.

        Raises:   InvalidInput: ``unset_variable``.
        """
        return {key: _put_in(key, value, variables) for key, value in self.settings.items()}


def _no_master(master: str) -> str:
    """Return what is wrong with a master, with how it begins; empty: nothing that can be known here."""
    if not master:
        return ""
    if not _MASTER.fullmatch(master):
        return ": it holds a space, or what is no letter"
    if master.startswith(_STANDALONE):
        for one in master.removeprefix(_STANDALONE).split(","):
            host, colon, port = one.rpartition(":")
            if not (host and colon and _host(host)):
                return f": `{one[:80]}` is no HOST:PORT"
            if not (port.isascii() and port.isdecimal() and 0 < int(port[:6]) <= _LAST_PORT):
                return f": `{port[:80]}` is no port"
        return ""
    if master.startswith(("local[", "local:", "local=")) and not _THREADS.fullmatch(master):
        return ": it is `local`, `local[N]` or `local[*]`"
    return ""


def _host(text: str) -> str:
    try:
        return urlsplit(f"//{text}").hostname or ""
    except ValueError:
        return ""


def _put_in(key: str, text: str, variables: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        if match[1] not in variables:
            raise InvalidInput(f"the option `{key}` uses ${{{match[1]}}}, which the run has no variable of",
                               hint=f"pass it on: `-V {match[1]}`", code="unset_variable")  # fmt: skip
        return variables[match[1]]

    return _VARIABLE.sub(value, text)


SPARK = TargetKind(
    "spark",
    "spark-submit in client mode: the driver here, executors where the master is",
    {
        "master": TargetOption(
            "where executors run; without it in the driver", _MASTER.pattern, "spark://head.example.org:7077"
        ),
        "environment": TargetOption("how executors get the environment: by its path, or sent", f"{PREFIX}|{ARCHIVE}", ARCHIVE),
        "spark.*": TargetOption("a setting of Spark's; `${NAME}` in it is a variable of the run", r"[^\0]{0,10000}", "4g"),
    },
    check=SparkOptions.of,
)
