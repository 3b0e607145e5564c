"""Deliveries of a time, and by their ids."""

from collections.abc import Callable

import pytest
from redis import Redis

from kommo.store.inbox import PREFIX_CHARS, Delivery, Entry, Inbox
from kommo.store.keys import Keys
from tests.integration.store.conftest import ACCOUNT

START = 1_772_000_000_000
Put = Callable[..., Entry]


@pytest.fixture
def put(redis: Redis, keys: Keys) -> Put:
    """Put a delivery into the stream as if it had been stored at a given time."""

    def store(name: str, stored_ms: int, *, number: int = 0, account: int = ACCOUNT) -> Entry:
        stream_id = f"{stored_ms}-{number}"
        key = keys.of_account(account, "inbox", "stream")
        redis.xadd(key, {"id": name, "type": "t", "at": stored_ms, "body": b"b"}, id=stream_id)
        return Entry(stream_id, Delivery(name, account, b"b", "t", stored_ms))

    return store


def _id(made_ms: int, rest: str = "ab" * 10) -> str:
    return f"{made_ms:012x}{rest}"


def _names(entries: object) -> list[str]:
    return [entry.delivery.id for entry in entries]  # type: ignore[attr-defined]  # an iterator of entries


class TestBetween:
    @pytest.mark.parametrize(
        ("since", "until", "expected"),
        [(0, None, "abcd"), (2, 3, "bcd"), (2, 2, "bc"), (0, 0, ""), (4, None, ""), (3, 1, ""), (-5, 1, "a")],
    )
    def test_both_ends_are_included(self, inbox: Inbox, put: Put, since: int, until: int | None, expected: str) -> None:
        for name, at, number in (("a", 1, 0), ("b", 2, 0), ("c", 2, 7), ("d", 3, 0)):
            put(name, at, number=number)
        found = inbox.between(ACCOUNT, since_ms=since, until_ms=until)
        assert "".join(_names(found)) == expected
        back = inbox.between(ACCOUNT, since_ms=since, until_ms=until, newest_first=True)
        assert "".join(_names(back)) == expected[::-1]

    @pytest.mark.parametrize("number", [9, 10, 11, 110, 111, 250])
    def test_a_range_of_many_pages_is_whole_either_way(self, inbox: Inbox, put: Put, number: int) -> None:
        names = _names(put(f"n{place}", START + place // 3, number=place) for place in range(number))
        assert _names(inbox.between(ACCOUNT)) == names
        assert _names(inbox.between(ACCOUNT, newest_first=True)) == names[::-1]

    def test_what_is_stored_while_the_first_are_looked_at_is_given_too(self, inbox: Inbox, put: Put) -> None:
        for place in range(10):
            put(f"n{place}", START + place)
        entries = inbox.between(ACCOUNT)
        assert next(entries).delivery.id == "n0"
        put("late", START + 99)
        assert _names(entries)[-1] == "late"

    def test_other_accounts_are_left_out(self, inbox: Inbox, put: Put) -> None:
        put("mine", START)
        put("theirs", START, account=202)
        assert _names(inbox.between(ACCOUNT)) == ["mine"]


class TestFinding:
    def test_a_delivery_is_found_by_its_id_in_whichever_account_it_is(self, inbox: Inbox, put: Put) -> None:
        put(_id(START, "11" * 10), START + 40)
        entry = put(_id(START, "22" * 10), START + 40, account=202)
        assert inbox.find(_id(START, "22" * 10), [ACCOUNT, 202]) == [entry]
        assert inbox.find(_id(START, "22" * 10), [ACCOUNT]) == []

    @pytest.mark.parametrize("digits", [PREFIX_CHARS, 11, 12, 13, 31])
    def test_the_beginning_of_an_id_is_enough(self, inbox: Inbox, put: Put, digits: int) -> None:
        entry = put(_id(START), START + 40)
        put(_id(START + 3_600_000), START + 3_600_040)
        assert inbox.find(_id(START)[:digits], [ACCOUNT]) == [entry]

    def test_all_that_begin_so_are_given(self, inbox: Inbox, put: Put) -> None:
        entries = [put(_id(START + place), START + place) for place in range(3)]
        assert inbox.find(_id(START)[:8], [ACCOUNT]) == entries

    @pytest.mark.parametrize("apart_ms", [-59_000, 59_000])
    def test_clocks_that_differ_do_not_hide_it(self, inbox: Inbox, put: Put, apart_ms: int) -> None:
        entry = put(_id(START), START + apart_ms)
        assert inbox.find(_id(START), [ACCOUNT]) == [entry]

    @pytest.mark.parametrize("apart_ms", [-6 * 3_600_000, 6 * 3_600_000])
    def test_one_that_was_stored_hours_away_from_its_time_is_found(self, inbox: Inbox, put: Put, apart_ms: int) -> None:
        entry = put(_id(START), START + apart_ms)
        put(_id(START + 5), START + abs(apart_ms) + 5)
        assert inbox.find(_id(START), [ACCOUNT]) == [entry]

    def test_an_id_that_tells_no_time_is_looked_for_everywhere(self, inbox: Inbox, put: Put) -> None:
        entry = put("own-disconnect-77-5", 1)
        put("own-install-77-5", 2)
        assert inbox.find("own-disconnect", [ACCOUNT]) == [entry]

    def test_what_is_not_there_is_not_found(self, inbox: Inbox, put: Put) -> None:
        put(_id(START), START)
        assert inbox.find(_id(START, "ff" * 10), [ACCOUNT, 999]) == []
