"""Rules about the channels that conda packages come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardian.definition.well_known import channel_identity
from wardian.lint.finding import Problem, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wardian.lint.subject import Subject

_COMMUNITY = "conda-forge"


def _is_of_anaconda(channel: str) -> bool:
    name = channel_identity(channel)
    return name in ("defaults", "main", "anaconda", "r", "msys2") or name.startswith(("pkgs/", "https://repo.anaconda.com"))


def _none(subject: Subject) -> Iterator[Problem]:
    specs = [spec for _, spec in subject.conda]
    if specs and subject.format == "wardian" and not subject.channels and not all(s.channel or s.url for s in specs):
        yield Problem(subject.whole, "no channels are named")


def _order(subject: Subject) -> Iterator[Problem]:
    names = [channel_identity(text) for _, text in subject.channels]
    if _COMMUNITY in names:
        for place, text in subject.channels[: names.index(_COMMUNITY)]:
            if _is_of_anaconda(text):
                yield Problem(place, f"`{text}` stands before `{_COMMUNITY}`")


def _mixed(subject: Subject) -> Iterator[Problem]:
    names = [channel_identity(text) for _, text in subject.channels]
    if _COMMUNITY in names:
        for place, text in subject.channels[names.index(_COMMUNITY) + 1 :]:
            if _is_of_anaconda(text):
                yield Problem(place, f"`{text}` stands beside `{_COMMUNITY}`")


def _terms(subject: Subject) -> Iterator[Problem]:
    for place, text in subject.channels:
        if _is_of_anaconda(text):
            yield Problem(place, f"`{text}` is a channel of Anaconda, Inc.")


def _duplicate(subject: Subject) -> Iterator[Problem]:
    seen: dict[str, int | None] = {}
    for place, text in subject.channels:
        if (name := channel_identity(text)) in seen:
            yield Problem(place, f"`{text}` stands on line {seen[name]} already", fixable=True)
        seen.setdefault(name, place.line)


RULES = (
    Rule("no-channels", "warning", "conda packages, but no channels",
         "conda then takes its `defaults`, which mean something else on every machine.",
         "name them: `channels: [conda-forge]`", _none, codes=("no_channels",), azure="conda channels missing"),
    Rule("channel-order", "warning", "Anaconda's channels before conda-forge",
         "The first channel that has a package serves it, whatever version it has: most of conda-forge's newer builds are then never seen.",
         "put `conda-forge` first, or leave the other out", _order),
    Rule("mixed-channels", "note", "conda-forge together with Anaconda's channels",
         "Both build the same libraries with other compilers and options, and such builds in one process may not fit each other.",
         "leave out the one that you do not need", _mixed),
    Rule("anaconda-terms", "note", "a channel of Anaconda, Inc.",
         "Its terms of service ask larger organisations to pay for it; conda-forge is free for all.",
         "use `conda-forge`, or see that you have a licence", _terms),
    Rule("duplicate-channel", "warning", "a channel that is named twice",
         "Only the first place counts, so the second one misleads.",
         "keep the first", _duplicate, fixable=True),
)  # fmt: skip
