"""When all of a request has arrived: whatever its pieces, and however wrong it is."""

import re
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.bodies import PROVEN_BYTES, UNPROVEN_BYTES
from receiver.framing import HEAD_BYTES, Arriving, Progress

MORE, WHOLE, ENOUGH = Progress.MORE, Progress.WHOLE, Progress.ENOUGH


def request(*fields: str, line: str = "POST /webhooks/1/abc/ HTTP/1.1", body: bytes = b"") -> bytes:
    return "\r\n".join([line, "Host: x", *fields, "", ""]).encode("latin-1") + body


def arrived(pieces: Iterable[bytes]) -> Progress:
    """Feed pieces until the request needs no more of them."""
    arriving, progress = Arriving(), MORE
    for piece in pieces:
        progress = arriving.feed(piece)
        if progress is not MORE:
            return progress
    return progress


WHOLE_ONES = {
    "no body": request(line="GET / HTTP/1.1"),
    "a length": request("Content-Length: 5", body=b"hello"),
    "a length of nothing": request("Content-Length: 0"),
    "a length in capitals and with blanks": request("CONTENT-LENGTH :  5 ", body=b"hello"),
    "a body that looks like a head": request("Content-Length: 31", body=b"a\r\nContent-Length: 99\r\n\r\nabcde."),
    "chunks": request("Transfer-Encoding: chunked", body=b"3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n"),
    "no chunk": request("Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "chunks with extensions": request("Transfer-Encoding: chunked", body=b"3;a=b\r\nabc\r\n0;end\r\n\r\n"),
    "chunks with a trailer": request("Transfer-Encoding: chunked", body=b"1\r\na\r\n0\r\nX-Sum: 1\r\nY: 2\r\n\r\n"),
    "chunks that hold line ends": request("Transfer-Encoding: chunked", body=b"7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n"),
}


@pytest.mark.parametrize("data", WHOLE_ONES.values(), ids=WHOLE_ONES.keys())
@given(cuts=st.lists(st.integers(0, 120), max_size=6))
def test_is_whole_with_its_last_byte_and_not_before_however_it_is_cut(data: bytes, cuts: list[int]) -> None:
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    pieces = [data[one:next_] for one, next_ in pairwise(places)]

    assert arrived(pieces) is WHOLE
    assert arrived([*pieces[:-1], pieces[-1][:-1]]) is MORE


@pytest.mark.parametrize("data", WHOLE_ONES.values(), ids=WHOLE_ONES.keys())
def test_comes_byte_by_byte(data: bytes) -> None:
    arriving = Arriving()
    progress = [arriving.feed(data[place : place + 1]) for place in range(len(data))]

    assert progress == [MORE] * (len(data) - 1) + [WHOLE]
    assert arriving.rest == b""


@pytest.mark.parametrize(
    ("chunks", "body"),
    [
        (b"3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n", b"abc0123456789"),
        (b"0\r\n\r\n", b""),
        (b"00003 ;x=y\r\nabc\r\n000\r\nX-Sum: 1\r\n\r\n", b"abc"),
        (b"7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n", b"\r\n0\r\n\r\n"),
    ],
)
def test_chunks_are_put_together_and_given_a_length(chunks: bytes, body: bytes) -> None:
    arriving = Arriving()
    between = ("A: 1", "Transfer-Encoding: Chunked", "B: 2")

    assert arriving.feed(request(*between, body=chunks + b"POST /next")) is WHOLE
    assert bytes(arriving.data) == request("A: 1", "B: 2", f"Content-Length: {len(body)}", body=body)
    assert arriving.rest == b"POST /next"


def test_chunks_that_bring_too_much_have_a_length_that_is_refused() -> None:
    arriving = Arriving()
    line = "POST /webhooks/ HTTP/1.1"

    assert arriving.feed(request("Transfer-Encoding: chunked", line=line, body=b"fffffff\r\nabc")) is ENOUGH
    (length,) = re.findall(rb"Content-Length: (\d+)\r\n\r\n$", arriving.data)
    assert int(length) > UNPROVEN_BYTES


def test_keeps_what_follows_on_the_connection() -> None:
    arriving = Arriving()

    assert arriving.feed(request("Content-Length: 1", body=b"aPOST /next")) is WHOLE
    assert arriving.rest == b"POST /next"
    assert arriving.data.endswith(b"\r\n\r\na")


@pytest.mark.parametrize(
    "fields",
    [
        ("Content-Length: 5", "Content-Length: 5"),
        ("Content-Length: 5, 5",),
        ("Content-Length: -5",),
        ("Content-Length: +5",),
        ("Content-Length: 0x5",),
        ("Content-Length:",),
        ("Content-Length: 9999999999999999999",),
    ],
)
def test_waits_for_nothing_where_the_framing_is_in_doubt(fields: tuple[str, ...]) -> None:
    assert arrived([request(*fields)]) is ENOUGH


@pytest.mark.parametrize(
    "fields",
    [
        ("Content-Length: 5", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding: gzip, chunked",),
        ("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding: identity",),
        ("Transfer-Encoding: xchunked",),
        ("Transfer-Encoding : chunked",),
        ("Transfer-Encoding: chunked;q=1",),
        ("Transfer-Encoding:",),
    ],
)
def test_knows_no_coding_but_chunked(fields: tuple[str, ...]) -> None:
    assert arrived([request(*fields)]) is Progress.UNKNOWN_FRAMING


@pytest.mark.parametrize(
    "body",
    [b"zz\r\n", b"-1\r\n", b"\r\n\r\n", b"1 2\r\n", b"fffffffff\r\n", b"3" * 300, b"3\r\nabcd\r\n", b"1;\0\r\na\r\n"],
)
def test_waits_for_nothing_after_a_chunk_that_cannot_be_read(body: bytes) -> None:
    assert arrived([request("Transfer-Encoding: chunked", body=body)]) is Progress.UNKNOWN_FRAMING


def test_takes_no_chunks_from_a_version_that_has_none() -> None:
    old = request("Transfer-Encoding: chunked", line="POST /webhooks/ HTTP/1.0", body=b"0\r\n\r\n")

    assert arrived([old]) is Progress.UNKNOWN_FRAMING


def test_puts_no_number_of_tiny_chunks_together() -> None:
    assert arrived([request("Transfer-Encoding: chunked"), b"1\r\na\r\n" * 20_000]) is Progress.UNKNOWN_FRAMING


def test_takes_a_longer_body_where_the_path_brings_a_proof() -> None:
    assert arrived([request(f"Content-Length: {UNPROVEN_BYTES + 1}")]) is MORE
    assert arrived([request(f"Content-Length: {PROVEN_BYTES + 1}")]) is ENOUGH


@pytest.mark.parametrize(
    "line", ["POST /webhooks/1/ HTTP/1.1", "POST /webhooks/ HTTP/1.1", "POST /webhooks/1/?signature=a HTTP/1.1"]
)
def test_does_not_wait_for_a_body_longer_than_its_path_allows(line: str) -> None:
    assert arrived([request(f"Content-Length: {UNPROVEN_BYTES}", line=line)]) is MORE
    assert arrived([request(f"Content-Length: {UNPROVEN_BYTES + 1}", line=line)]) is ENOUGH


def test_does_not_gather_chunks_without_end() -> None:
    arriving = Arriving()
    progress = arriving.feed(request("Transfer-Encoding: chunked", line="POST /webhooks/ HTTP/1.1"))
    chunk = b"10000\r\n" + b"a" * 65536 + b"\r\n"
    fed = 0
    while progress is MORE:
        progress = arriving.feed(chunk)
        fed += len(chunk)

    assert progress is ENOUGH
    assert UNPROVEN_BYTES < fed < 3 * UNPROVEN_BYTES


def test_believes_no_announced_chunk_before_it_is_there() -> None:
    assert arrived([request("Transfer-Encoding: chunked", body=b"fffff\r\nabc")]) is MORE


def test_refuses_a_head_without_end() -> None:
    arriving = Arriving()
    progress = arriving.feed(b"GET / HTTP/1.1\r\n")
    while progress is MORE:
        progress = arriving.feed(b"X: " + b"y" * 1000 + b"\r\n")

    assert progress is Progress.HEAD_TOO_LONG
    assert len(arriving.data) < HEAD_BYTES + 2000


def test_refuses_a_head_that_is_too_long_and_comes_at_once() -> None:
    assert arrived([request("X: " + "y" * HEAD_BYTES)]) is Progress.HEAD_TOO_LONG


def test_notices_a_client_that_waits_for_a_word() -> None:
    arriving = Arriving()

    assert arriving.feed(request("Expect: 100-Continue", "Content-Length: 2")) is MORE
    assert arriving.expects_continue
    assert arriving.feed(b"ab") is WHOLE
    assert bytes(arriving.data) == request("Content-Length: 2", body=b"ab")


@given(st.lists(st.binary(max_size=60), max_size=8))
def test_takes_any_bytes(pieces: list[bytes]) -> None:
    assert arrived(pieces) in Progress


@given(st.binary(max_size=200), st.sampled_from(["Transfer-Encoding: chunked", "Content-Length: 7"]))
def test_takes_any_body(body: bytes, field: str) -> None:
    at_once = arrived([request(field, body=body)])
    by_byte = arrived([request(field), *(body[place : place + 1] for place in range(len(body)))])

    assert at_once is by_byte
