"""How deliveries were answered is counted off the request's way, and becomes a reason before Kommo acts on it."""

import time
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from redis import Redis

from kommo.errors import StoreUnavailable
from kommo.store.answers import NO_ACCOUNT, RULE_SECONDS, Answers, Standing, Tally
from kommo.store.connection import connect
from kommo.store.keys import Keys
from kommo.store.server import PrivateServer
from kommo.store.watch import Watch, Watched
from receiver import answers as counting
from receiver.answers import UNPROVEN, Counting
from receiver.watched import NEAR, reasons
from receiver.webhooks import Doors
from tests.integration.receiver.wire import DOOR, lead
from tests.integration.workers.logs import Lines
from tests.waiting import wait_for

ACCOUNT = 31_000_007


class Now:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.seconds = time.time()

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def now() -> Now:
    return Now()


@pytest.fixture
def count(redis: Redis, now: Now) -> Counting:
    """Counts for one known account; its thread tells nothing while the test runs."""
    return Counting(Answers(redis), lambda: [ACCOUNT], every=3600, clock=now)


def answering(status: str) -> Callable[..., Iterable[bytes]]:
    def app(_environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response(status, [])
        return [b""]

    return app


def ask(count: Counting, app: Any, path: str = f"/webhooks/{ACCOUNT}/sig/") -> None:
    count.wrapping(app)({"PATH_INFO": path}, lambda *_: lambda _data: None)


def standing(redis: Redis, account_id: int = ACCOUNT) -> Standing | None:
    return Answers(redis).standings().get(account_id)


@pytest.mark.parametrize("status", ["302 Found", "401 No", "413 Long", "500 Oh", "503 Later"])
def test_what_kommo_calls_bad_is_counted(count: Counting, redis: Redis, status: str) -> None:
    ask(count, answering(status))
    count.tell()
    assert standing(redis) == Standing(1, {status[:3]: 1}, latest_is_bad=True)


@pytest.mark.parametrize("status", ["200 OK", "204 Nothing", "299 Well"])
def test_what_it_calls_good_is_not_and_ends_a_row_of_bad_ones(
    count: Counting, redis: Redis, now: Now, status: str
) -> None:
    ask(count, answering("503 Later"))
    now.seconds += 1
    ask(count, answering(status))
    count.tell()
    assert standing(redis) == Standing(1, {"503": 1}, latest_is_bad=False)


def test_an_answer_that_comes_too_late_is_bad_whatever_it_says(count: Counting, redis: Redis) -> None:
    count.count(ACCOUNT, 200, seconds=2.1)
    count.count(ACCOUNT, 200, seconds=1.9)
    count.tell()
    seen = standing(redis)
    assert seen is not None
    assert seen.by_status == {"slow": 1}


def test_an_error_that_nobody_answers_is_counted_as_a_500(count: Counting, redis: Redis) -> None:
    def app(_environ: Any, _start: Any) -> Iterable[bytes]:
        raise ValueError("oh")

    with pytest.raises(ValueError, match="oh"):
        ask(count, app)
    count.tell()
    assert standing(redis) == Standing(1, {"500": 1}, latest_is_bad=True)


@pytest.mark.parametrize("path", ["/health/ready", "/", "/oauth/callback", "/webhooksx/7/", "/x/webhooks/7/"])
def test_other_addresses_are_not_kommos_deliveries(count: Counting, redis: Redis, path: str) -> None:
    ask(count, answering("503 Later"), path)
    count.tell()
    assert Answers(redis).standings() == {}


@pytest.mark.parametrize("path", [f"//webhooks/{ACCOUNT}/sig/", f"///webhooks/{ACCOUNT}", f"//webhooks/{ACCOUNT}/"])
def test_a_door_is_the_same_behind_several_slashes(count: Counting, redis: Redis, path: str) -> None:
    ask(count, answering("503 Later"), path)
    count.tell()
    assert standing(redis) == Standing(1, {"503": 1}, latest_is_bad=True)


@pytest.mark.parametrize("path", ["/webhooks", "/webhooks/", "/webhooks/x/", "/webhooks/99/sig/"])
def test_what_strangers_are_refused_says_nothing_but_a_fault_of_ours_does(
    count: Counting, redis: Redis, path: str
) -> None:
    ask(count, answering("401 No"), path)
    count.tell()
    assert Answers(redis).standings() == {}
    ask(count, answering("503 Later"), path)
    count.tell()
    found = Answers(redis).standings()
    assert found == ({} if "x" in path else {NO_ACCOUNT: Standing(1, {"503": 1}, latest_is_bad=True)})


def test_strangers_who_name_many_accounts_fill_no_memory(count: Counting, redis: Redis) -> None:
    for number in range(1, 3000):
        count.count(number, 503, seconds=0)
    count.tell()
    assert {key for key in Answers(redis).standings() if key != NO_ACCOUNT} == set()
    rows = [redis.hlen(key) for key in redis.keys("kommo:{answers}:minute:*")]
    assert sum(rows) == 1


def test_an_outage_of_redis_loses_no_count(now: Now, lone_server: PrivateServer, count: Counting) -> None:
    with connect(lone_server.url) as redis:
        here = Counting(Answers(redis), list, every=3600, clock=now)
        here.count(ACCOUNT, 200, seconds=0)
        here.count(ACCOUNT, 503, seconds=0)
        lone_server.kill()
        here.tell()
        here.count(ACCOUNT, 503, seconds=0)
        here.tell()
        lone_server.start()
        here.tell()
        assert standing(redis) == Standing(2, {"503": 2}, latest_is_bad=False)
        here.tell()
        seen = standing(redis)
        assert seen is not None
        assert seen.bad == 2


def test_what_is_kept_is_no_older_than_the_rule(now: Now, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = Answers(redis)
    told: list[Tally] = []

    def away(tally: Tally) -> None:
        told.append(tally)
        raise StoreUnavailable("away")

    monkeypatch.setattr(answers, "add", away)
    count = Counting(answers, lambda: [ACCOUNT], every=3600, clock=now)
    count.count(ACCOUNT, 503, seconds=0)
    count.tell()
    now.seconds += RULE_SECONDS + 120
    for _ in range(3):
        count.tell()
    assert [sum(tally.bad.values()) for tally in told] == [1, 1]


def test_the_thread_tells_by_itself_once_something_was_asked(redis: Redis) -> None:
    count = Counting(Answers(redis), lambda: [ACCOUNT], every=0.02)
    ask(count, answering("503 Later"))
    wait_for(lambda: standing(redis), what="the answer was told")


class TestLiving:
    @pytest.fixture
    def signs(self, count: Counting, redis: Redis, now: Now) -> Callable[[], int]:
        """Let a minute pass, and give the seconds since a receiver last said that it lives; -1 for never."""

        def minute() -> int:
            now.seconds += 61
            redis.delete("kommo:{answers}:lived")
            count.tell()
            return -1 if redis.get("kommo:{answers}:lived") is None else 0

        return minute

    def test_a_receiver_says_once_a_minute_that_it_lives(self, count: Counting, redis: Redis, now: Now) -> None:
        count.tell()
        assert not redis.exists("kommo:{answers}:lived")
        now.seconds += 6
        count.tell()
        assert redis.getdel("kommo:{answers}:lived")
        now.seconds += 30
        count.tell()
        assert not redis.exists("kommo:{answers}:lived")

    def test_one_that_can_take_nothing_does_not_live(self, count: Counting, signs: Callable[[], int]) -> None:
        count.count(ACCOUNT, 503, seconds=0)
        assert signs() == -1
        count.count(ACCOUNT, 401, seconds=0)
        assert signs() == 0

    def test_what_could_neither_be_proven_nor_refused_says_nothing_of_it(
        self, count: Counting, redis: Redis, signs: Callable[[], int]
    ) -> None:
        def app(environ: Any, start_response: Any) -> Iterable[bytes]:
            environ[UNPROVEN] = True
            return answering("503 Later")(environ, start_response)

        ask(count, app)
        assert signs() == 0
        assert standing(redis) == Standing(1, {"503": 1}, latest_is_bad=True)
        count.count(ACCOUNT, 503, seconds=0)
        ask(count, app)
        assert signs() == -1

    def test_the_time_in_which_it_could_not_is_a_time_away(
        self, count: Counting, redis: Redis, now: Now, lines: Lines
    ) -> None:
        count.count(ACCOUNT, 503, seconds=0)
        redis.set("kommo:{answers}:lived", int(now()) - 8000)
        now.seconds += 70
        count.count(ACCOUNT, 200, seconds=0)
        count.tell()
        assert len(Answers(redis).away()) == 1
        assert "no receiver took deliveries" in lines.text


class TestReasons:
    def test_without_anything_wrong_there_are_none(self, redis: Redis) -> None:
        Watch(redis, Keys()).note(1, Watched("on", 5, 5))
        Watch(redis, Keys()).note(2, Watched("missing", 5))
        Watch(redis, Keys()).note(3, Watched("unseen", 5, 4))
        assert reasons(redis, Keys()) == []

    def test_webhooks_that_are_off_are_counted_and_not_named(self, redis: Redis) -> None:
        for number, state in ((101, "disabled"), (102, "disabled"), (103, "missing")):
            Watch(redis, Keys()).note(number, Watched(state, 5, 5))  # type: ignore[arg-type]  # each is a state
        told = reasons(redis, Keys())
        assert [one[:12] for one in told] == ["webhooks: 2 ", "webhooks: 1 "]
        assert not any("10" in one for one in told)

    def test_bad_answers_are_a_reason_from_half_of_kommos_rule_on(self, count: Counting, redis: Redis) -> None:
        for number in range(NEAR):
            assert reasons(redis, Keys()) == [], number
            count.count(ACCOUNT, 503 if number % 2 else 401, seconds=0)
        count.tell()
        (told,) = reasons(redis, Keys())
        assert f"{NEAR} bad answers" in told
        assert f"{NEAR // 2} x 401, {NEAR // 2} x 503" in told
        assert str(ACCOUNT) not in told

    def test_while_the_latest_answer_is_good_kommo_does_nothing(self, count: Counting, redis: Redis, now: Now) -> None:
        for _ in range(NEAR * 3):
            count.count(ACCOUNT, 503, seconds=0)
        now.seconds += 1
        count.count(ACCOUNT, 200, seconds=0)
        count.tell()
        assert reasons(redis, Keys()) == []


def test_the_receiver_counts_at_its_doors_and_says_it_in_its_health(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    def fails(*_: object) -> None:
        raise ValueError("a fault of ours")

    monkeypatch.setattr(counting, "SEND_SECONDS", 0.02)
    monkeypatch.setattr(Doors, "by_path", fails)
    client = request.getfixturevalue("client")
    assert client.get("/health/ready").status_code == 200
    for _ in range(NEAR):
        assert client.post(DOOR, data=lead()).status_code == 500
    wait_for(lambda: "bad answers" in client.get("/health/ready").text, what="the reason is told")
