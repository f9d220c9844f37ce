"""What score scripts import from azureml-inference-server-http and azureml-contrib-services, where the environment has neither.

``AMLRequest`` has the parts of Flask's request that scripts use; ``AMLResponse`` is what a script answers with.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import io
import json
import sys
from typing import TYPE_CHECKING, Any, Callable, Iterator, Mapping
from urllib.parse import parse_qsl

if TYPE_CHECKING:
    from types import ModuleType

NAMES = {
    "azureml_inference_server_http.api.aml_request": ("AMLRequest", "rawhttp"),
    "azureml_inference_server_http.api.aml_response": ("AMLResponse",),
    "azureml.contrib.services.aml_request": ("AMLRequest", "rawhttp"),
    "azureml.contrib.services.aml_response": ("AMLResponse",),
}
_PACKAGES = {name.rsplit(".", cut)[0] for name in NAMES for cut in range(1, name.count(".") + 1)}
_raw: set[int] = set()


def rawhttp(run: Callable[..., Any]) -> Callable[..., Any]:
    """Ask for the request itself instead of its body."""
    _raw.add(id(run))
    return run


def raw_is_wanted() -> bool:
    """Has a script used ``rawhttp``, ours or that of a package in the environment?"""
    return bool(_raw) or any(getattr(sys.modules.get(name), "_rawHttpRequested", False) for name in NAMES)


class Headers(Mapping[str, str]):
    """Headers by name in any case; ``get_all`` has repeated ones."""

    def __init__(self, pairs: list[tuple[str, str]]):
        self._pairs = pairs

    def __getitem__(self, name: str) -> str:
        found = self.get_all(name)
        if not found:
            raise KeyError(name)
        return ",".join(found)

    def __iter__(self) -> Iterator[str]:
        return iter({name.lower(): titled(name) for name, _ in self._pairs}.values())

    def __len__(self) -> int:
        return len({name.lower() for name, _ in self._pairs})

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self.get_all(name))

    def get_all(self, name: str) -> list[str]:
        """Return each value of ``name``."""
        return [value for key, value in self._pairs if key.lower() == name.lower()]


def titled(name: str) -> str:
    """Return a header's name as Flask shows it: ``X-Ms-Request-Id``."""
    return "-".join(part.capitalize() for part in name.split("-"))


class Values(dict):  # type: ignore[type-arg]
    """Values of a query or a form by name: the first of each; ``getlist`` has all."""

    def __init__(self, pairs: list[tuple[str, Any]]):
        super().__init__()
        self._pairs = pairs
        for name, value in pairs:
            self.setdefault(name, value)

    def getlist(self, name: str) -> list[Any]:
        """Return each value of ``name``."""
        return [value for key, value in self._pairs if key == name]


class UploadedFile(io.BytesIO):
    """One file of a form."""

    def __init__(self, content: bytes, filename: str, content_type: str):
        super().__init__(content)
        self.filename = filename
        self.content_type = self.mimetype = content_type

    @property
    def stream(self) -> UploadedFile:
        """The file itself."""
        return self

    def save(self, target: str) -> None:
        """Write it to the path ``target``."""
        with open(target, "wb") as file:
            file.write(self.getvalue())


class AMLRequest:
    """One HTTP request, with the names that Flask gives its parts."""

    def __init__(self, method: str, target: str, headers: list[tuple[str, str]], body: bytes):
        self.method = method
        self.headers = Headers(headers)
        self.path, _, query = target.partition("?")
        self.query_string = query.encode("latin-1")
        self.full_path = f"{self.path}?{query}"
        self.host = self.headers.get("host", "")
        self.base_url = f"http://{self.host}{self.path}"
        self.url = f"{self.base_url}?{query}" if query else self.base_url
        self.data = body
        self.args = Values(parse_qsl(query, keep_blank_values=True))
        self._form: tuple[Values, Values] | None = None

    @property
    def content_type(self) -> str | None:
        """The header content-type."""
        return self.headers.get("content-type")

    @property
    def mimetype(self) -> str:
        """The content type without its parameters, in lower case."""
        return (self.content_type or "").partition(";")[0].strip().lower()

    @property
    def content_length(self) -> int:
        """Bytes of the body."""
        return len(self.data)

    @property
    def is_json(self) -> bool:
        """Does the content type say JSON?"""
        return self.mimetype == "application/json" or (
            self.mimetype.startswith("application/") and self.mimetype.endswith("+json")
        )

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return self.get_json()

    def get_json(self, force: bool = False, silent: bool = False, cache: bool = True) -> Any:  # noqa: ARG002 - Flask's names
        """Return the body as JSON; None if its type is another and not ``force``, or it is broken and ``silent``."""
        if not (force or self.is_json):
            return None
        try:
            return json.loads(self.data)
        except ValueError:
            if silent:
                return None
            raise

    def get_data(self, cache: bool = True, as_text: bool = False, parse_form_data: bool = False) -> Any:  # noqa: ARG002
        """Return the body's bytes, or its text."""
        return self.data.decode("utf-8", "replace") if as_text else self.data

    @property
    def stream(self) -> io.BytesIO:
        """The body as a file."""
        return io.BytesIO(self.data)

    @property
    def form(self) -> Values:
        """The fields of a form."""
        return self._parts()[0]

    @property
    def files(self) -> Values:
        """The files of a form."""
        return self._parts()[1]

    @property
    def values(self) -> Values:
        """Those of the query, then those of the form."""
        return Values([*self.args._pairs, *self.form._pairs])

    def _parts(self) -> tuple[Values, Values]:
        if self._form is None:
            fields: list[tuple[str, Any]] = []
            files: list[tuple[str, Any]] = []
            if self.mimetype == "application/x-www-form-urlencoded":
                fields += parse_qsl(self.data.decode("utf-8", "replace"), keep_blank_values=True)
            elif self.mimetype == "multipart/form-data":
                _multipart(self.content_type or "", self.data, fields, files)
            self._form = (Values(fields), Values(files))
        return self._form


def _multipart(content_type: str, body: bytes, fields: list[tuple[str, Any]], files: list[tuple[str, Any]]) -> None:
    from email.parser import BytesParser

    head = b"content-type: " + content_type.encode("latin-1", "replace") + b"\r\n\r\n"
    for part in BytesParser().parsebytes(head + body).walk():
        name = part.get_param("name", header="content-disposition")
        if part.is_multipart() or not isinstance(name, str):
            continue
        content = part.get_payload(decode=True)
        content = content if isinstance(content, bytes) else b""
        filename = part.get_filename()
        if filename is None:
            fields.append((name, content.decode("utf-8", "replace")))
        else:
            files.append((name, UploadedFile(content, filename, part.get_content_type())))


class AMLResponse:
    """The answer of a script that gives more than a body."""

    def __init__(
        self, message: Any, status_code: int, response_headers: Mapping[str, str] | None = None, json_str: bool = False,
        run_function_failed: bool = False,
    ):  # fmt: skip
        given = response_headers or {}
        as_json = json_str or message is None
        self.status_code = status_code
        self._body = _bytes_of(json.dumps({} if message is None else message) if as_json else message)
        kind = "application/json" if as_json else "text/html; charset=utf-8"
        self.headers: list[tuple[str, str]] = []
        if as_json or not any(name == "Content-Type" for name in given):
            self.headers.append(("Content-Type", kind))
        self.headers.append(("x-ms-run-function-failed", str(run_function_failed)))
        for name, value in given.items():
            self.headers += [(name, part.strip()) for part in value.split(",")]

    def get_data(self) -> bytes:
        """Return the body."""
        return self._body


def _bytes_of(message: Any) -> bytes:
    if isinstance(message, str):
        return message.encode()
    if isinstance(message, (bytes, bytearray, memoryview)):
        return bytes(message)
    return b"".join(_bytes_of(part) for part in message)


class Shims(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the modules of ``NAMES`` where nobody else does: it stands last."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:  # noqa: ARG002
        """Return the spec of one of ours."""
        if fullname not in NAMES and fullname not in _PACKAGES:
            return None
        return importlib.util.spec_from_loader(fullname, self, is_package=fullname in _PACKAGES)

    def exec_module(self, module: ModuleType) -> None:
        """Fill it."""
        for name in NAMES.get(module.__name__, ()):
            setattr(module, name, globals()[name])


def install() -> None:
    """Make the modules importable where the environment has none of its own."""
    sys.meta_path.append(Shims())
