"""Tell from the bytes of a request that arrive whether all of it is there. Does no I/O and judges nothing else.

What is wrong with a head counts as arrived: the server's own parser then says why it is refused. A body in chunks is
put together here and given a length, so that nobody has to read chunks again, and no two readers can disagree on them.
"""

import re
from enum import Enum, auto
from typing import Final

from receiver.bodies import PROVEN_BYTES, UNPROVEN_BYTES

#: Bytes of a request line and headers; what a webhook brings has a few hundred.
HEAD_BYTES: Final = 32 * 1024
#: Bytes of the line in front of a chunk, and of what may follow the last one.
_CHUNK_LINE_BYTES: Final = 256
_TRAILER_BYTES: Final = 4096
#: Chunks of one body. Who sends more sends a few bytes in each, to keep us busy.
_MOST_CHUNKS: Final = 10_000

_FIELDS: Final = re.compile(rb"\r\n(content-length|transfer-encoding|expect)([ \t]*):[ \t]*([^\r\n]*?)[ \t]*(?=\r\n)")
#: A path that brings its proof, so that the body may be longer.
_WITH_PROOF: Final = re.compile(rb"post /webhooks/[0-9]{1,15}/[^/? ]+/? ")
#: Only this version of HTTP has chunks.
_HAS_CHUNKS: Final = re.compile(rb"[^\r\n]* http/1\.1\r\n")
_LENGTH: Final = re.compile(rb"[0-9]{1,18}")
_CHUNK_SIZE: Final = re.compile(rb"([0-9a-f]{1,8})[ \t]*(?:;[\t\x20-\x7e]*)?$", re.IGNORECASE)


class Progress(Enum):
    """How far a request has come."""

    MORE = auto()
    #: All of it is there.
    WHOLE = auto()
    #: Enough is there to refuse it; the rest is not waited for.
    ENOUGH = auto()
    #: The body's framing is one that nobody here knows: where it ends cannot be said.
    UNKNOWN_FRAMING = auto()
    #: The head is longer than any honest one.
    HEAD_TOO_LONG = auto()


class Arriving:
    """The bytes of one request so far. Once it is whole, `data` is the request, and `rest` what came after it."""

    __slots__ = (
        "_chunk", "_chunks", "_end", "_head_end", "_most", "_parts", "brings_proof", "data", "expects_continue", "rest",
    )  # fmt: skip

    def __init__(self) -> None:
        self.data = bytearray()
        self.rest = b""
        #: The client waits for a word before it sends the body.
        self.expects_continue = False
        #: Its path is that of a webhook with a signature.
        self.brings_proof = False
        self._head_end = 0
        self._end: int | None = None
        self._most = UNPROVEN_BYTES
        #: Of a body in chunks: where the next chunk's line begins, and what the chunks so far have brought.
        self._chunk = 0
        self._chunks = 0
        self._parts: list[bytes] = []

    def feed(self, data: bytes) -> Progress:
        """Add bytes and say how far the request has come."""
        start = max(0, len(self.data) - 3)
        self.data += data
        if not self._head_end:
            found = self.data.find(b"\r\n\r\n", start)
            if found > HEAD_BYTES or (found < 0 and len(self.data) > HEAD_BYTES):
                return Progress.HEAD_TOO_LONG
            if found < 0:
                return Progress.MORE
            self._head_end = found + 4
            return self._read_head(bytes(self.data[: found + 2]).lower())
        return self._body_progress()

    def _read_head(self, head: bytes) -> Progress:
        self.brings_proof = _WITH_PROOF.match(head) is not None
        self._most = PROVEN_BYTES if self.brings_proof else UNPROVEN_BYTES
        lengths: list[bytes] = []
        codings: list[bytes] = []
        for field in reversed(list(_FIELDS.finditer(head))):
            name, gap, value = field.groups()
            if name == b"content-length":
                lengths.append(value)
                continue
            if name == b"transfer-encoding":
                codings.append(gap + value)
            elif value != b"100-continue":
                continue
            else:
                self.expects_continue = True
            # The word is given by who gathers the request, and its chunks are put together here: neither is to be
            # done again by who gets it whole.
            del self.data[field.start() : field.end()]
            self._head_end -= field.end() - field.start()
        if codings:
            self._chunk = self._head_end
            is_known = codings == [b"chunked"] and not lengths and _HAS_CHUNKS.match(head)
            return self._body_progress() if is_known else Progress.UNKNOWN_FRAMING
        if len(lengths) > 1 or not _LENGTH.fullmatch(lengths[0] if lengths else b"0"):
            return Progress.ENOUGH
        length = int(lengths[0]) if lengths else 0
        self._end = self._head_end + length
        return Progress.ENOUGH if length > self._most else self._body_progress()

    def _body_progress(self) -> Progress:
        if self._end is None:
            return self._chunked_progress()
        if len(self.data) < self._end:
            return Progress.MORE
        self.rest = bytes(self.data[self._end :])
        del self.data[self._end :]
        return Progress.WHOLE

    def _chunked_progress(self) -> Progress:
        """Go on from chunk to chunk as far as they are there."""
        while (line_end := self.data.find(b"\r\n", self._chunk, self._chunk + _CHUNK_LINE_BYTES)) >= 0:
            size = _CHUNK_SIZE.match(self.data, self._chunk, line_end)
            if not size or self._chunks >= _MOST_CHUNKS:
                return Progress.UNKNOWN_FRAMING
            length = int(size[1], 16)
            if length == 0:
                return self._trailer_progress(line_end)
            end = line_end + 2 + length
            if end - self._head_end > 2 * self._most:
                return self._too_long(end)
            if len(self.data) < end + 2:
                return Progress.MORE
            if self.data[end : end + 2] != b"\r\n":
                return Progress.UNKNOWN_FRAMING
            self._parts.append(bytes(self.data[line_end + 2 : end]))
            self._chunk = end + 2
            self._chunks += 1
        is_line_short = len(self.data) - self._chunk < _CHUNK_LINE_BYTES
        return Progress.MORE if is_line_short else Progress.UNKNOWN_FRAMING

    def _trailer_progress(self, line_end: int) -> Progress:
        """The end of the last chunk's line begins the empty line, if no trailer comes between."""
        found = self.data.find(b"\r\n\r\n", line_end)
        if found < 0:
            return Progress.MORE if len(self.data) - line_end < _TRAILER_BYTES else Progress.UNKNOWN_FRAMING
        self.rest = bytes(self.data[found + 4 :])
        self._put_together(b"".join(self._parts))
        return Progress.WHOLE

    def _too_long(self, length: int) -> Progress:
        self._put_together(b"", length=length)
        return Progress.ENOUGH

    def _put_together(self, body: bytes, *, length: int | None = None) -> None:
        """Make it a request with a length; with that of a body that is too long, the doors refuse it unread."""
        del self.data[self._head_end - 2 :]
        self.data += b"Content-Length: %d\r\n\r\n" % (len(body) if length is None else length)
        self.data += body
        self._parts = []
