"""pip's requirements: checked and normalised."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache

from wardian.definition.address import address_fault
from wardian.definition.local_path import checked_path, is_wheel_name, looks_like_path
from wardian.definition.marker import normalised_marker
from wardian.definition.pip_option import PIP_OPTIONS, PipOption
from wardian.definition.project_name import PROJECT_NAME as _NAME
from wardian.definition.project_name import canonical_name
from wardian.definition.url_secret import SECRET_HINT, holds_secret
from wardian.definition.values import clean_text, variable_fault
from wardian.errors import InvalidInput

__all__ = ["PIP_OPTIONS", "SECRET_HINT", "PipOption", "PipRequirement", "canonical_name"]

_EXTRAS = r"\[[^\[\]]*\]"
_NAMED = re.compile(rf"({_NAME})[ \t]*+({_EXTRAS})?[ \t]*+(.*)", re.DOTALL)
_AT = re.compile(rf"({_NAME})[ \t]*+({_EXTRAS})?[ \t]*+@[ \t]*(.+)", re.DOTALL)
_RELEASE = r"[0-9]{1,18}(?:\.[0-9]{1,18})"
_SUFFIX = r"(?:(?:a|b|rc)[0-9]{1,18})?(?:\.post[0-9]{1,18})?(?:\.dev[0-9]{1,18})?"
# What nearly every requirement is made of: accepted without asking packaging, whose import costs more than the parse
_CLAUSE = (
    rf"(?:(?:==|!=)[ \t]*{_RELEASE}*(?:\.\*|{_SUFFIX})|(?:>=|<=|>|<)[ \t]*{_RELEASE}*{_SUFFIX}|~=[ \t]*{_RELEASE}+{_SUFFIX})"
)
_COMMON = re.compile(rf"(?:{_CLAUSE}(?:[ \t]*,[ \t]*{_CLAUSE})*)?[ \t]*")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):|(\$\{)")
_EDITABLE = re.compile(r"-e[ \t]*(?=[^ \t])|--editable(?:[ \t]+|[ \t]*=[ \t]*)")
_HASH = re.compile(r"sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128}")
_EGG = re.compile(rf"[#&]egg=({_NAME})(\[{_NAME}(?:,{_NAME})*\])?(?=&|$)")
_SCP = re.compile(r"(?:git\+)?(?:ssh://)?([\w.-]+@(?!file:)[\w.-]+):(?![0-9]+/|//)([^\s]+)")
_LONGEST = 65_536  # characters; a hundred hashes fit
_GIT = ("git+https", "git+http", "git+ssh", "git+git", "git+file")


@dataclass(frozen=True, slots=True)
class PipRequirement:
    """One requirement as pip reads it, normalised: PEP 503 name, no white space around operators, else as written.

    Exactly one of three: a name with versions (``name``), a URL (``url``, with or without a name), a local path
    (``path``, relative, POSIX separators, with or without a name). ``-e`` is read and left out: local code is built like
    the rest. ``PipRequirement.parse(str(requirement)) == requirement``.
    """

    name: str | None
    extras: tuple[str, ...] = ()
    specifier: str = ""
    url: str | None = None
    path: str | None = None
    marker: str = ""
    hashes: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> PipRequirement:
        """Return the requirement that ``text`` states.

        Raises:   InvalidInput: codes ``bad_requirement``, ``bad_marker``, ``bad_hash``, ``absolute_path``, ``bad_path``,
                  ``variable_in_path``, ``unsupported_vcs``, ``secret_in_definition``.
        Source:   PEP 508, PEP 503, pip's requirements file format
        """
        return _parse(text)

    @property
    def project(self) -> str | None:
        """The project's name as far as the text tells: its own, or that of the wheel it points at; None if neither."""
        if self.name is not None:
            return self.name
        file = (self.path or self.url or "").partition("#")[0].partition("?")[0].rpartition("/")[2]
        return canonical_name(file.partition("-")[0]) if is_wheel_name(file) else None

    def __str__(self) -> str:
        extras = f"[{','.join(self.extras)}]" if self.extras else ""
        target = self.path if self.path is not None else self.url
        if target is None:
            body = f"{self.name}{extras}{self.specifier}"
        elif self.name is None:
            body = f"{target}{extras}"
        elif self.url is not None and _egg(self.url) == (self.name, self.extras):
            body = self.url
        else:
            body = f"{self.name}{extras} @ {target}"
        gap = " " if self.url is not None or "@" in body else ""
        return body + (f"{gap}; {self.marker}" if self.marker else "") + "".join(f" --hash={value}" for value in self.hashes)


@lru_cache(maxsize=2048)
def _parse(text: str) -> PipRequirement:
    line = clean_text(text).strip()
    if not line or "\n" in line:
        raise _bad(text, "it has several lines" if line else "it is empty")
    if len(line) > _LONGEST:
        raise _bad(text, f"it is longer than {_LONGEST:,} characters")
    line = line.replace("\t", " ")
    if holds_secret(line):  # before any message can show it
        raise InvalidInput("the requirement's URL holds a secret", hint=SECRET_HINT, code="secret_in_definition")
    if not line.isprintable():
        strange = next(c for c in line if not c.isprintable())
        raise _bad(text, f"it holds the character U+{ord(strange):04X}, which cannot be seen")
    line, *given = re.split(r"(?<!\s)\s++--hash(?:\s*=\s*|\s+)", line)
    hashes = tuple(_checked_hash(value.strip()) for value in given)
    editable = _EDITABLE.match(line)
    line = line[editable.end() :] if editable else line
    if line.startswith("-"):
        raise _bad(text, "this is an option, not a requirement")
    if match := _SCP.fullmatch(line.partition(" ")[0]):
        raise _bad(text, "git's short form is not a URL", f"write `git+ssh://{match[1]}/{match[2]}`")
    if match := _AT.fullmatch(line):
        return _at(text, match, hashes)
    if scheme := _SCHEME.match(line):
        target, marker = _split_url(line)
        if (scheme[1] or "").lower() == "file":
            return _local(text, target, marker, hashes)
        name, extras = _egg(target)
        return PipRequirement(name, extras, url=_checked_url(text, target), marker=_marker(marker), hashes=hashes)
    body, _, marker = line.partition(";")
    body = body.strip()
    if looks_like_path(body) or (editable and not re.search(r"[<>=!~]", body)):
        return _local(text, body, marker, hashes)
    if editable:
        raise _bad(text, "what is editable is a directory or a repository")
    return _named(text, body, marker, hashes)


def _at(text: str, match: re.Match[str], hashes: tuple[str, ...]) -> PipRequirement:
    name, extras = canonical_name(match[1]), _extras(text, match[2])
    target, marker = _split_url(match[3])
    if ";" in target:  # pip ends the URL here; PEP 508 wants a space first
        body, _, rest = target.partition(";")
        with suppress(InvalidInput):
            marker, target = normalised_marker(rest), body
    scheme = _SCHEME.match(target)
    if scheme and (scheme[1] or "").lower() != "file":
        return PipRequirement(name, extras, url=_checked_url(text, target), marker=_marker(marker), hashes=hashes)
    if not scheme and not looks_like_path(target):
        raise _bad(text, f"`{target[:60]}` after `@` is neither a URL nor a path")
    try:
        local = _local(text, target, marker, hashes)
    except InvalidInput as error:
        from wardian.definition.advice import frozen_hint

        hint = frozen_hint(text) if error.stable_code == "absolute_path" else None
        raise InvalidInput(error.message, hint=hint or error.hint, code=error.stable_code) from None
    return replace(local, name=name, extras=tuple(sorted({*extras, *local.extras})))


def _local(text: str, target: str, marker: str, hashes: tuple[str, ...]) -> PipRequirement:
    name, extras = _egg(target)
    path, _, fragment = target.partition("#")
    for part in fragment.split("&") if fragment else ():
        key, _, value = part.partition("=")
        if key == "subdirectory":
            path = f"{path}/{value}"
        elif key in ("sha256", "sha384", "sha512"):
            hashes = (*hashes, _checked_hash(f"{key}:{value}"))
        elif key != "egg":
            raise _bad(text, f"`#{fragment[:60]}` says nothing about a path")
    if bracket := re.search(r"\[[^\[\]/\\]*\]$", path):
        path, extras = path[: bracket.start()].rstrip(), _extras(text, bracket[0])
    path = checked_path(path)
    _check_wheel_name(text, path)
    return PipRequirement(name, extras, path=path, marker=_marker(marker), hashes=hashes)


def _named(text: str, body: str, marker: str, hashes: tuple[str, ...]) -> PipRequirement:
    if fault := variable_fault(body):
        raise _bad(text, *fault)
    match = _NAMED.fullmatch(body)
    if match is None:
        raise _bad(text, "it does not begin with a project's name")
    specifier = match[3]
    if not _COMMON.fullmatch(specifier):
        _check_with_packaging(text, specifier)
        specifier = specifier.strip().removeprefix("(").removesuffix(")").strip().rstrip(", ")
    return PipRequirement(canonical_name(match[1]), _extras(text, match[2]), "".join(specifier.split()),
                          marker=_marker(marker), hashes=hashes)  # fmt: skip


def _check_with_packaging(text: str, specifier: str) -> None:
    from packaging.requirements import InvalidRequirement, Requirement

    if not re.match(r"[(<>=!~]", specifier) or re.search(r"[0-9]{100}", specifier):
        raise _bad(text, f"`{specifier[:60]}` is not a version specifier")
    if re.search(r"===\s*(?:[,)]|$)", specifier):
        raise _bad(text, "no version follows `===`")
    try:
        Requirement(f"x {specifier}")
    except (InvalidRequirement, ValueError) as error:
        why = "versions are compared by `==`" if re.match(r"=[^=]", specifier) else str(error).splitlines()[0].lower()
        raise _bad(text, why) from None


def _check_wheel_name(text: str, target: str) -> None:
    file = target.partition("#")[0].partition("?")[0].rpartition("/")[2]
    if file.endswith(".whl") and "${" not in file and not is_wheel_name(file):
        raise _bad(text, "a wheel's file name is `name-version-python-abi-platform.whl`")


def _checked_hash(value: str) -> str:
    if not _HASH.fullmatch(value):
        raise InvalidInput(f"`{value[:140]}` is not a hash", hint="write `sha256:` and 64 lower-case hexadecimal digits",
                           code="bad_hash")  # fmt: skip
    return value


def _split_url(text: str) -> tuple[str, str]:
    body, *marker = re.split(r"(?<!\s)\s++;|;(?:\s+|$)", text, maxsplit=1)
    return body.strip(), marker[0] if marker else ""


def _marker(text: str) -> str:
    return normalised_marker(text) if text.strip() else ""


def _checked_url(text: str, url: str) -> str:
    if re.search(r"\s", url):
        raise _bad(text, "a URL holds no white space")
    scheme = url.partition(":")[0].lower()
    if scheme.partition("+")[0] in ("hg", "svn", "bzr"):
        raise InvalidInput(f"`{scheme}` is not supported: uv fetches source code from git only",
                           hint="use a git repository, an archive's URL or a copy beside the definition",
                           code="unsupported_vcs")  # fmt: skip
    if url.startswith("${"):
        return url
    if scheme not in ("http", "https", *_GIT):
        hint = (
            f"write `git+https{url[3:]}`"
            if scheme == "git"
            else f"write `git+{url}`"
            if scheme == "ssh"
            else f"known ones: http, https, {', '.join(_GIT)}"
        )
        raise _bad(text, f"`{scheme}` is not a scheme that pip fetches from", hint)
    if not re.match(r"[^:]+:///." if scheme == "git+file" else r"[^:]+://[^/?#\s]", url):
        raise _bad(text, "the URL has no host")
    if fault := address_fault(url):
        raise _bad(text, fault)
    _check_wheel_name(text, url)
    return url


def _egg(url: str) -> tuple[str | None, tuple[str, ...]]:
    match = _EGG.search(url)
    return (canonical_name(match[1]), _extras(url, match[2])) if match else (None, ())


def _extras(text: str, brackets: str | None) -> tuple[str, ...]:
    inside = (brackets or "")[1:-1].strip()
    names = [name.strip() for name in inside.split(",")] if inside else []
    if not all(re.fullmatch(_NAME, name) for name in names):
        raise _bad(text, f"`[{inside}]` is not a list of extras")
    return tuple(sorted({canonical_name(name) for name in names}))


def _bad(text: str, why: str, hint: str | None = None) -> InvalidInput:
    from wardian.definition.advice import pip_advice

    line = text.strip()
    return InvalidInput(f"`{line[:120]}` is not a requirement: {why}", hint=hint or pip_advice(line), code="bad_requirement")
