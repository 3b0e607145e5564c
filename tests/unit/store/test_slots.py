"""Which node has a key: slots as they are computed, and as nodes tell of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kommo.store.slots import Address, Range, SlotTable, slot_of

ASKED = Address("10.0.0.9", 7009)
ONE, TWO = Address("10.0.0.1", 7001), Address("node-two", 7002)
ANSWER = [
    [10_000, 16_383, [b"node-two", 7002, b"id-2", []]],
    [0, 9_000, [b"10.0.0.1", 7001, b"id-1", []], [b"10.0.0.3", 7003, b"id-3", []]],
    [9_001, 9_001, [None, 7009, b"id-9", []]],
    [9_002, 9_002, [b"", 7008, b"id-8", []]],
    [9_003, 9_003, [b"?", 7007, b"id-7", []]],
]


@pytest.mark.parametrize(("key", "slot"), [("123456789", 12_739), ("kommo:{0}:x", 13_907), (b"kommo:{0}:y", 13_907)])
def test_slots_are_those_of_redis(key: str | bytes, slot: int) -> None:
    assert slot_of(key) == slot


@given(st.text(), st.integers(0, 1023))
def test_all_keys_of_a_shard_have_one_slot(rest: str, shard: int) -> None:
    assert slot_of(f"kommo:{{{shard}}}:{rest}") == slot_of(str(shard))


@pytest.mark.parametrize(
    ("slot", "address"),
    [
        (0, ONE), (9_000, ONE), (10_000, TWO), (16_383, TWO), (9_999, None), (9_004, None),
        (9_001, ASKED), (9_002, Address("10.0.0.9", 7008)), (9_003, Address("10.0.0.9", 7007)),
    ],
)  # fmt: skip
def test_a_slot_is_with_the_node_that_may_write_to_it(slot: int, address: Address | None) -> None:
    assert SlotTable.read(ANSWER, ASKED).address(slot) == address


def test_what_a_node_corrects_is_believed() -> None:
    table = SlotTable([Range(0, 16_383, ONE)])
    corrected = table.with_correction(7, TWO).with_correction(8, ASKED)
    assert [corrected.address(slot) for slot in (6, 7, 8)] == [ONE, TWO, ASKED]
    assert corrected.addresses() == [ONE, TWO, ASKED]
    assert table.address(7) == ONE


def test_an_empty_table_knows_no_node() -> None:
    assert SlotTable.read([], ASKED).address(0) is None


def test_an_address_is_written_as_in_a_url() -> None:
    assert (str(ONE), str(Address("::1", 6379))) == ("10.0.0.1:7001", "[::1]:6379")
