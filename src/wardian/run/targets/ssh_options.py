"""What a target of kind ssh is told: which machines, how they are reached, and where files lie there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from wardian.errors import InvalidInput
from wardian.run.targets.kinds import TargetKind, TargetOption

if TYPE_CHECKING:
    from collections.abc import Mapping

_HOST = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}"
_USER = r"[A-Za-z_][A-Za-z0-9_.-]{0,63}"
_PATH = r"/[^\0\r\n]{1,300}"
_FILE = r"/[^\0\r\n\"'%$\\]{1,300}"  # ssh itself reads more into other characters
_AT = rf"({_USER}@)?{_HOST}"
HOSTS = re.compile(_HOST)

OPTIONS: Mapping[str, TargetOption] = {
    "hosts": TargetOption("the machine, by its name or its alias in ~/.ssh/config; or several, with commas", rf"{_HOST}(,{_HOST})*", "big.lab", of_run=False),
    "user": TargetOption("who you are there; default: as ssh has it", _USER, "ada", of_run=False),
    "port": TargetOption("of the ssh server; default: as ssh has it", r"[1-9]\d{0,4}", "2222", of_run=False),
    "identity": TargetOption("a file with your key; default: as ssh has it", _FILE, "/home/ada/.ssh/id_lab", of_run=False),
    "known_hosts": TargetOption("a file with the keys of hosts; default: as ssh has it", _FILE, "/home/ada/.ssh/known_hosts_lab", of_run=False),
    "jump": TargetOption("a machine to go through, or several", rf"{_AT}(:[1-9]\d{{0,4}})?(,{_AT}(:[1-9]\d{{0,4}})?)*", "ada@gate.lab", of_run=False),
    "config": TargetOption("a configuration file of ssh; default: yours", _FILE, "/home/ada/.ssh/lab_config", of_run=False),
    "compression": TargetOption("files are compressed on their way: for slow lines; default: no", "yes|no", "yes", of_run=False),
    "directory": TargetOption("where Wardian keeps its files there; default: .wardian in your home", _PATH, "/scratch/ada/wardian", of_run=False),
    "cache": TargetOption("where environments are installed there; default: in that directory", r"[/~$][^\0\r\n]{1,200}", "/local/ada/wardian", of_run=False),
    "keep": TargetOption("directories of runs stay there; default: no", "yes|no", "yes"),
}  # fmt: skip


def _check(options: Mapping[str, str], target: str) -> None:
    hosts = options.get("hosts", "").split(",")
    if len(set(hosts)) != len(hosts):
        raise InvalidInput(f"a machine is twice among the hosts of `{target}`: {options['hosts']}", code="bad_target_option")
    if int(options.get("port", "1")) > 65535:  # noqa: PLR2004
        raise InvalidInput(f"`port={options['port']}` is no port: there are 65535", code="bad_target_option")


SSH = TargetKind("ssh", "machines that you reach with ssh", OPTIONS, required=("hosts",), is_remote=True, check=_check)
