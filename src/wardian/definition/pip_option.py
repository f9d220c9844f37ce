"""Options of pip's requirements files: found among the words of a line, checked, written in their long form."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from wardian.definition.address import address_fault
from wardian.definition.local_path import tidy_path
from wardian.definition.project_name import PROJECT_NAME, canonical_name
from wardian.definition.url_secret import SECRET_HINT, holds_secret
from wardian.definition.values import clean_text
from wardian.errors import InvalidInput

# Option → whether it takes a value. What Wardian makes of each: docs/reference/pip-options.md
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
# What lines of a file may hold beside these: they name other files, belong to one requirement, or are refused
LINE_OPTIONS: dict[str, bool] = {
    **PIP_OPTIONS,
    "--requirement": True,
    "--constraint": True,
    "--editable": True,
    "--hash": True,
    "--config-settings": True,
    "--global-option": True,
    "--install-option": True,
    "--no-require-hashes": False,
    "--all-releases": True,
    "--only-final": True,
}
_ALIASES = {"--pypi-url": "--index-url"}
_SHORT = {
    "-i": "--index-url",
    "-f": "--find-links",
    "-r": "--requirement",
    "-c": "--constraint",
    "-e": "--editable",
    "-C": "--config-settings",
}
_REFUSED = {
    "--config-settings": "build settings of one requirement are not part of a definition: set them in its pyproject.toml",
    "--global-option": "pip itself no longer knows it: use the package's pyproject.toml",
    "--install-option": "pip itself no longer knows it: use the package's pyproject.toml",
    "--no-require-hashes": "leave `--require-hashes` out instead",
    "--all-releases": "use `--pre`, or ask for the pre-release by its version",
    "--only-final": "leave it out: pre-releases are taken only where nothing else fits, unless `--pre` is given",
}
_OF_THE_COMMAND = frozenset({
    "--upgrade", "-U", "--upgrade-strategy", "--user", "--target", "-t", "--no-deps", "--no-cache-dir", "--ignore-installed", "-I",
    "--force-reinstall", "--quiet", "-q", "--verbose", "-v", "--no-input", "--yes", "-y", "--timeout", "--retries", "--prefix", "--root", "--src",
    "--no-build-isolation", "--disable-pip-version-check", "--break-system-packages", "--cert", "--client-cert", "--proxy", "--exists-action", "-n",
})  # fmt: skip
_GONE = frozenset({
    "--process-dependency-links", "--allow-external", "--allow-all-external", "--allow-unverified", "--use-wheel", "--no-use-wheel", "--use-mirrors",
    "--mirrors", "--always-unzip", "-Z", "--no-allow-external", "--no-allow-insecure", "--allow-insecure", "--egg",
})  # fmt: skip
_ALIAS = re.compile(r"[A-Za-z0-9][\w.-]*")
_URL = re.compile(r"(?:https?|file)://\S|\$\{", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class PipOption:
    """One option of a requirements file, in its long form: ``--index-url URL``. ``parse(str(option)) == option``."""

    name: str
    value: str | None = None

    @classmethod
    def parse(cls, text: str) -> PipOption:
        """Return the one option that ``text`` states; short forms and unique abbreviations are made long, quotes removed.

        Raises:   InvalidInput: codes ``unknown_pip_option``, ``bad_pip_option``, ``unsupported_pip_option``,
                  ``secret_in_definition``.
        """
        if holds_secret(text):  # before any message can show it
            raise InvalidInput("a URL among the pip options holds a secret", hint=SECRET_HINT, code="secret_in_definition")
        options, others = split_options(split_words(clean_text(text).strip()))
        if len(options) != 1 or others:
            raise _bad(f"`{text[:80]}` is not one pip option")
        return cls.checked(*options[0])

    @classmethod
    def checked(cls, name: str, value: str | None) -> PipOption:
        """Return the option ``name`` (long form) with ``value``, both checked.

        Raises:   InvalidInput: as ``parse``.
        """
        if name not in PIP_OPTIONS:
            if name in _REFUSED:
                raise InvalidInput(f"pip's `{name}` is not supported", hint=_REFUSED[name], code="unsupported_pip_option")
            raise _bad(f"`{name}` stands on a line of a requirements file, not in a list of options")
        return cls(name, None if value is None else _checked_value(name, clean_text(value)))

    def __str__(self) -> str:
        if self.value is None:
            return self.name
        return f"{self.name} {shlex.quote(self.value) if re.search(_QUOTED, self.value) else self.value}"


_QUOTED = r"[\s'\"\\]"


def split_words(text: str) -> list[str]:
    """Return the words of an option line, quotes and backslashes read as a shell does.

    Raises:   InvalidInput: code ``bad_pip_option``: a quote is not closed.
    """
    if not re.search(r"['\"\\]", text):
        return text.split()
    try:
        return shlex.split(text)
    except ValueError as error:
        raise _bad(f"`{text[:80]}`: {str(error).lower()}") from None


def split_options(words: list[str]) -> tuple[list[tuple[str, str | None]], list[str]]:
    """Return the options among ``words`` as (long name, value), in order, and the words that are no part of one.

    Raises:   InvalidInput: codes ``unknown_pip_option``, ``bad_pip_option``.
    Source:   optparse, which pip reads its files with: unique abbreviations are accepted, `--` ends the options
    """
    options: list[tuple[str, str | None]] = []
    others: list[str] = []
    queue = list(reversed(words))
    while queue:
        word = queue.pop()
        if word == "--":
            others += reversed(queue)
            break
        if not word.startswith("-") or word == "-":
            others.append(word)
            continue
        if word.startswith("--"):
            given, equals, value = word.partition("=")
            name = _long_name(given)
            attached = value if equals else None
        else:
            name, attached = _short_name(word[:2]), word[2:] or None
        if not LINE_OPTIONS[name]:
            if attached is not None:
                raise _bad(f"`{name}` takes no value, got `{attached[:80]}`")
            options.append((name, None))
            continue
        if attached is None:
            if not queue:
                raise _bad(f"`{name}` needs a value")
            attached = queue.pop()
        options.append((name, attached))
    return options, others


def _long_name(given: str) -> str:
    if given in LINE_OPTIONS:
        return given
    names = (*LINE_OPTIONS, *_ALIASES) if given != "--" else ()
    candidates = {_ALIASES.get(name, name) for name in names if name.startswith(given)}
    if len(candidates) != 1:
        raise _unknown(given, candidates)
    return candidates.pop()


def _short_name(given: str) -> str:
    if given not in _SHORT:
        raise _unknown(given, set())
    return _SHORT[given]


def _checked_value(name: str, value: str) -> str:
    if not value.strip():
        raise _bad(f"`{name}` needs a value")
    if not value.isprintable() or re.search(r"\s#", value):
        raise _bad(f"`{name}` has a value that cannot be written in a file: {value[:80]!r}")
    if holds_secret(value):
        raise InvalidInput(f"the URL of `{name}` holds a secret", hint=SECRET_HINT, code="secret_in_definition")
    if name in ("--index-url", "--extra-index-url", "--find-links") and (fault := address_fault(value)):
        raise _bad(f"`{value[:120]}` is not a URL: {fault}")
    if name in ("--index-url", "--extra-index-url"):
        if not (_URL.match(value) or _ALIAS.fullmatch(value)) or re.search(r"\s", value):
            raise _bad(f"`{value[:120]}` is not an index", "an index is an `https://` URL or an alias from your settings")
    elif name in ("--no-binary", "--only-binary"):
        names = [item.strip() for item in value.split(",")]
        if not all(item in (":all:", ":none:") or re.fullmatch(PROJECT_NAME, item) for item in names):
            raise _bad(f"`{value[:120]}` is not `:all:`, `:none:` or names with commas between")
        return ",".join(item if item.startswith(":") else canonical_name(item) for item in names)
    elif name == "--trusted-host" and not re.fullmatch(
        r"[A-Za-z0-9_.*-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:]+\](:[0-9]{1,5})?", value
    ):
        raise _bad(f"`{value[:120]}` is not a host or host:port")
    elif name == "--find-links" and not re.match(r"[A-Za-z][A-Za-z0-9+.-]+:|/|~|\$\{", value):
        return tidy_path(value)
    return value


def _unknown(given: str, candidates: set[str]) -> InvalidInput:
    if given in _OF_THE_COMMAND:
        return _not_in_a_file(given, "it belongs to pip's command line: leave it out")
    if given in _GONE:
        return _not_in_a_file(given, "pip itself no longer knows it: leave it out")
    known = sorted(candidates or LINE_OPTIONS.keys() - _REFUSED.keys())
    what = "is more than one option" if candidates else "is no option of a requirements file"
    return InvalidInput(f"`{given[:80]}` {what}", hint=f"known ones: {', '.join(known)}", code="unknown_pip_option")


def _not_in_a_file(given: str, hint: str) -> InvalidInput:
    return InvalidInput(f"`{given}` is no option of a requirements file", hint=hint, code="unknown_pip_option")


def _bad(message: str, hint: str | None = None) -> InvalidInput:
    return InvalidInput(message, hint=hint, code="bad_pip_option")
