"""What looks like a secret: such text is in no definition and no record."""

from __future__ import annotations

import re

_SECRET_NAME = re.compile(
    r"(?i)(^|_)(password|passwd|secret|token|(api|access|private|account|storage)_?key|credentials?)(_|$)"
)
SECRET_VALUE = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY|\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{30,}|\bgithub_pat_\w{30,}|\bglpat-[\w-]{20,}"
    r"|\bxox[abprs]-[\w-]{10,}|\bsk-[A-Za-z0-9_-]{20,}|\bhf_[A-Za-z0-9]{30,}|\bpypi-[A-Za-z0-9_-]{30,}"
    r"|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"  # a JSON web token
    r"|(?i:AccountKey=|SharedAccessSignature=)|\w://[^/\s:@$]+:[^/\s@$]+@"
)


def looks_secret(name: str, value: str) -> bool:
    """Return whether the variable ``name`` with this value should be in no definition and no record."""
    by_name = bool(_SECRET_NAME.search(name)) and bool(value.strip()) and not value.startswith("${")
    return by_name or bool(SECRET_VALUE.search(value))
