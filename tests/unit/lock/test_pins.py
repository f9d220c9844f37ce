"""Reading uv's annotated output."""

from __future__ import annotations

from wardian.lock.pins import depends, parse_pins

TEXT = """\
alpha==1.0 \\
    --hash=sha256:aa \\
    --hash=sha256:bb
    # via
    #   -r requirements.in
    #   delta
    # from https://index.example/simple
beta==2.0 ; python_version < "4"
    # via alpha
gamma[extra] @ https://files.example/gamma-1.0-py3-none-any.whl
    # via -r requirements.in
delta @ git+https://git.example/delta@0123456789012345678901234567890123456789
    # via
    #   -c constraints.txt
    #   gamma
./local
    # via -r requirements.in
"""


def test_names_versions_urls_and_where_each_is_from() -> None:
    pins = parse_pins(TEXT)
    assert [(p.name, p.version) for p in pins] == [("alpha", "1.0"), ("beta", "2.0"), ("gamma", ""), ("delta", ""), ("", "")]
    assert pins[0].hashes == ["sha256:aa", "sha256:bb"]
    assert [p.root for p in pins] == [True, False, True, False, True]
    assert [p.index for p in pins] == ["https://index.example/simple", None, None, None, None]
    assert pins[1].marker == 'python_version < "4"'
    assert pins[2].url == "https://files.example/gamma-1.0-py3-none-any.whl"
    assert pins[4].text == "./local"
    assert [p.line for p in pins[:2]] == ["alpha==1.0", "beta==2.0"]


def test_depends_is_via_turned_round() -> None:
    assert depends(parse_pins(TEXT)) == {"delta": ("alpha",), "alpha": ("beta",), "gamma": ("delta",)}


def test_nothing_gives_nothing() -> None:
    assert parse_pins("") == []
    assert parse_pins("# a comment before any pin\n") == []
