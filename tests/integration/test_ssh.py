"""Machines over ssh, with a real sshd: who is let in, what a cut connection costs, what the other side needs, several machines."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.cutting_proxy import CuttingProxy
from tests.support.jobs import wait_until
from tests.support.nodes import RUN_ID, NodeRun, a_run, agent_here, host_lock
from tests.support.sshd import Sshd

from wardian.errors import Denied, DiskFull, InvalidInput, Unavailable, WardianError
from wardian.run.configuration import Resources
from wardian.run.node.sheet import NodeEnd, Secrets
from wardian.run.run_id import new_run_id
from wardian.run.targets.remote import ENDED, RUNNING, SILENT, Task
from wardian.run.targets.ssh import SshTarget
from wardian.run.targets.ssh_carrier import SshCarrier
from wardian.run.targets.ssh_connection import SshHosts
from wardian.tools import processes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wardian.run.targets.remote import Standing


@pytest.fixture
def server(sshd: Sshd) -> Sshd:
    return sshd


@pytest.fixture
def hosts(server: Sshd) -> Iterator[SshHosts]:
    with server.hosts() as found:
        yield found


def a_task(directory: Path, script: str, **changes: object) -> Task:
    directory.mkdir(parents=True, exist_ok=True)
    values: dict[str, object] = {
        "key": new_run_id(),
        "argv": ("/bin/sh", "-c", script),
        "directory": str(directory),
        "resources": Resources(),
    }
    return Task(**values | changes)  # type: ignore[arg-type]


def ended(target: SshTarget, handle: str) -> Standing:
    wait_until(lambda: target.standings([handle])[handle].state == ENDED, pause_s=0.05)
    return target.standings([handle])[handle]


# -- who is let in -----------------------------------------------------------------------------------------------------


def refused(server: Sshd, **options: str) -> WardianError:
    with server.hosts(**options) as hosts, pytest.raises(WardianError) as caught:
        hosts.ask(hosts.names[0], "echo in >&2; exit 0")
    assert caught.value.hint
    assert SshTarget(hosts).check()[0].ok is False
    return caught.value


def test_a_host_that_is_not_known_is_refused(server: Sshd, tmp_path: Path) -> None:
    (tmp_path / "known").touch()
    error = refused(server, known_hosts=str(tmp_path / "known"))
    assert (type(error), error.stable_code) == (Denied, "host_key_unknown")
    assert "ssh-keyscan" in str(error.hint)
    assert (tmp_path / "known").read_text() == "", "nobody is let in by accident"


def test_a_host_with_another_key_is_refused(server: Sshd, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other"], check=True)
    (tmp_path / "known").write_text(f"[127.0.0.1]:{server.port} {(tmp_path / 'other.pub').read_text()}")
    error = refused(server, known_hosts=str(tmp_path / "known"))
    assert (type(error), error.stable_code) == (Denied, "host_key_changed")


def test_who_has_another_key_is_not_let_in(server: Sshd, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other"], check=True)
    error = refused(server, identity=str(tmp_path / "other"))
    assert (type(error), error.stable_code) == (Denied, "ssh_denied")


def test_a_connection_that_is_kept_lets_nobody_in_who_is_known_otherwise(server: Sshd, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other"], check=True)
    (tmp_path / "known").write_text(f"[127.0.0.1]:{server.port} {(tmp_path / 'other.pub').read_text()}")
    with server.hosts() as hosts:
        assert hosts.ask("127.0.0.1", "echo in").out == b"in\n"
        for options in ({"known_hosts": str(tmp_path / "known")}, {"identity": str(tmp_path / "other")}):
            with pytest.raises(Denied):
                server.hosts_of(server.options(**options)).ask("127.0.0.1", "echo in")


def test_a_host_that_is_down_cannot_be_reached(tmp_path: Path) -> None:
    with Sshd(tmp_path / "down") as server:
        pass
    error = refused(server)
    assert (type(error), error.stable_code) == (Unavailable, "ssh_unavailable")
    assert "Connection refused" in error.message


def test_a_target_that_is_down_says_nothing_of_tasks(tmp_path: Path) -> None:
    with Sshd(tmp_path / "down") as server:
        pass
    target = SshTarget(server.hosts_of(server.options()))
    for ask in (
        lambda: target.submit(a_task(tmp_path / "t", "true")), lambda: target.standings(["127.0.0.1:/t"]),
        lambda: target.read_log("127.0.0.1:/t", 0, 1), lambda: target.cancel(["127.0.0.1:/t"]),
    ):  # fmt: skip
        with pytest.raises(Unavailable):
            ask()


# -- what the other side is like ------------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", ["dash", "zsh", "fish", "busybox"])
def test_any_shell_there_will_do_and_what_it_says_at_first_does_not_matter(tmp_path: Path, shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is missing: apt-get install {shell}")
    way = f"{shell} -c"
    if shell == "busybox":  # nothing but its applets
        (tmp_path / "applets").mkdir()
        subprocess.run(["busybox", "--install", "-s", tmp_path / "applets"], check=True)
        way = f"env PATH={tmp_path}/applets {tmp_path}/applets/sh -c"
    with (
        Sshd(tmp_path / "sshd", extra=f'ForceCommand echo welcome; {way} "$SSH_ORIGINAL_COMMAND"\n') as server,
        server.hosts() as hosts,
    ):  # fmt: skip
        (tmp_path / "tree/a b").mkdir(parents=True)
        (tmp_path / "tree/a b/ü$x").write_text("content")
        carrier, target = SshCarrier(hosts, str(tmp_path / "root")), SshTarget(hosts)
        carrier.send({f"runs/{RUN_ID}/snapshot": str(tmp_path / "tree")})
        assert carrier.read(f"runs/{RUN_ID}/snapshot/a b/ü$x", 3, 3) == b"ten"
        task = a_task(tmp_path / "root/runs" / RUN_ID, "echo said; exit 3")
        handle = target.submit(task)
        assert ended(target, handle).exit_code == 3
        assert target.read_log(handle, 0, 100) == b"said\n"
        assert carrier.fetch(f"runs/{RUN_ID}/snapshot", str(tmp_path / "home")) == []
        assert (tmp_path / "home/a b/ü$x").read_text() == "content"
        assert target.check()[0].ok


def test_a_full_disk_there_is_not_the_one_here(hosts: SshHosts) -> None:
    with pytest.raises(DiskFull) as full:
        hosts.ask("127.0.0.1", "echo 'tar: x: No space left on device' >&2; echo 'tar: Exiting' >&2; exit 2")
    assert full.value.message == "the disk of 127.0.0.1 is full: tar: x: No space left on device"
    assert "--option directory=" in str(full.value.hint)


def test_nothing_but_the_script_is_executed(hosts: SshHosts, tmp_path: Path) -> None:
    """A shell that has got only a part of its script does nothing."""
    script = f"touch {tmp_path}/made\n" + ":\n" * 50
    command = hosts._command("127.0.0.1", script)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as ssh:
        ssh.communicate(f"{{ echo x\n{script}".encode()[:-20])
    assert not (tmp_path / "made").exists()


def test_one_shell_answers_many_questions_whatever_the_last_one_did(hosts: SshHosts) -> None:
    shells = set()
    for script, given, said in (
        ("echo $$; cat", b"read", b"read"), ("echo $$; exit 0", b"not read" * 1000, b""), ("echo $$; cd /; exec 1>&- 2>&-", b"", b""),
        ("echo $$; printf 'a\\000b\\n--x--\\n'", b"", b"a\0b\n--x--\n"), ("echo $$; sleep 600 >/dev/null 2>&1 & echo $!", b"", None),
    ):  # fmt: skip
        out = hosts.ask("127.0.0.1", script, given).out
        shells.add(out.partition(b"\n")[0])
        assert said is None or out.partition(b"\n")[2] == said
    processes.kill(int(out.split()[1]), signal.SIGKILL)
    assert len(shells) == 1
    assert hosts.ask("127.0.0.1", "echo broken; if", ok=(0, 2)).code == 2
    assert hosts.ask("127.0.0.1", "echo on >&2; exit 7", ok=(7,)).err == "on"
    hosts._shells["127.0.0.1"]._process.kill()
    assert hosts.ask("127.0.0.1", "echo again").out == b"again\n"


# -- connections that are cut --------------------------------------------------------------------------------------


def through(server: Sshd, proxy: CuttingProxy, tmp_path: Path) -> SshHosts:
    port = int(proxy.host.rpartition(":")[2])
    server.note_host_key(port)
    (tmp_path / "sockets").mkdir(exist_ok=True)
    return SshHosts(server.options(port=str(port)), {**os.environ, "XDG_RUNTIME_DIR": server.sockets})


def test_what_has_arrived_when_a_connection_is_cut_stays(server: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wardian.run.targets.ssh_carrier._BATCH_BYTES", 1 << 20)
    files = {}
    for number in range(6):
        (tmp_path / f"archive{number}").write_bytes(os.urandom(1 << 20))
        files[f"packages/{number}/archive"] = str(tmp_path / f"archive{number}")
    with CuttingProxy(f"127.0.0.1:{server.port}", [int(3.5 * (1 << 20))]) as proxy:
        hosts = through(server, proxy, tmp_path)
        carrier = SshCarrier(hosts, str(tmp_path / "root"))
        with pytest.raises(Unavailable):
            carrier.send(files)
        arrived = carrier.have(list(files))
        assert 0 < len(arrived) < 6
        stamps = {path: (tmp_path / "root" / path).stat().st_ino for path in arrived}
        carrier.send(files)
        hosts.close()
    assert {path: (tmp_path / "root" / path).stat().st_ino for path in arrived} == stamps, "what was there is not sent again"
    assert all((tmp_path / "root" / path).read_bytes() == Path(here).read_bytes() for path, here in files.items())
    wait_until(lambda: [path.name for path in (tmp_path / "root").iterdir()] == ["packages"])


@pytest.mark.parametrize("after_bytes", [3000, 4500, 6000, 7500, 9000])
def test_a_submission_whose_connection_is_cut_is_made_once(server: Sshd, tmp_path: Path, after_bytes: int) -> None:
    task = a_task(tmp_path / "t", "echo x >> made")
    with CuttingProxy(f"127.0.0.1:{server.port}", [after_bytes]) as proxy:
        hosts = through(server, proxy, tmp_path)
        target = SshTarget(hosts)
        for _ in range(2):  # at one of them, before or behind the moment that counts
            with contextlib.suppress(Unavailable):
                target.submit(task)
        handle = target.submit(task)
        assert ended(target, handle).exit_code == 0
        hosts.close()
    assert (tmp_path / "t/made").read_text() == "x\n"


def test_many_submissions_of_one_task_at_once_start_it_once(server: Sshd, tmp_path: Path) -> None:
    task = a_task(tmp_path / "t", "echo x >> made; sleep 1")
    with server.hosts() as hosts:
        threads = [threading.Thread(target=SshTarget(hosts).submit, args=(task,)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert ended(SshTarget(hosts), f"127.0.0.1:{task.directory}").exit_code == 0
    assert (tmp_path / "t/made").read_text() == "x\n"


# -- a whole run -------------------------------------------------------------------------------------------------------


def handed_over(
    hosts: SshHosts, tmp_path: Path, factory: pytest.TempPathFactory, script: str, **changes: object
) -> tuple[SshTarget, SshCarrier, str]:
    """Bring a run there as its submitter does, and start it."""
    agent = agent_here(factory)
    carried = host_lock(tmp_path / "here", tmp_path / "scratch")
    run = a_run(tmp_path / "here", script, lock=carried.lock(), heartbeat_s=1.0, **changes)  # type: ignore[arg-type]
    target, carrier = SshTarget(hosts), SshCarrier(hosts, str(tmp_path / "there"))
    archives = {f"packages/{a.sha256}/{a.file}": str(carried.packages / a.sha256 / a.file) for a in carried.artifacts[1:]}
    carrier.send({agent.place: str(agent.path), **archives})
    here = run.directory
    carrier.send({f"runs/{RUN_ID}/{name}": str(here / name) for name in ("sheet.json", "lock.json", "snapshot")})
    if (here / "secrets.json").exists():
        carrier.send({f"runs/{RUN_ID}/secrets.json": str(here / "secrets.json")}, private=True)
    directory = f"{carrier.root}/runs/{RUN_ID}"
    handle = target.submit(
        Task(RUN_ID, (*agent.command(carrier.root), "exec", "--sheet", f"{directory}/sheet.json"), directory, Resources())
    )
    return target, carrier, handle


def test_a_run_goes_there_and_comes_home(hosts: SshHosts, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    script = "import hello_node, os; print(hello_node.__version__, os.environ['TOKEN']); open('outputs/model', 'w').write('42')"
    target, carrier, handle = handed_over(hosts, tmp_path, tmp_path_factory, script, secrets=Secrets({"TOKEN": "s3cret"}))
    assert ended(target, handle).exit_code == 0, (
        target.read_log(handle, 0, 1000),
        carrier.read(f"runs/{RUN_ID}/ended.json", 0, 10_000),
    )
    end = NodeEnd.from_json(carrier.read(f"runs/{RUN_ID}/ended.json", 0, 1 << 20) or b"")
    assert (end.cause, end.exit_code, end.node) == ("exited", 0, os.uname().nodename)
    assert carrier.read(f"runs/{RUN_ID}/log.txt", 0, 100) == b"1.0 s3cret\n"
    assert carrier.fetch(f"runs/{RUN_ID}/snapshot", str(tmp_path / "home")) == []
    assert (tmp_path / "home/outputs/model").read_text() == "42"
    assert carrier.have([f"runs/{RUN_ID}/secrets.json"]) == set()
    carrier.remove(f"runs/{RUN_ID}")
    assert not (tmp_path / "there/runs" / RUN_ID).exists()


def test_a_run_is_canceled_and_says_so(hosts: SshHosts, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    script = "import signal, sys, time\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(5))\nprint('ready', flush=True)\ntime.sleep(600)"
    target, carrier, handle = handed_over(hosts, tmp_path, tmp_path_factory, script)
    wait_until(lambda: b"ready" in (carrier.read(f"runs/{RUN_ID}/log.txt", 0, 100) or b""), pause_s=0.1)
    assert target.standings([handle])[handle].state == RUNNING
    target.cancel([handle])
    assert ended(target, handle).cause == "canceled"
    end = NodeEnd.from_json(carrier.read(f"runs/{RUN_ID}/ended.json", 0, 1 << 20) or b"")
    assert (end.cause, end.code, end.exit_code) == ("stopped", "canceled", 5)


def test_a_killed_agent_takes_its_job_along_and_the_engine_says_so(
    hosts: SshHosts, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    target, carrier, handle = handed_over(
        hosts, tmp_path, tmp_path_factory, "import time; print('ready', flush=True); time.sleep(600)"
    )
    wait_until(lambda: b"ready" in (carrier.read(f"runs/{RUN_ID}/log.txt", 0, 100) or b""), pause_s=0.1)
    run = NodeRun(tmp_path / "there")
    os.kill(run.status().process["pid"], signal.SIGKILL)  # type: ignore[index]
    assert ended(target, handle).signal == signal.SIGKILL
    assert carrier.read(f"runs/{RUN_ID}/ended.json", 0, 100) is None
    wait_until(lambda: not processes.with_variable("WARDIAN_OUTPUT_DIR", str(run.snapshot / "outputs")))


def test_a_task_whose_keeper_is_killed_too_is_lost_in_words(hosts: SshHosts, tmp_path: Path) -> None:
    target = SshTarget(hosts)
    handle = target.submit(a_task(tmp_path / "t", "sleep 600"))
    wait_until((tmp_path / "t/engine/job").exists)
    for name in ("pid", "job"):
        processes.kill(int((tmp_path / "t/engine" / name).read_text().split()[0]), signal.SIGKILL)
    end = ended(target, handle)
    assert (end.cause, end.reason) == ("node_lost", "what looked after it was killed")


def test_a_machine_that_was_restarted_has_lost_its_tasks(hosts: SshHosts, tmp_path: Path) -> None:
    target = SshTarget(hosts)
    handle = target.submit(a_task(tmp_path / "t", "sleep 600"))
    pid = (tmp_path / "t/engine/pid").read_text()
    wait_until((tmp_path / "t/engine/job").exists)
    (tmp_path / "t/engine/pid").write_text(re.sub(r"\S+$", "another-boot", pid.strip()))
    end = target.standings([handle])[handle]
    assert (end.state, end.cause, end.reason) == (ENDED, "node_lost", "127.0.0.1 was restarted")
    processes.kill(int((tmp_path / "t/engine/job").read_text().split()[0]), signal.SIGKILL)


def test_the_machine_itself_ends_what_takes_too_long(hosts: SshHosts, tmp_path: Path) -> None:
    target = SshTarget(hosts, slack_s=0)
    end = ended(target, target.submit(a_task(tmp_path / "t", "exec sleep 600", time_s=1.0)))
    assert (end.cause, end.signal) == ("timeout", signal.SIGTERM)


def test_an_end_that_could_not_be_written_down_is_told(hosts: SshHosts, tmp_path: Path) -> None:
    target = SshTarget(hosts)
    handle = target.submit(a_task(tmp_path / "t", "true"))
    ended(target, handle)
    (tmp_path / "t/engine/ended").write_text("")
    standing = target.standings([handle])[handle]
    assert (standing.cause, standing.exit_code) == ("exited", None)
    assert "is the disk full?" in standing.reason


def test_an_odd_handle_is_unknown_and_asks_nobody(hosts: SshHosts) -> None:
    odd = ["", "nothing", "127.0.0.1", "127.0.0.1:relative", "-oProxyCommand=touch /tmp/x:/t", "127.0.0.1:/t\n1 /etc"]
    assert {standing.state for standing in SshTarget(hosts).standings(odd).values()} == {"unknown"}
    SshTarget(hosts).cancel(odd)


# -- several machines ----------------------------------------------------------------------------------------------


@pytest.fixture
def three(server: Sshd, tmp_path: Path) -> Iterator[SshHosts]:
    """Three names for one machine, the last of which is down."""
    lines = "".join(f"Host {name}\n  HostName 127.0.0.1\n  HostKeyAlias [127.0.0.1]:{server.port}\n  Port {port}\n"
                    for name, port in (("a", server.port), ("b", server.port), ("c", 1)))  # fmt: skip
    (tmp_path / "config").write_text(lines)
    options = server.options(hosts="a,b,c", config=str(tmp_path / "config"))
    del options["port"]
    found = server.hosts_of(options)
    yield found
    found.close()


def test_tasks_are_spread_over_machines_and_one_that_is_down_gets_none(three: SshHosts, tmp_path: Path) -> None:
    target = SshTarget(three)
    tasks = [
        a_task(tmp_path / "runs" / f"r{number}", "echo x >> made; while [ ! -e ../go ]; do sleep 0.05; done")
        for number in range(2)
    ]
    handles = [target.submit(task) for task in tasks]
    assert {handle.partition(":")[0] for handle in handles} <= {"a", "b"}
    assert [target.submit(task) for task in tasks] == handles, "where it runs already"
    (tmp_path / "runs/go").touch()
    assert [ended(target, handle).exit_code for handle in handles] == [0, 0]
    assert [(tmp_path / "runs" / f"r{number}/made").read_text() for number in range(2)] == ["x\n", "x\n"]
    with pytest.raises(Unavailable, match="c"):
        target.submit(a_task(tmp_path / "runs/n", "true", resources=Resources(nodes=3)))


def test_files_go_to_the_machines_that_answer(three: SshHosts, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    shared, own, root = "packages/d/x", f"runs/{RUN_ID}/log.txt", tmp_path / "root"
    carrier = SshCarrier(three, str(root))
    assert carrier.have([shared, own]) == set()
    carrier.send({shared: str(tmp_path / "file")})
    carrier.send({own: str(tmp_path / "file")})
    assert carrier.have([shared, own]) == {shared, own}
    assert carrier.fetch(f"runs/{RUN_ID}", str(tmp_path / "home")) == []
    carrier.remove(f"runs/{RUN_ID}")
    assert not (root / "runs" / RUN_ID).exists()
    with pytest.raises(Unavailable, match="c cannot be reached"):
        carrier.remove(f"runs/{new_run_id()}")
    assert SshCarrier(three).root.endswith("/.wardian")


def test_a_machine_that_does_not_answer_hides_no_task_of_the_others(three: SshHosts, tmp_path: Path) -> None:
    target = SshTarget(three)
    handle, lost = target.submit(a_task(tmp_path / "t", "exit 3")), f"c:{tmp_path}/u"
    ended(target, handle)
    found = target.standings([handle, lost])
    assert (found[handle].exit_code, found[lost].state) == (3, SILENT)
    assert "cannot be reached" in found[lost].reason
    with pytest.raises(Unavailable):
        target.standings([lost])


def test_several_nodes_run_it_once_each(three: SshHosts, tmp_path: Path) -> None:
    target = SshTarget(three)
    script = "echo $WARDIAN_MASTER_ADDR $WARDIAN_WORLD_SIZE > rank-$WARDIAN_NODE_RANK; exit $WARDIAN_NODE_RANK"
    handle = target.submit(a_task(tmp_path / "t", script, resources=Resources(nodes=2)))
    assert sorted(handle.partition(":")[0].split(",")) == ["a", "b"]
    assert ended(target, handle).exit_code == 1, "it has failed when one has"
    assert [(tmp_path / "t" / f"rank-{rank}").read_text().split() for rank in (0, 1)] == [[os.uname().nodename, "2"]] * 2


def test_several_nodes_that_share_no_directory_are_refused(three: SshHosts, tmp_path: Path) -> None:
    task = a_task(tmp_path / "t", "true", resources=Resources(nodes=2))
    (tmp_path / "t").rmdir()
    with pytest.raises((InvalidInput, Unavailable)):
        SshTarget(three).submit(task)


def test_files_of_a_run_are_found_on_the_machine_that_has_them(server: Sshd, tmp_path: Path) -> None:
    (tmp_path / "config").write_text(
        "".join(
            f"Host {name}\n  HostName 127.0.0.1\n  HostKeyAlias [127.0.0.1]:{server.port}\n  Port {server.port}\n"
            for name in "ab"
        )
    )
    options = server.options(hosts="a,b", config=str(tmp_path / "config"))
    del options["port"]
    hosts = server.hosts_of(options)
    (tmp_path / "file").write_text("content")
    SshCarrier(hosts, str(tmp_path / "root")).send(
        {f"runs/{RUN_ID}/log.txt": str(tmp_path / "file"), "packages/d/x": str(tmp_path / "file")}
    )
    later = SshCarrier(hosts, str(tmp_path / "root"))
    assert later.read(f"runs/{RUN_ID}/log.txt", 0, 100) == b"content"
    assert later.read("runs/another/log.txt", 0, 100) is None
    assert later.have(["packages/d/x", "packages/e/x"]) == {"packages/d/x"}
    hosts.close()
