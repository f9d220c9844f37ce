"""Score scripts: how they are found and loaded, and what their ``run()`` may look like."""

from __future__ import annotations

import dataclasses
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from wardian.serving.server.wardian_server import config, script
from wardian.serving.server.wardian_server.config import BadConfiguration, Config, settle
from wardian.serving.server.wardian_server.inputs import Refused, Request

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def own_modules() -> Iterator[None]:
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def load(tmp_path: Path, text: str, entry: str = "score.py") -> script.Script:
    (tmp_path / entry.partition(":")[0].removesuffix(".py")).with_suffix(".py").write_text(text)
    return script.load(Config(entry=entry, source=str(tmp_path)))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("def run(data): pass", "has no function init()"),
        ("def init(): pass", "has no function run()"),
        ("init = run = 1", "has no function init()"),
        ("def init(): pass\ndef run(): pass", "run() needs to accept an argument for input data"),
        ("def init(): pass\ndef run(request_headers): pass", 'other than "request_headers"'),
        ("def init(): pass\ndef run(*data): pass", "positional-only arguments, *args, or **kwargs"),
        ("def init(): pass\ndef run(data, /): pass", "positional-only arguments, *args, or **kwargs"),
    ],
)
def test_unfit_scripts(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(script.BadScript) as bad:
        load(tmp_path, text)
    assert told in str(bad.value)


def test_missing_script(tmp_path: Path) -> None:
    with pytest.raises(script.BadScript, match=r"score\.py does not exist"):
        script.load(Config(entry="score.py", source=str(tmp_path)))


def test_function_of_a_module_needs_no_init(tmp_path: Path) -> None:
    loaded = load(tmp_path, "class Model:\n  @staticmethod\n  def score(data): return data * 2\n", "models:Model.score")
    loaded.init()
    assert loaded.run(**loaded.input(Request("POST", "/score", [], b"ab"))) == "abab"


def test_functions_that_await_share_a_loop_that_turns_between_requests(tmp_path: Path) -> None:
    loaded = load(
        tmp_path,
        """
import asyncio
async def init():
    global ticks, loop
    loop, ticks = asyncio.get_running_loop(), asyncio.Event()
    async def tick():
        await asyncio.sleep(0.01)
        ticks.set()
    global task
    task = asyncio.create_task(tick())
async def run(data):
    await ticks.wait()
    assert asyncio.get_running_loop() is loop
    if data == "raise":
        raise KeyError("told")
    if data == "exit":
        raise SystemExit(7)
    return data * 2
""",
    )
    loaded.init()
    assert loaded.run(data="ab") == "abab"
    for data, error in (("raise", KeyError), ("exit", SystemExit)):
        with pytest.raises(error):
            loaded.run(data=data)
    assert loaded.run(data="c") == "cc"


def test_missing_function(tmp_path: Path) -> None:
    with pytest.raises(script.BadScript, match=r"models:score: the module models has no function score\(\)"):
        load(tmp_path, "", "models:score")


def test_script_behind_a_driver_of_azure(tmp_path: Path) -> None:
    (tmp_path / "real_score.py").write_text("def run(data): return 'real'\n")
    loaded = load(tmp_path, f"import sys; sys.path.append({str(tmp_path)!r})\nimport real_score as driver_module\ndef init(): pass\ndef run(data): pass\n")  # fmt: skip
    assert loaded.run("x") == "real"


def test_query_is_the_input_of_get(tmp_path: Path) -> None:
    loaded = load(tmp_path, "def init(): pass\ndef run(data): return data\n")
    request = Request("GET", "/score?a=1&b=[1,2]&c=a&d=null&e=x&e=2&f=", [], b"")
    assert loaded.input(request) == {"data": '{"a": 1, "b": [1, 2], "c": "a", "d": null, "e": ["x", 2], "f": ""}'}


@pytest.mark.parametrize(("method", "body", "status"), [("PUT", b"", 405), ("OPTIONS", b"", 200), ("POST", b"\xff", 400)])
def test_refused_inputs(tmp_path: Path, method: str, body: bytes, status: int) -> None:
    loaded = load(tmp_path, "def init(): pass\ndef run(data): return data\n")
    with pytest.raises(Refused) as refused:
        loaded.input(Request(method, "/score", [], body))
    assert refused.value.status == status


def test_variables_stand_for_a_missing_file() -> None:
    config = settle(None, {
        "AZUREML_ENTRY_SCRIPT": "score.py", "AML_APP_ROOT": "/app", "AZUREML_SOURCE_DIRECTORY": "src", "AZUREML_MODEL_DIR": "/model",
        "SCORING_TIMEOUT_MS": "1500", "WORKER_COUNT": "3", "AML_CORS_ORIGINS": "https://a.org, https://b.org",
        "WARDIAN_SERVE_HOST": "0.0.0.0", "WARDIAN_SERVE_PORT": "80", "WARDIAN_SERVE_NAME": "mine", "SERVICE_NAME": "other",
    })  # fmt: skip
    assert (config.entry, config.source, config.model, config.timeout_s, config.workers, config.name) == (
        "score.py", "/app/src", "/model", 1.5, 3, "mine",
    )  # fmt: skip
    assert config.cors == ["https://a.org", "https://b.org"]
    assert config.listen == {"host": "0.0.0.0", "port": 80}


def test_file_wins_over_variables(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text('{"entry": "a.py", "timeout_s": 2, "workers": null, "listen": {"fd": 3}}')
    config = settle(str(tmp_path / "c.json"), {"AZUREML_ENTRY_SCRIPT": "b.py", "SCORING_TIMEOUT_MS": "9", "WORKER_COUNT": "2"})
    assert (config.entry, config.timeout_s, config.workers, config.listen) == ("a.py", 2.0, 2, {"fd": 3})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "cannot be read"),
        ("[]", "a JSON object is expected"),
        ('{"entyr": "score.py"}', "unknown field 'entyr'"),
        ("{}", "entry is missing"),
        ('{"kind": "torch"}', "kind must not be 'torch'"),
        ('{"kind": "sklearn"}', "model is missing"),
        ('{"entry": "s.py", "schema": 2}', "schema must be 1, not 2"),
        ('{"entry": "s.py", "workers": 0}', "workers must be at least 1, not 0"),
        ('{"entry": "s.py", "workers": 1.5}', "workers must not be 1.5"),
        ('{"entry": "s.py", "workers": true}', "workers must not be True"),
        ('{"entry": "s.py", "timeout_s": "soon"}', "timeout_s must not be 'soon'"),
        ('{"entry": "s.py", "timeout_s": "nan"}', "timeout_s must not be 'nan'"),
        ('{"entry": "s.py", "keys": ["secret"]}', "keys must be sha256"),
        ('{"entry": "s.py", "listen": {"port": 1}}', "listen must not be"),
        ('{"entry": "s.py", "listen": {"host": "::1", "port": 70000}}', "listen must not be"),
        ('{"entry": "s.py", "log": "xml"}', "log must not be 'xml'"),
    ],
)
def test_wrong_configurations(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(BadConfiguration) as bad:
        settle(str(tmp_path / "c.json"), {})
    assert told in str(bad.value)
    assert "secret" not in str(bad.value)


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Config) if field.name != "schema"])
def test_every_field_is_documented(field: str) -> None:
    page = (Path(__file__).parent.parent.parent.parent / "docs/reference/scoring-server.md").read_text()
    assert f"`{field}`" in page
    assert re.search(rf"^{field} ", config.__doc__ or "", re.MULTILINE)
