"""The command of an Azure ML job as a line for a shell, and back: values of inputs are variables, never text of the line."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

PLACEHOLDER = re.compile(r"\$\{\{\s*([^{}]*?)\s*\}\}")
OF_A_JOB = re.compile(r"(inputs|outputs)\.([A-Za-z_]\w*)", re.ASCII)
OUTPUT_DIR = "WARDIAN_OUTPUT_DIR"

_HERE_DOCUMENT = re.compile(r"<<(-?)[ \t]*(?:'([^'\n]+)'|\"([^\"\n]+)\"|(\\?)([\w.-]+))")
_ORDINARY = re.compile(r"[^\\'\"#$`()<\n]+")
_BEFORE_A_COMMENT = " \t\n;&|("
_AZURES_OWN = re.compile(r"\$(?:AZURE_ML_(INPUT|OUTPUT)_(\w+)|\{AZURE_ML_(INPUT|OUTPUT)_(\w+)\})", re.ASCII)
_EXPORTS = re.compile(r"export(?: WARDIAN_INPUT_\w+=\$\{\{inputs\.\w+\}\})+\n", re.ASCII)
_OURS = re.compile(
    r'(?P<quote>"?)(?:\$\{(?P<variable>WARDIAN_INPUT_\w+|AZUREML_PARAMETER_\w+)\}|\$\{WARDIAN_OUTPUT_DIR\}/(?P<output>[A-Za-z_]\w*)(?![\w.-]))"?',
    re.ASCII,
)


@dataclass(slots=True)
class Translated:
    """A line for a shell.

    Attributes:
        bare: the placeholders that stood outside of quotes.
        unknown: those that mean nothing here; they are still in the line.
        unreachable: those in a here-document that the shell takes as it is.
    """

    text: str = ""
    bare: set[str] = field(default_factory=set)
    unknown: list[str] = field(default_factory=list)
    unreachable: list[str] = field(default_factory=list)


def to_shell(command: str, variables: Mapping[str, str]) -> Translated:
    """Return ``command`` with a shell variable in the place of each placeholder, quoted so that its value is one word.

    A value is never part of the line: the shell reads it from a variable, and does not look at it for anything else. Where
    the placeholder stands in quotes or in a here-document, it is part of that text.

    Args:     variables: what a placeholder stands for: ``inputs.x`` → what comes behind the ``$``: ``{NAME}``, ``{NAME}/x``.
    Source:   POSIX.1-2017 Shell Command Language 2.2, 2.7.4
    """
    return _Line(command, variables).translated()


def to_azure(line: str, names: Mapping[str, str]) -> str:
    """Return ``line`` with the placeholders that `to_shell` took out.

    Args:     names: variable → the input that it holds.
    """

    def placeholder(match: re.Match[str]) -> str:
        variable, output = match["variable"], match["output"]
        if variable is not None and variable not in names:
            return match[0]
        inner = f"inputs.{names[variable]}" if variable is not None else f"outputs.{output}"
        closed = match[0].endswith('"')
        if bool(match["quote"]) == closed:  # the quotes were added with it
            return f"${{{{{inner}}}}}"
        return f"{match['quote']}${{{{{inner}}}}}{'' if not closed else chr(34)}"

    return _OURS.sub(placeholder, line)


def with_exports(command: str, names: Mapping[str, str]) -> str:
    """Return ``command`` with a first line that sets the variables ``names`` (variable → input), which Azure ML does not know."""
    words = " ".join(f"{variable}=${{{{inputs.{name}}}}}" for variable, name in names.items())
    return f"export {words}\n{command}" if words else command


def without_exports(command: str, names: Mapping[str, str]) -> str:
    """Return ``command`` without the line that `with_exports` put before it: a run sets these variables itself."""
    match = _EXPORTS.match(command)
    said = dict(re.findall(r"(\w+)=\$\{\{inputs\.(\w+)\}\}", match[0])) if match else {}
    return command[match.end() :] if match and said.items() <= names.items() else command


def outputs_in(line: str) -> tuple[str, ...]:
    """Return the outputs that ``line``, for a shell, writes to by name."""
    return tuple(dict.fromkeys(match["output"] for match in _OURS.finditer(line) if match["output"]))


def variables_in(line: str) -> set[str]:
    """Return the variables of inputs that ``line``, for a shell, holds as `to_shell` writes them."""
    return {match["variable"] for match in _OURS.finditer(line) if match["variable"]}


class _Line:
    """One command while it is translated. ``self._open`` holds what is open: ``"``, ``(`` or a back quote, innermost last."""

    def __init__(self, text: str, variables: Mapping[str, str]) -> None:
        self._variables = variables
        self._text = _AZURES_OWN.sub(self._own, text)
        self._done: list[str] = []
        self._open: list[str] = []
        self._ticks: list[int] = []  # where in it back quotes are
        self._waiting: list[tuple[str, bool, bool]] = []  # here-documents: delimiter, tabs are stripped, taken as it is
        self._found = Translated()

    def _own(self, match: re.Match[str]) -> str:
        """Return our variable for one that Azure ML sets for an input or output, spelled unlike those of placeholders: it may stand in single quotes."""
        kind, name = (match[1] or match[3]).lower(), match[2] or match[4]
        known = self._variables.get(f"{kind}s.{name}")
        if known is None:
            return match[0]
        variable, brace, rest = known.removeprefix("{").partition("}")
        return f"${variable}{rest}" if match[1] else f"${{{variable}-{brace}{rest}"

    def translated(self) -> Translated:
        at = 0
        while at < len(self._text):
            at = self._step(at)
        self._found.text = "".join(self._done)
        return self._found

    def _step(self, at: int) -> int:
        """Take what begins at ``at``; return where the next thing begins."""
        text = self._text
        if match := PLACEHOLDER.match(text, at):
            quoted = bool(self._open) and self._open[-1] == '"'
            self._put(match, "" if quoted else '"', "" if quoted else '"', bare=not quoted)
            return match.end()
        if match := _ORDINARY.match(text, at):
            return self._keep(at, match.end())
        char = text[at]
        if char == "\\":
            return self._keep(at, at + 2)
        if self._open and self._open[-1] == '"':
            return self._in_double_quotes(at)
        if char == "'" or text.startswith("$'", at):
            return self._single_quotes(at)
        if char == '"':
            self._open.append('"')
        elif char == "#" and (at == 0 or text[at - 1] in _BEFORE_A_COMMENT):
            end = text.find("\n", at)
            return self._keep(at, len(text) if end < 0 else end)
        elif match := None if text.startswith("<<<", at) else _HERE_DOCUMENT.match(text, at):
            quoted = match[2] is not None or match[3] is not None or bool(match[4])
            self._waiting.append((match[2] or match[3] or match[5], bool(match[1]), quoted))
            return self._keep(at, match.end())
        elif text.startswith("<<<", at):
            return self._keep(at, at + 3)
        elif char == "\n" and self._waiting:
            return self._here_documents(self._keep(at, at + 1))
        else:
            self._bracket(char)
        return self._keep(at, at + 1)

    def _in_double_quotes(self, at: int) -> int:
        char = self._text[at]
        if char == '"':
            self._open.pop()
        elif self._text.startswith("$(", at):
            self._open.append("(")
            return self._keep(at, at + 2)
        elif char == "`":
            self._bracket(char)
        return self._keep(at, at + 1)

    def _bracket(self, char: str) -> None:
        innermost = self._open[-1] if self._open else ""
        if char == "(":
            self._open.append("(")
        elif char == ")" and innermost == "(":
            self._open.pop()
        elif char == "`" and self._ticks:  # with all that is unclosed within
            del self._open[self._ticks.pop() :]
        elif char == "`":
            self._ticks.append(len(self._open))
            self._open.append("`")

    def _single_quotes(self, at: int) -> int:
        opening = "$'" if self._text[at] == "$" else "'"
        end = re.compile(r"(?:[^'\\]|\\.)*" if opening == "$'" else r"[^']*", re.DOTALL).match(self._text, at + len(opening))
        stop = end.end() if end else len(self._text)
        last = self._keep(at, at + len(opening))
        for match in PLACEHOLDER.finditer(self._text, last, stop):
            self._keep(last, match.start())
            self._put(match, "'\"", f'"{opening}')
            last = match.end()
        return self._keep(last, min(stop + 1, len(self._text)))

    def _here_documents(self, at: int) -> int:
        for delimiter, strips, as_it_is in self._waiting:
            while at < len(self._text):
                end = self._text.find("\n", at)
                end = len(self._text) if end < 0 else end + 1
                line = self._text[at:end].rstrip("\n")
                last = at
                for match in PLACEHOLDER.finditer(self._text, at, end):
                    if as_it_is:
                        self._found.unreachable.append(match[1])
                        continue
                    self._keep(last, match.start())
                    self._put(match, "", "")
                    last = match.end()
                at = self._keep(last, end)
                if (line.lstrip("\t") if strips else line) == delimiter:
                    break
        self._waiting = []
        return at

    def _put(self, match: re.Match[str], before: str, after: str, *, bare: bool = False) -> None:
        known = self._variables.get(match[1])
        if known is None:
            self._found.unknown.append(match[1])
            self._done.append(match[0])
            return
        if bare:
            self._found.bare.add(match[1])
        self._done.append(f"{before}${known}{after}")

    def _keep(self, start: int, end: int) -> int:
        self._done.append(self._text[start:end])
        return min(end, len(self._text))
