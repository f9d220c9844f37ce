"""Whatever a wheel holds: its layer stays below the environment's root and lists itself, or the wheel is refused as such."""

from __future__ import annotations

import csv
import io
import posixpath
import tarfile
import tempfile
import warnings
import zipfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from wardian.errors import BadArchive
from wardian.image.python_layout import PythonLayout
from wardian.image.tar import write_tar
from wardian.image.wheel_entries import wheel_entries

_INFO = "alpha-1.0.dist-info"
_SITE = "opt/env/lib/python3.11/site-packages"
_GOOD = ["a", "b", "c.py", "é", "__pycache__", "x" * 130, 'd,"e', "n\nl"]
_PART = st.sampled_from([*_GOOD, *_GOOD, *_GOOD, "..", ".", "", "a\\b", "C:"])
_TOP = st.sampled_from(["", "alpha/", "alpha-1.0.data/purelib/", "alpha-1.0.data/scripts/", "alpha-1.0.data/data/", "alpha-1.0.data/data/lib/python3.11/site-packages/", "alpha-1.0.data/headers/", "alpha-1.0.data/x/", f"{_INFO}/", "Alpha-1.0.data/platlib/", "/"])  # fmt: skip
_NAME = st.builds(lambda top, parts: top + "/".join(parts), _TOP, st.lists(_PART, min_size=1, max_size=3)).filter(bool)
_CONTENT = st.sampled_from(
    [b"", b"x = 1\n", b"#!python\n", b"#!python", b"#!pythonw -x\r\nq", b"\0\xff" * 300, b"#!" + b"p" * 9000]
)
_ENTRY_POINTS = st.one_of(
    st.none(),
    st.just("[console_scripts]\na = b:c\n[gui_scripts]\né = b:c.d [x]\n"),
    st.text(max_size=40),
    st.lists(
        st.sampled_from(["[console_scripts]", "[gui_scripts]", "[other]", "a = b:c", "a = b", "../x = b:c", "= b:c", "b=c.d:e.f [x]", "a = b:c d", "a:b = c:d", "A = B:C", " a = b:c", "a = é:c", "%(x)s = a:b", "a = %(b)s:c"]),
        max_size=6,
    ).map("\n".join),
)  # fmt: skip
_RECORD = st.one_of(st.none(), st.text(max_size=60), st.lists(st.tuples(_NAME, st.sampled_from(["", "sha256=abc", "md5=x", '"']), st.sampled_from(["", "0", "6", "x"])), max_size=5))  # fmt: skip
_WHEEL = st.sampled_from(
    ["Wheel-Version: 1.0\n"] * 20
    + ["", "Wheel-Version: 1.9\nRoot-Is-Purelib: false\n", "Wheel-Version: 3\n", "é", "Wheel-Version\n"]
)


@given(st.dictionaries(_NAME, _CONTENT, max_size=6), _ENTRY_POINTS, _RECORD, _WHEEL)
def test_a_wheel_stays_inside_or_is_refused(
    members: dict[str, bytes], entry_points: str | None, record: str | list[tuple[str, str, str]] | None, wheel: str
) -> None:
    if isinstance(record, list):
        text = io.StringIO(newline="")
        csv.writer(text).writerows(record)
        record = text.getvalue()
    extra = {
        f"{_INFO}/WHEEL": wheel,
        f"{_INFO}/entry_points.txt": entry_points,
        f"{_INFO}/RECORD": record if record is not None else "",
    }
    with tempfile.TemporaryDirectory() as place:
        path = Path(place, "alpha-1.0-py3-none-any.whl")
        with warnings.catch_warnings(), zipfile.ZipFile(path, "w") as archive:
            warnings.simplefilter("ignore", UserWarning)  # a name that is there twice
            for name, content in members.items():
                archive.writestr(name, content)
            for name, said in extra.items():
                if said is not None:
                    archive.writestr(name, said.encode("utf-8", "surrogatepass"))
        try:
            with wheel_entries(path, PythonLayout("3.11")) as entries:
                layer = b"".join(write_tar(entries, mtime=0))
        except BadArchive:
            return
    with tarfile.open(fileobj=io.BytesIO(layer)) as found:
        files = {m.name for m in found.getmembers() if not m.isdir()}
        assert all(m.isreg() or m.isdir() for m in found.getmembers())
        listed = found.extractfile(f"{_SITE}/{_INFO}/RECORD")
        assert listed is not None
        rows = list(csv.reader(io.StringIO(listed.read().decode(), newline="")))
    for name in files:
        assert posixpath.normpath(name) == name
        assert name.startswith("opt/env/")
        assert "__pycache__" not in name.split("/")[:-1]
    assert {posixpath.normpath(f"{_SITE}/{row[0]}") for row in rows} == files
    assert {f"{_SITE}/{_INFO}/{name}" for name in ("RECORD", "INSTALLER", "WHEEL")} <= files
