"""What the readers of Azure ML's formats share: a conda part without secrets, and the text that a version keeps."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from wardian.definition.docker_section import without_login
from wardian.definition.environment import Environment
from wardian.definition.secret_text import looks_secret
from wardian.definition.url_secret import holds_conda_secret, holds_secret
from wardian.errors import InvalidInput
from wardian.formats import wardian_yaml
from wardian.formats.conda_yaml import CondaPart, read_part
from wardian.formats.faults import Faults
from wardian.formats.ledger import Ledger
from wardian.formats.source_text import read_source
from wardian.formats.yaml_text import YamlMapping, YamlScalar, YamlSequence, compose

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from wardian.definition.environment import LocalSource
    from wardian.digest import Digest
    from wardian.formats.ledger import Loss
    from wardian.formats.yaml_text import YamlNode

NO_CONDA = CondaPart(Environment(), None, {}, alone=True)
DEFAULT_IMAGE = "mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04"  # what Azure ML takes where none is given
WHY_SECRET = "its value looks like a secret, and a definition holds none"  # noqa: S105 - a sentence, not a secret
LOGIN_HINT = "`wardian secret set NAME`, and `docker: {credentials: NAME}` in Wardian's own YAML"
PROJECT = "project_environment"  # what the SDK calls every conda file
ANONYMOUS = "CliV2AnonymousEnvironment"  # what Azure ML calls an environment that was given no name

_USER = re.compile(r"://[^/?#\s]*@")
_CONDA_TOKEN = re.compile(r"/t/(?!\$\{)[^/\s]+")
_QUERY = re.compile(r"\?[^#\s]*")
_SECRET_HINT = "`wardian secret set NAME --url URL` keeps the login of a server"  # noqa: S105 - a hint, not a secret


@dataclass(frozen=True, slots=True)
class Written:
    """A definition in a format of others, with what that format cannot say.

    Attributes:
        text: the whole as one text.
        files, trees: what lies beside the text (of a directory: in it): relative path → text, → digest of a kept tree.
        is_directory: whether ``files`` in a directory are the usual form, and ``text`` the one for a pipe.
    """

    text: str
    losses: tuple[Loss, ...] = ()
    files: Mapping[str, str] | None = None
    trees: Mapping[str, Digest] | None = None
    is_directory: bool = False


class AzurePart:
    """Reads what stands in an Azure ML definition as a conda file, at its place or in a file beside.

    Secrets in URLs are taken out before anything reads them. Faults of another file keep their own place.
    """

    def __init__(self, faults: Faults, ledger: Ledger, base: Path | None, local: Sequence[LocalSource]) -> None:
        self._faults, self._ledger, self._base, self._local = faults, ledger, base, local

    def inline(self, node: YamlMapping, path: str, *, text: str = "") -> CondaPart:
        """Return what the mapping ``node`` at ``path`` states; ``text`` may hold a constraints block."""
        clean = self._without_secrets(node, path, self._ledger)
        return self._read(clean, path, text, self._faults, self._ledger, self._base)

    def quoted(self, node: YamlScalar, path: str) -> CondaPart:
        """Return what the conda file states that is the text of ``node``, as Azure ML's service hands it out."""
        above = node.line if node.style in ("|", ">") else node.line - 1
        root = compose("\n" * above + node.value, self._faults)  # so that lines are those of the file
        if not isinstance(root, YamlMapping):
            return self._no_mapping(root, self._faults, node.line, path)
        return self.inline(root, path)

    def file(self, path: str, place: Path, name: str) -> CondaPart:
        """Return what the conda file at ``place`` states. ``path``: what points at it.  name: for people.

        Raises:   NotFound, Unavailable, InvalidDefinition: it cannot be read.
        """
        text = read_source(place, file=name)
        faults, ledger = Faults(name), Ledger(name)
        root = compose(text, faults)
        part = NO_CONDA
        if isinstance(root, YamlMapping):
            clean = self._without_secrets(root, "", ledger)
            part = self._read(clean, "", text, faults, ledger, place.parent)
        else:
            self._no_mapping(root, faults, 1, path)
        for fault in faults.warnings:
            self._faults.warn(fault.code, fault.message, line=fault.line, field=fault.field, hint=fault.hint, file=fault.file)
        self._ledger.take(ledger.losses)
        faults.raise_if_any()
        return replace(part, alone=False)

    def _read(self, root: YamlMapping, path: str, text: str, faults: Faults, ledger: Ledger, base: Path | None) -> CondaPart:
        part = read_part(root, text=text, path=path, faults=faults, ledger=ledger, base=base, local=self._local)
        if part.name not in (None, PROJECT):
            name = root.find("name")
            ledger.note("dropped", f"{path}.name".removeprefix("."), "the environment has a name of its own", value=part.name or "",
                        line=name.line if name else None)  # fmt: skip
        return part

    def _no_mapping(self, root: YamlNode | None, faults: Faults, line: int, path: str) -> CondaPart:
        if root is not None or not faults:
            faults.add("wrong_type", "a conda file is a mapping with `dependencies`", line=line, field=path,
                       hint="a requirements file is named in one: `- pip: [-r requirements.txt]`")  # fmt: skip
        return NO_CONDA

    def _without_secrets(self, node: YamlMapping, path: str, ledger: Ledger) -> YamlMapping:
        kept = []
        for key, value in node.entries:
            if key.value == "variables" and isinstance(value, YamlMapping):
                value = _without_secret_variables(value, f"{path}.variables".removeprefix("."), ledger)  # noqa: PLW2901
            kept.append((key, value))
        cleaned = _Cleaner(ledger).clean(replace(node, entries=tuple(kept)), path)
        assert isinstance(cleaned, YamlMapping)  # noqa: S101 - a mapping stays one
        return cleaned


def _without_secret_variables(node: YamlMapping, path: str, ledger: Ledger) -> YamlMapping:
    kept = []
    for key, value in node.entries:
        if isinstance(value, YamlScalar) and looks_secret(key.value, value.value):
            ledger.note("stripped", f"{path}.{key.value}", WHY_SECRET, hint=f"pass it on when something runs: `-V {key.value}`",
                        line=key.line)  # fmt: skip
        else:
            kept.append((key, value))
    return replace(node, entries=tuple(kept))


class _Cleaner:
    """Takes secrets out of the URLs of a node, and notes each."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def clean(self, node: YamlNode, path: str) -> YamlNode:
        match node:
            case YamlScalar():
                return self._scalar(node, path)
            case YamlSequence():
                return replace(node, items=tuple(self.clean(item, f"{path}[{i}]") for i, item in enumerate(node.items)))
            case YamlMapping():
                entries = tuple(
                    (key, self.clean(value, f"{path}.{key.value}".removeprefix("."))) for key, value in node.entries
                )
                return replace(node, entries=entries)

    def _scalar(self, node: YamlScalar, path: str) -> YamlScalar:
        if "://" not in node.value or not holds_conda_secret(node.value):
            return node
        text = without_secrets(node.value)
        if holds_secret(text):
            return node  # the reader refuses it
        self._ledger.note("stripped", path, "the URL holds a secret, and a definition holds none", hint=_SECRET_HINT,
                          line=node.line)  # fmt: skip
        return replace(node, value=text)


def without_secrets(text: str) -> str:
    """Return ``text`` with its URLs without login, conda token and query."""
    return _QUERY.sub("", _CONDA_TOKEN.sub("", _USER.sub("://", text)))


def image_without_login(image: str, ledger: Ledger, path: str, line: int | None) -> str:
    """Return ``image`` without the login that stands before its registry, which is noted."""
    bare = without_login(image)
    if bare != image:
        ledger.note("stripped", path, "a definition holds no login of a registry", hint=LOGIN_HINT, line=line)
    return bare


def kept_text(environment: Environment, what: str, file: str, losses: Sequence[Loss]) -> str:
    """Return what a version keeps of a file that nothing edits here: the definition in Wardian's own YAML, the losses above it.

    Args:     what: the format for people.  file: the file's name.
    """
    head, _, body = wardian_yaml.write(environment).partition("\n")
    lines = [head, f"# read from {file.rpartition('/')[2]}, {what}"]
    lines += ["# what it says and this file does not:"] if losses else []
    for loss in losses:
        lines.append(f"#   {loss}")
        lines += [f"#     {loss.value}"] if loss.value else []
    return "".join(f"{_one_line(line)}\n" for line in lines) + body


def plain_value(node: YamlNode) -> Any:
    """Return ``node`` as plain values, scalars as text."""
    match node:
        case YamlScalar():
            return None if node.is_null else node.value
        case YamlSequence():
            return [plain_value(item) for item in node.items]
        case YamlMapping():
            return {key.value: plain_value(value) for key, value in node.entries}


def shown(node: YamlNode, *, secrets: Sequence[str] = ()) -> str:
    """Return ``node`` in one line, the values of the keys ``secrets`` left out."""

    def bare(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                key: "***"
                if item and (key in secrets or looks_secret(key, "x" if isinstance(item, list | dict) else str(item)))
                else bare(item)
                for key, item in value.items()
            }
        if isinstance(value, list):
            return [bare(item) for item in value]
        if isinstance(value, str) and looks_secret(*value.partition("=")[::2]):
            return "***"
        return without_secrets(value) if isinstance(value, str) and holds_conda_secret(value) else value

    value = bare(plain_value(node))
    return value if isinstance(value, str) and value.isprintable() else json.dumps(value)


def is_empty(node: YamlNode | None) -> bool:
    """Whether ``node`` says nothing: absent, null, or an empty list or mapping, also of such ones."""
    match node:
        case None:
            return True
        case YamlScalar():
            return node.is_null or not node.value
        case YamlSequence():
            return not node.items
        case YamlMapping():
            return all(is_empty(value) for _, value in node.entries)


def refuse_edit() -> InvalidInput:
    """Return the error of an edit: a version read from such a file keeps Wardian's own YAML."""
    return InvalidInput("a file of Azure ML is read and written, not edited", code="format_not_edited",
                        hint="`wardian env create NAME -f FILE`, then `wardian env add NAME PKG`")  # fmt: skip


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)
