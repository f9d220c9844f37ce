from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardian.definition.dockerfile import parse_dockerfile
from wardian.errors import InvalidDefinition

WHOLE = """# syntax=docker/dockerfile:1
ARG TAG=3.11
# a comment
FROM python:${TAG}-slim AS base

RUN apt-get update && \\
    # in between

    apt-get install -y git \\
    curl
copy --from=ghcr.io/some/uv:1 /uv /bin/
FROM --platform=linux/amd64 base
COPY --from=base /x /x
COPY --from=0 /y /y
RUN --mount=type=secret,id=t --mount=type=bind,from=tools:2,target=/t cat /run/secrets/t
RUN <<EOF
echo FROM inside
EOF
CMD ["python"]
"""


def test_instructions_have_their_lines() -> None:
    found = parse_dockerfile(WHOLE).instructions
    assert [(i.keyword, i.line) for i in found] == [
        ("ARG", 2), ("FROM", 4), ("RUN", 6), ("COPY", 11), ("FROM", 12), ("COPY", 13), ("COPY", 14), ("RUN", 15), ("RUN", 16), ("CMD", 19),
    ]  # fmt: skip
    assert found[2].text == "apt-get update && apt-get install -y git curl"
    assert found[8].heredocs == ("echo FROM inside",)


def test_lines_end_and_words_are_apart_as_builders_have_it() -> None:
    found = parse_dockerfile("FROM\tx\r\nRUN printf 'a\x0cb\u2028c\x85d'\r\nRUN true").instructions
    assert [(i.keyword, i.text, i.line) for i in found] == [
        ("FROM", "x", 1), ("RUN", "printf 'a\x0cb\u2028c\x85d'", 2), ("RUN", "true", 3),
    ]  # fmt: skip


def test_base_images_without_stages_and_with_arguments() -> None:
    parsed = parse_dockerfile(WHOLE)
    assert parsed.base_images() == ("python:3.11-slim", "ghcr.io/some/uv:1", "tools:2")
    assert parsed.base_images({"TAG": "3.12"})[0] == "python:3.12-slim"
    assert parse_dockerfile("FROM scratch\nADD x /\n").base_images() == ()
    assert parse_dockerfile("ARG A\nFROM ${A:-debian}\n").base_images() == ("debian",)


def test_what_only_some_builders_know_is_named() -> None:
    parsed = parse_dockerfile(WHOLE)
    assert parsed.needs_buildkit == ("line 16: a here-document",)
    assert parsed.needs_mounts
    assert parse_dockerfile("FROM a\nRUN echo $((1<<2))\n").needs_buildkit == ()


@pytest.mark.parametrize(("text", "faults"), [
    ("", [(1, "no_from")]),
    ("# nothing\n\n", [(1, "no_from")]),
    ("\nRUN x\n", [(2, "no_from")]),
    ("FROM a\nRUNN x\nCOPY a\nENV\n", [(2, "unknown_instruction"), (3, "missing_argument"), (4, "missing_argument")]),
    ("FROM a b\n", [(1, "missing_argument")]),
    ("FROM a\nRUN <<EOF\nx\n", [(2, "unterminated_heredoc")]),
    ("# escape=x\nFROM a\n", [(1, "bad_escape")]),
    ("FROM a\0\n", [(1, "not_text")]),
])  # fmt: skip
def test_every_fault_comes_with_file_and_line(text: str, faults: list[tuple[int, str]]) -> None:
    with pytest.raises(InvalidDefinition) as caught:
        parse_dockerfile(text, "docker/Dockerfile")
    assert [(fault.line, fault.code) for fault in caught.value.faults] == faults
    assert {fault.file for fault in caught.value.faults} == {"docker/Dockerfile"}


def test_another_escape_character() -> None:
    found = parse_dockerfile("# escape=`\nFROM a\nRUN x `\n  y\nRUN c:\\\nRUN z\n").instructions
    assert [(i.text, i.line) for i in found] == [("a", 2), ("x y", 3), ("c:\\", 5), ("z", 6)]


@pytest.mark.parametrize(("step", "line"), [
    ("RUN apt-get update && apt-get install -y git curl", 6),
    ("RUN apt-get update &&     apt-get install -y git     curl", 6),
    ("RUN apt-get update &&...", 6),
    ('CMD ["python"]', 19),
    ("RUN something else", None),
])  # fmt: skip
def test_the_line_that_a_builder_speaks_of(step: str, line: int | None) -> None:
    assert parse_dockerfile(WHOLE).line_of(step) == line


@given(st.text(alphabet='FROMRUN \\\n\t#<>EOF"$={}`a-', max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parsed = parse_dockerfile(f"FROM a\n{text}")
    except InvalidDefinition:
        return
    parsed.base_images()
    lines = [instruction.line for instruction in parsed.instructions]
    assert lines == sorted(set(lines))
