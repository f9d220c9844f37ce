"""Starts the server: configuration, listening socket, workers, event loop; and ends it."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import resource
import signal
import socket
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from . import __version__
from .config import BadConfiguration, Config, settle
from .logs import Log

if TYPE_CHECKING:
    from .control import Control
    from .front import Front

EXIT_CONFIGURATION = 2
EXIT_FAILED = 3
_BACKLOG = 2048
_IDLE_GRACE_S = 2.0  # how long a drained server waits for connections that ask nothing


def main(arguments: list[str]) -> int:
    """Run the server, or one of its workers; return the exit status."""
    parser = argparse.ArgumentParser(prog="wardian_server", description="Serve a model over HTTP.")
    parser.add_argument("--config", metavar="FILE", help="the configuration; see the module wardian_server.config")
    parser.add_argument("--version", action="version", version=f"wardian-server {__version__}")
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--worker-log", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.worker is not None:
        from . import worker

        return worker.main(options.worker, options.worker_log)
    try:
        config = settle(options.config, os.environ)
    except BadConfiguration as error:
        _mark(_ready_place(options.config), {"error": f"the configuration is wrong: {error}"})
        Log(1, os.environ.get("WARDIAN_SERVE_LOG", "json")).write("critical", f"the configuration is wrong: {error}")
        return EXIT_CONFIGURATION
    log_fd = os.dup(1)
    log = Log(log_fd, config.log, config.log_level, buffered=True)
    try:
        listener, shared = listen(config.listen)
    except OSError as error:
        _mark(config.ready, {"error": f"cannot listen on {json.dumps(config.listen)}: {error}"})
        log.write("critical", f"cannot listen on {json.dumps(config.listen)}: {error}")
        log.flush()
        return EXIT_CONFIGURATION
    _raise_limit_of_files()
    try:
        return asyncio.run(_serve(config, log, log_fd, listener, shared=shared))
    finally:
        log.flush()


def listen(where: dict[str, Any]) -> tuple[socket.socket, bool]:
    """Return the listening socket that the configuration names, and whether it was inherited."""
    if "fd" in where:
        inherited = socket.socket(fileno=where["fd"])
        # others accept on it: if it blocked, even for a moment, one of them would wait there for good
        inherited.setblocking(False)
        return inherited, True
    if "unix" in where:
        from .control import _remove

        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        _remove(where["unix"])
        listener.bind(where["unix"])
    else:
        family = socket.AF_INET6 if ":" in where["host"] else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((where["host"], where["port"]))
    listener.listen(_BACKLOG)
    return listener, False


async def _serve(config: Config, log: Log, log_fd: int, listener: socket.socket, *, shared: bool) -> int:
    from .metrics import Metrics
    from .pool import Pool, WorkerFailed

    metrics = Metrics()
    pool = Pool(config, log, metrics, log_fd)
    starting = asyncio.ensure_future(pool.start())
    await asyncio.sleep(0)  # the workers' processes start while this one imports what it needs
    await asyncio.sleep(0)
    from .app import application
    from .front import Front
    from .serve import Server

    front = Front(config, log, metrics, pool, application(config, metrics, pool))
    server = Server(front, listener, shared=shared)
    control = _control(config, listener, front, pool, metrics)
    asyncio.get_running_loop().set_exception_handler(partial(_failed, log))
    looking = asyncio.ensure_future(_look(front, config))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, server.stop)
    try:
        if not shared:
            await server.open()
        stopped = asyncio.ensure_future(server.stopped.wait())
        await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            if shared:
                await server.open()
            port = listener.getsockname()[1] if listener.family != socket.AF_UNIX else 0
            _mark(config.ready, {"schema": 1, "pid": os.getpid(), "port": port, "workers": [w.pid for w in pool.workers]})
            log.write(
                "info",
                "ready",
                name=config.name,
                deployment=config.deployment or None,
                port=port,
                workers=len(pool.workers),
                version=__version__,
            )
            await stopped
        log.write("info", "draining")
        await server.drain(config.drain_s, _IDLE_GRACE_S)
        await pool.stop()
        log.write("info", "stopped", served=metrics.served, failed=metrics.failed)
        return 0
    except WorkerFailed as error:
        _mark(config.ready, {"error": str(error)})
        log.write("critical", f"not ready: {error}")
        await pool.stop()
        return EXIT_FAILED
    finally:
        looking.cancel()
        starting.cancel()
        with contextlib.suppress(asyncio.CancelledError, WorkerFailed):
            await starting
        if control is not None:
            control.close()


def _failed(log: Log, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what failed in a callback of the event loop."""
    del loop
    error, message = context.get("exception"), str(context.get("message"))
    if error is None:
        log.write("error", message)
    else:
        log.failure(f"{message}: {type(error).__name__}: {error}", error)


def _control(config: Config, listener: socket.socket, front: Front, pool: Any, metrics: Any) -> Control | None:
    if not config.control:
        return None
    from .control import Control

    def status() -> dict[str, Any]:
        return {
            "ready": pool.ready and not front.draining, "workers": [w.pid for w in list(pool.workers)], "in_flight": pool.in_flight,
            "waiting": pool.waiting_count, "served": metrics.served, "failed": metrics.failed, "draining": front.draining,
        }  # fmt: skip

    return Control(config.control, listener, status, front.accept_from_owner)


async def _look(front: Front, config: Config) -> None:
    """Look every now and then for what has taken too long: often enough for the shortest of the times."""
    shortest = min(config.timeout_s, config.startup_timeout_s, config.header_timeout_s, config.body_timeout_s)
    interval_s = min(0.5, max(0.01, shortest / 20))
    while True:
        await asyncio.sleep(interval_s)
        front.look(time.monotonic())


def _ready_place(path: str | None) -> str:
    """Return where the ready mark goes, out of a configuration that is wrong; nowhere if it does not say."""
    try:
        with open(path or os.environ["WARDIAN_SERVE_CONFIG"], encoding="utf-8") as file:
            return str(json.load(file).get("ready") or "")
    except (OSError, ValueError, AttributeError, KeyError):
        return ""


def _mark(path: str, values: dict[str, Any]) -> None:
    """Write the ready mark, all at once."""
    if not path:
        return
    beside = f"{path}.{os.getpid()}"
    with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(values, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)


def _raise_limit_of_files() -> None:
    """Allow as many open files, so connections, as the system lets this process have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
