"""pip's requirement lines and options: checked and normalised."""

from __future__ import annotations

import re
from dataclasses import dataclass

from wardian.definition.values import clean_text
from wardian.errors import InvalidInput

_NAMED = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?P<extras>\[[^\]]*\])?\s*(?P<rest>.*)", re.DOTALL
)
_ARCHIVE = re.compile(r"\.(whl|tar\.gz|tgz|tar\.bz2|tar\.xz|zip)$", re.IGNORECASE)
_SCHEME = re.compile(r"(?:git|hg|svn|bzr)\+|[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_CREDENTIALS = re.compile(r"://(?![^/@]*\$\{)[^/@\s]*:[^/@\s]+@|://(?!git@)(?![^/@]*\$\{)[^/@\s:]{20,}@")
SECRET_HINT = "leave the secret out: use a ${VARIABLE} in its place, netrc, or `wardian secret set`"


@dataclass(frozen=True, slots=True)
class PipRequirement:
    """One requirement as pip reads it, normalised: PEP 503 name, no white space around operators, else as written.

    Exactly one of three: a name with versions (``name``), a URL (``url``, with or without a name), a local path
    (``path``, relative, POSIX separators).
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

        Raises:   InvalidInput: codes ``bad_requirement``, ``absolute_path``, ``secret_in_definition``.
        Source:   PEP 508, PEP 503, pip's requirements file format
        """
        line = clean_text(text).strip()
        if not line or "\n" in line or "\0" in line:
            raise _bad(text, "it is empty or has several lines")
        line, *hash_parts = re.split(r"\s+--hash[=\s]\s*", line)
        hashes = tuple(part.strip() for part in hash_parts)
        for value in hashes:
            if not re.fullmatch(r"(sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128})", value):
                raise _bad(text, f"`{value}` is not `sha256:<hex>`, `sha384:<hex>` or `sha512:<hex>`")
        line = re.sub(r"^(-e|--editable)(\s+|=)", "", line).strip()
        if line.startswith("-"):
            raise _bad(text, "this is an option, not a requirement")
        if _looks_like_path(line):
            return cls._local(text, line, hashes)
        if _SCHEME.match(line):
            url, marker = _split_marker(line)
            return cls(name=_egg_name(url), url=_checked_url(text, url), marker=_checked_marker(text, marker), hashes=hashes)
        return cls._named(text, line, hashes)

    @classmethod
    def _local(cls, text: str, line: str, hashes: tuple[str, ...]) -> PipRequirement:
        path, marker = _split_marker(line.removeprefix("file:")) if line.startswith("file:") else _split_marker(line)
        extras: tuple[str, ...] = ()
        if match := re.search(r"\[([^\]/]*)\]$", path):
            path, extras = path[: match.start()], _extras(text, match.group(1))
        path = path.replace("\\", "/")
        if path.startswith(("/", "~")) or re.match(r"[A-Za-z]:/", path):
            raise InvalidInput(
                f"`{path}` is an absolute path: nobody else has it", hint="put the code beside the definition and write `./…`",
                code="absolute_path",
            )  # fmt: skip
        return cls(name=None, path=_tidy_path(path), extras=extras, marker=_checked_marker(text, marker), hashes=hashes)

    @classmethod
    def _named(cls, text: str, line: str, hashes: tuple[str, ...]) -> PipRequirement:
        from packaging.requirements import InvalidRequirement, Requirement

        try:
            parsed = Requirement(line)
        except InvalidRequirement as error:
            raise _bad(text, str(error).splitlines()[0]) from None
        match = _NAMED.match(line)
        if match is None:  # pragma: no cover - packaging accepted it
            raise _bad(text, "it has no name")
        rest, marker = _split_marker(match.group("rest"))
        url = None
        specifier = ""
        if parsed.url is not None:
            url = rest.lstrip("@").strip()
            if _looks_like_path(url) or url.startswith("file:"):
                local = cls._local(text, url, hashes)
                return cls(name=canonical_name(parsed.name), extras=_sorted(parsed.extras), path=local.path,
                           marker=_checked_marker(text, marker), hashes=hashes)  # fmt: skip
            url = _checked_url(text, url)
        else:
            specifier = "".join(rest.split()).removeprefix("(").removesuffix(")").strip(",")
        return cls(canonical_name(parsed.name), _sorted(parsed.extras), specifier, url, None, _checked_marker(text, marker), hashes)

    def __str__(self) -> str:
        extras = f"[{','.join(self.extras)}]" if self.extras else ""
        if self.path is not None:
            body = f"{self.name}{extras} @ {self.path}" if self.name else f"{self.path}{extras}"
        elif self.url is not None:
            body = f"{self.name}{extras} @ {self.url}" if self.name and "#egg=" not in self.url else self.url
        else:
            body = f"{self.name}{extras}{self.specifier}"
        gap = " " if self.url is not None else ""
        marker = f"{gap}; {self.marker}" if self.marker else ""
        return body + marker + "".join(f" --hash={value}" for value in self.hashes)


@dataclass(frozen=True, slots=True)
class PipOption:
    """One option line of a requirements file, in its long form: ``--index-url URL``."""

    name: str
    value: str | None = None

    @classmethod
    def parse(cls, text: str) -> PipOption:
        """Return the option that ``text`` states, short forms made long.

        Raises:   InvalidInput: codes ``unknown_pip_option``, ``bad_pip_option``, ``secret_in_definition``.
        """
        line = clean_text(text).strip()
        match = re.fullmatch(r"(--?[A-Za-z][\w-]*)(?:\s*=\s*|\s+)?(.*)", line, re.DOTALL)
        if match is None:
            raise InvalidInput(f"`{text[:80]}` is not a pip option", code="bad_pip_option")
        name = SHORT_OPTIONS.get(match.group(1), match.group(1))
        value = match.group(2).strip().strip("\"'") or None
        if name not in PIP_OPTIONS:
            raise InvalidInput(f"pip knows no option `{match.group(1)}` in a requirements file",
                               hint=f"known ones: {', '.join(sorted(PIP_OPTIONS))}", code="unknown_pip_option")  # fmt: skip
        if PIP_OPTIONS[name] and value is None:
            raise InvalidInput(f"`{name}` needs a value", code="bad_pip_option")
        if not PIP_OPTIONS[name] and value is not None:
            raise InvalidInput(f"`{name}` takes no value, got `{value}`", code="bad_pip_option")
        if value and _CREDENTIALS.search(value):
            raise InvalidInput(f"the URL of `{name}` holds a secret", hint=SECRET_HINT, code="secret_in_definition")
        return cls(name, value)

    def __str__(self) -> str:
        return self.name if self.value is None else f"{self.name} {self.value}"


SHORT_OPTIONS = {"-i": "--index-url", "-f": "--find-links", "-r": "--requirement", "-c": "--constraint", "-e": "--editable",
                 "--pypi-url": "--index-url"}  # fmt: skip
# option → whether it takes a value. What Wardian makes of each: docs/reference/pip-options.md
PIP_OPTIONS: dict[str, bool] = {
    "--index-url": True,
    "--extra-index-url": True,
    "--find-links": True,
    "--no-index": False,
    "--no-binary": True,
    "--only-binary": True,
    "--prefer-binary": False,
    "--pre": False,
    "--require-hashes": False,
    "--trusted-host": True,
    "--use-feature": True,
}


def canonical_name(name: str) -> str:
    """Return a PyPI project's name as PEP 503 normalises it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _bad(text: str, why: str) -> InvalidInput:
    return InvalidInput(
        f"`{text.strip()[:120]}` is not a requirement: {why}", hint="for example `numpy>=1.26,<2`, `./package` or `name @ https://…`",
        code="bad_requirement",
    )  # fmt: skip


def _sorted(extras: set[str]) -> tuple[str, ...]:
    return tuple(sorted(canonical_name(extra) for extra in extras))


def _extras(text: str, inside: str) -> tuple[str, ...]:
    names = [part.strip() for part in inside.split(",") if part.strip()]
    if not all(re.fullmatch(r"[A-Za-z0-9][\w.-]*", name) for name in names):
        raise _bad(text, f"`[{inside}]` is not a list of extras")
    return _sorted(set(names))


def _split_marker(text: str) -> tuple[str, str]:
    body, separator, marker = text.partition(" ;")
    if not separator and not _SCHEME.search(text):
        body, separator, marker = text.partition(";")
    return body.strip(), marker.strip()


def _checked_marker(text: str, marker: str) -> str:
    if not marker:
        return ""
    from packaging.markers import InvalidMarker, Marker

    try:
        return str(Marker(marker))
    except InvalidMarker as error:
        raise _bad(text, str(error).splitlines()[0]) from None


def _checked_url(text: str, url: str) -> str:
    if any(c.isspace() for c in url):
        raise _bad(text, "a URL holds no white space")
    if _CREDENTIALS.search(url):
        raise InvalidInput("the requirement's URL holds a secret", hint=SECRET_HINT, code="secret_in_definition")
    return url


def _egg_name(url: str) -> str | None:
    match = re.search(r"#(?:.*&)?egg=([A-Za-z0-9._-]+)", url)
    return canonical_name(match.group(1)) if match else None


def _looks_like_path(text: str) -> bool:
    if _SCHEME.match(text) and not text.startswith("file:"):
        return False
    body = re.split(r"\s*;|\s@\s", text, maxsplit=1)[0]
    if " @" in text and not text.startswith((".", "/")):
        return False
    return body.startswith((".", "/", "~", "file:")) or "\\" in body or bool(re.match(r"[A-Za-z]:[\\/]", body)) or (
        bool(_ARCHIVE.search(re.sub(r"\[[^\]]*\]$", "", body))) and not re.search(r"[<>=!~]=?", body)) or (
        "/" in body and "@" not in body and not re.search(r"[<>=!~\s]", body))  # fmt: skip


def _tidy_path(path: str) -> str:
    parts: list[str] = []
    for part in path.split("/"):
        if part == ".." and parts and parts[-1] != "..":
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    tidy = "/".join(parts)
    return tidy if tidy.startswith("..") else f"./{tidy}" if tidy else "."
