"""Dead letters as they are looked for: newest first over all accounts, by id or its beginning, and what they weigh."""

from collections.abc import Callable
from itertools import islice

import pytest
from redis import Redis

from kommo.store.dead import DeadLetter, DeadLetters, LetterKey
from kommo.store.keys import Keys

Bury = Callable[..., DeadLetter]


@pytest.fixture
def dead(redis: Redis, keys: Keys) -> DeadLetters:
    return DeadLetters(redis, keys)


@pytest.fixture
def bury(redis: Redis, keys: Keys) -> Bury:
    """Put a letter where the scripts put it."""

    def bury(id_: str, at_ms: int, account: int = 7, **given: object) -> DeadLetter:
        letter = DeadLetter(id_, "step", account, "rejected", "no", at_ms, "d1", **given)  # type: ignore[arg-type]
        records, index = keys.dead(account)
        redis.hset(records, id_, letter.to_json())
        redis.zadd(index, {f"{account}:{id_}": at_ms})
        return letter

    return bury


@pytest.fixture
def keys(request: pytest.FixtureRequest) -> Keys:
    return Keys(getattr(request, "param", 1))


def ids(keys: object) -> list[str]:
    return [key.id for key in keys]  # type: ignore[attr-defined]


class TestOrder:
    @pytest.mark.parametrize("keys", [1, 3], indirect=True, ids=["one shard", "three shards"])
    def test_the_newest_comes_first_over_all_accounts_and_shards(self, dead: DeadLetters, bury: Bury) -> None:
        for number in (3, 1, 5, 2, 4):
            bury(f"e{number}", number, account=number)
        assert list(dead.newest()) == [LetterKey(number, number, f"e{number}") for number in (5, 4, 3, 2, 1)]

    def test_there_may_be_more_than_one_page_of_them(self, dead: DeadLetters, bury: Bury) -> None:
        for number in range(205):
            bury(f"e{number:03}", 1000 + number // 2)
        assert ids(dead.newest()) == [f"e{number:03}" for number in range(204, -1, -1)]
        assert [kept.letter.id for kept in dead.read(dead.newest())] == ids(dead.newest())

    def test_those_of_one_millisecond_are_never_torn_apart(self, dead: DeadLetters, bury: Bury) -> None:
        for number in range(250):
            bury(f"e{number:03}", 1000 + (number > 30), account=7 + number % 2)
        assert list(dead.newest()) == sorted(dead.newest(), reverse=True)
        assert len(set(dead.newest())) == 250

    def test_letters_that_come_meanwhile_bring_none_twice(self, dead: DeadLetters, bury: Bury) -> None:
        old = {bury(f"e{number:03}", 1000 + number).id for number in range(300)}
        found = dead.newest()
        begun = list(islice(found, 50))
        for number in range(40):
            bury(f"new{number}", 5000 + number)
        assert sorted(ids([*begun, *found])) == sorted(old)

    def test_letters_that_go_meanwhile_hide_none(self, dead: DeadLetters, bury: Bury, redis: Redis, keys: Keys) -> None:
        for number in range(300):
            bury(f"e{number:03}", 1000 + number // 3)
        found = dead.newest()
        begun = list(islice(found, 50))
        redis.zrem(keys.dead(7)[1], *(f"7:{key.id}" for key in begun))
        assert ids([*begun, *found]) == [f"e{number:03}" for number in range(299, -1, -1)]

    def test_a_time_includes_both_its_ends(self, dead: DeadLetters, bury: Bury) -> None:
        for number in range(1, 6):
            bury(f"e{number}", number)
        assert ids(dead.newest(since_ms=2, until_ms=4)) == ["e4", "e3", "e2"]
        assert ids(dead.newest(since_ms=4)) == ["e5", "e4"]
        assert ids(dead.newest(until_ms=1)) == ["e1"]

    def test_an_account_is_asked_for_alone(self, dead: DeadLetters, bury: Bury) -> None:
        bury("mine", 1, account=7)
        bury("theirs", 2, account=77)
        assert ids(dead.newest(account_id=7)) == ["mine"]
        assert ids(dead.newest(account_id=8)) == []


class TestFinding:
    def test_by_the_whole_id_or_by_how_it_begins(self, dead: DeadLetters, bury: Bury) -> None:
        bury("5f3a.myapp.won", 1)
        bury("77aa.message:lead:9:h", 2)
        assert ids(dead.find("5f3a.myapp.won")) == ids(dead.find("5f3")) == ["5f3a.myapp.won"]
        assert ids(dead.find("77aa.message:lead:9")) == ["77aa.message:lead:9:h"]
        assert ids(dead.find("3a.")) == []

    @pytest.mark.parametrize("keys", [1, 3], indirect=True, ids=["one shard", "three shards"])
    def test_a_whole_id_is_found_without_looking_through_the_others(
        self, dead: DeadLetters, bury: Bury, redis: Redis, keys: Keys, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for account in (7, 8):
            bury("same", account, account=account)
            redis.sadd(keys.of_shard(keys.shard(account), "accounts"), account)
        monkeypatch.setattr(redis, "zscan_iter", lambda *_, **__: pytest.fail("all letters were looked through"))
        assert dead.find("same") == [LetterKey(7, 7, "same"), LetterKey(8, 8, "same")]
        assert dead.find("same", account_id=8) == [LetterKey(8, 8, "same")]

    def test_a_whole_id_stands_for_itself_though_another_begins_so(self, dead: DeadLetters, bury: Bury) -> None:
        bury("abc", 1)
        bury("abcd", 2)
        assert ids(dead.find("abc")) == ["abc"]
        assert ids(dead.find("ab")) == ["abc", "abcd"]

    @pytest.mark.parametrize("name", ["*", "?", "[a-z]", "a*", "\\", "^a", "-"])
    def test_what_means_something_to_redis_means_itself(self, dead: DeadLetters, bury: Bury, name: str) -> None:
        bury("abc", 1)
        bury(f"{name}x", 2)
        assert ids(dead.find(name)) == [f"{name}x"]

    def test_an_account_tells_two_of_the_same_id_apart(self, dead: DeadLetters, bury: Bury) -> None:
        bury("same", 1, account=7)
        bury("same", 2, account=8)
        assert len(dead.find("same")) == 2
        assert dead.find("same", account_id=8) == [LetterKey(2, 8, "same")]

    def test_an_id_is_not_looked_for_in_the_accounts_number(self, dead: DeadLetters, bury: Bury) -> None:
        bury("xyz", 1, account=123)
        assert ids(dead.find("123")) == ids(dead.find("23:x")) == []


class TestReading:
    def test_a_letter_is_read_with_the_digest_of_what_lies_there(self, dead: DeadLetters, bury: Bury) -> None:
        first = bury("e1", 1, traceback="x")
        (kept,) = dead.read(dead.newest())
        assert (kept.letter, kept.key) == (first, LetterKey(1, 7, "e1"))
        bury("e1", 1, traceback="y")
        (again,) = dead.read([kept.key])
        assert again.digest != kept.digest

    def test_one_that_is_gone_meanwhile_is_left_out(self, dead: DeadLetters, bury: Bury, redis: Redis) -> None:
        bury("e1", 1)
        bury("e2", 2)
        found = list(dead.newest())
        redis.hdel(dead._keys.dead(7)[0], "e2")
        assert [kept.letter.id for kept in dead.read(found)] == ["e1"]


def test_their_weight_grows_with_what_they_hold(dead: DeadLetters, bury: Bury) -> None:
    assert (dead.weight([7, 8]).letters, dead.weight([7, 8]).size) == (0, 0)
    bury("small", 1, account=7)
    small = dead.weight([7, 8])
    bury("large", 1, account=8, body=bytes(100_000))
    both = dead.weight([7, 8])
    assert (small.letters, both.letters) == (1, 2)
    assert 100 < small.size < 5_000
    # The body lies there as base64.
    assert 130_000 < both.size < 200_000
