"""What slurmrestd is told in both dialects of its API, and what is made of its answers; without Slurm."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self, cast

import pytest

from wardian.errors import Denied, InvalidInput, Unavailable
from wardian.run.configuration import Resources
from wardian.run.targets.kinds import check_options, kind_named
from wardian.run.targets.remote import Standing, Task
from wardian.run.targets.slurm_rest import SlurmRestTarget
from wardian.run.targets.slurm_rest_words import claims, fields_of, job_of, newest_version, standing_of_job
from wardian.tools.registry_http import Broken, RegistryHttp

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

TASK = Task("01abcdefghjk", ("/agent", "exec", "/n/sheet.json"), "/n/runs/01abcdefghjk", Resources())
JOB_FIELDS = ("name", "environment", "current_working_directory", "standard_input", "standard_output", "tasks", "tasks_per_node", "nodes",
              "minimum_nodes", "open_mode", "requeue", "memory_per_node", "time_limit")  # fmt: skip
OLD_JOB = {
    "job_id": 7, "job_state": "FAILED", "state_reason": "NonZeroExitCode", "exit_code": 1792, "nodes": "n1", "restart_cnt": 0, "start_time": 5,
    "name": TASK.key, "user_name": "ada", "current_working_directory": "/n",
}  # fmt: skip
NEW_JOB = OLD_JOB | {
    "job_state": ["FAILED"], "start_time": {"set": True, "infinite": False, "number": 5},
    "exit_code": {"status": ["ERROR"], "return_code": {"set": True, "infinite": False, "number": 7}, "signal": {"id": {"set": False, "number": 0}, "name": ""}},
}  # fmt: skip


def a_token(**said: Any) -> str:
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in ({}, said, {}))


def specification(*versions: int, fields: tuple[str, ...] = JOB_FIELDS) -> dict[str, Any]:
    paths = {
        f"/slurm/v0.0.{version}/job/submit": {"post": {"requestBody": {"content": {"application/json": {
            "schema": {"$ref": f"#/components/schemas/v0.0.{version}_submission"}}}}}}
        for version in versions
    }  # fmt: skip
    schemas = {
        f"v0.0.{version}_submission": {"properties": {"job": {"$ref": "#/components/schemas/job"}}} for version in versions
    }
    return {
        "paths": {**paths, "/slurmdb/v0.0.99/jobs": {}},
        "components": {"schemas": {**schemas, "job": {"properties": {key: {} for key in fields}}}},
    }


@dataclass
class Server:
    """Answers in place of slurmrestd: ``answer`` is asked with the method and what follows the version."""

    answer: Callable[[str, str], tuple[int, Any]] = lambda *_: (200, {"errors": [], "jobs": []})
    specification: Any = field(default_factory=lambda: specification(37, 38))
    asked: list[tuple[str, str, Mapping[str, str], Any]] = field(default_factory=list)

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Any:
        path = url.removeprefix("http://hpc:6820")
        self.asked.append((method, path, headers, json.loads(body) if body else None))
        status, document = (200, self.specification) if path == "/openapi/v3" else self.answer(method, path.split("/", 3)[3])
        return Said(status, document if isinstance(document, bytes) else json.dumps(document).encode())

    def target(self, jwt: str = "", **options: str) -> SlurmRestTarget:
        given = jwt or a_token(sun="ada", exp=time.time() + 600)
        environ = {"HOME": "/home/ada", "WANDB_API_KEY": "hunter2"}
        return SlurmRestTarget({"rest": "http://hpc:6820", **options}, environ, lambda: given, cast("RegistryHttp", self))


@dataclass
class Said:
    status: int
    content: bytes

    def read(self, size: int) -> bytes:
        piece, self.content = self.content[:size], self.content[size:]
        return piece

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def of_version(version: int, options: dict[str, str] | None = None, **changes: Any) -> dict[str, Any]:
    check_options(kind_named("slurm"), options or {}, "hpc")
    found: dict[str, Any] = job_of(replace(TASK, **changes), options or {}, {"PATH": "/bin"}, version)["job"]
    return found


WANTS = Resources(cpus=1.5, memory_bytes=(1 << 30) + 1, gpus=2, nodes=3)
OPTIONS = {
    "partition": "gpu",
    "account": "a",
    "qos": "high",
    "constraint": "a100&nvlink",
    "nodelist": "n[01-04],m1",
    "exclusive": "yes",
    "gpu_type": "a100",
}


def test_a_job_in_the_old_dialect() -> None:
    job = of_version(38, OPTIONS, resources=WANTS, time_s=61)
    assert (job["nodes"], job["tasks"], job["tasks_per_node"], job["cpus_per_task"]) == ([3, 3], 3, 1, 2)
    assert (job["memory_per_node"], job["gres"], job["time_limit"]) == (1025, "gpu:a100:2", 2)
    assert (job["exclusive"], job["nodelist"], job["environment"]) == ("exclusive", "n[01-04],m1", {"PATH": "/bin"})
    assert (job["no_requeue"], "requeue" in job) == (True, False)
    assert of_version(38, {"requeue": "yes"})["requeue"] is True
    with pytest.raises(InvalidInput, match="cannot exclude nodes"):
        of_version(38, {"exclude": "n1"})


def test_a_job_in_the_new_dialect() -> None:
    job = of_version(40, {**OPTIONS, "exclude": "n[05,07],m2"}, resources=WANTS, time_s=61)
    assert (job["nodes"], job["minimum_nodes"], job["tasks"]) == ("3-3", 3, 3)
    assert job["memory_per_node"] == {"set": True, "infinite": False, "number": 1025}
    assert job["time_limit"]["number"] == 2
    assert (job["tres_per_node"], job["shared"], job["requeue"]) == ("gres/gpu:a100:2", ["none"], False)
    assert (job["required_nodes"], job["excluded_nodes"]) == (["n[01-04]", "m1"], ["n[05,07]", "m2"])
    assert (job["environment"], job["open_mode"]) == (["PATH=/bin"], ["APPEND"])
    assert of_version(39, resources=Resources(gpus=1))["tres_per_node"] == "gres:gpu:1"


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("30", 30), ("30:01", 31), ("2:00:00", 120), ("1-12", 36 * 60), ("1-12:30", 36 * 60 + 30), ("1-12:00:00", 36 * 60)],
)
def test_limits_of_time_as_sbatch_takes_them(text: str, minutes: int) -> None:
    assert of_version(38, {"time_limit": text}, time_s=7)["time_limit"] == minutes


def test_the_newest_version_is_taken_that_takes_jobs() -> None:
    assert newest_version(specification(36, 38, 40)) == 40
    nothings: list[Any] = [
        specification(36),
        specification(),
        None,
        [],
        {"paths": None},
        {"paths": {"/slurm/v0.0.xx/job/submit": {}}},
    ]
    for nothing in nothings:
        assert newest_version(nothing) is None
    assert fields_of(specification(40), 40) == set(JOB_FIELDS)
    unclears: list[Any] = [{}, specification(38), {"paths": {"/slurm/v0.0.40/job/submit": {"post": []}}}]
    for unclear in unclears:
        assert fields_of(unclear, 40) == frozenset()


@pytest.mark.parametrize("job", [OLD_JOB, NEW_JOB])
def test_how_a_job_stands_in_both_dialects(job: dict[str, Any]) -> None:
    assert standing_of_job(job) == Standing("ended", reason="FAILED", cause="exited", exit_code=7, node="n1", attempts=1)


def test_states_that_are_lists() -> None:
    assert standing_of_job(NEW_JOB | {"job_state": ["COMPLETED", "COMPLETING"]}).state == "running"
    assert standing_of_job(NEW_JOB | {"job_state": ["PENDING", "REQUEUED"], "state_reason": "BeginTime"}).state == "waiting"
    killed = NEW_JOB | {"exit_code": {"return_code": 0, "signal": {"signal_id": 9}}}
    assert (standing_of_job(killed).signal, standing_of_job(killed).exit_code) == (9, None)
    canceled = NEW_JOB | {"job_state": ["CANCELLED"], "start_time": {"set": False, "number": 0}, "nodes": ""}
    assert (standing_of_job(canceled).cause, standing_of_job(canceled).attempts) == ("canceled", 0)


def test_a_job_that_is_there_is_found_and_not_made() -> None:
    theirs = OLD_JOB | {"job_id": 9, "user_name": "bob"}
    server = Server(lambda *_: (200, {"errors": [], "jobs": [OLD_JOB, theirs, OLD_JOB | {"job_id": 8}]}))
    assert server.target().submit(TASK) == "8"
    assert [method for method, *_ in server.asked] == ["GET", "GET"]


def test_who_asks_is_in_headers_and_nothing_of_the_environment_is_posted() -> None:
    server = Server(lambda method, _: (200, {"errors": [], "job_id": 12} if method == "POST" else {"errors": [], "jobs": []}))
    token = a_token(sun="ada")
    assert server.target(token).submit(TASK) == "12"
    _, path, headers, body = server.asked[-1]
    assert path == "/slurm/v0.0.38/job/submit"
    assert (headers["X-SLURM-USER-NAME"], headers["X-SLURM-USER-TOKEN"]) == ("ada", token)
    assert set(body["job"]["environment"]) == {"HOME", "PATH"}
    assert token not in json.dumps(body)


def test_an_empty_list_with_an_error_is_no_answer() -> None:
    """So it is when the controller is down, or does not take the token: HTTP 200, no job, and an error beside it."""
    down = {
        "errors": [{"error_number": -1, "error": "Unspecified error", "description": "Failed while looking for jobs"}],
        "jobs": [],
    }
    asks: list[Callable[[SlurmRestTarget], object]] = [
        lambda t: t.submit(TASK), lambda t: t.standings(["7"]), lambda t: t.read_log("7", 0, 1), lambda t: t.cancel(["7"]),
    ]  # fmt: skip
    for ask in asks:
        with pytest.raises(Unavailable, match="or it does not take the token"):
            ask(Server(lambda *_: (200, down)).target())
        with pytest.raises(Denied, match="has expired: 20") as raised:
            ask(Server(lambda *_: (500, down)).target(a_token(sun="ada", exp=time.time() - 5), token="hpc-token"))
        assert "wardian secret set hpc-token" in (raised.value.hint or "")
        with pytest.raises(Denied, match="does not take the token of ada"):
            ask(Server(lambda *_: (401, b"Authentication failure")).target())


def test_the_unknown_are_unknown() -> None:
    gone = {"errors": [{"error_number": 2017, "error": "Invalid job id specified"}], "jobs": []}
    target = Server(lambda *_: (500, gone)).target()
    assert {one.state for one in target.standings(["7", "x"]).values()} == {"unknown"}
    assert target.read_log("7", 0, 1) == b""
    target.cancel(["7", "x"])


def test_many_are_asked_after_by_one_list() -> None:
    server = Server(lambda *_: (200, {"errors": [], "jobs": [OLD_JOB | {"job_id": number} for number in range(1, 900)]}))
    found = server.target().standings([str(number) for number in range(1, 1001)])
    assert [path for _, path, *_ in server.asked] == ["/openapi/v3", "/slurm/v0.0.38/jobs"]
    assert (found["899"].state, found["900"].state) == ("ended", "unknown")


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        ({"error_code": 2014, "error": "Requested node configuration is not available"}, InvalidInput, "engine_refused"),
        ({"error_code": 9001, "error": "Failure during parsing"}, InvalidInput, "engine_refused"),
        ({"error_code": 2045, "error": "Invalid account or account/partition combination specified"}, Denied, "engine_denied"),
        ({"error_code": 1800, "error": "Unable to contact slurm controller (connect failure)"}, Unavailable, "engine_unavailable"),
        ({"error_code": 2, "error": "Job violates accounting policy: QOSMaxSubmitJobPerUserLimit"}, Unavailable, "queue_full"),
    ],
)  # fmt: skip
def test_what_a_refusal_means(error: dict[str, Any], kind: type[Exception], code: str) -> None:
    server = Server(lambda method, _: (500, {"errors": [error]}) if method == "POST" else (200, {"errors": [], "jobs": []}))
    with pytest.raises(kind, match="slurmrestd says: ") as raised:
        server.target().submit(TASK)
    assert getattr(raised.value, "stable_code", "") == code


def test_a_job_that_is_there_though_it_was_refused_is_that_job() -> None:
    job = {"job_id": 7, "name": TASK.key, "user_name": "ada", "job_state": "PENDING"}
    lists = iter([[], [job], [job]])

    def answer(method: str, _: str) -> tuple[int, Any]:
        return (
            (500, {"errors": [{"error_code": 5, "error": "odd"}]})
            if method == "POST"
            else (200, {"errors": [], "jobs": next(lists)})
        )

    assert Server(answer).target().submit(TASK) == "7"


def test_what_a_newer_version_would_leave_out_is_refused() -> None:
    server = Server(specification=specification(41))
    with pytest.raises(InvalidInput, match="has no `licenses`"):
        server.target(licenses="matlab:1").submit(TASK)
    assert len(server.asked) == 1


@pytest.mark.parametrize("content", [b"<html>", b"[]", b"", b"[" * 100_000])
def test_what_is_no_slurmrestd_is_no_answer(content: bytes) -> None:
    with pytest.raises(Unavailable):
        Server(lambda *_: (200, content)).target().standings(["7"])
    with pytest.raises(Unavailable, match="is no slurmrestd"):
        Server(specification=json.loads(content) if content == b"[]" else {}).target().standings(["7"])


@pytest.mark.parametrize("document", [{}, {"errors": []}, {"errors": [], "jobs": None}, {"errors": [], "jobs": [7]}])
def test_what_is_no_list_of_jobs_is_no_answer(document: dict[str, Any]) -> None:
    server = Server(lambda *_: (200, document))
    for ask in (lambda: server.target().submit(TASK), lambda: server.target().standings(["7"])):
        with pytest.raises(Unavailable, match="no list of jobs"):
            ask()


def test_an_answer_without_a_number_is_no_answer() -> None:
    server = Server(lambda method, _: (200, {"errors": []} if method == "POST" else {"errors": [], "jobs": []}))
    with pytest.raises(Unavailable, match="without a job's number"):
        server.target().submit(TASK)
    lost = Server()

    def send(*_: object) -> Any:
        raise Broken("no answer in time")

    lost.send = send  # type: ignore[method-assign, assignment]
    with pytest.raises(Unavailable, match="does not answer at http://hpc:6820: no answer in time"):
        lost.target().submit(TASK)


def test_more_nodes_than_there_are() -> None:
    answers = {
        "partitions": {"errors": [], "partitions": [{"name": "main", "flags": ["default"], "state": "UP"}, {"name": "big", "partition": {"state": ["UP"]}}]},
        "nodes": {"errors": [], "nodes": [
            {"name": f"n{number}", "partitions": ["main", "big"] if number else ["main"], "state": ["IDLE"], "cpus": 4, "real_memory": 2000,
             "gres": "gpu:a100:2(S:0),gpu:1,fpga:7" if number else ""} for number in range(2)]},
        "jobs": {"errors": [], "jobs": []},
    }  # fmt: skip
    target = Server(lambda _, path: (200, answers[path])).target()
    with pytest.raises(InvalidInput, match="Slurm says: 2 of 2 nodes of main can give them, and 3 are needed"):
        target.submit(replace(TASK, resources=Resources(nodes=3)))
    answers["ping"] = {"errors": [], "meta": {"Slurm": {"release": "22.05.8"}}}

    def can(resources: Resources, **options: str) -> bool:
        found = Server(lambda _, path: (200, answers[path])).target(**options).check(resources)
        return next(one.ok for one in found if one.subject == "resources")

    assert (can(Resources(gpus=3)), can(Resources(gpus=4)), can(Resources(gpus=1, nodes=2))) == (True, False, False)
    assert (can(Resources(nodes=2)), can(Resources(nodes=2), partition="big"), can(Resources(), partition="none")) == (
        True,
        False,
        False,
    )


def test_tokens_of_any_kind() -> None:
    for token in ("", "a", "a.b", "a.!!.c", a_token() + "x", f"{'a.'}{base64.urlsafe_b64encode(b'[1]').decode()}.c"):
        assert claims(token) in ({}, {"sun": "ada"})
    assert claims(a_token(sun="ada", exp=5)) == {"sun": "ada", "exp": 5}


@pytest.mark.parametrize("options", [{"rest": "ftp://x"}, {"rest": "https://me:pw@hpc"}, {"rest": "unix:relative"}, {"rest": "https://x", "cluster": "west"},
                                     {"rest": "https://x", "conf": "/etc/slurm.conf"}, {"token": "hpc-token"}, {"user": "ada"}])  # fmt: skip
def test_options_that_do_not_go_together(options: dict[str, str]) -> None:
    with pytest.raises(InvalidInput):
        check_options(kind_named("slurm"), options, "hpc")
