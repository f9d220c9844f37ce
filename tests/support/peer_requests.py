"""One set of requests for two servers: azureml-inference-server-http and ours. What the first answers is a golden file."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.support.scoring import Answer, Client

SCRIPTS = Path(__file__).parent.parent / "data" / "scoring"
PEER = "azureml-inference-server-http==1.5.1"
# the headers that its documentation describes, and those of CORS
DOCUMENTED = (
    "content-type", "x-ms-run-function-failed", "x-ms-run-fn-exec-ms", "x-ms-server-version", "x-request-id", "x-ms-request-id",
    "x-ms-client-request-id", "traceid", "access-control-allow-origin", "access-control-allow-methods",
    "access-control-allow-headers", "vary", "x-custom",
)  # fmt: skip
# what each script's server has in its variables
VARIABLES: Mapping[str, Mapping[str, str]] = {
    "text": {"SERVICE_NAME": "a service", "SERVICE_PATH_PREFIX": "/api/v1/"},
    "slow": {"SCORING_TIMEOUT_MS": "300"},
    "cors": {"AML_CORS_ORIGINS": "https://a.example, https://b.example"},
    "cors_all": {"AML_CORS_ORIGINS": "*"},
}
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_FORM = (
    b'--sep\r\nContent-Disposition: form-data; name="field"\r\n\r\nvalue\r\n--sep\r\n'
    b'Content-Disposition: form-data; name="image"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n\x89PNG\r\n\x00\xff\r\n--sep--\r\n'
)


@dataclass(frozen=True)
class Request:
    """One request to the server of ``script``."""

    name: str
    script: str
    method: str = "POST"
    target: str = "/score"
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


def _text(name: str, body: bytes | str, **headers: str) -> Request:
    content = body.encode() if isinstance(body, str) else body
    named = {key.replace("_", "-"): value for key, value in {"content_type": "application/json", **headers}.items() if value}
    return Request(name, "text", body=content, headers=named)


def _raw(name: str, target: str, body: bytes = b"", method: str = "POST", **headers: str) -> Request:
    return Request(name, "raw", method, target, body, {key.replace("_", "-"): value for key, value in headers.items()})


def _schema(name: str, body: bytes, kind: str = "application/json", method: str = "POST", target: str = "/score") -> Request:
    return Request(name, "schema", method, target, body, {"content-type": kind} if kind else {})


def _cors(name: str, method: str, origin: str, script: str = "cors", **headers: str) -> Request:
    named = {"origin": origin, **{key.replace("_", "-"): value for key, value in headers.items()}}
    return Request(name, script, method, body=b"1" if method == "POST" else b"", headers=named)


REQUESTS = (
    _text("json", '{"x": 3}'),
    _text("json in chunks", b'8\r\n{"x": 3}\r\n0\r\n\r\n', transfer_encoding="chunked"),
    _text("json of another alphabet", '{"x": "Žluťoučký 🌱"}'),
    _text("json of another type", "[1.5, null, true]", content_type="text/plain"),
    _text("json without a type", "7", content_type=""),
    _text("json of a megabyte", '{"do": "size", "x": "' + "y" * 1_000_000 + '"}'),
    _text("malformed json", '{"x": '),
    _text("no body", ""),
    _text("body that is not UTF-8", b'"\xff\xfe"'),
    _text("run raises", '{"do": "raise"}'),
    _text("run returns nothing", '{"do": "nothing"}'),
    _text("run returns what JSON cannot say", '{"do": "object"}'),
    _text("run returns text", '{"do": "text"}'),
    _text("request id", "1", x_request_id="mine"),
    _text("request id of 100 characters", "1", x_request_id="x" * 100),
    _text("request id of 101 characters", "1", x_request_id="x" * 101),
    _text("client request id", "1", x_ms_client_request_id="client"),
    _text("client request id of 101 characters", "1", x_request_id="mine", x_ms_client_request_id="x" * 101),
    _text("old client request id", "1", x_ms_request_id="old"),
    _text("old and new client request id", "1", x_ms_request_id="old", x_ms_client_request_id="new", x_request_id="mine"),
    _text("trace id", "1", TraceId="trace 1"),
    _text("run raises with ids", '{"do": "raise"}', x_request_id="mine", TraceId="t"),
    Request("get with a query", "text", "GET", "/score?a=1&b=%5B1%2C2%5D&c=a&d=null&e=x&e=2&f=&g=%C3%A9"),
    Request("get without a query", "text", "GET"),
    Request("options", "text", "OPTIONS"),
    Request("head", "text", "HEAD"),
    Request("put", "text", "PUT", body=b"1"),
    Request("delete", "text", "DELETE"),
    Request("another path", "text", "GET", "/nothing-here"),
    Request("another path, post", "text", "POST", "/score/", b"1"),
    Request("encoded path", "text", "POST", "/%73core", b"1"),
    Request("health", "text", "GET", "/", headers={"x-request-id": "mine"}),
    Request("health, head", "text", "HEAD", "/"),
    Request("health, post", "text", "POST", "/"),
    Request("health with a long id", "text", "GET", "/", headers={"x-request-id": "x" * 101}),
    Request("swagger", "text", "GET", "/swagger.json"),
    Request("swagger 3", "text", "GET", "/swagger.json?version=3", headers={"x-request-id": "mine"}),
    Request("swagger 3.1", "text", "GET", "/swagger.json?version=3.1"),
    Request("swagger 9", "text", "GET", "/swagger.json?version=9"),
    Request("swagger, post", "text", "POST", "/swagger.json"),
    Request("request headers", "headers", body=b"{}", headers={"content-type": "a/b", "x-custom": "c", "host": "localhost"}),
    _raw("raw bytes", "/score?do=bytes", b"\x00\x01\xff"),
    _raw("raw json", "/score?do=json&x=%20y", method="GET"),
    _raw("raw text", "/score?do=text", "é".encode()),
    _raw("raw failure", "/score?do=failed"),
    _raw("raw nothing", "/score?do=nothing"),
    _raw("raw file", "/score?do=file", _FORM, content_type="multipart/form-data; boundary=sep"),
    _raw("raw object", "/score?do=object&a=1&a=2", b'{"b": 1}', content_type="application/json", X_Custom="v"),
    _raw("raw options", "/score", method="OPTIONS"),
    _raw("raw put", "/score", method="PUT"),
    _raw("raw that raises", "/score?do=file", b"no form"),
    _schema("named values", b'{"numbers": [1, 2, 3], "factor": 10}'),
    _schema("named values, with a default", b'{"numbers": [1]}', "application/json; charset=utf-8"),
    _schema("named values, one is missing", b'{"factor": 10}'),
    _schema("named values, malformed", b'{"numbers": '),
    _schema("named values, no body", b""),
    _schema("named values, a list", b"[1]"),
    _schema("named values of another type", b"{}", "text/plain"),
    _schema("named values without a type", b"{}", ""),
    _schema("named values of another JSON type", b'{"numbers": [1]}', "application/vnd.test+json"),
    _schema("named values that do not fit", b'{"numbers": 3}'),
    _schema("named values in a query", b"", "", "GET", "/score?numbers=%5B1%2C2%5D&factor=3"),
    _schema("swagger of named values", b"", "", "GET", "/swagger.json"),
    _schema("swagger 3.1 of named values", b"", "", "GET", "/swagger.json?version=3.1"),
    _cors("origin that may", "POST", "https://b.example"),
    _cors("origin that may not", "POST", "https://c.example"),
    _cors("preflight", "OPTIONS", "https://a.example", access_control_request_method="POST", access_control_request_headers="x-custom"),
    _cors("preflight that may not", "OPTIONS", "https://c.example", access_control_request_method="POST"),
    _cors("any origin", "POST", "https://c.example", "cors_all"),
    Request("timeout", "slow", body=b'{"do": "sleep"}'),
    _schema("named values that are not UTF-8", b'{"numbers": "\xff\xfe"}'),
    _schema("named values, nested too deeply", b'{"numbers": ' + b"[" * 200_000),
    Request("run ends the process", "exits", body=b'{"do": "exit"}'),
)  # fmt: skip


def script_of(name: str) -> Path:
    """Return the file of a script's server."""
    return SCRIPTS / f"{ {'slow': 'text', 'exits': 'text', 'cors': 'text', 'cors_all': 'text'}.get(name, name) }.py"


def answers(client_of: Callable[[str], Client]) -> dict[str, dict[str, Any]]:
    """Ask everything; return what was answered, by the request's name. ``client_of``: script → a connection to its server."""
    found = {}
    for request in REQUESTS:
        with client_of(request.script) as client:
            try:
                found[request.name] = described(client.ask(request.method, request.target, request.body, request.headers))
            except ConnectionError:
                found[request.name] = {"status": "no answer"}
    return found


def described(answer: Answer) -> dict[str, Any]:
    """Return status, body and documented headers; what differs each time or names the server is said in words."""
    headers: dict[str, Any] = {}
    for name in DOCUMENTED:
        values = [_in_words(name, value) for key, value in answer.headers if key == name]
        if values:
            headers[name] = values[0] if len(values) == 1 else values
    body: Any = answer.body.decode("utf-8", "backslashreplace")
    if headers.get("content-type") == "application/json" and body:
        body = {"json": answer.json}
    return {"status": answer.status, "headers": headers, "body": body}


def _in_words(name: str, value: str) -> str:
    if name == "x-ms-run-fn-exec-ms":
        return "milliseconds" if re.fullmatch(r"\d+\.\d{3}", value) else value
    if name == "x-ms-server-version":
        return "name/version" if re.fullmatch(r"[a-z-]+/[0-9.]+", value) else value
    return _UUID.sub("a new uuid4", value)
