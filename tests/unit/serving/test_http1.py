"""HTTP/1.1 requests: what is understood, and what is refused because two servers could understand it in two ways."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardian.serving.server.wardian_server.http1 import BadRequest, Chunks, parse_head


def block(*lines: str, first: str = "POST /score HTTP/1.1") -> bytes:
    return "".join(f"{line}\r\n" for line in (first, "Host: localhost", *lines)).encode("latin-1")


def test_head_of_an_ordinary_request() -> None:
    head = parse_head(block("Content-Length: 7", "X-Ms-Request-Id:  a b\t", first="POST /score?a=1&b HTTP/1.1"))
    assert (head.method, head.path, head.query, head.minor) == (b"POST", b"/score", b"a=1&b", 1)
    assert (head.length, head.keeps_alive, head.expects_continue) == (7, True, False)
    assert head.headers[b"x-ms-request-id"] == b"a b"


@pytest.mark.parametrize(
    ("first", "lines", "keeps"),
    [
        ("GET / HTTP/1.1", ["Connection: close"], False),
        ("GET / HTTP/1.1", ["Connection: Keep-Alive, TE"], True),
        ("GET / HTTP/1.0", [], False),
        ("GET / HTTP/1.0", ["Connection: keep-alive"], True),
    ],
)
def test_whether_the_connection_stays(first: str, lines: list[str], keeps: bool) -> None:
    assert parse_head(block(*lines, first=first)).keeps_alive is keeps


def test_target_with_a_host() -> None:
    head = parse_head(block(first="GET http://example.org:80/score?x=1 HTTP/1.1"))
    assert (head.path, head.query) == (b"/score", b"x=1")


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET / HTTP/1.1\r\n", 400),  # no host
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n", 400),
        (b"GET  / HTTP/1.1\r\nHost: a\r\n", 400),
        (b"GET / HTTP/1.1 \r\nHost: a\r\n", 400),
        (b"GET /\r\nHost: a\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: a\r\n", 505),
        (b"GET / HTTP/1.2\r\nHost: a\r\n", 505),
        (b"PRI * HTTP/2.0\r\n", 505),
        (b"G\x00T / HTTP/1.1\r\nHost: a\r\n", 400),
        (b"GET /\x7f HTTP/1.1\r\nHost: a\r\n", 400),
        (b"GET score HTTP/1.1\r\nHost: a\r\n", 400),
        (b"GET * HTTP/1.1\r\nHost: a\r\n", 400),
        (b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n", 400),
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: a\r\n", 414),
        (block("A B: c"), 400),
        (block("A : c"), 400),
        (block(": c"), 400),
        (block("nothing"), 400),
        (block("A: b", " folded"), 400),
        (block("A: b\nC: d"), 400),
        (block("A: b\rC: d"), 400),
        (block("A: b\x00"), 400),
        (block(*[f"A{n}: b" for n in range(120)]), 431),
        (block("Content-Length: 1", "Content-Length: 1"), 400),
        (block("Content-Length: 1, 1"), 400),
        (block("Content-Length: +1"), 400),
        (block("Content-Length: -1"), 400),
        (block("Content-Length: 0x1"), 400),
        (block("Content-Length: 1_0"), 400),
        (block("Content-Length:"), 400),
        (block("Content-Length: 99999999999999999999"), 400),
        (block("Content-Length: 3", "Transfer-Encoding: chunked"), 400),
        (block("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"), 400),
        (block("Transfer-Encoding: chunked, chunked"), 501),
        (block("Transfer-Encoding: gzip, chunked"), 501),
        (block("Transfer-Encoding: xchunked"), 501),
        (block("Transfer-Encoding: chunked", first="POST / HTTP/1.0"), 400),
        (block("Transfer_Encoding : chunked"), 400),
        (block("Expect: nothing"), 417),
    ],
)
def test_refused_heads(raw: bytes, status: int) -> None:
    with pytest.raises(BadRequest) as refused:
        parse_head(raw)
    assert refused.value.status == status
    assert "\n" not in refused.value.message


@given(st.binary(max_size=200))
def test_any_bytes_are_understood_or_refused(raw: bytes) -> None:
    status = 200
    try:
        parse_head(raw + b"\r\n")
    except BadRequest as refused:
        status = refused.status
    assert 200 <= status < 600


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.data())
def test_chunked_body_however_it_is_cut(parts: list[bytes], data: st.DataObject) -> None:
    wire = b"".join(b"%X;name=value\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\nTrailer: x\r\n\r\nGET /next"
    chunks, rest = Chunks(1000), None
    while wire:
        count = data.draw(st.integers(1, len(wire)))
        taken, wire = wire[:count], wire[count:]
        rest = chunks.feed(taken)
        if rest is not None:
            break
    assert chunks.body == b"".join(parts)
    assert rest is not None
    assert rest + wire == b"GET /next"


@pytest.mark.parametrize(
    ("wire", "status"),
    [
        (b"5\r\nhelloX\r\n", 400),
        (b"5\r\nhello\rX", 400),
        (b"5\nhello\r\n", 400),
        (b"-5\r\nhello\r\n", 400),
        (b"0x5\r\nhello\r\n", 400),
        (b"\r\n", 400),
        (b"5 5\r\nhello\r\n", 400),
        (b"ffffffffffffffff\r\n", 400),
        (b"fffffff\r\n", 413),
        (b"5\r\nhello\r\n5\r\nhello\r\n1\r\n", 413),
        (b"5;" + b"x" * 600, 400),
        (b"0\r\nbad trailer\r\n\r\n", 400),
        (b"0\r\n" + b"A: b\r\n" * 2000, 431),
    ],
)
def test_refused_chunks(wire: bytes, status: int) -> None:
    chunks = Chunks(10)
    with pytest.raises(BadRequest) as refused:
        chunks.feed(wire)
    assert refused.value.status == status
