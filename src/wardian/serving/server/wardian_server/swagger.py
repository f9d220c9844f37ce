"""``/swagger.json``: the documents that azureml-inference-server-http has for a script, in versions 2, 3 and 3.1."""

from __future__ import annotations

import copy
import json
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .config import Config
    from .script import Script

VERSIONS = ("2", "3", "3.1")
ALIASES = {"2": "2", "2.0": "2", "3": "3", "3.0": "3", "3.1": "3.1"}
_FILES = {"2": ("swagger.json", "swagger2.json"), "3": ("swagger3.json",), "3.1": ("swagger3.1.json",)}
_ANY = {"type": "object", "example": {}}
_ERROR = {"type": "object", "properties": {"message": {"type": "string"}}}
_KEY = {"type": "apiKey", "name": "Authorization", "in": "header", "description": "For example: Bearer abc123"}
_FAILED = "The service failed to execute due to an error."


def documents(config: Config, script: Script) -> dict[str, Any]:
    """Return the documents by version; a file beside the script (``swagger.json``, ``swagger3.json`` …) wins.

    A version is missing if the script's decorators cannot be said in it.
    """
    found: dict[str, Any] = {}
    for version in VERSIONS:
        own = _own(config.source, _FILES[version])
        if own is not None:
            found[version] = own
            continue
        schemas = _schemas(script, version)
        if schemas is not None:
            found[version] = _swagger2(config, *schemas) if version == "2" else _openapi(config, version, *schemas)
    return found


def select(found: dict[str, Any], version: str) -> tuple[int, Any]:
    """Return the status and the document for the version that a client asks for."""
    supported = ", ".join(name for name in VERSIONS if name in found)
    if version not in ALIASES:
        return 404, {"message": f"Swagger version [{version}] is not valid. Supported versions: [{supported}]."}
    if ALIASES[version] not in found:
        why = f"Swagger version [{version}] is not supported for the scoring script."
        return 404, {"message": f"{why} Supported swagger versions: [{supported}]."}
    return 200, found[ALIASES[version]]


def _own(directory: str, names: tuple[str, ...]) -> Any:
    for name in names:
        try:
            with open(os.path.join(directory, name), encoding="utf-8") as file:
                return json.load(file)
        except FileNotFoundError:
            continue
    return None


def _schemas(script: Script, version: str) -> tuple[Any, Any] | None:
    """Return the schemas of input and output, or None if the decorators do not know this version."""
    schema_util = sys.modules.get("inference_schema.schema_util")
    if schema_util is None or not script.has_schema:
        return _ANY, _ANY
    if not any(ALIASES.get(name) == version for name in schema_util.get_supported_versions(script.run)):
        return None
    return schema_util.get_input_schema(script.run), schema_util.get_output_schema(script.run)


def _prefix(config: Config) -> str:
    return f"/{config.path_prefix.strip('/')}" if config.path_prefix else ""


def _info(config: Config) -> dict[str, Any]:
    about = f"API specification for the Azure Machine Learning service {config.name}"
    identity = {"x-wardian": config.identity} if config.identity else {}
    return {"title": config.name, "description": about, "version": config.version, **identity}


_HEALTHY = "If service is up and running, this response will be returned with the content 'Healthy'"
_SCORED = "The service processed the input correctly and provided a result prediction, if applicable."
_INPUT = "The input payload for executing the real-time machine learning service."


def _swagger2(config: Config, given: Any, returned: Any) -> dict[str, Any]:
    def answers(about: str, schema: Any, **more: Any) -> dict[str, Any]:
        failed = {"description": _FAILED, "schema": {"$ref": "#/definitions/ErrorResponse"}}
        return {"200": {"description": about, "schema": schema, **more}, "default": failed}

    prefix = _prefix(config)
    version = {"name": "version", "in": "query", "required": False, "type": "integer", "enum": [2, 3]}
    payload = {
        "name": "serviceInputPayload",
        "in": "body",
        "description": _INPUT,
        "schema": {"$ref": "#/definitions/ServiceInput"},
    }
    paths = {
        f"{prefix}/": {"get": {
            "operationId": "ServiceHealthCheck",
            "description": "Simple health check endpoint to ensure the service is up at any given point.",
            "responses": answers(_HEALTHY, {"type": "string"}, examples={"application/json": "Healthy"}),
        }},
        f"{prefix}/score": {"post": {
            "operationId": "RunMLService", "description": "Run web service's model and get the prediction output",
            "security": [{"Bearer": []}], "parameters": [payload],
            "responses": answers(_SCORED, {"$ref": "#/definitions/ServiceOutput"}),
        }},
        f"{prefix}/swagger.json": {"get": {
            "operationId": "GetSwaggerSpec", "description": "Get the Swagger specification.", "parameters": [version],
            "responses": answers("The Swagger specification.", {"type": "string"}),
        }},
    }  # fmt: skip
    return {
        "swagger": "2.0",
        "info": _info(config),
        "schemes": ["https"],
        "consumes": ["application/json"],
        "produces": ["application/json"],
        "securityDefinitions": {"Bearer": _KEY},
        "paths": paths,
        "definitions": {
            "ServiceInput": copy.deepcopy(given),
            "ServiceOutput": copy.deepcopy(returned),
            "ErrorResponse": _ERROR,
        },
    }


def _openapi(config: Config, version: str, given: Any, returned: Any) -> dict[str, Any]:
    def answers(about: str, kind: str, schema: Any) -> dict[str, Any]:
        failed = {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorResponse"}}}
        return {
            "200": {"description": about, "content": {kind: {"schema": schema}}},
            "default": {"description": _FAILED, "content": failed},
        }

    prefix = _prefix(config)
    payload = {"application/json": {"schema": {"$ref": "#/components/schemas/ServiceInput"}}}
    wanted = {"name": "version", "in": "query", "required": False, "schema": {"type": "integer", "enum": [2, 3]}}
    paths = {
        f"{prefix}/": {"get": {
            "operationId": "ServiceHealthCheck",
            "description": "Simple health check endpoint to ensure the service is up at any given point.",
            "responses": answers(_HEALTHY, "text/plain", {"type": "string", "example": "Healthy"}),
        }},
        f"{prefix}/score": {"post": {
            "operationId": "RunMLService", "description": "Run web service's model and get the prediction output",
            "security": [{"Bearer": []}], "requestBody": {"description": _INPUT, "content": payload},
            "responses": answers(_SCORED, "application/json", {"$ref": "#/components/schemas/ServiceOutput"}),
        }},
        f"{prefix}/swagger.json": {"get": {
            "operationId": "GetSwaggerSpec", "description": "Get the Swagger specification.", "parameters": [wanted],
            "responses": answers("The Swagger specification.", "text/plain", {"type": "string"}),
        }},
    }  # fmt: skip
    schemas = {"ServiceInput": copy.deepcopy(given), "ServiceOutput": copy.deepcopy(returned), "ErrorResponse": _ERROR}
    return {
        "openapi": "3.1.0" if version == "3.1" else "3.0.3",
        "info": _info(config),
        "security": [{"Bearer": []}],
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": {"Bearer": _KEY}},
    }
