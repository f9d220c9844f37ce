"""What a user may want of Slurm beyond what a run says: names that it knows, handed to it one by one, never a line for a shell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardian.errors import InvalidInput
from wardian.run.targets.kinds import TargetKind, TargetOption

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.:@+-]{0,127}"
_NAMES = rf"{_NAME}(,{_NAME})*"
_HOSTS = r"[A-Za-z0-9_][A-Za-z0-9_.,\[\]-]{0,1000}"
_CONSTRAINT = r"[A-Za-z0-9_\[(][A-Za-z0-9_.:|&*,()\[\]-]{0,254}"
_REST = r"https?://[^\s/?#@]+(/[^\s?#]*)?|unix:/[^\0\r\n]{1,100}"
YES_OR_NO = r"yes|no"
_MOUNT = r"/[^\0\r\n:]{1,200}"
_PATH = r"/[^\0\r\n]{1,200}"

# option → the argument of sbatch that it becomes
ARGUMENTS = {
    "partition": "--partition", "account": "--account", "qos": "--qos", "constraint": "--constraint", "reservation": "--reservation",
    "nodelist": "--nodelist", "exclude": "--exclude", "licenses": "--licenses", "nice": "--nice", "time_limit": "--time", "cluster": "--clusters",
}  # fmt: skip

OPTIONS: Mapping[str, TargetOption] = {
    "partition": TargetOption("the partition, or several, the first free one", _NAMES, "gpu"),
    "account": TargetOption("the account that is charged", _NAME, "physics"),
    "qos": TargetOption("the quality of service", _NAME, "high"),
    "constraint": TargetOption("features that its nodes must have", _CONSTRAINT, "a100&nvlink"),
    "reservation": TargetOption("the reservation that it runs in", _NAMES, "course"),
    "nodelist": TargetOption("nodes that it must run on", _HOSTS, "n[01-04]"),
    "exclude": TargetOption("nodes that it must not run on", _HOSTS, "n13"),
    "licenses": TargetOption("licenses that it needs", _NAMES, "matlab:1"),
    "gpu_type": TargetOption("which kind of GPU, where there are several", _NAME, "a100"),
    "nice": TargetOption("how much it yields to others", r"-?\d{1,7}", "100"),
    "time_limit": TargetOption("after which Slurm itself ends it; default: the run's --time", r"[0-9]{1,4}(-[0-9]{1,2})?(:[0-9]{1,2}){0,2}", "1-12:00:00"),
    "exclusive": TargetOption("nothing else on its nodes", YES_OR_NO, "yes"),
    "requeue": TargetOption("Slurm starts it again when a node is lost or it is preempted; default: no", YES_OR_NO, "yes"),
    "cluster": TargetOption("which of several clusters", _NAME, "west", of_run=False),
    "rest": TargetOption("where slurmrestd answers, in place of Slurm's commands", _REST, "https://hpc.lab:6820", of_run=False),
    "token": TargetOption("with `rest`: the name of the stored secret that holds the JSON web token; default: $SLURM_JWT", example="hpc-token", of_run=False, is_secret_name=True),
    "user": TargetOption("with `rest`: whose token it is; default: as it says itself", _NAME, "ada", of_run=False),
    "conf": TargetOption("the slurm.conf of the cluster; default: $SLURM_CONF, or Slurm's own", _PATH, "/etc/slurm/slurm.conf", of_run=False),
    "directory": TargetOption("a directory that nodes see at the same path; default: below WARDIAN_HOME", _PATH, "/shared/ada/wardian", of_run=False),
    "cache": TargetOption("where nodes keep environments; default: in that directory", r"[/~$][^\0\r\n]{1,200}", "$TMPDIR/wardian", of_run=False),
    "platform": TargetOption("of the nodes, if it is not this machine's", r"[a-z]+/[a-z0-9_]+", "linux/amd64", of_run=False),
    "container": TargetOption("runs in the environment's own image, as an OCI bundle: Slurm's oci.conf must name a runtime", "oci", "oci"),
    "mounts": TargetOption("with `container`: further directories of the nodes that it sees, with colons", rf"{_MOUNT}(:{_MOUNT})*", "/datasets:/scratch", of_run=False),
    "keep": TargetOption("directories of runs stay on the nodes' side; default: no", YES_OR_NO, "yes"),
}  # fmt: skip
_TOLD = (
    "SLURM_*",
    "CUDA_VISIBLE_DEVICES",
    "ROCR_VISIBLE_DEVICES",
    "GPU_DEVICE_ORDINAL",
    "ZE_AFFINITY_MASK",
    "TMPDIR",
    "OMP_NUM_THREADS",
)


def _check(options: Mapping[str, str], target: str) -> None:
    """Check options that depend on each other.

    Raises:   InvalidInput: ``bad_target_option``.
    """
    wrong = [name for name in (("cluster", "conf") if "rest" in options else ("token", "user")) if name in options]
    if wrong:
        what = (
            f"`{wrong[0]}` is of Slurm's commands, and `rest` is in their place"
            if "rest" in options
            else f"`{wrong[0]}` is of slurmrestd, and `rest` is missing"
        )
        raise InvalidInput(f"the options of `{target}`: {what}", code="bad_target_option",
                           hint=f"leave out `{wrong[0]}`" + ("" if "rest" in options else ", or add `--option rest=https://…`"))  # fmt: skip


SLURM = TargetKind(
    "slurm",
    "jobs of a Slurm cluster, through sbatch or its REST API",
    OPTIONS,
    is_remote=True,
    pass_variables=_TOLD,
    check=_check,
)
