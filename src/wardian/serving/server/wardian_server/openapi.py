"""``/openapi.json``: what this server answers, with the schemas of the script's type hints or the model's signature."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .config import Config

_ERROR = {"type": "object", "properties": {"message": {"type": "string"}}, "required": ["message"]}
_ERRORS = {
    "400": "The request is malformed, or does not fit.",
    "401": "A valid API key is missing.",
    "408": "The request came too slowly.",
    "413": "The body is too large.",
    "415": "The body has another type than the script takes.",
    "431": "A header, or an id in one, is too long.",
    "500": "run() failed, took too long, or its result cannot be sent; the log says why.",
    "503": "Too many requests wait, or no worker is ready; see Retry-After.",
}


def document(config: Config, about: dict[str, Any]) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document. ``about``: what the workers said of the script."""
    given, returned = about.get("schemas") or ({}, {})
    secured: list[Any] = [{"Bearer": []}] if config.keys else []
    prefix = f"/{config.path_prefix.strip('/')}" if config.path_prefix else ""
    model = f"{prefix}/v2/models/{config.name}"
    tensors = {
        "type": "object",
        "properties": {"inputs": {"type": "array", "items": {"type": "object"}}},
        "required": ["inputs"],
    }
    paths: dict[str, Any] = {
        f"{prefix}/": _get("health", "Is the server up?", "Healthy", []),
        f"{prefix}/live": _get("live", "Is the server up?", "Live", []),
        f"{prefix}/ready": _get("ready", "Can it score?", "Ready", [], "503"),
        f"{prefix}/score": {"post": _post("score", "Score one request.", given, returned, secured)},
        f"{prefix}/metrics": _get("metrics", "Counters in Prometheus's text format.", "The counters", secured),
    }
    if about.get("input") != "raw":
        paths[model] = _get("metadata", "The model's tensors (Open Inference Protocol).", "The model", secured)
        paths[f"{model}/infer"] = {"post": _post("infer", "Score tensors (Open Inference Protocol).", tensors, {}, secured)}
    info: dict[str, Any] = {"title": config.name, "version": config.version}
    if config.identity:
        info["x-wardian"] = config.identity
    components: dict[str, Any] = {"schemas": {"Error": _ERROR}}
    if config.keys:
        components["securitySchemes"] = {"Bearer": {"type": "http", "scheme": "bearer"}}
    return {"openapi": "3.1.0", "info": info, "paths": paths, "components": components}


def _errors(*statuses: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {status: {"description": _ERRORS[status], "content": content} for status in statuses}


def _get(name: str, about: str, answer: str, secured: list[Any], *errors: str) -> dict[str, Any]:
    statuses = (*errors, *(("401",) if secured else ()))
    return {
        "get": {
            "operationId": name,
            "summary": about,
            "security": secured,
            "responses": {"200": {"description": answer}, **_errors(*statuses)},
        }
    }


def _post(name: str, about: str, given: Any, returned: Any, secured: list[Any]) -> dict[str, Any]:
    return {
        "operationId": name,
        "summary": about,
        "security": secured,
        "requestBody": {"required": True, "content": {"application/json": {"schema": given}}},
        "responses": {
            "200": {"description": "The result.", "content": {"application/json": {"schema": returned}}},
            **_errors(*[status for status in _ERRORS if secured or status != "401"]),
        },
    }
