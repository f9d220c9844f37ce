"""The ASGI application for everything but health and scoring: documents and metrics."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from . import swagger
from .answers import error_body

if TYPE_CHECKING:
    from starlette.requests import Request

    from .metrics import Metrics
    from .pool import Pool

_NOT_FOUND = (
    "The requested URL was not found on the server. If you entered the URL manually please check your spelling and try again."
)
_NOT_ALLOWED = "The method is not allowed for the requested URL."


def application(metrics: Metrics, pool: Pool) -> Starlette:
    """Return the application."""

    async def show_swagger(request: Request) -> Response:
        if not pool.about:
            return _json(503, {"message": "No worker is ready."})
        return _json(*swagger.select(pool.about["swagger"], request.query_params.get("version", "2")))

    async def show_metrics(request: Request) -> Response:
        del request
        return PlainTextResponse(metrics.text(), media_type="text/plain; version=0.0.4")

    return Starlette(
        routes=[Route("/metrics", show_metrics, methods=["GET"]), Route("/swagger.json", show_swagger, methods=["GET"])],
        exception_handlers={HTTPException: _told},
    )


def _json(status: int, value: Any) -> Response:
    return Response(json.dumps(value), status, {"x-ms-run-function-failed": "False"}, media_type="application/json")


async def _told(request: Request, error: Any) -> Response:
    request.scope["wardian.ids"] = b""  # as the peer: no route, no ids
    message = {404: _NOT_FOUND, 405: _NOT_ALLOWED}.get(error.status_code, error.detail)
    headers = {"x-ms-run-function-failed": "False", **(error.headers or {})}
    return Response(error_body(message), error.status_code, headers, media_type="application/json")
