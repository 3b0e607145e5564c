"""The inbox's scripts: what is stored once, what moves the cursor, what may be dropped."""

import threading
from collections.abc import Callable

import pytest
from redis import Redis

from kommo.errors import StoreUnavailable
from kommo.store.connection import connect
from kommo.store.dead import DeadLetter, DeadLetters
from kommo.store.echoes import LIFE_SECONDS, Echoes, EntryChange, entry_key
from kommo.store.inbox import Batch, Delivery, Inbox, RoutedEvent, Step, Stored
from kommo.store.keys import Keys
from kommo.store.lanes import Lanes, StepOutcome
from kommo.store.server import PrivateServer
from tests.buried import letters
from tests.integration.store.conftest import ACCOUNT, delivery, one_event


def _all(inbox: Inbox, account: int = ACCOUNT) -> list[Delivery]:
    return [entry.delivery for entry in inbox.read(account, after="0-0", limit=1000)]


def test_a_delivery_is_read_back_as_it_came(inbox: Inbox) -> None:
    binary = Delivery("d1", ACCOUNT, bytes(range(256)), "text/plain; x=é", 1234567890123)
    assert inbox.add(binary)[0] is Stored.NEW
    assert _all(inbox) == [binary]


def test_a_drain_reads_with_the_deliveries_which_kinds_the_account_writes(
    inbox: Inbox, redis: Redis, keys: Keys
) -> None:
    inbox.add(delivery(1))
    inbox.add(delivery(2))
    assert inbox.read_to_drain(ACCOUNT, after="0-0", limit=9) == (
        inbox.read(ACCOUNT, after="0-0", limit=9),
        frozenset(),
    )
    Echoes(redis, keys).expect(ACCOUNT, "PATCH", "/api/v4/leads", [{"id": 7, "price": 5}])
    Echoes(redis, keys).expect(ACCOUNT, "POST", "/api/v4/leads/7/notes", [{"params": {"text": "x"}}])
    entries, kinds = inbox.read_to_drain(ACCOUNT, after="0-0", limit=1)
    assert ([entry.delivery.id for entry in entries], kinds) == (["d000001"], {"lead", "note"})


def test_deliveries_keep_the_order_in_which_they_were_stored(inbox: Inbox) -> None:
    for number in range(50):
        inbox.add(delivery(number))
    assert [one.id for one in _all(inbox)] == [f"d{number:06}" for number in range(50)]


def test_a_body_seen_before_is_a_duplicate_and_is_counted(inbox: Inbox, redis: Redis, keys: Keys) -> None:
    inbox.add(delivery(1))
    again = Delivery("other", ACCOUNT, delivery(1).body, "", 0)
    assert inbox.add(again) == (Stored.DUPLICATE, False)
    assert len(_all(inbox)) == 1
    assert redis.hget(keys.stats(ACCOUNT), "duplicates") == b"1"


def test_the_same_body_in_another_account_is_no_duplicate(inbox: Inbox) -> None:
    inbox.add(delivery(1))
    assert inbox.add(delivery(1, account=202))[0] is Stored.NEW


def test_a_body_that_may_not_be_dropped_is_stored_again(inbox: Inbox) -> None:
    inbox.add(delivery(1))
    again = Delivery("other", ACCOUNT, delivery(1).body, "", 0)
    assert inbox.add(again, droppable=False)[0] is Stored.NEW
    assert len(_all(inbox)) == 2


@pytest.mark.parametrize("droppable", [True, False])
def test_storing_the_same_delivery_id_again_stores_it_once(inbox: Inbox, droppable: bool) -> None:
    first = inbox.add(delivery(1), droppable=droppable)[0]
    assert (first, inbox.add(delivery(1), droppable=droppable)[0]) == (Stored.NEW, Stored.REPEATED_CALL)
    assert len(_all(inbox)) == 1


def test_many_threads_storing_one_body_store_it_once(inbox: Inbox) -> None:
    outcomes: list[Stored] = []
    barrier = threading.Barrier(16)

    def store(number: int) -> None:
        barrier.wait()
        outcomes.append(inbox.add(Delivery(f"t{number}", ACCOUNT, b"same", "", 0))[0])

    threads = [threading.Thread(target=store, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [Stored.DUPLICATE] * 15 + [Stored.NEW]


def test_only_the_first_of_a_burst_wakes_a_drain(inbox: Inbox) -> None:
    assert [inbox.add(delivery(number))[1] for number in range(4)] == [True, False, False, False]


def test_a_lost_wake_up_is_sent_again_after_a_second(inbox: Inbox, redis: Redis, keys: Keys) -> None:
    inbox.add(delivery(1))
    flag = keys.queue("inbox", 0).flag
    assert 0 < redis.pttl(flag) <= 1000
    redis.delete(flag)
    assert inbox.add(delivery(2))[1]


def test_committing_moves_the_cursor_and_fills_the_lanes(inbox: Inbox, lanes: Lanes) -> None:
    one_event(inbox, 1, "lead:5:a", "lead:5:b")
    taken = lanes.take(ACCOUNT, "t", limit=10)
    assert [(lease.chain, lease.item) for lease in taken.leases] == [("lead:5:a", b"1"), ("lead:5:b", b"1")]
    assert inbox.read(ACCOUNT, after=inbox.cursor(ACCOUNT), limit=10) == []


def test_a_drain_whose_cursor_was_moved_by_another_changes_nothing(inbox: Inbox, lanes: Lanes) -> None:
    one_event(inbox, 1, "lead:5:a")
    stale = Batch(ACCOUNT, "0-0", "9-9", [RoutedEvent("late", "9-9", [Step("lead:9:a", b"late")])], [])
    assert not inbox.commit(stale, hold_ms=0).moved
    assert [lease.item for lease in lanes.take(ACCOUNT, "t", limit=10).leases] == [b"1"]
    assert inbox.cursor(ACCOUNT) != "9-9"


def test_two_drains_at_once_drain_everything_once_and_in_order(inbox: Inbox, lanes: Lanes) -> None:
    for number in range(200):
        inbox.add(delivery(number))

    def drain() -> None:
        while entries := inbox.read(ACCOUNT, after=(cursor := inbox.cursor(ACCOUNT)), limit=7):
            events = [
                RoutedEvent(entry.delivery.id, entry.stream_id, [Step("lead:1:h", entry.delivery.id.encode())])
                for entry in entries
            ]
            inbox.commit(Batch(ACCOUNT, cursor, entries[-1].stream_id, events, []), hold_ms=0)

    threads = [threading.Thread(target=drain) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ran = []
    while leases := lanes.take(ACCOUNT, f"t{len(ran)}").leases:
        ran.append(leases[0].item.decode())
        lanes.finish(StepOutcome(leases[0], "done", "r", "0-0"))
    assert ran == [f"d{number:06}" for number in range(200)]


def test_an_event_seen_before_goes_into_no_lane(inbox: Inbox, lanes: Lanes, redis: Redis, keys: Keys) -> None:
    for number in (1, 2):
        inbox.add(delivery(number))
    entries = inbox.read(ACCOUNT, after="0-0", limit=10)
    events = [RoutedEvent("same change", entry.stream_id, [Step("lead:1:h", b"x")]) for entry in entries]
    committed = inbox.commit(Batch(ACCOUNT, "0-0", entries[-1].stream_id, events, []), hold_ms=0)
    assert committed.fresh == 1
    assert redis.hget(keys.stats(ACCOUNT), "repeated_events") == b"1"
    lease = lanes.take(ACCOUNT, "t").leases[0]
    lanes.finish(StepOutcome(lease, "done", "r", entries[0].stream_id))
    assert lanes.take(ACCOUNT, "t2").leases == []


def test_echoes_are_counted_as_often_as_they_are_new(inbox: Inbox, redis: Redis, keys: Keys) -> None:
    for number in (1, 2):
        inbox.add(delivery(number))
    first, second = inbox.read(ACCOUNT, after="0-0", limit=10)
    echo = RoutedEvent("ours", first.stream_id, [], is_echo=True)
    other = RoutedEvent("theirs", first.stream_id, [])
    inbox.commit(Batch(ACCOUNT, "0-0", first.stream_id, [echo, other, echo], []), hold_ms=0)
    inbox.commit(Batch(ACCOUNT, first.stream_id, second.stream_id, [echo], []), hold_ms=0)
    assert redis.hget(keys.stats(ACCOUNT), "echoes") == b"1"
    assert redis.hget(keys.stats(ACCOUNT), "events") == b"2"


def test_entries_of_the_ledger_change_with_the_cursor_whatever_else_is_in_the_batch(
    inbox: Inbox, lanes: Lanes, redis: Redis, keys: Keys
) -> None:
    inbox.add(delivery(1))
    (entry,) = inbox.read(ACCOUNT, after="0-0", limit=1)
    names = [entry_key(keys, ACCOUNT, subject) for subject in ("lead:1", "lead:2", "lead:3")]
    for name in names:
        redis.hset(name, mapping={"w1": "old", "w2": "old", "kept": "old"})
    changes = [
        EntryChange("lead:1", ["w1", "w2"], {"seen": "new"}),
        EntryChange("lead:2", [], {"w1": "new", "seen": "new"}),
        EntryChange("lead:3", ["w1", "w2", "kept"], {}),
    ]
    letter = DeadLetter("d1", "delivery", ACCOUNT, "too_deep", "TooDeep: …", 1, "d1", body=b"x")
    event = RoutedEvent("e1", entry.stream_id, [Step("lead:1:a", b"1"), Step("lead:1:b", b"2")])
    stale = Batch(ACCOUNT, "5-5", "9-9", [event], [letter], changes)
    assert not inbox.commit(stale, hold_ms=0).moved
    assert all(redis.hlen(name) == 3 for name in names)
    assert inbox.commit(Batch(ACCOUNT, "0-0", entry.stream_id, [event], [letter], changes), hold_ms=0).moved
    assert redis.hgetall(names[0]) == {b"kept": b"old", b"seen": b"new"}
    assert redis.hgetall(names[1]) == {b"w1": b"new", b"w2": b"old", b"kept": b"old", b"seen": b"new"}
    assert not redis.exists(names[2])
    assert 0 < redis.ttl(names[0]) <= LIFE_SECONDS
    assert [lease.item for lease in lanes.take(ACCOUNT, "t", limit=9).leases] == [b"1", b"2"]


def test_a_dead_letter_is_stored_with_its_bytes_as_the_cursor_moves(inbox: Inbox, redis: Redis, keys: Keys) -> None:
    inbox.add(delivery(1, body=b"\xff\x00"))
    entry = inbox.read(ACCOUNT, after="0-0", limit=1)[0]
    letter = DeadLetter("d1", "delivery", ACCOUNT, "too_deep", "TooDeep: …", 1, "d1", body=b"\xff\x00")
    inbox.commit(Batch(ACCOUNT, "0-0", entry.stream_id, [], [letter]), hold_ms=0)
    assert letters(redis, keys, ACCOUNT) == [letter]
    assert DeadLetters(redis, keys).count(ACCOUNT) == 1


def test_an_account_with_more_to_drain_stays_ready_and_one_without_leaves(
    inbox: Inbox, redis: Redis, keys: Keys
) -> None:
    ready = keys.queue("inbox", 0).ready
    for number in (1, 2):
        inbox.add(delivery(number))
    first, second = inbox.read(ACCOUNT, after="0-0", limit=10)
    assert inbox.commit(Batch(ACCOUNT, "0-0", first.stream_id, [], []), hold_ms=0).more
    assert redis.zscore(ready, str(ACCOUNT)) is not None
    assert not inbox.commit(Batch(ACCOUNT, first.stream_id, second.stream_id, [], []), hold_ms=0).more
    assert redis.zscore(ready, str(ACCOUNT)) is None


def test_a_new_delivery_does_not_end_a_drains_hold_on_its_account(
    inbox: Inbox, redis: Redis, keys: Keys, now_ms: Callable[[], int]
) -> None:
    for number in (1, 2):
        inbox.add(delivery(number))
    first = inbox.read(ACCOUNT, after="0-0", limit=1)[0]
    inbox.commit(Batch(ACCOUNT, "0-0", first.stream_id, [], []), hold_ms=3000)
    inbox.add(delivery(3))
    held_until = redis.zscore(keys.queue("inbox", 0).ready, str(ACCOUNT))
    assert held_until is not None
    assert held_until > now_ms() + 2000


def test_trimming_drops_what_is_old_and_handled(inbox: Inbox) -> None:
    for number in range(3):
        one_event(inbox, number)
    assert inbox.trim(ACCOUNT, received_after_ms=2**50, max_bytes=10**9) == 3
    assert _all(inbox) == []


def test_trimming_keeps_what_is_young_while_there_is_room(inbox: Inbox) -> None:
    one_event(inbox, 1)
    assert inbox.trim(ACCOUNT, received_after_ms=0, max_bytes=10**9) == 0


def test_trimming_drops_the_oldest_until_the_rest_fits(inbox: Inbox) -> None:
    for number in range(10, 20):
        one_event(inbox, number)
    each = len(delivery(10).body)
    assert inbox.trim(ACCOUNT, received_after_ms=0, max_bytes=4 * each) == 6
    assert [one.id for one in _all(inbox)] == [f"d{number:06}" for number in range(16, 20)]


def test_trimming_never_passes_what_is_not_drained_or_not_handled(inbox: Inbox, lanes: Lanes) -> None:
    one_event(inbox, 1)
    one_event(inbox, 2, "lead:1:h")
    one_event(inbox, 3)
    inbox.add(delivery(4))
    stream_id = inbox.read(ACCOUNT, after="0-0", limit=10)[1].stream_id

    assert inbox.trim(ACCOUNT, received_after_ms=2**50, max_bytes=0) == 2
    assert [one.id for one in _all(inbox)] == ["d000002", "d000004"]
    lease = lanes.take(ACCOUNT, "t").leases[0]
    lanes.finish(StepOutcome(lease, "done", "r", stream_id))
    assert inbox.trim(ACCOUNT, received_after_ms=2**50, max_bytes=0) == 1
    assert [one.id for one in _all(inbox)] == ["d000004"]


def test_trimming_goes_through_page_after_page(inbox: Inbox) -> None:
    for number in range(130):
        one_event(inbox, number, *(["lead:1:h"] if number == 20 else []))
    assert inbox.trim(ACCOUNT, received_after_ms=2**50, max_bytes=0) == 129


def test_accounts_are_known_over_all_shards(redis: Redis) -> None:
    sharded = Inbox(redis, Keys(3))
    for account in (7, 8, 9):
        sharded.add(delivery(1, account=account))
    assert sharded.accounts() == [7, 8, 9]


def test_a_restarted_redis_has_every_delivery_and_learns_the_scripts_again() -> None:
    with PrivateServer(fsync="always") as server:
        client = connect(server.url)
        inbox = Inbox(client, Keys())
        inbox.add(delivery(1))
        server.kill()
        with pytest.raises(StoreUnavailable):
            inbox.add(delivery(2))
        server.start()
        assert inbox.add(delivery(2))[0] is Stored.NEW
        assert inbox.add(delivery(1))[0] is Stored.REPEATED_CALL
        assert [one.id for one in _all(inbox)] == ["d000001", "d000002"]
        client.close()


def test_a_full_redis_counts_as_away_and_changes_nothing(inbox: Inbox, redis: Redis) -> None:
    inbox.add(delivery(1))
    redis.config_set("maxmemory", "1")
    try:
        with pytest.raises(StoreUnavailable, match="maxmemory"):
            inbox.add(delivery(2))
    finally:
        redis.config_set("maxmemory", "0")
    assert len(_all(inbox)) == 1
    assert inbox.add(delivery(2))[0] is Stored.NEW
