from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wardian.tools.ignore_rules import IgnoreRules

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("a", "b", "ab", "a.py", "b.pyc", "c d", "x-y", "foo", "[a", "!b", "#c", "a]")
TOKENS = ("a", "b", "ab", "*", "**", "?", "[ab]", "[!a]", "[^b]", "[a-c]", "/", "**/", "/**", ".py", "foo", "\\", "!", "#", " ", "[", "]",
          "[[:alpha:]]", "-", "[]a]", "[a-]", "\\*", "c d", "x", "***", "[[:nope:]]", "\t", "[\\]]")  # fmt: skip
PATHS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=4).map("/".join)
PATTERNS = st.tuples(st.sampled_from(["", "", "!"]), st.lists(st.sampled_from(TOKENS), min_size=1, max_size=5)).map(
    lambda parts: parts[0] + "".join(parts[1])
)


def is_ignored(rules: IgnoreRules, path: str) -> bool:
    parts = path.split("/")
    parents = ("/".join(parts[:n]) for n in range(1, len(parts)))
    return any(rules.decide(parent, is_directory=True) for parent in parents) or bool(rules.decide(path, is_directory=False))


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("repository")
    subprocess.run(["git", "init", "-q", str(path)], check=True)
    return path


@settings(max_examples=60)
@given(lines=st.lists(PATTERNS, min_size=1, max_size=4), paths=st.lists(PATHS, min_size=20, max_size=40, unique=True))
def test_git_says_the_same(repository: Path, lines: list[str], paths: list[str]) -> None:
    text = "\n".join(lines) + "\n"
    (repository / ".gitignore").write_text(text)
    command = ["git", "-C", str(repository), "check-ignore", "-v", "-n", "-z", "--no-index", "--stdin"]
    answer = subprocess.run(command, input="\0".join(paths) + "\0", capture_output=True, text=True, check=False)
    fields = answer.stdout.split("\0")
    asked = zip(fields[3::4], fields[2::4], strict=False)
    expected = {path: bool(pattern) and not pattern.startswith("!") for path, pattern in asked}
    assert set(expected) == set(paths)
    rules = IgnoreRules(text)
    assert {path: is_ignored(rules, path) for path in paths} == expected


@pytest.mark.parametrize(("text", "path", "expected"), [
    ("*.pyc", "a/b.pyc", True),
    ("build/", "build", None),  # a file, and the pattern is for directories
    ("/top", "sub/top", None),
    ("a\\ ", "a ", True),
    ("a ", "a", True),
    ("*.log\r\n!keep.log\r\n", "keep.log", False),
    ("\ufeffa", "a", True),
    ("\\#a\n\\!b", "#a", True),
    ("doc/**/x.md", "doc/x.md", True),
    ("größe?.txt", "größe1.txt", True),
    ("?", "ö", True),  # characters, where git counts bytes
    ("/", "a", None),
    ("", "a", None),
])  # fmt: skip
def test_cases_by_hand(text: str, path: str, expected: bool | None) -> None:
    assert IgnoreRules(text).decide(path, is_directory=False) is expected
