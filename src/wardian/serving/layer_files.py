"""What a serving layer is made of, as files: the same in a directory of this machine and in an image."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from wardian.image.python_layout import DirectoryLayout
from wardian.image.wheel_entries import wheel_entries
from wardian.package.archive_paths import refuse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from wardian.digest import Digest
    from wardian.image.entry import Entry
    from wardian.image.wheel_entries import ByteCodeMaker
    from wardian.serving.extension import Extension


@contextlib.contextmanager
def layer_entries(
    extension: Extension, archives: Mapping[Digest, Path], directory: str, byte_code: ByteCodeMaker | None = None
) -> Iterator[list[Entry]]:
    """Yield the files of the layer below ``directory``, to be read while the block lasts.

    A pure function of the archives, the directory and the interpreter that makes byte-code. Modules alone: nothing is put on a
    PATH. Which environment it was made for is not in it, so that environments with the same layer share it.

    Args:     archives: validated, by digest.  directory: relative to the root, with ``/``.
    Raises:   BadArchive: as ``wheel_entries``; code ``duplicate_member``: two wheels have one file.
    """
    layout = DirectoryLayout(directory)
    with contextlib.ExitStack() as stack:
        found: dict[str, Entry] = {}
        for artifact in extension.artifacts:
            archive = archives[artifact.sha256]
            for entry in stack.enter_context(wheel_entries(archive, layout, byte_code)):
                if entry.path in found:
                    refuse(
                        archive.name,
                        entry.path.removeprefix(f"{directory}/"),
                        "is a file of another package, too",
                        code="duplicate_member",
                    )
                found[entry.path] = entry
        yield list(found.values())
