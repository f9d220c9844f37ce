"""Slurm through slurmrestd: the same jobs without its commands, with a token in place of a login node."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from wardian.errors import Denied, InvalidInput, Unavailable, WardianError
from wardian.run.targets import slurm_rest_words as words
from wardian.run.targets.remote import UNKNOWN, Finding, Standing
from wardian.run.targets.slurm_rest_findings import Cluster
from wardian.run.targets.slurm_task import failure, read_engine_log, settled
from wardian.run.variables import SYSTEM_PATH

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from wardian.run.configuration import Resources
    from wardian.run.targets.remote import Task
    from wardian.tools.registry_http import RegistryHttp

_HANDLE = re.compile(r"\d{1,10}")
_NAMED = 20  # jobs that are asked for one by one; of more, the list of all is read
_LARGEST_BYTES = 512 << 20
_PIECE_BYTES = 1 << 20
_TIMEOUT_S = 90.0
_OK, _BAD, _UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _ERROR = 200, 400, 401, 403, 404, 500
_BUSY = (429, 502, 503, 504)
_PASSED = ("HOME", "USER", "LOGNAME", "LANG", "TZ", "SLURM_CONF")  # what the batch script finds, as after sbatch
_DEFAULTS = {"SBATCH_ACCOUNT": "account", "SBATCH_PARTITION": "partition", "SBATCH_QOS": "qos", "SBATCH_RESERVATION": "reservation",
             "SBATCH_CONSTRAINT": "constraint"}  # fmt: skip
_PARSING = 9001
_LIKELY = "its controller does not answer slurmrestd, or it does not take the token: both look the same from here"


class SlurmRestTarget:
    """Hands tasks over to a Slurm cluster whose slurmrestd answers. See ``RemoteTarget``.

    A job's name is its task's key. slurmrestd knows no question by name, so each submission reads the list of jobs.

    Args:     options: the target's (``slurm_options``); ``rest`` is among them.  environ: of this process.
              token: gives the JSON web token; asked for before each request, as it may have been renewed.
              http: a test's own.
    """

    name = "slurm"

    def __init__(
        self, options: Mapping[str, str], environ: Mapping[str, str], token: Callable[[], str], http: RegistryHttp | None = None
    ) -> None:
        given = {option: environ[name] for name, option in _DEFAULTS.items() if environ.get(name)}
        self._options = {**given, **options}
        self._environ = {name: environ[name] for name in _PASSED if name in environ} | {"PATH": SYSTEM_PATH}
        self._user = options.get("user", "") or environ.get("USER", "")
        self._is_named = "user" in options
        self._token = token
        self._where = options["rest"]
        self._base, self._socket = (
            ("http://localhost", self._where.removeprefix("unix:"))
            if self._where.startswith("unix:")
            else (self._where.rstrip("/"), "")
        )
        self._http = http
        self._api: tuple[int, frozenset[str]] | None = None

    # -- the port ------------------------------------------------------------------------------------------------------

    def check(self, resources: Resources | None = None) -> Sequence[Finding]:
        """Ask slurmrestd for its versions, the controller whether it answers, and what its partitions have. See ``RemoteTarget.check``."""
        found: list[Finding] = []
        subject = "slurmrestd"
        try:
            version, _ = self._version()
            found.append(Finding(subject, True, f"{self._where} has version 0.0.{version} of the API"))
            subject = "controller"
            ping = self._get("ping")
            found.append(Finding("token", True, self._described()))
            if self._base.startswith("http:") and not self._socket and not _is_here(self._base):
                found.append(
                    Finding("connection", True, "the token travels in plain text: `https://`, or a tunnel, would hide it")
                )
            found.append(Finding(subject, True, f"answers{_release(ping)}"))
            subject = "partitions"
            cluster = self._cluster()
        except WardianError as error:
            return [*found, Finding(subject, False, error.message, error.hint or "")]
        found += cluster.findings()
        if resources is not None:
            found.append(cluster.can_give(resources, self._options))
        return found

    def submit(self, task: Task) -> str:
        """Post ``task``, unless a job of its name is there. See ``RemoteTarget.submit``."""
        version, fields = self._version()
        options = {**self._options, **task.options}
        posted = words.job_of(task, options, self._environ, version)
        if unknown := sorted(posted["job"].keys() - fields) if fields and version >= words.FIRST_NEW else []:
            raise InvalidInput(f"version 0.0.{version} of Slurm's REST API, at {self._where}, has no `{unknown[0]}`", code="engine_refused",
                               hint="submit from a machine with Slurm's commands: a target without `rest`")  # fmt: skip
        known = self.find(task.key)
        if known is not None:
            return known
        if (task.resources.nodes or 1) > 1:  # the controller takes more nodes than there are, and lets them wait for ever
            can = self._cluster().can_give(task.resources, options)
            if not can.ok:
                raise InvalidInput(f"Slurm says: {can.text}", code="engine_refused", hint=can.hint)
        return settled(self, lambda: self._submitted(posted), task.key)

    def standings(self, handles: Sequence[str]) -> Mapping[str, Standing]:
        """Return how jobs stand: a few one by one, many by the list of all. See ``RemoteTarget.standings``."""
        numbers = [handle for handle in dict.fromkeys(handles) if _HANDLE.fullmatch(handle)]
        if len(numbers) > _NAMED:
            wanted = set(numbers)
            jobs = [job for job in self._jobs("jobs") if str(job.get("job_id")) in wanted]
        else:
            jobs = [job for handle in numbers for job in self._jobs(f"job/{handle}")]
        found = {str(job.get("job_id")): words.standing_of_job(job) for job in jobs}
        return {handle: found.get(handle, Standing(UNKNOWN)) for handle in handles}

    def read_log(self, handle: str, offset: int, limit: int) -> bytes:
        """Return a piece of the file that the job writes. See ``RemoteTarget.read_log``."""
        for job in self._jobs(f"job/{handle}") if _HANDLE.fullmatch(handle) else ():
            if directory := str(job.get("current_working_directory") or ""):
                return read_engine_log(directory, offset, limit)
        return b""

    def cancel(self, handles: Sequence[str]) -> None:
        """Have jobs ended, waiting or running. See ``RemoteTarget.cancel``."""
        for handle in handles:
            if _HANDLE.fullmatch(handle):
                self._ask("DELETE", f"job/{handle}", unknown_is_fine=True)

    def handed_over(self, task: Task) -> tuple[Sequence[str], str]:
        """Return what would be posted for ``task``, as words and a script, for people: of the newer dialect; nothing is contacted."""
        posted = words.job_of(task, {**self._options, **task.options}, self._environ, words.FIRST_NEW + 1)
        return ["POST", f"{self._where}/slurm/…/job/submit", json.dumps(posted["job"], sort_keys=True)], str(posted["script"])

    # -- asking --------------------------------------------------------------------------------------------------------

    def _submitted(self, posted: Mapping[str, Any]) -> str:
        answer = self._ask("POST", "job/submit", posted, of_task=True)
        handle = str(words.number(answer.get("job_id")) or words.number((answer.get("result") or {}).get("job_id")) or "")
        if not _HANDLE.fullmatch(handle):
            raise Unavailable("slurmrestd answered without a job's number", code="engine_unclear",
                              hint="the run is asked for by its name at the next look")  # fmt: skip
        return handle

    def find(self, key: str) -> str | None:
        """Return the newest job of that name, whatever has become of it."""
        ids = [
            words.number(job.get("job_id")) or 0 for job in self._jobs("jobs") if job.get("name") == key and self._is_ours(job)
        ]
        return str(max(ids)) if ids else None

    def _is_ours(self, job: Mapping[str, Any]) -> bool:
        name = str(job.get("user_name") or "")
        return not name or name == self._whose(self._token())

    def _jobs(self, path: str) -> list[Mapping[str, Any]]:
        found = self._ask("GET", path, unknown_is_fine=path != "jobs").get("jobs")
        if not isinstance(found, list) or not all(
            isinstance(job, dict) for job in found
        ):  # not a list of nothing: runs would be lost
            raise Unavailable(f"slurmrestd at {self._where} answers with no list of jobs", code="engine_unclear",
                              hint="is there a proxy before it?")  # fmt: skip
        return found

    def _cluster(self) -> Cluster:
        return Cluster.of(self._get("partitions"), self._get("nodes"))

    def _get(self, path: str) -> Mapping[str, Any]:
        return self._ask("GET", path)

    def _version(self) -> tuple[int, frozenset[str]]:
        """Return the newest version that slurmrestd has, and the fields of its jobs; asked for once."""
        if self._api is None:
            status, content = self._send("GET", "/openapi/v3", None)
            specification = _parsed(content)
            if status in (_UNAUTHORIZED, _FORBIDDEN):
                raise self._denied()
            version = words.newest_version(specification) if status == _OK else None
            if version is None:
                raise Unavailable(f"what answers at {self._where} is no slurmrestd that jobs can be given to: HTTP {status} for its OpenAPI document",
                                  code="engine_unavailable", hint=f"versions from 0.0.{words.OLDEST} on are understood; slurmrestd's `-s` chooses them")  # fmt: skip
            self._api = version, words.fields_of(specification, version)
        return self._api

    def _ask(
        self, method: str, path: str, body: Any = None, *, unknown_is_fine: bool = False, of_task: bool = False
    ) -> Mapping[str, Any]:
        version, _ = self._version()
        status, content = self._send(method, f"/slurm/v0.0.{version}/{path}", body)
        if status in (_UNAUTHORIZED, _FORBIDDEN):
            raise self._denied()
        document = _parsed(content)
        if not isinstance(document, dict):
            raise Unavailable(f"slurmrestd at {self._where} answers HTTP {status} and no JSON object", code="engine_unavailable",
                              hint="is it slurmrestd that answers there?")  # fmt: skip
        said, numbers = words.errors_of(document)  # there may be some whatever the status is: an empty list is then no answer
        if not said and status == _OK:
            return document
        if unknown_is_fine and (words.NO_SUCH_JOB in numbers or any("invalid job id" in one.lower() for one in said)):
            return {"jobs": []}
        raise self._failure(status, said, numbers, of_task=of_task)

    def _failure(self, status: int, said: Sequence[str], numbers: set[int], *, of_task: bool) -> WardianError:
        text = "; ".join(said)[:600] or f"HTTP {status}"
        until = words.number(words.claims(self._token()).get("exp"))
        if until is not None and until <= time.time():
            return self._denied()
        if re.search(r"(?i)authentication|invalid user|unauthori[sz]ed", text):
            return self._denied(text)
        if -1 in numbers and _PARSING not in numbers:
            return Unavailable(f"slurmrestd says: {text}: {_LIKELY}", code="engine_unavailable",
                               hint="`scontrol ping` on a login node tells whether the controller answers; `scontrol token` makes a token")  # fmt: skip
        if not of_task or status in _BUSY:
            return Unavailable(f"slurmrestd says: {text}", code="engine_unavailable",
                               hint="`wardian target check` shows whether the controller answers")  # fmt: skip
        return failure("slurmrestd says", text)

    def _send(self, method: str, path: str, body: Any) -> tuple[int, bytes]:
        from wardian.tools.registry_http import Broken, RegistryHttp

        if self._http is None:
            self._http = RegistryHttp(timeout_s=_TIMEOUT_S, socket=self._socket)
        token = self._token()
        headers = {"X-SLURM-USER-NAME": self._whose(token), "X-SLURM-USER-TOKEN": token, "Accept": "application/json"}
        content = b""
        if body is not None:
            content, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
        pieces, size = [], 0
        try:
            with self._http.send(method, self._base + path, headers, content) as reply:
                while piece := reply.read(_PIECE_BYTES):
                    pieces.append(piece)
                    size += len(piece)
                    if size > _LARGEST_BYTES:
                        raise Unavailable(f"slurmrestd at {self._where} answers with more than {_LARGEST_BYTES >> 20} MiB", code="engine_unavailable")  # fmt: skip
                return reply.status, b"".join(pieces)
        except Broken as error:
            raise Unavailable(f"slurmrestd does not answer at {self._where}: {error}", code="engine_unavailable",
                              hint="is it running, and is this its address? `--option rest=…`") from error  # fmt: skip

    def _whose(self, token: str) -> str:
        """Return whom a token is of: as the target says, else as it says itself, else whoever runs this."""
        if self._is_named:
            return self._user
        said = words.claims(token)
        return str(said.get("sun") or said.get("username") or self._user)

    def _denied(self, text: str = "") -> Denied:
        token = self._token()
        until = words.number(words.claims(token).get("exp"))
        hint = "`scontrol token` on a login node makes one"
        if name := self._options.get("token"):
            hint += f"; `wardian secret set {name}` keeps it"
        else:
            hint += "; `export SLURM_JWT=…`, or `wardian secret set NAME` and `--option token=NAME`"
        if until is not None and until <= time.time():
            when = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(until))
            return Denied(f"the token for slurmrestd at {self._where} has expired: {when}", code="engine_denied", hint=hint)
        why = f": {text}" if text else ""
        return Denied(f"slurmrestd at {self._where} does not take the token of {self._whose(token) or 'nobody'}{why}",
                      code="engine_denied", hint=hint)  # fmt: skip

    def _described(self) -> str:
        token = self._token()
        until = words.number(words.claims(token).get("exp"))
        whose = f"of {self._whose(token)}"
        return whose if until is None else f"{whose}, until {time.strftime('%Y-%m-%d %H:%M:%SZ', time.gmtime(until))}"


def _parsed(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _is_here(url: str) -> bool:
    return (urlsplit(url).hostname or "") in ("localhost", "127.0.0.1", "::1")


def _release(document: Mapping[str, Any]) -> str:
    meta = document.get("meta")
    for name in ("Slurm", "slurm"):
        found = meta.get(name) if isinstance(meta, dict) else None
        if isinstance(found, dict) and found.get("release"):
            return f": Slurm {str(found['release'])[:40]}"
    return ""
