"""References: how people and files point at a version of an environment."""

from __future__ import annotations

import re
from dataclasses import dataclass

from wardian.errors import InvalidReference

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")
VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
LATEST = "latest"
SHORTEST_HASH = 6
# first words that make a reference to another kind of thing; neither environments nor models are registered under them
KINDS = ("run", "model", "endpoint", "azureml")
CURATED_PREFIX = "Wardian-"  # names that begin so are curated environments, in any mixture of upper and lower case

_HASH = re.compile(r"(?:sha256:)?([0-9a-f]{1,64})", re.IGNORECASE)
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_FILE_SUFFIXES = (".yml", ".yaml", ".toml", ".txt", ".in", ".py", ".lock", ".runconfig", ".json")
_AZURE = re.compile(r"(?:azureml:)?(?P<name>[\w.-]{1,255})(?::(?P<version>[\w.-]{1,64})|@(?P<label>[\w.-]{1,64}))?", re.ASCII)
_AZURE_REGISTRY = re.compile(
    r"azureml://registries/(?P<registry>[\w.-]{1,255})/environments/(?P<name>[\w.-]{1,255})"
    r"/(?:versions/(?P<version>[\w.-]{1,64})|labels/(?P<label>[\w.-]{1,64}))",
    re.ASCII,
)
_SHAPES = "NAME, NAME:VERSION, NAME@LABEL, @HASH, run:ID, model:NAME or endpoint:NAME"


@dataclass(frozen=True, slots=True)
class Reference:
    """One parsed reference. Exactly one of ``name``, ``hash_prefix``, ``run_id``, ``model`` and ``endpoint`` is given.

    Attributes:
        name: the environment.
        version, label: of ``name`` or ``model``; with neither: the latest. A label is never ``latest``: that is the name alone.
        hash_prefix: at least 6 lower-case hexadecimal digits of a definition_hash.
        run_id: the run whose environment is meant.
        model: the model whose environment is meant: what it was trained with.
        endpoint: the endpoint whose environment is meant: what it serves with.
    """

    name: str | None = None
    version: str | None = None
    label: str | None = None
    hash_prefix: str | None = None
    run_id: str | None = None
    model: str | None = None
    endpoint: str | None = None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Return the reference that ``text`` states.

        Raises:   InvalidReference: none of NAME, NAME:VERSION, NAME@LABEL, @HASH, run:ID, model:NAME, endpoint:NAME; the hint says what to write.
        """
        if text.startswith("@"):
            return cls(hash_prefix=_checked_hash(text, text[1:]))
        kind, colon, rest = text.partition(":")
        if colon and kind == "model":
            name, version, label = _named(text, rest)
            return cls(model=name, version=version, label=label)
        if colon and kind == "endpoint":
            return cls(endpoint=_checked_endpoint(text, rest))
        if colon and kind in KINDS:
            return cls(run_id=_checked_run(text, kind, rest))
        name, version, label = _named(text, text)
        return cls(name=name, version=version, label=label)

    @classmethod
    def parse_model(cls, text: str) -> Reference:
        """Return the reference to a model that ``text`` states: NAME, NAME:VERSION or NAME@LABEL, ``model:`` before it or not.

        Raises:   InvalidReference: none of these; the hint says what to write.
        """
        part = text.removeprefix("model:")
        name, version, label = _named(f"model:{part}", part)
        return cls(model=name, version=version, label=label)

    def __str__(self) -> str:
        if self.hash_prefix is not None:
            return f"@{self.hash_prefix}"
        if self.run_id is not None:
            return f"run:{self.run_id}"
        if self.endpoint is not None:
            return f"endpoint:{self.endpoint}"
        return (self.name or f"model:{self.model}") + (
            f":{self.version}" if self.version else f"@{self.label}" if self.label else ""
        )


def is_curated_name(name: str) -> bool:
    """Return whether nobody but the catalogue may use ``name`` for an environment."""
    return name.lower().startswith(CURATED_PREFIX.lower())


def is_file_reference(text: str) -> bool:
    """Return whether ``text`` means a file and not a registered environment: it holds a ``/``, or ends in a known suffix.

    Only the text decides; whether there is such a file does not matter.
    """
    if text.startswith("azureml:"):
        return False
    return "/" in text or "\\" in text or text in (".", "..") or text.lower().endswith(_FILE_SUFFIXES)


def file_hint(text: str) -> str:
    """Return what to do with a file where a reference is wanted."""
    return f"a file is given with -f: `wardian env create NAME -f {_cut(text)}` registers what it defines"


def azure_hint(text: str) -> str:
    """Return how an environment of Azure ML is brought here: ``text`` is a reference of Azure's, or a name."""
    found = _AZURE.fullmatch(text) or _AZURE_REGISTRY.fullmatch(text)
    parts = found.groupdict() if found else {}
    words = ["az ml environment show --name", parts.get("name") or "NAME"]
    words += ["--version", parts["version"]] if parts.get("version") else ["--label", parts.get("label") or "latest"]
    words += ["--registry-name", parts["registry"]] if parts.get("registry") else []
    return (f"`{' '.join(words)} -o yaml > azureml.yml` there, then `wardian env create NAME -f azureml.yml`; "
            "`wardian env list --kind curated` shows those that are here")  # fmt: skip


def check_version(text: str) -> str:
    """Return ``text`` if it can be a version.

    Raises:   InvalidReference: it cannot; ``latest`` is a label.
    """
    if text == LATEST:
        raise _bad(text, "`latest` is a label, not a version", "leave the version out, and the next number is taken")
    return _checked(text, text, "version")


def check_label(text: str) -> str:
    """Return ``text`` if it can be given to a version as a label.

    Raises:   InvalidReference: it cannot; ``latest`` is computed, nobody sets it.
    """
    if text == LATEST:
        raise _bad(text, "`latest` is computed: it is always the newest version", "choose another label")
    return _checked(text, text, "label")


def _named(text: str, part: str) -> tuple[str, str | None, str | None]:
    """Return name, version and label that ``part`` of the reference ``text`` states: NAME, NAME:VERSION or NAME@LABEL."""
    head = text[: len(text) - len(part)]
    name, separator, rest = _split(part)
    if not NAME.fullmatch(name):
        raise _bad(text, f"`{_cut(name)}` is not a name", (None if head else _guess(text)) or f"a reference is {_SHAPES}")
    if separator == ":":
        if rest == LATEST:
            raise _bad(text, "`latest` is a label, not a version", f"write `{head}{name}@latest`, or `{head}{name}` alone")
        return name, _checked(text, rest, "version"), None
    if separator == "@":
        label = _checked(text, rest, "label")
        return name, None, None if label == LATEST else label
    return name, None, None


def _split(text: str) -> tuple[str, str, str]:
    match = re.search(r"[:@]", text)
    return (text[: match.start()], match.group(), text[match.end() :]) if match else (text, "", "")


def _checked(text: str, part: str, what: str) -> str:
    if not VERSION.fullmatch(part):
        raise _bad(text, f"`{_cut(part)}` is not a {what}", "a letter or digit, then up to 63 letters, digits, `.`, `_` or `-`")
    return part


def _checked_hash(text: str, part: str) -> str:
    match = _HASH.fullmatch(part)
    if match is None:
        raise _bad(text, f"`{_cut(part)}` is not hexadecimal", "`@` alone is followed by a hash: `@3f2a91c0d1e2`")
    if len(match.group(1)) < SHORTEST_HASH:
        raise _bad(text, f"at least {SHORTEST_HASH} digits of a hash are needed", "give more of its digits")
    return match.group(1).lower()


def _checked_run(text: str, kind: str, rest: str) -> str:
    if kind == "azureml":
        raise _bad(text, "environments of Azure ML are not read from its service",
                   azure_hint(text))  # fmt: skip
    if not _ID.fullmatch(rest):
        raise _bad(text, f"`{_cut(rest)}` is not the id of a run", "see `wardian runs list`")
    return rest


def _checked_endpoint(text: str, rest: str) -> str:
    if not NAME.fullmatch(rest):
        raise _bad(text, f"`{_cut(rest)}` is not the name of an endpoint", "see `wardian endpoint list`")
    return rest


def _guess(text: str) -> str | None:
    if match := re.fullmatch(rf"({NAME.pattern})\s*={{1,2}}\s*({VERSION.pattern})", text):
        return f"write `{match.group(1)}:{match.group(2)}`"
    return file_hint(text) if is_file_reference(text) else None


def _cut(text: str) -> str:
    return text[:80]


def _bad(text: str, why: str, hint: str) -> InvalidReference:
    return InvalidReference(f"`{_cut(text)}` is not a reference: {why}", hint=hint)
