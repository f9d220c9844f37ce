"""The user's scoring script: loads it, and finds out what its ``run()`` wants."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, Callable, Union

from . import aml
from .coroutines import awaited
from .inputs import NamedInput, RawInput, TextInput
from .typed import TypedInput, hints_of, schemas_of

if TYPE_CHECKING:
    from .config import Config
    from .predict_input import PredictInput

Input = Union[RawInput, TextInput, NamedInput, TypedInput, "PredictInput"]


class BadScript(Exception):
    """The script is not what a scoring script must be; the message is for its author."""


@dataclass(frozen=True)
class Script:
    """A script that is loaded; ``init`` has not been called."""

    init: Callable[[], Any]
    run: Callable[..., Any]
    input: Input
    wants_headers: bool
    has_schema: bool
    model: Any = None  # one that needs no code


def load(config: Config) -> Script:
    """Return the script that ``config`` names.

    Raises:   BadScript: it is missing, or has no fitting ``init()`` and ``run()``; whatever the script raises passes through
    """
    source = os.path.abspath(config.source)
    for place in (source, os.path.dirname(os.path.abspath(os.path.join(source, config.entry)))):
        if place not in sys.path and os.path.isdir(place):
            sys.path.insert(len(sys.path) - 1, place)  # the server's own directory stays last
    if ":" in config.entry and not config.entry.endswith(".py"):
        return _from_function(config.entry)
    return _from_file(os.path.join(source, config.entry))


def load_model(config: Config) -> Script:
    """Return the model of ``config``, which needs no code, as a script whose ``run()`` predicts.

    Raises:   BadScript: there is no such model, or the environment lacks what it needs
    """
    from .predict_input import PredictInput

    place = os.path.abspath(config.model)
    if not os.path.exists(place):
        raise BadScript(f"the model {place} does not exist")
    if config.kind == "sklearn":
        from .sklearn_model import SklearnModel as Model
    else:
        from .mlflow_model import MLflowModel as Model  # type: ignore[assignment]
    model: Any = Model(place)
    return Script(model.load, model.run, PredictInput(), wants_headers=False, has_schema=False, model=model)


def _from_file(path: str) -> Script:
    if not os.path.isfile(path):
        raise BadScript(f"the scoring script {path} does not exist")
    spec = importlib.util.spec_from_file_location("entry_module", path)
    if spec is None or spec.loader is None:
        raise BadScript(f"the scoring script {path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules["entry_module"] = module
    spec.loader.exec_module(module)
    for name in ("init", "run"):
        if not callable(getattr(module, name, None)):
            raise BadScript(f"the scoring script {path} has no function {name}()")
    driver = getattr(module, "driver_module", None)  # Azure's SDK generates scripts that stand before the real one
    run = driver.run if isinstance(driver, ModuleType) and hasattr(driver, "run") else module.run
    return settle(module.init, run)


def _from_function(entry: str) -> Script:
    name, _, attribute = entry.partition(":")
    module = importlib.import_module(name)
    run: Any = module
    for part in attribute.split("."):
        run = getattr(run, part, None)
    if not callable(run):
        raise BadScript(f"{entry}: the module {name} has no function {attribute}()")
    init = getattr(module, "init", None)
    return settle(init if callable(init) else _nothing, run, typed=True)


def _nothing() -> None:
    """The ``init()`` of a module that has none."""


def settle(init: Callable[[], Any], run: Callable[..., Any], *, typed: bool = False) -> Script:
    """Return the script of these two functions, with the input that ``run`` wants.

    ``typed``: type hints decide what it gets. Those of a score script are for the documentation alone: it gets text whatever
    they say, as on azureml-inference-server-http.

    Raises:   BadScript: its parameters are none that a request can fill
    """
    parameters = list(inspect.signature(run).parameters.values())
    if any(p.kind not in {p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD} for p in parameters):
        raise BadScript("run() cannot accept positional-only arguments, *args, or **kwargs.")
    wants_headers = any(p.name == "request_headers" for p in parameters)
    parameters = [p for p in parameters if p.name != "request_headers"]
    if not parameters:
        other = ' other than "request_headers"' if wants_headers else " for input data"
        raise BadScript(f"run() needs to accept an argument{other}.")
    decorated = _has_schema(run)
    init, run = awaited(init), awaited(run)
    if aml.raw_is_wanted():
        if decorated:
            raise BadScript("run() cannot be decorated with both @rawhttp and @input_schema")
        return Script(init, run, RawInput(parameters[0].name), wants_headers, has_schema=False)
    chosen: Input = NamedInput(parameters) if decorated else TextInput(parameters[0].name)
    hints = hints_of(run) if typed and not decorated else {}
    if any(hints.get(p.name, str) is not str for p in parameters) or (hints and len(parameters) > 1):
        chosen = TypedInput(parameters, hints)
    return Script(init, run, chosen, wants_headers, decorated)


def schemas(script: Script) -> tuple[Any, Any]:
    """Return the JSON schemas of what the script takes and returns, as far as decorators, hints or a signature say."""
    if script.model is not None:
        found: tuple[Any, Any] = script.model.schemas()
        return found
    if script.has_schema:
        schema_util = sys.modules["inference_schema.schema_util"]
        return schema_util.get_input_schema(script.run), schema_util.get_output_schema(script.run)
    if isinstance(script.input, RawInput):
        return {}, {}
    return schemas_of(script.run, by_name=isinstance(script.input, TypedInput))


def _has_schema(run: Callable[..., Any]) -> bool:
    """Has ``run`` decorators of the package inference-schema? Only a script that imported it can have."""
    schema_util = sys.modules.get("inference_schema.schema_util")
    return bool(schema_util and schema_util.is_schema_decorated(run))
