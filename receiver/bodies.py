"""Read a request's body: all of it, or say exactly why not.

Flask's own reading loses data in silence: a chunked body over the limit and one shorter than its Content-Length both
pass. So the body is read from the server's stream and counted.
"""

import re
from typing import Any, Final

from werkzeug.exceptions import BadRequest, RequestEntityTooLarge

#: Bytes taken from a sender who has not proven anything yet, and from one whose URL has.
UNPROVEN_BYTES: Final = 1024 * 1024
PROVEN_BYTES: Final = 8 * 1024 * 1024
#: https://www.rfc-editor.org/rfc/rfc9110#section-5.6.3
_SPACE: Final = " \t"


def read_body(environ: dict[str, Any], *, limit: int) -> bytes:
    """Read the whole body of a WSGI request.

    Raises:
        RequestEntityTooLarge: it is longer than `limit` bytes.
        BadRequest: it is shorter than announced, its framing is broken, or its length cannot be known.
    """
    # Of these two alone a proxy and we have to think the same: other white space, `\x0b` for instance, is none in HTTP.
    coding = environ.get("HTTP_TRANSFER_ENCODING", "").strip(_SPACE).lower()
    length = environ.get("CONTENT_LENGTH", "").strip(_SPACE)
    if coding:
        if coding != "chunked" or length:
            raise BadRequest("Transfer-Encoding: only `chunked` by itself is understood")
        return _read_chunked(environ["wsgi.input"], limit)
    if not length:
        return b""
    if not re.fullmatch(r"[0-9]{1,18}", length):
        raise BadRequest("Content-Length is not a number")
    if int(length) > limit:
        raise RequestEntityTooLarge
    return _read_exactly(environ["wsgi.input"], int(length))


def _read_chunked(stream: Any, limit: int) -> bytes:
    body = _read(stream, limit + 1)
    if len(body) > limit:
        raise RequestEntityTooLarge
    return body


def _read_exactly(stream: Any, length: int) -> bytes:
    body = _read(stream, length)
    if len(body) < length:
        raise BadRequest("the body is shorter than its Content-Length")
    return body


def _read(stream: Any, length: int) -> bytes:
    parts: list[bytes] = []
    missing = length
    try:
        while missing and (part := stream.read(missing)):
            parts.append(part)
            missing -= len(part)
    except Exception as error:  # the server's framing errors have no common class
        raise BadRequest("the body cannot be read") from error
    return b"".join(parts)
