"""Well-formed requests of every shape that RFC 9112 allows, for hypothesis.

@given(streams())
def test(stream: Stream): ...    # stream.pieces, sent one by one, are the whole

What a body means is chosen too: bodies for routes that ignore them look like requests, so that a
server which loses count answers them.
"""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

SMUGGLED = b"POST /score HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\n{}"
CLOSING = b"GET /last HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
"""Ends a stream: after its 404 the server closes, so that all there is to read has an end."""


@dataclass(frozen=True, slots=True)
class Stream:
    """Requests in a row, and the pieces they are sent in."""

    requests: tuple[bytes, ...]
    pieces: tuple[bytes, ...]

    @property
    def whole(self) -> bytes:
        """What the server reads in the end."""
        return b"".join(self.pieces)


def scoring_body(number: int) -> bytes:
    """One row that says which request it belongs to."""
    return b'{"data": [[%d, 1, 2, 3]]}' % number


def scoring_request(number: int, *headers: bytes, target: bytes = b"/score") -> bytes:
    """A plain one, with ``number`` in its body and as its id."""
    body = scoring_body(number)
    head = [
        b"POST %s HTTP/1.1" % target,
        b"Host: test",
        b"Content-Type: application/json",
        b"X-Request-Id: %d" % number,
        b"Content-Length: %d" % len(body),
        *headers,
    ]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def chunked(body: bytes, size: int, extension: bytes = b"", trailers: bytes = b"") -> bytes:
    """``body`` in chunks of ``size`` bytes."""
    parts = [body[place : place + size] for place in range(0, len(body), size)]
    framed = [b"%x%s\r\n%s\r\n" % (len(part), extension, part) for part in parts]
    return b"".join(framed) + b"0%s\r\n%s\r\n" % (extension, trailers)


SCORE_TARGETS = [b"/score", b"/score?x=1", b"http://test/score", b"/%73core", b"/score?"]
READ_TARGETS = [b"/", b"/?x=%20&y=;", b"/healthz", b"/metrics", b"http://test/", b"/%68ealthz"]
OTHER_LINES = [
    (b"POST", b"/nope"),
    (b"POST", b"/"),
    (b"PUT", b"/score"),
    (b"GET", b"/score"),
    (b"HEAD", b"/score"),
    (b"OPTIONS", b"/"),
    (b"DELETE", b"/metrics"),
    (b"POST", b"/score/x"),
    (b"POST", b"http://test/nope?q"),
]
FILLERS = [
    b"Accept: */*",
    b"X-Twice: a",
    b"X-Twice: b",
    b"X-Empty:",
    b"X-Odd: \xff\xc3\xa9",
    b'Cookie: a=b; c="d"',
    b"TE: trailers",
    b"Connection: keep-alive",
    b"Connection: X-Empty, TE",
    b"X-Long: " + b"v" * 3000,
    b"!#$%&'*+-.^_`|~: token",
    b"Transfer_Encoding: chunked",
    b"Content-Length-X: 7",
    b"Expect: 100-continue",
]
TRAILERS = [b"", b"X-Sum: 1\r\n", b"X-A: b\r\nx-c: d\r\n", b"Host: other\r\n"]
EXTENSIONS = [b"", b";a", b";a=b", b';a="q; x"', b";ieof;b=c"]


@st.composite
def _spaced(draw: st.DrawFn, line: bytes) -> bytes:
    """The same header in another case, with other optional whitespace."""
    name, _, value = line.partition(b":")
    before = draw(st.sampled_from([b" ", b"", b"\t", b"  \t"]))
    after = draw(st.sampled_from([b"", b" ", b"\t "]))
    if name == b"Transfer-Encoding":
        after = after.strip()  # STRICTER in test_http_conformance.py
    cased = draw(st.sampled_from([name, name.lower(), name.upper(), name.title()]))
    return cased + b":" + before + value.strip() + after


@st.composite
def _framed(draw: st.DrawFn, body: bytes) -> tuple[list[bytes], bytes]:
    """Headers and bytes of ``body``, by length or in chunks."""
    if draw(st.booleans()):
        zeros = draw(st.sampled_from([b"", b"0", b"000"]))
        return [b"Content-Length: %s%d" % (zeros, len(body))], body
    size = draw(st.integers(1, max(1, len(body))))
    extension, trailers = draw(st.sampled_from(EXTENSIONS)), draw(st.sampled_from(TRAILERS))
    coding = draw(st.sampled_from([b"chunked", b"Chunked", b"CHUNKED"]))
    return [b"Transfer-Encoding: " + coding], chunked(body, size, extension, trailers)


@st.composite
def request(draw: st.DrawFn, number: int, *, is_last: bool = False) -> bytes:
    """One request; the last one of a connection says so, by header or by version."""
    kind = draw(st.sampled_from(["score", "score", "read", "other"]))
    body: bytes | None = None
    if kind == "score":
        method, target = b"POST", draw(st.sampled_from(SCORE_TARGETS))
        body = draw(st.sampled_from([scoring_body(number), scoring_body(number), b"{nonsense"]))
    elif kind == "read":
        method = draw(st.sampled_from([b"GET", b"GET", b"HEAD"]))
        target = draw(st.sampled_from(READ_TARGETS))
        body = draw(st.sampled_from([None, None, b"", SMUGGLED]))
    else:
        method, target = draw(st.sampled_from(OTHER_LINES))
        body = draw(st.sampled_from([None, b"", SMUGGLED]))
    headers, payload = ([], b"") if body is None else draw(_framed(body))
    headers = [*headers, b"Host: test", b"X-Request-Id: %d" % number]
    headers += draw(st.lists(st.sampled_from(FILLERS), max_size=4))
    version = b"1.1"
    if is_last and draw(st.booleans()):
        version = b"1.0"
        headers = [line for line in headers if b"keep-alive" not in line]
        if body is not None:  # HTTP/1.0 has no chunks
            headers = [line for line in headers if not line.startswith(b"Transfer-E")]
            payload = body
            headers = [line for line in headers if not line.startswith(b"Content-Length:")]
            headers.append(b"Content-Length: %d" % len(body))
    elif is_last:
        headers.append(draw(st.sampled_from([b"Connection: close", b"Connection: TE, Close"])))
    lines = [draw(_spaced(line)) for line in draw(st.permutations(headers))]
    start = b"%s %s HTTP/%s" % (method, target, version)
    return b"\r\n".join([start, *lines, b"", payload])


@st.composite
def streams(draw: st.DrawFn, *, ends: bool = True) -> Stream:
    """One to eight requests in pieces cut anywhere; ``ends``: the last of them closes."""
    count = draw(st.integers(1, 8))
    requests = [draw(request(place, is_last=ends and place == count - 1)) for place in range(count)]
    whole = b"".join(requests)
    cuts = sorted(draw(st.sets(st.integers(1, max(1, len(whole) - 1)), max_size=12)))
    pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    return Stream(tuple(requests), tuple(piece for piece in pieces if piece))
