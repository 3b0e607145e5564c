"""Requests whose framing is a trick: two readers of the same bytes would see two different requests."""

from collections.abc import Iterator
from typing import Final

from tests.integration.receiver.hostile.case import REFUSED, STORED, UNPROVEN, Case, raw
from tests.integration.receiver.wire import ACCOUNT, DOOR, SIGNATURE, chunked, lead, post

_HIDDEN: Final = post(DOOR, b"leads[add][0][id]=666")
_CHUNKED: Final = "Transfer-Encoding: chunked"


def _lengths() -> Iterator[Case]:
    for name, value in {
        "a plus sign": "+5",
        "a minus sign": "-5",
        "a space inside": "5 5",
        "a comma": "5, 5",
        "two values": "5,6",
        "hexadecimal": "0x5",
        "a fraction": "5.0",
        "an exponent": "5e0",
        "an underscore": "5_0",
        "letters": "five",
        "nothing": "",
        "twenty digits": "9" * 20,
        "five thousand digits": "9" * 5000,
        "full-width digits": "\xef\xbc\x95",
        "a superscript": "\xb2",
        "a semicolon": "5;x",
        "a quote": '"5"',
        "a NUL": "5\0",
    }.items():
        answers = REFUSED | STORED if not value else REFUSED
        yield Case(
            f"length: {name}",
            raw(f"POST {DOOR} HTTP/1.1\nContent-Length: {value}", b"a=b=c" * 12),
            answers,
            stored=None if not value else False,
        )
    for name, lines in {
        "two that differ": "Content-Length: 5\nContent-Length: 6",
        "two that are the same": "Content-Length: 5\nContent-Length: 5",
        "two in different case": "content-length: 5\nCONTENT-LENGTH: 6",
        "with an underscore beside it": "Content_Length: 500\nContent-Length: five",
        "a space before its colon": "Content-Length : 5",
        "a tab before its colon": "Content-Length\t: 5",
        "folded": "Content-Length:\n 5",
        "with chunked": f"Content-Length: 5\n{_CHUNKED}",
        "after chunked": f"{_CHUNKED}\nContent-Length: 5",
        "with identity": "Content-Length: 5\nTransfer-Encoding: identity",
    }.items():
        yield Case(f"length: {name}", raw(f"POST {DOOR} HTTP/1.1\n{lines}", b"a=bcd" + _HIDDEN))
    yield Case("length: longer than what comes", post(DOOR, lead()).replace(b"Content-Length: ", b"Content-Length: 9"))
    yield Case("length: of 8 MiB and one, announced", raw(f"POST {DOOR} HTTP/1.1\nContent-Length: {8 * 2**20 + 1}"))
    yield Case(
        "length: of 1 MiB and one, unproven",
        raw(f"POST /webhooks/{ACCOUNT}/ HTTP/1.1\nX-Signature: {SIGNATURE}\nContent-Length: {2**20 + 1}"),
        frozenset({413}),
    )
    yield Case("length: none at all", raw(f"POST {DOOR} HTTP/1.1"), STORED, stored=True)


def _codings() -> Iterator[Case]:
    for coding in (
        "gzip, chunked", "chunked, gzip", "chunked, chunked", "identity", "identity, chunked", "xchunked", "chunkedx",
        "chunked;q=1", '"chunked"', "chun ked", "chunked,", ",chunked", "gzip", "deflate", "compress", "\x0bchunked",
        "chunked\x0b", "chunked\xa0", "lead", "trailers", "chunked\0", "",
    ):  # fmt: skip
        yield Case(
            f"coding: {coding!r}",
            raw(f"POST {DOOR} HTTP/1.1\nTransfer-Encoding: {coding}", b"5\r\na=bcd\r\n0\r\n\r\n" + _HIDDEN),
            REFUSED | (STORED if not coding or coding.strip(",") == "chunked" else frozenset()),
            stored=None if not coding or coding.strip(",") == "chunked" else False,
        )
    for name, lines in {
        "twice": f"{_CHUNKED}\n{_CHUNKED}",
        "a space before its colon": "Transfer-Encoding : chunked",
        "a leading space": " Transfer-Encoding: chunked",
        "folded": "Transfer-Encoding:\n chunked",
        "with gzip beside it": "Transfer-Encoding: gzip\nTransfer-Encoding: chunked",
        "with an underscore": "Transfer_Encoding: chunked\nContent-Length: x",
    }.items():
        yield Case(
            f"coding: {name}",
            raw(f"POST {DOOR} HTTP/1.1\n{lines}", b"5\r\na=bcd\r\n0\r\n\r\n" + _HIDDEN),
            REFUSED,
        )
    yield Case("coding: chunked in HTTP/1.0", chunked(DOOR, b"a=b").replace(b"HTTP/1.1", b"HTTP/1.0"))


def _chunks() -> Iterator[Case]:
    for name, chunks in {
        "a size of letters": b"zz\r\na=b\r\n0\r\n\r\n",
        "a negative size": b"-3\r\na=b\r\n0\r\n\r\n",
        "a size with a sign": b"+3\r\na=b\r\n0\r\n\r\n",
        "a size with 0x": b"0x3\r\na=b\r\n0\r\n\r\n",
        "a size with an underscore": b"0_3\r\na=b\r\n0\r\n\r\n",
        "a size with a space before": b" 3\r\na=b\r\n0\r\n\r\n",
        "no size": b"\r\na=b\r\n0\r\n\r\n",
        "a size of 17 digits": b"10000000000000003\r\na=b\r\n0\r\n\r\n",
        "a size of a gigabyte": b"40000000\r\na=b",
        "a size beyond 64 bits": b"ffffffffffffffff\r\na=b",
        "a size line without an end": b"3" * 70_000,
        "an extension of 1 MB": b"3;" + b"x" * 1_000_000 + b"\r\na=b\r\n0\r\n\r\n",
        "a chunk longer than its size": b"2\r\na=b\r\n0\r\n\r\n",
        "a chunk shorter than its size": b"9\r\na=b\r\n0\r\n\r\n",
        "half a chunk": b"ff\r\na=b",
        "half a size": b"f",
        "nothing at all": b"",
        "no last chunk": b"3\r\na=b\r\n",
        "no empty line": b"3\r\na=b\r\n0\r\n",
        "bare line feeds": b"3\na=b\n0\n\n",
        "bare carriage returns": b"3\ra=b\r0\r\r",
        "a NUL in the size": b"3\0\r\na=b\r\n0\r\n\r\n",
        "a size in UTF-8": "３\r\na=b\r\n0\r\n\r\n".encode(),
    }.items():
        yield Case(f"chunk: {name}", raw(f"POST {DOOR} HTTP/1.1\n{_CHUNKED}", chunks))
    for name, chunks in {
        "an extension": b"3;name=value\r\na=b\r\n0\r\n\r\n",
        "an extension with a bare line feed": b"3;na\nme\r\na=b\r\n0\r\n\r\n",
        "a trailer": b"3\r\na=b\r\n0\r\nX-Late: 1\r\n\r\n",
        "a trailer that is a proof": b"3\r\na=b\r\n0\r\nX-Signature: 0\r\n\r\n",
        "a trailer that is a length": b"3\r\na=b\r\n0\r\nContent-Length: 5\r\n\r\n",
        "forty leading zeros": b"0" * 40 + b"3\r\na=b\r\n0\r\n\r\n",
        "a last chunk of many zeros": b"3\r\na=b\r\n00000\r\n\r\n",
    }.items():
        yield Case(
            f"chunk: {name}",
            raw(f"POST {DOOR} HTTP/1.1\n{_CHUNKED}", chunks),
            REFUSED | STORED,
            stored=None,
        )
    yield Case("chunk: one byte each", chunked(DOOR, *[b"%c" % byte for byte in lead(7001)]), STORED, stored=True)
    yield Case(
        "chunk: 1 MiB and one, unproven",
        lambda: chunked(f"/webhooks/{ACCOUNT}/", b"a" * (2**20 + 1), lines=[f"X-Signature: {SIGNATURE}"]),
        frozenset({413}),
    )
    yield Case("chunk: 8 MiB and one, proven", lambda: chunked(DOOR, b"a" * (8 * 2**20), b"a"), frozenset({413}))


def _lines() -> Iterator[Case]:
    """The request line and what stands in it."""
    for name, line in {
        "no version": f"POST {DOOR}",
        "version 0.9": f"POST {DOOR} HTTP/0.9",
        "version 2": f"POST {DOOR} HTTP/2.0",
        "version 9.9": f"POST {DOOR} HTTP/9.9",
        "version of letters": f"POST {DOOR} HTTP/a.b",
        "a version in lower case": f"POST {DOOR} http/1.1",
        "another protocol": f"POST {DOOR} ICAP/1.1",
        "two spaces": f"POST  {DOOR} HTTP/1.1",
        "a tab": f"POST\t{DOOR}\tHTTP/1.1",
        "a space in the target": f"POST {DOOR} x HTTP/1.1",
        "a NUL in the target": f"POST {DOOR}\0 HTTP/1.1",
        "a carriage return in the target": f"POST {DOOR}\rX: 1 HTTP/1.1",
        "bytes beyond ASCII in the target": f"POST {DOOR}\xff\xfe HTTP/1.1",
        "nothing but a method": "POST",
        "an empty target": "POST  HTTP/1.1",
        "a lower case method": f"post {DOOR} HTTP/1.1",
        "a method with a NUL": f"PO\0ST {DOOR} HTTP/1.1",
        "a method of 300 letters": f"{'P' * 300} {DOOR} HTTP/1.1",
        "a target of 3 kB": f"POST {DOOR}{'a' * 3000} HTTP/1.1",
        "a target of 60 kB": f"POST {DOOR}{'a' * 60_000} HTTP/1.1",
        "a query of 60 kB": f"POST {DOOR}?{'a' * 60_000} HTTP/1.1",
        "HTTP/2's preface": "PRI * HTTP/2.0",
        "CONNECT": "CONNECT hooks.example.org:443 HTTP/1.1",
        "an asterisk": "OPTIONS * HTTP/1.1",
        "POST to an asterisk": "POST * HTTP/1.1",
        "TRACE": f"TRACE {DOOR} HTTP/1.1",
        "an unknown method": f"BREW {DOOR} HTTP/1.1",
        "DELETE": f"DELETE {DOOR} HTTP/1.1",
        "another host's absolute target": f"POST http://169.254.169.254{DOOR}x/ HTTP/1.1",
        "no slash": "POST webhooks HTTP/1.1",
        "a fragment": "POST /webhooks/#1 HTTP/1.1",
        "a backslash": "POST \\webhooks\\ HTTP/1.1",
    }.items():
        yield Case(f"line: {name}", raw(line, b""))
    absolute = raw(f"POST http://other.example{DOOR} HTTP/1.1\nContent-Length: 3", b"a=1")
    yield Case("line: an absolute target", absolute, REFUSED | STORED, stored=None)
    yield Case("line: none", b"\r\n\r\n", REFUSED)
    yield Case("line: binary", bytes(range(256)) * 4)
    yield Case("line: a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 500)
    yield Case("line: a Redis command", b"*1\r\n$8\r\nFLUSHALL\r\n")
    yield Case("line: a PROXY protocol line", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + post(DOOR, b"a=1"))
    yield Case("line: 100 kB without an end", b"POST /" + b"a" * 100_000)
    yield Case("line: a body alone", lead() + b"\r\n\r\n")
    yield Case("line: nothing", b"")


def _headers() -> Iterator[Case]:
    for name, lines in {
        "no colon": "X-Strange",
        "no name": ": value",
        "a space in the name": "X Strange: 1",
        "a space before the colon": "X-Strange : 1",
        "folded": "X-Strange: 1\n 2",
        "a leading space": " X-Strange: 1",
        "a NUL in the name": "X-\0: 1",
        "a NUL in the value": "X-Strange: \0",
        "a carriage return in the value": "X-Strange: 1\r2",
        "bytes beyond ASCII in the name": "X-\xe9: 1",
        "a name of 9 kB": f"{'X' * 9000}: 1",
        "a value of 9 kB": f"X-Strange: {'1' * 9000}",
        "a value of 60 kB": f"X-Strange: {'1' * 60_000}",
        "a hundred": "\n".join(f"X-{number}: 1" for number in range(100)),
        "ten thousand": "\n".join(f"X-{number}: 1" for number in range(10_000)),
        "brackets in the name": "X[0]: 1",
        "a quote in the name": 'X": 1',
    }.items():
        yield Case(f"header: {name}", raw(f"POST {DOOR} HTTP/1.1\n{lines}\nContent-Length: 3", b"a=1"))
    for name, lines in {
        "two content types": "Content-Type: application/json\nContent-Type: text/plain",
        "a content type of 8 kB": f"Content-Type: {'x' * 8000}",
        "a content type with an escape": "Content-Type: text/\x1b[31mred",
        "a content type in Latin-1": "Content-Type: text/\xe9",
        "two hosts": "Host: other.example",
        "a host with a path": "Host: other.example/../",
        "a user agent with an escape": "User-Agent: \x1b]0;owned\x07",
        "an upgrade": "Connection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Key: AAAA",
        "an upgrade to HTTP/2": "Connection: Upgrade, HTTP2-Settings\nUpgrade: h2c\nHTTP2-Settings: AAAA",
        "another expectation": "Expect: 200-ok",
        "a forged address": "X-Forwarded-For: 1.2.3.4, \x1b[2J, ::1, 'x'",
        "an address list of 8 kB": "X-Forwarded-For: " + "1.1.1.1," * 1000,
        "another method": "X-HTTP-Method-Override: DELETE",
        "another script name": "SCRIPT_NAME: /webhooks\nScript-Name: /x",
        "another path": "X-Original-URL: /console/\nX-Rewrite-URL: /console/",
        "a range": "Range: bytes=0-18446744073709551615",
        "a content encoding": "Content-Encoding: gzip",
        "a cookie of 8 kB": f"Cookie: {'a=1;' * 2000}",
        "a header named like the environment": "wsgi.input: x\nREMOTE-ADDR: 127.0.0.1",
        "an account in the header": "Account-Id: 1",
    }.items():
        yield Case(
            f"header: {name}",
            raw(f"POST {DOOR} HTTP/1.1\n{lines}\nContent-Length: 3", b"a=1"),
            REFUSED | STORED,
            stored=None,
        )
    for name, proofs in {
        "two right proofs": [SIGNATURE, SIGNATURE],
        "a right and a wrong one": [SIGNATURE, "0" * 64],
        "a wrong and a right one": ["0" * 64, SIGNATURE],
        "two in one": [f"{SIGNATURE},{SIGNATURE}"],
    }.items():
        lines = [f"X-Signature: {proof}" for proof in proofs]
        yield Case(f"header: {name}", post(f"/webhooks/{ACCOUNT}/", lead(), *lines), UNPROVEN)
    underscored = post(f"/webhooks/{ACCOUNT}/", lead(), f"X_Signature: {SIGNATURE}")
    yield Case("header: a proof with an underscore", underscored)
    mixed = raw(f"POST {DOOR} HTTP/1.1\nContent-Length: 3", b"a=1").replace(b"\r\n", b"\n")
    yield Case("header: bare line feeds", mixed, REFUSED | STORED, stored=None)


def _sequences() -> Iterator[Case]:
    """What comes after, or before, the request."""
    broken = raw(f"POST {DOOR} HTTP/1.1\nTransfer-Encoding: chunked", b"zz\r\n")
    yield Case("sequence: a request behind a broken one", broken + _HIDDEN)
    yield Case(
        "sequence: a request in the body of a refused one",
        post(f"/webhooks/{ACCOUNT}/{'0' * 64}/", _HIDDEN),
        UNPROVEN,
    )
    yield Case(
        "sequence: a request where a short length ends",
        raw("GET /health/live HTTP/1.1\nContent-Length: 0", b"") + b"SMUGGLED / HTTP/1.1\r\n\r\n",
        REFUSED | STORED,
    )
    yield Case(
        "sequence: empty lines before the request", b"\r\n\r\n" + post(DOOR, b"a=1"), REFUSED | STORED, stored=None
    )
    for cut in (1, 4, 20, 90, 130):
        yield Case(f"sequence: gone after {cut} bytes", post(DOOR, lead(7200))[:cut])
    expecting = post(DOOR, lead(7300), "Expect: 100-continue")
    yield Case("sequence: the body does not wait for 100", expecting, frozenset({100, 200}), stored=None)
    only_head = expecting.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    yield Case("sequence: 100 is asked for and nothing follows", only_head, REFUSED | {100})


CASES: Final = tuple(
    case for family in (_lengths, _codings, _chunks, _lines, _headers, _sequences) for case in family()
)
