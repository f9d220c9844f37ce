"""The R section of Azure ML's SDK v1: nothing of it is installed, and each thing in it is a loss of its own, with where it can be had."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from wardian.formats.azureml import is_empty, shown
from wardian.formats.yaml_text import YamlMapping, YamlScalar, YamlSequence

if TYPE_CHECKING:
    from wardian.formats.ledger import Ledger
    from wardian.formats.yaml_text import YamlNode

_SECRETS = ("authToken", "auth_token")
_IN_A_DOCKERFILE = "install it in a Dockerfile, or in an image that has Rscript"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9.]{0,99}")  # of a package of R
_VERSION = re.compile(r"[0-9][0-9A-Za-z.-]{0,49}")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
# by the names of SDK and service, in small letters
_WHY = {
    "cranpackages": "packages are not installed from CRAN",
    "githubpackages": "packages of R are not installed from GitHub",
    "customurlpackages": "packages of R are not installed from addresses",
    "bioconductorpackages": "packages are not installed from Bioconductor",
}


def note_r(node: YamlNode, ledger: Ledger, line: int) -> None:
    """Note what the section ``r`` says, each thing by itself. Whether R was the user's own matter (`userManaged`) is nothing that could be lost."""
    if not isinstance(node, YamlMapping):
        ledger.note("dropped", "r", "it is no section of R", value=shown(node), line=line)
        return
    for key, value in node.entries:
        name, field = key.value.lower().replace("_", ""), f"r.{key.value}"
        if is_empty(value) or name == "usermanaged":
            continue
        if name in _WHY:
            items = value.items if isinstance(value, YamlSequence) else (value,)
            for number, item in enumerate(items):
                place = f"{field}[{number}]" if isinstance(value, YamlSequence) else field
                ledger.note(
                    "dropped", place, _WHY[name], hint=_where(name, item), value=shown(item, secrets=_SECRETS), line=item.line
                )
            continue
        why, hint = _of(name, _text(value))
        ledger.note("dropped", field, why, hint=hint, value=shown(value, secrets=_SECRETS), line=key.line)


def _of(name: str, text: str) -> tuple[str, str | None]:
    if name == "rversion":
        return "R comes with an image, or through conda", _conda("r-base", text)
    if name == "snapshotdate":
        as_of = f"for packages of conda: `wardian env lock … --as-of {text}`" if _DAY.fullmatch(text) else None
        return "CRAN is not read as it was on a day", as_of
    if name == "rscriptpath":
        return "Rscript is the first on the environment's PATH", None
    return "nothing is known of it here", None


def _where(name: str, item: YamlNode) -> str:
    """Return where a package can be had instead."""
    mapping = isinstance(item, YamlMapping)
    package = _text(item.find("name")) if isinstance(item, YamlMapping) else _text(item)
    version = _text(item.find("version")) if isinstance(item, YamlMapping) else ""
    if name == "cranpackages" and _NAME.fullmatch(package):
        return _conda(f"r-{package.lower()}", version)
    if name == "bioconductorpackages" and not mapping and _NAME.fullmatch(package):
        return f"{_conda(f'bioconductor-{package.lower()}', '')}, of the channel bioconda"
    return _IN_A_DOCKERFILE


def _conda(name: str, version: str) -> str:
    # a hyphen in a version of R's is an underscore in conda's
    return (
        f"in a conda file: `{name}={version.replace('-', '_')}`"
        if _VERSION.fullmatch(version)
        else f"in a conda file: `{name}`"
    )


def _text(node: YamlNode | None) -> str:
    return node.value.strip() if isinstance(node, YamlScalar) and not node.is_null else ""
