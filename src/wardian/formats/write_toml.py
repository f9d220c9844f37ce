"""A uv environment as TOML: the tables of a pyproject.toml, or the keys of a script's block."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from wardian.definition.pip_option import PipOption
from wardian.formats.losses import refuse_losses

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wardian.definition.environment import Environment

_LISTS = {
    "--find-links": "find-links",
    "--no-binary": "no-binary-package",
    "--only-binary": "no-build-package",
    "--trusted-host": "allow-insecure-host",
}
_ALL = {"--no-binary": "no-binary", "--only-binary": "no-build", "--no-index": "no-index"}


def toml_of(env: Environment, what: str, *, project: bool) -> str:
    """Return ``env`` as TOML. The caller reads it back: an order of options that TOML cannot keep is seen there.

    Args:     what: the format for people.  project: whether the keys stand in ``[project]``, with a name and a version.
    Raises:   InvalidInput: ``env`` holds what these tables cannot say; code ``not_expressible``.
    """
    refuse_losses(env, what, keeps={"pip", "pip_options", "constraints", "local", "requires_python", "index_strategy"})
    python = env.python
    lines: list[str] = []
    if project:
        name = re.sub(r"[^A-Za-z0-9]+$", "", env.name or "") or "environment"
        lines += ["[project]", f"name = {toml_text(name)}", 'version = "0"']
    if python.requires_python:
        lines.append(f"requires-python = {toml_text(python.requires_python)}")
    lines += [f"dependencies = {_array(python.pip)}", *_settings(env)]
    return "\n".join(lines) + "\n"


def toml_text(text: str) -> str:
    """Return ``text`` as a TOML string: literal where quotes stand in it, basic else."""
    if '"' in text and "'" not in text and text.isprintable():
        return f"'{text}'"
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _array(items: Sequence[str]) -> str:
    return "[" + "".join(f"\n    {toml_text(item)}," for item in items) + ("\n" if items else "") + "]"


def _settings(env: Environment) -> list[str]:
    settings: list[str] = []
    indexes: list[str] = []
    lists: dict[str, list[str]] = {}
    for option in map(PipOption.parse, env.python.pip_options):
        value = option.value or ""
        if option.name in ("--index-url", "--extra-index-url"):
            indexes += ["", "[[tool.uv.index]]", f"url = {toml_text(value)}"]
            indexes += ["default = true"] if option.name == "--index-url" else []
        elif option.name in _ALL and value in ("", ":all:"):
            settings.append(f"{_ALL[option.name]} = true")
        elif option.name in _LISTS:
            lists.setdefault(_LISTS[option.name], []).append(value)
        elif option.name == "--pre":
            settings.append('prerelease = "allow"')
    settings += [f"{key} = {_array(values)}" for key, values in lists.items()]
    if env.python.index_strategy != "first-index":
        settings.append(f"index-strategy = {toml_text(env.python.index_strategy)}")
    if env.python.constraints:
        settings.append(f"constraint-dependencies = {_array(env.python.constraints)}")
    return [*(["", "[tool.uv]", *settings] if settings else []), *indexes]
