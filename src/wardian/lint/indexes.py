"""Rules about where pip's packages come from: indexes, options that uv reads otherwise, addresses."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from wardian.definition.pip_option import PipOption
from wardian.lint.finding import Problem, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wardian.formats.read_definition import Place
    from wardian.lint.subject import Subject

_WITHOUT_EFFECT = {"--prefer-binary": "wheels are preferred anyway", "--use-feature": "it switches pip's own machinery"}
_LOOPBACK = re.compile(r"http://(localhost|127\.|\[::1\])", re.IGNORECASE)
_EDITABLE = re.compile(r"""^[\s\-"'#]*(-e|--editable)\b""")


def _options(subject: Subject) -> Iterator[tuple[Place, PipOption]]:
    for place, text in subject.pip_options:
        yield place, PipOption.parse(text)


def _addresses(subject: Subject) -> Iterator[tuple[Place, str]]:
    yield from subject.channels
    for place, option in _options(subject):
        if option.name in ("--index-url", "--extra-index-url", "--find-links"):
            yield place, option.value or ""
    for place, requirement in subject.pip:
        yield place, (requirement.url or "").removeprefix("git+")
    for place, spec in subject.conda:
        yield place, spec.url or spec.channel or ""


def _index_order(subject: Subject) -> Iterator[Problem]:
    python = subject.environment.python
    chosen = python.index_strategy != "first-index" or "python.index_strategy" in subject.read.places
    if subject.format in ("pyproject", "script") or chosen:
        return  # uv's own settings, meant as uv reads them
    for place, option in _options(subject):
        if option.name == "--extra-index-url":
            yield Problem(place, f"`{option}`: the first index that has a project serves it")


def _without_effect(subject: Subject) -> Iterator[Problem]:
    on_line = Counter((place.file, place.line) for place, _ in subject.pip_options)
    for place, option in _options(subject):
        if option.name in _WITHOUT_EFFECT:
            alone = on_line[place.file, place.line] == 1  # a line with several takes a human
            yield Problem(place, f"`{option}` has no effect: {_WITHOUT_EFFECT[option.name]}", fixable=alone)


def _editable(subject: Subject) -> Iterator[Problem]:
    for place, requirement in subject.pip:
        if _EDITABLE.match(subject.line(place)):
            yield Problem(place, f"`-e {requirement}` is built and installed like any other package")


def _insecure(subject: Subject) -> Iterator[Problem]:
    for place, address in _addresses(subject):
        if address.lower().startswith("http://") and not _LOOPBACK.match(address):
            yield Problem(place, f"`{address}` is not encrypted")
    for place, option in _options(subject):
        if option.name == "--trusted-host":
            yield Problem(place, f"`{option}`: the host's certificate is not checked")


def _machine_path(subject: Subject) -> Iterator[Problem]:
    for place, address in _addresses(subject):
        if address.lower().startswith("file:"):
            yield Problem(place, f"`{address}` is a path on one machine")


RULES = (
    Rule("index-order", "warning", "`--extra-index-url`, which uv reads otherwise than pip",
         "pip takes the best version of all indexes, uv the first index that has the project: what you get may differ, and a stranger's "
         "package with the name of yours is not taken.",
         "check that this is what you mean; `python: {index_strategy: unsafe-best-match}` in Wardian's own YAML does as pip", _index_order),
    Rule("option-without-effect", "note", "an option of pip that does nothing here",
         "A reader believes that it matters, and it is part of the identity: the same packages get another hash.",
         "leave it out", _without_effect, fixable=True),
    Rule("ignored-option", "warning", "an option behind a requirement", "pip ignores it there, without a word.",
         "put it on a line of its own", codes=("ignored_option",)),
    Rule("editable-is-built", "note", "`-e`, which is built like the rest",
         "An environment is read-only: a change of the code makes another environment, it does not change this one.",
         "leave `-e` out; for code that you are editing, put its directory beside the script", _editable),
    Rule("insecure-index", "warning", "packages over a connection that is not checked",
         "Whoever sits between can put their own packages in; until the lock has their digests, nothing tells.",
         "use https, with the authority's certificate in REQUESTS_CA_BUNDLE", _insecure),
    Rule("machine-path", "warning", "a file:// address",
         "Nobody else has that path, so the definition can be locked on this machine only.",
         "put the files on a server, or beside the definition with a relative path", _machine_path),
)  # fmt: skip
