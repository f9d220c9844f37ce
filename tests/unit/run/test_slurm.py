"""What Slurm's commands are told, and what is made of their answers; without Slurm."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from wardian.errors import Denied, InvalidInput, Unavailable
from wardian.run.configuration import Resources
from wardian.run.targets.kinds import check_options, kind_named
from wardian.run.targets.remote import Standing, Task
from wardian.run.targets.slurm import Answer, SlurmTarget
from wardian.run.targets.slurm_words import asked, directory_of, ended_of, standing_of, wait_status, why_waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

TASK = Task(
    "01abcdefghjk",
    ("/agent/bin/python", "exec", "--sheet", "/n/runs/01abcdefghjk/sheet.json"),
    "/n/runs/01abcdefghjk",
    Resources(),
)


@dataclass
class Commands:
    """Answers in place of Slurm's commands, which need not be installed: their names alone are looked up, in ``path``."""

    path: Path
    answer: Callable[[str, Sequence[str]], Answer] = lambda *_: Answer(0, "", "")
    calls: list[tuple[str, list[str], str, Mapping[str, str]]] = field(default_factory=list)

    def __call__(self, words: Sequence[str], text: str, environ: Mapping[str, str]) -> Answer:
        name = words[0].rpartition("/")[2]
        self.calls.append((name, list(words[1:]), text, environ))
        return self.answer(name, words[1:])

    def target(self, options: Mapping[str, str] | None = None, **environ: str) -> SlurmTarget:
        return SlurmTarget(options or {}, {"PATH": str(self.path), **environ}, self)


@pytest.fixture
def commands(tmp_path: Path) -> Commands:
    for name in ("sbatch", "squeue", "scancel", "scontrol", "sinfo", "sacct"):
        (tmp_path / name).touch(0o755)
    return Commands(tmp_path)


def words_of(commands: Commands, options: dict[str, str] | None = None, **changes: Any) -> list[str]:
    check_options(kind_named("slurm"), options or {}, "hpc")
    return list(commands.target(options).handed_over(replace(TASK, **changes))[0])


def test_resources_become_arguments(commands: Commands) -> None:
    words = words_of(commands, resources=Resources(cpus=1.5, memory_bytes=(1 << 30) + 1, gpus=2, nodes=3), time_s=61)
    assert {
        "--cpus-per-task=2",
        "--mem=1025M",
        "--gres=gpu:2",
        "--nodes=3",
        "--ntasks-per-node=1",
        "--time=2",
        "--no-requeue",
    } <= set(words)


def test_options_become_one_argument_each(commands: Commands) -> None:
    options = {"partition": "gpu,cpu", "account": "a", "qos": "high", "constraint": "a100&nvlink", "nodelist": "n[01-04]", "time_limit": "1-12:00:00",
               "requeue": "yes", "exclusive": "yes", "gpu_type": "a100", "licenses": "m:1", "nice": "-5"}  # fmt: skip
    words = words_of(commands, options, resources=Resources(gpus=1), time_s=60)
    assert {"--partition=gpu,cpu", "--account=a", "--qos=high", "--constraint=a100&nvlink", "--nodelist=n[01-04]", "--time=1-12:00:00", "--requeue",
            "--exclusive", "--gres=gpu:a100:1", "--licenses=m:1", "--nice=-5"} <= set(words)  # fmt: skip
    assert "--time=1" not in words


@pytest.mark.parametrize(
    ("name", "value"),
    [("partition", "a b"), ("partition", "--wrap=id"), ("account", "$(id)"), ("constraint", "a;id"), ("nodelist", "`id`"), ("nice", "x"),
     ("time_limit", "tomorrow"), ("directory", "relative"), ("requeue", "maybe"), ("qos", "a\nb")],
)  # fmt: skip
def test_what_is_no_name_is_refused(commands: Commands, name: str, value: str) -> None:
    with pytest.raises(InvalidInput):
        words_of(commands, {name: value})


def test_the_script_is_one_command_whatever_its_words_are(commands: Commands) -> None:
    task = replace(TASK, argv=("/a b/agent", "it's", "$HOME"), variables={"X": "a'b"})
    assert commands.target().handed_over(task)[1] == "#!/bin/sh\nexport X='a'\"'\"'b'\nexec '/a b/agent' 'it'\"'\"'s' '$HOME'\n"
    for changes in ({"key": "a b"}, {"argv": ("a\nb",)}, {"directory": "/a\\b"}):
        with pytest.raises(InvalidInput):
            commands.target().handed_over(replace(TASK, **changes))


def test_more_cpus_than_slurm_can_count_are_refused(commands: Commands) -> None:
    with pytest.raises(InvalidInput) as refused:
        commands.target().handed_over(replace(TASK, resources=Resources(cpus=1e9)))
    assert refused.value.stable_code == "resources_missing"


def test_several_nodes_are_started_by_srun(commands: Commands) -> None:
    script = commands.target().handed_over(replace(TASK, resources=Resources(nodes=4)))[1]
    assert "exec srun --export=ALL --nodes=4 --ntasks=4 --ntasks-per-node=1 " in script


def test_a_bundle_is_run_by_srun_and_has_a_home_of_its_own(commands: Commands) -> None:
    script = commands.target().handed_over(replace(TASK, image="/n/images/a b"))[1]
    assert (
        "exec env HOME=/n/runs/01abcdefghjk srun --export=ALL --nodes=1 --ntasks=1 --container='/n/images/a b' /agent/"
        in script
    )


def test_little_of_the_callers_environment_goes_along(commands: Commands) -> None:
    commands.answer = lambda name, _: Answer(0, "17\n" if name == "sbatch" else "", "")
    target = commands.target(
        HOME="/home/ada", AWS_SECRET_ACCESS_KEY="x", SLURM_JOB_ID="3", SBATCH_ACCOUNT="physics", LD_PRELOAD="/x.so"
    )
    assert target.submit(TASK) == "17"
    environ = commands.calls[-1][3]
    assert set(environ) == {"HOME", "PATH", "SBATCH_ACCOUNT"}


@pytest.mark.parametrize(
    ("options", "asked_for", "there", "nodes", "said"),
    [
        ({}, [], "main*|2\nshort|9\n", 3, "3 nodes are asked for, and main has 2"),
        ({"partition": "main,short"}, ["--partition=main,short"], "main*|2\nshort|1\n", 3, "main has 2, short has 1"),
        ({"partition": "short"}, ["--partition=short"], "short|3\n", 3, None),
        ({"cluster": "far"}, [], "CLUSTER: far\nmain*|4\n", 3, None),
        ({}, [], "", 3, None),  # nobody knows: Slurm does
    ],
)
def test_more_nodes_than_there_are_is_refused_and_nodes_that_are_down_are_waited_for(
    commands: Commands, options: dict[str, str], asked_for: list[str], there: str, nodes: int, said: str | None
) -> None:
    commands.answer = lambda name, _: Answer(0, {"sinfo": there, "sbatch": "7\n"}.get(name, ""), "")
    target, task = commands.target(options), replace(TASK, resources=Resources(nodes=nodes))
    if said is None:
        assert target.submit(task) == "7"
    else:
        with pytest.raises(InvalidInput, match=said):
            target.submit(task)
    (words,) = [words for name, words, _, _ in commands.calls if name == "sinfo"]
    assert [word for word in words if "clusters" not in word] == ["-h", *asked_for, "-o", "%P|%D"]
    assert not [words for name, words, _, _ in commands.calls if name == "sbatch" and "--test-only" in words]


def test_a_job_that_is_there_is_found_and_not_made(commands: Commands) -> None:
    commands.answer = lambda name, _: Answer(0, "12|\n15|\n" if name == "squeue" else "99\n", "")
    assert commands.target().submit(TASK) == "15"
    assert [call[0] for call in commands.calls] == ["squeue"]


@pytest.mark.parametrize(
    ("said", "kind", "code"),
    [
        ("sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)", Unavailable, "engine_unavailable"),
        ("sbatch: error: Batch job submission failed: Socket timed out on send/recv operation", Unavailable, "engine_unavailable"),
        ("Slurmctld(primary) at login is DOWN\n*****\n** RESTORE SLURMCTLD DAEMON TO SERVICE **", Unavailable, "engine_unavailable"),
        ("sbatch: error: Batch job submission failed: Connection reset by peer", Unavailable, "engine_unavailable"),
        ("sbatch: error: Batch job submission failed: Message receive failure", Unavailable, "engine_unavailable"),
        ("sbatch: error: QOSMaxSubmitJobPerUserLimit", Unavailable, "queue_full"),
        ("sbatch: error: Batch job submission failed: Invalid account or account/partition combination specified", Denied, "engine_denied"),
        ("sbatch: error: Batch job submission failed: Access/permission denied", Denied, "engine_denied"),
        ("sbatch: error: invalid partition specified: x\nsbatch: error: Batch job submission failed: Invalid partition name specified", InvalidInput, "engine_refused"),
    ],
)  # fmt: skip
def test_what_a_refusal_means(commands: Commands, said: str, kind: type[Exception], code: str) -> None:
    commands.answer = lambda name, _: Answer(1, "", said) if name == "sbatch" else Answer(0, "", "")
    with pytest.raises(kind) as raised:
        commands.target().submit(TASK)
    assert getattr(raised.value, "stable_code", "") == code
    assert "sbatch says: " in str(raised.value)
    assert "error:" not in str(raised.value)


@pytest.mark.parametrize("said", ["invalid partition specified: x", "Access/permission denied"])
def test_a_job_that_is_there_though_sbatch_says_no_is_that_job(commands: Commands, said: str) -> None:
    row = "12|PENDING|None|0||0|N/A|\n"
    answers = iter([Answer(0, "", ""), Answer(1, "", said), Answer(0, "12|\n", ""), Answer(0, row, "")])
    commands.answer = lambda *_: next(answers)
    assert commands.target().submit(TASK) == "12"


def test_what_slurm_keeps_of_a_job_that_it_refused_is_no_job(commands: Commands) -> None:
    row = "12|FAILED|BadConstraints|0||0|N/A|\n"
    answers = iter(
        [
            Answer(0, "", ""),
            Answer(1, "", "Requested node configuration is not available"),
            Answer(0, "12|\n", ""),
            Answer(0, row, ""),
        ]
    )
    commands.answer = lambda *_: next(answers)
    with pytest.raises(InvalidInput, match="Requested node configuration is not available"):
        commands.target().submit(TASK)


@pytest.mark.parametrize(
    "said", ["squeue: error: slurm_load_jobs error: Connection reset by peer", "squeue: error: what is this?"]
)
def test_a_refusal_that_cannot_be_checked_is_no_answer(commands: Commands, said: str) -> None:
    answers = iter([Answer(0, "", ""), Answer(1, "", "sbatch: error: no such thing"), Answer(1, "", said)])
    commands.answer = lambda *_: next(answers)
    with pytest.raises(Unavailable, match="no such thing; then Slurm's squeue says: "):
        commands.target().submit(TASK)


def test_a_question_that_is_refused_says_nothing_of_a_task(commands: Commands) -> None:
    commands.answer = lambda *_: Answer(1, "", "squeue: error: what is this?")
    for ask in (
        lambda: commands.target().submit(TASK),
        lambda: commands.target().standings(["12"]),
        lambda: commands.target().read_log("12", 0, 1),
    ):
        with pytest.raises(Denied, match=r"squeue says: what is this\?"):
            ask()


def test_an_answer_that_is_no_number_is_no_answer(commands: Commands) -> None:
    commands.answer = lambda name, _: Answer(0, "Welcome to the cluster!\n" if name == "sbatch" else "", "")
    with pytest.raises(Unavailable):
        commands.target().submit(TASK)


def test_commands_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="there is no `squeue` on this machine"):
        Commands(tmp_path).target().submit(TASK)


def test_thousands_are_asked_after_in_few_questions(commands: Commands) -> None:
    def answer(name: str, words: Sequence[str]) -> Answer:
        if name == "sacct":
            return Answer(1, "", "Slurm accounting storage is disabled")
        jobs = next(word for word in words if word.startswith("--jobs=")).removeprefix("--jobs=").split(",")
        return Answer(0, "".join(f"{job}|RUNNING|None|0|n1|0|2026-01-01T00:00:00|\n" for job in jobs if job != "7"), "")

    commands.answer = answer
    target = commands.target()
    found = target.standings([str(number) for number in range(1, 2001)])
    assert [call[0] for call in commands.calls] == ["squeue"] * 4 + ["sacct"]
    assert (found["8"].state, found["7"].state) == ("running", "unknown")
    commands.calls.clear()
    target.standings(["7"])
    assert [call[0] for call in commands.calls] == ["squeue"], "accounting that is not there is not asked again"


def test_accounting_remembers_what_the_controller_has_forgotten(commands: Commands) -> None:
    def answer(name: str, _words: Sequence[str]) -> Answer:
        if name == "sacct":
            return Answer(0, "7|FAILED|3:0|n1\n8|CANCELLED by 1000|0:0|None assigned\n", "")
        return Answer(1, "", "slurm_load_jobs error: Invalid job id specified\n")

    commands.answer = answer
    found = commands.target().standings(["7", "8", "9"])
    assert (found["7"].cause, found["7"].exit_code, found["7"].node) == ("exited", 3, "n1")
    assert (found["8"].cause, found["8"].attempts) == ("canceled", 0)
    assert found["9"].state == "unknown"


def row(
    state: str, reason: str = "None", code: str = "0", node: str = "n1", restarts: str = "0", start: str = "2026-01-01T00:00:00"
) -> Standing:
    ((_, found),) = asked(f"1|{state}|{reason}|{code}|{node}|{restarts}|{start}|\n")
    return standing_of(found)


def test_states_of_jobs() -> None:
    assert row("PENDING", "Resources", node="", start="N/A") == Standing("waiting", reason=why_waiting("Resources"))
    assert row("PENDING", "Cleaning", node="", restarts="1") == Standing("waiting", reason="Cleaning", attempts=1)
    assert row("RUNNING") == Standing("running", node="n1", attempts=1)
    assert row("COMPLETING").state == "running"
    assert row("COMPLETED") == Standing("ended", reason="COMPLETED", cause="exited", exit_code=0, node="n1", attempts=1)
    assert row("FAILED", "NonZeroExitCode", "1792") == Standing(
        "ended", reason="FAILED", cause="exited", exit_code=7, node="n1", attempts=1
    )
    assert (row("FAILED", code="9").signal, row("FAILED", code="0:9").signal) == (9, 9)
    assert row("FAILED", "JobLaunchFailure", "53").cause == "not_started"
    causes = {"TIMEOUT": "timeout", "DEADLINE": "timeout", "OUT_OF_MEMORY": "out_of_memory", "NODE_FAIL": "node_lost", "BOOT_FAIL": "node_lost",
              "PREEMPTED": "preempted", "CANCELLED": "canceled"}  # fmt: skip
    for state, cause in causes.items():
        assert row(state).cause == cause
    assert row("CANCELLED", node="", start="N/A").attempts == 0


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("None", ""), ("Resources", "Resources (others use what it asks for)"), ("JobHeldAdmin", "JobHeldAdmin (held by an administrator)"),
        ("ReqNodeNotAvail, UnavailableNodes:n1,n2", "ReqNodeNotAvail, UnavailableNodes:n1,n2 (nodes that it needs are down, drained or reserved)"),
        ("QOSGrpCpuLimit", "QOSGrpCpuLimit (your qos has reached a limit)"), ("AssocGrpNodeLimit", "AssocGrpNodeLimit (your account has reached a limit)"),
        ("launch failed requeued held", "launch failed requeued held (held: it could not be launched)"), ("Cleaning", "Cleaning"),
    ],
)  # fmt: skip
def test_why_a_job_waits_is_said_in_words(reason: str, said: str) -> None:
    assert why_waiting(reason) == said


def test_what_is_no_row_is_no_job() -> None:
    assert list(asked("Welcome!\nslurm: notice|of|maintenance|a|b|c|d|\n\n17|RUNNING\n")) == []
    assert ended_of("nonsense\n1|2\n") == {}


def test_codes_in_all_their_forms() -> None:
    assert [wait_status(text) for text in ("7:0", "0:15", "1792", "9", "0", "x", "")] == [
        (7, None), (None, 15), (7, None), (None, 9), (0, None), (None, None), (None, None),
    ]  # fmt: skip


def test_a_directory_may_be_called_anything() -> None:
    assert directory_of("/a b|c StdOut=/etc/passwd|\n") == "/a b|c StdOut=/etc/passwd"
    assert directory_of("") is None
