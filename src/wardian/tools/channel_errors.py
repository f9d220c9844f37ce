"""What went wrong with a conda channel, made of what rattler says about it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from wardian.errors import Denied, NotFound, Unavailable, WardianError
from wardian.tools.http import without_credentials

if TYPE_CHECKING:
    from collections.abc import Sequence

_STATUS = re.compile(r"\((\d{3}) [^)]*\) for url \((\S+)\)")
_SUBDIR = re.compile(r"/(?:noarch|linux-\w+|osx-\w+|win-\w+)$")
_URL = re.compile(r"\b(?:https?|file|oci|s3|gcs)://[^\s')]+")


def channel_error(text: str, asked: Sequence[str]) -> WardianError:
    """Return the error that ``text``, rattler's, stands for: which channel, what about it, what next; no credentials.

    Args:     asked: URLs of the channels, for words that name none.
    """
    url = match.group(0) if (match := _URL.search(text)) else " or ".join(url.rstrip("/") for url in asked)
    channel = re.sub(r"/[\w-]+/[\w.-]*(repodata|shards)[\w.-]*$", "", without_credentials(url)).rstrip("/")
    channel = _SUBDIR.sub("", channel.replace("/t/<token>", "", 1))
    reason = _URL.sub(lambda m: without_credentials(m.group(0)), text.splitlines()[-1].removeprefix("Caused by: "))
    if "could not find subdir" in text:
        return NotFound(f"there is no channel at {channel}", hint="check its name or URL", code="channel_not_found")
    if status := _STATUS.search(text):
        code = int(status.group(1))
        if code in (401, 403, 407):
            return Denied(
                f"the channel {channel} refuses access (status {code})",
                hint="give credentials: netrc, rattler's own (`RATTLER_AUTH_FILE`), `wardian secret set`, or `/t/${VARIABLE}/` in its URL",
                code="channel_denied",
            )
        return Unavailable(
            f"the channel {channel} answers with status {code}", hint="try again later", code="channel_unavailable"
        )
    if "no usable repodata cache" in text or "cache" in text.splitlines()[0]:
        return Unavailable(f"offline, and {channel} was never read on this machine", hint="go online once", code="offline")
    if "parse" in text or "deserialize" in text:
        return Unavailable(f"the channel {channel} sent repodata that can't be read: {reason}", code="bad_repodata")
    return Unavailable(
        f"the channel {channel} can't be reached: {reason}", hint="check the network and its URL", code="channel_unavailable"
    )
