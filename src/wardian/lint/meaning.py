"""Rules about what a definition as a whole is for: its name, who manages it, whether it can serve, secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardian.definition.reference import CURATED_PREFIX, KINDS, is_curated_name
from wardian.formats.read_definition import Place
from wardian.lint.finding import Problem, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wardian.lint.subject import Subject

_OF_AZURE = ("azureml", "microsoft")
# any of these answers requests, or brings along what does
SERVERS = frozenset({
    "aiohttp", "azureml-defaults", "azureml-inference-server-http", "bentoml", "cherrypy", "django", "fastapi", "flask", "gradio",
    "gunicorn", "hypercorn", "kserve", "litestar", "mlflow", "mlserver", "quart", "ray", "sanic", "starlette", "streamlit",
    "torchserve", "tornado", "tritonserver", "uvicorn", "vllm", "waitress",
})  # fmt: skip
_PATHS = ("PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "LD_PRELOAD", "PATH", "CONDA_PREFIX", "VIRTUAL_ENV")


def _reserved(subject: Subject) -> Iterator[Problem]:
    name = subject.environment.name
    if name is None:
        return
    place = subject.place("name")
    if is_curated_name(name):
        yield Problem(place, f"`{name}`: names that begin with `{CURATED_PREFIX}` are kept for curated environments")
    elif name in KINDS:
        yield Problem(place, f"`{name}` cannot be a name: `{name}:…` refers to something else")
    elif name.lower().startswith(_OF_AZURE):
        yield Problem(place, f"Azure ML refuses `{name}`: it keeps this prefix for its own", severity="note")


def _not_deployable(subject: Subject) -> Iterator[Problem]:
    env = subject.environment
    names = {spec.name for _, spec in subject.conda} | {requirement.project for _, requirement in subject.pip}
    if subject.installs and names - {"python", "pip", None} and not names & SERVERS and not env.docker.has_steps:
        yield Problem(subject.whole, "nothing in it answers requests")


def _declared_only(subject: Subject) -> Iterator[Problem]:
    python = subject.environment.python
    if python.manager == "user" and (python.conda or python.pip):
        first = "python.conda[0]" if python.conda else "python.pip[0]"
        yield Problem(subject.place(first), "the environment is user-managed: these packages are not installed")


def _paths(subject: Subject) -> Iterator[Problem]:
    for name in subject.environment.variables:
        if name in _PATHS:
            yield Problem(subject.place(f"variables.{name}"), f"`{name}` is set for every run")


def _prefix(subject: Subject) -> Iterator[Problem]:
    for loss in subject.read.losses:
        if loss.field == "prefix" and subject.format == "conda":
            yield Problem(Place(loss.file, loss.line, loss.field), "`prefix` is left out", fixable=True)


def _losses(subject: Subject) -> Iterator[Problem]:
    for loss in subject.read.losses:
        if loss.field != "prefix" or subject.format != "conda":
            place = Place(loss.file or subject.file, loss.line, loss.field)
            yield Problem(place, f"`{loss.field}` is {loss.kind}: {loss.why}", fix=loss.hint)


RULES = (
    Rule("reserved-name", "error", "a name that is kept for others",
         "A reader must be able to trust that a curated name means the curated content, so nothing else may have one.",
         "choose another name", _reserved, azure="curated prefix"),
    Rule("not-deployable", "note", "packages, but none that answers requests",
         "A model is served by something that answers HTTP requests; a list with `azureml-defaults` says that this is wanted.",
         "if it is to serve, add a server: `mlflow`, or `fastapi` and `uvicorn`", _not_deployable, azure="azureml-defaults missing"),
    Rule("declared-only", "note", "packages in a user-managed environment",
         "The packages of the machine or image are used as they are: such a list says what should be there, and nobody sees to it.",
         "leave `manager: user` out if Wardian is to install them", _declared_only),
    Rule("path-variable", "warning", "a variable that changes where code is looked for",
         "What is found there comes before the locked packages, so the lock no longer says what a run imports.",
         "leave it out; put code beside the script, or name it as a requirement", _paths),
    Rule("secret-in-definition", "error", "a secret",
         "Definitions are kept for ever, copied to registries and shown to everybody who may read them.",
         "remove it, change it where it is valid, and keep the new one: `wardian secret set NAME`", codes=("secret_in_definition",),
         azure="secrets inline"),
    Rule("prefix-ignored", "warning", "`prefix:` in a conda file",
         "It is a path of the machine that the file was exported on; Wardian chooses where an environment is installed.",
         "delete the line", _prefix, fixable=True),
    Rule("not-carried-over", "note", "something in a file of another tool that the environment does not have, or has otherwise",
         "The same file means another environment to the tool that it was written for.",
         "nothing, if you can do without it", _losses),
    Rule("empty-pip", "warning", "`pip:` without a list", "Mostly the list below it is not indented far enough, and is not pip's.",
         "indent the list further than `pip:`, or leave it out", codes=("empty_pip",)),
)  # fmt: skip
