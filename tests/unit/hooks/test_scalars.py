import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kommo.hooks import scalars

NONSENSE: list[Any] = [
    None,
    "",
    " ",
    "x",
    "17265663a90",
    "9" * 5000,
    "1e999",
    "١٢٣",
    "１２",
    "0x10",
    "+5",
    "1_000",
    "--1",
]
NONSENSE += [[], ["7"], {}, {"id": "7"}, float("inf"), float("nan"), 10**5000, True, "null", "7 ", "7\n"]

anything: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
READERS = [
    *(scalars.whole, scalars.money, scalars.epoch, scalars.epoch_or_clock, scalars.moment, scalars.task_moment),
    *(scalars.flag, scalars.text, scalars.uid, scalars.any_id, scalars.mapping, scalars.json_object, scalars.members),
]


@pytest.mark.parametrize("reader", [scalars.whole, scalars.money, scalars.moment, scalars.task_moment])
@pytest.mark.parametrize("value", NONSENSE, ids=lambda value: repr(value)[:20] if not isinstance(value, int) else "int")
def test_what_is_no_number_reads_as_none(reader: Any, value: Any) -> None:
    assert reader(value) is None


@given(anything)
def test_no_value_makes_a_reader_raise(value: Any) -> None:
    for reader in READERS:
        reader(value)


@pytest.mark.parametrize(
    ("value", "read"), [("0", 0), ("-1", -1), ("007", 7), (42, 42), (42.0, 42), (str(2**63 - 1), 2**63 - 1)]
)
def test_integers_are_read_from_text_and_numbers(value: Any, read: int) -> None:
    assert scalars.whole(value) == read


@pytest.mark.parametrize("value", [2**63, str(2**63), -(2**63) - 1, 1.5, "1.5"])
def test_integers_beyond_64_bits_and_fractions_are_none(value: Any) -> None:
    assert scalars.whole(value) is None


@pytest.mark.parametrize(
    ("value", "read"),
    [("500", 500), ("280.00", 280), ("280.5", 280.5), ("-3.25", -3.25), (99, 99), (99.5, 99.5), (100.0, 100)],
)
def test_money_is_an_integer_where_it_has_no_cents(value: Any, read: float) -> None:
    money = scalars.money(value)
    assert money == read
    assert type(money) is type(read)


def test_times_are_aware_and_in_utc() -> None:
    assert scalars.moment("1767258000") == datetime(2026, 1, 1, 9, tzinfo=UTC)
    assert scalars.moment("253402300799") == datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


@pytest.mark.parametrize("value", ["0", "-5", "253402300800", "1767258000000", "2026-01-01 09:00:00"])
def test_seconds_out_of_range_and_text_are_no_times(value: str) -> None:
    assert scalars.moment(value) is None


def test_texts_of_a_task_are_read_as_utc() -> None:
    assert scalars.task_moment("2026-01-01 09:00:00") == scalars.task_moment("1767258000")


@pytest.mark.parametrize("value", ["2026-13-01 09:00:00", "2026-01-01", "2026-01-01T09:00:00", "0001-01-01 00:00:00"])
def test_texts_that_are_no_clock_time_read_as_none(value: str) -> None:
    assert scalars.task_moment(value) is None


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("1", True),
        ("0", False),
        (1, True),
        (0, False),
        (True, True),
        ("true", True),
        ("", None),
        ("2", None),
        (2, None),
    ],
)
def test_flags_are_booleans(value: Any, read: bool | None) -> None:
    assert scalars.flag(value) is read


@pytest.mark.parametrize(("value", "read"), [("", ""), ("null", "null"), ("&amp;", "&amp;"), (5, "5"), ([], None)])
def test_text_is_left_as_it_is(value: Any, read: str | None) -> None:
    assert scalars.text(value) == read


@pytest.mark.parametrize("value", ["", "null", "x" * 129, "a\x00b", "a\nb", "\ud800", None, [], True])
def test_what_nobody_uses_as_an_id_reads_as_none(value: Any) -> None:
    assert scalars.uid(value) is None


def test_ids_of_unknown_kinds_are_numbers_where_they_can_be() -> None:
    assert [scalars.any_id(value) for value in ("7", "a-7", 7, "9" * 30)] == [7, "a-7", 7, "9" * 30]


@pytest.mark.parametrize("value", ["[1]", "{", "null", "7", '{"a":' * 5000, ""])
def test_texts_that_are_no_json_object_read_as_none(value: str) -> None:
    assert scalars.json_object(value) is None


def test_numbers_in_json_that_could_not_be_written_again_stay_text() -> None:
    read = scalars.json_object('{"a": 1e999, "b": %s, "c": NaN, "d": 7, "e": 0.5}' % ("9" * 5000))
    assert read == {"a": "1e999", "b": "9" * 5000, "c": "NaN", "d": 7, "e": 0.5}
    assert json.loads(json.dumps(read, allow_nan=False)) == read


@pytest.mark.parametrize(
    ("value", "members"),
    [
        ([1, 2], [1, 2]),
        ({"3": "a", "7": "b"}, ["a", "b"]),
        ({"id": "5"}, [{"id": "5"}]),
        ({"²": "a"}, [{"²": "a"}]),
        ({}, []),
        ("7", []),
        (None, []),
    ],
)
def test_members_are_found_whichever_way_the_list_came(value: Any, members: list[Any]) -> None:
    assert scalars.members(value) == members
