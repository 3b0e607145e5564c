"""Reading a body from a WSGI server: all of it, or a refusal."""

import io
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge

from receiver.bodies import read_body


def environ(body: bytes = b"", **headers: str) -> dict[str, Any]:
    return {"wsgi.input": io.BytesIO(body), **headers}


class Piecemeal(io.RawIOBase):
    """A stream that gives a few bytes at a time, as sockets do, and may break."""

    def __init__(self, pieces: Iterator[bytes], error: Exception | None = None) -> None:
        self._pieces = pieces
        self._error = error

    def read(self, size: int = -1) -> bytes:
        piece = next(self._pieces, b"")
        assert size < 0 or len(piece) <= size
        if not piece and self._error:
            raise self._error
        return piece


@given(st.binary(max_size=200), st.integers(min_value=0, max_value=50))
def test_exactly_the_announced_bytes_are_read(body: bytes, more: int) -> None:
    stream = environ(body + b"n" * more, CONTENT_LENGTH=str(len(body)))
    assert read_body(stream, limit=200) == body


@given(st.binary(max_size=200))
def test_a_chunked_body_is_read_to_its_end(body: bytes) -> None:
    assert read_body(environ(body, HTTP_TRANSFER_ENCODING="chunked"), limit=200) == body


@given(st.lists(st.binary(min_size=1, max_size=9), max_size=20))
def test_pieces_are_put_together(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    stream = {"wsgi.input": Piecemeal(iter(pieces)), "CONTENT_LENGTH": str(len(whole))}
    assert read_body(stream, limit=1000) == whole


@pytest.mark.parametrize("length", ["", None])
def test_no_length_is_no_body(length: str | None) -> None:
    given_length = {} if length is None else {"CONTENT_LENGTH": length}
    assert read_body(environ(b"next request", **given_length), limit=10) == b""


@pytest.mark.parametrize("limit", [0, 1, 10])
def test_the_limit_itself_is_allowed_and_one_more_is_not(limit: int) -> None:
    whole = b"x" * limit
    for coding in ("", "chunked"):
        length = {} if coding else {"CONTENT_LENGTH": str(limit)}
        assert read_body(environ(whole, HTTP_TRANSFER_ENCODING=coding, **length), limit=limit) == whole
        length = {} if coding else {"CONTENT_LENGTH": str(limit + 1)}
        with pytest.raises(RequestEntityTooLarge):
            read_body(environ(whole + b"x", HTTP_TRANSFER_ENCODING=coding, **length), limit=limit)


def test_a_long_length_is_refused_before_anything_is_read() -> None:
    stream = Piecemeal(iter(()), AssertionError("read"))
    with pytest.raises(RequestEntityTooLarge):
        read_body({"wsgi.input": stream, "CONTENT_LENGTH": "11"}, limit=10)


def test_a_body_that_ends_early_is_refused() -> None:
    with pytest.raises(BadRequest, match="shorter"):
        read_body(environ(b"nine byte", CONTENT_LENGTH="10"), limit=10)


@pytest.mark.parametrize("length", ["-1", "+1", "1.0", "0x10", "ten", "1 1", "1,1", "٣", "9" * 19])
def test_a_length_that_is_no_number_is_refused(length: str) -> None:
    with pytest.raises(BadRequest):
        read_body(environ(b"x", CONTENT_LENGTH=length), limit=10)


@pytest.mark.parametrize("coding", ["gzip", "gzip, chunked", "chunked, chunked", "identity", "chunked;q=1", "xchunked"])
def test_any_coding_but_chunked_is_refused(coding: str) -> None:
    with pytest.raises(BadRequest, match="chunked"):
        read_body(environ(b"x", HTTP_TRANSFER_ENCODING=coding), limit=10)


@pytest.mark.parametrize("coding", ["chunked", "Chunked", " chunked "])
def test_a_coding_and_a_length_contradict_each_other(coding: str) -> None:
    assert read_body(environ(b"x", HTTP_TRANSFER_ENCODING=coding), limit=10) == b"x"
    with pytest.raises(BadRequest):
        read_body(environ(b"x", HTTP_TRANSFER_ENCODING=coding, CONTENT_LENGTH="1"), limit=10)


@pytest.mark.parametrize("error", [OSError("gone"), ValueError("chunk"), EOFError(), RuntimeError()])
@pytest.mark.parametrize("header", [{"HTTP_TRANSFER_ENCODING": "chunked"}, {"CONTENT_LENGTH": "10"}], ids=str)
def test_whatever_the_stream_raises_is_a_bad_request(error: Exception, header: dict[str, str]) -> None:
    with pytest.raises(BadRequest) as caught:
        read_body({"wsgi.input": Piecemeal(iter([b"half"]), error), **header}, limit=10)
    assert caught.value.__cause__ is error
