"""The records of the spool: what is written is read back, and what is damaged is never taken for a delivery."""

import io
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kommo.store.inbox import Delivery
from receiver.records import Record, encode, lengths, next_readable, read

ONE = Record(Delivery("0193a", 31_555_001, b"leads[add][0][id]=7", "text/plain", 1_795_000_000_123), 17)

deliveries = st.builds(
    Delivery,
    id=st.text(max_size=40),
    account_id=st.integers(0, 10**15),
    body=st.binary(max_size=300),
    content_type=st.text(max_size=200),
    received_ms=st.integers(0, 10**14),
)
some_records = st.builds(
    Record, deliveries, written_ns=st.integers(0, 2**63), droppable=st.booleans(), tried=st.booleans()
)


def all_in(data: bytes) -> list[Record]:
    """Read from the beginning as far as it goes."""
    file, found = io.BytesIO(data), []
    while record := read(file):
        found.append(record)
    return found


@given(st.lists(some_records, max_size=5))
def test_what_is_written_is_read_back(written: list[Record]) -> None:
    assert all_in(b"".join(map(encode, written))) == written


@given(st.lists(some_records, min_size=1, max_size=4), st.data())
def test_of_a_file_cut_off_anywhere_the_whole_records_are_read_and_no_other(
    written: list[Record], data: st.DataObject
) -> None:
    whole = [encode(record) for record in written]
    cut = data.draw(st.integers(0, sum(map(len, whole))))
    ends = [sum(map(len, whole[: number + 1])) for number in range(len(whole))]
    assert all_in(b"".join(whole)[:cut]) == [record for record, end in zip(written, ends, strict=True) if end <= cut]


@given(some_records, st.data())
def test_a_record_with_a_changed_byte_is_not_read(record: Record, data: st.DataObject) -> None:
    damaged = bytearray(encode(record))
    place = data.draw(st.integers(0, len(damaged) - 1))
    damaged[place] ^= data.draw(st.integers(1, 255))
    assert all_in(bytes(damaged)) == []


@given(st.binary(max_size=100), some_records)
def test_behind_damage_the_next_whole_record_is_found(damage: bytes, record: Record) -> None:
    data = b"?" + damage + encode(record)
    begins = next_readable(data)
    assert begins is not None
    assert all_in(data[begins:])[-1] == record


@given(some_records, st.data())
def test_behind_a_damaged_record_nothing_is_found_in_half_a_one(record: Record, data: st.DataObject) -> None:
    half = encode(record)[: data.draw(st.integers(0, len(encode(record)) - 1))]
    assert next_readable(b"?" + half) is None


def test_a_body_that_holds_a_record_is_a_body_and_no_record() -> None:
    outer = replace(ONE, delivery=replace(ONE.delivery, body=encode(ONE)))
    assert all_in(encode(outer) + encode(ONE)) == [outer, ONE]


@pytest.mark.parametrize("body", [b"", b"\0" * 5000, b"\xabKD\x01" * 50])
def test_any_body_does(body: bytes) -> None:
    record = replace(ONE, delivery=replace(ONE.delivery, body=body))
    assert all_in(encode(record)) == [record]


def test_a_length_that_no_record_has_is_not_believed() -> None:
    data = encode(ONE)
    assert all_in(data[:4] + b"\xff\xff\xff\xff" + data[8:]) == []
    assert all_in(bytes(4096)) == []


def test_records_are_counted_without_being_read() -> None:
    one = encode(ONE)
    assert list(lengths(one * 3)) == [len(one)] * 3
    assert list(lengths(one * 2 + one[:-1])) == [len(one)] * 2
    assert list(lengths(b"")) == []
    assert list(lengths(b"?" * 50)) == []
