"""No secret is in the text that a version keeps, wherever in the file it stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from wardian import formats
from wardian.errors import InvalidDefinition

if TYPE_CHECKING:
    from pathlib import Path

TOKEN = "ghp_" + "a" * 36
SHA = "a" * 64
UV_LOCK = f"""\
version = 1
requires-python = ">=3.11"

[[package]]
name = "thesis"
version = "1"
source = {{ virtual = "." }}
dependencies = [{{ name = "six" }}]

[[package]]
name = "six"
version = "1.16.0"
source = {{ registry = "https://index.example.org/simple" }}
wheels = [{{ url = "https://URL/six-1.16.0-py2.py3-none-any.whl", hash = "sha256:{SHA}", size = 1 }}]
"""
PYLOCK = f"""\
lock-version = "1.0"
[[packages]]
name = "six"
version = "1.16.0"
wheels = [{{ url = "https://URL/six-1.16.0-py2.py3-none-any.whl", hashes = {{ sha256 = "{SHA}" }} }}]
"""
FILES = {
    "environment.yml": ("dependencies:\n  - python=3.11  # URL\n", 2),
    "requirements.txt": ("# https://URL/simple\nsix\n", 1),
    "pyproject.toml": ('[project]\nname = "a"\nversion = "1"\n[tool.upload]\nurl = "https://URL/up"\n', 5),
    "wardian.yaml": ("python: {manager: uv}  # https://URL/\n", 1),
    "script.py": ("# /// script\n# dependencies = []\n# # https://URL/\n# ///\n", 3),
    "uv.lock": (UV_LOCK, 14),
    "pylock.toml": (PYLOCK, 5),
}


@pytest.mark.parametrize("secret", [f"{TOKEN}@files.example.org", "me:pa55-word@files.example.org"])
@pytest.mark.parametrize("name", FILES)
def test_a_secret_in_what_is_kept_is_refused_by_its_line(name: str, secret: str, tmp_path: Path) -> None:
    text, line = FILES[name]
    path = tmp_path / name
    path.write_text(text.replace("https://URL", f"https://{secret}").replace("URL", f"https://{secret}"))
    with pytest.raises(InvalidDefinition) as caught:
        formats.read(path)
    assert [(fault.code, fault.line) for fault in caught.value.faults] == [("secret_in_definition", line)]
    assert "pa55" not in f"{caught.value}"
    assert TOKEN not in f"{caught.value}"


@pytest.mark.parametrize("harmless", ["${USER}:${TOKEN}@files.example.org", "git@files.example.org", "files.example.org"])
@pytest.mark.parametrize("name", FILES)
def test_addresses_without_a_secret_are_kept(name: str, harmless: str, tmp_path: Path) -> None:
    text = FILES[name][0].replace("https://URL", f"https://{harmless}").replace("URL", f"https://{harmless}")
    (tmp_path / name).write_text(text)
    assert harmless in formats.read(tmp_path / name).text


@pytest.mark.parametrize(
    ("url", "is_refused"),
    [
        ("https://conda.example.org/t/ab-12345678-90ab/main", True),
        ("https://conda.example.org/t/abc/main/noarch/a-1-0.conda", True),
        ("https://conda.example.org/t/${TOKEN}/main/noarch/a-1-0.conda", False),
        ("https://forum.example.org/t/how-to-pin/12", False),
    ],
)
def test_a_conda_token_in_a_comment_is_one_and_a_forums_address_is_none(url: str, is_refused: bool, tmp_path: Path) -> None:
    path = tmp_path / "environment.yml"
    path.write_text(f"# {url}\ndependencies: [python=3.11]\n")
    if is_refused:
        with pytest.raises(InvalidDefinition, match="looks like a secret"):
            formats.read(path)
    else:
        assert url in formats.read(path).text
