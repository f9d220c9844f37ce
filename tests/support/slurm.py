"""A Slurm of its own: slurmctld and two slurmd on loopback, from Debian's packages, started and ended by pid. No pytest in here."""

from __future__ import annotations

import contextlib
import getpass
import glob
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Self

from tests.support.jobs import wait_until

HERE = socket.gethostname().split(".")[0]
NODES = (HERE, "zz2")  # sorted; the name of the first leads to it: the other ranks of a run look for it there
_CONFIGURATION = """\
ClusterName=wardian
SlurmctldHost=localhost(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmdParameters=config_overrides
SlurmctldPort={ctld}
AuthType=auth/munge
AuthInfo=socket={sockets}/munge.sock
CredType=cred/munge
SlurmctldPidFile={place}/run/slurmctld.pid
SlurmdPidFile={place}/run/slurmd-%n.pid
SlurmdSpoolDir={sockets}/%n
StateSaveLocation={place}/spool/ctld
SlurmctldLogFile={place}/log/ctld.log
SlurmdLogFile={place}/log/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SchedulerType=sched/backfill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SlurmctldTimeout=30
SlurmdTimeout={lost_after_s}
MinJobAge={forgets_after_s}
InactiveLimit=0
KillWait=5
JobCompType={job_completion}
JobCompLoc={place}/log/jobcomp.txt
AccountingStorageType=accounting_storage/none
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1,requeue_delay=1
DefMemPerCPU=100
NodeName={host} NodeAddr=127.0.0.1 NodeHostname={host} Port={first} CPUs=4 RealMemory=2000 State=UNKNOWN
NodeName=zz2 NodeAddr=127.0.0.1 NodeHostname={host} Port={second} CPUs=4 RealMemory=2000 State=UNKNOWN
PartitionName=main Nodes={host},zz2 Default=YES MaxTime=INFINITE State=UP
PartitionName=short Nodes={host} MaxTime=1 State=UP
"""
_TOKENS = "AuthAltTypes=auth/jwt\nAuthAltParameters=jwt_key={place}/jwt.key\n"
# ContainerPath with the node's name: both nodes are this machine
_CONTAINERS = """\
ContainerPath="{place}/containers/%n.%j.%s.%t"
CreateEnvFile=true
RunTimeQuery="{runc} state %n.%u.%j.%s.%t"
RunTimeRun="{runc} run --bundle %b %n.%u.%j.%s.%t"
RunTimeKill="{runc} kill -a %n.%u.%j.%s.%t"
RunTimeDelete="{runc} delete --force %n.%u.%j.%s.%t"
"""
_PLUGINS = "/usr/lib/*/slurm-wlm"


class Slurm:
    """A cluster of two nodes in ``directory``, from ``with`` to its end. It is this machine twice: all share its files.

    Args:     lost_after_s: a node that has been silent for so long is down.  forgets_after_s: after that an ended job is unknown.
              job_completion: which plugin keeps ended jobs.
    """

    def __init__(
        self, directory: Path, *, lost_after_s: int = 10, forgets_after_s: int = 600, job_completion: str = "jobcomp/filetxt"
    ):
        self.directory = directory
        self.conf = directory / "slurm.conf"
        self._settings = {"lost_after_s": lost_after_s, "forgets_after_s": forgets_after_s, "job_completion": job_completion}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._sockets = (
            directory / "sockets"
        )  # elsewhere, once it runs: names of sockets have 108 characters at most, and directories of tests are deep

    @property
    def environ(self) -> dict[str, str]:
        """The environment in which Slurm's commands speak to this cluster."""
        return {**os.environ, "SLURM_CONF": str(self.conf)}

    def __enter__(self) -> Self:
        for name in ("run", "log", "spool/ctld"):
            (self.directory / name).mkdir(parents=True)
        self._sockets = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
        self._sockets.chmod(0o755)
        for node in NODES:
            (self._sockets / node).mkdir()
        self.directory.chmod(0o755)
        for name in ("munge.key", "jwt.key"):
            key = self.directory / name
            key.write_bytes(os.urandom(1024))
            key.chmod(0o600)
        ports = dict(zip(("ctld", "first", "second"), _free_ports(3), strict=True))
        text = _CONFIGURATION + ("" if why_no_rest() else _TOKENS)
        self.conf.write_text(text.format(place=self.directory, sockets=self._sockets, host=HERE, **ports, **self._settings))
        if runc := shutil.which("runc", path=_path()):
            (self.directory / "containers").mkdir()
            text = _CONTAINERS.format(place=self.directory, runc=f"{runc} --root={self.directory}/run/runc")
            (self.directory / "oci.conf").write_text(text)
        run = self.directory / "run"
        try:
            self._start(
                "munged", "munged", "--foreground", "--force", f"--key-file={self.directory}/munge.key", f"--socket={self._sockets}/munge.sock",
                f"--pid-file={run}/munged.pid", f"--log-file={self.directory}/log/munged.log", f"--seed-file={run}/munge.seed",
            )  # fmt: skip
            wait_until((self._sockets / "munge.sock").exists)
            self.start_controller()
            for node in NODES:
                self.start_node(node)
            wait_until(lambda: self.states() == dict.fromkeys(NODES, "idle"))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for name in ("slurmrestd", *NODES, "slurmctld", "munged"):
            self.kill(name)
        for pid in self._steps():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self._sockets, ignore_errors=True)

    def start_controller(self) -> None:
        """Start slurmctld."""
        self._start("slurmctld", "slurmctld", "-D")

    def start_node(self, node: str) -> None:
        """Start the slurmd of a node."""
        self._start(node, "slurmd", "-D", "-N", node)

    def start_rest(self, *plugins: str) -> tuple[str, str]:
        """Start slurmrestd, with JWT; return where it listens: a URL, and a socket."""
        (port,) = _free_ports(1)
        place = self._sockets / "rest.sock"
        place.unlink(missing_ok=True)
        self._start(
            "slurmrestd", "slurmrestd", "-a", "rest_auth/jwt", "-s", ",".join(plugins or ("openapi/v0.0.37", "openapi/v0.0.38")),
            f"127.0.0.1:{port}", f"unix:{place}", SLURM_JWT="daemon", SLURMRESTD_SECURITY="disable_user_check",
        )  # fmt: skip
        wait_until(lambda: place.exists() and _answers(port), process=self._processes["slurmrestd"])
        return f"http://127.0.0.1:{port}", f"unix:{place}"

    def token(self, *, lifespan_s: int = 3600) -> str:
        """Return a token that slurmrestd takes."""
        said = self.call("scontrol", "token", f"lifespan={lifespan_s}", f"username={getpass.getuser()}")
        return said.strip().removeprefix("SLURM_JWT=")

    def kill(self, name: str) -> None:
        """End a daemon (``slurmctld``, ``zz2``) by SIGKILL; what it started runs on."""
        process = self._processes.pop(name, None)
        if process is not None:
            process.kill()
            process.wait()

    def call(self, *command: str, check: bool = True) -> str:
        """Return what one of Slurm's commands prints."""
        done = subprocess.run(command, env=self.environ, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0 or not check, f"{command}: {done.stderr}"
        return done.stdout

    def states(self) -> dict[str, str]:
        """Return the states of the nodes."""
        text = self.call("sinfo", "-h", "-N", "-p", "main", "-o", "%N %t", check=False)
        return dict(line.split() for line in text.splitlines())

    def jobs(self, name: str) -> list[str]:
        """Return the ids of all jobs of a name, whatever their state."""
        return self.call("squeue", "-h", "--states=all", f"--name={name}", "-o", "%A").split()

    def _start(self, name: str, *command: str, **variables: str) -> None:
        program = shutil.which(command[0], path=_path())
        assert program is not None, why_not()
        with (self.directory / f"log/{name}.out").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [program, *command[1:]], env={**self.environ, **variables}, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip

    def _steps(self) -> list[int]:
        """Return the processes that daemons of this cluster have left: they all were told its configuration."""
        from wardian.tools import processes

        return processes.with_variable("SLURM_CONF", str(self.conf))


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


def _path() -> str:
    return f"{os.environ['PATH']}:/usr/sbin:/sbin"


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5):
        return True
    return False


def why_not() -> str:
    """Return what is missing for this here; empty: nothing."""
    missing = [name for name in ("slurmctld", "slurmd", "munged", "sbatch") if shutil.which(name, path=_path()) is None]
    if missing:
        return f"{', '.join(missing)} missing: scripts/test-tools installs slurm-wlm and munge"
    return "" if os.geteuid() == 0 else "slurmctld and slurmd of their own need root"


def why_no_rest() -> str:
    """Return what is missing for slurmrestd with tokens; empty: nothing."""
    if why := why_not():
        return why
    missing = [] if shutil.which("slurmrestd", path=_path()) else ["slurmrestd"]
    missing += [] if glob.glob(f"{_PLUGINS}/auth_jwt.so") else ["slurm-wlm-jwt-plugin"]  # noqa: PTH207
    return f"{', '.join(missing)} missing: scripts/test-tools installs them" if missing else ""
