"""What a request must look like."""

from __future__ import annotations

from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from waitress.adjustments import Adjustments

from kinesis.web.parsing import (
    MAX_PATH,
    MAX_TARGET,
    Parser,
    fault_of_path,
    fault_of_target,
)

SETTINGS = Adjustments(max_request_body_size=101, max_request_header_size=8_001)

GOOD_TARGETS = [
    "/",
    "/shop/stock",
    "/shop/stock/",
    "/shop/stock?after=2&b=%2f//..",
    "/shop/caf%C3%A9",
    "/shop/...",
    "/shop/.hidden",
    "/shop/a%20b",
    "/shop/100%25",
    "/shop/%252e%252e",  # decoded once, it is the word %2e%2e
    "/-/live",
    "/" + "a" * (MAX_PATH - 1),
]

BAD_TARGETS = [
    ("//shop", 400),
    ("/shop//stock", 400),
    ("/shop/stock//", 400),
    ("/shop/.", 400),
    ("/shop/./stock", 400),
    ("/shop/..", 400),
    ("/shop/../secret", 400),
    ("/shop/%2e%2E/secret", 400),
    ("/shop/.%2e/secret", 400),
    ("/shop%2fstock", 400),
    ("/shop%2Fstock", 400),
    ("/shop%5cstock", 400),
    ("/shop\\stock", 400),
    ("/shop%00", 400),
    ("/shop%0d%0aX:1", 400),
    ("/shop%7f", 400),
    ("/shop/%", 400),
    ("/shop/%zz", 400),
    ("/shop/%ff", 400),
    ("/shop#part", 400),
    ("/shop\x00", 400),
    ("/shop\x1b[2J", 400),
    ("/caf\xe9", 400),
    ("shop", 400),
    ("*", 400),
    ("", 400),
    ("http://evil.example/shop", 400),
    ("evil.example:443", 400),
    ("/" + "a" * MAX_PATH, 414),
    ("/?" + "a" * MAX_TARGET, 414),
]


def parsed(head: bytes, body: bytes = b"") -> Parser:
    """Return the parser after it has got those bytes."""
    parser = Parser(SETTINGS)
    taken = parser.received(head)
    if not parser.completed:
        parser.received((head + body)[taken:])
    return parser


def status_of(head: bytes, body: bytes = b"") -> int | None:
    """Return the status that those bytes are refused with; None if taken."""
    parser = parsed(head, body)
    assert parser.completed, "it waits for more"
    return parser.error.code if parser.error else None


@pytest.mark.parametrize("target", GOOD_TARGETS)
def test_a_plain_path_is_taken(target: str):
    """
    What components are called, and queries as they like.
    """
    assert fault_of_target("GET", target) is None


@pytest.mark.parametrize(("target", "status"), BAD_TARGETS)
def test_a_target_that_two_readers_could_read_differently_is_refused(
    target: str, status: int
):
    """
    Before it is decoded, and so before it can be routed anywhere.
    """
    fault = fault_of_target("GET", target)

    assert fault is not None
    assert status == fault.status


def test_the_server_as_a_whole_has_options():
    """
    ``OPTIONS *`` is the one target that is no path.
    """
    assert fault_of_target("OPTIONS", "*") is None


@given(st.text())
def test_a_path_that_is_taken_names_what_it_seems_to_name(text: str):
    """
    Whatever a name is made of: encoded, it is refused, or read back as itself.
    """
    path = "/" + quote(text, safe="/")
    if fault_of_path(path) is None:
        names = unquote(path)[1:].split("/")

        assert text.split("/") == names
        assert {".", ".."}.isdisjoint(names)
        assert not set("\\\0\r\n").intersection(text)


@given(st.lists(st.sampled_from([*"a.%/\\25eEfFcC0", "%2e", "%2f", "..", "//"])))
def test_no_spelling_of_two_dots_or_of_a_slash_gets_through(parts: list[str]):
    """
    Decoding once more than we do, as a careless reader might, is harmless too.
    """
    path = "/" + "".join(parts)
    if fault_of_path(path) is None:
        once = unquote(path, errors="strict")

        assert path.count("/") == once.count("/")
        assert {"", ".", ".."}.isdisjoint(once.split("/")[1:-1])


GET = b"GET / HTTP/1.1\r\nHost: a\r\n"

BAD_HEADS = [
    ("both lengths", b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", 400),
    (
        "both, the other way",
        b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
        400,
    ),
    ("chunked twice", b"Transfer-Encoding: chunked, chunked\r\n", 400),
    ("two codings", b"Transfer-Encoding: chunked\r\n" * 2, 400),
    ("empty coding", b"Transfer-Encoding: \r\nContent-Length: 3\r\n", 400),
    ("another coding", b"Transfer-Encoding: gzip\r\n", 501),
    ("gzip, chunked", b"Transfer-Encoding: gzip, chunked\r\n", 501),
    ("two lengths", b"Content-Length: 3\r\nContent-Length: 4\r\n", 400),
    ("the same length twice", b"Content-Length: 3\r\nContent-Length: 3\r\n", 400),
    ("negative length", b"Content-Length: -1\r\n", 400),
    ("signed length", b"Content-Length: +1\r\n", 400),
    ("underscore in length", b"Content-Length: 1_0\r\n", 400),
    ("no length", b"Content-Length: \r\n", 400),
    ("a length without end", b"Content-Length: " + b"9" * 3_000 + b"\r\n", 413),
    ("a length that int refuses", b"Content-Length: " + b"9" * 5_000 + b"\r\n", 400),
    ("two hosts", b"Host: b\r\n", 400),
    ("folded header", b"X: a\r\n b\r\n", 400),
    ("space before colon", b"X : a\r\n", 400),
    ("no colon", b"nonsense\r\n", 400),
    ("bare CR", b"X: a\rb\r\n", 400),
    ("bare LF", b"X: a\nY: b\r\n", 400),
    ("NUL", b"X: a\0b\r\n", 400),
]


@pytest.mark.parametrize(
    ("headers", "status"),
    [case[1:] for case in BAD_HEADS],
    ids=[c[0] for c in BAD_HEADS],
)
def test_headers_that_two_servers_could_read_differently_are_refused(
    headers: bytes, status: int
):
    """
    Smuggling needs a request that ends in two places.
    """
    assert status == status_of(GET + headers + b"\r\n")


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),  # no Host
        (b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
        (b"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\nHost: a\r\n\r\n", 505),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505),
        (b"GET /\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1 x\r\nHost: a\r\n\r\n", 400),
        (b"get / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET http://[ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /a\x00b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /caf\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400),  # a TLS hello, mostly
        (b"\x00\xff\xfe\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 8_000 + b"\r\n\r\n", 431),
    ],
)
def test_a_first_line_or_host_that_is_wrong_is_refused(head: bytes, status: int):
    """
    With the status that says which.
    """
    assert status == status_of(head)


def test_requests_as_clients_send_them_are_taken():
    """
    Bodies of either kind, up to the limit; none at all; HTTP/1.0 without a Host.
    """
    chunked = b"Transfer-Encoding: Chunked\r\n\r\n"

    assert status_of(GET + b"\r\n") is None
    assert status_of(GET + b"Content-Length: 100\r\n\r\n", b"a" * 100) is None
    assert status_of(GET + chunked, b"3\r\nabc\r\n0\r\n\r\n") is None
    assert status_of(b"GET / HTTP/1.0\r\n\r\n") is None
    assert status_of(b"GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n") is None


def test_spaces_around_a_value_are_no_part_of_it():
    """
    However many, and tabs too.
    """
    coding = b"Transfer-Encoding: \t chunked \t \r\n\r\n"

    assert parsed(GET + b"X: \t  a: b \t\r\n\r\n").headers["X"] == "a: b"
    assert status_of(GET + coding, b"3\r\nabc\r\n0\r\n\r\n") is None


def test_a_body_over_the_limit_is_refused_before_it_has_come():
    """
    By its Content-Length, or once the chunks have become too many.
    """
    parser = parsed(GET + b"Content-Length: 101\r\n\r\n")
    chunked = GET + b"Transfer-Encoding: chunked\r\n\r\n"

    assert parser.error.code == 413
    assert parser.error.body == "the body is longer than 100 bytes."
    assert status_of(chunked, b"70\r\n" + b"a" * 112 + b"\r\n") == 413


def test_a_chunk_that_is_none_is_refused():
    """
    Bad sizes, bad extensions, bad ends.
    """
    head = GET + b"Transfer-Encoding: chunked\r\n\r\n"

    for body in (b"-1\r\n", b"0x3\r\n", b"3;\nx\r\n", b"3\r\nabcd\r\n"):
        assert status_of(head, body) == 400, body


def test_chunks_that_are_mostly_framing_are_refused():
    """
    Some small ones are taken; 6 000 of one byte each would keep the loop busy.
    """
    head = GET + b"Transfer-Encoding: chunked\r\n\r\n"
    large = Adjustments(max_request_body_size=2**20)

    def fed(body: bytes) -> Parser:
        parser = Parser(large)
        data = head + body
        while data and not parser.completed:
            data = data[parser.received(data) :]
        parser.close()  # large bodies are in files
        return parser

    taken = fed(b"1\r\na\r\n" * 1_000 + b"0\r\n\r\n")

    assert taken.error is None
    assert taken.headers["CONTENT_LENGTH"] == "1000"

    framed = b"1\r\na\r\n" * 6_000 + b"0\r\n\r\n"
    extended = b"1;" + b"x=y;" * 100 + b"x=y\r\na\r\n"

    for body in (framed, extended * 50 + b"0\r\n\r\n", b"0" * 20_000):
        assert fed(body).error.code == 400

    assert fed((b"400\r\n" + b"a" * 1_024 + b"\r\n") * 900).error is None


def test_a_chunked_body_is_read_in_slices():
    """
    Each chunk copies what follows it, so all at once would take time squared.
    """
    parser = Parser(Adjustments())
    parser.received(GET + b"Transfer-Encoding: chunked\r\n\r\n")
    body = b"5\r\nabcde\r\n" * 10_000

    assert 0 < parser.received(body) <= 4_096


def test_a_head_of_many_lines_is_refused():
    """
    Each line takes the loop as long as a whole short request.
    """
    assert status_of(GET + b"a:b\r\n" * 200 + b"\r\n") is None
    assert status_of(GET + b"a:b\r\n" * 300 + b"\r\n") == 431


def test_close_among_other_options_closes_the_connection():
    """
    ``Connection: TE, close`` means close.
    """
    parser = parsed(GET + b"Connection: TE, Close\r\n\r\n")

    assert parser.connection_close
    assert parser.headers["CONNECTION"] == "close"


def test_a_name_that_a_gateway_would_confuse_is_not_seen():
    """
    ``X_A`` and ``X-A`` are one name to an application: the first is dropped.
    """
    parser = parsed(GET + b"X_A: spoofed\r\nX-A: true\r\n\r\n")

    assert parser.headers["X_A"] == "true"


@given(st.binary(max_size=200), st.integers(0, 200))
def test_no_bytes_make_the_parser_raise(data: bytes, cut: int):
    """
    Garbage in two pieces: it waits for more, takes it, or refuses it.
    """
    parser = Parser(SETTINGS)
    for part in (data[:cut], data[cut:]):
        if part and not parser.completed:
            parser.received(part)

    assert parser.error is None or 400 <= parser.error.code < 600


HEADERS = st.sampled_from(
    [b"Host: a", b"Content-Length: 3", b"Transfer-Encoding: chunked", b"X: 1"]
)


@given(st.lists(HEADERS, max_size=5), st.sampled_from([b"1.0", b"1.1"]))
def test_a_request_that_is_taken_has_one_length_and_at_most_one_host(
    headers: list[bytes], version: bytes
):
    """
    Whatever headers come together.
    """
    parser = Parser(SETTINGS)
    parser.received(b"\r\n".join([b"POST / HTTP/" + version, *headers, b"", b""]))

    lengths = [h for h in headers if h[:1] in b"CT"]
    taken = parser.error is None
    allowed = len(lengths) <= 1 and headers.count(b"Host: a") <= 1
    if version == b"1.1":
        assert taken == (allowed and b"Host: a" in headers)
    else:
        assert taken == (allowed and b"Transfer-Encoding: chunked" not in headers)
