"""The modules that score scripts import from Azure's packages: ours only where the environment has none."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

import pytest

from wardian.serving.server.wardian_server import aml, answers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def shims(tmp_path: Path) -> Iterator[None]:
    path, finders, modules = list(sys.path), list(sys.meta_path), set(sys.modules)
    sys.path.insert(0, str(tmp_path))
    aml.install()
    yield
    sys.path[:], sys.meta_path[:] = path, finders
    for name in set(sys.modules) - modules:
        del sys.modules[name]
    aml._raw.clear()


@pytest.mark.parametrize("name", list(aml.NAMES))
def test_ours_where_there_is_none(name: str) -> None:
    module = importlib.import_module(name)
    assert all(getattr(module, one) is getattr(aml, one) for one in aml.NAMES[name])


def test_ours_beside_other_parts_of_azureml(tmp_path: Path) -> None:
    (tmp_path / "azureml/core").mkdir(parents=True)
    (tmp_path / "azureml/core/__init__.py").write_text("here = True\n")
    importlib.invalidate_caches()
    assert importlib.import_module("azureml.core").here is True
    assert importlib.import_module("azureml.contrib.services.aml_request").rawhttp is aml.rawhttp
    with pytest.raises(ModuleNotFoundError, match=r"azureml\.train"):
        importlib.import_module("azureml.train")


def test_the_environments_own_wins(tmp_path: Path) -> None:
    place = tmp_path / "azureml_inference_server_http/api"
    place.mkdir(parents=True)
    (place / "aml_request.py").write_text("_rawHttpRequested = False\ndef rawhttp(run):\n  global _rawHttpRequested\n  _rawHttpRequested = True\n  return run\n")  # fmt: skip
    importlib.invalidate_caches()
    module = importlib.import_module("azureml_inference_server_http.api.aml_request")
    assert module.__file__ == str(place / "aml_request.py")
    assert not aml.raw_is_wanted()
    module.rawhttp(test_the_environments_own_wins)
    assert aml.raw_is_wanted()


def test_request_has_the_parts_that_scripts_use() -> None:
    form = b"a=1&b=%C3%A9&a=2"
    headers = [
        ("host", "h:80"),
        ("content-type", "application/x-www-form-urlencoded; charset=utf-8"),
        ("x-one", "1"),
        ("X-One", "2"),
    ]
    request = aml.AMLRequest("POST", "/score?q=1&q=2&e=", headers, form)
    assert (request.path, request.full_path, request.query_string) == ("/score", "/score?q=1&q=2&e=", b"q=1&q=2&e=")
    assert (request.url, request.base_url, request.host) == ("http://h:80/score?q=1&q=2&e=", "http://h:80/score", "h:80")
    assert (request.args["q"], request.args.getlist("q"), request.args["e"]) == ("1", ["1", "2"], "")
    assert (request.form["a"], request.form.getlist("a"), request.form["b"]) == ("1", ["1", "2"], "é")
    assert (request.values["q"], request.values["b"], dict(request.files)) == ("1", "é", {})
    assert (request.headers["X-ONE"], request.headers.get("nothing"), list(request.headers)) == (
        "1,2",
        None,
        ["Host", "Content-Type", "X-One"],
    )
    assert (request.get_data(as_text=True), request.stream.read(), request.content_length) == (form.decode(), form, len(form))
    assert request.get_json() is None
    assert request.get_json(force=True, silent=True) is None
    with pytest.raises(ValueError, match="Expecting value"):
        request.get_json(force=True)


@pytest.mark.parametrize(
    ("arguments", "status", "body", "kind"),
    [
        (("text", 200), 200, b"text", "text/html; charset=utf-8"),
        ((b"\xff", 201, {"Content-Type": "image/png"}), 201, b"\xff", "image/png"),
        (({"a": 1}, 200, {}, True), 200, b'{"a": 1}', "application/json"),
        ((None, 400), 400, b"{}", "application/json"),
        ((["a", b"b"], 200), 200, b"ab", "text/html; charset=utf-8"),
    ],
)
def test_response(arguments: tuple[Any, ...], status: int, body: bytes, kind: str) -> None:
    found = answers.parts_of(aml.AMLResponse(*arguments))
    assert (found[0], found[3]) == (status, body)
    assert f"content-type: {kind}\r\n".encode() in found[2].lower()
