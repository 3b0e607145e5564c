"""The ledger of own writes in Redis: noted before a write is sent, used up only together with the cursor."""

import threading
from typing import Any

import pytest
from redis import Redis

from kommo.errors import StoreUnavailable
from kommo.hooks.events import Event
from kommo.hooks.normalise import normalise
from kommo.store.connection import connect, now_ms
from kommo.store.echoes import LIFE_SECONDS, Echoes, Judging, entry_key
from kommo.store.inbox import START, Batch, Inbox, RoutedEvent
from kommo.store.keys import Keys
from kommo.store.server import PrivateServer
from tests.integration.store.conftest import ACCOUNT, delivery

LEAD = "/api/v4/leads/7"


@pytest.fixture
def echoes(redis: Redis, keys: Keys) -> Echoes:
    return Echoes(redis, keys)


def updated(price: int, *, at: int = 1_795_200_000, lead: int = 7) -> Event:
    item = {"id": lead, "price": price, "updated_at": at}
    body = "&".join(f"leads[update][0][{name}]={value}" for name, value in item.items())
    return normalise(body.encode(), content_type=None, account_id=ACCOUNT, delivery_id="d1")[0]


def judged(echoes: Echoes, redis: Redis, *events: Event) -> tuple[list[bool], Judging]:
    judging = echoes.judging(ACCOUNT, events, kinds_written(redis))
    return [judging.judged(event, now_ms(redis)).is_echo for event in events], judging


def kinds_written(redis: Redis) -> frozenset[str]:
    return Inbox(redis, Keys()).read_to_drain(ACCOUNT, after=START, limit=1)[1]


def commit(inbox: Inbox, judging: Judging, *, cursor: str = START, to: str = "1-1") -> bool:
    return inbox.commit(Batch(ACCOUNT, cursor, to, [], [], judging.changes()), hold_ms=0).moved


def test_a_write_is_known_again_by_any_process(echoes: Echoes, redis: Redis, keys: Keys) -> None:
    echoes.expect(ACCOUNT, "PATCH", LEAD, {"price": 5})
    assert judged(Echoes(redis, keys), redis, updated(5))[0] == [True]


def test_a_batch_of_fifty_is_noted_in_one_round_trip_and_each_is_known_again(echoes: Echoes, redis: Redis) -> None:
    echoes.expect(ACCOUNT, "PATCH", LEAD, {"price": 5})  # so that Redis knows the script
    before = commands(redis)
    echoes.expect(ACCOUNT, "PATCH", "/api/v4/leads", [{"id": number, "price": 5} for number in range(100, 150)])
    assert commands(redis) - before == 1 + 1  # and the counting itself
    verdicts, _ = judged(echoes, redis, *(updated(5, lead=number) for number in range(99, 151)))
    assert verdicts == [False, *[True] * 50, False]


def commands(redis: Redis) -> int:
    """Count what clients have sent, without what scripts did."""
    stats: Any = redis.info("commandstats")
    return sum(stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("evalsha", "eval", "info"))


def test_what_changes_nothing_is_not_noted_and_costs_no_round_trip() -> None:
    away = Echoes(Redis(port=1), Keys())
    expected = away.expect(ACCOUNT, "GET", LEAD, None)
    assert expected.subjects == []
    away.withdraw(expected)


def test_without_redis_noting_a_write_fails_as_the_write_must_not_be_sent() -> None:
    with PrivateServer() as server:
        client = connect(server.url)
        echoes = Echoes(client, Keys())
        server.kill()
        with pytest.raises(StoreUnavailable):
            echoes.expect(ACCOUNT, "PATCH", LEAD, {"price": 5})
        client.close()


def test_a_write_that_kommo_refused_is_expected_no_more(echoes: Echoes, redis: Redis) -> None:
    kept = echoes.expect(ACCOUNT, "PATCH", LEAD, {"price": 5})
    refused = echoes.expect(ACCOUNT, "PATCH", "/api/v4/leads", [{"id": 7, "price": 6}, {"id": 8, "price": 6}])
    echoes.withdraw(refused)
    assert judged(echoes, redis, updated(6), updated(6, lead=8))[0] == [False, False]
    assert judged(echoes, redis, updated(5))[0] == [True]
    assert kept.subjects == ["lead:7"]


def test_two_writes_of_one_request_to_what_looks_alike_are_two(echoes: Echoes, redis: Redis, keys: Keys) -> None:
    expected = echoes.expect(ACCOUNT, "POST", "/api/v4/leads", [{"name": "Oven"}, {"name": "Oven"}])
    assert len(set(expected.subjects)) == 1
    assert redis.hlen(entry_key(keys, ACCOUNT, expected.subjects[0])) == 2


def test_everything_ends_by_itself(echoes: Echoes, redis: Redis, keys: Keys, inbox: Inbox) -> None:
    echoes.expect(ACCOUNT, "PATCH", LEAD, {"price": 5})
    commit(inbox, judged(echoes, redis, updated(5))[1])
    names = redis.keys(entry_key(keys, ACCOUNT, "*").replace("{", "[{]").replace("}", "[}]"))
    assert set(names) | {entry_key(keys, ACCOUNT).encode()} == set(redis.keys("*echoes*"))
    for name in redis.keys("*echoes*"):
        assert 0 < redis.ttl(name) <= LIFE_SECONDS


def test_an_account_that_writes_nothing_of_a_kind_reads_and_stores_nothing_of_it(
    echoes: Echoes, redis: Redis, inbox: Inbox
) -> None:
    assert judged(echoes, redis, updated(5))[1].changes() == []
    echoes.expect(ACCOUNT, "POST", "/api/v4/tasks", [{"text": "Call", "complete_till": 1}])
    assert judged(echoes, redis, updated(5))[1].changes() == []
    echoes.expect(ACCOUNT + 1, "PATCH", LEAD, {"price": 5})
    assert judged(echoes, redis, updated(5))[0] == [False]
    echoes.expect(ACCOUNT, "PATCH", "/api/v4/leads/8", {"price": 5})
    assert [change.subject for change in judged(echoes, redis, updated(5))[1].changes()] == ["lead:7"]


class TestTogetherWithTheCursor:
    def test_a_drain_that_dies_has_used_up_nothing(self, echoes: Echoes, redis: Redis) -> None:
        echoes.expect(ACCOUNT, "PATCH", LEAD, {"price": 5})
        for _ in range(3):
            assert judged(echoes, redis, updated(5))[0] == [True]

    def test_what_one_has_used_up_and_seen_the_next_one_knows(self, echoes: Echoes, redis: Redis, inbox: Inbox) -> None:
        echoes.expect(ACCOUNT, "PATCH", LEAD, {"price": 5})
        verdicts, judging = judged(
            echoes, redis, updated(5), updated(4, at=1_795_200_001), updated(5, at=1_795_200_002)
        )
        assert verdicts == [True, False, False]
        assert commit(inbox, judging)
        later = updated(5, at=1_795_200_003)
        assert judged(echoes, redis, updated(5), later)[0] == [True, False]

    def test_one_that_was_too_late_has_changed_nothing(
        self, echoes: Echoes, redis: Redis, inbox: Inbox, keys: Keys
    ) -> None:
        echoes.expect(ACCOUNT, "PATCH", LEAD, {"price": 5})
        _, judging = judged(echoes, redis, updated(5))
        before = redis.hgetall(entry_key(keys, ACCOUNT, "lead:7"))
        assert not commit(inbox, judging, cursor="5-5", to="6-6")
        assert redis.hgetall(entry_key(keys, ACCOUNT, "lead:7")) == before

    def test_what_is_noted_meanwhile_stays(self, echoes: Echoes, redis: Redis, inbox: Inbox) -> None:
        echoes.expect(ACCOUNT, "PATCH", LEAD, {"price": 5})
        _, judging = judged(echoes, redis, updated(5))
        echoes.expect(ACCOUNT, "PATCH", LEAD, {"price": 6})
        assert commit(inbox, judging)
        assert judged(echoes, redis, updated(6, at=1_795_200_001))[0] == [True]

    def test_many_writers_and_drains_at_once_use_each_write_up_once(
        self, echoes: Echoes, redis: Redis, inbox: Inbox
    ) -> None:
        for number in range(60):
            inbox.add(delivery(number))
            echoes.expect(ACCOUNT, "PATCH", f"/api/v4/leads/{number % 3 + 1}", {"price": number})
        counted: list[int] = []

        def drain() -> None:
            while True:
                cursor = inbox.cursor(ACCOUNT)
                entries, kinds = inbox.read_to_drain(ACCOUNT, after=cursor, limit=7)
                if not entries:
                    return
                numbers = [int(entry.delivery.id[1:]) for entry in entries]
                events = [updated(one, at=1_795_200_000 + one, lead=one % 3 + 1) for one in numbers]
                judging = echoes.judging(ACCOUNT, events, kinds)
                told = [judging.judged(event, now_ms(redis)).is_echo for event in events]
                routed = [RoutedEvent(event.id, "0-1", [], echo) for event, echo in zip(events, told, strict=True)]
                batch = Batch(ACCOUNT, cursor, entries[-1].stream_id, routed, [], judging.changes())
                if inbox.commit(batch, hold_ms=0).moved:
                    counted.append(sum(told))

        threads = [threading.Thread(target=drain) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(counted) == 60
        assert redis.hget(Keys().stats(ACCOUNT), "echoes") == b"60"
