"""Where a Python's packages lie below an environment's root."""

from __future__ import annotations

import re
from dataclasses import dataclass

from wardian.errors import InvalidInput
from wardian.image.entry import ENVIRONMENT, ENVIRONMENT_PATH

INTERPRETER = f"{ENVIRONMENT_PATH}/bin/python"  # what scripts in an image begin with
_MINOR = re.compile(r"3\.\d+")


@dataclass(frozen=True, slots=True)
class PythonLayout:
    """The places of one Python, relative to the environment's root.

    Attributes:
        minor: ``3.12``.
        site_packages: ``lib/python3.12/site-packages`` unless the interpreter says something else (``lib/python3.13t/…``).
    """

    minor: str
    site_packages: str = ""

    def __post_init__(self) -> None:
        """Fill in the usual place.

        Raises:   InvalidInput: code ``invalid_python``: not a minor version of Python 3.
        """
        if not _MINOR.fullmatch(self.minor):
            raise InvalidInput(f"`{self.minor}` is not a minor version of Python 3, such as `3.12`", code="invalid_python")
        if not self.site_packages:
            object.__setattr__(self, "site_packages", f"lib/python{self.minor}/site-packages")

    def scheme(self, distribution: str) -> dict[str, str]:
        """Return the directory in the image of each kind of file that a wheel may hold.

        Source:   PEP 427, ``.data``; sysconfig's ``posix_prefix``
        """
        site = f"{ENVIRONMENT}/{self.site_packages}"
        return {
            "purelib": site, "platlib": site, "scripts": f"{ENVIRONMENT}/bin", "data": ENVIRONMENT,
            "headers": f"{ENVIRONMENT}/include/python{self.minor}/{distribution}",
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class DirectoryLayout:
    """One directory that is put on Python's path. What a wheel has beside modules (scripts, data, headers) is left out.

    Attributes:
        directory: as the tar archive of an image has it: relative to the root.
    """

    directory: str

    def scheme(self, distribution: str) -> dict[str, str]:  # noqa: ARG002 - as of ``PythonLayout``
        """Return the one directory, for the two kinds of modules."""
        return {"purelib": self.directory, "platlib": self.directory}
