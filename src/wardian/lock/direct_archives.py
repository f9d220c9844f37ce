"""Archives that requirements name by URL: fetched and checked before uv sees them, so that they are fetched once."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from wardian.digest import Digest
from wardian.tools.http import without_credentials

if TYPE_CHECKING:
    from collections.abc import Collection

    from wardian.lock.ports import Archives, Obtained


class DirectArchives:
    """The archives of one solve that were fetched first, by the file URL that uv is told instead of their own."""

    def __init__(self, archives: Archives, trusted: Collection[str]):
        self._archives = archives
        self._trusted = trusted
        self._fetched: dict[str, tuple[str, Obtained]] = {}

    def line(self, line: str) -> str:
        """Return a requirement line (``name @ URL``, or a URL alone) with the place of its archive, which is fetched.

        Raises:   BadArchive, NotFound, Denied, Unavailable: as ``Archives.obtain``.
        """
        start, at, url = line.rpartition(" @ ")
        address, hash_mark, fragment = url.strip().partition("#")
        if not address.startswith(("http://", "https://")):
            return line
        place = self.obtain(url.strip()).path.as_uri()
        return f"{start}{at}{place}{hash_mark}{fragment}"

    def obtain(self, url: str) -> Obtained:
        """Return the archive at ``url``, of the digest that its fragment names, if it names one."""
        address, _, fragment = url.partition("#")
        wanted = re.search(r"(?:^|&)sha256=([0-9a-f]{64})", fragment)
        file = file_of(address)
        archive = self._archives.obtain([address], file, kind=kind_of(file), trusted=self._trusted,
                                        sha256=Digest(wanted[1]) if wanted else None)  # fmt: skip
        self._fetched[archive.path.as_uri()] = (url, archive)
        return archive

    def original(self, place: str) -> tuple[str, Obtained | None]:
        """Return the URL and the archive that stand behind what uv was told; ``place`` itself if it was told just that."""
        return self._fetched.get(place.partition("#")[0], (place, None))

    def restored(self, text: str) -> str:
        """Return what uv wrote with the URLs of the definition in it."""
        for place, (url, _) in self._fetched.items():
            text = text.replace(place, without_credentials(url))
        return text


def file_of(url: str) -> str:
    """Return the file name at the end of a URL."""
    return unquote(urlsplit(url).path).rpartition("/")[2]


def kind_of(file: str) -> str:
    """Return ``wheel`` or ``sdist``."""
    return "wheel" if file.endswith(".whl") else "sdist"
