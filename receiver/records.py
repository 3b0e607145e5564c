"""How a delivery lies in a file of the spool: a frame with length and checksum, and the delivery in it.

A record that ends too early or whose checksum is wrong is never taken for a delivery. After one, the next frame is
found by its mark, so that what follows a damaged place is not lost with it.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from kommo.store.inbox import Delivery

#: Mark, length of what follows, checksum of length and what follows.
_FRAME: Final = struct.Struct(">4sII")
_MARK: Final = b"\xabKD\x01"
#: Account, received at (ms), written at (ns), flags, lengths of id and content type. The body is the rest.
_FIELDS: Final = struct.Struct(">QQQBHH")
_TRIED, _MUST_STAY = 1, 2
#: Bytes that no record reaches: a body has 8 MiB at most. A length beyond is damage.
MOST_BYTES: Final = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Record:
    """A delivery that waits for Redis."""

    delivery: Delivery
    #: Unix time at which it was written. What was answered before another delivery came is before it by this, too.
    written_ns: int
    #: False when it must not be taken for a repetition of an equal body.
    droppable: bool = True
    #: It was sent to Redis, and what became of that is not known.
    tried: bool = False


def encode(record: Record) -> bytes:
    """Write a record down."""
    delivery = record.delivery
    id_, kind = delivery.id.encode(), delivery.content_type.encode("utf-8", "surrogatepass")
    flags = _TRIED * record.tried | _MUST_STAY * (not record.droppable)
    fields = _FIELDS.pack(
        delivery.account_id, delivery.received_ms, record.written_ns, flags, len(id_), len(kind)
    )  # fmt: skip
    payload = b"".join((fields, id_, kind, delivery.body))
    return _FRAME.pack(_MARK, len(payload), _checksum(payload)) + payload


def read(file: BinaryIO) -> Record | None:
    """Read the record at the file's place; None when none stands there whole, or the file ends."""
    frame = file.read(_FRAME.size)
    if len(frame) < _FRAME.size:
        return None
    mark, length, checksum = _FRAME.unpack(frame)
    if mark != _MARK or not _FIELDS.size <= length <= MOST_BYTES:
        return None
    payload = file.read(length)
    if len(payload) < length or _checksum(payload) != checksum:
        return None
    return _decoded(payload)


def lengths(data: bytes) -> Iterator[int]:
    """Walk over records without reading them, up to one that is not whole: the bytes of each."""
    start = 0
    while start + _FRAME.size <= len(data):
        mark, length, _ = _FRAME.unpack_from(data, start)
        start += _FRAME.size + length
        if mark != _MARK or start > len(data):
            return
        yield _FRAME.size + length


def next_readable(data: bytes) -> int | None:
    """Find where the next whole record begins, after the one at 0; None when there is none."""
    at = data.find(_MARK, 1)
    while at >= 0:
        if _whole(data, at):
            return at
        at = data.find(_MARK, at + 1)
    return None


def _whole(data: bytes, at: int) -> bool:
    if at + _FRAME.size > len(data):
        return False
    _, length, checksum = _FRAME.unpack_from(data, at)
    if not _FIELDS.size <= length <= MOST_BYTES:
        return False
    payload = data[at + _FRAME.size : at + _FRAME.size + length]
    return len(payload) == length and bool(_checksum(payload) == checksum)


def _checksum(payload: bytes) -> int:
    # The length belongs to it: a payload cut short with a length to match would pass.
    return zlib.crc32(payload, zlib.crc32(len(payload).to_bytes(4, "big")))


def _decoded(payload: bytes) -> Record:
    account_id, received_ms, written_ns, flags, id_length, kind_length = _FIELDS.unpack_from(payload)
    kind_at = _FIELDS.size + id_length
    body_at = kind_at + kind_length
    delivery = Delivery(
        id=payload[_FIELDS.size : kind_at].decode(),
        account_id=account_id,
        body=payload[body_at:],
        content_type=payload[kind_at:body_at].decode("utf-8", "surrogatepass"),
        received_ms=received_ms,
    )
    return Record(delivery, written_ns, droppable=not flags & _MUST_STAY, tried=bool(flags & _TRIED))
