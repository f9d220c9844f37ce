"""conda's match specs: parsed, checked and normalised."""

from __future__ import annotations

import re
from dataclasses import dataclass

from wardian.definition.url_secret import SECRET_HINT, holds_conda_secret, holds_secret
from wardian.definition.values import clean_text, variable_fault
from wardian.errors import InvalidInput

LIMIT_CHARACTERS = 2000
_LIMIT_DEPTH = 10

_WORD = r"[0-9A-Za-z]+"
_DOTTED = rf"{_WORD}(?:(?:[._]{_WORD})*|(?:[.-]{_WORD})*)_?"  # conda mixes no `-` with `_`
_VERSION = rf"(?:\*(?:\.\*)?|(?:[0-9]+!)?{_DOTTED}(?:\+{_DOTTED})?(?:\.?\*)?)"
_CONSTRAINT = re.compile(rf"(>=|<=|==|!=|~=|>|<|=)?\s*({_VERSION})\s*", re.ASCII)
_NOTHING = re.compile(r"(!=|<|>)\*|\W+\*\.\*")  # no comparison with "any version"
_LONG_NUMBER = re.compile(r"[0-9]{19}")  # rattler keeps each number of a version in 64 bits
_BUILD = re.compile(r"(?!.*\*\*)[\w*][\w.+*!-]*|\^\S*\$", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_CHANNEL = re.compile(r"[a-z][a-z0-9+.-]*://\S+|[./]{0,2}[\w.*~${}+-]+(?:/[\w.*~${}+-]+)*|[A-Za-z]:[\\/]\S+")
_COMMENT = re.compile(r"\s+#")
_FILE = re.compile(r"([A-Za-z0-9_][A-Za-z0-9_.-]*)-([^-/]+)-([^-/]+)\.(?:conda|tar\.bz2)")
_PACKAGE_URL = re.compile(r"([a-z][a-z0-9+.-]*://[^\s#]+\.(?:conda|tar\.bz2))(#[0-9a-f]{32}|#sha256:[0-9a-f]{64})?(\[.*\])?")

_PAIR = re.compile(
    r"""\s*([A-Za-z_][A-Za-z0-9_]*)\s*=\s*("[^"]*"|'[^']*'|\[[^\[\]]*\]|[^,\[\]\s'"]+)\s*(,\s*(?=[^\s\]])|(?=\s|$))""", re.ASCII
)
_NUMBER = re.compile(r"(?:>=|<=|==|!=|>|<|=)?\s*[0-9]{1,18}")
_VALUES = {
    "md5": re.compile(r"[0-9a-f]{32}"),
    "sha256": re.compile(r"[0-9a-f]{64}"),
    "subdir": re.compile(r"[a-z0-9]+(-[a-z0-9_]+)?"),
    "channel": re.compile(r"\S+"),
    "url": re.compile(r"[a-z][a-z0-9+.-]*://\S+"),
    "fn": re.compile(r"\S+\.(?:conda|tar\.bz2)"),
    "license": re.compile(r".+"),
    "license_family": re.compile(r".+"),
    "track_features": re.compile(r".+"),
    "namespace": re.compile(r"[\w.-]+", re.ASCII),
    "when": re.compile(r".+"),
    "extras": re.compile(r"\[\s*[\w.-]+(?:\s*,\s*[\w.-]+)*\s*\]", re.ASCII),
    "flags": re.compile(r"\[\s*[^\s,\[\]]+(?:\s*,\s*[^\s,\[\]]+)*\s*\]"),
}
_KEYS = ("version", "build", "build_number", *_VALUES)
_ALIASES = {"build_string": "build"}


@dataclass(frozen=True, slots=True)
class MatchSpec:
    """One conda requirement, normalised: the name in lower case, no white space around operators; else as written.

    Attributes:
        name: the package's name, in lower case.
        version: the version part with its operators, ``""`` when none is asked for. ``1.26`` is that very version,
            ``=1.26`` is ``1.26.*``: the difference between ``numpy 1.26`` and ``numpy=1.26`` is kept.
        build: the build string, a glob (``py311*``) or ``^regular expression$``.
        channel: what stands before ``::``, with its subdir if one is given (``conda-forge/linux-64``).
        joint: what stands between version and build, ``=`` or a space; both mean the same.
        brackets: ``[key=value]`` pairs in the order in which they were written, values quoted as they were.
        url: the package file's own address, its digest behind ``#`` included.
    """

    name: str
    version: str = ""
    build: str = ""
    channel: str | None = None
    joint: str = "="
    brackets: tuple[tuple[str, str], ...] = ()
    url: str | None = None

    @classmethod
    def parse(cls, text: str) -> MatchSpec:
        """Return the match spec that ``text`` states, in any form that conda documents.

        ``parse(str(spec)) == spec`` for every result, and py-rattler reads ``text`` and ``str(spec)`` alike.

        Raises:   InvalidInput: codes ``bad_match_spec``, ``local_conda_package``, ``secret_in_definition``.
        Source:   conda's MatchSpec documentation; py-rattler's lenient parser is the yard stick
        """
        line = clean_text(text).strip()
        # before any message can show it; a comment may well name a topic of a forum, whose URLs have a `/t/`
        if holds_secret(line) or holds_conda_secret(_COMMENT.split(line, maxsplit=1)[0]):
            raise InvalidInput("the URL in a match spec holds a secret", hint=SECRET_HINT, code="secret_in_definition")
        if len(line) > LIMIT_CHARACTERS:
            raise _bad(text, f"it has {len(line):,} characters")
        if line.startswith("#"):
            raise _bad(text, "it is a comment")
        if match := _PACKAGE_URL.fullmatch(_COMMENT.split(line, maxsplit=1)[0]):
            return cls._of_url(text, *match.groups())
        line = line.partition("#")[0].rstrip() if "[" not in line else _COMMENT.split(line, maxsplit=1)[0]
        if line.endswith((".conda", ".tar.bz2")):
            raise InvalidInput(
                f"`{line[:120]}` is neither a package's name nor the URL of its file",
                hint="conda packages come from a channel: `channel::name`, or the file's https:// or file:// URL", code="local_conda_package",
            )  # fmt: skip
        body, brackets = _split_brackets(text, line)
        channel, separator, body = body.rpartition("::")
        if fault := variable_fault(body):
            raise _bad(text, *fault)
        found = _NAME.match(body := body.strip())
        if found is None:
            raise _bad(text, "the name of a package is missing" if not body else f"no package's name begins with `{body[0]}`")
        name, rest = found.group(), body[found.end() :]
        if rest and rest[0] not in " \t\n=<>!~":
            raise _bad(text, f"`{rest[0]}` cannot follow the name")
        version, joint, build = _version_and_build(text, rest)
        return cls(name.lower(), version, build, _checked_channel(text, channel) if separator else None, joint, brackets)

    @classmethod
    def _of_url(cls, text: str, url: str, digest: str | None, brackets: str | None) -> MatchSpec:
        parts = _FILE.fullmatch(url.rpartition("/")[2])
        if parts is None:
            raise _bad(text, "the file's name is not `name-version-build.conda`")
        pairs = _parsed_brackets(text, brackets[1:-1]) if brackets else ()
        return cls(parts.group(1).lower(), url=url + (digest or ""), brackets=pairs)

    @property
    def rest(self) -> str:
        """All that follows the name."""
        gap = " " if self.version and self.version[0] not in "=<>!~" else ""
        build = f"{self.joint}{self.build}" if self.build else ""
        pairs = ",".join(f"{key}={value}" for key, value in self.brackets)
        return gap + self.version + build + (f"[{pairs}]" if pairs else "")

    def bracket(self, key: str) -> str | None:
        """Return the value of ``key`` in the brackets, without quotes; None if it is not there."""
        return next((_unquoted(value) for name, value in self.brackets if name == key), None)

    def __str__(self) -> str:
        if self.url is not None:
            return self.url + self.rest
        return (f"{self.channel}::" if self.channel else "") + self.name + self.rest


def _version_and_build(text: str, rest: str) -> tuple[str, str, str]:
    rest = rest.strip()
    if not rest:
        return "", "=", ""
    version, end = _version_spec(text, rest)
    tail = rest[end:]
    if not tail:
        return version, "=", ""
    joint = "=" if tail.startswith("=") else " "
    build = tail.removeprefix("=").strip()
    if joint == " " and not rest[end - 1].isspace() and rest[end - 1] != ")":
        raise _bad(text, f"`{tail}` cannot follow `{version}`")
    if not _BUILD.fullmatch(build):
        raise _bad(text, f"`{build}` is not a build string" if build else "the build string is missing")
    return version, joint, build


def _version_spec(text: str, rest: str) -> tuple[str, int]:
    """Return the version constraints at the start of ``rest`` without white space, and where they end."""
    parts: list[str] = []
    depth = at = 0
    while True:
        while rest.startswith("(", at):
            parts.append("(")
            depth += 1
            if depth > _LIMIT_DEPTH:
                raise _bad(text, f"its brackets are nested more than {_LIMIT_DEPTH} deep")
            at = _skip_space(rest, at + 1)
        match = _CONSTRAINT.match(rest, at)
        if match is None:
            raise _bad(text, f"`{rest[at:]}` is not a version" if rest[at:] else "a version is missing at its end")
        operator, version = match.groups()
        if _LONG_NUMBER.search(version) or _NOTHING.fullmatch(f"{operator or ''}{version}"):
            raise _bad(text, f"`{operator or ''}{version}` is not a version")
        parts.append(f"{operator or ''}{version}")
        at = match.end()
        while depth and rest.startswith(")", at):
            parts.append(")")
            depth -= 1
            at = _skip_space(rest, at + 1)
        if not rest.startswith((",", "|"), at):
            break
        parts.append(rest[at])
        at = _skip_space(rest, at + 1)
    if depth:
        raise _bad(text, "a closing bracket is missing")
    return "".join(parts), at


def _skip_space(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def _split_brackets(text: str, line: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    if not line.endswith("]"):
        return line, ()
    # the channel may hold an IPv6 address in brackets: look behind it
    channel = re.match(r"[a-z][a-z0-9+.-]*://\[[0-9a-f:.]+\][^\[]*::", line)
    start = line.find("[", channel.end() if channel else 0)
    if start < 0:
        raise _bad(text, "an opening bracket is missing")
    return line[:start].rstrip(), _parsed_brackets(text, line[start + 1 : -1])


def _parsed_brackets(text: str, inside: str) -> tuple[tuple[str, str], ...]:
    pairs: dict[str, str] = {}
    at, end = 0, len(inside.rstrip())
    while at < end:
        match = _PAIR.match(inside, at)
        if match is None:
            raise _bad(text, f"`{inside[at:].strip()}` is not `key=value`")
        key, value = _ALIASES.get(match.group(1), match.group(1)), match.group(2)
        if key not in _KEYS:
            raise _bad(text, f"`{key}` is no key of a match spec", hint=f"known ones: {', '.join(_KEYS)}")
        if key in pairs:
            raise _bad(text, f"`{key}` is there twice")
        pairs[key] = _checked_value(text, key, value)
        at = match.end()
    return tuple(pairs.items())


def _checked_value(text: str, key: str, value: str) -> str:
    """Return ``value``, quoted as it was, without needless white space."""
    quote = value[0] if value[0] in "\"'" else ""
    plain = _unquoted(value).strip()
    if key == "version":
        version, end = _version_spec(text, plain)
        if end != len(plain):
            raise _bad(text, f"`{plain}` is not a version")
        plain = version
    elif key == "build":
        if not _BUILD.fullmatch(plain):
            raise _bad(text, f"`{plain}` is not a build string")
    elif key == "build_number":
        if not _NUMBER.fullmatch(plain):
            raise _bad(text, f"`{plain}` is not a build number")
        plain = "".join(plain.split())
    elif not _VALUES[key].fullmatch(plain):
        raise _bad(text, f"`{plain}` is not a value for `{key}`")
    elif key in ("extras", "flags"):
        plain = "".join(plain.split())
    elif key in ("channel", "url"):
        _checked_channel(text, plain)
    return f"{quote}{plain}{quote}"


def _unquoted(value: str) -> str:
    return value[1:-1] if value[:1] in ("'", '"') else value


def _checked_channel(text: str, channel: str) -> str | None:
    channel = channel.strip().rstrip("/")
    if not channel:
        return None
    if not _CHANNEL.fullmatch(channel) or channel.endswith(":"):
        raise _bad(text, f"`{channel}` is not a channel")
    return channel


def _bad(text: str, why: str, hint: str | None = None) -> InvalidInput:
    line = " ".join(text.split())
    return InvalidInput(
        f"`{line[:120]}` is not a conda match spec: {why}", hint=hint or _advice(line), code="bad_match_spec"
    )  # fmt: skip


def _advice(line: str) -> str:
    """Return the step that most probably mends ``line``."""
    from wardian.definition.advice import template_hint

    bare = re.sub(r"\s*#.*", "", line)
    if template := template_hint(bare):
        return template
    if re.match(r"[<>=!~]", bare):
        return 'in a list in brackets, put a spec that holds a comma in quotes: `["numpy>=1.26,<2"]`'
    if re.search(r"(?<![:\w])[a-z]+\+[a-z]+://|\s@\s|;|^-", bare) or re.match(r"[\w.-]+\[[\w,\s.-]+\]", bare):
        return "pip's requirements (extras, markers, URLs, options) belong under `pip:`"
    if re.search(r"[=<>~]=?[\w.*]+\s+[<>!~=]", bare):
        return "put a comma between version constraints: `>=1.26,<2`"
    if wrong := re.search(r"===|=>|=<|~(?!=)|(?<!\[build=)\^|@", bare):
        right = {"===": "==", "=>": ">=", "=<": "<=", "~": "~=", "^": "~=", "@": "=="}[wrong.group()]
        return f"conda writes `{right}` where this has `{wrong.group()}`"
    if "://" in bare and "::" not in bare:
        return "the URL of a package's file ends in `.conda` or `.tar.bz2`; a channel's URL is followed by `::name`"
    if re.fullmatch(r"[\w-]+:[\w.-]+.*", bare):
        return "a channel is followed by two colons: `conda-forge::numpy`"
    if "*" in bare:
        return "names are written in full; a version may end in `.*`, a build string may hold `*`"
    return "for example `numpy`, `numpy>=1.26,<2`, `numpy=1.26=py312*`, `conda-forge::numpy` or `numpy[build=py312*]`"
