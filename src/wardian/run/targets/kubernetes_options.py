"""What a user may want of Kubernetes beyond what a run says, as data: each becomes one field of a manifest, none is a piece of YAML."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wardian.errors import InvalidInput
from wardian.run.memory import memory_bytes
from wardian.run.targets.kinds import TargetKind, TargetOption

if TYPE_CHECKING:
    from collections.abc import Mapping

_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"  # RFC 1123, as Kubernetes has it
_NAME = rf"{_LABEL}(\.{_LABEL})*"
_KEY = rf"({_NAME}/)?[A-Za-z0-9]([A-Za-z0-9_.-]{{0,61}}[A-Za-z0-9])?"
_VALUE = r"([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?"
_EFFECTS = "NoSchedule|PreferNoSchedule|NoExecute"
_PATH = r"/[^\0\r\n:,]{1,200}"
_TOLERATION = rf"{_KEY}(={_VALUE})?(:({_EFFECTS}))?"
_VOLUME = rf"{_NAME}:{_PATH}(:ro)?"
_SIZE = r"[0-9]+(\.[0-9]+)?[KMGT]?i?B?"
_ID = r"[1-9][0-9]{0,8}"
_LONGEST_NAME = 253
_REPOSITORY = r"[A-Za-z0-9][A-Za-z0-9.-]{0,200}(:[0-9]{1,5})?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+"
UID, TTL_S, GRACE_S, START_S, GPU = 1000, 86_400, 30, 900, "nvidia.com/gpu"
_RESERVED = ("/", "/proc", "/sys", "/dev", "/etc", "/tmp", "/dev/shm", "/opt/env")  # noqa: S108 - places in a container


def _many(one: str) -> str:
    return f"{one}(,{one})*"


OPTIONS: Mapping[str, TargetOption] = {
    "kubeconfig": TargetOption("the kubeconfig file; default: $KUBECONFIG, ~/.kube/config, or the pod that Wardian itself runs in", r"[/~][^\0\r\n]{0,500}", "~/.kube/config", of_run=False),
    "context": TargetOption("which context of the kubeconfig; default: its current one", r"[^\0\r\n]{1,200}", "prod", of_run=False),
    "namespace": TargetOption("the namespace; default: the context's", _LABEL, "team-a", of_run=False),
    "directory": TargetOption("a directory here that is on the volume of `claim`, which pods see at the same path", _PATH, "/shared/ada/wardian", of_run=False),
    "claim": TargetOption("the PersistentVolumeClaim that `directory` lies on, and, after `/`, which directory of its volume that is", rf"{_NAME}(/[A-Za-z0-9_.-]{{1,100}})*", "shared/ada/wardian", of_run=False),
    "files": TargetOption("how files come to pods and back: `volume` (the one of `claim`), `registry` (the workspace's), or a repository for them; default: volume where there is a `claim`", rf"volume|registry|{_REPOSITORY}", "registry", of_run=False),
    "files_login": TargetOption("the Secret object that pods write to that repository with; default: one with your login, made for each run", _NAME, "wardian-files", of_run=False),
    "image": TargetOption("a plain image that environments are installed in from their locks; default: the environment's own image", r"[a-z0-9][A-Za-z0-9._:/@-]{1,500}", "docker.io/library/debian:13-slim"),
    "cache": TargetOption("with `image`: where environments are installed; default: in `directory`", r"/[^\0\r\n]{1,200}", "/cache/wardian", of_run=False),
    "platform": TargetOption("of the nodes, if it is not this machine's", r"[a-z]+/[a-z0-9_]+", "linux/amd64", of_run=False),
    "keep": TargetOption("directories of runs stay on the volume; default: no", r"yes|no", "yes"),
    "registry_login": TargetOption("Secret objects that nodes pull images with", _many(_NAME), "regcred"),
    "service_account": TargetOption("the ServiceAccount of pods; its token is never mounted", _NAME, "trainer"),
    "queue": TargetOption("the LocalQueue of Kueue that admits it", _NAME, "team-a-queue"),
    "priority_class": TargetOption("the PriorityClass", _NAME, "batch-low"),
    "runtime_class": TargetOption("the RuntimeClass", _NAME, "nvidia"),
    "node_selector": TargetOption("labels that its nodes must have", _many(rf"{_KEY}={_VALUE}"), "gpu=a100,zone=b"),
    "tolerations": TargetOption("taints that it bears", _many(_TOLERATION), "gpu=yes:NoSchedule,spot"),
    "gpu_resource": TargetOption("the resource that `--gpus` asks for; default: nvidia.com/gpu", rf"{_NAME}/[A-Za-z0-9]([A-Za-z0-9_.-]{{0,61}}[A-Za-z0-9])?", "amd.com/gpu"),
    "volumes": TargetOption("further PersistentVolumeClaims, and where they are mounted", _many(_VOLUME), "datasets:/data:ro"),
    "shm": TargetOption("the size of /dev/shm, which counts as memory", _SIZE, "8G"),
    "uid": TargetOption("the user's number in the container, never 0; default: yours, or 1000", _ID, "1000"),
    "gid": TargetOption("the group's number, which volumes get too; default: yours, or 1000", _ID, "1000"),
    "ttl": TargetOption("seconds for which an ended Job stays in the cluster; default: a day", r"[0-9]{1,8}", "3600"),
    "grace": TargetOption("seconds from being told to end to being ended; default: 30", r"[1-9][0-9]{0,4}", "120"),
    "start_time": TargetOption("seconds beyond `--time` for pulling the image and starting; default: 900", r"[0-9]{1,6}", "3600"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class KubernetesOptions:
    """The options of a target of kind ``kubernetes``, read. Each field is in the grammar of the API's.

    Attributes:
        files: the repository that files go through; empty: the volume of ``claim``; ``registry``: the workspace's.  files_login: a Secret.
        claim: name of the PersistentVolumeClaim that ``directory`` lies on; empty: none.  sub_path: of the claim's volume.
        tolerations: (key, value or None, effect or empty).  volumes: (claim, path, read only).
    """

    namespace: str = ""
    directory: str = ""
    files: str = ""
    files_login: str = ""
    claim: str = ""
    sub_path: str = ""
    image: str = ""
    pull_secrets: tuple[str, ...] = ()
    service_account: str = ""
    queue: str = ""
    priority_class: str = ""
    runtime_class: str = ""
    node_selector: tuple[tuple[str, str], ...] = ()
    tolerations: tuple[tuple[str, str | None, str], ...] = ()
    gpu_resource: str = GPU
    volumes: tuple[tuple[str, str, bool], ...] = ()
    shm_bytes: int = 0
    uid: int = UID
    gid: int = UID
    ttl_s: int = TTL_S
    grace_s: int = GRACE_S
    start_s: int = START_S

    @classmethod
    def of(cls, options: Mapping[str, str], target: str = "kubernetes", *, uid: int = UID, gid: int = UID) -> KubernetesOptions:
        """Return what the options say; each is in its own grammar already.

        Args:     uid, gid: the submitter's, who owns what lies in ``directory``; root's are not taken.
        Raises:   InvalidInput: ``bad_target_option``: two that contradict each other, or a path that is the system's.
        """
        claim, _, sub_path = options.get("claim", "").partition("/")
        if bool(claim) != bool(options.get("directory")):
            raise _bad(target, "`claim` and `directory` belong together", "`--option claim=shared --option directory=/shared`")
        files = options.get("files", "volume" if claim else "registry")
        if (files == "volume") != bool(claim):
            hint = (
                "a volume for other things is one of `volumes`"
                if claim
                else "`--option claim=shared --option directory=/shared`"
            )
            raise _bad(target, f"`files={files}` and {'`claim`' if claim else 'no `claim`'} contradict each other", hint)
        if "files_login" in options and claim:
            raise _bad(
                target, "`files_login` is for files that go through a registry, and there is a `claim`", "leave one of them out"
            )
        if ".." in sub_path.split("/"):
            raise _bad(target, f"`claim={options['claim']}` leads out of the volume", "directories below its root")
        made = cls(
            namespace=options.get("namespace", ""), directory=options.get("directory", "").rstrip("/"), claim=claim, sub_path=sub_path,
            files="" if files == "volume" else files, files_login=options.get("files_login", ""), image=options.get("image", ""),
            pull_secrets=_words(options.get("registry_login", "")), service_account=options.get("service_account", ""),
            queue=options.get("queue", ""), priority_class=options.get("priority_class", ""), runtime_class=options.get("runtime_class", ""),
            node_selector=tuple(_pair(word) for word in _words(options.get("node_selector", ""))),
            tolerations=tuple(_toleration(word) for word in _words(options.get("tolerations", ""))),
            gpu_resource=options.get("gpu_resource", GPU), volumes=tuple(_volume(word) for word in _words(options.get("volumes", ""))),
            shm_bytes=(memory_bytes(options["shm"]) or 0) if "shm" in options else 0,
            uid=int(options.get("uid", uid or UID)), gid=int(options.get("gid", gid or UID)), ttl_s=int(options.get("ttl", TTL_S)),
            grace_s=int(options.get("grace", GRACE_S)), start_s=int(options.get("start_time", START_S)),
        )  # fmt: skip
        made._check(target)
        return made

    def _check(self, target: str) -> None:
        named = [*self.pull_secrets, self.files_login, self.service_account, self.queue, self.priority_class, self.runtime_class, self.claim,
                 *(claim for claim, _, _ in self.volumes)]  # fmt: skip
        for name in named:
            if len(name) > _LONGEST_NAME:
                raise _bad(
                    target, f"`{name[:80]}…` is too long for the name of an object", f"at most {_LONGEST_NAME} characters"
                )
        places = [path for _, path, _ in self.volumes] + ([self.directory] if self.directory else [])
        for place in places:
            if place in _RESERVED or "//" in place or {".", ".."} & set(place.split("/")):
                raise _bad(target, f"nothing can be mounted at `{place}`", "such as `/data`")
        if len(set(places)) < len(places):
            raise _bad(target, "two volumes have one place", "give each a path of its own")


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split(",")) if text else ()


def _pair(word: str) -> tuple[str, str]:
    key, _, value = word.partition("=")
    return key, value


def _toleration(word: str) -> tuple[str, str | None, str]:
    head, _, effect = word.partition(":")
    key, is_equal, value = head.partition("=")
    return key, value if is_equal else None, effect


def _volume(word: str) -> tuple[str, str, bool]:
    claim, path, *mode = word.split(":")
    return claim, path.rstrip("/") or "/", bool(mode)


def _bad(target: str, what: str, hint: str) -> InvalidInput:
    return InvalidInput(f"the options of `{target}`: {what}", code="bad_target_option", hint=hint)


def is_name(text: str) -> bool:
    """Return whether Kubernetes takes ``text`` as the name of a Job and as a label."""
    return bool(re.fullmatch(_LABEL, text))


KUBERNETES = TargetKind(
    "kubernetes", "Jobs of a Kubernetes cluster", OPTIONS, is_remote=True, runs_images=True,
    check=KubernetesOptions.of, pass_variables=("CUDA_*", "NVIDIA_*", "ROCR_*", "HIP_*", "JOB_COMPLETION_INDEX"),
)  # fmt: skip
