"""The ASGI application for everything but health and scoring: documents and metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

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
    del pool

    async def show_metrics(request: Request) -> Response:
        del request
        return PlainTextResponse(metrics.text(), media_type="text/plain; version=0.0.4")

    return Starlette(
        routes=[Route("/metrics", show_metrics, methods=["GET"])],
        exception_handlers={HTTPException: _told},
    )


async def _told(request: Request, error: Any) -> Response:
    del request
    message = {404: _NOT_FOUND, 405: _NOT_ALLOWED}.get(error.status_code, error.detail)
    headers = {"x-ms-run-function-failed": "False", **(error.headers or {})}
    return Response(error_body(message), error.status_code, headers, media_type="application/json")
