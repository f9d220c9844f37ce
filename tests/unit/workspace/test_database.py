"""Opening, migrating, writing: what holds when other processes, full disks and damaged files get in the way."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from wardian.errors import Bug, Conflict, Denied, DiskFull, NotFound, Unavailable, WardianError
from wardian.workspace.database import DamagedRecords, Database
from wardian.workspace.migrations import APPLICATION_ID, MIGRATIONS, newest_migration

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wardian.events import Event

TABLE = "CREATE TABLE things (id INTEGER PRIMARY KEY, text TEXT NOT NULL);\n"


@pytest.fixture
def migrations(tmp_path: Path) -> Path:
    """Migrations of a small schema of the test's own."""
    directory = tmp_path / "migrations"
    directory.mkdir()
    (directory / "0001_things.sql").write_text(f"-- things; with a comment\n{TABLE}")
    return directory


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "workspace.db"


@pytest.fixture
def database(path: Path, migrations: Path) -> Iterator[Database]:
    with_things = Database.open(path, migrations=migrations)
    yield with_things
    with_things.close()


def texts(database: Database) -> list[str]:
    return [row["text"] for row in database.rows("SELECT text FROM things ORDER BY id")]


def add(database: Database, text: str) -> None:
    with database.write():
        database.execute("INSERT INTO things (text) VALUES (?)", text)


def fail(database: Database, why: str) -> None:
    with database.write():
        database.execute("INSERT INTO things (text) VALUES ('lost')")
        raise RuntimeError(why)


# -- transactions --------------------------------------------------------------------------------------------------------


def test_what_is_written_is_there_for_others(database: Database, path: Path, migrations: Path) -> None:
    add(database, "one")
    other = Database.open(path, migrations=migrations)
    assert texts(other) == ["one"]
    add(other, "two")
    other.close()
    assert texts(database) == ["one", "two"]


def test_a_failed_write_leaves_nothing(database: Database) -> None:
    with pytest.raises(RuntimeError, match="stop"):
        fail(database, "stop")
    assert texts(database) == []
    add(database, "next")
    assert texts(database) == ["next"]


def test_nested_writes_are_one(database: Database, path: Path, migrations: Path) -> None:
    other = Database.open(path, migrations=migrations)
    with database.write():
        add(database, "inner")
        assert texts(other) == []
    assert texts(other) == ["inner"]
    other.close()


def test_a_failed_inner_write_takes_only_its_own_back(database: Database) -> None:
    with database.write():
        add(database, "kept")
        with pytest.raises(RuntimeError, match="inner"):
            fail(database, "inner")
        add(database, "after")
    assert texts(database) == ["kept", "after"]


def test_changes_outside_of_a_write_are_a_bug(database: Database) -> None:
    with pytest.raises(Bug):
        database.execute("INSERT INTO things (text) VALUES ('x')")


def test_threads_take_turns(database: Database) -> None:
    def add_fifty() -> None:
        for _ in range(50):
            add(database, "x")

    threads = [threading.Thread(target=add_fifty) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(texts(database)) == 200


def test_a_forked_child_gets_a_connection_of_its_own(database: Database) -> None:
    add(database, "parent")
    with database.write():  # the child must not believe that it holds the parent's transaction
        child = os.fork()
        if child == 0:
            try:
                ok = texts(database) == ["parent"]
                database.close()
                os._exit(0 if ok else 1)
            except BaseException:  # noqa: BLE001 - the child must not go on with the tests
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        database.execute("INSERT INTO things (text) VALUES ('still the parent')")
    assert texts(database) == ["parent", "still the parent"]


def test_waiting_for_a_writer_has_an_end(path: Path, migrations: Path) -> None:
    holder = Database.open(path, migrations=migrations)
    waiter = Database.open(path, migrations=migrations, timeout_s=0.05)
    with holder.write():
        assert texts(waiter) == []  # readers never wait in a WAL
        with pytest.raises(Unavailable, match="held by another process") as caught:
            add(waiter, "x")
    assert caught.value.stable_code == "records_busy"
    add(waiter, "now")
    assert texts(holder) == ["now"]
    waiter.close()
    holder.close()


def test_rows_know_their_columns_and_foreign_keys_hold(database: Database) -> None:
    assert database.row("SELECT 1 AS one, 'x' AS two")["two"] == "x"  # type: ignore[index]
    assert database.row("SELECT 1 WHERE 0") is None
    assert database.rows("PRAGMA foreign_keys")[0][0] == 1
    assert database.faults() == []


# -- opening -------------------------------------------------------------------------------------------------------------


def test_a_fresh_file_says_what_it_is(database: Database) -> None:
    assert database.journal == "wal"
    assert database.rows("PRAGMA application_id")[0][0] == APPLICATION_ID
    assert database.rows("PRAGMA user_version")[0][0] == 1


def test_the_real_schema_is_numbered_and_sound() -> None:
    database = Database.in_memory()
    assert database.rows("PRAGMA user_version")[0][0] == newest_migration() == len(list(MIGRATIONS.glob("*.sql")))
    assert database.faults() == []


def test_migrations_go_on_where_they_stopped(database: Database, path: Path, migrations: Path) -> None:
    add(database, "old")
    database.close()
    (migrations / "0002_more.sql").write_text(
        "ALTER TABLE things ADD COLUMN more TEXT NOT NULL DEFAULT 'none';\n"
        "CREATE TRIGGER noted AFTER INSERT ON things BEGIN\n  UPDATE things SET more = 'a;b' WHERE id = new.id;\nEND;\n"
    )
    migrated = Database.open(path, migrations=migrations)
    add(migrated, "new")
    assert [tuple(row) for row in migrated.rows("SELECT text, more FROM things ORDER BY id")] == [
        ("old", "none"),
        ("new", "a;b"),
    ]
    assert migrated.rows("PRAGMA user_version")[0][0] == 2
    migrated.close()


def test_a_failing_migration_changes_nothing(database: Database, path: Path, migrations: Path) -> None:
    add(database, "kept")
    database.close()
    (migrations / "0002_first.sql").write_text("ALTER TABLE things RENAME TO others;\n")
    (migrations / "0003_bad.sql").write_text("CREATE TABLE fine (id);\nINSERT INTO nowhere VALUES (1);\n")
    with pytest.raises(WardianError, match="nowhere"):
        Database.open(path, migrations=migrations)
    (migrations / "0002_first.sql").unlink()
    (migrations / "0003_bad.sql").unlink()
    again = Database.open(path, migrations=migrations)
    assert texts(again) == ["kept"]
    again.close()


@pytest.mark.parametrize(
    ("name", "text"),
    [("0003_gap.sql", "CREATE TABLE x (id);\n"), ("0002_half.sql", "CREATE TABLE x (id\n")],
    ids=["a gap in the numbers", "an unfinished statement"],
)
def test_broken_migrations_are_our_fault(path: Path, migrations: Path, name: str, text: str) -> None:
    (migrations / name).write_text(text)
    with pytest.raises(Bug):
        Database.open(path, migrations=migrations)


def test_a_newer_file_is_refused_as_it_is(database: Database, path: Path, migrations: Path) -> None:
    add(database, "from the future")
    database.connection.execute("PRAGMA user_version = 7")
    database.close()
    before = path.read_bytes()
    with pytest.raises(WardianError, match="schema 7, this Wardian knows 1") as caught:
        Database.open(path, migrations=migrations)
    assert caught.value.stable_code == "newer_workspace"
    assert path.read_bytes() == before


def test_another_programs_database_is_refused_as_it_is(path: Path, migrations: Path) -> None:
    with sqlite3.connect(path) as foreign:
        foreign.execute("CREATE TABLE theirs (id)")
    foreign.close()
    before = path.read_bytes()
    with pytest.raises(WardianError, match="another program") as caught:
        Database.open(path, migrations=migrations)
    assert caught.value.stable_code == "not_a_workspace"
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_named(path: Path) -> None:
    path.write_bytes(b"these are not records\n" * 100)
    with pytest.raises(DamagedRecords, match=r"workspace\.db are damaged"):
        Database.open(path)


def test_damage_within_is_named(database: Database, path: Path, migrations: Path) -> None:
    for number in range(200):
        add(database, str(number) * 50)
    database.close()
    content = bytearray(path.read_bytes())
    content[4096 : 4096 * 3] = os.urandom(4096 * 2)
    path.write_bytes(content)
    damaged = Database.open(path, migrations=migrations)
    with pytest.raises(DamagedRecords, match=r"workspace\.db are damaged"):
        texts(damaged)
    damaged.close()


def test_no_directory_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no directory"):
        Database.open(tmp_path / "nowhere" / "workspace.db")


def test_no_permission_is_denied(tmp_path: Path, migrations: Path) -> None:
    (tmp_path / "workspace.db").mkdir()  # root may open any file; but a directory nobody can
    with pytest.raises(Denied):
        Database.open(tmp_path / "workspace.db", migrations=migrations)


def test_opening_imports_nothing_slow() -> None:
    code = (
        "import sys; from wardian.workspace import database, environments, locks, parsed\n"
        "slow = {'yaml', 'requests', 'rattler', 'packaging', 'rich', 'tomlkit', 'pathspec', 'click', 'sqlalchemy', 'shutil',"
        " 'wardian.definition.environment', 'urllib.request'}\n"
        "print(sorted(slow & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


# -- the journal ---------------------------------------------------------------------------------------------------------


def mounts(tmp_path: Path, kind: str) -> Path:
    file = tmp_path / "mountinfo"
    file.write_text(f"21 1 8:1 / / rw - ext4 /dev/sda rw\n36 21 0:40 / {tmp_path} rw shared:1 - {kind} server:/x rw\n")
    return file


def test_a_rollback_journal_works_like_a_wal(path: Path, migrations: Path) -> None:
    database = Database.open(path, migrations=migrations, journal="delete")
    add(database, "x")
    assert (database.journal, texts(database)) == ("delete", ["x"])
    assert not path.with_name("workspace.db-wal").exists()
    assert not path.with_name("workspace.db-shm").exists()
    database.close()


def test_on_a_network_file_system_one_warning_and_no_wal(path: Path, tmp_path: Path, migrations: Path) -> None:
    mountinfo = mounts(tmp_path, "nfs4")
    heard: list[Event] = []
    for _ in range(3):
        database = Database.open(path, migrations=migrations, mountinfo=mountinfo, listener=heard.append)
        assert database.journal == "delete"
        database.close()
    assert [(event.kind, event.data["file_system"]) for event in heard] == [("warning", "nfs4")]
    assert "rollback journal" in heard[0].text


def test_a_wal_that_came_to_the_network_is_left(path: Path, tmp_path: Path, migrations: Path) -> None:
    local = Database.open(path, migrations=migrations)
    add(local, "local")
    local.close()
    mountinfo = mounts(tmp_path, "lustre")
    heard: list[Event] = []
    remote = Database.open(path, migrations=migrations, mountinfo=mountinfo, listener=heard.append)
    other = Database.open(
        path, migrations=migrations, mountinfo=mountinfo, listener=heard.append
    )  # the change of journal left no lock behind
    add(other, "remote")
    assert (remote.journal, other.journal, texts(remote), len(heard)) == ("delete", "delete", ["local", "remote"], 1)
    remote.close()
    other.close()


def test_a_rollback_journal_stays_when_seen_from_a_local_disk(path: Path, migrations: Path) -> None:
    Database.open(path, migrations=migrations, journal="delete").close()
    database = Database.open(path, migrations=migrations)
    assert (database.journal, database.rows("PRAGMA synchronous")[0][0]) == ("delete", 2)
    database.close()
    changed = Database.open(path, migrations=migrations, journal="wal")
    assert changed.journal == "wal"
    changed.close()


# -- other processes -----------------------------------------------------------------------------------------------------

OPENERS = """
import sys; from pathlib import Path
from wardian.workspace.database import Database
sys.stdin.readline()
database = Database.open(Path(sys.argv[1]), journal=sys.argv[2] or None)
print(database.rows("PRAGMA user_version")[0][0], database.rows("SELECT count(*) FROM environments")[0][0])
"""


@pytest.mark.parametrize("journal", ["", "delete"])
def test_many_processes_open_a_fresh_file_at_once(path: Path, journal: str) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", OPENERS, str(path), journal],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(20)
    ]  # fmt: skip
    answers = start_together(processes)
    assert {answer for answer, _ in answers} == {f"{newest_migration()} 0\n"}, answers
    assert [error for _, error in answers if error] == []


def start_together(processes: list[subprocess.Popen[str]]) -> list[tuple[str, str]]:
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return [process.communicate(timeout=120) for process in processes]


# A write is killed at its most delicate: pages are in the journal already, the commit is not. The killer waits for the line.
VICTIM = """
import sys, time; from pathlib import Path
from wardian.workspace.database import Database
database = Database.open(Path(sys.argv[1]), journal=sys.argv[2], migrations=Path(sys.argv[3]))
database.connection.execute("PRAGMA cache_size = 5")  # spills pages to the disk within the transaction
with database.write():
    for number in range(2000):
        database.execute("INSERT INTO things (text) VALUES (?)", "x" * 500)
    print("within", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_kill_9_within_a_write_leaves_what_was_there(path: Path, migrations: Path, journal: str) -> None:
    before = Database.open(path, migrations=migrations, journal=journal)
    add(before, "before")
    before.close()
    victim = subprocess.Popen(
        [sys.executable, "-c", VICTIM, str(path), journal, str(migrations)], stdout=subprocess.PIPE, text=True
    )
    assert victim.stdout is not None
    assert victim.stdout.readline() == "within\n"
    size_bytes = sum(file.stat().st_size for file in path.parent.glob("workspace.db*"))
    assert size_bytes > 500_000  # the write has reached the disk
    victim.kill()
    victim.wait()
    victim.stdout.close()
    after = Database.open(path, migrations=migrations, journal=journal)
    assert (texts(after), after.faults()) == (["before"], [])
    add(after, "after")
    assert texts(after) == ["before", "after"]
    after.close()


OPENER = """
import sys; from pathlib import Path
from wardian.workspace.database import Database
Database.open(Path(sys.argv[1]), migrations=Path(sys.argv[2]))
"""


def test_kill_9_within_the_first_migration_leaves_a_file_that_can_be_made(path: Path, migrations: Path) -> None:
    pipe = migrations / "0002_more.sql"
    os.mkfifo(pipe)  # the victim waits here, its transaction open, the first migration applied in it
    victim = subprocess.Popen([sys.executable, "-c", OPENER, str(path), str(migrations)])
    with pipe.open("wb"):  # waits until the victim reads
        victim.kill()
        victim.wait()
    pipe.unlink()
    database = Database.open(path, migrations=migrations)
    assert (texts(database), database.faults()) == ([], [])
    database.close()


def write_until_full(path: Path) -> None:
    with path.open("wb", buffering=0) as stream:
        while True:
            stream.write(b"x" * 4096)


@pytest.mark.root
@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_a_full_disk_is_named_and_harms_nothing(tmp_path: Path, migrations: Path, journal: str) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(small)], check=True)
    try:
        database = Database.open(small / "workspace.db", migrations=migrations, journal=journal)
        add(database, "before")

        def fill() -> None:
            while True:
                add(database, "x" * 20_000)

        with pytest.raises(DiskFull, match=str(small)) as caught:
            fill()
        assert caught.value.details["free_bytes"] < 400_000
        assert texts(database)[0] == "before"
        assert database.faults() == []
        database.close()

        with pytest.raises(OSError, match="No space"):
            write_until_full(small / "ballast")
        with pytest.raises(DiskFull):
            Database.open(small / "other.db", journal=journal)
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_conflicts_of_our_own_pass_through_a_write(database: Database) -> None:
    with pytest.raises(Conflict), database.write():
        raise Conflict("ours")
