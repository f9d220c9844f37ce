"""Requirements as a pixi manifest writes them: names with a version, or with a table of what is asked."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from wardian.definition.local_path import looks_like_path
from wardian.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping

_CONDA = ("version", "build", "build-number", "channel", "subdir", "md5", "sha256", "url", "file-name", "license")
_PIP = ("version", "extras", "index", "git", "rev", "tag", "branch", "subdirectory", "path", "editable", "url", "env-markers")


def conda_requirement(name: str, value: Any) -> str:
    """Return the match spec that ``name = value`` means.

    Raises:   InvalidInput: codes ``wrong_type``, ``unknown_key``, ``pixi_source``.
    Source:   pixi's manifest reference, "dependencies"
    """
    if isinstance(value, str):
        return name if value.strip() in ("", "*") else f"{name} {value.strip()}"
    table = _table(name, value)
    if {"git", "path"} & set(table):
        raise InvalidInput(f"`{name}` is built from source by pixi: such a package is not taken", code="pixi_source",
                           hint="publish it on a channel; Python code can stand among the `pypi-dependencies`")  # fmt: skip
    _check_keys(name, table, _CONDA)
    if "url" in table:
        digest = f"#sha256:{table['sha256']}" if "sha256" in table else f"#{table['md5']}" if "md5" in table else ""
        return f"{table['url']}{digest}"
    version = table.get("version", "").strip()
    pairs = {
        "build": "build",
        "build-number": "build_number",
        "subdir": "subdir",
        "md5": "md5",
        "sha256": "sha256",
        "file-name": "fn",
    }
    brackets = ",".join(f"{key}='{table[word]}'" for word, key in pairs.items() if word in table)
    channel = f"{table['channel']}::" if "channel" in table else ""
    return f"{channel}{name}" + (f" {version}" if version not in ("", "*") else "") + (f"[{brackets}]" if brackets else "")


def pip_requirement(name: str, value: Any) -> str:
    """Return the requirement for pip that ``name = value`` means.

    Raises:   InvalidInput: codes ``wrong_type``, ``unknown_key``.
    Source:   pixi's manifest reference, "pypi-dependencies"
    """
    if isinstance(value, str):
        return f"{name}{_specifier(value)}"
    table = _table(
        name,
        {key: one for key, one in value.items() if key not in ("extras", "editable")} if isinstance(value, dict) else value,
    )
    _check_keys(name, {**table, **dict.fromkeys(value, "")}, _PIP)
    extras = value.get("extras", [])
    if not isinstance(extras, list) or not all(isinstance(one, str) for one in extras):
        raise InvalidInput(f"the extras of `{name}` are a list of texts", code="wrong_type")
    head = f"{name}[{','.join(extras)}]" if extras else name
    marker = f" ; {table['env-markers']}" if table.get("env-markers") else ""
    subdirectory = f"#subdirectory={table['subdirectory']}" if "subdirectory" in table else ""
    if "git" in table:
        revisions = [table[key] for key in ("rev", "tag", "branch") if key in table]
        if len(revisions) > 1:
            raise InvalidInput("one of `rev`, `tag` and `branch` names a revision", code="bad_source")
        git = table["git"] if table["git"].startswith("git+") else f"git+{table['git']}"
        return f"{head} @ {git}{f'@{revisions[0]}' if revisions else ''}{subdirectory}{marker}"
    if "url" in table:
        return f"{head} @ {table['url']}{subdirectory}{marker}"
    if "path" in table:
        path = table["path"]
        return f"{head} @ {path if looks_like_path(path) else f'./{path}'}{marker}"
    return f"{head}{_specifier(table.get('version', ''))}{marker}"


def _specifier(text: str) -> str:
    bare = text.strip()
    if bare in ("", "*"):
        return ""
    return f"=={bare}" if re.match(r"[0-9]", bare) else bare


def _table(name: str, value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise InvalidInput(f"`{name}` must be a version or a table", code="wrong_type", hint=f'for example `{name} = ">=1.2"`')
    if wrong := next((key for key, one in value.items() if not isinstance(one, str | int) or isinstance(one, bool)), None):
        raise InvalidInput(f"`{wrong}` of `{name}` must be a text", code="wrong_type")
    return {key: str(one) for key, one in value.items()}


def _check_keys(name: str, table: Mapping[str, Any], known: tuple[str, ...]) -> None:
    if wrong := next((key for key in table if key not in known), None):
        raise InvalidInput(
            f"`{name}` has the key `{wrong[:80]}`, which says nothing here",
            code="unknown_key",
            hint=f"known ones: {', '.join(known)}",
        )
