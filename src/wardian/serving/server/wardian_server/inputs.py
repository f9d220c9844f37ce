"""What of a request goes to ``run()``: the rules of azureml-inference-server-http 1.5."""

from __future__ import annotations

import inspect
import json
from typing import Any, Sequence
from urllib.parse import parse_qsl

from . import aml


class Refused(Exception):
    """The request does not fit ``run()``: ``status`` and ``message`` go to the client."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status
        self.message = message


class Request:
    """One request as the front hands it over; the headers are text in latin-1."""

    __slots__ = ("body", "headers", "method", "path", "query", "target")

    def __init__(self, method: str, target: str, headers: list[tuple[str, str]], body: bytes):
        self.method = method
        self.target = target
        self.path, _, self.query = target.partition("?")
        self.headers = headers
        self.body = body

    def as_raw(self) -> Any:
        """Return what a script with ``@rawhttp`` gets: Flask's request where the environment has Flask, else ours."""
        try:
            from flask import Request as FlaskRequest  # type: ignore[import-not-found, unused-ignore]
        except ImportError:
            return aml.AMLRequest(self.method, self.target, self.headers, self.body)
        return FlaskRequest(self._wsgi())

    def named_headers(self) -> dict[str, str]:
        """Return the headers as a script that asks for ``request_headers`` gets them."""
        return dict(aml.Headers(self.headers).items())

    @property
    def mimetype(self) -> str:
        """The content type without its parameters, in lower case."""
        found = [value for name, value in self.headers if name.lower() == "content-type"]
        return found[0].partition(";")[0].strip().lower() if found else ""

    def arguments(self) -> dict[str, Any]:
        """Return the query's parameters, each parsed as JSON where it is JSON; repeated ones are lists."""
        values: dict[str, list[Any]] = {}
        for name, text in parse_qsl(self.query, keep_blank_values=True):
            try:
                value = json.loads(text)
            except (ValueError, RecursionError):
                value = text
            values.setdefault(name, []).append(value)
        return {name: found[0] if len(found) == 1 else found for name, found in values.items()}

    def _wsgi(self) -> dict[str, Any]:
        import io
        import sys
        from urllib.parse import unquote_to_bytes

        named = aml.Headers(self.headers)
        host, _, port = named.get("host", "localhost").partition(":")
        environ: dict[str, Any] = {
            "REQUEST_METHOD": self.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote_to_bytes(self.path).decode("latin-1"),
            "QUERY_STRING": self.query,
            "RAW_URI": self.target,
            "REQUEST_URI": self.target,
            "SERVER_NAME": host,
            "SERVER_PORT": port or "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "CONTENT_LENGTH": str(len(self.body)),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(self.body),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": False,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
        }
        for name, value in named.items():
            key = name.upper().replace("-", "_")
            if key == "CONTENT_TYPE":
                environ[key] = value
            elif key != "CONTENT_LENGTH":
                environ["HTTP_" + key] = value
        return environ


class RawInput:
    """The request itself: ``run()`` has ``@rawhttp``."""

    name = "raw"

    def __init__(self, parameter: str):
        self._parameter = parameter

    def __call__(self, request: Request) -> dict[str, Any]:
        """Return the arguments of ``run()``."""
        return {self._parameter: request.as_raw()}


class TextInput:
    """The body as text: ``run()`` has no decorator."""

    name = "text"

    def __init__(self, parameter: str):
        self.parameter = parameter

    def __call__(self, request: Request) -> dict[str, Any]:
        """Return the arguments of ``run()``."""
        if request.method == "GET":
            return {self.parameter: json.dumps(request.arguments())}
        _only_post(request)
        return {self.parameter: text_of(request.body)}


class NamedInput:
    """The members of the body, a JSON object, by the names of the parameters: ``run()`` has ``@input_schema``."""

    name = "named"

    def __init__(self, parameters: Sequence[inspect.Parameter]):
        self._parameters = parameters

    def __call__(self, request: Request) -> dict[str, Any]:
        """Return the arguments of ``run()``."""
        if request.method == "GET":
            return self.pick(request.arguments())
        _only_post(request)
        if not is_json(request.mimetype):
            raise Refused(415, "Expects Content-Type to be application/json")
        value = json_of(request.body)
        if not isinstance(value, dict):
            raise Refused(400, "POST body should be a JSON dictionary.")
        return self.pick(value)

    def pick(self, values: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments out of ``values``."""
        arguments = {}
        for parameter in self._parameters:
            value = values.get(parameter.name, parameter.default)
            if value is inspect.Parameter.empty:
                raise Refused(400, f"A value is not provided for the {parameter.name!r} parameter.")
            arguments[parameter.name] = value
        return arguments


def text_of(body: bytes) -> str:
    """Return the body as text, or refuse the request."""
    try:
        return str(body, "utf-8")
    except UnicodeDecodeError as error:
        raise Refused(400, f"Input cannot be decoded as UTF-8: {error}") from None


def json_of(body: bytes) -> Any:
    """Return the body as JSON, or refuse the request."""
    if not body:
        raise Refused(400, "POST body is empty. Expecting a JSON dictionary.")
    try:
        return json.loads(body)
    except ValueError as error:
        raise Refused(400, f"POST body could not be decoded as JSON: {error}") from None
    except RecursionError:
        raise Refused(400, "POST body could not be decoded as JSON: it is nested too deeply") from None


def is_json(mimetype: str) -> bool:
    """Does the content type say JSON?"""
    return mimetype == "application/json" or (mimetype.startswith("application/") and mimetype.endswith("+json"))


def _only_post(request: Request) -> None:
    if request.method == "OPTIONS":
        raise Refused(200, "")
    if request.method != "POST":
        raise Refused(405, "Method not allowed")
