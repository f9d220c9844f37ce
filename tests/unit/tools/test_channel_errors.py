from __future__ import annotations

import pytest

from wardian.tools.channel_errors import channel_error

CHANNEL = "https://conda.example.org/corp"


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        (
            f"HTTP status client error (401 Unauthorized) for url ({CHANNEL}/linux-64/repodata_shards.msgpack.zst)",
            "channel_denied", f"the channel {CHANNEL} refuses access (status 401)",
        ),
        (
            "HTTP status client error (403 Forbidden) for url (https://conda.example.org/t/********/corp/noarch/repodata.json)",
            "channel_denied", f"the channel {CHANNEL} refuses access (status 403)",
        ),
        (
            f"HTTP status server error (500 Internal Server Error) for url ({CHANNEL}/noarch/repodata.json)",
            "channel_unavailable", f"the channel {CHANNEL} answers with status 500",
        ),
        (
            f"could not find subdir 'noarch' in channel '{CHANNEL}/'\nCaused by: HTTP status client error (404 Not Found)",
            "channel_not_found", f"there is no channel at {CHANNEL}",
        ),
        (
            (f"Request failed after 2 retries\nCaused by: error sending request for url ({CHANNEL}/noarch/repodata.json.zst)\nCaused by: "
            "failed to lookup address information: Name or service not known"),
            "channel_unavailable",
            f"the channel {CHANNEL} can't be reached: failed to lookup address information: Name or service not known",
        ),
        (f"no usable repodata cache for {CHANNEL}/noarch/", "offline", f"offline, and {CHANNEL} was never read on this machine"),
        (
            "failed to parse repodata.json\nCaused by: expected value at line 1 column 1",
            "bad_repodata", f"the channel {CHANNEL} sent repodata that can't be read: expected value at line 1 column 1",
        ),
        (
            "error sending request for url (https://me:hunter2@conda.example.org/corp/noarch/repodata.json)\nCaused by: timed out",
            "channel_unavailable", f"the channel {CHANNEL} can't be reached: timed out",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_with_which_channel(text: str, code: str, message: str) -> None:
    error = channel_error(text, [CHANNEL + "/"])
    assert error.stable_code == code
    assert error.message == message
