"""An archive that uv refuses while it solves: what our own check says of it, or uv's words under our codes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from wardian.errors import BadArchive, WardianError

if TYPE_CHECKING:
    from collections.abc import Callable

_WHICH = re.compile(r"Failed to (?P<what>[^`\n]*)`(?P<package>[^`\n]+)`")
_CODES = {
    "wrong_digest": r"Hash mismatch for",
    "unsafe_path": r"unsafe member path|unacceptable filename|not valid UTF-8",
    "unsafe_link": r"symbolic-link|hard-link",
    "unsafe_member": r"unsupported tar typeflag|unsupported member type|feature not supported",
    "duplicate_member": r"multiple entries|collides with existing path|File exists",
    "missing_record": r"/RECORD`: No such file",
    "ambiguous_archive": r"without a corresponding central-directory|unexpected header \(actual: \S+, expected: 0x2014b50",
    "wrong_metadata": r"Multiple \.dist-info|does not appear to be a Python project|does not match given (?:name|version)",
    "damaged_archive": r"Failed to extract archive|The wheel is invalid|Invalid (?:zip|tar) file",
}


def refusal(text: str, check: Callable[[str, bool], object]) -> BadArchive | None:
    """Return the error for the archive that uv could not unpack; None: it failed for another reason.

    Args:     text: what uv wrote.
              check: fetches and validates the archive of ``name==version`` or ``name @ URL``, an sdist or not; it raises
                  ``BadArchive``, or anything else if the archive can't be had.
    """
    code = next((code for code, words in _CODES.items() if re.search(words, text)), None)
    found = _WHICH.search(text)
    if code is None or found is None:
        return None
    package = found["package"]
    try:
        check(package, "build" in found["what"])
    except BadArchive as error:
        return BadArchive(f"{package}: {error.message}", hint=error.hint, code=error.stable_code, details=error.details)
    except WardianError:
        pass  # an index without digests: it takes an unpacking to learn where the file is
    why = re.sub(r"`[^`\n]*/(?:uv|cache)/[^`\n]*`", "it", text.partition("cause: ")[2] or text)
    return BadArchive(f"the archive of {package} is refused: {' '.join(why.replace('cause:', ' ').split())}", code=code,
                      hint="choose another release, and tell its authors or the index")  # fmt: skip
