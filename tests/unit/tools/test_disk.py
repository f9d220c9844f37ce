from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from wardian.errors import Denied
from wardian.tools.disk import disk_errors

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.EPERM])
def test_what_may_not_be_written_is_denied(tmp_path: Path, number: int) -> None:
    with pytest.raises(Denied, match="cannot write below") as caught, disk_errors(tmp_path):
        raise OSError(number, "no", str(tmp_path / "a"))
    assert (caught.value.stable_code, caught.value.exit_code) == ("not_writable", 6)
