"""Starts spark-submit beside a job, and the job when Spark is there: both on the environment's Python, standard library alone.

spark-submit would start the job below its JVM: one stream for two, nothing to read, signals as numbers, and a JVM that dies of ^C before
the script can say goodbye to it. So what it starts is a stand-in (``stand_in``), which hands over the variables that lead to the JVM and
waits; the job's program is started here (``launch``), in a session of its own, with the streams it would have without Spark, and is sent what
this process is sent. When it has ended, the stand-in ends as it did, and the JVM after it in its own time.

Nothing newer than Python 3.7: it runs on whatever Python the environment has.
"""

import contextlib
import errno
import json
import os
import resource
import signal
import subprocess
import sys
import time

FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCONT)
ENVIRONMENT, OVER, STATUS = "environment.json", "over", "status.json"
LOOK_S = 0.02
GOODBYE_S = 1.0  # for the JVM, when the job was told to stop


def write_down(path: str, news: object) -> None:
    """Write ``news`` to the file ``path``, all of it or nothing; nobody else can read it."""
    with os.fdopen(os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
        json.dump(news, stream)
    os.replace(path + ".new", path)  # noqa: PTH105


def stand_in(place: str) -> int:
    """Hand over the variables, wait for the end of the job, and return its exit code; 1: whoever started it is gone."""
    write_down(os.path.join(place, ENVIRONMENT), dict(os.environ))  # noqa: PTH118
    with open(os.path.join(place, OVER), "rb") as over:  # noqa: PTH118, PTH123
        code = over.read()
    return int(code or b"1")


class Launch:
    """One launch: the signals that came, and the job's process once there is one."""

    def __init__(self, place: str, submit: "list[str]", argv: "list[str]") -> None:
        self.place, self.submit, self.argv = place, submit, argv
        self.asked = 0
        self.job = 0

    def run(self) -> None:
        """Run the job to its end, and end as it did."""
        over = os.open(self.path(OVER), os.O_RDWR)
        for each in FORWARDED:
            signal.signal(each, self.forward)
        spark = subprocess.Popen(self.submit, stdin=subprocess.DEVNULL, start_new_session=True)
        while not os.path.exists(self.path(ENVIRONMENT)):  # noqa: PTH110
            code = spark.poll()
            if code is not None:
                write_down(self.path(STATUS), {"event": "submit_failed", "code": code})
                end_as(self.asked, 1)
            if self.asked:
                self.leave(spark)
                end_as(self.asked, 1)
            time.sleep(LOOK_S)
        with open(self.path(ENVIRONMENT)) as stream:  # noqa: PTH123
            variables = json.load(stream)
        self.job = os.fork()
        if self.job == 0:
            self.become_job(variables)
        if self.asked:
            self.forward(self.asked)
        _, status = os.waitpid(self.job, 0)
        self.job = 0
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        code = 128 + number if number else os.WEXITSTATUS(status)
        os.write(over, str(code).encode())
        os.close(over)
        while spark.poll() is None:
            if self.asked:
                self.leave(spark)
                break
            time.sleep(LOOK_S)
        end_as(number, code)

    def path(self, name: str) -> str:
        """Return where the file ``name`` is."""
        return os.path.join(self.place, name)  # noqa: PTH118

    def forward(self, number: int, _frame: object = None) -> None:
        """Send the job what was sent here."""
        if number != signal.SIGCONT:
            self.asked = self.asked or number
        if self.job:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                try:
                    os.killpg(self.job, number)
                except ProcessLookupError:  # it has no session of its own yet
                    os.kill(self.job, number)

    def become_job(self, variables: "dict[str, str]") -> None:
        """Be the job's program."""
        for number in FORWARDED:
            signal.signal(number, signal.SIG_DFL)
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them
            signal.signal(number, signal.SIG_DFL)
        os.setsid()
        if self.asked:  # it came while this process still had the launcher's handlers
            os.kill(os.getpid(), self.asked)
        try:
            os.execvpe(self.argv[0], self.argv, variables)  # noqa: S606
        except OSError as error:
            missing = error.errno in (errno.ENOENT, errno.ENOTDIR)
            detail = f"`{self.argv[0]}`: {error.strerror}"
            write_down(self.path(STATUS), {"event": "not_found" if missing else "not_executable", "detail": detail})
            os._exit(127 if missing else 126)

    @staticmethod
    def leave(spark: "subprocess.Popen[bytes]") -> None:
        """Ask the JVM to end, and wait a moment: whoever watches over this process ends what is left of it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(spark.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            spark.wait(GOODBYE_S)


def end_as(number: int, code: int) -> None:
    """End by the signal ``number``, or with ``code`` if that is 0."""
    if number:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.signal(number, signal.SIG_DFL) if number != signal.SIGKILL else None
        os.kill(os.getpid(), number)
    os._exit(code)


if __name__ == "__main__":
    if len(sys.argv) == 2:  # noqa: PLR2004 - a place alone: as spark-submit starts it
        sys.exit(stand_in(sys.argv[1]))
    with open(os.path.join(sys.argv[1], "order.json")) as file:  # noqa: PTH118, PTH123
        order = json.load(file)
    Launch(sys.argv[1], order["submit"], order["argv"]).run()
