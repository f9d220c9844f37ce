"""A model process: loads the script, calls ``init()`` once and ``run()`` for each request that the front sends."""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import queue
import signal
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from . import aml, answers, frames, logs
from .config import Config
from .inputs import Refused, Request, TextInput, text_of
from .typed import TypedInput

if TYPE_CHECKING:
    from .inference import Inference
    from .script import Script

EXIT_FAILED = 3


def main(fd: int, log_fd: int) -> int:
    """Serve the front at the other end of the socket ``fd`` until it says stop or is gone; log lines go to ``log_fd``."""
    _die_with_the_front()
    faulthandler.enable()
    connection = socket.socket(fileno=fd)
    os.set_inheritable(fd, False)
    os.set_inheritable(log_fd, False)
    os.register_at_fork(after_in_child=connection.close)  # a process that a script forks must not answer in its parent's place
    reader = frames.Reader(connection)
    first = reader.read()
    if first is None:
        return 0
    config = Config.from_json(first.meta.decode())
    log = logs.Log(log_fd, config.log, config.log_level)
    output = logs.Output(config.max_output_bytes)
    output.begin(None)
    _redirect(log, output)
    try:
        worker = Worker(config, log, output, _load(config, log))
        about = worker.describe()
    except BaseException as error:  # sys.exit() in a script's init() too
        output.end(log)
        connection.sendall(frames.pack(frames.FAILED, meta=json.dumps({"error": _told(error)}).encode()))
        return EXIT_FAILED
    output.end(log)
    connection.sendall(frames.pack(frames.READY, meta=json.dumps(about).encode()))
    worker.serve(reader, connection)
    return 0


def _die_with_the_front() -> None:
    """Ask the kernel to end this process when the front ends, however it ends."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the front decides
    front = os.getppid()
    try:
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    except (ImportError, OSError, AttributeError):
        return
    if os.getppid() != front:
        os._exit(0)


def _redirect(log: logs.Log, output: logs.Output) -> None:
    """Turn what the script prints and logs into log lines."""
    sys.stdout = logs.Printed(log, "print", output, 1)
    sys.stderr = logs.Printed(log, "stderr", output, 2)
    root = logging.getLogger()
    root.addHandler(logs.Handler(log, output))
    root.setLevel(logging.INFO)


def _load(config: Config, log: logs.Log) -> Script:
    """Load the script and call its ``init()``; the traceback of a failure goes to the log."""
    from . import script

    if config.model:
        os.environ["WARDIAN_MODEL_DIR"] = os.environ["AZUREML_MODEL_DIR"] = os.path.abspath(config.model)
    os.environ.setdefault("AML_APP_ROOT", os.path.abspath(config.source))
    sys.argv = [config.entry]
    aml.install()
    try:
        loaded = script.load(config) if config.kind == "script" else script.load_model(config)
    except script.BadScript as error:
        log.write("error", str(error), worker=os.getpid())
        raise
    except BaseException as error:
        log.failure(f"loading {config.entry or config.model} failed: {_told(error)}", error, worker=os.getpid())
        raise
    try:
        loaded.init()
    except BaseException as error:
        log.failure(f"init() failed: {_told(error)}", error, worker=os.getpid())
        raise RuntimeError(f"init() raised {_told(error)}") from None
    return loaded


def _told(error: BaseException) -> str:
    text = str(error).strip()
    return (
        text
        if type(error).__name__ in {"BadScript", "RuntimeError"} and text
        else f"{type(error).__name__}: {text}".rstrip(": ")
    )


def _send(connection: socket.socket, reply: bytes) -> None:
    if connection.fileno() < 0:  # this is a process that run() has forked, and which came back from it
        os._exit(0)
    connection.sendall(reply)


class Worker:
    """Calls ``run()`` and makes replies."""

    def __init__(self, config: Config, log: logs.Log, output: logs.Output, loaded: Script):
        self._config = config
        self._log = log
        self._output = output
        self._script = loaded
        self._run = loaded.run
        self._served = 0
        self._converts = isinstance(loaded.input, TypedInput)
        self._text_parameter = (
            loaded.input.parameter if isinstance(loaded.input, TextInput) and not loaded.wants_headers else ""
        )

    def describe(self) -> dict[str, Any]:
        """What the front must know: does ``run()`` want nothing but the body?"""
        from . import script, swagger

        loaded = self._script
        inputs, outputs = loaded.model.signature() if loaded.model is not None else ([], [])
        return {
            "body_only": bool(self._text_parameter),
            "input": loaded.input.name,
            "swagger": swagger.documents(self._config, loaded),
            "schemas": script.schemas(loaded),
            "v2": {"platform": getattr(loaded.model, "platform", "python"), "inputs": inputs, "outputs": outputs},
        }

    def serve(self, reader: frames.Reader, connection: socket.socket) -> None:
        """Answer requests, one at a time or in as many threads as the configuration says."""
        if self._config.threads == 1:
            while True:
                frame = reader.read()
                if frame is None or frame.kind == frames.STOP:
                    return
                _send(connection, self.answer(frame))
        work: queue.SimpleQueue[frames.Frame | None] = queue.SimpleQueue()
        lock = threading.Lock()

        def answer_on() -> None:
            while True:
                frame = work.get()
                if frame is None:
                    return
                reply = self.answer(frame)
                with lock:
                    _send(connection, reply)

        threads = [threading.Thread(target=answer_on, name=f"run-{n}") for n in range(self._config.threads)]
        for thread in threads:
            thread.start()
        while True:
            frame = reader.read()
            if frame is None:
                os._exit(0)  # the front is gone: nobody waits for an answer
            if frame.kind == frames.STOP:
                break
            work.put(frame)
        for _ in threads:
            work.put(None)
        for thread in threads:
            thread.join()

    def answer(self, frame: frames.Frame) -> bytes:
        """Return the reply to one request, whatever the script does."""
        inference: Inference | None = None
        try:
            if frame.kind == frames.BODY:
                self._output.begin(frame.meta.decode("latin-1"))
                arguments: dict[str, Any] = {self._text_parameter: text_of(frame.body)}
            else:
                said = json.loads(frame.meta)
                self._output.begin(said["id"])
                request = Request(said["method"], said["target"], [(n, v) for n, v in said["headers"]], frame.body)
                if frame.kind == frames.INFER:
                    from . import inference as protocol

                    inference = protocol.parse(frame.body, said["header_bytes"])
                    arguments = protocol.arguments(self._script, inference)
                else:
                    arguments = dict(self._script.input(request))
                if self._script.wants_headers:
                    arguments["request_headers"] = request.named_headers()
        except Refused as refused:
            body = answers.error_body(refused.message) if refused.status >= 400 else b""  # noqa: PLR2004 - errors
            meta = b"" if body else b"content-type: text/html; charset=utf-8\r\n"
            return self._reply(frame.number, refused.status, 0, 0.0, meta, body)
        started = time.perf_counter()
        try:
            result = self._run(**arguments)
        except Refused as refused:
            return self._reply(frame.number, refused.status, 0, 0.0, b"", answers.error_body(refused.message))
        except BaseException as error:
            self._log.failure(f"run() raised {_told(error)}", error, request_id=self._output.request_id, worker=os.getpid())
            return self._reply(frame.number, 500, frames.RUN_FAILED, 0.0, b"", answers.error_body(answers.UNEXPECTED))
        elapsed_ms = (time.perf_counter() - started) * 1000
        try:
            if inference is not None:
                meta, body = protocol.answer(inference, result, self._config.name, self._config.version)
                status, flags = 200, frames.OWN_FAILED
            elif answers.is_response(result):
                status, flags, meta, body = answers.parts_of(result)
            else:
                status, flags, meta, body = 200, 0, b"", answers.body_of(answers.jsonable(result) if self._converts else result)
        except Refused as refused:
            return self._reply(frame.number, refused.status, 0, 0.0, b"", answers.error_body(refused.message))
        except Exception as error:
            what = str(error) if isinstance(error, answers.BadAnswer) else f"the answer of run() is unusable: {_told(error)}"
            self._log.write("error", what, request_id=self._output.request_id, worker=os.getpid())
            return self._reply(frame.number, 500, 0, 0.0, b"", answers.error_body(answers.INTERNAL))
        return self._reply(frame.number, status, flags | frames.TIMED, elapsed_ms, meta, body)

    def _reply(self, number: int, status: int, flags: int, elapsed_ms: float, meta: bytes, body: bytes) -> bytes:
        self._output.end(self._log)
        self._served += 1
        config = self._config
        used_up = 0 < config.max_requests <= self._served
        if used_up or (config.max_memory_bytes and resident_bytes() > config.max_memory_bytes):
            flags |= frames.RETIRE
        return frames.pack(frames.REPLY, number, meta, body, status=status, flags=flags, elapsed_ms=elapsed_ms)


def resident_bytes() -> int:
    """Return the memory that this process holds."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
