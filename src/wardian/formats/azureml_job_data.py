"""The inputs and outputs of an Azure ML job: paths here, and texts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from wardian.definition.secret_text import looks_secret
from wardian.formats.azureml import is_empty, shown, without_secrets
from wardian.formats.azureml_job_parts import find_local, given_path, is_remote, note_rest
from wardian.formats.azureml_line import OUTPUT_DIR
from wardian.formats.job import PARAMETER
from wardian.formats.yaml_fields import Fields
from wardian.formats.yaml_text import YamlMapping, YamlScalar

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from wardian.formats.faults import Faults
    from wardian.formats.ledger import Ledger
    from wardian.formats.yaml_text import YamlNode

_NAME = re.compile(r"[A-Za-z]\w{0,99}", re.ASCII)
_OUTPUT = re.compile(r"[A-Za-z_]\w{0,99}", re.ASCII)
_FILE, _FOLDER = "uri_file", "uri_folder"
_OTHER_DATA = ("mltable", "mlflow_model", "triton_model", "custom_model")
_DATA = (_FILE, _FOLDER, *_OTHER_DATA)
_LITERALS = ("string", "number", "integer", "boolean")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_INTEGER = re.compile(r"[-+]?\d+")
_BOOLEAN = re.compile(r"(?i)true|false")
_SHAPES = {
    "number": (_NUMBER, "a number"),
    "integer": (_INTEGER, "a whole number"),
    "boolean": (_BOOLEAN, "true or false"),
}
_WORDS = re.compile(r"[\s*?\[\]{}~$'\"`\\]")  # what a shell would have made more than one word of, or another one
_MODES = {
    "ro_mount": None,
    "rw_mount": "an input is read-only",
    "download": "an input stays where it is, and is read there",
    "direct": "the path is a path here, not a URL",
    "eval_mount": "an input stays where it is, and is read there",
    "eval_download": "an input stays where it is, and is read there",
}
_OUTPUT_MODES = {"rw_mount": None, "mount": None, "upload": None, "direct": "the path is a path here, not a URL"}
_OF_AN_INPUT: dict[str, tuple[str, str | None]] = {
    "path_on_compute": ("a path is the same everywhere here", None),
    "datastore": ("it is a place in Azure's storage", None),
}
_OF_AN_OUTPUT: dict[str, tuple[str, str | None]] = {
    "path": ("outputs lie with their run", "`wardian runs show ID` tells where"),
    "name": ("outputs are not registered", None),
    "version": ("outputs are not registered", None),
}


class JobData:
    """What a job's `inputs` and `outputs` say.

    Attributes:
        paths: NAME → path.  literals: variable → text; None: a secret that the caller has.
        directories: outputs that are directories.
        expressions: ``inputs.x`` → what it is in the shell, behind the ``$``.
        faulty: those that have a fault.
    """

    def __init__(self, fields: Fields, faults: Faults, ledger: Ledger, base: Path, given: Mapping[str, str]) -> None:
        self._fields, self._faults, self._ledger, self._base, self._given = fields, faults, ledger, base, given
        self.paths: dict[str, Path] = {}
        self.literals: dict[str, str | None] = {}
        self.directories: tuple[str, ...] = ()
        self.expressions: dict[str, str] = {}
        self.faulty: set[str] = set()
        self._lines: dict[str, int] = {}
        self._by_variable: dict[str, str] = {}

    def read(self) -> None:
        """Read both."""
        inputs = self._fields.table("inputs")
        for key, node in inputs.node.entries if inputs else ():
            self._input(key.value, key.line, node)
        for name, path in self._given.items():
            if f"inputs.{name}" not in self.expressions and f"inputs.{name}" not in self.faulty:
                self._take_given(name, path, None, f"inputs.{name}")
        outputs = self._fields.table("outputs")
        for key, node in outputs.node.entries if outputs else ():
            self._output(key.value, key.line, node)

    def note_words(self, bare: AbstractSet[str]) -> None:
        """Note the texts that a shell would have taken apart, had they stood in the line, as they do in Azure ML."""
        for place in sorted(bare):
            name = place.removeprefix("inputs.")
            text = self.literals.get(f"{PARAMETER}{name}")
            if text and _WORDS.search(text) and place.startswith("inputs."):
                self._ledger.note("changed", place, "its value is one word for the command, whatever is in it", line=self._lines.get(name),
                                  hint="write several words into `command`")  # fmt: skip

    def _take_given(self, name: str, path: str, line: int | None, field: str) -> None:
        if path:
            self._take_path(name, given_path(path), line, field)
        else:
            self._fault(f"inputs.{name}", "missing_key", f"the input `{name}` is given without a path", line, field)

    # -- inputs ----------------------------------------------------------------------------------------------------

    def _input(self, name: str, line: int, node: YamlNode) -> None:
        path = f"inputs.{name}"
        self._lines[name] = line
        if not _NAME.fullmatch(name):
            self._fault(
                path,
                "bad_input",
                f"`{name[:80]}` is not a name for an input",
                line,
                path,
                "a letter, then letters, digits and `_`",
            )
            return
        if isinstance(node, YamlScalar):
            self._literal(name, None if node.is_null else node.value, "", line, path)
        elif isinstance(node, YamlMapping):
            self._mapping(name, line, node, path)
        else:
            self.faulty.add(path)
            self._fields.wrong_type(node, path, "a value or a mapping")

    def _mapping(self, name: str, line: int, node: YamlMapping, path: str) -> None:
        fields = Fields(node, path, self._faults, {})
        kind = fields.text("type") or (_FOLDER if "path" in node.keys else "string")
        if kind in _LITERALS:
            note_rest(node, ("type", "value", "default"), {}, path, self._ledger)
            self._literal(name, fields.text("value") or fields.text("default"), kind, line, path)
            return
        if kind not in _DATA:
            self._fault(
                path,
                "bad_input",
                f"`{kind[:40]}` is no type of an input",
                line,
                f"{path}.type",
                f"{', '.join((*_DATA, *_LITERALS))}",
            )
            return
        note_rest(node, ("type", "path", "mode"), _OF_AN_INPUT, path, self._ledger)
        self._mode(fields, _MODES, path)
        if kind in _OTHER_DATA and name not in self._given:
            self._ledger.note(
                "changed", f"{path}.type", f"it is a path: nothing is known of {kind} here", value=kind, line=line
            )
        text = fields.text("path")
        at = _line_of(node, "path", line)
        if name in self._given:
            self._take_given(name, self._given[name], line, path)
        elif text is None:
            self._fault(path, "missing_key", f"the input `{name}` has no path", line, path, f"`--input {name}=PATH` gives one")
        elif is_remote(text):
            self._fault(path, "remote_input", f"the input `{name}` is elsewhere: `{without_secrets(text)[:120]}`", at, f"{path}.path",
                        f"get it (`az ml data …`, `az storage …`, `curl`), and name it: `--input {name}=PATH`")  # fmt: skip
        else:
            place = find_local(text, self._base, self._faults, at, f"{path}.path", "file or directory")
            if place is None:
                self.faulty.add(path)
            elif (kind == _FILE) == place.is_dir():
                wrong = "a directory, and its type is uri_file" if place.is_dir() else f"a file, and its type is {kind}"
                if kind in (_FILE, _FOLDER):
                    self._fault(path, "bad_input", f"`{text[:120]}` is {wrong}", at, f"{path}.path", f"`type: {_FOLDER if place.is_dir() else _FILE}`")  # fmt: skip
                else:
                    self._take_path(name, place, line, path)
            else:
                self._take_path(name, place, line, path)

    def _literal(self, name: str, text: str | None, kind: str, line: int, path: str) -> None:
        given = self._given.get(name)
        text = given if given is not None else text
        variable = f"{PARAMETER}{name}"
        if text is None:
            self._fault(
                path, "missing_key", f"the input `{name}` has no value", line, path, f"`--input {name}=VALUE` gives one"
            )
            return
        shape = _SHAPES.get(kind)
        if shape is not None and not shape[0].fullmatch(text):
            self._fault(path, "bad_input", f"the input `{name}` is `{text[:60]}`: it must be {shape[1]}", line, path)
            return
        if given is None and looks_secret(name, text):
            self._ledger.note("stripped", path, "its value looks like a secret, and the file of a job holds none", line=line,
                              hint=f"`--input {name}=…` gives it, or `{variable}` in your own variables")  # fmt: skip
            self.literals[variable] = None
        else:
            self.literals[variable] = text
        self.expressions[path] = f"{{{variable}}}"

    def _take_path(self, name: str, place: Path, line: int | None, path: str) -> None:
        variable = f"WARDIAN_INPUT_{name.upper()}"
        key = f"inputs.{name}"
        other = self._by_variable.setdefault(variable, name)
        if other != name:
            self._fault(key, "bad_input", f"the inputs `{other}` and `{name}` would both be {variable}", line, path or key)
            return
        self.paths[name] = place
        self.expressions[key] = f"{{{variable}}}"

    def _mode(self, fields: Fields, known: Mapping[str, str | None], path: str) -> None:
        mode = fields.text("mode")
        if mode is None:
            return
        line = _line_of(fields.node, "mode", fields.node.line)
        if mode not in known:
            self._faults.add(
                "bad_mode", f"`{mode[:40]}` is no mode", line=line, field=f"{path}.mode", hint=f"{', '.join(known)}"
            )
        elif (why := known[mode]) is not None:
            self._ledger.note("changed", f"{path}.mode", why, value=mode, line=line)

    def _fault(self, key: str, code: str, message: str, line: int | None, field: str, hint: str | None = None) -> None:
        self.faulty.add(key)
        self._faults.add(code, message, line=line, field=field, hint=hint)

    # -- outputs ---------------------------------------------------------------------------------------------------

    def _output(self, name: str, line: int, node: YamlNode) -> None:
        path = f"outputs.{name}"
        if not _OUTPUT.fullmatch(name):
            self._fault(path, "bad_output", f"`{name[:80]}` is not a name for an output", line, path, "letters, digits and `_`")
            return
        kind = _FOLDER
        if isinstance(node, YamlMapping):
            fields = Fields(node, path, self._faults, {})
            kind = fields.text("type") or _FOLDER
            if kind not in _DATA:
                self._fault(
                    path, "bad_output", f"`{kind[:40]}` is no type of an output", line, f"{path}.type", f"{', '.join(_DATA)}"
                )
                return
            note_rest(node, ("type", "mode"), _OF_AN_OUTPUT, path, self._ledger)
            self._mode(fields, _OUTPUT_MODES, path)
            if kind in _OTHER_DATA:
                self._ledger.note(
                    "changed", f"{path}.type", f"it is a directory: nothing is known of {kind} here", value=kind, line=line
                )
        elif not is_empty(node):
            self._fault(
                path, "wrong_type", f"an output is a mapping, not `{shown(node)[:60]}`", line, path, "write `type: uri_folder`"
            )
            return
        if kind != _FILE:
            self.directories = (*self.directories, name)
        self.expressions[path] = f"{{{OUTPUT_DIR}}}/{name}"


def _line_of(node: YamlMapping, key: str, other: int) -> int:
    return next((value.line for name, value in node.entries if name.value == key), other)
