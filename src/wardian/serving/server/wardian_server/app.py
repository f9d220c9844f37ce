"""The ASGI application for everything but health and scoring: documents, metrics, the Open Inference Protocol."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from . import __version__, frames, openapi, swagger
from .answers import error_body
from .pool import Busy
from .process import Job

if TYPE_CHECKING:
    from starlette.requests import Request

    from .config import Config
    from .metrics import Metrics
    from .pool import Pool

NOT_FOUND = (
    "The requested URL was not found on the server. If you entered the URL manually please check your spelling and try again."
)
_NOT_ALLOWED = "The method is not allowed for the requested URL."
_NOT_READY = "No worker is ready. Try again."


def application(config: Config, metrics: Metrics, pool: Pool) -> Starlette:
    """Return the application."""
    there = Served(config, metrics, pool)
    model = "/v2/models/{name}"
    routes = [
        Route("/metrics", there.metrics, methods=["GET"]),
        Route("/swagger.json", there.swagger, methods=["GET"]),
        Route("/openapi.json", there.openapi, methods=["GET"]),
        Route("/v2", there.server, methods=["GET"]),
        Route("/v2/health/live", there.live, methods=["GET"]),
        Route("/v2/health/ready", there.ready, methods=["GET"]),
    ]
    for place in (model, model + "/versions/{version}"):
        routes += [
            Route(place, there.model, methods=["GET"]),
            Route(place + "/ready", there.model_ready, methods=["GET"]),
            Route(place + "/infer", there.infer, methods=["POST"]),
        ]
    found = Starlette(routes=routes, exception_handlers={HTTPException: _told})
    found.router.redirect_slashes = False  # the place would be made of the request's own Host
    return found


class Served:
    """The endpoints of one server."""

    def __init__(self, config: Config, metrics: Metrics, pool: Pool):
        self._config = config
        self._metrics = metrics
        self._pool = pool

    async def metrics(self, request: Request) -> Response:
        """Prometheus's text format."""
        del request
        return PlainTextResponse(self._metrics.text(), media_type="text/plain; version=0.0.4")

    async def swagger(self, request: Request) -> Response:
        """The documents of azureml-inference-server-http."""
        if not self._pool.about:
            return _json(503, {"message": _NOT_READY})
        return _json(*swagger.select(self._pool.about["swagger"], request.query_params.get("version", "2")))

    async def openapi(self, request: Request) -> Response:
        """Our own document."""
        del request
        if not self._pool.about:
            return _json(503, {"message": _NOT_READY})
        return _json(200, openapi.document(self._config, self._pool.about))

    async def server(self, request: Request) -> Response:
        """What this server is."""
        del request
        about: dict[str, Any] = {"name": "wardian-server", "version": __version__, "extensions": ["binary_tensor_data"]}
        if self._config.deployment:
            about["deployment"] = self._config.deployment
        if self._config.identity:
            about["identity"] = self._config.identity
        return _json(200, about)

    async def live(self, request: Request) -> Response:
        """It is up."""
        del request
        return _json(200, {"live": True})

    async def ready(self, request: Request) -> Response:
        """Can it infer?"""
        del request
        return _json(200 if self._pool.ready else 503, {"ready": self._pool.ready})

    async def model(self, request: Request) -> Response:
        """The model's tensors."""
        self._check(request)
        if not self._pool.about:
            return _json(503, {"error": _NOT_READY})
        return _json(200, {"name": self._config.name, "versions": [self._config.version], **self._pool.about["v2"]})

    async def model_ready(self, request: Request) -> Response:
        """Can it infer?"""
        self._check(request)
        return _json(200 if self._pool.ready else 503, {"name": self._config.name, "ready": self._pool.ready})

    async def infer(self, request: Request) -> Response:
        """Score tensors."""
        self._check(request)
        size = request.headers.get("inference-header-content-length")
        if size is not None and not (size.isascii() and size.isdigit() and len(size) < 12):  # noqa: PLR2004 - digits of 100 GB
            return _json(400, {"error": "Inference-Header-Content-Length is not a number."})
        if "content-encoding" in request.headers:
            return _json(415, {"error": "A compressed body is not taken here."})
        said = {
            "id": request.headers.get("x-request-id", ""), "method": "POST", "target": request.url.path,
            "headers": [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.scope["headers"]],
            "header_bytes": None if size is None else int(size),
        }  # fmt: skip
        answered: asyncio.Future[frames.Frame] = asyncio.get_running_loop().create_future()
        try:
            self._pool.submit(Job(frames.INFER, json.dumps(said).encode(), await request.body(), answered.set_result))
        except Busy:
            return _json(503, {"error": "The server has more requests than it can take. Try again."}, {"retry-after": "1"})
        frame = await answered
        if frame.flags & frames.TIMED:
            self._metrics.run.add(frame.elapsed_ms)
        if frame.flags & frames.RUN_FAILED:
            self._metrics.run_failed += 1
        if frame.status != 200:  # noqa: PLR2004 - the protocol says `error` where the rest says `message`
            return _json(frame.status, {"error": json.loads(frame.body)["message"]})
        lines = [line.partition(": ") for line in frame.meta.decode("latin-1").split("\r\n")[:-1]]
        return Response(frame.body, 200, {name: value for name, _, value in lines})

    def _check(self, request: Request) -> None:
        """Is the model that the path names the one that is served?"""
        version = request.path_params.get("version")
        if request.path_params["name"] != self._config.name or version not in {None, self._config.version}:
            raise HTTPException(404, "There is no such model here.")


def _json(status: int, value: Any, headers: dict[str, str] | None = None) -> Response:
    named = {"x-ms-run-function-failed": "False", **(headers or {})}
    return Response(json.dumps(value), status, named, media_type="application/json")


async def _told(request: Request, error: Any) -> Response:
    request.scope["wardian.ids"] = b""  # as the peer: no route, no ids
    own = {404: "Not Found", 405: "Method Not Allowed"}
    message = error.detail
    if message == own.get(error.status_code):
        message = {404: NOT_FOUND, 405: _NOT_ALLOWED}[error.status_code]
    named = {"x-ms-run-function-failed": "False", **(error.headers or {})}
    body = json.dumps({"error": message}).encode() if request.url.path.startswith("/v2") else error_body(message)
    return Response(body, error.status_code, named, media_type="application/json")
